//! The server on 127.0.0.1, with well-behaved and other clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Server, ServerConfig, Visitor, tls};
use crate::client::{Client, ConnectError};
use crate::message::{MAX_FRAME, MAX_MESSAGE, Signal};
use crate::session::{CloseCode, Ended};

pub(super) const SOON: Duration = Duration::from_secs(30);

pub(super) fn config() -> ServerConfig {
    ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

pub(super) async fn server(config: ServerConfig) -> (Server, String) {
    let server = Server::bind(config).await.unwrap();
    let host = server.local_addr().to_string();
    (server, host)
}

async fn visitor(server: &mut Server) -> Visitor {
    timeout(SOON, server.accept()).await.expect("a visitor comes soon").expect("the server runs")
}

/// Sends this and reads to the end.
async fn raw(host: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server closes soon");
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) async fn get(host: &str, path: &str, host_header: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host_header}\r\nConnection: close\r\n\r\n");
    raw(host, request.as_bytes()).await
}

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn with_origin(host: &str, origin: Option<&str>) -> Result<Socket, tungstenite::Error> {
    open(host, "/peer", origin).await
}

pub(super) async fn open(host: &str, path: &str, origin: Option<&str>) -> Result<Socket, tungstenite::Error> {
    let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

/// The code of the close frame that comes, whatever comes before.
pub(super) async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match timeout(SOON, socket.next()).await.expect("a close frame comes soon") {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("no close frame but {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_pages_and_all_that_they_name_are_served_under_a_strict_policy() {
    let (_server, host) = server(config()).await;
    let mut known = vec!["/".to_owned(), "/peer.html".to_owned()];
    let mut next = 0;
    while let Some(path) = known.get(next).cloned() {
        next += 1;
        let answer = get(&host, &path, &host).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.to_lowercase().contains("content-security-policy: default-src 'none'"), "{path}");
        let media_type = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript",
            Some((_, "css")) => "text/css",
            _ => "text/html",
        };
        assert!(answer.contains(&format!("content-type: {media_type};")), "{path}: {answer}");
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for named in answer.split(['"', '\'']).filter(|word| word.contains('.') && !word.contains(' ')) {
            let named = match (named.strip_prefix("../"), named.strip_prefix("./")) {
                (Some(above), _) => format!("/{above}"),
                (None, Some(beside)) => format!("{folder}/{beside}"),
                (None, None) if named.starts_with('/') => named.to_owned(),
                _ => continue,
            };
            if !known.contains(&named) {
                known.push(named);
            }
        }
    }
    for path in [
        "/page/main.js",
        "/page/mesh-room.js",
        "/p2p/link.js",
        "/sinnet-alm.js",
        "/peer/app.js",
        "/sha256.js",
    ] {
        assert!(known.iter().any(|known| known == path), "{path} in {known:?}");
    }
    for path in ["/../Cargo.toml", "/page/", "/index.htm"] {
        assert!(get(&host, path, &host).await.starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[tokio::test]
async fn messages_pass_between_client_and_server_and_a_close_carries_its_reason() {
    let (mut server, host) = server(config()).await;
    let mut client = Client::default().connect(&format!("ws://{host}/peer")).await.unwrap();
    let mut visitor = visitor(&mut server).await;
    let offer = Signal::Offer { sdp: "v=0\r\n".repeat(2000) };
    client.send(&offer).unwrap();
    assert_eq!(visitor.session.recv().await, Some(offer));
    visitor.session.send(&Signal::EndOfCandidates).unwrap();
    assert_eq!(client.recv().await, Some(Signal::EndOfCandidates));
    visitor.session.close(CloseCode::POLICY, "that was enough");
    assert_eq!(client.recv().await, None);
    assert_eq!(client.ended(), Some(&Ended::Peer(Some(CloseCode::POLICY), "that was enough".into())));
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let (mut server, host) = server(config()).await;
    let own = format!("http://{host}");
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        match with_origin(&host, Some(origin)).await {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 403),
            other => panic!("{origin}: {other:?}"),
        }
    }
    with_origin(&host, Some(&own)).await.unwrap();
    visitor(&mut server).await;
    with_origin(&host, None).await.unwrap();
    visitor(&mut server).await;
}

#[tokio::test]
async fn two_origins_or_two_hosts_are_none() {
    let (_server, host) = server(config()).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let origins = format!("Origin: http://{host}\r\nOrigin: https://evil.example\r\n");
    let request =
        format!("GET /peer HTTP/1.1\r\nHost: {host}\r\n{upgrade}{origins}Connection: close\r\n\r\n");
    assert!(raw(&host, request.as_bytes()).await.starts_with("HTTP/1.1 403"));
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: a.localhost\r\nConnection: close\r\n\r\n");
    assert!(raw(&host, request.as_bytes()).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_rebound_name_is_not_answered() {
    let (_server, host) = server(config()).await;
    for path in ["/", "/peer"] {
        assert!(get(&host, path, "evil.example").await.starts_with("HTTP/1.1 421"), "{path}");
    }
    let (_server, host) =
        self::server(ServerConfig { allowed_hosts: vec!["peer.lan".into()], ..config() }).await;
    assert!(get(&host, "/", "peer.lan:8080").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_oversized_frame_or_message_is_refused_by_its_length_alone() {
    let (mut server, host) = server(config()).await;
    let mut socket = with_origin(&host, None).await.unwrap();
    socket.send(Message::text("x".repeat(MAX_FRAME + 1))).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1009);
    let mut visitor = visitor(&mut server).await;
    assert_eq!(visitor.session.recv().await, None);
    assert!(matches!(visitor.session.ended(), Some(Ended::Refused(CloseCode::TOO_BIG, _))));

    // A frame header that claims 2^62 bytes, and nothing behind it.
    let mut socket = with_origin(&host, None).await.unwrap();
    let MaybeTlsStream::Plain(stream) = socket.get_mut() else { panic!("no TLS here") };
    let mut header = vec![0x81, 0xff];
    header.extend((1u64 << 62).to_be_bytes());
    header.extend([1, 2, 3, 4]);
    stream.write_all(&header).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1009);

    // Small frames of one message that never ends.
    let mut socket = with_origin(&host, None).await.unwrap();
    let MaybeTlsStream::Plain(stream) = socket.get_mut() else { panic!("no TLS here") };
    let mut first = 0x01;
    for _ in 0..MAX_MESSAGE / 60_000 + 1 {
        let mut frame = vec![first, 0xfe];
        frame.extend(60_000u16.to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(frame.len() + 60_000, b'x');
        stream.write_all(&frame).await.unwrap();
        first = 0x00;
    }
    assert_eq!(close_code(&mut socket).await, 1009);
}

#[tokio::test]
async fn broken_framing_is_a_protocol_error() {
    let (_server, host) = server(config()).await;
    let unmasked = [0x81, 0x02, b'h', b'i'].to_vec();
    let reserved_bit = [0xc1, 0x80, 0, 0, 0, 0].to_vec();
    let fragmented_ping = [0x09, 0x80, 0, 0, 0, 0].to_vec();
    let unknown_opcode = [0x83, 0x80, 0, 0, 0, 0].to_vec();
    let not_utf8 = [0x81, 0x81, 0, 0, 0, 0, 0xff].to_vec();
    let broken = [unmasked, reserved_bit, fragmented_ping, unknown_opcode].map(|bytes| (bytes, 1002));
    for (bytes, code) in broken.into_iter().chain([(not_utf8, 1007)]) {
        let mut socket = with_origin(&host, None).await.unwrap();
        let MaybeTlsStream::Plain(stream) = socket.get_mut() else { panic!("no TLS here") };
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut socket).await, code, "{bytes:02x?}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (_server, host) = server(config()).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "x".repeat(9 * 1024));
    assert!(raw(&host, request.as_bytes()).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn clients_that_dawdle_over_the_head_are_closed() {
    let (_server, host) = server(ServerConfig { head_timeout: Duration::from_millis(100), ..config() }).await;
    for beginning in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"] {
        let answer = raw(&host, beginning).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_places_come_back() {
    let (mut server, host) = server(ServerConfig { max_connections: 2, ..config() }).await;
    let url = format!("ws://{host}/peer");
    let first = Client::default().connect(&url).await.unwrap();
    let _second = Client::default().connect(&url).await.unwrap();
    assert!(matches!(Client::default().connect(&url).await, Err(ConnectError::Refused { .. })));
    let _one = visitor(&mut server).await;
    let _two = visitor(&mut server).await;
    drop(first);
    let freed = async {
        while Client::default().connect(&url).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, freed).await.expect("a place is free when a session has ended");
}

#[tokio::test]
async fn the_client_says_why_it_could_not_connect() {
    let (_server, host) = server(config()).await;
    let error = Client::default().connect(&format!("ws://{host}/nowhere")).await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    let error = Client::default().connect("http://127.0.0.1/").await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    // Somebody who accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client { connect_timeout: Duration::from_millis(50), ..Client::default() };
    let error = client.connect(&format!("ws://{}/peer", silent.local_addr().unwrap())).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(_)), "{error}");
}

/// A client that trusts this certificate and no other.
fn trusting(certificate: CertificateDer<'static>) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client { tls: Some(Arc::new(tls)), ..Client::default() }
}

#[tokio::test]
async fn wss_works_and_a_certificate_that_nobody_vouches_for_does_not() {
    let made = tls::self_signed(vec!["localhost".to_owned()]).unwrap();
    assert_eq!(made.fingerprint.split(':').filter(|byte| byte.len() == 2).count(), 32);
    let (mut server, host) = server(ServerConfig { tls: Some(made.config), ..config() }).await;
    let url = format!("wss://localhost:{}/peer", server.local_addr().port());
    let error = Client::default().connect(&url).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. } | ConnectError::Tls(_)), "{error}");
    let mut session = trusting(made.certificate).connect(&url).await.unwrap();
    let visitor = visitor(&mut server).await;
    visitor.session.send(&Signal::EndOfCandidates).unwrap();
    assert_eq!(session.recv().await, Some(Signal::EndOfCandidates));
    // Plain HTTP gets nothing but the end, at once.
    assert!(!get(&host, "/", &host).await.starts_with("HTTP"));
}

#[tokio::test]
async fn certificates_come_from_files_and_a_wrong_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert"), made.cert.pem()).unwrap();
    std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path("other"), other.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("nothing"), "nothing").unwrap();

    let tls = tls::from_files(&path("cert"), &path("key")).unwrap();
    let (server, _) = server(ServerConfig { tls: Some(tls), ..config() }).await;
    let url = format!("wss://localhost:{}/peer", server.local_addr().port());
    trusting(made.cert.der().clone()).connect(&url).await.unwrap();

    for (cert, key, wrong) in [
        ("absent", "key", "absent"),
        ("cert", "absent", "absent"),
        ("nothing", "key", "nothing"),
        ("key", "key", "a certificate"),
        ("cert", "nothing", "a private key"),
        ("cert", "other", "can't be used"),
    ] {
        let error = tls::from_files(&path(cert), &path(key)).unwrap_err().to_string();
        assert!(error.contains(wrong), "{cert}, {key}: {error}");
    }
}

#[tokio::test]
async fn who_dawdles_over_tls_is_closed() {
    let made = tls::self_signed(vec!["localhost".to_owned()]).unwrap();
    let head_timeout = Duration::from_millis(100);
    let (_server, host) = server(ServerConfig { tls: Some(made.config), head_timeout, ..config() }).await;
    for beginning in [&b""[..], b"\x16\x03\x01"] {
        assert_eq!(raw(&host, beginning).await, "");
    }
}
