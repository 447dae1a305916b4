//! Candidate pairs and their states (RFC 8445 §6.1.2.6):
//!
//! ```text
//!  Frozen ──▶ Waiting ──▶ InProgress ──▶ Succeeded
//!                ▲             │
//!                └─ triggered ─┴───────▶ Failed
//! ```
//! A pair is known by its [`Path`]: pairs whose local candidates share a base are one (§6.1.2.4). When a
//! response shows another mapped address, the valid pair has a peer-reflexive local candidate (§7.2.5.3.1), but
//! the same base, so it is the same path and the same entry here.

use std::time::{Duration, Instant};

use sinnet_stun::TransactionId;

use crate::event::{Path, Role};
use crate::stats::PairCounts;

/// Where the checks of a candidate pair stand (RFC 8445 §6.1.2.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PairState {
    /// Waits for a pair of its foundation to succeed.
    Frozen,
    /// Will be checked in its turn.
    Waiting,
    /// A check is under way.
    InProgress,
    /// A check has succeeded.
    Succeeded,
    /// A check has failed, or consent has run out.
    Failed,
}

#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) path: Path,
    pub(crate) local_priority: u32,
    pub(crate) remote_priority: u32,
    /// Of the local and of the remote candidate, as small numbers.
    pub(crate) foundation: (u32, u32),
    pub(crate) priority: u64,
    pub(crate) state: PairState,
    /// The newest check of this pair, whose fate decides the pair's.
    pub(crate) check: Option<TransactionId>,
    /// Controlling: the next check carries USE-CANDIDATE. Controlled: the peer's did.
    pub(crate) nominate: bool,
    /// Controlling: the number of its nomination. Controlled: the highest that the peer has given it, 1 for USE-CANDIDATE.
    pub(crate) nomination: u32,
    /// When it was left because it was silent.
    pub(crate) silent_at: Option<Instant>,
    /// Controlling: a nomination went unanswered; others are preferred.
    pub(crate) spurned: bool,
    /// When the last answered check was sent.
    pub(crate) last_answered: Option<Instant>,
    /// When the peer's last check came in.
    pub(crate) last_request: Option<Instant>,
    /// Smoothed as in RFC 6298 §2, without the variance.
    pub(crate) srtt: Option<Duration>,
    pub(crate) counts: PairCounts,
}

impl Pair {
    pub(crate) fn new(
        path: Path,
        local_priority: u32,
        remote_priority: u32,
        foundation: (u32, u32),
        role: Role,
    ) -> Self {
        Self {
            path,
            local_priority,
            remote_priority,
            foundation,
            priority: priority(role, local_priority, remote_priority),
            state: PairState::Frozen,
            check: None,
            nominate: false,
            nomination: 0,
            silent_at: None,
            spurned: false,
            last_answered: None,
            last_request: None,
            srtt: None,
            counts: PairCounts::default(),
        }
    }

    pub(crate) fn update_priority(&mut self, role: Role) {
        self.priority = priority(role, self.local_priority, self.remote_priority);
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.state == PairState::Succeeded
    }

    /// Whether an ordinary check of it is still to come or under way.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.state, PairState::Frozen | PairState::Waiting | PairState::InProgress)
    }

    pub(crate) fn measured(&mut self, rtt: Duration) {
        self.counts.current_round_trip_time = Some(rtt);
        self.counts.total_round_trip_time = self.counts.total_round_trip_time.saturating_add(rtt);
        self.srtt = Some(self.srtt.map_or(rtt, |srtt| (srtt * 7 + rtt) / 8));
    }
}

/// RFC 8445 §6.1.2.3: 2^32·MIN(G,D) + 2·MAX(G,D) + (G>D ? 1 : 0).
fn priority(role: Role, local: u32, remote: u32) -> u64 {
    let (g, d) = match role {
        Role::Controlling => (local, remote),
        Role::Controlled => (remote, local),
    };
    // Only a priority beyond the legal 2^31 - 1 can saturate.
    (u64::from(g.min(d)) << 32).saturating_add(2 * u64::from(g.max(d)) + u64::from(g > d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_compute_one_priority() {
        for (a, b) in [(1, 2), (2, 1), (7, 7), (u32::MAX, 0), (u32::MAX, u32::MAX)] {
            assert_eq!(priority(Role::Controlling, a, b), priority(Role::Controlled, b, a));
        }
        assert_eq!(priority(Role::Controlling, 3, 2), (2 << 32) + 6 + 1);
    }
}
