//! One member of a multicast group as a state machine without I/O: it knows node ids, link ids and bytes.
//!
//! The owner of the machine makes links (data channels) when an event asks for them, tells [`Node::link_up`] and
//! [`Node::link_down`], gives frames to [`Node::handle_input`] and takes them from [`Node::poll_transmit`], link by link, as
//! far as the channel has room. Time and a seed come in as arguments.
//!
//! A node has one **eager** parent, which delivers, and a **warm** one, which only sends heartbeats with the number of its
//! newest message. Messages are not queued for each child: a child is a cursor into the node's store of recent messages.
//! So a child that takes over, lags or comes late is served from one place, and nothing is copied.
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! |---|---|---|
//! | recent messages | `store_bytes`, `store_messages` | the oldest go |
//! | data to a reliable node | `window` bytes ahead of its slowest child and its application | the link is dropped |
//! | messages that a live application does not take | `window` bytes, 9 for each message's header | the oldest go |
//! | control frames for a link | 128; 64 and 32 KiB for joins, reports, routed frames | counted, dropped |
//! | events beside messages | 1024 | counted, dropped; those about links are never |
//! | root path | 64 nodes | the link is dropped as a cycle |
//! | joins that wait for the first child | 256 | dropped; the joiner tries again |
//! | places promised | `max_down_streams` and one, for `ask_timeout` | the next one is refused or passed on |
//! | nodes in the owner's view, reports of a child a round | 8192 | counted, dropped |
//! | ways to other nodes remembered | 64 | the oldest goes |
//!
//! # What is left room for
//!
//! - *Signed messages*: a signature is a part of a message's body that `deliver` would check before `keep`; nothing else
//!   reads bodies.
//! - *Many sources, stripes*: what belongs to a source is its epoch, its next number and its store; a second one is a
//!   second such triple, with its own attach (frame 5 ends open, and so can name a source or a stripe).
//! - *Another owner*: the epoch changes hands with the source; who sees a new one begins anew.
//! - *Origin of data below the root*: only the owner publishes.

mod budget;
mod config;
mod event;
mod forward;
mod link;
mod membership;
mod node;
mod repair;
mod store;
mod tree;

#[cfg(test)]
mod tests;

pub use budget::ChannelBudget;
pub use config::{Config, GroupKind, MAX_MESSAGE};
pub use event::{Capabilities, Direction, Event, LinkId, Message};
pub use forward::PublishError;
pub use membership::SignalError;
pub use node::{Node, Stats};
pub use tree::TreeEntry;
