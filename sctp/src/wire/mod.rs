//! The wire format: one file per chunk, readers that borrow, writers into the caller's buffer.
//!
//! The contract: a reader checks every length once and returns `None` (or an error) for what does not fit;
//! after that no accessor can fail. Unknown chunks and parameters are values, not errors. A writer never
//! writes past its buffer: it says how much room there is, and refuses what does not fit.

pub(crate) mod cause;
pub(crate) mod chunk;
pub(crate) mod data;
pub(crate) mod forward_tsn;
pub(crate) mod i_data;
pub(crate) mod i_forward_tsn;
pub(crate) mod init;
pub(crate) mod packet;
pub(crate) mod param;
pub(crate) mod reconfig;
pub(crate) mod sack;
pub(crate) mod writer;

/// The 16-bit number at `at`, in network order.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// The 32-bit number at `at`, in network order.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// The 64-bit number at `at`, in network order.
pub(crate) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_be_bytes(*b))
}

/// `len` and the padding that aligns it to four bytes.
pub(crate) const fn padded(len: usize) -> usize {
    len.saturating_add(3) & !3
}
