//! STUN (RFC 8489): zero-copy messages, integrity and transactions, without I/O.
#![forbid(unsafe_code)]
