//! When to acknowledge (RFC 9260 §6.2).
//!
//! ```text
//!   Idle ──DATA──► Delayed(deadline) ──2nd packet, gap, duplicate, I bit, deadline──► Now ──sent──► Idle
//! ```
//!
//! "Every second packet" means here: once two packets have come, at the next chance to send. An owner that
//! takes a batch of packets and then drains `poll_transmit` sends one SACK for the batch.

use std::time::{Duration, Instant};

/// The state of the delayed acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Delayed(Instant),
    Now,
}

/// Decides when a SACK is due.
#[derive(Debug)]
pub(crate) struct SackPolicy {
    state: State,
    delay: Duration,
    /// The first DATA of an association is acknowledged at once (RFC 9260 §5.1).
    first: bool,
}

impl SackPolicy {
    pub(crate) fn new(delay: Duration) -> Self {
        Self { state: State::Idle, delay, first: true }
    }

    /// A packet with DATA has been taken in.
    #[inline]
    pub(crate) fn on_data_packet(&mut self, now: Instant, immediately: bool) {
        let immediately = std::mem::take(&mut self.first) || immediately;
        self.state = match self.state {
            State::Idle if !immediately => State::Delayed(now + self.delay),
            _ => State::Now,
        };
    }

    /// Something else asks for a SACK at the next chance.
    pub(crate) fn request(&mut self) {
        self.state = State::Now;
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Delayed(deadline) if deadline <= now) {
            self.state = State::Now;
        }
    }

    /// It must be sent.
    pub(crate) fn is_due(&self) -> bool {
        self.state == State::Now
    }

    /// It should go along when a packet is sent anyway.
    pub(crate) fn is_pending(&self) -> bool {
        self.state != State::Idle
    }

    pub(crate) fn sent(&mut self) {
        self.state = State::Idle;
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Delayed(deadline) => Some(deadline),
            State::Idle | State::Now => None,
        }
    }
}
