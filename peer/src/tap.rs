//! Looking on: what goes over the wire, and what is in it.
//!
//! A [`Tap`] sees every datagram as it is on the wire, every SCTP packet in clear, and the DTLS secrets if it asks for
//! them. [`PcapTap`](crate::PcapTap) writes files of it. Without a tap a datagram costs one comparison.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sinnet_dtls::KeyLog;
use sinnet_ice::Path;

use crate::peer::Peer;

/// Which way a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// It came from the peer.
    Received,
    /// It goes to the peer.
    Sent,
}

/// Gets what passes through a [`Peer`], while it passes: it should be quick.
pub trait Tap: Send {
    /// A UDP payload. What was received is told before it is looked at, whoever it is from; what is sent when it is
    /// written, whatever becomes of it.
    fn datagram(&mut self, at: Instant, direction: Direction, path: Path, payload: &[u8]);

    /// An SCTP packet in clear, from its common header on. What was received is told after its datagram, what is sent
    /// before. A zero checksum is none (RFC 9653).
    fn sctp_packet(&mut self, at: Instant, direction: Direction, path: Path, packet: &[u8]);

    /// Whether to call [`Tap::secret`]. Asked once, with the descriptions.
    fn wants_secrets(&self) -> bool {
        false
    }

    /// A line of DTLS secrets in the NSS key log format, before the first datagram that it decrypts. **Whoever reads it
    /// reads the connection.**
    fn secret(&mut self, line: &str) {
        let _ = line;
    }
}

/// Lines on their way from DTLS to the tap. One a session; drained after each datagram of the handshake.
pub(crate) type Secrets = Arc<Mutex<Vec<String>>>;

impl Peer {
    /// Shows everything from now on to `tap`, in place of the one before, or to nobody. For the secrets it has to be set
    /// before the second description is.
    pub fn set_tap(&mut self, tap: Option<Box<dyn Tap>>) {
        self.tap = tap;
    }

    /// Where DTLS is to tell its secrets, and where the tap's are found then.
    pub(crate) fn key_log(&self) -> (Option<KeyLog>, Option<Secrets>) {
        if !self.tap.as_ref().is_some_and(|tap| tap.wants_secrets()) {
            return (self.config.key_log.clone(), None);
        }
        let secrets = Secrets::default();
        let (to_tap, config) = (secrets.clone(), self.config.clone());
        let key_log: KeyLog = Arc::new(move |line| {
            to_tap.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
            if let Some(key_log) = &config.key_log {
                key_log(line);
            }
        });
        (Some(key_log), Some(secrets))
    }

    /// Shows a datagram that has come in, and `handle` deals with it. Where it may bring the secrets that it is to be
    /// decrypted with, they are shown first.
    pub(crate) fn with_tap(
        &mut self,
        path: Path,
        datagram: &mut [u8],
        handle: impl FnOnce(&mut Self, &mut [u8]) -> bool,
    ) -> bool {
        if self.secrets.is_none() {
            self.show_datagram(Direction::Received, path, datagram);
            return handle(self, datagram);
        }
        let as_it_came = datagram.to_vec();
        let taken = handle(self, datagram);
        self.show_secrets();
        self.show_datagram(Direction::Received, path, &as_it_came);
        taken
    }

    fn show_secrets(&mut self) {
        let (Some(secrets), Some(tap)) = (&self.secrets, &mut self.tap) else { return };
        for line in secrets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            tap.secret(&line);
        }
        if self.transport.as_ref().is_none_or(|transport| transport.dtls.is_connected()) {
            // No more will come.
            self.secrets = None;
        }
    }

    fn show_datagram(&mut self, direction: Direction, path: Path, payload: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap.datagram(self.now, direction, path, payload);
        }
    }

    /// Shows a batch on its way out.
    pub(crate) fn show_batch(&mut self, path: Path, batch: &[u8], segment_size: Option<usize>) {
        if self.tap.is_none() {
            return;
        }
        // The handshake may have gone on without a datagram from the peer: by one that was kept.
        self.show_secrets();
        for segment in batch.chunks(segment_size.unwrap_or(batch.len()).max(1)) {
            self.show_datagram(Direction::Sent, path, segment);
        }
    }
}
