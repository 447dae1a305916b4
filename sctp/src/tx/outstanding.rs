//! The DATA chunks that have a TSN and are not cumulatively acknowledged yet.
//!
//! A ring indexed by TSN − first TSN; an entry is 32 bytes and points into its message. States of an entry:
//!
//! ```text
//!              marked lost                       sent again
//!   InFlight ───────────────► ToRetransmit ─────────────────► InFlight
//!      │  ▲ no longer in a gap ack block   │ in a gap ack block
//!      ▼  │                                ▼
//!     Acked ◄──────────────────────────────┘
//!   any ──► Abandoned (partial reliability)        all ──► gone, by the cumulative TSN ack
//! ```
//!
//! A SACK costs what it newly says: the gap ack blocks are compared with those of the SACK before, and only
//! the differences and the holes are visited.

mod hidden;

use std::collections::VecDeque;

use self::hidden::{HIDDEN, Hidden};
use crate::wire::data::{FLAG_BEGIN, FLAG_END, FLAG_IMMEDIATE, FLAG_UNORDERED};
use crate::wire::padded;

/// Missing reports that make a chunk lost (RFC 9260 §7.2.4).
const MISSING_REPORTS: u8 = 3;

/// The flags that are on the wire.
const WIRE_FLAGS: u8 = FLAG_BEGIN | FLAG_END | FLAG_IMMEDIATE | FLAG_UNORDERED;

/// Not on the wire: the chunk reached over the size that every packet may have. Of the chunks of a larger packet one
/// has it.
const LARGE: u8 = 0x80;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChunkState {
    InFlight,
    ToRetransmit,
    Acked,
    Abandoned,
}

/// One chunk that is to be sent: what of which message, and the bytes of its header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) message: u32,
    pub(crate) fsn: u32,
    pub(crate) offset: u32,
    pub(crate) len: u16,
    pub(crate) flags: u8,
    pub(crate) overhead: u8,
    /// It is the one that makes its packet a large one.
    pub(crate) large: bool,
}

/// One chunk that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentChunk {
    /// Index of its message in [`SentMessages`](super::messages::SentMessages).
    pub(crate) message: u32,
    /// Which fragment of it this is (RFC 8260 §2.1).
    pub(crate) fsn: u32,
    /// A missing report counts when it acknowledges something sent after this chunk was: a TSN above this.
    /// That is the chunk's own TSN at first, and the highest TSN there was when it was sent again; so a lost
    /// retransmission is found without waiting for T3, and a late report never counts against it.
    sent_after: u64,
    /// When it was last sent, in microseconds of [`Outstanding::now`].
    pub(super) sent_at: u32,
    pub(crate) offset: u32,
    pub(crate) len: u16,
    pub(crate) transmissions: u16,
    pub(crate) state: ChunkState,
    flags: u8,
    missing_reports: u8,
    /// Bytes of the chunk's header.
    overhead: u8,
}

impl SentChunk {
    /// What the chunk's header says.
    #[inline]
    pub(crate) fn wire_flags(&self) -> u8 {
        self.flags & WIRE_FLAGS
    }

    #[inline]
    fn is_large(&self) -> bool {
        self.flags & LARGE != 0
    }

    /// Bytes on the wire.
    pub(super) fn wire_len(&self) -> usize {
        padded(usize::from(self.len)) + usize::from(self.overhead)
    }
}

/// What a SACK changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SackSummary {
    /// Newly acknowledged, in wire bytes.
    pub(crate) acked_bytes: usize,
    pub(crate) cumulative_advanced: bool,
    /// The highest TSN that is newly acknowledged.
    pub(crate) highest_newly_acked: Option<u64>,
    /// Chunks found lost.
    pub(crate) lost: usize,
    /// The first outstanding chunk is among the lost.
    pub(crate) first_is_lost: bool,
    /// When the most recently sent of the newly acknowledged chunks was sent: of those sent once, and of those
    /// sent again.
    pub(crate) newest_sent_once: Option<u32>,
    pub(crate) newest_resent: Option<u32>,
    /// Chunks acknowledged that had been taken for lost and were not sent again.
    pub(crate) acked_while_lost: usize,
    /// A chunk sent once was acknowledged after a later one.
    pub(crate) reordered: bool,
    /// Large packets have arrived.
    pub(crate) large_acked: bool,
    /// Gap ack blocks that are reversed, out of order, or above what was sent.
    pub(crate) bad_blocks: usize,
}

impl SackSummary {
    /// A chunk in flight or taken for lost is acknowledged; `highest` is the highest TSN that was before.
    #[inline]
    fn note_acked(&mut self, tsn: u64, chunk: &SentChunk, highest: u64) {
        self.acked_bytes += chunk.wire_len();
        self.large_acked |= chunk.is_large();
        self.highest_newly_acked = Some(tsn.max(self.highest_newly_acked.unwrap_or(0)));
        let newest = if chunk.transmissions == 1 {
            self.reordered |= tsn < highest;
            &mut self.newest_sent_once
        } else {
            &mut self.newest_resent
        };
        if newest.is_none_or(|newest| is_not_after(newest, chunk.sent_at)) {
            *newest = Some(chunk.sent_at);
        }
        self.acked_while_lost += usize::from(chunk.state == ChunkState::ToRetransmit);
    }
}

/// Whether one time on the wrapping clock is not after another.
pub(super) fn is_not_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 <= 0
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Outstanding {
    chunks: VecDeque<SentChunk>,
    /// TSN of the first entry: cumulative TSN ack + 1.
    first: u64,
    /// Bytes in flight, headers and padding included.
    flight: usize,
    /// Payload bytes in flight: what the peer's window counts.
    flight_payload: usize,
    /// TSNs in `ToRetransmit`, in the order found; an entry may be stale and is checked when taken.
    to_retransmit: VecDeque<u64>,
    /// Entries in `ToRetransmit`.
    lost: usize,
    /// The gap ack blocks of the last SACK, as inclusive TSN ranges.
    sacked: Vec<(u64, u64)>,
    scratch: Vec<(u64, u64)>,
    /// What the last SACK newly acknowledged by gap ack blocks.
    newly_sacked: Vec<(u64, u64)>,
    /// Chunk bytes of a full packet.
    packet_len: usize,
    /// Large packets found lost since one has arrived.
    large_lost: u32,
    hidden: Hidden,
    /// Retransmission counts matter (partial reliability), so losses are reported by TSN.
    pub(crate) newly_lost: Vec<u64>,
    /// The time that chunks sent now are given: microseconds on a clock that wraps.
    pub(crate) now: u32,
}

impl Outstanding {
    /// `packet_len` is how many bytes of chunks a full packet has.
    pub(crate) fn new(first: u64, packet_len: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            first,
            flight: 0,
            flight_payload: 0,
            to_retransmit: VecDeque::new(),
            lost: 0,
            sacked: Vec::new(),
            scratch: Vec::new(),
            newly_sacked: Vec::new(),
            packet_len,
            large_lost: 0,
            hidden: Hidden::default(),
            newly_lost: Vec::new(),
            now: 0,
        }
    }

    /// Full packets have another size from now on.
    pub(crate) fn set_packet_len(&mut self, packet_len: usize) {
        self.packet_len = packet_len;
    }

    /// Large packets found lost since one has arrived.
    pub(crate) fn large_lost(&self) -> u32 {
        self.large_lost
    }

    /// What is known of large packets is forgotten.
    pub(crate) fn forget_large(&mut self) {
        self.large_lost = 0;
    }

    pub(crate) fn next_tsn(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    pub(crate) fn cumulative_tsn_ack(&self) -> u64 {
        self.first - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn flight(&self) -> usize {
        self.flight
    }

    pub(crate) fn flight_payload(&self) -> usize {
        self.flight_payload
    }

    /// The last SACK had gap ack blocks.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.sacked.is_empty()
    }

    /// Chunks that wait to be sent again.
    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    pub(crate) fn get(&self, tsn: u64) -> Option<&SentChunk> {
        self.chunks.get(usize::try_from(tsn.checked_sub(self.first)?).ok()?)
    }

    fn get_mut(&mut self, tsn: u64) -> Option<&mut SentChunk> {
        self.chunks.get_mut(usize::try_from(tsn.checked_sub(self.first)?).ok()?)
    }

    /// A chunk has been written for the first time.
    #[inline]
    pub(crate) fn push(&mut self, cut: Cut) -> u64 {
        let tsn = self.next_tsn();
        let Cut { message, fsn, offset, len, flags, overhead, large } = cut;
        let flags = if large { flags | LARGE } else { flags };
        let chunk = SentChunk {
            message,
            fsn,
            sent_after: tsn,
            sent_at: self.now,
            offset,
            len,
            transmissions: 1,
            state: ChunkState::InFlight,
            flags,
            missing_reports: 0,
            overhead,
        };
        self.flight += chunk.wire_len();
        self.flight_payload += usize::from(chunk.len);
        self.chunks.push_back(chunk);
        tsn
    }

    /// A TSN for the end of a message that will never be sent whole, so that the peer can be told to skip it.
    pub(crate) fn push_abandoned(&mut self, message: u32, flags: u8) -> u64 {
        let tsn = self.next_tsn();
        self.chunks.push_back(SentChunk {
            message,
            fsn: 0,
            sent_after: tsn,
            sent_at: self.now,
            offset: 0,
            len: 0,
            transmissions: 0,
            state: ChunkState::Abandoned,
            flags,
            missing_reports: 0,
            overhead: 0,
        });
        tsn
    }

    /// The lowest chunk found lost, if any.
    pub(crate) fn peek_lost(&mut self) -> Option<(u64, SentChunk)> {
        while let Some(&tsn) = self.to_retransmit.front() {
            match self.get(tsn) {
                Some(chunk) if chunk.state == ChunkState::ToRetransmit => return Some((tsn, *chunk)),
                _ => {
                    self.to_retransmit.pop_front();
                }
            }
        }
        None
    }

    /// The chunk has been written again.
    pub(crate) fn retransmitted(&mut self, tsn: u64, large: bool) {
        let (highest, now) = (self.next_tsn() - 1, self.now);
        let Some(chunk) = self.get_mut(tsn) else { return };
        chunk.sent_at = now;
        chunk.flags = chunk.wire_flags() | if large { LARGE } else { 0 };
        chunk.state = ChunkState::InFlight;
        chunk.missing_reports = 0;
        chunk.sent_after = highest;
        chunk.transmissions = chunk.transmissions.saturating_add(1);
        let (wire, payload) = (chunk.wire_len(), usize::from(chunk.len));
        self.flight += wire;
        self.flight_payload += payload;
        self.lost -= 1;
    }

    /// T3-rtx ran out: everything in flight is lost (RFC 9260 §6.3.3, E3). Returns whether there were large packets
    /// among it.
    pub(crate) fn mark_all_lost(&mut self) -> bool {
        let mut large = false;
        self.to_retransmit.clear();
        for (tsn, chunk) in (self.first..).zip(&mut self.chunks) {
            if chunk.state == ChunkState::InFlight {
                chunk.state = ChunkState::ToRetransmit;
                large |= chunk.is_large();
                self.lost += 1;
                self.newly_lost.push(tsn);
            }
            if chunk.state == ChunkState::ToRetransmit {
                self.to_retransmit.push_back(tsn);
            }
            chunk.missing_reports = 0;
            chunk.flags &= !HIDDEN;
        }
        self.hidden = Hidden::default();
        self.flight = 0;
        self.flight_payload = 0;
        large
    }

    /// What was taken for lost and not sent again is in flight after all.
    pub(crate) fn unmark_lost(&mut self) {
        while let Some(tsn) = self.to_retransmit.pop_front() {
            if self.get(tsn).is_some_and(|chunk| chunk.state == ChunkState::ToRetransmit) {
                self.set_state(tsn, ChunkState::InFlight);
            }
        }
    }

    /// Takes one chunk in flight for lost.
    pub(crate) fn mark_lost(&mut self, tsn: u64) {
        if self.get(tsn).is_some_and(|chunk| chunk.state == ChunkState::InFlight) {
            self.set_state(tsn, ChunkState::ToRetransmit);
            self.to_retransmit.push_back(tsn);
            self.newly_lost.push(tsn);
        }
    }

    /// The newest chunk asks for an immediate SACK.
    pub(crate) fn last_is_immediate(&self) -> bool {
        self.chunks.back().is_some_and(|chunk| chunk.flags & FLAG_IMMEDIATE != 0)
    }

    /// The highest TSN in flight.
    pub(crate) fn last_in_flight(&self) -> Option<u64> {
        let behind = self.chunks.iter().rev().position(|chunk| chunk.state == ChunkState::InFlight)?;
        Some(self.next_tsn() - 1 - behind as u64)
    }

    /// Takes for lost what was sent `limit` microseconds ago or earlier, not after `newest`, and lies below
    /// something acknowledged. Returns how many that are, and in how many microseconds there will be more.
    pub(crate) fn mark_late(&mut self, newest: u32, limit: u32) -> (usize, Option<u32>) {
        let ranges = std::mem::take(&mut self.sacked);
        let (mut lost, mut next) = (0, None);
        let mut hole = self.first;
        for &(start, end) in &ranges {
            for tsn in hole..start {
                let Some(chunk) = self.get(tsn) else { break };
                if chunk.state != ChunkState::InFlight || !is_not_after(chunk.sent_at, newest) {
                    continue;
                }
                let age = self.now.wrapping_sub(chunk.sent_at);
                if age >= limit {
                    self.large_lost += u32::from(chunk.is_large());
                    self.mark_lost(tsn);
                    lost += 1;
                } else {
                    let left = limit - age;
                    next = Some(next.map_or(left, |next: u32| next.min(left)));
                }
            }
            hole = end + 1;
        }
        self.sacked = ranges;
        (lost, next)
    }

    /// Gives up what was sent of a message, whose TSNs lie within `first..=last`.
    pub(crate) fn abandon(&mut self, first: u64, last: u64, is_meant: impl Fn(u32) -> bool) {
        for tsn in first.max(self.first)..=last {
            if self.get(tsn).is_some_and(|chunk| is_meant(chunk.message)) {
                self.set_state(tsn, ChunkState::Abandoned);
            }
        }
    }

    /// Moves one entry to another state, and keeps the counts.
    fn set_state(&mut self, tsn: u64, state: ChunkState) {
        let Some(chunk) = self.get_mut(tsn) else { return };
        let before = chunk.state;
        chunk.state = state;
        let hidden = chunk.take_hidden();
        let (wire, payload) = (chunk.wire_len(), usize::from(chunk.len));
        self.unhide(hidden);
        match before {
            ChunkState::InFlight => {
                self.flight -= wire;
                self.flight_payload -= payload;
            }
            ChunkState::ToRetransmit => self.lost -= 1,
            ChunkState::Acked | ChunkState::Abandoned => {}
        }
        match state {
            ChunkState::InFlight => {
                self.flight += wire;
                self.flight_payload += payload;
            }
            ChunkState::ToRetransmit => self.lost += 1,
            ChunkState::Acked | ChunkState::Abandoned => {}
        }
    }

    /// The point up to which everything is acknowledged or abandoned, when that is beyond the cumulative TSN
    /// ack: the advanced peer ack point (RFC 3758 §3.5, C2). Calls `visit` for each chunk on the way.
    pub(crate) fn advanced_peer_ack_point(&self, mut visit: impl FnMut(u64, &SentChunk)) -> Option<u64> {
        let mut point = None;
        for (tsn, chunk) in (self.first..).zip(&self.chunks) {
            match chunk.state {
                ChunkState::Abandoned => {
                    point = Some(tsn);
                    visit(tsn, chunk);
                }
                // Only as far as something abandoned: what is acknowledged beyond it the peer knows.
                ChunkState::Acked => visit(tsn, chunk),
                ChunkState::InFlight | ChunkState::ToRetransmit => break,
            }
        }
        point
    }

    /// Whether the first entry is abandoned, so that the peer must be told to go on.
    pub(crate) fn first_is_abandoned(&self) -> bool {
        self.chunks.front().is_some_and(|chunk| chunk.state == ChunkState::Abandoned)
    }

    /// Takes in a SACK whose cumulative TSN ack is neither behind ours nor beyond what was sent.
    ///
    /// `blocks` are offsets as received. Missing reports make chunks lost if `count_reports`. `released` is called for every chunk that is gone for good.
    pub(crate) fn on_sack(
        &mut self,
        cumulative: u64,
        blocks: impl Iterator<Item = (u16, u16)>,
        in_fast_recovery: bool,
        count_reports: bool,
        mut released: impl FnMut(&SentChunk),
    ) -> SackSummary {
        let mut summary = SackSummary::default();
        let highest = self.sacked.last().map_or(0, |&(_, end)| end);
        while self.first <= cumulative {
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            match chunk.state {
                ChunkState::InFlight => {
                    self.unhide(chunk.take_hidden());
                    self.flight -= chunk.wire_len();
                    self.flight_payload -= usize::from(chunk.len);
                    summary.note_acked(self.first, &chunk, highest);
                }
                ChunkState::ToRetransmit => {
                    self.lost -= 1;
                    summary.note_acked(self.first, &chunk, highest);
                }
                ChunkState::Acked | ChunkState::Abandoned => {}
            }
            released(&chunk);
            summary.cumulative_advanced = true;
            self.first += 1;
        }
        self.take_blocks(cumulative, blocks, highest, &mut summary);
        if summary.large_acked {
            self.large_lost = 0;
        }
        if count_reports {
            self.count_missing(in_fast_recovery, &mut summary);
        }
        summary
    }

    /// Replaces the gap ack blocks and visits what changed.
    fn take_blocks(
        &mut self,
        cumulative: u64,
        blocks: impl Iterator<Item = (u16, u16)>,
        highest_before: u64,
        summary: &mut SackSummary,
    ) {
        let mut old = std::mem::take(&mut self.sacked);
        let mut new = std::mem::take(&mut self.scratch);
        let mut newly_sacked = std::mem::take(&mut self.newly_sacked);
        new.clear();
        newly_sacked.clear();
        let highest = self.next_tsn() - 1;
        // A block that begins at offset 1 contradicts the cumulative ack. Taken as said, it could leave
        // everything acknowledged and nothing released, with no timer to find that out.
        let mut floor = cumulative + 1;
        for (start, end) in blocks {
            let (start, end) = (cumulative + u64::from(start), cumulative + u64::from(end));
            if start <= floor || end < start || end > highest {
                summary.bad_blocks += 1;
                continue;
            }
            floor = end;
            new.push((start, end));
        }
        if !(old.is_empty() && new.is_empty()) {
            let first = self.first;
            old.retain_mut(|range| {
                range.0 = range.0.max(first);
                range.0 <= range.1
            });
            for_each_difference(&new, &old, |start, end| {
                newly_sacked.push((start, end));
                for tsn in start..=end {
                    let Some(chunk) = self.get(tsn) else { break };
                    if matches!(chunk.state, ChunkState::InFlight | ChunkState::ToRetransmit) {
                        summary.note_acked(tsn, chunk, highest_before);
                        self.set_state(tsn, ChunkState::Acked);
                    }
                }
            });
            // RFC 9260 §6.2.1 D iii: what was acknowledged by a gap ack block and no longer is, is
            // outstanding again.
            for_each_difference(&old, &new, |start, end| {
                for tsn in start..=end {
                    if self.get(tsn).is_some_and(|chunk| chunk.state == ChunkState::Acked) {
                        self.set_state(tsn, ChunkState::InFlight);
                    }
                }
            });
        }
        self.scratch = old;
        self.sacked = new;
        self.newly_sacked = newly_sacked;
    }

    /// TSNs such that about half a packet, one and a half, and two and a half were newly acknowledged by gap
    /// ack blocks at or above them.
    fn report_marks(&self) -> [u64; MISSING_REPORTS as usize] {
        let mut marks = [0; MISSING_REPORTS as usize];
        let mut found = 0;
        let mut bytes = 0;
        for &(start, end) in self.newly_sacked.iter().rev() {
            for tsn in (start..=end).rev() {
                let Some(chunk) = self.get(tsn) else { break };
                bytes += chunk.wire_len();
                while let Some(mark) = marks.get_mut(found)
                    && 2 * bytes >= (2 * found + 1) * self.packet_len
                {
                    *mark = tsn;
                    found += 1;
                }
                if found == marks.len() {
                    return marks;
                }
            }
        }
        marks
    }

    /// Counts missing reports in the holes (RFC 9260 §7.2.4, highest TSN newly acknowledged).
    ///
    /// The RFC counts SACKs, of which a receiver sends one a packet while there are gaps. A receiver that
    /// takes packets in batches, as ours does, sends one for all of them; so a SACK counts for as many
    /// packets as it newly acknowledges above the hole, in bytes, as RFC 6675 §4 does it for TCP.
    fn count_missing(&mut self, in_fast_recovery: bool, summary: &mut SackSummary) {
        let Some(&(_, highest_reported)) = self.sacked.last() else { return };
        let limit = match summary.highest_newly_acked {
            // In fast recovery an advancing SACK is a report on every hole.
            Some(_) if in_fast_recovery && summary.cumulative_advanced => highest_reported,
            Some(highest) => highest,
            None => return,
        };
        let marks = self.report_marks();
        let ranges = std::mem::take(&mut self.sacked);
        let mut hole = self.first;
        for &(start, end) in &ranges {
            for tsn in hole..start.min(limit) {
                let Some(chunk) = self.get_mut(tsn) else { break };
                if chunk.state != ChunkState::InFlight || limit <= chunk.sent_after {
                    continue;
                }
                let packets = marks.iter().filter(|&&mark| mark > chunk.sent_after).count() as u8;
                chunk.missing_reports += packets.max(1);
                if chunk.missing_reports >= MISSING_REPORTS {
                    chunk.missing_reports = 0;
                    let large = chunk.is_large();
                    self.large_lost += u32::from(large);
                    self.set_state(tsn, ChunkState::ToRetransmit);
                    self.to_retransmit.push_back(tsn);
                    self.newly_lost.push(tsn);
                    summary.lost += 1;
                    summary.first_is_lost |= tsn == self.first;
                }
            }
            hole = end + 1;
            if hole >= limit {
                break;
            }
        }
        self.sacked = ranges;
    }
}

/// Calls `f` for every maximal range that is in `a` and not in `b`. Both are sorted and disjoint.
fn for_each_difference(a: &[(u64, u64)], b: &[(u64, u64)], mut f: impl FnMut(u64, u64)) {
    let mut b = b.iter().copied().peekable();
    for &(start, end) in a {
        let mut at = start;
        while at <= end {
            match b.peek() {
                Some(&(_, b_end)) if b_end < at => {
                    b.next();
                }
                Some(&(b_start, b_end)) if b_start <= end => {
                    if at < b_start {
                        f(at, b_start - 1);
                    }
                    at = b_end + 1;
                }
                _ => {
                    f(at, end);
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for_each_difference(a, b, |start, end| found.push((start, end)));
        found
    }

    #[test]
    fn differences_of_ranges_are_what_one_has_and_the_other_has_not() {
        assert_eq!(difference(&[(3, 9)], &[]), [(3, 9)]);
        assert_eq!(difference(&[(3, 9)], &[(3, 9)]), []);
        assert_eq!(difference(&[(3, 9)], &[(1, 3), (5, 6), (9, 12)]), [(4, 4), (7, 8)]);
        assert_eq!(difference(&[(1, 2), (4, 5), (8, 8)], &[(2, 4)]), [(1, 1), (5, 5), (8, 8)]);
        assert_eq!(difference(&[(1, 2), (4, 5)], &[(0, 9)]), []);
    }

    const DATA_OVERHEAD: usize = 16;
    pub(super) const CUT: Cut =
        Cut { message: 0, fsn: 0, offset: 0, len: 100, flags: 0, overhead: 16, large: false };

    pub(super) fn with_chunks(n: usize) -> Outstanding {
        let mut outstanding = Outstanding::new(100, 100 + DATA_OVERHEAD);
        for _ in 0..n {
            outstanding.push(CUT);
        }
        outstanding
    }

    pub(super) fn sack(outstanding: &mut Outstanding, cumulative: u64, blocks: &[(u16, u16)]) -> SackSummary {
        outstanding.on_sack(cumulative, blocks.iter().copied(), false, true, |_| {})
    }

    #[test]
    fn three_reports_make_a_chunk_lost_and_the_lowest_goes_first() {
        let mut outstanding = with_chunks(10);
        assert_eq!(sack(&mut outstanding, 99, &[(3, 3)]).lost, 0);
        assert_eq!(sack(&mut outstanding, 99, &[(3, 4)]).lost, 0);
        // Said again, it is no news.
        assert_eq!(sack(&mut outstanding, 99, &[(3, 4)]).lost, 0);
        let summary = sack(&mut outstanding, 99, &[(3, 5)]);
        assert_eq!((summary.lost, summary.first_is_lost), (2, true));
        assert_eq!(outstanding.peek_lost().map(|(tsn, _)| tsn), Some(100));
        assert_eq!(outstanding.flight_payload(), 500);
    }

    #[test]
    fn one_sack_for_a_batch_counts_for_the_packets_in_it() {
        let mut outstanding = with_chunks(10);
        assert_eq!(sack(&mut outstanding, 99, &[(2, 3)]).lost, 0);
        let mut outstanding = with_chunks(10);
        assert_eq!(sack(&mut outstanding, 99, &[(2, 4)]).lost, 1);
        // Small chunks in one packet are one report.
        let mut outstanding = Outstanding::new(100, 1148);
        for _ in 0..10 {
            outstanding.push(CUT);
        }
        assert_eq!(sack(&mut outstanding, 99, &[(2, 10)]).lost, 0);
    }

    #[test]
    fn a_repeated_report_counts_once() {
        let mut outstanding = with_chunks(10);
        for _ in 0..10 {
            assert_eq!(sack(&mut outstanding, 99, &[(3, 3)]).lost, 0);
        }
    }

    #[test]
    fn a_lost_retransmission_is_found_by_reports_on_what_was_sent_after_it() {
        let mut outstanding = with_chunks(6);
        for end in 2..=4 {
            sack(&mut outstanding, 99, &[(2, end)]);
        }
        assert_eq!(outstanding.peek_lost().map(|(tsn, _)| tsn), Some(100));
        outstanding.retransmitted(100, false);
        // TSN 104 and 105 were sent before the retransmission: they say nothing about it.
        assert_eq!(sack(&mut outstanding, 99, &[(2, 5)]).lost, 0);
        assert_eq!(sack(&mut outstanding, 99, &[(2, 6)]).lost, 0);
        for _ in 0..3 {
            outstanding.push(CUT);
        }
        assert_eq!(sack(&mut outstanding, 99, &[(2, 7)]).lost, 0);
        assert_eq!(sack(&mut outstanding, 99, &[(2, 8)]).lost, 0);
        assert_eq!(sack(&mut outstanding, 99, &[(2, 9)]).lost, 1);
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<SentChunk>(), 32);
    }

    #[test]
    fn what_is_late_is_lost_and_the_next_one_has_a_time() {
        let mut outstanding = with_chunks(2);
        outstanding.now = 400;
        for _ in 0..3 {
            outstanding.push(CUT);
        }
        outstanding.now = 1200;
        sack(&mut outstanding, 99, &[(4, 4)]);
        assert_eq!(outstanding.mark_late(399, 1000), (2, None), "sent at 0; the others after 399");
        assert_eq!(outstanding.mark_late(400, 1000), (0, Some(200)), "sent at 400, below TSN 103");
        outstanding.now = 1400;
        assert_eq!(outstanding.mark_late(400, 1000), (1, None));
        assert_eq!(outstanding.lost(), 3);
        assert_eq!(outstanding.last_in_flight(), Some(104));
        outstanding.unmark_lost();
        assert_eq!((outstanding.lost(), outstanding.flight_payload()), (0, 400));
    }

    #[test]
    fn reneged_data_is_in_flight_again() {
        let mut outstanding = with_chunks(4);
        sack(&mut outstanding, 99, &[(2, 3)]);
        assert_eq!(outstanding.flight_payload(), 200);
        sack(&mut outstanding, 99, &[(2, 2)]);
        assert_eq!(outstanding.flight_payload(), 300);
        assert_eq!(sack(&mut outstanding, 103, &[]).acked_bytes, 3 * (100 + DATA_OVERHEAD));
        assert_eq!((outstanding.flight(), outstanding.flight_payload()), (0, 0));
    }

    #[test]
    fn absurd_blocks_are_left_out() {
        let mut outstanding = with_chunks(4);
        let summary =
            sack(&mut outstanding, 99, &[(0, 2), (1, 4), (3, 2), (2, 2), (1, 1), (4, 5), (4, 65_535)]);
        assert_eq!(summary.bad_blocks, 6);
        assert_eq!(outstanding.flight_payload(), 300);
    }
}
