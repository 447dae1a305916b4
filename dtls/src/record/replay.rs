//! The replay window (RFC 6347 §4.1.2.6), as the ring of words of RFC 6479: sliding costs a few word writes, never
//! a shift of the whole window.

const WORDS: u64 = 16;
/// Records behind the newest that are still told apart: one word of the ring is always in the making.
pub(crate) const WINDOW: u64 = (WORDS - 1) * 64;

/// Which of the newest sequence numbers were seen. Moved only by [`Self::accept`], that is for records whose tag
/// was verified.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayWindow {
    seen: [u64; WORDS as usize],
    /// The sequence number behind the newest accepted.
    next: u64,
}

impl ReplayWindow {
    /// Whether the number is new.
    pub(crate) fn check(&self, sequence: u64) -> bool {
        if sequence >= self.next {
            return true;
        }
        if self.next - sequence > WINDOW {
            return false;
        }
        self.seen.get(Self::word(sequence)).is_some_and(|word| word & Self::bit(sequence) == 0)
    }

    /// Marks a number as seen.
    pub(crate) fn accept(&mut self, sequence: u64) {
        if sequence >= self.next {
            let newest = self.next.saturating_sub(1) / 64;
            let steps = (sequence / 64 - newest).min(WORDS);
            for step in 1..=steps {
                if let Some(word) = self.seen.get_mut(((newest + step) % WORDS) as usize) {
                    *word = 0;
                }
            }
            self.next = sequence.saturating_add(1);
        }
        if let Some(word) = self.seen.get_mut(Self::word(sequence)) {
            *word |= Self::bit(sequence);
        }
    }

    const fn word(sequence: u64) -> usize {
        (sequence / 64 % WORDS) as usize
    }

    const fn bit(sequence: u64) -> u64 {
        1 << (sequence % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_number_is_accepted_once() {
        let mut window = ReplayWindow::default();
        for sequence in [0, 5, 3, 63, 64, 700, 4, 1_000_000] {
            assert!(window.check(sequence), "{sequence}");
            window.accept(sequence);
            assert!(!window.check(sequence), "{sequence}");
        }
        assert!(!window.check(701), "far behind the window");
    }

    #[test]
    fn the_last_number_leaves_room_behind_it() {
        let mut window = ReplayWindow::default();
        window.accept((1 << 48) - 1);
        assert!(window.check((1 << 48) - 200));
        assert!(!window.check((1 << 48) - 1));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_everything_seen(steps in proptest::collection::vec((0u64..3000, any::<bool>()), 1..400)) {
            let mut window = ReplayWindow::default();
            let mut seen = HashSet::new();
            let mut base = 0u64;
            let mut newest = 0u64;
            for (step, leap) in steps {
                if leap { base += step / 4; }
                let sequence = base + step;
                let fresh = !seen.contains(&sequence);
                if sequence + WINDOW > newest {
                    prop_assert_eq!(window.check(sequence), fresh, "{}", sequence);
                }
                if window.check(sequence) {
                    prop_assert!(fresh);
                    window.accept(sequence);
                    seen.insert(sequence);
                    newest = newest.max(sequence);
                }
            }
        }
    }
}
