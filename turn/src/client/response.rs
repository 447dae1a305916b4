//! What the server answers (RFC 8489 §9.2.5, §10; RFC 8656 §7.3, §7.4, §8.3, §10.3, §12.3).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sinnet_stun::{AttributeType, Class, Message};
use tracing::debug;

use super::auth::{self, Auth};
use super::config::{Families, Transport};
use super::event::{Event, Reason, Step};
use super::peers::{CHANNEL_LIFETIME, PERMISSION_LIFETIME, Progress, REFRESH_AFTER};
use super::request::{Kind, Request};
use super::{Allocation, Client, State, families, is_sendable, normal, refresh_after};
use crate::attributes::{self, AddressFamily};
use crate::error_code::ErrorCode;

/// A server that claims less is refreshed as if it had said this: else it could have us send as often as it liked.
const MIN_LIFETIME: Duration = Duration::from_secs(30);
/// And one that claims more as if this (RFC 8656 §7.2: no more than an hour is recommended).
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
/// Nonces in a row that one request may find stale.
const MAX_STALE_NONCES: u8 = 3;

/// What a response may carry that must be understood.
const UNDERSTOOD: &[AttributeType] = &[
    AttributeType::MAPPED_ADDRESS,
    AttributeType::XOR_MAPPED_ADDRESS,
    AttributeType::XOR_RELAYED_ADDRESS,
    AttributeType::LIFETIME,
    AttributeType::RESERVATION_TOKEN,
    AttributeType::CHANNEL_NUMBER,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::ERROR_CODE,
    AttributeType::UNKNOWN_ATTRIBUTES,
    AttributeType::USERNAME,
    AttributeType::USERHASH,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::PASSWORD_ALGORITHM,
    // RFC 8489 §14.5: known, and not protected where this crate reads them.
    AttributeType::MESSAGE_INTEGRITY,
    AttributeType::MESSAGE_INTEGRITY_SHA256,
    // RFC 8656 §18, once assigned: coturn's BANDWIDTH and TIMER-VAL.
    AttributeType(0x0010),
    AttributeType(0x0021),
];

impl Client {
    pub(super) fn on_response(&mut self, now: Instant, message: &Message<'_>) {
        let id = message.transaction_id();
        let matching = |r: &Request| r.transaction.id() == id && r.kind.method() == message.method();
        let Some(at) = self.requests.iter().position(matching) else {
            self.stats.dropped_unknown += 1;
            return;
        };
        let code = message.error_code().map(ErrorCode);
        let is_error = message.class() == Class::ErrorResponse;
        if is_error && code.is_none() {
            self.stats.dropped_malformed += 1;
            return;
        }
        let Some(request) = self.requests.get_mut(at) else { return };
        let challenge = matches!(code, Some(ErrorCode::UNAUTHENTICATED | ErrorCode::STALE_NONCE)) && is_error;
        if !challenge && auth::is_bid_down(message) {
            self.stats.dropped_integrity += 1;
            return;
        }
        if let Some(auth) = &request.auth
            && !challenge
            && !auth.verifies(message)
        {
            debug!(server = %self.server, "response without the right integrity");
            self.stats.dropped_integrity += 1;
            // RFC 8489 §9.2.5: as if it had never come, but for the reason that is given in the end. A stream has no
            // forged messages among right ones, so there the end is now.
            request.unauthentic = Some(code.filter(|_| is_error));
            if self.transport == Transport::Stream {
                let request = self.requests.swap_remove(at);
                self.gave_up(now, request.kind, Reason::Integrity { code: code.filter(|_| is_error) });
            }
            return;
        }
        self.stats.responses_received += 1;
        let request = self.requests.swap_remove(at);
        match code.filter(|_| is_error) {
            Some(code) => self.on_error(now, request, message, code),
            // RFC 8489 §6.3.3.
            None if message.not_understood(UNDERSTOOD).next().is_some() => {
                self.gave_up(now, request.kind, Reason::BadAnswer);
            }
            None => self.on_success(now, request, message),
        }
    }

    fn on_success(&mut self, now: Instant, request: Request, message: &Message<'_>) {
        let sent = request.transaction.first_sent();
        let granted = |lifetime: Duration| Progress::Active {
            until: sent + lifetime,
            refresh_at: (sent + REFRESH_AFTER).max(now + Duration::from_secs(1)),
        };
        match request.kind {
            Kind::Allocate => self.on_allocated(now, message),
            Kind::Refresh => {
                let refresh_at = now + refresh_after(lifetime_of(message));
                if let Some(allocation) = &mut self.allocation {
                    allocation.refresh_at = Some(refresh_at);
                }
            }
            Kind::Release => self.end(Event::Closed),
            Kind::Clear if self.closing => self.end(Event::Closed),
            Kind::Clear => self.request(now, Kind::Allocate, 0),
            Kind::Permissions(ips) => {
                for ip in ips {
                    // It may have been forgotten meanwhile.
                    let Some(permission) = self.peers.permission_mut(ip) else { continue };
                    let first = permission.progress == Progress::Requested;
                    permission.progress = granted(PERMISSION_LIFETIME);
                    if first {
                        self.emit(Event::Permitted { ip });
                    }
                }
            }
            Kind::Channel(_, peer) => {
                let Some(channel) = self.peers.channel_mut(peer).filter(|c| !c.progress.is_released()) else {
                    return;
                };
                let first = channel.progress == Progress::Requested;
                channel.progress = granted(CHANNEL_LIFETIME);
                if first {
                    self.emit(Event::ChannelBound { peer });
                }
            }
        }
    }

    /// RFC 8656 §7.3.
    fn on_allocated(&mut self, now: Instant, message: &Message<'_>) {
        let relayed: Option<Vec<_>> =
            message.xor_addresses(AttributeType::XOR_RELAYED_ADDRESS).take(3).collect();
        let relayed: Vec<_> = relayed.unwrap_or_default().into_iter().map(normal).collect();
        let wanted = |family| match self.config.families {
            Families::Default => family == AddressFamily::IPV4,
            Families::Ipv6 => family == AddressFamily::IPV6,
            Families::Both => true,
        };
        let distinct = match relayed.as_slice() {
            [_] => true,
            [a, b] => a.is_ipv4() != b.is_ipv4(),
            _ => false,
        };
        let usable =
            distinct && relayed.iter().all(|addr| is_sendable(*addr)) && families(&relayed).all(wanted);
        self.state = State::Ready;
        self.allocation = Some(Allocation {
            relayed: if usable { relayed } else { Vec::new() },
            refresh_at: Some(now + refresh_after(lifetime_of(message))),
        });
        if self.closing || !usable {
            // RFC 8656 §7.3: what can't be used is given back.
            self.release(now);
            if !usable && !self.closing {
                self.end_after_release(Reason::BadAnswer);
            }
            return;
        }
        let relayed = self.relayed().to_vec();
        // What was asked for before anybody knew which families there are.
        let fits = |v4: bool| relayed.iter().any(|addr| addr.is_ipv4() == v4);
        self.peers.permissions.retain(|p| fits(p.ip.is_ipv4()));
        self.peers.channels.retain(|c| fits(c.peer.is_ipv4()));
        let refused = attributes::address_error_code(message).map(|(family, code)| (family, ErrorCode(code)));
        let mapped = message.xor_mapped_address().map(normal);
        self.emit(Event::Allocated { relayed, mapped, refused });
    }

    fn on_error(&mut self, now: Instant, request: Request, message: &Message<'_>, code: ErrorCode) {
        debug!(server = %self.server, step = %request.kind.step(), %code, "request refused");
        let kind = request.kind;
        let outcome = match code {
            ErrorCode::UNAUTHENTICATED if request.auth.is_none() => self.on_challenge(message),
            ErrorCode::UNAUTHENTICATED => Err(Reason::Credentials),
            ErrorCode::STALE_NONCE if request.auth.is_some() => {
                self.stats.stale_nonces += 1;
                if request.stale_nonces >= MAX_STALE_NONCES {
                    Err(Reason::StaleNonces)
                } else {
                    self.on_challenge(message)
                }
            }
            ErrorCode::TRY_ALTERNATE if kind == Kind::Allocate => {
                if let Err(reason) = self.redirect(now, message) {
                    self.gave_up(now, kind, reason);
                }
                return;
            }
            // RFC 8656 §7.4: without DONT-FRAGMENT it may go.
            ErrorCode::UNKNOWN_ATTRIBUTE
                if kind == Kind::Allocate
                    && self.dont_fragment
                    && message.unknown_attributes().any(|typ| typ == AttributeType::DONT_FRAGMENT) =>
            {
                self.dont_fragment = false;
                Ok(())
            }
            // RFC 8656 §7.4: our port has an allocation. One of our own user's, of a process before us or of an answer that was
            // lost, can be given back (§8); another's can't, and then another port is needed.
            ErrorCode::ALLOCATION_MISMATCH
                if kind == Kind::Allocate && request.auth.is_some() && !self.cleared =>
            {
                self.cleared = true;
                self.request(now, Kind::Clear, 0);
                return;
            }
            // RFC 8656 §5: there is no allocation any more, whatever was asked.
            ErrorCode::ALLOCATION_MISMATCH if matches!(kind, Kind::Permissions(_) | Kind::Channel(..)) => {
                self.fail(kind.step(), Reason::Refused(code));
                return;
            }
            code => Err(Reason::Refused(code)),
        };
        match outcome {
            Ok(()) => {
                let stale = u8::from(code == ErrorCode::STALE_NONCE);
                self.request(now, kind, request.stale_nonces + stale);
            }
            Err(reason) => self.gave_up(now, kind, reason),
        }
    }

    /// Takes realm and nonce of a 401 or 438.
    fn on_challenge(&mut self, message: &Message<'_>) -> Result<(), Reason> {
        let auth = Auth::from_challenge(&self.config.credentials, message)?;
        // Our credentials belong to one realm; another that asks for them is another's.
        if self.realm.as_ref().is_some_and(|realm| *realm != auth.realm) {
            return Err(Reason::RealmChanged);
        }
        self.auth = Some(auth);
        Ok(())
    }

    /// RFC 8489 §10.
    fn redirect(&mut self, now: Instant, message: &Message<'_>) -> Result<(), Reason> {
        let first = self.visited.first().copied().unwrap_or(self.server);
        let same_family = |addr: &SocketAddr| addr.is_ipv4() == first.is_ipv4() && is_sendable(*addr);
        let to =
            message.alternate_servers().map(normal).find(same_family).ok_or(Reason::RedirectToNowhere)?;
        if to.ip().is_loopback() && !first.ip().is_loopback() {
            return Err(Reason::RedirectToLoopback);
        }
        if self.visited.contains(&to) {
            return Err(Reason::RedirectLoop);
        }
        if self.visited.len() > usize::from(self.config.max_redirects) {
            return Err(Reason::TooManyRedirects);
        }
        if self.closing {
            self.end(Event::Closed);
            return Ok(());
        }
        self.visited.push(to);
        self.server = to;
        self.auth = None;
        let domain = message.alternate_domain().map(str::to_owned);
        self.emit(Event::Redirected { server: to, domain });
        match self.transport {
            Transport::Datagram => self.request(now, Kind::Allocate, 0),
            Transport::Stream => self.state = State::Connecting,
        }
        Ok(())
    }

    /// Ends without an answer to an Allocate request. If that was signed the server may have made the allocation all the same.
    pub(super) fn end_unanswered(&mut self, now: Instant, signed: bool, reason: Reason) {
        if signed {
            self.release(now);
            self.end_after_release(reason);
        } else {
            self.fail(Step::Allocate, reason);
        }
    }

    /// Says now that it failed; the Release that is under way is not waited for.
    fn end_after_release(&mut self, reason: Reason) {
        let requests = std::mem::take(&mut self.requests);
        self.fail(Step::Allocate, reason);
        // Sent once more by `poll_transmit`, which is all that a client that is over does.
        self.requests = requests;
    }
}

/// LIFETIME within what is believed; the default of RFC 8656 §3.2 if there is none.
fn lifetime_of(message: &Message<'_>) -> Duration {
    attributes::lifetime(message).unwrap_or(Duration::from_secs(600)).clamp(MIN_LIFETIME, MAX_LIFETIME)
}
