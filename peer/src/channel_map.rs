//! Maps that are asked for every message. Their keys are small numbers: places in our table, and stream ids. A peer that chooses its
//! ids so that they collide has 64 at most for each of the 1,024 places of a full table, which makes a search some fifty
//! steps long, and no longer. For keys that a peer chooses freely this hasher is not made.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::channel::ChannelKey;

/// What belongs to channels, by their keys; for owners that keep something of their own for each.
pub type ChannelMap<T> = HashMap<ChannelKey, T, BuildHasherDefault<KeyHasher>>;

/// By stream id.
pub(crate) type StreamTable<T> = HashMap<u16, T, BuildHasherDefault<KeyHasher>>;

/// 2^64 divided by the golden ratio: multiples of it lie far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hasher of [`ChannelMap`]: a multiplication a number.
#[derive(Clone, Copy, Default, Debug)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        // The table looks at the lowest bits and at the highest.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};

    use super::*;

    fn hash(of: impl Hash) -> u64 {
        BuildHasherDefault::<KeyHasher>::default().hash_one(of)
    }

    #[test]
    fn no_choice_of_stream_ids_fills_one_place_of_a_table() {
        // All ids that some pattern of low bits has in common, as many as it has.
        for shift in 0..10u32 {
            for residue in [0, 1, 7] {
                let ids = (0..=u16::MAX).filter(|id| u32::from(*id) % (1 << shift) == residue % (1 << shift));
                let places: Vec<u64> = ids.map(|id| hash(id) % 1024).collect();
                let distinct: HashSet<_> = places.iter().collect();
                let most = places.len().min(1024);
                assert!(distinct.len() * 2 > most, "{shift}: {} of {most}", distinct.len());
            }
        }
    }

    #[test]
    fn keys_that_follow_each_other_are_kept_apart() {
        let keys = (0..1000).map(|slot| ChannelKey { slot, generation: 1 });
        let distinct: HashSet<u64> = keys.map(|key| hash(key) % 2048).collect();
        assert!(distinct.len() > 600, "{}", distinct.len());
    }
}
