//! Associations from two INIT chunks (draft-hancke-tsvwg-snap).

use super::*;
use crate::SnapError;

/// Both ends have the other's chunk.
fn snapped(config: Config) -> Pair {
    let mut pair = Pair::exactly(config.clone(), config, 1);
    let inits = [pair.ends[A].local_init(), pair.ends[Z].local_init()];
    assert_eq!(pair.ends[Z].establish_from(pair.now, &inits[A]), Ok(()));
    assert_eq!(pair.ends[A].establish_from(pair.now, &inits[Z]), Ok(()));
    pair
}

#[test]
fn data_flows_both_ways_at_once_and_no_handshake_is_sent() {
    for interleaving in [false, true] {
        let mut pair = Pair::exactly(
            Config { interleaving, ..Config::default() },
            Config { interleaving, ..Config::default() },
            3,
        );
        pair.send(A, 1, b"queued before");
        let inits = [pair.ends[A].local_init(), pair.ends[Z].local_init()];
        pair.ends[Z].establish_from(pair.now, &inits[A]).unwrap();
        pair.ends[A].establish_from(pair.now, &inits[Z]).unwrap();
        pair.send(Z, 1, &pattern(100_000));
        pair.run_for(pair.weather.latency + ms(1));
        assert_eq!(pair.recv_all(Z, 1), [b"queued before"], "half a round trip");
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.recv_all(A, 1), [pattern(100_000)]);
        for side in [A, Z] {
            let setup = [ChunkType::INIT, ChunkType::INIT_ACK, ChunkType::COOKIE_ECHO, ChunkType::COOKIE_ACK];
            assert!(pair.sent[side].concat().iter().all(|kind| !setup.contains(kind)));
            assert_eq!(pair.ends[side].is_interleaving(), interleaving);
            let connected = Event::Connected { outbound_streams: 65_535, inbound_streams: 65_535 };
            assert_eq!(pair.events[side][0], connected);
        }
    }
}

#[test]
fn everything_else_works_as_after_a_handshake() {
    let mut pair = snapped(Config::default());
    pair.weather.loss = 10;
    pair.send(A, 1, &pattern(50_000));
    pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap();
    pair.run_until(Duration::from_secs(60), |pair| {
        pair.events[A].contains(&Event::StreamsResetDone(vec![StreamId(1)]))
    });
    assert_eq!(pair.recv_all(Z, 1), [pattern(50_000)]);
    pair.ends[Z].shutdown(pair.now);
    pair.run_until(Duration::from_secs(60), |pair| pair.ends.iter().all(Association::is_closed));
}

#[test]
fn the_smaller_settings_hold() {
    let few = Config { outbound_streams: 10, inbound_streams: 20, zero_checksum: false, ..Config::default() };
    let mut pair = Pair::exactly(Config::default(), few, 1);
    let inits = [pair.ends[A].local_init(), pair.ends[Z].local_init()];
    pair.ends[Z].establish_from(pair.now, &inits[A]).unwrap();
    pair.ends[A].establish_from(pair.now, &inits[Z]).unwrap();
    assert_eq!((pair.ends[A].outbound_streams(), pair.ends[A].inbound_streams()), (20, 10));
    assert_eq!((pair.ends[Z].outbound_streams(), pair.ends[Z].inbound_streams()), (10, 20));
    pair.send(A, 19, b"with a checksum, since Z wants one");
    pair.run_for(ms(100));
    assert_eq!(pair.recv_all(Z, 19).len(), 1);
}

#[test]
fn one_side_alone_ends_up_connected_too() {
    // Z's answer said nothing of it: A connects as ever, under the same tag.
    let mut pair = Pair::new(Config::default());
    let init = pair.ends[A].local_init();
    assert_eq!(pair.ends[A].establish_from(pair.now, b"nonsense"), Err(SnapError::NotAnInit));
    pair.ends[A].connect(pair.now);
    let mut out = [0; 1200];
    let len = pair.ends[A].poll_transmit(pair.now, &mut out).unwrap();
    assert_eq!(raw_chunks(&out[..len])[0].whole, init, "what goes over the wire is what was signalled");
    pair.ends[Z].handle_input(pair.now, &out[..len]);
    pair.run_for(ms(200));
    assert!(pair.ends[A].is_established() && pair.ends[Z].is_established());
    assert_eq!(pair.ends[A].establish_from(pair.now, &init), Err(SnapError::Begun));

    // Z has taken A's INIT, but its own was lost on the way: A's handshake ends where Z is.
    let mut pair = Pair::new(Config::default());
    let init = pair.ends[A].local_init();
    pair.ends[Z].establish_from(pair.now, &init).unwrap();
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(200));
    pair.send(A, 1, b"to Z");
    pair.send(Z, 1, b"to A");
    pair.run_for(ms(200));
    assert_eq!(pair.recv_all(Z, 1), [b"to Z"]);
    assert_eq!(pair.recv_all(A, 1), [b"to A"]);
}

/// The example of the draft, §4.1: tag 0x896cdd1d, window 0x500000, TSN 0xe079651d, FORWARD TSN and RE-CONFIG.
const EXAMPLE: [u8; 30] = [
    1, 0, 0, 30, 0x89, 0x6c, 0xdd, 0x1d, 0, 0x50, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xe0, 0x79, 0x65, 0x1d, 0xc0,
    0, 0, 4, 0x80, 8, 0, 6, 0x82, 0xc0,
];

#[test]
fn the_example_of_the_draft_is_taken() {
    let mut pair = Pair::exactly(Config::default(), Config::default(), 1);
    assert_eq!(pair.ends[A].establish_from(pair.now, &EXAMPLE), Ok(()));
    pair.send(A, 1, b"x");
    let mut out = [0; 1200];
    let len = pair.ends[A].poll_transmit(pair.now, &mut out).unwrap();
    assert_eq!(out[4..8], [0x89, 0x6c, 0xdd, 0x1d]);
    assert_eq!(kinds(&out[..len]), [ChunkType::DATA], "not I-DATA");
    let tag = pair.ends[A].local_tag_for_tests();
    let data = [&[0xe0, 0x79, 0x65, 0x1d][..], &[0, 1, 0, 0, 0, 0, 0, 53, 1]].concat();
    pair.ends[A].handle_input(pair.now, &forge(tag, &[(ChunkType::DATA, 3, &data)]));
    assert_eq!(pair.recv_all(A, 1), [[1]]);
}

#[test]
fn what_is_no_usable_init_is_an_error_and_changes_nothing() {
    let with = |at: usize, bytes: &[u8]| {
        let mut chunk = EXAMPLE;
        chunk[at..at + bytes.len()].copy_from_slice(bytes);
        chunk.to_vec()
    };
    let mut pair = Pair::new(Config::default());
    let own = pair.ends[A].local_init();
    let long = [&[1, 0, 12, 0][..], &EXAMPLE[4..], &[0; 3042]].concat();
    for (chunk, error) in [
        (Vec::new(), SnapError::NotAnInit),
        (b"CookieMonster".to_vec(), SnapError::NotAnInit),
        (with(0, &[2]), SnapError::NotAnInit),
        (with(2, &[0, 31]), SnapError::NotAnInit),
        (with(2, &[0, 3]), SnapError::NotAnInit),
        (with(2, &[0, 19]), SnapError::NotAnInit),
        (with(26, &[0, 3]), SnapError::NotAnInit),
        ([&EXAMPLE[..], &[0, 0], &EXAMPLE].concat(), SnapError::NotAnInit),
        (with(4, &[0; 4]), SnapError::Unusable),
        (with(8, &[0, 0, 5, 0xdb]), SnapError::Unusable),
        (with(12, &[0; 2]), SnapError::Unusable),
        (with(14, &[0; 2]), SnapError::Unusable),
        (with(20, &[0, 11]), SnapError::Unusable),
        (long, SnapError::TooLong),
        (own, SnapError::OurOwn),
    ] {
        assert_eq!(pair.ends[A].establish_from(pair.now, &chunk), Err(error), "{chunk:?}");
        if error != SnapError::OurOwn {
            assert_eq!(Association::check_init(&chunk), Err(error));
        }
    }
    assert_eq!(pair.ends[A].poll_event(), None);
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(200));
    assert!(pair.ends[A].is_established());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 64, failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn any_chunk_is_taken_or_refused(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
        let mut pair = Pair::exactly(Config::default(), Config::default(), 1);
        let mut chunk = EXAMPLE[..20].to_vec();
        chunk[3] = 20 + tail.len() as u8;
        chunk.extend_from_slice(&tail);
        let taken = pair.ends[A].establish_from(pair.now, &chunk).is_ok();
        proptest::prop_assert_eq!(taken, pair.ends[A].is_established());
        pair.send(A, 1, &pattern(3000));
        pair.drain();
    }
}
