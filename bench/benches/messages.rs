//! What a message costs from one application to another: handles, driver, the whole stack, the sockets. Two endpoints on
//! 127.0.0.1, each in a thread of its own; processor time of each thread per message.
//!
//! `cargo bench -p sinnet-bench --bench messages [-- CHANNELS [MESSAGES]]`. With MESSAGES each case sends so many and not for a time,
//! for callgrind: `--separate-threads=yes --toggle-collect='*driver*turn*'` and the like.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use sinnet::{
    DataChannel, DataChannelOptions, Endpoint, PeerConnection, PeerEvent, Reliability, SessionDescription,
};
use sinnet_bench::cpu_time;
use tokio::runtime::Builder;
use tokio::sync::oneshot::{Receiver, Sender, channel};

/// How long each case is measured.
const TURN: Duration = Duration::from_millis(1500);

/// One kind of traffic.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    size: usize,
    is_reliable: bool,
}

const CASES: [Case; 4] = [
    Case { name: "100 B, unordered, unreliable", size: 100, is_reliable: false },
    Case { name: "100 B, ordered, reliable", size: 100, is_reliable: true },
    Case { name: "1 KiB, ordered, reliable", size: 1024, is_reliable: true },
    Case { name: "16 KiB, ordered, reliable", size: 16_384, is_reliable: true },
];

/// What both threads know of a case.
struct Shared {
    case: Case,
    channels: usize,
    /// To send, if it is not for a time.
    messages: Option<u64>,
    stop: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    begin: Barrier,
    end: Barrier,
}

async fn connection() -> (Endpoint, PeerConnection) {
    let endpoint = Endpoint::bind("127.0.0.1:0").await.expect("an endpoint");
    let connection = endpoint.peer_connection(Default::default()).expect("a connection");
    (endpoint, connection)
}

async fn send(
    shared: Arc<Shared>,
    offer: Sender<SessionDescription>,
    answer: Receiver<SessionDescription>,
) -> f64 {
    let (_endpoint, connection) = connection().await;
    let reliability =
        if shared.case.is_reliable { Reliability::Reliable } else { Reliability::MaxRetransmits(0) };
    let options = DataChannelOptions { ordered: shared.case.is_reliable, reliability, ..Default::default() };
    let channels: Vec<DataChannel> = (0..shared.channels)
        .map(|_| connection.create_data_channel("", options.clone()).expect("a channel"))
        .collect();
    connection.set_local_description(connection.create_offer().expect("an offer")).expect("our own");
    offer.send(connection.local_description().expect("our own")).expect("the other end lives");
    connection.set_remote_description(answer.await.expect("an answer")).expect("a good answer");
    for channel in &channels {
        channel.opened().await.expect("an open channel");
    }
    let payload = Bytes::from(vec![7; shared.case.size]);
    let share = shared.messages.map(|messages| messages / shared.channels as u64);
    // All tasks of this thread are timed together: the driver's, and one for each channel.
    tokio::time::sleep(Duration::from_millis(100)).await;
    shared.begin.wait();
    let before = cpu_time();
    let tasks: Vec<_> = channels
        .into_iter()
        .map(|channel| {
            let (shared, payload) = (shared.clone(), payload.clone());
            tokio::spawn(async move {
                let mut sent = 0;
                while !shared.stop.load(Relaxed) && share.is_none_or(|share| sent < share) {
                    channel.send(payload.clone()).await.expect("an open channel");
                    sent += 1;
                }
                channel.flush().await.expect("an open channel");
                shared.sent.fetch_add(sent, Relaxed);
                channel
            })
        })
        .collect();
    if share.is_none() {
        tokio::time::sleep(TURN).await;
        shared.stop.store(true, Relaxed);
    }
    let mut channels = Vec::new();
    for task in tasks {
        channels.push(task.await.expect("no panics"));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let spent = cpu_time() - before;
    shared.end.wait();
    spent.as_secs_f64()
}

async fn receive(
    shared: Arc<Shared>,
    offer: Receiver<SessionDescription>,
    answer: Sender<SessionDescription>,
) -> f64 {
    let (_endpoint, connection) = connection().await;
    connection.set_remote_description(offer.await.expect("an offer")).expect("a good offer");
    connection.set_local_description(connection.create_answer().expect("an answer")).expect("our own");
    answer.send(connection.local_description().expect("our own")).expect("the other end lives");
    for _ in 0..shared.channels {
        let channel = loop {
            match connection.next_event().await.expect("a connection") {
                PeerEvent::DataChannel(channel) => break channel,
                _ => continue,
            }
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            while channel.recv().await.is_some() {
                shared.received.fetch_add(1, Relaxed);
            }
        });
    }
    shared.begin.wait();
    let before = cpu_time();
    // The barrier would hold up the tasks.
    let end = shared.clone();
    tokio::task::spawn_blocking(move || end.end.wait()).await.expect("no panics");
    (cpu_time() - before).as_secs_f64()
}

fn measure(case: Case, channels: usize, messages: Option<u64>) {
    let shared = Arc::new(Shared {
        case,
        channels,
        messages,
        stop: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        begin: Barrier::new(2),
        end: Barrier::new(2),
    });
    let ((offer, offered), (answer, answered)) = (channel(), channel());
    let runtime = || Builder::new_current_thread().enable_all().build().expect("a runtime");
    let other = shared.clone();
    let receiver = thread::spawn(move || runtime().block_on(receive(other, offered, answer)));
    let sender = runtime().block_on(send(shared.clone(), offer, answered));
    let receiver = receiver.join().expect("no panics");
    let (sent, received) = (shared.sent.load(Relaxed), shared.received.load(Relaxed));
    let per_second = match messages {
        Some(_) => "–".to_owned(),
        None => format!("{:.0}", received as f64 / TURN.as_secs_f64()),
    };
    println!(
        "| {} | {channels} | {per_second} | {:.0} | {:.0} | {:.3} % |",
        case.name,
        sender * 1e9 / sent as f64,
        receiver * 1e9 / received as f64,
        100.0 * (1.0 - received as f64 / sent as f64),
    );
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let (channels, messages, case) = (numbers.next().unwrap_or(1), numbers.next(), numbers.next());
    println!(
        "| messages | channels | a second | sender, ns each | receiver, ns each | lost |\n|---|---|---|---|---|---|"
    );
    for (number, case_of) in CASES.into_iter().enumerate() {
        if case.is_none_or(|case| case == number as u64) {
            measure(case_of, channels as usize, messages);
        }
    }
}
