//! Sequences of API calls between packets that are lost, doubled and reordered, against a small model of what each side
//! may see:
//!
//! - a channel's state only moves forward, and it is closed once; ids of channels that are there differ;
//! - a message comes on the channel that it was sent on, or, where both sides agree on an id, on one that has to do with
//!   one of the other's channels only; once, whole, and in order where that is promised;
//! - what a reliable channel has accepted arrives before its close and before the connection's, if it is read;
//! - nothing comes on a closed channel once it is empty, and nothing at all on one that was let go;
//! - who reads only when told to misses nothing;
//! - the buffered amount grows by what is accepted, and events about it tell the truth, whatever is offered meanwhile;
//! - the connection's end comes once, after the channels'.
//!
//! proptest makes the sequences and shortens those that fail; `SINNET_SEED` sets its seed.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};
use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{
    ChannelKey, ChannelOptions, ChannelState, CloseReason, Event, Message, Politeness, Received, Reliability,
    SdpType, TrySendError,
};
use sinnet_stack_tests::{End, World};

/// One step. `at_a` says at which end; `pick` which of its channels.
#[derive(Clone, Debug)]
enum Step {
    /// So many things happen on the network and to timers.
    Pass(u8),
    /// So many milliseconds pass.
    Wait(u16),
    OpenByDcep {
        at_a: bool,
        kind: u8,
    },
    /// Both sides at about the same time.
    OpenAgreed {
        id: u16,
    },
    OpenBySdp {
        at_a: bool,
        kind: u8,
    },
    Send {
        at_a: bool,
        pick: u8,
        size: u16,
    },
    /// Whether the application reads what it is told of.
    Reading {
        at_a: bool,
        on: bool,
    },
    Close {
        at_a: bool,
        pick: u8,
    },
    Release {
        at_a: bool,
        pick: u8,
    },
    Threshold {
        at_a: bool,
        pick: u8,
        bytes: u16,
    },
    ReOffer {
        by_a: bool,
        taken_back: bool,
    },
    /// Both offer.
    Glare,
    /// The next offer restarts ICE.
    RestartIce {
        at_a: bool,
    },
    CloseConnection {
        at_a: bool,
    },
    Abort {
        at_a: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let at_a = any::<bool>;
    prop_oneof![
        30 => (1..12u8).prop_map(Step::Pass),
        6 => (1..300u16).prop_map(Step::Wait),
        8 => (at_a(), any::<u8>()).prop_map(|(at_a, kind)| Step::OpenByDcep { at_a, kind }),
        3 => (0..4u16).prop_map(|id| Step::OpenAgreed { id }),
        4 => (at_a(), any::<u8>()).prop_map(|(at_a, kind)| Step::OpenBySdp { at_a, kind }),
        40 => (at_a(), any::<u8>(), 0..12_000u16)
            .prop_map(|(at_a, pick, size)| Step::Send { at_a, pick, size }),
        4 => (at_a(), at_a()).prop_map(|(at_a, on)| Step::Reading { at_a, on }),
        7 => (at_a(), any::<u8>()).prop_map(|(at_a, pick)| Step::Close { at_a, pick }),
        2 => (at_a(), any::<u8>()).prop_map(|(at_a, pick)| Step::Release { at_a, pick }),
        3 => (at_a(), any::<u8>(), 0..20_000u16)
            .prop_map(|(at_a, pick, bytes)| Step::Threshold { at_a, pick, bytes }),
        5 => (at_a(), prop::bool::weighted(0.2)).prop_map(|(by_a, taken_back)| Step::ReOffer { by_a, taken_back }),
        2 => Just(Step::Glare),
        1 => at_a().prop_map(|at_a| Step::RestartIce { at_a }),
    ]
}

/// A conversation: the network's seed and badness, whether messages are interleaved, what is done, and how it ends.
#[derive(Clone, Debug)]
struct Story {
    network: u64,
    loss: f64,
    interleaving: bool,
    steps: Vec<Step>,
    end: Step,
}

fn story() -> impl Strategy<Value = Story> {
    let loss = prop_oneof![Just(0.0), Just(0.02), Just(0.1)];
    let end = prop_oneof![
        2 => any::<bool>().prop_map(|at_a| Step::CloseConnection { at_a }),
        1 => any::<bool>().prop_map(|at_a| Step::Abort { at_a }),
    ];
    (any::<u64>(), loss, any::<bool>(), prop::collection::vec(step(), 1..200), end).prop_map(
        |(network, loss, interleaving, steps, end)| Story { network, loss, interleaving, steps, end },
    )
}

/// What is known of one channel at one end.
struct Seen {
    name: String,
    ordered: bool,
    reliable: bool,
    state: ChannelState,
    released: bool,
    /// Told to be readable, and not found empty since.
    readable: bool,
    /// Was found empty after its end.
    drained: bool,
    threshold: usize,
    /// A message was refused, and nothing has been said since.
    refused: bool,
    /// Messages accepted.
    sent: u32,
    /// The channel at the other end that messages come from, and their numbers.
    source: Option<String>,
    received: Vec<u32>,
}

/// One end as its application sees it.
struct Model {
    channels: HashMap<ChannelKey, Seen>,
    /// In the order in which they came up, for picking.
    keys: Vec<ChannelKey>,
    reading: bool,
    ended: Option<CloseReason>,
    who: &'static str,
}

fn rank(state: ChannelState) -> u8 {
    match state {
        ChannelState::Connecting => 0,
        ChannelState::Open => 1,
        ChannelState::Closing => 2,
        ChannelState::Closed => 3,
    }
}

fn options(kind: u8, label: String, negotiated: Option<u16>) -> ChannelOptions {
    let reliability = match kind % 5 {
        0 => Reliability::MaxRetransmits(u32::from(kind % 3)),
        1 => Reliability::MaxPacketLifeTime(u32::from(kind)),
        _ => Reliability::Reliable,
    };
    ChannelOptions { ordered: kind & 0x40 == 0, reliability, label, negotiated, ..ChannelOptions::default() }
}

impl Model {
    fn new(who: &'static str) -> Self {
        Self { channels: HashMap::new(), keys: Vec::new(), reading: true, ended: None, who }
    }

    fn add(&mut self, key: ChannelKey, name: String, options: &ChannelOptions, state: ChannelState) {
        let seen = Seen {
            name,
            ordered: options.ordered,
            reliable: options.reliability == Reliability::Reliable,
            state,
            released: false,
            readable: false,
            drained: false,
            threshold: 0,
            refused: false,
            sent: 0,
            source: None,
            received: Vec::new(),
        };
        assert!(self.channels.insert(key, seen).is_none(), "a key is not used again");
        self.keys.push(key);
    }

    /// One that was not let go; now and then one that is over.
    fn pick(&self, pick: u8) -> Option<ChannelKey> {
        let dead = pick.is_multiple_of(8);
        let there = self.keys.iter().filter(|key| {
            let seen = &self.channels[key];
            !seen.released && (dead || seen.state != ChannelState::Closed)
        });
        let there: Vec<_> = there.collect();
        (!there.is_empty()).then(|| *there[usize::from(pick) % there.len()])
    }

    fn open(&mut self, end: &mut End, now: Instant, options: ChannelOptions, by_sdp: bool) {
        let name = format!("{}{}", self.who, self.keys.len());
        let options = ChannelOptions { label: name.clone(), ..options };
        let opened = match by_sdp {
            true => end.peer.offer_channel(now, options.clone(), &[]),
            false => end.peer.open_channel(now, options.clone()),
        };
        if let Ok(key) = opened {
            // It may be open at once, and that is told, too.
            self.add(key, name, &options, ChannelState::Connecting);
        }
    }

    fn send(&mut self, end: &mut End, now: Instant, key: ChannelKey, size: u16) {
        let seen = self.channels.get_mut(&key).expect("picked");
        let text = format!("{}:{}:{}", seen.name, seen.sent, "x".repeat(usize::from(size)));
        let (len, before) = (text.len(), end.peer.buffered_amount(key));
        match end.peer.try_send(now, key, Message::Text(text)) {
            Ok(()) => {
                assert_eq!(end.peer.buffered_amount(key), before + len, "exactly what was accepted");
                assert_eq!(seen.state, ChannelState::Open);
                assert_eq!(end.peer.is_flushed(key), len + before == 0, "what was just accepted waits");
                seen.sent += 1;
            }
            Err(error) => {
                assert_eq!(end.peer.buffered_amount(key), before);
                seen.refused |= matches!(error, TrySendError::Full(_));
                assert!(!matches!(error, TrySendError::TooLarge { .. }), "{len} bytes");
            }
        }
    }

    /// Takes what is there, if it was told to be there.
    fn read(&mut self, end: &mut End) {
        for (key, seen) in self.channels.iter_mut().filter(|(_, seen)| !seen.released) {
            if !seen.readable && seen.state != ChannelState::Closed {
                continue;
            }
            while let Some(message) = end.peer.recv(*key) {
                assert!(!seen.drained, "something comes on {} after its end", seen.name);
                let Message::Text(text) = message else { panic!("only texts are sent") };
                let mut parts = text.splitn(3, ':');
                let source = parts.next().expect("a name");
                let number: u32 = parts.next().and_then(|n| n.parse().ok()).expect("a number");
                assert!(parts.next().expect("the rest").bytes().all(|byte| byte == b'x'), "torn");
                let known = seen.source.get_or_insert_with(|| source.to_owned());
                assert_eq!(known, source, "on {}", seen.name);
                let last = seen.received.last().copied();
                match (seen.ordered, seen.reliable) {
                    (true, true) => assert_eq!(number, last.map_or(0, |last| last + 1), "on {}", seen.name),
                    (true, false) => assert!(last.is_none_or(|last| last < number), "on {}", seen.name),
                    _ => assert!(!seen.received.contains(&number), "{number} twice on {}", seen.name),
                }
                seen.received.push(number);
            }
            seen.readable = false;
            seen.drained = seen.state == ChannelState::Closed;
        }
    }

    /// What has been told since the last time; nothing was called in between.
    fn hear(&mut self, end: &mut End) {
        for event in std::mem::take(&mut end.events) {
            assert!(self.ended.is_none(), "the connection's end is the last: {event:?}");
            match event {
                Event::ChannelOpened(key) => {
                    let Some(options) = end.peer.channel_options(key).cloned() else { continue };
                    // What SDP opens has the id in its options, and the label of who offered it.
                    self.add(key, options.label.clone(), &options, ChannelState::Open);
                    self.channels.get_mut(&key).expect("just added").source = Some(options.label);
                }
                Event::ChannelState(key, state) => {
                    let seen = self.channels.get_mut(&key).expect("a channel that we know of");
                    assert!(rank(seen.state) < rank(state), "{} from {} to {state}", seen.name, seen.state);
                    seen.state = state;
                }
                Event::Readable(key) => {
                    let seen = self.channels.get_mut(&key).expect("a channel that we know of");
                    seen.readable = true;
                }
                Event::Writable(key) => {
                    let seen = self.channels.get_mut(&key).expect("a channel that we know of");
                    assert!(std::mem::take(&mut seen.refused), "{}: nothing was refused", seen.name);
                }
                Event::BufferedAmountLow(key) => {
                    let seen = &self.channels[&key];
                    assert!(end.peer.buffered_amount(key) <= seen.threshold, "low on {}", seen.name);
                }
                Event::Flushed(key) => assert_eq!(end.peer.buffered_amount(key), 0, "flushed is flushed"),
                Event::Closed(reason) => {
                    let open = self.channels.values().filter(|seen| seen.state != ChannelState::Closed);
                    // One that was let go is not told of any more when it ends.
                    assert_eq!(open.filter(|seen| !seen.released).count(), 0, "channels end before");
                    self.ended = Some(reason);
                }
                _ => {}
            }
        }
        let mut ids = HashSet::new();
        for (key, seen) in &self.channels {
            if !seen.released {
                assert_eq!(end.peer.channel_state(*key), seen.state, "{}", seen.name);
            }
            if matches!(seen.state, ChannelState::Open | ChannelState::Closing)
                && let Some(id) = end.peer.channel_id(*key)
            {
                assert!(ids.insert(id), "two channels have id {id}");
            }
        }
    }
}

fn re_offer(from: &mut End, to: &mut End, now: Instant, taken_back: bool) {
    let Ok(offer) = from.peer.create_offer() else { return };
    from.peer.set_local_description(now, SdpType::Offer, &offer).expect("our own offer");
    if taken_back || to.peer.set_remote_description(now, SdpType::Offer, &offer).is_err() {
        return from.peer.rollback(now).expect("an offer is out");
    }
    let answer = to.peer.create_answer().expect("an offer was taken");
    to.peer.set_local_description(now, SdpType::Answer, &answer).expect("our own answer");
    from.peer.set_remote_description(now, SdpType::Answer, &answer).expect("their answer");
}

/// Both have offered when the other's offer comes; the polite one answers.
fn glare(a: &mut End, b: &mut End, now: Instant) {
    let (Ok(of_a), Ok(of_b)) = (a.peer.create_offer(), b.peer.create_offer()) else { return };
    a.peer.set_local_description(now, SdpType::Offer, &of_a).expect("our own offer");
    b.peer.set_local_description(now, SdpType::Offer, &of_b).expect("our own offer");
    let ignored = a.peer.receive_description(now, Politeness::Impolite, SdpType::Offer, &of_b);
    assert!(matches!(ignored, Ok(Received::Ignored)), "{ignored:?}");
    let due = b.peer.receive_description(now, Politeness::Polite, SdpType::Offer, &of_a);
    assert!(matches!(due, Ok(Received::AnswerDue)), "{due:?}");
    let answer = b.peer.create_answer().expect("an offer was taken");
    b.peer.set_local_description(now, SdpType::Answer, &answer).expect("our own answer");
    a.peer.set_remote_description(now, SdpType::Answer, &answer).expect("their answer");
}

struct Play {
    world: World,
    of_a: Model,
    of_b: Model,
}

impl Play {
    fn at(&mut self, at_a: bool) -> (&mut End, &mut Model, Instant) {
        let now = self.world.now;
        match at_a {
            true => (&mut self.world.a, &mut self.of_a, now),
            false => (&mut self.world.b, &mut self.of_b, now),
        }
    }

    fn go_on(&mut self) {
        self.world.flush();
        for at_a in [true, false] {
            let (end, model, _) = self.at(at_a);
            model.hear(end);
            if model.reading {
                model.read(end);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let picked = |model: &Model, pick| model.pick(pick);
        match *step {
            Step::Pass(count) => {
                for _ in 0..count {
                    self.world.step();
                    self.go_on();
                }
            }
            Step::Wait(ms) => {
                let until = self.world.now + Duration::from_millis(u64::from(ms));
                while self.world.now < until && self.world.step() {
                    self.go_on();
                }
            }
            Step::OpenByDcep { at_a, kind } => {
                let (end, model, now) = self.at(at_a);
                model.open(end, now, options(kind, String::new(), None), false);
            }
            Step::OpenBySdp { at_a, kind } => {
                let (end, model, now) = self.at(at_a);
                model.open(end, now, options(kind, String::new(), None), true);
            }
            Step::OpenAgreed { id } => {
                for at_a in [true, false] {
                    let (end, model, now) = self.at(at_a);
                    model.open(
                        end,
                        now,
                        options(2 + 64 * (id % 2) as u8, String::new(), Some(100 + id)),
                        false,
                    );
                }
            }
            Step::Send { at_a, pick, size } => {
                let (end, model, now) = self.at(at_a);
                if let Some(key) = picked(model, pick) {
                    model.send(end, now, key, if size < 9000 { size % 200 } else { size });
                }
            }
            Step::Reading { at_a, on } => self.at(at_a).1.reading = on,
            Step::Close { at_a, pick } => {
                let (end, model, now) = self.at(at_a);
                if let Some(key) = picked(model, pick) {
                    end.peer.close_channel(now, key);
                }
            }
            Step::Release { at_a, pick } => {
                let (end, model, now) = self.at(at_a);
                if let Some(key) = picked(model, pick) {
                    end.peer.release_channel(now, key);
                    assert_eq!(end.peer.recv(key), None, "the key is dead");
                    model.channels.get_mut(&key).expect("picked").released = true;
                }
            }
            Step::Threshold { at_a, pick, bytes } => {
                let (end, model, _) = self.at(at_a);
                if let Some(key) = picked(model, pick) {
                    end.peer.set_buffered_amount_low_threshold(key, bytes.into());
                    model.channels.get_mut(&key).expect("picked").threshold = bytes.into();
                }
            }
            Step::ReOffer { by_a, taken_back } => {
                let now = self.world.now;
                let (a, b) = (&mut self.world.a, &mut self.world.b);
                let (from, to) = if by_a { (a, b) } else { (b, a) };
                re_offer(from, to, now, taken_back);
            }
            Step::RestartIce { at_a } => {
                let (end, _, now) = self.at(at_a);
                end.peer.restart_ice(now);
            }
            Step::Glare => glare(&mut self.world.a, &mut self.world.b, self.world.now),
            Step::CloseConnection { at_a } => {
                let (end, _, now) = self.at(at_a);
                end.peer.close(now);
            }
            Step::Abort { at_a } => {
                let (end, _, now) = self.at(at_a);
                end.peer.abort(now, "the end");
            }
        }
        self.go_on();
    }

    /// What a reliable channel accepted has arrived at every channel of the other end that hears it and was not let go.
    fn check_complete(&self) {
        for (from, to) in [(&self.of_a, &self.of_b), (&self.of_b, &self.of_a)] {
            let sent: HashMap<&str, &Seen> =
                from.channels.values().map(|seen| (seen.name.as_str(), seen)).collect();
            for heard in to.channels.values().filter(|heard| heard.reliable && !heard.released) {
                let said = heard.source.as_deref().and_then(|source| sent.get(source));
                if let Some(said) = said {
                    assert_eq!(
                        heard.received.len() as u32,
                        said.sent,
                        "{} heard by {}",
                        said.name,
                        heard.name
                    );
                }
            }
        }
    }
}

/// Plays it to its end; tells how many messages were heard, and how many channels ended before the connection did.
fn play(story: &Story) -> (usize, usize) {
    let link = LinkConfig {
        delay: Duration::from_millis(1 + story.network % 20),
        jitter: Duration::from_millis(story.network % 7),
        loss: Loss::Bernoulli(story.loss),
        reorder: 0.05,
        reorder_delay: Duration::from_millis(10),
        duplicate: 0.05,
        ..LinkConfig::default()
    };
    let mut world = World::with_config(story.network, link, |config| {
        config.max_channels = 12;
        config.send_buffer = 40_000;
        config.receive_buffer = 40_000;
        config.max_message_size = 16_000;
        config.interleaving = story.interleaving;
    });
    world.exchange();
    if !story.network.is_multiple_of(4) {
        // Not always from the very beginning.
        world.run_for(Duration::from_secs(2));
    }
    let mut play = Play { world, of_a: Model::new("a"), of_b: Model::new("b") };
    story.steps.iter().for_each(|step| play.step(step));
    for at_a in [true, false] {
        play.at(at_a).1.reading = true;
    }
    // Whoever is told reads; what was accepted arrives. Channels whose description was never answered stay as they are.
    play.step(&Step::Wait(30_000));
    let channels = || play.of_a.channels.values().chain(play.of_b.channels.values());
    let closed = channels().filter(|seen| seen.state == ChannelState::Closed && !seen.released).count();
    play.step(&story.end);
    let deadline = play.world.now + Duration::from_secs(300);
    while !(play.world.a.peer.is_finished() && play.world.b.peer.is_finished()) {
        assert!(play.world.step() && play.world.now < deadline, "it does not end");
        play.go_on();
    }
    play.go_on();
    // An abort may come before everything has arrived, and so may silence: at 10 % loss, consent runs out now and then.
    let in_order = matches!(story.end, Step::CloseConnection { .. })
        && [&play.of_a, &play.of_b].iter().all(|end| end.ended.as_ref().is_some_and(CloseReason::is_orderly));
    let orphans = play.world.a.peer.stats().dropped_orphans + play.world.b.peer.stats().dropped_orphans;
    if in_order && orphans == 0 {
        play.check_complete();
    }
    for at_a in [true, false] {
        let (end, model, now) = play.at(at_a);
        assert!(model.ended.is_some(), "it is told");
        assert_eq!(end.peer.poll_timeout(), None);
        end.peer.close(now);
        end.peer.abort(now, "again");
        assert!(end.peer.poll_event().is_none() && end.peer.is_finished(), "the dead stay dead");
    }
    let channels = play.of_a.channels.values().chain(play.of_b.channels.values());
    (channels.map(|seen| seen.received.len()).sum(), closed)
}

#[test]
fn whatever_is_called_both_sides_see_what_they_may_and_nothing_else() {
    let runs = std::env::var("SINNET_MODEL_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(100_u32);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed(0x30de1).to_be_bytes());
    let config = Runs { cases: runs, failure_persistence: None, max_shrink_iters: 2000, ..Runs::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let totals = Cell::new((0, 0));
    let result = runner.run(&story(), |story| {
        let ((heard, closed), sum) = (play(&story), totals.get());
        totals.set((sum.0 + heard, sum.1 + closed));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let (heard, closed) = totals.get();
    println!("{runs} stories: {heard} messages heard, {closed} channels closed");
    assert!(heard > 10 * runs as usize && closed > runs as usize, "too little happens");
}
