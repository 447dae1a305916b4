//! Error causes of ABORT and ERROR chunks (RFC 9260 §3.3.10).

use std::fmt;

/// An error cause code. Unknown ones are values like any other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CauseCode(pub u16);

impl CauseCode {
    /// No cause was given (not a code point of the RFC's).
    pub const NONE: Self = Self(0);
    /// Invalid Stream Identifier.
    pub const INVALID_STREAM_IDENTIFIER: Self = Self(1);
    /// Missing Mandatory Parameter.
    pub const MISSING_MANDATORY_PARAMETER: Self = Self(2);
    /// Stale Cookie.
    pub const STALE_COOKIE: Self = Self(3);
    /// Out of Resource.
    pub const OUT_OF_RESOURCE: Self = Self(4);
    /// Unresolvable Address.
    pub const UNRESOLVABLE_ADDRESS: Self = Self(5);
    /// Unrecognized Chunk Type.
    pub const UNRECOGNIZED_CHUNK_TYPE: Self = Self(6);
    /// Invalid Mandatory Parameter.
    pub const INVALID_MANDATORY_PARAMETER: Self = Self(7);
    /// Unrecognized Parameters.
    pub const UNRECOGNIZED_PARAMETERS: Self = Self(8);
    /// No User Data.
    pub const NO_USER_DATA: Self = Self(9);
    /// Cookie Received While Shutting Down.
    pub const COOKIE_RECEIVED_WHILE_SHUTTING_DOWN: Self = Self(10);
    /// Restart of an Association with New Addresses.
    pub const RESTART_WITH_NEW_ADDRESSES: Self = Self(11);
    /// User-Initiated Abort: the peer's application closed.
    pub const USER_INITIATED_ABORT: Self = Self(12);
    /// Protocol Violation.
    pub const PROTOCOL_VIOLATION: Self = Self(13);
}

impl fmt::Display for CauseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NONE => "no cause",
            Self::INVALID_STREAM_IDENTIFIER => "invalid stream identifier",
            Self::MISSING_MANDATORY_PARAMETER => "missing mandatory parameter",
            Self::STALE_COOKIE => "stale cookie",
            Self::OUT_OF_RESOURCE => "out of resource",
            Self::UNRESOLVABLE_ADDRESS => "unresolvable address",
            Self::UNRECOGNIZED_CHUNK_TYPE => "unrecognized chunk type",
            Self::INVALID_MANDATORY_PARAMETER => "invalid mandatory parameter",
            Self::UNRECOGNIZED_PARAMETERS => "unrecognized parameters",
            Self::NO_USER_DATA => "no user data",
            Self::COOKIE_RECEIVED_WHILE_SHUTTING_DOWN => "cookie received while shutting down",
            Self::RESTART_WITH_NEW_ADDRESSES => "restart with new addresses",
            Self::USER_INITIATED_ABORT => "user-initiated abort",
            Self::PROTOCOL_VIOLATION => "protocol violation",
            Self(code) => return write!(f, "cause {code}"),
        };
        f.write_str(name)
    }
}
