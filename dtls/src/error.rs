//! Three kinds of error: the connection is dead ([`Error`]), the caller's call was wrong ([`SealError`]), an
//! identity could not be made or read ([`CertificateError`], [`FingerprintError`]). What a peer sends and we drop
//! is none of these; it is counted in [`Stats`](crate::Stats).

use crate::alert::AlertDescription;
use crate::fingerprint::Fingerprint;
use crate::types::{ExtensionType, HandshakeType, ProtocolVersion};
use std::fmt;

/// Why a connection is dead. Always fatal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's certificate is not the one its description promised (RFC 8122 §5).
    #[error("the peer's certificate has the fingerprint {got}, but its description promised {}", List(.expected))]
    FingerprintMismatch {
        /// The fingerprints that we were given for the decisive hash.
        expected: Vec<Fingerprint>,
        /// What the certificate has.
        got: Fingerprint,
    },
    /// The peer's description had no fingerprint with a hash that we trust (SHA-256, SHA-384, SHA-512).
    #[error("the peer's description has no fingerprint that could be checked")]
    NoFingerprint,
    /// A handshake message could not be parsed.
    #[error("the peer's {message} message is malformed")]
    Decode {
        /// Which message.
        message: HandshakeType,
    },
    /// A handshake message out of its turn, or not under the keys it belongs under.
    #[error("the peer sent a {got} message out of turn")]
    UnexpectedMessage {
        /// Which message.
        got: HandshakeType,
    },
    /// Two fragments of one handshake message disagree about its type or length.
    #[error("the peer sent fragments that contradict each other")]
    FragmentMismatch,
    /// A handshake message says it is larger than we accept.
    #[error("the peer announced a handshake message of {length} bytes")]
    MessageTooLarge {
        /// The announced length in bytes.
        length: usize,
    },
    /// No common parameters.
    #[error("nothing in common with the peer: {0}")]
    HandshakeFailure(&'static str),
    /// The peer does not speak DTLS 1.2.
    #[error("the peer wants the protocol version {0}")]
    ProtocolVersion(ProtocolVersion),
    /// A field of a message is out of range or was not offered.
    #[error("the peer sent a bad parameter: {0}")]
    IllegalParameter(&'static str),
    /// The server answered an extension that we had not sent.
    #[error("the peer answered the extension {0}, which was not offered")]
    UnsupportedExtension(ExtensionType),
    /// The peer showed no certificate.
    #[error("the peer showed no certificate")]
    CertificateMissing,
    /// The certificate cannot be read, or its key is of a kind we don't take.
    #[error("the peer's certificate cannot be used")]
    BadCertificate,
    /// The peer did not prove that it owns the certificate's key.
    #[error("the peer's signature does not verify")]
    BadSignature,
    /// The peer's key for the key exchange is not valid on its curve.
    #[error("the peer's key exchange value is not valid")]
    KeyExchange,
    /// The peer's Finished does not match the handshake that we saw.
    #[error("the peer's Finished message does not verify")]
    BadFinished,
    /// The peer gave up.
    #[error("the peer ended the handshake or session with the alert {0}")]
    PeerAlert(AlertDescription),
    /// No answer within the limits of [`Config`](crate::Config).
    #[error("the DTLS handshake timed out")]
    HandshakeTimeout,
    /// 2^36 records failed authentication (RFC 9147 §4.5.3).
    #[error("too many records failed authentication")]
    TooManyForgeries,
    /// The cryptographic library failed; the peer has no part in it.
    #[error("a cryptographic operation failed")]
    Crypto,
}

impl Error {
    /// The alert that tells the peer, if there is any to send (RFC 5246 §7.2.2).
    pub fn alert(&self) -> Option<AlertDescription> {
        Some(match self {
            Self::FingerprintMismatch { .. } | Self::NoFingerprint => AlertDescription::BAD_CERTIFICATE,
            Self::Decode { .. } => AlertDescription::DECODE_ERROR,
            Self::UnexpectedMessage { .. } => AlertDescription::UNEXPECTED_MESSAGE,
            Self::FragmentMismatch
            | Self::MessageTooLarge { .. }
            | Self::IllegalParameter(_)
            | Self::KeyExchange => AlertDescription::ILLEGAL_PARAMETER,
            Self::HandshakeFailure(_) | Self::CertificateMissing => AlertDescription::HANDSHAKE_FAILURE,
            Self::ProtocolVersion(_) => AlertDescription::PROTOCOL_VERSION,
            Self::UnsupportedExtension(_) => AlertDescription::UNSUPPORTED_EXTENSION,
            Self::BadCertificate => AlertDescription::BAD_CERTIFICATE,
            Self::BadSignature | Self::BadFinished => AlertDescription::DECRYPT_ERROR,
            Self::TooManyForgeries => AlertDescription::BAD_RECORD_MAC,
            Self::Crypto => AlertDescription::INTERNAL_ERROR,
            Self::PeerAlert(_) => return None,
            Self::HandshakeTimeout => return None,
        })
    }
}

struct List<'a>(&'a [Fingerprint]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fingerprint) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" or ")?;
            }
            write!(f, "{fingerprint}")?;
        }
        Ok(())
    }
}

/// Why [`Connection::seal`](crate::Connection::seal) sealed nothing. The slot is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The handshake is not over.
    #[error("the DTLS handshake is not complete")]
    NotConnected,
    /// The connection was closed or has failed.
    #[error("the DTLS connection is closed")]
    Closed,
    /// The slot does not hold header, plaintext and tag.
    #[error("the slot is too small for header, plaintext and tag")]
    SlotTooSmall,
    /// More plaintext than a record holds: 2^14 bytes (RFC 6347 §4.1).
    #[error("the plaintext does not fit into one record")]
    TooLong,
    /// All 2^48 sequence numbers are used.
    #[error("the record sequence numbers are used up")]
    SequenceExhausted,
    /// The cryptographic library failed.
    #[error("a cryptographic operation failed")]
    Crypto,
}

/// Why there is no [`Certificate`](crate::Certificate).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A new certificate could not be made.
    #[error("a certificate could not be generated: {0}")]
    Generate(String),
    /// The certificate cannot be parsed.
    #[error("the certificate cannot be read")]
    Certificate,
    /// The private key is not an ECDSA P-256 key in PKCS #8.
    #[error("the private key is not a PKCS #8 ECDSA P-256 key")]
    Key,
    /// The private key is not the certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
}

/// Why a text is not a [`Fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Not `hash XX:XX:…`.
    #[error("a fingerprint is a hash name, a space and pairs of hex digits separated by colons")]
    Syntax,
    /// The hash is none of sha-256, sha-384, sha-512. MD5 and SHA-1 are among the unknown on purpose.
    #[error("the fingerprint's hash is not sha-256, sha-384 or sha-512")]
    UnknownHash,
    /// The digest's length is not the hash's.
    #[error("the fingerprint's length does not fit its hash")]
    Length,
}
