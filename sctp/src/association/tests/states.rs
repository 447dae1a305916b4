//! Every chunk in every state: what is answered, and the state after it if that is another.

use super::*;
use crate::tests::{forge, raw_chunks};
use crate::wire::chunk::FLAG_T;

/// A chunk by name; /T is a set T bit.
fn name(kind: ChunkType, flags: u8) -> String {
    let name = match kind {
        ChunkType::INIT => "INIT",
        ChunkType::INIT_ACK => "INIT-ACK",
        ChunkType::SACK => "SACK",
        ChunkType::HEARTBEAT_ACK => "HB-ACK",
        ChunkType::ABORT => "ABORT",
        ChunkType::SHUTDOWN => "SHUTDOWN",
        ChunkType::SHUTDOWN_ACK => "S-ACK",
        ChunkType::ERROR => "ERROR",
        ChunkType::COOKIE_ECHO => "ECHO",
        ChunkType::COOKIE_ACK => "COOKIE-ACK",
        ChunkType::SHUTDOWN_COMPLETE => "COMPLETE",
        ChunkType::RE_CONFIG => "RE-CONFIG",
        ChunkType(kind) => return kind.to_string(),
    };
    let t = matches!(kind, ChunkType::ABORT | ChunkType::SHUTDOWN_COMPLETE) && flags & FLAG_T != 0;
    if t { format!("{name}/T") } else { name.to_string() }
}

/// What A answers to a packet, and where it is then, unless where it was.
pub(super) fn outcome(pair: &mut Pair, packet: &[u8]) -> String {
    let before = pair.ends[A].state;
    pair.ends[A].handle_input(pair.now, packet);
    let mut out = [0; 1200];
    let mut words = Vec::new();
    while let Some(len) = pair.ends[A].poll_transmit(pair.now, &mut out) {
        words.extend(raw_chunks(&out[..len]).iter().map(|chunk| name(chunk.kind, chunk.flags)));
    }
    assert_eq!(pair.ends[A].broken_rule(pair.now), None);
    let after = pair.ends[A].state;
    if after != before {
        words.push(format!(">{after:?}"));
    }
    if words.is_empty() { "-".to_string() } else { words.join(" ") }
}

/// The chunk of a row, with A's tag and numbers.
fn packet(end: &Association, row: &str) -> Vec<u8> {
    let tsn = peer_tsn(end).0.to_be_bytes();
    let before = peer_tsn(end).0.wrapping_sub(1).to_be_bytes();
    let acked = end.local_initial_tsn.0.wrapping_sub(1).to_be_bytes();
    let never_sent = end.local_initial_tsn.0.wrapping_add(1000).to_be_bytes();
    let reflected = if end.peer_tag == 0 { 77 } else { end.peer_tag };
    let data = |stream: u8, payload: &[u8]| [&tsn, &[0, stream, 0, 0, 0, 0, 0, 53][..], payload].concat();
    let peer = init(PEER_TAG + 1, 100_000, 10, 10, 5);
    let (kind, value) = match row {
        "DATA" => (0, data(1, b"x")),
        "DATA, stream 65535" => (0, [&tsn[..], &[255, 255, 0, 0, 0, 0, 0, 53, 1]].concat()),
        "DATA, empty" => (0, data(1, &[])),
        "DATA, short" => (0, tsn.to_vec()),
        "INIT" | "INIT, own tag" => (1, peer),
        "INIT, tag 0 in it" => (1, init(0, 100_000, 10, 10, 5)),
        "INIT, no streams" => (1, init(PEER_TAG, 100_000, 0, 10, 5)),
        "INIT, window 1499" => (1, init(PEER_TAG, 1499, 10, 10, 5)),
        "INIT, short" => (1, peer[..15].to_vec()),
        "INIT-ACK" => (2, init_ack()),
        "INIT-ACK, tag 0 in it" => (2, [&[0; 4], &init_ack()[4..]].concat()),
        "INIT-ACK, no streams" => (2, init(PEER_TAG, 100_000, 10, 0, 5)),
        "INIT-ACK, window 1499" => (2, init(PEER_TAG, 1499, 10, 10, 5)),
        "INIT-ACK, no cookie" => (2, init(PEER_TAG, 100_000, 10, 10, 5)),
        "SACK" => (3, [&acked[..], &[0, 1, 0, 0, 0, 0, 0, 0]].concat()),
        "SACK, never sent" => (3, [&never_sent[..], &[0, 1, 0, 0, 0, 0, 0, 0]].concat()),
        "SACK, short" => (3, [&acked[..], &[0, 1, 0, 0, 0, 9, 0, 0]].concat()),
        "HEARTBEAT" => (4, vec![0, 1, 0, 8, 9, 9, 9, 9]),
        "HEARTBEAT-ACK" => (5, vec![0, 1, 0, 12, 9, 9, 9, 9, 9, 9, 9, 9]),
        "ABORT" | "ABORT, T" | "ABORT/T" | "ABORT, reflected" => (6, Vec::new()),
        "SHUTDOWN" => (7, acked.to_vec()),
        "SHUTDOWN, never sent" => (7, never_sent.to_vec()),
        "SHUTDOWN, short" => (7, vec![0, 0]),
        "SHUTDOWN-ACK" | "SHUTDOWN-ACK, other tag" => (8, Vec::new()),
        "ERROR" => (9, vec![0, 6, 0, 8, 0, 0, 0, 1]),
        "ERROR, stale cookie" => (9, vec![0, 3, 0, 8, 0, 0, 0, 1]),
        "COOKIE-ECHO, forged" => (10, vec![7; 76]),
        "COOKIE-ACK" => (11, Vec::new()),
        "ECNE" => (12, before.to_vec()),
        "CWR" => (13, before.to_vec()),
        "COMPLETE" | "COMPLETE, T" | "COMPLETE/T" => (14, Vec::new()),
        "AUTH" => (15, vec![0; 24]),
        "NR-SACK" => (16, [&acked[..], &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat()),
        "I-DATA" => (64, [&tsn[..], &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 53, 1]].concat()),
        "RE-CONFIG" => (130, [&[0, 13, 0, 18][..], &tsn, &acked, &before, &[0, 1]].concat()),
        "RE-CONFIG, short" => (130, vec![0, 13, 0, 8, 0, 0, 0, 0]),
        "FORWARD-TSN" => (192, tsn.to_vec()),
        "FORWARD-TSN, short" => (192, vec![0, 0]),
        "I-FORWARD-TSN" => (194, tsn.to_vec()),
        "ASCONF-ACK" => (128, vec![0; 4]),
        "PAD" => (132, vec![0; 40]),
        "ASCONF" => (193, vec![0; 4]),
        "type 0x3f" => (0x3f, vec![0; 4]),
        "type 0x7f" => (0x7f, vec![0; 4]),
        "type 0xbf" => (0xbf, vec![0; 4]),
        "type 0xff" => (0xff, vec![0; 4]),
        row => panic!("no such row: {row}"),
    };
    let (tag, flags) = match row {
        "INIT, own tag" => (end.local_tag, 0),
        row if row.starts_with("INIT") && kind == 1 => (0, 0),
        "ABORT, T" | "COMPLETE, T" => (end.local_tag, FLAG_T),
        "ABORT/T" | "COMPLETE/T" => (reflected, FLAG_T),
        "ABORT, reflected" => (reflected, 0),
        "SHUTDOWN-ACK, other tag" => (end.local_tag ^ 1, 0),
        _ => (end.local_tag, if matches!(kind, 0 | 64) { 3 } else { 0 }),
    };
    forge(tag, &[(ChunkType(kind), flags, &value)])
}

/// A row of the table: the chunk, and a cell for each state.
type Row = (&'static str, [&'static str; 9]);

/// Columns: Closed, CookieWait, CookieEchoed, Established, ShutdownPending, ShutdownSent, ShutdownReceived,
/// ShutdownAckSent, Ended (by ABORT). In ShutdownPending and ShutdownReceived there is data in flight. In Closed and
/// Ended §8.4 holds: "ABORT/T" is its rule 8.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    // §6: taken in three states; otherwise there is nobody yet to take it, or it can only be a repetition. §9.2: in
    // ShutdownSent it is answered with SHUTDOWN.
    ("DATA",                   ["ABORT/T", "-", "-", "SACK", "SACK", "SACK SHUTDOWN", "-", "-", "ABORT/T"]),
    // §6.5: acknowledged and reported.
    ("DATA, stream 65535",     ["ABORT/T", "-", "-", "SACK ERROR", "SACK ERROR", "SACK ERROR SHUTDOWN", "-", "-", "ABORT/T"]),
    // §6.2
    ("DATA, empty",            ["ABORT/T", "-", "-", "ABORT >Ended", "ABORT >Ended", "ABORT >Ended", "-", "-", "ABORT/T"]),
    ("DATA, short",            ["ABORT/T", "-", "-", "ABORT >Ended", "ABORT >Ended", "ABORT >Ended", "-", "-", "ABORT/T"]),
    // §5.1 B, §5.2.1, §5.2.2; §9.2 in ShutdownAckSent; after the end there will be no association.
    ("INIT",                   ["INIT-ACK", "INIT-ACK", "INIT-ACK", "INIT-ACK", "INIT-ACK", "INIT-ACK", "INIT-ACK", "S-ACK", "ABORT"]),
    // §8.5.1 A, and §3.3.2 for the rest.
    ("INIT, own tag",          ["-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("INIT, tag 0 in it",      ["-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("INIT, no streams",       ["ABORT", "ABORT", "ABORT", "ABORT", "ABORT", "ABORT", "ABORT", "S-ACK", "ABORT"]),
    ("INIT, window 1499",      ["ABORT", "ABORT", "ABORT", "ABORT", "ABORT", "ABORT", "ABORT", "S-ACK", "ABORT"]),
    ("INIT, short",            ["-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    // §5.1 C, §5.2.3
    ("INIT-ACK",               ["ABORT/T", "ECHO >CookieEchoed", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    // §3.3.3
    ("INIT-ACK, tag 0 in it",  ["ABORT/T", "ABORT/T >Ended", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("INIT-ACK, no streams",   ["ABORT/T", "ABORT >Ended", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("INIT-ACK, window 1499",  ["ABORT/T", "ABORT", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("INIT-ACK, no cookie",    ["ABORT/T", "ABORT >Ended", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("SACK",                   ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("SACK, never sent",       ["ABORT/T", "-", "-", "ABORT >Ended", "ABORT >Ended", "-", "ABORT >Ended", "-", "ABORT/T"]),
    ("SACK, short",            ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    // §8.3
    ("HEARTBEAT",              ["ABORT/T", "-", "-", "HB-ACK", "HB-ACK", "HB-ACK", "HB-ACK", "HB-ACK", "ABORT/T"]),
    ("HEARTBEAT-ACK",          ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    // §8.5.1 B: our tag without T, or the peer's with it. "/T" has the peer's tag, ", T" has ours.
    ("ABORT",                  ["-", ">Ended", ">Ended", ">Ended", ">Ended", ">Ended", ">Ended", ">Ended", "-"]),
    ("ABORT/T",                ["-", "-", ">Ended", ">Ended", ">Ended", ">Ended", ">Ended", ">Ended", "-"]),
    ("ABORT, T",               ["-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("ABORT, reflected",       ["-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    // §9.2
    ("SHUTDOWN",               ["ABORT/T", "-", "-", "S-ACK >ShutdownAckSent", ">ShutdownReceived", "S-ACK >ShutdownAckSent", "-", "S-ACK", "ABORT/T"]),
    // As SHUTDOWN: pion and sctp-proto send it so.
    ("SHUTDOWN, never sent",   ["ABORT/T", "-", "-", "S-ACK >ShutdownAckSent", ">ShutdownReceived", "S-ACK >ShutdownAckSent", "-", "S-ACK", "ABORT/T"]),
    ("SHUTDOWN, short",        ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    // §8.4 rule 5, §8.5.1 E, §9.2
    ("SHUTDOWN-ACK",           ["COMPLETE/T", "COMPLETE/T", "COMPLETE/T", "-", "-", "COMPLETE >Ended", "-", "COMPLETE >Ended", "COMPLETE/T"]),
    ("SHUTDOWN-ACK, other tag",["COMPLETE/T", "COMPLETE/T", "COMPLETE/T", "-", "-", "-", "-", "-", "COMPLETE/T"]),
    ("ERROR",                  ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    // §5.2.6, §8.4 rule 7
    ("ERROR, stale cookie",    ["-", "-", "INIT >CookieWait", "-", "-", "-", "-", "-", "-"]),
    // §5.1.5 step 2; genuine ones are in the table of §5.2.4.
    ("COOKIE-ECHO, forged",    ["-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    // §5.1 E, §5.2.5, §8.4 rule 7
    ("COOKIE-ACK",             ["-", "-", ">Established", "-", "-", "-", "-", "-", "-"]),
    // §8.5.1 C, and only in ShutdownAckSent.
    ("COMPLETE",               ["-", "-", "-", "-", "-", "-", "-", ">Ended", "-"]),
    ("COMPLETE/T",             ["-", "-", "-", "-", "-", "-", "-", ">Ended", "-"]),
    ("COMPLETE, T",            ["-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    // RFC 8260 §2.2.3: not agreed here, so a violation.
    ("I-DATA",                 ["ABORT/T", "-", "-", "ABORT >Ended", "ABORT >Ended", "ABORT >Ended", "-", "-", "ABORT/T"]),
    ("I-FORWARD-TSN",          ["ABORT/T", "-", "-", "ABORT >Ended", "ABORT >Ended", "ABORT >Ended", "ERROR", "ERROR", "ABORT/T"]),
    // RFC 3758 §3.6
    ("FORWARD-TSN",            ["ABORT/T", "-", "-", "SACK", "SACK", "SACK", "-", "-", "ABORT/T"]),
    ("FORWARD-TSN, short",     ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    // RFC 6525 §5.2.1
    ("RE-CONFIG",              ["ABORT/T", "-", "-", "SACK RE-CONFIG", "SACK RE-CONFIG", "SACK RE-CONFIG", "SACK RE-CONFIG", "SACK RE-CONFIG", "ABORT/T"]),
    ("RE-CONFIG, short",       ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    // Reserved, or not announced: by the high bits of the type (§3.2). 00 and 10 are silent, 01 and 11 reported.
    ("ECNE",                   ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("CWR",                    ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("AUTH",                   ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("NR-SACK",                ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("type 0x3f",              ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("type 0x7f",              ["ABORT/T", "-", "-", "ERROR", "ERROR", "ERROR", "ERROR", "ERROR", "ABORT/T"]),
    ("ASCONF-ACK",             ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("PAD",                    ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("type 0xbf",              ["ABORT/T", "-", "-", "-", "-", "-", "-", "-", "ABORT/T"]),
    ("ASCONF",                 ["ABORT/T", "-", "-", "ERROR", "ERROR", "ERROR", "ERROR", "ERROR", "ABORT/T"]),
    ("type 0xff",              ["ABORT/T", "-", "-", "ERROR", "ERROR", "ERROR", "ERROR", "ERROR", "ABORT/T"]),
];

#[test]
fn every_chunk_does_in_every_state_what_the_table_says() {
    let mut wrong = Vec::new();
    for (row, cells) in TABLE {
        for (state, expected) in STATES.into_iter().zip(cells) {
            let mut pair = in_state(state);
            let packet = packet(&pair.ends[A], row);
            let got = outcome(&mut pair, &packet);
            if got != *expected {
                wrong.push(format!("{row} in {state:?}: {got}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn all_types_of_chunks_are_in_the_table() {
    let end = in_state(State::Established);
    let kinds: Vec<u8> =
        TABLE.iter().map(|(row, _)| raw_chunks(&packet(&end.ends[A], row))[0].kind.0).collect();
    for kind in (0..=16).chain([64, 128, 130, 132, 192, 193, 194]) {
        assert!(kinds.contains(&kind), "{kind}");
    }
}

#[test]
fn a_set_t_bit_and_our_own_tag_do_not_stop_the_rest_of_the_packet() {
    let mut pair = in_state(State::Established);
    let heartbeat: &[u8] = &[0, 1, 0, 4];
    pair.inject(A, &[(ChunkType::ABORT, FLAG_T, &[]), (ChunkType::HEARTBEAT, 0, heartbeat)]);
    pair.drain();
    assert_eq!(pair.sent[A], [[ChunkType::HEARTBEAT_ACK]]);
}

#[test]
fn a_packet_out_of_the_blue_is_looked_through_for_an_abort() {
    for (rest, answer) in [
        ((ChunkType::ABORT, 0, &[][..]), "-"),
        ((ChunkType::COOKIE_ACK, 0, &[]), "-"),
        ((ChunkType::SHUTDOWN_ACK, 0, &[]), "COMPLETE/T"),
        ((ChunkType::HEARTBEAT, 0, &[]), "ABORT/T"),
    ] {
        let mut pair = in_state(State::Ended);
        let packet = pair.forge(A, &[(ChunkType::SACK, 0, &[0; 12]), rest]);
        assert_eq!(outcome(&mut pair, &packet), answer);
    }
}
