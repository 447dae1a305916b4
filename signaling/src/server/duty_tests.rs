//! What keeps the server up: limits for each address, tokens, metrics, and going down in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};

use super::hub_tests::{ask, say};
use super::tests::{SOON, close_code, config, get, open, server};
use super::tokens::{Required, Right, TokenKey, Tokens};
use super::{Backend, Backends, Metrics, PerAddress, Server, ServerConfig};
use crate::client::Client;
use crate::hub::{Access, Address, Figure, ListedGroup, SocketId};
use crate::session::{CloseCode, Ended, Outgoing};

const KEY: &str = "00112233445566778899aabbccddeeff";

/// Between one look and the next, so that looking is not too much itself.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn metric(host: &str, name: &str) -> u64 {
    let metrics = get(host, "/metrics", host).await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let per_address = PerAddress { connections: 3, ..PerAddress::default() };
    let (_server, host) = server(ServerConfig { per_address, ..config() }).await;
    let first = open(&host, "/alm", None).await.unwrap();
    let _second = open(&host, "/p2p", None).await.unwrap();
    let third = open(&host, "/alm", None).await.unwrap();
    assert!(open(&host, "/alm", None).await.is_err());
    drop(third);
    let counted = async {
        while open(&host, "/alm", None).await.is_err() {
            sleep(PAUSE).await;
        }
    };
    timeout(SOON, counted).await.expect("a place comes back");
    drop(first);
}

#[tokio::test]
async fn who_says_too_much_is_closed_and_requests_are_answered_429() {
    let per_address = PerAddress { per_second: 1, burst: 20, ..PerAddress::default() };
    let (_server, host) = server(ServerConfig { per_address, ..config() }).await;
    let mut quiet = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut quiet, json!({"m": "create", "g": "room"})).await["r"], "ok");
    let mut loud = open(&host, "/alm", None).await.unwrap();
    for i in 0..30 {
        // It may be closed meanwhile.
        let _ = futures_util::SinkExt::send(&mut loud, Message::text(format!("{i}"))).await;
    }
    assert_eq!(close_code(&mut loud).await, 1008);
    assert!(get(&host, "/api/groups", &host).await.starts_with("HTTP/1.1 429"));
    let silent = timeout(Duration::from_millis(300), quiet.next()).await;
    assert!(silent.is_err(), "who said nothing stays: {silent:?}");
}

#[tokio::test]
async fn health_and_metrics_are_told_and_metrics_can_be_kept() {
    let (_server, host) = server(config()).await;
    assert!(get(&host, "/health", &host).await.ends_with("\r\n\r\nok\n"));
    let mut owner = open(&host, "/alm", None).await.unwrap();
    ask(&mut owner, json!({"m": "create", "g": "<\"room\">"})).await;
    ask(&mut owner, json!({"m": "dance"})).await;
    let metrics = get(&host, "/metrics", &host).await;
    assert!(metrics.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(!metrics.contains("room"), "nothing of what users say is in it");
    for (name, value) in [
        ("sinnet_alm_groups", 1),
        ("sinnet_alm_sockets", 1),
        ("sinnet_alm_mistakes_total", 1),
        ("sinnet_websockets", 1),
        ("sinnet_messages_received_total", 2),
        ("sinnet_messages_sent_total", 2),
    ] {
        assert_eq!(metric(&host, name).await, value, "{name}");
    }
    let _ = open(&host, "/alm", Some("http://evil.example")).await;
    get(&host, "/", "evil.example").await;
    assert_eq!(metric(&host, "sinnet_refused_total{reason=\"origin\"}").await, 1);
    assert_eq!(metric(&host, "sinnet_refused_total{reason=\"host\"}").await, 1);
    drop(owner);
    let gone = async {
        while metric(&host, "sinnet_websockets").await > 0 {
            sleep(PAUSE).await;
        }
    };
    timeout(SOON, gone).await.expect("the socket's end is counted");

    let (_server, host) = server(ServerConfig { metrics: Metrics::Off, ..config() }).await;
    assert!(get(&host, "/metrics", &host).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn tokens_come_by_the_address_or_as_a_subprotocol() {
    let key = TokenKey::from_hex(KEY).unwrap();
    let tokens = Tokens::new(Required::All, Vec::new(), Some(key.clone())).unwrap();
    let (_server, host) = server(ServerConfig { tokens, ..config() }).await;
    #[expect(clippy::disallowed_methods, reason = "tokens expire by the calendar")]
    let now = SystemTime::now();
    let soon = now + Duration::from_secs(60);
    let create = json!({"m": "create", "g": "room"});

    let mut without = open(&host, "/alm", None).await.unwrap();
    let refused = ask(&mut without, create.clone()).await;
    assert_eq!(refused, json!({"m": "create", "r": "this server wants a token for that"}));
    let late = key.sign(Right::All, now - Duration::from_secs(1));
    let mut late = open(&host, &format!("/alm?token={late}"), None).await.unwrap();
    assert_eq!(ask(&mut late, create.clone()).await["r"], "this token has expired");

    let path = format!("/alm?x=1&token={}", key.sign(Right::Create, soon));
    let mut owner = open(&host, &path, None).await.unwrap();
    assert_eq!(ask(&mut owner, create.clone()).await["r"], "ok");

    let mut request = format!("ws://{host}/alm").into_client_request().unwrap();
    let offered = format!("sinnet, sinnet.token.{}", key.sign(Right::Join, soon));
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(&offered).unwrap());
    let (mut joiner, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "sinnet", "the token is not said again");
    assert_eq!(ask(&mut joiner, json!({"m": "join", "g": "room"})).await["r"], "ok");
    let mut other = open(&host, &path.replace("/alm", "/p2p"), None).await.unwrap();
    let call = |method: &str, params: Value| json!({"id": "0", "method": method, "params": params});
    ask(&mut other, call("init", json!([]))).await;
    let refused = ask(&mut other, call("join", json!(["0"]))).await;
    assert_eq!(refused["error"]["message"], "this token is not good for that");
}

#[tokio::test]
async fn the_servers_own_peer_wants_a_token_where_joining_does() {
    let key = TokenKey::from_hex(KEY).unwrap();
    #[expect(clippy::disallowed_methods, reason = "tokens expire by the calendar")]
    let soon = SystemTime::now() + Duration::from_secs(60);
    for (required, free) in [(Required::All, false), (Required::Create, true)] {
        let tokens = Tokens::new(required, Vec::new(), Some(key.clone())).unwrap();
        let (mut server, host) = server(ServerConfig { tokens, ..config() }).await;
        for (right, good) in [(None, free), (Some(Right::Create), free), (Some(Right::Join), true)] {
            let token = right.map_or_else(String::new, |right| format!("?token={}", key.sign(right, soon)));
            let mut client = Client::default().connect(&format!("ws://{host}/peer{token}")).await.unwrap();
            if good {
                timeout(SOON, server.accept()).await.expect("it comes in").unwrap();
                continue;
            }
            assert_eq!(timeout(SOON, client.recv()).await.unwrap(), None);
            let told = client.ended().unwrap().to_string();
            assert!(told.contains("token"), "{told}");
            assert!(timeout(Duration::ZERO, server.accept()).await.is_err());
        }
    }
}

/// Counts how often it is asked for its groups.
#[derive(Default, Debug)]
struct Counting(AtomicU32);

impl Backend for Counting {
    fn open(&self, _: Outgoing, _: Access, _: Option<Address>) -> SocketId {
        SocketId(0)
    }

    fn text(&self, _: SocketId, _: &str) {}

    fn close(&self, _: SocketId) {}

    fn tick(&self) {}

    fn groups(&self) -> Vec<ListedGroup> {
        let id = u64::from(self.0.fetch_add(1, Ordering::Relaxed));
        vec![ListedGroup { id, name: "room".to_owned(), description: String::new() }]
    }

    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

#[tokio::test]
async fn however_often_the_groups_are_asked_for_their_list_is_written_twice_a_second() {
    let alm = Arc::new(Counting::default());
    let backends = Backends { alm: alm.clone(), p2p: alm.clone() };
    let server = Server::bind_with(config(), backends).await.unwrap();
    let host = server.local_addr().to_string();
    #[expect(clippy::disallowed_methods, reason = "how long this machine took")]
    let started = tokio::time::Instant::now();
    for i in 0..200 {
        let path = ["/api/groups", "/api/list"][i % 2];
        assert!(get(&host, path, &host).await.contains("room"));
    }
    let most = 16 + 2 * (started.elapsed().as_secs() + 1);
    assert!(u64::from(alm.0.load(Ordering::Relaxed)) <= most, "{alm:?} of {most}");
    let before = alm.0.load(Ordering::Relaxed);
    let newer = async {
        while alm.0.load(Ordering::Relaxed) == before {
            sleep(PAUSE).await;
            get(&host, "/api/groups", &host).await;
        }
    };
    timeout(SOON, newer).await.expect("and it goes on being written");
}

#[tokio::test]
async fn a_server_that_goes_down_answers_what_was_asked_and_says_so() {
    let (mut server, host) = server(config()).await;
    let mut client = Client::default().connect(&format!("ws://{host}/peer")).await.unwrap();
    let mut owner = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut owner, json!({"m": "create", "g": "room"})).await["r"], "ok");
    let mut joiners = Vec::new();
    for _ in 0..20 {
        joiners.push(open(&host, "/alm", None).await.unwrap());
    }
    let visitor = timeout(SOON, server.accept()).await.unwrap().unwrap();
    for joiner in &mut joiners {
        say(joiner, json!({"m": "join", "g": "room"})).await;
    }
    // All that was asked has come in; nothing of the answers has been read.
    while metric(&host, "sinnet_messages_received_total").await < 21 {
        sleep(PAUSE).await;
    }
    let down = tokio::spawn(server.shutdown(Duration::from_secs(30)));
    for joiner in &mut joiners {
        let answer = timeout(SOON, joiner.next()).await.unwrap();
        assert!(matches!(answer, Some(Ok(Message::Text(text))) if text.contains("\"ok\"")));
        assert_eq!(close_code(joiner).await, 1001);
    }
    assert_eq!(close_code(&mut owner).await, 1001);
    assert_eq!(client.recv().await, None);
    let told = Ended::Peer(Some(CloseCode::GOING_AWAY), "the server goes down".to_owned());
    assert_eq!(client.ended(), Some(&told));
    drop((owner, joiners, visitor));
    timeout(SOON, down).await.expect("all have ended").unwrap();
    let refused = open(&host, "/alm", None).await;
    assert!(matches!(refused, Err(tungstenite::Error::Io(_))), "nobody listens any more");
}

#[tokio::test]
async fn who_does_not_go_is_not_waited_for() {
    let (server, host) = server(config()).await;
    // A request that is never finished, and a WebSocket whose client never reads.
    let mut half = tokio::net::TcpStream::connect(&host).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"GET / HT").await.unwrap();
    let _deaf = open(&host, "/alm", None).await.unwrap();
    timeout(SOON, server.shutdown(Duration::from_millis(200))).await.expect("it is over in time");
}
