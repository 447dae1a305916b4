//! The end of an association: SHUTDOWN (RFC 9260 §9.2), ABORT (§9.1), and giving up.

use std::time::Instant;

use super::Association;
use super::control::Reply;
use super::state::State;
use crate::event::CloseReason;
use crate::types::Tsn;
use crate::wire::be32;
use crate::wire::cause::CauseCode;
use crate::wire::chunk::{ChunkType, RawChunk};
use crate::wire::param::{Params, push_tlv};
use crate::wire::writer::PacketWriter;

/// How much of a reason text goes out, and how much of the peer's is kept, in bytes.
const MAX_REASON: usize = 256;

/// Retransmissions of SHUTDOWN or SHUTDOWN ACK when the settings name no limit.
const MAX_SHUTDOWN_RETRANSMISSIONS: u32 = 10;

/// T5-shutdown-guard, in multiples of RTO.Max (RFC 9260 §9.2).
const T5_RTO_MAX: u32 = 5;

impl Association {
    /// Closes in good order: no more messages are taken, those there are are sent and acknowledged, then
    /// both sides say goodbye. Ends in [`Event::Closed`](crate::Event::Closed). Before the handshake is done
    /// it ends at once.
    pub fn shutdown(&mut self, _now: Instant) {
        match self.state {
            State::Closed | State::CookieWait => self.end(CloseReason::Shutdown),
            State::CookieEchoed => {
                // The peer may have set the association up already.
                self.abort_with(CauseCode::USER_INITIATED_ABORT, b"closed", CloseReason::Shutdown);
            }
            State::Established => self.state = State::ShutdownPending,
            _ => {}
        }
    }

    /// Closes at once with an ABORT that carries the reason (cause 12, RFC 9260 §3.3.10.12), at most 256
    /// bytes of it. What was not acknowledged may be lost.
    pub fn abort(&mut self, _now: Instant, reason: &str) {
        if self.state != State::Ended {
            let text = cut(reason, MAX_REASON);
            self.abort_with(CauseCode::USER_INITIATED_ABORT, text, CloseReason::AbortedLocally);
        }
    }

    /// Sends ABORT, if there is anybody to tell, and ends.
    pub(super) fn abort_with(&mut self, code: CauseCode, info: &[u8], reason: CloseReason) {
        if self.peer_tag != 0 {
            let mut value = Vec::with_capacity(info.len() + 8);
            push_tlv(&mut value, code.0, info);
            self.control.reply(Reply { tag: self.peer_tag, kind: ChunkType::ABORT, flags: 0, value });
        }
        self.end(reason);
    }

    /// The peer broke a rule that leaves nothing to go on with.
    pub(super) fn violation(&mut self, rule: &'static str) {
        tracing::debug!(rule, "protocol violation, aborting");
        let reason = CloseReason::ProtocolViolation(rule);
        self.abort_with(CauseCode::PROTOCOL_VIOLATION, rule.as_bytes(), reason);
    }

    /// Ends without another word. What was received can still be read.
    pub(super) fn end(&mut self, reason: CloseReason) {
        if self.state == State::Ended {
            return;
        }
        tracing::debug!(?reason, "association ended");
        self.state = State::Ended;
        self.t5 = None;
        self.control.clear();
        self.heartbeat.stop();
        self.tx.discard();
        self.events.closed(reason);
    }

    /// Moves on when everything is acknowledged.
    pub(super) fn advance_shutdown(&mut self, now: Instant) {
        if matches!(self.state, State::ShutdownPending | State::ShutdownReceived) {
            self.tx.abandon_all_open(&mut self.stats);
        }
        if !self.tx.is_drained() {
            return;
        }
        match self.state {
            State::ShutdownPending => {
                self.state = State::ShutdownSent;
                self.control.shutdown = true;
                let guard = self.config.rto_max.saturating_mul(T5_RTO_MAX);
                self.t5 = now.checked_add(guard);
            }
            State::ShutdownReceived => {
                self.state = State::ShutdownAckSent;
                self.control.shutdown_ack = true;
            }
            _ => {}
        }
    }

    pub(super) fn write_shutdown(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        if self.control.shutdown {
            let cumulative = Tsn::wrap(self.rx.tracker.cumulative());
            if packet.chunk(ChunkType::SHUTDOWN, 0, &[&cumulative.0.to_be_bytes()]) {
                self.control.shutdown = false;
                self.t2.start(now, self.tx.rto.rto(), self.backoff);
            }
        }
        if self.control.shutdown_ack && packet.chunk(ChunkType::SHUTDOWN_ACK, 0, &[]) {
            self.control.shutdown_ack = false;
            self.t2.start(now, self.tx.rto.rto(), self.backoff);
        }
    }

    /// T5-shutdown-guard (RFC 9260 §9.2): a peer that always has more to say can't put off the end for ever.
    pub(super) fn on_t5(&mut self, now: Instant) {
        if self.t5.is_some_and(|deadline| deadline <= now) {
            self.abort_with(
                CauseCode::USER_INITIATED_ABORT,
                b"shutdown takes too long",
                CloseReason::Timeout,
            );
        }
    }

    /// T2-shutdown (RFC 9260 §9.2).
    pub(super) fn on_t2(&mut self, now: Instant) {
        if !self.t2.expired(now) {
            return;
        }
        let max = self.config.max_retransmissions.unwrap_or(MAX_SHUTDOWN_RETRANSMISSIONS);
        if self.t2.expirations() > max {
            self.end(CloseReason::Timeout);
            return;
        }
        match self.state {
            State::ShutdownSent => self.control.shutdown = true,
            State::ShutdownAckSent => self.control.shutdown_ack = true,
            _ => {}
        }
    }

    pub(super) fn on_shutdown(&mut self, now: Instant, chunk: &RawChunk<'_>) {
        let Some(cumulative) = be32(chunk.value, 0).map(Tsn) else {
            self.stats.dropped_chunks += 1;
            return;
        };
        match self.state {
            State::Established | State::ShutdownPending | State::ShutdownReceived => {
                self.state = State::ShutdownReceived;
            }
            State::ShutdownSent => {
                // Both sides at once: nothing of ours is outstanding.
                self.state = State::ShutdownAckSent;
                self.control.shutdown = false;
                self.control.shutdown_ack = true;
            }
            State::ShutdownAckSent => self.control.shutdown_ack = true,
            _ => {
                self.stats.dropped_chunks += 1;
                return;
            }
        }
        // pion and sctp-proto write here what we have acknowledged, not what they have received: a TSN of their own
        // numbers. It says nothing then, and the end goes on; their SACKs tell the rest.
        if self.tx.on_cumulative_ack(now, cumulative, &mut self.stats).is_err() {
            tracing::debug!(cumulative = cumulative.0, "SHUTDOWN acknowledges a TSN that was never sent");
        }
    }

    pub(super) fn on_shutdown_ack(&mut self) {
        match self.state {
            State::ShutdownSent | State::ShutdownAckSent => {
                self.shutdown_complete(self.peer_tag, 0);
                self.ended_in_order = true;
                self.end(CloseReason::Shutdown);
            }
            _ => self.stats.dropped_chunks += 1,
        }
    }

    /// Queues SHUTDOWN COMPLETE; with the T bit the tag is the one that came.
    pub(super) fn shutdown_complete(&mut self, tag: u32, flags: u8) {
        let kind = ChunkType::SHUTDOWN_COMPLETE;
        self.control.reply(Reply { tag, kind, flags, value: Vec::new() });
    }

    pub(super) fn on_shutdown_complete(&mut self) {
        if self.state == State::ShutdownAckSent {
            self.ended_in_order = true;
            self.end(CloseReason::Shutdown);
        } else {
            self.stats.dropped_chunks += 1;
        }
    }

    /// The peer's ABORT: its first cause, and the text if the cause has one (RFC 9260 §3.3.7).
    pub(super) fn on_abort(&mut self, chunk: &RawChunk<'_>) {
        let mut code = CauseCode::NONE;
        let mut reason = String::new();
        if let Some(Ok(cause)) = Params::new(chunk.value).next() {
            code = CauseCode(cause.kind.0);
            if matches!(code, CauseCode::USER_INITIATED_ABORT | CauseCode::PROTOCOL_VIOLATION) {
                let text = cause.value.get(..MAX_REASON).unwrap_or(cause.value);
                reason = String::from_utf8_lossy(text).into_owned();
            }
        }
        self.end(CloseReason::AbortedByPeer { code, reason });
    }
}

/// The longest beginning of at most `max` bytes that ends between characters.
fn cut(text: &str, max: usize) -> &[u8] {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.as_bytes().get(..end).unwrap_or_default()
}
