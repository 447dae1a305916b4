//! Every check that is fatal, by the error that it gives, the alert that goes out and whose fault it is: one good handshake
//! without real cryptography in which one thing is wrong. docs/dtls.md is the table.

use super::alerts::plain;
use super::pair::*;
use super::states::records;
use crate::handshake::{FragmentHeader, HEADER_LEN};
use crate::wire::Reader;
use crate::*;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::Arc;
use std::time::Duration;

/// The peer's message, as it is to be told.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Two ends that take any certificate and any signature, and whose Finished is always right.
fn pair(configure: &dyn Fn(&mut Config, &mut Config)) -> Pair {
    let (mut client, mut server) = (config(0), config(1));
    for config in [&mut client, &mut server] {
        config.certificate_check = Some(Arc::new(|_| Ok(())));
        config.mtu = 16 * 1024;
    }
    configure(&mut client, &mut server);
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    let end = |config, role| Connection::new_without_security(Arc::new(config), role, vec![], now, [0; 32]);
    pair.client.connection = end(client, Role::Client);
    pair.server.connection = end(server, Role::Server);
    pair
}

/// A record of a whole message with its body changed.
fn changed(record: &[u8], change: Change<'_>) -> Vec<u8> {
    let explicit = if record[4] == 1 { 8 } else { 0 };
    let (head, rest) = record.split_at(13 + explicit);
    let (fragment, tag) = rest.split_at(rest.len() - 2 * explicit);
    let (header, body) = FragmentHeader::parse(&mut Reader::new(fragment)).unwrap();
    assert!(header.is_end() && header.fragment_offset == 0, "a whole message");
    let mut body = body.to_vec();
    change(&mut body);
    let header = FragmentHeader { length: body.len(), fragment_length: body.len(), ..header };
    let mut record = [head, &header.to_bytes(), &body, tag].concat();
    let length = (record.len() - 13) as u16;
    record[11..13].copy_from_slice(&length.to_be_bytes());
    record
}

/// Asserts that the client, or the server, fails with that error and says so to its peer.
#[track_caller]
fn assert_fails(mut pair: Pair, client_fails: bool, error: Error, fault: Fault) {
    let alert = error.alert();
    assert_eq!(error.fault(), fault, "{error}");
    let (fails, told) = pair.ends(client_fails);
    assert_eq!(fails.error, Some(error.clone()));
    assert_eq!(fails.events.last(), Some(&Event::Failed(error.clone())));
    assert_eq!(told.error, alert.map(Error::PeerAlert), "{error}");
    assert!(fails.received.is_empty());
    assert!(fails.output(base()).is_empty() && fails.connection.poll_timeout().is_none());
    let expected = Err(error);
    assert_eq!(fails.connection.handle_input(base(), &mut [22; 40], |_| panic!("delivered")), expected);
}

/// The handshake in which the peer's message of that type is changed.
#[track_caller]
fn refused_with(
    configure: &dyn Fn(&mut Config, &mut Config),
    by_client: bool,
    msg_type: HandshakeType,
    change: Change<'_>,
    error: Error,
    fault: Fault,
) {
    let mut pair = pair(configure);
    let mut hits = 0;
    pair.run(Duration::from_secs(20), |from_client, _, datagram| {
        let all = records(&[datagram]).into_iter().map(|record| {
            let at = if record[4] == 1 { 21 } else { 13 };
            if from_client == by_client || record[0] != 22 || record[at] != msg_type.0 {
                return record;
            }
            hits += 1;
            changed(&record, change)
        });
        vec![(Duration::ZERO, all.flatten().collect())]
    });
    assert!(hits > 0, "{msg_type} never came");
    assert_fails(pair, by_client, error, fault);
}

#[track_caller]
fn refused(by_client: bool, msg_type: HandshakeType, change: Change<'_>, error: Error, fault: Fault) {
    refused_with(&|_, _| {}, by_client, msg_type, change, error, fault);
}

fn cut_and_grown(by_client: bool, msg_type: HandshakeType, shortest: usize) {
    let decode = Error::Decode { message: msg_type };
    let grow: Change<'_> = &|body| body.push(0);
    refused(by_client, msg_type, grow, decode.clone(), Fault::Peer);
    for left in [0, shortest] {
        let cut: Change<'_> = &|body| body.truncate(left);
        refused(by_client, msg_type, cut, decode.clone(), Fault::Peer);
    }
    if shortest > 0 {
        refused(by_client, msg_type, &|body| body.truncate(body.len() - 1), decode, Fault::Peer);
    }
}

#[test]
fn every_message_with_bytes_missing_or_trailing_is_malformed() {
    use HandshakeType as H;
    for (by_client, msg_type, shortest) in [
        (false, H::CLIENT_HELLO, 34),
        (true, H::SERVER_HELLO, 34),
        (true, H::CERTIFICATE, 2),
        (true, H::SERVER_KEY_EXCHANGE, 3),
        (true, H::CERTIFICATE_REQUEST, 1),
        (false, H::CERTIFICATE, 2),
        (false, H::CLIENT_KEY_EXCHANGE, 1),
        (false, H::CERTIFICATE_VERIFY, 3),
    ] {
        cut_and_grown(by_client, msg_type, shortest);
    }
    let message = H::SERVER_HELLO_DONE;
    refused(true, message, &|body| body.push(0), Error::Decode { message }, Fault::Peer);
    let cookie = |_: &mut Config, server: &mut Config| server.require_cookie = true;
    let message = H::HELLO_VERIFY_REQUEST;
    let grow: Change<'_> = &|body| body.push(0);
    refused_with(&cookie, true, message, grow, Error::Decode { message }, Fault::Peer);
}

#[test]
fn what_a_server_chose_must_have_been_offered() {
    const SERVER_HELLO: HandshakeType = HandshakeType::SERVER_HELLO;
    const SERVER_KEY_EXCHANGE: HandshakeType = HandshakeType::SERVER_KEY_EXCHANGE;
    // version 2, random 32, session id 1 + 0, suite 2, compression 1, extensions.
    let suite: Change<'_> = &|body| body[35..37].copy_from_slice(&[0xc0, 0x2f]);
    let only_ecdsa = |client: &mut Config, _: &mut Config| client.suites.truncate(1);
    let error = Error::CipherSuiteNotOffered(CipherSuite(0xc02f));
    refused_with(&only_ecdsa, true, SERVER_HELLO, suite, error, Fault::Peer);
    let version = Error::ProtocolVersion(ProtocolVersion::DTLS_1_0);
    refused(true, SERVER_HELLO, &|body| body[1] = 0xff, version, Fault::Mismatch);
    let compression = Error::IllegalParameter("compression");
    refused(true, SERVER_HELLO, &|body| body[37] = 1, compression, Fault::Peer);
    // The group, and the scheme: type 1, group 2, length 1, key 32.
    let group = Error::GroupNotOffered(NamedGroup(30));
    refused(true, SERVER_KEY_EXCHANGE, &|body| body[2] = 30, group, Fault::Peer);
    for scheme in [SignatureScheme(0x0203), SignatureScheme::RSA_PSS_RSAE_SHA256, SignatureScheme::ED25519] {
        let change = move |body: &mut Vec<u8>| body[36..38].copy_from_slice(&scheme.0.to_be_bytes());
        let error = Error::SignatureSchemeNotOffered(scheme);
        refused(true, SERVER_KEY_EXCHANGE, &change, error, Fault::Peer);
    }
    let scheme = SignatureScheme::RSA_PKCS1_SHA256;
    let change = move |body: &mut Vec<u8>| body[..2].copy_from_slice(&scheme.0.to_be_bytes());
    let error = Error::SignatureSchemeNotOffered(scheme);
    refused(false, HandshakeType::CERTIFICATE_VERIFY, &change, error, Fault::Peer);
}

/// Adds an extension, or replaces the one of that type, in a hello that ends with its extensions.
fn with_extension(body: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let at = 38;
    let mut all = Vec::new();
    let mut reader = Reader::new(&body[at + 2..]);
    while let (Some(found), Some(content)) = (reader.u16(), reader.vec16()) {
        if found != u16::from(kind) {
            all.extend(found.to_be_bytes());
            crate::wire::put_vec16(&mut all, content);
        }
    }
    all.extend([0, kind]);
    crate::wire::put_vec16(&mut all, content);
    body.truncate(at);
    crate::wire::put_vec16(body, &all);
}

#[test]
fn extensions_of_a_server_hello_answer_ours_and_nothing_else() {
    let hello = HandshakeType::SERVER_HELLO;
    let offers = |client: &mut Config, _: &mut Config| {
        client.srtp_profiles = vec![SrtpProfile::SRTP_AEAD_AES_128_GCM];
        client.alpn = vec![b"webrtc".to_vec()];
    };
    let illegal = |what| Error::IllegalParameter(what);
    let cases: [(u8, &[u8], Error); 6] = [
        (14, &[0, 2, 0, 1, 0], illegal("an SRTP profile that was not offered")),
        (14, &[0, 2, 0, 7, 1, 9], illegal("an SRTP master key identifier that was not offered")),
        (14, &[0, 4, 0, 7, 0, 7, 0], Error::Decode { message: hello }),
        (16, b"\x00\x04\x03abc", illegal("an application protocol that was not offered")),
        (16, b"\x00\x0e\x06webrtc\x06webrtc", Error::Decode { message: hello }),
        (11, &[1, 1], illegal("no uncompressed point format")),
    ];
    for (kind, content, error) in cases {
        let change = |body: &mut Vec<u8>| with_extension(body, kind, content);
        refused_with(&offers, true, hello, &change, error, Fault::Peer);
    }
    for kind in [13, 14, 16, 43, 99] {
        let change = |body: &mut Vec<u8>| with_extension(body, kind, &[]);
        let error = Error::UnsupportedExtension(ExtensionType(kind.into()));
        refused(true, hello, &change, error, Fault::Peer);
    }
    let change = |body: &mut Vec<u8>| {
        let at = body.windows(5).position(|five| five == [0xff, 1, 0, 1, 0]).unwrap();
        body[at + 4] = 7;
    };
    refused(true, hello, &change, Error::RenegotiationInfo, Fault::Peer);
}

#[test]
fn keys_signatures_and_finished_that_are_wrong_are_refused_by_both_ends() {
    use HandshakeType as H;
    // Shorter by a byte, with the length right.
    let shorter = |at: usize| {
        move |body: &mut Vec<u8>| {
            body[at] -= 1;
            body.remove(at + 1);
        }
    };
    refused(true, H::SERVER_KEY_EXCHANGE, &shorter(3), Error::KeyExchange, Fault::Peer);
    refused(false, H::CLIENT_KEY_EXCHANGE, &shorter(0), Error::KeyExchange, Fault::Peer);
    let first_byte = |at: usize| move |body: &mut Vec<u8>| body[at] = 0;
    refused(true, H::SERVER_KEY_EXCHANGE, &first_byte(40), Error::BadSignature, Fault::Peer);
    refused(false, H::CERTIFICATE_VERIFY, &first_byte(4), Error::BadSignature, Fault::Peer);
    for by_client in [true, false] {
        let changes: [Change<'_>; 4] =
            [&|body| body[11] = 1, &|body| body[0] = 1, &|body| body.truncate(11), &|body| body.push(0)];
        for change in changes {
            refused(by_client, H::FINISHED, change, Error::BadFinished, Fault::Peer);
        }
    }
}

#[test]
fn certificates_that_cannot_be_used_are_refused_by_both_ends() {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
    let message = |der: &[u8]| {
        let (mut list, mut body) = (Vec::new(), Vec::new());
        crate::wire::put_vec24(&mut list, der);
        crate::wire::put_vec24(&mut body, &list);
        body
    };
    let good = identity(2).der().to_vec();
    let cases = [
        (b"not a certificate".to_vec(), Error::BadCertificate, Fault::Peer),
        ([&good[..], &[0]].concat(), Error::BadCertificate, Fault::Peer),
        (der(include_str!("identities/p521.crt")), Error::UnsupportedCertificate, Fault::Mismatch),
        (der(include_str!("identities/rsa-1024.crt")), Error::UnsupportedCertificate, Fault::Mismatch),
        (der(include_str!("identities/no-signing.crt")), Error::CertificateKeyUsage, Fault::Peer),
    ];
    for (der, error, fault) in cases {
        let body = message(&der);
        for by_client in [true, false] {
            let change = |to: &mut Vec<u8>| to.clone_from(&body);
            refused(by_client, HandshakeType::CERTIFICATE, &change, error.clone(), fault);
        }
    }
    // An RSA key under a suite of ECDSA; a key on a curve that the client doesn't know.
    let rsa = message(rsa().der());
    let change = |to: &mut Vec<u8>| to.clone_from(&rsa);
    refused(true, HandshakeType::CERTIFICATE, &change, Error::WrongCertificateType, Fault::Peer);
    let p384 = Certificate::generate_with(KeyType::EcdsaP384, 1_795_000_000).unwrap();
    let p384 = message(p384.der());
    let change = |to: &mut Vec<u8>| to.clone_from(&p384);
    let without = |client: &mut Config, _: &mut Config| client.groups.truncate(2);
    let kind = HandshakeType::CERTIFICATE;
    refused_with(&without, true, kind, &change, Error::WrongCertificateType, Fault::Peer);
    // None at all.
    let change = |to: &mut Vec<u8>| *to = vec![0; 3];
    for by_client in [true, false] {
        refused(by_client, kind, &change, Error::CertificateMissing, Fault::Mismatch);
    }
}

/// Hands one end a record in front of its first flight's answer.
#[track_caller]
fn record_refused(in_handshake: bool, record: &[u8], error: Error) {
    for by_client in [true, false] {
        let mut pair = pair(&|client, server| {
            client.refuse_stray_plaintext = true;
            server.refuse_stray_plaintext = true;
        });
        if !in_handshake {
            pair.run(Duration::from_secs(1), fine);
        }
        let now = pair.now;
        pair.ends(by_client).0.input(now, record);
        pair.run(Duration::from_secs(20), fine);
        assert_fails(pair, by_client, error.clone(), Fault::Peer);
    }
}

/// A genuine record, as far as the null crypto goes.
fn protected(content_type: u8, plaintext: &[u8]) -> Vec<u8> {
    let mut record = plain(content_type, &[&[0; 8], plaintext, &[0; 16]].concat());
    record[4] = 1;
    record
}

#[test]
fn records_that_break_the_protocol_are_fatal() {
    let both = |content_type: u8, fragment: &[u8], error: Error| {
        record_refused(true, &plain(content_type, fragment), error.clone());
        record_refused(false, &protected(content_type, fragment), error);
    };
    both(21, &[2], Error::BadAlert);
    both(21, &[2, 40, 0], Error::BadAlert);
    both(21, &[], Error::BadAlert);
    both(21, &[3, 40], Error::UnknownAlertLevel(3));
    both(22, &[1; HEADER_LEN - 1], Error::BadHandshakeRecord);
    // Three bytes of a message of two; bytes behind a fragment.
    both(22, &[1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 7, 7, 7], Error::BadHandshakeRecord);
    record_refused(true, &plain(22, &[11, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 1, 7, 0]), Error::BadHandshakeRecord);
    for fragment in [&[][..], &[2], &[1, 1]] {
        record_refused(true, &plain(20, fragment), Error::BadChangeCipherSpec);
    }
    let unexpected = |content_type| Error::UnexpectedRecord { content_type };
    record_refused(true, &plain(23, b"data"), unexpected(23));
    record_refused(true, &plain(99, b"data"), unexpected(99));
    record_refused(false, &protected(20, &[1]), unexpected(20));
    record_refused(false, &protected(99, b"data"), unexpected(99));
    record_refused(false, &protected(23, &[0; (1 << 14) + 1]), Error::RecordOverflow);
}

#[test]
fn records_that_nobody_can_have_sealed_are_dropped() {
    let mut pair = pair(&|_, _| {});
    pair.run(Duration::from_secs(1), fine);
    let now = pair.now;
    let mut short = plain(23, &[0; 8 + 15]);
    short[4] = 1;
    let long = protected(23, &[0; (1 << 14) + 2049]);
    let mut bad = protected(23, b"data");
    *bad.last_mut().unwrap() = 1;
    let mut epoch = protected(23, b"data");
    epoch[4] = 2;
    for record in [&short, &long, &bad, &epoch] {
        pair.server.input(now, record);
    }
    let stats = pair.server.connection.stats();
    assert_eq!((stats.malformed, stats.bad_tags), (3, 1));
    pair.server.input(now, &protected(23, &[5; 1 << 14]));
    assert_eq!(pair.server.received, [vec![5; 1 << 14]], "the largest that there is");
}

/// A handshake in which the client's last flight is rearranged: what comes of it at the server.
fn last_flight(arrange: impl Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>) -> Pair {
    let mut pair = pair(&|_, _| {});
    pair.run(Duration::from_secs(60), |from_client, _, datagram| {
        let mut all = records(&[datagram]);
        if from_client && all.iter().any(|record| record[0] == 20) {
            all = arrange(all);
        }
        vec![(Duration::ZERO, all.concat())]
    });
    pair
}

fn change_cipher_spec(all: &[Vec<u8>]) -> usize {
    all.iter().position(|record| record[0] == 20).unwrap()
}

#[test]
fn plaintext_in_the_place_of_finished_is_fatal_before_change_cipher_spec_and_dropped_behind_it() {
    // The number of Finished: Certificate 1, ClientKeyExchange 2, CertificateVerify 3, Finished 4.
    let extra = plain(22, &[20, 0, 0, 12, 0, 4, 0, 0, 0, 0, 0, 1, 7]);
    let before = last_flight(|mut all| {
        all.insert(change_cipher_spec(&all), extra.clone());
        all
    });
    assert_fails(before, false, Error::ExcessHandshakeData, Fault::Peer);
    let mut behind = last_flight(|mut all| {
        all.insert(change_cipher_spec(&all) + 1, extra.clone());
        all
    });
    assert_eq!(behind.server.connection.stats().unexpected, 1);
    behind.assert_connected();
}

#[test]
fn change_cipher_spec_counts_once_and_nothing_replaces_it() {
    let mut twice = last_flight(|mut all| {
        let at = change_cipher_spec(&all);
        all.insert(at, all[at].clone());
        all
    });
    assert_eq!(twice.server.connection.stats().unexpected, 1);
    twice.assert_connected();
    let never = last_flight(|mut all| {
        all.remove(change_cipher_spec(&all));
        all
    });
    assert!(!never.client.connection.is_connected() && !never.server.connection.is_connected());
    for end in [&never.client, &never.server] {
        assert_eq!(end.events, [Event::Failed(Error::HandshakeTimeout)]);
        assert_eq!((Error::HandshakeTimeout.fault(), Error::HandshakeTimeout.alert()), (Fault::Path, None));
    }
}
