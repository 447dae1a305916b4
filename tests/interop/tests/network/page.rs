//! A page and an end of ours with a configuration of its own, and what of their candidates reaches the other side.

use std::time::Duration;

use serde_json::{Value, json};
use sinnet::{
    DataChannel, DataChannelOptions, Endpoint, EndpointConfig, IceCandidate, PeerConfig, PeerConnection,
    PeerEvent, SessionDescription,
};
use sinnet_interop::lab::Lab;
use sinnet_interop::net::Side;
use sinnet_interop::session::{Cell, Offers};
use sinnet_interop::tab::{Tab, plain_channels};
use tokio::sync::{mpsc, oneshot};

/// Which candidates arrive. The descriptions have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    All,
    OnlyTheirs,
    OnlyOurs,
}

/// What was signalled by each side, whether it arrived or not.
#[derive(Default, Debug)]
pub(crate) struct Said {
    pub(crate) ours: Vec<String>,
    pub(crate) theirs: Vec<String>,
}

/// The two ends. The page has opened the channel, and sends back what it gets.
pub(crate) struct Talk {
    pub(crate) tab: Tab,
    pub(crate) connection: PeerConnection,
    pub(crate) channel: DataChannel,
    pub(crate) said: Said,
    said_by_us: mpsc::UnboundedReceiver<String>,
    said_by_them: mpsc::UnboundedReceiver<String>,
    _thread: oneshot::Sender<()>,
}

/// Connects a page with an end of ours.
pub(crate) async fn talk(lab: &mut Lab, cell: Cell, config: EndpointConfig, passes: Passes) -> Talk {
    let mut tab = Tab::open(lab.browser(cell.kind, cell.privacy).await).await;
    let offers = cell.offers == Offers::TheBrowser;
    tab.ask("start", json!([{ "offer": offers, "open": plain_channels(&["theirs"]) }])).await;
    let (mut from_page, to_page) = (tab.take_lines().expect("taken once"), tab.input());
    let (ours, said_by_us) = mpsc::unbounded_channel();
    let (theirs, said_by_them) = mpsc::unbounded_channel();
    let (made, connection) = oneshot::channel();
    let (thread, stop) = oneshot::channel::<()>();
    lab.net.spawn(Side::Peer, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let endpoint = Endpoint::new(config).await.expect("an endpoint");
            let connection = endpoint.peer_connection(PeerConfig::default()).expect("a connection");
            let channel =
                connection.create_data_channel("ours", DataChannelOptions::default()).expect("a channel");
            if !offers {
                let offer = connection.create_offer().expect("an offer");
                to_page.send(json!({ "type": "offer", "sdp": offer.sdp })).expect("the page");
                connection.set_local_description(offer).expect("our own offer");
            }
            let (events, out) = (connection.clone(), to_page.clone());
            tokio::spawn(async move {
                while let Some(event) = events.next_event().await {
                    let PeerEvent::IceCandidate(Some(c)) = event else { continue };
                    let _ = ours.send(c.candidate.clone());
                    if passes != Passes::OnlyTheirs {
                        let _ = out.send(json!({
                            "type": "candidate", "candidate": c.candidate, "sdpMid": c.sdp_mid,
                            "sdpMLineIndex": c.sdp_m_line_index,
                        }));
                    }
                }
            });
            let accepting = connection.clone();
            tokio::spawn(async move {
                while let Some(line) = from_page.recv().await {
                    accept(&accepting, &line, &to_page, &theirs, passes);
                }
            });
            let _ = made.send((connection, channel));
            let _ = stop.await;
        });
    });
    let (connection, channel) = connection.await.expect("a connection");
    Talk { tab, connection, channel, said: Said::default(), said_by_us, said_by_them, _thread: thread }
}

fn accept(
    connection: &PeerConnection,
    line: &Value,
    to_page: &mpsc::UnboundedSender<Value>,
    theirs: &mpsc::UnboundedSender<String>,
    passes: Passes,
) {
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    // Browsers put what they have gathered early into descriptions.
    let bare = |sdp: String| {
        let (candidates, rest): (Vec<_>, Vec<_>) =
            sdp.split_inclusive('\n').partition(|line| line.starts_with("a=candidate"));
        candidates.iter().for_each(|line| drop(theirs.send(line.trim().to_owned())));
        let rest = rest.into_iter().filter(|line| !line.starts_with("a=end-of-candidates"));
        if passes == Passes::OnlyOurs { rest.collect() } else { sdp }
    };
    match line["type"].as_str() {
        Some("offer") => {
            let offer = SessionDescription::offer(bare(text("sdp")));
            connection.set_remote_description(offer).expect("the browser's offer");
            let answer = connection.create_answer().expect("an answer");
            let _ = to_page.send(json!({ "type": "answer", "sdp": answer.sdp }));
            connection.set_local_description(answer).expect("our own answer");
        }
        Some("answer") => {
            let answer = SessionDescription::answer(bare(text("sdp")));
            connection.set_remote_description(answer).expect("the browser's answer");
        }
        Some("candidate") => {
            let _ = theirs.send(text("candidate"));
            if passes != Passes::OnlyOurs {
                let candidate = IceCandidate {
                    candidate: text("candidate"),
                    sdp_mid: line["sdpMid"].as_str().map(str::to_owned),
                    sdp_m_line_index: line["sdpMLineIndex"].as_u64().and_then(|index| index.try_into().ok()),
                };
                connection.add_ice_candidate(candidate).expect("the browser's candidate");
            }
        }
        _ => {}
    }
}

impl Talk {
    /// Waits until the channel has carried a message there and back.
    pub(crate) async fn echoes(&mut self) {
        let opened = tokio::time::timeout(Duration::from_secs(60), self.channel.opened()).await;
        opened.unwrap_or_else(|_| panic!("not open within a minute\n{}", self.describe())).expect("open");
        self.tab.ask("reflect", json!(["ours"])).await;
        self.echo().await;
        while let Ok(line) = self.said_by_us.try_recv() {
            self.said.ours.push(line);
        }
        while let Ok(line) = self.said_by_them.try_recv() {
            self.said.theirs.push(line);
        }
    }

    /// Sends a message and waits for it to come back, for a minute.
    pub(crate) async fn echo(&self) {
        let there_and_back = async {
            self.channel.send("hello").await.expect("an open channel");
            self.channel.recv().await
        };
        let back = tokio::time::timeout(Duration::from_secs(60), there_and_back).await;
        let back = back.unwrap_or_else(|_| panic!("nothing comes back within a minute\n{}", self.describe()));
        assert_eq!(back, Some("hello".into()));
    }

    pub(crate) fn describe(&self) -> String {
        let pairs: Vec<String> =
            self.connection.candidate_pairs().iter().map(|pair| format!("  {:?}", pair.ice)).collect();
        format!("{}\n  {:?}", pairs.join("\n"), self.connection.stats().ice)
    }
}
