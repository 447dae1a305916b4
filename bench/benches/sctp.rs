//! Two SCTP associations in memory: 64 KiB messages, batches of 40 packets, no network.
//!
//! `cargo bench -p sinnet-bench --bench sctp` prints criterion's figures and, first, one line with Gbit/s of
//! payload and nanoseconds per DATA packet for both sides together.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sinnet_sctp::{Association, Config, Event, Ppid, SendOptions, StreamId};

const BATCH: usize = 40;
const PACKET: usize = 1160;

/// Both ends and the buffer between them.
struct Link {
    a: Association,
    z: Association,
    now: Instant,
    batch: Vec<u8>,
}

impl Link {
    #[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
    fn new() -> Self {
        let now = Instant::now();
        let config = Arc::new(Config::default());
        let mut a = Association::new(config.clone(), now, [1; 32]);
        let z = Association::new(config, now, [2; 32]);
        a.connect(now);
        let mut link = Self { a, z, now, batch: vec![0; BATCH * PACKET] };
        while !(link.a.is_established() && link.z.is_established()) {
            link.round();
        }
        link
    }

    /// A batch from A to Z, and what Z has to say to it. Returns the packets carried.
    fn round(&mut self) -> usize {
        let Self { a, z, now, batch } = self;
        carry(a, z, *now, batch) + carry(z, a, *now, batch)
    }

    /// Moves one message of this size, and returns the packets that took.
    fn message(&mut self, payload: &Bytes) -> usize {
        let mut packets = 0;
        while self.a.send(self.now, StreamId(1), Ppid(53), payload.clone(), SendOptions::default()).is_err() {
            packets += self.round();
        }
        packets += self.round();
        while let Some(message) = self.z.recv(StreamId(1)) {
            black_box(message);
        }
        while let Some(event) = self.z.poll_event() {
            assert!(!matches!(event, Event::Closed(_)));
        }
        while self.a.poll_event().is_some() {}
        packets
    }
}

/// What one side sends in a batch, given to the other.
fn carry(from: &mut Association, to: &mut Association, now: Instant, batch: &mut [u8]) -> usize {
    let mut lengths = [0; BATCH];
    let mut count = 0;
    for (slot, length) in batch.chunks_exact_mut(PACKET).zip(&mut lengths) {
        let Some(len) = from.poll_transmit(now, slot) else { break };
        *length = len;
        count += 1;
    }
    for (slot, &len) in batch.chunks_exact(PACKET).zip(&lengths).take(count) {
        to.handle_input(now, &slot[..len]);
    }
    count
}

#[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
fn report(size: usize, total: usize) {
    let mut link = Link::new();
    let payload = Bytes::from(vec![7; size]);
    for _ in 0..2000 {
        link.message(&payload);
    }
    let before = link.a.stats();
    let start = Instant::now();
    let mut sent = 0;
    while sent < total {
        link.message(&payload);
        sent += size;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let stats = link.a.stats();
    let packets = stats.packets_sent - before.packets_sent;
    println!(
        "{size} byte messages: {:.2} Gbit/s, {:.0} ns per packet (both sides), {:.0} ns per message, {} retransmissions, cwnd {}",
        sent as f64 * 8.0 / elapsed / 1e9,
        elapsed * 1e9 / packets as f64,
        elapsed * 1e9 / (sent / size) as f64,
        stats.retransmissions,
        stats.cwnd,
    );
}

fn bulk(c: &mut Criterion) {
    report(65_536, 2 << 30);
    report(64, 64 << 20);
    let mut group = c.benchmark_group("sctp");
    for size in [64usize, 65_536] {
        let mut link = Link::new();
        let payload = Bytes::from(vec![7; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} B messages"), |b| b.iter(|| link.message(&payload)));
    }
    group.finish();
}

criterion_group!(benches, bulk);
criterion_main!(benches);
