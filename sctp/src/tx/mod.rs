//! The sending side: from queued messages to DATA chunks, and from SACKs back.
//!
//! ```text
//! send() ─► SendQueue ─► cut at transmit time ─► SentMessages + Outstanding ─► acknowledged, released
//! ```
//!
//! Nothing is copied before a chunk is written into the caller's buffer: a message stays one [`Bytes`], and
//! a chunk is an offset into it.
//!
//! Limits: the send buffer (bytes, with an overhead per message; `budget` shares it out), and [`MAX_OUTSTANDING`]
//! chunks. The send buffer follows the congestion window: what is in flight, and as much again that waits, so that an
//! application which is told of room in time never leaves the path idle, and one that writes without end queues no
//! more than that.

pub(crate) mod budget;
pub(crate) mod congestion;
mod delivery;
pub(crate) mod forward;
pub(crate) mod messages;
pub(crate) mod outstanding;
mod pacer;
pub(crate) mod path_mtu;
pub(crate) mod pieces;
mod recovery;
pub(crate) mod rto;
pub(crate) mod scheduler;
pub(crate) mod send_queue;
mod sizes;

use std::time::{Duration, Instant};

use self::congestion::{Acked, CongestionControl, Lost};
use self::delivery::{DeliveryRate, RateSample};
use self::messages::{SentMessage, SentMessages};
use self::outstanding::{Cut, Outstanding, SackSummary, SentChunk};
use self::pacer::{Pace, Pacer};
use self::path_mtu::PathMtu;
use self::recovery::Recovery;
use self::rto::RetransmissionTimeout;
use self::scheduler::Scheduler;
use self::send_queue::SendQueue;
use crate::config::Config;
use crate::stats::Stats;
use crate::timer::{Backoff, Timer};
use crate::types::{Ssn, StreamId, Tsn};
use crate::wire::data::{DATA_HEADER_LEN, DataChunk, FLAG_BEGIN, FLAG_END, FLAG_IMMEDIATE, FLAG_UNORDERED};
use crate::wire::i_data::{I_DATA_HEADER_LEN, IDataChunk};
use crate::wire::packet::HEADER_LEN;
use crate::wire::padded;
use crate::wire::sack::Sack;
use crate::wire::writer::PacketWriter;

/// Chunks outstanding at a time: gap ack blocks have 16-bit offsets, so a SACK can't describe more.
const MAX_OUTSTANDING: usize = 65_000;

/// The least payload that is worth a chunk of its own at the end of a packet. As little as this, because
/// packets of one size can go out in one batch and shorter ones end it.
const MIN_FRAGMENT: usize = 4;

/// A message that does not fit what is left of a packet begins in the next one, if that is less than this share of a packet.
/// Cutting it would cost a header more, two steps of reassembly, and, where messages may be lost, twice the risk.
const UNCUT: usize = 16;

/// What the peer did wrong in a SACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SackError {
    /// It acknowledges something that was never sent.
    NeverSent,
}

/// What a SACK meant for the association.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SackOutcome {
    /// The path and the peer are alive: error counters start over (RFC 9260 §8.1).
    pub(crate) alive: bool,
}

/// The sending side of an association.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) queue: SendQueue,
    messages: SentMessages,
    interleaving: bool,
    pub(crate) outstanding: Outstanding,
    pub(crate) congestion: Box<dyn CongestionControl>,
    pub(crate) rto: RetransmissionTimeout,
    pub(crate) t3: Timer,
    backoff: Backoff,
    /// What the peer's window has left by our account (RFC 9260 §6.2.1).
    peer_rwnd: usize,
    /// The window as the peer last said it.
    a_rwnd: u32,
    /// The largest window that the peer has said.
    max_rwnd: usize,
    /// That was too small for a packet, or for half of the largest window if that is less (RFC 1122 §4.2.3.4).
    window_closed: bool,
    /// T3 has run out while nothing was in flight and the window closed: one chunk may go (RFC 9260 §6.1 A).
    window_probe_due: bool,
    /// How large packets may be.
    path_mtu: PathMtu,
    /// The size of full packets, as congestion control knows it.
    packet_size: usize,
    /// The peer has answered a probe, so it passes over PAD chunks (RFC 4820). Not everybody does: some drop the whole packet.
    takes_padding: bool,
    /// The next packet of data stays below what may not arrive: it is to find something out.
    small_packet: bool,
    /// The TSN whose acknowledgement ends fast recovery (RFC 9260 §7.2.4).
    recover_until: Option<u64>,
    /// The first packet of a fast retransmit ignores the congestion window (RFC 9260 §7.2.4, rule 3).
    fast_retransmit_now: bool,
    /// The TSN that measures the round trip, and when it was sent (RFC 9260 §6.3.1, C4 and C5).
    rtt_probe: Option<(u64, Instant)>,
    recovery: Recovery,
    pacer: Pacer,
    /// For controllers that want it.
    delivery: Option<Box<DeliveryRate>>,
    /// The congestion window was last full when this was the next TSN.
    full_at: u64,
    last_sent: Option<Instant>,
    /// The limits of the send buffer's limit.
    buffer_floor: usize,
    buffer_cap: usize,
    /// The peer understands FORWARD TSN: messages can be given up.
    pub(crate) partial_reliability: bool,
    /// A FORWARD TSN is due.
    pub(crate) forward_due: bool,
    /// The association waits for everything to be acknowledged.
    pub(crate) hurry: bool,
}

impl Sender {
    pub(crate) fn new(config: &Config, initial_tsn: Tsn) -> Self {
        let path_mtu = PathMtu::new(config);
        let packet_size = path_mtu.size();
        let pmdcs = pmdcs(packet_size);
        let congestion = congestion::controller(config, pmdcs, initial_tsn.0);
        Self {
            queue: SendQueue::new(config.scheduler),
            messages: SentMessages::new(),
            interleaving: false,
            outstanding: Outstanding::new(initial_tsn.unwrap_first(), pmdcs),
            delivery: congestion.wants_rate().then(Box::default),
            congestion,
            rto: RetransmissionTimeout::new(config),
            t3: Timer::default(),
            backoff: Backoff { max: config.max_backoff },
            peer_rwnd: 0,
            a_rwnd: 0,
            max_rwnd: 0,
            window_closed: false,
            window_probe_due: false,
            path_mtu,
            packet_size,
            takes_padding: false,
            small_packet: false,
            recover_until: None,
            fast_retransmit_now: false,
            rtt_probe: None,
            recovery: Recovery::default(),
            pacer: Pacer::default(),
            full_at: 0,
            last_sent: None,
            buffer_floor: config.initial_send_buffer.min(config.send_buffer),
            buffer_cap: config.send_buffer,
            partial_reliability: false,
            forward_due: false,
            hurry: false,
        }
    }

    /// The peer's initial window, from its INIT or INIT ACK.
    pub(crate) fn set_peer_rwnd(&mut self, a_rwnd: u32) {
        self.max_rwnd = 0;
        self.note_window(a_rwnd);
        self.peer_rwnd = a_rwnd as usize;
    }

    /// The peer has said its window.
    fn note_window(&mut self, a_rwnd: u32) {
        self.a_rwnd = a_rwnd;
        let a_rwnd = a_rwnd as usize;
        if a_rwnd > self.max_rwnd {
            self.max_rwnd = a_rwnd;
            self.queue.set_window(a_rwnd);
        }
        self.window_closed = a_rwnd < self.path_mtu.base().min(self.max_rwnd / 2);
    }

    /// Whether I-DATA is used (RFC 8260 §2.2.1). Before anything is sent.
    pub(crate) fn set_interleaving(&mut self, interleaving: bool) {
        self.interleaving = interleaving;
        self.queue.set_interleaving(interleaving);
    }

    /// What a chunk adds to its payload on the wire.
    fn overhead(&self) -> usize {
        if self.interleaving { I_DATA_HEADER_LEN } else { DATA_HEADER_LEN }
    }

    /// The cumulative TSN ack of a SHUTDOWN (RFC 9260 §9.2).
    pub(crate) fn on_cumulative_ack(
        &mut self,
        now: Instant,
        tsn: Tsn,
        stats: &mut Stats,
    ) -> Result<SackOutcome, SackError> {
        if tsn == Tsn::wrap(self.outstanding.cumulative_tsn_ack()) {
            // No news; and it says nothing of the gaps, so it takes nothing back either.
            return Ok(SackOutcome::default());
        }
        let sack = Sack::cumulative_only(tsn, self.a_rwnd);
        self.on_sack(now, &sack, stats)
    }

    /// Whether [`write_data`](Self::write_data) would write a full chunk into an empty packet.
    pub(crate) fn has_sendable(&self) -> bool {
        (self.outstanding.has_lost() && self.fast_retransmit_now)
            || ((self.outstanding.has_lost() || self.has_new())
                && self.pacer.blocked_until().is_none()
                && (if self.outstanding.has_lost() {
                    self.window_allows(self.path_mtu.base())
                } else {
                    self.window_allows_new(self.path_mtu.base())
                }))
    }

    /// The size of full packets.
    #[inline]
    pub(crate) fn packet_size(&self) -> usize {
        self.packet_size
    }

    /// The largest packet that [`write_data`](Self::write_data) may fill now.
    #[inline]
    pub(crate) fn packet_limit(&mut self) -> usize {
        let limit = if self.small_packet { self.path_mtu.floor() } else { self.path_mtu.size() };
        if limit < self.path_mtu.base() {
            // A chunk that was cut for the base size goes out in such a packet all the same: it can't be cut again, and
            // the path may take it one day.
            let overhead = self.overhead();
            let needs = |chunk: SentChunk| HEADER_LEN + overhead + padded(usize::from(chunk.len));
            return self.outstanding.peek_lost().map_or(limit, |(_, chunk)| limit.max(needs(chunk)));
        }
        limit
    }

    /// The TSN that the next new chunk gets, less one (RFC 6525 §5.1.2, A3).
    pub(crate) fn last_assigned_tsn(&self) -> u64 {
        self.outstanding.next_tsn() - 1
    }

    /// Everything handed over has been sent and acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.outstanding.is_empty() && self.queue.is_empty()
    }

    /// There is nothing that could be sent or acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding.is_empty() && !self.queue.has_messages()
    }

    /// Whether new data waits for its first transmission.
    fn has_new(&self) -> bool {
        self.queue.has_messages()
    }

    /// Writes as many DATA chunks as fit the packet, the windows and the occasion: lost ones first
    /// (RFC 9260 §6.1 C), then new ones.
    pub(crate) fn write_data(&mut self, now: Instant, packet: &mut PacketWriter<'_>, stats: &mut Stats) {
        if !self.has_new() && !self.outstanding.has_lost() {
            return;
        }
        self.restart_after_idle(now);
        if self.outstanding.flight() == 0 && self.delivery.as_ref().is_some_and(|d| d.is_app_limited()) {
            self.congestion.on_restart(now);
        }
        let forced = self.outstanding.flight() == 0 || self.fast_retransmit_now;
        if !forced && !self.pacer.ready(now) {
            return;
        }
        self.outstanding.now = self.recovery.micros(now);
        let (flight_before, next_tsn) = (self.outstanding.flight(), self.outstanding.next_tsn());
        let mut wrote = false;
        while let Some((tsn, chunk)) = self.outstanding.peek_lost() {
            if self.give_up_if_due(now, tsn, stats) {
                continue;
            }
            let payload_len = usize::from(chunk.len);
            let forced = self.fast_retransmit_now;
            if packet.room() < padded(payload_len) + self.overhead() {
                if packet.is_empty() {
                    // The buffer has become smaller than what was cut for it. T3 counts the tries, so that
                    // this ends in a timeout and not in silence.
                    self.start_t3(now);
                }
                break;
            }
            let has_credit = self.recovery.retransmit_credit >= payload_len && !self.window_closed;
            if !(forced || has_credit || self.window_allows(payload_len)) {
                break;
            }
            let Some(message) = self.messages.get(chunk.message) else { break };
            let start = chunk.offset as usize;
            let Some(payload) = message.payload.get(start..start + payload_len) else { break };
            let begins = packet.len();
            if !self.write_chunk(packet, message, tsn, (chunk.wire_flags(), chunk.fsn), payload) {
                break;
            }
            let large = self.is_beyond(begins, packet.len());
            self.recovery.retransmit_credit = self.recovery.retransmit_credit.saturating_sub(payload_len);
            let is_first = tsn == self.outstanding.cumulative_tsn_ack() + 1;
            self.outstanding.retransmitted(tsn, large);
            self.peer_rwnd = self.peer_rwnd.saturating_sub(payload_len);
            stats.retransmissions += 1;
            stats.retransmissions_by_timeout += u64::from(self.is_after_timeout());
            wrote = true;
            if is_first {
                // RFC 9260 §7.2.4, rule 4
                self.t3.stop();
            }
        }
        if wrote {
            self.fast_retransmit_now = false;
        }
        if !self.outstanding.has_lost() {
            wrote |= self.write_new(now, packet, stats);
        }
        if !wrote && self.window_closed && self.outstanding.is_empty() {
            // The first probe goes an RTO later (RFC 9260 §6.1 A): mostly the peer's next SACK comes before it.
            self.start_t3(now);
        }
        if wrote {
            self.small_packet = false;
            self.path_mtu.on_data_sent(now);
            self.last_sent = Some(now);
            self.recovery.sent(now);
            self.t3.start_if_stopped(now, self.rto.rto(), self.backoff);
            let (flight, cwnd) = (self.outstanding.flight(), self.congestion.cwnd());
            if flight + self.packet_size > cwnd {
                self.full_at = self.outstanding.next_tsn();
            }
            if let Some(delivery) = &mut self.delivery {
                delivery.sent(now, self.outstanding.now, next_tsn, flight_before, flight);
            }
            match self.pace(cwnd) {
                Some(pace) => self.pacer.sent(now, flight.saturating_sub(flight_before), pace),
                None => self.pacer.reset(),
            }
        }
    }

    fn pace(&self, cwnd: usize) -> Option<Pace> {
        if let Some(rate) = self.congestion.pacing_rate() {
            return Some(Pace::of_rate(rate, self.packet_size));
        }
        let slow_start = cwnd < self.congestion.ssthresh();
        Pace::of_window(cwnd, self.rto.srtt(), slow_start, self.packet_size)
    }

    /// Cuts new chunks into the rest of the packet.
    fn write_new(&mut self, now: Instant, packet: &mut PacketWriter<'_>, stats: &mut Stats) -> bool {
        let overhead = self.overhead();
        // Longer ones could not be sent again, should the path take less one day: see `path_mtu`.
        let longest = (self.path_mtu.longest_chunk().saturating_sub(overhead) & !3)
            .clamp(MIN_FRAGMENT, MAX_CHUNK_PAYLOAD);
        let whole = self.packet_size.saturating_sub(HEADER_LEN + overhead).min(longest);
        let pads = self.takes_padding && packet.capacity() == self.packet_size;
        let (mut wrote, mut more) = (false, false);
        while self.outstanding.len() < MAX_OUTSTANDING {
            let room = packet.room().saturating_sub(overhead) & !3;
            let Some(next) = self.queue.next_cut() else { break };
            let fits_the_next = next.cutting.is_none() && next.rest > room && next.rest <= whole;
            if room < MIN_FRAGMENT || (pads && wrote && fits_the_next && room < self.packet_size / UNCUT) {
                more = true;
                break;
            }
            let slot = next.slot;
            let mut len = next.rest.min(room).min(longest);
            if len < room && len < next.rest && room - len < overhead + MIN_FRAGMENT {
                // What it leaves has no room for another chunk, and a packet that is not full ends a batch: two halves.
                len = ((room.saturating_sub(overhead) / 2) & !3).max(MIN_FRAGMENT);
            }
            if len > self.peer_rwnd && self.outstanding.flight() == 0 && !self.window_closed {
                // A peer whose whole window is less than a packet.
                len = len.min(self.peer_rwnd & !3).max(MIN_FRAGMENT.min(next.rest));
            }
            if !self.window_allows_new(len) {
                break;
            }
            // What is not begun can still be overtaken, or outlive itself.
            let Some(cutting) = next.cutting.or_else(|| self.begin_message(now, slot, stats)) else {
                continue;
            };
            let Some(message) = self.messages.get(cutting.message) else { break };
            let mut flags = if message.unordered { FLAG_UNORDERED } else { 0 };
            if cutting.offset == 0 && message.part.begins {
                flags |= FLAG_BEGIN;
            }
            if len == next.rest && message.part.ends {
                flags |= FLAG_END;
                // RFC 7053 §4.2: nothing follows that would make the peer acknowledge this soon, or the shutdown
                // or a stream reset waits for it.
                let waited_for = self.hurry || self.outstanding.flight() > self.packet_size;
                if (waited_for && self.queue.is_last(slot)) || self.queue.is_last_before_reset(slot) {
                    flags |= FLAG_IMMEDIATE;
                }
            }
            let Some(payload) = message.payload.get(cutting.offset..cutting.offset + len) else { break };
            let tsn = self.outstanding.next_tsn();
            let begins = packet.len();
            if !self.write_chunk(packet, message, tsn, (flags, cutting.fsn), payload) {
                break;
            }
            let large = self.is_beyond(begins, packet.len());
            // A message is at most 2^32 - 1 bytes, a chunk at most 65,535: `send` and the cut saw to it.
            self.outstanding.push(Cut {
                message: cutting.message,
                fsn: cutting.fsn,
                offset: cutting.offset as u32,
                len: len as u16,
                flags,
                overhead: overhead as u8,
                large,
            });
            self.messages.hold(cutting.message, tsn);
            if self.queue.cut(slot, len, padded(len) + overhead) {
                self.messages.release(cutting.message);
            }
            self.peer_rwnd = self.peer_rwnd.saturating_sub(len);
            self.window_probe_due = false;
            if self.rtt_probe.is_none() {
                self.rtt_probe = Some((tsn, now));
            }
            stats.data_chunks_sent += 1;
            wrote = true;
        }
        let floor = self.path_mtu.floor();
        // A FORWARD TSN takes what is left, and no chunk but the last would tell that the packet is larger than the floor.
        let may_pad = !self.forward_due && (packet.len() > floor || self.packet_size <= floor);
        if pads && may_pad && more && wrote && self.window_allows_new(MIN_FRAGMENT) {
            // Packets of one size go out in one batch, and a shorter one ends it.
            packet.pad();
        }
        self.queue.end_of_packet();
        wrote
    }

    #[inline]
    fn write_chunk(
        &self,
        packet: &mut PacketWriter<'_>,
        message: &SentMessage,
        tsn: u64,
        (flags, fsn): (u8, u32),
        payload: &[u8],
    ) -> bool {
        let (tsn, stream, ppid) = (Tsn::wrap(tsn), message.stream, message.ppid);
        if self.interleaving {
            let chunk = IDataChunk { flags, tsn, stream, mid: message.mid, ppid, fsn, payload };
            chunk.header().is_some_and(|header| packet.data_chunk(&header, payload))
        } else {
            // RFC 9260 §3.3.1: meaningless when unordered.
            let ssn = if message.unordered { Ssn(0) } else { message.mid.ssn() };
            let chunk = DataChunk { flags, tsn, stream, ssn, ppid, payload };
            chunk.header().is_some_and(|header| packet.data_chunk(&header, payload))
        }
    }

    /// Whether the chunk in these bytes of a packet is the one that makes it larger than what is sure to arrive.
    #[inline]
    fn is_beyond(&self, begins: usize, ends: usize) -> bool {
        let floor = self.path_mtu.floor();
        begins <= floor && ends > floor
    }

    /// Whether a new chunk may go: into a closed window only as a probe when that is due, or as the last of what
    /// there is (RFC 1122 §4.2.3.4).
    fn window_allows_new(&self, payload_len: usize) -> bool {
        let closed = self.window_closed && !self.window_probe_due && payload_len > self.peer_rwnd;
        self.window_allows(payload_len) && !(closed && self.outstanding.flight() == 0)
    }

    /// RFC 9260 §6.1 A and B: both windows, and always one chunk when nothing is in flight.
    fn window_allows(&self, payload_len: usize) -> bool {
        self.outstanding.flight() == 0
            || (self.outstanding.flight_on_path() < self.congestion.cwnd()
                && payload_len <= self.peer_rwnd
                && !self.window_closed)
    }

    /// RFC 9260 §7.2.1: the congestion window decays while nothing is sent.
    fn restart_after_idle(&mut self, now: Instant) {
        let Some(last) = self.last_sent else { return };
        if !self.outstanding.is_empty() {
            return;
        }
        let rto = self.rto.rto();
        let idle = now.saturating_duration_since(last);
        if idle >= rto {
            let rtos = idle.as_nanos() / rto.as_nanos().max(1);
            self.congestion.on_idle(u32::try_from(rtos).unwrap_or(u32::MAX));
            self.last_sent = Some(now);
        }
    }

    /// Takes in a SACK (RFC 9260 §6.2.1).
    pub(crate) fn on_sack(
        &mut self,
        now: Instant,
        sack: &Sack<'_>,
        stats: &mut Stats,
    ) -> Result<SackOutcome, SackError> {
        let before = self.outstanding.cumulative_tsn_ack();
        let cumulative = sack.cumulative_tsn_ack.unwrap_near(before);
        if cumulative < before {
            // D i: out of order
            return Ok(SackOutcome::default());
        }
        if cumulative >= self.outstanding.next_tsn() {
            return Err(SackError::NeverSent);
        }
        self.note_app_limit();
        let in_fast_recovery = self.recover_until.is_some();
        let window_was_full = before + 1 < self.full_at;
        let count_reports = !self.recovery.reordering;
        self.outstanding.now = self.recovery.micros(now);
        let probe = self.rtt_probe.filter(|&(tsn, _)| self.probe_is_good(tsn));

        let (queue, messages) = (&mut self.queue, &mut self.messages);
        let mut released = 0;
        let mut summary = self.outstanding.on_sack(
            cumulative,
            sack.gap_ack_blocks(),
            in_fast_recovery,
            count_reports,
            |chunk| {
                if let Some((slot, done)) = messages.release(chunk.message) {
                    let len = usize::from(chunk.len);
                    released += len;
                    queue.release_chunk(slot, len, done);
                }
            },
        );
        self.queue.budget.give_back(released);
        stats.dropped_chunks += u64::from(summary.bad_blocks > 0);
        if let Some((tsn, sent)) = probe {
            let acked = tsn <= cumulative
                || self.outstanding.get(tsn).is_some_and(|c| c.state == outstanding::ChunkState::Acked);
            if acked {
                self.rto.measured(now.saturating_duration_since(sent));
                self.rtt_probe = None;
            }
        } else {
            self.rtt_probe = None;
        }
        if self.recover_until.is_some_and(|until| until <= cumulative) {
            self.recover_until = None;
        }
        let rtt = self.rack(now, &mut summary, sack.duplicates(), stats);
        self.judge_sizes(now, &summary);
        self.report_lost(now, self.begins_recovery());
        if summary.acked_bytes > 0 {
            let rate = self.sample_rate(now, &summary);
            self.congestion.on_ack(Acked {
                now,
                bytes: summary.acked_bytes,
                window_was_full,
                cumulative_advanced: summary.cumulative_advanced,
                in_fast_recovery: self.recover_until.is_some(),
                all_acked: self.outstanding.is_empty(),
                cumulative,
                next_tsn: self.outstanding.next_tsn(),
                rtt,
                srtt: self.rto.srtt(),
                in_flight: self.outstanding.flight(),
                rate,
            });
            if self.congestion.is_holding_back()
                && let Some(delivery) = &mut self.delivery
            {
                delivery.app_limited(self.outstanding.flight());
            }
        }
        self.on_lost(summary.lost, stats);
        self.give_up_lost(now, stats);
        self.peer_rwnd = (sack.a_rwnd as usize).saturating_sub(self.outstanding.flight_payload());
        self.note_window(sack.a_rwnd);
        if summary.cumulative_advanced {
            // RFC 9260 §6.3.2, R3
            self.t3.reset_backoff();
            self.t3.stop();
        } else if self.delivery.is_some() && summary.acked_bytes > 0 && self.t3.expirations() == 0 {
            // Something is missing, but the path is alive, and loss detection by time sees to it, lost
            // retransmissions included. T3 is for when nothing comes back at all (as RFC 9002 §6.2.1 has it). Only
            // with a rate-based controller, which keeps a lossy path full, this is seen to matter.
            self.t3.stop();
        }
        if self.outstanding.is_empty() {
            // R2
            self.t3.stop();
            self.t3.reset_backoff();
        } else if self.outstanding.flight() > 0 || self.outstanding.first_is_abandoned() {
            self.t3.start_if_stopped(now, self.rto.rto(), self.backoff);
        }
        // RFC 3758 §3.5, C3: a SACK that has not caught up calls for another FORWARD TSN.
        self.forward_due |= self.outstanding.first_is_abandoned();
        self.note_capacity();
        Ok(SackOutcome { alive: summary.acked_bytes > 0 || self.window_closed })
    }

    /// Notes that everything was sent though more could be, before that changes (draft-ietf-ccwg-bbr-06
    /// §4.1.2.4).
    fn note_app_limit(&mut self) {
        let flight = self.outstanding.flight();
        if let Some(delivery) = &mut self.delivery
            && !self.queue.has_messages()
            && !self.outstanding.has_lost()
            && flight < self.congestion.cwnd()
        {
            delivery.app_limited(flight);
        }
    }

    /// What a SACK says about the path's rate, for a controller that wants it.
    fn sample_rate(&mut self, now: Instant, summary: &SackSummary) -> Option<RateSample> {
        let first = self.outstanding.cumulative_tsn_ack() + 1;
        let newest = self.recovery.newest_acked(now, summary);
        let min_rtt = self.recovery.min_rtt();
        self.delivery.as_mut()?.acknowledged(now, summary.acked_bytes, newest, first, min_rtt)
    }

    /// Tells a controller that wants it what has just been found lost; `is_first` if nothing was being repaired.
    fn report_lost(&mut self, now: Instant, mut is_first: bool) {
        let Some(delivery) = &mut self.delivery else { return };
        for &tsn in &self.outstanding.newly_lost {
            let Some(chunk) = self.outstanding.get(tsn) else { continue };
            let Some(sample) = delivery.lost(chunk.sent_at, chunk.wire_len()) else { continue };
            self.congestion.on_lost(Lost { now, tsn, is_first, sample });
            is_first = false;
        }
    }

    /// Karn's rule (RFC 9260 §6.3.1, C5): what was sent twice measures nothing.
    fn probe_is_good(&self, tsn: u64) -> bool {
        self.outstanding.get(tsn).is_some_and(|chunk| {
            chunk.transmissions == 1 && chunk.state != outstanding::ChunkState::Abandoned
        })
    }

    /// T3-rtx ran out (RFC 9260 §6.3.3).
    pub(crate) fn on_t3(&mut self, now: Instant, stats: &mut Stats) {
        stats.t3_expirations += 1;
        let flight_payload = self.outstanding.flight_payload();
        if self.outstanding.mark_all_lost() {
            self.on_black_hole();
        }
        // A closed window is the peer's wish, not the path's; its probes leave the congestion window alone.
        if !self.window_closed {
            self.congestion.on_timeout();
        }
        self.window_probe_due = self.window_closed && self.outstanding.is_empty();
        self.peer_rwnd = self.peer_rwnd.saturating_add(flight_payload);
        if !self.window_closed {
            self.report_lost(now, false);
        }
        self.on_lost_by_timeout(self.outstanding.lost());
        self.pacer.reset();
        self.recover_until = None;
        self.fast_retransmit_now = false;
        self.rtt_probe = None;
        self.give_up_lost(now, stats);
        self.forward_due |= self.outstanding.first_is_abandoned();
    }

    /// The peer has fewer streams than we hoped for: what was queued on the others is given up.
    pub(crate) fn drop_streams_from(&mut self, id: StreamId, stats: &mut Stats) {
        stats.messages_abandoned += self.queue.drop_from(id) as u64;
    }

    /// The end: nothing will be sent any more, and the memory is given back.
    pub(crate) fn discard(&mut self) {
        self.queue = SendQueue::new(Scheduler::default());
        self.messages = SentMessages::new();
        self.outstanding = Outstanding::new(self.outstanding.next_tsn(), pmdcs(self.packet_size));
        self.path_mtu.stop();
        self.t3.stop();
        self.recovery = Recovery::default();
        self.pacer.reset();
        self.forward_due = false;
    }

    /// What `t3` needs to be started with after something else than DATA was sent.
    pub(crate) fn start_t3(&mut self, now: Instant) {
        self.t3.start_if_stopped(now, self.rto.rto(), self.backoff);
    }

    /// A round trip measured by a heartbeat.
    pub(crate) fn measured(&mut self, rtt: Duration) {
        self.rto.measured(rtt);
    }

    /// Puts the gauges into the statistics.
    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        stats.cwnd = self.congestion.cwnd();
        stats.ssthresh = self.congestion.ssthresh();
        stats.srtt = self.rto.srtt();
        stats.rto = self.rto.rto();
        stats.rttvar = self.rto.rttvar();
        stats.peer_rwnd = self.peer_rwnd;
        stats.flight = self.outstanding.flight();
        stats.unacked_chunks = self.outstanding.len();
        self.path_mtu.fill_stats(stats);
        stats.send_buffer = self.buffer_limit();
    }
}

/// The path's maximum for DATA chunks (PMDCS, RFC 9260 §6.9).
fn pmdcs(packet_size: usize) -> usize {
    packet_size.saturating_sub(HEADER_LEN).max(1)
}

/// The most payload of one chunk: its length field has 16 bits.
const MAX_CHUNK_PAYLOAD: usize = (u16::MAX as usize - I_DATA_HEADER_LEN) & !3;
