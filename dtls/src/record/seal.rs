//! Sealing: header in front, AEAD in place, tag behind (RFC 6347 §4.1.2, RFC 5288 §3, RFC 7905 §2).
//!
//! A key seals 2^48 records at most, and under AES-GCM [`GCM_BLOCKS`]: DTLS 1.2 has no way to change a key but
//! renegotiation, which is refused, so that the connection has to end there.

use super::{HEADER_LEN, MAX_PLAINTEXT, MAX_SEQUENCE, Protection, RecordHeader};
use crate::crypto::TAG_LEN;
use crate::error::SealError;
use crate::types::{ContentType, ProtocolVersion};

/// Blocks of 16 bytes that one AES-GCM key may seal. RFC 9147 §4.5.3 (with RFC 8446 §5.5) sets 2^24.5 records of full
/// size, which are 2^14 bytes or 2^10 blocks each, for an advantage of 2^-57. What counts is the blocks, so that shorter
/// records may be more: it is 388 GB in all.
pub(crate) const GCM_BLOCKS: u64 = 24_296_004_000;

/// The keys of our direction and the next sequence number. No number is ever used twice.
pub(crate) struct SealKey {
    protection: Protection,
    epoch: u16,
    next: u64,
    /// Blocks left under the key.
    blocks: u64,
}

impl SealKey {
    pub(crate) const fn new(protection: Protection, epoch: u16) -> Self {
        let blocks = if protection.explicit_nonce { GCM_BLOCKS } else { u64::MAX };
        Self { protection, epoch, next: 0, blocks }
    }

    /// Bytes in front of the plaintext.
    pub(crate) fn header_len(&self) -> usize {
        HEADER_LEN + self.protection.explicit_len()
    }

    /// Seals `slot[header_len()..][..plaintext_len]` and gives the record's length.
    pub(crate) fn seal(
        &mut self,
        content_type: ContentType,
        slot: &mut [u8],
        plaintext_len: usize,
    ) -> Result<usize, SealError> {
        if plaintext_len > MAX_PLAINTEXT {
            return Err(SealError::TooLong);
        }
        let explicit_len = self.protection.explicit_len();
        let length = explicit_len + plaintext_len + TAG_LEN;
        let total = HEADER_LEN + length;
        let record = slot.get_mut(..total).ok_or(SealError::SlotTooSmall)?;
        if self.next > MAX_SEQUENCE {
            return Err(SealError::SequenceExhausted);
        }
        // One more for the tag's. An alert must get through all the same, so that the peer knows.
        let blocks = plaintext_len.div_ceil(16) as u64 + 1;
        match self.blocks.checked_sub(blocks) {
            Some(left) => self.blocks = left,
            None if content_type == ContentType::ALERT => self.blocks = 0,
            None => return Err(SealError::KeyExhausted),
        }
        let header = RecordHeader {
            content_type,
            version: ProtocolVersion::DTLS_1_2.0,
            epoch: self.epoch,
            sequence_number: self.next,
            length: length as u16,
        };
        let (head, body) = record.split_at_mut(HEADER_LEN);
        let (explicit, body) = body.split_at_mut(explicit_len);
        let (plaintext, tag) = body.split_at_mut(plaintext_len);
        // Spent even if sealing fails: a number must not come twice.
        self.next += 1;
        let sealed = self
            .protection
            .aead
            .seal(
                self.protection.nonce(header.number()),
                &header.additional_data(plaintext_len as u16),
                plaintext,
            )
            .map_err(|_| SealError::Crypto)?;
        head.copy_from_slice(&header.to_bytes());
        if explicit_len > 0 {
            explicit.copy_from_slice(&header.number().to_be_bytes());
        }
        tag.copy_from_slice(&sealed);
        Ok(total)
    }

    #[cfg(test)]
    pub(crate) fn set_blocks(&mut self, blocks: u64) {
        self.blocks = blocks;
    }

    #[cfg(test)]
    pub(crate) fn set_next(&mut self, next: u64) {
        self.next = next;
    }
}
