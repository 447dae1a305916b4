//! ICE restarts (RFC 8445 §9) while data flows.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{
    ChannelKey, ChannelOptions, ConnectionState, Event, Peer, Politeness, Received, Role, SdpType,
};
use sinnet_stack_tests::World;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn link() -> LinkConfig {
    LinkConfig { delay: ms(20), loss: Loss::Bernoulli(0.02), ..LinkConfig::default() }
}

/// A connection with a channel on which both sides send numbered messages every 10 ms.
struct Talk {
    world: World,
    /// The size of a message, and how many are sent at a time if there is room.
    size: usize,
    burst: usize,
    /// When the last message came, and the longest time without, for each side.
    heard: [Duration; 2],
    silence: [Duration; 2],
    keys: [ChannelKey; 2],
    sent: [u32; 2],
    expected: [u32; 2],
    next: Duration,
}

impl Talk {
    fn new(seed: u64) -> Self {
        Self::over(link(), seed, 4, 1)
    }

    fn over(link: LinkConfig, seed: u64, size: usize, burst: usize) -> Self {
        println!("seed {seed:#x}");
        let mut world = World::new(seed, link);
        world.connect();
        let keys = world.channel(ChannelOptions::default()).into();
        let next = world.elapsed();
        let (heard, silence) = ([next; 2], [Duration::ZERO; 2]);
        Self { world, size, burst, heard, silence, keys, sent: [0; 2], expected: [0; 2], next }
    }

    /// Lets time pass and the talk go on.
    fn run(&mut self, time: Duration) {
        let end = self.world.elapsed() + time;
        while self.next < end {
            let pause = self.next.saturating_sub(self.world.elapsed());
            self.world.run_for(pause);
            self.next += ms(10);
            self.turn();
        }
    }

    fn turn(&mut self) {
        let now = self.world.now;
        for (i, end) in [&mut self.world.a, &mut self.world.b].into_iter().enumerate() {
            for _ in 0..self.burst {
                let mut message = self.sent[i].to_be_bytes().to_vec();
                message.resize(self.size, 7);
                if end.peer.try_send(now, self.keys[i], message.into()).is_err() {
                    break;
                }
                self.sent[i] += 1;
            }
            let time = now - self.world.start;
            while let Some(message) = end.peer.recv(self.keys[i]) {
                let (number, rest) = message.as_bytes().split_at(4);
                assert_eq!(number, self.expected[i].to_be_bytes(), "in order, and none missing");
                assert!(rest.len() == self.size - 4 && rest.iter().all(|byte| *byte == 7));
                self.expected[i] += 1;
                self.heard[i] = time;
            }
            self.silence[i] = self.silence[i].max(time - self.heard[i]);
        }
    }

    /// Stops the talk; everything that was said has been heard.
    fn finish(mut self) {
        self.burst = 0;
        let said = self.sent;
        for _ in 0..50 {
            self.world.run_for(ms(200));
            self.turn();
        }
        assert_eq!(self.expected, [said[1], said[0]]);
        assert!(said[0] > 50 && said[1] > 50);
        for end in [&self.world.a, &self.world.b] {
            assert_eq!(end.peer.connection_state(), ConnectionState::Connected);
            assert_eq!(end.peer.local_ufrags().count(), 1, "nothing is left of older sessions");
        }
    }

    fn restarts(&self) -> [u64; 2] {
        [&self.world.a, &self.world.b].map(|end| end.peer.stats().ice_restarts)
    }

    fn ufrags(&self) -> [String; 2] {
        [&self.world.a, &self.world.b].map(|end| end.peer.local_ufrag().to_owned())
    }

    fn peers(&mut self, by_a: bool) -> (&mut Peer, &mut Peer) {
        let (a, b) = (&mut self.world.a.peer, &mut self.world.b.peer);
        if by_a { (a, b) } else { (b, a) }
    }

    fn offer(&mut self, by_a: bool) -> String {
        let now = self.world.now;
        let (peer, _) = self.peers(by_a);
        peer.create_offer().unwrap();
        peer.set_local_description(now, SdpType::Offer, "").unwrap();
        peer.local_description().unwrap().1
    }

    fn answer(&mut self, by_a: bool, offer: &str) -> String {
        let now = self.world.now;
        let (peer, _) = self.peers(by_a);
        peer.set_remote_description(now, SdpType::Offer, offer).unwrap();
        peer.create_answer().unwrap();
        peer.set_local_description(now, SdpType::Answer, "").unwrap();
        peer.local_description().unwrap().1
    }

    /// A restart, with 200 ms for every way by signalling.
    fn restart(&mut self, by_a: bool) {
        let now = self.world.now;
        self.peers(by_a).0.restart_ice(now);
        let offer = self.offer(by_a);
        self.run(ms(200));
        let answer = self.answer(!by_a, &offer);
        self.run(ms(200));
        let now = self.world.now;
        self.peers(by_a).0.set_remote_description(now, SdpType::Answer, &answer).unwrap();
        assert!(!self.peers(by_a).0.negotiation_needed());
    }
}

#[test]
fn data_goes_on_over_a_restart_by_either_side_and_none_is_lost() {
    for by_a in [true, false] {
        let mut talk = Talk::new(seed(0x1ce));
        talk.run(ms(500));
        let before = talk.ufrags();
        talk.world.a.events.clear();
        talk.world.b.events.clear();
        talk.restart(by_a);
        talk.run(ms(7_000));
        assert_eq!(talk.restarts(), [1, 1]);
        let after = talk.ufrags();
        assert!(before[0] != after[0] && before[1] != after[1]);
        for end in [&talk.world.a, &talk.world.b] {
            let disturbed =
                end.events.iter().any(|e| matches!(e, Event::ConnectionState(_) | Event::Closed(_)));
            assert!(!disturbed, "{:?}", end.events);
        }
        talk.finish();
    }
}

#[test]
fn a_restart_takes_the_connection_to_another_network() {
    let mut talk = Talk::new(seed(0x2ce));
    talk.run(ms(300));
    let dead = talk.world.a.addr.ip();
    talk.world.net.set_filter(move |_, datagram| datagram.src.ip() != dead && datagram.dst.ip() != dead);
    talk.run(ms(15_000));
    assert_eq!(talk.world.a.peer.connection_state(), ConnectionState::Disconnected);
    let (now, moved) = (talk.world.now, "10.0.0.9:5009".parse().unwrap());
    talk.world.a.more_addrs.push(moved);
    assert!(talk.world.a.peer.add_local_host(now, moved).is_some());
    talk.restart(true);
    talk.run(ms(7_000));
    assert_eq!(talk.world.a.peer.selected_path().unwrap().local, moved);
    assert_eq!(talk.world.b.peer.selected_path().unwrap().remote, moved);
    talk.finish();
}

#[test]
fn a_restart_that_finds_no_path_leaves_the_old_one_in_use() {
    let mut talk = Talk::new(seed(0x3ce));
    talk.run(ms(300));
    let old = talk.ufrags();
    // Checks of the new session never arrive; nor do answers, then.
    talk.world.net.set_filter(move |_, datagram| {
        let is_request = datagram.payload.starts_with(&[0, 1]);
        let names = |ufrag: &String| datagram.payload.windows(ufrag.len()).any(|w| w == ufrag.as_bytes());
        !is_request || old.iter().any(names)
    });
    talk.restart(true);
    talk.run(Duration::from_secs(90));
    assert_eq!(talk.restarts(), [0, 0]);
    assert_eq!(talk.world.a.peer.connection_state(), ConnectionState::Connected);
    // And a later one is free to succeed.
    talk.world.net.clear_filter();
    talk.restart(false);
    talk.run(ms(7_000));
    assert_eq!(talk.restarts(), [1, 1]);
    talk.finish();
}

#[test]
fn when_neither_path_works_the_connection_ends() {
    let mut talk = Talk::new(seed(0x4ce));
    talk.run(ms(300));
    talk.restart(true);
    talk.world.net.set_filter(|_, _| false);
    let ended = talk.world.run_until(Duration::from_secs(120), |world| {
        world.a.peer.is_finished() && world.b.peer.is_finished()
    });
    assert!(ended);
    assert!(talk.world.a.closed().is_some_and(|reason| !reason.is_orderly()));
}

#[test]
fn restarts_that_cross_become_one() {
    let mut talk = Talk::new(seed(0x5ce));
    let now = talk.world.now;
    for by_a in [true, false] {
        talk.peers(by_a).0.restart_ice(now);
    }
    let (from_a, from_b) = (talk.offer(true), talk.offer(false));
    talk.run(ms(200));
    let now = talk.world.now;
    let (a, b) = talk.peers(true);
    let ignored = a.receive_description(now, Politeness::Impolite, SdpType::Offer, &from_b).unwrap();
    assert_eq!(ignored, Received::Ignored);
    let due = b.receive_description(now, Politeness::Polite, SdpType::Offer, &from_a).unwrap();
    assert_eq!(due, Received::AnswerDue);
    let answer = b.create_answer().unwrap();
    b.set_local_description(now, SdpType::Answer, "").unwrap();
    a.receive_description(now, Politeness::Impolite, SdpType::Answer, &answer).unwrap();
    assert!(!a.negotiation_needed() && !b.negotiation_needed(), "it has been done for both");
    talk.run(ms(7_000));
    assert_eq!(talk.restarts(), [1, 1]);
    talk.finish();
}

#[test]
fn a_restart_on_the_heels_of_another_is_the_one_that_counts() {
    let mut talk = Talk::new(seed(0x6ce));
    let mut seen = VecDeque::from(talk.ufrags());
    for by_a in [true, false, true, true] {
        // The checks of the one before have had no time to come back.
        talk.restart(by_a);
        let ufrags = talk.ufrags();
        assert!(ufrags.iter().all(|ufrag| !seen.contains(ufrag)));
        seen.extend(ufrags);
        for by_a in [true, false] {
            assert!(talk.peers(by_a).0.local_ufrags().count() <= 4);
        }
    }
    talk.run(ms(7_000));
    assert_eq!(talk.ufrags()[0], seen[seen.len() - 2]);
    talk.finish();
}

#[test]
fn a_new_path_takes_over_from_one_that_works_no_more_nominated_or_not() {
    let mut talk = Talk::new(seed(0x7ce));
    talk.run(ms(300));
    let (now, moved) = (talk.world.now, "10.0.0.9:5009".parse().unwrap());
    talk.world.a.more_addrs.push(moved);
    assert!(talk.world.a.peer.add_local_host(now, moved).is_some());
    // Nothing passes by the old address any more, and by the new one neither nominations (NOMINATION has four bytes) nor checks of the
    // old session, which would go over to it.
    let dead = talk.world.a.addr.ip();
    let old = talk.ufrags();
    talk.world.net.set_filter(move |_, datagram| {
        let names = |ufrag: &String| datagram.payload.windows(ufrag.len()).any(|w| w == ufrag.as_bytes());
        let nominates = datagram.payload.starts_with(&[0, 1])
            && datagram.payload.chunks(4).any(|attribute| attribute == [0xc0, 0x01, 0, 4]);
        datagram.src.ip() != dead && datagram.dst.ip() != dead && !nominates && !old.iter().any(names)
    });
    talk.restart(true);
    talk.run(ms(25_000));
    assert_eq!(talk.restarts(), [1, 1]);
    assert_eq!(talk.world.a.peer.selected_path(), None);
    talk.finish();
}

#[test]
fn the_offerer_of_a_restart_controls_and_roles_never_conflict() {
    let mut talk = Talk::new(seed(0x8ce));
    for by_a in [false, true, true, false] {
        talk.restart(by_a);
        talk.run(ms(7_000));
        let [a, b] = [&talk.world.a, &talk.world.b].map(|end| end.peer.stats());
        let roles = [a.transport.ice_role, b.transport.ice_role];
        assert_eq!(
            roles,
            if by_a { [Role::Controlling, Role::Controlled] } else { [Role::Controlled, Role::Controlling] }
        );
        assert_eq!((a.ice.refused, b.ice.refused, a.ice.role_switches, b.ice.role_switches), (0, 0, 0, 0));
    }
    assert_eq!(talk.restarts(), [4, 4]);
    talk.finish();
}

/// As browsers do it: other addresses for each session, and the old ones closed when the new session is up.
#[test]
fn a_bulk_transfer_goes_on_while_one_side_changes_its_addresses() {
    for (loss, by_a) in [(0.0, true), (0.02, false)] {
        let link = LinkConfig {
            delay: ms(20),
            rate: Some(4_000_000),
            queue: 50_000,
            loss: Loss::Bernoulli(loss),
            ..LinkConfig::default()
        };
        let mut talk = Talk::over(link, seed(0x9ce), 20_000, 20);
        talk.run(ms(1_000));
        let mut addrs = vec![talk.world.a.addr];
        for host in 10..12 {
            let (now, moved) = (talk.world.now, SocketAddr::from(([10, 0, 0, host], 5001)));
            talk.world.a.more_addrs.push(moved);
            assert!(talk.world.a.peer.add_local_host(now, moved).is_some());
            // The new session's checks are of the new address; data has the old one until both sides are up.
            let before = talk.restarts();
            for is_up in [false, true] {
                let old = addrs.clone();
                talk.world.net.set_filter(move |_, datagram| {
                    let is_old = old.contains(&datagram.src) || old.contains(&datagram.dst);
                    !is_old || !is_up && datagram.payload[0] > 3
                });
                if !is_up {
                    talk.restart(by_a);
                    let up = talk.world.elapsed() + ms(3_000);
                    while talk.restarts().iter().zip(before).any(|(now, before)| *now == before) {
                        assert!(talk.world.elapsed() < up, "{:?}", talk.restarts());
                        talk.run(ms(20));
                    }
                }
            }
            addrs.push(moved);
            talk.run(ms(1_000));
        }
        println!("loss {loss}: longest silence {:?}, {:?} messages", talk.silence, talk.expected);
        assert!(talk.silence.iter().all(|&silence| silence < ms(1_500)), "{:?}", talk.silence);
        talk.finish();
    }
}

/// A peer whose check of a new path is answered sends there, whether or not ours is.
#[test]
fn data_is_received_from_where_the_peer_has_shown_itself_though_we_cannot_send_there_yet() {
    let mut talk = Talk::new(seed(0xace));
    talk.run(ms(300));
    let (now, moved) = (talk.world.now, "10.0.0.9:5009".parse().unwrap());
    talk.world.a.more_addrs.push(moved);
    assert!(talk.world.a.peer.add_local_host(now, moved).is_some());
    // What comes from the old address is lost from now on, and so are the other side's checks of the new one.
    let (old, theirs) = (talk.world.a.addr, talk.world.b.addr);
    talk.world.net.set_filter(move |_, datagram| {
        let is_request = datagram.payload.starts_with(&[0, 1]);
        datagram.src != old && !(datagram.src == theirs && datagram.dst == moved && is_request)
    });
    talk.restart(true);
    talk.run(ms(3_000));
    assert_eq!(talk.restarts(), [1, 0]);
    assert!(talk.expected[1] + 100 > talk.sent[0], "{:?} of {:?}", talk.expected, talk.sent);
    assert_eq!(talk.world.b.peer.stats().dropped_unvalidated, 0);
    talk.world.net.clear_filter();
    talk.run(ms(7_000));
    assert_eq!(talk.restarts(), [1, 1]);
    talk.finish();
}
