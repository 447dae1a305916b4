use std::net::SocketAddr;
use std::time::Duration;

use crate::{Endpoint, EndpointConfig, IceCandidate, Mdns, PeerConnection, PeerEvent};

/// An endpoint on loopback, so that its multicast stays there.
async fn endpoint(mdns: Mdns) -> Endpoint {
    let addr: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Endpoint::new(EndpointConfig { mdns, ..EndpointConfig::bind(addr) }).await.expect("an endpoint")
}

/// All candidates that are to be signalled.
async fn candidates(peer: &PeerConnection) -> Vec<IceCandidate> {
    let mut lines = Vec::new();
    loop {
        match peer.next_event().await.expect("an event") {
            PeerEvent::IceCandidate(Some(candidate)) => lines.push(candidate),
            PeerEvent::IceCandidate(None) => return lines,
            _ => {}
        }
    }
}

/// The descriptions without candidates, and then the candidates as `edit` leaves them.
async fn connect(a: &PeerConnection, b: &PeerConnection, edit: impl Fn(IceCandidate) -> IceCandidate) {
    let _channel = a.create_data_channel("x", Default::default()).unwrap();
    let offer = a.create_offer().unwrap();
    b.set_remote_description(offer.clone()).unwrap();
    let answer = b.create_answer().unwrap();
    a.set_local_description(offer).unwrap();
    b.set_local_description(answer.clone()).unwrap();
    a.set_remote_description(answer).unwrap();
    for (from, to) in [(a, b), (b, a)] {
        for candidate in candidates(from).await {
            to.add_ice_candidate(edit(candidate)).unwrap();
        }
        to.add_ice_candidate(IceCandidate::default()).unwrap();
    }
}

#[tokio::test]
async fn two_ends_that_both_hide_find_each_other_by_name() {
    let (here, there) = (endpoint(Mdns::ResolveAndHide).await, endpoint(Mdns::ResolveAndHide).await);
    let (a, b) = (
        here.peer_connection(Default::default()).unwrap(),
        there.peer_connection(Default::default()).unwrap(),
    );
    connect(&a, &b, |candidate| {
        assert!(candidate.candidate.contains(".local "), "{candidate:?}");
        assert!(!candidate.candidate.contains("127.0.0.1"), "{candidate:?}");
        candidate
    })
    .await;
    let connected = tokio::time::timeout(Duration::from_secs(20), a.connected()).await;
    connected.expect("in time").expect("a connection");
    for peer in [&a, &b] {
        assert!(!peer.local_description().unwrap().sdp.contains("127.0.0.1"));
        assert!(peer.remote_candidates().iter().any(|candidate| candidate.address.ip().is_loopback()));
    }
    // The same name, for another connection of the endpoint.
    let name = |peer: &PeerConnection| {
        peer.local_description().unwrap().sdp.split(' ').find(|w| w.ends_with(".local")).map(str::to_owned)
    };
    let again = here.peer_connection(Default::default()).unwrap();
    again.set_local_description(again.create_offer().unwrap()).unwrap();
    assert!(name(&a).is_some());
    assert_eq!(name(&a), name(&again));
}

#[tokio::test]
async fn names_are_left_alone_unless_asked_for() {
    let (here, there) = (endpoint(Mdns::ResolveAndHide).await, endpoint(Mdns::Off).await);
    let (a, b) = (
        here.peer_connection(Default::default()).unwrap(),
        there.peer_connection(Default::default()).unwrap(),
    );
    connect(&a, &b, |candidate| candidate).await;
    // One side has an address, which is enough.
    tokio::time::timeout(Duration::from_secs(20), a.connected())
        .await
        .expect("in time")
        .expect("a connection");
    assert_eq!(b.stats().ice.candidates_ignored, 1);
}

#[tokio::test]
async fn a_name_that_nobody_answers_for_is_ignored_in_the_end() {
    let (here, there) = (endpoint(Mdns::Resolve).await, endpoint(Mdns::Resolve).await);
    let (a, b) = (
        here.peer_connection(Default::default()).unwrap(),
        there.peer_connection(Default::default()).unwrap(),
    );
    connect(&a, &b, |mut candidate| {
        candidate.candidate =
            candidate.candidate.replace("127.0.0.1", "90d0c6a0-4209-41e1-81f2-b20684468535.local");
        candidate
    })
    .await;
    b.add_ice_candidate(IceCandidate {
        candidate: "candidate:1 1 udp 1 printer.local 9 typ host".to_owned(),
        ..IceCandidate::default()
    })
    .unwrap();
    let ignored = async {
        while a.stats().ice.candidates_ignored < 1 || b.stats().ice.candidates_ignored < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ignored).await.expect("given up");
}

#[tokio::test]
async fn where_ours_are_hidden_no_relay_shows_them_even_if_none_has_a_name() {
    for (mdns, expected) in
        [(Mdns::Resolve, "raddr 10.9.0.1 rport 7"), (Mdns::ResolveAndHide, "raddr 0.0.0.0 rport 9")]
    {
        let bind = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
        // Known beforehand, so it has no name.
        let external_addresses = vec!["127.0.0.1=203.0.113.7".parse().unwrap()];
        let endpoint = Endpoint::new(EndpointConfig { mdns, external_addresses, ..bind }).await.unwrap();
        let peer = endpoint.peer_connection(Default::default()).unwrap();
        peer.set_local_description(peer.create_offer().unwrap()).unwrap();
        let (relayed, related) = ("198.51.100.7:6000".parse().unwrap(), "10.9.0.1:7".parse().unwrap());
        let server = "198.51.100.7".parse().unwrap();
        let udp = sinnet_peer::RelayProtocol::Udp;
        let line = peer.shared().lock().peer.add_relayed(crate::shared::now(), relayed, related, server, udp);
        let line = line.expect("a candidate");
        assert!(line.ends_with(expected), "{line}");
    }
}
