//! DTLS: one end that a stranger talks to, one end without security that nearly its peer talks to, and two such ends with
//! a script of what they do and what becomes of their datagrams.

mod handshake;
mod near_valid;
mod session;

pub use handshake::dtls_handshake;
pub use near_valid::dtls_near_valid;
pub use session::dtls_session;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sinnet_dtls::{Certificate, Connection, Event};

use crate::MANY;

/// The identity of both ends: always the same, so that an input always does the same.
fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE
        .get_or_init(|| {
            let (certificate, key) =
                (include_str!("../../identity/certificate.pem"), include_str!("../../identity/key.pem"));
            Arc::new(Certificate::from_pem(certificate, key).expect("a good identity"))
        })
        .clone()
}

/// What must hold of everything that an end says, to the network and to its owner.
#[derive(Default)]
struct Watch {
    /// The least number that the next record of each epoch may have.
    next: [u64; 2],
    /// `Event::Connected` was told.
    connected: bool,
    /// The last event was told.
    ended: bool,
}

impl Watch {
    /// Takes one datagram.
    fn send(&mut self, connection: &mut Connection, now: Instant, room: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; room];
        let len = connection.poll_transmit(now, &mut out)?;
        assert!(len > 0 && len <= room, "a datagram of {len} bytes in a room of {room}");
        out.truncate(len);
        self.check(&out);
        Some(out)
    }

    /// Takes all of them.
    fn send_all(&mut self, connection: &mut Connection, now: Instant) -> Vec<Vec<u8>> {
        let all: Vec<_> = std::iter::from_fn(|| self.send(connection, now, 1200)).take(MANY).collect();
        assert!(all.len() < MANY, "datagrams without end");
        all
    }

    /// A datagram of ours is whole records, and no number comes twice in an epoch.
    fn check(&mut self, mut datagram: &[u8]) {
        while !datagram.is_empty() {
            let (header, rest) = datagram.split_first_chunk::<13>().expect("a whole header");
            let &[_, _, _, 0, epoch, s0, s1, s2, s3, s4, s5, l0, l1] = header else {
                panic!("epoch above 255")
            };
            let number = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
            let next = self.next.get_mut(usize::from(epoch)).expect("epoch 0 or 1");
            assert!(number >= *next, "record number {number} of epoch {epoch} comes again");
            *next = number + 1;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            datagram = rest.get(length..).expect("a whole record");
        }
    }

    /// At most one `Connected`, then at most one other, then none.
    fn events(&mut self, connection: &mut Connection) {
        while let Some(event) = connection.poll_event() {
            assert!(!self.ended, "{event:?} after the end");
            match event {
                Event::Connected => {
                    assert!(!self.connected, "connected twice");
                    self.connected = true;
                }
                Event::Closed | Event::Failed(_) => self.ended = true,
                other => panic!("an event that this target does not know: {other:?}"),
            }
        }
        // (Not the other way round: `Closed` is told when close_notify is on its way.)
        let open = self.connected && !self.ended;
        assert!(open || !connection.is_connected(), "connected, and the events say otherwise");
    }
}
