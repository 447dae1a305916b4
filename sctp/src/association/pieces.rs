//! Messages larger than memory: given in pieces, and read in pieces.

use std::time::Instant;

use bytes::Bytes;

use super::Association;
use super::state::State;
use crate::config::SendOptions;
use crate::error::PieceError;
use crate::event::{Head, Piece};
use crate::tx::pieces::Opening;
use crate::tx::send_queue::ResetState;
use crate::types::{Ppid, StreamId};

impl Association {
    /// Begins a message that is given in pieces by [`append_to_message`](Self::append_to_message), and ends with
    /// [`finish_message`](Self::finish_message) or [`abandon_message`](Self::abandon_message). Nobody need know how
    /// long it will be. What is given is sent at once, but for the last 1024 bytes, which wait for more or for the end.
    /// The lifetime in `options` counts from here.
    ///
    /// Until then the stream takes no other message. With I-DATA ([`is_interleaving`](Self::is_interleaving)) other
    /// streams go on meanwhile. **Without, nothing else is sent** from the first chunk to the last, as the TSNs of a
    /// message are consecutive (RFC 9260 §6.9): give the pieces quickly then.
    ///
    /// # Errors
    ///
    /// See [`PieceError`]: it wants an association that is established, with a peer that knows FORWARD TSN.
    pub fn begin_message(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        options: SendOptions,
    ) -> Result<(), PieceError> {
        match self.state {
            State::Closed | State::CookieWait | State::CookieEchoed => {
                return Err(PieceError::NotEstablished);
            }
            State::Established => {}
            _ => return Err(PieceError::Closed),
        }
        if !self.tx.partial_reliability {
            return Err(PieceError::NotSupported);
        }
        if stream.0 >= self.outbound_streams {
            return Err(PieceError::NoSuchStream);
        }
        if self.tx.queue.stream(stream).is_some_and(|stream| stream.reset != ResetState::Open) {
            return Err(PieceError::StreamResetting);
        }
        let expires = options.lifetime.and_then(|lifetime| now.checked_add(lifetime));
        let SendOptions { unordered, max_retransmits, .. } = options;
        self.tx.open(stream, Opening { ppid, unordered, max_retransmits, expires })
    }

    /// Gives the next piece of the message that was begun on a stream. It is not copied, except for its first and last
    /// 1024 bytes. A piece of no bytes changes nothing.
    ///
    /// # Errors
    ///
    /// See [`PieceError`]; nothing of the piece has been taken then.
    pub fn append_to_message(&mut self, stream: StreamId, piece: Bytes) -> Result<(), PieceError> {
        if self.state != State::Established {
            return Err(PieceError::Closed);
        }
        if u32::try_from(piece.len()).is_err() {
            return Err(PieceError::TooLarge);
        }
        self.tx.append(stream, piece)
    }

    /// Ends the message that was begun on a stream.
    ///
    /// # Errors
    ///
    /// [`PieceError::Empty`] if no byte of it was given; it is still open then. [`PieceError::Abandoned`] if it has been
    /// given up for its limits, and [`PieceError::NotBegun`], [`PieceError::Closed`].
    pub fn finish_message(&mut self, stream: StreamId) -> Result<(), PieceError> {
        if self.state != State::Established {
            return Err(PieceError::Closed);
        }
        self.tx.finish(stream)?;
        self.stats.messages_sent += 1;
        Ok(())
    }

    /// Gives up the message that was begun on a stream, if there is one: the peer drops what it has of it (RFC 3758
    /// §3.5, RFC 8260 §2.3.1). [`reset_stream`](Self::reset_stream) and [`shutdown`](Self::shutdown) do the same.
    pub fn abandon_message(&mut self, stream: StreamId) {
        self.tx.abandon_open(stream, &mut self.stats);
    }

    /// The next message of a stream, whole or not; `None` if none has begun to arrive without a gap before it, and while
    /// one is being read in pieces.
    pub fn head(&self, stream: StreamId) -> Option<Head> {
        self.rx.head(stream)
    }

    /// Begins to read the next message of a stream in pieces, whole or not, and returns what
    /// [`head`](Self::head) says of it. Of ordered messages that is the next, of unordered ones one that has begun.
    /// `None` if there is none yet; [`Event::Readable`](crate::Event::Readable) tells of it as soon as it begins. Until
    /// it is read to its end or refused, the stream's other messages wait.
    ///
    /// What is read makes room in the window: a message may be larger than the receive buffer.
    pub fn begin_recv(&mut self, stream: StreamId) -> Option<Head> {
        let head = self.rx.head(stream);
        if !self.rx.begin_reading(stream) {
            return None;
        }
        self.stats.messages_received += 1;
        head
    }

    /// Takes the next bytes of the message that is being read: as many as there are in one place, up to a few hundred
    /// kilobytes.
    pub fn recv_piece(&mut self, stream: StreamId) -> Piece {
        let piece = self.rx.read_piece(stream);
        if piece == Piece::Pending && self.state == State::Ended && self.rx.abort_reading(stream) {
            return self.rx.read_piece(stream);
        }
        piece
    }

    /// Drops the message that is being read, or else the next one: what is there of it now, and the rest as it comes. It
    /// takes no room any more.
    pub fn refuse_message(&mut self, stream: StreamId) {
        self.rx.refuse(stream);
    }
}
