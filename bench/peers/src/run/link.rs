//! What the conductor and its children say to each other: lines of JSON over the children's standard input and output.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// How a connection's one channel is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// Messages arrive in order.
    pub ordered: bool,
    /// Messages are sent again until they arrive; otherwise once only (maxRetransmits = 0).
    pub reliable: bool,
}

/// What the application at one end does with the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Sends messages of so many bytes for as long as it may.
    Flood { size: usize },
    /// Counts what comes.
    Count,
    /// Sends a message of so many bytes, waits for one, notes the time; again.
    Ping { size: usize },
    /// Answers each message with one of the same size.
    Echo,
    /// Sends one message when the channel is open.
    Greet,
    /// Notes when the first message comes.
    Await,
}

/// From the conductor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Make a connection, and offer it.
    Offer { number: u32, channel: Channel, work: Work },
    /// Answer this offer.
    Accept { number: u32, sdp: String, work: Work },
    /// Our offer was answered.
    Answer { number: u32, sdp: String },
    /// Report counters; round trips so far are forgotten.
    Snapshot,
    /// Flood no more.
    Stop,
    /// End the connection.
    Close { number: u32 },
}

/// From a child.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The description that answers `Order::Offer` (`is_offer`) or `Order::Accept`, with its candidate.
    Sdp { number: u32, is_offer: bool, sdp: String },
    /// The offerer's channel is open.
    Opened { number: u32 },
    /// The first message has come to who awaits it: nanoseconds since the offer was complete, and since it was ordered.
    First { number: u32, since_offer: u64, since_order: u64 },
    /// Answers `Order::Snapshot`.
    Snapshot(Snapshot),
    /// A connection has ended that should not have.
    Lost { number: u32, why: String },
    /// The child can't go on.
    Failed(String),
}

/// A child's counters at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Seconds, by the child's own clock.
    pub at_s: f64,
    /// CPU time in user and kernel mode, all threads, seconds.
    pub cpu_s: f64,
    /// Payload received, bytes.
    pub received: u64,
    /// Messages received.
    pub messages: u64,
    /// Messages that the stack has accepted for sending.
    pub sent: u64,
    /// Memory in use (RSS), KiB.
    pub rss_kib: u64,
    /// Round trips since the last snapshot: how many, the median and the 99th percentile, nanoseconds.
    pub round_trips: (u64, u64, u64),
    /// Payload received by each connection that counts, bytes.
    pub by_connection: Vec<u64>,
}

/// Tells the conductor.
pub fn report(report: &Report) {
    let mut line = serde_json::to_vec(report).expect("plain data");
    line.push(b'\n');
    let mut out = io::stdout().lock();
    // A conductor that has gone will close standard input, too, which ends this process.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}
