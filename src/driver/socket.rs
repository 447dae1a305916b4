//! A UDP socket with batches both ways (quinn-udp).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::task::{Context, Poll};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rand::TryRng;
use rand::rngs::SysRng;
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
    /// As if the kernel had no room.
    #[cfg(test)]
    pub(crate) is_full: std::sync::atomic::AtomicBool,
}

/// Binds what the configuration says.
pub(crate) fn open_sockets(config: &EndpointConfig) -> Result<Vec<Socket>, Error> {
    let mut sockets: Vec<Socket> = Vec::new();
    let mut failed = None;
    for &addr in &config.bind {
        match in_port_range(addr, config.port_range.as_ref(), |addr| Socket::open(addr, config)) {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                if !addr.ip().is_unspecified() || matches!(error, Error::NoFreePort { .. }) {
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

/// Opens something on `addr`, or if that has no port, on the first port of the range where it can be, from a random one on.
pub(crate) fn in_port_range<T>(
    addr: SocketAddr,
    range: Option<&RangeInclusive<u16>>,
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<T, Error> {
    let failed = |addr: SocketAddr, source| Error::Socket { addr: addr.to_string(), source };
    let (0, Some(range)) = (addr.port(), range) else {
        return open(addr).map_err(|source| failed(addr, source));
    };
    let (first, last) = ((*range.start()).max(1), *range.end());
    let mut random = [0; 4];
    SysRng.try_fill_bytes(&mut random).map_err(|_| Error::Randomness)?;
    let count = u32::from(last).saturating_sub(first.into()) + 1;
    for i in 0..if first <= last { count } else { 0 } {
        let offset = (u32::from_ne_bytes(random) % count + i) % count;
        let port = first.saturating_add(u16::try_from(offset).unwrap_or(0));
        let addr = SocketAddr::new(addr.ip(), port);
        match open(addr) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
            opened => return opened.map_err(|source| failed(addr, source)),
        }
    }
    Err(Error::NoFreePort { addr: addr.ip(), first: *range.start(), last })
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
        Ok(Self {
            io,
            state,
            bound,
            #[cfg(test)]
            is_full: Default::default(),
        })
    }

    pub(crate) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Bytes that the kernel keeps for us, by its own count; `usize::MAX` if it doesn't say.
    pub(crate) fn receive_buffer(&self) -> usize {
        self.state.recv_buffer_size(UdpSockRef::from(&self.io)).unwrap_or(usize::MAX)
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

    /// The address from which datagrams to `remote` leave: where the socket is bound to all, the one that the system chooses
    /// at present. `None` where no way leads there.
    pub(crate) fn source_for(&self, remote: SocketAddr) -> Option<SocketAddr> {
        if !self.bound.ip().is_unspecified() {
            return Some(self.bound);
        }
        let probe = std::net::UdpSocket::bind((self.bound.ip(), 0)).ok()?;
        // Sends nothing.
        probe.connect(remote).ok()?;
        Some(SocketAddr::new(probe.local_addr().ok()?.ip(), self.bound.port()))
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
        #[cfg(test)]
        if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let src_ip: Option<IpAddr> = self.bound.ip().is_unspecified().then(|| path.local.ip());
        let transmit =
            quinn_udp::Transmit { destination: path.remote, ecn: None, contents, segment_size, src_ip };
        self.io.try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.io), &transmit))
    }

    /// Waits until there is room.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// Receives into `slabs`; returns how many have been filled, and whether there may be more.
    pub(crate) fn recv(
        &self,
        slabs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<(usize, bool)> {
        let enough = slabs.len().min(quinn_udp::BATCH_SIZE);
        let mut last = None;
        let received = self.io.try_io(Interest::READABLE, || {
            let filled = self.state.recv(UdpSockRef::from(&self.io), slabs, meta)?;
            if filled < enough {
                // The socket is empty. tokio has to hear of that from here, before it is asked to wait: what it has noted
                // since this call began stays noted. A call that finds nothing would cost as much as one that finds something.
                last = Some(filled);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(filled)
        });
        match last {
            Some(filled) => Ok((filled, false)),
            None => received.map(|filled| (filled, true)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_range_gives_its_free_ports_and_then_says_that_there_is_none() {
        let loopback = "127.0.0.1:0".parse().unwrap();
        // Two ports in a row that were free a moment ago.
        let (taken, free) = loop {
            let taken = std::net::UdpSocket::bind(loopback).expect("a socket");
            let next = taken.local_addr().expect("an address").port().checked_add(1);
            if let Some(next) = next.filter(|next| std::net::UdpSocket::bind(("127.0.0.1", *next)).is_ok()) {
                break (taken, next);
            }
        };
        let mut config = EndpointConfig::bind(loopback);
        config.port_range = Some(taken.local_addr().expect("an address").port()..=free);
        let socket = open_sockets(&config).expect("the other port");
        assert_eq!(socket[0].bound().port(), free);
        let error = open_sockets(&config).err().expect("nothing is free").to_string();
        assert_eq!(error, format!("no port from {} to {free} is free on 127.0.0.1", free - 1));
        config.bind = vec!["0.0.0.0:0".parse().unwrap()];
        config.port_range = Some(RangeInclusive::new(9, 8));
        assert!(
            matches!(open_sockets(&config), Err(Error::NoFreePort { first: 9, last: 8, .. })),
            "an empty range"
        );
        config.bind = vec![loopback];
        config.port_range = Some(0..=0);
        assert!(open_sockets(&config).is_err(), "port 0 is none");
    }
}
