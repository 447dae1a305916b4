//! Chunks (RFC 9260 §3.2): types, and the walk over those of a packet.

use super::{be16, padded};

/// A chunk type. Unknown ones are values; their two high bits say what to do with them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ChunkType(pub(crate) u8);

impl ChunkType {
    pub(crate) const DATA: Self = Self(0);
    pub(crate) const INIT: Self = Self(1);
    pub(crate) const INIT_ACK: Self = Self(2);
    pub(crate) const SACK: Self = Self(3);
    pub(crate) const HEARTBEAT: Self = Self(4);
    pub(crate) const HEARTBEAT_ACK: Self = Self(5);
    pub(crate) const ABORT: Self = Self(6);
    pub(crate) const SHUTDOWN: Self = Self(7);
    pub(crate) const SHUTDOWN_ACK: Self = Self(8);
    pub(crate) const ERROR: Self = Self(9);
    pub(crate) const COOKIE_ECHO: Self = Self(10);
    pub(crate) const COOKIE_ACK: Self = Self(11);
    pub(crate) const SHUTDOWN_COMPLETE: Self = Self(14);
    /// RFC 8260 §2.1.
    pub(crate) const I_DATA: Self = Self(64);
    /// RFC 6525 §3.1.
    pub(crate) const RE_CONFIG: Self = Self(130);
    /// RFC 4820 §3: to be ignored. Its two high bits say so to those who don't know it.
    pub(crate) const PAD: Self = Self(132);
    /// RFC 3758 §3.2.
    pub(crate) const FORWARD_TSN: Self = Self(192);
    /// RFC 8260 §2.3.1.
    pub(crate) const I_FORWARD_TSN: Self = Self(194);

    /// Unrecognized: whether the rest of the packet is still processed (RFC 9260 §3.2, highest bit).
    pub(crate) fn unknown_is_skipped(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Unrecognized: whether it is reported in an ERROR (second highest bit).
    pub(crate) fn unknown_is_reported(self) -> bool {
        self.0 & 0x40 != 0
    }
}

/// The T bit of ABORT and SHUTDOWN COMPLETE: the tag is the one that the other side sent (RFC 9260 §3.3.7).
pub(crate) const FLAG_T: u8 = 0x01;

/// One chunk as it lies in the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawChunk<'a> {
    pub(crate) kind: ChunkType,
    pub(crate) flags: u8,
    /// What follows the four header bytes, without padding.
    pub(crate) value: &'a [u8],
    /// Header and value, without padding, for reports.
    pub(crate) whole: &'a [u8],
}

/// The packet ended inside a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

/// The chunks of a packet. Ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Whether anything follows the chunk just taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<RawChunk<'a>, Overrun>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            return None;
        }
        let (Some(&[kind, flags, ..]), Some(length)) = (rest.first_chunk::<4>(), be16(rest, 2)) else {
            return Some(Err(Overrun));
        };
        let length = usize::from(length);
        let (Some(whole), Some(value)) = (rest.get(..length), rest.get(4..length)) else {
            return Some(Err(Overrun));
        };
        // The last chunk's padding may be missing: RFC 9260 §3.2 wants it, but nothing depends on it.
        self.rest = rest.get(padded(length)..).unwrap_or_default();
        Some(Ok(RawChunk { kind: ChunkType(kind), flags, value, whole }))
    }
}
