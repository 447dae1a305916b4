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
