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
    /// `message_seq` of the peer's message that it answers.
    answers: Option<u16>,
}

/// A timer below this would be a busy loop.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

impl Flight {
    pub(crate) fn new(retransmit: Retransmit) -> Self {
        Self {
            retransmit,
            items: Vec::new(),
            cursor: (0, 0),
            interval: retransmit.initial.max(MIN_INTERVAL),
            timeouts: 0,
            deadline: None,
            started: None,
            answers: None,
        }
    }

    /// Begins a new flight, which answers the peer's message of this number.
    pub(crate) fn begin(&mut self, answers: Option<u16>) {
        self.clear();
        self.answers = answers;
    }

    /// Another first interval. The running timer is set anew as if it had always been this, but never back.
    pub(crate) fn set_initial(&mut self, now: Instant, initial: Duration) {
        self.retransmit.initial = initial;
        let doubled = 1u32.checked_shl(self.timeouts.min(31)).unwrap_or(u32::MAX);
        self.interval = self.capped(initial.saturating_mul(doubled));
        if self.deadline.is_some() {
            let due = self.started.and_then(|started| started.checked_add(self.interval));
            self.deadline = due.map(|due| due.max(now));
        }
    }

    fn capped(&self, interval: Duration) -> Duration {
        interval.min(self.retransmit.max).max(MIN_INTERVAL)
    }

    /// Forgets the last flight: it was answered, or there is nobody to send to.
    pub(crate) fn clear(&mut self) {
        self.items = Vec::new();
        self.cursor = (0, 0);
        self.deadline = None;
        self.timeouts = 0;
        self.answers = None;
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
        self.interval = self.capped(self.interval.saturating_mul(2));
        self.cursor = (0, 0);
        self.arm(now, true);
        Expiry::Resend
    }

    /// The peer repeated the end of the flight that ours answers, so ours was lost, or the repetition crossed it.
    /// Starts again unless that was done within half the initial interval: a replayed flight must not make us an
    /// amplifier.
    pub(crate) fn handle_repetition(&mut self, now: Instant, message_seq: u16) -> bool {
        let rest = self.retransmit.initial.max(MIN_INTERVAL) / 2;
        let recently = self.started.is_some_and(|started| now.saturating_duration_since(started) < rest);
        !recently && self.repeat(now, message_seq)
    }

    /// Starts again if it answers that message, unless it is still on its way out.
    pub(crate) fn repeat(&mut self, now: Instant, message_seq: u16) -> bool {
        if self.items.is_empty() || self.has_unsent() || self.answers != Some(message_seq) {
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
        flight.begin(Some(3));
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
            assert!(!flight.handle_repetition(now + Duration::from_secs(1), 2), "another flight's answer");
            if flight.handle_repetition(now + Duration::from_micros(25_000 + step), 3) {
                resent += 1;
                flight.sent(0);
            }
        }
        assert_eq!(resent, 1);
        assert_eq!(flight.deadline(), None);
    }

    #[test]
    fn another_initial_interval_moves_the_running_timer_but_never_into_the_past() {
        let start = base();
        let millis = Duration::from_millis;
        let mut flight = flight(4);
        flight.arm(start, true);
        flight.set_initial(start + millis(5), millis(20));
        assert_eq!(flight.deadline(), Some(start + millis(20)));
        flight.set_initial(start + millis(15), millis(10));
        assert_eq!(flight.deadline(), Some(start + millis(15)));
        flight.sent(0);
        assert_eq!(flight.handle_timeout(start + millis(15)), Expiry::Resend);
        assert_eq!(flight.deadline(), Some(start + millis(15 + 20)), "doubled");
        flight.set_initial(start + millis(16), millis(40));
        assert_eq!(flight.deadline(), Some(start + millis(15 + 80)));
        flight.set_initial(start + millis(16), Duration::MAX);
        assert_eq!(flight.deadline(), Some(start + millis(15 + 150)), "capped");
        flight.begin(None);
        flight.set_initial(start, millis(30));
        assert_eq!(flight.deadline(), None);
    }
}
