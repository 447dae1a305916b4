//! ICE (RFC 8445, 8838): a full agent for one component, without I/O.
#![forbid(unsafe_code)]
