//! Offers after the first: channels that SDP alone opens and closes (RFC 8864), beside those of DCEP, while data flows.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{
    ChannelKey, ChannelOptions, ChannelState, Event, Message, OpenError, Peer, Politeness, Received,
    Reliability, SdpType, SignalingState,
};
use sinnet_stack_tests::{End, World};

const MINUTE: Duration = Duration::from_secs(60);

fn lan() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(10), ..LinkConfig::default() }
}

fn lossy() -> LinkConfig {
    LinkConfig { loss: Loss::Bernoulli(0.05), ..lan() }
}

fn labelled(label: &str) -> ChannelOptions {
    ChannelOptions { label: label.to_owned(), ..ChannelOptions::default() }
}

fn ends(world: &mut World, by_a: bool) -> (&mut End, &mut End) {
    if by_a { (&mut world.a, &mut world.b) } else { (&mut world.b, &mut world.a) }
}

/// Makes and sets an offer; returns what goes to the other side.
fn offer(world: &mut World, by_a: bool) -> String {
    let now = world.now;
    let (end, _) = ends(world, by_a);
    let offer = end.peer.create_offer().expect("an offer");
    end.peer.set_local_description(now, SdpType::Offer, &offer).expect("our own offer");
    end.peer.local_description().expect("described").1
}

/// Takes an offer and answers it.
fn answer(world: &mut World, by_a: bool, offer: &str) -> String {
    let now = world.now;
    let (end, _) = ends(world, by_a);
    end.peer.set_remote_description(now, SdpType::Offer, offer).expect("their offer");
    let answer = end.peer.create_answer().expect("an answer");
    end.peer.set_local_description(now, SdpType::Answer, &answer).expect("our own answer");
    end.peer.local_description().expect("described").1
}

fn take_answer(world: &mut World, by_a: bool, answer: &str) {
    let now = world.now;
    ends(world, by_a).0.peer.set_remote_description(now, SdpType::Answer, answer).expect("their answer");
}

/// A whole exchange in no time.
fn renegotiate(world: &mut World, by_a: bool) {
    let offer = offer(world, by_a);
    let answer = answer(world, !by_a, &offer);
    take_answer(world, by_a, &answer);
}

fn offer_channel(world: &mut World, by_a: bool, options: ChannelOptions) -> ChannelKey {
    let now = world.now;
    ends(world, by_a).0.peer.offer_channel(now, options, &[]).expect("a channel")
}

fn wait_open(world: &mut World, by_a: bool, key: ChannelKey) {
    let open =
        world.run_until(MINUTE, |world| ends(world, by_a).0.peer.channel_state(key) == ChannelState::Open);
    assert!(open, "{}", ends(world, by_a).0.peer.channel_state(key));
}

fn incoming(world: &mut World, at_a: bool) -> ChannelKey {
    let mut key = None;
    assert!(world.run_until(MINUTE, |world| {
        key = key.or_else(|| ends(world, at_a).0.incoming());
        key.is_some()
    }));
    key.expect("just seen")
}

fn recv(world: &mut World, at_a: bool, key: ChannelKey) -> Message {
    let mut message = None;
    assert!(
        world.run_until(MINUTE, |world| {
            message = message.take().or_else(|| ends(world, at_a).0.peer.recv(key));
            message.is_some()
        }),
        "nothing came"
    );
    message.expect("just seen")
}

/// A connection with one exchange behind it: `a` is the DTLS server and has odd ids.
fn connected(seed: u64, link: LinkConfig) -> World {
    let mut world = World::new(seed, link);
    world.connect();
    world
}

#[test]
fn channels_open_by_the_first_description_alone_and_carry_data_both_ways() {
    let mut world = World::new(seed(0xd1), lan());
    let options = ChannelOptions {
        label: "caf\u{e9}\t".to_owned(),
        protocol: "msrp".to_owned(),
        ordered: false,
        reliability: Reliability::MaxRetransmits(3),
        priority: 512,
        negotiated: None,
    };
    let ours = offer_channel(&mut world, true, options.clone());
    assert_eq!(world.a.peer.channel_id(ours), None, "the offer chooses the id");
    world.connect();
    wait_open(&mut world, true, ours);
    let theirs = incoming(&mut world, false);
    assert_eq!(world.a.peer.channel_id(ours), Some(1));
    assert_eq!(
        world.b.peer.channel_options(theirs),
        Some(&ChannelOptions { negotiated: Some(1), ..options })
    );
    let now = world.now;
    world.a.peer.try_send(now, ours, "there".into()).unwrap();
    assert_eq!(recv(&mut world, false, theirs), "there".into());
    world.b.peer.try_send(now, theirs, "and back".into()).unwrap();
    assert_eq!(recv(&mut world, true, ours), "and back".into());
}

#[test]
fn either_side_adds_and_closes_channels_by_later_offers_and_ids_come_back() {
    let mut world = connected(seed(0xd2), lan());
    for round in 0..4 {
        for by_a in [true, false] {
            let ours = offer_channel(&mut world, by_a, labelled("first"));
            assert!(ends(&mut world, by_a).0.peer.negotiation_needed());
            renegotiate(&mut world, by_a);
            wait_open(&mut world, by_a, ours);
            let theirs = incoming(&mut world, !by_a);
            let id = ends(&mut world, by_a).0.peer.channel_id(ours).unwrap();
            // The server is `a`.
            assert_eq!(id % 2 == 1, by_a, "round {round}");
            // The side that did not open it closes it.
            let now = world.now;
            ends(&mut world, !by_a).0.peer.close_channel(now, theirs);
            assert!(ends(&mut world, !by_a).0.peer.negotiation_needed());
            assert!(world.run_until(MINUTE, |world| {
                world.a.peer.channel_state(if by_a { ours } else { theirs }) == ChannelState::Closed
                    && world.b.peer.channel_state(if by_a { theirs } else { ours }) == ChannelState::Closed
            }));
            // Not by DCEP, as long as SDP has the id (§6.6.1) ...
            let dcep = ends(&mut world, by_a).0.peer.open_channel(now, labelled("dcep")).unwrap();
            assert_ne!(ends(&mut world, by_a).0.peer.channel_id(dcep), Some(id));
            renegotiate(&mut world, !by_a);
            assert!(!ends(&mut world, !by_a).0.peer.negotiation_needed());
            // ... and afterwards it is free.
            let now = world.now;
            let again = ChannelOptions { negotiated: Some(id), ..labelled("first") };
            let again = ends(&mut world, by_a).0.peer.offer_channel(now, again, &[]).unwrap();
            ends(&mut world, by_a).0.peer.close_channel(now, again);
            ends(&mut world, by_a).0.peer.close_channel(now, dcep);
            world.run_for(Duration::from_secs(2));
            while ends(&mut world, !by_a).0.incoming().is_some() {}
        }
    }
    assert_eq!(world.a.peer.stats().dcep_errors + world.b.peer.stats().dcep_errors, 0);
}

#[test]
fn a_channel_that_an_offer_or_an_answer_leaves_out_is_refused_or_closed() {
    let mut world = connected(seed(0xd3), lan());
    let (one, two) =
        (offer_channel(&mut world, true, labelled("one")), offer_channel(&mut world, true, labelled("two")));
    let offered = offer(&mut world, true);
    let now = world.now;
    world.b.peer.set_remote_description(now, SdpType::Offer, &offered).unwrap();
    let ids: Vec<_> =
        world.b.peer.offered_channels().iter().map(|o| (o.id, o.options.label.clone())).collect();
    assert_eq!(ids, [(1, "one".to_owned()), (3, "two".to_owned())]);
    world.b.peer.reject_offered_channel(1).unwrap();
    world.b.peer.answer_offered_channel(3, vec!["path:msrp://bob".to_owned()]).unwrap();
    let sdp = world.b.peer.create_answer().unwrap();
    world.b.peer.set_local_description(now, SdpType::Answer, &sdp).unwrap();
    take_answer(&mut world, true, &sdp);
    assert_eq!(world.a.peer.channel_state(one), ChannelState::Closed);
    wait_open(&mut world, true, two);
    assert_eq!(world.a.peer.channel_attributes(two), ["path:msrp://bob"]);
    let theirs = incoming(&mut world, false);

    // A peer that knows no dcmap answers a later offer.
    let offered = offer(&mut world, true);
    let answered = answer(&mut world, false, &offered);
    let without: String =
        answered.lines().filter(|l| !l.starts_with("a=dcmap")).map(|l| format!("{l}\r\n")).collect();
    take_answer(&mut world, true, &without);
    let closed = world.run_until(MINUTE, |world| {
        world.a.peer.channel_state(two) == ChannelState::Closed
            && world.b.peer.channel_state(theirs) == ChannelState::Closed
    });
    assert!(closed, "§6.5: the offerer closes what the answer has not");
}

#[test]
fn data_opens_an_offered_channel_before_the_answer_comes() {
    let mut world = connected(seed(0xd4), lan());
    let ours = offer_channel(&mut world, true, labelled("early"));
    let offered = offer(&mut world, true);
    let answered = answer(&mut world, false, &offered);
    let theirs = incoming(&mut world, false);
    let now = world.now;
    world.b.peer.try_send(now, theirs, "before the answer".into()).unwrap();
    wait_open(&mut world, true, ours);
    assert_eq!(world.a.peer.signaling_state(), SignalingState::HaveLocalOffer);
    world.a.peer.try_send(now, ours, "so we may".into()).unwrap();
    assert_eq!(recv(&mut world, true, ours), "before the answer".into());
    assert_eq!(recv(&mut world, false, theirs), "so we may".into());
    take_answer(&mut world, true, &answered);
    let opened = world
        .a
        .events
        .iter()
        .filter(|e| matches!(e, Event::ChannelState(key, ChannelState::Open) if *key == ours));
    assert_eq!(opened.count(), 1);
    assert_eq!(world.a.peer.channel_state(ours), ChannelState::Open);
}

#[test]
fn an_id_whose_channel_was_reset_goes_to_another_one_in_the_same_offer() {
    let mut world = connected(seed(0xd5), lan());
    for round in 0..10 {
        let old = offer_channel(
            &mut world,
            true,
            ChannelOptions { negotiated: Some(7), ..labelled(&format!("old {round}")) },
        );
        renegotiate(&mut world, true);
        wait_open(&mut world, true, old);
        let their_old = incoming(&mut world, false);
        let now = world.now;
        world.b.peer.try_send(now, their_old, "of the old".into()).unwrap();
        world.a.peer.try_send(now, old, "of the old".into()).unwrap();
        world.a.peer.close_channel(now, old);
        // As soon as `a` has it closed; `b` may not know that its reset has arrived.
        assert!(world.run_until(MINUTE, |world| world.a.peer.channel_state(old) == ChannelState::Closed));
        let now = world.now;
        let same = ChannelOptions { negotiated: Some(7), ..labelled(&format!("old {round}")) };
        assert_eq!(world.a.peer.offer_channel(now, same, &[]), Err(OpenError::SameAsBefore(7)));
        let new = offer_channel(&mut world, true, ChannelOptions { negotiated: Some(7), ..labelled("new") });
        renegotiate(&mut world, true);
        wait_open(&mut world, true, new);
        let now = world.now;
        world.a.peer.try_send(now, new, "of the new".into()).unwrap();
        let their_new = incoming(&mut world, false);
        assert_eq!(recv(&mut world, false, their_new), "of the new".into());
        assert_eq!(world.b.peer.recv(their_old), Some("of the old".into()));
        assert_eq!(world.b.peer.recv(their_old), None);
        assert_eq!(world.a.peer.recv(old), Some("of the old".into()));
        world.a.peer.close_channel(now, new);
        assert!(
            world.run_until(MINUTE, |world| world.b.peer.channel_state(their_new) == ChannelState::Closed
                && world.a.peer.channel_state(new) == ChannelState::Closed)
        );
        renegotiate(&mut world, true);
        for key in [old, new] {
            world.a.peer.release_channel(world.now, key);
        }
        for key in [their_old, their_new] {
            world.b.peer.release_channel(world.now, key);
        }
    }
}

#[test]
fn data_flows_on_through_re_offers_rollbacks_and_glare_under_loss() {
    const MESSAGES: u32 = 3000;
    let mut world = connected(seed(0xd6), lossy());
    let (from, to) = world.channel(labelled("bulk"));
    let (mut sent, mut received) = (0, 0);
    let mut sdp = Vec::new();
    for turn in 0..40 {
        let by_a = turn % 3 != 0;
        match turn % 5 {
            // One side opens a channel.
            0 | 1 => {
                sdp.push((by_a, offer_channel(&mut world, by_a, labelled(&format!("sdp {turn}")))));
                renegotiate(&mut world, by_a);
            }
            // One side changes its mind.
            2 => {
                sdp.push((by_a, offer_channel(&mut world, by_a, labelled(&format!("later {turn}")))));
                offer(&mut world, by_a);
                let now = world.now;
                ends(&mut world, by_a).0.peer.rollback(now).unwrap();
            }
            // Both offer at once; `b` is polite.
            3 => {
                let (from_a, from_b) = (offer(&mut world, true), offer(&mut world, false));
                let now = world.now;
                let at_a =
                    world.a.peer.receive_description(now, Politeness::Impolite, SdpType::Offer, &from_b);
                assert_eq!(at_a.unwrap(), Received::Ignored);
                let at_b = world.b.peer.receive_description(now, Politeness::Polite, SdpType::Offer, &from_a);
                assert_eq!(at_b.unwrap(), Received::AnswerDue);
                let sdp = world.b.peer.create_answer().unwrap();
                world.b.peer.set_local_description(now, SdpType::Answer, &sdp).unwrap();
                let at_a = world.a.peer.receive_description(now, Politeness::Impolite, SdpType::Answer, &sdp);
                assert_eq!(at_a.unwrap(), Received::Applied);
            }
            // Nothing new is said.
            _ => renegotiate(&mut world, by_a),
        }
        let pause = world.now + Duration::from_millis(40);
        world.run_until(MINUTE, |world| {
            while sent < MESSAGES
                && world.a.peer.try_send(world.now, from, format!("{sent}").as_str().into()).is_ok()
            {
                sent += 1;
                if sent % 75 == 0 {
                    break;
                }
            }
            while let Some(message) = world.b.peer.recv(to) {
                assert_eq!(message, format!("{received}").as_str().into());
                received += 1;
            }
            world.now >= pause
        });
    }
    for by_a in [true, false] {
        renegotiate(&mut world, by_a);
    }
    for (by_a, key) in sdp {
        wait_open(&mut world, by_a, key);
    }
    assert!(world.run_until(MINUTE, |world| {
        while sent < MESSAGES
            && world.a.peer.try_send(world.now, from, format!("{sent}").as_str().into()).is_ok()
        {
            sent += 1;
        }
        while let Some(message) = world.b.peer.recv(to) {
            assert_eq!(message, format!("{received}").as_str().into());
            received += 1;
        }
        received == MESSAGES
    }));
    assert_eq!(world.a.peer.stats().dcep_errors + world.b.peer.stats().dcep_errors, 0);
}

#[test]
fn what_can_not_be_had_is_rejected_by_the_answer() {
    let mut world = World::with_config(seed(0xd7), lan(), |config| config.max_channels = 3);
    world.connect();
    // An id of `a`'s that DCEP has, by a peer that does not keep them apart.
    let (dcep, _) = world.channel(labelled("dcep"));
    let id = world.a.peer.channel_id(dcep).unwrap();
    let offered = offer(&mut world, true);
    let lines: String = [id, 2, 5, 7, 9].iter().map(|id| format!("a=dcmap:{id} label=\"x\"\r\n")).collect();
    let answered = answer(&mut world, false, &format!("{offered}{lines}"));
    let accepted: Vec<_> = answered.lines().filter(|l| l.starts_with("a=dcmap")).collect();
    assert_eq!(
        accepted,
        ["a=dcmap:5 label=\"x\"", "a=dcmap:7 label=\"x\""],
        "in use; ours; and no room for a fourth"
    );
}

#[test]
fn closing_while_the_offer_is_out_tells_the_peer_by_a_reset_and_by_the_next_offer() {
    let mut world = connected(seed(0xd8), lan());
    let ours = offer_channel(&mut world, true, labelled("regretted"));
    let offered = offer(&mut world, true);
    let now = world.now;
    world.a.peer.release_channel(now, ours);
    let answered = answer(&mut world, false, &offered);
    let theirs = incoming(&mut world, false);
    take_answer(&mut world, true, &answered);
    assert!(world.a.peer.negotiation_needed());
    renegotiate(&mut world, true);
    assert!(!world.a.peer.negotiation_needed());
    let closed = world.run_until(MINUTE, |world| world.b.peer.channel_state(theirs) == ChannelState::Closed);
    assert!(
        closed,
        "{} {:?} {:?}",
        world.b.peer.channel_state(theirs),
        world.a.peer.stats().sctp,
        world.b.peer.stats().sctp
    );
}

/// A description as its listener sees it: the ids in `a=dcmap`.
fn listed(peer: &Peer) -> Vec<u16> {
    let sdp = peer.local_description().map(|(_, sdp)| sdp).unwrap_or_default();
    let ids = sdp.lines().filter_map(|line| line.strip_prefix("a=dcmap:"));
    let mut ids: Vec<u16> = ids.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn whatever_both_sides_open_and_close_by_sdp_and_dcep_no_two_channels_meet_on_one_stream() {
    for round in 0..6 {
        let seed = seed(0xd900 + round);
        let mut world = connected(seed, if round % 2 == 0 { lan() } else { lossy() });
        let mut rng = StdRng::seed_from_u64(seed);
        let mut held: [Vec<ChannelKey>; 2] = [Vec::new(), Vec::new()];
        for step in 0..120 {
            let by_a = rng.random::<bool>();
            let side = usize::from(!by_a);
            let now = world.now;
            match rng.random_range(0..8) {
                0 | 1 => {
                    let options = labelled(&format!("sdp {side} {step}"));
                    held[side].extend(ends(&mut world, by_a).0.peer.offer_channel(now, options, &[]));
                }
                2 => {
                    let options = labelled(&format!("dcep {side} {step}"));
                    held[side].extend(ends(&mut world, by_a).0.peer.open_channel(now, options));
                }
                3 if !held[side].is_empty() => {
                    let at = rng.random_range(0..held[side].len());
                    let key = held[side].swap_remove(at);
                    ends(&mut world, by_a).0.peer.release_channel(now, key);
                }
                4 | 5 => {
                    renegotiate(&mut world, by_a);
                    let (offerer, answerer) = ends(&mut world, by_a);
                    // What the answer has is what both have; of the offer it is a part.
                    let (offered, answered) = (listed(&offerer.peer), listed(&answerer.peer));
                    assert!(answered.iter().all(|id| offered.contains(id)), "seed {seed}, step {step}");
                }
                6 => {
                    offer(&mut world, by_a);
                    ends(&mut world, by_a).0.peer.rollback(now).unwrap();
                }
                _ => world.run_for(Duration::from_millis(rng.random_range(1..80))),
            }
            world.flush();
            for (end, held) in [&mut world.a, &mut world.b].into_iter().zip(&mut held) {
                held.extend(std::iter::from_fn(|| end.incoming()));
            }
        }
        for by_a in [true, false, true] {
            renegotiate(&mut world, by_a);
            world.run_for(Duration::from_secs(3));
        }
        for (end, held) in [&mut world.a, &mut world.b].into_iter().zip(&mut held) {
            held.extend(std::iter::from_fn(|| end.incoming()));
        }
        // What is open at one end is open at the other, under the same name; and by it goes what is sent.
        let mut open: [Vec<(u16, String, ChannelKey)>; 2] = [Vec::new(), Vec::new()];
        for (side, end) in [&mut world.a, &mut world.b].into_iter().enumerate() {
            for &key in &held[side] {
                if end.peer.channel_state(key) == ChannelState::Open {
                    let label = end.peer.channel_options(key).unwrap().label.clone();
                    open[side].push((end.peer.channel_id(key).unwrap(), label, key));
                }
            }
            open[side].sort_by_key(|(id, _, _)| *id);
        }
        let names = |side: &[(u16, String, ChannelKey)]| -> Vec<_> {
            side.iter().map(|(id, label, _)| (*id, label.clone())).collect()
        };
        assert_eq!(names(&open[0]), names(&open[1]), "seed {seed}");
        for (_, label, key) in &open[0] {
            world.a.peer.try_send(world.now, *key, label.as_str().into()).unwrap();
        }
        for (_, label, key) in &open[1] {
            assert_eq!(recv(&mut world, false, *key), label.as_str().into(), "seed {seed}");
        }
        assert!(!world.a.peer.negotiation_needed() && !world.b.peer.negotiation_needed(), "seed {seed}");
        assert_eq!(world.a.peer.stats().dcep_errors + world.b.peer.stats().dcep_errors, 0, "seed {seed}");
    }
}
