//! How much may wait in a channel, for its owner: a bound in time, and not in bytes.

use std::time::{Duration, Instant};

/// What waits in a channel should have left after so long.
const WAIT: Duration = Duration::from_millis(100);

/// A rate is measured over so long at least.
const MEASURE: Duration = Duration::from_millis(50);

/// Bytes that may wait in any case.
const MIN: usize = 2 * 1024;

/// Bytes that may wait at most.
const MAX: usize = 1024 * 1024;

/// Decides how many bytes may wait in one data channel.
///
/// Heartbeats go the same way as data. A fixed limit is seconds on a slow way and starves a fast one; this one follows what
/// the channel takes: it doubles while the channel runs empty, and is a tenth of a second's worth while it does not; from
/// 2 KiB to 1 MiB. A frame may go in as long as less than [`ChannelBudget::limit`] waits, however long the frame is.
#[derive(Clone, Debug)]
pub struct ChannelBudget {
    limit: usize,
    since: Instant,
    /// Bytes that went in, or were there, since then.
    put: usize,
    ran_empty: bool,
}

impl ChannelBudget {
    /// For a new channel.
    pub fn new(now: Instant) -> Self {
        Self { limit: 8 * MIN, since: now, put: 0, ran_empty: true }
    }

    /// Bytes were put in.
    pub fn put(&mut self, bytes: usize) {
        self.put = self.put.saturating_add(bytes);
    }

    /// Bytes below which another frame may go in, now that `waiting` are in the channel and have not left. To be asked
    /// before a frame goes in, and when the channel has run empty.
    pub fn limit(&mut self, now: Instant, waiting: usize) -> usize {
        self.ran_empty |= waiting == 0;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= MEASURE {
            let left = self.put.saturating_sub(waiting);
            if !self.ran_empty {
                // The cast saturates.
                self.limit = (left as f64 / elapsed.as_secs_f64() * WAIT.as_secs_f64()) as usize;
            } else if left >= self.limit {
                self.limit = self.limit.saturating_mul(2);
            }
            self.limit = self.limit.clamp(MIN, MAX);
            (self.since, self.put, self.ran_empty) = (now, waiting, waiting == 0);
        }
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a channel that sends so many bytes a second, for so long; returns the most that waited in the second half.
    #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
    fn most_waiting(rate: usize, seconds: usize) -> usize {
        let step = Duration::from_millis(5);
        let mut now = Instant::now();
        let mut budget = ChannelBudget::new(now);
        let (mut waiting, mut most) = (0_usize, 0);
        for at in 0..seconds * 200 {
            now += step;
            waiting = waiting.saturating_sub(rate / 200);
            while waiting < budget.limit(now, waiting) {
                budget.put(1000);
                waiting += 1000;
            }
            if at >= seconds * 100 {
                most = most.max(waiting);
            }
        }
        most
    }

    #[test]
    fn what_waits_is_gone_in_a_tenth_of_a_second_whatever_the_rate() {
        for rate in [40_000, 100_000, 1_000_000, 8_000_000] {
            let most = most_waiting(rate, 10);
            assert!(most >= rate / 200 && most <= rate / 8 + 2000, "{most} bytes at {rate} bytes a second");
        }
        // At least so much, and at most.
        assert!(most_waiting(1_000, 30) <= MIN + 1000);
        assert!((MAX..=MAX + 1000).contains(&most_waiting(1_000_000_000, 2)));
    }
}
