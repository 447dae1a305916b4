//! Which connection a datagram is for.
//!
//! A source address that a connection has sent to, or that has shown the connection's ufrag in a Binding request, is a
//! route to it. Several connections may claim one address until ICE and DTLS have sorted them out; each is asked.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Claims on one address; more are refused, so that a flood of ufrags from one address stays cheap.
const MAX_CLAIMS: usize = 8;

#[derive(Default)]
pub(crate) struct Routes {
    /// (socket, remote address) → connections, the latest first.
    by_remote: HashMap<(usize, SocketAddr), Vec<usize>>,
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

    pub(crate) fn of_remote(&self, socket: usize, remote: SocketAddr) -> &[usize] {
        self.by_remote.get(&(socket, remote)).map_or(&[], Vec::as_slice)
    }

    /// Returns whether the route is new.
    pub(crate) fn claim(&mut self, socket: usize, remote: SocketAddr, peer: usize) -> bool {
        let claims = self.by_remote.entry((socket, remote)).or_default();
        if claims.contains(&peer) || claims.len() == MAX_CLAIMS {
            return false;
        }
        claims.insert(0, peer);
        true
    }

    pub(crate) fn release(&mut self, socket: usize, remote: SocketAddr, peer: usize) {
        if let Some(claims) = self.by_remote.get_mut(&(socket, remote)) {
            claims.retain(|claim| *claim != peer);
            if claims.is_empty() {
                self.by_remote.remove(&(socket, remote));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_claim_is_asked_first_and_claims_are_limited() {
        let mut routes = Routes::default();
        let remote: SocketAddr = "127.0.0.1:1".parse().unwrap();
        for peer in 0..MAX_CLAIMS {
            assert!(routes.claim(0, remote, peer));
            assert!(!routes.claim(0, remote, peer), "claimed already");
        }
        assert!(!routes.claim(0, remote, 99), "full");
        assert_eq!(routes.of_remote(0, remote)[0], MAX_CLAIMS - 1);
        assert!(routes.of_remote(1, remote).is_empty(), "another socket is another route");
        for peer in 0..MAX_CLAIMS {
            routes.release(0, remote, peer);
        }
        assert!(routes.by_remote.is_empty(), "nothing is kept");
    }
}
