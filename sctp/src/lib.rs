//! SCTP over DTLS (RFC 9260, 8261) for data channels, without I/O.
#![forbid(unsafe_code)]

mod association;
mod config;
mod error;
mod event;
mod rx;
mod stats;
mod stream_map;
#[cfg(test)]
mod tests;
mod timer;
mod tx;
mod types;
mod wire;

pub use association::Association;
pub use config::{Config, SendOptions};
pub use error::{ResetError, SendError};
pub use event::{CloseReason, Event, Message};
pub use stats::Stats;
pub use types::{Ppid, StreamId};
pub use wire::cause::CauseCode;
