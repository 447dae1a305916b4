//! From a datagram to the state machine or the application.
//!
//! | record | in the handshake | connected |
//! |---|---|---|
//! | epoch 0, handshake | reassembled | dropped |
//! | epoch 0, alert | ends it, until a record of epoch 1 was verified | dropped |
//! | epoch 0, ChangeCipherSpec | once: epoch 1 may be opened from now on | dropped |
//! | epoch 0, data or unknown | dropped; or ends it, see `Config::refuse_stray_plaintext` | dropped |
//! | epoch 1, no keys or no ChangeCipherSpec yet | kept, [`MAX_EARLY`] of them | – |
//! | epoch 1, handshake | opened, reassembled | a repeated Finished is answered, anything else ends it |
//! | epoch 1, alert | opened, obeyed | opened, obeyed |
//! | epoch 1, data | kept, [`MAX_EARLY`] of them; or dropped, see `Config::keep_overtaking_data` | opened, delivered |
//! | epoch 1, anything else | opened, ends it | opened, ends it |
//!
//! What is dropped is counted and never answered. Nothing of epoch 0 ends a session that is connected.

use crate::alert::{Alert, AlertDescription, AlertLevel};
use crate::connection::{Connection, Machine};
use crate::error::Error;
use crate::event::Event;
use crate::handshake::FragmentHeader;
use crate::reassembly::Inserted;
use crate::record::open::OpenError;
use crate::record::{HEADER_LEN, RecordHeader};
use crate::session::Phase;
use crate::types::{ContentType, HandshakeType, ProtocolVersion};
use crate::wire::Reader;
use std::time::Instant;

/// Records of epoch 1 that are kept until they can be opened or delivered.
pub(crate) const MAX_EARLY: usize = 8;
/// Largest of them in bytes, header included.
const MAX_EARLY_LEN: usize = 2048;

impl Connection {
    /// Takes a datagram of one or more records. Application data is decrypted in place and handed to `deliver` as a
    /// part of `datagram`, record by record, and only once the peer is verified. (Data that overtook the peer's
    /// Finished is handed over from a copy when that arrives.)
    ///
    /// # Errors
    ///
    /// The connection is dead, now or already before; an alert may be waiting in
    /// [`poll_transmit`](Self::poll_transmit). Datagrams that are merely wrong are counted, not errors.
    pub fn handle_input(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        mut deliver: impl FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        if let Phase::Failed(error) = &self.session.phase {
            return Err(error.clone());
        }
        let result = self.handle_datagram(now, datagram, &mut deliver);
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        deliver: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        let mut rest = datagram;
        while !rest.is_empty() {
            let header = RecordHeader::parse(rest);
            let end = header.map_or(0, |header| HEADER_LEN + usize::from(header.length));
            let (Some(header), Some((record, tail))) =
                (header, std::mem::take(&mut rest).split_at_mut_checked(end))
            else {
                self.session.stats.malformed += 1;
                break;
            };
            rest = tail;
            self.handle_record(now, &header, record, deliver)?;
        }
        Ok(())
    }

    /// `record` is the header and exactly its fragment.
    fn handle_record(
        &mut self,
        now: Instant,
        header: &RecordHeader,
        record: &mut [u8],
        deliver: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        if self.session.phase == Phase::Closed {
            return Ok(());
        }
        match header.epoch {
            1 if header.version == ProtocolVersion::DTLS_1_2.0 => {
                self.handle_protected(now, header, record, deliver)
            }
            // A first hello says 1.0, and any 1.x will do (RFC 6347 §4.2.1).
            0 if header.version >> 8 == 0xfe => {
                let before = self.can_open();
                let fragment = record.get(HEADER_LEN..).unwrap_or_default();
                self.handle_plain(now, header, fragment)?;
                if before == self.can_open() { Ok(()) } else { self.replay_early(now, deliver) }
            }
            _ => {
                self.session.stats.malformed += 1;
                Ok(())
            }
        }
    }

    /// Whether records of epoch 1 can be opened.
    fn can_open(&self) -> bool {
        self.session.read.is_some() && self.session.change_cipher_spec_seen
    }

    fn handle_plain(&mut self, now: Instant, header: &RecordHeader, fragment: &[u8]) -> Result<(), Error> {
        let in_handshake = self.session.phase == Phase::Handshake;
        self.session.plain_sequence_read = header.sequence_number;
        match header.content_type {
            ContentType::HANDSHAKE if in_handshake => self.handle_fragments(now, 0, fragment),
            ContentType::ALERT if in_handshake && !self.session.read_protected => self.handle_alert(fragment),
            ContentType::CHANGE_CIPHER_SPEC if in_handshake => {
                if fragment != [1] {
                    return Err(Error::BadChangeCipherSpec);
                }
                self.session.change_cipher_spec()
            }
            kind if in_handshake
                && self.session.config.refuse_stray_plaintext
                && !self.session.read_protected =>
            {
                Err(Error::UnexpectedRecord { content_type: kind.0 })
            }
            ContentType::HANDSHAKE
            | ContentType::ALERT
            | ContentType::CHANGE_CIPHER_SPEC
            | ContentType::APPLICATION_DATA => {
                self.session.stats.unexpected += 1;
                Ok(())
            }
            _ => {
                self.session.stats.malformed += 1;
                Ok(())
            }
        }
    }

    fn handle_protected(
        &mut self,
        now: Instant,
        header: &RecordHeader,
        record: &mut [u8],
        deliver: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        let connected = self.session.phase == Phase::Connected;
        let is_data = header.content_type == ContentType::APPLICATION_DATA;
        let ready = self.session.change_cipher_spec_seen && (connected || !is_data);
        let Some(key) = self.session.read.as_mut().filter(|_| ready) else {
            if is_data && !self.session.config.keep_overtaking_data {
                self.session.stats.early_dropped += 1;
            } else {
                self.keep_early(record);
            }
            return Ok(());
        };
        let fragment = record.get_mut(HEADER_LEN..).unwrap_or_default();
        let plaintext = match key.open(header, fragment) {
            Ok(plaintext) => plaintext,
            Err(error) => return self.count(error),
        };
        self.session.read_protected = true;
        match header.content_type {
            ContentType::APPLICATION_DATA => {
                self.session.stats.records_opened += 1;
                deliver(plaintext);
                Ok(())
            }
            ContentType::HANDSHAKE if connected => self.handle_late_handshake(now, plaintext),
            ContentType::HANDSHAKE => {
                self.handle_fragments(now, 1, plaintext)?;
                self.replay_early(now, deliver)
            }
            ContentType::ALERT => self.handle_alert(plaintext),
            // RFC 5246 §6: a ChangeCipherSpec would begin a renegotiation; other types don't exist.
            ContentType(content_type) => Err(Error::UnexpectedRecord { content_type }),
        }
    }

    fn count(&mut self, error: OpenError) -> Result<(), Error> {
        let stats = &mut self.session.stats;
        match error {
            OpenError::Malformed => stats.malformed += 1,
            OpenError::Replayed => stats.replayed += 1,
            OpenError::BadTag => stats.bad_tags += 1,
            OpenError::Overflow => return Err(Error::RecordOverflow),
            OpenError::TooManyForgeries => {
                stats.bad_tags += 1;
                return Err(Error::TooManyForgeries);
            }
        }
        Ok(())
    }

    /// Fragments of handshake messages, several in a record if the peer likes.
    fn handle_fragments(&mut self, now: Instant, epoch: u16, bytes: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(bytes);
        if reader.is_empty() {
            self.session.stats.malformed += 1;
        }
        while !reader.is_empty() {
            let (header, fragment) = FragmentHeader::parse(&mut reader).ok_or(Error::BadHandshakeRecord)?;
            if epoch == 0
                && self.session.plain_ended
                && header.message_seq >= self.session.reassembly.awaited()
            {
                self.session.stats.unexpected += 1;
                continue;
            }
            // This record has just completed the handshake, and goes on.
            if self.session.phase == Phase::Connected
                && header.message_seq >= self.session.reassembly.awaited()
            {
                return Err(Error::ExcessHandshakeData);
            }
            match self.session.reassembly.insert(epoch, &header, fragment)? {
                Inserted::Kept => {}
                Inserted::Old { latest: true } if header.is_end() => {
                    self.session.peer_repeated(now, header.message_seq);
                }
                Inserted::Old { .. } | Inserted::Dropped => self.session.stats.fragments_dropped += 1,
            }
            while self.session.phase == Phase::Handshake
                && let Some(message) = self.session.reassembly.pop()
            {
                self.machine.handle_message(&mut self.session, now, &message)?;
            }
            if self.session.phase == Phase::Connected {
                // It has nothing more to do, and most connections have nothing more to say for a while.
                self.machine = Machine::Dead;
            }
        }
        Ok(())
    }

    /// Handshake messages under the keys of a complete handshake. A HelloRequest or ClientHello would begin a
    /// renegotiation, which we don't do, and a peer that speaks RFC 5746 with us knows it: whoever asks all the same
    /// would wait for an answer in vain, or take the session for one that it is not.
    fn handle_late_handshake(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        let awaited = self.session.reassembly.awaited();
        let mut reader = Reader::new(bytes);
        if reader.is_empty() {
            self.session.stats.malformed += 1;
        }
        while !reader.is_empty() {
            let (header, _) = FragmentHeader::parse(&mut reader).ok_or(Error::BadHandshakeRecord)?;
            match header.msg_type {
                // The first piece counts: once per repetition.
                HandshakeType::FINISHED if header.message_seq < awaited => {
                    if header.fragment_offset == 0 {
                        self.session.peer_repeated_finished(now, header.message_seq);
                    } else {
                        self.session.stats.fragments_dropped += 1;
                    }
                }
                got => return Err(Error::UnexpectedMessage { got }),
            }
        }
        Ok(())
    }

    fn handle_alert(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let alert = Alert::parse(bytes).ok_or(Error::BadAlert)?;
        tracing::debug!(level = %alert.level, description = %alert.description, "alert from the peer");
        if alert.description == AlertDescription::CLOSE_NOTIFY && self.session.phase == Phase::Connected {
            self.early = Vec::new();
            self.session.close();
            self.session.closed_told = true;
            self.session.events.push_back(Event::Closed);
            return Ok(());
        }
        match alert.level {
            AlertLevel::WARNING if alert.description != AlertDescription::CLOSE_NOTIFY => {
                self.session.stats.warnings += 1;
                Ok(())
            }
            AlertLevel::WARNING | AlertLevel::FATAL => Err(Error::PeerAlert(alert.description)),
            AlertLevel(level) => Err(Error::UnknownAlertLevel(level)),
        }
    }

    fn keep_early(&mut self, record: &[u8]) {
        if self.early.len() < MAX_EARLY && record.len() <= MAX_EARLY_LEN {
            self.early.push(record.to_vec());
            self.session.stats.early_kept += 1;
        } else {
            self.session.stats.early_dropped += 1;
        }
    }

    /// Takes what came early, as far as it can be opened and delivered by now: handshake and alerts once there are
    /// keys, data once connected.
    fn replay_early(&mut self, now: Instant, deliver: &mut dyn FnMut(&mut [u8])) -> Result<(), Error> {
        if !self.can_open() {
            return Ok(());
        }
        // The handshake's records first, as they may make the data's turn.
        for data in [false, true] {
            if data && self.session.phase != Phase::Connected {
                break;
            }
            let (ready, kept) = std::mem::take(&mut self.early).into_iter().partition(|record: &Vec<u8>| {
                data || record.first() != Some(&ContentType::APPLICATION_DATA.0)
            });
            self.early = kept;
            for mut record in ready {
                if let Some(header) = RecordHeader::parse(&record) {
                    self.handle_record(now, &header, &mut record, deliver)?;
                }
            }
        }
        Ok(())
    }
}
