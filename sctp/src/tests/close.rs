//! SHUTDOWN, ABORT, and what comes after the end.

use super::*;
use crate::{CauseCode, CloseReason};

#[test]
fn an_association_can_move_to_another_thread() {
    let mut pair = Pair::connected(Config::default());
    let now = pair.now;
    let mut end = std::mem::replace(&mut pair.ends[A], Association::new(Arc::default(), now, [3; 32]));
    let ended = std::thread::spawn(move || {
        end.abort(now, "elsewhere");
        end.is_closed()
    });
    assert!(ended.join().unwrap());
}

#[test]
fn shutdown_flushes_what_was_queued_and_ends_both_sides() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, &pattern(200_000));
    pair.ends[A].shutdown(pair.now);
    assert_eq!(pair.try_send(A, 1, b"late", SendOptions::default()), Err(SendError::Closed));
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.recv_all(Z, 1), [pattern(200_000)], "readable after the end");
    for side in [A, Z] {
        assert_eq!(pair.events[side].last(), Some(&Event::Closed(CloseReason::Shutdown)));
        assert!(pair.ends[side].is_closed());
    }
}

#[test]
fn the_side_that_is_told_to_shut_down_flushes_too() {
    let mut pair = Pair::connected(Config::default());
    pair.send(Z, 1, &pattern(200_000));
    pair.drain();
    pair.ends[A].shutdown(pair.now);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.recv_all(A, 1), [pattern(200_000)]);
    assert!(pair.ends[A].is_closed() && pair.ends[Z].is_closed());
}

#[test]
fn a_shutdown_that_acknowledges_what_was_never_sent_ends_in_good_order() {
    let mut pair = Pair::connected(Config::default());
    let first = std::rc::Rc::new(std::cell::Cell::new(None));
    let tsn = first.clone();
    pair.script = Box::new(move |_, packet| {
        let chunks = raw_chunks(packet);
        let data = chunks.iter().find(|chunk| chunk.kind == ChunkType::DATA);
        if let (Some(data), None) = (data, tsn.get()) {
            tsn.set(data.value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)));
            return Fate::Drop;
        }
        Fate::Deliver
    });
    pair.send(A, 1, b"lost at first");
    pair.drain();
    let absurd = first.get().unwrap().wrapping_add(1 << 20).to_be_bytes();
    pair.inject(A, &[(ChunkType::SHUTDOWN, 0, &absurd)]);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.recv_all(Z, 1), [b"lost at first"]);
    let sent = pair.sent[A].concat();
    assert!(sent.contains(&ChunkType::SHUTDOWN_ACK) && !sent.contains(&ChunkType::ABORT), "{sent:?}");
    pair.inject(A, &[(ChunkType::SHUTDOWN_COMPLETE, 0, &[])]);
    pair.drain();
    assert_eq!(pair.events[A].last(), Some(&Event::Closed(CloseReason::Shutdown)));
}

#[test]
fn both_sides_can_shut_down_at_once() {
    let mut pair = Pair::connected(Config::default());
    pair.ends[A].shutdown(pair.now);
    pair.ends[Z].shutdown(pair.now);
    pair.run_for(Duration::from_secs(5));
    for side in [A, Z] {
        assert_eq!(pair.events[side], [Event::Closed(CloseReason::Shutdown)]);
    }
}

#[test]
fn each_packet_of_the_shutdown_can_be_lost() {
    for (side, kind) in
        [(A, ChunkType::SHUTDOWN), (Z, ChunkType::SHUTDOWN_ACK), (A, ChunkType::SHUTDOWN_COMPLETE)]
    {
        let mut pair = Pair::connected(Config::default());
        pair.script = drop_nth(side, kind, 1);
        pair.ends[A].shutdown(pair.now);
        pair.run_for(Duration::from_secs(10));
        for side in [A, Z] {
            assert_eq!(pair.events[side], [Event::Closed(CloseReason::Shutdown)], "{kind:?} lost");
        }
    }
}

#[test]
fn a_shutdown_that_nobody_answers_ends_in_a_timeout() {
    let config =
        Config { max_retransmissions: None, heartbeat_interval: Duration::ZERO, ..Config::default() };
    let mut pair = Pair::connected(config);
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.ends[A].shutdown(pair.now);
    pair.run_for(Duration::from_secs(100));
    assert_eq!(pair.events[A], [Event::Closed(CloseReason::Timeout)]);
}

#[test]
fn abort_carries_its_reason() {
    let mut pair = Pair::connected(Config::default());
    pair.ends[A].abort(pair.now, "Close called");
    pair.run_for(ms(100));
    assert_eq!(pair.events[A], [Event::Closed(CloseReason::AbortedLocally)]);
    let reason = "Close called".to_string();
    let code = CauseCode::USER_INITIATED_ABORT;
    assert_eq!(pair.events[Z], [Event::Closed(CloseReason::AbortedByPeer { code, reason })]);
    assert_eq!(pair.sent[A], [[ChunkType::ABORT]]);
}

#[test]
fn a_reason_is_cut_between_characters() {
    let mut pair = Pair::connected(Config::default());
    let long = format!("x{}", "ä".repeat(500));
    pair.ends[A].abort(pair.now, &long);
    pair.run_for(ms(100));
    let Some(Event::Closed(CloseReason::AbortedByPeer { reason, .. })) = pair.events[Z].last() else {
        panic!("{:?}", pair.events[Z]);
    };
    assert_eq!(reason.len(), 255);
    assert!(long.starts_with(reason.as_str()));
}

#[test]
fn an_abort_before_anything_is_silent() {
    let mut pair = Pair::new(Config::default());
    pair.ends[A].connect(pair.now);
    pair.ends[A].abort(pair.now, "no");
    pair.run_for(Duration::from_secs(100));
    assert_eq!(pair.sent[A], Vec::<Vec<ChunkType>>::new());
    assert_eq!(pair.events[A], [Event::Closed(CloseReason::AbortedLocally)]);
}

#[test]
fn nothing_rises_after_the_end() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, &pattern(5000));
    pair.drain();
    pair.ends[A].abort(pair.now, "over");
    pair.ends[A].connect(pair.now);
    pair.ends[A].shutdown(pair.now);
    pair.ends[A].abort(pair.now, "again");
    assert!(pair.ends[A].reset_stream(pair.now, StreamId(1)).is_err());
    pair.run_for(Duration::from_secs(100));
    assert_eq!(pair.events[A].last(), Some(&Event::Closed(CloseReason::AbortedLocally)));
    // Late packets of every kind.
    pair.forget();
    for kind in 0..=255 {
        pair.inject(A, &[(ChunkType(kind), 0, &[0; 16])]);
        pair.ends[A].handle_timeout(pair.now);
        pair.drain();
    }
    assert!(pair.ends[A].is_closed());
    assert_eq!(pair.events[A], []);
    assert_eq!(pair.ends[A].poll_timeout(), None);
}

#[test]
fn a_peer_that_missed_the_abort_is_told_again() {
    let mut pair = Pair::connected(Config::default());
    pair.script = drop_nth(A, ChunkType::ABORT, 1);
    pair.ends[A].abort(pair.now, "over");
    pair.run_for(ms(50));
    assert!(!pair.ends[Z].is_closed());
    pair.send(Z, 1, b"hello?");
    pair.run_for(ms(100));
    assert!(pair.ends[Z].is_closed());
}

#[test]
fn what_was_under_way_does_not_spoil_an_orderly_end() {
    let mut pair = Pair::connected(Config::default());
    let late = pair.forge(A, &[(ChunkType::SHUTDOWN, 0, &[0; 4])]);
    let again = pair.forge(A, &[(ChunkType::SHUTDOWN_ACK, 0, &[])]);
    pair.ends[A].shutdown(pair.now);
    pair.run_for(ms(1000));
    assert!(pair.ends[A].is_closed());
    let mut out = [0; 1200];
    pair.ends[A].handle_input(pair.now, &late);
    assert_eq!(pair.ends[A].poll_transmit(pair.now, &mut out), None);
    pair.ends[A].handle_input(pair.now, &again);
    let len = pair.ends[A].poll_transmit(pair.now, &mut out).unwrap();
    assert_eq!(kinds(&out[..len]), [ChunkType::SHUTDOWN_COMPLETE]);
}

#[test]
fn a_peer_that_goes_on_sending_is_waited_for_but_not_for_ever() {
    let mut pair = Pair::connected(Config::default());
    pair.script = Box::new(|_, _| Fate::Drop);
    pair.ends[A].shutdown(pair.now);
    let mut waited = Duration::ZERO;
    while !pair.ends[A].is_closed() {
        // RFC 9260 §9.2: whatever comes from the peer clears the count of T2.
        pair.inject(A, &[(ChunkType::HEARTBEAT, 0, &[0, 1, 0, 4])]);
        pair.run_for(Duration::from_secs(1));
        waited += Duration::from_secs(1);
    }
    assert_eq!(waited, 5 * Config::default().rto_max, "T5");
    assert_eq!(pair.events[A], [Event::Closed(CloseReason::Timeout)]);
    assert_eq!(pair.sent[A].last(), Some(&vec![ChunkType::ABORT]));
}

#[test]
fn a_shutdown_takes_no_acknowledgement_back() {
    let mut pair = Pair::connected(Config::default());
    pair.script = drop_nth(A, ChunkType::DATA, 1);
    pair.send(A, 1, &pattern(5000));
    pair.run_for(ms(15));
    let (flight, cumulative) = (pair.ends[A].stats().flight, pair.ends[A].next_tsn_for_tests() - 6);
    pair.run_for(ms(10));
    let after_gaps = pair.ends[A].stats().flight;
    assert!(after_gaps < flight, "the SACK has gap ack blocks");
    pair.inject(A, &[(ChunkType::SHUTDOWN, 0, &cumulative.to_be_bytes())]);
    assert_eq!(pair.ends[A].stats().flight, after_gaps);
}

#[test]
fn the_reason_of_an_abort_is_text_even_if_the_bytes_are_not_and_is_cut() {
    for (cause, code, text) in [
        ([&[0, 12, 0, 7][..], b"bye", &[0]].concat(), CauseCode::USER_INITIATED_ABORT, "bye".to_string()),
        (vec![0, 13, 0, 6, 0xff, b'x', 0, 0], CauseCode::PROTOCOL_VIOLATION, "\u{fffd}x".to_string()),
        ([&[0, 12, 2, 4][..], &[b'a'; 512]].concat(), CauseCode::USER_INITIATED_ABORT, "a".repeat(256)),
        (vec![0, 9, 0, 8, 0, 0, 0, 1], CauseCode::NO_USER_DATA, String::new()),
        (vec![0x77, 0x77, 0, 4], CauseCode(0x7777), String::new()),
        // Longer than the chunk, or shorter than itself: no cause.
        (vec![0, 12, 0, 99, b'x', 0, 0, 0], CauseCode::NONE, String::new()),
        (vec![0, 12, 0, 3], CauseCode::NONE, String::new()),
        (vec![], CauseCode::NONE, String::new()),
    ] {
        let mut pair = Pair::connected(Config::default());
        pair.inject(A, &[(ChunkType::ABORT, 0, &cause)]);
        pair.drain();
        let reason = CloseReason::AbortedByPeer { code, reason: text };
        assert_eq!(pair.events[A], [Event::Closed(reason)]);
        assert_eq!(pair.sent[A], Vec::<Vec<ChunkType>>::new(), "an ABORT is not answered");
    }
}

#[test]
fn the_last_data_before_a_shutdown_or_a_reset_asks_for_its_sack_at_once() {
    let immediate = |close: fn(&mut Pair)| {
        let mut pair = Pair::connected(Config::default());
        pair.send(A, 1, b"first");
        pair.run_for(ms(100));
        pair.send(A, 1, b"last");
        close(&mut pair);
        let mut out = [0; 1200];
        let len = pair.ends[A].poll_transmit(pair.now, &mut out).unwrap();
        let data = raw_chunks(&out[..len])[0];
        assert_eq!(data.kind, ChunkType::DATA);
        data.flags & crate::wire::data::FLAG_IMMEDIATE != 0
    };
    assert!(!immediate(|_| {}));
    assert!(immediate(|pair| pair.ends[A].shutdown(pair.now)));
    assert!(immediate(|pair| pair.ends[A].reset_stream(pair.now, StreamId(1)).unwrap()));
}

#[test]
fn the_i_bit_is_answered_at_once() {
    for (flags, at_once) in [(3, false), (3 | 8, true)] {
        let mut pair = Pair::connected(Config::default());
        pair.send(A, 1, b"first");
        pair.run_for(ms(100));
        pair.forget();
        let tsn = pair.ends[A].next_tsn_for_tests().to_be_bytes();
        let value = [&tsn[..], &[0, 1, 0, 1, 0, 0, 0, 53, 1]].concat();
        pair.inject(Z, &[(ChunkType::DATA, flags, &value)]);
        pair.drain();
        assert_eq!(pair.sent[Z] == [[ChunkType::SACK]], at_once);
    }
}
