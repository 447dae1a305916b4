//! Giving messages up (RFC 3758, RFC 7496 §4.1), and telling the peer with FORWARD TSN, or with I-FORWARD-TSN
//! (RFC 8260 §2.3.1).
//!
//! A message is given up whole: what was sent of it is abandoned, what was not is never sent. If its end was
//! never sent, one more TSN is taken for it, so that there is always something for the peer to skip.

use std::time::Instant;

use super::Sender;
use super::messages::SentMessage;
use super::outstanding::ChunkState;
use super::send_queue::Part;
use crate::stats::Stats;
use crate::types::{StreamId, Tsn};
use crate::wire::chunk::ChunkType;
use crate::wire::data::FLAG_END;
use crate::wire::i_forward_tsn::{ENTRY_LEN, Skip};
use crate::wire::writer::PacketWriter;

/// How many streams one FORWARD TSN or I-FORWARD-TSN names; when more are skipped, it goes only as far as
/// these.
const MAX_SKIPS: usize = 128;

impl Sender {
    /// Looks at the chunks that have just been found lost, and gives up those whose message is past its
    /// limits.
    pub(super) fn give_up_lost(&mut self, now: Instant, stats: &mut Stats) {
        let mut lost = std::mem::take(&mut self.outstanding.newly_lost);
        if self.partial_reliability {
            for &tsn in &lost {
                self.give_up_if_due(now, tsn, stats);
            }
        }
        lost.clear();
        self.outstanding.newly_lost = lost;
    }

    /// Gives up the message of a chunk that would have to be sent again, if its limits say so.
    pub(super) fn give_up_if_due(&mut self, now: Instant, tsn: u64, stats: &mut Stats) -> bool {
        if !self.partial_reliability {
            return false;
        }
        let Some(chunk) = self.outstanding.get(tsn).copied() else { return false };
        if chunk.state != ChunkState::ToRetransmit {
            return false;
        }
        let Some(message) = self.messages.get(chunk.message) else { return false };
        // The first transmission is not a retransmission.
        let spent = message.max_retransmits.is_some_and(|max| u32::from(chunk.transmissions) > max);
        if !(spent || message.expires.is_some_and(|expires| expires <= now)) {
            return false;
        }
        let slot = message.slot;
        if message.part != Part::WHOLE {
            let (unordered, mid) = (message.unordered, message.mid);
            self.give_up_parts(slot, unordered, mid, stats);
            return true;
        }
        self.outstanding.abandon(message.first_tsn, message.last_tsn, |index| index == chunk.message);
        if let Some(cutting) = self.queue.stop_cutting(slot, chunk.message) {
            let rest = cutting.len - cutting.offset;
            self.queue.unbuffer(slot, cutting.buffered(rest));
            self.queue.release(slot, rest, false);
            let tsn = self.outstanding.push_abandoned(chunk.message, FLAG_END);
            self.messages.hold(chunk.message, tsn);
            self.messages.release(chunk.message);
        }
        stats.messages_abandoned += 1;
        self.forward_due = true;
        true
    }

    /// Writes a FORWARD TSN if one is due (RFC 3758 §3.5, C3).
    #[inline]
    pub(crate) fn write_forward_tsn(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        if self.forward_due {
            self.write_forward_tsn_due(now, packet);
        }
    }

    fn write_forward_tsn_due(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        if !self.outstanding.first_is_abandoned() {
            self.forward_due = false;
            return;
        }
        let entry_len = if self.interleaving { ENTRY_LEN } else { 4 };
        let max_skips = (packet.room().saturating_sub(8) / entry_len).min(MAX_SKIPS);
        let mut skips: Vec<Skip> = Vec::new();
        // Streams on which a reliable message waits at the peer for one that is skipped. It is delivered with this
        // FORWARD TSN, unless that goes on to skip a message after it: dcSCTP then drops what waits before that.
        let mut held: Vec<StreamId> = Vec::new();
        let mut full_at = None;
        let mut message_before = None;
        let (messages, interleaving) = (&self.messages, self.interleaving);
        let point = self.outstanding.advanced_peer_ack_point(|tsn, chunk| {
            if full_at.is_some() || message_before == Some(chunk.message) {
                return;
            }
            message_before = Some(chunk.message);
            let Some(message) = messages.get(chunk.message) else { return };
            if message.unordered && !interleaving {
                return;
            }
            let &SentMessage { stream, unordered, mid, .. } = message;
            let skip = skips.iter_mut().find(|s| (s.stream, s.unordered) == (stream, unordered));
            if chunk.state == ChunkState::Acked {
                if skip.is_some() && !unordered && message.is_reliable() {
                    held.push(stream);
                }
                return;
            }
            if !unordered && held.contains(&stream) {
                full_at = Some(tsn);
            } else if let Some(skip) = skip {
                // Messages of a stream begin in the order of their numbers: the last one is the highest.
                skip.mid = mid;
            } else if skips.len() < max_skips {
                skips.push(Skip { stream, unordered, mid });
            } else {
                full_at = Some(tsn);
            }
        });
        let Some(mut point) = point.map(|point| full_at.map_or(point, |tsn| point.min(tsn - 1))) else {
            return;
        };
        // Only as far as something abandoned.
        while self.outstanding.get(point).is_some_and(|chunk| chunk.state == ChunkState::Acked) {
            point -= 1;
        }
        if point == self.outstanding.cumulative_tsn_ack() {
            // No room here even for the first: the next packet.
            return;
        }
        let mut list = Vec::with_capacity(entry_len * skips.len());
        for skip in skips {
            if interleaving {
                list.extend_from_slice(&skip.to_bytes());
            } else {
                list.extend_from_slice(&skip.stream.0.to_be_bytes());
                list.extend_from_slice(&skip.mid.ssn().0.to_be_bytes());
            }
        }
        let kind = if interleaving { ChunkType::I_FORWARD_TSN } else { ChunkType::FORWARD_TSN };
        if packet.chunk(kind, 0, &[&Tsn::wrap(point).0.to_be_bytes(), &list]) {
            self.forward_due = false;
            self.start_t3(now);
        }
    }
}
