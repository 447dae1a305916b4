//! Two associations, a network of ours between them, and virtual time.

mod bbr;
mod budget;
mod buffered;
mod close;
mod data;
mod filling;
mod flow;
mod handshake;
mod hostile;
mod interleaving;
mod lock;
mod malformed;
mod memory;
mod outage;
mod partial;
mod partial_delivery;
mod path_mtu;
mod pieces;
mod property;
mod reconfig;
mod recovery;
mod reset;
mod snap;
mod wire;
mod zero_checksum;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::wire::chunk::{ChunkType, RawChunk};
use crate::wire::packet::Packet;
use crate::wire::writer::PacketWriter;
use crate::{Association, Config, Event, Message, Ppid, SendError, SendOptions, StreamId};

pub(crate) const A: usize = 0;
pub(crate) const Z: usize = 1;

#[expect(clippy::disallowed_methods, reason = "the one base that virtual time counts from")]
pub(crate) fn base() -> Instant {
    Instant::now()
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Buffers that never fill and need not grow, for tests that are about something else.
pub(crate) fn roomy() -> Config {
    Config {
        send_buffer: 64 << 20,
        initial_send_buffer: 64 << 20,
        receive_buffer: 64 << 20,
        initial_receive_buffer: 64 << 20,
        ..Config::default()
    }
}

/// What the network does with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Deliver,
    Drop,
}

/// A lossy, reordering, duplicating network. Probabilities are in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) loss: u32,
    pub(crate) duplicate: u32,
    pub(crate) latency: Duration,
    /// Added at random, so that packets overtake each other.
    pub(crate) jitter: Duration,
}

impl Weather {
    pub(crate) const FAIR: Self =
        Self { loss: 0, duplicate: 0, latency: Duration::from_millis(10), jitter: Duration::ZERO };
}

/// A link of limited rate in each direction, with a queue before it that drops at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bottleneck {
    pub(crate) bytes_per_second: u32,
    /// The longest that a packet waits.
    pub(crate) queue: Duration,
    pub(crate) busy_until: [Option<Instant>; 2],
}

impl Bottleneck {
    /// How much later the packet gets through, if it does.
    fn pass(&mut self, side: usize, now: Instant, len: usize) -> Option<Duration> {
        let start = self.busy_until[side].unwrap_or(now).max(now);
        if start - now > self.queue {
            return None;
        }
        let end = start + Duration::from_secs(len as u64) / self.bytes_per_second;
        self.busy_until[side] = Some(end);
        Some(end - now)
    }
}

type Script = Box<dyn FnMut(usize, &[u8]) -> Fate>;

/// A packet under way: when it arrives, which it is, to whom.
type Arrival = (Instant, u64, usize, Vec<u8>);

/// Two ends, A and Z, and what is between them.
pub(crate) struct Pair {
    pub(crate) ends: [Association; 2],
    start: Instant,
    pub(crate) now: Instant,
    pub(crate) events: [Vec<Event>; 2],
    pub(crate) weather: Weather,
    /// Sees every packet with the side that sent it, before the weather does.
    pub(crate) script: Script,
    pub(crate) bottleneck: Option<Bottleneck>,
    /// What A gets, it gets at multiples of this.
    pub(crate) lumps: Duration,
    in_flight: BinaryHeap<Reverse<Arrival>>,
    sequence: u64,
    rng: StdRng,
    /// Kinds of the chunks of every packet sent, per side.
    pub(crate) sent: [Vec<Vec<ChunkType>>; 2],
    pub(crate) packet_sizes: [Vec<usize>; 2],
}

impl Pair {
    pub(crate) fn new(config: Config) -> Self {
        Self::with(config.clone(), config, 1)
    }

    /// Without I-DATA: most tests are about what it shares with DATA, and name DATA's chunks and sizes.
    pub(crate) fn with(a: Config, z: Config, seed: u64) -> Self {
        Self::exactly(Config { interleaving: false, ..a }, Config { interleaving: false, ..z }, seed)
    }

    /// With these settings as they are.
    pub(crate) fn exactly(a: Config, z: Config, seed: u64) -> Self {
        let now = base();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut end = |config| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            Association::new(Arc::new(config), now, seed)
        };
        Self {
            ends: [end(a), end(z)],
            start: now,
            now,
            events: [Vec::new(), Vec::new()],
            weather: Weather::FAIR,
            script: Box::new(|_, _| Fate::Deliver),
            bottleneck: None,
            lumps: Duration::ZERO,
            in_flight: BinaryHeap::new(),
            sequence: 0,
            rng,
            sent: [Vec::new(), Vec::new()],
            packet_sizes: [Vec::new(), Vec::new()],
        }
    }

    /// Both ends connected, as browsers do it: both send INIT.
    pub(crate) fn connected(config: Config) -> Self {
        let mut pair = Self::new(config);
        pair.connect();
        pair
    }

    pub(crate) fn connect(&mut self) {
        self.ends[A].connect(self.now);
        self.ends[Z].connect(self.now);
        self.run_for(ms(200));
        assert!(self.ends[A].is_established() && self.ends[Z].is_established());
        self.forget();
    }

    /// Forgets what was recorded so far.
    pub(crate) fn forget(&mut self) {
        self.events = [Vec::new(), Vec::new()];
        self.sent = [Vec::new(), Vec::new()];
        self.packet_sizes = [Vec::new(), Vec::new()];
    }

    /// Takes what both ends have to send and to say.
    pub(crate) fn drain(&mut self) {
        let mut out = [0; 10_000];
        for side in [A, Z] {
            while let Some(len) = self.ends[side].poll_transmit(self.now, &mut out) {
                let packet = &out[..len];
                self.sent[side].push(kinds(packet));
                self.packet_sizes[side].push(len);
                if (self.script)(side, packet) == Fate::Drop || self.chance(self.weather.loss) {
                    continue;
                }
                let mut queued = Duration::ZERO;
                if let Some(bottleneck) = &mut self.bottleneck {
                    match bottleneck.pass(side, self.now, len) {
                        Some(delay) => queued = delay,
                        None => continue,
                    }
                }
                let copies = 1 + usize::from(self.chance(self.weather.duplicate));
                for _ in 0..copies {
                    let jitter =
                        self.weather.jitter.mul_f64(f64::from(self.rng.next_u32()) / 4_294_967_296.0);
                    let mut at = self.now + queued + self.weather.latency + jitter;
                    if side == Z && !self.lumps.is_zero() {
                        let lump = self.lumps.as_nanos();
                        let lumps = (at - self.start).as_nanos().div_ceil(lump);
                        at = self.start + Duration::from_nanos((lumps * lump) as u64);
                    }
                    self.sequence += 1;
                    self.in_flight.push(Reverse((at, self.sequence, 1 - side, packet.to_vec())));
                }
            }
            while let Some(event) = self.ends[side].poll_event() {
                self.events[side].push(event);
            }
            let broken = self.ends[side].broken_rule(self.now);
            assert_eq!(broken, None, "{:?}", self.ends[side]);
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        percent > 0 && self.rng.next_u32() % 100 < percent
    }

    /// Lets one thing happen: the next arrivals or the next timer. `false` when nothing will by `until`.
    pub(crate) fn step(&mut self, until: Instant) -> bool {
        self.drain();
        let arrival = self.in_flight.peek().map(|Reverse((at, ..))| *at);
        let timer = self.ends.iter().filter_map(Association::poll_timeout).min();
        let next = [arrival, timer].into_iter().flatten().min();
        let Some(next) = next.filter(|&next| next <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        // All that has arrived by now is one batch, as a driver takes it.
        while let Some(Reverse((at, ..))) = self.in_flight.peek() {
            if *at > self.now {
                break;
            }
            if let Some(Reverse((_, _, side, packet))) = self.in_flight.pop() {
                self.ends[side].handle_input(self.now, &packet);
            }
        }
        for end in &mut self.ends {
            if end.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
                end.handle_timeout(self.now);
                assert!(end.poll_timeout().is_none_or(|deadline| deadline > self.now), "a deadline stays");
            }
        }
        true
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.drain();
    }

    /// Runs until `done` says so; panics when that takes longer than `limit`.
    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Pair) -> bool) {
        let until = self.now + limit;
        loop {
            if done(self) {
                return;
            }
            if !self.step(until) {
                // What the last step brought may not have been told yet.
                self.drain();
                assert!(done(self), "not done in {limit:?}: {:?}", self.ends);
                return;
            }
        }
    }

    pub(crate) fn send(&mut self, side: usize, stream: u16, payload: &[u8]) {
        self.try_send(side, stream, payload, SendOptions::default()).expect("accepted");
    }

    pub(crate) fn try_send(
        &mut self,
        side: usize,
        stream: u16,
        payload: &[u8],
        options: SendOptions,
    ) -> Result<(), SendError> {
        let payload = Bytes::copy_from_slice(payload);
        self.ends[side].send(self.now, StreamId(stream), Ppid(53), payload, options)
    }

    pub(crate) fn recv(&mut self, side: usize, stream: u16) -> Option<Message> {
        self.ends[side].recv(StreamId(stream))
    }

    /// Everything readable on a stream.
    pub(crate) fn recv_all(&mut self, side: usize, stream: u16) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.recv(side, stream)).map(|m| m.payload.to_vec()).collect()
    }

    /// A packet to `side` with these chunks, sealed with the right tag and checksum.
    pub(crate) fn forge(&self, side: usize, chunks: &[(ChunkType, u8, &[u8])]) -> Vec<u8> {
        forge(self.ends[side].local_tag_for_tests(), chunks)
    }

    pub(crate) fn inject(&mut self, side: usize, chunks: &[(ChunkType, u8, &[u8])]) {
        let packet = self.forge(side, chunks);
        self.ends[side].handle_input(self.now, &packet);
    }
}

/// A packet with any tag.
pub(crate) fn forge(tag: u32, chunks: &[(ChunkType, u8, &[u8])]) -> Vec<u8> {
    let mut buf = vec![0; 70_000];
    let mut packet = PacketWriter::new(&mut buf, 5000, 5000, tag).expect("room");
    for (kind, flags, value) in chunks {
        assert!(packet.chunk(*kind, *flags, &[value]));
    }
    let len = packet.finish();
    buf.truncate(len);
    buf
}

pub(crate) fn raw_chunks(packet: &[u8]) -> Vec<RawChunk<'_>> {
    Packet::parse(packet, true).expect("well-formed").chunks().map(|c| c.expect("well-formed")).collect()
}

pub(crate) fn kinds(packet: &[u8]) -> Vec<ChunkType> {
    raw_chunks(packet).iter().map(|chunk| chunk.kind).collect()
}

pub(crate) fn has(packet: &[u8], kind: ChunkType) -> bool {
    kinds(packet).contains(&kind)
}

/// A script that drops the `nth` packet of `side` that has a chunk of this kind.
pub(crate) fn drop_nth(side: usize, kind: ChunkType, nth: usize) -> Script {
    let mut seen = 0;
    Box::new(move |from, packet| {
        if from == side && has(packet, kind) {
            seen += 1;
            if seen == nth {
                return Fate::Drop;
            }
        }
        Fate::Deliver
    })
}

/// Bytes that tell where they are.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i / 251) as u8).collect()
}
