//! What happens to relays, and who is told of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use sinnet_peer::Protocol;
use sinnet_turn::{Error, ErrorCode, Event, Reason};

use super::relay::{Carrier, Relay};
use super::{LAST_BACK_OFF, LASTED, RELEASE, State, connect, is_own_address};
use crate::description::IceCandidateError;
use crate::driver::Driver;
use crate::driver::links::Link;
use crate::shared::{PeerShared, Queued};

/// A connection learns of its addresses on a server.
pub(super) fn tell(peer: &Arc<PeerShared>, now: Instant, relay: &Relay) {
    if relay.closing_until.is_some() {
        return;
    }
    let mut core = peer.lock();
    for relayed in &relay.relayed {
        // Who may only be seen through relays doesn't say what is behind them.
        let nobody: SocketAddr = if relayed.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let related = relay.mapped.filter(|_| !peer.relay_only).unwrap_or(nobody);
        let server = relay.client.server().ip();
        if let Some(line) = core.peer.add_relayed(now, *relayed, related, server, relay.by) {
            let candidate = core.candidate(line);
            peer.enqueue(&mut core, Queued::Candidate(Some(candidate)));
        }
    }
    drop(core);
    peer.touch();
}

pub(super) fn tell_error(peer: &Arc<PeerShared>, error: &IceCandidateError) {
    peer.enqueue(&mut peer.lock(), Queued::CandidateError(error.clone()));
}

impl Driver {
    /// Does what is due for relays, and takes what has happened to them.
    pub(in crate::driver) fn drive_relays(&mut self, now: Instant) {
        for at in 0..self.relays.slots.len() {
            self.drive_slot(at, now);
        }
        if self.live == 0 && self.relays.is_idle() {
            // The next one begins anew, with the names.
            self.relays.slots.clear();
        }
    }

    fn drive_slot(&mut self, at: usize, now: Instant) {
        let slot = &mut self.relays.slots[at];
        slot.pending_until = slot.pending_until.filter(|until| *until > now);
        if let State::Connecting { server, deadline, task, .. } = &slot.state
            && *deadline <= now
        {
            task.abort();
            let error_text = format!("{server}: the server did not take the connection in time");
            let (delay, error) = (slot.back_off(), slot.unreachable(error_text));
            self.relays.give_up(at, now, delay, error);
        }
        if let State::Waiting { until } = self.relays.slots[at].state
            && until <= now
        {
            self.relays.start(at, &self.shared, &self.sockets, now);
        }
        let mut let_go = Vec::new();
        if let State::Open(relay) = &mut self.relays.slots[at].state {
            relay.client.handle_timeout(now);
            if relay.held_until.is_some_and(|until| until <= now) {
                relay.held_until = None;
                let_go = std::mem::take(&mut relay.held);
            }
        }
        let_go.into_iter().for_each(|peer| self.concern(peer));
        loop {
            let State::Open(relay) = &mut self.relays.slots[at].state else { return };
            let Some(event) = relay.client.poll_event() else { break };
            self.on_relay_event(at, now, event);
        }
        if let State::Open(relay) = &self.relays.slots[at].state
            && relay.closing_until.is_some_and(|until| until <= now)
        {
            tracing::debug!(url = %self.relays.slots[at].url, "allocation not given back in time");
            self.end_relay(at, now);
        }
    }

    fn on_relay_event(&mut self, at: usize, now: Instant, event: Event) {
        let slot = &mut self.relays.slots[at];
        let State::Open(relay) = &mut slot.state else { return };
        match event {
            Event::Allocated { relayed, mapped, refused } => {
                if let Some((family, code)) = refused {
                    tracing::debug!(url = %slot.url, ?family, %code, "no relayed address of this family");
                }
                self.on_allocated(at, now, relayed, mapped);
            }
            Event::Permitted { ip } => {
                let ready = relay.permitted(now, ip, true);
                let id = relay.id;
                for (peer, datagram) in ready {
                    self.send_kept(id, now, peer, &datagram);
                }
            }
            Event::NotPermitted { ip, error } => {
                tracing::debug!(%ip, %error, "not permitted");
                relay.permitted(now, ip, false);
            }
            Event::ChannelNotBound { peer, error } => tracing::debug!(%peer, %error, "no channel"),
            Event::Redirected { server, domain } => self.on_redirected(at, server, domain),
            Event::Failed(error) => self.on_failed(at, now, error),
            Event::Closed => self.end_relay(at, now),
            Event::Icmp { peer, icmp_type, icmp_code, mtu } => {
                tracing::debug!(%peer, icmp_type, icmp_code, mtu, "ICMP behind the relay");
            }
            // ChannelBound, and events to come.
            _ => {}
        }
    }

    fn on_redirected(&mut self, at: usize, server: SocketAddr, domain: Option<String>) {
        let slot = &mut self.relays.slots[at];
        let State::Open(relay) = &mut slot.state else { return };
        tracing::debug!(url = %slot.url, %server, "sent to another server");
        let id = relay.id;
        if let Carrier::Udp { socket, .. } = relay.carrier {
            // What comes from there is another relay's, or a peer's whom we reach directly.
            let is_peers = !self.routes.of_remote(Link::Socket(socket), server).is_empty();
            let is_anothers = |other: &Relay| other.id != id && other.is_at(socket, server);
            if is_peers || self.relays.relays().any(is_anothers) {
                let Some(relay) = self.relays.get_mut(id) else { return };
                relay.broken = Some(format!("it redirects to {server}, which is in use"));
                relay.client.disconnected();
            }
        } else {
            relay.carrier = Carrier::Connecting;
            let target = slot.target(server, domain);
            connect::connect(self.shared.clone(), id, target, self.shared.config.gather_timeout);
        }
    }

    fn on_allocated(
        &mut self,
        at: usize,
        now: Instant,
        relayed: Vec<SocketAddr>,
        mapped: Option<SocketAddr>,
    ) {
        // A server that claims an address of ours, or another server's, would get what is meant for that.
        let taken = |addr: &SocketAddr| {
            self.relays.of_local(*addr).is_some() || is_own_address(*addr, &self.shared.bound)
        };
        let lies = relayed.iter().any(taken);
        let slot = &mut self.relays.slots[at];
        let State::Open(relay) = &mut slot.state else { return };
        if lies {
            relay.broken = Some("the relayed address is another one's".to_owned());
            relay.closing_until = Some(now + RELEASE);
            relay.client.close(now);
            return;
        }
        tracing::debug!(url = %slot.url, ?relayed, "allocated");
        slot.pending_until = None;
        slot.error = None;
        relay.relayed = relayed;
        relay.mapped = mapped;
        relay.allocated_at = Some(now);
        self.relays.users.values().for_each(|peer| tell(peer, now, relay));
    }

    fn on_failed(&mut self, at: usize, now: Instant, error: Error) {
        let slot = &mut self.relays.slots[at];
        let State::Open(relay) = &mut slot.state else { return };
        let address = relay.local();
        let error_text = match relay.broken.take() {
            Some(broken) => format!("{error}: {broken}"),
            None => error.to_string(),
        };
        let lasted = relay.allocated_at.is_some_and(|since| now.saturating_duration_since(since) >= LASTED);
        if lasted {
            slot.failures = 0;
        }
        let code = code_of(error.reason);
        let mut delay = slot.back_off().max(error.retry_after().unwrap_or_default());
        if error.reason == Reason::Credentials {
            delay = LAST_BACK_OFF;
        }
        self.lose(at, now);
        let url = self.relays.slots[at].url.to_string();
        let error = IceCandidateError { url, address, error_code: code, error_text };
        self.relays.give_up(at, now, delay, error);
    }

    /// No connection to a server was made.
    pub(in crate::driver) fn relay_connected(&mut self, now: Instant, connected: super::Connected) {
        let failed = self.relays.connected(now, connected.relay, connected.result);
        if let Some((at, error_text)) = failed {
            let slot = &mut self.relays.slots[at];
            let (delay, error) = (slot.back_off(), slot.unreachable(error_text));
            self.relays.give_up(at, now, delay, error);
        }
    }

    /// A relay is over, as was asked for, or because its server lied.
    fn end_relay(&mut self, at: usize, now: Instant) {
        let broken = match &mut self.relays.slots[at].state {
            State::Open(relay) => relay.broken.take(),
            _ => None,
        };
        self.lose(at, now);
        let slot = &mut self.relays.slots[at];
        match broken {
            Some(broken) if !self.relays.users.is_empty() => {
                let error = slot.unreachable(broken);
                self.relays.give_up(at, now, LAST_BACK_OFF, error);
            }
            _ => {
                (slot.state, slot.pending_until) = (State::Idle, None);
                if !self.relays.users.is_empty() {
                    // Somebody has come while it was given back.
                    self.relays.start_idle(&self.shared, &self.sockets, now);
                }
            }
        }
    }

    /// Takes the addresses of a relay from all connections.
    fn lose(&mut self, at: usize, now: Instant) {
        let State::Open(relay) = &mut self.relays.slots[at].state else { return };
        // What its client says last: that an allocation is given back which it can't use, or may have got.
        relay.send_requests(now, &self.sockets);
        if let Carrier::Stream(stream) = &mut relay.carrier {
            stream.close();
        }
        let relayed = std::mem::take(&mut relay.relayed);
        let held = std::mem::take(&mut relay.held);
        self.routes.forget_link(Link::Relay(relay.id));
        for (index, peer) in &self.relays.users {
            let mut core = peer.lock();
            relayed.iter().for_each(|local| core.peer.remove_local(now, Protocol::Udp, *local));
            drop(core);
            if !relayed.is_empty() {
                tracing::debug!(index, "relay lost");
                peer.touch();
            }
        }
        held.into_iter().for_each(|peer| self.concern(peer));
    }
}

/// STUN's error code, where there was one.
fn code_of(reason: Reason) -> u16 {
    match reason {
        Reason::Refused(code) => code.0,
        Reason::Credentials => ErrorCode::UNAUTHENTICATED.0,
        Reason::StaleNonces => ErrorCode::STALE_NONCE.0,
        Reason::Integrity { code } => code.map_or(IceCandidateError::UNREACHABLE, |code| code.0),
        _ => IceCandidateError::UNREACHABLE,
    }
}
