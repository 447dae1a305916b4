//! The connection: what it is made of, its state, its timers and its end.
//!
//! ```text
//!  New ── both descriptions ──▶ Connecting ── ICE and DTLS are up ──▶ Connected ⇄ Disconnected (ICE lost its path)
//!                                   │                                    │
//!                                   └───────────── finish ───────────────┴──▶ Closed (orderly) | Failed
//! ```
//!
//! The transport (DTLS and SCTP, always made together) comes into being when the DTLS role is known, that is with the
//! answer. DTLS datagrams are accepted from validated pairs only and sent on the pair ICE names.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use sinnet_ice::{Candidate, Path, State as IceState};
use sinnet_sctp::{Association, StreamId};
use sinnet_sdp::{DtlsRole, Negotiator};

use crate::channel_table::Channels;
use crate::config::Config;
use crate::event::{CloseReason, ConnectionState, Event};
use crate::generations::Generations;
use crate::input::Early;
use crate::seed::Seed;
use crate::stats::Counters;
use crate::tap::{Secrets, Tap};
use crate::traffic::Traffic;

/// Changes of state that wait to be polled, at the most.
const WAITING_STATES: usize = 64;

/// DTLS and what runs over it.
pub(crate) struct Transport {
    pub(crate) dtls: sinnet_dtls::Connection,
    pub(crate) sctp: Association,
    /// We are the DTLS client: our channels get even stream ids (RFC 8832 §6).
    pub(crate) dtls_client: bool,
    /// What the peer accepts in one message.
    pub(crate) peer_max_message_size: u64,
}

impl Transport {
    /// Whether it is for us to open channels on this stream (RFC 8832 §6).
    pub(crate) fn is_ours(&self, stream: StreamId) -> bool {
        self.dtls_client == stream.0.is_multiple_of(2)
    }
}

/// One WebRTC data connection. See the [crate documentation](crate) for the contract.
pub struct Peer {
    pub(crate) config: Arc<Config>,
    pub(crate) ice: Generations,
    pub(crate) negotiator: Negotiator,
    pub(crate) transport: Option<Transport>,
    pub(crate) channels: Channels,
    pub(crate) events: VecDeque<Event>,
    pub(crate) early: Early,
    pub(crate) counters: Counters,
    pub(crate) traffic: Traffic,
    pub(crate) tap: Option<Box<dyn Tap>>,
    /// Until the tap has had them all.
    pub(crate) secrets: Option<Secrets>,
    /// Seeds for the layers that are made later.
    pub(crate) seed: Seed,
    /// The newest time we were told.
    pub(crate) now: Instant,
    /// Where SCTP packets last went.
    pub(crate) data_path: Option<Path>,
    pub(crate) local_candidates_ended: bool,
    /// Candidates, or their end, for an offer that is not answered yet, and so may be taken back.
    pub(crate) held: Vec<Option<Candidate>>,
    /// The peer's last offer crossed ours and was ignored; so are the candidates that come with it.
    pub(crate) ignoring: bool,
    /// An offer of ours is to restart ICE.
    pub(crate) restart_wanted: bool,
    /// [`Event::NegotiationNeeded`] has been said, and nothing has been negotiated since.
    pub(crate) negotiation_told: bool,
    state: ConnectionState,
    ice_state: IceState,
    /// `close` was called and SCTP is flushing.
    closing: bool,
    /// The association has come up. It may be closing by now, from either side.
    association_up: bool,
    /// The shutdown has begun, from either side, and nothing of ours is left to deliver.
    delivered: bool,
    /// The end has come; what remains is to say goodbye on `farewell`.
    ended: bool,
    pub(crate) farewell: Option<Path>,
}

impl Peer {
    /// A peer with nothing negotiated. `seed` must come from the system's randomness in production: ICE credentials,
    /// SCTP tags and initial TSNs are made from it.
    pub fn new(config: Arc<Config>, now: Instant, seed: [u8; 32]) -> Self {
        let mut seed = Seed::new(seed);
        let mut rng = seed.rng();
        // The offerer controls (RFC 8445 §6.1.1); the role is set again when we know who offers.
        let ice = Generations::new(config.ice.clone(), sinnet_ice::Role::Controlling, now, rng.random());
        // 62 bits, so that it fits a signed 64-bit number everywhere (RFC 8829 §5.2.1).
        let mut negotiator = Negotiator::new(rng.random::<u64>() >> 2);
        negotiator.prefer_role(if config.answer_active { DtlsRole::Client } else { DtlsRole::Server });
        Self {
            negotiator,
            channels: Channels::new(config.max_channels),
            config,
            ice,
            transport: None,
            events: VecDeque::new(),
            early: Early::default(),
            counters: Counters::default(),
            traffic: Traffic::default(),
            tap: None,
            secrets: None,
            seed,
            now,
            data_path: None,
            local_candidates_ended: false,
            held: Vec::new(),
            ignoring: false,
            restart_wanted: false,
            negotiation_told: false,
            state: ConnectionState::New,
            ice_state: IceState::New,
            closing: false,
            association_up: false,
            delivered: false,
            ended: false,
            farewell: None,
        }
    }

    /// The newest time that it was told. What is queued waits for its owner to send it, so this will do for messages without a
    /// lifetime, where asking the clock costs as much as queueing them.
    pub fn latest_time(&self) -> Instant {
        self.now
    }

    /// The connection's state.
    pub fn connection_state(&self) -> ConnectionState {
        self.state
    }

    /// The ICE agent's state.
    pub fn ice_state(&self) -> IceState {
        self.ice_state
    }

    /// The username fragment that is in our descriptions, by which the first datagrams of this connection are recognised.
    pub fn local_ufrag(&self) -> &str {
        &self.ice.negotiated().local_credentials().ufrag
    }

    /// All username fragments by which datagrams are recognised: several while ICE restarts.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.local_ufrags()
    }

    /// A number that changes whenever [`Peer::local_ufrags`] does, for owners that route datagrams by them.
    pub fn local_ufrags_version(&self) -> u32 {
        self.ice.version()
    }

    /// The path data travels on, once there is one.
    pub fn selected_path(&self) -> Option<Path> {
        self.ice.selected_path()
    }

    /// The peer's certificate in DER, once DTLS is up and its fingerprint has matched, if one was to match
    /// ([`PeerIdentity`](crate::PeerIdentity)).
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        let dtls = &self.transport.as_ref()?.dtls;
        if dtls.is_connected() { dtls.peer_certificate() } else { None }
    }

    /// Lets time-outs happen that are due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.ended {
            return;
        }
        if self.ice.poll_timeout().is_some_and(|at| at <= now) {
            self.ice.handle_timeout(now);
        }
        if let Some(transport) = &mut self.transport {
            if transport.dtls.poll_timeout().is_some_and(|at| at <= now) {
                // An error is told by an event as well.
                let _ = transport.dtls.handle_timeout(now);
            }
            if transport.sctp.poll_timeout().is_some_and(|at| at <= now) {
                let before = transport.sctp.t3_expirations();
                transport.sctp.handle_timeout(now);
                if transport.sctp.t3_expirations() > before {
                    self.ice.doubt_path(now);
                }
            }
        }
        self.drive();
    }

    /// When [`Peer::handle_timeout`] wants to be called; `None` when nothing is pending.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let transport = self.transport.as_ref();
        [
            self.ice.poll_timeout(),
            transport.and_then(|t| t.dtls.poll_timeout()),
            transport.and_then(|t| t.sctp.poll_timeout()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next thing the owner should know.
    ///
    /// What waits for an owner that does not ask is limited: 64 changes of state, the latest; a channel's few states for
    /// each of the [`Config::max_channels`](crate::Config::max_channels), as only the owner can let go of one; whatever else
    /// comes in answer to the owner's own calls.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            self.drive();
        }
        self.events.pop_front()
    }

    /// Closes in order: what `try_send` accepted is delivered first (SCTP SHUTDOWN, RFC 9260 §9.2), then DTLS says
    /// close_notify. [`Event::Closed`] tells when it is done. New messages are refused from now on.
    pub fn close(&mut self, now: Instant) {
        self.now = now;
        if self.ended || self.closing {
            return;
        }
        self.drive();
        match &mut self.transport {
            // Also when the peer has begun to close: what we have accepted is still on its way (RFC 9260 §9.2).
            Some(transport) if self.association_up => {
                self.closing = true;
                transport.sctp.shutdown(now);
            }
            _ => self.finish(CloseReason::Local),
        }
        self.drive();
    }

    /// Closes at once, as a browser's `pc.close()` does: what is queued is dropped; the peer is told by an ABORT of
    /// cause 12 (User-Initiated, RFC 9260 §3.3.10.12) with `reason`, and close_notify.
    pub fn abort(&mut self, now: Instant, reason: &str) {
        self.now = now;
        if self.ended {
            return;
        }
        if let Some(transport) = &mut self.transport {
            transport.sctp.abort(now, reason);
        }
        self.finish(CloseReason::Local);
    }

    /// Whether the connection has ended and everything is said: the owner can forget the peer once the events are
    /// drained.
    pub fn is_finished(&self) -> bool {
        self.ended && self.farewell.is_none()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Carries what the layers have to say to each other and upward. Cheap when they have nothing to say.
    pub(crate) fn drive(&mut self) {
        if self.ended {
            return;
        }
        self.drive_ice();
        self.drive_dtls();
        if !self.ended {
            self.drive_sctp();
        }
        if !self.ended {
            self.note_delivered();
            self.update_state();
        }
    }

    fn drive_ice(&mut self) {
        while let Some(event) = self.ice.poll_event(self.now) {
            match event {
                sinnet_ice::Event::StateChange(state) => {
                    self.ice_state = state;
                    self.tell_state(Event::IceState(state));
                }
                sinnet_ice::Event::SelectedPath(path) => {
                    tracing::debug!(local = %path.local, remote = %path.remote, "path selected");
                }
                sinnet_ice::Event::Failed(reason) => {
                    self.ice_state = IceState::Failed;
                    self.tell_state(Event::IceState(IceState::Failed));
                    self.finish(CloseReason::Ice(reason));
                    return;
                }
                other => tracing::debug!(?other, "ICE event without meaning here"),
            }
        }
        let selected = self.ice.selected_path();
        if selected.is_some() && selected != self.counters.selected_candidate_pair {
            self.counters.selected_candidate_pair = selected;
            self.counters.selected_candidate_pair_changes += 1;
        }
        self.replay_early();
    }

    fn drive_dtls(&mut self) {
        let Some(transport) = &mut self.transport else { return };
        while let Some(event) = transport.dtls.poll_event() {
            match event {
                sinnet_dtls::Event::Connected => transport.sctp.connect(self.now),
                sinnet_dtls::Event::Closed => {
                    // An ABORT or SHUTDOWN that came before says more about the reason.
                    self.drive_sctp();
                    let reason = if self.closing { CloseReason::Local } else { CloseReason::Peer };
                    self.finish(reason);
                    return;
                }
                sinnet_dtls::Event::Failed(error) => {
                    self.finish(CloseReason::Dtls(error));
                    return;
                }
                other => tracing::debug!(?other, "DTLS event without meaning here"),
            }
        }
    }

    fn drive_sctp(&mut self) {
        use sinnet_sctp::Event as SctpEvent;
        use sinnet_sctp::{CauseCode, CloseReason as Sctp};
        loop {
            self.revisit_streams();
            let Some(transport) = &mut self.transport else { return };
            let Some(event) = transport.sctp.poll_event() else { return };
            match event {
                SctpEvent::Connected { outbound_streams, .. } => {
                    self.association_up = true;
                    self.start_channels(outbound_streams);
                }
                SctpEvent::Readable(stream) => self.stream_readable(stream),
                SctpEvent::BufferedAmountLow(stream) => self.stream_low(stream),
                SctpEvent::Flushed(stream) => self.stream_flushed(stream),
                SctpEvent::SendCapacity(stream) => self.stream_writable(stream),
                SctpEvent::StreamsResetByPeer(streams) => self.streams_reset_by_peer(&streams),
                SctpEvent::ResetRequestedByPeer(streams) => self.close_streams(&streams),
                SctpEvent::StreamsChanged { outbound_streams, .. } => self.set_stream_limit(outbound_streams),
                SctpEvent::StreamsResetDone(streams) => self.streams_reset_done(&streams),
                SctpEvent::StreamsResetFailed(streams) => self.streams_reset_failed(&streams),
                SctpEvent::Restarted => {
                    tracing::debug!("the peer restarted its SCTP association");
                    self.restart_channels();
                }
                SctpEvent::Closed(reason) => {
                    let reason = match reason {
                        Sctp::Shutdown | Sctp::AbortedLocally if self.closing => CloseReason::Local,
                        Sctp::Shutdown => CloseReason::Peer,
                        Sctp::AbortedByPeer { code: CauseCode::USER_INITIATED_ABORT, reason } => {
                            CloseReason::Aborted((!reason.is_empty()).then_some(reason))
                        }
                        other => CloseReason::Sctp(other),
                    };
                    self.finish(reason);
                    return;
                }
                other => tracing::debug!(?other, "SCTP event without meaning here"),
            }
        }
    }

    fn note_delivered(&mut self) {
        if let Some(Transport { sctp, .. }) = &self.transport
            && !sctp.is_closed()
        {
            self.delivered = self.association_up && !sctp.is_established() && sctp.total_buffered() == 0;
        }
    }

    /// Of a close that has done its work only the last word may be missing, and it is not repeated for ever: silence
    /// says the same.
    fn judge(&self, reason: CloseReason) -> CloseReason {
        match reason {
            CloseReason::Ice(_) | CloseReason::Sctp(sinnet_sctp::CloseReason::Timeout) if self.delivered => {
                if self.closing {
                    CloseReason::Local
                } else {
                    CloseReason::Peer
                }
            }
            other => other,
        }
    }

    /// The end: channels first, then the state, then the reason. What is left to send goes to the last path.
    pub(crate) fn finish(&mut self, reason: CloseReason) {
        if self.ended {
            return;
        }
        let reason = self.judge(reason);
        tracing::debug!(%reason, "connection ends");
        self.collect_unread();
        self.ended = true;
        self.farewell = self.ice.can_send().filter(|_| self.transport.is_some());
        self.close_all_channels();
        self.set_state(if reason.is_orderly() { ConnectionState::Closed } else { ConnectionState::Failed });
        self.negotiator.close();
        self.ice.close();
        if self.ice_state != IceState::Failed {
            self.ice_state = IceState::Closed;
            self.tell_state(Event::IceState(IceState::Closed));
        }
        self.events.push_back(Event::Closed(reason));
    }

    /// W3C's rule for `RTCPeerConnectionState`, over one ICE and one DTLS transport.
    fn update_state(&mut self) {
        let dtls_up = self.transport.as_ref().is_some_and(|t| t.dtls.is_connected());
        let state = match self.ice_state {
            IceState::New => return,
            IceState::Disconnected => ConnectionState::Disconnected,
            IceState::Connected | IceState::Completed if dtls_up => ConnectionState::Connected,
            _ => ConnectionState::Connecting,
        };
        self.set_state(state);
    }

    fn set_state(&mut self, state: ConnectionState) {
        if self.state != state {
            self.state = state;
            self.tell_state(Event::ConnectionState(state));
        }
    }

    /// States come and go as the path does, for as long as the connection lives: of those that nobody asks for, the oldest
    /// are forgotten.
    pub(crate) fn tell_state(&mut self, event: Event) {
        let is_state = |event: &Event| matches!(event, Event::ConnectionState(_) | Event::IceState(_));
        if self.events.iter().filter(|event| is_state(event)).count() >= WAITING_STATES
            && let Some(oldest) = self.events.iter().position(is_state)
        {
            self.events.remove(oldest);
        }
        self.events.push_back(event);
    }
}
