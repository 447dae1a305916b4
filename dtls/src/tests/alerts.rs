//! Alerts: both ways, closing, and those that must not be believed.

use super::pair::*;
use super::records::connected;
use crate::types::ContentType;
use crate::*;
use std::time::Duration;

/// A plaintext record.
pub(super) fn plain(content_type: u8, fragment: &[u8]) -> Vec<u8> {
    let mut record = vec![content_type, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0x77, 0x77];
    record.extend((fragment.len() as u16).to_be_bytes());
    record.extend_from_slice(fragment);
    record
}

/// A record of another type under the end's keys.
pub(super) fn sealed(end: &mut End, content_type: ContentType, fragment: &[u8]) -> Vec<u8> {
    let key = end.connection.session.write.as_mut().unwrap();
    let start = key.header_len();
    let mut slot = vec![0; start + fragment.len() + 16];
    slot[start..start + fragment.len()].copy_from_slice(fragment);
    key.seal(content_type, &mut slot, fragment.len()).unwrap();
    slot
}

#[test]
fn close_notify_is_said_and_answered() {
    for from_client in [true, false] {
        let mut pair = connected();
        let now = pair.now;
        pair.ends(from_client).0.connection.close(now);
        pair.run(Duration::from_secs(1), fine);
        for end in [&mut pair.client, &mut pair.server] {
            assert_eq!(end.events, [Event::Connected, Event::Closed]);
            assert!(!end.connection.is_connected());
            assert_eq!(end.connection.poll_timeout(), None);
            assert_eq!(end.error, None);
        }
        assert_eq!(pair.log.len(), 6, "one alert each way");
    }
}

#[test]
fn nothing_is_delivered_after_close() {
    let mut pair = connected();
    let now = pair.now;
    let record = pair.client.seal(b"too late");
    pair.server.connection.close(now);
    pair.server.input(now, &record);
    assert!(pair.server.received.is_empty());
}

#[test]
fn closing_in_the_handshake_tells_the_peer() {
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    pair.client.connection.close(now);
    pair.run(Duration::from_secs(40), fine);
    assert_eq!(pair.client.events, [Event::Closed]);
    assert_eq!(pair.server.events, [Event::Failed(Error::PeerAlert(AlertDescription::CLOSE_NOTIFY))]);
}

#[test]
fn a_fatal_alert_under_the_keys_ends_the_session() {
    let mut pair = connected();
    let alert = sealed(&mut pair.client, ContentType::ALERT, &[2, 80]);
    pair.server.input(pair.now, &alert);
    assert_eq!(pair.server.error, Some(Error::PeerAlert(AlertDescription::INTERNAL_ERROR)));
    assert!(pair.server.output(pair.now).is_empty(), "a fatal alert is not answered");
}

#[test]
fn plaintext_alerts_end_a_handshake_but_never_a_session() {
    // D17
    let fatal = plain(21, &[2, 40]);
    let mut pair = Pair::new(config(0), config(1));
    pair.client.input(pair.now, &fatal);
    assert_eq!(pair.client.error, Some(Error::PeerAlert(AlertDescription::HANDSHAKE_FAILURE)));

    let mut pair = connected();
    let now = pair.now;
    for alert in [&fatal, &plain(21, &[1, 0]), &plain(21, &[]), &plain(21, &[2])] {
        pair.client.input(now, alert);
        pair.server.input(now, alert);
    }
    pair.assert_connected();
    assert_eq!(pair.client.connection.stats().unexpected, 4);
}

#[test]
fn a_flood_of_warnings_changes_nothing() {
    // D17
    let mut pair = connected();
    let now = pair.now;
    for _ in 0..2000 {
        let warning = sealed(&mut pair.client, ContentType::ALERT, &[1, 90]);
        pair.server.input(now, &warning);
    }
    assert!(pair.server.output(now).is_empty());
    assert_eq!(pair.server.connection.stats().warnings, 2000);
    pair.assert_connected();
}

#[test]
fn a_request_to_renegotiate_ends_the_session_and_only_the_peer_can_make_it() {
    for from_client in [true, false] {
        let mut pair = connected();
        let now = pair.now;
        // HelloRequest and ClientHello, as anybody may send them.
        for request in [0, 1] {
            let header = [request, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0];
            pair.ends(from_client).1.input(now, &plain(22, &header));
        }
        pair.assert_connected();
        let (from, to) = pair.ends(from_client);
        let msg_type = if from_client { HandshakeType::CLIENT_HELLO } else { HandshakeType::HELLO_REQUEST };
        let request = sealed(from, ContentType::HANDSHAKE, &[msg_type.0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0]);
        to.input(now, &request);
        assert_eq!(to.error, Some(Error::UnexpectedMessage { got: msg_type }));
        for alert in to.output(now) {
            from.input(now, &alert);
        }
        assert_eq!(from.error, Some(Error::PeerAlert(AlertDescription::UNEXPECTED_MESSAGE)));
    }
}

#[test]
fn a_wrong_certificate_is_refused_by_either_end_before_anything_is_delivered() {
    // D9
    let right = |index| vec![identity(index).fingerprint(HashAlgorithm::Sha256)];
    for (for_client, for_server) in [(right(2), right(0)), (right(1), right(2))] {
        let client_refuses = for_client == right(2);
        let mut pair = Pair::with_fingerprints(config(0), config(1), for_client, for_server);
        pair.run(Duration::from_secs(40), fine);
        let refusal = |index| {
            let (expected, got) = (right(2), right(index).remove(0));
            Error::FingerprintMismatch { expected, got }
        };
        let told = Error::PeerAlert(AlertDescription::BAD_CERTIFICATE);
        let (at_client, at_server) = if client_refuses { (refusal(1), told) } else { (told, refusal(0)) };
        assert_eq!(pair.client.events, [Event::Failed(at_client)]);
        assert_eq!(pair.server.events, [Event::Failed(at_server)]);
        assert!(pair.client.received.is_empty() && pair.server.received.is_empty());
        assert_eq!(pair.client.connection.peer_certificate().is_some(), !client_refuses);
    }
}

#[test]
fn the_strongest_of_several_fingerprints_decides_at_both_ends() {
    // D10
    use HashAlgorithm::{Sha256, Sha384, Sha512};
    let of = |identity_index: usize, algorithm| identity(identity_index).fingerprint(algorithm);
    // For each promise: which are right. With several of the strongest hash, one must be.
    let cases: [(&[(HashAlgorithm, bool)], bool); 9] = [
        (&[(Sha256, true)], true),
        (&[(Sha384, true)], true),
        (&[(Sha512, true)], true),
        (&[(Sha256, false), (Sha384, false), (Sha512, true)], true),
        (&[(Sha512, true), (Sha256, false)], true),
        (&[(Sha384, false), (Sha384, true), (Sha256, false)], true),
        (&[(Sha256, true), (Sha384, false)], false),
        (&[(Sha256, true), (Sha384, true), (Sha512, false)], false),
        (&[(Sha512, false), (Sha512, false), (Sha384, true)], false),
    ];
    for (promise, connects) in cases {
        for at_client in [true, false] {
            let promised = |right: usize| -> Vec<Fingerprint> {
                promise
                    .iter()
                    .map(|(algorithm, good)| of(if *good { right } else { 2 }, *algorithm))
                    .collect()
            };
            let (for_client, for_server) = if at_client {
                (promised(1), vec![of(0, Sha256)])
            } else {
                (vec![of(1, Sha256)], promised(0))
            };
            let mut pair = Pair::with_fingerprints(config(0), config(1), for_client, for_server);
            pair.run(Duration::from_secs(40), fine);
            if connects {
                pair.assert_connected();
                continue;
            }
            let (refuses, told) = pair.ends(at_client);
            let strongest = promise.iter().map(|(algorithm, _)| *algorithm).max().unwrap();
            let Some(Error::FingerprintMismatch { expected, got }) = &refuses.error else {
                panic!("{promise:?}: {:?}", refuses.error)
            };
            assert!(expected.iter().all(|print| print.algorithm == strongest) && got.algorithm == strongest);
            assert_eq!(told.error, Some(Error::PeerAlert(AlertDescription::BAD_CERTIFICATE)));
        }
    }
}

#[test]
fn without_a_fingerprint_nobody_is_trusted() {
    // D10
    let mut pair = Pair::with_fingerprints(config(0), config(1), vec![], vec![]);
    pair.run(Duration::from_secs(40), fine);
    assert_eq!(pair.client.events, [Event::Failed(Error::NoFingerprint)]);
}
