//! Why a description is refused. Each error leaves the [`crate::Negotiator`] as it was.

use crate::{DcmapError, Setup, SignalingState};

/// A description that can't be made or can't be accepted. Text of the peer in here is cut to 64 characters and has no
/// control characters.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A limit of the crate was passed.
    #[error("the description has too much: {what} are limited to {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// Not SDP: the line syntax of RFC 8866 is broken.
    #[error("this is not a session description (RFC 8866): {0}")]
    Syntax(String),
    /// CR, LF, NUL or another control character where a line would be broken or a field ended by it.
    #[error("{what} must not contain line breaks, NUL or other control characters")]
    InvalidCharacter {
        /// Which field.
        what: &'static str,
    },
    /// An offer without `m=application … UDP/DTLS/SCTP webrtc-datachannel`, or with it at port 0.
    #[error("the description has no data channel m-line; create a data channel before making the offer")]
    NoDataMediaLine,
    /// The answer to our offer has port 0 in the data channel m-line.
    #[error("the peer refused data channels (port 0 in its answer)")]
    DataRejected,
    /// The m-lines are not those that were negotiated before: fewer, in another order, or with another mid.
    #[error("the m-lines do not match those of the other description: {0}")]
    MLineMismatch(&'static str),
    /// No `a=fingerprint`, at no level (RFC 8842 §5.1): without it the peer can't be authenticated.
    #[error("the description has no certificate fingerprint; one with sha-256 is needed")]
    NoFingerprint,
    /// Fingerprints, but none by sha-256, sha-384 or sha-512 (RFC 8122 §5).
    #[error("no fingerprint of the description is strong enough; add one with sha-256, sha-384 or sha-512")]
    WeakFingerprintOnly,
    /// A fingerprint that does not parse or has not the length of its hash.
    #[error("the fingerprint is malformed: {0}")]
    BadFingerprint(String),
    /// The peer's fingerprints are not those of the session that is running.
    #[error("the peer's certificate fingerprint changed; open a new connection for another certificate")]
    FingerprintChanged,
    /// A value of `a=setup` that RFC 4145 does not define.
    #[error("a=setup:{0} is unknown; it must be active, passive or actpass")]
    UnknownSetup(String),
    /// No `a=setup`, at no level (RFC 8842 §5.2 requires it).
    #[error("the description has no a=setup; it must be active, passive or actpass")]
    MissingSetup,
    /// A setup that has no place in this description: `holdconn`, or `actpass` in an answer.
    #[error("a=setup:{0} is not allowed here; an answer must say active or passive, an offer not holdconn")]
    SetupNotAllowed(Setup),
    /// The description would swap DTLS client and server of a running session.
    #[error("a=setup would swap the DTLS roles of a running session; open a new connection instead")]
    RoleChanged,
    /// No `a=ice-ufrag` or no `a=ice-pwd`, at no level.
    #[error("the description has no a=ice-ufrag or no a=ice-pwd")]
    MissingIceCredentials,
    /// Credentials outside of RFC 8839 §5.4: ufrag 4–256, pwd 22–256 letters, digits, `+`, `/`, `-` and `_`.
    #[error("a=ice-{0} is malformed: ufrag needs 4 to 256, pwd 22 to 256 letters, digits, '+' or '/'")]
    BadIceCredentials(&'static str),
    /// No `a=sctp-port`; RFC 8841 §5.1 gives it no default.
    #[error("the description has no a=sctp-port")]
    MissingSctpPort,
    /// An `a=sctp-port` that is not 1–65535.
    #[error("a=sctp-port:{0} is not a port from 1 to 65535")]
    BadSctpPort(String),
    /// An `a=max-message-size` that is not a decimal number.
    #[error("a=max-message-size:{0} is not a number of bytes")]
    BadMaxMessageSize(String),
    /// A local candidate that does not begin with `candidate:`.
    #[error("a local candidate must be a line that begins with 'candidate:'")]
    BadCandidate,
    /// An `a=dcmap` or `a=dcsa` that breaks RFC 8864's grammar, or has both limits (§6.2).
    #[error("a=dcmap or a=dcsa: {0}")]
    Channel(DcmapError),
    /// Two `a=dcmap` for one stream.
    #[error("a=dcmap lists channel {0} twice")]
    DuplicateChannel(u16),
    /// An offer restarts ICE, and its answer has the credentials that were there before (RFC 8839 §4.4.3): the peer's, or
    /// those that ours was to be made with.
    #[error("the offer restarts ICE; its answer needs another ufrag and pwd than before")]
    IceRestartUnanswered,
    /// An answer has other ICE credentials than before, and its offer had the same (RFC 8839 §4.4.3).
    #[error("the answer restarts ICE, which the offer did not; ask for a restart by an offer")]
    IceRestartNotOffered,
    /// The operation has no place in this state (RFC 8829 §3.2).
    #[error("{operation} is not possible in the state {state}")]
    WrongState {
        /// What was asked for.
        operation: &'static str,
        /// The state, unchanged.
        state: SignalingState,
    },
    /// A local description that was not made by the last `create_offer` or `create_answer` (RFC 8829 §5.4).
    #[error("a local description must be set as create_offer or create_answer made it last")]
    NotCreatedHere,
}

/// The beginning of a peer's text, safe to print.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
