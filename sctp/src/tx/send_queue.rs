//! What the application wants sent: messages by stream, and whose turn it is.
//!
//! Streams with messages take turns, one message each (RFC 9260 leaves the order open). Without I-DATA the
//! fragments of a message have consecutive TSNs (§6.9), so a large message holds the others up until it has
//! been cut; `bufferedAmount` tells an application when that matters.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::stream_map::StreamMap;
use crate::types::{Ppid, Ssn, StreamId};

/// What a message counts for in the send buffer besides its payload: about what its bookkeeping takes.
pub(crate) const MESSAGE_OVERHEAD: usize = 64;

/// A message that waits for its first fragment to be cut.
#[derive(Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) payload: Bytes,
    pub(crate) ppid: Ppid,
    pub(crate) unordered: bool,
    pub(crate) max_retransmits: Option<u32>,
    pub(crate) expires: Option<Instant>,
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
    queue: VecDeque<QueuedMessage>,
    /// Payload bytes never sent.
    pub(crate) buffered: usize,
    /// Payload bytes not acknowledged, the buffered ones included.
    pub(crate) unacked: usize,
    pub(crate) low_threshold: usize,
    pub(crate) next_ssn: Ssn,
    pub(crate) reset: ResetState,
    low_pending: bool,
}

impl OutStream {
    fn new(id: StreamId) -> Self {
        Self {
            id,
            queue: VecDeque::new(),
            buffered: 0,
            unacked: 0,
            low_threshold: 0,
            next_ssn: Ssn(0),
            reset: ResetState::Open,
            low_pending: false,
        }
    }

    /// Everything handed over has been sent and acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.unacked == 0
    }
}

/// All outgoing streams.
#[derive(Debug)]
pub(crate) struct SendQueue {
    streams: StreamMap<OutStream>,
    /// Slots of the streams that have messages, each once, in their turn.
    turns: VecDeque<u16>,
    /// Streams whose buffered amount fell to the threshold and whose owner has not been told; each once.
    low: VecDeque<StreamId>,
    /// Streams in `ResetState::Draining` that are drained; each once.
    drained: VecDeque<StreamId>,
}

impl SendQueue {
    pub(crate) fn new() -> Self {
        Self {
            streams: StreamMap::new(),
            turns: VecDeque::new(),
            low: VecDeque::new(),
            drained: VecDeque::new(),
        }
    }

    pub(crate) fn stream(&self, id: StreamId) -> Option<&OutStream> {
        self.streams.get(id)
    }

    pub(crate) fn stream_or_new(&mut self, id: StreamId) -> Option<&mut OutStream> {
        self.streams.get_or_insert_with(id, || OutStream::new(id))
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = &OutStream> {
        self.streams.iter()
    }

    pub(crate) fn at_mut(&mut self, slot: u16) -> Option<&mut OutStream> {
        self.streams.at_mut(slot)
    }

    /// Whether any message waits for its first cut.
    pub(crate) fn has_messages(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Queues a message; `false` when there is no slot left for its stream.
    pub(crate) fn push(&mut self, id: StreamId, message: QueuedMessage) -> bool {
        let Some(slot) = self.streams.slot_or_insert_with(id, || OutStream::new(id)) else { return false };
        let Some(stream) = self.streams.at_mut(slot) else { return false };
        stream.buffered += message.payload.len();
        stream.unacked += message.payload.len();
        if stream.queue.is_empty() {
            self.turns.push_back(slot);
        }
        stream.queue.push_back(message);
        true
    }

    /// The message whose turn it is, and the slot of its stream.
    pub(crate) fn pop(&mut self) -> Option<(u16, QueuedMessage)> {
        let slot = self.turns.pop_front()?;
        let stream = self.streams.at_mut(slot)?;
        let message = stream.queue.pop_front()?;
        if !stream.queue.is_empty() {
            self.turns.push_back(slot);
        }
        Some((slot, message))
    }

    /// These payload bytes have been sent for the first time, or given up before that.
    pub(crate) fn unbuffer(&mut self, slot: u16, bytes: usize) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let before = stream.buffered;
        stream.buffered = before.saturating_sub(bytes);
        if before > stream.low_threshold && stream.buffered <= stream.low_threshold && !stream.low_pending {
            stream.low_pending = true;
            self.low.push_back(stream.id);
        }
    }

    /// These payload bytes have been acknowledged or given up.
    pub(crate) fn release(&mut self, slot: u16, bytes: usize) {
        if let Some(stream) = self.streams.at_mut(slot) {
            stream.unacked = stream.unacked.saturating_sub(bytes);
            if bytes > 0 && stream.reset == ResetState::Draining && stream.is_drained() {
                self.drained.push_back(stream.id);
            }
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

    /// Whether a reset could be requested now.
    pub(crate) fn any_drained(&self) -> bool {
        !self.drained.is_empty()
    }

    /// Drops the streams from this id on, which the peer turns out not to have. Returns payload bytes and
    /// messages.
    pub(crate) fn drop_from(&mut self, id: StreamId) -> (usize, usize) {
        let ids: Vec<StreamId> = self.streams.iter().map(|s| s.id).filter(|s| s.0 >= id.0).collect();
        let mut dropped = (0, 0);
        for id in ids {
            let slot = self.streams.slot(id);
            self.turns.retain(|&turn| Some(turn) != slot);
            self.drained.retain(|&drained| drained != id);
            self.low.retain(|&low| low != id);
            if let Some(stream) = self.streams.remove(id) {
                dropped.0 += stream.unacked;
                dropped.1 += stream.queue.len();
            }
        }
        dropped
    }

    /// The reset was performed: the next message starts at SSN 0 (RFC 6525 §5.2.7, H4). Nothing of the
    /// stream is queued, so its state is forgotten.
    pub(crate) fn reset_done(&mut self, id: StreamId) {
        self.streams.remove(id);
    }

    /// The reset was refused: the stream goes on.
    pub(crate) fn reset_failed(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.reset = ResetState::Open;
        }
    }
}
