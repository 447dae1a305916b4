//! The library against aiortc, which is written in Python and shares no code with the browsers: offer and answer both
//! ways, options, messages of every size and type, closes, on 127.0.0.1 only. `scripts/aiortc.sh` installs it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sinnet::{
    CloseReason, DataChannel, DataChannelOptions, DataChannelState, Endpoint, Message, PeerConfig,
    PeerConnection, PeerEvent, Reliability, SendError, SessionDescription,
};
use sinnet_interop::pattern::pattern;
use sinnet_interop::process::Process;
use tokio::sync::mpsc;

/// Python takes its time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// What aiortc says it takes.
const ITS_LARGEST: usize = 262_144;

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// The interpreter that has aiortc: `SINNET_AIORTC_PYTHON`, or that in the target directory of this test.
fn python() -> PathBuf {
    let python = std::env::var_os("SINNET_AIORTC_PYTHON").map_or_else(
        || {
            let test = std::env::current_exe().unwrap_or_default(); // <target>/<profile>/deps/<test>
            test.ancestors().nth(3).map(|target| target.join("aiortc/bin/python")).unwrap_or_default()
        },
        PathBuf::from,
    );
    assert!(python.exists(), "no {}: run scripts/aiortc.sh, or set SINNET_AIORTC_PYTHON", python.display());
    python
}

/// aiortc, which sends every message back.
struct Python {
    process: Process,
    lines: mpsc::UnboundedReceiver<String>,
    /// Lines that nobody has asked for yet.
    heard: Vec<Value>,
}

impl Python {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/aiortc/peer.py");
        let command = [python().display().to_string(), script.to_owned()];
        let mut process = Process::spawn("aiortc", &command, &[]).expect("a Python process");
        let lines = process.take_stdout().expect("taken once");
        Self { process, lines, heard: Vec::new() }
    }

    fn tell(&self, line: Value) {
        self.process.stdin.send(line.to_string()).expect("it runs");
    }

    /// The value of the first line that has this name and for which `wanted` holds; others are kept.
    async fn hear(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.heard.iter().position(|line| line.get(name).is_some_and(&wanted)) {
                return self.heard.remove(at)[name].take();
            }
            let next = tokio::time::timeout(PATIENCE, self.lines.recv()).await;
            let Ok(Some(line)) = next else {
                panic!("aiortc does not say {name}, but {:?}\n{}", self.heard, self.process.stderr.tail(40))
            };
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "noise": line }));
            assert!(line.get("problem").is_none(), "aiortc: {line}\n{}", self.process.stderr.tail(40));
            self.heard.push(line);
        }
    }

    async fn sdp(&mut self) -> String {
        self.hear("sdp", |_| true).await.as_str().expect("a string").to_owned()
    }
}

/// The two ends, connected.
struct Both {
    python: Python,
    connection: PeerConnection,
    arrived: Vec<DataChannel>,
    _endpoint: Endpoint,
}

/// Who makes the offer.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Offers {
    Python,
    We,
}

impl Both {
    /// Connects, with these channels of aiortc's, and a plain one of ours that is called `ours`.
    async fn connect(offers: Offers, theirs: Value) -> (Self, DataChannel) {
        let endpoint = Endpoint::bind("127.0.0.1:0").await.expect("an endpoint");
        let connection = endpoint.peer_connection(PeerConfig::default()).expect("a connection");
        let ours = connection.create_data_channel("ours", DataChannelOptions::default()).expect("a channel");
        let mut python = Python::start();
        match offers {
            Offers::Python => {
                python.tell(json!({ "do": "offer", "open": theirs }));
                let offer = SessionDescription::offer(python.sdp().await);
                connection.set_remote_description(offer).expect("aiortc's offer");
                let answer = connection.create_answer().expect("an answer");
                connection.set_local_description(answer).expect("our own answer");
                let answer = connection.local_description().expect("with candidates");
                python.tell(json!({ "do": "answered", "sdp": answer.sdp }));
            }
            Offers::We => {
                let offer = connection.create_offer().expect("an offer");
                connection.set_local_description(offer).expect("our own offer");
                let offer = connection.local_description().expect("with candidates");
                python.tell(json!({ "do": "offered", "sdp": offer.sdp, "open": theirs }));
                let answer = SessionDescription::answer(python.sdp().await);
                connection.set_remote_description(answer).expect("aiortc's answer");
            }
        }
        within("the connection", connection.connected()).await.expect("connected");
        within("our channel", ours.opened()).await.expect("open");
        (Self { python, connection, arrived: Vec::new(), _endpoint: endpoint }, ours)
    }

    /// The channel of that label which aiortc has opened.
    async fn channel(&mut self, label: &str) -> DataChannel {
        loop {
            if let Some(at) = self.arrived.iter().position(|channel| channel.label() == label) {
                return self.arrived.remove(at);
            }
            match within(label, self.connection.next_event()).await {
                Some(PeerEvent::DataChannel(channel)) => self.arrived.push(channel),
                Some(PeerEvent::Closed(reason)) => panic!("{reason}"),
                Some(_) => {}
                None => panic!("the connection is over"),
            }
        }
    }

    async fn closed(&self) -> CloseReason {
        loop {
            if let PeerEvent::Closed(reason) =
                within("the end", self.connection.next_event()).await.expect("it is told once")
            {
                return reason;
            }
        }
    }
}

async fn echo(channel: &DataChannel, message: Message) {
    within("sending", channel.send(message.clone())).await.expect("an open channel");
    let back = within("an echo", channel.recv()).await;
    assert!(back.as_ref() == Some(&message), "{} bytes on {}", message.len(), channel.label());
}

async fn options_are_seen_by_both(offers: Offers) {
    let theirs = json!([
        { "label": "plain" },
        { "label": "loose", "ordered": false, "protocol": "of theirs" },
        { "label": "retransmits", "maxRetransmits": 3 },
        { "label": "lifetime", "ordered": false, "maxPacketLifeTime": 5000 },
        { "label": "agreed", "negotiated": true, "id": 100 },
    ]);
    let (mut both, _) = Both::connect(offers, theirs).await;
    for (label, protocol, ordered, reliability) in [
        ("plain", "", true, Reliability::Reliable),
        ("loose", "of theirs", false, Reliability::Reliable),
        ("retransmits", "", true, Reliability::MaxRetransmits(3)),
        ("lifetime", "", false, Reliability::MaxPacketLifeTime(5000)),
    ] {
        let channel = both.channel(label).await;
        assert_eq!(
            (channel.protocol(), channel.ordered(), channel.reliability()),
            (protocol, ordered, reliability)
        );
        echo(&channel, "theirs".into()).await;
    }
    let options = DataChannelOptions { negotiated: Some(100), ..DataChannelOptions::default() };
    let agreed = both.connection.create_data_channel("agreed", options).expect("a channel");
    within("the agreed channel", agreed.opened()).await.expect("open");
    echo(&agreed, "agreed".into()).await;

    for (label, protocol, ordered, reliability, retransmits, lifetime) in [
        ("our loose", "of ours", false, Reliability::Reliable, None, None),
        ("our retransmits", "", false, Reliability::MaxRetransmits(3), Some(3), None),
        ("our lifetime", "", true, Reliability::MaxPacketLifeTime(5000), None, Some(5000)),
        ("☃", "☃", true, Reliability::Reliable, None, None),
    ] {
        let options = DataChannelOptions {
            ordered,
            reliability,
            protocol: protocol.to_owned(),
            ..DataChannelOptions::default()
        };
        let channel = both.connection.create_data_channel(label, options).expect("a channel");
        within("our channel", channel.opened()).await.expect("open");
        let seen = both.python.hear("arrived", |channel| channel["label"] == label).await;
        let expected = json!({
            "label": label, "protocol": protocol, "ordered": ordered, "id": channel.id(),
            "maxRetransmits": retransmits, "maxPacketLifeTime": lifetime,
        });
        assert_eq!(seen, expected);
        echo(&channel, "ours".into()).await;
    }
}

async fn messages_of_every_kind_come_back(offers: Offers) {
    let theirs = json!([{ "label": "theirs" }, { "label": "loose", "ordered": false }]);
    let (mut both, ours) = Both::connect(offers, theirs).await;
    let channels = [both.channel("theirs").await, both.channel("loose").await, ours];
    for channel in &channels {
        for size in [0, 1, 2, 3, 1132, 1160, 1161, 1200, 1201, 2400, 16_385, 65_536, ITS_LARGEST] {
            echo(channel, pattern(7, size).into()).await;
            echo(channel, Message::Text("ä".repeat(size / 2))).await;
        }
        for text in ["\0", "☃", "🦀 žluťoučký kůň"] {
            echo(channel, text.into()).await;
        }
        let refused = channel.send(vec![0; ITS_LARGEST + 1]).await;
        assert_eq!(refused, Err(SendError::TooLarge { size: ITS_LARGEST + 1, limit: ITS_LARGEST as u64 }));
    }
    // Many at once, of which the unordered may come in any order.
    for channel in &channels {
        let mut sent: Vec<Message> = (0..300)
            .map(|i| match i % 3 {
                0 => Message::from(format!("{i} {}", "x".repeat(i * 7 % 3000))),
                _ => Message::from(pattern(i as u32 + 1, i * 11 % 3000)),
            })
            .collect();
        for message in &sent {
            within("sending", channel.send(message.clone())).await.expect("an open channel");
        }
        let mut back = Vec::new();
        while back.len() < sent.len() {
            back.push(within("an echo", channel.recv()).await.expect("an open channel"));
        }
        if !channel.ordered() {
            sent.sort_by(|x, y| x.as_bytes().cmp(y.as_bytes()));
            back.sort_by(|x, y| x.as_bytes().cmp(y.as_bytes()));
        }
        assert!(sent == back, "on {}", channel.label());
    }
}

async fn channels_close_from_both_sides_and_their_ids_are_used_again(offers: Offers) {
    let (mut both, ours) = Both::connect(offers, json!([{ "label": "theirs" }])).await;
    let theirs = both.channel("theirs").await;
    let id = ours.id();
    // What is sent right before a close arrives, and comes back before the other direction is closed.
    within("sending", ours.send("last")).await.expect("an open channel");
    ours.close();
    assert_eq!(within("the echo", ours.recv()).await, Some("last".into()));
    both.python.hear("closed", |label| label == "ours").await;
    within("the end", ours.closed()).await;
    assert_eq!(ours.ready_state(), DataChannelState::Closed);
    assert_eq!(within("the end", ours.recv()).await, None);

    both.python.tell(json!({ "do": "send", "label": "theirs", "text": "goodbye" }));
    both.python.tell(json!({ "do": "close", "label": "theirs" }));
    assert_eq!(within("the last message", theirs.recv()).await, Some("goodbye".into()));
    assert_eq!(within("the end", theirs.recv()).await, None);
    within("the end", theirs.closed()).await;
    both.python.hear("closed", |label| label == "theirs").await;

    for round in 0..5 {
        let label = format!("again {round}");
        let again = both.connection.create_data_channel(&label, DataChannelOptions::default());
        let again = again.expect("a channel");
        within("another channel", again.opened()).await.expect("open");
        assert_eq!(again.id(), id, "round {round}");
        echo(&again, label.as_str().into()).await;
        again.close();
        within("the end", again.closed()).await;
        both.python.hear("closed", |closed| *closed == label).await;
    }
}

async fn a_connection_closed_by_python_ends_here(offers: Offers) {
    let (mut both, ours) = Both::connect(offers, json!([{ "label": "theirs" }])).await;
    let theirs = both.channel("theirs").await;
    both.python.tell(json!({ "do": "hang up" }));
    let reason = both.closed().await;
    // It sends an ABORT without a cause (RFC 9260 §3.3.7), which says no more than that it is over.
    assert!(matches!(reason, CloseReason::Sctp(_) | CloseReason::Peer), "{reason:?}");
    for channel in [ours, theirs] {
        within("the end", channel.closed()).await;
    }
}

async fn a_connection_closed_here_ends_in_python(offers: Offers) {
    let (mut both, ours) = Both::connect(offers, json!([{ "label": "theirs" }])).await;
    within("sending", ours.send("goodbye")).await.expect("an open channel");
    within("closing", both.connection.close()).await;
    assert!(matches!(both.closed().await, CloseReason::Local));
    for label in ["ours", "theirs"] {
        both.python.hear("closed", |closed| closed == label).await;
    }
    both.python.hear("state", |state| state == "closed").await;
}

macro_rules! both_ways {
    ($($test:ident)*) => {
        mod aiortc_offers {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Offers::Python).await;
            })*
        }
        mod aiortc_answers {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Offers::We).await;
            })*
        }
    };
}

both_ways! {
    options_are_seen_by_both
    messages_of_every_kind_come_back
    channels_close_from_both_sides_and_their_ids_are_used_again
    a_connection_closed_by_python_ends_here
    a_connection_closed_here_ends_in_python
}
