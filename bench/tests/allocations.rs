//! How often SCTP asks for memory, once it has what it needs: never to send or to acknowledge, once a message to receive.
//!
//! Each step of either side is counted by itself, with a counting allocator. `-- --nocapture` prints the counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use bytes::Bytes;
use sinnet_sctp::{Association, Config, Ppid, SendOptions, StreamId};

const PACKET: usize = 1160;
const BATCH: usize = 40;
const STREAM: StreamId = StreamId(1);

/// How many packets' worth is sent before it is counted, and as much while it is.
const PACKETS: u64 = 3000;

/// Allocations by step.
#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    messages: u64,
    packets: u64,
    retransmissions: u64,
    send: u64,
    transmit: u64,
    input_sack: u64,
    sender_events_and_timers: u64,
    input_data: u64,
    sack: u64,
    recv: u64,
    receiver_events_and_timers: u64,
}

impl Counts {
    fn sender(&self) -> u64 {
        self.send + self.transmit + self.input_sack + self.sender_events_and_timers
    }

    fn receiver(&self) -> u64 {
        self.input_data + self.sack + self.recv + self.receiver_events_and_timers
    }
}

/// What is sent: sizes in turn, and every so many packets one is lost.
#[derive(Clone, Copy)]
struct Traffic {
    sizes: &'static [usize],
    lose_every: Option<u64>,
    interleaving: bool,
    zero_checksum: bool,
}

struct Pair {
    a: Association,
    z: Association,
    now: Instant,
    batch: Vec<u8>,
    counts: Counts,
    sent: u64,
}

fn count(total: &mut u64, run: impl FnOnce()) {
    *total += measure(run).count_total;
}

/// Writes a batch of packets and returns their lengths, with zeros behind.
fn transmit(from: &mut Association, now: Instant, batch: &mut [u8]) -> [usize; BATCH] {
    let mut lengths = [0; BATCH];
    for (slot, length) in batch.chunks_exact_mut(PACKET).zip(&mut lengths) {
        let Some(len) = from.poll_transmit(now, slot) else { break };
        *length = len;
    }
    lengths
}

fn events_and_timers(end: &mut Association, now: Instant) {
    while end.poll_event().is_some() {}
    while end.poll_timeout().is_some_and(|deadline| deadline <= now) {
        end.handle_timeout(now);
    }
}

impl Pair {
    #[expect(clippy::disallowed_methods, reason = "one base instant")]
    fn new(traffic: Traffic) -> Self {
        let now = Instant::now();
        let mut config = Config::default();
        config.mtu = PACKET;
        config.max_mtu = PACKET;
        config.interleaving = traffic.interleaving;
        config.zero_checksum = traffic.zero_checksum;
        let config = Arc::new(config);
        let mut a = Association::new(config.clone(), now, [1; 32]);
        let z = Association::new(config, now, [2; 32]);
        a.connect(now);
        let batch = vec![0; BATCH * PACKET];
        let mut pair = Self { a, z, now, batch, counts: Counts::default(), sent: 0 };
        while !(pair.a.is_established() && pair.z.is_established()) {
            pair.exchange(None);
        }
        pair
    }

    /// A batch there, and what comes back.
    fn exchange(&mut self, lose_every: Option<u64>) {
        let Self { a, z, now, batch, counts, .. } = self;
        *now += Duration::from_micros(100);
        let now = *now;
        let mut lengths = [0; BATCH];
        count(&mut counts.transmit, || lengths = transmit(a, now, batch));
        for (slot, &len) in batch.chunks_exact(PACKET).zip(lengths.iter().take_while(|&&len| len > 0)) {
            counts.packets += 1;
            if lose_every.is_none_or(|n| counts.packets % n != 0) {
                count(&mut counts.input_data, || z.handle_input(now, &slot[..len]));
            }
        }
        count(&mut counts.receiver_events_and_timers, || events_and_timers(z, now));
        loop {
            let mut message = None;
            count(&mut counts.recv, || message = z.recv(STREAM));
            let Some(message) = message else { break };
            counts.messages += 1;
            drop(message);
        }
        count(&mut counts.sack, || lengths = transmit(z, now, batch));
        for (slot, &len) in batch.chunks_exact(PACKET).zip(lengths.iter().take_while(|&&len| len > 0)) {
            count(&mut counts.input_sack, || a.handle_input(now, &slot[..len]));
        }
        count(&mut counts.sender_events_and_timers, || events_and_timers(a, now));
    }

    fn run(&mut self, traffic: Traffic, messages: u64) {
        let longest = traffic.sizes.iter().copied().max().unwrap_or(0);
        let payload = Bytes::from(vec![7; longest]);
        // The first clone makes the count of references: that is the application's.
        let _shared = payload.clone();
        let until = self.sent + messages;
        // It is not waited for the last: an association with nothing to do may give memory back.
        while self.sent < until {
            while self.sent < until && self.a.total_buffered() < 128 << 10 {
                let size = traffic.sizes[self.sent as usize % traffic.sizes.len()];
                let (a, now, message) = (&mut self.a, self.now, payload.slice(..size));
                count(&mut self.counts.send, || {
                    a.send(now, STREAM, Ppid(53), message, SendOptions::default()).expect("there is room");
                });
                self.sent += 1;
            }
            self.exchange(traffic.lose_every);
        }
    }
}

/// What it takes in steady state.
fn steady(name: &str, traffic: Traffic) -> Counts {
    let mut pair = Pair::new(traffic);
    let longest = traffic.sizes.iter().copied().max().unwrap_or(0) as u64;
    let messages = (PACKETS * PACKET as u64 / longest).max(100);
    pair.run(traffic, messages);
    pair.counts = Counts::default();
    let before = pair.a.stats().retransmissions;
    pair.run(traffic, messages);
    pair.counts.retransmissions = pair.a.stats().retransmissions - before;
    assert!(pair.counts.messages > messages / 2);
    println!("{name}: {:?}", pair.counts);
    pair.counts
}

const BULK: Traffic =
    Traffic { sizes: &[65_536], lose_every: None, interleaving: false, zero_checksum: true };

#[test]
fn nothing_is_allocated_to_send_and_once_a_message_to_receive() {
    for sizes in [&[65_536][..], &[4_000], &[1024], &[64], &[64, 1024, 700]] {
        for interleaving in [false, true] {
            for zero_checksum in [false, true] {
                let traffic = Traffic { sizes, interleaving, zero_checksum, ..BULK };
                let counts = steady(&format!("{sizes:?}, I-DATA {interleaving}"), traffic);
                assert_eq!(counts.sender(), 0, "{counts:?}");
                // Its buffer is as large as the message before.
                let most = if sizes.len() == 1 { 1 } else { 2 };
                // Queues that were long give memory back when they are read, and take it again.
                let seldom = 1 + counts.messages / 50;
                assert!(counts.receiver() <= most * counts.messages + seldom, "{counts:?}");
            }
        }
    }
}

#[test]
fn losses_cost_neither_the_sender_nor_the_sack_anything() {
    for sizes in [&[65_536][..], &[4_000], &[1024], &[64]] {
        for interleaving in [false, true] {
            let traffic = Traffic { sizes, lose_every: Some(53), interleaving, ..BULK };
            let counts = steady(&format!("{sizes:?}, I-DATA {interleaving}, 1 of 53 lost"), traffic);
            assert!(counts.retransmissions > 0);
            assert_eq!(counts.sender() + counts.sack, 0, "{counts:?}");
        }
    }
}
