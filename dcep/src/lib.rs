//! The Data Channel Establishment Protocol (RFC 8832).
#![forbid(unsafe_code)]
