//! SACK (RFC 9260 §3.3.4).
//!
//! ```text
//! |   Type = 3    |  Chunk Flags  |         Chunk Length          |
//! |                      Cumulative TSN Ack                       |
//! |          Advertised Receiver Window Credit (a_rwnd)           |
//! | Number of Gap Ack Blocks = N  |  Number of Duplicate TSNs = X |
//! |    Gap Ack Block #1 Start     |     Gap Ack Block #1 End      |
//! |                               …                               |
//! |                        Duplicate TSN 1                        |
//! |                               …                               |
//! ```

use super::chunk::RawChunk;
use super::{be16, be32};
use crate::types::Tsn;

/// Bytes of a SACK without blocks and duplicates, chunk header included.
pub(crate) const SACK_LEN: usize = 16;

/// A received SACK that borrows its lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sack<'a> {
    pub(crate) cumulative_tsn_ack: Tsn,
    pub(crate) a_rwnd: u32,
    gaps: &'a [u8],
    duplicates: &'a [u8],
}

impl<'a> Sack<'a> {
    /// `None` when the lists do not fit the chunk.
    pub(crate) fn parse(chunk: &RawChunk<'a>) -> Option<Self> {
        let gaps = usize::from(be16(chunk.value, 8)?);
        let duplicates = usize::from(be16(chunk.value, 10)?);
        let lists = chunk.value.get(12..)?;
        if lists.len() < (gaps + duplicates) * 4 {
            return None;
        }
        Some(Self {
            cumulative_tsn_ack: Tsn(be32(chunk.value, 0)?),
            a_rwnd: be32(chunk.value, 4)?,
            gaps: lists.get(..gaps * 4)?,
            duplicates: lists.get(gaps * 4..(gaps + duplicates) * 4)?,
        })
    }

    /// What the cumulative TSN ack of a SHUTDOWN says (RFC 9260 §9.2).
    pub(crate) fn cumulative_only(cumulative_tsn_ack: Tsn, a_rwnd: u32) -> Self {
        Self { cumulative_tsn_ack, a_rwnd, gaps: &[], duplicates: &[] }
    }

    /// Start and end of each gap ack block, as offsets from the cumulative TSN ack, as received.
    pub(crate) fn gap_ack_blocks(&self) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        self.gaps.chunks_exact(4).filter_map(|block| Some((be16(block, 0)?, be16(block, 2)?)))
    }

    /// TSNs that the peer has received more than once since its last SACK.
    pub(crate) fn duplicates(&self) -> impl Iterator<Item = Tsn> + use<'a> {
        self.duplicates.chunks_exact(4).filter_map(|tsn| be32(tsn, 0).map(Tsn))
    }
}
