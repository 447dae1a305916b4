//! A flight: the messages that go together and are sent again together (RFC 6347 §4.2.4), and its timer.
//!
//! ```text
//!            begin, push…, arm                       answered: begin (next flight) or clear
//!  PREPARING ────────────────▶ SENDING/WAITING ─────────────────────────────────────────────▶
//!                                │   ▲
//!                                └───┘ timer, or the peer repeats its own flight: from the start again
//! ```
//! The timer of a flight that the owner has not yet drained only starts anew: nothing was lost.

use crate::config::Retransmit;
use crate::handshake::Message;
use std::time::{Duration, Instant};

/// A piece of a flight.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Message),
    ChangeCipherSpec,
}

/// What the timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    NotYet,
    /// The flight starts again.
    Resend,
    /// The limit of retransmissions is reached.
    GiveUp,
}

#[derive(Debug)]
pub(crate) struct Flight {
    retransmit: Retransmit,
    items: Vec<Item>,
    /// The item to send next, and how much of it is sent.
    cursor: (usize, usize),
    interval: Duration,
    timeouts: u32,
    deadline: Option<Instant>,
    /// When it was last started.
    started: Option<Instant>,
}

/// A timer below this would be a busy loop.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

impl Flight {
    pub(crate) fn new(retransmit: Retransmit) -> Self {
        Self {
            retransmit,
            items: Vec::new(),
            cursor: (0, 0),
            interval: MIN_INTERVAL,
            timeouts: 0,
            deadline: None,
            started: None,
        }
    }

    /// Forgets the last flight: it was answered, or there is nobody to send to.
    pub(crate) fn clear(&mut self) {
        self.items = Vec::new();
        self.cursor = (0, 0);
        self.deadline = None;
        self.timeouts = 0;
        self.interval = self.retransmit.initial.max(MIN_INTERVAL);
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    /// The flight is complete; `answered` says that it expects an answer and so has a timer.
    pub(crate) fn arm(&mut self, now: Instant, answered: bool) {
        self.started = Some(now);
        self.deadline = if answered { now.checked_add(self.interval) } else { None };
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn stop_timer(&mut self) {
        self.deadline = None;
    }

    pub(crate) const fn timeouts(&self) -> u32 {
        self.timeouts
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Expiry {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Expiry::NotYet;
        }
        if self.has_unsent() {
            self.deadline = now.checked_add(self.interval);
            return Expiry::NotYet;
        }
        if self.timeouts >= self.retransmit.limit {
            self.deadline = None;
            return Expiry::GiveUp;
        }
        self.timeouts += 1;
        self.interval = self.interval.saturating_mul(2).min(self.retransmit.max).max(MIN_INTERVAL);
        self.cursor = (0, 0);
        self.arm(now, true);
        Expiry::Resend
    }

    /// The peer repeated its flight, so ours was lost, or the repetition crossed it. Starts again unless that was
    /// done within half the initial interval: a replayed flight must not make us an amplifier.
    pub(crate) fn handle_repetition(&mut self, now: Instant) -> bool {
        let rest = self.retransmit.initial.max(MIN_INTERVAL) / 2;
        let recently = self.started.is_some_and(|started| now.saturating_duration_since(started) < rest);
        if self.items.is_empty() || self.has_unsent() || recently {
            return false;
        }
        self.cursor = (0, 0);
        self.arm(now, self.deadline.is_some());
        true
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.cursor.0 < self.items.len()
    }

    /// The next piece: an item and how many bytes of its body are already sent.
    pub(crate) fn unsent(&self) -> Option<(&Item, usize)> {
        self.items.get(self.cursor.0).map(|item| (item, self.cursor.1))
    }

    #[cfg(test)]
    pub(crate) fn items_mut(&mut self) -> &mut Vec<Item> {
        &mut self.items
    }

    /// So much of the body of [`Self::unsent`] went out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let (index, offset) = self.cursor;
        let len = match self.items.get(index) {
            Some(Item::Message(message)) => message.body.len(),
            _ => 0,
        };
        self.cursor = if offset + bytes >= len { (index + 1, 0) } else { (index, offset + bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "one base instant; time is an argument from there on")]
    fn base() -> Instant {
        Instant::now()
    }

    fn flight(limit: u32) -> Flight {
        let retransmit =
            Retransmit { initial: Duration::from_millis(50), max: Duration::from_millis(150), limit };
        let mut flight = Flight::new(retransmit);
        flight.clear();
        flight.push(Item::ChangeCipherSpec);
        flight
    }

    #[test]
    fn intervals_double_up_to_the_cap_and_end_at_the_limit() {
        let mut now = base();
        let mut flight = flight(4);
        flight.arm(now, true);
        flight.sent(0);
        for expected in [50, 100, 150, 150] {
            let deadline = flight.deadline().unwrap();
            assert_eq!(deadline - now, Duration::from_millis(expected));
            assert_eq!(flight.handle_timeout(now), Expiry::NotYet);
            now = deadline;
            assert_eq!(flight.handle_timeout(now), Expiry::Resend);
            flight.sent(0);
        }
        now = flight.deadline().unwrap();
        assert_eq!(flight.handle_timeout(now), Expiry::GiveUp);
        assert_eq!(flight.deadline(), None);
    }

    #[test]
    fn a_flight_that_was_never_drained_is_not_counted_as_lost() {
        let mut now = base();
        let mut flight = flight(1);
        flight.arm(now, true);
        for _ in 0..100 {
            now = flight.deadline().unwrap();
            assert_eq!(flight.handle_timeout(now), Expiry::NotYet);
            assert!(flight.deadline().unwrap() > now);
        }
        assert_eq!(flight.timeouts(), 0);
    }

    #[test]
    fn repetitions_in_quick_succession_resend_once() {
        let now = base();
        let mut flight = flight(4);
        flight.arm(now, false);
        flight.sent(0);
        let mut resent = 0;
        for step in 0..1000 {
            if flight.handle_repetition(now + Duration::from_micros(25_000 + step)) {
                resent += 1;
                flight.sent(0);
            }
        }
        assert_eq!(resent, 1);
        assert_eq!(flight.deadline(), None);
    }
}
