//! Peers that nobody has announced: the hook for unknown ufrags, and what floods of them leave behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet::{
    Agreement, DataChannel, DataChannelOptions, DtlsRole, Endpoint, EndpointConfig, Error, HashAlgorithm,
    IceCredentials, IceTransportPolicy, Incoming, IncomingConfig, Message, PeerConfig, PeerConnection,
    PeerIdentity,
};
use sinnet_stun::{Builder, Class, IntegrityKey, Method, TransactionId};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

const PREFIX: &str = "direct/";

fn password_is_ufrag() -> IncomingConfig {
    IncomingConfig::new(|first| first.local_ufrag.starts_with(PREFIX).then(|| first.local_ufrag.into()))
}

async fn server(tune: impl FnOnce(&mut IncomingConfig)) -> (Endpoint, SocketAddr) {
    let mut incoming = password_is_ufrag();
    tune(&mut incoming);
    let bind = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
    let endpoint = Endpoint::new(EndpointConfig { incoming: Some(incoming), ..bind }).await.unwrap();
    let addr = endpoint.local_addrs()[0];
    (endpoint, addr)
}

fn ufrag(number: u32) -> String {
    format!("{PREFIX}{number:024}")
}

fn channel(connection: &PeerConnection) -> DataChannel {
    let options = DataChannelOptions { negotiated: Some(0), ..Default::default() };
    connection.create_data_channel("", options).unwrap()
}

fn dial(endpoint: &Endpoint, ufrag: String, to: SocketAddr, server: &Endpoint) -> PeerConnection {
    let shared = IceCredentials { pwd: ufrag.clone(), ufrag };
    let certificate = server.certificate().unwrap().fingerprint(HashAlgorithm::Sha256);
    let identity = PeerIdentity::Fingerprints(vec![certificate]);
    let mut agreement = Agreement::new(shared.clone(), shared, DtlsRole::Client, identity);
    agreement.danger_public_password = true;
    agreement.remote_addrs = vec![to];
    endpoint.peer_connection_without_sdp(PeerConfig::default(), agreement).unwrap()
}

fn accept(incoming: Incoming) -> Result<PeerConnection, Error> {
    accept_as(incoming, PeerConfig::default())
}

fn accept_as(incoming: Incoming, config: PeerConfig) -> Result<PeerConnection, Error> {
    let mut agreement = incoming.agreement(incoming.remote_ufrag(), PeerIdentity::DangerAnyCertificate);
    agreement.danger_public_password = true;
    incoming.accept(config, agreement)
}

/// Takes everybody and sends back what comes on channel 0.
async fn echo(endpoint: Endpoint, accepted: Arc<AtomicUsize>) {
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = accept(incoming) else { continue };
        accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let channel = channel(&connection);
            while let Some(message) = channel.recv().await {
                if channel.send(message).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn echoes(channel: &DataChannel, text: &str) {
    let echoed = async {
        channel.send(text.to_owned()).await.unwrap();
        assert_eq!(channel.recv().await, Some(text.into()));
    };
    timeout(PATIENCE, echoed).await.expect("the echo comes back");
}

/// A first request from nobody, with the right password or another one.
fn request(ufrag: &str, pwd: &str, id: u32, out: &mut [u8]) -> usize {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&id.to_be_bytes());
    let mut builder = Builder::new(out, Class::Request, Method::BINDING, TransactionId(bytes));
    builder.username_pair(ufrag, ufrag).priority(1).ice_controlling(1);
    builder.integrity(&IntegrityKey::short_term(pwd)).fingerprint();
    builder.finish().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "for what the flood's test prints")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"));
}

#[tokio::test]
async fn a_client_that_nobody_has_announced_connects_and_both_certificates_can_be_read() {
    let (endpoint, addr) = server(|_| {}).await;
    let client = Endpoint::bind("127.0.0.1:0").await.unwrap();
    let near = dial(&client, ufrag(1), addr, &endpoint);
    let ours = channel(&near);
    let incoming = timeout(PATIENCE, endpoint.accept()).await.unwrap().unwrap();
    assert_eq!(incoming.local_ufrag(), ufrag(1));
    assert_eq!((incoming.local_addr(), incoming.remote_addr()), (addr, client.local_addrs()[0]));
    let far = accept(incoming).unwrap();
    let theirs = channel(&far);
    timeout(PATIENCE, near.connected()).await.unwrap().unwrap();
    timeout(PATIENCE, far.connected()).await.unwrap().unwrap();
    let fingerprint =
        |endpoint: &Endpoint| Some(endpoint.certificate().unwrap().fingerprint(HashAlgorithm::Sha256).digest);
    let seen = |connection: &PeerConnection| {
        let der = connection.peer_certificate()?;
        Some(sinnet::Fingerprint::of(HashAlgorithm::Sha256, &der).digest)
    };
    assert_eq!(seen(&far), fingerprint(&client), "the client's, which nobody had said");
    assert_eq!(seen(&near), fingerprint(&endpoint));
    ours.send("hello").await.unwrap();
    assert_eq!(timeout(PATIENCE, theirs.recv()).await.unwrap(), Some("hello".into()));
    assert!(far.create_offer().is_err(), "there is no SDP on it");
    near.close().await;
    endpoint.close().await;
    assert!(endpoint.accept().await.is_none(), "a closed endpoint takes nobody");
    assert!(client.accept().await.is_none(), "nor does one without the hook");
}

#[tokio::test]
async fn a_peer_that_calls_directly_is_not_accepted_where_only_relays_may_be_used() {
    let (endpoint, addr) = server(|_| {}).await;
    let client = Endpoint::bind("127.0.0.1:0").await.unwrap();
    let _near = dial(&client, ufrag(1), addr, &endpoint);
    let incoming = timeout(PATIENCE, endpoint.accept()).await.unwrap().unwrap();
    let config = PeerConfig { ice_transport_policy: IceTransportPolicy::Relay, ..Default::default() };
    assert!(matches!(accept_as(incoming, config), Err(Error::NoRelay)));
}

/// Whoever sends a request with a false address has us send there.
#[tokio::test]
async fn a_lite_server_sends_one_answer_for_one_request() {
    let mut sent = Vec::new();
    for ice_lite in [true, false] {
        let (endpoint, addr) = server(|_| {}).await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut out = [0; 1200];
        let len = request(&ufrag(1), &ufrag(1), 1, &mut out);
        socket.send_to(&out[..len], addr).await.unwrap();
        let incoming = timeout(PATIENCE, endpoint.accept()).await.unwrap().unwrap();
        let ice_patience = Some(Duration::from_secs(1));
        let config = PeerConfig { ice_lite, ice_patience, ..Default::default() };
        let connection = accept_as(incoming, config).unwrap();
        assert!(timeout(PATIENCE, connection.connected()).await.unwrap().is_err(), "nobody is there");
        let mut buf = [0; 1500];
        let mut bytes = Vec::new();
        while let Ok(len) = socket.try_recv(&mut buf) {
            bytes.push(len);
        }
        println!("lite {ice_lite}: {bytes:?} bytes for {len}");
        sent.push(bytes.len());
    }
    assert_eq!(sent[0], 1);
    assert!(sent[1] < 12, "{sent:?}");
}

#[tokio::test]
async fn a_client_that_nobody_has_announced_connects_to_a_lite_server_too() {
    let (endpoint, addr) = server(|_| {}).await;
    let client = Endpoint::bind("127.0.0.1:0").await.unwrap();
    let near = dial(&client, ufrag(1), addr, &endpoint);
    let ours = channel(&near);
    let incoming = timeout(PATIENCE, endpoint.accept()).await.unwrap().unwrap();
    let far = accept_as(incoming, PeerConfig { ice_lite: true, ..Default::default() }).unwrap();
    let theirs = channel(&far);
    ours.send("hello").await.unwrap();
    assert_eq!(timeout(PATIENCE, theirs.recv()).await.unwrap(), Some("hello".into()));
}

#[tokio::test]
async fn a_wrong_password_or_a_ufrag_that_is_not_known_is_counted_and_never_shown() {
    let (endpoint, addr) = server(|_| {}).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut out = [0; 1200];
    for id in 0..50 {
        let len = request(&ufrag(id), "another password of 22", id, &mut out);
        socket.send_to(&out[..len], addr).await.unwrap();
        let len = request("somebody/else/entirely", "somebody/else/entirely", id, &mut out);
        socket.send_to(&out[..len], addr).await.unwrap();
        // Nothing that is a request of two ufrags.
        socket.send_to(&out[..len - 4], addr).await.unwrap();
    }
    until("all are judged", || {
        let stats = endpoint.incoming_stats();
        (stats.bad_integrity, stats.ignored) == (50, 50)
    })
    .await;
    assert_eq!(endpoint.incoming_stats().queued, 0);
    assert!(timeout(Duration::from_millis(50), endpoint.accept()).await.is_err());
    assert!(socket.try_recv(&mut out).is_err(), "and nobody was answered");
}

#[tokio::test]
async fn those_who_wait_are_limited_in_all_and_by_address_and_repetitions_count_once() {
    let (endpoint, addr) = server(|incoming| {
        incoming.max_waiting = 10;
        incoming.max_waiting_per_address = 4;
    })
    .await;
    let mut out = [0; 1200];
    for host in 1..=4u8 {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::new(127, 0, 0, host), 0)).await.unwrap();
        for id in 0..6 {
            let ufrag = ufrag(u32::from(host) * 100 + id);
            for _ in 0..2 {
                let len = request(&ufrag, &ufrag, id, &mut out);
                socket.send_to(&out[..len], addr).await.unwrap();
            }
        }
    }
    until("all are judged", || {
        let stats = endpoint.incoming_stats();
        stats.queued + stats.repeated + stats.no_room + stats.no_room_for_address == 48
    })
    .await;
    let stats = endpoint.incoming_stats();
    // Four of each of the first two, two of the third; their repetitions; and nobody of the fourth.
    assert_eq!((stats.queued, stats.repeated), (10, 10), "{stats:?}");
    assert_eq!(stats.no_room_for_address, 8, "{stats:?}");
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(timeout(PATIENCE, endpoint.accept()).await.unwrap().unwrap());
    }
    assert_eq!(waiting.iter().filter(|one| one.remote_addr().ip().to_string() == "127.0.0.1").count(), 4);
    // Taken from the queue, they still have their places; ignored, they give them back.
    let socket = UdpSocket::bind("127.0.0.9:0").await.unwrap();
    let len = request(&ufrag(9), &ufrag(9), 1, &mut out);
    socket.send_to(&out[..len], addr).await.unwrap();
    until("there is no room", || endpoint.incoming_stats().no_room > stats.no_room).await;
    waiting.pop().unwrap().ignore();
    socket.send_to(&out[..len], addr).await.unwrap();
    let incoming = timeout(PATIENCE, endpoint.accept()).await.unwrap().unwrap();
    assert_eq!(incoming.remote_addr().ip().to_string(), "127.0.0.9");
}

#[tokio::test]
async fn an_agreement_with_somebody_else_is_refused_and_a_peer_accepted_twice_is_one() {
    let (endpoint, addr) = server(|_| {}).await;
    let sockets =
        [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
    let mut out = [0; 1200];
    let len = request(&ufrag(1), &ufrag(1), 1, &mut out);
    let mut both = Vec::new();
    for socket in &sockets {
        socket.send_to(&out[..len], addr).await.unwrap();
        both.push(timeout(PATIENCE, endpoint.accept()).await.unwrap().unwrap());
    }
    let first = accept(both.remove(0)).unwrap();
    let second = accept(both.remove(0)).unwrap();
    timeout(PATIENCE, second.abort("over")).await.unwrap();
    assert!(first.close_reason().is_none());
    until("the second is gone", || endpoint.held()[0] == 1).await;

    let len = request(&ufrag(2), &ufrag(2), 1, &mut out);
    sockets[0].send_to(&out[..len], addr).await.unwrap();
    let incoming = timeout(PATIENCE, endpoint.accept()).await.unwrap().unwrap();
    let mut agreement = incoming.agreement(ufrag(2), PeerIdentity::DangerAnyCertificate);
    agreement.danger_public_password = true;
    agreement.local.ufrag = ufrag(3);
    let refused = incoming.accept(PeerConfig::default(), agreement);
    assert!(matches!(refused, Err(Error::OtherPeer)), "{refused:?}");
}

#[tokio::test]
async fn a_thousand_connections_share_one_port_of_the_server() {
    const CLIENTS: u32 = 1000;
    let (endpoint, addr) = server(|incoming| {
        incoming.max_waiting = 2000;
        incoming.max_waiting_per_address = 2000;
    })
    .await;
    let accepted = Arc::new(AtomicUsize::new(0));
    tokio::spawn(echo(endpoint.clone(), accepted.clone()));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        // A port each, as one client of a user each would have.
        let config =
            EndpointConfig { socket_buffer: 65_536, ..EndpointConfig::bind("127.0.0.1:0".parse().unwrap()) };
        let client = Endpoint::new(config).await.unwrap();
        let connection = dial(&client, ufrag(number), addr, &endpoint);
        let channel = channel(&connection);
        clients.push((connection, channel));
        // As many begin at once as a slow machine can serve.
        if number % 50 == 49 {
            let up = clients.iter().rev().take(50).map(|(connection, _)| connection.connected());
            timeout(PATIENCE, join_all(up)).await.expect("they connect").into_iter().for_each(Result::unwrap);
        }
    }
    let texts = (0..).map(|number: u32| number.to_string());
    join_all(
        clients.iter().zip(texts).map(|((_, channel), text)| async move { echoes(channel, &text).await }),
    )
    .await;
    assert_eq!(accepted.load(Ordering::Relaxed), CLIENTS as usize);
    assert_eq!(endpoint.held()[0], CLIENTS as usize);
    join_all(clients.iter().map(|(connection, _)| connection.abort("over"))).await;
    until("nothing is left", || endpoint.held() == [0, 0, 0]).await;
}

/// Pitfall I14: of another stack all sessions died when one address came and went quickly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_first_requests_from_one_address_closing_at_random_moments_trouble_nobody_else() {
    let seed = std::env::var("SINNET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("SINNET_SEED={seed}");
    let (endpoint, addr) = server(|_| {}).await;
    let accepting = endpoint.clone();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(seed);
        while let Some(incoming) = accepting.accept().await {
            let is_friend = incoming.local_ufrag() == ufrag(u32::MAX);
            let Ok(connection) = accept(incoming) else { continue };
            let after = Duration::from_micros(rng.random_range(0..3000));
            let closes = rng.random_range(0..3);
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                if is_friend {
                    let channel = channel(&connection);
                    while let Some(message) = channel.recv().await {
                        channel.send(message).await.unwrap();
                    }
                    return;
                }
                tokio::time::sleep(after).await;
                match closes {
                    0 => connection.abort("over").await,
                    1 => connection.close().await,
                    _ => drop(connection),
                }
            });
        }
    });
    let client = Endpoint::bind("127.0.0.1:0").await.unwrap();
    let friend = dial(&client, ufrag(u32::MAX), addr, &endpoint);
    let channel = channel(&friend);
    echoes(&channel, "before").await;

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut rng = StdRng::seed_from_u64(!seed);
    let mut out = [0; 1200];
    // A ClientHello's record header, and nothing that makes one.
    let mut hello = [0u8; 200];
    hello[..13].copy_from_slice(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 187]);
    for number in 0..10_000 {
        let ufrag = ufrag(rng.random_range(0..5000));
        let len = request(&ufrag, &ufrag, number, &mut out);
        socket.send_to(&out[..len], addr).await.unwrap();
        rng.fill(&mut hello[13..]);
        socket.send_to(&hello, addr).await.unwrap();
        if number % 500 == 0 {
            echoes(&channel, &format!("while {number} have come")).await;
        }
        if number % 20 == 0 {
            tokio::task::yield_now().await;
        }
    }
    echoes(&channel, "after").await;
    assert!(accepted.load(Ordering::Relaxed) > 100, "{:?}", endpoint.incoming_stats());
    friend.close().await;
    until("nothing is left", || endpoint.held() == [0, 0, 0]).await;
}

/// Prints what became of the flood and how long one echo took meanwhile. `SINNET_FLOOD=1000000` for the measurement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_ufrags_leaves_nothing_and_a_transfer_goes_on() {
    let requests: u32 =
        std::env::var("SINNET_FLOOD").ok().and_then(|text| text.parse().ok()).unwrap_or(30_000);
    let (endpoint, addr) = server(|_| {}).await;
    tokio::spawn(echo(endpoint.clone(), Arc::default()));
    let client = Endpoint::bind("127.0.0.1:0").await.unwrap();
    let near = dial(&client, ufrag(u32::MAX), addr, &endpoint);
    let channel = channel(&near);
    echoes(&channel, "before").await;
    let megabytes = |channel: DataChannel, done: Arc<AtomicBool>| async move {
        let piece = Message::Binary(Bytes::from(vec![7; 64 * 1024]));
        let (started, mut bytes, mut slowest) = (clock(), 0, Duration::ZERO);
        while !done.load(Ordering::Relaxed) || bytes == 0 {
            let began = clock();
            let echoed = async {
                channel.send(piece.clone()).await.unwrap();
                assert_eq!(channel.recv().await, Some(piece.clone()));
            };
            timeout(PATIENCE, echoed).await.expect("the echo comes back");
            slowest = slowest.max(began.elapsed());
            bytes += piece.len();
        }
        (bytes as f64 / 1e6 / started.elapsed().as_secs_f64(), slowest)
    };
    let quiet = Arc::new(AtomicBool::new(false));
    let baseline = tokio::spawn(megabytes(channel.clone(), quiet.clone()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    quiet.store(true, Ordering::Relaxed);
    let before = baseline.await.unwrap();

    for kind in ["nobody's", "of a wrong password", "repeated", "of a right password"] {
        let done = Arc::new(AtomicBool::new(false));
        let transfer = tokio::spawn(megabytes(channel.clone(), done.clone()));
        let flood = std::thread::spawn(move || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut out = [0; 1200];
            let started = clock();
            for number in 0..requests {
                let len = match kind {
                    "nobody's" => {
                        request("somebody/else/entirely", "somebody/else/entirely", number, &mut out)
                    }
                    "of a wrong password" => {
                        request(&ufrag(number), "another password of 22", number, &mut out)
                    }
                    "repeated" => request(&ufrag(1), &ufrag(1), number, &mut out),
                    _ => request(&ufrag(number), &ufrag(number), number, &mut out),
                };
                socket.send_to(&out[..len], addr).unwrap();
            }
            started.elapsed()
        });
        let flood = tokio::task::spawn_blocking(|| flood.join().unwrap()).await.unwrap();
        done.store(true, Ordering::Relaxed);
        let during = transfer.await.unwrap();
        println!(
            "{requests} {kind} in {flood:?}: {:.0} MB/s of echoes, slowest {:?} (before: {:.0}, {:?}); {:?}",
            during.0,
            during.1,
            before.0,
            before.1,
            endpoint.incoming_stats()
        );
    }
    // Those with the right password were accepted, and have nobody behind them.
    near.close().await;
    until("nothing is left", || endpoint.held() == [0, 0, 0]).await;
}
