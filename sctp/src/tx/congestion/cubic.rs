//! CUBIC (RFC 9438), with HyStart++ in the first slow start.
//!
//! After a loss the window is a cubic function of time: steep at first, flat around the size at which the loss
//! happened, then steep again. Unlike halving and adding a packet a round trip, that does not depend on the
//! round-trip time, so long paths fill as fast as short ones.

use std::time::Instant;

use super::hystart::{Growth, HyStart};
use super::{Acked, CongestionControl, SLOW_START_LIMIT};

/// RFC 9438 §5.
const C: f64 = 0.4;
/// RFC 9438 §4.6: multiplicative decrease.
const BETA: f64 = 0.7;
/// RFC 9438 §4.3: additive increase that is as fair as Reno's with this decrease.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// A congestion avoidance stage: since when, from where, to where. Windows are in packets.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: Instant,
    /// `K`, in seconds: when the window is back at its origin.
    k: f64,
    /// The plateau: `W_max`, or where it began if that was above.
    origin: f64,
    /// What Reno would have by now.
    w_est: f64,
}

/// What a reduction changes, so that it can be undone.
#[derive(Clone, Copy, Debug)]
struct State {
    cwnd: f64,
    ssthresh: f64,
    w_max: f64,
    /// The window before the last reduction.
    cwnd_prior: f64,
    epoch: Option<Epoch>,
}

/// The algorithm of RFC 9438. Windows are in packets of `mtu` bytes inside.
#[derive(Debug)]
pub(super) struct Cubic {
    mtu: usize,
    /// The window in bytes, which is asked for with every chunk.
    cwnd_bytes: usize,
    initial: f64,
    state: State,
    before_reduction: Option<State>,
    hystart: HyStart,
    /// Since when the window has not been in full use.
    unused_since: Option<Instant>,
}

impl Cubic {
    pub(super) fn new(mtu: usize, initial_packets: u32) -> Self {
        let initial = f64::from(initial_packets.max(1));
        Self {
            mtu,
            cwnd_bytes: (initial * mtu as f64) as usize,
            initial,
            state: State { cwnd: initial, ssthresh: f64::INFINITY, w_max: 0.0, cwnd_prior: 0.0, epoch: None },
            before_reduction: None,
            hystart: HyStart::default(),
            unused_since: None,
        }
    }

    fn set_cwnd(&mut self, packets: f64) {
        self.state.cwnd = packets;
        self.cwnd_bytes = (packets * self.mtu as f64) as usize;
    }

    fn slow_start(&mut self, packets: f64, acked: &Acked) {
        let mut growth = packets.min(SLOW_START_LIMIT as f64);
        if self.state.ssthresh.is_infinite() {
            match self.hystart.on_ack(acked) {
                Growth::Divided(by) => growth /= by as f64,
                Growth::Exit => {
                    self.state.ssthresh = self.state.cwnd;
                    return;
                }
            }
        }
        if acked.window_was_full {
            // A step over many packets must not leap over the threshold: beyond it, growth is by packets.
            let limit = self.state.ssthresh.max(self.state.cwnd) + 1.0;
            self.set_cwnd((self.state.cwnd + growth).min(limit));
        }
    }

    /// RFC 9438 §4.2 to §4.5.
    fn congestion_avoidance(&mut self, packets: f64, acked: &Acked) {
        let State { cwnd, w_max, cwnd_prior, .. } = self.state;
        let epoch = self.state.epoch.get_or_insert_with(|| Epoch {
            start: acked.now,
            k: ((w_max - cwnd).max(0.0) / C).cbrt(),
            origin: w_max.max(cwnd),
            w_est: cwnd,
        });
        // §5.8: time in which the window was not used is no time.
        if !acked.window_was_full {
            self.unused_since.get_or_insert(acked.now);
            return;
        }
        if let Some(since) = self.unused_since.take() {
            epoch.start += acked.now.saturating_duration_since(since.max(epoch.start));
        }
        let t = acked.now.saturating_duration_since(epoch.start).as_secs_f64();
        let srtt = acked.srtt.unwrap_or_default().as_secs_f64();
        let w_cubic = |t: f64| epoch.origin + C * (t - epoch.k).powi(3);
        let alpha = if epoch.w_est < cwnd_prior { ALPHA } else { 1.0 };
        epoch.w_est += alpha * packets / cwnd;
        let grown = if w_cubic(t) < epoch.w_est {
            cwnd.max(epoch.w_est)
        } else {
            let target = w_cubic(t + srtt).clamp(cwnd, 1.5 * cwnd);
            cwnd + ((target - cwnd) / cwnd * packets).min(target - cwnd)
        };
        self.set_cwnd(grown);
    }

    /// RFC 9438 §4.6 and §4.7.
    fn reduce(&mut self) {
        self.before_reduction = Some(self.state);
        let State { cwnd, w_max, .. } = self.state;
        self.state.cwnd_prior = cwnd;
        self.state.w_max = if cwnd < w_max { cwnd * (1.0 + BETA) / 2.0 } else { cwnd };
        // RFC 9260 §7.2.3 has four packets as the least, not the two of RFC 9438: with two, one more loss leaves a
        // packet alone, and its SACK is delayed.
        self.state.ssthresh = (cwnd * BETA).max(4.0);
        self.state.epoch = None;
        self.unused_since = None;
    }
}

impl CongestionControl for Cubic {
    fn cwnd(&self) -> usize {
        self.cwnd_bytes
    }

    fn ssthresh(&self) -> usize {
        // The cast saturates.
        (self.state.ssthresh * self.mtu as f64) as usize
    }

    fn on_ack(&mut self, acked: Acked) {
        if acked.in_fast_recovery || !acked.cumulative_advanced {
            return;
        }
        let packets = acked.bytes as f64 / self.mtu as f64;
        if self.state.cwnd < self.state.ssthresh {
            self.slow_start(packets, &acked);
        } else {
            self.congestion_avoidance(packets, &acked);
        }
    }

    fn on_fast_recovery(&mut self) {
        self.reduce();
        self.set_cwnd(self.state.ssthresh);
    }

    fn on_timeout(&mut self) {
        // RFC 9438 §4.8. The second timeout in a row finds the window at one packet; what it was before the
        // first is what counts.
        if self.state.cwnd > 1.0 {
            self.reduce();
            self.set_cwnd(1.0);
        }
    }

    fn on_idle(&mut self, rtos: u32) {
        // RFC 9260 §7.2.1, last paragraph, but never below what a new association starts with. What the window
        // was is kept as threshold, so that slow start leads back.
        let floor = self.initial.min(self.state.cwnd);
        if self.state.ssthresh < self.state.cwnd || self.state.ssthresh.is_infinite() {
            self.state.ssthresh = self.state.cwnd.max(4.0);
        }
        self.set_cwnd((self.state.cwnd / 2f64.powi(rtos.min(64) as i32)).max(floor));
        self.state.epoch = None;
        self.unused_since = None;
        self.before_reduction = None;
    }

    fn set_packet_len(&mut self, mtu: usize) {
        let factor = self.mtu as f64 / mtu as f64;
        let scaled = |state: State| State {
            cwnd: state.cwnd * factor,
            ssthresh: state.ssthresh * factor,
            w_max: state.w_max * factor,
            cwnd_prior: state.cwnd_prior * factor,
            // Its curve is in packets: it begins anew where the window is.
            epoch: None,
        };
        self.mtu = mtu;
        self.initial *= factor;
        self.state = scaled(self.state);
        self.before_reduction = self.before_reduction.map(scaled);
        self.unused_since = None;
    }

    fn undo(&mut self) {
        // RFC 9438 §4.9
        if let Some(before) = self.before_reduction.take() {
            let cwnd = self.state.cwnd.max(before.cwnd);
            self.state = State { ssthresh: self.state.ssthresh.max(before.ssthresh), ..before };
            self.set_cwnd(cwnd);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::acked;
    use super::*;
    use crate::tests::{base, ms};

    const MTU: usize = 1000;

    /// Acknowledges whole windows, one each 100 ms, for so long.
    fn run(cubic: &mut Cubic, now: &mut Instant, time: Duration) {
        let until = *now + time;
        while *now < until {
            *now += ms(100);
            let cwnd = cubic.cwnd();
            for _ in 0..10 {
                cubic.on_ack(acked(*now, cwnd / 10));
            }
        }
    }

    fn at(packets: u32) -> Cubic {
        let mut cubic = Cubic::new(MTU, packets);
        cubic.state.ssthresh = f64::from(packets);
        cubic
    }

    #[test]
    fn another_packet_size_leaves_the_window_in_bytes() {
        let mut cubic = Cubic::new(MTU, 90);
        cubic.on_fast_recovery();
        let before = (cubic.cwnd(), cubic.ssthresh());
        for mtu in [8 * MTU, MTU] {
            cubic.set_packet_len(mtu);
            assert!(cubic.cwnd().abs_diff(before.0) <= 1 && cubic.ssthresh().abs_diff(before.1) <= 1);
        }
        cubic.set_packet_len(3 * MTU);
        cubic.undo();
        assert_eq!(cubic.cwnd(), 90 * MTU);
        cubic.on_timeout();
        assert_eq!(cubic.cwnd(), 3 * MTU);
        let mut fresh = Cubic::new(MTU, 10);
        fresh.set_packet_len(2 * MTU);
        assert_eq!((fresh.cwnd(), fresh.ssthresh()), (10 * MTU, usize::MAX));
    }

    #[test]
    fn slow_start_doubles_the_window_in_a_round_trip() {
        let mut cubic = Cubic::new(MTU, 10);
        cubic.on_ack(acked(base(), 10 * MTU));
        assert_eq!(cubic.cwnd(), 20 * MTU);
    }

    #[test]
    fn a_loss_takes_three_tenths_and_the_plateau_is_reached_after_k() {
        let mut now = base();
        let mut cubic = at(1000);
        cubic.on_fast_recovery();
        assert_eq!((cubic.cwnd(), cubic.ssthresh()), (700 * MTU, 700 * MTU));
        // K = cbrt(300 / 0.4) = 9.1 s
        run(&mut cubic, &mut now, Duration::from_secs(4));
        assert!((900 * MTU..970 * MTU).contains(&cubic.cwnd()), "concave: {}", cubic.cwnd());
        run(&mut cubic, &mut now, Duration::from_secs(5));
        assert!((985 * MTU..1002 * MTU).contains(&cubic.cwnd()), "{}", cubic.cwnd());
        run(&mut cubic, &mut now, Duration::from_secs(10));
        assert!(cubic.cwnd() > 1300 * MTU, "convex: {}", cubic.cwnd());
    }

    #[test]
    fn small_windows_grow_as_reno_would() {
        let mut now = base();
        let mut cubic = at(10);
        cubic.on_fast_recovery();
        // 20 round trips of 100 ms at about 0.53 packets each; the cubic has no time to get anywhere.
        run(&mut cubic, &mut now, Duration::from_secs(2));
        assert!(cubic.cwnd() > 14 * MTU, "{}", cubic.cwnd());
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow_and_does_not_leap_afterwards() {
        let mut now = base();
        let mut cubic = at(100);
        cubic.on_fast_recovery();
        run(&mut cubic, &mut now, Duration::from_secs(1));
        let before = cubic.cwnd();
        for _ in 0..100 {
            now += Duration::from_secs(1);
            cubic.on_ack(Acked { window_was_full: false, ..acked(now, MTU) });
        }
        assert_eq!(cubic.cwnd(), before);
        run(&mut cubic, &mut now, ms(200));
        assert!(cubic.cwnd() < before + 15 * MTU, "{before} {}", cubic.cwnd());
        let mut fresh = Cubic::new(MTU, 10);
        fresh.on_ack(Acked { window_was_full: false, ..acked(now, 10 * MTU) });
        assert_eq!(fresh.cwnd(), 10 * MTU);
    }

    #[test]
    fn a_second_loss_below_the_first_gives_way_to_others() {
        let mut cubic = at(100);
        cubic.on_fast_recovery();
        cubic.on_fast_recovery();
        assert!((cubic.state.w_max - 59.5).abs() < 1e-9, "70 * 0.85");
    }

    #[test]
    fn timeouts_in_a_row_count_as_one_and_never_leave_a_threshold_below_four() {
        let mut cubic = at(100);
        cubic.on_timeout();
        cubic.on_timeout();
        assert_eq!((cubic.cwnd(), cubic.ssthresh()), (MTU, 70 * MTU));
        let mut cubic = at(2);
        cubic.on_timeout();
        assert_eq!(cubic.ssthresh(), 4 * MTU);
    }

    #[test]
    fn what_was_no_loss_is_undone_once() {
        let mut cubic = at(100);
        cubic.on_timeout();
        cubic.undo();
        assert_eq!((cubic.cwnd(), cubic.ssthresh()), (100 * MTU, 100 * MTU));
        cubic.on_fast_recovery();
        cubic.undo();
        cubic.undo();
        assert_eq!(cubic.cwnd(), 100 * MTU);
    }

    #[test]
    fn idling_decays_to_the_initial_window_and_can_be_regained_by_slow_start() {
        let mut cubic = Cubic::new(MTU, 10);
        for _ in 0..4 {
            let cwnd = cubic.cwnd();
            cubic.on_ack(acked(base(), cwnd));
        }
        assert_eq!(cubic.cwnd(), 160 * MTU);
        cubic.on_idle(40);
        assert_eq!((cubic.cwnd(), cubic.ssthresh()), (10 * MTU, 160 * MTU));
    }
}
