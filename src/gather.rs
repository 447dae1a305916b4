//! Which addresses the sockets can be reached at.

mod external;
mod filter;
mod interfaces;
mod offer;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub use self::external::{ExternalAddress, ExternalAddressError};
pub use self::filter::{HostFilter, IpNetwork, IpNetworkError};
use self::interfaces::Listed;
pub(crate) use self::offer::{HostOffer, add_hosts, offers, tcp_bases};
use crate::config::EndpointConfig;

/// The host addresses of sockets that are bound to `bound`: themselves, and those of all interfaces where they are bound to
/// the unspecified address. The best come first. Where the interfaces can't be listed, themselves, and why.
pub(crate) fn host_addresses(
    config: &EndpointConfig,
    bound: &[SocketAddr],
) -> (Vec<SocketAddr>, io::Result<()>) {
    match Hosts::now(config, bound) {
        Ok(hosts) => (hosts.preferred, Ok(())),
        Err(error) => {
            let mut hosts = Hosts::default();
            hosts.add_named(config, bound);
            (hosts.preferred, Err(error))
        }
    }
}

/// The host addresses at one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Hosts {
    /// To be candidates, the best first.
    pub(crate) preferred: Vec<SocketAddr>,
    /// Still there, for those that use them already: deprecated ones, those that a temporary one has taken the place of, and those
    /// over [`HostFilter::max`].
    pub(crate) kept: Vec<SocketAddr>,
}

impl Hosts {
    /// # Errors
    /// When the interfaces can't be listed, as with no file descriptor left: nothing is known then, and nothing has gone.
    pub(crate) fn now(config: &EndpointConfig, bound: &[SocketAddr]) -> io::Result<Self> {
        let mut hosts = Self::default();
        if bound.iter().any(|bound| bound.ip().is_unspecified()) {
            hosts = Self::of(&interfaces::list()?, config, bound);
        }
        hosts.add_named(config, bound);
        Ok(hosts)
    }

    /// Adds the sockets that are bound to one address, and heeds the limit.
    fn add_named(&mut self, config: &EndpointConfig, bound: &[SocketAddr]) {
        let named = bound.iter().filter(|bound| !bound.ip().is_unspecified()).copied();
        self.preferred.splice(..0, named);
        // The rest is there still: the best of today may not be those of yesterday.
        let rest = self.preferred.split_off(config.hosts.max.min(self.preferred.len()));
        self.kept.extend(rest);
    }

    /// Those of sockets that are bound to the unspecified address.
    fn of(listed: &[Listed], config: &EndpointConfig, bound: &[SocketAddr]) -> Self {
        let mut ranked: Vec<(Rank, &Listed)> = Vec::new();
        let mut kept: Vec<&Listed> = Vec::new();
        for address in listed.iter().filter(|address| is_usable(listed, address, config)) {
            if address.flags.deprecated || is_replaced(listed, address) {
                kept.push(address);
            } else if !ranked.iter().any(|(_, known)| known.ip == address.ip) {
                let alike = |known: &Listed| {
                    known.index == address.index
                        && known.interface == address.interface
                        && known.ip.is_ipv4() == address.ip.is_ipv4()
                };
                let nth = ranked.iter().filter(|(_, known)| alike(known)).count();
                ranked.push((Rank { class: class(address.ip), nth, index: address.index }, address));
            }
        }
        // Stable: what the rank doesn't decide stays in the system's order.
        ranked.sort_by_key(|(rank, _)| *rank);
        let unspecified: Vec<_> = bound.iter().filter(|bound| bound.ip().is_unspecified()).collect();
        let with_ports = |address: &Listed| {
            let ip = address.ip;
            let mine = unspecified.iter().filter(move |bound| bound.is_ipv4() == ip.is_ipv4());
            mine.map(move |bound| SocketAddr::new(ip, bound.port())).collect::<Vec<_>>()
        };
        let mut preferred = Vec::new();
        for class in ranked.chunk_by(|(a, _), (b, _)| a.class == b.class) {
            let (v6, v4): (Vec<&Listed>, Vec<&Listed>) =
                class.iter().map(|(_, address)| *address).partition(|address| address.ip.is_ipv6());
            preferred.extend(take_turns(&v6, &v4).into_iter().flat_map(with_ports));
        }
        Self { preferred, kept: kept.into_iter().flat_map(with_ports).collect() }
    }

    /// Whether this address of ours has gone.
    pub(crate) fn lacks(&self, base: SocketAddr) -> bool {
        !self.preferred.contains(&base) && !self.kept.contains(&base)
    }
}

/// An address of ours and the network that its interface is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Subnet {
    pub(crate) index: u32,
    pub(crate) ip: IpAddr,
    network: IpNetwork,
}

impl Subnet {
    /// Whether another host of that address is on the same link.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.network.contains(ip)
    }
}

/// The networks of those interfaces and families that have an address which is gathered.
pub(crate) fn subnets(config: &EndpointConfig) -> io::Result<Vec<Subnet>> {
    Ok(subnets_of(&interfaces::list()?, config))
}

fn subnets_of(listed: &[Listed], config: &EndpointConfig) -> Vec<Subnet> {
    let is_gathered = |address: &Listed| {
        config.bind.iter().any(|bound| match bound.ip() {
            ip if ip.is_unspecified() => {
                ip.is_ipv4() == address.ip.is_ipv4() && is_usable(listed, address, config)
            }
            ip => ip == address.ip,
        })
    };
    let beside = |a: &Listed, b: &Listed| a.index == b.index && a.ip.is_ipv4() == b.ip.is_ipv4();
    let wanted = listed.iter().filter(|address| {
        address.up && listed.iter().any(|other| beside(address, other) && is_gathered(other))
    });
    let subnet = |address: &Listed| {
        let network = IpNetwork::new(address.ip, address.prefix)?;
        Some(Subnet { index: address.index, ip: address.ip, network })
    };
    wanted.filter_map(subnet).collect()
}

/// What decides which addresses come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: u8,
    /// How many of its family come before it on its interface, so that one interface with many addresses doesn't crowd out
    /// the others.
    nth: usize,
    index: u32,
}

fn class(ip: IpAddr) -> u8 {
    match ip {
        ip if ip.is_loopback() => 2,
        IpAddr::V4(ip) if ip.is_link_local() => 1,
        _ => 0,
    }
}

/// One of each until there are no more (RFC 8421 §4): neither family waits for the other's end.
fn take_turns<T: Copy>(a: &[T], b: &[T]) -> Vec<T> {
    let turns = (0..a.len().max(b.len())).flat_map(|i| [a.get(i), b.get(i)]);
    turns.flatten().copied().collect()
}

fn is_usable(listed: &[Listed], address: &Listed, config: &EndpointConfig) -> bool {
    // RFC 8445 §5.1.1.1 says "from a loopback interface", which may have other addresses, too.
    let on_loopback = || {
        let same = |other: &&Listed| other.index == address.index && other.interface == address.interface;
        listed.iter().filter(same).any(|other| other.ip.is_loopback())
    };
    address.up
        && !address.flags.tentative
        && is_candidate(address.ip)
        && config.hosts.passes(&address.interface, address.ip)
        && (config.include_loopback || !on_loopback())
}

/// RFC 8445 §5.1.1.1: no address that allows tracking, where the same interface has one of the same network that does not.
fn is_replaced(listed: &[Listed], address: &Listed) -> bool {
    let IpAddr::V6(ip) = address.ip else { return false };
    let network = |ip: Ipv6Addr| ip.to_bits() >> 64;
    let hides = |other: &&Listed| {
        let flags = other.flags;
        let IpAddr::V6(other_ip) = other.ip else { return false };
        flags.temporary
            && !flags.deprecated
            && !flags.tentative
            && other.index == address.index
            && network(other_ip) == network(ip)
    };
    !address.flags.temporary && listed.iter().any(|other| hides(&other))
}

fn is_candidate(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => {
            !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_unicast_link_local()
                && !is_site_local(ip)
                && ip.to_ipv4_mapped().is_none()
                && (ip.is_loopback() || ip.to_ipv4().is_none())
        }
    }
}

/// fec0::/10, deprecated by RFC 3879.
fn is_site_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfec0
}

#[cfg(test)]
mod tests;
