//! After the first nomination: silence on the selected path, better paths, and paths kept in reserve.
//!
//! ```text
//!                       ┌────────────── it answers ───────────────┐
//!                       ▼                                         │
//!  selected ── a consent check unanswered, or the owner's hint ──▶ in doubt ── another pair answers, it doesn't ──▶ another selected
//! ```
//! In doubt the selected pair and all others are checked at once. The judgement takes 0.8 s or four round trips: three of four sends may be
//! lost. A controlling agent nominates the pair it goes over to. RFC 8445 §8.1.1 has one nomination a session, but a dead path helps
//! nobody; peers that do renomination (draft-thatcher-ice-renomination, as in libwebrtc) get it numbered, and then every later nomination
//! wins. Others get USE-CANDIDATE once more, which is what they know from aggressive nomination. A controlled agent sends where it
//! gets answers until the peer nominates, and both follow the peer's data.
//!
//! A better pair that begins to work later, such as a direct one after a relay, is nominated too.
//!
//! For a quick change a few other pairs are kept fresh, on other interfaces if there are any: one check every
//! [`Config::reserve_interval`](crate::Config::reserve_interval) each, which also keeps the bindings in NATs (RFC 8445 §11).

use std::time::{Duration, Instant};

use rand::RngExt;
use tracing::debug;

use crate::agent::Agent;
use crate::check::Purpose;
use crate::event::{Event, Path, Role, State};
use crate::pair::PairState;

/// An answer that takes longer than this, or four round trips, is doubted.
const LATE: Duration = Duration::from_millis(500);
/// Time to judge, or four round trips.
const JUDGEMENT: Duration = Duration::from_millis(800);
/// No round trip counts as more than this here.
const LONGEST: Duration = Duration::from_millis(750);
/// The checks of a doubt are repeated after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// From the nomination to the first checks of pairs in reserve.
const FIRST_RESERVE: Duration = Duration::from_secs(1);
/// A pair that went silent isn't gone back to sooner.
const DISTRUST: Duration = Duration::from_secs(10);
/// After a change of path the peer may go on as before for so long.
const GRACE: Duration = Duration::from_secs(1);
/// The peer's data has come to rest on another path if none came on ours for so long.
const RESTED: Duration = Duration::from_millis(150);

/// The selected pair seems to work no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    since: Instant,
    again: Instant,
}

impl Agent {
    /// Says that data of the peer, which DTLS has proved, has come on this path. A peer that has gone over to another path is followed.
    /// Cheap on the selected path.
    #[inline]
    pub fn note_data(&mut self, now: Instant, path: Path) {
        if self.selected == Some(path) {
            self.data_at = Some(now);
        } else if self.selected.is_some() {
            self.note_stray_data(now, path);
        }
    }

    fn note_stray_data(&mut self, now: Instant, path: Path) {
        let settled = self.selected_at.is_none_or(|at| now > at + GRACE);
        let rested = self.data_at.is_none_or(|at| now > at + RESTED);
        if settled && rested && self.valid.contains(&path) {
            debug!(local = %path.local, remote = %path.remote, "the peer has gone over to another path");
            self.change_to(now, path);
            self.settle(now);
        }
    }

    /// Says that nothing seems to arrive any more of what is sent on the selected path, a retransmission timer having expired, say. The path
    /// is checked at once, and left if another one answers and it doesn't.
    pub fn doubt_path(&mut self, now: Instant) {
        self.begin_doubt(now);
        self.settle(now);
    }

    fn begin_doubt(&mut self, now: Instant) {
        let answered = self.selected.and_then(|path| self.pair(path)).and_then(|pair| pair.last_answered);
        let just_answered = answered.is_some_and(|at| now < at + LATE);
        if self.doubt.is_some() || self.selected.is_none() || just_answered || self.pairs.len() < 2 {
            return;
        }
        if self.config.lite {
            return;
        }
        debug!("the selected path is in doubt");
        self.doubt = Some(Doubt { since: now, again: now });
        self.retry_failed();
    }

    /// The network has changed: what failed before may work now.
    pub(crate) fn retry_failed(&mut self) {
        for pair in self.pairs.iter_mut().filter(|p| p.state == PairState::Failed) {
            pair.state = PairState::Waiting;
        }
    }

    /// Since when the pair owes an answer.
    fn unanswered_since(&self, path: Path) -> Option<Instant> {
        let answered = self.pair(path)?.last_answered;
        let of_path = self.checks.iter().filter(|check| check.path == path);
        of_path.map(|check| check.transaction.first_sent()).filter(|at| Some(*at) > answered).min()
    }

    /// Four round trips of the pair, or `least`.
    fn four_trips(&self, path: Path, least: Duration) -> Duration {
        let rtt = self.pair(path).and_then(|pair| pair.srtt).unwrap_or_default().min(LONGEST);
        least.max(4 * rtt)
    }

    /// Begins a doubt, checks, judges.
    pub(crate) fn run_doubt(&mut self, now: Instant) {
        let Some(path) = self.selected else {
            self.doubt = None;
            return;
        };
        let answered = self.pair(path).and_then(|pair| pair.last_answered);
        if self.doubt.take_if(|doubt| answered >= Some(doubt.since)).is_some() {
            debug!("the selected path still works");
        }
        if self.doubt.is_none() && self.lateness_due().is_some_and(|at| now >= at) {
            self.begin_doubt(now);
        }
        let Some(doubt) = self.doubt else { return };
        if now >= doubt.since + self.four_trips(path, JUDGEMENT)
            && let Some(other) = self.best_other(|answered| answered >= doubt.since)
        {
            debug!(local = %path.local, remote = %path.remote, "the selected path is silent");
            return self.change_to(now, other);
        }
        if now >= doubt.again {
            self.doubt = Some(Doubt { again: now + AGAIN, ..doubt });
            let others = self.pairs.iter().filter(|p| p.is_valid() && p.path != path);
            let mut others: Vec<_> = others.map(|p| (p.priority, p.path)).collect();
            others.sort_unstable_by_key(|(priority, _)| std::cmp::Reverse(*priority));
            // The best may all have died of the same thing, as the paths over one relay do: each time twice as many are asked.
            let times = now.saturating_duration_since(doubt.since).as_secs().min(6);
            let many = self.config.reserve.max(1).saturating_mul(1 << times);
            let others = others.into_iter().map(|(_, path)| path).take(many);
            for path in std::iter::once(path).chain(others) {
                self.start_check(now, path, Purpose::Probe);
            }
        }
    }

    /// When the selected pair's answer is late; nothing if there is no other pair.
    fn lateness_due(&self) -> Option<Instant> {
        let path = self.selected.filter(|_| self.pairs.len() > 1)?;
        Some(self.unanswered_since(path)? + self.four_trips(path, LATE))
    }

    /// The best other pair whose last answered check satisfies.
    pub(crate) fn best_other(&self, satisfies: impl Fn(Instant) -> bool) -> Option<Path> {
        let others = self.pairs.iter().filter(|p| p.is_valid() && Some(p.path) != self.selected);
        let answered = others.filter(|p| p.last_answered.is_some_and(&satisfies));
        answered.max_by_key(|p| p.priority).map(|p| p.path)
    }

    /// Sends data on another pair from now on; the one so far has gone silent.
    pub(crate) fn change_to(&mut self, now: Instant, path: Path) {
        if let Some(old) = self.selected.and_then(|old| self.pair_mut(old)) {
            old.silent_at = Some(now);
        }
        debug!(local = %path.local, remote = %path.remote, "selected instead");
        for pair in &mut self.pairs {
            pair.nominate &= pair.path == path;
        }
        self.note_selected(now, path);
        self.start_check(now, path, Purpose::Consent);
        if self.role == Role::Controlling {
            self.nominate(path);
        }
    }

    /// What there is to do whenever a pair is selected.
    pub(crate) fn note_selected(&mut self, now: Instant, path: Path) {
        self.selected = Some(path);
        self.selected_at = Some(now);
        self.doubt = None;
        self.next_reserve = Some(now + FIRST_RESERVE);
        self.schedule_consent(now);
        self.tell(Event::SelectedPath(path));
        self.set_state(State::Completed);
    }

    /// Controlling: the pair that is better than the selected one, and proved since it was last silent.
    pub(crate) fn better_than_selected(&self, now: Instant) -> Option<Path> {
        let selected = self.pair(self.selected?)?;
        let fresh = |at: Option<Instant>| at.is_some_and(|at| now < at + self.config.consent_timeout);
        let trusted = |silent: Option<Instant>| silent.is_none_or(|at| now > at + DISTRUST);
        self.pairs
            .iter()
            .filter(|p| p.is_valid() && !p.spurned && p.priority > selected.priority)
            .filter(|p| fresh(p.last_answered) && trusted(p.silent_at) && p.last_answered > p.silent_at)
            .max_by_key(|p| p.priority)
            .map(|p| p.path)
    }

    /// Checks the pairs in reserve when it is time.
    pub(crate) fn run_reserve(&mut self, now: Instant) {
        let Some(selected) = self.selected else { return };
        if self.doubt.is_some() || self.next_reserve.is_none_or(|at| now < at) {
            return;
        }
        if self.config.lite {
            self.next_reserve = None;
            return;
        }
        self.next_reserve = (self.pairs.len() > 1 && self.config.reserve > 0).then(|| {
            let factor = 0.8 + 0.4 * self.seed.rng().random::<f64>();
            now + self.config.reserve_interval.max(FIRST_RESERVE).mul_f64(factor)
        });
        let mut chosen = vec![selected];
        for _ in 0..self.config.reserve {
            let next = self
                .pairs
                .iter()
                .filter(|p| p.state != PairState::Failed && !chosen.contains(&p.path))
                .max_by_key(|p| {
                    let another_base =
                        chosen.iter().all(|c| (c.protocol, c.local) != (p.path.protocol, p.path.local));
                    (another_base, p.is_valid(), p.priority)
                });
            let Some(next) = next.map(|p| p.path) else { break };
            chosen.push(next);
        }
        for path in chosen.into_iter().skip(1) {
            let dead = self.unanswered_since(path).is_some_and(|at| now >= at + self.config.consent_timeout);
            match self.pair_mut(path) {
                Some(pair) if pair.is_valid() && dead => {
                    pair.state = PairState::Failed;
                    pair.nominate = false;
                    self.valid.retain(|p| *p != path);
                }
                Some(pair) if pair.is_valid() => {
                    self.start_check(now, path, Purpose::Reserve);
                }
                Some(pair) if pair.state != PairState::InProgress => {
                    pair.state = PairState::Waiting;
                    self.trigger(path, false);
                }
                _ => {}
            }
        }
    }

    /// When there is something to do here.
    pub(crate) fn switch_due(&self) -> Option<Instant> {
        let path = self.selected?;
        let Some(doubt) = self.doubt else {
            return [self.lateness_due(), self.next_reserve].into_iter().flatten().min();
        };
        let judgement = doubt.since + self.four_trips(path, JUDGEMENT);
        let ready = self.best_other(|answered| answered >= doubt.since).is_some();
        [Some(doubt.again), ready.then_some(judgement)].into_iter().flatten().min()
    }
}
