//! Datagrams through relays, wrapped and unwrapped in batches.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use sinnet_peer::{Path, Transmit};
use sinnet_turn::{Batch, NotTurn, SendError, is_channel_data};

use super::State;
use super::relay::{Carrier, Relay};
use crate::driver::links::{Link, Sent};
use crate::driver::routes::Remote;
use crate::driver::{Driver, RECEIVES_PER_TURN};

/// Bytes read from a server's connection in one call.
const READ: usize = 64 * 1024;

/// How long a connection waits for room in a server's stream before it goes on and loses what has none. Its checks of
/// other paths wait, too.
const HOLD: Duration = Duration::from_millis(100);

/// Addresses that one connection may have permitted on one relay, so that it can't take them from the others; the oldest
/// makes room.
const MAX_PERMISSIONS: usize = 32;

/// Whether it is of DTLS (RFC 7983 §7): then there is more to come.
fn is_data(datagram: &[u8]) -> bool {
    matches!(datagram, [20..=63, ..])
}

/// Binding's method (RFC 8489 §18.1).
const BINDING: u16 = 0x0001;

/// Whether it is something that a TURN server says: ChannelData, or STUN with another method than Binding (RFC 8489 §5).
fn is_turn(datagram: &[u8]) -> bool {
    let of_turn = |typ: u16| typ & 0x3EEF != BINDING;
    is_channel_data(datagram)
        || matches!(*datagram, [first @ 0..=3, second, ..] if of_turn(u16::from_be_bytes([first, second])))
}

// ---- out ----

impl Driver {
    /// Sends the batch in `send_buf` through a relay.
    pub(in crate::driver) fn send_relayed(
        &mut self,
        id: u32,
        now: Instant,
        peer: usize,
        transmit: Transmit,
    ) -> Sent {
        let remote = transmit.path.remote;
        let buf = std::mem::take(&mut self.send_buf);
        let data = buf.get(..transmit.size).unwrap_or_default();
        let sent = match self.wrap(id, now, remote, data, transmit.segment_size.unwrap_or(data.len())) {
            Ok(sent) => sent,
            Err(SendError::NotPermitted) => {
                self.make_room(id, remote.ip(), peer, now);
                if let Some(relay) = self.relays.get_mut(id) {
                    relay.permit(now, remote, data);
                }
                Sent::Away
            }
            Err(error) => {
                tracing::trace!(%error, %remote, "not relayed");
                Sent::Away
            }
        };
        self.send_buf = buf;
        if sent == Sent::Held
            && let Some(relay) = self.relays.get_mut(id)
            && !relay.held.contains(&peer)
        {
            relay.held_until.get_or_insert(now + HOLD);
            relay.held.push(peer);
        }
        sent
    }

    /// Sends what has waited for a permission.
    pub(super) fn send_kept(&mut self, id: u32, now: Instant, remote: SocketAddr, datagram: &[u8]) {
        if let Err(error) = self.wrap(id, now, remote, datagram, datagram.len()) {
            tracing::debug!(%error, %remote, "not relayed");
        }
    }

    fn wrap(
        &mut self,
        id: u32,
        now: Instant,
        remote: SocketAddr,
        data: &[u8],
        size: usize,
    ) -> Result<Sent, SendError> {
        let mut wrapped = std::mem::take(&mut self.relays.wrapped);
        let result = match self.relays.get_mut(id) {
            Some(Relay { client, carrier: Carrier::Udp { socket, local }, .. }) => {
                let (socket, path) = (*socket, Path::udp(*local, client.server()));
                let mut rest = data;
                let mut sent = Ok((Sent::Away, true));
                // One message after the other where the headers make a batch too large for one call.
                while !rest.is_empty() && matches!(sent, Ok((Sent::Away, _))) {
                    sent = client.send_batch(now, remote, rest, size, &mut wrapped).map(|batch| {
                        let Batch { taken, written, segment_size, on_channel } = batch;
                        rest = rest.get(taken..).unwrap_or_default();
                        let segment_size = Some(segment_size).filter(|size| written > *size);
                        let transmit = Transmit { path, size: written, segment_size };
                        let contents = wrapped.get(..written).unwrap_or_default();
                        let sent =
                            self.sockets[socket].send_batch(&self.shared.watch, path, contents, segment_size);
                        if sent == Sent::Blocked {
                            self.blocked.keep(socket, transmit, contents);
                        }
                        (sent, on_channel)
                    });
                }
                sent
            }
            Some(Relay { client, carrier: Carrier::Stream(stream), .. }) => {
                match client.send_batch(now, remote, data, size, stream.data_room()) {
                    Ok(batch) => {
                        stream.commit(batch.written);
                        let sent = if stream.is_crowded() { Sent::Held } else { Sent::Away };
                        Ok((sent, batch.on_channel))
                    }
                    // There is no room at all.
                    Err(SendError::TooLarge) => Ok((Sent::Held, true)),
                    Err(error) => Err(error),
                }
            }
            Some(Relay { carrier: Carrier::Connecting, .. }) | None => Err(SendError::NotAllocated),
        };
        self.relays.wrapped = wrapped;
        let (sent, on_channel) = result?;
        if !on_channel
            && is_data(data)
            && let Some(relay) = self.relays.get_mut(id)
        {
            relay.want_channel(now, remote);
        }
        Ok(sent)
    }

    /// Sends the clients' requests, and what the streams take. Returns whether connections that waited for that can go on.
    pub(in crate::driver) fn flush_relays(&mut self, now: Instant) -> bool {
        let mut let_go = Vec::new();
        for slot in &mut self.relays.slots {
            let State::Open(relay) = &mut slot.state else { continue };
            relay.send_requests(now, &self.sockets);
            if let Carrier::Stream(stream) = &relay.carrier
                && !stream.is_crowded()
            {
                relay.held_until = None;
                let_go.append(&mut relay.held);
            }
        }
        let more = !let_go.is_empty();
        let_go.into_iter().for_each(|peer| self.concern(peer));
        more
    }

    /// A connection has ended, which had these routes.
    pub(in crate::driver) fn forget_relayed(
        &mut self,
        peer: usize,
        now: Instant,
        routes: &[(Link, SocketAddr)],
    ) {
        routes.iter().for_each(|route| self.release_route(*route, now));
        self.relays.leave(now, peer);
    }

    /// Datagrams from an address are for this connection, too.
    pub(in crate::driver) fn claim(&mut self, link: Link, remote: SocketAddr, peer: usize, now: Instant) {
        if let Some(gone) = self.routes.claim(link, remote, peer) {
            self.release_route(gone, now);
        }
    }

    /// A connection has given up a route. What it was permitted for on a relay goes, if nobody else uses it.
    fn release_route(&mut self, (link, remote): Remote, now: Instant) {
        if let Link::Relay(id) = link
            && self.routes.of_remote(link, remote).is_empty()
        {
            let ip_too = !self.routes.reaches(link, remote.ip());
            if let Some(relay) = self.relays.get_mut(id) {
                relay.release_peer(now, remote, ip_too);
            }
        }
    }

    /// Before a connection has one more address permitted on a relay: the oldest of too many go, but for the selected path's.
    pub(super) fn make_room(&mut self, id: u32, wanted: IpAddr, peer: usize, now: Instant) {
        let link = Link::Relay(id);
        while self.routes.ips_on(link, peer) > MAX_PERMISSIONS {
            let entry = self.peers.get(peer).and_then(Option::as_ref);
            let path = entry.and_then(|entry| entry.shared.lock().peer.selected_path());
            let kept = [Some(wanted), path.map(|path| path.remote.ip())];
            let goes = |(by, remote): &Remote| *by == link && !kept.contains(&Some(remote.ip()));
            let oldest = self.routes.of_peer(peer).find(goes).map(|(_, remote)| remote.ip());
            let Some(oldest) = oldest else { return };
            for remote in self.routes.give_up(link, oldest, peer) {
                self.release_route((link, remote), now);
            }
        }
    }

    /// Whether a connection waits for room in a server's stream.
    pub(in crate::driver) fn is_held(&self, peer: usize) -> bool {
        self.relays.relays().any(|relay| relay.held.contains(&peer))
    }
}

// ---- in ----

impl Driver {
    /// Datagrams of a server, one after the other in `data`, each of `stride` bytes but for the last.
    pub(in crate::driver) fn receive_from_relay(
        &mut self,
        id: u32,
        now: Instant,
        path: Path,
        data: &mut [u8],
        stride: usize,
    ) {
        let mut pieces = std::mem::take(&mut self.relays.pieces);
        let mut direct = Vec::new();
        if let Some(relay) = self.relays.get_mut(id) {
            for (i, datagram) in data.chunks(stride).enumerate() {
                if !is_turn(datagram) {
                    direct.push(within(0..datagram.len(), i * stride));
                    continue;
                }
                let received = relay.client.handle_input_in_place(now, path.remote, datagram);
                pieces.extend(received.map(|(peer, range)| (peer, within(range, i * stride))));
            }
        }
        // The server may be asked how it sees us, too, and it may be where a peer is.
        if let Some(socket) = self.relays.socket_of(id).filter(|_| !direct.is_empty()) {
            self.deliver_each(Link::Socket(socket), now, path, data, direct.into_iter());
        }
        self.deliver_pieces(id, now, data, &pieces);
        pieces.clear();
        self.relays.pieces = pieces;
    }

    /// Takes what has come over the servers' connections. Returns whether there may be more.
    pub(in crate::driver) fn receive_streams(&mut self, now: Instant) -> bool {
        let mut more = false;
        for at in 0..self.relays.slots.len() {
            for turn in 0..RECEIVES_PER_TURN {
                if !self.receive_stream(at, now) {
                    break;
                }
                more |= turn + 1 == RECEIVES_PER_TURN;
            }
        }
        more
    }

    fn receive_stream(&mut self, at: usize, now: Instant) -> bool {
        let mut pieces = std::mem::take(&mut self.relays.pieces);
        let State::Open(relay) = &mut self.relays.slots[at].state else { return false };
        let (id, server) = (relay.id, relay.client.server());
        let Carrier::Stream(stream) = &mut relay.carrier else { return false };
        if relay.client.is_over() {
            return false;
        }
        let read = stream.read(&mut self.recv_buf[..READ]);
        let mut decoder = std::mem::take(&mut stream.decoder);
        let broken = loop {
            match decoder.poll_range() {
                Ok(Some(unit)) => {
                    let bytes = decoder.bytes_mut().get(unit.clone()).unwrap_or_default();
                    let received = relay.client.handle_input_in_place(now, server, bytes);
                    pieces.extend(received.map(|(peer, range)| (peer, within(range, unit.start))));
                }
                Ok(None) => break None,
                Err(NotTurn) => break Some(NotTurn.to_string()),
            }
        };
        let more = *read.as_ref().unwrap_or(&false) && broken.is_none();
        let broken = broken.or(read.err().map(|error| match error.kind() {
            ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => error.to_string(),
        }));
        if let Some(broken) = broken {
            relay.broken = Some(broken);
            relay.client.disconnected();
        }
        self.deliver_pieces(id, now, decoder.bytes_mut(), &pieces);
        if let State::Open(relay) = &mut self.relays.slots[at].state
            && let Carrier::Stream(stream) = &mut relay.carrier
        {
            stream.decoder = decoder;
        }
        pieces.clear();
        self.relays.pieces = pieces;
        more
    }

    fn deliver_pieces(
        &mut self,
        id: u32,
        now: Instant,
        data: &mut [u8],
        pieces: &[(SocketAddr, Range<usize>)],
    ) {
        for run in pieces.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((remote, _)) = run.first() else { continue };
            let local = self.relays.get_mut(id).and_then(|relay| relay.relayed_for(*remote));
            let Some(local) = local else { continue };
            let ranges = run.iter().map(|(_, range)| range.clone());
            self.deliver_each(Link::Relay(id), now, Path::udp(local, *remote), data, ranges);
        }
    }

    /// Ready when a server's connection has something for us, or room.
    pub(in crate::driver) fn poll_streams(&self, cx: &mut Context<'_>) -> Poll<()> {
        for relay in self.relays.relays() {
            if let Carrier::Stream(stream) = &relay.carrier
                && !relay.client.is_over()
                && stream.poll_ready(cx).is_ready()
            {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

fn within(range: Range<usize>, start: usize) -> Range<usize> {
    start + range.start..start + range.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_who_is_where_a_server_is_does_not_go_to_the_client() {
        for of_turn in [[0x00, 0x03], [0x01, 0x13], [0x00, 0x17], [0x01, 0x08]] {
            assert!(is_turn(&of_turn), "{of_turn:?}");
        }
        assert!(is_turn(&[0x40, 0, 0, 0]) && is_turn(&[0x4F, 0, 0, 0]));
        for of_peers in [[0x00, 0x01], [0x01, 0x01], [0x01, 0x11], [0x00, 0x11], [0x16, 0xFE], [0x17, 0xFE]] {
            assert!(!is_turn(&of_peers), "{of_peers:?}");
        }
        assert!(!is_turn(&[]) && !is_turn(&[0]));
    }
}
