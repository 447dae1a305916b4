//! What cuts a byte stream into messages (RFC 8489 §6.2.2, RFC 8656 §12.5): TCP and TLS carry STUN messages and padded
//! ChannelData one after the other, each saying its length in its second two bytes.

use std::ops::Range;

use crate::channel;

/// The longest unit on a stream: a STUN message whose length field is full. A decoder holds no more than this and what
/// it was last given.
pub const MAX_UNIT: usize = sinnet_stun::HEADER_LEN + 65_535;

/// The stream is neither STUN nor ChannelData at this place, and can't be read any further: close it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the stream is neither STUN nor ChannelData")]
pub struct NotTurn;

/// Cuts a stream into units: [`push`](Self::push) what was read, then [`poll`](Self::poll) until there is none left.
///
/// It holds [`MAX_UNIT`] bytes at most between two reads. How long a unit may take to come is for the owner of the
/// connection to say.
#[derive(Clone, Debug, Default)]
pub struct StreamDecoder {
    buffer: Vec<u8>,
    /// Where what has not been given out begins.
    start: usize,
}

impl StreamDecoder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read from the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole unit, `None` if more bytes must come first. ChannelData comes with its padding.
    ///
    /// # Errors
    /// [`NotTurn`], from then on always.
    pub fn poll(&mut self) -> Result<Option<&[u8]>, NotTurn> {
        Ok(self.poll_range()?.and_then(|unit| self.buffer.get(unit)))
    }

    /// As [`poll`](Self::poll), for who goes on with several units in place: where the next one lies in
    /// [`bytes_mut`](Self::bytes_mut), until the next [`push`](Self::push).
    ///
    /// # Errors
    /// [`NotTurn`], from then on always.
    pub fn poll_range(&mut self) -> Result<Option<Range<usize>>, NotTurn> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some([first, _, l0, l1]) = rest.first_chunk::<4>() else {
            return match rest.first() {
                None | Some(0..=3 | 64..=127) => Ok(None),
                Some(_) => Err(NotTurn),
            };
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let unit = match first {
            0..=3 => sinnet_stun::HEADER_LEN + length,
            64..=127 => (channel::HEADER_LEN + length).next_multiple_of(4),
            _ => return Err(NotTurn),
        };
        // Not only the first byte: else whatever begins with a small number would be waited for.
        let cookie = sinnet_stun::MAGIC_COOKIE.to_be_bytes();
        let claimed = rest.get(4..rest.len().min(8)).unwrap_or_default();
        if *first <= 3 && (length % 4 != 0 || !cookie.starts_with(claimed)) {
            return Err(NotTurn);
        }
        if rest.len() < unit {
            return Ok(None);
        }
        let from = self.start;
        self.start += unit;
        Ok(Some(from..self.start))
    }

    /// What has been pushed last and what was left of it before.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Bytes that wait for the rest of their unit.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sinnet_stun::{Builder, Class, Method, TransactionId};

    fn stun(realm: usize) -> Vec<u8> {
        let mut out = vec![0; 70_000];
        let mut b = Builder::new(&mut out, Class::Request, Method::ALLOCATE, TransactionId([3; 12]));
        b.realm(&"x".repeat(realm));
        let len = b.finish().unwrap();
        out.truncate(len);
        out
    }

    fn data(len: usize) -> Vec<u8> {
        let mut out = vec![0; 70_000];
        let len = channel::write(&mut out, 0x4abc, &vec![7; len], true).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn units_come_out_however_the_stream_is_cut() {
        let units = [stun(0), data(0), data(1), stun(33), data(1200), data(65_535), stun(700), data(3)];
        let whole: Vec<u8> = units.concat();
        for step in [1, 2, 3, 7, 1000, 66_000, whole.len()] {
            let mut decoder = StreamDecoder::new();
            let mut out = Vec::new();
            for piece in whole.chunks(step) {
                decoder.push(piece);
                while let Some(unit) = decoder.poll().unwrap() {
                    out.push(unit.to_vec());
                }
                assert!(decoder.buffered() < MAX_UNIT);
            }
            assert_eq!(out, units, "by {step}");
            assert_eq!(decoder.buffered(), 0);
        }
    }

    #[test]
    fn other_protocols_are_refused_at_their_first_byte() {
        for first in 0..=255u8 {
            let mut decoder = StreamDecoder::new();
            decoder.push(&[first]);
            let may_be = first < 4 || (64..128).contains(&first);
            assert_eq!(decoder.poll().is_ok(), may_be, "{first}");
            decoder.push(&[0, 0, 0]);
            assert_eq!(decoder.poll().is_ok(), may_be, "{first}");
        }
    }

    #[test]
    fn a_wrong_cookie_or_an_odd_length_is_refused_before_the_length_is_waited_for() {
        let mut decoder = StreamDecoder::new();
        decoder.push(&[0, 1, 0xFF, 0xFC, 0x21, 0x12]);
        assert_eq!(decoder.poll(), Ok(None));
        decoder.push(&[0xA4, 0x43]);
        assert_eq!(decoder.poll(), Err(NotTurn));
        assert_eq!(decoder.poll(), Err(NotTurn));
        let mut decoder = StreamDecoder::new();
        decoder.push(&[0, 1, 0xFF, 0xFF]);
        assert_eq!(decoder.poll(), Err(NotTurn));
    }

    proptest! {
        #[test]
        fn any_stream_ends_or_waits_for_no_more_than_a_unit(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..20)) {
            let mut decoder = StreamDecoder::new();
            for piece in pieces {
                decoder.push(&piece);
                loop {
                    match decoder.poll() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(NotTurn) => return Ok(()),
                    }
                }
                prop_assert!(decoder.buffered() < MAX_UNIT);
            }
        }
    }
}
