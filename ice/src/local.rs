//! Our candidates: what datagrams leave from (bases), and what is signalled of them (RFC 8445 §5.1.1).
//!
//! | call | its pairs' paths | signalled as |
//! |---|---|---|
//! | [`Agent::add_local_host`] | UDP from the base | the base |
//! | [`Agent::add_local_host_as`] | the same | a name that hides the base, or the address that a 1:1 NAT gives it |
//! | [`Agent::add_server_reflexive`] | those of its base | what a STUN server sees |
//! | [`Agent::add_relayed`] | UDP from the relayed address | the relayed address |
//! | [`Agent::add_local_tcp`], passive | none before the peer has connected | the listening address |
//! | [`Agent::add_local_tcp`], active | TCP from port 9 | port 9 |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use tracing::debug;

use crate::agent::{Agent, Out};
use crate::candidate::{
    Address, Candidate, CandidateKind, Class, RelayProtocol, TcpType, Transport, is_sendable,
    local_preference, normal, priority, relayed_local_preference, tcp_local_preference, type_preference,
};
use crate::event::{Path, Protocol, State};
use crate::few::push;
use crate::pair::PairState;

/// Candidates signalled for one base beside it: as many as servers see it differently, of which the first are enough.
const MAX_VIEWS: usize = 4;

/// RFC 6544 §4.1: the port in an active candidate, which has none before it connects.
const DISCARD: u16 = 9;

/// A base: what pairs are made of.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) protocol: Protocol,
    pub(crate) tcp_type: Option<TcpType>,
    pub(crate) base: SocketAddr,
    pub(crate) priority: u32,
    pub(crate) foundation: u32,
    /// Among bases of one sort the local preference says which comes first.
    sort: (Protocol, Option<TcpType>, Option<RelayProtocol>, Class),
    /// Different for each base of its sort.
    index: usize,
}

impl Local {
    /// Whether its checks need not wait for the peer's.
    pub(crate) fn begins(&self) -> bool {
        self.tcp_type != Some(TcpType::Passive)
    }

    pub(crate) fn path_to(&self, remote: SocketAddr) -> Path {
        Path { protocol: self.protocol, local: self.base, remote }
    }
}

/// What makes two candidates have one foundation (RFC 8445 §5.1.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Likeness {
    kind: CandidateKind,
    protocol: Protocol,
    ip: IpAddr,
    server: Option<IpAddr>,
    by: Option<RelayProtocol>,
    tcp_type: Option<TcpType>,
}

impl Likeness {
    fn host(protocol: Protocol, base: SocketAddr) -> Self {
        Self { kind: CandidateKind::Host, protocol, ip: base.ip(), server: None, by: None, tcp_type: None }
    }
}

/// A candidate of ours, as signalled, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) candidate: Candidate,
    pub(crate) protocol: Protocol,
    pub(crate) base: SocketAddr,
    likeness: Likeness,
    foundation: u32,
}

impl Own {
    /// How the relay is reached, of a relayed candidate.
    pub(crate) fn relay_protocol(&self) -> Option<RelayProtocol> {
        self.likeness.by
    }
}

impl Agent {
    /// Adds a host candidate for a UDP socket bound to (or receiving on) `base`, and returns what to signal.
    /// `None` if it is known already, can't be a candidate (port 0, unspecified, multicast), or
    /// [`Config::max_local_candidates`](crate::Config::max_local_candidates) is reached.
    pub fn add_local_host(&mut self, now: Instant, base: SocketAddr) -> Option<Candidate> {
        let base = normal(base);
        let likeness = Likeness::host(Protocol::Udp, base);
        self.new_base(likeness, base)?;
        self.add_base(now, base, likeness, Address::Ip(base), None)
    }

    /// Adds a host candidate that is signalled as something else than its base: as a `.local` name, which hides it
    /// (draft-ietf-mmusic-mdns-ice-candidates §3.1), or as the address that a 1:1 NAT has for it, as machines in clouds have. The
    /// base may have been added before, and is then signalled both ways. `None` as for [`add_local_host`](Self::add_local_host),
    /// if `shown` can't be signalled, or for a fifth address of one base.
    ///
    /// From the first name on no `raddr` shows an address of ours.
    pub fn add_local_host_as(&mut self, now: Instant, base: SocketAddr, shown: Address) -> Option<Candidate> {
        let base = normal(base);
        let shown = match shown {
            Address::Ip(addr) if is_sendable(addr) && addr.is_ipv4() == base.is_ipv4() => {
                Address::Ip(normal(addr))
            }
            Address::Name { host, .. } if is_local_name(&host) => Address::Name { host, port: base.port() },
            _ => return None,
        };
        if self.is_known(&shown, Protocol::Udp) {
            return None;
        }
        let likeness = Likeness::host(Protocol::Udp, base);
        let Some(local) = self.local(Protocol::Udp, base) else {
            self.new_base(likeness, base)?;
            return self.add_base(now, base, likeness, shown, None);
        };
        let preference = local_preference(base.ip(), self.next_view(local.index, base)?);
        let priority = priority(CandidateKind::Host.type_preference(), preference);
        let candidate = self.own(now, base, likeness, priority, shown, None);
        self.settle(now);
        Some(candidate)
    }

    /// Adds what a STUN server sees of the host candidate `base` ([`Gatherer`](crate::Gatherer)), and returns what to
    /// signal. `None` if the base isn't a candidate of ours, if `mapped` is known already (the base itself, where nothing
    /// translates) or can't be a candidate, or if the agent is over. `server` decides the foundation (RFC 8445 §5.1.1.3).
    ///
    /// No pairs are made of it: they would be those of its base (§6.1.2.4).
    pub fn add_server_reflexive(
        &mut self,
        now: Instant,
        base: SocketAddr,
        mapped: SocketAddr,
        server: IpAddr,
    ) -> Option<Candidate> {
        let (base, mapped) = (normal(base), normal(mapped));
        let index = self.local(Protocol::Udp, base)?.index;
        if self.is_over()
            || self.config.lite
            || !is_sendable(mapped)
            || mapped.is_ipv4() != base.is_ipv4()
            || self.is_known(&Address::Ip(mapped), Protocol::Udp)
        {
            return None;
        }
        let likeness = Likeness {
            kind: CandidateKind::ServerReflexive,
            server: Some(server.to_canonical()),
            ..Likeness::host(Protocol::Udp, base)
        };
        let preference = local_preference(base.ip(), self.next_view(index, base)?);
        let priority = priority(CandidateKind::ServerReflexive.type_preference(), preference);
        let candidate = self.own(now, base, likeness, priority, Address::Ip(mapped), Some(base));
        self.settle(now);
        Some(candidate)
    }

    /// Adds an address on a TURN server, and returns what to signal. Its base is `relayed` itself (RFC 8445 §5.1.1.2): paths through the
    /// relay are `Path::udp(relayed, peer)`. `related` is what the server sees of us, for information; `server` and `by` decide the
    /// foundation, and `by` how it is preferred among relays. `None` as for [`add_local_host`](Self::add_local_host).
    pub fn add_relayed(
        &mut self,
        now: Instant,
        relayed: SocketAddr,
        related: SocketAddr,
        server: IpAddr,
        by: RelayProtocol,
    ) -> Option<Candidate> {
        let relayed = normal(relayed);
        let likeness = Likeness {
            kind: CandidateKind::Relayed,
            server: Some(server.to_canonical()),
            by: Some(by),
            ..Likeness::host(Protocol::Udp, relayed)
        };
        self.new_base(likeness, relayed)?;
        self.add_base(now, relayed, likeness, Address::Ip(relayed), Some(normal(related)))
    }

    /// Adds a TCP candidate (RFC 6544), and returns what to signal: passive for a socket that listens on `base`; active for one that
    /// will connect from that address, whatever its port, signalled with port 9. The paths of an active one are
    /// `Path::tcp(ip:9, remote)` for good: when the first datagram for such a path comes out of
    /// [`poll_transmit`](Self::poll_transmit), a connection is to be opened, and what comes from it has that path. `None` as for
    /// [`add_local_host`](Self::add_local_host), and for simultaneous open, which nobody does.
    pub fn add_local_tcp(&mut self, now: Instant, base: SocketAddr, tcp_type: TcpType) -> Option<Candidate> {
        self.add_local_tcp_as(now, base, tcp_type, None)
    }

    /// The same, signalled as the address that a 1:1 NAT has for it, if there is one; an active candidate keeps its port 9. `None` also
    /// if `shown` can't be signalled.
    pub fn add_local_tcp_as(
        &mut self,
        now: Instant,
        base: SocketAddr,
        tcp_type: TcpType,
        shown: Option<SocketAddr>,
    ) -> Option<Candidate> {
        let mut base = normal(base);
        match tcp_type {
            TcpType::Active => base.set_port(DISCARD),
            TcpType::Passive => {}
            TcpType::SimultaneousOpen => return None,
        }
        if tcp_type == TcpType::Active && self.config.lite {
            return None;
        }
        let shown = match shown.map(normal) {
            None => base,
            Some(shown) if tcp_type == TcpType::Active => SocketAddr::new(shown.ip(), DISCARD),
            Some(shown) => shown,
        };
        if !is_sendable(shown) || shown.is_ipv4() != base.is_ipv4() {
            return None;
        }
        let likeness = Likeness { tcp_type: Some(tcp_type), ..Likeness::host(Protocol::Tcp, base) };
        self.new_base(likeness, base)?;
        self.add_base(now, base, likeness, Address::Ip(shown), None)
    }

    /// Takes a base away, with all that was signalled of it: its interface has gone, or its relay. (The base of an active TCP candidate
    /// has port 9.) Its pairs go too. If data was on one of them, the best other pair that works takes over at once. With none left,
    /// the state is [`State::Disconnected`] and the search goes on with what there is and what will be added, for as long
    /// as [`Config::patience`](crate::Config::patience) says.
    pub fn remove_local(&mut self, now: Instant, protocol: Protocol, base: SocketAddr) {
        let base = normal(base);
        let Some(at) = self.locals.iter().position(|l| l.protocol == protocol && l.base == base) else {
            return;
        };
        debug!(%base, ?protocol, "local candidate removed");
        self.locals.remove(at);
        self.candidates.retain(|own| own.protocol != protocol || own.base != base);
        self.forget_paths(now, |path| path.protocol == protocol && path.local == base);
        self.settle(now);
    }

    /// Says that the TCP connection of a path couldn't be opened, or has been closed. A check on it fails at once; a pair that worked
    /// goes, as in [`remove_local`](Self::remove_local). Towards a peer that listens a later check may open another one.
    pub fn connection_closed(&mut self, now: Instant, path: Path) {
        if path.protocol != Protocol::Tcp {
            return;
        }
        let Some(local) = self.local_of(path) else { return };
        if !local.begins() {
            // The peer comes back from another port, if it does.
            self.remotes.retain(|r| r.signalled.is_some() || !r.is_at(path));
            self.forget_paths(now, |other| other == path);
        } else if let Some(pair) = self.pair_mut(path) {
            pair.state = PairState::Failed;
            pair.check = None;
            pair.nominate = false;
            self.checks.retain(|c| c.path != path);
            self.triggered.retain(|p| *p != path);
            self.valid.retain(|p| *p != path);
            self.go_on_without(now, |other| other == path);
        }
        self.settle(now);
    }

    /// Says that gathering is over.
    pub fn end_of_local_candidates(&mut self, now: Instant) {
        self.local_ended = true;
        self.settle(now);
    }

    /// Our candidates so far.
    pub fn local_candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().map(|own| &own.candidate)
    }

    pub(crate) fn local(&self, protocol: Protocol, base: SocketAddr) -> Option<&Local> {
        self.locals.iter().find(|l| l.protocol == protocol && l.base == base)
    }

    /// The base that a path leaves from.
    pub(crate) fn local_of(&self, path: Path) -> Option<&Local> {
        self.local(path.protocol, path.local)
    }

    /// Whether there is room for another base of its sort, which that one would be.
    fn new_base(&self, likeness: Likeness, base: SocketAddr) -> Option<()> {
        let possible = !self.is_over()
            && match likeness.kind {
                CandidateKind::Relayed => !self.config.lite,
                _ => !self.config.relay_only,
            }
            && is_sendable(base)
            && self.local(likeness.protocol, base).is_none();
        if !possible {
            return None;
        }
        // Each sort has its own room: many host addresses don't keep the relay out, which comes last.
        let sort = (likeness.protocol, likeness.tcp_type, likeness.by.is_some());
        let same = |l: &&Local| (l.sort.0, l.sort.1, l.sort.2.is_some()) == sort;
        if self.locals.iter().filter(same).count() >= self.config.max_local_candidates {
            debug!(%base, "no room for another local candidate of its sort");
            return None;
        }
        Some(())
    }

    fn is_known(&self, shown: &Address, protocol: Protocol) -> bool {
        self.candidates.iter().any(|own| own.protocol == protocol && own.candidate.address == *shown)
    }

    /// A number for the next thing signalled of a base, from which its local preference is made: no other candidate has it.
    fn next_view(&self, index: usize, base: SocketAddr) -> Option<usize> {
        let views = self.candidates.iter().filter(|own| own.protocol == Protocol::Udp && own.base == base);
        let views = views.count();
        (views <= MAX_VIEWS).then_some(index + views * self.config.max_local_candidates)
    }

    fn add_base(
        &mut self,
        now: Instant,
        base: SocketAddr,
        likeness: Likeness,
        shown: Address,
        related: Option<SocketAddr>,
    ) -> Option<Candidate> {
        let class = Class::of(base.ip());
        let alike = |l: &&Local| l.sort == (likeness.protocol, likeness.tcp_type, likeness.by, class);
        let taken = |index| self.locals.iter().filter(alike).any(|l| l.index == index);
        let index = (0..).find(|index| !taken(*index))?;
        let preference = match (likeness.by, likeness.tcp_type) {
            (Some(by), _) => relayed_local_preference(by, base.ip(), index),
            (_, Some(tcp_type)) => tcp_local_preference(tcp_type, base.ip(), index),
            _ => local_preference(base.ip(), index),
        };
        let Likeness { protocol, tcp_type, .. } = likeness;
        let priority = priority(type_preference(likeness.kind, protocol), preference);
        let candidate = self.own(now, base, likeness, priority, shown, related);
        let foundation = self.candidates.last().map_or(0, |own| own.foundation);
        let sort = (protocol, tcp_type, likeness.by, class);
        push(&mut self.locals, Local { protocol, tcp_type, base, priority, foundation, sort, index });
        for remote in self.remotes.clone() {
            self.pair_with_new_local(&remote, |local| (local.protocol, local.base) == (protocol, base));
        }
        self.follow_early(now);
        self.settle(now);
        Some(candidate)
    }

    /// Makes a candidate to be signalled, and notes it.
    fn own(
        &mut self,
        now: Instant,
        base: SocketAddr,
        likeness: Likeness,
        priority: u32,
        shown: Address,
        related: Option<SocketAddr>,
    ) -> Candidate {
        let twin = self.candidates.iter().find(|own| own.likeness == likeness).map(|own| own.foundation);
        let foundation = twin.unwrap_or_else(|| {
            self.local_foundations = self.local_foundations.wrapping_add(1);
            self.local_foundations
        });
        let protocol = likeness.protocol;
        let hides = matches!(shown, Address::Name { .. }) || self.hides_addresses();
        let candidate = Candidate {
            foundation: foundation.to_string(),
            component: 1,
            transport: if protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp },
            priority,
            // Without flow label and scope.
            address: match shown {
                Address::Ip(addr) => Address::Ip(SocketAddr::new(addr.ip(), addr.port())),
                name => name,
            },
            kind: likeness.kind,
            related: related.map(|related| if hides { nowhere(related) } else { related }),
            tcp_type: likeness.tcp_type,
            extensions: Vec::new(),
        };
        push(
            &mut self.candidates,
            Own { candidate: candidate.clone(), protocol, base, likeness, foundation },
        );
        self.last_local_at = Some(now);
        candidate
    }

    /// Whether an address of ours is hidden behind a name: then no `raddr` may show it
    /// (draft-ietf-mmusic-mdns-ice-candidates §3.1.2.2).
    fn hides_addresses(&self) -> bool {
        self.config.relay_only
            || self.config.hide_addresses
            || self.candidates.iter().any(|own| matches!(own.candidate.address, Address::Name { .. }))
    }

    /// Forgets the pairs of these paths and whatever was to be sent there.
    fn forget_paths(&mut self, now: Instant, gone: impl Fn(Path) -> bool) {
        self.early.retain(|early| !gone(early.path));
        self.out.retain(|out| !matches!(out, Out::Response(response) if gone(response.path)));
        self.responses_waiting = self.out.iter().filter(|out| matches!(out, Out::Response(_))).count();
        while let Some(path) = self.pairs.iter().map(|p| p.path).find(|path| gone(*path)) {
            self.remove_pair(path);
        }
        self.go_on_without(now, gone);
    }

    /// Finds another pair for the data, if the one in use is among those that are gone.
    fn go_on_without(&mut self, now: Instant, gone: impl Fn(Path) -> bool) {
        let had_path = matches!(self.state, State::Connected | State::Completed | State::Disconnected);
        if self.selected.is_some_and(gone) {
            self.selected = None;
            self.doubt = None;
        }
        if !had_path || self.selected.is_some() {
            return;
        }
        // Nobody may have asked these for long; data needs the peer's consent (RFC 7675 §5.1).
        let timeout = self.config.consent_timeout;
        let stale = |at: Option<Instant>| at.is_none_or(|at| now >= at + timeout);
        for pair in self.pairs.iter_mut().filter(|p| p.is_valid() && stale(p.last_answered)) {
            pair.state = PairState::Waiting;
            self.valid.retain(|p| *p != pair.path);
        }
        self.next_consent = now;
        if self.valid.is_empty() {
            self.first_valid_at = None;
            self.bereft_at = Some(now);
            self.retry_failed();
            self.set_state(State::Disconnected);
        } else {
            self.set_state(State::Connected);
        }
    }
}

/// What a `raddr` says instead of an address: RFC 8839 §5.1 wants one.
fn nowhere(related: SocketAddr) -> SocketAddr {
    let ip: IpAddr =
        if related.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, DISCARD)
}

/// A name as draft-ietf-mmusic-mdns-ice-candidates has it: one label, and `.local`.
pub(crate) fn is_local_name(host: &str) -> bool {
    let Some((label, rest)) = host.split_once('.') else { return false };
    rest.eq_ignore_ascii_case("local")
        && (1..=63).contains(&label.len())
        && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}
