//! DTLS 1.2 of ours beside dimpl and OpenSSL, which is the system's.
//!
//! Handshake: both ends, certificates of ECDSA P-256 made beforehand and verified on both sides, X25519, AES-128-GCM.
//! Record: 1200 bytes sealed by one end and opened by the other.

mod dimpl_pair;
mod openssl_pair;
mod ours;
mod ring_only;

use std::time::Instant;

use crate::contest::contest;

/// Handshakes of one turn, a tenth of a second or more.
const HANDSHAKES: u32 = 300;
/// Records of one turn.
const RECORDS: u32 = 300_000;

/// Both tables.
pub fn run() {
    let now = Instant::now();
    let ours = ours::Fixture::new();
    let dimpl = dimpl_pair::Fixture::new();
    let openssl = openssl_pair::Fixture::new();
    contest(
        "full handshake, both ends",
        HANDSHAKES,
        vec![
            ("sinnet-dtls", Box::new(|n| (0..n).for_each(|_| drop(ours.connect(now))))),
            ("dimpl", Box::new(|n| (0..n).for_each(|_| drop(dimpl.connect(now))))),
            ("openssl", Box::new(|n| (0..n).for_each(|_| drop(openssl.connect())))),
        ],
    );
    let mut our_records = ours::Records::new(&ours, now);
    let mut dimpl_records = dimpl_pair::Records::new(&dimpl, now);
    let mut bare = ring_only::Records::new();
    contest(
        "seal and open a record of 1200 bytes",
        RECORDS,
        vec![
            ("ring alone", Box::new(move |n| (0..n).for_each(|_| bare.turn()))),
            ("sinnet-dtls", Box::new(move |n| (0..n).for_each(|_| our_records.turn(now)))),
            ("dimpl", Box::new(move |n| (0..n).for_each(|_| dimpl_records.turn()))),
        ],
    );
}

/// So many handshakes of one, for a profiler.
pub fn only(name: &str, count: u32) {
    let now = Instant::now();
    match name {
        "sinnet-dtls" => {
            let ours = ours::Fixture::new();
            (0..count).for_each(|_| drop(ours.connect(now)));
        }
        "dimpl" => {
            let dimpl = dimpl_pair::Fixture::new();
            (0..count).for_each(|_| drop(dimpl.connect(now)));
        }
        _ => {
            let openssl = openssl_pair::Fixture::new();
            (0..count).for_each(|_| drop(openssl.connect()));
        }
    }
}
