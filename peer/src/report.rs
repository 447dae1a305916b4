//! Statistics in the words of W3C's "Identifiers for WebRTC's Statistics API" (webrtc-stats), in snake case.
//!
//! | W3C | here |
//! |---|---|
//! | `RTCPeerConnectionStats` | [`PeerConnectionStats`] |
//! | `RTCDataChannelStats` | [`DataChannelStats`] |
//! | `RTCTransportStats` | [`TransportStats`] |
//! | `RTCSctpTransportStats` | [`SctpTransportStats`] |
//! | `RTCIceCandidatePairStats` | [`CandidatePairStats`] |
//! | `RTCIceCandidateStats` | [`CandidateStats`] |
//! | `RTCCertificateStats` | [`CertificateStats`] |
//!
//! All are plain copies, taken without allocating, so they can be polled. Times are [`Instant`](std::time::Instant)s and
//! [`Duration`]s. The `id`s by which W3C's point at each other are not there: the owner knows whom it asks. What W3C lacks
//! is in [`Stats`]: the counters of all layers, with drops by reason.

use std::fmt;
use std::time::Duration;

use sinnet_dtls::{CipherSuite, HashAlgorithm, NamedGroup, ProtocolVersion};
use sinnet_ice::{CandidateStats, PairStats, Path, State as IceState};

use crate::channel::{Channel, ChannelKey, ChannelState};
use crate::event::ConnectionState;
use crate::peer::Peer;
use crate::stats::Stats;
use crate::traffic::PairTraffic;

/// W3C's `RTCPeerConnectionStats`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PeerConnectionStats {
    /// Channels that have been open.
    pub data_channels_opened: u64,
    /// Of those, channels that are not open any more.
    pub data_channels_closed: u64,
}

/// W3C's `RTCDataChannelStats`, but for label and protocol, which are in [`ChannelOptions`](crate::ChannelOptions).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DataChannelStats {
    /// The stream id, while the channel has one.
    pub data_channel_identifier: Option<u16>,
    /// The channel's state.
    pub state: ChannelState,
    /// Messages accepted for sending.
    pub messages_sent: u64,
    /// Payload bytes of them.
    pub bytes_sent: u64,
    /// Messages taken by the application.
    pub messages_received: u64,
    /// Payload bytes of them.
    pub bytes_received: u64,
    /// Of `bytes_sent`, what has not been handed to the network yet. Not in W3C's; `RTCDataChannel.bufferedAmount`.
    pub buffered_amount: usize,
}

impl Default for DataChannelStats {
    /// Of a channel that has never been.
    fn default() -> Self {
        Self {
            data_channel_identifier: None,
            state: ChannelState::Closed,
            messages_sent: 0,
            bytes_sent: 0,
            messages_received: 0,
            bytes_received: 0,
            buffered_amount: 0,
        }
    }
}

/// The state of DTLS: W3C's `RTCDtlsTransportState`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum DtlsState {
    /// Nothing has been agreed on yet.
    #[default]
    New,
    /// It waits for a path, or shakes hands.
    Connecting,
    /// It is up.
    Connected,
    /// It has been closed, by either side.
    Closed,
    /// It has failed, or the connection has for another reason.
    Failed,
}

impl fmt::Display for DtlsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Closed => "closed",
            Self::Failed => "failed",
        })
    }
}

/// W3C's `RTCTransportStats`. There is one transport. `srtpCipher` is always none, `iceLocalUsernameFragment` is
/// [`Peer::local_ufrag`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TransportStats {
    /// DTLS datagrams, over all pairs. ICE's checks are not among them: see [`Stats::datagrams_sent`].
    pub traffic: PairTraffic,
    /// Which side nominates.
    pub ice_role: sinnet_ice::Role,
    /// ICE's state.
    pub ice_state: IceState,
    /// How often the selected pair has changed, the first time included.
    pub selected_candidate_pair_changes: u64,
    /// The selected pair, also after the end. W3C: `selectedCandidatePairId`.
    pub selected_candidate_pair: Option<Path>,
    /// DTLS's state.
    pub dtls_state: DtlsState,
    /// Whether we are the DTLS client; `None` before that is agreed on. W3C: `dtlsRole`.
    pub dtls_client: Option<bool>,
    /// The protocol version, once DTLS is up. W3C writes it as four digits, `FEFD` for DTLS 1.2.
    pub tls_version: Option<ProtocolVersion>,
    /// The cipher suite, once DTLS is up. `Display` is its name in IANA's registry, as in W3C's.
    pub dtls_cipher: Option<CipherSuite>,
    /// The group of the key exchange, once DTLS is up. W3C: `tlsGroup`.
    pub tls_group: Option<NamedGroup>,
}

impl Default for TransportStats {
    /// Before anything has happened.
    fn default() -> Self {
        Self {
            traffic: PairTraffic::default(),
            ice_role: sinnet_ice::Role::Controlling,
            ice_state: IceState::New,
            selected_candidate_pair_changes: 0,
            selected_candidate_pair: None,
            dtls_state: DtlsState::New,
            dtls_client: None,
            tls_version: None,
            dtls_cipher: None,
            tls_group: None,
        }
    }
}

/// W3C's `RTCSctpTransportStats`; zeros before there is an association. More of SCTP is in [`Stats::sctp`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SctpTransportStats {
    /// `None` before the first measurement.
    pub smoothed_round_trip_time: Option<Duration>,
    /// Bytes.
    pub congestion_window: usize,
    /// What the peer's window has left by our account, bytes.
    pub receiver_window: usize,
    /// The largest packet sent now, without DTLS, UDP and IP headers, bytes.
    pub mtu: usize,
    /// DATA chunks sent and not acknowledged.
    pub unack_data: usize,
}

/// A candidate pair: W3C's `RTCIceCandidatePairStats`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CandidatePairStats {
    /// What ICE knows.
    pub ice: PairStats,
    /// The data on it.
    pub traffic: PairTraffic,
}

/// W3C's `RTCCertificateStats`; the certificates themselves are in [`Peer::peer_certificate`] and
/// [`Config::certificate`](crate::Config::certificate).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CertificateStats {
    /// The SHA-256 of the certificate. W3C has it as text with `fingerprintAlgorithm` beside it; see `Display`.
    pub fingerprint: [u8; 32],
}

impl CertificateStats {
    /// `fingerprintAlgorithm`.
    pub const FINGERPRINT_ALGORITHM: &str = "sha-256";

    fn of(der: &[u8]) -> Option<Self> {
        let digest = sinnet_dtls::Fingerprint::of(HashAlgorithm::Sha256, der).digest;
        Some(Self { fingerprint: digest.try_into().ok()? })
    }
}

impl fmt::Display for CertificateStats {
    /// `AB:CD:…`, as W3C has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.fingerprint.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl Peer {
    /// All that is one of a kind: the counters of all layers, and the connection's, transport's and SCTP's statistics.
    pub fn stats(&self) -> Stats {
        let mut stats = self.counters.to_stats();
        stats.ice = self.ice.stats();
        stats.ice_restarts = self.ice.restarts();
        stats.transport.traffic = self.traffic.total;
        stats.transport.ice_role = self.ice.negotiated().role();
        stats.transport.ice_state = self.ice_state();
        stats.transport.dtls_state = self.dtls_state();
        if let Some(layers) = &self.transport {
            stats.dtls = layers.dtls.stats();
            stats.sctp = layers.sctp.stats();
            stats.sctp_transport = SctpTransportStats {
                smoothed_round_trip_time: stats.sctp.srtt,
                congestion_window: stats.sctp.cwnd,
                receiver_window: stats.sctp.peer_rwnd,
                mtu: stats.sctp.packet_size,
                unack_data: stats.sctp.unacked_chunks,
            };
            stats.transport.dtls_client = Some(layers.dtls_client);
            if let Some(agreed) = layers.dtls.negotiated() {
                stats.transport.tls_version = Some(agreed.version);
                stats.transport.dtls_cipher = Some(agreed.suite);
                stats.transport.tls_group = Some(agreed.group);
            }
        }
        stats
    }

    fn dtls_state(&self) -> DtlsState {
        match (&self.transport, self.connection_state()) {
            (None, _) => DtlsState::New,
            (Some(_), ConnectionState::Failed) => DtlsState::Failed,
            (Some(_), ConnectionState::Closed) => DtlsState::Closed,
            (Some(layers), _) if layers.dtls.is_connected() => DtlsState::Connected,
            (Some(_), _) => DtlsState::Connecting,
        }
    }

    /// A channel's statistics; `None` for one that has been released.
    pub fn channel_stats(&self, key: ChannelKey) -> Option<DataChannelStats> {
        self.channels.get(key).map(|channel| self.stats_of(channel))
    }

    /// The statistics of all channels that have not been released.
    pub fn all_channel_stats(&self) -> impl Iterator<Item = (ChannelKey, DataChannelStats)> {
        self.channels.iter().map(|(key, channel)| (key, self.stats_of(channel)))
    }

    fn stats_of(&self, channel: &Channel) -> DataChannelStats {
        let buffered_amount = match (channel.stream, &self.transport) {
            (Some(stream), Some(transport)) => transport.sctp.buffered_amount(stream),
            _ => 0,
        };
        let counts = channel.counts;
        DataChannelStats {
            data_channel_identifier: channel.stream.map(|stream| stream.0),
            state: channel.state,
            messages_sent: counts.messages_sent,
            bytes_sent: counts.bytes_sent,
            messages_received: counts.messages_received,
            bytes_received: counts.bytes_received,
            buffered_amount,
        }
    }

    /// The candidate pairs, in no order; none after the end. During an ICE restart those of both sessions.
    pub fn candidate_pairs(&self) -> impl Iterator<Item = CandidatePairStats> {
        let pairs = self.ice.current_and_next().flat_map(sinnet_ice::Agent::pairs);
        pairs.map(|ice| CandidatePairStats { ice, traffic: self.traffic.of(ice.path) })
    }

    /// Our candidates, of the newest ICE session.
    pub fn local_candidates(&self) -> impl Iterator<Item = CandidateStats> {
        self.ice.negotiated().local_candidate_stats()
    }

    /// The peer's candidates, of the newest ICE session: those that can be tried, signalled or learned from its checks.
    pub fn remote_candidates(&self) -> impl Iterator<Item = CandidateStats> {
        self.ice.negotiated().remote_candidate_stats()
    }

    /// Our certificate. Its hash is computed each time.
    pub fn local_certificate_stats(&self) -> Option<CertificateStats> {
        CertificateStats::of(self.config.certificate.der())
    }

    /// The peer's certificate, once DTLS is up. Its hash is computed each time.
    pub fn remote_certificate_stats(&self) -> Option<CertificateStats> {
        self.peer_certificate().and_then(CertificateStats::of)
    }
}
