//! Two whole connections in one thread, without sockets: ICE, DTLS, SCTP, channels; the real clock, or one that is turned on
//! by hand.
//!
//! A turn is what a driver does: the sender's queue is kept filled, batches go over, messages are read, and what the receiver
//! has to say goes back. Processor time is taken of each of these steps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinnet_peer::{
    Certificate, ChannelKey, ChannelOptions, ChannelState, Config, Event, Message, Path, Peer, SdpType,
    Transmit,
};

use crate::cpu_time;

/// Segments in a batch, as the driver has them by default.
const SEGMENTS: usize = 54;

/// Batches that a driver sends of one connection before it looks at what has come.
const BATCHES: usize = 8;

/// Largest thing that the kernel takes.
const BATCH: usize = 65_507;

/// A step of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `try_send` until the queue is full.
    Send,
    /// The sender's `poll_transmit` with data.
    TransmitData,
    /// The receiver's `handle_datagram` of data.
    ReceiveData,
    /// `recv`.
    Read,
    /// The receiver's `poll_transmit` of acknowledgements.
    TransmitAcks,
    /// The sender's `handle_datagram` of acknowledgements.
    ReceiveAcks,
}

/// All steps, in their order.
pub const STEPS: [Step; 6] =
    [Step::Send, Step::TransmitData, Step::ReceiveData, Step::Read, Step::TransmitAcks, Step::ReceiveAcks];

/// What has been done, and how long it took.
#[derive(Clone, Copy, Default, Debug)]
pub struct Work {
    /// Messages read.
    pub messages: u64,
    /// Payload read, bytes.
    pub bytes: u64,
    /// Datagrams from the sender.
    pub datagrams: u64,
    /// Datagrams from the receiver.
    pub answers: u64,
    /// Processor time by step.
    pub steps: [Duration; STEPS.len()],
}

impl Work {
    /// Processor time of all steps.
    pub fn total(&self) -> Duration {
        self.steps.iter().sum()
    }
}

struct End {
    peer: Peer,
    channels: Vec<ChannelKey>,
}

/// What a driver has for all of its connections: room for one batch.
pub struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; BATCH])
    }
}

/// A sender and a receiver that are connected.
pub struct Pair {
    a: End,
    z: End,
    now: Instant,
    /// Whether time is turned on by hand; how far at each turn.
    step: Option<Duration>,
    next: usize,
    /// What was done so far.
    pub work: Work,
}

/// The identity that all have.
pub fn certificate() -> Arc<Certificate> {
    Arc::new(Certificate::generate(1_795_000_000).expect("a certificate"))
}

fn addr(number: u32, port: u16) -> SocketAddr {
    let [_, b, c, d] = number.to_be_bytes();
    ([10, b, c, d], port).into()
}

fn datagrams(transmit: &Transmit) -> u64 {
    transmit.segment_size.map_or(1, |size| transmit.size.div_ceil(size)) as u64
}

/// Gives a batch to the other end, which sees the path the other way round.
fn carry(from: &mut End, to: &mut End, now: Instant, buffer: &mut [u8]) {
    while let Some(transmit) = from.peer.poll_transmit(now, SEGMENTS, buffer) {
        let path = Path::udp(transmit.path.remote, transmit.path.local);
        for datagram in buffer[..transmit.size].chunks_mut(transmit.segment_size.unwrap_or(transmit.size)) {
            to.peer.handle_datagram(now, path, datagram);
        }
    }
}

impl Pair {
    /// Two ends with so many channels between them. `step` is how far time goes on at each turn: what is sent in one arrives in
    /// it, and is acknowledged in the next; by the real clock if there is none.
    #[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
    pub fn new(
        certificate: &Arc<Certificate>,
        number: u32,
        channels: usize,
        step: Option<Duration>,
        tune: impl Fn(&mut Config),
    ) -> Self {
        let now = Instant::now();
        let mut config = Config::new(certificate.clone());
        tune(&mut config);
        let config = Arc::new(config);
        let end = |seed: u8| End {
            peer: Peer::new(config.clone(), now, std::array::from_fn(|i| number.to_le_bytes()[i % 4] ^ seed)),
            channels: Vec::new(),
        };
        let mut pair = Self { a: end(1), z: end(2), now, step, next: 0, work: Work::default() };
        pair.connect(number, channels);
        pair
    }

    fn connect(&mut self, number: u32, channels: usize) {
        let now = self.now;
        let Buffer(mut buffer) = Buffer::default();
        let (a, z) = (&mut self.a.peer, &mut self.z.peer);
        for _ in 0..channels {
            self.a.channels.push(a.open_channel(now, ChannelOptions::default()).expect("a channel"));
        }
        let offer = a.create_offer().expect("an offer");
        a.set_local_description(now, SdpType::Offer, &offer).expect("our own");
        a.add_local_host(now, addr(number, 1));
        a.end_of_local_candidates(now);
        let offer = a.local_description().expect("our own").1;
        z.set_remote_description(now, SdpType::Offer, &offer).expect("a good offer");
        let answer = z.create_answer().expect("an answer");
        z.set_local_description(now, SdpType::Answer, &answer).expect("our own");
        z.add_local_host(now, addr(number, 2));
        z.end_of_local_candidates(now);
        let answer = z.local_description().expect("our own").1;
        a.set_remote_description(now, SdpType::Answer, &answer).expect("a good answer");
        for _ in 0..10_000 {
            self.tick(Duration::from_micros(500));
            carry(&mut self.a, &mut self.z, self.now, &mut buffer);
            carry(&mut self.z, &mut self.a, self.now, &mut buffer);
            while let Some(event) = self.z.peer.poll_event() {
                if let Event::ChannelOpened(key) = event {
                    self.z.channels.push(key);
                }
            }
            while self.a.peer.poll_event().is_some() {}
            let is_open = |key: &ChannelKey| self.a.peer.channel_state(*key) == ChannelState::Open;
            if self.z.channels.len() == channels && self.a.channels.iter().all(is_open) {
                return;
            }
        }
        panic!("the two do not connect");
    }

    /// Time goes on, and what is due is done.
    fn tick(&mut self, by: Duration) {
        self.now += by;
        for end in [&mut self.a, &mut self.z] {
            while end.peer.poll_timeout().is_some_and(|at| at <= self.now) {
                end.peer.handle_timeout(self.now);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
    fn go_on(&mut self) {
        let by = self.step.unwrap_or_else(|| Instant::now().saturating_duration_since(self.now));
        self.tick(by);
    }

    /// Keeps up to `queue` messages for each channel on their way, and moves what there is to move once in each direction.
    pub fn turn(&mut self, Buffer(buffer): &mut Buffer, payload: &Bytes, queue: usize) {
        self.go_on();
        let now = self.now;
        let mut lap = Lap::start(self.work.steps);
        for _ in 0..queue * self.a.channels.len() {
            let key = self.a.channels[self.next % self.a.channels.len()];
            self.next += 1;
            if self.a.peer.try_send(now, key, Message::Binary(payload.clone())).is_err() {
                break;
            }
        }
        lap.end(Step::Send);
        // With a time of our own, all that the windows allow is on its way at once.
        let batches = if self.step.is_some() { usize::MAX } else { BATCHES };
        for _ in 0..batches {
            let Some(transmit) = self.a.peer.poll_transmit(now, SEGMENTS, buffer) else { break };
            lap.end(Step::TransmitData);
            self.work.datagrams += datagrams(&transmit);
            let path = Path::udp(transmit.path.remote, transmit.path.local);
            for datagram in buffer[..transmit.size].chunks_mut(transmit.segment_size.unwrap_or(transmit.size))
            {
                self.z.peer.handle_datagram(now, path, datagram);
            }
            lap.end(Step::ReceiveData);
        }
        lap.end(Step::TransmitData);
        while let Some(event) = self.z.peer.poll_event() {
            let Event::Readable(key) = event else { continue };
            while let Some(message) = self.z.peer.recv(key) {
                self.work.messages += 1;
                self.work.bytes += message.len() as u64;
            }
        }
        lap.end(Step::Read);
        while let Some(transmit) = self.z.peer.poll_transmit(now, SEGMENTS, buffer) {
            lap.end(Step::TransmitAcks);
            self.work.answers += datagrams(&transmit);
            let path = Path::udp(transmit.path.remote, transmit.path.local);
            for datagram in buffer[..transmit.size].chunks_mut(transmit.segment_size.unwrap_or(transmit.size))
            {
                self.a.peer.handle_datagram(now, path, datagram);
            }
            lap.end(Step::ReceiveAcks);
        }
        while self.a.peer.poll_event().is_some() {}
        lap.end(Step::ReceiveAcks);
        self.work.steps = lap.steps;
    }
}

/// Takes the time of one step after the other.
struct Lap {
    steps: [Duration; STEPS.len()],
    last: Duration,
}

impl Lap {
    fn start(steps: [Duration; STEPS.len()]) -> Self {
        Self { steps, last: cpu_time() }
    }

    fn end(&mut self, step: Step) {
        let now = cpu_time();
        self.steps[step as usize] += now - self.last;
        self.last = now;
    }
}
