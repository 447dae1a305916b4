//! Two hosts with two interfaces each, and a router between them: an interface of one can go without the other's noticing.
//!
//! ```text
//!   a ── one ── 10.1.1.0/24 ── ┌──────┐ ── 10.1.2.0/24 ── one ── b
//!     ── two ── 10.2.1.0/24 ── │router│ ── 10.2.2.0/24 ── two ──
//!                              └──────┘
//! ```
//! The hosts are number 1 in their networks, the router 254; IPv6 is fd01:1::1 and so on.

use sinnet_interop::namespace::{Namespace, Namespaces, script};

/// Which interface of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    One,
    Two,
}

use Interface::{One, Two};

impl Interface {
    pub(crate) fn other(self) -> Self {
        if self == One { Two } else { One }
    }

    fn name(self) -> &'static str {
        if self == One { "one" } else { "two" }
    }

    fn number(self) -> u8 {
        if self == One { 1 } else { 2 }
    }

    /// The interface that has an address.
    pub(crate) fn of(ip: std::net::IpAddr) -> Self {
        let text = ip.to_string();
        if text.starts_with("10.1.") || text.starts_with("fd01:") { One } else { Two }
    }
}

pub(crate) struct TwoWays(Namespaces);

impl TwoWays {
    /// With all interfaces up.
    pub(crate) fn new() -> Self {
        let namespaces = Namespaces::new(&["a", "b", "r"]).expect("namespaces");
        let world = Self(namespaces);
        let router = world.0.place(2).name();
        script(&format!(
            "ip netns exec {router} sh -ec '
                 echo 1 > /proc/sys/net/ipv4/ip_forward
                 echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
                 for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done'"
        ))
        .expect("a router");
        for host in 0..2 {
            let place = world.host(host).name();
            for interface in [One, Two] {
                let (name, way) = (interface.name(), interface.number());
                let net = host + 1;
                script(&format!(
                    "ip link add {name} netns {place} type veth peer name {name}{net} netns {router}
                     for n in {place} {router}; do
                         ip netns exec $n sh -ec 'for f in /proc/sys/net/ipv4/conf/{name}*/rp_filter; do echo 0 > $f; done
                             for f in /proc/sys/net/ipv6/conf/{name}*/accept_dad; do echo 0 > $f; done'
                     done
                     ip -n {router} addr add 10.{way}.{net}.254/24 dev {name}{net}
                     ip -n {router} addr add fd0{way}:{net}::254/64 dev {name}{net} nodad
                     ip -n {router} link set {name}{net} up"
                ))
                .expect("a cable");
                world.up(host, interface);
            }
        }
        world
    }

    /// The first or the second host.
    pub(crate) fn host(&self, index: usize) -> &Namespace {
        self.0.place(index)
    }

    /// Takes an interface down. Its IPv6 addresses and all routes over it go.
    pub(crate) fn down(&self, host: usize, interface: Interface) {
        script(&format!("ip -n {} link set {} down", self.host(host).name(), interface.name()))
            .expect("down");
    }

    /// Takes its addresses, and leaves it up.
    pub(crate) fn take_addresses(&self, host: usize, interface: Interface) {
        script(&format!("ip -n {} addr flush dev {}", self.host(host).name(), interface.name()))
            .expect("flushed");
    }

    /// Brings it up with its addresses and routes: to the other end of the same way, and by default, the first interface before
    /// the second.
    pub(crate) fn up(&self, host: usize, interface: Interface) {
        let place = self.host(host).name();
        let (name, way) = (interface.name(), interface.number());
        let (net, other) = (host + 1, 2 - host);
        script(&format!(
            "ip -n {place} link set {name} up
             ip -n {place} addr replace 10.{way}.{net}.1/24 dev {name}
             ip -n {place} addr replace fd0{way}:{net}::1/64 dev {name} nodad
             ip -n {place} route replace 10.{way}.{other}.0/24 via 10.{way}.{net}.254
             ip -n {place} route replace default via 10.{way}.{net}.254 metric {way}00
             ip -n {place} -6 route replace fd0{way}:{other}::/64 via fd0{way}:{net}::254
             ip -n {place} -6 route replace default via fd0{way}:{net}::254 metric {way}00"
        ))
        .expect("up");
    }
}
