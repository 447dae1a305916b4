//! What a datagram is, by its first byte (RFC 7983 §7, updated by RFC 9443).

/// The protocols that share a WebRTC 5-tuple, as far as we speak them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// First byte 0..=3.
    Stun,
    /// First byte 20..=63.
    Dtls,
    /// Anything else: TURN channels, ZRTP, RTP, QUIC, or nothing at all.
    Other,
}

/// Classifies a datagram by its first byte. An empty one is [`Kind::Other`].
pub fn classify(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(0..=3) => Kind::Stun,
        Some(20..=63) => Kind::Dtls,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_falls_where_rfc_7983_says() {
        for byte in 0..=255u8 {
            let expected = match byte {
                0..=3 => Kind::Stun,
                20..=63 => Kind::Dtls,
                _ => Kind::Other,
            };
            for len in 1..20 {
                assert_eq!(classify(&vec![byte; len]), expected, "byte {byte}");
            }
        }
        assert_eq!(classify(&[]), Kind::Other);
    }
}
