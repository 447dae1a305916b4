//! Application-layer multicast over data channels: browsers and native nodes in one group.
//!
//! | module | what |
//! |---|---|
//! | [`mesh`] | everybody connected with everybody: webrtc_p2p's service |
//!
//! The distribution tree of WebRTC_ALM is next: `overlay`, a sans-IO core that knows node ids and bytes only (membership, the
//! tree, joining, repair, forwarding), and `group`, which drives it over `sinnet::PeerConnection`s.
#![forbid(unsafe_code)]

pub mod mesh;
