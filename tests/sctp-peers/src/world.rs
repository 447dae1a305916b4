//! Two sides, the network between them, and the clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sinnet_netsim::{LinkConfig, Net, Payload};

use crate::{Endpoint, Incoming, Note};

/// Steps without progress of the clock before the world is said to spin.
const STEPS_PER_INSTANT: usize = 10_000;

/// A packet that knows whether it was damaged under way, as DTLS would.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The packet.
    pub bytes: Vec<u8>,
    /// As it was sent.
    pub intact: bool,
}

impl Payload for Sealed {
    fn size(&self) -> usize {
        self.bytes.size()
    }

    fn flip(&mut self, bit: usize) {
        Payload::flip(&mut self.bytes, bit);
        self.intact = false;
    }
}

/// What has happened at a side.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A message has arrived.
    Message(Incoming),
    /// It has something to say.
    Note(Note),
}

impl Happening {
    /// What it says, if anything.
    pub fn note(&self) -> Option<&Note> {
        match self {
            Self::Note(note) => Some(note),
            Self::Message(_) => None,
        }
    }
}

/// Two endpoints at the ends of a network.
pub struct World {
    /// The sides.
    pub ends: [Box<dyn Endpoint>; 2],
    /// What has happened at each and was not looked at, in order.
    pub log: [Vec<Happening>; 2],
    /// Whether a side takes its messages and hears its notes.
    pub reading: [bool; 2],
    /// The time.
    pub now: Instant,
    /// The network.
    pub net: Net<Sealed>,
    /// Damaged packets disappear, as under DTLS; else the checksum has to find them.
    pub drop_damaged: bool,
    addresses: [SocketAddr; 2],
    same_instant: usize,
}

/// The one real instant; all others are computed from it.
#[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
pub(crate) fn base() -> Instant {
    Instant::now()
}

impl World {
    /// Two sides that know nothing of each other; `ends` makes them for the instant they live from.
    pub fn new(seed: u64, link: LinkConfig, ends: impl FnOnce(Instant) -> [Box<dyn Endpoint>; 2]) -> Self {
        let now = base();
        let mut net = Net::new(seed, now);
        net.set_default_link(link);
        Self {
            ends: ends(now),
            log: [Vec::new(), Vec::new()],
            reading: [true, true],
            now,
            net,
            drop_damaged: true,
            addresses: ["10.0.0.1:1", "10.0.0.2:2"].map(|text| text.parse().expect("an address")),
            same_instant: 0,
        }
    }

    /// Changes the network from now on.
    pub fn set_link(&mut self, link: LinkConfig) {
        let [a, z] = self.addresses;
        self.net.set_link(a.ip(), z.ip(), link);
    }

    /// Takes what a side has to send and, if it reads, what it has to say; checks the rules.
    ///
    /// # Panics
    ///
    /// When a rule against stalling is broken.
    pub fn pump(&mut self, side: usize) {
        let end = &mut self.ends[side];
        loop {
            let mut moved = false;
            while let Some(bytes) = end.transmit(self.now) {
                moved = true;
                let [from, to] = [self.addresses[side], self.addresses[1 - side]];
                self.net.send(self.now, from, to, Sealed { bytes, intact: true });
            }
            if !self.reading[side] {
                break;
            }
            while let Some(message) = end.recv() {
                self.log[side].push(Happening::Message(message));
                moved = true;
            }
            while let Some(note) = end.note() {
                self.log[side].push(Happening::Note(note));
            }
            // Reading, of parts of a message too, may have something to send for it.
            if !moved {
                break;
            }
        }
        if let Some(rule) = end.broken_rule(self.now) {
            panic!("{rule}");
        }
    }

    /// Lets one thing happen: the next arrivals or the next deadline. `false` when nothing will by `until`.
    ///
    /// # Panics
    ///
    /// When a rule is broken, or a side is busy without end.
    pub fn step(&mut self, until: Instant) -> bool {
        self.pump(0);
        self.pump(1);
        let deadlines = self.ends.iter().filter_map(|end| end.deadline());
        let next = deadlines.chain(self.net.next_arrival()).min();
        let Some(next) = next.filter(|&next| next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.same_instant = if next > self.now { 0 } else { self.same_instant + 1 };
        assert!(self.same_instant < STEPS_PER_INSTANT, "the world spins");
        self.now = self.now.max(next);
        while let Some(datagram) = self.net.recv(self.now) {
            if datagram.payload.intact || !self.drop_damaged {
                let side = usize::from(datagram.dst == self.addresses[1]);
                self.ends[side].handle_input(self.now, &datagram.payload.bytes);
                if side == 1 {
                    self.pump(side);
                }
            }
        }
        for end in &mut self.ends {
            if end.deadline().is_some_and(|at| at <= self.now) {
                end.handle_timeout(self.now);
            }
        }
        true
    }

    /// Runs for so long.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
    }

    /// Runs until `done` says so; `false` if it has not after so long.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut World) -> bool) -> bool {
        let until = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(until) {
                return done(self);
            }
        }
    }

    /// Both sides connected, whoever begins.
    ///
    /// # Panics
    ///
    /// When that takes more than twenty minutes.
    pub fn connect(&mut self, begins: [bool; 2]) {
        for (end, begins) in self.ends.iter_mut().zip(begins) {
            if begins {
                end.connect(self.now);
            }
        }
        let up = self.run_until(Duration::from_secs(1_200), |world| {
            [0, 1].map(|side| world.has_said(side, |note| *note == Note::Connected)) == [true, true]
        });
        assert!(up, "no connection: {:?}", self.log);
        for log in &mut self.log {
            log.retain(|happening| happening.note() != Some(&Note::Connected));
            assert!(log.is_empty(), "besides the connection: {log:?}");
        }
    }

    /// Whether a side has said such a thing.
    pub fn has_said(&self, side: usize, such: impl Fn(&Note) -> bool) -> bool {
        self.log[side].iter().filter_map(Happening::note).any(such)
    }
}
