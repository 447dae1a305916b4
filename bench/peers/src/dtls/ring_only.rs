use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::hint::black_box;

/// What the cryptography alone costs.
pub struct Records {
    key: LessSafeKey,
    counter: u64,
    buffer: Vec<u8>,
}

impl Records {
    pub fn new() -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("a key");
        Self { key: LessSafeKey::new(key), counter: 0, buffer: vec![0x55; 1200] }
    }

    pub fn turn(&mut self) {
        self.counter += 1;
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&self.counter.to_be_bytes());
        let nonce = || Nonce::assume_unique_for_key(bytes);
        let aad = [self.counter as u8; 13];
        let tag =
            self.key.seal_in_place_separate_tag(nonce(), Aad::from(&aad), &mut self.buffer).expect("sealed");
        self.key
            .open_in_place_separate_tag(nonce(), Aad::from(&aad), tag, &mut self.buffer, 0..)
            .expect("opened");
        black_box(self.buffer[0]);
    }
}
