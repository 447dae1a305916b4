//! Nomination: which valid pair becomes the selected one (RFC 8445 §8.1).
//!
//! Controlling: regular nomination. The best valid pair is nominated at once when nothing better is still
//! being checked (the usual case on a LAN), else when `Config::nomination_settle` has passed since the first
//! success. Controlled: the peer's USE-CANDIDATE on a pair that our own check has proved. Browsers put it in
//! every check, so the highest such pair wins; a lower one is taken only when the selected one has gone silent.

use std::time::{Duration, Instant};

use tracing::debug;

use crate::agent::Agent;
use crate::check::Purpose;
use crate::event::{Event, Path, Role, State};

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
        let Some(due) = self.nomination_due() else { return };
        let valid = self.pairs.iter().filter(|p| p.is_valid());
        let Some(best) = valid.max_by_key(|p| (!p.spurned, p.priority)) else { return };
        let better_to_come = self.pairs.iter().any(|p| p.is_undecided() && p.priority > best.priority);
        if better_to_come && now < due {
            return;
        }
        let path = best.path;
        debug!(local = %path.local, remote = %path.remote, "nominating");
        if let Some(pair) = self.pair_mut(path) {
            pair.nominate = true;
            self.trigger(path, true);
        }
    }

    /// A nomination was confirmed for a pair that works.
    pub(crate) fn select(&mut self, now: Instant, path: Path) {
        let Some(new) = self.pair(path) else { return };
        let priority = new.priority;
        if let Some(old) = self.selected.and_then(|old| self.pair(old)) {
            let silent = old.last_request.is_none_or(|at| now.saturating_duration_since(at) >= SILENT);
            if old.path == path || old.priority >= priority && !silent {
                return;
            }
        }
        debug!(local = %path.local, remote = %path.remote, "selected");
        self.selected = Some(path);
        self.schedule_consent(now);
        self.tell(Event::SelectedPath(path));
        // RFC 8445 §8.1.2: no more is spent on lower pairs.
        let lower: Vec<Path> =
            self.pairs.iter().filter(|p| p.path != path && p.priority < priority).map(|p| p.path).collect();
        for check in &mut self.checks {
            if check.purpose == Purpose::Connectivity && lower.contains(&check.path) {
                check.transaction.stop_sending(now);
            }
        }
        self.set_state(State::Completed);
        self.trim();
    }
}
