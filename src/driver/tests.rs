//! What attempts that fail leave behind in the driver: nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sinnet_peer::{Certificate, Config, IceConfig, Peer, SdpType};

use super::{Driver, TcpListeners, open_sockets};
use crate::config::EndpointConfig;
use crate::ice_server::IceTransportPolicy;
use crate::shared::{EndpointShared, PeerShared, now};

/// How far an attempt comes before it fails.
const STAGES: usize = 6;

fn offer(peer: &mut Peer, addr: &str) -> String {
    let offer = peer.create_offer().unwrap();
    peer.set_local_description(now(), SdpType::Offer, &offer).unwrap();
    peer.add_local_host(now(), addr.parse().unwrap());
    peer.end_of_local_candidates(now());
    peer.local_description().unwrap().1
}

/// The answer of somebody who does not exist any more.
fn answer(config: &Arc<Config>, offer: &str, candidate: bool) -> String {
    let mut ghost = Peer::new(config.clone(), now(), [9; 32]);
    ghost.set_remote_description(now(), SdpType::Offer, offer).unwrap();
    let answer = ghost.create_answer().unwrap();
    ghost.set_local_description(now(), SdpType::Answer, &answer).unwrap();
    if candidate {
        ghost.add_local_host(now(), "127.0.0.1:9".parse().unwrap());
    }
    ghost.end_of_local_candidates(now());
    ghost.local_description().unwrap().1
}

/// Enough turns for a socket that is not ready at first.
async fn turns(driver: &mut Driver) {
    for _ in 0..3 {
        driver.turn();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn first_datagrams_are_known_by_every_username_fragment_of_a_restart_while_it_lasts() {
    let certificate = Arc::new(Certificate::generate(1_800_000_000).unwrap());
    let config = Arc::new(Config::new(certificate));
    let endpoint = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
    let sockets = open_sockets(&endpoint).unwrap();
    let bound = sockets[0].bound();
    let shared = Arc::new(EndpointShared::new(endpoint, vec![bound], Vec::new()));
    let mut driver = Driver::new(shared.clone(), sockets, TcpListeners::default());
    let mut peer = Peer::new(config.clone(), now(), [1; 32]);
    let offer = offer(&mut peer, &bound.to_string());
    peer.set_remote_description(now(), SdpType::Answer, &answer(&config, &offer, true)).unwrap();
    let connection = Arc::new(PeerShared::new(shared.clone(), peer, IceTransportPolicy::All));
    shared.commands().added.push(connection.clone());
    let ufrags = || connection.lock().peer.local_ufrags().map(str::to_owned).collect::<Vec<_>>();
    let before = ufrags();
    turns(&mut driver).await;
    assert!(driver.routes.of_ufrag(&before[0]).is_some());
    for _ in 0..3 {
        connection.lock().peer.restart_ice(now());
        connection.lock().peer.create_offer().unwrap();
        connection.lock().peer.set_local_description(now(), SdpType::Offer, "").unwrap();
        connection.touch();
        turns(&mut driver).await;
        let during = ufrags();
        assert_eq!(during.len(), 2);
        assert!(during.iter().all(|ufrag| driver.routes.of_ufrag(ufrag).is_some()));
        connection.lock().peer.rollback(now()).unwrap();
        connection.touch();
        turns(&mut driver).await;
        assert_eq!(ufrags(), before);
        assert!(driver.routes.of_ufrag(&during[1]).is_none() && driver.routes.of_ufrag(&before[0]).is_some());
    }
    connection.lock().peer.abort(now(), "done");
    connection.touch();
    turns(&mut driver).await;
    assert!(driver.routes.is_empty());
}

#[tokio::test]
async fn a_thousand_failed_attempts_leave_no_peer_route_or_timer() {
    let certificate = Arc::new(Certificate::generate(1_800_000_000).unwrap());
    let mut config = Config::new(certificate.clone());
    config.ice = Arc::new(IceConfig { patience: Duration::from_millis(1), ..IceConfig::default() });
    let config = Arc::new(config);
    let endpoint = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
    let sockets = open_sockets(&endpoint).unwrap();
    let bound = sockets[0].bound();
    let shared = Arc::new(EndpointShared::new(endpoint, vec![bound], Vec::new()));
    let mut driver = Driver::new(shared.clone(), sockets, TcpListeners::default());

    for i in 0..1000u32 {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&i.to_be_bytes());
        let mut peer = Peer::new(config.clone(), now(), seed);
        let stage = i as usize % STAGES;
        if stage > 0 {
            let offer = offer(&mut peer, &bound.to_string());
            if stage > 1 {
                let answer = answer(&config, &offer, stage != 5);
                peer.set_remote_description(now(), SdpType::Answer, &answer).unwrap();
            }
        }
        let attempt = Arc::new(PeerShared::new(shared.clone(), peer, IceTransportPolicy::All));
        shared.commands().added.push(attempt.clone());
        if stage != 2 {
            driver.turn();
        }
        match stage {
            // Nobody else is there, so ICE ends it.
            5 => {}
            4 => attempt.lock().peer.abort(now(), "enough"),
            _ => attempt.lock().peer.close(now()),
        }
        attempt.touch();
    }
    for _ in 0..2000 {
        driver.turn();
        if driver.live == 0 && shared.commands().added.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(driver.live, 0);
    assert!(driver.peers.iter().all(Option::is_none));
    assert!(driver.peers.len() < 1000, "places are used again");
    assert!(driver.routes.is_empty());
    assert_eq!(driver.timers.next(), None);
    assert!(driver.concerned.is_empty());
    driver.turn();
    assert!(shared.commands().touched.is_empty());
    drop(config);
    assert_eq!(Arc::strong_count(&certificate), 1, "no connection is left in memory");
}

#[tokio::test]
async fn a_socket_without_room_holds_up_nobody_who_sends_by_another_one() {
    let certificate = Arc::new(Certificate::generate(1_800_000_000).unwrap());
    let config = Arc::new(Config::new(certificate));
    let bind = vec!["127.0.0.1:0".parse().unwrap(); 2];
    let endpoint = EndpointConfig { bind, ..EndpointConfig::default() };
    let sockets = open_sockets(&endpoint).unwrap();
    let bound = [0, 1].map(|at: usize| sockets[at].bound());
    let shared = Arc::new(EndpointShared::new(endpoint, bound.to_vec(), Vec::new()));
    let mut driver = Driver::new(shared.clone(), sockets, TcpListeners::default());
    // A connection by each socket, to somebody who listens and says nothing.
    let there = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    there.set_nonblocking(true).unwrap();
    let candidate =
        format!("candidate:1 1 udp 2130706431 127.0.0.1 {} typ host", there.local_addr().unwrap().port());
    for (seed, addr) in [1, 2].into_iter().zip(bound) {
        let mut peer = Peer::new(config.clone(), now(), [seed; 32]);
        let offer = offer(&mut peer, &addr.to_string());
        peer.set_remote_description(now(), SdpType::Answer, &answer(&config, &offer, false)).unwrap();
        peer.add_remote_candidate(now(), &candidate, None, None).unwrap();
        shared.commands().added.push(Arc::new(PeerShared::new(
            shared.clone(),
            peer,
            IceTransportPolicy::All,
        )));
    }
    let heard = || {
        let mut buf = [0; 1500];
        let froms = std::iter::from_fn(|| there.recv_from(&mut buf).ok().map(|(_, from)| from));
        let froms: Vec<_> = froms.collect();
        [0, 1].map(|at: usize| froms.contains(&bound[at]))
    };
    driver.sockets[0].is_full.store(true, Ordering::Relaxed);
    turns(&mut driver).await;
    assert_eq!(heard(), [false, true]);
    assert!(driver.blocked.is_blocked(0) && !driver.blocked.is_blocked(1));
    assert_eq!(driver.blocked.sockets().collect::<Vec<_>>(), [0]);
    turns(&mut driver).await;
    driver.sockets[0].is_full.store(false, Ordering::Relaxed);
    turns(&mut driver).await;
    assert!(heard()[0], "what had no room is sent");
    assert!(!driver.blocked.is_blocked(0));
    assert_eq!(driver.blocked.sockets().count(), 0);
}
