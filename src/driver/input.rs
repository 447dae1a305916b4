//! What has come in on a link finds its connection.

use std::ops::Range;
use std::time::Instant;

use sinnet_peer::{Path, binding_request_local_ufrag};

use super::Driver;
use super::links::Link;

impl Driver {
    /// Datagrams of one path, one after the other in `data`, each of `stride` bytes but for the last, which may be shorter.
    pub(super) fn deliver(&mut self, link: Link, now: Instant, path: Path, data: &mut [u8], stride: usize) {
        let len = data.len();
        let pieces = (0..len).step_by(stride.max(1)).map(|at| at..len.min(at + stride));
        self.deliver_each(link, now, path, data, pieces);
    }

    /// Datagrams of one path, which lie at `pieces` in `data`. Usually they are one connection's.
    pub(super) fn deliver_each(
        &mut self,
        link: Link,
        now: Instant,
        path: Path,
        data: &mut [u8],
        pieces: impl Iterator<Item = Range<usize>>,
    ) {
        self.patience.has_received(data.len());
        if let [peer] = *self.routes.of_remote(link, path.remote)
            && let Some(entry) = &mut self.peers[peer]
        {
            let share = self.queue_share.of(&mut entry.received, data.len());
            let shared = entry.shared.clone();
            let mut core = shared.lock();
            core.peer.set_receive_queue(share);
            let mut refused = Vec::new();
            for piece in pieces {
                let Some(datagram) = data.get_mut(piece.clone()) else { continue };
                if !core.peer.handle_datagram(now, path, datagram) {
                    refused.push(piece);
                }
            }
            drop(core);
            self.concern(peer);
            for piece in refused {
                if let Some(datagram) = data.get_mut(piece) {
                    self.receive_first(link, now, path, datagram);
                }
            }
            return;
        }
        for piece in pieces {
            if let Some(datagram) = data.get_mut(piece) {
                self.receive_contested(link, now, path, datagram);
            }
        }
    }

    /// A datagram from an address that several connections claim, or none.
    fn receive_contested(&mut self, link: Link, now: Instant, path: Path, datagram: &mut [u8]) {
        let claims = self.routes.of_remote(link, path.remote).to_vec();
        for peer in claims {
            let Some(Some(entry)) = self.peers.get(peer) else { continue };
            let taken = {
                let mut core = entry.shared.lock();
                // Shares are for those who have their address to themselves. It had one before, perhaps.
                core.peer.set_receive_queue(usize::MAX);
                core.peer.handle_datagram(now, path, datagram)
            };
            self.concern(peer);
            if taken {
                return;
            }
        }
        self.receive_first(link, now, path, datagram);
    }

    /// A datagram that no claimant took: a Binding request names its connection by ufrag, or a STUN server answers us.
    /// Anything else is dropped without a trace.
    fn receive_first(&mut self, link: Link, now: Instant, path: Path, datagram: &mut [u8]) {
        if self.gathering.handle_input(now, path, datagram) {
            return;
        }
        let Some(ufrag) = binding_request_local_ufrag(datagram) else { return };
        let Some(peer) = self.routes.of_ufrag(ufrag) else {
            // Nobody whom we haven't sent to comes through a relay.
            if !self.closing && matches!(link, Link::Socket(_)) {
                self.newcomers.consider(&self.shared, now, path, datagram);
            }
            return;
        };
        if self.routes.of_remote(link, path.remote).contains(&peer) {
            return;
        }
        let Some(Some(entry)) = self.peers.get_mut(peer) else { return };
        if entry.shared.relay_only && !matches!(link, Link::Relay(_)) {
            // An answer would show our address.
            return;
        }
        if entry.shared.lock().peer.handle_datagram(now, path, datagram) {
            self.claim(link, path.remote, peer, now);
            self.concern(peer);
        }
    }
}
