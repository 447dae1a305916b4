//! An end of ours on a host, which sends numbered messages all the time and hashes what it sends and takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};
use sinnet::{
    DataChannel, DataChannelOptions, Endpoint, EndpointConfig, IceCandidate, Message, PeerConfig,
    PeerConnection, PeerEvent, SessionDescription,
};
use sinnet_interop::namespace::Namespace;
use tokio::sync::{mpsc, oneshot};

use crate::two_ways::{Interface, TwoWays};

const MESSAGE: usize = 16_000;

/// How long anything may take on a machine under load; less than the time after which a connection gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "real networks, in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What one side tells the other.
enum Signal {
    Offer(SessionDescription),
    Answer(SessionDescription),
    Candidate(Option<IceCandidate>),
}

pub(crate) struct End {
    pub(crate) connection: PeerConnection,
    /// Messages that have arrived.
    arrived: mpsc::UnboundedReceiver<Instant>,
    /// Messages so far, in [`End::arrived`] or taken from it.
    count: Arc<AtomicUsize>,
    sending: Arc<AtomicBool>,
    /// What was sent, and what has come, when the other side has sent its last.
    sent: oneshot::Receiver<Vec<u8>>,
    got: oneshot::Receiver<Vec<u8>>,
    _thread: oneshot::Sender<()>,
}

/// Two ends, the first of which offers and so controls, each sending to the other.
pub(crate) async fn pair(world: &TwoWays, config: &EndpointConfig) -> [End; 2] {
    let (to_b, from_a) = mpsc::unbounded_channel();
    let (to_a, from_b) = mpsc::unbounded_channel();
    let b = end(world.host(1), config.clone(), false, to_a, from_a).await;
    let a = end(world.host(0), config.clone(), true, to_b, from_b).await;
    [a, b]
}

async fn end(
    host: &Namespace,
    config: EndpointConfig,
    offers: bool,
    to_other: mpsc::UnboundedSender<Signal>,
    from_other: mpsc::UnboundedReceiver<Signal>,
) -> End {
    let (made, connection) = oneshot::channel();
    let (thread, stop) = oneshot::channel::<()>();
    let (note, arrived) = mpsc::unbounded_channel();
    let (hash_sent, sent) = oneshot::channel();
    let (hash_got, got) = oneshot::channel();
    let sending = Arc::new(AtomicBool::new(true));
    let count = Arc::new(AtomicUsize::new(0));
    let (goes_on, counts) = (sending.clone(), count.clone());
    host.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let endpoint = Endpoint::new(config).await.expect("an endpoint");
            let connection = endpoint.peer_connection(PeerConfig::default()).expect("a connection");
            let options = DataChannelOptions { negotiated: Some(0), ..Default::default() };
            let channel = connection.create_data_channel("data", options).expect("a channel");
            if offers {
                let offer = connection.create_offer().expect("an offer");
                let _ = to_other.send(Signal::Offer(offer.clone()));
                connection.set_local_description(offer).expect("our own offer");
            }
            tokio::spawn(signals(connection.clone(), to_other.clone(), from_other));
            tokio::spawn(events(connection.clone(), to_other));
            tokio::spawn(send(channel.clone(), goes_on, hash_sent));
            tokio::spawn(receive(channel, note, counts, hash_got));
            let _ = made.send(connection);
            let _ = stop.await;
        });
    });
    let connection = connection.await.expect("a connection");
    End { connection, arrived, count, sending, sent, got, _thread: thread }
}

async fn signals(
    connection: PeerConnection,
    answers: mpsc::UnboundedSender<Signal>,
    mut from_other: mpsc::UnboundedReceiver<Signal>,
) {
    while let Some(signal) = from_other.recv().await {
        match signal {
            Signal::Offer(offer) => {
                connection.set_remote_description(offer).expect("an offer");
                let answer = connection.create_answer().expect("an answer");
                let _ = answers.send(Signal::Answer(answer.clone()));
                connection.set_local_description(answer).expect("our own answer");
            }
            Signal::Answer(answer) => connection.set_remote_description(answer).expect("an answer"),
            Signal::Candidate(candidate) => {
                let _ = connection.add_ice_candidate(candidate.unwrap_or_default());
            }
        }
    }
}

async fn events(connection: PeerConnection, to_other: mpsc::UnboundedSender<Signal>) {
    while let Some(event) = connection.next_event().await {
        match event {
            PeerEvent::IceCandidate(candidate) => drop(to_other.send(Signal::Candidate(candidate))),
            PeerEvent::Closed(reason) => println!("closed: {reason}"),
            _ => {}
        }
    }
}

/// Some megabytes a second, so that a path that ends always has something on its way.
async fn send(channel: DataChannel, goes_on: Arc<AtomicBool>, hash_sent: oneshot::Sender<Vec<u8>>) {
    let mut hash = Context::new(&SHA256);
    let mut message = vec![0; MESSAGE];
    while goes_on.load(Ordering::Relaxed) {
        fastrand::fill(&mut message);
        hash.update(&message);
        channel.send(message.clone()).await.expect("an open channel");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    channel.send("the end").await.expect("an open channel");
    let _ = hash_sent.send(hash.finish().as_ref().to_vec());
}

async fn receive(
    channel: DataChannel,
    note: mpsc::UnboundedSender<Instant>,
    count: Arc<AtomicUsize>,
    hash_got: oneshot::Sender<Vec<u8>>,
) {
    let mut hash = Context::new(&SHA256);
    while let Some(message) = channel.recv().await {
        match message {
            Message::Binary(bytes) => hash.update(&bytes),
            _ => {
                let _ = hash_got.send(hash.finish().as_ref().to_vec());
                return;
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
        let _ = note.send(now());
    }
}

impl End {
    /// The interface of ours that the path in use leaves from.
    pub(crate) async fn interface(&self) -> Interface {
        self.until("a path", |connection| connection.selected_path().is_some()).await;
        Interface::of(self.connection.selected_path().expect("a path").local.ip())
    }

    /// Waits for something to become so.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&PeerConnection) -> bool) {
        let waiting = async {
            while !so(&self.connection) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{what}: not within a minute\n{}", self.describe());
        }
    }

    /// Waits until so many more messages have come, and says for how long none did at the longest, from now on.
    pub(crate) async fn more(&mut self, messages: usize) -> Duration {
        while self.arrived.try_recv().is_ok() {}
        let (mut got, mut gap, mut last) = (0, Duration::ZERO, now());
        while got < messages {
            match tokio::time::timeout(PATIENCE, self.arrived.recv()).await {
                Ok(Some(at)) => {
                    gap = gap.max(at.saturating_duration_since(last));
                    last = at;
                    got += 1;
                }
                _ => panic!("{got} messages, and no more\n{}", self.describe()),
            }
        }
        gap
    }

    pub(crate) fn describe(&self) -> String {
        let pairs: Vec<String> =
            self.connection.candidate_pairs().iter().map(|pair| format!("  {:?}", pair.ice)).collect();
        let local: Vec<_> = self.connection.local_candidates().iter().map(|c| c.address).collect();
        let remote: Vec<_> = self.connection.remote_candidates().iter().map(|c| c.address).collect();
        format!(
            "{} messages, {:?}, selected {:?}\n  local {local:?}\n  remote {remote:?}\n{}\n  {:?}",
            self.count.load(Ordering::Relaxed),
            self.connection.ice_connection_state(),
            self.connection.selected_path(),
            pairs.join("\n"),
            self.connection.stats().ice
        )
    }
}

/// Both send their last message: nothing is lost and nothing changed.
pub(crate) async fn finish(ends: [End; 2]) {
    for end in &ends {
        end.sending.store(false, Ordering::Relaxed);
    }
    let [mut a, mut b] = ends;
    for (from, to) in [(&mut a.sent, &mut b.got), (&mut b.sent, &mut a.got)] {
        let hashes = tokio::time::timeout(PATIENCE, async { (from.await, to.await) }).await;
        let (sent, got) = hashes.expect("the last message in time");
        assert_eq!(sent.expect("all is sent"), got.expect("all has come"), "the data is whole");
    }
    assert!(a.count.load(Ordering::Relaxed) > 0 && b.count.load(Ordering::Relaxed) > 0);
}
