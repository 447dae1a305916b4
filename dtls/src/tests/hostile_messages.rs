//! Hellos that ask for the wrong thing (D12), and real flights with bytes changed (D13, D14).

use super::alerts::plain;
use super::pair::*;
use crate::handshake::client_hello::ClientHello;
use crate::handshake::extensions::Extensions;
use crate::handshake::server_hello::ServerHello;
use crate::handshake::{Message, client_hello, server_hello};
use crate::*;
use proptest::prelude::*;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const GROUPS: &[u8] = &[0, 4, 0, 29, 0, 23];
const SCHEMES: &[u8] = &[0, 2, 4, 3];

fn record(msg_type: HandshakeType, body: Vec<u8>) -> Vec<u8> {
    let message = Message { msg_type, message_seq: 0, epoch: 0, body };
    plain(22, &[&message.whole_header().to_bytes()[..], &message.body].concat())
}

type Extension = (ExtensionType, &'static [u8]);

fn good_client_extensions() -> Vec<Extension> {
    vec![
        (ExtensionType::SUPPORTED_GROUPS, GROUPS),
        (ExtensionType::EC_POINT_FORMATS, &[1, 0]),
        (ExtensionType::SIGNATURE_ALGORITHMS, SCHEMES),
        (ExtensionType::EXTENDED_MASTER_SECRET, &[]),
        (ExtensionType::RENEGOTIATION_INFO, &[0]),
    ]
}

/// The good list with one extension replaced, or taken out.
fn but(mut list: Vec<Extension>, kind: ExtensionType, body: Option<&'static [u8]>) -> Vec<Extension> {
    list.retain(|extension| extension.0 != kind);
    list.extend(body.map(|body| (kind, body)));
    list
}

fn extensions(list: &[Extension]) -> Extensions<'static> {
    let mut extensions = Extensions::default();
    for &(kind, body) in list {
        extensions.push(kind, body);
    }
    extensions
}

/// What a server makes of a hello.
fn server_says(list: &[Extension], change: impl FnOnce(&mut ClientHello<'_>)) -> Option<Error> {
    let mut hello = ClientHello {
        client_version: ProtocolVersion::DTLS_1_2,
        random: [5; 32],
        session_id: &[],
        cookie: &[],
        cipher_suites: vec![CipherSuite(0x1301), CipherSuite(0xc02b), CipherSuite(0xcca9)],
        compression_methods: &[0],
        extensions: extensions(list),
    };
    change(&mut hello);
    let mut pair = Pair::new(config(0), config(1));
    pair.server.input(pair.now, &record(client_hello::TYPE, hello.to_bytes()));
    let alert = pair.server.output(pair.now);
    if let Some(error) = &pair.server.error {
        assert_eq!(alert[0][13..], [2, error.alert().unwrap().0]);
    }
    pair.server.error
}

#[test]
fn a_server_refuses_hellos_that_it_cannot_serve_safely() {
    let good = good_client_extensions;
    let decode = Some(Error::Decode { message: HandshakeType::CLIENT_HELLO });
    let alert = |error: Option<Error>| error.and_then(|error| error.alert());
    assert_eq!(server_says(&good(), |_| {}), None);
    for version in [ProtocolVersion::DTLS_1_0, ProtocolVersion(0x0303), ProtocolVersion(0)] {
        let error = server_says(&good(), |hello| hello.client_version = version);
        assert_eq!(error, Some(Error::ProtocolVersion(version)));
    }
    for newer in [ProtocolVersion::DTLS_1_3, ProtocolVersion(0xfdff), ProtocolVersion(0xfcfe)] {
        assert_eq!(server_says(&good(), |hello| hello.client_version = newer), None);
    }
    let only = |suite| move |hello: &mut ClientHello<'_>| hello.cipher_suites = vec![CipherSuite(suite)];
    assert_eq!(alert(server_says(&good(), only(0xc009))), Some(AlertDescription::HANDSHAKE_FAILURE));
    assert_eq!(
        alert(server_says(&good(), |hello| hello.compression_methods = &[1])),
        Some(AlertDescription::ILLEGAL_PARAMETER)
    );
    type Case = (ExtensionType, Option<&'static [u8]>, Option<AlertDescription>);
    let cases: &[Case] = &[
        (ExtensionType::EXTENDED_MASTER_SECRET, None, Some(AlertDescription::HANDSHAKE_FAILURE)),
        (ExtensionType::EXTENDED_MASTER_SECRET, Some(&[0]), Some(AlertDescription::DECODE_ERROR)),
        (ExtensionType::SIGNATURE_ALGORITHMS, None, Some(AlertDescription::HANDSHAKE_FAILURE)),
        (ExtensionType::SIGNATURE_ALGORITHMS, Some(&[0, 2, 2, 3]), Some(AlertDescription::HANDSHAKE_FAILURE)),
        (ExtensionType::SIGNATURE_ALGORITHMS, Some(&[0, 3, 4, 3, 4]), Some(AlertDescription::DECODE_ERROR)),
        (ExtensionType::SUPPORTED_GROUPS, None, None),
        (ExtensionType::SUPPORTED_GROUPS, Some(&[0, 2, 0, 21]), Some(AlertDescription::HANDSHAKE_FAILURE)),
        (ExtensionType::SUPPORTED_GROUPS, Some(&[0, 9, 0, 29]), Some(AlertDescription::DECODE_ERROR)),
        (ExtensionType::EC_POINT_FORMATS, None, None),
        (ExtensionType::EC_POINT_FORMATS, Some(&[1, 1]), Some(AlertDescription::ILLEGAL_PARAMETER)),
        (ExtensionType::RENEGOTIATION_INFO, None, None),
        (ExtensionType::RENEGOTIATION_INFO, Some(&[1, 9]), Some(AlertDescription::HANDSHAKE_FAILURE)),
        (ExtensionType::SUPPORTED_VERSIONS, Some(&[4, 0xfe, 0xfc, 0xfe, 0xfd]), None),
        (ExtensionType::SUPPORTED_VERSIONS, Some(&[2, 0xfe, 0xfc]), Some(AlertDescription::PROTOCOL_VERSION)),
        (ExtensionType::SUPPORTED_VERSIONS, Some(&[9, 0xfe, 0xfd]), Some(AlertDescription::DECODE_ERROR)),
        (ExtensionType::SERVER_NAME, Some(&[0, 4, 0, 0, 1, b'a']), None),
        (ExtensionType::SERVER_NAME, Some(&[0, 4, 0, 0, 1, b'a', 0]), Some(AlertDescription::DECODE_ERROR)),
        (ExtensionType::SERVER_NAME, Some(&[0, 3, 0, 0, 0]), Some(AlertDescription::DECODE_ERROR)),
        (ExtensionType::SERVER_NAME, Some(&[0, 0]), Some(AlertDescription::DECODE_ERROR)),
        (ExtensionType(0x0a0a), Some(&[1, 2, 3]), None),
    ];
    for (kind, body, expected) in cases {
        let error = server_says(&but(good(), *kind, *body), |_| {});
        assert_eq!(alert(error), *expected, "{kind} {body:?}");
    }
    let mut twice = good();
    twice.push((ExtensionType::EXTENDED_MASTER_SECRET, &[]));
    assert_eq!(server_says(&twice, |_| {}), decode);
}

/// What a client makes of a ServerHello.
fn client_says(list: &[Extension], change: impl FnOnce(&mut ServerHello<'_>)) -> Option<AlertDescription> {
    let mut hello = ServerHello {
        server_version: ProtocolVersion::DTLS_1_2,
        random: [5; 32],
        session_id: &[9; 32],
        cipher_suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        compression_method: 0,
        extensions: extensions(list),
    };
    hello.random[24..].copy_from_slice(b"DOWNGRD\x01");
    change(&mut hello);
    let mut pair = Pair::new(config(0), config(1));
    pair.client.output(pair.now);
    pair.client.input(pair.now, &record(server_hello::TYPE, hello.to_bytes()));
    pair.client.error.and_then(|error| error.alert())
}

#[test]
fn a_client_refuses_what_it_did_not_offer() {
    let good = || {
        vec![
            (ExtensionType::EXTENDED_MASTER_SECRET, &[][..]),
            (ExtensionType::RENEGOTIATION_INFO, &[0]),
            (ExtensionType::EC_POINT_FORMATS, &[1, 0]),
        ]
    };
    assert_eq!(client_says(&good(), |_| {}), None);
    for version in [0xfeff, 0xfefc, 0x0303, 0] {
        let error = client_says(&good(), |hello| hello.server_version = ProtocolVersion(version));
        assert_eq!(error, Some(AlertDescription::PROTOCOL_VERSION));
    }
    for suite in [0xc009, 0x1301, 0, 0xff] {
        let error = client_says(&good(), |hello| hello.cipher_suite = CipherSuite(suite));
        assert_eq!(error, Some(AlertDescription::ILLEGAL_PARAMETER));
    }
    let error = client_says(&good(), |hello| hello.compression_method = 1);
    assert_eq!(error, Some(AlertDescription::ILLEGAL_PARAMETER));
    type Case = (u16, Option<&'static [u8]>, Option<AlertDescription>);
    let cases: &[Case] = &[
        (23, None, Some(AlertDescription::HANDSHAKE_FAILURE)),
        (23, Some(&[1]), Some(AlertDescription::DECODE_ERROR)),
        (0xff01, None, None),
        (0xff01, Some(&[1, 7]), Some(AlertDescription::HANDSHAKE_FAILURE)),
        (11, None, None),
        (11, Some(&[1, 1]), Some(AlertDescription::ILLEGAL_PARAMETER)),
        (14, Some(&[0, 2, 0, 1, 0]), Some(AlertDescription::UNSUPPORTED_EXTENSION)),
        (43, Some(&[0xfe, 0xfc]), Some(AlertDescription::UNSUPPORTED_EXTENSION)),
        (16, Some(&[]), Some(AlertDescription::UNSUPPORTED_EXTENSION)),
    ];
    for (kind, body, expected) in cases {
        let list = but(good(), ExtensionType(*kind), *body);
        assert_eq!(client_says(&list, |_| {}), *expected, "{kind} {body:?}");
    }
}

#[test]
fn an_invalid_key_exchange_value_is_fatal() {
    // D13: the client's flight 5 with its public value zeroed on the way.
    for (group, len) in [(NamedGroup::X25519, 32), (NamedGroup::SECP256R1, 65), (NamedGroup::SECP384R1, 97)] {
        let (client, mut server) = (config(0), config(1));
        server.groups = vec![group];
        let mut pair = Pair::new(client, server);
        pair.run(Duration::from_secs(40), |from, index, mut datagram| {
            if from && index > 0 {
                let mut at = 0;
                while at + 13 < datagram.len() {
                    if datagram[at] == 22 && datagram[at + 13] == HandshakeType::CLIENT_KEY_EXCHANGE.0 {
                        assert_eq!(usize::from(datagram[at + 25]), len);
                        datagram[at + 26..at + 26 + len].fill(0);
                    }
                    at += 13 + usize::from(u16::from_be_bytes([datagram[at + 11], datagram[at + 12]]));
                }
            }
            fine(from, index, datagram)
        });
        assert_eq!(pair.server.events, [Event::Failed(Error::KeyExchange)]);
    }
}

/// The datagrams of a real handshake in small pieces, by sender.
fn recorded() -> &'static [(bool, Vec<u8>)] {
    static LOG: OnceLock<Vec<(bool, Vec<u8>)>> = OnceLock::new();
    LOG.get_or_init(|| {
        let mut pair = Pair::new(config(0), config(1));
        pair.run(Duration::from_secs(1), fine);
        pair.assert_connected();
        pair.log
    })
}

/// Fresh ends that take the recorded datagrams, changed by `change`. They cannot complete a handshake that
/// others made, and must not break over it.
fn feed(change: impl Fn(usize, &mut Vec<u8>)) {
    let mut pair = Pair::new(config(0), config(1));
    pair.client.output(pair.now);
    for (index, (from_client, datagram)) in recorded().iter().enumerate() {
        let mut datagram = datagram.clone();
        change(index, &mut datagram);
        let now = pair.now;
        let (_, end) = pair.ends(*from_client);
        end.input(now, &datagram);
        end.output(now);
        assert!(!end.connection.is_connected() && end.received.is_empty());
    }
}

#[test]
fn every_byte_of_every_flight_may_be_wrong() {
    // D14: among them every length field, set to 0, its maximum, one more and one less.
    let log = recorded();
    let now = base();
    let shared = [Arc::new(config(0)), Arc::new(config(1))];
    for (index, (from_client, datagram)) in log.iter().enumerate() {
        for at in 0..datagram.len() {
            for change in [|_| 0, |_| 0xff, |byte: u8| byte.wrapping_add(1), |byte: u8| byte.wrapping_sub(1)]
            {
                let role = if *from_client { Role::Server } else { Role::Client };
                let expected = vec![identity(usize::from(!*from_client)).fingerprint(HashAlgorithm::Sha256)];
                let config = &shared[usize::from(*from_client)];
                // A server's keys and signature cost too much to be made for every byte.
                if role == Role::Server && at % 7 != index % 7 {
                    continue;
                }
                let mut end = Connection::new(Arc::clone(config), role, expected, now, [4; 32]);
                let mut changed = datagram.clone();
                changed[at] = change(changed[at]);
                let _ = end.handle_input(now, &mut changed, |_| panic!("delivered"));
                assert!(!end.is_connected());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn changed_flights_never_connect_or_panic(
        which in 0usize..4, edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(), truncate: bool,
    ) {
        feed(|index, datagram| {
            if index == which {
                for (at, value) in &edits {
                    let at = at.index(datagram.len());
                    datagram[at] = *value;
                }
                if truncate {
                    datagram.truncate(cut.index(datagram.len()));
                }
            }
        });
    }

    #[test]
    fn arbitrary_datagrams_never_panic(datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..8)) {
        let mut pair = Pair::new(config(0), config(1));
        let now = pair.now;
        for mut datagram in datagrams {
            pair.client.input(now, &datagram);
            // And with a header that leads further in.
            if datagram.len() >= 13 {
                datagram[..5].copy_from_slice(&[22, 0xfe, 0xfd, 0, 0]);
                let len = (datagram.len() - 13) as u16;
                datagram[11..13].copy_from_slice(&len.to_be_bytes());
            }
            pair.server.input(now, &datagram);
            pair.client.input(now, &datagram);
        }
        prop_assert!(pair.client.received.is_empty() && pair.server.received.is_empty());
    }
}
