//! Sockets for mDNS: one for each interface and family, so that nothing is said on an interface that isn't to be used.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::core::{PORT, Target};
use super::message::MAX_LEN;
use crate::config::EndpointConfig;
use crate::gather::Subnet;

/// RFC 6762 §3.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Interfaces times families; those that the system names first.
const MAX_LINKS: usize = 16;

/// Datagrams taken at once, so that a noisy link leaves time for the rest.
const AT_ONCE: usize = 32;

/// The sockets, and which addresses they were made for.
#[derive(Default)]
pub(super) struct Links {
    made_for: Vec<Subnet>,
    links: Vec<Link>,
}

struct Link {
    io: UdpSocket,
    index: u32,
    /// The networks of this interface, in this family: who else is on the link.
    subnets: Vec<Subnet>,
}

impl Links {
    /// Makes the sockets anew if the interfaces have changed. Returns whether that is so.
    pub(super) fn update(&mut self, config: &EndpointConfig) -> bool {
        let subnets = match crate::gather::subnets(config) {
            Ok(subnets) => subnets,
            Err(error) => {
                // What there was is there still, as far as is known.
                tracing::debug!(%error, "can't list the network interfaces");
                return false;
            }
        };
        if subnets == self.made_for {
            return false;
        }
        self.links.clear();
        for subnet in &subnets {
            let same = |link: &&mut Link| {
                link.index == subnet.index
                    && link.subnets.iter().all(|other| other.ip.is_ipv4() == subnet.ip.is_ipv4())
            };
            if let Some(link) = self.links.iter_mut().find(same) {
                link.subnets.push(subnet.clone());
                continue;
            }
            if self.links.len() >= MAX_LINKS {
                tracing::debug!(ip = %subnet.ip, "too many interfaces for mDNS");
                continue;
            }
            match open(subnet) {
                Ok(io) => self.links.push(Link { io, index: subnet.index, subnets: vec![subnet.clone()] }),
                Err(error) => tracing::debug!(%error, ip = %subnet.ip, "no mDNS here"),
            }
        }
        if self.links.is_empty() && !subnets.is_empty() {
            tracing::warn!("mDNS is not possible on any interface; candidates with names can't be resolved");
        }
        self.made_for = subnets;
        true
    }

    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    pub(super) fn send(&self, target: Target, datagram: &[u8]) {
        let one = |at: usize, to: SocketAddr| {
            if let Some(link) = self.links.get(at)
                // Past tokio, to which a socket made in this turn has no room yet: then the first question would be lost.
                && let Err(error) = SockRef::from(&link.io).send_to(datagram, &to.into())
            {
                tracing::debug!(%error, %to, "mDNS");
            }
        };
        match target {
            Target::Everywhere => (0..self.links.len()).for_each(|at| one(at, self.group(at))),
            Target::Link(at) => one(at, self.group(at)),
            Target::Host(at, to) => one(at, to),
        }
    }

    fn group(&self, at: usize) -> SocketAddr {
        match self.links.get(at) {
            Some(link) if link.subnets.iter().any(|subnet| subnet.ip.is_ipv6()) => {
                SocketAddrV6::new(GROUP_V6, PORT, 0, link.index).into()
            }
            _ => SocketAddr::from((GROUP_V4, PORT)),
        }
    }

    /// Takes what has come in from hosts on its link, and says whether there was anything.
    pub(super) fn poll_input(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(usize, SocketAddr, &[u8]),
    ) -> Poll<()> {
        let mut any = Poll::Pending;
        for (at, link) in self.links.iter().enumerate() {
            for _ in 0..AT_ONCE {
                let mut bytes = [0; MAX_LEN + 1];
                let mut buffer = ReadBuf::new(&mut bytes);
                let from = match link.io.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => from,
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(%error, "mDNS");
                        continue;
                    }
                    Poll::Pending => break,
                };
                any = Poll::Ready(());
                // RFC 6762 §11: nobody from elsewhere is listened to or answered.
                if link.subnets.iter().any(|subnet| subnet.contains(from.ip())) {
                    take(at, from, buffer.filled());
                }
            }
        }
        any
    }
}

/// A socket that hears and reaches everybody on one link, beside whoever else does mDNS on this machine.
fn open(subnet: &Subnet) -> io::Result<UdpSocket> {
    let domain = if subnet.ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    match subnet.ip {
        IpAddr::V4(ip) => {
            // Else it hears what comes in on other interfaces, for which other sockets are.
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v4(false)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
            socket.join_multicast_v4(&GROUP_V4, &ip)?;
            socket.set_multicast_if_v4(&ip)?;
            socket.set_multicast_ttl_v4(255)?;
            socket.set_ttl_v4(255)?;
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v6(false)?;
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
            socket.join_multicast_v6(&GROUP_V6, subnet.index)?;
            socket.set_multicast_if_v6(subnet.index)?;
            socket.set_multicast_hops_v6(255)?;
            socket.set_unicast_hops_v6(255)?;
        }
    }
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_by_sockets_that_have_just_been_made_goes_out() {
        let config = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
        let (mut there, mut here) = (Links::default(), Links::default());
        assert!(there.update(&config));
        assert!(here.update(&config));
        // No message, so nobody else is told anything by it.
        let datagram = format!("sinnet test {}", std::process::id());
        here.send(Target::Everywhere, datagram.as_bytes());
        let heard = poll_fn(|cx| {
            let mut found = false;
            // Others may be doing mDNS on this machine.
            while !found
                && there.poll_input(cx, |_, _, bytes| found |= bytes == datagram.as_bytes()).is_ready()
            {
            }
            if found { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::time::timeout(Duration::from_secs(30), heard).await.expect("the datagram");
    }
}
