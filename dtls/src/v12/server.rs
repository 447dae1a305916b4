//! The server of DTLS 1.2 (RFC 6347 §4.2.4, RFC 5246 §7.3).
//!
//! ```text
//!     ClientHello                                    ──▶                       1
//!                                                    ◀──  ServerHello          4
//!                                                         Certificate
//!                                                         ServerKeyExchange
//!                                                         CertificateRequest
//!                                                         ServerHelloDone
//!     Certificate                                    ──▶                       5
//!     ClientKeyExchange
//!     CertificateVerify
//!     ChangeCipherSpec, Finished
//!                                                    ◀──  ChangeCipherSpec     6
//!                                                         Finished
//!
//!  State                 message               next
//!  ClientHello           ClientHello           Certificate
//!  Certificate           Certificate           ClientKeyExchange
//!  ClientKeyExchange     ClientKeyExchange     CertificateVerify
//!  CertificateVerify     CertificateVerify     Finished
//!  Finished              Finished              Connected
//! ```
//! Anything else is fatal. There is no HelloVerifyRequest: the caller only hands in datagrams from an address that
//! answered an ICE check, which is the proof that the cookie would give (RFC 6347 §4.2.1). Flight 6 is kept until
//! the connection closes and sent again whenever the client repeats its Finished.

use super::client::uncompressed;
use super::keys::MasterSecret;
use super::{
    NO_RENEGOTIATED_CONNECTION, POINT_FORMATS, SCHEMES, accept_certificate, check_epoch, decode_error, verify,
};
use crate::config::{Config, Role};
use crate::crypto::{KeyExchange, SuiteParameters};
use crate::error::Error;
use crate::event::Negotiated;
use crate::handshake::certificate_request::{CertificateRequest, ECDSA_SIGN};
use crate::handshake::certificate_verify::CertificateVerify;
use crate::handshake::client_hello::ClientHello;
use crate::handshake::extensions::Extensions;
use crate::handshake::server_hello::ServerHello;
use crate::handshake::{
    Message, certificate, certificate_request, certificate_verify, client_hello, client_key_exchange,
    server_hello, server_key_exchange,
};
use crate::session::Session;
use crate::types::{CipherSuite, ExtensionType, HandshakeType, NamedGroup, ProtocolVersion, SignatureScheme};
use crate::wire::{Reader, u16_list};
use std::time::Instant;

/// The awaited message; see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ClientHello,
    Certificate,
    ClientKeyExchange,
    CertificateVerify,
    Finished,
    Connected,
}

pub(crate) struct Server {
    state: State,
    client_random: [u8; 32],
    server_random: [u8; 32],
    suite: CipherSuite,
    exchange: Option<Box<dyn KeyExchange>>,
    master: Option<MasterSecret>,
}

impl Server {
    pub(crate) fn start(session: &Session, seed: &[u8; 32]) -> Result<Self, Error> {
        Ok(Self {
            state: State::ClientHello,
            client_random: [0; 32],
            server_random: session.random(seed)?,
            suite: CipherSuite(0),
            exchange: None,
            master: None,
        })
    }

    /// The next message in order.
    pub(crate) fn handle_message(
        &mut self,
        session: &mut Session,
        now: Instant,
        message: &Message,
    ) -> Result<(), Error> {
        check_epoch(message)?;
        let next = match (self.state, message.msg_type) {
            (State::ClientHello, client_hello::TYPE) => {
                self.handle_client_hello(session, now, message)?;
                State::Certificate
            }
            (State::Certificate, certificate::TYPE) => {
                accept_certificate(session, message)?;
                State::ClientKeyExchange
            }
            (State::ClientKeyExchange, client_key_exchange::TYPE) => {
                self.handle_client_key_exchange(session, message)?;
                State::CertificateVerify
            }
            (State::CertificateVerify, certificate_verify::TYPE) => {
                let proof =
                    CertificateVerify::parse(&message.body).ok_or(decode_error(certificate_verify::TYPE))?;
                verify(session, proof.scheme, session.transcript.bytes(), proof.signature)?;
                session.transcript.add(message);
                State::Finished
            }
            (State::Finished, HandshakeType::FINISHED) => {
                self.handle_finished(session, now, message)?;
                State::Connected
            }
            (_, got) => return Err(Error::UnexpectedMessage { got }),
        };
        self.state = next;
        Ok(())
    }

    fn handle_client_hello(
        &mut self,
        session: &mut Session,
        now: Instant,
        message: &Message,
    ) -> Result<(), Error> {
        let hello = ClientHello::parse(&message.body).ok_or(decode_error(client_hello::TYPE))?;
        let choice = Choice::from(&session.config, &hello)?;
        session.version_agreed = true;
        self.client_random = hello.random;
        self.suite = choice.suite;
        session.transcript.add(message);

        let mut extensions = Extensions::default();
        extensions.push(ExtensionType::EXTENDED_MASTER_SECRET, &[]);
        if choice.renegotiation_info {
            extensions.push(ExtensionType::RENEGOTIATION_INFO, &NO_RENEGOTIATED_CONNECTION);
        }
        if hello.extensions.get(ExtensionType::EC_POINT_FORMATS).is_some() {
            extensions.push(ExtensionType::EC_POINT_FORMATS, &POINT_FORMATS);
        }
        // No session id: nothing is resumed (RFC 5246 §7.4.1.3).
        let answer = ServerHello {
            server_version: ProtocolVersion::DTLS_1_2,
            random: self.server_random,
            session_id: &[],
            cipher_suite: choice.suite,
            compression_method: 0,
            extensions,
        };
        let exchange = session.crypto.key_exchange(choice.group).map_err(|_| Error::Crypto)?;
        let params = server_key_exchange::params(choice.group, exchange.public_key());
        let signed = server_key_exchange::signed_content(&self.client_random, &self.server_random, &params);
        let signature = session.config.certificate.sign(&signed).ok_or(Error::Crypto)?;
        let request = CertificateRequest { certificate_types: &[ECDSA_SIGN], schemes: SCHEMES.to_vec() };

        session.flight.clear();
        session.send(server_hello::TYPE, answer.to_bytes());
        let chain = certificate::to_bytes(&[session.config.certificate.der()]);
        session.send(certificate::TYPE, chain);
        let signed_params = server_key_exchange::to_bytes(&params, SignatureScheme::ECDSA_SHA256, &signature);
        session.send(server_key_exchange::TYPE, signed_params);
        session.send(certificate_request::TYPE, request.to_bytes());
        session.send(HandshakeType::SERVER_HELLO_DONE, Vec::new());
        session.flight.arm(now, true);
        self.exchange = Some(exchange);
        session.negotiated =
            Some(Negotiated { version: ProtocolVersion::DTLS_1_2, suite: choice.suite, group: choice.group });
        Ok(())
    }

    fn handle_client_key_exchange(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let public_key =
            client_key_exchange::parse(&message.body).ok_or(decode_error(client_key_exchange::TYPE))?;
        let exchange = self.exchange.take().ok_or(Error::Crypto)?;
        let premaster = exchange.agree(public_key).map_err(|_| Error::KeyExchange)?;
        session.transcript.add(message);
        let master = MasterSecret::extended(session.crypto, &premaster, session.transcript.bytes());
        master.install(session, self.suite, &self.client_random, &self.server_random)?;
        self.master = Some(master);
        Ok(())
    }

    fn handle_finished(
        &mut self,
        session: &mut Session,
        now: Instant,
        message: &Message,
    ) -> Result<(), Error> {
        let master = self.master.take().ok_or(Error::Crypto)?;
        master.check_finished(session, Role::Client, &message.body)?;
        session.transcript.add(message);
        session.flight.clear();
        session.send_change_cipher_spec();
        let finished = master.verify_data(session.crypto, Role::Server, session.transcript.bytes());
        session.send(HandshakeType::FINISHED, finished.to_vec());
        session.flight.arm(now, false);
        session.connected();
        Ok(())
    }
}

/// What we choose from a ClientHello.
struct Choice {
    suite: CipherSuite,
    group: NamedGroup,
    renegotiation_info: bool,
}

impl Choice {
    fn from(config: &Config, hello: &ClientHello<'_>) -> Result<Self, Error> {
        let malformed = || decode_error(client_hello::TYPE);
        let extension = |kind| hello.extensions.get(kind);
        check_version(hello)?;
        if !hello.compression_methods.contains(&0) {
            return Err(Error::IllegalParameter("no null compression"));
        }
        let suite = config
            .suites
            .iter()
            .copied()
            .find(|suite| hello.cipher_suites.contains(suite) && SuiteParameters::of(*suite).is_some())
            .ok_or(Error::HandshakeFailure("no common cipher suite"))?;

        let offered = match extension(ExtensionType::SUPPORTED_GROUPS) {
            Some(body) => Some(list(body).ok_or_else(malformed)?),
            // RFC 8422 §4: without the extension any group will do.
            None => None,
        };
        let group = config
            .groups
            .iter()
            .copied()
            .find(|group| offered.as_ref().is_none_or(|list| list.contains(&group.0)))
            .ok_or(Error::HandshakeFailure("no common group"))?;
        if extension(ExtensionType::EC_POINT_FORMATS).is_some_and(|formats| !uncompressed(formats)) {
            return Err(Error::IllegalParameter("no uncompressed point format"));
        }

        // RFC 5246 §7.4.1.4.1: absence means SHA-1, which we don't have.
        let schemes = match extension(ExtensionType::SIGNATURE_ALGORITHMS) {
            Some(body) => list(body).ok_or_else(malformed)?,
            None => Vec::new(),
        };
        if !schemes.contains(&SignatureScheme::ECDSA_SHA256.0) {
            return Err(Error::HandshakeFailure("the client takes no ECDSA signature with SHA-256"));
        }

        match extension(ExtensionType::EXTENDED_MASTER_SECRET) {
            Some([]) => {}
            Some(_) => return Err(malformed()),
            None => return Err(Error::HandshakeFailure("the client has no extended master secret")),
        }
        let info = extension(ExtensionType::RENEGOTIATION_INFO);
        if info.is_some_and(|info| info != NO_RENEGOTIATED_CONNECTION) {
            return Err(Error::HandshakeFailure("a first handshake that claims to be a renegotiation"));
        }
        let signalled = hello.cipher_suites.contains(&CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV);
        Ok(Self { suite, group, renegotiation_info: info.is_some() || signalled })
    }
}

/// DTLS versions count downwards. A client of 1.3 says 1.2 in the old field and lists both in the new one
/// (RFC 8446 §4.2.1).
fn check_version(hello: &ClientHello<'_>) -> Result<(), Error> {
    let version = hello.client_version;
    if version.0 >> 8 != 0xfe || version.0 > ProtocolVersion::DTLS_1_2.0 {
        return Err(Error::ProtocolVersion(version));
    }
    if let Some(body) = hello.extensions.get(ExtensionType::SUPPORTED_VERSIONS) {
        let versions = Reader::new(body)
            .vec8()
            .filter(|list| list.len() + 1 == body.len())
            .and_then(u16_list)
            .ok_or(decode_error(client_hello::TYPE))?;
        if !versions.contains(&ProtocolVersion::DTLS_1_2.0) {
            return Err(Error::ProtocolVersion(
                versions.first().map_or(version, |&first| ProtocolVersion(first)),
            ));
        }
    }
    Ok(())
}

/// A 16-bit length and as many bytes of 16-bit values, and nothing behind.
fn list(body: &[u8]) -> Option<Vec<u16>> {
    let mut reader = Reader::new(body);
    let list = reader.vec16()?;
    reader.finish()?;
    u16_list(list)
}
