//! A [`PeerConnection`] in the peer's namespace, connected to a page.

use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};
use sinnet::{
    CloseReason, DataChannel, DataChannelOptions, Endpoint, EndpointConfig, IceCandidate, PeerConfig,
    PeerConnection, PeerEvent, SessionDescription,
};
use sinnet_interop::AT_ONCE;
use sinnet_interop::lab::Lab;
use sinnet_interop::net::Side;
use sinnet_interop::session::{Cell, Offers};
use sinnet_interop::tab::Tab;
use tokio::sync::{mpsc, oneshot};

use crate::relay::{self, BadNetwork};

/// The native end of a test.
pub(crate) struct Native {
    /// The connection.
    pub(crate) connection: PeerConnection,
    /// The channels that it was made with, in order.
    pub(crate) ours: Vec<DataChannel>,
    arrived: mpsc::UnboundedReceiver<DataChannel>,
    waiting: Vec<DataChannel>,
    closed: oneshot::Receiver<CloseReason>,
    /// Dropped, it ends the thread that owns the sockets.
    _thread: oneshot::Sender<()>,
}

/// `future`'s output, within a minute.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(Duration::from_secs(60), future).await;
    output.unwrap_or_else(|_| panic!("{what}: not within a minute"))
}

/// Connects a page with the channels `theirs` and the library with plain channels of the labels `ours`.
pub(crate) async fn start(lab: &mut Lab, cell: Cell, theirs: Value, ours: &[&str]) -> (Tab, Native) {
    let ours: Vec<_> =
        ours.iter().map(|label| ((*label).to_owned(), DataChannelOptions::default())).collect();
    start_with(lab, cell, theirs, ours, None).await
}

/// As [`start`], with channels of any options, and over a bad network if there is one.
pub(crate) async fn start_with(
    lab: &mut Lab,
    cell: Cell,
    theirs: Value,
    ours: Vec<(String, DataChannelOptions)>,
    bad: Option<BadNetwork>,
) -> (Tab, Native) {
    let mut tab = Tab::open(lab.browser(cell.kind, cell.privacy).await).await;
    let offers = cell.offers == Offers::TheBrowser;
    tab.ask("start", json!([{ "offer": offers, "open": theirs }])).await;

    let (mut from_page, mut to_page) = (tab.take_lines().expect("taken once"), tab.input());
    let (arrivals, arrived) = mpsc::unbounded_channel();
    let (end, closed) = oneshot::channel();
    let (made, connection) = oneshot::channel();
    let (thread, stop) = oneshot::channel::<()>();
    // Sockets belong to the namespace of the thread that makes them, and so does the list of interfaces.
    lab.net.spawn(Side::Peer, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let endpoint = Endpoint::new(EndpointConfig::default()).await.expect("an endpoint");
            let connection = endpoint.peer_connection(PeerConfig::default()).expect("a connection");
            let ours = ours
                .into_iter()
                .map(|(label, options)| connection.create_data_channel(&label, options).expect("a channel"));
            let ours: Vec<DataChannel> = ours.collect();
            if let Some(bad) = bad {
                (from_page, to_page) = relay::put_between(bad, from_page, to_page).await;
            }
            if !offers {
                let offer = connection.create_offer().expect("an offer");
                to_page.send(json!({ "type": "offer", "sdp": offer.sdp })).expect("the page");
                connection.set_local_description(offer).expect("our own offer");
            }
            let _ = made.send((connection.clone(), ours));
            tokio::spawn(accept(connection.clone(), from_page, to_page.clone()));
            tokio::spawn(events(connection, to_page, arrivals, end));
            let _ = stop.await;
        });
    });
    let (connection, ours) = connection.await.expect("a connection");
    (tab, Native { connection, ours, arrived, waiting: Vec::new(), closed, _thread: thread })
}

/// Gives the page's lines to the connection.
async fn accept(
    connection: PeerConnection,
    mut from_page: mpsc::UnboundedReceiver<Value>,
    to_page: mpsc::UnboundedSender<Value>,
) {
    while let Some(line) = from_page.recv().await {
        accept_line(&connection, &line, &to_page);
    }
}

fn accept_line(connection: &PeerConnection, line: &Value, to_page: &mpsc::UnboundedSender<Value>) {
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    match line["type"].as_str() {
        Some("offer") => {
            let offer = SessionDescription::offer(text("sdp"));
            connection.set_remote_description(offer).expect("the browser's offer");
            let answer = connection.create_answer().expect("an answer");
            // In this order: candidates come as soon as it is set, and must not overtake it.
            let _ = to_page.send(json!({ "type": "answer", "sdp": answer.sdp }));
            connection.set_local_description(answer).expect("our own answer");
        }
        Some("answer") => {
            let answer = SessionDescription::answer(text("sdp"));
            connection.set_remote_description(answer).expect("the browser's answer");
        }
        Some("candidate") => {
            let candidate = IceCandidate {
                candidate: text("candidate"),
                sdp_mid: line["sdpMid"].as_str().map(str::to_owned),
                sdp_m_line_index: line["sdpMLineIndex"].as_u64().and_then(|index| index.try_into().ok()),
            };
            connection.add_ice_candidate(candidate).expect("the browser's candidate");
        }
        _ => connection.add_ice_candidate(IceCandidate::default()).expect("the end of candidates"),
    }
}

/// Takes the connection's events until its end.
async fn events(
    connection: PeerConnection,
    to_page: mpsc::UnboundedSender<Value>,
    arrivals: mpsc::UnboundedSender<DataChannel>,
    end: oneshot::Sender<CloseReason>,
) {
    while let Some(event) = connection.next_event().await {
        match event {
            PeerEvent::IceCandidate(Some(c)) => {
                let line = json!({
                    "type": "candidate", "candidate": c.candidate, "sdpMid": c.sdp_mid, "sdpMLineIndex": c.sdp_m_line_index,
                });
                let _ = to_page.send(line);
            }
            PeerEvent::IceCandidate(None) => drop(to_page.send(json!({ "type": "end-of-candidates" }))),
            PeerEvent::DataChannel(channel) => drop(arrivals.send(channel)),
            PeerEvent::Closed(reason) => {
                let _ = end.send(reason);
                return;
            }
            _ => {}
        }
    }
}

impl Native {
    /// The next channel of that label which the browser opened.
    pub(crate) async fn channel(&mut self, label: &str) -> DataChannel {
        if let Some(at) = self.waiting.iter().position(|channel| channel.label() == label) {
            return self.waiting.remove(at);
        }
        let looking = async {
            while let Some(channel) = self.arrived.recv().await {
                if channel.label() == label {
                    return channel;
                }
                self.waiting.push(channel);
            }
            panic!("the connection ended before the browser opened {label}");
        };
        within(&format!("channel {label} from the browser"), looking).await
    }

    /// Opens another channel.
    pub(crate) fn open(&self, label: &str, options: DataChannelOptions) -> DataChannel {
        self.connection.create_data_channel(label, options).expect("a channel")
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&mut self, limit: Duration) -> CloseReason {
        let closed = tokio::time::timeout(limit, &mut self.closed).await;
        closed.expect("the connection's end in time").expect("the last event")
    }

    /// The browser hangs up, which must end the connection in order.
    pub(crate) async fn end(mut self, tab: Tab) {
        tab.ask("hangUp", json!([])).await;
        let reason = self.ended(AT_ONCE).await;
        assert!(reason.is_orderly(), "the reason: {reason}");
        tab.close().await;
    }
}
