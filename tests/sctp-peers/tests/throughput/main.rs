//! How much of a bottleneck a bulk transfer gets, with us and with others at both ends: a table in virtual time,
//! reviewed as text. `docs/throughput.md` says how to read it and how to make it anew.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sinnet_sctp::Congestion;
use sinnet_sctp_peers::{Bulk, Kind, Path};

const TABLE: &str = include_str!("table.txt");
const RTTS: [u64; 5] = [1, 20, 50, 100, 300];
const LOSSES: [f64; 4] = [0.0, 0.1, 1.0, 5.0];
const QUEUES: [f64; 2] = [0.25, 1.0];

/// So far may a number be from the table: floating-point functions differ in their last bit by platform, and losses
/// make much of little.
const TOLERANCE: u32 = 4;

/// Where ours may be below another by no more than noise: points of the table.
const NOISE: u32 = 2;

/// The columns of a line that say which path it is.
const KEY: usize = 22;

fn key(path: Path) -> String {
    format!("{:>4} {:>4} {:>5.1} {:>6.2}", path.mbit, path.rtt, path.loss, path.queue)
}

/// 200 round trips, but at least 10 seconds and at most 60, at 1000 Mbit/s 30.
fn time(path: Path) -> Duration {
    Duration::from_millis(match path.mbit {
        1_000 => (path.rtt * 200).clamp(10_000, 30_000),
        _ => (path.rtt * 200).clamp(10_000, 60_000),
    })
}

/// What takes too long is not run: `dcsctp` writes every packet as hex for its log, whether there is one or not, and
/// makes 100 Mbit/s of a core; `sctp-proto` takes minutes for a transfer with tens of thousands of packets in flight.
fn is_run(path: Path, kind: Kind) -> bool {
    match kind {
        Kind::Ours(_) => true,
        Kind::Dcsctp => path.mbit == 10 || (path.mbit == 100 && path.loss >= 1.0),
        Kind::SctpProto => path.mbit == 10 || path.loss >= 1.0 || (path.mbit == 100 && path.rtt <= 100),
    }
}

fn percent(path: Path, kind: Kind) -> Option<u32> {
    if !is_run(path, kind) {
        return None;
    }
    let began = real_time();
    let time = time(path);
    let mut bulk = Bulk::new(path, 1);
    let flow = bulk.begin(kind, 1);
    bulk.run_for(time);
    let percent = (bulk.delivered(flow) as f64 * 100.0 / path.capacity(time)).round() as u32;
    if std::env::var("SINNET_THROUGHPUT").is_ok() {
        eprintln!(
            "{} {:10} {percent:>3} in {:?} {}",
            key(path),
            kind.name(),
            began.elapsed(),
            bulk.report(flow)
        );
    }
    Some(percent)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a cell takes, for whoever measures the table by hand"
)]
fn real_time() -> Instant {
    Instant::now()
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
    let mut table = String::from("mbit  rtt  loss  queue");
    for kind in Kind::ALL {
        write!(table, " {:>10}", kind.name()).expect("a string takes it");
    }
    for path in paths {
        write!(table, "\n{}", key(*path)).expect("a string takes it");
        for kind in Kind::ALL {
            let percent = percent(*path, *kind).map_or("-".to_owned(), |percent| percent.to_string());
            write!(table, " {percent:>10}").expect("a string takes it");
        }
    }
    table.push('\n');
    table
}

/// The cells of a line: `None` where nothing was run.
fn cells(line: &str) -> Vec<Option<u32>> {
    line[KEY..].split_whitespace().map(|cell| cell.parse().ok()).collect()
}

fn compare(measured: &str) {
    for line in measured.lines() {
        let reviewed = TABLE.lines().find(|reviewed| reviewed.starts_with(&line[..KEY]));
        let reviewed = reviewed.unwrap_or_else(|| panic!("not in the table: {line}"));
        let (ours, theirs) = (cells(line), cells(reviewed));
        let near = ours.len() == theirs.len()
            && Kind::ALL.iter().zip(ours.iter().zip(&theirs)).all(|(kind, cells)| match cells {
                // It draws its tags and TSNs from a generator without a seed.
                (Some(_), Some(_)) if *kind == Kind::SctpProto => true,
                (Some(a), Some(b)) => a.abs_diff(*b) <= TOLERANCE,
                (a, b) => a == b,
            });
        assert!(near, "reviewed: {reviewed}\nmeasured: {line}");
    }
}

#[test]
fn throughput_is_as_reviewed() {
    match std::env::var("SINNET_THROUGHPUT").as_deref() {
        Ok("write") => {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/throughput/table.txt");
            std::fs::write(path, measure(&paths(&[10, 100, 1_000]))).expect("written");
        }
        Ok("all") => compare(&measure(&paths(&[10, 100, 1_000]))),
        Ok(mbit) => println!("{}", measure(&paths(&[mbit.parse().expect("`write`, `all` or a rate")]))),
        Err(_) => {
            let corner = |rtt, loss| Path { mbit: 10, rtt, loss, queue: 1.0 };
            compare(&measure(&[corner(20, 0.0), corner(20, 1.0), corner(100, 0.0), corner(100, 1.0)]));
        }
    }
}

#[test]
fn the_reviewed_table_says_how_well_cubic_fills_paths_without_loss() {
    let mut lines = 0;
    for path in paths(&[10, 100, 1_000]).into_iter().filter(|path| path.loss == 0.0) {
        let line = TABLE.lines().find(|line| line.starts_with(&key(path))).expect("a line for each");
        // What is lost when the first slow start overruns a queue of many MB takes seconds to repair: a SACK has room for
        // 283 gaps, so that is how many packets are repaired in a round trip.
        let overrun = path.mbit == 1_000 && (path.rtt == 300 || (path.rtt == 100 && path.queue < 1.0));
        assert!(cells(line)[0] >= Some(if overrun { 70 } else { 90 }), "{line}");
        lines += 1;
    }
    assert_eq!(lines, 3 * RTTS.len() * QUEUES.len());
}

#[test]
fn the_reviewed_table_says_that_bbr_bears_losses_of_one_in_a_hundred() {
    let bbr = Kind::ALL.iter().position(|kind| *kind == Kind::Ours(Congestion::Bbr)).expect("a column");
    for path in paths(&[10, 100]).into_iter().filter(|path| path.loss == 1.0 && path.rtt <= 100) {
        let line = TABLE.lines().find(|line| line.starts_with(&key(path))).expect("a line for each");
        assert!(cells(line)[bbr] >= Some(70), "{line}");
    }
}

#[test]
fn the_reviewed_table_says_that_the_default_is_never_below_another_implementation() {
    let mut compared = 0;
    for line in TABLE.lines().skip(1) {
        let cells = cells(line);
        assert_eq!(cells.len(), Kind::ALL.len());
        let ours = cells[0].expect("the default is run everywhere");
        for (kind, theirs) in Kind::ALL.iter().zip(&cells) {
            if let (Kind::Dcsctp | Kind::SctpProto, Some(theirs)) = (kind, theirs) {
                assert!(ours + NOISE >= *theirs, "{} is better: {line}", kind.name());
                compared += 1;
            }
        }
    }
    assert!(compared > 150, "{compared}");
}

#[test]
fn two_flows_share_a_bottleneck_fairly() {
    for kind in Kind::ours() {
        let mut bulk = Bulk::new(Path { mbit: 4, rtt: 40, loss: 0.0, queue: 1.0 }, 1);
        let first = bulk.begin(kind, 1);
        // The second begins when the first has the whole path.
        bulk.run_for(Duration::from_secs(5));
        let second = bulk.begin(kind, 2);
        let before = bulk.delivered(first);
        bulk.run_for(Duration::from_secs(60));
        let (x, y) = ((bulk.delivered(first) - before) as f64, bulk.delivered(second) as f64);
        let jain = (x + y).powi(2) / (2.0 * (x * x + y * y));
        println!("{}: {x} {y} Jain {jain:.3}", kind.name());
        assert!(jain >= 0.9, "{}: {x} and {y} bytes: {jain:.3}", kind.name());
    }
}
