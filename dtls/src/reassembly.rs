//! Putting fragments together (RFC 6347 §4.2.3), in any order, overlapping or tiny.
//!
//! Messages are told apart by their `message_seq`; fragments of one must agree on type and length. Memory grows
//! with the bytes received, never with lengths announced, and within fixed limits: the awaited message always has
//! room, the [`AHEAD`] messages behind it share [`AHEAD_BUDGET`]. Of overlapping fragments the first bytes win.

use crate::error::Error;
use crate::handshake::{FragmentHeader, Message};
use crate::types::HandshakeType;
use std::collections::VecDeque;

/// Messages behind the awaited one that are kept: with it seven, one more than the longest flight of DTLS 1.2 with
/// ServerHello, Certificate, CertificateStatus, ServerKeyExchange, CertificateRequest and ServerHelloDone.
pub(crate) const AHEAD: u16 = 6;
/// Separate ranges of one message that are kept.
const MAX_RANGES: usize = 1024;
/// Bytes that the messages behind the awaited one may take together, their ranges' bookkeeping included.
const AHEAD_BUDGET: usize = 32 * 1024;
/// Bookkeeping of one range, in bytes.
const RANGE_COST: usize = 8;

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It brought something new.
    Kept,
    /// It is of a message that was already handed out; `latest` if that was the last such message.
    Old { latest: bool },
    /// Nothing new, too far ahead, or no room.
    Dropped,
}

/// One message in the making.
#[derive(Debug)]
struct Partial {
    msg_type: HandshakeType,
    epoch: u16,
    length: usize,
    /// Received ranges `start..end`, sorted, apart from each other.
    ranges: Vec<(u32, u32)>,
    /// The ranges' bytes, in the same order.
    data: Vec<u8>,
}

impl Partial {
    fn new(epoch: u16, header: &FragmentHeader) -> Self {
        Self { msg_type: header.msg_type, epoch, length: header.length, ranges: Vec::new(), data: Vec::new() }
    }

    fn is_complete(&self) -> bool {
        self.data.len() == self.length
    }

    fn cost(&self) -> usize {
        self.data.len() + self.ranges.len() * RANGE_COST
    }

    /// Adds what is missing of `fragment`; `true` if there was anything.
    fn insert(&mut self, offset: usize, fragment: &[u8]) -> bool {
        let end = (offset + fragment.len()) as u32;
        let mut start = offset as u32;
        let mut grown = false;
        while start < end {
            // The first range that ends behind `start`.
            let index = self.ranges.partition_point(|&(_, range_end)| range_end <= start);
            let next = self.ranges.get(index).copied();
            if let Some((range_start, range_end)) = next
                && range_start <= start
            {
                start = range_end;
                continue;
            }
            let gap_end = next.map_or(end, |(range_start, _)| range_start.min(end));
            if !self.fill(index, start, gap_end, offset, fragment) {
                return grown;
            }
            grown = true;
            start = gap_end;
        }
        grown
    }

    /// Puts `start..end`, which is missing, in front of range `index`, joining neighbours.
    fn fill(&mut self, index: usize, start: u32, end: u32, offset: usize, fragment: &[u8]) -> bool {
        let Some(bytes) = fragment.get(start as usize - offset..end as usize - offset) else { return false };
        let joins_before = index > 0 && self.ranges.get(index - 1).is_some_and(|range| range.1 == start);
        let joins_after = self.ranges.get(index).is_some_and(|range| range.0 == end);
        if !joins_before && !joins_after && self.ranges.len() == MAX_RANGES {
            return false;
        }
        let at: usize = self.ranges.iter().take(index).map(|&(from, to)| (to - from) as usize).sum();
        self.data.splice(at..at, bytes.iter().copied());
        match (joins_before, joins_after) {
            (true, true) => {
                let (_, joined_end) = self.ranges.remove(index);
                if let Some(range) = self.ranges.get_mut(index - 1) {
                    range.1 = joined_end;
                }
            }
            (true, false) => {
                if let Some(range) = self.ranges.get_mut(index - 1) {
                    range.1 = end;
                }
            }
            (false, true) => {
                if let Some(range) = self.ranges.get_mut(index) {
                    range.0 = start;
                }
            }
            (false, false) => self.ranges.insert(index, (start, end)),
        }
        true
    }
}

/// The awaited message and those behind it.
#[derive(Debug)]
pub(crate) struct Reassembly {
    /// `message_seq` of the awaited message. A handshake has a dozen; the counter never comes near its end.
    next: u16,
    max_message: usize,
    /// By distance from `next`.
    slots: VecDeque<Option<Partial>>,
}

impl Reassembly {
    pub(crate) fn new(max_message: usize) -> Self {
        Self { next: 0, max_message, slots: VecDeque::new() }
    }

    /// Takes a fragment that came in a record of `epoch`.
    pub(crate) fn insert(
        &mut self,
        epoch: u16,
        header: &FragmentHeader,
        fragment: &[u8],
    ) -> Result<Inserted, Error> {
        if header.message_seq < self.next {
            return Ok(Inserted::Old { latest: header.message_seq == self.next - 1 });
        }
        let distance = header.message_seq - self.next;
        if distance > AHEAD {
            return Ok(Inserted::Dropped);
        }
        if header.length > self.max_message {
            return Err(Error::MessageTooLarge { length: header.length });
        }
        // Nothing to gain from an empty piece, except the whole of an empty message.
        if fragment.is_empty() && header.length > 0 {
            return Ok(Inserted::Dropped);
        }
        let spent: usize = self.slots.iter().skip(1).flatten().map(Partial::cost).sum();
        if distance > 0 && spent + fragment.len() + RANGE_COST > AHEAD_BUDGET {
            return Ok(Inserted::Dropped);
        }
        let index = usize::from(distance);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let Some(slot) = self.slots.get_mut(index) else { return Ok(Inserted::Dropped) };
        if let Some(partial) = slot {
            if epoch < partial.epoch {
                return Ok(Inserted::Dropped);
            }
            if epoch > partial.epoch {
                // What is authenticated replaces what was not.
                *slot = None;
            } else if (partial.msg_type, partial.length) != (header.msg_type, header.length) {
                return Err(Error::FragmentMismatch);
            }
        }
        let fresh = slot.is_none();
        let partial = slot.get_or_insert_with(|| Partial::new(epoch, header));
        let grown = partial.insert(header.fragment_offset, fragment);
        Ok(if grown || fresh { Inserted::Kept } else { Inserted::Dropped })
    }

    /// The awaited message, once it is whole.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        if !self.slots.front()?.as_ref().is_some_and(Partial::is_complete) {
            return None;
        }
        let partial = self.slots.pop_front()??;
        let message_seq = self.next;
        self.next = self.next.checked_add(1)?;
        Some(Message { msg_type: partial.msg_type, message_seq, epoch: partial.epoch, body: partial.data })
    }

    /// Forgets what is incomplete; old messages are still recognised.
    pub(crate) fn clear(&mut self) {
        self.slots = VecDeque::new();
    }

    /// Whether there is a piece of a message in that epoch.
    pub(crate) fn holds_epoch(&self, epoch: u16) -> bool {
        self.slots.iter().flatten().any(|partial| partial.epoch == epoch)
    }

    /// `message_seq` of the awaited message.
    pub(crate) const fn awaited(&self) -> u16 {
        self.next
    }

    /// Bytes held.
    #[cfg(test)]
    pub(crate) fn cost(&self) -> usize {
        self.slots.iter().flatten().map(Partial::cost).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(message_seq: u16, length: usize, offset: usize, fragment: usize) -> FragmentHeader {
        FragmentHeader {
            msg_type: HandshakeType::CERTIFICATE,
            length,
            message_seq,
            fragment_offset: offset,
            fragment_length: fragment,
        }
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_reassembles(
            length in 1usize..600,
            cuts in proptest::collection::vec((0usize..600, 1usize..200), 0..40),
        ) {
            let body: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut reassembly = Reassembly::new(16384);
            let whole = std::iter::once((0, length));
            for (offset, len) in cuts.into_iter().chain(whole) {
                let offset = offset.min(length);
                let end = (offset + len).min(length);
                let fragment = &body[offset..end];
                reassembly.insert(0, &header(0, length, offset, fragment.len()), fragment).unwrap();
                prop_assert!(reassembly.cost() <= length + MAX_RANGES * RANGE_COST);
            }
            prop_assert_eq!(reassembly.pop().unwrap().body, body);
            prop_assert!(reassembly.pop().is_none());
        }
    }

    #[test]
    fn single_bytes_backwards_and_strided_reassemble() {
        let body: Vec<u8> = (0..1500u16).map(|i| i as u8).collect();
        let backwards: Vec<usize> = (0..1500).rev().collect();
        let strided: Vec<usize> = (0..1500).map(|i| i * 7 % 1500).collect();
        for order in [backwards, strided] {
            let mut reassembly = Reassembly::new(16384);
            for at in order {
                reassembly.insert(0, &header(0, 1500, at, 1), &body[at..=at]).unwrap();
            }
            assert_eq!(reassembly.pop().unwrap().body, body);
        }
    }

    #[test]
    fn of_overlapping_fragments_the_first_bytes_win() {
        let mut reassembly = Reassembly::new(16384);
        reassembly.insert(0, &header(0, 6, 2, 2), b"AA").unwrap();
        reassembly.insert(0, &header(0, 6, 0, 6), b"bbbbbb").unwrap();
        assert_eq!(reassembly.pop().unwrap().body, b"bbAAbb");
    }

    #[test]
    fn fragments_that_disagree_are_fatal() {
        let mut reassembly = Reassembly::new(16384);
        reassembly.insert(0, &header(0, 6, 2, 2), b"AA").unwrap();
        assert_eq!(reassembly.insert(0, &header(0, 7, 4, 2), b"AA"), Err(Error::FragmentMismatch));
        let other = FragmentHeader { msg_type: HandshakeType::FINISHED, ..header(0, 6, 4, 2) };
        assert_eq!(reassembly.insert(0, &other, b"AA"), Err(Error::FragmentMismatch));
        assert_eq!(reassembly.insert(0, &header(1, 7, 4, 2), b"AA"), Ok(Inserted::Kept));
    }

    #[test]
    fn memory_follows_the_bytes_received_and_is_bounded() {
        let mut reassembly = Reassembly::new(16384);
        for round in 0..3 {
            for seq in 0..=u16::MAX / 16 {
                for at in (round..16384).step_by(97) {
                    let result = reassembly.insert(0, &header(seq, 16384, at, 1), b"x").unwrap();
                    assert_ne!(result, Inserted::Old { latest: true });
                }
                if seq > AHEAD {
                    break;
                }
            }
        }
        assert!(reassembly.cost() <= 16384 + MAX_RANGES * RANGE_COST + AHEAD_BUDGET);
        for seq in 0..=AHEAD {
            for at in 0..16384 {
                reassembly.insert(0, &header(seq, 16384, at, 1), b"x").unwrap();
            }
        }
        assert!(reassembly.cost() <= 16384 + MAX_RANGES * RANGE_COST + AHEAD_BUDGET);
        assert_eq!(
            reassembly.insert(0, &header(0, 0xff_ffff, 0, 1), b"x"),
            Err(Error::MessageTooLarge { length: 0xff_ffff })
        );
    }

    #[test]
    fn empty_fragments_change_nothing_but_an_empty_message_is_one() {
        let mut reassembly = Reassembly::new(16384);
        for _ in 0..1000 {
            assert_eq!(reassembly.insert(0, &header(0, 6, 3, 0), b""), Ok(Inserted::Dropped));
        }
        assert_eq!(reassembly.cost(), 0);
        assert_eq!(reassembly.insert(0, &header(0, 0, 0, 0), b""), Ok(Inserted::Kept));
        assert!(reassembly.pop().unwrap().body.is_empty());
        assert_eq!(reassembly.insert(0, &header(0, 0, 0, 0), b""), Ok(Inserted::Old { latest: true }));
    }

    #[test]
    fn what_is_authenticated_replaces_what_is_not() {
        let mut reassembly = Reassembly::new(16384);
        reassembly.insert(0, &header(0, 9, 0, 1), b"x").unwrap();
        reassembly.insert(1, &header(0, 2, 0, 1), b"a").unwrap();
        assert_eq!(reassembly.insert(0, &header(0, 2, 1, 1), b"y"), Ok(Inserted::Dropped));
        reassembly.insert(1, &header(0, 2, 1, 1), b"b").unwrap();
        let message = reassembly.pop().unwrap();
        assert_eq!((message.body.as_slice(), message.epoch), (&b"ab"[..], 1));
    }

    #[test]
    fn messages_come_out_in_order_and_too_far_ahead_is_dropped() {
        let mut reassembly = Reassembly::new(16384);
        assert_eq!(reassembly.insert(0, &header(7, 1, 0, 1), b"x"), Ok(Inserted::Dropped));
        for seq in (0..=6).rev() {
            assert!(reassembly.pop().is_none());
            assert_eq!(reassembly.insert(0, &header(seq, 1, 0, 1), &[seq as u8]), Ok(Inserted::Kept));
        }
        for seq in 0..=6 {
            assert_eq!(reassembly.pop().unwrap().message_seq, seq);
        }
        assert_eq!(reassembly.insert(0, &header(3, 1, 0, 1), b"x"), Ok(Inserted::Old { latest: false }));
    }
}
