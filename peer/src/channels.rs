//! Data channels over SCTP streams: opening by DCEP (RFC 8832) or by agreed id, and messages. How they close is in
//! `closing.rs`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sinnet_dcep::{Limit, Message as Dcep, Open, ppid};
use sinnet_sctp::{Ppid, SendError, SendOptions, StreamId};

use crate::channel::{Channel, ChannelKey, ChannelOptions, ChannelState, Reliability};
use crate::channel_table::RESERVED_STREAM;
use crate::error::TrySendError;
use crate::event::Event;
use crate::message::Message;
use crate::peer::Peer;

/// A channel was not opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// As many channels as [`Config::max_channels`](crate::Config::max_channels) allows are there already.
    #[error(
        "there are {0} channels already, as many as this connection allows; close one or raise max_channels"
    )]
    TooMany(usize),
    /// Label or protocol has more than 65,535 bytes (RFC 8832 §5.1).
    #[error("label and protocol may have at most 65535 bytes each")]
    TextTooLong,
    /// The negotiated id is taken.
    #[error("channel id {0} is in use")]
    IdInUse(u16),
    /// 65,535 is no stream id (RFC 8832 §6).
    #[error("channel id 65535 does not exist; use 0 to 65534")]
    IdReserved,
    /// A channel by SDP with an id of the other side's parity (RFC 8864 §6.1), or, before the first answer, not of that of
    /// the other channels in the offer.
    #[error(
        "channel id {0} is for the other side to open: the DTLS client has even ids, the server odd ones"
    )]
    WrongParity(u16),
    /// A channel by SDP that is the same as the one that was closed on this id since the last exchange (RFC 8864 §6.6.1).
    #[error("channel id {0} was the same channel before; let an offer without it be answered first")]
    SameAsBefore(u16),
    /// An attribute of a channel by SDP that could not stand in an `a=dcsa` line.
    #[error(transparent)]
    Attribute(sinnet_sdp::DcmapError),
    /// The connection has ended or is ending.
    #[error("the connection is closed")]
    Closed,
}

/// What the application does with channels.
impl Peer {
    /// Opens a channel by DCEP, or by an id that both sides know ([`ChannelOptions::negotiated`]). It is
    /// [`ChannelState::Connecting`] until the association is up, then open.
    /// [`Peer::offer_channel`] is for those that SDP opens.
    pub fn open_channel(&mut self, now: Instant, options: ChannelOptions) -> Result<ChannelKey, OpenError> {
        self.now = now;
        self.check_new(&options)?;
        if let Some(id) = options.negotiated
            && self.negotiator.is_channel_known(id)
        {
            return Err(OpenError::IdInUse(id));
        }
        let key = self.channels.insert(Channel::new(options, ChannelState::Connecting));
        if self.transport.as_ref().is_some_and(|t| t.sctp.is_established()) {
            self.start_channel(key);
        }
        self.tell_negotiation_needed();
        Ok(key)
    }

    pub(crate) fn check_new(&self, options: &ChannelOptions) -> Result<(), OpenError> {
        if self.has_ended() || self.is_closing() {
            return Err(OpenError::Closed);
        }
        if self.channels.is_full() {
            return Err(OpenError::TooMany(self.channels.max));
        }
        let longest = options.label.len().max(options.protocol.len());
        if longest > usize::from(u16::MAX) {
            return Err(OpenError::TextTooLong);
        }
        match options.negotiated {
            Some(RESERVED_STREAM) => Err(OpenError::IdReserved),
            Some(id) if !self.channels.is_free(id) => Err(OpenError::IdInUse(id)),
            _ => Ok(()),
        }
    }

    /// The channel's state; [`ChannelState::Closed`] for one that is not known any more.
    pub fn channel_state(&self, key: ChannelKey) -> ChannelState {
        self.channels.get(key).map_or(ChannelState::Closed, |channel| channel.state)
    }

    /// What the channel was opened with, by whichever side.
    pub fn channel_options(&self, key: ChannelKey) -> Option<&ChannelOptions> {
        self.channels.get(key).map(|channel| &channel.options)
    }

    /// The channel's stream id, once it has one.
    pub fn channel_id(&self, key: ChannelKey) -> Option<u16> {
        self.channels.get(key)?.stream.map(|stream| stream.0)
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`TrySendError::Full`] gives the message back when the channel's budget is spent; the channel's [`Event::Writable`]
    /// tells when to try again. The other errors are final for this message.
    pub fn try_send(&mut self, now: Instant, key: ChannelKey, message: Message) -> Result<(), TrySendError> {
        self.send_with(now, key, message, false)
    }

    /// Queues a message even if the channel's budget is spent. For adapters that have been told of room
    /// ([`Peer::has_room_for`]) before they know what they have to send.
    ///
    /// # Errors
    /// As [`Peer::try_send`], but never [`TrySendError::Full`].
    pub fn send_over_budget(
        &mut self,
        now: Instant,
        key: ChannelKey,
        message: Message,
    ) -> Result<(), TrySendError> {
        self.send_with(now, key, message, true)
    }

    fn send_with(
        &mut self,
        now: Instant,
        key: ChannelKey,
        message: Message,
        over_budget: bool,
    ) -> Result<(), TrySendError> {
        self.now = now;
        let closing = self.is_closing();
        let channel = self.channels.get(key).ok_or(TrySendError::Closed)?;
        match channel.state {
            ChannelState::Connecting => return Err(TrySendError::NotOpen),
            ChannelState::Open if !closing => {}
            _ => return Err(TrySendError::Closed),
        }
        let (Some(stream), Some(transport)) = (channel.stream, &mut self.transport) else {
            return Err(TrySendError::NotOpen);
        };
        let size = message.len();
        if size as u64 > transport.peer_max_message_size {
            return Err(TrySendError::TooLarge { size, limit: transport.peer_max_message_size });
        }
        let mut options = send_options(channel);
        options.over_budget = over_budget;
        // The byte that stands for an empty message is ours (RFC 8831 §6.6).
        options.uncounted = message.is_empty();
        let (ppid, mut payload) = message.into_wire();
        match transport.sctp.send_from(now, stream, ppid, &mut payload, options) {
            Ok(()) => {
                if let Some(channel) = self.channels.get_mut(key) {
                    channel.counts.sent(size);
                }
                Ok(())
            }
            Err(SendError::BufferFull | SendError::Busy) => match Message::from_wire(ppid, payload) {
                Some((message, _)) => Err(TrySendError::Full(message)),
                None => Err(TrySendError::Closed),
            },
            Err(SendError::TooLarge) => Err(TrySendError::TooLarge { size, limit: u64::from(u32::MAX) }),
            Err(_) => Err(TrySendError::Closed),
        }
    }

    /// Whether the channel is open and neither it nor the connection is closing.
    pub fn takes_messages(&self, key: ChannelKey) -> bool {
        self.channel_state(key) == ChannelState::Open && !self.is_closing() && !self.has_ended()
    }

    /// The largest message that the peer accepts, bytes (`a=max-message-size`, RFC 8841 §6); `None` before its description
    /// is there.
    pub fn peer_max_message_size(&self) -> Option<u64> {
        self.transport.as_ref().map(|transport| transport.peer_max_message_size)
    }

    /// Whether [`Peer::try_send`] would take a message of `len` bytes, as far as the channel's budget goes. If not, the
    /// channel's [`Event::Writable`] tells when it does. False on a channel that has no stream, without an event.
    pub fn has_room_for(&mut self, key: ChannelKey, len: usize) -> bool {
        let stream = self.channels.get(key).and_then(|channel| channel.stream);
        match (stream, &mut self.transport) {
            // An empty message is a byte on the wire.
            (Some(stream), Some(transport)) => transport.sctp.has_room_for(stream, len.max(1)),
            _ => false,
        }
    }

    /// The most that the channel may hold of the send buffer, in bytes as [`Config::send_buffer`](crate::Config::send_buffer)
    /// counts them; [`Config::channel_send_buffer`](crate::Config::channel_send_buffer) at first. One message may be larger
    /// when it is alone.
    pub fn set_channel_send_buffer(&mut self, key: ChannelKey, bytes: usize) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.send_buffer = Some(bytes);
        if let (Some(stream), Some(transport)) = (channel.stream, &mut self.transport) {
            transport.sctp.set_stream_send_buffer(stream, bytes);
        }
    }

    /// Takes the next message, in order of arrival. `None`: there is none now; [`Event::Readable`] tells of the next. While
    /// a message is read in pieces the others wait.
    ///
    /// A message larger than [`Config::max_message_size`](crate::Config::max_message_size) can only be read in pieces
    /// ([`Peer::begin_recv`]). Asked for it in this way the peer refuses it, and closes the channel.
    pub fn recv(&mut self, key: ChannelKey) -> Option<Message> {
        let message = self.take_message(key)?;
        if let Some(channel) = self.channels.get_mut(key) {
            channel.counts.received(message.len());
        }
        Some(message)
    }

    fn take_message(&mut self, key: ChannelKey) -> Option<Message> {
        let channel = self.channels.get_mut(key)?;
        if channel.reading.is_some() {
            return None;
        }
        if let Some(message) = channel.pop_inbox() {
            self.channels.inbox_bytes -= message.len();
            return Some(message);
        }
        let stream = channel.stream?;
        let message = self.next_message(stream);
        if message.is_none() && self.refuse_large(stream) {
            self.close_channel(self.now, key);
        } else if message.is_none() {
            // A close that waited for the application to read can go on.
            self.progress_close(key);
        }
        message
    }

    /// Payload bytes accepted by `try_send` and not yet handed to the network once, or given up (W3C `bufferedAmount`).
    /// Neither headers nor the OPEN count, and empty messages count nothing.
    pub fn buffered_amount(&self, key: ChannelKey) -> usize {
        let stream = self.channels.get(key).and_then(|channel| channel.stream);
        match (stream, &self.transport) {
            (Some(stream), Some(transport)) => transport.sctp.buffered_amount(stream),
            _ => 0,
        }
    }

    /// Whether everything that was accepted has been handed to the network once, or given up. If not,
    /// [`Event::Flushed`] tells when it has. True on a channel that has no stream.
    pub fn is_flushed(&mut self, key: ChannelKey) -> bool {
        let stream = self.channels.get(key).and_then(|channel| channel.stream);
        match (stream, &mut self.transport) {
            (Some(stream), Some(transport)) => transport.sctp.is_flushed(stream),
            _ => true,
        }
    }

    /// Whether the buffered amount is at or below the low threshold.
    pub fn is_buffered_amount_low(&self, key: ChannelKey) -> bool {
        self.channels.get(key).is_none_or(|channel| self.buffered_amount(key) <= channel.low_threshold)
    }

    /// [`Event::BufferedAmountLow`] comes when the buffered amount falls from above `bytes` to it or below. As in W3C's
    /// definition, it is the amount that must fall: a threshold that is raised above it causes no event.
    pub fn set_buffered_amount_low_threshold(&mut self, key: ChannelKey, bytes: usize) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.low_threshold = bytes;
        if let (Some(stream), Some(transport)) = (channel.stream, &mut self.transport) {
            transport.sctp.set_buffered_amount_low_threshold(stream, bytes);
        }
    }

    /// Closes a channel in order: what was accepted is delivered first. [`ChannelState::Closed`] comes when the peer
    /// has closed its direction too.
    pub fn close_channel(&mut self, now: Instant, key: ChannelKey) {
        self.now = now;
        if let Some(channel) = self.channels.get_mut(key)
            && channel.state != ChannelState::Closed
        {
            channel.closing.requested = true;
            self.note_closed_by_sdp(key, true);
            self.progress_close(key);
            self.tell_negotiation_needed();
        }
    }

    /// Closes a channel that nobody will read or ask about any more; the key is dead after this.
    pub fn release_channel(&mut self, now: Instant, key: ChannelKey) {
        self.now = now;
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.released = true;
        channel.inbox.clear();
        let unread = std::mem::take(&mut channel.inbox_bytes);
        let (state, stream) = (channel.state, channel.stream);
        self.channels.inbox_bytes -= unread;
        if state == ChannelState::Closed {
            self.channels.remove(key);
            return;
        }
        if let Some(stream) = stream {
            self.drop_unread(stream);
        }
        self.close_channel(now, key);
    }
}

/// What SCTP has to say.
impl Peer {
    /// The association is up: the channels that waited for it open.
    pub(crate) fn start_channels(&mut self, outbound_streams: u16) {
        self.channels.stream_limit = Some(outbound_streams);
        self.reset_never_started();
        for key in self.channels.keys() {
            if self.channel_state(key) == ChannelState::Connecting {
                self.start_channel(key);
            }
        }
    }

    fn send_ack(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get(key) else { return };
        let (Some(stream), Some(transport)) = (channel.stream, &mut self.transport) else { return };
        let ack = Bytes::from_static(sinnet_dcep::ACK);
        if let Err(error) = transport.sctp.send(self.now, stream, Ppid(ppid::DCEP), ack, dcep_options()) {
            // Without an ACK the peer's messages stay ordered, nothing else.
            tracing::debug!(stream = stream.0, %error, "ACK was not accepted");
        }
    }

    pub(crate) fn start_channel(&mut self, key: ChannelKey) {
        let Some(transport) = &mut self.transport else { return };
        let known_to_sdp = |id| self.negotiator.is_channel_known(id);
        let free = self.channels.free_stream(transport.dtls_client, known_to_sdp);
        let limit = self.channels.stream_limit.unwrap_or(0);
        let Some(channel) = self.channels.get_mut(key) else { return };
        if !channel.is_agreed() {
            return;
        }
        let stream = match channel.stream.or(free) {
            Some(stream) if stream.0 < limit => stream,
            _ => {
                tracing::debug!("the peer accepts no such stream; channel closed");
                self.note_closed_by_sdp(key, true);
                self.set_closed(key);
                return;
            }
        };
        let negotiated = channel.options.negotiated.is_some();
        if !negotiated {
            let sent = match open_message(&channel.options) {
                Some(open) => {
                    let open = Bytes::from(open);
                    transport.sctp.send(self.now, stream, Ppid(ppid::DCEP), open, dcep_options())
                }
                None => Err(SendError::TooLarge),
            };
            match sent {
                Ok(()) => channel.awaiting_ack = true,
                Err(error) => {
                    tracing::debug!(stream = stream.0, %error, "OPEN was not accepted; channel closed");
                    self.set_closed(key);
                    return;
                }
            }
        }
        channel.stream = Some(stream);
        channel.state = ChannelState::Open;
        self.counters.connection.data_channels_opened += 1;
        transport.sctp.set_buffered_amount_low_threshold(stream, channel.low_threshold);
        transport.sctp.set_stream_priority(stream, channel.options.priority);
        transport
            .sctp
            .set_stream_send_buffer(stream, channel.send_buffer.unwrap_or(self.config.channel_send_buffer));
        let theirs = channel.take_theirs();
        self.channels.by_stream.insert(stream.0, key);
        self.events.push_back(match theirs {
            true => Event::ChannelOpened(key),
            false => Event::ChannelState(key, ChannelState::Open),
        });
        if negotiated {
            self.adopt_orphans(key, stream);
        }
    }

    fn adopt_orphans(&mut self, key: ChannelKey, stream: StreamId) {
        let orphans = self.channels.take_orphans(stream);
        if orphans.is_empty() {
            return;
        }
        for message in orphans {
            self.channels.inbox_bytes += message.len();
            if let Some(channel) = self.channels.get_mut(key) {
                channel.push_inbox(message);
            }
        }
        self.events.push_back(Event::Readable(key));
    }

    pub(crate) fn stream_readable(&mut self, stream: StreamId) {
        if self.channels.of_stream(stream).is_none() {
            self.read_unowned(stream);
        }
        let Some(key) = self.channels.of_stream(stream) else { return };
        self.open_by_data(key);
        self.take_dcep(stream);
        let Some(channel) = self.channels.get(key) else { return };
        if channel.released {
            self.drop_unread(stream);
            self.progress_close(key);
        } else if self.has_message(stream) || self.has_piece(key, stream) {
            self.events.push_back(Event::Readable(key));
        } else if !self.is_next_channels(stream) {
            // DCEP only: ask once more, so that SCTP tells us of the next message.
            let _ = self.transport.as_mut().and_then(|t| t.sctp.recv(stream));
        }
    }

    /// Messages on a stream without a channel: an OPEN makes one, other messages wait for one.
    fn read_unowned(&mut self, stream: StreamId) {
        while self.channels.of_stream(stream).is_none() {
            let Some(message) = self.transport.as_mut().and_then(|t| t.sctp.recv(stream)) else {
                self.counters.dropped_orphans += u64::from(self.refuse_large(stream));
                return;
            };
            if message.ppid.0 == ppid::DCEP {
                self.handle_dcep(stream, &message.payload);
            } else if let Some((message, _)) = Message::from_wire(message.ppid, message.payload) {
                if !self.channels.keep_orphan(stream, message) {
                    self.counters.dropped_orphans += 1;
                }
            } else {
                self.counters.dropped_unknown_ppid += 1;
            }
        }
    }

    /// Whether the stream is past its channel's end: the peer has reset it, and what comes now is its next channel's. The
    /// peer uses an id again as soon as it knows of our reset, and what it says then may overtake what tells us that it
    /// does (RFC 8831 §6.7). By DCEP that is an OPEN, as on streams of our parity DCEP is but the ACK of ours. Where both
    /// sides know the id there is none; but nothing is left of the old channel once both sides have asked for their resets.
    pub(crate) fn is_next_channels(&self, stream: StreamId) -> bool {
        // Asked for every message.
        let channel = self.channels.of_stream(stream).and_then(|key| self.channels.get(key));
        channel.is_some_and(|channel| channel.closing.peer_reset && self.is_after(channel, stream))
    }

    /// Whether what comes on the stream is past the end of this channel, whose stream the peer has reset.
    fn is_after(&self, Channel { options, closing, .. }: &Channel, stream: StreamId) -> bool {
        if self.channels.successors.contains_key(&stream.0) {
            return true;
        }
        if options.negotiated.is_some() {
            return closing.reset_sent && !self.channels.burnt.contains(&stream.0);
        }
        self.transport.as_ref().is_some_and(|transport| {
            let head = transport.sctp.peek_ppid(stream);
            head.is_some_and(|head| head.0 == ppid::DCEP) && !transport.is_ours(stream)
        })
    }

    /// Whether the stream's channel has something to read.
    pub(crate) fn has_message(&self, stream: StreamId) -> bool {
        self.transport.as_ref().is_some_and(|t| t.sctp.peek_ppid(stream).is_some())
            && !self.is_next_channels(stream)
    }

    /// Handles the DCEP messages at the head of a stream.
    pub(crate) fn take_dcep(&mut self, stream: StreamId) {
        while !self.is_next_channels(stream)
            && let Some(transport) = &mut self.transport
            && transport.sctp.peek_ppid(stream).is_some_and(|p| p.0 == ppid::DCEP)
            && let Some(message) = transport.sctp.recv(stream)
        {
            self.handle_dcep(stream, &message.payload);
        }
    }

    /// The next application message of a stream, past what is not one.
    pub(crate) fn next_message(&mut self, stream: StreamId) -> Option<Message> {
        loop {
            if self.is_next_channels(stream) {
                return None;
            }
            let message = self.transport.as_mut()?.sctp.recv(stream)?;
            if message.ppid.0 == ppid::DCEP {
                self.handle_dcep(stream, &message.payload);
                continue;
            }
            match Message::from_wire(message.ppid, message.payload) {
                Some((message, invalid)) => {
                    self.counters.invalid_text += u64::from(invalid);
                    return Some(message);
                }
                None => self.counters.dropped_unknown_ppid += 1,
            }
        }
    }

    fn handle_dcep(&mut self, stream: StreamId, payload: &[u8]) {
        match sinnet_dcep::parse(payload) {
            Ok(Dcep::Open(open)) => self.handle_open(stream, &open),
            Ok(Dcep::Ack) => {
                let key = self.channels.of_stream(stream);
                match key.and_then(|key| self.channels.get_mut(key)) {
                    Some(channel) if channel.awaiting_ack => channel.awaiting_ack = false,
                    _ => self.dcep_error(stream, "ACK without OPEN"),
                }
            }
            Err(error) => {
                tracing::debug!(stream = stream.0, %error, "DCEP message does not parse");
                self.counters.dcep_errors += 1;
                self.refuse(stream);
            }
        }
    }

    /// RFC 8832 §6: the peer's ids have the other parity than ours, and a stream carries one channel.
    fn handle_open(&mut self, stream: StreamId, open: &Open<'_>) {
        let Some(ours) = self.transport.as_ref().map(|t| t.is_ours(stream)) else { return };
        if ours || stream.0 == RESERVED_STREAM {
            self.dcep_error(stream, "OPEN with the wrong parity");
            return self.refuse(stream);
        }
        if self.channels.of_stream(stream).is_some() {
            self.dcep_error(stream, "OPEN on a stream in use");
            return self.refuse(stream);
        }
        let label_bytes = open.label.len() + open.protocol.len();
        let labels_fit = label_bytes <= self.channels.label_room();
        if self.channels.is_full() || !labels_fit || self.is_closing() {
            self.dcep_error(stream, "OPEN beyond the limit of channels");
            return self.refuse(stream);
        }
        let Some(reliability) = open.channel_type.reliability(open.reliability) else {
            self.dcep_error(stream, "OPEN of an unknown channel type");
            return self.refuse(stream);
        };
        let options = ChannelOptions {
            label: open.label.to_owned(),
            protocol: open.protocol.to_owned(),
            ordered: reliability.ordered,
            reliability: match reliability.limit {
                Limit::None => Reliability::Reliable,
                Limit::MaxRetransmits(n) => Reliability::MaxRetransmits(n),
                Limit::MaxLifetimeMs(ms) => Reliability::MaxPacketLifeTime(ms),
            },
            priority: open.priority,
            negotiated: None,
        };
        let mut channel = Channel::new(options, ChannelState::Open);
        self.counters.connection.data_channels_opened += 1;
        if let Some(transport) = &mut self.transport {
            transport.sctp.set_stream_priority(stream, open.priority);
            transport.sctp.set_stream_send_buffer(stream, self.config.channel_send_buffer);
        }
        channel.stream = Some(stream);
        channel.label_bytes = label_bytes;
        let key = self.channels.insert(channel);
        self.send_ack(key);
        self.events.push_back(Event::ChannelOpened(key));
        self.adopt_orphans(key, stream);
    }

    fn dcep_error(&mut self, stream: StreamId, what: &str) {
        tracing::debug!(stream = stream.0, what, "DCEP error");
        self.counters.dcep_errors += 1;
    }

    /// Closes whatever the peer thinks is on this stream (RFC 8832 §6).
    fn refuse(&mut self, stream: StreamId) {
        match self.channels.of_stream(stream) {
            Some(key) => self.close_channel(self.now, key),
            None => {
                if let Some(transport) = &mut self.transport {
                    // Refused only when the association is ending anyway.
                    let _ = transport.sctp.reset_stream(self.now, stream);
                }
            }
        }
    }

    /// Takes up the streams that were left to their next channel.
    pub(crate) fn revisit_streams(&mut self) {
        while let Some((stream, reset)) = self.channels.revisit.pop() {
            self.stream_readable(stream);
            if reset {
                self.streams_reset_by_peer(&[stream]);
            }
        }
    }

    pub(crate) fn stream_writable(&mut self, stream: StreamId) {
        if let Some(key) = self.channels.of_stream(stream) {
            self.events.push_back(Event::Writable(key));
        }
    }

    pub(crate) fn stream_flushed(&mut self, stream: StreamId) {
        if let Some(key) = self.channels.of_stream(stream) {
            self.events.push_back(Event::Flushed(key));
        }
    }

    pub(crate) fn stream_low(&mut self, stream: StreamId) {
        if let Some(key) = self.channels.of_stream(stream) {
            self.events.push_back(Event::BufferedAmountLow(key));
        }
    }

    /// Streams have been added.
    pub(crate) fn set_stream_limit(&mut self, outbound_streams: u16) {
        self.channels.stream_limit = Some(outbound_streams);
    }
}

/// How the channel's messages are sent.
pub(crate) fn send_options(channel: &Channel) -> SendOptions {
    let mut options = SendOptions::default();
    options.unordered = !channel.options.ordered && !channel.awaiting_ack;
    match channel.options.reliability {
        Reliability::Reliable => {}
        Reliability::MaxRetransmits(n) => options.max_retransmits = Some(n),
        Reliability::MaxPacketLifeTime(ms) => {
            options.lifetime = Some(Duration::from_millis(u64::from(ms)));
        }
    }
    options
}

/// DCEP is ordered and reliable (RFC 8832 §6), and it is the first thing that is sent on its stream: there is no budget
/// to keep to.
fn dcep_options() -> SendOptions {
    SendOptions { over_budget: true, uncounted: true, ..SendOptions::default() }
}

/// `None` for texts that are too long, which `open_channel` has refused.
fn open_message(options: &ChannelOptions) -> Option<Vec<u8>> {
    let limit = match options.reliability {
        Reliability::Reliable => Limit::None,
        Reliability::MaxRetransmits(n) => Limit::MaxRetransmits(n),
        Reliability::MaxPacketLifeTime(ms) => Limit::MaxLifetimeMs(ms),
    };
    let reliability = sinnet_dcep::Reliability { ordered: options.ordered, limit };
    let (channel_type, value) = reliability.to_wire();
    Open {
        channel_type,
        priority: options.priority,
        reliability: value,
        label: &options.label,
        protocol: &options.protocol,
    }
    .to_vec()
    .ok()
}
