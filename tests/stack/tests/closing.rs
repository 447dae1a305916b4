//! What is accepted is delivered, and what is closed stays apart from what comes after it: ids used again, full
//! buffers, both sides closing.

use std::time::Duration;

use bytes::Bytes;
use sinnet_netsim::{LinkConfig, seed};
use sinnet_peer::{ChannelKey, ChannelOptions, ChannelState, CloseReason, Message, TrySendError};
use sinnet_stack_tests::{End, World};

const MINUTE: Duration = Duration::from_secs(60);

fn lan() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(10), ..LinkConfig::default() }
}

fn labelled(label: &str) -> ChannelOptions {
    ChannelOptions { label: label.to_owned(), ..ChannelOptions::default() }
}

fn block(len: usize) -> Message {
    Message::Binary(Bytes::from(vec![7; len]))
}

/// Sends until the buffer is full; tells how many were taken.
fn fill(end: &mut End, now: std::time::Instant, key: ChannelKey, len: usize) -> usize {
    let mut taken = 0;
    loop {
        match end.peer.try_send(now, key, block(len)) {
            Ok(()) => taken += 1,
            Err(TrySendError::Full(_)) => return taken,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn both_sides_closing_at_any_distance_deliver_what_both_have_accepted() {
    for gap_ms in [0, 1, 9, 10, 11, 15, 20, 25, 30, 50, 100] {
        let link = LinkConfig { rate: Some(20_000_000), ..lan() };
        let mut world = World::new(seed(0x65), link);
        world.connect();
        let (ours, theirs) = world.channel(labelled("both"));
        for i in 0..100u32 {
            world.a.peer.try_send(world.now, ours, Message::from(i.to_string())).unwrap();
            world.b.peer.try_send(world.now, theirs, block(10_000)).unwrap();
        }
        world.a.peer.close(world.now);
        world.run_for(Duration::from_millis(gap_ms));
        world.b.peer.close(world.now);
        let ended =
            world.run_until(MINUTE, |world| world.a.peer.is_finished() && world.b.peer.is_finished());
        assert!(ended, "gap {gap_ms} ms");
        let at_a = std::iter::from_fn(|| world.a.peer.recv(ours)).count();
        let at_b = std::iter::from_fn(|| world.b.peer.recv(theirs)).count();
        assert_eq!((at_a, at_b), (100, 100), "gap {gap_ms} ms");
        assert!(matches!(world.a.closed(), Some(CloseReason::Local)), "{:?}", world.a.closed());
        assert!(world.b.closed().is_some_and(CloseReason::is_orderly), "{:?}", world.b.closed());
    }
}
