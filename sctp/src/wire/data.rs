//! DATA (RFC 9260 §3.3.1).
//!
//! ```text
//! |   Type = 0    |  Res  |I|U|B|E|            Length             |
//! |                              TSN                              |
//! |      Stream Identifier S      |   Stream Sequence Number n    |
//! |                  Payload Protocol Identifier                  |
//! |                 User Data (seq n of Stream S)                 |
//! ```

use super::chunk::{ChunkType, RawChunk};
use crate::types::{Ppid, Ssn, StreamId, Tsn};

/// Bytes before the user data, chunk header included.
pub(crate) const DATA_HEADER_LEN: usize = 16;

/// E: the last fragment.
pub(crate) const FLAG_END: u8 = 0x01;
/// B: the first fragment.
pub(crate) const FLAG_BEGIN: u8 = 0x02;
/// U: unordered.
pub(crate) const FLAG_UNORDERED: u8 = 0x04;
/// I: acknowledge without delay (RFC 7053).
pub(crate) const FLAG_IMMEDIATE: u8 = 0x08;

/// A DATA chunk that borrows its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataChunk<'a> {
    pub(crate) flags: u8,
    pub(crate) tsn: Tsn,
    pub(crate) stream: StreamId,
    pub(crate) ssn: Ssn,
    pub(crate) ppid: Ppid,
    pub(crate) payload: &'a [u8],
}

impl<'a> DataChunk<'a> {
    /// `None` when shorter than its header. An empty payload is for the caller to answer (RFC 9260 §3.3.10.9).
    #[inline]
    pub(crate) fn parse(chunk: &RawChunk<'a>) -> Option<Self> {
        let (&[t0, t1, t2, t3, s0, s1, n0, n1, p0, p1, p2, p3], payload) =
            chunk.value.split_first_chunk::<12>()?;
        Some(Self {
            flags: chunk.flags,
            tsn: Tsn(u32::from_be_bytes([t0, t1, t2, t3])),
            stream: StreamId(u16::from_be_bytes([s0, s1])),
            ssn: Ssn(u16::from_be_bytes([n0, n1])),
            ppid: Ppid(u32::from_be_bytes([p0, p1, p2, p3])),
            payload,
        })
    }

    /// The sixteen bytes before the payload; `None` when the chunk would be over 65,535 bytes.
    #[inline]
    pub(crate) fn header(&self) -> Option<[u8; DATA_HEADER_LEN]> {
        let [l0, l1] = u16::try_from(self.payload.len() + DATA_HEADER_LEN).ok()?.to_be_bytes();
        let [t0, t1, t2, t3] = self.tsn.0.to_be_bytes();
        let [s0, s1] = self.stream.0.to_be_bytes();
        let [n0, n1] = self.ssn.0.to_be_bytes();
        let [p0, p1, p2, p3] = self.ppid.0.to_be_bytes();
        Some([ChunkType::DATA.0, self.flags, l0, l1, t0, t1, t2, t3, s0, s1, n0, n1, p0, p1, p2, p3])
    }
}
