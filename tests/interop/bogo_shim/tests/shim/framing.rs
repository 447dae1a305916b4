//! The life of a run and the framing, with a double of the runner.

use crate::double::*;
use std::time::Duration;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// Header of a record: type, version, epoch, number, length.
fn record_number(datagram: &[u8]) -> u64 {
    u64::from_be_bytes([0, 0, datagram[5], datagram[6], datagram[7], datagram[8], datagram[9], datagram[10]])
}

#[test]
fn the_question_for_a_handshaker_is_answered_with_no() {
    let output = run(&["-is-handshaker-supported"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"No\n"[..]));
}

#[test]
fn what_is_not_implemented_exits_with_89_in_silence() {
    for flags in [&["-dtls", "-unheard-of"][..], &["-server"], &["-dtls", "-resume-count", "1"], &[]] {
        let output = run(flags);
        assert_eq!(output.status.code(), Some(89), "{flags:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn a_key_of_a_kind_that_cannot_sign_is_not_implemented() {
    let (certificate, key) = (identity_file("rsa-1024.crt"), identity_file("rsa-1024.key"));
    let output = run(&[&["-dtls"], &identified(&certificate, &key)[..]].concat());
    assert_eq!(output.status.code(), Some(89));
}

#[test]
fn a_runner_that_is_not_there_is_a_failure() {
    let output = run(&["-dtls", "-port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
}

#[test]
fn data_comes_back_turned_round_and_the_end_of_the_stream_is_a_success() {
    let mut client = Double::with_client(config(), &[]);
    let mut server = Double::with_server(config(), &[]);
    for double in [&mut client, &mut server] {
        double.connect();
        double.assert_echo(b"are you there?");
        double.assert_echo(&[]);
        double.assert_echo(&[0xa5; 16_384]);
    }
    client.assert_success();
    server.assert_success();
}

#[test]
fn the_end_of_the_stream_is_answered_with_close_notify() {
    let mut double = Double::with_client(config(), &[]);
    double.connect();
    double.assert_success();
}

#[test]
fn close_notify_is_answered_and_ends_the_run() {
    let mut double = Double::with_client(config(), &[]);
    double.connect();
    let sent = double.datagrams.len();
    double.peer.close(double_now());
    double.pump();
    assert_eq!(double.datagrams.len(), sent + 1, "one close_notify");
    assert_eq!(double.datagrams[sent][0], 21);
    assert!(double.ended);
    double.assert_success();
}

#[expect(clippy::disallowed_methods, reason = "closing needs an instant and looks at none")]
fn double_now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn the_stream_ending_in_the_handshake_is_a_failure() {
    let mut double = Double::with_client(config(), &[]);
    assert_eq!(double.sync().len(), 1);
    double.assert_failure(":STREAM_ENDED_IN_THE_HANDSHAKE:");
}

#[test]
fn a_step_of_the_clock_is_acknowledged_before_the_timer_runs() {
    let mut double = Double::with_client(config(), &[]);
    let hello = double.sync();
    assert_eq!(hello.len(), 1);
    assert!(double.advance(MILLIS(399)).is_empty());
    assert!(double.sync().is_empty(), "a timer never fires early");
    assert!(double.advance(MILLIS(1)).is_empty(), "what the step makes us send comes behind it");
    let again = double.sync();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0][13..], hello[0][13..]);
    assert_ne!(record_number(&again[0]), record_number(&hello[0]), "a fresh number");
}

#[test]
fn timers_double_up_to_a_minute_and_the_thirteenth_is_the_last() {
    for (flags, initial) in [(&[][..], 400), (&["-initial-timeout-duration-ms", "250"], 250)] {
        let mut double = Double::with_client(config(), flags);
        let mut timeout = MILLIS(initial);
        assert_eq!(double.sync().len(), 1);
        for _ in 0..12 {
            double.expect_timeout(Some(timeout));
            assert!(double.advance(timeout).is_empty());
            assert_eq!(double.sync().len(), 1);
            timeout = (2 * timeout).min(MILLIS(60_000));
        }
        double.expect_timeout(Some(timeout));
        double.advance(timeout);
        assert!(double.sync().is_empty());
        assert!(double.ended);
        double.assert_failure(":READ_TIMEOUT_EXPIRED:");
    }
}

#[test]
fn a_wrong_expectation_of_a_timeout_is_a_failure_but_below_a_microsecond() {
    for (expected, right) in [
        (Some(MILLIS(400)), true),
        (Some(MILLIS(400) + Duration::from_nanos(999)), true),
        (Some(MILLIS(400) + Duration::from_micros(1)), false),
        (Some(MILLIS(399)), false),
        (None, false),
    ] {
        let mut double = Double::with_client(config(), &[]);
        double.expect_timeout(expected);
        double.sync();
        assert_eq!(double.ended, !right, "{expected:?}");
        double.assert_failure(if right { ":STREAM_ENDED_IN_THE_HANDSHAKE:" } else { ":WRONG_TIMEOUT:" });
    }
}

#[test]
fn no_timer_runs_after_the_handshake() {
    let mut double = Double::with_client(config(), &[]);
    double.connect();
    double.expect_timeout(None);
    double.assert_echo(b"still there");
    double.expect_timeout(Some(MILLIS(400)));
    double.assert_failure(":WRONG_TIMEOUT:");
}

#[test]
fn the_initial_timeout_can_change_in_mid_flight() {
    let mut double = Double::with_client(config(), &[]);
    double.initial_timeout(100);
    double.expect_timeout(Some(MILLIS(100)));
    assert_eq!(double.sync().len(), 1);
    double.advance(MILLIS(100));
    double.expect_timeout(Some(MILLIS(200)));
    double.initial_timeout(400);
    double.expect_timeout(Some(MILLIS(800)));
    assert_eq!(double.sync().len(), 1, "sent again once");
    double.connect();
    double.assert_success();
}

#[test]
fn a_new_mtu_holds_from_the_next_datagram_on() {
    let mut double = Double::with_client(config(), &[]);
    assert!(double.sync()[0].len() > 100);
    double.mtu(100);
    double.advance(MILLIS(400));
    let pieces = double.sync();
    assert!(pieces.len() > 1);
    assert!(pieces.iter().all(|piece| piece.len() <= 100), "{:?}", pieces.iter().map(Vec::len));
    double.connect();
    double.assert_success();
}

#[test]
fn a_runner_that_does_not_hang_up_keeps_nobody() {
    let mut double = Double::with_client(config(), &[]);
    double.connect();
    double.peer.abort(sinnet_dtls::AlertDescription::INTERNAL_ERROR);
    double.pump();
    assert!(double.ended);
    assert_eq!(double.wait(), Some(1), "while our stream is still open");
    double.assert_failure(":TLSV1_ALERT_INTERNAL_ERROR:");
}

#[test]
fn an_opcode_that_does_not_exist_is_a_failure() {
    let mut double = Double::with_client(config(), &[]);
    double.write(b"X");
    double.assert_failure("opcode");
}
