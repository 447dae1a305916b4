use sinnet_ice::Path;

use crate::report::{PeerConnectionStats, SctpTransportStats, TransportStats};

/// One peer connection at one moment: what W3C's statistics say of it, and the counters of every layer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The connection, in W3C's words.
    pub connection: PeerConnectionStats,
    /// Its transport, in W3C's words.
    pub transport: TransportStats,
    /// Its SCTP association, in W3C's words.
    pub sctp_transport: SctpTransportStats,
    /// UDP datagrams given to us.
    pub datagrams_received: u64,
    /// UDP datagrams made by us.
    pub datagrams_sent: u64,
    /// Datagrams that are neither STUN nor DTLS (RFC 7983).
    pub dropped_unknown_protocol: u64,
    /// DTLS datagrams from an address that ICE has not validated.
    pub dropped_unvalidated: u64,
    /// Datagrams that came after the end of the connection.
    pub dropped_after_close: u64,
    /// DCEP messages that did not parse, or came at the wrong time or place.
    pub dcep_errors: u64,
    /// Messages for a stream that no channel has, dropped because too much was kept already.
    pub dropped_orphans: u64,
    /// Messages whose PPID is not a data channel's.
    pub dropped_unknown_ppid: u64,
    /// Text messages that were not UTF-8 and were delivered as binary.
    pub invalid_text: u64,
    /// Messages that could only have been read in pieces, and were asked for whole: refused, and their channels closed.
    pub refused_large: u64,
    /// ICE restarts that have led to a path (RFC 8445 §9).
    pub ice_restarts: u64,
    /// The counters of the ICE agent whose path carries the data.
    pub ice: sinnet_ice::Stats,
    /// The DTLS connection's counters; zeros before there is one.
    pub dtls: sinnet_dtls::Stats,
    /// The SCTP association's counters and state; zeros before there is one.
    pub sctp: sinnet_sctp::Stats,
}

/// What is counted here, and not by a layer. Names are those of [`Stats`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connection: PeerConnectionStats,
    pub(crate) selected_candidate_pair_changes: u64,
    pub(crate) selected_candidate_pair: Option<Path>,
    pub(crate) datagrams_received: u64,
    pub(crate) datagrams_sent: u64,
    pub(crate) dropped_unknown_protocol: u64,
    pub(crate) dropped_unvalidated: u64,
    pub(crate) dropped_after_close: u64,
    pub(crate) dcep_errors: u64,
    pub(crate) dropped_orphans: u64,
    pub(crate) dropped_unknown_ppid: u64,
    pub(crate) invalid_text: u64,
    pub(crate) refused_large: u64,
}

impl Counters {
    /// Statistics in which only these are set.
    pub(crate) fn to_stats(&self) -> Stats {
        Stats {
            connection: self.connection,
            transport: TransportStats {
                selected_candidate_pair_changes: self.selected_candidate_pair_changes,
                selected_candidate_pair: self.selected_candidate_pair,
                ..TransportStats::default()
            },
            datagrams_received: self.datagrams_received,
            datagrams_sent: self.datagrams_sent,
            dropped_unknown_protocol: self.dropped_unknown_protocol,
            dropped_unvalidated: self.dropped_unvalidated,
            dropped_after_close: self.dropped_after_close,
            dcep_errors: self.dcep_errors,
            dropped_orphans: self.dropped_orphans,
            dropped_unknown_ppid: self.dropped_unknown_ppid,
            invalid_text: self.invalid_text,
            refused_large: self.refused_large,
            ..Stats::default()
        }
    }
}
