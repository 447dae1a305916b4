//! Streams that were refused something, until there is room again (`budget` says how much each has).

use super::super::budget::{AT_ONCE, Budget, FEW, Held, Wait};
use super::{DEFAULT_PRIORITY, OutStream, SendQueue};
use crate::types::StreamId;

impl SendQueue {
    /// Looks at one stream, if it waits for room.
    pub(crate) fn tell_one_of_room(&mut self, id: StreamId, limit: usize) {
        let Some(slot) = self.streams.slot(id) else { return };
        let Some(stream) = self.streams.at_mut(slot) else { return };
        if let Wait::For(wanted) = stream.held.wait {
            let room = self.budget.room(limit, &stream.held, stream.priority, 0);
            if Budget::is_enough(&stream.held, room, wanted).is_some() {
                self.tell(slot);
            }
        }
    }

    /// How many bytes more the stream may hold.
    pub(crate) fn room(&self, id: StreamId, limit: usize) -> usize {
        match self.streams.get(id) {
            Some(stream) => self.room_of(stream, limit),
            None => self.budget.room(limit, &Held::new(), DEFAULT_PRIORITY, 0),
        }
    }

    /// The same, of a stream that is at hand.
    pub(crate) fn room_of(&self, stream: &OutStream, limit: usize) -> usize {
        self.budget.room(limit, &stream.held, stream.priority, 0)
    }

    /// A message of this size was refused: the stream's owner is to be told when there is room.
    pub(crate) fn wait(&mut self, id: StreamId, len: usize) {
        let Some(slot) = self.streams.slot(id) else { return };
        let Some(stream) = self.streams.at_mut(slot) else { return };
        stream.held.wait = match stream.held.wait {
            Wait::No => {
                self.waits += 1;
                if !std::mem::replace(&mut stream.held.in_line, true) {
                    self.waiting.push_back(slot);
                }
                Wait::For(len)
            }
            Wait::For(before) => Wait::For(before.min(len)),
            Wait::Over => Wait::Over,
        };
    }

    /// The owner of a stream that was refused something can try again now.
    pub(in crate::tx) fn tell(&mut self, slot: u16) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        if stream.held.wait != Wait::Over {
            self.waits -= usize::from(stream.held.wait != Wait::No);
            stream.held.wait = Wait::Over;
            self.writable.push_back(stream.id);
        }
    }

    /// A message of no bytes that holds its place until its chunk is acknowledged.
    pub(in crate::tx) fn hold(&mut self, slot: u16) {
        if let Some(stream) = self.streams.at_mut(slot) {
            self.budget.take(&mut stream.held, stream.priority, 0);
        }
    }

    /// Whether a stream waits for room.
    #[inline]
    pub(crate) fn anybody_waits(&self) -> bool {
        self.waits > 0
    }

    /// Whether every stream that waits for room holds something, whose end will wake it.
    pub(crate) fn waits_end(&self) -> bool {
        let mut waiting = self.waiting.iter().filter_map(|&slot| self.streams.at(slot));
        waiting.all(|stream| stream.held.messages > 0 || !matches!(stream.held.wait, Wait::For(_)))
    }

    /// Looks at the streams that wait for room.
    pub(crate) fn tell_of_room(&mut self, limit: usize) {
        let used = self.budget.used();
        let step = if self.waits > FEW { limit / 64 } else { 0 };
        if used < self.looked_at && self.looked_at - used < step {
            return;
        }
        self.looked_at = used;
        let mut assumed = 0;
        // Who is not told goes to the end. As long as all are looked at, that leaves them in their order.
        let mut looked = 0;
        for _ in 0..self.waiting.len() {
            if looked == AT_ONCE {
                break;
            }
            let Some(slot) = self.waiting.pop_front() else { break };
            let Some(stream) = self.streams.at_mut(slot) else { continue };
            // Who has been told otherwise leaves the line here, for good, and takes nobody's turn.
            if let Wait::For(wanted) = stream.held.wait {
                looked += 1;
                let room = self.budget.room(limit, &stream.held, stream.priority, assumed);
                let Some(taken) = Budget::is_enough(&stream.held, room, wanted) else {
                    self.waiting.push_back(slot);
                    continue;
                };
                assumed += taken;
                stream.held.wait = Wait::Over;
                self.waits -= 1;
                self.writable.push_back(stream.id);
            }
            stream.held.in_line = false;
        }
    }

    /// The next stream whose owner is to be told that there is room.
    pub(crate) fn pop_writable(&mut self) -> Option<StreamId> {
        let id = self.writable.pop_front()?;
        if let Some(stream) = self.streams.get_mut(id)
            && stream.held.wait == Wait::Over
        {
            stream.held.wait = Wait::No;
        }
        Some(id)
    }
}
