//! What is charged, against what the allocator has given out.

use allocation_counter::measure;

use super::*;
use crate::rx::{PacketNotes, Receiver};
use crate::stats::Stats;
use crate::types::{Mid, Tsn};
use crate::wire::data::DataChunk;
use crate::wire::i_data::IDataChunk;

const B: u8 = 2;
const E: u8 = 1;
const U: u8 = 4;

/// Chunks to take in.
#[derive(Clone, Copy)]
enum Kind {
    Data,
    IData,
}

/// A chunk: TSN, stream, SSN or MID, FSN, flags; its payload is one byte.
type Chunk = (u32, u16, u32, u32, u8);

struct Taken {
    receiver: Receiver,
    /// Bytes allocated and not given back.
    allocated: usize,
}

/// Lets a receiver take the chunks, and reads streams below `read`.
fn take(kind: Kind, chunks: impl Iterator<Item = Chunk>, read: u16) -> Taken {
    let config = roomy();
    let interleaving = matches!(kind, Kind::IData);
    let mut receiver = Receiver::new(&config, Tsn(0), u16::MAX, interleaving);
    let (mut notes, mut stats) = (PacketNotes::default(), Stats::default());
    let allocations = measure(|| {
        for (tsn, stream, number, fsn, flags) in chunks {
            let (tsn, stream, ppid, payload) = (Tsn(tsn), StreamId(stream), Ppid(53), &[7][..]);
            let taken = match kind {
                Kind::Data => {
                    let ssn = Mid(number).ssn();
                    let chunk = DataChunk { flags, tsn, stream, ssn, ppid, payload };
                    receiver.on_data(&chunk, &mut notes, &mut stats)
                }
                Kind::IData => {
                    let chunk = IDataChunk { flags, tsn, stream, mid: Mid(number), ppid, fsn, payload };
                    receiver.on_i_data(&chunk, &mut notes, &mut stats)
                }
            };
            assert_eq!(taken, Ok(()));
        }
        for stream in 0..read {
            while receiver.recv(StreamId(stream)).is_some() {}
        }
    });
    assert_eq!(stats.dropped_data_no_room, 0);
    Taken { receiver, allocated: usize::try_from(allocations.bytes_current).expect("not negative") }
}

/// What the documentation of the crate allows besides what is charged.
fn allowed(streams: usize) -> usize {
    // Tables that grow by doubling; those of the ids; those of the streams that were active last; the gaps.
    2 * streams * 96 + (256 << 10) + (400 << 10) + (256 << 10)
}

fn assert_charged(name: &str, kind: Kind, streams: usize, chunks: impl Iterator<Item = Chunk>) {
    let taken = take(kind, chunks, 0);
    let held = taken.receiver.held();
    let allocated = taken.allocated;
    println!("{name}: {allocated} allocated, {held} charged");
    assert!(allocated <= held + allowed(streams), "{name}: {allocated} allocated, {held} charged");
}

#[test]
fn the_charge_is_no_less_than_what_is_held_whatever_the_pattern() {
    const N: u32 = 40_000;
    let stream = |i: u32| (i % 65_535) as u16;
    use Kind::{Data, IData};
    assert_charged("messages of a byte", Data, 1, (0..N).map(|i| (i, 0, i, 0, B | E)));
    assert_charged("a message per stream", Data, 40_000, (0..N).map(|i| (i, stream(i), 0, 0, B | E)));
    assert_charged(
        "a message per stream that waits",
        Data,
        40_000,
        (0..N).map(|i| (i, stream(i), 1, 0, B | E)),
    );
    assert_charged("messages that wait", IData, 1, (0..N).map(|i| (i, 0, i + 1, 0, B | E)));
    assert_charged("one message in bytes", Data, 1, (0..N).map(|i| (i, 0, 0, 0, if i == 0 { B } else { 0 })));
    assert_charged("beginnings", IData, 40_000, (0..N).map(|i| (i, stream(i), 0, 0, B)));
    assert_charged(
        "both beginnings",
        IData,
        20_000,
        (0..N).map(|i| (i, stream(i / 2), 0, 0, B | (i % 2 * 4) as u8)),
    );
    // Each second byte, and then those between them.
    let halves = (0..1000).map(|i| 2 * i).chain((0..1000).map(|i| 2 * i + 1));
    let flags = |fsn: u32| if fsn == 0 { B } else { 0 };
    assert_charged("a message in halves", Data, 1, halves.clone().map(|i| (i, 0, 0, i, flags(i))));
    let fsns = halves.clone().map(|i| (i, 0, 0, i, flags(i)));
    assert_charged("a message in halves", IData, 1, fsns.clone());
    assert_charged("its first half", IData, 1, fsns.take(1000));
    // Many rows on a stream, merged before the next stream begins.
    let merged = (0..100).flat_map(|id: u32| (0..300).map(move |i| (id, (i * 7) % 300)));
    let merged = merged.map(|(id, fsn)| (id * 300 + fsn, id as u16, 0, fsn, if fsn == 0 { B } else { 0 }));
    assert_charged("rows that merged", IData, 100, merged);
}

#[test]
fn what_was_read_is_given_back() {
    const N: u32 = 60_000;
    fn boxed(chunks: impl Iterator<Item = Chunk> + 'static) -> Box<dyn Iterator<Item = Chunk>> {
        Box::new(chunks)
    }
    for (name, streams, chunks) in [
        ("one stream", 1, boxed((0..N).map(|i| (i, 0, i, 0, B | E)))),
        ("streams in turn", 60, boxed((0..N).map(|i| (i, (i / 1000) as u16, i % 1000, 0, B | E)))),
        ("all streams", 60_000, boxed((0..N).map(|i| (i, i as u16, 0, 0, B | E | U)))),
    ] {
        let taken = take(Kind::IData, chunks, streams);
        assert_eq!(taken.receiver.held(), 0, "{name}");
        let (allocated, allowed) = (taken.allocated, allowed(usize::from(streams)));
        println!("{name}: {allocated} of {allowed} allowed");
        assert!(allocated <= allowed, "{name}: {allocated}");
    }
}

#[test]
fn the_send_buffer_counts_what_small_messages_take() {
    let mut pair = Pair::connected(roomy());
    pair.script = Box::new(|_, _| Fate::Drop);
    let message = Bytes::from_static(b"x");
    let mut used = 0;
    let before = pair.ends[A].send_capacity(StreamId(1));
    let allocations = measure(|| {
        for i in 0..20_000u16 {
            let options = SendOptions::default();
            pair.ends[A].send(pair.now, StreamId(i % 7), Ppid(53), message.clone(), options).expect("room");
        }
        used = before - pair.ends[A].send_capacity(StreamId(1));
        let mut out = [0; 1160];
        // Some of it is sent.
        for _ in 0..5 {
            pair.ends[A].handle_timeout(pair.now + Duration::from_secs(5));
            while pair.ends[A].poll_transmit(pair.now, &mut out).is_some() {}
        }
    });
    let allocated = usize::try_from(allocations.bytes_current).expect("not negative");
    println!("{allocated} allocated, {used} charged");
    assert!(allocated <= used, "{allocated} allocated, {used} charged");
}

#[test]
fn an_idle_association_is_small() {
    let mut pair = None;
    let allocations = measure(|| pair = Some(Pair::connected(Config::default())));
    let pair = pair.expect("made");
    println!("{} for two, {} each by itself", allocations.bytes_current, size_of_val(&pair.ends[A]));
    assert!(allocations.bytes_current < 40_000, "{}", allocations.bytes_current);
}
