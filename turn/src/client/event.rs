//! What a client tells its owner, and what can go wrong.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::attributes::AddressFamily;
use crate::error_code::ErrorCode;

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server relays for us.
    Allocated {
        /// Our addresses there, the first of which is IPv4 unless only IPv6 was asked for.
        relayed: Vec<SocketAddr>,
        /// Our own address as the server sees it: a server-reflexive candidate.
        mapped: Option<SocketAddr>,
        /// A family that was asked for and refused (RFC 8656 §18.12).
        refused: Option<(AddressFamily, ErrorCode)>,
    },
    /// Data can go to this address and come from it.
    Permitted {
        /// The peer's address; ports don't matter.
        ip: IpAddr,
    },
    /// It can't. Everything else goes on.
    NotPermitted {
        /// The peer's address.
        ip: IpAddr,
        /// Why.
        error: Error,
    },
    /// Data to and from this peer has four bytes of overhead from now on.
    ChannelBound {
        /// The peer.
        peer: SocketAddr,
    },
    /// It hasn't. Data goes on with more overhead as long as its address is permitted.
    ChannelNotBound {
        /// The peer.
        peer: SocketAddr,
        /// Why.
        error: Error,
    },
    /// The server sent us to another (RFC 8489 §10). On datagrams we are under way already; on a stream the owner
    /// connects there and calls [`Client::connected`](crate::Client::connected).
    Redirected {
        /// Where to.
        server: SocketAddr,
        /// The name that its certificate must have, if it isn't that of the first server.
        domain: Option<String>,
    },
    /// A datagram of ours was refused on its way from the server to the peer (RFC 8656 §11.6).
    Icmp {
        /// The peer; the port may be 0.
        peer: SocketAddr,
        /// ICMP's type.
        icmp_type: u8,
        /// ICMP's code.
        icmp_code: u8,
        /// The MTU of the next hop where that was the reason, else 0.
        mtu: u32,
    },
    /// Over, for this reason. The last event.
    Failed(Error),
    /// Closed as asked, and the allocation given back, as far as the server answered. The last event.
    Closed,
}

/// What was being done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Getting an allocation (RFC 8656 §7).
    Allocate,
    /// Keeping it (§8).
    Refresh,
    /// Permitting an address (§10).
    CreatePermission,
    /// Binding a channel (§12).
    ChannelBind,
    /// Giving the allocation back (§8).
    Release,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allocate => "Allocate",
            Self::Refresh => "Refresh",
            Self::CreatePermission => "CreatePermission",
            Self::ChannelBind => "ChannelBind",
            Self::Release => "Refresh with lifetime 0",
        })
    }
}

/// Why something failed. `Display` is one plain sentence without a full stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The server said so.
    #[error("the server answered {0}")]
    Refused(ErrorCode),
    /// It took our name or password for wrong.
    #[error("the server does not accept the user name or password (401)")]
    Credentials,
    /// No answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// There were answers, but none with the right integrity.
    #[error("no answer of the server had the right message integrity")]
    Integrity {
        /// The error code of the last such answer.
        code: Option<ErrorCode>,
    },
    /// Its challenge has no realm or no nonce, or longer ones than there may be.
    #[error("the server's challenge has no usable realm or nonce")]
    BadChallenge,
    /// The nonce promises a list of password algorithms that isn't there: somebody took it out (RFC 8489 §9.2.5).
    #[error("the list of password algorithms is missing from the server's challenge")]
    BidDown,
    /// None of the password algorithms it offers is known.
    #[error("the server offers no password algorithm that is known")]
    NoPasswordAlgorithm,
    /// Another realm than the one our credentials were used with.
    #[error("the server changed its realm")]
    RealmChanged,
    /// It took every nonce of its own for stale.
    #[error("the server refused each of its own nonces as stale (438)")]
    StaleNonces,
    /// It sent us on without a usable address: none of the family in use, or unspecified, multicast, port 0.
    #[error("the server redirects to no usable address")]
    RedirectToNowhere,
    /// It sent us to our own machine, where it isn't itself.
    #[error("the server redirects to loopback")]
    RedirectToLoopback,
    /// It sent us where we have been.
    #[error("the servers redirect in a circle")]
    RedirectLoop,
    /// It sent us on once too often.
    #[error("the servers redirect too often")]
    TooManyRedirects,
    /// A success without what belongs to it.
    #[error("the server's answer lacks an address or has an impossible one")]
    BadAnswer,
    /// The owner said so.
    #[error("the connection to the server ended")]
    Disconnected,
}

/// What failed where. The text names server, step and reason, with the code if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("TURN server {server}: {step}: {reason}")]
pub struct Error {
    /// The server at that moment.
    pub server: SocketAddr,
    /// What was being done.
    pub step: Step,
    /// Why it failed.
    pub reason: Reason,
}

impl Error {
    /// How long to wait before asking this server for another allocation (RFC 8656 §7.4); `None` if asking again is
    /// no use at all, or needs no wait.
    pub fn retry_after(&self) -> Option<Duration> {
        let quota = [ErrorCode::ALLOCATION_QUOTA_REACHED, ErrorCode::INSUFFICIENT_CAPACITY];
        matches!(self.reason, Reason::Refused(code) if quota.contains(&code))
            .then_some(Duration::from_secs(60))
    }

    /// Whether another try from another local port may help: the server takes this one to be in use
    /// (RFC 8656 §7.4; three ports at most should be tried).
    pub fn wants_another_port(&self) -> bool {
        self.step == Step::Allocate && self.reason == Reason::Refused(ErrorCode::ALLOCATION_MISMATCH)
    }
}

/// Why data can't be sent now. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no allocation, or no longer.
    #[error("there is no allocation")]
    NotAllocated,
    /// The server hasn't permitted the peer's address (yet).
    #[error("the peer's address is not permitted (yet)")]
    NotPermitted,
    /// The buffer can't hold the data and [`MAX_OVERHEAD`](crate::MAX_OVERHEAD), or there is more data than a datagram takes.
    #[error("the message does not fit")]
    TooLarge,
}

/// Why a permission or a channel can't be asked for. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// [`ClientConfig::max_permissions`](crate::ClientConfig::max_permissions) or
    /// [`max_channels`](crate::ClientConfig::max_channels) is reached.
    #[error("there are as many permissions or channels as there may be")]
    TooMany,
    /// The address is unspecified or multicast, or the port is 0.
    #[error("the address can't be a peer's")]
    Address,
    /// No relayed address is of that family.
    #[error("no relayed address is of the peer's family")]
    Family,
    /// The client is closed or has failed.
    #[error("the client is closed")]
    Closed,
}

/// What has been counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ClientStats {
    /// Requests sent, retransmissions included.
    pub requests_sent: u64,
    /// Responses taken.
    pub responses_received: u64,
    /// Nonces that the server took for stale.
    pub stale_nonces: u64,
    /// Messages and bytes of data given out to be sent to peers.
    pub messages_sent: u64,
    /// Their bytes of payload.
    pub bytes_sent: u64,
    /// Messages from peers.
    pub messages_received: u64,
    /// Their bytes of payload.
    pub bytes_received: u64,
    /// Dropped: what came from another address than the server's.
    pub dropped_foreign: u64,
    /// Dropped: neither STUN nor ChannelData, or not well-formed.
    pub dropped_malformed: u64,
    /// Dropped: responses to nothing that we asked.
    pub dropped_unknown: u64,
    /// Dropped: responses without the right integrity.
    pub dropped_integrity: u64,
    /// Dropped: data of peers without a permission or on a channel without a peer.
    pub dropped_unpermitted: u64,
    /// Requests that were dropped since the caller's buffer couldn't hold them.
    pub dropped_too_large: u64,
}
