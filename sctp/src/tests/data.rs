//! Messages of all sizes, loss, fast retransmit, T3, order, many streams.

use super::*;

#[test]
fn messages_of_all_sizes_arrive_whole() {
    let config = Config { max_message_size_recv: 4 << 20, ..Config::default() };
    for size in [1, 2, 3, 4, 5, 1131, 1132, 1133, 1136, 2264, 2265, 65_536, 262_144, 1 << 20, 4 << 20] {
        let mut pair = Pair::connected(config.clone());
        let message = pattern(size);
        pair.send(A, 7, &message);
        pair.run_until(Duration::from_secs(20), |pair| pair.ends[Z].readable_bytes(StreamId(7)) == size);
        let received = pair.recv(Z, 7).expect("readable");
        assert_eq!(received.payload, message);
        assert_eq!((received.stream_id, received.ppid, received.unordered), (StreamId(7), Ppid(53), false));
        pair.run_for(ms(300));
        assert_eq!(pair.events[Z], [Event::Readable(StreamId(7))]);
        assert_eq!(pair.ends[A].total_buffered(), 0);
        assert_eq!(pair.ends[A].stats().retransmissions, 0, "size {size}");
    }
}

#[test]
fn full_packets_have_one_size_even_with_messages_that_do_not_divide() {
    let mut pair = Pair::connected(roomy());
    for _ in 0..20 {
        pair.send(A, 1, &pattern(65_536));
    }
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.recv_all(Z, 1).len(), 20);
    let sizes = &pair.packet_sizes[A];
    let full = sizes.iter().filter(|&&size| size == 1160).count();
    assert!(sizes.iter().all(|&size| size <= 1160 && size % 4 == 0));
    assert!(sizes.len() - full <= 3, "{} of {} packets are not full", sizes.len() - full, sizes.len());
}

#[test]
fn small_messages_share_packets() {
    let mut pair = Pair::connected(Config::default());
    for i in 0..100u8 {
        pair.send(A, u16::from(i % 5), &[i; 10]);
    }
    pair.run_for(ms(500));
    let packets = pair.sent[A].iter().filter(|kinds| kinds.contains(&ChunkType::DATA)).count();
    assert!(packets <= 3, "{packets}");
    for stream in 0..5 {
        let expected: Vec<Vec<u8>> = (0..20).map(|i| vec![stream as u8 + 5 * i; 10]).collect();
        assert_eq!(pair.recv_all(Z, stream), expected);
    }
}

#[test]
fn a_lost_packet_is_repaired_by_fast_retransmit_without_a_timeout() {
    let mut pair = Pair::connected(Config::default());
    pair.script = drop_nth(A, ChunkType::DATA, 3);
    let message = pattern(50_000);
    pair.send(A, 1, &message);
    pair.run_for(ms(350));
    assert_eq!(pair.recv_all(Z, 1), [message]);
    let stats = pair.ends[A].stats();
    assert_eq!((stats.retransmissions, stats.fast_recoveries, stats.t3_expirations), (1, 1, 0));
}

#[test]
fn a_lost_fast_retransmission_is_repaired_too() {
    let mut pair = Pair::connected(Config::default());
    let mut count = 0;
    let first = std::cell::Cell::new(None);
    pair.script = Box::new(move |side, packet| {
        if side == A && has(packet, ChunkType::DATA) {
            count += 1;
            let tsn = raw_chunks(packet)[0].value[..4].to_vec();
            if count == 3 {
                first.set(Some(tsn));
                return Fate::Drop;
            }
            let lost = first.take();
            let again = lost.as_ref() == Some(&tsn);
            if !again {
                first.set(lost);
                return Fate::Deliver;
            }
            return Fate::Drop;
        }
        Fate::Deliver
    });
    let message = pattern(200_000);
    pair.send(A, 1, &message);
    pair.run_for(ms(350));
    assert_eq!(pair.recv_all(Z, 1), [message]);
    let stats = pair.ends[A].stats();
    assert_eq!((stats.retransmissions, stats.t3_expirations), (2, 0));
}

#[test]
fn a_lost_last_packet_is_repaired_by_t3() {
    let mut pair = Pair::connected(Config::default());
    pair.script = drop_nth(A, ChunkType::DATA, 1);
    pair.send(A, 1, b"lonely");
    pair.run_for(ms(390));
    assert_eq!(pair.recv(Z, 1), None);
    pair.run_for(ms(200));
    assert_eq!(pair.recv_all(Z, 1), [b"lonely"]);
    assert_eq!(pair.ends[A].stats().t3_expirations, 1);
}

#[test]
fn a_timeout_sends_one_packet_and_slow_starts() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, &pattern(100_000));
    pair.script = Box::new(|side, _| if side == A { Fate::Drop } else { Fate::Deliver });
    pair.drain();
    let burst = pair.sent[A].len();
    assert!(burst >= 10);
    pair.run_for(ms(550));
    assert_eq!(pair.sent[A].len(), burst + 1);
    pair.script = Box::new(|_, _| Fate::Deliver);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.recv_all(Z, 1), [pattern(100_000)]);
}

#[test]
fn the_last_data_of_a_dead_peer_ends_in_a_timeout_with_back_off() {
    let mut pair = Pair::connected(Config::default());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.send(A, 1, b"anyone?");
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.events[A].last(), Some(&Event::Closed(crate::CloseReason::Timeout)));
    assert_eq!(pair.sent[A].len(), 11, "sent once and ten times again");
}

#[test]
fn unordered_messages_overtake_a_lost_one_and_ordered_ones_do_not() {
    for unordered in [true, false] {
        let mut pair = Pair::connected(Config::default());
        pair.script = drop_nth(A, ChunkType::DATA, 1);
        let options = SendOptions { unordered, ..SendOptions::default() };
        for i in 0..3u8 {
            pair.try_send(A, 1, &[i; 1132], options).unwrap();
        }
        pair.run_for(ms(15));
        let early = pair.recv_all(Z, 1);
        assert_eq!(early.len(), if unordered { 2 } else { 0 });
        pair.run_for(ms(1000));
        assert_eq!(pair.recv_all(Z, 1).len(), 3 - early.len());
    }
}

#[test]
fn a_lost_message_holds_up_its_own_stream_only() {
    let mut pair = Pair::connected(Config::default());
    pair.script = drop_nth(A, ChunkType::DATA, 1);
    for stream in 0..4 {
        pair.send(A, stream, &[9; 1132]);
    }
    pair.run_for(ms(15));
    assert_eq!(pair.recv(Z, 0), None);
    for stream in 1..4 {
        assert_eq!(pair.recv_all(Z, stream).len(), 1);
    }
}

#[test]
fn stream_sequence_numbers_wrap() {
    let mut pair = Pair::connected(roomy());
    let mut next = 0u32;
    let mut expected = 0u32;
    while expected < 70_000 {
        while next < 70_000 && next - expected < 2000 {
            pair.send(A, 3, &next.to_be_bytes());
            next += 1;
        }
        pair.run_for(ms(21));
        for message in pair.recv_all(Z, 3) {
            assert_eq!(message, expected.to_be_bytes());
            expected += 1;
        }
    }
}

#[test]
fn all_streams_can_be_used() {
    let mut pair = Pair::connected(roomy());
    for stream in 0..u16::MAX {
        pair.send(A, stream, &stream.to_be_bytes());
    }
    assert_eq!(pair.try_send(A, u16::MAX, b"x", SendOptions::default()), Err(SendError::NoSuchStream));
    pair.run_for(Duration::from_secs(5));
    for stream in 0..u16::MAX {
        assert_eq!(pair.recv_all(Z, stream), [stream.to_be_bytes()]);
    }
}

#[test]
fn one_sack_covers_a_batch_and_a_lone_packet_waits() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, b"the first is acknowledged at once");
    pair.run_for(ms(15));
    assert_eq!(pair.sent[Z], [[ChunkType::SACK]]);
    pair.run_for(ms(100));
    pair.forget();
    pair.send(A, 1, b"lone");
    pair.run_for(ms(150));
    assert_eq!(pair.sent[Z], Vec::<Vec<ChunkType>>::new());
    pair.run_for(ms(100));
    assert_eq!(pair.sent[Z], [[ChunkType::SACK]]);
    pair.forget();
    pair.send(A, 1, &pattern(8 * 1132));
    pair.run_for(ms(15));
    assert_eq!(pair.sent[A].len(), 8);
    assert_eq!(pair.sent[Z], [[ChunkType::SACK]], "one for the batch, at once");
}

#[test]
fn a_pending_sack_goes_along_with_data() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, b"first");
    pair.run_for(ms(100));
    pair.forget();
    pair.send(A, 1, b"question");
    pair.run_for(ms(15));
    pair.send(Z, 1, b"answer");
    pair.run_for(ms(5));
    assert_eq!(pair.sent[Z], [[ChunkType::SACK, ChunkType::DATA]]);
}

#[test]
fn buffered_amount_falls_as_data_is_sent_and_says_so_once() {
    let mut pair = Pair::connected(Config::default());
    pair.ends[A].set_buffered_amount_low_threshold(StreamId(1), 10_000);
    pair.send(A, 1, &pattern(100_000));
    assert_eq!(pair.ends[A].buffered_amount(StreamId(1)), 100_000);
    pair.drain();
    assert!(pair.ends[A].buffered_amount(StreamId(1)) < 100_000);
    assert_eq!(pair.ends[A].unacked_bytes(StreamId(1)), 100_000);
    pair.run_for(ms(500));
    assert_eq!(pair.ends[A].buffered_amount(StreamId(1)), 0);
    assert_eq!(pair.ends[A].unacked_bytes(StreamId(1)), 0);
    assert_eq!(pair.events[A], [Event::BufferedAmountLow(StreamId(1))]);
    // From the threshold or below to lower is no fall.
    pair.send(A, 1, &pattern(10_000));
    pair.run_for(ms(500));
    assert_eq!(pair.events[A].len(), 1);
}

#[test]
fn a_full_send_buffer_refuses_and_says_when_there_is_room() {
    let config = Config { send_buffer: 100_000, ..Config::default() };
    let mut pair = Pair::connected(config);
    while pair.ends[A].send_capacity(StreamId(1)) >= 10_000 {
        pair.send(A, 1, &[1; 10_000]);
    }
    let options = SendOptions::default();
    assert_eq!(pair.try_send(A, 1, &[1; 10_000], options), Err(SendError::BufferFull));
    assert_eq!(pair.ends[A].stats().messages_sent, 9);
    pair.run_for(ms(500));
    assert_eq!(pair.events[A].iter().filter(|event| **event == Event::SendCapacity(StreamId(1))).count(), 1);
    assert_eq!(pair.try_send(A, 1, &[], options), Err(SendError::Empty));
    // Larger than the buffer: only alone.
    assert_eq!(pair.try_send(A, 1, &[1; 200_000], options), Ok(()));
    assert_eq!(pair.try_send(A, 1, &[1], options), Err(SendError::BufferFull));
}

#[test]
fn an_idle_association_sends_heartbeats_and_measures_by_them() {
    let mut pair = Pair::connected(Config::default());
    pair.run_for(Duration::from_secs(100));
    for side in [A, Z] {
        let beats = pair.sent[side].iter().filter(|kinds| kinds.contains(&ChunkType::HEARTBEAT)).count();
        assert!((1..=4).contains(&beats), "{beats}");
    }
    assert_eq!(pair.ends[A].stats().srtt, Some(ms(20)));
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.run_for(Duration::from_secs(1000));
    assert_eq!(pair.events[A], [Event::Closed(crate::CloseReason::Timeout)]);
}
