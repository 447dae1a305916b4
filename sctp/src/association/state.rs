//! The states of an association (RFC 9260 §4).
//!
//! ```text
//!               connect() / INIT
//!   Closed ───────────────────────► CookieWait
//!      │                               │ INIT ACK / COOKIE ECHO
//!      │ COOKIE ECHO / COOKIE ACK      ▼
//!      │          ┌─────────────── CookieEchoed
//!      ▼          ▼ COOKIE ACK, or the peer's COOKIE ECHO
//!   Established ──────────────────────────────┐
//!      │ shutdown()                           │ SHUTDOWN
//!      ▼                                      ▼
//!   ShutdownPending                     ShutdownReceived
//!      │ all acknowledged / SHUTDOWN          │ all acknowledged / SHUTDOWN ACK
//!      ▼                     SHUTDOWN /       ▼
//!   ShutdownSent ─────────────────────► ShutdownAckSent
//!      │ SHUTDOWN ACK / SHUTDOWN COMPLETE     │ SHUTDOWN COMPLETE, or SHUTDOWN ACK / SHUTDOWN COMPLETE
//!      ▼                                      ▼
//!    Ended ◄──────────────── ABORT, abort(), timeout, violation: from any state
//! ```
//!
//! Both sides send INIT at once as a rule in WebRTC. Each then answers the other's INIT in CookieWait with
//! the tag and TSN of its own INIT, so whichever cookie returns first sets up the same association
//! (RFC 9260 §5.2.1).

/// Where an association is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Not begun. An INIT is answered, and a COOKIE ECHO sets the association up.
    Closed,
    CookieWait,
    CookieEchoed,
    Established,
    ShutdownPending,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    /// Over, for good.
    Ended,
}

impl State {
    /// DATA may be sent (RFC 9260 §6).
    pub(crate) fn sends_data(self) -> bool {
        matches!(self, Self::Established | Self::ShutdownPending | Self::ShutdownReceived)
    }

    /// DATA is taken: the peer may still send it.
    pub(crate) fn takes_data(self) -> bool {
        matches!(self, Self::Established | Self::ShutdownPending | Self::ShutdownSent)
    }

    /// The handshake is done, and the end has not come.
    pub(crate) fn has_peer(self) -> bool {
        matches!(
            self,
            Self::Established
                | Self::ShutdownPending
                | Self::ShutdownSent
                | Self::ShutdownReceived
                | Self::ShutdownAckSent
        )
    }
}
