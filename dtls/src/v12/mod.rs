//! DTLS 1.2: what each role does with the messages, and its keys. Here what both roles do alike.

pub(crate) mod accept;
pub(crate) mod choice;
pub(crate) mod client;
pub(crate) mod keys;
pub(crate) mod server;

use crate::config::{Config, Role};
use crate::error::Error;
use crate::handshake::{Message, certificate};
use crate::key::PublicKey;
use crate::session::Session;
use crate::types::{HandshakeType, SignatureScheme};
use keys::Secrets;

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

/// Takes the peer's certificate: it has to be the promised one, and only then is it read. `usable` judges its key.
/// Whether the peer owns the key shows later. `None` if the peer has no certificate.
pub(crate) fn accept_certificate(
    session: &mut Session,
    message: &Message,
    usable: impl FnOnce(&PublicKey) -> Result<(), Error>,
) -> Result<Option<PublicKey>, Error> {
    let chain = certificate::parse(&message.body).ok_or(decode_error(certificate::TYPE))?;
    session.transcript.add(message);
    let Some(&der) = chain.first() else { return Ok(None) };
    let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    match &session.config.certificate_check {
        Some(check) => check(&chain).map_err(Error::CertificateRefused)?,
        None => crate::fingerprint::verify(&session.remote_fingerprints, der)?,
    }
    let key = crate::peer_certificate::key(der)?;
    usable(&key)?;
    session.peer_chain = chain;
    Ok(Some(key))
}

/// Verifies a signature made with the key of the peer's certificate.
pub(crate) fn verify(
    session: &Session,
    key: &PublicKey,
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    if !session.config.verify_schemes.contains(&scheme) || !key.key_type.fits(scheme) {
        return Err(Error::SignatureSchemeNotOffered(scheme));
    }
    session.crypto.verify(key, scheme, message, signature).map_err(|_| Error::BadSignature)
}

/// The scheme that we sign with: our order, what our key can, what the peer takes.
pub(crate) fn signing_scheme(
    config: &Config,
    peer_takes: &[SignatureScheme],
) -> Result<SignatureScheme, Error> {
    let certificate = config.certificate.as_ref().ok_or(Error::OwnCertificateMissing)?;
    let able = certificate.key_type().signs_with();
    let wanted = config.signing_schemes.as_deref().unwrap_or(able);
    wanted
        .iter()
        .copied()
        .find(|scheme| able.contains(scheme) && peer_takes.contains(scheme))
        .ok_or(Error::NoCommonSignatureScheme)
}

/// A signature with our certificate's key.
pub(crate) fn sign(session: &Session, scheme: SignatureScheme, content: &[u8]) -> Result<Vec<u8>, Error> {
    let certificate = session.config.certificate.as_ref().ok_or(Error::OwnCertificateMissing)?;
    session.crypto.sign(certificate, scheme, content).map_err(|_| Error::Crypto)
}

/// Our Certificate message; empty if we have none.
pub(crate) fn send_certificate(session: &mut Session) {
    let chain = session.config.certificate.as_ref().map_or(&[][..], |certificate| certificate.chain());
    let body = certificate::to_bytes(chain);
    session.send(certificate::TYPE, body);
}

/// Our ChangeCipherSpec and Finished.
pub(crate) fn send_finished(session: &mut Session, secrets: &Secrets, role: Role) {
    session.send_change_cipher_spec();
    let finished = secrets.verify_data(session, role);
    session.send(HandshakeType::FINISHED, finished.to_vec());
}

/// Whether an `ec_point_formats` body lists the uncompressed format.
pub(crate) fn uncompressed(body: &[u8]) -> bool {
    matches!(body.split_first(), Some((&len, formats)) if usize::from(len) == formats.len() && formats.contains(&0))
}
