//! Messages that are read in pieces, as they come.
//!
//! ```text
//!             ┌── a message has begun to arrive ──► arriving ── its end ──► ended ──┐
//!  waiting ───┤                                        └── given up ──► aborted ────┤ read to the end
//!     ▲       └── a whole one is there ───────────────────────────────► ended ──────┤
//!     └─────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! One message of a stream at a time is read so, and only what has arrived without a gap from its first byte on: of the
//! ordered ones the next, of the unordered ones any. What is read is not held any more, so a message may be larger than
//! the buffer: [`Config::max_message_size_recv`](crate::Config::max_message_size_recv) is what may come, and
//! [`Config::max_whole_message`](crate::Config::max_whole_message) what is put together for
//! [`recv`](Receiver::recv). A larger one is announced, and then either read in pieces or refused, which drops what there
//! is of it and what is yet to come; until then it counts as something to read, and the window closes.
//!
//! Limits: an entry for each stream on which the owner has asked for pieces or where a large message waits.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::reassembly::{ALLOCATION, Assembled, Key, Run, Usage};
use super::{ITEM_OVERHEAD, Receiver};
use crate::event::{Head, Piece};
use crate::types::StreamId;

/// The streams that are read in pieces.
#[derive(Debug)]
pub(crate) struct Partial {
    interleaving: bool,
    /// The owner wants to hear of the next message as soon as it begins.
    waiting: BTreeSet<StreamId>,
    arriving: BTreeMap<StreamId, Key>,
    /// What is left to read of a message that has arrived; `None` for one that will not.
    ended: BTreeMap<StreamId, Option<Bytes>>,
    /// Memory of what is in `ended`.
    held: usize,
    /// A message that is too large for `recv` is the next one there, and the owner has not decided yet.
    large: BTreeSet<StreamId>,
}

impl Partial {
    pub(super) fn new(interleaving: bool) -> Self {
        Self {
            interleaving,
            waiting: BTreeSet::new(),
            arriving: BTreeMap::new(),
            ended: BTreeMap::new(),
            held: 0,
            large: BTreeSet::new(),
        }
    }

    /// Nobody reads in pieces.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.arriving.is_empty() && self.ended.is_empty()
    }

    #[inline]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn is_reading(&self, id: StreamId) -> bool {
        self.arriving.contains_key(&id) || self.ended.contains_key(&id)
    }

    fn end(&mut self, id: StreamId, rest: Option<Bytes>) {
        self.arriving.remove(&id);
        self.held += rest.as_ref().map_or(0, |rest| rest.len() + ALLOCATION);
        self.ended.insert(id, rest);
    }

    fn take_ended(&mut self, id: StreamId) -> Option<Option<Bytes>> {
        let rest = self.ended.remove(&id)?;
        self.held -= rest.as_ref().map_or(0, |rest| rest.len() + ALLOCATION);
        Some(rest)
    }
}

/// What the owner does.
impl Receiver {
    /// The next message of a stream, if it is there whole or has begun to arrive. None while one is read.
    pub(crate) fn head(&self, id: StreamId) -> Option<Head> {
        if self.partial.is_reading(id) {
            return None;
        }
        if let Some((ppid, len)) = self.streams.peek_ppid(id).zip(self.streams.first_len(id)) {
            return Some(Head { ppid, is_whole: true, is_too_large: len > self.max_whole });
        }
        let run = self.partial_head(id)?;
        Some(Head { ppid: run.ppid, is_whole: false, is_too_large: run.len > self.max_whole })
    }

    /// Begins to read the next message of a stream in pieces; false if there is none yet.
    pub(crate) fn begin_reading(&mut self, id: StreamId) -> bool {
        if self.partial.is_reading(id) {
            return false;
        }
        if let Some(message) = self.streams.pop(id) {
            self.partial.end(id, Some(message.payload));
        } else if let Some(key) = self.partial_head(id).map(Run::key) {
            self.change_run(id, key, |run| run.usage = Usage::Read);
            self.partial.arriving.insert(id, key);
        } else {
            self.streams.found_nothing(id);
            self.partial.waiting.insert(id);
            return false;
        }
        self.partial.waiting.remove(&id);
        self.partial.large.remove(&id);
        true
    }

    /// The next bytes of the message that is read.
    pub(crate) fn read_piece(&mut self, id: StreamId) -> Piece {
        let piece = if let Some(&key) = self.partial.arriving.get(&id) {
            self.change_run(id, key, Run::take).flatten()
        } else {
            match self.partial.take_ended(id) {
                None => return Piece::NotBegun,
                Some(None) => return Piece::Aborted,
                Some(Some(rest)) if rest.is_empty() => return Piece::End,
                Some(Some(rest)) => {
                    self.partial.end(id, Some(Bytes::new()));
                    Some(rest)
                }
            }
        };
        let Some(piece) = piece else {
            self.streams.found_nothing(id);
            return Piece::Pending;
        };
        self.has_read(piece.len());
        Piece::Bytes(piece)
    }

    /// Drops the message that is read, or the next one: what is there of it, and what is yet to come.
    pub(crate) fn refuse(&mut self, id: StreamId) {
        self.partial.large.remove(&id);
        let gone = if let Some(rest) = self.partial.take_ended(id) {
            rest.map_or(0, |rest| rest.len())
        } else if let Some(key) = self.partial.arriving.remove(&id) {
            self.change_run(id, key, |run| (run.refuse(), run.len).1).unwrap_or(0)
        } else if let Some(message) = self.streams.pop(id) {
            message.payload.len()
        } else if let Some(key) = self.partial_head(id).map(Run::key) {
            self.change_run(id, key, |run| (run.refuse(), run.len).1).unwrap_or(0)
        } else {
            return;
        };
        self.has_read(gone);
    }

    fn has_read(&mut self, bytes: usize) {
        self.window.read(bytes.saturating_add(ITEM_OVERHEAD));
        if self.owes_window_update() {
            self.sack.request();
        }
    }

    /// Whether [`recv`](Self::recv) may hand out the next message.
    pub(super) fn may_recv(&mut self, id: StreamId) -> Option<()> {
        self.partial.waiting.remove(&id);
        let is_too_large = self.streams.first_len(id).is_some_and(|len| len > self.max_whole);
        if self.partial.is_reading(id) || is_too_large {
            self.streams.found_nothing(id);
            return None;
        }
        Some(())
    }

    /// The association has ended: what has not come never will. False if nothing was under way.
    pub(crate) fn abort_reading(&mut self, id: StreamId) -> bool {
        let aborted = self.partial.arriving.contains_key(&id);
        if aborted {
            self.partial.end(id, None);
        }
        aborted
    }
}

/// What the chunks do.
impl Receiver {
    fn partial_head(&self, id: StreamId) -> Option<&Run> {
        let is_next = |mid| self.streams.is_next(id, mid);
        if self.partial.interleaving {
            self.interleaved.head(id, is_next)
        } else {
            self.reassembly.head(id, is_next)
        }
    }

    fn run(&self, id: StreamId, key: Key) -> Option<&Run> {
        if self.partial.interleaving { self.interleaved.run(id, key) } else { self.reassembly.run(key) }
    }

    fn change_run<T>(&mut self, id: StreamId, key: Key, change: impl FnOnce(&mut Run) -> T) -> Option<T> {
        if self.partial.interleaving {
            self.interleaved.change(id, key, change)
        } else {
            self.reassembly.change(key, change)
        }
    }

    /// Memory of what is read in pieces, and can be read now.
    #[inline]
    pub(super) fn held_readable(&self) -> usize {
        if self.partial.is_idle() {
            return 0;
        }
        let arriving = self.partial.arriving.iter().filter_map(|(&id, &key)| self.run(id, key));
        self.partial.held + arriving.map(Run::held).sum::<usize>()
    }

    /// Whether there is something to read, or to decide, other than whole messages.
    pub(super) fn has_ready_pieces(&self) -> bool {
        !self.partial.large.is_empty()
            || !self.partial.ended.is_empty()
            || self.partial.arriving.iter().any(|(&id, &key)| self.run(id, key).is_some_and(Run::has_bytes))
    }

    /// A fragment has been put to others of its message.
    pub(super) fn announce_piece(&mut self, id: StreamId) {
        if self.streams.is_announced(id) {
            return;
        }
        let is_there = match self.partial.arriving.get(&id) {
            Some(&key) => self.run(id, key).is_some_and(Run::has_bytes),
            None => self.partial.waiting.contains(&id) && self.partial_head(id).is_some(),
        };
        if is_there {
            self.streams.announce_part(id);
        }
    }

    /// The same, and the message is too large to be handed out whole.
    pub(super) fn announce_large(&mut self, id: StreamId) {
        if self.partial.is_reading(id) || self.partial.large.contains(&id) {
            return self.announce_piece(id);
        }
        if self.partial_head(id).is_some_and(|run| run.len > self.max_whole) {
            self.partial.large.insert(id);
            self.streams.announce_part(id);
        }
    }

    /// A message that is read in pieces, or refused, is complete.
    pub(super) fn end_partial(&mut self, assembled: Assembled) {
        let Assembled { message, mid, usage } = assembled;
        let id = message.stream_id;
        if !message.unordered {
            self.streams.skip(id, mid);
        }
        if usage == Usage::Read {
            self.partial.end(id, Some(message.payload));
            self.streams.announce_part(id);
        }
    }

    /// Rows have been dropped: what was read in pieces may be among them.
    pub(super) fn note_aborted(&mut self) {
        if self.partial.arriving.is_empty() && self.partial.large.is_empty() {
            return;
        }
        let gone = |(&id, &key): (&StreamId, &Key)| self.run(id, key).is_none().then_some(id);
        let gone: Vec<StreamId> = self.partial.arriving.iter().filter_map(gone).collect();
        for id in gone {
            self.partial.end(id, None);
            self.streams.announce_part(id);
        }
        let decided: Vec<StreamId> =
            self.partial.large.iter().copied().filter(|&id| self.head(id).is_none()).collect();
        for id in decided {
            self.partial.large.remove(&id);
        }
    }
}
