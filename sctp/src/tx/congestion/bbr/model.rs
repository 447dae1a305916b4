//! What is known of the path: its rate, its round trip, how its acknowledgements clump, and what losses have
//! said about the first two (draft-ietf-ccwg-bbr-06 §5.5).

use std::time::{Duration, Instant};

use super::Acked;
use super::probe_bw::Cycle;
use crate::tx::delivery::RateSample;

/// How long a smallest round trip is believed (`BBR.MinRTTFilterLen`).
pub(super) const MIN_RTT_LIFE: Duration = Duration::from_secs(10);
/// Rounds in each half of the window over acknowledgements in excess; the window is 5 to 10 rounds.
const EXTRA_ACKED_ROUNDS: u32 = 5;

/// Round trips, counted by packets (§5.5.1): one is over when something is acknowledged that was sent after the
/// last one was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    next_round_delivered: u64,
    /// This acknowledgement begins a round.
    pub(super) round_start: bool,
    pub(super) round_count: u64,
}

impl Rounds {
    pub(super) fn update(&mut self, sample: &RateSample, cycle: &mut Cycle) {
        self.round_start = sample.prior_delivered >= self.next_round_delivered;
        if self.round_start {
            self.start(sample.total_delivered);
            self.round_count += 1;
            cycle.rounds_since_probe_up += 1;
        }
    }

    /// `StartRound`
    pub(super) fn start(&mut self, delivered: u64) {
        self.next_round_delivered = delivered;
    }
}

/// The largest of the current and the previous slot.
#[derive(Clone, Copy, Debug, Default)]
struct MaxOfTwo {
    slots: [f64; 2],
}

impl MaxOfTwo {
    fn update(&mut self, value: f64) {
        self.slots[1] = self.slots[1].max(value);
    }

    fn advance(&mut self) {
        self.slots = [self.slots[1], 0.0];
    }

    fn get(self) -> f64 {
        self.slots[0].max(self.slots[1])
    }
}

#[derive(Debug)]
pub(super) struct Model {
    max_bw: MaxOfTwo,
    pub(super) bw_shortterm: f64,
    pub(super) inflight_shortterm: usize,
    pub(super) inflight_longterm: usize,
    min_rtt: Option<(Duration, Instant)>,
    /// The best of the last round, in rate and volume.
    bw_latest: f64,
    inflight_latest: u64,
    loss_round_delivered: u64,
    pub(super) loss_round_start: bool,
    pub(super) is_loss_in_round: bool,
    extra_acked: MaxOfTwo,
    extra_acked_rounds: u32,
    extra_acked_since: Option<Instant>,
    extra_acked_delivered: f64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            max_bw: MaxOfTwo::default(),
            bw_shortterm: f64::INFINITY,
            inflight_shortterm: usize::MAX,
            inflight_longterm: usize::MAX,
            min_rtt: None,
            bw_latest: 0.0,
            inflight_latest: 0,
            loss_round_delivered: 0,
            loss_round_start: false,
            is_loss_in_round: false,
            extra_acked: MaxOfTwo::default(),
            extra_acked_rounds: 0,
            extra_acked_since: None,
            extra_acked_delivered: 0.0,
        }
    }
}

impl Model {
    /// `BBR.bw`
    pub(super) fn bw(&self) -> f64 {
        self.max_bw.get().min(self.bw_shortterm)
    }

    pub(super) fn max_bw(&self) -> f64 {
        self.max_bw.get()
    }

    pub(super) fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt.map(|(rtt, _)| rtt)
    }

    pub(super) fn inflight_latest(&self) -> usize {
        usize::try_from(self.inflight_latest).unwrap_or(usize::MAX)
    }

    pub(super) fn extra_acked(&self) -> usize {
        self.extra_acked.get() as usize
    }

    /// A round trip measured at `at`: taken if it is smaller, or if the smallest is too old.
    pub(super) fn update_min_rtt(&mut self, now: Instant, rtt: Duration, at: Instant) {
        if self.min_rtt.is_none_or(|(min, stamp)| rtt < min || now > stamp + MIN_RTT_LIFE) {
            self.min_rtt = Some((rtt, at));
        }
    }

    /// `UpdateLatestDeliverySignals` (§5.5.10.3)
    pub(super) fn update_latest(&mut self, sample: &RateSample) {
        self.loss_round_start = false;
        self.bw_latest = self.bw_latest.max(sample.delivery_rate.unwrap_or(0.0));
        self.inflight_latest = self.inflight_latest.max(sample.delivered);
        if sample.prior_delivered >= self.loss_round_delivered {
            self.loss_round_delivered = sample.total_delivered;
            self.loss_round_start = true;
        }
    }

    /// `AdvanceLatestDeliverySignals`
    pub(super) fn advance_latest(&mut self, sample: &RateSample) {
        if self.loss_round_start {
            self.bw_latest = sample.delivery_rate.unwrap_or(0.0);
            self.inflight_latest = sample.delivered;
        }
    }

    /// `ResetCongestionSignals`
    pub(super) fn reset_congestion_signals(&mut self) {
        self.is_loss_in_round = false;
        self.bw_latest = 0.0;
        self.inflight_latest = 0;
    }

    /// `ResetShortTermModel`
    pub(super) fn reset_short_term(&mut self) {
        self.bw_shortterm = f64::INFINITY;
        self.inflight_shortterm = usize::MAX;
    }

    /// `UpdateMaxBw` (§5.5.5): rates of the application count only if they are higher.
    pub(super) fn update_max_bw(&mut self, sample: &RateSample) {
        if let Some(rate) = sample.delivery_rate
            && (rate >= self.max_bw() || !sample.is_app_limited)
        {
            self.max_bw.update(rate);
        }
    }

    /// `AdvanceMaxBwFilter`: forgets the cycle before the last one.
    pub(super) fn advance_max_bw(&mut self) {
        self.max_bw.advance();
    }

    /// The first loss of a round (`NoteLoss`).
    pub(super) fn note_loss(&mut self, delivered: u64) {
        if !self.is_loss_in_round {
            self.loss_round_delivered = delivered;
        }
        self.is_loss_in_round = true;
    }

    /// `InitLowerBounds` and `LossLowerBounds` (§5.5.10.3): slows down towards what still comes through.
    pub(super) fn lower(&mut self, cwnd: usize, beta: f64) {
        let bw = if self.bw_shortterm.is_infinite() { self.max_bw() } else { self.bw_shortterm };
        self.bw_shortterm = self.bw_latest.max(beta * bw);
        let inflight = if self.inflight_shortterm == usize::MAX { cwnd } else { self.inflight_shortterm };
        self.inflight_shortterm = self.inflight_latest().max((beta * inflight as f64) as usize);
    }

    /// `UpdateACKAggregation` (§5.5.9): how much more comes acknowledged at a time than the rate explains.
    pub(super) fn update_ack_aggregation(
        &mut self,
        acked: &Acked,
        cwnd: usize,
        round_start: bool,
        full_bw_reached: bool,
    ) {
        let since = *self.extra_acked_since.get_or_insert(acked.now);
        let mut expected = self.bw() * acked.now.saturating_duration_since(since).as_secs_f64();
        if round_start {
            self.extra_acked_rounds += 1;
            if self.extra_acked_rounds >= if full_bw_reached { EXTRA_ACKED_ROUNDS } else { 1 } {
                self.extra_acked_rounds = 0;
                self.extra_acked.advance();
            }
        }
        if self.extra_acked_delivered <= expected {
            self.restart_aggregation(acked.now);
            expected = 0.0;
        }
        self.extra_acked_delivered += acked.bytes as f64;
        self.extra_acked.update((self.extra_acked_delivered - expected).min(cwnd as f64));
    }

    /// Excess is counted from now.
    pub(super) fn restart_aggregation(&mut self, now: Instant) {
        self.extra_acked_delivered = 0.0;
        self.extra_acked_since = Some(now);
    }
}
