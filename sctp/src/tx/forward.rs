//! Giving messages up (RFC 3758, RFC 7496 §4.1), and telling the peer with FORWARD TSN.
//!
//! A message is given up whole: what was sent of it is abandoned, what was not is never sent. If its end was
//! never sent, one more TSN is taken for it, so that there is always something for the peer to skip.

use std::time::Instant;

use super::Sender;
use super::outstanding::ChunkState;
use crate::stats::Stats;
use crate::types::Tsn;
use crate::wire::chunk::ChunkType;
use crate::wire::data::FLAG_END;
use crate::wire::writer::PacketWriter;

/// How many streams one FORWARD TSN names; when more are skipped, it goes only as far as these.
const MAX_STREAMS: usize = 128;

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
        let len = message.payload.len();
        self.outstanding.abandon(tsn);
        if let Some(cutting) = self.cutting.filter(|cutting| cutting.message == chunk.message) {
            let rest = len - cutting.offset;
            self.queue.unbuffer(slot, rest);
            self.release(slot, rest);
            self.outstanding.push_abandoned(chunk.message, FLAG_END);
            self.cutting = None;
        }
        stats.messages_abandoned += 1;
        self.forward_due = true;
        true
    }

    /// Writes a FORWARD TSN if one is due (RFC 3758 §3.5, C3).
    pub(crate) fn write_forward_tsn(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        if !self.forward_due {
            return;
        }
        if !self.outstanding.first_is_abandoned() {
            self.forward_due = false;
            return;
        }
        let mut streams: Vec<(u16, u16)> = Vec::new();
        // Streams on which a reliable message waits at the peer for one that is skipped. It is delivered with this
        // FORWARD TSN, unless that goes on to skip a message after it: dcSCTP then drops what waits before that.
        let mut held: Vec<u16> = Vec::new();
        let mut full_at = None;
        let messages = &self.messages;
        let mut message_before = None;
        let point = self.outstanding.advanced_peer_ack_point(|chunk| {
            if full_at.is_some() || message_before == Some(chunk.message) {
                return;
            }
            message_before = Some(chunk.message);
            let Some(message) = messages.get(chunk.message) else { return };
            if message.unordered {
                return;
            }
            if chunk.state == ChunkState::Acked {
                let waits = streams.iter().any(|(stream, _)| *stream == message.stream.0);
                if waits && message.is_reliable() {
                    held.push(message.stream.0);
                }
                return;
            }
            if held.contains(&message.stream.0) {
                full_at = Some(chunk.message);
            } else if let Some((_, ssn)) = streams.iter_mut().find(|(stream, _)| *stream == message.stream.0)
            {
                // Messages come in the order of their SSNs: the last one is the highest.
                *ssn = message.ssn.0;
            } else if streams.len() < MAX_STREAMS {
                streams.push((message.stream.0, message.ssn.0));
            } else {
                full_at = Some(chunk.message);
            }
        });
        let Some(mut point) = point else { return };
        if let Some(message) = full_at {
            while point > self.outstanding.cumulative_tsn_ack()
                && self
                    .outstanding
                    .get(point)
                    .is_none_or(|chunk| chunk.message >= message || chunk.state == ChunkState::Acked)
            {
                point -= 1;
            }
        }
        let mut list = Vec::with_capacity(4 * streams.len());
        for (stream, ssn) in streams {
            list.extend_from_slice(&stream.to_be_bytes());
            list.extend_from_slice(&ssn.to_be_bytes());
        }
        if packet.chunk(ChunkType::FORWARD_TSN, 0, &[&Tsn::wrap(point).0.to_be_bytes(), &list]) {
            self.forward_due = false;
            self.start_t3(now);
        }
    }
}
