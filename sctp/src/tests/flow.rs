//! Windows: zero for ever, lies, probes, a reader that is slow, and what the advertised window is worth.

use super::*;

fn sack(cumulative: u32, a_rwnd: u32, blocks: &[(u16, u16)]) -> Vec<u8> {
    let mut value = Vec::new();
    value.extend_from_slice(&cumulative.to_be_bytes());
    value.extend_from_slice(&a_rwnd.to_be_bytes());
    value.extend_from_slice(&(blocks.len() as u16).to_be_bytes());
    value.extend_from_slice(&[0, 0]);
    for (start, end) in blocks {
        value.extend_from_slice(&start.to_be_bytes());
        value.extend_from_slice(&end.to_be_bytes());
    }
    value
}

#[test]
fn a_slow_reader_stops_the_sender_and_nothing_is_lost() {
    let config = Config { receive_buffer: 100_000, max_message_size_recv: 50_000, ..roomy() };
    let mut pair = Pair::connected(config);
    for i in 0..100u8 {
        pair.send(A, 1, &[i; 10_000]);
    }
    pair.run_for(Duration::from_secs(30));
    let stats = pair.ends[Z].stats();
    assert!(stats.a_rwnd < 5000, "{stats:?}");
    assert!(pair.ends[Z].readable_bytes(StreamId(1)) <= 100_000);
    let mut expected = 0u8;
    while expected < 100 {
        for message in pair.recv_all(Z, 1) {
            assert_eq!(message, [expected; 10_000]);
            expected += 1;
        }
        // The window update goes out by itself: no need to wait for a probe.
        pair.run_for(ms(100));
    }
    assert!(pair.ends[Z].stats().dropped_data_no_room > 0, "probes into the full buffer");
}

#[test]
fn a_lost_window_update_is_made_good_by_the_probe() {
    let config = Config { receive_buffer: 20_000, max_message_size_recv: 10_000, ..roomy() };
    let mut pair = Pair::connected(config);
    for i in 0..20u8 {
        pair.send(A, 1, &[i; 5000]);
    }
    pair.run_for(Duration::from_secs(3));
    pair.script = Box::new(|side, _| if side == Z { Fate::Drop } else { Fate::Deliver });
    let mut read = pair.recv_all(Z, 1).len();
    pair.run_for(ms(100));
    pair.script = Box::new(|_, _| Fate::Deliver);
    for _ in 0..100 {
        pair.run_for(ms(500));
        read += pair.recv_all(Z, 1).len();
    }
    assert_eq!(read, 20);
}

#[test]
fn a_window_of_zero_for_an_hour_costs_one_probe_a_timeout_and_ends_nothing() {
    let mut pair = Pair::connected(Config::default());
    // Z is replaced by a peer that takes nothing.
    let next = pair.ends[A].next_tsn_for_tests();
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.inject(A, &[(ChunkType::SACK, 0, &sack(next.wrapping_sub(1), 0, &[]))]);
    for _ in 0..100 {
        pair.send(A, 1, &[5; 10_000]);
    }
    let until = pair.now + Duration::from_secs(3600);
    while pair.now < until {
        let step = pair.now + Duration::from_secs(1);
        while pair.step(step) {}
        pair.inject(A, &[(ChunkType::SACK, 0, &sack(next.wrapping_sub(1), 0, &[]))]);
    }
    assert!(!pair.ends[A].is_closed());
    let probes = pair.sent[A].iter().filter(|kinds| kinds.contains(&ChunkType::DATA)).count();
    assert!((1000..4000).contains(&probes), "{probes}: about one in three seconds at least");
    assert!(pair.ends[A].stats().flight <= 1160);
    // And when it opens, all goes.
    pair.inject(A, &[(ChunkType::SACK, 0, &sack(next, 1 << 20, &[]))]);
    pair.drain();
    assert!(pair.ends[A].stats().flight > 5000);
}

#[test]
fn window_games_never_overrun_and_never_stall() {
    let mut pair = Pair::connected(Config::default());
    let next = pair.ends[A].next_tsn_for_tests();
    pair.script = Box::new(|_, _| Fate::Drop);
    for _ in 0..100 {
        pair.send(A, 1, &[5; 10_000]);
    }
    for (step, a_rwnd) in
        [0, 1, u32::MAX, 1000, 0, 3, 100_000, 1, u32::MAX].into_iter().cycle().take(90).enumerate()
    {
        let last = pair.ends[A].next_tsn_for_tests().wrapping_sub(1);
        let cumulative = if step % 3 == 0 { last } else { next.wrapping_sub(1) };
        pair.inject(A, &[(ChunkType::SACK, 0, &sack(cumulative, a_rwnd, &[]))]);
        pair.drain();
        let stats = pair.ends[A].stats();
        assert!(stats.flight <= stats.cwnd + 1160, "{stats:?}");
        pair.run_for(ms(700));
    }
    assert!(!pair.ends[A].is_closed());
}

#[test]
fn the_advertised_window_shrinks_by_what_is_kept_and_by_its_overhead() {
    let mut pair = Pair::connected(Config::default());
    let empty = pair.ends[Z].stats().a_rwnd;
    for _ in 0..100 {
        pair.send(A, 1, &[1; 10]);
    }
    pair.run_for(ms(300));
    let kept = empty - pair.ends[Z].stats().a_rwnd;
    assert!(kept >= 100 * (10 + 64), "{kept}");
    assert_eq!(pair.recv_all(Z, 1).len(), 100);
    assert_eq!(pair.ends[Z].stats().a_rwnd, empty, "and all of it comes back");
}

#[test]
fn the_congestion_window_grows_to_megabytes_when_it_is_used() {
    let mut pair = Pair::connected(roomy());
    for _ in 0..70 {
        pair.send(A, 1, &pattern(250_000));
    }
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.recv_all(Z, 1).len(), 70);
    let stats = pair.ends[A].stats();
    assert!(stats.cwnd > 1 << 20, "{stats:?}");
    assert_eq!(stats.retransmissions, 0);
}

#[test]
fn one_percent_of_loss_is_repaired_with_few_timeouts() {
    let mut pair = Pair::with(roomy(), roomy(), 7);
    pair.connect();
    pair.weather.loss = 1;
    for _ in 0..24 {
        pair.send(A, 1, &pattern(250_000));
    }
    let mut got = 0;
    let start = pair.now;
    pair.run_until(Duration::from_secs(120), |pair| {
        got += pair.recv_all(Z, 1).len();
        got == 24
    });
    let stats = pair.ends[A].stats();
    assert!(stats.t3_expirations <= 8, "{stats:?}");
    assert!(pair.now - start < Duration::from_secs(60), "{:?}", pair.now - start);
}

#[test]
fn after_idling_the_congestion_window_starts_small_again() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, &pattern(250_000));
    pair.run_for(Duration::from_secs(2));
    assert!(pair.ends[A].stats().cwnd > 40_000);
    pair.run_for(Duration::from_secs(20));
    pair.send(A, 1, b"again");
    pair.drain();
    assert!(pair.ends[A].stats().cwnd <= 11_600, "{:?}", pair.ends[A].stats());
}

#[test]
fn a_buffer_that_became_too_small_ends_in_a_timeout_and_not_in_silence() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, &pattern(3000));
    let mut large = [0; 1200];
    let mut small = [0; 600];
    while pair.ends[A].poll_transmit(pair.now, &mut large).is_some() {}
    for _ in 0..100 {
        pair.now += Duration::from_secs(3);
        pair.ends[A].handle_timeout(pair.now);
        while pair.ends[A].poll_transmit(pair.now, &mut small).is_some() {}
    }
    assert!(pair.ends[A].is_closed());
}

/// A bulk transfer over 100 Mbit/s and 100 ms with the default settings: what arrives in 10 s, and the ends.
fn bulk(reads: bool) -> (usize, Pair) {
    let mut pair = Pair::connected(Config::default());
    pair.weather.latency = ms(50);
    let rate = 12_500_000;
    pair.bottleneck = Some(Bottleneck { bytes_per_second: rate, queue: ms(100), busy_until: [None; 2] });
    let message = pattern(100_000);
    let (end, mut got) = (pair.now + Duration::from_secs(10), 0);
    loop {
        while pair.try_send(A, 1, &message, SendOptions::default()).is_ok() {}
        if !pair.step(end) {
            break;
        }
        if reads {
            got += std::iter::from_fn(|| pair.recv(Z, 1)).map(|m| m.payload.len()).sum::<usize>();
        }
        if pair.sent[A].len() > 1000 {
            pair.forget();
        }
    }
    (got, pair)
}

#[test]
fn buffers_grow_with_the_path_and_fill_it() {
    let (got, pair) = bulk(true);
    assert!(got > 100_000_000, "{got}: 125 MB would be all there is");
    let (a, z) = (pair.ends[A].stats(), pair.ends[Z].stats());
    // The path holds 1.25 MB, and its queue as much again.
    assert!((2_500_000..16 << 20).contains(&z.receive_buffer), "{z:?}");
    assert!(a.send_buffer >= 2 * a.cwnd, "{a:?}");
    assert_eq!(z.dropped_data_no_room, 0);
}

#[test]
fn an_application_that_does_not_read_holds_the_initial_buffer_and_not_the_cap() {
    let (_, pair) = bulk(false);
    let (a, z) = (pair.ends[A].stats(), pair.ends[Z].stats());
    assert_eq!(z.receive_buffer, Config::default().initial_receive_buffer);
    assert!(z.a_rwnd < 200_000, "{z:?}");
    assert!(pair.ends[Z].readable_bytes(StreamId(1)) <= z.receive_buffer);
    // What the window took opened the congestion window a little; what is not sent stays where it came from.
    assert!(pair.ends[A].total_buffered() <= a.send_buffer && a.send_buffer <= 4 << 20, "{a:?}");
}

#[test]
fn windows_closed_in_both_directions_open_again_whichever_update_is_lost() {
    let config = Config { receive_buffer: 60_000, max_message_size_recv: 30_000, ..roomy() };
    for lost in [A, Z, 2] {
        let mut pair = Pair::connected(config.clone());
        for side in [A, Z] {
            for i in 0..30u8 {
                pair.send(side, 1, &[i; 10_000]);
            }
        }
        pair.run_for(Duration::from_secs(5));
        let mut got = [A, Z].map(|side| pair.recv_all(side, 1).len());
        // Neither update arrives, or one does not.
        pair.script =
            Box::new(move |side, _| if side == lost || lost == 2 { Fate::Drop } else { Fate::Deliver });
        pair.run_for(ms(50));
        pair.script = Box::new(|_, _| Fate::Deliver);
        pair.run_until(Duration::from_secs(60), |pair| {
            for side in [A, Z] {
                got[side] += pair.recv_all(side, 1).len();
            }
            got == [30, 30]
        });
    }
}

#[test]
fn a_window_below_a_packet_is_probed_an_rto_later_and_gets_no_slivers() {
    let mut pair = Pair::connected(Config::default());
    let next = pair.ends[A].next_tsn_for_tests();
    pair.inject(A, &[(ChunkType::SACK, 0, &sack(next.wrapping_sub(1), 700, &[]))]);
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.send(A, 1, &pattern(3000));
    pair.run_for(ms(300));
    assert_eq!(pair.sent[A].len(), 0, "no chunk cut to fit 700 bytes, and no probe yet");
    pair.run_for(ms(300));
    assert_eq!(pair.packet_sizes[A], [1160]);
    // Whole, it would have gone at once.
    let mut pair = Pair::connected(Config::default());
    let next = pair.ends[A].next_tsn_for_tests();
    pair.inject(A, &[(ChunkType::SACK, 0, &sack(next.wrapping_sub(1), 700, &[]))]);
    pair.send(A, 1, &pattern(500));
    pair.drain();
    assert_eq!(pair.sent[A], [[ChunkType::DATA]]);
}
