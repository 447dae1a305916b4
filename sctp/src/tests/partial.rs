//! Partial reliability (RFC 3758, RFC 7496).

use super::*;

fn rexmit(max: u32, unordered: bool) -> SendOptions {
    SendOptions { unordered, max_retransmits: Some(max), ..SendOptions::default() }
}

#[test]
fn a_message_without_retransmissions_is_skipped_when_lost() {
    for unordered in [false, true] {
        let mut pair = Pair::connected(Config::default());
        pair.script = drop_nth(A, ChunkType::DATA, 1);
        for i in 0..5u8 {
            pair.try_send(A, 1, &[i; 1132], rexmit(0, unordered)).unwrap();
        }
        pair.run_for(Duration::from_secs(2));
        let got: Vec<u8> = pair.recv_all(Z, 1).iter().map(|m| m[0]).collect();
        assert_eq!(got, [1, 2, 3, 4]);
        let stats = pair.ends[A].stats();
        assert_eq!((stats.retransmissions, stats.messages_abandoned), (0, 1));
        assert_eq!(pair.ends[A].total_buffered(), 0);
        // The stream goes on.
        pair.try_send(A, 1, b"more", SendOptions::default()).unwrap();
        pair.run_for(ms(300));
        assert_eq!(pair.recv_all(Z, 1), [b"more"]);
    }
}

#[test]
fn a_large_message_is_given_up_whole_and_its_rest_never_sent() {
    let mut pair = Pair::connected(Config::default());
    pair.script = drop_nth(A, ChunkType::DATA, 2);
    pair.try_send(A, 1, &pattern(200_000), rexmit(0, false)).unwrap();
    pair.send(A, 1, b"next");
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.recv_all(Z, 1), [b"next"]);
    assert!(pair.sent[A].len() < 60, "{}", pair.sent[A].len());
    assert_eq!(pair.ends[A].total_buffered(), 0);
    let stats = pair.ends[Z].stats();
    assert_eq!(stats.a_rwnd, stats.receive_buffer, "nothing of it is kept");
}

#[test]
fn a_message_that_outlives_itself_in_the_queue_is_never_sent() {
    let mut pair = Pair::connected(Config::default());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.send(A, 1, &pattern(20_000));
    pair.drain();
    let brief = SendOptions { lifetime: Some(ms(100)), ..SendOptions::default() };
    pair.try_send(A, 1, b"brief", brief).unwrap();
    pair.run_for(ms(200));
    pair.script = Box::new(|_, _| Fate::Deliver);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.recv_all(Z, 1), [pattern(20_000)]);
    assert_eq!(pair.ends[A].stats().messages_abandoned, 1);
    assert_eq!(pair.ends[A].buffered_amount(StreamId(1)), 0);
}

#[test]
fn a_lost_forward_tsn_is_sent_again() {
    let mut pair = Pair::connected(Config::default());
    let mut forwards = 0;
    pair.script = Box::new(move |side, packet| {
        let lost = side == A && has(packet, ChunkType::DATA);
        if side == A && has(packet, ChunkType::FORWARD_TSN) {
            forwards += 1;
            if forwards <= 2 {
                return Fate::Drop;
            }
        }
        if lost { Fate::Drop } else { Fate::Deliver }
    });
    pair.try_send(A, 1, b"lost", rexmit(0, false)).unwrap();
    pair.run_for(Duration::from_secs(5));
    pair.script = Box::new(|_, _| Fate::Deliver);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.ends[A].stats().flight, 0);
    pair.send(A, 1, b"kept");
    pair.run_for(ms(300));
    assert_eq!(pair.recv_all(Z, 1), [b"kept"]);
}

#[test]
fn limits_mean_nothing_to_a_peer_that_can_not_skip() {
    let plain = Config { partial_reliability: false, ..Config::default() };
    let mut pair = Pair::with(Config::default(), plain, 3);
    pair.connect();
    pair.script = drop_nth(A, ChunkType::DATA, 1);
    for i in 0..5u8 {
        pair.try_send(A, 1, &[i; 1132], rexmit(0, false)).unwrap();
    }
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.recv_all(Z, 1).len(), 5);
}

#[test]
fn absurd_forward_tsns_are_refused_without_a_loop() {
    let mut pair = Pair::connected(Config::default());
    let next = pair.ends[A].next_tsn_for_tests();
    for ahead in [0x7fff_ffff, 0x8000_0000, 100_000] {
        let mut value = next.wrapping_add(ahead).to_be_bytes().to_vec();
        for stream in 0..10_000u16 {
            value.extend_from_slice(&stream.to_be_bytes());
            value.extend_from_slice(&[0, 9]);
        }
        pair.inject(Z, &[(ChunkType::FORWARD_TSN, 0, &value)]);
    }
    pair.send(A, 1, b"unmoved");
    pair.run_for(ms(300));
    assert_eq!(pair.recv_all(Z, 1), [b"unmoved"]);
}

#[test]
fn with_any_loss_what_arrives_is_whole_in_order_and_the_window_comes_back() {
    for seed in 0..10 {
        let mut pair = Pair::with(Config::default(), Config::default(), seed);
        pair.connect();
        pair.weather = Weather { loss: 20, duplicate: 5, latency: ms(10), jitter: ms(15) };
        for i in 0..200u16 {
            let size = 4 + usize::from(i) * 37 % 5000;
            let mut message = vec![i as u8; size];
            message[..2].copy_from_slice(&i.to_be_bytes());
            pair.try_send(A, i % 3, &message, rexmit(u32::from(i % 2), i % 3 == 2)).unwrap();
        }
        pair.run_until(Duration::from_secs(200), |pair| pair.ends[A].total_buffered() == 0);
        pair.weather = Weather::FAIR;
        pair.run_for(Duration::from_secs(5));
        let mut total = 0;
        for stream in 0..3 {
            let got = pair.recv_all(Z, stream);
            total += got.len();
            let numbers: Vec<u16> = got.iter().map(|m| u16::from_be_bytes([m[0], m[1]])).collect();
            for (message, i) in got.iter().zip(&numbers) {
                assert_eq!(message.len(), 4 + usize::from(*i) * 37 % 5000, "seed {seed}");
            }
            if stream != 2 {
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
fn a_reliable_message_between_two_that_are_given_up_is_not_skipped_over() {
    let mut pair = Pair::connected(Config::default());
    let first = pair.ends[A].next_tsn_for_tests();
    let skips = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = skips.clone();
    let mut data = 0;
    pair.script = Box::new(move |from, packet| {
        for chunk in raw_chunks(packet).iter().filter(|chunk| chunk.kind == ChunkType::FORWARD_TSN) {
            let forward = crate::wire::forward_tsn::ForwardTsn::parse(chunk).expect("well-formed");
            let tsn = forward.new_cumulative_tsn.0.wrapping_sub(first);
            seen.borrow_mut().push((tsn, forward.skipped().map(|(_, ssn)| ssn.0).collect::<Vec<_>>()));
        }
        data += usize::from(from == A && has(packet, ChunkType::DATA));
        if matches!(data, 1 | 3) && has(packet, ChunkType::DATA) { Fate::Drop } else { Fate::Deliver }
    });
    for options in [rexmit(0, false), SendOptions::default(), rexmit(0, false)] {
        pair.try_send(A, 1, &pattern(1132), options).unwrap();
    }
    pair.run_for(Duration::from_secs(3));
    assert_eq!(*skips.borrow(), [(0, vec![0]), (2, vec![2])]);
    assert_eq!(pair.recv_all(Z, 1).len(), 1);
}
