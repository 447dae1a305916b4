//! The agent: what it holds, what its owner calls, and the order in which things are done after each call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use sinnet_stun::{Class, IntegrityKey, Message, Method, TransactionId, Verdict};
use tracing::debug;

use crate::candidate::{Address, Candidate, TcpType, Transport, is_sendable, normal};
use crate::check::{Budget, Check};
use crate::checklist::{Remote, Signalled, same_host};
use crate::config::Config;
use crate::creds::Credentials;
use crate::error::{AddCandidateError, CredentialsError};
use crate::event::{Event, Path, Protocol, Role, State, Stats, Transmit};
use crate::few::push;
use crate::local::{Local, Own};
use crate::names::Pending;
use crate::pair::Pair;
use crate::respond::{Early, Response};
use crate::seed::Seed;
use crate::switch::Doubt;

/// Events that wait at most; the oldest makes room.
const MAX_EVENTS: usize = 64;

/// Something to be written by `poll_transmit`.
#[derive(Clone, Debug)]
pub(crate) enum Out {
    Response(Response),
    /// A send of this check, if it still exists.
    Check(TransactionId),
}

/// One ICE agent for one peer. See the crate's documentation; the states are drawn at [`State`].
///
/// The owner calls in any order, and afterwards drains [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event) until `None`, then sleeps until [`poll_timeout`](Self::poll_timeout).
/// Whatever isn't drained waits, within limits. Addresses of one socket must come in one form: an IPv4 peer
/// as IPv4, not as `::ffff:a.b.c.d`.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Arc<Config>,
    pub(crate) seed: Seed,
    pub(crate) role: Role,
    pub(crate) tie_breaker: u64,
    pub(crate) state: State,
    pub(crate) local: Credentials,
    pub(crate) local_key: IntegrityKey,
    /// The owner has chosen the credentials, so the peer's may be the same.
    pub(crate) local_is_given: bool,
    pub(crate) remote: Option<(Credentials, IntegrityKey)>,
    /// The bases: host and relayed candidates.
    pub(crate) locals: Vec<Local>,
    /// What is signalled.
    pub(crate) candidates: Vec<Own>,
    /// The last number given to a local foundation.
    pub(crate) local_foundations: u32,
    pub(crate) remotes: Vec<Remote>,
    pub(crate) names: Vec<Pending>,
    /// Names that have been waited for.
    pub(crate) names_taken: u32,
    /// The last number given to a remote foundation.
    pub(crate) foundations: u32,
    pub(crate) early: Vec<Early>,
    pub(crate) pairs: Vec<Pair>,
    /// The paths of the pairs in `Succeeded`, for the question asked about every datagram.
    pub(crate) valid: Vec<Path>,
    pub(crate) selected: Option<Path>,
    pub(crate) checks: Vec<Check>,
    pub(crate) triggered: VecDeque<Path>,
    pub(crate) out: VecDeque<Out>,
    pub(crate) responses_waiting: usize,
    pub(crate) events: VecDeque<Event>,
    pub(crate) budget: Budget,
    pub(crate) next_ordinary_at: Instant,
    pub(crate) last_ordinary_at: Option<Instant>,
    pub(crate) selected_at: Option<Instant>,
    /// When the peer's data came on the selected path last.
    pub(crate) data_at: Option<Instant>,
    pub(crate) doubt: Option<Doubt>,
    pub(crate) next_reserve: Option<Instant>,
    /// The number of our last nomination.
    pub(crate) nominations: u32,
    /// The peer is lite.
    pub(crate) remote_lite: bool,
    /// The peer understands numbered nominations.
    pub(crate) renominates: bool,
    pub(crate) next_consent: Instant,
    pub(crate) first_valid_at: Option<Instant>,
    pub(crate) credentials_at: Option<Instant>,
    /// When the last path went, with the interface or relay it used.
    pub(crate) bereft_at: Option<Instant>,
    pub(crate) last_local_at: Option<Instant>,
    pub(crate) last_remote_at: Option<Instant>,
    /// When a check from an address that wasn't signalled came first.
    pub(crate) first_learned_at: Option<Instant>,
    pub(crate) local_ended: bool,
    pub(crate) remote_ended: bool,
    /// No check before that time, or the peer's first one.
    pub(crate) held_until: Option<Instant>,
    /// The role is the one that the peer's first check leaves, if it comes before ours.
    pub(crate) adapts: bool,
    pub(crate) stats: Stats,
    /// When something is due, kept up to date by `settle`.
    wake: Option<Instant>,
}

impl Agent {
    /// A new agent with credentials of its own. `seed` must come from the system's random source in
    /// production: the password, the tie-breaker and the transaction ids are made from it.
    pub fn new(config: Arc<Config>, role: Role, now: Instant, seed: [u8; 32]) -> Self {
        let config = if config.is_usable() { config } else { Arc::new(config.clamped()) };
        let mut seed = Seed::new(seed);
        let mut rng = seed.rng();
        let local = Credentials::generate(&mut rng);
        Self {
            role,
            tie_breaker: rng.random(),
            state: State::New,
            local_key: IntegrityKey::short_term(&local.pwd),
            local,
            local_is_given: false,
            seed,
            remote: None,
            locals: Vec::new(),
            candidates: Vec::new(),
            local_foundations: 0,
            remotes: Vec::new(),
            names: Vec::new(),
            names_taken: 0,
            foundations: 0,
            early: Vec::new(),
            pairs: Vec::new(),
            valid: Vec::new(),
            selected: None,
            checks: Vec::new(),
            triggered: VecDeque::new(),
            out: VecDeque::new(),
            responses_waiting: 0,
            events: VecDeque::new(),
            budget: Budget { left: config.triggered_burst.max(1), since: now },
            next_ordinary_at: now,
            last_ordinary_at: None,
            selected_at: None,
            data_at: None,
            doubt: None,
            next_reserve: None,
            nominations: 0,
            remote_lite: false,
            renominates: false,
            next_consent: now,
            first_valid_at: None,
            credentials_at: None,
            bereft_at: None,
            last_local_at: None,
            last_remote_at: None,
            first_learned_at: None,
            local_ended: false,
            remote_ended: false,
            held_until: None,
            adapts: false,
            stats: Stats::default(),
            wake: None,
            config,
        }
    }

    /// A new agent whose credentials its owner has agreed on with the peer in some other way than by signalling those that an
    /// agent makes. The peer's may be the same: `ufrag:ufrag` is what libp2p's WebRTC Direct has as USERNAME. Checks of our own
    /// that somebody sends back to us are known by their tie-breaker then.
    ///
    /// # Errors
    /// When the credentials break the grammar of RFC 8839 §5.4.
    pub fn with_credentials(
        config: Arc<Config>,
        role: Role,
        now: Instant,
        seed: [u8; 32],
        local: Credentials,
    ) -> Result<Self, CredentialsError> {
        local.check()?;
        let mut agent = Self::new(config, role, now, seed);
        agent.local_key = IntegrityKey::short_term(&local.pwd);
        agent.local = local;
        agent.local_is_given = true;
        Ok(agent)
    }

    /// What to signal as `ice-ufrag` and `ice-pwd`.
    pub fn local_credentials(&self) -> &Credentials {
        &self.local
    }

    /// The role, which a conflict may have changed.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Sets the role. Only before the remote credentials are set; afterwards it changes nothing, because
    /// checks carry it.
    pub fn set_role(&mut self, role: Role) {
        if self.state == State::New && self.role != role {
            self.role = role;
            self.pairs.iter_mut().for_each(|pair| pair.update_priority(role));
        }
    }

    /// For an ICE restart (RFC 8445 §9), where it can't be known which role the peer takes: some keep theirs, as §6.1.1 wants,
    /// others have the offerer control. Lets the peer's checks go first, until that time, and takes the role that the first
    /// one leaves. Only before the remote credentials are set.
    pub fn let_peer_begin(&mut self, until: Instant) {
        if self.state == State::New && !self.config.lite {
            self.held_until = Some(until);
            self.adapts = true;
        }
    }

    /// Changes the role outside of a conflict.
    pub(crate) fn take_role(&mut self, role: Role) {
        self.role = role;
        for pair in &mut self.pairs {
            (pair.nominate, pair.nomination) = (false, 0);
            pair.update_priority(role);
        }
    }

    /// Says that the peer signalled `a=ice-lite`: it only answers, so we are controlling (RFC 8445 §6.1.1), unless we are lite as
    /// well. Only before the remote credentials are set.
    pub fn set_remote_lite(&mut self, lite: bool) {
        if self.state != State::New {
            return;
        }
        self.remote_lite = lite;
        if lite && !self.config.lite {
            self.set_role(Role::Controlling);
        }
    }

    /// Says that the peer signalled `a=ice-options:renomination` (draft-thatcher-ice-renomination): nominations are numbered, and the
    /// latest wins. The peer's numbers are understood in any case.
    pub fn set_remote_renomination(&mut self, renominates: bool) {
        self.renominates = renominates;
    }

    /// Gives the peer's credentials; checks start. Setting the same again changes nothing.
    ///
    /// # Errors
    /// See [`CredentialsError`]; nothing has changed then.
    pub fn set_remote_credentials(&mut self, now: Instant, c: Credentials) -> Result<(), CredentialsError> {
        c.check()?;
        if !self.local_is_given && c.ufrag == self.local.ufrag && c.pwd == self.local.pwd {
            return Err(CredentialsError::Own);
        }
        if let Some((known, _)) = &self.remote {
            return if *known == c { Ok(()) } else { Err(CredentialsError::Changed) };
        }
        if self.is_over() {
            return Ok(());
        }
        // Candidates that came first may turn out to be of another generation.
        let foreign = |r: &Remote| {
            r.signalled.as_ref().and_then(|s| s.ufrag.as_ref()).is_some_and(|ufrag| *ufrag != c.ufrag)
        };
        let (others, remotes): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.remotes).into_iter().partition(foreign);
        self.remotes = remotes;
        for remote in others {
            self.stats.candidates_other_generation += 1;
            self.forget_remote(&remote);
        }
        self.early.retain(|early| early.remote_ufrag == c.ufrag);
        self.remote = Some((c.clone(), IntegrityKey::short_term(&c.pwd)));
        self.credentials_at = Some(now);
        self.settle_lite_role();
        for remote in self.remotes.clone() {
            self.pair_with_locals(&remote);
        }
        self.set_state(State::Checking);
        self.follow_early(now);
        self.settle(now);
        Ok(())
    }

    /// Takes a candidate of the peer, at any time. Names that aren't to be resolved (see
    /// [`Config::resolve_names`](crate::Config::resolve_names)), TCP candidates that don't listen and candidates whose `ufrag` belongs to
    /// another generation are ignored and counted.
    ///
    /// # Errors
    /// See [`AddCandidateError`]; the agent goes on as if the call hadn't been made.
    pub fn add_remote_candidate(&mut self, now: Instant, c: &Candidate) -> Result<(), AddCandidateError> {
        if self.is_over() {
            return Err(AddCandidateError::Closed);
        }
        if c.component != 1 {
            return Err(AddCandidateError::Component);
        }
        let ufrag = c.extension("ufrag");
        if let (Some(ufrag), Some((remote, _))) = (ufrag, &self.remote)
            && ufrag != remote.ufrag
        {
            self.stats.candidates_other_generation += 1;
            return Ok(());
        }
        let (protocol, addr) = match (&c.address, &c.transport, c.tcp_type) {
            (Address::Ip(addr), Transport::Udp, _) => (Protocol::Udp, normal(*addr)),
            (Address::Ip(addr), Transport::Tcp, Some(TcpType::Passive)) => (Protocol::Tcp, normal(*addr)),
            (Address::Name { .. }, _, _) if self.wait_for_name(now, c) => return Ok(()),
            // An active one has no port yet: it will show itself by its check (RFC 6544 §5.1).
            _ => {
                self.stats.candidates_ignored += 1;
                debug!(transport = ?c.transport, "remote candidate ignored");
                return Ok(());
            }
        };
        if !is_sendable(addr) {
            return Err(AddCandidateError::UnusableAddress);
        }
        let signalled = Signalled {
            foundation: c.foundation.clone(),
            kind: c.kind,
            tcp_type: c.tcp_type.filter(|_| protocol == Protocol::Tcp),
            ufrag: ufrag.map(str::to_owned),
        };
        let twin = self.remotes.iter().find(|r| {
            r.signalled.as_ref().is_some_and(|s| s.foundation == c.foundation)
                && r.protocol == protocol
                && r.addr.is_ipv4() == addr.is_ipv4()
        });
        let foundation = match twin.map(|r| r.foundation) {
            Some(foundation) => foundation,
            None => self.new_foundation(),
        };
        match self.remotes.iter().position(|r| r.protocol == protocol && same_host(r.addr, addr)) {
            Some(at) => {
                let Some(known) = self.remotes.get_mut(at).filter(|r| r.signalled.is_none()) else {
                    return Ok(());
                };
                // RFC 8838 §11.4: what a check had taught us already now has its signalled properties.
                known.signalled = Some(signalled);
                known.priority = c.priority;
                let known = known.clone();
                for pair in self.pairs.iter_mut().filter(|p| known.is_at(p.path)) {
                    pair.remote_priority = known.priority;
                    pair.update_priority(self.role);
                }
                self.pair_with_locals(&known);
            }
            None => {
                let count = self.remotes.iter().filter(|r| r.signalled.is_some()).count();
                if count >= self.config.max_remote_candidates {
                    return Err(AddCandidateError::TooMany);
                }
                let signalled = Some(signalled);
                let remote =
                    Remote { protocol, addr, priority: c.priority, foundation, signalled, seen: now };
                self.pair_with_locals(&remote);
                push(&mut self.remotes, remote);
                self.last_remote_at = Some(now);
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Says that the peer will signal no more candidates (RFC 8838 §13).
    pub fn end_of_remote_candidates(&mut self, now: Instant) {
        self.remote_ended = true;
        self.settle(now);
    }

    /// Takes a datagram of the STUN range. True if it belonged to this agent: an authenticated request, an
    /// authenticated response to one of our requests, or a Binding indication on a path that works. Else it
    /// was dropped and counted.
    pub fn handle_input(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        if self.is_over() {
            return false;
        }
        let message = match Message::parse(datagram) {
            Ok(message) if message.method() == Method::BINDING => message,
            _ => {
                self.stats.dropped_malformed += 1;
                return false;
            }
        };
        if message.verify_fingerprint() == Verdict::Invalid {
            self.stats.dropped_integrity += 1;
            return false;
        }
        let ours = match message.class() {
            Class::Request => self.on_request(now, path, &message),
            Class::SuccessResponse | Class::ErrorResponse => self.on_response(now, path, &message),
            // RFC 8445 §11: a keepalive; nothing to do.
            Class::Indication => return self.is_validated(path),
        };
        if ours {
            self.settle(now);
        }
        ours
    }

    /// Whether a datagram answers a check of this agent: for owners that have several, as during an ICE restart.
    pub fn awaits(&self, datagram: &[u8]) -> bool {
        Message::parse(datagram).is_ok_and(|message| {
            let id = message.transaction_id();
            self.checks.iter().any(|check| check.transaction.id() == id)
        })
    }

    /// Does what is due at `now`. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake.is_some_and(|at| at <= now) {
            self.settle(now);
        }
    }

    /// Writes one datagram into `out` and says where it goes; `None` if there is none. Answers are at most 96
    /// bytes, checks at most 352; what doesn't fit is dropped and counted.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        self.handle_timeout(now);
        self.write_next(out)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            // They are rare once there is a path.
            self.events = VecDeque::new();
        }
        event
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The nominated path.
    pub fn selected_path(&self) -> Option<Path> {
        self.selected
    }

    /// The path on which data may be sent now: the selected one, or before nomination the best that works.
    /// `None` without the peer's consent.
    pub fn can_send(&self) -> Option<Path> {
        match self.selected {
            None if self.valid.is_empty() => None,
            _ => self.active(),
        }
    }

    /// Whether our own check has succeeded on this path: the gate for everything that isn't STUN. Cheap.
    #[inline]
    pub fn is_validated(&self, path: Path) -> bool {
        self.selected == Some(path) || self.valid.contains(&path)
    }

    /// Whether the peer has shown by a check that it knows our password and sends from there. Not asked for every datagram.
    pub fn has_heard(&self, path: Path) -> bool {
        self.pair(path).is_some_and(|pair| pair.last_request.is_some())
            || self.local_of(path).is_some() && self.early.iter().any(|early| early.path == path)
    }

    /// The smoothed round-trip time of checks on the path in use.
    pub fn rtt(&self) -> Option<Duration> {
        self.active().and_then(|path| self.pair(path)).and_then(|pair| pair.srtt)
    }

    /// Ends the agent: nothing is sent or accepted any more. The peer is not told; ICE has no word for it.
    pub fn close(&mut self) {
        if self.state != State::Closed {
            self.set_state(State::Closed);
            self.clear();
        }
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Stats { pairs: count(self.pairs.len()), pairs_valid: count(self.valid.len()), ..self.stats }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Failed | State::Closed)
    }

    pub(crate) fn set_state(&mut self, state: State) {
        if self.state == state {
            return;
        }
        debug!(from = ?self.state, to = ?state, "ICE state");
        self.state = state;
        self.tell(Event::StateChange(state));
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Gives back what lists have grown to beyond their contents: from here on little comes in.
    pub(crate) fn trim(&mut self) {
        self.candidates.shrink_to_fit();
        self.remotes.shrink_to_fit();
        self.pairs.shrink_to_fit();
        self.checks.shrink_to_fit();
        self.triggered.shrink_to_fit();
        self.early.shrink_to_fit();
    }

    /// Forgets everything that could lead to a datagram.
    pub(crate) fn clear(&mut self) {
        self.pairs.clear();
        self.valid.clear();
        self.selected = None;
        self.doubt = None;
        self.checks.clear();
        self.triggered.clear();
        self.out.clear();
        self.responses_waiting = 0;
        self.early.clear();
        self.names.clear();
        self.wake = None;
    }

    /// After every change: does what has become due and finds the next deadline, which is always later than
    /// `now`.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.is_over() {
            return;
        }
        self.expire_names(now);
        self.run_transactions(now);
        self.run_consent(now);
        if self.is_over() {
            return;
        }
        self.run_both_lite(now);
        self.run_doubt(now);
        self.run_reserve(now);
        self.consider_nomination(now);
        self.start_checks(now);
        self.consider_failure(now);
        if self.is_over() {
            return;
        }
        let later = |at: &Instant| *at > now;
        let transactions = self.checks.iter().map(|c| c.transaction.deadline()).min();
        let patience = if self.valid.is_empty() { self.patience_until() } else { None };
        self.wake = [
            transactions,
            self.consent_due(),
            self.nomination_due().filter(later),
            self.next_start(),
            patience.filter(later),
            self.names_due(),
            self.switch_due(),
        ]
        .into_iter()
        .flatten()
        .min();
    }
}
