//! SDP for data channels (RFC 8866, 8841, 8839): a typed layer and offer/answer.
#![forbid(unsafe_code)]
