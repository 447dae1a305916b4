//! Descriptions and candidates: what the two sides say to each other by signalling.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sinnet_dtls::SrtpProfile;
use sinnet_ice::{AddCandidateError, Candidate, Credentials, CredentialsError, Role};
use sinnet_sctp::Association;
use sinnet_sdp::{
    DtlsRole, LocalTransport, MAX_CANDIDATES, Negotiator, Offered, Politeness, RemoteTransport, SdpType,
    SignalingState,
};

use crate::agreement::PeerIdentity;
use crate::error::{CandidateError, NegotiationError};
use crate::peer::{Peer, Transport};
use rand::RngExt;

/// SCTP runs on one port pair here, the one all browsers name (RFC 8841 §5).
pub(crate) const SCTP_PORT: u16 = 5000;

/// How long the handshake may take at least, counted from before ICE has found a path.
const LEAST_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What [`Peer::receive_description`] has done with a description.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Received {
    /// It was an answer, and the exchange is complete.
    Applied,
    /// It was an offer, and waits for our answer.
    AnswerDue,
    /// It was an offer that crossed ours, which the peer will take instead. Nothing is to be done.
    Ignored,
}

impl Peer {
    /// An offer of one data-channel m-line (RFC 8841), with all channels that SDP is to open or keep open (RFC 8864). Give it
    /// to [`Peer::set_local_description`] before sending it.
    pub fn create_offer(&mut self) -> Result<String, NegotiationError> {
        self.check_open()?;
        if matches!(self.signaling_state(), SignalingState::Stable | SignalingState::HaveLocalOffer) {
            self.name_channels();
        }
        let local = self.local_transport(self.restart_wanted);
        Ok(self.negotiator.create_offer(&local)?)
    }

    /// The answer to the offer that was set.
    pub fn create_answer(&mut self) -> Result<String, NegotiationError> {
        self.check_open()?;
        // RFC 8839 §4.4.3: a restart is answered by one.
        let local = self.local_transport(self.is_restart_offered());
        Ok(self.negotiator.create_answer(&local)?)
    }

    /// Applies a description made by `create_offer` or `create_answer`.
    pub fn set_local_description(
        &mut self,
        now: Instant,
        kind: SdpType,
        sdp: &str,
    ) -> Result<(), NegotiationError> {
        self.now = now;
        self.check_open()?;
        self.negotiator.set_local(kind, sdp)?;
        match kind {
            SdpType::Offer => {
                if self.transport.is_none() {
                    self.ice.negotiated_mut().set_role(Role::Controlling);
                }
                self.note_offered(true);
            }
            SdpType::Answer => {
                if let Some(remote) = self.negotiator.remote().cloned() {
                    self.start_ice(&remote)?;
                }
                self.complete();
            }
        }
        self.drive();
        Ok(())
    }

    /// Applies the peer's description.
    ///
    /// # Errors
    /// Nothing has changed then: another one can be set.
    pub fn set_remote_description(
        &mut self,
        now: Instant,
        kind: SdpType,
        sdp: &str,
    ) -> Result<(), NegotiationError> {
        self.now = now;
        self.check_open()?;
        // Tried on a copy, as ICE and the channels have a say, too: an error must change nothing.
        self.apply_remote(self.negotiator.clone(), kind, sdp)
    }

    /// Applies the peer's description as W3C's "perfect negotiation" would: an offer that crosses ours is ignored by the
    /// impolite side, and taken by the polite one after it has taken its own back. What to do next is in the result.
    ///
    /// # Errors
    /// Nothing has changed then; our own offer is still out.
    pub fn receive_description(
        &mut self,
        now: Instant,
        politeness: Politeness,
        kind: SdpType,
        sdp: &str,
    ) -> Result<Received, NegotiationError> {
        self.now = now;
        self.check_open()?;
        let mut negotiator = self.negotiator.clone();
        if kind == SdpType::Offer {
            match negotiator.judge_offer(politeness) {
                Offered::Take => {}
                Offered::RollBackAndTake => negotiator.rollback()?,
                Offered::Ignore => {
                    self.ignoring = true;
                    return Ok(Received::Ignored);
                }
            }
        }
        let rolled_back = negotiator.signaling_state() != self.negotiator.signaling_state();
        self.apply_remote(negotiator, kind, sdp)?;
        if rolled_back {
            self.note_offered(false);
            self.ice.forget_offered();
        }
        Ok(if kind == SdpType::Offer { Received::AnswerDue } else { Received::Applied })
    }

    fn apply_remote(
        &mut self,
        mut negotiator: Negotiator,
        kind: SdpType,
        sdp: &str,
    ) -> Result<(), NegotiationError> {
        let before = self.negotiator.remote().map(|before| before.ufrag.clone());
        let remote = negotiator.set_remote(kind, sdp)?.clone();
        let local = self.ice.negotiated().local_credentials();
        if remote.ufrag == local.ufrag && remote.pwd == local.pwd {
            return Err(CredentialsError::Own.into());
        }
        match kind {
            SdpType::Offer => self.judge_offered(&mut negotiator),
            SdpType::Answer => self.start_ice(&remote)?,
        }
        self.negotiator = negotiator;
        self.ignoring = false;
        if before.is_some_and(|before| before != remote.ufrag) {
            self.held.clear();
        }
        match kind {
            SdpType::Offer if self.must_hold_candidates() => {}
            SdpType::Offer => self.add_described_candidates(&remote),
            SdpType::Answer => self.complete(),
        }
        self.drive();
        Ok(())
    }

    /// Takes the pending offer back, whosever it is (RFC 8829 §4.1.10.2): all is as before it. Channels that were in ours
    /// will be in the next.
    pub fn rollback(&mut self, now: Instant) -> Result<(), NegotiationError> {
        self.now = now;
        self.check_open()?;
        self.negotiator.rollback()?;
        self.note_offered(false);
        self.ice.forget_offered();
        self.held.clear();
        self.negotiation_told = false;
        self.tell_negotiation_needed();
        Ok(())
    }

    /// An answer, ours or the peer's, has made the exchange complete.
    fn complete(&mut self) {
        self.start_transport();
        // What a description had that is not this one.
        self.ice.forget_offered();
        self.apply_channel_changes();
        self.negotiation_told = false;
        self.tell_negotiation_needed();
    }

    /// Has the next offer restart ICE (RFC 8445 §9): both sides look for a path anew, with new credentials, while data goes on
    /// over the old one. For when the network has changed, or [`ConnectionState::Disconnected`](crate::ConnectionState) lasts.
    /// [`Event::NegotiationNeeded`](crate::Event) asks for the offer. Does nothing before the first exchange is complete.
    pub fn restart_ice(&mut self, now: Instant) {
        self.now = now;
        if self.transport.is_some() && !self.has_ended() {
            self.restart_wanted = true;
            self.tell_negotiation_needed();
        }
    }

    /// Whether the peer's pending offer restarts ICE.
    fn is_restart_offered(&self) -> bool {
        self.transport.is_some()
            && self.signaling_state() == SignalingState::HaveRemoteOffer
            && self.negotiator.remote().is_some_and(|remote| remote.ice_restart)
    }

    /// Whether the peer's candidates are for an agent that has not begun.
    fn must_hold_candidates(&self) -> bool {
        self.transport.is_none() || self.is_restart_offered()
    }

    /// ICE begins, or restarts, when an answer is there, not with the offer: that one may be taken back, and an agent can't
    /// forget credentials.
    fn start_ice(&mut self, remote: &RemoteTransport) -> Result<(), NegotiationError> {
        let credentials = Credentials { ufrag: remote.ufrag.clone(), pwd: remote.pwd.clone() };
        if self.transport.is_some() && remote.ice_restart {
            let offerer = self.negotiator.signaling_state() == SignalingState::HaveLocalOffer;
            let role = if offerer { Role::Controlling } else { Role::Controlled };
            self.ice.restart(self.now, role, credentials, remote)?;
            self.restart_wanted = false;
        } else {
            self.begin_ice(remote, credentials)?;
        }
        self.add_described_candidates(remote);
        for held in std::mem::take(&mut self.held) {
            match held {
                Some(candidate) => {
                    if let Err(error) = self.ice.add_remote_candidate(self.now, &candidate) {
                        tracing::debug!(%error, "candidate refused");
                    }
                }
                None => self.ice.end_of_remote_candidates(self.now),
            }
        }
        Ok(())
    }

    fn begin_ice(
        &mut self,
        remote: &RemoteTransport,
        credentials: Credentials,
    ) -> Result<(), CredentialsError> {
        if self.transport.is_none() {
            if self.negotiator.signaling_state() != SignalingState::HaveLocalOffer {
                // RFC 8445 §6.1.1: the offerer controls, but a lite agent never does.
                let controls = remote.ice_lite && !self.config.ice.lite;
                let role = if controls { Role::Controlling } else { Role::Controlled };
                self.ice.negotiated_mut().set_role(role);
            }
            self.ice.negotiated_mut().set_remote_lite(remote.ice_lite);
            self.ice.negotiated_mut().set_remote_renomination(remote.renomination);
        }
        self.ice.negotiated_mut().set_remote_credentials(self.now, credentials)
    }

    fn add_described_candidates(&mut self, remote: &RemoteTransport) {
        for line in &remote.candidates {
            // A candidate inside a description that we can't use is skipped, as one that does not answer would be.
            match line.parse::<Candidate>() {
                Ok(candidate) => {
                    if let Err(error) = self.ice.add_remote_candidate(self.now, &candidate) {
                        tracing::debug!(%error, "candidate in the description refused");
                    }
                }
                Err(error) => tracing::debug!(%error, "candidate in the description does not parse"),
            }
        }
        if remote.end_of_candidates {
            self.ice.end_of_remote_candidates(self.now);
        }
    }

    /// Our description that is in force or offered, with the candidates known so far.
    pub fn local_description(&self) -> Option<(SdpType, String)> {
        self.negotiator.local_description_with(&self.candidate_lines(), self.local_candidates_ended)
    }

    /// The offer/answer state (RFC 8829 §3.2).
    pub fn signaling_state(&self) -> SignalingState {
        self.negotiator.signaling_state()
    }

    /// `a=mid` and index of the data-channel m-line, once there is one: what candidates are signalled with.
    pub fn mline(&self) -> Option<(&str, usize)> {
        Some((self.negotiator.mid()?, self.negotiator.mline_index()?))
    }

    /// Whether [`end_of_local_candidates`](Self::end_of_local_candidates) has been said.
    pub fn has_all_local_candidates(&self) -> bool {
        self.local_candidates_ended
    }

    /// No local candidate will follow. Returns whether that is news.
    pub fn end_of_local_candidates(&mut self, now: Instant) -> bool {
        self.now = now;
        let news = !std::mem::replace(&mut self.local_candidates_ended, true);
        self.ice.end_of_local_candidates(now);
        news
    }

    /// Adds a candidate of the peer: a `candidate:` line as signalled, or an empty one for the end of candidates
    /// (RFC 8838 §14). `mid` and `mline_index` are checked if given.
    pub fn add_remote_candidate(
        &mut self,
        now: Instant,
        line: &str,
        mid: Option<&str>,
        mline_index: Option<u16>,
    ) -> Result<(), CandidateError> {
        self.now = now;
        if self.has_ended() {
            return Err(CandidateError::Closed);
        }
        if self.ignoring {
            // They come with an offer that was ignored; what fits the session is still good for it.
            if let Err(error) = self.take_candidate(line) {
                tracing::debug!(%error, "candidate of an offer that was ignored");
            }
            return Ok(());
        }
        let remote = match self.negotiator.remote() {
            Some(remote) => remote,
            // There are no m-lines without SDP.
            None if self.transport.is_some() => {
                self.take_candidate(line)?;
                self.drive();
                return Ok(());
            }
            None => return Err(CandidateError::NoRemoteDescription),
        };
        // The mid decides where there is one (RFC 8838 §10).
        match (mid.filter(|mid| !mid.is_empty()), mline_index) {
            (Some(mid), _) if mid != remote.mid => return Err(CandidateError::WrongMLine(mid.to_owned())),
            (None, Some(index)) if usize::from(index) != remote.mline_index => {
                return Err(CandidateError::WrongMLine(index.to_string()));
            }
            _ => {}
        }
        self.take_candidate(line)?;
        self.drive();
        Ok(())
    }

    fn take_candidate(&mut self, line: &str) -> Result<(), CandidateError> {
        let candidate = if line.is_empty() { None } else { Some(line.parse::<Candidate>()?) };
        if self.must_hold_candidates() {
            if self.held.len() >= MAX_CANDIDATES {
                return Err(AddCandidateError::TooMany.into());
            }
            self.held.push(candidate);
            return Ok(());
        }
        match candidate {
            Some(candidate) => self.ice.add_remote_candidate(self.now, &candidate)?,
            None => self.ice.end_of_remote_candidates(self.now),
        }
        Ok(())
    }

    pub(crate) fn check_open(&self) -> Result<(), NegotiationError> {
        if self.has_ended() || self.is_closing() { Err(NegotiationError::Closed) } else { Ok(()) }
    }

    fn candidate_lines(&self) -> Vec<String> {
        self.ice.local_candidates().map(ToString::to_string).collect()
    }

    fn local_transport(&mut self, restart: bool) -> LocalTransport {
        let credentials = match restart {
            true => self.ice.offer_restart(self.now, self.seed.rng().random()),
            false => self.ice.negotiated().local_credentials().clone(),
        };
        let fingerprint = self.config.certificate.fingerprint(sinnet_dtls::HashAlgorithm::Sha256);
        LocalTransport {
            ufrag: credentials.ufrag,
            pwd: credentials.pwd,
            fingerprints: vec![sinnet_sdp::Fingerprint {
                algorithm: fingerprint.algorithm.name().to_owned(),
                digest: fingerprint.digest,
            }],
            sctp_port: SCTP_PORT,
            ice_lite: self.config.ice.lite,
            max_message_size: self.config.largest_message() as u64,
            candidates: self.candidate_lines(),
            end_of_candidates: self.local_candidates_ended,
        }
    }

    /// Makes DTLS and SCTP when an answer has decided who is what; later negotiations leave them alone
    /// (RFC 8842 §5: the association stays as long as fingerprint and role stay, and the negotiator refuses to
    /// change them).
    fn start_transport(&mut self) {
        let (Some(role), Some(remote)) = (self.negotiator.dtls_role(), self.negotiator.remote()) else {
            return;
        };
        if let Some(transport) = &mut self.transport {
            transport.peer_max_message_size = remote.max_message_size;
            return;
        }
        let fingerprints = remote.fingerprints.iter().filter_map(usable_fingerprint).collect();
        let (port, largest) = (remote.sctp_port, remote.max_message_size);
        self.make_transport(role, PeerIdentity::Fingerprints(fingerprints), port, largest);
    }

    /// DTLS and SCTP, which wait for ICE to find a path.
    pub(crate) fn make_transport(
        &mut self,
        role: DtlsRole,
        identity: PeerIdentity,
        remote_sctp_port: u16,
        peer_max_message_size: u64,
    ) {
        let mut dtls_config = sinnet_dtls::Config::new(self.config.certificate.clone());
        dtls_config.mtu = self.config.datagram_size();
        dtls_config.retransmit.initial = self.config.dtls_initial_timeout;
        // ICE's patience (RFC 8863) and as much again; counted from here, while ICE has yet to find a path.
        let twice = self.config.ice.patience.saturating_mul(2);
        dtls_config.handshake_timeout = Some(twice.max(LEAST_HANDSHAKE_TIMEOUT));
        if let Some(suites) = &self.config.cipher_suites {
            dtls_config.suites.clone_from(suites);
        }
        let (key_log, secrets) = self.key_log();
        dtls_config.key_log = key_log;
        // There is no media here, but aiortc gives up a handshake without a profile, and browsers offer some in every one.
        dtls_config.srtp_profiles =
            vec![SrtpProfile::SRTP_AEAD_AES_128_GCM, SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_80];
        let fingerprints = match identity {
            PeerIdentity::Fingerprints(fingerprints) => fingerprints,
            PeerIdentity::DangerAnyCertificate => {
                dtls_config.certificate_check = Some(Arc::new(|_| Ok(())));
                Vec::new()
            }
        };
        let dtls_client = role == DtlsRole::Client;
        let dtls = sinnet_dtls::Connection::new(
            Arc::new(dtls_config),
            if dtls_client { sinnet_dtls::Role::Client } else { sinnet_dtls::Role::Server },
            fingerprints,
            self.now,
            self.seed.rng().random(),
        );
        let mut sctp_config = sinnet_sctp::Config::default();
        self.config.set_packet_sizes(&mut sctp_config);
        sctp_config.local_port = SCTP_PORT;
        sctp_config.remote_port = remote_sctp_port;
        // The packets go through DTLS only.
        sctp_config.zero_checksum = true;
        sctp_config.receive_buffer = self.config.receive_buffer;
        sctp_config.send_buffer = self.config.send_buffer;
        sctp_config.max_message_size_recv = self.config.largest_message();
        sctp_config.max_whole_message = self.config.max_message_size;
        sctp_config.interleaving = self.config.interleaving;
        sctp_config.congestion = self.config.congestion;
        // Whether the peer is there is for ICE's consent to say (RFC 7675): an outage that ICE survives must not end
        // the association a few seconds earlier.
        sctp_config.max_retransmissions = None;
        self.transport = Some(Transport {
            dtls,
            sctp: Association::new(Arc::new(sctp_config), self.now, self.seed.rng().random()),
            dtls_client,
            peer_max_message_size,
        });
        self.secrets = secrets;
    }
}

/// Fingerprints whose hash DTLS does not take (sha-1, md5, unknown ones) are not counted in (RFC 8122 §5). The negotiator
/// refuses a description that has no other, and DTLS a peer that none is known of.
fn usable_fingerprint(said: &sinnet_sdp::Fingerprint) -> Option<sinnet_dtls::Fingerprint> {
    use sinnet_dtls::HashAlgorithm::{Sha256, Sha384, Sha512};
    let algorithm = [Sha256, Sha384, Sha512].into_iter().find(|known| known.name() == said.algorithm)?;
    Some(sinnet_dtls::Fingerprint { algorithm, digest: said.digest.clone() })
}
