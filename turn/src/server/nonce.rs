//! Nonces without memory (RFC 8489 §9.2.4): each says until when it is good and carries an HMAC over that and the
//! client's address, so that a request without authentication leaves nothing behind.
//!
//! ```text
//!  "obMatJos2" and 4 characters of features · base64( expiry, 4 bytes · HMAC-SHA256(expiry, address, port), 12 bytes )
//! ```

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::hmac;
use sinnet_stun::SecurityFeatures;

const TAG_LEN: usize = 12;
const RAW_LEN: usize = 4 + TAG_LEN;

/// What a nonce turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NonceState {
    Fresh,
    /// Ours, for this client, but too old.
    Stale,
    /// Not ours, or another client's.
    Foreign,
}

/// Makes and checks nonces.
#[derive(Clone, Debug)]
pub(crate) struct Nonces {
    key: hmac::Key,
    cookie: String,
}

impl Nonces {
    pub(crate) fn new(secret: [u8; 32], features: SecurityFeatures) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), cookie: features.cookie() }
    }

    fn tag(&self, client: SocketAddr, expiry: [u8; 4]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&expiry);
        match client.ip() {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&client.port().to_be_bytes());
        context.sign()
    }

    /// A nonce for this client, good until `expiry`, in seconds of the server's clock.
    pub(crate) fn make(&self, client: SocketAddr, expiry: u32) -> String {
        let expiry = expiry.to_be_bytes();
        let mut raw = [0; RAW_LEN];
        let tag = self.tag(client, expiry);
        raw.iter_mut().zip(expiry.iter().chain(tag.as_ref())).for_each(|(to, byte)| *to = *byte);
        let mut nonce = self.cookie.clone();
        STANDARD_NO_PAD.encode_string(raw, &mut nonce);
        nonce
    }

    /// Judges one.
    pub(crate) fn check(&self, client: SocketAddr, nonce: &str, now: u32) -> NonceState {
        let Some(text) = nonce.strip_prefix(self.cookie.as_str()) else { return NonceState::Foreign };
        let mut raw = [0; RAW_LEN + 3];
        let Ok(RAW_LEN) = STANDARD_NO_PAD.decode_slice(text, &mut raw) else { return NonceState::Foreign };
        let [e0, e1, e2, e3, tag @ .., _, _, _] = raw;
        let expected = self.tag(client, [e0, e1, e2, e3]);
        // Whoever could measure where these differ would learn a tag for one address and time only.
        let wrong = expected.as_ref().iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b));
        match (wrong, u32::from_be_bytes([e0, e1, e2, e3]) > now) {
            (0, true) => NonceState::Fresh,
            (0, false) => NonceState::Stale,
            _ => NonceState::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_client_until_its_time_and_in_no_other_form() {
        let features = SecurityFeatures { password_algorithms: true, username_anonymity: false };
        let nonces = Nonces::new([7; 32], features);
        let client: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let nonce = nonces.make(client, 100);
        assert_eq!(nonce.len(), 35);
        assert_eq!(SecurityFeatures::of_nonce(&nonce), Some(features));
        assert_eq!(nonces.check(client, &nonce, 99), NonceState::Fresh);
        assert_eq!(nonces.check(client, &nonce, 100), NonceState::Stale);
        assert_eq!(nonces.check(client, &nonce, u32::MAX), NonceState::Stale);
        for other in ["192.0.2.1:4001", "192.0.2.2:4000", "[::1]:4000"] {
            assert_eq!(nonces.check(other.parse().unwrap(), &nonce, 99), NonceState::Foreign);
        }
        assert_eq!(Nonces::new([8; 32], features).check(client, &nonce, 99), NonceState::Foreign);
        for at in 0..nonce.len() {
            let mut bytes = nonce.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(bytes).unwrap();
            assert_eq!(nonces.check(client, &other, 99), NonceState::Foreign, "character {at}");
            assert_eq!(nonces.check(client, &nonce[..at], 99), NonceState::Foreign, "cut to {at}");
        }
        assert_eq!(nonces.check(client, &format!("{nonce}A"), 99), NonceState::Foreign);
        assert_eq!(nonces.check(client, &"A".repeat(763), 99), NonceState::Foreign);
    }
}
