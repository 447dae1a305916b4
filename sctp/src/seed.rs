//! Random numbers, of which an association needs few.

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
