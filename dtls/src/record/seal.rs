//! Sealing: header in front, AEAD in place, tag behind (RFC 6347 §4.1.2, RFC 5288 §3, RFC 7905 §2).
//!
//! A key seals up to 2^48 records, and then no more. RFC 9147 §4.5.3 would have DTLS 1.3 change an AES-GCM key after
//! 2^24.5 full records of 16 KiB; DTLS 1.2 has no way to change it but renegotiation, which is refused, and names no
//! such limit (RFC 5288 §6.1 asks only for nonces that never repeat).

use super::{HEADER_LEN, MAX_PLAINTEXT, MAX_SEQUENCE, Protection, RecordHeader};
use crate::crypto::TAG_LEN;
use crate::error::SealError;
use crate::types::{ContentType, ProtocolVersion};

/// The keys of our direction and the next sequence number. No number is ever used twice.
pub(crate) struct SealKey {
    protection: Protection,
    epoch: u16,
    next: u64,
}

impl SealKey {
    pub(crate) const fn new(protection: Protection, epoch: u16) -> Self {
        Self { protection, epoch, next: 0 }
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
    pub(crate) fn set_next(&mut self, next: u64) {
        self.next = next;
    }
}
