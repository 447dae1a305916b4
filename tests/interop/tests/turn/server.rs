//! Our server: with our client, with coturn's, and as the place to which coturn redirects.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use sinnet::turn::{ErrorCode, PeerPolicy, Reason, ServerConfig};
use sinnet::{TurnServer, TurnServerConfig};
use sinnet_interop::coturn::{Coturn, PASSWORD, REALM, SECRET, USER};

use crate::wire::{Over, PATIENCE, Wire, exercise};
use crate::{config, run, with};

/// A server on loopback, which relays there and to any of its ports.
fn on_loopback() -> TurnServerConfig {
    let mut core = ServerConfig::new(REALM);
    core.users.insert(USER.to_owned(), PASSWORD.to_owned());
    core.peers = PeerPolicy { loopback: true, own: true, ..PeerPolicy::default() };
    core.max_allocations_per_user = 200;
    TurnServerConfig::new(core, ([127, 0, 0, 1], 0).into(), [127, 0, 0, 1].into())
}

async fn serve(config: TurnServerConfig) -> (TurnServer, SocketAddr, SocketAddr) {
    let server = TurnServer::bind(config).await.expect("a server");
    let (udp, tcp) = (server.udp_addrs()[0], server.tcp_addrs()[0]);
    (server, udp, tcp)
}

/// Runs coturn's client and returns what it wrote.
async fn uclient(server: SocketAddr, options: &[&str]) -> String {
    let mut command = tokio::process::Command::new("turnutils_uclient");
    command.args(options).args(["-p", &server.port().to_string(), &server.ip().to_string()]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(2 * PATIENCE, output).await.expect("it ends in time").expect("coturn's client");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    text.into_owned()
}

#[test]
fn our_client_and_our_server_pass_data_over_udp_tcp_and_tls() {
    run(async {
        let (server, udp, tcp) = serve(on_loopback()).await;
        let server = Arc::new(server);
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let tls = tls_front(server.clone(), &made).await;
        for (over, addr) in [(Over::Udp, udp), (Over::Tcp, tcp), (Over::Tls, tls)] {
            let trusted = (over == Over::Tls).then(|| made.cert.der());
            let mut wire = Wire::new(config(), addr, over, trusted).await;
            exercise(&mut wire).await;
            assert_eq!(server.stats().allocations, 1);
            wire.close().await;
            assert_eq!(server.stats().allocations, 0, "{over:?}");
        }
        let mut wire = Wire::new(with(USER, "wrong"), udp, Over::Udp, None).await;
        assert_eq!(wire.failed().await.reason, Reason::Credentials);
    });
}

/// Takes TLS connections and hands what is inside to the server.
async fn tls_front(server: Arc<TurnServer>, made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> SocketAddr {
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate and its key");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (tcp, client) = listener.accept().await.expect("a connection");
        let stream = acceptor.accept(tcp).await.expect("a TLS connection");
        server.serve_stream(stream, client, addr).await;
    });
    addr
}

#[test]
fn a_connection_that_ends_or_speaks_something_else_leaves_nothing() {
    run(async {
        let (server, _, tcp) = serve(on_loopback()).await;
        let mut wire = Wire::new(config(), tcp, Over::Tcp, None).await;
        wire.allocated().await;
        assert_eq!(server.stats().allocations, 1);
        drop(wire);
        let gone = async {
            while server.stats().allocations > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the allocation ends with its connection");

        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(tcp).await.expect("a connection");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it is written");
        let mut answer = Vec::new();
        let read =
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
        assert!(read.is_err() || answer.is_empty());
    });
}

#[test]
fn a_connection_without_an_allocation_is_closed() {
    run(async {
        let idle = std::time::Duration::from_millis(300);
        let (_server, _, tcp) = serve(TurnServerConfig { idle, ..on_loopback() }).await;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let stream = tokio::net::TcpStream::connect(tcp).await.expect("a connection");
        let (mut reading, mut writing) = stream.into_split();
        // The beginning of a request, a byte at a time: it counts for nothing.
        let drip = async {
            for byte in [0, 3, 0xFF, 0xFC, 0x21, 0x12, 0xA4, 0x42].into_iter().chain(std::iter::repeat(0)) {
                if writing.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let mut answer = Vec::new();
        let end = async { reading.read_to_end(&mut answer).await };
        let closed = async {
            tokio::select! { () = drip => {}, _ = end => {} }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("it is closed");
    });
}

#[test]
fn coturns_client_loses_nothing_through_our_server() {
    run(async {
        let core = ServerConfig { secrets: vec![SECRET.as_bytes().to_vec()], ..on_loopback().core };
        let (server, udp, tcp) = serve(TurnServerConfig { core, ..on_loopback() }).await;
        let user: &[&str] = &["-u", USER, "-w", PASSWORD];
        let secret: &[&str] = &["-u", "bob", "-W", SECRET];
        // To itself by another allocation, as browsers that relay on both sides do.
        let common: &[&str] = &["-y", "-c", "-n", "20", "-m", "3", "-l", "170", "-z", "5"];
        for (what, addr, more) in [
            ("UDP, channels", udp, [user, &[]]),
            ("UDP, indications", udp, [user, &["-s"]]),
            ("UDP, padded channels", udp, [user, &["-D"]]),
            ("UDP, a shared secret", udp, [secret, &[]]),
            ("UDP, many more requests", udp, [user, &["-G"]]),
            ("TCP, channels", tcp, [user, &["-t"]]),
            ("TCP, indications", tcp, [user, &["-t", "-s"]]),
        ] {
            let text = uclient(addr, &[common, more[0], more[1]].concat()).await;
            assert!(text.contains("Total lost packets 0 (0.000000%)"), "{what}: {text}");
            assert!(!text.contains("tot_recv_msgs=0\n"), "{what}: {text}");
        }
        let stats = server.stats();
        assert!(stats.messages_to_peers >= 7 * 60, "{stats:?}");
        let text = uclient(udp, &[common, &["-u", USER, "-w", "wrong"]].concat()).await;
        assert!(!text.contains("Total lost packets 0 (0.000000%)"), "{text}");
        assert!(server.stats().wrong_credentials > 0);
    });
}

#[test]
fn coturn_redirects_to_our_server() {
    run(async {
        let (server, udp, _) = serve(on_loopback()).await;
        let coturn = Coturn::start(&["--alternate-server", &udp.to_string()]).await;
        let mut wire = Wire::new(config(), coturn.plain, Over::Udp, None).await;
        exercise(&mut wire).await;
        assert_eq!(wire.client.server(), udp);
        assert_eq!(server.stats().allocations, 1);
    });
}

#[test]
fn a_quota_of_our_server_holds_for_coturns_client_too() {
    run(async {
        let core = ServerConfig { max_allocations_per_user: 1, ..on_loopback().core };
        let (server, udp, _) = serve(TurnServerConfig { core, ..on_loopback() }).await;
        let mut first = Wire::new(config(), udp, Over::Udp, None).await;
        first.allocated().await;
        let mut second = Wire::new(config(), udp, Over::Udp, None).await;
        let reason = second.failed().await.reason;
        assert_eq!(reason, Reason::Refused(ErrorCode::ALLOCATION_QUOTA_REACHED));
        assert_eq!(server.stats().over_quota, 1);
    });
}
