//! What the servers' halves of the protocols have in common: sockets by number, texts in, texts out, and the clock.

use std::net::IpAddr;
use std::time::Instant;

/// A WebSocket, as the owner of a [`Hub`] numbers them. No number is used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SocketId(pub u64);

/// Where a socket comes from, as limits see it: an IPv4 address, or the first 64 bits of an IPv6 address, which one holder has at
/// least.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// IPv4, in IPv6 or by itself.
    V4(u32),
    /// An IPv6 network.
    V6(u64),
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

/// What the owner of a [`Hub`] is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this text.
    Send(SocketId, String),
    /// Close the WebSocket with this reason, behind what was sent. Its end is to be reported by [`Hub::close`], too.
    Close(SocketId, &'static str),
}

/// What a socket may do: `Err` says why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Creating groups.
    pub create: Result<(), &'static str>,
    /// Joining groups.
    pub join: Result<(), &'static str>,
}

impl Access {
    /// Everything.
    pub const FULL: Self = Self { create: Ok(()), join: Ok(()) };
}

/// A number for who looks after the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figure {
    /// Its name, in `snake_case`.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Whether it only grows.
    pub grows: bool,
    /// How many.
    pub value: u64,
}

impl Figure {
    /// One that goes up and down.
    #[must_use]
    pub const fn now(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, grows: false, value }
    }

    /// One that only grows.
    #[must_use]
    pub const fn total(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, grows: true, value }
    }
}

/// One protocol's server, without sockets and clocks. After any call: [`Hub::poll_output`] until `None`, then
/// [`Hub::poll_timeout`].
pub trait Hub {
    /// A WebSocket has been opened by somebody who may do this. `from` is held to its part of groups and joins, if it is known.
    fn open(&mut self, now: Instant, socket: SocketId, access: Access, from: Option<Address>);
    /// A text message has come on a WebSocket. `crowded` says of another whether much waits for it already: what would be passed
    /// on to it is refused then, so that the trouble is its sender's.
    fn handle_text(&mut self, now: Instant, socket: SocketId, text: &str, crowded: &dyn Fn(SocketId) -> bool);
    /// A WebSocket is gone, whoever closed it.
    fn close(&mut self, now: Instant, socket: SocketId);
    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);
    /// When [`Hub::handle_timeout`] has something to do.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The next thing to do.
    fn poll_output(&mut self) -> Option<Output>;
    /// The groups that are shown to everybody, the oldest first.
    fn groups(&self) -> Vec<ListedGroup>;
    /// What has been counted.
    fn figures(&self) -> Vec<Figure>;
}

/// A group, as it is shown to everybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
}
