//! The virtual clock: it starts at zero and moves only when the runner says so.

use std::time::{Duration, Instant};

pub(crate) struct Clock {
    now: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "one base instant, which the runner's steps are added to")]
    pub(crate) fn new() -> Self {
        Self { now: Instant::now() }
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// Steps that would leave the clock's range are not made.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.now = self.now.checked_add(by).unwrap_or(self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_by_exactly_what_it_is_told() {
        let mut clock = Clock::new();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_nanos(3));
        assert_eq!(clock.now() - start, Duration::from_nanos(3));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now() - start, Duration::from_nanos(3));
    }
}
