//! Three kinds of error: the connection is dead ([`Error`]), the caller's call was wrong ([`SealError`]), an
//! identity could not be made or read ([`CertificateError`], [`FingerprintError`]). What a peer sends and we drop
//! is none of these; it is counted in [`Stats`](crate::Stats).

use crate::alert::AlertDescription;
use crate::fingerprint::Fingerprint;
use crate::types::{CipherSuite, ExtensionType, HandshakeType, NamedGroup, ProtocolVersion, SignatureScheme};
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
    /// [`Config::certificate_check`](crate::Config::certificate_check) refused the peer's certificate.
    #[error("the peer's certificate was refused with the alert {0}")]
    CertificateRefused(AlertDescription),
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
    /// A record of a type that has no place where it came.
    #[error("the peer sent a record of type {content_type} out of turn")]
    UnexpectedRecord {
        /// Its content type (RFC 6347 §4.1).
        content_type: u8,
    },
    /// A record of handshake fragments with a broken header, or with bytes behind them.
    #[error("the peer sent a record of broken handshake fragments")]
    BadHandshakeRecord,
    /// An alert that is not two bytes.
    #[error("the peer sent a malformed alert")]
    BadAlert,
    /// An alert that is neither warning nor fatal.
    #[error("the peer sent an alert of the unknown level {0}")]
    UnknownAlertLevel(u8),
    /// A ChangeCipherSpec that is not the one byte 1.
    #[error("the peer's ChangeCipherSpec is malformed")]
    BadChangeCipherSpec,
    /// Handshake bytes behind the last message that belongs into their epoch: in the old one behind what
    /// ChangeCipherSpec ends, in the new one behind Finished.
    #[error("the peer sent handshake bytes behind the last message of their epoch")]
    ExcessHandshakeData,
    /// A genuine record with more than 2^14 bytes (RFC 6347 §4.1).
    #[error("the peer sealed more than 16 KiB into one record")]
    RecordOverflow,
    /// Two fragments of one handshake message disagree about its type or length.
    #[error("the peer sent fragments that contradict each other")]
    FragmentMismatch,
    /// A handshake message says it is larger than we accept.
    #[error("the peer announced a handshake message of {length} bytes")]
    MessageTooLarge {
        /// The announced length in bytes.
        length: usize,
    },
    /// The client offered none of our suites, or none that our certificate's key fits.
    #[error("no cipher suite in common with the peer")]
    NoCommonCipherSuite,
    /// The client offered none of our groups.
    #[error("no key exchange group in common with the peer")]
    NoCommonGroup,
    /// The peer accepts no signature that our key can make.
    #[error("the peer accepts no signature scheme or certificate type of our key")]
    NoCommonSignatureScheme,
    /// The client offered application protocols, and none of ours (RFC 7301 §3.2).
    #[error("no application protocol in common with the peer")]
    NoCommonApplicationProtocol,
    /// The peer doesn't know the extended master secret (RFC 7627 §5.2, §5.3).
    #[error("the peer has no extended master secret")]
    NoExtendedMasterSecret,
    /// A first handshake that claims to be a renegotiation (RFC 5746 §3.4, §3.6).
    #[error("the peer takes a first handshake for a renegotiation")]
    RenegotiationInfo,
    /// The peer does not speak DTLS 1.2.
    #[error("the peer wants the protocol version {0}")]
    ProtocolVersion(ProtocolVersion),
    /// The server chose a suite that we had not offered.
    #[error("the peer chose the cipher suite {0}, which was not offered")]
    CipherSuiteNotOffered(CipherSuite),
    /// The server chose a group that we had not offered.
    #[error("the peer chose the group {0}, which was not offered")]
    GroupNotOffered(NamedGroup),
    /// The peer signed with a scheme that we had not offered, or that its certificate's key cannot have made.
    #[error("the peer signed with {0}, which was not offered or is not for its key")]
    SignatureSchemeNotOffered(SignatureScheme),
    /// A field of a message is out of range or was not offered.
    #[error("the peer sent a bad parameter: {0}")]
    IllegalParameter(&'static str),
    /// The server answered an extension that we had not sent.
    #[error("the peer answered the extension {0}, which was not offered")]
    UnsupportedExtension(ExtensionType),
    /// The peer showed no certificate.
    #[error("the peer showed no certificate")]
    CertificateMissing,
    /// The certificate cannot be read.
    #[error("the peer's certificate cannot be read")]
    BadCertificate,
    /// The certificate's key is of a kind or size that we don't take.
    #[error("the peer's certificate has a key of an unsupported kind")]
    UnsupportedCertificate,
    /// The certificate's key is not for signatures.
    #[error("the peer's certificate is not for signatures")]
    CertificateKeyUsage,
    /// The certificate's key doesn't fit the suite, or is on a curve that was not offered (RFC 8422 §5.1.1).
    #[error("the peer's certificate does not fit the cipher suite or the groups offered")]
    WrongCertificateType,
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
    /// Our key or our record numbers are used up: see [`SealError::KeyExhausted`] and [`SealError::SequenceExhausted`].
    /// The peer is told close_notify.
    #[error("the session has sealed as much as it safely may")]
    KeyExhausted,
    /// [`Connection::abort`](crate::Connection::abort) was called.
    #[error("ended by the application with the alert {0}")]
    Aborted(AlertDescription),
    /// A server needs a certificate to show.
    #[error("a server needs a certificate")]
    OwnCertificateMissing,
    /// The cryptographic library failed; the peer has no part in it.
    #[error("a cryptographic operation failed")]
    Crypto,
}

/// Whose doing an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke the protocol, or somebody who can put datagrams on the path did.
    Peer,
    /// Both ends are right, and have nothing in common.
    Mismatch,
    /// The peer is not who the signalling channel said, or that said nothing usable.
    Identity,
    /// Nothing came back.
    Path,
    /// The peer ended it, for its own reasons.
    Remote,
    /// This end: its application, its settings, its system.
    Local,
}

impl Error {
    /// The alert that tells the peer, if there is any to send (RFC 5246 §7.2.2).
    pub fn alert(&self) -> Option<AlertDescription> {
        Some(match self {
            Self::FingerprintMismatch { .. } | Self::NoFingerprint => AlertDescription::BAD_CERTIFICATE,
            Self::CertificateRefused(alert) | Self::Aborted(alert) => *alert,
            Self::Decode { .. } | Self::BadHandshakeRecord | Self::BadAlert | Self::BadCertificate => {
                AlertDescription::DECODE_ERROR
            }
            Self::UnexpectedMessage { .. } | Self::UnexpectedRecord { .. } | Self::ExcessHandshakeData => {
                AlertDescription::UNEXPECTED_MESSAGE
            }
            Self::UnknownAlertLevel(_)
            | Self::BadChangeCipherSpec
            | Self::FragmentMismatch
            | Self::MessageTooLarge { .. }
            | Self::CipherSuiteNotOffered(_)
            | Self::GroupNotOffered(_)
            | Self::SignatureSchemeNotOffered(_)
            | Self::IllegalParameter(_)
            | Self::CertificateKeyUsage
            | Self::WrongCertificateType
            | Self::KeyExchange => AlertDescription::ILLEGAL_PARAMETER,
            Self::RecordOverflow => AlertDescription::RECORD_OVERFLOW,
            Self::NoCommonCipherSuite
            | Self::NoCommonGroup
            | Self::NoCommonSignatureScheme
            | Self::NoExtendedMasterSecret
            | Self::RenegotiationInfo
            | Self::CertificateMissing => AlertDescription::HANDSHAKE_FAILURE,
            Self::NoCommonApplicationProtocol => AlertDescription::NO_APPLICATION_PROTOCOL,
            Self::ProtocolVersion(_) => AlertDescription::PROTOCOL_VERSION,
            Self::UnsupportedExtension(_) => AlertDescription::UNSUPPORTED_EXTENSION,
            Self::UnsupportedCertificate => AlertDescription::UNSUPPORTED_CERTIFICATE,
            Self::BadSignature | Self::BadFinished => AlertDescription::DECRYPT_ERROR,
            Self::TooManyForgeries => AlertDescription::BAD_RECORD_MAC,
            Self::OwnCertificateMissing | Self::Crypto => AlertDescription::INTERNAL_ERROR,
            Self::KeyExhausted => AlertDescription::CLOSE_NOTIFY,
            Self::PeerAlert(_) | Self::HandshakeTimeout => return None,
        })
    }

    /// Whose doing it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::FingerprintMismatch { .. } | Self::NoFingerprint | Self::CertificateRefused(_) => {
                Fault::Identity
            }
            Self::NoCommonCipherSuite
            | Self::NoCommonGroup
            | Self::NoCommonSignatureScheme
            | Self::NoCommonApplicationProtocol
            | Self::NoExtendedMasterSecret
            | Self::ProtocolVersion(_)
            | Self::CertificateMissing
            | Self::UnsupportedCertificate
            | Self::MessageTooLarge { .. } => Fault::Mismatch,
            Self::PeerAlert(_) => Fault::Remote,
            Self::HandshakeTimeout => Fault::Path,
            Self::Aborted(_) | Self::KeyExhausted | Self::OwnCertificateMissing | Self::Crypto => {
                Fault::Local
            }
            _ => Fault::Peer,
        }
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
    /// The AES-GCM key has sealed what one key safely may, some 388 GB (RFC 9147 §4.5.3), and DTLS 1.2 cannot change
    /// it: the connection has ended, make a new one. ChaCha20-Poly1305 has no such limit.
    #[error("the key has sealed as much as it safely may")]
    KeyExhausted,
    /// All 2^48 sequence numbers are used; the connection has ended.
    #[error("the record sequence numbers are used up")]
    SequenceExhausted,
    /// The cryptographic library failed.
    #[error("a cryptographic operation failed")]
    Crypto,
}

/// Why [`Connection::export_keying_material`](crate::Connection::export_keying_material) gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The handshake is not over, or the connection has ended and its secrets are gone.
    #[error("the DTLS connection is not established")]
    NotConnected,
    /// The session has no extended master secret, so that its secret may be shared with another (RFC 7627 §5.4).
    #[error("the session has no extended master secret")]
    NoExtendedMasterSecret,
    /// The label is one of TLS's own (RFC 5705 §4).
    #[error("the label is reserved")]
    ReservedLabel,
    /// The context is longer than 65,535 bytes.
    #[error("the context is too long")]
    ContextTooLong,
}

/// Why there is no [`Certificate`](crate::Certificate).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A new certificate could not be made.
    #[error("a certificate could not be generated: {0}")]
    Generate(String),
    /// The certificate cannot be parsed, its key is of an unsupported kind or not for signatures, or there are none
    /// or too many.
    #[error("the certificate cannot be used")]
    Certificate,
    /// The private key is not ECDSA P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits, or not in PKCS #8, PKCS #1 or
    /// SEC 1.
    #[error(
        "the private key cannot be used: it must be ECDSA P-256 or P-384, Ed25519 or RSA of 2048 to 4096 bits; \
         `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW` makes a file that is read"
    )]
    Key,
    /// The private key is encrypted, and nobody is asked for the password.
    #[error(
        "the private key is encrypted; `openssl pkey -in KEY -out NEW` asks for the password and decrypts it"
    )]
    EncryptedKey,
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
