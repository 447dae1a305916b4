//! Consent freshness (RFC 7675 §5.1) and the failures that only time reveals.
//!
//! The pair in use is checked every 4 to 6 s, each time with a new transaction and never retransmitted. Only
//! an authenticated answer renews consent; data does not. These checks are the keepalives too (RFC 8445 §11).

use std::time::{Duration, Instant};

use rand::RngExt;
use tracing::debug;

use crate::agent::Agent;
use crate::check::Purpose;
use crate::event::{Event, FailReason, Path, State};
use crate::pair::PairState;

/// So long after patience is over, remote candidates learned from checks still put off failure.
const CHASE: Duration = Duration::from_secs(30);

impl Agent {
    /// Sets the next consent check, 0.8 to 1.2 basic periods from now.
    pub(crate) fn schedule_consent(&mut self, now: Instant) {
        let factor = 0.8 + 0.4 * self.seed.rng().random::<f64>();
        self.next_consent = now + self.config.consent_interval.max(self.config.pacing()).mul_f64(factor);
    }

    /// The times at which [`run_consent`](Self::run_consent) has something to do.
    pub(crate) fn consent_due(&self) -> Option<Instant> {
        let answered = self.active().and_then(|path| self.pair(path))?.last_answered?;
        let disconnect = (self.state != State::Disconnected).then(|| answered + self.config.disconnect_after);
        let next = (!self.config.lite).then_some(self.next_consent);
        [next, Some(answered + self.config.consent_timeout), disconnect].into_iter().flatten().min()
    }

    /// Sends the check that is due, notices silence, ends what has lost consent.
    pub(crate) fn run_consent(&mut self, now: Instant) {
        while let Some(path) = self.active() {
            let Some(answered) = self.pair(path).and_then(|p| p.last_answered) else { return };
            if now < answered + self.config.consent_timeout {
                if now >= answered + self.config.disconnect_after
                    && matches!(self.state, State::Connected | State::Completed)
                {
                    self.set_state(State::Disconnected);
                }
                if now >= self.next_consent && !self.config.lite {
                    self.start_check(now, path, Purpose::Consent);
                    self.schedule_consent(now);
                }
                return;
            }
            debug!(local = %path.local, remote = %path.remote, "consent expired");
            let was_selected = self.selected == Some(path);
            if let Some(pair) = self.pair_mut(path) {
                pair.state = PairState::Failed;
                pair.nominate = false;
            }
            self.lost(path);
            let timeout = self.config.consent_timeout;
            match self.best_other(|answered| now < answered + timeout) {
                Some(other) if was_selected => self.change_to(now, other),
                None if was_selected || self.valid.is_empty() => {
                    return self.fail(FailReason::ConsentExpired { path });
                }
                _ => {}
            }
        }
    }

    /// An answer on the pair in use ends a disconnection.
    pub(crate) fn answered(&mut self, path: Path) {
        if self.state == State::Disconnected && self.active() == Some(path) {
            self.set_state(if self.selected.is_some() { State::Completed } else { State::Connected });
        }
    }

    /// Until when nothing fails for want of a working pair (RFC 8863 §4). While candidates may still come,
    /// each one that does starts the time anew; their number is limited.
    pub(crate) fn patience_until(&self) -> Option<Instant> {
        let mut from = self.credentials_at?;
        if !self.remote_ended {
            from = self.last_remote_at.map_or(from, |at| from.max(at));
        }
        if !self.local_ended {
            from = self.last_local_at.map_or(from, |at| from.max(at));
        }
        // The network may come back, or another one.
        from = self.bereft_at.map_or(from, |at| from.max(at));
        Some(from + self.config.patience)
    }

    /// Fails when patience is over and nothing is left to try.
    pub(crate) fn consider_failure(&mut self, now: Instant) {
        let Some(until) = self.patience_until().filter(|until| now >= *until) else { return };
        let waits = !matches!(self.state, State::Checking | State::Disconnected) || !self.names.is_empty();
        if waits || self.active().is_some() {
            return;
        }
        // Two translators that give each check another port let both sides learn from each other's checks for ever.
        let chased = self.first_learned_at.is_some_and(|at| now > until.max(at) + CHASE);
        let learned = |path| self.remotes.iter().any(|r| r.is_at(path) && r.signalled.is_none());
        if self.pairs.iter().any(|p| p.is_undecided() && !(chased && learned(p.path))) {
            return;
        }
        let reason = if self.locals.is_empty() {
            FailReason::NoLocalCandidates
        } else if self.config.lite && !self.remote_lite {
            FailReason::NotNominated
        } else if !self.pairs.is_empty() {
            FailReason::AllChecksFailed { pairs: u32::try_from(self.pairs.len()).unwrap_or(u32::MAX) }
        } else if !self.remotes.is_empty() {
            FailReason::NoPairs
        } else if self.stats.candidates_ignored > 0 {
            let ignored = u32::try_from(self.stats.candidates_ignored).unwrap_or(u32::MAX);
            FailReason::NoUsableRemoteCandidates { ignored }
        } else {
            FailReason::NoRemoteCandidates
        };
        self.fail(reason);
    }

    fn fail(&mut self, reason: FailReason) {
        debug!(%reason, "ICE failed");
        self.tell(Event::Failed(reason));
        self.set_state(State::Failed);
        self.clear();
    }
}
