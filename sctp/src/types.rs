//! The numbers of SCTP as types of their own.
//!
//! Serial numbers (RFC 9260 §1.6, RFC 1982) deliberately do not implement `Ord`: serial arithmetic is not
//! transitive, and a number 2^31 away from another is neither before nor after it. Inside the association a
//! TSN is unwrapped to 64 bits as soon as it is known to lie in a window, and from then on ordinary
//! arithmetic holds.

use std::fmt;

/// A stream identifier (RFC 9260 §3.3.1). Data channels use 0..=65534 (RFC 8831 §6.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct StreamId(pub u16);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A payload protocol identifier (RFC 9260 §3.3.1); SCTP carries it and never looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ppid(pub u32);

macro_rules! serial {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub(crate) struct $name(pub(crate) $int);

        impl $name {
            /// This number plus `n`, modulo its width.
            pub(crate) fn add(self, n: $int) -> Self {
                Self(self.0.wrapping_add(n))
            }
        }
    };
}

/// A stream sequence number (RFC 9260 §3.3.1): the low half of a [`Mid`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ssn(pub(crate) u16);

serial!(
    /// A message identifier (RFC 8260 §2.1). Its low half is the SSN where DATA is used.
    Mid,
    u32
);
serial!(
    /// A re-configuration request sequence number (RFC 6525 §4.1).
    RequestSn,
    u32
);

impl From<Ssn> for Mid {
    fn from(ssn: Ssn) -> Self {
        Self(u32::from(ssn.0))
    }
}

impl Mid {
    /// How far this number is ahead of `other`, modulo its width.
    pub(crate) fn distance_from(self, other: Self) -> u32 {
        self.0.wrapping_sub(other.0)
    }

    /// The number that DATA carries.
    pub(crate) fn ssn(self) -> Ssn {
        Ssn(self.0 as u16)
    }
}

/// A transmission sequence number (RFC 9260 §3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tsn(pub(crate) u32);

impl Tsn {
    /// The 64-bit number congruent to this TSN that is nearest to `reference`.
    ///
    /// Serial numbers compare by their distance, which is right as long as both lie within 2^31 of each
    /// other. `reference` must be at least 2^31, which [`UNWRAP_BASE`] sees to.
    pub(crate) fn unwrap_near(self, reference: u64) -> u64 {
        // The truncation is the point: the low half of the reference is its TSN.
        let delta = self.0.wrapping_sub(reference as u32) as i32;
        reference.wrapping_add_signed(i64::from(delta))
    }

    /// Back to the 32 bits on the wire.
    pub(crate) fn wrap(unwrapped: u64) -> Self {
        Self(unwrapped as u32)
    }

    /// Where the unwrapped numbering of an association starts.
    pub(crate) fn unwrap_first(self) -> u64 {
        UNWRAP_BASE + u64::from(self.0)
    }
}

/// Added to the first unwrapped TSN, so that numbers before it stay positive.
pub(crate) const UNWRAP_BASE: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwrapping_follows_the_number_over_the_edge() {
        let near_the_edge = Tsn(u32::MAX - 1).unwrap_first();
        assert_eq!(Tsn(1).unwrap_near(near_the_edge), near_the_edge + 3);
        assert_eq!(Tsn(u32::MAX - 5).unwrap_near(near_the_edge), near_the_edge - 4);
        assert_eq!(Tsn::wrap(near_the_edge + 3), Tsn(1));
    }

    #[test]
    fn distance_is_modulo_the_width() {
        assert_eq!(Mid(2).distance_from(Mid(u32::MAX)), 3);
        assert_eq!(RequestSn(0).add(u32::MAX), RequestSn(u32::MAX));
    }
}
