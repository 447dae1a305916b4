//! Records (RFC 6347 §4.1): the header, and what sealing and opening have in common.
//!
//! ```text
//!  type(1) version(2) epoch(2) sequence_number(6) length(2) | fragment(length)
//! ```
//! A protected fragment is `explicit nonce (8, GCM only) | ciphertext | tag (16)`.

pub(crate) mod open;
pub(crate) mod replay;
pub(crate) mod seal;

use crate::crypto::{Aead, NONCE_LEN};
use crate::types::ContentType;

/// Bytes of a record header.
pub(crate) const HEADER_LEN: usize = 13;
/// Bytes of GCM's explicit nonce (RFC 5288 §3).
pub(crate) const EXPLICIT_NONCE_LEN: usize = 8;
/// Largest plaintext (RFC 6347 §4.1).
pub(crate) const MAX_PLAINTEXT: usize = 1 << 14;
/// Largest sequence number.
pub(crate) const MAX_SEQUENCE: u64 = (1 << 48) - 1;

/// A parsed record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) content_type: ContentType,
    pub(crate) version: u16,
    pub(crate) epoch: u16,
    /// 48 bits.
    pub(crate) sequence_number: u64,
    pub(crate) length: u16,
}

impl RecordHeader {
    /// The header at the start of `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[content_type, v0, v1, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1] =
            bytes.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            content_type: ContentType(content_type),
            version: u16::from_be_bytes([v0, v1]),
            epoch: u16::from_be_bytes([e0, e1]),
            sequence_number: u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]),
            length: u16::from_be_bytes([l0, l1]),
        })
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [v0, v1] = self.version.to_be_bytes();
        let [e0, e1, s0, s1, s2, s3, s4, s5] = self.number().to_be_bytes();
        let [l0, l1] = self.length.to_be_bytes();
        [self.content_type.0, v0, v1, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1]
    }

    /// `epoch ‖ sequence_number`, which nonces and additional data are made of.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.epoch) << 48 | self.sequence_number & MAX_SEQUENCE
    }

    /// RFC 5246 §6.2.3.3: the number, type, version and the plaintext's length.
    fn additional_data(self, plaintext_len: u16) -> [u8; HEADER_LEN] {
        let [n0, n1, n2, n3, n4, n5, n6, n7] = self.number().to_be_bytes();
        let [v0, v1] = self.version.to_be_bytes();
        let [l0, l1] = plaintext_len.to_be_bytes();
        [n0, n1, n2, n3, n4, n5, n6, n7, self.content_type.0, v0, v1, l0, l1]
    }
}

/// The keys of one direction.
pub(crate) struct Protection {
    pub(crate) aead: Box<dyn Aead>,
    /// GCM: the 4-byte salt, then zeros. ChaCha20: all 12 bytes.
    pub(crate) iv: [u8; NONCE_LEN],
    /// Whether 8 bytes of nonce travel in each record (GCM).
    pub(crate) explicit_nonce: bool,
}

impl Protection {
    pub(crate) fn explicit_len(&self) -> usize {
        if self.explicit_nonce { EXPLICIT_NONCE_LEN } else { 0 }
    }

    /// GCM: salt ‖ explicit part (RFC 5288 §3); ChaCha20: IV xor padded number (RFC 7905 §2). In both `number`
    /// takes the last 8 bytes, and GCM's IV has zeros there, so one xor serves.
    fn nonce(&self, number: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, part) in nonce.iter_mut().skip(NONCE_LEN - 8).zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        nonce
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.iv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_reads_back(kind: u8, version: u16, epoch: u16, sequence in 0..=MAX_SEQUENCE, length: u16) {
            let header = RecordHeader {
                content_type: ContentType(kind), version, epoch, sequence_number: sequence, length,
            };
            prop_assert_eq!(RecordHeader::parse(&header.to_bytes()), Some(header));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(RecordHeader::parse(&bytes).is_some(), bytes.len() >= HEADER_LEN);
        }
    }
}
