use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use sinnet_peer::{
    CandidatePairStats, CandidateStats, CertificateStats, ChannelKey, ChannelOptions, CloseReason,
    ConnectionState, Event, IceState, Path, PcapOptions, Politeness, Received, SdpType, SignalingState,
    Stats,
};

use crate::capture::Capture;
use crate::data_channel::{DataChannel, DataChannelOptions};
use crate::description::{IceCandidate, IceCandidateError, OfferedChannel, SessionDescription};
use crate::driver::Wanted;
use crate::endpoint::EndpointHandle;
use crate::error::Error;
use crate::gather::{add_hosts, host_addresses, offers};
use crate::shared::{PeerShared, Queued, now};

/// A connection to one peer: W3C's `RTCPeerConnection`, for data.
///
/// Offers and answers are exchanged by whatever signalling the application has:
///
/// ```text
/// offerer                                          answerer
/// create_data_channel
/// create_offer, set_local_description   ── sdp ─▶  set_remote_description
/// set_remote_description                ◀─ sdp ──  create_answer, set_local_description
/// next_event: IceCandidate              ◀──────▶   add_ice_candidate, both ways, as they come
/// ```
///
/// Dropping the last handle, channels included, closes the connection in order without waiting for it. When only
/// channels are left, those that the peer opens are closed, as nobody can take them.
#[derive(Clone)]
pub struct PeerConnection(Arc<PeerHandle>, #[expect(dead_code, reason = "its end counts")] Arc<Acceptor>);

/// Behind the handles by which the peer's channels can be taken; channels keep the connection alive without it.
struct Acceptor(Arc<PeerShared>);

impl Drop for Acceptor {
    fn drop(&mut self) {
        {
            let mut core = self.0.lock();
            core.nobody_takes_channels = true;
            for queued in std::mem::take(&mut core.queue) {
                if let Queued::Core(Event::ChannelOpened(key)) = queued {
                    core.peer.release_channel(now(), key);
                }
            }
        }
        self.0.touch();
    }
}

/// The end of it closes the connection.
pub(crate) struct PeerHandle {
    pub(crate) shared: Arc<PeerShared>,
    /// Keeps the sockets open.
    _endpoint: Arc<EndpointHandle>,
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        self.shared.lock().peer.close(now());
        self.shared.touch();
    }
}

/// What happens on a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The connection's state changed.
    ConnectionStateChange(ConnectionState),
    /// The ICE transport's state changed.
    IceConnectionStateChange(IceState),
    /// A local candidate to signal to the peer; `None` when there will be no more.
    IceCandidate(Option<IceCandidate>),
    /// A server gave no candidate, and why; the others go on.
    IceCandidateError(IceCandidateError),
    /// An offer is due: before the first one, and when a channel is to be opened or closed by SDP. W3C's
    /// `negotiationneeded`; comes once until an exchange is complete or taken back.
    NegotiationNeeded,
    /// The peer opened a channel. Dropping it closes it.
    DataChannel(DataChannel),
    /// The end, and why. The last event.
    Closed(CloseReason),
}

impl PeerConnection {
    pub(crate) fn new(shared: Arc<PeerShared>, endpoint: Arc<EndpointHandle>) -> Self {
        let acceptor = Arc::new(Acceptor(shared.clone()));
        Self(Arc::new(PeerHandle { shared, _endpoint: endpoint }), acceptor)
    }

    /// An offer. Give it to [`PeerConnection::set_local_description`], then send
    /// [`PeerConnection::local_description`], which has the host candidates in it.
    pub fn create_offer(&self) -> Result<SessionDescription, Error> {
        let sdp = self.0.shared.lock().peer.create_offer()?;
        Ok(SessionDescription { kind: SdpType::Offer, sdp })
    }

    /// The answer to the offer that was given to [`PeerConnection::set_remote_description`].
    pub fn create_answer(&self) -> Result<SessionDescription, Error> {
        let sdp = self.0.shared.lock().peer.create_answer()?;
        Ok(SessionDescription { kind: SdpType::Answer, sdp })
    }

    /// Applies our offer or answer and gathers candidates; [`PeerEvent::IceCandidate`] follows for each, at once for the
    /// endpoint's own addresses, and as they answer for [`EndpointConfig::ice_servers`](crate::EndpointConfig::ice_servers).
    ///
    /// Candidates are for a peer that has the description already: when descriptions and events travel by different
    /// tasks, send the description first. Where an endpoint is bound to the unspecified address, the interfaces are
    /// those that the calling thread sees (on Linux, those of its network namespace).
    pub fn set_local_description(&self, description: SessionDescription) -> Result<(), Error> {
        let shared = &self.0.shared;
        let now = now();
        // System calls, so not under the lock.
        let (addrs, listed) = match shared.relay_only {
            true => (Vec::new(), Ok(())),
            false => host_addresses(&shared.endpoint.config, &shared.endpoint.bound),
        };
        let hosts = offers(&shared.endpoint, &addrs);
        {
            let mut core = shared.lock();
            core.peer.set_local_description(now, description.kind, &description.sdp)?;
            add_hosts(shared, &mut core, now, &hosts);
            if let Err(error) = listed {
                shared.endpoint.watch.missed(&error);
            }
            if shared.endpoint.ice_servers().is_empty() {
                if core.peer.end_of_local_candidates(now) {
                    shared.enqueue(&mut core, Queued::Candidate(None));
                }
            } else if !core.peer.has_all_local_candidates() {
                let mut commands = shared.endpoint.commands();
                if !commands.ended {
                    commands.gather.push(Wanted { peer: shared.clone(), bases: addrs });
                }
            }
        }
        shared.touch();
        Ok(())
    }

    /// Applies the peer's offer or answer.
    pub fn set_remote_description(&self, description: SessionDescription) -> Result<(), Error> {
        self.0.shared.lock().peer.set_remote_description(now(), description.kind, &description.sdp)?;
        self.0.shared.touch();
        Ok(())
    }

    /// Applies the peer's offer or answer in a conversation in which both sides may offer at any time (W3C's "perfect
    /// negotiation"): when two offers cross, the polite side takes its own back and the impolite one goes on. The two sides
    /// must not be the same.
    ///
    /// ```
    /// # use sinnet::{Error, PeerConnection, Politeness, Received, SessionDescription};
    /// # fn example(peer: &PeerConnection, politeness: Politeness, their: SessionDescription, send: impl Fn(SessionDescription)) -> Result<(), Error> {
    /// // A description has come:
    /// if peer.receive_description(their, politeness)? == Received::AnswerDue {
    ///     peer.set_local_description(peer.create_answer()?)?;
    ///     send(peer.local_description().unwrap());
    /// }
    /// // PeerEvent::NegotiationNeeded has come, and whenever else an offer is to be made:
    /// peer.set_local_description(peer.create_offer()?)?;
    /// send(peer.local_description().unwrap());
    /// # Ok(()) }
    /// ```
    pub fn receive_description(
        &self,
        description: SessionDescription,
        politeness: Politeness,
    ) -> Result<Received, Error> {
        let SessionDescription { kind, sdp } = description;
        let received = self.0.shared.lock().peer.receive_description(now(), politeness, kind, &sdp)?;
        self.0.shared.touch();
        Ok(received)
    }

    /// Takes the pending offer back, whosever it is: all is as before it.
    pub fn rollback(&self) -> Result<(), Error> {
        self.0.shared.lock().peer.rollback(now())?;
        self.0.shared.touch();
        Ok(())
    }

    /// Whether an offer is due; see [`PeerEvent::NegotiationNeeded`].
    pub fn negotiation_needed(&self) -> bool {
        self.0.shared.lock().peer.negotiation_needed()
    }

    /// Our description in force, with the candidates gathered so far; `None` before there is one.
    pub fn local_description(&self) -> Option<SessionDescription> {
        let (kind, sdp) = self.0.shared.lock().peer.local_description()?;
        Some(SessionDescription { kind, sdp })
    }

    /// Our description with all candidates, when they have been gathered: for signalling that carries one description each way and
    /// no candidates. [`EndpointConfig::gather_timeout`](crate::EndpointConfig::gather_timeout) bounds the wait after
    /// [`PeerConnection::set_local_description`], which has to come first. Candidates that a change of the network brings later are
    /// events still. (Half trickle, RFC 8838 §16, is an offerer that waits for this and an answerer that doesn't.)
    ///
    /// Candidates of servers are the endpoint's, and known at once to its next connection for as long as one lives. So one that
    /// has gathered and is kept, never to be used, is a pool:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sinnet::Error> {
    /// # let endpoint = sinnet::Endpoint::bind("127.0.0.1:0").await?;
    /// let pool = endpoint.peer_connection(Default::default())?;
    /// pool.set_local_description(pool.create_offer()?)?;
    /// pool.gathered().await?;
    ///
    /// let peer = endpoint.peer_connection(Default::default())?;
    /// peer.set_local_description(peer.create_offer()?)?;
    /// let offer = peer.gathered().await?;
    /// assert!(offer.sdp.contains("a=end-of-candidates"));
    /// # Ok(()) }
    /// ```
    ///
    /// Cancel safe: a future that is dropped has changed nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ends instead.
    pub async fn gathered(&self) -> Result<SessionDescription, Error> {
        let shared = &self.0.shared;
        loop {
            let notified = shared.events.notified();
            {
                let core = shared.lock();
                if let Some(reason) = &core.closed {
                    return Err(Error::Closed(reason.clone()));
                }
                if core.peer.has_all_local_candidates()
                    && let Some((kind, sdp)) = core.peer.local_description()
                {
                    return Ok(SessionDescription { kind, sdp });
                }
            }
            notified.await;
        }
    }

    /// Adds a candidate of the peer. An empty `candidate` says that there will be no more.
    pub fn add_ice_candidate(&self, candidate: IceCandidate) -> Result<(), Error> {
        self.0.shared.lock().peer.add_remote_candidate(
            now(),
            &candidate.candidate,
            candidate.sdp_mid.as_deref(),
            candidate.sdp_m_line_index,
        )?;
        self.0.shared.touch();
        Ok(())
    }

    /// Opens a channel. It is usable when the connection is up: [`DataChannel::send`] and [`DataChannel::opened`] wait
    /// for it.
    pub fn create_data_channel(
        &self,
        label: &str,
        options: DataChannelOptions,
    ) -> Result<DataChannel, Error> {
        let send_buffer = options.send_buffer;
        let options = core_options(label, options);
        let key = {
            let mut core = self.0.shared.lock();
            let key = core.peer.open_channel(now(), options)?;
            if let Some(bytes) = send_buffer {
                core.peer.set_channel_send_buffer(key, bytes);
            }
            key
        };
        self.0.shared.touch();
        Ok(self.channel(key))
    }

    /// Opens a channel by SDP alone (RFC 8864): the next offer lists it in `a=dcmap`, and it opens when the answer does so,
    /// too. [`DataChannelOptions::negotiated`] names its id; without, one of the right parity is chosen. `attributes` go
    /// into `a=dcsa` lines, each as `name` or `name:value`, for the subprotocol.
    ///
    /// A peer that does not know `a=dcmap`, as browsers, refuses: the channel closes with the answer. Closing one asks for
    /// an offer ([`PeerEvent::NegotiationNeeded`]) that leaves it out.
    pub fn offer_data_channel(
        &self,
        label: &str,
        options: DataChannelOptions,
        attributes: &[String],
    ) -> Result<DataChannel, Error> {
        let send_buffer = options.send_buffer;
        let options = core_options(label, options);
        let key = {
            let mut core = self.0.shared.lock();
            let key = core.peer.offer_channel(now(), options, attributes)?;
            if let Some(bytes) = send_buffer {
                core.peer.set_channel_send_buffer(key, bytes);
            }
            key
        };
        self.0.shared.touch();
        Ok(self.channel(key))
    }

    /// Channels that the peer's pending offer is to open (RFC 8864), between `set_remote_description` and `create_answer`.
    /// The answer accepts them, and [`PeerEvent::DataChannel`] brings each when it is open.
    pub fn offered_data_channels(&self) -> Vec<OfferedChannel> {
        let offered = self.0.shared.lock().peer.offered_channels();
        offered.into_iter().map(OfferedChannel::from_core).collect()
    }

    /// Leaves an offered channel out of the answer, which refuses it.
    pub fn reject_offered_data_channel(&self, id: u16) -> Result<(), Error> {
        Ok(self.0.shared.lock().peer.reject_offered_channel(id)?)
    }

    /// What the answer says of an offered channel in `a=dcsa`, each as `name` or `name:value`.
    pub fn answer_offered_data_channel(&self, id: u16, attributes: &[String]) -> Result<(), Error> {
        Ok(self.0.shared.lock().peer.answer_offered_channel(id, attributes.to_vec())?)
    }

    /// Waits for the next event; `None` after [`PeerEvent::Closed`].
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken no event.
    pub async fn next_event(&self) -> Option<PeerEvent> {
        let shared = &self.0.shared;
        loop {
            let notified = shared.events.notified();
            let queued = {
                let mut core = shared.lock();
                let queued = core.queue.pop_front();
                if core.queue.is_empty() {
                    // Events are rare once the connection is there.
                    core.queue = VecDeque::new();
                }
                if queued.is_none() && core.closed.is_some() {
                    return None;
                }
                queued
            };
            let event = match queued {
                None => {
                    notified.await;
                    continue;
                }
                Some(Queued::Candidate(candidate)) => PeerEvent::IceCandidate(candidate),
                Some(Queued::CandidateError(error)) => PeerEvent::IceCandidateError(error),
                Some(Queued::Core(Event::ConnectionState(state))) => PeerEvent::ConnectionStateChange(state),
                Some(Queued::Core(Event::IceState(state))) => PeerEvent::IceConnectionStateChange(state),
                Some(Queued::Core(Event::ChannelOpened(key))) => PeerEvent::DataChannel(self.channel(key)),
                Some(Queued::Core(Event::NegotiationNeeded)) => PeerEvent::NegotiationNeeded,
                Some(Queued::Core(Event::Closed(reason))) => PeerEvent::Closed(reason),
                Some(Queued::Core(_)) => continue,
            };
            return Some(event);
        }
    }

    /// Has the next offer restart ICE: both sides look for a path anew, while data goes on over the old one. For when the
    /// network has changed, or the connection stays disconnected. [`PeerEvent::NegotiationNeeded`] asks for the offer. Does
    /// nothing before the first exchange is complete.
    pub fn restart_ice(&self) {
        self.0.shared.lock().peer.restart_ice(now());
        self.0.shared.touch();
    }

    /// Waits until the connection is up.
    ///
    /// Cancel safe: a future that is dropped has changed nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] with the reason when it ends instead.
    pub async fn connected(&self) -> Result<(), Error> {
        let shared = &self.0.shared;
        loop {
            let notified = shared.state.notified();
            {
                let core = shared.lock();
                if let Some(reason) = &core.closed {
                    return Err(Error::Closed(reason.clone()));
                }
                if core.peer.connection_state() == ConnectionState::Connected {
                    return Ok(());
                }
            }
            notified.await;
        }
    }

    /// The connection's state.
    pub fn connection_state(&self) -> ConnectionState {
        self.0.shared.lock().peer.connection_state()
    }

    /// The ICE transport's state.
    pub fn ice_connection_state(&self) -> IceState {
        self.0.shared.lock().peer.ice_state()
    }

    /// Where the offer/answer exchange stands.
    pub fn signaling_state(&self) -> SignalingState {
        self.0.shared.lock().peer.signaling_state()
    }

    /// The addresses the connection runs on, once ICE has chosen.
    pub fn selected_path(&self) -> Option<Path> {
        self.0.shared.lock().peer.selected_path()
    }

    /// The peer's certificate in DER, once DTLS is up and its fingerprint has been checked, if there was one to check
    /// ([`PeerIdentity`](crate::PeerIdentity)).
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.0.shared.lock().peer.peer_certificate().map(<[u8]>::to_vec)
    }

    /// Why the connection ended, if it has.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.0.shared.lock().closed.clone()
    }

    /// The connection, its transport and its SCTP association in the words of W3C's `getStats`, and the counters of all
    /// layers. Cheap enough to poll.
    pub fn stats(&self) -> Stats {
        self.0.shared.lock().peer.stats()
    }

    /// The candidate pairs: W3C's `RTCIceCandidatePairStats`, in no order. None after the end.
    pub fn candidate_pairs(&self) -> Vec<CandidatePairStats> {
        self.0.shared.lock().peer.candidate_pairs().collect()
    }

    /// Our candidates: W3C's `RTCIceCandidateStats`.
    pub fn local_candidates(&self) -> Vec<CandidateStats> {
        self.0.shared.lock().peer.local_candidates().collect()
    }

    /// The peer's candidates, signalled or seen by its checks.
    pub fn remote_candidates(&self) -> Vec<CandidateStats> {
        self.0.shared.lock().peer.remote_candidates().collect()
    }

    /// Our certificate's fingerprint: W3C's `RTCCertificateStats`.
    pub fn local_certificate_stats(&self) -> Option<CertificateStats> {
        self.0.shared.lock().peer.local_certificate_stats()
    }

    /// The peer's certificate's fingerprint, once DTLS is up.
    pub fn remote_certificate_stats(&self) -> Option<CertificateStats> {
        self.0.shared.lock().peer.remote_certificate_stats()
    }

    /// Writes what goes over the wire, and what is in it, to `writer` as a pcapng file for Wireshark, from now on until
    /// [`Capture::finish`] or the end of the connection. Takes the place of an earlier capture.
    ///
    /// `writer` runs on a thread of its own. Where it is too slow, packets are left out and counted: it never slows the
    /// connection. For the secrets ([`PcapOptions::secrets`]) it has to begin before the second description is set.
    ///
    /// **The SCTP packets are in clear**, with all messages.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start_capture(
        &self,
        writer: impl Write + Send + 'static,
        options: PcapOptions,
    ) -> io::Result<Capture> {
        Capture::start(&self.0.shared, writer, options)
    }

    /// Closes in order: what was accepted for sending is delivered first. Returns when the connection has ended. A peer
    /// that does not answer any more is waited for until ICE gives it up, half a minute at most; a future that is
    /// dropped before does not take the close back.
    pub async fn close(&self) {
        self.0.shared.lock().peer.close(now());
        self.0.shared.touch();
        self.0.shared.finished.wait().await;
    }

    /// Closes at once: what is queued is dropped and the peer is told `reason`. Returns when the connection has ended;
    /// a future that was polled and is dropped before does not take that back.
    pub async fn abort(&self, reason: &str) {
        self.0.shared.lock().peer.abort(now(), reason);
        self.0.shared.touch();
        self.0.shared.finished.wait().await;
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<PeerShared> {
        &self.0.shared
    }

    fn channel(&self, key: ChannelKey) -> DataChannel {
        DataChannel::new(self.0.clone(), key)
    }
}

fn core_options(label: &str, options: DataChannelOptions) -> ChannelOptions {
    ChannelOptions {
        label: label.to_owned(),
        protocol: options.protocol,
        ordered: options.ordered,
        reliability: options.reliability,
        priority: options.priority,
        negotiated: options.negotiated,
    }
}

impl std::fmt::Debug for PeerConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerConnection").field("state", &self.connection_state()).finish_non_exhaustive()
    }
}
