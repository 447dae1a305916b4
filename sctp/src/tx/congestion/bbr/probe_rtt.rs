//! ProbeRTT (draft-ietf-ccwg-bbr-06 §5.3.4): when the smallest round trip has not been seen for 5 s, half of what
//! is in flight is left out for 200 ms, so that it can be.

use std::time::{Duration, Instant};

use super::probe_bw::AckPhase;
use super::{Acked, Bbr, RateSample, State};

pub(super) const CWND_GAIN: f64 = 0.5;
/// `BBR.ProbeRTTInterval`, which all flows share so that they make room together.
const INTERVAL: Duration = Duration::from_secs(5);
const DURATION: Duration = Duration::from_millis(200);

/// The smallest round trip since the last probe, and the probe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MinDelay {
    /// `BBR.probe_rtt_min_delay` and `BBR.probe_rtt_min_stamp`
    min: Option<(Duration, Instant)>,
    expired: bool,
    /// `BBR.probe_rtt_done_stamp`
    done: Option<Instant>,
    round_done: bool,
}

impl Bbr {
    /// `UpdateMinRTT`
    pub(super) fn update_min_rtt(&mut self, acked: &Acked) {
        let now = acked.now;
        self.min_delay.expired = self.min_delay.min.is_some_and(|(_, stamp)| now > stamp + INTERVAL);
        if let Some(rtt) = acked.rtt
            && self.min_delay.min.is_none_or(|(min, _)| rtt < min || self.min_delay.expired)
        {
            self.min_delay.min = Some((rtt, now));
        }
        if let Some((min, stamp)) = self.min_delay.min {
            self.model.update_min_rtt(now, min, stamp);
        }
    }

    /// `CheckProbeRTT`
    pub(super) fn check_probe_rtt(&mut self, acked: &Acked, sample: &RateSample) {
        if self.state != State::ProbeRtt && self.min_delay.expired && !self.idle_restart {
            self.save_cwnd();
            self.state = State::ProbeRtt;
            self.min_delay.done = None;
            self.cycle.ack_phase = AckPhase::ProbeStopping;
            self.rounds.start(self.delivered);
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(acked);
        }
        if sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    /// `HandleProbeRTT`
    fn handle_probe_rtt(&mut self, acked: &Acked) {
        if self.min_delay.done.is_none() {
            if acked.in_flight <= self.probe_rtt_cwnd() {
                self.min_delay.done = Some(acked.now + DURATION);
                self.min_delay.round_done = false;
                self.rounds.start(self.delivered);
            }
            return;
        }
        self.min_delay.round_done |= self.rounds.round_start;
        if self.min_delay.round_done {
            self.check_probe_rtt_done(acked.now);
        }
    }

    pub(super) fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.min_delay.done.is_none_or(|done| now <= done) {
            return;
        }
        // The next one is due an interval from now.
        if let Some((_, stamp)) = &mut self.min_delay.min {
            *stamp = now;
        }
        self.restore_cwnd();
        // §5.3.4.4
        self.model.reset_short_term();
        if self.full_pipe.is_reached() {
            self.start_probe_bw_down(now);
            self.start_probe_bw_cruise();
        } else {
            self.state = State::Startup;
        }
    }

    /// `ProbeRTTCwnd`
    pub(super) fn probe_rtt_cwnd(&self) -> usize {
        self.bdp_multiple(self.model.bw(), CWND_GAIN).max(self.min_pipe())
    }
}
