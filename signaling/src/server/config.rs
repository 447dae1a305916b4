//! What a server is made with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::tokens::Tokens;
use crate::message::{MAX_FRAME, MAX_MESSAGE};
use crate::session::Limits;
use crate::{mesh, simple};

/// What a [`Server`](super::Server) is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// For `https` and `wss` instead of `http` and `ws`; see [`tls`](super::tls).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Origins whose pages may open sessions, besides the server's own: `https://example.org`, or `*` for all. See
    /// [`origin`](super::origin).
    pub allowed_origins: Vec<String>,
    /// Host names that the server answers to, besides IP addresses and `localhost`. See [`origin`](super::origin).
    pub allowed_hosts: Vec<String>,
    /// Who may create and join groups: everybody, by default.
    pub tokens: Tokens,
    /// Who gets `/metrics`: programs on this machine, by default.
    pub metrics: Metrics,
    /// TCP connections at once; more are closed at once. 8192 by default.
    pub max_connections: usize,
    /// What one address may have.
    pub per_address: PerAddress,
    /// Largest message on `/alm` and `/p2p`, bytes: 32 KiB by default, and at most that, as what is passed on grows a little and has to fit
    /// a frame of [`MAX_FRAME`]. On `/peer` it is [`MAX_MESSAGE`].
    pub max_message: usize,
    /// How long a TLS handshake and a request's head may take, and how long a connection may be idle between requests. 10 s by
    /// default.
    pub head_timeout: Duration,
    /// What the peer of a session may do.
    pub limits: Limits,
    /// What `/alm` may hold.
    pub alm: simple::Limits,
    /// What `/p2p` may hold.
    pub p2p: mesh::Limits,
}

/// What one address may have of a server: an IPv4 address, or the first 64 bits of an IPv6 address. Behind a reverse proxy all clients have
/// the proxy's address, and the limiting is the proxy's to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PerAddress {
    /// TCP connections at once, WebSockets among them; more are closed at once. 256 by default; 0 for no limit.
    pub connections: usize,
    /// Messages, pings and requests per second in the long run. 500 by default; 0 for no limit. A request above it is answered by
    /// 429; a WebSocket is closed.
    pub per_second: u32,
    /// The same, at once. 2,000 by default.
    pub burst: u32,
}

impl Default for PerAddress {
    fn default() -> Self {
        Self { connections: 256, per_second: 500, burst: 2000 }
    }
}

/// Who gets `/metrics`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Metrics {
    /// Connections from a loopback address. Behind a reverse proxy on this machine that is everybody.
    #[default]
    Loopback,
    /// Everybody.
    All,
    /// Nobody.
    Off,
}

/// Messages of groups: what is passed on grows a little, and has to fit a frame.
pub(super) const MAX_GROUP_MESSAGE: usize = 32 * 1024;

const _: () = assert!(MAX_GROUP_MESSAGE < MAX_FRAME && MAX_FRAME <= MAX_MESSAGE);

impl ServerConfig {
    /// The defaults, on this address.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            tls: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            tokens: Tokens::default(),
            metrics: Metrics::default(),
            max_connections: 8192,
            per_address: PerAddress::default(),
            max_message: MAX_GROUP_MESSAGE,
            head_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            alm: simple::Limits::default(),
            p2p: mesh::Limits::default(),
        }
    }
}
