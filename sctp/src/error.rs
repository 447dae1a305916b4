//! What a caller can do wrong. A peer's mistakes are counted in [`Stats`](crate::Stats) instead.

/// Why a message was not accepted; nothing has been queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// SCTP has no empty messages; data channels send one byte with a PPID that says so (RFC 8831 §6.6).
    #[error("a message must not be empty")]
    Empty,
    /// The stream's share of the send buffer is full; wait for its `Event::SendCapacity`. A message larger than the
    /// whole buffer is accepted when nothing of the stream is unacknowledged.
    #[error("the send buffer is full")]
    BufferFull,
    /// More than 2^32 − 1 bytes.
    #[error("the message is too large")]
    TooLarge,
    /// The id is not below the number of streams that both sides agreed on.
    #[error("the stream id is out of range")]
    NoSuchStream,
    /// `reset_stream` was called, and the reset has not been performed yet.
    #[error("the stream is being reset")]
    StreamResetting,
    /// A message is being given in pieces on this stream: finish or abandon it first. `Event::SendCapacity` comes then.
    #[error("a message is being given in pieces on this stream")]
    Busy,
    /// The association is closing or closed.
    #[error("the association is closing or closed")]
    Closed,
}

/// Why a message can't be given in pieces, or this piece of it was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PieceError {
    /// The send buffer can't take the piece now; wait for `Event::SendCapacity`. A piece larger than the whole buffer
    /// is accepted when nothing else is buffered.
    #[error("the send buffer is full")]
    BufferFull,
    /// The piece has 2^32 bytes or more.
    #[error("the piece is too large")]
    TooLarge,
    /// The message has been given up, because of its limits (see `SendOptions`). The peer sees nothing of it. Said
    /// until it is abandoned or another one is begun.
    #[error("the message was given up because of its limits")]
    Abandoned,
    /// No message has been begun on this stream, or it was given up when the stream was reset or the peer restarted.
    #[error("no message has been begun on this stream")]
    NotBegun,
    /// SCTP has no empty messages. The message is still open.
    #[error("a message must not be empty")]
    Empty,
    /// Another message is being given in pieces on this stream.
    #[error("a message is being given in pieces on this stream")]
    Busy,
    /// The id is not below the number of streams that both sides agreed on.
    #[error("the stream id is out of range")]
    NoSuchStream,
    /// `reset_stream` was called, and the reset has not been performed yet.
    #[error("the stream is being reset")]
    StreamResetting,
    /// The peer has not announced FORWARD TSN (RFC 3758), so that a message that is half sent could not be given up.
    #[error("the peer does not support giving up messages")]
    NotSupported,
    /// The handshake is not done.
    #[error("the association is not established yet")]
    NotEstablished,
    /// The association is closing or closed.
    #[error("the association is closing or closed")]
    Closed,
}

/// Why a stream can't be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// The peer has not announced RE-CONFIG (RFC 6525).
    #[error("the peer does not support stream reset")]
    NotSupported,
    /// The id is not below the number of streams that both sides agreed on.
    #[error("the stream id is out of range")]
    NoSuchStream,
    /// The association is closing or closed.
    #[error("the association is closing or closed")]
    Closed,
}

/// Why streams can't be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddStreamsError {
    /// The peer has not announced RE-CONFIG (RFC 6525).
    #[error("the peer does not support adding streams")]
    NotSupported,
    /// There would be more than 65,535.
    #[error("there can't be so many streams")]
    TooMany,
    /// The handshake is not done, or the association is closing or closed.
    #[error("the association is not established")]
    NotEstablished,
}

/// Why an association was not set up from the peer's INIT chunk (draft-hancke-tsvwg-snap).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapError {
    /// Not one whole INIT chunk and nothing else.
    #[error("not an INIT chunk")]
    NotAnInit,
    /// More than 2048 bytes.
    #[error("the INIT chunk is too long")]
    TooLong,
    /// An INIT that would have been refused: tag 0, no streams, a window below 1500 bytes, a host name.
    #[error("the INIT chunk can't be used")]
    Unusable,
    /// It is the chunk that we sent.
    #[error("the INIT chunk is our own")]
    OurOwn,
    /// The association has begun already.
    #[error("the association has begun already")]
    Begun,
}
