//! One WebRTC data connection, composed of ICE, DTLS, SCTP, DCEP and SDP, without I/O.
#![forbid(unsafe_code)]
