//! Fragments of I-DATA into messages (RFC 8260 §2.2.3).
//!
//! A fragment says which it is: stream, order, MID, FSN. Each stream has its rows of
//! fragments, sorted by message and FSN; in a row there is no gap. The sender cuts one message per stream at a
//! time, so there is one row, to whose buffer fragments are appended, which is the one copy of the payload;
//! losses make more, which merge when the gap closes. A message of one fragment never becomes a row.
//!
//! A fragment's FSN is below the largest message we take, since no fragment is empty; so FSNs never wrap here,
//! and only MIDs need serial arithmetic.
//!
//! TSNs tell one thing only. A sender works on one message of a stream at a time (RFC 8260 §2.2.2), so once a
//! fragment of a later message has come, all fragments of the earlier one have lower TSNs; and when everything up
//! to there has arrived and the earlier one is not whole, it never will be. It is dropped, and its stream goes on
//! without it, as with DATA: see [`reassembly`](super::reassembly), where it says which sender needs that.
//!
//! Limits: [`MAX_ROWS`] rows per stream; the largest message, from the settings. [`held`](Interleaved::held) is
//! what all of it takes; the owner sets it against the receive buffer, and there is no other limit on how many
//! messages are incomplete: a sender may have begun one on each of 65,535 streams.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::reassembly::{
    Assembled, Fragment, Key, Outcome, Run, Usage, Violation, held_by_table, shrink_table,
};
use crate::event::Message;
use crate::stream_map::StreamMap;
use crate::types::{Mid, StreamId};
use crate::wire::data::{FLAG_BEGIN, FLAG_END, FLAG_UNORDERED};
use crate::wire::i_data::IDataChunk;
use crate::wire::i_forward_tsn::Skip;

/// Rows of one stream. A row costs the sender a lost packet or a message given up.
const MAX_ROWS: usize = 2048;

/// Streams whose empty table is kept for the next message, with room for 16 rows at most.
const MAX_IDLE: usize = 64;

/// The incomplete messages of all streams.
#[derive(Debug)]
pub(crate) struct Interleaved {
    /// Sorted by [`position`] of their first fragment, and disjoint.
    streams: StreamMap<VecDeque<Run>>,
    /// Streams in the map.
    tables: usize,
    rows: usize,
    /// Memory of the rows and of the tables that have any.
    held: usize,
    /// The rows that have `ends_before`, by it.
    doubts: BTreeSet<Doubt>,
    max_message_size: usize,
    /// Larger ones can only be read in pieces.
    max_whole: usize,
    /// The size of the last message that came in fragments: the next is likely as large.
    size_hint: usize,
}

/// Where a row ends at the latest, and which it is: stream, order, MID, first FSN.
type Doubt = (u64, StreamId, bool, u32, u64);

/// What a doubt takes: its place in the tree, whose nodes are half full at the least.
const DOUBT: usize = 2 * size_of::<Doubt>() + 16;

/// Where a fragment belongs within its stream: order, MID, FSN.
type Position = (bool, u32, u64);

fn position(run: &Run) -> Position {
    (run.unordered, run.mid.0, run.first)
}

impl Interleaved {
    pub(crate) fn new(max_message_size: usize, max_whole: usize) -> Self {
        Self {
            streams: StreamMap::new(),
            tables: 0,
            rows: 0,
            held: 0,
            doubts: BTreeSet::new(),
            max_message_size,
            max_whole,
            size_hint: 0,
        }
    }

    /// The memory that all of it takes, in bytes.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.held + self.doubts.len() * DOUBT
    }

    /// Whether another row can begin on this stream.
    pub(crate) fn is_full(&self, id: StreamId) -> bool {
        self.streams.get(id).is_some_and(|runs| runs.len() >= MAX_ROWS)
    }

    /// Whether the fragment would begin a row of its own.
    pub(crate) fn begins_row(&self, chunk: &IDataChunk<'_>) -> bool {
        let Some(runs) = self.streams.get(chunk.stream) else { return true };
        let at = place(runs, chunk);
        !at.checked_sub(1).and_then(|i| runs.get(i)).is_some_and(|run| follows(run, chunk))
            && !runs.get(at).is_some_and(|run| precedes(run, chunk))
    }

    /// Takes a chunk whose TSN has not been seen. `ends_before`: a later message of the stream has come with a TSN
    /// below this.
    #[inline]
    pub(crate) fn push(
        &mut self,
        tsn: u64,
        chunk: &IDataChunk<'_>,
        ends_before: Option<u64>,
    ) -> Result<Outcome, Violation> {
        let begins = chunk.flags & FLAG_BEGIN != 0;
        let ends = chunk.flags & FLAG_END != 0;
        let unordered = chunk.flags & FLAG_UNORDERED != 0;
        if chunk.payload.len() > self.max_message_size || chunk.fsn as usize >= self.max_message_size {
            return Err(Violation::TooLarge);
        }
        if !begins && chunk.fsn == 0 {
            return Err(Violation::Mismatch);
        }
        let followed = if self.rows > 0 { self.note_order(tsn, chunk) } else { None };
        if begins && ends {
            if self.has_any_of(chunk) {
                return Err(Violation::Mismatch);
            }
            let payload = Bytes::copy_from_slice(chunk.payload);
            let message = Message { stream_id: chunk.stream, ppid: chunk.ppid, unordered, payload };
            let (mid, usage) = (chunk.mid, Usage::Whole);
            return Ok(Outcome::Complete(Assembled { message, mid, usage }));
        }
        let (tables, only_row) = (&mut self.tables, self.rows == 0);
        let runs = self.streams.get_or_insert_with(chunk.stream, || {
            *tables += 1;
            VecDeque::with_capacity(1)
        });
        // There are as many slots as streams.
        let Some(runs) = runs else { return Ok(Outcome::Orphan) };
        let fsn = u64::from(chunk.fsn);
        let at = place(runs, chunk);
        let before = at.checked_sub(1).and_then(|i| runs.get(i)).filter(|run| of_message(run, chunk));
        // It is there already, or the message ends before it.
        if before.is_some_and(|run| run.last >= fsn || run.has_end) {
            return Err(Violation::Mismatch);
        }
        let continues = before.is_some_and(|run| follows(run, chunk));
        let after = runs.get(at).filter(|run| of_message(run, chunk));
        if after.is_some_and(|run| ends || run.first == fsn) {
            return Err(Violation::Mismatch);
        }
        let joins_next = after.is_some_and(|run| precedes(run, chunk));
        let index = if continues {
            let index = at - 1;
            let Some(run) = runs.get_mut(index) else { return Ok(Outcome::Orphan) };
            let before = run.held();
            run.extend((tsn, fsn), ends, chunk.payload);
            self.held = self.held + run.held() - before;
            index
        } else {
            // The hint would let a peer reserve much by saying little, so it holds for one row at a time.
            let expected = if begins && only_row { self.size_hint } else { 0 };
            let IDataChunk { flags, stream, mid, ppid, payload, .. } = *chunk;
            let mut run =
                Run::new(Fragment { tsn, number: fsn, flags, stream, mid, ppid, payload }, expected);
            if let Some(tsn) = followed.or(ends_before) {
                end_before(&mut self.doubts, &mut run, tsn);
            }
            self.held -= held_by_table(runs);
            self.held += run.held();
            runs.insert(at, run);
            self.held += held_by_table(runs);
            self.rows += 1;
            at
        };
        if joins_next && let Some(next) = runs.remove(index + 1) {
            self.rows -= 1;
            if let Some(run) = runs.get_mut(index) {
                self.held -= run.held() + next.held();
                forget(&mut self.doubts, &next);
                if let Some(tsn) = next.ends_before {
                    end_before(&mut self.doubts, run, tsn);
                }
                run.append(next);
                self.held += run.held();
            }
        }
        let Some(run) = runs.get(index) else { return Ok(Outcome::Stored) };
        if run.len > self.max_message_size {
            return Err(Violation::TooLarge);
        }
        if run.has_begin && run.has_end {
            let table = held_by_table(runs);
            let Some(run) = runs.remove(index) else { return Ok(Outcome::Stored) };
            self.rows -= 1;
            self.held -= run.held();
            forget(&mut self.doubts, &run);
            self.size_hint = run.len.min(self.max_whole);
            self.shrink(chunk.stream, table);
            return Ok(Outcome::Complete(run.into_assembled()));
        }
        Ok(if run.len > self.max_whole { Outcome::Large } else { Outcome::Stored })
    }

    /// The message of a stream that can be read first, of those that have begun to arrive: the ordered one that
    /// `is_next`, or the first of the unordered ones.
    pub(crate) fn head(&self, id: StreamId, is_next: impl Fn(Mid) -> bool) -> Option<&Run> {
        self.streams.get(id)?.iter().find(|run| run.is_head(id, &is_next))
    }

    pub(crate) fn run(&self, id: StreamId, key: Key) -> Option<&Run> {
        let runs = self.streams.get(id)?;
        runs.get(row(runs, key)).filter(|run| run.has_begin && run.key() == key)
    }

    /// Does something to a row that changes what it holds.
    pub(crate) fn change<T>(
        &mut self,
        id: StreamId,
        key: Key,
        change: impl FnOnce(&mut Run) -> T,
    ) -> Option<T> {
        let runs = self.streams.get_mut(id)?;
        let at = row(runs, key);
        let run = runs.get_mut(at).filter(|run| run.has_begin && run.key() == key)?;
        let before = run.held();
        let result = change(run);
        self.held = self.held + run.held() - before;
        Some(result)
    }

    /// A fragment of another message has come: notes where the rows of the stream before it end at the latest, and
    /// returns where its own message does, if one after it has come already.
    fn note_order(&mut self, tsn: u64, chunk: &IDataChunk<'_>) -> Option<u64> {
        let runs = self.streams.get_mut(chunk.stream)?;
        let mut followed = None;
        for unordered in [false, true] {
            // Within an order messages, and with them rows, have ascending TSNs.
            let at =
                runs.partition_point(
                    |run| {
                        if run.unordered == unordered { run.tsn < tsn } else { !run.unordered }
                    },
                );
            if let Some(run) = at.checked_sub(1).and_then(|before| runs.get_mut(before))
                && run.unordered == unordered
                && !of_message(run, chunk)
            {
                end_before(&mut self.doubts, run, tsn);
            }
            if let Some(run) = runs.get(at)
                && run.unordered == unordered
                && run.tsn > tsn
                && !of_message(run, chunk)
            {
                followed = Some(followed.map_or(run.tsn, |tsn: u64| tsn.min(run.tsn)));
            }
        }
        followed
    }

    /// Whether [`drop_dead`](Self::drop_dead) has something to do.
    #[inline]
    pub(crate) fn has_dead(&self, cumulative: u64) -> bool {
        !self.doubts.is_empty() && self.doubts.first().is_some_and(|doubt| doubt.0 <= cumulative)
    }

    /// Drops the messages of which nothing can come any more. Returns how many rows those were, and tells of each
    /// ordered message.
    pub(crate) fn drop_dead(&mut self, cumulative: u64, mut unfinished: impl FnMut(StreamId, Mid)) -> usize {
        let before = self.rows;
        while self.has_dead(cumulative)
            && let Some((_, id, unordered, mid, _)) = self.doubts.pop_first()
        {
            let Some(runs) = self.streams.get_mut(id) else { continue };
            let table = held_by_table(runs);
            let start = runs.partition_point(|run| (run.unordered, run.mid.0) < (unordered, mid));
            let end = runs.partition_point(|run| (run.unordered, run.mid.0) <= (unordered, mid));
            for run in runs.drain(start..end) {
                self.rows -= 1;
                self.held -= run.held();
                forget(&mut self.doubts, &run);
            }
            self.shrink(id, table);
            if !unordered {
                unfinished(id, Mid(mid));
            }
        }
        before - self.rows
    }

    fn has_any_of(&self, chunk: &IDataChunk<'_>) -> bool {
        if self.rows == 0 {
            return false;
        }
        let Some(runs) = self.streams.get(chunk.stream) else { return false };
        let at = place(runs, chunk);
        let near = at.checked_sub(1).into_iter().chain([at]);
        near.filter_map(|i| runs.get(i)).any(|run| of_message(run, chunk))
    }

    /// Rows have gone from a table that took `before`: gives back what it does not need, and counts it anew. An
    /// empty one costs memory that is charged to nobody.
    fn shrink(&mut self, id: StreamId, before: usize) {
        let Some(runs) = self.streams.get_mut(id) else { return };
        shrink_table(runs);
        self.held = self.held + held_by_table(runs) - before;
        if runs.is_empty() && self.tables > MAX_IDLE {
            self.streams.remove(id);
            self.tables -= 1;
        }
    }

    /// Drops the messages of a stream and order up to a MID. Returns how many rows those were.
    pub(crate) fn skip(&mut self, skip: Skip) -> usize {
        let Some(runs) = self.streams.get_mut(skip.stream) else { return 0 };
        let table = held_by_table(runs);
        // At or before in serial arithmetic: the 2^31 numbers up to this one, which may go over the edge.
        let (low, high) = (skip.mid.add(1 << 31).add(1).0, skip.mid.0);
        let ranges = if low <= high { [(low, high), (1, 0)] } else { [(low, u32::MAX), (0, high)] };
        let mut dropped = 0;
        for (low, high) in ranges.into_iter().filter(|(low, high)| low <= high) {
            let start = runs.partition_point(|run| (run.unordered, run.mid.0) < (skip.unordered, low));
            let end = runs.partition_point(|run| (run.unordered, run.mid.0) <= (skip.unordered, high));
            for run in runs.drain(start..end) {
                self.held -= run.held();
                forget(&mut self.doubts, &run);
                dropped += 1;
            }
        }
        self.rows -= dropped;
        self.shrink(skip.stream, table);
        dropped
    }

    /// The peer's side of a stream begins anew.
    pub(crate) fn reset(&mut self, id: StreamId) {
        let Some(runs) = self.streams.remove(id) else { return };
        self.tables -= 1;
        self.rows -= runs.len();
        for run in &runs {
            forget(&mut self.doubts, run);
        }
        self.held -= runs.iter().map(Run::held).sum::<usize>() + held_by_table(&runs);
    }
}

fn doubt(run: &Run, ends_before: u64) -> Doubt {
    (ends_before, run.stream, run.unordered, run.mid.0, run.first)
}

/// Notes where a row ends at the latest, if that is news.
fn end_before(doubts: &mut BTreeSet<Doubt>, run: &mut Run, tsn: u64) {
    if run.ends_before.is_none_or(|ends| tsn < ends) {
        forget(doubts, run);
        run.ends_before = Some(tsn);
        doubts.insert(doubt(run, tsn));
    }
}

/// The row is going, or ends elsewhere.
fn forget(doubts: &mut BTreeSet<Doubt>, run: &Run) {
    if let Some(tsn) = run.ends_before {
        doubts.remove(&doubt(run, tsn));
    }
}

/// Where a row with this fragment as its first would be inserted.
#[inline]
fn place(runs: &VecDeque<Run>, chunk: &IDataChunk<'_>) -> usize {
    let at = (chunk.flags & FLAG_UNORDERED != 0, chunk.mid.0, u64::from(chunk.fsn));
    match runs.back() {
        // In order, everything happens at the last row.
        Some(run) if at <= position(run) => runs.partition_point(|run| position(run) < at),
        _ => runs.len(),
    }
}

/// Where a message's first row is.
fn row(runs: &VecDeque<Run>, key: Key) -> usize {
    let at = (key.unordered, key.mid.0, key.first);
    runs.partition_point(|run| position(run) < at)
}

fn of_message(run: &Run, chunk: &IDataChunk<'_>) -> bool {
    run.mid == chunk.mid && run.unordered == (chunk.flags & FLAG_UNORDERED != 0)
}

/// The fragment is the next of the row.
fn follows(run: &Run, chunk: &IDataChunk<'_>) -> bool {
    of_message(run, chunk) && run.last + 1 == u64::from(chunk.fsn) && !run.has_end
}

/// The row goes on with the fragment after this one.
fn precedes(run: &Run, chunk: &IDataChunk<'_>) -> bool {
    of_message(run, chunk) && run.first == u64::from(chunk.fsn) + 1
}

/// The message a fragment is of.
pub(crate) fn message_of(chunk: &IDataChunk<'_>) -> (StreamId, Option<Mid>) {
    let ordered = chunk.flags & FLAG_UNORDERED == 0;
    (chunk.stream, ordered.then_some(chunk.mid))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Ppid, Tsn};

    fn fragment(stream: u16, mid: u32, fsn: u32, flags: u8, payload: &[u8]) -> IDataChunk<'_> {
        let flags = if fsn == 0 { flags | FLAG_BEGIN } else { flags };
        IDataChunk {
            flags,
            tsn: Tsn(0),
            stream: StreamId(stream),
            mid: Mid(mid),
            ppid: Ppid(53),
            fsn,
            payload,
        }
    }

    fn put(reassembly: &mut Interleaved, chunk: IDataChunk<'_>) -> Result<Outcome, Violation> {
        reassembly.push(1 << 32, &chunk, None)
    }

    #[test]
    fn fragments_that_contradict_each_other_are_violations() {
        let bad: [[(u32, u8); 2]; 5] = [
            // the same again; behind the end; before what is there already; whole, of one that is begun
            [(1, 0), (1, 0)],
            [(2, FLAG_END), (3, 0)],
            [(3, 0), (2, FLAG_END)],
            [(1, 0), (0, FLAG_END)],
            [(0, 0), (0, 0)],
        ];
        for [(first, first_flags), (second, second_flags)] in bad {
            let mut reassembly = Interleaved::new(100, usize::MAX);
            assert!(put(&mut reassembly, fragment(1, 7, first, first_flags, b"a")).is_ok());
            let got = put(&mut reassembly, fragment(1, 7, second, second_flags, b"b"));
            assert_eq!(got.unwrap_err(), Violation::Mismatch, "{first} {second}");
        }
        let mut reassembly = Interleaved::new(100, usize::MAX);
        let nameless = IDataChunk { flags: 0, ..fragment(1, 7, 0, 0, b"a") };
        assert_eq!(put(&mut reassembly, nameless).unwrap_err(), Violation::Mismatch);
    }

    #[test]
    fn a_message_above_the_limit_is_refused_while_it_is_assembled() {
        let mut reassembly = Interleaved::new(10, usize::MAX);
        assert!(put(&mut reassembly, fragment(1, 0, 0, 0, b"12345")).is_ok());
        assert!(put(&mut reassembly, fragment(1, 0, 1, 0, b"67890")).is_ok());
        let over = put(&mut reassembly, fragment(1, 0, 2, FLAG_END, b"1"));
        assert_eq!(over.unwrap_err(), Violation::TooLarge);
        let far = put(&mut reassembly, fragment(2, 0, u32::MAX, 0, b"1"));
        assert_eq!(far.unwrap_err(), Violation::TooLarge);
    }

    #[test]
    fn skipping_follows_the_number_over_the_edge_and_leaves_the_other_order() {
        let mut reassembly = Interleaved::new(100, usize::MAX);
        for mid in [u32::MAX - 1, u32::MAX, 0, 1] {
            for unordered in [0, FLAG_UNORDERED] {
                assert!(put(&mut reassembly, fragment(1, mid, 1, unordered, b"ab")).is_ok());
            }
        }
        let skip = Skip { stream: StreamId(1), unordered: false, mid: Mid(0) };
        assert_eq!(reassembly.skip(skip), 3);
        assert_eq!(reassembly.skip(Skip { stream: StreamId(9), ..skip }), 0);
        assert_eq!(reassembly.rows, 5);
        reassembly.reset(StreamId(1));
        assert_eq!((reassembly.rows, reassembly.tables, reassembly.held()), (0, 0, 0));
    }

    #[test]
    fn rows_of_one_stream_are_limited_and_empty_tables_are_given_back() {
        let mut reassembly = Interleaved::new(10_000, usize::MAX);
        for i in 0..MAX_ROWS as u32 {
            assert!(put(&mut reassembly, fragment(1, 0, 2 * i + 1, 0, b"a")).is_ok());
        }
        assert!(reassembly.is_full(StreamId(1)) && !reassembly.is_full(StreamId(2)));
        assert!(!reassembly.begins_row(&fragment(1, 0, 2, 0, b"a")));
        assert!(reassembly.begins_row(&fragment(1, 1, 2, 0, b"a")));
        for stream in 2..1000 {
            assert!(put(&mut reassembly, fragment(stream, 0, 0, 0, b"a")).is_ok());
            assert!(put(&mut reassembly, fragment(stream, 0, 1, FLAG_END, b"a")).is_ok());
        }
        assert!(reassembly.tables <= MAX_IDLE + 1);
    }

    #[test]
    fn a_message_that_the_next_of_its_stream_follows_is_dead_when_all_up_to_there_has_come_in_any_order() {
        // Stream 1 begins message 0, and goes on with message 1, ordered or not; streams 2 and 3 are between.
        let orders = [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 4, 2, 5], [4, 5, 1, 2, 3], [2, 3, 5, 4, 1]];
        for (order, next_flags) in orders.into_iter().flat_map(|order| [(order, 0), (order, FLAG_UNORDERED)])
        {
            let mut reassembly = Interleaved::new(100, usize::MAX);
            let (mut dead, mut complete) = (Vec::new(), 0);
            let mut seen = [true, false, false, false, false, false];
            for tsn in order {
                seen[tsn] = true;
                let cumulative = seen.iter().take_while(|&&seen| seen).count() as u64 - 1;
                let chunk = match tsn {
                    1 => fragment(1, 0, 0, 0, b"a"),
                    2 => fragment(2, 0, 0, 0, b"b"),
                    3 => fragment(1, 1, 0, next_flags, b"c"),
                    4 => fragment(3, 0, 0, 0, b"d"),
                    _ => fragment(1, 1, 1, next_flags | FLAG_END, b"e"),
                };
                // What the streams know: message 1 is whole, and waits for message 0.
                let waits = (tsn == 1 && complete == 1 && next_flags == 0).then_some(5);
                if let Outcome::Complete(_) = reassembly.push(tsn as u64, &chunk, waits).unwrap() {
                    complete += 1;
                }
                if !reassembly.has_dead(cumulative) {
                    continue;
                }
                assert!(cumulative >= 3, "{order:?}: too early at {cumulative}");
                assert_eq!(reassembly.drop_dead(cumulative, |stream, mid| dead.push((stream, mid))), 1);
            }
            assert_eq!(complete, 1, "{order:?}");
            // An unordered message that is whole before the dead one is seen leaves no trace, and holds up nothing.
            if next_flags == 0 || order != [5, 4, 3, 2, 1] && order != [2, 3, 5, 4, 1] {
                assert_eq!(dead, [(StreamId(1), Mid(0))], "{order:?}");
                assert_eq!((reassembly.rows, reassembly.doubts.len()), (2, 0), "{order:?}");
            }
            for stream in [1, 2, 3] {
                reassembly.reset(StreamId(stream));
            }
            assert_eq!((reassembly.rows, reassembly.held()), (0, 0), "{order:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_order_of_fragments_of_many_messages_reassembles(
            messages in proptest::collection::vec((0u16..3, any::<bool>(), 2usize..9), 1..12),
            seed in proptest::collection::vec(any::<u32>(), 108),
        ) {
            let mut parts = Vec::new();
            for (i, &(stream, unordered, count)) in messages.iter().enumerate() {
                for fsn in 0..count {
                    parts.push((i, stream, unordered, fsn, count));
                }
            }
            let mut order: Vec<usize> = (0..parts.len()).collect();
            order.sort_by_key(|&i| seed[i]);
            let mut reassembly = Interleaved::new(1000, usize::MAX);
            let mut complete = Vec::new();
            for at in order {
                let (i, stream, unordered, fsn, count) = parts[at];
                let end = if fsn + 1 == count { FLAG_END } else { 0 };
                let flags = end | if unordered { FLAG_UNORDERED } else { 0 };
                let payload = [i as u8, fsn as u8];
                let mid = u32::MAX.wrapping_add(i as u32);
                let chunk = fragment(stream, mid, fsn as u32, flags, &payload);
                if let Outcome::Complete(assembled) = put(&mut reassembly, chunk).unwrap() {
                    let whole: Vec<u8> = (0..count as u8).flat_map(|fsn| [i as u8, fsn]).collect();
                    prop_assert_eq!(&assembled.message.payload[..], &whole[..]);
                    prop_assert_eq!(assembled.mid, Mid(mid));
                    complete.push(i);
                }
            }
            prop_assert_eq!(complete.len(), messages.len());
            prop_assert_eq!(reassembly.held(), 0);
        }
    }
}
