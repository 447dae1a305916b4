//! What both roles and every version share: the flight and its timer, the transcript, the keys in use, the alert
//! to send, the events to tell, the counters.

use crate::alert::{Alert, AlertDescription};
use crate::config::{Config, Role};
use crate::crypto::Provider;
use crate::error::Error;
use crate::event::{Event, Negotiated};
use crate::fingerprint::{Fingerprint, HashAlgorithm};
use crate::flight::{Expiry, Flight, Item};
use crate::handshake::Message;
use crate::reassembly::Reassembly;
use crate::record::open::OpenKey;
use crate::record::seal::SealKey;
use crate::stats::Stats;
use crate::transcript::Transcript;
use crate::types::HandshakeType;
use crate::v12::keys::Secrets;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

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
    /// Those of the peer's description; gone once connected, or when it has come to nothing.
    pub(crate) remote_fingerprints: Vec<Fingerprint>,
    pub(crate) phase: Phase,
    pub(crate) transcript: Transcript,
    pub(crate) reassembly: Reassembly,
    pub(crate) flight: Flight,
    /// Our next `message_seq`.
    next_message_seq: u16,
    /// Our next record number in epoch 0.
    pub(crate) plain_sequence: u64,
    /// The number of the record of epoch 0 that is being read.
    pub(crate) plain_sequence_read: u64,
    /// Keys of epoch 1, once they are known.
    pub(crate) write: Option<SealKey>,
    pub(crate) read: Option<OpenKey>,
    /// Our ChangeCipherSpec is in the flight: what follows it is sealed.
    pub(crate) write_protected: bool,
    /// A record of the peer's epoch 1 was verified: nothing of epoch 0 can end the session any more.
    pub(crate) read_protected: bool,
    /// The peer's ChangeCipherSpec has come: its epoch 1 may be opened.
    pub(crate) change_cipher_spec_seen: bool,
    /// The peer's next message is Finished.
    pub(crate) awaiting_finished: bool,
    /// Both of these: the peer has nothing more to say in epoch 0.
    pub(crate) plain_ended: bool,
    /// The peer's certificate and those behind it, once it matched.
    pub(crate) peer_chain: Vec<Vec<u8>>,
    /// For exporters, once connected.
    pub(crate) secrets: Option<Secrets>,
    /// Largest datagram to send, in bytes.
    pub(crate) mtu: usize,
    pub(crate) negotiated: Option<Negotiated>,
    /// The record version says 1.2 only after the version was agreed (RFC 6347 §4.2.1).
    pub(crate) version_agreed: bool,
    pub(crate) alert: Option<Alert>,
    /// `Event::Closed` was told.
    pub(crate) closed_told: bool,
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
        let flight = Flight::new(config.retransmit);
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
            plain_sequence_read: 0,
            write: None,
            read: None,
            write_protected: false,
            read_protected: false,
            change_cipher_spec_seen: false,
            awaiting_finished: false,
            plain_ended: false,
            peer_chain: Vec::new(),
            secrets: None,
            mtu: config.mtu,
            negotiated: None,
            version_agreed: false,
            alert: None,
            closed_told: false,
            events: VecDeque::new(),
            stats: Stats::default(),
            handshake_deadline: config.handshake_timeout.and_then(|timeout| now.checked_add(timeout)),
            config,
        }
    }

    /// 32 bytes for a hello. The seed is mixed in, so that neither a weak seed nor a weak system randomness alone
    /// makes it predictable.
    pub(crate) fn random(&self, seed: &[u8; 32]) -> Result<[u8; 32], Error> {
        let mut system = Zeroizing::new([0; 32]);
        self.crypto.fill_random(&mut system[..]).map_err(|_| Error::Crypto)?;
        let mixed = self.crypto.mac(HashAlgorithm::Sha256, seed).sign(&[&system[..]]);
        <[u8; 32]>::try_from(&mixed[..]).map_err(|_| Error::Crypto)
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

    /// The peer's ChangeCipherSpec has come. (It may overtake the messages in front of it.)
    pub(crate) fn change_cipher_spec(&mut self) -> Result<(), Error> {
        if self.change_cipher_spec_seen {
            self.stats.unexpected += 1;
            return Ok(());
        }
        self.change_cipher_spec_seen = true;
        self.end_plain()
    }

    /// Closes the peer's epoch 0 when it is time: what is left there then belongs nowhere.
    pub(crate) fn end_plain(&mut self) -> Result<(), Error> {
        if self.plain_ended || !self.awaiting_finished || !self.change_cipher_spec_seen {
            return Ok(());
        }
        self.plain_ended = true;
        if self.reassembly.holds_epoch(0) { Err(Error::ExcessHandshakeData) } else { Ok(()) }
    }

    /// The handshake is over and both ends have proven themselves. The peer has nothing to say behind its Finished: a
    /// piece of a further message under the keys is an error.
    pub(crate) fn connected(&mut self, secrets: Secrets) -> Result<(), Error> {
        if self.reassembly.holds_epoch(1) {
            return Err(Error::ExcessHandshakeData);
        }
        self.secrets = Some(secrets);
        self.phase = Phase::Connected;
        self.flight.stop_timer();
        self.handshake_deadline = None;
        self.transcript.clear();
        self.reassembly.clear();
        self.remote_fingerprints = Vec::new();
        self.events.push_back(Event::Connected);
        tracing::debug!(negotiated = ?self.negotiated, "DTLS connected");
        Ok(())
    }

    /// The connection is dead: one event, and an alert if the error has one.
    pub(crate) fn fail(&mut self, error: &Error) {
        if matches!(self.phase, Phase::Failed(_) | Phase::Closed) {
            return;
        }
        tracing::debug!(%error, "DTLS failed");
        self.stop();
        self.phase = Phase::Failed(error.clone());
        self.alert = error.alert().map(|description| match description {
            AlertDescription::CLOSE_NOTIFY => Alert::warning(description),
            other => Alert::fatal(other),
        });
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
        self.secrets = None;
        self.flight.clear();
        self.handshake_deadline = None;
        self.transcript.clear();
        self.reassembly.clear();
        self.remote_fingerprints = Vec::new();
    }

    /// A plaintext message came again, and it was the last of what our flight answers. Anybody may have sent it.
    pub(crate) fn peer_repeated(&mut self, now: Instant, message_seq: u16) {
        if self.flight.handle_repetition(now, message_seq) {
            self.stats.resends += 1;
        } else {
            self.stats.fragments_dropped += 1;
        }
    }

    /// The peer, and nobody else, sent its Finished again: it has not seen ours (RFC 6347 §4.2.4). Answered each time,
    /// as a replayed record doesn't come so far.
    pub(crate) fn peer_repeated_finished(&mut self, now: Instant, message_seq: u16) {
        if self.flight.repeat(now, message_seq) {
            self.stats.resends += 1;
        } else {
            self.stats.fragments_dropped += 1;
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
