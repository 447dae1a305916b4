//! INIT, INIT ACK, COOKIE ECHO, COOKIE ACK (RFC 9260 §5).
//!
//! ```text
//! A                                   Z
//! INIT ────────────────────────────►      no state yet: all is in the cookie
//!      ◄──────────────────────── INIT ACK
//! COOKIE ECHO ─────────────────────►      established
//!      ◄────────────────────── COOKIE ACK
//! established
//! ```
//!
//! Setting the association up from what the peer said (`adopt`) is apart from the chunks that said it.

use std::time::{Duration, Instant};

use super::Association;
use super::control::{MAX_REPORTED_CHUNK, Reply};
use super::cookie::{Cookie, PeerParams};
use super::random_tag;
use super::state::State;
use crate::event::{CloseReason, Event};
use crate::rx::{Receiver, receive_buffer};
use crate::timer::Timer;
use crate::tx::Sender;
use crate::types::{StreamId, Tsn};
use crate::wire::cause::CauseCode;
use crate::wire::chunk::{ChunkType, FLAG_T, RawChunk};
use crate::wire::init::{Capabilities, Init};
use crate::wire::param::push_tlv;
use crate::wire::writer::PacketWriter;
use rand::Rng;

/// What the handshake needs until it is done.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    /// T1-init and T1-cookie: never both.
    pub(crate) t1: Timer,
    /// The peer's cookie, to be echoed.
    cookie: Vec<u8>,
    /// When it was echoed.
    echoed: Option<Instant>,
    /// How often the peer called its own cookie stale.
    stale_cookies: u32,
    /// How much longer the next cookie should live, in milliseconds.
    cookie_preservative: Option<u32>,
}

/// Stale cookies in a row that end the handshake: a peer whose cookies are always stale would keep us busy
/// for ever.
const MAX_STALE_COOKIES: u32 = 8;

/// A peer's cookie that is longer than this would not fit our packets.
const MAX_COOKIE: usize = 1024;

/// The smallest window that INIT and INIT ACK may announce (RFC 9260 §3.3.2, §3.3.3).
pub(super) const MIN_A_RWND: u32 = 1500;

impl<'a> Init<'a> {
    pub(super) fn params(&self) -> PeerParams {
        PeerParams {
            tag: self.initiate_tag,
            initial_tsn: self.initial_tsn,
            a_rwnd: self.a_rwnd,
            outbound_streams: self.outbound_streams,
            inbound_streams: self.inbound_streams,
            capabilities: self.capabilities,
        }
    }

    /// What makes it unusable (RFC 9260 §3.3.2, §5.1.2 B): the cause to abort with, and what it is about.
    pub(super) fn fault(&self) -> Option<(CauseCode, &'a [u8])> {
        if self.outbound_streams == 0 || self.inbound_streams == 0 || self.a_rwnd < MIN_A_RWND {
            Some((CauseCode::INVALID_MANDATORY_PARAMETER, &[]))
        } else {
            let host_name = self.host_name?;
            // Cut, it would not be a parameter any more.
            let info = if host_name.len() <= MAX_REPORTED_CHUNK { host_name } else { &[] };
            Some((CauseCode::UNRESOLVABLE_ADDRESS, info))
        }
    }
}

impl Association {
    pub(super) fn our_init(&self, tag: u32, initial_tsn: Tsn) -> Init<'static> {
        Init {
            initiate_tag: tag,
            a_rwnd: u32::try_from(receive_buffer(&self.config).0).unwrap_or(u32::MAX).max(MIN_A_RWND),
            outbound_streams: self.config.outbound_streams,
            inbound_streams: self.config.inbound_streams,
            initial_tsn,
            capabilities: Capabilities {
                reconfig: true,
                forward_tsn: self.config.partial_reliability,
                zero_checksum: self.config.zero_checksum,
                i_data: self.config.interleaving,
                i_forward_tsn: self.config.interleaving && self.config.partial_reliability,
            },
            cookie: None,
            cookie_preservative: None,
            host_name: None,
            unrecognized: Vec::new(),
        }
    }

    pub(super) fn write_init(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        let cookie_preservative = self.handshake.cookie_preservative;
        let ours = self.our_init(self.local_tag, self.local_initial_tsn);
        let value = Init { cookie_preservative, ..ours }.write();
        if packet.chunk(ChunkType::INIT, 0, &[&value]) {
            self.control.init = false;
            self.handshake.t1.start(now, self.tx.rto.rto(), self.backoff);
        }
    }

    pub(super) fn write_cookie_echo(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        if packet.chunk(ChunkType::COOKIE_ECHO, 0, &[&self.handshake.cookie]) {
            self.control.cookie_echo = false;
            self.handshake.echoed = Some(now);
            self.handshake.t1.start(now, self.tx.rto.rto(), self.backoff);
        }
    }

    /// T1-init and T1-cookie (RFC 9260 §4, notes 2 and 3).
    pub(super) fn on_t1(&mut self, now: Instant) {
        if !self.handshake.t1.expired(now) {
            return;
        }
        let tries = self.handshake.t1.expirations();
        if self.config.max_init_retransmissions.is_some_and(|max| tries > max) {
            tracing::debug!(tries, "the handshake got no answer");
            self.end(CloseReason::Timeout);
            return;
        }
        match self.state {
            State::CookieWait => self.control.init = true,
            State::CookieEchoed => self.control.cookie_echo = true,
            _ => {}
        }
    }

    /// Answers an INIT, in whatever state (RFC 9260 §5.1 B, §5.2.1, §5.2.2), without keeping anything.
    pub(super) fn on_init(&mut self, now: Instant, chunk: &RawChunk<'_>) {
        let Some(init) = Init::parse(chunk.value).filter(|init| init.initiate_tag != 0) else {
            self.stats.dropped_chunks += 1;
            tracing::debug!("INIT does not parse, or has tag 0");
            return;
        };
        if self.state == State::ShutdownAckSent {
            // RFC 9260 §9.2
            self.control.shutdown_ack = true;
            return;
        }
        let over: (CauseCode, &[u8]) = (CauseCode::OUT_OF_RESOURCE, &[]);
        let fault = if self.state == State::Ended { Some(over) } else { init.fault() };
        if let Some((code, info)) = fault {
            tracing::debug!(%code, "INIT refused");
            self.stats.dropped_chunks += 1;
            self.refuse(init.initiate_tag, code, info);
            return;
        }
        // A peer that has got nothing for its INIT in the description says it again; ours still stands.
        let repeated = self.snapped && init.initiate_tag == self.peer_tag;
        let (local_tag, local_initial_tsn, tie_tags) = if self.state.has_peer() && !repeated {
            // A peer that seems to have started over gets a new tag; only its cookie, which proves that it
            // can read what we send, may end what there is (RFC 9260 §5.2.2).
            let tag = random_tag(&mut self.seed.rng());
            (tag, Tsn(self.seed.rng().next_u32()), (self.local_tag, self.peer_tag))
        } else if repeated || self.state == State::CookieEchoed {
            // RFC 9260 §5.2.1: the tags stay, and are the tie-tags as well.
            (self.local_tag, self.local_initial_tsn, (self.local_tag, self.peer_tag))
        } else {
            (self.local_tag, self.local_initial_tsn, (0, 0))
        };
        let created = now.saturating_duration_since(self.created);
        let cookie = Cookie {
            created_ms: u64::try_from(created.as_millis()).unwrap_or(u64::MAX),
            local_tag,
            local_initial_tsn,
            peer: init.params(),
            tie_tags,
        }
        .write(&self.cookie_key());
        let ours = self.our_init(local_tag, local_initial_tsn);
        let value = Init { cookie: Some(&cookie), unrecognized: init.unrecognized, ..ours }.write();
        self.control.reply(Reply { tag: init.initiate_tag, kind: ChunkType::INIT_ACK, flags: 0, value });
    }

    /// ABORT to a peer that there is no association with, under the tag that it wants (RFC 9260 §5.1).
    fn refuse(&mut self, tag: u32, code: CauseCode, info: &[u8]) {
        let mut value = Vec::new();
        push_tlv(&mut value, code.0, info);
        self.control.reply(Reply { tag, kind: ChunkType::ABORT, flags: 0, value });
    }

    pub(super) fn on_init_ack(&mut self, packet_tag: u32, chunk: &RawChunk<'_>) {
        if self.state != State::CookieWait {
            // RFC 9260 §5.2.3: an old one.
            self.stats.dropped_chunks += 1;
            return;
        }
        let Some(init) = Init::parse(chunk.value) else {
            self.stats.dropped_chunks += 1;
            tracing::debug!("INIT ACK does not parse");
            return;
        };
        if init.initiate_tag == 0 {
            // RFC 9260 §3.3.3: the end, and the peer has no tag to tell it by.
            self.control.reply(Reply {
                tag: packet_tag,
                kind: ChunkType::ABORT,
                flags: FLAG_T,
                value: Vec::new(),
            });
            self.end(CloseReason::ProtocolViolation("INIT ACK with tag 0"));
            return;
        }
        if let Some((code, info)) = init.fault() {
            if init.a_rwnd < MIN_A_RWND {
                // RFC 9260 §3.3.3: answered, but otherwise as if it had not come.
                self.stats.dropped_chunks += 1;
                self.refuse(init.initiate_tag, code, info);
                return;
            }
            self.peer_tag = init.initiate_tag;
            self.abort_with(code, info, CloseReason::ProtocolViolation("INIT ACK without streams"));
            return;
        }
        self.peer_tag = init.initiate_tag;
        let Some(cookie) = init.cookie.filter(|cookie| cookie.len() <= MAX_COOKIE) else {
            // RFC 9260 §3.3.10.2: one parameter is missing, type 7.
            let missing = [0, 0, 0, 1, 0, 7];
            let code = CauseCode::MISSING_MANDATORY_PARAMETER;
            self.abort_with(
                code,
                &missing,
                CloseReason::ProtocolViolation("INIT ACK without a usable cookie"),
            );
            return;
        };
        self.handshake.cookie = cookie.to_vec();
        self.adopt(init.params());
        self.state = State::CookieEchoed;
        self.handshake.t1 = Timer::default();
        self.control.init = false;
        self.control.cookie_echo = true;
        if !init.unrecognized.is_empty() {
            self.control.error(CauseCode::UNRECOGNIZED_PARAMETERS, &init.unrecognized);
        }
    }

    /// Takes over what the peer said of itself. Everything received before is void.
    pub(super) fn adopt(&mut self, peer: PeerParams) {
        self.peer_tag = peer.tag;
        self.peer_capabilities = peer.capabilities;
        self.outbound_streams = self.config.outbound_streams.min(peer.inbound_streams);
        self.inbound_streams = self.config.inbound_streams.min(peer.outbound_streams);
        // RFC 8260 §2.2.1: when both sides have said so, and then always.
        self.interleaving = self.config.interleaving && peer.capabilities.i_data;
        self.rx = Receiver::new(&self.config, peer.initial_tsn, self.inbound_streams, self.interleaving);
        self.reconfig.adopt(self.local_initial_tsn, peer.initial_tsn);
        self.tx.set_peer_rwnd(peer.a_rwnd);
        self.tx.set_interleaving(self.interleaving);
        // RFC 8260 §2.3.1 asks for I-FORWARD-TSN only, but dcSCTP lists it without partial reliability, too, and
        // then ends the association over one.
        let forward =
            peer.capabilities.forward_tsn && (!self.interleaving || peer.capabilities.i_forward_tsn);
        self.tx.partial_reliability = self.config.partial_reliability && forward;
    }

    /// Whether the rest of the packet is to be processed.
    pub(super) fn on_cookie_echo(&mut self, now: Instant, packet_tag: u32, chunk: &RawChunk<'_>) -> bool {
        let Some(cookie) = Cookie::read(chunk.value, &self.cookie_key()) else {
            self.stats.dropped_cookies += 1;
            tracing::debug!("a state cookie that is not ours");
            return false;
        };
        if cookie.local_tag != packet_tag {
            self.stats.dropped_cookies += 1;
            self.stats.dropped_verification_tag += 1;
            return false;
        }
        let ours = cookie.local_tag == self.local_tag;
        let theirs = cookie.peer.tag == self.peer_tag;
        let ties = cookie.tie_tags == (self.local_tag, self.peer_tag);
        let age = now
            .saturating_duration_since(self.created)
            .saturating_sub(Duration::from_millis(cookie.created_ms));
        if age > self.config.cookie_lifetime && !(ours && theirs) {
            // RFC 9260 §5.1.5 step 4: by how many microseconds it is too old.
            self.stats.dropped_cookies += 1;
            let excess = u32::try_from((age - self.config.cookie_lifetime).as_micros()).unwrap_or(u32::MAX);
            let mut value = Vec::new();
            push_tlv(&mut value, CauseCode::STALE_COOKIE.0, &excess.to_be_bytes());
            self.control.reply(Reply { tag: cookie.peer.tag, kind: ChunkType::ERROR, flags: 0, value });
            return false;
        }
        // RFC 9260 §5.2.4, table 12
        match self.state {
            State::Ended => {
                self.stats.dropped_cookies += 1;
                if !self.ended_in_order {
                    // RFC 9260 §5.1: there is no association, and there will be none.
                    self.refuse(cookie.peer.tag, CauseCode::OUT_OF_RESOURCE, &[]);
                }
                return false;
            }
            State::Closed | State::CookieWait | State::CookieEchoed if ours => {
                // No association yet, action B, or action D.
                if !(self.state == State::CookieEchoed && theirs) {
                    self.adopt(cookie.peer);
                }
                self.establish(now);
            }
            _ if ours && theirs => {
                // Action D: our COOKIE ACK was lost.
            }
            State::Established if ours && self.is_untouched() => {
                // Action B, when nothing has been said yet under the peer's old tag. Once something has, the
                // old tag is in use, so the cookie is a late one.
                self.adopt(cookie.peer);
            }
            State::ShutdownAckSent if !ours && !theirs && ties => {
                self.control.shutdown_ack = true;
                self.control.error(CauseCode::COOKIE_RECEIVED_WHILE_SHUTTING_DOWN, &[]);
                return false;
            }
            _ if !ours && !theirs && ties => {
                self.restart(now, &cookie);
            }
            _ => {
                // Action C, and what the table does not have.
                self.stats.dropped_cookies += 1;
                return false;
            }
        }
        self.control.cookie_ack = true;
        true
    }

    pub(super) fn on_cookie_ack(&mut self, now: Instant) {
        // RFC 9260 §5.2.5: ignored in any other state.
        if self.state == State::CookieEchoed {
            self.establish(now);
        }
    }

    pub(super) fn establish(&mut self, now: Instant) {
        self.state = State::Established;
        self.handshake = Handshake::default();
        self.control.init = false;
        self.control.cookie_echo = false;
        self.error_count = 0;
        self.heartbeat.heard(now);
        self.start_heartbeat(now);
        self.tx.connected();
        self.tx.drop_streams_from(StreamId(self.outbound_streams), &mut self.stats);
        self.events.milestone(Event::Connected {
            outbound_streams: self.outbound_streams,
            inbound_streams: self.inbound_streams,
        });
        tracing::debug!(
            outbound = self.outbound_streams,
            inbound = self.inbound_streams,
            "association established"
        );
    }

    /// Nothing has been sent or received yet.
    fn is_untouched(&self) -> bool {
        self.tx.last_assigned_tsn() + 1 == self.local_initial_tsn.unwrap_first()
            && self.stats.data_chunks_received == 0
    }

    /// RFC 9260 §5.2.4, action A: the peer has started over. If the owner wants to close, it goes on from there.
    fn restart(&mut self, now: Instant, cookie: &Cookie) {
        tracing::debug!("the peer has restarted the association");
        let closing = matches!(self.state, State::ShutdownPending | State::ShutdownSent);
        self.local_tag = cookie.local_tag;
        self.local_initial_tsn = cookie.local_initial_tsn;
        self.tx = Sender::new(&self.config, self.local_initial_tsn);
        self.t2 = Timer::default();
        self.t5 = None;
        self.control.clear();
        self.snapped = false;
        self.adopt(cookie.peer);
        self.events.milestone(Event::Restarted);
        self.establish(now);
        if closing {
            self.state = State::ShutdownPending;
        }
    }

    /// ERROR with "Stale Cookie" (RFC 9260 §5.2.6, alternative 3): begin again with a new INIT, which asks for a
    /// cookie that lives longer by the round trip and one second.
    pub(super) fn on_stale_cookie(&mut self, now: Instant) {
        if self.state != State::CookieEchoed {
            return;
        }
        self.handshake.stale_cookies += 1;
        if self.handshake.stale_cookies > MAX_STALE_COOKIES {
            self.end(CloseReason::Timeout);
            return;
        }
        let rtt = self.handshake.echoed.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let longer = rtt.min(self.config.rto_max) + Duration::from_secs(1);
        self.handshake.cookie_preservative = Some(u32::try_from(longer.as_millis()).unwrap_or(u32::MAX));
        self.state = State::CookieWait;
        self.control.cookie_echo = false;
        self.control.init = true;
        self.handshake.t1.start(now, self.tx.rto.rto(), self.backoff);
    }
}
