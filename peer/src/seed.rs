//! Random numbers, of which a connection needs few.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What random numbers are made from: 32 bytes, where a generator that is kept with its buffer has 320.
pub(crate) struct Seed([u8; 32]);

impl Seed {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// A generator for what is needed now. The seed is another one from here on, so that what is drawn can't be found out
    /// from what is kept.
    pub(crate) fn rng(&mut self) -> StdRng {
        let mut rng = StdRng::from_seed(self.0);
        self.0 = rng.random();
        rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_generator_gives_what_another_one_gives_or_the_seed_that_is_kept() {
        let mut seed = Seed::new([1; 32]);
        let mut first = seed.rng();
        let kept = seed.0;
        let mut drawn: Vec<[u8; 32]> = vec![[1; 32], kept, seed.rng().random(), seed.rng().random(), seed.0];
        drawn.extend((0..100).map(|_| first.random::<[u8; 32]>()));
        let count = drawn.len();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), count);
    }

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let [mut a, mut b, mut c] = [1, 1, 2].map(|byte| Seed::new([byte; 32]));
        for _ in 0..10 {
            let [a, b, c] = [&mut a, &mut b, &mut c].map(|seed| seed.rng().random::<u64>());
            assert_eq!(a, b);
            assert_ne!(a, c);
        }
    }
}
