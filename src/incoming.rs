//! Peers that nobody has announced: a first Binding request with a ufrag that no connection has.
//!
//! ```text
//!   datagram ─▶ a ufrag of ours? ─ yes ─▶ its connection
//!                    │ no
//!                    ▼  driver/newcomers.rs, nothing is kept until the last step
//!               queued lately? ─▶ what is its password? ─▶ room? ─▶ MESSAGE-INTEGRITY ─▶ queue ─▶ Endpoint::accept
//! ```

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sinnet_peer::{Agreement, Credentials, DtlsRole, Path, PeerIdentity, Protocol, TcpType};
use tokio::sync::Notify;

use crate::config::PeerConfig;
use crate::endpoint::{Endpoint, EndpointHandle};
use crate::error::Error;
use crate::ice_server::IceTransportPolicy;
use crate::peer_connection::PeerConnection;
use crate::shared::now;

/// Who asks this long for nothing is not there any more: a browser's first checks last for about as long.
const STALE: Duration = Duration::from_secs(10);

/// How long ICE may take with a peer that has shown itself already, where [`PeerConfig::ice_patience`] doesn't say.
const PATIENCE: Duration = Duration::from_secs(5);

type PasswordOf = dyn for<'a> Fn(&UnknownPeer<'a>) -> Option<Cow<'a, str>> + Send + Sync;

/// Has an [`Endpoint`] take peers that it has never heard of: [`Endpoint::accept`].
///
/// ```
/// use sinnet::{EndpointConfig, IncomingConfig};
///
/// // libp2p's WebRTC Direct: the password is the ufrag.
/// let incoming = IncomingConfig::new(|first| {
///     first.local_ufrag.starts_with("libp2p+webrtc+v1/").then(|| first.local_ufrag.into())
/// });
/// let config = EndpointConfig { incoming: Some(incoming), ..Default::default() };
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct IncomingConfig {
    pub(crate) password: Arc<PasswordOf>,
    /// Peers that wait to be accepted or, accepted, to be connected, at the most; 256 by default. Requests of others are
    /// dropped, and counted; they come again.
    pub max_waiting: usize,
    /// The same for one IPv4 address or one IPv6 network of 64 bits; 16 by default. A single host can't keep the others out.
    pub max_waiting_per_address: usize,
}

impl IncomingConfig {
    /// `password` is asked for our password when a request names a ufrag that no connection has; `None` ignores the request.
    /// It is called by the endpoint's task for each such datagram that is not a repetition, so it must be quick and never
    /// wait or panic. Nothing is known of the sender yet, and **the address may be a false one**.
    pub fn new(
        password: impl for<'a> Fn(&UnknownPeer<'a>) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        Self { password: Arc::new(password), max_waiting: 256, max_waiting_per_address: 16 }
    }
}

impl fmt::Debug for IncomingConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingConfig")
            .field("max_waiting", &self.max_waiting)
            .field("max_waiting_per_address", &self.max_waiting_per_address)
            .finish_non_exhaustive()
    }
}

/// What a request says that no connection is known for. Both ufrags are of 4 to 256 characters that RFC 8839 §5.4 allows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UnknownPeer<'a> {
    /// Our ufrag: the first part of its USERNAME.
    pub local_ufrag: &'a str,
    /// The peer's: the second part.
    pub remote_ufrag: &'a str,
    /// The address of ours that it came to.
    pub local_addr: SocketAddr,
    /// Where it came from.
    pub remote_addr: SocketAddr,
}

/// What has become of requests with unknown ufrags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct IncomingStats {
    /// Came to the queue of [`Endpoint::accept`].
    pub queued: u64,
    /// Ignored, as [`IncomingConfig::new`]'s function knew no password.
    pub ignored: u64,
    /// Dropped, as the sender doesn't know the password.
    pub bad_integrity: u64,
    /// Dropped, as the same was queued from there within the last two seconds.
    pub repeated: u64,
    /// Dropped because of [`IncomingConfig::max_waiting`].
    pub no_room: u64,
    /// Dropped because of [`IncomingConfig::max_waiting_per_address`].
    pub no_room_for_address: u64,
}

/// A peer that has sent a first Binding request with the right password. Dropping it ignores the peer, which will ask again.
pub struct Incoming {
    request: Request,
    endpoint: Arc<EndpointHandle>,
}

/// What is kept of a request.
pub(crate) struct Request {
    pub(crate) path: Path,
    pub(crate) local: Credentials,
    pub(crate) remote_ufrag: String,
    pub(crate) datagram: Vec<u8>,
    pub(crate) at: Instant,
    pub(crate) place: Place,
}

impl Incoming {
    /// Our ufrag, by which it calls us.
    pub fn local_ufrag(&self) -> &str {
        &self.request.local.ufrag
    }

    /// Its own.
    pub fn remote_ufrag(&self) -> &str {
        &self.request.remote_ufrag
    }

    /// The address of ours that it came to.
    pub fn local_addr(&self) -> SocketAddr {
        self.request.path.local
    }

    /// Where it came from. **Not proven before the connection is up.**
    pub fn remote_addr(&self) -> SocketAddr {
        self.request.path.remote
    }

    /// The agreement with our credentials and its ufrag filled in; `remote_pwd` is its password. We are the DTLS server and
    /// ICE's controlled side, as it is the peer that calls.
    pub fn agreement(&self, remote_pwd: impl Into<String>, identity: PeerIdentity) -> Agreement {
        let remote = Credentials { ufrag: self.request.remote_ufrag.clone(), pwd: remote_pwd.into() };
        Agreement::new(self.request.local.clone(), remote, DtlsRole::Server, identity)
    }

    /// Makes a connection of it, with the address it came to as the only candidate. `agreement` has to have our credentials as
    /// [`Incoming::agreement`] has. Without [`PeerConfig::ice_patience`] the peer has 5 s to answer our checks.
    ///
    /// # Errors
    /// [`Error::Agreement`] when it can't be used; [`Error::OtherPeer`] when it doesn't fit the request; [`Error::NoRelay`] with
    /// [`IceTransportPolicy::Relay`], as it is our own address that was called.
    pub fn accept(self, config: PeerConfig, agreement: Agreement) -> Result<PeerConnection, Error> {
        let policy = config.ice_transport_policy;
        if policy == IceTransportPolicy::Relay {
            return Err(Error::NoRelay);
        }
        let Request { path, mut datagram, place, .. } = self.request;
        let config = PeerConfig { ice_patience: config.ice_patience.or(Some(PATIENCE)), ..config };
        let endpoint = Endpoint(self.endpoint);
        let mut peer = endpoint.core(config)?;
        let now = now();
        peer.agree(now, agreement)?;
        match path.protocol {
            Protocol::Udp => peer.add_local_host(now, path.local),
            Protocol::Tcp => peer.add_local_tcp(now, path.local, TcpType::Passive),
        };
        peer.end_of_local_candidates(now);
        if !peer.handle_datagram(now, path, &mut datagram) {
            return Err(Error::OtherPeer);
        }
        endpoint.add(peer, Some(place), policy)
    }

    /// Leaves it alone; the same as dropping it.
    pub fn ignore(self) {}
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("local_ufrag", &self.local_ufrag())
            .field("remote_ufrag", &self.remote_ufrag())
            .field("remote_addr", &self.remote_addr())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Waits for a peer that nobody has announced; `None` when the endpoint is closed, or was made without
    /// [`EndpointConfig::incoming`](crate::EndpointConfig::incoming). Peers that gave up waiting are left out.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken nothing.
    pub async fn accept(&self) -> Option<Incoming> {
        let shared = &self.0.shared;
        shared.config.incoming.as_ref()?;
        loop {
            let notified = shared.newcomers.notify.notified();
            if let Some(request) = shared.newcomers.next(now()) {
                return Some(Incoming { request, endpoint: self.0.clone() });
            }
            if shared.commands().is_over() {
                return None;
            }
            notified.await;
        }
    }

    /// What has become of requests with unknown ufrags.
    pub fn incoming_stats(&self) -> IncomingStats {
        self.0.shared.newcomers.lock().stats
    }
}

/// Those who wait, between the driver and [`Endpoint::accept`].
#[derive(Default)]
pub(crate) struct Newcomers {
    state: Mutex<Waiting>,
    notify: Notify,
}

#[derive(Default)]
pub(crate) struct Waiting {
    queue: VecDeque<Request>,
    /// Places taken, in all and by host.
    taken: usize,
    by_host: HashMap<IpAddr, usize>,
    pub(crate) stats: IncomingStats,
}

impl Newcomers {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a peer at this address, if there is one. Counts it if not.
    pub(crate) fn place(self: &Arc<Self>, config: &IncomingConfig, remote: IpAddr) -> Option<Place> {
        let mut state = self.lock();
        if state.taken >= config.max_waiting {
            state.stats.no_room += 1;
            return None;
        }
        let host = host(remote);
        let taken = state.by_host.get(&host).copied().unwrap_or(0);
        if taken >= config.max_waiting_per_address {
            state.stats.no_room_for_address += 1;
            return None;
        }
        state.by_host.insert(host, taken + 1);
        state.taken += 1;
        Some(Place { newcomers: self.clone(), host })
    }

    pub(crate) fn push(&self, request: Request) {
        let mut state = self.lock();
        state.stats.queued += 1;
        state.queue.push_back(request);
        drop(state);
        self.notify.notify_one();
    }

    fn next(&self, now: Instant) -> Option<Request> {
        loop {
            // The guard goes before a stale request, whose place is given back under the same lock.
            let request = self.lock().queue.pop_front()?;
            if now.saturating_duration_since(request.at) < STALE {
                return Some(request);
            }
        }
    }

    /// The endpoint is closing: nobody is taken any more, and whoever waits hears of it.
    pub(crate) fn close(&self) {
        let queue = std::mem::take(&mut self.lock().queue);
        drop(queue);
        self.notify.notify_waiters();
    }
}

/// A place among those who wait; given back when dropped.
pub(crate) struct Place {
    newcomers: Arc<Newcomers>,
    host: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.newcomers.lock();
        state.taken -= 1;
        if let Some(taken) = state.by_host.get_mut(&self.host) {
            *taken -= 1;
            if *taken == 0 {
                state.by_host.remove(&self.host);
            }
        }
    }
}

/// What one host has: an IPv4 address, or an IPv6 network of 64 bits.
pub(crate) fn host(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
