//! What of the socket's receive buffer each connection may fill.
//!
//! Many connections whose data comes faster than it is taken would overrun it together, each within its own window. What is lost then is
//! lost unevenly: a connection that has a small window at that moment keeps it small for long. So where data waits in the buffer
//! before we take it, connections that receive much are each told their share
//! ([`Peer::set_receive_queue`](sinnet_peer::Peer::set_receive_queue)).
//!
//! How long it waits is known by the kernel's timestamps, and as in CoDel (RFC 8289) a wait counts only if it is that long over an interval:
//! a burst, or one late turn, is no queue. Without such a queue what limits a connection is its path, which may hold far more
//! than the buffer; then nobody is told anything, and neither is a connection that has the buffer to itself, or where there are no
//! timestamps (other systems than Linux and Android).

use std::time::{Duration, Instant};

/// RFC 8289 §4.3.
const INTERVAL: Duration = Duration::from_millis(100);
const TARGET: Duration = Duration::from_millis(5);

/// Who receives less in an interval counts for nothing.
const MUCH: usize = 64 * 1024;

/// Longer waits count as this; the clock may have been set meanwhile.
const LONGEST: Duration = Duration::from_secs(1);

/// The buffer, and how many share it.
#[derive(Debug)]
pub(super) struct QueueShare {
    /// Bytes that have room, or so.
    buffer: usize,
    began: Option<Instant>,
    number: u32,
    now: Interval,
    before: Interval,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interval {
    /// Connections that have received much.
    connections: usize,
    /// What has been taken, and the microseconds that each byte has waited.
    bytes: u64,
    waited: u64,
}

impl Interval {
    /// Whether more than one connection's data has waited for long.
    fn is_crowded(&self) -> bool {
        self.connections > 1 && self.waited > self.bytes.saturating_mul(TARGET.as_micros() as u64)
    }
}

/// What one connection has received, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    interval: u32,
    bytes: usize,
}

impl QueueShare {
    /// `buffer` is what the system says, bytes: Linux says twice what fits, as it counts its own structures too.
    pub(super) fn new(buffer: usize) -> Self {
        let (now, before) = Default::default();
        Self { buffer: buffer / 2, began: None, number: 0, now, before }
    }

    /// A turn begins.
    pub(super) fn tick(&mut self, now: Instant) {
        let passed = self.began.map(|began| now.saturating_duration_since(began));
        if passed.is_none_or(|passed| passed >= INTERVAL) {
            self.began = Some(now);
            self.number = self.number.wrapping_add(1);
            self.before = std::mem::take(&mut self.now);
        }
    }

    /// So many bytes were taken after so long a time in the buffer.
    pub(super) fn waited(&mut self, bytes: usize, time: Duration) {
        let bytes = bytes as u64;
        self.now.bytes = self.now.bytes.saturating_add(bytes);
        let micros = time.min(LONGEST).as_micros() as u64;
        self.now.waited = self.now.waited.saturating_add(bytes.saturating_mul(micros));
    }

    /// A connection has received so much. Returns its share, bytes; `usize::MAX` is no limit.
    pub(super) fn of(&mut self, received: &mut Received, bytes: usize) -> usize {
        if received.interval != self.number {
            *received = Received { interval: self.number, bytes: 0 };
        }
        let before = received.bytes;
        received.bytes = before.saturating_add(bytes);
        if before < MUCH && received.bytes >= MUCH {
            self.now.connections += 1;
        }
        if self.before.is_crowded() {
            self.buffer / self.now.connections.max(self.before.connections)
        } else {
            usize::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interval in which so many connections receive much, all after the same wait. Returns what the last one is told.
    fn interval(share: &mut QueueShare, number: u32, all: &mut [Received], wait: Duration) -> usize {
        share.tick(crate::shared::now() + number * INTERVAL);
        let mut told = 0;
        for received in all {
            share.waited(MUCH, wait);
            told = share.of(received, MUCH);
            assert_eq!(share.of(received, MUCH), told, "each counts once");
        }
        told
    }

    #[test]
    fn those_who_receive_much_share_a_buffer_in_which_data_waits() {
        let mut share = QueueShare::new(8 << 20);
        let mut all = [Received::default(); 10];
        let long = 2 * TARGET;
        assert_eq!(interval(&mut share, 1, &mut all, long), usize::MAX, "an interval has to show it");
        assert_eq!(interval(&mut share, 2, &mut all, long), (4 << 20) / 10);
        assert_eq!(
            share.of(&mut Received::default(), 1000),
            (4 << 20) / 10,
            "who receives little is not counted"
        );
        assert_eq!(
            interval(&mut share, 3, &mut all[..2], long),
            (4 << 20) / 10,
            "as before, until it is over"
        );
        assert_eq!(interval(&mut share, 4, &mut all[..2], long), (4 << 20) / 2);
        assert_eq!(interval(&mut share, 5, &mut all[..1], long), (4 << 20) / 2);
        assert_eq!(interval(&mut share, 6, &mut all[..1], long), usize::MAX, "it has the buffer to itself");
    }

    #[test]
    fn nobody_is_limited_where_data_is_taken_in_time_whatever_the_size_of_the_buffer() {
        // What Linux says if nobody has changed `net.core.rmem_max`.
        for buffer in [425_984, 8 << 20, 0] {
            let mut share = QueueShare::new(buffer);
            let mut all = [Received::default(); 10];
            for number in 1..5 {
                assert_eq!(interval(&mut share, number, &mut all, TARGET / 2), usize::MAX);
            }
            // A late turn.
            share.waited(1000, 40 * TARGET);
            assert_eq!(interval(&mut share, 5, &mut all, TARGET / 2), usize::MAX);
        }
    }
}
