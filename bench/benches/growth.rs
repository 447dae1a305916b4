//! How cost grows: nanoseconds per message against its size, the number of channels and of connections, and what is in
//! flight. Each should be flat, or linear where there is more to copy.
//!
//! `cargo bench -p sinnet-bench --bench growth` prints tables; `-- --write` also makes the plots in `docs/perf/` anew.
//! Whole connections in one thread, both ends, without sockets; processor time; the best of several turns.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sinnet_bench::stack::{Buffer, Pair, Work, certificate};
use sinnet_bench::svg::{Line, lines, number};
use sinnet_peer::Certificate;

/// Turns of each measurement, and how long each is.
const TURNS: u32 = 8;
const TURN: Duration = Duration::from_millis(40);

/// Measured against something.
type Points = Vec<(f64, f64)>;

/// The least nanoseconds per message of all turns, over all pairs.
fn best(pairs: &mut [Pair], payload: &Bytes, queue: usize) -> f64 {
    let mut buffer = Buffer::default();
    let mut best = f64::INFINITY;
    for turn in 0..=TURNS {
        pairs.iter_mut().for_each(|pair| pair.work = Work::default());
        let sum = |pairs: &[Pair], of: fn(&Work) -> f64| pairs.iter().map(|pair| of(&pair.work)).sum::<f64>();
        let seconds = |pairs: &[Pair]| sum(pairs, |work| work.total().as_secs_f64());
        // All pairs equally often, and each at least once.
        while seconds(pairs) < TURN.as_secs_f64() {
            pairs.iter_mut().for_each(|pair| pair.turn(&mut buffer, payload, queue));
        }
        // The first warms up.
        if turn > 0 {
            best = best.min(seconds(pairs) * 1e9 / sum(pairs, |work| work.messages as f64));
        }
    }
    best
}

fn payload(size: usize) -> Bytes {
    Bytes::from(vec![7; size])
}

fn against_size(certificate: &Arc<Certificate>) -> Points {
    let sizes = [1, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144];
    let cost = |size: usize| {
        let mut pairs = [Pair::new(certificate, 1, 1, None, |_| {})];
        (size as f64, best(&mut pairs, &payload(size), (1 << 20) / size.max(512)))
    };
    sizes.map(cost).into()
}

fn against_channels(certificate: &Arc<Certificate>, size: usize) -> Points {
    let cost = |channels: usize| {
        let mut pairs = [Pair::new(certificate, 1, channels, None, |_| {})];
        // As many messages in all, whatever the number of channels.
        (channels as f64, best(&mut pairs, &payload(size), 1000 / channels))
    };
    [1, 10, 100, 1000].map(cost).into()
}

fn against_connections(certificate: &Arc<Certificate>, size: usize) -> Points {
    let cost = |connections: u32| {
        let mut pairs: Vec<Pair> =
            (0..connections).map(|number| Pair::new(certificate, number, 1, None, |_| {})).collect();
        (f64::from(connections), best(&mut pairs, &payload(size), 16))
    };
    [1, 10, 100, 1000, 10_000].map(cost).into()
}

fn against_flight(certificate: &Arc<Certificate>, size: usize) -> Points {
    let cost = |flight: usize| {
        let tune = |config: &mut sinnet_peer::Config| {
            config.send_buffer = flight;
            config.receive_buffer = 64 << 20;
        };
        // A round trip of a millisecond, at which nothing is paced.
        let mut pairs = [Pair::new(certificate, 1, 1, Some(Duration::from_millis(1)), tune)];
        // Until the window is as large as the buffer.
        let mut buffer = Buffer::default();
        (0..200).for_each(|_| pairs[0].turn(&mut buffer, &payload(size), flight / size));
        (flight as f64, best(&mut pairs, &payload(size), flight / size))
    };
    [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20].map(cost).into()
}

fn main() {
    let certificate = certificate();
    let with_sizes = |of: fn(&Arc<Certificate>, usize) -> Points| -> Vec<Line> {
        [("100 bytes", 100), ("1 KiB", 1024), ("16 KiB", 16_384)]
            .map(|(name, size)| (name.to_owned(), of(&certificate, size)))
            .into()
    };
    // As they are measured, so that each is shown at once.
    type Chart<'a> = (&'a str, &'a str, &'a str, Box<dyn Fn() -> Vec<Line> + 'a>);
    let charts: [Chart<'_>; 4] = [
        (
            "size",
            "message size",
            "bytes",
            Box::new(|| vec![("one message".to_owned(), against_size(&certificate))]),
        ),
        ("channels", "number of channels in use", "channels", Box::new(|| with_sizes(against_channels))),
        (
            "connections",
            "number of connections in use",
            "connections",
            Box::new(|| with_sizes(against_connections)),
        ),
        ("flight", "what is in flight", "bytes", Box::new(|| with_sizes(against_flight))),
    ];
    let is_for_docs = std::env::args().any(|argument| argument == "--write");
    for (file, what, unit, measure) in charts {
        let chart = measure();
        println!("\n### Nanoseconds per message against {what}\n");
        let points: Vec<String> = chart[0].1.iter().map(|point| number(point.0)).collect();
        println!("| {unit} | {} |\n|---{}|", points.join(" | "), "|---".repeat(points.len()));
        for (name, points) in &chart {
            let values: Vec<String> = points.iter().map(|point| number(point.1)).collect();
            println!("| {name} | {} |", values.join(" | "));
        }
        if is_for_docs {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/perf");
            let svg = lines(
                &format!("Cost of a message against {what}"),
                unit,
                "ns per message, both ends",
                &chart,
            );
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(format!("growth-{file}.svg")), svg).expect("a file");
        }
    }
}
