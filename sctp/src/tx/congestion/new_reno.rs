//! The algorithm of RFC 9260 §7.2.

use super::{Acked, CongestionControl, SLOW_START_LIMIT};

/// The algorithm of RFC 9260 §7.2: slow start, congestion avoidance, halving on loss.
#[derive(Debug)]
pub(super) struct NewReno {
    mtu: usize,
    initial: usize,
    cwnd: usize,
    ssthresh: usize,
    partial_bytes_acked: usize,
    /// Window and threshold before the last reduction.
    before_reduction: Option<(usize, usize)>,
}

impl NewReno {
    pub(super) fn new(mtu: usize, initial_packets: u32) -> Self {
        let initial = mtu.saturating_mul(initial_packets.max(1) as usize);
        Self {
            mtu,
            initial,
            cwnd: initial,
            ssthresh: usize::MAX,
            partial_bytes_acked: 0,
            before_reduction: None,
        }
    }

    fn halved(&self) -> usize {
        (self.cwnd / 2).max(4 * self.mtu)
    }
}

impl CongestionControl for NewReno {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn ssthresh(&self) -> usize {
        self.ssthresh
    }

    fn on_ack(&mut self, acked: Acked) {
        let fully_used = acked.window_was_full;
        if self.cwnd <= self.ssthresh {
            // RFC 9260 §7.2.1
            if acked.cumulative_advanced && fully_used && !acked.in_fast_recovery {
                // A step over many packets must not leap over the threshold: beyond it, growth is by packets.
                let limit = self.ssthresh.max(self.cwnd).saturating_add(self.mtu);
                self.cwnd = (self.cwnd + acked.bytes.min(SLOW_START_LIMIT * self.mtu)).min(limit);
            }
        } else if acked.cumulative_advanced {
            // RFC 9260 §7.2.2
            self.partial_bytes_acked = self.partial_bytes_acked.saturating_add(acked.bytes);
            if self.partial_bytes_acked >= self.cwnd {
                if fully_used && !acked.in_fast_recovery {
                    self.partial_bytes_acked -= self.cwnd;
                    self.cwnd += self.mtu;
                } else {
                    self.partial_bytes_acked = self.cwnd;
                }
            }
        }
        if acked.all_acked {
            self.partial_bytes_acked = 0;
        }
    }

    fn on_fast_recovery(&mut self) {
        // RFC 9260 §7.2.3
        self.before_reduction = Some((self.cwnd, self.ssthresh));
        self.ssthresh = self.halved();
        self.cwnd = self.ssthresh;
        self.partial_bytes_acked = 0;
    }

    fn on_timeout(&mut self) {
        // RFC 9260 §7.2.3
        self.before_reduction = Some((self.cwnd, self.ssthresh));
        self.ssthresh = self.halved();
        self.cwnd = self.mtu;
        self.partial_bytes_acked = 0;
    }

    fn on_idle(&mut self, rtos: u32) {
        // RFC 9260 §7.2.1, last paragraph. It says 4 * PMDCS; going below the window that a new association
        // starts with would make an idle one worse than a new one.
        let floor = self.initial.min(self.cwnd);
        if self.ssthresh == usize::MAX || self.ssthresh < self.cwnd {
            self.ssthresh = self.cwnd.max(4 * self.mtu);
        }
        self.cwnd = (self.cwnd >> rtos.min(31)).max(floor);
        self.before_reduction = None;
    }

    fn set_packet_len(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    fn undo(&mut self) {
        if let Some((cwnd, ssthresh)) = self.before_reduction.take() {
            self.cwnd = self.cwnd.max(cwnd);
            self.ssthresh = self.ssthresh.max(ssthresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::base;

    const MTU: usize = 1000;

    fn acked(bytes: usize) -> Acked {
        super::super::tests::acked(base(), bytes)
    }

    #[test]
    fn another_packet_size_leaves_the_window_and_changes_the_steps() {
        let mut cc = NewReno::new(MTU, 40);
        cc.on_fast_recovery();
        cc.set_packet_len(3 * MTU);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (20 * MTU, 20 * MTU));
        cc.on_ack(acked(20 * MTU));
        cc.on_ack(acked(20 * MTU));
        cc.on_ack(acked(20 * MTU));
        assert_eq!(cc.cwnd(), 26 * MTU);
        cc.on_timeout();
        assert_eq!(cc.cwnd(), 3 * MTU);
    }

    #[test]
    fn slow_start_doubles_the_window_in_a_round_trip() {
        let mut cc = NewReno::new(MTU, 10);
        cc.on_ack(acked(10 * MTU));
        assert_eq!(cc.cwnd(), 20 * MTU);
    }

    #[test]
    fn a_window_that_was_not_used_does_not_grow() {
        let mut cc = NewReno::new(MTU, 10);
        cc.on_ack(Acked { window_was_full: false, ..acked(5 * MTU) });
        assert_eq!(cc.cwnd(), 10 * MTU);
    }

    #[test]
    fn a_loss_halves_the_window_and_then_it_grows_by_one_packet_a_round_trip() {
        let mut cc = NewReno::new(MTU, 40);
        cc.on_fast_recovery();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (20 * MTU, 20 * MTU));
        cc.on_ack(acked(20 * MTU));
        let after_threshold = cc.cwnd();
        assert!(after_threshold > cc.ssthresh());
        for _ in 0..after_threshold / MTU {
            cc.on_ack(acked(MTU));
        }
        assert_eq!(cc.cwnd(), after_threshold + MTU);
    }

    #[test]
    fn slow_start_does_not_leap_over_the_threshold() {
        let mut cc = NewReno::new(MTU, 40);
        cc.on_timeout();
        while cc.cwnd() <= cc.ssthresh() {
            cc.on_ack(acked(100 * MTU));
        }
        assert_eq!(cc.cwnd(), 21 * MTU);
    }

    #[test]
    fn a_timeout_leaves_one_packet_and_never_a_threshold_below_four() {
        let mut cc = NewReno::new(MTU, 2);
        cc.on_timeout();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (MTU, 4 * MTU));
    }

    #[test]
    fn what_was_no_loss_is_undone() {
        let mut cc = NewReno::new(MTU, 40);
        cc.on_timeout();
        cc.undo();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (40 * MTU, usize::MAX));
    }

    #[test]
    fn idling_decays_to_the_initial_window_and_can_be_regained_by_slow_start() {
        let mut cc = NewReno::new(MTU, 10);
        for _ in 0..4 {
            let cwnd = cc.cwnd();
            cc.on_ack(acked(cwnd));
        }
        assert_eq!(cc.cwnd(), 160 * MTU);
        cc.on_idle(40);
        assert_eq!(cc.cwnd(), 10 * MTU);
        assert_eq!(cc.ssthresh(), 160 * MTU);
    }
}
