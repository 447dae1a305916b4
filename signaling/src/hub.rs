//! What the servers' halves of the protocols have in common: sockets by number, texts in, texts out, and the clock.

use std::time::Instant;

/// A WebSocket, as the owner of a [`Hub`] numbers them. No number is used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SocketId(pub u64);

/// What the owner of a [`Hub`] is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this text.
    Send(SocketId, String),
    /// Close the WebSocket with this reason, behind what was sent. Its end is to be reported by [`Hub::close`], too.
    Close(SocketId, &'static str),
}

/// One protocol's server, without sockets and clocks. After any call: [`Hub::poll_output`] until `None`, then
/// [`Hub::poll_timeout`].
pub trait Hub {
    /// A WebSocket has been opened.
    fn open(&mut self, now: Instant, socket: SocketId);
    /// A text message has come on a WebSocket.
    fn handle_text(&mut self, now: Instant, socket: SocketId, text: &str);
    /// A WebSocket is gone, whoever closed it.
    fn close(&mut self, now: Instant, socket: SocketId);
    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);
    /// When [`Hub::handle_timeout`] has something to do.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The next thing to do.
    fn poll_output(&mut self) -> Option<Output>;
}
