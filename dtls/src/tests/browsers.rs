//! What Chromium 156 and Firefox 153 really send: ClientHellos with DTLS 1.3 and post-quantum key shares, fragmented
//! over two datagrams, and the flight they answer with as servers of DTLS 1.2.

use super::alerts::plain;
use super::pair::*;
use crate::crypto::Provider;
use crate::crypto::ring::RING;
use crate::handshake::client_hello::ClientHello;
use crate::handshake::extensions::Extensions;
use crate::handshake::server_hello::ServerHello;
use crate::handshake::server_key_exchange::{ServerKeyExchange, signed_content};
use crate::handshake::{FragmentHeader, Message, certificate};
use crate::reassembly::Reassembly;
use crate::record::{HEADER_LEN, RecordHeader};
use crate::types::ContentType;
use crate::wire::Reader;
use crate::*;

const HELLOS: [(&str, &str); 4] = [
    ("Chromium", include_str!("captures/chromium-156-client-hello.hex")),
    ("Chromium, again", include_str!("captures/chromium-156-client-hello-2.hex")),
    ("Firefox", include_str!("captures/firefox-153-client-hello.hex")),
    ("Firefox, again", include_str!("captures/firefox-153-client-hello-2.hex")),
];

const FLIGHTS: [(&str, &str); 2] = [
    ("Chromium", include_str!("captures/chromium-156-server-flight.hex")),
    ("Firefox", include_str!("captures/firefox-153-server-flight.hex")),
];

fn datagrams(hex: &str) -> Vec<Vec<u8>> {
    let bytes = |line: &str| {
        (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
    };
    hex.lines().map(bytes).collect()
}

/// The handshake messages of one flight of plaintext records.
fn messages(datagrams: &[Vec<u8>]) -> Vec<Message> {
    let mut reassembly = Reassembly::new(16384);
    let mut messages = Vec::new();
    for datagram in datagrams {
        let mut rest = &datagram[..];
        while let Some(header) = RecordHeader::parse(rest) {
            let (record, tail) = rest.split_at(HEADER_LEN + usize::from(header.length));
            rest = tail;
            assert_eq!(header.content_type, ContentType::HANDSHAKE);
            let mut reader = Reader::new(&record[HEADER_LEN..]);
            while let Some((header, fragment)) = FragmentHeader::parse(&mut reader) {
                reassembly.insert(0, &header, fragment).unwrap();
                messages.extend(reassembly.pop());
            }
        }
    }
    messages
}

#[test]
fn browsers_client_hellos_are_answered() {
    for (browser, hex) in HELLOS {
        let datagrams = datagrams(hex);
        assert_eq!(datagrams.len(), 2, "{browser}");
        for order in [[0, 1], [1, 0]] {
            let mut pair = Pair::new(config(0), config(1));
            let now = pair.now;
            for index in order {
                assert!(pair.server.output(now).is_empty());
                pair.server.input(now, &datagrams[index]);
            }
            assert_eq!(pair.server.error, None, "{browser}");
            let flight = messages(&pair.server.output(now));
            let hello = ServerHello::parse(&flight[0].body).unwrap();
            assert_eq!(hello.server_version, ProtocolVersion::DTLS_1_2);
            assert_eq!(hello.cipher_suite, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
            let offered = messages(&datagrams);
            let offered = ClientHello::parse(&offered[0].body).unwrap();
            assert!(hello.extensions.kinds().all(|kind| offered.extensions.get(kind).is_some()));
            assert_eq!(flight.last().unwrap().msg_type, HandshakeType::SERVER_HELLO_DONE);
            let exchange = ServerKeyExchange::parse(&flight[2].body).unwrap();
            assert_eq!(exchange.group, NamedGroup::X25519);
        }
    }
}

/// The orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for next in 0..count {
        let longer = |order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, next);
                order
            })
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

/// A hello cut into datagrams of one fragment each, as a smaller path would have it.
fn cut(hello: &Message, pieces: usize) -> Vec<Vec<u8>> {
    let size = hello.body.len().div_ceil(pieces);
    let pieces = hello.body.chunks(size).enumerate().map(|(index, piece)| {
        let header = FragmentHeader {
            fragment_offset: index * size,
            fragment_length: piece.len(),
            ..hello.whole_header()
        };
        plain(22, &[&header.to_bytes()[..], piece].concat())
    });
    pieces.collect()
}

#[test]
fn post_quantum_hellos_in_up_to_five_datagrams_are_answered_in_every_order() {
    for (browser, hex) in HELLOS {
        let hello = messages(&datagrams(hex)).remove(0);
        assert!(hello.body.len() > 1200, "{browser}: key shares of ML-KEM are in it");
        for pieces in 2..=5 {
            let cut = cut(&hello, pieces);
            assert_eq!(cut.len(), pieces);
            for order in orders(pieces) {
                let mut pair = Pair::new(config(0), config(1));
                let now = pair.now;
                let (last, rest) = order.split_last().unwrap();
                for index in rest {
                    // Each comes twice.
                    pair.server.input(now, &cut[*index]);
                    pair.server.input(now, &cut[*index]);
                    assert!(pair.server.output(now).is_empty(), "{browser} {order:?}");
                }
                pair.server.input(now, &cut[*last]);
                let answer = pair.server.output(now);
                assert_eq!(answer[0][13], HandshakeType::SERVER_HELLO.0, "{browser} {order:?}");
                assert_eq!(pair.server.error, None);
            }
        }
    }
}

#[test]
fn a_post_quantum_hello_cut_anew_when_it_is_sent_again_is_put_together_from_both() {
    for (browser, hex) in HELLOS {
        let hello = messages(&datagrams(hex)).remove(0);
        // Of each first sending one piece is lost; the second one is cut differently, and its first piece is lost.
        for lost in 0..4 {
            let mut pair = Pair::new(config(0), config(1));
            let now = pair.now;
            let first = cut(&hello, 4).into_iter().enumerate().filter(|(index, _)| *index != lost);
            for piece in first.map(|(_, piece)| piece).chain(cut(&hello, 7).into_iter().skip(1)) {
                pair.server.input(now, &piece);
            }
            // Only the very beginning is still missing if it was lost both times.
            assert_eq!(pair.server.output(now).is_empty(), lost == 0, "{browser}, {lost} lost");
            assert_eq!(pair.server.error, None);
        }
    }
}

#[test]
fn browsers_certificates_and_signatures_verify() {
    for (browser, hex) in FLIGHTS {
        let datagrams = datagrams(hex);
        let client = messages(&datagrams[..1]);
        let server = messages(&datagrams[1..]);
        let client_hello = ClientHello::parse(&client[0].body).unwrap();
        let server_hello = ServerHello::parse(&server[0].body).unwrap();
        let chain = certificate::parse(&server[1].body).unwrap();
        let exchange = ServerKeyExchange::parse(&server[2].body).unwrap();
        let signed = signed_content(&client_hello.random, &server_hello.random, exchange.params);
        let key = crate::peer_certificate::key(chain[0]).unwrap();
        assert_eq!(RING.verify(&key, exchange.scheme, &signed, exchange.signature), Ok(()), "{browser}");
        let other = signed_content(&server_hello.random, &client_hello.random, exchange.params);
        assert!(RING.verify(&key, exchange.scheme, &other, exchange.signature).is_err(), "{browser}");
    }
}

#[test]
fn a_browsers_answer_is_read_up_to_its_signature() {
    for (browser, hex) in FLIGHTS {
        let mut flight = messages(&datagrams(hex)[1..]);
        let expected = {
            let chain = certificate::parse(&flight[1].body).unwrap();
            vec![Fingerprint::of(HashAlgorithm::Sha256, chain[0])]
        };
        // The captured hello answers a client that offered use_srtp; ours did not.
        flight[0].body = {
            let mut hello = ServerHello::parse(&flight[0].body).unwrap();
            assert!(hello.random.ends_with(b"DOWNGRD\x01"), "{browser}");
            let mut kept = Extensions::default();
            for kind in hello.extensions.kinds().filter(|kind| kind.0 != 14) {
                kept.push(kind, hello.extensions.get(kind).unwrap().to_vec());
            }
            hello.extensions = kept;
            hello.to_bytes()
        };
        let mut pair = Pair::with_fingerprints(config(0), config(1), expected, vec![]);
        let now = pair.now;
        pair.client.output(now);
        for message in &flight {
            assert_eq!(pair.client.error, None, "{browser}");
            let fragment = [&message.whole_header().to_bytes()[..], &message.body].concat();
            pair.client.input(now, &plain(22, &fragment));
            if message.msg_type == HandshakeType::SERVER_KEY_EXCHANGE {
                break;
            }
        }
        // It is signed over another client's random.
        assert_eq!(pair.client.error, Some(Error::BadSignature), "{browser}");
    }
}
