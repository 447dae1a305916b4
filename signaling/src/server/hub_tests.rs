//! `/alm` and `/p2p` over sockets on 127.0.0.1.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message};

use super::duty_tests::metric;
use super::tests::{SOON, Socket, close_code, config, get, open, server};
use super::{PerAddress, ServerConfig};
use crate::session::Limits;

pub(super) async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

async fn hear(socket: &mut Socket) -> Value {
    loop {
        match timeout(SOON, socket.next()).await.expect("a message comes soon") {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("no message but {other:?}"),
        }
    }
}

pub(super) async fn ask(socket: &mut Socket, message: Value) -> Value {
    say(socket, message).await;
    hear(socket).await
}

fn listed(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_tree_is_joined_over_alm_and_its_group_is_listed() {
    let (_server, host) = server(config()).await;
    let mut owner = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut owner, json!({"m": "create", "g": "room", "d": "<b>"})).await["r"], "ok");
    let groups = get(&host, "/api/groups", &host).await;
    assert!(groups.to_lowercase().contains("content-type: application/json"), "{groups}");
    assert_eq!(listed(&groups), json!([{"id": 0, "name": "room", "description": "<b>"}]));
    let list = get(&host, "/api/list", &host).await;
    assert_eq!(listed(&list), json!([{"g": 0, "n": "room", "d": "<b>"}]));

    let mut joiner = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut joiner, json!({"m": "join", "g": "room", "n": 1})).await["r"], "ok");
    let request = hear(&mut owner).await;
    let mut acceptor = open(&host, "/alm", None).await.unwrap();
    say(&mut acceptor, json!({"m": "join_res", "i": 0, "e": request["e"]})).await;
    assert_eq!(hear(&mut joiner).await, json!({"m": "join_res", "i": 0, "k": 0}));
    say(&mut joiner, json!({"m": "offer", "i": 1, "k": 0, "s": "v=0"})).await;
    assert_eq!(hear(&mut acceptor).await, json!({"m": "offer", "i": 1, "s": "v=0"}));
    say(&mut acceptor, json!({"m": "answer", "i": 0, "s": "v=0"})).await;
    assert_eq!(hear(&mut joiner).await, json!({"m": "answer", "i": 0, "k": 0, "s": "v=0"}));
    joiner.close(None).await.unwrap();
    assert_eq!(close_code(&mut acceptor).await, 1008);

    owner.close(None).await.unwrap();
    while let Some(Ok(_)) = owner.next().await {}
    let gone = async {
        while listed(&get(&host, "/api/groups", &host).await) != json!([]) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone).await.expect("the group goes with its owner");
}

#[tokio::test]
async fn a_mesh_is_joined_over_p2p() {
    let (_server, host) = server(config()).await;
    let call = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": "0", "method": method, "params": params});
    let (mut a, mut b) = (open(&host, "/p2p", None).await.unwrap(), open(&host, "/p2p", None).await.unwrap());
    let first = ask(&mut a, call("init", json!([]))).await["result"].clone();
    let second = ask(&mut b, call("init", json!([]))).await["result"].clone();
    let group = ask(&mut a, call("create", json!([]))).await["result"].clone();
    assert_eq!(ask(&mut b, call("join", json!([group]))).await["result"], Value::Null);
    assert_eq!(hear(&mut a).await["method"], "member_joined");
    say(&mut b, call("relay", json!([group, first, {"offer": 1}]))).await;
    let passed = hear(&mut a).await;
    assert_eq!(passed["params"], json!([group, second, {"offer": 1}]));
    say(&mut a, json!({"jsonrpc": "2.0", "id": passed["id"], "result": {"answer": 1}})).await;
    assert_eq!(hear(&mut b).await["result"], json!({"answer": 1}));
    drop(b);
    assert_eq!(hear(&mut a).await["method"], "member_left");
}

#[tokio::test]
async fn pages_of_other_origins_reach_neither_and_large_messages_end_a_socket() {
    let (_server, host) = server(config()).await;
    for path in ["/alm", "/p2p"] {
        for origin in ["http://evil.example", "null"] {
            let refused = open(&host, path, Some(origin)).await;
            assert!(matches!(refused, Err(tungstenite::Error::Http(answer)) if answer.status() == 403));
        }
        let mut socket = open(&host, path, Some(&format!("http://{host}"))).await.unwrap();
        let _ = socket.send(Message::text("x".repeat(40_000))).await;
        assert_eq!(close_code(&mut socket).await, 1009);
    }
}

#[tokio::test]
async fn the_tree_is_also_where_the_originals_clients_look_for_it() {
    let (_server, host) = server(config()).await;
    let mut owner = open(&host, "/ws", None).await.unwrap();
    assert_eq!(ask(&mut owner, json!({"m": "create", "g": "room"})).await["g"], 0);
    let mut joiner = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut joiner, json!({"m": "join", "g": "room"})).await["r"], "ok");
}

#[tokio::test]
async fn a_join_that_grows_when_it_is_passed_on_is_its_senders_trouble() {
    let (_server, host) = server(config()).await;
    let mut owner = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut owner, json!({"m": "create", "g": "room"})).await["r"], "ok");
    let mut evil = open(&host, "/alm", None).await.unwrap();
    let join = format!(r#"{{"m":"join","g":"room","z":[{}1]}}"#, "1e15,".repeat(6000));
    evil.send(Message::text(join)).await.unwrap();
    assert_eq!(hear(&mut evil).await["r"], "a join has at most 4096 bytes");
    assert_eq!(listed(&get(&host, "/api/groups", &host).await).as_array().unwrap().len(), 1);
    let mut joiner = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut joiner, json!({"m": "join", "g": "room"})).await["r"], "ok");
    assert_eq!(hear(&mut owner).await["i"], 1);
}

#[tokio::test]
async fn who_never_reads_is_closed_and_nobody_elses_trouble() {
    let per_address = PerAddress { per_second: 0, ..PerAddress::default() };
    let mut config = ServerConfig { per_address, ..config() };
    config.limits = Limits { burst: 100_000, send_timeout: Duration::from_millis(500), ..config.limits };
    let (_server, host) = server(config).await;
    let mut owner = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut owner, json!({"m": "create", "g": "room"})).await["r"], "ok");
    let mut joiner = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut joiner, json!({"m": "join", "g": "room"})).await["r"], "ok");
    let mut deaf = open(&host, "/alm", None).await.unwrap();
    say(&mut deaf, json!({"m": "join_res", "i": 0, "e": hear(&mut owner).await["e"]})).await;
    assert_eq!(hear(&mut joiner).await["k"], 0);
    // What the kernel's buffers take is some megabytes; what the server keeps after that is bounded, and then it says so.
    let ice = json!({"m": "ice", "k": 0, "d": "x".repeat(30_000)});
    let told = async {
        loop {
            say(&mut joiner, ice.clone()).await;
            if let Ok(answer) = timeout(Duration::from_millis(1), hear(&mut joiner)).await {
                return answer;
            }
        }
    };
    let answer = timeout(SOON, told).await.expect("the buffers are full at last");
    assert!(answer["r"].as_str().is_some_and(|r| r.contains("does not read")), "{answer}");
    // It must not read before it is given up.
    let gone = async {
        while metric(&host, "sinnet_websockets").await > 2 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone).await.expect("it is closed");
    assert_eq!(close_code(&mut deaf).await, 1008, "and why is behind all that it did not read");
    assert_eq!(ask(&mut owner, json!({"m": "dance"})).await["r"], "unknown method");
    let (_, mut other) = (joiner, open(&host, "/alm", None).await.unwrap());
    assert_eq!(ask(&mut other, json!({"m": "join", "g": "room"})).await["r"], "ok");
}
