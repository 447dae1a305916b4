//! What a node tells its owner.

use bytes::Bytes;

use crate::frame::{HEADER, Join, NodeId, Role, Sequence};

/// A link between two nodes, numbered by the owner of the machine: one data channel. Numbers are not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// Which way data flows on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The peer is a parent.
    Up,
    /// The peer is a child.
    Down,
}

/// What is known of a peer when its link comes up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capabilities {
    /// Nothing beyond the original protocol is known. A parent that turns out to be ours is treated so from then on.
    Original,
    /// It speaks our frames: its join had an `x`, or it was found through the overlay.
    Ours,
}

/// A message of the group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Bytes.
    Bytes(Bytes),
    /// Text.
    Text(String),
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl Message {
    /// What it counts for as long as nobody takes it: its bytes, and a header, so that empty ones are not free.
    pub(crate) fn cost(&self) -> u64 {
        let len = match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        };
        (len + HEADER) as u64
    }
}

/// What happened, and what the owner of the machine is to do.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message of the group, its number at the source with it.
    Message(Sequence, Message),
    /// A reliable group could not keep its promise: the messages from the first up to the second (not among them) are in
    /// no store within reach. Only who lags by more than a store sees this.
    Missed {
        /// The first that is missing.
        from: Sequence,
        /// The first one behind.
        to: Sequence,
    },
    /// Send a join to the server, for so many upstreams, with this root path. Some
    /// [`crate::overlay::Node::link_up`] is hoped for.
    JoinByServer {
        /// Upstreams wanted.
        wanted: u32,
        /// For [`crate::frame::Extension::p`].
        path: Vec<NodeId>,
    },
    /// Answer this join with `join_res`: a place is kept for a while.
    AcceptJoin(Join),
    /// A node agreed to be our parent: make an offer to it, with [`crate::overlay::Node::send_signal`].
    Connect {
        /// Which node.
        peer: NodeId,
        /// What for.
        role: Role,
    },
    /// An offer from this node is to be answered: a place is kept for a while.
    Expect {
        /// Which node.
        peer: NodeId,
    },
    /// What another owner gave to [`crate::overlay::Node::send_signal`].
    Signal {
        /// Who sent it.
        from: NodeId,
        /// As it was sent.
        data: Bytes,
    },
    /// Close this link; the node has forgotten it. A last frame may still come out of `poll_transmit`: take it first.
    CloseLink(LinkId),
    /// Another parent delivers now.
    ParentChanged {
        /// Who; `None` if nobody does for now.
        parent: Option<NodeId>,
    },
    /// [`crate::overlay::Node::publish`] takes messages again.
    Writable,
    /// The owner's view of the tree has changed: [`crate::overlay::Node::tree`].
    TreeUpdate,
}
