//! The handshake over links that lose, repeat, delay and cut.

use super::pair::*;
use crate::*;
use std::time::Duration;

const GCM: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

fn with_mtu(mtu: usize) -> Pair {
    let (mut client, mut server) = (config(0), config(1));
    (client.mtu, server.mtu) = (mtu, mtu);
    Pair::new(client, server)
}

#[test]
fn every_suite_and_group_connects() {
    for suite in Config::default().suites {
        for group in Config::default().groups {
            let (mut client, mut server) = (config(0), config(1));
            client.suites = vec![suite];
            server.groups = vec![group];
            if suite.to_string().contains("RSA") && !suite.to_string().contains("ECDSA") {
                server.certificate = Some(rsa());
            }
            let mut pair = Pair::new(client, server);
            pair.run(Duration::from_secs(1), fine);
            pair.assert_connected();
            let negotiated = pair.client.connection.negotiated().unwrap();
            assert_eq!((negotiated.suite, negotiated.group), (suite, group));
            let header = if suite.to_string().contains("GCM") { 21 } else { 13 };
            assert_eq!(pair.client.connection.header_len(), header);
        }
    }
}

#[test]
fn the_servers_order_decides() {
    let (mut client, server) = (config(0), config(1));
    client.suites.reverse();
    client.groups.reverse();
    let mut pair = Pair::new(client, server);
    pair.run(Duration::from_secs(1), fine);
    let negotiated = pair.server.connection.negotiated().unwrap();
    assert_eq!((negotiated.suite, negotiated.group), (GCM, NamedGroup::X25519));
}

#[test]
fn each_end_sees_the_others_certificate() {
    let mut pair = Pair::new(config(0), config(1));
    pair.run(Duration::from_secs(1), fine);
    assert_eq!(pair.client.connection.peer_certificate(), Some(identity(1).der()));
    assert_eq!(pair.server.connection.peer_certificate(), Some(identity(0).der()));
}

#[test]
fn every_datagram_may_be_lost_once() {
    for mtu in [1200, 250] {
        for from_client in [true, false] {
            let mut lost_any = true;
            let mut target = 0;
            while lost_any {
                lost_any = false;
                let mut pair = with_mtu(mtu);
                pair.run(Duration::from_secs(5), |from, index, datagram| {
                    if (from, index) == (from_client, target) {
                        lost_any = true;
                        return vec![];
                    }
                    fine(from, index, datagram)
                });
                pair.assert_connected();
                target += 1;
            }
            assert!(target > 2, "nothing was lost");
        }
    }
}

#[test]
fn duplicates_and_reversed_order_do_no_harm() {
    for mtu in [1200, 250, 100] {
        let mut pair = with_mtu(mtu);
        pair.run(Duration::from_secs(5), |_, index, datagram| {
            // Later ones overtake earlier ones, and each comes twice.
            let extra = Duration::from_millis(30u64.saturating_sub(index as u64));
            vec![(extra, datagram.clone()), (extra * 2, datagram)]
        });
        pair.assert_connected();
    }
}

#[test]
fn any_datagram_size_connects() {
    for mtu in (50..70).chain([90, 91, 120, 333, 600, 1199, 4000]) {
        let mut pair = with_mtu(mtu);
        pair.run(Duration::from_secs(5), fine);
        pair.assert_connected();
        assert!(pair.log.iter().all(|(_, datagram)| datagram.len() <= mtu));
    }
}

#[test]
fn hundreds_of_bad_links_all_connect() {
    for seed in 1..=150u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mtu = 60 + next(300) as usize;
        let (mut client, mut server) = (config(0), config(1));
        for config in [&mut client, &mut server] {
            config.mtu = mtu;
            config.retransmit.limit = 1000;
            config.retransmit.max = Duration::from_secs(1);
            config.handshake_timeout = None;
        }
        let mut pair = Pair::new(client, server);
        pair.run(Duration::from_secs(600), |_, _, datagram| {
            let copies = if next(5) == 0 { 0 } else { 1 + next(2) };
            (0..copies).map(|_| (Duration::from_millis(next(40)), datagram.clone())).collect()
        });
        assert!(
            pair.client.connection.is_connected() && pair.server.connection.is_connected(),
            "seed {seed}: {:?} {:?}",
            pair.client.connection,
            pair.server.connection
        );
        pair.assert_connected();
    }
}

#[test]
fn nobody_there_is_a_timeout_with_doubling_intervals() {
    let mut pair = Pair::new(config(0), config(1));
    let start = pair.now;
    let mut times = Vec::new();
    for _ in 0..100 {
        if !pair.client.output(pair.now).is_empty() {
            times.push((pair.now - start).as_millis());
        }
        let Some(deadline) = pair.client.connection.poll_timeout() else { break };
        pair.now = deadline;
        let _ = pair.client.connection.handle_timeout(deadline);
    }
    assert_eq!(times[..8], [0, 50, 150, 350, 750, 1550, 3150, 6350]);
    pair.client.drain_events();
    assert_eq!(pair.client.events, [Event::Failed(Error::HandshakeTimeout)]);
    assert_eq!(pair.now - start, Duration::from_secs(30));

    let deadline = pair.server.connection.poll_timeout().unwrap();
    assert_eq!(pair.server.connection.handle_timeout(deadline), Err(Error::HandshakeTimeout));
    assert_eq!(pair.server.connection.poll_timeout(), None);
}

#[test]
fn retransmissions_shrink_for_a_path_that_drops_large_datagrams() {
    let mut pair = Pair::new(config(0), config(1));
    pair.run(Duration::from_secs(10), |from, index, datagram| {
        if datagram.len() > 548 { vec![] } else { fine(from, index, datagram) }
    });
    pair.assert_connected();
    assert!(pair.server.connection.stats().timeouts >= 3);
}

#[test]
fn a_lost_last_flight_is_answered_for_minutes() {
    // D21
    let (mut client, server) = (config(0), config(1));
    client.handshake_timeout = None;
    client.retransmit.limit = 1000;
    let mut pair = Pair::new(client, server);
    let end = pair.now + Duration::from_secs(245);
    for _ in 0..2000 {
        pair.run(Duration::from_millis(500), |from, index, datagram| {
            // The server's first flight passes, its last one does not.
            if from || index == 0 { fine(from, index, datagram) } else { vec![] }
        });
        pair.now = pair.now.max(pair.client.connection.poll_timeout().unwrap());
        if pair.now > end {
            break;
        }
    }
    assert!(pair.server.connection.is_connected() && !pair.client.connection.is_connected());
    assert!(pair.server.connection.stats().resends > 40);
    pair.run(Duration::from_secs(20), fine);
    pair.assert_connected();
}

/// A client that was given ten records of data ahead of the server's last flight, and then that.
fn overtaken(client: Config) -> Pair {
    let mut pair = Pair::new(client, config(1));
    // Until the server is connected; its last flight stays unsent.
    for _ in 0..3 {
        let now = pair.now;
        for datagram in pair.client.output(now) {
            pair.server.input(now, &datagram);
        }
        if pair.server.connection.is_connected() {
            break;
        }
        for datagram in pair.server.output(now) {
            pair.client.input(now, &datagram);
        }
    }
    let now = pair.now;
    let data: Vec<_> = (0..10u8).map(|n| pair.server.seal(&[n])).collect();
    for record in &data {
        pair.client.input(now, record);
    }
    assert!(pair.client.received.is_empty());
    for datagram in pair.server.output(now) {
        pair.client.input(now, &datagram);
    }
    pair
}

#[test]
fn data_that_overtakes_the_last_flight_is_delivered_behind_it() {
    let pair = overtaken(config(0));
    assert_eq!(pair.client.received, (0..8u8).map(|n| vec![n]).collect::<Vec<_>>());
    assert_eq!(pair.client.connection.stats().early_dropped, 2);
}

#[test]
fn data_that_overtakes_the_last_flight_is_dropped_if_that_is_asked_for() {
    let mut client = config(0);
    client.keep_overtaking_data = false;
    let mut pair = overtaken(client);
    assert!(pair.client.received.is_empty());
    assert_eq!(pair.client.connection.stats().early_dropped, 10);
    pair.client.drain_events();
    pair.server.drain_events();
    pair.assert_connected();
}

#[test]
fn a_hello_verify_request_is_followed_once() {
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    let first = pair.client.output(now);
    let mut request = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 + 5];
    request.extend([3, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5, 0xfe, 0xff, 2, 0xaa, 0xbb]);
    pair.client.input(now, &request);
    let second = pair.client.output(now);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].len(), first[0].len() + 2);
    assert_eq!(second[0][13 + 12 + 35..][..3], [2, 0xaa, 0xbb]);
    assert_eq!(second[0][13 + 5], 1, "message_seq");
    assert_eq!(pair.client.error, None);
    // Another one, under the next number.
    request[18] = 1;
    pair.client.input(now, &request);
    let got = HandshakeType::HELLO_VERIFY_REQUEST;
    assert_eq!(pair.client.error, Some(Error::UnexpectedMessage { got }));
}

#[test]
fn verbs_in_any_order_do_no_harm() {
    for seed in 0..200u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut pair = Pair::new(config(0), config(1));
        let mut wire: Vec<(bool, Vec<u8>)> = Vec::new();
        for _ in 0..60 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let from_client = state & 1 == 0;
            let now = pair.now;
            let (end, _) = pair.ends(from_client);
            match state >> 8 & 15 {
                0..5 => {
                    let mut out = [0; 300];
                    if let Some(len) = end.connection.poll_transmit(now, &mut out) {
                        wire.push((from_client, out[..len].to_vec()));
                    }
                }
                5..10 => {
                    if let Some((sender, datagram)) = wire.pop() {
                        pair.ends(sender).1.input(now, &datagram);
                    }
                }
                10 => drop(end.connection.handle_timeout(now)),
                11 => pair.now += Duration::from_millis(state >> 16 & 127),
                12 => drop(end.connection.poll_event()),
                13 => drop(end.connection.seal(&mut [0; 100], 30)),
                14 if state >> 16 & 7 == 0 => end.connection.close(now),
                _ => drop(end.connection.poll_transmit(now, &mut [0; 20])),
            }
        }
    }
}
