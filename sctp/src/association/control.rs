//! Control chunks that wait for the next packet.
//!
//! Everything here is a flag or a short bounded list, so that a peer that asks for much gets one answer per
//! packet at most: one answer of each kind outside the association, [`MAX_HEARTBEAT_ACKS`] heartbeats,
//! [`MAX_ERROR_BYTES`] bytes of error causes.

use crate::wire::cause::CauseCode;
use crate::wire::chunk::ChunkType;
use crate::wire::param::push_tlv;
use crate::wire::writer::PacketWriter;

/// Heartbeats answered between two packets of ours; more are ignored.
const MAX_HEARTBEAT_ACKS: usize = 2;
/// The largest heartbeat information echoed.
const MAX_HEARTBEAT_INFO: usize = 512;
/// Error causes kept for the next packet.
const MAX_ERROR_BYTES: usize = 512;
/// How much of an unrecognized chunk is reported.
pub(super) const MAX_REPORTED_CHUNK: usize = 128;

/// A packet of one chunk with a verification tag of its own.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) tag: u32,
    pub(crate) kind: ChunkType,
    pub(crate) flags: u8,
    pub(crate) value: Vec<u8>,
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) init: bool,
    pub(crate) cookie_echo: bool,
    pub(crate) cookie_ack: bool,
    pub(crate) shutdown: bool,
    pub(crate) shutdown_ack: bool,
    pub(crate) heartbeat: bool,
    /// A HEARTBEAT that measures the round trip for the receive window.
    pub(crate) rtt_probe: bool,
    heartbeat_acks: Vec<Vec<u8>>,
    /// Causes for an ERROR chunk, each padded.
    errors: Vec<u8>,
    replies: Vec<Reply>,
}

impl Control {
    /// Queues a packet of its own; it takes the place of an earlier one of its kind.
    pub(crate) fn reply(&mut self, reply: Reply) {
        self.replies.retain(|queued| queued.kind != reply.kind);
        self.replies.push(reply);
    }

    pub(crate) fn next_reply(&mut self) -> Option<Reply> {
        if self.replies.is_empty() {
            return None;
        }
        let reply = self.replies.remove(0);
        if self.replies.is_empty() {
            // They belong to beginnings and ends.
            self.replies = Vec::new();
        }
        Some(reply)
    }

    /// Forgets everything but the replies, for the end of the association.
    pub(crate) fn clear(&mut self) {
        *self = Self { replies: std::mem::take(&mut self.replies), ..Self::default() };
    }

    /// Queues the echo of a HEARTBEAT's value; `false` when it is too large or there are too many.
    pub(crate) fn heartbeat_ack(&mut self, value: &[u8]) -> bool {
        let taken = self.heartbeat_acks.len() < MAX_HEARTBEAT_ACKS && value.len() <= MAX_HEARTBEAT_INFO;
        if taken {
            self.heartbeat_acks.push(value.to_vec());
        }
        taken
    }

    /// Queues an error cause, if there is room and it is not the one queued last.
    pub(crate) fn error(&mut self, code: CauseCode, info: &[u8]) {
        if self.errors.len() + info.len() + 8 <= MAX_ERROR_BYTES {
            let mut cause = Vec::with_capacity(info.len() + 8);
            push_tlv(&mut cause, code.0, info);
            if !self.errors.ends_with(&cause) {
                self.errors.extend_from_slice(&cause);
            }
        }
    }

    /// Writes what may go with other chunks, as far as it fits.
    #[inline]
    pub(crate) fn write_bundled(&mut self, packet: &mut PacketWriter<'_>) {
        if !(self.heartbeat_acks.is_empty() && self.errors.is_empty()) {
            self.write_what_waits(packet);
        }
    }

    #[cold]
    fn write_what_waits(&mut self, packet: &mut PacketWriter<'_>) {
        self.heartbeat_acks.retain(|value| !packet.chunk(ChunkType::HEARTBEAT_ACK, 0, &[value]));
        if self.heartbeat_acks.is_empty() {
            // The peer asks once in a while.
            self.heartbeat_acks = Vec::new();
        }
        if !self.errors.is_empty() && packet.chunk(ChunkType::ERROR, 0, &[&self.errors]) {
            self.errors.clear();
        }
    }
}
