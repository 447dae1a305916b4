//! Two offers that cross (RFC 8829 §4.1.8.2's rollback, and the pattern that W3C calls perfect negotiation).
//!
//! One side is polite and gives way, the other is not and goes on; which is which is agreed on beforehand. Either side may
//! then offer whenever it likes:
//!
//! | an offer comes in the state | polite | impolite |
//! |---|---|---|
//! | stable, have-remote-offer | take it | take it |
//! | have-local-offer | roll ours back, take it, and offer anew afterwards | ignore it, and its candidates |
//! | closed | – | – |

use crate::{Negotiator, SignalingState};

/// Who gives way when two offers cross. The two sides must not be the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Politeness {
    /// This side takes its own offer back.
    Polite,
    /// This side ignores the peer's offer.
    Impolite,
}

/// What is to be done with an offer of the peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Offered {
    /// No offer of ours is in its way.
    Take,
    /// It crosses ours, which is to be rolled back first, and made anew when the peer's is answered.
    RollBackAndTake,
    /// It crosses ours, which the peer will take instead. The candidates that come with it are of no use.
    Ignore,
}

impl Negotiator {
    /// What to do with an offer that comes now. Nothing is changed by asking.
    pub fn judge_offer(&self, politeness: Politeness) -> Offered {
        match (self.signaling_state(), politeness) {
            (SignalingState::HaveLocalOffer, Politeness::Polite) => Offered::RollBackAndTake,
            (SignalingState::HaveLocalOffer, Politeness::Impolite) => Offered::Ignore,
            _ => Offered::Take,
        }
    }
}
