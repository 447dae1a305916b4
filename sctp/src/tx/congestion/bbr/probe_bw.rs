//! ProbeBW (draft-ietf-ccwg-bbr-06 §5.3.3): cruise at the rate found, and every few seconds look whether there is
//! more.

use std::time::{Duration, Instant};

use super::loss::is_inflight_too_high;
use super::{Acked, Bbr, RateSample, State};

pub(super) const UP_CWND_GAIN: f64 = 2.25;
/// `BBR.Headroom`: what is left free for others below the volume at which losses began.
const HEADROOM: f64 = 0.15;
/// A probe comes this soon at the latest, and up to a second later.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// As often as Reno would: after so many rounds at the latest, and after as many as there are packets in flight.
const MAX_RENO_ROUNDS: u64 = 63;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Slower, so that a queue that is ours drains.
    Down,
    /// At the rate.
    Cruise,
    /// A round at the rate with everything in flight that was ever found to fit.
    Refill,
    /// Faster.
    Up,
}

impl Phase {
    pub(super) fn pacing_gain(self) -> f64 {
        match self {
            Phase::Down => 0.9,
            Phase::Cruise | Phase::Refill => 1.0,
            Phase::Up => 1.25,
        }
    }
}

/// What the acknowledgements that come now are about (`BBR.ack_phase`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AckPhase {
    Init,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    ProbeStopping,
}

/// The state of the cycle.
#[derive(Debug)]
pub(super) struct Cycle {
    pub(super) ack_phase: AckPhase,
    stamp: Option<Instant>,
    wait: Duration,
    pub(super) rounds_since_probe_up: u64,
    up_rounds: u32,
    up_acked: usize,
    up_acked_per_inc: usize,
    /// What is acknowledged or lost now was sent while probing.
    pub(super) is_bw_probe_sample: bool,
    pub(super) prev_probe_too_high: bool,
    prev_probe_precautionary: bool,
    random: u32,
}

impl Cycle {
    pub(super) fn new(seed: u32) -> Self {
        Self {
            ack_phase: AckPhase::Init,
            stamp: None,
            wait: PROBE_WAIT,
            rounds_since_probe_up: 0,
            up_rounds: 0,
            up_acked: 0,
            up_acked_per_inc: usize::MAX,
            is_bw_probe_sample: false,
            prev_probe_too_high: false,
            prev_probe_precautionary: false,
            random: seed | 1,
        }
    }

    /// An xorshift: connections must not probe in step, and nobody gains by guessing.
    fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    /// `PickProbeWait`
    fn pick_wait(&mut self) {
        self.rounds_since_probe_up = u64::from(self.random() >> 31);
        self.wait = PROBE_WAIT + Duration::from_secs_f64(f64::from(self.random()) / f64::from(u32::MAX));
    }
}

impl Bbr {
    fn is_probing_bw_state(&self) -> bool {
        matches!(self.state, State::ProbeBw(_))
    }

    /// `StartProbeBW_DOWN`
    pub(super) fn start_probe_bw_down(&mut self, now: Instant) {
        self.model.reset_congestion_signals();
        self.cycle.up_acked_per_inc = usize::MAX;
        self.cycle.pick_wait();
        self.cycle.stamp = Some(now);
        self.cycle.ack_phase = AckPhase::ProbeStopping;
        self.rounds.start(self.delivered);
        self.state = State::ProbeBw(Phase::Down);
    }

    pub(super) fn start_probe_bw_cruise(&mut self) {
        self.state = State::ProbeBw(Phase::Cruise);
    }

    /// `StartProbeBW_REFILL`
    pub(super) fn start_probe_bw_refill(&mut self) {
        self.model.reset_short_term();
        self.cycle.up_rounds = 0;
        self.cycle.up_acked = 0;
        self.cycle.prev_probe_precautionary = false;
        self.cycle.ack_phase = AckPhase::Refilling;
        self.rounds.start(self.delivered);
        self.state = State::ProbeBw(Phase::Refill);
    }

    /// `StartProbeBW_UP`
    fn start_probe_bw_up(&mut self, sample: &RateSample) {
        self.cycle.ack_phase = AckPhase::ProbeStarting;
        self.rounds.start(self.delivered);
        self.full_pipe.reset(sample.delivery_rate.unwrap_or(0.0));
        self.state = State::ProbeBw(Phase::Up);
        self.raise_inflight_slope();
    }

    /// `UpdateProbeBWCyclePhase`
    pub(super) fn update_probe_bw(&mut self, acked: &Acked, sample: &RateSample) {
        if !self.full_pipe.is_reached() || self.adapt_long_term(acked, sample) {
            return;
        }
        let State::ProbeBw(phase) = self.state else { return };
        match phase {
            Phase::Down => {
                if !self.probe_if_time(acked.now) && self.is_time_to_cruise(acked) {
                    self.start_probe_bw_cruise();
                }
            }
            Phase::Cruise => {
                self.probe_if_time(acked.now);
            }
            Phase::Refill => {
                if self.rounds.round_start {
                    self.cycle.is_bw_probe_sample = true;
                    self.start_probe_bw_up(sample);
                }
            }
            Phase::Up => {
                if self.is_time_to_go_down(acked, sample) {
                    self.cycle.prev_probe_too_high = false;
                    self.start_probe_bw_down(acked.now);
                }
            }
        }
    }

    /// `IsTimeToProbeBW` (§5.3.3.8)
    fn probe_if_time(&mut self, now: Instant) -> bool {
        let elapsed = self.cycle.stamp.is_none_or(|stamp| now > stamp + self.cycle.wait);
        let reno_rounds = (self.target_inflight() / self.mtu) as u64;
        let due = elapsed || self.cycle.rounds_since_probe_up >= reno_rounds.min(MAX_RENO_ROUNDS);
        if due {
            self.start_probe_bw_refill();
        }
        due
    }

    /// What belongs in flight, unless congestion has cut the window.
    pub(super) fn target_inflight(&self) -> usize {
        self.bdp().min(self.cwnd)
    }

    fn is_time_to_cruise(&self, acked: &Acked) -> bool {
        acked.in_flight <= self.inflight_with_headroom()
            && acked.in_flight <= self.inflight(self.model.max_bw(), 1.0)
    }

    /// `InflightWithHeadroom`: below what was too much, with room for others.
    pub(super) fn inflight_with_headroom(&self) -> usize {
        let longterm = self.model.inflight_longterm;
        if longterm == usize::MAX {
            return usize::MAX;
        }
        let headroom = ((HEADROOM * longterm as f64) as usize).max(self.mtu);
        longterm.saturating_sub(headroom).max(self.min_pipe())
    }

    /// `IsTimeToGoDown` (§5.3.3.7)
    fn is_time_to_go_down(&mut self, acked: &Acked, sample: &RateSample) -> bool {
        let longterm = self.model.inflight_longterm;
        if self.cycle.prev_probe_too_high && acked.in_flight >= longterm {
            // What was too much the last time is reached; whether it still is takes a round trip to hear.
            self.cycle.prev_probe_precautionary = true;
            return true;
        }
        if acked.window_was_full && self.cwnd >= longterm {
            // The limit that is being raised is the reason for the plateau.
            self.full_pipe.reset(sample.delivery_rate.unwrap_or(0.0));
            return false;
        }
        self.full_pipe.full_bw_now
    }

    /// `RaiseInflightLongtermSlope`: 1, 2, 4, 8 … packets a round.
    fn raise_inflight_slope(&mut self) {
        let growth = 1usize << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(30);
        self.cycle.up_acked_per_inc = (self.cwnd / growth).max(self.mtu);
    }

    /// `ProbeInflightLongtermUpward`
    fn probe_inflight_upward(&mut self, acked: &Acked) {
        if !acked.window_was_full || self.cwnd < self.model.inflight_longterm {
            return;
        }
        self.cycle.up_acked += acked.bytes;
        if let Some(delta) = self.cycle.up_acked.checked_div(self.cycle.up_acked_per_inc) {
            self.cycle.up_acked -= delta * self.cycle.up_acked_per_inc;
            let grown = self.model.inflight_longterm.saturating_add(delta * self.mtu);
            self.model.inflight_longterm = grown;
        }
        if self.rounds.round_start {
            self.raise_inflight_slope();
        }
    }

    /// `AdaptLongTermModel`; true if it has changed the state.
    fn adapt_long_term(&mut self, acked: &Acked, sample: &RateSample) -> bool {
        if self.rounds.round_start && self.cycle.ack_phase == AckPhase::ProbeStarting {
            self.cycle.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.rounds.round_start && self.cycle.ack_phase == AckPhase::ProbeStopping {
            self.cycle.is_bw_probe_sample = false;
            self.cycle.ack_phase = AckPhase::Init;
            if self.is_probing_bw_state() {
                if !sample.is_app_limited {
                    self.model.advance_max_bw();
                }
                if self.cycle.prev_probe_precautionary && !self.cycle.prev_probe_too_high {
                    // The cautious probe did no harm: another one, which may stay.
                    self.start_probe_bw_refill();
                    return true;
                }
            }
        }
        if !is_inflight_too_high(sample.lost, sample.tx_in_flight)
            && self.model.inflight_longterm != usize::MAX
        {
            self.model.inflight_longterm = self.model.inflight_longterm.max(sample.tx_in_flight);
            if self.state == State::ProbeBw(Phase::Up) {
                self.probe_inflight_upward(acked);
            }
        }
        false
    }
}
