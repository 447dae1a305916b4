//! The recent messages of one source: what children are sent from, and what a failure is repaired from.

use std::collections::VecDeque;

use crate::frame::{Frame, Sequence};

/// Messages in the order of their numbers, bounded in bytes and count.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Each with the bytes of all frames that were ever pushed before it, so that a sum is a difference.
    frames: VecDeque<(u64, Frame)>,
    pushed: u64,
}

impl Store {
    /// Appends a frame, whose number comes after all others'.
    pub(crate) fn push(&mut self, frame: Frame) {
        let before = self.pushed;
        self.pushed += frame.len() as u64;
        self.frames.push_back((before, frame));
    }

    /// Forgets the oldest until so much is left.
    pub(crate) fn trim(&mut self, max_bytes: usize, max_messages: usize) {
        while self.bytes() > max_bytes as u64 || self.frames.len() > max_messages {
            self.frames.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }

    fn bytes(&self) -> u64 {
        self.frames.front().map_or(0, |(before, _)| self.pushed - before)
    }

    /// The first frame with this number or a later one.
    pub(crate) fn at_or_after(&self, sequence: Sequence) -> Option<&Frame> {
        self.frames.get(self.index(sequence)).map(|(_, frame)| frame)
    }

    /// Where a newcomer begins that gets at most so many messages.
    pub(crate) fn history(&self, messages: usize) -> Option<Sequence> {
        self.frames.get(self.frames.len().saturating_sub(messages)).map(|(_, frame)| frame.sequence())
    }

    /// Bytes of the frames from this number on.
    pub(crate) fn bytes_from(&self, sequence: Sequence) -> u64 {
        self.frames.get(self.index(sequence)).map_or(0, |(before, _)| self.pushed - before)
    }

    /// Bytes of all frames ever pushed before this number: it grows as a reader gets on, and only then.
    pub(crate) fn position(&self, sequence: Sequence) -> u64 {
        self.pushed - self.bytes_from(sequence)
    }

    /// The number from which on the newest frames have at most `limit` bytes.
    pub(crate) fn newest_within(&self, limit: u64) -> Option<Sequence> {
        let first = self.frames.partition_point(|(before, _)| self.pushed - before > limit);
        self.frames.get(first).map(|(_, frame)| frame.sequence())
    }

    fn index(&self, sequence: Sequence) -> usize {
        self.frames.partition_point(|(_, frame)| frame.sequence().less_than(sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameType, HEADER};

    fn store(first: u64, numbers: u64) -> Store {
        let mut store = Store::default();
        for n in 0..numbers {
            store.push(Frame::new(FrameType::DATA, Sequence(first).plus(n), &[0; 91]));
        }
        store
    }

    #[test]
    fn the_oldest_go_first_and_numbers_wrap_around() {
        let first = u64::MAX - 4;
        let mut store = store(first, 10);
        store.trim(700, 100);
        assert_eq!(store.history(usize::MAX), Some(Sequence(first).plus(3)));
        store.trim(700, 4);
        assert_eq!(store.history(usize::MAX), Some(Sequence(1)));
        let at = |n| store.at_or_after(Sequence(n)).map(Frame::sequence);
        assert_eq!(at(first), Some(Sequence(1)));
        assert_eq!(at(3), Some(Sequence(3)));
        assert_eq!(at(5), None);
    }

    #[test]
    fn a_newcomer_begins_where_the_policy_says() {
        let store = store(5, 10);
        assert_eq!(store.history(3), Some(Sequence(12)));
        assert_eq!(store.history(usize::MAX), Some(Sequence(5)));
        assert_eq!(store.history(0), None);
        assert_eq!(store.newest_within(250), Some(Sequence(13)));
        assert_eq!(store.newest_within(10), None);
        assert_eq!(store.bytes_from(Sequence(13)), 2 * (HEADER + 91) as u64);
        assert_eq!(store.bytes_from(Sequence(0)), 1000);
    }
}
