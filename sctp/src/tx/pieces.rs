//! Messages that the application gives in pieces, of a length that nobody knows before their end.
//!
//! ```text
//! begin ─► append ─► append … ─► finish          abandon: the peer is told to skip what it has
//!             │ all but the last bytes ─► parts in the stream's queue ─► cut as messages are: B, …
//!             └ the last bytes wait for more, or for the end ─────────────────────────────────► E
//! ```
//!
//! A part is what came in one piece; it is not copied, and its memory is given back when it is acknowledged, whatever
//! becomes of the rest. The last [`HELD_BACK`] bytes wait, so that there is always something for the chunk that ends the
//! message, and so that small pieces become chunks of a decent size.
//!
//! The chunks of all parts have one MID (or SSN), and FSNs that go on from part to part. With I-DATA other streams are
//! served between the parts. Without, the TSNs of a message are consecutive (RFC 9260 §6.9), so from its first chunk to
//! its last nothing else can be sent: the turn stays with the stream, and its pieces are taken whatever others hold, up
//! to half of the send buffer's limit.
//!
//! Parts count in the send buffer as messages do; what is held back does not.
//!
//! A message can be given up at any time, by the application or for its limits: that is why the peer must know
//! FORWARD TSN (RFC 3758), or I-FORWARD-TSN. Otherwise nothing could be said after half a message.

use std::time::Instant;

use bytes::Bytes;

use super::Sender;
use super::messages::SentMessage;
use super::send_queue::{Cutting, OutStream, Part, QueuedMessage, SendQueue};
use crate::error::PieceError;
use crate::stats::Stats;
use crate::types::{Mid, Ppid, StreamId};
use crate::wire::data::FLAG_END;

/// The most bytes of a message that wait for the next piece: about a chunk.
pub(crate) const HELD_BACK: usize = 1024;

/// What is known of a message that is being given.
#[derive(Debug)]
pub(crate) struct Open {
    ppid: Ppid,
    unordered: bool,
    max_retransmits: Option<u32>,
    expires: Option<Instant>,
    /// The last bytes, which are in no part yet.
    tail: Vec<u8>,
    /// There is a part of it in the queue, or was.
    queued: bool,
    /// A message was refused because of this one.
    refused: bool,
    /// It has been given up for its limits, and the application is yet to learn of it.
    pub(super) abandoned: bool,
}

/// How a message is to be sent that is given in pieces.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) ppid: Ppid,
    pub(crate) unordered: bool,
    pub(crate) max_retransmits: Option<u32>,
    pub(crate) expires: Option<Instant>,
}

impl Open {
    fn part(&mut self, payload: Bytes, ends: bool) -> QueuedMessage {
        let &mut Self { ppid, unordered, max_retransmits, expires, .. } = self;
        let begins = !std::mem::replace(&mut self.queued, true);
        let part = Part { begins, ends };
        QueuedMessage { payload, ppid, unordered, max_retransmits, expires, counted: true, part }
    }
}

/// A message of which not all parts have been cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Continuing {
    unordered: bool,
    mid: Mid,
    /// Of the next chunk, when no part is being cut.
    pub(super) fsn: u32,
}

impl OutStream {
    /// Payload bytes that are not acknowledged, those that are held back included.
    pub(crate) fn unacked(&self) -> usize {
        self.held.payload + self.open.as_ref().map_or(0, |open| open.tail.len())
    }

    /// The number of the message that is being begun, or of which this is another part, and of its next chunk.
    #[inline]
    pub(super) fn number(&mut self, unordered: bool, part: Part) -> (Mid, u32) {
        if !part.begins
            && let Some(continuing) = self.continuing
        {
            return (continuing.mid, continuing.fsn);
        }
        let mid = self.take_mid(unordered);
        if !part.ends {
            self.continuing = Some(Continuing { unordered, mid, fsn: 0 });
        }
        (mid, 0)
    }
}

impl SendQueue {
    /// Takes the bytes of the next piece.
    fn append(&mut self, slot: u16, mut piece: Bytes) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let Some(open) = &mut stream.open else { return };
        stream.buffered += piece.len();
        if open.tail.len() + piece.len() <= HELD_BACK {
            open.tail.extend_from_slice(&piece);
            return;
        }
        let mut parts = [None, None];
        if !open.tail.is_empty() {
            open.tail.extend_from_slice(&piece.split_to(HELD_BACK - open.tail.len()));
            let filled = Bytes::from(std::mem::take(&mut open.tail));
            parts[0] = Some(open.part(filled, false));
        }
        let body = piece.split_to(piece.len().saturating_sub(HELD_BACK));
        if !body.is_empty() {
            parts[1] = Some(open.part(body, false));
        }
        // A copy: a slice would keep all of the piece.
        open.tail = piece.to_vec();
        parts.into_iter().flatten().for_each(|part| self.push_back(slot, part));
    }

    /// Takes the last queued part of a stream, if it is of a message that has not ended.
    fn pop_unfinished(&mut self, slot: u16) -> Option<QueuedMessage> {
        let stream = self.streams.at_mut(slot)?;
        stream.queue.back().filter(|queued| !queued.part.ends)?;
        let part = stream.queue.pop_back()?;
        self.active -= usize::from(!stream.is_active());
        Some(part)
    }

    /// Takes the first queued part of a stream, if it is not the first of its message.
    fn pop_continued(&mut self, slot: u16) -> Option<QueuedMessage> {
        let stream = self.streams.at_mut(slot)?;
        stream.queue.front().filter(|queued| !queued.part.begins)?;
        let part = stream.queue.pop_front()?;
        self.active -= usize::from(!stream.is_active());
        Some(part)
    }

    /// The open message of a stream is given up: returns how many bytes of it waited. The application is told, if it
    /// is not the one that has given it up.
    fn close_open(&mut self, slot: u16, tell: bool) -> Option<usize> {
        let stream = self.streams.at_mut(slot)?;
        let open = stream.open.as_mut().filter(|open| !open.abandoned)?;
        open.abandoned = true;
        let waited = std::mem::take(&mut open.tail).len();
        let refused = open.refused;
        if !tell {
            stream.open = None;
        }
        self.open -= 1;
        if refused {
            self.tell(slot);
        }
        Some(waited)
    }
}

impl Sender {
    /// Begins a message on a stream that is not resetting.
    pub(crate) fn open(&mut self, id: StreamId, opening: Opening) -> Result<(), PieceError> {
        let Some(stream) = self.queue.stream_or_new(id) else { return Err(PieceError::NoSuchStream) };
        if stream.is_open() {
            return Err(PieceError::Busy);
        }
        let Opening { ppid, unordered, max_retransmits, expires } = opening;
        stream.open = Some(Box::new(Open {
            ppid,
            unordered,
            max_retransmits,
            expires,
            tail: Vec::new(),
            queued: false,
            refused: false,
            abandoned: false,
        }));
        self.queue.open += 1;
        Ok(())
    }

    /// Whether a message is being given on this stream. The owner is told when another has its chance.
    pub(crate) fn is_busy(&mut self, id: StreamId) -> bool {
        if self.queue.open == 0 {
            return false;
        }
        let stream = self.queue.stream_or_new(id).filter(|stream| stream.is_open());
        let Some(open) = stream.and_then(|stream| stream.open.as_mut()) else { return false };
        open.refused = true;
        true
    }

    /// The open message of a stream: its slot.
    fn opened(&self, id: StreamId) -> Result<u16, PieceError> {
        let slot = self.queue.streams.slot(id).ok_or(PieceError::NotBegun)?;
        match self.queue.streams.at(slot).and_then(|stream| stream.open.as_ref()) {
            Some(open) if open.abandoned => Err(PieceError::Abandoned),
            Some(_) => Ok(slot),
            None => Err(PieceError::NotBegun),
        }
    }

    /// Takes the next piece of the open message of a stream.
    pub(crate) fn append(&mut self, id: StreamId, piece: Bytes) -> Result<(), PieceError> {
        let slot = self.opened(id)?;
        // As for whole messages; and what holds up all others is taken.
        if !self.holds_up_others(slot, piece.len()) && !self.accepts(id, piece.len()) {
            return Err(PieceError::BufferFull);
        }
        self.note_app_limit();
        self.queue.append(slot, piece);
        Ok(())
    }

    /// Whether nothing else can be sent before this message ends, and it holds less than half of the limit.
    fn holds_up_others(&self, slot: u16, len: usize) -> bool {
        let held = self.queue.streams.at(slot).map_or(0, |stream| stream.held.payload);
        self.queue.is_holder(slot) && held.saturating_add(len) <= self.buffer_limit() / 2
    }

    /// Ends the open message of a stream.
    pub(crate) fn finish(&mut self, id: StreamId) -> Result<(), PieceError> {
        let slot = self.opened(id)?;
        let Some(stream) = self.queue.streams.at_mut(slot) else { return Err(PieceError::NotBegun) };
        let Some(mut open) = stream.open.take_if(|open| !open.tail.is_empty()) else {
            return Err(PieceError::Empty);
        };
        self.note_app_limit();
        let tail = std::mem::take(&mut open.tail);
        self.queue.open -= 1;
        self.queue.push_back(slot, open.part(Bytes::from(tail), true));
        if open.refused {
            self.queue.tell(slot);
        }
        Ok(())
    }

    /// Gives the open message of a stream up, if there is one: the peer never sees any of it.
    pub(crate) fn abandon_open(&mut self, id: StreamId, stats: &mut Stats) {
        let Some(slot) = self.queue.streams.slot(id) else { return };
        if let Err(error) = self.opened(id) {
            if error == PieceError::Abandoned
                && let Some(stream) = self.queue.at_mut(slot)
            {
                stream.open = None;
            }
            return;
        }
        let open = self.queue.streams.at(slot).and_then(|stream| stream.open.as_ref());
        let mut was_begun = open.is_some_and(|open| open.queued);
        while was_begun && let Some(part) = self.queue.pop_unfinished(slot) {
            self.drop_part(slot, part.payload.len());
            was_begun = !part.part.begins;
        }
        let continuing = self.queue.streams.at(slot).and_then(|stream| stream.continuing);
        if let Some(Continuing { unordered, mid, .. }) = continuing.filter(|_| was_begun) {
            self.give_up_parts(slot, unordered, mid, stats);
        } else {
            let was_given = !was_begun && !self.is_untouched(slot);
            stats.messages_abandoned += u64::from(was_given);
            self.drop_open(slot, false);
        }
        if let Some(stream) = self.queue.at_mut(slot) {
            stream.open = None;
        }
        self.note_capacity();
    }

    /// Nothing of the open message has been given.
    fn is_untouched(&self, slot: u16) -> bool {
        let open = self.queue.streams.at(slot).and_then(|stream| stream.open.as_ref());
        open.is_some_and(|open| !open.queued && open.tail.is_empty())
    }

    /// The association ends in order: what is half given will never be whole.
    pub(crate) fn abandon_all_open(&mut self, stats: &mut Stats) {
        if self.queue.open == 0 {
            return;
        }
        let open: Vec<StreamId> =
            self.queue.streams().filter(|stream| stream.is_open()).map(|s| s.id).collect();
        for id in open {
            self.abandon_open(id, stats);
        }
    }

    /// Drops a message, or a part of one, that has been taken out of the queue.
    fn drop_part(&mut self, slot: u16, len: usize) {
        self.queue.unbuffer(slot, len);
        self.queue.release(slot, len, true);
    }

    /// Drops what waits of the open message.
    fn drop_open(&mut self, slot: u16, tell: bool) {
        if let Some(waited) = self.queue.close_open(slot, tell) {
            self.queue.unbuffer(slot, waited);
        }
    }

    /// Drops what is left of a message that was not cut to its end: parts in the queue, and what waits for the next.
    fn drop_rest(&mut self, slot: u16) {
        while let Some(part) = self.queue.pop_continued(slot) {
            self.drop_part(slot, part.payload.len());
            if part.part.ends {
                return;
            }
        }
        self.drop_open(slot, true);
    }

    /// Gives up a message of which parts have been sent (see [`forward`](super::forward)).
    pub(super) fn give_up_parts(&mut self, slot: u16, unordered: bool, mid: Mid, stats: &mut Stats) {
        let messages = &self.messages;
        let last = self.outstanding.next_tsn() - 1;
        self.outstanding.abandon(0, last, |index| {
            messages.get(index).is_some_and(|message| message.is_of(slot, unordered, mid))
        });
        stats.messages_abandoned += 1;
        self.forward_due = true;
        let Some(stream) = self.queue.at_mut(slot) else { return };
        if !stream.continuing.is_some_and(|c| (c.unordered, c.mid) == (unordered, mid)) {
            // All of it had been sent.
            return;
        }
        let (id, cutting) = (stream.id, stream.cutting);
        if let Some(cutting) = cutting {
            let rest = cutting.len - cutting.offset;
            self.queue.stop_cutting(slot, cutting.message);
            self.queue.unbuffer(slot, cutting.buffered(rest));
            let gone = self.messages.release(cutting.message).is_some_and(|(_, gone)| gone);
            self.queue.release(slot, rest, gone);
            if cutting.ends {
                self.push_marker(slot, id, unordered, mid);
                return;
            }
        }
        self.drop_rest(slot);
        self.queue.end_message(slot);
        self.push_marker(slot, id, unordered, mid);
    }

    /// Takes a TSN for the end of a message that was given up, so that there is something to skip even if all that was
    /// sent of it has been acknowledged.
    fn push_marker(&mut self, slot: u16, stream: StreamId, unordered: bool, mid: Mid) {
        let tsn = self.outstanding.next_tsn();
        let index = self.messages.insert(SentMessage {
            payload: Bytes::new(),
            part: Part { begins: false, ends: true },
            slot,
            stream,
            ppid: Ppid(0),
            mid,
            unordered,
            max_retransmits: Some(0),
            expires: None,
            first_tsn: tsn,
            last_tsn: tsn,
        });
        self.queue.hold(slot);
        // Its chunk is what `insert` has counted: nothing of it is being cut.
        self.outstanding.push_abandoned(index, FLAG_END);
    }

    /// Begins the first message of a stream's queue and numbers it; drops it if it has outlived itself.
    pub(super) fn begin_message(&mut self, now: Instant, slot: u16, stats: &mut Stats) -> Option<Cutting> {
        let message = self.queue.pop(slot)?;
        let (len, part) = (message.payload.len(), message.part);
        if self.partial_reliability && part.begins && message.expires.is_some_and(|expires| expires <= now) {
            if !part.ends {
                self.drop_rest(slot);
            }
            self.drop_unsent(slot, &message, stats);
            return None;
        }
        let stream = self.queue.at_mut(slot)?;
        let tsn = self.outstanding.next_tsn();
        let counted = message.counted;
        let (mid, fsn) = stream.number(message.unordered, part);
        let message = self.messages.insert(SentMessage {
            payload: message.payload,
            part,
            slot,
            stream: stream.id,
            ppid: message.ppid,
            mid,
            unordered: message.unordered,
            max_retransmits: message.max_retransmits,
            expires: message.expires,
            first_tsn: tsn,
            last_tsn: tsn,
        });
        let cutting = Cutting { message, fsn, offset: 0, len, counted, ends: part.ends };
        self.queue.begin(slot, cutting, part);
        Some(cutting)
    }
}
