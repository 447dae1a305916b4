//! TURN (RFC 8656): client and server, without I/O.
//!
//! - [`Client`]: one allocation on one server. Long-term credentials with SHA-1 and SHA-256, stale nonces, redirection,
//!   refreshes, permissions, channels, and data both ways without a copy or allocation more than the caller's buffer.
//! - [`Server`]: allocations by 5-tuple, users or a shared secret, quotas, and rules for whom it relays to. Sockets are
//!   the owner's: it is told which to open and close.
//! - [`StreamDecoder`]: cuts TCP and TLS streams into the units that both take.
//! - [`ServerUri`]: `stun:`, `stuns:`, `turn:` and `turns:`.
//! - [`ephemeral_credentials`]: names and passwords that end by themselves.
//!
//! Both cores have the five verbs of this project: `handle_input`, `handle_timeout`, `poll_transmit`, `poll_timeout` and
//! `poll_event`, in any order. `docs/turn.md` has the limits and what becomes of bad input.
//!
//! Left out: RFC 6062 (TCP to peers), RFC 7635 (OAuth), RFC 8016 (mobility), and of RFC 8656 EVEN-PORT, RESERVATION-TOKEN
//! and the passing on of ICMP by the server; none of them is used by WebRTC.
#![forbid(unsafe_code)]

mod attributes;
mod channel;
mod client;
mod ephemeral;
mod error_code;
mod server;
mod stream;
mod uri;

pub use attributes::AddressFamily;
pub use channel::is_channel_data;
pub use client::{
    Batch, Client, ClientConfig, ClientStats, Credentials, Error, Event, Families, MAX_OVERHEAD, MAX_REQUEST,
    PeerError, Reason, Received, SendError, Step, Transport,
};
pub use ephemeral::ephemeral_credentials;
pub use error_code::ErrorCode;
pub use server::{
    FiveTuple, Forward, MAX_RESPONSE, PeerPolicy, RelayId, Server, ServerConfig, ServerEvent, ServerStats,
};
pub use stream::{MAX_UNIT, NotTurn, StreamDecoder};
pub use uri::{Host, Scheme, ServerUri, UriError, UriTransport};

#[cfg(test)]
mod tests;
