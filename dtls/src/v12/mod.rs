//! DTLS 1.2: what each role does with the messages, and its keys.

pub(crate) mod client;
pub(crate) mod keys;
pub(crate) mod server;

use crate::error::Error;
use crate::handshake::{Message, certificate};
use crate::session::Session;
use crate::types::{HandshakeType, SignatureScheme};

/// Signatures that we accept and ask for, best first.
pub(crate) const SCHEMES: [SignatureScheme; 2] =
    [SignatureScheme::ECDSA_SHA256, SignatureScheme::ECDSA_SHA384];

/// The uncompressed point format alone, with its length (RFC 8422 §5.1.2).
pub(crate) const POINT_FORMATS: [u8; 2] = [1, 0];

/// An empty `renegotiated_connection` with its length (RFC 5746 §3.2).
pub(crate) const NO_RENEGOTIATED_CONNECTION: [u8; 1] = [0];

/// Every message but Finished travels in epoch 0, and Finished in epoch 1.
pub(crate) fn check_epoch(message: &Message) -> Result<(), Error> {
    let expected = u16::from(message.msg_type == HandshakeType::FINISHED);
    if message.epoch == expected {
        return Ok(());
    }
    Err(Error::UnexpectedMessage { got: message.msg_type })
}

pub(crate) const fn decode_error(message: HandshakeType) -> Error {
    Error::Decode { message }
}

/// Takes the peer's certificate, which has to be the promised one. Whether the peer owns its key shows later.
pub(crate) fn accept_certificate(session: &mut Session, message: &Message) -> Result<(), Error> {
    let chain = certificate::parse(&message.body).ok_or(decode_error(certificate::TYPE))?;
    let der = chain.first().ok_or(Error::CertificateMissing)?;
    crate::fingerprint::verify(&session.remote_fingerprints, der)?;
    session.peer_certificate = Some(der.to_vec());
    session.transcript.add(message);
    Ok(())
}

/// Verifies a signature made with the key of the peer's certificate.
pub(crate) fn verify(
    session: &Session,
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    if !SCHEMES.contains(&scheme) {
        return Err(Error::IllegalParameter("a signature algorithm that was not offered"));
    }
    let certificate = session.peer_certificate.as_deref().ok_or(Error::CertificateMissing)?;
    session.crypto.verify(certificate, scheme, message, signature).map_err(|error| match error {
        crate::crypto::VerifyError::Certificate => Error::BadCertificate,
        crate::crypto::VerifyError::Signature => Error::BadSignature,
    })
}
