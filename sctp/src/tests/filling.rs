//! Packets of small messages are filled up, so that many of one size go in a batch, for peers that pass over padding.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::wire::data::{FLAG_BEGIN, FLAG_END};

/// What one packet with data was: its length, whether it has padding, and how many of its chunks are parts of messages.
#[derive(Clone, Copy, Debug)]
struct Seen {
    len: usize,
    padded: bool,
    parts: usize,
}

fn look(packet: &[u8]) -> Option<Seen> {
    let data: Vec<_> = raw_chunks(packet).into_iter().filter(|chunk| chunk.kind == ChunkType::DATA).collect();
    let is_part = |chunk: &&RawChunk<'_>| chunk.flags & (FLAG_BEGIN | FLAG_END) != FLAG_BEGIN | FLAG_END;
    let seen = || Seen {
        len: packet.len(),
        padded: has(packet, ChunkType::PAD),
        parts: data.iter().filter(is_part).count(),
    };
    (!data.is_empty()).then(seen)
}

/// The packets that A makes of so many messages of this size, queued at once; all of them arrive. `answers`: whether Z lets
/// A know that it got a probe.
fn packets(size: usize, messages: usize, answers: bool) -> (Vec<Seen>, usize) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut pair = Pair::new(Config { mtu: 1160, max_mtu: 1412, ..roomy() });
    let log = seen.clone();
    pair.script = Box::new(move |side, packet| {
        log.borrow_mut().extend(look(packet));
        match side == A || answers || !has(packet, ChunkType::HEARTBEAT_ACK) {
            true => Fate::Deliver,
            false => Fate::Drop,
        }
    });
    pair.connect();
    pair.run_for(ms(500));
    (0..messages).for_each(|_| pair.send(A, 1, &vec![7; size]));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.recv_all(Z, 1), vec![vec![7; size]; messages]);
    let packet_size = pair.ends[A].packet_size();
    drop(pair);
    (Rc::into_inner(seen).expect("the pair has gone").into_inner(), packet_size)
}

#[test]
fn all_packets_of_small_messages_but_the_last_have_one_size() {
    for size in [1, 33, 100, 250, 700, 1024] {
        let (packets, packet_size) = packets(size, 300, true);
        let (last, full) = packets.split_last().expect("packets");
        let odd = full.iter().filter(|packet| packet.len != packet_size).count();
        // The congestion window may end a flight.
        assert!(odd * 10 < packets.len(), "{size}: {odd} of {}", packets.len());
        assert!(!last.padded, "nothing follows it");
    }
}

#[test]
fn a_small_message_is_padded_around_and_a_large_one_is_cut() {
    let (small, _) = packets(60, 300, true);
    assert_eq!(small.iter().map(|packet| packet.parts).sum::<usize>(), 0, "76 bytes each with the header");
    assert!(small.iter().any(|packet| packet.padded));
    let (large, packet_size) = packets(1024, 300, true);
    assert!(large.iter().any(|packet| packet.parts > 0));
    let wire: usize = large.iter().map(|packet| packet.len).sum();
    assert!(wire < 300 * (1024 + 60), "{wire} bytes in packets of {packet_size}: little of it is padding");
}

#[test]
fn nobody_gets_padding_who_has_not_shown_that_it_is_passed_over() {
    let (packets, _) = packets(100, 300, false);
    assert!(packets.iter().all(|packet| !packet.padded), "{packets:?}");
}
