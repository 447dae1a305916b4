//! Which connection a datagram is for.
//!
//! A source address that a connection has sent to, or that has shown the connection's ufrag in a Binding request, is a
//! route to it. Several connections may claim one address until ICE and DTLS have sorted them out; each is asked.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::links::Link;

/// Claims on one address, so that a flood of ufrags from one address stays cheap; the oldest makes room. Refusing the
/// latest would let those who claim an address that isn't theirs keep its owner out.
const MAX_CLAIMS: usize = 8;

/// Routes of one connection; the oldest makes room. A peer that knows our password can send valid checks from any number
/// of addresses. A route that is in use comes back with the next datagram sent there.
const MAX_ROUTES: usize = 256;

/// A link and an address that is reached by it.
pub(super) type Remote = (Link, SocketAddr);

#[derive(Default)]
pub(crate) struct Routes {
    /// The connections that claim an address, the latest first.
    by_remote: HashMap<Remote, Vec<usize>>,
    /// What each connection claims, the oldest first.
    by_peer: HashMap<usize, VecDeque<Remote>>,
    by_ufrag: HashMap<String, usize>,
}

impl Routes {
    pub(crate) fn add_ufrag(&mut self, ufrag: &str, peer: usize) {
        self.by_ufrag.insert(ufrag.to_owned(), peer);
    }

    pub(crate) fn remove_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    pub(crate) fn of_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(crate) fn of_remote(&self, link: Link, remote: SocketAddr) -> &[usize] {
        self.by_remote.get(&(link, remote)).map_or(&[], Vec::as_slice)
    }

    /// Datagrams from `remote` are for this connection, too. Returns the route that has made room for this one.
    pub(crate) fn claim(&mut self, link: Link, remote: SocketAddr, peer: usize) -> Option<Remote> {
        let claims = self.by_remote.entry((link, remote)).or_default();
        if claims.contains(&peer) {
            return None;
        }
        claims.insert(0, peer);
        if claims.len() > MAX_CLAIMS
            && let Some(oldest) = claims.pop()
            && let Some(routes) = self.by_peer.get_mut(&oldest)
        {
            routes.retain(|route| *route != (link, remote));
        }
        let routes = self.by_peer.entry(peer).or_default();
        routes.push_back((link, remote));
        let oldest = if routes.len() > MAX_ROUTES { routes.pop_front() } else { None };
        if let Some(oldest) = oldest {
            self.release(oldest, peer);
        }
        oldest
    }

    /// A connection gives up what it claims of one host on a link. Returns what that was.
    pub(crate) fn give_up(&mut self, link: Link, ip: IpAddr, peer: usize) -> Vec<SocketAddr> {
        let Some(routes) = self.by_peer.get_mut(&peer) else { return Vec::new() };
        let of_host = |(by, remote): &Remote| *by == link && remote.ip() == ip;
        let gone: Vec<_> = routes.iter().copied().filter(of_host).collect();
        routes.retain(|route| !of_host(route));
        gone.iter().for_each(|route| self.release(*route, peer));
        gone.into_iter().map(|(_, remote)| remote).collect()
    }

    /// What a connection claims, the oldest first.
    pub(crate) fn of_peer(&self, peer: usize) -> impl Iterator<Item = Remote> + '_ {
        self.by_peer.get(&peer).into_iter().flatten().copied()
    }

    /// How many hosts a connection reaches by this link.
    pub(crate) fn ips_on(&self, link: Link, peer: usize) -> usize {
        self.of_peer(peer)
            .filter(|(by, _)| *by == link)
            .map(|(_, remote)| remote.ip())
            .collect::<HashSet<_>>()
            .len()
    }

    /// Whether anybody reaches this host by this link.
    pub(crate) fn reaches(&self, link: Link, ip: IpAddr) -> bool {
        self.by_remote.keys().any(|(by, remote)| *by == link && remote.ip() == ip)
    }

    /// A link is gone, with all that is reached by it.
    pub(crate) fn forget_link(&mut self, link: Link) {
        self.by_remote.retain(|(by, _), _| *by != link);
        self.by_peer.retain(|_, routes| {
            routes.retain(|(by, _)| *by != link);
            !routes.is_empty()
        });
    }

    /// The connection is gone.
    pub(crate) fn forget(&mut self, peer: usize) {
        for route in self.by_peer.remove(&peer).unwrap_or_default() {
            self.release(route, peer);
        }
    }

    /// Entries of all kinds.
    pub(crate) fn len(&self) -> usize {
        self.by_remote.len() + self.by_peer.len() + self.by_ufrag.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn release(&mut self, route: Remote, peer: usize) {
        if let Some(claims) = self.by_remote.get_mut(&route) {
            claims.retain(|claim| *claim != peer);
            if claims.is_empty() {
                self.by_remote.remove(&route);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Link = Link::Socket(0);

    #[test]
    fn the_latest_claim_is_asked_first_and_claims_are_limited() {
        let mut routes = Routes::default();
        let remote: SocketAddr = "127.0.0.1:1".parse().unwrap();
        for peer in 0..=MAX_CLAIMS {
            routes.claim(HERE, remote, peer);
            routes.claim(HERE, remote, peer);
        }
        let latest_first: Vec<_> = (1..=MAX_CLAIMS).rev().collect();
        assert_eq!(routes.of_remote(HERE, remote), latest_first, "each once, and the oldest has made room");
        routes.claim(HERE, remote, 0);
        assert_eq!(routes.of_remote(HERE, remote)[0], 0, "it comes back when it sends");
        assert!(routes.of_remote(Link::Socket(1), remote).is_empty(), "another link is another route");
        for peer in 0..=MAX_CLAIMS {
            routes.forget(peer);
        }
        assert!(routes.is_empty(), "nothing is kept");
    }

    #[test]
    fn a_link_that_goes_takes_its_routes_with_it() {
        let mut routes = Routes::default();
        let remote = |ip, port| SocketAddr::from(([10, 0, 0, ip], port));
        let relay = Link::Relay(3);
        for (ip, port) in [(1, 1), (1, 2), (2, 1)] {
            routes.claim(relay, remote(ip, port), 5);
        }
        routes.claim(HERE, remote(1, 1), 5);
        assert_eq!((routes.ips_on(relay, 5), routes.ips_on(HERE, 5), routes.ips_on(relay, 6)), (2, 1, 0));
        assert!(routes.reaches(relay, remote(2, 9).ip()) && !routes.reaches(HERE, remote(2, 9).ip()));
        routes.forget_link(relay);
        assert_eq!(routes.of_peer(5).collect::<Vec<_>>(), [(HERE, remote(1, 1))]);
        assert!(routes.of_remote(relay, remote(1, 1)).is_empty());
        routes.forget_link(HERE);
        assert!(routes.is_empty(), "nothing is kept");
    }

    #[test]
    fn a_peer_that_shows_itself_from_everywhere_keeps_a_limited_number_of_routes() {
        let mut routes = Routes::default();
        let remote = |port| SocketAddr::from(([10, 0, 0, 1], port));
        for port in 1..=u16::MAX {
            routes.claim(HERE, remote(port), 7);
        }
        assert_eq!(routes.by_remote.len(), MAX_ROUTES);
        assert!(routes.of_remote(HERE, remote(1)).is_empty());
        assert_eq!(routes.of_remote(HERE, remote(u16::MAX)), [7]);
        routes.claim(HERE, remote(1), 7);
        assert_eq!(routes.of_remote(HERE, remote(1)), [7], "used again, known again");
        routes.forget(7);
        assert!(routes.is_empty(), "nothing is kept");
    }
}
