use std::future::poll_fn;
use std::sync::Arc;

use sinnet_peer::{
    ChannelKey, ChannelState, DataChannelStats, Dcmap, Limit, Message, MessageKind, Reliability,
};

use crate::byte_stream::ByteStream;
use crate::channel_handle::{ChannelHandle, Polls};
use crate::error::{Error, SendError, TrySendError, WriteError};
use crate::halves::{DataReceiver, DataSender};
use crate::message_reader::MessageReader;
use crate::message_writer::MessageWriter;
use crate::peer_connection::PeerHandle;
use crate::waiters::Want;

/// What a channel is opened with: W3C's `RTCDataChannelInit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataChannelOptions {
    /// Whether messages arrive in the order in which they were sent. True by default.
    pub ordered: bool,
    /// Whether messages may be given up. They may not by default.
    pub reliability: Reliability,
    /// A subprotocol's name, or empty.
    pub protocol: String,
    /// The stream id, when both sides open the channel by themselves.
    pub negotiated: Option<u16>,
    /// 128 below normal, 256 normal (the default), 512 high, 1024 extra high (RFC 8831 §6.4).
    pub priority: u16,
    /// The most that the channel may hold of the send buffer, bytes, as [`DataChannel::set_send_buffer`] sets it. `None`, the
    /// default, leaves it at [`PeerConfig::channel_send_buffer`](crate::PeerConfig::channel_send_buffer).
    pub send_buffer: Option<usize>,
}

impl Default for DataChannelOptions {
    fn default() -> Self {
        Self {
            ordered: true,
            reliability: Reliability::Reliable,
            protocol: String::new(),
            negotiated: None,
            priority: 256,
            send_buffer: None,
        }
    }
}

impl From<&Dcmap> for DataChannelOptions {
    /// What `a=dcmap` says (RFC 8864 §5.1), but for the label.
    fn from(map: &Dcmap) -> Self {
        Self {
            ordered: map.ordered(),
            reliability: match map.limit() {
                Limit::None => Reliability::Reliable,
                Limit::MaxRetr(n) => Reliability::MaxRetransmits(n),
                Limit::MaxTime(ms) => Reliability::MaxPacketLifeTime(ms),
            },
            protocol: map.subprotocol().to_owned(),
            negotiated: Some(map.stream_id()),
            priority: map.priority(),
            send_buffer: None,
        }
    }
}

/// A channel of messages: W3C's `RTCDataChannel`.
///
/// Dropping the last handle closes the channel; what was accepted for sending is still delivered, what was not read is
/// dropped.
#[derive(Clone)]
pub struct DataChannel(pub(crate) Arc<ChannelHandle>);

impl DataChannel {
    pub(crate) fn new(peer: Arc<PeerHandle>, key: ChannelKey) -> Self {
        Self(Arc::new(ChannelHandle::new(peer, key)))
    }

    /// One question, and the wait for its answer.
    fn polls(&self) -> Polls<&ChannelHandle> {
        Polls::new(&self.0)
    }

    /// The name it was opened with.
    pub fn label(&self) -> &str {
        &self.0.options.label
    }

    /// The subprotocol it was opened with, or empty.
    pub fn protocol(&self) -> &str {
        &self.0.options.protocol
    }

    /// Whether messages arrive in order.
    pub fn ordered(&self) -> bool {
        self.0.options.ordered
    }

    /// Whether messages may be given up.
    pub fn reliability(&self) -> Reliability {
        self.0.options.reliability
    }

    /// The stream id, once the connection is up.
    pub fn id(&self) -> Option<u16> {
        self.0.lock().peer.channel_id(self.0.key)
    }

    /// What the peer's `a=dcsa` lines say of it (RFC 8864 §5.2), once it is open; empty if SDP has not opened it.
    pub fn remote_attributes(&self) -> Vec<String> {
        self.0.lock().peer.channel_attributes(self.0.key).to_vec()
    }

    /// The channel's state.
    pub fn ready_state(&self) -> ChannelState {
        self.0.lock().peer.channel_state(self.0.key)
    }

    /// What has been sent and received: W3C's `RTCDataChannelStats`.
    pub fn stats(&self) -> DataChannelStats {
        // A channel with a handle is known to the core.
        self.0.lock().peer.channel_stats(self.0.key).unwrap_or_default()
    }

    /// Waits until messages can be sent.
    ///
    /// Cancel safe: a future that is dropped has changed nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ended first, [`Error::ChannelClosed`] when only the channel did.
    pub async fn opened(&self) -> Result<(), Error> {
        let mut polls = self.polls();
        poll_fn(|cx| {
            polls.poll_until(cx, Want::State, |core, key| match core.peer.channel_state(key) {
                ChannelState::Open => Some(Ok(())),
                ChannelState::Connecting => None,
                _ => Some(Err(core.closed.clone().map_or(Error::ChannelClosed, Error::Closed))),
            })
        })
        .await
    }

    /// Sends a message; waits until the channel is open and there is room for it. Who has begun to wait first sends first.
    ///
    /// Cancel safe: a future that is dropped before it is ready has sent nothing. The message is gone with it; where it
    /// must not be, wait for [`DataChannel::writable`] and use [`DataChannel::try_send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = Some(message.into());
        let mut polls = self.polls();
        poll_fn(|cx| polls.poll_send(cx, &mut message)).await
    }

    /// Sends a message if that can be done now, even before others who wait for room.
    ///
    /// # Errors
    /// [`TrySendError::Full`] and [`TrySendError::NotOpen`] give the message back. There is room again when
    /// [`DataChannel::writable`] says so.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.0.try_send(message.into())
    }

    /// Waits until the channel is open and there is room for a message of `len` bytes. Others may take it before you do.
    ///
    /// Cancel safe: a future that is dropped has changed nothing.
    ///
    /// # Errors
    /// [`SendError::Closed`] when nothing can be sent any more.
    pub async fn writable(&self, len: usize) -> Result<(), SendError> {
        let mut polls = self.polls();
        poll_fn(|cx| polls.poll_room(cx, len)).await
    }

    /// Begins a message of which nobody need know the length, to be given in pieces: larger than memory, up to what the
    /// peer accepts ([`DataChannel::max_message_size`]; 1 GiB in Firefox, 256 KiB in Chromium). Waits until the channel is
    /// open and the messages before it are queued. Until its end the channel takes no other, and those that want to
    /// [`send`](DataChannel::send) wait.
    ///
    /// With a peer that interleaves messages (RFC 8260), as this stack and Firefox do, other channels go on meanwhile.
    /// **With others, as Chromium, nothing else is sent** from the message's first byte to its last: give the pieces
    /// quickly then.
    ///
    /// Cancel safe: a future that is dropped has begun nothing.
    ///
    /// # Errors
    /// [`WriteError::Closed`], and [`WriteError::NotSupported`] by peers that can't be told of a message that is given up.
    pub async fn send_stream(&self, kind: MessageKind) -> Result<MessageWriter, WriteError> {
        let mut polls = self.polls();
        poll_fn(|cx| polls.poll_begin(cx, kind)).await?;
        Ok(MessageWriter::new(self.0.clone(), kind))
    }

    /// Waits until the next message has begun to arrive, to be read in pieces as they come; `None` when the channel is
    /// closed and all that had arrived is read. What is read makes room, so the message may be larger than the receive
    /// buffer: [`PeerConfig::max_message_size_in_pieces`](crate::PeerConfig::max_message_size_in_pieces). Any message can
    /// be read so, small ones too.
    ///
    /// On an ordered channel it is the next message, on an unordered one any that has begun. Until it is read, or the
    /// reader dropped, the channel's other messages wait.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken nothing.
    pub async fn recv_stream(&self) -> Option<MessageReader> {
        let mut polls = self.polls();
        let kind = poll_fn(|cx| polls.poll_begin_recv(cx)).await?;
        Some(MessageReader::new(self.0.clone(), kind))
    }

    /// Waits for the next message; `None` when the channel is closed and all that had arrived is read. A message larger than
    /// [`PeerConfig::max_message_size`](crate::PeerConfig::max_message_size), if the peer may send such
    /// ([`PeerConfig::max_message_size_in_pieces`](crate::PeerConfig::max_message_size_in_pieces)), closes the channel.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken no message.
    pub async fn recv(&self) -> Option<Message> {
        let mut polls = self.polls();
        poll_fn(|cx| polls.poll_recv(cx)).await
    }

    /// Takes the next message if there is one.
    pub fn try_recv(&self) -> Option<Message> {
        self.0.try_recv()
    }

    /// The largest message that the peer accepts, in bytes (`a=max-message-size`), once its description is there.
    pub fn max_message_size(&self) -> Option<u64> {
        self.0.lock().peer.peer_max_message_size()
    }

    /// Payload bytes accepted for sending and not yet handed to the network: W3C's `bufferedAmount`.
    pub fn buffered_amount(&self) -> usize {
        self.0.lock().peer.buffered_amount(self.0.key)
    }

    /// The most that the channel may hold of the send buffer, in bytes that the peer has not acknowledged (and about 400
    /// for each message); [`PeerConfig::channel_send_buffer`](crate::PeerConfig::channel_send_buffer) at first. What it may hold
    /// in fact is its share, if that is less. One message may be larger when nothing else is unacknowledged.
    pub fn set_send_buffer(&self, bytes: usize) {
        self.0.lock().peer.set_channel_send_buffer(self.0.key, bytes);
        // There may be room now.
        self.0.touch();
    }

    /// What [`DataChannel::buffered_amount_low`] waits for; 0 by default.
    pub fn set_buffered_amount_low_threshold(&self, bytes: usize) {
        let mut core = self.0.lock();
        core.peer.set_buffered_amount_low_threshold(self.0.key, bytes);
        // It may be low by the new measure, and then no event will come.
        core.wake(self.0.key, Want::Low);
    }

    /// Waits until the buffered amount is at or below the threshold, or the channel is closed. With a threshold of 0
    /// that is: until everything has been handed to the network once.
    ///
    /// Cancel safe: a future that is dropped has changed nothing.
    pub async fn buffered_amount_low(&self) {
        let mut polls = self.polls();
        poll_fn(|cx| {
            polls.poll_until(cx, Want::Low, |core, key| {
                let is_closed = core.peer.channel_state(key) == ChannelState::Closed;
                (is_closed || core.peer.is_buffered_amount_low(key)).then_some(())
            })
        })
        .await;
    }

    /// Waits until everything that was accepted has been handed to the network once, whatever the low threshold.
    ///
    /// Cancel safe: a future that is dropped has changed nothing.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the connection was lost before.
    pub async fn flush(&self) -> Result<(), SendError> {
        let mut polls = self.polls();
        poll_fn(|cx| polls.poll_flush(cx)).await
    }

    /// Closes in order: what was accepted is delivered first. [`DataChannel::closed`] waits for the end.
    pub fn close(&self) {
        self.0.close();
    }

    /// Waits until the channel is closed, by whichever side. Unread messages keep the peer's close waiting only when
    /// they are more than the receive buffer.
    ///
    /// Cancel safe: a future that is dropped has changed nothing; a close goes on.
    pub async fn closed(&self) {
        let mut polls = self.polls();
        poll_fn(|cx| polls.poll_closed(cx)).await;
    }

    /// The channel as two halves, one to send with and one to receive with, which different tasks may own. It closes
    /// when both are dropped, and all other handles; one half alone keeps it open.
    pub fn split(self) -> (DataSender, DataReceiver) {
        (DataSender::new(self.0.clone()), DataReceiver::new(self.0))
    }

    /// The channel as a stream of bytes, without regard to where messages begin and end.
    ///
    /// # Errors
    /// Gives the channel back if it is unordered or may lose messages: bytes that are missing or in another place would
    /// go unnoticed.
    pub fn into_byte_stream(self) -> Result<ByteStream, DataChannel> {
        match self.ordered() && self.reliability() == Reliability::Reliable {
            true => Ok(ByteStream::new(self.0)),
            false => Err(self),
        }
    }
}

impl std::fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataChannel").field("label", &self.label()).finish_non_exhaustive()
    }
}
