//! ICE (RFC 8445, 8838): a full agent for one component, without I/O.
//!
//! One [`Agent`] finds a path between two ends: it learns candidates of both sides in any order (trickle, RFC
//! 8838), checks pairs of them with STUN Binding requests, nominates or follows a nomination, and afterwards
//! keeps the peer's consent fresh (RFC 7675). Time and randomness are arguments; datagrams are pushed in and
//! pulled out. BUNDLE is assumed: one data stream, one component (RFC 8445 §4).
//!
//! An agent is one ICE session: a restart (RFC 8445 §9) is a new agent with the role of the old one, and its owner has both
//! until the new one has found a path.
//!
//! # Left out, and why
//!
//! - A second component and several checklists (RFC 8445 §6.1.2.1): data channels have one.
//! - Simultaneous open over TCP (RFC 6544): nobody does it.
//! - Resolving names: the owner is asked to ([`Agent::poll_name`]); without it the peer's checks reveal its address.
#![forbid(unsafe_code)]

mod agent;
mod candidate;
mod candidate_text;
mod check;
mod checklist;
mod config;
mod consent;
mod creds;
mod error;
mod event;
mod few;
mod first_request;
mod gather;
mod lite;
mod local;
mod names;
mod nominate;
mod pair;
mod respond;
mod seed;
mod stats;
mod switch;

pub use agent::Agent;
pub use candidate::{Address, Candidate, CandidateKind, RelayProtocol, TcpType, Transport};
pub use config::Config;
pub use creds::Credentials;
pub use error::{AddCandidateError, CandidateParseError, CredentialsError};
pub use event::{Event, FailReason, Path, Protocol, Role, State, Stats, Transmit};
pub use first_request::BindingRequest;
pub use gather::{GatherConfig, GatherError, GatherEvent, Gatherer};
pub use pair::PairState;
pub use respond::binding_request_local_ufrag;
pub use stats::{CandidateStats, PairStats};

#[cfg(test)]
mod tests;
