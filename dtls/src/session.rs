//! What both roles and every version share: the flight and its timer, the transcript, the keys in use, the alert
//! to send, the events to tell, the counters.

use crate::alert::{Alert, AlertDescription};
use crate::config::{Config, Role};
use crate::crypto::Provider;
use crate::error::Error;
use crate::event::{Event, Negotiated};
use crate::fingerprint::Fingerprint;
use crate::flight::{Expiry, Flight, Item};
use crate::handshake::Message;
use crate::reassembly::Reassembly;
use crate::record::open::OpenKey;
use crate::record::seal::SealKey;
use crate::stats::Stats;
use crate::transcript::Transcript;
use crate::types::HandshakeType;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Warning alerts that we answer, so that a flood of requests is not a flood of answers.
const MAX_WARNINGS_SENT: u8 = 4;

/// How far the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is delivered, nothing is sealed for the application.
    Handshake,
    /// The peer's certificate and Finished were verified.
    Connected,
    /// A close_notify was said by either end.
    Closed,
    Failed(Error),
}

pub(crate) struct Session {
    pub(crate) config: Arc<Config>,
    pub(crate) role: Role,
    pub(crate) crypto: &'static dyn Provider,
    pub(crate) remote_fingerprints: Vec<Fingerprint>,
    pub(crate) phase: Phase,
    pub(crate) transcript: Transcript,
    pub(crate) reassembly: Reassembly,
    pub(crate) flight: Flight,
    /// Our next `message_seq`.
    next_message_seq: u16,
    /// Our next record number in epoch 0.
    pub(crate) plain_sequence: u64,
    /// Keys of epoch 1, once they are known.
    pub(crate) write: Option<SealKey>,
    pub(crate) read: Option<OpenKey>,
    /// Our ChangeCipherSpec is in the flight: what follows it is sealed.
    pub(crate) write_protected: bool,
    /// A record of the peer's epoch 1 was verified: nothing of epoch 0 can end the session any more.
    pub(crate) read_protected: bool,
    pub(crate) peer_certificate: Option<Vec<u8>>,
    pub(crate) negotiated: Option<Negotiated>,
    /// The record version says 1.2 only after the version was agreed (RFC 6347 §4.2.1).
    pub(crate) version_agreed: bool,
    pub(crate) alert: Option<Alert>,
    /// `Event::Closed` was told.
    pub(crate) closed_told: bool,
    warnings_sent: u8,
    /// At most `Connected` and one final event.
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: Stats,
    handshake_deadline: Option<Instant>,
}

impl Session {
    pub(crate) fn new(
        config: Arc<Config>,
        role: Role,
        crypto: &'static dyn Provider,
        remote_fingerprints: Vec<Fingerprint>,
        now: Instant,
    ) -> Self {
        let mut flight = Flight::new(config.retransmit);
        flight.clear();
        Self {
            role,
            crypto,
            remote_fingerprints,
            phase: Phase::Handshake,
            transcript: Transcript::default(),
            reassembly: Reassembly::new(config.max_handshake_message),
            flight,
            next_message_seq: 0,
            plain_sequence: 0,
            write: None,
            read: None,
            write_protected: false,
            read_protected: false,
            peer_certificate: None,
            negotiated: None,
            version_agreed: false,
            alert: None,
            closed_told: false,
            warnings_sent: 0,
            events: VecDeque::new(),
            stats: Stats::default(),
            handshake_deadline: config.handshake_timeout.and_then(|timeout| now.checked_add(timeout)),
            config,
        }
    }

    /// 32 bytes for a hello. The seed is mixed in, so that neither a weak seed nor a weak system randomness alone
    /// makes it predictable.
    pub(crate) fn random(&self, seed: &[u8; 32]) -> Result<[u8; 32], Error> {
        let mut system = [0; 32];
        self.crypto.fill_random(&mut system).map_err(|_| Error::Crypto)?;
        Ok(self.crypto.hmac(seed, &[&system]))
    }

    /// Adds a message of ours to the flight and to the transcript.
    pub(crate) fn send(&mut self, msg_type: HandshakeType, body: Vec<u8>) {
        let epoch = u16::from(self.write_protected);
        let message = Message { msg_type, message_seq: self.next_message_seq, epoch, body };
        // A handshake has at most seven messages of ours.
        self.next_message_seq = self.next_message_seq.wrapping_add(1);
        self.transcript.add(&message);
        self.flight.push(Item::Message(message));
    }

    /// Adds ChangeCipherSpec to the flight; what follows is sealed.
    pub(crate) fn send_change_cipher_spec(&mut self) {
        self.flight.push(Item::ChangeCipherSpec);
        self.write_protected = true;
    }

    /// The handshake is over and both ends have proven themselves.
    pub(crate) fn connected(&mut self) {
        self.phase = Phase::Connected;
        self.flight.stop_timer();
        self.handshake_deadline = None;
        self.transcript.clear();
        self.reassembly.clear();
        self.events.push_back(Event::Connected);
        tracing::debug!(negotiated = ?self.negotiated, "DTLS connected");
    }

    /// The connection is dead: one event, and an alert if the error has one.
    pub(crate) fn fail(&mut self, error: &Error) {
        if matches!(self.phase, Phase::Failed(_) | Phase::Closed) {
            return;
        }
        tracing::debug!(%error, "DTLS failed");
        self.stop();
        self.phase = Phase::Failed(error.clone());
        self.alert = error.alert().map(Alert::fatal);
        self.events.push_back(Event::Failed(error.clone()));
    }

    /// close_notify, ours or in answer to the peer's (RFC 5246 §7.2.1).
    pub(crate) fn close(&mut self) {
        if matches!(self.phase, Phase::Failed(_) | Phase::Closed) {
            return;
        }
        self.stop();
        self.phase = Phase::Closed;
        self.alert = Some(Alert::warning(AlertDescription::CLOSE_NOTIFY));
    }

    fn stop(&mut self) {
        if self.phase == Phase::Handshake {
            // Nothing was agreed after all.
            self.negotiated = None;
        }
        self.flight.clear();
        self.handshake_deadline = None;
        self.transcript.clear();
        self.reassembly.clear();
    }

    /// Refuses a renegotiation (RFC 5246 §7.2.2), a few times.
    pub(crate) fn refuse_renegotiation(&mut self) {
        self.stats.unexpected += 1;
        if self.warnings_sent < MAX_WARNINGS_SENT && self.alert.is_none() {
            self.warnings_sent += 1;
            self.alert = Some(Alert::warning(AlertDescription::NO_RENEGOTIATION));
        }
    }

    /// The peer sent its last flight again.
    pub(crate) fn peer_repeated(&mut self, now: Instant) {
        if self.flight.handle_repetition(now) {
            self.stats.resends += 1;
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match (self.flight.deadline(), self.handshake_deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.handshake_deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Error::HandshakeTimeout);
        }
        match self.flight.handle_timeout(now) {
            Expiry::NotYet => Ok(()),
            Expiry::Resend => {
                self.stats.timeouts += 1;
                Ok(())
            }
            Expiry::GiveUp => Err(Error::HandshakeTimeout),
        }
    }
}
