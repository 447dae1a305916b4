//! Sockets that have no room at present: the batch that each couldn't take is kept, and connections whose data goes that way wait.
//! Everybody else goes on.

use std::time::Instant;

use sinnet_peer::{Protocol, Transmit};

use super::Driver;
use super::links::{Link, Sent};

/// A batch that its socket had no room for.
struct Batch {
    transmit: Transmit,
    contents: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Blocked {
    /// By socket, for those that have been without room so far.
    batches: Vec<Option<Batch>>,
    /// Sockets without room.
    count: usize,
    /// Connections that wait for room, each once.
    waiting: Vec<usize>,
}

impl Blocked {
    pub(super) fn is_blocked(&self, socket: usize) -> bool {
        self.count > 0 && matches!(self.batches.get(socket), Some(Some(_)))
    }

    /// The sockets to be waited for.
    pub(super) fn sockets(&self) -> impl Iterator<Item = usize> + '_ {
        let all = self.batches.iter().enumerate().filter(|_| self.count > 0);
        all.filter(|(_, batch)| batch.is_some()).map(|(socket, _)| socket)
    }

    /// Keeps what a socket has no room for, unless it has something to send already: then this one is lost.
    pub(super) fn keep(&mut self, socket: usize, transmit: Transmit, contents: &[u8]) {
        if self.batches.len() <= socket {
            self.batches.resize_with(socket + 1, || None);
        }
        if let Some(slot @ None) = self.batches.get_mut(socket) {
            self.count += 1;
            *slot = Some(Batch { transmit, contents: contents.to_vec() });
        }
    }
}

impl Driver {
    /// Whether what goes by this link leaves from a socket that has no room.
    pub(super) fn has_no_room(&mut self, link: Link) -> bool {
        if self.blocked.count == 0 {
            return false;
        }
        match link {
            Link::Socket(socket) => self.blocked.is_blocked(socket),
            Link::Relay(relay) => {
                self.relays.socket_of(relay).is_some_and(|socket| self.blocked.is_blocked(socket))
            }
            Link::Tcp(_) => false,
        }
    }

    /// Has a connection served again when there is room.
    pub(super) fn wait_for_room(&mut self, peer: usize) {
        if let Some(Some(entry)) = self.peers.get_mut(peer)
            && !entry.waits_for_room
        {
            entry.waits_for_room = true;
            self.blocked.waiting.push(peer);
        }
    }

    /// Whether a connection's data would go by a socket that has no room.
    pub(super) fn is_held_up(&mut self, peer: usize, now: Instant) -> bool {
        if self.blocked.count == 0 {
            return false;
        }
        let Some(Some(entry)) = self.peers.get(peer) else { return false };
        let path = entry.shared.lock().peer.selected_path();
        let link = path.filter(|path| path.protocol == Protocol::Udp);
        let link = link.and_then(|path| self.link_of(peer, path, now));
        link.is_some_and(|link| self.has_no_room(link))
    }

    /// Sends what had no room before, as far as there is room now, and lets those go on who wait for it.
    pub(super) fn flush_blocked(&mut self) {
        if self.blocked.count == 0 {
            return;
        }
        let before = self.blocked.count;
        for socket in 0..self.blocked.batches.len() {
            let Some(batch) = self.blocked.batches.get_mut(socket).and_then(Option::take) else { continue };
            self.blocked.count -= 1;
            let Batch { transmit: Transmit { path, segment_size, .. }, contents } = &batch;
            let sent = self.sockets[socket].send_batch(&self.shared.watch, *path, contents, *segment_size);
            if sent == Sent::Blocked {
                self.blocked.count += 1;
                self.blocked.batches[socket] = Some(batch);
            }
        }
        if self.blocked.count < before {
            for peer in std::mem::take(&mut self.blocked.waiting) {
                if let Some(Some(entry)) = self.peers.get_mut(peer) {
                    entry.waits_for_room = false;
                }
                self.concern(peer);
            }
        }
    }
}
