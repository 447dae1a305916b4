//! What the peer asks for (RFC 6525 §5.2).
//!
//! | request | answer |
//! |---|---|
//! | reset of the peer's side | performed once all up to its last TSN is here, until then "in progress" |
//! | reset of our side | our own request for the same streams, which names the peer's; "nothing to do" if they are reset |
//! | more streams of the peer's | performed up to [`Config::inbound_streams`](crate::Config::inbound_streams), then denied |
//! | more streams of ours | our own request for as many, up to [`Config::outbound_streams`](crate::Config::outbound_streams) |
//! | SSN/TSN reset | denied: it would throw away what is in flight |
//! | a number that is neither the next nor among the last | "bad sequence number" |
//!
//! Answers are remembered for the last chunk with requests, and repeated. "In progress" is said without keeping the
//! request: the sender asks again by its timer (§5.2.7, H2), and the reset is performed, and told to the owner,
//! exactly with the answer that says so.

use std::time::Instant;

use super::super::Association;
use super::super::state::State;
use super::Ask;
use crate::types::{RequestSn, StreamId, Tsn};
use crate::wire::cause::CauseCode;
use crate::wire::chunk::RawChunk;
use crate::wire::reconfig::{self, ReconfigError, ReconfigParam, ResetResult, StreamList};

/// Streams of ours that the peer may ask us to reset at a time: they must fit one request in the smallest packet.
const MAX_WISHED_STREAMS: usize = 256;

/// What the peer wants of our side. Its next request comes when this one is answered, so there is one.
#[derive(Debug)]
enum Wish {
    Reset { sn: RequestSn, streams: Vec<StreamId> },
    Add { sn: RequestSn, count: u16 },
}

/// The peer's requests.
#[derive(Debug)]
pub(super) struct Answers {
    /// The peer's next request.
    expected_sn: RequestSn,
    /// What the requests of the last chunk were answered, at most two. "In progress" also stands for those that a
    /// request of ours answers.
    remembered: Vec<(RequestSn, ResetResult)>,
    wish: Option<Wish>,
    /// Answers to send, at most two: a chunk has no more requests.
    responses: Vec<(RequestSn, ResetResult)>,
}

impl Answers {
    pub(super) fn new(expected_sn: RequestSn) -> Self {
        Self { expected_sn, remembered: Vec::new(), wish: None, responses: Vec::new() }
    }

    /// The number of the peer's last request.
    pub(super) fn last_sn(&self) -> RequestSn {
        self.expected_sn.add(u32::MAX)
    }

    pub(super) fn reset_wish(&self) -> Option<(RequestSn, &[StreamId])> {
        match &self.wish {
            Some(Wish::Reset { sn, streams }) => Some((*sn, streams)),
            _ => None,
        }
    }

    pub(super) fn take_reset_wish(&mut self) -> Vec<StreamId> {
        match self.wish.take() {
            Some(Wish::Reset { streams, .. }) => streams,
            other => {
                self.wish = other;
                Vec::new()
            }
        }
    }

    pub(super) fn push_responses(&self, value: &mut Vec<u8>) {
        for &(request, result) in &self.responses {
            reconfig::push_response(value, request, result);
        }
    }

    /// A request of ours that answered one of the peer's has come to its end.
    pub(super) fn settle(&mut self, request: Option<RequestSn>, result: ResetResult) {
        if let Some(entry) = self.remembered.iter_mut().find(|(sn, _)| Some(*sn) == request) {
            entry.1 = result;
        }
    }

    /// Whether there is one answer to send, so that a request may go with it.
    pub(super) fn has_one(&self) -> bool {
        self.responses.len() == 1
    }

    /// The answers have been written.
    pub(super) fn sent(&mut self) {
        self.responses.clear();
    }

    pub(super) fn take_add_wish(&mut self) -> Option<(RequestSn, u16)> {
        let &Some(Wish::Add { sn, count }) = &self.wish else { return None };
        self.wish = None;
        Some((sn, count))
    }
}

impl Association {
    pub(in super::super) fn on_reconfig(&mut self, now: Instant, chunk: &RawChunk<'_>) {
        let reconfigs = match reconfig::parse(chunk.value) {
            Ok(reconfigs) => reconfigs,
            Err(error) => {
                self.stats.dropped_chunks += 1;
                tracing::debug!(?error, "RE-CONFIG is not taken");
                if error == ReconfigError::Combination {
                    // RFC 6525 §3.1
                    self.control.error(CauseCode::PROTOCOL_VIOLATION, b"RE-CONFIG parameters");
                }
                return;
            }
        };
        if !reconfigs.unrecognized.is_empty() {
            self.control.error(CauseCode::UNRECOGNIZED_PARAMETERS, &reconfigs.unrecognized);
        }
        let expected = self.reconfig.answers.expected_sn;
        let requests = reconfigs.params.iter().filter_map(ReconfigParam::request);
        if requests.clone().count() > 0 {
            self.reconfig.answers.responses.clear();
            // RFC 6525 §5.2.1: a SACK should go with the answer.
            self.rx.sack.request();
        }
        if requests.clone().any(|request| request == expected) {
            self.reconfig.answers.remembered.clear();
        }
        for param in reconfigs.params {
            match param {
                ReconfigParam::OutgoingReset { request, response, last_assigned_tsn, streams } => {
                    self.fulfilled(|ours| matches!(ours.ask, Ask::ResetIncoming(_)) && ours.sn == response);
                    self.answer(request, |association, _| {
                        Some(association.reset_incoming(last_assigned_tsn, streams))
                    });
                }
                ReconfigParam::IncomingReset { request, streams } => {
                    self.answer(request, |association, again| {
                        association.reset_outgoing(request, streams, again)
                    });
                }
                ReconfigParam::AssociationReset { request } => {
                    self.answer(request, |_, _| Some(ResetResult::DENIED));
                }
                ReconfigParam::AddOutgoing { request, count } => {
                    self.answer(request, |association, _| Some(association.add_incoming(count)));
                }
                ReconfigParam::AddIncoming { request, count } => {
                    self.answer(request, |association, again| {
                        association.add_outgoing(request, count, again)
                    });
                }
                ReconfigParam::Response { request, result } => self.on_response(now, request, result),
            }
        }
    }

    /// Answers a request: it is processed when it is the next, and the answer repeated when it comes again.
    /// `process` is told whether it does, and returns `None` when a request of ours will be the answer.
    fn answer(
        &mut self,
        request: RequestSn,
        process: impl FnOnce(&mut Association, bool) -> Option<ResetResult>,
    ) {
        let answers = &mut self.reconfig.answers;
        let known = answers.remembered.iter().position(|&(sn, _)| sn == request);
        let result = if request == answers.expected_sn {
            answers.expected_sn = request.add(1);
            let result = process(self, false);
            self.reconfig.answers.remembered.push((request, result.unwrap_or(ResetResult::IN_PROGRESS)));
            result
        } else if let Some(&(_, result)) = known.and_then(|at| answers.remembered.get(at)) {
            if result == ResetResult::IN_PROGRESS {
                let result = process(self, true);
                let entry = known.and_then(|at| self.reconfig.answers.remembered.get_mut(at));
                if let (Some(entry), Some(result)) = (entry, result) {
                    entry.1 = result;
                }
                result
            } else {
                Some(result)
            }
        } else {
            self.stats.dropped_chunks += 1;
            Some(ResetResult::BAD_SEQUENCE_NUMBER)
        };
        if let Some(result) = result {
            self.reconfig.answers.responses.push((request, result));
        }
    }

    /// RFC 6525 §5.2.2: the peer resets its side.
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

    /// RFC 6525 §5.2.3: the peer wants our side reset. "All" stands for those that are not at their beginning.
    fn reset_outgoing(
        &mut self,
        request: RequestSn,
        streams: StreamList<'_>,
        again: bool,
    ) -> Option<ResetResult> {
        if again {
            return self.wish_again(request);
        }
        if streams.iter().any(|stream| stream.0 >= self.outbound_streams) {
            return Some(ResetResult::WRONG_SSN);
        }
        let streams: Vec<StreamId> = if streams.is_all() {
            self.tx.queue.streams().map(|stream| stream.id).collect()
        } else {
            streams.iter().collect()
        };
        let under_way = match self.reconfig.request.as_ref().map(|request| &request.ask) {
            Some(Ask::ResetOutgoing { streams, .. }) => streams.as_slice(),
            _ => &[],
        };
        let queue = &self.tx.queue;
        let is_fresh = |id: &StreamId| queue.stream(*id).is_none_or(|stream| stream.is_fresh());
        if streams.iter().all(|id| under_way.contains(id)) || streams.iter().all(is_fresh) {
            return Some(ResetResult::NOTHING_TO_DO);
        }
        if !self.may_ask() || streams.len() > MAX_WISHED_STREAMS {
            return Some(ResetResult::DENIED);
        }
        if self.goes_first() {
            return Some(ResetResult::REQUEST_IN_PROGRESS);
        }
        for &stream in &streams {
            self.tx.abandon_open(stream, &mut self.stats);
            self.tx.queue.drain(stream);
        }
        self.events.reset_requested(&streams);
        self.reconfig.answers.wish = Some(Wish::Reset { sn: request, streams });
        None
    }

    /// RFC 6525 §5.2.5: the peer adds streams.
    fn add_incoming(&mut self, count: u16) -> ResetResult {
        if count == 0 {
            return ResetResult::NOTHING_TO_DO;
        }
        let Some(streams) =
            self.inbound_streams.checked_add(count).filter(|&streams| streams <= self.config.inbound_streams)
        else {
            return ResetResult::DENIED;
        };
        self.inbound_streams = streams;
        self.rx.set_inbound_streams(streams);
        self.events.streams_changed(self.outbound_streams, self.inbound_streams);
        self.fulfilled(|ours| matches!(ours.ask, Ask::AddIncoming(asked) if asked == count));
        ResetResult::PERFORMED
    }

    /// RFC 6525 §5.2.6: the peer wants us to add streams.
    fn add_outgoing(&mut self, request: RequestSn, count: u16, again: bool) -> Option<ResetResult> {
        if again {
            return self.wish_again(request);
        }
        if count == 0 {
            return Some(ResetResult::NOTHING_TO_DO);
        }
        let streams = self.outbound_streams.checked_add(count);
        let within = streams.is_some_and(|streams| streams <= self.config.outbound_streams);
        if !within || !self.may_ask() {
            return Some(ResetResult::DENIED);
        }
        if self.goes_first() {
            return Some(ResetResult::REQUEST_IN_PROGRESS);
        }
        self.reconfig.answers.wish = Some(Wish::Add { sn: request, count });
        None
    }

    /// Whether the peer has to fulfil a request of ours before we fulfil its.
    fn goes_first(&self) -> bool {
        let ask = self.reconfig.request.as_ref().map(|request| &request.ask);
        matches!(ask, Some(Ask::ResetIncoming(_) | Ask::AddIncoming(_))) && self.local_tag > self.peer_tag
    }

    /// Whether requests of ours are sent and understood.
    fn may_ask(&self) -> bool {
        self.state == State::Established && self.peer_capabilities.reconfig
    }

    /// The peer repeats a request that a request of ours is to answer.
    fn wish_again(&mut self, request: RequestSn) -> Option<ResetResult> {
        let waits = match &self.reconfig.answers.wish {
            Some(Wish::Reset { sn, .. } | Wish::Add { sn, .. }) => *sn == request,
            None => false,
        };
        if waits && self.may_ask() {
            return Some(ResetResult::IN_PROGRESS);
        }
        if waits {
            return Some(ResetResult::DENIED);
        }
        if let Some(ours) = self.reconfig.request.as_mut().filter(|ours| ours.answers() == Some(request)) {
            // It may not have seen ours.
            ours.due = true;
            return None;
        }
        // Done, as far as it goes.
        Some(ResetResult::PERFORMED)
    }
}
