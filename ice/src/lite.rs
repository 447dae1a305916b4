//! A lite agent (RFC 8445 §2.5, §5.2, §7.3.2, §8.2): it has host candidates only, answers checks and makes none. For servers with
//! a public address; a full peer does the work.
//!
//! With a full peer it is controlled, and a pair works as soon as the peer has nominated it. It asks nobody for consent (RFC 7675 §2); that
//! the peer's checks go on coming takes the place of answers: after [`Config::disconnect_after`](crate::Config::disconnect_after) without one
//! the state is `Disconnected`, after [`Config::consent_timeout`](crate::Config::consent_timeout) it has failed.
//!
//! Between two lite agents no checks are ever sent. Each pairs the candidates and takes the pair of the highest priority, which is the
//! same on both sides when both know all candidates; an updated exchange for when it isn't (§8.2) is left to the owner. Nothing
//! but the protocol above notices then that the peer has gone.

use std::time::Instant;

use tracing::debug;

use crate::agent::Agent;
use crate::event::{Path, Role, State};
use crate::few::push;
use crate::pair::PairState;

impl Agent {
    /// The role of a lite agent, once it is known what the peer is (RFC 8445 §6.1.1).
    pub(crate) fn settle_lite_role(&mut self) {
        if self.config.lite && !self.remote_lite {
            self.role = Role::Controlled;
        }
    }

    /// Whether pairs are made of signalled candidates.
    pub(crate) fn makes_pairs(&self) -> bool {
        !self.config.lite || self.remote_lite
    }

    /// Takes the peer's check for what an answer is to a full agent.
    pub(crate) fn take_check_as_answer(&mut self, now: Instant, path: Path) {
        let Some(pair) = self.pair_mut(path) else { return };
        if !pair.nominate && !pair.is_valid() {
            return;
        }
        pair.last_answered = Some(now);
        let newly = !pair.is_valid();
        let nominated = pair.nominate;
        pair.state = PairState::Succeeded;
        if newly {
            debug!(local = %path.local, remote = %path.remote, "the peer has nominated");
            push(&mut self.valid, path);
            self.first_valid_at.get_or_insert(now);
        }
        if nominated {
            self.select(now, path);
        }
        self.answered(path);
    }

    /// Two lite agents: the best pair is the one, without a check.
    pub(crate) fn run_both_lite(&mut self, now: Instant) {
        if !self.config.lite || !self.remote_lite || self.state == State::New {
            return;
        }
        let Some(best) = self.pairs.iter().max_by_key(|p| p.priority).map(|p| p.path) else { return };
        if self.selected == Some(best) {
            return;
        }
        if let Some(pair) = self.pair_mut(best) {
            pair.state = PairState::Succeeded;
        }
        push(&mut self.valid, best);
        self.note_selected(now, best);
    }
}
