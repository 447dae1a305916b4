//! One WebRTC data connection, composed of ICE, DTLS, SCTP, DCEP and SDP, without I/O.
//!
//! [`Peer`] is a state machine. Its owner brings datagrams, the time and the application's commands, and takes
//! datagrams, deadlines and events away:
//!
//! ```text
//!   application            create_offer · set_remote_description · open_channel · try_send · recv · close
//!        │
//!      Peer     ── negotiation: sdp ──┐
//!        │                            │ credentials, fingerprints, roles, limits
//!        ├─ channels: dcep ── sctp ── dtls ── ice
//!        │
//!   handle_datagram · handle_timeout · poll_transmit · poll_timeout · poll_event
//! ```
//!
//! # The contract
//!
//! Call any method in any order. After one or more of them, drain: [`Peer::poll_transmit`] until it returns `None`,
//! [`Peer::poll_event`] until `None`, then ask [`Peer::poll_timeout`] when to call [`Peer::handle_timeout`]. An
//! undrained peer only sends later; nothing is lost. No method reads a clock, waits, or touches a socket.
//!
//! # Where things are
//!
//! | file | what |
//! |---|---|
//! | `peer.rs` | the type, its state, close and failure |
//! | `input.rs` | a datagram in: demultiplexing (RFC 7983), the ICE gate, early datagrams |
//! | `transmit.rs` | datagrams out: batches of equal segments |
//! | `negotiate.rs` | descriptions and candidates |
//! | `agreement.rs` | what they would say, given without SDP |
//! | `generations.rs` | the ICE agents before and after a restart |
//! | `channels.rs`, `channel.rs`, `channel_table.rs` | data channels over SCTP streams and DCEP |
//! | `sdp_channels.rs` | data channels that SDP opens and closes (RFC 8864) |
//! | `message.rs` | messages and their PPIDs (RFC 8831 §8) |
//! | `stats.rs`, `report.rs`, `traffic.rs` | counters, and statistics in W3C's words |
//! | `tap.rs`, `pcap.rs` | looking on, and capture files for Wireshark |
//!
//! # Limits
//!
//! Before a path is validated at most [`EARLY_DATAGRAMS`] datagrams are kept. Channels are limited by
//! [`Config::max_channels`], messages by [`Config::max_message_size`], unread data by
//! [`Config::receive_buffer`] and unsent data by [`Config::send_buffer`]. Data for a channel that is not there yet is
//! kept up to [`ORPHAN_BYTES`], and the peer's labels up to [`LABEL_BYTES`].
#![forbid(unsafe_code)]

mod agreement;
mod channel;
mod channel_map;
mod channel_table;
mod channels;
mod closing;
mod config;
mod demux;
mod error;
mod event;
mod generations;
mod input;
mod local_candidates;
mod message;
mod negotiate;
mod pcap;
mod peer;
mod pieces;
mod report;
mod sdp_channels;
mod seed;
mod stats;
mod tap;
#[cfg(test)]
mod tests;
mod traffic;
mod transmit;

pub use agreement::{Agreement, PeerIdentity};
pub use channel::{ChannelKey, ChannelOptions, ChannelState, Reliability};
pub use channel_map::{ChannelMap, KeyHasher};
pub use channel_table::{LABEL_BYTES, ORPHAN_BYTES};
pub use channels::OpenError;
pub use config::Config;
pub use demux::{Kind, classify};
pub use error::{AgreementError, CandidateError, NegotiationError, PieceError, TrySendError};
pub use event::{CloseReason, ConnectionState, Event};
pub use input::EARLY_DATAGRAMS;
pub use message::Message;
pub use negotiate::Received;
pub use pcap::{PcapOptions, PcapTap};
pub use peer::Peer;
pub use pieces::{MessageKind, Piece};
pub use report::{
    CandidatePairStats, CertificateStats, DataChannelStats, DtlsState, PeerConnectionStats,
    SctpTransportStats, TransportStats,
};
pub use sdp_channels::OfferedChannel;
pub use sinnet_dtls::{Certificate, CertificateError, CipherSuite, Fingerprint, HashAlgorithm, KeyLog};
pub use sinnet_ice::{
    Address, BindingRequest, CandidateKind, CandidateStats, Config as IceConfig, Credentials,
    CredentialsError, GatherConfig, GatherError, GatherEvent, Gatherer, PairState, PairStats, Path, Protocol,
    RelayProtocol, Role, TcpType, binding_request_local_ufrag,
};
pub use sinnet_sctp::Congestion;
pub use sinnet_sdp::{ChannelError, Dcmap, DcmapError, DtlsRole, Limit, Politeness, SdpType, SignalingState};
pub use stats::Stats;
pub use tap::{Direction, Tap};
pub use traffic::PairTraffic;
pub use transmit::Transmit;

/// The state of the ICE agent, as W3C's `RTCIceConnectionState` has it.
pub use sinnet_ice::State as IceState;
