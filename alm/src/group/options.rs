//! How a member is set up, and what can go wrong with its calls.

use std::time::Duration;

use sinnet::{Endpoint, EndpointConfig, PeerConfig};
use sinnet_signaling::Client;
use sinnet_signaling::client::ConnectError;

use crate::frame::{NodeId, Role};
use crate::overlay::{self, MAX_MESSAGE, Stats};

/// Settings of a [`WebRtcAlm`](super::WebRtcAlm).
#[derive(Clone, Debug)]
pub struct Options {
    /// The place in the tree: `max_down_streams` (4), `max_up_streams` (2), history, window and times. Its `kind` is the one
    /// given to [`WebRtcAlm::new`](super::WebRtcAlm::new).
    pub tree: overlay::Config,
    /// Sockets to use. `None`, the default, makes an endpoint for this member, as [`Options::bind`] says.
    ///
    /// Connections are told apart by the remote address: an endpoint that serves several members must not serve two of one
    /// group, nor meet another endpoint that serves several.
    pub endpoint: Option<Endpoint>,
    /// For the endpoint made here.
    pub bind: EndpointConfig,
    /// For the connections. Its `max_message_size` must not be less than 256 KiB.
    pub peer: PeerConfig,
    /// For the WebSockets.
    pub client: Client,
    /// How long a connection may take to come up. 15 s by default.
    pub patience: Duration,
    /// How long to look for a way into the tree when the server says that there is no such group. 60 s by default.
    pub give_up: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let mut client = Client::default();
        // The owner is told of every join: 200 a second and twice as many at once, by the server's limits.
        (client.limits.burst, client.limits.per_second) = (2048, 1024);
        Self {
            // Five times as often as the original's, for a tree that is watched.
            tree: overlay::Config { tree_interval: Duration::from_secs(2), ..overlay::Config::default() },
            endpoint: None,
            bind: EndpointConfig::default(),
            peer: PeerConfig::default(),
            client,
            patience: Duration::from_secs(15),
            give_up: Duration::from_secs(60),
        }
    }
}

/// [`WebRtcAlm::create`](super::WebRtcAlm::create) or [`WebRtcAlm::join`](super::WebRtcAlm::join) did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This object has created or joined already; make another.
    #[error("this is a member of a group already, or has been one")]
    Used,
    /// The server can't be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server says no: there is no such group, or there is one already.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server closed the WebSocket instead of an answer, or its answer makes no sense.
    #[error("the server's answer did not come or can't be understood: {0}")]
    Answer(String),
    /// No sockets, or no randomness.
    #[error(transparent)]
    Endpoint(#[from] sinnet::Error),
}

/// [`WebRtcAlm::multicast`](super::WebRtcAlm::multicast) did not send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MulticastError {
    /// Only the owner of a group sends.
    #[error("only the owner of the group sends")]
    NotOwner,
    /// The message is larger than [`MAX_MESSAGE`] on the wire; text has two bytes and more a character there.
    #[error("the message is larger than {MAX_MESSAGE} bytes")]
    TooLarge,
    /// Not a member yet, or not any more.
    #[error("not a member of a group")]
    NotMember,
}

/// How a member stands, at one moment.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Who this is. The owner is 0.
    pub id: NodeId,
    /// The root path, owner first and this node last; empty if it hangs in no tree.
    pub path: Vec<NodeId>,
    /// Who delivers.
    pub parent: Option<NodeId>,
    /// Who stands by to deliver.
    pub standbys: Vec<NodeId>,
    /// Who is below, and what each wants; `None` for one that has not said so yet.
    pub children: Vec<(NodeId, Option<Role>)>,
    /// Bytes that wait here for the slowest child that keeps up, or for [`WebRtcAlm::next_event`](super::WebRtcAlm::next_event).
    pub held: u64,
    /// Whether the server could be reached when it was last needed.
    pub server: bool,
    /// Events that nobody took in time, and were dropped.
    pub dropped_events: u64,
    /// Frames that a channel's other end would not take, being too large for it.
    pub unsendable: u64,
    /// The node's counters.
    pub stats: Stats,
}
