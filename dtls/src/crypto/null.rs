//! A provider that protects nothing, for fuzzing and profiling: it is what lets a fuzzer past the handshake, and what
//! shows where the time goes that is not cryptography.
//!
//! Every hash, secret and random number is zeros, every signature that begins with a one verifies, every tag of zeros is
//! right and the ciphertext is the plaintext. So a Finished stays right whatever was changed in front of it, and a seed
//! recorded once replays for ever.
//!
//! It is compiled for this crate's tests and with the feature `null-crypto` only, and `Connection::new` never takes it.

use super::{Aead, CryptoError, Digest, Hasher, KeyExchange, Mac, NONCE_LEN, Provider, TAG_LEN};
use crate::certificate::Certificate;
use crate::fingerprint::HashAlgorithm;
use crate::key::PublicKey;
use crate::suite::AeadAlgorithm;
use crate::types::{NamedGroup, SignatureScheme};
use zeroize::Zeroizing;

/// The one instance.
pub(crate) static NULL: Null = Null;

/// What a signature begins with.
const SIGNED: u8 = 1;

/// No security as a [`Provider`].
pub(crate) struct Null;

impl Provider for Null {
    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        out.fill(0);
        Ok(())
    }

    fn hasher(&self, algorithm: HashAlgorithm) -> Box<dyn Hasher> {
        Box::new(Zeros(algorithm))
    }

    fn mac(&self, algorithm: HashAlgorithm, _: &[u8]) -> Box<dyn Mac> {
        Box::new(Zeros(algorithm))
    }

    fn has_group(&self, group: NamedGroup) -> bool {
        public_key(group).is_some()
    }

    fn key_exchange(&self, group: NamedGroup) -> Result<Box<dyn KeyExchange>, CryptoError> {
        Ok(Box::new(NullExchange(public_key(group).ok_or(CryptoError)?)))
    }

    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn Aead>, CryptoError> {
        if key.len() == algorithm.key_len() { Ok(Box::new(NullAead)) } else { Err(CryptoError) }
    }

    fn sign(&self, _: &Certificate, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(vec![SIGNED; 8])
    }

    fn verify(
        &self,
        _: &PublicKey,
        _: SignatureScheme,
        _: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        if signature.first() == Some(&SIGNED) { Ok(()) } else { Err(CryptoError) }
    }
}

/// A hash and an HMAC of zeros.
struct Zeros(HashAlgorithm);

impl Zeros {
    fn digest(&self) -> Digest {
        let zeros = [0; 64];
        Digest::new(zeros.get(..self.0.digest_len()).unwrap_or(&zeros))
    }
}

impl Hasher for Zeros {
    fn update(&mut self, _: &[u8]) {}

    fn digest(&self) -> Digest {
        Zeros::digest(self)
    }
}

impl Mac for Zeros {
    fn sign(&self, _: &[&[u8]]) -> Digest {
        self.digest()
    }
}

/// Of the length and form that the group's have.
fn public_key(group: NamedGroup) -> Option<Vec<u8>> {
    let point = |size: usize| [&[4][..], &vec![1u8; 2 * size]].concat();
    match group {
        NamedGroup::X25519 => Some(vec![1; 32]),
        NamedGroup::SECP256R1 => Some(point(32)),
        NamedGroup::SECP384R1 => Some(point(48)),
        _ => None,
    }
}

struct NullExchange(Vec<u8>);

impl KeyExchange for NullExchange {
    fn public_key(&self) -> &[u8] {
        &self.0
    }

    fn agree(self: Box<Self>, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let right = peer.len() == self.0.len() && peer.first() == self.0.first();
        if right { Ok(Zeroizing::new(vec![0; 32])) } else { Err(CryptoError) }
    }
}

struct NullAead;

impl Aead for NullAead {
    fn seal(&self, _: [u8; NONCE_LEN], _: &[u8], _: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        Ok([0; TAG_LEN])
    }

    fn open(
        &self,
        _: [u8; NONCE_LEN],
        _: &[u8],
        _: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        if *tag == [0; TAG_LEN] { Ok(()) } else { Err(CryptoError) }
    }
}
