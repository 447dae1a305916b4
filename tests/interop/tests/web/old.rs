//! A node of 2013 by hand, in the group of a page: what is on the WebSocket and in the channel, word by word.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sinnet::{
    DataChannel, Endpoint, EndpointConfig, IceCandidate, Message, PeerConfig, PeerConnection,
    SessionDescription,
};
use sinnet_alm::frame::{Frame, FrameType, NodeId, Sequence, TreeInfo, read_text};
use sinnet_interop::browser::{Kind, Privacy};
use sinnet_interop::lab::Lab;
use sinnet_interop::net::PEER_ADDRESS;
use sinnet_signaling::{Client, Session};
use tokio::time::timeout;

use crate::alm::Member;
use crate::site::Site;

const SOON: Duration = Duration::from_secs(30);

/// Its socket.
struct Old(Session<String>);

impl Old {
    async fn open(site: &Site) -> Self {
        let url = site.url("ws", "/alm");
        let session = site.run(async move { Client::default().connect_as::<String>(&url).await }).await;
        Self(session.expect("the server"))
    }

    fn say(&self, message: &Value) {
        self.0.send(&message.to_string()).expect("room");
    }

    async fn hear(&mut self) -> Value {
        let text = timeout(SOON, self.0.recv()).await.expect("a message").expect("a session");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Joins, and finds an acceptor. Its number is what the answer says.
    async fn join(&mut self, group: &str) -> Value {
        self.say(&json!({"m": "join", "g": group, "n": 1}));
        let answer = self.hear().await;
        assert_eq!(
            (&answer["m"], &answer["r"], &answer["d"]),
            (&json!("join"), &json!("ok"), &json!("a test"))
        );
        assert_eq!(self.hear().await, json!({"m": "join_res", "i": 0, "k": 0}));
        answer["i"].clone()
    }
}

/// An offer, with the channel that it opens.
async fn offer(site: &Site) -> (PeerConnection, DataChannel, String) {
    site.run(async {
        let bind = SocketAddr::new(PEER_ADDRESS.parse().expect("an address"), 0);
        let endpoint = Endpoint::new(EndpointConfig::bind(bind)).await.expect("an endpoint");
        let peer = endpoint.peer_connection(PeerConfig::default()).expect("a connection");
        let channel = peer.create_data_channel("label", Default::default()).expect("a channel");
        peer.set_local_description(peer.create_offer().expect("an offer")).expect("our offer");
        let sdp = peer.local_description().expect("our offer").sdp;
        (peer, channel, json!({"type": "offer", "sdp": sdp}).to_string())
    })
    .await
}

/// The next frame of a type; others may come before it.
async fn frame(channel: &DataChannel, wanted: FrameType) -> Frame {
    let waiting = async {
        loop {
            match channel.recv().await.expect("an open channel") {
                Message::Binary(bytes) => {
                    let frame = Frame::parse(bytes).expect("a frame");
                    assert!(
                        [1, 2, 3, 254, 255].contains(&frame.frame_type().0),
                        "{frame:?} is not for an old node"
                    );
                    if frame.frame_type() == wanted {
                        return frame;
                    }
                }
                Message::Text(text) => panic!("{text:?} is no frame"),
            }
        }
    };
    timeout(SOON, waiting).await.expect("a frame")
}

pub(crate) async fn a_node_of_2013_is_a_member_of_a_pages_group(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let browser = lab.browser(kind, Privacy::Plain).await;
    let owner = Member::create(browser, &site, "old", json!({ "maxDownStreams": 1 })).await;

    // Who offers nonsense gets nothing, and harms nobody.
    let mut nonsense = Old::open(&site).await;
    nonsense.join("old").await;
    for k in [json!(0), json!(1), json!("0")] {
        nonsense.say(&json!({"m": "ice", "k": k, "d": "{\"candidate\":7"}));
    }
    nonsense.say(&json!({"m": "offer", "k": 0, "i": 1, "s": "{\"type\":\"offer\",\"sdp\":\"v=0\"}"}));
    owner.visit.until("alm.log.states.some((change) => change.join() === 'down,1,failed')").await;

    // The place is kept for five seconds.
    let mut old = Old::open(&site).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let me = old.join("old").await;
    let (peer, channel, offer) = offer(&site).await;
    old.say(&json!({"m": "offer", "k": 0, "i": me, "s": offer}));
    let answer = old.hear().await;
    assert_eq!((&answer["m"], &answer["k"], &answer["i"]), (&json!("answer"), &json!(0), &me), "{answer}");
    let description: Value =
        serde_json::from_str(answer["s"].as_str().expect("a text")).expect("JSON in JSON");
    assert_eq!(description["type"], "answer");
    let sdp = description["sdp"].as_str().expect("a description");
    peer.set_remote_description(SessionDescription::answer(sdp)).expect("the answer");
    let opened = channel.opened();
    tokio::pin!(opened);
    let mut candidates = 0;
    loop {
        tokio::select! {
            done = &mut opened => break done.expect("an open channel"),
            message = old.hear() => {
                assert_eq!((&message["m"], &message["k"]), (&json!("ice"), &json!(0)), "{message}");
                let said: Value = serde_json::from_str(message["d"].as_str().expect("a text")).expect("JSON in JSON");
                let candidate = said["candidate"].as_str().expect("a candidate").to_owned();
                assert!(said["sdpMid"].is_string() && said["sdpMLineIndex"] == 0, "{said}");
                candidates += 1;
                let candidate = IceCandidate { candidate, sdp_mid: Some("0".into()), sdp_m_line_index: Some(0) };
                let _ = peer.add_ice_candidate(candidate);
            }
        }
    }
    // The page's checks can come before its candidates, and connect: then they are still to be heard.
    if candidates == 0 {
        assert_eq!(old.hear().await["m"], "ice", "the page sends its candidates one by one");
    }
    owner.visit.until("alm.links().length === 1").await;

    // What comes down.
    owner.visit.call("alm.say", json!(["後☃"])).await;
    let text = frame(&channel, FrameType::TEXT).await;
    assert_eq!((text.sequence(), read_text(&text.body()).as_str()), (Sequence(1), "後☃"));
    owner.visit.call("alm.cast", json!([7, 10, 10])).await;
    assert_eq!(frame(&channel, FrameType::DATA).await.sequence(), Sequence(3));

    // What goes up: nonsense, a ping, and the tree's picture in the string form.
    for bad in
        ["", "3", "0hello", "3\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}", "2\u{100}"]
    {
        channel.send(bad).await.expect("room");
    }
    for kind in (0..=4_u8).chain(13..=255) {
        channel.send([&[kind][..], &[kind; 40]].concat()).await.expect("room");
    }
    frame(&channel, FrameType::GET_TREE_INFO).await;
    let id = NodeId(u32::try_from(me.as_u64().expect("a number")).expect("a small one"));
    let info = TreeInfo { id, upstreams: vec![NodeId(0)], downstreams: vec![NodeId(77)] };
    let report = Frame::new(FrameType::NOTIFY_TREE_INFO, Sequence(0), &info.write());
    channel.send(report.to_old_string()).await.expect("room");
    owner.visit.until("alm.tree().some(({ id, downstreams }) => id === 2 && downstreams[0] === 77)").await;
    channel.send(Frame::new(FrameType::PING, Sequence(0), &[0]).to_old_string()).await.expect("room");
    assert_eq!(frame(&channel, FrameType::PING).await.body()[..], [1]);

    // The page is full: the next join comes down to us, as old nodes write it.
    let next = Old::open(&site).await;
    next.say(&json!({"m": "join", "g": "old", "n": 1, "extra": [1]}));
    let join = frame(&channel, FrameType::JOIN).await;
    let join: Value = serde_json::from_str(&read_text(&join.body())).expect("UTF-16 JSON");
    assert_eq!(
        (&join["m"], &join["i"], &join["n"], &join["extra"]),
        (&json!("join"), &json!(3), &json!(1), &json!([1]))
    );
    assert!(join["e"].is_string() && join["g"] == "old", "{join}");
    owner.is_well().await;
    site.run(async move { peer.close().await }).await;
    owner.visit.until("alm.links().length === 0").await;
}
