//! Back-pressure, in virtual time: what is taken, what is refused, what is said of it, and who waits for whom.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_netsim::LinkConfig;
use sinnet_peer::{ChannelKey, ChannelOptions, ChannelState, Config, Event, Message, TrySendError};
use sinnet_stack_tests::World;

const MINUTE: Duration = Duration::from_secs(60);

/// `SINNET_SEED` if it is set, and it is printed in any case.
fn seed(default: u64) -> u64 {
    let seed = std::env::var("SINNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
    println!("SINNET_SEED={seed}");
    seed
}

/// 20 Mbit/s, and a round trip of 20 ms.
fn link() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(10), rate: Some(20_000_000), ..LinkConfig::default() }
}

fn labelled(label: &str) -> ChannelOptions {
    ChannelOptions { label: label.to_owned(), ..ChannelOptions::default() }
}

fn tight(config: &mut Config) {
    config.send_buffer = 128 * 1024;
    config.receive_buffer = 256 * 1024;
    config.max_message_size = 64 * 1024;
}

/// Sends from `a` until there is no more room; how many bytes were taken.
fn fill(world: &mut World, key: ChannelKey, len: usize) -> usize {
    let mut taken = 0;
    while world.a.peer.try_send(world.now, key, vec![7; len].into()).is_ok() {
        taken += len;
    }
    taken
}

#[test]
fn a_full_channel_gives_the_message_back_and_is_told_of_room_by_its_name() {
    let mut world = World::with_config(seed(0x81), link(), tight);
    world.connect();
    let (full, full_b) = world.channel(labelled("full"));
    let (other, _) = world.channel(labelled("other"));
    world.run_for(Duration::from_millis(100));
    world.a.events.clear();
    fill(&mut world, full, 10_000);
    let message = Message::from("not now".repeat(2_000));
    assert_eq!(world.a.peer.try_send(world.now, full, message.clone()), Err(TrySendError::Full(message)));
    assert!(!world.a.peer.has_room_for(full, 14_000) && world.a.peer.has_room_for(other, 64 * 1024));
    assert!(world.a.peer.try_send(world.now, other, "now".into()).is_ok());
    let told = world.run_until(MINUTE, |world| {
        while world.b.peer.recv(full_b).is_some() {}
        world.a.events.iter().any(|event| matches!(event, Event::Writable(_)))
    });
    assert!(told);
    assert!(world.a.events.iter().all(|event| !matches!(event, Event::Writable(key) if *key != full)));
    assert!(world.a.peer.has_room_for(full, 14_000), "what was refused fits");
}

#[test]
fn the_buffered_amount_counts_payload_and_neither_the_open_nor_what_stands_for_nothing() {
    let mut world = World::with_config(seed(0x82), link(), tight);
    world.connect();
    world.channel(labelled("first"));
    let key = world.a.peer.open_channel(world.now, labelled(&"long ".repeat(1_000))).unwrap();
    assert_eq!(world.a.peer.channel_state(key), ChannelState::Open);
    assert_eq!(world.a.peer.buffered_amount(key), 0, "the OPEN waits, but is nothing of the application's");
    for (message, amount) in [("", 0), ("ä", 2), ("", 2), ("four", 6)] {
        world.a.peer.try_send(world.now, key, message.into()).unwrap();
        assert_eq!(world.a.peer.buffered_amount(key), amount);
    }
    assert!(!world.a.peer.is_flushed(key));
    world.flush();
    assert_eq!(world.a.peer.buffered_amount(key), 0);
    assert!(world.a.take(|event| matches!(event, Event::Flushed(k) if *k == key)).is_some());
}

#[test]
fn channels_that_are_full_all_the_time_share_by_priority_and_a_quiet_one_is_served_at_once() {
    let mut world = World::with_config(seed(0x83), link(), |_| {});
    world.connect();
    let mut channels = Vec::new();
    for priority in [128, 256, 512, 1024] {
        let (ours, theirs) = world.channel(ChannelOptions { priority, ..labelled("bulk") });
        channels.push((ours, theirs));
    }
    let (quiet, quiet_b) = world.channel(labelled("quiet"));
    let mut got = [0usize; 4];
    let mut latencies = Vec::new();
    let mut asked = world.now;
    let begin = world.now;
    let end = begin + Duration::from_secs(12);
    let mut room: HashSet<ChannelKey> = channels.iter().map(|(ours, _)| *ours).collect();
    while world.now < end && world.step() {
        room.extend(world.a.events.drain(..).filter_map(|event| match event {
            Event::Writable(key) => Some(key),
            _ => None,
        }));
        // A message each in turn, so that none gets a start.
        while !room.is_empty() {
            room.retain(|key| world.a.peer.try_send(world.now, *key, vec![1; 16_000].into()).is_ok());
        }
        world.b.events.clear();
        for (got, (_, theirs)) in got.iter_mut().zip(&channels) {
            while let Some(message) = world.b.peer.recv(*theirs) {
                if world.now > begin + Duration::from_secs(3) {
                    *got += message.len();
                }
            }
        }
        if world.b.peer.recv(quiet_b).is_some() {
            latencies.push(world.now - asked);
        }
        if world.now > asked + Duration::from_millis(200) {
            asked = world.now;
            world.a.peer.try_send(world.now, quiet, "ping".into()).expect("a quiet channel has room");
        }
    }
    let total = got.iter().sum::<usize>() as f64;
    for (got, want) in got.iter().zip([1.0, 2.0, 4.0, 8.0]) {
        let share = *got as f64 / total * 15.0;
        assert!((share / want - 1.0).abs() < 0.1, "{got:?} is {share:.2} of 15, not {want}");
    }
    assert!(total > 0.8 * 9.0 * 20e6 / 8.0, "the link is full: {total}");
    latencies.sort_unstable();
    let median = latencies[latencies.len() / 2];
    assert!(latencies.len() > 40 && median < Duration::from_millis(150), "{median:?}");
}

#[test]
fn an_unread_channel_closes_the_one_window_and_dropping_it_opens_it_again() {
    let mut world = World::with_config(seed(0x84), link(), tight);
    world.connect();
    let (unread, unread_b) = world.channel(labelled("unread"));
    let (read, read_b) = world.channel(labelled("read"));
    let (mut given, mut arrived) = (HashMap::from([(unread, 0), (read, 0)]), 0);
    for _ in 0..2_000 {
        for key in [unread, read] {
            *given.get_mut(&key).unwrap() += fill(&mut world, key, 10_000);
        }
        world.step();
        while let Some(message) = world.b.peer.recv(read_b) {
            arrived += message.len();
        }
    }
    // RFC 9260 has one window for all streams. What is unread stays within the buffer, on either side.
    let b = world.b.peer.stats().sctp;
    assert!(b.a_rwnd < 20_000, "{b:?}");
    let kept = given[&unread] - world.a.peer.buffered_amount(unread);
    assert!(kept > 100_000 && kept <= 256 * 1024, "{kept} bytes of the unread one were sent");
    assert!(given[&unread] <= (256 + 128 + 64) * 1024, "{given:?}");
    let stuck = arrived;
    world.run_for(Duration::from_secs(5));
    assert!(world.b.peer.recv(read_b).is_none(), "the other one waits, too");
    // Who lets go of a channel lets the others go on.
    world.b.peer.release_channel(world.now, unread_b);
    assert!(world.run_until(MINUTE, |world| {
        fill(world, read, 10_000);
        while let Some(message) = world.b.peer.recv(read_b) {
            arrived += message.len();
        }
        arrived > stuck + 2_000_000
    }));
    assert_eq!(world.a.peer.channel_state(unread), ChannelState::Closed);
}

#[test]
fn a_channels_own_limit_holds_for_channels_of_either_side() {
    let mut world = World::with_config(seed(0x85), link(), |config| config.channel_send_buffer = 50_000);
    world.connect();
    let (ours, theirs) = world.channel(labelled("any"));
    world.run_for(Duration::from_millis(100));
    let limit = |taken: usize| (45_000..=50_000).contains(&taken);
    let taken = fill(&mut world, ours, 1_000);
    assert!(limit(taken * 14 / 10), "{taken}, and 392 for each");
    let mut taken = 0;
    while world.b.peer.try_send(world.now, theirs, vec![1; 10_000].into()).is_ok() {
        taken += 10_000;
    }
    assert_eq!(taken, 40_000);
    world.b.peer.set_channel_send_buffer(theirs, 500_000);
    world.flush();
    assert!(world.b.take(|event| matches!(event, Event::Writable(key) if *key == theirs)).is_some());
    assert!(world.b.peer.try_send(world.now, theirs, vec![1; 10_000].into()).is_ok());
    // Before a channel has its stream, too.
    let mut rng = StdRng::seed_from_u64(seed(0x86));
    let mut early = World::with_config(rng.random(), link(), |_| {});
    let key = early.a.peer.open_channel(early.now, labelled("early")).unwrap();
    early.a.peer.set_channel_send_buffer(key, 20_000);
    early.connect();
    early.run_for(Duration::from_millis(100));
    assert_eq!(fill(&mut early, key, 1_000), 14_000);
}
