//! Incoming streams: messages into their order, and to the application.

use std::collections::{BTreeMap, VecDeque};

use super::reassembly::{ALLOCATION, Assembled};
use crate::event::Message;
use crate::stream_map::StreamMap;
use crate::types::{Mid, Ppid, StreamId};

/// Where numbers begin: away from zero, so that one before it can be computed.
const FIRST: u64 = 1 << 32;

/// What a message that waits counts for besides its payload: its place in the tree, whose nodes are half full at
/// the least.
const WAITING: usize = 2 * size_of::<((StreamId, u64), Message)>() + ALLOCATION;

/// Streams with nothing to read whose queue is kept for the next message, with room for [`KEPT_ROOM`] messages.
const MAX_KEPT: usize = 32;
const KEPT_ROOM: usize = 128;

/// One incoming stream.
#[derive(Debug)]
pub(super) struct InStream {
    id: StreamId,
    /// The owner knows that there is something to read.
    announced: bool,
    /// The number of the next ordered message; its low 32 bits are the MID, the low 16 of those the SSN.
    next: u64,
    ready: VecDeque<Message>,
    readable_bytes: usize,
}

impl InStream {
    fn new(id: StreamId) -> Self {
        Self { id, announced: false, next: FIRST, ready: VecDeque::new(), readable_bytes: 0 }
    }

    /// Memory of the queue, without the payloads. An empty one is not counted: how many of those are kept is
    /// limited.
    fn held_by_queue(&self) -> usize {
        if self.ready.is_empty() { 0 } else { self.ready.capacity() * size_of::<Message>() + ALLOCATION }
    }

    /// The number that a MID stands for, or an SSN in its low half: the one next to `next`.
    fn number(&self, mid: Mid, interleaving: bool) -> u64 {
        // The truncations are the point: the low part of the number is what comes on the wire.
        let distance = mid.distance_from(Mid(self.next as u32));
        let distance = if interleaving { i64::from(distance as i32) } else { i64::from(distance as i16) };
        self.next.saturating_add_signed(distance)
    }
}

/// All incoming streams.
#[derive(Debug)]
pub(crate) struct InStreams {
    streams: StreamMap<InStream>,
    /// Streams to announce as readable; each once.
    readable: VecDeque<StreamId>,
    /// Ordered messages that wait for an earlier one of their stream.
    waiting: BTreeMap<(StreamId, u64), Message>,
    /// What there is for the application.
    ready: Ready,
    /// Memory of the messages that wait.
    held_waiting: usize,
    /// Messages are numbered by MIDs, not by SSNs.
    interleaving: bool,
}

/// What the application can read, over all streams.
#[derive(Debug, Default)]
struct Ready {
    messages: usize,
    /// Memory that it takes.
    held: usize,
    /// Streams whose queue has room.
    queues: usize,
}

impl Ready {
    fn push(&mut self, stream: &mut InStream, message: Message) {
        self.messages += 1;
        self.queues += usize::from(stream.ready.capacity() == 0);
        self.held += message.payload.len() + ALLOCATION;
        self.held -= stream.held_by_queue();
        stream.readable_bytes += message.payload.len();
        stream.ready.push_back(message);
        self.held += stream.held_by_queue();
    }

    fn pop(&mut self, stream: &mut InStream) -> Option<Message> {
        let before = stream.held_by_queue();
        let message = stream.ready.pop_front()?;
        self.messages -= 1;
        stream.readable_bytes -= message.payload.len();
        let (len, room) = (stream.ready.len(), stream.ready.capacity());
        if room > KEPT_ROOM && room / 4 > len {
            stream.ready.shrink_to(2 * len);
        }
        if len == 0 && self.queues > MAX_KEPT {
            stream.ready = VecDeque::new();
        }
        self.queues -= usize::from(stream.ready.capacity() == 0);
        self.held -= message.payload.len() + ALLOCATION;
        self.held = self.held + stream.held_by_queue() - before;
        Some(message)
    }
}

impl InStreams {
    pub(crate) fn new(interleaving: bool) -> Self {
        Self {
            streams: StreamMap::new(),
            readable: VecDeque::new(),
            waiting: BTreeMap::new(),
            ready: Ready::default(),
            held_waiting: 0,
            interleaving,
        }
    }

    /// The memory that all messages take, in bytes.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.ready.held + self.held_waiting
    }

    /// The part of it that the application can free by reading.
    #[inline]
    pub(crate) fn held_ready(&self) -> usize {
        self.ready.held
    }

    /// Takes a whole message. `false` when it is stale or a repetition, and dropped.
    pub(crate) fn push(&mut self, assembled: Assembled) -> bool {
        let Assembled { message, mid, .. } = assembled;
        let id = message.stream_id;
        let Some(stream) = self.streams.get_or_insert_with(id, || InStream::new(id)) else { return false };
        if message.unordered {
            self.ready.push(stream, message);
        } else {
            let number = stream.number(mid, self.interleaving);
            if number < stream.next || self.waiting.contains_key(&(id, number)) {
                return false;
            }
            if number == stream.next {
                stream.next += 1;
                self.ready.push(stream, message);
                if !self.waiting.is_empty() {
                    self.deliver_waiting(id);
                }
            } else {
                self.held_waiting += message.payload.len() + ALLOCATION + WAITING;
                self.waiting.insert((id, number), message);
            }
        }
        self.announce(id);
        true
    }

    /// Takes what waits out of the tree.
    fn take_waiting(&mut self, id: StreamId, number: u64) -> Option<Message> {
        let message = self.waiting.remove(&(id, number))?;
        self.held_waiting -= message.payload.len() + ALLOCATION + WAITING;
        Some(message)
    }

    /// Delivers what has waited and comes next.
    fn deliver_waiting(&mut self, id: StreamId) {
        while let Some(next) = self.streams.get(id).map(|stream| stream.next)
            && let Some(message) = self.take_waiting(id, next)
            && let Some(stream) = self.streams.get_mut(id)
        {
            stream.next += 1;
            self.ready.push(stream, message);
        }
    }

    /// Tells of a stream that has become readable.
    fn announce(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id)
            && !stream.announced
            && !stream.ready.is_empty()
        {
            stream.announced = true;
            self.readable.push_back(id);
        }
    }

    /// Tells of a stream of which something can be read that is not a whole message.
    pub(crate) fn announce_part(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_or_insert_with(id, || InStream::new(id))
            && !stream.announced
        {
            stream.announced = true;
            self.readable.push_back(id);
        }
    }

    /// Whether the owner knows that there is something to read.
    pub(crate) fn is_announced(&self, id: StreamId) -> bool {
        self.streams.get(id).is_some_and(|stream| stream.announced)
    }

    /// The owner has found nothing to read, and is to be told of the next.
    pub(crate) fn found_nothing(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.announced = false;
        }
    }

    /// Whether an ordered message is the next of its stream.
    pub(crate) fn is_next(&self, id: StreamId, mid: Mid) -> bool {
        match self.streams.get(id) {
            Some(stream) => stream.number(mid, self.interleaving) == stream.next,
            None => InStream::new(id).number(mid, self.interleaving) == FIRST,
        }
    }

    /// The length of the first message that [`pop`](Self::pop) would return.
    pub(crate) fn first_len(&self, id: StreamId) -> Option<usize> {
        self.streams.get(id)?.ready.front().map(|message| message.payload.len())
    }

    /// The first message that waits on a stream.
    fn first_waiting(&self, id: StreamId) -> Option<u64> {
        self.waiting.range((id, 0)..=(id, u64::MAX)).next().map(|(&(_, number), _)| number)
    }

    /// Whether a message after this one waits on the stream.
    pub(crate) fn waits_beyond(&self, id: StreamId, mid: Mid) -> bool {
        !self.waiting.is_empty()
            && self.streams.get(id).is_some_and(|stream| {
                let number = stream.number(mid, self.interleaving);
                self.waiting.range((id, number + 1)..=(id, u64::MAX)).next().is_some()
            })
    }

    /// Whether an ordered message has been delivered or skipped already.
    pub(crate) fn is_past(&self, id: StreamId, mid: Mid) -> bool {
        self.streams.get(id).is_some_and(|stream| stream.number(mid, self.interleaving) < stream.next)
    }

    pub(crate) fn pop(&mut self, id: StreamId) -> Option<Message> {
        let stream = self.streams.get_mut(id)?;
        let message = self.ready.pop(stream);
        stream.announced &= message.is_some();
        message
    }

    /// Whether the application has anything to read.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready.messages > 0
    }

    pub(crate) fn peek_ppid(&self, id: StreamId) -> Option<Ppid> {
        self.streams.get(id)?.ready.front().map(|message| message.ppid)
    }

    pub(crate) fn readable_bytes(&self, id: StreamId) -> usize {
        self.streams.get(id).map_or(0, |stream| stream.readable_bytes)
    }

    pub(crate) fn next_readable(&mut self) -> Option<StreamId> {
        self.readable.pop_front()
    }

    #[cfg(test)]
    pub(crate) fn memory_for_tests(&self) -> (usize, usize) {
        self.streams.memory_for_tests()
    }

    pub(crate) fn ids(&self) -> Vec<StreamId> {
        self.streams.iter().map(|stream| stream.id).collect()
    }

    /// The peer's side starts again at SSN or MID 0 (RFC 6525 §5.2.2, E3; RFC 8260 §2.3.2). What is readable
    /// stays readable; what waits for a message that will not come is dropped.
    pub(crate) fn reset(&mut self, id: StreamId) {
        while let Some(number) = self.first_waiting(id) {
            self.take_waiting(id, number);
        }
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.next = FIRST;
        if stream.ready.is_empty() && !stream.announced {
            self.ready.queues -= usize::from(stream.ready.capacity() > 0);
            self.streams.remove(id);
        }
    }

    /// The peer gives up the ordered messages up to this one; those of them that have arrived are delivered
    /// (RFC 3758 §3.6).
    pub(crate) fn skip(&mut self, id: StreamId, mid: Mid) {
        let Some(stream) = self.streams.get_or_insert_with(id, || InStream::new(id)) else { return };
        let number = stream.number(mid, self.interleaving);
        if number < stream.next {
            return;
        }
        stream.next = number + 1;
        while let Some(first) = self.first_waiting(id).filter(|&first| first <= number)
            && let Some(message) = self.take_waiting(id, first)
            && let Some(stream) = self.streams.get_mut(id)
        {
            self.ready.push(stream, message);
        }
        self.deliver_waiting(id);
        self.announce(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_takes_64_bytes() {
        assert!(size_of::<Option<InStream>>() <= 64);
    }
}
