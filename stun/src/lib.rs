//! STUN (RFC 8489): zero-copy messages, integrity and transactions, without I/O.
//!
//! - [`Message`]: a view over a received datagram. [`Message::parse`] checks every length once; no accessor
//!   can fail afterwards for a reason other than "not there" or "not well-formed".
//! - [`Builder`]: writes a message into the caller's buffer.
//! - [`IntegrityKey`]: MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256.
//! - [`long_term_key`], [`userhash`], [`SecurityFeatures`]: what long-term credentials add (RFC 8489 §9.2).
//! - [`Transaction`]: when a request is sent again and when it is given up (RFC 8489 §6.2.1).
//!
//! ```
//! use sinnet_stun::{Builder, Class, IntegrityKey, Message, Method, TransactionId};
//!
//! let key = IntegrityKey::short_term("VOkJxbRl1RmTxUk/WvJxBt");
//! let mut out = [0; 128];
//! let mut request = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId([7; 12]));
//! request.username("evtj:h6vY").priority(0x6e00_01ff).integrity(&key).fingerprint();
//! let len = request.finish().unwrap();
//!
//! let message = Message::parse(&out[..len]).unwrap();
//! assert_eq!(message.username(), Some("evtj:h6vY"));
//! assert!(message.verify_fingerprint().is_valid() && message.verify_integrity(&key).is_valid());
//! ```
#![forbid(unsafe_code)]

mod attribute;
mod builder;
mod integrity;
mod long_term;
mod message;
mod transaction;
mod xor_addr;

pub use attribute::{Attribute, AttributeType};
pub use builder::{BufferTooSmall, Builder};
pub use integrity::{IntegrityKey, Verdict};
pub use long_term::{
    LONGEST_TEXT, PasswordAlgorithm, PasswordAlgorithms, SecurityFeatures, long_term_key, userhash,
};
pub use message::{Attributes, Class, Message, Method, ParseError, TransactionId, is_stun};
pub use transaction::{Retransmission, Transaction};

/// Bytes of the fixed header (RFC 8489 §5).
pub const HEADER_LEN: usize = 20;
/// The magic cookie (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

#[cfg(test)]
mod rfc5769;
#[cfg(test)]
mod rfc8489;
