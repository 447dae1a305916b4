//! Re-configuration (RFC 6525): our requests, one at a time; `answers` has the peer's.
//!
//! ```text
//! wanted ──may be sent──► request sent ──performed, nothing to do, or the peer's own request──► done
//!                           │   ▲  └────denied, wrong, bad number──► failed
//!                  in progress  └ after an RTO, under the same number
//! ```
//!
//! | we ask for | it may be sent when | done by |
//! |---|---|---|
//! | reset of our side of streams | all of them, and everything sent so far, is acknowledged | the answer |
//! | reset of the peer's side | at once | the answer, or the peer's request that names ours (§5.2.2, E1) |
//! | more outgoing streams | at once | the answer |
//! | more incoming streams | at once | the answer, or the peer's request for as many |
//!
//! A reset of our side waits until everything up to its "Sender's Last Assigned TSN" is acknowledged, other streams
//! included, so that no peer has a reason to say "in progress": a lost answer to a repeated request could hide
//! that it has been performed meanwhile, and under another number (which older dcSCTP needs, since it repeats "in
//! progress" for the same one for ever) it would be performed twice.
//!
//! If both sides want something of the other's at once, each would wait for the other's second request, and none may
//! have two under way (§5.1.1). The one with the greater tag then says "request already in progress", fulfils nothing
//! until its own is done, and is asked again.
//!
//! SSN/TSN resets (§5.1.4) are not asked for: they throw away what is in flight in both directions, which a data
//! channel never wants.

mod answers;

use std::collections::BTreeSet;
use std::time::Instant;

use self::answers::Answers;
use super::Association;
use super::state::State;
use crate::error::{AddStreamsError, ResetError};
use crate::timer::Timer;
use crate::types::{RequestSn, StreamId, Tsn};
use crate::wire::chunk::ChunkType;
use crate::wire::param::ParamType;
use crate::wire::reconfig::{self, ResetResult};
use crate::wire::writer::PacketWriter;

/// Chunk and parameter headers of a reset request, and a little.
const RESET_OVERHEAD: usize = 24;

/// How often a peer may say that its request goes first.
const MAX_COLLISIONS: u8 = 8;

/// What a request of ours asks for. `answers`: the request of the peer's that it fulfils.
#[derive(Debug)]
enum Ask {
    /// `last_assigned_tsn` is unwrapped; it is sent once that is acknowledged.
    ResetOutgoing {
        streams: Vec<StreamId>,
        last_assigned_tsn: u64,
        answers: Option<RequestSn>,
    },
    ResetIncoming(Vec<StreamId>),
    AddOutgoing {
        count: u16,
        answers: Option<RequestSn>,
    },
    AddIncoming(u16),
}

/// Our request that is not answered for good.
#[derive(Debug)]
struct Request {
    ask: Ask,
    sn: RequestSn,
    due: bool,
    /// The last answer was "in progress": no error if no other comes.
    in_progress: bool,
}

impl Request {
    /// The peer's request that this one fulfils.
    fn answers(&self) -> Option<RequestSn> {
        match self.ask {
            Ask::ResetOutgoing { answers, .. } | Ask::AddOutgoing { answers, .. } => answers,
            Ask::ResetIncoming(_) | Ask::AddIncoming(_) => None,
        }
    }
}

/// What waits for its turn. Resets of our own side wait in the send queue.
#[derive(Debug, Default)]
struct Wanted {
    reset_incoming: BTreeSet<StreamId>,
    add_outgoing: u16,
    add_incoming: u16,
    /// How often in a row the peer's request went first.
    collisions: u8,
}

/// State of the re-configuration.
#[derive(Debug)]
pub(crate) struct Reconfig {
    timer: Timer,
    request: Option<Request>,
    next_sn: RequestSn,
    wanted: Wanted,
    answers: Answers,
}

impl Reconfig {
    /// Both sides count from their initial TSN (RFC 6525 §4.1).
    pub(crate) fn new(local_initial_tsn: Tsn, peer_initial_tsn: Tsn) -> Self {
        Self {
            timer: Timer::default(),
            request: None,
            next_sn: RequestSn(local_initial_tsn.0),
            wanted: Wanted::default(),
            answers: Answers::new(RequestSn(peer_initial_tsn.0)),
        }
    }

    /// The numbers are known, or new after a restart. What the owner wants stays.
    pub(crate) fn adopt(&mut self, local_initial_tsn: Tsn, peer_initial_tsn: Tsn) {
        let wanted = std::mem::take(&mut self.wanted);
        *self = Self { wanted, ..Self::new(local_initial_tsn, peer_initial_tsn) };
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timer.deadline()
    }

    /// Whether a request of ours was sent and is not answered for good.
    pub(crate) fn is_waiting(&self) -> bool {
        self.request.as_ref().is_some_and(|request| !request.due)
    }

    /// Whether a request of ours can be sent when so much is acknowledged.
    pub(crate) fn is_due(&self, cumulative_tsn_ack: u64) -> bool {
        self.request.as_ref().is_some_and(|request| {
            request.due
                && match request.ask {
                    Ask::ResetOutgoing { last_assigned_tsn, .. } => last_assigned_tsn <= cumulative_tsn_ack,
                    _ => true,
                }
        })
    }

    /// Whether something that may be asked for at once waits, though no request is under way.
    pub(crate) fn is_held_up(&self) -> bool {
        let Wanted { reset_incoming, add_outgoing, add_incoming, .. } = &self.wanted;
        let wanted = !reset_incoming.is_empty() || *add_outgoing > 0 || *add_incoming > 0;
        wanted && self.request.is_none() && self.answers.reset_wish().is_none()
    }
}

impl Association {
    /// How many streams we may send on: ids below this. What we want before the handshake, what both sides agreed
    /// on after it, and more with [`add_outgoing_streams`](Self::add_outgoing_streams).
    pub fn outbound_streams(&self) -> u16 {
        self.outbound_streams
    }

    /// How many streams the peer may send on.
    pub fn inbound_streams(&self) -> u16 {
        self.inbound_streams
    }

    /// Resets our side of a stream, once all that was sent on it is acknowledged (RFC 6525 §5.1.2). Until then the
    /// stream takes no messages. Ends in one of [`Event::StreamsResetDone`](crate::Event::StreamsResetDone) and
    /// [`Event::StreamsResetFailed`](crate::Event::StreamsResetFailed); asking again in the meantime changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// See [`ResetError`].
    pub fn reset_stream(&mut self, _now: Instant, stream: StreamId) -> Result<(), ResetError> {
        self.may_reset(stream, self.outbound_streams)?;
        self.tx.abandon_open(stream, &mut self.stats);
        self.tx.queue.drain(stream);
        Ok(())
    }

    /// Asks the peer to reset its side of a stream (RFC 6525 §5.1.3). Ends in one of
    /// [`Event::IncomingResetDone`](crate::Event::IncomingResetDone) and
    /// [`Event::IncomingResetFailed`](crate::Event::IncomingResetFailed); the reset itself, if there is one, is
    /// told as [`Event::StreamsResetByPeer`](crate::Event::StreamsResetByPeer). Data channels have no use for it:
    /// their two sides reset their own (RFC 8831 §6.7).
    ///
    /// # Errors
    ///
    /// See [`ResetError`].
    pub fn reset_incoming_stream(&mut self, _now: Instant, stream: StreamId) -> Result<(), ResetError> {
        self.may_reset(stream, self.inbound_streams)?;
        self.reconfig.wanted.reset_incoming.insert(stream);
        Ok(())
    }

    fn may_reset(&self, stream: StreamId, limit: u16) -> Result<(), ResetError> {
        match self.state {
            State::Closed | State::CookieWait | State::CookieEchoed => {}
            State::Established if self.peer_capabilities.reconfig => {}
            State::Established => return Err(ResetError::NotSupported),
            _ => return Err(ResetError::Closed),
        }
        if stream.0 < limit { Ok(()) } else { Err(ResetError::NoSuchStream) }
    }

    /// Asks for so many more streams to send on, after those there are (RFC 6525 §5.1.5). Ends in one of
    /// [`Event::StreamsChanged`](crate::Event::StreamsChanged) and
    /// [`Event::AddStreamsFailed`](crate::Event::AddStreamsFailed). Requests that wait are put together.
    ///
    /// # Errors
    ///
    /// See [`AddStreamsError`].
    pub fn add_outgoing_streams(&mut self, _now: Instant, count: u16) -> Result<(), AddStreamsError> {
        let there = self.may_add(self.outbound_streams, self.reconfig.wanted.add_outgoing, count)?;
        self.reconfig.wanted.add_outgoing = there;
        Ok(())
    }

    /// Asks the peer to add so many streams to send on (RFC 6525 §5.1.6). Ends as
    /// [`add_outgoing_streams`](Self::add_outgoing_streams) does.
    ///
    /// # Errors
    ///
    /// See [`AddStreamsError`].
    pub fn add_incoming_streams(&mut self, _now: Instant, count: u16) -> Result<(), AddStreamsError> {
        let there = self.may_add(self.inbound_streams, self.reconfig.wanted.add_incoming, count)?;
        if self.inbound_streams.saturating_add(there) > self.config.inbound_streams {
            return Err(AddStreamsError::TooMany);
        }
        self.reconfig.wanted.add_incoming = there;
        Ok(())
    }

    /// How many are wanted with these.
    fn may_add(&self, streams: u16, wanted: u16, count: u16) -> Result<u16, AddStreamsError> {
        match self.state {
            State::Established if self.peer_capabilities.reconfig => {}
            State::Established => return Err(AddStreamsError::NotSupported),
            _ => return Err(AddStreamsError::NotEstablished),
        }
        let wanted = wanted.checked_add(count).ok_or(AddStreamsError::TooMany)?;
        streams.checked_add(wanted).map(|_| wanted).ok_or(AddStreamsError::TooMany)
    }

    /// RFC 6525 §5.2.7.
    pub(super) fn on_response(&mut self, now: Instant, sn: RequestSn, result: ResetResult) {
        let Some(mut request) = self.reconfig.request.take_if(|request| request.sn == sn) else {
            self.stats.dropped_chunks += 1;
            return;
        };
        self.reconfig.timer.stop();
        self.reconfig.timer.reset_backoff();
        match result {
            ResetResult::NOTHING_TO_DO | ResetResult::PERFORMED => self.request_done(request.ask),
            ResetResult::IN_PROGRESS => {
                request.in_progress = true;
                self.reconfig.timer.start(now, self.tx.rto.rto(), self.backoff);
                self.reconfig.request = Some(request);
            }
            // Both sides want something of each other, and the peer's goes first.
            ResetResult::REQUEST_IN_PROGRESS if self.reconfig.wanted.collisions < MAX_COLLISIONS => {
                match request.ask {
                    Ask::ResetIncoming(streams) => self.reconfig.wanted.reset_incoming.extend(streams),
                    Ask::AddIncoming(count) => {
                        let wanted = &mut self.reconfig.wanted.add_incoming;
                        *wanted = wanted.saturating_add(count);
                    }
                    ask => return self.request_failed(ask),
                }
                self.reconfig.wanted.collisions += 1;
            }
            refused => {
                tracing::debug!(result = refused.0, "the peer refused a re-configuration");
                self.request_failed(request.ask);
            }
        }
    }

    fn request_done(&mut self, ask: Ask) {
        self.reconfig.wanted.collisions = 0;
        match ask {
            Ask::ResetOutgoing { streams, answers, .. } => {
                self.reconfig.answers.settle(answers, ResetResult::PERFORMED);
                for &stream in &streams {
                    self.tx.queue.reset_done(stream);
                }
                self.events.reset_done(&streams);
            }
            Ask::ResetIncoming(streams) => self.events.incoming_reset_done(&streams),
            Ask::AddOutgoing { count, answers } => {
                self.reconfig.answers.settle(answers, ResetResult::PERFORMED);
                self.outbound_streams = self.outbound_streams.saturating_add(count);
                self.events.streams_changed(self.outbound_streams, self.inbound_streams);
            }
            // Told when the peer's request added them.
            Ask::AddIncoming(_) => {}
        }
    }

    fn request_failed(&mut self, ask: Ask) {
        match ask {
            Ask::ResetOutgoing { streams, answers, .. } => {
                self.reconfig.answers.settle(answers, ResetResult::DENIED);
                for &stream in &streams {
                    self.tx.queue.reset_failed(stream);
                }
                self.events.reset_failed(&streams);
            }
            Ask::ResetIncoming(streams) => self.events.incoming_reset_failed(&streams),
            Ask::AddOutgoing { count, answers: None } => self.events.add_streams_failed(count, 0),
            // It was the peer's wish.
            Ask::AddOutgoing { answers, .. } => self.reconfig.answers.settle(answers, ResetResult::DENIED),
            Ask::AddIncoming(count) => self.events.add_streams_failed(0, count),
        }
    }

    /// The peer's own request fulfils ours (RFC 6525 §5.2.2, E1).
    fn fulfilled(&mut self, by: impl FnOnce(&Request) -> bool) {
        if let Some(request) = self.reconfig.request.take_if(|request| by(request)) {
            self.reconfig.timer.stop();
            self.reconfig.timer.reset_backoff();
            self.request_done(request.ask);
        }
    }

    pub(super) fn on_reconfig_timer(&mut self, now: Instant) {
        if !self.reconfig.timer.expired(now) {
            return;
        }
        let Some(request) = &mut self.reconfig.request else { return };
        request.due = true;
        // RFC 6525 §5.2.7: "in progress" is no error.
        if !std::mem::take(&mut request.in_progress) {
            self.count_error();
        }
    }

    /// Writes answers, and our request when there is one to make.
    pub(super) fn write_reconfig(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        if !self.peer_capabilities.reconfig {
            self.refuse_wanted();
        }
        if self.reconfig.request.is_none() && self.state == State::Established {
            self.reconfig.request = self.next_ask(packet.room()).map(|ask| {
                let sn = self.reconfig.next_sn;
                self.reconfig.next_sn = sn.add(1);
                Request { ask, sn, due: true, in_progress: false }
            });
        }
        let last_peer_sn = self.reconfig.answers.last_sn();
        let due = self.reconfig.is_due(self.tx.outstanding.cumulative_tsn_ack());
        let request = self.reconfig.request.as_mut().filter(|_| due);
        // RFC 6525 §3.1: an answer and a reset of our side go in one chunk; nothing else may.
        let reset = request.as_ref().is_some_and(|request| matches!(request.ask, Ask::ResetOutgoing { .. }));
        let together = reset && self.reconfig.answers.has_one();
        // Mostly there is nothing to say, and nothing is allocated.
        let mut value = Vec::new();
        self.reconfig.answers.push_responses(&mut value);
        if !together && !value.is_empty() {
            if packet.chunk(ChunkType::RE_CONFIG, 0, &[&value]) {
                self.reconfig.answers.sent();
            }
            value.clear();
        }
        let Some(request) = request else { return };
        match &request.ask {
            Ask::ResetOutgoing { streams, last_assigned_tsn, answers } => {
                let last = Tsn::wrap(*last_assigned_tsn);
                let response = answers.unwrap_or(last_peer_sn);
                reconfig::push_outgoing_reset(&mut value, request.sn, response, last, streams);
            }
            Ask::ResetIncoming(streams) => {
                reconfig::push_incoming_reset(&mut value, request.sn, streams);
            }
            &Ask::AddOutgoing { count, .. } => {
                reconfig::push_add_streams(&mut value, ParamType::ADD_OUTGOING_STREAMS, request.sn, count);
            }
            &Ask::AddIncoming(count) => {
                reconfig::push_add_streams(&mut value, ParamType::ADD_INCOMING_STREAMS, request.sn, count);
            }
        }
        if packet.chunk(ChunkType::RE_CONFIG, 0, &[&value]) {
            if together {
                self.reconfig.answers.sent();
            }
            request.due = false;
            self.reconfig.timer.start(now, self.tx.rto.rto(), self.backoff);
        }
    }

    /// What to ask for next, if it fits the packet: what the peer waits for, then resets, then streams.
    fn next_ask(&mut self, room: usize) -> Option<Ask> {
        let max = room.saturating_sub(RESET_OVERHEAD) / 2;
        let last_assigned_tsn = self.tx.last_assigned_tsn();
        if let Some((answers, count)) = self.reconfig.answers.take_add_wish() {
            return Some(Ask::AddOutgoing { count, answers: Some(answers) });
        }
        if let Some((sn, streams)) = self.reconfig.answers.reset_wish() {
            // Its streams go into one request, and others wait until then.
            if streams.len() <= max && self.tx.queue.take_all_drained(streams) {
                let answers = Some(sn);
                let streams = self.reconfig.answers.take_reset_wish();
                return Some(Ask::ResetOutgoing { streams, last_assigned_tsn, answers });
            }
        } else if self.tx.queue.any_drained() && max > 0 {
            let streams = self.tx.queue.take_drained(max);
            return Some(Ask::ResetOutgoing { streams, last_assigned_tsn, answers: None });
        }
        if self.reconfig.answers.reset_wish().is_some() {
            // What only the peer can fulfil would wait for the peer, and the peer for us.
            return None;
        }
        let wanted = &mut self.reconfig.wanted;
        if !wanted.reset_incoming.is_empty() && max > 0 {
            let streams: Vec<StreamId> = wanted.reset_incoming.iter().take(max).copied().collect();
            wanted.reset_incoming.retain(|stream| !streams.contains(stream));
            return Some(Ask::ResetIncoming(streams));
        }
        if wanted.add_outgoing > 0 {
            return Some(Ask::AddOutgoing { count: std::mem::take(&mut wanted.add_outgoing), answers: None });
        }
        (wanted.add_incoming > 0).then(|| Ask::AddIncoming(std::mem::take(&mut wanted.add_incoming)))
    }

    /// The peer can't re-configure: what was asked for before that was known has failed.
    fn refuse_wanted(&mut self) {
        if self.tx.queue.any_drained() {
            let streams = self.tx.queue.take_drained(usize::MAX);
            for &stream in &streams {
                self.tx.queue.reset_failed(stream);
            }
            self.events.reset_failed(&streams);
        }
        if !self.reconfig.wanted.reset_incoming.is_empty() {
            let streams = std::mem::take(&mut self.reconfig.wanted.reset_incoming);
            self.events.incoming_reset_failed(&Vec::from_iter(streams));
        }
    }
}
