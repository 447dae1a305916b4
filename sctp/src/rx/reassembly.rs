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
//! Limits: [`MAX_RUNS`] runs; the largest message, from the settings; the bytes are counted by the owner.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::event::Message;
use crate::types::{Mid, Ppid, StreamId};
use crate::wire::data::{DataChunk, FLAG_BEGIN, FLAG_END, FLAG_UNORDERED};

/// Incomplete rows of fragments. Between two of them there is a gap, and the gaps are limited already; this
/// limits rows that a peer makes by fragments that don't fit each other.
const MAX_RUNS: usize = 2048;

/// A message that is complete, with the number that orders it.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) message: Message,
    /// Or the SSN, in its low half.
    pub(crate) mid: Mid,
}

/// What a fragment led to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A message is complete.
    Complete(Assembled),
    /// It is kept until the rest comes.
    Stored,
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
}

/// Fragments of one message, without a gap. What numbers them is TSNs with DATA, FSNs with I-DATA.
#[derive(Debug)]
pub(super) struct Run {
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
    pub(super) parts: VecDeque<Vec<u8>>,
}

impl Run {
    fn belongs(&self, chunk: &DataChunk<'_>) -> bool {
        self.stream == chunk.stream
            && self.unordered == (chunk.flags & FLAG_UNORDERED != 0)
            && (self.unordered || self.mid.ssn() == chunk.ssn)
    }

    /// Appends the run that follows without a gap.
    pub(super) fn append(&mut self, mut next: Run) {
        self.last = next.last;
        self.has_end = next.has_end;
        self.len += next.len;
        if self.parts.len() >= next.parts.len() {
            self.parts.append(&mut next.parts);
        } else {
            while let Some(part) = self.parts.pop_back() {
                next.parts.push_front(part);
            }
            self.parts = next.parts;
        }
    }

    pub(super) fn into_assembled(self) -> Assembled {
        let mut parts = self.parts.into_iter();
        let mut whole = parts.next().unwrap_or_default();
        whole.reserve_exact(self.len.saturating_sub(whole.len()));
        for part in parts {
            whole.extend_from_slice(&part);
        }
        if whole.capacity() > 2 * whole.len() {
            whole.shrink_to_fit();
        }
        Assembled {
            message: Message {
                stream_id: self.stream,
                ppid: self.ppid,
                unordered: self.unordered,
                payload: Bytes::from(whole),
            },
            mid: self.mid,
        }
    }
}

/// The rows of all messages that are not complete, by TSN.
#[derive(Debug)]
pub(crate) struct Reassembly {
    runs: VecDeque<Run>,
    max_message_size: usize,
    /// The size of the last message that came in fragments: the next is likely as large.
    size_hint: usize,
}

impl Reassembly {
    pub(crate) fn new(max_message_size: usize) -> Self {
        Self { runs: VecDeque::new(), max_message_size, size_hint: 0 }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.runs.len()
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
            return Ok(Outcome::Complete(Assembled { message, mid: chunk.ssn.into() }));
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
            run.last = tsn;
            run.has_end = ends;
            run.len += chunk.payload.len();
            if run.len > self.max_message_size {
                return Err(Violation::TooLarge);
            }
            match run.parts.back_mut() {
                Some(part) => part.extend_from_slice(chunk.payload),
                None => run.parts.push_back(chunk.payload.to_vec()),
            }
            index
        } else {
            // The hint would let a peer reserve much by saying little, so it holds for one row at a time.
            let expected = if begins && self.runs.is_empty() { self.size_hint } else { 0 };
            let mut buffer = Vec::with_capacity(expected.max(chunk.payload.len()));
            buffer.extend_from_slice(chunk.payload);
            self.runs.insert(
                at,
                Run {
                    first: tsn,
                    last: tsn,
                    has_begin: begins,
                    has_end: ends,
                    stream: chunk.stream,
                    mid: chunk.ssn.into(),
                    ppid: chunk.ppid,
                    unordered: chunk.flags & FLAG_UNORDERED != 0,
                    len: chunk.payload.len(),
                    parts: VecDeque::from([buffer]),
                },
            );
            at
        };
        if precedes && !ends {
            let Some(next) = self.runs.remove(index + 1) else { return Ok(Outcome::Stored) };
            if !next.belongs(chunk) {
                return Err(Violation::Mismatch);
            }
            if let Some(run) = self.runs.get_mut(index) {
                run.append(next);
                if run.len > self.max_message_size {
                    return Err(Violation::TooLarge);
                }
            }
        }
        if self.runs.get(index).is_some_and(|run| run.has_begin && run.has_end)
            && let Some(run) = self.runs.remove(index)
        {
            self.size_hint = run.len;
            return Ok(Outcome::Complete(run.into_assembled()));
        }
        Ok(Outcome::Stored)
    }

    /// Drops the rows that can't be completed any more: what would continue or begin them has arrived and was
    /// something else. Returns how many bytes and rows those were, and tells of each ordered message that has
    /// begun, and that its stream must not wait for.
    #[inline]
    pub(crate) fn drop_orphans(
        &mut self,
        cumulative: u64,
        mut unfinished: impl FnMut(StreamId, Mid),
    ) -> (usize, usize) {
        let mut dropped = (0, 0);
        while let Some(run) = self.runs.front() {
            if run.first > cumulative || (run.has_begin && run.last >= cumulative) {
                break;
            }
            if run.has_begin && !run.unordered {
                unfinished(run.stream, run.mid);
            }
            dropped.0 += run.len;
            dropped.1 += 1;
            self.runs.pop_front();
        }
        dropped
    }

    /// Drops what begins at or below the new cumulative point (RFC 3758 §3.6). Returns bytes and rows.
    pub(crate) fn skip_to(&mut self, cumulative: u64) -> (usize, usize) {
        let mut dropped = (0, 0);
        while let Some(run) = self.runs.front() {
            if run.first > cumulative {
                break;
            }
            dropped.0 += run.len;
            dropped.1 += 1;
            self.runs.pop_front();
        }
        dropped
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
        let mut reassembly = Reassembly::new(10);
        assert!(reassembly.push(1, &fragment(FLAG_BEGIN, b"12345"), 1).is_ok());
        assert!(reassembly.push(2, &fragment(0, b"67890"), 2).is_ok());
        assert_eq!(reassembly.push(3, &fragment(FLAG_END, b"1"), 3).unwrap_err(), Violation::TooLarge);
    }

    #[test]
    fn a_fragment_that_does_not_fit_its_neighbour_is_a_violation() {
        let mut reassembly = Reassembly::new(100);
        assert!(reassembly.push(1, &fragment(FLAG_BEGIN, b"a"), 1).is_ok());
        let other = DataChunk { stream: StreamId(4), ..fragment(0, b"b") };
        assert_eq!(reassembly.push(2, &other, 2).unwrap_err(), Violation::Mismatch);
    }

    #[test]
    fn a_fragment_without_a_beginning_is_an_orphan_once_nothing_can_precede_it() {
        let mut reassembly = Reassembly::new(100);
        assert!(matches!(reassembly.push(5, &fragment(0, b"a"), 5), Ok(Outcome::Orphan)));
        assert!(matches!(reassembly.push(9, &fragment(0, b"abc"), 5), Ok(Outcome::Stored)));
        let mut unfinished = Vec::new();
        assert_eq!(reassembly.drop_orphans(8, |stream, mid| unfinished.push((stream, mid.ssn()))), (0, 0));
        assert_eq!(reassembly.drop_orphans(9, |stream, mid| unfinished.push((stream, mid.ssn()))), (3, 1));
        assert_eq!(unfinished, []);
    }

    #[test]
    fn a_message_that_another_begins_in_is_unfinished_in_any_order_of_arrival() {
        for order in [[1, 2, 3, 4], [3, 4, 1, 2], [4, 2, 3, 1], [3, 1, 4, 2], [2, 1, 3, 4]] {
            let mut reassembly = Reassembly::new(100);
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
            assert_eq!(reassembly.rows(), 0, "{order:?}");
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
            let mut reassembly = Reassembly::new(1000);
            let mut complete = Vec::new();
            for &i in &order {
                let chunk = fragment(flags(i, parts.len()), &parts[i]);
                if let Outcome::Complete(assembled) = reassembly.push(100 + i as u64, &chunk, 99).unwrap() {
                    complete.push(assembled.message);
                }
            }
            prop_assert_eq!(complete.len(), 1);
            prop_assert_eq!(&complete[0].payload[..], &message[..]);
            prop_assert!(reassembly.runs.is_empty());
        }
    }
}
