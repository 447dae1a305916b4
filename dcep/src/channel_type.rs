//! Channel types (RFC 8832 §5.1, §8.2.2): ordering and reliability in one byte and one parameter.

/// The channel type byte of an OPEN. A value that is not registered is a value: it parses and is written back, and
/// [`ChannelType::reliability`] says `None`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelType(pub u8);

impl ChannelType {
    /// Ordered; every message arrives.
    pub const RELIABLE: Self = Self(0x00);
    /// Unordered; every message arrives.
    pub const RELIABLE_UNORDERED: Self = Self(0x80);
    /// Ordered; a message is retransmitted at most so many times as the reliability parameter says.
    pub const PARTIAL_RELIABLE_REXMIT: Self = Self(0x01);
    /// Unordered; a message is retransmitted at most so many times as the reliability parameter says.
    pub const PARTIAL_RELIABLE_REXMIT_UNORDERED: Self = Self(0x81);
    /// Ordered; a message is given up after as many milliseconds as the reliability parameter says.
    pub const PARTIAL_RELIABLE_TIMED: Self = Self(0x02);
    /// Unordered; a message is given up after as many milliseconds as the reliability parameter says.
    pub const PARTIAL_RELIABLE_TIMED_UNORDERED: Self = Self(0x82);

    /// What this type means together with the reliability parameter of the same OPEN; `None` for a type that is not
    /// registered. The parameter of a reliable channel is ignored (RFC 8832 §5.1).
    pub fn reliability(self, parameter: u32) -> Option<Reliability> {
        let (ordered, limit) = match self {
            Self::RELIABLE => (true, Limit::None),
            Self::RELIABLE_UNORDERED => (false, Limit::None),
            Self::PARTIAL_RELIABLE_REXMIT => (true, Limit::MaxRetransmits(parameter)),
            Self::PARTIAL_RELIABLE_REXMIT_UNORDERED => (false, Limit::MaxRetransmits(parameter)),
            Self::PARTIAL_RELIABLE_TIMED => (true, Limit::MaxLifetimeMs(parameter)),
            Self::PARTIAL_RELIABLE_TIMED_UNORDERED => (false, Limit::MaxLifetimeMs(parameter)),
            _ => return None,
        };
        Some(Reliability { ordered, limit })
    }
}

/// How messages of a channel are delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reliability {
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// When a message is given up.
    pub limit: Limit,
}

/// When a message that has not arrived is given up. The two limits exclude each other (RFC 8831 §6.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Limit {
    /// Never.
    None,
    /// After this many retransmissions; 0 is "send once".
    MaxRetransmits(u32),
    /// This many milliseconds after it was handed to the stack.
    MaxLifetimeMs(u32),
}

impl Reliability {
    /// Ordered and reliable: what a channel is when nothing else is asked for.
    pub const RELIABLE: Self = Self { ordered: true, limit: Limit::None };

    /// The channel type and reliability parameter that say this in an OPEN.
    pub fn to_wire(self) -> (ChannelType, u32) {
        match (self.limit, self.ordered) {
            (Limit::None, true) => (ChannelType::RELIABLE, 0),
            (Limit::None, false) => (ChannelType::RELIABLE_UNORDERED, 0),
            (Limit::MaxRetransmits(n), true) => (ChannelType::PARTIAL_RELIABLE_REXMIT, n),
            (Limit::MaxRetransmits(n), false) => (ChannelType::PARTIAL_RELIABLE_REXMIT_UNORDERED, n),
            (Limit::MaxLifetimeMs(ms), true) => (ChannelType::PARTIAL_RELIABLE_TIMED, ms),
            (Limit::MaxLifetimeMs(ms), false) => (ChannelType::PARTIAL_RELIABLE_TIMED_UNORDERED, ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_six_channel_types_have_a_meaning_and_each_maps_back_to_itself() {
        let known: Vec<u8> = (0..=255).filter(|&t| ChannelType(t).reliability(7).is_some()).collect();
        assert_eq!(known, [0x00, 0x01, 0x02, 0x80, 0x81, 0x82]);
        for t in known {
            let (back, parameter) = ChannelType(t).reliability(7).unwrap().to_wire();
            assert_eq!(back, ChannelType(t));
            assert_eq!(parameter, if t & 0x7f == 0 { 0 } else { 7 });
        }
    }

    #[test]
    fn the_parameter_of_a_reliable_channel_is_ignored() {
        assert_eq!(ChannelType::RELIABLE.reliability(u32::MAX), Some(Reliability::RELIABLE));
    }
}
