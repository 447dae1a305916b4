//! MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.5–14.7).
//!
//! All three cover the message from its first byte to the attribute itself, with the header's length field
//! set as if the attribute were the last one.

use std::fmt;

use hmac::Mac;
use ring::hmac as ring_hmac;
use sha1::Sha1;

/// Bytes of MESSAGE-INTEGRITY.
pub(crate) const SHA1_LEN: usize = 20;
/// Bytes of an untruncated MESSAGE-INTEGRITY-SHA256.
pub(crate) const SHA256_LEN: usize = 32;
/// RFC 8489 §14.7: "STUN".
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// What became of a check of MESSAGE-INTEGRITY or FINGERPRINT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// There and right.
    Valid,
    /// There and wrong.
    Invalid,
    /// Not there.
    Absent,
}

impl Verdict {
    pub(crate) fn of(right: bool) -> Self {
        if right { Self::Valid } else { Self::Invalid }
    }

    /// There and right.
    pub fn is_valid(self) -> bool {
        self == Self::Valid
    }
}

/// The key of a password with its state of HMAC-SHA1 prepared, so that a check costs no key schedule. `Debug` doesn't
/// show it.
#[derive(Clone)]
pub struct IntegrityKey {
    /// Not by `ring`, whose SHA-1 makes no use of the processor's instructions for it.
    sha1: hmac::Hmac<Sha1>,
    /// Of MESSAGE-INTEGRITY-SHA256, which ICE has no use for, only the key itself.
    key: Box<[u8]>,
}

impl IntegrityKey {
    /// The key of a short-term credential (RFC 8489 §9.1.1). The password is taken as it is: ICE passwords
    /// are ASCII, which OpaqueString leaves alone.
    pub fn short_term(password: &str) -> Self {
        Self::from_bytes(password.as_bytes())
    }

    /// A key already derived. For long-term credentials see [`long_term_key`](crate::long_term_key).
    pub fn from_bytes(key: &[u8]) -> Self {
        Self { sha1: hmac::Hmac::new_from_slice(key).expect("keys of any length are taken"), key: key.into() }
    }

    /// HMAC-SHA1 over `covered`, the bytes before the attribute.
    pub(crate) fn sha1(&self, covered: &[u8]) -> [u8; SHA1_LEN] {
        let mut context = self.sha1.clone();
        adjusted(covered, SHA1_LEN, |bytes| context.update(bytes));
        context.finalize().into_bytes().into()
    }

    /// HMAC-SHA256 over `covered` for an attribute of `len` bytes.
    pub(crate) fn sha256(&self, covered: &[u8], len: usize) -> ring_hmac::Tag {
        let key = ring_hmac::Key::new(ring_hmac::HMAC_SHA256, &self.key);
        let mut context = ring_hmac::Context::with_key(&key);
        adjusted(covered, len, |bytes| context.update(bytes));
        context.sign()
    }
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKey(<hidden>)")
    }
}

/// Gives `covered` to `update` with the header's length field set for a message that ends with an attribute of
/// `value_len` after it.
fn adjusted(covered: &[u8], value_len: usize, mut update: impl FnMut(&[u8])) {
    let length = (covered.len() + 4 + value_len).saturating_sub(crate::HEADER_LEN);
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    match covered.split_first_chunk::<{ crate::HEADER_LEN }>() {
        Some((header, attributes)) => {
            let mut header = *header;
            [header[2], header[3]] = length;
            update(&header);
            update(attributes);
        }
        // Less than a header, which no caller has.
        None => update(covered),
    }
}

/// Compares without telling by its duration where two values differ.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y))) == 0
}

/// The value of FINGERPRINT after `covered`.
pub(crate) fn fingerprint(covered: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    adjusted(covered, 4, |bytes| crc.update(bytes));
    crc.finalize() ^ FINGERPRINT_XOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Class, Message, Method, TransactionId};

    #[test]
    fn any_flipped_bit_breaks_the_integrity() {
        let key = IntegrityKey::short_term("0123456789012345678901");
        let mut out = [0; 128];
        let mut builder = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId([1; 12]));
        builder.username("abcd:efgh").priority(1).integrity(&key).integrity_sha256(&key).fingerprint();
        let len = builder.finish().unwrap();
        let whole = Message::parse(&out[..len]).unwrap();
        assert!(whole.verify_integrity(&key).is_valid());
        assert!(whole.verify_integrity_sha256(&key).is_valid());
        let other = IntegrityKey::short_term("0123456789012345678902");
        assert_eq!(whole.verify_integrity(&other), Verdict::Invalid);
        assert_eq!(whole.verify_integrity_sha256(&other), Verdict::Invalid);
        for bit in 0..len * 8 {
            let mut bytes = out;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(message) = Message::parse(&bytes[..len]) else { continue };
            assert!(!message.verify_fingerprint().is_valid(), "bit {bit}");
            // What follows MESSAGE-INTEGRITY is not under it, nor is the overall length.
            if bit / 8 < len - 8 - 36 && !(16..32).contains(&bit) {
                assert!(!message.verify_integrity(&key).is_valid(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_truncated_sha256_is_compared_as_far_as_it_goes() {
        let key = IntegrityKey::short_term("p");
        for len in [16, 20, 24, 28, 32] {
            let mut bytes = vec![0, 1, 0, (4 + len) as u8, 0x21, 0x12, 0xA4, 0x42];
            bytes.extend([5; 12]);
            let tag = key.sha256(&bytes, len);
            bytes.extend([0, 0x1C, 0, len as u8]);
            bytes.extend(&tag.as_ref()[..len]);
            assert!(Message::parse(&bytes).unwrap().verify_integrity_sha256(&key).is_valid(), "{len}");
            *bytes.last_mut().unwrap() ^= 1;
            assert_eq!(Message::parse(&bytes).unwrap().verify_integrity_sha256(&key), Verdict::Invalid);
        }
    }
}
