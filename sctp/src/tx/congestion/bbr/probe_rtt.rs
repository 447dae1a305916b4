//! ProbeRTT (draft-ietf-ccwg-bbr-06 §5.3.4): when the smallest round trip has not been seen for 5 s, half of what
//! is in flight is left out for 200 ms, so that it can be.
//!
//! On a path of 300 ms that costs 5 % of its rate. So a round trip that comes close to the smallest one puts the
//! next probe off, but not for more than half a minute: the draft wants each one smaller.

use std::time::{Duration, Instant};

use super::probe_bw::AckPhase;
use super::{Acked, Bbr, RateSample, State};

pub(super) const CWND_GAIN: f64 = 0.5;
/// `BBR.ProbeRTTInterval`, which all flows share so that they make room together.
const INTERVAL: Duration = Duration::from_secs(5);
const DURATION: Duration = Duration::from_millis(200);
/// A round trip is close to the smallest when it is larger by no more than this share of it.
const CLOSE: u32 = 64;
/// So long may close ones do instead of a probe.
const MAX_INTERVAL: Duration = Duration::from_secs(30);

/// The smallest round trip since the last probe, and the probe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MinDelay {
    /// `BBR.probe_rtt_min_delay` and `BBR.probe_rtt_min_stamp`
    min: Option<(Duration, Instant)>,
    /// Since when no smaller one was seen, nor a probe made.
    since: Option<Instant>,
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
        if let Some(rtt) = acked.rtt {
            let since = *self.min_delay.since.get_or_insert(now);
            match &mut self.min_delay.min {
                Some((min, stamp)) if rtt >= *min && !self.min_delay.expired => {
                    if rtt <= *min + *min / CLOSE && now < since + MAX_INTERVAL {
                        *stamp = now;
                    }
                }
                min => {
                    *min = Some((rtt, now));
                    self.min_delay.since = Some(now);
                }
            }
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
        self.min_delay.since = Some(now);
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
