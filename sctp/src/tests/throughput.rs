//! How much of a bottleneck a bulk transfer gets: a table in virtual time, reviewed as text.
//!
//! `throughput.txt` has a line for each path and one number for each algorithm: the payload delivered, slow
//! start included, in percent of what full packets could carry at that rate. A transfer lasts 200 round trips,
//! but at least 10 and at most 60 seconds. A queue has room for 10 packets at least. A test run recomputes a corner of it; the whole takes minutes and
//! is written anew with
//!
//! ```text
//! SINNET_THROUGHPUT=write cargo test --release -p sinnet-sctp throughput
//! ```
//!
//! (`all` compares the whole and writes nothing; `1000` prints the lines for 1000 Mbit/s, which take longest.)

use std::fmt::Write as _;
use std::net::SocketAddr;

use sinnet_netsim::{HEADERS, LinkConfig, Loss, Net};

use super::*;
use crate::Congestion;

const TABLE: &str = include_str!("throughput.txt");
const ALGORITHMS: [Congestion; 2] = [Congestion::Cubic, Congestion::NewReno];
const RTTS: [u64; 5] = [1, 20, 50, 100, 300];
const LOSSES: [f64; 4] = [0.0, 0.1, 1.0, 5.0];
const QUEUES: [f64; 2] = [0.25, 1.0];

/// So far may a number be from the table: floating-point functions differ in their last bit by platform, and
/// losses make much of little.
const TOLERANCE: u32 = 4;

/// Payload of a full packet, and its bytes on the link.
const FULL_PAYLOAD: f64 = 1132.0;
const FULL_PACKET: f64 = (1160 + HEADERS) as f64;

/// Bulk transfers from one host to another, over one bottleneck.
struct Bulk {
    net: Net,
    now: Instant,
    flows: Vec<[Association; 2]>,
    /// Payload bytes delivered, for each flow.
    delivered: Vec<u64>,
    message: Bytes,
}

impl Bulk {
    fn new(flows: usize, congestion: Congestion, link: LinkConfig, seed: u64) -> Self {
        let now = base();
        let mut net = Net::new(seed, now);
        let (a, z) = (address(A, 0), address(Z, 0));
        net.set_link(a.ip(), z.ip(), link);
        // Acknowledgements neither wait nor get lost: one of them or the next makes no difference.
        net.set_one_way(z.ip(), a.ip(), LinkConfig { delay: link.delay, ..LinkConfig::default() });
        let config = Arc::new(Config {
            send_buffer: 64 << 20,
            receive_buffer: 64 << 20,
            congestion,
            max_message_size_recv: 1 << 20,
            ..Config::default()
        });
        let mut rng = StdRng::seed_from_u64(seed);
        let mut end = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            Association::new(config.clone(), now, seed)
        };
        let flows: Vec<_> = (0..flows).map(|_| [end(), end()]).collect();
        let mut bulk =
            Self { net, now, delivered: vec![0; flows.len()], flows, message: vec![7; 65_536].into() };
        for flow in &mut bulk.flows {
            flow[A].connect(now);
        }
        bulk
    }

    fn drain(&mut self) {
        let mut out = [0; 1160];
        for (n, flow) in self.flows.iter_mut().enumerate() {
            while flow[A].total_buffered() < 40 << 20 {
                let (now, message) = (self.now, self.message.clone());
                flow[A].send(now, StreamId(1), Ppid(53), message, SendOptions::default()).expect("room");
            }
            while let Some(message) = flow[Z].recv(StreamId(1)) {
                self.delivered[n] += message.payload.len() as u64;
            }
            for side in [A, Z] {
                while let Some(len) = flow[side].poll_transmit(self.now, &mut out) {
                    let (src, dst) = (address(side, n), address(1 - side, n));
                    self.net.send(self.now, src, dst, out[..len].to_vec());
                }
                while flow[side].poll_event().is_some() {}
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.drain();
            let timers = self.flows.iter().flatten().filter_map(Association::poll_timeout);
            let Some(next) = timers.chain(self.net.next_arrival()).min().filter(|&next| next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(datagram) = self.net.recv(self.now) {
                let side = if datagram.dst.ip() == address(A, 0).ip() { A } else { Z };
                self.flows[usize::from(datagram.dst.port())][side].handle_input(self.now, &datagram.payload);
            }
            for end in self.flows.iter_mut().flatten() {
                if end.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
                    end.handle_timeout(self.now);
                }
            }
        }
        self.now = until;
    }
}

fn address(side: usize, flow: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, side as u8 + 1], flow as u16))
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
struct Path {
    mbit: u64,
    rtt: u64,
    loss: f64,
    queue: f64,
}

impl Path {
    fn link(self) -> LinkConfig {
        let link = LinkConfig {
            rate: Some(self.mbit * 1_000_000),
            delay: Duration::from_micros(self.rtt * 500),
            loss: if self.loss > 0.0 { Loss::Bernoulli(self.loss / 100.0) } else { Loss::None },
            ..LinkConfig::default()
        }
        .with_queue_of_bdp(self.queue);
        LinkConfig { queue: link.queue.max(10 * FULL_PACKET as usize), ..link }
    }

    fn percent(self, congestion: Congestion) -> u32 {
        let time = Duration::from_millis((self.rtt * 200).clamp(10_000, 60_000));
        let mut bulk = Bulk::new(1, congestion, self.link(), 1);
        bulk.run_for(time);
        if std::env::var("SINNET_THROUGHPUT").is_ok() {
            println!("{self:?} {congestion:?} {:?}", bulk.flows[0][A].stats());
        }
        let possible = self.mbit as f64 * 1e6 / 8.0 * time.as_secs_f64() * FULL_PAYLOAD / FULL_PACKET;
        (bulk.delivered[0] as f64 * 100.0 / possible).round() as u32
    }

    fn key(self) -> String {
        format!("{:>4} {:>4} {:>5.1} {:>6.2}", self.mbit, self.rtt, self.loss, self.queue)
    }
}

fn paths(mbits: &[u64]) -> Vec<Path> {
    let mut paths = Vec::new();
    for &mbit in mbits {
        for rtt in RTTS {
            for loss in LOSSES {
                for queue in QUEUES {
                    paths.push(Path { mbit, rtt, loss, queue });
                }
            }
        }
    }
    paths
}

fn measure(paths: &[Path]) -> String {
    let mut table = String::from("mbit  rtt  loss  queue  cubic  newreno\n");
    for path in paths {
        let [cubic, newreno] = ALGORITHMS.map(|congestion| path.percent(congestion));
        writeln!(table, "{} {cubic:>6} {newreno:>8}", path.key()).expect("a string takes it");
    }
    table
}

fn compare(measured: &str) {
    for line in measured.lines().skip(1) {
        let numbers = |line: &str| -> Vec<u32> {
            line[23..].split_whitespace().map(|n| n.parse().expect("a number")).collect()
        };
        let reviewed = TABLE.lines().find(|reviewed| reviewed.starts_with(&line[..23]));
        let reviewed = reviewed.unwrap_or_else(|| panic!("not in the table: {line}"));
        let near = numbers(line).iter().zip(numbers(reviewed)).all(|(a, b)| a.abs_diff(b) <= TOLERANCE);
        assert!(near, "reviewed: {reviewed}\nmeasured: {line}");
    }
}

#[test]
fn throughput_is_as_reviewed() {
    match std::env::var("SINNET_THROUGHPUT").as_deref() {
        Ok("write") => {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/throughput.txt");
            std::fs::write(path, measure(&paths(&[10, 100]))).expect("written");
        }
        Ok("all") => compare(&measure(&paths(&[10, 100]))),
        Ok("1000") => println!("{}", measure(&paths(&[1000]))),
        _ => {
            let corner = |rtt, loss| Path { mbit: 10, rtt, loss, queue: 1.0 };
            compare(&measure(&[corner(20, 0.0), corner(20, 1.0), corner(100, 0.0), corner(100, 1.0)]));
        }
    }
}

#[test]
fn the_reviewed_table_says_that_cubic_fills_every_path_without_loss() {
    let mut lines = 0;
    for line in TABLE.lines().skip(1).filter(|line| line[9..15].trim() == "0.0") {
        let cubic: u32 = line[22..29].trim().parse().expect("a number");
        assert!(cubic >= 90, "{line}");
        lines += 1;
    }
    assert_eq!(lines, 2 * RTTS.len() * QUEUES.len());
}

#[test]
fn two_flows_share_a_bottleneck_fairly() {
    for congestion in ALGORITHMS {
        let path = Path { mbit: 4, rtt: 40, loss: 0.0, queue: 1.0 };
        let mut bulk = Bulk::new(2, congestion, path.link(), 1);
        // The second begins when the first has the whole path.
        let late = bulk.flows.pop().expect("two");
        bulk.run_for(Duration::from_secs(5));
        bulk.flows.push(late);
        let before = bulk.delivered[0];
        bulk.run_for(Duration::from_secs(60));
        let (x, y) = ((bulk.delivered[0] - before) as f64, bulk.delivered[1] as f64);
        let jain = (x + y).powi(2) / (2.0 * (x * x + y * y));
        println!("{congestion:?}: {x} {y} Jain {jain:.3}");
        assert!(jain >= 0.9, "{congestion:?}: {x} and {y} bytes: {jain:.3}");
    }
}
