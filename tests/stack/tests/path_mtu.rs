//! The size of datagrams follows the path: found by probes, and given up when the path takes less.

use std::time::Duration;

use sinnet_netsim::{LinkConfig, seed};
use sinnet_peer::{ChannelKey, ChannelOptions, Message, TrySendError};
use sinnet_stack_tests::World;

const MINUTE: Duration = Duration::from_secs(60);

fn link(mtu: usize) -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(5),
        rate: Some(40_000_000),
        queue: 100_000,
        mtu,
        ..LinkConfig::default()
    }
}

fn large_world(number: u64, mtu: usize) -> World {
    World::with_config(seed(number), link(mtu), |config| config.max_mtu = 8952)
}

/// Sends so much through a channel and takes it out at the other end.
fn transfer(world: &mut World, (ours, theirs): (ChannelKey, ChannelKey), bytes: usize) {
    let message = Message::Binary(vec![7; 50_000].into());
    let (mut sent, mut got) = (0, 0);
    let done = world.run_until(MINUTE, |world| {
        while sent < bytes {
            match world.a.peer.try_send(world.now, ours, message.clone()) {
                Ok(()) => sent += 50_000,
                Err(TrySendError::Full(_)) => break,
                Err(error) => panic!("{error:?}"),
            }
        }
        while let Some(received) = world.b.peer.recv(theirs) {
            assert!(received == message);
            got += 50_000;
        }
        got >= bytes
    });
    assert!(done, "{got} of {bytes} bytes; {:?}", world.a.peer.stats().sctp);
}

#[test]
fn datagrams_grow_to_what_the_path_takes() {
    for (mtu, packet) in [(1228, 1160), (1400, 1332), (1500, 1412), (9000, 8912)] {
        let mut world = large_world(0x1e, mtu);
        world.connect();
        let channel = world.channel(ChannelOptions::default());
        world.run_for(Duration::from_secs(20));
        transfer(&mut world, channel, 1_000_000);
        let sctp = world.a.peer.stats().sctp;
        assert_eq!((sctp.packet_size, sctp.black_holes), (packet, 0), "a link of {mtu}");
        assert!(sctp.size_probes_sent <= 14, "{sctp:?}");
        // And back: nothing above the link's size but probes was ever sent.
        let lost = world.net.stats(world.a.addr.ip(), world.b.addr.ip()).too_big;
        assert_eq!(lost, sctp.size_probes_lost, "a link of {mtu}");
    }
}

#[test]
fn by_default_no_datagram_is_larger_than_what_chromium_takes() {
    let mut world = World::new(seed(0x23), link(9000));
    world.net.set_filter(|_, datagram| {
        assert!(datagram.payload.len() <= 1452);
        true
    });
    world.connect();
    let channel = world.channel(ChannelOptions::default());
    world.run_for(Duration::from_secs(5));
    transfer(&mut world, channel, 500_000);
    assert_eq!(world.a.peer.stats().sctp.packet_size, 1412);
}

#[test]
fn batches_have_the_size_that_was_found() {
    let mut world = large_world(0x1f, 9000);
    world.connect();
    let (ours, _) = world.channel(ChannelOptions::default());
    world.run_for(Duration::from_secs(1));
    world.a.peer.try_send(world.now, ours, Message::Binary(vec![7; 100_000].into())).unwrap();
    let mut buf = vec![0; 65_507];
    let batch = world.a.peer.poll_transmit(world.now, 54, &mut buf).expect("data to send");
    assert_eq!(batch.segment_size, Some(8912 + 37));
    assert!(batch.size > 8949);
}

#[test]
fn a_transfer_survives_a_link_that_shrinks_under_it() {
    for (from, to, packet) in [(1500, 1300, 1160), (9000, 1500, 1412), (9000, 1240, 1160)] {
        let mut world = large_world(0x20, from);
        world.connect();
        let channel = world.channel(ChannelOptions::default());
        transfer(&mut world, channel, 5_000_000);
        let (a, b) = (world.a.addr.ip(), world.b.addr.ip());
        world.net.set_link(a, b, link(to));
        let before = world.now;
        transfer(&mut world, channel, 5_000_000);
        // A second is what the link takes for as much.
        assert!(world.now - before < Duration::from_secs(3), "{:?}", world.now - before);
        world.run_for(Duration::from_secs(15));
        let sctp = world.a.peer.stats().sctp;
        assert_eq!((sctp.packet_size, sctp.black_holes), (packet, 1), "{sctp:?}");
    }
}

#[test]
fn a_path_that_takes_next_to_nothing_connects_and_carries() {
    let mut world = large_world(0x21, 576);
    world.connect();
    let channel = world.channel(ChannelOptions::default());
    transfer(&mut world, channel, 1_000_000);
    assert_eq!(world.a.peer.stats().sctp.packet_size, 508);
}

#[test]
fn what_the_system_refuses_is_given_up_at_once() {
    let mut world = large_world(0x22, 1500);
    world.connect();
    let _ = world.channel(ChannelOptions::default());
    world.run_for(Duration::from_millis(200));
    // Ethernet's size is found; the largest has been sent, and is refused.
    let now = world.now;
    for packet in [8912, 3912] {
        world.a.peer.datagrams_refused(now, packet + 37);
        world.flush();
    }
    let sctp = world.a.peer.stats().sctp;
    assert_eq!((sctp.packet_size, sctp.size_probes_sent, sctp.size_probes_lost), (1412, 4, 2));
}
