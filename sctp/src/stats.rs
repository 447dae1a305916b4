//! Counters and gauges of an association.

use std::time::Duration;

use crate::Congestion;

/// A snapshot, by [`Association::stats`](crate::Association::stats). Counters start at zero and only grow;
/// sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Packets written by `poll_transmit`.
    pub packets_sent: u64,
    /// Packets given to `handle_input`, bad ones included.
    pub packets_received: u64,
    /// Bytes of SCTP packets written.
    pub bytes_sent: u64,
    /// Bytes of SCTP packets given to `handle_input`.
    pub bytes_received: u64,
    /// DATA chunks sent for the first time.
    pub data_chunks_sent: u64,
    /// DATA chunks accepted.
    pub data_chunks_received: u64,
    /// DATA chunks sent again, for whatever reason. Those that are not among the next count and not tail-loss probes are fast
    /// retransmissions.
    pub retransmissions: u64,
    /// DATA chunks sent again because the timer T3 ran out.
    pub retransmissions_by_timeout: u64,
    /// Times that losses found by missing reports or by time started a fast recovery.
    pub fast_recoveries: u64,
    /// Times that what was taken for lost turned out to have arrived, and the congestion window was put back.
    pub spurious_recoveries: u64,
    /// Tail-loss probes sent.
    pub tail_loss_probes: u64,
    /// Times that the retransmission timer T3 ran out.
    pub t3_expirations: u64,
    /// SACK chunks sent.
    pub sacks_sent: u64,
    /// SACK chunks received.
    pub sacks_received: u64,
    /// DATA chunks received more than once.
    pub duplicate_tsns: u64,
    /// Messages handed out by `recv`.
    pub messages_received: u64,
    /// Messages accepted by `send`.
    pub messages_sent: u64,
    /// Messages given up because of their limits (partial reliability).
    pub messages_abandoned: u64,
    /// Packets dropped: wrong CRC32c, or zero in its place where that was not agreed.
    pub dropped_checksum: u64,
    /// Packets dropped: too short, a chunk that overruns the packet, or the wrong ports.
    pub dropped_malformed: u64,
    /// Packets dropped: verification tag (RFC 9260 §8.5).
    pub dropped_verification_tag: u64,
    /// Chunks dropped: content that does not parse, or that makes no sense in this state.
    pub dropped_chunks: u64,
    /// DATA chunks dropped: no room, too far ahead, or more gaps than are tracked. They are not acknowledged.
    pub dropped_data_no_room: u64,
    /// DATA and messages dropped though acknowledged: stale or repeated SSNs, fragments without a beginning,
    /// streams that don't exist.
    pub dropped_data_invalid: u64,
    /// State cookies refused: forged, stale or of another association.
    pub dropped_cookies: u64,
    /// Chunks of a type that is not known here.
    pub unknown_chunks: u64,
    /// Probes of larger packet sizes sent (RFC 8899).
    pub size_probes_sent: u64,
    /// Those of them that were not answered in time.
    pub size_probes_lost: u64,
    /// Times that packets above the base size seemed not to arrive any more, and the size fell back. An outage of the
    /// whole path counts, too.
    pub black_holes: u64,
    /// The largest packet sent now, probes aside.
    pub packet_size: usize,
    /// How the congestion window is found.
    pub congestion: Congestion,
    /// Congestion window.
    pub cwnd: usize,
    /// Slow-start threshold.
    pub ssthresh: usize,
    /// Smoothed round-trip time; `None` before the first measurement.
    pub srtt: Option<Duration>,
    /// Round-trip time variation (RFC 9260 §6.3.1); zero before the first measurement.
    pub rttvar: Duration,
    /// Retransmission timeout, without back-off.
    pub rto: Duration,
    /// What the peer's window has left by our account.
    pub peer_rwnd: usize,
    /// Bytes of DATA chunks, headers included, sent and neither acknowledged nor considered lost.
    pub flight: usize,
    /// DATA chunks sent and not acknowledged by the cumulative TSN.
    pub unacked_chunks: usize,
    /// The window that we would advertise now: what is free of the receive buffer, or of what has room before it
    /// ([`Association::set_receive_queue`](crate::Association::set_receive_queue)) if that is less.
    pub a_rwnd: usize,
    /// How large the receive buffer is now.
    pub receive_buffer: usize,
    /// How much the send buffer may hold now.
    pub send_buffer: usize,
}
