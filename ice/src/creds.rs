//! User name fragments and passwords (RFC 8445 §5.3, RFC 8839 §5.4).

use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::error::CredentialsError;

/// RFC 8839 §5.4: `ice-char = ALPHA / DIGIT / "+" / "/"`.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a generated ufrag: 48 bits.
const UFRAG_LEN: usize = 8;
/// Characters of a generated password: 144 bits.
const PWD_LEN: usize = 24;

/// A user name fragment and password. `Debug` shows the first and hides the second.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `ice-ufrag`: 4 to 256 ice-chars (RFC 8839 §5.4).
    pub ufrag: String,
    /// `ice-pwd`: 22 to 256 ice-chars.
    pub pwd: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).field("pwd", &"<hidden>").finish()
    }
}

impl Credentials {
    /// New credentials: a ufrag of 48 bits and a password of 144 bits.
    pub(crate) fn generate(rng: &mut StdRng) -> Self {
        Self { ufrag: text(rng, UFRAG_LEN), pwd: text(rng, PWD_LEN) }
    }

    /// Checks lengths and characters (RFC 8839 §5.4). Some peers use `-` and `_` in both; those pass.
    ///
    /// # Errors
    /// [`CredentialsError::Ufrag`] or [`CredentialsError::Pwd`].
    pub fn check(&self) -> Result<(), CredentialsError> {
        if !is_ufrag(&self.ufrag) {
            return Err(CredentialsError::Ufrag);
        }
        if !(22..=256).contains(&self.pwd.len()) || !are_ice_chars(&self.pwd) {
            return Err(CredentialsError::Pwd);
        }
        Ok(())
    }
}

/// Whether a description could have this ufrag.
pub(crate) fn is_ufrag(text: &str) -> bool {
    (4..=256).contains(&text.len()) && are_ice_chars(text)
}

fn are_ice_chars(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'-' | b'_'))
}

fn text(rng: &mut StdRng, len: usize) -> String {
    (0..len)
        .filter_map(|_| ICE_CHARS.get(usize::from(rng.random::<u8>() & 63)))
        .map(|&c| char::from(c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::HashSet;

    #[test]
    fn ten_thousand_agents_get_ten_thousand_credentials() {
        let mut seen = HashSet::new();
        for seed in 0..10_000u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&seed.to_be_bytes());
            let c = Credentials::generate(&mut StdRng::from_seed(bytes));
            assert_eq!(c.check(), Ok(()));
            assert_eq!((c.ufrag.len(), c.pwd.len()), (8, 24));
            assert!(seen.insert(c.ufrag.clone()) && seen.insert(c.pwd));
        }
    }

    #[test]
    fn debug_output_hides_the_password() {
        let c = Credentials { ufrag: "abcd".into(), pwd: "secretsecretsecretsecret".into() };
        assert!(!format!("{c:?}").contains("secret"));
    }

    #[test]
    fn credentials_that_break_the_grammar_are_refused() {
        let pwd = "a".repeat(22);
        for ufrag in ["", "abc", "ab cd", "ab\r\ncd", "abcd:", &"a".repeat(257)] {
            let c = Credentials { ufrag: ufrag.into(), pwd: pwd.clone() };
            assert_eq!(c.check(), Err(CredentialsError::Ufrag), "{ufrag:?}");
        }
        for pwd in ["", "short", &"a".repeat(21), &"a".repeat(257), "aaaaaaaaaaaaaaaaaaaaa\n"] {
            let c = Credentials { ufrag: "lR+g".into(), pwd: pwd.into() };
            assert_eq!(c.check(), Err(CredentialsError::Pwd), "{pwd:?}");
        }
    }
}
