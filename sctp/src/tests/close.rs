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
