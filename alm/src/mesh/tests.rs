//! Services at a real server, over real connections on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use sinnet::{Endpoint, Message};
use sinnet_signaling::{Client, Server, ServerConfig};
use tokio::time::timeout;

use super::{CallError, Capability, Group, GroupEvent, SendError, Service, ServiceError, UserId};

const SOON: Duration = Duration::from_secs(20);

async fn server() -> (Server, String) {
    let server = Server::bind(ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await.unwrap();
    let url = format!("ws://{}/p2p", server.local_addr());
    (server, url)
}

async fn user(url: &str) -> Service {
    let endpoint = Endpoint::bind("127.0.0.1:0").await.unwrap();
    Service::join(&endpoint, url).await.unwrap()
}

async fn event(group: &Group) -> GroupEvent {
    timeout(SOON, group.next_event()).await.expect("something happens soon").expect("the group lives")
}

async fn connected(group: &Group, count: usize) {
    while group.connected().len() < count {
        match event(group).await {
            GroupEvent::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn message(group: &Group) -> (UserId, Message) {
    loop {
        match event(group).await {
            GroupEvent::Message { from, message } => return (from, message),
            GroupEvent::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn everybody_is_connected_with_everybody_and_messages_say_who_sent_them() {
    let (_server, url) = server().await;
    let services = [user(&url).await, user(&url).await, user(&url).await, user(&url).await];
    let first = services[0].create_group().await.unwrap();
    let capability = first.capability();
    assert!(capability.has(Capability::BROADCAST_EVERYONE) && capability.has(Capability::UNICAST_EVERYONE));
    let mut groups = vec![first];
    for service in &services[1..] {
        let group = service.join_group(groups[0].id()).await.unwrap();
        connected(&group, groups.len()).await;
        groups.push(group);
    }
    for group in &groups {
        connected(group, 3).await;
    }
    for (sender, group) in groups.iter().enumerate() {
        assert_eq!(group.broadcast(format!("from {sender}")).await, []);
        for (other, receiver) in groups.iter().enumerate().filter(|(other, _)| *other != sender) {
            let (from, text) = message(receiver).await;
            assert_eq!((&from, text), (services[sender].info(), format!("from {sender}").into()), "{other}");
        }
    }
    groups[3].unicast(services[1].info(), vec![1, 2, 3]).await.unwrap();
    assert_eq!(message(&groups[1]).await, (services[3].info().clone(), vec![1, 2, 3].into()));

    // A member that leaves is seen to, by all, and can't be sent to any more.
    let gone = services[2].info().clone();
    groups.remove(2);
    for group in &groups {
        assert_eq!(event(group).await, GroupEvent::Disconnected(gone.clone()));
        assert_eq!(group.connected().len(), 2);
        assert_eq!(group.unicast(&gone, "?").await, Err(SendError::NotConnected(gone.clone())));
    }
}

#[tokio::test]
async fn connections_outlive_the_server() {
    let (server, url) = server().await;
    let (a, b) = (user(&url).await, user(&url).await);
    let here = a.create_group().await.unwrap();
    let there = b.join_group(here.id()).await.unwrap();
    connected(&here, 1).await;
    connected(&there, 1).await;
    drop(server);
    a.clone().close();
    here.broadcast("still here").await;
    assert_eq!(message(&there).await.1, "still here".into());
}

#[tokio::test]
async fn two_that_offer_to_each_other_get_one_connection() {
    let (_server, url) = server().await;
    let (owner, a, b) = (user(&url).await, user(&url).await, user(&url).await);
    let group = owner.create_group().await.unwrap();
    for _ in 0..5 {
        let (x, y) = tokio::join!(a.join_group(group.id()), b.join_group(group.id()));
        let (x, y) = (x.unwrap(), y.unwrap());
        connected(&x, 2).await;
        connected(&y, 2).await;
        y.unicast(a.info(), "to a").await.unwrap();
        assert_eq!(message(&x).await.1, "to a".into());
        x.unicast(b.info(), "to b").await.unwrap();
        assert_eq!(message(&y).await.1, "to b".into());
        drop((x, y));
        // Both are gone before they come again.
        let mut left = 0;
        while left < 2 {
            left += usize::from(matches!(event(&group).await, GroupEvent::Disconnected(_)));
        }
    }
}

#[tokio::test]
async fn what_is_wrong_has_a_name() {
    let (_server, url) = server().await;
    let service = user(&url).await;
    let error = service.join_group("nowhere").await.unwrap_err();
    let refused = CallError::Refused { method: "join", message: "not found group id".to_owned() };
    assert!(matches!(error, ServiceError::Call(error) if error == refused));
    let endpoint = Endpoint::bind("127.0.0.1:0").await.unwrap();
    let nobody = Service::join(&endpoint, "ws://127.0.0.1:9/p2p").await;
    assert!(matches!(nobody, Err(ServiceError::Connect(_))));
}

/// A member that is a script: it says what it likes by way of the server.
#[tokio::test]
async fn a_member_that_relays_nonsense_harms_only_itself() {
    let (_server, url) = server().await;
    let (a, b) = (user(&url).await, user(&url).await);
    let here = a.create_group().await.unwrap();
    let there = b.join_group(here.id()).await.unwrap();
    connected(&here, 1).await;
    connected(&there, 1).await;

    let mut script = Client::default().connect_as::<String>(&url).await.unwrap();
    let mut number = 0;
    let mut call = async |method: &str, params: Value| -> Value {
        number += 1;
        script.send(&json!({"id": number, "method": method, "params": params}).to_string()).unwrap();
        loop {
            let text = timeout(SOON, script.recv()).await.unwrap().unwrap();
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == number {
                return answer;
            }
        }
    };
    call("init", json!([])).await;
    call("join", json!([here.id()])).await;
    for data in [json!(null), json!({}), json!({"offer": {}}), json!({"offer": {"sdp": 7}}), json!("offer")] {
        let answer = call("relay", json!([here.id(), a.info().0, data])).await;
        assert_eq!(answer["error"]["message"], "invalid relay message", "{data}");
    }
    let answer = call("relay", json!([here.id(), a.info().0, {"offer": {"sdp": "v=0"}}])).await;
    assert_eq!(answer["error"]["message"], "the offer can't be used");
    // Candidates without end, before any offer, and of every shape.
    for i in 0..200 {
        let ice = [json!(null), json!({"candidate": i}), json!({"candidate": "candidate:x"})];
        let answer = call("relay", json!([here.id(), a.info().0, {"ice": ice[i % 3]}])).await;
        assert_eq!(answer["result"], Value::Null);
    }
    here.broadcast("as before").await;
    assert_eq!(message(&there).await.1, "as before".into());
}
