//! HyStart++ (RFC 9406): ends the first slow start when the round-trip time rises, before the queue of the
//! bottleneck runs over.
//!
//! ```text
//!   slow start ──RTT of a round rose──► conservative slow start ──5 rounds──► congestion avoidance
//!        ▲                                        │
//!        └────────────RTT fell again──────────────┘
//! ```
//!
//! What differs from the RFC, because we pace and have a measurement with every SACK:
//!
//! - The rise is looked for in every eight measurements, not in the smallest of a round. Packets that are spread over
//!   the round trip make the queue grow in the course of the round, from nothing to one round trip: its smallest
//!   shows that one round later, when a queue of one bandwidth-delay product has run over.
//! - A round-trip time longer by half is no false alarm: slow start ends then, without five rounds more.

use std::time::Duration;

use super::Acked;

/// RFC 9406 §4.3.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: usize = 4;
const CSS_ROUNDS: u32 = 5;

/// What to do with an acknowledgement in slow start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    /// Grow by what was acknowledged, divided by this.
    Divided(usize),
    /// Slow start is over.
    Exit,
}

/// Conservative slow start.
#[derive(Clone, Copy, Debug)]
struct Css {
    baseline_min_rtt: Duration,
    /// The smallest of the last round before.
    before: Duration,
    rounds: u32,
}

/// The rounds of a slow start, and their round-trip times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HyStart {
    /// The round ends when this TSN is acknowledged.
    window_end: Option<u64>,
    last_round_min_rtt: Option<Duration>,
    current_round_min_rtt: Option<Duration>,
    samples: u32,
    /// The smallest of these.
    min_of_samples: Option<Duration>,
    css: Option<Css>,
}

impl HyStart {
    /// RFC 9406 §4.2.
    pub(super) fn on_ack(&mut self, acked: &Acked) -> Growth {
        let window_end = *self.window_end.get_or_insert(acked.next_tsn);
        if let Some(rtt) = acked.rtt {
            self.current_round_min_rtt = Some(self.current_round_min_rtt.map_or(rtt, |min| min.min(rtt)));
            self.samples += 1;
            self.min_of_samples = Some(self.min_of_samples.map_or(rtt, |min| min.min(rtt)));
        }
        if self.samples >= N_RTT_SAMPLE
            && let Some(current) = self.min_of_samples.take()
        {
            self.samples = 0;
            match self.css {
                None => {
                    if let Some(last) = self.last_round_min_rtt {
                        let thresh = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
                        if current >= last + thresh {
                            self.css = Some(Css { baseline_min_rtt: current, before: last, rounds: 0 });
                        }
                    }
                }
                Some(css) if current < css.baseline_min_rtt => self.css = None,
                Some(css) if current >= css.before + (css.before / 2).max(MAX_RTT_THRESH) => {
                    return Growth::Exit;
                }
                Some(_) => {}
            }
        }
        if acked.cumulative + 1 >= window_end {
            self.window_end = Some(acked.next_tsn);
            if self.current_round_min_rtt.is_some() {
                self.last_round_min_rtt = self.current_round_min_rtt.take();
            }
            (self.samples, self.min_of_samples) = (0, None);
            if let Some(css) = &mut self.css {
                css.rounds += 1;
                if css.rounds >= CSS_ROUNDS {
                    return Growth::Exit;
                }
            }
        }
        Growth::Divided(if self.css.is_some() { CSS_GROWTH_DIVISOR } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::acked;
    use super::*;
    use crate::tests::{base, ms};

    /// One round of `samples` acknowledgements with this RTT; what the last one said.
    fn round(hystart: &mut HyStart, tsn: &mut u64, samples: u64, rtt: u64) -> Growth {
        let now = base();
        let end = *tsn + samples;
        let mut growth = Growth::Divided(1);
        for _ in 0..samples {
            let ack = Acked { cumulative: *tsn, next_tsn: end + 1, rtt: Some(ms(rtt)), ..acked(now, 1000) };
            growth = hystart.on_ack(&ack);
            if growth == Growth::Exit {
                break;
            }
            *tsn += 1;
        }
        growth
    }

    #[test]
    fn a_steady_round_trip_time_changes_nothing() {
        let (mut hystart, mut tsn) = (HyStart::default(), 1);
        for _ in 0..20 {
            assert_eq!(round(&mut hystart, &mut tsn, 20, 50), Growth::Divided(1));
        }
    }

    #[test]
    fn a_rising_one_slows_the_growth_and_ends_it_after_five_rounds() {
        let (mut hystart, mut tsn) = (HyStart::default(), 1);
        for _ in 0..3 {
            round(&mut hystart, &mut tsn, 20, 50);
        }
        assert_eq!(round(&mut hystart, &mut tsn, 20, 60), Growth::Divided(4));
        let rounds = (1..10).find(|_| round(&mut hystart, &mut tsn, 20, 60) == Growth::Exit);
        assert!(rounds.is_some_and(|n| (3..=5).contains(&n)), "{rounds:?}");
    }

    #[test]
    fn one_that_falls_again_was_a_false_alarm() {
        let (mut hystart, mut tsn) = (HyStart::default(), 1);
        for _ in 0..3 {
            round(&mut hystart, &mut tsn, 20, 50);
        }
        assert_eq!(round(&mut hystart, &mut tsn, 20, 60), Growth::Divided(4));
        assert_eq!(round(&mut hystart, &mut tsn, 20, 50), Growth::Divided(1));
    }

    #[test]
    fn a_round_with_few_samples_decides_nothing() {
        let (mut hystart, mut tsn) = (HyStart::default(), 1);
        for rtt in [50, 90, 150, 250] {
            assert_eq!(round(&mut hystart, &mut tsn, 4, rtt), Growth::Divided(1));
        }
    }

    #[test]
    fn a_rise_in_the_course_of_a_round_is_seen_in_that_round() {
        let (mut hystart, mut tsn) = (HyStart::default(), 1);
        round(&mut hystart, &mut tsn, 20, 50);
        let now = base();
        let grown: Vec<_> = (0..40)
            .map(|n| {
                let rtt = Some(ms(if n < 16 { 50 } else { 60 }));
                hystart.on_ack(&Acked { cumulative: tsn, next_tsn: tsn + 100, rtt, ..acked(now, 1000) })
            })
            .collect();
        assert_eq!(grown[..16], [Growth::Divided(1); 16]);
        assert_eq!(grown[32..], [Growth::Divided(4); 8]);
    }

    #[test]
    fn a_round_trip_longer_by_half_ends_it_at_once() {
        let (mut hystart, mut tsn) = (HyStart::default(), 1);
        for _ in 0..3 {
            round(&mut hystart, &mut tsn, 20, 50);
        }
        assert_eq!(round(&mut hystart, &mut tsn, 20, 80), Growth::Exit);
    }
}
