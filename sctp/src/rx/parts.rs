//! The bytes of a row of fragments.
//!
//! As long as fragments come in order there is one buffer, which is the message's in the end: one allocation, if the
//! message is as large as was expected. Rows that join keep their buffers until the message is whole.

use std::collections::VecDeque;

use bytes::Bytes;

use super::reassembly::ALLOCATION;

/// Parts of a message up to this size are joined by copying; larger ones keep their buffers.
const SMALL_PART: usize = 512;

/// What is reserved for what comes after a piece was taken: the next piece is likely more than a fragment.
const NEXT_PIECE: usize = 16 << 10;

/// Buffers in their order.
#[derive(Debug)]
pub(super) struct Parts {
    /// All but the last. Without memory as long as nothing has been joined.
    before: VecDeque<Vec<u8>>,
    /// Memory of their buffers.
    held_before: usize,
    last: Vec<u8>,
}

/// The memory of one buffer.
fn held_by(part: &Vec<u8>) -> usize {
    part.capacity() + ALLOCATION
}

/// Appends to a buffer, which grows by a quarter and not to the double: what it has free is charged as well.
#[inline]
fn extend(part: &mut Vec<u8>, bytes: &[u8]) {
    if part.capacity() - part.len() < bytes.len() {
        part.reserve_exact(bytes.len().max(part.len() / 4));
    }
    part.extend_from_slice(bytes);
}

impl Parts {
    /// The bytes of one fragment, with room for what is expected in all.
    pub(super) fn new(bytes: &[u8], expected: usize) -> Self {
        let mut last = Vec::with_capacity(expected.max(bytes.len()));
        last.extend_from_slice(bytes);
        Self { before: VecDeque::new(), held_before: 0, last }
    }

    /// The memory of it all, in bytes.
    #[inline]
    pub(super) fn held(&self) -> usize {
        let list = match self.before.capacity() {
            0 => 0,
            capacity => capacity * size_of::<Vec<u8>>() + ALLOCATION,
        };
        list + self.held_before + held_by(&self.last)
    }

    /// Appends the bytes of the next fragment.
    #[inline]
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        extend(&mut self.last, bytes);
    }

    /// The same for a message that is read in pieces.
    #[inline]
    pub(super) fn extend_piece(&mut self, bytes: &[u8]) {
        if self.last.capacity() == 0 {
            self.last.reserve_exact(bytes.len().max(NEXT_PIECE));
        }
        extend(&mut self.last, bytes);
    }

    /// Takes the first of the buffers that has something in it.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        while let Some(part) = self.before.pop_front() {
            self.held_before -= held_by(&part);
            if !part.is_empty() {
                return Some(piece(part));
            }
        }
        if self.last.is_empty() {
            return None;
        }
        Some(piece(std::mem::take(&mut self.last)))
    }

    /// Whether there is nothing to take.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty() && self.before.iter().all(Vec::is_empty)
    }

    /// Drops all of it.
    pub(super) fn clear(&mut self) {
        *self = Self { before: VecDeque::new(), held_before: 0, last: Vec::new() };
    }

    /// Appends the parts that follow: their buffers, not their bytes, except for small ones, of which the buffer
    /// would be the larger share.
    pub(super) fn append(&mut self, mut next: Self) {
        if next.before.is_empty() && next.last.len() <= SMALL_PART {
            extend(&mut self.last, &next.last);
            return;
        }
        if next.before.front().is_some_and(|part| part.len() <= SMALL_PART)
            && let Some(part) = next.before.pop_front()
        {
            next.held_before -= held_by(&part);
            extend(&mut self.last, &part);
        }
        let last = std::mem::replace(&mut self.last, next.last);
        self.held_before += held_by(&last) + next.held_before;
        if self.before.len() >= next.before.len() {
            self.before.push_back(last);
            self.before.append(&mut next.before);
        } else {
            next.before.push_front(last);
            while let Some(part) = self.before.pop_back() {
                next.before.push_front(part);
            }
            self.before = next.before;
        }
    }

    /// All bytes in one buffer without room to spare: from here on it counts for its length only.
    pub(super) fn into_bytes(self, len: usize) -> Bytes {
        let mut parts = self.before.into_iter().chain([self.last]);
        let mut whole = parts.next().unwrap_or_default();
        whole.reserve_exact(len.saturating_sub(whole.len()));
        for part in parts {
            whole.extend_from_slice(&part);
        }
        whole.shrink_to_fit();
        Bytes::from(whole)
    }
}

/// A buffer for the application; not one that is mostly empty.
fn piece(part: Vec<u8>) -> Bytes {
    if part.capacity() / 2 > part.len() { Bytes::copy_from_slice(&part) } else { Bytes::from(part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_in_any_way_they_are_the_same_bytes() {
        let bytes: Vec<u8> = (0..8000u32).map(|i| i as u8).collect();
        let pieces: Vec<&[u8]> = bytes.chunks(600).chain([&b"end"[..]]).collect();
        for split in 1..pieces.len() {
            // Each side is one buffer, or one for each piece; forwards, and backwards.
            let row = |pieces: &[&[u8]], in_order: bool| {
                let single = |piece: &&[u8]| Parts::new(piece, 0);
                if in_order {
                    let mut row = single(&pieces[0]);
                    pieces[1..].iter().for_each(|piece| row.extend(piece));
                    row
                } else {
                    let rows = pieces.iter().map(single).rev();
                    rows.reduce(|after, mut row| {
                        row.append(after);
                        row
                    })
                    .expect("a piece")
                }
            };
            for (left, right) in [(true, true), (true, false), (false, true), (false, false)] {
                let mut whole = row(&pieces[..split], left);
                whole.append(row(&pieces[split..], right));
                let buffers: usize = whole.before.iter().map(held_by).sum();
                assert_eq!(whole.held_before, buffers);
                let got = whole.into_bytes(bytes.len() + 3);
                assert_eq!(got, pieces.concat(), "{split} {left} {right}");
            }
        }
    }

    #[test]
    fn in_order_there_is_one_buffer_and_no_list() {
        let mut parts = Parts::new(&[1; 100], 300);
        parts.extend(&[2; 100]);
        parts.extend(&[3; 100]);
        assert_eq!(parts.held(), 300 + ALLOCATION);
        let buffer = parts.last.as_ptr();
        assert_eq!(parts.into_bytes(300).as_ptr(), buffer);
    }
}
