//! What the application wants sent: messages by stream, and what is cut next.
//!
//! Each stream has a queue and at most one message that is being cut (RFC 8260 §2.2.2); [`Turns`] says whose
//! turn it is. Without I-DATA the fragments of a message have consecutive TSNs (RFC 9260 §6.9), so the turn
//! stays until the message has been cut. A message that the application gives in pieces is in the queue in parts, and
//! without I-DATA the turn stays with it while the next one is waited for: see [`pieces`](super::pieces).
//!
//! With I-DATA a receiver holds the begun part of many messages and can deliver none until one is whole. If
//! all that is begun does not fit its window, it never is; so messages together larger than half of the largest
//! window that it has said are not begun at the same time. A stream whose next message has to wait for that is
//! parked. A message in pieces counts for half of that, as nobody knows how large it will be; and one such message
//! and one whole one, of whatever size, may always be begun beside each other, so that a slow application holds up
//! nobody.

mod room;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::budget::{Budget, Held, Wait};
use super::messages::ENTRY;
use super::outstanding::SentChunk;
use super::pieces::{Continuing, Open};
use super::scheduler::{Scheduler, Turns};
use crate::stream_map::StreamMap;
use crate::types::{Mid, Ppid, StreamId};

/// What a message counts for in the send buffer besides its payload: what its bookkeeping takes while it waits, and
/// then while its first chunk is outstanding, with tables that are half full. (The table of chunks is shared and has a
/// limit of its own; what else the memory behind its [`Bytes`] holds nobody can know.)
pub(crate) const MESSAGE_OVERHEAD: usize = 2 * (size_of::<QueuedMessage>() + ENTRY + size_of::<SentChunk>());

/// Room for messages that an empty queue keeps.
const KEPT_ROOM: usize = 64;

/// Which part of its message a payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub(crate) begins: bool,
    pub(crate) ends: bool,
}

impl Part {
    pub(crate) const WHOLE: Self = Self { begins: true, ends: true };
}

/// A message, or a part of one, that waits for its first fragment to be cut.
#[derive(Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) payload: Bytes,
    pub(crate) ppid: Ppid,
    pub(crate) unordered: bool,
    pub(crate) max_retransmits: Option<u32>,
    pub(crate) expires: Option<Instant>,
    /// It counts in the stream's buffered amount.
    pub(crate) counted: bool,
    pub(crate) part: Part,
}

/// Messages up to this size are begun however much is: most go into one packet.
const SMALL: usize = 1024;

/// Messages up to this size may be begun when large ones have filled their half of the window: a half of the rest is
/// for them.
const MIDDLING: usize = 16 << 10;

/// A stream's weight, when nobody has said anything else: the "normal" of RFC 8831 §6.4.
const DEFAULT_PRIORITY: u16 = 256;

/// A message, or a part of one, that is being cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutting {
    /// Index of the message in [`SentMessages`](super::messages::SentMessages).
    pub(crate) message: u32,
    /// How many fragments there were.
    pub(crate) fsn: u32,
    pub(crate) offset: usize,
    pub(crate) len: usize,
    /// It counts in the stream's buffered amount.
    pub(crate) counted: bool,
    /// Its end is the message's.
    pub(crate) ends: bool,
}

impl Cutting {
    /// What these bytes of it count for in the buffered amount.
    pub(crate) fn buffered(&self, bytes: usize) -> usize {
        if self.counted { bytes } else { 0 }
    }
}

/// What is to be cut next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextCut {
    pub(crate) slot: u16,
    /// The message, unless it is the first of the stream's queue and has not been begun.
    pub(crate) cutting: Option<Cutting>,
    /// Bytes of it that are left.
    pub(crate) rest: usize,
}

/// Where the reset of our side of a stream stands (RFC 6525 §5.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResetState {
    /// No reset.
    Open,
    /// Asked for; waits until what was sent is acknowledged.
    Draining,
    /// In a request that the peer has not answered.
    Requested,
}

/// One outgoing stream.
#[derive(Debug)]
pub(crate) struct OutStream {
    pub(crate) id: StreamId,
    pub(super) queue: VecDeque<QueuedMessage>,
    pub(super) cutting: Option<Cutting>,
    /// The message of which a part has been begun and the last one has not been cut.
    pub(super) continuing: Option<Continuing>,
    /// The message that the application is giving in pieces.
    pub(super) open: Option<Box<Open>>,
    /// What the message that is being cut counts for among those that are begun.
    charge: Charge,
    /// Payload bytes never sent, of messages that count.
    pub(crate) buffered: usize,
    /// What of it is not acknowledged, the buffered included.
    pub(crate) held: Held,
    pub(crate) low_threshold: usize,
    next_mid: Mid,
    next_unordered_mid: Mid,
    pub(crate) reset: ResetState,
    /// The weight of its share.
    priority: u16,
    /// Where it stands among the others, while it has no turn.
    tag: u64,
    /// It is in the turns, or parked.
    has_turn: bool,
    low_pending: bool,
    /// The owner is to be told when everything has been sent once.
    flush_wanted: bool,
}

impl OutStream {
    fn new(id: StreamId) -> Self {
        Self {
            id,
            queue: VecDeque::new(),
            cutting: None,
            continuing: None,
            open: None,
            charge: Charge::default(),
            buffered: 0,
            held: Held::new(),
            low_threshold: 0,
            next_mid: Mid(0),
            next_unordered_mid: Mid(0),
            reset: ResetState::Open,
            priority: DEFAULT_PRIORITY,
            tag: 0,
            has_turn: false,
            low_pending: false,
            flush_wanted: false,
        }
    }

    /// Everything handed over has been sent and acknowledged, and nothing is half given.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.held.messages == 0 && !self.is_open()
    }

    /// A message is being given in pieces.
    pub(crate) fn is_open(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.abandoned)
    }

    /// Nothing was ever sent on it, or nothing since its last reset.
    pub(crate) fn is_fresh(&self) -> bool {
        self.next_mid == Mid(0)
            && self.next_unordered_mid == Mid(0)
            && self.is_drained()
            && self.reset == ResetState::Open
    }

    /// There is something to cut.
    pub(super) fn is_active(&self) -> bool {
        self.cutting.is_some() || !self.queue.is_empty()
    }

    /// The number of the next message: ordered and unordered ones are counted apart (RFC 8260 §2.1).
    pub(crate) fn take_mid(&mut self, unordered: bool) -> Mid {
        let counter = if unordered { &mut self.next_unordered_mid } else { &mut self.next_mid };
        let mid = *counter;
        *counter = mid.add(1);
        mid
    }
}

/// What is begun and not cut to the end, in bytes.
#[derive(Clone, Copy, Default, Debug)]
struct Charge {
    whole: usize,
    /// Of messages that are given in pieces.
    in_pieces: usize,
}

/// All outgoing streams.
#[derive(Debug)]
pub(crate) struct SendQueue {
    pub(super) streams: StreamMap<OutStream>,
    turns: Turns,
    /// Streams with something to cut.
    pub(super) active: usize,
    /// Messages that are being given in pieces.
    pub(super) open: usize,
    /// Streams whose next message waits until less is begun.
    parked: VecDeque<u16>,
    begun: Charge,
    /// As much may be begun.
    begun_limit: usize,
    interleaving: bool,
    /// Without interleaving: the stream whose message has been begun. The turn is its until the end of that.
    holder: Option<u16>,
    /// Streams whose buffered amount fell to the threshold and whose owner has not been told; each once.
    low: VecDeque<StreamId>,
    /// Streams whose `flush_wanted` has come true.
    flushed: VecDeque<StreamId>,
    /// Streams in `ResetState::Draining` that are drained; each once.
    drained: VecDeque<StreamId>,
    /// What all streams hold of the send buffer.
    pub(crate) budget: Budget,
    /// Streams in `Wait::For`, by slot, in the order in which they were refused. Those that have been told meanwhile leave when
    /// their turn comes.
    waiting: VecDeque<u16>,
    /// How many are in `Wait::For`.
    waits: usize,
    /// What was held when they were last looked at.
    looked_at: usize,
    /// Streams in `Wait::Over`.
    writable: VecDeque<StreamId>,
}

impl SendQueue {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        Self {
            streams: StreamMap::new(),
            turns: Turns::new(scheduler),
            active: 0,
            open: 0,
            parked: VecDeque::new(),
            begun: Charge::default(),
            begun_limit: usize::MAX,
            interleaving: false,
            holder: None,
            low: VecDeque::new(),
            flushed: VecDeque::new(),
            drained: VecDeque::new(),
            budget: Budget::default(),
            waiting: VecDeque::new(),
            waits: 0,
            looked_at: 0,
            writable: VecDeque::new(),
        }
    }

    pub(crate) fn stream(&self, id: StreamId) -> Option<&OutStream> {
        self.streams.get(id)
    }

    pub(crate) fn stream_or_new(&mut self, id: StreamId) -> Option<&mut OutStream> {
        self.streams.get_or_insert_with(id, || OutStream::new(id))
    }

    #[cfg(test)]
    pub(crate) fn memory_for_tests(&self) -> (usize, usize) {
        self.streams.memory_for_tests()
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = &OutStream> {
        self.streams.iter()
    }

    pub(crate) fn at_mut(&mut self, slot: u16) -> Option<&mut OutStream> {
        self.streams.at_mut(slot)
    }

    /// Whether there is anything to cut now.
    #[inline]
    pub(crate) fn has_messages(&self) -> bool {
        self.active > 0 && !self.is_stalled()
    }

    /// Whether nothing is there that has to be cut before the end.
    pub(crate) fn is_empty(&self) -> bool {
        self.active == 0 && self.open == 0
    }

    /// Whether the message that has the turn waits for its next piece.
    #[inline]
    fn is_stalled(&self) -> bool {
        self.holder.is_some_and(|slot| self.streams.at(slot).is_some_and(|stream| !stream.is_active()))
    }

    /// Whether nothing else can be sent before this stream's message is at its end.
    pub(super) fn is_holder(&self, slot: u16) -> bool {
        self.holder == Some(slot)
    }

    /// Whether the message that this stream is about to end is the last there is.
    pub(crate) fn is_last(&mut self, slot: u16) -> bool {
        self.active <= 1 && self.streams.at_mut(slot).is_some_and(|stream| stream.queue.is_empty())
    }

    /// Whether the message that this stream is about to end is the last before its reset.
    pub(crate) fn is_last_before_reset(&mut self, slot: u16) -> bool {
        self.streams
            .at_mut(slot)
            .is_some_and(|stream| stream.reset != ResetState::Open && stream.queue.is_empty())
    }

    /// Whether messages may be interleaved. Before anything is cut.
    pub(crate) fn set_interleaving(&mut self, interleaving: bool) {
        self.interleaving = interleaving;
    }

    /// The peer's whole window.
    pub(crate) fn set_window(&mut self, a_rwnd: usize) {
        self.begun_limit = a_rwnd / 2;
    }

    /// Queues a message; `false` when there is no slot left for its stream.
    pub(crate) fn push(&mut self, id: StreamId, message: QueuedMessage) -> bool {
        let Some(slot) = self.streams.slot_or_insert_with(id, || OutStream::new(id)) else { return false };
        let Some(stream) = self.streams.at_mut(slot) else { return false };
        stream.buffered += if message.counted { message.payload.len() } else { 0 };
        self.push_back(slot, message);
        true
    }

    /// Puts a message, or a part of one, at the end of its stream's queue.
    #[inline]
    pub(super) fn push_back(&mut self, slot: u16, message: QueuedMessage) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        self.budget.take(&mut stream.held, stream.priority, message.payload.len());
        self.active += usize::from(!stream.is_active());
        if !stream.has_turn {
            stream.has_turn = true;
            self.turns.join(slot, stream.tag);
        }
        if stream.queue.capacity() == 0 {
            // One at a time is enough for idle connections; it would begin with four.
            stream.queue.reserve_exact(1);
        }
        stream.queue.push_back(message);
    }

    /// What is to be cut next.
    #[inline]
    pub(crate) fn next_cut(&mut self) -> Option<NextCut> {
        loop {
            let slot = self.turns.current(self.holder.is_some())?;
            let Some(stream) = self.streams.at_mut(slot) else {
                self.turns.leave();
                continue;
            };
            if let Some(cutting) = stream.cutting {
                let rest = cutting.len - cutting.offset;
                return Some(NextCut { slot, cutting: Some(cutting), rest });
            }
            let Some(message) = stream.queue.front() else {
                if self.holder == Some(slot) {
                    return None;
                }
                stream.tag = self.turns.leave();
                stream.has_turn = false;
                continue;
            };
            let rest = message.payload.len();
            if self.interleaving && !may_begin(self.begun, self.begun_limit, message) {
                stream.tag = self.turns.leave();
                self.parked.push_back(slot);
                continue;
            }
            return Some(NextCut { slot, cutting: None, rest });
        }
    }

    /// Takes the first message of a stream out of its queue.
    pub(crate) fn pop(&mut self, slot: u16) -> Option<QueuedMessage> {
        let stream = self.streams.at_mut(slot)?;
        let message = stream.queue.pop_front()?;
        if stream.queue.is_empty() && stream.queue.capacity() > KEPT_ROOM {
            stream.queue = VecDeque::new();
        }
        self.active -= usize::from(!stream.is_active());
        Some(message)
    }

    /// A message of this stream, or this part of one, is being cut from now on.
    pub(crate) fn begin(&mut self, slot: u16, cutting: Cutting, part: Part) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        self.active += usize::from(!stream.is_active());
        stream.cutting = Some(cutting);
        if part == Part::WHOLE {
            stream.charge.whole = cutting.len;
            self.begun.whole += cutting.len;
        } else if part.begins {
            stream.charge.in_pieces = self.begun_limit / 2;
            self.begun.in_pieces = self.begun.in_pieces.saturating_add(self.begun_limit / 2);
        }
        if !self.interleaving {
            self.holder = Some(slot);
        }
    }

    /// This many payload bytes have been cut, in a chunk of so many; whether the message, or this part of it, has come to
    /// its end.
    #[inline]
    pub(crate) fn cut(&mut self, slot: u16, bytes: usize, chunk_len: usize) -> bool {
        let Some(stream) = self.streams.at_mut(slot) else { return false };
        let Some(cutting) = &mut stream.cutting else { return false };
        cutting.offset += bytes;
        cutting.fsn += 1;
        let end = cutting.offset >= cutting.len;
        let buffered = cutting.buffered(bytes);
        self.turns.served(chunk_len, stream.priority, end && cutting.ends, self.interleaving);
        if end {
            self.end_cutting(slot);
        }
        self.unbuffer(slot, buffered);
        end
    }

    /// What is being cut of a stream, if it is this message. Ends it.
    pub(crate) fn stop_cutting(&mut self, slot: u16, message: u32) -> Option<Cutting> {
        let cutting = self.streams.at_mut(slot)?.cutting.filter(|cutting| cutting.message == message)?;
        self.end_cutting(slot);
        Some(cutting)
    }

    fn end_cutting(&mut self, slot: u16) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let Some(cutting) = stream.cutting.take() else { return };
        self.active -= usize::from(!stream.is_active());
        if cutting.ends {
            self.end_message(slot);
        } else if let Some(continuing) = &mut stream.continuing {
            continuing.fsn = cutting.fsn;
        }
    }

    /// The message that is being cut is at its end, or given up: others may begin.
    pub(super) fn end_message(&mut self, slot: u16) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        stream.continuing = None;
        let charge = std::mem::take(&mut stream.charge);
        self.holder = self.holder.filter(|&holder| holder != slot);
        self.begun.whole -= charge.whole;
        self.begun.in_pieces = self.begun.in_pieces.saturating_sub(charge.in_pieces);
        while let Some(&slot) = self.parked.front() {
            let Some(stream) = self.streams.at_mut(slot) else {
                self.parked.pop_front();
                continue;
            };
            let next = stream.queue.front();
            if next.is_some_and(|message| !may_begin(self.begun, self.begun_limit, message)) {
                break;
            }
            self.turns.join(slot, stream.tag);
            self.parked.pop_front();
        }
    }

    /// The packet is full.
    #[inline]
    pub(crate) fn end_of_packet(&mut self) {
        self.turns.end_of_packet(self.interleaving);
    }

    /// These payload bytes that count have been sent for the first time, or given up before that.
    pub(crate) fn unbuffer(&mut self, slot: u16, bytes: usize) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let before = stream.buffered;
        stream.buffered = before.saturating_sub(bytes);
        if before > stream.low_threshold && stream.buffered <= stream.low_threshold && !stream.low_pending {
            stream.low_pending = true;
            self.low.push_back(stream.id);
        }
        if stream.flush_wanted && !stream.is_active() {
            stream.flush_wanted = false;
            self.flushed.push_back(stream.id);
        }
    }

    /// Whether everything on the stream has been sent once, or given up. If not, its owner is to be told when it has.
    pub(crate) fn is_flushed(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return true };
        stream.flush_wanted = stream.is_active();
        !stream.flush_wanted
    }

    /// The next stream whose owner is to be told that everything has been sent once.
    pub(crate) fn pop_flushed(&mut self) -> Option<StreamId> {
        self.flushed.pop_front()
    }

    /// These payload bytes of a stream have been acknowledged or given up, and their message with them if it is `done`.
    pub(crate) fn release(&mut self, slot: u16, bytes: usize, done: bool) {
        self.budget.give_back(bytes);
        self.release_chunk(slot, bytes, done);
    }

    /// The same of one of many chunks; who calls this tells the budget of all together.
    #[inline]
    pub(crate) fn release_chunk(&mut self, slot: u16, bytes: usize, done: bool) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        stream.held.payload -= bytes;
        if done {
            self.budget.messages_done(&mut stream.held, stream.priority, 1);
            if stream.held.messages == 0 {
                self.emptied(slot);
            }
        }
    }

    /// Everything that the stream had is acknowledged or given up.
    fn emptied(&mut self, slot: u16) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        if stream.reset == ResetState::Draining && stream.is_drained() {
            self.drained.push_back(stream.id);
        }
        if matches!(stream.held.wait, Wait::For(_)) {
            self.tell(slot);
        }
    }

    /// The weight of a stream's share; 0 says nothing, as in Firefox's OPEN.
    pub(crate) fn set_priority(&mut self, id: StreamId, priority: u16) {
        let priority = if priority == 0 { DEFAULT_PRIORITY } else { priority };
        if let Some(stream) = self.streams.get_or_insert_with(id, || OutStream::new(id)) {
            self.budget.reweigh(&stream.held, stream.priority, priority);
            stream.priority = priority;
        }
    }

    /// Asks for the reset of a stream; `false` when one is under way already.
    pub(crate) fn drain(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.stream_or_new(id) else { return false };
        if stream.reset != ResetState::Open {
            return false;
        }
        stream.reset = ResetState::Draining;
        if stream.is_drained() {
            self.drained.push_back(id);
        }
        true
    }

    /// The next stream whose owner is to be told that its buffered amount is low.
    pub(crate) fn pop_low(&mut self) -> Option<StreamId> {
        let id = self.low.pop_front()?;
        if let Some(stream) = self.streams.get_mut(id) {
            stream.low_pending = false;
        }
        Some(id)
    }

    /// The streams whose reset can be requested now, at most `max`; they count as requested from now on.
    pub(crate) fn take_drained(&mut self, max: usize) -> Vec<StreamId> {
        let count = self.drained.len().min(max);
        let taken: Vec<StreamId> = self.drained.drain(..count).collect();
        for &id in &taken {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.reset = ResetState::Requested;
            }
        }
        taken
    }

    /// Takes just these streams into a request once all of them are drained; until then they take no messages.
    pub(crate) fn take_all_drained(&mut self, ids: &[StreamId]) -> bool {
        for &id in ids {
            self.drain(id);
        }
        let is_ready = |id: &StreamId| {
            self.stream(*id).is_some_and(|s| s.reset == ResetState::Draining && s.is_drained())
        };
        if !ids.iter().all(is_ready) {
            return false;
        }
        for &id in ids {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.reset = ResetState::Requested;
            }
        }
        let streams = &self.streams;
        self.drained.retain(|id| streams.get(*id).is_some_and(|s| s.reset == ResetState::Draining));
        true
    }

    /// Whether a reset could be requested now.
    pub(crate) fn any_drained(&self) -> bool {
        !self.drained.is_empty()
    }

    /// Drops the streams from this id on, which the peer turns out not to have, and the messages that wait on them.
    /// Returns how many.
    pub(crate) fn drop_from(&mut self, id: StreamId) -> usize {
        let ids: Vec<StreamId> = self.streams.iter().map(|s| s.id).filter(|s| s.0 >= id.0).collect();
        let mut dropped = 0;
        for id in ids {
            let slot = self.streams.slot(id);
            self.drained.retain(|&drained| drained != id);
            self.low.retain(|&low| low != id);
            self.flushed.retain(|&flushed| flushed != id);
            if let Some(mut stream) = self.streams.remove(id) {
                self.waits -= usize::from(matches!(stream.held.wait, Wait::For(_)));
                self.active -= usize::from(stream.is_active());
                self.open -= usize::from(stream.is_open());
                dropped += stream.held.messages;
                let (payload, messages) = (stream.held.payload, stream.held.messages);
                self.budget.give_back(payload);
                self.budget.messages_done(&mut stream.held, stream.priority, messages);
            }
            if let Some(slot) = slot {
                self.turns.remove(slot);
                self.waiting.retain(|&waiting| waiting != slot);
            }
        }
        dropped
    }

    /// The reset was performed: the next message starts at SSN 0 (RFC 6525 §5.2.7, H4). Nothing of the
    /// stream is queued, so its state is forgotten.
    pub(crate) fn reset_done(&mut self, id: StreamId) {
        let slot = self.streams.slot(id);
        let (Some(stream), Some(slot)) = (self.streams.remove(id), slot) else { return };
        if stream.has_turn {
            self.turns.remove(slot);
        }
        self.waits -= usize::from(matches!(stream.held.wait, Wait::For(_)));
        if stream.held.in_line {
            // The slot will be another's.
            self.waiting.retain(|&waiting| waiting != slot);
        }
    }

    /// The reset was refused: the stream goes on.
    pub(crate) fn reset_failed(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.reset = ResetState::Open;
        }
    }
}

/// Whether a message may be begun beside those that are.
fn may_begin(begun: Charge, limit: usize, message: &QueuedMessage) -> bool {
    if message.part != Part::WHOLE {
        // One that is begun goes on.
        return !message.part.begins
            || begun.in_pieces == 0
            || begun.whole.saturating_add(begun.in_pieces) <= limit / 2;
    }
    let len = message.payload.len();
    let limit = if len <= MIDDLING { limit.saturating_add(limit / 2) } else { limit };
    begun.whole == 0
        || len <= SMALL
        || begun.whole.saturating_add(begun.in_pieces).saturating_add(len) <= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize, part: Part) -> QueuedMessage {
        let (payload, ppid) = (Bytes::from(vec![0; len]), Ppid(53));
        let counted = true;
        QueuedMessage { payload, ppid, unordered: false, max_retransmits: None, expires: None, counted, part }
    }

    #[test]
    fn what_is_begun_leaves_room_in_the_window_and_a_small_message_need_not_wait_for_it() {
        let (large, limit) = (256 << 10, 512 << 10);
        let may = |whole, len| may_begin(Charge { whole, in_pieces: 0 }, limit, &message(len, Part::WHOLE));
        assert!(may(0, 100 * large), "one at a time, whatever its size");
        assert!(may(large, large) && !may(2 * large, large));
        assert!(may(2 * large, MIDDLING) && !may(3 * large, MIDDLING));
        assert!(may(4 * large, SMALL));
    }

    #[test]
    fn one_message_in_pieces_and_a_whole_one_hold_each_other_up_never() {
        let limit = 512 << 10;
        let first = message(1, Part { begins: true, ends: false });
        let next = message(1, Part { begins: false, ends: false });
        let half = Charge { whole: 0, in_pieces: limit / 2 };
        assert!(may_begin(half, limit, &message(100 * limit, Part::WHOLE)));
        assert!(may_begin(half, limit, &first), "a second one, when there is nothing else");
        assert!(may_begin(Charge { whole: 100 * limit, in_pieces: 0 }, limit, &first));
        let full = Charge { whole: limit, in_pieces: limit / 2 };
        assert!(!may_begin(full, limit, &first) && may_begin(full, limit, &next));
        assert!(!may_begin(full, limit, &message(MIDDLING, Part::WHOLE)));
    }
}
