//! Application-layer multicast over data channels.
#![forbid(unsafe_code)]
