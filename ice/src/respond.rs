//! The peer's checks: authentication, role conflict, the answer, the triggered check (RFC 8445 §7.3).
//!
//! ```text
//!  wrong USERNAME, MESSAGE-INTEGRITY or FINGERPRINT   silence, counted; nothing changes
//!  unknown comprehension-required attribute           420 with UNKNOWN-ATTRIBUTES
//!  PRIORITY missing                                   400
//!  same role, the greater tie-breaker is ours         487
//!  else                                               success; the pair is checked from our side too
//! ```
//! Roles are compared only until a path is selected. A check that names another ufrag of the peer than the one we know is of no session:
//! libwebrtc makes such pairs during a restart, of a new port and our old credentials, and would stay with one that is answered.
//!
//! A check may come before the remote credentials or before our own candidate is known; it is remembered (bounded) until a check
//! of our own can follow. It is answered in the first case only: an address that isn't a candidate of ours is no way to us.

use std::net::SocketAddr;
use std::time::Instant;

use sinnet_stun::{AttributeType, Builder, Class, IntegrityKey, Message, Method, TransactionId, is_stun};
use tracing::debug;

use crate::agent::{Agent, Out};
use crate::candidate::is_sendable;
use crate::check::MAX_ROLE_SWITCHES;
use crate::event::{Path, Role};
use crate::pair::{Pair, PairState};

/// Answers that may wait to be sent.
const MAX_RESPONSES: usize = 32;

/// What a Binding request may carry that must be understood.
const UNDERSTOOD: &[AttributeType] = &[
    AttributeType::USERNAME,
    AttributeType::PRIORITY,
    AttributeType::USE_CANDIDATE,
    AttributeType::MESSAGE_INTEGRITY,
    AttributeType::MESSAGE_INTEGRITY_SHA256,
    AttributeType::MAPPED_ADDRESS,
    AttributeType::XOR_MAPPED_ADDRESS,
    AttributeType::REALM,
    AttributeType::NONCE,
];

#[derive(Clone, Debug)]
enum Answer {
    Success(SocketAddr),
    Error { code: u16, unknown: Vec<AttributeType> },
}

/// An answer on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) path: Path,
    id: TransactionId,
    answer: Answer,
}

impl Response {
    pub(crate) fn write(&self, out: &mut [u8], key: &IntegrityKey) -> Option<usize> {
        let class = match self.answer {
            Answer::Success(_) => Class::SuccessResponse,
            Answer::Error { .. } => Class::ErrorResponse,
        };
        let mut b = Builder::new(out, class, Method::BINDING, self.id);
        match &self.answer {
            Answer::Success(mapped) => b.xor_mapped_address(*mapped),
            Answer::Error { code, unknown } if unknown.is_empty() => b.error_code(*code),
            Answer::Error { code, unknown } => b.error_code(*code).unknown_attributes(unknown),
        };
        b.integrity(key).fingerprint();
        b.finish().ok()
    }
}

/// An authenticated check that could not be followed by one of ours yet.
#[derive(Clone, Debug)]
pub(crate) struct Early {
    pub(crate) path: Path,
    pub(crate) remote_ufrag: String,
    priority: u32,
    /// Of the nomination in it: 1 for USE-CANDIDATE, 0 for none.
    nomination: u32,
    role: Option<Role>,
    at: Instant,
}

/// The part of USERNAME before the colon of a STUN Binding request: our own ufrag, by which a socket shared by
/// several agents finds the one meant. Nothing is authenticated yet.
pub fn binding_request_local_ufrag(datagram: &[u8]) -> Option<&str> {
    if !is_stun(datagram) {
        return None;
    }
    let message = Message::parse(datagram).ok()?;
    let request = message.class() == Class::Request && message.method() == Method::BINDING;
    message.username().filter(|_| request)?.split_once(':').map(|(local, _)| local)
}

impl Agent {
    /// A request. True if it was authenticated.
    pub(crate) fn on_request(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool {
        let Some((local_ufrag, remote_ufrag)) = message.username().and_then(|name| name.split_once(':'))
        else {
            self.stats.dropped_username += 1;
            return false;
        };
        if local_ufrag != self.local.ufrag {
            self.stats.dropped_username += 1;
            return false;
        }
        if !message.verify_integrity(&self.local_key).is_valid() {
            self.stats.dropped_integrity += 1;
            debug!(remote = %path.remote, "request with a wrong or missing MESSAGE-INTEGRITY");
            return false;
        }
        if self.remote.as_ref().is_some_and(|(remote, _)| remote.ufrag != remote_ufrag) {
            self.stats.dropped_username += 1;
            debug!(remote = %path.remote, "request of another session's peer");
            return false;
        }
        if self.local_is_given
            && [message.ice_controlling(), message.ice_controlled()].contains(&Some(self.tie_breaker))
        {
            // The two sides may have one password, so this can be a check of our own that somebody sends back.
            self.stats.dropped_username += 1;
            debug!(remote = %path.remote, "our own check has come back");
            return false;
        }
        if self.config.relay_only && self.local_of(path).is_none() {
            self.stats.dropped_base += 1;
            return false;
        }
        self.stats.requests_received += 1;
        let id = message.transaction_id();
        let unknown: Vec<_> = message.not_understood(UNDERSTOOD).take(16).collect();
        if !unknown.is_empty() {
            self.refuse(path, id, 420, unknown);
            return true;
        }
        let Some(priority) = message.priority() else {
            self.refuse(path, id, 400, Vec::new());
            return true;
        };
        if self.remote.is_some()
            && self.selected.is_none()
            && !self.adapts
            && self.local_of(path).is_some()
            && !self.resolve_roles(message)
        {
            self.refuse(path, id, 487, Vec::new());
            return true;
        }
        // What isn't a candidate of ours is no way to us, but it may become one: then a check of ours follows.
        let is_candidate = self.local_of(path).is_some();
        if is_candidate {
            self.respond(Response { path, id, answer: Answer::Success(path.remote) });
        } else {
            self.stats.dropped_base += 1;
        }
        let early = Early {
            path,
            remote_ufrag: remote_ufrag.to_owned(),
            priority,
            nomination: message.nomination().unwrap_or(u32::from(message.use_candidate())),
            role: match (message.ice_controlling(), message.ice_controlled()) {
                (Some(_), None) => Some(Role::Controlling),
                (None, Some(_)) => Some(Role::Controlled),
                _ => None,
            },
            at: now,
        };
        if self.can_follow(&early) {
            self.follow(now, &early);
        } else {
            self.remember(early);
        }
        if let Some(pair) = self.pair_mut(path) {
            pair.counts.requests_received += 1;
            pair.counts.responses_sent += 1;
        }
        true
    }

    /// RFC 8445 §7.3.1.1. False if the peer is to change its role.
    fn resolve_roles(&mut self, message: &Message<'_>) -> bool {
        if self.config.lite {
            // A full peer controls (§6.1.1), whatever the tie-breakers.
            return self.remote_lite || message.ice_controlled().is_none();
        }
        let theirs = match self.role {
            Role::Controlling => message.ice_controlling(),
            Role::Controlled => message.ice_controlled(),
        };
        let Some(theirs) = theirs else {
            return true;
        };
        let ours_is_greater = self.tie_breaker >= theirs;
        // With the greater tie-breaker we are the controlling side, whichever we were.
        match (self.role, ours_is_greater) {
            (Role::Controlling, true) | (Role::Controlled, false) => return false,
            _ if self.stats.role_switches >= MAX_ROLE_SWITCHES => {}
            _ => self.switch_role(),
        }
        true
    }

    fn refuse(&mut self, path: Path, id: TransactionId, code: u16, unknown: Vec<AttributeType>) {
        self.stats.refused += 1;
        debug!(remote = %path.remote, code, "request refused");
        self.respond(Response { path, id, answer: Answer::Error { code, unknown } });
    }

    fn respond(&mut self, response: Response) {
        if !is_sendable(response.path.remote) {
            return;
        }
        if self.responses_waiting >= MAX_RESPONSES {
            self.stats.responses_overflowed += 1;
            return;
        }
        self.responses_waiting += 1;
        self.stats.responses_sent += 1;
        self.out.push_back(Out::Response(response));
    }

    /// Whether our own check of that path can be made now.
    fn can_follow(&self, early: &Early) -> bool {
        self.remote.as_ref().is_some_and(|(remote, _)| remote.ufrag == early.remote_ufrag)
            && self.local_of(early.path).is_some()
    }

    fn remember(&mut self, early: Early) {
        if let Some(known) = self.early.iter_mut().find(|e| e.path == early.path) {
            let before = if known.remote_ufrag == early.remote_ufrag { known.nomination } else { 0 };
            *known = Early { nomination: before.max(early.nomination), ..early };
        } else if self.early.len() < self.config.max_early_checks {
            self.early.push(early);
        } else {
            self.stats.early_checks_dropped += 1;
        }
    }

    /// Follows the early checks that have become possible.
    pub(crate) fn follow_early(&mut self, now: Instant) {
        while let Some(at) = self.early.iter().position(|e| self.can_follow(e)) {
            let early = self.early.remove(at);
            self.follow(now, &early);
        }
    }

    /// Learns the source if it is new, and makes the triggered check (RFC 8445 §7.3.1.3–7.3.1.5).
    fn follow(&mut self, now: Instant, early: &Early) {
        let path = early.path;
        if !is_sendable(path.remote) {
            return;
        }
        self.held_until = None;
        if std::mem::take(&mut self.adapts) && early.role == Some(self.role) {
            debug!("the peer has our role: the other one is ours");
            self.take_role(self.role.other());
        }
        if self.pair(path).is_none() {
            let Some(local) = self.local_of(path) else { return };
            let (local_priority, local_foundation) = (local.priority, local.foundation);
            if self.is_chase(path) {
                self.stats.prflx_evicted += 1;
                return;
            }
            let Some(remote) = self.learn_prflx(now, path, early.priority) else { return };
            let foundation = (local_foundation, remote.foundation);
            if !self.add_pair(Pair::new(path, local_priority, remote.priority, foundation, self.role), true) {
                return;
            }
        }
        let (controlled, lite) = (self.role == Role::Controlled, self.config.lite);
        let Some(pair) = self.pair_mut(path) else { return };
        pair.last_request = pair.last_request.max(Some(early.at));
        if controlled && early.nomination > 0 {
            pair.nominate = true;
            pair.nomination = pair.nomination.max(early.nomination);
        }
        if lite {
            return self.take_check_as_answer(now, path);
        }
        match pair.state {
            // An earlier nomination may have waited for the selected pair to go silent.
            PairState::Succeeded if pair.nominate && controlled => self.select(now, path),
            PairState::Succeeded => {}
            state => {
                if state == PairState::InProgress {
                    self.supersede(now, path);
                }
                if let Some(pair) = self.pair_mut(path) {
                    pair.state = PairState::Waiting;
                }
                self.trigger(path, false);
            }
        }
    }
}
