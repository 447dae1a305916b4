//! Who waits for something on a channel.
//!
//! A future or adapter that can't go on leaves its waker here, under the same lock under which it was refused; what it
//! waits for is told under that lock, too. So nothing can happen in between, and no wake-up is lost.
//!
//! Those who want to send stand in line. When there is room, as many are woken as it is enough for, the longest waiting
//! first, and for the next one the core is asked to tell again. Who is woken has no claim to the room: if it never
//! comes back for it, the others don't wait for that.

use std::collections::VecDeque;
use std::task::Waker;

use sinnet_peer::{ChannelKey, ChannelMap, Peer};

/// About what a message takes in the send buffer besides its payload.
const MESSAGE_COST: usize = 400;

/// What can be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// A message, or the end.
    Message,
    /// Room to send.
    Room,
    /// Room for the next piece of a message. Whoever gives it does not stand in line: the line waits for its end.
    Piece,
    /// That everything has been handed to the network.
    Flush,
    /// That the buffered amount is low.
    Low,
    /// Another state.
    State,
}

/// How many kinds of that there are.
pub(crate) const WANTS: usize = 6;

/// Those who wait on one channel, by what they want.
#[derive(Default)]
pub(crate) struct Waiters([Line; WANTS]);

/// In the order of their coming.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiter>,
    tickets: u64,
}

struct Waiter {
    ticket: u64,
    /// How much it wants to send.
    len: usize,
    waker: Waker,
}

impl Waiters {
    /// Waits, at the end of the line, or where the ticket says. Returns a waker that is not needed any more, to be dropped
    /// when no lock is held.
    pub(crate) fn enter(
        &mut self,
        want: Want,
        ticket: &mut Option<u64>,
        len: usize,
        waker: &Waker,
    ) -> Option<Waker> {
        let Line { waiting, tickets } = &mut self.0[want as usize];
        let ticket = *ticket.get_or_insert_with(|| {
            *tickets += 1;
            *tickets
        });
        match waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            Ok(at) => {
                let waiter = &mut waiting[at];
                waiter.len = len;
                (!waiter.waker.will_wake(waker)).then(|| std::mem::replace(&mut waiter.waker, waker.clone()))
            }
            Err(at) => {
                if waiting.capacity() == 0 {
                    // It is one as a rule.
                    waiting.reserve_exact(1);
                }
                waiting.insert(at, Waiter { ticket, len, waker: waker.clone() });
                None
            }
        }
    }

    /// Does not wait any more. Returns the waker, to be dropped when no lock is held.
    pub(crate) fn leave(&mut self, want: Want, ticket: u64) -> Option<Waker> {
        let waiting = &mut self.0[want as usize].waiting;
        let at = waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()?;
        waiting.remove(at).map(|waiter| waiter.waker)
    }

    pub(crate) fn anybody(&self, want: Want) -> bool {
        !self.0[want as usize].waiting.is_empty()
    }

    pub(crate) fn wake(&mut self, want: Want) {
        for waiter in self.0[want as usize].waiting.drain(..) {
            waiter.waker.wake();
        }
    }

    pub(crate) fn wake_all(&mut self) {
        for want in [Want::Message, Want::Room, Want::Piece, Want::Flush, Want::Low, Want::State] {
            self.wake(want);
        }
    }

    /// Wakes as many of those who want to send as there is room for.
    fn wake_for_room(&mut self, peer: &mut Peer, key: ChannelKey) {
        let waiting = &mut self.0[Want::Room as usize].waiting;
        let mut taken = 0usize;
        while let Some(first) = waiting.front() {
            // If not, the core tells when there is.
            if !peer.has_room_for(key, taken.saturating_add(first.len)) {
                return;
            }
            taken = taken.saturating_add(first.len).saturating_add(MESSAGE_COST);
            if let Some(first) = waiting.pop_front() {
                first.waker.wake();
            }
        }
    }
}

/// Those who wait, for each channel that has a handle. In boxes, since a table begins with more places than most connections have channels.
pub(crate) type WaitersByChannel = ChannelMap<Box<Waiters>>;

/// There may be room to send on this channel.
pub(crate) fn wake_for_room(channels: &mut WaitersByChannel, peer: &mut Peer, key: ChannelKey) {
    if let Some(waiters) = channels.get_mut(&key) {
        waiters.wake_for_room(peer, key);
    }
}
