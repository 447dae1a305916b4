//! SDP for data channels: descriptions that browsers accept, theirs read, and offer/answer between the two.
//!
//! [`Negotiator`] is the state machine (RFC 8829, one data m-line): it makes descriptions from a [`LocalTransport`]
//! and gives back what the peer's say as a [`RemoteTransport`]. Nothing here knows ICE or DTLS: candidates are lines
//! of text, fingerprints are a name and bytes.
//!
//! # What is read and what is ignored
//!
//! One m-line is ours: `m=application <port> UDP/DTLS/SCTP webrtc-datachannel` (RFC 8841), also with `TCP/DTLS/SCTP`. The
//! form of browsers from 2013 to 2019, `m=application <port> DTLS/SCTP 5000` with `a=sctpmap:5000 webrtc-datachannel
//! 1024`, is read too, and answered in kind. The first such line of an offer is accepted, every other m-line is answered
//! with port 0 and its own protocol and formats.
//!
//! Of attributes we read `fingerprint` (RFC 8122), `setup` (RFC 8842), `ice-ufrag`, `ice-pwd`, `ice-options`, `ice-lite`,
//! `candidate` (RFC 8839), `end-of-candidates` (RFC 8840), `mid`, `group:BUNDLE`, `bundle-only` (RFC 8843), `sctp-port`,
//! `max-message-size` (RFC 8841), and, but in the old form, `dcmap` and `dcsa` (RFC 8864). All others are skipped. What a
//! media section does not say is looked up in the section that its BUNDLE group is tagged by, then at session level; the
//! nearest level wins as a whole.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | a description | [`MAX_SDP`] bytes |
//! | m-lines | [`MAX_MEDIA`] |
//! | candidates of the data m-line | [`MAX_CANDIDATES`] |
//! | fingerprints of the data m-line | [`MAX_FINGERPRINTS`] |
//! | a mid, a candidate line | [`MAX_MID`], [`MAX_CANDIDATE`] bytes |
//! | channels, and their attributes | [`MAX_CHANNELS`] each |
//! | a label or subprotocol, parameters of a channel | [`MAX_LABEL`] bytes, [`MAX_PARAMETERS`] |
//!
//! A description beyond one of them is refused as a whole with [`Error::TooLarge`]. A description that is refused
//! changes nothing: every check is made before the first field of the [`Negotiator`] is written.
//!
//! # Left out
//!
//! Provisional answers; *making* offers in the form before RFC 8841; a new DTLS association in an existing session (RFC 8842 §5: a changed fingerprint or role is refused); closing the SCTP association by
//! `a=sctp-port:0`.
//!
//! ```
//! use sinnet_sdp::{Fingerprint, LocalTransport, Negotiator, SdpType};
//!
//! let transport = |ufrag: &str| LocalTransport {
//!     ufrag: ufrag.to_owned(),
//!     pwd: "a-password-comes-from-ice".to_owned(),
//!     fingerprints: vec![Fingerprint { algorithm: "sha-256".to_owned(), digest: vec![7; 32] }],
//!     sctp_port: 5000,
//!     ice_lite: false,
//!     max_message_size: 262_144,
//!     candidates: vec![],
//!     end_of_candidates: false,
//! };
//! let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
//!
//! let offer = a.create_offer(&transport("aaaa"))?;
//! a.set_local(SdpType::Offer, &offer)?;
//! assert_eq!(z.set_remote(SdpType::Offer, &offer)?.ufrag, "aaaa");
//!
//! let answer = z.create_answer(&transport("zzzz"))?;
//! z.set_local(SdpType::Answer, &answer)?;
//! assert_eq!(a.set_remote(SdpType::Answer, &answer)?.ufrag, "zzzz");
//! assert_ne!(a.dtls_role(), z.dtls_role());
//! # Ok::<(), sinnet_sdp::Error>(())
//! ```
#![forbid(unsafe_code)]

mod channels;
mod dcmap;
mod error;
mod fingerprint;
mod glare;
mod negotiate;
mod read;
mod session;
mod setup;
mod signaling;
mod transport;
mod write;

#[cfg(test)]
mod tests;

pub use channels::{
    ChannelChange, ChannelDescription, ChannelError, NegotiatedChannel, OfferedChannel, Refusal,
};
pub use dcmap::{Dcmap, DcmapError, Dcsa, Limit, MAX_LABEL, MAX_PARAMETERS};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use glare::{Offered, Politeness};
pub use negotiate::Negotiator;
pub use setup::{DtlsRole, Setup};
pub use signaling::{SdpType, SignalingState, UnknownSdpType};
pub use transport::{LocalTransport, RemoteTransport};

/// Most bytes of a description, ours or the peer's. The largest ones seen from browsers have 2 KiB for data channels
/// and some 10 KiB with audio and video.
pub const MAX_SDP: usize = 64 * 1024;
/// Most m-lines of a description.
pub const MAX_MEDIA: usize = 64;
/// Most candidates in the data section of a description. More than 100 pairs are not checked anyway (RFC 8445 §6.1.2.5).
pub const MAX_CANDIDATES: usize = 256;
/// Most fingerprints of the data section.
pub const MAX_FINGERPRINTS: usize = 16;
/// Most bytes of a mid.
pub const MAX_MID: usize = 256;
/// Most bytes of a candidate line. RFC 8839 §5.1 gives none; the longest captured from a browser has 140.
pub const MAX_CANDIDATE: usize = 1024;
/// Most channels in a description, and most of their attributes: lines `a=dcmap` and `a=dcsa` of the data m-line.
pub const MAX_CHANNELS: usize = 1024;
