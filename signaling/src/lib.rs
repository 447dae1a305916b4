//! Signalling for Sinnet: how two peers exchange offers, answers and candidates before they have a connection.
//!
//! | module | what |
//! |---|---|
//! | [`message`] | the messages, as lines of JSON or as WebSocket text messages |
//! | [`session`] | one signalling connection, whichever end of it: send, receive, close |
//! | [`server`] | a web server: the demonstration page and `/peer`, where sessions come in |
//! | [`hub`] | what the server's halves of the following have in common: no sockets, no clocks |
//! | [`mesh`] | groups in which everybody is connected with everybody: the protocol of webrtc_p2p |
//! | [`simple`] | groups, and joins relayed between members of a tree: the protocol of WebRTC_ALM |
//! | [`client`] | the other end of `/peer`, over `ws` or `wss` |
//!
//! Signalling promises nothing about delivery beyond what its WebSocket does: messages arrive in order, each at most
//! once, until the session ends.
//!
//! # Limits
//!
//! Whatever comes from outside is bounded before it is believed: frames and messages by [`message::MAX_FRAME`] and
//! [`message::MAX_MESSAGE`], rates and silence by [`session::Limits`], queues by [`session::QUEUE`], the number of
//! connections and the time that a request may take by [`server::ServerConfig`]. Who breaks a limit is disconnected;
//! nobody else notices.
#![forbid(unsafe_code)]

pub mod client;
pub mod hub;
pub mod mesh;
pub mod message;
mod rate;
#[cfg(test)]
mod room;
pub mod server;
pub mod session;
mod shares;
pub mod simple;

pub use client::Client;
pub use message::Signal;
pub use server::{Server, ServerConfig};
pub use session::{CloseCode, Session, Wire};
