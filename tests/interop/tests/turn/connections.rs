//! Connections that may only be relayed, through coturn.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use sinnet::turn::ephemeral_credentials;
use sinnet::{
    DataChannelOptions, Endpoint, EndpointConfig, IceCandidateError, IceServer, IceTransportPolicy,
    PeerConfig, PeerConnection, PeerEvent,
};
use sinnet_interop::coturn::{Coturn, PASSWORD, SECRET, USER};
use tokio::time::{sleep, timeout};

use super::run;
use super::wire::{Over, PATIENCE};

fn server(coturn: &Coturn, over: Over, credentials: &(String, String)) -> IceServer {
    let url = match over {
        Over::Udp => format!("turn:{}", coturn.plain),
        Over::Tcp => format!("turn:{}?transport=tcp", coturn.plain),
        Over::Tls => format!("turns:{}", coturn.tls),
    };
    let (username, credential) = credentials.clone();
    IceServer { urls: vec![url.parse().expect("a URL")], username, credential }
}

fn long_term() -> (String, String) {
    (USER.to_owned(), PASSWORD.to_owned())
}

async fn endpoint(coturn: &Coturn, over: Over, credentials: &(String, String)) -> Endpoint {
    let mut roots = RootCertStore::empty();
    roots.add(coturn.certificate.clone()).expect("a certificate");
    let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = EndpointConfig {
        ice_servers: vec![server(coturn, over, credentials)],
        tls: Some(Arc::new(tls)),
        gather_timeout: PATIENCE,
        ..EndpointConfig::bind(([127, 0, 0, 1], 0).into())
    };
    Endpoint::new(config).await.expect("an endpoint")
}

fn connection(endpoint: &Endpoint) -> PeerConnection {
    let config = PeerConfig { ice_transport_policy: IceTransportPolicy::Relay, ..PeerConfig::default() };
    endpoint.peer_connection(config).expect("a connection")
}

/// Waits for the end of gathering: how many candidates there are, and the errors.
async fn gathered(connection: &PeerConnection) -> (usize, Vec<IceCandidateError>) {
    let (mut candidates, mut errors) = (0, Vec::new());
    loop {
        match timeout(PATIENCE, connection.next_event()).await.expect("gathering ends").expect("an event") {
            PeerEvent::IceCandidate(Some(candidate)) => {
                assert!(candidate.candidate.contains(" typ relay "), "{candidate:?}");
                candidates += 1;
            }
            PeerEvent::IceCandidate(None) => return (candidates, errors),
            PeerEvent::IceCandidateError(error) => errors.push(error),
            _ => {}
        }
    }
}

/// Connects and sends a megabyte, which arrives whole.
async fn exercise(a: &PeerConnection, b: &PeerConnection) {
    let channel = a.create_data_channel("bulk", DataChannelOptions::default()).expect("a channel");
    a.set_local_description(a.create_offer().expect("an offer")).expect("it is taken");
    assert!(gathered(a).await.0 > 0);
    b.set_remote_description(a.local_description().expect("an offer")).expect("it is taken");
    b.set_local_description(b.create_answer().expect("an answer")).expect("it is taken");
    assert!(gathered(b).await.0 > 0);
    a.set_remote_description(b.local_description().expect("an answer")).expect("it is taken");
    let send = async {
        for i in 0..64u8 {
            channel.send(vec![i; 16_384]).await.expect("it is sent");
        }
    };
    let take = async {
        let theirs = loop {
            if let PeerEvent::DataChannel(channel) = b.next_event().await.expect("an event") {
                break channel;
            }
        };
        for i in 0..64u8 {
            assert_eq!(theirs.recv().await.expect("a message").as_bytes(), vec![i; 16_384]);
        }
    };
    timeout(PATIENCE, async { tokio::join!(send, take) }).await.expect("all of it arrives");
}

#[test]
fn connections_go_through_coturn_over_udp_tcp_and_tls() {
    run(async {
        let coturn = Coturn::start(&[]).await;
        for (here, there) in
            [(Over::Udp, Over::Udp), (Over::Tcp, Over::Tcp), (Over::Tls, Over::Tls), (Over::Udp, Over::Tls)]
        {
            let ends =
                (endpoint(&coturn, here, &long_term()).await, endpoint(&coturn, there, &long_term()).await);
            let (a, b) = (connection(&ends.0), connection(&ends.1));
            exercise(&a, &b).await;
            a.close().await;
            b.close().await;
            ends.0.close().await;
            ends.1.close().await;
        }
    });
}

#[test]
fn connections_use_ephemeral_credentials_with_coturn() {
    run(async {
        let coturn = Coturn::start(&["--use-auth-secret", "--static-auth-secret", SECRET]).await;
        #[expect(clippy::disallowed_methods, reason = "ephemeral credentials end at a time of day")]
        let unix =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let good = ephemeral_credentials(SECRET.as_bytes(), unix + 3600, USER);
        let ends = (endpoint(&coturn, Over::Udp, &good).await, endpoint(&coturn, Over::Tcp, &good).await);
        exercise(&connection(&ends.0), &connection(&ends.1)).await;
        let over = ephemeral_credentials(SECRET.as_bytes(), unix - 3600, USER);
        let late = endpoint(&coturn, Over::Udp, &over).await;
        let refused = connection(&late);
        refused.create_data_channel("any", DataChannelOptions::default()).expect("a channel");
        refused.set_local_description(refused.create_offer().expect("an offer")).expect("it is taken");
        let (candidates, errors) = gathered(&refused).await;
        assert_eq!((candidates, errors.iter().map(|e| e.error_code).collect::<Vec<_>>()), (0, vec![401]));
    });
}

#[test]
fn connections_go_on_when_coturn_takes_nonces_for_stale() {
    run(async {
        let coturn = Coturn::start(&["--stale-nonce=1"]).await;
        let ends = (
            endpoint(&coturn, Over::Udp, &long_term()).await,
            endpoint(&coturn, Over::Tcp, &long_term()).await,
        );
        let first = (connection(&ends.0), connection(&ends.1));
        exercise(&first.0, &first.1).await;
        // The next permissions and channels are asked for with nonces that are too old.
        sleep(Duration::from_secs(3)).await;
        let third = endpoint(&coturn, Over::Udp, &long_term()).await;
        exercise(&connection(&ends.0), &connection(&third)).await;
    });
}

#[test]
fn a_quota_of_coturn_is_an_error_and_what_is_closed_is_given_back() {
    run(async {
        let coturn = Coturn::start(&["--user-quota", "1"]).await;
        let gather = async |endpoint: &Endpoint| {
            let connection = connection(endpoint);
            connection.create_data_channel("any", DataChannelOptions::default()).expect("a channel");
            connection
                .set_local_description(connection.create_offer().expect("an offer"))
                .expect("it is taken");
            let found = gathered(&connection).await;
            (connection, found)
        };
        let first = endpoint(&coturn, Over::Udp, &long_term()).await;
        let (_held, (candidates, _)) = gather(&first).await;
        assert_eq!(candidates, 1);
        let second = endpoint(&coturn, Over::Udp, &long_term()).await;
        let (_, (candidates, errors)) = gather(&second).await;
        assert_eq!((candidates, errors.iter().map(|e| e.error_code).collect::<Vec<_>>()), (0, vec![486]));
        first.close().await;
        // coturn forgets a closed allocation a moment after it has said so.
        let again = async {
            loop {
                let third = endpoint(&coturn, Over::Udp, &long_term()).await;
                if gather(&third).await.1.0 == 1 {
                    break;
                }
                sleep(Duration::from_millis(300)).await;
            }
        };
        timeout(PATIENCE, again).await.expect("it is given back");
    });
}
