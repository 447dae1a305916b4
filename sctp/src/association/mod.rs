//! One association: its state, and the verbs by which the owner drives it.
//!
//! | file | holds |
//! |---|---|
//! | `state` | the states and what may happen in each |
//! | `input` | one packet in: tags, dispatch, unknown chunks, SACK, ABORT |
//! | `transmit` | one packet out: what goes first and with what |
//! | `handshake`, `cookie` | INIT … COOKIE ACK, collisions, restart |
//! | `shutdown` | SHUTDOWN …, ABORT, and the end |
//! | `probe` | packets that try a larger size |
//! | `snap` | the same without the chunks of the handshake |
//! | `heartbeat` | idle check |
//! | `reconfig` | stream reset and more streams: ours, and `answers` to the peer's |
//! | `pieces` | messages in pieces |
//! | `control`, `events` | what waits to be sent, and to be told |
//! | `invariants` | what must hold so that nothing stalls |

mod control;
mod cookie;
mod events;
mod handshake;
mod heartbeat;
mod input;
mod invariants;
mod pieces;
mod probe;
mod reconfig;
mod shutdown;
mod snap;
mod state;
#[cfg(test)]
mod tests;
mod transmit;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use ring::hmac;

use self::control::Control;
use self::events::Events;
use self::handshake::Handshake;
use self::heartbeat::Heartbeat;
use self::reconfig::Reconfig;
use self::state::State;
use crate::config::{Config, SendOptions};
use crate::error::SendError;
use crate::event::{CloseReason, Event, Message};
use crate::rx::Receiver;
use crate::seed::Seed;
use crate::stats::Stats;
use crate::timer::{Backoff, Timer, earliest};
use crate::tx::Sender;
use crate::tx::send_queue::{OutStream, Part, QueuedMessage, ResetState};
use crate::types::{Ppid, StreamId, Tsn};
use crate::wire::init::Capabilities;

/// One SCTP association over DTLS (RFC 9260, RFC 8261), without I/O.
///
/// The owner gives packets to [`handle_input`](Self::handle_input), calls
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says so, and after any
/// call drains [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event). Draining late
/// only sends and tells later. Any order of calls is harmless.
///
/// Memory is bounded by the settings: the send and receive buffers with their stated overheads, a few
/// hundred bytes per stream in use, and a few kilobytes besides.
pub struct Association {
    config: Arc<Config>,
    created: Instant,
    seed: Seed,
    /// The key itself, which is needed once or twice, and not its schedule.
    cookie_secret: [u8; 32],
    state: State,
    local_tag: u32,
    local_initial_tsn: Tsn,
    /// 0 while unknown.
    peer_tag: u32,
    peer_capabilities: Capabilities,
    outbound_streams: u16,
    inbound_streams: u16,
    /// I-DATA is used instead of DATA.
    interleaving: bool,
    /// It was set up without a handshake.
    snapped: bool,
    tx: Sender,
    rx: Receiver,
    handshake: Handshake,
    t2: Timer,
    /// When the shutdown must be over.
    t5: Option<Instant>,
    heartbeat: Heartbeat,
    reconfig: Reconfig,
    control: Control,
    events: Events,
    backoff: Backoff,
    /// Retransmissions in a row without a sign of life (RFC 9260 §8.1).
    error_count: u32,
    /// It ended by SHUTDOWN ACK or SHUTDOWN COMPLETE: the peer is where we are, or waits for nothing else.
    ended_in_order: bool,
    stats: Stats,
}

impl Association {
    /// An association that has not begun: it answers a peer's INIT, and begins itself with
    /// [`connect`](Self::connect). `seed` gives tags, TSNs, nonces and the cookie key; it must be secret and
    /// never used twice.
    pub fn new(config: Arc<Config>, now: Instant, seed: [u8; 32]) -> Self {
        let mut seed = Seed::new(seed);
        let mut rng = seed.rng();
        let mut cookie_secret = [0; 32];
        rng.fill_bytes(&mut cookie_secret);
        let local_tag = random_tag(&mut rng);
        let local_initial_tsn = Tsn(rng.next_u32());
        Self {
            created: now,
            cookie_secret,
            state: State::Closed,
            local_tag,
            local_initial_tsn,
            peer_tag: 0,
            peer_capabilities: Capabilities::default(),
            outbound_streams: config.outbound_streams,
            inbound_streams: config.inbound_streams,
            interleaving: false,
            snapped: false,
            tx: Sender::new(&config, local_initial_tsn),
            rx: Receiver::new(&config, Tsn(0), config.inbound_streams, false),
            handshake: Handshake::default(),
            t2: Timer::default(),
            t5: None,
            heartbeat: Heartbeat::default(),
            reconfig: Reconfig::new(local_initial_tsn, Tsn(0)),
            control: Control::default(),
            events: Events::default(),
            backoff: Backoff { max: config.max_backoff },
            error_count: 0,
            ended_in_order: false,
            stats: Stats::default(),
            seed,
            config,
        }
    }

    /// Sends INIT. Does nothing if the association has begun already, by this or by the peer's INIT.
    pub fn connect(&mut self, _now: Instant) {
        if self.state == State::Closed {
            self.state = State::CookieWait;
            self.control.init = true;
        }
    }

    /// Lets the timers that are due by `now` run out.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Ended {
            return;
        }
        self.on_t1(now);
        self.on_t2(now);
        self.on_t5(now);
        if self.tx.t3.expired(now) {
            self.tx.on_t3(now, &mut self.stats);
            self.count_error();
        }
        self.tx.on_recovery_timer(now, &mut self.stats);
        self.rx.sack.on_timeout(now);
        if self.state.has_peer() {
            self.on_heartbeat_timer(now);
            self.on_reconfig_timer(now);
            self.tx.on_size_timer(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do next. After it was called with that
    /// time or a later one, the deadline has moved or gone.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Ended {
            return None;
        }
        let mut deadline = earliest(self.handshake.t1.deadline(), self.t2.deadline());
        deadline = earliest(deadline, self.t5);
        deadline = earliest(deadline, self.tx.t3.deadline());
        deadline = earliest(deadline, self.tx.recovery_deadline());
        if self.state.has_peer() {
            deadline = earliest(deadline, self.rx.sack.deadline());
            deadline = earliest(deadline, self.heartbeat.deadline());
            deadline = earliest(deadline, self.reconfig.deadline());
            deadline = earliest(deadline, self.tx.size_deadline());
        }
        deadline
    }

    /// The next thing to tell. [`Event::Closed`] is the last.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.next_milestone() {
            return Some(event);
        }
        if let Some(stream) = self.rx.streams.next_readable() {
            return Some(Event::Readable(stream));
        }
        if let Some(stream) = self.tx.queue.pop_low() {
            return Some(Event::BufferedAmountLow(stream));
        }
        if let Some(stream) = self.tx.queue.pop_flushed() {
            return Some(Event::Flushed(stream));
        }
        if let Some(stream) = self.tx.queue.pop_writable() {
            return Some(Event::SendCapacity(stream));
        }
        self.events.next_late()
    }

    /// Queues a message. It is not copied. Messages queued before the handshake is done are sent right after
    /// it.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; nothing has been queued then.
    pub fn send(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        mut payload: Bytes,
        options: SendOptions,
    ) -> Result<(), SendError> {
        self.send_from(now, stream, ppid, &mut payload, options)
    }

    /// As [`send`](Self::send), but takes the payload only if it is accepted, and leaves it where it is otherwise.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; nothing has been queued then.
    pub fn send_from(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        payload: &mut Bytes,
        options: SendOptions,
    ) -> Result<(), SendError> {
        match self.state {
            State::Closed | State::CookieWait | State::CookieEchoed | State::Established => {}
            _ => return Err(SendError::Closed),
        }
        if payload.is_empty() {
            return Err(SendError::Empty);
        }
        if u32::try_from(payload.len()).is_err() {
            return Err(SendError::TooLarge);
        }
        if stream.0 >= self.outbound_streams {
            return Err(SendError::NoSuchStream);
        }
        if self.tx.queue.stream(stream).is_some_and(|stream| stream.reset != ResetState::Open) {
            return Err(SendError::StreamResetting);
        }
        if self.tx.is_busy(stream) {
            return Err(SendError::Busy);
        }
        if !options.over_budget && !self.tx.accepts(stream, payload.len()) {
            return Err(SendError::BufferFull);
        }
        let message = QueuedMessage {
            payload: std::mem::take(payload),
            ppid,
            unordered: options.unordered,
            max_retransmits: options.max_retransmits,
            expires: options.lifetime.and_then(|lifetime| now.checked_add(lifetime)),
            counted: !options.uncounted,
            part: Part::WHOLE,
        };
        if !self.tx.enqueue(stream, message) {
            return Err(SendError::NoSuchStream);
        }
        self.stats.messages_sent += 1;
        Ok(())
    }

    /// Takes the next whole message of a stream, and with it makes room in the receive window. What has
    /// arrived can be read after the end, too.
    pub fn recv(&mut self, stream: StreamId) -> Option<Message> {
        let message = self.rx.recv(stream)?;
        self.stats.messages_received += 1;
        Some(message)
    }

    /// The PPID of the message that [`recv`](Self::recv) would return.
    pub fn peek_ppid(&self, stream: StreamId) -> Option<Ppid> {
        self.rx.streams.peek_ppid(stream)
    }

    /// Payload bytes of the whole messages that [`recv`](Self::recv) has to hand out on this stream.
    pub fn readable_bytes(&self, stream: StreamId) -> usize {
        self.rx.streams.readable_bytes(stream)
    }

    /// Payload bytes that [`send`](Self::send) has accepted on this stream and that were never sent, without those that
    /// are [uncounted](crate::SendOptions::uncounted): the `bufferedAmount` of a data channel.
    pub fn buffered_amount(&self, stream: StreamId) -> usize {
        self.tx.queue.stream(stream).map_or(0, |stream| stream.buffered)
    }

    /// Payload bytes that [`send`](Self::send) has accepted on this stream and that the peer has not
    /// acknowledged, the buffered ones included.
    pub fn unacked_bytes(&self, stream: StreamId) -> usize {
        self.tx.queue.stream(stream).map_or(0, OutStream::unacked)
    }

    /// Whether everything that [`send`](Self::send) has accepted on this stream has been sent once, or given up. If not,
    /// [`Event::Flushed`] tells when it has.
    pub fn is_flushed(&mut self, stream: StreamId) -> bool {
        self.tx.queue.is_flushed(stream)
    }

    /// At which [`buffered_amount`](Self::buffered_amount) to say [`Event::BufferedAmountLow`]. 0 at first,
    /// and again after the stream was reset.
    pub fn set_buffered_amount_low_threshold(&mut self, stream: StreamId, threshold: usize) {
        if let Some(stream) = self.tx.queue.stream_or_new(stream) {
            stream.low_threshold = threshold;
        }
    }

    /// The stream's share of what is sent when other streams have messages too: bytes in proportion to the
    /// priorities, with [`Scheduler::WeightedFair`](crate::Scheduler::WeightedFair). RFC 8831 §6.4 has 128
    /// below normal, 256 normal, 512 high, 1024 extra high; 0 stands for 256, which it is at first, and again
    /// after the stream was reset.
    pub fn set_stream_priority(&mut self, stream: StreamId, priority: u16) {
        self.tx.queue.set_priority(stream, priority);
    }

    /// Whether messages of different streams are interleaved in both directions (RFC 8260): both sides have
    /// said that they can. False before the handshake is done.
    pub fn is_interleaving(&self) -> bool {
        self.interleaving
    }

    /// Payload bytes, over all streams, that are not acknowledged, the never sent ones included.
    pub fn total_buffered(&self) -> usize {
        self.tx.unacked()
    }

    /// The largest message, in bytes, that the stream's budget has room for now. (A larger one is accepted all the same
    /// when nothing of the stream is unacknowledged.)
    pub fn send_capacity(&self, stream: StreamId) -> usize {
        self.tx.capacity(stream)
    }

    /// Whether [`send`](Self::send) would take a message of `len` bytes on this stream, as far as its budget goes. If
    /// not, [`Event::SendCapacity`] tells when it does, as if `send` had been called.
    pub fn has_room_for(&mut self, stream: StreamId, len: usize) -> bool {
        !self.tx.is_busy(stream) && self.tx.accepts(stream, len)
    }

    /// The most that the stream may hold of the send buffer, in bytes as [`Config::send_buffer`] counts them: less than
    /// its budget, if it shall. Without limit at first, and again after the stream was reset. One message may be larger
    /// when it is alone.
    pub fn set_stream_send_buffer(&mut self, stream: StreamId, bytes: usize) {
        self.tx.set_stream_cap(stream, bytes);
    }

    /// Whether the handshake is done and nobody has begun to close.
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        self.state == State::Ended
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        self.tx.fill_stats(&mut stats);
        stats.congestion = self.config.congestion;
        stats.a_rwnd = self.rx.a_rwnd();
        stats.receive_buffer = self.rx.window.size();
        stats
    }

    /// How often the retransmission timer has expired: the one of the counters that its owner may ask for after every time-out.
    pub fn t3_expirations(&self) -> u64 {
        self.stats.t3_expirations
    }

    /// One more retransmission without an answer (RFC 9260 §8.1).
    fn count_error(&mut self) {
        self.error_count = self.error_count.saturating_add(1);
        if self.config.max_retransmissions.is_some_and(|max| self.error_count > max) {
            tracing::debug!(errors = self.error_count, "the peer does not answer");
            self.end(CloseReason::Timeout);
        }
    }

    /// What cookies are signed with.
    fn cookie_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.cookie_secret)
    }
}

/// State and counters; no payload, tags or keys, so that it can be logged.
impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("state", &self.state)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A verification tag: anything but 0 (RFC 9260 §5.3.1).
fn random_tag(rng: &mut StdRng) -> u32 {
    loop {
        let tag = rng.next_u32();
        if tag != 0 {
            return tag;
        }
    }
}

#[cfg(test)]
impl Association {
    /// The tag that the peer must use.
    pub(crate) fn local_tag_for_tests(&self) -> u32 {
        self.local_tag
    }

    /// The TSN of the next new chunk.
    pub(crate) fn next_tsn_for_tests(&self) -> u32 {
        Tsn::wrap(self.tx.last_assigned_tsn() + 1).0
    }

    /// Memory that the receiving side holds.
    pub(crate) fn arrived_for_tests(&self) -> usize {
        self.rx.held()
    }

    /// Pages and streams with state, outgoing and incoming.
    pub(crate) fn stream_memory_for_tests(&self) -> [(usize, usize); 2] {
        [self.tx.queue.memory_for_tests(), self.rx.streams.memory_for_tests()]
    }

    /// What the stream holds of the send buffer.
    pub(crate) fn held_for_tests(&self, stream: StreamId) -> usize {
        self.tx.queue.stream(stream).map_or(0, |stream| stream.held.bytes())
    }

    /// As if both sides had agreed on so many streams.
    pub(crate) fn set_streams_for_tests(&mut self, outbound: u16, inbound: u16) {
        self.outbound_streams = outbound;
        self.inbound_streams = inbound;
        self.rx.set_inbound_streams(inbound);
    }

    /// As if the peer had not announced RE-CONFIG.
    pub(crate) fn forget_reconfig_for_tests(&mut self) {
        self.peer_capabilities.reconfig = false;
    }
}
