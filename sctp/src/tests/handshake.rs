//! INIT … COOKIE ACK: alone, at once, with every packet lost, repeated, stale and restarted.

use super::*;
use crate::CloseReason;
use crate::wire::init::Init;

fn connected(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Connected { .. })).count()
}

#[test]
fn one_side_connects_in_four_packets() {
    let mut pair = Pair::new(Config::default());
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(100));
    assert!(pair.ends[A].is_established() && pair.ends[Z].is_established());
    assert_eq!(pair.sent[A], [vec![ChunkType::INIT], vec![ChunkType::COOKIE_ECHO]]);
    assert_eq!(pair.sent[Z], [vec![ChunkType::INIT_ACK], vec![ChunkType::COOKIE_ACK]]);
    let expected = Event::Connected { outbound_streams: 65_535, inbound_streams: 65_535 };
    assert_eq!(pair.events, [vec![expected.clone()], vec![expected]]);
}

#[test]
fn both_sides_connect_at_once_and_data_flows_both_ways() {
    let mut pair = Pair::new(Config::default());
    pair.send(A, 1, b"from A");
    pair.send(Z, 0, b"from Z");
    pair.ends[A].connect(pair.now);
    pair.ends[Z].connect(pair.now);
    pair.run_for(ms(100));
    assert_eq!((connected(&pair.events[A]), connected(&pair.events[Z])), (1, 1));
    assert_eq!(pair.recv_all(Z, 1), [b"from A"]);
    assert_eq!(pair.recv_all(A, 0), [b"from Z"]);
    assert_eq!(pair.ends[A].stats().t3_expirations, 0);
}

#[test]
fn a_connect_after_the_peers_init_was_answered_collides_harmlessly() {
    let mut pair = Pair::new(Config::default());
    pair.ends[A].connect(pair.now);
    pair.drain();
    for _ in 0..4 {
        pair.now += ms(5);
        let until = pair.now;
        pair.step(until);
        pair.ends[Z].connect(pair.now);
    }
    pair.run_for(ms(200));
    assert!(pair.ends[A].is_established() && pair.ends[Z].is_established());
    assert_eq!((connected(&pair.events[A]), connected(&pair.events[Z])), (1, 1));
}

#[test]
fn each_packet_of_the_handshake_can_be_lost() {
    for both in [false, true] {
        for side in [A, Z] {
            for kind in [ChunkType::INIT, ChunkType::INIT_ACK, ChunkType::COOKIE_ECHO, ChunkType::COOKIE_ACK]
            {
                for nth in 1..=2 {
                    let mut pair = Pair::new(Config::default());
                    pair.script = drop_nth(side, kind, nth);
                    pair.ends[A].connect(pair.now);
                    if both {
                        pair.ends[Z].connect(pair.now);
                    }
                    pair.send(A, 1, b"to Z");
                    pair.send(Z, 1, b"to A");
                    pair.run_for(ms(3000));
                    let what = format!("both: {both}, side {side}, {kind:?} {nth}");
                    assert_eq!(pair.recv_all(Z, 1), [b"to Z"], "{what}");
                    assert_eq!(pair.recv_all(A, 1), [b"to A"], "{what}");
                    assert_eq!((connected(&pair.events[A]), connected(&pair.events[Z])), (1, 1), "{what}");
                }
            }
        }
    }
}

#[test]
fn nobody_there_ends_in_a_timeout() {
    let mut pair = Pair::new(Config::default());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.ends[A].connect(pair.now);
    pair.run_for(Duration::from_secs(120));
    assert_eq!(pair.events[A], [Event::Closed(CloseReason::Timeout)]);
    assert_eq!(pair.sent[A].len(), 9, "one INIT and eight repetitions");
}

#[test]
fn every_duplicate_and_reordering_of_the_handshake_is_harmless() {
    for seed in 0..60 {
        let mut pair = Pair::with(Config::default(), Config::default(), seed);
        pair.weather = Weather { loss: 10, duplicate: 50, latency: ms(5), jitter: ms(60) };
        pair.ends[A].connect(pair.now);
        if seed % 2 == 0 {
            pair.ends[Z].connect(pair.now);
        }
        pair.send(A, 1, b"x");
        pair.run_until(Duration::from_secs(30), |pair| {
            pair.ends[Z].readable_bytes(StreamId(1)) == 1 && pair.ends[A].is_established()
        });
        pair.drain();
        assert_eq!((connected(&pair.events[A]), connected(&pair.events[Z])), (1, 1), "seed {seed}");
    }
}

#[test]
fn stream_numbers_are_the_smaller_of_both_sides() {
    let few = Config { outbound_streams: 10, inbound_streams: 20, ..Config::default() };
    let mut pair = Pair::with(Config::default(), few, 1);
    pair.send(A, 19, b"fits");
    pair.send(A, 20, b"does not, as it turns out");
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(300));
    assert_eq!(pair.events[A][0], Event::Connected { outbound_streams: 20, inbound_streams: 10 });
    assert_eq!(pair.try_send(A, 20, b"x", SendOptions::default()), Err(SendError::NoSuchStream));
    assert_eq!(pair.recv_all(Z, 19), [b"fits"]);
    assert_eq!(pair.ends[A].total_buffered(), 0);
    assert_eq!(pair.ends[A].stats().messages_abandoned, 1);
}

#[test]
fn an_init_without_streams_is_refused() {
    let mut pair = Pair::new(Config::default());
    for (outbound, inbound) in [(0u16, 1u16), (1, 0)] {
        let mut value = Vec::new();
        value.extend_from_slice(&7u32.to_be_bytes());
        value.extend_from_slice(&100_000u32.to_be_bytes());
        value.extend_from_slice(&outbound.to_be_bytes());
        value.extend_from_slice(&inbound.to_be_bytes());
        value.extend_from_slice(&1u32.to_be_bytes());
        let packet = forge(0, &[(ChunkType::INIT, 0, &value)]);
        pair.ends[Z].handle_input(pair.now, &packet);
        pair.drain();
        assert_eq!(pair.sent[Z].pop(), Some(vec![ChunkType::ABORT]));
    }
}

/// The packets of `side` that carry this kind, kept while the pair runs.
fn capture(pair: &mut Pair, side: usize, kind: ChunkType) -> std::rc::Rc<std::cell::RefCell<Vec<Vec<u8>>>> {
    let kept = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let keep = kept.clone();
    pair.script = Box::new(move |from, packet| {
        if from == side && has(packet, kind) {
            keep.borrow_mut().push(packet.to_vec());
        }
        Fate::Deliver
    });
    kept
}

#[test]
fn a_forged_or_foreign_or_stale_cookie_sets_nothing_up() {
    let mut pair = Pair::new(Config::default());
    let cookies = capture(&mut pair, A, ChunkType::COOKIE_ECHO);
    let mut inner = std::mem::replace(&mut pair.script, Box::new(|_, _| Fate::Deliver));
    pair.script = Box::new(move |from, packet| {
        inner(from, packet);
        if has(packet, ChunkType::COOKIE_ECHO) { Fate::Drop } else { Fate::Deliver }
    });
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(30));
    let echo = cookies.borrow()[0].clone();
    let value = raw_chunks(&echo)[0].value.to_vec();
    let tag = u32::from_be_bytes([echo[4], echo[5], echo[6], echo[7]]);
    for i in 0..value.len() {
        let mut value = value.clone();
        value[i] ^= 0x40;
        let packet = forge(tag, &[(ChunkType::COOKIE_ECHO, 0, &value)]);
        pair.ends[Z].handle_input(pair.now, &packet);
    }
    assert_eq!(pair.ends[Z].stats().dropped_cookies, value.len() as u64);
    let mut other = Pair::with(Config::default(), Config::default(), 99);
    other.ends[Z].handle_input(other.now, &echo);
    assert_eq!(other.ends[Z].stats().dropped_cookies, 1);
    // Stale: answered with an ERROR, and A begins again.
    pair.now += Duration::from_secs(61);
    pair.ends[Z].handle_input(pair.now, &echo);
    pair.sent[Z].clear();
    pair.drain();
    assert_eq!(pair.sent[Z], [[ChunkType::ERROR]]);
    assert!(!pair.ends[Z].is_established());
    pair.script = Box::new(|_, _| Fate::Deliver);
    pair.run_for(ms(5000));
    assert!(pair.ends[Z].is_established() && pair.ends[A].is_established());
}

#[test]
fn a_replayed_cookie_is_acknowledged_and_changes_nothing() {
    let mut pair = Pair::new(Config::default());
    let cookies = capture(&mut pair, A, ChunkType::COOKIE_ECHO);
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(100));
    pair.send(A, 1, b"one");
    pair.run_for(ms(300));
    pair.forget();
    let echo = cookies.borrow()[0].clone();
    pair.now += Duration::from_secs(100);
    pair.ends[Z].handle_input(pair.now, &echo);
    pair.run_for(ms(100));
    assert_eq!(pair.sent[Z].first(), Some(&vec![ChunkType::COOKIE_ACK]));
    assert_eq!(pair.events[Z], []);
    pair.send(A, 1, b"two");
    pair.run_for(ms(100));
    assert_eq!(pair.recv_all(Z, 1), [b"one", b"two"]);
}

#[test]
fn a_peer_that_starts_over_restarts_the_association() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, b"before");
    pair.run_for(ms(300));
    pair.ends[A] = Association::new(Arc::new(Config::default()), pair.now, [9; 32]);
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(300));
    assert!(pair.ends[A].is_established());
    assert!(pair.events[Z].contains(&Event::Restarted));
    pair.send(A, 1, b"after");
    pair.send(Z, 1, b"back");
    pair.run_for(ms(300));
    assert_eq!(pair.recv_all(Z, 1), [b"after"]);
    assert_eq!(pair.recv_all(A, 1), [b"back"]);
}

#[test]
fn an_init_alone_does_not_disturb_an_association() {
    let mut pair = Pair::connected(Config::default());
    for tag in [1, 0x8000_0000, 7] {
        let mut value = Vec::new();
        value.extend_from_slice(&u32::to_be_bytes(tag));
        value.extend_from_slice(&[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 9]);
        let packet = forge(0, &[(ChunkType::INIT, 0, &value)]);
        pair.ends[Z].handle_input(pair.now, &packet);
    }
    pair.forget();
    pair.send(Z, 1, b"still here");
    pair.run_for(ms(300));
    assert_eq!(pair.recv_all(A, 1), [b"still here"]);
    assert_eq!(pair.events[Z], [Event::BufferedAmountLow(StreamId(1))]);
}

#[test]
fn unknown_parameters_follow_their_high_bits() {
    let mut value = vec![0, 0, 0, 7, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 9];
    for (kind, content) in [(0x8111u16, 1u8), (0xC222, 2), (0x4333, 3), (0xC444, 4)] {
        value.extend_from_slice(&kind.to_be_bytes());
        value.extend_from_slice(&[0, 5, content, 0, 0, 0]);
    }
    let init = Init::parse(&value).expect("well-formed");
    // 0x8111 is skipped silently, 0xC222 reported, 0x4333 reported and the end, so 0xC444 is not seen.
    let reported: Vec<u16> =
        crate::wire::param::Params::new(&init.unrecognized).map(|param| param.unwrap().kind.0).collect();
    assert_eq!(reported, [0xC222, 0x4333]);
    // In an INIT ACK each goes whole into a parameter of its own (RFC 9260 §3.3.3.1.2).
    let written = Init { unrecognized: init.unrecognized, ..Init::parse(&value[..16]).unwrap() }.write();
    assert_eq!(written[16..28], [0, 8, 0, 9, 0xC2, 0x22, 0, 5, 2, 0, 0, 0]);
}

#[test]
fn parameters_that_overrun_spoil_the_init() {
    let fixed = [0, 0, 0, 7, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 9];
    for tail in
        [&[0, 7][..], &[0, 7, 0], &[0, 7, 0, 0], &[0, 7, 0, 3], &[0, 7, 0, 5], &[0x80, 8, 0, 9, 1, 2, 3, 4]]
    {
        let value = [&fixed, tail].concat();
        assert!(Init::parse(&value).is_none(), "{tail:?}");
    }
    assert!(Init::parse(&fixed[..15]).is_none());
}

#[test]
fn a_vanished_cookie_ack_is_replaced_by_the_peers_own_handshake() {
    let mut pair = Pair::new(Config::default());
    pair.script =
        Box::new(|_, packet| if has(packet, ChunkType::COOKIE_ACK) { Fate::Drop } else { Fate::Deliver });
    pair.ends[A].connect(pair.now);
    pair.ends[Z].connect(pair.now);
    pair.run_for(ms(100));
    assert!(pair.ends[A].is_established() && pair.ends[Z].is_established());
}

#[test]
fn a_peer_whose_cookies_are_always_stale_is_given_up() {
    let mut pair = Pair::new(Config::default());
    pair.ends[A].connect(pair.now);
    let mut init_ack = vec![0, 0, 0, 7, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 9];
    init_ack.extend_from_slice(&[0, 7, 0, 8, 1, 2, 3, 4]);
    let mut rounds = 0;
    while !pair.ends[A].is_closed() {
        rounds += 1;
        assert!(rounds < 20);
        pair.inject(A, &[(ChunkType::INIT_ACK, 0, &init_ack)]);
        pair.drain();
        pair.inject(A, &[(ChunkType::ERROR, 0, &[0, 3, 0, 8, 0, 0, 0, 1])]);
        pair.drain();
    }
    assert_eq!(pair.events[A], [Event::Closed(CloseReason::Timeout)]);
}

/// The value of an INIT or INIT ACK: tag 7, a window of 100,000, 5 streams, TSN 9, and these parameters.
fn init_value(params: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 7, 0, 1, 0x86, 0xa0, 0, 5, 0, 5, 0, 0, 0, 9], params].concat()
}

#[test]
fn unknown_parameters_of_an_init_ack_are_reported_with_the_cookie() {
    let mut pair = Pair::new(Config::default());
    pair.ends[A].connect(pair.now);
    pair.drain();
    let cookie = [0, 7, 0, 8, 1, 2, 3, 4];
    let unknown = [0xC2, 0x22, 0, 5, 2, 0, 0, 0];
    pair.inject(A, &[(ChunkType::INIT_ACK, 0, &init_value(&[cookie, unknown].concat()))]);
    let mut out = [0; 1200];
    let len = pair.ends[A].poll_transmit(pair.now, &mut out).unwrap();
    let chunks = raw_chunks(&out[..len]);
    assert_eq!((chunks[0].kind, chunks[0].value), (ChunkType::COOKIE_ECHO, &[1, 2, 3, 4][..]));
    // RFC 9260 §3.3.10.8: as they were.
    let expected = [&[0, 8, 0, 12][..], &unknown].concat();
    assert_eq!((chunks[1].kind, chunks[1].value), (ChunkType::ERROR, &expected[..]));
}

#[test]
fn after_a_stale_cookie_the_init_asks_for_a_longer_life() {
    let mut pair = Pair::new(Config::default());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.ends[A].connect(pair.now);
    pair.drain();
    pair.inject(A, &[(ChunkType::INIT_ACK, 0, &init_value(&[0, 7, 0, 8, 1, 2, 3, 4]))]);
    pair.drain();
    pair.now += ms(80);
    pair.inject(A, &[(ChunkType::ERROR, 0, &[0, 3, 0, 8, 0, 0, 0, 1])]);
    let mut out = [0; 1200];
    let len = pair.ends[A].poll_transmit(pair.now, &mut out).unwrap();
    let init = raw_chunks(&out[..len])[0];
    assert_eq!(init.kind, ChunkType::INIT);
    // RFC 9260 §5.2.6: the round trip and no more than a second; in milliseconds.
    assert!(init.value.ends_with(&[0, 9, 0, 8, 0, 0, 0x04, 0x38]), "{:?}", init.value);
    // And one that we get is well taken.
    let packet = forge(0, &[(ChunkType::INIT, 0, &init_value(&[0, 9, 0, 8, 0, 0, 0x04, 0x38]))]);
    pair.ends[Z].handle_input(pair.now, &packet);
    pair.sent[Z].clear();
    pair.drain();
    assert_eq!(pair.sent[Z], [[ChunkType::INIT_ACK]]);
}

#[test]
fn a_host_name_is_refused_and_addresses_are_ignored() {
    for (params, answer) in [
        (&[0, 11, 0, 8, b'a', b'.', b'b', 0][..], ChunkType::ABORT),
        (&[0, 5, 0, 8, 127, 0, 0, 1, 0, 12, 0, 6, 0, 5, 0, 0], ChunkType::INIT_ACK),
    ] {
        let mut pair = Pair::new(Config::default());
        let packet = forge(0, &[(ChunkType::INIT, 0, &init_value(params))]);
        pair.ends[Z].handle_input(pair.now, &packet);
        pair.drain();
        assert_eq!(pair.sent[Z], [[answer]]);
    }
}

#[test]
fn a_flood_of_inits_keeps_nothing_and_costs_one_answer() {
    let mut pair = Pair::new(Config::default());
    for i in 0..5000u32 {
        let mut value = init_value(&[]);
        value[..4].copy_from_slice(&(i + 1).to_be_bytes());
        let packet = forge(0, &[(ChunkType::INIT, 0, &value)]);
        pair.ends[Z].handle_input(pair.now, &packet);
    }
    pair.drain();
    assert_eq!(pair.sent[Z], [[ChunkType::INIT_ACK]]);
    assert_eq!(pair.ends[Z].poll_timeout(), None, "no state, and no timer");
}
