//! `/alm` and `/p2p` over sockets on 127.0.0.1.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};

use super::tests::{SOON, Socket, close_code, config, get, open, server};

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
    timeout(SOON, async { while listed(&get(&host, "/api/groups", &host).await) != json!([]) {} })
        .await
        .expect("the group goes with its owner");
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
async fn an_owner_that_never_reads_is_closed_and_nobody_elses_trouble() {
    let (_server, host) = server(config()).await;
    let mut deaf = open(&host, "/alm", None).await.unwrap();
    say(&mut deaf, json!({"m": "create", "g": "deaf"})).await;
    let mut reading = open(&host, "/alm", None).await.unwrap();
    assert_eq!(ask(&mut reading, json!({"m": "create", "g": "room"})).await["r"], "ok");
    // What the kernel's buffers take, and what the server keeps, is some megabytes.
    let mut told = 0;
    while listed(&get(&host, "/api/groups", &host).await).as_array().unwrap().len() == 2 {
        for group in ["deaf", "room"] {
            let mut joiner = open(&host, "/alm", None).await.unwrap();
            let join = json!({"m": "join", "g": group, "x": "x".repeat(30_000)});
            let answer = ask(&mut joiner, join).await;
            if group == "room" {
                told += 1;
                assert_eq!((&answer["r"], &hear(&mut reading).await["i"]), (&json!("ok"), &json!(told)));
            }
        }
        assert!(told < 1000, "it is never closed");
    }
    assert_eq!(close_code(&mut deaf).await, 1008, "and why is behind all that it did not read");
}
