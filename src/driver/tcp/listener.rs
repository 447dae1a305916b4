//! Sockets that passive candidates listen on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sinnet_peer::Path;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::stream::{Wakes, set_options};
use crate::config::{EndpointConfig, IceTcp};
use crate::driver::Socket;
use crate::error::Error;

/// Connections that the system keeps for us until we take them.
const BACKLOG: i32 = 256;

/// When there are no more file descriptors, or after [`FAILURES`], nobody is accepted for so long.
const REST: Duration = Duration::from_secs(1);

/// Errors in a row that may be those of single connections, which were gone before they were taken.
const FAILURES: u32 = 16;

/// What has become of ICE's TCP connections ([`Endpoint::ice_tcp_stats`](crate::Endpoint::ice_tcp_stats)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct IceTcpStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Of those, closed because they had not shown in time whose they are, or had shown something else.
    pub strangers_closed: u64,
    /// Refused, as 64 of that address had not shown whose they are.
    pub refused: u64,
    /// Connections that we opened.
    pub opened: u64,
    /// Not opened, as there were too many, or the port is that of another service.
    pub not_opened: u64,
    /// Datagrams that a connection had no room for. SCTP takes it for loss and sends them again.
    pub datagrams_lost: u64,
}

/// Sockets that listen, one for each of the UDP sockets.
#[derive(Default)]
pub(crate) struct TcpListeners(pub(super) Vec<TcpListener>);

impl TcpListeners {
    /// What they listen on.
    pub(crate) fn bound(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

/// Listens beside each UDP socket, on its port if that is free, if passive candidates are wanted.
pub(crate) fn open_listeners(config: &EndpointConfig, sockets: &[Socket]) -> Result<TcpListeners, Error> {
    if config.ice_tcp != IceTcp::ActiveAndPassive {
        return Ok(TcpListeners::default());
    }
    let listen = |socket: &Socket| {
        let bound = socket.bound();
        // A port that was chosen for UDP alone may be in use for TCP; one that was asked for has to be it.
        let was_chosen = !config.bind.contains(&bound);
        let any_port = || open(SocketAddr::new(bound.ip(), 0));
        let opened = open(bound).or_else(|error| if was_chosen { any_port() } else { Err(error) });
        opened.map_err(|source| Error::Socket { addr: format!("{bound} (TCP)"), source })
    };
    Ok(TcpListeners(sockets.iter().map(listen).collect::<Result<_, _>>()?))
}

fn open(addr: SocketAddr) -> io::Result<TcpListener> {
    let raw = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        raw.set_only_v6(true)?;
    }
    if cfg!(unix) {
        // Connections of an earlier process that are still dying away don't hold the port.
        raw.set_reuse_address(true)?;
    }
    raw.set_nonblocking(true)?;
    raw.bind(&addr.into())?;
    raw.listen(BACKLOG)?;
    TcpListener::from_std(raw.into())
}

pub(super) struct Listener {
    io: TcpListener,
    pub(super) wakes: Arc<Wakes>,
    resting_until: Option<Instant>,
    /// Errors since a connection was last accepted.
    failures: u32,
}

impl Listener {
    pub(super) fn new(io: TcpListener, wakes: Arc<Wakes>) -> Self {
        wakes.list();
        Self { io, wakes, resting_until: None, failures: 0 }
    }

    pub(super) fn is_resting(&self) -> bool {
        self.resting_until.is_some()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.resting_until.take_if(|until| *until <= now).is_some() {
            self.wakes.list();
        }
    }

    /// A connection that waits, with its path. `None`: we are woken when there is one.
    pub(super) fn accept(&mut self, now: Instant) -> Option<(TcpStream, Path)> {
        if self.is_resting() {
            return None;
        }
        let waker = Waker::from(self.wakes.clone());
        match self.io.poll_accept(&mut Context::from_waker(&waker)) {
            Poll::Pending => None,
            Poll::Ready(Ok((stream, remote))) => {
                self.failures = 0;
                set_options(&stream);
                let Ok(local) = stream.local_addr() else {
                    // Gone again already.
                    self.wakes.list();
                    return None;
                };
                let plain = |addr: SocketAddr| SocketAddr::new(addr.ip(), addr.port());
                Some((stream, Path::tcp(plain(local), plain(remote))))
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "accept");
                self.failures += 1;
                if is_exhausted(&error) || self.failures >= FAILURES {
                    self.failures = 0;
                    self.resting_until = Some(now + REST);
                } else {
                    self.wakes.list();
                }
                None
            }
        }
    }
}

/// Whether the process or the system has no more of something (EMFILE, ENFILE, ENOBUFS, ENOMEM): the next try fails, too. Other
/// errors are those of the connection that was to be accepted.
fn is_exhausted(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: [i32; 2] = [105, 55];
    const WINDOWS: [i32; 2] = [10_024, 10_055];
    let code = error.raw_os_error().unwrap_or(0);
    error.kind() == io::ErrorKind::OutOfMemory
        || [ENFILE, EMFILE].contains(&code)
        || ENOBUFS.contains(&code)
        || WINDOWS.contains(&code)
}
