//! The provider on `ring`, with `rustls-webpki` reading certificates.

use super::{Aead, CryptoError, HASH_LEN, KeyExchange, NONCE_LEN, Provider, TAG_LEN, VerifyError};
use crate::types::{CipherSuite, NamedGroup, SignatureScheme};
use ring::aead::{AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::agreement::{
    ECDH_P256, EphemeralPrivateKey, PublicKey, UnparsedPublicKey, X25519, agree_ephemeral,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use zeroize::Zeroizing;

/// The one instance.
pub(crate) static RING: Ring = Ring;

/// `ring` as a [`Provider`].
pub(crate) struct Ring;

impl Provider for Ring {
    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        SystemRandom::new().fill(out).map_err(|_| CryptoError)
    }

    fn hash(&self, data: &[u8]) -> [u8; HASH_LEN] {
        first(ring::digest::digest(&ring::digest::SHA256, data).as_ref())
    }

    fn hmac(&self, key: &[u8], parts: &[&[u8]]) -> [u8; HASH_LEN] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        let mut context = ring::hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        first(context.sign().as_ref())
    }

    fn key_exchange(&self, group: NamedGroup) -> Result<Box<dyn KeyExchange>, CryptoError> {
        let algorithm = match group {
            NamedGroup::SECP256R1 => &ECDH_P256,
            NamedGroup::X25519 => &X25519,
            _ => return Err(CryptoError),
        };
        let private =
            EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).map_err(|_| CryptoError)?;
        let public = private.compute_public_key().map_err(|_| CryptoError)?;
        Ok(Box::new(Ephemeral { private, public }))
    }

    fn aead(&self, suite: CipherSuite, key: &[u8]) -> Result<Box<dyn Aead>, CryptoError> {
        let algorithm = match suite {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => &AES_128_GCM,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => &CHACHA20_POLY1305,
            _ => return Err(CryptoError),
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| CryptoError)?;
        Ok(Box::new(AeadKey(LessSafeKey::new(key))))
    }

    fn verify(
        &self,
        certificate_der: &[u8],
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        // In TLS 1.2 the scheme names the hash only; the curve is the certificate's (RFC 5246 §7.4.1.4.1).
        let algorithms: [&dyn SignatureVerificationAlgorithm; 2] = match scheme {
            SignatureScheme::ECDSA_SHA256 => {
                [webpki::ring::ECDSA_P256_SHA256, webpki::ring::ECDSA_P384_SHA256]
            }
            SignatureScheme::ECDSA_SHA384 => {
                [webpki::ring::ECDSA_P256_SHA384, webpki::ring::ECDSA_P384_SHA384]
            }
            _ => return Err(VerifyError::Signature),
        };
        let der = CertificateDer::from(certificate_der);
        let certificate = webpki::EndEntityCert::try_from(&der).map_err(|_| VerifyError::Certificate)?;
        let mut result = Err(VerifyError::Certificate);
        for algorithm in algorithms {
            match certificate.verify_signature(algorithm, message, signature) {
                Ok(()) => return Ok(()),
                Err(webpki::Error::InvalidSignatureForPublicKey) => result = Err(VerifyError::Signature),
                Err(_) => {}
            }
        }
        result
    }
}

fn first(bytes: &[u8]) -> [u8; HASH_LEN] {
    let mut out = [0; HASH_LEN];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
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
        for group in [NamedGroup::X25519, NamedGroup::SECP256R1] {
            let (a, b) = (RING.key_exchange(group).unwrap(), RING.key_exchange(group).unwrap());
            let (to_a, to_b) = (b.public_key().to_vec(), a.public_key().to_vec());
            assert_eq!(a.agree(&to_a).unwrap()[..], b.agree(&to_b).unwrap()[..]);
        }
    }

    #[test]
    fn invalid_public_values_are_refused() {
        let mut off_curve = [1u8; 65];
        off_curve[0] = 4;
        for bad in [&off_curve[..], &[4; 64], &[2; 33], &[0], &[]] {
            assert!(RING.key_exchange(NamedGroup::SECP256R1).unwrap().agree(bad).is_err());
        }
        for bad in [&[0u8; 32][..], &[1; 31], &[1; 33], &[]] {
            assert!(RING.key_exchange(NamedGroup::X25519).unwrap().agree(bad).is_err(), "{bad:?}");
        }
    }
}
