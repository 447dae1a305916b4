//! The runner's names for errors, between colons.

use sinnet_dtls::{AlertDescription, Error, HandshakeType};
use std::borrow::Cow;

pub(crate) fn token(error: &Error) -> Cow<'static, str> {
    Cow::Borrowed(match error {
        Error::FingerprintMismatch { .. } | Error::NoFingerprint | Error::CertificateRefused(_) => {
            ":CERTIFICATE_VERIFY_FAILED:"
        }
        Error::Decode { message: HandshakeType::CLIENT_HELLO } => ":CLIENTHELLO_PARSE_FAILED:",
        Error::Decode { .. } => ":DECODE_ERROR:",
        Error::UnexpectedMessage { .. } => ":UNEXPECTED_MESSAGE:",
        Error::UnexpectedRecord { .. } => ":UNEXPECTED_RECORD:",
        Error::BadHandshakeRecord => ":BAD_HANDSHAKE_RECORD:",
        Error::BadAlert => ":BAD_ALERT:",
        Error::UnknownAlertLevel(_) => ":UNKNOWN_ALERT_TYPE:",
        Error::BadChangeCipherSpec => ":BAD_CHANGE_CIPHER_SPEC:",
        Error::ExcessHandshakeData => ":EXCESS_HANDSHAKE_DATA:",
        Error::RecordOverflow => ":DATA_LENGTH_TOO_LONG:",
        Error::FragmentMismatch => ":FRAGMENT_MISMATCH:",
        Error::MessageTooLarge { .. } => ":EXCESSIVE_MESSAGE_SIZE:",
        Error::NoCommonCipherSuite => ":NO_SHARED_CIPHER:",
        Error::NoCommonGroup => ":NO_SHARED_GROUP:",
        Error::NoCommonSignatureScheme => ":NO_COMMON_SIGNATURE_ALGORITHMS:",
        Error::NoExtendedMasterSecret => ":NO_EXTENDED_MASTER_SECRET:",
        Error::RenegotiationInfo => ":RENEGOTIATION_MISMATCH:",
        Error::ProtocolVersion(_) => ":UNSUPPORTED_PROTOCOL:",
        Error::CipherSuiteNotOffered(suite) if suite.name().is_some() => ":WRONG_CIPHER_RETURNED:",
        Error::CipherSuiteNotOffered(_) => ":UNKNOWN_CIPHER_RETURNED:",
        Error::GroupNotOffered(_) => ":WRONG_CURVE:",
        Error::SignatureSchemeNotOffered(_) => ":WRONG_SIGNATURE_TYPE:",
        Error::IllegalParameter(what) if what.contains("SRTP") => ":BAD_SRTP_PROTECTION_PROFILE_LIST:",
        Error::IllegalParameter("compression") => ":UNSUPPORTED_COMPRESSION_ALGORITHM:",
        Error::IllegalParameter("no null compression") => ":INVALID_COMPRESSION_LIST:",
        Error::IllegalParameter(_) => ":ERROR_PARSING_EXTENSION:",
        Error::UnsupportedExtension(_) => ":UNEXPECTED_EXTENSION:",
        Error::CertificateMissing => ":PEER_DID_NOT_RETURN_A_CERTIFICATE:",
        Error::BadCertificate => ":CANNOT_PARSE_LEAF_CERT:",
        Error::UnsupportedCertificate => ":UNKNOWN_CERTIFICATE_TYPE:",
        Error::CertificateKeyUsage => ":KEY_USAGE_BIT_INCORRECT:",
        Error::WrongCertificateType => ":WRONG_CERTIFICATE_TYPE:",
        Error::BadSignature => ":BAD_SIGNATURE:",
        Error::KeyExchange => ":BAD_ECPOINT:",
        Error::BadFinished => ":DIGEST_CHECK_FAILED:",
        Error::HandshakeTimeout => ":READ_TIMEOUT_EXPIRED:",
        Error::OwnCertificateMissing => ":NO_CERTIFICATE_SET:",
        Error::PeerAlert(alert) => return Cow::Owned(alert_token(*alert)),
        _ => ":INTERNAL_ERROR:",
    })
}

/// Alerts that came with SSL 3.0 have its name in front, later ones TLS 1.0's.
fn alert_token(alert: AlertDescription) -> String {
    let since = match alert.0 {
        0..=20 | 30 | 40..=47 => "SSLV3",
        _ => "TLSV1",
    };
    match alert.name() {
        Some(name) => format!(":{since}_ALERT_{name}:"),
        None => format!(":{since}_ALERT_{}:", alert.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinnet_dtls::CipherSuite;

    #[test]
    fn alerts_of_the_peer_are_named_with_the_version_that_brought_them() {
        let named = |alert| token(&Error::PeerAlert(alert)).into_owned();
        assert_eq!(named(AlertDescription::RECORD_OVERFLOW), ":TLSV1_ALERT_RECORD_OVERFLOW:");
        assert_eq!(named(AlertDescription::HANDSHAKE_FAILURE), ":SSLV3_ALERT_HANDSHAKE_FAILURE:");
        assert_eq!(named(AlertDescription(200)), ":TLSV1_ALERT_200:");
    }

    #[test]
    fn a_suite_that_nobody_knows_has_another_name_than_one_not_offered() {
        let known = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        assert_eq!(token(&Error::CipherSuiteNotOffered(known)), ":WRONG_CIPHER_RETURNED:");
        assert_eq!(token(&Error::CipherSuiteNotOffered(CipherSuite(0x1301))), ":UNKNOWN_CIPHER_RETURNED:");
    }
}
