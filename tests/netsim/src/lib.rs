//! A virtual network in virtual time.
//!
//! A [`Net`] carries datagrams between addresses over links with delay, jitter, a rate and a queue, loss, reordering,
//! duplication and corruption ([`LinkConfig`]). Nothing in here waits or reads a clock: a test hands in `now`, asks when
//! something will arrive ([`Net::next_arrival`]) and goes there at once. All chance comes from one seed, and every link
//! has its own stream of it: the same seed and the same calls give the same trace, and what happens on one link does
//! not depend on the traffic of another. The generator is xoshiro256++ by name, so a seed means the same next year.
//!
//! Datagrams are bytes, or anything else that has a size ([`Payload`]).
//!
//! ```
//! # #![expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
//! use std::time::{Duration, Instant};
//! use sinnet_netsim::{LinkConfig, Loss, Net, seed};
//!
//! let start = Instant::now();
//! let mut net = Net::new(seed(7), start);
//! net.set_default_link(LinkConfig {
//!     delay: Duration::from_millis(20),
//!     rate: Some(1_000_000),
//!     queue: 10_000,
//!     loss: Loss::Bernoulli(0.1),
//!     ..LinkConfig::default()
//! });
//! let (a, z) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
//! for _ in 0..10 {
//!     net.send(start, a, z, vec![0; 972]);
//! }
//! let mut now = start;
//! let mut received = 0;
//! while let Some(at) = net.next_arrival() {
//!     now = at;
//!     while let Some(datagram) = net.recv(now) {
//!         assert_eq!(datagram.dst, z);
//!         received += 1;
//!     }
//! }
//! let stats = net.stats(a.ip(), z.ip());
//! assert_eq!(received + stats.lost, 10);
//! // 1000 bytes with headers take 8 ms each on this link.
//! assert!(now <= start + Duration::from_millis(20 + 10 * 8));
//! ```
//!
//! Addresses may be behind translators ([`NatConfig`]), which may be behind each other, and reach each other through a [`RelayServer`].
//!
//! There is no limit on what is in flight on a link without a rate: a test sends what it sends.
#![forbid(unsafe_code)]

mod link;
mod nat;
mod net;
mod payload;
mod relay;

pub use link::{HEADERS, LinkConfig, LinkStats, Loss};
pub use nat::{Dependence, NatConfig, NatStats};
pub use net::{Datagram, Net};
pub use payload::Payload;
pub use relay::{RelayClient, RelayServer};

/// The seed to use: `SINNET_SEED` from the environment (decimal, or hex after `0x`), else `default`. It is printed, so
/// that the test runner shows it with a failure.
///
/// # Panics
///
/// If `SINNET_SEED` is set and is no such number.
pub fn seed(default: u64) -> u64 {
    let seed = match std::env::var("SINNET_SEED") {
        Ok(text) => parse_seed(&text).unwrap_or_else(|| panic!("SINNET_SEED={text} is not a 64-bit number")),
        Err(_) => default,
    };
    println!("SINNET_SEED={seed:#x}");
    seed
}

fn parse_seed(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_in_decimal_and_hex_as_printed() {
        assert_eq!(parse_seed("17"), Some(17));
        assert_eq!(parse_seed(&format!("{:#x}", u64::MAX)), Some(u64::MAX));
        for bad in ["", "x", "0x", "-1", "18446744073709551616"] {
            assert_eq!(parse_seed(bad), None, "{bad}");
        }
    }
}
