//! The network changes while data flows: interfaces go and come, paths die without a word, a relay gives way to a direct path.

use std::net::SocketAddr;
use std::time::Duration;

use sinnet_netsim::{LinkConfig, seed};
use sinnet_peer::{Address, ChannelKey, ChannelOptions, ConnectionState, Path, Protocol, SdpType, TcpType};
use sinnet_stack_tests::{End, World};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The second interfaces.
const SECOND: [&str; 2] = ["10.1.0.1:6001", "10.1.0.2:6002"];

fn link() -> LinkConfig {
    LinkConfig { delay: ms(20), rate: Some(4_000_000), queue: 50_000, ..LinkConfig::default() }
}

/// A transfer of numbered messages from one side, or both, as fast as the channel takes them.
struct Transfer {
    world: World,
    keys: [ChannelKey; 2],
    sends: [bool; 2],
    sent: [u32; 2],
    expected: [u32; 2],
    heard: [Duration; 2],
    /// The longest time without a message.
    silence: [Duration; 2],
}

impl Transfer {
    /// Two interfaces on each side, 4 Mbit/s and 20 ms, with candidates of both if there is to be a second one.
    fn new(default: u64, sends: [bool; 2], second: bool) -> Self {
        let mut world = World::new(seed(default), link());
        for (end, more) in [&mut world.a, &mut world.b].into_iter().zip(SECOND) {
            end.more_addrs.push(addr(more));
            if second {
                end.peer.add_local_host(world.now, addr(more)).unwrap();
            }
        }
        world.connect();
        Self::over(world, sends)
    }

    fn over(mut world: World, sends: [bool; 2]) -> Self {
        let keys = world.channel(ChannelOptions::default()).into();
        let heard = [world.elapsed(); 2];
        Self { world, keys, sends, sent: [0; 2], expected: [0; 2], heard, silence: [Duration::ZERO; 2] }
    }

    fn ends(&mut self) -> [&mut End; 2] {
        [&mut self.world.a, &mut self.world.b]
    }

    fn run(&mut self, time: Duration) {
        let until = self.world.elapsed() + time;
        while self.world.elapsed() < until {
            self.world.run_for(ms(10));
            self.turn();
        }
    }

    fn turn(&mut self) {
        let (now, time) = (self.world.now, self.world.elapsed());
        for (i, end) in [&mut self.world.a, &mut self.world.b].into_iter().enumerate() {
            while self.sends[i] {
                let mut message = self.sent[i].to_be_bytes().to_vec();
                message.resize(4000, 7);
                if end.peer.try_send(now, self.keys[i], message.into()).is_err() {
                    break;
                }
                self.sent[i] += 1;
            }
            while let Some(message) = end.peer.recv(self.keys[i]) {
                assert_eq!(
                    message.as_bytes()[..4],
                    self.expected[i].to_be_bytes(),
                    "in order, and none missing"
                );
                self.expected[i] += 1;
                self.heard[i] = time;
            }
            if self.sends[1 - i] {
                self.silence[i] = self.silence[i].max(time - self.heard[i]);
            }
        }
    }

    /// Nothing gets from or to that address any more.
    fn cut(&mut self, dead: Option<SocketAddr>) {
        match dead.map(|dead| dead.ip()) {
            Some(dead) => self.world.net.set_filter(move |_, d| d.src.ip() != dead && d.dst.ip() != dead),
            None => self.world.net.clear_filter(),
        }
    }

    fn path(&mut self, which: usize) -> Path {
        self.ends()[which].peer.selected_path().unwrap()
    }

    fn finish(mut self) -> [Duration; 2] {
        let silence = self.silence;
        self.sends = [false; 2];
        self.run(ms(4_000));
        assert_eq!(self.expected, [self.sent[1], self.sent[0]], "nothing is lost");
        for end in self.ends() {
            assert_eq!(end.peer.connection_state(), ConnectionState::Connected);
            assert!(end.closed().is_none());
        }
        let [a, b] = [self.path(0), self.path(1)];
        assert_eq!((a.local, a.remote), (b.remote, b.local), "both have one path");
        silence
    }
}

#[test]
fn an_interface_goes_and_the_transfer_goes_on_over_the_other_within_three_seconds() {
    for sends in [[true, false], [false, true], [true, true]] {
        for loses in 0..2 {
            let mut transfer = Transfer::new(0xc4a6e, sends, true);
            transfer.run(ms(2_000));
            let gone = transfer.path(loses).local;
            transfer.cut(Some(gone));
            let now = transfer.world.now;
            transfer.ends()[loses].peer.remove_local(now, Protocol::Udp, gone);
            transfer.run(ms(4_000));
            assert_ne!(transfer.path(loses).local, gone);
            // It comes back, and is used again: it is the better one.
            transfer.cut(None);
            let now = transfer.world.now;
            let line = transfer.ends()[loses].peer.add_local_host(now, gone).unwrap();
            transfer.run(ms(100));
            let now = transfer.world.now;
            transfer.ends()[1 - loses].peer.add_remote_candidate(now, &line, None, None).unwrap();
            transfer.run(ms(4_000));
            let silence = transfer.finish();
            assert!(silence.iter().all(|time| *time < ms(3_000)), "{loses} loses, {sends:?}: {silence:?}");
            println!("{loses} loses its interface, {sends:?}: {silence:?}");
        }
    }
}

#[test]
fn a_path_that_dies_without_a_word_is_left_within_two_seconds() {
    for sends in [[true, false], [false, true], [true, true]] {
        for dies in 0..2 {
            let mut transfer = Transfer::new(0xdead, sends, true);
            transfer.run(ms(2_000));
            let dead = transfer.path(dies).local;
            transfer.cut(Some(dead));
            transfer.run(ms(2_000));
            assert!([0, 1].iter().all(|which| {
                let path = transfer.path(*which);
                path.local != dead && path.remote != dead
            }));
            transfer.run(ms(3_000));
            let silence = transfer.finish();
            assert!(silence.iter().all(|time| *time < ms(2_000)), "{dies} dies, {sends:?}: {silence:?}");
            println!("the path of {dies} dies, {sends:?}: {silence:?}");
        }
    }
}

#[test]
fn a_network_that_comes_late_is_gone_over_to_when_the_only_one_goes() {
    let mut transfer = Transfer::new(0x1a7e, [true, true], false);
    transfer.run(ms(1_000));
    let gone = transfer.path(0).local;
    transfer.cut(Some(gone));
    let now = transfer.world.now;
    transfer.world.a.peer.remove_local(now, Protocol::Udp, gone);
    transfer.run(ms(2_000));
    assert_eq!(transfer.world.a.peer.connection_state(), ConnectionState::Disconnected);
    let now = transfer.world.now;
    // The checks alone tell the other side where we are now.
    transfer.world.a.peer.add_local_host(now, addr(SECOND[0])).unwrap();
    transfer.run(ms(4_000));
    let late = transfer.finish();
    println!("2 s without any network: {late:?}");
    assert!(late.iter().all(|time| *time < ms(6_000)), "{late:?}");
}

/// A transfer through a relay, as nothing passes directly.
fn relayed(default: u64) -> Transfer {
    let mut world = World::new(seed(default), link());
    let hosts = [world.a.addr.ip(), world.b.addr.ip()];
    world.allocate();
    world.net.set_filter(move |_, d| !(hosts.contains(&d.src.ip()) && hosts.contains(&d.dst.ip())));
    world.connect();
    let mut transfer = Transfer::over(world, [true, true]);
    transfer.run(ms(2_000));
    assert!(is_relayed(&mut transfer));
    transfer
}

fn is_relayed(transfer: &mut Transfer) -> bool {
    let both = [transfer.world.a.relayed(), transfer.world.b.relayed()];
    [0, 1].iter().any(|which| both.contains(&Some(transfer.path(*which).local)))
}

#[test]
fn a_relay_gives_way_to_a_direct_path_under_load() {
    let mut transfer = relayed(0x5e1a);
    transfer.cut(None);
    // New candidates bring new checks; the old pairs have failed for good.
    let now = transfer.world.now;
    let lines: Vec<_> = transfer
        .ends()
        .into_iter()
        .zip(SECOND)
        .map(|(end, second)| {
            end.more_addrs.push(addr(second));
            end.peer.add_local_host(now, addr(second)).unwrap()
        })
        .collect();
    transfer.run(ms(100));
    let now = transfer.world.now;
    for (end, line) in transfer.ends().into_iter().zip(lines.iter().rev()) {
        end.peer.add_remote_candidate(now, line, None, None).unwrap();
    }
    transfer.run(ms(3_000));
    assert!(!is_relayed(&mut transfer));
    let silence = transfer.finish();
    println!("from the relay to a direct path: {silence:?}");
    assert!(silence.iter().all(|time| *time < ms(1_500)), "{silence:?}");
}

#[test]
fn ice_restarts_under_load_with_relays_to_the_relay_and_away_from_it() {
    for direct in [false, true] {
        let mut transfer = relayed(0x1ce5);
        if direct {
            transfer.cut(None);
        }
        let now = transfer.world.now;
        let offer = {
            let a = &mut transfer.world.a.peer;
            a.restart_ice(now);
            a.create_offer().unwrap();
            a.set_local_description(now, SdpType::Offer, "").unwrap();
            a.local_description().unwrap().1
        };
        assert!(offer.contains(" typ relay "), "a restart keeps the relay");
        transfer.run(ms(100));
        let now = transfer.world.now;
        let answer = {
            let b = &mut transfer.world.b.peer;
            b.set_remote_description(now, SdpType::Offer, &offer).unwrap();
            b.create_answer().unwrap();
            b.set_local_description(now, SdpType::Answer, "").unwrap();
            b.local_description().unwrap().1
        };
        transfer.run(ms(100));
        let now = transfer.world.now;
        transfer.world.a.peer.set_remote_description(now, SdpType::Answer, &answer).unwrap();
        transfer.run(ms(5_000));
        assert_eq!(is_relayed(&mut transfer), !direct);
        assert_eq!(transfer.world.a.peer.stats().ice_restarts, 1);
        let silence = transfer.finish();
        println!("ICE restart, direct {direct}: {silence:?}");
        assert!(silence.iter().all(|time| *time < ms(1_500)), "{silence:?}");
    }
}

#[test]
fn a_restart_offers_what_there_is_now_and_nothing_that_has_gone() {
    let mut world = World::new(seed(0x0ffe), link());
    world.allocate();
    let now = world.now;
    let server = addr("198.51.100.7:3478").ip();
    world.a.more_addrs.extend([addr("10.2.0.1:1"), addr("10.3.0.1:1")]);
    let peer = &mut world.a.peer;
    let name = Address::Name { host: "90d0c6a0-4209-41e1-81f2-b20684468535.local".into(), port: 0 };
    peer.add_local_host_as(now, addr("10.2.0.1:1"), name).unwrap();
    peer.add_local_host_as(now, addr("10.3.0.1:1"), Address::Ip(addr("203.0.113.3:1"))).unwrap();
    peer.add_server_reflexive(now, addr("10.2.0.1:1"), addr("203.0.113.2:1"), server).unwrap();
    peer.add_local_tcp(now, addr("10.4.0.1:0"), TcpType::Active).unwrap();
    peer.add_local_tcp(now, addr("10.4.0.1:443"), TcpType::Passive).unwrap();
    world.connect();
    let restart = |world: &mut World| {
        let now = world.now;
        let peer = &mut world.a.peer;
        peer.restart_ice(now);
        peer.create_offer().unwrap();
        peer.set_local_description(now, SdpType::Offer, "").unwrap();
        let (_, offer) = peer.local_description().unwrap();
        peer.rollback(now).unwrap();
        offer
    };
    let all =
        [".local ", " 203.0.113.3 ", " 203.0.113.2 ", " typ relay ", "tcptype active", "tcptype passive"];
    let offer = restart(&mut world);
    assert!(all.iter().all(|part| offer.contains(part)), "{offer}");
    let relayed = world.a.relayed().unwrap();
    let now = world.now;
    for (protocol, base) in [
        (Protocol::Udp, addr("10.2.0.1:1")),
        (Protocol::Udp, addr("10.3.0.1:1")),
        (Protocol::Udp, relayed),
        (Protocol::Tcp, addr("10.4.0.1:9")),
        (Protocol::Tcp, addr("10.4.0.1:443")),
    ] {
        world.a.peer.remove_local(now, protocol, base);
    }
    let offer = restart(&mut world);
    assert!(all.iter().all(|part| !offer.contains(part)), "{offer}");
    assert!(offer.contains(" 10.0.0.1 5001 typ host"));
    world.run_for(ms(1_000));
    assert_eq!(world.a.peer.connection_state(), ConnectionState::Connected);
}
