//! What a node is told once.

use std::time::Duration;

use crate::frame::HEADER;

/// What a group promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupKind {
    /// Every message, in the order of its source, from the first one that a member gets on. Who publishes is held back by
    /// the slowest child that keeps up at all.
    Reliable,
    /// The newest messages in order; what a slow child can't take is dropped, oldest first. Nobody is held back.
    Live,
}

/// Limits and times of a node. The owner's [`GroupKind`] is told down the tree; other values may differ from node to node.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the group promises. Only the owner's counts.
    pub kind: GroupKind,
    /// Most children, standbys included. A standby gives way to a child that wants data. Default 4.
    pub max_down_streams: usize,
    /// Upstreams to have: one that delivers, the others warm. Default 2.
    pub max_up_streams: usize,
    /// How often heartbeats go down; four times less often up. Default 250 ms.
    pub heartbeat: Duration,
    /// Heartbeats in a row that a parent may miss before it is taken for dead. Default 3.
    pub missed_heartbeats: u32,
    /// A parent that is heard, but whose root ticks stand still for so long while a standby's go on, is left. Default 2 s.
    pub stall: Duration,
    /// Ticks that stand still everywhere for so long: ask the server for a new place. Default 5 s.
    pub stale: Duration,
    /// How long an ask, and a connection that was agreed on, may take; a place is kept as long. Default 5 s.
    pub ask_timeout: Duration,
    /// The first pause before another join by the server; it doubles up to 32 times this, or 8 times for who had a place
    /// before, with jitter. Default 1 s.
    pub join_retry: Duration,
    /// Bytes of recent messages kept for children and for whom they take over. Default 16 MiB.
    pub store_bytes: usize,
    /// Recent messages kept. Default 16 384.
    pub store_messages: usize,
    /// Messages of the past that a newcomer gets, if the store has them. Default: all.
    pub history: usize,
    /// Bytes that may be on their way to a node, or wait in it for its children and its application. Default 1 MiB.
    pub window: usize,
    /// How long a child that lags by half a window holds back the others in a reliable group without taking anything, or less
    /// than an eighth of a window while others could take more. Then it lives off the store, and misses what has left that.
    /// Default 2 s.
    pub patience: Duration,
    /// How often the owner asks everybody for their links. Default 10 s.
    pub tree_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: GroupKind::Reliable,
            max_down_streams: 4,
            max_up_streams: 2,
            heartbeat: Duration::from_millis(250),
            missed_heartbeats: 3,
            stall: Duration::from_secs(2),
            stale: Duration::from_secs(5),
            ask_timeout: Duration::from_secs(5),
            join_retry: Duration::from_secs(1),
            store_bytes: 16 << 20,
            store_messages: 16_384,
            history: usize::MAX,
            window: 1 << 20,
            patience: Duration::from_secs(2),
            tree_interval: Duration::from_secs(10),
        }
    }
}

/// Largest message that can be published, in bytes: with its header it is a data channel message of 256 KiB, the largest that
/// Chromium takes.
pub const MAX_MESSAGE: usize = 256 * 1024 - HEADER;

/// Control frames that wait for a link. Reports and routed frames are dropped above half of it, everything above it.
pub(crate) const MAX_CONTROL: usize = 128;

/// Bytes of joins, reports and routed frames that wait for a link; one larger than that waits alone.
pub(crate) const MAX_CONTROL_BYTES: usize = 32 * 1024;

/// Attaches of a child that are taken in a row; then one each heartbeat, as often as one has reason to ask again.
pub(crate) const MAX_ATTACHES: u8 = 16;

/// Joins that wait for a child to be connected.
pub(crate) const MAX_WAITING: usize = 256;

/// Events, other than messages, that wait for the owner.
pub(crate) const MAX_EVENTS: usize = 1024;

/// Nodes that the owner's view of the tree has.
pub(crate) const MAX_TREE: usize = 8192;

/// Links that a routed frame passes.
pub(crate) const MAX_HOPS: u8 = 48;
