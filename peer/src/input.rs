//! A datagram in: what it is, whether it may come in, and which layer gets it.
//!
//! DTLS is accepted from pairs that ICE has validated only (RFC 8445 §12, and the ClientHello race it prevents); after the handshake,
//! when each record proves itself, also from where the peer has sent an authenticated check. A
//! ClientHello may overtake our own check's response, or the answer's signalling; so a few datagrams are kept until
//! their pair is validated, instead of costing the peer a retransmission timeout.

use std::time::Instant;

use sinnet_ice::Path;

use crate::demux::{Kind, classify};
use crate::peer::Peer;
use crate::tap::Direction;

/// DTLS datagrams kept while their path is not validated yet; the oldest goes first.
pub const EARLY_DATAGRAMS: usize = 4;

/// No handshake datagram is larger; anything larger is not kept.
const EARLY_SIZE: usize = 1500;

#[derive(Default)]
pub(crate) struct Early {
    datagrams: Vec<(Path, Vec<u8>)>,
}

impl Early {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.datagrams.len()
    }

    fn keep(&mut self, path: Path, datagram: &[u8]) -> bool {
        if datagram.len() > EARLY_SIZE {
            return false;
        }
        if self.datagrams.len() == EARLY_DATAGRAMS {
            self.datagrams.remove(0);
        }
        self.datagrams.push((path, datagram.to_vec()));
        true
    }
}

impl Peer {
    /// Takes a datagram that arrived on `path`, and decrypts it where it lies. Returns whether it belonged to this
    /// connection; a datagram that did not is counted and otherwise without effect.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, datagram: &mut [u8]) -> bool {
        self.now = now;
        self.counters.datagrams_received += 1;
        if self.tap.is_some() {
            return self.with_tap(path, datagram, |peer, datagram| peer.take_datagram(now, path, datagram));
        }
        self.take_datagram(now, path, datagram)
    }

    fn take_datagram(&mut self, now: Instant, path: Path, datagram: &mut [u8]) -> bool {
        if self.has_ended() {
            self.counters.dropped_after_close += 1;
            return false;
        }
        match classify(datagram) {
            Kind::Stun => self.ice.handle_input(now, path, datagram),
            Kind::Dtls => self.handle_dtls(now, path, datagram),
            Kind::Other => {
                self.counters.dropped_unknown_protocol += 1;
                false
            }
        }
    }

    fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &mut [u8]) -> bool {
        let validated = self.ice.is_validated(path);
        match &mut self.transport {
            Some(transport) if validated || transport.dtls.is_connected() && self.ice.has_heard(path) => {
                self.traffic.received(now, path, datagram.len());
                let (sctp, tap) = (&mut transport.sctp, &mut self.tap);
                // Only what DTLS has opened is surely of the peer.
                let mut opened = false;
                // An error is told by an event as well.
                let _ = transport.dtls.handle_input(now, datagram, |packet| {
                    opened = true;
                    if let Some(tap) = tap {
                        tap.sctp_packet(now, Direction::Received, path, packet);
                    }
                    sctp.handle_input(now, packet);
                });
                if opened {
                    self.ice.note_data(now, path);
                }
                true
            }
            Some(transport) if transport.dtls.is_connected() => {
                self.counters.dropped_unvalidated += 1;
                false
            }
            _ => {
                if !self.early.keep(path, datagram) {
                    self.counters.dropped_unvalidated += 1;
                }
                false
            }
        }
    }

    /// Gives the kept datagrams of validated pairs to DTLS, in the order in which they came.
    pub(crate) fn replay_early(&mut self) {
        if self.early.datagrams.is_empty() {
            return;
        }
        let Some(transport) = &self.transport else { return };
        if transport.dtls.is_connected() {
            // They were another's, or come too late to be of use.
            self.early.datagrams = Vec::new();
            return;
        }
        let kept = std::mem::take(&mut self.early.datagrams);
        for (path, mut datagram) in kept {
            if self.ice.is_validated(path) {
                self.handle_dtls(self.now, path, &mut datagram);
            } else {
                self.early.datagrams.push((path, datagram));
            }
        }
    }
}
