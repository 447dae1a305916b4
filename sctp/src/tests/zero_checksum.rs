//! A checksum of zero (RFC 9653): who may send it, and who takes it.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::wire::init::{Capabilities, Init};
use crate::wire::packet;

fn config(zero_checksum: bool) -> Config {
    Config { zero_checksum, ..Config::default() }
}

/// The checksum field of a packet, and whether it is right.
fn sum(packet: &[u8]) -> (u32, bool) {
    let mut right = packet.to_vec();
    packet::write_checksum(&mut right);
    (u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]), right == packet)
}

/// Every packet of a connection with traffic both ways: who sent it, what begins it, the checksum.
fn transcript(a: bool, z: bool) -> Vec<(usize, ChunkType, u32, bool)> {
    let mut pair = Pair::with(config(a), config(z), 1);
    let log = Rc::new(RefCell::new(Vec::new()));
    let seen = log.clone();
    pair.script = Box::new(move |from, packet| {
        let (stated, right) = sum(packet);
        seen.borrow_mut().push((from, kinds(packet)[0], stated, right));
        Fate::Deliver
    });
    pair.ends[A].connect(pair.now);
    for side in [A, Z] {
        pair.send(side, 1, &pattern(20_000));
    }
    pair.run_for(ms(2000));
    for side in [A, Z] {
        assert_eq!(pair.recv_all(side, 1), [pattern(20_000)]);
        assert_eq!(pair.ends[side].stats().dropped_checksum, 0);
    }
    pair.ends[Z].shutdown(pair.now);
    pair.run_for(ms(2000));
    assert!(pair.ends.iter().all(Association::is_closed));
    log.take()
}

#[test]
fn zero_takes_the_place_of_the_checksum_after_init_and_cookie_echo() {
    let log = transcript(true, true);
    for &(from, kind, stated, right) in &log {
        let with_sum = matches!(
            kind,
            ChunkType::INIT | ChunkType::INIT_ACK | ChunkType::COOKIE_ECHO | ChunkType::SHUTDOWN_COMPLETE
        );
        assert_eq!((right, stated == 0), (with_sum, !with_sum), "{kind:?} from {from}");
    }
    assert!(log.len() > 40 && log.iter().any(|&(_, kind, ..)| kind == ChunkType::COOKIE_ECHO));
}

#[test]
fn every_packet_has_its_checksum_unless_both_sides_allow_zero() {
    for (a, z) in [(false, false), (true, false), (false, true)] {
        assert!(transcript(a, z).iter().all(|&(.., right)| right), "{a} {z}");
    }
}

#[test]
fn zero_is_dropped_where_it_was_not_announced_and_a_wrong_checksum_everywhere() {
    for announced in [false, true] {
        // The sender can, the receiver has said that it may or has not.
        let mut pair = Pair::with(config(true), config(announced), 1);
        pair.connect();
        let packet = pair.forge(Z, &[(ChunkType::HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4])]);
        let right = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        for (sum, taken) in [(right, true), (0, announced), (right ^ 1, false), (1, false), (!0, false)] {
            let mut packet = packet.clone();
            packet[8..12].copy_from_slice(&sum.to_be_bytes());
            let dropped = pair.ends[Z].stats().dropped_checksum;
            pair.ends[Z].handle_input(pair.now, &packet);
            assert_eq!(pair.ends[Z].stats().dropped_checksum == dropped, taken, "{announced} {sum:#x}");
            let mut out = [0; 1200];
            assert_eq!(pair.ends[Z].poll_transmit(pair.now, &mut out).is_some(), taken);
        }
    }
}

#[test]
fn an_init_needs_its_checksum_whatever_was_announced() {
    let mut pair = Pair::new(Config::default());
    pair.ends[A].connect(pair.now);
    let mut out = [0; 1200];
    let len = pair.ends[A].poll_transmit(pair.now, &mut out).unwrap();
    out[8..12].fill(0);
    pair.ends[Z].handle_input(pair.now, &out[..len]);
    assert_eq!(pair.ends[Z].stats().dropped_checksum, 1);
    assert_eq!(pair.ends[Z].poll_transmit(pair.now, &mut out), None);
}

#[test]
fn another_method_than_dtls_is_no_leave_to_send_zero() {
    let init = |parameter: &[u8]| {
        let mut value = Init {
            initiate_tag: 1,
            a_rwnd: 100_000,
            outbound_streams: 1,
            inbound_streams: 1,
            initial_tsn: crate::types::Tsn(1),
            capabilities: Capabilities::default(),
            cookie: None,
            cookie_preservative: None,
            host_name: None,
            unrecognized: Vec::new(),
        }
        .write();
        value.extend_from_slice(parameter);
        Init::parse(&value).unwrap().capabilities.zero_checksum
    };
    assert!(init(&[0x80, 1, 0, 8, 0, 0, 0, 1]));
    for other in [
        &[0x80, 1, 0, 8, 0, 0, 0, 0][..],
        &[0x80, 1, 0, 8, 0, 0, 0, 2],
        &[0x80, 1, 0, 8, 1, 0, 0, 0],
        &[0x80, 1, 0, 4],
        &[0x80, 1, 0, 5, 1, 0, 0, 0],
        &[0x80, 1, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1],
    ] {
        assert!(!init(other), "{other:?}");
    }
}

#[test]
fn what_the_first_peer_allowed_is_not_granted_to_the_one_that_started_over() {
    let mut pair = Pair::connected(Config::default());
    // The peer starts over without the extension.
    pair.ends[A] = Association::new(Arc::new(config(false)), pair.now, [9; 32]);
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(500));
    assert!(pair.events[Z].contains(&Event::Restarted));
    pair.send(Z, 0, b"checked");
    pair.run_for(ms(500));
    assert_eq!(pair.recv_all(A, 0), [b"checked"]);
    assert_eq!(pair.ends[A].stats().dropped_checksum, 0);
}
