//! `web/sinnet-p2p.js` with itself and with `sinnet_alm::mesh`, over the Rust server.

use std::time::Duration;

use serde_json::{Value, json};
use sinnet::{Endpoint, EndpointConfig, Message, PeerConfig};
use sinnet_alm::mesh::{Group, GroupEvent, Service, UserId};
use sinnet_interop::browser::{Kind, Privacy};
use sinnet_interop::lab::Lab;
use sinnet_signaling::{Client, Session};
use tokio::time::timeout;

use crate::site::{Place, Site, Visit};

const SOON: Duration = Duration::from_secs(30);

/// A page in the group.
struct Member {
    visit: Visit,
    me: String,
    group: String,
}

impl Member {
    /// A page that joins the group, or makes one.
    async fn join(lab: &mut Lab, kind: Kind, site: &Site, group: Option<&str>) -> Self {
        let browser = lab.browser(kind, Privacy::Plain).await;
        let visit = Visit::open(browser, site, "/", include_str!("../../page/mesh.js")).await;
        let joined = visit.call("mesh.join", json!(group.into_iter().collect::<Vec<_>>())).await;
        let text = |field: &str| joined[field].as_str().expect("a text").to_owned();
        assert_eq!(joined["capability"], 10);
        Self { me: text("me"), group: text("group"), visit }
    }

    /// Waits until so many members are connected.
    async fn connected(&self, count: usize) {
        self.visit.until(&format!("mesh.connected().length === {count}")).await;
    }

    /// Everything that has happened, once an expression over the list `all` is true.
    async fn events(&self, done: &str) -> Value {
        self.visit
            .ask("void (globalThis.all ??= [], globalThis.seen ??= () => (all.push(...mesh.events()), true))")
            .await;
        self.visit.until(&format!("seen() && ({done})")).await;
        self.visit.ask("all.splice(0)").await
    }

    /// The messages that came, once there are so many.
    async fn messages(&self, count: usize) -> Vec<(String, Value)> {
        let done = format!("all.filter(([type]) => type === 'message').length >= {count}");
        let events = self.events(&done).await;
        let events = events.as_array().expect("a list").iter();
        events
            .filter(|event| event[0] == "message")
            .map(|event| (event[1].as_str().expect("a user").to_owned(), event[2].clone()))
            .collect()
    }

    /// Waits until a member is told of as gone.
    async fn sees_the_end_of(&self, user: &str) {
        self.events(&format!("all.some(([type, user]) => type === 'disconnected' && user === '{user}')"))
            .await;
    }
}

/// A native member.
struct Native {
    service: Service,
    group: Group,
}

impl Native {
    async fn join(site: &Site, group: Option<String>) -> Self {
        let url = site.url("ws", "/p2p");
        let (service, group) = site.run(Self::start(url, group)).await;
        Self { service, group }
    }

    async fn start(url: String, group: Option<String>) -> (Service, Group) {
        let endpoint = Endpoint::new(EndpointConfig::default()).await.expect("an endpoint");
        let service = Service::join(&endpoint, &url).await.expect("the service");
        let group = match group {
            None => service.create_group().await,
            Some(id) => service.join_group(&id).await,
        };
        (service, group.expect("the group"))
    }

    fn me(&self) -> String {
        self.service.info().0.clone()
    }

    async fn event(&self) -> GroupEvent {
        let event = timeout(SOON, self.group.next_event()).await;
        event.expect("something happens soon").expect("the group lives")
    }

    async fn connected(&self, count: usize) {
        while self.group.connected().len() < count {
            match self.event().await {
                GroupEvent::Connected(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn message(&self) -> (String, Message) {
        loop {
            match self.event().await {
                GroupEvent::Message { from, message } => return (from.0, message),
                GroupEvent::Connected(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

pub(crate) async fn pages_and_native_nodes_are_one_mesh(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let first = Native::join(&site, None).await;
    let group = first.group.id().to_owned();
    let page = Member::join(lab, kind, &site, Some(&group)).await;
    let second = Native::join(&site, Some(group.clone())).await;
    let other = Member::join(lab, kind, &site, Some(&group)).await;
    for native in [&first, &second] {
        native.connected(3).await;
    }
    for member in [&page, &other] {
        member.connected(3).await;
    }

    // From a page to all, text and bytes.
    let bytes: Vec<u8> = (0..=255).collect();
    for data in [json!("☃ to all"), json!(""), json!(bytes), json!([])] {
        assert_eq!(page.visit.call("mesh.broadcast", json!([data])).await, json!([]));
    }
    let sent = [
        Message::from("☃ to all"),
        Message::from(""),
        Message::from(bytes.clone()),
        Message::from(Vec::new()),
    ];
    for native in [&first, &second] {
        for message in &sent {
            assert_eq!(native.message().await, (page.me.clone(), message.clone()));
        }
    }
    let from = |data: Value| (page.me.clone(), data);
    let expected = [from(json!("☃ to all")), from(json!("")), from(json!(bytes)), from(json!([]))];
    assert_eq!(other.messages(4).await, expected);

    // From a native node to all, and to one.
    assert_eq!(first.group.broadcast(vec![7_u8; 60_000]).await, []);
    second.group.unicast(&UserId(page.me.clone()), "to you").await.expect("a connection");
    assert_eq!(other.messages(1).await, [(first.me(), json!(vec![7; 60_000]))]);
    let mut got = page.messages(2).await;
    got.sort_by_key(|(_, data)| data.is_string());
    assert_eq!(got, [(first.me(), json!(vec![7; 60_000])), (second.me(), json!("to you"))]);
    other.visit.call("mesh.unicast", json!([second.me(), [1, 2]])).await;
    // The broadcast of the first came before.
    assert_eq!(second.message().await.0, first.me());
    assert_eq!(second.message().await, (other.me.clone(), Message::from(vec![1_u8, 2])));

    // A native node leaves, then a page.
    drop(second.group);
    page.sees_the_end_of(&second.service.info().0).await;
    other.sees_the_end_of(&second.service.info().0).await;
    other.visit.ask("mesh.leave()").await;
    page.sees_the_end_of(&other.me).await;
    while first.event().await != GroupEvent::Disconnected(UserId(other.me.clone())) {}
    page.connected(1).await;
}

pub(crate) async fn a_page_makes_a_group_that_others_find_and_leave(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let page = Member::join(lab, kind, &site, None).await;
    let refusal = page.visit.ask("mesh.refusal('nowhere')").await;
    assert_eq!(refusal, "join: not found group id");
    let native = Native::join(&site, Some(page.group.clone())).await;
    native.connected(1).await;
    page.connected(1).await;
    native.group.broadcast("hello").await;
    assert_eq!(page.messages(1).await, [(native.me(), json!("hello"))]);
    // What is sent right before leaving arrives.
    let last = "mesh.broadcast('the last').then(() => mesh.leave())";
    page.visit.ask(last).await;
    assert_eq!(native.message().await, (page.me.clone(), "the last".into()));
    assert_eq!(native.event().await, GroupEvent::Disconnected(UserId(page.me.clone())));
    // Who has left may come back.
    page.visit.call("mesh.join", json!([page.group])).await;
    native.connected(1).await;
    page.connected(1).await;
}

pub(crate) async fn pages_that_offer_to_each_other_get_one_connection(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let owner = Native::join(&site, None).await;
    let id = owner.group.id().to_owned();
    let (a, b) =
        (Member::join(lab, kind, &site, Some(&id)).await, Member::join(lab, kind, &site, Some(&id)).await);
    for round in 0..3 {
        tokio::join!(a.visit.ask("mesh.leave()"), b.visit.ask("mesh.leave()"));
        tokio::join!(a.visit.call("mesh.join", json!([id])), b.visit.call("mesh.join", json!([id])));
        a.connected(2).await;
        b.connected(2).await;
        a.visit.call("mesh.unicast", json!([b.me, format!("{round}")])).await;
        b.visit.call("mesh.unicast", json!([a.me, format!("{round}")])).await;
        assert_eq!(b.messages(1).await, [(a.me.clone(), json!(format!("{round}")))]);
        let events = a.events("all.some(([type]) => type === 'message')").await;
        let unreachable = events.as_array().expect("a list").iter().find(|event| event[0] == "unreachable");
        assert_eq!(unreachable, None, "{events}");
    }
}

/// A member by hand: JSON-RPC over a WebSocket, nothing more.
struct Script {
    session: Session<String>,
    number: u64,
}

impl Script {
    async fn join(site: &Site, group: &str) -> Self {
        let url = site.url("ws", "/p2p");
        let session = site.run(async move { Client::default().connect_as::<String>(&url).await }).await;
        let mut script = Self { session: session.expect("the server"), number: 0 };
        script.call("init", json!([])).await;
        script.call("join", json!([group])).await;
        script
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let id = self.number;
        self.session
            .send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string())
            .expect("room");
        loop {
            let text = timeout(SOON, self.session.recv()).await.expect("an answer").expect("a session");
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == id {
                return answer;
            }
        }
    }
}

pub(crate) async fn candidates_that_come_before_their_offer_are_kept(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let page = Member::join(lab, kind, &site, None).await;
    let mut script = Script::join(&site, &page.group).await;
    let (peer, channel, offer) = site
        .run(async {
            let endpoint = Endpoint::new(EndpointConfig::default()).await.expect("an endpoint");
            let peer = endpoint.peer_connection(PeerConfig::default()).expect("a connection");
            let channel = peer.create_data_channel("simple", Default::default()).expect("a channel");
            peer.set_local_description(peer.create_offer().expect("an offer")).expect("our offer");
            let offer = peer.local_description().expect("our offer").sdp;
            (peer, channel, offer)
        })
        .await;
    let (candidates, rest): (Vec<_>, Vec<_>) =
        offer.split_inclusive("\r\n").partition(|line| line.starts_with("a=candidate:"));
    assert!(!candidates.is_empty(), "{offer}");
    for line in candidates {
        let ice =
            json!({"candidate": line.trim_end().trim_start_matches("a="), "sdpMid": "0", "sdpMLineIndex": 0});
        let answer = script.call("relay", json!([page.group, page.me, {"ice": ice}])).await;
        assert_eq!(answer["result"], Value::Null, "{answer}");
    }
    let offer = json!({"offer": {"type": "offer", "sdp": rest.concat()}});
    let answer = script.call("relay", json!([page.group, page.me, offer])).await;
    let sdp = answer["result"]["answer"]["sdp"].as_str().unwrap_or_else(|| panic!("{answer}"));
    // Without the page's candidates, so that only ours can lead to it.
    let sdp: String = sdp.split_inclusive("\r\n").filter(|line| !line.starts_with("a=candidate:")).collect();
    peer.set_remote_description(sinnet::SessionDescription::answer(sdp)).expect("the answer");
    timeout(SOON, channel.opened()).await.expect("in time").expect("an open channel");
    channel.send("kept").await.expect("room");
    let (_, text) = page.messages(1).await.remove(0);
    assert_eq!(text, "kept");
}

pub(crate) async fn a_member_that_relays_nonsense_harms_only_itself(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let page = Member::join(lab, kind, &site, None).await;
    let native = Native::join(&site, Some(page.group.clone())).await;
    page.connected(1).await;
    let mut script = Script::join(&site, &page.group).await;
    for data in [
        json!(null),
        json!({}),
        json!([]),
        json!({"offer": {}}),
        json!({"offer": {"sdp": 7}}),
        json!({"offer": null}),
        json!("offer"),
        json!({"__proto__": {"ice": 1}}),
    ] {
        let answer = script.call("relay", json!([page.group, page.me, data])).await;
        assert_eq!(answer["error"]["message"], "invalid relay message", "{data}");
    }
    let answer = script.call("relay", json!([page.group, page.me, {"offer": {"sdp": "v=0"}}])).await;
    assert_eq!(answer["error"]["message"], "the offer can't be used");
    for i in 0..200 {
        let ice = [json!(null), json!(7), json!({"candidate": i}), json!({"candidate": "candidate:x"})];
        let answer = script.call("relay", json!([page.group, page.me, {"ice": ice[i % 4]}])).await;
        assert_eq!(answer["result"], Value::Null, "{answer}");
    }
    native.connected(1).await;
    native.group.broadcast("as before").await;
    assert_eq!(page.messages(1).await, [(native.me(), json!("as before"))]);
}

pub(crate) async fn a_member_that_never_answers_is_unreachable(lab: &mut Lab, kind: Kind) {
    let site = Site::start_with(lab, |config| config.p2p.relay_timeout = Duration::from_secs(2)).await;
    let owner = Native::join(&site, None).await;
    let id = owner.group.id().to_owned();
    let mut script = Script::join(&site, &id).await;
    let me = script.call("init", json!([])).await["result"].clone();
    // Two members: the one that answers is connected, whatever the other does.
    let page = Member::join(lab, kind, &site, Some(&id)).await;
    let events = page.events("all.some(([type]) => type === 'unreachable')").await;
    let expected = json!(["unreachable", me, "the other user does not answer"]);
    assert!(events.as_array().expect("a list").contains(&expected), "{events}");
    page.connected(1).await;
}

pub(crate) async fn members_that_die_are_removed(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let page = Member::join(lab, kind, &site, None).await;
    let other = Member::join(lab, kind, &site, Some(&page.group)).await;
    let elsewhere = Place::new(lab).await;
    let native = elsewhere.run(Native::start(site.url("ws", "/p2p"), Some(page.group.clone()))).await;
    page.connected(2).await;
    other.connected(2).await;
    // A page closes without a word. A process dies: its sockets are gone with their thread.
    let (dead_page, dead_native) = (other.me.clone(), native.0.info().0.clone());
    drop(other);
    page.sees_the_end_of(&dead_page).await;
    drop(elsewhere);
    page.sees_the_end_of(&dead_native).await;
    page.connected(0).await;
    drop(native);
}

pub(crate) async fn connections_outlive_the_server(lab: &mut Lab, kind: Kind) {
    let mut site = Site::start(lab).await;
    let page = Member::join(lab, kind, &site, None).await;
    let native = Native::join(&site, Some(page.group.clone())).await;
    page.connected(1).await;
    native.connected(1).await;
    site.end();
    page.events("all.some(([type]) => type === 'closed')").await;
    native.group.broadcast("still here").await;
    assert_eq!(page.messages(1).await, [(native.me(), json!("still here"))]);
    page.visit.call("mesh.broadcast", json!(["me, too"])).await;
    assert_eq!(native.message().await, (page.me.clone(), "me, too".into()));
}

pub(crate) async fn eight_megabytes_arrive_in_order(lab: &mut Lab, kind: Kind) {
    const SIZE: usize = 8 * 1024 * 1024;
    let site = Site::start(lab).await;
    let native = Native::join(&site, None).await;
    let page = Member::join(lab, kind, &site, Some(native.group.id())).await;
    page.connected(1).await;
    let flood = format!("mesh.flood({SIZE})");
    let sending = page.visit.ask(&flood);
    let receiving = async {
        for number in 0..SIZE / 65536 {
            let (_, message) = native.message().await;
            assert!(message == Message::from(vec![number as u8; 65536]), "message {number}");
        }
    };
    tokio::join!(sending, receiving);
}
