//! TURN servers that lie, flood, redirect, close or say nothing: an error with a reason, and everything else goes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sinnet::{IceCandidateError, IceTransportPolicy, PeerConfig};
use sinnet_stun::{
    AttributeType, Builder, Class, Message, Method, PasswordAlgorithm, TransactionId, long_term_key,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::rig::{Over, Pair, Rig, candidates, endpoint, gather, ice_server, until};

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Far from every limit of a test.
const SOON: Duration = Duration::from_millis(700);

/// What a server does with a signed Allocate request from this address.
type Lie = Arc<dyn Fn(SocketAddr, &mut Builder<'_>) -> Class + Send + Sync>;

fn relays(relayed: SocketAddr, lifetime: u32) -> Lie {
    Arc::new(move |_, b| {
        b.xor_address(AttributeType::XOR_RELAYED_ADDRESS, relayed);
        b.attribute(AttributeType::LIFETIME, &lifetime.to_be_bytes());
        Class::SuccessResponse
    })
}

/// Answers as a TURN server would, but for the lie.
fn answer(request: &[u8], from: SocketAddr, lie: &Lie) -> Option<Vec<u8>> {
    let request = Message::parse(request).ok()?;
    let mut out = vec![0; 1000];
    // Builders can't be begun again, so what the lie makes of it is found out first.
    let mut class = Class::ErrorResponse;
    if request.has_integrity() && request.method() == Method::ALLOCATE {
        let mut draft = [0; 1000];
        class = lie(from, &mut Builder::new(&mut draft, class, request.method(), request.transaction_id()));
    } else if request.has_integrity() || request.method() == Method::BINDING {
        class = Class::SuccessResponse;
    }
    let mut b = Builder::new(&mut out, class, request.method(), request.transaction_id());
    let key = long_term_key("alice", "example.org", "wonderland", PasswordAlgorithm::MD5).unwrap();
    match (request.has_integrity(), request.method()) {
        (true, Method::ALLOCATE) => {
            lie(from, &mut b);
            b.integrity(&key);
        }
        (true, Method::REFRESH) => {
            b.attribute(AttributeType::LIFETIME, &[0; 4]).integrity(&key);
        }
        (true, _) => {
            b.integrity(&key);
        }
        (false, Method::BINDING) => {
            b.xor_mapped_address(from);
        }
        (false, _) => {
            b.error_code(401).realm("example.org").nonce("n");
        }
    }
    b.fingerprint();
    let len = b.finish().unwrap();
    out.truncate(len);
    Some(out)
}

/// A server over UDP that tells this lie. Counts what it is asked.
async fn liar(lie: Lie) -> (SocketAddr, Arc<AtomicUsize>, Arc<UdpSocket>) {
    let socket = Arc::new(UdpSocket::bind((LOCAL, 0)).await.unwrap());
    let (addr, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (count, serving) = (asked.clone(), socket.clone());
    tokio::spawn(async move {
        let mut request = [0; 4096];
        while let Ok((len, from)) = serving.recv_from(&mut request).await {
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(answer) = answer(&request[..len], from, &lie) {
                let _ = serving.send_to(&answer, from).await;
            }
        }
    });
    (addr, asked, socket)
}

/// What a connection with this server, and nothing else but its own address, makes of it. Another one connects meanwhile.
async fn gathers(url: String, timeout: Duration) -> (Vec<String>, Vec<IceCandidateError>) {
    let servers = vec![ice_server(url.parse().unwrap())];
    let a = endpoint(servers, |config| config.gather_timeout = timeout).await;
    let b = endpoint(vec![], |_| {}).await;
    let connection = a.peer_connection(PeerConfig::default()).unwrap();
    let found = gather(&connection).await;
    let pair = Pair::of(a, b, IceTransportPolicy::All, IceTransportPolicy::All);
    pair.connect().await;
    pair.bulk(100_000).await;
    drop(connection);
    pair.close().await;
    found
}

#[tokio::test]
async fn servers_that_never_answer_end_gathering_at_its_time_and_are_named() {
    let udp = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let tcp = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let (udp, silent) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let closed = TcpListener::bind((LOCAL, 0)).await.unwrap().local_addr().unwrap();
    for (url, what) in [
        (format!("turn:{udp}"), "Allocate: the server did not answer in time"),
        (format!("turn:{silent}?transport=tcp"), "Allocate: the server did not answer in time"),
        (format!("turns:{silent}"), "Allocate: the server did not answer in time"),
        (format!("turn:{closed}?transport=tcp"), "can't connect"),
        (format!("turns:{udp}?transport=udp"), "DTLS to TURN servers is not supported"),
    ] {
        let (lines, errors) = gathers(url.clone(), SOON).await;
        assert_eq!(candidates(&lines, "relay"), 0, "{url}: {lines:?}");
        let of_relay = errors.iter().find(|error| error.error_text.contains(what));
        let error = of_relay.unwrap_or_else(|| panic!("{url}: {errors:?}"));
        assert_eq!((error.url.as_str(), error.error_code), (url.as_str(), IceCandidateError::UNREACHABLE));
    }
}

#[tokio::test]
async fn a_relayed_address_that_is_ours_or_another_relays_is_not_believed() {
    let rig = Rig::new(|_| {}).await;
    // The address that asks is that of the endpoint's own socket.
    let ours: Lie = Arc::new(|from, b| relays(from, 600)(from, b));
    let (liar_at, ..) = liar(ours).await;
    let (lines, errors) = gathers(format!("turn:{liar_at}"), Duration::from_secs(20)).await;
    assert_eq!(candidates(&lines, "relay"), 0, "{lines:?}");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].error_text.contains("another one's"), "{errors:?}");

    let both = endpoint(vec![rig.ice_server(Over::Udp)], |_| {}).await;
    let first = both.peer_connection(PeerConfig::default()).unwrap();
    let (lines, _) = gather(&first).await;
    let line = lines.iter().find(|line| line.contains("typ relay")).unwrap();
    let port: u16 = line.split(' ').nth(5).unwrap().parse().unwrap();
    // Says what another server has said to the same endpoint.
    let (copier, ..) = liar(relays((LOCAL, port).into(), 600)).await;
    both.set_ice_servers(&[rig.ice_server(Over::Udp), ice_server(format!("turn:{copier}").parse().unwrap())])
        .unwrap();
    let second = both.peer_connection(PeerConfig::default()).unwrap();
    let (lines, errors) = gather(&second).await;
    assert_eq!(candidates(&lines, "relay"), 1, "{lines:?}");
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert!(error.error_text.contains("another one's"), "{error}");
}

#[tokio::test]
async fn an_allocation_that_is_of_no_use_is_given_back() {
    let server = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let url = format!("turn:{}", server.local_addr().unwrap());
    let given_back = Arc::new(AtomicUsize::new(0));
    let count = given_back.clone();
    tokio::spawn(async move {
        let lie = relays("224.0.0.1:50000".parse().unwrap(), 600);
        let mut request = [0; 4096];
        while let Ok((len, from)) = server.recv_from(&mut request).await {
            let method = Message::parse(&request[..len]).map(|message| message.method());
            count.fetch_add(usize::from(method == Ok(Method::REFRESH)), Ordering::Relaxed);
            if let Some(answer) = answer(&request[..len], from, &lie) {
                let _ = server.send_to(&answer, from).await;
            }
        }
    });
    let endpoint = endpoint(vec![ice_server(url.parse().unwrap())], |_| {}).await;
    let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (lines, errors) = gather(&connection).await;
    assert_eq!((candidates(&lines, "relay"), errors.len()), (0, 1), "{errors:?}");
    until("it is given back", || given_back.load(Ordering::Relaxed) > 0).await;
}

#[tokio::test]
async fn lies_about_lifetimes_cost_no_more_than_a_few_requests() {
    for lifetime in [0, 1, u32::MAX] {
        let (addr, asked, _) = liar(relays("203.0.113.9:50000".parse().unwrap(), lifetime)).await;
        let endpoint = endpoint(vec![ice_server(format!("turn:{addr}").parse().unwrap())], |_| {}).await;
        let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
        let (lines, _) = gather(&connection).await;
        assert_eq!(candidates(&lines, "relay"), 1, "{lines:?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        // Binding and Allocate twice, and what is sent again where the machine is slow.
        assert!(asked.load(Ordering::Relaxed) < 12, "{}", asked.load(Ordering::Relaxed));
        endpoint.close().await;
    }
}

#[tokio::test]
async fn servers_that_redirect_in_a_circle_or_into_silence_are_given_up() {
    let silent = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let target = silent.local_addr().unwrap();
    let redirect = |to: SocketAddr| -> Lie {
        Arc::new(move |_, b| {
            b.error_code(300).alternate_server(to);
            Class::ErrorResponse
        })
    };
    let (addr, asked, _) = liar(redirect(target)).await;
    let (lines, errors) = gathers(format!("turn:{addr}"), SOON).await;
    assert_eq!(candidates(&lines, "relay"), 0);
    assert!(errors[0].error_text.contains(&target.to_string()), "{errors:?}");
    assert!(asked.load(Ordering::Relaxed) < 20);

    let third = Arc::new(OnceLock::<SocketAddr>::new());
    let to_third = third.clone();
    let circle: Lie = Arc::new(move |_, b| {
        b.error_code(300).alternate_server(*to_third.get().unwrap());
        Class::ErrorResponse
    });
    let (first, ..) = liar(circle).await;
    let (second, ..) = liar(redirect(first)).await;
    let (begin, ..) = liar(redirect(second)).await;
    third.set(begin).unwrap();
    let (lines, errors) = gathers(format!("turn:{begin}"), Duration::from_secs(20)).await;
    assert_eq!(candidates(&lines, "relay"), 0);
    assert!(errors[0].error_text.contains("redirect in a circle"), "{errors:?}");
}

#[tokio::test]
async fn a_server_that_redirects_to_anothers_address_does_not_get_what_comes_from_there() {
    let rig = Rig::new(|_| {}).await;
    let honest = rig.server.udp_addrs()[0];
    let redirect: Lie = Arc::new(move |_, b| {
        b.error_code(300).alternate_server(honest);
        Class::ErrorResponse
    });
    let (addr, ..) = liar(redirect).await;
    // The liar's comes first, and so would what both are sent.
    let servers = vec![ice_server(format!("turn:{addr}").parse().unwrap()), rig.ice_server(Over::Udp)];
    let a = endpoint(servers, |_| {}).await;
    let b = endpoint(vec![], |_| {}).await;
    let connection = a.peer_connection(PeerConfig::default()).unwrap();
    let (lines, errors) = gather(&connection).await;
    assert_eq!(candidates(&lines, "relay"), 1, "{lines:?}");
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert!(error.error_text.contains("which is in use"), "{error}");
    let pair = Pair::of(a, b, IceTransportPolicy::Relay, IceTransportPolicy::All);
    pair.connect().await;
    pair.bulk(100_000).await;
    drop(connection);
    pair.close().await;
}

#[tokio::test]
async fn a_flood_from_a_server_and_data_without_permission_reach_nobody() {
    let (addr, _, server) = liar(relays("203.0.113.9:50000".parse().unwrap(), 600)).await;
    let a = endpoint(vec![ice_server(format!("turn:{addr}").parse().unwrap())], |_| {}).await;
    let b = endpoint(vec![], |_| {}).await;
    let victim = a.local_addrs()[0];
    let pair = Pair::of(a, b, IceTransportPolicy::All, IceTransportPolicy::All);
    pair.connect().await;
    let flood = tokio::spawn(async move {
        let mut indication = [0; 200];
        let id = TransactionId([7; 12]);
        let mut b = Builder::new(&mut indication, Class::Indication, Method::DATA, id);
        b.xor_address(AttributeType::XOR_PEER_ADDRESS, "203.0.113.7:9".parse().unwrap());
        b.attribute(AttributeType::DATA, &[0; 60]);
        let len = b.finish().unwrap();
        let kinds: [&[u8]; 5] = [
            &indication[..len],
            &[0x40, 0x00, 0, 4, 1, 2, 3, 4],
            &[0x40, 0x00, 0xFF, 0xFF, 1, 2, 3, 4],
            &[0xFF; 1200],
            &[0x16, 0xFE, 0xFD, 0, 0],
        ];
        loop {
            // Not so many that nothing else gets through the kernel's buffer.
            for kind in kinds.iter().cycle().take(20) {
                let _ = server.send_to(kind, victim).await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    pair.bulk(500_000).await;
    flood.abort();
    pair.close().await;
}

/// Takes connections, reads a little, says this and closes. Counts them.
async fn closer(says: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let (addr, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = taken.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 1000]).await;
            let _ = stream.write_all(says).await;
        }
    });
    (addr, taken)
}

#[tokio::test]
async fn connections_that_close_at_once_or_speak_another_protocol_are_made_ever_more_rarely() {
    let (closing, closed) = closer(b"").await;
    let (mail, visited) = closer(b"220 mail.example.org ESMTP\r\n").await;
    let urls = [
        (format!("turn:{closing}?transport=tcp"), "closed the connection"),
        (format!("turns:{closing}"), "closed the connection"),
        (format!("turn:{mail}?transport=tcp"), "neither STUN nor ChannelData"),
        (format!("turns:{mail}"), "corrupt"),
    ];
    let servers = urls.iter().map(|(url, _)| ice_server(url.parse().unwrap())).collect();
    let endpoint = endpoint(servers, |_| {}).await;
    let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (lines, errors) = gather(&connection).await;
    assert_eq!((candidates(&lines, "relay"), errors.len()), (0, 4), "{errors:?}");
    for (url, what) in &urls {
        let error = errors.iter().find(|error| error.url == *url).unwrap();
        assert!(error.error_text.contains(what), "{error}");
    }
    until("they are tried again", || closed.load(Ordering::Relaxed) >= 4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(closed.load(Ordering::Relaxed) + visited.load(Ordering::Relaxed) <= 16);
    endpoint.close().await;
}
