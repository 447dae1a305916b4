//! The ICE agents of a connection: one, and during a restart (RFC 8445 §9) one more for each set of credentials.
//!
//! ```text
//!   offered ── the exchange is complete ──▶ next ── it has a path ──▶ current ── replaced ──▶ retired ── 5 s ──▶ gone
//! ```
//!
//! A restart is a session of its own, so it has an agent of its own. Its offerer controls, unless the peer's first check says
//! otherwise: Firefox keeps the roles, as RFC 8445 §6.1.1 wants, libwebrtc does not (<https://bugs.webrtc.org/6676>), and a
//! conflict of roles during a restart makes libwebrtc change its own to and fro. Data stays on the path of `current`
//! until `next` has one (§12.1.1). If it finds none, the old path serves for as long as it has the peer's consent.
//! A peer whose data comes on a path of `next` has changed over; so do we then, nominated or not: it may have closed the old one. The
//! replaced agent still answers for a while, and its paths are still good to receive on: the peer may change over later.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sinnet_ice::{
    AddCandidateError, Address, Agent, Candidate, Config, Credentials, CredentialsError, Event, Path,
    Protocol, RelayProtocol, Role, State, Stats, TcpType, Transmit, binding_request_local_ufrag,
};
use sinnet_sdp::RemoteTransport;

/// How long an agent that was replaced still answers: some retransmissions of the peer's checks.
const RETIREMENT: Duration = Duration::from_secs(5);

/// How long the peer's checks are let go first. When it has answered, it has had both descriptions before us; when it has offered,
/// ours is still on its way. Data has the old path meanwhile.
const ANSWERER_BEGINS: Duration = Duration::from_millis(200);
const OFFERER_BEGINS: Duration = Duration::from_millis(500);

/// A call that gives an agent a local candidate.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Host(SocketAddr),
    HostAs(SocketAddr, Address),
    /// A base, how a server sees it, and which.
    Reflexive(SocketAddr, SocketAddr, IpAddr),
    /// A relayed address, how the server sees us, which it is, and how it is reached.
    Relayed(SocketAddr, SocketAddr, IpAddr, RelayProtocol),
    /// A base, what it does, and as what it is signalled.
    Tcp(SocketAddr, TcpType, Option<SocketAddr>),
}

impl Source {
    fn add_to(&self, agent: &mut Agent, now: Instant) -> Option<Candidate> {
        match self {
            Self::Host(base) => agent.add_local_host(now, *base),
            Self::HostAs(base, shown) => agent.add_local_host_as(now, *base, shown.clone()),
            Self::Reflexive(base, mapped, server) => agent.add_server_reflexive(now, *base, *mapped, *server),
            Self::Relayed(relayed, related, server, by) => {
                agent.add_relayed(now, *relayed, *related, *server, *by)
            }
            Self::Tcp(base, tcp_type, shown) => agent.add_local_tcp_as(now, *base, *tcp_type, *shown),
        }
    }

    fn base(&self) -> (Protocol, SocketAddr) {
        match *self {
            Self::Host(base) | Self::HostAs(base, _) | Self::Reflexive(base, ..) => (Protocol::Udp, base),
            Self::Relayed(relayed, ..) => (Protocol::Udp, relayed),
            Self::Tcp(base, TcpType::Active, _) => (Protocol::Tcp, SocketAddr::new(base.ip(), 9)),
            Self::Tcp(base, ..) => (Protocol::Tcp, base),
        }
    }

    fn is_replaced_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Reflexive(base, _, server), Self::Reflexive(other, _, by)) => {
                (base, server) == (other, by)
            }
            _ => false,
        }
    }
}

pub(crate) struct Generations {
    config: Arc<Config>,
    /// Carries the data.
    current: Agent,
    /// Looks for its path, or has found none. In a box, as the other two: an agent is large, and restarts are rare.
    next: Option<Box<Agent>>,
    /// Its credentials are in a description of ours that is not in force yet.
    offered: Option<Box<Agent>>,
    retired: Option<(Box<Agent>, Instant)>,
    /// What a new agent is told of our candidates.
    sources: Vec<Source>,
    local_ended: bool,
    /// The peer's data comes on a path that only `next` has.
    peer_has_moved: bool,
    /// A state that the change to another agent has brought.
    news: Option<State>,
    /// How often agents have come or gone.
    version: u32,
    restarts: u64,
}

impl Generations {
    pub(crate) fn new(config: Arc<Config>, role: Role, now: Instant, seed: [u8; 32]) -> Self {
        Self {
            current: Agent::new(config.clone(), role, now, seed),
            config,
            next: None,
            offered: None,
            retired: None,
            sources: Vec::new(),
            local_ended: false,
            peer_has_moved: false,
            news: None,
            version: 0,
            restarts: 0,
        }
    }

    /// Puts an agent with these credentials in place of the first one, which has not begun.
    pub(crate) fn begin_with(
        &mut self,
        role: Role,
        now: Instant,
        seed: [u8; 32],
        local: Credentials,
    ) -> Result<(), CredentialsError> {
        let mut agent = Agent::with_credentials(self.config.clone(), role, now, seed, local)?;
        for source in &self.sources {
            source.add_to(&mut agent, now);
        }
        self.current = agent;
        self.version = self.version.wrapping_add(1);
        Ok(())
    }

    /// The agent whose credentials are in the descriptions in force.
    pub(crate) fn negotiated(&self) -> &Agent {
        self.next.as_deref().unwrap_or(&self.current)
    }

    pub(crate) fn negotiated_mut(&mut self) -> &mut Agent {
        self.next.as_deref_mut().unwrap_or(&mut self.current)
    }

    /// The agent that carries the data, and the one that is to take over.
    pub(crate) fn current_and_next(&self) -> impl Iterator<Item = &Agent> {
        [Some(&self.current), self.next.as_deref()].into_iter().flatten()
    }

    fn agents(&self) -> impl Iterator<Item = &Agent> {
        let retired = self.retired.as_ref().map(|(agent, _)| &**agent);
        [Some(&self.current), self.next.as_deref(), retired, self.offered.as_deref()].into_iter().flatten()
    }

    fn agents_mut(&mut self) -> impl Iterator<Item = &mut Agent> {
        let retired = self.retired.as_mut().map(|(agent, _)| &mut **agent);
        [Some(&mut self.current), self.next.as_deref_mut(), retired, self.offered.as_deref_mut()]
            .into_iter()
            .flatten()
    }

    /// The local username fragments by which first datagrams are recognised.
    pub(crate) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.agents().map(|agent| agent.local_credentials().ufrag.as_str())
    }

    /// Changes whenever `local_ufrags` does.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }
}

/// Restarts.
impl Generations {
    /// The credentials of a description that restarts ICE; the same until it is answered or taken back.
    pub(crate) fn offer_restart(&mut self, now: Instant, seed: [u8; 32]) -> Credentials {
        if let Some(offered) = &self.offered {
            return offered.local_credentials().clone();
        }
        let mut agent = Agent::new(self.config.clone(), Role::Controlling, now, seed);
        for source in &self.sources {
            source.add_to(&mut agent, now);
        }
        if self.local_ended {
            agent.end_of_local_candidates(now);
        }
        let credentials = agent.local_credentials().clone();
        self.offered = Some(Box::new(agent));
        self.version = self.version.wrapping_add(1);
        credentials
    }

    /// The description with the restart has been taken back, or passed over by another.
    pub(crate) fn forget_offered(&mut self) {
        if self.offered.take().is_some() {
            self.version = self.version.wrapping_add(1);
        }
    }

    /// The exchange that restarts ICE is complete: the agent whose credentials were offered begins, with this role unless the peer is
    /// lite. An error changes nothing.
    pub(crate) fn restart(
        &mut self,
        now: Instant,
        role: Role,
        remote: Credentials,
        RemoteTransport { ice_lite: lite, renomination, .. }: &RemoteTransport,
    ) -> Result<(), CredentialsError> {
        let Some(offered) = &mut self.offered else { return Ok(()) };
        offered.set_role(role);
        offered.set_remote_lite(*lite);
        offered.set_remote_renomination(*renomination);
        if !lite {
            let begins = if role == Role::Controlling { ANSWERER_BEGINS } else { OFFERER_BEGINS };
            offered.let_peer_begin(now + begins);
        }
        offered.set_remote_credentials(now, remote)?;
        self.next = self.offered.take();
        self.peer_has_moved = false;
        self.version = self.version.wrapping_add(1);
        Ok(())
    }

    /// Data of the peer has come on a validated path.
    #[inline]
    pub(crate) fn note_data(&mut self, now: Instant, path: Path) {
        self.current.note_data(now, path);
        if let Some(next) = &self.next {
            self.peer_has_moved |= next.is_validated(path) && !self.current.is_validated(path);
        }
    }

    /// Nothing seems to arrive any more of what is sent.
    pub(crate) fn doubt_path(&mut self, now: Instant) {
        self.current.doubt_path(now);
    }

    /// Lets the restarted agent take over once it has a path, or a working one where the old one works no more.
    fn consider_takeover(&mut self, now: Instant) {
        let without_path = self.peer_has_moved
            || self.current.can_send().is_none()
            || self.current.state() == State::Disconnected;
        let ready =
            |next: &Agent| next.selected_path().is_some() || without_path && next.can_send().is_some();
        let Some(mut other) = self.next.take_if(|next| ready(next)) else { return };
        tracing::debug!("ICE has restarted");
        if other.state() != self.current.state() {
            self.news = Some(other.state());
        }
        std::mem::swap(&mut self.current, &mut other);
        while self.current.poll_event().is_some() {}
        self.retired = Some((other, now + RETIREMENT));
        self.version = self.version.wrapping_add(1);
        self.restarts += 1;
    }
}

/// The verbs of an agent, for all of them.
impl Generations {
    pub(crate) fn handle_input(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        if self.next.is_none() && self.offered.is_none() && self.retired.is_none() {
            return self.current.handle_input(now, path, datagram);
        }
        let ufrag = binding_request_local_ufrag(datagram);
        let addressed = |agent: &Agent| match ufrag {
            Some(ufrag) => agent.local_credentials().ufrag == ufrag,
            None => agent.awaits(datagram),
        };
        if let Some(agent) = self.agents_mut().find(|agent| addressed(agent)) {
            return agent.handle_input(now, path, datagram);
        }
        // It counts what is nobody's.
        self.current.handle_input(now, path, datagram)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.retired.take_if(|(_, until)| *until <= now).is_some() {
            self.version = self.version.wrapping_add(1);
        }
        self.agents_mut().for_each(|agent| agent.handle_timeout(now));
    }

    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        self.agents_mut().find_map(|agent| agent.poll_transmit(now, out))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let retirement = self.retired.as_ref().map(|(_, until)| *until);
        self.agents().filter_map(Agent::poll_timeout).chain(retirement).min()
    }

    /// What there is to know of the agent that carries the data. The end of a restart's agent is none as long as that one
    /// lives, nor is the end of that one while a restart may still find a path.
    pub(crate) fn poll_event(&mut self, now: Instant) -> Option<Event> {
        self.consider_takeover(now);
        if let Some(state) = self.news.take() {
            return Some(Event::StateChange(state));
        }
        let restarting = self.next.as_ref().is_some_and(|next| next.state() != State::Failed);
        loop {
            match self.current.poll_event() {
                Some(Event::Failed(_) | Event::StateChange(State::Failed)) if restarting => {}
                Some(event) => return Some(event),
                None => break,
            }
        }
        let next = self.next.as_mut()?;
        while let Some(event) = next.poll_event() {
            if let Event::Failed(reason) = event {
                tracing::debug!(%reason, "the ICE restart failed");
                if self.current.state() == State::Failed {
                    return Some(event);
                }
            }
        }
        None
    }

    pub(crate) fn close(&mut self) {
        self.next = None;
        self.offered = None;
        self.retired = None;
        self.current.close();
    }
}

/// What the agents know.
impl Generations {
    pub(crate) fn add_local(&mut self, now: Instant, source: Source) -> Option<Candidate> {
        let mut line = None;
        for agent in self.agents_mut() {
            line = source.add_to(agent, now).or(line);
        }
        if line.is_some() {
            // What the server saw before is no more.
            self.sources.retain(|known| !known.is_replaced_by(&source));
            if self.sources.len() == self.sources.capacity() && self.sources.len() < 4 {
                // They are one or two on most hosts; a vector would begin with four.
                self.sources.reserve_exact(1);
            }
            self.sources.push(source);
        }
        line
    }

    pub(crate) fn remove_local(&mut self, now: Instant, protocol: Protocol, base: SocketAddr) {
        self.sources.retain(|source| source.base() != (protocol, base));
        self.agents_mut().for_each(|agent| agent.remove_local(now, protocol, base));
    }

    pub(crate) fn connection_closed(&mut self, now: Instant, path: Path) {
        self.agents_mut().for_each(|agent| agent.connection_closed(now, path));
    }

    pub(crate) fn end_of_local_candidates(&mut self, now: Instant) {
        self.local_ended = true;
        self.agents_mut().for_each(|agent| agent.end_of_local_candidates(now));
    }

    /// The candidates of the newest agent. All have the same sockets, so they differ in order at most.
    pub(crate) fn local_candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.offered.as_deref().unwrap_or(self.negotiated()).local_candidates()
    }

    pub(crate) fn add_remote_candidate(
        &mut self,
        now: Instant,
        candidate: &Candidate,
    ) -> Result<(), AddCandidateError> {
        match self.negotiated_mut() {
            // It comes too late for a restart that has found nothing, and the old path goes on.
            agent if agent.state() == State::Failed => Ok(()),
            agent => agent.add_remote_candidate(now, candidate),
        }
    }

    pub(crate) fn poll_name(&mut self) -> Option<String> {
        self.agents_mut().find_map(Agent::poll_name)
    }

    pub(crate) fn name_resolved(&mut self, now: Instant, name: &str, ip: Option<IpAddr>) {
        self.agents_mut().for_each(|agent| agent.name_resolved(now, name, ip));
    }

    pub(crate) fn end_of_remote_candidates(&mut self, now: Instant) {
        self.negotiated_mut().end_of_remote_candidates(now);
    }

    pub(crate) fn is_validated(&self, path: Path) -> bool {
        self.current.is_validated(path) || self.agents().any(|agent| agent.is_validated(path))
    }

    /// Whether the peer has checked this path, from its side only as yet. It may send there before our check has an answer: RFC 8445
    /// §12.2 wants us prepared to receive.
    pub(crate) fn has_heard(&self, path: Path) -> bool {
        self.agents().any(|agent| agent.has_heard(path))
    }

    pub(crate) fn can_send(&self) -> Option<Path> {
        self.current.can_send()
    }

    pub(crate) fn selected_path(&self) -> Option<Path> {
        self.current.selected_path()
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.current.rtt()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.current.stats()
    }

    /// Restarts that have led to a path.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }
}
