//! ICE over TCP (RFC 6544) between endpoints that know nothing but TCP candidates of each other, and hostile TCP clients.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet::{
    Agreement, DataChannel, DataChannelOptions, DtlsRole, Endpoint, EndpointConfig, HashAlgorithm,
    IceCandidate, IceCredentials, IceTcp, IceTransportPolicy, IncomingConfig, Message, PeerConfig,
    PeerConnection, PeerEvent, PeerIdentity, SessionDescription,
};
use sinnet_stun::{Builder, Class, IntegrityKey, Method, TransactionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn endpoint(ice_tcp: IceTcp) -> Endpoint {
    let bind = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
    Endpoint::new(EndpointConfig { ice_tcp, ..bind }).await.unwrap()
}

/// What is left of a description when UDP candidates are taken out, as if UDP were blocked.
fn without_udp(description: SessionDescription) -> SessionDescription {
    let is_udp = |line: &str| line.starts_with("a=candidate:") && line.split(' ').nth(2) == Some("udp");
    let lines: Vec<_> = description.sdp.split_inclusive("\r\n").filter(|line| !is_udp(line)).collect();
    SessionDescription { sdp: lines.concat(), ..description }
}

fn exchange(a: &PeerConnection, b: &PeerConnection) {
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(without_udp(a.local_description().unwrap())).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    a.set_remote_description(without_udp(b.local_description().unwrap())).unwrap();
}

/// Two connections that have TCP alone, and a channel between them.
async fn pair(active: &Endpoint, passive: &Endpoint) -> ([PeerConnection; 2], [DataChannel; 2]) {
    let [a, b] = [active, passive].map(|endpoint| endpoint.peer_connection(PeerConfig::default()).unwrap());
    let options = DataChannelOptions { negotiated: Some(0), ..Default::default() };
    let channels = [&a, &b].map(|peer| peer.create_data_channel("test", options.clone()).unwrap());
    exchange(&a, &b);
    for peer in [&a, &b] {
        timeout(PATIENCE, peer.connected()).await.expect("connected in time").unwrap();
    }
    ([a, b], channels)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"));
}

fn pattern(index: u32) -> Bytes {
    let bytes = (0..16_384u32).map(|at| (at.wrapping_mul(31) ^ index.wrapping_mul(2_654_435_761)) as u8);
    bytes.collect::<Vec<_>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_data_arrives_whole_both_ways_between_endpoints_that_have_tcp_alone() {
    const MESSAGES: u32 = 1000;
    let (active, passive) = (endpoint(IceTcp::Active).await, endpoint(IceTcp::ActiveAndPassive).await);
    assert_eq!(passive.tcp_addrs().len(), 1);
    let (peers, channels) = pair(&active, &passive).await;
    let path = peers[0].selected_path().unwrap();
    assert_eq!((path.protocol, path.remote), (sinnet::Protocol::Tcp, passive.tcp_addrs()[0]));
    let all_of_it = channels.iter().map(|channel| async move {
        let send = async {
            for index in 0..MESSAGES {
                channel.send(Message::Binary(pattern(index))).await.unwrap();
            }
        };
        let receive = async {
            for index in 0..MESSAGES {
                assert_eq!(channel.recv().await, Some(Message::Binary(pattern(index))), "message {index}");
            }
        };
        tokio::join!(send, receive)
    });
    timeout(PATIENCE, join_all(all_of_it)).await.expect("everything arrives");
    assert_eq!((active.ice_tcp_stats().opened, passive.ice_tcp_stats().accepted), (1, 1));
    timeout(PATIENCE, peers[0].close()).await.expect("an orderly close");
    timeout(PATIENCE, peers[1].close()).await.expect("on the other side, too");
    for endpoint in [&active, &passive] {
        until("nothing is left", || endpoint.held() == [0, 0, 0]).await;
    }
}

#[tokio::test]
async fn many_connections_share_one_listening_port() {
    let (active, passive) = (endpoint(IceTcp::Active).await, endpoint(IceTcp::ActiveAndPassive).await);
    // Over TCP the two endpoints may have any number, as each has a connection of its own.
    let pairs: Vec<_> = join_all((0..40).map(|_| pair(&active, &passive))).await;
    for (index, (_, channels)) in pairs.iter().enumerate() {
        channels[0].send(index.to_string()).await.unwrap();
    }
    for (index, (_, channels)) in pairs.iter().enumerate() {
        let received = timeout(PATIENCE, channels[1].recv()).await.unwrap();
        assert_eq!(received, Some(index.to_string().into()));
    }
    drop(pairs);
    for endpoint in [&active, &passive] {
        until("nothing is left", || endpoint.held() == [0, 0, 0]).await;
    }
}

#[tokio::test]
async fn udp_is_preferred_where_it_works() {
    let (a, b) = (endpoint(IceTcp::Active).await, endpoint(IceTcp::ActiveAndPassive).await);
    let [a, b] = [a, b].map(|endpoint| endpoint.peer_connection(PeerConfig::default()).unwrap());
    a.create_data_channel("", DataChannelOptions::default()).unwrap();
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(a.local_description().unwrap()).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    a.set_remote_description(b.local_description().unwrap()).unwrap();
    timeout(PATIENCE, a.connected()).await.unwrap().unwrap();
    until("a path is selected", || a.selected_path().is_some()).await;
    assert_eq!(a.selected_path().unwrap().protocol, sinnet::Protocol::Udp);
}

#[tokio::test]
async fn candidates_are_as_configured() {
    for (ice_tcp, kinds) in [
        (IceTcp::Off, vec![]),
        (IceTcp::Active, vec!["active"]),
        (IceTcp::ActiveAndPassive, vec!["active", "passive"]),
    ] {
        let endpoint = endpoint(ice_tcp).await;
        let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
        connection.create_data_channel("", DataChannelOptions::default()).unwrap();
        connection.set_local_description(connection.create_offer().unwrap()).unwrap();
        let mut found = Vec::new();
        while let Some(event) = connection.next_event().await {
            match event {
                PeerEvent::IceCandidate(Some(IceCandidate { candidate, .. })) => {
                    let words: Vec<_> = candidate.split(' ').collect();
                    if let Some(at) = words.iter().position(|word| *word == "tcptype") {
                        let port = if words[at + 1] == "active" { 9 } else { endpoint.tcp_addrs()[0].port() };
                        assert_eq!((words[2], words[5]), ("tcp", port.to_string().as_str()), "{candidate}");
                        found.push(words[at + 1].to_owned());
                    }
                }
                PeerEvent::IceCandidate(None) => break,
                _ => {}
            }
        }
        assert_eq!(found, kinds);
    }
}

#[tokio::test]
async fn a_peer_that_nobody_has_announced_may_come_over_tcp() {
    let incoming = IncomingConfig::new(|first| {
        first.local_ufrag.starts_with("direct/").then(|| first.local_ufrag.into())
    });
    let bind = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
    let config = EndpointConfig { incoming: Some(incoming), ice_tcp: IceTcp::ActiveAndPassive, ..bind };
    let server = Endpoint::new(config).await.unwrap();
    let client = endpoint(IceTcp::Active).await;
    let ufrag = "direct/0123456789abcdef".to_owned();
    let shared = IceCredentials { pwd: ufrag.clone(), ufrag };
    let certificate = server.certificate().unwrap().fingerprint(HashAlgorithm::Sha256);
    let identity = PeerIdentity::Fingerprints(vec![certificate]);
    let mut agreement = Agreement::new(shared.clone(), shared.clone(), DtlsRole::Client, identity);
    agreement.danger_public_password = true;
    let near = client.peer_connection_without_sdp(PeerConfig::default(), agreement).unwrap();
    let addr = server.tcp_addrs()[0];
    let line = format!("candidate:1 1 tcp 2105524479 {} {} typ host tcptype passive", addr.ip(), addr.port());
    near.add_ice_candidate(IceCandidate { candidate: line, ..Default::default() }).unwrap();
    let incoming = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    let mut agreement = incoming.agreement(shared.pwd, PeerIdentity::DangerAnyCertificate);
    agreement.danger_public_password = true;
    let far = incoming.accept(PeerConfig::default(), agreement).unwrap();
    for peer in [&near, &far] {
        timeout(PATIENCE, peer.connected()).await.expect("connected in time").unwrap();
    }
    assert_eq!(near.selected_path().unwrap().remote, addr);
}

#[tokio::test]
async fn where_only_relays_may_be_used_nobody_is_connected_to_over_tcp() {
    let client = endpoint(IceTcp::Active).await;
    for policy in [IceTransportPolicy::All, IceTransportPolicy::Relay] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = IceCredentials { ufrag: format!("{policy:?}/6789abcdef"), pwd: "0".repeat(22) };
        let agreement =
            Agreement::new(shared.clone(), shared, DtlsRole::Client, PeerIdentity::DangerAnyCertificate);
        let ice_patience = Some(Duration::from_secs(1));
        let config = PeerConfig { ice_transport_policy: policy, ice_patience, ..Default::default() };
        let near = client.peer_connection_without_sdp(config, agreement).unwrap();
        let line = format!("candidate:1 1 tcp 2105524479 127.0.0.1 {port} typ host tcptype passive");
        near.add_ice_candidate(IceCandidate { candidate: line, ..Default::default() }).unwrap();
        if policy == IceTransportPolicy::All {
            let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("a connection").unwrap();
            drop(stream);
            assert!(!near.local_candidates().is_empty());
        } else {
            let before = client.ice_tcp_stats();
            assert!(timeout(PATIENCE, near.connected()).await.unwrap().is_err(), "there is no way");
            assert_eq!(near.local_candidates(), []);
            assert_eq!(client.ice_tcp_stats(), before);
            assert!(timeout(Duration::from_millis(10), listener.accept()).await.is_err());
        }
        near.close().await;
    }
}

/// A Binding request as the first frame.
fn request(ufrag: &str, pwd: &str) -> Vec<u8> {
    let mut out = [0; 1200];
    let mut builder = Builder::new(&mut out[2..], Class::Request, Method::BINDING, TransactionId([7; 12]));
    builder.username_pair(ufrag, "peer").priority(1).ice_controlling(1);
    builder.integrity(&IntegrityKey::short_term(pwd)).fingerprint();
    let len = builder.finish().unwrap();
    out[..2].copy_from_slice(&(len as u16).to_be_bytes());
    out[..2 + len].to_vec()
}

async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

/// Pitfall I12, from strangers.
#[tokio::test]
async fn strangers_that_show_nothing_or_something_else_are_closed_and_trouble_nobody() {
    let (active, passive) = (endpoint(IceTcp::Active).await, endpoint(IceTcp::ActiveAndPassive).await);
    let (peers, channels) = pair(&active, &passive).await;
    let to = passive.tcp_addrs()[0];
    let known = passive.peer_connection(PeerConfig::default()).unwrap();
    known.create_data_channel("", DataChannelOptions::default()).unwrap();
    known.set_local_description(known.create_offer().unwrap()).unwrap();
    let sdp = known.local_description().unwrap().sdp;
    let ufrag = sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap();

    let at_once: [&[u8]; 7] = [
        &[0xff, 0xff],                                // longer than any first frame
        &[0, 0],                                      // an empty one
        b"GET / HTTP/1.1\r\n\r\n",                    // 18245 bytes to come
        &[0, 4, 1, 2, 3, 4],                          // no STUN
        &request("nobody", "0123456789abcdefghijkl"), // no connection of ours
        &request(ufrag, "0123456789abcdefghijkl"),    // of ours, without its password
        &[[0, 13].as_slice(), &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat(), // DTLS
    ];
    for bytes in at_once {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert!(is_closed(stream).await, "after {bytes:?}");
    }
    // One says nothing, one stops within a frame, one has a byte a second.
    let silent = TcpStream::connect(to).await.unwrap();
    let mut stopped = TcpStream::connect(to).await.unwrap();
    stopped.write_all(&request(ufrag, "0123456789abcdefghijkl")[..40]).await.unwrap();
    let slow = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        for byte in request(ufrag, "0123456789abcdefghijkl") {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        is_closed(stream).await
    };
    let (a, b, c) = tokio::join!(is_closed(silent), is_closed(stopped), slow);
    assert!(a && b && c);
    // More of one address than are let in.
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(to).await.unwrap());
    }
    until("those above the limit are refused", || passive.ice_tcp_stats().refused >= 36).await;
    drop(crowd);

    let all_the_while = peers[0].selected_path().unwrap();
    channels[0].send("still here").await.unwrap();
    assert_eq!(timeout(PATIENCE, channels[1].recv()).await.unwrap(), Some("still here".into()));
    assert_eq!(peers[0].selected_path(), Some(all_the_while));
    assert!(known.close_reason().is_none());
}

/// Pitfall I14, over TCP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_that_end_at_random_moments_leave_nothing_and_trouble_nobody() {
    let seed = std::env::var("SINNET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("SINNET_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (active, passive) = (endpoint(IceTcp::Active).await, endpoint(IceTcp::ActiveAndPassive).await);
    let (peers, channels) = pair(&active, &passive).await;
    let held = passive.held();
    let to = passive.tcp_addrs()[0];
    let known = peers[1].local_description().unwrap().sdp;
    let value = |name: &str| known.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let whole = request(&value("a=ice-ufrag:"), &value("a=ice-pwd:"));
    for number in 0..2000 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let _ = stream.write_all(&whole[..rng.random_range(0..whole.len())]).await;
        if rng.random() {
            // With a reset instead of an orderly end.
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        if number % 100 == 0 {
            channels[0].send("and on").await.unwrap();
            assert_eq!(timeout(PATIENCE, channels[1].recv()).await.unwrap(), Some("and on".into()));
        }
    }
    until("all are accepted and gone", || {
        let stats = passive.ice_tcp_stats();
        stats.accepted + stats.refused > 2000 && passive.held()[2] <= held[2]
    })
    .await;
    assert!(peers.iter().all(|peer| peer.close_reason().is_none()));
}

#[tokio::test]
async fn a_peer_that_listens_and_hangs_up_or_refuses_costs_a_few_connections_and_a_failure() {
    let active = endpoint(IceTcp::Active).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing: SocketAddr = {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        closed.local_addr().unwrap()
    };
    let connection = active
        .peer_connection(PeerConfig { ice_patience: Some(Duration::from_secs(1)), ..Default::default() });
    let connection = connection.unwrap();
    connection.create_data_channel("", DataChannelOptions::default()).unwrap();
    connection.set_local_description(connection.create_offer().unwrap()).unwrap();
    let other = endpoint(IceTcp::Off).await;
    let answerer = other.peer_connection(PeerConfig::default()).unwrap();
    answerer.set_remote_description(without_udp(connection.local_description().unwrap())).unwrap();
    answerer.set_local_description(answerer.create_answer().unwrap()).unwrap();
    connection.set_remote_description(without_udp(answerer.local_description().unwrap())).unwrap();
    let mut ports = vec![silent.local_addr().unwrap().port(), refusing.port()];
    // Services that are none of a peer's business, and more than are opened at once.
    ports.extend([22, 25, 1]);
    ports.extend(closed_ports(31).await);
    for port in ports {
        let candidate =
            format!("candidate:{port} 1 tcp 2105524479 127.0.0.1 {port} typ host tcptype passive");
        connection.add_ice_candidate(IceCandidate { candidate, ..Default::default() }).unwrap();
    }
    let accepted = timeout(PATIENCE, silent.accept()).await.expect("it connects").unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(connection.close_reason().is_none(), "it waits for an answer");
    drop(accepted);
    let wait = async { while !matches!(connection.next_event().await, Some(PeerEvent::Closed(_)) | None) {} };
    timeout(PATIENCE, wait).await.expect("ICE fails in the end");
    assert!(active.ice_tcp_stats().not_opened >= 3, "{:?}", active.ice_tcp_stats());
    assert!(active.ice_tcp_stats().opened < 5, "{:?}", active.ice_tcp_stats());
    until("nothing is left", || active.held() == [0, 0, 0]).await;
}

/// Ports on which nobody listened a moment ago.
async fn closed_ports(count: usize) -> Vec<u16> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Carries one TCP connection on to `to`. While the watched value is true, nothing is read from who connects.
async fn slow_reader(to: SocketAddr, stop: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(to).await.unwrap();
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut far_in, &mut near_out).await });
        let (mut stop, mut buf) = (stop, vec![0; 16_384]);
        loop {
            stop.wait_for(|stop| !stop).await.unwrap();
            let read = near_in.read(&mut buf).await.unwrap_or(0);
            if read == 0 || far_out.write_all(&buf[..read]).await.is_err() {
                return;
            }
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_reading_for_a_while_loses_nothing_but_time() {
    const MESSAGES: u32 = 2000;
    let (active, passive) = (endpoint(IceTcp::Active).await, endpoint(IceTcp::ActiveAndPassive).await);
    let [a, b] = [&active, &passive].map(|endpoint| endpoint.peer_connection(PeerConfig::default()).unwrap());
    let options = DataChannelOptions { negotiated: Some(0), ..Default::default() };
    let [near, far] = [&a, &b].map(|peer| peer.create_data_channel("test", options.clone()).unwrap());
    let (stop, stopped) = watch::channel(false);
    let listening = passive.tcp_addrs()[0];
    let between = slow_reader(listening, stopped).await;
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(without_udp(a.local_description().unwrap())).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    let mut answer = without_udp(b.local_description().unwrap());
    let [there, via] = [listening, between].map(|addr| format!("{} {} typ", addr.ip(), addr.port()));
    answer.sdp = answer.sdp.replace(&there, &via);
    a.set_remote_description(answer).unwrap();
    timeout(PATIENCE, a.connected()).await.expect("connected in time").unwrap();
    assert_eq!(a.selected_path().map(|path| path.remote), Some(between));
    let send = async {
        for index in 0..MESSAGES {
            near.send(Message::Binary(pattern(index))).await.unwrap();
        }
    };
    let receive = async {
        for index in 0..MESSAGES {
            if index == MESSAGES / 2 {
                stop.send(true).unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
                stop.send(false).unwrap();
            }
            assert_eq!(far.recv().await, Some(Message::Binary(pattern(index))), "message {index}");
        }
    };
    timeout(PATIENCE, async { tokio::join!(send, receive) }).await.expect("everything arrives");
    println!("{:?}", active.ice_tcp_stats());
    assert_eq!(active.ice_tcp_stats().opened, 1, "over one connection");
}
