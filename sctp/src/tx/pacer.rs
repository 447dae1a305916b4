//! Spreads a window over its round trip, so that a burst does not overrun the queue of the bottleneck.
//!
//! Everything sent costs its share of the round-trip time, at twice the rate of the window in slow start and
//! 5/4 of it later (as Linux does). What is sent may be ahead of that by a quantum, so that packets still go
//! out in batches. Paths faster than [`MIN_SRTT`] are not paced: their own queues are what the timers of an
//! operating system can resolve.

use std::time::{Duration, Instant};

/// Pacing begins at this round-trip time.
const MIN_SRTT: Duration = Duration::from_millis(5);

/// How much may go out at once, at least: what is sent in this time, and so many packets.
const QUANTUM: Duration = Duration::from_millis(1);
const QUANTUM_PACKETS: usize = 4;

/// Whether paths with this round-trip time are paced.
pub(super) fn applies(srtt: Duration) -> bool {
    srtt >= MIN_SRTT
}

/// What the rate follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) cwnd: usize,
    pub(super) srtt: Duration,
    pub(super) slow_start: bool,
}

/// When the next packet may go.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// When what was sent so far has had its time.
    paid: Option<Instant>,
    quantum: Duration,
    /// Something waits until then.
    blocked_until: Option<Instant>,
}

impl Pacer {
    /// Whether a packet may go now; if not, [`blocked_until`](Self::blocked_until) says when.
    pub(super) fn ready(&mut self, now: Instant) -> bool {
        self.blocked_until = self.paid.filter(|&paid| paid > now + self.quantum);
        self.blocked_until.is_none()
    }

    /// A packet with so many bytes of chunks has been sent.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize, packet_len: usize, rate: Rate) {
        let Rate { cwnd, srtt, slow_start } = rate;
        let gain = if slow_start { 2.0 } else { 1.25 };
        let per_byte = srtt.as_secs_f64() / (gain * cwnd.max(1) as f64);
        self.quantum = QUANTUM.max(Duration::from_secs_f64(per_byte * (QUANTUM_PACKETS * packet_len) as f64));
        // A late timer does not cost rate: up to a quantum of unused time is kept.
        let from = now.checked_sub(self.quantum).unwrap_or(now);
        let paid = self.paid.map_or(from, |paid| paid.max(from));
        self.paid = Some(paid + Duration::from_secs_f64(per_byte * bytes as f64));
    }

    /// When what waits may go.
    pub(super) fn blocked_until(&self) -> Option<Instant> {
        self.blocked_until
    }

    /// The time has passed: asking again is worth it.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.blocked_until = self.blocked_until.filter(|&until| until > now);
    }

    /// Nothing is owed any more.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{base, ms};

    /// Sends for a second, waking up `late` after each deadline; returns packets, and the largest burst.
    fn second(srtt: Duration, late: Duration) -> (u32, u32) {
        let start = base();
        let (mut now, mut pacer) = (start, Pacer::default());
        let (mut packets, mut burst, mut largest) = (0, 0, 0);
        while now < start + ms(1000) {
            if pacer.ready(now) {
                // A window of 100 packets.
                pacer.sent(now, 1000, 1000, Rate { cwnd: 100_000, srtt, slow_start: false });
                packets += 1;
                burst += 1;
                largest = largest.max(burst);
            } else {
                burst = 0;
                now = pacer.blocked_until().expect("a deadline") + late;
                pacer.on_timeout(now);
                assert_eq!(pacer.blocked_until(), None);
            }
        }
        (packets, largest)
    }

    #[test]
    fn a_window_and_a_quarter_goes_out_in_a_round_trip_and_in_small_batches() {
        let (packets, burst) = second(ms(100), Duration::ZERO);
        assert!((1230..1280).contains(&packets), "{packets}");
        assert!(burst <= 10, "{burst}");
    }

    #[test]
    fn a_timer_that_is_late_costs_no_rate() {
        let (packets, _) = second(ms(100), ms(2));
        assert!(packets > 1200, "{packets}");
    }

    #[test]
    fn short_paths_are_not_paced() {
        assert!(!applies(ms(4)));
        assert!(applies(ms(5)));
    }
}
