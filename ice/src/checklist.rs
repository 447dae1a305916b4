//! The checklist: which pairs exist, which is next (RFC 8445 §6.1.2 and §6.1.4.2).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use tracing::debug;

use crate::agent::Agent;
use crate::candidate::{CandidateKind, TcpType, go_together, is_sendable};
use crate::event::{Path, Protocol};
use crate::few::push;
use crate::local::Local;
use crate::pair::{Pair, PairState};

/// Ports learned of one address that are checked from one base at a time.
const MAX_CHASE: usize = 8;

/// A remote candidate that can be tried.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) protocol: Protocol,
    pub(crate) addr: SocketAddr,
    pub(crate) priority: u32,
    pub(crate) foundation: u32,
    /// As signalled; nothing for one learned from a check.
    pub(crate) signalled: Option<Signalled>,
    /// When it was learned or last heard of.
    pub(crate) seen: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct Signalled {
    pub(crate) foundation: String,
    pub(crate) kind: CandidateKind,
    pub(crate) tcp_type: Option<TcpType>,
    /// The `ufrag` extension, until the remote credentials are known to compare it with.
    pub(crate) ufrag: Option<String>,
}

impl Remote {
    /// Whether the path leads to it.
    pub(crate) fn is_at(&self, path: Path) -> bool {
        self.protocol == path.protocol && same_host(self.addr, path.remote)
    }

    /// One that we have learned over TCP has connected to us.
    pub(crate) fn tcp_type(&self) -> Option<TcpType> {
        match &self.signalled {
            Some(signalled) => signalled.tcp_type,
            None => (self.protocol == Protocol::Tcp).then_some(TcpType::Active),
        }
    }
}

/// Whether two addresses are one but for the scope of a link-local address.
pub(crate) fn same_host(a: SocketAddr, b: SocketAddr) -> bool {
    let link_local = matches!(a.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local());
    if link_local { a.ip() == b.ip() && a.port() == b.port() } else { a == b }
}

/// The remote end of a path from `base`: a link-local address gets the scope of the interface it is tried on.
fn remote_from(base: SocketAddr, remote: SocketAddr) -> SocketAddr {
    match (base, remote) {
        (SocketAddr::V6(base), SocketAddr::V6(mut remote)) if remote.ip().is_unicast_link_local() => {
            remote.set_scope_id(base.scope_id());
            remote.into()
        }
        _ => remote,
    }
}

impl Agent {
    pub(crate) fn pair(&self, path: Path) -> Option<&Pair> {
        self.pairs.iter().find(|p| p.path == path)
    }

    pub(crate) fn pair_mut(&mut self, path: Path) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|p| p.path == path)
    }

    /// Pairs one remote candidate with every local one (RFC 8838 §10). Over TCP we connect and the peer listens; where it is the other way
    /// round, there is no pair before the peer's check has come (RFC 6544 §6.2).
    pub(crate) fn pair_with_locals(&mut self, remote: &Remote) {
        self.pair_with_new_local(remote, |_| true);
    }

    /// The same when a local candidate `is_new`. Pairs of the others that had to give way before come back only as long as there is room.
    pub(crate) fn pair_with_new_local(&mut self, remote: &Remote, is_new: impl Fn(&Local) -> bool) {
        if !self.makes_pairs() {
            return;
        }
        let made: Vec<_> = self
            .locals
            .iter()
            .filter(|local| local.protocol == remote.protocol && local.begins())
            .filter(|local| go_together(local.base, remote.addr))
            .map(|l| (l.path_to(remote_from(l.base, remote.addr)), l.priority, l.foundation, is_new(l)))
            .collect();
        for (path, priority, foundation, is_new) in made {
            if !is_new && self.pairs.len() >= self.config.max_pairs {
                continue;
            }
            let foundation = (foundation, remote.foundation);
            self.add_pair(Pair::new(path, priority, remote.priority, foundation, self.role), false);
        }
    }

    /// Adds a pair unless it exists; at the limit one that has failed gives way, or else the lowest idle one if it is lower (RFC 8445
    /// §6.1.2.5). `urgent` pairs, which the peer has just used, displace any idle one.
    pub(crate) fn add_pair(&mut self, pair: Pair, urgent: bool) -> bool {
        if self.pair(pair.path).is_some() {
            return true;
        }
        if !is_sendable(pair.path.remote) {
            return false;
        }
        if self.pairs.len() >= self.config.max_pairs.max(1) {
            self.stats.pairs_dropped += 1;
            let idle = |p: &&Pair| {
                !matches!(p.state, PairState::Succeeded | PairState::InProgress)
                    && self.selected != Some(p.path)
            };
            // What has failed was tried, however high it stands: a relay that comes late is of more use.
            let has_failed = |p: &Pair| p.state == PairState::Failed;
            let least = self.pairs.iter().filter(idle).min_by_key(|p| (!has_failed(p), p.priority));
            match least.map(|p| (p.path, has_failed(p) || p.priority < pair.priority)) {
                Some((path, gives_way)) if urgent || gives_way => self.remove_pair(path),
                _ => {
                    debug!(local = %pair.path.local, remote = %pair.path.remote, "no room for another pair");
                    return false;
                }
            }
        }
        push(&mut self.pairs, pair);
        true
    }

    pub(crate) fn remove_pair(&mut self, path: Path) {
        self.pairs.retain(|p| p.path != path);
        self.valid.retain(|p| *p != path);
        self.triggered.retain(|p| *p != path);
        self.checks.retain(|c| c.path != path);
    }

    /// The next pair for an ordinary check: the highest Waiting one, else the highest Frozen one whose
    /// foundation nobody is checking (RFC 8445 §6.1.4.2). Starting from Frozen this also makes the first pair
    /// of each foundation the first to be checked (§6.1.2.6).
    pub(crate) fn next_ordinary(&self) -> Option<Path> {
        // With one selected only what is better, unless it has to be replaced.
        let above = match self.selected.and_then(|path| self.pair(path)) {
            Some(selected) if self.doubt.is_none() => Some(selected.priority),
            _ => None,
        };
        // What the peer's checks have triggered has its own turn.
        let wanted =
            |p: &&Pair| above.is_none_or(|above| p.priority > above) && !self.triggered.contains(&p.path);
        let best = |state| self.pairs.iter().filter(wanted).filter(move |p| p.state == state);
        let waiting = best(PairState::Waiting).max_by_key(|p| p.priority);
        let busy = |foundation| {
            self.pairs.iter().any(|p| {
                p.foundation == foundation && matches!(p.state, PairState::Waiting | PairState::InProgress)
            })
        };
        let frozen = || best(PairState::Frozen).filter(|p| !busy(p.foundation)).max_by_key(|p| p.priority);
        waiting.or_else(frozen).map(|p| p.path)
    }

    /// A success unfreezes the pairs of its foundation (RFC 8445 §7.2.5.3.3).
    pub(crate) fn unfreeze(&mut self, foundation: (u32, u32)) {
        for pair in &mut self.pairs {
            if pair.foundation == foundation && pair.state == PairState::Frozen {
                pair.state = PairState::Waiting;
            }
        }
    }

    /// Learns a peer-reflexive remote candidate (RFC 8445 §7.3.1.3). At the limit the one that has been silent
    /// longest and has no working pair is forgotten.
    pub(crate) fn learn_prflx(&mut self, now: Instant, path: Path, priority: u32) -> Option<Remote> {
        let Path { protocol, remote: addr, .. } = path;
        if let Some(remote) = self.remotes.iter_mut().find(|r| r.protocol == protocol && r.addr == addr) {
            remote.seen = now;
            return Some(remote.clone());
        }
        let learned = self.remotes.iter().filter(|r| r.signalled.is_none());
        if learned.clone().count() >= self.config.max_prflx_candidates {
            self.stats.prflx_evicted += 1;
            let in_use = |remote: &Remote| {
                let busy = |s| matches!(s, PairState::Succeeded | PairState::InProgress);
                self.pairs.iter().any(|p| remote.is_at(p.path) && busy(p.state))
            };
            let oldest = learned.filter(|r| !in_use(r)).min_by_key(|r| r.seen)?.clone();
            self.forget_remote(&oldest);
        }
        self.stats.prflx_learned += 1;
        self.first_learned_at.get_or_insert(now);
        let foundation = self.new_foundation();
        let remote = Remote { protocol, addr, priority, foundation, signalled: None, seen: now };
        push(&mut self.remotes, remote.clone());
        Some(remote)
    }

    /// Whether enough ports of that address are being checked from that base. A translator that gives every destination another port has the two
    /// sides learn from each other's checks without end, none of which is ever answered from where it went.
    pub(crate) fn is_chase(&self, path: Path) -> bool {
        let near = |p: &&Pair| {
            (p.path.protocol, p.path.local) == (path.protocol, path.local)
                && p.path.remote.ip() == path.remote.ip()
                && matches!(p.state, PairState::Waiting | PairState::InProgress)
        };
        let learned = |p: &&Pair| self.remotes.iter().any(|r| r.signalled.is_none() && r.is_at(p.path));
        self.pairs.iter().filter(near).filter(learned).count() >= MAX_CHASE
    }

    /// Forgets a remote candidate and its pairs.
    pub(crate) fn forget_remote(&mut self, remote: &Remote) {
        self.remotes.retain(|r| (r.protocol, r.addr) != (remote.protocol, remote.addr));
        while let Some(path) = self.pairs.iter().map(|p| p.path).find(|path| remote.is_at(*path)) {
            self.remove_pair(path);
        }
    }

    /// A number no remote foundation has had yet.
    pub(crate) fn new_foundation(&mut self) -> u32 {
        self.foundations = self.foundations.wrapping_add(1);
        self.foundations
    }
}
