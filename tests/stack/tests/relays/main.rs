//! Connections through TURN servers on loopback: ours, and ones that lie.

mod hostile;
mod rig;

use std::time::Duration;

use rig::{Gate, Over, PATIENCE, Pair, Rig, candidates, endpoint, gather, ice_server, until};
use sinnet::{CandidateKind, DataChannelOptions, IceServer, IceTransportPolicy, PeerConfig, PeerEvent};

#[tokio::test]
async fn two_ends_that_may_only_be_relayed_exchange_data_over_udp_tcp_and_tls() {
    let rig = Rig::new(|_| {}).await;
    for (a, b) in
        [(Over::Udp, Over::Udp), (Over::Tcp, Over::Tcp), (Over::Tls, Over::Tls), (Over::Udp, Over::Tls)]
    {
        let pair = Pair::new(&rig, a, b, IceTransportPolicy::Relay).await;
        pair.connect().await;
        pair.bulk(2_000_000).await;
        for (connection, over) in [(&pair.a, a), (&pair.b, b)] {
            let path = connection.selected_path().unwrap();
            let relayed = connection.local_candidates();
            let [mine] = &relayed[..] else { panic!("{over:?}: {relayed:?}") };
            assert_eq!(mine.kind, CandidateKind::Relayed);
            assert_eq!(path.local, mine.address, "{over:?}");
        }
        pair.close().await;
        until("the allocations are given back", || rig.allocations() == 0).await;
    }
}

#[tokio::test]
async fn descriptions_and_candidates_of_a_relayed_connection_have_no_address_of_ours() {
    let rig = Rig::new(|_| {}).await;
    let endpoint = endpoint(vec![rig.ice_server(Over::Udp), rig.ice_server(Over::Tcp)], |_| {}).await;
    let ours = endpoint.local_addrs()[0];
    let config = PeerConfig { ice_transport_policy: IceTransportPolicy::Relay, ..PeerConfig::default() };
    let connection = endpoint.peer_connection(config).unwrap();
    let (signalled, errors) = gather(&connection).await;
    assert_eq!(errors, []);
    assert_eq!(signalled.len(), 2, "{signalled:?}");
    for line in &signalled {
        assert!(line.contains("typ relay raddr 0.0.0.0 rport 9"), "{line}");
    }
    let sdp = connection.local_description().unwrap().sdp;
    assert!(sdp.contains("a=end-of-candidates"), "{sdp}");
    assert!(!sdp.contains(&ours.port().to_string()), "{sdp}");
    assert_eq!(
        sdp.matches("127.0.0.1").count(),
        sdp.matches(" typ relay ").count() + relayed_connection_line(&sdp),
        "{sdp}"
    );
}

/// The c= line names the relayed address that stands for them all, or none.
fn relayed_connection_line(sdp: &str) -> usize {
    sdp.lines().filter(|line| *line == "c=IN IP4 127.0.0.1").count()
}

#[tokio::test]
async fn an_allocation_is_shared_and_given_back_with_the_last_connection() {
    let rig = Rig::new(|_| {}).await;
    let endpoint = endpoint(vec![rig.ice_server(Over::Udp)], |_| {}).await;
    let first = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (lines, _) = gather(&first).await;
    let relayed = |lines: &[String]| lines.iter().find(|line| line.contains("typ relay")).cloned().unwrap();
    let second = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (other_lines, _) = gather(&second).await;
    let address = |line: String| line.split(' ').nth(5).unwrap().to_owned();
    assert_eq!(address(relayed(&lines)), address(relayed(&other_lines)));
    assert_eq!((rig.allocations(), rig.server.stats().allocations_made), (1, 1));
    first.abort("done").await;
    assert_eq!(rig.allocations(), 1);
    second.abort("done").await;
    until("it is given back", || rig.allocations() == 0).await;
    assert_eq!(rig.server.stats().allocations_expired, 0, "as was asked");
    // And made anew for the next one.
    let third = endpoint.peer_connection(PeerConfig::default()).unwrap();
    gather(&third).await;
    assert_eq!((rig.allocations(), rig.server.stats().allocations_made), (1, 2));
    endpoint.close().await;
    assert_eq!(rig.allocations(), 0, "close waits for it");
}

#[tokio::test]
async fn a_wrong_password_is_an_error_with_its_code_and_everything_else_goes_on() {
    let rig = Rig::new(|_| {}).await;
    let wrong = |over| IceServer { credential: "looking-glass".to_owned(), ..rig.ice_server(over) };
    let endpoint = endpoint(vec![wrong(Over::Udp), rig.ice_server(Over::Tcp)], |_| {}).await;
    let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (lines, errors) = gather(&connection).await;
    assert_eq!(lines.iter().filter(|line| line.contains("typ relay")).count(), 1, "{lines:?}");
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!((error.error_code, &error.url), (401, &rig.url(Over::Udp).to_string()));
    assert_eq!(error.address, Some(endpoint.local_addrs()[0]));
    assert!(error.error_text.contains("Allocate") && error.error_text.contains("401"), "{error}");
}

#[tokio::test]
async fn a_server_with_both_families_gives_an_address_of_each() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 here, so nothing is tested");
        return;
    }
    let rig = Rig::new(|config| {
        config.core.ipv6 = true;
        config.relay.push("::1".parse().unwrap());
    })
    .await;
    // The peer has IPv6 only, and the way to the server is IPv4.
    let a = endpoint(vec![rig.ice_server(Over::Udp)], |_| {}).await;
    let b = endpoint(vec![], |config| config.bind = vec!["[::1]:0".parse().unwrap()]).await;
    let pair = Pair::of(a, b, IceTransportPolicy::Relay, IceTransportPolicy::All);
    pair.connect().await;
    pair.bulk(500_000).await;
    assert_eq!(pair.a.local_candidates().len(), 2);
    let path = pair.a.selected_path().unwrap();
    assert!(path.local.is_ipv6(), "{path:?}");
    assert_eq!(rig.allocations(), 1, "one for both");
    pair.close().await;
    until("it is given back", || rig.allocations() == 0).await;
}

#[tokio::test]
async fn new_credentials_are_used_at_once_and_new_servers_by_the_next_connection() {
    let rig = Rig::new(|_| {}).await;
    let wrong = IceServer { credential: "looking-glass".to_owned(), ..rig.ice_server(Over::Udp) };
    let endpoint = endpoint(vec![wrong], |_| {}).await;
    let relays = async || {
        let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
        let (lines, errors) = gather(&connection).await;
        (connection, candidates(&lines, "relay"), errors.len())
    };
    let (_first, found, failed) = relays().await;
    assert_eq!((found, failed), (0, 1));
    endpoint.set_ice_servers(&[rig.ice_server(Over::Udp)]).unwrap();
    let (_second, found, failed) = relays().await;
    assert_eq!((found, failed), (1, 0));
    endpoint.set_ice_servers(&[rig.ice_server(Over::Tcp)]).unwrap();
    let (_third, found, _) = relays().await;
    assert_eq!((found, rig.allocations()), (2, 2), "the other one is in use");
    assert!(endpoint.set_ice_servers(&[IceServer::stun("turn:192.0.2.1".parse().unwrap())]).is_err());
    endpoint.close().await;
    assert_eq!(rig.allocations(), 0);
}

#[tokio::test]
async fn a_certificate_of_nobody_we_trust_is_an_error_that_says_so() {
    let rig = Rig::new(|_| {}).await;
    let strangers = Rig::new(|_| {}).await;
    let endpoint =
        endpoint(vec![rig.ice_server(Over::Tls)], |config| config.tls = Some(strangers.trust())).await;
    let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (lines, errors) = gather(&connection).await;
    assert!(!lines.iter().any(|line| line.contains("typ relay")), "{lines:?}");
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert!(error.error_text.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_quota_is_an_error_with_its_code() {
    let rig = Rig::new(|config| config.core.max_allocations_per_user = 1).await;
    let first = endpoint(vec![rig.ice_server(Over::Udp)], |_| {}).await;
    let holder = first.peer_connection(PeerConfig::default()).unwrap();
    let (lines, _) = gather(&holder).await;
    assert!(candidates(&lines, "relay") == 1);
    let second = endpoint(vec![rig.ice_server(Over::Udp)], |_| {}).await;
    let connection = second.peer_connection(PeerConfig::default()).unwrap();
    let (_, errors) = gather(&connection).await;
    assert_eq!(errors.iter().map(|error| error.error_code).collect::<Vec<_>>(), [486]);
}

#[tokio::test]
async fn a_server_that_ends_its_connection_costs_the_relay_and_not_the_others() {
    let rig = Rig::new(|_| {}).await;
    let (proxy, gate) = rig.tcp_proxy().await;
    let through = ice_server(format!("turn:{proxy}?transport=tcp").parse().unwrap());
    let a = endpoint(vec![through, rig.ice_server(Over::Udp)], |_| {}).await;
    let b = endpoint(vec![], |_| {}).await;
    let pair = Pair::of(a, b, IceTransportPolicy::Relay, IceTransportPolicy::All);
    pair.connect().await;
    pair.bulk(100_000).await;
    assert_eq!(rig.allocations(), 2);
    gate.send(Gate::Shut).unwrap();
    let error = loop {
        let event = tokio::time::timeout(PATIENCE, pair.a.next_event()).await.expect("an error comes");
        if let Some(PeerEvent::IceCandidateError(error)) = event {
            break error;
        }
    };
    assert!(error.url.contains(&proxy.to_string()), "{error}");
    assert!(error.error_text.contains("closed the connection"), "{error}");
    pair.bulk(100_000).await;
    // The gate opens, and the relay comes back.
    gate.send(Gate::Open).unwrap();
    until("it is made anew", || rig.allocations() == 2).await;
    pair.close().await;
}

#[tokio::test]
async fn a_server_that_stops_reading_holds_up_nobody_else_and_its_end_is_noticed() {
    let rig = Rig::new(|_| {}).await;
    let (proxy, gate) = rig.tcp_proxy().await;
    let through = ice_server(format!("turn:{proxy}?transport=tcp").parse().unwrap());
    let a = endpoint(vec![through], |_| {}).await;
    let [b, c] = [endpoint(vec![], |_| {}).await, endpoint(vec![], |_| {}).await];
    let relayed = Pair::of(a.clone(), b, IceTransportPolicy::Relay, IceTransportPolicy::All);
    let direct = Pair::of(a, c, IceTransportPolicy::All, IceTransportPolicy::All);
    relayed.connect().await;
    relayed.bulk(300_000).await;
    direct.connect().await;
    gate.send(Gate::Stalled).unwrap();
    // More than all buffers on the way hold.
    let channel = relayed.a.create_data_channel("stalled", DataChannelOptions::default()).unwrap();
    let flood = tokio::spawn(async move { while channel.send(vec![0; 16_000]).await.is_ok() {} });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    direct.bulk(5_000_000).await;
    gate.send(Gate::Shut).unwrap();
    until("the relay is lost", || {
        !relayed.a.local_candidates().iter().any(|c| c.kind == CandidateKind::Relayed)
    })
    .await;
    relayed.a.abort("done").await;
    flood.await.unwrap();
    direct.close().await;
}

#[tokio::test]
async fn the_first_connection_that_works_is_one_between_our_addresses() {
    let rig = Rig::new(|_| {}).await;
    let pair = Pair::new(&rig, Over::Udp, Over::Tcp, IceTransportPolicy::All).await;
    pair.connect().await;
    pair.bulk(100_000).await;
    let hosts = [pair.endpoints[0].local_addrs()[0], pair.endpoints[1].local_addrs()[0]];
    until("the direct path is chosen", || {
        let path = pair.a.selected_path().unwrap();
        [path.local, path.remote] == hosts
    })
    .await;
    pair.close().await;
    until("the allocations are given back", || rig.allocations() == 0).await;
}

#[tokio::test]
async fn the_end_of_an_endpoint_waits_for_a_silent_server_for_a_bounded_time() {
    let rig = Rig::new(|_| {}).await;
    let (proxy, gate) = rig.udp_proxy().await;
    let endpoint = endpoint(vec![ice_server(format!("turn:{proxy}").parse().unwrap())], |_| {}).await;
    let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (lines, _) = gather(&connection).await;
    assert_eq!(candidates(&lines, "relay"), 1);
    gate.send(false).unwrap();
    // Less than the 39.5 s that the Refresh request takes to be given up.
    tokio::time::timeout(Duration::from_secs(30), endpoint.close()).await.expect("it ends");
    drop(connection);
}
