//! Kinds of descriptions and states of offer/answer, by their names in W3C's API.

use std::fmt;
use std::str::FromStr;

/// What a description is (RFC 8829 §4.1.8). Taking an offer back is [`crate::Negotiator::rollback`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SdpType {
    /// Proposes a session or a change of it.
    Offer,
    /// Accepts an offer.
    Answer,
}

impl SdpType {
    /// `offer` or `answer`.
    pub fn as_str(self) -> &'static str {
        match self {
            SdpType::Offer => "offer",
            SdpType::Answer => "answer",
        }
    }
}

impl fmt::Display for SdpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no [`SdpType`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a description is an 'offer' or an 'answer'")]
pub struct UnknownSdpType;

impl FromStr for SdpType {
    type Err = UnknownSdpType;

    fn from_str(s: &str) -> Result<Self, UnknownSdpType> {
        match s {
            "offer" => Ok(SdpType::Offer),
            "answer" => Ok(SdpType::Answer),
            _ => Err(UnknownSdpType),
        }
    }
}

/// Where offer/answer stands (RFC 8829 §3.2). The table of transitions is in [`crate::Negotiator`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SignalingState {
    /// No offer is pending.
    Stable,
    /// Our offer waits for its answer.
    HaveLocalOffer,
    /// The peer's offer waits for ours.
    HaveRemoteOffer,
    /// Nothing more will be negotiated.
    Closed,
}

impl fmt::Display for SignalingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SignalingState::Stable => "stable",
            SignalingState::HaveLocalOffer => "have-local-offer",
            SignalingState::HaveRemoteOffer => "have-remote-offer",
            SignalingState::Closed => "closed",
        })
    }
}
