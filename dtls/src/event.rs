//! What a connection tells its owner.

use crate::error::Error;
use crate::types::{CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme, SrtpProfile};

/// A change that the owner should know of; drained with [`Connection::poll_event`](crate::Connection::poll_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete and the peer's certificate matched: data may flow.
    Connected,
    /// The peer said close_notify, or ours is on its way. The last event.
    Closed,
    /// The connection is dead. The last event.
    Failed(Error),
}

/// What both ends agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// Protocol version.
    pub version: ProtocolVersion,
    /// Cipher suite.
    pub suite: CipherSuite,
    /// Group of the key exchange.
    pub group: NamedGroup,
    /// What the peer signed with; `None` at a server whose client showed no certificate.
    pub peer_signature_scheme: Option<SignatureScheme>,
    /// Whether the session has the extended master secret (RFC 7627).
    pub extended_master_secret: bool,
    /// The profile for a media layer (RFC 5764).
    pub srtp_profile: Option<SrtpProfile>,
    /// The application protocol (RFC 7301).
    pub alpn: Option<Vec<u8>>,
}
