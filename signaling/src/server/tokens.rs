//! Tokens: who may create groups, and who may join them.
//!
//! A client sends its token when it opens its WebSocket, as a parameter of the address or, so that it stays out of other servers' logs, as a
//! subprotocol beside `sinnet`; browsers can set nothing else:
//!
//! ```text
//! new WebSocket("wss://example.org/alm?token=TOKEN")
//! new WebSocket("wss://example.org/alm", ["sinnet", "sinnet.token.TOKEN"])
//! ```
//!
//! What it may do is settled then, for as long as the socket lasts. Who may not is answered in the protocol's own words when it
//! tries. Acceptors need no token: they show the secret of a join. There are two kinds of tokens:
//!
//! | token | good for |
//! |---|---|
//! | one that the server was given, 16 to 256 characters of `A–Z a–z 0–9 . _ ~ -` | creating and joining, until the server is given others |
//! | `RIGHT.EXPIRY.MAC`, made by whoever has the server's key | `RIGHT`: `create`, `join` or `all`; `EXPIRY`: seconds since 1970 |
//!
//! `MAC` is HMAC-SHA-256 under the key, over `sinnet token ` and what stands before the last dot, as 64 lower-case hexadecimal digits.
//! A token is good for whoever has it, for every group.

use std::fmt;
use std::time::{Duration, SystemTime};

use ring::hmac;

use crate::hub::Access;

/// What a token is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// Creating groups.
    Create,
    /// Joining groups.
    Join,
    /// Both.
    All,
}

impl Right {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Join => "join",
            Self::All => "all",
        }
    }
}

/// What needs a token.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Required {
    /// Nothing.
    #[default]
    Nothing,
    /// Creating groups.
    Create,
    /// Creating and joining groups.
    All,
}

/// A token or a key is not what it has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A token for the server's list has another length or other characters than the module's documentation says.
    #[error("a token has 16 to 256 characters: letters, digits, '.', '_', '~', '-'")]
    Token,
    /// A key is shorter than 16 bytes, or not hexadecimal.
    #[error("a key has 32 hexadecimal digits or more")]
    Key,
}

/// The key of signed tokens.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl TokenKey {
    /// From hexadecimal digits: 32 at least, for 128 bits.
    ///
    /// # Errors
    ///
    /// [`TokenError::Key`].
    pub fn from_hex(text: &str) -> Result<Self, TokenError> {
        let digits = text.trim().as_bytes();
        let nibble = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
        let byte = |pair: &[u8]| match *pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        };
        let key: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        let key = key.filter(|key| key.len() >= 16).ok_or(TokenError::Key)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// A token for a right, good until then.
    #[must_use]
    pub fn sign(&self, right: Right, expiry: SystemTime) -> String {
        let claim = format!("{}.{}", right.name(), seconds(expiry));
        let mac = hmac::sign(&self.0, &signed(&claim));
        let digits: String = mac.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{claim}.{digits}")
    }

    fn right(&self, now: SystemTime, token: &str) -> Result<Right, &'static str> {
        const BAD: &str = "this token is not good here";
        let (claim, mac) = token.rsplit_once('.').ok_or(BAD)?;
        let mac = decode(mac).ok_or(BAD)?;
        hmac::verify(&self.0, &signed(claim), &mac).map_err(|_| BAD)?;
        let (right, expiry) = claim.split_once('.').ok_or(BAD)?;
        if expiry.parse::<u64>().map_err(|_| BAD)? <= seconds(now) {
            return Err("this token has expired");
        }
        match right {
            "create" => Ok(Right::Create),
            "join" => Ok(Right::Join),
            "all" => Ok(Right::All),
            _ => Err(BAD),
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

/// What needs a token, and which are good. Nothing does by default.
#[derive(Clone, Default)]
pub struct Tokens {
    required: Required,
    list: Vec<String>,
    key: Option<TokenKey>,
}

impl Tokens {
    /// Requires tokens.
    ///
    /// # Errors
    ///
    /// [`TokenError::Token`], for the list.
    pub fn new(required: Required, list: Vec<String>, key: Option<TokenKey>) -> Result<Self, TokenError> {
        if !list.iter().all(|token| (16..=256).contains(&token.len()) && token.bytes().all(is_plain)) {
            return Err(TokenError::Token);
        }
        Ok(Self { required, list, key })
    }

    /// What a client with this token may do.
    #[must_use]
    pub fn access(&self, now: SystemTime, token: Option<&str>) -> Access {
        let right = match token {
            _ if self.required == Required::Nothing => return Access::FULL,
            None => Err("this server wants a token for that"),
            Some(token) if self.list.iter().any(|known| equal(known, token)) => Ok(Right::All),
            Some(token) => match &self.key {
                Some(key) => key.right(now, token),
                None => Err("this token is not good here"),
            },
        };
        let grant = |needed| match right {
            Err(reason) => Err(reason),
            Ok(right) if right == needed || right == Right::All => Ok(()),
            Ok(_) => Err("this token is not good for that"),
        };
        let join = if self.required == Required::All { grant(Right::Join) } else { Ok(()) };
        Access { create: grant(Right::Create), join }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("required", &self.required).finish_non_exhaustive()
    }
}

/// The token that a request for a WebSocket has, by the address's parameters and the subprotocols that are offered.
pub(super) fn of_request<'a>(query: Option<&'a str>, protocols: Option<&'a str>) -> Option<&'a str> {
    let in_query = query.into_iter().flat_map(|query| query.split('&'));
    let in_protocols = protocols.into_iter().flat_map(|protocols| protocols.split(',').map(str::trim));
    in_query
        .filter_map(|parameter| parameter.strip_prefix("token="))
        .chain(in_protocols.filter_map(|protocol| protocol.strip_prefix("sinnet.token.")))
        .next()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)
}

/// Takes as long for every wrong token: their MACs are compared, under a key that doesn't matter.
fn equal(known: &str, said: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, known.as_bytes());
    hmac::verify(&key, known.as_bytes(), hmac::sign(&key, said.as_bytes()).as_ref()).is_ok()
}

fn signed(claim: &str) -> Vec<u8> {
    [b"sinnet token ", claim.as_bytes()].concat()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// 32 bytes in lower-case hexadecimal digits: upper-case ones would be a second token for the same claim.
fn decode(text: &str) -> Option<[u8; 32]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.last()?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn at(offset: i64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.as_secs().checked_add_signed(offset).unwrap())
    }

    fn key() -> TokenKey {
        TokenKey::from_hex("000102030405060708090a0b0c0d0e0f").unwrap()
    }

    /// Whether a token is good for creating and for joining.
    fn access(tokens: &Tokens, token: Option<&str>) -> (bool, bool) {
        let access = tokens.access(at(0), token);
        (access.create.is_ok(), access.join.is_ok())
    }

    #[test]
    fn without_requirements_everybody_may_everything() {
        assert_eq!(access(&Tokens::default(), None), (true, true));
        assert_eq!(access(&Tokens::default(), Some("whatever")), (true, true));
    }

    #[test]
    fn a_listed_token_is_good_and_no_other() {
        let list = vec!["correct-horse-battery".to_owned(), "another.token_of~16".to_owned()];
        for (required, join_without) in [(Required::Create, true), (Required::All, false)] {
            let tokens = Tokens::new(required, list.clone(), None).unwrap();
            assert_eq!(access(&tokens, Some("correct-horse-battery")), (true, true));
            assert_eq!(access(&tokens, Some("another.token_of~16")), (true, true));
            for wrong in [
                None,
                Some(""),
                Some("correct-horse-batterx"),
                Some("correct-horse"),
                Some("create.9999999999.00"),
            ] {
                assert_eq!(access(&tokens, wrong), (false, join_without), "{wrong:?}");
            }
        }
        for bad in ["short", "with a space in it", "ümlaut-token-of-16", &"x".repeat(257)] {
            assert_eq!(
                Tokens::new(Required::All, vec![bad.to_owned()], None).unwrap_err(),
                TokenError::Token
            );
        }
    }

    #[test]
    fn a_signed_token_is_good_for_its_right_until_it_expires() {
        let tokens = Tokens::new(Required::All, Vec::new(), Some(key())).unwrap();
        for (right, may) in
            [(Right::Create, (true, false)), (Right::Join, (false, true)), (Right::All, (true, true))]
        {
            let token = key().sign(right, at(60));
            assert!(token.bytes().all(is_plain));
            assert_eq!(access(&tokens, Some(&token)), may, "{token}");
            let late = tokens.access(at(60), Some(&token));
            assert_eq!(
                (late.create, late.join),
                (Err("this token has expired"), Err("this token has expired"))
            );
        }
        // By another implementation of HMAC: Python's hmac, over b"sinnet token join.1800000060".
        let known = "join.1800000060.b7a53848b112b5595c2d8d8176fec373dd50acd9b193af2ca28ab5d728f0241f";
        assert_eq!(key().sign(Right::Join, at(60)), known);
    }

    #[test]
    fn no_part_of_a_signed_token_can_be_changed() {
        let tokens = Tokens::new(Required::All, Vec::new(), Some(key())).unwrap();
        let good = key().sign(Right::Join, at(60));
        for i in 0..good.len() {
            for with in ["0", "f", "x", ".", "A", ""] {
                let changed = format!("{}{with}{}", &good[..i], &good[i + 1..]);
                assert!(changed == good || access(&tokens, Some(&changed)) == (false, false), "{changed}");
            }
        }
        let upper = good.to_uppercase().replace("JOIN", "join");
        let other = TokenKey::from_hex(&"ff".repeat(16)).unwrap().sign(Right::All, at(60));
        for wrong in [upper.as_str(), &other, "..", "all.99999999999", ""] {
            assert_eq!(access(&tokens, Some(wrong)), (false, false), "{wrong}");
        }
    }

    #[test]
    fn keys_are_long_and_hexadecimal_and_not_shown() {
        for bad in ["", "00", &"0".repeat(31), &"0".repeat(33), &"g".repeat(32)] {
            assert_eq!(TokenKey::from_hex(bad).unwrap_err(), TokenError::Key, "{bad}");
        }
        let tokens =
            Tokens::new(Required::All, vec!["a-token-of-some-length".to_owned()], Some(key())).unwrap();
        assert!(!format!("{tokens:?} {:?}", key()).contains("a-token"));
    }

    #[test]
    fn a_token_is_found_where_browsers_can_put_it() {
        assert_eq!(of_request(Some("a=b&token=T&token=U"), None), Some("T"));
        assert_eq!(of_request(None, Some("sinnet, sinnet.token.T")), Some("T"));
        assert_eq!(of_request(Some("tokens=T"), Some("sinnet")), None);
        assert_eq!(of_request(None, None), None);
    }
}
