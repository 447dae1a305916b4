//! Who is asking (RFC 8489 §9.2.4), with one check moved to the front: a nonce that this server didn't make for this
//! address is refused before anything is computed for it.
//!
//! ```text
//!  no MESSAGE-INTEGRITY of either kind              401, a challenge
//!  no USERNAME or USERHASH, no REALM, no NONCE      400
//!  NONCE not ours, or another address's             438, a challenge
//!  PASSWORD-ALGORITHM(S) not as we offered them     400
//!  unknown user, other realm, credentials expired   401, a challenge
//!  wrong integrity                                  401, a challenge
//!  NONCE too old                                    438, a challenge
//! ```

use std::collections::HashMap;

use sinnet_stun::{
    AttributeType, Builder, IntegrityKey, Message, PasswordAlgorithm, SecurityFeatures, long_term_key,
    userhash,
};

use super::config::ServerConfig;
use super::event::FiveTuple;
use super::nonce::{NonceState, Nonces};
use crate::ephemeral::{ephemeral_password, parse_username};
use crate::error_code::ErrorCode;

/// What is offered, the better first: SHA-256, MD5, each without parameters (RFC 8489 §14.11).
pub(crate) const PASSWORD_ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// The keys of a user's password, which itself is not kept (RFC 8656 §6).
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    md5: IntegrityKey,
    sha256: IntegrityKey,
}

impl Keys {
    fn new(username: &str, realm: &str, password: &str) -> Option<Self> {
        let key = |algorithm| long_term_key(username, realm, password, algorithm);
        Some(Self { md5: key(PasswordAlgorithm::MD5)?, sha256: key(PasswordAlgorithm::SHA256)? })
    }

    fn of(&self, algorithm: PasswordAlgorithm) -> &IntegrityKey {
        if algorithm == PasswordAlgorithm::SHA256 { &self.sha256 } else { &self.md5 }
    }
}

/// How the answer to a request is signed (RFC 8489 §9.2.4).
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    key: IntegrityKey,
    sha256: bool,
}

impl Signer {
    pub(crate) fn sign(&self, b: &mut Builder<'_>) {
        if self.sha256 {
            b.integrity_sha256(&self.key)
        } else {
            b.integrity(&self.key)
        };
    }
}

/// Who is asking.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) username: String,
    /// Whose quota: the user in ephemeral credentials, which change their names.
    pub(crate) owner: String,
    pub(crate) keys: Keys,
    pub(crate) signer: Signer,
}

/// Why it isn't known who is asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Denied {
    /// With realm and a nonce: 401 or 438.
    Challenge(ErrorCode),
    /// Without.
    Error(ErrorCode),
}

impl Denied {
    const STALE: Self = Self::Challenge(ErrorCode::STALE_NONCE);
    const UNKNOWN: Self = Self::Challenge(ErrorCode::UNAUTHENTICATED);
}

/// Users and secrets, ready for use.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    keys: HashMap<String, Keys>,
    by_hash: HashMap<[u8; 32], String>,
}

impl Users {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let realm = config.realm.as_str();
        let keys =
            |(name, password): (&String, &String)| Some((name.clone(), Keys::new(name, realm, password)?));
        let keys: HashMap<_, _> = config.users.iter().filter_map(keys).collect();
        let by_hash = keys.keys().map(|name| (userhash(name, realm), name.clone())).collect();
        Self { keys, by_hash }
    }

    /// What nonces announce. A hash can't be told from another without a list of names, which a secret doesn't give.
    pub(crate) fn features(config: &ServerConfig) -> SecurityFeatures {
        let username_anonymity = config.secrets.is_empty() && !config.users.is_empty();
        SecurityFeatures { password_algorithms: true, username_anonymity }
    }

    /// Judges a request. `known` are the name and keys of the client's allocation: those stay good for it even when
    /// ephemeral credentials have expired, or the user is gone from the table.
    pub(crate) fn authenticate(
        &self,
        config: &ServerConfig,
        nonces: &Nonces,
        tuple: FiveTuple,
        message: &Message<'_>,
        known: Option<(&str, &Keys)>,
        clock: Clock,
    ) -> Result<Identity, Denied> {
        if !message.has_integrity() && !message.has_integrity_sha256() {
            return Err(Denied::UNKNOWN);
        }
        let named = message.username().is_some() || message.userhash().is_some();
        let (Some(realm), Some(nonce), true) = (message.realm(), message.nonce(), named) else {
            return Err(Denied::Error(ErrorCode::BAD_REQUEST));
        };
        let nonce = nonces.check(tuple.client, nonce, clock.seconds);
        if nonce == NonceState::Foreign {
            return Err(Denied::STALE);
        }
        let algorithm = chosen_algorithm(message)?;
        if realm != config.realm {
            return Err(Denied::UNKNOWN);
        }
        let username = match message.username() {
            Some(name) => name,
            None => self.name_of(message).ok_or(Denied::UNKNOWN)?,
        };
        let (owner, candidates) = self.candidates(config, username, known, clock).ok_or(Denied::UNKNOWN)?;
        // MESSAGE-INTEGRITY-SHA256 decides wherever it is (RFC 8489 §9.2.4).
        let right = |keys: &Keys| match message.has_integrity_sha256() {
            true => message.verify_integrity_sha256(keys.of(algorithm)).is_valid(),
            false => message.verify_integrity(keys.of(algorithm)).is_valid(),
        };
        let keys = candidates.into_iter().find(right).ok_or(Denied::UNKNOWN)?;
        if nonce == NonceState::Stale {
            return Err(Denied::STALE);
        }
        let sha256 = message.attribute(AttributeType::PASSWORD_ALGORITHM).is_some();
        let signer = Signer { key: keys.of(algorithm).clone(), sha256 };
        Ok(Identity { username: username.to_owned(), owner: owner.to_owned(), keys, signer })
    }

    /// Whether this request says that it is `name`'s.
    pub(crate) fn claims(&self, message: &Message<'_>, name: &str) -> bool {
        message.username().or_else(|| self.name_of(message)) == Some(name)
    }

    fn name_of(&self, message: &Message<'_>) -> Option<&str> {
        self.by_hash.get(&message.userhash()?).map(String::as_str)
    }

    /// Whose name that is, and which keys it may have.
    fn candidates<'n>(
        &self,
        config: &ServerConfig,
        username: &'n str,
        known: Option<(&str, &Keys)>,
        clock: Clock,
    ) -> Option<(&'n str, Vec<Keys>)> {
        let owner = parse_username(username).filter(|_| !config.secrets.is_empty());
        // Of a name that is nothing but a time, each is an owner: else all would share one quota.
        let owner = owner.map(|(expiry, user)| (expiry, if user.is_empty() { username } else { user }));
        if let Some((_, keys)) = known.filter(|(name, _)| *name == username) {
            return Some((owner.map_or(username, |(_, user)| user), vec![keys.clone()]));
        }
        if let Some(keys) = self.keys.get(username) {
            return Some((username, vec![keys.clone()]));
        }
        let (_, user) = owner.filter(|(expiry, _)| clock.unix < *expiry)?;
        let keys =
            |secret: &Vec<u8>| Keys::new(username, &config.realm, &ephemeral_password(secret, username));
        Some((user, config.secrets.iter().filter_map(keys).collect()))
    }
}

/// The time, for nonces and for ephemeral credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Seconds since the server began.
    pub(crate) seconds: u32,
    /// Seconds since 1970.
    pub(crate) unix: u64,
}

/// RFC 8489 §9.2.4, third point. Our nonces always announce password algorithms.
fn chosen_algorithm(message: &Message<'_>) -> Result<PasswordAlgorithm, Denied> {
    let list = message.attribute(AttributeType::PASSWORD_ALGORITHMS);
    if list.is_none() && message.attribute(AttributeType::PASSWORD_ALGORITHM).is_none() {
        return Ok(PasswordAlgorithm::MD5);
    }
    let known = [PasswordAlgorithm::SHA256, PasswordAlgorithm::MD5];
    let choice = message.password_algorithm().filter(|choice| known.contains(choice));
    match (list, choice) {
        (Some(list), Some(choice)) if list == PASSWORD_ALGORITHMS => Ok(choice),
        _ => Err(Denied::Error(ErrorCode::BAD_REQUEST)),
    }
}
