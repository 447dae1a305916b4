//! DTLS 1.2 of ours beside dimpl and OpenSSL, in processor time, in one run and by turns, so that a busy machine is busy
//! for all.
//!
//! `cargo run --release` in this folder. OpenSSL is the system's; its headers are needed.
//!
//! Handshake: both ends, certificates of ECDSA P-256 made beforehand and verified on both sides, X25519, AES-128-GCM.
//! Record: 1200 bytes sealed by one end and opened by the other.
//!
//! With the name of a contestant and a number, only so many handshakes of that one, for a profiler.

mod dimpl_pair;
mod openssl_pair;
mod ours;
mod ring_only;

use std::time::{Duration, Instant};

/// Handshakes of one turn, a tenth of a second or more.
const HANDSHAKES: u32 = 300;
/// Records of one turn.
const RECORDS: u32 = 300_000;
/// Turns; the middle one counts.
const TURNS: usize = 9;

/// A thing to measure: its name, and what does it so many times.
type Contestant<'a> = (&'a str, Box<dyn FnMut(u32) + 'a>);

fn main() {
    let now = start();
    let ours = ours::Fixture::new();
    let dimpl = dimpl_pair::Fixture::new();
    let openssl = openssl_pair::Fixture::new();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, count] = &arguments[..] {
        for _ in 0..count.parse().expect("a number") {
            match name.as_str() {
                "sinnet-dtls" => drop(ours.connect(now)),
                "dimpl" => drop(dimpl.connect(now)),
                _ => drop(openssl.connect()),
            }
        }
        return;
    }
    table(
        "full handshake, both ends",
        HANDSHAKES,
        vec![
            ("sinnet-dtls", Box::new(|n| (0..n).for_each(|_| drop(ours.connect(now))))),
            ("dimpl", Box::new(|n| (0..n).for_each(|_| drop(dimpl.connect(now))))),
            ("openssl", Box::new(|n| (0..n).for_each(|_| drop(openssl.connect())))),
        ],
    );
    let mut our_records = ours::Records::new(&ours, now);
    let mut dimpl_records = dimpl_pair::Records::new(&dimpl, now);
    let mut bare = ring_only::Records::new();
    table(
        "seal and open a record of 1200 bytes",
        RECORDS,
        vec![
            ("ring alone", Box::new(move |n| (0..n).for_each(|_| bare.turn()))),
            ("sinnet-dtls", Box::new(move |n| (0..n).for_each(|_| our_records.turn(now)))),
            ("dimpl", Box::new(move |n| (0..n).for_each(|_| dimpl_records.turn()))),
        ],
    );
}

fn table(title: &str, count: u32, mut contestants: Vec<Contestant<'_>>) {
    let mut times = vec![Vec::new(); contestants.len()];
    for turn in 0..=TURNS {
        for (index, (_, run)) in contestants.iter_mut().enumerate() {
            let begin = processor_time();
            run(count);
            // The first turn warms up.
            if turn > 0 {
                times[index].push((processor_time() - begin) / count);
            }
        }
    }
    println!("{title}");
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_nanos() as f64 / 1000.0
    };
    let medians: Vec<f64> = times.iter_mut().map(median).collect();
    for ((name, _), time) in contestants.iter().zip(&medians) {
        println!("  {name:12} {time:10.2} µs   {:5.2} of the first", time / medians[0]);
    }
}

/// What this thread has had of a processor. Linux may count it in ticks of 4 ms, so a turn is much longer.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number");
    Duration::from_nanos(nanos)
}

fn start() -> Instant {
    Instant::now()
}
