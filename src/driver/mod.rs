//! The task that moves datagrams between an endpoint's sockets and its connections' cores.
//!
//! ```text
//!        ┌────────── sleep until: a socket is readable · a handle has touched a connection · a deadline ──────────┐
//!        ▼                                                                                                        │
//!   receive a few slabs ──▶ per slab: route, lock the core once, feed its segments in place                       │
//!   new and touched connections, due timers                                                                       │
//!   per connection concerned: batches out until there is no more, events to their waiters, deadline ──────────────┘
//! ```
//!
//! Per datagram there is no allocation, lock, task hop or clock reading: those happen per batch. The lock is not held
//! during system calls.

mod blocked;
mod gathering;
mod input;
mod links;
mod newcomers;
mod patience;
mod queue_share;
mod relays;
mod routes;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod timers;

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn_udp::RecvMeta;
use sinnet_peer::Peer;
use tokio::time::Sleep;

use self::blocked::Blocked;
use self::gathering::Gathering;
pub(crate) use self::gathering::{GATHER_TIMEOUT, Resolved, Wanted};
use self::links::{Link, Sent};
use self::newcomers::Queued;
use self::patience::Patience;
use self::queue_share::{QueueShare, Received};
pub(crate) use self::relays::Connected;
use self::relays::Relays;
use self::routes::Routes;
pub(crate) use self::socket::{Socket, open_sockets};
pub use self::tcp::IceTcpStats;
use self::tcp::Tcp;
pub(crate) use self::tcp::{DISCARD, TcpListeners, open_listeners};
use self::timers::Timers;
use crate::shared::{EndpointShared, PeerShared, now, time_of_day};
use crate::watch::NetworkChange;

/// Largest thing the kernel hands over in one piece, with or without GRO.
const SLAB: usize = 65_536;

/// Slabs taken in one call. More than a few only delay the acknowledgement of the first.
const SLABS: usize = 4;

/// Receive calls a turn on one socket, so that sending and timers get theirs.
const RECEIVES_PER_TURN: usize = 4;

/// What is received in one call counts for how long data waits in the socket from so many bytes on.
const COUNTED_FROM: usize = 16 * 1024;

/// Batches a turn from one connection, so that the others and the receiving get theirs.
const BATCHES_PER_TURN: usize = 8;

/// Most bytes UDP_SEGMENT takes in one call: a UDP payload over IPv4.
const MAX_BATCH: usize = 65_507;

/// How soon a connection is looked at again whose socket has no room, if it has none by then.
const HELD_UP_FOR: Duration = Duration::from_millis(5);

/// Starts the driver on the current tokio runtime.
pub(crate) fn spawn(shared: Arc<EndpointShared>, sockets: Vec<Socket>, listeners: TcpListeners) {
    tokio::spawn(Driver::new(shared, sockets, listeners).run());
}

struct Driver {
    shared: Arc<EndpointShared>,
    sockets: Vec<Socket>,
    tcp: Tcp,
    peers: Vec<Option<Entry>>,
    live: usize,
    free: Vec<usize>,
    routes: Routes,
    timers: Timers,
    gathering: Gathering,
    relays: Relays,
    newcomers: Queued,
    /// Connections to serve this turn.
    concerned: Vec<usize>,
    /// Lists that are filled in every turn, empty in between: their memory, for as many entries as there were connections at once.
    spare: Spare,
    recv_buf: Vec<u8>,
    send_buf: Vec<u8>,
    blocked: Blocked,
    patience: Patience,
    queue_share: QueueShare,
    sleep: Pin<Box<Sleep>>,
    sleep_until: Option<Instant>,
    closing: bool,
}

/// See [`Driver::spare`].
#[derive(Default)]
struct Spare {
    /// For `concerned`, and for the connections that are due.
    peers: Vec<usize>,
    /// For the commands' `touched`.
    touched: Vec<Arc<PeerShared>>,
}

struct Entry {
    shared: Arc<PeerShared>,
    ufrags: Vec<String>,
    ufrags_version: u32,
    deadline: Option<Instant>,
    /// Is in `concerned`.
    concerned: bool,
    /// Is among those who wait for room at a socket.
    waits_for_room: bool,
    received: Received,
}

/// What first datagrams name a connection by.
fn known_by(peer: &Peer) -> (Vec<String>, u32) {
    (peer.local_ufrags().map(str::to_owned).collect(), peer.local_ufrags_version())
}

impl Driver {
    fn new(shared: Arc<EndpointShared>, sockets: Vec<Socket>, listeners: TcpListeners) -> Self {
        Self {
            patience: Patience::new(shared.config.busy_poll),
            queue_share: QueueShare::new(
                sockets.iter().map(Socket::receive_buffer).max().unwrap_or_default(),
            ),
            tcp: Tcp::new(shared.clone(), listeners),
            recv_buf: vec![0; SLAB * SLABS],
            send_buf: vec![0; MAX_BATCH],
            shared,
            sockets,
            peers: Vec::new(),
            live: 0,
            free: Vec::new(),
            routes: Routes::default(),
            timers: Timers::default(),
            gathering: Gathering::default(),
            relays: Relays::default(),
            newcomers: Queued::default(),
            concerned: Vec::new(),
            spare: Spare::default(),
            blocked: Blocked::default(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            sleep_until: None,
            closing: false,
        }
    }

    async fn run(mut self) {
        loop {
            let more = self.turn();
            self.shared.held.set(self.live, self.timers.len(), self.routes.len() + self.tcp.len());
            self.shared.watch.set_connections(self.live);
            if self.is_done() {
                break;
            }
            if more {
                // Handles and other tasks on this thread come first.
                tokio::task::yield_now().await;
            } else {
                self.wait().await;
            }
        }
    }

    /// One round of everything. Returns whether there is more to do at once.
    fn turn(&mut self) -> bool {
        let now = now();
        self.queue_share.tick(now);
        let mut more = false;
        for socket in 0..self.sockets.len() {
            more |= self.receive(socket, now);
        }
        more |= self.receive_tcp(now);
        more |= self.receive_streams(now);
        self.take_commands(now);
        let mut due = std::mem::take(&mut self.spare.peers);
        self.timers.take_due(now, &mut due);
        for peer in due.drain(..) {
            if let Some(entry) = &self.peers[peer] {
                entry.shared.lock().peer.handle_timeout(now);
                self.concern(peer);
            }
        }
        self.flush_blocked();
        self.gather(now);
        let mut concerned = std::mem::replace(&mut self.concerned, due);
        for peer in concerned.drain(..) {
            more |= self.serve(peer, now);
        }
        self.spare.peers = concerned;
        more | self.flush_relays(now)
    }

    /// Asks STUN servers, and does what relays want done. What a socket has no room for is lost, and asked again.
    fn gather(&mut self, now: Instant) {
        self.drive_relays(now);
        self.gathering.relays_settled(now, self.relays.is_settled(now));
        if self.live == 0 {
            self.gathering.clear();
        } else if self.gathering.poll_timeout().is_some_and(|at| at <= now) {
            self.gathering.handle_timeout(now);
            for path in self.gathering.take_silent() {
                self.relays.doubt(now, path);
            }
        }
        for (path, mapped) in self.gathering.take_news() {
            for entry in self.peers.iter().flatten().filter(|entry| !entry.shared.relay_only) {
                let mut core = entry.shared.lock();
                // Only those that have gathered; others are told when they do.
                if core.hosts.is_some() {
                    gathering::tell(&entry.shared, &mut core, now, path, mapped);
                    drop(core);
                    entry.shared.touch();
                }
            }
        }
        let mut request = [0; 64];
        while let Some((path, len)) = self.gathering.poll_transmit(now, &mut request) {
            if let Some(socket) = self.sockets.iter().find(|socket| socket.is_source_of(path.local))
                && let Err(error) = socket.send(path, &request[..len], None)
            {
                tracing::debug!(%error, server = %path.remote, "send");
            }
        }
    }

    fn concern(&mut self, peer: usize) {
        if let Some(Some(entry)) = self.peers.get_mut(peer)
            && !entry.concerned
        {
            entry.concerned = true;
            self.concerned.push(peer);
        }
    }

    // ---- in ----

    /// Takes what has arrived on a socket. Returns whether there may be more.
    fn receive(&mut self, socket: usize, now: Instant) -> bool {
        let mut buf = std::mem::take(&mut self.recv_buf);
        let mut metas = [RecvMeta::default(); SLABS];
        let mut more = true;
        for _ in 0..RECEIVES_PER_TURN {
            let filled = {
                let mut chunks = buf.chunks_mut(SLAB);
                let mut slabs: [IoSliceMut<'_>; SLABS] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
                match self.sockets[socket].recv(&mut slabs, &mut metas) {
                    Ok((filled, maybe_more)) => {
                        more = maybe_more;
                        filled
                    }
                    Err(error) => {
                        if error.kind() != io::ErrorKind::WouldBlock {
                            // ICMP errors of datagrams that we sent; ICE and SCTP see the loss themselves.
                            tracing::debug!(%error, "receive");
                            continue;
                        }
                        more = false;
                        break;
                    }
                }
            };
            let taken = metas[..filled].iter().map(|meta| meta.len).sum::<usize>();
            // The clock is not read for every little message.
            if taken >= COUNTED_FROM
                && let Some(stamp) = metas[..filled].first().and_then(|meta| meta.timestamp)
            {
                self.queue_share.waited(taken, time_of_day().saturating_sub(stamp));
            }
            for (meta, slab) in metas[..filled].iter().zip(buf.chunks_mut(SLAB)) {
                self.receive_slab(socket, now, meta, slab);
            }
            if !more {
                break;
            }
        }
        self.recv_buf = buf;
        more
    }

    fn receive_slab(&mut self, socket: usize, now: Instant, meta: &RecvMeta, slab: &mut [u8]) {
        let Some(data) = slab.get_mut(..meta.len) else { return };
        if meta.stride > 0 {
            let path = self.sockets[socket].path(meta);
            if let Some(relay) = self.relays.of_server(socket, path.remote) {
                self.receive_from_relay(relay, now, path, data, meta.stride);
                return;
            }
            self.deliver(Link::Socket(socket), now, path, data, meta.stride);
        }
    }

    // ---- commands ----

    fn take_commands(&mut self, now: Instant) {
        let (added, mut touched, close, gather, resolved, network, connected, servers_changed) = {
            let mut commands = self.shared.commands();
            (
                std::mem::take(&mut commands.added),
                std::mem::replace(&mut commands.touched, std::mem::take(&mut self.spare.touched)),
                commands.close,
                std::mem::take(&mut commands.gather),
                commands.resolved.take(),
                commands.network.take(),
                std::mem::take(&mut commands.connected),
                std::mem::take(&mut commands.servers_changed),
            )
        };
        for shared in added {
            let (mut ufrags, ufrags_version) = known_by(&shared.lock().peer);
            if ufrags.iter().any(|ufrag| self.routes.of_ufrag(ufrag).is_some()) {
                // Made by hand, or one peer accepted twice: it would take the datagrams of the other one.
                tracing::debug!("another connection has this ufrag");
                shared.lock().peer.abort(now, "ufrag in use");
                ufrags.clear();
            }
            let entry = Entry {
                shared: shared.clone(),
                ufrags: ufrags.clone(),
                ufrags_version,
                deadline: None,
                concerned: false,
                waits_for_room: false,
                received: Received::default(),
            };
            let peer = match self.free.pop() {
                Some(peer) => {
                    self.peers[peer] = Some(entry);
                    peer
                }
                None => {
                    self.peers.push(Some(entry));
                    self.peers.len() - 1
                }
            };
            self.live += 1;
            shared.index.store(peer, Ordering::Release);
            ufrags.iter().for_each(|ufrag| self.routes.add_ufrag(ufrag, peer));
            self.concern(peer);
        }
        for shared in touched.drain(..) {
            shared.clear_touched();
            self.concern(shared.index.load(Ordering::Acquire));
        }
        self.spare.touched = touched;
        if let Some(change) = network {
            self.network_changed(now, &change);
        }
        if servers_changed {
            self.gathering.servers_changed();
            self.relays.servers_changed();
        }
        for connected in connected {
            self.relay_connected(now, connected);
        }
        if let Some(resolved) = resolved.filter(|_| self.gathering.is_up_to_date(&self.shared)) {
            self.relays.resolved(&self.shared, &self.sockets, now, &resolved);
            self.gathering.relays_settled(now, self.relays.is_settled(now));
            self.gathering.resolved(&self.shared, now, resolved);
        }
        for wanted in gather {
            let index = wanted.peer.index.load(Ordering::Acquire);
            // It may have ended meanwhile, and its place be another's.
            let is_it = |entry: &Entry| Arc::ptr_eq(&entry.shared, &wanted.peer);
            if self.peers.get(index).and_then(Option::as_ref).is_some_and(is_it) {
                self.relays.want(&self.shared, &self.sockets, now, index, &wanted.peer);
                self.gathering.relays_settled(now, self.relays.is_settled(now));
                self.gathering.want(&self.shared, now, wanted);
            }
        }
        if close && !self.closing {
            self.closing = true;
            self.shared.newcomers.close();
            for peer in 0..self.peers.len() {
                if let Some(entry) = &self.peers[peer] {
                    entry.shared.lock().peer.close(now);
                    self.concern(peer);
                }
            }
        }
    }

    /// The machine has other addresses than before.
    fn network_changed(&mut self, now: Instant, change: &NetworkChange) {
        self.gathering.forget_gone(change);
        self.relays.network_changed(now, change);
        for peer in 0..self.peers.len() {
            let Some(entry) = &self.peers[peer] else { continue };
            let shared = entry.shared.clone();
            if shared.relay_only {
                continue;
            }
            let new = change.apply(&shared, now);
            if !new.is_empty() && !self.shared.ice_servers().is_empty() {
                self.gathering.want(&self.shared, now, Wanted { peer: shared, bases: new });
            }
            self.concern(peer);
        }
    }

    // ---- out ----

    /// Sends what a connection has to send, tells its events, and notes its deadline. Returns whether there is more.
    fn serve(&mut self, peer: usize, now: Instant) -> bool {
        let Some(Some(entry)) = self.peers.get_mut(peer) else { return false };
        entry.concerned = false;
        let shared = entry.shared.clone();
        let (limit, room) = (self.max_segments(), self.batch_room());
        let held_up = self.is_held_up(peer, now);
        // A connection that waits for room, at a socket or in a server's stream, goes on by itself.
        let mut more = !held_up && !self.is_held(peer);
        let batches = if more { BATCHES_PER_TURN } else { 0 };
        for _ in 0..batches {
            let transmit = shared.lock().peer.poll_transmit(now, limit, &mut self.send_buf[..room]);
            let Some(transmit) = transmit else {
                more = false;
                break;
            };
            // First, as a link over TCP is one that connects.
            if shared.relay_only && !self.is_relayed(transmit.path) {
                tracing::debug!(local = %transmit.path.local, "not sent but through a relay");
                continue;
            }
            let Some(link) = self.link_of(peer, transmit.path, now) else {
                tracing::debug!(local = %transmit.path.local, "nothing leads out on this path any more");
                shared.lock().peer.connection_closed(now, transmit.path);
                continue;
            };
            if !matches!(link, Link::Tcp(_)) {
                self.claim(link, transmit.path.remote, peer, now);
            }
            if self.has_no_room(link) {
                // A check, as data is not asked for then: it is repeated.
                continue;
            }
            match self.send(link, now, peer, transmit) {
                Sent::Away => {}
                Sent::Blocked => {
                    self.wait_for_room(peer);
                    more = false;
                    break;
                }
                Sent::Held => {
                    more = false;
                    break;
                }
                Sent::TooLarge => {
                    let size = transmit.segment_size.unwrap_or(transmit.size);
                    shared.lock().peer.datagrams_refused(now, size);
                }
            }
        }
        let Some(Some(entry)) = self.peers.get_mut(peer) else { return false };
        let (deadline, finished) = {
            let mut core = shared.lock();
            more |= shared.dispatch(&mut core);
            if entry.ufrags_version != core.peer.local_ufrags_version() {
                entry.ufrags.iter().for_each(|ufrag| self.routes.remove_ufrag(ufrag));
                (entry.ufrags, entry.ufrags_version) = known_by(&core.peer);
                entry.ufrags.iter().for_each(|ufrag| self.routes.add_ufrag(ufrag, peer));
            }
            (core.peer.poll_timeout(), core.peer.is_finished())
        };
        if finished {
            // A capture ends with what it captures.
            shared.lock().peer.set_tap(None);
            self.forget(peer, now);
            self.tcp.forget(peer, now);
            shared.finished.set();
            return false;
        }
        if held_up {
            self.wait_for_room(peer);
        }
        // What it would send at once has to wait, and must not keep us awake.
        let deadline = deadline.map(|at| if held_up { at.max(now + HELD_UP_FOR) } else { at });
        if let Some(Some(entry)) = self.peers.get_mut(peer) {
            self.timers.set(peer, entry.deadline, deadline);
            entry.deadline = deadline;
        }
        if more {
            self.concern(peer);
        }
        more
    }

    fn forget(&mut self, peer: usize, now: Instant) {
        if let Some(entry) = self.peers[peer].take() {
            self.live -= 1;
            self.timers.set(peer, entry.deadline, None);
            entry.ufrags.iter().for_each(|ufrag| self.routes.remove_ufrag(ufrag));
            let routes: Vec<_> = self.routes.of_peer(peer).collect();
            self.routes.forget(peer);
            self.forget_relayed(peer, now, &routes);
            self.free.push(peer);
        }
    }

    // ---- waiting ----

    /// Until there is something to do.
    async fn wait(&mut self) {
        if self.patience.begins() {
            if self.is_ready().await {
                return;
            }
            let begun = now();
            let mut at = begun;
            let deadline = self.next_deadline();
            while self.patience.lasts(at - begun) && deadline.is_none_or(|deadline| at < deadline) {
                // Handles and other tasks on this thread come first; then tokio looks at the sockets.
                tokio::task::yield_now().await;
                if self.is_ready().await {
                    self.patience.pays();
                    return;
                }
                at = now();
            }
        }
        poll_fn(|cx| self.poll_wait(cx)).await;
    }

    /// Whether there is something to do now. Who asks has to do it, if so.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.poll_ready(cx).is_ready())).await
    }

    /// When something is to be done, whatever happens.
    fn next_deadline(&self) -> Option<Instant> {
        let own = [self.timers.next(), self.gathering.poll_timeout()];
        own.into_iter().chain([self.relays.poll_timeout(), self.tcp.poll_timeout()]).flatten().min()
    }

    /// Until there is something to do, or it is time for something.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(next) = self.next_deadline() else {
            self.sleep_until = None;
            return Poll::Pending;
        };
        if self.sleep_until != Some(next) {
            self.sleep_until = Some(next);
            self.sleep.as_mut().reset(next.into());
        }
        self.sleep.as_mut().poll(cx)
    }

    /// Whether there is something to do, whatever the time.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for socket in &self.sockets {
            if socket.poll_readable(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        if self.poll_streams(cx).is_ready() {
            return Poll::Ready(());
        }
        for socket in self.blocked.sockets() {
            if self.sockets[socket].poll_writable(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        if self.shared.take_woken(cx.waker()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn is_done(&self) -> bool {
        if self.live > 0 || self.tcp.has_last_words() || !self.relays.is_idle() {
            return false;
        }
        let commands = self.shared.commands();
        (commands.close || commands.orphaned) && commands.added.is_empty()
    }
}

impl Drop for Driver {
    /// Also when the runtime goes away: whoever waits on a handle must hear of the end.
    fn drop(&mut self) {
        let added = {
            let mut commands = self.shared.commands();
            commands.ended = true;
            commands.touched.clear();
            commands.gather.clear();
            std::mem::take(&mut commands.added)
        };
        self.shared.newcomers.close();
        let known = self.peers.drain(..).flatten().map(|entry| entry.shared);
        for shared in known.chain(added) {
            let mut core = shared.lock();
            core.peer.abort(now(), "endpoint gone");
            shared.dispatch(&mut core);
            drop(core);
            shared.finished.set();
        }
        self.shared.finished.set();
    }
}
