//! One packet out.
//!
//! Order in a packet: COOKIE ECHO or COOKIE ACK, which must be first; SACK; heartbeats, errors, RE-CONFIG and
//! SHUTDOWN; then DATA, which fills what is left, so that all packets of a bulk transfer have one size.
//! INIT, INIT ACK, ABORT and SHUTDOWN COMPLETE go alone, and so do probes of packet sizes.

use std::time::Instant;

use super::Association;
use super::state::State;
use crate::wire::writer::PacketWriter;

impl Association {
    /// Writes one packet and returns its length; `None` when there is nothing to send now. The packet is as
    /// large as `out` and [`packet_size`](Self::packet_size) allow, rounded down to a multiple of four;
    /// call it until it returns `None`. A probe of a larger size is as large as that size: probes are sent only into
    /// an `out` of up to [`Config::max_mtu`](crate::Config::max_mtu).
    ///
    /// `out` should not become smaller during the life of an association: a chunk that was cut for a larger
    /// packet can't be cut again, and waits for room.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let len = match self.write_size_probe(now, out) {
            Some(len) => len,
            None => {
                let budget = out.len().min(self.tx.packet_limit());
                self.write_packet(now, out.get_mut(..budget)?)?
            }
        };
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += len as u64;
        Some(len)
    }

    fn write_packet(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let (local_port, remote_port) = (self.config.local_port, self.config.remote_port);
        while let Some(reply) = self.control.next_reply() {
            let mut packet = PacketWriter::new(out, local_port, remote_port, reply.tag)?;
            if packet.chunk(reply.kind, reply.flags, &[&reply.value]) {
                return Some(packet.finish());
            }
            tracing::debug!(kind = reply.kind.0, "an answer does not fit the packet");
        }
        match self.state {
            State::Closed | State::Ended => return None,
            State::CookieWait => {
                if !self.control.init {
                    return None;
                }
                let mut packet = PacketWriter::new(out, local_port, remote_port, 0)?;
                self.write_init(now, &mut packet);
                return (!packet.is_empty()).then(|| packet.finish());
            }
            _ => {}
        }
        let mut packet = PacketWriter::new(out, local_port, remote_port, self.peer_tag)?;
        if self.state == State::CookieEchoed {
            // Nothing else before the COOKIE ACK, except the report on the INIT ACK.
            if self.control.cookie_echo {
                self.write_cookie_echo(now, &mut packet);
                self.control.write_bundled(&mut packet);
            }
            return (!packet.is_empty()).then(|| packet.finish());
        }
        self.advance_shutdown(now);
        if self.control.cookie_ack && packet.chunk(crate::wire::chunk::ChunkType::COOKIE_ACK, 0, &[]) {
            self.control.cookie_ack = false;
        }
        let sends_data = self.state.sends_data();
        self.tx.hurry = matches!(self.state, State::ShutdownPending | State::ShutdownReceived);
        if self.rx.sack.is_due() || (self.rx.sack.is_pending() && sends_data && self.tx.has_sendable()) {
            self.stats.sacks_sent += u64::from(self.rx.write_sack(&mut packet));
        }
        self.control.write_bundled(&mut packet);
        if self.control.heartbeat || self.control.rtt_probe {
            self.write_heartbeat(now, &mut packet);
        }
        self.write_reconfig(now, &mut packet);
        self.write_shutdown(now, &mut packet);
        if sends_data {
            self.tx.write_data(now, &mut packet, &mut self.stats);
            self.tx.write_forward_tsn(now, &mut packet);
        }
        if packet.is_empty() {
            return None;
        }
        Some(if self.omits_checksum() { packet.finish_unchecked() } else { packet.finish() })
    }

    /// Whether the packets of the association itself go without a checksum: the peer has said that it takes
    /// them so (RFC 9653 §5.2). Those that say so themselves, COOKIE ECHO, and what answers out of the blue
    /// always have one.
    pub(super) fn omits_checksum(&self) -> bool {
        self.config.zero_checksum && self.peer_capabilities.zero_checksum
    }
}
