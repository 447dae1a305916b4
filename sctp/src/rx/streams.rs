//! Incoming streams: messages into their order, and to the application.

use std::collections::{BTreeMap, VecDeque};

use super::reassembly::Assembled;
use crate::event::Message;
use crate::stream_map::StreamMap;
use crate::types::{Ppid, Ssn, StreamId};

/// One incoming stream.
#[derive(Debug)]
struct InStream {
    id: StreamId,
    /// The number of the next ordered message; its low 16 bits are the SSN.
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
            // Away from zero, so that a number before it can be computed.
            next: 1 << 16,
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

    /// The number that an SSN stands for: the one next to `next`.
    fn number(&self, ssn: Ssn) -> u64 {
        let distance = ssn.distance_from(Ssn(self.next as u16)) as i16;
        self.next.saturating_add_signed(i64::from(distance))
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
}

impl InStreams {
    pub(crate) fn new() -> Self {
        Self { streams: StreamMap::new(), readable: VecDeque::new(), ready: 0 }
    }

    /// Takes a whole message. `false` when it is stale or a repetition, and dropped.
    pub(crate) fn push(&mut self, assembled: Assembled) -> bool {
        let Assembled { message, ssn } = assembled;
        let id = message.stream_id;
        let Some(stream) = self.streams.get_or_insert_with(id, || InStream::new(id)) else { return false };
        if message.unordered {
            stream.deliver(message, &mut self.ready);
        } else {
            let number = stream.number(ssn);
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

    pub(crate) fn ids(&self) -> Vec<StreamId> {
        self.streams.iter().map(|stream| stream.id).collect()
    }

    /// The peer's side starts again at SSN 0 (RFC 6525 §5.2.2, E3). What is readable stays readable; what
    /// waits for a message that will not come is dropped. Returns its bytes and number.
    pub(crate) fn reset(&mut self, id: StreamId) -> (usize, usize) {
        let Some(stream) = self.streams.get_mut(id) else { return (0, 0) };
        stream.next = 1 << 16;
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
    pub(crate) fn skip(&mut self, id: StreamId, ssn: Ssn) {
        let Some(stream) = self.streams.get_or_insert_with(id, || InStream::new(id)) else { return };
        let number = stream.number(ssn);
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
