//! The send buffer, and how much of it each stream may hold.
//!
//! What is sent and not acknowledged stays in memory, so all streams together must stay below a limit. If they simply
//! shared one, whoever writes without end would fill it, and everybody else would wait behind that. So each stream has
//! a budget, which depends on what is free (the dynamic thresholds of Choudhury and Hahne, 1998):
//!
//! ```text
//! held by a stream ≤ α · (limit · 5/4 − held by all)      α = 4 · the stream's weight / mean weight of those that hold something
//! ```
//!
//! - One stream alone may hold the limit: all that keeps the congestion window full. A fifth of the whole stays free.
//! - A stream that comes later finds that fifth. As the first is over its budget from then on, what is acknowledged
//!   makes room for the second, until both are at theirs. Nobody has to count streams for that.
//! - Many streams hold up to 5/4 of the limit together, in proportion to their weights, so that each has as much
//!   waiting as its share of the path takes away.
//! - A stream that holds nothing may always queue one message of any size, and small messages up to [`ALWAYS`] bytes. So
//!   nobody starves, whatever others hold, and a message larger than the buffer can be sent.
//!
//! The bound: 5/4 of the limit, and one message or [`ALWAYS`] bytes for each stream.
//!
//! A stream that is refused waits in a queue. It is told when a quarter of its budget is free and what was refused
//! fits; whoever has waited longest first, and the next one as if that had been taken. A stream that holds nothing any more
//! is told in any case. Where very many wait, [`AT_ONCE`] of them are looked at in one go, and the next ones in the next; then who
//! is refused again goes behind those who came later. As what is held is acknowledged or given up one day, nobody
//! waits for ever.

use super::Sender;
use super::send_queue::{MESSAGE_OVERHEAD, QueuedMessage};
use crate::stats::Stats;
use crate::types::StreamId;

/// The most that a stream may hold for what is free; a weight can change it so far.
const ALPHA: u64 = 4;
const MIN_ALPHA: u64 = UNIT / 4;
const MAX_ALPHA: u64 = UNIT * 64;

/// One, in the arithmetic of α.
const UNIT: u64 = 256;

/// Sizes beyond this count as this, so that nothing overflows.
const HUGE: u64 = 1 << 48;

/// What a stream may hold in any case, or a 16th of the limit if that is less.
pub(crate) const ALWAYS: usize = 16 << 10;

/// As long as no more streams wait than this, all of them are looked at whenever something is acknowledged; else when a
/// 64th of the limit is.
pub(crate) const FEW: usize = 8;

/// So many of those that wait are looked at in one go, so that the cost of an acknowledgement does not grow with their number.
pub(crate) const AT_ONCE: usize = 64;

/// What all streams hold.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    payload: usize,
    messages: usize,
    /// Streams that hold something, and the sum of their weights.
    holders: u64,
    weights: u64,
}

/// What one stream holds.
#[derive(Debug)]
pub(crate) struct Held {
    /// Payload bytes not acknowledged.
    pub(crate) payload: usize,
    /// Messages of which something is not acknowledged.
    pub(crate) messages: usize,
    /// The most that it may hold.
    pub(crate) cap: usize,
    pub(crate) wait: Wait,
    /// It has a place in the line of those that wait; maybe one that it does not need any more.
    pub(crate) in_line: bool,
}

/// Whether the owner of a stream is to be told of room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    No,
    /// It was refused, with a message of this size.
    For(usize),
    /// There is room, and the owner does not know yet.
    Over,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self { payload: 0, messages: 0, cap: usize::MAX, wait: Wait::No, in_line: false }
    }

    /// What it counts for in the buffer.
    pub(crate) fn bytes(&self) -> usize {
        charge(self.payload, self.messages)
    }
}

fn charge(payload: usize, messages: usize) -> usize {
    payload.saturating_add(messages.saturating_mul(MESSAGE_OVERHEAD))
}

impl Budget {
    /// Payload bytes that are not acknowledged.
    pub(crate) fn payload(&self) -> usize {
        self.payload
    }

    /// What all of it counts for.
    pub(crate) fn used(&self) -> usize {
        charge(self.payload, self.messages)
    }

    /// A message is queued on a stream of this weight.
    pub(crate) fn take(&mut self, held: &mut Held, weight: u16, payload: usize) {
        if held.messages == 0 {
            self.holders += 1;
            self.weights += u64::from(weight);
        }
        held.payload += payload;
        held.messages += 1;
        self.payload += payload;
        self.messages += 1;
    }

    /// These bytes are acknowledged or given up; their stream knows.
    #[inline]
    pub(crate) fn give_back(&mut self, payload: usize) {
        self.payload -= payload;
    }

    /// So many messages of a stream are gone.
    #[inline]
    pub(crate) fn messages_done(&mut self, held: &mut Held, weight: u16, messages: usize) {
        held.messages -= messages;
        self.messages -= messages;
        if messages > 0 && held.messages == 0 {
            self.holders -= 1;
            self.weights -= u64::from(weight);
        }
    }

    /// The stream's weight is another.
    pub(crate) fn reweigh(&mut self, held: &Held, before: u16, after: u16) {
        if held.messages > 0 {
            self.weights = self.weights - u64::from(before) + u64::from(after);
        }
    }

    /// How many bytes more the stream may hold, if `assumed` are taken by others. `limit` is for one alone.
    pub(crate) fn room(&self, limit: usize, held: &Held, weight: u16, assumed: usize) -> usize {
        let (mut holders, mut weights) = (self.holders, self.weights);
        if held.messages == 0 {
            holders += 1;
            weights += u64::from(weight);
        }
        let own = held.bytes();
        if holders == 1 {
            // What the rest comes to then, without its divisions.
            return limit.min(held.cap).saturating_sub(own);
        }
        let alpha = ALPHA * UNIT * holders * u64::from(weight) / weights.max(1);
        let alpha = alpha.clamp(MIN_ALPHA, MAX_ALPHA);
        let used = self.used().saturating_add(assumed);
        let free = limit.saturating_add(limit / 4).saturating_sub(used);
        // Taken by itself, too: held + room ≤ α · (free − room).
        let room =
            (alpha * (free as u64).min(HUGE)).saturating_sub(UNIT * (own as u64).min(HUGE)) / (alpha + UNIT);
        let always = ALWAYS.min(limit / 16).saturating_sub(own);
        usize::try_from(room).unwrap_or(usize::MAX).max(always).min(held.cap.saturating_sub(own))
    }

    /// Whether a stream that waits with a message of the size `wanted` is to be told when there is so much room, and what
    /// it is expected to take then.
    pub(crate) fn is_enough(held: &Held, room: usize, wanted: usize) -> Option<usize> {
        let least = charge(wanted, 1).max(held.bytes().saturating_add(room) / 4);
        (held.messages == 0 || room >= least).then_some(least)
    }
}

/// The send buffer, as the association sees it.
impl Sender {
    /// Payload bytes that are not acknowledged.
    pub(crate) fn unacked(&self) -> usize {
        self.queue.budget.payload()
    }

    /// How much one stream may hold when it is alone. Messages in flight are counted with their overhead, since the
    /// congestion window does not know it.
    pub(super) fn buffer_limit(&self) -> usize {
        let in_flight = self.congestion.cwnd().saturating_add(self.messages.len() * MESSAGE_OVERHEAD);
        in_flight.saturating_mul(2).clamp(self.buffer_floor, self.buffer_cap)
    }

    /// The largest message that the stream's budget has room for.
    pub(crate) fn capacity(&self, stream: StreamId) -> usize {
        self.queue.room(stream, self.buffer_limit()).saturating_sub(MESSAGE_OVERHEAD)
    }

    /// Whether a message of this size is taken: it fits, or the stream holds nothing. If not, the stream waits.
    pub(crate) fn accepts(&mut self, stream: StreamId, len: usize) -> bool {
        let accepted = match self.queue.stream(stream) {
            Some(stream) if stream.held.messages > 0 => {
                let room = self.queue.room_of(stream, self.buffer_limit());
                len <= room.saturating_sub(MESSAGE_OVERHEAD)
            }
            _ => true,
        };
        if !accepted {
            self.queue.wait(stream, len);
        }
        accepted
    }

    /// Queues a message; `false` when there is no slot left for its stream.
    pub(crate) fn enqueue(&mut self, stream: StreamId, message: QueuedMessage) -> bool {
        self.note_app_limit();
        self.queue.push(stream, message)
    }

    /// Something was acknowledged or given up, or the limit has changed.
    pub(super) fn note_capacity(&mut self) {
        if self.queue.anybody_waits() {
            let limit = self.buffer_limit();
            self.queue.tell_of_room(limit);
        }
    }

    /// The most that a stream may hold.
    pub(crate) fn set_stream_cap(&mut self, id: StreamId, bytes: usize) {
        if let Some(stream) = self.queue.stream_or_new(id) {
            stream.held.cap = bytes;
        }
        let limit = self.buffer_limit();
        self.queue.tell_one_of_room(id, limit);
    }

    /// A message of a stream is given up before anything of it was sent.
    pub(super) fn drop_unsent(&mut self, slot: u16, message: &QueuedMessage, stats: &mut Stats) {
        let len = message.payload.len();
        self.queue.unbuffer(slot, if message.counted { len } else { 0 });
        self.queue.release(slot, len, true);
        stats.messages_abandoned += 1;
        self.note_capacity();
    }
}
