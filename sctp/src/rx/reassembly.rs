//! Fragments into messages.
//!
//! A message's fragments have consecutive TSNs (RFC 9260 §6.9), so reassembly knows TSNs only: a [`Run`] is
//! a row of fragments of one message without a gap between them. In order there is one run at most, the
//! last, and a fragment is appended to its buffer, which is the one copy of the payload. Fragments that come
//! out of order make more runs, which merge when the gap between them closes; merging moves buffers, never
//! bytes. A message of one fragment never becomes a run.
//!
//! A message that begins where another has not ended leaves that one unfinished for ever. It is dropped and its
//! SSN skipped, as if a FORWARD TSN had said so: dcSCTP, up to 0.1.16 at least, says nothing when the lifetime of
//! a message runs out between two fragments.
//!
//! A message that the application reads in pieces is a row like any other, out of which bytes are taken: see
//! [`partial`](super::partial).
//!
//! Limits: [`MAX_RUNS`] runs; the largest message, from the settings. [`held`](Reassembly::held) is what all of it
//! takes, buffers as large as they are and not as full; the owner sets it against the receive buffer.

use std::collections::VecDeque;

use bytes::Bytes;

use super::parts::Parts;
use crate::event::Message;
use crate::types::{Mid, Ppid, StreamId};
use crate::wire::data::{DataChunk, FLAG_BEGIN, FLAG_END, FLAG_UNORDERED};

/// Incomplete rows of fragments. Between two of them there is a gap, and the gaps are limited already; this
/// limits rows that a peer makes by fragments that don't fit each other.
const MAX_RUNS: usize = 2048;

/// What an allocation takes besides the bytes asked for: its header, and rounding.
pub(super) const ALLOCATION: usize = 32;

/// A message that is complete, with the number that orders it.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) message: Message,
    /// Or the SSN, in its low half.
    pub(crate) mid: Mid,
    pub(crate) usage: Usage,
}

/// What becomes of a message's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Usage {
    /// They are kept until it is complete.
    Whole,
    /// They are read as they come.
    Read,
    /// They are dropped as they come.
    Refused,
}

/// A message that has begun to arrive: its order and number, and the number of its first fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    pub(super) unordered: bool,
    pub(super) mid: Mid,
    pub(super) first: u64,
}

/// What a fragment led to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A message is complete.
    Complete(Assembled),
    /// It is kept until the rest comes.
    Stored,
    /// The same, and the message is larger than what is handed out whole.
    Large,
    /// It belongs to nothing.
    Orphan,
}

/// Why a fragment ends the association.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Violation {
    /// A message larger than we take.
    TooLarge,
    /// A fragment that continues a message of another stream or order.
    Mismatch,
    /// Parts of messages fill all there is, and none can be completed.
    Locked,
}

/// Fragments of one message, without a gap. What numbers them is TSNs with DATA, FSNs with I-DATA.
#[derive(Debug)]
pub(crate) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) has_begin: bool,
    pub(super) has_end: bool,
    pub(super) stream: StreamId,
    /// With DATA, the SSN in its low half.
    pub(super) mid: Mid,
    pub(super) ppid: Ppid,
    pub(super) unordered: bool,
    pub(super) len: usize,
    /// The highest TSN of a fragment.
    pub(super) tsn: u64,
    /// A TSN from which on no fragment of this message can come, if one is known (with I-DATA only).
    pub(super) ends_before: Option<u64>,
    pub(super) usage: Usage,
    /// Bytes of `len` that were read or dropped.
    gone: usize,
    parts: Parts,
}

impl Run {
    /// A row of one fragment. `expected` is how large its message may become.
    pub(super) fn new(chunk: Fragment<'_>, expected: usize) -> Self {
        Self {
            first: chunk.number,
            last: chunk.number,
            has_begin: chunk.flags & FLAG_BEGIN != 0,
            has_end: chunk.flags & FLAG_END != 0,
            stream: chunk.stream,
            mid: chunk.mid,
            ppid: chunk.ppid,
            unordered: chunk.flags & FLAG_UNORDERED != 0,
            len: chunk.payload.len(),
            tsn: chunk.tsn,
            ends_before: None,
            usage: Usage::Whole,
            gone: 0,
            parts: Parts::new(chunk.payload, expected),
        }
    }

    /// Memory behind this row, itself not included.
    pub(super) fn held(&self) -> usize {
        self.parts.held()
    }

    /// Appends the next fragment.
    #[inline]
    pub(super) fn extend(&mut self, (tsn, number): (u64, u64), ends: bool, payload: &[u8]) {
        self.tsn = self.tsn.max(tsn);
        self.last = number;
        self.has_end = ends;
        self.len += payload.len();
        match self.usage {
            Usage::Whole => self.parts.extend(payload),
            Usage::Read => self.parts.extend_piece(payload),
            Usage::Refused => self.gone += payload.len(),
        }
    }

    /// Takes the next bytes that are read as they come.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let piece = self.parts.take()?;
        self.gone += piece.len();
        Some(piece)
    }

    /// Whether there are bytes to take.
    pub(super) fn has_bytes(&self) -> bool {
        !self.parts.is_empty()
    }

    /// What there is of it, and what is yet to come, is dropped.
    pub(super) fn refuse(&mut self) {
        self.usage = Usage::Refused;
        self.parts.clear();
        self.gone = self.len;
    }

    pub(super) fn key(&self) -> Key {
        Key { unordered: self.unordered, mid: self.mid, first: self.first }
    }

    fn belongs(&self, chunk: &DataChunk<'_>) -> bool {
        self.stream == chunk.stream
            && self.unordered == (chunk.flags & FLAG_UNORDERED != 0)
            && (self.unordered || self.mid.ssn() == chunk.ssn)
    }

    /// Appends the run that follows without a gap.
    pub(super) fn append(&mut self, next: Run) {
        self.last = next.last;
        self.has_end = next.has_end;
        self.tsn = self.tsn.max(next.tsn);
        self.len += next.len;
        if self.usage == Usage::Refused {
            self.gone += next.len;
        } else {
            self.parts.append(next.parts);
        }
    }

    /// Whether it can be read as it comes.
    pub(super) fn is_head(&self, id: StreamId, is_next: impl Fn(Mid) -> bool) -> bool {
        self.stream == id
            && self.has_begin
            && self.usage == Usage::Whole
            && (self.unordered || is_next(self.mid))
    }

    pub(super) fn into_assembled(self) -> Assembled {
        Assembled {
            message: Message {
                stream_id: self.stream,
                ppid: self.ppid,
                unordered: self.unordered,
                payload: self.parts.into_bytes(self.len - self.gone),
            },
            mid: self.mid,
            usage: self.usage,
        }
    }
}

/// The fragment that begins a row.
pub(super) struct Fragment<'a> {
    pub(super) tsn: u64,
    /// The TSN again, or the FSN.
    pub(super) number: u64,
    pub(super) flags: u8,
    pub(super) stream: StreamId,
    pub(super) mid: Mid,
    pub(super) ppid: Ppid,
    pub(super) payload: &'a [u8],
}

/// Memory of a table of rows, without what is behind them. An empty one is not counted: how many of those are
/// kept is limited.
pub(super) fn held_by_table(runs: &VecDeque<Run>) -> usize {
    if runs.is_empty() { 0 } else { runs.capacity() * size_of::<Run>() + ALLOCATION }
}

/// Gives back what a table that was longer once does not need any more.
pub(super) fn shrink_table(runs: &mut VecDeque<Run>) {
    if runs.capacity() > 16 && runs.capacity() / 4 > runs.len() {
        runs.shrink_to(2 * runs.len());
    }
}

/// The rows of all messages that are not complete, by TSN.
#[derive(Debug)]
pub(crate) struct Reassembly {
    runs: VecDeque<Run>,
    /// Memory behind the rows.
    held: usize,
    max_message_size: usize,
    /// Larger ones can only be read in pieces.
    max_whole: usize,
    /// The size of the last message that came in fragments: the next is likely as large.
    size_hint: usize,
}

impl Reassembly {
    pub(crate) fn new(max_message_size: usize, max_whole: usize) -> Self {
        Self { runs: VecDeque::new(), held: 0, max_message_size, max_whole, size_hint: 0 }
    }

    /// The memory that all of it takes, in bytes.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.held + held_by_table(&self.runs)
    }

    /// Whether a fragment can start another row.
    pub(crate) fn is_full(&self) -> bool {
        self.runs.len() >= MAX_RUNS
    }

    /// Takes a chunk whose TSN has not been seen. `cumulative` is the cumulative point with it recorded.
    #[inline]
    pub(crate) fn push(
        &mut self,
        tsn: u64,
        chunk: &DataChunk<'_>,
        cumulative: u64,
    ) -> Result<Outcome, Violation> {
        let begins = chunk.flags & FLAG_BEGIN != 0;
        let ends = chunk.flags & FLAG_END != 0;
        if chunk.payload.len() > self.max_message_size {
            return Err(Violation::TooLarge);
        }
        // In order, everything happens at the last row.
        let at = match self.runs.back() {
            Some(run) if tsn <= run.last => self.runs.partition_point(|run| run.last < tsn),
            _ => self.runs.len(),
        };
        let continues = at
            .checked_sub(1)
            .and_then(|i| self.runs.get(i))
            .is_some_and(|run| run.last + 1 == tsn && !run.has_end && !begins);
        let precedes = self.runs.get(at).is_some_and(|run| run.first == tsn + 1 && !run.has_begin);
        if begins && ends {
            let unordered = chunk.flags & FLAG_UNORDERED != 0;
            let payload = Bytes::copy_from_slice(chunk.payload);
            let message = Message { stream_id: chunk.stream, ppid: chunk.ppid, unordered, payload };
            let (mid, usage) = (chunk.ssn.into(), Usage::Whole);
            return Ok(Outcome::Complete(Assembled { message, mid, usage }));
        }
        // Everything before it has arrived, and no row ends there.
        if !begins && !continues && tsn <= cumulative {
            return Ok(Outcome::Orphan);
        }
        let index = if continues {
            let index = at - 1;
            let Some(run) = self.runs.get_mut(index) else { return Ok(Outcome::Orphan) };
            if !run.belongs(chunk) {
                return Err(Violation::Mismatch);
            }
            let before = run.held();
            run.extend((tsn, tsn), ends, chunk.payload);
            self.held = self.held + run.held() - before;
            if run.len > self.max_message_size {
                return Err(Violation::TooLarge);
            }
            index
        } else {
            // The hint would let a peer reserve much by saying little, so it holds for one row at a time.
            let expected = if begins && self.runs.is_empty() { self.size_hint } else { 0 };
            let DataChunk { flags, stream, ppid, payload, .. } = *chunk;
            let fragment = Fragment { tsn, number: tsn, flags, stream, mid: chunk.ssn.into(), ppid, payload };
            let run = Run::new(fragment, expected);
            self.held += run.held();
            self.runs.insert(at, run);
            at
        };
        if precedes && !ends {
            let Some(next) = self.runs.remove(index + 1) else { return Ok(Outcome::Stored) };
            if !next.belongs(chunk) {
                return Err(Violation::Mismatch);
            }
            if let Some(run) = self.runs.get_mut(index) {
                self.held -= run.held() + next.held();
                run.append(next);
                self.held += run.held();
                if run.len > self.max_message_size {
                    return Err(Violation::TooLarge);
                }
            }
        }
        let Some(run) = self.runs.get(index) else { return Ok(Outcome::Stored) };
        if !(run.has_begin && run.has_end) {
            return Ok(if run.len > self.max_whole { Outcome::Large } else { Outcome::Stored });
        }
        let Some(run) = self.runs.remove(index) else { return Ok(Outcome::Stored) };
        self.held -= run.held();
        shrink_table(&mut self.runs);
        self.size_hint = run.len.min(self.max_whole);
        Ok(Outcome::Complete(run.into_assembled()))
    }

    /// The message of a stream that can be read first, of those that have begun to arrive: an unordered one, or an
    /// ordered one that `is_next`.
    pub(crate) fn head(&self, id: StreamId, is_next: impl Fn(Mid) -> bool) -> Option<&Run> {
        self.runs.iter().find(|run| run.is_head(id, &is_next))
    }

    pub(crate) fn run(&self, key: Key) -> Option<&Run> {
        let at = self.runs.partition_point(|run| run.first < key.first);
        self.runs.get(at).filter(|run| run.has_begin && run.first == key.first)
    }

    /// Does something to a row that changes what it holds.
    pub(crate) fn change<T>(&mut self, key: Key, change: impl FnOnce(&mut Run) -> T) -> Option<T> {
        let at = self.runs.partition_point(|run| run.first < key.first);
        let run = self.runs.get_mut(at).filter(|run| run.has_begin && run.first == key.first)?;
        let before = run.held();
        let result = change(run);
        self.held = self.held + run.held() - before;
        Some(result)
    }

    /// Drops the rows that can't be completed any more: what would continue or begin them has arrived and was
    /// something else. Returns how many rows those were, and tells of each ordered message that has begun, and
    /// that its stream must not wait for.
    #[inline]
    pub(crate) fn drop_orphans(
        &mut self,
        cumulative: u64,
        mut unfinished: impl FnMut(StreamId, Mid),
    ) -> usize {
        let mut dropped = 0;
        while let Some(run) = self.runs.front() {
            if run.first > cumulative || (run.has_begin && run.last >= cumulative) {
                break;
            }
            if run.has_begin && !run.unordered {
                unfinished(run.stream, run.mid);
            }
            dropped += 1;
            self.drop_front();
        }
        dropped
    }

    /// Drops what begins at or below the new cumulative point (RFC 3758 §3.6).
    pub(crate) fn skip_to(&mut self, cumulative: u64) {
        while self.runs.front().is_some_and(|run| run.first <= cumulative) {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            self.held -= run.held();
            shrink_table(&mut self.runs);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Ssn;

    fn fragment(flags: u8, payload: &[u8]) -> DataChunk<'_> {
        DataChunk {
            flags,
            tsn: crate::types::Tsn(0),
            stream: StreamId(3),
            ssn: Ssn(7),
            ppid: Ppid(53),
            payload,
        }
    }

    fn flags(i: usize, n: usize) -> u8 {
        let begin = if i == 0 { FLAG_BEGIN } else { 0 };
        let end = if i + 1 == n { FLAG_END } else { 0 };
        begin | end
    }

    #[test]
    fn a_message_above_the_limit_is_refused_while_it_is_assembled() {
        let mut reassembly = Reassembly::new(10, usize::MAX);
        assert!(reassembly.push(1, &fragment(FLAG_BEGIN, b"12345"), 1).is_ok());
        assert!(reassembly.push(2, &fragment(0, b"67890"), 2).is_ok());
        assert_eq!(reassembly.push(3, &fragment(FLAG_END, b"1"), 3).unwrap_err(), Violation::TooLarge);
    }

    #[test]
    fn a_fragment_that_does_not_fit_its_neighbour_is_a_violation() {
        let mut reassembly = Reassembly::new(100, usize::MAX);
        assert!(reassembly.push(1, &fragment(FLAG_BEGIN, b"a"), 1).is_ok());
        let other = DataChunk { stream: StreamId(4), ..fragment(0, b"b") };
        assert_eq!(reassembly.push(2, &other, 2).unwrap_err(), Violation::Mismatch);
    }

    #[test]
    fn a_fragment_without_a_beginning_is_an_orphan_once_nothing_can_precede_it() {
        let mut reassembly = Reassembly::new(100, usize::MAX);
        assert!(matches!(reassembly.push(5, &fragment(0, b"a"), 5), Ok(Outcome::Orphan)));
        assert!(matches!(reassembly.push(9, &fragment(0, b"abc"), 5), Ok(Outcome::Stored)));
        let mut unfinished = Vec::new();
        assert_eq!(reassembly.drop_orphans(8, |stream, mid| unfinished.push((stream, mid.ssn()))), 0);
        assert_eq!(reassembly.drop_orphans(9, |stream, mid| unfinished.push((stream, mid.ssn()))), 1);
        assert_eq!(unfinished, []);
    }

    #[test]
    fn a_message_that_another_begins_in_is_unfinished_in_any_order_of_arrival() {
        for order in [[1, 2, 3, 4], [3, 4, 1, 2], [4, 2, 3, 1], [3, 1, 4, 2], [2, 1, 3, 4]] {
            let mut reassembly = Reassembly::new(100, usize::MAX);
            let mut unfinished = Vec::new();
            let mut complete = Vec::new();
            let mut seen = [true, false, false, false, false];
            for tsn in order {
                seen[tsn] = true;
                let cumulative = seen.iter().take_while(|&&seen| seen).count() as u64 - 1;
                let chunk = match tsn {
                    1 => fragment(FLAG_BEGIN, b"a"),
                    2 => fragment(0, b"b"),
                    3 => DataChunk { ssn: Ssn(8), ..fragment(FLAG_BEGIN, b"c") },
                    _ => DataChunk { ssn: Ssn(8), ..fragment(FLAG_END, b"d") },
                };
                if let Outcome::Complete(assembled) = reassembly.push(tsn as u64, &chunk, cumulative).unwrap()
                {
                    complete.push((assembled.mid.ssn(), assembled.message.payload));
                }
                reassembly.drop_orphans(cumulative, |stream, mid| unfinished.push((stream, mid.ssn())));
            }
            assert_eq!(complete, [(Ssn(8), Bytes::from_static(b"cd"))], "{order:?}");
            assert_eq!(unfinished, [(StreamId(3), Ssn(7))], "{order:?}");
            assert_eq!((reassembly.runs.len(), reassembly.held()), (0, 0), "{order:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_order_of_fragments_reassembles(
            sizes in proptest::collection::vec(1usize..8, 1..40),
            seed in proptest::collection::vec(any::<u32>(), 40),
        ) {
            let mut message = Vec::new();
            let mut parts = Vec::new();
            for (i, &size) in sizes.iter().enumerate() {
                let part = vec![i as u8; size];
                message.extend_from_slice(&part);
                parts.push(part);
            }
            let mut order: Vec<usize> = (0..parts.len()).collect();
            order.sort_by_key(|&i| seed[i]);
            let mut reassembly = Reassembly::new(1000, usize::MAX);
            let mut complete = Vec::new();
            for &i in &order {
                let chunk = fragment(flags(i, parts.len()), &parts[i]);
                if let Outcome::Complete(assembled) = reassembly.push(100 + i as u64, &chunk, 99).unwrap() {
                    complete.push(assembled.message);
                }
            }
            prop_assert_eq!(complete.len(), 1);
            prop_assert_eq!(&complete[0].payload[..], &message[..]);
            prop_assert_eq!(reassembly.held(), 0);
        }
    }
}
