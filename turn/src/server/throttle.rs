//! How many answers a source gets that has shown no credentials: requests with a forged source address must not make the
//! server flood that address. A table of fixed size, so that a flood leaves no state either.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ring::hmac;

/// Sources share a bucket by chance; with so many, an attack on one address starves few others.
const BUCKETS: usize = 4096;
/// Nanoseconds in a second.
const NANOS: u64 = 1_000_000_000;

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

    /// Whether one more answer may go there. It is taken to go.
    pub(crate) fn allows(&mut self, now: Instant, source: SocketAddr) -> bool {
        let Some(bucket) = self.bucket(now, source) else { return false };
        let allowed = bucket.tokens > 0;
        bucket.tokens -= u32::from(allowed);
        allowed
    }

    /// Whether none may go there now.
    pub(crate) fn is_exhausted(&mut self, now: Instant, source: SocketAddr) -> bool {
        self.bucket(now, source).is_none_or(|bucket| bucket.tokens == 0)
    }

    /// The source's bucket as it is at `now`.
    fn bucket(&mut self, now: Instant, source: SocketAddr) -> Option<&mut Bucket> {
        let mut id = [0; 8];
        // A socket for both families shows IPv4 as ::ffff:a.b.c.d, whose first 64 bits are everybody's.
        match source.ip().to_canonical() {
            IpAddr::V4(ip) => id.iter_mut().zip(ip.octets()).for_each(|(to, byte)| *to = byte),
            IpAddr::V6(ip) => id.iter_mut().zip(ip.octets()).for_each(|(to, byte)| *to = byte),
        }
        let tag = hmac::sign(&self.key, &id);
        let index = tag.as_ref().iter().take(2).fold(0, |n, byte| n << 8 | usize::from(*byte)) % BUCKETS;
        let per_second = self.per_second;
        let bucket = self.buckets.get_mut(index)?;
        let elapsed = now.saturating_duration_since(bucket.at);
        if elapsed >= Duration::from_secs(1) {
            *bucket = Bucket { tokens: per_second, at: now };
        } else if per_second > 0 {
            // Less than a second's worth. What is left of the time towards the next token is kept.
            let refill = u64::from(elapsed.subsec_nanos()) * u64::from(per_second) / NANOS;
            let worth = Duration::from_nanos((refill * NANOS).div_ceil(u64::from(per_second)));
            let refill = u32::try_from(refill).unwrap_or(per_second);
            bucket.tokens = bucket.tokens.saturating_add(refill).min(per_second);
            bucket.at += worth.min(elapsed);
        }
        Some(bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    #[expect(clippy::disallowed_methods, reason = "one base instant for virtual time")]
    fn ipv4_addresses_do_not_share_a_bucket_on_a_socket_for_both_families() {
        let now = Instant::now();
        let mut throttle = Throttle::new([1; 32], 10, now);
        let flooding: SocketAddr = "[::ffff:192.0.2.1]:1".parse().unwrap();
        assert_eq!((0..1000).filter(|_| throttle.allows(now, flooding)).count(), 10);
        assert!(throttle.is_exhausted(now, "192.0.2.1:1".parse().unwrap()), "the same host");
        let mapped = |n| SocketAddr::new(std::net::Ipv4Addr::new(198, 51, 100, n).to_ipv6_mapped().into(), 1);
        let others = (1..=250u8).filter(|n| throttle.allows(now, mapped(*n))).count();
        assert!(others >= 248, "{others}");
        let v6 =
            |host| SocketAddr::new(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into(), 1);
        assert_eq!(
            (0..100).filter(|host| throttle.allows(now, v6(*host))).count(),
            10,
            "a /64 is one source"
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "one base instant for virtual time")]
    fn the_rate_is_the_same_however_often_one_asks() {
        let now = Instant::now();
        let victim: SocketAddr = "192.0.2.1:1".parse().unwrap();
        for per_second in [1, 3, 7, 10, 50, 999] {
            for every in [1, 19, 30, 130] {
                let mut throttle = Throttle::new([1; 32], per_second, now);
                while throttle.allows(now, victim) {}
                let mut answered = 0;
                for ms in (every..=10_000).step_by(every as usize) {
                    let now = now + Duration::from_millis(ms);
                    while throttle.allows(now, victim) {
                        answered += 1;
                    }
                }
                let (most, least) = (10 * per_second, 10 * per_second - per_second - 1);
                assert!(
                    (least..=most).contains(&answered),
                    "{per_second}/s asked every {every} ms: {answered}"
                );
            }
        }
    }
}
