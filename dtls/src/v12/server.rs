//! The server of DTLS 1.2 (RFC 6347 §4.2.4, RFC 5246 §7.3).
//!
//! ```text
//!     ClientHello                                    ──▶                       1
//!                                                    ◀──  HelloVerifyRequest   2 (if cookies are required)
//!     ClientHello with the cookie                    ──▶                       3
//!                                                    ◀──  ServerHello          4
//!                                                         Certificate
//!                                                         ServerKeyExchange
//!                                                         CertificateRequest*
//!                                                         ServerHelloDone
//!     Certificate*                                   ──▶                       5
//!     ClientKeyExchange
//!     CertificateVerify*
//!     ChangeCipherSpec, Finished
//!                                                    ◀──  ChangeCipherSpec     6
//!                                                         Finished
//!                                          (* unless the client is not asked; CertificateVerify if it has one)
//!
//!  State                 message               next
//!  ClientHello           ClientHello           Certificate or, if not asked for, ClientKeyExchange
//!                                              (ClientHello after a HelloVerifyRequest)
//!  Certificate           Certificate           ClientKeyExchange
//!  ClientKeyExchange     ClientKeyExchange     CertificateVerify or, without a certificate, Finished
//!  CertificateVerify     CertificateVerify     Finished
//!  Finished              Finished              Connected
//! ```
//! Anything else is fatal. Flight 6 is kept until the connection closes and sent again whenever the client repeats its
//! Finished.

use super::choice::Choice;
use super::keys::{Randoms, Secrets};
use super::{accept_certificate, check_epoch, decode_error, send_certificate, send_finished, sign, verify};
use crate::config::{ClientCertificate, Role};
use crate::crypto::{KeyExchange, equal_in_constant_time};
use crate::error::Error;
use crate::event::Negotiated;
use crate::fingerprint::HashAlgorithm;
use crate::handshake::certificate_request::CertificateRequest;
use crate::handshake::certificate_verify::CertificateVerify;
use crate::handshake::client_hello::ClientHello;
use crate::handshake::hello_verify_request::HelloVerifyRequest;
use crate::handshake::server_hello::ServerHello;
use crate::handshake::{
    Message, certificate, certificate_request, certificate_verify, client_hello, client_key_exchange,
    hello_verify_request, server_hello, server_key_exchange,
};
use crate::key::{ECDSA_SIGN, KeyType, PublicKey, RSA_SIGN};
use crate::session::Session;
use crate::types::{HandshakeType, ProtocolVersion, SignatureScheme};
use std::time::Instant;
use zeroize::Zeroizing;

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
    randoms: Randoms,
    /// What the cookie is made with; `None` if none is asked for.
    cookie_secret: Option<Zeroizing<[u8; 32]>>,
    choice: Option<Choice>,
    exchange: Option<Box<dyn KeyExchange>>,
    /// Of the client's certificate.
    certified: Option<PublicKey>,
    secrets: Option<Secrets>,
}

impl Server {
    pub(crate) fn start(session: &Session, seed: &[u8; 32]) -> Result<Self, Error> {
        if session.config.certificate.is_none() {
            return Err(Error::OwnCertificateMissing);
        }
        let cookie_secret =
            if session.config.require_cookie { Some(Zeroizing::new(session.random(seed)?)) } else { None };
        Ok(Self {
            state: State::ClientHello,
            randoms: Randoms { client: [0; 32], server: session.random(seed)? },
            cookie_secret,
            choice: None,
            exchange: None,
            certified: None,
            secrets: None,
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
            (State::ClientHello, client_hello::TYPE) => self.handle_client_hello(session, now, message)?,
            (State::Certificate, certificate::TYPE) => {
                self.certified = accept_certificate(session, message, |_| Ok(()))?;
                let required = session.config.client_certificate == ClientCertificate::Required;
                if self.certified.is_none() && required {
                    return Err(Error::CertificateMissing);
                }
                State::ClientKeyExchange
            }
            (State::ClientKeyExchange, client_key_exchange::TYPE) => {
                self.handle_client_key_exchange(session, message)?;
                if self.certified.is_some() {
                    State::CertificateVerify
                } else {
                    session.awaiting_finished = true;
                    State::Finished
                }
            }
            (State::CertificateVerify, certificate_verify::TYPE) => {
                self.handle_certificate_verify(session, message)?;
                session.awaiting_finished = true;
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
    ) -> Result<State, Error> {
        let hello = ClientHello::parse(&message.body).ok_or(decode_error(client_hello::TYPE))?;
        if let Some(cookie) = self.cookie_for(session, &hello)
            && !equal_in_constant_time(&cookie, hello.cookie)
        {
            self.send_hello_verify_request(session, now, message.message_seq, &cookie);
            return Ok(State::ClientHello);
        }
        let choice = Choice::from(&session.config, session.crypto, &hello)?;
        session.version_agreed = true;
        self.randoms.client = hello.random;
        session.transcript.add(message);
        self.send_flight_4(session, now, message.message_seq, &choice)?;
        self.choice = Some(choice);
        Ok(match session.config.client_certificate {
            ClientCertificate::NotRequested => State::ClientKeyExchange,
            ClientCertificate::Required | ClientCertificate::Requested => State::Certificate,
        })
    }

    /// RFC 6347 §4.2.1: over everything that the second hello must repeat. The client's address is not in it, as a
    /// connection has one peer and a secret of its own.
    fn cookie_for(&self, session: &Session, hello: &ClientHello<'_>) -> Option<Vec<u8>> {
        let secret = self.cookie_secret.as_ref()?;
        let suites: Vec<u8> = hello.cipher_suites.iter().flat_map(|suite| suite.0.to_be_bytes()).collect();
        let parts: [&[u8]; 7] = [
            &hello.client_version.0.to_be_bytes(),
            &hello.random,
            &[hello.session_id.len() as u8],
            hello.session_id,
            &(suites.len() as u16).to_be_bytes(),
            &suites,
            hello.compression_methods,
        ];
        Some(session.crypto.mac(HashAlgorithm::Sha256, &secret[..]).sign(&parts).to_vec())
    }

    /// Without a timer: the client repeats its hello if this is lost (RFC 6347 §4.2.4).
    fn send_hello_verify_request(&self, session: &mut Session, now: Instant, answers: u16, cookie: &[u8]) {
        // RFC 6347 §4.2.1: the request has the record number of its hello.
        session.plain_sequence = session.plain_sequence.max(session.plain_sequence_read);
        session.flight.begin(Some(answers));
        session.send(hello_verify_request::TYPE, HelloVerifyRequest { cookie }.to_bytes());
        session.flight.arm(now, false);
        // Neither this nor the hello that it answers is hashed (RFC 6347 §4.2.1).
        session.transcript.clear();
    }

    fn send_flight_4(
        &mut self,
        session: &mut Session,
        now: Instant,
        answers: u16,
        choice: &Choice,
    ) -> Result<(), Error> {
        // No session id: nothing is resumed (RFC 5246 §7.4.1.3).
        let answer = ServerHello {
            server_version: ProtocolVersion::DTLS_1_2,
            random: self.randoms.server,
            session_id: &[],
            cipher_suite: choice.cipher_suite,
            compression_method: 0,
            extensions: choice.extensions(),
        };
        let exchange = session.crypto.key_exchange(choice.group).map_err(|_| Error::Crypto)?;
        let params = server_key_exchange::params(choice.group, exchange.public_key());
        let signed = server_key_exchange::signed_content(&self.randoms.client, &self.randoms.server, &params);
        let signature = sign(session, choice.scheme, &signed)?;

        session.flight.begin(Some(answers));
        session.send(server_hello::TYPE, answer.to_bytes());
        send_certificate(session);
        let signed_params = server_key_exchange::to_bytes(&params, choice.scheme, &signature);
        session.send(server_key_exchange::TYPE, signed_params);
        if session.config.client_certificate != ClientCertificate::NotRequested {
            let schemes = session.config.verify_schemes.clone();
            let request =
                CertificateRequest { certificate_types: &certificate_types(&schemes), schemes }.to_bytes();
            session.send(certificate_request::TYPE, request);
        }
        session.send(HandshakeType::SERVER_HELLO_DONE, Vec::new());
        session.flight.arm(now, true);
        self.exchange = Some(exchange);
        Ok(())
    }

    fn handle_client_key_exchange(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let public_key =
            client_key_exchange::parse(&message.body).ok_or(decode_error(client_key_exchange::TYPE))?;
        let exchange = self.exchange.take().ok_or(Error::Crypto)?;
        let choice = self.choice.take().ok_or(Error::Crypto)?;
        let premaster = exchange.agree(public_key).map_err(|_| Error::KeyExchange)?;
        session.transcript.add(message);
        let hash = choice
            .extended_master_secret
            .then(|| session.transcript.digest(session.crypto, choice.suite.hash));
        let secrets =
            Secrets::derive(session.crypto, choice.suite, self.randoms, &premaster, hash.as_deref());
        secrets.install(session)?;
        session.negotiated = Some(Negotiated {
            version: ProtocolVersion::DTLS_1_2,
            suite: choice.cipher_suite,
            group: choice.group,
            peer_signature_scheme: None,
            extended_master_secret: choice.extended_master_secret,
            srtp_profile: choice.srtp_profile,
            alpn: choice.alpn,
        });
        self.secrets = Some(secrets);
        Ok(())
    }

    fn handle_certificate_verify(&mut self, session: &mut Session, message: &Message) -> Result<(), Error> {
        let proof = CertificateVerify::parse(&message.body).ok_or(decode_error(certificate_verify::TYPE))?;
        let certified = self.certified.as_ref().ok_or(Error::CertificateMissing)?;
        verify(session, certified, proof.scheme, session.transcript.bytes(), proof.signature)?;
        session.transcript.add(message);
        if let Some(negotiated) = &mut session.negotiated {
            negotiated.peer_signature_scheme = Some(proof.scheme);
        }
        Ok(())
    }

    fn handle_finished(
        &mut self,
        session: &mut Session,
        now: Instant,
        message: &Message,
    ) -> Result<(), Error> {
        let secrets = self.secrets.take().ok_or(Error::Crypto)?;
        secrets.check_finished(session, Role::Client, &message.body)?;
        session.transcript.add(message);
        session.flight.begin(Some(message.message_seq));
        send_finished(session, &secrets, Role::Server);
        session.flight.arm(now, false);
        session.connected(secrets)
    }
}

/// The certificate types whose signatures we accept (RFC 5246 §7.4.4, RFC 8422 §5.5).
fn certificate_types(schemes: &[SignatureScheme]) -> Vec<u8> {
    let rsa = schemes.iter().any(|scheme| KeyType::Rsa.fits(*scheme));
    let ecdsa = schemes.iter().any(|scheme| !KeyType::Rsa.fits(*scheme));
    [ecdsa.then_some(ECDSA_SIGN), rsa.then_some(RSA_SIGN)].into_iter().flatten().collect()
}
