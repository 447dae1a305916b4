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
//!                                          (* if requested, CertificateVerify if we have a certificate)
//!
//!  State                      message                    next
//!  ServerHello                HelloVerifyRequest, once   ServerHello
//!  ServerHello                ServerHello                Certificate
//!  Certificate                Certificate                ServerKeyExchange
//!  ServerKeyExchange          ServerKeyExchange          RequestOrDone
//!  RequestOrDone              CertificateRequest         Done
//!  RequestOrDone, Done        ServerHelloDone            Finished
//!  Finished                   Finished                   Connected
//!  any but Connected          HelloRequest               the same (RFC 5246 §7.4.1.1)
//! ```
//! Anything else is fatal.

use super::accept::{Accepted, offer, suites};
use super::keys::{Randoms, Secrets};
use super::{
    accept_certificate, check_epoch, decode_error, send_certificate, send_finished, sign, signing_scheme,
    verify,
};
use crate::config::Role;
use crate::error::Error;
use crate::event::Negotiated;
use crate::handshake::certificate_request::CertificateRequest;
use crate::handshake::certificate_verify::CertificateVerify;
use crate::handshake::client_hello::ClientHello;
use crate::handshake::hello_verify_request::HelloVerifyRequest;
use crate::handshake::server_hello::ServerHello;
use crate::handshake::server_key_exchange::{ServerKeyExchange, signed_content};
use crate::handshake::{
    Message, certificate, certificate_request, certificate_verify, client_hello, client_key_exchange,
    hello_verify_request, server_hello, server_key_exchange,
};
use crate::key::PublicKey;
use crate::session::Session;
use crate::types::{HandshakeType, NamedGroup, ProtocolVersion, SignatureScheme};
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

/// The server's signed half of the key exchange.
struct ServerKey {
    group: NamedGroup,
    public_key: Vec<u8>,
    scheme: SignatureScheme,
}

/// How to answer a CertificateRequest.
#[derive(Clone, Copy)]
enum Answer {
    NotAsked,
    NoCertificate,
    SignWith(SignatureScheme),
}

pub(crate) struct Client {
    state: State,
    randoms: Randoms,
    verify_request_seen: bool,
    accepted: Option<Accepted>,
    /// Of the server's certificate.
    certified: Option<PublicKey>,
    server_key: Option<ServerKey>,
    answer: Answer,
    secrets: Option<Secrets>,
}

impl Client {
    /// Starts with flight 1.
    pub(crate) fn start(session: &mut Session, now: Instant, seed: &[u8; 32]) -> Result<Self, Error> {
        let client = Self {
            state: State::ServerHello,
            randoms: Randoms { client: session.random(seed)?, server: [0; 32] },
            verify_request_seen: false,
            accepted: None,
            certified: None,
            server_key: None,
            answer: Answer::NotAsked,
            secrets: None,
        };
        client.send_hello(session, &[]);
        session.flight.arm(now, true);
        Ok(client)
    }

    fn send_hello(&self, session: &mut Session, cookie: &[u8]) {
        let hello = ClientHello {
            client_version: ProtocolVersion::DTLS_1_2,
            random: self.randoms.client,
            session_id: &[],
            cookie,
            cipher_suites: suites(&session.config),
            compression_methods: &[0],
            extensions: offer(&session.config),
        };
        session.send(client_hello::TYPE, hello.to_bytes());
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
            (state, HandshakeType::HELLO_REQUEST) => {
                if !message.body.is_empty() {
                    return Err(decode_error(message.msg_type));
                }
                // Not hashed, and we are negotiating already (RFC 5246 §7.4.1.1).
                session.stats.unexpected += 1;
                state
            }
            (State::ServerHello, hello_verify_request::TYPE) if !self.verify_request_seen => {
                self.handle_hello_verify_request(session, now, message)?;
                State::ServerHello
            }
            (State::ServerHello, server_hello::TYPE) => {
                self.handle_server_hello(session, message)?;
                State::Certificate
            }
            (State::Certificate, certificate::TYPE) => {
                self.handle_certificate(session, message)?;
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
                self.send_flight_5(session, now, message.message_seq)?;
                State::Finished
            }
            (State::Finished, HandshakeType::FINISHED) => {
                let secrets = self.secrets.take().ok_or(Error::Crypto)?;
                secrets.check_finished(session, Role::Server, &message.body)?;
                // Flight 5 has arrived; nobody will ask for it again.
                session.flight.clear();
                session.connected(secrets)?;
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
        session.flight.begin(Some(message.message_seq));
        self.send_hello(session, request.cookie);
        session.flight.arm(now, true);
        Ok(())
    }

    fn handle_server_hello(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let hello = ServerHello::parse(&message.body).ok_or(decode_error(server_hello::TYPE))?;
        self.accepted = Some(Accepted::check(&session.config, &hello)?);
        self.randoms.server = hello.random;
        session.version_agreed = true;
        session.transcript.add(message);
        Ok(())
    }

    fn handle_certificate(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let suite = self.accepted.as_ref().ok_or(Error::Crypto)?.suite;
        let groups = session.config.groups.clone();
        let certified = accept_certificate(session, message, |key| {
            // RFC 8422 §5.3 and §5.1.1: it fits the suite, and we know its curve.
            let known = key.key_type.curve().is_none_or(|curve| groups.contains(&curve));
            let fits = known && suite.authentication.accepts(key.key_type);
            if fits { Ok(()) } else { Err(Error::WrongCertificateType) }
        })?;
        self.certified = Some(certified.ok_or(Error::CertificateMissing)?);
        Ok(())
    }

    fn handle_server_key_exchange(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let exchange =
            ServerKeyExchange::parse(&message.body).ok_or(decode_error(server_key_exchange::TYPE))?;
        let ServerKeyExchange { group, scheme, .. } = exchange;
        if !session.config.groups.contains(&group) || !session.crypto.has_group(group) {
            return Err(Error::GroupNotOffered(group));
        }
        let signed = signed_content(&self.randoms.client, &self.randoms.server, exchange.params);
        let certified = self.certified.as_ref().ok_or(Error::CertificateMissing)?;
        verify(session, certified, scheme, &signed, exchange.signature)?;
        self.server_key = Some(ServerKey { group, public_key: exchange.public_key.to_vec(), scheme });
        session.transcript.add(message);
        Ok(())
    }

    fn handle_certificate_request(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let request =
            CertificateRequest::parse(&message.body).ok_or(decode_error(certificate_request::TYPE))?;
        self.answer = match &session.config.certificate {
            Some(certificate) => {
                let kind = certificate.key_type().client_certificate_type();
                if !request.certificate_types.contains(&kind) {
                    return Err(Error::NoCommonSignatureScheme);
                }
                Answer::SignWith(signing_scheme(&session.config, &request.schemes)?)
            }
            None => Answer::NoCertificate,
        };
        session.transcript.add(message);
        Ok(())
    }

    fn send_flight_5(&mut self, session: &mut Session, now: Instant, answers: u16) -> Result<(), Error> {
        let accepted = self.accepted.take().ok_or(Error::Crypto)?;
        let server = self.server_key.take().ok_or(Error::Crypto)?;
        let exchange = session.crypto.key_exchange(server.group).map_err(|_| Error::Crypto)?;
        let public_key = client_key_exchange::to_bytes(exchange.public_key());
        let premaster = exchange.agree(&server.public_key).map_err(|_| Error::KeyExchange)?;
        session.flight.begin(Some(answers));
        if !matches!(self.answer, Answer::NotAsked) {
            send_certificate(session);
        }
        session.send(client_key_exchange::TYPE, public_key);
        let hash = accepted
            .extended_master_secret
            .then(|| session.transcript.digest(session.crypto, accepted.suite.hash));
        let secrets =
            Secrets::derive(session.crypto, accepted.suite, self.randoms, &premaster, hash.as_deref());
        secrets.install(session)?;
        if let Answer::SignWith(scheme) = self.answer {
            let signature = sign(session, scheme, session.transcript.bytes())?;
            let proof = CertificateVerify { scheme, signature: &signature };
            session.send(certificate_verify::TYPE, proof.to_bytes());
        }
        send_finished(session, &secrets, Role::Client);
        session.flight.arm(now, true);
        session.awaiting_finished = true;
        session.negotiated = Some(Negotiated {
            version: ProtocolVersion::DTLS_1_2,
            suite: accepted.cipher_suite,
            group: server.group,
            peer_signature_scheme: Some(server.scheme),
            extended_master_secret: accepted.extended_master_secret,
            srtp_profile: accepted.srtp_profile,
            alpn: accepted.alpn,
        });
        self.secrets = Some(secrets);
        Ok(())
    }
}
