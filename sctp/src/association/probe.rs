//! Probes of larger packet sizes (RFC 8899 §6.2.3): HEARTBEAT and PAD in a packet of their own.
//!
//! Congestion and flow control don't hold them up, and their loss is no sign of congestion: there is one at a time,
//! and the search that asks for them ([`path_mtu`](crate::tx::path_mtu)) is short.

use std::time::Instant;

use rand::Rng;

use super::Association;
use super::state::State;
use crate::wire::chunk::ChunkType;
use crate::wire::param::{ParamType, RawParam};
use crate::wire::writer::PacketWriter;
use crate::wire::{be32, be64};

/// The heartbeat information of a probe: a nonce and the size. That of other heartbeats is shorter.
pub(super) const PROBE_INFO_LEN: usize = 12;

impl Association {
    /// The layers below send on another path now, as when ICE has changed the pair: congestion control and the search for
    /// the packet size start over (RFC 8261 §6.1).
    pub fn path_changed(&mut self, now: Instant) {
        if self.state.has_peer() {
            self.tx.path_changed(now, &self.config);
        }
    }

    /// So many bytes may wait where the owner takes packets from, as its share of the socket's receive buffer, and no more is
    /// advertised as `a_rwnd`; 128 KiB at the least. Nothing is limited until something is said, and by `usize::MAX`.
    #[inline]
    pub fn set_receive_queue(&mut self, bytes: usize) {
        self.rx.window.set_queue(bytes);
    }

    /// The system has refused to send a packet of so many bytes because of its size (EMSGSIZE). It counts as lost, and
    /// its size as one that the path does not take.
    pub fn packet_refused(&mut self, now: Instant, size: usize) {
        if self.state.has_peer() {
            self.tx.on_size_refused(now, size);
        }
    }

    /// The size of full packets now. [`poll_transmit`](Self::poll_transmit) writes a longer one only as a probe, and only
    /// into a buffer with room for it.
    pub fn packet_size(&self) -> usize {
        self.tx.packet_size()
    }

    /// Writes the probe that is due, if `out` has room for it.
    pub(super) fn write_size_probe(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let size = self.tx.size_probe_due()?;
        // Nothing comes before the COOKIE ACK (RFC 9260 §5.1).
        if self.state != State::Established || self.control.cookie_ack {
            return None;
        }
        let (local_port, remote_port) = (self.config.local_port, self.config.remote_port);
        let mut packet = PacketWriter::new(out.get_mut(..size)?, local_port, remote_port, self.peer_tag)?;
        let nonce = self.tx.send_size_probe(now, self.seed.rng().next_u64());
        let mut info = [0; 4 + PROBE_INFO_LEN];
        info[..2].copy_from_slice(&ParamType::HEARTBEAT_INFO.0.to_be_bytes());
        info[2..4].copy_from_slice(&(4 + PROBE_INFO_LEN as u16).to_be_bytes());
        info[4..12].copy_from_slice(&nonce.to_be_bytes());
        info[12..].copy_from_slice(&(size as u32).to_be_bytes());
        if !packet.chunk(ChunkType::HEARTBEAT, 0, &[&info]) || !packet.pad() {
            return None;
        }
        Some(if self.omits_checksum() { packet.finish_unchecked() } else { packet.finish() })
    }

    /// The answer to a probe. It is as good a sign of life as that to a plain heartbeat.
    pub(super) fn on_size_probe_ack(&mut self, now: Instant, info: &RawParam<'_>) {
        let answered = match (be64(info.value, 0), be32(info.value, 8)) {
            (Some(nonce), Some(size)) => self.tx.on_size_probe_ack(now, nonce, size as usize),
            _ => false,
        };
        if answered {
            self.error_count = 0;
        } else {
            self.stats.dropped_chunks += 1;
        }
    }
}
