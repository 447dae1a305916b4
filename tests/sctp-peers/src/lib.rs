//! Our SCTP against other implementations of it, in memory and virtual time.
//!
//! An [`Endpoint`] is one side: ours ([`Ours`]), the `dcsctp` crate's ([`Dcsctp`]), which Chromium runs, or the
//! `sctp-proto` crate's ([`SctpProto`]), which str0m and webrtc-rs run. A [`World`] puts two of them at the ends of a
//! simulated network and moves from one thing that happens to the next. [`Traffic`] sends messages and resets streams
//! at random, and knows what has to arrive: each message once, intact, in its stream and in order where that was asked
//! for. A [`Bulk`] transfers as much as a bottleneck lets through, between two ends of one [`Kind`].
#![forbid(unsafe_code)]

mod bulk;
mod dcsctp_end;
mod kind;
mod ours;
mod sctp_proto_end;
mod traffic;
mod world;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use bulk::{Bulk, Path};
pub use dcsctp_end::{Dcsctp, DcsctpOptions};
pub use kind::Kind;
pub use ours::Ours;
pub use sctp_proto_end::{SctpProto, SctpProtoOptions};
pub use traffic::{STREAMS, Traffic};
pub use world::{Happening, Sealed, World};

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The stream.
    pub stream: u16,
    /// Tells the messages of a side apart; travels as the payload protocol identifier.
    pub id: u32,
    /// At least one byte.
    pub payload: Bytes,
    /// Without regard to the order.
    pub unordered: bool,
    /// Given up after so many retransmissions.
    pub max_retransmits: Option<u16>,
    /// Given up after so long.
    pub lifetime: Option<Duration>,
}

/// A message that has arrived.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The stream.
    pub stream: u16,
    /// The payload protocol identifier.
    pub id: u32,
    /// The content.
    pub payload: Bytes,
}

/// What a side has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The handshake is done.
    Connected,
    /// The peer has started over.
    Restarted,
    /// The peer has reset its side of these streams.
    ResetByPeer(Vec<u16>),
    /// Our side of these streams is reset.
    ResetDone(Vec<u16>),
    /// The peer refused to reset these streams.
    ResetFailed(Vec<u16>),
    /// The orderly end.
    Closed,
    /// The end by an ABORT of either side, or by giving up.
    Aborted(String),
}

/// One side of an association.
pub trait Endpoint {
    /// Sends INIT.
    fn connect(&mut self, now: Instant);
    /// Takes a packet.
    fn handle_input(&mut self, now: Instant, packet: &[u8]);
    /// Lets the timers run out that are due.
    fn handle_timeout(&mut self, now: Instant);
    /// When to call `handle_timeout`.
    fn deadline(&self) -> Option<Instant>;
    /// The next packet to send.
    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>>;
    /// The next message, of whatever stream.
    fn recv(&mut self) -> Option<Incoming>;
    /// The next thing to tell; messages that came before it have been handed out by [`recv`](Self::recv).
    fn note(&mut self) -> Option<Note>;
    /// Queues a message; `false` if there is no room for it now.
    fn send(&mut self, now: Instant, message: &Outgoing) -> bool;
    /// Resets our side of a stream; `false` if that can't be asked for now without losing what is queued.
    fn reset(&mut self, now: Instant, stream: u16) -> bool;
    /// Closes in good order.
    fn shutdown(&mut self, now: Instant);
    /// Closes at once.
    fn abort(&mut self, now: Instant);
    /// Which rule against stalling is broken, after everything to transmit has been taken.
    fn broken_rule(&self, now: Instant) -> Option<String>;
    /// What is still held, or still waited for, though there is nothing to do. A heartbeat in a while is no such thing.
    fn residue(&self, now: Instant) -> Option<String>;
    /// Its counters, for a reader.
    fn report(&self) -> String {
        String::new()
    }
}
