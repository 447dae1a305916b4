//! What one address has of a hub's groups and joins, so that none takes all.

use std::collections::HashMap;
use std::time::Instant;

use crate::hub::Address;
use crate::rate::Bucket;

/// Fewest groups that an address may have, whatever all may.
const FEWEST_GROUPS: usize = 16;

/// As many addresses are remembered before those are looked for that can be forgotten.
const FEW: usize = 64;

#[derive(Debug)]
struct Share {
    groups: usize,
    joining: usize,
    joins: Bucket,
}

/// What an address may have: a part of what all may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    groups: usize,
    joining: usize,
    per_second: u32,
    burst: u32,
}

impl Parts {
    /// Of these for all: a sixteenth of the groups, and a quarter of the joins of one group, under way, per second and at once.
    pub(crate) fn of(groups: usize, joining: usize, per_second: u32, burst: u32) -> Self {
        Self {
            groups: (groups / 16).max(FEWEST_GROUPS),
            joining: joining.div_ceil(4),
            per_second: per_second.div_ceil(4),
            burst: burst.div_ceil(4),
        }
    }
}

/// The addresses that have something. Who has no address is not held to anything.
#[derive(Debug)]
pub(crate) struct Shares {
    parts: Parts,
    known: HashMap<Address, Share>,
    /// At so many, those that have nothing and have been quiet are forgotten.
    tidy_at: usize,
}

impl Shares {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, known: HashMap::new(), tidy_at: FEW }
    }

    /// Whether it may have one more group.
    pub(crate) fn may_create(&self, address: Option<Address>) -> bool {
        let share = address.and_then(|address| self.known.get(&address));
        share.is_none_or(|share| share.groups < self.parts.groups)
    }

    /// It has one more group.
    pub(crate) fn created(&mut self, now: Instant, address: Option<Address>) {
        if let Some(share) = self.share(now, address) {
            share.groups += 1;
        }
    }

    /// A group of its has gone.
    pub(crate) fn removed(&mut self, address: Option<Address>) {
        if let Some(share) = address.and_then(|address| self.known.get_mut(&address)) {
            share.groups = share.groups.saturating_sub(1);
        }
    }

    /// Whether it may join once more; then it does.
    pub(crate) fn join(&mut self, now: Instant, address: Option<Address>) -> bool {
        let Parts { joining, per_second, burst, .. } = self.parts;
        let Some(share) = self.share(now, address) else { return true };
        let may = share.joining < joining && share.joins.take(now, per_second, burst);
        share.joining += usize::from(may);
        may
    }

    /// A join of its is over.
    pub(crate) fn joined(&mut self, address: Option<Address>) {
        if let Some(share) = address.and_then(|address| self.known.get_mut(&address)) {
            share.joining = share.joining.saturating_sub(1);
        }
    }

    fn share(&mut self, now: Instant, address: Option<Address>) -> Option<&mut Share> {
        let Parts { per_second, burst, .. } = self.parts;
        let address = address?;
        if self.known.len() >= self.tidy_at {
            self.known.retain(|_, share| {
                share.groups > 0 || share.joining > 0 || !share.joins.is_full(now, per_second, burst)
            });
            self.tidy_at = FEW.max(2 * self.known.len());
        }
        let fresh = || Share { groups: 0, joining: 0, joins: Bucket::full(now, burst) };
        Some(self.known.entry(address).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
    fn base() -> Instant {
        Instant::now()
    }

    fn at(last: u32) -> Option<Address> {
        Some(Address::from(IpAddr::V4((0x0a00_0000 + last).into())))
    }

    #[test]
    fn an_address_has_its_part_and_no_more_and_who_has_none_is_not_counted() {
        let mut now = base();
        let mut shares = Shares::new(Parts::of(1024, 40, 8, 16));
        for _ in 0..64 {
            assert!(shares.may_create(at(1)));
            shares.created(now, at(1));
        }
        assert!(!shares.may_create(at(1)) && shares.may_create(at(2)) && shares.may_create(None));
        shares.removed(at(1));
        assert!(shares.may_create(at(1)));

        let joins = |shares: &mut Shares, now, who| (0..100).filter(|_| shares.join(now, who)).count();
        assert_eq!(joins(&mut shares, now, at(1)), 4, "at once");
        assert_eq!((joins(&mut shares, now, at(2)), joins(&mut shares, now, None)), (4, 100));
        now += Duration::from_secs(1);
        assert_eq!(joins(&mut shares, now, at(1)), 2, "per second");
        now += Duration::from_secs(100);
        assert_eq!(joins(&mut shares, now, at(1)), 4, "under way: ten");
        now += Duration::from_secs(100);
        assert_eq!(joins(&mut shares, now, at(1)), 0);
        shares.joined(at(1));
        assert_eq!(joins(&mut shares, now, at(1)), 1);
        assert!(Shares::new(Parts::of(3, 0, 0, 0)).may_create(at(1)));
    }

    #[test]
    fn who_has_nothing_and_was_quiet_is_forgotten() {
        let mut now = base();
        let mut shares = Shares::new(Parts::of(1024, 40, 8, 16));
        shares.created(now, at(1));
        for other in 2..10_000 {
            assert!(shares.join(now, at(other)));
            shares.joined(at(other));
            now += Duration::from_millis(10);
        }
        assert!(shares.known.len() <= 200, "{}", shares.known.len());
        assert_eq!(shares.known.get(&at(1).unwrap()).map(|share| share.groups), Some(1));
    }
}
