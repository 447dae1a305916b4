//! Stream reset (RFC 6525).

use super::*;
use crate::ResetError;
use crate::types::{RequestSn, Tsn};
use crate::wire::reconfig::{ReconfigParam, ResetResult, parse, push_outgoing_reset, push_response};

fn ids(list: &[u16]) -> Vec<StreamId> {
    list.iter().map(|&id| StreamId(id)).collect()
}

fn close_both(pair: &mut Pair) {
    pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap();
    pair.run_until(Duration::from_secs(30), |pair| {
        pair.events[Z].contains(&Event::StreamsResetByPeer(ids(&[1])))
    });
    pair.ends[Z].reset_stream(pair.now, StreamId(1)).unwrap();
    pair.run_until(Duration::from_secs(30), |pair| {
        pair.events[A].contains(&Event::StreamsResetByPeer(ids(&[1])))
            && pair.events[A].contains(&Event::StreamsResetDone(ids(&[1])))
            && pair.events[Z].contains(&Event::StreamsResetDone(ids(&[1])))
    });
}

#[test]
fn a_channel_closes_in_two_exchanges_and_its_id_starts_anew() {
    let mut pair = Pair::connected(Config::default());
    for round in 0..3u8 {
        pair.forget();
        pair.send(A, 1, &[round, 0]);
        pair.send(A, 1, &[round, 1]);
        pair.run_for(ms(300));
        close_both(&mut pair);
        assert_eq!(pair.recv_all(Z, 1), [[round, 0], [round, 1]]);
    }
}

#[test]
fn everything_sent_before_arrives_before_the_reset_is_told() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, &pattern(200_000));
    pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap();
    assert_eq!(pair.try_send(A, 1, b"late", SendOptions::default()), Err(SendError::StreamResetting));
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.events[Z], [Event::Readable(StreamId(1)), Event::StreamsResetByPeer(ids(&[1]))]);
    assert_eq!(pair.recv_all(Z, 1), [pattern(200_000)]);
    assert!(pair.events[A].contains(&Event::StreamsResetDone(ids(&[1]))));
    assert_eq!(pair.try_send(A, 1, b"a new life", SendOptions::default()), Ok(()));
}

#[test]
fn request_and_response_can_be_lost_and_the_reset_is_told_once() {
    for side in [A, Z] {
        for nth in 1..=2 {
            let mut pair = Pair::connected(Config::default());
            pair.script = drop_nth(side, ChunkType::RE_CONFIG, nth);
            pair.send(A, 1, b"x");
            pair.run_for(ms(300));
            close_both(&mut pair);
            pair.run_for(Duration::from_secs(5));
            for side in [A, Z] {
                let told = pair.events[side]
                    .iter()
                    .filter(|event| matches!(event, Event::StreamsResetByPeer(_)))
                    .count();
                assert_eq!(told, 1, "side {side}");
            }
        }
    }
}

#[test]
fn a_reset_while_other_data_is_missing_waits_and_is_told_once() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, b"last words");
    pair.run_for(ms(300));
    pair.script = drop_nth(A, ChunkType::DATA, 1);
    pair.send(A, 2, &pattern(5000));
    pair.drain();
    pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap();
    pair.run_for(Duration::from_secs(10));
    let told = |event: &&Event| matches!(event, Event::StreamsResetByPeer(_));
    assert_eq!(pair.events[Z].iter().filter(told).count(), 1);
    assert!(pair.events[A].contains(&Event::StreamsResetDone(ids(&[1]))));
    assert_eq!(pair.recv_all(Z, 2), [pattern(5000)]);
    // It was asked once, when there was nothing any more to wait for.
    let asked = pair.sent[A].iter().filter(|kinds| kinds.contains(&ChunkType::RE_CONFIG)).count();
    assert_eq!(asked, 1);
}

#[test]
fn a_request_that_is_in_progress_is_repeated_under_its_number() {
    let mut pair = Pair::connected(Config::default());
    let sn = RequestSn(pair.ends[A].next_tsn_for_tests());
    pair.script =
        Box::new(
            |from, packet| {
                if from == A && has(packet, ChunkType::RE_CONFIG) { Fate::Drop } else { Fate::Deliver }
            },
        );
    pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap();
    pair.drain();
    for result in [ResetResult::IN_PROGRESS, ResetResult::IN_PROGRESS, ResetResult::PERFORMED] {
        assert!(!pair.events[A].contains(&Event::StreamsResetDone(ids(&[1]))));
        let mut value = Vec::new();
        push_response(&mut value, sn, result);
        pair.inject(A, &[(ChunkType::RE_CONFIG, 0, &value)]);
        pair.run_for(Duration::from_secs(2));
    }
    assert!(pair.events[A].contains(&Event::StreamsResetDone(ids(&[1]))));
}

#[test]
fn many_streams_go_into_one_request_and_the_rest_into_the_next() {
    let mut pair = Pair::connected(Config::default());
    for stream in 0..1500 {
        pair.ends[A].reset_stream(pair.now, StreamId(stream)).unwrap();
    }
    pair.run_for(Duration::from_secs(5));
    let told: Vec<StreamId> = pair.events[Z]
        .iter()
        .flat_map(|event| match event {
            Event::StreamsResetByPeer(streams) => streams.clone(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(told, (0..1500).map(StreamId).collect::<Vec<_>>());
    let requests = pair.sent[A].iter().filter(|kinds| kinds.contains(&ChunkType::RE_CONFIG)).count();
    assert_eq!(requests, 3);
}

#[test]
fn a_peer_without_the_extension_is_not_asked() {
    let mut pair = Pair::connected(Config::default());
    pair.ends[A].forget_reconfig_for_tests();
    assert_eq!(pair.ends[A].reset_stream(pair.now, StreamId(1)), Err(ResetError::NotSupported));
}

/// Sends a request for these streams to Z, as A would, and returns Z's answer.
fn request(pair: &mut Pair, sn: u32, last_tsn: u32, streams: &[u16]) -> Option<ResetResult> {
    let mut value = Vec::new();
    push_outgoing_reset(&mut value, RequestSn(sn), RequestSn(0), Tsn(last_tsn), &ids(streams));
    pair.inject(Z, &[(ChunkType::RE_CONFIG, 0, &value)]);
    let mut out = [0; 1200];
    let mut answer = None;
    while let Some(len) = pair.ends[Z].poll_transmit(pair.now, &mut out) {
        for chunk in raw_chunks(&out[..len]) {
            if chunk.kind == ChunkType::RE_CONFIG
                && let Some(&ReconfigParam::Response { request, result }) =
                    parse(chunk.value).unwrap().params.first()
            {
                assert_eq!(request, RequestSn(sn));
                answer = Some(result);
            }
        }
    }
    answer
}

#[test]
fn requests_are_answered_by_their_number() {
    let mut pair = Pair::connected(Config::default());
    let first = pair.ends[A].next_tsn_for_tests();
    let sent = first.wrapping_sub(1);
    assert_eq!(request(&mut pair, first, sent, &[5]), Some(ResetResult::PERFORMED));
    assert_eq!(request(&mut pair, first, sent, &[5]), Some(ResetResult::PERFORMED), "repeated");
    let wrong = Some(ResetResult::BAD_SEQUENCE_NUMBER);
    assert_eq!(request(&mut pair, first.wrapping_add(2), sent, &[5]), wrong);
    assert_eq!(request(&mut pair, first.wrapping_sub(1), sent, &[5]), wrong);
    let next = first.wrapping_add(1);
    assert_eq!(request(&mut pair, next, sent.wrapping_add(1), &[5]), Some(ResetResult::IN_PROGRESS));
    // The same number again, when the data has arrived, and a new one: both are performed.
    pair.send(A, 9, b"x");
    pair.run_for(ms(300));
    assert_eq!(request(&mut pair, next, sent.wrapping_add(1), &[5]), Some(ResetResult::PERFORMED));
    assert_eq!(request(&mut pair, next, sent.wrapping_add(1), &[65_535]), Some(ResetResult::PERFORMED));
    assert_eq!(
        request(&mut pair, next.wrapping_add(1), sent, &[65_535]),
        Some(ResetResult::WRONG_SSN),
        "a stream that does not exist"
    );
}

#[test]
fn a_storm_of_resets_costs_one_event_and_one_answer_each() {
    let mut pair = Pair::connected(Config::default());
    let first = pair.ends[A].next_tsn_for_tests();
    for i in 0..20_000 {
        let mut value = Vec::new();
        let sn = RequestSn(first.wrapping_add(i));
        push_outgoing_reset(&mut value, sn, RequestSn(0), Tsn(first.wrapping_sub(1)), &ids(&[1, 2, 3]));
        pair.inject(Z, &[(ChunkType::RE_CONFIG, 0, &value)]);
    }
    pair.drain();
    assert_eq!(pair.events[Z], [Event::StreamsResetByPeer(ids(&[1, 2, 3]))]);
    assert_eq!(pair.sent[Z].len(), 1);
}

#[test]
fn a_refusal_is_told_and_the_stream_goes_on() {
    let mut pair = Pair::connected(Config::default());
    let sn = RequestSn(pair.ends[A].next_tsn_for_tests());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap();
    pair.drain();
    let mut value = Vec::new();
    push_response(&mut value, sn, ResetResult::DENIED);
    pair.inject(A, &[(ChunkType::RE_CONFIG, 0, &value)]);
    pair.drain();
    assert_eq!(pair.events[A], [Event::StreamsResetFailed(ids(&[1]))]);
    assert_eq!(pair.try_send(A, 1, b"goes on", SendOptions::default()), Ok(()));
}
