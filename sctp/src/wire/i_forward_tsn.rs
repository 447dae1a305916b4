//! I-FORWARD-TSN (RFC 8260 §2.3.1).
//!
//! ```text
//! |   Type = 194  | Flags = 0x00  |      Length = Variable        |
//! |                       New Cumulative TSN                      |
//! |       Stream Identifier       |          Reserved           |U|
//! |                       Message Identifier                      |
//! |                               …                               |
//! ```

use super::chunk::RawChunk;
use super::{be16, be32};
use crate::types::{Mid, StreamId, Tsn};

/// Bytes of an entry of the list.
pub(crate) const ENTRY_LEN: usize = 8;

/// Messages of one stream and order that are skipped: all up to this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Skip {
    pub(crate) stream: StreamId,
    pub(crate) unordered: bool,
    pub(crate) mid: Mid,
}

impl Skip {
    pub(crate) fn to_bytes(self) -> [u8; ENTRY_LEN] {
        let [s0, s1] = self.stream.0.to_be_bytes();
        let [m0, m1, m2, m3] = self.mid.0.to_be_bytes();
        [s0, s1, 0, u8::from(self.unordered), m0, m1, m2, m3]
    }
}

/// A received I-FORWARD-TSN that borrows its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IForwardTsn<'a> {
    pub(crate) new_cumulative_tsn: Tsn,
    skips: &'a [u8],
}

impl<'a> IForwardTsn<'a> {
    /// `None` when it has no TSN or ends inside an entry.
    pub(crate) fn parse(chunk: &RawChunk<'a>) -> Option<Self> {
        let skips = chunk.value.get(4..)?;
        if skips.len() % ENTRY_LEN != 0 {
            return None;
        }
        Some(Self { new_cumulative_tsn: Tsn(be32(chunk.value, 0)?), skips })
    }

    pub(crate) fn skipped(&self) -> impl Iterator<Item = Skip> + use<'a> {
        self.skips.chunks_exact(ENTRY_LEN).filter_map(|entry| {
            Some(Skip {
                stream: StreamId(be16(entry, 0)?),
                unordered: be16(entry, 2)? & 1 != 0,
                mid: Mid(be32(entry, 4)?),
            })
        })
    }
}
