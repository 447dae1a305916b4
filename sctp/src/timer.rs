//! A timer with exponential back-off (RFC 9260 §6.3.3).

use std::time::{Duration, Instant};

/// The limits of back-off, from the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The longest that doubling alone makes the timer.
    pub(crate) max: Duration,
}

/// One timer: when it runs out, and how often it has done so in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timer {
    deadline: Option<Instant>,
    expirations: u32,
}

impl Timer {
    /// Starts anew, with the back-off that the expirations so far have earned.
    pub(crate) fn start(&mut self, now: Instant, base: Duration, backoff: Backoff) {
        let limit = backoff.max.max(base);
        let factor = 1u32.checked_shl(self.expirations).unwrap_or(u32::MAX);
        self.deadline = Some(now + base.saturating_mul(factor).min(limit));
    }

    /// The same, unless it runs already.
    pub(crate) fn start_if_stopped(&mut self, now: Instant, base: Duration, backoff: Backoff) {
        if self.deadline.is_none() {
            self.start(now, base, backoff);
        }
    }

    /// Stops it and leaves the back-off as it is.
    pub(crate) fn stop(&mut self) {
        self.deadline = None;
    }

    /// There has been progress: the next start is without back-off.
    pub(crate) fn reset_backoff(&mut self) {
        self.expirations = 0;
    }

    /// Whether it has run out by now; if so it is stopped and the back-off doubles.
    pub(crate) fn expired(&mut self, now: Instant) -> bool {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.expirations = self.expirations.saturating_add(1);
            true
        } else {
            false
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How often it has run out since the last progress.
    pub(crate) fn expirations(&self) -> u32 {
        self.expirations
    }
}

/// The earlier of two deadlines.
pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{base, ms};

    #[test]
    fn it_doubles_up_to_its_limit_until_there_is_progress() {
        let now = base();
        let backoff = Backoff { max: ms(3000) };
        let mut timer = Timer::default();
        for expected in [400, 800, 1600, 3000, 3000] {
            timer.start(now, ms(400), backoff);
            assert_eq!(timer.deadline(), Some(now + ms(expected)));
            assert!(!timer.expired(now + ms(expected - 1)));
            assert!(timer.expired(now + ms(expected)));
            assert_eq!(timer.deadline(), None);
        }
        assert_eq!(timer.expirations(), 5);
        // The limit is for doubling; a path that takes longer has its own time.
        timer.start(now, ms(5000), backoff);
        assert_eq!(timer.deadline(), Some(now + ms(5000)));
        timer.reset_backoff();
        timer.start(now, ms(400), backoff);
        assert_eq!(timer.deadline(), Some(now + ms(400)));
    }
}
