//! The boundary to the cryptographic library: everything the protocol needs of it, and nothing about the protocol.
//!
//! [`ring::RING`] is the provider. The state machines only know [`Provider`]. A second one, `null`, protects nothing and
//! exists for fuzzing and profiling alone.

#[cfg(any(test, feature = "null-crypto"))]
pub(crate) mod null;
pub(crate) mod ring;

use crate::certificate::Certificate;
use crate::fingerprint::HashAlgorithm;
use crate::key::PublicKey;
use crate::suite::AeadAlgorithm;
use crate::types::{NamedGroup, SignatureScheme};
use std::ops::Deref;
use zeroize::Zeroizing;

/// Bytes of an AEAD's tag.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of an AEAD's nonce.
pub(crate) const NONCE_LEN: usize = 12;

/// A cryptographic operation failed; the reason is never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CryptoError;

/// What a hash or an HMAC gives. Wiped when dropped, as it may be a secret; has no `Debug` for the same reason.
pub(crate) struct Digest {
    bytes: Zeroizing<[u8; 64]>,
    len: usize,
}

impl Digest {
    pub(crate) fn new(from: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; 64]);
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        Self { bytes, len: from.len().min(64) }
    }
}

impl Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// An AEAD key.
pub(crate) trait Aead: Send + Sync {
    /// Encrypts in place and gives the tag.
    fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        additional_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError>;

    /// Verifies the tag and decrypts in place.
    fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        additional_data: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError>;
}

/// A running hash.
pub(crate) trait Hasher: Send + Sync {
    /// Adds bytes.
    fn update(&mut self, data: &[u8]);
    /// The hash so far.
    fn digest(&self) -> Digest;
}

/// An HMAC key.
pub(crate) trait Mac: Send + Sync {
    /// HMAC over the parts, one after the other.
    fn sign(&self, parts: &[&[u8]]) -> Digest;
}

/// An ephemeral key, used once.
pub(crate) trait KeyExchange: Send + Sync {
    /// Our public value, as it goes on the wire.
    fn public_key(&self) -> &[u8];
    /// The shared secret with the peer's public value. Values off the curve and all-zero results are errors.
    fn agree(self: Box<Self>, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError>;
}

/// A cryptographic library.
pub(crate) trait Provider: Send + Sync {
    /// Fills with the system's randomness.
    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoError>;
    /// A hash of what is yet to come.
    fn hasher(&self, algorithm: HashAlgorithm) -> Box<dyn Hasher>;
    /// HMAC with this key.
    fn mac(&self, algorithm: HashAlgorithm, key: &[u8]) -> Box<dyn Mac>;
    /// Whether the group is there.
    fn has_group(&self, group: NamedGroup) -> bool;
    /// A fresh ephemeral key.
    fn key_exchange(&self, group: NamedGroup) -> Result<Box<dyn KeyExchange>, CryptoError>;
    /// The AEAD with this key.
    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn Aead>, CryptoError>;
    /// A signature over `message` with the certificate's key.
    fn sign(
        &self,
        certificate: &Certificate,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, CryptoError>;
    /// Whether the key made `signature` over `message`.
    fn verify(
        &self,
        key: &PublicKey,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError>;
}

/// The pseudorandom function of TLS 1.2 (RFC 5246 §5).
pub(crate) fn prf(
    provider: &dyn Provider,
    algorithm: HashAlgorithm,
    secret: &[u8],
    label: &[u8],
    seed: &[&[u8]],
    out: &mut [u8],
) {
    let mac = provider.mac(algorithm, secret);
    let mut labelled = Vec::with_capacity(1 + seed.len());
    labelled.push(label);
    labelled.extend_from_slice(seed);
    let mut a: Option<Digest> = None;
    for chunk in out.chunks_mut(algorithm.digest_len()) {
        // A(1) is made of the label and the seed, each next one of the one before.
        let next = a.map_or_else(|| mac.sign(&labelled), |a| mac.sign(&[&a[..]]));
        let parts: Vec<&[u8]> = std::iter::once(&next[..]).chain(labelled.iter().copied()).collect();
        let block = mac.sign(&parts);
        for (byte, from) in chunk.iter_mut().zip(block.iter()) {
            *byte = *from;
        }
        a = Some(next);
    }
}

/// Compares without telling by its time where the difference is.
pub(crate) fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    // The hint keeps the compiler from leaving the loop at the first difference.
    let differences = a.iter().zip(b).fold(0, |all, (x, y)| std::hint::black_box(all | (x ^ y)));
    a.len() == b.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The widely used TLS 1.2 PRF test vectors (posted to the IETF TLS list in 2009).
    #[test]
    fn the_prf_matches_its_published_vectors() {
        let secret =
            [0x9b, 0xbe, 0x43, 0x6b, 0xa9, 0x40, 0xf0, 0x17, 0xb1, 0x76, 0x52, 0x84, 0x9a, 0x71, 0xdb, 0x35];
        let seed =
            [0xa0, 0xba, 0x9f, 0x93, 0x6c, 0xda, 0x31, 0x18, 0x27, 0xa6, 0xf7, 0x96, 0xff, 0xd5, 0x19, 0x8c];
        let mut out = [0u8; 100];
        let seed = [&seed[..7], &seed[7..]];
        prf(&super::ring::RING, HashAlgorithm::Sha256, &secret, b"test label", &seed, &mut out);
        assert_eq!(out[..8], [0xe3, 0xf2, 0x29, 0xba, 0x72, 0x7b, 0xe1, 0x7b]);
        assert_eq!(out[92..], [0x10, 0xff, 0xf7, 0x01, 0x87, 0x34, 0x7b, 0x66]);

        let secret =
            [0xb8, 0x0b, 0x73, 0x3d, 0x6c, 0xee, 0xfc, 0xdc, 0x71, 0x56, 0x6e, 0xa4, 0x8e, 0x55, 0x67, 0xdf];
        let seed =
            [0xcd, 0x66, 0x5c, 0xf6, 0xa8, 0x44, 0x7d, 0xd6, 0xff, 0x8b, 0x27, 0x55, 0x5e, 0xdb, 0x74, 0x65];
        let mut out = [0u8; 148];
        prf(&super::ring::RING, HashAlgorithm::Sha384, &secret, b"test label", &[&seed], &mut out);
        assert_eq!(out[..8], [0x7b, 0x0c, 0x18, 0xe9, 0xce, 0xd4, 0x10, 0xed]);
        assert_eq!(out[140..], [0x5e, 0x09, 0x90, 0x70, 0x3d, 0x73, 0xe5, 0x6f]);
    }

    #[test]
    fn comparison_sees_length_and_every_byte() {
        assert!(equal_in_constant_time(b"abc", b"abc"));
        assert!(!equal_in_constant_time(b"abc", b"abd"));
        assert!(!equal_in_constant_time(b"xbc", b"abc"));
        assert!(!equal_in_constant_time(b"abc", b"ab"));
        assert!(equal_in_constant_time(b"", b""));
    }
}
