//! From the flight and the alert to a datagram.

use crate::connection::Connection;
use crate::crypto::TAG_LEN;
use crate::event::Event;
use crate::flight::Item;
use crate::handshake::{self, FragmentHeader};
use crate::record::{HEADER_LEN, MAX_SEQUENCE, RecordHeader};
use crate::session::{Phase, Session};
use crate::types::{ContentType, ProtocolVersion};
use std::time::Instant;

/// Timeouts of one flight after which its datagrams shrink (RFC 6347 §4.1.1.1).
const SHRINK_AFTER: u32 = 3;
/// What they shrink to: the 576 bytes that IPv4 promises, less IP and UDP.
const SMALL_DATAGRAM: usize = 548;

impl Connection {
    /// Writes one datagram of the handshake, or an alert, into `out` and gives its length, which is at most
    /// [`Config::mtu`](crate::Config::mtu) and `out.len()`. `None`: nothing to send. (Fewer than some 60 bytes of room
    /// hold no piece of a flight; it then waits for more.)
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let _ = now;
        let session = &mut self.session;
        let mut limit = session.mtu.min(out.len());
        if session.flight.timeouts() >= SHRINK_AFTER {
            limit = limit.min(SMALL_DATAGRAM);
        }
        let out = out.get_mut(..limit)?;
        let mut written = 0;
        while let Some(len) = write_item(session, out.get_mut(written..)?, limit) {
            written += len;
        }
        if !session.flight.has_unsent()
            && let Some(len) = write_alert(session, out.get_mut(written..)?)
        {
            written += len;
        }
        (written > 0).then_some(written)
    }
}

/// As much of the flight's next piece as fits, in one record; `None` if it must wait for the next datagram.
fn write_item(session: &mut Session, room: &mut [u8], limit: usize) -> Option<usize> {
    let (item, offset) = session.flight.unsent()?;
    let Item::Message(message) = item else {
        let len = write_plain(
            &mut session.plain_sequence,
            ContentType::CHANGE_CIPHER_SPEC,
            ProtocolVersion::DTLS_1_2,
            room,
            &[&[1]],
        )?;
        session.flight.sent(0);
        return Some(len);
    };
    let sealed = message.epoch > 0;
    let around = if sealed {
        session.write.as_ref()?.header_len() + handshake::HEADER_LEN + TAG_LEN
    } else {
        HEADER_LEN + handshake::HEADER_LEN
    };
    let space = room.len().checked_sub(around)?;
    let rest = message.body.get(offset..)?;
    // Split only what no datagram could hold whole, and never into nothing.
    if space < rest.len() && (space == 0 || rest.len() <= limit.saturating_sub(around)) {
        return None;
    }
    let fragment = rest.get(..space.min(rest.len()))?;
    let header = FragmentHeader {
        msg_type: message.msg_type,
        length: message.body.len(),
        message_seq: message.message_seq,
        fragment_offset: offset,
        fragment_length: fragment.len(),
    };
    let len = if sealed {
        let parts = [&header.to_bytes()[..], fragment].concat();
        write_sealed(session, ContentType::HANDSHAKE, room, &parts)?
    } else {
        // Until the version is agreed, say the oldest (RFC 6347 §4.2.1).
        let version =
            if session.version_agreed { ProtocolVersion::DTLS_1_2 } else { ProtocolVersion::DTLS_1_0 };
        let parts = [&header.to_bytes()[..], fragment];
        write_plain(&mut session.plain_sequence, ContentType::HANDSHAKE, version, room, &parts)?
    };
    session.flight.sent(header.fragment_length);
    Some(len)
}

fn write_alert(session: &mut Session, room: &mut [u8]) -> Option<usize> {
    let alert = session.alert?;
    let len = if session.write_protected {
        write_sealed(session, ContentType::ALERT, room, &alert.to_bytes())?
    } else {
        let version = ProtocolVersion::DTLS_1_2;
        write_plain(&mut session.plain_sequence, ContentType::ALERT, version, room, &[&alert.to_bytes()])?
    };
    session.alert = None;
    // Ours to close, unless the peer's close_notify has already been told.
    if session.phase == Phase::Closed && !session.closed_told {
        session.closed_told = true;
        session.events.push_back(Event::Closed);
    }
    Some(len)
}

fn write_sealed(
    session: &mut Session,
    content_type: ContentType,
    room: &mut [u8],
    plaintext: &[u8],
) -> Option<usize> {
    let key = session.write.as_mut()?;
    let start = key.header_len();
    room.get_mut(start..start + plaintext.len())?.copy_from_slice(plaintext);
    key.seal(content_type, room, plaintext.len()).ok()
}

fn write_plain(
    sequence: &mut u64,
    content_type: ContentType,
    version: ProtocolVersion,
    room: &mut [u8],
    parts: &[&[u8]],
) -> Option<usize> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let total = HEADER_LEN + length;
    let (head, mut body) = room.get_mut(..total)?.split_at_mut(HEADER_LEN);
    if *sequence > MAX_SEQUENCE {
        return None;
    }
    let header = RecordHeader {
        content_type,
        version: version.0,
        epoch: 0,
        sequence_number: *sequence,
        length: length as u16,
    };
    *sequence += 1;
    head.copy_from_slice(&header.to_bytes());
    for part in parts {
        let (to, rest) = body.split_at_mut_checked(part.len())?;
        to.copy_from_slice(part);
        body = rest;
    }
    Some(total)
}
