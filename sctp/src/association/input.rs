//! One packet in: its tag, its chunks, and who takes them.

use std::time::Instant;

use super::Association;
use super::control::{MAX_REPORTED_CHUNK, Reply};
use super::state::State;
use crate::event::CloseReason;
use crate::rx::PacketNotes;
use crate::rx::reassembly::Violation;
use crate::types::Tsn;
use crate::wire::cause::CauseCode;
use crate::wire::chunk::{ChunkType, FLAG_T, RawChunk};
use crate::wire::data::DataChunk;
use crate::wire::forward_tsn::ForwardTsn;
use crate::wire::i_data::IDataChunk;
use crate::wire::i_forward_tsn::IForwardTsn;
use crate::wire::packet::{Packet, PacketError};
use crate::wire::param::Params;
use crate::wire::sack::Sack;

/// Whether the rest of the packet is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

impl Association {
    /// Takes one SCTP packet, as DTLS decrypted it. Whatever is wrong with it is counted, and answered where
    /// the RFC says so; an owner need not know.
    pub fn handle_input(&mut self, now: Instant, packet: &[u8]) {
        self.stats.packets_received += 1;
        self.stats.bytes_received += packet.len() as u64;
        let packet = match Packet::parse(packet, self.config.zero_checksum) {
            Ok(packet) => packet,
            Err(PacketError::Checksum) => {
                self.stats.dropped_checksum += 1;
                tracing::debug!("packet with a wrong checksum");
                return;
            }
            Err(PacketError::TooShort) => {
                self.stats.dropped_malformed += 1;
                tracing::debug!("packet too short");
                return;
            }
        };
        if packet.source != self.config.remote_port || packet.destination != self.config.local_port {
            self.stats.dropped_malformed += 1;
            tracing::debug!(packet.source, packet.destination, "packet with other ports");
            return;
        }
        self.handle_packet(now, &packet);
    }

    /// The verification tag decides (RFC 9260 §8.5).
    fn handle_packet(&mut self, now: Instant, packet: &Packet<'_>) {
        let mut chunks = packet.chunks();
        let Some(Ok(first)) = chunks.next() else {
            self.stats.dropped_malformed += 1;
            return;
        };
        match first.kind {
            ChunkType::INIT => {
                // §8.5.1 A: the tag is 0, and the INIT is alone.
                if packet.tag == 0 && chunks.is_empty() {
                    self.on_init(now, &first);
                } else {
                    self.stats.dropped_verification_tag += 1;
                }
                return;
            }
            ChunkType::INIT_ACK if !chunks.is_empty() => {
                // §3.3.3: alone.
                self.stats.dropped_chunks += 1;
                return;
            }
            ChunkType::COOKIE_ECHO => {
                // §8.5.1 D: the cookie knows its tag.
                if !self.on_cookie_echo(now, packet.tag, &first) {
                    return;
                }
                self.handle_chunks(now, packet, None, chunks);
                return;
            }
            _ => {}
        }
        let forming = matches!(self.state, State::CookieWait | State::CookieEchoed);
        if matches!(self.state, State::Closed | State::Ended) {
            self.out_of_the_blue(packet);
        } else if forming && first.kind == ChunkType::SHUTDOWN_ACK {
            // §8.5.1 E: as out of the blue, whatever the tag. The handshake goes on (§9.2).
            self.shutdown_complete(packet.tag, FLAG_T);
        } else if packet.tag == self.local_tag {
            self.handle_chunks(now, packet, Some(first), chunks);
        } else if packet.tag == self.peer_tag && self.peer_tag != 0 && first.flags & FLAG_T != 0 {
            // §8.5.1 B and C: our own tag for the peer, reflected.
            match first.kind {
                ChunkType::ABORT => self.on_abort(&first),
                ChunkType::SHUTDOWN_COMPLETE => self.on_shutdown_complete(),
                _ => self.stats.dropped_verification_tag += 1,
            }
        } else {
            self.stats.dropped_verification_tag += 1;
            tracing::debug!(tag = packet.tag, "packet with a wrong verification tag");
        }
    }

    /// RFC 9260 §8.4, rules 2 and 5 to 8, in their order. After an orderly end only the peer's SHUTDOWN ACK asks for
    /// an answer; anything else was under way for long, and an ABORT would spoil the peer's end.
    fn out_of_the_blue(&mut self, packet: &Packet<'_>) {
        self.stats.dropped_verification_tag += 1;
        tracing::debug!(tag = packet.tag, "packet out of the blue");
        let tag = packet.tag;
        let mut answered = true;
        let mut shutdown_ack = false;
        for chunk in packet.chunks().map_while(Result::ok) {
            match chunk.kind {
                ChunkType::ABORT => return,
                ChunkType::SHUTDOWN_ACK => shutdown_ack = true,
                ChunkType::SHUTDOWN_COMPLETE | ChunkType::COOKIE_ACK => answered = false,
                ChunkType::ERROR if is_stale_cookie(&chunk) => answered = false,
                _ => {}
            }
        }
        if shutdown_ack {
            self.shutdown_complete(tag, FLAG_T);
        } else if answered && !self.ended_in_order {
            self.control.reply(Reply { tag, kind: ChunkType::ABORT, flags: FLAG_T, value: Vec::new() });
        }
    }

    fn handle_chunks<'a>(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        first: Option<RawChunk<'a>>,
        mut rest: crate::wire::chunk::Chunks<'a>,
    ) {
        self.heartbeat.heard(now);
        if self.state == State::ShutdownSent {
            // RFC 9260 §9.2: the peer is still sending what it has. T5 bounds how long.
            self.t2.reset_backoff();
        }
        let mut notes = PacketNotes::default();
        let mut next = first.map(Ok).or_else(|| rest.next());
        while let Some(chunk) = next {
            let Ok(chunk) = chunk else {
                self.stats.dropped_malformed += 1;
                tracing::debug!("a chunk overruns its packet");
                break;
            };
            // These are what there is most of.
            let flow = if chunk.kind == ChunkType::I_DATA {
                self.on_i_data(&chunk, &mut notes)
            } else if chunk.kind == ChunkType::DATA {
                self.on_data(&chunk, &mut notes)
            } else {
                self.on_control(now, packet.tag, &chunk)
            };
            if flow == Flow::Stop || self.state == State::Ended {
                break;
            }
            next = rest.next();
        }
        if self.state != State::Ended {
            if let Some(stream) = notes.invalid_stream {
                // RFC 9260 §6.5, §3.3.10.1
                let [hi, lo] = stream.0.to_be_bytes();
                self.control.error(CauseCode::INVALID_STREAM_IDENTIFIER, &[hi, lo, 0, 0]);
            }
            self.rx.end_of_packet(now, notes);
            if notes.data && self.rx.window.wants_rtt(now) {
                self.control.rtt_probe = true;
            }
            if notes.data && self.state == State::ShutdownSent {
                // RFC 9260 §9.2: a SHUTDOWN goes with the SACK, and T2 starts anew.
                self.control.shutdown = true;
                self.rx.sack.request();
            }
        }
    }

    #[inline]
    fn on_data(&mut self, chunk: &RawChunk<'_>, notes: &mut PacketNotes) -> Flow {
        if !self.state.takes_data() {
            self.stats.dropped_chunks += 1;
            return Flow::Continue;
        }
        if self.interleaving {
            // RFC 8260 §2.2.3
            self.violation("DATA where I-DATA is agreed");
            return Flow::Stop;
        }
        let Some(data) = DataChunk::parse(chunk) else {
            self.violation("DATA shorter than its header");
            return Flow::Stop;
        };
        if data.payload.is_empty() {
            return self.on_no_user_data(data.tsn);
        }
        let result = self.rx.on_data(&data, notes, &mut self.stats);
        self.end_on_violation(result)
    }

    #[inline]
    fn on_i_data(&mut self, chunk: &RawChunk<'_>, notes: &mut PacketNotes) -> Flow {
        if !self.state.takes_data() {
            self.stats.dropped_chunks += 1;
            return Flow::Continue;
        }
        if !self.interleaving {
            // RFC 8260 §2.2.3
            self.violation("I-DATA where DATA is agreed");
            return Flow::Stop;
        }
        let Some(data) = IDataChunk::parse(chunk) else {
            self.violation("I-DATA shorter than its header");
            return Flow::Stop;
        };
        if data.payload.is_empty() {
            return self.on_no_user_data(data.tsn);
        }
        let result = self.rx.on_i_data(&data, notes, &mut self.stats);
        self.end_on_violation(result)
    }

    /// RFC 9260 §6.2: the cause names the TSN.
    fn on_no_user_data(&mut self, tsn: Tsn) -> Flow {
        let reason = CloseReason::ProtocolViolation("DATA without user data");
        self.abort_with(CauseCode::NO_USER_DATA, &tsn.0.to_be_bytes(), reason);
        Flow::Stop
    }

    #[inline]
    fn end_on_violation(&mut self, result: Result<(), Violation>) -> Flow {
        match result {
            Ok(()) => return Flow::Continue,
            Err(Violation::TooLarge) => self.violation("message larger than we take"),
            Err(Violation::Mismatch) => self.violation("fragments that do not belong together"),
            Err(Violation::Locked) => {
                tracing::debug!("the receive buffer is full of incomplete messages, aborting");
                self.abort_with(CauseCode::OUT_OF_RESOURCE, &[], CloseReason::OutOfReceiveBuffer);
            }
        }
        Flow::Stop
    }

    fn on_control(&mut self, now: Instant, packet_tag: u32, chunk: &RawChunk<'_>) -> Flow {
        match chunk.kind {
            ChunkType::SACK => self.on_sack(now, chunk),
            ChunkType::INIT_ACK => self.on_init_ack(packet_tag, chunk),
            ChunkType::COOKIE_ACK => self.on_cookie_ack(now),
            ChunkType::HEARTBEAT if self.state.has_peer() => self.on_heartbeat(chunk),
            ChunkType::HEARTBEAT_ACK if self.state.has_peer() => self.on_heartbeat_ack(now, chunk),
            ChunkType::RE_CONFIG if self.state.has_peer() => self.on_reconfig(now, chunk),
            // RFC 8260 §2.3.1: each goes with its own kind of DATA.
            ChunkType::FORWARD_TSN if self.state.takes_data() && self.interleaving => {
                self.violation("FORWARD TSN where I-DATA is agreed");
                return Flow::Stop;
            }
            ChunkType::I_FORWARD_TSN if self.state.takes_data() && !self.interleaving => {
                self.violation("I-FORWARD-TSN where DATA is agreed");
                return Flow::Stop;
            }
            ChunkType::FORWARD_TSN if self.tx.partial_reliability && !self.interleaving => {
                self.on_forward_tsn(chunk);
            }
            ChunkType::I_FORWARD_TSN if self.config.partial_reliability && self.interleaving => {
                self.on_i_forward_tsn(chunk);
            }
            ChunkType::PAD => {}
            // Announced on both sides, and late.
            ChunkType::FORWARD_TSN if self.tx.partial_reliability => self.stats.dropped_chunks += 1,
            ChunkType::I_FORWARD_TSN if self.config.interleaving => self.stats.dropped_chunks += 1,
            ChunkType::ERROR => self.on_error(now, chunk),
            ChunkType::SHUTDOWN => self.on_shutdown(now, chunk),
            ChunkType::SHUTDOWN_ACK => self.on_shutdown_ack(),
            // §8.5.1 B and C: with our own tag the T bit must be clear.
            ChunkType::ABORT if chunk.flags & FLAG_T == 0 => self.on_abort(chunk),
            ChunkType::SHUTDOWN_COMPLETE if chunk.flags & FLAG_T == 0 => self.on_shutdown_complete(),
            ChunkType::INIT
            | ChunkType::COOKIE_ECHO
            | ChunkType::HEARTBEAT
            | ChunkType::HEARTBEAT_ACK
            | ChunkType::RE_CONFIG
            | ChunkType::ABORT
            | ChunkType::SHUTDOWN_COMPLETE => {
                self.stats.dropped_chunks += 1;
            }
            _ => return self.on_unknown(chunk),
        }
        Flow::Continue
    }

    /// RFC 9260 §3.2: the two high bits of the type. The report is cut; see `control`.
    fn on_unknown(&mut self, chunk: &RawChunk<'_>) -> Flow {
        self.stats.unknown_chunks += 1;
        tracing::debug!(kind = chunk.kind.0, "unknown chunk");
        if chunk.kind.unknown_is_reported() && self.state.has_peer() {
            let report = chunk.whole.get(..MAX_REPORTED_CHUNK).unwrap_or(chunk.whole);
            self.control.error(CauseCode::UNRECOGNIZED_CHUNK_TYPE, report);
        }
        if chunk.kind.unknown_is_skipped() { Flow::Continue } else { Flow::Stop }
    }

    fn on_sack(&mut self, now: Instant, chunk: &RawChunk<'_>) {
        if !matches!(self.state, State::Established | State::ShutdownPending | State::ShutdownReceived) {
            self.stats.dropped_chunks += 1;
            return;
        }
        let Some(sack) = Sack::parse(chunk) else {
            self.stats.dropped_chunks += 1;
            tracing::debug!("SACK does not parse");
            return;
        };
        self.stats.sacks_received += 1;
        match self.tx.on_sack(now, &sack, &mut self.stats) {
            Ok(outcome) => {
                if outcome.alive {
                    self.error_count = 0;
                }
            }
            Err(_) => self.violation("SACK of a TSN that was never sent"),
        }
    }

    fn on_forward_tsn(&mut self, chunk: &RawChunk<'_>) {
        if !self.state.takes_data() {
            self.stats.dropped_chunks += 1;
            return;
        }
        match ForwardTsn::parse(chunk) {
            Some(forward) => self.rx.on_forward_tsn(&forward, &mut self.stats),
            None => self.stats.dropped_chunks += 1,
        }
    }

    fn on_i_forward_tsn(&mut self, chunk: &RawChunk<'_>) {
        if !self.state.takes_data() {
            self.stats.dropped_chunks += 1;
            return;
        }
        match IForwardTsn::parse(chunk) {
            Some(forward) => self.rx.on_i_forward_tsn(&forward, &mut self.stats),
            None => self.stats.dropped_chunks += 1,
        }
    }

    fn on_error(&mut self, now: Instant, chunk: &RawChunk<'_>) {
        for cause in Params::new(chunk.value) {
            let Ok(cause) = cause else {
                self.stats.dropped_chunks += 1;
                return;
            };
            let code = CauseCode(cause.kind.0);
            tracing::debug!(%code, "the peer reports an error");
            if code == CauseCode::STALE_COOKIE {
                self.on_stale_cookie(now);
            }
        }
    }
}

/// Whether an ERROR has a Stale Cookie cause.
fn is_stale_cookie(error: &RawChunk<'_>) -> bool {
    Params::new(error.value).map_while(Result::ok).any(|cause| cause.kind.0 == CauseCode::STALE_COOKIE.0)
}
