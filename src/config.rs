use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use sinnet_peer::{Certificate, Congestion, KeyLog};

use crate::driver::GATHER_TIMEOUT;
use crate::gather::{ExternalAddress, HostFilter};
use crate::ice_server::{IceServer, IceTransportPolicy};
use crate::incoming::IncomingConfig;
use crate::mdns::Mdns;

/// What an [`Endpoint`](crate::Endpoint) is made with.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Addresses to bind, a socket each. The default is one port on all IPv4 and one on all IPv6 interfaces; an
    /// unspecified address stands for every address of every interface that is up.
    pub bind: Vec<SocketAddr>,
    /// Whether unspecified addresses stand for loopback too. False by default, as in browsers.
    pub include_loopback: bool,
    /// Ports for addresses in `bind` that have port 0: the first free one from a random place in the range on. `None`, the
    /// default, leaves the choice to the system.
    pub port_range: Option<RangeInclusive<u16>>,
    /// Which of the machine's addresses unspecified addresses stand for. All of them by default.
    pub hosts: HostFilter,
    /// Addresses by which a translator that is known beforehand makes us reachable: 1:1 NAT. None by default.
    pub external_addresses: Vec<ExternalAddress>,
    /// What is done with names in place of addresses. By default nothing.
    pub mdns: Mdns,
    /// Whether the machine's addresses are watched while connections live: those that go are taken away from the connections,
    /// which go over to others, and new ones are gathered on and offered by
    /// [`PeerEvent::IceCandidate`](crate::PeerEvent::IceCandidate) at any time. True by default. Only sockets that are bound to the
    /// unspecified address have any. Connections without SDP keep the addresses that they began with.
    pub watch_network: bool,
    /// Kernel buffer asked for, per socket and direction, bytes; 8 MiB by default. The system's limit
    /// (`net.core.rmem_max` on Linux) may give less. A small receive buffer costs throughput first.
    pub socket_buffer: usize,
    /// Servers for candidates beyond our own addresses; none by default. Those of `stun:` and `turn:` URLs with UDP are asked
    /// how they see us, for server-reflexive candidates (RFC 8445 §5.1.1.2). What they say is shared by all connections, and
    /// asked again while there are any. Those of `turn:` and `turns:` URLs relay (RFC 8656), reached over UDP, TCP or TLS: one
    /// allocation on each serves all connections, from when the first one gathers until the last one has ended.
    pub ice_servers: Vec<IceServer>,
    /// How TLS to `turns:` servers is made; by default with the certificate authorities that the system trusts.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How long names may take to be resolved, and after that servers to answer: 5 s by default each. Gathering ends after
    /// the two at the latest.
    pub gather_timeout: Duration,
    /// TCP candidates (RFC 6544), for networks that let no UDP through. The default is [`IceTcp::Active`].
    pub ice_tcp: IceTcp,
    /// Whether peers are taken that nobody has announced ([`Endpoint::accept`](crate::Endpoint::accept)): server mode, as libp2p's
    /// WebRTC Direct needs it. `None` by default: first datagrams with unknown ufrags are dropped.
    pub incoming: Option<IncomingConfig>,
    /// Most datagrams handed to the kernel in one call (UDP_SEGMENT). 54 by default: 64 KB of 1200-byte datagrams. 1
    /// switches batches off.
    pub max_segments: usize,
    /// How long to look for an answer before sleeping, where small messages go back and forth: being woken takes several times longer
    /// than the answer of a peer in the same machine or rack. 50 µs by default, as Linux advises for `net.core.busy_read`; zero
    /// always sleeps. While answers come that fast, or acknowledgements of small messages, a processor is kept busy; where
    /// they don't, it is tried once in a thousand waits. Bulk data never causes it.
    pub busy_poll: Duration,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            bind: vec![(Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()],
            include_loopback: false,
            port_range: None,
            hosts: HostFilter::default(),
            external_addresses: Vec::new(),
            mdns: Mdns::default(),
            watch_network: true,
            socket_buffer: 8 * 1024 * 1024,
            ice_servers: Vec::new(),
            tls: None,
            gather_timeout: GATHER_TIMEOUT,
            ice_tcp: IceTcp::default(),
            incoming: None,
            max_segments: 54,
            busy_poll: Duration::from_micros(50),
        }
    }
}

impl EndpointConfig {
    /// The defaults, bound to one address.
    pub fn bind(addr: SocketAddr) -> Self {
        Self { bind: vec![addr], ..Self::default() }
    }
}

/// Which TCP candidates are gathered (RFC 6544). UDP is preferred wherever it works.
///
/// A connection is only made between an active candidate and a passive one: browsers have active ones alone, so a server that is to be
/// reached over TCP needs passive ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum IceTcp {
    /// None.
    Off,
    /// Connections are opened to peers that listen. The default, as in browsers: it costs a line of SDP for each address, and nothing is
    /// opened unless the peer names a candidate that listens. As in browsers, ports below 1024 are not connected to, but for 80 and 443.
    #[default]
    Active,
    /// And the endpoint listens: beside each of [`EndpointConfig::bind`], on the same port number. All connections share the
    /// port, as with UDP.
    ActiveAndPassive,
}

/// What a [`PeerConnection`](crate::PeerConnection) is made with.
#[derive(Clone)]
pub struct PeerConfig {
    /// Our DTLS identity; the endpoint's own when `None`, which is made once per endpoint.
    pub certificate: Option<Arc<Certificate>>,
    /// Largest message that we accept, bytes; announced to the peer. 256 KiB by default, as in Chromium.
    pub max_message_size: usize,
    /// Largest message that we accept in pieces, bytes. If it is more than `max_message_size`, it is what is announced, and
    /// it may be far more than any memory: **then read channels with
    /// [`DataChannel::recv_stream`](crate::DataChannel::recv_stream)**, as one on which
    /// [`recv`](crate::DataChannel::recv) finds a message larger than `max_message_size` is closed. 0 by default: no
    /// message is larger than `max_message_size`.
    pub max_message_size_in_pieces: usize,
    /// Memory for what is unread, over all channels of the connection, at the most: 16 MiB by default. It begins with 1 MiB
    /// and grows with what the application reads per round trip, so this is reached on long fast paths only, which need twice
    /// their bandwidth-delay product: 64 MiB for 1 Gbit/s over 250 ms. SCTP has one window for all channels, so **one that is
    /// not read holds up the others** when the buffer is full of what came on it: read it, or drop it.
    pub receive_buffer: usize,
    /// Memory for what is unsent or not acknowledged on a channel that sends alone, at the most: 16 MiB by default. The
    /// limit in force is twice the congestion window, 1 MiB at least. Channels that send at the same time share five
    /// quarters of it in proportion to their priorities, so a full one starves no other; a channel of which nothing is
    /// unacknowledged may always queue one message, and small ones up to 16 KiB.
    pub send_buffer: usize,
    /// The most of it that one channel may hold. Not limited by default but by its share.
    /// [`DataChannel::set_send_buffer`](crate::DataChannel::set_send_buffer) changes it for one.
    pub channel_send_buffer: usize,
    /// Channels at once; 1024 by default.
    pub max_channels: usize,
    /// Largest UDP payload as long as nothing is known of the path, bytes; 1200 by default. Taken as 548 if less, and as
    /// 16,384 if more.
    pub mtu: usize,
    /// Largest UDP payload that probes try (RFC 8899), bytes; 1452 by default, for Ethernet. On the way there are the
    /// sizes of common tunnels. 0 keeps datagrams at [`PeerConfig::mtu`]. Taken as 16,384 if more.
    ///
    /// 8952 makes use of links of 9000 bytes. **Not for peers that may be Chromium**: a record of more than about 2048
    /// bytes ends the connection there.
    pub max_mtu: usize,
    /// How we find out how much the path can take when we send. CUBIC by default; [`Congestion::Bbr`] where packets
    /// get lost though the path is not full.
    pub congestion: Congestion,
    /// Which ways it may take. All by default.
    pub ice_transport_policy: IceTransportPolicy,
    /// Be a lite agent (RFC 8445 §2.5): answer checks and make none, with host candidates only. False by default. For servers with an
    /// address that everybody reaches: who names a false address gets one answer sent there and not the checks of a full agent. Only
    /// what the peer sends keeps the connection alive then.
    pub ice_lite: bool,
    /// How long the peer may take to show an address that answers before ICE fails (RFC 8863).
    pub ice_patience: Option<Duration>,
    /// Gets the DTLS secrets in the NSS key log format, a line a call. **Whoever reads them reads the connection.**
    pub key_log: Option<KeyLog>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            certificate: None,
            max_message_size: 256 * 1024,
            max_message_size_in_pieces: 0,
            receive_buffer: 16 * 1024 * 1024,
            send_buffer: 16 * 1024 * 1024,
            channel_send_buffer: usize::MAX,
            max_channels: 1024,
            mtu: 1200,
            max_mtu: 1452,
            congestion: Congestion::default(),
            ice_transport_policy: IceTransportPolicy::All,
            ice_lite: false,
            ice_patience: None,
            key_log: None,
        }
    }
}

impl std::fmt::Debug for PeerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerConfig")
            .field("max_message_size", &self.max_message_size)
            .field("max_message_size_in_pieces", &self.max_message_size_in_pieces)
            .field("receive_buffer", &self.receive_buffer)
            .field("send_buffer", &self.send_buffer)
            .field("channel_send_buffer", &self.channel_send_buffer)
            .field("max_channels", &self.max_channels)
            .field("mtu", &self.mtu)
            .field("max_mtu", &self.max_mtu)
            .field("congestion", &self.congestion)
            .field("ice_transport_policy", &self.ice_transport_policy)
            .field("key_log", &self.key_log.is_some())
            .finish_non_exhaustive()
    }
}
