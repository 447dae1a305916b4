//! Messages of which at least one chunk was cut, until all of their chunks are gone.
//!
//! A slab: a place is used again as soon as the last chunk of its message is acknowledged or skipped, whatever
//! becomes of the messages that began before it. So a long message on one stream keeps nothing of the short
//! ones that overtake it. A message that was given in pieces has an entry for each part, for the same reason.

use std::time::Instant;

use bytes::Bytes;

use super::send_queue::Part;
use crate::types::{Mid, Ppid, StreamId};

/// A message, or a part of one, of which at least one chunk was cut.
#[derive(Debug)]
pub(crate) struct SentMessage {
    pub(crate) payload: Bytes,
    pub(crate) part: Part,
    /// The slot of its stream.
    pub(crate) slot: u16,
    pub(crate) stream: StreamId,
    pub(crate) ppid: Ppid,
    /// Its low 16 bits are the SSN.
    pub(crate) mid: Mid,
    pub(crate) unordered: bool,
    pub(crate) max_retransmits: Option<u32>,
    pub(crate) expires: Option<Instant>,
    /// The TSNs of its chunks lie in this range, with those of others in between when interleaved.
    pub(crate) first_tsn: u64,
    pub(crate) last_tsn: u64,
}

impl SentMessage {
    /// They are parts of one message.
    pub(crate) fn is_of(&self, slot: u16, unordered: bool, mid: Mid) -> bool {
        (self.slot, self.unordered, self.mid) == (slot, unordered, mid)
    }

    /// It is never given up.
    pub(crate) fn is_reliable(&self) -> bool {
        self.max_retransmits.is_none() && self.expires.is_none()
    }
}

/// Places kept when all messages are gone.
const MAX_IDLE: usize = 1024;

/// What one takes here.
pub(crate) const ENTRY: usize = size_of::<Option<Entry>>() + size_of::<u32>();

#[derive(Debug)]
struct Entry {
    message: SentMessage,
    /// Chunks outstanding, and one more while there is something left to cut.
    holds: u32,
}

/// Beyond so many places the slab grows as vectors do.
const FEW: usize = 4;

/// The slab. A place stays the message's while anything holds it.
#[derive(Debug)]
pub(crate) struct SentMessages {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

impl SentMessages {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&SentMessage> {
        self.entries.get(index as usize)?.as_ref().map(|entry| &entry.message)
    }

    /// Puts a message in, held once, as what is being cut.
    #[inline]
    pub(crate) fn insert(&mut self, message: SentMessage) -> u32 {
        let entry = Some(Entry { message, holds: 1 });
        if let Some(index) = self.free.pop()
            && let Some(place) = self.entries.get_mut(index as usize)
        {
            *place = entry;
            return index;
        }
        let len = self.entries.len();
        if len == self.entries.capacity() && len < FEW {
            // Idle connections have sent one or two at a time; a vector would begin with four.
            self.entries.reserve_exact(1);
        }
        self.entries.push(entry);
        // The send buffer's overhead per message keeps their number far below 2^32.
        (self.entries.len() - 1) as u32
    }

    /// A chunk of the message got this TSN.
    #[inline]
    pub(crate) fn hold(&mut self, index: u32, tsn: u64) {
        if let Some(Some(entry)) = self.entries.get_mut(index as usize) {
            entry.holds += 1;
            entry.message.last_tsn = tsn;
        }
    }

    /// A chunk is gone, or the cutting has ended. Returns the slot of the stream, and whether the message is
    /// gone with it.
    #[inline]
    pub(crate) fn release(&mut self, index: u32) -> Option<(u16, bool)> {
        let place = self.entries.get_mut(index as usize)?;
        let entry = place.as_mut()?;
        let slot = entry.message.slot;
        entry.holds -= 1;
        let gone = entry.holds == 0;
        if gone {
            *place = None;
            self.free.push(index);
            if self.free.len() == self.entries.len() && self.entries.len() > MAX_IDLE {
                *self = Self::new();
            }
        }
        Some((slot, gone))
    }
}
