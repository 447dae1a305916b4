//! Application-layer multicast over data channels: browsers and native nodes in one group.
//!
//! | module | what |
//! |---|---|
//! | [`mesh`] | everybody connected with everybody: webrtc_p2p's service |
//! | [`frame`] | what is on the data channels of a distribution tree: WebRTC_ALM's protocol, with frames of our own beside it |
//! | [`group`] | such a tree over real connections: WebRTC_ALM's service |
//! | [`overlay`] | one member of such a tree as a machine without I/O: joining, forwarding, repair, the owner's view |
//!
//! `frame` and `overlay` know node ids and bytes only, neither connections nor tokio; `docs/alm.md` has their protocol byte by byte.
//! `group` drives them over `sinnet::PeerConnection`s.
#![forbid(unsafe_code)]

pub mod frame;
pub mod group;
pub mod mesh;
pub mod overlay;

pub use group::WebRtcAlm;
