use std::fmt;

use crate::channel::{ChannelKey, ChannelState};

/// The state of the whole connection, as W3C's `RTCPeerConnectionState` has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConnectionState {
    /// Nothing has been negotiated yet.
    New,
    /// ICE is checking, or DTLS is shaking hands.
    Connecting,
    /// ICE has a path and DTLS is up.
    Connected,
    /// ICE lost its path for the moment; it may come back by itself.
    Disconnected,
    /// The connection is dead; [`Event::Closed`] says why.
    Failed,
    /// Closed in order, by either side.
    Closed,
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectionState::New => "new",
            ConnectionState::Connecting => "connecting",
            ConnectionState::Connected => "connected",
            ConnectionState::Disconnected => "disconnected",
            ConnectionState::Failed => "failed",
            ConnectionState::Closed => "closed",
        })
    }
}

/// Why a connection ended. `Display` is one plain sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    Local,
    /// The peer closed it in order: SCTP shutdown, which delivers everything first, or DTLS close_notify, or silence
    /// after everything was delivered.
    Peer,
    /// The peer ended it at once, as a browser's `pc.close()` does: ABORT with the cause "user-initiated" (RFC 9260
    /// §3.3.10.12). What was under way is lost. The text is the peer's, if it gave one.
    Aborted(Option<String>),
    /// ICE found no path, or lost it for good.
    Ice(sinnet_ice::FailReason),
    /// The DTLS handshake failed or was refused: wrong fingerprint, no common suite, time-out, alert.
    Dtls(sinnet_dtls::Error),
    /// The SCTP association failed: aborted by the peer with an error, or no answer any more.
    Sctp(sinnet_sctp::CloseReason),
}

impl CloseReason {
    /// Whether somebody wanted this end. What was under way may be lost all the same, if it was [`CloseReason::Aborted`].
    pub fn is_orderly(&self) -> bool {
        matches!(self, CloseReason::Local | CloseReason::Peer | CloseReason::Aborted(_))
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Local => f.write_str("the connection was closed by this side"),
            CloseReason::Peer | CloseReason::Aborted(None) => f.write_str("the peer closed the connection"),
            CloseReason::Aborted(Some(text)) => write!(f, "the peer closed the connection: {text}"),
            CloseReason::Ice(reason) => write!(f, "ICE failed: {reason}"),
            CloseReason::Dtls(error) => write!(f, "DTLS failed: {error}"),
            CloseReason::Sctp(reason) => write_sctp(f, reason),
        }
    }
}

fn write_sctp(f: &mut fmt::Formatter<'_>, reason: &sinnet_sctp::CloseReason) -> fmt::Result {
    use sinnet_sctp::CloseReason as Sctp;
    match reason {
        Sctp::AbortedByPeer { code, reason } if reason.is_empty() => {
            write!(f, "SCTP failed: the peer aborted the association ({code})")
        }
        Sctp::AbortedByPeer { code, reason } => {
            write!(f, "SCTP failed: the peer aborted the association ({code}): {reason}")
        }
        Sctp::Timeout => f.write_str("SCTP failed: the peer does not answer any more"),
        Sctp::OutOfReceiveBuffer => {
            f.write_str("SCTP failed: the peer began more messages at once than the receive buffer holds")
        }
        Sctp::ProtocolViolation(rule) => write!(f, "SCTP failed: the peer broke the protocol: {rule}"),
        other => write!(f, "SCTP failed: {other:?}"),
    }
}

/// What the owner of a [`Peer`](crate::Peer) has to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection's state changed.
    ConnectionState(ConnectionState),
    /// The ICE agent's state changed.
    IceState(sinnet_ice::State),
    /// The peer opened a channel. It is open from now on.
    ChannelOpened(ChannelKey),
    /// A channel that we know of changed its state. [`ChannelState::Closed`] comes exactly once.
    ChannelState(ChannelKey, ChannelState),
    /// At least one message can be taken with [`Peer::recv`](crate::Peer::recv). Comes again only after `recv`
    /// returned `None`.
    Readable(ChannelKey),
    /// [`Peer::try_send`](crate::Peer::try_send) was refused on this channel for want of room, and there is room again.
    /// Channels are told in the order in which they were refused, as far as there is room for them.
    Writable(ChannelKey),
    /// The channel's buffered amount fell to its low threshold or below.
    BufferedAmountLow(ChannelKey),
    /// Everything that was accepted on the channel has been handed to the network once, which
    /// [`Peer::is_flushed`](crate::Peer::is_flushed) had denied before.
    Flushed(ChannelKey),
    /// An offer is due, to open a channel or to close one by SDP: see [`Peer::negotiation_needed`](crate::Peer::negotiation_needed).
    /// Comes once until an exchange is complete or taken back.
    NegotiationNeeded,
    /// The connection has ended. Comes exactly once, behind the channels' `Closed`.
    Closed(CloseReason),
}
