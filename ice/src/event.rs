//! What an agent tells its owner: states, the selected path, failure.

use std::fmt;
use std::net::SocketAddr;

/// What carries datagrams between the two ends of a [`Path`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// UDP, also between a TURN server and the peer: how the server is reached doesn't matter here.
    Udp,
    /// A TCP connection in which datagrams are framed (RFC 6544, RFC 4571).
    Tcp,
}

/// Both ends of a datagram's way: the 5-tuple by which pairs are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    /// What carries it.
    pub protocol: Protocol,
    /// Our socket's address: where the datagram came in or leaves from (the candidate's base). Through a relay it is the
    /// relayed address (RFC 8445 §5.1.1.2).
    pub local: SocketAddr,
    /// The peer's address as we see it.
    pub remote: SocketAddr,
}

impl Path {
    /// A path over UDP.
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { protocol: Protocol::Udp, local, remote }
    }

    /// A path over TCP.
    pub const fn tcp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { protocol: Protocol::Tcp, local, remote }
    }
}

/// Which side nominates (RFC 8445 §6.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Nominates; normally the offerer.
    Controlling,
    /// Follows.
    Controlled,
}

impl Role {
    /// The opposite role.
    pub fn other(self) -> Self {
        match self {
            Self::Controlling => Self::Controlled,
            Self::Controlled => Self::Controlling,
        }
    }
}

/// Where an agent stands, close to W3C's `RTCIceConnectionState`.
///
/// ```text
///  New ── remote credentials ──▶ Checking ── own check succeeded ──▶ Connected ── nominated ──▶ Completed
///                                   │                                  │   ▲                    │   ▲
///                                   │                          no answer   answer       no answer   answer
///                                   │                                  ▼   │                    ▼   │
///                                   │                                Disconnected ◀── (one state) ──┘
///                                   ▼                                  │
///                                 Failed ◀────── consent expired ──────┘            any ── close ──▶ Closed
/// ```
/// `Failed` and `Closed` are final.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Waiting for the remote credentials. Nothing is sent but answers.
    New,
    /// Checks are made or waited for; no pair has worked yet.
    Checking,
    /// A pair works and may carry data ([`Agent::can_send`](crate::Agent::can_send)); none is nominated yet.
    Connected,
    /// A pair is nominated; ordinary checks have stopped.
    Completed,
    /// The pair in use has not answered for [`Config::disconnect_after`](crate::Config::disconnect_after);
    /// may recover by itself.
    Disconnected,
    /// Over, for the reason of [`Event::Failed`].
    Failed,
    /// [`Agent::close`](crate::Agent::close) was called.
    Closed,
}

/// Why an agent failed. `Display` is one plain sentence without a full stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FailReason {
    /// No candidate of our own was gathered in time.
    NoLocalCandidates,
    /// The peer sent neither a candidate nor a check in time.
    NoRemoteCandidates,
    /// The peer sent candidates, but none that can be tried (names, TCP), and no check.
    NoUsableRemoteCandidates {
        /// Candidates that were ignored.
        ignored: u32,
    },
    /// Candidates of both sides are known, but none go together (IPv4 with IPv6, say).
    NoPairs,
    /// Every pair was tried and none answered.
    AllChecksFailed {
        /// How many pairs were tried.
        pairs: u32,
    },
    /// We are lite, and the peer has nominated no pair.
    NotNominated,
    /// The pair in use stopped answering consent checks (RFC 7675 §5.1).
    ConsentExpired {
        /// The path that carried the data.
        path: Path,
    },
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLocalCandidates => f.write_str("no local candidate was gathered"),
            Self::NoRemoteCandidates => f.write_str("the peer sent no candidate and no check"),
            Self::NoUsableRemoteCandidates { ignored } => {
                write!(f, "none of the peer's {ignored} candidates can be tried, and it sent no check")
            }
            Self::NoPairs => f.write_str("no local candidate can reach any of the peer's candidates"),
            Self::AllChecksFailed { pairs } => {
                write!(
                    f,
                    "no candidate pair answered ({pairs} {} tried)",
                    if *pairs == 1 { "pair" } else { "pairs" }
                )
            }
            Self::NotNominated => f.write_str("the peer's checks have nominated no candidate pair"),
            Self::ConsentExpired { path } => {
                write!(f, "the peer at {} stopped answering consent checks", path.remote)
            }
        }
    }
}

impl std::error::Error for FailReason {}

/// What happened, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The state is now this.
    StateChange(State),
    /// A pair was nominated, or another one took its place.
    SelectedPath(Path),
    /// Why the agent failed; [`State::Failed`] follows.
    Failed(FailReason),
}

/// One datagram written by [`Agent::poll_transmit`](crate::Agent::poll_transmit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// From where to where.
    pub path: Path,
    /// Bytes written to the front of the caller's buffer.
    pub len: usize,
}

/// Counters since [`Agent::new`](crate::Agent::new). All of them saturate.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Check and consent requests sent, retransmissions included.
    pub requests_sent: u64,
    /// Of those, retransmissions.
    pub retransmissions: u64,
    /// Responses sent, errors included.
    pub responses_sent: u64,
    /// Authenticated requests received.
    pub requests_received: u64,
    /// Authenticated responses received that matched a transaction.
    pub responses_received: u64,
    /// Consent checks answered in time.
    pub consents: u64,
    /// Datagrams dropped because they weren't well-formed STUN Binding messages.
    pub dropped_malformed: u64,
    /// Requests dropped for a user name that isn't ours.
    pub dropped_username: u64,
    /// Messages dropped for a wrong or missing MESSAGE-INTEGRITY or FINGERPRINT.
    pub dropped_integrity: u64,
    /// Authenticated requests not answered because they came to an address that isn't a candidate of ours.
    pub dropped_base: u64,
    /// Responses dropped: unknown transaction, or from another address than the request went to.
    pub dropped_unmatched: u64,
    /// Authenticated requests answered with an error (420, 487, 400).
    pub refused: u64,
    /// Responses not sent because 32 were already waiting.
    pub responses_overflowed: u64,
    /// Datagrams not sent because the caller's buffer was too small.
    pub transmit_too_small: u64,
    /// Role switches (RFC 8445 §7.3.1.1).
    pub role_switches: u64,
    /// Remote candidates ignored: names, TCP candidates that don't listen.
    pub candidates_ignored: u64,
    /// Remote candidates ignored because their `ufrag` belongs to another generation.
    pub candidates_other_generation: u64,
    /// Peer-reflexive candidates learned.
    pub prflx_learned: u64,
    /// Peer-reflexive candidates evicted or refused at the limit.
    pub prflx_evicted: u64,
    /// Pairs dropped at the limit.
    pub pairs_dropped: u64,
    /// Early checks not remembered because the list was full.
    pub early_checks_dropped: u64,
    /// Pairs known now.
    pub pairs: u32,
    /// Pairs of which our own check has succeeded.
    pub pairs_valid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_plain_sentence() {
        let path = Path::udp("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        for (reason, text) in [
            (FailReason::AllChecksFailed { pairs: 3 }, "no candidate pair answered (3 pairs tried)"),
            (FailReason::AllChecksFailed { pairs: 1 }, "no candidate pair answered (1 pair tried)"),
            (FailReason::ConsentExpired { path }, "the peer at 10.0.0.2:2 stopped answering consent checks"),
            (FailReason::NoRemoteCandidates, "the peer sent no candidate and no check"),
        ] {
            assert_eq!(reason.to_string(), text);
        }
    }
}
