//! Long-term credentials (RFC 8489 §9.2): keys, the hashed user name, and what a server says by its nonce.
//!
//! Names, realms and passwords are taken as they are. OpaqueString (RFC 8265) leaves printable ASCII alone; whoever has
//! other characters applies it first, or doesn't, as browsers don't.

use ring::digest;

use crate::integrity::IntegrityKey;

/// The longest REALM, NONCE or SOFTWARE that is read, in bytes (RFC 8489 §14.9: 763 when decoding).
pub const LONGEST_TEXT: usize = 763;

/// RFC 8489 §9.2: a nonce that tells security features starts with this, and four characters of base64.
const NONCE_COOKIE: &str = "obMatJos2";
/// RFC 4648 §4.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A way of making a key of a password (RFC 8489 §18.5). Any value can be one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PasswordAlgorithm(pub u16);

impl PasswordAlgorithm {
    /// What there was before there was a choice; 16 bytes of key.
    pub const MD5: Self = Self(1);
    /// 32 bytes of key.
    pub const SHA256: Self = Self(2);
}

/// The entries of a PASSWORD-ALGORITHMS value (RFC 8489 §14.11). Parameters are passed over: the known algorithms have
/// none. Ends at the first entry that is cut short.
#[derive(Clone, Debug)]
pub struct PasswordAlgorithms<'a> {
    rest: &'a [u8],
}

impl<'a> PasswordAlgorithms<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }
}

impl Iterator for PasswordAlgorithms<'_> {
    type Item = PasswordAlgorithm;

    fn next(&mut self) -> Option<PasswordAlgorithm> {
        let ([a0, a1, l0, l1], after) = self.rest.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let known = after.len() >= len;
        self.rest = after.get(len.next_multiple_of(4)..).unwrap_or_default();
        known.then_some(PasswordAlgorithm(u16::from_be_bytes([*a0, *a1])))
    }
}

/// The key of a long-term credential (RFC 8489 §9.2.2 and §18.5.1): the hash of `user:realm:password`. `None` for an
/// algorithm that isn't known.
pub fn long_term_key(
    username: &str,
    realm: &str,
    password: &str,
    algorithm: PasswordAlgorithm,
) -> Option<IntegrityKey> {
    let parts = [username, ":", realm, ":", password];
    match algorithm {
        PasswordAlgorithm::MD5 => {
            use md5::Digest;
            let mut hash = md5::Md5::new();
            parts.iter().for_each(|part| hash.update(part.as_bytes()));
            Some(IntegrityKey::from_bytes(&hash.finalize()))
        }
        PasswordAlgorithm::SHA256 => Some(IntegrityKey::from_bytes(&sha256(&parts))),
        _ => None,
    }
}

/// The value of USERHASH (RFC 8489 §14.4): SHA-256 of `user:realm`.
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    sha256(&[username, ":", realm])
}

fn sha256(parts: &[&str]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part.as_bytes()));
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, byte)| *to = *byte);
    out
}

/// What a server says of itself in the first characters of its nonces (RFC 8489 §9.2 and §18.1), so that nobody on the
/// way can take it out of the rest unnoticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SecurityFeatures {
    /// Bit 0: it sends PASSWORD-ALGORITHMS.
    pub password_algorithms: bool,
    /// Bit 1: it takes USERHASH for USERNAME.
    pub username_anonymity: bool,
}

impl SecurityFeatures {
    /// Bytes that [`cookie`](Self::cookie) takes at the front of a nonce.
    pub const COOKIE_LEN: usize = 13;
    /// Bits are counted from the most significant of 24 (RFC 8489 §18.1).
    const PASSWORD_ALGORITHMS: u32 = 1 << 23;
    const USERNAME_ANONYMITY: u32 = 1 << 22;

    /// What a nonce says; `None` if it has no cookie, as those of older servers. Bits without a meaning are ignored.
    pub fn of_nonce(nonce: &str) -> Option<Self> {
        let bits = nonce.strip_prefix(NONCE_COOKIE)?.as_bytes().first_chunk::<4>()?;
        let mut value = 0;
        for byte in bits {
            let digit = BASE64.iter().position(|known| known == byte)?;
            value = value << 6 | u32::try_from(digit).unwrap_or(0);
        }
        Some(Self {
            password_algorithms: value & Self::PASSWORD_ALGORITHMS != 0,
            username_anonymity: value & Self::USERNAME_ANONYMITY != 0,
        })
    }

    /// What a nonce begins with to say this.
    pub fn cookie(self) -> String {
        let mut value = 0;
        value |= if self.password_algorithms { Self::PASSWORD_ALGORITHMS } else { 0 };
        value |= if self.username_anonymity { Self::USERNAME_ANONYMITY } else { 0 };
        let digits = [18, 12, 6, 0].map(|shift| BASE64[(value >> shift & 63) as usize]);
        NONCE_COOKIE.chars().chain(digits.map(char::from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttributeType, Builder, Class, Message, Method, TransactionId};

    #[test]
    fn the_cookie_says_what_was_put_in() {
        for (password_algorithms, username_anonymity, text) in [
            (false, false, "obMatJos2AAAA"),
            (true, false, "obMatJos2gAAA"),
            (false, true, "obMatJos2QAAA"),
            (true, true, "obMatJos2wAAA"),
        ] {
            let features = SecurityFeatures { password_algorithms, username_anonymity };
            assert_eq!(features.cookie(), text);
            assert_eq!(text.len(), SecurityFeatures::COOKIE_LEN);
            assert_eq!(SecurityFeatures::of_nonce(&format!("{text}and more")), Some(features));
        }
        for other in [
            "",
            "obMatJos2",
            "obMatJos2AAA",
            "obMatJos2A~AA",
            "xobMatJos2AAAA",
            "f//499k954d6OL34oL9FSTvy64sA",
        ] {
            assert_eq!(SecurityFeatures::of_nonce(other), None, "{other}");
        }
    }

    #[test]
    fn the_md5_key_is_that_of_the_rfc() {
        // RFC 8489 §9.2.2.
        let expected =
            [0x84, 0x93, 0xfb, 0xc5, 0x3b, 0xa5, 0x82, 0xfb, 0x4c, 0x04, 0x4c, 0x45, 0x6b, 0xdc, 0x40, 0xeb];
        let key = long_term_key("user", "realm", "pass", PasswordAlgorithm::MD5).unwrap();
        let same = IntegrityKey::from_bytes(&expected);
        assert_eq!(key.sha1(&[0; 20]).as_ref(), same.sha1(&[0; 20]).as_ref());
        assert!(long_term_key("user", "realm", "pass", PasswordAlgorithm(3)).is_none());
    }

    fn list(value: &[u8]) -> (Vec<u16>, Option<u16>) {
        let mut out = [0; 128];
        let mut b = Builder::new(&mut out, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
        b.attribute(AttributeType::PASSWORD_ALGORITHMS, value);
        b.attribute(AttributeType::PASSWORD_ALGORITHM, value);
        let len = b.finish().unwrap();
        let m = Message::parse(&out[..len]).unwrap();
        (m.password_algorithms().map(|a| a.0).collect(), m.password_algorithm().map(|a| a.0))
    }

    #[test]
    fn lists_of_algorithms_are_read_over_parameters_and_as_far_as_they_go() {
        assert_eq!(list(&[]), (vec![], None));
        assert_eq!(list(&[0, 2, 0, 0]), (vec![2], Some(2)));
        assert_eq!(list(&[0, 2, 0, 0, 0, 1, 0, 0]), (vec![2, 1], None));
        assert_eq!(list(&[0, 9, 0, 3, 1, 2, 3, 0, 0, 1, 0, 0]), (vec![9, 1], None));
        assert_eq!(list(&[0, 9, 0, 5, 1, 2, 3, 0, 0, 1, 0, 0]), (vec![9], Some(9)));
        assert_eq!(list(&[0, 2, 0xFF, 0xFF, 0, 1, 0, 0]), (vec![], None));
        assert_eq!(list(&[0, 2, 0]), (vec![], None));
    }
}
