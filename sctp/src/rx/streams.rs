//! Incoming streams: messages into their order, and to the application.

use std::collections::{BTreeMap, VecDeque};

use super::reassembly::Assembled;
use crate::event::Message;
use crate::stream_map::StreamMap;
use crate::types::{Mid, Ppid, StreamId};

/// Where numbers begin: away from zero, so that one before it can be computed.
const FIRST: u64 = 1 << 32;

/// One incoming stream.
#[derive(Debug)]
struct InStream {
    id: StreamId,
    /// The number of the next ordered message; its low 32 bits are the MID, the low 16 of those the SSN.
    next: u64,
    ready: VecDeque<Message>,
    readable_bytes: usize,
    /// Ordered messages that wait for an earlier one.
    waiting: BTreeMap<u64, Message>,
    /// The owner knows that there is something to read.
    announced: bool,
}

impl InStream {
    fn new(id: StreamId) -> Self {
        Self {
            id,
            next: FIRST,
            ready: VecDeque::new(),
            readable_bytes: 0,
            waiting: BTreeMap::new(),
            announced: false,
        }
    }

    fn deliver(&mut self, message: Message, ready: &mut usize) {
        *ready += 1;
        self.readable_bytes += message.payload.len();
        self.ready.push_back(message);
    }

    fn deliver_waiting(&mut self, ready: &mut usize) {
        while let Some(message) = self.waiting.remove(&self.next) {
            self.deliver(message, ready);
            self.next += 1;
        }
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
    /// Messages that can be read now, over all streams.
    ready: usize,
    /// Messages are numbered by MIDs, not by SSNs.
    interleaving: bool,
}

impl InStreams {
    pub(crate) fn new(interleaving: bool) -> Self {
        Self { streams: StreamMap::new(), readable: VecDeque::new(), ready: 0, interleaving }
    }

    /// Takes a whole message. `false` when it is stale or a repetition, and dropped.
    pub(crate) fn push(&mut self, assembled: Assembled) -> bool {
        let Assembled { message, mid } = assembled;
        let id = message.stream_id;
        let Some(stream) = self.streams.get_or_insert_with(id, || InStream::new(id)) else { return false };
        if message.unordered {
            stream.deliver(message, &mut self.ready);
        } else {
            let number = stream.number(mid, self.interleaving);
            if number < stream.next || stream.waiting.contains_key(&number) {
                return false;
            }
            if number == stream.next {
                stream.next += 1;
                stream.deliver(message, &mut self.ready);
                if !stream.waiting.is_empty() {
                    stream.deliver_waiting(&mut self.ready);
                }
            } else {
                stream.waiting.insert(number, message);
            }
        }
        if !stream.announced && !stream.ready.is_empty() {
            stream.announced = true;
            self.readable.push_back(id);
        }
        true
    }

    /// Whether an ordered message has been delivered or skipped already.
    pub(crate) fn is_past(&self, id: StreamId, mid: Mid) -> bool {
        self.streams.get(id).is_some_and(|stream| stream.number(mid, self.interleaving) < stream.next)
    }

    pub(crate) fn pop(&mut self, id: StreamId) -> Option<Message> {
        let stream = self.streams.get_mut(id)?;
        match stream.ready.pop_front() {
            Some(message) => {
                stream.readable_bytes -= message.payload.len();
                self.ready -= 1;
                Some(message)
            }
            None => {
                stream.announced = false;
                None
            }
        }
    }

    /// Whether the application has anything to read.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready > 0
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

    /// The peer's side starts again at SSN or MID 0 (RFC 6525 §5.2.2, E3; RFC 8260 §2.3.2). What is readable stays readable; what
    /// waits for a message that will not come is dropped. Returns its bytes and number.
    pub(crate) fn reset(&mut self, id: StreamId) -> (usize, usize) {
        let Some(stream) = self.streams.get_mut(id) else { return (0, 0) };
        stream.next = FIRST;
        let dropped = stream.waiting.values().map(|m| m.payload.len()).sum();
        let count = stream.waiting.len();
        stream.waiting = BTreeMap::new();
        if stream.ready.is_empty() && !stream.announced {
            self.streams.remove(id);
        }
        (dropped, count)
    }

    /// The peer gives up the ordered messages up to this one; those of them that have arrived are delivered
    /// (RFC 3758 §3.6).
    pub(crate) fn skip(&mut self, id: StreamId, mid: Mid) {
        let Some(stream) = self.streams.get_or_insert_with(id, || InStream::new(id)) else { return };
        let number = stream.number(mid, self.interleaving);
        if number < stream.next {
            return;
        }
        while let Some(entry) = stream.waiting.first_entry() {
            if *entry.key() > number {
                break;
            }
            let message = entry.remove();
            stream.deliver(message, &mut self.ready);
        }
        stream.next = number + 1;
        stream.deliver_waiting(&mut self.ready);
        if !stream.announced && !stream.ready.is_empty() {
            stream.announced = true;
            self.readable.push_back(id);
        }
    }
}
