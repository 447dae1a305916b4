//! Frames of the data channel.
//!
//! ```text
//!  byte 0      type
//!  bytes 1-8   sequence, 64 bits little-endian (the originals wrote two 32-bit words, low one first)
//!  bytes 9-    body
//! ```
//!
//! | type | name | body | sequence |
//! |---|---|---|---|
//! | 1 | ping | one byte: 0 request, 1 response | ignored |
//! | 2 | join | JSON ([`Join`]) | the relayed join's |
//! | 3 | get-tree-info | empty | the owner's counter |
//! | 4 | notify-tree-info | ids and counts ([`TreeInfo`]) | 0 |
//! | 5–11 | ours ([`Control`]) | by type | 0 |
//! | 254 | data | the bytes | the source's counter |
//! | 255 | text | UTF-16LE | the source's counter |
//!
//! A type that is not known is ignored and counted: that is how old and new nodes live in one tree. Everything below 128
//! is control and is never passed on as multicast data.
//!
//! The programs of 2013 sent each frame as a *string* message of `'3'` and one character a byte: [`Frame::from_old_string`].

mod control;
mod join;
mod text;
mod tree_info;
#[cfg(test)]
mod vectors;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

pub use control::{Ask, Attach, Control, Detach, Heartbeat, PathInfo, Report, Role, Route, Routed};
pub use control::{MAX_PATH, MAX_RELATIVES, MAX_REPORT_LINKS, MAX_SIGNAL};
pub use join::{Extension, Join, JoinError, MAX_JOIN, MAX_WANTED, VERSION};
pub use text::{read_text, write_text};
pub use tree_info::{MAX_LINKS, TreeInfo};

/// A member of a group, as the server numbered it; the owner is 0.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize,
)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The first byte of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FrameType(pub u8);

impl FrameType {
    /// Asks for a sign of life, or gives one.
    pub const PING: Self = Self(1);
    /// Somebody wants to join.
    pub const JOIN: Self = Self(2);
    /// The owner asks all for their links.
    pub const GET_TREE_INFO: Self = Self(3);
    /// The answer to it.
    pub const NOTIFY_TREE_INFO: Self = Self(4);
    /// Multicast bytes.
    pub const DATA: Self = Self(254);
    /// Multicast text.
    pub const TEXT: Self = Self(255);

    /// Whether it is multicast data, which is passed on, and not control.
    pub fn is_multicast(self) -> bool {
        self == Self::DATA || self == Self::TEXT
    }
}

/// A sequence number. It wraps around, so it has no `Ord` (RFC 1982 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The number `n` later.
    #[must_use]
    pub fn plus(self, n: u64) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// How far it is from `earlier` to here; negative if `earlier` is in truth later.
    pub fn distance_from(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }

    /// Whether it comes before `other`.
    pub fn less_than(self, other: Self) -> bool {
        self.distance_from(other) < 0
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Bytes of type and sequence.
pub const HEADER: usize = 9;

/// A frame as it is on the wire: one buffer, which is passed on to all children without a copy.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    raw: Bytes,
}

/// Why bytes are not a frame, or a frame's body is not what its type says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer bytes than the header or the body's fixed part.
    #[error("the frame ends too early")]
    Truncated,
    /// Bytes behind the body's end, or counts that don't add up to the body's length.
    #[error("the body's length does not fit what it says")]
    Length,
    /// More ids, or more bytes, than a body may have.
    #[error("the body is over its limit")]
    TooLong,
    /// A code that has no meaning in its place.
    #[error("code {0} has no meaning there")]
    UnknownCode(u8),
    /// A string message that does not begin with `'3'`, or has characters above 255.
    #[error("not a frame in the old programs' string form")]
    NotAString,
}

impl Frame {
    /// A frame of these parts. One allocation.
    pub fn new(frame_type: FrameType, sequence: Sequence, body: &[u8]) -> Self {
        let mut raw = BytesMut::with_capacity(HEADER + body.len());
        raw.put_u8(frame_type.0);
        raw.put_u64_le(sequence.0);
        raw.put_slice(body);
        Self { raw: raw.freeze() }
    }

    /// Takes a message of the channel as it came.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below [`HEADER`] bytes. The body is not looked at.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        if raw.len() < HEADER { Err(ParseError::Truncated) } else { Ok(Self { raw }) }
    }

    /// Takes a string message of the programs of 2013: `'3'`, then one character a byte.
    ///
    /// # Errors
    ///
    /// [`ParseError::NotAString`] for another first character or characters above 255, and those of [`Frame::parse`].
    pub fn from_old_string(text: &str) -> Result<Self, ParseError> {
        let rest = text.strip_prefix('3').ok_or(ParseError::NotAString)?;
        let bytes: Result<Vec<u8>, _> = rest.chars().map(|c| u8::try_from(u32::from(c))).collect();
        Self::parse(Bytes::from(bytes.map_err(|_| ParseError::NotAString)?))
    }

    /// The frame as a string message for those programs.
    pub fn to_old_string(&self) -> String {
        std::iter::once('3').chain(self.raw.iter().map(|&byte| char::from(byte))).collect()
    }

    /// The type.
    pub fn frame_type(&self) -> FrameType {
        FrameType(self.raw.first().copied().unwrap_or_default())
    }

    /// The sequence number.
    pub fn sequence(&self) -> Sequence {
        let bytes = self.raw.get(1..HEADER).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        Sequence(u64::from_le_bytes(bytes))
    }

    /// The body, sharing the frame's buffer.
    pub fn body(&self) -> Bytes {
        self.raw.slice(HEADER.min(self.raw.len())..)
    }

    /// The whole frame, to be sent as one binary message.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }

    /// The whole frame.
    pub fn into_bytes(self) -> Bytes {
        self.raw
    }

    /// Bytes of the whole frame.
    #[expect(clippy::len_without_is_empty, reason = "a frame has at least its header")]
    pub fn len(&self) -> usize {
        self.raw.len()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} #{} {} bytes)", self.frame_type().0, self.sequence(), self.raw.len() - HEADER)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_sequence_is_two_little_endian_words_low_first() {
        let frame = Frame::new(FrameType::DATA, Sequence(0x0102_0304_0506_0708), b"x");
        assert_eq!(frame.as_bytes()[..], [254, 8, 7, 6, 5, 4, 3, 2, 1, b'x']);
        assert_eq!(
            Frame::parse(frame.as_bytes().clone()).unwrap().sequence(),
            Sequence(0x0102_0304_0506_0708)
        );
    }

    #[test]
    fn a_message_shorter_than_the_header_is_no_frame() {
        for len in 0..HEADER {
            assert_eq!(Frame::parse(Bytes::from(vec![1; len])), Err(ParseError::Truncated));
        }
        assert_eq!(Frame::parse(Bytes::from(vec![1; HEADER])).unwrap().body(), Bytes::new());
    }

    #[test]
    fn sequences_are_compared_across_the_wrap() {
        let (before, after) = (Sequence(u64::MAX), Sequence(2));
        assert!(before.less_than(after) && !after.less_than(before));
        assert_eq!(after.distance_from(before), 3);
        assert_eq!(before.plus(3), after);
    }

    #[test]
    fn a_string_that_the_old_programs_never_sent_is_refused() {
        for bad in ["", "2\u{1}\0\0\0\0\0\0\0\0", "3\u{100}aaaaaaaaaa", "hello"] {
            assert_eq!(Frame::from_old_string(bad), Err(ParseError::NotAString), "{bad:?}");
        }
        assert_eq!(Frame::from_old_string("3abc"), Err(ParseError::Truncated));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(kind: u8, sequence: u64, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let frame = Frame::new(FrameType(kind), Sequence(sequence), &body);
            let read = Frame::parse(frame.as_bytes().clone()).unwrap();
            prop_assert_eq!((read.frame_type(), read.sequence()), (FrameType(kind), Sequence(sequence)));
            prop_assert_eq!(&read.body()[..], &body[..]);
            prop_assert_eq!(Frame::from_old_string(&frame.to_old_string()).unwrap(), frame);
        }

        /// Every reader of a body, on any bytes: an answer, never a panic.
        #[test]
        fn no_bytes_make_a_reader_panic(kind in 0u8..16, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let body = Bytes::from(bytes);
            let _ = Control::parse(FrameType(kind), &body);
            let _ = Join::parse(&body);
            let _ = TreeInfo::parse(&body);
            let _ = read_text(&body);
            let _ = Frame::from_old_string(&String::from_utf8_lossy(&body));
        }
    }
}
