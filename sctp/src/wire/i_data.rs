//! I-DATA (RFC 8260 §2.1).
//!
//! ```text
//! |   Type = 64   |  Res  |I|U|B|E|       Length = Variable       |
//! |                              TSN                              |
//! |        Stream Identifier      |           Reserved            |
//! |                      Message Identifier                       |
//! |    Payload Protocol Identifier / Fragment Sequence Number     |
//! |                           User Data                           |
//! ```

use super::chunk::{ChunkType, RawChunk};
use super::data::FLAG_BEGIN;
use crate::types::{Mid, Ppid, StreamId, Tsn};

/// Bytes before the user data, chunk header included.
pub(crate) const I_DATA_HEADER_LEN: usize = 20;

/// An I-DATA chunk that borrows its payload. The flags are those of DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IDataChunk<'a> {
    pub(crate) flags: u8,
    pub(crate) tsn: Tsn,
    pub(crate) stream: StreamId,
    pub(crate) mid: Mid,
    /// Of the first fragment; zero in the others, which don't carry it.
    pub(crate) ppid: Ppid,
    /// Which fragment it is; zero in the first, which doesn't say so.
    pub(crate) fsn: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> IDataChunk<'a> {
    /// `None` when shorter than its header. An empty payload is for the caller to answer.
    #[inline]
    pub(crate) fn parse(chunk: &RawChunk<'a>) -> Option<Self> {
        let (&[t0, t1, t2, t3, s0, s1, _, _, m0, m1, m2, m3, p0, p1, p2, p3], payload) =
            chunk.value.split_first_chunk::<16>()?;
        let number = u32::from_be_bytes([p0, p1, p2, p3]);
        let (ppid, fsn) = if chunk.flags & FLAG_BEGIN != 0 { (number, 0) } else { (0, number) };
        Some(Self {
            flags: chunk.flags,
            tsn: Tsn(u32::from_be_bytes([t0, t1, t2, t3])),
            stream: StreamId(u16::from_be_bytes([s0, s1])),
            mid: Mid(u32::from_be_bytes([m0, m1, m2, m3])),
            ppid: Ppid(ppid),
            fsn,
            payload,
        })
    }

    /// The twenty bytes before the payload; `None` when the chunk would be over 65,535 bytes.
    #[inline]
    pub(crate) fn header(&self) -> Option<[u8; I_DATA_HEADER_LEN]> {
        let [l0, l1] = u16::try_from(self.payload.len() + I_DATA_HEADER_LEN).ok()?.to_be_bytes();
        let [t0, t1, t2, t3] = self.tsn.0.to_be_bytes();
        let [s0, s1] = self.stream.0.to_be_bytes();
        let [m0, m1, m2, m3] = self.mid.0.to_be_bytes();
        let number = if self.flags & FLAG_BEGIN != 0 { self.ppid.0 } else { self.fsn };
        let [p0, p1, p2, p3] = number.to_be_bytes();
        let kind = ChunkType::I_DATA.0;
        Some([kind, self.flags, l0, l1, t0, t1, t2, t3, s0, s1, 0, 0, m0, m1, m2, m3, p0, p1, p2, p3])
    }
}
