//! Network address translators, by the kinds of RFC 4787: how they map, what they let in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// On how much of the other end something depends (RFC 4787 §4.1 and §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dependence {
    /// On nothing of it.
    EndpointIndependent,
    /// On its address.
    Address,
    /// On its address and port.
    AddressAndPort,
}

impl Dependence {
    /// What of the other end it looks at.
    fn of(self, remote: SocketAddr) -> Option<SocketAddr> {
        match self {
            Self::EndpointIndependent => None,
            Self::Address => Some(SocketAddr::new(remote.ip(), 0)),
            Self::AddressAndPort => Some(remote),
        }
    }
}

/// A translator, or with `blocks_udp` a firewall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatConfig {
    /// Its address on the outside. That may be the inside of another one.
    pub external: IpAddr,
    /// The addresses behind it. They reach each other without it.
    pub inside: Vec<IpAddr>,
    /// When the same inner address and port get another outer port.
    pub mapping: Dependence,
    /// Who may send to an outer port: everybody, or whom its inner address has sent to.
    pub filtering: Dependence,
    /// Whether those inside reach each other by outer addresses (RFC 4787 §6).
    pub hairpin: bool,
    /// Whether the outer port is the inner one where that is free; else it is any.
    pub keeps_ports: bool,
    /// How long a mapping is kept after the last datagram from the inside.
    pub lifetime: Duration,
    /// Nothing passes in either direction, but for what goes to and comes from `open_port`.
    pub blocks_udp: bool,
    /// A port on the outside that is not blocked: what goes there stands for a TCP connection's segments.
    pub open_port: Option<u16>,
}

impl NatConfig {
    /// As most homes have it: endpoint-independent mapping, filtering by address and port, no hairpinning, mappings of 30 s.
    pub fn new(external: IpAddr, inside: Vec<IpAddr>) -> Self {
        Self {
            external,
            inside,
            mapping: Dependence::EndpointIndependent,
            filtering: Dependence::AddressAndPort,
            hairpin: false,
            keeps_ports: false,
            lifetime: Duration::from_secs(30),
            blocks_udp: false,
            open_port: None,
        }
    }

    fn blocks(&self, outside: SocketAddr) -> bool {
        self.blocks_udp && self.open_port != Some(outside.port())
    }
}

/// What a translator has dropped so far, in datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NatStats {
    /// From the outside to a port that nobody has, or from whom nobody inside has sent to.
    pub refused: u64,
    /// From the inside to the own outer address, without hairpinning.
    pub hairpins: u64,
    /// By a firewall, in both directions.
    pub blocked: u64,
}

struct Mapping {
    inner: SocketAddr,
    towards: Option<SocketAddr>,
    /// Whom the inner address has sent to, as far as the filter looks.
    sent_to: BTreeSet<Option<SocketAddr>>,
    used: Instant,
}

pub(crate) struct Nat {
    config: NatConfig,
    by_port: BTreeMap<u16, Mapping>,
    ports: BTreeMap<(SocketAddr, Option<SocketAddr>), u16>,
    rng: Xoshiro256PlusPlus,
    stats: NatStats,
}

/// Outer ports are from here up.
const FIRST_PORT: u16 = 1024;

impl Nat {
    pub(crate) fn new(config: NatConfig, seed: u64) -> Self {
        Self {
            config,
            by_port: BTreeMap::new(),
            ports: BTreeMap::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            stats: NatStats::default(),
        }
    }

    fn holds(&self, ip: IpAddr) -> bool {
        self.config.inside.contains(&ip)
    }

    /// The outer address for a datagram from the inside; made if there is none.
    fn outwards(&mut self, now: Instant, inner: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let towards = self.config.mapping.of(remote);
        self.expire(now);
        let port = match self.ports.get(&(inner, towards)) {
            Some(port) => *port,
            None => {
                let port = self.free_port(inner.port())?;
                self.ports.insert((inner, towards), port);
                let mapping = Mapping { inner, towards, sent_to: BTreeSet::new(), used: now };
                self.by_port.insert(port, mapping);
                port
            }
        };
        let mapping = self.by_port.get_mut(&port)?;
        mapping.used = now;
        mapping.sent_to.insert(self.config.filtering.of(remote));
        Some(SocketAddr::new(self.config.external, port))
    }

    /// The inner address that a datagram from the outside is for, if it may pass.
    fn inwards(&mut self, now: Instant, remote: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.expire(now);
        let seen = self.config.filtering.of(remote);
        let mapping = self.by_port.get(&port).filter(|mapping| mapping.sent_to.contains(&seen));
        if mapping.is_none() {
            self.stats.refused += 1;
        }
        mapping.map(|mapping| mapping.inner)
    }

    fn free_port(&mut self, wanted: u16) -> Option<u16> {
        if self.config.keeps_ports && wanted >= FIRST_PORT && !self.by_port.contains_key(&wanted) {
            return Some(wanted);
        }
        if self.by_port.len() > usize::from(u16::MAX - FIRST_PORT) {
            return None;
        }
        loop {
            let port = self.rng.random_range(FIRST_PORT..=u16::MAX);
            if !self.by_port.contains_key(&port) {
                return Some(port);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let (ports, lifetime) = (&mut self.ports, self.config.lifetime);
        self.by_port.retain(|_, mapping| {
            let lives = now.saturating_duration_since(mapping.used) <= lifetime;
            if !lives {
                ports.remove(&(mapping.inner, mapping.towards));
            }
            lives
        });
    }
}

/// All translators of a network.
#[derive(Default)]
pub(crate) struct Nats(Vec<Nat>);

/// How deep translators may stand behind each other.
const MAX_DEPTH: usize = 8;

impl Nats {
    pub(crate) fn add(&mut self, nat: Nat) {
        self.0.push(nat);
    }

    pub(crate) fn forget_mappings(&mut self, external: IpAddr) {
        for nat in self.0.iter_mut().filter(|nat| nat.config.external == external) {
            nat.by_port.clear();
            nat.ports.clear();
        }
    }

    pub(crate) fn stats(&self, external: IpAddr) -> NatStats {
        self.0.iter().find(|nat| nat.config.external == external).map(|nat| nat.stats).unwrap_or_default()
    }

    /// On the way out: the addresses on the outermost net that it reaches. `None` if it does not get there.
    pub(crate) fn leave(
        &mut self,
        now: Instant,
        mut src: SocketAddr,
        mut dst: SocketAddr,
    ) -> Option<(SocketAddr, SocketAddr)> {
        for _ in 0..MAX_DEPTH {
            let Some(nat) = self.0.iter_mut().find(|nat| nat.holds(src.ip()) && !nat.holds(dst.ip())) else {
                break;
            };
            if nat.config.blocks(dst) {
                nat.stats.blocked += 1;
                return None;
            }
            if dst.ip() == nat.config.external {
                if !nat.config.hairpin {
                    nat.stats.hairpins += 1;
                    return None;
                }
                src = nat.outwards(now, src, dst)?;
                dst = nat.inwards(now, src, dst.port())?;
                break;
            }
            src = nat.outwards(now, src, dst)?;
        }
        // Addresses behind a translator have no meaning on the other side of it.
        let hidden = self
            .0
            .iter()
            .any(|nat| nat.holds(dst.ip()) && !nat.holds(src.ip()) && nat.config.external != src.ip());
        (!hidden).then_some((src, dst))
    }

    /// On the way in: the address behind all translators that it is for. `None` if one of them refuses it.
    pub(crate) fn arrive(
        &mut self,
        now: Instant,
        src: SocketAddr,
        mut dst: SocketAddr,
    ) -> Option<SocketAddr> {
        for _ in 0..MAX_DEPTH {
            let Some(nat) = self.0.iter_mut().find(|nat| nat.config.external == dst.ip()) else { break };
            if nat.config.blocks(src) {
                nat.stats.blocked += 1;
                return None;
            }
            dst = nat.inwards(now, src, dst.port())?;
        }
        Some(dst)
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "one base instant a test; all others are computed from it"
    )]

    use super::*;
    use crate::Net;

    const KINDS: [Dependence; 3] =
        [Dependence::EndpointIndependent, Dependence::Address, Dependence::AddressAndPort];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn home() -> NatConfig {
        NatConfig::new(ip("203.0.113.1"), vec![ip("192.168.1.2"), ip("192.168.1.3")])
    }

    /// Sends and returns what arrives at once: from where and to where.
    fn pass(net: &mut Net, now: Instant, src: &str, dst: &str) -> Option<(SocketAddr, SocketAddr)> {
        net.send(now, addr(src), addr(dst), vec![1]);
        net.recv(now).map(|datagram| (datagram.src, datagram.dst))
    }

    #[test]
    fn a_mapping_is_the_same_for_as_much_of_the_other_end_as_its_kind_looks_at() {
        let now = Instant::now();
        for (mapping, ports) in KINDS.into_iter().zip([1, 2, 3]) {
            let mut net = Net::new(1, now);
            net.add_nat(NatConfig { mapping, ..home() });
            let mut seen = BTreeSet::new();
            for dst in ["198.51.100.1:1", "198.51.100.1:2", "198.51.100.2:1", "198.51.100.1:1"] {
                let (src, _) = pass(&mut net, now, "192.168.1.2:5000", dst).unwrap();
                assert_eq!(src.ip(), ip("203.0.113.1"));
                seen.insert(src.port());
            }
            assert_eq!(seen.len(), ports, "{mapping:?}");
        }
    }

    #[test]
    fn a_filter_lets_in_whom_its_kind_takes_for_an_answer() {
        let now = Instant::now();
        for (filtering, open) in KINDS.into_iter().zip([[true; 3], [false, true, true], [false, false, true]])
        {
            let mut net = Net::new(1, now);
            net.add_nat(NatConfig { filtering, ..home() });
            let (outer, _) = pass(&mut net, now, "192.168.1.2:5000", "198.51.100.1:1").unwrap();
            for (src, open) in ["198.51.100.2:1", "198.51.100.1:2", "198.51.100.1:1"].into_iter().zip(open) {
                let arrived = pass(&mut net, now, src, &outer.to_string());
                assert_eq!(arrived.is_some(), open, "{filtering:?} {src}");
                assert!(arrived.is_none_or(|(from, to)| from == addr(src) && to == addr("192.168.1.2:5000")));
            }
            assert_eq!(
                net.nat_stats(ip("203.0.113.1")).refused,
                open.iter().filter(|open| !**open).count() as u64
            );
        }
    }

    #[test]
    fn a_mapping_ends_when_the_inside_is_silent() {
        let now = Instant::now();
        let mut net = Net::new(1, now);
        net.add_nat(home());
        let (outer, _) = pass(&mut net, now, "192.168.1.2:5000", "198.51.100.1:1").unwrap();
        let back = |net: &mut Net, at| pass(net, at, "198.51.100.1:1", &outer.to_string()).is_some();
        assert!(back(&mut net, now + Duration::from_secs(20)));
        assert!(back(&mut net, now + Duration::from_secs(30)));
        assert!(!back(&mut net, now + Duration::from_secs(31)), "what comes in keeps nothing open");
        let (again, _) =
            pass(&mut net, now + Duration::from_secs(32), "192.168.1.2:5000", "198.51.100.1:1").unwrap();
        assert_ne!(again, outer, "another port, by chance");
        net.forget_mappings(ip("203.0.113.1"));
        assert!(
            pass(&mut net, now + Duration::from_secs(33), "198.51.100.1:1", &again.to_string()).is_none()
        );
    }

    #[test]
    fn ports_are_kept_where_they_are_free() {
        let now = Instant::now();
        let mut net = Net::new(1, now);
        net.add_nat(NatConfig { keeps_ports: true, ..home() });
        let port = |net: &mut Net, src| pass(net, now, src, "198.51.100.1:1").unwrap().0.port();
        assert_eq!(port(&mut net, "192.168.1.2:5000"), 5000);
        assert_ne!(port(&mut net, "192.168.1.3:5000"), 5000);
    }

    #[test]
    fn neighbours_reach_each_other_directly_and_by_their_outer_addresses_only_with_hairpinning() {
        let now = Instant::now();
        for hairpin in [false, true] {
            let mut net = Net::new(1, now);
            net.add_nat(NatConfig { hairpin, filtering: Dependence::EndpointIndependent, ..home() });
            let (a, b) = ("192.168.1.2:5000", "192.168.1.3:6000");
            assert_eq!(pass(&mut net, now, a, b), Some((addr(a), addr(b))));
            let (outer, _) = pass(&mut net, now, b, "198.51.100.1:1").unwrap();
            let arrived = pass(&mut net, now, a, &outer.to_string());
            assert_eq!(arrived.map(|(_, to)| to), hairpin.then(|| addr(b)));
            assert!(arrived.is_none_or(|(from, _)| from.ip() == ip("203.0.113.1")), "not as a neighbour");
        }
    }

    #[test]
    fn inner_addresses_mean_nothing_elsewhere() {
        let now = Instant::now();
        let mut net = Net::new(1, now);
        net.add_nat(home());
        net.add_nat(NatConfig::new(ip("203.0.113.2"), vec![ip("192.168.2.2")]));
        assert_eq!(pass(&mut net, now, "192.168.1.2:5000", "192.168.2.2:5000"), None);
        assert_eq!(pass(&mut net, now, "198.51.100.1:1", "192.168.2.2:5000"), None);
    }

    #[test]
    fn two_levels_translate_twice_in_both_directions() {
        let now = Instant::now();
        let mut net = Net::new(1, now);
        net.add_nat(NatConfig { external: ip("100.64.0.1"), ..home() });
        net.add_nat(NatConfig::new(ip("203.0.113.9"), vec![ip("100.64.0.1"), ip("100.64.0.2")]));
        let (outer, _) = pass(&mut net, now, "192.168.1.2:5000", "198.51.100.1:1").unwrap();
        assert_eq!(outer.ip(), ip("203.0.113.9"));
        let back = pass(&mut net, now, "198.51.100.1:1", &outer.to_string());
        assert_eq!(back, Some((addr("198.51.100.1:1"), addr("192.168.1.2:5000"))));
    }

    #[test]
    fn a_firewall_lets_nothing_through() {
        let now = Instant::now();
        let mut net = Net::new(1, now);
        net.add_nat(NatConfig { blocks_udp: true, ..home() });
        assert_eq!(pass(&mut net, now, "192.168.1.2:5000", "198.51.100.1:1"), None);
        assert_eq!(pass(&mut net, now, "198.51.100.1:1", "203.0.113.1:5000"), None);
        assert_eq!(net.nat_stats(ip("203.0.113.1")).blocked, 2);
    }

    #[test]
    fn a_firewall_may_have_one_port_open() {
        let now = Instant::now();
        let mut net = Net::new(1, now);
        net.add_nat(NatConfig { blocks_udp: true, open_port: Some(443), ..home() });
        assert_eq!(pass(&mut net, now, "192.168.1.2:5000", "198.51.100.1:3478"), None);
        let (outer, _) = pass(&mut net, now, "192.168.1.2:5000", "198.51.100.1:443").unwrap();
        assert_eq!(pass(&mut net, now, "198.51.100.1:3478", &outer.to_string()), None);
        assert!(pass(&mut net, now, "198.51.100.1:443", &outer.to_string()).is_some());
    }

    #[test]
    fn a_datagram_that_arrives_after_the_inside_has_sent_gets_in() {
        let now = Instant::now();
        let mut net = Net::new(1, now);
        net.add_nat(home());
        let link = crate::LinkConfig { delay: Duration::from_millis(50), ..Default::default() };
        net.set_default_link(link);
        net.add_nat(NatConfig {
            keeps_ports: true,
            ..NatConfig::new(ip("203.0.113.2"), vec![ip("192.168.2.2")])
        });
        // The mapping exists; who is let in changes while the datagram is on its way.
        net.send(now, addr("192.168.2.2:7000"), addr("198.51.100.1:1"), vec![0]);
        net.send(now, addr("198.51.100.7:1"), addr("203.0.113.2:7000"), vec![1]);
        net.send(now + Duration::from_millis(20), addr("192.168.2.2:7000"), addr("198.51.100.7:1"), vec![2]);
        let arrived: Vec<u8> =
            std::iter::from_fn(|| net.recv(now + Duration::from_millis(100))).map(|d| d.payload[0]).collect();
        assert_eq!(arrived, [0, 1, 2]);
    }
}
