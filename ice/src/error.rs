//! What a caller can do wrong, one small enum per operation.

/// Why [`Agent::set_remote_credentials`](crate::Agent::set_remote_credentials) or
/// [`Agent::with_credentials`](crate::Agent::with_credentials) refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The ufrag isn't 4 to 256 ice-chars.
    #[error("the ice-ufrag is not 4 to 256 letters, digits, '+' or '/'")]
    Ufrag,
    /// The password isn't 22 to 256 ice-chars.
    #[error("the ice-pwd is not 22 to 256 letters, digits, '+' or '/'")]
    Pwd,
    /// Other remote credentials are already in use; only an ICE restart may change them.
    #[error("the remote ICE credentials cannot change without an ICE restart")]
    Changed,
    /// They are our own: our checks would be answered by ourselves.
    #[error("the remote ICE credentials are our own")]
    Own,
}

/// Why [`Agent::add_remote_candidate`](crate::Agent::add_remote_candidate) refused a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddCandidateError {
    /// Port 0, or an address that is unspecified, multicast or broadcast: nothing is ever sent there.
    #[error("the candidate's address is not one a peer can have")]
    UnusableAddress,
    /// The component isn't 1; with BUNDLE and no RTCP there is only one (RFC 8445 §4).
    #[error("the candidate is for a component other than 1")]
    Component,
    /// [`Config::max_remote_candidates`](crate::Config::max_remote_candidates) are already known.
    #[error("too many remote candidates")]
    TooMany,
    /// The agent is closed or has failed.
    #[error("the agent is closed")]
    Closed,
}

/// Why a candidate's text was not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateParseError {
    /// More than 1024 bytes, or more than 32 extensions.
    #[error("the candidate is too long")]
    TooLong,
    /// A control character or a character outside ASCII.
    #[error("the candidate contains a control character or is not ASCII")]
    Character,
    /// The text ends before the field.
    #[error("the candidate has no {0}")]
    Missing(&'static str),
    /// The field breaks its grammar.
    #[error("the candidate's {0} is not valid")]
    Invalid(&'static str),
}
