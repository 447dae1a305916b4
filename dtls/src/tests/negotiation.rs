//! What both ends agree on: certificates, schemes, extensions, exporters, cookies; and what they refuse by name.

use super::pair::*;
use crate::flight::Item;
use crate::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn connect(client: Config, server: Config) -> Pair {
    let mut pair = Pair::new(client, server);
    pair.run(Duration::from_secs(40), fine);
    pair
}

fn agreed(pair: &Pair) -> &Negotiated {
    pair.client.connection.negotiated().unwrap()
}

/// How a handshake ends at both ends; the other one is told by the alert.
#[track_caller]
fn assert_refused(mut pair: Pair, by_client: bool, error: Error, alert: AlertDescription) {
    assert_eq!(error.alert(), Some(alert));
    let (refuses, told) = pair.ends(by_client);
    assert_eq!(refuses.events, [Event::Failed(error)]);
    assert_eq!(told.events, [Event::Failed(Error::PeerAlert(alert))]);
    assert!(refuses.received.is_empty() && told.received.is_empty());
}

#[test]
fn every_kind_of_certificate_is_shown_and_verified_by_both() {
    let made = [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519]
        .map(|key_type| Arc::new(Certificate::generate_with(key_type, 1_795_000_000).unwrap()));
    let all: Vec<_> = made.into_iter().chain([rsa()]).collect();
    for ours in &all {
        for theirs in &all {
            let (mut client, mut server) = (config(0), config(1));
            client.certificate = Some(Arc::clone(ours));
            server.certificate = Some(Arc::clone(theirs));
            let mut pair = connect(client, server);
            pair.assert_connected();
            assert_eq!(pair.server.connection.peer_certificate(), Some(ours.der()));
            assert_eq!(pair.client.connection.peer_certificate_chain(), theirs.chain());
            for (end, key_type) in [(&pair.client, theirs.key_type()), (&pair.server, ours.key_type())] {
                let scheme = end.connection.negotiated().unwrap().peer_signature_scheme.unwrap();
                assert!(key_type.fits(scheme), "{key_type:?} {scheme}");
            }
        }
    }
}

#[test]
fn schemes_are_chosen_by_the_signers_order_among_what_the_verifier_takes() {
    use SignatureScheme as S;
    for scheme in KeyType::Rsa.signs_with() {
        for only_signer in [true, false] {
            let (mut client, mut server) = (config(0), config(1));
            (client.certificate, server.certificate) = (Some(rsa()), Some(rsa()));
            for config in [&mut client, &mut server] {
                if only_signer {
                    config.signing_schemes = Some(vec![S::ED25519, *scheme]);
                } else {
                    config.verify_schemes = vec![S::ECDSA_SHA256, *scheme];
                }
            }
            let mut pair = connect(client, server);
            pair.assert_connected();
            for end in [&pair.client, &pair.server] {
                assert_eq!(end.connection.negotiated().unwrap().peer_signature_scheme, Some(*scheme));
            }
        }
    }
}

#[test]
fn without_a_common_scheme_suite_or_group_the_error_says_which() {
    let refused = |change: &dyn Fn(&mut Config, &mut Config), by_client, error, alert| {
        let (mut client, mut server) = (config(0), config(1));
        change(&mut client, &mut server);
        assert_refused(connect(client, server), by_client, error, alert);
    };
    let failure = AlertDescription::HANDSHAKE_FAILURE;
    let pss = vec![SignatureScheme::RSA_PSS_RSAE_SHA256];
    refused(&|c, _| c.verify_schemes = pss.clone(), false, Error::NoCommonSignatureScheme, failure);
    refused(&|_, s| s.verify_schemes = pss.clone(), true, Error::NoCommonSignatureScheme, failure);
    refused(
        &|c, s| {
            c.suites = vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
            s.suites = vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384];
        },
        false,
        Error::NoCommonCipherSuite,
        failure,
    );
    // A suite in common that the certificate does not fit, and a curve that the client does not know.
    refused(
        &|c, _| c.suites = vec![CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
        false,
        Error::NoCommonCipherSuite,
        failure,
    );
    refused(&|c, _| c.groups = vec![NamedGroup::X25519], false, Error::NoCommonCipherSuite, failure);
    refused(&|_, s| s.groups = vec![NamedGroup(25)], false, Error::NoCommonGroup, failure);
}

/// Makes a hello one of before RFC 7627, without another length: the extension becomes one that nobody knows.
fn forget_extended_master_secret(hello: &mut [u8]) {
    let at = hello.windows(4).position(|four| four == [0, 23, 0, 0]).unwrap();
    hello[at..at + 2].copy_from_slice(&[0x7a, 0x7a]);
}

#[test]
fn an_old_peer_without_the_extended_master_secret_is_refused_in_both_roles() {
    for old_client in [true, false] {
        let (mut client, mut server) = (config(0), config(1));
        client.require_extended_master_secret = !old_client;
        server.require_extended_master_secret = old_client;
        let mut pair = Pair::new(client, server);
        pair.run(Duration::from_secs(40), |from, index, mut datagram| {
            // An old server sees the extension and doesn't answer it, as if it had not seen it.
            if from && index == 0 {
                forget_extended_master_secret(&mut datagram);
            }
            fine(from, index, datagram)
        });
        let alert = AlertDescription::HANDSHAKE_FAILURE;
        assert_refused(pair, !old_client, Error::NoExtendedMasterSecret, alert);
    }
}

#[test]
fn with_the_switch_an_old_peer_connects_in_both_roles_and_nothing_is_exported() {
    for old_client in [true, false] {
        for suite in Config::default().suites.into_iter().filter(|suite| suite.to_string().contains("ECDSA"))
        {
            let (mut client, mut server) = (config(0), config(1));
            for config in [&mut client, &mut server] {
                config.require_extended_master_secret = false;
                config.suites = vec![suite];
            }
            let mut pair = Pair::new(client, server);
            let now = pair.now;
            if old_client {
                // What it sends and hashes does not have it.
                let session = &mut pair.client.connection.session;
                let Some(Item::Message(hello)) = session.flight.items_mut().first_mut() else { panic!() };
                forget_extended_master_secret(&mut hello.body);
                forget_extended_master_secret(session.transcript.bytes_mut());
            }
            for mut hello in pair.client.output(now) {
                let as_sent = hello[13..].to_vec();
                if !old_client {
                    // It reads a hello without the extension, and hashes the one that was sent.
                    forget_extended_master_secret(&mut hello);
                }
                pair.server.input(now, &hello);
                let hashed = pair.server.connection.session.transcript.bytes_mut();
                hashed[..as_sent.len()].copy_from_slice(&as_sent);
            }
            pair.run(Duration::from_secs(1), fine);
            pair.assert_connected();
            for end in [&pair.client, &pair.server] {
                assert!(!end.connection.negotiated().unwrap().extended_master_secret);
                // RFC 7627 §5.4.
                let exported = end.connection.export_keying_material(&mut [0; 20], "EXPORTER-x", None);
                assert_eq!(exported, Err(ExportError::NoExtendedMasterSecret));
            }
        }
    }
}

#[test]
fn exporters_agree_and_depend_on_label_context_and_session() {
    let (client, server) = (config(0), config(1));
    let export = |end: &End, label, context| {
        let mut out = [0; 100];
        end.connection.export_keying_material(&mut out, label, context).map(|()| out)
    };
    let mut pair = Pair::new(client, server);
    let label = "EXPORTER-sinnet-test";
    assert_eq!(export(&pair.client, label, None), Err(ExportError::NotConnected));
    pair.run(Duration::from_secs(1), fine);
    let mut seen = std::collections::HashSet::new();
    for context in [None, Some(&b""[..]), Some(b"a"), Some(b"b")] {
        for label in [label, "EXTRACTOR-dtls_srtp"] {
            let at_client = export(&pair.client, label, context).unwrap();
            assert_eq!(Ok(at_client), export(&pair.server, label, context));
            assert!(seen.insert(at_client), "{label} {context:?}");
        }
    }
    let mut other = connect(config(0), config(1));
    assert!(seen.insert(export(&other.client, label, None).unwrap()));
    for label in
        ["master secret", "key expansion", "client finished", "server finished", "extended master secret"]
    {
        assert_eq!(export(&other.client, label, None), Err(ExportError::ReservedLabel));
    }
    assert_eq!(export(&other.client, label, Some(&[0; 65536])), Err(ExportError::ContextTooLong));
    other.client.connection.close(other.now);
    assert_eq!(export(&other.client, label, None), Err(ExportError::NotConnected));
}

#[test]
fn srtp_profiles_are_chosen_by_the_server_and_absent_without_a_common_one() {
    use SrtpProfile as P;
    let all = [
        P::SRTP_AES128_CM_HMAC_SHA1_80,
        P::SRTP_AES128_CM_HMAC_SHA1_32,
        P::SRTP_AEAD_AES_128_GCM,
        P::SRTP_AEAD_AES_256_GCM,
    ];
    let chosen = |ours: &[P], theirs: &[P]| {
        let (mut client, mut server) = (config(0), config(1));
        (client.srtp_profiles, server.srtp_profiles) = (ours.to_vec(), theirs.to_vec());
        let mut pair = connect(client, server);
        pair.assert_connected();
        agreed(&pair).srtp_profile
    };
    for profile in all {
        assert_eq!(chosen(&all, &[profile]), Some(profile));
        assert_eq!(chosen(&[profile], &all), Some(profile));
        let (key, salt) = profile.key_and_salt_len().unwrap();
        assert!(key >= 16 && salt >= 12);
    }
    assert_eq!(chosen(&all, &[all[2], all[0]]), Some(all[2]), "the server's order");
    assert_eq!(chosen(&all[..1], &all[1..]), None);
    assert_eq!(chosen(&all, &[]), None);
    assert_eq!(chosen(&[], &all), None);
    assert_eq!(P(9).key_and_salt_len(), None);
}

#[test]
fn application_protocols_are_chosen_by_the_server_or_end_the_handshake() {
    let configs = |ours: &[&str], theirs: &[&str]| {
        let names = |list: &[&str]| list.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (mut client, mut server) = (config(0), config(1));
        (client.alpn, server.alpn) = (names(ours), names(theirs));
        (client, server)
    };
    let chosen = |ours: &[&str], theirs: &[&str]| {
        let (client, server) = configs(ours, theirs);
        let mut pair = connect(client, server);
        pair.assert_connected();
        agreed(&pair).alpn.clone().map(|name| String::from_utf8(name).unwrap())
    };
    assert_eq!(chosen(&["webrtc", "c-webrtc"], &["c-webrtc", "webrtc"]).as_deref(), Some("c-webrtc"));
    assert_eq!(chosen(&["webrtc"], &[]), None);
    assert_eq!(chosen(&[], &["webrtc"]), None);
    let (client, server) = configs(&["webrtc"], &["c-webrtc"]);
    let alert = AlertDescription::NO_APPLICATION_PROTOCOL;
    assert_refused(connect(client, server), false, Error::NoCommonApplicationProtocol, alert);
}

#[test]
fn a_cookie_costs_a_round_trip_and_proves_the_address() {
    let mut server = config(1);
    server.require_cookie = true;
    let mut pair = connect(config(0), server);
    pair.assert_connected();
    assert_eq!(pair.sent, [3, 3]);
    let request = pair.log.iter().find(|(from_client, _)| !from_client).unwrap().1.clone();
    assert_eq!(request[..3], [22, 0xfe, 0xff], "a record of DTLS 1.0 (RFC 6347 §4.2.1)");
    assert_eq!(request[13], HandshakeType::HELLO_VERIFY_REQUEST.0);
    assert!(request.len() < pair.log[0].1.len(), "no amplification");
}

#[test]
fn a_wrong_cookie_is_answered_with_another_request_and_nothing_more() {
    let mut server = config(1);
    server.require_cookie = true;
    let mut pair = Pair::new(config(0), server);
    pair.run(Duration::from_secs(2), |from, index, mut datagram| {
        if from && index == 1 {
            // version, random, session id, length of the cookie
            datagram[13 + 12 + 2 + 32 + 1 + 1] ^= 1;
        }
        fine(from, index, datagram)
    });
    let got = HandshakeType::HELLO_VERIFY_REQUEST;
    let kinds: Vec<_> = pair.log.iter().filter(|(from, _)| !from).map(|(_, datagram)| datagram[13]).collect();
    assert!(kinds.len() >= 2 && kinds.iter().all(|kind| *kind == HandshakeType::HELLO_VERIFY_REQUEST.0));
    // A client follows one such request only.
    assert_eq!(pair.client.error, Some(Error::UnexpectedMessage { got }));
    assert_eq!(pair.server.error, Some(Error::PeerAlert(AlertDescription::UNEXPECTED_MESSAGE)));
}

#[test]
fn any_lost_datagram_of_a_cookie_exchange_is_sent_again() {
    for lost in 0..6 {
        let mut server = config(1);
        server.require_cookie = true;
        let mut pair = Pair::new(config(0), server);
        let mut count = 0;
        pair.run(Duration::from_secs(5), |from, index, datagram| {
            count += 1;
            if count == lost + 1 { vec![] } else { fine(from, index, datagram) }
        });
        pair.assert_connected();
    }
}

#[test]
fn a_server_may_ask_for_no_certificate_or_take_none() {
    for (asked, has) in [
        (ClientCertificate::NotRequested, true),
        (ClientCertificate::NotRequested, false),
        (ClientCertificate::Requested, true),
        (ClientCertificate::Requested, false),
    ] {
        let (mut client, mut server) = (config(0), config(1));
        server.client_certificate = asked;
        if !has {
            client.certificate = None;
        }
        let print = vec![identity(0).fingerprint(HashAlgorithm::Sha256)];
        let for_client = vec![identity(1).fingerprint(HashAlgorithm::Sha256)];
        let mut pair = Pair::with_fingerprints(client, server, for_client, print);
        pair.run(Duration::from_secs(5), fine);
        pair.assert_connected();
        let shown = asked == ClientCertificate::Requested && has;
        assert_eq!(pair.server.connection.peer_certificate().is_some(), shown);
        let negotiated = pair.server.connection.negotiated().unwrap();
        assert_eq!(negotiated.peer_signature_scheme.is_some(), shown);
    }
}

#[test]
fn a_required_certificate_that_is_not_there_ends_it_for_whom_it_concerns() {
    let mut client = config(0);
    client.certificate = None;
    let alert = AlertDescription::HANDSHAKE_FAILURE;
    assert_refused(connect(client, config(1)), false, Error::CertificateMissing, alert);

    let mut server = config(1);
    server.certificate = None;
    let mut pair = Pair::new(config(0), server);
    pair.run(Duration::from_secs(1), fine);
    assert_eq!(pair.server.events, [Event::Failed(Error::OwnCertificateMissing)]);
    assert_eq!(Error::OwnCertificateMissing.fault(), Fault::Local);
}

#[test]
fn a_certificate_check_decides_once_in_place_of_the_fingerprints() {
    for refuses in [true, false] {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut client = config(0);
        let count = Arc::clone(&asked);
        client.certificate_check = Some(Arc::new(move |chain: &[Vec<u8>]| {
            assert_eq!(chain, identity(1).chain());
            count.fetch_add(1, Ordering::Relaxed);
            if refuses { Err(AlertDescription::CERTIFICATE_UNKNOWN) } else { Ok(()) }
        }));
        let print = vec![identity(0).fingerprint(HashAlgorithm::Sha512)];
        let mut pair = Pair::with_fingerprints(client, config(1), vec![], print);
        pair.run(Duration::from_secs(40), fine);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        if refuses {
            let alert = AlertDescription::CERTIFICATE_UNKNOWN;
            assert_refused(pair, true, Error::CertificateRefused(alert), alert);
        } else {
            pair.assert_connected();
        }
    }
}

#[test]
fn aborting_tells_the_peer_the_alert_of_ones_choice() {
    let mut pair = connect(config(0), config(1));
    pair.client.connection.abort(AlertDescription::DECOMPRESSION_FAILURE);
    pair.run(Duration::from_secs(1), fine);
    let alert = AlertDescription::DECOMPRESSION_FAILURE;
    assert_eq!(pair.client.events, [Event::Connected, Event::Failed(Error::Aborted(alert))]);
    assert_eq!(pair.server.events, [Event::Connected, Event::Failed(Error::PeerAlert(alert))]);
    pair.client.connection.abort(AlertDescription::INTERNAL_ERROR);
    assert!(pair.client.output(pair.now).is_empty());
}

#[test]
fn the_key_log_reads_a_session_of_sha_384_too() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (mut client, mut server) = (config(0), config(1));
    for config in [&mut client, &mut server] {
        let lines = Arc::clone(&lines);
        config.suites = vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384];
        config.key_log = Some(Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned())));
    }
    connect(client, server).assert_connected();
    let lines = lines.lock().unwrap();
    assert_eq!((lines.len(), &lines[0]), (2, &lines[1]));
}
