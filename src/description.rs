use std::fmt;

use sinnet_peer::SdpType;

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
