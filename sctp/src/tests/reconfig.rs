//! What RFC 6525 has besides resets of one's own side: requests that the other side fulfils, more streams, answers.

use super::*;
use crate::types::{RequestSn, Tsn};
use crate::wire::param::{ParamType, push_param};
use crate::wire::reconfig::{
    ReconfigParam, ResetResult, parse, push_add_streams, push_incoming_reset, push_outgoing_reset,
};
use crate::{AddStreamsError, CauseCode, ResetError};

fn ids(list: &[u16]) -> Vec<StreamId> {
    list.iter().map(|&id| StreamId(id)).collect()
}

/// RE-CONFIG chunks that a side sent.
fn asked(pair: &Pair, side: usize) -> usize {
    pair.sent[side].concat().iter().filter(|&&kind| kind == ChunkType::RE_CONFIG).count()
}

fn changed(outbound_streams: u16, inbound_streams: u16) -> Event {
    Event::StreamsChanged { outbound_streams, inbound_streams }
}

/// A pair that asks for 10 streams each way and would let the other have 20.
fn with_few_streams() -> Pair {
    let few = Config { outbound_streams: 10, inbound_streams: 20, ..Config::default() };
    let mut pair = Pair::with(few.clone(), few, 1);
    pair.connect();
    pair
}

#[test]
fn the_peer_resets_its_side_when_asked_and_both_are_told() {
    let mut pair = Pair::connected(Config::default());
    pair.send(Z, 1, &pattern(30_000));
    pair.run_for(ms(300));
    pair.forget();
    pair.ends[A].reset_incoming_stream(pair.now, StreamId(1)).unwrap();
    pair.run_for(ms(300));
    assert_eq!(pair.events[Z][0], Event::ResetRequestedByPeer(ids(&[1])));
    assert_eq!(pair.events[Z][1], Event::StreamsResetDone(ids(&[1])));
    let told = [Event::StreamsResetByPeer(ids(&[1])), Event::IncomingResetDone(ids(&[1]))];
    assert_eq!(pair.events[A], told);
    // RFC 6525, appendix A: IN-REQ, OUT-REQ, RESP.
    assert_eq!((asked(&pair, A), asked(&pair, Z)), (2, 1));
    pair.send(Z, 1, b"begins anew");
    pair.run_for(ms(300));
    assert_eq!(pair.recv_all(A, 1), [pattern(30_000), b"begins anew".to_vec()]);
}

#[test]
fn a_request_that_needs_time_is_in_progress_and_done_once() {
    for lost in 0..5 {
        let mut pair = Pair::connected(Config::default());
        pair.bottleneck = Some(Bottleneck {
            bytes_per_second: 100_000,
            queue: Duration::from_secs(10),
            busy_until: [None; 2],
        });
        pair.send(Z, 1, &pattern(200_000));
        pair.drain();
        if lost > 0 {
            let side = lost % 2;
            pair.script = drop_nth(side, ChunkType::RE_CONFIG, lost.div_ceil(2));
        }
        pair.ends[A].reset_incoming_stream(pair.now, StreamId(1)).unwrap();
        pair.run_for(ms(100));
        // Unless Z has not heard of it yet.
        if lost != 2 {
            let refused = pair.try_send(Z, 1, b"x", SendOptions::default());
            assert_eq!(refused, Err(SendError::StreamResetting));
        }
        pair.run_for(Duration::from_secs(20));
        assert_eq!(pair.recv_all(A, 1), [pattern(200_000)]);
        for event in [Event::StreamsResetByPeer(ids(&[1])), Event::IncomingResetDone(ids(&[1]))] {
            assert_eq!(pair.events[A].iter().filter(|&e| *e == event).count(), 1, "{event:?}, {lost}");
        }
        let done = Event::StreamsResetDone(ids(&[1]));
        assert_eq!(pair.events[Z].iter().filter(|&e| *e == done).count(), 1, "{lost}");
    }
}

#[test]
fn streams_at_their_beginning_need_no_reset() {
    let mut pair = Pair::connected(Config::default());
    pair.ends[A].reset_incoming_stream(pair.now, StreamId(1)).unwrap();
    pair.run_for(ms(300));
    assert_eq!(pair.events[A], [Event::IncomingResetDone(ids(&[1]))]);
    assert_eq!(pair.events[Z], []);
    assert_eq!((asked(&pair, A), asked(&pair, Z)), (1, 1));
}

#[test]
fn both_sides_can_ask_for_everything_at_once() {
    for seed in 0..20 {
        let mut pair = Pair::with(Config::default(), Config::default(), seed);
        pair.connect();
        pair.weather = Weather { loss: 20, duplicate: 20, latency: ms(10), jitter: ms(40) };
        for side in [A, Z] {
            for stream in 1..5 {
                pair.send(side, stream, &pattern(2000));
            }
        }
        for side in [A, Z] {
            for stream in 1..4 {
                pair.ends[side].reset_incoming_stream(pair.now, StreamId(stream)).unwrap();
            }
            pair.ends[side].reset_stream(pair.now, StreamId(3)).unwrap();
            pair.ends[side].reset_stream(pair.now, StreamId(4)).unwrap();
        }
        let all = |events: &[Event], pick: fn(&Event) -> Option<&Vec<StreamId>>| {
            let mut found: Vec<StreamId> = events.iter().filter_map(pick).flatten().copied().collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        pair.run_until(Duration::from_secs(120), |pair| {
            [A, Z].iter().all(|&side| {
                let incoming = all(&pair.events[side], |event| match event {
                    Event::IncomingResetDone(streams) => Some(streams),
                    _ => None,
                });
                let outgoing = all(&pair.events[side], |event| match event {
                    Event::StreamsResetDone(streams) => Some(streams),
                    _ => None,
                });
                incoming == ids(&[1, 2, 3]) && outgoing == ids(&[1, 2, 3, 4])
            })
        });
        pair.weather = Weather::FAIR;
        for stream in 1..5 {
            assert_eq!(pair.recv_all(Z, stream), [pattern(2000)], "seed {seed}");
            pair.send(A, stream, b"anew");
        }
        pair.run_for(Duration::from_secs(5));
        for stream in 1..5 {
            assert_eq!(pair.recv_all(Z, stream), [b"anew"], "seed {seed}");
        }
    }
}

#[test]
fn a_side_that_owes_a_reset_asks_for_none_until_it_is_done() {
    for seed in 0..8 {
        let mut pair = Pair::with(Config::default(), Config::default(), seed);
        pair.connect();
        pair.bottleneck = Some(Bottleneck {
            bytes_per_second: 100_000,
            queue: Duration::from_secs(10),
            busy_until: [None; 2],
        });
        pair.send(A, 2, b"something to reset");
        pair.send(Z, 1, &pattern(100_000));
        pair.run_for(ms(100));
        pair.ends[A].reset_incoming_stream(pair.now, StreamId(1)).unwrap();
        pair.run_for(ms(100));
        assert!(pair.events[Z].contains(&Event::ResetRequestedByPeer(ids(&[1]))));
        pair.ends[Z].reset_incoming_stream(pair.now, StreamId(2)).unwrap();
        pair.run_until(Duration::from_secs(30), |pair| {
            pair.events[A].contains(&Event::IncomingResetDone(ids(&[1])))
                && pair.events[Z].contains(&Event::IncomingResetDone(ids(&[2])))
        });
    }
}

#[test]
fn more_outgoing_streams_are_used_once_the_peer_has_agreed() {
    let mut pair = with_few_streams();
    assert_eq!(pair.try_send(A, 10, b"x", SendOptions::default()), Err(SendError::NoSuchStream));
    pair.ends[A].add_outgoing_streams(pair.now, 3).unwrap();
    pair.ends[A].add_outgoing_streams(pair.now, 2).unwrap();
    assert_eq!(pair.ends[A].outbound_streams(), 10);
    pair.run_for(ms(200));
    assert_eq!(pair.events, [[changed(15, 10)], [changed(10, 15)]]);
    pair.send(A, 14, b"the last of them");
    assert_eq!(pair.try_send(A, 15, b"x", SendOptions::default()), Err(SendError::NoSuchStream));
    pair.run_for(ms(200));
    assert_eq!(pair.recv_all(Z, 14).len(), 1);
    // Z wants 20 at most.
    pair.forget();
    pair.ends[A].add_outgoing_streams(pair.now, 6).unwrap();
    pair.run_for(ms(200));
    assert_eq!(pair.events[A], [Event::AddStreamsFailed { outgoing: 6, incoming: 0 }]);
    assert_eq!((pair.ends[A].outbound_streams(), pair.ends[Z].inbound_streams()), (15, 15));
}

#[test]
fn more_incoming_streams_are_the_peers_to_add() {
    let mut pair = with_few_streams();
    pair.ends[A].add_incoming_streams(pair.now, 4).unwrap();
    pair.run_for(ms(200));
    assert_eq!(
        pair.events[A],
        [Event::AddStreamsFailed { outgoing: 0, incoming: 4 }],
        "Z wants no more than 10"
    );
    // Above A's own limit.
    assert_eq!(pair.ends[A].add_incoming_streams(pair.now, 11), Err(AddStreamsError::TooMany));
}

#[test]
fn a_promise_that_the_asker_itself_denies_ends_in_a_denial() {
    let mut pair = with_few_streams();
    pair.ends[Z].set_streams_for_tests(5, 10);
    pair.ends[A].add_incoming_streams(pair.now, 4).unwrap();
    pair.drain();
    // By the time that Z does as it was told, A has no room for them any more.
    pair.ends[A].set_streams_for_tests(10, 20);
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.events[A], [Event::AddStreamsFailed { outgoing: 0, incoming: 4 }]);
    assert_eq!(pair.events[Z], []);
}

#[test]
fn the_peer_adds_streams_within_what_it_wanted_at_first() {
    let a = Config { inbound_streams: 20, ..Config::default() };
    let mut pair = Pair::with(a, Config { outbound_streams: 20, ..Config::default() }, 1);
    pair.connect();
    for side in [A, Z] {
        pair.ends[side].set_streams_for_tests(5, 5);
    }
    for lost in 0..4 {
        pair.forget();
        if lost > 0 {
            pair.script = drop_nth(lost % 2, ChunkType::RE_CONFIG, 1);
        }
        let before = pair.ends[A].inbound_streams();
        pair.ends[A].add_incoming_streams(pair.now, 3).unwrap();
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.events[A], [changed(5, before + 3)], "{lost}");
        assert_eq!(pair.events[Z], [changed(before + 3, 5)], "{lost}");
    }
    pair.send(Z, 16, b"the last of them");
    pair.run_for(ms(200));
    assert_eq!(pair.recv_all(A, 16).len(), 1);
}

#[test]
fn what_cant_be_asked_for_is_an_error_of_the_call() {
    let mut pair = Pair::new(Config::default());
    assert_eq!(pair.ends[A].add_outgoing_streams(pair.now, 1), Err(AddStreamsError::NotEstablished));
    pair.ends[A].reset_incoming_stream(pair.now, StreamId(1)).unwrap();
    pair.connect();
    assert_eq!(pair.ends[A].add_outgoing_streams(pair.now, 1), Err(AddStreamsError::TooMany));
    let refused = pair.ends[A].reset_incoming_stream(pair.now, StreamId(65_535));
    assert_eq!(refused, Err(ResetError::NoSuchStream));
    pair.ends[A].forget_reconfig_for_tests();
    assert_eq!(pair.ends[A].add_incoming_streams(pair.now, 1), Err(AddStreamsError::NotSupported));
    let refused = pair.ends[A].reset_incoming_stream(pair.now, StreamId(1));
    assert_eq!(refused, Err(ResetError::NotSupported));
    pair.ends[A].shutdown(pair.now);
    assert_eq!(pair.ends[A].add_incoming_streams(pair.now, 1), Err(AddStreamsError::NotEstablished));
    let refused = pair.ends[A].reset_incoming_stream(pair.now, StreamId(1));
    assert_eq!(refused, Err(ResetError::Closed));
}

/// What a packet of requests makes Z send: results by number, and its own requests.
fn answers(pair: &mut Pair, value: &[u8]) -> Vec<String> {
    pair.inject(Z, &[(ChunkType::RE_CONFIG, 0, value)]);
    let mut out = [0; 1200];
    let mut said = Vec::new();
    while let Some(len) = pair.ends[Z].poll_transmit(pair.now, &mut out) {
        for chunk in raw_chunks(&out[..len]) {
            if chunk.kind == ChunkType::ERROR {
                said.push(format!("ERROR {}", chunk.value[1]));
            } else if chunk.kind == ChunkType::RE_CONFIG {
                let words = parse(chunk.value).unwrap().params.iter().map(say).collect::<Vec<_>>();
                said.push(words.join(" + "));
            }
        }
    }
    said
}

/// The low byte of the numbers is enough here.
fn say(param: &ReconfigParam<'_>) -> String {
    match param {
        ReconfigParam::Response { result, .. } => format!("{}", result.0),
        ReconfigParam::OutgoingReset { streams, .. } => {
            format!("OUT-REQ {:?}", streams.iter().map(|id| id.0).collect::<Vec<_>>())
        }
        ReconfigParam::IncomingReset { .. } => "IN-REQ".to_string(),
        ReconfigParam::AssociationReset { .. } => "TSN-REQ".to_string(),
        ReconfigParam::AddOutgoing { count, .. } => format!("ADD-OUT {count}"),
        ReconfigParam::AddIncoming { count, .. } => format!("ADD-IN {count}"),
    }
}

#[test]
fn every_kind_of_request_and_its_repetition_is_answered() {
    let mut pair = with_few_streams();
    pair.ends[Z].set_streams_for_tests(5, 5);
    let first = pair.ends[A].next_tsn_for_tests();
    pair.send(Z, 1, b"so that there is something to reset");
    pair.run_for(ms(500));
    let sn = |n: u32| RequestSn(first.wrapping_add(n));
    let last = Tsn(first.wrapping_sub(1));
    let mut value = Vec::new();

    // Both directions in one chunk: one chunk comes back (RFC 6525, appendix A).
    push_outgoing_reset(&mut value, sn(0), RequestSn(0), last, &ids(&[1]));
    push_incoming_reset(&mut value, sn(1), &ids(&[1]));
    assert_eq!(answers(&mut pair, &value), ["1 + OUT-REQ [1]"]);
    // Again: the same.
    assert_eq!(answers(&mut pair, &value), ["1 + OUT-REQ [1]"]);
    // Ours is done, and theirs comes once more.
    let mut done = Vec::new();
    let ours = RequestSn(pair.ends[Z].next_tsn_for_tests().wrapping_sub(1));
    crate::wire::reconfig::push_response(&mut done, ours, ResetResult::PERFORMED);
    assert_eq!(answers(&mut pair, &done), Vec::<String>::new());
    assert_eq!(answers(&mut pair, &value), ["1 + 1"]);

    value.clear();
    push_add_streams(&mut value, ParamType::ADD_OUTGOING_STREAMS, sn(2), 15);
    push_add_streams(&mut value, ParamType::ADD_INCOMING_STREAMS, sn(3), 5);
    assert_eq!(answers(&mut pair, &value), ["1", "ADD-OUT 5"]);
    assert_eq!(answers(&mut pair, &value), ["1", "ADD-OUT 5"]);
    assert_eq!(pair.ends[Z].inbound_streams(), 20, "added once");

    for (n, kind, count, answer) in [
        (4, ParamType::ADD_OUTGOING_STREAMS, 1, "2"),
        (5, ParamType::ADD_OUTGOING_STREAMS, 0, "0"),
        (6, ParamType::ADD_OUTGOING_STREAMS, 65_535, "2"),
        (7, ParamType::ADD_INCOMING_STREAMS, 65_535, "2"),
        (8, ParamType::ADD_INCOMING_STREAMS, 0, "0"),
    ] {
        value.clear();
        push_add_streams(&mut value, kind, sn(n), count);
        assert_eq!(answers(&mut pair, &value), [answer], "{n}");
        assert_eq!(answers(&mut pair, &value), [answer], "{n}, again");
    }

    // SSN/TSN reset: denied.
    value.clear();
    push_param(&mut value, ParamType::SSN_TSN_RESET_REQUEST, &sn(9).0.to_be_bytes());
    assert_eq!(answers(&mut pair, &value), ["2"]);
    // Streams that don't exist, on either side; all of ours, none of which has been used.
    for (n, streams, answer) in [(10, &[20][..], "3"), (11, &[0, 65_535], "3"), (12, &[], "0")] {
        value.clear();
        push_incoming_reset(&mut value, sn(n), &ids(streams));
        assert_eq!(answers(&mut pair, &value), [answer], "{n}");
    }
    // Numbers that are not the next one.
    for n in [11, 14, 13 + (1 << 31)] {
        value.clear();
        push_incoming_reset(&mut value, sn(n), &[]);
        assert_eq!(answers(&mut pair, &value), ["5"], "{n}");
    }
}

#[test]
fn parameters_that_dont_belong_together_are_a_violation_and_nothing_of_them_is_done() {
    let mut pair = with_few_streams();
    let first = pair.ends[A].next_tsn_for_tests();
    let mut value = Vec::new();
    push_add_streams(&mut value, ParamType::ADD_OUTGOING_STREAMS, RequestSn(first), 1);
    push_incoming_reset(&mut value, RequestSn(first.wrapping_add(1)), &[]);
    let cause = CauseCode::PROTOCOL_VIOLATION.0;
    assert_eq!(answers(&mut pair, &value), [format!("ERROR {cause}")]);
    assert_eq!(pair.ends[Z].inbound_streams(), 10);
    // An unknown one with the bits for it is reported, and the rest is done.
    value.clear();
    push_param(&mut value, ParamType(0xF000), &[1]);
    push_add_streams(&mut value, ParamType::ADD_OUTGOING_STREAMS, RequestSn(first), 1);
    let cause = CauseCode::UNRECOGNIZED_PARAMETERS.0;
    assert_eq!(answers(&mut pair, &value), [format!("ERROR {cause}"), "1".to_string()]);
    assert_eq!(pair.ends[Z].inbound_streams(), 11);
}

#[test]
fn who_is_closing_does_not_promise_to_ask() {
    let mut pair = with_few_streams();
    let first = pair.ends[A].next_tsn_for_tests();
    pair.send(Z, 1, &pattern(10));
    pair.script = Box::new(|_, _| Fate::Drop);
    let mut waits = Vec::new();
    push_incoming_reset(&mut waits, RequestSn(first), &ids(&[1]));
    assert_eq!(answers(&mut pair, &waits), Vec::<String>::new(), "its data first");
    assert_eq!(answers(&mut pair, &waits), ["6"]);
    pair.ends[Z].shutdown(pair.now);
    assert_eq!(answers(&mut pair, &waits), ["2"]);
    let mut value = Vec::new();
    push_add_streams(&mut value, ParamType::ADD_INCOMING_STREAMS, RequestSn(first.wrapping_add(1)), 1);
    assert_eq!(answers(&mut pair, &value), ["2"]);
}

#[test]
fn floods_of_requests_cost_one_answer_and_no_memory() {
    let mut pair = Pair::connected(Config::default());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.send(Z, 1, &pattern(10));
    pair.drain();
    pair.forget();
    let first = pair.ends[A].next_tsn_for_tests();
    let all: Vec<u16> = (0..257).collect();
    for i in 0..10_000u32 {
        let mut value = Vec::new();
        let sn = RequestSn(first.wrapping_add(i));
        match i % 4 {
            0 => push_incoming_reset(&mut value, sn, &ids(&all[..256])),
            1 => push_incoming_reset(&mut value, sn, &ids(&all)),
            2 => push_add_streams(&mut value, ParamType::ADD_INCOMING_STREAMS, sn, 1),
            _ => push_incoming_reset(&mut value, sn, &[]),
        }
        pair.inject(Z, &[(ChunkType::RE_CONFIG, 0, &value)]);
    }
    pair.drain();
    assert_eq!(pair.sent[Z].len(), 1);
    let requested: Vec<&Event> =
        pair.events[Z].iter().filter(|event| matches!(event, Event::ResetRequestedByPeer(_))).collect();
    assert_eq!(requested, [&Event::ResetRequestedByPeer(ids(&all[..256]))]);
}
