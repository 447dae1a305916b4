//! Messages larger than memory: given in pieces, and read in pieces.
//!
//! SCTP does the work; here is what they are as messages of a data channel: text or binary, perhaps empty, at most as
//! large as the peer accepts, and behind or before the channel's other messages. What is not read when its channel closes
//! is kept with the channel, so that the stream can be used again.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use sinnet_dcep::ppid;
use sinnet_sctp::{Piece as SctpPiece, PieceError as SctpError, Ppid, StreamId};

use crate::channel::{ChannelKey, ChannelState};
use crate::channels::send_options;
use crate::error::PieceError;
use crate::message::Message;
use crate::peer::Peer;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MessageKind {
    /// UTF-8 text. Whether it is, is for whoever gives or reads the pieces to see.
    Text,
    /// Bytes.
    Binary,
}

impl MessageKind {
    fn ppid(self) -> Ppid {
        Ppid(match self {
            MessageKind::Text => ppid::STRING,
            MessageKind::Binary => ppid::BINARY,
        })
    }
}

/// What [`Peer::recv_piece`] has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// The next bytes of the message; never none.
    Bytes(Bytes),
    /// The rest has not arrived yet. [`Event::Readable`](crate::Event::Readable) tells of more.
    Pending,
    /// The message is complete. Said once.
    End,
    /// The rest will never come: the peer has given the message up, or the connection has ended. Said once.
    Aborted,
    /// No message is being read.
    NotBegun,
}

/// A message that is being given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    kind: MessageKind,
    given: u64,
}

/// A message that is being read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// It is with SCTP.
    Stream,
    /// What is left of it is here.
    Kept { pieces: VecDeque<Bytes>, aborted: bool },
}

impl Reading {
    fn whole(payload: Bytes) -> Self {
        Reading::Kept { pieces: VecDeque::from([payload]), aborted: false }
    }
}

/// Sending.
impl Peer {
    /// Begins a message that is given in pieces. Until its end the channel takes no other. What that means for other
    /// channels depends on the peer: see [`Peer::is_interleaving`].
    ///
    /// # Errors
    /// [`PieceError::Busy`], [`PieceError::NotOpen`], [`PieceError::NotSupported`], [`PieceError::Closed`].
    pub fn begin_message(
        &mut self,
        now: Instant,
        key: ChannelKey,
        kind: MessageKind,
    ) -> Result<(), PieceError> {
        self.now = now;
        let closing = self.is_closing();
        let channel = self.channels.get_mut(key).ok_or(PieceError::Closed)?;
        match channel.state {
            ChannelState::Connecting => return Err(PieceError::NotOpen),
            ChannelState::Open if !closing => {}
            _ => return Err(PieceError::Closed),
        }
        let (Some(stream), Some(transport)) = (channel.stream, &mut self.transport) else {
            return Err(PieceError::NotOpen);
        };
        if channel.writing.is_some() {
            // Asked, it tells at the end of the other message.
            transport.sctp.has_room_for(stream, 1);
            return Err(PieceError::Busy);
        }
        match transport.sctp.begin_message(now, stream, kind.ppid(), send_options(channel)) {
            Ok(()) => {}
            Err(SctpError::NotSupported) => return Err(PieceError::NotSupported),
            Err(_) => return Err(PieceError::Closed),
        }
        channel.writing = Some(Writing { kind, given: 0 });
        Ok(())
    }

    /// Gives the next piece of the message that was begun. It is sent at once, but for the last 1024 bytes of what was
    /// given, which wait for more or for the end. A piece of no bytes changes nothing.
    ///
    /// # Errors
    /// [`PieceError::Full`] gives the piece back. With any other the message is no more.
    pub fn append_to_message(
        &mut self,
        now: Instant,
        key: ChannelKey,
        piece: Bytes,
    ) -> Result<(), PieceError> {
        self.now = now;
        let (stream, mut writing) = self.writing(key)?;
        let Some(transport) = &mut self.transport else { return Err(PieceError::Closed) };
        let (size, limit) =
            (writing.given.saturating_add(piece.len() as u64), transport.peer_max_message_size);
        if size > limit || u32::try_from(piece.len()).is_err() {
            self.abandon_message(now, key);
            return Err(PieceError::TooLarge { size, limit });
        }
        let result = match transport.sctp.append_to_message(stream, piece.clone()) {
            Ok(()) => {
                writing.given = size;
                Ok(())
            }
            Err(SctpError::BufferFull) => return Err(PieceError::Full(piece)),
            Err(error) => Err(ended(error)),
        };
        self.set_writing(key, result.is_ok().then_some(writing));
        result
    }

    /// Ends the message that was begun. One of which nothing was given is an empty message.
    ///
    /// # Errors
    /// [`PieceError::Abandoned`], [`PieceError::NotBegun`], [`PieceError::Closed`]; the message is no more.
    pub fn finish_message(&mut self, now: Instant, key: ChannelKey) -> Result<(), PieceError> {
        self.now = now;
        let (stream, writing) = self.writing(key)?;
        self.set_writing(key, None);
        let Some(transport) = &mut self.transport else { return Err(PieceError::Closed) };
        if writing.given > 0 {
            transport.sctp.finish_message(stream).map_err(ended)?;
            if let Some(channel) = self.channels.get_mut(key) {
                channel.counts.sent(usize::try_from(writing.given).unwrap_or(usize::MAX));
            }
            return Ok(());
        }
        transport.sctp.abandon_message(stream);
        let empty = match writing.kind {
            MessageKind::Text => Message::Text(String::new()),
            MessageKind::Binary => Message::Binary(Bytes::new()),
        };
        self.send_over_budget(now, key, empty).map_err(|_| PieceError::Closed)
    }

    /// Gives up the message that was begun, if there is one: the peer drops what it has of it.
    pub fn abandon_message(&mut self, now: Instant, key: ChannelKey) {
        self.now = now;
        if let Ok((stream, _)) = self.writing(key)
            && let Some(transport) = &mut self.transport
        {
            transport.sctp.abandon_message(stream);
            self.set_writing(key, None);
        }
    }

    /// Whether a message in pieces, or a large one, holds up nothing but its own channel (I-DATA, RFC 8260). If not,
    /// nothing else is sent from its first byte to its last: give the pieces quickly then. Chromium does not do it by
    /// default, Firefox does.
    pub fn is_interleaving(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.sctp.is_interleaving())
    }

    fn writing(&self, key: ChannelKey) -> Result<(StreamId, Writing), PieceError> {
        let channel = self.channels.get(key).ok_or(PieceError::Closed)?;
        match (channel.stream, channel.writing) {
            _ if channel.state != ChannelState::Open || self.is_closing() => Err(PieceError::Closed),
            (Some(stream), Some(writing)) => Ok((stream, writing)),
            _ => Err(PieceError::NotBegun),
        }
    }

    fn set_writing(&mut self, key: ChannelKey, writing: Option<Writing>) {
        if let Some(channel) = self.channels.get_mut(key) {
            channel.writing = writing;
        }
    }
}

/// What SCTP says of a message that can't go on.
fn ended(error: SctpError) -> PieceError {
    match error {
        SctpError::Abandoned => PieceError::Abandoned,
        _ => PieceError::Closed,
    }
}

/// Receiving.
impl Peer {
    /// Begins to read the next message in pieces, as soon as it has begun to arrive. `None`: there is none now, and
    /// [`Event::Readable`](crate::Event::Readable) tells of the next; or another is being read. Of ordered messages it is
    /// the next one, of unordered ones one that has begun. Until it is at its end, or [`Peer::stop_recv`] is called, the
    /// channel's other messages wait.
    ///
    /// What is read makes room in the receive window, so a message may be larger than
    /// [`Config::receive_buffer`](crate::Config::receive_buffer):
    /// [`Config::max_message_size_in_pieces`](crate::Config::max_message_size_in_pieces).
    pub fn begin_recv(&mut self, key: ChannelKey) -> Option<MessageKind> {
        let channel = self.channels.get_mut(key)?;
        if channel.reading.is_some() {
            return None;
        }
        if let Some(message) = channel.pop_inbox() {
            let taken = message.len();
            let (kind, payload) = match message {
                Message::Text(text) => (MessageKind::Text, Bytes::from(text.into_bytes())),
                Message::Binary(bytes) => (MessageKind::Binary, bytes),
            };
            channel.reading = Some(Reading::whole(payload));
            self.channels.inbox_bytes -= taken;
            return Some(kind);
        }
        let stream = channel.stream?;
        let Some((kind, reading)) = self.begin_on_stream(stream) else {
            // A close that waited for the application to read can go on.
            self.progress_close(key);
            return None;
        };
        self.channels.get_mut(key)?.reading = Some(reading);
        Some(kind)
    }

    fn begin_on_stream(&mut self, stream: StreamId) -> Option<(MessageKind, Reading)> {
        loop {
            self.take_dcep(stream);
            if self.is_next_channels(stream) {
                return None;
            }
            let sctp = &mut self.transport.as_mut()?.sctp;
            let head = sctp.head(stream);
            let kind = match head.map(|head| head.ppid.0) {
                Some(ppid::DCEP) => {
                    // In fragments: it is taken when it is whole, and `recv` says that we wait.
                    sctp.recv(stream);
                    return None;
                }
                None | Some(ppid::STRING | ppid::STRING_PARTIAL) => MessageKind::Text,
                Some(ppid::BINARY | ppid::BINARY_PARTIAL) => MessageKind::Binary,
                Some(empty @ (ppid::STRING_EMPTY | ppid::BINARY_EMPTY)) => {
                    // What they carry is ignored.
                    sctp.refuse_message(stream);
                    let kind =
                        if empty == ppid::STRING_EMPTY { MessageKind::Text } else { MessageKind::Binary };
                    return Some((kind, Reading::whole(Bytes::new())));
                }
                Some(_) => {
                    sctp.refuse_message(stream);
                    self.counters.dropped_unknown_ppid += 1;
                    continue;
                }
            };
            return sctp.begin_recv(stream).map(|_| (kind, Reading::Stream));
        }
    }

    /// Whether a message is being read in pieces: the channel's others wait.
    pub fn is_reading(&self, key: ChannelKey) -> bool {
        self.channels.get(key).is_some_and(|channel| channel.reading.is_some())
    }

    /// Takes the next bytes of the message that is being read.
    pub fn recv_piece(&mut self, key: ChannelKey) -> Piece {
        let Some(channel) = self.channels.get_mut(key) else { return Piece::NotBegun };
        let piece = match (&mut channel.reading, channel.stream, &mut self.transport) {
            (None, ..) => return Piece::NotBegun,
            (Some(Reading::Stream), Some(stream), Some(transport)) => {
                match transport.sctp.recv_piece(stream) {
                    SctpPiece::Bytes(bytes) => Piece::Bytes(bytes),
                    SctpPiece::Pending => Piece::Pending,
                    SctpPiece::End => Piece::End,
                    // The peer has started its association over.
                    SctpPiece::Aborted | SctpPiece::NotBegun => Piece::Aborted,
                }
            }
            (Some(Reading::Stream), ..) => Piece::Aborted,
            (Some(Reading::Kept { pieces, aborted }), ..) => {
                pieces.retain(|piece| !piece.is_empty());
                match pieces.pop_front() {
                    Some(bytes) => Piece::Bytes(bytes),
                    None if *aborted => Piece::Aborted,
                    None => Piece::End,
                }
            }
        };
        match &piece {
            Piece::Bytes(bytes) => channel.bytes_read += bytes.len(),
            Piece::End => channel.counts.received(channel.bytes_read),
            Piece::Aborted | Piece::Pending | Piece::NotBegun => {}
        }
        if matches!(piece, Piece::End | Piece::Aborted) {
            channel.reading = None;
            channel.bytes_read = 0;
        }
        piece
    }

    /// Reads no more of the message that is being read: the rest is dropped as it comes.
    pub fn stop_recv(&mut self, now: Instant, key: ChannelKey) {
        self.now = now;
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.bytes_read = 0;
        if let Some(Reading::Stream) = channel.reading.take()
            && let (Some(stream), Some(transport)) = (channel.stream, &mut self.transport)
        {
            transport.sctp.refuse_message(stream);
        }
    }

    /// Whether there is something to read that is not a whole message.
    pub(crate) fn has_piece(&self, key: ChannelKey, stream: StreamId) -> bool {
        let head = self.transport.as_ref().and_then(|transport| transport.sctp.head(stream));
        self.is_reading(key)
            || (head.is_some_and(|head| head.ppid.0 != ppid::DCEP) && !self.is_next_channels(stream))
    }

    /// The channel's stream is no longer its own: what is left of the message that is being read is kept here.
    pub(crate) fn keep_pieces(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        if !matches!(channel.reading, Some(Reading::Stream)) {
            return;
        }
        let mut pieces = VecDeque::new();
        let mut aborted = true;
        if let (Some(stream), Some(transport)) = (channel.stream, &mut self.transport) {
            loop {
                match transport.sctp.recv_piece(stream) {
                    SctpPiece::Bytes(bytes) => pieces.push_back(bytes),
                    SctpPiece::Pending => {
                        transport.sctp.refuse_message(stream);
                        break;
                    }
                    other => {
                        aborted = other != SctpPiece::End;
                        break;
                    }
                }
            }
        }
        channel.reading = Some(Reading::Kept { pieces, aborted });
    }

    /// Refuses the next message of a stream if it is too large to be handed out whole. DCEP has no such messages.
    pub(crate) fn refuse_large(&mut self, stream: StreamId) -> bool {
        let Some(transport) = &mut self.transport else { return false };
        let refused = transport.sctp.head(stream).is_some_and(|head| head.is_too_large);
        if refused {
            tracing::debug!(stream = stream.0, "a message that can only be read in pieces is refused");
            transport.sctp.refuse_message(stream);
            self.counters.refused_large += 1;
        }
        refused
    }

    /// The next message of a stream that closes, if it is too large to be handed out whole and is there whole all the
    /// same.
    pub(crate) fn next_large(&mut self, stream: StreamId) -> Option<Message> {
        if self.is_next_channels(stream) {
            return None;
        }
        let sctp = &mut self.transport.as_mut()?.sctp;
        let head = sctp.head(stream).filter(|head| head.is_too_large && head.is_whole)?;
        sctp.begin_recv(stream)?;
        let SctpPiece::Bytes(payload) = sctp.recv_piece(stream) else { return None };
        sctp.refuse_message(stream);
        Message::from_wire(head.ppid, payload).map(|(message, _)| message)
    }

    /// Nobody will read what is on this stream.
    pub(crate) fn drop_unread(&mut self, stream: StreamId) {
        if let Some(key) = self.channels.of_stream(stream) {
            self.stop_recv(self.now, key);
        }
        while self.next_message(stream).is_some() || self.refuse_large(stream) {}
    }
}
