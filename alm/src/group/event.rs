//! What a member of a group is told.

use std::fmt;

use crate::frame::{NodeId, Sequence};
use crate::overlay::{Direction, Message};

/// Where a connection with another member stands: `Connecting`, then `Connected` or `Failed`; after `Connected`, `Closed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// An offer has been made, or is being answered.
    Connecting,
    /// Its channel is open.
    Connected,
    /// It never came about.
    Failed,
    /// It has ended, by whichever side.
    Closed,
}

/// What happens in a group.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum GroupEvent {
    /// A message of the group.
    Message {
        /// Its number at the owner. Without gaps in a reliable group.
        sequence: Sequence,
        /// What.
        message: Message,
    },
    /// A reliable group could not keep its promise: the messages from the first up to the second (not among them) are lost
    /// for this member.
    Missed {
        /// The first that is missing.
        from: Sequence,
        /// The first one behind.
        to: Sequence,
    },
    /// The owner's view of the tree has changed: [`WebRtcAlm::tree`](super::WebRtcAlm::tree). Owner only.
    TreeUpdate,
    /// A connection's state has changed.
    StateChange {
        /// The other node.
        id: NodeId,
        /// Whether it is a parent or a child.
        direction: Direction,
        /// The new state.
        state: LinkState,
    },
    /// Another parent delivers now; `None`: nobody does.
    ParentChange(Option<NodeId>),
    /// The server can't be reached. The tree goes on; the server is tried again and again.
    ServerLost {
        /// What happened.
        reason: String,
    },
    /// The server is back, and newcomers can join again.
    ServerRegained,
    /// The end of the membership, and why. The last event.
    Closed(Ended),
}

/// Why a membership has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// By [`WebRtcAlm::leave`](super::WebRtcAlm::leave).
    Left,
    /// No way into the tree is left, and the server knows no such group, for
    /// [`Options::give_up`](super::Options::give_up). With the server's words.
    GroupGone(String),
    /// Its task was stopped: its runtime was shut down, or the task has panicked. Nobody was told.
    Stopped,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("this side has left"),
            Self::GroupGone(reason) => write!(f, "the group is gone: {reason}"),
            Self::Stopped => f.write_str("its task was stopped"),
        }
    }
}
