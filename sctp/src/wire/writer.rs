//! Writes one SCTP packet, chunk by chunk, into the caller's buffer.

use super::chunk::ChunkType;
use super::packet::{self, HEADER_LEN};
use super::padded;

/// One packet in the making. The buffer's length is the budget.
#[derive(Debug)]
pub(crate) struct PacketWriter<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> PacketWriter<'a> {
    /// Starts a packet with its common header; `None` when the buffer can't even hold that. The budget is
    /// rounded down to a multiple of four, as every chunk is.
    pub(crate) fn new(buf: &'a mut [u8], source: u16, destination: u16, tag: u32) -> Option<Self> {
        let budget = buf.len() & !3;
        let buf = buf.get_mut(..budget)?;
        packet::write_header(buf.first_chunk_mut::<HEADER_LEN>()?, source, destination, tag);
        Some(Self { buf, len: HEADER_LEN })
    }

    /// Bytes left in the budget.
    pub(crate) fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// Bytes written.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is any chunk yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == HEADER_LEN
    }

    /// Appends a whole chunk whose value is made of these parts; `false`, and nothing written, if it does
    /// not fit.
    pub(crate) fn chunk(&mut self, kind: ChunkType, flags: u8, parts: &[&[u8]]) -> bool {
        let value: usize = parts.iter().map(|part| part.len()).sum();
        let length = value + 4;
        let Ok(length16) = u16::try_from(length) else { return false };
        let total = padded(length);
        let Some(slot) = self.buf.get_mut(self.len..self.len + total) else { return false };
        let [hi, lo] = length16.to_be_bytes();
        let (head, mut rest) = slot.split_at_mut(4);
        head.copy_from_slice(&[kind.0, flags, hi, lo]);
        for part in parts {
            let (to, after) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = after;
        }
        rest.fill(0);
        self.len += total;
        true
    }

    /// Appends a chunk of a fixed part and so many words, as SACK is. The same as [`chunk`](Self::chunk) without
    /// putting the list together first.
    pub(crate) fn list_chunk(
        &mut self,
        kind: ChunkType,
        fixed: &[u8; 12],
        count: usize,
        words: impl Iterator<Item = [u8; 4]>,
    ) -> bool {
        let length = 4 + fixed.len() + 4 * count;
        let Ok(length16) = u16::try_from(length) else { return false };
        let Some(slot) = self.buf.get_mut(self.len..self.len + length) else { return false };
        let [hi, lo] = length16.to_be_bytes();
        let (head, rest) = slot.split_at_mut(4);
        head.copy_from_slice(&[kind.0, 0, hi, lo]);
        let (to, rest) = rest.split_at_mut(fixed.len());
        to.copy_from_slice(fixed);
        for (to, word) in rest.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word);
        }
        self.len += length;
        true
    }

    /// Appends a chunk of a header and a payload, as DATA and I-DATA are. The same as
    /// [`chunk`](Self::chunk) without the loop: this is the hot one.
    #[inline]
    pub(crate) fn data_chunk<const N: usize>(&mut self, head: &[u8; N], payload: &[u8]) -> bool {
        let total = padded(N + payload.len());
        let Some(slot) = self.buf.get_mut(self.len..self.len + total) else { return false };
        let (to, rest) = slot.split_at_mut(N);
        to.copy_from_slice(head);
        let (to, rest) = rest.split_at_mut(payload.len());
        to.copy_from_slice(payload);
        // Full chunks have none.
        if !rest.is_empty() {
            rest.fill(0);
        }
        self.len += total;
        true
    }

    /// How long the packet may be.
    pub(crate) fn capacity(&self) -> usize {
        self.buf.len()
    }

    /// Fills the rest of the budget with a PAD chunk (RFC 4820 §3); `false` when there is no room for its header, or
    /// more room than it can take.
    pub(crate) fn pad(&mut self) -> bool {
        let Ok(length) = u16::try_from(self.room()) else { return false };
        let Some((head, rest)) = self.buf.get_mut(self.len..).and_then(<[u8]>::split_first_chunk_mut::<4>)
        else {
            return false;
        };
        let [hi, lo] = length.to_be_bytes();
        *head = [ChunkType::PAD.0, 0, hi, lo];
        rest.fill(0);
        self.len = self.buf.len();
        true
    }

    /// Leaves the checksum at zero (RFC 9653) and returns the packet's length.
    #[inline]
    pub(crate) fn finish_unchecked(self) -> usize {
        self.len
    }

    /// Fills in the checksum and returns the packet's length.
    pub(crate) fn finish(self) -> usize {
        let Self { buf, len } = self;
        if let Some(packet) = buf.get_mut(..len) {
            packet::write_checksum(packet);
        }
        len
    }
}
