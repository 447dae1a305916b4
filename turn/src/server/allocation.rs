//! One allocation (RFC 8656 §6): its relayed addresses, permissions, channels and rate.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sinnet_stun::TransactionId;

use super::auth::{Keys, Signer};
use super::event::RelayId;
use crate::attributes::AddressFamily;
use crate::error_code::ErrorCode;

/// RFC 8656 §9.
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// A relayed address; `addr` is there once its socket is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay {
    pub(crate) id: RelayId,
    pub(crate) family: AddressFamily,
    pub(crate) addr: Option<SocketAddr>,
    pub(crate) expires: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    pub(crate) number: u16,
    pub(crate) peer: SocketAddr,
    pub(crate) until: Instant,
}

/// The answer that is owed until the sockets are open.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) lifetime: Duration,
    pub(crate) signer: Signer,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    tokens: u64,
    at: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    pub(crate) username: String,
    /// Whose quota it counts against.
    pub(crate) owner: String,
    pub(crate) keys: Keys,
    /// The request that made it, to know it again (RFC 8656 §7.2).
    pub(crate) made_by: TransactionId,
    pub(crate) pending: Option<Pending>,
    /// A family that was asked for and can't be had.
    pub(crate) refused: Option<(AddressFamily, ErrorCode)>,
    pub(crate) relays: Vec<Relay>,
    pub(crate) permissions: Vec<(IpAddr, Instant)>,
    pub(crate) channels: Vec<Channel>,
    rate: Option<Rate>,
}

impl Allocation {
    pub(crate) fn new(username: String, owner: String, keys: Keys, made_by: TransactionId) -> Self {
        Self {
            username,
            owner,
            keys,
            made_by,
            pending: None,
            refused: None,
            relays: Vec::new(),
            permissions: Vec::new(),
            channels: Vec::new(),
            rate: None,
        }
    }

    /// When the first of its relayed addresses ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.relays.iter().map(|relay| relay.expires).min()
    }

    /// The relayed address from which this peer is reached.
    pub(crate) fn relay_for(&self, peer: SocketAddr) -> Option<RelayId> {
        let family = AddressFamily::of(peer.ip());
        self.relays.iter().find(|relay| relay.family == family && relay.addr.is_some()).map(|relay| relay.id)
    }

    pub(crate) fn has_family(&self, family: AddressFamily) -> bool {
        self.relays.iter().any(|relay| relay.family == family)
    }

    /// The address goes, with its permissions and channels and no others (RFC 8656 §8.1).
    pub(crate) fn drop_family(&mut self, family: AddressFamily) {
        self.relays.retain(|relay| relay.family != family);
        self.permissions.retain(|(ip, _)| AddressFamily::of(*ip) != family);
        self.channels.retain(|channel| AddressFamily::of(channel.peer.ip()) != family);
    }

    pub(crate) fn is_permitted(&self, now: Instant, ip: IpAddr) -> bool {
        self.permissions.iter().any(|(known, until)| *known == ip && now < *until)
    }

    /// Whether these can be permitted together within `limit`; what has ended makes room.
    pub(crate) fn has_room_for(&mut self, now: Instant, ips: &[IpAddr], limit: usize) -> bool {
        self.permissions.retain(|(_, until)| now < *until);
        let is_new = |at: usize, ip: &IpAddr| {
            !self.permissions.iter().any(|(known, _)| known == ip)
                && !ips.iter().take(at).any(|other| other == ip)
        };
        let new = ips.iter().enumerate().filter(|(at, ip)| is_new(*at, ip)).count();
        self.permissions.len() + new <= limit
    }

    pub(crate) fn permit(&mut self, now: Instant, ip: IpAddr) {
        let until = now + PERMISSION_LIFETIME;
        match self.permissions.iter_mut().find(|(known, _)| *known == ip) {
            Some((_, old)) => *old = until,
            None => self.permissions.push((ip, until)),
        }
    }

    pub(crate) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        self.channels.iter().find(|c| c.number == number && now < c.until).map(|c| c.peer)
    }

    pub(crate) fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        self.channels.iter().find(|c| c.peer == peer && now < c.until).map(|c| c.number)
    }

    /// RFC 8656 §12.2, after the checks of addresses.
    pub(crate) fn bind(
        &mut self,
        now: Instant,
        number: u16,
        peer: SocketAddr,
        limit: usize,
    ) -> Result<(), ErrorCode> {
        self.channels.retain(|c| now < c.until);
        let until = now + CHANNEL_LIFETIME;
        let is_full = self.channels.len() >= limit;
        match self.channels.iter_mut().find(|c| c.number == number || c.peer == peer) {
            Some(known) if (known.number, known.peer) == (number, peer) => known.until = until,
            Some(_) => return Err(ErrorCode::BAD_REQUEST),
            None if is_full => return Err(ErrorCode::INSUFFICIENT_CAPACITY),
            None => self.channels.push(Channel { number, peer, until }),
        }
        Ok(())
    }

    /// Whether so many bytes may pass now. A token is a byte times a millisecond, so that no rate is lost to rounding.
    pub(crate) fn spend(&mut self, now: Instant, bytes: usize, per_second: u64) -> bool {
        let full = per_second.saturating_mul(1000);
        let rate = self.rate.get_or_insert(Rate { tokens: full, at: now });
        let elapsed = now.saturating_duration_since(rate.at).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        if elapsed > 0 {
            rate.tokens = rate.tokens.saturating_add(elapsed.saturating_mul(per_second)).min(full);
            rate.at = now;
        }
        let cost = (bytes as u64).saturating_mul(1000);
        let allowed = rate.tokens >= cost;
        rate.tokens -= if allowed { cost } else { 0 };
        allowed
    }
}
