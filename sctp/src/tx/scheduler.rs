//! Whose turn it is to send (RFC 8260 §3).
//!
//! All schedulers are one: streams that have something to send wait in the order of their tags, and being
//! served moves a stream's tag on by what that cost. What it costs makes the scheduler:
//!
//! | [`Scheduler`] | cost | RFC 8260 |
//! |---|---|---|
//! | `WeightedFair` | the bytes of each chunk, divided by the stream's weight | §3.6 |
//! | `RoundRobinMessages` | one, at the end of a message | §3.2, without interleaving |
//! | `RoundRobinPackets` | one, when a packet has been filled | §3.3 |
//!
//! The tags are the start tags of start-time fair queueing: a stream that comes back after a pause starts at
//! the tag that is being served now, so it neither waits for what it did not use nor pays for what others got
//! meanwhile; and it goes before those that have been waiting with the same tag. That is what bounds the delay
//! of a short message beside bulk transfers to the packet that is being filled.
//!
//! Cost: a comparison while one stream sends alone or leads; otherwise one step down a heap of the streams
//! that wait. Nothing is allocated once the heap has its size.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How streams with messages to send share the association (RFC 8260 §3).
///
/// A message is never interrupted unless I-DATA is in use (see
/// [`Config::interleaving`](crate::Config::interleaving)); then it may be after every packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Scheduler {
    /// Bytes are shared in proportion to the streams' priorities (§3.6, as RFC 8831 §6.4 wants it for data
    /// channels). A stream with little to send is served at once.
    #[default]
    WeightedFair,
    /// Streams take turns, one message each, whatever their size (§3.2).
    RoundRobinMessages,
    /// Streams take turns, one packet each (§3.3), except that the rest of a packet which the stream can't
    /// fill goes to the next. Without I-DATA the same as `RoundRobinMessages`.
    RoundRobinPackets,
}

/// A packet's cost in tags is about this times its bytes over the weight.
const SCALE: u64 = 1 << 12;

/// Set in the order of those that have been served, so that newcomers go before them.
const SERVED: u64 = 1 << 63;

/// A stream with something to send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Turn {
    tag: u64,
    order: u64,
    slot: u16,
}

/// The streams that have something to send, by slot.
#[derive(Debug)]
pub(crate) struct Turns {
    scheduler: Scheduler,
    /// Who is being served; not in `waiting`.
    serving: Option<Turn>,
    waiting: BinaryHeap<Reverse<Turn>>,
    /// The tag at which something was served last.
    now: u64,
    /// The highest tag there was.
    latest: u64,
    joined: u64,
    /// The one being served has been charged since it was chosen.
    charged: bool,
    /// Something was served since the last packet was full.
    packet_begun: bool,
}

impl Turns {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            serving: None,
            waiting: BinaryHeap::new(),
            now: 0,
            latest: 0,
            joined: 0,
            charged: false,
            packet_begun: false,
        }
    }

    /// A stream that is not here yet has something to send. `tag` is what it left with.
    pub(crate) fn join(&mut self, slot: u16, tag: u64) {
        if self.serving.is_none() && self.waiting.is_empty() {
            self.now = self.latest;
        }
        self.joined += 1;
        self.waiting.push(Reverse(Turn { tag: tag.max(self.now), order: self.joined, slot }));
    }

    /// Whose turn it is. It stays the same one's when `keep` says so.
    #[inline]
    pub(crate) fn current(&mut self, keep: bool) -> Option<u16> {
        let Some(serving) = &mut self.serving else {
            let Reverse(next) = self.waiting.pop()?;
            self.charged = false;
            self.serving = Some(next);
            return Some(next.slot);
        };
        if !keep && (self.charged || self.scheduler == Scheduler::WeightedFair) {
            if let Some(mut first) = self.waiting.peek_mut()
                && first.0 < *serving
            {
                std::mem::swap(&mut first.0, serving);
            }
            self.charged = false;
        }
        Some(serving.slot)
    }

    /// The one whose turn it is has sent a chunk.
    #[inline]
    pub(crate) fn served(&mut self, bytes: usize, weight: u16, end_of_message: bool, interleaving: bool) {
        self.packet_begun = true;
        let cost = match self.scheduler {
            Scheduler::WeightedFair => bytes as u64 * SCALE / u64::from(weight.max(1)),
            Scheduler::RoundRobinPackets if interleaving => return,
            _ => u64::from(end_of_message),
        };
        self.charge(cost);
    }

    /// The packet is full.
    #[inline]
    pub(crate) fn end_of_packet(&mut self, interleaving: bool) {
        if std::mem::take(&mut self.packet_begun)
            && interleaving
            && self.scheduler == Scheduler::RoundRobinPackets
        {
            self.charge(1);
        }
    }

    #[inline]
    fn charge(&mut self, cost: u64) {
        let Some(serving) = &mut self.serving else { return };
        if cost > 0 {
            self.joined += 1;
            self.now = serving.tag;
            serving.tag = serving.tag.saturating_add(cost);
            serving.order = self.joined | SERVED;
            self.latest = self.latest.max(serving.tag);
            self.charged = true;
        }
    }

    /// The one whose turn it is has nothing more to send. Returns the tag to come back with.
    pub(crate) fn leave(&mut self) -> u64 {
        self.serving.take().map_or(0, |turn| turn.tag)
    }

    /// Takes a stream out, wherever it is.
    pub(crate) fn remove(&mut self, slot: u16) {
        if self.serving.is_some_and(|turn| turn.slot == slot) {
            self.serving = None;
        }
        self.waiting.retain(|Reverse(turn)| turn.slot != slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `n` chunks of this size to streams that never run dry; how many each got.
    fn shares(scheduler: Scheduler, weights: &[u16], n: usize) -> Vec<usize> {
        let mut turns = Turns::new(scheduler);
        for slot in 0..weights.len() {
            turns.join(slot as u16, 0);
        }
        let mut got = vec![0; weights.len()];
        for _ in 0..n {
            let slot = usize::from(turns.current(false).unwrap());
            got[slot] += 1;
            turns.served(1148, weights[slot], false, true);
            turns.end_of_packet(true);
        }
        got
    }

    #[test]
    fn weights_share_and_rounds_do_not() {
        assert_eq!(shares(Scheduler::WeightedFair, &[128, 256, 512, 1024], 1500), [100, 200, 400, 800]);
        assert_eq!(shares(Scheduler::RoundRobinPackets, &[128, 1024], 100), [50, 50]);
        assert_eq!(shares(Scheduler::RoundRobinMessages, &[1, 1], 100), [100, 0], "no message has ended");
    }

    #[test]
    fn a_newcomer_goes_before_any_number_of_equals() {
        let mut turns = Turns::new(Scheduler::WeightedFair);
        for slot in 0..100 {
            turns.join(slot, 0);
        }
        for _ in 0..150 {
            turns.current(false);
            turns.served(1000, 256, false, true);
        }
        turns.join(200, 0);
        assert_eq!(turns.current(false), Some(200));
        // It is not interrupted where it may not be.
        turns.served(1 << 20, 256, false, false);
        assert_eq!(turns.current(true), Some(200));
        assert_ne!(turns.current(false), Some(200));
    }

    #[test]
    fn who_sent_alone_owes_nothing_to_who_comes_later() {
        let mut turns = Turns::new(Scheduler::WeightedFair);
        turns.join(1, 0);
        turns.current(false);
        turns.served(1 << 30, 1, true, true);
        let tag = turns.leave();
        turns.join(1, tag);
        turns.join(2, 0);
        let mut got = [0; 3];
        for _ in 0..100 {
            let slot = turns.current(false).unwrap();
            got[usize::from(slot)] += 1;
            turns.served(1000, 256, false, true);
        }
        assert_eq!(got, [0, 50, 50]);
    }

    #[test]
    fn who_is_removed_gets_no_turn() {
        let mut turns = Turns::new(Scheduler::WeightedFair);
        turns.join(1, 0);
        turns.join(2, 0);
        turns.remove(1);
        assert_eq!(turns.current(false), Some(2));
        turns.remove(2);
        assert_eq!(turns.current(false), None);
    }
}
