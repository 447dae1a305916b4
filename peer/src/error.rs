use crate::message::Message;

/// A message was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The channel's share of the send buffer is full: wait for its [`Event::Writable`](crate::Event::Writable). The message
    /// is given back.
    #[error("the send buffer is full; wait until there is room")]
    Full(Message),
    /// The message is larger than the peer said it accepts (`a=max-message-size`, RFC 8841 §6).
    #[error("the message has {size} bytes, but the peer accepts at most {limit}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// What the peer accepts.
        limit: u64,
    },
    /// The channel is not open yet: wait for its `Open` state.
    #[error("the channel is not open yet")]
    NotOpen,
    /// The channel is closing or closed, or the connection has ended.
    #[error("the channel is closed")]
    Closed,
}

/// A message can't be given in pieces, or this piece of it was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PieceError {
    /// The channel's share of the send buffer is full: wait for its [`Event::Writable`](crate::Event::Writable). The piece
    /// is given back.
    #[error("the channel's send buffer is full; wait until there is room")]
    Full(bytes::Bytes),
    /// With this piece the message would be larger than the peer said it accepts (`a=max-message-size`, RFC 8841 §6). It
    /// has been given up: the peer sees nothing of it.
    #[error("the message has {size} bytes by now, but the peer accepts at most {limit}")]
    TooLarge {
        /// Bytes of the message with this piece.
        size: u64,
        /// What the peer accepts.
        limit: u64,
    },
    /// The channel's reliability has given the message up: it was too old, or lost too often.
    #[error("the message was given up because of the channel's limits")]
    Abandoned,
    /// Another message is being given in pieces on this channel. [`Event::Writable`](crate::Event::Writable) comes at its
    /// end.
    #[error("another message is being given in pieces on this channel")]
    Busy,
    /// No message has been begun.
    #[error("no message has been begun")]
    NotBegun,
    /// The peer can't be told that a message was given up half way (RFC 3758), so it gets none in pieces. All browsers can.
    #[error("the peer does not support giving up messages")]
    NotSupported,
    /// The channel is not open yet: wait for its `Open` state.
    #[error("the channel is not open yet")]
    NotOpen,
    /// The channel is closing or closed, or the connection has ended. A message that was begun is given up.
    #[error("the channel is closed")]
    Closed,
}

/// A description was refused, or asked for at the wrong time.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The description or the signalling state does not allow it.
    #[error(transparent)]
    Sdp(#[from] sinnet_sdp::Error),
    /// The ICE credentials in the description can't be used.
    #[error(transparent)]
    Credentials(#[from] sinnet_ice::CredentialsError),
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

/// What was agreed on without SDP was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgreementError {
    /// The ICE credentials break the grammar of RFC 8839 §5.4.
    #[error(transparent)]
    Credentials(#[from] sinnet_ice::CredentialsError),
    /// A password stands in the USERNAME of every check, where everybody on the way reads it, and
    /// [`Agreement::danger_public_password`](crate::Agreement::danger_public_password) isn't set.
    #[error("an ICE password is part of a ufrag, which is sent in the clear")]
    PublicPassword,
    /// The peer is to be known by fingerprints, and none is given.
    #[error("no fingerprint to know the peer by")]
    NoFingerprint,
    /// Something has been negotiated already, or the connection is closed.
    #[error("something has been negotiated already")]
    TooLate,
}

/// A remote candidate was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// The line does not parse (RFC 8839 §5.1).
    #[error("the candidate line does not parse: {0}")]
    Parse(#[from] sinnet_ice::CandidateParseError),
    /// The agent does not take it.
    #[error(transparent)]
    Refused(#[from] sinnet_ice::AddCandidateError),
    /// Candidates belong to a description: set the remote one first.
    #[error("there is no remote description yet; set it before adding candidates")]
    NoRemoteDescription,
    /// It names an m-line other than the data channels'.
    #[error("the candidate is for m-line {0:?}, which is not the data channels'")]
    WrongMLine(String),
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}
