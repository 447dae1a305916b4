//! ICE over TCP (RFC 6544): connections that carry datagrams in frames.
//!
//! ```text
//!  listener ─ accept ─▶ stranger ─ a Binding request that a connection takes ─▶ its peer's ─ the peer ends ─▶ gone ─▶ closed
//!                          │ 5 s, or anything else first                          ▲  │ idle for 60 s, or broken
//!                          ▼                                                      │  ▼
//!                        closed      the first datagram for an active pair ─ connecting ─ 10 s, or refused ─▶ closed
//! ```
//!
//! A TCP connection belongs to one peer, so its frames need no routes. All of them are driven by the endpoint's task; each has
//! a waker of its own, which puts it on a list, so that thousands of quiet ones cost nothing.

mod framing;
mod listener;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sinnet_peer::{Path, binding_request_local_ufrag};

pub use self::listener::IceTcpStats;
use self::listener::Listener;
pub(crate) use self::listener::{TcpListeners, open_listeners};
use self::stream::{Owner, Ready, Stream, Wakes};
use super::Driver;
use crate::incoming::host;
use crate::shared::EndpointShared;

/// How long a connection that was accepted may take to show whose it is.
const STRANGER_FOR: Duration = Duration::from_secs(5);

/// Connections that have not, at the most. The oldest makes room, so that those who say nothing keep nobody out for long. A process
/// has 1024 file descriptors as a rule, and strangers leave most of them.
const MAX_STRANGERS: usize = 256;

/// The same of one IPv4 address or IPv6 network of 64 bits. One more is refused.
const MAX_STRANGERS_PER_HOST: usize = 64;

/// The largest first frame: a Binding request, of which ours have 352 bytes at the most.
const MAX_FIRST_FRAME: usize = 1200;

/// How long to wait for a connection that we open. SYNs are repeated after 1, 3 and 7 s.
const CONNECTING_FOR: Duration = Duration::from_secs(10);

/// Connections of one peer, whoever has opened them.
const MAX_PER_PEER: usize = 16;

/// The same of those that we are opening, for all peers. One more is not opened, and its check fails.
const MAX_CONNECTING: usize = 256;

/// A connection on which nothing has come or gone for so long is that of a pair that is not in use: those in use have consent checks
/// every few seconds (RFC 7675).
const IDLE_FOR: Duration = Duration::from_secs(60);

/// How long the last words of a peer that has ended may take, and the other side's end after them.
const ENDING_FOR: Duration = Duration::from_secs(1);

/// How often the times above are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Frames taken under one lock of a connection, so that its handles get their turn: a read may have 131,072 empty ones.
const FRAMES_PER_LOCK: usize = 256;

/// Reads a turn from one connection, and connections accepted by one listener, so that the others get their turn.
const READS_PER_TURN: usize = 4;
const ACCEPTS_PER_TURN: usize = 32;

/// The port of a candidate that has none before it connects (RFC 6544 §4.1).
pub(crate) const DISCARD: u16 = 9;

pub(super) struct Tcp {
    shared: Arc<EndpointShared>,
    ready: Arc<Ready>,
    listeners: Vec<Listener>,
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    live: usize,
    connecting: usize,
    /// Accepted, and nobody's as yet; the oldest first.
    strangers: Vec<usize>,
    strangers_by_host: HashMap<IpAddr, usize>,
    by_peer: HashMap<usize, Vec<usize>>,
    sweep_at: Option<Instant>,
}

impl Tcp {
    pub(super) fn new(shared: Arc<EndpointShared>, listeners: TcpListeners) -> Self {
        let ready = Ready::new(shared.clone());
        let listeners: Vec<_> = listeners
            .0
            .into_iter()
            .enumerate()
            .map(|(key, io)| Listener::new(io, Wakes::new(key, &ready)))
            .collect();
        Self {
            shared,
            ready,
            listeners,
            streams: Vec::new(),
            free: Vec::new(),
            live: 0,
            connecting: 0,
            strangers: Vec::new(),
            strangers_by_host: HashMap::new(),
            by_peer: HashMap::new(),
            sweep_at: None,
        }
    }

    /// Connections of all kinds.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Whether peers that have ended still have something to send, or the other side hasn't ended yet.
    pub(super) fn has_last_words(&self) -> bool {
        self.live > 0 && self.streams.iter().flatten().any(|stream| stream.owner == Owner::Gone)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.sweep_at
    }

    fn stats(&self, count: impl FnOnce(&mut IceTcpStats)) {
        count(&mut self.shared.tcp_stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn stream(&mut self, key: usize) -> Option<&mut Stream> {
        self.streams.get_mut(key)?.as_mut()
    }

    /// Wakers know listeners and connections by one number: listeners come first.
    fn waker_of(&self, key: usize) -> Arc<Wakes> {
        Wakes::new(self.listeners.len() + key, &self.ready)
    }

    fn insert(&mut self, now: Instant, make: impl FnOnce(Arc<Wakes>) -> Stream) -> usize {
        let key = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        let stream = make(self.waker_of(key));
        if let Some(slot) = self.streams.get_mut(key) {
            *slot = Some(stream);
        }
        self.live += 1;
        self.sweep_at.get_or_insert(now + SWEEP_EVERY);
        key
    }

    /// What leads to a peer's end of this path: a connection that is there, or one that is opened now.
    pub(super) fn link_of(&mut self, peer: usize, path: Path, now: Instant) -> Option<usize> {
        let owned = self.by_peer.get(&peer);
        let is_it = |key: &usize| {
            self.streams.get(*key).and_then(Option::as_ref).is_some_and(|stream| stream.path == path)
        };
        if let Some(key) = owned.and_then(|keys| keys.iter().copied().find(is_it)) {
            return Some(key);
        }
        // A peer that was accepted after its first request had come.
        if let Some(key) = self.strangers.iter().copied().find(is_it) {
            return self.own(key, peer).then_some(key);
        }
        (path.local.port() == DISCARD).then(|| self.connect(peer, path, now)).flatten()
    }

    fn connect(&mut self, peer: usize, path: Path, now: Instant) -> Option<usize> {
        // What browsers do (libwebrtc's VerifyCandidate): nobody has us knock at the doors of other services.
        let is_allowed = path.remote.port() >= 1024 || matches!(path.remote.port(), 80 | 443);
        let has_room = self.by_peer.get(&peer).is_none_or(|keys| keys.len() < MAX_PER_PEER);
        if !is_allowed || !has_room || self.connecting >= MAX_CONNECTING {
            self.stats(|stats| stats.not_opened += 1);
            return None;
        }
        self.connecting += 1;
        let key = self.insert(now, |wakes| Stream::connect(path, peer, now, wakes));
        self.by_peer.entry(peer).or_default().push(key);
        tracing::debug!(remote = %path.remote, "TCP connection begun");
        Some(key)
    }

    /// A stranger has shown whose it is.
    fn own(&mut self, key: usize, peer: usize) -> bool {
        let keys = self.by_peer.entry(peer).or_default();
        if keys.len() >= MAX_PER_PEER {
            return false;
        }
        keys.push(key);
        self.no_stranger(key);
        if let Some(stream) = self.stream(key) {
            stream.owner = Owner::Peer(peer);
        }
        true
    }

    fn no_stranger(&mut self, key: usize) {
        let Some(at) = self.strangers.iter().position(|stranger| *stranger == key) else { return };
        self.strangers.remove(at);
        let Some(ip) = self.stream(key).map(|stream| host(stream.path.remote.ip())) else { return };
        if let Some(count) = self.strangers_by_host.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.strangers_by_host.remove(&ip);
            }
        }
    }

    /// Sends a batch. What has no room is lost.
    pub(super) fn send(&mut self, key: usize, contents: &[u8], stride: usize, now: Instant) {
        let Some(stream) = self.stream(key) else { return };
        stream.used = now;
        let lost = stream.send(contents, stride);
        if lost > 0 {
            self.stats(|stats| stats.datagrams_lost += lost);
        }
    }

    /// The peer has ended: what waits for it is still sent.
    pub(super) fn forget(&mut self, peer: usize, now: Instant) {
        for key in self.by_peer.remove(&peer).unwrap_or_default() {
            match self.stream(key) {
                Some(stream) if stream.is_connecting() => drop(self.remove(key)),
                Some(stream) => stream.finish(now),
                None => {}
            }
        }
    }

    /// Closes a connection. Gives what it was.
    fn remove(&mut self, key: usize) -> Option<Stream> {
        self.no_stranger(key);
        let stream = self.streams.get_mut(key)?.take()?;
        if let Owner::Peer(peer) = stream.owner
            && let Some(keys) = self.by_peer.get_mut(&peer)
        {
            keys.retain(|owned| *owned != key);
            if keys.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        self.connecting -= usize::from(stream.is_connecting());
        self.free.push(key);
        self.live -= 1;
        Some(stream)
    }

    /// Takes the connections that wait at a listener. Returns whether there may be more.
    fn accept(&mut self, at: usize, now: Instant) -> bool {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some((io, path)) = self.listeners.get_mut(at).and_then(|listener| listener.accept(now))
            else {
                return false;
            };
            let ip = host(path.remote.ip());
            let of_host = self.strangers_by_host.get(&ip).copied().unwrap_or(0);
            if of_host >= MAX_STRANGERS_PER_HOST {
                self.stats(|stats| stats.refused += 1);
                continue;
            }
            if self.strangers.len() >= MAX_STRANGERS {
                let oldest = self.strangers[0];
                self.remove(oldest);
                self.stats(|stats| stats.strangers_closed += 1);
            }
            let key = self.insert(now, |wakes| Stream::accepted(io, path, now, wakes));
            self.strangers.push(key);
            self.strangers_by_host.insert(ip, of_host + 1);
            self.stats(|stats| stats.accepted += 1);
            if let Some(stream) = self.stream(key) {
                stream.wakes.list();
            }
        }
        true
    }

    /// Connections whose time is over.
    fn overdue(&self, now: Instant) -> Vec<usize> {
        let over = |stream: &Stream| {
            let since = now.saturating_duration_since(stream.since);
            match stream.owner {
                Owner::Nobody => since >= STRANGER_FOR,
                Owner::Gone => since >= ENDING_FOR,
                Owner::Peer(_) if stream.is_connecting() => since >= CONNECTING_FOR,
                Owner::Peer(_) => now.saturating_duration_since(stream.used) >= IDLE_FOR,
            }
        };
        let streams = self.streams.iter().enumerate();
        streams.filter(|(_, stream)| stream.as_ref().is_some_and(over)).map(|(key, _)| key).collect()
    }
}

impl Driver {
    /// Reads from connections that have something, accepts new ones and closes those whose time is over. Returns whether there is
    /// more.
    pub(super) fn receive_tcp(&mut self, now: Instant) -> bool {
        if self.tcp.sweep_at.is_some_and(|at| at <= now) {
            for key in self.tcp.overdue(now) {
                self.close_stream(key, now);
            }
            self.tcp.listeners.iter_mut().for_each(|listener| listener.handle_timeout(now));
            self.tcp.streams.iter_mut().flatten().for_each(|stream| stream.give_back(now));
            let wanted = self.tcp.live > 0 || self.tcp.listeners.iter().any(Listener::is_resting);
            self.tcp.sweep_at = wanted.then(|| now + SWEEP_EVERY);
        }
        let ready = self.tcp.ready.take();
        if ready.is_empty() {
            return false;
        }
        let mut buf = std::mem::take(&mut self.recv_buf);
        let listeners = self.tcp.listeners.len();
        let mut any = false;
        for key in ready {
            let wakes = match key.checked_sub(listeners) {
                None => {
                    let Some(wakes) = self.tcp.listeners.get(key).map(|listener| listener.wakes.clone())
                    else {
                        continue;
                    };
                    wakes.unlist();
                    let more = self.tcp.accept(key, now);
                    if self.tcp.listeners.get(key).is_some_and(Listener::is_resting) {
                        self.tcp.sweep_at.get_or_insert(now + SWEEP_EVERY);
                    }
                    more.then_some(wakes)
                }
                Some(key) => {
                    let Some(wakes) = self.tcp.stream(key).map(|stream| stream.wakes.clone()) else {
                        continue;
                    };
                    wakes.unlist();
                    self.read_stream(key, now, &mut buf).then_some(wakes)
                }
            };
            if let Some(wakes) = wakes {
                wakes.list();
                any = true;
            }
        }
        self.recv_buf = buf;
        any
    }

    /// Takes what has come on a connection. Returns whether there may be more.
    fn read_stream(&mut self, key: usize, now: Instant, buf: &mut [u8]) -> bool {
        let Some(stream) = self.tcp.stream(key) else { return false };
        let was_connecting = stream.is_connecting();
        let remote = stream.path.remote;
        let connected = stream.connected().and_then(|()| stream.flush());
        let has_connected = was_connecting && !stream.is_connecting();
        if has_connected {
            stream.used = now;
            self.tcp.connecting -= 1;
            self.tcp.stats(|stats| stats.opened += 1);
        }
        if let Err(error) = connected {
            if error.kind() != io::ErrorKind::WouldBlock {
                tracing::debug!(%error, %remote, "TCP connection not opened, or broken");
                self.close_stream(key, now);
            }
            return false;
        }
        for _ in 0..READS_PER_TURN {
            let Some(stream) = self.tcp.stream(key) else { return false };
            let filled = match stream.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!(%error, remote = %stream.path.remote, "TCP connection broken");
                    self.close_stream(key, now);
                    return false;
                }
                Ok(0) => {
                    self.close_stream(key, now);
                    return false;
                }
                Ok(filled) => filled,
            };
            stream.used = now;
            if !self.take_frames(key, now, &mut buf[..filled]) {
                self.close_stream(key, now);
                return false;
            }
        }
        true
    }

    /// Takes the frames that are there, and keeps the one that has only begun. False if the connection is none of ours.
    fn take_frames(&mut self, key: usize, now: Instant, bytes: &mut [u8]) -> bool {
        self.patience.has_received(bytes.len());
        let mut at = 0;
        loop {
            let Some(stream) = self.tcp.stream(key) else { return true };
            let (path, owner) = (stream.path, stream.owner);
            let Some(frame) = framing::first(&bytes[at..]) else { break };
            match owner {
                Owner::Gone => return true,
                Owner::Nobody => {
                    let datagram = &mut bytes[at + frame.start..at + frame.end];
                    at += frame.end;
                    if !self.take_first_frame(key, now, path, datagram) {
                        return false;
                    }
                }
                Owner::Peer(peer) => {
                    let Some(Some(entry)) = self.peers.get(peer) else { return false };
                    let shared = entry.shared.clone();
                    let mut core = shared.lock();
                    for _ in 0..FRAMES_PER_LOCK {
                        let Some(frame) = framing::first(&bytes[at..]) else { break };
                        core.peer.handle_datagram(now, path, &mut bytes[at + frame.start..at + frame.end]);
                        at += frame.end;
                    }
                    drop(core);
                    self.concern(peer);
                }
            }
        }
        let rest = &bytes[at..];
        let Some(stream) = self.tcp.stream(key) else { return true };
        if stream.owner == Owner::Nobody
            && framing::announced(rest).is_some_and(|length| length > MAX_FIRST_FRAME)
        {
            return false;
        }
        stream.keep(rest);
        true
    }

    /// What a stranger says first: a Binding request, by which a connection knows it, or which is shown to the application.
    fn take_first_frame(&mut self, key: usize, now: Instant, path: Path, datagram: &mut [u8]) -> bool {
        let Some(ufrag) = binding_request_local_ufrag(datagram) else { return false };
        let Some(peer) = self.routes.of_ufrag(ufrag) else {
            return !self.closing && self.newcomers.consider(&self.shared, now, path, datagram);
        };
        let Some(Some(entry)) = self.peers.get(peer) else { return false };
        if entry.shared.relay_only {
            return false;
        }
        let taken = entry.shared.lock().peer.handle_datagram(now, path, datagram);
        self.concern(peer);
        taken && self.tcp.own(key, peer)
    }

    /// Closes a connection, and tells its peer.
    fn close_stream(&mut self, key: usize, now: Instant) {
        let Some(stream) = self.tcp.remove(key) else { return };
        match stream.owner {
            Owner::Peer(peer) => {
                if let Some(Some(entry)) = self.peers.get(peer) {
                    entry.shared.lock().peer.connection_closed(now, stream.path);
                    self.concern(peer);
                }
            }
            Owner::Nobody => self.tcp.stats(|stats| stats.strangers_closed += 1),
            Owner::Gone => {}
        }
    }
}
