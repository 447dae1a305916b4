//! What a data channel m-section says: our side as it goes in, the peer's side as it comes out.

use std::fmt;

use crate::error::Error;
use crate::{Fingerprint, MAX_CANDIDATE, MAX_CANDIDATES, MAX_FINGERPRINTS, Setup};

/// Our side of the transport, as a description will say it.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalTransport {
    /// ICE user name fragment: 4 to 256 letters, digits, `+` or `/` (RFC 8839 §5.4).
    pub ufrag: String,
    /// ICE password: 22 to 256 of the same characters.
    pub pwd: String,
    /// Fingerprints of our certificate; at least one that [`Fingerprint::is_strong`], at most
    /// [`MAX_FINGERPRINTS`].
    pub fingerprints: Vec<Fingerprint>,
    /// SCTP port, not 0; 5000 everywhere.
    pub sctp_port: u16,
    /// Largest message that we take, in bytes; 0 and `u64::MAX` both say "any size" (RFC 8841 §6.1).
    pub max_message_size: u64,
    /// Whether we are an ICE-lite agent (RFC 8839 §5.3).
    pub ice_lite: bool,
    /// Candidates gathered so far, as `candidate:…` without `a=`; at most [`MAX_CANDIDATES`] of [`MAX_CANDIDATE`] bytes.
    pub candidates: Vec<String>,
    /// Whether no candidate will follow (RFC 8840 §4.2).
    pub end_of_candidates: bool,
}

/// The peer's side of the transport, as its description said it.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteTransport {
    /// ICE user name fragment, within the rules of RFC 8839 §5.4.
    pub ufrag: String,
    /// ICE password, likewise.
    pub pwd: String,
    /// Whether the peer is an ICE-lite agent.
    pub ice_lite: bool,
    /// Whether the peer takes candidates later than its description (RFC 8840 §4.1.3).
    pub trickle: bool,
    /// Whether the peer takes numbered nominations (draft-thatcher-ice-renomination).
    pub renomination: bool,
    /// Whether ufrag or pwd differ from those of the session that is running: the peer restarts ICE (RFC 8839 §4.4.1.1.1).
    pub ice_restart: bool,
    /// Who opens DTLS. Never [`Setup::HoldConn`]; in an answer never [`Setup::ActPass`].
    pub setup: Setup,
    /// The peer's fingerprints, in its order; at least one is strong.
    pub fingerprints: Vec<Fingerprint>,
    /// SCTP port, not 0.
    pub sctp_port: u16,
    /// Largest message that the peer takes, in bytes: 65 536 if it did not say, `u64::MAX` for any size.
    pub max_message_size: u64,
    /// Candidates in the description, as `candidate:…`; nothing about them is checked but length and control characters.
    pub candidates: Vec<String>,
    /// Whether no candidate will follow.
    pub end_of_candidates: bool,
    /// `a=mid` of the data m-line; empty if it has none.
    pub mid: String,
    /// Index of the data m-line among the m-lines, from 0.
    pub mline_index: usize,
}

impl fmt::Debug for LocalTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ufrag, pwd: _, fingerprints, sctp_port, max_message_size, ice_lite, .. } = self;
        let Self { candidates, end_of_candidates, .. } = self;
        f.debug_struct("LocalTransport")
            .field("ufrag", ufrag)
            .field("pwd", &"…")
            .field("fingerprints", fingerprints)
            .field("sctp_port", sctp_port)
            .field("max_message_size", max_message_size)
            .field("ice_lite", ice_lite)
            .field("candidates", candidates)
            .field("end_of_candidates", end_of_candidates)
            .finish()
    }
}

impl fmt::Debug for RemoteTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTransport")
            .field("ufrag", &self.ufrag)
            .field("pwd", &"…")
            .field("ice_lite", &self.ice_lite)
            .field("trickle", &self.trickle)
            .field("renomination", &self.renomination)
            .field("ice_restart", &self.ice_restart)
            .field("setup", &self.setup)
            .field("fingerprints", &self.fingerprints)
            .field("sctp_port", &self.sctp_port)
            .field("max_message_size", &self.max_message_size)
            .field("candidates", &self.candidates)
            .field("end_of_candidates", &self.end_of_candidates)
            .field("mid", &self.mid)
            .field("mline_index", &self.mline_index)
            .finish()
    }
}

impl LocalTransport {
    /// Everything that goes into a line is checked here, so that no field can bring a line of its own with it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_credentials(&self.ufrag, &self.pwd)?;
        check_fingerprints(&self.fingerprints)?;
        if self.sctp_port == 0 {
            return Err(Error::BadSctpPort("0".to_owned()));
        }
        if self.candidates.len() > MAX_CANDIDATES {
            return Err(Error::TooLarge { what: "candidates", limit: MAX_CANDIDATES });
        }
        self.candidates.iter().try_for_each(|line| check_candidate(line))
    }
}

pub(crate) fn check_candidate(line: &str) -> Result<(), Error> {
    if line.len() > MAX_CANDIDATE {
        return Err(Error::TooLarge { what: "bytes of a candidate line", limit: MAX_CANDIDATE });
    }
    if line.chars().any(char::is_control) {
        return Err(Error::InvalidCharacter { what: "a candidate" });
    }
    if line.starts_with("candidate:") { Ok(()) } else { Err(Error::BadCandidate) }
}

/// RFC 8839 §5.4: `ufrag = 4*256ice-char`, `password = 22*256ice-char`, `ice-char = ALPHA / DIGIT / "+" / "/"`. Some
/// peers use `-` and `_`, too; nothing can go wrong with them.
pub(crate) fn check_credentials(ufrag: &str, pwd: &str) -> Result<(), Error> {
    let valid = |s: &str, least| {
        (least..=256).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b))
    };
    if !valid(ufrag, 4) {
        Err(Error::BadIceCredentials("ufrag"))
    } else if !valid(pwd, 22) {
        Err(Error::BadIceCredentials("pwd"))
    } else {
        Ok(())
    }
}

pub(crate) fn check_fingerprints(fingerprints: &[Fingerprint]) -> Result<(), Error> {
    if fingerprints.is_empty() {
        return Err(Error::NoFingerprint);
    }
    if fingerprints.len() > MAX_FINGERPRINTS {
        return Err(Error::TooLarge { what: "fingerprints", limit: MAX_FINGERPRINTS });
    }
    fingerprints.iter().try_for_each(Fingerprint::check)?;
    if fingerprints.iter().any(Fingerprint::is_strong) { Ok(()) } else { Err(Error::WeakFingerprintOnly) }
}
