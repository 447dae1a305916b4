//! The client: gets an allocation, keeps it, and lets data through.
//!
//! ```text
//!  new ──▶ Allocating ──401, signed──▶ … ──success──▶ Ready ──close──▶ Releasing ──answer──▶ Over
//!              │  300                                  │ refresh refused or unanswered
//!              ▼                                       ▼
//!       (a stream:) Connecting ──connected──▶ …       Over
//! ```

mod auth;
mod config;
mod event;
mod peers;
mod request;
mod response;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_stun::{AttributeType, Builder, Class, Message, Method, TransactionId, Verdict};
use tracing::debug;

use crate::attributes::{self, AddressFamily};
use crate::channel;
use crate::error_code::ErrorCode;
pub use config::{ClientConfig, Credentials, Families, Transport};
pub use event::{ClientStats, Error, Event, PeerError, Reason, SendError, Step};
pub use request::MAX_REQUEST;
pub(crate) use request::SOFTWARE;

use auth::Auth;
use peers::{Channel, Peers, Permission, Progress};
use request::{Kind, Request};

/// What a message to a peer is longer than its data at most: a Send indication to an IPv6 address (RFC 8656 §11.1), with
/// DONT-FRAGMENT and padding.
pub const MAX_OVERHEAD: usize = 20 + 24 + 4 + 4 + 3;
/// Events that wait at most; the oldest makes room.
const MAX_EVENTS: usize = 256;
/// Requests under way at most; what else is due waits.
const MAX_REQUESTS: usize = 16;
/// Addresses in one CreatePermission request.
const MAX_BATCH: usize = 32;

/// Data that a peer sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received<'d> {
    /// Who sent it.
    pub peer: SocketAddr,
    /// Where it lies in the datagram that was given.
    pub data: &'d [u8],
}

/// What [`Client::send_batch`] has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Bytes of data taken.
    pub taken: usize,
    /// Bytes written.
    pub written: usize,
    /// Bytes of each message but the last, which may be shorter.
    pub segment_size: usize,
    /// On a channel, with four bytes of overhead each.
    pub on_channel: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// An Allocate request is under way.
    Allocating,
    /// A stream to another server is to be made.
    Connecting,
    Ready,
    Releasing,
    Over,
}

/// What the server gave.
#[derive(Clone, Debug)]
struct Allocation {
    relayed: Vec<SocketAddr>,
    /// `None` while a Refresh is under way.
    refresh_at: Option<Instant>,
}

/// One allocation on one server. See the crate's documentation.
///
/// The owner calls in any order, and afterwards drains [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event) until `None`, then sleeps until [`poll_timeout`](Self::poll_timeout). Data goes around
/// these: [`handle_input`](Self::handle_input) returns it where it lies, [`send`](Self::send) writes it to the caller's
/// buffer. Addresses come in one form: an IPv4 address as IPv4, not as `::ffff:a.b.c.d`.
#[derive(Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    transport: Transport,
    rng: StdRng,
    server: SocketAddr,
    /// Where we have been, the first server first.
    visited: Vec<SocketAddr>,
    state: State,
    /// What was allocated on our port before has been given back, or should have been.
    cleared: bool,
    /// `close` was called while the allocation may have been under way.
    closing: bool,
    allocate_until: Instant,
    dont_fragment: bool,
    auth: Option<Auth>,
    /// The realm that our credentials were used with, on whichever server.
    realm: Option<String>,
    allocation: Option<Allocation>,
    peers: Peers,
    requests: Vec<Request>,
    events: VecDeque<Event>,
    stats: ClientStats,
    /// When something is due, kept up to date by `settle`.
    wake: Option<Instant>,
}

impl Client {
    /// Asks `server` for an allocation. A stream must be connected already. `seed` must come from the system's random
    /// source in production: transaction ids are made from it, and whoever guesses one can answer for the server before
    /// the first challenge.
    pub fn new(
        config: Arc<ClientConfig>,
        transport: Transport,
        server: SocketAddr,
        now: Instant,
        seed: [u8; 32],
    ) -> Self {
        let server = normal(server);
        let mut client = Self {
            transport,
            rng: StdRng::from_seed(seed),
            server,
            visited: vec![server],
            state: State::Allocating,
            cleared: false,
            closing: false,
            allocate_until: now.checked_add(config.allocate_timeout).unwrap_or(now),
            dont_fragment: config.dont_fragment,
            auth: None,
            realm: None,
            allocation: None,
            peers: Peers::default(),
            requests: Vec::new(),
            events: VecDeque::new(),
            stats: ClientStats::default(),
            wake: None,
            config,
        };
        client.request(now, Kind::Allocate, 0);
        client.settle(now);
        client
    }

    /// The server, which a redirection may have changed: where datagrams go.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Our addresses on the server; none before and after there is an allocation.
    pub fn relayed(&self) -> &[SocketAddr] {
        self.allocation.as_ref().map_or(&[], |allocation| &allocation.relayed)
    }

    /// Whether data may go to this address now.
    pub fn can_send(&self, now: Instant, peer: SocketAddr) -> bool {
        let peer = normal(peer);
        self.state == State::Ready
            && (self.peers.may_send(now, peer.ip()) || self.peers.active_channel(now, peer).is_some())
    }

    /// Whether the last event has come, or will with the next calls of [`poll_event`](Self::poll_event).
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What has been counted.
    pub fn stats(&self) -> ClientStats {
        self.stats
    }

    /// Asks that data may pass from and to this address, and keeps it permitted. Before there is an allocation it is
    /// noted. Asking twice changes nothing.
    ///
    /// # Errors
    /// See [`PeerError`]; nothing has changed then.
    pub fn permit(&mut self, now: Instant, ip: IpAddr) -> Result<(), PeerError> {
        let ip = ip.to_canonical();
        self.check_peer(SocketAddr::new(ip, 1))?;
        if self.peers.permission_mut(ip).is_none() {
            if self.peers.permissions.len() >= self.config.max_permissions {
                return Err(PeerError::TooMany);
            }
            self.peers.permissions.push(Permission { ip, progress: Progress::Wanted, alone: false });
        }
        self.settle(now);
        Ok(())
    }

    /// Asks the server now whether it still has the allocation, by a Refresh: for an owner that has reason to doubt it.
    pub fn check(&mut self, now: Instant) {
        if let Some(at) = self.allocation.as_mut().and_then(|allocation| allocation.refresh_at.as_mut()) {
            *at = now.min(*at);
        }
        self.settle(now);
    }

    /// Lets the permission of an address end by itself, within five minutes. Channels to it stay.
    pub fn forget(&mut self, now: Instant, ip: IpAddr) {
        let ip = ip.to_canonical();
        self.peers.permissions.retain(|p| p.ip != ip);
        self.settle(now);
    }

    /// Asks for a channel to this peer, which permits its address too, and keeps it. Before there is an allocation it is
    /// noted. Asking twice changes nothing; asking again after a refusal tries once more.
    ///
    /// # Errors
    /// See [`PeerError`]; nothing has changed then.
    pub fn bind_channel(&mut self, now: Instant, peer: SocketAddr) -> Result<(), PeerError> {
        let peer = normal(peer);
        self.check_peer(peer)?;
        match self.peers.channel_mut(peer) {
            Some(channel) if channel.progress.may_be_asked_for_again() => channel.progress = Progress::Wanted,
            Some(_) => {}
            None => {
                self.peers.forget_released(now);
                let free = self.peers.channels.len() < self.config.max_channels;
                let number = self.peers.next_number().filter(|_| free).ok_or(PeerError::TooMany)?;
                self.peers.channels.push(Channel { number, peer, progress: Progress::Wanted });
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Lets a channel end by itself, within ten minutes. Its number isn't used for five minutes more (RFC 8656 §12), and what
    /// comes on it until then is still that peer's.
    pub fn release_channel(&mut self, now: Instant, peer: SocketAddr) {
        let peer = normal(peer);
        if let Some(channel) = self.peers.channel_mut(peer) {
            channel.progress = channel.progress.released(now);
        }
        self.settle(now);
    }

    fn check_peer(&self, peer: SocketAddr) -> Result<(), PeerError> {
        if self.state == State::Over || self.state == State::Releasing || self.closing {
            return Err(PeerError::Closed);
        }
        if !is_sendable(peer) {
            return Err(PeerError::Address);
        }
        let relayed = self.relayed();
        if !relayed.is_empty() && relayed.iter().all(|addr| addr.is_ipv4() != peer.is_ipv4()) {
            return Err(PeerError::Family);
        }
        Ok(())
    }

    /// Writes what carries `data` to a peer into `out` and returns its length: ChannelData where there is a channel, else
    /// a Send indication. It goes to [`server`](Self::server) like everything else.
    ///
    /// # Errors
    /// See [`SendError`]; nothing is to be sent then.
    pub fn send(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        if self.state != State::Ready {
            return Err(SendError::NotAllocated);
        }
        let peer = normal(peer);
        let len = if let Some(number) = self.peers.active_channel(now, peer) {
            channel::write(out, number, data, self.transport == Transport::Stream)
        } else if self.peers.may_send(now, peer.ip()) {
            let id = TransactionId(self.rng.random());
            let mut b = Builder::new(out, Class::Indication, Method::SEND, id);
            b.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
            if self.dont_fragment {
                b.attribute(AttributeType::DONT_FRAGMENT, &[]);
            }
            b.attribute(AttributeType::DATA, data);
            b.finish().ok()
        } else {
            return Err(SendError::NotPermitted);
        };
        let len = len.ok_or(SendError::TooLarge)?;
        self.stats.messages_sent += 1;
        self.stats.bytes_sent += data.len() as u64;
        Ok(len)
    }

    /// Writes what carries several datagrams to a peer, one behind the other, as many as fit into `out`: those in `data`, each
    /// of `size` bytes but for the last, which may be shorter. On datagrams all messages but the last have one size then,
    /// which is what UDP_SEGMENT wants.
    ///
    /// # Errors
    /// As [`send`](Self::send); nothing is to be sent then.
    pub fn send_batch(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        data: &[u8],
        size: usize,
        out: &mut [u8],
    ) -> Result<Batch, SendError> {
        let number = match self.state {
            State::Ready => self.peers.active_channel(now, normal(peer)),
            _ => None,
        };
        let mut batch = Batch { taken: 0, written: 0, segment_size: 0, on_channel: number.is_some() };
        for datagram in data.chunks(size.max(1)) {
            let room = out.get_mut(batch.written..).unwrap_or_default();
            let written = match number {
                Some(number) => {
                    let len = channel::write(room, number, datagram, self.transport == Transport::Stream);
                    if len.is_some() {
                        self.stats.messages_sent += 1;
                        self.stats.bytes_sent += datagram.len() as u64;
                    }
                    len.ok_or(SendError::TooLarge)
                }
                None => self.send(now, peer, datagram, room),
            };
            match written {
                Ok(len) => {
                    batch.segment_size = batch.segment_size.max(len);
                    batch.taken += datagram.len();
                    batch.written += len;
                }
                Err(SendError::TooLarge) if batch.taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(batch)
    }

    /// As [`handle_input`](Self::handle_input), for who goes on with the data in place: who sent it, and where it lies in
    /// `datagram`.
    pub fn handle_input_in_place(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<(SocketAddr, Range<usize>)> {
        let received = self.handle_input(now, from, datagram)?;
        let start = received.data.as_ptr().addr().checked_sub(datagram.as_ptr().addr())?;
        Some((received.peer, start..start.checked_add(received.data.len())?))
    }

    /// Takes a datagram that came from `from`, or a unit of the stream from the server. Data of peers is returned where
    /// it lies; everything else is dealt with inside, and what is wrong is dropped and counted.
    pub fn handle_input<'d>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &'d [u8],
    ) -> Option<Received<'d>> {
        if self.state == State::Over {
            return None;
        }
        if normal(from) != self.server {
            self.stats.dropped_foreign += 1;
            return None;
        }
        if channel::is_channel_data(datagram) {
            let Some((number, data)) = channel::parse(datagram) else {
                self.stats.dropped_malformed += 1;
                return None;
            };
            let peer = self.peers.peer_of(now, number).filter(|_| self.allocation.is_some());
            return self.receive(peer, data);
        }
        let message = match Message::parse(datagram) {
            Ok(message) if message.verify_fingerprint() != Verdict::Invalid => message,
            _ => {
                self.stats.dropped_malformed += 1;
                return None;
            }
        };
        match (message.class(), message.method()) {
            (Class::SuccessResponse | Class::ErrorResponse, _) => {
                self.on_response(now, &message);
                self.settle(now);
                None
            }
            (Class::Indication, Method::DATA) => self.on_data(now, &message),
            _ => {
                self.stats.dropped_unknown += 1;
                None
            }
        }
    }

    /// RFC 8656 §11.4 and §11.6.
    fn on_data<'d>(&mut self, now: Instant, message: &Message<'d>) -> Option<Received<'d>> {
        let known = [AttributeType::XOR_PEER_ADDRESS, AttributeType::DATA];
        let mut peers = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS);
        let (Some(Some(peer)), None) = (peers.next(), message.not_understood(&known).next()) else {
            self.stats.dropped_malformed += 1;
            return None;
        };
        let peer = normal(peer);
        let permitted = self.allocation.is_some() && self.peers.may_receive(now, peer.ip());
        if let Some((icmp_type, icmp_code, mtu)) = attributes::icmp(message) {
            if permitted {
                self.emit(Event::Icmp { peer, icmp_type, icmp_code, mtu });
            } else {
                self.stats.dropped_unpermitted += 1;
            }
            return None;
        }
        let Some(data) = message.attribute(AttributeType::DATA) else {
            self.stats.dropped_malformed += 1;
            return None;
        };
        self.receive(Some(peer).filter(|_| permitted), data)
    }

    fn receive<'d>(&mut self, peer: Option<SocketAddr>, data: &'d [u8]) -> Option<Received<'d>> {
        let Some(peer) = peer else {
            self.stats.dropped_unpermitted += 1;
            return None;
        };
        self.stats.messages_received += 1;
        self.stats.bytes_received += data.len() as u64;
        Some(Received { peer, data })
    }

    /// Does what is due at `now`. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake.is_none_or(|at| at > now) {
            return;
        }
        if matches!(self.state, State::Allocating | State::Connecting) && now >= self.allocate_until {
            let reason = self.requests.first().map_or(Reason::Timeout, silence);
            self.end_unanswered(now, self.requests.iter().any(|r| r.auth.is_some()), reason);
        }
        for request in &mut self.requests {
            if request.transaction.handle_timeout(now) {
                request.due = true;
            }
        }
        while let Some(at) = self.requests.iter().position(|r| r.transaction.is_expired(now)) {
            let request = self.requests.swap_remove(at);
            let reason = silence(&request);
            debug!(server = %self.server, step = %request.kind.step(), %reason, "no answer");
            match request.kind {
                Kind::Allocate => self.end_unanswered(now, request.auth.is_some(), reason),
                kind => self.gave_up(now, kind, reason),
            }
        }
        self.settle(now);
    }

    /// Writes one request into `out` and returns its length; `None` if there is none. It goes to
    /// [`server`](Self::server). What is longer than `out` is dropped and counted; [`MAX_REQUEST`] is enough.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        self.handle_timeout(now);
        loop {
            let request = self.requests.iter_mut().find(|r| r.due)?;
            request.due = false;
            if let Some(room) = out.get_mut(..request.bytes.len()) {
                room.copy_from_slice(&request.bytes);
                self.stats.requests_sent += 1;
                return Some(request.bytes.len());
            }
            self.stats.dropped_too_large += 1;
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Says that the stream to the server of [`Event::Redirected`] is made. Else it changes nothing.
    pub fn connected(&mut self, now: Instant) {
        if self.state == State::Connecting {
            self.state = State::Allocating;
            self.request(now, Kind::Allocate, 0);
            self.settle(now);
        }
    }

    /// Says that the stream has ended, or could not be made. Ends everything.
    pub fn disconnected(&mut self) {
        match self.state {
            State::Over => {}
            State::Releasing => self.end(Event::Closed),
            _ if self.closing => self.end(Event::Closed),
            _ => {
                let step = if self.allocation.is_some() { Step::Refresh } else { Step::Allocate };
                self.fail(step, Reason::Disconnected);
            }
        }
    }

    /// Gives the allocation back and ends with [`Event::Closed`], at the latest when the server doesn't answer.
    pub fn close(&mut self, now: Instant) {
        match self.state {
            State::Ready => self.release(now),
            // The server may be making the allocation just now; it would stay for ten minutes.
            State::Allocating if self.requests.iter().any(|r| r.auth.is_some()) => self.closing = true,
            State::Allocating | State::Connecting => self.end(Event::Closed),
            State::Releasing | State::Over => {}
        }
        self.settle(now);
    }

    fn release(&mut self, now: Instant) {
        self.state = State::Releasing;
        self.requests.clear();
        self.peers = Peers::default();
        self.request(now, Kind::Release, 0);
    }

    /// Starts a request.
    fn request(&mut self, now: Instant, kind: Kind, stale_nonces: u8) {
        let id = TransactionId(self.rng.random());
        let auth = self.auth.clone();
        if let Some(auth) = &auth {
            self.realm.get_or_insert_with(|| auth.realm.clone());
        }
        let step = kind.step();
        match Request::new(kind.clone(), id, now, &self.config, self.transport, self.dont_fragment, auth) {
            Some(request) => self.requests.push(Request { stale_nonces, ..request }),
            None => {
                debug!(%step, "request longer than there may be");
                self.gave_up(now, kind, Reason::BadChallenge);
            }
        }
    }

    /// Makes the requests that are due, and finds out when the next thing is.
    fn settle(&mut self, now: Instant) {
        if self.state == State::Ready {
            self.request_due(now);
        }
        self.wake = self.next_wake();
    }

    fn request_due(&mut self, now: Instant) {
        if let Some(allocation) = &mut self.allocation
            && allocation.refresh_at.is_some_and(|at| at <= now)
        {
            allocation.refresh_at = None;
            self.request(now, Kind::Refresh, 0);
        }
        while self.requests.len() < MAX_REQUESTS
            && let Some(channel) = self.peers.channels.iter_mut().find(|c| c.progress.is_due(now))
        {
            channel.progress = channel.progress.requested();
            let (number, peer) = (channel.number, channel.peer);
            self.request(now, Kind::Channel(number, peer), 0);
        }
        while self.requests.len() < MAX_REQUESTS {
            let mut due = self.peers.permissions.iter_mut().filter(|p| p.progress.is_due(now));
            let Some(first) = due.next() else { return };
            first.progress = first.progress.requested();
            let mut ips = vec![first.ip];
            if !first.alone {
                for other in due.filter(|p| !p.alone).take(MAX_BATCH - 1) {
                    other.progress = other.progress.requested();
                    ips.push(other.ip);
                }
            }
            self.request(now, Kind::Permissions(ips), 0);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        if self.state == State::Over {
            return None;
        }
        let requests = self.requests.iter().map(|r| r.transaction.deadline()).min();
        let own = match self.state {
            State::Allocating | State::Connecting => Some(self.allocate_until),
            // With all requests under way, what else is due waits for the end of one.
            State::Ready if self.requests.len() < MAX_REQUESTS => {
                let refresh = self.allocation.as_ref().and_then(|allocation| allocation.refresh_at);
                [refresh, self.peers.next_refresh()].into_iter().flatten().min()
            }
            _ => None,
        };
        [requests, own].into_iter().flatten().min()
    }

    /// What follows when something will not be had.
    fn gave_up(&mut self, now: Instant, kind: Kind, reason: Reason) {
        let error = Error { server: self.server, step: kind.step(), reason };
        match kind {
            Kind::Release => self.end(Event::Closed),
            Kind::Allocate | Kind::Refresh => self.fail(error.step, reason),
            // What was said first, as that is the reason.
            Kind::Clear => {
                let refused = matches!(reason, Reason::Refused(_) | Reason::Credentials);
                let reason = if refused { Reason::Refused(ErrorCode::ALLOCATION_MISMATCH) } else { reason };
                self.fail(error.step, reason);
            }
            Kind::Permissions(ips) if ips.len() > 1 => {
                // RFC 8656 §10.2: one bad address spoils the request; which, nobody says.
                for ip in ips {
                    if let Some(permission) = self.peers.permission_mut(ip) {
                        permission.alone = true;
                        permission.progress = match permission.progress {
                            Progress::Refreshing { until } => Progress::Active { until, refresh_at: now },
                            _ => Progress::Wanted,
                        };
                    }
                }
            }
            Kind::Permissions(ips) => {
                for ip in ips {
                    if self.peers.permission_mut(ip).is_some() {
                        self.peers.permissions.retain(|p| p.ip != ip);
                        self.emit(Event::NotPermitted { ip, error });
                    }
                }
            }
            Kind::Channel(_, peer) => {
                if let Some(channel) = self.peers.channel_mut(peer)
                    && !channel.progress.is_released()
                {
                    channel.progress = Progress::Refused;
                    self.emit(Event::ChannelNotBound { peer, error });
                }
            }
        }
    }

    fn fail(&mut self, step: Step, reason: Reason) {
        let error = Error { server: self.server, step, reason };
        debug!(%error, "over");
        self.end(if self.closing { Event::Closed } else { Event::Failed(error) });
    }

    fn end(&mut self, event: Event) {
        self.state = State::Over;
        self.allocation = None;
        self.peers = Peers::default();
        self.requests.clear();
        self.wake = None;
        self.emit(event);
    }

    fn emit(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// What to say when nothing usable was answered.
fn silence(request: &Request) -> Reason {
    match request.unauthentic {
        Some(code) => Reason::Integrity { code },
        None => Reason::Timeout,
    }
}

/// The form of addresses inside: an IPv4 address is IPv4, however it was written.
pub(crate) fn normal(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether a datagram may go there at all.
pub(crate) fn is_sendable(addr: SocketAddr) -> bool {
    let broadcast = IpAddr::from([255, 255, 255, 255]);
    let ip = addr.ip().to_canonical();
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && ip != broadcast
}

/// How long until the allocation is refreshed: a minute before its end (RFC 8656 §8), of a short one at half its time.
fn refresh_after(lifetime: Duration) -> Duration {
    lifetime.checked_sub(Duration::from_secs(60)).unwrap_or_default().max(lifetime / 2)
}

/// The family of each address.
fn families(addrs: &[SocketAddr]) -> impl Iterator<Item = AddressFamily> {
    addrs.iter().map(|addr| AddressFamily::of(addr.ip()))
}
