//! SCTP over DTLS (RFC 9260, 8261) for data channels, without I/O.
#![forbid(unsafe_code)]
