//! The ends of channels and connections, in virtual time: nothing that was accepted is lost, everybody hears of the end
//! once, and the reasons are told apart.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_netsim::{LinkConfig, Loss};
use sinnet_peer::{
    ChannelKey, ChannelOptions, ChannelState, CloseReason, ConnectionState, Event, Message, TrySendError,
};
use sinnet_stack_tests::{End, World};

const MINUTE: Duration = Duration::from_secs(60);

/// `SINNET_SEED` if it is set, and it is printed in any case.
fn seed(default: u64) -> u64 {
    let seed = std::env::var("SINNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
    println!("SINNET_SEED={seed}");
    seed
}

fn lan() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(10), ..LinkConfig::default() }
}

fn rough(rng: &mut StdRng) -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(rng.random_range(1..30)),
        jitter: Duration::from_millis(rng.random_range(0..10)),
        loss: Loss::Bernoulli([0.0, 0.02, 0.08][rng.random_range(0..3)]),
        reorder: 0.1,
        reorder_delay: Duration::from_millis(15),
        duplicate: 0.05,
        ..LinkConfig::default()
    }
}

/// How often each channel has said each state, and what has been read of it.
#[derive(Default)]
struct Seen {
    closing: HashMap<ChannelKey, usize>,
    closed: HashMap<ChannelKey, usize>,
    read: HashMap<ChannelKey, Vec<Message>>,
    opened: Vec<ChannelKey>,
}

impl Seen {
    fn look(&mut self, end: &mut End) {
        for event in std::mem::take(&mut end.events) {
            match event {
                Event::ChannelOpened(key) => self.opened.push(key),
                Event::ChannelState(key, ChannelState::Closing) => *self.closing.entry(key).or_default() += 1,
                Event::ChannelState(key, ChannelState::Closed) => *self.closed.entry(key).or_default() += 1,
                Event::Readable(key) => {
                    while let Some(message) = end.peer.recv(key) {
                        self.read.entry(key).or_default().push(message);
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn what_is_sent_behind_an_open_and_before_a_close_arrives_and_both_sides_hear_of_the_end_once() {
    for round in 0..12 {
        let seed = seed(0x700 + round);
        let mut rng = StdRng::seed_from_u64(seed);
        let link = rough(&mut rng);
        let mut world = World::new(seed, link);
        world.connect();
        // The association is up.
        world.channel(ChannelOptions::default());
        let (mut of_a, mut of_b) = (Seen::default(), Seen::default());
        // By label: our key, what we sent, what the other side sent.
        let mut sent: HashMap<String, (ChannelKey, usize)> = HashMap::new();
        let mut answered: Vec<(ChannelKey, usize)> = Vec::new();
        for i in 0..60 {
            let label = format!("{i}");
            let options =
                ChannelOptions { label: label.clone(), ordered: rng.random(), ..ChannelOptions::default() };
            let key = world.a.peer.open_channel(world.now, options).unwrap();
            let mut count = 0;
            for n in 0..rng.random_range(0..6) {
                let len = [1, 40, 3_000, 30_000][rng.random_range(0..4)];
                match world.a.peer.try_send(world.now, key, vec![n; len].into()) {
                    Ok(()) => count += 1,
                    Err(TrySendError::Full(_)) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            world.a.peer.close_channel(world.now, key);
            world.a.peer.close_channel(world.now, key);
            assert_eq!(world.a.peer.try_send(world.now, key, "late".into()), Err(TrySendError::Closed));
            sent.insert(label, (key, count));
            let pause = Duration::from_millis(rng.random_range(0..40));
            let until = world.now + pause;
            while world.now < until && world.step() {
                of_a.look(&mut world.a);
                of_b.look(&mut world.b);
                // The other side answers as long as it may, and closes some, too.
                for key in std::mem::take(&mut of_b.opened) {
                    answered.push((key, 0));
                }
                for (key, count) in &mut answered {
                    if rng.random_ratio(1, 3)
                        && *count < 3
                        && world.b.peer.try_send(world.now, *key, "answer".into()).is_ok()
                    {
                        *count += 1;
                    }
                    if rng.random_ratio(1, 20) {
                        world.b.peer.close_channel(world.now, *key);
                    }
                }
            }
        }
        let done = world.run_until(MINUTE, |world| {
            of_a.look(&mut world.a);
            of_b.look(&mut world.b);
            for key in std::mem::take(&mut of_b.opened) {
                answered.push((key, 0));
            }
            of_a.closed.len() == 60 && of_b.closed.len() == 60
        });
        assert!(done, "{} and {} of 60 are closed", of_a.closed.len(), of_b.closed.len());
        world.run_for(Duration::from_secs(5));
        of_a.look(&mut world.a);
        of_b.look(&mut world.b);
        for seen in [&of_a, &of_b] {
            assert!(seen.closed.values().all(|times| *times == 1), "closed once: {:?}", seen.closed);
            assert!(seen.closing.values().all(|times| *times == 1), "closing once: {:?}", seen.closing);
        }
        for (key, count) in &answered {
            let label = world.b.peer.channel_options(*key).unwrap().label.clone();
            let (ours, sent) = sent[&label];
            let none = Vec::new();
            let mut got: Vec<u8> =
                of_b.read.get(key).unwrap_or(&none).iter().map(|message| message.as_bytes()[0]).collect();
            if !world.b.peer.channel_options(*key).unwrap().ordered {
                got.sort_unstable();
            }
            assert_eq!(got, (0..sent as u8).collect::<Vec<_>>(), "channel {label}");
            assert_eq!(of_a.read.get(&ours).map_or(0, Vec::len), *count, "answers on channel {label}");
        }
    }
}

#[test]
fn a_peer_that_ends_at_once_is_seen_at_once_and_its_reason_is_not_that_of_an_orderly_end() {
    let mut world = World::new(seed(0x71), lan());
    world.connect();
    let (ours, theirs) = world.channel(ChannelOptions::default());
    world.a.peer.try_send(world.now, ours, "arrived".into()).unwrap();
    world.run_for(Duration::from_millis(100));
    world.b.events.clear();
    let began = world.now;
    world.a.peer.abort(world.now, "tab closed");
    assert!(world.run_until(MINUTE, |world| world.b.closed().is_some()));
    assert!(world.now - began <= Duration::from_millis(11), "{:?}", world.now - began);
    assert!(matches!(world.b.closed(), Some(CloseReason::Aborted(Some(text))) if text == "tab closed"));
    let closed = Event::ChannelState(theirs, ChannelState::Closed);
    let at = |wanted: &str| world.b.events.iter().position(|event| format!("{event:?}").starts_with(wanted));
    assert!(at(&format!("{closed:?}")) < at("Closed("), "channels first: {:?}", world.b.events);
    assert_eq!(world.b.peer.recv(theirs), Some("arrived".into()));
    assert_eq!(world.b.peer.recv(theirs), None);
    assert_eq!(world.b.peer.connection_state(), ConnectionState::Closed);
}

#[test]
fn orderly_ends_aborts_and_losses_are_told_apart_on_both_sides() {
    type EndIt = fn(&mut World);
    let cases: [(&str, EndIt, &str, &str); 4] = [
        ("close", |world| world.a.peer.close(world.now), "Local", "Peer"),
        ("abort", |world| world.a.peer.abort(world.now, ""), "Local", "Aborted(None)"),
        ("silence", |world| world.net.set_filter(|_, _| false), "Ice(", "Ice("),
        (
            "both close",
            |world| {
                world.a.peer.close(world.now);
                world.b.peer.close(world.now);
            },
            "Local",
            "Local",
        ),
    ];
    for (name, end_it, at_a, at_b) in cases {
        let mut world = World::new(seed(0x72), lan());
        world.connect();
        let (ours, theirs) = world.channel(ChannelOptions::default());
        end_it(&mut world);
        let ended =
            world.run_until(MINUTE * 3, |world| world.a.peer.is_finished() && world.b.peer.is_finished());
        assert!(ended, "{name}");
        for (end, key, want) in [(&world.a, ours, at_a), (&world.b, theirs, at_b)] {
            let closed: Vec<String> = end
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Closed(reason) => Some(format!("{reason:?}")),
                    _ => None,
                })
                .collect();
            assert!(closed.len() == 1 && closed[0].starts_with(want), "{name}: {closed:?}");
            let states = end
                .events
                .iter()
                .filter(|event| matches!(event, Event::ChannelState(k, ChannelState::Closed) if *k == key));
            assert_eq!(states.count(), 1, "{name}");
        }
    }
}
