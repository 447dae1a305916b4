//! The search for the packet size (RFC 8899), and what happens when the path takes less than it did.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::wire::param::ParamType;

const BASE: usize = 1160;
/// On Ethernet, and with large frames.
const ETHERNET: usize = 1412;
const JUMBO: usize = 8912;

fn config(max_mtu: usize) -> Config {
    // Without heartbeats, so that any timer that is left is the search's.
    Config { max_mtu, heartbeat_interval: Duration::ZERO, ..Config::default() }
}

/// A path that drops packets longer than the cell says, both ways.
fn limit(size: &Rc<Cell<usize>>) -> Script {
    let size = size.clone();
    Box::new(move |_, packet| if packet.len() > size.get() { Fate::Drop } else { Fate::Deliver })
}

/// Two ends on a path of this size, and a grip on it.
fn pair(max_mtu: usize, size: usize) -> (Pair, Rc<Cell<usize>>) {
    let grip = Rc::new(Cell::new(size));
    let mut pair = Pair::new(config(max_mtu));
    pair.script = limit(&grip);
    pair.connect();
    (pair, grip)
}

fn is_probe(packet: &[u8]) -> bool {
    has(packet, ChunkType::PAD) && has(packet, ChunkType::HEARTBEAT)
}

/// Keeps a stream full for so long; returns the bytes that arrived and the longest time without any.
pub(super) fn bulk(pair: &mut Pair, time: Duration) -> (usize, Duration) {
    let end = pair.now + time;
    let (mut got, mut last, mut gap) = (0, pair.now, Duration::ZERO);
    while pair.now < end {
        while pair.ends[A].total_buffered() < 1 << 18 {
            pair.send(A, 1, &[7; 16_384]);
        }
        let bytes: usize = pair.recv_all(Z, 1).iter().map(Vec::len).sum();
        if bytes > 0 {
            gap = gap.max(pair.now - last);
            last = pair.now;
        }
        got += bytes;
        pair.step(end);
    }
    (got, gap.max(pair.now - last))
}

fn slow_link(pair: &mut Pair) {
    pair.bottleneck = Some(Bottleneck { bytes_per_second: 500_000, queue: ms(60), busy_until: [None, None] });
}

#[test]
fn a_path_for_ethernet_and_one_for_large_frames_are_found_in_a_few_probes() {
    for (size, found, probes) in [(1415, ETHERNET, 2), (8915, JUMBO, 3)] {
        let (pair, _) = pair(found, size);
        for end in &pair.ends {
            let stats = end.stats();
            assert_eq!((stats.packet_size, end.packet_size()), (found, found));
            assert_eq!((stats.size_probes_sent, stats.size_probes_lost), (probes, 0));
            // The handshake's and the search's timers are gone.
            assert_eq!(end.poll_timeout(), None);
        }
    }
}

#[test]
fn without_a_larger_maximum_there_are_no_probes() {
    let mut pair = Pair::new(config(0));
    let probes = Rc::new(Cell::new(0));
    let seen = probes.clone();
    pair.script = Box::new(move |_, packet| {
        seen.set(seen.get() + usize::from(is_probe(packet)));
        Fate::Deliver
    });
    pair.connect();
    bulk(&mut pair, ms(500));
    assert_eq!((probes.get(), pair.ends[A].packet_size()), (0, BASE));
}

#[test]
fn the_search_ends_at_the_largest_common_size_that_passes_and_leaves_no_timer() {
    for (link, found) in [
        (1280, BASE),
        (1348, BASE),
        (1350, 1264),
        (1406, 1312),
        (1420, 1332),
        (1492, 1404),
        (1500, ETHERNET),
        (8100, 7912),
    ] {
        let (mut pair, _) = pair(JUMBO, link - 85);
        pair.run_for(Duration::from_secs(20));
        let stats = pair.ends[A].stats();
        assert_eq!(stats.packet_size, found, "a link of {link}");
        assert!(stats.size_probes_sent <= 14, "a link of {link}: {stats:?}");
        assert_eq!(pair.ends[A].poll_timeout(), None);
    }
}

#[test]
fn a_lossy_path_is_searched_to_the_end() {
    for seed in 0..40 {
        let mut pair = Pair::with(config(JUMBO), config(JUMBO), seed);
        pair.weather.loss = 5;
        pair.ends[A].connect(pair.now);
        pair.run_for(Duration::from_secs(60));
        for end in &pair.ends {
            assert_eq!(end.packet_size(), JUMBO, "seed {seed}: {end:?}");
        }
    }
}

#[test]
fn a_lossy_path_keeps_its_size_under_load() {
    for seed in 0..4 {
        let mut pair = Pair::with(config(JUMBO), config(JUMBO), seed);
        pair.connect();
        pair.weather.loss = 5;
        slow_link(&mut pair);
        bulk(&mut pair, Duration::from_secs(8));
        // Time-outs make it look for a moment as if the size were to blame.
        pair.weather.loss = 0;
        bulk(&mut pair, Duration::from_secs(4));
        let stats = pair.ends[A].stats();
        assert_eq!(stats.packet_size, JUMBO, "seed {seed}: {stats:?}");
        assert!(stats.black_holes <= 5, "seed {seed}: {stats:?}");
    }
}

#[test]
fn probes_that_all_get_lost_cost_no_throughput() {
    let run = |max_mtu| {
        let mut pair = Pair::new(config(max_mtu));
        pair.script = Box::new(|_, packet| if is_probe(packet) { Fate::Drop } else { Fate::Deliver });
        pair.connect();
        slow_link(&mut pair);
        let (got, _) = bulk(&mut pair, Duration::from_secs(5));
        (got, pair)
    };
    let (without, _) = run(0);
    let (with, pair) = run(JUMBO);
    assert!(with as f64 > without as f64 * 0.99, "{with} against {without}");
    let stats = pair.ends[A].stats();
    assert_eq!(stats.packet_size, BASE);
    // The base size is known to arrive by the data: nothing else is tried without answers.
    assert_eq!((stats.size_probes_sent, stats.size_probes_lost), (3, 3));
}

#[test]
fn a_peer_that_answers_no_heartbeats_is_left_alone_after_three() {
    let mut pair = Pair::new(config(JUMBO));
    pair.script =
        Box::new(|_, packet| if has(packet, ChunkType::HEARTBEAT_ACK) { Fate::Drop } else { Fate::Deliver });
    pair.connect();
    pair.run_for(Duration::from_secs(30));
    assert_eq!(pair.ends[A].stats().size_probes_sent, 3);
    assert_eq!(pair.ends[A].poll_timeout(), None);
    let (got, _) = bulk(&mut pair, ms(300));
    let stats = pair.ends[A].stats();
    // (One packet of data is lost with the answer to the receiver's own HEARTBEAT.)
    assert!(got > 1 << 19, "{got}");
    assert_eq!((stats.packet_size, stats.size_probes_sent), (BASE, 3));
}

#[test]
fn a_chunk_like_pad_is_skipped_in_silence_by_who_does_not_know_it() {
    let mut pair = Pair::connected(config(0));
    let info = [0, ParamType::HEARTBEAT_INFO.0 as u8, 0, 8, 1, 2, 3, 4];
    for kind in [ChunkType::PAD, ChunkType(ChunkType::PAD.0 + 1)] {
        pair.inject(A, &[(ChunkType::HEARTBEAT, 0, &info), (kind, 0, &[0; 900])]);
        pair.drain();
        assert_eq!(pair.sent[A].pop(), Some(vec![ChunkType::HEARTBEAT_ACK]));
    }
    assert_eq!(pair.ends[A].stats().unknown_chunks, 1, "the one after PAD");
}

#[test]
fn only_the_answer_to_a_probe_raises_the_size() {
    let mut pair = Pair::new(config(ETHERNET));
    let answers = Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = answers.clone();
    pair.script = Box::new(move |side, packet| {
        match raw_chunks(packet).iter().find(|chunk| chunk.kind == ChunkType::HEARTBEAT) {
            Some(chunk) if side == A => {
                seen.borrow_mut().push(chunk.value.to_vec());
                Fate::Drop
            }
            _ => Fate::Deliver,
        }
    });
    pair.connect();
    let right = answers.borrow()[0].clone();
    assert_eq!(right.len(), 16);
    for (at, with) in [(4, 0xff), (15, 1), (3, 4), (1, 2)] {
        let mut wrong = right.clone();
        wrong[at] ^= with;
        pair.inject(A, &[(ChunkType::HEARTBEAT_ACK, 0, &wrong)]);
        pair.drain();
        assert_eq!((answers.borrow().len(), pair.ends[A].packet_size()), (1, BASE));
    }
    // The right one is for the base size, and the next is probed.
    for size in [BASE, ETHERNET] {
        let answer = answers.borrow().last().unwrap().clone();
        pair.inject(A, &[(ChunkType::HEARTBEAT_ACK, 0, &answer)]);
        pair.drain();
        assert_eq!(pair.ends[A].packet_size(), size);
    }
    let dropped = pair.ends[A].stats().dropped_chunks;
    pair.inject(A, &[(ChunkType::HEARTBEAT_ACK, 0, &right)]);
    assert_eq!(pair.ends[A].stats().dropped_chunks, dropped + 1, "said again, it answers nothing");
}

#[test]
fn an_answer_that_comes_after_its_probe_was_repeated_counts() {
    let mut pair = Pair::new(config(ETHERNET));
    pair.weather.latency = ms(700);
    pair.ends[A].connect(pair.now);
    pair.run_for(Duration::from_secs(30));
    let stats = pair.ends[A].stats();
    assert_eq!((stats.packet_size, stats.size_probes_sent, stats.size_probes_lost), (ETHERNET, 4, 2));
}

#[test]
fn no_chunk_is_longer_than_what_the_base_size_has_room_for() {
    let (mut pair, grip) = pair(JUMBO, usize::MAX);
    let longest = Rc::new(Cell::new(0));
    let seen = longest.clone();
    pair.script = Box::new(move |_, packet| {
        for chunk in raw_chunks(packet).iter().filter(|chunk| chunk.kind == ChunkType::DATA) {
            seen.set(seen.get().max(chunk.whole.len()));
        }
        Fate::Deliver
    });
    let (got, _) = bulk(&mut pair, ms(500));
    assert!(got > 1 << 20);
    assert_eq!(longest.get(), BASE - 12);
    let full = pair.packet_sizes[A].iter().filter(|&&len| len == JUMBO).count();
    assert!(full > 100, "{full} of {} packets are full", pair.packet_sizes[A].len());
    assert_eq!(grip.get(), usize::MAX);
}

#[test]
fn every_size_is_filled() {
    // Whatever the last of the long chunks leaves: all packets of a bulk transfer have one size.
    for max_mtu in (2300..2360).step_by(4) {
        let (mut pair, _) = pair(max_mtu, usize::MAX);
        pair.send(A, 1, &pattern(100_000));
        pair.run_for(ms(500));
        let full = pair.packet_sizes[A].iter().filter(|&&len| len == max_mtu).count();
        assert!(full >= 100_000 / max_mtu - 2, "{full} of {max_mtu}");
    }
}

#[test]
fn data_goes_on_when_the_path_shrinks_under_it() {
    for (to, found) in [(1200, BASE), (1420, ETHERNET), (1330, 1312)] {
        let (mut pair, grip) = pair(JUMBO, usize::MAX);
        slow_link(&mut pair);
        bulk(&mut pair, Duration::from_secs(2));
        assert_eq!(pair.ends[A].packet_size(), JUMBO);
        grip.set(to);
        let (got, gap) = bulk(&mut pair, Duration::from_secs(5));
        let stats = pair.ends[A].stats();
        assert!(gap <= ms(300), "nothing arrived for {gap:?}: {stats:?}");
        assert!(got > 1_900_000, "{got} bytes in 5 s at 500 kB/s");
        assert_eq!(stats.black_holes, 1);
        bulk(&mut pair, Duration::from_secs(15));
        let stats = pair.ends[A].stats();
        assert_eq!((stats.packet_size, stats.black_holes), (found, 1), "{stats:?}");
        // The way back, which no one tells us of.
        grip.set(usize::MAX);
        pair.run_for(Duration::from_secs(600));
        pair.recv_all(Z, 1);
        bulk(&mut pair, Duration::from_secs(1));
        assert_eq!(pair.ends[A].packet_size(), JUMBO);
    }
}

#[test]
fn a_single_large_packet_that_does_not_arrive_is_sent_again_in_small_ones() {
    for messages in 1..4 {
        let (mut pair, grip) = pair(JUMBO, usize::MAX);
        pair.send(A, 1, &pattern(1000));
        pair.run_for(ms(300));
        grip.set(BASE);
        for _ in 0..messages {
            pair.send(A, 1, &pattern(5000));
        }
        let sent = pair.now;
        let mut got = 0;
        pair.recv_all(Z, 1);
        pair.run_until(Duration::from_secs(10), |pair| {
            got += pair.recv_all(Z, 1).len();
            got == messages
        });
        assert!(pair.now - sent <= ms(1500), "{messages}: {:?}", pair.now - sent);
        assert_eq!(pair.ends[A].stats().black_holes, 1);
    }
}

#[test]
fn an_outage_that_was_none_of_the_sizes_fault_costs_one_probe() {
    let (mut pair, grip) = pair(JUMBO, usize::MAX);
    slow_link(&mut pair);
    bulk(&mut pair, Duration::from_secs(1));
    let before = pair.ends[A].stats().size_probes_sent;
    grip.set(0);
    bulk(&mut pair, Duration::from_secs(10));
    grip.set(usize::MAX);
    bulk(&mut pair, Duration::from_secs(4));
    let stats = pair.ends[A].stats();
    assert_eq!((stats.packet_size, stats.black_holes), (JUMBO, 1), "{stats:?}");
    assert_eq!(stats.size_probes_sent, before + 1, "none was sent into the outage");
}

#[test]
fn a_new_path_is_searched_anew() {
    for to in [BASE, ETHERNET] {
        let (mut pair, grip) = pair(JUMBO, usize::MAX);
        slow_link(&mut pair);
        bulk(&mut pair, Duration::from_secs(1));
        grip.set(to);
        let now = pair.now;
        for end in &mut pair.ends {
            end.path_changed(now);
        }
        assert_eq!(pair.ends[A].packet_size(), BASE);
        let (got, gap) = bulk(&mut pair, Duration::from_secs(5));
        assert!(gap <= ms(1000) && got > 1_900_000, "{gap:?}, {got} bytes");
        bulk(&mut pair, Duration::from_secs(15));
        let stats = pair.ends[A].stats();
        assert_eq!((stats.packet_size, stats.black_holes), (to, 0), "{stats:?}");
    }
}

#[test]
fn a_path_that_does_not_take_the_base_size_is_used_with_the_smallest() {
    let (mut pair, grip) = pair(JUMBO, 520);
    slow_link(&mut pair);
    let (got, _) = bulk(&mut pair, Duration::from_secs(5));
    let stats = pair.ends[A].stats();
    assert!(got > 1_900_000, "{got} {stats:?}");
    assert_eq!((stats.packet_size, stats.black_holes), (508, 1));
    grip.set(usize::MAX);
    pair.run_for(Duration::from_secs(600));
    pair.recv_all(Z, 1);
    bulk(&mut pair, Duration::from_secs(1));
    assert_eq!(pair.ends[A].packet_size(), JUMBO);
}

#[test]
fn what_was_cut_for_the_base_size_is_not_given_up_on_a_path_for_less() {
    let forever = Config { max_retransmissions: None, ..config(JUMBO) };
    let grip = Rc::new(Cell::new(usize::MAX));
    let mut pair = Pair::new(forever);
    pair.script = limit(&grip);
    pair.connect();
    grip.set(520);
    let now = pair.now;
    // Cut before anyone knows.
    pair.send(A, 1, &pattern(4000));
    pair.drain();
    pair.ends[A].path_changed(now);
    pair.run_for(Duration::from_secs(30));
    assert!(
        pair.packet_sizes[A].iter().filter(|&&len| len == BASE).count() > 3,
        "it is tried again and again"
    );
    grip.set(usize::MAX);
    pair.run_for(Duration::from_secs(5));
    assert!(pair.recv_all(Z, 1) == [pattern(4000)]);
}

#[test]
fn what_the_system_refuses_to_send_is_not_asked_for_three_times() {
    let (mut pair, grip) = pair(JUMBO, ETHERNET);
    for size in [JUMBO, 3912] {
        assert_eq!(pair.packet_sizes[A].pop().or(Some(JUMBO)), Some(size));
        let now = pair.now;
        pair.ends[A].packet_refused(now, size);
        pair.drain();
    }
    assert_eq!(pair.ends[A].poll_timeout(), None);
    let stats = pair.ends[A].stats();
    assert_eq!(
        (stats.packet_size, stats.size_probes_sent, stats.size_probes_lost),
        (ETHERNET, 4, 2),
        "{stats:?}"
    );
    // The first link itself shrinks.
    let now = pair.now;
    grip.set(1400);
    pair.ends[A].packet_refused(now, ETHERNET);
    assert_eq!(pair.ends[A].packet_size(), BASE);
    pair.send(A, 1, &pattern(100));
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.ends[A].packet_size(), 1392);
}

#[test]
fn a_buffer_without_room_for_the_probe_gets_everything_else() {
    let mut pair = Pair::new(config(JUMBO));
    let mut out = [0; BASE];
    for side in [A, Z] {
        pair.ends[side].connect(pair.now);
    }
    for _ in 0..10 {
        for side in [A, Z] {
            let now = pair.now;
            while let Some(len) = pair.ends[side].poll_transmit(now, &mut out) {
                pair.ends[1 - side].handle_input(now, &out[..len]);
            }
        }
    }
    assert_eq!(pair.ends[A].stats().size_probes_sent, 1, "the base size had room");
    pair.send(A, 1, &pattern(10));
    let len = pair.ends[A].poll_transmit(pair.now, &mut out).expect("data");
    assert!(has(&out[..len], ChunkType::DATA));
}
