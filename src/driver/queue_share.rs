//! What of the socket's receive buffer each connection may fill.
//!
//! Many connections whose data comes faster than it is taken would overrun it together, each within its own window. What is lost then is
//! lost unevenly: a connection that has a small window at that moment keeps it small for long. So while much waits in the
//! buffer, each is told its share ([`Peer::set_receive_queue`](sinnet_peer::Peer::set_receive_queue)), by the number of those that
//! receive much. As long as the buffer is emptied in time, what limits a connection is its path, and it is told nothing.

use std::time::{Duration, Instant};

/// How long "while" is.
const EPOCH: Duration = Duration::from_millis(100);

/// Who receives less in this time counts for nothing.
const MUCH: usize = 64 * 1024;

/// Much waits if it is this part of the buffer.
const FULL: usize = 8;

/// The buffer, and how many share it.
#[derive(Debug)]
pub(super) struct QueueShare {
    /// Bytes that have room, or so.
    buffer: usize,
    began: Option<Instant>,
    epoch: u32,
    now: Epoch,
    before: Epoch,
}

#[derive(Clone, Copy, Debug, Default)]
struct Epoch {
    /// Connections that have received much.
    connections: usize,
    /// Much has waited.
    full: bool,
}

/// What one connection has received, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    epoch: u32,
    bytes: usize,
}

impl QueueShare {
    /// `buffer` is what the system says, bytes: Linux says twice what fits, as it counts its own structures too.
    pub(super) fn new(buffer: usize) -> Self {
        Self { buffer: buffer / 2, began: None, epoch: 0, now: Epoch::default(), before: Epoch::default() }
    }

    /// A turn begins.
    pub(super) fn tick(&mut self, now: Instant) {
        let passed = self.began.map(|began| now.saturating_duration_since(began));
        if passed.is_none_or(|passed| passed >= EPOCH) {
            self.began = Some(now);
            self.epoch = self.epoch.wrapping_add(1);
            self.before = std::mem::take(&mut self.now);
        }
    }

    /// So many bytes were in the buffer when it was last emptied, or that much of them has been taken.
    pub(super) fn waited(&mut self, bytes: usize) {
        self.now.full |= bytes >= self.buffer / FULL;
    }

    /// A connection has received so much. Returns its share, bytes.
    pub(super) fn of(&mut self, received: &mut Received, bytes: usize) -> usize {
        if received.epoch != self.epoch {
            *received = Received { epoch: self.epoch, bytes: 0 };
        }
        let before = received.bytes;
        received.bytes = before.saturating_add(bytes);
        if before < MUCH && received.bytes >= MUCH {
            self.now.connections += 1;
        }
        if self.now.full || self.before.full {
            self.buffer / self.now.connections.max(self.before.connections).max(1)
        } else {
            usize::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_receives_much_shares_with_the_others_who_do_and_alone_has_all() {
        let start = crate::shared::now();
        let mut share = QueueShare::new(8 << 20);
        let mut connections = [Received::default(); 10];
        share.tick(start);
        share.waited(1 << 20);
        for (done, received) in connections.iter_mut().enumerate() {
            assert_eq!(share.of(received, 1000), (4 << 20) / done.max(1), "little counts for nothing");
            assert_eq!(share.of(received, MUCH), (4 << 20) / (done + 1));
            assert_eq!(share.of(received, MUCH), (4 << 20) / (done + 1), "each counts once");
        }
        share.tick(start + EPOCH);
        share.waited(1 << 20);
        assert_eq!(
            share.of(&mut connections[0], 2 * MUCH),
            (4 << 20) / 10,
            "as before, until this epoch has shown"
        );
        share.tick(start + 2 * EPOCH);
        assert_eq!(share.of(&mut connections[0], 2 * MUCH), 4 << 20, "the others have stopped");
    }

    #[test]
    fn nobody_is_limited_while_the_buffer_is_emptied_in_time() {
        let start = crate::shared::now();
        let mut share = QueueShare::new(8 << 20);
        let mut received = Received::default();
        share.tick(start);
        share.waited((512 << 10) - 1);
        assert_eq!(share.of(&mut received, 10 * MUCH), usize::MAX);
        share.waited(512 << 10);
        assert_eq!(share.of(&mut received, 0), 4 << 20);
        share.tick(start + EPOCH);
        assert_eq!(share.of(&mut received, 0), 4 << 20, "it was a moment ago");
        share.tick(start + 2 * EPOCH);
        assert_eq!(share.of(&mut received, 0), usize::MAX);
    }
}
