//! One allocation on one server, and what carries it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sinnet_peer::{Path, RelayProtocol};
use sinnet_turn::{Client, MAX_REQUEST, PeerError};

use super::stream::Stream;
use crate::driver::Socket;

/// Datagrams that wait for a permission: a check of each of a few connections. The oldest goes; checks come again.
const MAX_WAITING: usize = 32;

/// The longest datagram that waits for a permission. Checks have no more than 400 bytes.
const MAX_WAITING_SIZE: usize = 1500;

/// Addresses that the server has refused lately, at the most; the oldest goes.
const MAX_REFUSED: usize = 64;

/// Before that they aren't asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Peers for which a channel has been asked, at the most; the oldest may be asked for again.
const MAX_ASKED: usize = 1024;

/// What messages to the server travel on.
pub(super) enum Carrier {
    /// One of the endpoint's sockets, and the address that it sends from.
    Udp {
        socket: usize,
        local: SocketAddr,
    },
    Stream(Stream),
    /// The server sent us to another one.
    Connecting,
}

pub(in crate::driver) struct Relay {
    pub(super) id: u32,
    pub(super) client: Client,
    pub(super) carrier: Carrier,
    pub(super) by: RelayProtocol,
    /// Our addresses there, once the allocation is made.
    pub(super) relayed: Vec<SocketAddr>,
    /// What the server sees of us.
    pub(super) mapped: Option<SocketAddr>,
    /// Since when.
    pub(super) allocated_at: Option<Instant>,
    /// What ended the connection to the server, in words.
    pub(super) broken: Option<String>,
    /// Being given back: until then.
    pub(super) closing_until: Option<Instant>,
    /// Connections that wait for room in the stream, and until when.
    pub(super) held: Vec<usize>,
    pub(super) held_until: Option<Instant>,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    refused: VecDeque<(IpAddr, Instant)>,
    /// Peers for which a channel has been asked. A refused one isn't asked for again.
    asked: VecDeque<SocketAddr>,
}

impl Relay {
    pub(super) fn new(id: u32, client: Client, carrier: Carrier, by: RelayProtocol) -> Self {
        Self {
            id,
            client,
            carrier,
            by,
            relayed: Vec::new(),
            mapped: None,
            allocated_at: None,
            broken: None,
            closing_until: None,
            held: Vec::new(),
            held_until: None,
            waiting: VecDeque::new(),
            refused: VecDeque::new(),
            asked: VecDeque::new(),
        }
    }

    /// Whether its server is reached from this socket at this address.
    pub(super) fn is_at(&self, socket: usize, server: SocketAddr) -> bool {
        matches!(self.carrier, Carrier::Udp { socket: by, .. } if by == socket)
            && self.client.server() == server
    }

    /// Our address that the server is asked from.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match &self.carrier {
            Carrier::Udp { local, .. } => Some(*local),
            Carrier::Stream(stream) => stream.local_addr(),
            Carrier::Connecting => None,
        }
    }

    /// Our address there for peers of this family.
    pub(super) fn relayed_for(&self, peer: SocketAddr) -> Option<SocketAddr> {
        self.relayed.iter().copied().find(|relayed| relayed.is_ipv4() == peer.is_ipv4())
    }

    /// Has a peer permitted, and keeps the datagram until it is.
    pub(super) fn permit(&mut self, now: Instant, peer: SocketAddr, datagram: &[u8]) {
        let again =
            |(ip, at): &(IpAddr, Instant)| *ip == peer.ip() && now.saturating_duration_since(*at) < ASK_AGAIN;
        if datagram.len() > MAX_WAITING_SIZE || self.refused.iter().any(again) {
            return;
        }
        match self.client.permit(now, peer.ip()) {
            Ok(()) => {
                if self.waiting.len() >= MAX_WAITING {
                    self.waiting.pop_front();
                }
                self.waiting.push_back((peer, datagram.to_vec()));
            }
            Err(PeerError::TooMany) => tracing::debug!(%peer, "too many permissions on this relay"),
            Err(error) => tracing::debug!(%peer, %error, "no permission asked for"),
        }
    }

    /// The server permits an address, or refuses it. Returns what has waited for that.
    pub(super) fn permitted(
        &mut self,
        now: Instant,
        ip: IpAddr,
        granted: bool,
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let (ready, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(to, _)| to.ip() == ip);
        self.waiting = waiting;
        if granted {
            return ready.into_iter().collect();
        }
        if self.refused.len() >= MAX_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back((ip, now));
        Vec::new()
    }

    /// Data is flowing: a channel saves 32 bytes a datagram.
    pub(super) fn want_channel(&mut self, now: Instant, peer: SocketAddr) {
        if !self.asked.contains(&peer) {
            if self.asked.len() >= MAX_ASKED {
                self.asked.pop_front();
            }
            self.asked.push_back(peer);
            if let Err(error) = self.client.bind_channel(now, peer) {
                tracing::debug!(%peer, %error, "no channel asked for");
            }
        }
    }

    /// Nobody sends to this peer any more; `ip_too` if to no other of its address.
    pub(super) fn release_peer(&mut self, now: Instant, peer: SocketAddr, ip_too: bool) {
        if let Some(at) = self.asked.iter().position(|asked| *asked == peer) {
            self.asked.remove(at);
            self.client.release_channel(now, peer);
        }
        self.waiting.retain(|(to, _)| *to != peer);
        if ip_too {
            self.client.forget(now, peer.ip());
        }
    }

    /// Sends the client's requests.
    pub(super) fn send_requests(&mut self, now: Instant, sockets: &[Socket]) {
        let mut request = [0; MAX_REQUEST];
        match &mut self.carrier {
            Carrier::Udp { socket, local } => {
                while let Some(len) = self.client.poll_transmit(now, &mut request) {
                    let path = Path::udp(*local, self.client.server());
                    let Some(socket) = sockets.get(*socket) else { return };
                    if let Err(error) = socket.send(path, request.get(..len).unwrap_or_default(), None) {
                        // Requests are sent again.
                        tracing::debug!(%error, server = %path.remote, "send");
                    }
                }
            }
            Carrier::Stream(stream) => {
                while let Some(len) = self.client.poll_transmit(now, stream.room()) {
                    stream.commit(len);
                }
                if let Err(error) = stream.flush() {
                    self.broken.get_or_insert(error.to_string());
                    self.client.disconnected();
                }
            }
            Carrier::Connecting => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sinnet_turn::{ClientConfig, Credentials, Transport};

    use super::*;
    use crate::shared::now;

    fn relay(now: Instant) -> Relay {
        let user = Credentials { username: "alice".to_owned(), password: "wonderland".to_owned() };
        let config = ClientConfig { max_channels: 3, ..ClientConfig::new(user) };
        let server = "192.0.2.1:3478".parse().unwrap();
        let client = Client::new(Arc::new(config), Transport::Datagram, server, now, [1; 32]);
        let carrier = Carrier::Udp { socket: 0, local: "192.0.2.9:1".parse().unwrap() };
        Relay::new(7, client, carrier, RelayProtocol::Udp)
    }

    #[test]
    fn few_datagrams_wait_for_a_permission_and_those_of_a_refused_address_are_dropped() {
        let start = now();
        let mut relay = relay(start);
        let peer = |i: u8| SocketAddr::from(([203, 0, 113, i], 9));
        relay.permit(start, peer(1), &[0; MAX_WAITING_SIZE + 1]);
        relay.permit(start, "0.0.0.0:0".parse().unwrap(), &[0; 10]);
        assert!(relay.waiting.is_empty());
        for i in 0..=MAX_WAITING as u8 {
            relay.permit(start, peer(i), &[i]);
        }
        assert_eq!(relay.waiting.len(), MAX_WAITING);
        assert!(relay.permitted(start, peer(0).ip(), true).is_empty(), "the oldest has made room");
        assert_eq!(relay.permitted(start, peer(1).ip(), true), [(peer(1), vec![1])]);
        assert!(relay.permitted(start, peer(2).ip(), false).is_empty());
        let waiting = relay.waiting.len();
        relay.permit(start, peer(2), &[2]);
        assert_eq!(relay.waiting.len(), waiting, "refused a moment ago");
        relay.permit(start + ASK_AGAIN, peer(2), &[2]);
        assert_eq!(relay.waiting.len(), waiting + 1);
        for i in 0..=u8::MAX {
            relay.permitted(start, peer(i).ip(), false);
        }
        assert_eq!((relay.refused.len(), relay.waiting.len()), (MAX_REFUSED, 0));
    }

    #[test]
    fn a_channel_is_asked_for_once_and_given_up_with_its_peer() {
        let start = now();
        let mut relay = relay(start);
        let peer = |i: u16| SocketAddr::from(([203, 0, 113, 1], i));
        for i in 1..=5 {
            relay.want_channel(start, peer(i));
            relay.want_channel(start, peer(i));
        }
        assert_eq!(relay.asked.len(), 5, "two of them can't have one");
        relay.release_peer(start, peer(1), false);
        relay.release_peer(start, peer(1), true);
        assert!(!relay.asked.contains(&peer(1)));
        relay.want_channel(start, peer(6));
        assert!(
            relay.client.bind_channel(start, peer(6)).is_ok(),
            "its number is free: nobody else knew of it"
        );
        for i in 0..=u16::MAX {
            relay.want_channel(start, peer(i));
        }
        assert_eq!(relay.asked.len(), MAX_ASKED);
    }
}
