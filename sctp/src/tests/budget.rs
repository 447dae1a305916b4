//! The send buffer and its shares.

use std::collections::BTreeMap;

use rand::RngExt;

use super::*;
use crate::tx::budget::{ALWAYS, AT_ONCE};
use crate::tx::send_queue::MESSAGE_OVERHEAD;

const LIMIT: usize = 1 << 20;

/// A pair whose A may hold no more than [`LIMIT`] on a stream, whatever the window does.
fn limited() -> Pair {
    Pair::exactly(Config { send_buffer: LIMIT, ..Config::default() }, Config::default(), 1)
}

fn connected() -> Pair {
    let mut pair = limited();
    pair.connect();
    pair
}

/// Sends until there is no more room; how many were taken.
fn fill(pair: &mut Pair, stream: u16, len: usize) -> usize {
    let message = Bytes::from(vec![stream as u8; len]);
    let options = SendOptions::default();
    let send =
        |pair: &mut Pair| pair.ends[A].send(pair.now, StreamId(stream), Ppid(53), message.clone(), options);
    (0..).take_while(|_| send(pair) != Err(SendError::BufferFull)).count()
}

fn held(pair: &Pair, stream: u16) -> usize {
    pair.ends[A].held_for_tests(StreamId(stream))
}

/// Lets the pair run while each of the streams always has something to send; what arrived on each.
fn saturate(pair: &mut Pair, streams: &[u16], len: usize, time: Duration) -> BTreeMap<u16, usize> {
    let mut got: BTreeMap<u16, usize> = streams.iter().map(|&stream| (stream, 0)).collect();
    // In turns, as one that comes first and is served little would keep what it has for long.
    let mut full = vec![false; streams.len()];
    while full.contains(&false) {
        for (&stream, full) in streams.iter().zip(&mut full) {
            *full |= pair.try_send(A, stream, &vec![stream as u8; len], SendOptions::default()).is_err();
        }
    }
    let end = pair.now + time;
    while pair.step(end) {
        for event in std::mem::take(&mut pair.events[A]) {
            if let Event::SendCapacity(stream) = event {
                fill(pair, stream.0, len);
            }
        }
        for &stream in streams {
            *got.entry(stream).or_default() += pair.recv_all(Z, stream).iter().map(Vec::len).sum::<usize>();
        }
    }
    got
}

/// 10 MB/s, and a round trip of 20 ms.
fn bottleneck(pair: &mut Pair) {
    pair.bottleneck =
        Some(Bottleneck { bytes_per_second: 10_000_000, queue: ms(20), busy_until: [None, None] });
}

#[test]
fn a_stream_alone_may_hold_the_limit_and_the_next_finds_room_beside_it() {
    let mut pair = connected();
    let sizes = 10_000;
    let taken = fill(&mut pair, 1, sizes);
    assert_eq!(taken, LIMIT / (sizes + MESSAGE_OVERHEAD));
    // A fifth of the whole is free for others, who may take four fifths of that.
    let second = fill(&mut pair, 2, sizes) * (sizes + MESSAGE_OVERHEAD);
    assert!(second > LIMIT / 6 && second <= LIMIT / 5, "{second}");
    let third = fill(&mut pair, 3, sizes) * (sizes + MESSAGE_OVERHEAD);
    assert!(third > LIMIT / 30, "{third}");
    assert!(pair.events[A].is_empty());
}

#[test]
fn a_stream_that_holds_nothing_may_queue_a_message_of_any_size_whatever_others_hold() {
    let mut pair = connected();
    for stream in 0..20 {
        fill(&mut pair, stream, 1000);
    }
    for stream in 20..30 {
        assert_eq!(pair.try_send(A, stream, &vec![1; 2 << 20], SendOptions::default()), Ok(()));
        let second = pair.try_send(A, stream, &[1], SendOptions::default());
        assert_eq!(second, Err(SendError::BufferFull));
    }
    // Unless it must be.
    let over_budget = SendOptions { over_budget: true, ..SendOptions::default() };
    assert_eq!(pair.try_send(A, 20, &[1; 100], over_budget), Ok(()));
}

#[test]
fn bulk_on_many_streams_does_not_hold_up_a_short_message_on_another() {
    let mut pair = connected();
    bottleneck(&mut pair);
    let bulk: Vec<u16> = (0..50).collect();
    saturate(&mut pair, &bulk, 16_000, ms(700));
    for round in 0..20u8 {
        assert_eq!(pair.try_send(A, 99, &[round; 100], SendOptions::default()), Ok(()));
        let sent = pair.now;
        while pair.recv(Z, 99).is_none() {
            saturate(&mut pair, &bulk, 16_000, ms(1));
            // Half the round trip, the queue of the path, and some packets.
            assert!(pair.now - sent < ms(45), "round {round}: {:?}", pair.now - sent);
        }
    }
}

#[test]
fn streams_that_come_later_get_as_much_as_those_that_filled_the_buffer() {
    let mut pair = connected();
    bottleneck(&mut pair);
    saturate(&mut pair, &[1], 16_000, Duration::from_secs(1));
    let got = saturate(&mut pair, &[1, 2, 3, 4], 16_000, Duration::from_secs(2));
    let (least, most) = (got.values().min().unwrap(), got.values().max().unwrap());
    assert!(*most < least + least / 8, "{got:?}");
    assert!(got.values().sum::<usize>() > 18_000_000, "the path is full: {got:?}");
}

#[test]
fn bytes_are_shared_by_priority_within_the_budgets() {
    for (len, streams) in [(16_000, 4u16), (4_000, 40)] {
        let mut pair = connected();
        bottleneck(&mut pair);
        let all: Vec<u16> = (0..streams).collect();
        for &stream in &all {
            pair.ends[A].set_stream_priority(StreamId(stream), 128 << (stream % 4));
        }
        saturate(&mut pair, &all, len, ms(500));
        let got = saturate(&mut pair, &all, len, Duration::from_secs(2));
        let mut shares = [0.0; 4];
        for (stream, bytes) in got {
            shares[usize::from(stream % 4)] += bytes as f64;
        }
        let total: f64 = shares.iter().sum();
        for (i, share) in shares.iter().enumerate() {
            let want = f64::from(1 << i) / 15.0;
            let deviation = (share / total - want).abs() / want;
            assert!(deviation < 0.1, "{streams} streams, {len}: {i} has {:.3} of all", share / total);
        }
        assert!(total > 18e6, "{streams} streams, {len}: the path is full: {total}");
    }
}

#[test]
fn a_cap_holds_for_its_stream_alone_and_can_be_lifted() {
    let mut pair = connected();
    pair.ends[A].set_stream_send_buffer(StreamId(1), 50_000);
    assert_eq!(fill(&mut pair, 1, 1000), 50_000 / (1000 + MESSAGE_OVERHEAD));
    assert!(fill(&mut pair, 2, 1000) > 600);
    pair.ends[A].set_stream_send_buffer(StreamId(1), 100_000);
    pair.drain();
    assert_eq!(pair.events[A], [Event::SendCapacity(StreamId(1))]);
    assert!(held(&pair, 1) < 50_000 && fill(&mut pair, 1, 1000) > 30);
}

#[test]
fn who_has_waited_longest_is_told_first_and_not_all_at_once() {
    let mut pair = connected();
    bottleneck(&mut pair);
    // Each takes what there is, so that none has room when the path has carried a little.
    let order: Vec<u16> = (0..60).map(|i| (i * 37) % 60).collect();
    for _ in 0..3 {
        for &stream in &order {
            fill(&mut pair, stream, 4_000);
        }
    }
    let mut told = Vec::new();
    let mut most_at_once = 0;
    let end = pair.now + Duration::from_secs(3);
    while pair.step(end) {
        let events = std::mem::take(&mut pair.events[A]);
        most_at_once = most_at_once.max(events.len());
        told.extend(events.iter().filter_map(|event| match event {
            Event::SendCapacity(stream) => Some(stream.0),
            _ => None,
        }));
        for stream in 0..60 {
            pair.recv_all(Z, stream);
        }
    }
    // Nobody asks again, so everybody is told once.
    let mut all = told.clone();
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<_>>());
    assert!(most_at_once < 30, "{most_at_once} at once");
}

#[test]
fn hundreds_that_wait_are_all_told_though_not_all_are_looked_at_in_one_go() {
    let mut pair = connected();
    bottleneck(&mut pair);
    let streams: Vec<u16> = (0..3 * AT_ONCE as u16).collect();
    let got = saturate(&mut pair, &streams, 3_000, Duration::from_secs(1));
    let mean = got.values().sum::<usize>() / got.len();
    let (least, most) = (got.values().min().expect("streams"), got.values().max().expect("streams"));
    assert!(mean > 40_000 && *least > mean / 2 && *most < mean * 2, "{least}, {mean}, {most}");
}

#[test]
fn nobody_waits_for_ever_and_all_together_stay_within_the_bound() {
    for seed in 0..15 {
        let mut rng = StdRng::seed_from_u64(seed);
        let limit = rng.random_range(20_000..300_000);
        let config = Config { send_buffer: limit, ..Config::default() };
        let mut pair = Pair::exactly(config, Config::default(), seed);
        pair.connect();
        pair.weather.loss = rng.random_range(0..8);
        pair.weather.jitter = ms(3);
        let mut waiting: BTreeMap<u16, usize> = BTreeMap::new();
        let mut sent: BTreeMap<u16, usize> = BTreeMap::new();
        let mut largest: BTreeMap<u16, usize> = BTreeMap::new();
        for _ in 0..600 {
            let stream = rng.random_range(0..12);
            let len = if rng.random_ratio(1, 10) { 100_000 } else { rng.random_range(1..4_000) };
            if rng.random_ratio(1, 50) {
                pair.ends[A].set_stream_priority(StreamId(stream), rng.random_range(0..2000));
                pair.ends[A].set_stream_send_buffer(StreamId(stream), rng.random_range(0..2 * limit));
            }
            let options = SendOptions {
                max_retransmits: rng.random_ratio(1, 3).then_some(0),
                lifetime: rng.random_ratio(1, 4).then_some(ms(40)),
                ..SendOptions::default()
            };
            let before = held(&pair, stream);
            match pair.try_send(A, stream, &vec![7; len], options) {
                Ok(()) => {
                    *sent.entry(stream).or_default() += 1;
                    if before == 0 {
                        largest.insert(stream, len + MESSAGE_OVERHEAD);
                    }
                }
                Err(error) => {
                    assert_eq!(error, SendError::BufferFull, "seed {seed}");
                    assert!(before > 0, "seed {seed}: a stream that holds nothing is never refused");
                    waiting.insert(stream, len);
                }
            }
            // The window may have opened the limit; it never closes it below.
            let limit = pair.ends[A].stats().send_buffer;
            let total: usize = (0..12).map(|stream| held(&pair, stream)).sum();
            let payload: usize = (0..12).map(|stream| pair.ends[A].unacked_bytes(StreamId(stream))).sum();
            assert_eq!(payload, pair.ends[A].total_buffered(), "seed {seed}");
            let each = |&first: &usize| first.max(ALWAYS);
            let bound = limit + limit / 4 + largest.values().map(each).sum::<usize>();
            assert!(total <= bound, "seed {seed}: {total} of {bound}");
            if rng.random_ratio(1, 4) {
                pair.run_for(ms(rng.random_range(0..15)));
            }
            for event in std::mem::take(&mut pair.events[A]) {
                if let Event::SendCapacity(stream) = event {
                    assert!(waiting.remove(&stream.0).is_some(), "seed {seed}: {stream:?} did not wait");
                }
            }
            for stream in 0..12 {
                pair.recv_all(Z, stream);
            }
        }
        let end = pair.now + Duration::from_secs(300);
        while !waiting.is_empty() {
            assert!(pair.step(end), "seed {seed}: {waiting:?} wait for ever");
            for event in std::mem::take(&mut pair.events[A]) {
                if let Event::SendCapacity(stream) = event {
                    waiting.remove(&stream.0);
                }
            }
            for stream in 0..12 {
                pair.recv_all(Z, stream);
            }
        }
    }
}

#[test]
fn a_stream_that_was_refused_and_is_reset_leaves_nothing_behind() {
    let mut pair = connected();
    for _ in 0..3 {
        for stream in 0..5 {
            fill(&mut pair, stream, 50_000);
            pair.ends[A].reset_stream(pair.now, StreamId(stream)).unwrap();
        }
        pair.run_for(Duration::from_secs(5));
        for stream in 0..5 {
            pair.recv_all(Z, stream);
        }
        pair.run_for(Duration::from_secs(5));
    }
    assert_eq!(pair.ends[A].total_buffered(), 0);
    assert_eq!(pair.ends[A].stream_memory_for_tests()[0].1, 0, "all streams are forgotten");
    let sole = pair.ends[A].stats().send_buffer - MESSAGE_OVERHEAD;
    assert_eq!(pair.ends[A].send_capacity(StreamId(9)), sole);
}
