//! One data channel's state.

use std::collections::VecDeque;
use std::fmt;

use sinnet_sctp::StreamId;

use crate::message::Message;
use crate::pieces::{Reading, Writing};

/// Names a channel of one [`Peer`](crate::Peer). Never reused within it, unlike stream ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// How much a channel promises (RFC 8831 §6.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Reliability {
    /// Every message arrives.
    #[default]
    Reliable,
    /// A message is given up after so many retransmissions.
    MaxRetransmits(u32),
    /// A message is given up so many milliseconds after it was sent.
    MaxPacketLifeTime(u32),
}

/// What a channel is opened with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelOptions {
    /// A name for the application; at most 65,535 bytes of UTF-8.
    pub label: String,
    /// A subprotocol's name, or empty; at most 65,535 bytes of UTF-8.
    pub protocol: String,
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// Whether messages may be given up.
    pub reliability: Reliability,
    /// DCEP priority (RFC 8831 §6.4): 128 below normal, 256 normal, 512 high, 1024 extra high.
    pub priority: u16,
    /// The stream id, when both sides open the channel by themselves and no DCEP is spoken.
    pub negotiated: Option<u16>,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            label: String::new(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            priority: 256,
            negotiated: None,
        }
    }
}

/// The life of a channel, as W3C's `RTCDataChannelState` has it.
///
/// ```text
///  Connecting ── SCTP is up, OPEN is queued ──▶ Open ── close, or the peer's reset ──▶ Closing ── both resets done ──▶ Closed
///       └──────────────── close before it opened, or the connection's end, from every state ────────────────────────▶ Closed
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChannelState {
    /// Waiting for the association.
    Connecting,
    /// Messages can be sent.
    Open,
    /// One side has asked for the end; what was accepted before is still delivered.
    Closing,
    /// The end. What has arrived can still be read.
    Closed,
}

impl fmt::Display for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChannelState::Connecting => "connecting",
            ChannelState::Open => "open",
            ChannelState::Closing => "closing",
            ChannelState::Closed => "closed",
        })
    }
}

/// How far the closing of the stream pair has come (RFC 8831 §6.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Closing {
    /// The application, or the peer's reset, has asked for it.
    pub(crate) requested: bool,
    /// Our outgoing stream reset has been handed to SCTP.
    pub(crate) reset_sent: bool,
    /// SCTP has performed our outgoing reset.
    pub(crate) reset_done: bool,
    /// The peer has reset its outgoing stream.
    pub(crate) peer_reset: bool,
    /// It has done so once more: the next channel of this stream is over, too, before we have seen it.
    pub(crate) next_reset: bool,
}

/// A channel's entry in the table.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) options: ChannelOptions,
    /// Bytes of label and protocol, if the peer has opened it.
    pub(crate) label_bytes: usize,
    pub(crate) state: ChannelState,
    /// None until the DTLS role decides the parity of our ids (RFC 8832 §6).
    pub(crate) stream: Option<StreamId>,
    /// We sent OPEN and have no ACK yet: everything goes ordered until then (RFC 8832 §6).
    pub(crate) awaiting_ack: bool,
    pub(crate) closing: Closing,
    /// Messages taken out of SCTP: what came before the channel was there, and what was unread when it closed.
    pub(crate) inbox: VecDeque<Message>,
    /// Bytes in `inbox`.
    pub(crate) inbox_bytes: usize,
    /// The application has let go of the channel: drop what comes, forget the entry when it is closed.
    pub(crate) released: bool,
    pub(crate) low_threshold: usize,
    /// The most that it may hold of the send buffer, if that was said of this channel.
    pub(crate) send_buffer: Option<usize>,
    /// Payload bytes of the message that is being given in pieces, and what it is.
    pub(crate) writing: Option<Writing>,
    /// The message that is being read in pieces.
    pub(crate) reading: Option<Reading>,
    /// Bytes of it that the application has.
    pub(crate) bytes_read: usize,
    /// How far SDP has come with it, if it is SDP that opens it (RFC 8864).
    pub(crate) by_sdp: Option<BySdp>,
    pub(crate) counts: Counts,
}

/// What the application has sent and received on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) bytes_received: u64,
}

impl Counts {
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.messages_sent += 1;
        self.bytes_sent += bytes as u64;
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.messages_received += 1;
        self.bytes_received += bytes as u64;
    }
}

/// A channel that is opened by SDP. Its id is the one in its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BySdp {
    pub(crate) phase: Phase,
    /// What `a=dcsa` says: ours and the peer's.
    pub(crate) local_attributes: Vec<String>,
    pub(crate) remote_attributes: Vec<String>,
    /// The id was ours to choose, and can be chosen again.
    pub(crate) any_id: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// For the next offer.
    Wanted,
    /// In the offer that is pending: the peer's data opens it, if it comes before the answer (RFC 8864 §6.5).
    Offered,
    /// Both sides have agreed. `theirs` where the offer was the peer's, and the application does not know of it yet.
    Agreed { theirs: bool },
}

impl Channel {
    pub(crate) fn new(options: ChannelOptions, state: ChannelState) -> Self {
        let stream = options.negotiated.map(StreamId);
        Self {
            options,
            label_bytes: 0,
            state,
            stream,
            awaiting_ack: false,
            send_buffer: None,
            closing: Closing::default(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            released: false,
            low_threshold: 0,
            writing: None,
            reading: None,
            bytes_read: 0,
            by_sdp: None,
            counts: Counts::default(),
        }
    }

    pub(crate) fn push_inbox(&mut self, message: Message) {
        self.inbox_bytes += message.len();
        self.inbox.push_back(message);
    }

    pub(crate) fn pop_inbox(&mut self) -> Option<Message> {
        let message = self.inbox.pop_front()?;
        self.inbox_bytes -= message.len();
        Some(message)
    }
}
