//! Where the datagrams of a path leave and come in.
//!
//! A path's local address says which link leads out, and a datagram finds its connection by the link it came in on and
//! the address it came from. What is sent is in the driver's `send_buf`, one batch for one path.

use std::io;
use std::time::Instant;

use sinnet_peer::{Path, Protocol, Transmit};

use crate::watch::{Watch, is_lost_address};

use super::{Driver, MAX_BATCH, Socket, socket};

/// Most datagrams that any system takes in one call (Linux: UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: usize = 128;

/// What a relay's channel adds to a datagram (RFC 8656 §12.4).
const CHANNEL_HEADER: usize = 4;

/// One way in and out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Link {
    /// One of the endpoint's UDP sockets, by its place.
    Socket(usize),
    /// A TCP connection, which is one peer's.
    Tcp(usize),
    /// An address on a TURN server, by the relay's number. A number is never used again.
    Relay(u32),
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It is on its way, or lost.
    Away,
    /// There is no room; it is kept, and nothing else can be sent by that link before it.
    Blocked,
    /// It is on its way, and the connection should wait with the next.
    Held,
    /// Its datagrams are larger than the link takes.
    TooLarge,
}

impl Driver {
    /// What leads out on this path of a peer.
    pub(super) fn link_of(&mut self, peer: usize, path: Path, now: Instant) -> Option<Link> {
        match path.protocol {
            // First, as any port may be that of a socket that is bound to all addresses.
            Protocol::Udp => match self.relays.of_local(path.local) {
                Some(relay) => Some(Link::Relay(relay)),
                None => self.socket_of(path).map(Link::Socket),
            },
            Protocol::Tcp => self.tcp.link_of(peer, path, now).map(Link::Tcp),
        }
    }

    /// Whether nobody but a relay sees where we are on this path.
    pub(super) fn is_relayed(&self, path: Path) -> bool {
        path.protocol == Protocol::Udp && self.relays.of_local(path.local).is_some()
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

    /// Bytes of the largest batch: with relays, their headers must have room in one call, too.
    pub(super) fn batch_room(&self) -> usize {
        if self.relays.is_idle() { MAX_BATCH } else { MAX_BATCH - MAX_SEGMENTS * CHANNEL_HEADER }
    }

    /// Sends the batch in `send_buf`, which is that of the connection `peer`.
    pub(super) fn send(&mut self, link: Link, now: Instant, peer: usize, transmit: Transmit) -> Sent {
        self.patience.has_sent(transmit.size);
        match link {
            Link::Socket(socket) => {
                let contents = &self.send_buf[..transmit.size];
                let (watch, size) = (&self.shared.watch, transmit.segment_size);
                let sent = self.sockets[socket].send_batch(watch, transmit.path, contents, size);
                if sent == Sent::Blocked {
                    self.blocked.keep(socket, transmit, contents);
                }
                sent
            }
            Link::Relay(relay) => self.send_relayed(relay, now, peer, transmit),
            Link::Tcp(stream) => {
                let contents = &self.send_buf[..transmit.size];
                self.tcp.send(stream, contents, transmit.segment_size.unwrap_or(transmit.size), now);
                Sent::Away
            }
        }
    }
}

impl Socket {
    /// Sends a batch, or says why not.
    pub(super) fn send_batch(
        &self,
        watch: &Watch,
        path: Path,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> Sent {
        match self.send(path, contents, segment_size) {
            Ok(()) => Sent::Away,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Blocked,
            Err(error) => {
                tracing::debug!(%error, "send");
                if is_lost_address(&error) {
                    watch.look();
                }
                if socket::is_too_large(&error) { Sent::TooLarge } else { Sent::Away }
            }
        }
    }
}
