//! An SCTP association that is handed packets of a peer that is authenticated and hostile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinnet_sctp::{Association, Config, Event, Ppid, SendOptions, StreamId};

use crate::{MANY, check_deadline, datagrams, start};

/// SCTP's common header: ports, verification tag, checksum (RFC 9260 §3.1).
const HEADER: usize = 12;

/// The first byte chooses: bits 0 and 1 the state to begin in (0 closed, 1 INIT sent, else established), bit 2 whether
/// verification tags stay as they are (else they are made right), bit 3 whether time goes on between packets, bit 4
/// whether something is being sent, bit 5 whether TSNs stay as they are (else they count from the initial ones), bit 6
/// whether the first packet is a peer's INIT chunk that came with its description (draft-hancke-tsvwg-snap; for state 0),
/// bit 7 whether the owner re-configures streams. The rest are packets, each behind its length; ports and checksums are
/// made right.
pub fn sctp_packet(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let mut now = start();
    let config = Arc::new(Config::default());
    let mut a = Side::new(config.clone(), now, 1);
    let mut peer_tsn = 0;
    if mode & 3 != 0 {
        a.association.connect(now);
    }
    if mode & 3 > 1 {
        let mut z = Side::new(config, now, 2);
        handshake(&mut a, &mut z, &mut now);
        peer_tsn = z.initial_tsn;
        assert!(a.association.is_established(), "two of us can't connect");
    }
    if mode & 16 != 0 {
        let (stream, payload) = (StreamId(0), Bytes::from_static(&[0; 5000]));
        let _ = a.association.send(now, stream, Ppid(53), payload, SendOptions::default());
    }
    let mut packets = datagrams(rest);
    if mode & 64 != 0
        && let Some(init) = packets.next()
    {
        let good = Association::check_init(init).is_ok();
        let own = a.association.local_init();
        let taken = a.association.establish_from(now, init).is_ok();
        assert!(good || !taken, "taken, and not good");
        assert_eq!(taken, a.association.is_established() && mode & 3 == 0, "taken is established");
        a.learn(&own);
        if let (true, Some(&tsn)) = (taken, init.get(16..20).and_then(|tsn| tsn.first_chunk::<4>())) {
            peer_tsn = u32::from_be_bytes(tsn);
        }
    }
    if mode & 128 != 0 {
        let _ = a.association.reset_stream(now, StreamId(0));
        let _ = a.association.reset_incoming_stream(now, StreamId(1));
        let _ = a.association.add_outgoing_streams(now, 1);
        let _ = a.association.add_incoming_streams(now, 1);
    }
    a.drain(now);
    for packet in packets {
        let mut packet = packet.to_vec();
        if packet.len() >= HEADER {
            if mode & 32 == 0 {
                count_from(&mut packet, a.initial_tsn, peer_tsn);
            }
            a.make_right(&mut packet, mode & 4 != 0);
        }
        a.association.handle_input(now, &packet);
        a.drain(now);
        if mode & 8 != 0
            && let Some(deadline) = a.association.poll_timeout()
        {
            now = now.max(deadline);
            a.association.handle_timeout(now);
            a.drain(now);
            check_deadline("sctp", now, a.association.poll_timeout());
        }
    }
    a.association.abort(now, "done");
    a.drain(now);
}

struct Side {
    association: Association,
    /// The tag that the peer must put into its packets; known from our INIT or INIT ACK.
    own_tag: Option<[u8; 4]>,
    /// Of our first DATA; known likewise.
    initial_tsn: u32,
}

/// Adds the initial TSNs to the numbers of a packet's chunks, so that small numbers in an input mean something: the
/// peer's to what it sends, ours to what it acknowledges.
fn count_from(packet: &mut [u8], own: u32, peer: u32) {
    let mut at = HEADER;
    while let Some(&[kind, _, high, low]) = packet.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let number = match kind {
            // DATA, I-DATA, FORWARD-TSN, I-FORWARD-TSN.
            0 | 64 | 192 | 194 => Some((4, peer)),
            // SACK and SHUTDOWN.
            3 | 7 => Some((4, own)),
            // RE-CONFIG: in a response the number of our request, else that of the peer's.
            130 if packet.get(at + 5) == Some(&16) => Some((8, own)),
            130 => Some((8, peer)),
            _ => None,
        };
        if let Some((offset, base)) = number {
            let field = packet.get_mut(at + offset..).and_then(|rest| rest.first_chunk_mut::<4>());
            if let Some(field) = field {
                *field = u32::from_be_bytes(*field).wrapping_add(base).to_be_bytes();
            }
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        at += length.next_multiple_of(4).max(4);
    }
}

impl Side {
    fn new(config: Arc<Config>, now: Instant, seed: u8) -> Self {
        Self { association: Association::new(config, now, [seed; 32]), own_tag: None, initial_tsn: 0 }
    }

    fn make_right(&self, packet: &mut [u8], keep_tag: bool) {
        packet[..4].copy_from_slice(&[0x13, 0x88, 0x13, 0x88]);
        // A packet with INIT has no tag (RFC 9260 §8.5.1).
        if !keep_tag && packet.get(HEADER) != Some(&1) {
            packet[4..8].copy_from_slice(&self.own_tag.unwrap_or_default());
        }
        packet[8..HEADER].fill(0);
        let checksum = crc32c::crc32c(packet);
        packet[8..HEADER].copy_from_slice(&checksum.to_le_bytes());
    }

    /// What our INIT or INIT ACK says: tag, window, streams, TSN (RFC 9260 §3.3.2).
    fn learn(&mut self, chunk: &[u8]) {
        let init = chunk.get(4..).and_then(|value| value.first_chunk::<16>());
        if let (Some(1 | 2), Some(&[t0, t1, t2, t3, .., n0, n1, n2, n3])) = (chunk.first(), init) {
            self.own_tag = Some([t0, t1, t2, t3]);
            self.initial_tsn = u32::from_be_bytes([n0, n1, n2, n3]);
        }
    }

    /// Takes what there is to take, packets included.
    fn drain(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut out = [0; 1200];
        while let Some(len) = self.association.poll_transmit(now, &mut out) {
            let packet = &out[..len];
            self.learn(packet.get(HEADER..).unwrap_or_default());
            packets.push(packet.to_vec());
            assert!(packets.len() < MANY, "packets without end");
        }
        let mut told = 0;
        while let Some(event) = self.association.poll_event() {
            if let Event::Readable(stream) = event {
                while self.association.recv(stream).is_some() {}
            }
            told += 1;
            assert!(told < MANY, "events without end");
        }
        packets
    }
}

fn handshake(a: &mut Side, z: &mut Side, now: &mut Instant) {
    for _ in 0..20 {
        *now += Duration::from_millis(10);
        let (from_a, from_z) = (a.drain(*now), z.drain(*now));
        if from_a.is_empty() && from_z.is_empty() {
            break;
        }
        from_a.iter().for_each(|packet| z.association.handle_input(*now, packet));
        from_z.iter().for_each(|packet| a.association.handle_input(*now, packet));
    }
}
