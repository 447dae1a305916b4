//! Messages and stream resets at random, and what must come of them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{Happening, Incoming, Note, Outgoing, World};

/// How many streams [`Traffic`] uses.
pub const STREAMS: usize = 6;

/// What was sent.
#[derive(Clone, Copy, Debug)]
struct Record {
    stream: usize,
    /// How often the stream had been reset before.
    generation: u32,
    len: usize,
    ordered: bool,
    reliable: bool,
    arrived: bool,
}

/// How far the two resets that close a stream have come, as one side sees it.
#[derive(Clone, Copy, Default, Debug)]
struct Closing {
    wanted: bool,
    asked: bool,
    done: bool,
    /// The peer can be a reset ahead: it may not wait for us to hear that ours is done.
    by_peer: u32,
}

/// What both sides send, and the account of it.
#[derive(Debug)]
pub struct Traffic {
    rng: StdRng,
    /// Messages still to send, by side.
    left: [usize; 2],
    /// Closing of a stream still to begin.
    pub resets: usize,
    /// The longest message.
    pub max_len: usize,
    /// The longest message that has a lifetime, by side.
    pub max_len_with_lifetime: [usize; 2],
    /// Whether some messages may be given up.
    pub partial: bool,
    sent: [Vec<Record>; 2],
    closing: [[Closing; STREAMS]; 2],
    generation_out: [[u32; STREAMS]; 2],
    generation_in: [[u32; STREAMS]; 2],
    last_ordered: [[Option<u32>; STREAMS]; 2],
}

impl Traffic {
    /// So many messages from each side.
    pub fn new(seed: u64, messages: [usize; 2]) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            left: messages,
            resets: 0,
            max_len: 5_000,
            max_len_with_lifetime: [usize::MAX; 2],
            partial: false,
            sent: Default::default(),
            closing: Default::default(),
            generation_out: Default::default(),
            generation_in: Default::default(),
            last_ordered: Default::default(),
        }
    }

    /// Sends a few messages and begins to close streams, as the dice fall.
    pub fn act(&mut self, world: &mut World) {
        for side in [0, 1] {
            while self.left[side] > 0 && self.rng.random_bool(0.7) {
                if !self.send(world, side) {
                    break;
                }
            }
            if self.resets > 0 && self.rng.random_bool(0.1) {
                self.resets -= 1;
                let stream = self.rng.random_range(0..STREAMS);
                self.closing[side][stream].wanted = true;
            }
        }
        self.ask_for_resets(world);
    }

    /// Sends one message on a stream that is open; `false` if there is none, or no room.
    fn send(&mut self, world: &mut World, side: usize) -> bool {
        let stream = self.rng.random_range(0..STREAMS);
        if self.closing[side][stream].wanted {
            return false;
        }
        let len = match self.rng.random_range(0..20) {
            0..3 => 1,
            3..11 => self.rng.random_range(1..100),
            11..14 => self.rng.random_range(1_000..1_300),
            _ => self.rng.random_range(1..=self.max_len),
        };
        let ordered = self.rng.random_bool(0.7);
        let limit = if self.partial { self.rng.random_range(0..4) } else { 2 };
        let len = if limit == 1 { len.min(self.max_len_with_lifetime[side]) } else { len };
        let record = Record {
            stream,
            generation: self.generation_out[side][stream],
            len,
            ordered,
            reliable: limit > 1,
            arrived: false,
        };
        let id = self.sent[side].len() as u32;
        let message = Outgoing {
            stream: stream as u16,
            id,
            payload: content(side, id, len).into(),
            unordered: !ordered,
            max_retransmits: (limit == 0).then(|| self.rng.random_range(0..3)),
            lifetime: (limit == 1).then(|| Duration::from_millis(self.rng.random_range(1..1_000))),
        };
        let taken = world.ends[side].send(world.now, &message);
        if taken {
            self.sent[side].push(record);
            self.left[side] -= 1;
        }
        taken
    }

    /// Takes what has arrived, compares it with what was sent, and answers resets.
    ///
    /// # Panics
    ///
    /// When anything is not as it must be.
    pub fn check(&mut self, world: &mut World) {
        for side in [0, 1] {
            for happening in std::mem::take(&mut world.log[side]) {
                match happening {
                    Happening::Message(message) => self.check_message(side, &message),
                    Happening::Note(Note::ResetByPeer(streams)) => {
                        for stream in streams {
                            self.reset_by_peer(side, usize::from(stream));
                        }
                    }
                    Happening::Note(Note::ResetDone(streams)) => {
                        for stream in streams {
                            let closing = &mut self.closing[side][usize::from(stream)];
                            assert!(closing.asked && !closing.done, "stream {stream} reset unasked");
                            closing.done = true;
                            self.reopen(side, usize::from(stream));
                        }
                    }
                    Happening::Note(other) => panic!("{other:?} at {side}"),
                }
            }
        }
        self.ask_for_resets(world);
    }

    fn check_message(&mut self, side: usize, message: &Incoming) {
        let sender = 1 - side;
        let id = message.id;
        let record = self.sent[sender].get_mut(id as usize).expect("a message that was sent");
        let stream = record.stream;
        assert_eq!(usize::from(message.stream), stream, "message {id} in another stream");
        assert!(!record.arrived, "message {id} twice");
        record.arrived = true;
        assert_eq!(record.generation, self.generation_in[side][stream], "message {id} after a reset");
        assert_eq!(message.payload.len(), record.len, "the length of message {id}");
        assert!(message.payload == content(sender, id, record.len), "message {id} is damaged");
        if record.ordered {
            let last = self.last_ordered[side][stream].replace(id);
            assert!(last < Some(id), "message {id} after {last:?}");
        }
    }

    fn reset_by_peer(&mut self, side: usize, stream: usize) {
        let generation = self.generation_in[side][stream];
        for (id, record) in self.sent[1 - side].iter().enumerate() {
            let missing = record.stream == stream
                && record.generation == generation
                && record.reliable
                && !record.arrived;
            assert!(!missing, "message {id}, {record:?}, was not there at the reset of its stream at {side}");
        }
        let closing = &mut self.closing[side][stream];
        closing.by_peer += 1;
        assert!(closing.by_peer <= 2, "stream {stream} reset too often");
        closing.wanted = true;
        self.generation_in[side][stream] += 1;
        self.last_ordered[side][stream] = None;
        self.reopen(side, stream);
    }

    /// A stream is used again after both of its directions were reset.
    fn reopen(&mut self, side: usize, stream: usize) {
        let closing = &mut self.closing[side][stream];
        if closing.done && closing.by_peer > 0 {
            let by_peer = closing.by_peer - 1;
            *closing = Closing { by_peer, wanted: by_peer > 0, ..Closing::default() };
            self.generation_out[side][stream] += 1;
        }
    }

    fn ask_for_resets(&mut self, world: &mut World) {
        for side in [0, 1] {
            for stream in 0..STREAMS {
                let closing = &mut self.closing[side][stream];
                if closing.wanted && !closing.asked {
                    closing.asked = world.ends[side].reset(world.now, stream as u16);
                }
            }
        }
    }

    /// One more message of each side, that arrives.
    ///
    /// # Panics
    ///
    /// When there is no room for it: what was sent before may be given up, so all of it leaves the buffer in the end.
    pub fn say_goodbye(&mut self, world: &mut World) {
        (self.partial, self.max_len) = (false, 1);
        for side in [0, 1] {
            self.left[side] = 1;
            for _ in 0..10_000 {
                if self.send(world, side) {
                    break;
                }
                world.run_for(Duration::from_millis(20));
            }
            assert_eq!(self.left[side], 0, "a message is refused for ever");
        }
    }

    /// No more messages and resets are begun.
    pub fn stop(&mut self) {
        self.left = [0; 2];
        self.resets = 0;
    }

    /// Whether all is sent, all that must has arrived, and no stream is half closed.
    pub fn is_done(&self) -> bool {
        self.left == [0; 2] && self.arrived_from(0) && self.arrived_from(1) && !self.closes_streams()
    }

    /// Whether streams are being closed, or will be.
    pub fn closes_streams(&self) -> bool {
        self.resets > 0 || self.closing.iter().flatten().any(|closing| closing.wanted)
    }

    /// Whether all has arrived that a side sent and had to arrive.
    pub fn arrived_from(&self, side: usize) -> bool {
        self.sent[side].iter().all(|record| record.arrived || !record.reliable)
    }

    /// What is missing, for messages.
    pub fn missing(&self) -> String {
        let missing = |side: usize| {
            let lost = |record: &&Record| record.reliable && !record.arrived;
            (self.left[side], self.sent[side].iter().filter(lost).count())
        };
        format!("not sent, not arrived: {:?}; {:?}", [missing(0), missing(1)], self.closing)
    }
}

/// Bytes that tell whose they are and where.
fn content(side: usize, id: u32, len: usize) -> Vec<u8> {
    let seed = (side as u32 + 1).wrapping_mul(0x9e37_79b9) ^ id.wrapping_mul(0x85eb_ca6b);
    (0..len as u32).map(|at| (seed.wrapping_add(at.wrapping_mul(0x0101_6b2b)) >> 13) as u8).collect()
}
