//! FORWARD TSN (RFC 3758 §3.2).
//!
//! ```text
//! |   Type = 192  |  Flags = 0x00 |        Length = Variable      |
//! |                      New Cumulative TSN                       |
//! |         Stream-1              |       Stream Sequence-1       |
//! |                               …                               |
//! ```

use super::chunk::RawChunk;
use super::{be16, be32};
use crate::types::{Ssn, StreamId, Tsn};

/// A received FORWARD TSN that borrows its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForwardTsn<'a> {
    pub(crate) new_cumulative_tsn: Tsn,
    streams: &'a [u8],
}

impl<'a> ForwardTsn<'a> {
    /// `None` when it has no TSN or ends inside a stream entry.
    pub(crate) fn parse(chunk: &RawChunk<'a>) -> Option<Self> {
        let streams = chunk.value.get(4..)?;
        if streams.len() % 4 != 0 {
            return None;
        }
        Some(Self { new_cumulative_tsn: Tsn(be32(chunk.value, 0)?), streams })
    }

    /// The ordered streams that skip messages, with the last SSN skipped.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (StreamId, Ssn)> + use<'a> {
        self.streams
            .chunks_exact(4)
            .filter_map(|entry| Some((StreamId(be16(entry, 0)?), Ssn(be16(entry, 2)?))))
    }
}
