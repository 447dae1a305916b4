//! Which translators two ends get through: with host and server-reflexive candidates alone (`nat_table.txt`), and with relays
//! (`nat_relay_table.txt`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sinnet_netsim::{Dependence, LinkConfig, Loss, NatConfig, Net, RelayClient, RelayServer};
use sinnet_stun::{Builder, Class, Message, Method};

use super::harness::{addr, base};
use crate::{
    Agent, Candidate, CandidateKind, Config, GatherConfig, GatherEvent, Gatherer, Path, RelayProtocol, Role,
    State,
};

/// One way between any two addresses on the public net.
const DELAY: Duration = Duration::from_millis(25);
const SERVER: &str = "198.51.100.1:3478";
/// The relay, over UDP and over TCP, and how many round trips an allocation takes there.
const RELAYS: [(&str, RelayProtocol, u16); 2] =
    [("198.51.100.7:3478", RelayProtocol::Udp, 2), ("198.51.100.7:443", RelayProtocol::Tcp, 3)];
/// So long a server that doesn't answer is asked.
const GATHERING: Duration = Duration::from_secs(5);

/// Where an end is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Its address is public.
    Public,
    /// Behind a translator that maps and filters so.
    Behind(Dependence, Dependence),
    /// Behind one of the usual kind, itself behind another one that maps so.
    TwoLevels(Dependence),
    /// Nothing but TCP gets out.
    NoUdp,
}

use Dependence::{Address as A, AddressAndPort as P, EndpointIndependent as E};

/// The table's rows and columns.
const PLACES: [(&str, Place); 13] = [
    ("public", Place::Public),
    ("E/E", Place::Behind(E, E)),
    ("E/A", Place::Behind(E, A)),
    ("E/P", Place::Behind(E, P)),
    ("A/E", Place::Behind(A, E)),
    ("A/A", Place::Behind(A, A)),
    ("A/P", Place::Behind(A, P)),
    ("P/E", Place::Behind(P, E)),
    ("P/A", Place::Behind(P, A)),
    ("P/P", Place::Behind(P, P)),
    ("2×E", Place::TwoLevels(E)),
    ("2×P", Place::TwoLevels(P)),
    ("no udp", Place::NoUdp),
];

struct End {
    agent: Agent,
    gatherer: Gatherer,
    /// Clients of the relay, and what has become a candidate of each.
    relays: Vec<(RelayClient, RelayProtocol, Option<SocketAddr>)>,
    /// What it has signalled, on its way to the other: when it comes, and which.
    signalled: Vec<(Instant, Option<Candidate>)>,
    ended: bool,
}

struct World {
    now: Instant,
    net: Net,
    relay: RelayServer,
    /// The ends by their addresses.
    ends: BTreeMap<SocketAddr, End>,
    connected: BTreeMap<SocketAddr, Duration>,
}

/// The end's own address, with its translators put up around it.
fn settle(net: &mut Net, place: Place, number: u8) -> SocketAddr {
    let inner = IpAddr::from([192, 168, number, 2]);
    let outer = IpAddr::from([203, 0, 113, number]);
    let nat = |external, inside, mapping, filtering| NatConfig {
        mapping,
        filtering,
        ..NatConfig::new(external, vec![inside])
    };
    match place {
        Place::Public => return SocketAddr::new(outer, 5000),
        Place::Behind(mapping, filtering) => net.add_nat(nat(outer, inner, mapping, filtering)),
        Place::TwoLevels(mapping) => {
            let between = IpAddr::from([100, 64, number, 1]);
            net.add_nat(nat(between, inner, E, P));
            net.add_nat(nat(outer, between, mapping, P));
        }
        Place::NoUdp => net.add_nat(NatConfig {
            blocks_udp: true,
            open_port: Some(443),
            ..NatConfig::new(outer, vec![inner])
        }),
    }
    SocketAddr::new(inner, 5000)
}

impl World {
    fn new(seed: u64, loss: Loss, settle: impl FnOnce(&mut Net) -> [SocketAddr; 2]) -> Self {
        Self::with(seed, loss, false, settle)
    }

    fn with(seed: u64, loss: Loss, relayed: bool, settle: impl FnOnce(&mut Net) -> [SocketAddr; 2]) -> Self {
        let now = base();
        let mut net = Net::new(seed, now);
        net.set_default_link(LinkConfig { delay: DELAY, loss, ..LinkConfig::default() });
        let addrs = settle(&mut net);
        let roles = [Role::Controlling, Role::Controlled];
        let mut ends: Vec<End> = (1..)
            .zip(roles)
            .map(|(byte, role)| End {
                agent: Agent::new(Arc::new(Config::default()), role, now, [byte; 32]),
                gatherer: Gatherer::new(GatherConfig::default(), now, [byte + 100; 32]),
                relays: Vec::new(),
                signalled: Vec::new(),
                ended: false,
            })
            .collect();
        let [a, b] = [0, 1].map(|i| ends[i].agent.local_credentials().clone());
        ends[0].agent.set_remote_credentials(now, b).unwrap();
        ends[1].agent.set_remote_credentials(now, a).unwrap();
        for (end, addr_of) in ends.iter_mut().zip(addrs) {
            let host = end.agent.add_local_host(now, addr_of).unwrap();
            end.signalled.push((now + DELAY, Some(host)));
            end.gatherer.ask(now, addr_of, addr(SERVER));
            for (port, (server, by, trips)) in (5001..).zip(RELAYS).filter(|_| relayed) {
                let socket = SocketAddr::new(addr_of.ip(), port);
                end.relays.push((RelayClient::new(socket, addr(server), trips), by, None));
            }
        }
        let relay = RelayServer::new(RELAYS.iter().map(|(server, ..)| addr(server)).collect());
        Self { now, net, relay, ends: addrs.into_iter().zip(ends).collect(), connected: BTreeMap::new() }
    }

    /// Sends what is due, and says what was found.
    fn drain(&mut self, start: Instant) {
        let now = self.now;
        for (local, end) in &mut self.ends {
            end.agent.handle_timeout(now);
            end.gatherer.handle_timeout(now);
            let mut out = [0; 1200];
            while let Some(sent) = end.gatherer.poll_transmit(now, &mut out) {
                self.net.send(now, sent.path.local, sent.path.remote, out[..sent.len].to_vec());
            }
            for (client, by, candidate) in &mut end.relays {
                if now < start + GATHERING {
                    client.ask(now, &mut self.net);
                }
                if let (None, Some((relayed, mapped))) = (*candidate, client.given) {
                    *candidate = Some(relayed);
                    let found = end.agent.add_relayed(now, relayed, mapped, addr(RELAYS[0].0).ip(), *by);
                    end.signalled.extend(found.map(|candidate| (now + DELAY, Some(candidate))));
                }
            }
            while let Some(sent) = end.agent.poll_transmit(now, &mut out) {
                let Path { local, remote, .. } = sent.path;
                match end.relays.iter().find(|(_, _, candidate)| *candidate == Some(local)) {
                    Some((client, ..)) => client.send(now, &mut self.net, remote, &out[..sent.len]),
                    None => self.net.send(now, local, remote, out[..sent.len].to_vec()),
                }
            }
            while let Some(event) = end.gatherer.poll_event() {
                if let GatherEvent::Mapped { path, mapped } = event {
                    let found = end.agent.add_server_reflexive(now, path.local, mapped, path.remote.ip());
                    end.signalled.extend(found.map(|candidate| (now + DELAY, Some(candidate))));
                }
            }
            let relays =
                now >= start + GATHERING || end.relays.iter().all(|(client, ..)| client.given.is_some());
            if end.gatherer.is_done() && relays && !end.ended {
                end.ended = true;
                end.agent.end_of_local_candidates(now);
                end.signalled.push((now + DELAY, None));
            }
            while end.agent.poll_event().is_some() {}
            if end.agent.state() == State::Completed {
                self.connected.entry(*local).or_insert(now - start);
            }
        }
    }

    /// Until both are connected or have failed. The time it took in round trips, if they are connected.
    fn run(&mut self) -> Option<f64> {
        let start = self.now;
        self.run_while(start, |world| {
            !world.ends.values().all(|end| matches!(end.agent.state(), State::Completed | State::Failed))
        });
        let all = self.ends.values().all(|end| end.agent.state() == State::Completed);
        all.then(|| self.connected.values().max().unwrap().as_secs_f64() / (2 * DELAY).as_secs_f64())
    }

    /// Whether the ends have no relay between them, after some more seconds.
    fn is_direct_in_the_end(&mut self) -> bool {
        let (start, until) = (self.now - GATHERING, self.now + Duration::from_secs(5));
        self.run_while(start, |world| world.now < until);
        let relayed = |end: &End| {
            let path = end.agent.selected_path().unwrap();
            let candidates = [(path.local, true), (path.remote, false)];
            candidates.into_iter().any(|(addr, ours)| match ours {
                true => end.relays.iter().any(|(_, _, candidate)| *candidate == Some(addr)),
                false => {
                    let mut theirs = end.agent.remote_candidate_stats();
                    theirs.any(|c| c.address == addr && c.kind == CandidateKind::Relayed)
                }
            })
        };
        let all: Vec<_> = self.ends.values().map(relayed).collect();
        assert_eq!(all[0], all[1], "the two sides have one path");
        !all[0]
    }

    fn run_while(&mut self, start: Instant, goes_on: impl Fn(&Self) -> bool) {
        for turn in 0.. {
            assert!(turn < 100_000, "a busy loop");
            self.drain(start);
            if !goes_on(self) {
                return;
            }
            let timers = self.ends.values().flat_map(|end| {
                let signalled = end.signalled.iter().map(|(at, _)| *at);
                let asked = end.relays.iter().filter_map(|(client, ..)| client.due(self.now));
                let asked = asked
                    .chain([start + GATHERING])
                    .filter(|at| *at > self.now && self.now < start + GATHERING);
                signalled.chain(end.agent.poll_timeout()).chain(end.gatherer.poll_timeout()).chain(asked)
            });
            let next = timers.chain(self.net.next_arrival()).min().expect("it ends before it stands still");
            self.now = self.now.max(next);
            let states: Vec<_> = self.ends.values().map(|end| end.agent.state()).collect();
            assert!(self.now - start < Duration::from_secs(120), "it takes for ever: {states:?}");
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        while let Some(datagram) = self.net.recv(now) {
            if self.relay.handle(now, &mut self.net, &datagram) {
                continue;
            }
            let clients = self.ends.values_mut().flat_map(|end| {
                let End { agent, relays, .. } = end;
                let mine = relays.iter_mut().find(|(client, ..)| client.owns(&datagram));
                mine.map(|mine| (agent, mine))
            });
            if let Some((agent, (client, ..))) = clients.into_iter().next() {
                let given = client.given;
                if let (Some((peer, data)), Some((relayed, _))) = (client.take(&datagram), given) {
                    agent.handle_input(now, Path::udp(relayed, peer), &data);
                }
                continue;
            }
            if datagram.dst == addr(SERVER) {
                let request = Message::parse(&datagram.payload).unwrap();
                let mut out = [0; 100];
                let id = request.transaction_id();
                let mut answer = Builder::new(&mut out, Class::SuccessResponse, Method::BINDING, id);
                answer.xor_mapped_address(datagram.src);
                let len = answer.finish().unwrap();
                self.net.send(now, datagram.dst, datagram.src, out[..len].to_vec());
            } else if let Some(end) = self.ends.get_mut(&datagram.dst) {
                let path = Path::udp(datagram.dst, datagram.src);
                if !end.gatherer.handle_input(now, path, &datagram.payload) {
                    end.agent.handle_input(now, path, &datagram.payload);
                }
            }
        }
        let addrs: Vec<_> = self.ends.keys().copied().collect();
        for (from, to) in [(addrs[0], addrs[1]), (addrs[1], addrs[0])] {
            let signalled = &mut self.ends.get_mut(&from).unwrap().signalled;
            let (due, rest) = std::mem::take(signalled).into_iter().partition(|(at, _)| *at <= now);
            *signalled = rest;
            let due: Vec<_> = due;
            let agent = &mut self.ends.get_mut(&to).unwrap().agent;
            for (_, candidate) in due {
                match candidate {
                    Some(candidate) => agent.add_remote_candidate(now, &candidate).unwrap(),
                    None => agent.end_of_remote_candidates(now),
                }
            }
        }
    }
}

/// With relays: the time, and whether it is direct in the end.
fn connect_relayed(seed: u64, loss: Loss, a: Place, b: Place) -> Option<(f64, bool)> {
    let mut world = World::with(seed, loss, true, |net| [settle(net, a, 1), settle(net, b, 2)]);
    let took = world.run()?;
    Some((took, world.is_direct_in_the_end()))
}

fn connect(a: Place, b: Place) -> Option<f64> {
    World::new(1, Loss::None, |net| [settle(net, a, 1), settle(net, b, 2)]).run()
}

/// What must be so whatever the table says; `None` where that depends on more than can be said in a line.
fn must_connect(a: Place, b: Place) -> Option<bool> {
    let mapping = |place| match place {
        Place::Public => Some(E),
        Place::Behind(mapping, _) | Place::TwoLevels(mapping) => Some(mapping),
        Place::NoUdp => None,
    };
    match (mapping(a), mapping(b)) {
        (None, _) | (_, None) => Some(false),
        // What the STUN server sees is what the other end sees, and both send there.
        (Some(E), Some(E)) => Some(true),
        _ if a == Place::Public || b == Place::Public => Some(true),
        // Each needs to know the other's port towards it before it can let it in.
        (Some(P), Some(_))
            if [a, b].iter().all(|place| matches!(place, Place::Behind(_, P) | Place::TwoLevels(_))) =>
        {
            Some(false)
        }
        _ => None,
    }
}

#[test]
fn translators_are_passed_where_a_path_exists_and_in_a_few_round_trips() {
    let mut table = String::from("       ");
    for (name, _) in PLACES {
        write!(table, "{name:>7}").unwrap();
    }
    table.push('\n');
    for (name, a) in PLACES {
        write!(table, "{name:<7}").unwrap();
        for (other, b) in PLACES {
            println!("{name} with {other}");
            let took = connect(a, b);
            assert!(must_connect(a, b).is_none_or(|must| must == took.is_some()), "{name} with {other}");
            assert_eq!(
                took.is_some(),
                connect(b, a).is_some(),
                "{name} with {other}: whoever is controlling"
            );
            match took {
                Some(took) => write!(table, "{took:>7.1}").unwrap(),
                None => write!(table, "{:>7}", "-").unwrap(),
            }
        }
        table.push('\n');
    }
    if std::env::var("SINNET_NAT_TABLE").is_ok_and(|what| what == "write") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/nat_table.txt"), &table).unwrap();
    }
    assert_eq!(include_str!("nat_table.txt"), table, "SINNET_NAT_TABLE=write writes it anew");
}

#[test]
fn with_relays_everybody_connects_and_directly_where_that_is_possible() {
    let mut table = String::from("       ");
    for (name, _) in PLACES {
        write!(table, "{name:>9}").unwrap();
    }
    table.push('\n');
    for (name, a) in PLACES {
        write!(table, "{name:<7}").unwrap();
        for (other, b) in PLACES {
            println!("{name} with {other}");
            let Some((took, direct)) = connect_relayed(1, Loss::None, a, b) else {
                panic!("{name} with {other}: not at all");
            };
            assert_eq!(direct, connect(a, b).is_some(), "{name} with {other}");
            write!(table, "{took:>7.1} {}", if direct { 'd' } else { 'r' }).unwrap();
        }
        table.push('\n');
    }
    if std::env::var("SINNET_NAT_TABLE").is_ok_and(|what| what == "write") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/nat_relay_table.txt"), &table)
            .unwrap();
    }
    assert_eq!(include_str!("nat_relay_table.txt"), table, "SINNET_NAT_TABLE=write writes it anew");
}

#[test]
fn loss_keeps_nobody_from_the_relay() {
    for (a, b) in [
        (Place::Behind(P, P), Place::Behind(P, P)),
        (Place::NoUdp, Place::Behind(A, P)),
        (Place::NoUdp, Place::NoUdp),
    ] {
        // Through relays a check and its answer cross four links: at 30 % a quarter gets through.
        for (percent, median, second_worst) in [(10, 30.0, 60.0), (30, 250.0, 700.0)] {
            let mut took: Vec<f64> = (0..10)
                .map(|seed| {
                    let loss = Loss::Bernoulli(f64::from(percent) / 100.0);
                    let (took, direct) = connect_relayed(seed, loss, a, b)
                        .unwrap_or_else(|| panic!("seed {seed} at {percent} % loss"));
                    assert!(!direct);
                    took
                })
                .collect();
            took.sort_by(f64::total_cmp);
            println!(
                "{percent} % loss: median {:.1} RTT, worst of 10 {:.1} and {:.1}",
                took[5], took[8], took[9]
            );
            // The worst of ten says more about the seeds than about the agents. That it connects is enough.
            assert!(took[5] <= median && took[8] <= second_worst, "{percent} %: {took:?}");
        }
    }
}

#[test]
fn neighbours_behind_one_translator_talk_directly_and_without_a_path_between_them_by_hairpinning() {
    let both = [addr("192.168.1.2:5000"), addr("192.168.1.3:5000")];
    for (hairpin, isolated, connects) in [(false, false, true), (true, true, true), (false, true, false)] {
        let mut world = World::new(1, Loss::None, |net| {
            let inside = both.iter().map(|addr| addr.ip()).collect();
            net.add_nat(NatConfig { hairpin, ..NatConfig::new("203.0.113.1".parse().unwrap(), inside) });
            both
        });
        if isolated {
            let gone = LinkConfig { loss: Loss::Bernoulli(1.0), ..LinkConfig::default() };
            world.net.set_link(both[0].ip(), both[1].ip(), gone);
        }
        assert_eq!(world.run().is_some(), connects, "hairpin {hairpin} isolated {isolated}");
        let remote = world.ends[&both[0]].agent.selected_path().map(|path| path.remote.ip());
        let expected = if isolated { "203.0.113.1".parse().unwrap() } else { both[1].ip() };
        assert_eq!(remote, connects.then_some(expected));
    }
}

#[test]
fn loss_costs_time_and_no_connection() {
    let place = Place::Behind(E, P);
    for percent in [5, 10, 20, 30] {
        let mut took: Vec<f64> = (0..20)
            .map(|seed| {
                let loss = Loss::Bernoulli(f64::from(percent) / 100.0);
                let mut world = World::new(seed, loss, |net| [settle(net, place, 1), settle(net, place, 2)]);
                world.run().unwrap_or_else(|| panic!("seed {seed} at {percent} % loss"))
            })
            .collect();
        took.sort_by(f64::total_cmp);
        println!("{percent} % loss: median {:.1} RTT, worst of 20 {:.1}", took[10], took[19]);
        assert!(took[10] <= 30.0 && took[19] <= 150.0, "{percent} %: {took:?}");
    }
}
