//! The data path of a connected pair.

use super::pair::*;
use crate::record::MAX_SEQUENCE;
use crate::*;
use std::collections::HashSet;
use std::time::Duration;

pub(super) fn connected() -> Pair {
    let mut pair = Pair::new(config(0), config(1));
    pair.run(Duration::from_secs(1), fine);
    pair.assert_connected();
    pair.client.received.clear();
    pair.server.received.clear();
    pair
}

#[test]
fn several_records_in_a_datagram_are_all_delivered() {
    let mut pair = connected();
    let datagram = [pair.client.seal(b"one"), pair.client.seal(b""), pair.client.seal(b"three")].concat();
    pair.server.input(pair.now, &datagram);
    assert_eq!(pair.server.received, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
}

#[test]
fn plaintext_is_a_part_of_the_datagram() {
    let mut pair = connected();
    let mut datagram = pair.client.seal(b"in place");
    let range = datagram.as_ptr_range();
    let mut delivered = false;
    pair.server
        .connection
        .handle_input(pair.now, &mut datagram, |plaintext| {
            delivered = true;
            assert!(range.contains(&plaintext.as_ptr()));
        })
        .unwrap();
    assert!(delivered);
}

#[test]
fn records_are_accepted_once_and_in_any_order_within_the_window() {
    let mut pair = connected();
    let records: Vec<_> = (0..1200u16).map(|n| pair.client.seal(&n.to_be_bytes())).collect();
    for record in records[900..].iter().rev().chain(&records[900..]) {
        pair.server.input(pair.now, record);
    }
    assert_eq!(pair.server.received.len(), 300);
    pair.server.input(pair.now, &records[1200 - 900]);
    pair.server.input(pair.now, &records[0]);
    assert_eq!(pair.server.received.len(), 301, "one inside the window, one behind it");
    assert_eq!(pair.server.connection.stats().replayed, 301);
}

#[test]
fn a_caller_that_asks_for_too_much_is_told_so() {
    let mut pair = Pair::new(config(0), config(1));
    assert_eq!(pair.client.connection.seal(&mut [0; 100], 10), Err(SealError::NotConnected));
    pair.run(Duration::from_secs(1), fine);
    let connection = &mut pair.client.connection;
    assert_eq!(connection.seal(&mut [0; 46], 10), Err(SealError::SlotTooSmall));
    assert_eq!(connection.seal(&mut [], 0), Err(SealError::SlotTooSmall));
    assert_eq!(connection.seal(&mut [0; 40000], 16385), Err(SealError::TooLong));
    assert_eq!(connection.seal(&mut [0; 47], usize::MAX), Err(SealError::TooLong));
    assert_eq!(connection.seal(&mut [0; 47], 10), Ok(47));
    assert_eq!(connection.seal(&mut [0; 40000], 16384), Ok(21 + 16384 + 16));
    connection.close(pair.now);
    assert_eq!(connection.seal(&mut [0; 47], 10), Err(SealError::Closed));
}

#[test]
fn the_explicit_nonce_is_epoch_and_sequence_and_never_repeats() {
    // D1
    let mut nonces = HashSet::new();
    let mut pair = Pair::new(config(0), config(1));
    // Lose each last flight a few times: Finished is sealed anew each time.
    pair.run(Duration::from_secs(10), |from, index, datagram| {
        if from && (1..5).contains(&index) { vec![] } else { fine(from, index, datagram) }
    });
    pair.assert_connected();
    let mut finished = Vec::new();
    for (from_client, datagram) in &pair.log {
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let len = 13 + usize::from(u16::from_be_bytes([rest[11], rest[12]]));
            if *from_client && rest[4] == 1 {
                finished.push(rest[..len].to_vec());
            }
            rest = &rest[len..];
        }
    }
    assert!(finished.len() > 3, "{}", finished.len());
    let data = (0..5000u16).map(|n| pair.client.seal(&n.to_be_bytes()));
    for record in finished.into_iter().chain(data.collect::<Vec<_>>()) {
        assert_eq!(record[3..11], record[13..21]);
        assert!(nonces.insert(record[13..21].to_vec()));
    }
}

#[test]
fn sequence_numbers_end_without_reuse() {
    // D18
    let mut pair = connected();
    pair.client.connection.session.write.as_mut().unwrap().set_next(MAX_SEQUENCE);
    let last = pair.client.seal(b"last");
    pair.server.input(pair.now, &last);
    assert_eq!(pair.server.received, [b"last"]);
    assert_eq!(pair.client.connection.seal(&mut [0; 100], 10), Err(SealError::SequenceExhausted));
    assert_eq!(pair.client.connection.seal(&mut [0; 100], 10), Err(SealError::Closed));
    pair.run(Duration::from_secs(1), fine);
    assert_eq!(pair.client.events, [Event::Connected, Event::Failed(Error::KeyExhausted)]);
}

#[test]
fn a_gcm_key_seals_only_so_much_and_then_says_goodbye() {
    let mut pair = connected();
    let key = |pair: &mut Pair| pair.client.connection.session.write.take().unwrap();
    let mut write = key(&mut pair);
    // 100 bytes are 7 blocks, and one for the tag.
    write.set_blocks(8 + 7);
    pair.client.connection.session.write = Some(write);
    let last = pair.client.seal(&[1; 100]);
    pair.server.input(pair.now, &last);
    assert_eq!(pair.server.received, [[1; 100]]);
    assert_eq!(pair.client.connection.seal(&mut [0; 200], 100), Err(SealError::KeyExhausted));
    assert_eq!(pair.client.connection.seal(&mut [0; 200], 1), Err(SealError::Closed));
    pair.run(Duration::from_secs(1), fine);
    assert_eq!(pair.client.events, [Event::Connected, Event::Failed(Error::KeyExhausted)]);
    assert_eq!(pair.server.events, [Event::Connected, Event::Closed]);

    let (mut client, server) = (config(0), config(1));
    client.suites = vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256];
    let mut pair = Pair::new(client, server);
    pair.run(Duration::from_secs(1), fine);
    assert_eq!(pair.client.connection.seal(&mut [0; 100], 10), Ok(13 + 10 + 16));
}

#[test]
fn forged_records_move_nothing_until_the_limit_ends_the_session() {
    // D6, D19
    let mut pair = connected();
    let now = pair.now;
    let good = pair.client.seal(b"good");
    for epoch in [1, 2] {
        let mut forged = good.clone();
        forged[4] = epoch;
        forged[5..11].copy_from_slice(&[0xff; 6]);
        pair.server.input(now, &forged);
    }
    for at in 0..good.len() {
        let mut forged = good.clone();
        forged[at] ^= 0x10;
        pair.server.input(now, &forged);
    }
    assert!(pair.server.received.is_empty());
    assert!(pair.server.output(now).is_empty(), "nothing forged is answered");
    pair.server.input(now, &good);
    assert_eq!(pair.server.received, [b"good"]);

    pair.server.connection.session.read.as_mut().unwrap().set_forgeries((1 << 36) - 1);
    let mut forged = pair.client.seal(b"bad");
    forged[30] ^= 1;
    pair.server.input(now, &forged);
    assert_eq!(pair.server.error, Some(Error::TooManyForgeries));
}

#[test]
fn debug_output_and_the_default_configuration_hold_no_secret() {
    // D20: the secret as the key log tells it, as hex and as a list of bytes.
    use std::sync::{Arc, Mutex};
    let told = Arc::new(Mutex::new(String::new()));
    let (mut client, log) = (config(0), Arc::clone(&told));
    client.key_log = Some(Arc::new(move |line: &str| log.lock().unwrap().push_str(line)));
    let text = format!("{client:?}");
    assert!(text.contains("key_log: true") && format!("{:?}", config(1)).contains("key_log: false"));
    let mut pair = Pair::new(client, config(1));
    pair.run(Duration::from_secs(1), fine);
    let text = format!(
        "{text} {:?} {:#?} {:x?}",
        pair.client.connection, pair.client.events, pair.server.connection
    );
    let secret = told.lock().unwrap().rsplit(' ').next().unwrap().to_owned();
    let bytes: Vec<u8> =
        (0..96).step_by(2).map(|at| u8::from_str_radix(&secret[at..at + 2], 16).unwrap()).collect();
    for part in bytes.windows(4) {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{part:?}");
        assert!(!text.contains(&hex) && !text.contains(list.trim_matches(['[', ']'])), "{text}");
    }
}

#[test]
fn the_key_log_gets_one_line_that_both_ends_agree_on() {
    use std::sync::{Arc, Mutex};
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (mut client, mut server) = (config(0), config(1));
    for config in [&mut client, &mut server] {
        let lines = Arc::clone(&lines);
        config.key_log = Some(Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned())));
    }
    let mut pair = Pair::new(client, server);
    pair.run(Duration::from_secs(1), fine);
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], lines[1]);
    assert_eq!(lines[0].len(), 14 + 64 + 1 + 96);
}

#[test]
fn a_connection_may_move_between_threads() {
    fn movable<T: Send + Sync>(_: &T) {}
    movable(&connected().client.connection);
}

#[test]
fn nothing_is_negotiated_before_the_peer_is_verified() {
    let mut pair = Pair::new(config(0), config(1));
    let now = pair.now;
    for from_client in [true, false, true] {
        let (from, to) = pair.ends(from_client);
        for datagram in from.output(now) {
            to.input(now, &datagram);
        }
        if from_client {
            assert_eq!(pair.client.connection.negotiated(), None);
        }
    }
    assert!(pair.server.connection.negotiated().is_some());
    // The server's last flight never comes.
    for _ in 0..100 {
        let Some(deadline) = pair.client.connection.poll_timeout() else { break };
        let _ = pair.client.connection.handle_timeout(deadline);
        pair.client.output(deadline);
    }
    pair.client.drain_events();
    assert_eq!(pair.client.events, [Event::Failed(Error::HandshakeTimeout)]);
    assert_eq!(pair.client.connection.negotiated(), None);
}
