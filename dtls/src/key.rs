//! Kinds of signature keys, ours and the peer's, and which schemes go with which.

use crate::types::{NamedGroup, SignatureScheme};

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA on NIST P-256: what browsers use unless asked otherwise.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// Ed25519 (RFC 8422 §5.10). Browsers take no such certificate.
    Ed25519,
    /// RSA of 2048 to 8192 bits.
    Rsa,
}

/// Schemes that we accept from a peer, best first.
pub(crate) const ACCEPTED: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_SHA256,
    SignatureScheme::ECDSA_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_RSAE_SHA256,
    SignatureScheme::RSA_PSS_RSAE_SHA384,
    SignatureScheme::RSA_PSS_RSAE_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// `ClientCertificateType.rsa_sign` (RFC 5246 §7.4.4).
pub(crate) const RSA_SIGN: u8 = 1;
/// `ClientCertificateType.ecdsa_sign`, for EdDSA as well (RFC 8422 §5.5).
pub(crate) const ECDSA_SIGN: u8 = 64;

impl KeyType {
    /// Whether such a key may have made a signature of the scheme. The schemes of ECDSA name only the hash: the
    /// curve is the certificate's (RFC 5246 §7.4.1.4.1).
    pub(crate) const fn fits(self, scheme: SignatureScheme) -> bool {
        match scheme {
            SignatureScheme::ECDSA_SHA256 | SignatureScheme::ECDSA_SHA384 => {
                matches!(self, Self::EcdsaP256 | Self::EcdsaP384)
            }
            SignatureScheme::ED25519 => matches!(self, Self::Ed25519),
            SignatureScheme::RSA_PSS_RSAE_SHA256
            | SignatureScheme::RSA_PSS_RSAE_SHA384
            | SignatureScheme::RSA_PSS_RSAE_SHA512
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512 => matches!(self, Self::Rsa),
            _ => false,
        }
    }

    /// Schemes that we sign with, best first.
    pub(crate) const fn signs_with(self) -> &'static [SignatureScheme] {
        match self {
            Self::EcdsaP256 => &[SignatureScheme::ECDSA_SHA256],
            Self::EcdsaP384 => &[SignatureScheme::ECDSA_SHA384],
            Self::Ed25519 => &[SignatureScheme::ED25519],
            Self::Rsa => &[
                SignatureScheme::RSA_PSS_RSAE_SHA256,
                SignatureScheme::RSA_PSS_RSAE_SHA384,
                SignatureScheme::RSA_PSS_RSAE_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
                SignatureScheme::RSA_PKCS1_SHA384,
                SignatureScheme::RSA_PKCS1_SHA512,
            ],
        }
    }

    /// The curve that both ends must know for the certificate to be of use (RFC 8422 §5.1.1).
    pub(crate) const fn curve(self) -> Option<NamedGroup> {
        match self {
            Self::EcdsaP256 => Some(NamedGroup::SECP256R1),
            Self::EcdsaP384 => Some(NamedGroup::SECP384R1),
            Self::Ed25519 | Self::Rsa => None,
        }
    }

    /// The `ClientCertificateType` (RFC 5246 §7.4.4).
    pub(crate) const fn client_certificate_type(self) -> u8 {
        match self {
            Self::Rsa => RSA_SIGN,
            Self::EcdsaP256 | Self::EcdsaP384 | Self::Ed25519 => ECDSA_SIGN,
        }
    }
}

/// A peer's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    pub(crate) key_type: KeyType,
    /// The `subjectPublicKey`: an uncompressed point, 32 bytes of Ed25519, or an `RSAPublicKey`.
    pub(crate) bytes: Vec<u8>,
}
