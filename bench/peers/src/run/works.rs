//! The works: what is done, with whom, and what is measured.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::child::{Pair, Result};
use super::link::{Channel, Snapshot, Work};
use super::relay::Relay;
use super::usage::machine_busy_s;
use crate::peers::{Layout, PeerName};

const RELIABLE: Channel = Channel { ordered: true, reliable: true };
const UNRELIABLE: Channel = Channel { ordered: false, reliable: false };

/// Before a window: congestion windows, caches, and the processor's clock settle.
const WARM_UP: Duration = Duration::from_secs(1);
/// The same with 100 ms of round trip, where slow start takes a second or two.
const WARM_UP_DELAYED: Duration = Duration::from_secs(4);

/// Sequential connections that are measured, after [`WARM_PAIRS`].
const SETUPS: u32 = 50;
/// Idle pairs in one process.
const IDLE_PAIRS: u32 = 200;
/// Busy pairs in one process.
const BUSY_PAIRS: u32 = 100;
/// Connections before those that are measured: code that runs for the first time takes time and memory, too.
const WARM_PAIRS: u32 = 5;
/// Idle connections that are set up at the same time.
const AT_ONCE: u32 = 8;

/// What is measured, by name.
pub type Metrics = BTreeMap<String, f64>;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// One ordered reliable channel, one way, messages of so many bytes.
    Bulk { size: usize },
    /// Messages of 64 bytes there and back, one at a time.
    Ping,
    /// Unordered messages of 100 bytes that are sent once.
    Small,
    /// Connections one after the other.
    Setup,
    /// 200 idle pairs in one process.
    Memory,
    /// 100 busy pairs in one process.
    Pairs,
    /// Very many idle connections to one of our endpoints.
    Crowd,
    /// Bulk over a path with a round-trip time and loss.
    Path { rtt_ms: u32, loss_percent: u32 },
}

/// All, in the order of the table.
pub const ALL: [Task; 14] = [
    Task::Bulk { size: 1 },
    Task::Bulk { size: 16 },
    Task::Bulk { size: 64 },
    Task::Bulk { size: 256 },
    Task::Ping,
    Task::Small,
    Task::Setup,
    Task::Memory,
    Task::Pairs,
    Task::Path { rtt_ms: 20, loss_percent: 0 },
    Task::Path { rtt_ms: 20, loss_percent: 1 },
    Task::Path { rtt_ms: 100, loss_percent: 0 },
    Task::Path { rtt_ms: 100, loss_percent: 1 },
    Task::Crowd,
];

/// What the command line sets.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// A window.
    pub window: Duration,
    /// Connections of [`Task::Crowd`].
    pub crowd: u32,
    /// How long they are held.
    pub hold: Duration,
}

impl Task {
    /// As it is written on the command line and in results.
    pub fn name(self) -> String {
        match self {
            Self::Bulk { size } => format!("bulk-{size}k"),
            Self::Ping => "ping".to_owned(),
            Self::Small => "small".to_owned(),
            Self::Setup => "setup".to_owned(),
            Self::Memory => "memory".to_owned(),
            Self::Pairs => "pairs".to_owned(),
            Self::Crowd => "crowd".to_owned(),
            Self::Path { rtt_ms, loss_percent } => format!("path-{rtt_ms}ms-{loss_percent}"),
        }
    }

    /// Whether it means something with this one.
    pub fn is_for(self, peer: PeerName) -> bool {
        match self {
            Self::Path { .. } => !matches!(peer, PeerName::Udp | PeerName::UdpGsoAes),
            _ if peer == PeerName::SinnetBbr => false,
            // The floor programs have datagrams, not messages; one column is enough.
            Self::Bulk { size: 64 } => true,
            Self::Ping => peer != PeerName::UdpGsoAes,
            Self::Crowd => peer == PeerName::Sinnet,
            _ => !matches!(peer, PeerName::Udp | PeerName::UdpGsoAes),
        }
    }

    /// Does it once.
    pub fn run(self, peer: PeerName, extent: Extent) -> Result<Metrics> {
        let window = extent.window;
        match self {
            Self::Bulk { size } => {
                let mut pair =
                    connected(peer, None, RELIABLE, Work::Flood { size: size * 1024 }, Work::Count)?;
                sleep(WARM_UP);
                throughput(&mut pair, window)
            }
            Self::Ping => ping(peer, window),
            Self::Small => small(peer, window),
            Self::Setup => setup(peer),
            Self::Memory => memory(peer, window),
            Self::Pairs => pairs(peer, window),
            Self::Crowd => crowd(peer, extent),
            Self::Path { rtt_ms, loss_percent } => {
                let relay = Relay::start(rtt_ms, f64::from(loss_percent))?;
                let work = Work::Flood { size: 64 * 1024 };
                let mut pair = connected(peer, Some(relay), RELIABLE, work, Work::Count)?;
                sleep(WARM_UP_DELAYED);
                throughput(&mut pair, window.max(Duration::from_secs(8)))
            }
        }
    }
}

/// Two processes, one connection, its channel open.
fn connected(
    peer: PeerName,
    relay: Option<Relay>,
    channel: Channel,
    offerer: Work,
    answerer: Work,
) -> Result<Pair> {
    let mut pair = Pair::start(peer, Layout::Apart, relay)?;
    pair.offer(0, channel, offerer, answerer)?;
    pair.until(|pair| pair.opened.contains(&0))?;
    Ok(pair)
}

/// What has happened between two moments, as the children saw it.
struct Window {
    seconds: f64,
    cpu: Vec<f64>,
    received: f64,
    messages: f64,
    before: Vec<Snapshot>,
    after: Vec<Snapshot>,
    metrics: Metrics,
}

impl Window {
    /// The receiver is the last of the children.
    fn measure(pair: &mut Pair, length: Duration) -> Result<Self> {
        let busy = machine_busy_s();
        let before = pair.snapshots()?;
        // Only what they report is taken meanwhile, so that an end of theirs is noticed.
        sleep(length);
        let after = pair.snapshots()?;
        let busy = machine_busy_s() - busy;
        if let Some((_, why)) = pair.lost.first() {
            return Err(format!("the connection was lost: {why}"));
        }
        let last = before.len() - 1;
        let seconds = after[last].at_s - before[last].at_s;
        let cpu: Vec<f64> =
            after.iter().zip(&before).map(|(after, before)| after.cpu_s - before.cpu_s).collect();
        let received = (after[last].received - before[last].received) as f64;
        let messages = (after[last].messages - before[last].messages) as f64;
        let mut metrics = Metrics::new();
        // A relay's time is in it.
        metrics
            .insert("other_cpu_percent".into(), (busy - cpu.iter().sum::<f64>()).max(0.0) / seconds * 100.0);
        Ok(Self { seconds, cpu, received, messages, before, after, metrics })
    }

    fn cpu(&self) -> f64 {
        self.cpu.iter().sum()
    }

    fn with(mut self, values: &[(&str, f64)]) -> Metrics {
        for (name, value) in values {
            self.metrics.insert((*name).to_owned(), *value);
        }
        self.metrics
    }
}

fn throughput(pair: &mut Pair, length: Duration) -> Result<Metrics> {
    let window = Window::measure(pair, length)?;
    let mut values = vec![
        ("mbit_s", window.received * 8e-6 / window.seconds),
        ("cpu_s_per_gb", window.cpu() / (window.received * 1e-9)),
    ];
    if let ([tx, rx], [a, z]) = (&window.cpu[..], &window.after[..]) {
        values.push(("tx_cpu_percent", tx / window.seconds * 100.0));
        values.push(("rx_cpu_percent", rx / window.seconds * 100.0));
        values.push(("tx_rss_mib", a.rss_kib as f64 / 1024.0));
        values.push(("rx_rss_mib", z.rss_kib as f64 / 1024.0));
    }
    Ok(window.with(&values))
}

fn ping(peer: PeerName, length: Duration) -> Result<Metrics> {
    let mut pair = connected(peer, None, RELIABLE, Work::Ping { size: 64 }, Work::Echo)?;
    sleep(WARM_UP);
    let window = Window::measure(&mut pair, length)?;
    let (count, median, p99) = window.after[0].round_trips;
    let cpu = window.cpu();
    let values = [
        ("round_trips_s", count as f64 / window.seconds),
        ("p50_us", median as f64 * 1e-3),
        ("p99_us", p99 as f64 * 1e-3),
        ("cpu_us_per_round_trip", cpu * 1e6 / count as f64),
    ];
    Ok(window.with(&values))
}

fn small(peer: PeerName, length: Duration) -> Result<Metrics> {
    let mut pair = connected(peer, None, UNRELIABLE, Work::Flood { size: 100 }, Work::Count)?;
    sleep(WARM_UP);
    let window = Window::measure(&mut pair, length)?;
    // All that was accepted, and all that has come when nothing comes any more.
    pair.stop()?;
    let mut came = 0;
    let (sent, received) = loop {
        sleep(Duration::from_millis(500));
        let snapshots = pair.snapshots()?;
        let messages = snapshots[1].messages;
        if messages == came {
            break (snapshots[0].sent as f64, messages as f64);
        }
        came = messages;
    };
    let values = [
        ("messages_s", window.messages / window.seconds),
        ("loss_percent", (1.0 - received / sent) * 100.0),
        ("cpu_us_per_message", window.cpu() * 1e6 / window.messages),
    ];
    Ok(window.with(&values))
}

fn setup(peer: PeerName) -> Result<Metrics> {
    let mut pair = Pair::start(peer, Layout::Apart, None)?;
    let (mut since_offer, mut since_order) = (Vec::new(), Vec::new());
    let mut before = 0.0;
    for number in 0..WARM_PAIRS + SETUPS {
        if number == WARM_PAIRS {
            before = pair.snapshots()?.iter().map(|snapshot| snapshot.cpu_s).sum();
        }
        pair.offer(number, RELIABLE, Work::Await, Work::Greet)?;
        pair.until(|pair| pair.first.contains_key(&number))?;
        if number >= WARM_PAIRS {
            let (offer, order) = pair.first[&number];
            since_offer.push(offer as f64 * 1e-6);
            since_order.push(order as f64 * 1e-6);
        }
        pair.close(number)?;
    }
    let after: f64 = pair.snapshots()?.iter().map(|snapshot| snapshot.cpu_s).sum();
    let at = |share: f64, values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[((values.len() - 1) as f64 * share) as usize]
    };
    let values = [
        ("median_ms", at(0.5, &mut since_offer)),
        ("p95_ms", at(0.95, &mut since_offer)),
        ("median_with_offer_ms", at(0.5, &mut since_order)),
        ("cpu_ms_per_connection", (after - before) * 1e3 / f64::from(SETUPS)),
    ];
    Ok(values.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Sets up connections, a few at a time, and waits for the first message on each.
fn many(pair: &mut Pair, numbers: std::ops::Range<u32>, offerer: Work, answerer: Work) -> Result<()> {
    let end = numbers.end;
    for number in numbers {
        pair.offer(number, RELIABLE, offerer, answerer)?;
        let enough = (number + 1).saturating_sub(AT_ONCE) as usize;
        pair.until(|pair| pair.opened.len() >= enough)?;
    }
    pair.until(|pair| pair.opened.len() >= end as usize)?;
    if offerer == Work::Await {
        pair.until(|pair| pair.first.len() >= end as usize)?;
    }
    Ok(())
}

fn memory(peer: PeerName, length: Duration) -> Result<Metrics> {
    let mut pair = Pair::start(peer, Layout::Together, None)?;
    many(&mut pair, 0..WARM_PAIRS, Work::Await, Work::Greet)?;
    sleep(Duration::from_millis(500));
    let before = pair.snapshots()?[0].rss_kib as f64;
    many(&mut pair, WARM_PAIRS..WARM_PAIRS + IDLE_PAIRS, Work::Await, Work::Greet)?;
    sleep(Duration::from_secs(2));
    let window = Window::measure(&mut pair, length)?;
    let values = [
        ("rss_kib_per_connection", (window.before[0].rss_kib as f64 - before) / f64::from(2 * IDLE_PAIRS)),
        ("idle_cpu_percent", window.cpu() / window.seconds * 100.0),
    ];
    Ok(window.with(&values))
}

fn pairs(peer: PeerName, length: Duration) -> Result<Metrics> {
    let mut pair = Pair::start(peer, Layout::Together, None)?;
    many(&mut pair, 0..BUSY_PAIRS, Work::Flood { size: 16 * 1024 }, Work::Count)?;
    sleep(WARM_UP);
    let window = Window::measure(&mut pair, length)?;
    let (before, after) = (&window.before[0].by_connection, &window.after[0].by_connection);
    let rates: Vec<f64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| (after - before) as f64 * 8e-6 / window.seconds)
        .collect();
    let (sum, squares) =
        rates.iter().fold((0.0, 0.0), |(sum, squares), rate| (sum + rate, squares + rate * rate));
    let values = [
        ("mbit_s", window.received * 8e-6 / window.seconds),
        ("cpu_s_per_gb", window.cpu() / (window.received * 1e-9)),
        ("jain", sum * sum / (rates.len() as f64 * squares)),
        ("slowest_mbit_s", rates.iter().copied().fold(f64::INFINITY, f64::min)),
        ("fastest_mbit_s", rates.iter().copied().fold(0.0, f64::max)),
        ("rss_mib", window.after[0].rss_kib as f64 / 1024.0),
    ];
    Ok(window.with(&values))
}

fn crowd(peer: PeerName, extent: Extent) -> Result<Metrics> {
    let mut pair = Pair::start(peer, Layout::Apart, None)?;
    many(&mut pair, 0..WARM_PAIRS, Work::Await, Work::Greet)?;
    let empty = pair.snapshots()?[1].rss_kib as f64;
    let began = Instant::now();
    many(&mut pair, WARM_PAIRS..extent.crowd, Work::Await, Work::Greet)?;
    let set_up = began.elapsed().as_secs_f64();
    // What setting up leaves behind is over by then.
    sleep(Duration::from_secs(5));
    let before = pair.snapshots()?;
    sleep(extent.hold);
    let after = pair.snapshots()?;
    let seconds = after[1].at_s - before[1].at_s;
    let percent = |child: usize| (after[child].cpu_s - before[child].cpu_s) / seconds * 100.0;
    let rss = after[1].rss_kib as f64 - empty;
    let values = [
        ("connections", f64::from(extent.crowd)),
        ("set_up_s", set_up),
        ("held_s", seconds),
        ("lost", pair.lost.len() as f64),
        ("server_cpu_percent", percent(1)),
        ("clients_cpu_percent", percent(0)),
        ("server_rss_kib_per_connection", rss / f64::from(extent.crowd - WARM_PAIRS)),
    ];
    Ok(values.map(|(name, value)| (name.to_owned(), value)).into())
}
