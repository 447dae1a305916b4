//! The handshake's messages, one behind the other, each as if it had not been fragmented (RFC 6347 §4.2.6).
//!
//! The bytes are kept, not a running hash: signatures are made over them with whatever hash the peer chose. They
//! are gone when the handshake is over. What can get in is bounded by the state machines: each accepts a fixed
//! sequence of messages, each of at most `Config::max_handshake_message`.

use crate::handshake::Message;

#[derive(Debug, Default)]
pub(crate) struct Transcript(Vec<u8>);

impl Transcript {
    pub(crate) fn add(&mut self, message: &Message) {
        self.0.extend_from_slice(&message.whole_header().to_bytes());
        self.0.extend_from_slice(&message.body);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }
}
