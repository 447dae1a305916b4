//! A WebRTC **data** stack: ICE, DTLS, SCTP and data channels, with browsers or with itself at the other end.
//!
//! ```
//! use sinnet::{Endpoint, PeerEvent};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two ends in one process; usually the descriptions travel by your signalling.
//! let (here, there) = (Endpoint::bind("127.0.0.1:0").await?, Endpoint::bind("127.0.0.1:0").await?);
//! let (a, b) = (here.peer_connection(Default::default())?, there.peer_connection(Default::default())?);
//! let chat = a.create_data_channel("chat", Default::default())?;
//!
//! a.set_local_description(a.create_offer()?)?;
//! b.set_remote_description(a.local_description().unwrap())?;
//! b.set_local_description(b.create_answer()?)?;
//! a.set_remote_description(b.local_description().unwrap())?;
//!
//! chat.send("hello").await?;
//! while let Some(event) = b.next_event().await {
//!     if let PeerEvent::DataChannel(channel) = event {
//!         assert_eq!(channel.recv().await, Some("hello".into()));
//!         break;
//!     }
//! }
//! a.close().await;
//! # Ok(()) }
//! ```
//!
//! # The parts
//!
//! - [`Endpoint`] owns UDP sockets and drives any number of connections over them from one task.
//! - [`PeerConnection`] is W3C's `RTCPeerConnection` without media: offers, answers, candidates, states, events.
//! - [`DataChannel`] is W3C's `RTCDataChannel`, with back-pressure that can be trusted: [`DataChannel::send`] waits
//!   while the channel's share of the buffer is full, a full channel holds up no other, and one that is not read closes
//!   the window instead of growing memory. (The window is the connection's: see [`PeerConfig::receive_buffer`].)
//! - [`DataSender`] and [`DataReceiver`] are its halves, a `futures` sink and stream; [`ByteStream`] is the channel as
//!   tokio's `AsyncRead` and `AsyncWrite`.
//!
//! All handles are cheap to clone and can be used from any thread. Dropping the last handle of a channel closes the
//! channel, dropping the last handle of a connection and its channels closes the connection; both deliver first what
//! was accepted.
//!
//! The protocols themselves are in [`sinnet_peer`] and the crates below it, free of I/O, clocks and runtimes. This
//! crate is the tokio driver and the handles.
//!
//! # What is not here
//!
//! No audio or video; their m-lines are refused.
#![forbid(unsafe_code)]

mod byte_stream;
mod capture;
mod channel_handle;
mod config;
mod data_channel;
mod description;
mod driver;
mod endpoint;
mod error;
mod gather;
mod halves;
mod ice_server;
mod incoming;
mod mdns;
mod message_reader;
mod message_writer;
mod peer_connection;
mod shared;
mod turn_server;
mod utf8;
mod waiters;
mod watch;

pub use byte_stream::ByteStream;
pub use capture::{Capture, CaptureSummary};
pub use config::{EndpointConfig, IceTcp, PeerConfig};
pub use data_channel::{DataChannel, DataChannelOptions};
pub use description::{IceCandidate, IceCandidateError, OfferedChannel, SessionDescription};
pub use driver::IceTcpStats;
pub use endpoint::Endpoint;
pub use error::{Error, ReadError, SendError, TrySendError, WriteError};
pub use gather::{ExternalAddress, ExternalAddressError, HostFilter, IpNetwork, IpNetworkError};
pub use halves::{DataReceiver, DataSender};
pub use ice_server::{IceServer, IceTransportPolicy};
pub use incoming::{Incoming, IncomingConfig, IncomingStats, UnknownPeer};
pub use mdns::Mdns;
pub use message_reader::MessageReader;
pub use message_writer::MessageWriter;
pub use peer_connection::{PeerConnection, PeerEvent};
pub use sinnet_peer::{
    Agreement, AgreementError, CandidateKind, CandidatePairStats, CandidateStats, Certificate,
    CertificateError, CertificateStats, ChannelError, ChannelState as DataChannelState, CloseReason,
    Congestion, ConnectionState, Credentials as IceCredentials, DataChannelStats, Dcmap, DcmapError,
    DtlsRole, DtlsState, Fingerprint, HashAlgorithm, IceState as IceConnectionState, KeyLog, Message,
    MessageKind, PairState, PairStats, PairTraffic, Path, PcapOptions, PeerConnectionStats, PeerIdentity,
    Politeness, Protocol, Received, Reliability, Role as IceRole, SctpTransportStats, SdpType,
    SignalingState, Stats, TransportStats,
};
pub use sinnet_turn::{ServerUri, UriError};
pub use turn_server::{TurnServer, TurnServerConfig};

/// For [`EndpointConfig::tls`].
pub use rustls;
/// TURN's cores, of which [`TurnServer`] drives one.
pub use sinnet_turn as turn;

/// The README's example is a test like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
