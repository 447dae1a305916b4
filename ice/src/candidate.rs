//! A candidate and its numbers: type, priority, foundation (RFC 8445 §5.1).

use std::net::{IpAddr, SocketAddr};

use crate::event::Protocol;

/// How a candidate was found (RFC 8445 §5.1.1); decides its type preference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CandidateKind {
    /// `host`: an address of the machine itself.
    Host,
    /// `srflx`: seen by a STUN server.
    ServerReflexive,
    /// `prflx`: seen by the peer during checks.
    PeerReflexive,
    /// `relay`: on a TURN server.
    Relayed,
}

impl CandidateKind {
    /// The recommended type preference (RFC 8445 §5.1.2.2).
    pub fn type_preference(self) -> u32 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relayed => 0,
        }
    }

    /// The word after `typ`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }
}

/// How a client reaches its TURN server, which orders its relayed candidates. Between the relay and the peer it is UDP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RelayProtocol {
    /// Over UDP.
    Udp,
    /// Over TCP.
    Tcp,
    /// Over TLS.
    Tls,
}

impl RelayProtocol {
    /// W3C's `relayProtocol`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// The transport of a candidate.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP (RFC 6544).
    Tcp,
    /// Any other token: kept, not tried.
    Other(String),
}

/// RFC 6544 §4.5: which way a TCP candidate connects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TcpType {
    /// Connects.
    Active,
    /// Listens.
    Passive,
    /// Simultaneous open.
    SimultaneousOpen,
}

/// Where a candidate is: an address, or a name such as a browser's `….local`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A name (RFC 8839 §5.1 permits an FQDN; browsers hide addresses behind mDNS names). Not resolved here.
    Name {
        /// The name as written, at most 253 bytes.
        host: String,
        /// The port.
        port: u16,
    },
}

/// One candidate, as signalled in a `candidate` attribute (RFC 8839 §5.1). Made by
/// the agent's `add_…` calls or by parsing; written with `Display`, which gives
/// `candidate:…` without `a=`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// 1 to 32 ice-chars; equal for candidates of the same type, base address and transport.
    pub foundation: String,
    /// 1 to 256; here always 1.
    pub component: u16,
    /// UDP, TCP, or something that isn't tried.
    pub transport: Transport,
    /// RFC 8445 §5.1.2.
    pub priority: u32,
    /// Where it is.
    pub address: Address,
    /// How it was found.
    pub kind: CandidateKind,
    /// `raddr` and `rport`, for information only.
    pub related: Option<SocketAddr>,
    /// `tcptype`, for TCP.
    pub tcp_type: Option<TcpType>,
    /// Every other extension in order, as name and value: `generation`, `ufrag`, `network-cost` …
    pub extensions: Vec<(String, String)>,
}

impl Candidate {
    /// The value of the first extension of this name.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// RFC 8445 §5.1.2.1, for component 1.
pub(crate) fn priority(type_preference: u32, local_preference: u16) -> u32 {
    type_preference << 24 | u32::from(local_preference) << 8 | 255
}

/// The type preference of a candidate that something carries. RFC 6544 §4.2 leaves the distance of TCP to UDP open. As in libwebrtc every
/// direct way over UDP comes before TCP, and TCP before a relay.
pub(crate) fn type_preference(kind: CandidateKind, protocol: Protocol) -> u32 {
    match (protocol, kind) {
        (Protocol::Tcp, CandidateKind::Host) => 90,
        (Protocol::Tcp, CandidateKind::PeerReflexive) => 80,
        _ => kind.type_preference(),
    }
}

/// Addresses among which local preferences are given out: of each class the first before the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    V6,
    V4,
    LinkLocal,
    Loopback,
}

impl Class {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Self::LinkLocal,
            IpAddr::V4(v4) if v4.is_link_local() => Self::LinkLocal,
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// How the `index`th address of its class is preferred, 0 to 8191: different for each, so that no two candidates have one priority
/// (RFC 8445 §5.1.2.2). IPv6 and IPv4 take turns, IPv6 first (RFC 8421 §4), then link-local, loopback last.
fn rank(ip: IpAddr, index: usize) -> u16 {
    let index = u16::try_from(index).unwrap_or(u16::MAX).min(999);
    match Class::of(ip) {
        Class::V6 => 8_000 - 2 * index,
        Class::V4 => 7_999 - 2 * index,
        Class::LinkLocal => 4_000 - index,
        Class::Loopback => 2_000 - index,
    }
}

/// The local preference of the `index`th candidate of its class over UDP.
pub(crate) fn local_preference(ip: IpAddr, index: usize) -> u16 {
    (7 << 13) + rank(ip, index)
}

/// The same over TCP: 2^13 · direction-pref + other-pref, with 6 for active and 4 for passive (RFC 6544 §4.2).
pub(crate) fn tcp_local_preference(tcp_type: TcpType, ip: IpAddr, index: usize) -> u16 {
    let direction = match tcp_type {
        TcpType::Active => 6,
        TcpType::Passive => 4,
        TcpType::SimultaneousOpen => 2,
    };
    (direction << 13) + rank(ip, index)
}

/// The same of a relayed candidate. What the relay is reached over counts first: a datagram that is lost holds up those behind it on a stream.
pub(crate) fn relayed_local_preference(by: RelayProtocol, ip: IpAddr, index: usize) -> u16 {
    let by = match by {
        RelayProtocol::Udp => 3,
        RelayProtocol::Tcp => 2,
        RelayProtocol::Tls => 1,
    };
    (by << 13) + rank(ip, index)
}

/// An IPv4-mapped IPv6 address becomes IPv4, so that one destination has one form.
pub(crate) fn normal(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether a datagram may ever be sent there: no port 0, and an address that one machine can have.
pub(crate) fn is_sendable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast =
        matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0 || v4.octets()[0] >= 240);
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether a local base and a remote address can be a pair (RFC 8445 §6.1.2.2): same family; loopback with
/// loopback; link-local IPv6 with link-local IPv6.
pub(crate) fn go_together(local: SocketAddr, remote: SocketAddr) -> bool {
    let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let (l, r) = (local.ip().to_canonical(), remote.ip().to_canonical());
    l.is_ipv4() == r.is_ipv4()
        && l.is_loopback() == r.is_loopback()
        && link_local(l) == link_local(r)
        && normal(local) != normal(remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_no_peer_can_have_are_never_sent_to() {
        for text in [
            "0.0.0.0:9",
            "[::]:9",
            "10.0.0.1:0",
            "224.0.0.251:5353",
            "255.255.255.255:1",
            "[ff02::1]:1",
            "0.1.2.3:9",
            "[::ffff:0.0.0.0]:9",
            "[::ffff:224.0.0.1]:9",
            "[::ffff:255.255.255.255]:9",
            "240.0.0.1:1",
        ] {
            assert!(!is_sendable(text.parse().unwrap()), "{text}");
        }
        for text in
            ["127.0.0.1:1", "[::1]:1", "10.0.0.1:65535", "[fe80::1]:1", "[fd09::1]:1", "[::ffff:10.0.0.1]:9"]
        {
            assert!(is_sendable(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn families_and_scopes_do_not_mix() {
        let pair = |l: &str, r: &str| go_together(l.parse().unwrap(), r.parse().unwrap());
        assert!(pair("10.0.0.1:1", "10.0.0.2:1"));
        assert!(pair("127.0.0.1:1", "127.0.0.1:2"));
        assert!(pair("[fe80::1]:1", "[fe80::2]:1"));
        assert!(!pair("10.0.0.1:1", "[fd09::1]:1"));
        assert!(!pair("10.0.0.1:1", "127.0.0.1:1"));
        assert!(!pair("[fd09::1]:1", "[fe80::2]:1"));
        assert!(!pair("10.0.0.1:1", "10.0.0.1:1"), "never to ourselves");
        assert!(!pair("10.0.0.1:1", "[::ffff:10.0.0.1]:1"));
    }

    #[test]
    fn host_priorities_differ_and_follow_the_rfc() {
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        let v6: IpAddr = "fd09::1".parse().unwrap();
        let lo: IpAddr = "127.0.0.1".parse().unwrap();
        let of = |ip, i| priority(126, local_preference(ip, i));
        let turns =
            [of(v6, 0), of(v4, 0), of(v6, 1), of(v4, 1), of(v6, 2), of(v6, 3), of(v4, 900), of(lo, 0)];
        assert!(turns.is_sorted_by(|a, b| a > b), "{turns:?}");
        assert_eq!(of(v4, 0), (1 << 24) * 126 + (1 << 8) * 65_343 + 255);
        assert_eq!(of(lo, usize::MAX), (1 << 24) * 126 + (1 << 8) * 58_345 + 255);
    }

    #[test]
    fn udp_comes_before_tcp_and_both_before_relays() {
        use CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive};
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        let v6: IpAddr = "fd09::1".parse().unwrap();
        let udp = |kind, ip| priority(type_preference(kind, Protocol::Udp), local_preference(ip, 0));
        let tcp = |kind, way, ip, i| {
            priority(type_preference(kind, Protocol::Tcp), tcp_local_preference(way, ip, i))
        };
        let relay = |by, ip, i| priority(Relayed.type_preference(), relayed_local_preference(by, ip, i));
        let order = [
            udp(Host, v4),
            udp(PeerReflexive, v4),
            udp(ServerReflexive, v4),
            tcp(Host, TcpType::Active, v6, 0),
            tcp(Host, TcpType::Active, v4, 0),
            tcp(Host, TcpType::Active, v4, 31),
            tcp(Host, TcpType::Passive, v6, 0),
            tcp(Host, TcpType::Passive, v4, 0),
            tcp(PeerReflexive, TcpType::Active, v4, 0),
            relay(RelayProtocol::Udp, v6, 0),
            relay(RelayProtocol::Udp, v4, 0),
            relay(RelayProtocol::Udp, v4, 31),
            relay(RelayProtocol::Tcp, v6, 0),
            relay(RelayProtocol::Tls, v6, 0),
        ];
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
        assert_eq!(tcp(Host, TcpType::Active, v4, 0) >> 8 & 0xffff, (6 << 13) + 7999);
    }
}
