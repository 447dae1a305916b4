//! Finding losses by time, probing for lost tails, and taking back what was no loss.
//!
//! Three missing reports ([`outstanding`](super::outstanding)) need three packets after the lost one, and T3
//! takes 400 ms and more. In between (after RFC 8985, which does it for TCP):
//!
//! - **RACK**: once a chunk is acknowledged, chunks sent before it are late. After a round trip and a
//!   reordering window, a quarter of the smallest round trip, they are lost. This finds lost retransmissions
//!   too, and needs one packet after the loss, not three. When the path is seen to reorder, reports no longer
//!   count and only time does; when a retransmission turns out needless, the window grows (§6.2, step 4).
//! - **Tail-loss probe**: when two round trips pass without acknowledgement, the last chunk is sent again. Its
//!   acknowledgement shows what else is missing, and RACK repairs it. The last chunk of several packets has the
//!   I bit, so that its SACK is not delayed; for a packet alone the delay is waited for.
//! - **Undo**: when all that was taken for lost has arrived after all, by its acknowledgement before it was
//!   sent again or by a report of the duplicate, the congestion window is put back. After T3, one
//!   acknowledgement of something that was not sent again suffices (F-RTO, RFC 5682), or one that comes back
//!   before a round trip is over (RFC 3522).
//! - **Proportional rate** (after RFC 6937): what has left the path may be replaced, at 7/10, by what was lost,
//!   even though more than the reduced window is still in flight. A SACK has room for 283 gap ack blocks; when
//!   there are more, much counts as in flight that is not.
//!
//! ```text
//!               2 SRTT without news                    RTO
//!   in flight ─────────────────────► probe, once ───────────────► T3
//!       │ SACK with a hole              │ SACK with a hole
//!       └──► RACK timer ──► lost ◄──────┘
//! ```

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::Sender;
use super::outstanding::{SackSummary, is_not_after};
use crate::stats::Stats;
use crate::timer::earliest;
use crate::types::Tsn;

/// The smallest time to a tail-loss probe: below it, the peer's scheduling looks like loss.
const MIN_PROBE_TIMEOUT: Duration = Duration::from_millis(10);

/// What a receiver may delay the SACK of a single packet without the I bit (RFC 9260 §6.2; everybody uses 200 ms).
const MAX_ACK_DELAY: Duration = Duration::from_millis(200);

/// How long a smallest round-trip time is believed.
const MIN_RTT_LIFE: Duration = Duration::from_secs(30);

/// The largest reordering window, in quarters of the smallest round trip; and after how many recoveries
/// without a needless retransmission it shrinks again (RFC 8985 §6.2).
const MAX_REORDERING: u32 = 16;
const REORDERING_PERSISTS: u8 = 16;

/// What was taken for lost, and by what.
#[derive(Debug)]
struct Episode {
    /// Chunks not shown yet to have arrived.
    lost: usize,
    /// TSNs that were outstanding.
    range: RangeInclusive<u64>,
    /// T3 did it.
    by_timeout: bool,
    /// Something was missing for sure: SACKs said so, and may not have had room to say everything.
    with_gaps: bool,
    /// It has made the reordering window larger.
    widened: bool,
}

/// The state of loss detection by time.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Where the clock of [`micros`](Self::micros) starts.
    epoch: Option<Instant>,
    /// What it was asked last: a batch has one time.
    asked: Option<(Instant, u32)>,
    min_rtt: Option<(Duration, Instant)>,
    /// What was sent before measures no round trip: it went another way.
    not_before: Option<u32>,
    /// When the most recently sent chunk of all acknowledged ones was sent (`RACK.xmit_ts`), and its round
    /// trip.
    newest: Option<(u32, Duration)>,
    /// The path has been seen to reorder.
    pub(super) reordering: bool,
    /// Quarters of the smallest round trip in the reordering window.
    window_quarters: u32,
    persists: u8,
    rack_deadline: Option<Instant>,
    /// When something was last sent or acknowledged.
    progress: Option<Instant>,
    /// The tail-loss probe that is not settled: its TSN and when it was sent.
    probe: Option<(u64, Instant)>,
    episode: Option<Episode>,
    /// Bytes that may be sent again in fast recovery though the congestion window is full.
    pub(super) retransmit_credit: usize,
}

impl Recovery {
    /// Microseconds on a clock that wraps after 71 minutes: times of chunks are only compared within an RTO.
    #[inline]
    pub(super) fn micros(&mut self, now: Instant) -> u32 {
        match self.asked {
            Some((at, micros)) if at == now => micros,
            _ => self.micros_anew(now),
        }
    }

    fn micros_anew(&mut self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(*self.epoch.get_or_insert(now));
        // The truncation is the point.
        let micros = (since.as_secs() as u32).wrapping_mul(1_000_000).wrapping_add(since.subsec_micros());
        self.asked = Some((now, micros));
        micros
    }

    /// Something was sent.
    #[inline]
    pub(super) fn sent(&mut self, now: Instant) {
        self.progress = Some(now);
    }

    fn rtt_sample(&mut self, now: Instant, rtt: Duration) {
        if self.min_rtt.is_none_or(|(min, at)| rtt <= min || now > at + MIN_RTT_LIFE) {
            self.min_rtt = Some((rtt, now));
        }
    }

    /// When the newest of the chunks that a SACK acknowledges was sent; of those sent again only what can be
    /// an answer to the last time.
    pub(super) fn newest_acked(&mut self, now: Instant, summary: &SackSummary) -> Option<u32> {
        let micros = self.micros(now);
        let min_rtt = self.min_rtt();
        let resent = summary
            .newest_resent
            .filter(|&at| Duration::from_micros(u64::from(micros.wrapping_sub(at))) >= min_rtt);
        match (summary.newest_sent_once, resent) {
            (Some(once), Some(again)) if is_not_after(once, again) => Some(again),
            (once, again) => once.or(again),
        }
    }

    pub(super) fn min_rtt(&self) -> Duration {
        self.min_rtt.map_or(Duration::ZERO, |(rtt, _)| rtt)
    }

    /// The path is another one: what was measured on the old one is forgotten.
    pub(super) fn path_changed(&mut self, now: Instant) {
        self.not_before = Some(self.micros(now));
        // What the old path did deliver of it doesn't show that the rest is on its way.
        self.episode = None;
        self.newest = None;
        self.probe = None;
        self.min_rtt = None;
        self.reordering = false;
        self.window_quarters = 0;
    }

    fn reordering_window(&self, srtt: Option<Duration>) -> Duration {
        let window = self.min_rtt().saturating_mul(self.window_quarters + 1) / 4;
        window.min(srtt.unwrap_or(window)).max(Duration::from_millis(1))
    }
}

impl Sender {
    /// Takes in what a SACK said, before the losses it shows are acted upon. Returns the round trip of the
    /// newest chunk it acknowledges, if that was sent once.
    pub(super) fn rack(
        &mut self,
        now: Instant,
        summary: &mut SackSummary,
        duplicates: impl Iterator<Item = Tsn>,
        stats: &mut Stats,
    ) -> Option<Duration> {
        let micros = self.recovery.micros(now);
        let age = |sent_at: u32| Duration::from_micros(u64::from(micros.wrapping_sub(sent_at)));
        let on_this_path = |at: &u32| self.recovery.not_before.is_none_or(|since| is_not_after(since, *at));
        let rtt = summary.newest_sent_once.filter(on_this_path).map(age);
        if let Some(rtt) = rtt {
            // The clock wraps, and all that was sent before is soon settled.
            self.recovery.not_before = None;
            self.recovery.rtt_sample(now, rtt);
        }
        // An acknowledgement that comes sooner than any round trip is of the first transmission.
        let resent = summary.newest_resent.filter(|&at| age(at) >= self.recovery.min_rtt());
        let early = summary.newest_resent.is_some() && resent.is_none();
        for sent_at in [summary.newest_sent_once, resent].into_iter().flatten() {
            if self.recovery.newest.is_none_or(|(newest, _)| newest.wrapping_sub(sent_at) as i32 <= 0) {
                self.recovery.newest = Some((sent_at, age(sent_at)));
            }
        }
        self.recovery.reordering |= summary.reordered;
        // A controller that goes by the rate has a model of what is on the path, and does worse with another.
        if let Some((newest, _)) = self.recovery.newest
            && self.delivery.is_none()
        {
            let window = self.recovery.reordering_window(self.rto.srtt()).as_micros();
            self.outstanding.find_hidden(newest.wrapping_sub(u32::try_from(window).unwrap_or(u32::MAX / 2)));
        }
        if summary.acked_bytes > 0 {
            self.recovery.progress = Some(now);
            if self.recover_until.is_some() {
                self.recovery.retransmit_credit += summary.acked_bytes / 10 * 7;
            }
        }
        self.settle_probe(now, early);
        self.undo_if_spurious(summary, early, duplicates, rtt, stats);
        summary.lost += self.detect_late(now);
        rtt
    }

    /// Marks what is late as lost and sets the timer for what will be (RFC 8985 §6.2, step 5).
    fn detect_late(&mut self, now: Instant) -> usize {
        self.recovery.rack_deadline = None;
        if !self.outstanding.has_gaps() {
            return 0;
        }
        let Some((newest, rtt)) = self.recovery.newest else { return 0 };
        let limit = rtt + self.recovery.reordering_window(self.rto.srtt());
        let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX / 2);
        let (lost, next) = self.outstanding.mark_late(newest, limit);
        self.recovery.rack_deadline = next.map(|micros| now + Duration::from_micros(u64::from(micros)));
        lost
    }

    /// Whether a loss found now begins a fast recovery. A timeout has left one packet already: what was
    /// outstanding then reduces it no further.
    pub(super) fn begins_recovery(&self) -> bool {
        let cumulative = self.outstanding.cumulative_tsn_ack();
        let after_timeout = |episode: &Episode| episode.by_timeout && *episode.range.end() > cumulative;
        self.recover_until.is_none() && !self.recovery.episode.as_ref().is_some_and(after_timeout)
    }

    /// Acts on losses that a SACK or the RACK timer found: the first of a window reduces it.
    pub(super) fn on_lost(&mut self, lost: usize, stats: &mut Stats) {
        if lost == 0 {
            return;
        }
        if self.begins_recovery() {
            self.congestion.on_fast_recovery();
            self.recover_until = Some(self.outstanding.next_tsn() - 1);
            self.fast_retransmit_now = true;
            stats.fast_recoveries += 1;
            self.begin_episode(lost, false);
            let recovery = &mut self.recovery;
            recovery.persists = recovery.persists.saturating_sub(1);
            if recovery.persists == 0 {
                recovery.window_quarters = 0;
            }
        } else if let Some(episode) = &mut self.recovery.episode {
            episode.lost += lost;
        }
    }

    /// Whether what is lost was found by T3, not by reports or by time.
    pub(super) fn is_after_timeout(&self) -> bool {
        self.recovery.episode.as_ref().is_some_and(|episode| episode.by_timeout)
    }

    /// T3 has run out and marked this many chunks lost.
    pub(super) fn on_lost_by_timeout(&mut self, lost: usize) {
        self.recovery.probe = None;
        self.recovery.rack_deadline = None;
        self.recovery.newest = None;
        self.begin_episode(lost, true);
    }

    fn begin_episode(&mut self, lost: usize, by_timeout: bool) {
        let range = self.outstanding.cumulative_tsn_ack() + 1..=self.outstanding.next_tsn() - 1;
        let with_gaps = self.outstanding.has_gaps();
        self.recovery.retransmit_credit = 0;
        let episode = Episode { lost, range, by_timeout, with_gaps, widened: false };
        self.recovery.episode = (lost > 0).then_some(episode);
    }

    fn undo_if_spurious(
        &mut self,
        summary: &SackSummary,
        early: bool,
        duplicates: impl Iterator<Item = Tsn>,
        rtt: Option<Duration>,
        stats: &mut Stats,
    ) {
        let cumulative = self.outstanding.cumulative_tsn_ack();
        let Some(episode) = &mut self.recovery.episode else { return };
        let needless = duplicates.filter(|tsn| episode.range.contains(&tsn.unwrap_near(cumulative))).count();
        if needless > 0 && !episode.by_timeout && !episode.widened {
            episode.widened = true;
            // The path reorders by more than the window.
            self.recovery.reordering = true;
            self.recovery.persists = REORDERING_PERSISTS;
            self.recovery.window_quarters = (self.recovery.window_quarters + 1).min(MAX_REORDERING);
        }
        episode.lost = episode.lost.saturating_sub(needless + summary.acked_while_lost);
        let on_time = episode.by_timeout
            && !episode.with_gaps
            && summary.cumulative_advanced
            && (summary.acked_while_lost > 0 || early);
        if episode.lost > 0 && !on_time {
            return;
        }
        let by_timeout = episode.by_timeout;
        self.recovery.episode = None;
        tracing::debug!(by_timeout, "what was taken for lost has arrived");
        stats.spurious_recoveries += 1;
        self.congestion.undo();
        self.recover_until = None;
        if by_timeout {
            self.outstanding.unmark_lost();
            if let Some(rtt) = rtt {
                // The delay that the timeout did not expect; Karn's rule has kept it from being measured.
                self.rto.measured(rtt);
            }
        }
    }

    /// A probe's acknowledgement: if it had to be sent, there was a loss, which reduces the window
    /// (RFC 8985 §7.4).
    fn settle_probe(&mut self, now: Instant, early: bool) {
        let Some((tsn, sent)) = self.recovery.probe else { return };
        if self.outstanding.cumulative_tsn_ack() < tsn {
            return;
        }
        self.recovery.probe = None;
        let needless = early || now.saturating_duration_since(sent) < self.recovery.min_rtt();
        if !needless && self.recover_until.is_none() {
            self.congestion.on_fast_recovery();
        }
    }

    /// When a tail-loss probe is due, if nothing comes before.
    fn probe_deadline(&self) -> Option<Instant> {
        let idle = self.recover_until.is_some()
            || self.recovery.probe.is_some()
            || self.outstanding.flight() == 0
            || self.outstanding.has_lost()
            || self.window_closed
            || self.t3.expirations() > 0;
        if idle {
            return None;
        }
        let mut timeout = self.rto.srtt()?.saturating_mul(2).max(MIN_PROBE_TIMEOUT);
        if self.outstanding.flight() <= self.packet_size && !self.outstanding.last_is_immediate() {
            timeout += MAX_ACK_DELAY;
        }
        // Later than T3 it would be of no use.
        let deadline = self.recovery.progress? + timeout;
        self.t3.deadline().filter(|&t3| deadline < t3).map(|_| deadline)
    }

    /// When [`on_recovery_timer`](Self::on_recovery_timer) has something to do.
    pub(crate) fn recovery_deadline(&self) -> Option<Instant> {
        let rack = earliest(self.recovery.rack_deadline, self.probe_deadline());
        earliest(rack, self.pacer.blocked_until())
    }

    /// Lets the timers of this file and of the pacer run out.
    pub(crate) fn on_recovery_timer(&mut self, now: Instant, stats: &mut Stats) {
        self.pacer.on_timeout(now);
        if self.recovery.rack_deadline.is_some_and(|deadline| deadline <= now) {
            self.outstanding.now = self.recovery.micros(now);
            let before = self.outstanding.flight_payload();
            let lost = self.detect_late(now);
            self.peer_rwnd += before - self.outstanding.flight_payload();
            self.report_lost(now, self.begins_recovery());
            self.on_lost(lost, stats);
            self.give_up_lost(now, stats);
        }
        if self.probe_deadline().is_some_and(|deadline| deadline <= now) {
            self.send_probe(now, stats);
        }
    }

    /// Sends the last chunk in flight again, whatever the congestion window says.
    fn send_probe(&mut self, now: Instant, stats: &mut Stats) {
        let Some(tsn) = self.outstanding.last_in_flight() else { return };
        self.recovery.probe = Some((tsn, now));
        if self.is_retransmittable(now, tsn) {
            let before = self.outstanding.flight_payload();
            self.outstanding.mark_lost(tsn);
            // It is no loss yet.
            self.outstanding.newly_lost.pop();
            self.peer_rwnd += before - self.outstanding.flight_payload();
            self.fast_retransmit_now = true;
            // In case the packets were lost for their size, this one should not be.
            self.small_packet = true;
            stats.tail_loss_probes += 1;
            // RFC 8985 §7.3: T3 waits for the probe's answer.
            self.t3.start(now, self.rto.rto(), self.backoff);
        }
    }

    /// The message's limits allow to send this chunk once more.
    fn is_retransmittable(&self, now: Instant, tsn: u64) -> bool {
        let Some(chunk) = self.outstanding.get(tsn) else { return false };
        let Some(message) = self.messages.get(chunk.message) else { return false };
        !self.partial_reliability
            || (message.max_retransmits.is_none_or(|max| u32::from(chunk.transmissions) <= max)
                && message.expires.is_none_or(|expires| expires > now))
    }
}
