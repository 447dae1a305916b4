//! Whether to look again for a little while before going to sleep.
//!
//! Who waits for an answer that comes within microseconds does better not to sleep: being woken costs the peer, whose system call has to
//! wake an idle processor, and then ourselves, several times what the answer takes. Looking for as long as that costs is at most as
//! much again.
//!
//! It is done only where little is moved and in both directions, as in a conversation: bulk data comes in batches, and sleeping in between
//! makes them larger. (Small messages one way look like a conversation, too, as they are acknowledged.) And only where it pays: each time that nothing came doubles how many waits go by without looking, up to a thousand; each
//! time that something came halves it. Where both ends have one processor between them, none comes, as looking keeps the peer from running.

use std::time::Duration;

/// Most bytes that a turn moves each way if it is part of a conversation: not a full datagram.
const LITTLE: usize = 1024;

/// Most waits without looking.
const MAX_PAUSE: u32 = 1024;

pub(super) struct Patience {
    /// How long to look at the most. Zero never does.
    limit: Duration,
    /// Bytes received and sent since the last wait.
    moved: [usize; 2],
    /// Something had been received before the last wait.
    heard: bool,
    /// Waits without looking that are left.
    pause: u32,
    /// How many there are after the next time in vain.
    next_pause: u32,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, moved: [0; 2], heard: false, pause: 0, next_pause: 1 }
    }

    pub(super) fn has_received(&mut self, bytes: usize) {
        self.moved[0] += bytes;
    }

    pub(super) fn has_sent(&mut self, bytes: usize) {
        self.moved[1] += bytes;
    }

    /// There is nothing to do for now. Returns whether to look again before sleeping.
    pub(super) fn begins(&mut self) -> bool {
        let [received, sent] = std::mem::take(&mut self.moved);
        // What is received comes in a turn of its own, as a rule, and the application answers in the next.
        let heard = std::mem::replace(&mut self.heard, received > 0) || received > 0;
        let is_talk = heard && sent > 0 && sent.max(received) <= LITTLE && !self.limit.is_zero();
        if !is_talk {
            return false;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        true
    }

    /// Nothing for so long. Returns whether to go on looking.
    pub(super) fn lasts(&mut self, looked: Duration) -> bool {
        if looked < self.limit {
            return true;
        }
        self.pause = self.next_pause;
        self.next_pause = (self.next_pause * 2).min(MAX_PAUSE);
        false
    }

    /// There is something to do, and that was seen by looking again.
    pub(super) fn pays(&mut self) {
        self.next_pause = (self.next_pause / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);

    /// Waits of so many microseconds, each after a message either way. Returns in how many it looked.
    fn talk(patience: &mut Patience, waits: u32, micros: u64) -> u32 {
        let mut looked = 0;
        for _ in 0..waits {
            patience.has_received(100);
            patience.has_sent(100);
            if patience.begins() {
                looked += 1;
                let passed = Duration::from_micros(micros);
                if passed < LIMIT {
                    assert!(patience.lasts(passed));
                    patience.pays();
                } else {
                    assert!(!patience.lasts(LIMIT), "no longer than the limit");
                }
            }
        }
        looked
    }

    #[test]
    fn looking_goes_on_as_long_as_answers_are_fast() {
        let mut patience = Patience::new(LIMIT);
        assert_eq!(talk(&mut patience, 1000, 15), 1000);
        let looked = talk(&mut patience, 100_000, 500);
        assert!(looked < 120, "slow answers: {looked} of 100,000");
        talk(&mut patience, 2 * MAX_PAUSE, 15);
        assert!(talk(&mut patience, 1000, 15) == 1000, "fast again");
    }

    #[test]
    fn bulk_data_and_silence_are_no_conversation() {
        let mut patience = Patience::new(LIMIT);
        assert!(!patience.begins(), "nothing has been said");
        patience.has_received(100);
        assert!(!patience.begins(), "no answer was given");
        patience.has_sent(LITTLE + 1);
        assert!(!patience.begins(), "much was sent");
        patience.has_sent(100);
        assert!(!patience.begins(), "nothing has come for two turns");
        patience.has_received(1200);
        patience.has_sent(60);
        assert!(!patience.begins(), "data came, and was acknowledged");
        let mut never = Patience::new(Duration::ZERO);
        assert_eq!(talk(&mut never, 10, 0), 0, "switched off");
    }
}
