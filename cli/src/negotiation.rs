//! What signalling messages do to a connection, whichever way they come.

use sinnet::{Error, IceCandidate, PeerConnection, Politeness, Received, SdpType, SessionDescription};
use sinnet_signaling::Signal;
use tracing::warn;

/// Most candidates kept while there is no description that they could belong to.
const MAX_EARLY: usize = 256;

/// The line for a candidate, or for their end.
pub(crate) fn candidate_signal(candidate: Option<IceCandidate>) -> Signal {
    match candidate {
        None => Signal::EndOfCandidates,
        Some(IceCandidate { candidate, sdp_mid, sdp_m_line_index }) => {
            Signal::Candidate { candidate, sdp_mid, sdp_m_line_index }
        }
    }
}

/// The peer's signals, applied to a connection in an order that it takes.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// Whether this side goes on with its own offer when two cross; the other side gives way.
    impolite: bool,
    described: bool,
    early: Vec<IceCandidate>,
}

impl Incoming {
    /// Of the side that made the first offer, or of the other.
    pub(crate) fn of(offerer: bool) -> Self {
        Self { impolite: offerer, ..Self::default() }
    }

    /// Whether the peer has described itself.
    pub(crate) fn described(&self) -> bool {
        self.described
    }

    /// Applies a signal. What has to be answered is given back. A candidate that is refused is no failure: others will
    /// do.
    pub(crate) fn apply(&mut self, peer: &PeerConnection, signal: Signal) -> Result<Option<Signal>, Error> {
        let answer = match signal {
            Signal::Offer { sdp } => {
                let politeness = if self.impolite { Politeness::Impolite } else { Politeness::Polite };
                let offer = SessionDescription::offer(sdp);
                if peer.receive_description(offer, politeness)? == Received::Ignored {
                    return Ok(None);
                }
                let answer = peer.create_answer()?;
                peer.set_local_description(answer.clone())?;
                Some(description_signal(answer))
            }
            Signal::Answer { sdp } => {
                peer.set_remote_description(SessionDescription::answer(sdp))?;
                None
            }
            Signal::Candidate { candidate, sdp_mid, sdp_m_line_index } => {
                self.candidate(peer, IceCandidate { candidate, sdp_mid, sdp_m_line_index });
                return Ok(None);
            }
            Signal::EndOfCandidates => {
                self.candidate(peer, IceCandidate::default());
                return Ok(None);
            }
            _ => return Ok(None),
        };
        self.described = true;
        for candidate in std::mem::take(&mut self.early) {
            add(peer, candidate);
        }
        Ok(answer)
    }

    fn candidate(&mut self, peer: &PeerConnection, candidate: IceCandidate) {
        if self.described {
            add(peer, candidate);
        } else if self.early.len() < MAX_EARLY {
            self.early.push(candidate);
        } else {
            warn!("skipped a candidate: too many came before the description");
        }
    }
}

fn add(peer: &PeerConnection, candidate: IceCandidate) {
    let line = candidate.candidate.clone();
    if let Err(error) = peer.add_ice_candidate(candidate) {
        warn!(%error, candidate = line, "skipped a candidate");
    }
}

/// The line for a description.
pub(crate) fn description_signal(description: SessionDescription) -> Signal {
    match description.kind {
        SdpType::Offer => Signal::Offer { sdp: description.sdp },
        _ => Signal::Answer { sdp: description.sdp },
    }
}
