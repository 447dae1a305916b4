//! I-DATA and I-FORWARD-TSN (RFC 8260), and whose turn it is to send.
//!
//! What to expect of others: Firefox announces I-DATA and I-FORWARD-TSN, and both are used with it; Chromium
//! announces neither by default, and what is sent to it is DATA, scheduled at the ends of messages.

use proptest::prelude::*;

use super::*;
use crate::tx::send_queue::MESSAGE_OVERHEAD;
use crate::types::{Mid, RequestSn, Tsn};
use crate::wire::i_data::IDataChunk;
use crate::wire::i_forward_tsn::{IForwardTsn, Skip};
use crate::wire::reconfig::push_outgoing_reset;
use crate::{CauseCode, CloseReason, Scheduler};

fn connected(config: Config) -> Pair {
    let mut pair = Pair::exactly(config.clone(), config, 1);
    pair.connect();
    pair
}

fn rexmit(max: u32, unordered: bool) -> SendOptions {
    SendOptions { unordered, max_retransmits: Some(max), ..SendOptions::default() }
}

fn i_data(tsn: u32, stream: u16, mid: u32, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&[0, 0]);
    value.extend_from_slice(&mid.to_be_bytes());
    value.extend_from_slice(&number.to_be_bytes());
    value.extend_from_slice(payload);
    value
}

fn violated(pair: &mut Pair) -> bool {
    pair.drain();
    matches!(pair.events[Z].last(), Some(Event::Closed(CloseReason::ProtocolViolation(_))))
        && pair.sent[Z].concat().contains(&ChunkType::ABORT)
}

#[test]
fn it_is_used_when_both_sides_say_so_and_by_both() {
    for (a, z) in [(true, true), (true, false), (false, true), (false, false)] {
        let config = |interleaving| Config { interleaving, ..Config::default() };
        let mut pair = Pair::exactly(config(a), config(z), 1);
        pair.connect();
        for side in [A, Z] {
            assert_eq!(pair.ends[side].is_interleaving(), a && z);
            pair.send(side, 1, &pattern(5000));
        }
        pair.run_for(ms(300));
        for side in [A, Z] {
            assert_eq!(pair.recv_all(side, 1), [pattern(5000)]);
            let sent = pair.sent[side].concat();
            assert_eq!(sent.contains(&ChunkType::I_DATA), a && z);
            assert_eq!(sent.contains(&ChunkType::DATA), !(a && z));
        }
    }
}

#[test]
fn messages_of_all_sizes_arrive_whole_in_full_packets() {
    let config = Config { max_message_size_recv: 4 << 20, ..Config::default() };
    for size in [1, 3, 4, 5, 1127, 1128, 1129, 2256, 2257, 65_536, 262_144, 4 << 20] {
        let mut pair = connected(config.clone());
        pair.send(A, 7, &pattern(size));
        pair.run_until(Duration::from_secs(20), |pair| pair.ends[Z].readable_bytes(StreamId(7)) == size);
        assert_eq!(pair.recv_all(Z, 7), [pattern(size)]);
        pair.run_for(ms(300));
        assert_eq!(pair.ends[A].total_buffered(), 0);
        let full = pair.packet_sizes[A].iter().filter(|&&size| size == 1160).count();
        assert!(pair.packet_sizes[A].len() <= full + 2);
    }
}

#[test]
fn small_messages_of_many_streams_share_packets() {
    let mut pair = connected(Config::default());
    for i in 0..100u8 {
        pair.send(A, u16::from(i % 5), &[i; 10]);
    }
    pair.run_for(ms(500));
    let packets = pair.sent[A].iter().filter(|kinds| kinds.contains(&ChunkType::I_DATA)).count();
    assert!(packets <= 4, "{packets}");
    for stream in 0..5 {
        let expected: Vec<Vec<u8>> = (0..20).map(|i| vec![stream as u8 + 5 * i; 10]).collect();
        assert_eq!(pair.recv_all(Z, stream), expected);
    }
}

const RATE: u32 = 1_250_000;
const RTT: Duration = Duration::from_millis(50);

/// Delays of 100-byte messages beside 256 KiB ones on another channel, over 10 Mbit/s, 50 ms and a queue of a
/// quarter of their product; sorted.
fn delays_beside_bulk(interleaving: bool) -> Vec<Duration> {
    let config = Config { interleaving, ..roomy() };
    let mut pair = Pair::exactly(config.clone(), config, 1);
    pair.connect();
    pair.weather.latency = RTT / 2;
    pair.bottleneck = Some(Bottleneck { bytes_per_second: RATE, queue: RTT / 4, busy_until: [None; 2] });
    let bulk = pattern(256 << 10);
    let end = pair.now + Duration::from_secs(20);
    let mut next = pair.now + Duration::from_secs(2);
    let mut sent = std::collections::VecDeque::new();
    let mut delays = Vec::new();
    while pair.now < end {
        while pair.ends[A].buffered_amount(StreamId(1)) < 4 * bulk.len() {
            pair.send(A, 1, &bulk);
        }
        if pair.now >= next {
            pair.send(A, 2, &[9; 100]);
            sent.push_back(pair.now);
            next += ms(33);
        }
        let until = (pair.now + ms(5)).min(next);
        while pair.step(until) {
            for _ in pair.recv_all(Z, 2) {
                delays.push(pair.now - sent.pop_front().unwrap());
            }
        }
        for message in pair.recv_all(Z, 1) {
            assert_eq!(message.len(), bulk.len());
        }
    }
    assert!(delays.len() > 500, "{}", delays.len());
    delays.sort();
    delays
}

#[test]
fn a_short_message_beside_bulk_takes_a_round_trip_and_a_few_packets_with_i_data() {
    let delays = delays_beside_bulk(true);
    let packet_time = Duration::from_secs(1160) / RATE;
    let p99 = delays[delays.len() * 99 / 100];
    assert!(p99 <= RTT + 4 * packet_time, "{p99:?}");
}

#[test]
fn a_short_message_beside_bulk_waits_for_the_current_message_without_i_data() {
    let delays = delays_beside_bulk(false);
    let message_time = Duration::from_secs(256 << 10) / RATE;
    let p99 = delays[delays.len() * 99 / 100];
    // The bottleneck is not always full, so the message may take some longer.
    assert!(p99 <= 2 * RTT + message_time.mul_f64(1.25), "{p99:?} {message_time:?}");
    let median = delays[delays.len() / 2];
    assert!(median > RTT + 4 * Duration::from_secs(1160) / RATE, "interleaved after all: {median:?}");
}

#[test]
fn a_short_message_goes_before_hundreds_of_bulk_streams() {
    let mut pair = connected(roomy());
    for stream in 10..300 {
        pair.send(A, stream, &pattern(20_000));
    }
    pair.run_for(ms(25));
    pair.send(A, 1, b"now");
    pair.run_until(ms(100), |pair| pair.ends[Z].readable_bytes(StreamId(1)) > 0);
    let whole = (10..300).filter(|&stream| pair.ends[Z].readable_bytes(StreamId(stream)) > 0).count();
    assert_eq!(whole, 0);
}

/// Bytes that came through on streams 1 and 2 over a bottleneck, both always with something to send.
fn shares(config: Config, priorities: [u16; 2], sizes: [usize; 2]) -> [usize; 2] {
    let mut pair = Pair::exactly(config.clone(), config, 1);
    pair.connect();
    pair.bottleneck = Some(Bottleneck { bytes_per_second: RATE, queue: RTT / 4, busy_until: [None; 2] });
    let mut got = [0; 2];
    let end = pair.now + Duration::from_secs(4);
    for (stream, priority) in [1, 2].into_iter().zip(priorities) {
        pair.ends[A].set_stream_priority(StreamId(stream), priority);
    }
    while pair.now < end {
        for (stream, size) in [1, 2].into_iter().zip(sizes) {
            while pair.ends[A].buffered_amount(StreamId(stream)) < 300_000 {
                pair.send(A, stream, &vec![1; size]);
            }
        }
        pair.run_for(ms(10));
        for (stream, got) in [1, 2].into_iter().zip(&mut got) {
            *got += pair.recv_all(Z, stream).iter().map(Vec::len).sum::<usize>();
        }
    }
    got
}

#[test]
fn priorities_share_the_rate_by_weight_whatever_the_sizes() {
    for (interleaving, sizes) in [(true, [1000, 60_000]), (true, [60_000, 500]), (false, [4000, 16_000])] {
        let config = Config { interleaving, ..roomy() };
        for (priorities, ratio) in [([256, 1024], 4.0), ([512, 512], 1.0), ([0, 256], 1.0)] {
            let [one, two] = shares(config.clone(), priorities, sizes);
            let measured = two as f64 / one as f64;
            assert!((measured / ratio - 1.0).abs() < 0.1, "{interleaving} {sizes:?} {measured} {ratio}");
        }
    }
}

#[test]
fn turns_are_by_message_or_by_packet_where_that_is_chosen() {
    let by_message = Config { scheduler: Scheduler::RoundRobinMessages, ..roomy() };
    let [one, two] = shares(by_message, [256, 1024], [10_000, 20_000]);
    assert!((two as f64 / one as f64 - 2.0).abs() < 0.1, "{one} {two}");
    let by_packet = Config { scheduler: Scheduler::RoundRobinPackets, ..roomy() };
    let [one, two] = shares(by_packet, [256, 1024], [10_000, 20_000]);
    assert!((two as f64 / one as f64 - 1.0).abs() < 0.1, "{one} {two}");
}

#[test]
fn large_messages_on_many_streams_do_not_lock_a_small_window() {
    let config = Config { receive_buffer: 400_000, max_message_size_recv: 150_000, ..roomy() };
    let mut pair = connected(config);
    for stream in 0..50 {
        pair.send(A, stream, &pattern(140_000));
    }
    let mut got = 0;
    pair.run_until(Duration::from_secs(60), |pair| {
        got += (0..50).map(|stream| pair.recv_all(Z, stream).len()).sum::<usize>();
        got == 50
    });
    assert_eq!(pair.ends[A].stats().t3_expirations, 0);
}

#[test]
fn messages_that_overtake_a_long_one_are_forgotten_when_acknowledged() {
    let mut pair = connected(Config { max_message_size_recv: 8 << 20, ..roomy() });
    pair.send(A, 1, &vec![1; 7 << 20]);
    let mut got = 0;
    for round in 0..100 {
        for _ in 0..30 {
            pair.send(A, 2, &[round; 50]);
        }
        pair.run_for(ms(21));
        got += pair.recv_all(Z, 2).len();
        assert!(pair.ends[A].unacked_bytes(StreamId(2)) <= 2000, "round {round}");
        if pair.ends[Z].readable_bytes(StreamId(1)) > 0 {
            break;
        }
    }
    assert!(got > 200, "{got}");
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.ends[A].total_buffered(), 0);
    let room = pair.ends[A].stats().send_buffer - MESSAGE_OVERHEAD;
    assert_eq!(pair.ends[A].send_capacity(StreamId(1)), room, "no message is counted");
}

#[test]
fn a_large_message_is_given_up_whole_while_others_go_on() {
    for unordered in [false, true] {
        let mut pair = connected(Config::default());
        // Packets of the two take turns.
        pair.script = drop_nth(A, ChunkType::I_DATA, 3);
        pair.try_send(A, 1, &pattern(200_000), rexmit(0, unordered)).unwrap();
        pair.send(A, 2, &pattern(100_000));
        pair.send(A, 1, b"next");
        pair.run_for(Duration::from_secs(3));
        let sent = pair.sent[A].concat();
        assert!(sent.contains(&ChunkType::I_FORWARD_TSN) && !sent.contains(&ChunkType::FORWARD_TSN));
        assert_eq!(pair.recv_all(Z, 1), [b"next"]);
        assert_eq!(pair.recv_all(Z, 2), [pattern(100_000)]);
        assert!(pair.sent[A].len() < 200, "the rest is never sent");
        assert_eq!(pair.ends[A].stats().messages_abandoned, 1);
        assert_eq!(pair.ends[A].total_buffered(), 0);
        let stats = pair.ends[Z].stats();
        assert_eq!(stats.a_rwnd, stats.receive_buffer, "nothing of it is kept");
    }
}

#[test]
fn with_any_loss_what_arrives_is_whole_in_order_and_the_window_comes_back() {
    for seed in 0..12 {
        let mut pair = Pair::exactly(Config::default(), Config::default(), seed);
        pair.connect();
        pair.weather = Weather { loss: 20, duplicate: 5, latency: ms(10), jitter: ms(15) };
        for i in 0..200u16 {
            let size = 4 + usize::from(i) * 37 % 5000;
            let mut message = vec![i as u8; size];
            message[..2].copy_from_slice(&i.to_be_bytes());
            pair.try_send(A, i % 5, &message, rexmit(u32::from(i % 2), i % 5 >= 3)).unwrap();
        }
        pair.run_until(Duration::from_secs(200), |pair| pair.ends[A].total_buffered() == 0);
        pair.weather = Weather::FAIR;
        for stream in 0..5 {
            pair.send(A, stream, &[0xff; 4]);
        }
        pair.run_for(Duration::from_secs(5));
        let mut total = 0;
        for stream in 0..5 {
            let got = pair.recv_all(Z, stream);
            total += got.len() - 1;
            assert!(got.contains(&vec![0xff; 4]), "seed {seed}: the stream goes on");
            let numbers: Vec<u16> = got.iter().map(|m| u16::from_be_bytes([m[0], m[1]])).collect();
            for (message, i) in got.iter().zip(&numbers).filter(|(_, i)| **i != 0xffff) {
                assert_eq!(message.len(), 4 + usize::from(*i) * 37 % 5000, "seed {seed}");
                assert!(message[2..].iter().all(|&byte| byte == *i as u8), "seed {seed}");
            }
            if stream < 3 {
                assert!(numbers.is_sorted(), "seed {seed}: {numbers:?}");
            }
        }
        let stats = pair.ends[A].stats();
        assert!(total as u64 + stats.messages_abandoned >= 200, "seed {seed}: {total} {stats:?}");
        let stats = pair.ends[Z].stats();
        assert_eq!(stats.a_rwnd, stats.receive_buffer, "seed {seed}");
    }
}

#[test]
fn a_reset_starts_both_counters_anew() {
    let mut pair = connected(Config::default());
    let unordered = SendOptions { unordered: true, ..SendOptions::default() };
    for round in 0..3u8 {
        let mids = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let seen = mids.clone();
        pair.script = Box::new(move |side, packet| {
            for chunk in raw_chunks(packet).iter().filter(|c| side == A && c.kind == ChunkType::I_DATA) {
                seen.borrow_mut().push(IDataChunk::parse(chunk).unwrap().mid);
            }
            Fate::Deliver
        });
        for options in [SendOptions::default(), unordered] {
            pair.try_send(A, 1, &[round, 1], options).unwrap();
            pair.try_send(A, 1, &[round, 2], options).unwrap();
        }
        pair.run_for(ms(300));
        assert_eq!(*mids.borrow(), [Mid(0), Mid(1), Mid(0), Mid(1)]);
        assert_eq!(pair.recv_all(Z, 1), [[round, 1], [round, 2], [round, 1], [round, 2]]);
        pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap();
        pair.run_for(ms(100));
        assert!(pair.events[A].contains(&Event::StreamsResetDone(vec![StreamId(1)])));
        pair.forget();
    }
}

#[test]
fn a_reset_drops_what_can_not_be_completed_any_more() {
    let mut pair = connected(Config::default());
    let tsn = pair.ends[A].next_tsn_for_tests();
    pair.inject(Z, &[(ChunkType::I_DATA, 2, &i_data(tsn, 1, 0, 53, &[1; 1000]))]);
    assert!(pair.ends[Z].stats().a_rwnd < pair.ends[Z].stats().receive_buffer);
    let mut value = Vec::new();
    push_outgoing_reset(&mut value, RequestSn(tsn), RequestSn(0), Tsn(tsn), &[StreamId(1)]);
    pair.inject(Z, &[(ChunkType::RE_CONFIG, 0, &value)]);
    let stats = pair.ends[Z].stats();
    assert_eq!(stats.a_rwnd, stats.receive_buffer);
    // The new life of the stream has nothing of the old.
    let chunk = i_data(tsn.wrapping_add(1), 1, 0, 53, b"new");
    pair.inject(Z, &[(ChunkType::I_DATA, 3, &chunk)]);
    assert_eq!(pair.recv_all(Z, 1), [b"new"]);
}

#[test]
fn the_other_kind_of_data_or_skip_is_a_violation() {
    for (interleaving, kind) in [
        (true, ChunkType::DATA),
        (true, ChunkType::FORWARD_TSN),
        (false, ChunkType::I_DATA),
        (false, ChunkType::I_FORWARD_TSN),
    ] {
        let mut pair = connected(Config { interleaving, ..Config::default() });
        let tsn = pair.ends[A].next_tsn_for_tests();
        let value = i_data(tsn, 1, 0, 53, b"data");
        pair.inject(Z, &[(kind, 3, &value)]);
        assert!(violated(&mut pair), "{kind:?}");
    }
}

#[test]
fn nothing_but_a_header_and_a_message_too_large_are_violations() {
    let mut pair = connected(Config { max_message_size_recv: 65_536, ..Config::default() });
    let tsn = pair.ends[A].next_tsn_for_tests();
    pair.inject(Z, &[(ChunkType::I_DATA, 3, &i_data(tsn, 1, 0, 53, &[])[..15])]);
    assert!(violated(&mut pair));
    let mut pair = connected(Config { max_message_size_recv: 65_536, ..Config::default() });
    pair.send(A, 1, &pattern(65_536));
    pair.send(A, 2, &pattern(65_537));
    pair.run_for(ms(500));
    assert!(violated(&mut pair));
    let mut pair = connected(Config::default());
    let tsn = pair.ends[A].next_tsn_for_tests();
    pair.inject(Z, &[(ChunkType::I_DATA, 3, &i_data(tsn, 1, 0, 53, &[]))]);
    pair.drain();
    assert!(pair.ends[Z].is_closed());
}

#[test]
fn first_fragments_of_all_streams_stay_within_the_window() {
    let config = Config { receive_buffer: 200_000, max_message_size_recv: 100_000, ..Config::default() };
    let mut pair = connected(config);
    let first = pair.ends[A].next_tsn_for_tests();
    for i in 0..60_000u32 {
        let chunk = i_data(first.wrapping_add(i), i as u16, 0, 53, &[1]);
        pair.inject(Z, &[(ChunkType::I_DATA, 2, &chunk)]);
        if pair.ends[Z].is_closed() {
            break;
        }
    }
    // From the buffer and the reserve, since there is nothing to read; and then it ends, as nothing ever will be.
    let stats = pair.ends[Z].stats();
    assert!(stats.data_chunks_received <= (200_000 + 100_000 + 65_536) / 150, "{stats:?}");
    pair.run_for(ms(100));
    assert_eq!(pair.events[Z].last(), Some(&Event::Closed(CloseReason::OutOfReceiveBuffer)));
    let Some(Event::Closed(CloseReason::AbortedByPeer { code, .. })) = pair.events[A].last() else {
        panic!("{:?}", pair.events[A]);
    };
    assert_eq!(*code, CauseCode::OUT_OF_RESOURCE);
}

#[test]
fn every_second_fragment_of_one_stream_is_limited_too() {
    let mut pair = connected(Config::default());
    let first = pair.ends[A].next_tsn_for_tests();
    for i in 0..10_000u32 {
        let chunk = i_data(first.wrapping_add(1 + i), 1, i, 1, &[1]);
        pair.inject(Z, &[(ChunkType::I_DATA, 4, &chunk)]);
    }
    let stats = pair.ends[Z].stats();
    assert_eq!((stats.data_chunks_received, stats.dropped_data_no_room), (2048, 7952));
    assert!(stats.a_rwnd < stats.receive_buffer);
    // What is skipped makes room.
    let mut value = first.to_be_bytes().to_vec();
    value.extend_from_slice(&Skip { stream: StreamId(1), unordered: true, mid: Mid(5000) }.to_bytes());
    pair.inject(Z, &[(ChunkType::I_FORWARD_TSN, 0, &value)]);
    let stats = pair.ends[Z].stats();
    assert_eq!(stats.a_rwnd, stats.receive_buffer);
}

#[test]
fn fragments_of_a_message_that_is_past_are_dropped() {
    let mut pair = connected(Config::default());
    let first = pair.ends[A].next_tsn_for_tests();
    pair.inject(Z, &[(ChunkType::I_DATA, 3, &i_data(first, 1, 0, 53, b"whole"))]);
    for (i, mid) in [0, u32::MAX, 0x8000_0001].into_iter().enumerate() {
        let chunk = i_data(first.wrapping_add(1 + i as u32), 1, mid, 4, b"late");
        pair.inject(Z, &[(ChunkType::I_DATA, 0, &chunk)]);
    }
    let stats = pair.ends[Z].stats();
    assert_eq!((stats.data_chunks_received, stats.dropped_data_invalid), (4, 3));
    pair.recv_all(Z, 1);
    let stats = pair.ends[Z].stats();
    assert_eq!(stats.a_rwnd, stats.receive_buffer);
}

#[test]
fn absurd_skips_are_refused_without_a_loop() {
    let mut pair = connected(Config::default());
    let next = pair.ends[A].next_tsn_for_tests();
    for ahead in [0x7fff_ffff, 0x8000_0000, 100_000] {
        let mut value = next.wrapping_add(ahead).to_be_bytes().to_vec();
        for stream in 0..7000u16 {
            let skip = Skip { stream: StreamId(stream), unordered: stream % 2 == 0, mid: Mid(9) };
            value.extend_from_slice(&skip.to_bytes());
        }
        pair.inject(Z, &[(ChunkType::I_FORWARD_TSN, 0, &value)]);
    }
    pair.inject(Z, &[(ChunkType::I_FORWARD_TSN, 0, &[0; 9])]);
    assert_eq!(pair.ends[Z].stats().dropped_chunks, 2, "one too far ahead, one that does not parse");
    pair.send(A, 1, b"unmoved");
    pair.run_for(ms(300));
    assert_eq!(pair.recv_all(Z, 1), [b"unmoved"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i_data_and_skips_are_read_back(
        flags in 0u8..16, tsn: u32, stream: u16, mid: u32, number: u32, unordered: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let begins = flags & 2 != 0;
        let (ppid, fsn) = if begins { (Ppid(number), 0) } else { (Ppid(0), number) };
        let (tsn, stream, mid) = (Tsn(tsn), StreamId(stream), Mid(mid));
        let chunk = IDataChunk { flags, tsn, stream, mid, ppid, fsn, payload: &payload };
        let mut buf = [0xee; 200];
        let mut packet = PacketWriter::new(&mut buf, 1, 2, 3).expect("room");
        prop_assert!(packet.data_chunk(&chunk.header().expect("short"), &payload));
        let len = packet.finish();
        prop_assert_eq!(len % 4, 0);
        prop_assert_eq!(IDataChunk::parse(&raw_chunks(&buf[..len])[0]), Some(chunk));

        let skip = Skip { stream, unordered, mid };
        let value = [&tsn.0.to_be_bytes()[..], &skip.to_bytes(), &skip.to_bytes()].concat();
        let packet = forge(1, &[(ChunkType::I_FORWARD_TSN, 0, &value)]);
        let forward = IForwardTsn::parse(&raw_chunks(&packet)[0]).expect("well-formed");
        prop_assert_eq!(forward.new_cumulative_tsn, tsn);
        prop_assert_eq!(forward.skipped().collect::<Vec<_>>(), [skip, skip]);
    }

    #[test]
    fn near_valid_i_data_and_skips_never_panic_and_stay_within_the_window(
        ops in proptest::collection::vec(
            (0u8..4, -3i32..60, 0u8..16, 0u16..3, prop_oneof![0u32..4, Just(u32::MAX)], 0u32..5, 1usize..40),
            1..200,
        ),
    ) {
        let mut pair = connected(Config { receive_buffer: 20_000, max_message_size_recv: 9000, ..Config::default() });
        let first = pair.ends[Z].next_tsn_for_tests();
        pair.script = Box::new(|_, _| Fate::Drop);
        for (op, offset, flags, stream, mid, number, len) in ops {
            let tsn = first.wrapping_add_signed(offset);
            if op == 0 {
                let skip = Skip { stream: StreamId(stream), unordered: flags & 4 != 0, mid: Mid(mid) };
                let value = [&tsn.to_be_bytes()[..], &skip.to_bytes()].concat();
                pair.inject(A, &[(ChunkType::I_FORWARD_TSN, 0, &value)]);
            } else {
                let chunk = i_data(tsn, stream, mid, number, &vec![1; len]);
                pair.inject(A, &[(ChunkType::I_DATA, flags, &chunk)]);
            }
            pair.drain();
            pair.recv_all(A, stream);
            if pair.ends[A].is_closed() {
                break;
            }
        }
    }
}
