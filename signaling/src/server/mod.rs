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
//! ```
//!
//! It is made for a desk or a local network, and keeps its promises there against pages of other sites, against
//! clients that are slow, silent or greedy, and against names that are rebound to its address; see [`origin`].

mod backend;
mod http;
mod local;
pub mod origin;
mod ws;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::debug;

pub use self::backend::Backend;
pub use self::local::Local;
use crate::session::{Limits, Session};
use crate::{mesh, simple};

/// Largest request head in bytes; the answer to a larger one is 431.
const MAX_HEAD: usize = 8 * 1024;

/// How long a connection may be used for requests before it has to be made anew.
const HTTP_LIFETIME: Duration = Duration::from_secs(60);

/// How late a back end's deadlines may be seen.
const TICK: Duration = Duration::from_millis(500);

/// What a [`Server`] is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Origins whose pages may open sessions, besides the server's own: `https://example.org`, or `*` for all. See
    /// [`origin`].
    pub allowed_origins: Vec<String>,
    /// Host names that the server answers to, besides IP addresses and `localhost`. See [`origin`].
    pub allowed_hosts: Vec<String>,
    /// TCP connections at once; more are closed at once. 256 by default.
    pub max_connections: usize,
    /// How long a request's head may take, and how long a connection may be idle between requests. 10 s by default.
    pub head_timeout: Duration,
    /// What the peer of a session may do.
    pub limits: Limits,
    /// What `/alm` may hold.
    pub alm: simple::Limits,
    /// What `/p2p` may hold.
    pub p2p: mesh::Limits,
}

impl ServerConfig {
    /// The defaults, on this address.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            max_connections: 256,
            head_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            alm: simple::Limits::default(),
            p2p: mesh::Limits::default(),
        }
    }
}

/// A session and where it comes from.
#[derive(Debug)]
pub struct Visitor {
    /// The signalling.
    pub session: Session,
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
}

/// A running web server. Dropping it ends the listening and all plain requests; sessions go on.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    visitors: mpsc::Receiver<Visitor>,
    listening: JoinHandle<()>,
}

struct Shared {
    config: ServerConfig,
    visitors: mpsc::Sender<Visitor>,
    alm: Arc<dyn Backend>,
    p2p: Arc<dyn Backend>,
}

/// A place among [`ServerConfig::max_connections`], held until the connection has ended.
type Place = Arc<OwnedSemaphorePermit>;

impl Server {
    /// Listens, in a task of the current tokio runtime. Must be called within one.
    ///
    /// # Errors
    ///
    /// The system's, when the address can't be listened on.
    pub async fn bind(config: ServerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.addr).await?;
        let local_addr = listener.local_addr()?;
        let (to_app, visitors) = mpsc::channel(config.max_connections.max(1));
        let alm = Arc::new(Local::new(simple::Server::new(config.alm, seed()?)));
        let p2p = Arc::new(Local::new(mesh::Server::new(config.p2p, seed()?)));
        let shared = Arc::new(Shared { config, visitors: to_app, alm, p2p });
        let listening = tokio::spawn(listen(listener, shared));
        Ok(Self { local_addr, visitors, listening })
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
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
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
    let places = Arc::new(Semaphore::new(shared.config.max_connections));
    let router = http::router(shared.clone());
    let mut connections = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => match places.clone().try_acquire_owned() {
                    Ok(place) => {
                        connections.spawn(serve(stream, remote, Arc::new(place), router.clone(), shared.clone()));
                    }
                    Err(_) => debug!(%remote, "too many connections, closed one"),
                },
                Err(error) => {
                    // Out of descriptors, mostly: those that we have must end first.
                    debug!(%error, "can't accept");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = ticks.tick() => {
                shared.alm.tick();
                shared.p2p.tick();
            }
        }
    }
}

async fn serve(stream: TcpStream, remote: SocketAddr, place: Place, router: Router, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let router = router.layer(Extension(remote)).layer(Extension(place));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.head_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    match timeout(HTTP_LIFETIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%remote, %error, "connection ended"),
        Err(_) => debug!(%remote, "connection was open for too long"),
    }
}

#[cfg(test)]
mod hub_tests;
#[cfg(test)]
mod tests;
