//! Credentials that end by themselves, made from a secret that a web server shares with TURN servers
//! (draft-uberti-behave-turn-rest, which every TURN server and hosting service speaks):
//!
//! ```text
//!  username = expiry in Unix seconds ":" user        password = base64(HMAC-SHA1(secret, username))
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Makes the user name and password that are good until `expiry`, in Unix seconds. An empty `user` leaves the name
/// without a colon.
///
/// ```
/// let (username, password) = sinnet_turn::ephemeral_credentials(b"north", 1_700_000_000, "alice");
/// assert_eq!(username, "1700000000:alice");
/// assert_eq!(password.len(), 28);
/// ```
pub fn ephemeral_credentials(secret: &[u8], expiry: u64, user: &str) -> (String, String) {
    let username = if user.is_empty() { expiry.to_string() } else { format!("{expiry}:{user}") };
    let password = ephemeral_password(secret, &username);
    (username, password)
}

/// The password that belongs to a user name.
pub(crate) fn ephemeral_password(secret: &[u8], username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// The expiry in a user name, and whose it is: what follows the first colon.
pub(crate) fn parse_username(username: &str) -> Option<(u64, &str)> {
    let (expiry, user) = username.split_once(':').unwrap_or((username, ""));
    let digits = !expiry.is_empty() && expiry.bytes().all(|byte| byte.is_ascii_digit());
    expiry.parse().ok().filter(|_| digits).map(|expiry| (expiry, user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_what_other_programs_compute() {
        // printf 1700000000:alice | openssl dgst -sha1 -hmac north -binary | base64
        let (name, password) = ephemeral_credentials(b"north", 1_700_000_000, "alice");
        assert_eq!((name.as_str(), password.as_str()), ("1700000000:alice", "Cd/49soE35ICqcJF/bCTn8Z4OyE="));
        assert_eq!(ephemeral_credentials(b"north", 7, "").0, "7");
    }

    #[test]
    fn the_name_is_an_expiry_and_perhaps_a_user() {
        assert_eq!(parse_username("17:alice:x"), Some((17, "alice:x")));
        assert_eq!(parse_username("17"), Some((17, "")));
        assert_eq!(parse_username("17:"), Some((17, "")));
        for wrong in ["", ":", "alice", "+17:a", "-1:a", "1 7:a", "99999999999999999999999:a", "alice:17"] {
            assert_eq!(parse_username(wrong), None, "{wrong}");
        }
    }
}
