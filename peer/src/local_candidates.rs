//! Our candidates, as the owner of the sockets finds them, and the names of the peer's. Each `add_…` call returns the line to signal, without `a=`; an ICE restart keeps them all.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use sinnet_ice::{Address, Path, Protocol, RelayProtocol, TcpType};

use crate::generations::Source;
use crate::peer::Peer;

impl Peer {
    /// Adds a local host candidate: an address of ours that datagrams come to and leave from. Returns the line to
    /// signal, without `a=`; `None` when it is known already or the limit is reached.
    pub fn add_local_host(&mut self, now: Instant, base: SocketAddr) -> Option<String> {
        self.add_local(now, Source::Host(base))
    }

    /// Adds a local host candidate that is signalled as something else: as a `.local` name that hides the address, or as the address
    /// that a 1:1 NAT has for it (see [`Agent::add_local_host_as`](sinnet_ice::Agent::add_local_host_as)).
    pub fn add_local_host_as(&mut self, now: Instant, base: SocketAddr, shown: Address) -> Option<String> {
        self.add_local(now, Source::HostAs(base, shown))
    }

    /// Adds what a STUN server sees of a local host candidate (see [`Gatherer`](crate::Gatherer)). Returns the line to
    /// signal; `None` when there is nothing new in it.
    pub fn add_server_reflexive(
        &mut self,
        now: Instant,
        base: SocketAddr,
        mapped: SocketAddr,
        server: IpAddr,
    ) -> Option<String> {
        self.add_local(now, Source::Reflexive(base, mapped, server))
    }

    /// Adds an address on a TURN server, through which paths are `Path::udp(relayed, peer)` (see
    /// [`Agent::add_relayed`](sinnet_ice::Agent::add_relayed)).
    pub fn add_relayed(
        &mut self,
        now: Instant,
        relayed: SocketAddr,
        related: SocketAddr,
        server: IpAddr,
        by: RelayProtocol,
    ) -> Option<String> {
        self.add_local(now, Source::Relayed(relayed, related, server, by))
    }

    /// Adds a TCP candidate (see [`Agent::add_local_tcp`](sinnet_ice::Agent::add_local_tcp)).
    pub fn add_local_tcp(&mut self, now: Instant, base: SocketAddr, tcp_type: TcpType) -> Option<String> {
        self.add_local(now, Source::Tcp(base, tcp_type, None))
    }

    /// The same, signalled as the address that a 1:1 NAT has for it (see
    /// [`Agent::add_local_tcp_as`](sinnet_ice::Agent::add_local_tcp_as)).
    pub fn add_local_tcp_as(
        &mut self,
        now: Instant,
        base: SocketAddr,
        tcp_type: TcpType,
        shown: Option<SocketAddr>,
    ) -> Option<String> {
        self.add_local(now, Source::Tcp(base, tcp_type, shown))
    }

    /// Takes a candidate of ours away, whose interface or relay has gone: data goes on over another one, if there is one (see
    /// [`Agent::remove_local`](sinnet_ice::Agent::remove_local)).
    pub fn remove_local(&mut self, now: Instant, protocol: Protocol, base: SocketAddr) {
        self.now = now;
        self.ice.remove_local(now, protocol, base);
        self.drive();
    }

    /// Says that the TCP connection of a path couldn't be opened, or has been closed.
    pub fn connection_closed(&mut self, now: Instant, path: Path) {
        self.now = now;
        self.ice.connection_closed(now, path);
        self.drive();
    }

    /// A `.local` name of the peer's candidates that the owner is asked to resolve, each once. Only with
    /// [`Config::resolve_names`](sinnet_ice::Config::resolve_names).
    pub fn poll_name(&mut self) -> Option<String> {
        self.ice.poll_name()
    }

    /// Says what a name has been resolved to; `None` if it couldn't be.
    pub fn name_resolved(&mut self, now: Instant, name: &str, ip: Option<IpAddr>) {
        self.now = now;
        self.ice.name_resolved(now, name, ip);
        self.drive();
    }

    fn add_local(&mut self, now: Instant, source: Source) -> Option<String> {
        self.now = now;
        self.ice.add_local(now, source).map(|candidate| candidate.to_string())
    }
}
