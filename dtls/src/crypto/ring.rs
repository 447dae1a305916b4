//! The provider on `ring`.

use super::{Aead, CryptoError, Digest, Hasher, KeyExchange, Mac, NONCE_LEN, Provider, TAG_LEN};
use crate::certificate::Certificate;
use crate::fingerprint::HashAlgorithm;
use crate::key::{KeyType, PublicKey as PeerKey};
use crate::suite::AeadAlgorithm;
use crate::types::{NamedGroup, SignatureScheme};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::agreement::{
    Algorithm, ECDH_P256, ECDH_P384, EphemeralPrivateKey, PublicKey, UnparsedPublicKey, X25519,
    agree_ephemeral,
};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{self, VerificationAlgorithm};
use zeroize::Zeroizing;

/// The one instance.
pub(crate) static RING: Ring = Ring;

/// `ring` as a [`Provider`].
pub(crate) struct Ring;

impl Provider for Ring {
    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        SystemRandom::new().fill(out).map_err(|_| CryptoError)
    }

    fn hasher(&self, algorithm: HashAlgorithm) -> Box<dyn Hasher> {
        Box::new(Running(ring::digest::Context::new(algorithm.ring())))
    }

    fn mac(&self, algorithm: HashAlgorithm, key: &[u8]) -> Box<dyn Mac> {
        let algorithm = match algorithm {
            HashAlgorithm::Sha256 => ring::hmac::HMAC_SHA256,
            HashAlgorithm::Sha384 => ring::hmac::HMAC_SHA384,
            HashAlgorithm::Sha512 => ring::hmac::HMAC_SHA512,
        };
        Box::new(MacKey(ring::hmac::Key::new(algorithm, key)))
    }

    fn has_group(&self, group: NamedGroup) -> bool {
        agreement(group).is_some()
    }

    fn key_exchange(&self, group: NamedGroup) -> Result<Box<dyn KeyExchange>, CryptoError> {
        let algorithm = agreement(group).ok_or(CryptoError)?;
        let private =
            EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).map_err(|_| CryptoError)?;
        let public = private.compute_public_key().map_err(|_| CryptoError)?;
        Ok(Box::new(Ephemeral { private, public }))
    }

    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn Aead>, CryptoError> {
        let algorithm = match algorithm {
            AeadAlgorithm::Aes128Gcm => &AES_128_GCM,
            AeadAlgorithm::Aes256Gcm => &AES_256_GCM,
            AeadAlgorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| CryptoError)?;
        Ok(Box::new(AeadKey(LessSafeKey::new(key))))
    }

    fn sign(
        &self,
        certificate: &Certificate,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        certificate.sign(scheme, message).ok_or(CryptoError)
    }

    fn verify(
        &self,
        key: &PeerKey,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let algorithm: &dyn VerificationAlgorithm = match (key.key_type, scheme) {
            (KeyType::EcdsaP256, SignatureScheme::ECDSA_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
            (KeyType::EcdsaP256, SignatureScheme::ECDSA_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
            (KeyType::EcdsaP384, SignatureScheme::ECDSA_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
            (KeyType::EcdsaP384, SignatureScheme::ECDSA_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
            (KeyType::Ed25519, SignatureScheme::ED25519) => &signature::ED25519,
            (KeyType::Rsa, SignatureScheme::RSA_PSS_RSAE_SHA256) => &signature::RSA_PSS_2048_8192_SHA256,
            (KeyType::Rsa, SignatureScheme::RSA_PSS_RSAE_SHA384) => &signature::RSA_PSS_2048_8192_SHA384,
            (KeyType::Rsa, SignatureScheme::RSA_PSS_RSAE_SHA512) => &signature::RSA_PSS_2048_8192_SHA512,
            (KeyType::Rsa, SignatureScheme::RSA_PKCS1_SHA256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (KeyType::Rsa, SignatureScheme::RSA_PKCS1_SHA384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (KeyType::Rsa, SignatureScheme::RSA_PKCS1_SHA512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            _ => return Err(CryptoError),
        };
        signature::UnparsedPublicKey::new(algorithm, &key.bytes)
            .verify(message, signature)
            .map_err(|_| CryptoError)
    }
}

fn agreement(group: NamedGroup) -> Option<&'static Algorithm> {
    match group {
        NamedGroup::SECP256R1 => Some(&ECDH_P256),
        NamedGroup::SECP384R1 => Some(&ECDH_P384),
        NamedGroup::X25519 => Some(&X25519),
        _ => None,
    }
}

struct Running(ring::digest::Context);

impl Hasher for Running {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn digest(&self) -> Digest {
        Digest::new(self.0.clone().finish().as_ref())
    }
}

struct MacKey(ring::hmac::Key);

impl Mac for MacKey {
    fn sign(&self, parts: &[&[u8]]) -> Digest {
        let mut context = ring::hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        Digest::new(context.sign().as_ref())
    }
}

struct Ephemeral {
    private: EphemeralPrivateKey,
    public: PublicKey,
}

impl KeyExchange for Ephemeral {
    fn public_key(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn agree(self: Box<Self>, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let peer = UnparsedPublicKey::new(self.private.algorithm(), peer);
        agree_ephemeral(self.private, &peer, |secret| Zeroizing::new(secret.to_vec()))
            .map_err(|_| CryptoError)
    }
}

struct AeadKey(LessSafeKey);

impl Aead for AeadKey {
    #[inline]
    fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        additional_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(additional_data), in_out)
            .map_err(|_| CryptoError)?;
        <[u8; TAG_LEN]>::try_from(tag.as_ref()).map_err(|_| CryptoError)
    }

    #[inline]
    fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        additional_data: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(additional_data), Tag::from(*tag), in_out, 0..)
            .map(|_| ())
            .map_err(|_| CryptoError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_each_group_agree() {
        for group in [NamedGroup::X25519, NamedGroup::SECP256R1, NamedGroup::SECP384R1] {
            let (a, b) = (RING.key_exchange(group).unwrap(), RING.key_exchange(group).unwrap());
            let (to_a, to_b) = (b.public_key().to_vec(), a.public_key().to_vec());
            assert_eq!(a.agree(&to_a).unwrap()[..], b.agree(&to_b).unwrap()[..]);
        }
        assert!(!RING.has_group(NamedGroup(25)) && RING.key_exchange(NamedGroup(25)).is_err());
    }

    #[test]
    fn invalid_public_values_are_refused() {
        for (group, size) in [(NamedGroup::SECP256R1, 32), (NamedGroup::SECP384R1, 48)] {
            let point = RING.key_exchange(group).unwrap().public_key().to_vec();
            let mut off_curve = point.clone();
            off_curve[size] ^= 1;
            let mut compressed = point[..=size].to_vec();
            compressed[0] = 2 + (point[2 * size] & 1);
            let mut hybrid = point.clone();
            hybrid[0] = 6 + (point[2 * size] & 1);
            let zeros = [&[4][..], &vec![0; 2 * size]].concat();
            let all_ones = [&[4][..], &vec![0xff; 2 * size]].concat();
            let cut = &point[..2 * size];
            for bad in [&off_curve, &compressed, &hybrid, &zeros, &all_ones, cut, &[0], &[]] {
                assert!(RING.key_exchange(group).unwrap().agree(bad).is_err(), "{bad:?}");
            }
        }
        // Values of small order give zero (RFC 7748 §6.1).
        let mut one = [0; 32];
        one[0] = 1;
        for bad in [&[0u8; 32][..], &one, &[1; 31], &[1; 33], &[]] {
            assert!(RING.key_exchange(NamedGroup::X25519).unwrap().agree(bad).is_err(), "{bad:?}");
        }
    }
}
