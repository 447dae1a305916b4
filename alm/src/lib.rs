//! Application-layer multicast over data channels: browsers and native nodes in one distribution tree.
//!
//! - [`frame`]: what is on the data channels between nodes, the protocol of WebRTC_ALM with frames of our own beside it.
//!
//! The crate does no I/O and knows nothing of WebRTC: node ids, link ids and bytes. `docs/alm.md` has the protocol byte by
//! byte, and what is not built yet.
#![forbid(unsafe_code)]

pub mod frame;
