//! A relay for tests of what runs over one: an address that others reach a client by, through a server. It has TURN's round trips and
//! permissions, and none of its messages.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::{Datagram, Net};

/// First bytes: what is asked of the server, what it has given, and data either way with the other end in front. No packet of STUN or
/// DTLS begins so.
const ASK: u8 = 0xf0;
const GIVEN: u8 = 0xf1;
const DATA: u8 = 0xf2;

const PREFIX: usize = 7;

/// The server.
#[derive(Debug)]
pub struct RelayServer {
    /// Where clients reach it.
    pub addrs: Vec<SocketAddr>,
    /// The clients, as the server sees them, and where, by the relayed address.
    clients: BTreeMap<SocketAddr, (SocketAddr, SocketAddr)>,
    relayed: BTreeMap<(SocketAddr, SocketAddr), SocketAddr>,
    /// Whom a client has sent to.
    permitted: BTreeSet<(SocketAddr, IpAddr)>,
    next_port: u16,
}

fn put(kind: u8, addr: SocketAddr, rest: &[u8]) -> Vec<u8> {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => [0; 4],
    };
    let mut out = vec![kind];
    out.extend_from_slice(&ip);
    out.extend_from_slice(&addr.port().to_be_bytes());
    out.extend_from_slice(rest);
    out
}

fn get(payload: &[u8]) -> Option<(u8, SocketAddr, &[u8])> {
    let (&[kind, a, b, c, d, high, low], rest) = payload.split_first_chunk::<PREFIX>()?;
    Some((kind, SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])), rest))
}

impl RelayServer {
    /// A server that listens on these addresses, of IPv4. Relayed addresses are of the first one's host.
    pub fn new(addrs: Vec<SocketAddr>) -> Self {
        Self {
            addrs,
            clients: BTreeMap::new(),
            relayed: BTreeMap::new(),
            permitted: BTreeSet::new(),
            next_port: 49_152,
        }
    }

    /// Takes a datagram that has arrived. False if it isn't for the server or one of its relayed addresses.
    pub fn handle(&mut self, now: Instant, net: &mut Net, datagram: &Datagram) -> bool {
        let Datagram { src, dst, payload } = datagram;
        if let Some((client, server)) = self.clients.get(dst) {
            if self.permitted.contains(&(*dst, src.ip())) {
                net.send(now, *server, *client, put(DATA, *src, payload));
            }
            return true;
        }
        if !self.addrs.contains(dst) {
            return false;
        }
        match get(payload) {
            // The address asked with is how many round trips are left.
            Some((ASK, left, _)) if left.port() > 0 => {
                net.send(now, *dst, *src, put(GIVEN, SocketAddr::new(left.ip(), left.port() - 1), &[]));
            }
            Some((ASK, _, _)) => {
                let relayed = *self.relayed.entry((*src, *dst)).or_insert_with(|| {
                    self.next_port += 1;
                    SocketAddr::new(self.addrs[0].ip(), self.next_port)
                });
                self.clients.insert(relayed, (*src, *dst));
                net.send(now, *dst, *src, put(GIVEN, relayed, &put(0, *src, &[])));
            }
            Some((DATA, peer, data)) => {
                if let Some(relayed) = self.relayed.get(&(*src, *dst)).copied() {
                    self.permitted.insert((relayed, peer.ip()));
                    // Its own clients reach each other without the network.
                    let inner = Datagram { src: relayed, dst: peer, payload: data.to_vec() };
                    if !(self.clients.contains_key(&peer) && self.handle(now, net, &inner)) {
                        net.send(now, relayed, peer, inner.payload);
                    }
                }
            }
            _ => {}
        }
        true
    }
}

/// A client of a [`RelayServer`].
#[derive(Debug)]
pub struct RelayClient {
    local: SocketAddr,
    server: SocketAddr,
    left: u16,
    asked: Option<Instant>,
    /// The relayed address, and how the server sees us.
    pub given: Option<(SocketAddr, SocketAddr)>,
}

/// Time after which it asks again.
const AGAIN: Duration = Duration::from_millis(200);

impl RelayClient {
    /// A client on that socket. It has its address after so many round trips: two as in TURN over UDP, three over TCP.
    pub fn new(local: SocketAddr, server: SocketAddr, round_trips: u16) -> Self {
        Self { local, server, left: round_trips.saturating_sub(1), asked: None, given: None }
    }

    /// When [`RelayClient::ask`] has something to do; at once if it has never asked.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.given.is_none().then(|| self.asked.map_or(now, |at| at + AGAIN))
    }

    /// Asks, if it is time.
    pub fn ask(&mut self, now: Instant, net: &mut Net) {
        if self.due(now).is_some_and(|at| at <= now) {
            self.asked = Some(now);
            let left = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.left);
            net.send(now, self.local, self.server, put(ASK, left, &[]));
        }
    }

    /// Sends to a peer through the relay.
    pub fn send(&self, now: Instant, net: &mut Net, peer: SocketAddr, payload: &[u8]) {
        net.send(now, self.local, self.server, put(DATA, peer, payload));
    }

    /// Takes what the server has sent: a datagram of a peer, and who that is. `None` for what says where we are, or isn't the server's.
    pub fn take(&mut self, datagram: &Datagram) -> Option<(SocketAddr, Vec<u8>)> {
        if datagram.src != self.server || datagram.dst != self.local {
            return None;
        }
        match get(&datagram.payload)? {
            (DATA, peer, data) => return Some((peer, data.to_vec())),
            (GIVEN, relayed, rest) => match get(rest) {
                Some((_, mapped, _)) => self.given = Some((relayed, mapped)),
                None if relayed.port() < self.left => {
                    self.left = relayed.port();
                    self.asked = None;
                }
                None => {}
            },
            _ => {}
        }
        None
    }

    /// Whether the datagram is of its server.
    pub fn owns(&self, datagram: &Datagram) -> bool {
        datagram.src == self.server && datagram.dst == self.local
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "one base instant a test; all others are computed from it"
    )]

    use super::*;

    #[test]
    fn two_clients_talk_through_a_relay_once_both_have_permitted_it() {
        let start = Instant::now();
        let mut net = Net::new(1, start);
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mut server = RelayServer::new(vec![addr("198.51.100.7:3478")]);
        let mut clients = [("10.0.0.1:1", 2), ("10.0.0.2:2", 3)]
            .map(|(local, trips)| RelayClient::new(addr(local), server.addrs[0], trips));
        let run = |net: &mut Net, server: &mut RelayServer, clients: &mut [RelayClient; 2]| {
            let mut heard = Vec::new();
            loop {
                clients.iter_mut().for_each(|client| client.ask(start, net));
                let Some(datagram) = net.recv(start) else { break };
                if !server.handle(start, net, &datagram) {
                    heard.extend(clients.iter_mut().find_map(|client| client.take(&datagram)));
                }
            }
            heard
        };
        run(&mut net, &mut server, &mut clients);
        let [a, b] = [0, 1].map(|at| clients[at].given.unwrap());
        assert_eq!((a.1, b.1), (addr("10.0.0.1:1"), addr("10.0.0.2:2")));
        assert_ne!(a.0, b.0);
        clients[0].send(start, &mut net, b.0, b"one");
        assert_eq!(run(&mut net, &mut server, &mut clients), [], "B has sent nothing to A");
        clients[1].send(start, &mut net, a.0, b"two");
        assert_eq!(run(&mut net, &mut server, &mut clients), [(b.0, b"two".to_vec())]);
        clients[0].send(start, &mut net, b.0, b"three");
        assert_eq!(run(&mut net, &mut server, &mut clients), [(a.0, b"three".to_vec())]);
    }
}
