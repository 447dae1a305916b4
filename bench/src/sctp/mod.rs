//! Two SCTP ends in one thread: no network, no encryption, the real clock.
//!
//! Both implementations are driven alike: the sender's queue is kept filled, then a batch of packets goes one way, the
//! messages are read, and what the receiver has to say goes back. A driver does that with one system call each way.

mod ours;
mod sctp_proto_end;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::ours::Ours;
pub use self::sctp_proto_end::SctpProto;

/// One end.
pub trait End {
    /// Queues a message; `false` when there is no room.
    fn send(&mut self, now: Instant, payload: &Bytes) -> bool;
    /// Payload bytes accepted and not acknowledged.
    fn unacked(&mut self) -> usize;
    /// Gives a batch of packets to the other end and returns how many those were.
    fn carry(&mut self, to: &mut Self, now: Instant) -> usize;
    /// Reads what has arrived and returns the payload bytes and the messages.
    fn read(&mut self) -> (usize, usize);
    /// The next deadline.
    fn deadline(&self) -> Option<Instant>;
    /// The deadline has come.
    fn timeout(&mut self, now: Instant);
    /// The handshake is done.
    fn is_established(&self) -> bool;
}

/// Both ends, and what has gone over.
#[derive(Debug)]
pub struct Link<E> {
    /// The sender.
    pub a: E,
    /// The receiver.
    pub z: E,
    /// Packets from A to Z.
    pub packets: u64,
    /// Packets from Z to A.
    pub answers: u64,
    /// Messages read.
    pub messages: u64,
    /// Payload bytes read.
    pub bytes: u64,
    /// Payload bytes that are kept unacknowledged.
    queue: usize,
    /// How far our time is ahead of the clock: deadlines are not waited for.
    ahead: Duration,
}

impl<E: End> Link<E> {
    /// Connects the two. At least one message is kept unacknowledged, and `queue` bytes.
    pub fn new(a: E, z: E, queue: usize) -> Self {
        let ahead = Duration::ZERO;
        let mut link = Self { a, z, packets: 0, answers: 0, messages: 0, bytes: 0, queue, ahead };
        while !(link.a.is_established() && link.z.is_established()) {
            let now = link.now();
            link.exchange(now);
        }
        link
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
    fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }

    /// Fills the queue and moves a batch.
    pub fn turn(&mut self, payload: &Bytes) {
        let now = self.now();
        while self.a.unacked() < self.queue && self.a.send(now, payload) {}
        self.exchange(now);
    }

    /// Moves one message, alone.
    pub fn one(&mut self, payload: &Bytes) {
        let now = self.now();
        assert!(self.a.send(now, payload));
        let before = self.messages;
        self.exchange(now);
        while self.messages == before {
            let now = self.now();
            self.exchange(now);
        }
    }

    /// A batch from A to Z, and what Z has to say to it.
    fn exchange(&mut self, now: Instant) {
        let there = self.a.carry(&mut self.z, now);
        let (bytes, messages) = self.z.read();
        let back = self.z.carry(&mut self.a, now);
        self.a.read();
        self.packets += there as u64;
        self.answers += back as u64;
        self.bytes += bytes as u64;
        self.messages += messages as u64;
        if there + back == 0 {
            self.skip_to_deadline(now);
        }
    }

    /// Nothing moves without a timer.
    fn skip_to_deadline(&mut self, now: Instant) {
        let Some(deadline) = self.a.deadline().into_iter().chain(self.z.deadline()).min() else { return };
        self.ahead += deadline.saturating_duration_since(now);
        let now = self.now();
        self.a.timeout(now);
        self.z.timeout(now);
    }
}
