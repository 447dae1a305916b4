//! What handles and the driver share.
//!
//! A connection's core stands behind one mutex, which the driver takes once per batch and a handle once per call.
//! A handle that has changed something puts its connection on the endpoint's list and wakes the driver; a connection
//! is on the list at most once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::task::AtomicWaker;
use sinnet_peer::{ChannelKey, CloseReason, ConnectionState, Event, Peer};
use tokio::sync::Notify;

use crate::config::EndpointConfig;
use crate::description::{IceCandidate, IceCandidateError};
use crate::driver::{Connected, IceTcpStats, Resolved, Wanted};
use crate::ice_server::{IceServer, IceTransportPolicy};
use crate::incoming::{Newcomers, Place};
use crate::mdns::MdnsShared;
use crate::waiters::{WaitersByChannel, Want, wake_for_room};
use crate::watch::{NetworkChange, Watch};

/// The one place where this crate's handles and driver read the clock.
#[expect(clippy::disallowed_methods, reason = "the driver is where time enters")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day, since 1970: what the kernel stamps datagrams with.
#[expect(clippy::disallowed_methods, reason = "the driver is where time enters")]
pub(crate) fn time_of_day() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Events kept for an application that does not ask for them; beyond it, older state changes and errors of servers
/// are forgotten first.
const QUEUED_EVENTS: usize = 4096;

/// What the handles of an endpoint and its driver share.
pub(crate) struct EndpointShared {
    pub(crate) config: EndpointConfig,
    /// What each socket is bound to.
    pub(crate) bound: Vec<std::net::SocketAddr>,
    pub(crate) mdns: MdnsShared,
    pub(crate) watch: Watch,
    /// And what listens for TCP.
    pub(crate) bound_tcp: Vec<std::net::SocketAddr>,
    pub(crate) tcp_stats: Mutex<IceTcpStats>,
    /// Those of the configuration, until others are named.
    ice_servers: Mutex<Arc<[IceServer]>>,
    commands: Mutex<Commands>,
    driver: AtomicWaker,
    woken: AtomicBool,
    /// All connections are gone and the driver has ended.
    pub(crate) finished: Latch,
    pub(crate) held: Held,
    /// Peers that nobody has announced, until they are accepted and connected.
    pub(crate) newcomers: Arc<Newcomers>,
}

/// How much the driver holds, as of its last turn.
#[derive(Default)]
pub(crate) struct Held([AtomicUsize; 3]);

impl Held {
    pub(crate) fn set(&self, connections: usize, deadlines: usize, routes: usize) {
        for (slot, count) in self.0.iter().zip([connections, deadlines, routes]) {
            slot.store(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> [usize; 3] {
        [0, 1, 2].map(|slot| self.0[slot].load(Ordering::Relaxed))
    }
}

#[derive(Default)]
pub(crate) struct Commands {
    /// Connections that the driver does not know yet.
    pub(crate) added: Vec<Arc<PeerShared>>,
    /// Connections that a handle has changed.
    pub(crate) touched: Vec<Arc<PeerShared>>,
    /// Connections that want candidates of servers.
    pub(crate) gather: Vec<Wanted>,
    /// The servers are others than before.
    pub(crate) servers_changed: bool,
    /// The servers' addresses, when they have been looked up.
    pub(crate) resolved: Option<Vec<Resolved>>,
    /// The machine's addresses, when they have changed.
    pub(crate) network: Option<NetworkChange>,
    /// Connections to TURN servers that were made, or not.
    pub(crate) connected: Vec<Connected>,
    /// Close all connections, then end.
    pub(crate) close: bool,
    /// No handle is left: end when the last connection has ended.
    pub(crate) orphaned: bool,
    /// The driver has gone.
    pub(crate) ended: bool,
}

impl Commands {
    /// Whether no connection can be added any more.
    pub(crate) fn is_over(&self) -> bool {
        self.close || self.ended
    }
}

impl EndpointShared {
    pub(crate) fn new(
        config: EndpointConfig,
        bound: Vec<std::net::SocketAddr>,
        bound_tcp: Vec<std::net::SocketAddr>,
    ) -> Self {
        Self {
            ice_servers: Mutex::new(config.ice_servers.as_slice().into()),
            config,
            bound,
            mdns: MdnsShared::default(),
            watch: Watch::default(),
            bound_tcp,
            tcp_stats: Mutex::default(),
            commands: Mutex::default(),
            driver: AtomicWaker::new(),
            woken: AtomicBool::new(false),
            finished: Latch::default(),
            held: Held::default(),
            newcomers: Arc::default(),
        }
    }

    /// The servers at present.
    pub(crate) fn ice_servers(&self) -> Arc<[IceServer]> {
        self.ice_servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Names others, for connections that gather from now on.
    pub(crate) fn set_ice_servers(&self, servers: &[IceServer]) {
        *self.ice_servers.lock().unwrap_or_else(PoisonError::into_inner) = servers.into();
        self.commands().servers_changed = true;
        self.wake_driver();
    }

    pub(crate) fn commands(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake_driver(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.driver.wake();
        }
    }

    /// For the driver: registers its waker and tells whether it has been woken since the last call.
    pub(crate) fn take_woken(&self, waker: &std::task::Waker) -> bool {
        self.driver.register(waker);
        self.woken.swap(false, Ordering::AcqRel)
    }
}

/// One connection, as its handles and the driver see it.
pub(crate) struct PeerShared {
    pub(crate) endpoint: Arc<EndpointShared>,
    /// Nothing may leave but through relays.
    pub(crate) relay_only: bool,
    core: Mutex<PeerCore>,
    touched: AtomicBool,
    /// The driver's name for it.
    pub(crate) index: AtomicUsize,
    /// `next_event` has something.
    pub(crate) events: Notify,
    /// The connection's state changed.
    pub(crate) state: Notify,
    /// The connection has ended and said goodbye.
    pub(crate) finished: Latch,
}

/// The state behind a connection's mutex.
pub(crate) struct PeerCore {
    pub(crate) peer: Peer,
    pub(crate) queue: VecDeque<Queued>,
    pub(crate) closed: Option<CloseReason>,
    /// No handle is left by which the application could take a channel that the peer opens, or any event.
    pub(crate) nobody_takes_channels: bool,
    /// Who waits on the channels that have a handle.
    pub(crate) channels: WaitersByChannel,
    /// Of a peer that nobody has announced, until it is connected.
    pub(crate) place: Option<Place>,
    /// The host candidates that have been gathered, once they have.
    pub(crate) hosts: Option<Vec<std::net::SocketAddr>>,
}

/// What waits for `next_event`.
pub(crate) enum Queued {
    Core(Event),
    Candidate(Option<IceCandidate>),
    CandidateError(IceCandidateError),
}

impl PeerCore {
    /// A `candidate:` line as it is signalled.
    pub(crate) fn candidate(&self, line: String) -> IceCandidate {
        let mline = self.peer.mline();
        IceCandidate {
            candidate: line,
            sdp_mid: mline.map(|(mid, _)| mid.to_owned()),
            sdp_m_line_index: mline.map(|(_, index)| index as u16),
        }
    }

    /// Wakes those who want this of a channel.
    pub(crate) fn wake(&mut self, key: ChannelKey, want: Want) {
        if let Some(waiters) = self.channels.get_mut(&key) {
            waiters.wake(want);
        }
    }

    /// Why the connection has ended, if something that was under way may be lost by that.
    pub(crate) fn lost(&self) -> Option<&CloseReason> {
        self.closed.as_ref().filter(|reason| !matches!(reason, CloseReason::Local | CloseReason::Peer))
    }
}

impl PeerShared {
    pub(crate) fn new(endpoint: Arc<EndpointShared>, peer: Peer, policy: IceTransportPolicy) -> Self {
        Self {
            endpoint,
            relay_only: policy == IceTransportPolicy::Relay,
            core: Mutex::new(PeerCore {
                peer,
                queue: VecDeque::new(),
                closed: None,
                nobody_takes_channels: false,
                channels: WaitersByChannel::default(),
                place: None,
                hosts: None,
            }),
            touched: AtomicBool::new(false),
            index: AtomicUsize::new(usize::MAX),
            events: Notify::new(),
            state: Notify::new(),
            finished: Latch::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, PeerCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the driver look at this connection.
    pub(crate) fn touch(self: &Arc<Self>) {
        // Whoever has changed something has done so under the lock. If the driver has not taken the connection from the list by
        // now, it takes the lock later, and finds the change: a plain look is enough then.
        if !self.touched.load(Ordering::Relaxed) && !self.touched.swap(true, Ordering::AcqRel) {
            let mut commands = self.endpoint.commands();
            if commands.ended {
                // Nobody would take it from the list, and the two would keep each other in memory.
                return;
            }
            commands.touched.push(self.clone());
            drop(commands);
            self.endpoint.wake_driver();
        }
    }

    /// For the driver: from here on a `touch` counts anew.
    pub(crate) fn clear_touched(&self) {
        self.touched.store(false, Ordering::Release);
    }

    /// Takes the core's events to whoever waits for them.
    ///
    /// Channels that nobody can take are closed. Returns whether there were any: then there is more to send.
    pub(crate) fn dispatch(self: &Arc<Self>, core: &mut PeerCore) -> bool {
        while let Some(name) = core.peer.poll_name() {
            self.endpoint.mdns.resolve(name.to_ascii_lowercase(), self);
        }
        let mut released = false;
        while let Some(event) = core.peer.poll_event() {
            match event {
                Event::Readable(key) => core.wake(key, Want::Message),
                Event::Writable(key) => {
                    core.wake(key, Want::Piece);
                    wake_for_room(&mut core.channels, &mut core.peer, key);
                }
                Event::Flushed(key) => core.wake(key, Want::Flush),
                Event::BufferedAmountLow(key) => core.wake(key, Want::Low),
                Event::ChannelState(key, _) => {
                    if let Some(waiters) = core.channels.get_mut(&key) {
                        waiters.wake_all();
                    }
                }
                Event::ChannelOpened(key) if core.nobody_takes_channels => {
                    core.peer.release_channel(now(), key);
                    released = true;
                }
                Event::Closed(reason) => {
                    core.place = None;
                    core.closed = Some(reason.clone());
                    self.enqueue(core, Queued::Core(Event::Closed(reason)));
                    self.state.notify_waiters();
                }
                event => {
                    if matches!(event, Event::ConnectionState(ConnectionState::Connected)) {
                        core.place = None;
                    }
                    self.enqueue(core, Queued::Core(event));
                    self.state.notify_waiters();
                }
            }
        }
        released
    }

    pub(crate) fn enqueue(&self, core: &mut PeerCore, event: Queued) {
        if core.queue.len() >= QUEUED_EVENTS {
            let stale = core.queue.iter().position(|queued| {
                matches!(
                    queued,
                    Queued::Core(Event::ConnectionState(_) | Event::IceState(_)) | Queued::CandidateError(_)
                )
            });
            match stale {
                Some(at) => drop(core.queue.remove(at)),
                // Only channels are left, and those are limited by `max_channels`.
                None => tracing::warn!("nobody takes this connection's events"),
            }
        }
        core.queue.push_back(event);
        self.events.notify_waiters();
    }
}

/// A condition that becomes true once.
#[derive(Default)]
pub(crate) struct Latch {
    set: AtomicBool,
    notify: Notify,
}

impl Latch {
    pub(crate) fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    pub(crate) async fn wait(&self) {
        loop {
            let notified = self.notify.notified();
            if self.set.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}
