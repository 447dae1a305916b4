//! Attacks known from other stacks: floods, replays, injected records, impostors. The D numbers are the project's
//! list of such things.

use super::alerts::{plain, sealed};
use super::pair::*;
use super::records::connected;
use crate::flight::Item;
use crate::handshake::{FragmentHeader, Message};
use crate::input::MAX_EARLY;
use crate::types::ContentType;
use crate::*;
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A handshake fragment in a plaintext record.
fn fragment(
    msg_type: HandshakeType,
    message_seq: u16,
    length: usize,
    offset: usize,
    bytes: &[u8],
) -> Vec<u8> {
    let header = FragmentHeader {
        msg_type,
        length,
        message_seq,
        fragment_offset: offset,
        fragment_length: bytes.len(),
    };
    plain(22, &[&header.to_bytes()[..], bytes].concat())
}

/// A pair whose server has sent its first flight, which the client has not seen.
fn server_waits() -> Pair {
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    for datagram in pair.client.output(now) {
        pair.server.input(now, &datagram);
    }
    pair
}

#[test]
fn a_flood_of_tiny_fragments_takes_bounded_memory() {
    // D2, D3
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    for seq in 0..40 {
        for offset in (0..16384).step_by(3) {
            let bytes: &[u8] = if offset % 2 == 0 { b"x" } else { b"" };
            pair.server.input(now, &fragment(HandshakeType::CLIENT_HELLO, seq, 16384, offset, bytes));
        }
    }
    assert_eq!(pair.server.error, None);
    assert!(pair.server.connection.session.reassembly.cost() < 64 * 1024);
    assert!(pair.server.output(now).is_empty());
    let huge = fragment(HandshakeType::CLIENT_HELLO, 0, 0xff_ffff, 0, b"x");
    pair.server.input(now, &huge);
    assert_eq!(pair.server.error, Some(Error::MessageTooLarge { length: 0xff_ffff }));
}

#[test]
fn fragments_that_contradict_each_other_are_fatal() {
    // D4
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    pair.server.input(now, &fragment(HandshakeType::CLIENT_HELLO, 0, 100, 0, b"x"));
    pair.server.input(now, &fragment(HandshakeType::CLIENT_HELLO, 0, 101, 1, b"x"));
    assert_eq!(pair.server.error, Some(Error::FragmentMismatch));
    assert_eq!(pair.server.output(now), [[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 47]]);
}

#[test]
fn early_records_are_kept_up_to_a_limit() {
    // D5
    for mut pair in [Pair::new(config(0), config(1)), server_waits()] {
        let now = pair.now;
        for content_type in [22, 23, 21] {
            for sequence in 0..20_000u16 {
                let mut record = plain(content_type, &[0; 40]);
                record[4] = 1;
                record[9..11].copy_from_slice(&sequence.to_be_bytes());
                pair.server.input(now, &record);
            }
        }
        assert_eq!(pair.server.connection.early.len(), MAX_EARLY);
        assert_eq!(pair.server.connection.stats().early_dropped, 59_992);
        // And the handshake goes on.
        pair.run(Duration::from_secs(5), fine);
        pair.assert_connected();
    }
}

#[test]
fn plaintext_data_is_never_delivered() {
    // D7
    let data = plain(23, b"hello");
    let mut pair = Pair::new(config(0), config(1));
    pair.server.input(pair.now, &data);
    pair.client.input(pair.now, &data);
    pair.run(Duration::from_secs(1), |from, index, datagram| {
        vec![(Duration::ZERO, data.clone()), (Duration::ZERO, [&data[..], &datagram, &data].concat())]
            .into_iter()
            .filter(|_| from || index < 9)
            .collect()
    });
    assert!(pair.client.received.is_empty() && pair.server.received.is_empty());
    pair.assert_connected();
    pair.server.input(pair.now, &data);
    assert_eq!(pair.server.received.len(), 1);
}

#[test]
fn a_client_must_prove_that_it_owns_its_certificate() {
    // D8: the victim's certificate and another key.
    let mut thief = config(0);
    thief.certificate = Some(Arc::new(Certificate::impostor(&identity(0))));
    let mut pair = Pair::new(thief, config(1));
    pair.run(Duration::from_secs(40), fine);
    assert_eq!(pair.server.events, [Event::Failed(Error::BadSignature)]);
    assert_eq!(pair.client.events, [Event::Failed(Error::PeerAlert(AlertDescription::DECRYPT_ERROR))]);
}

#[test]
fn a_server_must_prove_that_it_owns_its_certificate() {
    let mut thief = config(1);
    thief.certificate = Some(Arc::new(Certificate::impostor(&identity(1))));
    let mut pair = Pair::new(config(0), thief);
    pair.run(Duration::from_secs(40), fine);
    assert_eq!(pair.client.events, [Event::Failed(Error::BadSignature)]);
    assert_eq!(pair.server.events, [Event::Failed(Error::PeerAlert(AlertDescription::DECRYPT_ERROR))]);
}

#[test]
fn a_client_cannot_leave_out_any_message() {
    // D8: each message of its second flight in turn, the following ones renumbered.
    let messages =
        [HandshakeType::CERTIFICATE, HandshakeType::CLIENT_KEY_EXCHANGE, HandshakeType::CERTIFICATE_VERIFY];
    for left_out in messages {
        let mut pair = server_waits();
        let now = pair.now;
        for datagram in pair.server.output(now) {
            pair.client.input(now, &datagram);
        }
        let items = pair.client.connection.session.flight.items_mut();
        items.retain(|item| !matches!(item, Item::Message(message) if message.msg_type == left_out));
        let mut seq = 1;
        for item in items {
            if let Item::Message(message) = item {
                message.message_seq = seq;
                seq += 1;
            }
        }
        for datagram in pair.client.output(now) {
            pair.server.input(now, &datagram);
        }
        let error = pair.server.error.take().unwrap();
        assert!(matches!(error, Error::UnexpectedMessage { .. }), "{left_out}: {error}");
        assert!(!pair.server.connection.is_connected());
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    // D8
    let mut pair = server_waits();
    let now = pair.now;
    pair.server.output(now);
    pair.server.input(now, &fragment(HandshakeType::CERTIFICATE, 1, 3, 0, &[0, 0, 0]));
    assert_eq!(pair.server.error, Some(Error::CertificateMissing));
}

#[test]
fn finished_belongs_under_the_keys_and_the_rest_does_not() {
    let mut pair = server_waits();
    let now = pair.now;
    pair.server.output(now);
    pair.server.input(now, &fragment(HandshakeType::FINISHED, 1, 12, 0, &[0; 12]));
    let got = HandshakeType::FINISHED;
    assert_eq!(pair.server.error, Some(Error::UnexpectedMessage { got }));
}

/// A client that has sent its last flight, and a server that has its own ready.
fn before_the_last_flight() -> Pair {
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    while !pair.server.connection.is_connected() {
        for datagram in pair.server.output(now) {
            pair.client.input(now, &datagram);
        }
        for datagram in pair.client.output(now) {
            pair.server.input(now, &datagram);
        }
    }
    pair
}

#[test]
fn nothing_may_follow_the_last_finished_under_the_keys() {
    let excess = Some(Error::ExcessHandshakeData);
    let unexpected = Some(Error::UnexpectedMessage { got: HandshakeType::FINISHED });
    // Before Finished, in its record, behind it; and what it then says.
    for (place, expected) in [(0, excess.clone()), (1, excess), (2, unexpected)] {
        let mut pair = before_the_last_flight();
        let now = pair.now;
        let items = pair.server.connection.session.flight.items_mut();
        let finished = items.iter().find_map(|item| match item {
            Item::Message(message) => Some(message.clone()),
            Item::ChangeCipherSpec => None,
        });
        let finished = finished.unwrap();
        let extra = Message { message_seq: finished.message_seq + 1, ..finished.clone() };
        let [finished, extra] =
            [finished, extra].map(|message| [&message.whole_header().to_bytes()[..], &message.body].concat());
        let mut handshake = |bytes: &[u8]| sealed(&mut pair.server, ContentType::HANDSHAKE, bytes);
        let records = match place {
            0 => vec![handshake(&extra), handshake(&finished)],
            1 => vec![handshake(&[finished, extra].concat())],
            _ => vec![handshake(&finished), handshake(&extra)],
        };
        pair.client.input(now, &plain(20, &[1]));
        for record in records {
            assert_eq!(pair.client.error, None);
            pair.client.input(now, &record);
        }
        assert_eq!(pair.client.error, expected, "{place}");
        pair.client.drain_events();
        assert_eq!(pair.client.events.contains(&Event::Connected), place > 0);
        let alert = pair.client.output(now);
        pair.server.input(now, &alert[0]);
        assert_eq!(pair.server.error, Some(Error::PeerAlert(AlertDescription::UNEXPECTED_MESSAGE)));
    }
}

#[test]
fn replayed_flights_make_nobody_an_amplifier() {
    // D16
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    let hello = pair.client.output(now).remove(0);
    let (mut bytes_in, mut bytes_out) = (0, 0);
    for step in 0..100_000u32 {
        bytes_in += hello.len();
        let now = now + Duration::from_micros(10) * step;
        pair.server.input(now, &hello);
        bytes_out += pair.server.output(now).iter().map(Vec::len).sum::<usize>();
    }
    assert!(bytes_out < bytes_in / 100, "{bytes_out} of {bytes_in}");
    assert!(pair.server.connection.stats().resends <= 40);

    let mut pair = connected();
    let now = pair.now + Duration::from_secs(1);
    let log = pair.log.clone();
    let mut answers = 0;
    for _ in 0..1000 {
        for (from_client, datagram) in &log {
            let (_, end) = pair.ends(*from_client);
            end.input(now, datagram);
            answers += end.output(now).len();
        }
    }
    assert_eq!(answers, 0, "replayed records are not repeated flights");
}

#[test]
fn a_client_hello_inside_the_session_is_ignored() {
    // D22
    let mut pair = connected();
    let now = pair.now;
    let mut stranger = Pair::new(config(2), config(1));
    let mut hello = stranger.client.output(now).remove(0);
    for message_seq in 0..10 {
        hello[13 + 5] = message_seq;
        pair.server.input(now, &hello);
        pair.client.input(now, &hello);
    }
    assert!(pair.server.output(now).is_empty() && pair.client.output(now).is_empty());
    pair.assert_connected();
}

#[test]
fn every_hello_has_another_random() {
    // D15: even with one seed for all.
    let now = base();
    let shared = Arc::new(config(0));
    let mut seen = HashSet::new();
    for _ in 0..2000 {
        let mut client = Connection::new(Arc::clone(&shared), Role::Client, vec![], now, [0; 32]);
        let mut out = [0; 1200];
        let len = client.poll_transmit(now, &mut out).unwrap();
        assert!(seen.insert(out[..len][13 + 12 + 2..][..32].to_vec()));
    }
}

#[test]
fn records_that_make_no_sense_are_counted_and_dropped() {
    let mut pair = connected();
    let now = pair.now;
    let mut junk: Vec<Vec<u8>> = (0..=13).map(|len| vec![22; len]).collect();
    junk.extend((0..=255u8).filter(|kind| !(20..24).contains(kind)).map(|kind| plain(kind, &[1, 2, 3])));
    junk.push(vec![0xff; 1500]);
    for datagram in &junk {
        pair.server.input(now, datagram);
    }
    assert_eq!(pair.server.connection.stats().malformed, junk.len() as u64 - 1, "all but the empty one");
    assert!(pair.server.output(now).is_empty());
    pair.assert_connected();
}

/// A datagram of somebody without the keys: made up, or one that was really sent with bytes changed.
fn forged() -> impl Strategy<Value = (Option<prop::sample::Index>, Vec<(prop::sample::Index, u8)>, Vec<u8>)> {
    (
        proptest::option::of(any::<prop::sample::Index>()),
        proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        proptest::collection::vec(any::<u8>(), 0..80),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nobody_without_the_keys_can_end_a_connection_or_make_it_answer(
        forgeries in proptest::collection::vec((forged(), any::<bool>(), 0u8..3, 18u8..26), 1..40),
    ) {
        let mut pair = connected();
        let now = pair.now;
        let mut sent: Vec<Vec<u8>> = pair.log.iter().map(|(_, datagram)| datagram.clone()).collect();
        sent.extend([pair.client.seal(b"from the client"), pair.server.seal(b"from the server")]);
        for ((real, edits, bytes), to_client, epoch, content_type) in forgeries {
            let datagram = match real {
                Some(index) => {
                    let mut datagram = index.get(&sent).clone();
                    for (at, change) in edits {
                        let at = at.index(datagram.len());
                        datagram[at] ^= change;
                    }
                    datagram
                }
                None => {
                    let mut record = plain(content_type, &bytes);
                    record[4] = epoch;
                    record
                }
            };
            let end = pair.ends(to_client).0;
            end.input(now, &datagram);
            prop_assert!(end.output(now).is_empty(), "answered");
            prop_assert_eq!(end.connection.poll_timeout(), None);
        }
        pair.client.received.clear();
        pair.server.received.clear();
        pair.assert_connected();
    }
}
