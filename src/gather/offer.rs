//! How our host addresses are offered to a peer: as they are, mapped, or hidden.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use sinnet_peer::{Address, TcpType};

use super::external::Mapping;
use crate::config::IceTcp;
use crate::driver::DISCARD;
use crate::mdns::Mdns;
use crate::shared::{EndpointShared, PeerCore, PeerShared, Queued};

/// One of our addresses, and what peers are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostOffer {
    pub(crate) base: SocketAddr,
    /// Something else than itself.
    shown: Option<Address>,
    /// External addresses besides it.
    besides: Vec<SocketAddr>,
    /// The TCP candidates of its IP address.
    pub(crate) tcp: Vec<TcpOffer>,
}

/// A TCP candidate (RFC 6544), and the external address that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TcpOffer {
    pub(crate) base: SocketAddr,
    pub(crate) tcp_type: TcpType,
    shown: Option<SocketAddr>,
}

/// The bases of TCP candidates on this address: one that connects, and those that are listened on.
pub(crate) fn tcp_bases(endpoint: &EndpointShared, ip: IpAddr) -> Vec<(SocketAddr, TcpType)> {
    let is_on = |bound: &&SocketAddr| {
        bound.ip() == ip || (bound.ip().is_unspecified() && bound.is_ipv4() == ip.is_ipv4())
    };
    let active = (endpoint.config.ice_tcp != IceTcp::Off).then_some((DISCARD, TcpType::Active));
    let listening = endpoint.bound_tcp.iter().filter(is_on);
    let passive = listening.map(|bound| (bound.port(), TcpType::Passive));
    active.into_iter().chain(passive).map(|(port, kind)| (SocketAddr::new(ip, port), kind)).collect()
}

/// What peers are told of these addresses. An address that is to be hidden and can't be is left out. System calls, where
/// external addresses are configured.
pub(crate) fn offers(endpoint: &EndpointShared, bases: &[SocketAddr]) -> Vec<HostOffer> {
    let mapping = Mapping::new(&endpoint.config.external_addresses);
    let offer = |base: SocketAddr| {
        let shown = match mapping.in_place_of(base) {
            // It is there to be known.
            Some(external) => Some(Address::Ip(external)),
            None if endpoint.config.mdns == Mdns::ResolveAndHide => {
                Some(Address::Name { host: endpoint.mdns.name_of(base.ip())?, port: base.port() })
            }
            None => None,
        };
        let besides: Vec<_> = mapping.besides(base).collect();
        let external = mapping.in_place_of(base).or(besides.first().copied());
        let tcp = match &shown {
            // Whoever gets a TCP candidate, or a connection of it, knows the address.
            Some(Address::Name { .. }) => Vec::new(),
            _ => tcp_bases(endpoint, base.ip())
                .into_iter()
                .map(|(base, tcp_type)| {
                    let shown = external.map(|external| SocketAddr::new(external.ip(), base.port()));
                    TcpOffer { base, tcp_type, shown }
                })
                .collect(),
        };
        Some(HostOffer { base, shown, besides, tcp })
    };
    bases.iter().copied().filter_map(offer).collect()
}

/// Adds them to a connection and has its application signal them.
pub(crate) fn add_hosts(peer: &Arc<PeerShared>, core: &mut PeerCore, now: Instant, offers: &[HostOffer]) {
    core.hosts.get_or_insert_default().reserve_exact(offers.len());
    for HostOffer { base, shown, besides, .. } in offers {
        let line = match shown {
            Some(shown) => core.peer.add_local_host_as(now, *base, shown.clone()),
            None => core.peer.add_local_host(now, *base),
        };
        if line.is_some() {
            core.hosts.get_or_insert_default().push(*base);
        }
        let mapped = besides.iter().map(|external| (external, external.ip()));
        let mut lines: Vec<String> = line.into_iter().collect();
        for (external, server) in mapped {
            lines.extend(core.peer.add_server_reflexive(now, *base, *external, server));
        }
        for line in lines {
            let candidate = core.candidate(line);
            peer.enqueue(core, Queued::Candidate(Some(candidate)));
        }
    }
    for TcpOffer { base, tcp_type, shown } in offers.iter().flat_map(|offer| &offer.tcp) {
        // None when another socket has the same address.
        if let Some(line) = core.peer.add_local_tcp_as(now, *base, *tcp_type, *shown) {
            let candidate = core.candidate(line);
            peer.enqueue(core, Queued::Candidate(Some(candidate)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Endpoint, EndpointConfig, ExternalAddress, IceTcp};

    /// The candidate lines of an offer, bound to loopback.
    async fn lines(external: ExternalAddress, ice_tcp: IceTcp) -> Vec<String> {
        let bind = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
        let config = EndpointConfig { external_addresses: vec![external], ice_tcp, ..bind };
        let endpoint = Endpoint::new(config).await.unwrap();
        let peer = endpoint.peer_connection(Default::default()).unwrap();
        peer.set_local_description(peer.create_offer().unwrap()).unwrap();
        let sdp = peer.local_description().unwrap().sdp;
        sdp.lines().filter(|line| line.starts_with("a=candidate")).map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn an_external_address_is_offered_in_place_of_its_inner_one_or_besides_it() {
        let mut external: ExternalAddress = "127.0.0.1=203.0.113.7".parse().unwrap();
        let in_place = lines(external, IceTcp::Off).await;
        assert_eq!(in_place.len(), 1);
        assert!(in_place[0].contains(" 203.0.113.7 ") && in_place[0].contains("typ host"), "{in_place:?}");
        assert!(!in_place[0].contains("127.0.0.1"), "{in_place:?}");
        external.besides = true;
        let besides = lines(external, IceTcp::Off).await;
        assert_eq!(besides.len(), 2);
        assert!(besides[0].contains(" 127.0.0.1 ") && besides[0].contains("typ host"), "{besides:?}");
        assert!(besides[1].contains(" 203.0.113.7 ") && besides[1].contains("typ srflx"), "{besides:?}");
    }

    #[tokio::test]
    async fn tcp_candidates_have_the_external_address_too() {
        let mut external: ExternalAddress = "127.0.0.1=203.0.113.7".parse().unwrap();
        for besides in [false, true] {
            external.besides = besides;
            let lines = lines(external, IceTcp::ActiveAndPassive).await;
            let tcp: Vec<_> = lines.iter().filter(|line| line.contains(" tcp ")).collect();
            assert_eq!(tcp.len(), 2, "{tcp:?}");
            assert!(tcp[0].contains(" 203.0.113.7 9 typ host tcptype active"), "{tcp:?}");
            assert!(tcp[1].contains(" 203.0.113.7 ") && tcp[1].contains("tcptype passive"), "{tcp:?}");
        }
    }
}
