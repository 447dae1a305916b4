//! DTLS 1.2 for WebRTC: handshake and in-place records, without I/O.
#![forbid(unsafe_code)]
