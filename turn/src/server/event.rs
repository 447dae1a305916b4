//! What a server and its owner say to each other.

use std::net::SocketAddr;

use crate::attributes::AddressFamily;
use crate::client::Transport;

/// What tells a client from others (RFC 8656 §2): one allocation each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FiveTuple {
    /// The client's address as the server sees it.
    pub client: SocketAddr,
    /// The address of the server that it talks to.
    pub server: SocketAddr,
    /// How.
    pub transport: Transport,
}

/// A relayed transport address: a UDP socket of the owner's. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelayId(pub u64);

/// Data that goes out of a relayed address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward<'d> {
    /// From which socket.
    pub relay: RelayId,
    /// Where to.
    pub to: SocketAddr,
    /// Where it lies in the datagram that was given.
    pub data: &'d [u8],
    /// Whether it must not be fragmented.
    pub dont_fragment: bool,
}

/// What the owner is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Bind a UDP socket of this family to a random port above 1023, and call
    /// [`Server::relay_opened`](super::Server::relay_opened) or [`relay_failed`](super::Server::relay_failed).
    OpenRelay {
        /// The name of the socket from now on.
        relay: RelayId,
        /// IPv4 or IPv6.
        family: AddressFamily,
        /// Only an even port will do (RFC 8656 §18.7).
        even_port: bool,
    },
    /// Close the socket. It may not be open yet.
    CloseRelay {
        /// Which.
        relay: RelayId,
    },
}

/// What has been counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Allocations now.
    pub allocations: usize,
    /// Allocations made since the start.
    pub allocations_made: u64,
    /// Allocations that ended unasked: expired, or their connection did.
    pub allocations_expired: u64,
    /// Messages and bytes of payload to peers.
    pub messages_to_peers: u64,
    /// Their bytes of payload.
    pub bytes_to_peers: u64,
    /// Messages from peers passed on to clients.
    pub messages_to_clients: u64,
    /// Their bytes of payload.
    pub bytes_to_clients: u64,
    /// Binding requests answered.
    pub bindings: u64,
    /// Requests refused with an error, challenges not counted.
    pub refused: u64,
    /// Challenges: 401 to requests without credentials, and 438.
    pub challenges: u64,
    /// Requests with wrong credentials.
    pub wrong_credentials: u64,
    /// Allocations refused by a quota.
    pub over_quota: u64,
    /// Dropped: neither STUN nor ChannelData, or not well-formed, or nothing a server takes.
    pub dropped_malformed: u64,
    /// Dropped: data and indications of clients without an allocation, and on unbound channels.
    pub dropped_unallocated: u64,
    /// Dropped: data to or from peers without a permission, or whom the policy refuses.
    pub dropped_unpermitted: u64,
    /// Dropped: data beyond the allocation's rate.
    pub dropped_rate: u64,
    /// Dropped: answers to sources that had theirs, and credentials they show then.
    pub dropped_throttled: u64,
    /// Dropped: answers that nobody fetched, and data that did not fit the owner's buffer.
    pub dropped_overflow: u64,
}
