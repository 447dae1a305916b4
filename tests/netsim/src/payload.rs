//! What a network can carry.

/// A datagram's content: something with a size that can be damaged.
pub trait Payload: Clone {
    /// Size in bytes, without headers of UDP and IP.
    fn size(&self) -> usize;

    /// Damages the content as a flipped bit would; `bit` is below `size() * 8`. What has no bits to flip may do nothing,
    /// or become something that its receiver drops.
    fn flip(&mut self, bit: usize);
}

impl Payload for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }

    fn flip(&mut self, bit: usize) {
        if let Some(byte) = self.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }
}
