//! Whom the server relays to (RFC 8656 §21.2.2, §21.4): a relay is a way into the network that it stands in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which peers are refused. Never anybody's: unspecified, multicast, broadcast and reserved addresses, port 0, Teredo,
/// 6to4, IPv4-compatible, SIIT's (RFC 2765) and local translators' addresses (RFC 8215). IPv4 inside of IPv6 (`::ffff:…`, `64:ff9b::…`) is judged as the IPv4 that it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerPolicy {
    /// Whether to relay to this machine itself.
    pub loopback: bool,
    /// Whether to relay to link-local addresses, among which clouds keep their metadata services.
    pub link_local: bool,
    /// Whether to relay to private networks (RFC 1918, RFC 6598, RFC 4193, RFC 3879). True by default: in a home or an office
    /// that is where peers are. Where internal services must not be reached through the relay, say false.
    pub private: bool,
    /// Whether to relay to any port of the server's own addresses. Ports that it relays for may always be reached: that
    /// is how two of its clients talk.
    pub own: bool,
    /// Further networks to refuse: address and length of the prefix. IPv4 may be written as IPv6 (`::ffff:10.0.0.0`, 104).
    pub denied: Vec<(IpAddr, u8)>,
}

impl Default for PeerPolicy {
    fn default() -> Self {
        Self { loopback: false, link_local: false, private: true, own: false, denied: Vec::new() }
    }
}

impl PeerPolicy {
    /// Whether data may go to this address at all; the server's own addresses are judged elsewhere.
    pub(crate) fn allows(&self, ip: IpAddr) -> bool {
        let given = ip.to_canonical();
        let ip = embedded(given);
        let denies = |(network, length): &(IpAddr, u8)| {
            is_within(ip, *network, *length) || is_within(given, *network, *length)
        };
        if self.denied.iter().any(denies) {
            return false;
        }
        match ip {
            IpAddr::V4(ip) => self.allows_v4(ip),
            IpAddr::V6(ip) => self.allows_v6(ip),
        }
    }

    fn allows_v4(&self, ip: Ipv4Addr) -> bool {
        let [a, b, ..] = ip.octets();
        let shared = a == 100 && (64..128).contains(&b);
        let never = a == 0 || a >= 224;
        !never
            && (self.loopback || !ip.is_loopback())
            && (self.link_local || !ip.is_link_local())
            && (self.private || !(ip.is_private() || shared))
    }

    fn allows_v6(&self, ip: Ipv6Addr) -> bool {
        let [s0, s1, s2, ..] = ip.segments();
        let teredo = s0 == 0x2001 && s1 == 0;
        let sixtofour = s0 == 0x2002;
        // ::a.b.c.d, except for ::1.
        let compatible = ip.segments().starts_with(&[0; 6]) && !ip.is_loopback();
        // ::ffff:0:a.b.c.d of SIIT, and what a network's own translator makes IPv4 of, in whatever way.
        let translated =
            ip.segments().starts_with(&[0, 0, 0, 0, 0xffff, 0]) || [s0, s1, s2] == [0x64, 0xff9b, 1];
        let site_local = s0 & 0xffc0 == 0xfec0;
        let never =
            ip.is_unspecified() || ip.is_multicast() || teredo || sixtofour || compatible || translated;
        !never
            && (self.loopback || !ip.is_loopback())
            && (self.link_local || !ip.is_unicast_link_local())
            && (self.private || !(ip.is_unique_local() || site_local))
    }
}

/// The IPv4 address that is meant, if one is: mapped (RFC 4291 §2.5.5.2) or NAT64's well-known prefix (RFC 6052 §2.1).
pub(super) fn embedded(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => match v6.octets() {
            [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
            _ => v6.into(),
        },
        v4 => v4,
    }
}

fn is_within(ip: IpAddr, network: IpAddr, length: u8) -> bool {
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32_u32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        (IpAddr::V4(ip), IpAddr::V6(network)) if network.to_ipv4_mapped().is_some() => {
            (ip.to_ipv6_mapped().to_bits(), network.to_bits(), 128)
        }
        _ => return false,
    };
    let host = width.saturating_sub(u32::from(length));
    let prefix = |bits: u128| bits.checked_shr(host).unwrap_or(0);
    prefix(ip) == prefix(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &PeerPolicy, ip: &str) -> bool {
        policy.allows(ip.parse().unwrap())
    }

    #[test]
    fn what_is_refused_by_default_is_refused_in_every_disguise() {
        let policy = PeerPolicy::default();
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "239.1.2.3",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::127.0.0.1",
            "::8.8.8.8",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::",
            "2002:808:808::1",
            "2001::1",
            "2001:0:53aa::1",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "::ffff:0:169.254.169.254",
            "::ffff:0:8.8.8.8",
        ] {
            assert!(!allows(&policy, ip), "{ip}");
        }
        for ip in
            ["8.8.8.8", "10.0.0.1", "192.168.1.1", "2001:db8::1", "64:ff9b::8.8.8.8", "fd00::1", "100.64.0.1"]
        {
            assert!(allows(&policy, ip), "{ip}");
        }
    }

    #[test]
    fn each_switch_opens_what_it_names() {
        let open = PeerPolicy { loopback: true, link_local: true, ..PeerPolicy::default() };
        for ip in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"] {
            assert!(allows(&open, ip), "{ip}");
        }
        assert!(!allows(&open, "0.0.0.0") && !allows(&open, "::127.0.0.1") && !allows(&open, "ff02::1"));
        let closed = PeerPolicy { private: false, ..PeerPolicy::default() };
        for ip in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "fd00::1",
            "fec0::1",
            "feff::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!allows(&closed, ip), "{ip}");
        }
        assert!(
            allows(&closed, "172.32.0.1") && allows(&closed, "100.128.0.1") && allows(&closed, "8.8.8.8")
        );
    }

    #[test]
    fn networks_can_be_denied_by_prefix() {
        let network = |ip: &str, length| (ip.parse().unwrap(), length);
        let denied = vec![network("203.0.113.0", 24), network("2001:db8::", 32), network("198.51.100.7", 32)];
        let policy = PeerPolicy { denied, ..PeerPolicy::default() };
        for ip in [
            "203.0.113.200",
            "::ffff:203.0.113.1",
            "2001:db8:ffff::1",
            "198.51.100.7",
            "64:ff9b::203.0.113.1",
        ] {
            assert!(!allows(&policy, ip), "{ip}");
        }
        assert!(
            allows(&policy, "203.0.114.1")
                && allows(&policy, "2001:db9::1")
                && allows(&policy, "198.51.100.8")
        );
        for (prefix, length) in [("::ffff:203.0.113.0", 120), ("::ffff:0.0.0.0", 96), ("64:ff9b::", 96)] {
            let policy = PeerPolicy { denied: vec![network(prefix, length)], ..PeerPolicy::default() };
            let of_v4 = prefix.starts_with("::ffff");
            for ip in ["203.0.113.200", "::ffff:203.0.113.200"] {
                assert_eq!(allows(&policy, ip), !of_v4, "{ip} by {prefix}");
            }
            assert!(!allows(&policy, "64:ff9b::203.0.113.200"), "{prefix}");
            assert_eq!(allows(&policy, "8.8.8.8"), length == 120 || !of_v4, "{prefix}");
            assert!(allows(&policy, "2001:db8::1"), "{prefix}");
        }
        let only_ipv4 = PeerPolicy { denied: vec![network("::", 0)], ..PeerPolicy::default() };
        assert!(allows(&only_ipv4, "8.8.8.8") && !allows(&only_ipv4, "2001:db8::1"));
        let everything =
            PeerPolicy { denied: vec![network("0.0.0.0", 0), network("::", 0)], ..PeerPolicy::default() };
        assert!(!allows(&everything, "8.8.8.8") && !allows(&everything, "2001:db8::1"));
    }
}
