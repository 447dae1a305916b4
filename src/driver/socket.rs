//! A UDP socket with batches both ways (quinn-udp).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use sinnet_peer::Path;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::config::EndpointConfig;
use crate::error::Error;

/// One bound socket.
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    bound: SocketAddr,
}

/// Binds what the configuration says.
pub(crate) fn open_sockets(config: &EndpointConfig) -> Result<Vec<Socket>, Error> {
    let mut sockets: Vec<Socket> = Vec::new();
    let mut failed = None;
    for &addr in &config.bind {
        match Socket::open(addr, config) {
            Ok(socket) => sockets.push(socket),
            Err(source) => {
                let error = Error::Socket { addr: addr.to_string(), source };
                if !addr.ip().is_unspecified() {
                    return Err(error);
                }
                // A system without IPv6, or without IPv4.
                tracing::debug!(%error, "left out");
                failed = Some(error);
            }
        }
    }
    match (sockets.is_empty(), failed) {
        (false, _) => Ok(sockets),
        (true, Some(error)) => Err(error),
        (true, None) => Err(Error::NoAddress("give at least one in EndpointConfig::bind".to_owned())),
    }
}

impl Socket {
    fn open(addr: SocketAddr, config: &EndpointConfig) -> io::Result<Self> {
        let raw = RawSocket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            // IPv4 has a socket of its own, so that addresses are what they look like.
            raw.set_only_v6(true)?;
        }
        raw.set_nonblocking(true)?;
        raw.bind(&addr.into())?;
        let io = UdpSocket::from_std(raw.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let size = config.socket_buffer;
        // Linux caps what is asked for at net.core.{r,w}mem_max without a word.
        if let Err(error) = state.set_recv_buffer_size(UdpSockRef::from(&io), size) {
            tracing::debug!(%error, "receive buffer left as it is");
        }
        if let Err(error) = state.set_send_buffer_size(UdpSockRef::from(&io), size) {
            tracing::debug!(%error, "send buffer left as it is");
        }
        let bound = io.local_addr()?;
        tracing::debug!(
            %bound,
            receive_buffer = state.recv_buffer_size(UdpSockRef::from(&io)).unwrap_or(0),
            send_buffer = state.send_buffer_size(UdpSockRef::from(&io)).unwrap_or(0),
            gso = state.max_gso_segments(),
            gro = state.gro_segments(),
            "socket bound"
        );
        Ok(Self { io, state, bound })
    }

    pub(crate) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Datagrams the kernel takes in one call, at present.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Whether datagrams of this local address leave from this socket.
    pub(crate) fn is_source_of(&self, local: SocketAddr) -> bool {
        self.bound == local
            || (self.bound.ip().is_unspecified()
                && self.bound.port() == local.port()
                && self.bound.is_ipv4() == local.is_ipv4())
    }

    /// The path of what was received.
    pub(crate) fn path(&self, meta: &RecvMeta) -> Path {
        let local = match meta.dst_ip {
            Some(ip) if self.bound.ip().is_unspecified() => SocketAddr::new(ip, self.bound.port()),
            _ => self.bound,
        };
        Path::udp(local, without_scope(meta.addr))
    }

    /// Sends a batch. After `WouldBlock` the caller keeps it and waits; any other error (EMSGSIZE, ENOBUFS,
    /// ECONNREFUSED, ENETUNREACH …) is a loss to a transport that expects losses.
    pub(crate) fn send(&self, path: Path, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let src_ip: Option<IpAddr> = self.bound.ip().is_unspecified().then(|| path.local.ip());
        let transmit =
            quinn_udp::Transmit { destination: path.remote, ecn: None, contents, segment_size, src_ip };
        self.io.try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.io), &transmit))
    }

    /// Receives into `slabs`; returns how many have been filled.
    pub(crate) fn recv(&self, slabs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.state.recv(UdpSockRef::from(&self.io), slabs, meta))
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_recv_ready(cx)
    }

    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }
}

/// Whether a datagram was refused for its size (EMSGSIZE): it is larger than the link's MTU, and quinn-udp has set the DF
/// bit wherever the system can, and has it ignore what ICMP says about the rest of the path.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    let emsgsize = if cfg!(windows) {
        10_040
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        90
    } else {
        40
    };
    error.raw_os_error() == Some(emsgsize)
}

/// Flow label and scope are not part of an address as candidates have it.
fn without_scope(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}
