use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Which of the machine's addresses become host candidates, where a socket is bound to the unspecified address. Everything
/// by default. An address that was named in [`EndpointConfig::bind`](crate::EndpointConfig::bind) is a candidate in any case.
///
/// ```
/// use sinnet::{EndpointConfig, HostFilter};
///
/// let mut config = EndpointConfig::default();
/// config.hosts = HostFilter {
///     except_interfaces: vec!["docker*".into(), "br-*".into(), "veth*".into()],
///     except_networks: vec!["100.64.0.0/10".parse()?],
///     ipv6: false,
///     ..HostFilter::default()
/// };
/// # Ok::<(), sinnet::IpNetworkError>(())
/// ```
///
/// Never gathered, whatever is set: interfaces that are down; the loopback interface, unless
/// [`EndpointConfig::include_loopback`](crate::EndpointConfig::include_loopback); IPv6 addresses that are link-local (a
/// candidate can't carry the interface they belong to), site-local, IPv4-compatible, IPv4-mapped, tentative or deprecated; and
/// an IPv6 address of an interface that has a temporary one in the same network (RFC 8445 §5.1.1.1). Of the last two kinds
/// only Linux tells. IPv4 link-local addresses come after all others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostFilter {
    /// Interfaces, by name as `ip link` shows it. In all patterns `*` stands for any characters, or none. Empty, the
    /// default, is all.
    pub interfaces: Vec<String>,
    /// Interfaces that are left out of these.
    pub except_interfaces: Vec<String>,
    /// Networks that addresses have to be in. Empty, the default, is all.
    pub networks: Vec<IpNetwork>,
    /// Networks whose addresses are left out of these.
    pub except_networks: Vec<IpNetwork>,
    /// Whether IPv4 addresses are gathered.
    pub ipv4: bool,
    /// Whether IPv6 addresses are gathered.
    pub ipv6: bool,
    /// Most addresses, all sockets together: 32 by default, which is also what a connection takes over UDP, and over TCP of each type. The first addresses of all
    /// interfaces, in the system's order, come before the second ones, and IPv6 and IPv4 take turns (RFC 8421 §4).
    pub max: usize,
}

impl Default for HostFilter {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            except_interfaces: Vec::new(),
            networks: Vec::new(),
            except_networks: Vec::new(),
            ipv4: true,
            ipv6: true,
            max: 32,
        }
    }
}

impl HostFilter {
    pub(super) fn passes(&self, interface: &str, ip: IpAddr) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, interface));
        let within = |networks: &[IpNetwork]| networks.iter().any(|network| network.contains(ip));
        self.passes_family(ip)
            && (self.interfaces.is_empty() || named(&self.interfaces))
            && !named(&self.except_interfaces)
            && (self.networks.is_empty() || within(&self.networks))
            && !within(&self.except_networks)
    }

    fn passes_family(&self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// `*` stands for anything. Linear but for the number of stars, of which a configuration has few.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let mut pieces = tail.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// A network: an address and how many of its first bits count. Written `10.0.0.0/8` or `fd00::/8`; an address alone is the
/// network of that address. Bits after those that count may be set, and mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IpNetwork {
    address: IpAddr,
    length: u8,
}

impl IpNetwork {
    /// The network of the addresses that have the first `length` bits of `address`. `None` when it hasn't so many.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (length <= bits).then_some(Self { address, length })
    }

    /// Whether `ip` is in it. An IPv4 address is in no IPv6 network, and the other way round.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let shift = |bits: u32| bits - u32::from(self.length);
        match (self.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A text is no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a network such as 10.0.0.0/8 or fd00::/8")]
pub struct IpNetworkError(String);

impl FromStr for IpNetwork {
    type Err = IpNetworkError;

    fn from_str(text: &str) -> Result<Self, IpNetworkError> {
        let wrong = || IpNetworkError(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        Self::new(address, length.unwrap_or(all)).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in [
            ("eth0", "eth0"),
            ("eth*", "eth0"),
            ("eth*", "eth"),
            ("*", "wlan0"),
            ("*", ""),
            ("*0", "eth0"),
            ("e*h*", "eth12"),
            ("*a*a", "aba"),
            ("br-*-x", "br-12-34-x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("eth", "eth0"),
            ("", "eth0"),
            ("eth*", "veth0"),
            ("*1", "eth0"),
            ("a*a", "a"),
            ("*a*a", "ab"),
            ("e*x*0", "eth0"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_network_contains_what_shares_its_first_bits() {
        let contains =
            |network: &str, ip: &str| network.parse::<IpNetwork>().unwrap().contains(ip.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.1.2.3/8", "10.9.9.9"), "bits that don't count mean nothing");
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("0.0.0.0/0", "192.0.2.1") && contains("::/0", "2001:db8::1"));
        assert!(!contains("0.0.0.0/0", "::1") && !contains("::/0", "10.0.0.1"), "a family is a family");
        assert!(contains("192.0.2.1", "192.0.2.1") && !contains("192.0.2.1", "192.0.2.2"));
        assert!(contains("fd00::/8", "fdff::1") && !contains("fd00::/8", "fe80::1"));
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/", "host/8", "10.0.0.0/8/8"]
        {
            let error = text.parse::<IpNetwork>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert_eq!("10.1.0.0/16".parse::<IpNetwork>().unwrap().to_string(), "10.1.0.0/16");
    }

    #[test]
    fn an_exception_wins_over_what_is_named() {
        let filter = HostFilter {
            interfaces: vec!["eth*".into(), "wlan0".into()],
            except_interfaces: vec!["eth1".into()],
            networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            except_networks: vec!["10.9.0.0/16".parse().unwrap()],
            ..HostFilter::default()
        };
        let passes = |interface: &str, ip: &str| filter.passes(interface, ip.parse().unwrap());
        assert!(passes("eth0", "10.1.0.1") && passes("wlan0", "fd00::1"));
        assert!(!passes("eth1", "10.1.0.1") && !passes("docker0", "10.1.0.1"));
        assert!(!passes("eth0", "10.9.0.1") && !passes("eth0", "192.0.2.1"));
        let v6 = HostFilter { ipv4: false, ..filter.clone() };
        assert!(
            !v6.passes("eth0", "10.1.0.1".parse().unwrap()) && v6.passes("eth0", "fd00::1".parse().unwrap())
        );
    }
}
