//! The agent: state, and the five verbs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::candidate::Candidate;
use crate::config::Config;
use crate::creds::Credentials;
use crate::error::{AddCandidateError, CredentialsError};
use crate::event::{Event, Path, Role, State, Stats, Transmit};
use std::net::SocketAddr;

/// One ICE agent for one peer.
#[derive(Debug)]
pub struct Agent {
    #[expect(dead_code, reason = "read by the checks")]
    config: Arc<Config>,
    role: Role,
    local: Credentials,
    candidates: Vec<Candidate>,
    state: State,
    events: VecDeque<Event>,
    stats: Stats,
}

#[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut, unused_variables, missing_docs)]
impl Agent {
    pub fn new(config: Arc<Config>, role: Role, now: Instant, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            config,
            role,
            local: Credentials::generate(&mut rng),
            candidates: Vec::new(),
            state: State::New,
            events: VecDeque::new(),
            stats: Stats::default(),
        }
    }
    pub fn local_credentials(&self) -> &Credentials {
        &self.local
    }
    pub fn role(&self) -> Role {
        self.role
    }
    pub fn set_role(&mut self, role: Role) {
        self.role = role;
    }
    pub fn set_remote_lite(&mut self, lite: bool) {}
    pub fn set_remote_credentials(&mut self, now: Instant, c: Credentials) -> Result<(), CredentialsError> {
        c.check()
    }
    pub fn add_local_host(&mut self, now: Instant, base: SocketAddr) -> Option<Candidate> {
        None
    }
    pub fn end_of_local_candidates(&mut self, now: Instant) {}
    pub fn local_candidates(&self) -> &[Candidate] {
        &self.candidates
    }
    pub fn add_remote_candidate(&mut self, now: Instant, c: &Candidate) -> Result<(), AddCandidateError> {
        Ok(())
    }
    pub fn end_of_remote_candidates(&mut self, now: Instant) {}
    pub fn handle_input(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        false
    }
    pub fn handle_timeout(&mut self, now: Instant) {}
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        None
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
    pub fn state(&self) -> State {
        self.state
    }
    pub fn selected_path(&self) -> Option<Path> {
        None
    }
    pub fn can_send(&self) -> Option<Path> {
        None
    }
    pub fn is_validated(&self, path: Path) -> bool {
        false
    }
    pub fn rtt(&self) -> Option<Duration> {
        None
    }
    pub fn close(&mut self) {
        self.state = State::Closed;
    }
    pub fn stats(&self) -> Stats {
        self.stats
    }
}

/// The part of USERNAME before the colon of a STUN Binding request.
pub fn binding_request_local_ufrag(datagram: &[u8]) -> Option<&str> {
    let _ = datagram;
    None
}
