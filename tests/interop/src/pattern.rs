//! The bytes of a test file: xorshift32 words, little-endian, from a seed. `page/page.js` makes the same.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// `length` bytes from `seed` (not 0).
#[must_use]
pub fn pattern(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 4);
    let mut x = seed;
    while bytes.len() < length {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::{pattern, sha256};

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-4's example.
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_shorter_pattern_is_the_beginning_of_a_longer_one() {
        let long = pattern(5, 1003);
        assert_eq!(long.len(), 1003);
        assert_eq!(pattern(5, 998), long[..998]);
        assert_ne!(pattern(6, 998), long[..998]);
    }
}
