//! What a peer, or somebody who found a way to its keys, may try.

use proptest::prelude::*;

use super::*;
use crate::{CauseCode, CloseReason};

fn data(tsn: u32, flags: u8, stream: u16, ssn: u16, payload: &[u8]) -> Vec<u8> {
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&ssn.to_be_bytes());
    value.extend_from_slice(&53u32.to_be_bytes());
    value.extend_from_slice(payload);
    assert!(flags < 16);
    value
}

fn sack(cumulative: u32, blocks: &[(u16, u16)], duplicates: u16) -> Vec<u8> {
    let mut value = cumulative.to_be_bytes().to_vec();
    value.extend_from_slice(&[0, 16, 0, 0]);
    value.extend_from_slice(&(blocks.len() as u16).to_be_bytes());
    value.extend_from_slice(&duplicates.to_be_bytes());
    for (start, end) in blocks {
        value.extend_from_slice(&start.to_be_bytes());
        value.extend_from_slice(&end.to_be_bytes());
    }
    value.resize(value.len() + 4 * usize::from(duplicates), 0);
    value
}

#[test]
fn every_kind_of_chunk_with_a_wrong_tag_is_dropped() {
    let mut pair = Pair::connected(Config::default());
    let tag = pair.ends[Z].local_tag_for_tests();
    for kind in 0..=255u8 {
        if matches!(ChunkType(kind), ChunkType::INIT | ChunkType::COOKIE_ECHO) {
            continue;
        }
        for (tag, flags) in [(0, 0), (tag.swap_bytes() ^ 1, 0), (tag.swap_bytes() ^ 1, 1), (tag, 1)] {
            // With the right tag, a set T bit makes the difference for these two only.
            if tag == pair.ends[Z].local_tag_for_tests() && !matches!(kind, 6 | 14) {
                continue;
            }
            let packet = forge(tag, &[(ChunkType(kind), flags, &[0; 16])]);
            pair.ends[Z].handle_input(pair.now, &packet);
            pair.drain();
        }
    }
    assert!(pair.ends[Z].is_established());
    assert_eq!(pair.sent[Z], Vec::<Vec<ChunkType>>::new(), "and none is answered");
    assert_eq!(pair.events[Z], []);
}

#[test]
fn an_abort_with_the_reflected_tag_needs_the_t_bit() {
    let mut pair = Pair::connected(Config::default());
    let reflected = pair.ends[A].local_tag_for_tests();
    let packet = forge(reflected, &[(ChunkType::ABORT, 0, &[])]);
    pair.ends[Z].handle_input(pair.now, &packet);
    assert!(!pair.ends[Z].is_closed());
    let packet = forge(reflected, &[(ChunkType::ABORT, 1, &[])]);
    pair.ends[Z].handle_input(pair.now, &packet);
    assert!(pair.ends[Z].is_closed());
}

#[test]
fn acknowledging_what_was_never_sent_is_a_violation() {
    let mut pair = Pair::connected(Config::default());
    let next = pair.ends[A].next_tsn_for_tests();
    pair.inject(A, &[(ChunkType::SACK, 0, &sack(next, &[], 0))]);
    pair.drain();
    assert!(matches!(pair.events[A].last(), Some(Event::Closed(CloseReason::ProtocolViolation(_)))));
    assert_eq!(pair.sent[A], [[ChunkType::ABORT]]);
}

#[test]
fn old_and_far_sacks_and_absurd_blocks_change_nothing() {
    let mut pair = Pair::connected(Config::default());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.send(A, 1, &pattern(10_000));
    pair.drain();
    let flight = pair.ends[A].stats().flight;
    let acked = pair.ends[A].next_tsn_for_tests().wrapping_sub(10);
    for cumulative in [acked.wrapping_sub(1), acked.wrapping_sub(0x7fff_0000)] {
        pair.inject(A, &[(ChunkType::SACK, 0, &sack(cumulative, &[(1, 1)], 0))]);
    }
    let absurd: Vec<(u16, u16)> = (0..2000).map(|i| (65_535 - i, i)).collect();
    let acked = pair.ends[A].stats();
    assert_eq!(acked.flight, flight);
    assert_eq!(acked.cwnd, 11_480);
    let cumulative = pair.ends[A].next_tsn_for_tests().wrapping_sub(1 + flight as u32 / 1000);
    for _ in 0..100 {
        pair.inject(A, &[(ChunkType::SACK, 0, &sack(cumulative, &absurd, 10_000))]);
    }
    assert!(!pair.ends[A].is_closed());
}

#[test]
fn splitting_acknowledgements_gains_nothing() {
    let grown = |parts: u32| {
        let mut pair = Pair::connected(Config::default());
        pair.script = Box::new(|_, _| Fate::Drop);
        let first = pair.ends[A].next_tsn_for_tests();
        pair.send(A, 1, &pattern(100_000));
        pair.drain();
        for i in 1..=parts {
            let cumulative = first.wrapping_add(10 * i / parts).wrapping_sub(1);
            pair.inject(A, &[(ChunkType::SACK, 0, &sack(cumulative, &[], 0))]);
        }
        pair.ends[A].stats().cwnd
    };
    assert!(grown(10) <= grown(1));
}

#[test]
fn every_second_fragment_of_every_stream_stays_within_the_window() {
    let config = Config { receive_buffer: 200_000, max_message_size_recv: 100_000, ..Config::default() };
    let mut pair = Pair::connected(config);
    let first = pair.ends[A].next_tsn_for_tests();
    for i in 0..30_000u32 {
        let chunk = data(first.wrapping_add(1 + 2 * i), 2, i as u16, 0, &[1]);
        pair.inject(Z, &[(ChunkType::DATA, 2, &chunk)]);
    }
    let stats = pair.ends[Z].stats();
    assert!(stats.a_rwnd <= 200_000);
    assert!(stats.data_chunks_received <= 8192, "{stats:?}");
    assert_eq!(stats.data_chunks_received + stats.dropped_data_no_room, 30_000);
    pair.drain();
    assert!(pair.ends[Z].is_established());
}

#[test]
fn fragments_that_fill_the_window_leave_room_for_the_one_that_is_missing() {
    let config = Config { receive_buffer: 50_000, max_message_size_recv: 30_000, ..Config::default() };
    let mut pair = Pair::connected(config);
    let first = pair.ends[A].next_tsn_for_tests();
    for i in 1..200u32 {
        let chunk = data(first.wrapping_add(i), 3, 1, i as u16, &[i as u8; 1000]);
        pair.inject(Z, &[(ChunkType::DATA, 3, &chunk)]);
    }
    let refused = pair.ends[Z].stats().dropped_data_no_room;
    assert!(refused > 140, "{refused}");
    assert_eq!(pair.ends[Z].stats().a_rwnd / 1128, 0);
    pair.inject(Z, &[(ChunkType::DATA, 3, &data(first, 3, 1, 0, &[0; 1000]))]);
    let got = pair.recv_all(Z, 1).len();
    assert_eq!(got as u64, 200 - refused);
    assert_eq!(pair.ends[Z].stats().a_rwnd, 50_000);
}

#[test]
fn a_tsn_far_ahead_is_not_taken() {
    let mut pair = Pair::connected(Config::default());
    let first = pair.ends[A].next_tsn_for_tests();
    for ahead in [65_536, 1 << 20, 0x7fff_ffff, 0x8000_0000] {
        let chunk = data(first.wrapping_add(ahead), 3, 1, 0, b"x");
        pair.inject(Z, &[(ChunkType::DATA, 3, &chunk)]);
    }
    assert_eq!(pair.ends[Z].stats().data_chunks_received, 0);
    assert!(pair.ends[Z].is_established());
}

#[test]
fn a_message_over_the_limit_aborts_while_it_arrives() {
    let mut pair =
        Pair::with(Config::default(), Config { max_message_size_recv: 65_536, ..Config::default() }, 5);
    pair.connect();
    pair.send(A, 1, &pattern(65_536));
    pair.run_for(ms(500));
    assert_eq!(pair.recv_all(Z, 1).len(), 1);
    pair.send(A, 1, &pattern(65_537));
    pair.run_for(ms(500));
    assert!(matches!(pair.events[Z].last(), Some(Event::Closed(CloseReason::ProtocolViolation(_)))));
    let Some(Event::Closed(CloseReason::AbortedByPeer { code, .. })) = pair.events[A].last() else {
        panic!("{:?}", pair.events[A]);
    };
    assert_eq!(*code, CauseCode::PROTOCOL_VIOLATION);
}

#[test]
fn data_without_user_data_aborts_with_its_cause() {
    let mut pair = Pair::connected(Config::default());
    let tsn = pair.ends[A].next_tsn_for_tests();
    pair.inject(Z, &[(ChunkType::DATA, 3, &data(tsn, 3, 1, 0, &[]))]);
    pair.run_for(ms(100));
    let Some(Event::Closed(CloseReason::AbortedByPeer { code, .. })) = pair.events[A].last() else {
        panic!("{:?}", pair.events[A]);
    };
    assert_eq!(*code, CauseCode::NO_USER_DATA);
}

#[test]
fn data_on_a_stream_that_does_not_exist_is_acknowledged_and_dropped() {
    let mut pair = Pair::connected(Config::default());
    let tsn = pair.ends[A].next_tsn_for_tests();
    pair.inject(Z, &[(ChunkType::DATA, 3, &data(tsn, 3, 65_535, 0, b"x"))]);
    let stats = pair.ends[Z].stats();
    assert_eq!((stats.data_chunks_received, stats.dropped_data_invalid), (1, 1));
    let mut out = [0; 1200];
    let len = pair.ends[Z].poll_transmit(pair.now, &mut out).unwrap();
    let answer = raw_chunks(&out[..len]);
    assert_eq!(answer[0].kind, ChunkType::SACK);
    assert_eq!((answer[1].kind, answer[1].value), (ChunkType::ERROR, &[0, 1, 0, 8, 255, 255, 0, 0][..]));
    assert!(pair.ends[Z].is_established());
}

#[test]
fn a_flood_of_heartbeats_gets_small_and_few_answers() {
    let mut pair = Pair::connected(Config::default());
    for size in [8, 400, 600, 60_000] {
        for _ in 0..1000 {
            pair.inject(Z, &[(ChunkType::HEARTBEAT, 0, &vec![1; size])]);
        }
    }
    pair.drain();
    assert_eq!(pair.sent[Z].len(), 1);
    assert!(pair.packet_sizes[Z][0] <= 1160);
}

#[test]
fn unknown_chunks_follow_their_high_bits() {
    for (kind, goes_on, reports) in
        [(0x3f, false, false), (0x7f, false, true), (0xbf, true, false), (0xff, true, true)]
    {
        let mut pair = Pair::connected(Config::default());
        pair.inject(Z, &[(ChunkType(kind), 0, &[7; 9]), (ChunkType::HEARTBEAT, 0, &[0, 1, 0, 4])]);
        pair.drain();
        let sent = pair.sent[Z].concat();
        assert_eq!(sent.contains(&ChunkType::HEARTBEAT_ACK), goes_on, "{kind:x}");
        assert_eq!(sent.contains(&ChunkType::ERROR), reports, "{kind:x}");
    }
}

#[test]
fn a_flood_of_unknown_chunks_is_reported_within_one_packet() {
    let mut pair = Pair::connected(Config::default());
    for _ in 0..10_000 {
        pair.inject(Z, &[(ChunkType(0xff), 0, &[7; 1000])]);
    }
    pair.drain();
    assert_eq!(pair.sent[Z], [[ChunkType::ERROR]]);
    assert!(pair.packet_sizes[Z][0] <= 1160);
}

fn arbitrary_chunk() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    let kind = prop_oneof![0u8..15, Just(130), Just(192), any::<u8>()];
    (kind, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut pair = Pair::new(Config::default());
        pair.ends[A].connect(pair.now);
        for packet in packets {
            pair.ends[A].handle_input(pair.now, &packet);
            pair.ends[Z].handle_input(pair.now, &packet);
        }
        pair.drain();
    }

    #[test]
    fn well_sealed_nonsense_never_panics_and_keeps_the_invariants(
        chunks in proptest::collection::vec(arbitrary_chunk(), 1..40),
        established in any::<bool>(),
    ) {
        let mut pair = Pair::new(Config::default());
        if established {
            pair.connect();
        } else {
            pair.ends[A].connect(pair.now);
        }
        pair.send(A, 1, &pattern(30_000));
        for (kind, flags, value) in chunks {
            // INIT ACK wants its tag; everything else the association's.
            pair.inject(A, &[(ChunkType(kind), flags, &value)]);
            pair.drain();
            pair.now += ms(50);
            let now = pair.now;
            pair.ends[A].handle_timeout(now);
            prop_assert!(pair.ends[A].poll_timeout().is_none_or(|deadline| deadline > now));
        }
        pair.drain();
    }

    #[test]
    fn near_valid_data_and_sacks_never_panic(
        ops in proptest::collection::vec((0u8..3, -3i32..300, any::<u8>(), 0u16..4, 0u16..6, 0usize..40), 1..150),
    ) {
        let mut pair = Pair::connected(Config::default());
        let first = pair.ends[Z].next_tsn_for_tests();
        let mut next = 1u32;
        pair.send(A, 1, &pattern(60_000));
        pair.script = Box::new(|_, _| Fate::Drop);
        for (op, offset, flags, stream, ssn, len) in ops {
            let tsn = first.wrapping_add_signed(offset);
            match op {
                0 => pair.inject(A, &[(ChunkType::DATA, flags & 15, &data(tsn, 0, stream, ssn, &vec![1; len]))]),
                1 => {
                    let mut value = tsn.to_be_bytes().to_vec();
                    value.extend_from_slice(&[0, stream as u8, 0, ssn as u8]);
                    pair.inject(A, &[(ChunkType::FORWARD_TSN, 0, &value)]);
                }
                _ => {
                    let cumulative = pair.ends[A].next_tsn_for_tests().wrapping_sub(next);
                    next = next % 30 + 1;
                    let blocks = [(stream + 1, ssn + stream + 1), (ssn + 9, ssn + 9 + u16::from(flags))];
                    pair.inject(A, &[(ChunkType::SACK, 0, &sack(cumulative, &blocks, 0))]);
                }
            }
            pair.drain();
            pair.recv_all(A, stream);
            if pair.ends[A].is_closed() {
                break;
            }
        }
    }

    #[test]
    fn mutated_packets_of_a_real_exchange_never_panic(
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..60),
    ) {
        let mut pair = Pair::new(Config::default());
        pair.send(A, 1, &pattern(3000));
        pair.ends[A].connect(pair.now);
        pair.ends[Z].connect(pair.now);
        let mut out = [0; 1200];
        let mut flips = flips.into_iter().cycle();
        for round in 0..40 {
            for side in [A, Z] {
                while let Some(len) = pair.ends[side].poll_transmit(pair.now, &mut out) {
                    let packet = &mut out[..len];
                    pair.ends[1 - side].handle_input(pair.now, packet);
                    if round % 3 == 0 && let Some((at, value)) = flips.next() {
                        packet[at % len] ^= value;
                        packet[8..12].fill(0);
                        crate::wire::packet::write_checksum(packet);
                        pair.ends[1 - side].handle_input(pair.now, packet);
                    }
                }
            }
            pair.now += ms(100);
            for end in &mut pair.ends {
                end.handle_timeout(pair.now);
            }
        }
    }
}
