//! What an association tells its owner.

use bytes::Bytes;

use crate::types::{Ppid, StreamId};
use crate::wire::cause::CauseCode;

/// A whole message from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The stream it came on.
    pub stream_id: StreamId,
    /// The payload protocol identifier of its first fragment.
    pub ppid: Ppid,
    /// Whether it was sent unordered.
    pub unordered: bool,
    /// The bytes; never empty.
    pub payload: Bytes,
}

/// The next message of a stream, by [`Association::head`](crate::Association::head).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The payload protocol identifier of its first fragment.
    pub ppid: Ppid,
    /// All of it has arrived.
    pub is_whole: bool,
    /// What there is of it is more than [`Config::max_whole_message`](crate::Config::max_whole_message): it can only be
    /// read in pieces, or refused.
    pub is_too_large: bool,
}

/// What [`Association::recv_piece`](crate::Association::recv_piece) has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes of the message; never none.
    Bytes(Bytes),
    /// The rest has not arrived yet. [`Event::Readable`] tells of more.
    Pending,
    /// The message is complete. Said once.
    End,
    /// The rest will never come: the peer has given the message up, or the association has ended. Said once. What was
    /// read is not a message.
    Aborted,
    /// No message is being read.
    NotBegun,
}

/// What has happened, in order. Events that would repeat an undrained one are merged with it, so an owner
/// that does not drain costs a bounded amount of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete.
    Connected {
        /// How many streams we may send on: ids below this.
        outbound_streams: u16,
        /// How many streams the peer may send on.
        inbound_streams: u16,
    },
    /// At least one whole message can be taken from this stream with `recv`, or one that is too large for that has begun
    /// to arrive (see [`Head`]). Said once, and again only after `recv` has returned `None`. On a stream that is read
    /// in pieces: a message has begun, or there are bytes of it, or its end; again after [`Piece::Pending`], or after
    /// `begin_recv` has found none.
    Readable(StreamId),
    /// The stream's `buffered_amount` has fallen from above its threshold to the threshold or below.
    BufferedAmountLow(StreamId),
    /// Everything that was accepted on this stream has been sent once or given up, which
    /// [`is_flushed`](crate::Association::is_flushed) had denied before.
    Flushed(StreamId),
    /// A `send` on this stream was refused because its budget was spent; now a quarter of it or more is free, and there
    /// is room for what was refused, or nothing of the stream is unacknowledged any more. Streams are told in the order
    /// in which they were refused, as far as there is room for them.
    SendCapacity(StreamId),
    /// The peer has reset its outgoing side of these streams, after everything it sent on them has arrived:
    /// the channel is to be closed from our side too. Comes after the `Readable` of those last messages.
    StreamsResetByPeer(Vec<StreamId>),
    /// Our outgoing side of these streams is reset; the ids may be used again once the peer's side is too.
    StreamsResetDone(Vec<StreamId>),
    /// The peer refused to reset these streams.
    StreamsResetFailed(Vec<StreamId>),
    /// The peer asks for the reset of our side of these streams, which is under way as if
    /// [`reset_stream`](crate::Association::reset_stream) had been called (RFC 6525 §5.2.3). Browsers don't.
    ResetRequestedByPeer(Vec<StreamId>),
    /// The peer has answered our request to reset its side of these streams, and it is at its beginning.
    IncomingResetDone(Vec<StreamId>),
    /// The peer will not reset its side of these streams.
    IncomingResetFailed(Vec<StreamId>),
    /// Streams were added, by either side (RFC 6525 §5.2.5). How many there are now.
    StreamsChanged {
        /// How many streams we may send on.
        outbound_streams: u16,
        /// How many streams the peer may send on.
        inbound_streams: u16,
    },
    /// The peer refused to add streams. How many.
    AddStreamsFailed {
        /// Of ours.
        outgoing: u16,
        /// Of the peer's.
        incoming: u16,
    },
    /// The peer has started over (RFC 9260 §5.2.4 action A): streams begin anew, and messages not yet
    /// acknowledged or not yet read are lost.
    Restarted,
    /// The end; nothing comes after it.
    Closed(CloseReason),
}

/// Why an association has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Orderly, by SHUTDOWN from either side: everything sent was acknowledged.
    Shutdown,
    /// The peer sent ABORT.
    AbortedByPeer {
        /// The first error cause; [`CauseCode::USER_INITIATED_ABORT`] for a deliberate close.
        code: CauseCode,
        /// The text that came with it, if any.
        reason: String,
    },
    /// `abort` was called on our side.
    AbortedLocally,
    /// No answer: the handshake, the data or the shutdown was repeated as often as the settings allow.
    Timeout,
    /// The peer has begun more messages at once, on different streams, than
    /// [`Config::receive_buffer`](crate::Config::receive_buffer) holds, so that none of them could ever be completed. We
    /// sent ABORT with the cause "out of resource". Happens with I-DATA only.
    OutOfReceiveBuffer,
    /// The peer broke the protocol and we sent ABORT; the text names the rule.
    ProtocolViolation(&'static str),
}
