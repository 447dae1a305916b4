//! A TURN server on tokio: the sockets around [`sinnet_turn::Server`].
//!
//! Everything goes through one core behind one mutex, which is taken for each readiness of a socket and not held while
//! waiting. Sends never wait: what a socket or a connection has no room for is dropped, as on any network.

mod connections;

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};
use sinnet_turn::{
    AddressFamily, FiveTuple, MAX_OVERHEAD, RelayId, Server, ServerConfig, ServerEvent, ServerStats,
    Transport,
};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tracing::debug;

use crate::shared::now;
use connections::Connections;

/// The largest UDP payload.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken from one socket before others have a turn.
const BURST: usize = 64;
/// The kernel's buffer of a socket that clients send to: clients send in batches, and what has no room is lost.
const LISTENING_BUFFER: usize = 4 * 1024 * 1024;
/// The same of one relayed address.
const RELAYING_BUFFER: usize = 1024 * 1024;
/// Random ports tried for a relayed address.
const PORT_TRIES: usize = 32;
/// The longest realm, in bytes: with a longer one a challenge outgrows what the core sends, and nobody gets in.
const MAX_REALM: usize = 127;

/// Where a TURN server listens and relays, and how it behaves.
#[derive(Clone, Debug)]
pub struct TurnServerConfig {
    /// Users, secrets, quotas, rules. To [`ServerConfig::own_addresses`] all addresses of this machine are added;
    /// [`ServerConfig::dont_fragment`] is taken as false, for these sockets can't be told datagram by datagram.
    pub core: ServerConfig,
    /// Where to listen for datagrams.
    pub udp: Vec<SocketAddr>,
    /// Where to listen for connections.
    pub tcp: Vec<SocketAddr>,
    /// The addresses to relay from, one for each family that is relayed.
    pub relay: Vec<IpAddr>,
    /// What to announce for them, where a NAT in front maps addresses one to one: one for each family that differs.
    pub external: Vec<IpAddr>,
    /// The ports to relay from (RFC 8656 §7.2: 49152 to 65535, the default).
    pub ports: RangeInclusive<u16>,
    /// Connections at once. 1000 by default.
    pub max_connections: usize,
    /// Connections of one address (IPv6: of one /64) that have no allocation. 32 by default.
    pub max_connections_without_allocation: usize,
    /// How long a connection may be without an allocation, or take none of what is sent to it. 30 s by default.
    pub idle: Duration,
}

impl TurnServerConfig {
    /// Listens on `listen` for datagrams and connections, and relays from `relay`, which must be an address of this
    /// machine that peers can reach.
    pub fn new(core: ServerConfig, listen: SocketAddr, relay: IpAddr) -> Self {
        Self {
            core: ServerConfig { ipv4: relay.is_ipv4(), ipv6: relay.is_ipv6(), ..core },
            udp: vec![listen],
            tcp: vec![listen],
            relay: vec![relay],
            external: Vec::new(),
            ports: 49_152..=65_535,
            max_connections: 1000,
            max_connections_without_allocation: 32,
            idle: Duration::from_secs(30),
        }
    }
}

/// A TURN server. It ends when it is dropped.
#[derive(Debug)]
pub struct TurnServer {
    shared: Arc<Shared>,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    /// All tasks wait for its end.
    _alive: watch::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    config: TurnServerConfig,
    deadline: Notify,
    alive: watch::Receiver<()>,
}

#[derive(Debug)]
struct Inner {
    server: Server,
    listeners: HashMap<SocketAddr, Arc<UdpSocket>>,
    connections: Connections,
    relays: HashMap<RelayId, (Arc<UdpSocket>, AbortHandle)>,
    rng: StdRng,
    input: Vec<u8>,
    output: Vec<u8>,
    wake: Option<Instant>,
}

impl TurnServer {
    /// Opens the sockets and begins.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a configuration with which nobody could use the server: a realm of
    /// more than 127 bytes, neither users nor secrets, an unspecified address to announce. Else what the system said of an
    /// address, or that it has no randomness.
    pub async fn bind(mut config: TurnServerConfig) -> io::Result<Self> {
        check(&config).map_err(|what| io::Error::new(ErrorKind::InvalidInput, what))?;
        config.core.dont_fragment = false;
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let own = interfaces.iter().map(if_addrs::Interface::ip).chain(config.relay.iter().copied());
        config.core.own_addresses.extend(own.chain(config.external.iter().copied()));
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
        let mut rng = StdRng::from_seed(seed);
        #[expect(clippy::disallowed_methods, reason = "ephemeral credentials end at a time of day")]
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let server = Server::new(Arc::new(config.core.clone()), now(), unix_time, rng.random());
        let mut listeners = HashMap::new();
        for &addr in &config.udp {
            let socket = UdpSocket::bind(addr).await?;
            enlarge(SockRef::from(&socket), LISTENING_BUFFER);
            listeners.insert(socket.local_addr()?, Arc::new(socket));
        }
        let mut accepting = Vec::new();
        for &addr in &config.tcp {
            accepting.push(TcpListener::bind(addr).await?);
        }
        let udp = listeners.keys().copied().collect();
        let tcp = accepting.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let (keep, alive) = watch::channel(());
        let sockets: Vec<_> = listeners.values().cloned().collect();
        let inner = Inner {
            server,
            listeners,
            connections: Connections::default(),
            relays: HashMap::new(),
            rng,
            input: vec![0; MAX_DATAGRAM],
            output: vec![0; MAX_DATAGRAM + MAX_OVERHEAD],
            wake: None,
        };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), config, deadline: Notify::new(), alive });
        for socket in sockets {
            shared.spawn(listen(shared.clone(), socket));
        }
        for listener in accepting {
            shared.spawn(connections::accept(shared.clone(), listener));
        }
        shared.spawn(keep_time(shared.clone()));
        Ok(Self { shared, udp, tcp, _alive: keep })
    }

    /// Where it takes datagrams, with the ports that the system chose for 0.
    pub fn udp_addrs(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Where it takes connections.
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// What has been counted.
    pub fn stats(&self) -> ServerStats {
        self.shared.lock().server.stats()
    }

    /// Serves a stream that was accepted elsewhere, say inside of TLS, until it ends. The two addresses tell it from
    /// other streams. Does nothing when there are [`TurnServerConfig::max_connections`] already, or too many of its address
    /// that have [no allocation](TurnServerConfig::max_connections_without_allocation).
    pub async fn serve_stream<S>(&self, stream: S, client: SocketAddr, server: SocketAddr)
    where
        S: AsyncRead + AsyncWrite,
    {
        let tuple = FiveTuple { client, server, transport: Transport::Stream };
        connections::serve(&self.shared, stream, tuple).await;
    }
}

/// Asks for room for what comes. Systems give as much as they like.
fn enlarge(socket: SockRef<'_>, bytes: usize) {
    if let Err(error) = socket.set_recv_buffer_size(bytes) {
        debug!(%error, "receive buffer left as it is");
    }
}

/// What is wrong with it.
fn check(config: &TurnServerConfig) -> Result<(), &'static str> {
    if config.relay.iter().any(IpAddr::is_unspecified) && config.external.is_empty() {
        return Err("an unspecified address can't be announced to peers");
    }
    if config.core.realm.len() > MAX_REALM {
        return Err("the realm has more than 127 bytes");
    }
    if config.core.users.is_empty() && config.core.secrets.is_empty() {
        return Err("there are neither users nor secrets: nobody could log in");
    }
    Ok(())
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task that ends with the server.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut alive = self.alive.clone();
        let task = async move {
            tokio::select! {
                _ = alive.changed() => {}
                () = task => {}
            }
        };
        tokio::spawn(task).abort_handle()
    }

    /// Does what the core wants done. Nobody waits in here.
    fn flush(self: &Arc<Self>, inner: &mut Inner, now: Instant) {
        while let Some(event) = inner.server.poll_event() {
            match event {
                ServerEvent::OpenRelay { relay, family, even_port } => {
                    match self.open(&mut inner.rng, family, even_port) {
                        Ok((socket, announced)) => {
                            let socket = Arc::new(socket);
                            let task = self.spawn(relay_from(self.clone(), socket.clone(), relay));
                            inner.relays.insert(relay, (socket, task));
                            inner.server.relay_opened(now, relay, announced);
                        }
                        Err(error) => {
                            debug!(%error, "no socket for a relayed address");
                            inner.server.relay_failed(now, relay);
                        }
                    }
                }
                ServerEvent::CloseRelay { relay } => {
                    if let Some((_, task)) = inner.relays.remove(&relay) {
                        task.abort();
                    }
                }
                _ => {}
            }
        }
        while let Some((tuple, len)) = inner.server.poll_transmit(now, &mut inner.output) {
            inner.deliver(tuple, len);
        }
        let wake = inner.server.poll_timeout();
        if wake != inner.wake {
            inner.wake = wake;
            self.deadline.notify_one();
        }
    }

    /// A socket on a random port, and what peers are told of it.
    fn open(
        &self,
        rng: &mut StdRng,
        family: AddressFamily,
        even: bool,
    ) -> io::Result<(UdpSocket, SocketAddr)> {
        let of_family = |ips: &[IpAddr]| ips.iter().copied().find(|ip| AddressFamily::of(*ip) == family);
        let ip = of_family(&self.config.relay).ok_or(ErrorKind::AddrNotAvailable)?;
        let mut last = io::Error::from(ErrorKind::AddrInUse);
        for _ in 0..PORT_TRIES {
            let port = rng.random_range(self.config.ports.clone());
            let port = if even { port & !1 } else { port };
            if !self.config.ports.contains(&port) {
                continue;
            }
            match std::net::UdpSocket::bind((ip, port)) {
                Ok(socket) => {
                    socket.set_nonblocking(true)?;
                    enlarge(SockRef::from(&socket), RELAYING_BUFFER);
                    let announced = of_family(&self.config.external).unwrap_or(ip);
                    return Ok((UdpSocket::from_std(socket)?, SocketAddr::new(announced, port)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Inner {
    /// Sends what is at the front of `output`.
    fn deliver(&mut self, tuple: FiveTuple, len: usize) {
        let bytes = self.output.get(..len).unwrap_or_default();
        match tuple.transport {
            Transport::Datagram => {
                if let Some(socket) = self.listeners.get(&tuple.server) {
                    let _ = socket.try_send_to(bytes, tuple.client);
                }
            }
            Transport::Stream => self.connections.send(tuple, bytes),
        }
    }

    /// Hands a client's datagram or unit to the core.
    fn feed(&mut self, now: Instant, tuple: FiveTuple, bytes: &[u8]) {
        if let Some(forward) = self.server.handle_input(now, tuple, bytes)
            && let Some((socket, _)) = self.relays.get(&forward.relay)
        {
            let _ = socket.try_send_to(forward.data, forward.to);
        }
    }
}

/// Takes the clients' datagrams.
async fn listen(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let Ok(server) = socket.local_addr() else { return };
    while socket.readable().await.is_ok() {
        let mut inner = shared.lock();
        let now = now();
        let mut input = std::mem::take(&mut inner.input);
        for _ in 0..BURST {
            match socket.try_recv_from(&mut input) {
                Ok((len, client)) => {
                    let tuple = FiveTuple { client, server, transport: Transport::Datagram };
                    inner.feed(now, tuple, input.get(..len).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier send.
                Err(_) => {}
            }
        }
        inner.input = input;
        shared.flush(&mut inner, now);
    }
}

/// Takes the peers' datagrams at a relayed address.
async fn relay_from(shared: Arc<Shared>, socket: Arc<UdpSocket>, relay: RelayId) {
    while socket.readable().await.is_ok() {
        let mut inner = shared.lock();
        let inner = &mut *inner;
        let now = now();
        for _ in 0..BURST {
            match socket.try_recv_from(&mut inner.input) {
                Ok((len, from)) => {
                    let data = inner.input.get(..len).unwrap_or_default();
                    let out = inner.server.handle_relayed(now, relay, from, data, &mut inner.output);
                    if let Some((tuple, len)) = out {
                        inner.deliver(tuple, len);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        shared.flush(inner, now);
    }
}

/// Calls the core at its deadlines.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let wake = shared.lock().wake;
        let changed = shared.deadline.notified();
        match wake {
            Some(at) => {
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at.into()) => {
                        let mut inner = shared.lock();
                        let now = now();
                        inner.server.handle_timeout(now);
                        shared.flush(&mut inner, now);
                    }
                }
            }
            None => changed.await,
        }
    }
}
