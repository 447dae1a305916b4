//! Spreads a window over its round trip, so that a burst does not overrun the queue of the bottleneck.
//!
//! Everything sent costs its time: at the rate that the controller says, if it has one; else its share of the
//! round-trip time, at twice the rate of the window in slow start and 5/4 of it later (as Linux does). What is
//! sent may be ahead of that by a quantum, so that packets still go out in batches and no timer is finer than
//! the operating system's. Windows without a rate are not paced on paths faster than [`MIN_SRTT`]: their own
//! queues are what such timers can resolve.
//!
//! Where many connections share a busy processor, each has its turn much later than its timer says. What a late timer has kept from
//! going goes then, as far as the window allows: else the connections that began later, with small windows, would never get
//! to fill them, and a window that isn't filled doesn't grow.

use std::time::{Duration, Instant};

/// Pacing begins at this round-trip time.
const MIN_SRTT: Duration = Duration::from_millis(5);

/// How much may go out at once, at least: what is sent in this time, and so many packets.
const QUANTUM: Duration = Duration::from_millis(1);
const QUANTUM_PACKETS: usize = 4;

/// The same for a controller's rate (draft-ietf-ccwg-bbr-06 §5.6.3), and how much unused time is kept for it in any case: a window
/// makes up for that with its gain, a controller would take it for the path's rate.
const RATE_QUANTUM_PACKETS: usize = 2;
const LATENESS: Duration = Duration::from_millis(2);

/// How long what is owed to a timer that was late may take to go out, in several calls.
const CATCHING_UP: Duration = Duration::from_millis(2);

/// No rate is below this, so that times stay within reason: a packet of 1,160 bytes in 1.2 s.
const MIN_RATE: f64 = 1000.0;

/// How fast to send, and in which lumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Seconds a byte.
    per_byte: f64,
    quantum: Duration,
    /// How much unused time is kept.
    credit: Duration,
}

impl Pace {
    /// A window in each round trip; `None` when that is not to be paced.
    pub(super) fn of_window(
        cwnd: usize,
        srtt: Option<Duration>,
        slow_start: bool,
        packet_len: usize,
    ) -> Option<Self> {
        let srtt = srtt.filter(|&srtt| srtt >= MIN_SRTT)?;
        let gain = if slow_start { 2.0 } else { 1.25 };
        let per_byte = srtt.as_secs_f64() / (gain * cwnd.max(1) as f64);
        let packets = Duration::from_secs_f64(per_byte * (QUANTUM_PACKETS * packet_len) as f64);
        let quantum = QUANTUM.max(packets);
        Some(Self { per_byte, quantum, credit: quantum })
    }

    /// A rate in bytes a second.
    pub(super) fn of_rate(rate: f64, packet_len: usize) -> Self {
        let per_byte = 1.0 / rate.max(MIN_RATE);
        let packets = Duration::from_secs_f64(per_byte * (RATE_QUANTUM_PACKETS * packet_len) as f64);
        let quantum = QUANTUM.max(packets);
        Self { per_byte, quantum, credit: quantum.max(LATENESS) }
    }
}

/// When the next packet may go.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// When what was sent so far has had its time.
    paid: Option<Instant>,
    quantum: Duration,
    /// Something waits until then.
    blocked_until: Option<Instant>,
    /// Something has waited until that time, and longer: when that was seen.
    late: Option<(Instant, Instant)>,
}

impl Pacer {
    /// Whether a packet may go now; if not, [`blocked_until`](Self::blocked_until) says when.
    pub(super) fn ready(&mut self, now: Instant) -> bool {
        self.on_timeout(now);
        self.blocked_until = self.paid.filter(|&paid| paid > now + self.quantum);
        self.blocked_until.is_none()
    }

    /// A packet with so many bytes of chunks has been sent.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize, pace: Pace) {
        self.quantum = pace.quantum;
        // Some unused time is kept, and all in which something waited for a late timer.
        let mut from = now.checked_sub(pace.credit).unwrap_or(now);
        self.late = self.late.filter(|(_, seen)| now.saturating_duration_since(*seen) <= CATCHING_UP);
        if let Some((until, _)) = self.late {
            from = from.min(until);
        }
        let paid = self.paid.map_or(from, |paid| paid.max(from));
        self.paid = Some(paid + Duration::from_secs_f64(pace.per_byte * bytes as f64));
    }

    /// When what waits may go.
    pub(super) fn blocked_until(&self) -> Option<Instant> {
        self.blocked_until
    }

    /// The time has passed: asking again is worth it.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        if let Some(until) = self.blocked_until.take_if(|until| *until <= now) {
            self.late = Some((until, now));
        }
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
    fn second(pace: Pace, late: Duration) -> (u32, u32) {
        let start = base();
        let (mut now, mut pacer) = (start, Pacer::default());
        let (mut packets, mut burst, mut largest) = (0, 0, 0);
        while now < start + ms(1000) {
            if pacer.ready(now) {
                pacer.sent(now, 1000, pace);
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

    /// A window of 100 packets.
    fn window(srtt: Duration) -> Option<Pace> {
        Pace::of_window(100_000, Some(srtt), false, 1000)
    }

    #[test]
    fn a_window_and_a_quarter_goes_out_in_a_round_trip_and_in_small_batches() {
        let (packets, burst) = second(window(ms(100)).unwrap(), Duration::ZERO);
        assert!((1230..1280).contains(&packets), "{packets}");
        assert!(burst <= 10, "{burst}");
    }

    #[test]
    fn a_timer_that_is_late_costs_no_rate() {
        let (packets, _) = second(window(ms(100)).unwrap(), ms(2));
        assert!(packets > 1200, "{packets}");
    }

    #[test]
    fn not_even_one_that_is_late_by_much() {
        let (packets, burst) = second(window(ms(100)).unwrap(), ms(50));
        assert!(packets > 1150, "{packets}");
        assert!(burst < 80, "what 50 ms and a quantum are worth: {burst}");
    }

    #[test]
    fn what_was_not_asked_for_is_not_owed() {
        let pace = window(ms(100)).unwrap();
        let (mut pacer, mut now) = (Pacer::default(), base());
        let mut burst = || {
            let mut packets = 0;
            while pacer.ready(now) {
                pacer.sent(now, 1000, pace);
                packets += 1;
            }
            now = pacer.blocked_until().expect("a deadline");
            // Nothing more is to be sent for a second.
            assert!(pacer.ready(now));
            now += ms(1000);
            packets
        };
        burst();
        assert!(burst() <= 10);
    }

    #[test]
    fn windows_of_short_paths_are_not_paced() {
        assert!(window(ms(4)).is_none());
        assert!(window(ms(5)).is_some());
        assert!(Pace::of_window(100_000, None, false, 1000).is_none());
    }

    #[test]
    fn a_rate_is_kept_whatever_the_timer_does() {
        for rate in [100.0, 1000.0, 100_000.0] {
            for late in [Duration::ZERO, ms(1), ms(2)] {
                let (packets, burst) = second(Pace::of_rate(rate * 1000.0, 1000), late);
                let packets = f64::from(packets);
                assert!((rate..rate * 1.01 + 5.0).contains(&packets), "{rate} {late:?}: {packets}");
                // A quantum, what was missed, and one that was not owed at the start.
                assert!(f64::from(burst) <= rate * 0.005 + 5.0, "{rate} {late:?}: {burst}");
            }
        }
    }

    #[test]
    fn a_rate_of_nothing_is_slow_and_no_more() {
        let pace = Pace::of_rate(0.0, 1000);
        assert!(pace.quantum <= Duration::from_secs(2));
    }
}
