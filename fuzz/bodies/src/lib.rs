//! What the fuzz targets do with their input.
//!
//! Each function takes any bytes and must return: no panic, no endless loop. Beyond that each one checks what must hold
//! whatever came in: what was parsed is written back and parses to the same, a layer that was handed garbage still keeps
//! its timers in order and delivers nothing that was not authenticated.
//!
//! The targets of the parent package call these under libFuzzer, which needs nightly; on stable, the tests of the stack
//! replay `fuzz/corpus/<name>/*` through [`TARGETS`].
#![forbid(unsafe_code)]

mod dtls;
mod ice;
mod sctp;
mod stun;
mod text;
mod turn;

pub use dtls::{dtls_handshake, dtls_near_valid, dtls_session};
pub use ice::ice_agent;
pub use sctp::sctp_packet;
pub use stun::stun_message;
pub use text::{dcep_message, ice_candidate_text, sdp_session};
pub use turn::{turn_client, turn_server, turn_uri};

use std::time::Instant;

/// A target: its name, which is that of its folder of seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("dcep_message", dcep_message),
    ("dtls_handshake", dtls_handshake),
    ("dtls_near_valid", dtls_near_valid),
    ("dtls_session", dtls_session),
    ("ice_agent", ice_agent),
    ("ice_candidate_text", ice_candidate_text),
    ("sctp_packet", sctp_packet),
    ("sdp_session", sdp_session),
    ("stun_message", stun_message),
    ("turn_client", turn_client),
    ("turn_server", turn_server),
    ("turn_uri", turn_uri),
];

/// More than any layer may send, or report, for one datagram that it is given.
const MANY: usize = 10_000;

/// Cuts an input into datagrams: two bytes of length, then as many bytes or what is left.
fn datagrams(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&[high, low], rest) = data.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (datagram, rest) = rest.split_at(length);
        data = rest;
        Some(datagram)
    })
}

/// The instant at which every run begins.
#[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
fn start() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// A deadline that was met must be gone: else its owner's loop never sleeps again.
fn check_deadline(layer: &str, now: Instant, next: Option<Instant>) {
    assert!(next.is_none_or(|next| next > now), "{layer}: the deadline is left in place by handle_timeout");
}
