//! One association.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::config::{Config, SendOptions};
use crate::error::{ResetError, SendError};
use crate::event::{Event, Message};
use crate::stats::Stats;
use crate::types::{Ppid, StreamId};

/// One SCTP association over DTLS.
#[derive(Debug)]
pub struct Association {
    config: Arc<Config>,
    events: VecDeque<Event>,
    stats: Stats,
}

impl Association {
    /// A closed association; nothing is sent before [`connect`](Self::connect).
    pub fn new(config: Arc<Config>, _now: Instant, _seed: [u8; 32]) -> Self {
        Self { config, events: VecDeque::new(), stats: Stats::default() }
    }
    /// Starts the handshake.
    pub fn connect(&mut self, _now: Instant) {}
    /// Takes one packet.
    pub fn handle_input(&mut self, _now: Instant, _packet: &[u8]) {}
    /// Lets the timers run.
    pub fn handle_timeout(&mut self, _now: Instant) {}
    /// Writes one packet.
    pub fn poll_transmit(&mut self, _now: Instant, _out: &mut [u8]) -> Option<usize> {
        None
    }
    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
    /// Queues a message.
    pub fn send(
        &mut self,
        _now: Instant,
        _stream: StreamId,
        _ppid: Ppid,
        _payload: Bytes,
        _options: SendOptions,
    ) -> Result<(), SendError> {
        Err(SendError::Closed)
    }
    /// The PPID of the next message of a stream.
    pub fn peek_ppid(&self, _stream: StreamId) -> Option<Ppid> {
        None
    }
    /// Takes the next message of a stream.
    pub fn recv(&mut self, _stream: StreamId) -> Option<Message> {
        None
    }
    /// Payload bytes of the whole messages that `recv` would hand out.
    pub fn readable_bytes(&self, _stream: StreamId) -> usize {
        0
    }
    /// Payload bytes accepted by `send` and not yet sent once.
    pub fn buffered_amount(&self, _stream: StreamId) -> usize {
        0
    }
    /// Payload bytes accepted by `send` and not yet acknowledged.
    pub fn unacked_bytes(&self, _stream: StreamId) -> usize {
        0
    }
    /// Sets the threshold of `Event::BufferedAmountLow`; 0 at first.
    pub fn set_buffered_amount_low_threshold(&mut self, _stream: StreamId, _threshold: usize) {}
    /// Payload bytes, over all streams, accepted by `send` and not yet acknowledged.
    pub fn total_buffered(&self) -> usize {
        0
    }
    /// The largest message that `send` would take now, without one being larger than the buffer.
    pub fn send_capacity(&self) -> usize {
        self.config.send_buffer
    }
    /// Resets our outgoing side of a stream.
    pub fn reset_stream(&mut self, _now: Instant, _stream: StreamId) -> Result<(), ResetError> {
        Ok(())
    }
    /// Orderly close.
    pub fn shutdown(&mut self, _now: Instant) {}
    /// Closes at once.
    pub fn abort(&mut self, _now: Instant, _reason: &str) {}
    /// Whether data can flow.
    pub fn is_established(&self) -> bool {
        false
    }
    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        false
    }
    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}
