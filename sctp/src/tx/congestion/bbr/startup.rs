//! Startup and Drain (draft-ietf-ccwg-bbr-06 §5.3.1 and §5.3.2): double the rate until the path gives no more,
//! then take back what is queued by then.

use super::loss::is_inflight_too_high;
use super::{Acked, Bbr, RateSample, Repair, State};

/// The least gain that doubles the rate each round: 4 ln 2.
pub(super) const PACING_GAIN: f64 = 2.77;
pub(super) const DRAIN_PACING_GAIN: f64 = 0.5;

/// A pipe is full when the rate grows by less than this in so many rounds.
const FULL_BW_GROWTH: f64 = 1.25;
const FULL_BW_ROUNDS: u32 = 3;
/// `BBRStartupFullLossCnt`: so many separate losses in a round are no accident.
const FULL_LOSS_COUNT: u32 = 6;
const DRAIN_ROUNDS: u64 = 3;

/// Looks for the rate at which sending faster does not deliver faster (§5.3.1.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FullPipe {
    full_bw: f64,
    count: u32,
    /// In this search: sending faster does not help.
    pub(super) full_bw_now: bool,
    /// It has been found once.
    full_bw_reached: bool,
}

impl FullPipe {
    pub(super) fn is_reached(&self) -> bool {
        self.full_bw_reached
    }

    pub(super) fn set_reached(&mut self, reached: bool) {
        self.full_bw_reached = reached;
    }

    /// `ResetFullBW`, with a rate to grow from.
    pub(super) fn reset(&mut self, full_bw: f64) {
        *self = Self { full_bw, full_bw_reached: self.full_bw_reached, ..Self::default() };
    }

    /// `CheckFullBWReached`
    pub(super) fn check(&mut self, sample: &RateSample, round_start: bool) {
        let Some(rate) = sample.delivery_rate else { return };
        if self.full_bw_now || !round_start || sample.is_app_limited {
            return;
        }
        if rate >= self.full_bw * FULL_BW_GROWTH {
            self.reset(rate);
            return;
        }
        self.count += 1;
        self.full_bw_now = self.count >= FULL_BW_ROUNDS;
        self.full_bw_reached |= self.full_bw_now;
    }
}

impl Bbr {
    /// `CheckStartupDone`
    pub(super) fn check_startup_done(&mut self, acked: &Acked, sample: &RateSample) {
        if self.state != State::Startup {
            return;
        }
        self.check_startup_high_loss(acked, sample);
        if self.full_pipe.is_reached() {
            self.state = State::Drain;
            self.drain_start_round = self.rounds.round_count;
            self.drain_start_delivered = self.delivered;
        }
    }

    /// A round of recovery with many losses ends Startup, too (§5.3.1.3).
    fn check_startup_high_loss(&mut self, acked: &Acked, sample: &RateSample) {
        if !self.model.loss_round_start {
            return;
        }
        let events = std::mem::take(&mut self.undo.loss_events_in_round);
        if acked.in_fast_recovery
            && self.repair != Repair::None
            && events >= FULL_LOSS_COUNT
            && is_inflight_too_high(sample.lost, sample.tx_in_flight)
        {
            self.undo.left = Some(State::Startup);
            self.full_pipe.set_reached(true);
            self.model.inflight_longterm = self.bdp().max(self.model.inflight_latest());
        }
    }

    /// `CheckDrainDone`
    pub(super) fn check_drain_done(&mut self, acked: &Acked) {
        if self.state == State::Drain
            && (acked.in_flight <= self.inflight(self.model.bw(), 1.0)
                || self.rounds.round_count > self.drain_start_round + DRAIN_ROUNDS)
        {
            self.start_probe_bw_down(acked.now);
        }
    }
}
