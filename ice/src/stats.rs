//! What is known of pairs and candidates, in the words of W3C's `RTCIceCandidatePairStats` and `RTCIceCandidateStats`.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::candidate::{Address, CandidateKind, RelayProtocol, TcpType};
use crate::checklist::Remote;
use crate::event::{Path, Protocol};
use crate::pair::PairState;

/// What has happened on one pair. Checks of an agent that is told nothing of the pair yet are not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PairCounts {
    pub(crate) requests_sent: u64,
    pub(crate) retransmissions_sent: u64,
    pub(crate) consent_requests_sent: u64,
    pub(crate) responses_received: u64,
    pub(crate) requests_received: u64,
    pub(crate) responses_sent: u64,
    pub(crate) current_round_trip_time: Option<Duration>,
    pub(crate) total_round_trip_time: Duration,
}

/// A candidate pair: W3C's `RTCIceCandidatePairStats`, as far as ICE knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PairStats {
    /// The pair. W3C has ids of both candidates instead.
    pub path: Path,
    /// Where its checks stand.
    pub state: PairState,
    /// Whether it has been nominated, by whichever side that is for.
    pub nominated: bool,
    /// Whether it is the nominated one that data takes.
    pub selected: bool,
    /// RFC 8445 §6.1.2.3.
    pub priority: u64,
    /// Connectivity checks sent, without retransmissions and consent checks.
    pub requests_sent: u64,
    /// Retransmissions of them.
    pub retransmissions_sent: u64,
    /// Consent checks sent (RFC 7675), each once.
    pub consent_requests_sent: u64,
    /// Authenticated responses received, to checks of both kinds.
    pub responses_received: u64,
    /// Authenticated requests received, consent checks included.
    pub requests_received: u64,
    /// Responses made to them.
    pub responses_sent: u64,
    /// The latest round-trip time.
    pub current_round_trip_time: Option<Duration>,
    /// All round-trip times added up: divided by how many responses were no answers to retransmissions, their mean.
    pub total_round_trip_time: Duration,
    /// The smoothed round-trip time (RFC 6298 §2).
    pub smoothed_round_trip_time: Option<Duration>,
    /// When the last answered check was sent.
    pub last_answered: Option<Instant>,
}

/// A candidate: W3C's `RTCIceCandidateStats`, without the texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CandidateStats {
    /// Address and port.
    pub address: SocketAddr,
    /// `candidateType`. Peer-reflexive for what a check has shown, until it is signalled.
    pub kind: CandidateKind,
    /// As signalled, or as the check had it.
    pub priority: u32,
    /// What carries its datagrams.
    pub protocol: Protocol,
    /// `tcpType`.
    pub tcp_type: Option<TcpType>,
    /// `relayProtocol`, of a relayed candidate of ours.
    pub relay_protocol: Option<RelayProtocol>,
}

impl Agent {
    /// The candidate pairs, in no order.
    pub fn pairs(&self) -> impl Iterator<Item = PairStats> {
        self.pairs.iter().map(|pair| {
            let selected = self.selected_path() == Some(pair.path);
            let PairCounts {
                requests_sent,
                retransmissions_sent,
                consent_requests_sent,
                responses_received,
                requests_received,
                responses_sent,
                current_round_trip_time,
                total_round_trip_time,
            } = pair.counts;
            PairStats {
                path: pair.path,
                state: pair.state,
                nominated: selected || (pair.nominate && pair.is_valid()),
                selected,
                priority: pair.priority,
                requests_sent,
                retransmissions_sent,
                consent_requests_sent,
                responses_received,
                requests_received,
                responses_sent,
                current_round_trip_time,
                total_round_trip_time,
                smoothed_round_trip_time: pair.srtt,
                last_answered: pair.last_answered,
            }
        })
    }

    /// Our candidates. One that is signalled as a name has its true address here.
    pub fn local_candidate_stats(&self) -> impl Iterator<Item = CandidateStats> {
        self.candidates.iter().map(|own| CandidateStats {
            address: match own.candidate.address {
                Address::Ip(address) => address,
                Address::Name { .. } => own.base,
            },
            kind: own.candidate.kind,
            priority: own.candidate.priority,
            protocol: own.protocol,
            tcp_type: own.candidate.tcp_type,
            relay_protocol: own.relay_protocol(),
        })
    }

    /// The peer's candidates that can be tried, signalled or learned.
    pub fn remote_candidate_stats(&self) -> impl Iterator<Item = CandidateStats> {
        self.remotes.iter().map(|remote: &Remote| CandidateStats {
            address: remote.addr,
            kind: remote.signalled.as_ref().map_or(CandidateKind::PeerReflexive, |signalled| signalled.kind),
            priority: remote.priority,
            protocol: remote.protocol,
            tcp_type: remote.tcp_type(),
            relay_protocol: None,
        })
    }
}

impl fmt::Display for PairState {
    /// W3C's `RTCStatsIceCandidatePairState`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frozen => "frozen",
            Self::Waiting => "waiting",
            Self::InProgress => "in-progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        })
    }
}
