//! A lite agent with full peers and with lite ones.

use std::time::Duration;

use super::harness::{Net, addr, ms};
use super::wire::chromium_check;
use crate::{Config, Event, FailReason, Path, RelayProtocol, Role, State, TcpType};

fn lite() -> Config {
    Config { lite: true, ..Config::default() }
}

/// A at 10.0.0.1 is full, B at 10.0.0.2 is lite.
fn full_and_lite(roles: [Role; 2]) -> Net {
    let mut net = Net::with([Config::default(), lite()], roles);
    let a = net.host(0, "10.0.0.1:1000");
    let b = net.host(1, "10.0.0.2:2000");
    net.ends[0].agent.set_remote_lite(true);
    net.ends[1].agent.set_remote_lite(false);
    net.tell(0, &b);
    net.tell(1, &a);
    net.credentials();
    net
}

fn requests(net: &Net, end: usize) -> usize {
    net.ends[end].sent.iter().filter(|(_, _, bytes)| bytes[0] == 0).count()
}

#[test]
fn a_full_agent_controls_and_a_lite_one_only_answers() {
    for a in [Role::Controlling, Role::Controlled] {
        for b in [Role::Controlling, Role::Controlled] {
            let mut net = full_and_lite([a, b]);
            net.run_until(State::Completed);
            assert!(net.elapsed() < ms(20), "{:?}", net.elapsed());
            assert_eq!(net.ends[0].agent.role(), Role::Controlling);
            assert_eq!(net.ends[1].agent.role(), Role::Controlled);
            net.run(Duration::from_secs(120));
            assert_eq!((net.states(), requests(&net, 1)), ([State::Completed; 2], 0));
            assert!(requests(&net, 0) > 20);
            let there = net.ends[1].agent.selected_path().unwrap();
            assert_eq!(there, Path::udp(addr("10.0.0.2:2000"), addr("10.0.0.1:1000")));
            assert_eq!(net.ends[1].agent.can_send(), Some(there));
        }
    }
}

#[test]
fn a_lite_agent_has_host_candidates_only() {
    let mut net = Net::with([lite(), lite()], [Role::Controlled; 2]);
    let base = net.host(0, "10.0.0.1:1000");
    let now = net.now;
    let agent = &mut net.ends[0].agent;
    let (mapped, server) = (addr("203.0.113.9:1"), addr("198.51.100.7:1"));
    assert_eq!(agent.add_server_reflexive(now, addr("10.0.0.1:1000"), mapped, server.ip()), None);
    assert_eq!(agent.add_relayed(now, server, mapped, server.ip(), RelayProtocol::Udp), None);
    assert_eq!(agent.add_local_tcp(now, addr("10.0.0.1:9"), TcpType::Active), None);
    assert!(agent.add_local_tcp(now, addr("10.0.0.1:443"), TcpType::Passive).is_some(), "RFC 6544 §4.4");
    assert!(agent.add_local_host_as(now, addr("10.0.0.1:1000"), crate::Address::Ip(mapped)).is_some());
    assert_eq!(agent.local_candidates().next(), Some(&base));
}

#[test]
fn a_pair_works_for_a_lite_agent_when_it_is_nominated_and_not_before() {
    let mut net = Net::with([Config::default(), lite()], [Role::Controlling, Role::Controlled]);
    net.host(1, "10.0.0.2:2000");
    net.credentials_to(1);
    let path = Path::udp(addr("10.0.0.2:2000"), addr("10.0.0.1:1000"));
    let ufrag = net.ends[0].agent.local_credentials().ufrag.clone();
    // As Chromium does it with a lite peer: two checks without, all others with.
    for (n, nominates) in [(1, false), (2, false), (3, true), (4, true)] {
        let check = chromium_check(&net.ends[1].agent, &ufrag, n, true, nominates);
        let now = net.now;
        assert!(net.ends[1].agent.handle_input(now, path, &check));
        let agent = &net.ends[1].agent;
        assert_eq!((agent.selected_path(), agent.is_validated(path)), (nominates.then_some(path), nominates));
        assert!(agent.has_heard(path));
        net.run(ms(50));
    }
    assert_eq!(net.ends[1].agent.stats().responses_sent, 4);
}

#[test]
fn silence_of_the_peer_disconnects_a_lite_agent_and_then_fails_it() {
    let mut net = full_and_lite([Role::Controlling, Role::Controlled]);
    net.run(Duration::from_secs(30));
    net.drop = Box::new(|_, _, _| true);
    net.run(Duration::from_secs(20));
    assert_eq!(net.states()[1], State::Disconnected);
    net.drop = Box::new(|_, _, _| false);
    net.run(Duration::from_secs(7));
    assert_eq!(net.states(), [State::Completed; 2]);
    net.drop = Box::new(|_, _, _| true);
    net.run(Duration::from_secs(31));
    assert_eq!(net.states()[1], State::Failed);
    assert!(matches!(net.ends[1].events[..], [.., Event::Failed(FailReason::ConsentExpired { .. }), _]));
}

#[test]
fn a_lite_agent_that_nobody_nominates_fails_when_patience_is_over() {
    let mut net = full_and_lite([Role::Controlling, Role::Controlled]);
    net.drop = Box::new(|_, _, _| true);
    net.run(Duration::from_secs(31));
    assert_eq!(net.states()[1], State::Failed);
    assert!(net.ends[1].events.contains(&Event::Failed(FailReason::NotNominated)));
    assert_eq!(net.ends[1].sent.len(), 0);
}

#[test]
fn whoever_claims_to_be_controlled_by_a_lite_agent_is_told_otherwise() {
    for tie_breaker in [0, u64::MAX] {
        let mut net = Net::with([Config::default(), lite()], [Role::Controlled; 2]);
        net.ends[1].agent.tie_breaker = tie_breaker;
        // It doesn't know that the other is lite.
        let a = net.host(0, "10.0.0.1:1000");
        let b = net.host(1, "10.0.0.2:2000");
        net.tell(0, &b);
        net.tell(1, &a);
        net.credentials();
        net.run_until(State::Completed);
        assert_eq!(net.ends[0].agent.role(), Role::Controlling);
        assert_eq!(
            (net.ends[1].agent.role(), net.ends[1].agent.stats().role_switches),
            (Role::Controlled, 0)
        );
    }
}

#[test]
fn a_full_agent_keeps_its_role_whatever_a_lite_one_answers() {
    let mut net = full_and_lite([Role::Controlling, Role::Controlled]);
    // It is lite in name only, and takes itself for controlling.
    net.ends[1].agent.role = Role::Controlling;
    net.run(Duration::from_secs(1));
    assert_eq!((net.ends[0].agent.role(), net.ends[0].agent.stats().role_switches), (Role::Controlling, 0));
}

#[test]
fn a_lite_agent_follows_a_full_one_to_another_path() {
    for renominates in [true, false] {
        let mut net = Net::with([Config::default(), lite()], [Role::Controlling, Role::Controlled]);
        let hosts = [net.host(0, "10.0.0.1:1"), net.host(0, "10.1.0.1:1")];
        let b = net.host(1, "10.0.0.2:2000");
        net.ends[0].agent.set_remote_lite(true);
        net.ends[0].agent.set_remote_renomination(renominates);
        net.tell(0, &b);
        hosts.iter().for_each(|host| net.tell(1, host));
        net.credentials();
        net.run(Duration::from_secs(5));
        let dead = net.ends[0].agent.selected_path().unwrap();
        net.drop = Box::new(move |_, path, _| path.local == dead.local || path.remote == dead.local);
        let now = net.now;
        net.ends[0].agent.doubt_path(now);
        net.run(Duration::from_secs(13));
        let [here, there] = [0, 1].map(|end| net.ends[end].agent.selected_path().unwrap());
        assert_ne!(here, dead);
        assert_eq!((here.local, here.remote), (there.remote, there.local), "{renominates}");
        assert_eq!(net.states(), [State::Completed; 2]);
    }
}

#[test]
fn two_lite_agents_take_the_best_pair_without_a_check() {
    let mut net = Net::with([lite(), lite()], [Role::Controlling, Role::Controlled]);
    for (end, bases) in [(0, ["10.0.0.1:1", "[fd00::1]:1"]), (1, ["10.0.0.2:2", "[fd00::2]:2"])] {
        for base in bases {
            let candidate = net.host(end, base);
            net.tell(1 - end, &candidate);
        }
        net.ends[end].agent.set_remote_lite(true);
    }
    net.credentials();
    net.run(Duration::from_secs(300));
    assert_eq!(net.states(), [State::Completed; 2]);
    assert_eq!(net.ends[0].sent.len() + net.ends[1].sent.len(), 0);
    let [a, b] = [0, 1].map(|end| net.ends[end].agent.selected_path().unwrap());
    assert_eq!((a.local, a.remote), (b.remote, b.local));
    assert_eq!(a.local, addr("[fd00::1]:1"));
    assert_eq!([0, 1].map(|end| net.ends[end].agent.role()), [Role::Controlling, Role::Controlled]);
}

#[test]
fn two_lite_agents_without_a_pair_fail() {
    let mut net = Net::with([lite(), lite()], [Role::Controlling, Role::Controlled]);
    for (end, base) in [(0, "10.0.0.1:1"), (1, "[fd00::2]:2")] {
        let candidate = net.host(end, base);
        net.tell(1 - end, &candidate);
        net.ends[end].agent.set_remote_lite(true);
    }
    net.credentials();
    net.run(Duration::from_secs(31));
    assert_eq!(net.states(), [State::Failed; 2]);
    assert!(net.ends[0].events.contains(&Event::Failed(FailReason::NoPairs)));
}
