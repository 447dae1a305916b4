//! Application-layer multicast over data channels: browsers and native nodes in one distribution tree.
//!
//! Nothing is built here yet; this crate keeps the place. It will hold two parts: `overlay`, a sans-IO core that knows node
//! ids and bytes only (membership, the tree, joining, repair, forwarding), and `group`, which drives it over
//! `sinnet::PeerConnection`s with the signalling of `sinnet-signaling`.
#![forbid(unsafe_code)]
