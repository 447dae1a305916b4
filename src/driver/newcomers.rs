//! Requests with ufrags that no connection has: which of them are shown to the application.
//!
//! A flood of them leaves nothing behind: what was queued lately is known by a table of fixed size, places are limited in all and
//! by host, and nothing is allocated before a request has proven its password and has a place.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sinnet_peer::{BindingRequest, Credentials, Path};

use crate::incoming::{Request, UnknownPeer};
use crate::shared::EndpointShared;

/// Requests that are known to have been queued. Of two that fall on one slot the later stays.
const SLOTS: usize = 1024;

/// How long they are. A peer repeats its checks many times a second.
const REPEATED_WITHIN: Duration = Duration::from_secs(2);

/// A check has at most 352 bytes here and not many more elsewhere.
const MAX_REQUEST: usize = 1200;

#[derive(Default)]
pub(super) struct Queued {
    /// Made with the first request.
    slots: Box<[Option<(u64, Instant)>]>,
    hasher: RandomState,
}

impl Queued {
    fn hash(&self, remote: SocketAddr, local_ufrag: &str) -> u64 {
        self.hasher.hash_one((remote, local_ufrag))
    }

    fn is_repeated(&self, now: Instant, hash: u64) -> bool {
        let slot = self.slots.get(hash as usize % SLOTS).copied().flatten();
        slot.is_some_and(|(known, at)| known == hash && now.saturating_duration_since(at) < REPEATED_WITHIN)
    }

    fn note(&mut self, now: Instant, hash: u64) {
        if self.slots.is_empty() {
            self.slots = vec![None; SLOTS].into();
        }
        if let Some(slot) = self.slots.get_mut(hash as usize % SLOTS) {
            *slot = Some((hash, now));
        }
    }

    /// A datagram that belongs to no connection. Returns whether the application is shown who sent it.
    pub(super) fn consider(
        &mut self,
        shared: &EndpointShared,
        now: Instant,
        path: Path,
        datagram: &[u8],
    ) -> bool {
        let Some(config) = &shared.config.incoming else { return false };
        if datagram.len() > MAX_REQUEST {
            return false;
        }
        let Some(request) = BindingRequest::parse(datagram) else { return false };
        let newcomers = &shared.newcomers;
        let hash = self.hash(path.remote, request.local_ufrag);
        if self.is_repeated(now, hash) {
            newcomers.lock().stats.repeated += 1;
            return true;
        }
        let unknown = UnknownPeer {
            local_ufrag: request.local_ufrag,
            remote_ufrag: request.remote_ufrag,
            local_addr: path.local,
            remote_addr: path.remote,
        };
        let Some(pwd) = (config.password)(&unknown) else {
            newcomers.lock().stats.ignored += 1;
            return false;
        };
        let Some(place) = newcomers.place(config, path.remote.ip()) else { return false };
        if !request.is_authentic(&pwd) {
            drop(place);
            newcomers.lock().stats.bad_integrity += 1;
            tracing::debug!(remote = %path.remote, "first request with a wrong or missing MESSAGE-INTEGRITY");
            return false;
        }
        self.note(now, hash);
        let local = Credentials { ufrag: request.local_ufrag.to_owned(), pwd: pwd.into_owned() };
        let remote_ufrag = request.remote_ufrag.to_owned();
        let datagram = datagram.to_vec();
        newcomers.push(Request { path, local, remote_ufrag, datagram, at: now, place });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::now;

    #[test]
    fn what_was_queued_is_known_for_a_while_and_the_table_does_not_grow() {
        let mut queued = Queued::default();
        let start = now();
        let from = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let hash = queued.hash(from(1), "ufrag");
        assert!(!queued.is_repeated(start, hash));
        queued.note(start, hash);
        assert!(queued.is_repeated(start, hash));
        assert!(!queued.is_repeated(start, queued.hash(from(2), "ufrag")), "another address");
        assert!(!queued.is_repeated(start, queued.hash(from(1), "other")), "another ufrag");
        assert!(!queued.is_repeated(start + REPEATED_WITHIN, hash));
        for port in 2..u16::MAX {
            queued.note(start, queued.hash(from(port), "ufrag"));
        }
        assert_eq!(queued.slots.len(), SLOTS);
    }
}
