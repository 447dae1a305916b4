use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rand::TryRng;
use rand::rngs::SysRng;
use sinnet_peer::{Agreement, Certificate, Peer};
use tokio::net::{ToSocketAddrs, lookup_host};

use crate::config::{EndpointConfig, PeerConfig};
use crate::driver::{self, IceTcpStats};
use crate::error::Error;
use crate::gather::{host_addresses, tcp_bases};
use crate::ice_server::{IceServer, IceTransportPolicy};
use crate::incoming::Place;
use crate::mdns::{self, Mdns};
use crate::peer_connection::PeerConnection;
use crate::shared::{EndpointShared, PeerShared, now};
use crate::watch;

/// UDP sockets and the task that drives connections over them.
///
/// One endpoint serves any number of peers over one port. All of its work is done by one task; to use more cores, make
/// more endpoints. Two connections of one endpoint can't have the same remote address and port, because DTLS packets
/// are told apart by them.
///
/// The endpoint lives as long as a handle of it or of one of its connections does.
#[derive(Clone)]
pub struct Endpoint(pub(crate) Arc<EndpointHandle>);

pub(crate) struct EndpointHandle {
    pub(crate) shared: Arc<EndpointShared>,
    certificate: Mutex<Option<Arc<Certificate>>>,
}

impl Drop for EndpointHandle {
    fn drop(&mut self) {
        self.shared.commands().orphaned = true;
        self.shared.wake_driver();
    }
}

impl Endpoint {
    /// An endpoint on one address, such as `"0.0.0.0:0"`, otherwise with the defaults. Must be called within a tokio
    /// runtime, which then runs the driver.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self, Error> {
        let mut addrs = lookup_host(addr).await.map_err(|error| Error::NoAddress(error.to_string()))?;
        let addr = addrs.next().ok_or_else(|| Error::NoAddress("the name has no address".to_owned()))?;
        Self::new(EndpointConfig::bind(addr)).await
    }

    /// An endpoint as configured. Must be called within a tokio runtime, which then runs the driver. A future that is
    /// dropped has bound nothing.
    ///
    /// # Errors
    /// [`Error::Socket`] when an address can't be bound. An unspecified IPv6 address is left out where the system has no
    /// IPv6, as long as another one is there. [`Error::IceServer`] when a server lacks what it needs.
    pub async fn new(config: EndpointConfig) -> Result<Self, Error> {
        config.ice_servers.iter().try_for_each(IceServer::check)?;
        let sockets = driver::open_sockets(&config)?;
        for socket in &sockets {
            // Else what is sent first has no room yet as far as tokio knows, and would come a retransmission later.
            let _ = socket.writable().await;
        }
        let bound = sockets.iter().map(|socket| socket.bound()).collect();
        let listeners = driver::open_listeners(&config, &sockets)?;
        let shared = Arc::new(EndpointShared::new(config, bound, listeners.bound()));
        driver::spawn(shared.clone(), sockets, listeners);
        mdns::spawn(&shared);
        watch::spawn(&shared);
        Ok(Self(Arc::new(EndpointHandle { shared, certificate: Mutex::new(None) })))
    }

    /// A new connection over this endpoint's sockets.
    pub fn peer_connection(&self, config: PeerConfig) -> Result<PeerConnection, Error> {
        let policy = config.ice_transport_policy;
        self.add(self.core(config)?, None, policy)
    }

    /// A new connection without SDP, for peers that know what an offer and its answer would have agreed on. Its candidates are the
    /// endpoint's own addresses; those of the peer that `agreement` hasn't can be added by
    /// [`PeerConnection::add_ice_candidate`]. There are no relays on it, so with
    /// [`IceTransportPolicy::Relay`] it leads nowhere. See [`Agreement`] for what is different on it.
    ///
    /// # Errors
    /// [`Error::Agreement`] when the agreement can't be used. A ufrag of ours that another connection of the endpoint has ends
    /// this one at once.
    pub fn peer_connection_without_sdp(
        &self,
        config: PeerConfig,
        agreement: Agreement,
    ) -> Result<PeerConnection, Error> {
        let policy = config.ice_transport_policy;
        let mut peer = self.core(config)?;
        let now = now();
        peer.agree(now, agreement)?;
        let addrs = self.local_addrs();
        for &addr in &addrs {
            peer.add_local_host(now, addr);
        }
        for (base, tcp_type) in addrs.iter().flat_map(|addr| tcp_bases(&self.0.shared, addr.ip())) {
            peer.add_local_tcp(now, base, tcp_type);
        }
        peer.end_of_local_candidates(now);
        self.add(peer, None, policy)
    }

    /// A connection's core as configured, with which nothing has been negotiated.
    pub(crate) fn core(&self, config: PeerConfig) -> Result<Peer, Error> {
        // Taken apart, so that the compiler sees a setting that goes nowhere.
        let PeerConfig {
            certificate,
            max_message_size,
            max_message_size_in_pieces,
            receive_buffer,
            send_buffer,
            channel_send_buffer,
            max_channels,
            mtu,
            max_mtu,
            congestion,
            ice_transport_policy,
            ice_lite,
            ice_patience,
            key_log,
        } = config;
        let certificate = match certificate {
            Some(certificate) => certificate,
            None => self.certificate()?,
        };
        let mut core = sinnet_peer::Config::new(certificate);
        core.max_message_size = max_message_size;
        core.max_message_size_in_pieces = max_message_size_in_pieces;
        core.receive_buffer = receive_buffer;
        core.send_buffer = send_buffer;
        core.channel_send_buffer = channel_send_buffer;
        core.max_channels = max_channels;
        core.mtu = mtu;
        core.max_mtu = max_mtu;
        core.congestion = congestion;
        core.key_log = key_log;
        let ice = sinnet_peer::IceConfig {
            resolve_names: self.0.shared.config.mdns != Mdns::Off,
            lite: ice_lite,
            relay_only: ice_transport_policy == IceTransportPolicy::Relay,
            hide_addresses: self.0.shared.config.mdns == Mdns::ResolveAndHide,
            ..Default::default()
        };
        let patience = ice_patience.unwrap_or(ice.patience);
        core.ice = Arc::new(sinnet_peer::IceConfig { patience, ..ice });
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).map_err(|_| Error::Randomness)?;
        Ok(Peer::new(Arc::new(core), now(), seed))
    }

    /// Gives a connection to the driver.
    pub(crate) fn add(
        &self,
        peer: Peer,
        place: Option<Place>,
        policy: IceTransportPolicy,
    ) -> Result<PeerConnection, Error> {
        let shared = Arc::new(PeerShared::new(self.0.shared.clone(), peer, policy));
        shared.lock().place = place;
        {
            let mut commands = self.0.shared.commands();
            if commands.is_over() {
                return Err(Error::EndpointClosed);
            }
            commands.added.push(shared.clone());
        }
        self.0.shared.wake_driver();
        Ok(PeerConnection::new(shared, self.0.clone()))
    }

    /// The addresses of this endpoint that are gathered, as of now, the best first: one for each socket, or one for each
    /// address of the machine that [`EndpointConfig::hosts`] lets pass where a socket is bound to the unspecified address. The
    /// latter are missing while the process has no file descriptor left.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let shared = &self.0.shared;
        let (addrs, listed) = host_addresses(&shared.config, &shared.bound);
        if let Err(error) = listed {
            tracing::warn!(%error, "can't list the network interfaces");
        }
        addrs
    }

    /// Where the endpoint listens for TCP ([`IceTcp::ActiveAndPassive`](crate::IceTcp)): what the sockets are bound to.
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.0.shared.bound_tcp
    }

    /// What has become of ICE's TCP connections.
    pub fn ice_tcp_stats(&self) -> IceTcpStats {
        *self.0.shared.tcp_stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names other STUN and TURN servers, or the same with new credentials, for connections that gather from now on: W3C's
    /// `setConfiguration`. What is allocated stays until nobody uses it any more.
    ///
    /// # Errors
    /// [`Error::IceServer`] when a server lacks what it needs; nothing has changed then.
    pub fn set_ice_servers(&self, servers: &[IceServer]) -> Result<(), Error> {
        servers.iter().try_for_each(IceServer::check)?;
        self.0.shared.set_ice_servers(servers);
        Ok(())
    }

    /// What the driver holds, as of its last turn: connections, deadlines and routes. For tests that nothing stays behind.
    #[doc(hidden)]
    pub fn held(&self) -> [usize; 3] {
        self.0.shared.held.get()
    }

    /// Closes all connections in order and waits until they are closed. A future that was polled and is dropped before does
    /// not take that back.
    pub async fn close(&self) {
        self.0.shared.commands().close = true;
        self.0.shared.wake_driver();
        self.0.shared.finished.wait().await;
    }

    /// The endpoint's own certificate, which its connections have unless [`PeerConfig::certificate`] says otherwise. It is made
    /// when it is first asked for.
    pub fn certificate(&self) -> Result<Arc<Certificate>, Error> {
        let mut slot = self.0.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = &*slot {
            return Ok(certificate.clone());
        }
        #[expect(clippy::disallowed_methods, reason = "a certificate's dates are the driver's to give")]
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let certificate = Arc::new(Certificate::generate(unix)?);
        *slot = Some(certificate.clone());
        Ok(certificate)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("bound", &self.0.shared.bound).finish_non_exhaustive()
    }
}
