//! The server: allocations by 5-tuple, and what passes through them.
//!
//! ```text
//!  Allocate ──authenticated, within quotas──▶ OpenRelay ──relay_opened──▶ success ──Refresh…──▶ CloseRelay
//!  Send, ChannelData ──permitted, allowed──▶ Forward        a peer's datagram ──permitted──▶ Data, ChannelData
//! ```

mod allocation;
mod auth;
mod config;
mod event;
mod nonce;
mod policy;
mod requests;
mod throttle;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_stun::{AttributeType, Builder, Class, Message, Method, TransactionId, Verdict};
use tracing::debug;

use crate::channel;
use crate::client::{Transport, is_sendable, normal};
use crate::error_code::ErrorCode;
pub use config::ServerConfig;
pub use event::{FiveTuple, Forward, RelayId, ServerEvent, ServerStats};
pub use policy::PeerPolicy;

use allocation::Allocation;
use auth::{Clock, Users};
use nonce::Nonces;
use throttle::Throttle;

/// The longest answer that [`Server::poll_transmit`] writes: a success with two IPv6 addresses, or a challenge with a long
/// realm.
pub const MAX_RESPONSE: usize = 512;
/// Answers that wait to be fetched at most.
const MAX_QUEUE: usize = 1024;
/// How long the owner may take to open a socket.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);

/// A TURN server. See the crate's documentation.
///
/// The owner calls in any order, and afterwards drains [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event) until `None`, then sleeps until [`poll_timeout`](Self::poll_timeout). Data goes around
/// these: [`handle_input`](Self::handle_input) says where it is to be sent, [`handle_relayed`](Self::handle_relayed)
/// writes it for the client. A stream's owner cuts it by a [`StreamDecoder`](crate::StreamDecoder), closes it when it has
/// had no allocation for some time ([`has_allocation`](Self::has_allocation)), and says so when it ends
/// ([`disconnected`](Self::disconnected)).
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    rng: StdRng,
    start: Instant,
    /// Seconds since 1970 at `start`.
    unix_start: u64,
    users: Users,
    nonces: Nonces,
    throttle: Throttle,
    allocations: HashMap<FiveTuple, Allocation>,
    /// Allocations per owner, without those that have none.
    owners: HashMap<String, usize>,
    relays: HashMap<RelayId, FiveTuple>,
    relay_addrs: HashMap<SocketAddr, RelayId>,
    next_relay: u64,
    /// When each allocation's first address ends.
    deadlines: BTreeSet<(Instant, FiveTuple)>,
    queue: VecDeque<(FiveTuple, Vec<u8>)>,
    events: VecDeque<ServerEvent>,
    stats: ServerStats,
}

impl Server {
    /// A server without allocations. `unix_time` is the time since 1970 that belongs to `now`, for ephemeral credentials.
    /// `seed` must come from the system's random source in production: nonces are signed with what is made from it.
    pub fn new(config: Arc<ServerConfig>, now: Instant, unix_time: Duration, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            users: Users::new(&config),
            nonces: Nonces::new(rng.random(), Users::features(&config)),
            throttle: Throttle::new(rng.random(), config.max_unauthenticated_per_second, now),
            rng,
            start: now,
            unix_start: unix_time.as_secs(),
            allocations: HashMap::new(),
            owners: HashMap::new(),
            relays: HashMap::new(),
            relay_addrs: HashMap::new(),
            next_relay: 1,
            deadlines: BTreeSet::new(),
            queue: VecDeque::new(),
            events: VecDeque::new(),
            stats: ServerStats::default(),
            config,
        }
    }

    /// What has been counted.
    pub fn stats(&self) -> ServerStats {
        ServerStats { allocations: self.allocations.len(), ..self.stats }
    }

    /// Whether this client has an allocation, or is getting one.
    pub fn has_allocation(&self, tuple: FiveTuple) -> bool {
        self.allocations.contains_key(&tuple)
    }

    fn clock(&self, now: Instant) -> Clock {
        let elapsed = now.saturating_duration_since(self.start).as_secs();
        let seconds = u32::try_from(elapsed).unwrap_or(u32::MAX);
        Clock { seconds, unix: self.unix_start.saturating_add(elapsed) }
    }

    /// Takes a datagram or a unit of a stream from a client. Data for a peer is returned where it lies, to be sent from
    /// the relayed address; everything else is dealt with inside.
    pub fn handle_input<'d>(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        datagram: &'d [u8],
    ) -> Option<Forward<'d>> {
        self.handle_timeout(now);
        if let [64..=127, ..] = datagram {
            let Some((number, data)) = channel::parse(datagram) else {
                self.stats.dropped_malformed += 1;
                return None;
            };
            let peer = self.allocations.get(&tuple).and_then(|allocation| allocation.peer_of(now, number));
            let Some(peer) = peer else {
                self.stats.dropped_unallocated += 1;
                return None;
            };
            return self.forward(now, tuple, peer, data, false);
        }
        let message = match Message::parse(datagram) {
            Ok(message) if message.verify_fingerprint() != Verdict::Invalid => message,
            _ => {
                self.stats.dropped_malformed += 1;
                return None;
            }
        };
        match (message.class(), message.method()) {
            (Class::Request, _) => {
                self.on_request(now, tuple, &message);
                None
            }
            (Class::Indication, Method::SEND) => self.on_send(now, tuple, &message),
            // RFC 8445 §11: keepalives.
            (Class::Indication, Method::BINDING) => None,
            _ => {
                self.stats.dropped_malformed += 1;
                None
            }
        }
    }

    /// RFC 8656 §11.2.
    fn on_send<'d>(&mut self, now: Instant, tuple: FiveTuple, message: &Message<'d>) -> Option<Forward<'d>> {
        if !self.allocations.contains_key(&tuple) {
            self.stats.dropped_unallocated += 1;
            return None;
        }
        let dont_fragment = message.attribute(AttributeType::DONT_FRAGMENT).is_some();
        let known = [AttributeType::XOR_PEER_ADDRESS, AttributeType::DATA, AttributeType::DONT_FRAGMENT];
        let understood = message.not_understood(&known).next().is_none();
        let peer = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).next().flatten();
        let data = message.attribute(AttributeType::DATA);
        let (Some(peer), Some(data), true) =
            (peer, data, understood && (self.config.dont_fragment || !dont_fragment))
        else {
            self.stats.dropped_malformed += 1;
            return None;
        };
        self.forward(now, tuple, normal(peer), data, dont_fragment)
    }

    fn forward<'d>(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        to: SocketAddr,
        data: &'d [u8],
        dont_fragment: bool,
    ) -> Option<Forward<'d>> {
        let may_reach = self.may_reach(to);
        let allocation = self.allocations.get_mut(&tuple)?;
        let relay = allocation.relay_for(to).filter(|_| may_reach && allocation.is_permitted(now, to.ip()));
        let Some(relay) = relay else {
            self.stats.dropped_unpermitted += 1;
            return None;
        };
        if let Some(rate) = self.config.max_bytes_per_second
            && !allocation.spend(now, data.len(), rate)
        {
            self.stats.dropped_rate += 1;
            return None;
        }
        self.stats.messages_to_peers += 1;
        self.stats.bytes_to_peers += data.len() as u64;
        Some(Forward { relay, to, data, dont_fragment })
    }

    /// Whether the policy lets data go there. Of our own addresses only ports that we relay for are open, by which two of
    /// our clients reach each other.
    fn may_reach(&self, to: SocketAddr) -> bool {
        let ip = policy::embedded(to.ip());
        is_sendable(to)
            && self.config.peers.allows(to.ip())
            && (self.config.peers.own
                || !self.config.own_addresses.iter().any(|own| own.to_canonical() == ip)
                || self.relay_addrs.contains_key(&to))
    }

    /// Takes a datagram that came to a relayed address from `from`, and writes what goes to the client into `out`; `None`
    /// if it is dropped. `out` must hold the data and [`MAX_OVERHEAD`](crate::MAX_OVERHEAD).
    pub fn handle_relayed(
        &mut self,
        now: Instant,
        relay: RelayId,
        from: SocketAddr,
        data: &[u8],
        out: &mut [u8],
    ) -> Option<(FiveTuple, usize)> {
        self.handle_timeout(now);
        let tuple = *self.relays.get(&relay)?;
        let allocation = self.allocations.get_mut(&tuple)?;
        let from = normal(from);
        if !allocation.is_permitted(now, from.ip()) || allocation.relay_for(from) != Some(relay) {
            self.stats.dropped_unpermitted += 1;
            return None;
        }
        if let Some(rate) = self.config.max_bytes_per_second
            && !allocation.spend(now, data.len(), rate)
        {
            self.stats.dropped_rate += 1;
            return None;
        }
        let len = match allocation.channel_of(now, from) {
            Some(number) => channel::write(out, number, data, tuple.transport == Transport::Stream),
            None => {
                let id = TransactionId(self.rng.random());
                let mut b = Builder::new(out, Class::Indication, Method::DATA, id);
                b.xor_address(AttributeType::XOR_PEER_ADDRESS, from).attribute(AttributeType::DATA, data);
                b.finish().ok()
            }
        };
        let Some(len) = len else {
            self.stats.dropped_overflow += 1;
            return None;
        };
        self.stats.messages_to_clients += 1;
        self.stats.bytes_to_clients += data.len() as u64;
        Some((tuple, len))
    }

    /// Says that a socket of [`ServerEvent::OpenRelay`] is open at `addr`, which is what the client will tell its peers.
    /// For one that isn't wanted any more, [`ServerEvent::CloseRelay`] follows or is waiting already.
    pub fn relay_opened(&mut self, now: Instant, relay: RelayId, addr: SocketAddr) {
        let Some(tuple) = self.relays.get(&relay).copied() else { return };
        let addr = normal(addr);
        if let Some(known) =
            self.allocations.get_mut(&tuple).and_then(|a| a.relays.iter_mut().find(|r| r.id == relay))
        {
            known.addr = Some(addr);
            self.relay_addrs.insert(addr, relay);
        }
        self.answer_if_open(now, tuple);
    }

    /// Says that there is no socket to be had.
    pub fn relay_failed(&mut self, now: Instant, relay: RelayId) {
        let Some(tuple) = self.relays.get(&relay).copied() else { return };
        let Some(allocation) = self.allocations.get_mut(&tuple) else { return };
        let family = allocation.relays.iter().find(|r| r.id == relay).map(|r| r.family);
        allocation.refused = family.map(|family| (family, ErrorCode::INSUFFICIENT_CAPACITY));
        if allocation.relays.len() == 1 {
            self.refuse_pending(tuple);
        }
        self.set_families(tuple, |allocation| allocation.relays.retain(|r| r.id != relay));
        self.answer_if_open(now, tuple);
    }

    /// Says that the connection of a client has ended; its allocation ends with it.
    pub fn disconnected(&mut self, tuple: FiveTuple) {
        if self.remove(tuple) {
            self.stats.allocations_expired += 1;
        }
    }

    /// Does what is due at `now`. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, tuple)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let families: Vec<_> = self.allocations.get(&tuple).map_or(Vec::new(), |allocation| {
                allocation.relays.iter().filter(|r| r.expires <= now).map(|r| r.family).collect()
            });
            self.stats.allocations_expired += 1;
            debug!(client = %tuple.client, "allocation expired");
            self.set_families(tuple, |allocation| {
                families.iter().for_each(|family| allocation.drop_family(*family));
            });
        }
    }

    /// Writes one answer into `out` and says which client it goes to; `None` if there is none. [`MAX_RESPONSE`] is enough
    /// for `out`.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<(FiveTuple, usize)> {
        self.handle_timeout(now);
        loop {
            let (tuple, bytes) = self.queue.pop_front()?;
            if let Some(room) = out.get_mut(..bytes.len()) {
                room.copy_from_slice(&bytes);
                return Some((tuple, bytes.len()));
            }
            self.stats.dropped_overflow += 1;
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next event. They are never dropped; of each socket there are two at most, and allocations have a limit.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// Changes an allocation's addresses or their ends, and puts everything else in order: sockets, deadlines, and the
    /// allocation itself when no address is left. False if there was none.
    fn set_families(&mut self, tuple: FiveTuple, change: impl FnOnce(&mut Allocation)) -> bool {
        let Some(allocation) = self.allocations.get_mut(&tuple) else { return false };
        if let Some(at) = allocation.deadline() {
            self.deadlines.remove(&(at, tuple));
        }
        let before = allocation.relays.clone();
        change(allocation);
        for gone in before.iter().filter(|old| allocation.relays.iter().all(|new| new.id != old.id)) {
            self.relays.remove(&gone.id);
            if let Some(addr) = gone.addr {
                self.relay_addrs.remove(&addr);
            }
            self.events.push_back(ServerEvent::CloseRelay { relay: gone.id });
        }
        match allocation.deadline() {
            Some(at) => {
                self.deadlines.insert((at, tuple));
            }
            None => {
                let owner = std::mem::take(&mut allocation.owner);
                self.allocations.remove(&tuple);
                if let Some(count) = self.owners.get_mut(&owner) {
                    *count -= 1;
                    if *count == 0 {
                        self.owners.remove(&owner);
                    }
                }
            }
        }
        true
    }

    fn remove(&mut self, tuple: FiveTuple) -> bool {
        self.set_families(tuple, |allocation| allocation.relays.clear())
    }
}
