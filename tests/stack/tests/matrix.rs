//! The conversation matrix: 5,000 messages each way on a channel of every kind, all at once, over a network that loses
//! one datagram in twenty, and doubles and reorders others.
//!
//! {ordered, unordered} × {reliable, maxRetransmits 0, maxPacketLifeTime 100} × {DCEP, agreed id}, opened by the offerer
//! or by the answerer, with messages interleaved (RFC 8260) or not. The same with browsers is in
//! `tests/interop/tests/native/matrix.rs`.

use std::time::Duration;

use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{ChannelKey, ChannelOptions, ChannelState, CloseReason, Reliability, TrySendError};
use sinnet_stack_tests::conversation::{Ear, Script};
use sinnet_stack_tests::{End, World};

const MESSAGES: u32 = 5000;

/// One channel, as one end has it.
struct Talk {
    key: ChannelKey,
    script: Script,
    next: u32,
    ear: Ear,
}

impl Talk {
    fn new(key: ChannelKey, options: &ChannelOptions, speak: Script, hear: Script) -> Self {
        let reliable = options.reliability == Reliability::Reliable;
        Self { key, script: speak, next: 0, ear: Ear::new(hear, options.ordered, reliable) }
    }

    /// Says what is taken, and hears what has come.
    fn go_on(&mut self, end: &mut End, now: std::time::Instant) {
        // A little at a time: of what waits for long, nothing would be left to be lost on the way.
        while self.next < self.script.count && end.peer.buffered_amount(self.key) < 16 * 1024 {
            match end.peer.try_send(now, self.key, self.script.message(self.next)) {
                Ok(()) => self.next += 1,
                Err(TrySendError::Full(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        while let Some(message) = end.peer.recv(self.key) {
            self.ear.take(&message);
        }
    }

    fn is_done(&self, end: &End) -> bool {
        self.next == self.script.count && end.peer.buffered_amount(self.key) == 0
    }
}

/// All kinds of channels; ids from 100 on are those that both sides know.
fn kinds() -> Vec<ChannelOptions> {
    let mut kinds = Vec::new();
    for ordered in [true, false] {
        for reliability in
            [Reliability::Reliable, Reliability::MaxRetransmits(0), Reliability::MaxPacketLifeTime(100)]
        {
            for agreed in [false, true] {
                let number = kinds.len() as u16;
                let negotiated = agreed.then_some(100 + number);
                let label = format!("{number} {ordered} {reliability:?} {negotiated:?}");
                kinds.push(ChannelOptions {
                    ordered,
                    reliability,
                    label,
                    negotiated,
                    ..ChannelOptions::default()
                });
            }
        }
    }
    kinds
}

fn converse(offerer_opens: bool, interleaving: bool) {
    let seed = seed(0x3a7);
    let link = LinkConfig {
        delay: Duration::from_millis(4),
        jitter: Duration::from_millis(1),
        rate: Some(100_000_000),
        queue: 150_000,
        loss: Loss::Bernoulli(0.05),
        reorder: 0.02,
        reorder_delay: Duration::from_millis(5),
        duplicate: 0.02,
        ..LinkConfig::default()
    };
    let mut world = World::with_config(seed, link, |config| {
        config.interleaving = interleaving;
        config.answer_active = seed.is_multiple_of(2);
    });
    world.connect();
    let now = world.now;
    let (opener, other) =
        if offerer_opens { (&mut world.a, &mut world.b) } else { (&mut world.b, &mut world.a) };
    let mut keys = Vec::new();
    for kind in kinds() {
        let ours = opener.peer.open_channel(now, kind.clone()).unwrap();
        let theirs = kind.negotiated.map(|_| other.peer.open_channel(now, kind.clone()).unwrap());
        keys.push((kind, ours, theirs));
    }
    let open = world.run_until(Duration::from_secs(60), |world| {
        let (opener, other) =
            if offerer_opens { (&mut world.a, &mut world.b) } else { (&mut world.b, &mut world.a) };
        while let Some(key) = other.incoming() {
            let seen = other.peer.channel_options(key).expect("just opened");
            let (kind, _, theirs) =
                keys.iter_mut().find(|(kind, ..)| kind.label == seen.label).expect("one of ours");
            assert_eq!(kind, seen);
            *theirs = Some(key);
        }
        keys.iter().all(|(_, ours, theirs)| {
            let open = |end: &End, key| end.peer.channel_state(key) == ChannelState::Open;
            open(opener, *ours) && theirs.is_some_and(|key| open(other, key))
        })
    });
    assert!(open, "not all channels have opened");

    let mut talks: Vec<(ChannelOptions, [Talk; 2])> = Vec::new();
    for (i, (kind, ours, theirs)) in keys.into_iter().enumerate() {
        let theirs = theirs.expect("seen above");
        let (at_a, at_b) = if offerer_opens { (ours, theirs) } else { (theirs, ours) };
        let script = |which: u32| Script {
            seed: (seed as u32).wrapping_add(2 * i as u32 + which) | 0x1000,
            count: MESSAGES,
            largest: 262_144,
        };
        let (of_a, of_b) = (script(0), script(1));
        talks.push((kind.clone(), [Talk::new(at_a, &kind, of_a, of_b), Talk::new(at_b, &kind, of_b, of_a)]));
    }
    let complete = world.run_until(Duration::from_secs(3600), |world| {
        let now = world.now;
        talks.iter_mut().all(|(kind, [at_a, at_b])| {
            at_a.go_on(&mut world.a, now);
            at_b.go_on(&mut world.b, now);
            let heard =
                kind.reliability != Reliability::Reliable || at_a.ear.is_complete() && at_b.ear.is_complete();
            at_a.is_done(&world.a) && at_b.is_done(&world.b) && heard
        })
    });
    let counts = |talks: &[(ChannelOptions, [Talk; 2])]| {
        talks.iter().for_each(|(kind, [at_a, at_b])| {
            println!("{:50} {:5} heard by a, {:5} by b", kind.label, at_a.ear.received, at_b.ear.received);
        });
    };
    counts(&talks);
    assert!(complete, "stalled after {:?}", world.elapsed());
    println!("after {:?}", world.elapsed());
    world.run_until(Duration::from_secs(10), |world| {
        let now = world.now;
        for (_, [at_a, at_b]) in &mut talks {
            at_a.go_on(&mut world.a, now);
            at_b.go_on(&mut world.b, now);
        }
        false
    });
    for (kind, ends) in &talks {
        for Talk { ear, .. } in ends {
            match kind.reliability {
                Reliability::Reliable => assert!(ear.is_complete(), "{}: {}", kind.label, ear.received),
                // Lost are those of which a datagram was: at least about one in twenty, and far from all.
                Reliability::MaxRetransmits(_) => {
                    assert!((4000..4900).contains(&ear.received), "{}: {}", kind.label, ear.received);
                }
                Reliability::MaxPacketLifeTime(_) => {
                    assert!((1000..=5000).contains(&ear.received), "{}: {}", kind.label, ear.received);
                }
            }
        }
    }
    for end in [&world.a, &world.b] {
        let stats = end.peer.stats();
        println!("{} given up, {} retransmitted", stats.sctp.messages_abandoned, stats.sctp.retransmissions);
        assert!(stats.sctp.messages_abandoned > 1000);
        assert_eq!((stats.dcep_errors, stats.dropped_orphans, stats.dropped_unknown_ppid), (0, 0, 0));
    }
    world.a.peer.close(world.now);
    let ended = world.run_until(Duration::from_secs(120), |world| {
        world.a.peer.is_finished() && world.b.peer.is_finished()
    });
    assert!(ended && world.b.closed().is_some_and(CloseReason::is_orderly), "{:?}", world.b.closed());
}

#[test]
fn every_kind_of_channel_keeps_its_promise_when_the_offerer_opens_them() {
    converse(true, false);
}

#[test]
fn every_kind_of_channel_keeps_its_promise_when_the_answerer_opens_them() {
    converse(false, false);
}

#[test]
fn every_kind_of_channel_keeps_its_promise_interleaved_when_the_offerer_opens_them() {
    converse(true, true);
}

#[test]
fn every_kind_of_channel_keeps_its_promise_interleaved_when_the_answerer_opens_them() {
    converse(false, true);
}
