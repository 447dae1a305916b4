//! Stream reset (RFC 6525): our outgoing resets, one request at a time, and the peer's.
//!
//! ```text
//! ours    Draining ──all acknowledged──► request sent ──performed, nothing to do──► done
//!                                          │   ▲  └────denied, wrong, bad number──► failed
//!                                in progress   └ after an RTO
//! peer's  request ──► all up to its last TSN here? ──yes──► reset, performed
//!                                                  └─no───► in progress; it asks again
//! ```
//!
//! "In progress" (RFC 6525 §5.2.2, E2) is answered without keeping the request: the sender asks again by its
//! timer (§5.2.7, H2), and the reset is performed, and told to the owner, exactly with the answer that says
//! so.
//!
//! Our own request waits until everything up to its "Sender's Last Assigned TSN" is acknowledged, other streams
//! included, so that no peer has a reason to say "in progress": a lost answer to a repeated request could hide
//! that it has been performed meanwhile, and under another number (which older dcSCTP needs, since it repeats "in
//! progress" for the same one for ever) it would be performed twice.

use std::time::Instant;

use super::Association;
use super::state::State;
use crate::timer::Timer;
use crate::types::{RequestSn, StreamId, Tsn};
use crate::wire::chunk::{ChunkType, RawChunk};
use crate::wire::reconfig::{self, ReconfigParam, ResetResult, StreamList};
use crate::wire::writer::PacketWriter;

/// Our request that is not answered for good.
#[derive(Debug)]
struct Request {
    streams: Vec<StreamId>,
    sn: RequestSn,
    /// Unwrapped. It is sent once this is acknowledged.
    last_assigned_tsn: u64,
    due: bool,
    /// The last answer was "in progress": no error if no other comes.
    in_progress: bool,
}

/// State of the resets.
#[derive(Debug)]
pub(crate) struct Reconfig {
    timer: Timer,
    request: Option<Request>,
    next_sn: RequestSn,
    /// The peer's next request.
    expected_sn: RequestSn,
    last_result: ResetResult,
    /// Answers to send, at most two: a chunk has no more requests.
    responses: Vec<(RequestSn, ResetResult)>,
}

impl Reconfig {
    /// Both sides count from their initial TSN (RFC 6525 §4.1).
    pub(crate) fn new(local_initial_tsn: Tsn, peer_initial_tsn: Tsn) -> Self {
        Self {
            timer: Timer::default(),
            request: None,
            next_sn: RequestSn(local_initial_tsn.0),
            expected_sn: RequestSn(peer_initial_tsn.0),
            last_result: ResetResult::NOTHING_TO_DO,
            responses: Vec::new(),
        }
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
        self.request
            .as_ref()
            .is_some_and(|request| request.due && request.last_assigned_tsn <= cumulative_tsn_ack)
    }
}

impl Association {
    pub(super) fn on_reconfig(&mut self, now: Instant, chunk: &RawChunk<'_>) {
        let Some(params) = reconfig::parse(chunk.value) else {
            self.stats.dropped_chunks += 1;
            tracing::debug!("RE-CONFIG does not parse");
            return;
        };
        if params.iter().any(|param| !matches!(param, ReconfigParam::Response { .. })) {
            self.reconfig.responses.clear();
            // RFC 6525 §5.2.1: a SACK should go with the answer.
            self.rx.sack.request();
        }
        for param in params {
            match param {
                ReconfigParam::OutgoingReset { request, last_assigned_tsn, streams } => {
                    let result = self.answer(request, |association| {
                        association.reset_incoming(last_assigned_tsn, streams)
                    });
                    self.reconfig.responses.push((request, result));
                }
                ReconfigParam::Other { request } => {
                    let result = self.answer(request, |_| ResetResult::DENIED);
                    self.reconfig.responses.push((request, result));
                }
                ReconfigParam::Response { request, result } => self.on_response(now, request, result),
            }
        }
    }

    /// The result of a request: processed when it is the next, repeated when it is the last again.
    fn answer(
        &mut self,
        request: RequestSn,
        process: impl FnOnce(&mut Association) -> ResetResult,
    ) -> ResetResult {
        let expected = self.reconfig.expected_sn;
        if request == expected {
            self.reconfig.expected_sn = expected.add(1);
        } else if expected.distance_from(request) != 1 {
            self.stats.dropped_chunks += 1;
            return ResetResult::BAD_SEQUENCE_NUMBER;
        } else if self.reconfig.last_result != ResetResult::IN_PROGRESS {
            return self.reconfig.last_result;
        }
        let result = process(self);
        self.reconfig.last_result = result;
        result
    }

    /// RFC 6525 §5.2.2.
    fn reset_incoming(&mut self, last_assigned_tsn: Tsn, streams: StreamList<'_>) -> ResetResult {
        if streams.iter().any(|stream| stream.0 >= self.inbound_streams) {
            return ResetResult::WRONG_SSN;
        }
        let cumulative = self.rx.tracker.cumulative();
        if last_assigned_tsn.unwrap_near(cumulative) > cumulative {
            return ResetResult::IN_PROGRESS;
        }
        if streams.is_all() {
            let mut all = self.rx.streams.ids();
            all.extend(self.tx.queue.streams().map(|stream| stream.id));
            for stream in all {
                self.reset_one(stream);
            }
        } else {
            for stream in streams.iter() {
                self.reset_one(stream);
            }
        }
        ResetResult::PERFORMED
    }

    fn reset_one(&mut self, stream: StreamId) {
        self.rx.reset_stream(stream);
        self.events.reset_by_peer(stream);
    }

    /// RFC 6525 §5.2.7.
    fn on_response(&mut self, now: Instant, sn: RequestSn, result: ResetResult) {
        let Some(mut request) = self.reconfig.request.take_if(|request| request.sn == sn) else {
            self.stats.dropped_chunks += 1;
            return;
        };
        self.reconfig.timer.stop();
        self.reconfig.timer.reset_backoff();
        match result {
            ResetResult::NOTHING_TO_DO | ResetResult::PERFORMED => {
                for &stream in &request.streams {
                    self.tx.queue.reset_done(stream);
                }
                self.events.reset_done(&request.streams);
            }
            ResetResult::IN_PROGRESS => {
                request.in_progress = true;
                self.reconfig.timer.start(now, self.tx.rto.rto(), self.backoff);
                self.reconfig.request = Some(request);
            }
            refused => {
                tracing::debug!(result = refused.0, "the peer refused to reset streams");
                for &stream in &request.streams {
                    self.tx.queue.reset_failed(stream);
                }
                self.events.reset_failed(&request.streams);
            }
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
        if !self.reconfig.responses.is_empty() {
            let mut value = Vec::with_capacity(24);
            for &(request, result) in &self.reconfig.responses {
                reconfig::push_response(&mut value, request, result);
            }
            if packet.chunk(ChunkType::RE_CONFIG, 0, &[&value]) {
                self.reconfig.responses.clear();
            }
        }
        if !self.peer_capabilities.reconfig && self.tx.queue.any_drained() {
            self.refuse_resets();
        }
        if self.reconfig.request.is_none() && self.tx.queue.any_drained() && self.state == State::Established
        {
            // Chunk and parameter headers take 20 bytes.
            let max = packet.room().saturating_sub(24) / 2;
            let streams = self.tx.queue.take_drained(max);
            if !streams.is_empty() {
                let sn = self.reconfig.next_sn;
                self.reconfig.next_sn = sn.add(1);
                self.reconfig.request = Some(Request {
                    streams,
                    sn,
                    last_assigned_tsn: self.tx.last_assigned_tsn(),
                    due: true,
                    in_progress: false,
                });
            }
        }
        let due = self.reconfig.is_due(self.tx.outstanding.cumulative_tsn_ack());
        if let Some(request) = self.reconfig.request.as_mut().filter(|_| due) {
            let mut value = Vec::with_capacity(16 + 2 * request.streams.len());
            let last_peer_sn = self.reconfig.expected_sn.add(u32::MAX);
            reconfig::push_outgoing_reset(
                &mut value,
                request.sn,
                last_peer_sn,
                Tsn::wrap(request.last_assigned_tsn),
                &request.streams,
            );
            if packet.chunk(ChunkType::RE_CONFIG, 0, &[&value]) {
                request.due = false;
                self.reconfig.timer.start(now, self.tx.rto.rto(), self.backoff);
            }
        }
    }

    /// The peer can't reset streams: what was asked for before that was known has failed.
    fn refuse_resets(&mut self) {
        let streams = self.tx.queue.take_drained(usize::MAX);
        for &stream in &streams {
            self.tx.queue.reset_failed(stream);
        }
        self.events.reset_failed(&streams);
    }
}
