//! Chunks that lie about themselves, skips that go too far, and what floods of them cost.

use super::*;
use crate::wire::packet::write_checksum;
use crate::{CauseCode, CloseReason};

const HEARTBEAT: (ChunkType, u8, &[u8]) = (ChunkType::HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4]);

/// A packet to Z of two heartbeats of 12 bytes, whose second has this length field, cut after so many bytes of it.
fn second_with_length(pair: &Pair, length: u16, kept: usize) -> Vec<u8> {
    let mut packet = pair.forge(Z, &[HEARTBEAT, HEARTBEAT]);
    packet[26..28].copy_from_slice(&length.to_be_bytes());
    packet.truncate(24 + kept);
    packet[8..12].fill(0);
    write_checksum(&mut packet);
    packet
}

#[test]
fn a_length_that_lies_ends_the_packet_and_what_came_before_it_counts() {
    for (length, kept, answers) in [
        (12, 12, 2),
        (0, 12, 1),
        (1, 12, 1),
        (3, 12, 1),
        (13, 12, 1),
        (65_535, 12, 1),
        (12, 11, 1),
        (12, 4, 1),
        (12, 3, 1),
        (12, 1, 1),
    ] {
        let mut pair = Pair::connected(Config::default());
        let packet = second_with_length(&pair, length, kept);
        pair.ends[Z].handle_input(pair.now, &packet);
        pair.drain();
        let answered = pair.sent[Z].concat().iter().filter(|&&kind| kind == ChunkType::HEARTBEAT_ACK).count();
        assert_eq!(answered, answers, "length {length}, {kept} bytes");
        assert_eq!(pair.ends[Z].stats().dropped_malformed, u64::from(answers == 1), "length {length}");
    }
}

#[test]
fn the_padding_is_ignored_whatever_it_is_and_may_be_missing_at_the_end() {
    let mut pair = Pair::connected(Config::default());
    let tsn = pair.ends[A].next_tsn_for_tests();
    let data = |tsn: u32, ssn: u8| [&tsn.to_be_bytes()[..], &[0, 1, 0, ssn, 0, 0, 0, 53, 7]].concat();
    let (first, second) = (data(tsn, 0), data(tsn.wrapping_add(1), 1));
    let mut packet = pair.forge(Z, &[(ChunkType::DATA, 3, &first), (ChunkType::DATA, 3, &second)]);
    packet[29..32].fill(0xee);
    let padded = packet.len();
    packet.truncate(padded - 3);
    packet[8..12].fill(0);
    write_checksum(&mut packet);
    pair.ends[Z].handle_input(pair.now, &packet);
    assert_eq!(pair.recv_all(Z, 1), [[7], [7]]);
}

#[test]
fn a_skip_may_go_as_far_as_a_sack_can_tell_and_names_what_it_likes() {
    for (jump, taken) in
        [(1u32, true), (65_535, true), (65_536, false), (0x7fff_ffff, false), (0x8000_0000, false)]
    {
        let mut pair = Pair::connected(Config::default());
        let to = pair.ends[A].next_tsn_for_tests().wrapping_add(jump - 1);
        // Streams that exist and one that does not, some of them twice, forwards and backwards.
        let mut value = to.to_be_bytes().to_vec();
        for stream in (0..10_000u16).chain([65_535, 3, 3]) {
            value.extend_from_slice(&stream.to_be_bytes());
            value.extend_from_slice(&(stream ^ 0x8001).to_be_bytes());
        }
        for _ in 0..20 {
            pair.inject(Z, &[(ChunkType::FORWARD_TSN, 0, &value)]);
        }
        pair.drain();
        assert!(pair.ends[Z].is_established());
        assert_eq!(pair.sent[Z], [[ChunkType::SACK]], "jump {jump}");
        // Half the numbers away it is behind, as an old one that comes late.
        let refused = !taken && jump < 0x8000_0000;
        assert_eq!(pair.ends[Z].stats().dropped_chunks > 0, refused, "jump {jump}");
        let (pages, streams) = pair.ends[Z].stream_memory_for_tests()[1];
        assert!(pages <= 160 && streams <= 10_000, "{pages} pages, {streams} streams");
        // And the association goes on: with what comes after the skip, or with what was refused.
        let next = if taken { to.wrapping_add(1) } else { pair.ends[A].next_tsn_for_tests() };
        let value = [&next.to_be_bytes()[..], &[0x4e, 0x20, 0, 0, 0, 0, 0, 53, 9]].concat();
        pair.inject(Z, &[(ChunkType::DATA, 3, &value)]);
        assert_eq!(pair.recv_all(Z, 20_000), [[9]], "jump {jump}");
    }
}

#[test]
fn a_skip_that_was_not_agreed_on_is_an_unknown_chunk() {
    let mut pair = Pair::new(Config { partial_reliability: false, ..Config::default() });
    pair.connect();
    let to = pair.ends[A].next_tsn_for_tests().wrapping_add(5);
    pair.inject(Z, &[(ChunkType::FORWARD_TSN, 0, &to.to_be_bytes()), HEARTBEAT]);
    pair.drain();
    assert_eq!(pair.sent[Z], [[ChunkType::HEARTBEAT_ACK, ChunkType::ERROR]]);
    assert_eq!(pair.ends[Z].stats().unknown_chunks, 1);
}

#[test]
fn an_nr_sack_acknowledges_nothing_since_nobody_asked_for_it() {
    let mut pair = Pair::connected(Config::default());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.send(A, 1, &pattern(100));
    pair.drain();
    pair.forget();
    let acked = pair.ends[A].next_tsn_for_tests().wrapping_sub(1).to_be_bytes();
    let value = [&acked[..], &[0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    // The high bits of its type, 00, end the packet in silence (RFC 9260 §3.2).
    pair.inject(A, &[(ChunkType(16), 0, &value), HEARTBEAT]);
    pair.drain();
    assert_eq!(pair.sent[A], Vec::<Vec<ChunkType>>::new());
    assert_eq!(pair.ends[A].total_buffered(), 100);
    pair.inject(A, &[(ChunkType::SACK, 0, &value[..12])]);
    assert_eq!(pair.ends[A].total_buffered(), 0);
}

#[test]
fn a_flood_of_things_to_report_is_reported_in_one_small_packet() {
    let mut pair = Pair::connected(Config::default());
    let first = pair.ends[A].next_tsn_for_tests();
    for i in 0..5000u32 {
        let stream = 65_535u16.to_be_bytes();
        let value = [&first.wrapping_add(i).to_be_bytes()[..], &stream, &[0, 0, 0, 0, 0, 53, 1]].concat();
        pair.inject(Z, &[(ChunkType::DATA, 3, &value), (ChunkType(0xff), 0, &i.to_be_bytes())]);
    }
    pair.drain();
    assert_eq!(pair.sent[Z], [[ChunkType::SACK, ChunkType::ERROR]]);
    assert!(pair.packet_sizes[Z][0] <= 12 + 16 + 4 + 512, "{}", pair.packet_sizes[Z][0]);
}

#[test]
fn streams_cost_nothing_before_they_are_used_however_many_are_agreed_on() {
    let mut pair = Pair::connected(Config::default());
    assert_eq!(pair.ends[A].outbound_streams(), 65_535);
    assert_eq!(pair.ends[A].stream_memory_for_tests(), [(0, 0), (0, 0)], "pages and streams");
    for stream in [0, 1, 65_534] {
        pair.send(A, stream, b"x");
    }
    pair.run_for(ms(100));
    assert_eq!(pair.ends[A].stream_memory_for_tests(), [(2, 3), (0, 0)]);
    assert_eq!(pair.ends[Z].stream_memory_for_tests(), [(0, 0), (2, 3)]);
    // A reset gives the stream back.
    pair.recv_all(Z, 1);
    pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap();
    pair.run_for(ms(300));
    assert_eq!(pair.ends[A].stream_memory_for_tests(), [(2, 2), (0, 0)]);
    assert_eq!(pair.ends[Z].stream_memory_for_tests(), [(0, 0), (2, 2)]);
}

#[test]
fn an_answer_to_a_heartbeat_that_does_not_know_its_nonce_is_no_sign_of_life() {
    let config = Config {
        heartbeat_interval: Duration::from_secs(1),
        max_retransmissions: Some(3),
        ..Config::default()
    };
    let mut pair = Pair::connected(config);
    pair.script =
        Box::new(|_, packet| if has(packet, ChunkType::HEARTBEAT) { Fate::Drop } else { Fate::Deliver });
    let mut forged = 0;
    while !pair.ends[A].is_closed() {
        assert!(forged < 100, "it lives on");
        pair.run_for(ms(100));
        if pair.sent[A].last() == Some(&vec![ChunkType::HEARTBEAT]) {
            pair.forget();
            pair.inject(A, &[(ChunkType::HEARTBEAT_ACK, 0, &[0, 1, 0, 12, 0, 0, 0, 0, 0, 0, 0, 1])]);
            forged += 1;
        }
    }
    assert_eq!(pair.events[A], [Event::Closed(CloseReason::Timeout)]);
    assert!(pair.ends[A].stats().dropped_chunks >= 3);
}

#[test]
fn an_error_of_the_peer_changes_nothing_whatever_it_says() {
    for code in 0..20u16 {
        for tail in [&[0, 4][..], &[0, 8, 1, 2, 3, 4], &[0, 99, 1, 2], &[0, 3]] {
            let mut pair = Pair::connected(Config::default());
            let value = [&code.to_be_bytes()[..], tail].concat();
            pair.inject(Z, &[(ChunkType::ERROR, 0, &value), HEARTBEAT]);
            pair.drain();
            assert_eq!(pair.sent[Z], [[ChunkType::HEARTBEAT_ACK]], "{}", CauseCode(code));
            assert_eq!(pair.events[Z], []);
        }
    }
}
