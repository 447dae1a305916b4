//! What each cipher suite is made of (RFC 5288, 5289, 7905).

use crate::fingerprint::HashAlgorithm;
use crate::key::KeyType;
use crate::types::CipherSuite;

/// An AEAD (RFC 5116).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AeadAlgorithm {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

/// Whose signature authenticates the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// ECDSA or EdDSA (RFC 8422 §5.3).
    Ecdsa,
    Rsa,
}

impl Authentication {
    pub(crate) const fn accepts(self, key: KeyType) -> bool {
        match self {
            Self::Ecdsa => !matches!(key, KeyType::Rsa),
            Self::Rsa => matches!(key, KeyType::Rsa),
        }
    }
}

/// The parts of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) authentication: Authentication,
    pub(crate) aead: AeadAlgorithm,
    /// Of the PRF and of the transcript.
    pub(crate) hash: HashAlgorithm,
}

impl Suite {
    /// `None` for a suite that we don't have.
    pub(crate) const fn of(suite: CipherSuite) -> Option<Self> {
        use AeadAlgorithm::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
        use Authentication::{Ecdsa, Rsa};
        let (authentication, aead) = match suite {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => (Ecdsa, Aes128Gcm),
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => (Ecdsa, Aes256Gcm),
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => (Ecdsa, ChaCha20Poly1305),
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => (Rsa, Aes128Gcm),
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => (Rsa, Aes256Gcm),
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => (Rsa, ChaCha20Poly1305),
            _ => return None,
        };
        let hash = match aead {
            Aes256Gcm => HashAlgorithm::Sha384,
            Aes128Gcm | ChaCha20Poly1305 => HashAlgorithm::Sha256,
        };
        Some(Self { authentication, aead, hash })
    }
}

impl AeadAlgorithm {
    /// Bytes of a key.
    pub(crate) const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Bytes of the implicit part of the nonce.
    pub(crate) const fn iv_len(self) -> usize {
        if self.is_gcm() { 4 } else { 12 }
    }

    /// GCM: the rest of the nonce travels in each record (RFC 5288 §3).
    pub(crate) const fn is_gcm(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes256Gcm)
    }
}

/// All suites, best first. With instructions for AES and carry-less multiplication GCM is several times faster than
/// ChaCha20; without them it is slower, and hard to keep from leaking through the cache.
pub(crate) fn by_preference(aes_in_hardware: bool) -> Vec<CipherSuite> {
    let aes = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    let chacha = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    if aes_in_hardware { [&aes[..], &chacha].concat() } else { [&chacha[..], &aes].concat() }
}

/// Whether this machine has instructions for AES-GCM.
pub(crate) fn aes_in_hardware() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_follows_the_machine_and_has_every_suite_once() {
        let (with, without) = (by_preference(true), by_preference(false));
        assert_eq!(with[0], CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        assert_eq!(without[0], CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
        for mut order in [with, without] {
            assert!(order.iter().all(|suite| Suite::of(*suite).is_some()));
            order.sort_by_key(|suite| suite.0);
            order.dedup();
            assert_eq!(order.len(), 6);
        }
    }

    #[test]
    fn signalling_values_and_strangers_are_no_suites() {
        assert_eq!(Suite::of(CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV), None);
        assert_eq!(Suite::of(CipherSuite(0xc009)), None);
    }
}
