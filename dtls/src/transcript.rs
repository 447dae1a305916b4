//! The handshake's messages, one behind the other, each as if it had not been fragmented (RFC 6347 §4.2.6).
//!
//! The bytes are kept beside the running hash: signatures are made over them with whatever hash the peer chose. They
//! are gone when the handshake is over. What can get in is bounded by the state machines: each accepts a fixed
//! sequence of messages, each of at most `Config::max_handshake_message`.

use crate::crypto::{Digest, Hasher, Provider};
use crate::fingerprint::HashAlgorithm;
use crate::handshake::Message;

#[derive(Default)]
pub(crate) struct Transcript {
    bytes: Vec<u8>,
    /// The hash, which is asked for three times, and how many of the bytes are in it.
    running: Option<(HashAlgorithm, Box<dyn Hasher>, usize)>,
}

impl Transcript {
    pub(crate) fn add(&mut self, message: &Message) {
        self.bytes.extend_from_slice(&message.whole_header().to_bytes());
        self.bytes.extend_from_slice(&message.body);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of all so far. One algorithm for the whole handshake, the suite's.
    pub(crate) fn digest(&mut self, provider: &dyn Provider, algorithm: HashAlgorithm) -> Digest {
        let (hasher, hashed) = match &mut self.running {
            Some((of, hasher, hashed)) if *of == algorithm => (hasher, hashed),
            other => {
                let (_, hasher, hashed) = other.insert((algorithm, provider.hasher(algorithm), 0));
                (hasher, hashed)
            }
        };
        hasher.update(self.bytes.get(*hashed..).unwrap_or_default());
        *hashed = self.bytes.len();
        hasher.digest()
    }

    #[cfg(test)]
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ring::RING;
    use crate::types::HandshakeType;

    #[test]
    fn the_running_hash_is_that_of_all_bytes_and_begins_anew_when_they_do() {
        let message = |seq: u16| Message {
            msg_type: HandshakeType::CLIENT_HELLO,
            message_seq: seq,
            epoch: 0,
            body: vec![seq as u8; 99],
        };
        let at_once = |algorithm: HashAlgorithm, bytes: &[u8]| {
            ring::digest::digest(algorithm.ring(), bytes).as_ref().to_vec()
        };
        let mut transcript = Transcript::default();
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
            for seq in 0..5 {
                transcript.add(&message(seq));
                let expected = at_once(algorithm, transcript.bytes());
                assert_eq!(transcript.digest(&RING, algorithm)[..], expected);
                assert_eq!(transcript.digest(&RING, algorithm)[..], expected, "again");
            }
        }
        transcript.clear();
        assert_eq!(transcript.digest(&RING, HashAlgorithm::Sha384)[..], at_once(HashAlgorithm::Sha384, b""));
    }
}
