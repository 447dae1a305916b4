//! What losses do to the model (draft-ietf-ccwg-bbr-06 §5.5.10), and how that is taken back when they were none
//! (§5.5.11).

use std::time::Instant;

use super::probe_bw::Phase;
use super::{Bbr, Lost, State};
use crate::tx::delivery::LossSample;

/// `BBR.LossThresh`: losses above this share of what was in flight say that it was too much.
const LOSS_THRESH: f64 = 0.02;
/// `BBR.Beta`: no step down is larger than CUBIC's.
const BETA: f64 = 0.7;

/// What there was before the last losses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo {
    /// The state that they ended.
    pub(super) left: Option<State>,
    bw_shortterm: f64,
    inflight_shortterm: usize,
    inflight_longterm: usize,
    /// Separate losses in this round.
    pub(super) loss_events_in_round: u32,
    last_lost: u64,
}

impl Default for Undo {
    fn default() -> Self {
        Self {
            left: None,
            bw_shortterm: 0.0,
            inflight_shortterm: 0,
            inflight_longterm: 0,
            loss_events_in_round: 0,
            last_lost: 0,
        }
    }
}

/// `IsInflightTooHigh`
pub(super) fn is_inflight_too_high(lost: u64, tx_in_flight: usize) -> bool {
    lost as f64 > tx_in_flight as f64 * LOSS_THRESH
}

/// `InflightAtLoss`: how much was in flight when losses crossed the threshold, which may have been amid a burst.
fn inflight_at_loss(sample: &LossSample) -> usize {
    let inflight_prev = sample.tx_in_flight.saturating_sub(sample.bytes) as f64;
    let lost_prev = sample.lost.saturating_sub(sample.bytes as u64) as f64;
    let lost_prefix = (LOSS_THRESH * inflight_prev - lost_prev) / (1.0 - LOSS_THRESH);
    (inflight_prev + lost_prefix.max(0.0)) as usize
}

impl Bbr {
    /// `SaveStateUponLoss`
    pub(super) fn save_state(&mut self) {
        self.save_cwnd();
        self.undo = Undo {
            left: None,
            bw_shortterm: self.model.bw_shortterm,
            inflight_shortterm: self.model.inflight_shortterm,
            inflight_longterm: self.model.inflight_longterm,
            ..self.undo
        };
    }

    pub(super) fn note_loss(&mut self) {
        self.model.note_loss(self.delivered);
    }

    /// `HandleLostPacket` (§5.5.10.2)
    pub(super) fn handle_lost(&mut self, lost: &Lost) {
        self.delivered = lost.sample.total_delivered;
        if lost.is_first {
            self.save_state();
        }
        // What Startup sent too much is found lost a round trip later. Drain is the answer to it; the draft would
        // take it for a second sign, and crawl until the first probe.
        let answered =
            self.state == State::Drain && lost.sample.prior_delivered <= self.drain_start_delivered;
        if !answered {
            self.note_loss();
        }
        if lost.tsn != self.undo.last_lost + 1 {
            self.undo.loss_events_in_round += 1;
        }
        self.undo.last_lost = lost.tsn;
        if self.cycle.is_bw_probe_sample && is_inflight_too_high(lost.sample.lost, lost.sample.tx_in_flight) {
            self.handle_inflight_too_high(
                lost.now,
                inflight_at_loss(&lost.sample),
                lost.sample.is_app_limited,
            );
        }
    }

    /// `HandleInflightTooHigh`
    fn handle_inflight_too_high(&mut self, now: Instant, tx_in_flight: usize, is_app_limited: bool) {
        self.cycle.prev_probe_too_high = true;
        self.cycle.is_bw_probe_sample = false;
        if !is_app_limited {
            let floor = (self.target_inflight() as f64 * BETA) as usize;
            self.model.inflight_longterm = tx_in_flight.max(floor);
        }
        if self.state == State::ProbeBw(Phase::Up) {
            self.undo.left = Some(self.state);
            self.start_probe_bw_down(now);
        }
    }

    /// `AdaptLowerBoundsFromCongestion` (§5.5.10.3), once a round.
    pub(super) fn adapt_lower_bounds(&mut self) {
        let probing = matches!(self.state, State::Startup | State::ProbeBw(Phase::Refill | Phase::Up));
        if self.model.is_loss_in_round && !probing {
            self.model.lower(self.cwnd, BETA);
        }
        self.model.is_loss_in_round = false;
    }

    /// `HandleSpuriousLossDetection`
    pub(super) fn undo_loss(&mut self) {
        self.restore_cwnd();
        self.model.is_loss_in_round = false;
        self.full_pipe.reset(0.0);
        let model = &mut self.model;
        model.bw_shortterm = model.bw_shortterm.max(self.undo.bw_shortterm);
        model.inflight_shortterm = model.inflight_shortterm.max(self.undo.inflight_shortterm);
        model.inflight_longterm = model.inflight_longterm.max(self.undo.inflight_longterm);
        let left = self.undo.left.take().filter(|&left| left != self.state);
        if left == Some(State::Startup) {
            self.full_pipe.set_reached(false);
        }
        match left {
            Some(State::Startup) if self.state != State::ProbeRtt => self.state = State::Startup,
            Some(State::ProbeBw(Phase::Up)) if self.state != State::ProbeRtt => self.start_probe_bw_refill(),
            _ => {}
        }
    }
}
