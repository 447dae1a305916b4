//! Tests across files, through the public API.

mod ages;
mod attacks;
mod channels;
mod fixtures;
mod mlines;
mod orders;

use crate::{Fingerprint, LocalTransport};

/// A transport like that of a peer, told apart by its letter.
pub(crate) fn transport(letter: char) -> LocalTransport {
    LocalTransport {
        ufrag: letter.to_string().repeat(8),
        pwd: letter.to_string().repeat(24),
        fingerprints: vec![Fingerprint { algorithm: "sha-256".to_owned(), digest: vec![letter as u8; 32] }],
        sctp_port: 5000,
        ice_lite: false,
        max_message_size: 262_144,
        candidates: vec![format!("candidate:1 1 UDP 2122252543 10.0.0.{} 4000 typ host", letter as u32)],
        end_of_candidates: false,
    }
}
