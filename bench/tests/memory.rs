//! How much memory an idle connection holds: both ends have exchanged a message, and nothing is on its way.

use allocation_counter::measure;
use bytes::Bytes;
use sinnet_bench::stack::{Buffer, Pair, certificate};

/// Bytes that an idle connection may hold without its handles and its place in the driver.
const LIMIT: u64 = 15 * 1024;

/// Pairs that are measured.
const PAIRS: u32 = 16;

#[test]
fn an_idle_connection_holds_little_memory() {
    let certificate = certificate();
    let mut buffer = Buffer::default();
    let mut make = |number| {
        let mut pair = Pair::new(&certificate, number, 1, None, |_| {});
        for _ in 0..3 {
            pair.turn(&mut buffer, &Bytes::from_static(&[7; 64]), 1);
        }
        pair
    };
    // What is made once is not counted.
    let first = make(0);
    let mut pairs = Vec::with_capacity(PAIRS as usize);
    let held = measure(|| pairs.extend((1..=PAIRS).map(&mut make)));
    let heap = held.bytes_current as u64 / u64::from(2 * PAIRS);
    let core = size_of::<sinnet_peer::Peer>() as u64;
    let bytes = heap + core;
    let count = held.count_current as u64 / u64::from(2 * PAIRS);
    println!("{bytes} bytes for each connection: {core} of the core itself, {heap} in {count} allocations");
    assert!(bytes <= LIMIT, "{bytes} bytes");
    drop((first, pairs));
}
