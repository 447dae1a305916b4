//! Our SCTP and dcSCTP, in any weather: every message exactly once, intact, in order where that was asked for; and
//! afterwards both have nothing left to do.
//!
//! `SINNET_SEEDS=2000` runs so many seeds instead of a few, `SINNET_SEED` says from which on.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_netsim::{LinkConfig, Loss};
use sinnet_sctp::{Config, Congestion};
use sinnet_sctp_peers::{Dcsctp, DcsctpOptions, Happening, Note, Ours, STREAMS, Traffic, World};

const OURS: usize = 0;
const THEIRS: usize = 1;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Which sides send INIT.
#[derive(Clone, Copy, Debug)]
enum Begins {
    Ours,
    Theirs,
    Both,
}

impl Begins {
    fn sides(self) -> [bool; 2] {
        [!matches!(self, Self::Theirs), !matches!(self, Self::Ours)]
    }
}

/// Up to 20 % loss, overtaking, copies, narrow links with short queues.
fn weather(rng: &mut StdRng) -> LinkConfig {
    let fair = rng.random_bool(0.2);
    let up_to = |rng: &mut StdRng, max: f64| if fair { 0.0 } else { rng.random_range(0.0..max) };
    LinkConfig {
        delay: ms(rng.random_range(0..100)),
        jitter: ms(rng.random_range(0..20)),
        rate: rng.random_bool(0.3).then(|| rng.random_range(500_000..20_000_000)),
        queue: rng.random_range(10_000..200_000),
        loss: Loss::Bernoulli(up_to(rng, 0.2)),
        reorder: up_to(rng, 0.2),
        reorder_delay: ms(rng.random_range(1..60)),
        duplicate: up_to(rng, 0.1),
        corrupt: up_to(rng, 0.05),
        ..LinkConfig::default()
    }
}

fn config(tune: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    // An unlucky seed is no failure.
    config.max_retransmissions = None;
    config.max_init_retransmissions = None;
    tune(&mut config);
    config
}

fn world(seed: u64, link: LinkConfig, ours: Config, theirs: DcsctpOptions) -> World {
    let mut rng = StdRng::seed_from_u64(seed);
    // Only DTLS makes up for the checksum.
    let drop_damaged = ours.zero_checksum || theirs.zero_checksum;
    let mut world = World::new(rng.random(), link, |now| {
        [Box::new(Ours::new(ours, now, rng.random())), Box::new(Dcsctp::new(theirs, now, rng.random()))]
    });
    world.drop_damaged = drop_damaged;
    world
}

fn one(seed: u64, begins: Begins) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let heartbeats = rng.random_bool(0.5).then(|| Duration::from_secs(rng.random_range(10..60)));
    let max_len = if rng.random_bool(0.05) { 262_144 } else { rng.random_range(1..12_000) };
    let mut ours = config(|config| {
        config.mtu = rng.random_range(500..1_300);
        config.receive_buffer = rng.random_range(30_000..400_000);
        config.max_message_size_recv = max_len.max(30_000);
        config.send_buffer = rng.random_range(20_000..400_000);
        config.zero_checksum = rng.random();
        config.interleaving = rng.random_bool(0.8);
        config.partial_reliability = rng.random_bool(0.9);
        config.heartbeat_interval = heartbeats.unwrap_or_default();
    });
    ours.congestion = [Congestion::Cubic, Congestion::NewReno, Congestion::Bbr][(seed % 3) as usize];
    let theirs = DcsctpOptions {
        mtu: rng.random_range(500..1_300),
        receive_buffer: max_len + rng.random_range(30_000..400_000),
        zero_checksum: rng.random(),
        interleaving: rng.random(),
        partial_reliability: rng.random_bool(0.9),
        heartbeat_interval: heartbeats,
        ..DcsctpOptions::default()
    };
    if ours.interleaving && theirs.interleaving {
        // dcSCTP begins a message on every stream, whatever the window holds, and lets their parts fill it for ever.
        ours.receive_buffer += STREAMS * max_len;
    }
    let rough = weather(rng);
    let mut world = world(rng.random(), rough, ours, theirs);
    world.connect(begins.sides());

    let mut traffic = Traffic::new(rng.random(), [rng.random_range(0..40), rng.random_range(0..40)]);
    traffic.max_len = max_len;
    // When a lifetime ends between two fragments, dcSCTP 0.1.16 drops the rest without a word, and later puts the TSN
    // that stands for it among the fragments of another message.
    traffic.max_len_with_lifetime[THEIRS] = 1;
    traffic.partial = rng.random_bool(0.5);
    traffic.resets = rng.random_range(0..6);
    let limit = world.now + Duration::from_secs(1_200);
    // Some associations end in the middle.
    let cut = rng.random_bool(0.3).then(|| rng.random_range(0..20));
    let mut rounds = 0;
    while !traffic.is_done() && cut != Some(rounds) {
        assert!(world.now < limit, "not done in time: {}", traffic.missing());
        rounds += 1;
        // (An owner who does not look could take messages after a reset for messages before it.)
        let looks = traffic.closes_streams();
        world.reading = [looks || rng.random_bool(0.8), looks || rng.random_bool(0.9)];
        traffic.act(&mut world);
        world.run_for(ms(rng.random_range(0..400)));
        traffic.check(&mut world);
    }
    world.reading = [true, true];
    if cut.is_none() {
        traffic.say_goodbye(&mut world);
        be_idle(&mut world, rough);
        traffic.check(&mut world);
        assert!(traffic.is_done(), "{}", traffic.missing());
    }
    end(rng, &mut world, &mut traffic);
}

/// After the last message: nothing is held, and nothing is waited for but the next heartbeat.
fn be_idle(world: &mut World, rough: LinkConfig) {
    world.set_link(LinkConfig { delay: rough.delay, ..LinkConfig::default() });
    world.run_for(Duration::from_secs(70));
    // Let a heartbeat that is just under way be answered.
    let quiet = world.run_until(Duration::from_secs(8), |world| {
        world.ends.iter().all(|end| end.residue(world.now).is_none())
    });
    assert!(quiet, "{:?}", [OURS, THEIRS].map(|side| world.ends[side].residue(world.now)));
    world.set_link(rough);
}

/// One of the ways to part.
fn end(rng: &mut StdRng, world: &mut World, traffic: &mut Traffic) {
    traffic.stop();
    let how = rng.random_range(0..6);
    match how {
        0 => return,
        1 => world.ends[OURS].shutdown(world.now),
        2 => world.ends[THEIRS].shutdown(world.now),
        3 => {
            world.ends[OURS].shutdown(world.now);
            world.ends[THEIRS].shutdown(world.now);
        }
        4 => world.ends[OURS].abort(world.now),
        _ => world.ends[THEIRS].abort(world.now),
    }
    let is_end = |note: &Note| matches!(note, Note::Closed | Note::Aborted(_));
    world.run_until(Duration::from_secs(300), |world| {
        world.has_said(OURS, is_end) && world.has_said(THEIRS, is_end)
    });
    let ends = [OURS, THEIRS]
        .map(|side| world.log[side].iter().filter_map(Happening::note).find(|note| is_end(note)).cloned());
    match how {
        1..4 => assert_eq!(ends, [Some(Note::Closed), Some(Note::Closed)], "shutdown {how}"),
        _ => {
            // An ABORT is sent once. If it is lost the other side finds out by itself, if it has something to send.
            let other = if how == 4 { THEIRS } else { OURS };
            assert!(ends[1 - other].is_some());
            assert!(matches!(ends[other], Some(Note::Aborted(_)) | None), "{ends:?}");
        }
    }
    for log in &mut world.log {
        // A reset that the end has overtaken fails.
        let ignored = |note: &Note| is_end(note) || matches!(note, Note::ResetFailed(_));
        log.retain(|happening| !happening.note().is_some_and(ignored));
    }
    traffic.check(world);
    if (1..4).contains(&how) {
        // (dcSCTP sends its SHUTDOWN before what is queued, so nothing is said of the other direction.)
        assert!(traffic.arrived_from(OURS), "accepted before the shutdown, and lost: {}", traffic.missing());
        world.run_for(Duration::from_secs(1));
        for end in &world.ends {
            assert_eq!(end.residue(world.now), None);
            assert_eq!(end.deadline(), None);
        }
    }
}

fn seeds(begins: Begins) {
    let count = std::env::var("SINNET_SEEDS").map_or(50, |count| count.parse().expect("a number"));
    let first = sinnet_netsim::seed(1);
    for seed in first..first + count {
        let outcome = std::panic::catch_unwind(|| one(seed, begins));
        if let Err(panic) = outcome {
            println!("failed: SINNET_SEED={seed} SINNET_SEEDS=1, {begins:?} begins");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn messages_arrive_as_they_should_when_we_begin() {
    seeds(Begins::Ours);
}

#[test]
fn messages_arrive_as_they_should_when_dcsctp_begins() {
    seeds(Begins::Theirs);
}

#[test]
fn messages_arrive_as_they_should_when_both_begin() {
    seeds(Begins::Both);
}
