//! Offer/answer for one data m-line (RFC 8829 §3.2, RFC 3264).
//!
//! | state | operation | next |
//! |---|---|---|
//! | stable | `set_local(Offer)` | have-local-offer |
//! | stable | `set_remote(Offer)` | have-remote-offer |
//! | have-local-offer | `set_local(Offer)` (a newer one) | have-local-offer |
//! | have-local-offer | `set_remote(Answer)` | stable |
//! | have-local-offer | `rollback` | stable, as before the offer |
//! | have-remote-offer | `set_remote(Offer)` (a newer one) | have-remote-offer |
//! | have-remote-offer | `set_local(Answer)` | stable |
//! | have-remote-offer | `rollback` | stable, as before the offer |
//! | any | `close` | closed |
//!
//! `create_offer` works in stable and have-local-offer, `create_answer` in have-remote-offer. Everything else is
//! [`Error::WrongState`] and changes nothing. Two offers that cross (glare): [`Negotiator::judge_offer`].
//!
//! Channels that are opened and closed by description alone (RFC 8864) are wished for with [`Negotiator::open_channel`] and
//! [`Negotiator::channel_closed`], go into the next offer, and are in force when an answer completes the exchange:
//! [`Negotiator::poll_channel_change`] tells. What was wished for stays so through a rollback.

use crate::channels::{
    ChannelChange, ChannelDescription, ChannelError, Channels, NegotiatedChannel, OfferedChannel,
};
use crate::error::Error;
use crate::read::{self, Layout, Remote};
use crate::session;
use crate::transport::check_candidate;
use crate::write::Local;
use crate::{
    DtlsRole, Fingerprint, LocalTransport, MAX_CANDIDATES, RemoteTransport, SdpType, Setup, SignalingState,
};

/// Makes and takes descriptions, and knows which of them are in force.
///
/// States and what leads from one to the other are RFC 8829's, without provisional answers: stable, have-local-offer,
/// have-remote-offer, closed. Whatever is called in whatever order ends in one of them; an error changes nothing.
#[derive(Clone, Debug)]
pub struct Negotiator {
    session_id: u64,
    state: SignalingState,
    /// Which role an answer of ours takes when the offer leaves it open.
    preferred_role: DtlsRole,
    /// Highest version of a local description that was set. Not rolled back: the peer may have seen it.
    version: u64,
    /// What the last `create_*` made; gone when something was negotiated since.
    created: Option<Box<Local>>,
    /// Our descriptions: in force, and offered.
    current_local: Option<Box<Local>>,
    pending_local: Option<Box<Local>>,
    /// The peer's.
    current_remote: Option<Box<Remote>>,
    pending_remote: Option<Box<Remote>>,
    role: Option<DtlsRole>,
    channels: Channels,
}

impl Negotiator {
    /// A negotiator in the state stable. `session_id` should be random; its 63 low bits are used (RFC 8829 §5.2.1).
    pub fn new(session_id: u64) -> Self {
        Self {
            session_id: session_id & (u64::MAX >> 1),
            state: SignalingState::Stable,
            preferred_role: DtlsRole::Client,
            version: 0,
            created: None,
            current_local: None,
            pending_local: None,
            current_remote: None,
            pending_remote: None,
            role: None,
            channels: Channels::default(),
        }
    }

    /// Which DTLS role our answers take when the offer says `actpass` and no session runs yet. Without this call it is
    /// the client, as RFC 8842 §5.3 recommends: the association starts half a round trip earlier. An offer of channels
    /// (RFC 8864) goes before: the answer takes the role by which the offered ids are the offerer's.
    pub fn prefer_role(&mut self, role: DtlsRole) {
        self.preferred_role = role;
    }

    /// An offer with this transport: `setup:actpass`, trickle, BUNDLE. In a running session it keeps the m-lines in
    /// their places (RFC 8829 §5.2.2); with other ICE credentials than before it restarts ICE. It takes force by
    /// [`Negotiator::set_local`]. Fields of `local` that can't be written into a line are an error.
    pub fn create_offer(&mut self, local: &LocalTransport) -> Result<String, Error> {
        if !matches!(self.state, SignalingState::Stable | SignalingState::HaveLocalOffer) {
            return Err(self.wrong_state("create_offer"));
        }
        let layout = self.negotiated_layout().cloned().unwrap_or_else(Layout::first_offer);
        let channels = if layout.is_old_form() { Vec::new() } else { self.channels.offer() };
        self.create(SdpType::Offer, local, Setup::ActPass, layout, channels)
    }

    /// The answer to the peer's offer that is pending. It accepts the data m-line and rejects all others.
    pub fn create_answer(&mut self, local: &LocalTransport) -> Result<String, Error> {
        let Some(Remote { transport, layout, channels }) =
            self.pending_remote.as_deref().filter(|_| self.state == SignalingState::HaveRemoteOffer)
        else {
            return Err(self.wrong_state("create_answer"));
        };
        let offered = transport.setup.role().map(DtlsRole::peer);
        let role = offered.or(self.role).or(self.channels.role_that_fits()).unwrap_or(self.preferred_role);
        let before = self.current_local.as_ref().map(|before| &before.transport);
        if transport.ice_restart && before.is_some_and(|before| before.ufrag == local.ufrag) {
            return Err(Error::IceRestartUnanswered);
        }
        let listed = self.channels.answer(channels, role);
        self.create(SdpType::Answer, local, role.into(), layout.clone(), listed)
    }

    fn create(
        &mut self,
        kind: SdpType,
        transport: &LocalTransport,
        setup: Setup,
        layout: Layout,
        channels: Vec<ChannelDescription>,
    ) -> Result<String, Error> {
        transport.check()?;
        // RFC 8829 §5.2.1: one more than the last that was set.
        let version = self.version.saturating_add(1);
        let local = Local {
            kind,
            session_id: self.session_id,
            version,
            transport: transport.clone(),
            setup,
            layout,
            channels,
        };
        let text = local.text();
        if text.len() > crate::MAX_SDP {
            return Err(Error::TooLarge { what: "bytes of a description", limit: crate::MAX_SDP });
        }
        self.created = Some(Box::new(local));
        Ok(text)
    }

    /// Applies a description of ours: the text that `create_offer` or `create_answer` made last, or an empty text, which
    /// means the same.
    pub fn set_local(&mut self, kind: SdpType, sdp: &str) -> Result<(), Error> {
        match (kind, self.state) {
            (SdpType::Offer, SignalingState::Stable | SignalingState::HaveLocalOffer) => {
                let local = self.created(kind, sdp)?;
                self.version = local.version;
                self.pending_local = Some(local);
                self.state = SignalingState::HaveLocalOffer;
                Ok(())
            }
            (SdpType::Answer, SignalingState::HaveRemoteOffer) => {
                let local = self.created(kind, sdp)?;
                self.created = None;
                self.role = local.setup.role();
                self.version = local.version;
                if let (Some(remote), Some(role)) = (&self.pending_remote, self.role) {
                    self.channels.answer_sent(&remote.channels, &local.channels, role);
                }
                self.current_local = Some(local);
                self.current_remote = self.pending_remote.take();
                self.state = SignalingState::Stable;
                Ok(())
            }
            (SdpType::Offer, _) => Err(self.wrong_state("set_local(offer)")),
            (SdpType::Answer, _) => Err(self.wrong_state("set_local(answer)")),
        }
    }

    /// Applies a description of the peer's and returns what it says.
    pub fn set_remote(&mut self, kind: SdpType, sdp: &str) -> Result<&RemoteTransport, Error> {
        match (kind, self.state) {
            (SdpType::Offer, SignalingState::Stable | SignalingState::HaveRemoteOffer) => {
                let mut remote = read::offer(&session::parse(sdp)?, self.negotiated_layout())?;
                self.check_against_session(SdpType::Offer, &mut remote)?;
                self.created = None;
                self.channels.receive_offer(&remote.channels);
                self.pending_remote = Some(Box::new(remote));
                self.state = SignalingState::HaveRemoteOffer;
            }
            (SdpType::Answer, SignalingState::HaveLocalOffer) => {
                let Some(offer) = &self.pending_local else {
                    return Err(self.wrong_state("set_remote(answer)"));
                };
                let mut remote = read::answer(&session::parse(sdp)?, &offer.layout)?;
                self.check_against_session(SdpType::Answer, &mut remote)?;
                let restarts =
                    self.current_local.as_ref().is_some_and(|b| b.transport.ufrag != offer.transport.ufrag);
                if restarts && !remote.transport.ice_restart {
                    return Err(Error::IceRestartUnanswered);
                }
                if remote.transport.ice_restart && !restarts {
                    return Err(Error::IceRestartNotOffered);
                }
                self.created = None;
                self.role = self.role.or(remote.transport.setup.role().map(DtlsRole::peer));
                match self.role {
                    Some(role) if !remote.layout.is_old_form() => {
                        self.channels.answered(&offer.channels, &remote.channels, role);
                    }
                    _ => self.channels.refuse_all(),
                }
                self.current_local = self.pending_local.take();
                self.current_remote = Some(Box::new(remote));
                self.state = SignalingState::Stable;
            }
            (SdpType::Offer, _) => return Err(self.wrong_state("set_remote(offer)")),
            (SdpType::Answer, _) => return Err(self.wrong_state("set_remote(answer)")),
        }
        self.remote().ok_or(Error::NoDataMediaLine)
    }

    /// What must not change in a running session (RFC 8842 §5.5 would make a new association), and what may.
    ///
    /// Firefox answers an offer that restarts ICE with `active` whatever the roles are, and means nothing by it: the DTLS
    /// association goes on, as fingerprints and roles are.
    fn check_against_session(&self, kind: SdpType, remote: &mut Remote) -> Result<(), Error> {
        let transport = &mut remote.transport;
        if let Some(Remote { transport: current, .. }) = self.current_remote.as_deref() {
            if sorted(&current.fingerprints) != sorted(&transport.fingerprints) {
                return Err(Error::FingerprintChanged);
            }
            transport.ice_restart = current.ufrag != transport.ufrag || current.pwd != transport.pwd;
        }
        let says = transport.setup.role().map(DtlsRole::peer);
        let meant = kind == SdpType::Offer || !transport.ice_restart;
        if meant && self.role.is_some() && says.is_some() && says != self.role {
            return Err(Error::RoleChanged);
        }
        Ok(())
    }

    /// Takes the pending offer back, whosever it is (RFC 8829 §4.1.10.2): what was in force before it still is.
    pub fn rollback(&mut self) -> Result<(), Error> {
        if !matches!(self.state, SignalingState::HaveLocalOffer | SignalingState::HaveRemoteOffer) {
            return Err(self.wrong_state("rollback"));
        }
        self.created = None;
        self.pending_local = None;
        self.pending_remote = None;
        self.channels.forget_offer();
        self.state = SignalingState::Stable;
        Ok(())
    }

    /// Puts a channel into the next offer, and into every one after it until an exchange is complete. It is in force when
    /// [`ChannelChange::Opened`] comes; data may go then at the earliest (RFC 8864 §6.5).
    ///
    /// The id must have the parity of our side ([`DtlsRole::owns`]) where the roles are known. Before, all ids must have
    /// one; odd ones agree with a peer that answers as RFC 8842 §5.3 recommends. Ids of channels that were opened by
    /// DCEP are for the caller to keep away.
    pub fn open_channel(&mut self, channel: ChannelDescription) -> Result<(), ChannelError> {
        self.channels.propose(channel, self.role)
    }

    /// Takes back a channel that was wished for and is not in force. If an offer with it is pending it may still come
    /// into force; then it is to be closed.
    pub fn withdraw_channel(&mut self, stream_id: u16) {
        self.channels.withdraw(stream_id);
    }

    /// Says that a channel in force is closed (its stream is reset, RFC 8864 §6.6.1): descriptions leave it out from now
    /// on. Where we have closed it, an offer that does so is for us to make.
    pub fn channel_closed(&mut self, stream_id: u16, by_us: bool) {
        self.channels.closed(stream_id, by_us);
    }

    /// New channels of the peer's pending offer that are not rejected. The answer accepts those that have the right
    /// parity.
    pub fn offered_channels(&self) -> impl Iterator<Item = OfferedChannel> {
        self.channels.offered()
    }

    /// Leaves a channel out of the answer to the pending offer.
    pub fn reject_channel(&mut self, stream_id: u16) -> Result<(), ChannelError> {
        self.channels.reject(stream_id)?;
        self.created = None;
        Ok(())
    }

    /// What the answer says of a channel in `a=dcsa`: each as `name` or `name:value`.
    pub fn set_answer_attributes(
        &mut self,
        stream_id: u16,
        attributes: Vec<String>,
    ) -> Result<(), ChannelError> {
        self.channels.set_answer_attributes(stream_id, attributes)?;
        self.created = None;
        Ok(())
    }

    /// What the exchanges that are complete have changed about channels, in order.
    pub fn poll_channel_change(&mut self) -> Option<ChannelChange> {
        self.channels.next_change()
    }

    /// The channels in force, by id; those that were closed since the last exchange included.
    pub fn channels(&self) -> impl Iterator<Item = &NegotiatedChannel> {
        self.channels.in_force()
    }

    /// The channel in force on this stream.
    pub fn channel(&self, stream_id: u16) -> Option<&NegotiatedChannel> {
        self.channels.get(stream_id)
    }

    /// Whether an id is that of a channel in force, wished for or offered, and so not free for any other (§6.6.1).
    pub fn is_channel_known(&self, stream_id: u16) -> bool {
        self.channels.is_known(stream_id)
    }

    /// Whether channels were wished for or closed that an offer of ours is to tell about.
    pub fn needs_offer(&self) -> bool {
        self.channels.needs_offer()
    }

    /// Ends the negotiation for good. What was negotiated can still be read.
    pub fn close(&mut self) {
        self.created = None;
        self.state = SignalingState::Closed;
    }

    /// Where offer/answer stands.
    pub fn signaling_state(&self) -> SignalingState {
        self.state
    }

    /// What the peer's last description says: its pending offer, else what is in force.
    pub fn remote(&self) -> Option<&RemoteTransport> {
        self.pending_remote.as_ref().or(self.current_remote.as_ref()).map(|remote| &remote.transport)
    }

    /// Our side of DTLS; known from the first answer on, ours or the peer's, and the same ever after.
    pub fn dtls_role(&self) -> Option<DtlsRole> {
        self.role
    }

    /// `a=mid` of the data m-line, from the first description on; empty if the peer's offer gave it none.
    pub fn mid(&self) -> Option<&str> {
        self.layout().map(Layout::mid)
    }

    /// Index of the data m-line among the m-lines, from the first description on.
    pub fn mline_index(&self) -> Option<usize> {
        self.layout().map(|layout| layout.data)
    }

    /// Our pending offer, else our description in force, with these candidates in the place of those that it was made
    /// with: what a peer is given that takes no trickled ones. Lines that could not be written (see
    /// [`LocalTransport::candidates`]) and those beyond [`MAX_CANDIDATES`] are left out.
    pub fn local_description_with(
        &self,
        candidates: &[String],
        end_of_candidates: bool,
    ) -> Option<(SdpType, String)> {
        let mut local = self.pending_local.as_ref().or(self.current_local.as_ref())?.clone();
        let fitting = candidates.iter().filter(|line| check_candidate(line).is_ok());
        local.transport.candidates = fitting.take(MAX_CANDIDATES).cloned().collect();
        local.transport.end_of_candidates = end_of_candidates;
        Some((local.kind, local.text()))
    }

    /// The description made last, if this is it. An offer stays there to be applied again.
    fn created(&self, kind: SdpType, sdp: &str) -> Result<Box<Local>, Error> {
        self.created
            .as_ref()
            .filter(|local| local.kind == kind && (sdp.is_empty() || local.text() == sdp))
            .cloned()
            .ok_or(Error::NotCreatedHere)
    }

    /// The m-lines of the session that runs; the peer's offer may have brought new ones, so the peer's count.
    fn negotiated_layout(&self) -> Option<&Layout> {
        self.current_remote.as_ref().map(|remote| &remote.layout)
    }

    fn layout(&self) -> Option<&Layout> {
        let remote = self.pending_remote.as_ref().map(|remote| &remote.layout);
        let local = self.pending_local.as_ref().map(|local| &local.layout);
        remote.or(local).or(self.negotiated_layout())
    }

    fn wrong_state(&self, operation: &'static str) -> Error {
        Error::WrongState { operation, state: self.state }
    }
}

fn sorted(fingerprints: &[Fingerprint]) -> Vec<&Fingerprint> {
    let mut sorted: Vec<_> = fingerprints.iter().collect();
    sorted.sort();
    sorted.dedup();
    sorted
}
