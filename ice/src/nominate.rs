//! Nomination: which valid pair becomes the selected one (RFC 8445 §8.1).
//!
//! Controlling: regular nomination. The best valid pair is nominated at once when nothing better is still
//! being checked (the usual case on a LAN), else when `Config::nomination_settle` has passed since the first
//! success. Controlled: the peer's NOMINATION or USE-CANDIDATE on a pair that our own check has proved. The highest number wins.
//! Of USE-CANDIDATE, which browsers put in every check, the highest pair wins; a lower one is taken only when the selected one
//! has gone silent. What comes after that is in `switch.rs`.

use std::time::{Duration, Instant};

use tracing::debug;

use crate::agent::Agent;
use crate::check::Purpose;
use crate::event::{Path, Role};
use crate::pair::Pair;

/// A selected pair on which the peer hasn't checked for so long may be replaced by one of lower priority.
const SILENT: Duration = Duration::from_secs(10);

impl Agent {
    /// The pair for data: the selected one, or before nomination the best that works.
    pub(crate) fn active(&self) -> Option<Path> {
        self.selected.or_else(|| self.best_valid())
    }

    fn best_valid(&self) -> Option<Path> {
        self.pairs.iter().filter(|p| p.is_valid()).max_by_key(|p| p.priority).map(|p| p.path)
    }

    /// Controlling: the time at which to nominate without waiting for better pairs; `None` if there is nothing
    /// to decide.
    pub(crate) fn nomination_due(&self) -> Option<Instant> {
        if self.role != Role::Controlling || self.selected.is_some() || self.pairs.iter().any(|p| p.nominate)
        {
            return None;
        }
        self.first_valid_at.filter(|_| !self.valid.is_empty()).map(|at| at + self.config.nomination_settle)
    }

    /// Controlling: nominates when it is time.
    pub(crate) fn consider_nomination(&mut self, now: Instant) {
        if self.role == Role::Controlling
            && self.doubt.is_none()
            && let Some(path) = self.better_than_selected(now)
            && self.pair(path).is_some_and(|pair| !pair.nominate)
        {
            return self.nominate(path);
        }
        let Some(due) = self.nomination_due() else { return };
        let valid = self.pairs.iter().filter(|p| p.is_valid());
        let Some(best) = valid.max_by_key(|p| (!p.spurned, p.priority)) else { return };
        let better_to_come = self.pairs.iter().any(|p| p.is_undecided() && p.priority > best.priority);
        if better_to_come && now < due {
            return;
        }
        let path = best.path;
        self.nominate(path);
    }

    /// Controlling: has the next check of a pair that works say that it is to be used.
    pub(crate) fn nominate(&mut self, path: Path) {
        debug!(local = %path.local, remote = %path.remote, "nominating");
        self.nominations = self.nominations.saturating_add(1);
        let number = self.nominations;
        for pair in &mut self.pairs {
            pair.nominate = pair.path == path;
            if pair.nominate {
                pair.nomination = number;
            }
        }
        self.trigger(path, true);
    }

    /// Controlled: whether the peer's nomination of a pair counts for more than that of the selected one.
    fn is_to_follow(&self, now: Instant, path: Path) -> bool {
        let (Some(new), Some(old)) = (self.pair(path), self.selected.and_then(|old| self.pair(old))) else {
            return true;
        };
        let rank = |pair: &Pair| (if pair.nominate { pair.nomination } else { 0 }, pair.priority);
        let silent = old.last_request.is_none_or(|at| now.saturating_duration_since(at) >= SILENT);
        rank(new) > rank(old) || silent
    }

    /// A nomination was confirmed for a pair that works.
    pub(crate) fn select(&mut self, now: Instant, path: Path) {
        let Some(priority) = self.pair(path).map(|new| new.priority) else { return };
        if self.selected == Some(path) || self.role == Role::Controlled && !self.is_to_follow(now, path) {
            return;
        }
        debug!(local = %path.local, remote = %path.remote, "selected");
        self.note_selected(now, path);
        // RFC 8445 §8.1.2: no more is spent on lower pairs.
        let lower: Vec<Path> =
            self.pairs.iter().filter(|p| p.path != path && p.priority < priority).map(|p| p.path).collect();
        for check in &mut self.checks {
            if check.purpose == Purpose::Connectivity && lower.contains(&check.path) {
                check.transaction.stop_sending(now);
            }
        }
        self.trim();
    }
}
