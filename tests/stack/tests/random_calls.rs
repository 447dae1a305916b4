//! Random calls between random packets, checked against a model: what a channel may deliver, which states may follow
//! which, and that the end comes once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{
    ChannelKey, ChannelOptions, ChannelState, Event, Message, Path, Reliability, SdpType, TrySendError,
};
use sinnet_stack_tests::{End, World};

/// What one end has seen so far.
#[derive(Default)]
struct Model {
    /// The state each channel was last said to be in.
    states: HashMap<ChannelKey, ChannelState>,
    /// Channels that both sides may use, by label.
    labels: HashMap<ChannelKey, String>,
    /// The next message to be sent, by label.
    sent: HashMap<String, u32>,
    /// Messages that have come, by label.
    received: HashMap<String, Vec<u32>>,
    released: HashSet<ChannelKey>,
    closed: usize,
}

fn rank(state: ChannelState) -> u8 {
    match state {
        ChannelState::Connecting => 0,
        ChannelState::Open => 1,
        ChannelState::Closing => 2,
        ChannelState::Closed => 3,
    }
}

impl Model {
    fn take_events(&mut self, end: &mut End) {
        for event in end.events.drain(..) {
            assert_eq!(self.closed, 0, "Closed is the last: {event:?}");
            match event {
                Event::Closed(_) => self.closed += 1,
                Event::ChannelOpened(key) => {
                    let old = self.states.insert(key, ChannelState::Open);
                    assert_eq!(old, None, "opened once");
                    // Gone already if it was opened and released between two looks.
                    if let Some(options) = end.peer.channel_options(key) {
                        self.labels.insert(key, options.label.clone());
                    }
                }
                Event::ChannelState(key, state) => {
                    let old = self.states.insert(key, state).expect("a channel that we know of");
                    assert!(rank(old) < rank(state), "{old} to {state}");
                }
                _ => {}
            }
        }
        for (key, state) in &self.states {
            if !self.released.contains(key) {
                assert_eq!(end.peer.channel_state(*key), *state, "events tell the state");
            }
        }
    }

    fn open(&mut self, end: &mut End, now: std::time::Instant, label: String, rng: &mut StdRng) {
        let options = ChannelOptions {
            ordered: rng.random_bool(0.7),
            reliability: match rng.random_range(0..4) {
                0 => Reliability::MaxRetransmits(rng.random_range(0..3)),
                1 => Reliability::MaxPacketLifeTime(rng.random_range(0..200)),
                _ => Reliability::Reliable,
            },
            label: label.clone(),
            ..ChannelOptions::default()
        };
        let opened = match rng.random_bool(0.4) {
            true => end.peer.offer_channel(now, options, &[]),
            false => end.peer.open_channel(now, options),
        };
        if let Ok(key) = opened {
            self.states.insert(key, ChannelState::Connecting);
            self.labels.insert(key, label);
        }
    }

    fn send(&mut self, end: &mut End, now: std::time::Instant, key: ChannelKey, len: usize) {
        let Some(label) = self.labels.get(&key) else { return };
        let n = self.sent.entry(label.clone()).or_default();
        let text = format!("{label}:{n}:{}", "x".repeat(len));
        match end.peer.try_send(now, key, Message::Text(text)) {
            Ok(()) => *n += 1,
            Err(TrySendError::TooLarge { .. }) => panic!("{len} bytes are not too large"),
            Err(_) => {}
        }
    }

    fn recv(&mut self, end: &mut End, key: ChannelKey) {
        let Some(label) = self.labels.get(&key).cloned() else { return };
        let Some(message) = end.peer.recv(key) else { return };
        let Message::Text(text) = message else { panic!("only texts are sent") };
        let mut parts = text.split(':');
        assert_eq!(parts.next(), Some(label.as_str()), "a message of another channel");
        let n: u32 = parts.next().and_then(|n| n.parse().ok()).expect("a number");
        let received = self.received.entry(label).or_default();
        assert!(!received.contains(&n), "{text} came twice");
        if let Some(options) = end.peer.channel_options(key) {
            let last = received.last().copied();
            match (options.ordered, options.reliability) {
                (true, Reliability::Reliable) => assert_eq!(n, last.map_or(0, |last| last + 1), "{text}"),
                (true, _) => assert!(last.is_none_or(|last| last < n), "{text} behind {last:?}"),
                (false, _) => {}
            }
        }
        received.push(n);
    }

    fn any(&self, rng: &mut StdRng) -> Option<ChannelKey> {
        let mut keys: Vec<_> = self.states.keys().filter(|key| !self.released.contains(key)).collect();
        keys.sort_by_key(|key| self.labels.get(key));
        if keys.is_empty() { None } else { Some(*keys[rng.random_range(0..keys.len())]) }
    }
}

/// An offer, and its answer if the other side can give one; else the offer is taken back.
fn renegotiate(from: &mut End, to: &mut End, now: std::time::Instant, rng: &mut StdRng) {
    let Ok(offer) = from.peer.create_offer() else { return };
    from.peer.set_local_description(now, SdpType::Offer, &offer).expect("our own offer");
    let wanted = rng.random_bool(0.8) && to.peer.set_remote_description(now, SdpType::Offer, &offer).is_ok();
    let answer = if wanted { to.peer.create_answer().ok() } else { None };
    let Some(answer) = answer else { return from.peer.rollback(now).expect("an offer is out") };
    to.peer.set_local_description(now, SdpType::Answer, &answer).expect("our own answer");
    from.peer.set_remote_description(now, SdpType::Answer, &answer).expect("their answer");
}

/// Calls that are wrong here, or too early, or repeated; whatever they answer, nothing must break.
fn meddle(end: &mut End, now: std::time::Instant, rng: &mut StdRng) {
    match rng.random_range(0..10) {
        0 => drop(end.peer.create_answer()),
        1 => drop(end.peer.set_remote_description(now, SdpType::Answer, "v=0\r\n")),
        2 => {
            let own = end.peer.local_description();
            if let Some((_, own)) = own {
                assert!(
                    end.peer.set_remote_description(now, SdpType::Answer, &own).is_err(),
                    "our own words"
                );
            }
        }
        3 => drop(end.peer.add_remote_candidate(now, "candidate:x", None, None)),
        4 => end.peer.handle_timeout(now),
        5 => {
            let path = Path::udp(end.addr, "10.7.7.7:7".parse().unwrap());
            let mut datagram: Vec<u8> = (0..rng.random_range(0..100)).map(|_| rng.random()).collect();
            end.peer.handle_datagram(now, path, &mut datagram);
        }
        6 => {
            end.peer.end_of_local_candidates(now);
        }
        // The next offer has it.
        7 | 8 => end.peer.restart_ice(now),
        _ => drop(end.peer.set_local_description(now, SdpType::Offer, "not ours")),
    }
}

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let link = LinkConfig {
        delay: Duration::from_millis(rng.random_range(0..30)),
        jitter: Duration::from_millis(rng.random_range(0..10)),
        loss: Loss::Bernoulli([0.0, 0.02, 0.1][rng.random_range(0..3)]),
        reorder: 0.05,
        reorder_delay: Duration::from_millis(10),
        duplicate: 0.05,
        ..LinkConfig::default()
    };
    let mut world = World::with_config(seed, link, |config| {
        config.max_channels = 12;
        config.send_buffer = 40_000;
        config.receive_buffer = 40_000;
        config.max_message_size = 16_000;
    });
    let (of_a, of_b) = (&mut Model::default(), &mut Model::default());
    let connect_at = rng.random_range(0..20);
    let mut end_at = rng.random_range(200..600);
    for step in 0..700 {
        if step == connect_at {
            world.exchange();
        }
        for _ in 0..rng.random_range(0..4) {
            world.step();
        }
        let now = world.now;
        let which = rng.random_range(0..2);
        if step > connect_at && rng.random_bool(0.04) {
            let (from, to) =
                if which == 0 { (&mut world.a, &mut world.b) } else { (&mut world.b, &mut world.a) };
            renegotiate(from, to, now, &mut rng);
        }
        let (end, model) = if which == 0 { (&mut world.a, &mut *of_a) } else { (&mut world.b, &mut *of_b) };
        let key = model.any(&mut rng);
        match (rng.random_range(0..100), key) {
            (0..10, _) => model.open(end, now, format!("{which}.{step}"), &mut rng),
            (10..45, Some(key)) => {
                let len =
                    if rng.random_bool(0.2) { rng.random_range(0..15_000) } else { rng.random_range(0..50) };
                model.send(end, now, key, len);
            }
            (45..80, Some(key)) => {
                for _ in 0..rng.random_range(1..6) {
                    model.recv(end, key);
                }
            }
            (80..85, Some(key)) => end.peer.close_channel(now, key),
            (85..88, Some(key)) => {
                end.peer.release_channel(now, key);
                model.released.insert(key);
                assert_eq!(end.peer.recv(key), None, "the key is dead");
            }
            (88..90, Some(key)) => {
                end.peer.set_buffered_amount_low_threshold(key, rng.random_range(0..10_000));
                end.peer.is_buffered_amount_low(key);
            }
            (90.., _) if step > connect_at => meddle(end, now, &mut rng),
            _ => {}
        }
        if step == end_at {
            match rng.random_range(0..3) {
                0 => end.peer.close(now),
                1 => end.peer.abort(now, "random"),
                // The other one soon, too.
                _ => {
                    end.peer.close(now);
                    end_at += rng.random_range(1..10);
                }
            }
        }
        world.flush();
        of_a.take_events(&mut world.a);
        of_b.take_events(&mut world.b);
    }
    // The readers catch up, and the end comes: by SHUTDOWN, or by the peer's silence.
    let ended = world.run_until(Duration::from_secs(300), |world| {
        for (end, model) in [(&mut world.a, &mut *of_a), (&mut world.b, &mut *of_b)] {
            let keys: Vec<_> = model.states.keys().copied().collect();
            for key in keys {
                model.recv(end, key);
            }
            model.take_events(end);
        }
        world.a.peer.is_finished() && world.b.peer.is_finished()
    });
    assert!(ended, "{:?} {:?}", world.a.peer.connection_state(), world.b.peer.connection_state());
    for (end, model) in [(&mut world.a, &mut *of_a), (&mut world.b, &mut *of_b)] {
        model.take_events(end);
        assert_eq!(model.closed, 1, "Closed comes once");
        assert!(
            model.states.values().all(|state| *state == ChannelState::Closed),
            "and all channels' before it"
        );
        assert_eq!(end.peer.poll_timeout(), None);
        end.peer.close(world.now);
        end.peer.abort(world.now, "again");
        assert!(end.peer.poll_event().is_none() && end.peer.is_finished(), "the dead stay dead");
    }
}

#[test]
fn random_calls_between_random_packets_keep_to_the_model() {
    let first = seed(0x517);
    for i in 0..25 {
        run(first.wrapping_add(i));
    }
}
