//! Relayed and TCP candidates, hidden and mapped hosts, and candidates that go.

use std::time::Duration;

use super::harness::{Net, addr, ms};
use super::wire::chromium_check;
use crate::{
    Address, Candidate, Config, FailReason, PairState, Path, Protocol, RelayProtocol, Role, State, TcpType,
};

const ROLES: [Role; 2] = [Role::Controlling, Role::Controlled];

fn relay(net: &mut Net, end: usize, relayed: &str, by: RelayProtocol) -> Candidate {
    let now = net.now;
    let server = addr("198.51.100.7:3478").ip();
    net.ends[end].agent.add_relayed(now, addr(relayed), addr("203.0.113.9:4444"), server, by).unwrap()
}

fn tcp(net: &mut Net, end: usize, base: &str, tcp_type: TcpType) -> Candidate {
    let now = net.now;
    net.ends[end].agent.add_local_tcp(now, addr(base), tcp_type).unwrap()
}

/// Tells each end what the other has, and lets them begin.
fn exchange(net: &mut Net) {
    for end in 0..2 {
        let candidates: Vec<_> = net.ends[end].agent.local_candidates().cloned().collect();
        candidates.iter().for_each(|candidate| net.tell(1 - end, candidate));
    }
    net.credentials();
}

#[test]
fn a_relayed_candidate_has_its_own_base_and_says_what_the_server_sees() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    let udp = relay(&mut net, 0, "198.51.100.7:6000", RelayProtocol::Udp);
    assert_eq!(
        udp.to_string(),
        "candidate:2 1 udp 8339455 198.51.100.7 6000 typ relay raddr 203.0.113.9 rport 4444"
    );
    let tcp = relay(&mut net, 0, "198.51.100.7:6001", RelayProtocol::Tcp);
    let tls = relay(&mut net, 0, "198.51.100.7:6002", RelayProtocol::Tls);
    let twin = relay(&mut net, 0, "198.51.100.7:6003", RelayProtocol::Udp);
    assert!(udp.priority > twin.priority && twin.priority > tcp.priority && tcp.priority > tls.priority);
    assert_eq!(udp.foundation, twin.foundation);
    assert!(udp.foundation != tcp.foundation && tcp.foundation != tls.foundation);
    let b = net.host(1, "10.0.0.2:2000");
    net.tell(0, &b);
    let pairs: Vec<_> = net.ends[0].agent.pairs().map(|pair| pair.path).collect();
    assert!(pairs.contains(&Path::udp(addr("198.51.100.7:6000"), addr("10.0.0.2:2000"))), "{pairs:?}");
    let stats: Vec<_> = net.ends[0].agent.local_candidate_stats().collect();
    assert_eq!(stats[3].relay_protocol, Some(RelayProtocol::Tls));
    assert_eq!((stats[0].relay_protocol, stats[0].protocol, stats[0].tcp_type), (None, Protocol::Udp, None));
}

#[test]
fn a_relay_reaches_neither_loopback_nor_link_local_addresses() {
    let mut net = Net::new(ROLES);
    relay(&mut net, 0, "198.51.100.7:6000", RelayProtocol::Udp);
    for (end, base) in [(1, "127.0.0.1:7"), (1, "[fe80::1]:7"), (1, "[fd00::1]:7")] {
        let candidate = net.host(end, base);
        net.tell(0, &candidate);
    }
    assert_eq!(net.ends[0].agent.stats().pairs, 0);
}

#[test]
fn with_relays_only_nothing_else_is_a_candidate_and_nothing_else_is_answered() {
    let only = Config { relay_only: true, ..Config::default() };
    let mut net = Net::with([only, Config::default()], ROLES);
    let now = net.now;
    let base = addr("10.0.0.1:1000");
    let agent = &mut net.ends[0].agent;
    assert_eq!(agent.add_local_host(now, base), None);
    assert_eq!(agent.add_local_tcp(now, base, TcpType::Passive), None);
    let shown = Address::Ip(addr("203.0.113.9:1"));
    assert_eq!(agent.add_local_host_as(now, base, shown), None);
    let relayed = relay(&mut net, 0, "198.51.100.7:6000", RelayProtocol::Udp);
    assert!(relayed.to_string().ends_with("typ relay raddr 0.0.0.0 rport 9"), "{relayed}");
    net.host(1, "10.0.0.2:2000");
    exchange(&mut net);
    // The peer has guessed where our socket is.
    let path = Path::udp(base, addr("10.0.0.2:2000"));
    let ufrag = net.ends[1].agent.local_credentials().ufrag.clone();
    let check = chromium_check(&net.ends[0].agent, &ufrag, 1, false, true);
    assert!(!net.ends[0].agent.handle_input(now, path, &check));
    assert_eq!(net.ends[0].agent.stats().dropped_base, 1);
    net.run_until(State::Completed);
    let agent = &net.ends[0].agent;
    assert!(!agent.is_validated(path) && !agent.has_heard(path));
    assert!(net.ends[0].sent.iter().all(|(_, path, _)| path.local == addr("198.51.100.7:6000")));
    let there = net.ends[1].agent.selected_path().unwrap();
    assert_eq!(there.remote, addr("198.51.100.7:6000"));
}

#[test]
fn a_check_to_what_is_no_candidate_is_not_answered_but_followed_once_it_is_one() {
    let mut net = Net::ready();
    net.run_until(State::Completed);
    let path = Path::udp(addr("10.0.0.99:1000"), addr("10.0.0.2:2000"));
    let ufrag = net.ends[1].agent.local_credentials().ufrag.clone();
    let check = chromium_check(&net.ends[0].agent, &ufrag, 1, false, true);
    let now = net.now;
    let agent = &mut net.ends[0].agent;
    let before = agent.stats().responses_sent;
    assert!(agent.handle_input(now, path, &check));
    assert_eq!((agent.stats().responses_sent, agent.stats().dropped_base), (before, 1));
    assert!(!agent.has_heard(path) && !agent.is_validated(path));
    agent.add_local_host(now, path.local).unwrap();
    assert!(agent.has_heard(path));
}

#[test]
fn tcp_connects_from_the_active_side_to_the_passive_one() {
    for active in 0..2 {
        let mut net = Net::new(ROLES);
        let line = tcp(&mut net, active, "10.0.0.1:1234", TcpType::Active).to_string();
        assert_eq!(line, "candidate:1 1 tcp 1524580351 10.0.0.1 9 typ host tcptype active");
        let line = tcp(&mut net, 1 - active, "10.0.0.2:2000", TcpType::Passive).to_string();
        assert_eq!(line, "candidate:1 1 tcp 1520386047 10.0.0.2 2000 typ host tcptype passive");
        exchange(&mut net);
        assert_eq!(net.ends[1 - active].agent.stats().pairs, 0, "the passive side waits (RFC 6544 §6.2)");
        net.run_until(State::Completed);
        let here = net.ends[active].agent.selected_path().unwrap();
        assert_eq!(here, Path::tcp(addr("10.0.0.1:9"), addr("10.0.0.2:2000")));
        let there = net.ends[1 - active].agent.selected_path().unwrap();
        assert_eq!(there, Path::tcp(addr("10.0.0.2:2000"), addr("10.0.0.1:50000")));
        let learned: Vec<_> = net.ends[1 - active].agent.remote_candidate_stats().collect();
        assert_eq!((learned.len(), learned[0].tcp_type), (1, Some(TcpType::Active)));
        let told: Vec<_> = net.ends[active].agent.remote_candidate_stats().collect();
        assert_eq!(told[0].tcp_type, Some(TcpType::Passive));
    }
}

#[test]
fn checks_over_tcp_are_sent_once_and_given_up_after_39_seconds() {
    let mut net = Net::new(ROLES);
    tcp(&mut net, 0, "10.0.0.1:1", TcpType::Active);
    tcp(&mut net, 1, "10.0.0.2:2000", TcpType::Passive);
    net.drop = Box::new(|_, _, _| true);
    exchange(&mut net);
    net.run(Duration::from_secs(39));
    assert_eq!(net.states()[0], State::Checking);
    assert_eq!(net.ends[0].sent.len(), 1, "TCP sends again by itself");
    net.run(Duration::from_secs(1));
    assert_eq!(net.states()[0], State::Failed);
    let reason = FailReason::AllChecksFailed { pairs: 1 };
    assert!(net.ends[0].events.contains(&crate::Event::Failed(reason)));
}

#[test]
fn candidates_that_do_not_listen_are_waited_for_and_never_checked() {
    let mut net = Net::new(ROLES);
    tcp(&mut net, 0, "10.0.0.1:1", TcpType::Active);
    tcp(&mut net, 0, "10.0.0.1:1000", TcpType::Passive);
    let now = net.now;
    assert_eq!(net.ends[0].agent.add_local_tcp(now, addr("10.0.0.1:2"), TcpType::SimultaneousOpen), None);
    assert_eq!(net.ends[0].agent.add_local_tcp(now, addr("10.0.0.1:3"), TcpType::Active), None, "it is one");
    for line in [
        "candidate:0 1 TCP 2105524479 0.0.0.0 9 typ host tcptype active",
        "candidate:1 1 TCP 2105524479 10.0.0.2 9 typ host tcptype active",
        "candidate:2 1 TCP 2105524479 10.0.0.2 99 typ host tcptype so",
        "candidate:3 1 TCP 2105524479 10.0.0.2 99 typ host",
    ] {
        net.tell(0, &line.parse().unwrap());
    }
    assert_eq!((net.ends[0].agent.stats().pairs, net.ends[0].agent.stats().candidates_ignored), (0, 4));
}

#[test]
fn udp_is_taken_where_both_work() {
    let mut net = Net::new(ROLES);
    tcp(&mut net, 0, "10.0.0.1:1", TcpType::Active);
    tcp(&mut net, 1, "10.0.0.2:2000", TcpType::Passive);
    net.host(0, "10.0.0.1:1000");
    net.host(1, "10.0.0.2:2000");
    exchange(&mut net);
    net.run_until(State::Completed);
    assert_eq!(net.ends[0].agent.selected_path().unwrap().protocol, Protocol::Udp);
    let mut net = Net::new(ROLES);
    tcp(&mut net, 0, "10.0.0.1:1", TcpType::Active);
    tcp(&mut net, 1, "10.0.0.2:2000", TcpType::Passive);
    net.host(0, "10.0.0.1:1000");
    net.host(1, "10.0.0.2:2000");
    net.drop = Box::new(|_, path, _| path.protocol == Protocol::Udp);
    exchange(&mut net);
    net.run_until(State::Completed);
    assert_eq!(net.ends[0].agent.selected_path().unwrap().protocol, Protocol::Tcp);
    assert!(net.elapsed() < ms(200), "{:?}", net.elapsed());
}

#[test]
fn consent_over_tcp_is_asked_for_like_any_other() {
    let mut net = Net::new(ROLES);
    tcp(&mut net, 0, "10.0.0.1:1", TcpType::Active);
    tcp(&mut net, 1, "10.0.0.2:2000", TcpType::Passive);
    exchange(&mut net);
    net.run(Duration::from_secs(120));
    assert_eq!(net.states(), [State::Completed; 2]);
    assert!(net.ends.iter().all(|end| (20..=30).contains(&end.agent.stats().consents)));
    net.drop = Box::new(|_, _, _| true);
    net.run(Duration::from_secs(36));
    assert_eq!(net.states(), [State::Failed; 2]);
}

#[test]
fn a_refused_connection_fails_its_pair_at_once() {
    let mut net = Net::new(ROLES);
    tcp(&mut net, 0, "10.0.0.1:1", TcpType::Active);
    tcp(&mut net, 1, "10.0.0.2:2000", TcpType::Passive);
    net.drop = Box::new(|_, _, _| true);
    exchange(&mut net);
    net.run(ms(10));
    let path = net.ends[0].sent[0].1;
    let now = net.now;
    net.ends[0].agent.connection_closed(now, path);
    assert_eq!(net.ends[0].agent.pairs().next().unwrap().state, crate::PairState::Failed);
    net.run(Duration::from_secs(31));
    assert_eq!(net.states()[0], State::Failed);
}

#[test]
fn a_closed_connection_ends_its_pair_on_both_sides() {
    let mut net = Net::new(ROLES);
    tcp(&mut net, 0, "10.0.0.1:1", TcpType::Active);
    tcp(&mut net, 1, "10.0.0.2:2000", TcpType::Passive);
    exchange(&mut net);
    net.run_until(State::Completed);
    let now = net.now;
    for end in [1, 0] {
        let path = net.ends[end].agent.selected_path().unwrap();
        net.ends[end].agent.connection_closed(now, path);
        assert_eq!(
            (net.ends[end].agent.state(), net.ends[end].agent.can_send()),
            (State::Disconnected, None)
        );
    }
    // The active side connects again.
    net.run_until(State::Completed);
}

#[test]
fn a_hidden_host_is_a_name_and_no_raddr_gives_it_away() {
    let mut net = Net::new(ROLES);
    let base = addr("10.0.0.1:1000");
    let name = "90d0c6a0-4209-41e1-81f2-b20684468535.local";
    let now = net.now;
    let agent = &mut net.ends[0].agent;
    let shown = Address::Name { host: name.into(), port: 0 };
    let line = agent.add_local_host_as(now, base, shown.clone()).unwrap().to_string();
    assert_eq!(line, format!("candidate:1 1 udp 2130657279 {name} 1000 typ host"));
    assert_eq!(agent.add_local_host_as(now, base, shown), None, "known");
    let server = addr("198.51.100.7:3478").ip();
    let reflexive = agent.add_server_reflexive(now, base, addr("203.0.113.9:1"), server).unwrap();
    assert!(reflexive.to_string().ends_with("203.0.113.9 1 typ srflx raddr 0.0.0.0 rport 9"), "{reflexive}");
    let relayed = relay(&mut net, 0, "198.51.100.7:6000", RelayProtocol::Udp);
    assert!(relayed.to_string().ends_with("raddr 0.0.0.0 rport 9"), "{relayed}");
    let agent = &mut net.ends[0].agent;
    assert_eq!(agent.local_candidate_stats().next().unwrap().address, base, "to ourselves it is no secret");
    for host in ["", "local", ".local", "a.b.local", "a b.local", "a.example", "a.local.", "a\r\n.local"] {
        let shown = Address::Name { host: host.into(), port: 0 };
        assert_eq!(agent.add_local_host_as(now, addr("10.0.0.3:1"), shown), None, "{host:?}");
    }
    assert_eq!(agent.stats().pairs, 0);
}

#[test]
fn a_mapped_host_is_signalled_with_the_outer_address_and_checked_from_the_inner_one() {
    let mut net = Net::new(ROLES);
    let now = net.now;
    let agent = &mut net.ends[0].agent;
    let base = addr("10.0.0.1:1000");
    let outer = |n: u16| Address::Ip(addr(&format!("203.0.113.9:{n}")));
    let line = agent.add_local_host_as(now, base, outer(1000)).unwrap();
    assert_eq!(line.to_string(), "candidate:1 1 udp 2130657279 203.0.113.9 1000 typ host");
    let b = net.host(1, "198.51.100.2:2000");
    net.tell(0, &b);
    let agent = &mut net.ends[0].agent;
    assert_eq!(agent.pairs().next().unwrap().path, Path::udp(base, addr("198.51.100.2:2000")));
    // Besides it, too, and with other outer addresses, of which there are not many.
    assert_eq!(agent.add_local_host(now, base), None, "the base is there");
    let others: Vec<_> = (1..9).filter_map(|n| agent.add_local_host_as(now, base, outer(n))).collect();
    assert_eq!(others.len(), 4);
    assert!(others.iter().all(|other| other.priority < line.priority && other.foundation == line.foundation));
    assert_eq!(agent.add_local_host_as(now, base, Address::Ip(addr("[2001:db8::1]:1"))), None);
    assert_eq!(agent.stats().pairs, 1);
}

#[test]
fn without_any_base_left_the_agent_waits_for_another_one() {
    let mut net = Net::connected();
    let now = net.now;
    net.ends[0].agent.remove_local(now, Protocol::Udp, addr("10.0.0.1:1000"));
    assert_eq!((net.ends[0].agent.state(), net.ends[0].agent.can_send()), (State::Disconnected, None));
    assert_eq!(net.ends[0].agent.local_candidates().count(), 0);
    net.run(Duration::from_secs(10));
    assert_eq!(net.states()[0], State::Disconnected);
    let a = net.host(0, "10.1.0.1:1");
    net.tell(1, &a);
    net.run(Duration::from_secs(1));
    assert_eq!(net.states(), [State::Completed; 2]);
    let now = net.now;
    net.ends[0].agent.remove_local(now, Protocol::Udp, addr("10.1.0.1:1"));
    net.run(Duration::from_secs(31));
    assert_eq!(net.states()[0], State::Failed, "patience is over");
    assert!(net.ends[0].events.contains(&crate::Event::Failed(FailReason::NoLocalCandidates)));
}

#[test]
fn a_base_may_come_and_go_a_thousand_times() {
    let mut net = Net::connected();
    for n in 0..1000u32 {
        let now = net.now;
        let base = addr(&format!("10.7.{}.{}:7", n / 250, n % 250 + 1));
        let candidate = net.ends[0].agent.add_local_host(now, base).unwrap();
        assert_eq!(candidate.priority & 0xffff_ff00, 126 << 24 | 65_341 << 8, "its place is free again");
        net.run(ms(3));
        let now = net.now;
        net.ends[0].agent.remove_local(now, Protocol::Udp, base);
        net.ends[0].agent.remove_local(now, Protocol::Udp, base);
    }
    let agent = &net.ends[0].agent;
    assert_eq!((agent.locals.len(), agent.candidates.len(), agent.stats().pairs), (1, 1, 1));
    assert_eq!(net.states(), [State::Completed; 2]);
}

#[test]
fn many_host_addresses_over_udp_and_tcp_leave_room_for_relays() {
    let mut net = Net::new(ROLES);
    for i in 1..=32 {
        net.host(0, &format!("10.0.0.{i}:1000"));
        tcp(&mut net, 0, &format!("10.0.0.{i}:9"), TcpType::Active);
        tcp(&mut net, 0, &format!("10.0.0.{i}:1000"), TcpType::Passive);
    }
    for i in 0..32 {
        relay(&mut net, 0, &format!("198.51.100.7:{}", 6000 + i), RelayProtocol::Udp);
    }
    let now = net.now;
    let agent = &mut net.ends[0].agent;
    assert_eq!(agent.add_local_host(now, addr("10.0.0.33:1000")), None);
    assert_eq!(agent.add_local_tcp(now, addr("10.0.0.33:1000"), TcpType::Passive), None);
    assert_eq!(agent.add_local_tcp(now, addr("10.0.0.33:9"), TcpType::Active), None);
    assert_eq!(agent.local_candidates().count(), 4 * 32);
}

#[test]
fn a_relay_that_comes_after_a_hundred_pairs_have_failed_is_checked() {
    let config = Config { max_sends: 1, patience: Duration::from_secs(300), ..Config::default() };
    let mut net = Net::with([config.clone(), config], ROLES);
    for i in 1..=10 {
        net.host(0, &format!("10.0.0.{i}:1000"));
        net.host(1, &format!("10.0.1.{i}:2000"));
    }
    net.drop = Box::new(|_, path, _| {
        let is_relay = |addr: std::net::SocketAddr| addr.port() == 6000;
        !is_relay(path.local) && !is_relay(path.remote)
    });
    exchange(&mut net);
    let tried = |net: &Net| {
        let pairs: Vec<_> = net.ends[0].agent.pairs().map(|pair| pair.state).collect();
        assert_eq!(pairs.len(), 100);
        pairs.iter().all(|state| *state == PairState::Failed)
    };
    while !tried(&net) {
        assert!(net.elapsed() < Duration::from_secs(299), "before ICE's patience ends");
        net.run(ms(100));
    }
    let candidate = relay(&mut net, 0, "198.51.100.7:6000", RelayProtocol::Udp);
    net.tell(1, &candidate);
    net.run_until(State::Completed);
    assert_eq!(net.ends[0].agent.selected_path().unwrap().local, addr("198.51.100.7:6000"));
    assert_eq!(net.ends[0].agent.stats().pairs, 100);
}

#[test]
fn addresses_are_hidden_from_the_first_candidate_on_where_they_are_to_be() {
    let config = Config { hide_addresses: true, ..Config::default() };
    let mut net = Net::with([config, Config::default()], ROLES);
    let line = relay(&mut net, 0, "198.51.100.7:6000", RelayProtocol::Udp).to_string();
    assert!(line.ends_with("typ relay raddr 0.0.0.0 rport 9"), "{line}");
}
