//! BBR, version 3 (draft-ietf-ccwg-bbr-06): sends as fast as the path is seen to deliver.
//!
//! CUBIC takes every loss for a full queue, so a path that loses one packet in a hundred by itself gets nowhere.
//! BBR measures what the path delivers and how long its round trip is without a queue; their product is what
//! belongs in flight. Losses count only as a rate: above 2 % of what is in flight they say that it was too much.
//!
//! ```text
//!   Startup ──no faster any more, or losses──► Drain ──in flight ≤ BDP──► ProbeBW
//!      twice the rate each round                half the rate              │  ▲
//!                                                                         ▼  │ a round at the rate
//!   any ──5 s without a smallest round trip──► ProbeRTT ──► back      DOWN ► CRUISE ► REFILL ► UP ► DOWN
//!                                       half the BDP for 200 ms       0.9     1.0      1.0    1.25
//! ```
//!
//! What is known of the path is in [`model`], and what losses do to it in [`loss`]; a file for each state. Names
//! are the draft's.

mod loss;
mod model;
mod probe_bw;
mod probe_rtt;
mod startup;

use std::time::{Duration, Instant};

use self::loss::Undo;
use self::model::{Model, Rounds};
use self::probe_bw::{Cycle, Phase};
use self::probe_rtt::MinDelay;
use self::startup::FullPipe;
use super::{Acked, CongestionControl, Lost};
use crate::tx::delivery::RateSample;

/// §5.6.2: a little below the rate, so that a queue drains.
const PACING_MARGIN: f64 = 0.99;
/// `BBR.DefaultCwndGain`
const CWND_GAIN: f64 = 2.0;
/// `BBR.MinPipeCwnd`, in packets.
const MIN_PIPE_PACKETS: usize = 4;
/// §5.6.3
const MAX_SEND_QUANTUM: usize = 64 << 10;
/// Before a round trip is measured (§5.6.2).
const NOMINAL_RTT: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Startup,
    Drain,
    ProbeBw(Phase),
    ProbeRtt,
}

/// The algorithm. Sizes are bytes, rates bytes a second.
#[derive(Debug)]
pub(super) struct Bbr {
    mtu: usize,
    initial_cwnd: usize,
    state: State,
    model: Model,
    rounds: Rounds,
    full_pipe: FullPipe,
    /// `BBR.drain_start_round`, and what was delivered by then.
    drain_start_round: u64,
    drain_start_delivered: u64,
    cycle: Cycle,
    min_delay: MinDelay,
    cwnd: usize,
    /// The last good window before a recovery or ProbeRTT.
    prior_cwnd: usize,
    pacing_rate: f64,
    has_seen_rtt: bool,
    /// `BBR.idle_restart`
    idle_restart: bool,
    undo: Undo,
    repair: Repair,
    /// The last acknowledgement: when, and what was delivered in all by then.
    now: Option<Instant>,
    delivered: u64,
}

/// Whether losses are being repaired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Repair {
    None,
    Fast,
    /// T3 has run out. Over when this TSN is acknowledged, which the next acknowledgement fills in.
    Timeout(Option<u64>),
}

impl Bbr {
    /// `seed` tells connections apart that begin at one time.
    pub(super) fn new(mtu: usize, initial_packets: u32, seed: u32) -> Self {
        let initial_cwnd = mtu.saturating_mul(initial_packets.max(1) as usize);
        Self {
            mtu,
            initial_cwnd,
            state: State::Startup,
            model: Model::default(),
            rounds: Rounds::default(),
            full_pipe: FullPipe::default(),
            drain_start_round: 0,
            drain_start_delivered: 0,
            cycle: Cycle::new(seed),
            min_delay: MinDelay::default(),
            cwnd: initial_cwnd,
            prior_cwnd: 0,
            pacing_rate: startup::PACING_GAIN * initial_cwnd as f64 / NOMINAL_RTT.as_secs_f64(),
            has_seen_rtt: false,
            idle_restart: false,
            undo: Undo::default(),
            repair: Repair::None,
            now: None,
            delivered: 0,
        }
    }

    fn min_pipe(&self) -> usize {
        MIN_PIPE_PACKETS * self.mtu
    }

    fn pacing_gain(&self) -> f64 {
        match self.state {
            State::Startup => startup::PACING_GAIN,
            State::Drain => startup::DRAIN_PACING_GAIN,
            State::ProbeBw(phase) => phase.pacing_gain(),
            State::ProbeRtt => 1.0,
        }
    }

    fn cwnd_gain(&self) -> f64 {
        match self.state {
            State::ProbeBw(Phase::Up) => probe_bw::UP_CWND_GAIN,
            State::ProbeRtt => probe_rtt::CWND_GAIN,
            _ => CWND_GAIN,
        }
    }

    /// `BDPMultiple` (§5.6.4.2)
    fn bdp_multiple(&self, bw: f64, gain: f64) -> usize {
        match self.model.min_rtt() {
            Some(min_rtt) => (gain * bw * min_rtt.as_secs_f64()) as usize,
            None => self.initial_cwnd,
        }
    }

    fn bdp(&self) -> usize {
        self.bdp_multiple(self.model.bw(), 1.0)
    }

    /// `Inflight`: so much in flight makes this multiple of the product at this rate.
    fn inflight(&self, bw: f64, gain: f64) -> usize {
        self.quantization_budget(self.bdp_multiple(bw, gain))
    }

    /// Room for what the ends hold back: packets go out and are acknowledged in batches (§5.6.4.2).
    fn quantization_budget(&self, inflight_cap: usize) -> usize {
        let send_quantum = ((self.pacing_rate / 1000.0) as usize).min(MAX_SEND_QUANTUM).max(2 * self.mtu);
        let budget = inflight_cap.max(3 * send_quantum).max(self.min_pipe());
        if self.state == State::ProbeBw(Phase::Up) { budget + 2 * self.mtu } else { budget }
    }

    /// `SaveCwnd` (§5.6.4.4)
    fn save_cwnd(&mut self) {
        let undisturbed = self.repair == Repair::None && self.state != State::ProbeRtt;
        self.prior_cwnd = if undisturbed { self.cwnd } else { self.prior_cwnd.max(self.cwnd) };
    }

    fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }

    /// `UpdateModelAndState` (§5.2.3)
    fn update_model_and_state(&mut self, acked: &Acked, sample: &RateSample) {
        self.rounds.update(sample, &mut self.cycle);
        self.model.update_latest(sample);
        self.model.update_max_bw(sample);
        if self.model.loss_round_start {
            self.adapt_lower_bounds();
        }
        self.model.update_ack_aggregation(
            acked,
            self.cwnd,
            self.rounds.round_start,
            self.full_pipe.is_reached(),
        );
        self.full_pipe.check(sample, self.rounds.round_start);
        self.check_startup_done(acked, sample);
        self.check_drain_done(acked);
        self.update_probe_bw(acked, sample);
        self.update_min_rtt(acked);
        self.check_probe_rtt(acked, sample);
        self.model.advance_latest(sample);
    }

    /// `SetPacingRateWithGain` (§5.6.2)
    fn set_pacing_rate(&mut self, gain: f64) {
        let rate = gain * self.model.bw() * PACING_MARGIN;
        if rate > 0.0 && (self.full_pipe.is_reached() || rate > self.pacing_rate) {
            self.pacing_rate = rate;
        }
    }

    /// `SetCwnd` (§5.6.4.6)
    fn set_cwnd(&mut self, acked: usize) {
        let target = self.bdp_multiple(self.model.bw(), self.cwnd_gain()) + self.model.extra_acked();
        let max_inflight = self.quantization_budget(target);
        if self.full_pipe.is_reached() {
            self.cwnd = (self.cwnd + acked).min(max_inflight);
        } else if self.cwnd < max_inflight || self.delivered < self.initial_cwnd as u64 {
            self.cwnd += acked;
        }
        self.cwnd = self.cwnd.max(self.min_pipe());
        if self.state == State::ProbeRtt {
            self.cwnd = self.cwnd.min(self.probe_rtt_cwnd());
        }
        self.cwnd = self.cwnd.min(self.model_cap());
    }

    /// `BoundCwndForModel` (§5.6.4.7)
    fn model_cap(&self) -> usize {
        let cap = match self.state {
            State::ProbeRtt | State::ProbeBw(Phase::Cruise) => self.inflight_with_headroom(),
            State::ProbeBw(_) => self.model.inflight_longterm,
            State::Startup | State::Drain => usize::MAX,
        };
        cap.min(self.model.inflight_shortterm).max(self.min_pipe())
    }

    /// A recovery that is over gives the window back (§5.6.4.4).
    fn follow_recovery(&mut self, acked: &Acked) {
        let over = match &mut self.repair {
            Repair::None => false,
            Repair::Fast => !acked.in_fast_recovery,
            Repair::Timeout(until) => acked.cumulative + 1 >= *until.get_or_insert(acked.next_tsn),
        };
        if over {
            self.repair = Repair::None;
            self.restore_cwnd();
        }
    }
}

impl CongestionControl for Bbr {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn ssthresh(&self) -> usize {
        usize::MAX
    }

    fn on_ack(&mut self, acked: Acked) {
        self.now = Some(acked.now);
        if let Some(srtt) = acked.srtt.filter(|srtt| !self.has_seen_rtt && !srtt.is_zero()) {
            self.has_seen_rtt = true;
            self.pacing_rate = startup::PACING_GAIN * self.initial_cwnd as f64 / srtt.as_secs_f64();
        }
        self.follow_recovery(&acked);
        match acked.rate {
            Some(sample) => {
                self.delivered = sample.total_delivered;
                self.update_model_and_state(&acked, &sample);
            }
            None => self.rounds.round_start = false,
        }
        self.set_pacing_rate(self.pacing_gain());
        self.set_cwnd(acked.bytes);
    }

    fn on_fast_recovery(&mut self) {
        if self.repair == Repair::None {
            self.repair = Repair::Fast;
        }
        self.note_loss();
    }

    fn on_timeout(&mut self) {
        // §5.6.4.4. All that is in flight is taken for lost.
        self.save_state();
        self.repair = Repair::Timeout(None);
        self.cwnd = self.mtu;
    }

    fn on_idle(&mut self, _rtos: u32) {
        // §5.4.2: the model is kept, and pacing sees to it that no burst goes out.
    }

    fn set_packet_len(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    fn undo(&mut self) {
        self.repair = Repair::None;
        self.undo_loss();
    }

    fn wants_rate(&self) -> bool {
        true
    }

    fn pacing_rate(&self) -> Option<f64> {
        Some(self.pacing_rate)
    }

    fn is_holding_back(&self) -> bool {
        self.state == State::ProbeRtt
    }

    fn on_lost(&mut self, lost: Lost) {
        self.handle_lost(&lost);
    }

    /// `HandleRestartFromIdle` (§5.4.1)
    fn on_restart(&mut self, now: Instant) {
        self.idle_restart = true;
        self.model.restart_aggregation(now);
        match self.state {
            State::ProbeBw(_) => self.set_pacing_rate(1.0),
            State::ProbeRtt => self.check_probe_rtt_done(now),
            State::Startup | State::Drain => {}
        }
    }
}
