//! Whom data may come from and go to: permissions by address, channels by address and port (RFC 8656 §9 and §12).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::channel;

/// RFC 8656 §9. The server counts from when it got the request, we from when we sent it.
pub(crate) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
pub(crate) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// RFC 8656 §12: five minutes after the end of a channel its number may be another's.
pub(crate) const NUMBER_UNUSED: Duration = Duration::from_secs(300);
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
    /// Not wanted any more. Only channels, until their number is free.
    Released { free_at: Instant },
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
        let on_its_way_out = matches!(self, Self::Released { free_at } if now < free_at);
        self == Self::Requested || on_its_way_out || self.is_active(now)
    }

    /// What becomes of a channel that nobody wants any more.
    pub(crate) fn released(self, now: Instant) -> Self {
        let free_after = |until: Instant| Self::Released { free_at: until + NUMBER_UNUSED };
        match self {
            // Nobody else knows of it.
            Self::Wanted | Self::Refused => Self::Released { free_at: now },
            Self::Requested => free_after(now + CHANNEL_LIFETIME),
            // What is under way may make it last from now.
            Self::Refreshing { until } => free_after(until.max(now + CHANNEL_LIFETIME)),
            Self::Active { until, .. } => free_after(until),
            Self::Released { .. } => self,
        }
    }

    /// Whether nobody wants it any more.
    pub(crate) fn is_released(self) -> bool {
        matches!(self, Self::Released { .. })
    }

    /// Whether asking again does anything.
    pub(crate) fn may_be_asked_for_again(self) -> bool {
        matches!(self, Self::Refused | Self::Released { .. })
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

/// A channel. Its number stays its peer's for five minutes after it has ended (RFC 8656 §12).
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

    /// The number for a new channel: the next, or when all have been used one that is free again.
    pub(crate) fn next_number(&self) -> Option<u16> {
        let next = self.channels.iter().map(|c| c.number).max().map_or(channel::FIRST, |last| last + 1);
        if next <= channel::LAST {
            return Some(next);
        }
        (channel::FIRST..=channel::LAST).find(|number| self.channels.iter().all(|c| c.number != *number))
    }

    /// Channels whose numbers may be others' now are gone.
    pub(crate) fn forget_released(&mut self, now: Instant) {
        self.channels.retain(|c| !matches!(c.progress, Progress::Released { free_at } if free_at <= now));
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
