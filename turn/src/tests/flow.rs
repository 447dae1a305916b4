//! Client and server as they are meant.

use std::time::Duration;

use super::net::{Net, PASSWORD, SECOND, SERVER, USER, addr, client_config, ms, secs, seed, server_config};
use crate::{
    AddressFamily, ClientConfig, Credentials, ErrorCode, Event, Families, PeerError, Reason, SendError,
    ServerConfig, Step, Transport,
};

const PEER: &str = "192.0.2.7:7000";

#[test]
fn data_passes_both_ways_first_in_indications_then_on_a_channel() {
    for transport in [Transport::Datagram, Transport::Stream] {
        let mut net = Net::new(server_config());
        let a = net.client(client_config(), transport);
        assert_eq!(net.send(a, addr(PEER), b"x"), Err(SendError::NotAllocated));
        net.permit(a, "192.0.2.7");
        net.run(secs(1));
        let relayed = addr("203.0.113.1:50000");
        let expected = [
            Event::Allocated { relayed: vec![relayed], mapped: Some(net.ends[a].addr), refused: None },
            Event::Permitted { ip: addr(PEER).ip() },
        ];
        assert_eq!(net.ends[a].events, expected);
        assert_eq!(net.send(a, addr(PEER), b"hello"), Ok(20 + 12 + 4 + 8));
        net.peer_sends(addr(PEER), relayed, b"answer");
        net.bind(a, PEER);
        net.run(secs(1));
        assert_eq!(net.ends[a].events.last(), Some(&Event::ChannelBound { peer: addr(PEER) }));
        let padding = if transport == Transport::Stream { 3 } else { 0 };
        assert_eq!(net.send(a, addr(PEER), b"again"), Ok(4 + 5 + padding));
        assert_eq!(net.send(a, addr(PEER), b""), Ok(4), "nothing is something, too");
        net.peer_sends(addr(PEER), relayed, b"once more");
        // Another port of the same address has the permission and not the channel.
        net.peer_sends(addr("192.0.2.7:7001"), relayed, b"aside");
        net.run(secs(1));
        let out: Vec<_> = net.to_peers.iter().map(|(from, to, data)| (*from, *to, data.as_slice())).collect();
        assert_eq!(
            out,
            [
                (relayed, addr(PEER), b"hello".as_slice()),
                (relayed, addr(PEER), b"again"),
                (relayed, addr(PEER), b"")
            ]
        );
        let got: Vec<_> = net.ends[a].received.iter().map(|(peer, data)| (*peer, data.as_slice())).collect();
        let aside = (addr("192.0.2.7:7001"), b"aside".as_slice());
        assert_eq!(got, [(addr(PEER), b"answer".as_slice()), (addr(PEER), b"once more"), aside]);
        let stats = net.ends[a].client.stats();
        assert_eq!((stats.messages_sent, stats.bytes_sent, stats.messages_received), (3, 10, 3));
        let now = net.now;
        net.ends[a].client.close(now);
        net.run(secs(1));
        assert_eq!(net.ends[a].events.last(), Some(&Event::Closed));
        assert_eq!((net.machines[0].server.stats().allocations, net.machines[0].relays.len()), (0, 0));
    }
}

#[test]
fn an_allocation_lasts_through_loss_and_stale_nonces_and_is_given_back() {
    for loss in [0.0, 0.05, 0.1, 0.2, 0.3] {
        let mut lasted = 0;
        for seed in seed()..seed() + 6 {
            let mut config = server_config();
            config.nonce_lifetime = secs(100);
            let mut net = Net::seeded(config, seed);
            net.loss = loss;
            let a = net
                .client(ClientConfig { allocate_timeout: secs(120), ..client_config() }, Transport::Datagram);
            for ip in 1..=40 {
                net.permit(a, &format!("192.0.2.{ip}"));
            }
            net.bind(a, PEER);
            net.run(secs(3600));
            // RFC 8489 §6.2.1 gives a request 7 sends: at 30 % each way one in 100 fails, and there are dozens of them.
            let lossy = loss > 0.15;
            if let Some(Event::Failed(error)) = net.ends[a].events.last() {
                assert!(lossy && error.reason == Reason::Timeout, "loss {loss}: {error}");
                continue;
            }
            lasted += 1;
            let relayed = net.ends[a].client.relayed().to_vec();
            assert_eq!(relayed.len(), 1, "loss {loss}: {:?}", net.ends[a].events);
            let refused =
                net.ends[a].events.iter().filter(|e| matches!(e, Event::NotPermitted { .. })).count();
            assert!(refused == 0 || lossy, "loss {loss}: {:?}", net.ends[a].events);
            let now = net.now;
            if net.ends[a].client.can_send(now, addr(PEER)) {
                net.loss = 0.0;
                net.peer_sends(addr(PEER), relayed[0], b"x");
                net.run(secs(1));
                assert_eq!(net.ends[a].received.len(), 1, "loss {loss}");
                net.loss = loss;
            } else {
                assert!(lossy, "loss {loss}: {:?}", net.ends[a].events);
            }
            assert!(net.ends[a].client.stats().stale_nonces >= 10);
            let now = net.now;
            net.ends[a].client.close(now);
            net.run(secs(60));
            assert_eq!(net.ends[a].events.last(), Some(&Event::Closed));
            // Or, at such loss, it ends by itself.
            net.run(secs(if lossy { 700 } else { 0 }));
            assert_eq!(net.machines[0].server.stats().allocations, 0, "loss {loss}");
        }
        assert!(lasted >= 3, "{lasted} at loss {loss}");
    }
}

#[test]
fn without_loss_a_request_is_sent_once_and_refreshes_are_far_between() {
    let mut net = Net::ready(server_config());
    net.permit(0, "192.0.2.7");
    net.bind(0, PEER);
    net.run(secs(3600));
    // Allocate twice, then Refresh each 540 s and permission and channel each 240 s; the nonce once.
    let sent = net.ends[0].client.stats().requests_sent;
    assert!((35..=45).contains(&sent), "{sent}");
}

#[test]
fn an_allocation_that_nobody_refreshes_ends_with_its_socket() {
    let mut net = Net::ready(server_config());
    assert_eq!(net.machines[0].relays.len(), 1);
    net.ends.clear();
    net.run(secs(598));
    assert_eq!(net.machines[0].server.stats().allocations, 1);
    net.run(secs(4));
    let stats = net.machines[0].server.stats();
    assert_eq!((stats.allocations, stats.allocations_expired, net.machines[0].relays.len()), (0, 1, 0));
    assert_eq!(net.machines[0].server.poll_timeout(), None);
}

#[test]
fn permissions_and_channels_end_when_nobody_refreshes_them() {
    let mut net = Net::ready(server_config());
    let relayed = net.ends[0].client.relayed()[0];
    net.permit(0, "192.0.2.7");
    net.run(secs(1));
    let now = net.now;
    net.ends[0].client.forget(now, addr(PEER).ip());
    let before = net.machines[0].server.stats().messages_to_clients;
    net.run(secs(298));
    net.peer_sends(addr(PEER), relayed, b"in time");
    net.run(secs(3));
    net.peer_sends(addr(PEER), relayed, b"too late");
    net.run(secs(1));
    let stats = net.machines[0].server.stats();
    assert_eq!((stats.messages_to_clients - before, stats.dropped_unpermitted), (1, 1));
    // To us it is nobody's any more.
    assert_eq!((net.ends[0].received.len(), net.ends[0].client.stats().dropped_unpermitted), (0, 1));
}

#[test]
fn two_clients_of_one_server_reach_each_other_and_none_of_its_other_ports() {
    let mut net = Net::new(server_config());
    let (a, b) =
        (net.client(client_config(), Transport::Datagram), net.client(client_config(), Transport::Stream));
    net.run(secs(1));
    let (relayed_a, relayed_b) = (net.ends[a].client.relayed()[0], net.ends[b].client.relayed()[0]);
    net.permit(a, &relayed_b.ip().to_string());
    net.bind(b, &relayed_a.to_string());
    net.run(secs(1));
    net.send(a, relayed_b, b"from a").unwrap();
    net.send(b, relayed_a, b"from b").unwrap();
    net.send(a, addr("203.0.113.1:22"), b"knock").unwrap();
    net.run(secs(1));
    assert_eq!(net.ends[b].received, [(relayed_a, b"from a".to_vec())]);
    assert_eq!(net.ends[a].received, [(relayed_b, b"from b".to_vec())]);
    assert_eq!(net.to_peers.len(), 2);
    assert_eq!(net.machines[0].server.stats().dropped_unpermitted, 1);
    net.bind(a, "203.0.113.1:22");
    net.run(secs(1));
    let refused = |e: &Event| matches!(e, Event::ChannelNotBound { error, .. } if error.reason == Reason::Refused(ErrorCode::FORBIDDEN));
    assert!(net.ends[a].events.iter().any(refused));
}

#[test]
fn one_forbidden_address_does_not_spoil_the_others() {
    let mut net = Net::new(server_config());
    let a = net.client(client_config(), Transport::Datagram);
    for ip in ["192.0.2.1", "127.0.0.1", "192.0.2.2", "169.254.169.254", "192.0.2.3"] {
        net.permit(a, ip);
    }
    net.run(secs(2));
    let permitted: Vec<_> = net.ends[a]
        .events
        .iter()
        .filter_map(|e| match e {
            Event::Permitted { ip } => Some((ip.to_string(), true)),
            Event::NotPermitted { ip, error } => {
                assert_eq!(
                    (error.step, error.reason),
                    (Step::CreatePermission, Reason::Refused(ErrorCode::FORBIDDEN))
                );
                Some((ip.to_string(), false))
            }
            _ => None,
        })
        .collect();
    let mut sorted = permitted;
    sorted.sort();
    let expected = [
        ("127.0.0.1", false),
        ("169.254.169.254", false),
        ("192.0.2.1", true),
        ("192.0.2.2", true),
        ("192.0.2.3", true),
    ];
    assert_eq!(sorted, expected.map(|(ip, ok)| (ip.to_owned(), ok)));
    let now = net.now;
    net.ends[a].client.permit(now, [192, 0, 2, 4].into()).unwrap();
    net.run(secs(1));
    assert_eq!(net.ends[a].events.last(), Some(&Event::Permitted { ip: [192, 0, 2, 4].into() }));
}

#[test]
fn both_families_one_of_them_or_the_one_that_is_not_there() {
    let both = ClientConfig { families: Families::Both, ..client_config() };
    let v6 = ClientConfig { families: Families::Ipv6, ..client_config() };
    let dual = ServerConfig { ipv6: true, ..server_config() };

    let mut net = Net::new(dual.clone());
    let a = net.client(both.clone(), Transport::Datagram);
    net.permit(a, "192.0.2.7");
    net.permit(a, "2001:db8::7");
    net.run(secs(2000));
    let relayed = net.ends[a].client.relayed().to_vec();
    assert_eq!(relayed.iter().map(|r| r.is_ipv4()).collect::<Vec<_>>(), [true, false]);
    for (at, peer) in ["192.0.2.7:1", "[2001:db8::7]:1"].into_iter().enumerate() {
        net.send(a, addr(peer), b"x").unwrap();
        net.run(secs(1));
        assert_eq!(net.to_peers.pop(), Some((relayed[at], addr(peer), b"x".to_vec())));
        // An address of one family has nothing to do with peers of the other.
        net.peer_sends(addr(peer), relayed[1 - at], b"crossed");
    }
    net.run(secs(1));
    assert!(net.ends[a].received.is_empty());

    let mut net = Net::new(server_config());
    let a = net.client(both, Transport::Datagram);
    let b = net.client(v6.clone(), Transport::Datagram);
    net.permit(a, "2001:db8::7");
    net.run(secs(1));
    let refused = Some((AddressFamily::IPV6, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED));
    assert!(matches!(&net.ends[a].events[..], [Event::Allocated { refused: r, .. }] if *r == refused));
    let now = net.now;
    assert_eq!(net.ends[a].client.permit(now, addr("[2001:db8::7]:1").ip()), Err(PeerError::Family));
    let code = Reason::Refused(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED);
    assert!(matches!(&net.ends[b].events[..], [Event::Failed(error)] if error.reason == code));

    let mut net = Net::new(dual);
    let a = net.client(v6, Transport::Datagram);
    net.run(secs(1));
    assert!(net.ends[a].client.relayed()[0].is_ipv6());
}

#[test]
fn a_server_that_can_not_forbid_fragments_is_used_all_the_same() {
    for can in [false, true] {
        let mut net = Net::new(ServerConfig { dont_fragment: can, ..server_config() });
        let config = ClientConfig { dont_fragment: true, ..client_config() };
        let a = net.client(config, Transport::Datagram);
        net.permit(a, "192.0.2.7");
        net.run(secs(1));
        let len = net.send(a, addr(PEER), b"data").unwrap();
        assert_eq!(len, 20 + 12 + 8 + if can { 4 } else { 0 });
        net.run(secs(1));
        assert_eq!(net.to_peers.len(), 1);
    }
}

#[test]
fn a_redirected_client_gets_its_allocation_where_it_was_sent() {
    for transport in [Transport::Datagram, Transport::Stream] {
        let first = ServerConfig { alternate_server: Some(addr(SECOND)), ..server_config() };
        let mut net = Net::new(first);
        net.server(server_config(), SECOND);
        let a = net.client(client_config(), transport);
        net.permit(a, "192.0.2.7");
        net.run(secs(1));
        let redirected = Event::Redirected { server: addr(SECOND), domain: None };
        assert_eq!(net.ends[a].events.first(), Some(&redirected));
        assert_eq!(net.ends[a].client.relayed()[0].ip(), addr(SECOND).ip());
        net.send(a, addr(PEER), b"x").unwrap();
        net.run(secs(1));
        assert_eq!(net.to_peers.len(), 1);
    }
}

#[test]
fn servers_that_redirect_in_a_circle_end_the_attempt() {
    let mut net = Net::new(ServerConfig { alternate_server: Some(addr(SECOND)), ..server_config() });
    net.server(ServerConfig { alternate_server: Some(addr(SERVER)), ..server_config() }, SECOND);
    let a = net.client(client_config(), Transport::Datagram);
    net.run(secs(1));
    let Some(Event::Failed(error)) = net.ends[a].events.last() else { panic!("{:?}", net.ends[a].events) };
    assert_eq!(
        (error.server, error.step, error.reason),
        (addr(SECOND), Step::Allocate, Reason::RedirectLoop)
    );
    assert_eq!(error.to_string(), "TURN server 203.0.113.2:3478: Allocate: the servers redirect in a circle");
}

#[test]
fn quotas_are_per_user_and_in_all() {
    let mut config = server_config();
    config.users.insert("bob".to_owned(), "builder".to_owned());
    config.max_allocations_per_user = 2;
    config.max_allocations = 3;
    let mut net = Net::new(config);
    let bob = ClientConfig::new(Credentials { username: "bob".to_owned(), password: "builder".to_owned() });
    let users = [client_config(), client_config(), client_config(), bob.clone(), bob];
    users.into_iter().for_each(|config| {
        net.client(config, Transport::Datagram);
        net.run(secs(1));
    });
    let failed = |end: usize, code: ErrorCode| {
        let Some(Event::Failed(error)) = net.ends[end].events.last() else {
            panic!("{:?}", net.ends[end].events)
        };
        assert_eq!((error.reason, error.retry_after()), (Reason::Refused(code), Some(secs(60))));
        error.to_string()
    };
    let text = failed(2, ErrorCode::ALLOCATION_QUOTA_REACHED);
    assert_eq!(
        text,
        "TURN server 203.0.113.1:3478: Allocate: the server answered 486 Allocation Quota Reached"
    );
    failed(4, ErrorCode::INSUFFICIENT_CAPACITY);
    // What is given back can be had again.
    let now = net.now;
    net.ends[0].client.close(now);
    net.run(secs(1));
    let again = net.client(client_config(), Transport::Datagram);
    net.run(secs(1));
    assert_eq!(net.ends[again].client.relayed().len(), 1);
    assert_eq!(net.machines[0].server.stats().over_quota, 2);
}

#[test]
fn sockets_that_can_not_be_had_are_said_so() {
    let mut net = Net::new(server_config());
    net.machines[0].opens = false;
    let a = net.client(client_config(), Transport::Datagram);
    net.run(secs(1));
    let code = Reason::Refused(ErrorCode::INSUFFICIENT_CAPACITY);
    assert!(matches!(&net.ends[a].events[..], [Event::Failed(error)] if error.reason == code));
    assert_eq!(net.machines[0].server.stats().allocations, 0);
    net.machines[0].opens = true;
    let b = net.client(client_config(), Transport::Datagram);
    net.run(secs(1));
    assert_eq!(net.ends[b].client.relayed().len(), 1, "the quota was given back");
}

#[test]
fn ephemeral_credentials_let_in_until_they_expire_and_keep_what_they_got() {
    let secret = b"north".to_vec();
    let config = ServerConfig { secrets: vec![b"old".to_vec(), secret.clone()], ..server_config() };
    let with = |secret: &[u8], expiry| {
        let (username, password) = crate::ephemeral_credentials(secret, expiry, "carol");
        ClientConfig::new(Credentials { username, password })
    };
    let unix = super::net::UNIX;
    let mut net = Net::new(config);
    let good = net.client(with(&secret, unix + 100), Transport::Datagram);
    let old = net.client(with(b"old", unix + 100), Transport::Datagram);
    let wrong = net.client(with(b"south", unix + 100), Transport::Datagram);
    let expired = net.client(with(&secret, unix - 1), Transport::Datagram);
    let user = net.client(client_config(), Transport::Datagram);
    net.run(secs(1));
    for end in [good, old, user] {
        assert_eq!(net.ends[end].client.relayed().len(), 1, "{end}");
    }
    for end in [wrong, expired] {
        assert!(
            matches!(&net.ends[end].events[..], [Event::Failed(error)] if error.reason == Reason::Credentials)
        );
    }
    net.run(secs(3000));
    assert_eq!(net.ends[good].client.relayed().len(), 1, "{:?}", net.ends[good].events);
    net.ends.clear();
    net.client(with(&secret, unix + 100), Transport::Stream);
    net.run(secs(1));
    assert!(net.ends[0].client.is_over());
}

#[test]
fn after_a_restart_of_the_server_the_client_says_that_its_allocation_is_gone() {
    let mut net = Net::ready(server_config());
    net.machines.clear();
    net.server(server_config(), SERVER);
    net.run(secs(600));
    let Some(Event::Failed(error)) = net.ends[0].events.last() else { panic!("{:?}", net.ends[0].events) };
    assert_eq!((error.step, error.reason), (Step::Refresh, Reason::Refused(ErrorCode::ALLOCATION_MISMATCH)));
    assert!(!error.wants_another_port() && error.retry_after().is_none());
    assert_eq!(net.ends[0].client.poll_timeout(), None);
}

#[test]
fn a_process_that_begins_again_on_its_port_gets_an_allocation_at_once() {
    let mut net = Net::ready(server_config());
    let taken = net.ends[0].addr;
    net.client(client_config(), Transport::Datagram);
    net.ends.swap_remove(0);
    net.ends[0].addr = taken;
    net.run(secs(1));
    assert!(matches!(net.ends[0].events[..], [Event::Allocated { .. }]), "{:?}", net.ends[0].events);
    assert_eq!(net.machines[0].server.stats().allocations, 1);
}

#[test]
fn a_port_that_is_taken_by_another_user_is_said_so() {
    let mut config = server_config();
    config.users.insert("bob".to_owned(), PASSWORD.to_owned());
    let mut net = Net::ready(config);
    let taken = net.ends[0].addr;
    let bob = Credentials { username: "bob".to_owned(), password: PASSWORD.to_owned() };
    let a = net.client(ClientConfig::new(bob), Transport::Datagram);
    net.ends.swap_remove(0);
    net.ends[a - 1].addr = taken;
    net.run(secs(1));
    let Some(Event::Failed(error)) = net.ends[0].events.last() else { panic!("{:?}", net.ends[0].events) };
    assert!(error.wants_another_port(), "{error}");
}

#[test]
fn a_server_that_never_answers_is_given_up_in_the_time_that_is_set() {
    for transport in [Transport::Datagram, Transport::Stream] {
        let mut net = Net::new(server_config());
        net.machines.clear();
        let a = net.client(ClientConfig { allocate_timeout: secs(7), ..client_config() }, transport);
        net.run(ms(6999));
        assert!(net.ends[a].events.is_empty());
        net.run(ms(1));
        assert!(matches!(&net.ends[a].events[..], [Event::Failed(e)] if e.reason == Reason::Timeout));
        let sends = if transport == Transport::Stream { 1 } else { 4 };
        assert_eq!(net.ends[a].client.stats().requests_sent, sends);
    }
}

#[test]
fn closing_leaves_nothing_on_the_server_at_whatever_moment() {
    for at in 0..120 {
        let mut net = Net::new(server_config());
        let a = net.client(client_config(), Transport::Datagram);
        net.permit(a, "192.0.2.7");
        net.run(ms(at));
        let now = net.now;
        net.ends[a].client.close(now);
        net.ends[a].client.close(now);
        assert_eq!(net.ends[a].client.permit(now, [192, 0, 2, 9].into()), Err(PeerError::Closed));
        net.run(secs(100));
        assert_eq!(net.ends[a].events.last(), Some(&Event::Closed), "at {at} ms");
        assert_eq!(net.ends[a].events.iter().filter(|e| **e == Event::Closed).count(), 1, "at {at} ms");
        assert_eq!(net.machines[0].server.stats().allocations, 0, "at {at} ms");
        assert_eq!(net.ends[a].client.poll_timeout(), None);
    }
}

#[test]
fn closing_towards_a_dead_server_ends_too() {
    let mut net = Net::ready(server_config());
    net.machines.clear();
    let now = net.now;
    net.ends[0].client.close(now);
    net.run(Duration::from_millis(39_600));
    assert_eq!(net.ends[0].events.last(), Some(&Event::Closed));
}

#[test]
fn a_wrong_password_is_tried_once() {
    for (username, password) in [(USER, "wrong"), ("nobody", PASSWORD), ("", "")] {
        let mut net = Net::new(server_config());
        let credentials = Credentials { username: username.to_owned(), password: password.to_owned() };
        let a = net.client(ClientConfig::new(credentials), Transport::Datagram);
        net.run(secs(60));
        assert!(
            matches!(&net.ends[a].events[..], [Event::Failed(error)] if error.reason == Reason::Credentials)
        );
        assert_eq!(net.ends[a].client.stats().requests_sent, 2);
        assert_eq!(net.machines[0].server.stats().wrong_credentials, 1);
    }
}

#[test]
fn a_stream_that_ends_takes_the_allocation_with_it() {
    let mut net = Net::new(server_config());
    let a = net.client(client_config(), Transport::Stream);
    net.run(secs(1));
    let tuple = net.tuple(a);
    assert!(net.machines[0].server.has_allocation(tuple));
    net.machines[0].server.disconnected(tuple);
    net.machines[0].server.disconnected(tuple);
    net.ends[a].client.disconnected();
    net.ends[a].client.disconnected();
    net.run(secs(1));
    assert_eq!((net.machines[0].relays.len(), net.machines[0].server.stats().allocations), (0, 0));
    assert!(matches!(net.ends[a].events.last(), Some(Event::Failed(e)) if e.reason == Reason::Disconnected));
    assert_eq!(net.ends[a].events.len(), 2);
}
