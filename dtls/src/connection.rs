//! One end of a DTLS session: the five verbs, and the way from records to the state machine and back.
//!
//! ```text
//!  HANDSHAKE ──Finished of the peer verified──▶ CONNECTED ──close_notify, either way──▶ CLOSED
//!      │                                            │
//!      └────────── any error, fatal alert ──────────┴──────────────────────────────────▶ FAILED
//! ```

use crate::alert::AlertDescription;
use crate::config::{Config, Role};
use crate::crypto::{Provider, TAG_LEN};
use crate::error::{Error, ExportError, SealError};
use crate::event::{Event, Negotiated};
use crate::fingerprint::Fingerprint;
use crate::handshake::Message;
use crate::record::{EXPLICIT_NONCE_LEN, HEADER_LEN};
use crate::session::{Phase, Session};
use crate::stats::Stats;
use crate::types::ContentType;
use crate::v12::client::Client;
use crate::v12::server::Server;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The role's state machine.
pub(crate) enum Machine {
    Client(Box<Client>),
    Server(Box<Server>),
    /// It could not even start, or has done its work, or the connection has ended.
    Dead,
}

impl Machine {
    pub(crate) fn handle_message(
        &mut self,
        session: &mut Session,
        now: Instant,
        message: &Message,
    ) -> Result<(), Error> {
        match self {
            Self::Client(client) => client.handle_message(session, now, message)?,
            Self::Server(server) => server.handle_message(session, now, message)?,
            Self::Dead => {}
        }
        session.end_plain()
    }
}

/// One end of a DTLS session, without I/O.
///
/// After any call the owner drains [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) and
/// asks [`poll_timeout`](Self::poll_timeout) when to come back. Calls may come in any order and number; what is not
/// drained is only sent or told later.
///
/// The owner hands in only datagrams from one address, which ICE has validated, or else sets
/// [`Config::require_cookie`].
pub struct Connection {
    pub(crate) session: Session,
    pub(crate) machine: Machine,
    /// Records of epoch 1 that cannot be opened or delivered yet.
    pub(crate) early: Vec<Vec<u8>>,
}

impl Connection {
    /// A new end of a session. A client's first flight is ready for [`poll_transmit`](Self::poll_transmit) at once.
    ///
    /// `remote_fingerprints` are those of the peer's description; with none the handshake fails when the peer shows
    /// its certificate. `seed` is mixed into the hello's random; keys come from the system.
    pub fn new(
        config: Arc<Config>,
        role: Role,
        remote_fingerprints: Vec<Fingerprint>,
        now: Instant,
        seed: [u8; 32],
    ) -> Self {
        Self::with_crypto(&crate::crypto::ring::RING, config, role, remote_fingerprints, now, seed)
    }

    /// A connection that protects nothing: no secrets, no signatures, plaintext in its records. For fuzzing and profiling.
    #[cfg(any(test, feature = "null-crypto"))]
    #[doc(hidden)]
    pub fn new_without_security(
        config: Arc<Config>,
        role: Role,
        remote_fingerprints: Vec<Fingerprint>,
        now: Instant,
        seed: [u8; 32],
    ) -> Self {
        tracing::warn!("a DTLS connection without any security was made");
        Self::with_crypto(&crate::crypto::null::NULL, config, role, remote_fingerprints, now, seed)
    }

    pub(crate) fn with_crypto(
        crypto: &'static dyn Provider,
        config: Arc<Config>,
        role: Role,
        remote_fingerprints: Vec<Fingerprint>,
        now: Instant,
        seed: [u8; 32],
    ) -> Self {
        let mut session = Session::new(config, role, crypto, remote_fingerprints, now);
        let machine = match role {
            Role::Client => {
                Client::start(&mut session, now, &seed).map(|client| Machine::Client(Box::new(client)))
            }
            Role::Server => Server::start(&session, &seed).map(|server| Machine::Server(Box::new(server))),
        };
        let machine = machine.unwrap_or_else(|error| {
            session.fail(&error);
            Machine::Dead
        });
        Self { session, machine, early: Vec::new() }
    }

    /// The clock reached the deadline of [`poll_timeout`](Self::poll_timeout): flights are sent again or given up.
    /// Harmless at any other time.
    ///
    /// # Errors
    ///
    /// The connection is dead, now or already before.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if let Phase::Failed(error) = &self.session.phase {
            return Err(error.clone());
        }
        let result = self.session.handle_timeout(now);
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; `None` once connected, closed or dead.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.session.events.pop_front();
        if self.session.events.is_empty() {
            // There is one more at most, in the end.
            self.session.events = VecDeque::new();
        }
        event
    }

    /// Whether the handshake is complete, the peer verified, and nothing has ended the session since.
    pub fn is_connected(&self) -> bool {
        self.session.phase == Phase::Connected
    }

    /// Bytes that [`seal`](Self::seal) needs in front of the plaintext: 21 with AES-GCM, 13 with ChaCha20. Before
    /// the suite is known, the larger.
    pub fn header_len(&self) -> usize {
        self.session.write.as_ref().map_or(HEADER_LEN + EXPLICIT_NONCE_LEN, |key| key.header_len())
    }

    /// Bytes that [`seal`](Self::seal) needs behind the plaintext: 16.
    pub fn tag_len(&self) -> usize {
        TAG_LEN
    }

    /// Seals application data in place. The plaintext lies at `slot[header_len()..header_len() + plaintext_len]`;
    /// header and tag are put around it. Gives the length of the record, which starts at `slot[0]`.
    ///
    /// # Errors
    ///
    /// Nothing was sealed; see [`SealError`].
    pub fn seal(&mut self, slot: &mut [u8], plaintext_len: usize) -> Result<usize, SealError> {
        match (&self.session.phase, &mut self.session.write) {
            (Phase::Connected, Some(key)) => {
                let result = key.seal(ContentType::APPLICATION_DATA, slot, plaintext_len);
                match result {
                    Ok(_) => self.session.stats.records_sealed += 1,
                    Err(SealError::KeyExhausted | SealError::SequenceExhausted) => {
                        self.fail(&Error::KeyExhausted);
                    }
                    Err(_) => {}
                }
                result
            }
            (Phase::Closed | Phase::Failed(_), _) => Err(SealError::Closed),
            _ => Err(SealError::NotConnected),
        }
    }

    /// Says close_notify and takes and delivers nothing more. [`Event::Closed`] comes when
    /// [`poll_transmit`](Self::poll_transmit) has given it out; the peer's answer is not waited for (RFC 5246 §7.2.1).
    pub fn close(&mut self, now: Instant) {
        let _ = now;
        self.early = Vec::new();
        self.machine = Machine::Dead;
        self.session.close();
    }

    /// The certificate that the peer showed, in DER, once it matched a fingerprint.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.session.peer_chain.first().map(Vec::as_slice)
    }

    /// What both ends agreed on; `None` before [`Event::Connected`].
    pub fn negotiated(&self) -> Option<&Negotiated> {
        if self.session.phase == Phase::Handshake { None } else { self.session.negotiated.as_ref() }
    }

    /// The peer's certificate and those it sent behind it, in DER, once it matched a fingerprint.
    pub fn peer_certificate_chain(&self) -> &[Vec<u8>] {
        &self.session.peer_chain
    }

    /// Fills `out` with key material that only both ends of this session can have (RFC 5705). Leaving the context out is
    /// not the same as an empty one. For SRTP the label is `EXTRACTOR-dtls_srtp`, without a context (RFC 5764 §4.2).
    ///
    /// # Errors
    ///
    /// Nothing was written; see [`ExportError`].
    pub fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &str,
        context: Option<&[u8]>,
    ) -> Result<(), ExportError> {
        let secrets = self.session.secrets.as_ref().filter(|_| self.is_connected());
        secrets.ok_or(ExportError::NotConnected)?.export(self.session.crypto, label, context, out)
    }

    /// Ends the connection at once with a fatal alert, because the application says so. The error is
    /// [`Error::Aborted`]. Does nothing when it has already ended.
    pub fn abort(&mut self, alert: AlertDescription) {
        self.fail(&Error::Aborted(alert));
    }

    /// The largest datagram in bytes from now on, in place of [`Config::mtu`]. What is sent again is cut anew.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.session.mtu = mtu;
    }

    /// The first interval of the retransmission timer from now on, in place of that in [`Config::retransmit`]. A timer
    /// that runs is set as if it had always been this one.
    ///
    /// On a path that ICE has measured, twice the round trip is right, and not less than 50 ms.
    pub fn set_initial_timeout(&mut self, now: Instant, initial: Duration) {
        self.session.flight.set_initial(now, initial);
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.session.stats
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        self.early = Vec::new();
        // It may hold secrets of a handshake that will not be completed.
        self.machine = Machine::Dead;
        self.session.fail(error);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.session.role)
            .field("phase", &self.session.phase)
            .field("negotiated", &self.session.negotiated)
            .field("stats", &self.session.stats)
            .finish_non_exhaustive()
    }
}
