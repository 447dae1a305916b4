//! Relayed candidates: allocations on TURN servers, shared by all connections of an endpoint.
//!
//! ```text
//!   Idle ── wanted ──▶ Connecting (TCP, TLS) ──▶ Open: Allocate ── success ──▶ candidates
//!    ▲                      │ failed                │ failed        │ lost, TCP closed
//!    │                      ▼                       ▼               ▼
//!    │                    Waiting, longer and longer, with the server's next address ──▶ anew
//!    └── the last connection has gone: given back (Refresh with lifetime 0), for a bounded time
//! ```
//!
//! There is one slot for each way to a server: a URL, a socket of ours (over UDP) and an address family.

mod connect;
mod events;
mod io;
mod relay;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::TryRng;
use rand::rngs::SysRng;
use sinnet_peer::{Path, RelayProtocol};
use sinnet_turn::{Client, ClientConfig, Credentials, Families, Host, ServerUri, Transport, UriTransport};
use tokio::task::AbortHandle;

pub(crate) use self::connect::Connected;
use self::connect::Target;
use self::relay::{Carrier, Relay};
use self::stream::Stream;
use super::gathering::Resolved;
use super::{MAX_BATCH, Socket};
use crate::description::IceCandidateError;
use crate::shared::{EndpointShared, PeerShared};
use crate::watch::NetworkChange;

/// Ways to servers at the most; further ones are left out.
const MAX_SLOTS: usize = 32;

/// How long giving an allocation back may take.
const RELEASE: Duration = Duration::from_secs(2);

/// Before the first new try; it doubles with each.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// Before every further one. A server that refuses us is not asked sooner at all.
const LAST_BACK_OFF: Duration = Duration::from_secs(300);

/// An allocation that has lasted so long counts as a success; else a server that gives and takes could have us ask as
/// often as it likes.
const LASTED: Duration = Duration::from_secs(60);

/// Permissions and channels of one allocation. Servers have limits of their own.
const MAX_PEERS: usize = 1024;

/// The relays of an endpoint.
#[derive(Default)]
pub(super) struct Relays {
    slots: Vec<Slot>,
    /// Connections that may use them.
    users: HashMap<usize, Arc<PeerShared>>,
    next_id: u32,
    /// Where batches are wrapped for servers over UDP; allocated with the first relay.
    wrapped: Vec<u8>,
    /// What a slab had in it: who sent it, and where it lies. Empty between calls.
    pieces: Vec<(SocketAddr, std::ops::Range<usize>)>,
}

/// How a server is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// From this socket.
    Udp(usize),
    Tcp,
    Tls,
}

struct Slot {
    url: ServerUri,
    credentials: Credentials,
    way: Way,
    /// Of one family.
    addresses: Vec<SocketAddr>,
    next_address: usize,
    state: State,
    failures: u32,
    /// Gathering waits for the first result until then.
    pending_until: Option<Instant>,
    /// What went wrong last, until there is an allocation.
    error: Option<IceCandidateError>,
    /// The server is named no more.
    retired: bool,
}

enum State {
    Idle,
    Waiting { until: Instant },
    Connecting { id: u32, server: SocketAddr, deadline: Instant, task: AbortHandle },
    Open(Box<Relay>),
}

impl Relays {
    /// Whether nothing is held on any server.
    pub(super) fn is_idle(&self) -> bool {
        self.relays().next().is_none()
    }

    /// The UDP socket that a relay's server is reached from.
    pub(super) fn socket_of(&self, id: u32) -> Option<usize> {
        self.relays().find(|relay| relay.id == id).and_then(|relay| match relay.carrier {
            Carrier::Udp { socket, .. } => Some(socket),
            _ => None,
        })
    }

    fn relays(&self) -> impl Iterator<Item = &Relay> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            State::Open(relay) => Some(&**relay),
            _ => None,
        })
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Relay> {
        self.slots.iter_mut().find_map(|slot| match &mut slot.state {
            State::Open(relay) if relay.id == id => Some(&mut **relay),
            _ => None,
        })
    }

    /// The relay that has this address.
    pub(super) fn of_local(&self, local: SocketAddr) -> Option<u32> {
        self.relays().find(|relay| relay.relayed.contains(&local)).map(|relay| relay.id)
    }

    /// The relay whose server is reached from this socket at this address.
    pub(super) fn of_server(&self, socket: usize, server: SocketAddr) -> Option<u32> {
        self.relays().find(|relay| relay.is_at(socket, server)).map(|relay| relay.id)
    }

    /// A connection may use relays from now on: it is told of those there are, and the others are begun.
    pub(super) fn want(
        &mut self,
        shared: &Arc<EndpointShared>,
        sockets: &[Socket],
        now: Instant,
        index: usize,
        peer: &Arc<PeerShared>,
    ) {
        self.users.insert(index, peer.clone());
        for slot in &mut self.slots {
            match &slot.state {
                State::Open(relay) => events::tell(peer, now, relay),
                _ => slot.error.iter().for_each(|error| events::tell_error(peer, error)),
            }
            if let Some(soon) = slot.asked_soon(now).filter(|_| !slot.retired) {
                slot.pending_until = slot.pending_until.max(soon.checked_add(shared.config.gather_timeout));
            }
        }
        self.start_idle(shared, sockets, now);
    }

    /// There are other servers than before, which will be known by [`resolved`](Self::resolved).
    pub(super) fn servers_changed(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.error = None);
    }

    /// The servers' addresses are known.
    pub(super) fn resolved(
        &mut self,
        shared: &Arc<EndpointShared>,
        sockets: &[Socket],
        now: Instant,
        resolved: &[Resolved],
    ) {
        self.slots.iter_mut().for_each(|slot| slot.retired = true);
        for Resolved { credentials, url, addresses } in resolved {
            let Ok(addresses) = addresses else {
                // They may be known from before.
                let same = |slot: &&mut Slot| slot.url == *url && slot.credentials == *credentials;
                self.slots.iter_mut().filter(same).for_each(|slot| slot.retired = false);
                continue;
            };
            if !url.scheme.is_turn() {
                continue;
            }
            for v4 in [true, false] {
                let addresses: Vec<_> =
                    addresses.iter().copied().filter(|addr| addr.is_ipv4() == v4).collect();
                let Some(first) = addresses.first() else { continue };
                for way in ways(url, *first, sockets) {
                    self.add_slot(url, credentials, way, addresses.clone());
                }
            }
        }
        // What is allocated on a server that is named no more stays for as long as it is used.
        self.slots.retain(|slot| !slot.retired || matches!(slot.state, State::Open(_)));
        if !self.users.is_empty() {
            self.start_idle(shared, sockets, now);
        }
    }

    fn add_slot(&mut self, url: &ServerUri, credentials: &Credentials, way: Way, addresses: Vec<SocketAddr>) {
        let v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
        let known = |slot: &&mut Slot| {
            let same_family = slot.addresses.first().is_some_and(|addr| addr.is_ipv4() == v4);
            slot.url == *url && slot.credentials == *credentials && slot.way == way && same_family
        };
        if let Some(slot) = self.slots.iter_mut().find(known) {
            slot.addresses = addresses;
            slot.retired = false;
            return;
        }
        // Two URLs of one server, or two names of it: one 5-tuple has one allocation (RFC 8656 §2.2).
        let taken = |slot: &&mut Slot| slot.way == way && slot.addresses.first() == addresses.first();
        if let Some(slot) = self.slots.iter_mut().find(taken) {
            tracing::debug!(%url, known = %slot.url, "one server twice");
            if std::mem::take(&mut slot.retired) {
                // New credentials, for the next time.
                slot.credentials = credentials.clone();
                slot.url = url.clone();
                if matches!(slot.state, State::Waiting { .. }) {
                    (slot.state, slot.failures, slot.error) = (State::Idle, 0, None);
                }
            }
            return;
        }
        if self.slots.len() >= MAX_SLOTS {
            tracing::debug!(%url, "this server is left out");
            return;
        }
        self.slots.push(Slot {
            url: url.clone(),
            credentials: credentials.clone(),
            way,
            addresses,
            next_address: 0,
            state: State::Idle,
            failures: 0,
            pending_until: None,
            error: None,
            retired: false,
        });
    }

    fn start_idle(&mut self, shared: &Arc<EndpointShared>, sockets: &[Socket], now: Instant) {
        for at in 0..self.slots.len() {
            if matches!(self.slots[at].state, State::Idle) && !self.slots[at].retired {
                self.slots[at].pending_until = now.checked_add(shared.config.gather_timeout);
                self.start(at, shared, sockets, now);
            }
        }
    }

    /// Asks a slot's server for an allocation, or connects to it.
    fn start(&mut self, at: usize, shared: &Arc<EndpointShared>, sockets: &[Socket], now: Instant) {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.retired {
            slot.state = State::Idle;
            return;
        }
        let timeout = shared.config.gather_timeout;
        let Some(&server) = slot.addresses.get(slot.next_address % slot.addresses.len().max(1)) else {
            return;
        };
        let Some(deadline) = now.checked_add(timeout) else { return };
        let way = slot.way;
        let in_use = matches!(way, Way::Udp(socket) if self.of_server(socket, server).is_some());
        let Some(slot) = self.slots.get_mut(at) else { return };
        match way {
            // One 5-tuple has one allocation, and what comes from there one taker.
            Way::Udp(_) if in_use => {
                let delay = slot.back_off();
                let error = slot.unreachable(format!("{server}: another relay uses this server"));
                self.give_up(at, now, delay, error);
            }
            Way::Udp(socket) => {
                let local = sockets.get(socket).and_then(|socket| socket.source_for(server));
                let client = slot.client(Transport::Datagram, server, now, deadline);
                if let (Some(local), Some(client)) = (local, client) {
                    let carrier = Carrier::Udp { socket, local };
                    slot.state = State::Open(Box::new(Relay::new(id, client, carrier, RelayProtocol::Udp)));
                } else {
                    let delay = slot.back_off();
                    let error = slot.unreachable(format!("{server}: no way leads there"));
                    self.give_up(at, now, delay, error);
                }
                if self.wrapped.is_empty() {
                    self.wrapped = vec![0; MAX_BATCH];
                }
            }
            Way::Tcp | Way::Tls => {
                let target = Target { server, tls: (slot.way == Way::Tls).then(|| slot.url.host.clone()) };
                let task = connect::connect(shared.clone(), id, target, timeout);
                slot.state = State::Connecting { id, server, deadline, task };
            }
        }
    }

    /// A connection to a server has been made, or not.
    fn connected(
        &mut self,
        now: Instant,
        id: u32,
        result: Result<Stream, String>,
    ) -> Option<(usize, String)> {
        let at = self.slots.iter().position(|slot| slot.is_connecting(id))?;
        let slot = self.slots.get_mut(at)?;
        match (&mut slot.state, result) {
            (State::Open(relay), Ok(stream)) => {
                relay.carrier = Carrier::Stream(stream);
                relay.client.connected(now);
            }
            (State::Open(relay), Err(error)) => {
                relay.broken = Some(error);
                relay.client.disconnected();
            }
            (&mut State::Connecting { server, deadline, .. }, Ok(stream)) => {
                let by = if slot.way == Way::Tls { RelayProtocol::Tls } else { RelayProtocol::Tcp };
                let client = slot.client(Transport::Stream, server, now, deadline)?;
                slot.state = State::Open(Box::new(Relay::new(id, client, Carrier::Stream(stream), by)));
            }
            (State::Connecting { server, .. }, Err(error)) => {
                return Some((at, format!("{server}: {error}")));
            }
            _ => {}
        }
        None
    }

    /// Tries a way that leads nowhere again later, at the next address. Everybody is told of the first failure, and of each
    /// while somebody gathers.
    fn give_up(&mut self, at: usize, now: Instant, delay: Duration, error: IceCandidateError) {
        tracing::debug!(%error, "no relay");
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.next_address = (slot.next_address + 1) % slot.addresses.len().max(1);
        if self.users.is_empty() {
            (slot.state, slot.pending_until) = (State::Idle, None);
            return;
        }
        let gathering = slot.pending_until.is_some_and(|until| until > now);
        // One that has another address is asked there at once, and gathering waits for that.
        let at_once = gathering && slot.next_address != 0;
        slot.pending_until = slot.pending_until.filter(|_| at_once);
        slot.state = State::Waiting { until: if at_once { now } else { now + delay } };
        let known = slot.error.replace(error.clone()).is_some();
        if gathering || !known {
            self.users.values().for_each(|peer| events::tell_error(peer, &error));
        }
    }

    /// A connection has gone. The last one's going gives everything back.
    pub(super) fn leave(&mut self, now: Instant, index: usize) {
        if self.users.remove(&index).is_some() && self.users.is_empty() {
            self.release(now);
        }
    }

    fn release(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.failures = 0;
            slot.error = None;
            slot.pending_until = None;
            match &mut slot.state {
                State::Open(relay) => {
                    relay.closing_until.get_or_insert(now + RELEASE);
                    relay.client.close(now);
                }
                State::Connecting { task, .. } => {
                    task.abort();
                    slot.state = State::Idle;
                }
                State::Waiting { .. } => slot.state = State::Idle,
                State::Idle => {}
            }
        }
    }

    /// A server doesn't answer Binding requests any more: it is asked for the allocation, instead of in some minutes.
    pub(super) fn doubt(&mut self, now: Instant, path: Path) {
        if let Some(relay) = self.slots.iter_mut().find_map(|slot| slot.relay_over(path)) {
            relay.client.check(now);
        }
    }

    /// The machine has other addresses than before: a server doesn't know us at another one.
    pub(super) fn network_changed(&mut self, now: Instant, change: &NetworkChange) {
        for slot in &mut self.slots {
            // What could not be reached may be reached now; what refused us does so from wherever we ask.
            let unreachable = IceCandidateError::UNREACHABLE;
            if let State::Waiting { until } = &mut slot.state
                && slot.error.as_ref().is_some_and(|error| error.error_code == unreachable)
            {
                (*until, slot.failures) = (now.min(*until), 0);
            }
            if let State::Open(relay) = &mut slot.state
                && relay.local().is_some_and(|local| change.gone().iter().any(|gone| gone.ip() == local.ip()))
            {
                relay.broken = Some("our address has gone".to_owned());
                relay.client.disconnected();
            }
        }
    }

    /// Whether gathering has nothing to wait for here.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.slots.iter().all(|slot| slot.pending_until.is_none_or(|until| until <= now))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let of_slot = |slot: &Slot| {
            let own = match &slot.state {
                State::Idle => None,
                State::Connecting { deadline: until, .. } | State::Waiting { until } => Some(*until),
                State::Open(relay) => [relay.client.poll_timeout(), relay.closing_until, relay.held_until]
                    .into_iter()
                    .flatten()
                    .min(),
            };
            [own, slot.pending_until].into_iter().flatten().min()
        };
        self.slots.iter().filter_map(of_slot).min()
    }
}

impl Slot {
    fn client(
        &self,
        transport: Transport,
        server: SocketAddr,
        now: Instant,
        deadline: Instant,
    ) -> Option<Client> {
        let mut seed = [0; 32];
        if let Err(error) = SysRng.try_fill_bytes(&mut seed) {
            tracing::warn!(%error, "no randomness, so TURN servers aren't asked");
            return None;
        }
        let config = ClientConfig {
            families: Families::Both,
            allocate_timeout: deadline.saturating_duration_since(now),
            max_permissions: MAX_PEERS,
            max_channels: MAX_PEERS,
            ..ClientConfig::new(self.credentials.clone())
        };
        Some(Client::new(Arc::new(config), transport, server, now, seed))
    }

    /// Its relay, if that is reached over UDP on this path.
    fn relay_over(&mut self, path: Path) -> Option<&mut Relay> {
        match &mut self.state {
            State::Open(relay) => {
                let over = matches!(relay.carrier, Carrier::Udp { local, .. } if local == path.local);
                Some(&mut **relay).filter(|relay| over && relay.client.server() == path.remote)
            }
            _ => None,
        }
    }

    /// When the server is asked for an allocation, if that is now or in a moment: gathering waits for the answer.
    fn asked_soon(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Open(relay) => relay.closing_until.or(relay.allocated_at.is_none().then_some(now)),
            State::Connecting { .. } => Some(now),
            State::Waiting { until } => Some(*until).filter(|until| *until <= now + FIRST_BACK_OFF),
            State::Idle => None,
        }
    }

    fn is_connecting(&self, id: u32) -> bool {
        match &self.state {
            State::Connecting { id: connecting, .. } => *connecting == id,
            State::Open(relay) => relay.id == id && matches!(relay.carrier, Carrier::Connecting),
            _ => false,
        }
    }

    /// Where a redirected connection goes: the name is that of the redirection, or else the URL's.
    fn target(&self, server: SocketAddr, domain: Option<String>) -> Target {
        let name = domain.map_or_else(|| self.url.host.clone(), Host::Name);
        Target { server, tls: (self.way == Way::Tls).then_some(name) }
    }

    /// An error without an answer of the server.
    fn unreachable(&self, error_text: String) -> IceCandidateError {
        let error_code = IceCandidateError::UNREACHABLE;
        IceCandidateError { url: self.url.to_string(), address: None, error_code, error_text }
    }

    /// Before the next try.
    fn back_off(&mut self) -> Duration {
        let doubled = FIRST_BACK_OFF.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LAST_BACK_OFF)
    }
}

/// How a URL's server at this address is reached.
fn ways(url: &ServerUri, server: SocketAddr, sockets: &[Socket]) -> Vec<Way> {
    match (url.transport_or_default(), url.scheme.is_secure()) {
        (UriTransport::Tcp, true) => vec![Way::Tls],
        (UriTransport::Tcp, false) => vec![Way::Tcp],
        (UriTransport::Udp, _) => {
            let bound = sockets.iter().map(Socket::bound).enumerate();
            bound.filter(|(_, bound)| may_reach(*bound, server)).map(|(at, _)| Way::Udp(at)).collect()
        }
    }
}

/// Whether a socket can send there: it is of the same family, and on loopback if the other is.
fn may_reach(bound: SocketAddr, server: SocketAddr) -> bool {
    let loopback = |ip: IpAddr| ip.is_loopback();
    bound.is_ipv4() == server.is_ipv4()
        && (bound.ip().is_unspecified() || loopback(bound.ip()) == loopback(server.ip()))
}

/// Whether an address is one of our sockets'.
fn is_own_address(addr: SocketAddr, bound: &[SocketAddr]) -> bool {
    let on_all = |bound: &&SocketAddr| {
        bound.ip().is_unspecified() && bound.port() == addr.port() && bound.is_ipv4() == addr.is_ipv4()
    };
    let interfaces = || if_addrs::get_if_addrs().unwrap_or_default();
    bound.contains(&addr)
        || (bound.iter().any(|bound| on_all(&bound)) && interfaces().iter().any(|own| own.ip() == addr.ip()))
}
