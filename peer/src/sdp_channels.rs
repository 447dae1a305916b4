//! Channels that SDP alone opens and closes (RFC 8864), on the same association as those of DCEP.
//!
//! ```text
//!  offer_channel ── Wanted ── set_local(offer) ──▶ Offered ── answer has it ──▶ Agreed ── association up, stream free ──▶ open
//!                      ▲                              │ └── its data comes before the answer (§6.5) ─────────────────▶ open
//!                      └───────── rollback ───────────┘ └── answer has it not ─────────────────────────────────────▶ closed
//!
//!  the peer's offer ── set_local(answer) ─────────────────────────────────────▶ Agreed
//! ```
//!
//! A channel closes as any other does, by stream resets; the side that closed it has an offer to make that leaves it out
//! (§6.6.1), which [`Event::NegotiationNeeded`] asks for. One that an offer or answer leaves out is closed by resets, too.
//! Until the exchange is over, DCEP does not use its id.

use std::time::Instant;

use sinnet_sctp::StreamId;
use sinnet_sdp::{
    ChannelChange, ChannelDescription, ChannelError, Dcmap, DcmapError, DtlsRole, Limit, NegotiatedChannel,
    Refusal, SignalingState,
};

use crate::channel::{BySdp, Channel, ChannelKey, ChannelOptions, ChannelState, Phase, Reliability};
use crate::channels::OpenError;
use crate::event::Event;
use crate::peer::Peer;

/// A new channel in the peer's offer, to be accepted by the answer or rejected before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedChannel {
    /// Its stream id.
    pub id: u16,
    /// What it is; `negotiated` is the id.
    pub options: ChannelOptions,
    /// What its subprotocol says (`a=dcsa`): each as `name` or `name:value`.
    pub attributes: Vec<String>,
}

impl Channel {
    /// Whether SDP has come so far that the stream may be used.
    pub(crate) fn is_agreed(&self) -> bool {
        self.by_sdp
            .as_ref()
            .is_none_or(|by_sdp| matches!(by_sdp.phase, Phase::Agreed { .. }) && self.stream.is_some())
    }

    /// Whether the peer has offered it and the application does not know; it does from now on.
    pub(crate) fn take_theirs(&mut self) -> bool {
        match &mut self.by_sdp {
            Some(BySdp { phase: Phase::Agreed { theirs }, .. }) => std::mem::take(theirs),
            _ => false,
        }
    }
}

/// What the application does.
impl Peer {
    /// Opens a channel by SDP: it goes into the next offer, and opens when the answer has it and the association is up.
    /// [`ChannelOptions::negotiated`] names its id; without, the next offer chooses one of the right parity. `attributes`
    /// go into `a=dcsa` lines, each as `name` or `name:value`.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing has changed then.
    pub fn offer_channel(
        &mut self,
        now: Instant,
        options: ChannelOptions,
        attributes: &[String],
    ) -> Result<ChannelKey, OpenError> {
        self.now = now;
        self.check_new(&options)?;
        let id = options.negotiated;
        let description = describe(id.unwrap_or(0), &options, attributes)?;
        if id.is_some() {
            self.negotiator.open_channel(description).map_err(open_error)?;
        } else {
            // Checked here, as the offer that chooses the id has nobody to tell.
            attributes
                .iter()
                .try_for_each(|text| sinnet_sdp::Dcsa::new(0, text).map(|_| ()))
                .map_err(OpenError::Attribute)?;
        }
        let mut channel = Channel::new(options, ChannelState::Connecting);
        channel.by_sdp = Some(BySdp {
            phase: Phase::Wanted,
            local_attributes: attributes.to_vec(),
            remote_attributes: Vec::new(),
            any_id: id.is_none(),
        });
        let key = self.channels.insert(channel);
        match id {
            Some(id) => drop(self.channels.by_sdp.insert(id, key)),
            None => self.channels.unnamed.push(key),
        }
        self.tell_negotiation_needed();
        Ok(key)
    }

    /// New channels of the peer's pending offer that the answer will accept. Those that can't be (an id in use or of the
    /// wrong parity, more channels than allowed) are rejected already.
    pub fn offered_channels(&self) -> Vec<OfferedChannel> {
        let offered = self.negotiator.offered_channels().map(|offered| OfferedChannel {
            id: offered.channel.map.stream_id(),
            options: options(&offered.channel.map),
            attributes: offered.channel.attributes,
        });
        offered.collect()
    }

    /// Leaves an offered channel out of the answer.
    pub fn reject_offered_channel(&mut self, id: u16) -> Result<(), ChannelError> {
        self.negotiator.reject_channel(id)
    }

    /// What the answer says of an offered channel in `a=dcsa`.
    pub fn answer_offered_channel(&mut self, id: u16, attributes: Vec<String>) -> Result<(), ChannelError> {
        self.negotiator.set_answer_attributes(id, attributes)
    }

    /// What the peer's `a=dcsa` lines said of a channel that SDP has opened; empty for any other.
    pub fn channel_attributes(&self, key: ChannelKey) -> &[String] {
        let by_sdp = self.channels.get(key).and_then(|channel| channel.by_sdp.as_ref());
        by_sdp.map_or(&[], |by_sdp| by_sdp.remote_attributes.as_slice())
    }

    /// Whether an offer of ours is due: the first one, when there is a channel; later, when SDP is to open or close one, or ICE
    /// to restart.
    pub fn negotiation_needed(&self) -> bool {
        let first = self.signaling_state() != SignalingState::Closed
            && self.negotiator.remote().is_none()
            && !self.channels.is_empty();
        first || self.restart_wanted || self.negotiator.needs_offer() || !self.channels.unnamed.is_empty()
    }
}

/// What negotiation does.
impl Peer {
    /// Says once that an offer is due; again when an exchange has come and gone without its being done.
    pub(crate) fn tell_negotiation_needed(&mut self) {
        let can_offer = self.negotiator.signaling_state() == SignalingState::Stable && !self.is_closing();
        if can_offer && !self.has_ended() && !self.negotiation_told && self.negotiation_needed() {
            self.negotiation_told = true;
            self.events.push_back(Event::NegotiationNeeded);
        }
    }

    /// Gives ids to the channels that have none, before an offer is made.
    pub(crate) fn name_channels(&mut self) {
        for key in std::mem::take(&mut self.channels.unnamed) {
            // Odd ids first: who answers as RFC 8842 §5.3 recommends makes us the server.
            let sides = match self.negotiator.dtls_role() {
                Some(role) => vec![role],
                None => vec![DtlsRole::Server, DtlsRole::Client],
            };
            if !sides.into_iter().any(|side| self.name_channel(key, side)) {
                tracing::debug!("there is no id for the channel; closed");
                self.set_closed(key);
            }
        }
    }

    fn name_channel(&mut self, key: ChannelKey, side: DtlsRole) -> bool {
        let is_free =
            |id: &u16| side.owns(*id) && self.channels.is_free(*id) && !self.negotiator.is_channel_known(*id);
        let Some(id) = (0..self.channels.stream_limit()).find(is_free) else { return false };
        let Some(channel) = self.channels.get(key) else { return true };
        let attributes =
            channel.by_sdp.as_ref().map(|by_sdp| by_sdp.local_attributes.clone()).unwrap_or_default();
        let described = describe(id, &channel.options, &attributes);
        if !described.is_ok_and(|described| self.negotiator.open_channel(described).is_ok()) {
            return false;
        }
        self.channels.by_sdp.insert(id, key);
        self.channels.set_stream(key, Some(id));
        true
    }

    /// Our offer is out, or taken back.
    pub(crate) fn note_offered(&mut self, offered: bool) {
        let (from, to) =
            if offered { (Phase::Wanted, Phase::Offered) } else { (Phase::Offered, Phase::Wanted) };
        if !offered {
            self.forget_never_offered();
        }
        let keys: Vec<ChannelKey> = self.channels.by_sdp.values().copied().collect();
        for key in keys {
            if let Some(by_sdp) = self.channels.get_mut(key).and_then(|channel| channel.by_sdp.as_mut())
                && by_sdp.phase == from
            {
                by_sdp.phase = to;
            }
        }
    }

    /// Rejects what of the peer's offer can't be had.
    pub(crate) fn judge_offered(&self, negotiator: &mut sinnet_sdp::Negotiator) {
        let mut room = self.channels.room();
        let mut label_room = self.channels.label_room();
        for offered in negotiator.offered_channels().collect::<Vec<_>>() {
            let map = &offered.channel.map;
            let id = map.stream_id();
            let label_bytes = map.label().len() + map.subprotocol().len();
            let ours = negotiator.dtls_role().is_some_and(|role| role.owns(id));
            // A stream that the peer has reset is as good as free: it knows of our reset before we know that it does.
            let is_free = match self.channels.of_stream(StreamId(id)).and_then(|key| self.channels.get(key)) {
                Some(old) => old.closing.peer_reset && !self.channels.successors.contains_key(&id),
                None => self.channels.is_free(id),
            };
            let fits = id < self.channels.stream_limit() && room > 0 && label_bytes <= label_room;
            if ours || !is_free || !fits {
                tracing::debug!(id, ours, is_free, fits, "offered channel rejected");
                // It is one of those that are offered, so there is nothing to go wrong.
                let _ = negotiator.reject_channel(id);
                continue;
            }
            room -= 1;
            label_room -= label_bytes;
        }
    }

    /// Does what a complete exchange has changed.
    pub(crate) fn apply_channel_changes(&mut self) {
        while let Some(change) = self.negotiator.poll_channel_change() {
            match change {
                ChannelChange::Opened(channel) if channel.ours => self.channel_answered(channel),
                ChannelChange::Opened(channel) => self.channel_accepted(channel),
                ChannelChange::Closed { stream_id } => self.channel_left_out(stream_id),
                ChannelChange::Refused { stream_id, reason } => self.channel_refused(stream_id, reason),
            }
        }
    }

    fn channel_answered(&mut self, negotiated: NegotiatedChannel) {
        let id = negotiated.map.stream_id();
        let key = self.channels.by_sdp.get(&id).copied();
        let alive = key
            .filter(|key| matches!(self.channel_state(*key), ChannelState::Connecting | ChannelState::Open));
        let Some(key) = alive else {
            // The application has closed it while the offer was out.
            self.negotiator.channel_closed(id, true);
            return self.reset_never_started();
        };
        if let Some(by_sdp) = self.channels.get_mut(key).and_then(|channel| channel.by_sdp.as_mut()) {
            by_sdp.phase = Phase::Agreed { theirs: false };
            by_sdp.remote_attributes = negotiated.remote_attributes;
        }
        if self.is_established() && self.channel_state(key) == ChannelState::Connecting {
            self.start_channel(key);
        }
    }

    fn channel_accepted(&mut self, negotiated: NegotiatedChannel) {
        let id = negotiated.map.stream_id();
        let old = self.channels.of_stream(StreamId(id));
        if old.is_some_and(|old| !self.channels.get(old).is_some_and(|old| old.closing.peer_reset)) {
            // Taken since the offer came; which the peer, whose id it is, should not have done.
            self.negotiator.channel_closed(id, true);
            return self.tell_negotiation_needed();
        }
        let options = options(&negotiated.map);
        let label_bytes = options.label.len() + options.protocol.len();
        let mut channel = Channel::new(options, ChannelState::Connecting);
        channel.label_bytes = label_bytes;
        channel.by_sdp = Some(BySdp {
            phase: Phase::Agreed { theirs: true },
            local_attributes: negotiated.local_attributes,
            remote_attributes: negotiated.remote_attributes,
            any_id: false,
        });
        if let Some(old) = old {
            // What is there to read is the old channel's; what comes from now on is not.
            self.take_unread(old, usize::MAX);
            channel.stream = None;
        }
        let key = self.channels.insert(channel);
        self.channels.by_sdp.insert(id, key);
        if old.is_some() {
            self.channels.successors.insert(id, key);
        } else if self.is_established() {
            self.start_channel(key);
        }
    }

    /// It was in force, and an offer or answer has left it out.
    fn channel_left_out(&mut self, id: u16) {
        let Some(&key) = self.channels.by_sdp.get(&id) else { return };
        let phase =
            self.channels.get(key).and_then(|channel| channel.by_sdp.as_ref()).map(|by_sdp| by_sdp.phase);
        if matches!(phase, Some(Phase::Wanted | Phase::Offered)) {
            // The one that takes its place has the entry already.
            return;
        }
        self.channels.by_sdp.remove(&id);
        self.close_channel(self.now, key);
    }

    fn channel_refused(&mut self, id: u16, reason: Refusal) {
        tracing::debug!(id, ?reason, "channel refused");
        if reason == Refusal::LeftOut {
            self.channels.to_reset.remove(&id);
        }
        let Some(key) = self.channels.by_sdp.remove(&id) else { return };
        let again = self.channels.get_mut(key).filter(|channel| channel.state == ChannelState::Connecting);
        let any_id = again.and_then(|channel| channel.by_sdp.as_mut()).filter(|by_sdp| by_sdp.any_id);
        match any_id {
            Some(by_sdp) if reason == Refusal::Parity => {
                by_sdp.phase = Phase::Wanted;
                self.channels.set_stream(key, None);
                self.channels.unnamed.push(key);
            }
            _ => self.close_channel(self.now, key),
        }
    }
}

/// What channels do.
impl Peer {
    /// Data on a channel that is offered says that the peer has accepted it (RFC 8864 §6.5).
    pub(crate) fn open_by_data(&mut self, key: ChannelKey) {
        let phase = |peer: &mut Self, to| {
            if let Some(by_sdp) = peer.channels.get_mut(key).and_then(|channel| channel.by_sdp.as_mut()) {
                by_sdp.phase = to;
            }
        };
        let Some(channel) = self.channels.get(key) else { return };
        let is_offered = channel.by_sdp.as_ref().is_some_and(|by_sdp| by_sdp.phase == Phase::Offered);
        if is_offered && channel.state == ChannelState::Connecting && self.is_established() {
            phase(self, Phase::Agreed { theirs: false });
            self.start_channel(key);
            // The answer has yet to come.
            phase(self, Phase::Offered);
        }
    }

    /// A channel is being closed: SDP is not to list it any more.
    pub(crate) fn note_closed_by_sdp(&mut self, key: ChannelKey, by_us: bool) {
        let Some(channel) = self.channels.get(key) else { return };
        let (Some(by_sdp), state) = (&channel.by_sdp, channel.state) else { return };
        let Some(id) = channel.options.negotiated else {
            self.channels.unnamed.retain(|unnamed| *unnamed != key);
            return;
        };
        if self.channels.by_sdp.get(&id) != Some(&key) {
            return;
        }
        match by_sdp.phase {
            Phase::Wanted | Phase::Offered => self.negotiator.withdraw_channel(id),
            Phase::Agreed { .. } => self.negotiator.channel_closed(id, by_us),
        }
        if state == ChannelState::Connecting && by_sdp.phase != Phase::Wanted && by_us {
            self.channels.to_reset.insert(id, false);
        }
    }

    /// The peer has channels that we have closed without ever using their streams: a reset says so.
    pub(crate) fn reset_never_started(&mut self) {
        let offer_is_out = self.negotiator.signaling_state() == SignalingState::HaveLocalOffer;
        let Some(transport) = self.transport.as_mut().filter(|transport| transport.sctp.is_established())
        else {
            return;
        };
        for (&id, asked) in &mut self.channels.to_reset {
            // Of what the pending offer has the peer may not know yet.
            let is_known = !offer_is_out || self.negotiator.channel(id).is_some();
            if is_known && !*asked {
                *asked = true;
                // Refused only when the association is ending anyway.
                let _ = transport.sctp.reset_stream(self.now, StreamId(id));
            }
        }
    }

    /// Our offer is taken back: what was closed in the meantime was never known to the peer.
    fn forget_never_offered(&mut self) {
        let negotiator = &self.negotiator;
        self.channels.to_reset.retain(|id, asked| *asked || negotiator.channel(*id).is_some());
    }

    /// A stream has become free: the channel that waits for it opens.
    pub(crate) fn start_successor(&mut self, stream: StreamId) {
        let Some(key) = self.channels.successors.remove(&stream.0) else { return };
        if self.channel_state(key) != ChannelState::Connecting {
            return self.reset_never_started();
        }
        self.channels.set_stream(key, Some(stream.0));
        if self.is_established() {
            self.start_channel(key);
            self.stream_readable(stream);
        }
    }

    fn is_established(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.sctp.is_established())
    }
}

fn describe(
    id: u16,
    options: &ChannelOptions,
    attributes: &[String],
) -> Result<ChannelDescription, OpenError> {
    let limit = match options.reliability {
        Reliability::Reliable => Limit::None,
        Reliability::MaxRetransmits(n) => Limit::MaxRetr(n),
        Reliability::MaxPacketLifeTime(ms) => Limit::MaxTime(ms),
    };
    let map = Dcmap::new(id)
        .and_then(|map| map.with_subprotocol(&options.protocol)?.with_label(&options.label))
        .map_err(|error| match error {
            DcmapError::StreamId(_) => OpenError::IdReserved,
            _ => OpenError::TextTooLong,
        })?;
    let map = map.with_ordered(options.ordered).with_limit(limit).with_priority(options.priority);
    Ok(ChannelDescription { map, attributes: attributes.to_vec() })
}

fn options(map: &Dcmap) -> ChannelOptions {
    ChannelOptions {
        label: map.label().to_owned(),
        protocol: map.subprotocol().to_owned(),
        ordered: map.ordered(),
        reliability: match map.limit() {
            Limit::None => Reliability::Reliable,
            Limit::MaxRetr(n) => Reliability::MaxRetransmits(n),
            Limit::MaxTime(ms) => Reliability::MaxPacketLifeTime(ms),
        },
        priority: map.priority(),
        negotiated: Some(map.stream_id()),
    }
}

fn open_error(error: ChannelError) -> OpenError {
    match error {
        ChannelError::Parity(id) => OpenError::WrongParity(id),
        ChannelError::SameAsBefore(id) => OpenError::SameAsBefore(id),
        ChannelError::Attribute(error) => OpenError::Attribute(error),
        ChannelError::TooMany => OpenError::TooMany(sinnet_sdp::MAX_CHANNELS),
        ChannelError::InUse(id) | ChannelError::NotOffered(id) => OpenError::IdInUse(id),
        _ => OpenError::Closed,
    }
}
