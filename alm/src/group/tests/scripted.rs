//! Nodes that are scripts: the original's, which know only its frames, and ones that do what they should not.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use sinnet::{DataChannel, DataChannelOptions, PeerConnection, SessionDescription};
use sinnet_signaling::{Client, Session};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as WsMessage;

use super::*;
use crate::frame::{Control, Frame, FrameType, Join, Route, Routed, Sequence, TreeInfo, read_text};

/// What a server says that listens to nobody.
pub(super) async fn say_to(stream: TcpStream, says: Vec<Value>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    for message in says {
        if socket.send(WsMessage::text(message.to_string())).await.is_err() {
            return;
        }
    }
    while socket.next().await.is_some() {}
}

/// A joiner's WebSocket.
struct Joiner {
    session: Session<String>,
    id: u32,
}

impl Joiner {
    async fn join(url: &str, message: Value) -> Self {
        let session = Client::default().connect_as::<String>(url).await.unwrap();
        let mut joiner = Self { session, id: 0 };
        joiner.say(message);
        let answer = joiner.hear("join").await;
        assert_eq!(answer["r"], "ok");
        joiner.id = answer["i"].as_u64().unwrap() as u32;
        joiner
    }

    fn say(&self, message: Value) {
        self.session.send(&message.to_string()).unwrap();
    }

    /// The next message of this method.
    async fn hear(&mut self, method: &str) -> Map<String, Value> {
        let hearing = async {
            loop {
                let text = self.session.recv().await.expect("the server is there");
                let message: Map<String, Value> = serde_json::from_str(&text).unwrap();
                if message["m"] == method {
                    return message;
                }
            }
        };
        timeout(SOON, hearing).await.expect(method)
    }

    /// Connects with the first acceptor.
    async fn connect(mut self) -> Scripted {
        let key = self.hear("join_res").await["k"].clone();
        let endpoint = Endpoint::bind("127.0.0.1:0").await.unwrap();
        let peer = endpoint.peer_connection(Default::default()).unwrap();
        let channel = peer.create_data_channel("label", DataChannelOptions::default()).unwrap();
        peer.set_local_description(peer.create_offer().unwrap()).unwrap();
        let sdp = json!({"type": "offer", "sdp": peer.local_description().unwrap().sdp}).to_string();
        self.say(json!({"m": "offer", "i": self.id, "k": key, "s": sdp}));
        let answer = self.hear("answer").await;
        let answer: Value = serde_json::from_str(answer["s"].as_str().unwrap()).unwrap();
        peer.set_remote_description(SessionDescription::answer(answer["sdp"].as_str().unwrap())).unwrap();
        timeout(SOON, channel.opened()).await.unwrap().unwrap();
        Scripted { id: self.id, channel, _peer: peer }
    }
}

/// A node below the owner.
struct Scripted {
    id: u32,
    channel: DataChannel,
    _peer: PeerConnection,
}

impl Scripted {
    async fn recv(&self) -> sinnet::Message {
        timeout(SOON, self.channel.recv()).await.expect("something comes").expect("the channel is open")
    }

    /// The next frame of this type, as binary or as a string.
    async fn frame(&self, frame_type: FrameType, as_string: bool) -> Frame {
        loop {
            let frame = match self.recv().await {
                sinnet::Message::Text(text) if as_string => Frame::from_old_string(&text).unwrap(),
                sinnet::Message::Binary(bytes) if !as_string => Frame::parse(bytes).unwrap(),
                other => panic!("{other:?}"),
            };
            if frame.frame_type() == frame_type {
                return frame;
            }
        }
    }

    async fn send(&self, frame: &Frame) {
        self.channel.send(frame.as_bytes().clone()).await.unwrap();
    }
}

fn watching() -> Options {
    let mut options = options();
    options.tree.tree_interval = Duration::from_millis(300);
    options.tree.ask_timeout = Duration::from_secs(1);
    options
}

#[tokio::test]
async fn a_node_that_knows_only_the_documents_frames_is_a_leaf_and_passes_joins_on() {
    let (_server, url) = server().await;
    let mut one = watching();
    one.tree.max_down_streams = 1;
    let owner = owner(&url, GroupKind::Reliable, one).await;
    let joiner = Joiner::join(&url, json!({"m": "join", "g": 0, "n": 1})).await;
    let old = joiner.connect().await;
    until(&owner, "it is a child", |status| status.children.len() == 1).await;
    owner.multicast(vec![1, 2, 3]).await.unwrap();
    owner.multicast("text あ").await.unwrap();
    assert_eq!(old.frame(FrameType::DATA, false).await.body()[..], [1, 2, 3]);
    assert_eq!(read_text(&old.frame(FrameType::TEXT, false).await.body()), "text あ");

    old.send(&Frame::new(FrameType::PING, Sequence(0), &[0])).await;
    assert_eq!(old.frame(FrameType::PING, false).await.body()[..], [1]);
    // Data flows downwards only, and what makes no sense is counted.
    old.send(&Frame::new(FrameType::DATA, Sequence(9), b"up")).await;
    old.send(&Frame::new(FrameType(77), Sequence(9), b"?")).await;
    old.channel.send(vec![1, 2]).await.unwrap();
    old.channel.send("no frame").await.unwrap();
    until(&owner, "all are counted", |status| status.stats.unexpected >= 1 && status.stats.malformed >= 2)
        .await;

    // The owner is full: the next join comes down, in the old programs' UTF-16.
    let next = Joiner::join(&url, json!({"m": "join", "g": "room", "n": 1, "z": 5})).await;
    let frame = old.frame(FrameType::JOIN, false).await;
    assert_eq!(frame.body()[1], 0, "UTF-16LE");
    let join = Join::parse(&frame.body()).unwrap();
    assert_eq!((join.i, join.n, &join.rest["z"]), (NodeId(next.id), 1, &json!(5)));
}

#[tokio::test]
async fn a_node_that_speaks_in_strings_is_answered_in_strings() {
    let (_server, url) = server().await;
    let owner = owner(&url, GroupKind::Reliable, watching()).await;
    let old = Joiner::join(&url, json!({"m": "join", "g": 0, "n": 1})).await.connect().await;
    until(&owner, "it is a child", |status| status.children.len() == 1).await;
    let ping = Frame::new(FrameType::PING, Sequence(0), &[0]);
    old.channel.send(ping.to_old_string()).await.unwrap();
    // Until its first word it was sent binary messages.
    let pong = loop {
        if let sinnet::Message::Text(text) = old.recv().await {
            break Frame::from_old_string(&text).unwrap();
        }
    };
    assert!(pong.frame_type() == FrameType::PING || pong.frame_type() == FrameType::GET_TREE_INFO);
    owner.multicast(vec![0, 127, 128, 255]).await.unwrap();
    assert_eq!(old.frame(FrameType::DATA, true).await.body()[..], [0, 127, 128, 255]);
    old.frame(FrameType::GET_TREE_INFO, true).await;
    let info = TreeInfo { id: NodeId(old.id), upstreams: vec![NodeId(0)], downstreams: vec![] };
    let info = Frame::new(FrameType::NOTIFY_TREE_INFO, Sequence(0), &info.write());
    old.channel.send(info.to_old_string()).await.unwrap();
    let seen = async {
        while !owner.tree().await.contains_key(&NodeId(old.id)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, seen).await.expect("the owner sees it");
}

#[tokio::test]
async fn joiners_that_offer_nonsense_or_nothing_keep_a_place_for_a_while_only() {
    let (_server, url) = server().await;
    let mut one = watching();
    one.tree.max_down_streams = 1;
    one.patience = Duration::from_secs(2);
    let owner = owner(&url, GroupKind::Reliable, one).await;
    let (mut bad, mut placed) = (Vec::new(), 0);
    for offer in ["", "v=0", "v=0\r\nm=audio 9 RTP/AVP 0\r\n", "{\"sdp\":7}"] {
        let mut joiner = Joiner::join(&url, json!({"m": "join", "g": "room", "n": 1})).await;
        // The place is given to one at a time; the others' joins wait, or are dropped.
        if let Ok(answer) = timeout(Duration::from_secs(3), joiner.hear("join_res")).await {
            placed += 1;
            for n in 0..100 {
                joiner.say(json!({"m": "ice", "k": answer["k"], "d": format!("candidate {n}")}));
            }
            joiner.say(json!({"m": "offer", "i": 99, "k": answer["k"], "s": offer}));
            joiner.say(json!({"m": "answer", "k": answer["k"], "s": offer}));
            joiner.say(json!({"m": "ice", "k": answer["k"], "d": {"candidate": "candidate:x"}}));
        }
        bad.push(joiner);
    }
    assert!(placed > 0, "nobody was asked for an offer");
    let member = member(&url).await;
    owner.multicast("hello").await.unwrap();
    assert_eq!(message(&member).await.1, "hello".into());
    assert_eq!(owner.status().await.unwrap().children.len(), 1);
}

#[tokio::test]
async fn signals_that_nobody_expects_open_no_connections() {
    let (_server, url) = server().await;
    let owner = owner(&url, GroupKind::Reliable, watching()).await;
    let join = json!({"m": "join", "g": "room", "n": 1, "x": {"v": 1, "p": []}});
    let liar = Joiner::join(&url, join).await.connect().await;
    liar.frame(FrameType(6), false).await;
    let offer = json!({"m": "offer", "k": 1, "s": "v=0\r\n"}).to_string();
    for data in
        ["", "{", "[]", "{\"m\":\"offer\"}", &offer, "{\"m\":\"ice\",\"k\":2,\"d\":{\"candidate\":\"\"}}"]
    {
        for from in [liar.id, 1000] {
            let body = Routed::Signal(Bytes::copy_from_slice(data.as_bytes()));
            let route = Route { hops: 5, to: vec![NodeId(0)], from: vec![NodeId(0), NodeId(from)], body };
            for _ in 0..50 {
                liar.send(&Control::Route(route.clone()).to_frame()).await;
            }
        }
    }
    let member = member(&url).await;
    owner.multicast("hello").await.unwrap();
    assert_eq!(message(&member).await.1, "hello".into());
    let ids = [liar.id, member.id().unwrap().0].map(NodeId);
    // What became of the offers would have been told by now.
    let mut liars = 0;
    while let Ok(Some(event)) = timeout(Duration::from_millis(100), owner.next_event()).await {
        if let GroupEvent::StateChange { id, state, .. } = event {
            assert!(ids.contains(&id), "{event:?}");
            liars += u32::from(id == ids[0] && state == LinkState::Connecting);
        }
    }
    assert_eq!(liars, 1, "connections with the liar, whose own one is the first");
}

#[tokio::test]
async fn a_child_that_floods_does_not_stop_the_others() {
    let (_server, url) = server().await;
    let owner = owner(&url, GroupKind::Reliable, watching()).await;
    let join = json!({"m": "join", "g": "room", "n": 1, "x": {"v": 1, "p": []}});
    let rude = Joiner::join(&url, join).await.connect().await;
    let frames = [
        Frame::new(FrameType::PING, Sequence(0), &[0]),
        Frame::new(FrameType(99), Sequence(0), &[7; 100]),
        Frame::new(FrameType::DATA, Sequence(1), &[7; 100]),
    ];
    // It never reads, either.
    let flood = tokio::spawn(async move {
        for n in 0.. {
            rude.send(&frames[n % frames.len()]).await;
        }
    });
    let member = member(&url).await;
    for n in 0..100_u8 {
        timeout(SOON, owner.multicast(vec![n])).await.expect("the owner gets a word in").unwrap();
        assert_eq!(message(&member).await.1, vec![n].into());
    }
    assert!(!flood.is_finished());
    flood.abort();
}
