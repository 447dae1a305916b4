//! How fast the path delivers: a sample for each SACK (draft-ietf-ccwg-bbr-06 §4.1).
//!
//! ```text
//!   sent ──► Burst: what was delivered by then, and when    (one entry for all that goes out at one time)
//!   SACK ──► the burst of the newest chunk it acknowledges ──► bytes delivered since then / time since then
//! ```
//!
//! A chunk keeps nothing but the time it was sent, which loss detection needs anyway; that time leads to its
//! burst: what goes out within 1/256 of the smallest round trip. So a chunk costs nothing, a burst costs an
//! entry, and a SACK one search, whatever it covers. Only rate-based controllers have a sampler at all.
//!
//! SACKs come in lumps: one covers a receive batch, and links collect them. A rate is therefore taken from one
//! acknowledgement to a later one, never from a sending to an acknowledgement, and is never higher than the
//! rate of sending (§4.1.1.2).
//!
//! Limit: [`MAX_BURSTS`] entries; the oldest is forgotten first, which costs samples and nothing else.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::outstanding::is_not_after;

/// What goes out within this share of a round trip, and within a millisecond, is one burst.
const BURSTS_PER_RTT: u32 = 256;
const MAX_GRAIN: Duration = Duration::from_millis(1);

/// Bursts remembered. 256 are under way on an empty path, and twice that with a queue as long as the path.
const MAX_BURSTS: usize = 8192;

/// What was known when something was sent.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// The time that its first chunks were given.
    sent_at: u32,
    /// The first TSN that could be new in it.
    next_tsn: u64,
    sent: Instant,
    /// `P.first_send_time`
    first_sent: Instant,
    /// `P.delivered_time`
    delivered_at: Instant,
    /// `P.delivered`
    delivered: u64,
    /// `P.lost`
    lost: u64,
    /// `P.tx_in_flight`, with the whole burst.
    in_flight: usize,
    /// `P.is_app_limited`
    app_limited: bool,
}

/// `RS`: what a SACK says about the path. Sizes in bytes of chunks, headers included.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct RateSample {
    /// Bytes a second; `None` when the interval is shorter than a round trip and says nothing.
    pub(crate) delivery_rate: Option<f64>,
    /// Delivered in the interval.
    pub(crate) delivered: u64,
    /// Delivered in all before the newest chunk acknowledged was sent.
    pub(crate) prior_delivered: u64,
    /// Delivered in all by now: `C.delivered`.
    pub(crate) total_delivered: u64,
    /// Lost since the newest chunk acknowledged was sent.
    pub(crate) lost: u64,
    /// In flight when it was sent.
    pub(crate) tx_in_flight: usize,
    /// There was not always something to send.
    pub(crate) is_app_limited: bool,
}

/// What there is to know about a chunk that was found lost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct LossSample {
    pub(crate) bytes: usize,
    /// Delivered in all before it was sent.
    pub(crate) prior_delivered: u64,
    /// In flight when it was sent.
    pub(crate) tx_in_flight: usize,
    /// Lost since it was sent, itself included.
    pub(crate) lost: u64,
    pub(crate) is_app_limited: bool,
    /// Delivered in all by now.
    pub(crate) total_delivered: u64,
}

/// The sampler.
#[derive(Debug, Default)]
pub(crate) struct DeliveryRate {
    /// `C.delivered`
    delivered: u64,
    /// `C.lost`
    lost: u64,
    /// `C.delivered_time`
    delivered_at: Option<Instant>,
    /// `C.first_send_time`
    first_sent: Option<Instant>,
    /// `C.app_limited`: samples are of the application's rate until so much is delivered.
    app_limited_until: Option<u64>,
    /// How long a burst lasts.
    grain: Duration,
    bursts: VecDeque<Burst>,
}

impl DeliveryRate {
    /// Something was sent (§4.1.2.2). `next_tsn` and `flight_before` are those from before.
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        sent_at: u32,
        next_tsn: u64,
        flight_before: usize,
        flight: usize,
    ) {
        if flight_before == 0 {
            self.first_sent = Some(now);
            self.delivered_at = Some(now);
        }
        let app_limited = self.app_limited_until.is_some();
        if let Some(burst) = self.bursts.back_mut()
            && (burst.sent_at == sent_at
                || (flight_before > 0
                    && burst.app_limited == app_limited
                    && now.saturating_duration_since(burst.sent) < self.grain))
        {
            burst.in_flight = burst.in_flight.max(flight);
            return;
        }
        if self.bursts.len() == MAX_BURSTS {
            self.bursts.pop_front();
        }
        self.bursts.push_back(Burst {
            sent_at,
            next_tsn,
            sent: now,
            first_sent: self.first_sent.unwrap_or(now),
            delivered_at: self.delivered_at.unwrap_or(now),
            delivered: self.delivered,
            lost: self.lost,
            in_flight: flight,
            app_limited,
        });
    }

    /// Bytes were acknowledged, the newest of them sent at `newest` (§4.1.2.3). Everything below `first` is
    /// acknowledged cumulatively.
    pub(crate) fn acknowledged(
        &mut self,
        now: Instant,
        bytes: usize,
        newest: Option<u32>,
        first: u64,
        min_rtt: Duration,
    ) -> Option<RateSample> {
        self.delivered += bytes as u64;
        self.delivered_at = Some(now);
        self.grain = (min_rtt / BURSTS_PER_RTT).min(MAX_GRAIN);
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }
        let burst = newest.and_then(|newest| self.burst(newest)).copied();
        while self.bursts.get(1).is_some_and(|second| second.next_tsn <= first) {
            // All that it sent, for the first time or again, is below the next one's TSNs.
            self.bursts.pop_front();
        }
        let burst = burst?;
        self.first_sent = Some(burst.sent);
        let send_elapsed = burst.sent.saturating_duration_since(burst.first_sent);
        let ack_elapsed = now.saturating_duration_since(burst.delivered_at);
        let interval = send_elapsed.max(ack_elapsed);
        let delivered = self.delivered - burst.delivered;
        let reliable = interval >= min_rtt && !interval.is_zero();
        Some(RateSample {
            delivery_rate: reliable.then(|| delivered as f64 / interval.as_secs_f64()),
            delivered,
            prior_delivered: burst.delivered,
            total_delivered: self.delivered,
            lost: self.lost - burst.lost,
            tx_in_flight: burst.in_flight,
            is_app_limited: burst.app_limited,
        })
    }

    /// A chunk that was sent at `sent_at` is taken for lost.
    pub(crate) fn lost(&mut self, sent_at: u32, bytes: usize) -> Option<LossSample> {
        self.lost += bytes as u64;
        let burst = self.burst(sent_at)?;
        Some(LossSample {
            bytes,
            prior_delivered: burst.delivered,
            tx_in_flight: burst.in_flight,
            lost: self.lost - burst.lost,
            is_app_limited: burst.app_limited,
            total_delivered: self.delivered,
        })
    }

    /// The application has nothing to send though it could be sent (§4.1.2.4): what comes now samples the
    /// application, until what is in flight has left the path.
    pub(crate) fn app_limited(&mut self, flight: usize) {
        self.app_limited_until = Some(self.delivered + flight as u64);
    }

    pub(crate) fn is_app_limited(&self) -> bool {
        self.app_limited_until.is_some()
    }

    /// The burst of a chunk that was given this time: the last one that began by then.
    fn burst(&self, sent_at: u32) -> Option<&Burst> {
        let after = self.bursts.partition_point(|burst| is_not_after(burst.sent_at, sent_at));
        self.bursts.get(after.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{base, ms};

    const RTT: Duration = Duration::from_millis(100);

    fn micros(ms: u64) -> u32 {
        (ms * 1000) as u32
    }

    /// Sends 1000 bytes each `every` ms and acknowledges them 100 ms later, `batch` at a time; the rates seen.
    fn rates(every: u64, batch: u64) -> Vec<f64> {
        let (start, mut sampler) = (base(), DeliveryRate::default());
        let (mut flight, mut acked, mut rates) = (0, 0, Vec::new());
        for at in 0..2000 {
            let now = start + ms(at);
            while acked + batch <= at.saturating_sub(100) / every + u64::from(at >= 100) {
                acked += batch;
                flight -= 1000 * batch as usize;
                let newest = micros((acked - 1) * every);
                let bytes = 1000 * batch as usize;
                let sample = sampler.acknowledged(now, bytes, Some(newest), acked, RTT).expect("known");
                rates.extend(sample.delivery_rate);
            }
            if at % every == 0 {
                sampler.sent(now, micros(at), at / every, flight, flight + 1000);
                flight += 1000;
            }
        }
        rates
    }

    #[test]
    fn a_steady_flow_is_measured_as_it_is() {
        let rates = rates(2, 1);
        assert!(rates.len() > 900);
        assert!(rates[200..].iter().all(|rate| (rate - 500_000.0).abs() < 15_000.0), "{:?}", &rates[200..]);
    }

    #[test]
    fn acknowledgements_in_lumps_are_never_faster_than_the_sending() {
        let rates = rates(2, 30);
        assert!(rates.len() > 20);
        for rate in &rates[5..] {
            assert!((300_000.0..=505_000.0).contains(rate), "{rates:?}");
        }
    }

    #[test]
    fn an_interval_below_a_round_trip_says_nothing() {
        let (start, mut sampler) = (base(), DeliveryRate::default());
        sampler.sent(start, 0, 1, 0, 1000);
        let sample = sampler.acknowledged(start + ms(50), 1000, Some(0), 2, RTT).unwrap();
        assert_eq!((sample.delivery_rate, sample.delivered), (None, 1000));
    }

    #[test]
    fn a_bubble_marks_samples_until_it_has_left_the_path() {
        let (start, mut sampler) = (base(), DeliveryRate::default());
        sampler.sent(start, 0, 1, 0, 1000);
        sampler.app_limited(1000);
        sampler.sent(start + ms(10), micros(10), 2, 1000, 2000);
        let first = sampler.acknowledged(start + RTT, 1000, Some(0), 2, RTT).unwrap();
        assert!(!first.is_app_limited, "sent before the bubble");
        let second = sampler.acknowledged(start + ms(110), 1000, Some(micros(10)), 3, RTT).unwrap();
        assert!(second.is_app_limited);
        assert!(!sampler.is_app_limited());
    }

    #[test]
    fn losses_are_counted_from_when_the_chunk_was_sent() {
        let (start, mut sampler) = (base(), DeliveryRate::default());
        for n in 0..10 {
            sampler.sent(start + ms(n), micros(n), n, 1000 * n as usize, 1000 * (n as usize + 1));
        }
        assert_eq!(
            sampler.lost(micros(2), 1000).map(|loss| (loss.lost, loss.tx_in_flight)),
            Some((1000, 3000))
        );
        assert_eq!(
            sampler.lost(micros(5), 1000).map(|loss| (loss.lost, loss.tx_in_flight)),
            Some((2000, 6000))
        );
        sampler.sent(start + ms(20), micros(20), 10, 8000, 9000);
        assert_eq!(sampler.lost(micros(20), 1000).map(|loss| loss.lost), Some(1000));
    }

    #[test]
    fn a_long_fat_path_has_few_bursts() {
        let (start, mut sampler) = (base(), DeliveryRate::default());
        sampler.sent(start, 0, 0, 0, 1000);
        sampler.acknowledged(start + RTT, 1000, Some(0), 1, RTT);
        // Two packets every 20 microseconds.
        for n in 0..5000_u64 {
            let sent_at = 100_000 + 20 * n as u32;
            let now = start + RTT + Duration::from_micros(20 * n);
            sampler.sent(now, sent_at, 1 + 2 * n, 1000 + 2000 * n as usize, 3000 + 2000 * n as usize);
        }
        assert!((200..=257).contains(&sampler.bursts.len()), "{}", sampler.bursts.len());
        let sample = sampler.acknowledged(start + 2 * RTT, 2000, Some(150_000), 5000, RTT).unwrap();
        assert_eq!((sample.prior_delivered, sample.is_app_limited), (1000, false));
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_and_there_is_a_limit() {
        let (start, mut sampler) = (base(), DeliveryRate::default());
        for n in 0..10_000 {
            sampler.sent(start + ms(n), micros(n), n, 1000, 1000);
        }
        assert_eq!(sampler.bursts.len(), MAX_BURSTS);
        assert_eq!(sampler.lost(micros(100), 1000), None, "forgotten");
        sampler.acknowledged(start + ms(10_000), 1000, Some(micros(9_999)), 9_990, RTT);
        assert_eq!(sampler.bursts.front().map(|burst| burst.next_tsn), Some(9_990));
    }
}
