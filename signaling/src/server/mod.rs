//! A web server for the page and for signalling.
//!
//! ```text
//! GET /            the page (web/), and the files that it names
//! GET /peer        WebSocket: one signalling session, handed to Server::accept
//! GET /alm         WebSocket: groups with a distribution tree (crate::simple)
//! GET /ws          the same, where WebRTC_ALM's server has it
//! GET /p2p         WebSocket: groups in which everybody is connected with everybody (crate::mesh)
//! GET /api/groups  the groups of /alm: [{"id":0,"name":"…","description":"…"}]
//! GET /api/list    the same in the words of WebRTC_ALM's server: [{"g":0,"n":"…","d":"…"}]
//! GET /health      200 while the server takes connections
//! GET /metrics     what it has counted, for Prometheus; by default for programs on this machine only
//! ```
//!
//! It keeps its promises against pages of other sites, against clients that are slow, silent or greedy, and against names that are
//! rebound to its address; see [`origin`], [`PerAddress`] and [`tokens`]. What it knows of groups is in [`Backend`]s.

mod addresses;
mod backend;
mod config;
mod files;
mod http;
mod local;
mod metrics;
pub mod origin;
pub mod tls;
pub mod tokens;
mod ws;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use self::addresses::{Addresses, Guest};
pub use self::backend::Backend;
pub use self::config::{Metrics, PerAddress, ServerConfig};
pub use self::local::Local;
use self::metrics::{Counters, Refusal};
use crate::session::{Ended, House, Session, Terms};
use crate::{mesh, simple};

/// Largest request head in bytes; the answer to a larger one is 431.
const MAX_HEAD: usize = 8 * 1024;

/// How long a connection may be used for requests before it has to be made anew.
const HTTP_LIFETIME: Duration = Duration::from_secs(60);

/// How late a back end's deadlines may be seen.
const TICK: Duration = Duration::from_millis(500);

#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
fn now() -> Instant {
    Instant::now()
}

/// A session and where it comes from.
#[derive(Debug)]
pub struct Visitor {
    /// The signalling.
    pub session: Session,
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
}

/// Where a server's groups are kept.
#[derive(Clone)]
pub struct Backends {
    /// Those of `/alm`.
    pub alm: Arc<dyn Backend>,
    /// Those of `/p2p`.
    pub p2p: Arc<dyn Backend>,
}

impl Backends {
    /// In this process's memory, within the configuration's limits.
    ///
    /// # Errors
    ///
    /// The system has no randomness to give.
    pub fn local(config: &ServerConfig) -> io::Result<Self> {
        Ok(Self {
            alm: Arc::new(Local::new(simple::Server::new(config.alm, seed()?))),
            p2p: Arc::new(Local::new(mesh::Server::new(config.p2p, seed()?))),
        })
    }
}

/// A running web server. Dropping it ends the listening and all plain requests; sessions go on. [`Server::shutdown`] ends everything in
/// order.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    visitors: mpsc::Receiver<Visitor>,
    listening: Listening,
    down: watch::Sender<bool>,
}

/// The task that listens. It ends with this.
#[derive(Debug)]
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    config: ServerConfig,
    visitors: mpsc::Sender<Visitor>,
    backends: Backends,
    listing: http::Listing,
    places: Arc<Semaphore>,
    counters: Counters,
    down: watch::Receiver<bool>,
}

/// A connection's place among all and among those of its address, held until it has ended.
struct Place {
    _permit: OwnedSemaphorePermit,
    guest: Guest,
    shared: Arc<Shared>,
}

impl Place {
    fn admit(&self) -> bool {
        let admitted = self.guest.admit(now());
        if !admitted {
            self.shared.counters.refused(Refusal::Rate);
        }
        admitted
    }
}

impl House for Place {
    fn receives(&self) -> bool {
        self.shared.counters.received();
        self.admit()
    }

    fn sends(&self) {
        self.shared.counters.sent();
    }

    fn ends(&self, ended: &Ended) {
        self.shared.counters.ended(ended);
    }
}

impl Server {
    /// Listens, in a task of the current tokio runtime, with the groups in memory. Must be called within one.
    ///
    /// # Errors
    ///
    /// The system's, when the address can't be listened on.
    pub async fn bind(config: ServerConfig) -> io::Result<Self> {
        let backends = Backends::local(&config)?;
        Self::bind_with(config, backends).await
    }

    /// The same, with the groups elsewhere.
    ///
    /// # Errors
    ///
    /// The system's, when the address can't be listened on.
    pub async fn bind_with(config: ServerConfig, backends: Backends) -> io::Result<Self> {
        let listener = TcpListener::bind(config.addr).await?;
        let local_addr = listener.local_addr()?;
        let (to_app, visitors) = mpsc::channel(config.max_connections.clamp(1, 1024));
        let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        let (down, going) = watch::channel(false);
        let counters = Counters::default();
        let listing = http::Listing::new();
        let shared =
            Arc::new(Shared { config, visitors: to_app, backends, listing, places, counters, down: going });
        let listening = Listening(tokio::spawn(listen(listener, shared)));
        Ok(Self { local_addr, visitors, listening, down })
    }

    /// The address that is listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Waits for the next visitor.
    pub async fn accept(&mut self) -> Option<Visitor> {
        self.visitors.recv().await
    }

    /// Goes down in order: takes no more connections, answers what was asked, closes all WebSockets with 1001 (RFC 6455 §7.4.1),
    /// behind what was sent on them, and returns when all have ended, or after `patience`. What is left then is cut off when the
    /// runtime ends.
    pub async fn shutdown(mut self, patience: Duration) {
        let _ = self.down.send(true);
        // Nobody will take these.
        self.visitors.close();
        while self.visitors.try_recv().is_ok() {}
        if timeout(patience, &mut self.listening.0).await.is_err() {
            debug!("some connections did not end in time");
        }
    }
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut seed)
        .map_err(|_| io::Error::other("the system has no randomness to give"))?;
    Ok(seed)
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let addresses = Arc::new(Addresses::new(shared.config.per_address));
    let router = http::router(shared.clone());
    let tls = shared.config.tls.clone().map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    let mut terms = Terms { down: Some(shared.down.clone()), ..Terms::default() };
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    shared.counters.accepted();
                    match place(&shared, &addresses, remote) {
                        Ok(place) => {
                            connections.spawn(connect(stream, remote, place, tls.clone(), router.clone()));
                        }
                        Err(refusal) => {
                            shared.counters.refused(refusal);
                            debug!(%remote, ?refusal, "closed a connection");
                        }
                    }
                }
                Err(error) => {
                    // Out of descriptors, mostly: those that we have must end first.
                    debug!(%error, "can't accept");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = ticks.tick() => {
                shared.backends.alm.tick();
                shared.backends.p2p.tick();
                addresses.tidy(now());
            }
            () = terms.going_down() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    // WebSockets are tasks of their own, and hold their places.
    let all = u32::try_from(shared.config.max_connections).unwrap_or(u32::MAX);
    let _ = shared.places.acquire_many(all).await;
}

/// Room for one more connection from this address.
fn place(
    shared: &Arc<Shared>,
    addresses: &Arc<Addresses>,
    remote: SocketAddr,
) -> Result<Arc<Place>, Refusal> {
    let permit = shared.places.clone().try_acquire_owned().map_err(|_| Refusal::Full)?;
    let guest = addresses.enter(now(), remote.ip()).ok_or(Refusal::Address)?;
    Ok(Arc::new(Place { _permit: permit, guest, shared: shared.clone() }))
}

async fn connect(
    stream: TcpStream,
    remote: SocketAddr,
    place: Arc<Place>,
    tls: Option<TlsAcceptor>,
    router: Router,
) {
    let _ = stream.set_nodelay(true);
    let shared = place.shared.clone();
    let Some(tls) = tls else { return serve(stream, remote, place, router).await };
    match timeout(shared.config.head_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, remote, place, router).await,
        Ok(Err(error)) => {
            shared.counters.refused(Refusal::Tls);
            debug!(%remote, %error, "no TLS came about");
        }
        Err(_) => {
            shared.counters.refused(Refusal::Tls);
            debug!(%remote, "the TLS handshake took too long");
        }
    }
}

async fn serve<S>(stream: S, remote: SocketAddr, place: Arc<Place>, router: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shared = place.shared.clone();
    let router = router.layer(Extension(remote)).layer(Extension(place));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.head_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut terms = Terms { down: Some(shared.down.clone()), ..Terms::default() };
    let to_its_end = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = terms.going_down() => {}
        }
        // What was asked is answered; no more is taken.
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match timeout(HTTP_LIFETIME, to_its_end).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%remote, %error, "connection ended"),
        Err(_) => debug!(%remote, "connection was open for too long"),
    }
}

#[cfg(test)]
mod duty_tests;
#[cfg(test)]
mod hub_tests;
#[cfg(test)]
mod tests;
