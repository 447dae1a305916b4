use sinnet_peer::{
    AgreementError, CandidateError, CertificateError, ChannelError, CloseReason, Message, NegotiationError,
    OpenError, PieceError, TrySendError as PeerTrySend,
};

/// What can go wrong with endpoints, connections and the opening of channels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket could not be made, or the address not be bound.
    #[error("can't open a UDP socket on {addr}: {source}")]
    Socket {
        /// The address asked for.
        addr: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No port of [`EndpointConfig::port_range`](crate::EndpointConfig::port_range) can be bound.
    #[error("no port from {first} to {last} is free on {addr}")]
    NoFreePort {
        /// Where.
        addr: std::net::IpAddr,
        /// The first port of the range.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// [`EndpointConfig::bind`](crate::EndpointConfig::bind) is empty or unusable.
    #[error("no address to bind: {0}")]
    NoAddress(String),
    /// One of [`EndpointConfig::ice_servers`](crate::EndpointConfig::ice_servers) can't be used as it is.
    #[error("ICE server {url}: {what}")]
    IceServer {
        /// Its first URL.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system gave no randomness.
    #[error("the system has no randomness to give")]
    Randomness,
    /// A description was refused, or asked for at the wrong time.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    /// A candidate was refused.
    #[error(transparent)]
    Candidate(#[from] CandidateError),
    /// A connection without SDP could not be made.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// An agreement given to [`Incoming::accept`](crate::Incoming::accept) is not with the peer that called.
    #[error("the agreement does not fit the peer's first request")]
    OtherPeer,
    /// [`Incoming::accept`](crate::Incoming::accept) was given [`IceTransportPolicy::Relay`](crate::IceTransportPolicy::Relay).
    #[error("a peer that calls by itself has no relay between us")]
    NoRelay,
    /// A channel could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An offered channel could not be rejected or answered so.
    #[error(transparent)]
    OfferedChannel(#[from] ChannelError),
    /// The connection has ended.
    #[error("{0}")]
    Closed(CloseReason),
    /// The channel has ended before it opened.
    #[error("the channel was closed")]
    ChannelClosed,
    /// The endpoint is closed, or its runtime has gone.
    #[error("the endpoint is closed")]
    EndpointClosed,
}

/// [`DataChannel::send`](crate::DataChannel::send) did not take the message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is larger than the peer accepts.
    #[error("the message has {size} bytes, but the peer accepts at most {limit}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// What the peer accepts (`a=max-message-size`).
        limit: u64,
    },
    /// The channel is closing or closed.
    #[error("the channel is closed")]
    Closed,
    /// A [`Sink`](futures_util::Sink) was given a message without having been asked whether it is ready.
    #[error("the sink is not ready")]
    NotReady,
}

/// [`DataChannel::try_send`](crate::DataChannel::try_send) did not take the message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The send buffer is full. The message is given back.
    #[error("the send buffer is full")]
    Full(Message),
    /// The channel is not open yet. The message is given back.
    #[error("the channel is not open yet")]
    NotOpen(Message),
    /// It will never be sent.
    #[error(transparent)]
    Never(#[from] SendError),
}

impl TrySendError {
    /// From the core's error; `NotOpen` is handled before the message is given away.
    pub(crate) fn from_core(error: PeerTrySend) -> Self {
        match error {
            PeerTrySend::Full(message) => TrySendError::Full(message),
            PeerTrySend::TooLarge { size, limit } => SendError::TooLarge { size, limit }.into(),
            _ => SendError::Closed.into(),
        }
    }
}

/// A [`MessageWriter`](crate::MessageWriter) can't go on: the peer sees nothing of the message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The message is larger than the peer accepts.
    #[error("the message has {size} bytes by now, but the peer accepts at most {limit}")]
    TooLarge {
        /// Bytes of the message, with the piece that was one too many.
        size: u64,
        /// What the peer accepts (`a=max-message-size`).
        limit: u64,
    },
    /// A text is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The channel's reliability has given the message up: it was too old, or lost too often.
    #[error("the message was given up because of the channel's limits")]
    Abandoned,
    /// The peer can't be told that a message was given up half way (RFC 3758), so it gets none in pieces. All browsers can.
    #[error("the peer does not support messages in pieces")]
    NotSupported,
    /// The channel is closing or closed.
    #[error("the channel is closed")]
    Closed,
}

impl WriteError {
    pub(crate) fn from_core(error: PieceError) -> Self {
        match error {
            PieceError::TooLarge { size, limit } => WriteError::TooLarge { size, limit },
            PieceError::Abandoned => WriteError::Abandoned,
            PieceError::NotSupported => WriteError::NotSupported,
            _ => WriteError::Closed,
        }
    }
}

/// A [`MessageReader`](crate::MessageReader) can't go on: what was read is not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer has given the message up.
    #[error("the peer has given the message up")]
    Aborted,
    /// A text is not UTF-8. The rest of it is dropped.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The channel was closed before the end of the message.
    #[error("the channel was closed before the end of the message")]
    Closed,
}
