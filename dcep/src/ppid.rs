//! SCTP payload protocol identifiers of data channels (RFC 8831 §8), as they stand in a DATA chunk.

/// A DCEP message: OPEN or ACK.
pub const DCEP: u32 = 50;
/// A UTF-8 string of at least one byte.
pub const STRING: u32 = 51;
/// Deprecated: a piece of a binary message. Never sent; RFC 8831 §6.6 forbids it.
pub const BINARY_PARTIAL: u32 = 52;
/// Bytes, at least one.
pub const BINARY: u32 = 53;
/// Deprecated: a piece of a string. Never sent; RFC 8831 §6.6 forbids it.
pub const STRING_PARTIAL: u32 = 54;
/// An empty string. SCTP has no empty messages: the payload is one zero byte, which the receiver ignores.
pub const STRING_EMPTY: u32 = 56;
/// No bytes. The payload is one zero byte, which the receiver ignores.
pub const BINARY_EMPTY: u32 = 57;
