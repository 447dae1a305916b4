//! Error codes of STUN and TURN (RFC 8489 §14.8, RFC 8656 §19).

use std::fmt;

/// An error code, 300 to 699. Any value can be one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The registered phrase, if this crate knows the code.
            pub fn phrase(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// RFC 8489 §14.8.
    TRY_ALTERNATE = 300, "Try Alternate";
    /// RFC 8489 §14.8.
    BAD_REQUEST = 400, "Bad Request";
    /// RFC 8489 §14.8.
    UNAUTHENTICATED = 401, "Unauthenticated";
    /// RFC 8656 §19.
    FORBIDDEN = 403, "Forbidden";
    /// RFC 8489 §14.8.
    UNKNOWN_ATTRIBUTE = 420, "Unknown Attribute";
    /// RFC 8656 §19.
    ALLOCATION_MISMATCH = 437, "Allocation Mismatch";
    /// RFC 8489 §14.8.
    STALE_NONCE = 438, "Stale Nonce";
    /// RFC 8656 §19.
    ADDRESS_FAMILY_NOT_SUPPORTED = 440, "Address Family not Supported";
    /// RFC 8656 §19.
    WRONG_CREDENTIALS = 441, "Wrong Credentials";
    /// RFC 8656 §19.
    UNSUPPORTED_TRANSPORT_PROTOCOL = 442, "Unsupported Transport Protocol";
    /// RFC 8656 §19.
    PEER_ADDRESS_FAMILY_MISMATCH = 443, "Peer Address Family Mismatch";
    /// RFC 8656 §19.
    ALLOCATION_QUOTA_REACHED = 486, "Allocation Quota Reached";
    /// RFC 8489 §14.8.
    SERVER_ERROR = 500, "Server Error";
    /// RFC 8656 §19.
    INSUFFICIENT_CAPACITY = 508, "Insufficient Capacity";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phrase() {
            Some(phrase) => write!(f, "{} {phrase}", self.0),
            None => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
