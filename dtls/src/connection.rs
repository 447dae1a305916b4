//! One end of a DTLS session.

use crate::config::{Config, Role};
use crate::error::{Error, SealError};
use crate::event::{Event, Negotiated};
use crate::fingerprint::Fingerprint;
use crate::stats::Stats;
use std::sync::Arc;
use std::time::Instant;

/// One end of a DTLS session, without I/O.
pub struct Connection {
    stats: Stats,
}

#[allow(clippy::needless_pass_by_value)]
impl Connection {
    /// A new end; a client's first flight is ready at once.
    pub fn new(
        config: Arc<Config>,
        role: Role,
        remote_fingerprints: Vec<Fingerprint>,
        now: Instant,
        seed: [u8; 32],
    ) -> Self {
        let _ = (config, role, remote_fingerprints, now, seed);
        Self { stats: Stats::default() }
    }

    /// A datagram of one or more records; application data goes to `deliver` once connected.
    pub fn handle_input(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        deliver: impl FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        let _ = (now, datagram, deliver);
        Ok(())
    }

    /// The clock reached the deadline of `poll_timeout`.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let _ = now;
        Ok(())
    }

    /// One handshake or alert datagram into `out`.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let _ = (now, out);
        None
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Whether data may flow.
    pub fn is_connected(&self) -> bool {
        false
    }

    /// Bytes in front of the plaintext in `seal`'s slot.
    pub fn header_len(&self) -> usize {
        21
    }

    /// Bytes behind the plaintext.
    pub fn tag_len(&self) -> usize {
        16
    }

    /// Seals the plaintext at `slot[header_len()..][..plaintext_len]`; the record's length.
    pub fn seal(&mut self, slot: &mut [u8], plaintext_len: usize) -> Result<usize, SealError> {
        let _ = (slot, plaintext_len);
        Err(SealError::NotConnected)
    }

    /// Queues close_notify.
    pub fn close(&mut self, now: Instant) {
        let _ = now;
    }

    /// The peer's certificate in DER.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        None
    }

    /// What was agreed.
    pub fn negotiated(&self) -> Option<Negotiated> {
        None
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}
