//! Where the groups of one protocol are kept. The server has sockets and nothing else: what is said on them goes to a
//! [`Backend`], which answers through their [`Outgoing`]s whenever it likes.
//!
//! [`Local`](super::Local) is one that keeps everything in this process. One that spreads groups over several servers would
//! be another, with the same [`Hub`](crate::hub::Hub)s behind it or without.

use crate::hub::{Access, Address, Figure, ListedGroup, SocketId};
use crate::session::Outgoing;

/// One protocol's state. Its methods are called by many tasks at once, and must not wait.
pub trait Backend: Send + Sync + 'static {
    /// A WebSocket has been opened by somebody who may do this; what is to be said on it goes to `out`. `from` is to be held to its part
    /// of groups and joins; none for who is not.
    fn open(&self, out: Outgoing, access: Access, from: Option<Address>) -> SocketId;
    /// A text message has come on a WebSocket.
    fn text(&self, socket: SocketId, text: &str);
    /// A WebSocket is gone, whoever closed it. Nothing comes from it any more.
    fn close(&self, socket: SocketId);
    /// Called twice a second.
    fn tick(&self);
    /// The groups that are shown to everybody, the oldest first.
    fn groups(&self) -> Vec<ListedGroup>;
    /// What has been counted, for `/metrics`.
    fn figures(&self) -> Vec<Figure>;
}
