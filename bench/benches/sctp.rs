//! Two SCTP associations in memory, ours and those of the registry's `sctp-proto`: no network, no encryption.
//!
//! `cargo bench -p sinnet-bench --bench sctp` prints a table first, then criterion's figures. The rows of the table are
//! measured in turns, several times over, in processor time, and each tells its best: so the ratios hold on a machine that
//! does other things too.

use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sinnet_bench::cpu_time;
use sinnet_bench::sctp::{End, Link, Ours, SctpProto};
use sinnet_sctp::Config;

/// Bytes of a full packet, for all.
const PACKET: usize = 1160;

/// What `sctp-proto` announces as its window; more or less changes nothing.
const RECEIVE_BUFFER: u32 = 1 << 20;

/// What a row of the table does: messages of so many bytes, with as many bytes kept unacknowledged as suits
/// `sctp-proto` best (a longer queue of small messages makes it slower), or one message at a time.
struct Traffic {
    name: &'static str,
    size: usize,
    queue: usize,
    one_by_one: bool,
}

const TRAFFIC: [Traffic; 4] = [
    Traffic { name: "64 KiB", size: 65_536, queue: 64 << 10, one_by_one: false },
    Traffic { name: "1 KiB", size: 1024, queue: 16 << 10, one_by_one: false },
    Traffic { name: "64 B", size: 64, queue: 16 << 10, one_by_one: false },
    Traffic { name: "64 B, one by one", size: 64, queue: 0, one_by_one: true },
];

fn ours(traffic: &Traffic, zero_checksum: bool, interleaving: bool) -> Link<Ours> {
    let mut config = Config::default();
    config.mtu = PACKET;
    config.zero_checksum = zero_checksum;
    config.interleaving = interleaving;
    let (a, z) = Ours::pair(config);
    Link::new(a, z, traffic.queue)
}

fn sctp_proto(traffic: &Traffic) -> Link<SctpProto> {
    let (a, z) = SctpProto::pair(PACKET, RECEIVE_BUFFER);
    Link::new(a, z, traffic.queue)
}

/// Sends a message, or what the queue takes.
fn step<E: End>(link: &mut Link<E>, payload: &Bytes, one_by_one: bool) {
    if one_by_one {
        link.one(payload);
    } else {
        link.turn(payload);
    }
}

/// Something to measure: how to go on for a while.
trait Runner {
    fn run(&mut self, payload: &Bytes, time: Duration) -> Sample;
}

/// What a run has taken.
#[derive(Clone, Copy)]
struct Sample {
    elapsed: f64,
    packets: u64,
    messages: u64,
    bytes: u64,
}

impl Sample {
    fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed / 1e9
    }
}

/// A link used in one of the two ways.
struct Run<E> {
    link: Link<E>,
    one_by_one: bool,
}

impl<E: End> Runner for Run<E> {
    fn run(&mut self, payload: &Bytes, time: Duration) -> Sample {
        let link = &mut self.link;
        let (packets, messages, bytes) = (link.packets, link.messages, link.bytes);
        let start = cpu_time();
        let mut elapsed = Duration::ZERO;
        while elapsed < time {
            for _ in 0..16 {
                step(link, payload, self.one_by_one);
            }
            elapsed = cpu_time() - start;
        }
        Sample {
            elapsed: elapsed.as_secs_f64(),
            packets: link.packets - packets,
            messages: link.messages - messages,
            bytes: link.bytes - bytes,
        }
    }
}

fn table() {
    println!("| messages | | Gbit/s | ns per packet | ns per message | of sctp-proto |");
    println!("|---|---|---|---|---|---|");
    for traffic in &TRAFFIC {
        rows(traffic);
    }
}

fn rows(traffic: &Traffic) {
    let &Traffic { name, size, one_by_one, .. } = traffic;
    let payload = Bytes::from(vec![7; size]);
    let mut runners: Vec<(&str, Box<dyn Runner>)> = vec![
        ("sctp-proto", Box::new(Run { link: sctp_proto(traffic), one_by_one })),
        ("ours, CRC32c", Box::new(Run { link: ours(traffic, false, false), one_by_one })),
        ("ours, zero checksum", Box::new(Run { link: ours(traffic, true, false), one_by_one })),
        ("ours, zero checksum, I-DATA", Box::new(Run { link: ours(traffic, true, true), one_by_one })),
    ];
    let mut best: Vec<Option<Sample>> = vec![None; runners.len()];
    for _ in 0..8 {
        for ((_, runner), best) in runners.iter_mut().zip(&mut best) {
            let sample = runner.run(&payload, Duration::from_millis(50));
            if best.is_none_or(|best| sample.gigabits() > best.gigabits()) {
                *best = Some(sample);
            }
        }
    }
    let best: Vec<Sample> = best.into_iter().flatten().collect();
    for ((what, _), sample) in runners.iter().zip(&best) {
        println!(
            "| {name} | {what} | {:.2} | {:.0} | {:.0} | {:.1} |",
            sample.gigabits(),
            sample.elapsed * 1e9 / sample.packets as f64,
            sample.elapsed * 1e9 / sample.messages as f64,
            sample.gigabits() / best[0].gigabits(),
        );
    }
}

fn criterion_rows<E: End>(c: &mut Criterion, what: &str, make: impl Fn(&Traffic) -> Link<E>) {
    let mut group = c.benchmark_group(format!("sctp, {what}"));
    for traffic in &TRAFFIC {
        let &Traffic { name, size, one_by_one, .. } = traffic;
        let mut link = make(traffic);
        let payload = Bytes::from(vec![7; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |b| {
            b.iter_custom(|n| {
                let until = link.messages + n;
                let start = cpu_time();
                while link.messages < until {
                    step(&mut link, &payload, one_by_one);
                }
                cpu_time() - start
            });
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    table();
    criterion_rows(c, "ours, zero checksum", |traffic| ours(traffic, true, false));
    criterion_rows(c, "ours, CRC32c", |traffic| ours(traffic, false, false));
    criterion_rows(c, "sctp-proto", sctp_proto);
}

criterion_group!(benches, all);
criterion_main!(benches);
