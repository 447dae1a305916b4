//! Where the datagrams of a path leave and come in.
//!
//! A path's local address says which link leads out, and a datagram finds its connection by the link it came in on and
//! the address it came from. What is written is in the driver's `send_buf`, one batch for one path.

use std::io;
use std::time::Instant;

use sinnet_peer::{Path, Protocol, Transmit};

use crate::watch::is_lost_address;

use super::{Driver, Socket, socket};

/// One way in and out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Link {
    /// One of the endpoint's UDP sockets, by its place.
    Socket(usize),
    /// A TCP connection, which is one peer's.
    Tcp(usize),
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It is on its way, or lost.
    Away,
    /// There is no room; it is kept in `send_buf` and nothing else can be sent before it.
    Blocked,
    /// Its datagrams are larger than the link takes.
    TooLarge,
}

/// A batch in `send_buf` that its socket had no room for.
pub(super) struct Blocked {
    pub(super) socket: usize,
    transmit: Transmit,
}

impl Driver {
    /// What leads out on this path of a peer.
    pub(super) fn link_of(&mut self, peer: usize, path: Path, now: Instant) -> Option<Link> {
        match path.protocol {
            Protocol::Udp => self.socket_of(path).map(Link::Socket),
            Protocol::Tcp => self.tcp.link_of(peer, path, now).map(Link::Tcp),
        }
    }

    /// The socket of a path from one of our own addresses.
    fn socket_of(&self, path: Path) -> Option<usize> {
        self.sockets.iter().position(|socket| socket.is_source_of(path.local))
    }

    /// Datagrams that every link takes in one batch: which one the next batch is for is not known before it is made.
    pub(super) fn max_segments(&self) -> usize {
        // A socket whose network card refused a batch takes single datagrams from then on.
        let batch = self.sockets.iter().map(Socket::max_segments).min().unwrap_or(1);
        batch.min(self.shared.config.max_segments).max(1)
    }

    /// Sends the batch in `send_buf`.
    pub(super) fn send(&mut self, link: Link, transmit: Transmit, now: Instant) -> Sent {
        match link {
            Link::Socket(socket) => self.send_from(socket, transmit),
            Link::Tcp(stream) => {
                let contents = &self.send_buf[..transmit.size];
                self.tcp.send(stream, contents, transmit.segment_size.unwrap_or(transmit.size), now);
                Sent::Away
            }
        }
    }

    fn send_from(&mut self, socket: usize, transmit: Transmit) -> Sent {
        let contents = &self.send_buf[..transmit.size];
        let Err(error) = self.sockets[socket].send(transmit.path, contents, transmit.segment_size) else {
            return Sent::Away;
        };
        if error.kind() == io::ErrorKind::WouldBlock {
            self.blocked = Some(Blocked { socket, transmit });
            return Sent::Blocked;
        }
        tracing::debug!(%error, "send");
        if is_lost_address(&error) {
            self.shared.watch.look();
        }
        if socket::is_too_large(&error) { Sent::TooLarge } else { Sent::Away }
    }

    /// Sends what had no room before. False when there still is none.
    pub(super) fn flush_blocked(&mut self) -> bool {
        let Some(Blocked { socket, transmit }) = self.blocked.take() else { return true };
        self.send_from(socket, transmit) != Sent::Blocked
    }
}
