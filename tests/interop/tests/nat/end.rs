//! Connections on hosts of the lab, with their signalling passed on in the process: to one of ours or to a page.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use sinnet::{
    ConnectionState, DataChannel, DataChannelOptions, Endpoint, EndpointConfig, IceCandidate,
    IceCandidateError, IceServer, IceTransportPolicy, PeerConfig, PeerConnection, PeerEvent, Politeness,
    Received, SessionDescription,
};
use sinnet_interop::nat_lab::{Host, SECOND_SERVER, SERVER};
use sinnet_interop::tab::Tab;
use tokio::sync::{mpsc, watch};

use crate::servers::{By, Over, Servers, ice_server};

/// How long anything may take on a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "real networks, in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// `future`'s output, within a minute.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(PATIENCE, future).await;
    output.unwrap_or_else(|_| panic!("{what}: not within a minute"))
}

/// What has happened to a connection.
#[derive(Default)]
struct Diary {
    states: Vec<ConnectionState>,
    errors: Vec<IceCandidateError>,
    candidates: Vec<String>,
    gathered: bool,
}

/// One end.
pub(crate) struct End {
    pub(crate) connection: PeerConnection,
    /// Carries data both ways. Negotiated, so that both have it at once.
    pub(crate) channel: DataChannel,
    /// How often this end has been in the state connected, and when it was for the first time.
    connected: watch::Receiver<Option<Instant>>,
    diary: Arc<Mutex<Diary>>,
}

/// How the two are made.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) endpoint: EndpointConfig,
    pub(crate) peer: PeerConfig,
    /// How long the offer takes to the other end. Candidates follow it.
    pub(crate) offer_delay: Duration,
}

impl Way {
    /// Over IPv4, asking these servers.
    pub(crate) fn asking(servers: &[&str]) -> Self {
        let ice_servers = servers.iter().map(|url| IceServer::stun(url.parse().expect("a URL"))).collect();
        let bind = vec!["0.0.0.0:0".parse().expect("an address")];
        Self {
            endpoint: EndpointConfig { bind, ice_servers, ..Default::default() },
            peer: PeerConfig::default(),
            offer_delay: Duration::ZERO,
        }
    }
}

impl Way {
    /// As now, with a TURN server besides.
    pub(crate) fn and_turn(mut self, servers: &Servers, by: By, over: &[Over]) -> Self {
        self.endpoint.ice_servers.push(ice_server(by, over));
        self.endpoint.tls = Some(servers.tls.clone());
        self
    }

    /// As now, by relays only.
    pub(crate) fn relayed(mut self) -> Self {
        self.peer.ice_transport_policy = IceTransportPolicy::Relay;
        self
    }
}

/// Two ends that have begun to look for each other. The first one offers.
pub(crate) async fn begin(hosts: [&Host; 2], ways: [Way; 2]) -> [End; 2] {
    let (to_b, from_a) = mpsc::unbounded_channel();
    let (to_a, from_b) = mpsc::unbounded_channel();
    let [a_way, b_way] = ways;
    // The answerer first: it waits for the offer.
    let b = hosts[1].run(end(b_way, false, to_a, from_a)).await;
    let a = hosts[0].run(end(a_way, true, to_b, from_b)).await;
    [a, b]
}

/// One end on a host, and a page that has been started and waits for lines if it doesn't offer.
pub(crate) async fn begin_with_page(tab: &mut Tab, host: &Host, way: Way, page_offers: bool) -> End {
    let from_page = tab.take_lines().expect("taken once");
    host.run(end(way, !page_offers, tab.input(), from_page)).await
}

/// Where lines for the other side go: those of `page.js`.
type Lines = mpsc::UnboundedSender<Value>;

fn description_line(description: &SessionDescription) -> Value {
    json!({ "type": description.kind.to_string(), "sdp": description.sdp })
}

fn candidate_line(candidate: Option<IceCandidate>) -> Value {
    match candidate {
        None => json!({ "type": "end-of-candidates" }),
        Some(candidate) => json!({
            "type": "candidate",
            "candidate": candidate.candidate,
            "sdpMid": candidate.sdp_mid,
            "sdpMLineIndex": candidate.sdp_m_line_index,
        }),
    }
}

/// Gives a line of the other side to the connection. One that has ended takes nothing.
fn take(connection: &PeerConnection, line: &Value, politeness: Politeness, answers: &Lines) {
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let description = match line["type"].as_str() {
        Some("offer") => SessionDescription::offer(text("sdp")),
        Some("answer") => SessionDescription::answer(text("sdp")),
        _ => {
            let candidate = IceCandidate {
                candidate: text("candidate"),
                sdp_mid: line["sdpMid"].as_str().map(str::to_owned),
                sdp_m_line_index: line["sdpMLineIndex"].as_u64().and_then(|index| index.try_into().ok()),
            };
            let _ = connection.add_ice_candidate(candidate);
            return;
        }
    };
    if let Ok(Received::AnswerDue) = connection.receive_description(description, politeness) {
        let answer = connection.create_answer().expect("an answer");
        // In this order: candidates come as soon as it is set, and must not overtake it.
        let _ = answers.send(description_line(&answer));
        connection.set_local_description(answer).expect("our own answer");
    }
}

async fn end(way: Way, offers: bool, to_other: Lines, mut from_other: mpsc::UnboundedReceiver<Value>) -> End {
    let endpoint = Endpoint::new(way.endpoint).await.expect("an endpoint");
    let connection = endpoint.peer_connection(way.peer).expect("a connection");
    let options = DataChannelOptions { negotiated: Some(0), ..Default::default() };
    let channel = connection.create_data_channel("data", options).expect("a channel");
    let (connect, connected) = watch::channel(None);
    let diary: Arc<Mutex<Diary>> = Arc::default();
    let politeness = if offers { Politeness::Impolite } else { Politeness::Polite };
    let (signals, answers) = (connection.clone(), to_other.clone());
    tokio::spawn(async move {
        if !offers {
            tokio::time::sleep(way.offer_delay).await;
        }
        while let Some(line) = from_other.recv().await {
            take(&signals, &line, politeness, &answers);
        }
    });
    let (events, notes) = (connection.clone(), diary.clone());
    tokio::spawn(async move {
        while let Some(event) = events.next_event().await {
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                PeerEvent::IceCandidate(candidate) => {
                    notes.gathered |= candidate.is_none();
                    notes.candidates.extend(candidate.iter().map(|candidate| candidate.candidate.clone()));
                    let _ = to_other.send(candidate_line(candidate));
                }
                // The channel alone is no reason for the answerer to offer, too.
                PeerEvent::NegotiationNeeded if offers || events.local_description().is_some() => {
                    let offer = events.create_offer().expect("an offer");
                    let _ = to_other.send(description_line(&offer));
                    events.set_local_description(offer).expect("our own offer");
                }
                PeerEvent::IceCandidateError(error) => notes.errors.push(error),
                PeerEvent::ConnectionStateChange(state) => {
                    notes.states.push(state);
                    if state == ConnectionState::Connected && connect.borrow().is_none() {
                        connect.send_replace(Some(now()));
                    }
                }
                _ => {}
            }
        }
    });
    End { connection, channel, connected, diary }
}

impl End {
    /// When it was connected; `None` if it failed.
    pub(crate) async fn connected(&mut self) -> Option<Instant> {
        let connected = within("a connection or none", self.connected.wait_for(Option::is_some)).await;
        connected.ok().and_then(|at| *at)
    }

    /// Waits until ICE has chosen a path.
    pub(crate) async fn selected(&self) {
        while self.connection.selected_path().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all candidates are known.
    pub(crate) async fn gathered(&self) {
        while !self.diary().gathered {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the path in use leads over a relay, ours or the peer's.
    pub(crate) fn is_relayed(&self) -> bool {
        let path = self.connection.selected_path().expect("a path");
        [path.local.ip(), path.remote.ip()].iter().any(is_server)
    }

    pub(crate) fn states(&self) -> Vec<ConnectionState> {
        self.diary().states.clone()
    }

    pub(crate) fn errors(&self) -> Vec<IceCandidateError> {
        self.diary().errors.clone()
    }

    pub(crate) fn candidates(&self) -> Vec<String> {
        self.diary().candidates.clone()
    }

    fn diary(&self) -> std::sync::MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All there is to say of it, for a test that fails.
    pub(crate) fn describe(&self) -> String {
        let pairs: Vec<String> =
            self.connection.candidate_pairs().iter().map(|pair| format!("  {:?}", pair.ice)).collect();
        let Diary { states, errors, candidates, .. } = &*self.diary();
        format!(
            "{states:?}, errors {errors:?}\n  candidates {candidates:#?}\n{}\n  {:?}",
            pairs.join("\n"),
            self.connection.stats()
        )
    }
}

/// Waits until both ends are connected, and know by which path.
pub(crate) async fn settled(ends: &mut [End; 2]) {
    for end in &mut *ends {
        let up = end.connected().await;
        assert!(up.is_some(), "{}", end.describe());
    }
    for end in &*ends {
        within("a path", end.selected()).await;
    }
}

fn is_server(ip: &IpAddr) -> bool {
    [IpAddr::V4(SERVER), IpAddr::V4(SECOND_SERVER)].contains(ip)
}

/// Bytes of a message in a transfer.
const MESSAGE: usize = 16_000;

/// Sends so many messages from one end to the other: all arrive, in order and whole.
pub(crate) async fn transfer(from: &End, to: &End, messages: usize) {
    pass(&from.channel, &to.channel, messages).await;
}

/// Sends so many messages to a peer that sends them back: all return, in order and whole.
pub(crate) async fn echo(end: &End, messages: usize) {
    pass(&end.channel, &end.channel, messages).await;
}

async fn pass(sender: &DataChannel, receiver: &DataChannel, messages: usize) {
    let sending = async {
        let mut hash = Context::new(&SHA256);
        let mut message = vec![0; MESSAGE];
        for _ in 0..messages {
            fastrand::fill(&mut message);
            hash.update(&message);
            sender.send(message.clone()).await.expect("an open channel");
        }
        hash.finish()
    };
    let receiving = async {
        let mut hash = Context::new(&SHA256);
        for arrived in 0..messages {
            let message = tokio::time::timeout(PATIENCE, receiver.recv()).await;
            let message = message.unwrap_or_else(|_| panic!("{arrived} of {messages} messages, and no more"));
            let message = message.unwrap_or_else(|| panic!("closed after {arrived} of {messages} messages"));
            hash.update(message.as_bytes());
        }
        hash.finish()
    };
    let (sent, received) = tokio::join!(sending, receiving);
    assert_eq!(sent.as_ref(), received.as_ref(), "the data is whole");
}
