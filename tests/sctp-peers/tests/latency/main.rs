//! How long a short message takes beside a bulk transfer on another stream: a table in virtual time, reviewed as text.
//! `docs/throughput.md` says how to read it and how to make it anew.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinnet_sctp::Congestion;
use sinnet_sctp_peers::{Bulk, Kind, Outgoing, Path};

const TABLE: &str = include_str!("table.txt");

/// Beyond the round trip and the time of a packet: what a message may take.
const ALLOWED: Duration = Duration::from_millis(5);

/// So far may a number be from the table, in milliseconds.
const TOLERANCE: f64 = 2.0;

/// What became of the messages, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Latency {
    /// From `send` to its arrival at the other side's owner.
    p50: f64,
    p99: f64,
    /// Besides the way there and the queue that the bottleneck had at `send`: what our sender adds, or a loss.
    own_p99: f64,
}

fn path(mbit: u64, rtt: u64, queue: f64) -> Path {
    Path { mbit, rtt, loss: 0.0, queue }
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() * percent / 100]
}

/// Messages of 100 bytes for 30 seconds, after slow start.
fn latency(path: Path, kind: Kind) -> Latency {
    let mut bulk = Bulk::new(path, 1);
    let flow = bulk.begin(kind, 1);
    bulk.run_for(Duration::from_secs(5));
    let mut waiting: HashMap<u32, (Instant, Duration)> = HashMap::new();
    let (mut all, mut own) = (Vec::new(), Vec::new());
    let there = Duration::from_micros(path.rtt * 500);
    let mut take = |bulk: &mut Bulk, waiting: &mut HashMap<u32, (Instant, Duration)>| {
        for (at, message) in bulk.take_others() {
            let (sent, queue) = waiting.remove(&message.id).expect("a message that was sent");
            all.push((at - sent).as_secs_f64() * 1e3);
            own.push((at - sent).saturating_sub(there + queue).as_secs_f64() * 1e3);
        }
    };
    // (11 ms: in step with nothing.)
    for id in 0..2_700 {
        let payload = Bytes::from_static(&[9; 100]);
        let message =
            Outgoing { stream: 2, id, payload, unordered: false, max_retransmits: None, lifetime: None };
        waiting.insert(id, (bulk.now, bulk.queue()));
        assert!(bulk.send(flow, &message), "no room for a short message");
        bulk.run_for(Duration::from_millis(11));
        take(&mut bulk, &mut waiting);
    }
    bulk.run_for(Duration::from_secs(5));
    take(&mut bulk, &mut waiting);
    assert!(waiting.is_empty(), "{} have not arrived", waiting.len());
    Latency {
        p50: percentile(&mut all, 50),
        p99: percentile(&mut all, 99),
        own_p99: percentile(&mut own, 99),
    }
}

/// The goal is the round-trip time, the queue included, one packet and 5 ms; half of the round trip is the way there.
fn own_goal(path: Path) -> f64 {
    (Duration::from_micros(path.rtt * 500) + path.packet_time() + ALLOWED).as_secs_f64() * 1e3
}

fn paths() -> Vec<Path> {
    let mut paths = Vec::new();
    for mbit in [10, 100] {
        for rtt in [20, 100] {
            for queue in [0.25, 1.0] {
                paths.push(path(mbit, rtt, queue));
            }
        }
    }
    paths
}

fn measure(paths: &[Path]) -> String {
    let mut table = String::from("mbit  rtt  queue  congestion    p50    p99  own p99\n");
    for path in paths {
        for kind in Kind::ours() {
            let Latency { p50, p99, own_p99 } = latency(*path, kind);
            let Path { mbit, rtt, queue, .. } = path;
            let name = kind.name();
            writeln!(
                table,
                "{mbit:>4} {rtt:>4} {queue:>6.2}  {name:<10} {p50:>6.1} {p99:>6.1} {own_p99:>8.1}"
            )
            .expect("a string takes it");
        }
    }
    table
}

/// The path and the algorithm of a line, and its numbers.
fn split(line: &str) -> (&str, Vec<f64>) {
    let (key, numbers) = line.split_at(28);
    (key, numbers.split_whitespace().map(|number| number.parse().expect("a number")).collect())
}

#[test]
fn latency_is_as_reviewed() {
    let measured = match std::env::var("SINNET_LATENCY").as_deref() {
        Ok("write") => {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/latency/table.txt");
            return std::fs::write(path, measure(&paths())).expect("written");
        }
        Ok(_) => measure(&paths()),
        Err(_) => measure(&[path(10, 20, 1.0)]),
    };
    for line in measured.lines().skip(1) {
        let (key, numbers) = split(line);
        let reviewed = TABLE.lines().find(|reviewed| reviewed.starts_with(key));
        let reviewed = reviewed.unwrap_or_else(|| panic!("not in the table: {line}"));
        let near = numbers.iter().zip(split(reviewed).1).all(|(a, b)| (a - b).abs() <= TOLERANCE);
        assert!(near, "reviewed: {reviewed}\nmeasured: {line}");
    }
}

#[test]
fn the_reviewed_table_says_that_a_short_message_takes_a_round_trip_one_packet_and_5_ms() {
    let mut lines = TABLE.lines().skip(1);
    for path in paths() {
        for kind in Kind::ours() {
            let line = lines.next().expect("a line for each");
            // When BBR probes for more, a short queue overflows: more than one message in a hundred is sent twice.
            let overflows = kind == Kind::Ours(Congestion::Bbr) && path.queue < 1.0;
            let again = if overflows { path.rtt as f64 } else { 0.0 };
            assert!(split(line).1[2] <= own_goal(path) + again, "{line}: {}", kind.name());
        }
    }
}
