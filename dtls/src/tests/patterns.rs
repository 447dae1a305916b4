//! Every single misfortune, in both roles: each message lost once, or repeated, any two messages of a flight swapped, each
//! message cut at every byte, everything twice. The handshake completes; how long that takes is a table to review.

use super::pair::*;
use super::states::records;
use crate::handshake::{FragmentHeader, HEADER_LEN};
use crate::wire::Reader;
use crate::*;
use std::fmt::Write;
use std::time::Duration;

/// Milliseconds of virtual time until both ends are connected, by what happened. One way takes 5 ms, the first timeout
/// is 50 ms. To renew: run the test and take what it prints.
const TABLE: &str = include_str!("patterns.txt");

/// Runs a handshake and gives the time when both ends are connected.
fn time(server: Config, mut link: impl FnMut(bool, usize, Vec<u8>) -> Fate) -> u128 {
    let mut pair = Pair::new(config(0), server);
    let start = pair.now;
    for _ in 0..5000 {
        pair.run(Duration::from_millis(1), &mut link);
        if pair.client.connection.is_connected() && pair.server.connection.is_connected() {
            let taken = pair.now - start;
            pair.assert_connected();
            return taken.as_millis();
        }
        pair.now += Duration::from_millis(1);
    }
    panic!("no connection: {:?} {:?}", pair.client.connection, pair.server.connection);
}

fn server(cookie: bool) -> Config {
    let mut server = config(1);
    server.require_cookie = cookie;
    server
}

/// What a record is: who sent it, and its message's name.
fn name(from_client: bool, record: &[u8]) -> String {
    let what = match (record[0], record[4]) {
        (20, _) => "ChangeCipherSpec".to_owned(),
        (22, 1) => HandshakeType::FINISHED.to_string(),
        _ => format!("{} {}", HandshakeType(record[13]), record[18]),
    };
    format!("{} {what}", if from_client { "client's" } else { "server's" })
}

/// The records of a handshake without trouble, by datagram: (from the client, index, records).
fn course(cookie: bool) -> Vec<(bool, usize, Vec<Vec<u8>>)> {
    let mut all = Vec::new();
    time(server(cookie), |from, index, datagram| {
        all.push((from, index, records(std::slice::from_ref(&datagram))));
        fine(from, index, datagram)
    });
    all
}

fn whole(records: Vec<Vec<u8>>) -> Fate {
    let datagram = records.concat();
    if datagram.is_empty() { vec![] } else { vec![(Duration::ZERO, datagram)] }
}

#[test]
fn every_misfortune_ends_in_a_connection_within_the_table() {
    let mut made = String::new();
    let mut line = |what: &str, millis: u128| writeln!(made, "{what:<72} {millis:>4}").unwrap();
    line("nothing", time(server(false), fine));
    line("a cookie", time(server(true), fine));
    line(
        "everything twice",
        time(server(false), |_, _, datagram| {
            vec![(Duration::ZERO, datagram.clone()), (Duration::from_millis(1), datagram)]
        }),
    );
    for (from, at, said) in course(true) {
        for (lost, record) in said.iter().enumerate() {
            let millis = time(server(true), |sender, index, datagram| {
                let mut all = records(&[datagram]);
                if (sender, index) == (from, at) {
                    all.remove(lost);
                }
                whole(all)
            });
            line(&format!("lost: {}", name(from, record)), millis);
        }
    }
    for (from, at, said) in course(true) {
        for record in said {
            let millis = time(server(true), |sender, index, datagram| {
                let mut fate = fine(sender, index, datagram);
                if (sender, index) == (from, at) {
                    // At once, and again when the answer is under way.
                    fate.extend([0, 7].map(|late| (Duration::from_millis(late), record.clone())));
                }
                fate
            });
            line(&format!("repeated: {}", name(from, &record)), millis);
        }
    }
    for (from, at, said) in course(false) {
        for first in 0..said.len() {
            for second in first + 1..said.len() {
                let millis = time(server(false), |sender, index, datagram| {
                    let mut all = records(&[datagram]);
                    if (sender, index) == (from, at) {
                        all.swap(first, second);
                    }
                    whole(all)
                });
                let (first, second) = (name(from, &said[first]), name(from, &said[second]));
                line(&format!("swapped: {first}, {second}"), millis);
            }
        }
    }
    assert!(made == TABLE, "the table is now:\n{made}");
}

/// A plaintext handshake record cut in two at a byte of its message.
fn cut(record: &[u8], at: usize) -> [Vec<u8>; 2] {
    let (header, body) = FragmentHeader::parse(&mut Reader::new(&record[13..])).unwrap();
    [(0, at), (at, body.len())].map(|(from, to)| {
        let header = FragmentHeader { fragment_offset: from, fragment_length: to - from, ..header };
        let fragment = [&header.to_bytes()[..], &body[from..to]].concat();
        let mut piece = record[..11].to_vec();
        piece.extend((fragment.len() as u16).to_be_bytes());
        piece.extend(fragment);
        piece
    })
}

#[test]
fn every_message_may_be_cut_at_every_byte_and_come_in_any_order() {
    let longest = course(false).iter().flat_map(|(_, _, said)| said).map(Vec::len).max().unwrap();
    for at in 1..longest - 13 - HEADER_LEN {
        let millis = time(server(false), |_, _, datagram| {
            let mut pieces = Vec::new();
            for record in records(&[datagram]) {
                let len = record.len() - 13 - HEADER_LEN.min(record.len() - 13);
                if record[0] == 22 && record[4] == 0 && len > 1 {
                    pieces.extend(cut(&record, 1 + (at - 1) % (len - 1)));
                } else {
                    pieces.push(record);
                }
            }
            match at % 3 {
                0 => pieces.reverse(),
                // The first half behind the second.
                1 => pieces.rotate_left(1),
                _ => {}
            }
            whole(pieces)
        });
        assert_eq!(millis, 20, "cut at {at}");
    }
}
