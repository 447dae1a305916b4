//! How often something may happen: so many times at once, and so many a second in the long run.

use std::time::{Duration, Instant};

/// A token bucket. Its rate and size are the caller's to keep, as many buckets have the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    left: u32,
    /// When `left` was right.
    refilled: Instant,
}

impl Bucket {
    pub(crate) fn full(now: Instant, size: u32) -> Self {
        Self { left: size, refilled: now }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant, per_second: u32, size: u32) -> bool {
        self.refill(now, per_second, size);
        let taken = self.left.checked_sub(1);
        self.left = taken.unwrap_or(0);
        taken.is_some()
    }

    /// Whether it is as good as new.
    pub(crate) fn is_full(&mut self, now: Instant, per_second: u32, size: u32) -> bool {
        self.refill(now, per_second, size);
        self.left >= size
    }

    fn refill(&mut self, now: Instant, per_second: u32, size: u32) {
        let passed = now.saturating_duration_since(self.refilled);
        // A float becomes the nearest integer that there is.
        let more = (passed.as_secs_f64() * f64::from(per_second)) as u32;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(size);
            if self.left == size {
                self.refilled = now;
            } else {
                // What is less than a token goes on counting.
                self.refilled += Duration::from_secs_f64(f64::from(more) / f64::from(per_second)).min(passed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
    fn base() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut now = base();
        let mut bucket = Bucket::full(now, 10);
        assert_eq!((0..100).filter(|_| bucket.take(now, 5, 10)).count(), 10);
        let mut passed = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(17);
            passed += u32::from(bucket.take(now, 5, 10));
        }
        assert_eq!(passed, 5 * 17, "17 s at 5 a second, however the time is cut");
        assert!(!bucket.is_full(now, 5, 10));
        now += Duration::from_secs(1 << 40);
        assert!(bucket.is_full(now, 5, 10));
        assert_eq!((0..100).filter(|_| bucket.take(now, 5, 10)).count(), 10);
    }

    #[test]
    fn no_time_and_no_rate_give_nothing() {
        let now = base();
        let mut bucket = Bucket::full(now, 1);
        assert!(bucket.take(now, 0, 1));
        assert!(!bucket.take(now + Duration::from_secs(1000), 0, 1));
        assert!(!bucket.take(now, 0, 1), "time may seem to go back");
        assert!(!Bucket::full(now, 0).take(now, 1000, 0));
    }
}
