//! What the network can fill has an end, and any order of calls is harmless.

use std::sync::Arc;

use proptest::prelude::*;

use super::net::{Net, PASSWORD, SERVER, UNIX, USER, addr, base, client_config, secs, server_config};
use crate::{
    Client, ClientConfig, Credentials, ErrorCode, Event, FiveTuple, PeerError, Reason, SendError, Server,
    ServerConfig, ServerEvent, Transport,
};

#[test]
fn the_client_takes_as_many_permissions_and_channels_as_it_may() {
    let config = ClientConfig { max_permissions: 3, max_channels: 2, ..client_config() };
    let mut net = Net::new(server_config());
    let a = net.client(config, Transport::Datagram);
    let now = net.now;
    let client = &mut net.ends[a].client;
    for ip in 1..=3 {
        client.permit(now, [192, 0, 2, ip].into()).unwrap();
        client.permit(now, [192, 0, 2, ip].into()).unwrap();
    }
    assert_eq!(client.permit(now, [192, 0, 2, 4].into()), Err(PeerError::TooMany));
    client.bind_channel(now, addr("192.0.2.1:1")).unwrap();
    client.bind_channel(now, addr("192.0.2.1:2")).unwrap();
    assert_eq!(client.bind_channel(now, addr("192.0.2.1:3")), Err(PeerError::TooMany));
    for wrong in ["0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "192.0.2.1:0", "[::]:1", "[ff02::1]:1"] {
        assert_eq!(client.bind_channel(now, addr(wrong)), Err(PeerError::Address), "{wrong}");
    }
}

#[test]
fn the_server_gives_as_many_permissions_and_channels_as_it_may() {
    let mut net = Net::ready(ServerConfig { max_permissions: 5, max_channels: 3, ..server_config() });
    for ip in 1..=4 {
        net.permit(0, &format!("192.0.2.{ip}"));
    }
    net.run(secs(1));
    for port in 1..=4 {
        net.bind(0, &format!("192.0.2.1:{port}"));
    }
    for ip in 5..=6 {
        net.permit(0, &format!("192.0.2.{ip}"));
    }
    net.run(secs(2));
    let events = &net.ends[0].events;
    let full = Reason::Refused(ErrorCode::INSUFFICIENT_CAPACITY);
    let refused = |e: &&Event| match e {
        Event::NotPermitted { error, .. } | Event::ChannelNotBound { error, .. } => error.reason == full,
        _ => false,
    };
    assert_eq!(events.iter().filter(refused).count(), 2, "{events:?}");
    assert_eq!(events.iter().filter(|e| matches!(e, Event::Permitted { .. })).count(), 5);
    assert_eq!(events.iter().filter(|e| matches!(e, Event::ChannelBound { .. })).count(), 3);
}

#[test]
fn an_allocation_gets_its_rate_and_no_more() {
    let mut net = Net::ready(ServerConfig { max_bytes_per_second: Some(10_000), ..server_config() });
    net.permit(0, "192.0.2.7");
    net.run(secs(1));
    for _ in 0..10 {
        for _ in 0..100 {
            net.send(0, addr("192.0.2.7:7"), &[0; 100]).unwrap();
        }
        net.run(secs(1) / 2);
    }
    let passed: usize = net.to_peers.iter().map(|(.., data)| data.len()).sum();
    assert!((50_000..=61_000).contains(&passed), "{passed} bytes in five seconds");
    assert_eq!(net.machines[0].server.stats().dropped_rate as usize, 1000 - net.to_peers.len());
}

#[test]
fn an_owner_that_fetches_nothing_stops_the_server_from_growing() {
    let config =
        ServerConfig { max_allocations: 10, max_unauthenticated_per_second: 1_000_000, ..server_config() };
    let now = base();
    let mut server = Server::new(Arc::new(config), now, secs(UNIX), [1; 32]);
    let mut out = [0; 4096];
    for n in 0..3000u32 {
        let [.., c, d] = n.to_be_bytes();
        let tuple = FiveTuple {
            client: ([198, 51, c, d], 4000).into(),
            server: addr(SERVER),
            transport: Transport::Datagram,
        };
        let mut client =
            Client::new(Arc::new(client_config()), Transport::Datagram, addr(SERVER), now, [n as u8; 32]);
        let len = client.poll_transmit(now, &mut out).unwrap();
        assert_eq!(server.handle_input(now, tuple, &out[..len]), None);
    }
    let mut waiting = 0;
    while server.poll_transmit(now, &mut out).is_some() {
        waiting += 1;
    }
    assert_eq!((waiting, server.stats().dropped_overflow), (1024, 3000 - 1024));
}

#[test]
fn sockets_that_nobody_opens_are_given_up() {
    let mut net = Net::ready(server_config());
    let now = net.now;
    let tuple = FiveTuple { client: addr("198.51.100.99:1"), ..net.tuple(0) };
    let mut client = Client::new(Arc::new(client_config()), Transport::Datagram, addr(SERVER), now, [9; 32]);
    let server = &mut net.machines[0].server;
    let mut out = [0; 4096];
    for _ in 0..2 {
        let len = client.poll_transmit(now, &mut out).unwrap();
        server.handle_input(now, tuple, &out[..len]);
        if let Some((_, len)) = server.poll_transmit(now, &mut out) {
            client.handle_input(now, addr(SERVER), &out[..len]);
        }
    }
    let Some(ServerEvent::OpenRelay { relay, .. }) = server.poll_event() else {
        panic!("no socket was asked for")
    };
    assert!(server.has_allocation(tuple));
    server.handle_timeout(now + secs(31));
    assert!(!server.has_allocation(tuple));
    assert_eq!(server.poll_event(), Some(ServerEvent::CloseRelay { relay }));
    server.relay_opened(now + secs(32), relay, addr("203.0.113.1:60000"));
    assert!(server.poll_transmit(now, &mut out).is_none());
}

#[test]
fn buffers_that_are_too_small_lose_one_message_and_nothing_else() {
    let mut net = Net::ready(server_config());
    net.permit(0, "192.0.2.7");
    net.run(secs(1));
    let now = net.now;
    let client = &mut net.ends[0].client;
    for size in 0..44 {
        assert_eq!(
            client.send(now, addr("192.0.2.7:7"), b"12345", &mut vec![0; size]),
            Err(SendError::TooLarge)
        );
    }
    assert_eq!(client.send(now, addr("192.0.2.7:7"), b"12345", &mut [0; 44]), Ok(44));
    let most = vec![0; 65_535];
    assert_eq!(client.send(now, addr("192.0.2.7:7"), &most, &mut vec![0; 70_000]), Err(SendError::TooLarge));
    client.permit(now, [192, 0, 2, 8].into()).unwrap();
    assert_eq!(client.poll_transmit(now, &mut [0; 10]), None);
    assert_eq!(client.stats().dropped_too_large, 1);
    net.run(secs(2));
    assert_eq!(
        net.ends[0].events.last(),
        Some(&Event::Permitted { ip: [192, 0, 2, 8].into() }),
        "it was sent again"
    );
}

#[test]
fn no_secret_is_shown() {
    let mut config = server_config();
    config.secrets.push(b"northern-secret".to_vec());
    let net = Net::ready(config.clone());
    let shown =
        format!("{:?} {:?} {:?} {config:?}", net.ends[0].client, net.machines[0].server, client_config());
    assert!(!shown.contains(PASSWORD) && !shown.contains("northern") && shown.contains(USER));
    // Bytes of the secret as numbers, as a derived Debug shows them.
    assert!(!shown.contains("110, 111, 114, 116, 104"));
}

/// One call of any verb.
#[derive(Clone, Debug)]
enum Call {
    Client(u8),
    Server(u8),
    Wait(u64),
    Replay(usize, bool),
    Garbage(Vec<u8>, bool),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0..9u8).prop_map(Call::Client),
        4 => (0..7u8).prop_map(Call::Server),
        1 => (0..400_000u64).prop_map(Call::Wait),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(at, up)| Call::Replay(at, up)),
        1 => (proptest::collection::vec(any::<u8>(), 0..60), any::<bool>()).prop_map(|(bytes, up)| Call::Garbage(bytes, up)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn calls_in_any_order_undrained_and_repeated_leave_no_deadline_in_place(calls in proptest::collection::vec(call(), 0..120)) {
        let mut now = base();
        let config = ClientConfig::new(Credentials { username: USER.to_owned(), password: PASSWORD.to_owned() });
        let mut client = Client::new(Arc::new(config), Transport::Datagram, addr(SERVER), now, [4; 32]);
        let mut server = Server::new(Arc::new(server_config()), now, secs(UNIX), [5; 32]);
        let tuple = FiveTuple { client: addr("198.51.100.1:4000"), server: addr(SERVER), transport: Transport::Datagram };
        let (mut ups, mut downs, mut relays) = (Vec::new(), Vec::new(), Vec::new());
        let mut out = vec![0; 4096];
        let peer = addr("192.0.2.7:7000");
        let mut finals = 0;
        for call in calls {
            match call {
                Call::Wait(ms) => {
                    now += super::net::ms(ms);
                    client.handle_timeout(now);
                    server.handle_timeout(now);
                    prop_assert!(client.poll_timeout().is_none_or(|at| at > now));
                    prop_assert!(server.poll_timeout().is_none_or(|at| at > now));
                }
                Call::Client(0) => client.close(now),
                Call::Client(1 | 2) => drop(client.permit(now, peer.ip())),
                Call::Client(3) => drop(client.bind_channel(now, peer)),
                Call::Client(4) => {
                    if let Ok(len) = client.send(now, peer, b"data", &mut out) {
                        ups.push(out[..len].to_vec());
                    }
                }
                Call::Client(5) => {
                    let event = client.poll_event();
                    finals += usize::from(matches!(event, Some(Event::Failed(_) | Event::Closed)));
                }
                Call::Client(_) => {
                    if let Some(len) = client.poll_transmit(now, &mut out) {
                        ups.push(out[..len].to_vec());
                    }
                }
                Call::Server(0) => server.disconnected(tuple),
                Call::Server(1) => {
                    if let Some(ServerEvent::OpenRelay { relay, .. }) = server.poll_event() {
                        relays.push(relay);
                    }
                }
                Call::Server(2) => relays.iter().for_each(|r| server.relay_opened(now, *r, addr("203.0.113.1:50000"))),
                Call::Server(3) => relays.iter().take(1).for_each(|r| server.relay_failed(now, *r)),
                Call::Server(4) => {
                    for relay in &relays {
                        if let Some((_, len)) = server.handle_relayed(now, *relay, peer, b"data", &mut out) {
                            downs.push(out[..len].to_vec());
                        }
                    }
                }
                Call::Server(_) => {
                    if let Some((_, len)) = server.poll_transmit(now, &mut out) {
                        downs.push(out[..len].to_vec());
                    }
                }
                Call::Replay(at, true) if !ups.is_empty() => {
                    server.handle_input(now, tuple, &ups[ups.len() - 1 - at % ups.len().min(4)]);
                }
                Call::Replay(at, false) if !downs.is_empty() => {
                    client.handle_input(now, addr(SERVER), &downs[downs.len() - 1 - at % downs.len().min(4)]);
                }
                Call::Replay(..) => {}
                Call::Garbage(bytes, true) => drop(server.handle_input(now, tuple, &bytes)),
                Call::Garbage(bytes, false) => drop(client.handle_input(now, addr(SERVER), &bytes)),
            }
        }
        while let Some(event) = client.poll_event() {
            finals += usize::from(matches!(event, Event::Failed(_) | Event::Closed));
        }
        prop_assert_eq!(finals, usize::from(client.is_over()));
        prop_assert!(server.stats().allocations <= 1);
    }
}
