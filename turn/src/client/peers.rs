//! Whom data may come from and go to: permissions by address, channels by address and port (RFC 8656 §9 and §12).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::channel;

/// RFC 8656 §9. The server counts from when it got the request, we from when we sent it.
pub(crate) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
pub(crate) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// A minute before the permission ends, as a request may take 39.5 s. Channels are bound again as often, since that
/// keeps their permission too.
pub(crate) const REFRESH_AFTER: Duration = Duration::from_secs(240);

/// How far a permission or channel has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// To be asked for.
    Wanted,
    /// Asked for.
    Requested,
    /// Granted; to be asked for again at `refresh_at`.
    Active { until: Instant, refresh_at: Instant },
    /// Asked for again, still granted.
    Refreshing { until: Instant },
    /// Refused. Only channels stay in this state, for their number's sake.
    Refused,
}

impl Progress {
    /// Whether data may be sent.
    pub(crate) fn is_active(self, now: Instant) -> bool {
        match self {
            Self::Active { until, .. } | Self::Refreshing { until } => now < until,
            _ => false,
        }
    }

    /// Whether data may come: the server may have taken the request before we know (RFC 8656 §12).
    pub(crate) fn may_receive(self, now: Instant) -> bool {
        self == Self::Requested || self.is_active(now)
    }

    /// What a request makes of it.
    pub(crate) fn requested(self) -> Self {
        match self {
            Self::Active { until, .. } | Self::Refreshing { until } => Self::Refreshing { until },
            _ => Self::Requested,
        }
    }

    /// Whether a request is to be made.
    pub(crate) fn is_due(self, now: Instant) -> bool {
        match self {
            Self::Wanted => true,
            Self::Active { refresh_at, .. } => now >= refresh_at,
            _ => false,
        }
    }
}

/// A permission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permission {
    pub(crate) ip: IpAddr,
    pub(crate) progress: Progress,
    /// A request for several was refused, so this one is asked for by itself.
    pub(crate) alone: bool,
}

/// A channel. Its number is its peer's for as long as there is an allocation: RFC 8656 §12 wants five minutes between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    pub(crate) number: u16,
    pub(crate) peer: SocketAddr,
    pub(crate) progress: Progress,
}

/// Both tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    pub(crate) permissions: Vec<Permission>,
    pub(crate) channels: Vec<Channel>,
}

impl Peers {
    pub(crate) fn permission_mut(&mut self, ip: IpAddr) -> Option<&mut Permission> {
        self.permissions.iter_mut().find(|p| p.ip == ip)
    }

    pub(crate) fn channel_mut(&mut self, peer: SocketAddr) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|c| c.peer == peer)
    }

    /// The channel to send on.
    pub(crate) fn active_channel(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        self.channels.iter().find(|c| c.peer == peer && c.progress.is_active(now)).map(|c| c.number)
    }

    /// Whether Send indications may go there. A channel's permission is as good, but ends with a shorter count.
    pub(crate) fn may_send(&self, now: Instant, ip: IpAddr) -> bool {
        self.permissions.iter().any(|p| p.ip == ip && p.progress.is_active(now))
            || self.channels.iter().any(|c| c.peer.ip() == ip && c.progress.is_active(now))
    }

    /// Whether data of this address is expected.
    pub(crate) fn may_receive(&self, now: Instant, ip: IpAddr) -> bool {
        self.permissions.iter().any(|p| p.ip == ip && p.progress.may_receive(now))
            || self.channels.iter().any(|c| c.peer.ip() == ip && c.progress.may_receive(now))
    }

    /// Whose channel that is.
    pub(crate) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        self.channels.iter().find(|c| c.number == number && c.progress.may_receive(now)).map(|c| c.peer)
    }

    /// The number for a new channel.
    pub(crate) fn next_number(&self) -> Option<u16> {
        let next = self.channels.iter().map(|c| c.number).max().map_or(channel::FIRST, |last| last + 1);
        (next <= channel::LAST).then_some(next)
    }

    /// When something is to be asked for again.
    pub(crate) fn next_refresh(&self) -> Option<Instant> {
        let permissions = self.permissions.iter().map(|p| p.progress);
        let channels = self.channels.iter().map(|c| c.progress);
        let refresh = |progress| match progress {
            Progress::Active { refresh_at, .. } => Some(refresh_at),
            _ => None,
        };
        permissions.chain(channels).filter_map(refresh).min()
    }
}
