//! The client of DTLS 1.2 (RFC 6347 §4.2.4, RFC 5246 §7.3).
//!
//! ```text
//!  1  ClientHello                                    ──▶
//!                                                    ◀──  HelloVerifyRequest   2 (maybe)
//!  3  ClientHello with the cookie                    ──▶
//!                                                    ◀──  ServerHello          4
//!                                                         Certificate
//!                                                         ServerKeyExchange
//!                                                         CertificateRequest (maybe)
//!                                                         ServerHelloDone
//!  5  Certificate*                                   ──▶
//!     ClientKeyExchange
//!     CertificateVerify*
//!     ChangeCipherSpec, Finished
//!                                                    ◀──  ChangeCipherSpec     6
//!                                                         Finished
//!                                                    (* if requested)
//!
//!  State                      message                    next
//!  ServerHello                HelloVerifyRequest, once   ServerHello
//!  ServerHello                ServerHello                Certificate
//!  Certificate                Certificate                ServerKeyExchange
//!  ServerKeyExchange          ServerKeyExchange          RequestOrDone
//!  RequestOrDone              CertificateRequest         Done
//!  RequestOrDone, Done        ServerHelloDone            Finished
//!  Finished                   Finished                   Connected
//! ```
//! Anything else is fatal. The peer's ChangeCipherSpec carries nothing: keys follow from the messages.

use super::keys::MasterSecret;
use super::{
    NO_RENEGOTIATED_CONNECTION, POINT_FORMATS, SCHEMES, accept_certificate, check_epoch, decode_error, verify,
};
use crate::config::Role;
use crate::crypto::SuiteParameters;
use crate::error::Error;
use crate::event::Negotiated;
use crate::handshake::certificate_request::{CertificateRequest, ECDSA_SIGN};
use crate::handshake::certificate_verify::CertificateVerify;
use crate::handshake::client_hello::ClientHello;
use crate::handshake::extensions::Extensions;
use crate::handshake::hello_verify_request::HelloVerifyRequest;
use crate::handshake::server_hello::ServerHello;
use crate::handshake::server_key_exchange::{ServerKeyExchange, signed_content};
use crate::handshake::{
    Message, certificate, certificate_request, certificate_verify, client_hello, client_key_exchange,
    hello_verify_request, server_hello, server_key_exchange,
};
use crate::session::Session;
use crate::types::{CipherSuite, ExtensionType, HandshakeType, NamedGroup, ProtocolVersion, SignatureScheme};
use crate::wire::put_vec16;
use std::time::Instant;

/// The awaited message; see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ServerHello,
    Certificate,
    ServerKeyExchange,
    RequestOrDone,
    Done,
    Finished,
    Connected,
}

pub(crate) struct Client {
    state: State,
    client_random: [u8; 32],
    server_random: [u8; 32],
    suite: CipherSuite,
    /// The server's group and public value.
    server_key: Option<(NamedGroup, Vec<u8>)>,
    verify_request_seen: bool,
    certificate_requested: bool,
    master: Option<MasterSecret>,
}

impl Client {
    /// Starts with flight 1.
    pub(crate) fn start(session: &mut Session, now: Instant, seed: &[u8; 32]) -> Result<Self, Error> {
        let client = Self {
            state: State::ServerHello,
            client_random: session.random(seed)?,
            server_random: [0; 32],
            suite: CipherSuite(0),
            server_key: None,
            verify_request_seen: false,
            certificate_requested: false,
            master: None,
        };
        client.send_hello(session, now, &[]);
        Ok(client)
    }

    fn send_hello(&self, session: &mut Session, now: Instant, cookie: &[u8]) {
        let mut groups = Vec::new();
        let list: Vec<u8> = session.config.groups.iter().flat_map(|group| group.0.to_be_bytes()).collect();
        put_vec16(&mut groups, &list);
        let mut schemes = Vec::new();
        let list: Vec<u8> = SCHEMES.iter().flat_map(|scheme| scheme.0.to_be_bytes()).collect();
        put_vec16(&mut schemes, &list);
        let mut extensions = Extensions::default();
        extensions.push(ExtensionType::SUPPORTED_GROUPS, &groups);
        extensions.push(ExtensionType::EC_POINT_FORMATS, &POINT_FORMATS);
        extensions.push(ExtensionType::SIGNATURE_ALGORITHMS, &schemes);
        extensions.push(ExtensionType::EXTENDED_MASTER_SECRET, &[]);
        extensions.push(ExtensionType::RENEGOTIATION_INFO, &NO_RENEGOTIATED_CONNECTION);
        let hello = ClientHello {
            client_version: ProtocolVersion::DTLS_1_2,
            random: self.client_random,
            session_id: &[],
            cookie,
            cipher_suites: session.config.suites.clone(),
            compression_methods: &[0],
            extensions,
        };
        let body = hello.to_bytes();
        session.flight.clear();
        session.send(client_hello::TYPE, body);
        session.flight.arm(now, true);
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
            (State::ServerHello, hello_verify_request::TYPE) if !self.verify_request_seen => {
                self.handle_hello_verify_request(session, now, message)?;
                State::ServerHello
            }
            (State::ServerHello, server_hello::TYPE) => {
                self.handle_server_hello(session, message)?;
                State::Certificate
            }
            (State::Certificate, certificate::TYPE) => {
                accept_certificate(session, message)?;
                State::ServerKeyExchange
            }
            (State::ServerKeyExchange, server_key_exchange::TYPE) => {
                self.handle_server_key_exchange(session, message)?;
                State::RequestOrDone
            }
            (State::RequestOrDone, certificate_request::TYPE) => {
                self.handle_certificate_request(session, message)?;
                State::Done
            }
            (State::RequestOrDone | State::Done, HandshakeType::SERVER_HELLO_DONE) => {
                if !message.body.is_empty() {
                    return Err(decode_error(message.msg_type));
                }
                session.transcript.add(message);
                self.send_flight_5(session, now)?;
                State::Finished
            }
            (State::Finished, HandshakeType::FINISHED) => {
                let master = self.master.take().ok_or(Error::Crypto)?;
                master.check_finished(session, Role::Server, &message.body)?;
                // Flight 5 has arrived; nobody will ask for it again.
                session.flight.clear();
                session.connected();
                State::Connected
            }
            (_, got) => return Err(Error::UnexpectedMessage { got }),
        };
        self.state = next;
        Ok(())
    }

    /// RFC 6347 §4.2.1: the same hello with the cookie; neither the first nor this one is hashed (§4.2.6).
    fn handle_hello_verify_request(
        &mut self,
        session: &mut Session,
        now: Instant,
        message: &Message,
    ) -> Result<(), Error> {
        let request =
            HelloVerifyRequest::parse(&message.body).ok_or(decode_error(hello_verify_request::TYPE))?;
        self.verify_request_seen = true;
        session.transcript.clear();
        self.send_hello(session, now, request.cookie);
        Ok(())
    }

    fn handle_server_hello(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let hello = ServerHello::parse(&message.body).ok_or(decode_error(server_hello::TYPE))?;
        if hello.server_version != ProtocolVersion::DTLS_1_2 {
            return Err(Error::ProtocolVersion(hello.server_version));
        }
        session.version_agreed = true;
        if !session.config.suites.contains(&hello.cipher_suite)
            || SuiteParameters::of(hello.cipher_suite).is_none()
        {
            return Err(Error::IllegalParameter("a cipher suite that was not offered"));
        }
        if hello.compression_method != 0 {
            return Err(Error::IllegalParameter("compression"));
        }
        check_server_extensions(&hello.extensions)?;
        // The random's last bytes may say "DOWNGRD" (RFC 8446 §4.1.3): a server that speaks 1.3 says so to every
        // client of 1.2, and 1.2 is all we offered.
        self.server_random = hello.random;
        self.suite = hello.cipher_suite;
        session.transcript.add(message);
        Ok(())
    }

    fn handle_server_key_exchange(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let exchange =
            ServerKeyExchange::parse(&message.body).ok_or(decode_error(server_key_exchange::TYPE))?;
        if !session.config.groups.contains(&exchange.group) {
            return Err(Error::IllegalParameter("a group that was not offered"));
        }
        let signed = signed_content(&self.client_random, &self.server_random, exchange.params);
        verify(session, exchange.scheme, &signed, exchange.signature)?;
        self.server_key = Some((exchange.group, exchange.public_key.to_vec()));
        session.transcript.add(message);
        Ok(())
    }

    fn handle_certificate_request(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let request =
            CertificateRequest::parse(&message.body).ok_or(decode_error(certificate_request::TYPE))?;
        if !request.certificate_types.contains(&ECDSA_SIGN)
            || !request.schemes.contains(&SignatureScheme::ECDSA_SHA256)
        {
            return Err(Error::HandshakeFailure("the server takes no ECDSA certificate with SHA-256"));
        }
        self.certificate_requested = true;
        session.transcript.add(message);
        Ok(())
    }

    fn send_flight_5(&mut self, session: &mut Session, now: Instant) -> Result<(), Error> {
        let (group, server_key) = self.server_key.take().ok_or(Error::Crypto)?;
        let exchange = session.crypto.key_exchange(group).map_err(|_| Error::Crypto)?;
        let public_key = client_key_exchange::to_bytes(exchange.public_key());
        let premaster = exchange.agree(&server_key).map_err(|_| Error::KeyExchange)?;
        session.flight.clear();
        if self.certificate_requested {
            let chain = certificate::to_bytes(&[session.config.certificate.der()]);
            session.send(certificate::TYPE, chain);
        }
        session.send(client_key_exchange::TYPE, public_key);
        let master = MasterSecret::extended(session.crypto, &premaster, session.transcript.bytes());
        master.install(session, self.suite, &self.client_random, &self.server_random)?;
        if self.certificate_requested {
            let signature =
                session.config.certificate.sign(session.transcript.bytes()).ok_or(Error::Crypto)?;
            let proof = CertificateVerify { scheme: SignatureScheme::ECDSA_SHA256, signature: &signature };
            session.send(certificate_verify::TYPE, proof.to_bytes());
        }
        session.send_change_cipher_spec();
        let finished = master.verify_data(session.crypto, Role::Client, session.transcript.bytes());
        session.send(HandshakeType::FINISHED, finished.to_vec());
        session.flight.arm(now, true);
        session.negotiated =
            Some(Negotiated { version: ProtocolVersion::DTLS_1_2, suite: self.suite, group });
        self.master = Some(master);
        Ok(())
    }
}

fn check_server_extensions(extensions: &Extensions<'_>) -> Result<(), Error> {
    for kind in extensions.kinds() {
        match kind {
            ExtensionType::SUPPORTED_GROUPS
            | ExtensionType::EC_POINT_FORMATS
            | ExtensionType::SIGNATURE_ALGORITHMS
            | ExtensionType::EXTENDED_MASTER_SECRET
            | ExtensionType::RENEGOTIATION_INFO => {}
            other => return Err(Error::UnsupportedExtension(other)),
        }
    }
    // RFC 7627 §5.2; without it sessions could be swapped under our feet (RFC 8844).
    match extensions.get(ExtensionType::EXTENDED_MASTER_SECRET) {
        Some([]) => {}
        Some(_) => return Err(decode_error(server_hello::TYPE)),
        None => return Err(Error::HandshakeFailure("the server has no extended master secret")),
    }
    // RFC 5746 §3.4; its absence is a server that never renegotiates or does so unsafely: we never do.
    if extensions
        .get(ExtensionType::RENEGOTIATION_INFO)
        .is_some_and(|info| info != NO_RENEGOTIATED_CONNECTION)
    {
        return Err(Error::HandshakeFailure("a first handshake that claims to be a renegotiation"));
    }
    // RFC 8422 §5.2.
    if extensions.get(ExtensionType::EC_POINT_FORMATS).is_some_and(|formats| !uncompressed(formats)) {
        return Err(Error::IllegalParameter("no uncompressed point format"));
    }
    Ok(())
}

/// Whether an `ec_point_formats` body lists the uncompressed format.
pub(crate) fn uncompressed(body: &[u8]) -> bool {
    matches!(body.split_first(), Some((&len, formats)) if usize::from(len) == formats.len() && formats.contains(&0))
}
