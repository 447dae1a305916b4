use std::fmt;
use std::net::SocketAddr;

use sinnet_peer::SdpType;

use crate::data_channel::DataChannelOptions;

/// A session description: W3C's `RTCSessionDescriptionInit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionDescription {
    /// Offer or answer.
    pub kind: SdpType,
    /// The SDP text.
    pub sdp: String,
}

impl SessionDescription {
    /// An offer.
    pub fn offer(sdp: impl Into<String>) -> Self {
        Self { kind: SdpType::Offer, sdp: sdp.into() }
    }

    /// An answer.
    pub fn answer(sdp: impl Into<String>) -> Self {
        Self { kind: SdpType::Answer, sdp: sdp.into() }
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sdp)
    }
}

/// A candidate as it is signalled: W3C's `RTCIceCandidateInit`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IceCandidate {
    /// `candidate:…`, or empty for the end of candidates.
    pub candidate: String,
    /// The m-line's `a=mid`.
    pub sdp_mid: Option<String>,
    /// The m-line's index.
    pub sdp_m_line_index: Option<u16>,
}

/// A server that was of no use: W3C's `RTCPeerConnectionIceErrorEvent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceCandidateError {
    /// The server's URL, as configured.
    pub url: String,
    /// Our address that it was asked from, where that is known.
    pub address: Option<SocketAddr>,
    /// STUN's error code if the server gave one (RFC 8489 §14.8), else [`IceCandidateError::UNREACHABLE`].
    pub error_code: u16,
    /// What was asked for and at which address, and what went wrong.
    pub error_text: String,
}

impl fmt::Display for IceCandidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.url, self.error_text, self.error_code)
    }
}

impl IceCandidateError {
    /// No answer of a server was of use: W3C's number for it, which is none of STUN's.
    pub const UNREACHABLE: u16 = 701;
}

/// A channel in the peer's offer that is to be opened by SDP (RFC 8864).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedChannel {
    /// Its stream id.
    pub id: u16,
    /// Its name; may be empty.
    pub label: String,
    /// What it is.
    pub options: DataChannelOptions,
    /// What its subprotocol says (`a=dcsa`): each as `name` or `name:value`.
    pub attributes: Vec<String>,
}

impl OfferedChannel {
    pub(crate) fn from_core(offered: sinnet_peer::OfferedChannel) -> Self {
        let options = offered.options;
        Self {
            id: offered.id,
            label: options.label,
            options: DataChannelOptions {
                ordered: options.ordered,
                reliability: options.reliability,
                protocol: options.protocol,
                negotiated: options.negotiated,
                priority: options.priority,
                send_buffer: None,
            },
            attributes: offered.attributes,
        }
    }
}
