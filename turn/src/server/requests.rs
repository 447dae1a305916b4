//! Requests and their answers (RFC 8656 §7.2, §8.2, §10.2, §12.2).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sinnet_stun::{AttributeType, Builder, Class, Message, Method, TransactionId};
use tracing::debug;

use super::allocation::{Allocation, Pending, Relay};
use super::auth::{Denied, Identity, PASSWORD_ALGORITHMS, Signer};
use super::event::{FiveTuple, RelayId, ServerEvent};
use super::{MAX_QUEUE, MAX_RESPONSE, OPENING_TIMEOUT, Server};
use crate::attributes::{self, AddressFamily, UDP, Write};
use crate::channel;
use crate::client::{SOFTWARE, is_sendable, normal};
use crate::error_code::ErrorCode;

/// What a request may carry that must be understood; DONT-FRAGMENT as configured.
const UNDERSTOOD: &[AttributeType] = &[
    AttributeType::USERNAME,
    AttributeType::USERHASH,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::PASSWORD_ALGORITHM,
    AttributeType::MESSAGE_INTEGRITY,
    AttributeType::MESSAGE_INTEGRITY_SHA256,
    AttributeType::REQUESTED_TRANSPORT,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::EVEN_PORT,
    AttributeType::RESERVATION_TOKEN,
    AttributeType::LIFETIME,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::CHANNEL_NUMBER,
    // Sent by older clients and without a meaning here (RFC 8656 §18, once BANDWIDTH).
    AttributeType(0x0010),
];

/// The addresses in a request for permissions, which is refused whole for any of them.
type Peers = Result<Vec<SocketAddr>, ErrorCode>;

impl Server {
    pub(super) fn on_request(&mut self, now: Instant, tuple: FiveTuple, message: &Message<'_>) {
        let id = message.transaction_id();
        let method = message.method();
        if method == Method::BINDING {
            return self.on_binding(now, tuple, message);
        }
        if method == Method::ALLOCATE
            && let Some(alternate) = self.config.alternate_server
        {
            return self.answer_stranger(now, tuple, message, ErrorCode::TRY_ALTERNATE, |b| {
                b.alternate_server(alternate);
            });
        }
        let known = self.allocations.get(&tuple).map(|a| (a.username.as_str(), &a.keys));
        // Who has had all the answers there are for now could only be guessing; and each failure takes one of those.
        let signed = message.has_integrity() || message.has_integrity_sha256();
        if signed
            && !known.is_some_and(|(name, _)| self.users.claims(message, name))
            && self.throttle.is_exhausted(now, tuple.client)
        {
            self.stats.dropped_throttled += 1;
            return;
        }
        let clock = self.clock(now);
        let identity = match self.users.authenticate(&self.config, &self.nonces, tuple, message, known, clock)
        {
            Ok(identity) => identity,
            Err(denied) => return self.deny(now, tuple, message, denied),
        };
        let dont_fragment =
            |typ: &AttributeType| *typ != AttributeType::DONT_FRAGMENT || !self.config.dont_fragment;
        let unknown: Vec<_> = message.not_understood(UNDERSTOOD).filter(dont_fragment).take(16).collect();
        if !unknown.is_empty() {
            self.stats.refused += 1;
            return self.answer(tuple, Class::ErrorResponse, method, id, Some(&identity.signer), |b| {
                b.error_code(ErrorCode::UNKNOWN_ATTRIBUTE.0).unknown_attributes(&unknown);
            });
        }
        let result = match method {
            Method::ALLOCATE => self.on_allocate(now, tuple, message, &identity),
            Method::REFRESH => self.on_refresh(now, tuple, message, &identity),
            Method::CREATE_PERMISSION => self.on_create_permission(now, tuple, message, &identity),
            Method::CHANNEL_BIND => self.on_channel_bind(now, tuple, message, &identity),
            _ => Err(ErrorCode::BAD_REQUEST),
        };
        if let Err(code) = result {
            self.refuse(tuple, method, id, code, &identity.signer);
        }
    }

    fn on_binding(&mut self, now: Instant, tuple: FiveTuple, message: &Message<'_>) {
        if !self.config.binding {
            self.stats.dropped_malformed += 1;
            return;
        }
        let unknown: Vec<_> = message.not_understood(UNDERSTOOD).take(16).collect();
        if !unknown.is_empty() {
            self.stats.refused += 1;
            return self.answer_stranger(now, tuple, message, ErrorCode::UNKNOWN_ATTRIBUTE, |b| {
                b.unknown_attributes(&unknown);
            });
        }
        if !self.throttle.allows(now, tuple.client) {
            self.stats.dropped_throttled += 1;
            return;
        }
        self.stats.bindings += 1;
        let id = message.transaction_id();
        self.answer(tuple, Class::SuccessResponse, Method::BINDING, id, None, |b| {
            b.xor_mapped_address(tuple.client);
        });
    }

    fn deny(&mut self, now: Instant, tuple: FiveTuple, message: &Message<'_>, denied: Denied) {
        let signed = message.has_integrity() || message.has_integrity_sha256();
        match denied {
            Denied::Error(code) => {
                self.stats.refused += 1;
                self.answer_stranger(now, tuple, message, code, |_| {});
            }
            Denied::Challenge(code) => {
                if signed && code == ErrorCode::UNAUTHENTICATED {
                    self.stats.wrong_credentials += 1;
                    debug!(client = %tuple.client, "wrong credentials");
                } else {
                    self.stats.challenges += 1;
                }
                let seconds = u32::try_from(self.config.nonce_lifetime.as_secs()).unwrap_or(u32::MAX);
                let expiry = self.clock(now).seconds.saturating_add(seconds);
                let nonce = self.nonces.make(tuple.client, expiry);
                let config = self.config.clone();
                self.answer_stranger(now, tuple, message, code, |b| {
                    b.realm(&config.realm).nonce(&nonce);
                    b.attribute(AttributeType::PASSWORD_ALGORITHMS, &PASSWORD_ALGORITHMS);
                });
            }
        }
    }

    /// An error for somebody without credentials: nothing more than it needs, and not too often.
    fn answer_stranger(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        message: &Message<'_>,
        code: ErrorCode,
        more: impl FnOnce(&mut Builder<'_>),
    ) {
        if !self.throttle.allows(now, tuple.client) {
            self.stats.dropped_throttled += 1;
            return;
        }
        self.answer(tuple, Class::ErrorResponse, message.method(), message.transaction_id(), None, |b| {
            b.error_code(code.0);
            more(b);
        });
    }

    fn refuse(
        &mut self,
        tuple: FiveTuple,
        method: Method,
        id: TransactionId,
        code: ErrorCode,
        signer: &Signer,
    ) {
        debug!(client = %tuple.client, ?method, %code, "request refused");
        self.stats.refused += 1;
        self.answer(tuple, Class::ErrorResponse, method, id, Some(signer), |b| {
            b.error_code(code.0);
        });
    }

    fn answer(
        &mut self,
        tuple: FiveTuple,
        class: Class,
        method: Method,
        id: TransactionId,
        signer: Option<&Signer>,
        write: impl FnOnce(&mut Builder<'_>),
    ) {
        if self.queue.len() >= MAX_QUEUE {
            self.stats.dropped_overflow += 1;
            return;
        }
        let mut out = [0; MAX_RESPONSE];
        let mut b = Builder::new(&mut out, class, method, id);
        write(&mut b);
        if let Some(signer) = signer {
            signer.sign(&mut b);
        }
        match b.finish().ok().and_then(|len| out.get(..len)) {
            Some(bytes) => self.queue.push_back((tuple, bytes.to_vec())),
            None => self.stats.dropped_overflow += 1,
        }
    }

    /// RFC 8656 §7.2, in its order.
    fn on_allocate(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        message: &Message<'_>,
        identity: &Identity,
    ) -> Result<(), ErrorCode> {
        let id = message.transaction_id();
        if let Some(known) = self.allocations.get(&tuple) {
            // A retransmission; the answer to it is the same, or on its way.
            return if known.made_by == id && known.username == identity.username {
                self.answer_allocated(now, tuple, &identity.signer);
                Ok(())
            } else {
                Err(ErrorCode::ALLOCATION_MISMATCH)
            };
        }
        match attributes::requested_transport(message) {
            None => return Err(ErrorCode::BAD_REQUEST),
            Some(UDP) => {}
            Some(_) => return Err(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL),
        }
        let (families, refused) = self.families(message)?;
        let owned = self.owners.get(&identity.owner).copied().unwrap_or(0);
        if owned >= self.config.max_allocations_per_user {
            self.stats.over_quota += 1;
            return Err(ErrorCode::ALLOCATION_QUOTA_REACHED);
        }
        // Sockets that nobody has opened or closed yet count, too.
        let waiting = self.events.len() / 4;
        if self.allocations.len().max(waiting) >= self.config.max_allocations {
            self.stats.over_quota += 1;
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        let mut allocation =
            Allocation::new(identity.username.clone(), identity.owner.clone(), identity.keys.clone(), id);
        let lifetime = self.lifetime(attributes::lifetime(message));
        allocation.pending = Some(Pending { lifetime, signer: identity.signer.clone() });
        allocation.refused = refused;
        self.allocations.insert(tuple, allocation);
        *self.owners.entry(identity.owner.clone()).or_default() += 1;
        let mut relays = Vec::new();
        let even_port = message.attribute(AttributeType::EVEN_PORT).is_some();
        for family in families {
            let relay = RelayId(self.next_relay);
            self.next_relay += 1;
            self.relays.insert(relay, tuple);
            self.events.push_back(ServerEvent::OpenRelay { relay, family, even_port });
            relays.push(Relay { id: relay, family, addr: None, expires: now + OPENING_TIMEOUT });
        }
        self.set_families(tuple, |allocation| allocation.relays = relays);
        Ok(())
    }

    /// Which families the request is for, and one that it can't have (RFC 8656 §7.2, 5 to 9).
    #[expect(clippy::type_complexity, reason = "a pair that is taken apart at once")]
    fn families(
        &self,
        message: &Message<'_>,
    ) -> Result<(Vec<AddressFamily>, Option<(AddressFamily, ErrorCode)>), ErrorCode> {
        let (v4, v6) = (AddressFamily::IPV4, AddressFamily::IPV6);
        let requested = attributes::family(message, AttributeType::REQUESTED_ADDRESS_FAMILY);
        let additional = attributes::family(message, AttributeType::ADDITIONAL_ADDRESS_FAMILY);
        let even_port = message.attribute(AttributeType::EVEN_PORT).is_some();
        if message.attribute(AttributeType::RESERVATION_TOKEN).is_some() {
            let contradiction = even_port || requested.is_some() || additional.is_some();
            // No port is ever reserved.
            return Err(if contradiction {
                ErrorCode::BAD_REQUEST
            } else {
                ErrorCode::INSUFFICIENT_CAPACITY
            });
        }
        if requested.is_some() && additional.is_some() {
            return Err(ErrorCode::BAD_REQUEST);
        }
        let supported = |family| family == v4 && self.config.ipv4 || family == v6 && self.config.ipv6;
        let families = match (requested, additional) {
            (Some(Err(())), _) | (_, Some(Err(()))) => return Err(ErrorCode::BAD_REQUEST),
            (None, Some(Ok(family))) if family != v6 => return Err(ErrorCode::BAD_REQUEST),
            (None, Some(Ok(_))) => vec![v4, v6],
            (Some(Ok(family)), _) => vec![family],
            (None, None) => vec![v4],
        };
        let (families, others): (Vec<_>, Vec<_>) =
            families.into_iter().partition(|family| supported(*family));
        if families.is_empty() {
            return Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED);
        }
        // With the R bit it asks for the next port, too, which only makes sense for RTP (RFC 8656 §3.8).
        if message
            .attribute(AttributeType::EVEN_PORT)
            .is_some_and(|value| value.first().is_none_or(|r| r & 0x80 != 0))
        {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        let refused = others.first().map(|family| (*family, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED));
        Ok((families, refused))
    }

    /// RFC 8656 §7.2 and §8.2: between the default and the longest.
    fn lifetime(&self, asked: Option<Duration>) -> Duration {
        let default = self.config.default_lifetime.max(Duration::from_secs(1));
        asked.unwrap_or(default).clamp(default, self.config.max_lifetime.max(default))
    }

    /// Answers the Allocate once all its sockets are open, or failed.
    pub(super) fn answer_if_open(&mut self, now: Instant, tuple: FiveTuple) {
        let Some(allocation) = self.allocations.get_mut(&tuple) else { return };
        if allocation.relays.iter().any(|relay| relay.addr.is_none()) {
            return;
        }
        let Some(pending) = allocation.pending.take() else { return };
        if allocation.relays.is_empty() {
            return;
        }
        self.stats.allocations_made += 1;
        debug!(client = %tuple.client, lifetime = ?pending.lifetime, "allocation made");
        self.set_families(tuple, |allocation| {
            allocation.relays.iter_mut().for_each(|relay| relay.expires = now + pending.lifetime);
        });
        self.answer_allocated(now, tuple, &pending.signer);
    }

    /// Tells that no socket could be opened.
    pub(super) fn refuse_pending(&mut self, tuple: FiveTuple) {
        let Some(allocation) = self.allocations.get_mut(&tuple) else { return };
        if let (Some(pending), id) = (allocation.pending.take(), allocation.made_by) {
            self.refuse(tuple, Method::ALLOCATE, id, ErrorCode::INSUFFICIENT_CAPACITY, &pending.signer);
        }
    }

    fn answer_allocated(&mut self, now: Instant, tuple: FiveTuple, signer: &Signer) {
        let Some(allocation) = self.allocations.get(&tuple).filter(|a| a.pending.is_none()) else { return };
        let relayed: Vec<_> = allocation.relays.iter().filter_map(|relay| relay.addr).collect();
        let left = allocation.deadline().map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let (id, refused) = (allocation.made_by, allocation.refused);
        self.answer(tuple, Class::SuccessResponse, Method::ALLOCATE, id, Some(signer), |b| {
            for addr in relayed {
                b.xor_address(AttributeType::XOR_RELAYED_ADDRESS, addr);
            }
            b.lifetime(left).xor_mapped_address(tuple.client);
            if let Some((family, code)) = refused {
                b.address_error_code(family, code.0);
            }
            b.software(SOFTWARE);
        });
    }

    /// The allocation of who is asking (RFC 8656 §5).
    fn own(&mut self, tuple: FiveTuple, identity: &Identity) -> Result<&mut Allocation, ErrorCode> {
        match self.allocations.get_mut(&tuple) {
            None => Err(ErrorCode::ALLOCATION_MISMATCH),
            Some(allocation) if allocation.pending.is_some() => Err(ErrorCode::ALLOCATION_MISMATCH),
            Some(allocation) if allocation.username != identity.username => Err(ErrorCode::WRONG_CREDENTIALS),
            Some(allocation) => Ok(allocation),
        }
    }

    /// RFC 8656 §8.2.
    fn on_refresh(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        message: &Message<'_>,
        identity: &Identity,
    ) -> Result<(), ErrorCode> {
        let allocation = self.own(tuple, identity)?;
        let only = match attributes::family(message, AttributeType::REQUESTED_ADDRESS_FAMILY) {
            None => None,
            Some(Err(())) => return Err(ErrorCode::BAD_REQUEST),
            Some(Ok(family)) if !allocation.has_family(family) => {
                return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
            }
            Some(Ok(family)) => Some(family),
        };
        let asked = attributes::lifetime(message);
        let meant = |family| only.is_none_or(|only| only == family);
        let lifetime = if asked == Some(Duration::ZERO) {
            self.set_families(tuple, |allocation| {
                let families: Vec<_> = allocation.relays.iter().map(|relay| relay.family).collect();
                families.into_iter().filter(|f| meant(*f)).for_each(|family| allocation.drop_family(family));
            });
            Duration::ZERO
        } else {
            let lifetime = self.lifetime(asked);
            self.set_families(tuple, |allocation| {
                let relays = allocation.relays.iter_mut().filter(|relay| meant(relay.family));
                relays.for_each(|relay| relay.expires = now + lifetime);
            });
            lifetime
        };
        let id = message.transaction_id();
        self.answer(tuple, Class::SuccessResponse, Method::REFRESH, id, Some(&identity.signer), |b| {
            b.lifetime(lifetime).software(SOFTWARE);
        });
        Ok(())
    }

    /// Judges the peers of a request; a permission is for all ports of an address.
    fn peers(&self, tuple: FiveTuple, message: &Message<'_>, with_port: bool) -> Peers {
        let peers: Option<Vec<_>> = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).collect();
        let peers = peers.filter(|peers| !peers.is_empty()).ok_or(ErrorCode::BAD_REQUEST)?;
        let allocation = self.allocations.get(&tuple).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let peers: Vec<_> = peers.into_iter().map(normal).collect();
        if peers.iter().any(|peer| !allocation.has_family(AddressFamily::of(peer.ip()))) {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        let allowed = |peer: &SocketAddr| match with_port {
            true => self.may_reach(*peer),
            false => is_sendable(SocketAddr::new(peer.ip(), 1)) && self.config.peers.allows(peer.ip()),
        };
        if peers.iter().all(allowed) { Ok(peers) } else { Err(ErrorCode::FORBIDDEN) }
    }

    /// RFC 8656 §10.2.
    fn on_create_permission(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        message: &Message<'_>,
        identity: &Identity,
    ) -> Result<(), ErrorCode> {
        self.own(tuple, identity)?;
        let ips: Vec<IpAddr> = self.peers(tuple, message, false)?.iter().map(SocketAddr::ip).collect();
        let limit = self.config.max_permissions;
        let allocation = self.own(tuple, identity)?;
        if ips.len() > limit || !allocation.has_room_for(now, &ips, limit) {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        ips.into_iter().for_each(|ip| allocation.permit(now, ip));
        self.succeed(tuple, message, identity);
        Ok(())
    }

    /// RFC 8656 §12.2.
    fn on_channel_bind(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        message: &Message<'_>,
        identity: &Identity,
    ) -> Result<(), ErrorCode> {
        self.own(tuple, identity)?;
        let number = attributes::channel_number(message)
            .filter(|number| (channel::FIRST..=channel::LAST_ON_SERVER).contains(number))
            .ok_or(ErrorCode::BAD_REQUEST)?;
        let peer = match self.peers(tuple, message, true)?.as_slice() {
            [peer] => *peer,
            _ => return Err(ErrorCode::BAD_REQUEST),
        };
        let (permissions, channels) = (self.config.max_permissions, self.config.max_channels);
        let allocation = self.own(tuple, identity)?;
        if !allocation.has_room_for(now, &[peer.ip()], permissions) {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        allocation.bind(now, number, peer, channels)?;
        allocation.permit(now, peer.ip());
        self.succeed(tuple, message, identity);
        Ok(())
    }

    fn succeed(&mut self, tuple: FiveTuple, message: &Message<'_>, identity: &Identity) {
        let id = message.transaction_id();
        self.answer(tuple, Class::SuccessResponse, message.method(), id, Some(&identity.signer), |_| {});
    }
}
