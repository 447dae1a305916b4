//! What the sender does with the size of packets: probes out and answers in, and what losses say about it.

use std::time::Instant;

use super::outstanding::SackSummary;
use super::path_mtu::{MAX_LARGE_LOST, ProbeAck};
use super::rto::RetransmissionTimeout;
use super::{Sender, congestion, pmdcs};
use crate::config::Config;

impl Sender {
    /// The handshake is done: the path is known to carry something.
    pub(crate) fn connected(&mut self) {
        self.path_mtu.start();
        self.sizes_changed();
    }

    /// The path is another one: RFC 8261 §6.1 has the size tested again and congestion control start anew. What is in
    /// flight stays so, until it is acknowledged or a timer takes it for lost.
    pub(crate) fn path_changed(&mut self, now: Instant, config: &Config) {
        self.path_mtu.start_over();
        self.packet_size = self.path_mtu.size();
        self.outstanding.forget_large();
        self.outstanding.set_packet_len(pmdcs(self.packet_size));
        let seed = self.outstanding.next_tsn() as u32;
        self.congestion = congestion::controller(config, pmdcs(self.packet_size), seed);
        // What is in flight samples the old path.
        self.delivery = self.congestion.wants_rate().then(Box::default);
        self.rto = RetransmissionTimeout::new(config);
        // Time-out and back-off were the old path's (RFC 9260 §6.3), which may have been dead for long. What is sent again now must not be
        // taken for lost a moment later, and then for delivered with all the rest when its acknowledgement comes.
        self.t3.reset_backoff();
        if self.t3.deadline().is_some() {
            self.t3.start(now, self.rto.rto(), self.backoff);
        }
        self.rtt_probe = None;
        self.recover_until = None;
        self.fast_retransmit_now = false;
        self.recovery.path_changed(now);
        self.pacer.reset();
    }

    /// The size of the probe that waits to be sent.
    #[inline]
    pub(crate) fn size_probe_due(&self) -> Option<usize> {
        self.path_mtu.due()
    }

    /// The probe that was due is being sent; returns its nonce, which is `fresh` unless the size was probed before.
    pub(crate) fn send_size_probe(&mut self, now: Instant, fresh: u64) -> u64 {
        self.path_mtu.send(now, self.rto.rto(), fresh)
    }

    /// The answer to a probe. False if there is none that it answers.
    pub(crate) fn on_size_probe_ack(&mut self, now: Instant, nonce: u64, size: usize) -> bool {
        let ProbeAck::Passed(rtt) = self.path_mtu.on_ack(now, nonce, size) else { return false };
        if let Some(rtt) = rtt {
            self.rto.measured(rtt);
        }
        // It has come past the PAD chunk of the probe.
        self.takes_padding = true;
        self.sizes_changed();
        true
    }

    /// When [`on_size_timer`](Self::on_size_timer) has something to do.
    #[inline]
    pub(crate) fn size_deadline(&self) -> Option<Instant> {
        self.path_mtu.deadline()
    }

    pub(crate) fn on_size_timer(&mut self, now: Instant) {
        self.path_mtu.on_timeout(now);
    }

    /// The system has refused to send a packet of this size.
    pub(crate) fn on_size_refused(&mut self, now: Instant, size: usize) {
        self.path_mtu.on_refused(now, size);
        self.sizes_changed();
    }

    /// Whether the search for a larger size goes on without anything that will end it.
    pub(crate) fn size_search_is_stalled(&self) -> bool {
        self.path_mtu.is_stalled()
    }

    /// What a SACK says about sizes.
    #[inline]
    pub(super) fn judge_sizes(&mut self, now: Instant, summary: &SackSummary) {
        if summary.acked_bytes == 0 {
            return;
        }
        if summary.large_acked {
            self.path_mtu.on_large_acked();
        } else if self.outstanding.large_lost() >= MAX_LARGE_LOST {
            self.on_black_hole();
        }
        self.path_mtu.on_progress(now);
    }

    /// Packets above the base size don't arrive.
    pub(super) fn on_black_hole(&mut self) {
        self.outstanding.forget_large();
        self.path_mtu.on_black_hole();
        self.sizes_changed();
    }

    fn sizes_changed(&mut self) {
        let size = self.path_mtu.size();
        if size != self.packet_size {
            self.packet_size = size;
            self.outstanding.set_packet_len(pmdcs(size));
            self.congestion.set_packet_len(pmdcs(size));
        }
    }
}
