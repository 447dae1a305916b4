//! The Data Channel Establishment Protocol (RFC 8832) and the payload protocol identifiers of data channels (RFC 8831).
//!
//! Two messages open a channel in-band: [`Open`] says what the channel is, an ACK of one byte says that it is there.
//! Everything here is a function of its arguments: no state, no time, no allocation while parsing. Which stream ids
//! may be used, and what happens after a message that does not parse (RFC 8832 §6: the channel is closed and no ACK
//! sent), is decided by the caller.
//!
//! ```
//! use sinnet_dcep::{ChannelType, Message, Open, parse};
//!
//! let open = Open { channel_type: ChannelType::RELIABLE, priority: 256, reliability: 0, label: "chat", protocol: "" };
//! let bytes = open.to_vec()?;
//! assert_eq!(parse(&bytes), Ok(Message::Open(open)));
//! # Ok::<(), sinnet_dcep::TooLong>(())
//! ```
#![forbid(unsafe_code)]

mod channel_type;
mod message;
pub mod ppid;

pub use channel_type::{ChannelType, Limit, Reliability};
pub use message::{ACK, MAX_STRING, MIN_OPEN, Message, MessageType, Open, ParseError, TooLong, parse};
