//! What each address has of the server, and how much it says.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::config::PerAddress;
use crate::hub::Address;
use crate::rate::Bucket;

/// Addresses that are remembered while they have no connection, for what they said before.
const MAX_REMEMBERED: usize = 65_536;

#[derive(Debug)]
struct Known {
    connections: usize,
    said: Bucket,
}

/// The addresses that a server knows.
#[derive(Debug)]
pub(super) struct Addresses {
    limits: PerAddress,
    known: Mutex<HashMap<Address, Known>>,
}

/// One connection's part of its address. Dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Guest {
    addresses: Arc<Addresses>,
    key: Address,
    loopback: bool,
}

impl Addresses {
    pub(super) fn new(limits: PerAddress) -> Self {
        Self { limits, known: Mutex::default() }
    }

    /// A connection, unless its address has too many.
    pub(super) fn enter(self: &Arc<Self>, now: Instant, address: IpAddr) -> Option<Guest> {
        let key = Address::from(address);
        let mut all = self.lock();
        let fresh = || Known { connections: 0, said: Bucket::full(now, self.limits.burst) };
        let known = all.entry(key).or_insert_with(fresh);
        if self.limits.connections > 0 && known.connections >= self.limits.connections {
            return None;
        }
        known.connections += 1;
        Some(Guest { addresses: self.clone(), key, loopback: address.to_canonical().is_loopback() })
    }

    /// Forgets those that have no connection and have been quiet. To be called now and then.
    pub(super) fn tidy(&self, now: Instant) {
        let PerAddress { per_second, burst, .. } = self.limits;
        let mut known = self.lock();
        known.retain(|_, known| {
            known.connections > 0 || per_second > 0 && !known.said.is_full(now, per_second, burst)
        });
        if known.len() > MAX_REMEMBERED {
            known.retain(|_, known| known.connections > 0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Who is to be held to what one address may have of groups and joins. Not programs of this machine, a reverse proxy among them, and nobody
    /// where addresses are not limited.
    pub(super) fn address(&self) -> Option<Address> {
        (self.addresses.limits.connections > 0 && !self.loopback).then_some(self.key)
    }

    /// Whether one more message or request may be taken from this address.
    pub(super) fn admit(&self, now: Instant) -> bool {
        let PerAddress { per_second, burst, .. } = self.addresses.limits;
        let mut known = self.addresses.lock();
        per_second == 0
            || known.get_mut(&self.key).is_some_and(|known| known.said.take(now, per_second, burst))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(known) = self.addresses.lock().get_mut(&self.key) {
            known.connections = known.connections.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
    fn base() -> Instant {
        Instant::now()
    }

    fn addresses(connections: usize) -> Arc<Addresses> {
        Arc::new(Addresses::new(PerAddress { connections, per_second: 10, burst: 20 }))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_places_come_back() {
        let all = addresses(2);
        let now = base();
        for (same, other) in [
            (["10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1"], "10.0.0.2"),
            (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:1"], "2001:db8:0:1::1"),
        ] {
            let first = all.enter(now, ip(same[0])).unwrap();
            let _second = all.enter(now, ip(same[1])).unwrap();
            assert!(all.enter(now, ip(same[2])).is_none());
            assert!(all.enter(now, ip(other)).is_some());
            drop(first);
            assert!(all.enter(now, ip(same[2])).is_some());
        }
        for (address, counts) in [
            ("10.0.0.9", true),
            ("2001:db8:9::1", true),
            ("127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(all.enter(now, ip(address)).unwrap().address().is_some(), counts, "{address}");
            assert_eq!(addresses(0).enter(now, ip(address)).unwrap().address(), None);
        }
        let unlimited = addresses(0);
        let many: Vec<_> = (0..1000).map_while(|_| unlimited.enter(now, ip("10.0.0.1"))).collect();
        assert_eq!(many.len(), 1000);
    }

    #[test]
    fn who_said_too_much_does_not_get_around_it_by_coming_again() {
        let all = addresses(0);
        let mut now = base();
        let said = |guest: &Guest, now| (0..100).filter(|_| guest.admit(now)).count();
        let guest = all.enter(now, ip("10.0.0.1")).unwrap();
        let beside = all.enter(now, ip("10.0.0.1")).unwrap();
        assert_eq!((said(&guest, now), said(&beside, now)), (20, 0));
        let other = all.enter(now, ip("10.0.0.2")).unwrap();
        assert_eq!(said(&other, now), 20);
        drop((guest, beside));
        now += Duration::from_secs(1);
        all.tidy(now);
        assert_eq!(said(&all.enter(now, ip("10.0.0.1")).unwrap(), now), 10);
        now += Duration::from_secs(2);
        all.tidy(now);
        assert_eq!(all.lock().len(), 1, "who is gone and quiet is forgotten");
    }

    #[test]
    fn however_many_addresses_come_few_are_remembered() {
        let all = addresses(1);
        let now = base();
        for i in 0..100_000_u32 {
            let guest = all.enter(now, IpAddr::V4(i.into())).unwrap();
            guest.admit(now);
        }
        all.tidy(now);
        assert!(all.lock().len() <= MAX_REMEMBERED);
    }
}
