//! How many answers a source gets that has shown no credentials: requests with a forged source address must not make the
//! server flood that address. A table of fixed size, so that a flood leaves no state either.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ring::hmac;

/// Sources share a bucket by chance; with so many, an attack on one address starves few others.
const BUCKETS: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    at: Instant,
}

/// Token buckets by a keyed hash of the source's address; of IPv6 the first 64 bits.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    key: hmac::Key,
    per_second: u32,
    buckets: Vec<Bucket>,
}

impl Throttle {
    /// One second's worth can come at once.
    pub(crate) fn new(secret: [u8; 32], per_second: u32, now: Instant) -> Self {
        let full = Bucket { tokens: per_second, at: now };
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), per_second, buckets: vec![full; BUCKETS] }
    }

    /// Whether one more answer may go there.
    pub(crate) fn allows(&mut self, now: Instant, source: SocketAddr) -> bool {
        let mut id = [0; 8];
        match source.ip() {
            IpAddr::V4(ip) => id.iter_mut().zip(ip.octets()).for_each(|(to, byte)| *to = byte),
            IpAddr::V6(ip) => id.iter_mut().zip(ip.octets()).for_each(|(to, byte)| *to = byte),
        }
        let tag = hmac::sign(&self.key, &id);
        let index = tag.as_ref().iter().take(2).fold(0, |n, byte| n << 8 | usize::from(*byte)) % BUCKETS;
        let per_second = self.per_second;
        let Some(bucket) = self.buckets.get_mut(index) else { return false };
        let elapsed = now.saturating_duration_since(bucket.at).as_millis();
        let refill = u32::try_from(elapsed * u128::from(per_second) / 1000).unwrap_or(u32::MAX);
        if refill > 0 {
            bucket.tokens = bucket.tokens.saturating_add(refill).min(per_second);
            bucket.at = now;
        }
        let allowed = bucket.tokens > 0;
        bucket.tokens -= u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "one base instant for virtual time")]
    fn a_source_gets_its_share_and_others_theirs() {
        let now = Instant::now();
        let mut throttle = Throttle::new([1; 32], 10, now);
        let victim: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let answered =
            (0..1000u16).filter(|port| throttle.allows(now, SocketAddr::new(victim.ip(), *port))).count();
        assert_eq!(answered, 10, "whatever the port");
        let others = (1..=250u8).filter(|n| throttle.allows(now, ([198, 51, 100, *n], 1).into())).count();
        assert!(others >= 248, "{others}");
        let mut later = 0;
        for ms in 1..=2000 {
            later += u32::from(throttle.allows(now + Duration::from_millis(ms), victim));
        }
        assert!((19..=21).contains(&later), "{later} in two seconds");
        let mut none = Throttle::new([1; 32], 0, now);
        assert!(!none.allows(now + Duration::from_secs(9), victim));
    }
}
