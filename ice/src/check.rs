//! Our own checks: pacing, writing, and what comes of them (RFC 8445 §6.1.4, §7.2, §14).
//!
//! Ordinary checks start one per Ta. Triggered and nominating checks have a small budget of their own
//! (`Config::triggered_burst`, refilled by one per Ta): on a quiet agent they leave at once, and over time all
//! checks together still keep to the pace.

use std::time::{Duration, Instant};

use rand::RngExt;
use sinnet_stun::{
    Builder, Class, IntegrityKey, Message, Method, Retransmission, Transaction, TransactionId,
};
use tracing::debug;

use crate::agent::{Agent, Out};
use crate::candidate::{CandidateKind, priority, type_preference};
use crate::event::{Path, Protocol, Role, State, Transmit};
use crate::few::push;
use crate::pair::{Pair, PairState};

/// Role switches in the life of an agent; after that the conflict is left alone.
pub(crate) const MAX_ROLE_SWITCHES: u64 = 8;
/// RFC 8445 §7.2.5.1.
const ROLE_CONFLICT: u16 = 487;
/// Least retransmission interval.
const MIN_RTO: Duration = Duration::from_millis(5);
/// The number of checks under way makes no interval longer than this, so that failing takes under a minute.
const MAX_GROWN_RTO: Duration = Duration::from_millis(500);
/// However large the budget of triggered checks, after so many an ordinary one has its turn.
const LONGEST_BURST: u32 = 8;
/// Entries of the send queue beyond which those of forgotten checks are swept out.
const SWEEP_OUT: usize = 512;
/// RFC 8489 §6.2.2: how long an answer over TCP is waited for. The connection is opened in that time, too.
const TCP_TIMEOUT: Duration = Duration::from_millis(39_500);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Decides the state of the pair; retransmitted.
    Connectivity,
    /// RFC 7675: sent once.
    Consent,
    /// Keeps a pair in reserve fresh; sent once.
    Reserve,
    /// Asks whether a pair in doubt still works, or another one does; sent four times.
    Probe,
}

/// One Binding request under way, with all that is needed to write it again to the byte.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) transaction: Transaction,
    pub(crate) path: Path,
    pub(crate) purpose: Purpose,
    /// The number of the nomination that it carries; 0 for none.
    nomination: u32,
    role: Role,
    tie_breaker: u64,
    priority: u32,
    queued: bool,
    /// It has been written once.
    sent: bool,
}

/// The budget of triggered checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) left: u32,
    pub(crate) since: Instant,
}

impl Budget {
    /// Earns what the time since `since` is worth.
    fn refill(&mut self, now: Instant, ta: Duration, burst: u32) {
        let elapsed = now.saturating_duration_since(self.since);
        let earned = u32::try_from(elapsed.as_nanos() / ta.as_nanos().max(1)).unwrap_or(u32::MAX);
        if self.left.saturating_add(earned) >= burst {
            *self = Self { left: burst, since: now };
        } else if earned > 0 {
            *self = Self { left: self.left + earned, since: self.since + ta * earned };
        }
    }
}

impl Agent {
    /// Starts what may be started now.
    pub(crate) fn start_checks(&mut self, now: Instant) {
        if self.remote.is_none() || self.config.lite || self.held_until.is_some_and(|until| now < until) {
            return;
        }
        self.held_until = None;
        let ta = self.config.pacing();
        let burst = self.config.triggered_burst.max(1);
        self.budget.refill(now, ta, burst);
        // Two translators that give each check another port trigger checks for ever. A relay, say, must have its turn all the same.
        let overdue = self.last_ordinary_at.is_none_or(|at| now >= at + ta * burst.min(LONGEST_BURST));
        if overdue
            && self.budget.left > 0
            && !self.triggered.is_empty()
            && let Some(path) = self.next_ordinary()
            && self.start_check(now, path, Purpose::Connectivity)
        {
            self.budget.left -= 1;
            self.last_ordinary_at = Some(now);
            self.next_ordinary_at = now + ta;
        }
        while self.budget.left > 0 {
            let Some(path) = self.triggered.pop_front() else { break };
            // It may have succeeded meanwhile; then only a nomination is worth another check.
            if self
                .pair(path)
                .is_some_and(|p| p.is_valid() && !(p.nominate && self.role == Role::Controlling))
            {
                continue;
            }
            if self.start_check(now, path, Purpose::Connectivity) {
                self.budget.left -= 1;
                self.next_ordinary_at = now + ta;
            }
        }
        if now >= self.next_ordinary_at
            && let Some(path) = self.next_ordinary()
            && self.start_check(now, path, Purpose::Connectivity)
        {
            self.last_ordinary_at = Some(now);
            self.next_ordinary_at = now + ta;
        }
    }

    /// When [`start_checks`](Self::start_checks) has something to do again.
    pub(crate) fn next_start(&self) -> Option<Instant> {
        self.remote.as_ref().filter(|_| !self.config.lite)?;
        if self.held_until.is_some() {
            return self.held_until;
        }
        let triggered = (!self.triggered.is_empty()).then(|| self.budget.since + self.config.pacing());
        let ordinary = self.next_ordinary().map(|_| self.next_ordinary_at);
        [triggered, ordinary].into_iter().flatten().min()
    }

    /// Queues the path's triggered check; at the front if it is a nomination.
    pub(crate) fn trigger(&mut self, path: Path, first: bool) {
        if self.triggered.contains(&path) {
            return;
        }
        if first { self.triggered.push_front(path) } else { self.triggered.push_back(path) }
    }

    /// Makes a check and queues its first send.
    pub(crate) fn start_check(&mut self, now: Instant, path: Path, purpose: Purpose) -> bool {
        if self.config.lite {
            return false;
        }
        self.adapts = false;
        let (role, tie_breaker) = (self.role, self.tie_breaker);
        let in_progress = |p: &&Pair| p.state == PairState::InProgress && p.path.protocol == Protocol::Udp;
        let in_progress = self.pairs.iter().filter(in_progress).count();
        let schedule = match purpose {
            // TCP sends again by itself (RFC 6544 §7.1).
            Purpose::Connectivity if path.protocol == Protocol::Tcp => {
                Retransmission { rto: TCP_TIMEOUT, max_sends: 1, last_wait: 1 }
            }
            // RFC 8445 §14.3: the more checks under way, the longer between the sends of each.
            Purpose::Connectivity => Retransmission {
                rto: (self.config.pacing() * u32::try_from(in_progress).unwrap_or(u32::MAX).min(1000))
                    .min(MAX_GROWN_RTO)
                    .max(self.config.rto)
                    .max(MIN_RTO),
                max_sends: self.config.max_sends.clamp(1, 7),
                last_wait: 16,
            },
            Purpose::Consent => {
                Retransmission { rto: self.config.consent_timeout.max(MIN_RTO), max_sends: 1, last_wait: 1 }
            }
            Purpose::Probe if path.protocol == Protocol::Udp => {
                Retransmission { rto: self.config.rto.max(MIN_RTO), max_sends: 4, last_wait: 16 }
            }
            Purpose::Reserve | Purpose::Probe => {
                Retransmission { rto: self.config.consent_timeout.max(MIN_RTO), max_sends: 1, last_wait: 1 }
            }
        };
        let id = TransactionId(self.seed.rng().random());
        let Some(pair) = self.pair_mut(path) else {
            return false;
        };
        let [_, high, low, _] = pair.local_priority.to_be_bytes();
        let nominates = purpose == Purpose::Connectivity && role == Role::Controlling && pair.nominate;
        let nomination = if nominates { pair.nomination.max(1) } else { 0 };
        if purpose == Purpose::Connectivity {
            pair.check = Some(id);
            if !pair.is_valid() {
                pair.state = PairState::InProgress;
            }
        }
        if purpose == Purpose::Connectivity {
            self.triggered.retain(|p| *p != path);
        }
        if self.out.len() >= SWEEP_OUT {
            let checks = &self.checks;
            self.out.retain(|o| match o {
                Out::Response(_) => true,
                Out::Check(id) => checks.iter().any(|c| c.transaction.id() == *id),
            });
        }
        if self.checks.is_empty() {
            // Consent needs one at a time; a vector would begin with four.
            self.checks.reserve_exact(1);
        }
        self.checks.push(Check {
            transaction: Transaction::new(id, schedule, now),
            path,
            purpose,
            nomination,
            role,
            tie_breaker,
            // RFC 8445 §7.1.1: what a peer-reflexive candidate learned from this would have.
            priority: priority(
                type_preference(CandidateKind::PeerReflexive, path.protocol),
                u16::from_be_bytes([high, low]),
            ),
            queued: true,
            sent: false,
        });
        self.out.push_back(Out::Check(id));
        true
    }

    /// Queues what is due again and gives up what has had its time.
    pub(crate) fn run_transactions(&mut self, now: Instant) {
        let mut expired = Vec::new();
        for check in &mut self.checks {
            if check.transaction.is_expired(now) {
                expired.push(check.transaction.id());
            } else if check.transaction.handle_timeout(now) {
                self.stats.retransmissions += 1;
                if !check.queued {
                    check.queued = true;
                    self.out.push_back(Out::Check(check.transaction.id()));
                }
            }
        }
        for id in expired {
            if let Some(check) = self.take_check(id) {
                self.check_failed(&check, "no answer");
            }
        }
    }

    fn take_check(&mut self, id: TransactionId) -> Option<Check> {
        let at = self.checks.iter().position(|c| c.transaction.id() == id)?;
        let check = self.checks.swap_remove(at);
        if self.checks.is_empty() {
            // The next one is consent's, in some seconds.
            self.checks = Vec::new();
        }
        Some(check)
    }

    /// A check that failed fails its pair, if it is the pair's newest (RFC 8445 §7.2.5.2).
    fn check_failed(&mut self, check: &Check, why: &str) {
        let controlling = self.role == Role::Controlling;
        let Some(pair) = self.pair_mut(check.path) else { return };
        if check.purpose != Purpose::Connectivity || pair.check != Some(check.transaction.id()) {
            return;
        }
        debug!(local = %check.path.local, remote = %check.path.remote, why, "check failed");
        pair.check = None;
        if controlling {
            // The peer's nomination, on the other hand, stands: it counts as soon as a check of ours succeeds.
            pair.nominate = false;
        }
        if pair.is_valid() {
            // An unanswered nomination. The peer may have got it and use the pair, so it stays good for what
            // comes in; consent decides whether it is good for sending.
            pair.spurned = true;
            return;
        }
        pair.state = PairState::Failed;
    }

    /// A pair works no more. With none left the search goes on.
    pub(crate) fn lost(&mut self, path: Path) {
        self.valid.retain(|p| *p != path);
        if self.valid.is_empty() && self.selected.is_none() {
            self.first_valid_at = None;
            if matches!(self.state, State::Connected | State::Disconnected) {
                self.set_state(State::Checking);
            }
        }
    }

    /// A newer check takes the place of the one in progress (RFC 8445 §7.3.1.4), whose answer still counts.
    /// One such is kept for each pair.
    pub(crate) fn supersede(&mut self, now: Instant, path: Path) {
        let Some(current) = self.pair(path).and_then(|p| p.check) else { return };
        self.checks.retain(|c| {
            c.path != path || c.purpose != Purpose::Connectivity || c.transaction.id() == current
        });
        if let Some(check) = self.checks.iter_mut().find(|c| c.transaction.id() == current) {
            check.transaction.stop_sending(now);
        }
    }

    /// Writes the next datagram: an answer, or a check.
    pub(crate) fn write_next(&mut self, out: &mut [u8]) -> Option<Transmit> {
        while let Some(item) = self.out.pop_front() {
            let (path, written) = match item {
                Out::Response(response) => {
                    self.responses_waiting = self.responses_waiting.saturating_sub(1);
                    (response.path, response.write(out, &self.local_key))
                }
                Out::Check(id) => {
                    let Some(check) = self.checks.iter_mut().find(|c| c.transaction.id() == id) else {
                        continue;
                    };
                    let Some((remote, key)) = &self.remote else { continue };
                    check.queued = false;
                    self.stats.requests_sent += 1;
                    let again = std::mem::replace(&mut check.sent, true);
                    if let Some(pair) = self.pairs.iter_mut().find(|p| p.path == check.path) {
                        match check.purpose {
                            Purpose::Consent => pair.counts.consent_requests_sent += 1,
                            _ if again => pair.counts.retransmissions_sent += 1,
                            _ => pair.counts.requests_sent += 1,
                        }
                    }
                    let numbered = self.renominates;
                    (check.path, check.write(out, &remote.ufrag, &self.local.ufrag, key, numbered))
                }
            };
            match written {
                Some(len) => return Some(Transmit { path, len }),
                None => self.stats.transmit_too_small += 1,
            }
        }
        None
    }

    /// A response: it counts only if it comes back the way the request went, answers a request we remember,
    /// and proves knowledge of the peer's password (RFC 8445 §7.2.5).
    pub(crate) fn on_response(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool {
        let id = message.transaction_id();
        let known = self.checks.iter().any(|c| c.transaction.id() == id && c.path == path);
        let Some((_, key)) = self.remote.as_ref().filter(|_| known) else {
            self.stats.dropped_unmatched += 1;
            return false;
        };
        if !message.verify_integrity(key).is_valid() {
            self.stats.dropped_integrity += 1;
            debug!(remote = %path.remote, "response with a wrong or missing MESSAGE-INTEGRITY");
            return false;
        }
        let Some(check) = self.take_check(id) else { return false };
        self.stats.responses_received += 1;
        if let Some(pair) = self.pair_mut(path) {
            pair.counts.responses_received += 1;
        }
        match (message.class(), message.error_code()) {
            (Class::SuccessResponse, _) if message.xor_mapped_address().is_some() => {
                self.check_succeeded(now, &check)
            }
            (Class::ErrorResponse, Some(ROLE_CONFLICT)) => self.on_role_conflict(&check),
            (_, code) => {
                self.check_failed(&check, if code.is_some() { "refused" } else { "malformed response" })
            }
        }
        true
    }

    fn check_succeeded(&mut self, now: Instant, check: &Check) {
        let role = self.role;
        let Some(pair) = self.pair_mut(check.path) else { return };
        if let Some(rtt) = check.transaction.rtt(now) {
            pair.measured(rtt);
        }
        pair.last_answered = pair.last_answered.max(Some(check.transaction.first_sent()));
        if check.purpose != Purpose::Connectivity {
            let nominated = role == Role::Controlled && pair.nominate && pair.is_valid();
            if check.purpose == Purpose::Consent {
                self.stats.consents += 1;
            }
            if nominated {
                // It was left while it was silent, perhaps.
                self.select(now, check.path);
            }
            return self.answered(check.path);
        }
        let newly = !pair.is_valid();
        let foundation = pair.foundation;
        pair.state = PairState::Succeeded;
        let nominating = pair.nominate && role == Role::Controlling && check.nomination == 0;
        if !nominating {
            // Whatever else is under way decides nothing any more.
            pair.check = None;
        }
        let nominated = match role {
            Role::Controlling => pair.nominate && check.nomination > 0 && check.role == Role::Controlling,
            // RFC 8445 §7.3.1.5: the peer's nomination counts once our own check has worked too.
            Role::Controlled => pair.nominate,
        };
        if newly {
            debug!(local = %check.path.local, remote = %check.path.remote, "pair works");
            push(&mut self.valid, check.path);
            self.unfreeze(foundation);
            self.first_valid_at.get_or_insert(now);
        }
        if self.state == State::Checking || newly && self.valid.len() == 1 && self.selected.is_none() {
            self.schedule_consent(now);
            self.set_state(State::Connected);
        }
        if nominated {
            self.select(now, check.path);
        }
        self.answered(check.path);
    }

    /// 487: take the other role and check again (RFC 8445 §7.2.5.1).
    fn on_role_conflict(&mut self, check: &Check) {
        if check.purpose != Purpose::Connectivity {
            return;
        }
        if check.role == self.role {
            if self.stats.role_switches >= MAX_ROLE_SWITCHES || self.remote_lite {
                return self.check_failed(check, "role conflict without end");
            }
            self.tie_breaker = self.seed.rng().random();
            self.switch_role();
        }
        let Some(pair) = self.pair_mut(check.path) else { return };
        if !pair.is_valid() {
            pair.state = PairState::Waiting;
            self.trigger(check.path, false);
        }
    }

    /// Changes the role and with it every priority (RFC 8445 §7.3.1.1).
    pub(crate) fn switch_role(&mut self) {
        self.stats.role_switches += 1;
        self.take_role(self.role.other());
        debug!(role = ?self.role, "role conflict: switched");
    }
}

impl Check {
    /// A Binding request as RFC 8445 §7.2.4 has it.
    fn write(
        &self,
        out: &mut [u8],
        remote_ufrag: &str,
        local_ufrag: &str,
        key: &IntegrityKey,
        numbered: bool,
    ) -> Option<usize> {
        let mut b = Builder::new(out, Class::Request, Method::BINDING, self.transaction.id());
        b.username_pair(remote_ufrag, local_ufrag).priority(self.priority);
        match self.role {
            Role::Controlling => b.ice_controlling(self.tie_breaker),
            Role::Controlled => b.ice_controlled(self.tie_breaker),
        };
        match self.nomination {
            0 => {}
            // libwebrtc has the one or the other.
            number if numbered => {
                b.nomination(number);
            }
            _ => {
                b.use_candidate();
            }
        }
        b.integrity(key).fingerprint();
        b.finish().ok()
    }
}
