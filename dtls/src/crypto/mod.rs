//! The boundary to the cryptographic library: everything the protocol needs of it, and nothing about the protocol.
//!
//! [`ring::RING`] is the provider. The state machines only know [`Provider`].

pub(crate) mod ring;

use crate::types::{CipherSuite, NamedGroup, SignatureScheme};
use zeroize::Zeroizing;

/// Bytes of an AEAD's tag.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of an AEAD's nonce.
pub(crate) const NONCE_LEN: usize = 12;
/// Bytes of the transcript's hash, SHA-256 in every suite we have.
pub(crate) const HASH_LEN: usize = 32;

/// A cryptographic operation failed; the reason is never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CryptoError;

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifyError {
    /// The certificate cannot be read, or its key is of another kind.
    Certificate,
    /// It does not verify.
    Signature,
}

/// Sizes of a suite's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SuiteParameters {
    /// Bytes of a key.
    pub(crate) key_len: usize,
    /// Bytes of the implicit part of the nonce.
    pub(crate) iv_len: usize,
    /// Whether the rest of the nonce travels in each record.
    pub(crate) explicit_nonce: bool,
}

impl SuiteParameters {
    /// `None` for a suite that we don't have.
    pub(crate) const fn of(suite: CipherSuite) -> Option<Self> {
        match suite {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
                Some(Self { key_len: 16, iv_len: 4, explicit_nonce: true })
            }
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
                Some(Self { key_len: 32, iv_len: 12, explicit_nonce: false })
            }
            _ => None,
        }
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
    /// SHA-256.
    fn hash(&self, data: &[u8]) -> [u8; HASH_LEN];
    /// HMAC-SHA-256 over the parts, one after the other.
    fn hmac(&self, key: &[u8], parts: &[&[u8]]) -> [u8; HASH_LEN];
    /// A fresh ephemeral key.
    fn key_exchange(&self, group: NamedGroup) -> Result<Box<dyn KeyExchange>, CryptoError>;
    /// The suite's AEAD with this key.
    fn aead(&self, suite: CipherSuite, key: &[u8]) -> Result<Box<dyn Aead>, CryptoError>;
    /// Whether the DER certificate's key made `signature` over `message`.
    fn verify(
        &self,
        certificate_der: &[u8],
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError>;
}

/// The pseudorandom function of TLS 1.2 with SHA-256 (RFC 5246 §5).
pub(crate) fn prf(provider: &dyn Provider, secret: &[u8], label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    let mut labelled = Vec::with_capacity(1 + seed.len());
    labelled.push(label);
    labelled.extend_from_slice(seed);
    let mut a = Zeroizing::new(provider.hmac(secret, &labelled));
    for chunk in out.chunks_mut(HASH_LEN) {
        let parts: Vec<&[u8]> = std::iter::once(&a[..]).chain(labelled.iter().copied()).collect();
        let block = Zeroizing::new(provider.hmac(secret, &parts));
        for (byte, from) in chunk.iter_mut().zip(block.iter()) {
            *byte = *from;
        }
        let next = Zeroizing::new(provider.hmac(secret, &[&a[..]]));
        a = next;
    }
}

/// Compares without telling by its time where the difference is.
pub(crate) fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (x, y)| differences | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The widely used TLS 1.2 PRF SHA-256 test vector (posted to the IETF TLS list in 2009).
    #[test]
    fn the_prf_matches_its_published_vector() {
        let secret =
            [0x9b, 0xbe, 0x43, 0x6b, 0xa9, 0x40, 0xf0, 0x17, 0xb1, 0x76, 0x52, 0x84, 0x9a, 0x71, 0xdb, 0x35];
        let seed =
            [0xa0, 0xba, 0x9f, 0x93, 0x6c, 0xda, 0x31, 0x18, 0x27, 0xa6, 0xf7, 0x96, 0xff, 0xd5, 0x19, 0x8c];
        let mut out = [0u8; 100];
        prf(&super::ring::RING, &secret, b"test label", &[&seed[..7], &seed[7..]], &mut out);
        assert_eq!(out[..8], [0xe3, 0xf2, 0x29, 0xba, 0x72, 0x7b, 0xe1, 0x7b]);
        assert_eq!(out[92..], [0x10, 0xff, 0xf7, 0x01, 0x87, 0x34, 0x7b, 0x66]);
    }

    #[test]
    fn comparison_sees_length_and_every_byte() {
        assert!(equal_in_constant_time(b"abc", b"abc"));
        assert!(!equal_in_constant_time(b"abc", b"abd"));
        assert!(!equal_in_constant_time(b"abc", b"ab"));
        assert!(equal_in_constant_time(b"", b""));
    }
}
