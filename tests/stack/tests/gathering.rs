//! Server-reflexive candidates, from STUN servers on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sinnet::{
    DataChannelOptions, Endpoint, EndpointConfig, IceCandidateError, IceServer, IceTcp, PeerConfig,
    PeerConnection, PeerEvent,
};
use sinnet_stun::{Builder, Class, Message, Method};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A STUN server that sees everybody at 203.0.113.7, port unchanged. Counts what it is asked.
async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    server_that_sees(|_| 7).await
}

/// The same, at 203.0.113 and what is given for the number of the question.
async fn server_that_sees(last: fn(usize) -> u8) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut request = [0; 200];
        while let Ok((len, from)) = socket.recv_from(&mut request).await {
            let last = last(count.fetch_add(1, Ordering::Relaxed));
            let id = Message::parse(&request[..len]).unwrap().transaction_id();
            let mut answer = [0; 100];
            let mut builder = Builder::new(&mut answer, Class::SuccessResponse, Method::BINDING, id);
            builder.xor_mapped_address(SocketAddr::from(([203, 0, 113, last], from.port()))).fingerprint();
            let len = builder.finish().unwrap();
            socket.send_to(&answer[..len], from).await.unwrap();
        }
    });
    (addr, asked)
}

async fn endpoint(servers: &[String]) -> Endpoint {
    Endpoint::new(EndpointConfig {
        ice_servers: servers.iter().map(|uri| IceServer::stun(uri.parse().unwrap())).collect(),
        gather_timeout: Duration::from_millis(500),
        ice_tcp: IceTcp::Off,
        ..EndpointConfig::bind("127.0.0.1:0".parse().unwrap())
    })
    .await
    .unwrap()
}

/// All candidates and errors of a connection that begins to gather.
async fn gather(connection: &PeerConnection) -> (Vec<String>, Vec<IceCandidateError>) {
    connection.create_data_channel("any", DataChannelOptions::default()).unwrap();
    connection.set_local_description(connection.create_offer().unwrap()).unwrap();
    let (mut candidates, mut errors) = (Vec::new(), Vec::new());
    loop {
        match timeout(PATIENCE, connection.next_event()).await.expect("gathering ends").unwrap() {
            PeerEvent::IceCandidate(Some(candidate)) => candidates.push(candidate.candidate),
            PeerEvent::IceCandidate(None) => return (candidates, errors),
            PeerEvent::IceCandidateError(error) => errors.push(error),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_a_stun_server_sees_is_a_candidate_of_all_connections_of_the_endpoint() {
    let (addr, asked) = server().await;
    let endpoint = endpoint(&[format!("stun:{addr}")]).await;
    let base = endpoint.local_addrs()[0];
    for connection in 0..3 {
        let connection_of = endpoint.peer_connection(PeerConfig::default()).unwrap();
        let (candidates, errors) = gather(&connection_of).await;
        assert_eq!(errors, [], "connection {connection}");
        let [host, reflexive] = &candidates[..] else { panic!("{candidates:?}") };
        assert!(host.ends_with(&format!("127.0.0.1 {} typ host", base.port())), "{host}");
        let end = format!("203.0.113.7 {} typ srflx raddr 127.0.0.1 rport {}", base.port(), base.port());
        assert!(reflexive.ends_with(&end), "{reflexive}");
        let sdp = connection_of.local_description().unwrap().sdp;
        assert!(
            sdp.contains(&format!("a={reflexive}\r\n")) && sdp.contains("a=end-of-candidates\r\n"),
            "{sdp}"
        );
        assert_eq!(asked.load(Ordering::Relaxed), 1, "asked once for all");
        connection_of.close().await;
    }
}

#[tokio::test]
async fn who_signals_no_candidates_waits_for_all_of_them_and_a_connection_that_is_kept_is_a_pool() {
    let (addr, asked) = server().await;
    let endpoint = endpoint(&[format!("stun:{addr}")]).await;
    let pool = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let early = timeout(Duration::from_millis(50), pool.gathered()).await;
    assert!(early.is_err(), "nothing is gathered before there is a description");
    let mut kept = Vec::new();
    for connection in [pool, endpoint.peer_connection(PeerConfig::default()).unwrap()] {
        connection.create_data_channel("any", DataChannelOptions::default()).unwrap();
        connection.set_local_description(connection.create_offer().unwrap()).unwrap();
        let whole = timeout(PATIENCE, connection.gathered()).await.expect("gathering ends").unwrap().sdp;
        assert!(whole.contains(" typ host") && whole.contains(" typ srflx "), "{whole}");
        assert!(whole.contains("a=end-of-candidates\r\n"), "{whole}");
        kept.push(connection);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the second one knows at once");
    let waiting = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (ended, ()) = tokio::join!(timeout(PATIENCE, waiting.gathered()), waiting.abort("no more"));
    assert!(ended.expect("an end").is_err());
}

#[tokio::test]
async fn a_translator_that_has_another_address_is_a_new_candidate_of_connections_that_have_long_gathered() {
    let (server, _) = server_that_sees(|question| if question == 0 { 7 } else { 8 }).await;
    let endpoint = endpoint(&[format!("stun:{server}")]).await;
    let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
    let (candidates, _) = gather(&connection).await;
    assert!(candidates.iter().any(|line| line.contains(" 203.0.113.7 ")), "{candidates:?}");
    // Servers are asked again every 15 s.
    let told = async {
        loop {
            if let Some(PeerEvent::IceCandidate(Some(candidate))) = connection.next_event().await {
                return candidate.candidate;
            }
        }
    };
    let line = timeout(2 * PATIENCE, told).await.expect("it is asked again");
    assert!(line.contains(" 203.0.113.8 ") && line.contains(" typ srflx "), "{line}");
}

#[tokio::test]
async fn servers_that_are_of_no_use_are_named_and_gathering_ends() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("stun:{}", silent.local_addr().unwrap());
    let unknown = "stun:no-such-host.invalid".to_owned();
    let secure = "stuns:127.0.0.1:5349".to_owned();
    let endpoint = endpoint(&[silent.clone(), unknown.clone(), secure.clone()]).await;
    // The second one begins when all is known.
    for _ in 0..2 {
        let connection = endpoint.peer_connection(PeerConfig::default()).unwrap();
        let (candidates, errors) = gather(&connection).await;
        assert_eq!(candidates.len(), 1, "{candidates:?}");
        let error = |server: &str| {
            let of = errors.iter().filter(|error| error.url == server).collect::<Vec<_>>();
            assert_eq!(of.len(), 1, "{server}: {errors:?}");
            assert_eq!(of[0].error_code, IceCandidateError::UNREACHABLE);
            of[0].error_text.clone()
        };
        assert!(error(&silent).ends_with("the STUN server did not answer"), "{errors:?}");
        assert!(error(&unknown).starts_with("its name was not resolved"), "{errors:?}");
        assert_eq!(error(&secure), "STUN servers are asked over UDP only");
    }
}

#[tokio::test]
async fn an_endpoint_with_a_turn_server_and_no_credentials_is_not_made() {
    let config = EndpointConfig {
        ice_servers: vec![IceServer::stun("turn:192.0.2.1".parse().unwrap())],
        ..EndpointConfig::bind("127.0.0.1:0".parse().unwrap())
    };
    let error = Endpoint::new(config).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ICE server turn:192.0.2.1: a TURN server needs a user name and a credential"
    );
}

#[tokio::test]
async fn nobody_waits_for_servers_to_connect() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = [format!("stun:{}", silent.local_addr().unwrap())];
    let ends = [endpoint(&servers).await, endpoint(&servers).await];
    let [a, b] = ends.each_ref().map(|end| end.peer_connection(PeerConfig::default()).unwrap());
    let channel = a.create_data_channel("any", DataChannelOptions::default()).unwrap();
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(a.local_description().unwrap()).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    let sdp = a.local_description().unwrap().sdp;
    assert!(!sdp.contains("end-of-candidates"), "more may come: {sdp}");
    a.set_remote_description(b.local_description().unwrap()).unwrap();
    timeout(PATIENCE, channel.opened()).await.expect("it connects").unwrap();
}
