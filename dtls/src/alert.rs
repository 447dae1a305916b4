//! Alerts (RFC 5246 §7.2): two bytes, a level and a description.

use crate::types::code_points;
use std::fmt;

code_points! {
    /// How grave an alert is.
    pub(crate) AlertLevel(u8) {
        /// The connection may go on.
        WARNING = 1;
        /// The connection is dead.
        FATAL = 2;
    }
}

code_points! {
    /// What an alert says (RFC 5246 §7.2).
    pub AlertDescription(u8) {
        /// No more will be sent.
        CLOSE_NOTIFY = 0;
        /// A message out of its turn.
        UNEXPECTED_MESSAGE = 10;
        /// Too many records failed authentication.
        BAD_RECORD_MAC = 20;
        /// A genuine record was too long.
        RECORD_OVERFLOW = 22;
        /// A compressed record could not be restored; there is no compression here.
        DECOMPRESSION_FAILURE = 30;
        /// No parameters in common.
        HANDSHAKE_FAILURE = 40;
        /// The certificate is broken or not the expected one.
        BAD_CERTIFICATE = 42;
        /// The certificate's kind is not supported.
        UNSUPPORTED_CERTIFICATE = 43;
        /// The certificate was revoked.
        CERTIFICATE_REVOKED = 44;
        /// The certificate is out of date.
        CERTIFICATE_EXPIRED = 45;
        /// The certificate is refused for another reason; a browser's word for a wrong fingerprint.
        CERTIFICATE_UNKNOWN = 46;
        /// A field is out of range or contradicts another.
        ILLEGAL_PARAMETER = 47;
        /// The certificate's issuer is not known.
        UNKNOWN_CA = 48;
        /// A certificate is fine but not welcome.
        ACCESS_DENIED = 49;
        /// A message could not be parsed.
        DECODE_ERROR = 50;
        /// A signature or Finished did not verify.
        DECRYPT_ERROR = 51;
        /// The version is not supported.
        PROTOCOL_VERSION = 70;
        /// The parameters are not secure enough.
        INSUFFICIENT_SECURITY = 71;
        /// A fault of one's own.
        INTERNAL_ERROR = 80;
        /// The handshake is given up for a reason outside the protocol.
        USER_CANCELED = 90;
        /// Renegotiation is refused.
        NO_RENEGOTIATION = 100;
        /// An extension that was not offered.
        UNSUPPORTED_EXTENSION = 110;
        /// No application protocol in common (RFC 7301 §3.2).
        NO_APPLICATION_PROTOCOL = 120;
    }
}

/// One alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) level: AlertLevel,
    pub(crate) description: AlertDescription,
}

impl Alert {
    pub(crate) const fn fatal(description: AlertDescription) -> Self {
        Self { level: AlertLevel::FATAL, description }
    }

    pub(crate) const fn warning(description: AlertDescription) -> Self {
        Self { level: AlertLevel::WARNING, description }
    }

    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        match *body {
            [level, description] => {
                Some(Self { level: AlertLevel(level), description: AlertDescription(description) })
            }
            _ => None,
        }
    }

    pub(crate) const fn to_bytes(self) -> [u8; 2] {
        [self.level.0, self.description.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_exactly_two_bytes() {
        let alert = Alert::fatal(AlertDescription::DECODE_ERROR);
        assert_eq!(Alert::parse(&alert.to_bytes()), Some(alert));
        assert_eq!(Alert::parse(&[2]), None);
        assert_eq!(Alert::parse(&[2, 50, 0]), None);
    }

    #[test]
    fn an_unknown_description_is_still_a_value() {
        assert_eq!(AlertDescription(200).to_string(), "0x00c8");
        assert_eq!(AlertDescription::CLOSE_NOTIFY.to_string(), "CLOSE_NOTIFY");
    }
}
