//! Which addresses a socket can be reached at.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The host addresses of a socket bound to `bound`: itself, or those of all interfaces that are up when it is bound
/// to the unspecified address.
///
/// Left out: loopback unless `include_loopback` (RFC 8445 §5.1.1.1), IPv6 link-local addresses (they need a scope that
/// candidates can't carry) and site-local and v4-mapped ones (same section).
pub(crate) fn host_addresses(bound: SocketAddr, include_loopback: bool) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let interfaces = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::warn!(%error, "can't list the network interfaces; no host candidates");
            return Vec::new();
        }
    };
    let mut addresses: Vec<SocketAddr> = interfaces
        .iter()
        .filter(|interface| include_loopback || !interface.is_loopback())
        .filter(|interface| interface.is_loopback() || interface.is_oper_up())
        .map(|interface| interface.ip())
        .filter(|ip| ip.is_ipv4() == bound.is_ipv4() && is_usable(*ip))
        .map(|ip| SocketAddr::new(ip, bound.port()))
        .collect();
    addresses.dedup();
    addresses
}

fn is_usable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => {
            !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_unicast_link_local()
                && !is_site_local(ip)
                && ip.to_ipv4_mapped().is_none()
        }
    }
}

/// fec0::/10, deprecated by RFC 3879.
fn is_site_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfec0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_address_stands_for_itself() {
        let addr: SocketAddr = "127.0.0.1:4242".parse().unwrap();
        assert_eq!(host_addresses(addr, false), vec![addr]);
    }

    #[test]
    fn the_unspecified_address_has_loopback_only_when_asked() {
        let addr: SocketAddr = "0.0.0.0:4242".parse().unwrap();
        let loopback: SocketAddr = "127.0.0.1:4242".parse().unwrap();
        assert!(!host_addresses(addr, false).contains(&loopback));
        assert!(host_addresses(addr, true).contains(&loopback));
    }

    #[test]
    fn addresses_that_candidates_cannot_carry_are_left_out() {
        for text in ["fe80::1", "fec0::1", "::ffff:10.0.0.1", "::", "ff02::1", "0.0.0.0", "224.0.0.1"] {
            assert!(!is_usable(text.parse().unwrap()), "{text}");
        }
        for text in ["fd09::1", "2001:db8::1", "::1", "10.0.0.1", "127.0.0.1"] {
            assert!(is_usable(text.parse().unwrap()), "{text}");
        }
    }
}
