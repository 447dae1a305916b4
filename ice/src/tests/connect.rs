//! Ways to a connection.

use std::time::Duration;

use proptest::prelude::*;

use super::harness::{Net, addr, ms};
use super::wire::chromium_check;
use crate::{Address, Candidate, Config, Event, Path, Role, State};

const ROLES: [Role; 2] = [Role::Controlling, Role::Controlled];

#[test]
fn two_hosts_complete_in_a_few_round_trips() {
    let mut net = Net::ready();
    net.run_until(State::Completed);
    assert!(net.elapsed() <= ms(6), "{:?}", net.elapsed());
    let path = Path::udp(addr("10.0.0.1:1000"), addr("10.0.0.2:2000"));
    let a = &net.ends[0];
    assert_eq!(a.agent.selected_path(), Some(path));
    assert_eq!(a.agent.can_send(), Some(path));
    assert!(a.agent.is_validated(path));
    assert_eq!(a.agent.rtt(), Some(ms(2)));
    assert_eq!(
        a.events,
        [
            Event::StateChange(State::Checking),
            Event::StateChange(State::Connected),
            Event::SelectedPath(path),
            Event::StateChange(State::Completed),
        ]
    );
    let back = Path::udp(path.remote, path.local);
    assert_eq!(net.ends[1].agent.selected_path(), Some(back));
    assert!(!net.ends[1].agent.is_validated(path));
}

#[test]
fn data_may_flow_after_one_round_trip() {
    let mut net = Net::ready();
    net.run(ms(2));
    assert!(net.ends.iter().all(|e| e.agent.can_send().is_some()));
}

#[test]
fn with_eight_interfaces_set_up_still_takes_milliseconds() {
    let mut net = Net::new(ROLES);
    for (end, net_byte) in [(0, 1), (1, 2)] {
        for i in 0..8 {
            let c = net.host(end, &format!("10.{i}.0.{net_byte}:1000"));
            net.tell(1 - end, &c);
        }
    }
    net.credentials();
    net.run_until(State::Completed);
    // The first pair works; the better ones, of which there are none, aren't waited for.
    assert!(net.elapsed() <= ms(8), "{:?}", net.elapsed());
}

#[test]
fn a_better_pair_under_way_is_waited_for_but_not_long() {
    let mut net = Net::new(ROLES);
    let mut told = Vec::new();
    for (end, host) in [(0, ["10.0.0.1:1", "[fd09::1]:1"]), (1, ["10.0.0.2:1", "[fd09::2]:1"])] {
        for base in host {
            told.push((1 - end, net.host(end, base)));
        }
    }
    for (end, c) in &told {
        net.tell(*end, c);
    }
    // IPv6 is better but dead.
    net.drop = Box::new(|_, path, _| path.remote.is_ipv6());
    net.credentials();
    net.run_until(State::Completed);
    assert!(
        net.elapsed() >= ms(100) && net.elapsed() <= ms(120),
        "Ta, then the settle time: {:?}",
        net.elapsed()
    );
    assert!(net.ends[0].agent.selected_path().unwrap().remote.is_ipv4());
}

#[test]
fn one_side_without_any_candidate_of_the_other_is_reached_by_its_checks() {
    for known in 0..2 {
        let mut net = Net::new(ROLES);
        let a = net.host(0, "10.0.0.1:1000");
        let b = net.host(1, "10.0.0.2:2000");
        let line = "candidate:1 1 udp 2113937151 90d0c6a0-4209-41e1-81f2-b20684468535.local 52100 typ host";
        let hidden: Candidate = line.parse().unwrap();
        net.tell(known, if known == 0 { &b } else { &a });
        net.tell(1 - known, &hidden);
        let now = net.now;
        net.ends[1 - known].agent.end_of_remote_candidates(now);
        net.credentials();
        net.run_until(State::Completed);
        assert!(net.elapsed() <= ms(10), "{:?}", net.elapsed());
        let stats = net.ends[1 - known].agent.stats();
        assert_eq!((stats.candidates_ignored, stats.prflx_learned), (1, 1));
    }
}

#[test]
fn checks_before_the_credentials_are_answered_and_followed_when_they_come() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    let b = net.host(1, "10.0.0.2:2000");
    net.tell(0, &b);
    net.credentials_to(0);
    net.run(ms(40));
    assert_eq!(net.states(), [State::Completed, State::New], "the answers alone satisfy A");
    let path = net.ends[1].agent.selected_path();
    assert_eq!(path, None);
    net.credentials_to(1);
    net.run_until(State::Completed);
    assert!(net.elapsed() <= ms(45), "{:?}", net.elapsed());
}

#[test]
fn a_check_on_an_address_not_gathered_yet_is_followed_once_it_is() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    net.credentials();
    let path = Path::udp(addr("10.0.9.9:9"), addr("10.0.0.2:2000"));
    let ufrag = net.ends[1].agent.local_credentials().ufrag.clone();
    let request = chromium_check(&net.ends[0].agent, &ufrag, 1, false, false);
    let now = net.now;
    assert!(net.ends[0].agent.handle_input(now, path, &request));
    assert_eq!(net.ends[0].agent.stats().pairs, 0);
    net.ends[0].agent.add_local_host(now, path.local).unwrap();
    assert_eq!(net.ends[0].agent.stats().pairs, 1);
}

#[test]
fn candidates_may_come_in_any_order_around_the_credentials() {
    for order in 0..64u32 {
        let mut net = Net::new(ROLES);
        let steps: [fn(&mut Net); 6] = [
            |net| net.credentials_to(0),
            |net| net.credentials_to(1),
            |net| {
                let a = net.host(0, "10.0.0.1:1000");
                net.tell(1, &a);
            },
            |net| {
                let b = net.host(1, "10.0.0.2:2000");
                net.tell(0, &b);
            },
            |net| {
                let now = net.now;
                net.ends.iter_mut().for_each(|e| e.agent.end_of_local_candidates(now));
            },
            |net| {
                let now = net.now;
                net.ends.iter_mut().for_each(|e| e.agent.end_of_remote_candidates(now));
            },
        ];
        let mut left: Vec<_> = steps.to_vec();
        let mut n = order;
        while !left.is_empty() {
            let at = (n as usize) % left.len();
            n = n.wrapping_mul(7).wrapping_add(3);
            left.remove(at)(&mut net);
            net.run(ms(17));
        }
        net.run_until(State::Completed);
    }
}

#[test]
fn two_controlling_agents_agree() {
    for role in [Role::Controlling, Role::Controlled] {
        for swap in [false, true] {
            let mut net = Net::new([role; 2]);
            net.ends[usize::from(swap)].agent.tie_breaker = u64::MAX;
            let a = net.host(0, "10.0.0.1:1000");
            let b = net.host(1, "10.0.0.2:2000");
            net.tell(0, &b);
            net.tell(1, &a);
            net.credentials();
            net.run_until(State::Completed);
            assert_eq!(
                net.ends[usize::from(swap)].agent.role(),
                Role::Controlling,
                "the greater tie-breaker"
            );
            assert_eq!(net.ends[usize::from(!swap)].agent.role(), Role::Controlled);
            assert!(net.ends.iter().all(|e| e.agent.stats().role_switches <= 2));
        }
    }
}

#[test]
fn equal_tie_breakers_come_apart() {
    for role in [Role::Controlling, Role::Controlled] {
        let mut net = Net::new([role; 2]);
        net.ends[0].agent.tie_breaker = 7;
        net.ends[1].agent.tie_breaker = 7;
        let a = net.host(0, "10.0.0.1:1000");
        let b = net.host(1, "10.0.0.2:2000");
        net.tell(0, &b);
        net.tell(1, &a);
        net.credentials();
        net.run_until(State::Completed);
        assert_ne!(net.ends[0].agent.role(), net.ends[1].agent.role());
    }
}

#[test]
fn roles_are_compared_in_a_session_until_a_path_is_selected() {
    let path = Path::udp(addr("10.0.0.1:1000"), addr("10.0.0.2:2001"));
    let refused = |net: &mut Net, ufrag: &str| {
        let now = net.now;
        let agent = &mut net.ends[0].agent;
        agent.tie_breaker = u64::MAX;
        let check = chromium_check(agent, ufrag, 1, true, true);
        let heard = agent.handle_input(now, path, &check);
        assert_eq!(agent.role(), Role::Controlling);
        heard.then_some(agent.stats().refused)
    };
    let theirs = |net: &Net| net.ends[1].agent.local_credentials().ufrag.clone();
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    assert_eq!(refused(&mut net, "early"), Some(0), "the session is not known yet");
    assert!(net.ends[0].agent.has_heard(path));
    let mut net = Net::ready();
    assert_eq!(refused(&mut net, "other"), None, "of a new port with our old credentials");
    assert!(!net.ends[0].agent.has_heard(path));
    let ufrag = theirs(&net);
    assert_eq!(refused(&mut net, &ufrag), Some(1));
    let mut net = Net::connected();
    assert_eq!(refused(&mut net, "other"), None);
    let ufrag = theirs(&net);
    assert_eq!(refused(&mut net, &ufrag), Some(0), "it decides nothing any more");
    assert!(net.ends[0].agent.has_heard(path));
}

#[test]
fn who_lets_the_peer_begin_takes_the_role_that_is_left() {
    for theirs in [Role::Controlling, Role::Controlled] {
        for ours in [Role::Controlling, Role::Controlled] {
            let mut net = Net::new([ours, theirs]);
            let a = net.host(0, "10.0.0.1:1000");
            let b = net.host(1, "10.0.0.2:2000");
            net.ends[0].agent.let_peer_begin(net.start + ms(500));
            net.tell(0, &b);
            net.credentials_to(0);
            net.run(ms(100));
            assert!(net.ends[0].sent.is_empty(), "the peer begins");
            net.tell(1, &a);
            net.credentials_to(1);
            net.run_until(State::Completed);
            assert!(net.elapsed() < ms(200), "{:?}", net.elapsed());
            assert_eq!((net.ends[0].agent.role(), net.ends[1].agent.role()), (theirs.other(), theirs));
            for end in &net.ends {
                assert_eq!((end.agent.stats().refused, end.agent.stats().role_switches), (0, 0));
            }
        }
    }
}

#[test]
fn a_peer_that_does_not_begin_is_waited_for_no_longer_than_said() {
    let mut net = Net::new([Role::Controlling; 2]);
    let a = net.host(0, "10.0.0.1:1000");
    let b = net.host(1, "10.0.0.2:2000");
    for (end, other, time) in [(0, &b, 500), (1, &a, 200)] {
        net.ends[end].agent.let_peer_begin(net.start + ms(time));
        net.tell(end, other);
    }
    net.credentials();
    net.run_until(State::Completed);
    assert!((ms(200)..ms(250)).contains(&net.elapsed()), "{:?}", net.elapsed());
    assert_eq!(net.ends[0].agent.role(), Role::Controlled, "the other has begun");
}

#[test]
fn a_lite_peer_makes_us_controlling() {
    let mut net = Net::new([Role::Controlled, Role::Controlled]);
    net.ends[0].agent.set_remote_lite(true);
    net.host(0, "10.0.0.1:1000");
    let b = net.host(1, "10.0.0.2:2000");
    net.tell(0, &b);
    // The other end answers only: it never learns our credentials, as a lite agent never checks.
    net.credentials_to(0);
    net.run(ms(50));
    assert_eq!(net.states()[0], State::Completed);
    assert_eq!(net.ends[0].agent.role(), Role::Controlling);
}

#[test]
fn a_candidate_of_another_generation_is_ignored_before_and_after_the_credentials() {
    for early in [true, false] {
        let mut net = Net::new(ROLES);
        net.host(0, "10.0.0.1:1000");
        let mut stale = net.host(1, "10.0.0.2:2000");
        stale.extensions.push(("ufrag".into(), "else".into()));
        if !early {
            net.credentials_to(0);
        }
        net.tell(0, &stale);
        if early {
            net.credentials_to(0);
        }
        let stats = net.ends[0].agent.stats();
        assert_eq!((stats.candidates_other_generation, stats.pairs), (1, 0));
        let mut current = stale.clone();
        current.extensions = vec![("ufrag".into(), net.ends[1].agent.local_credentials().ufrag.clone())];
        net.tell(0, &current);
        assert_eq!(net.ends[0].agent.stats().pairs, 1);
    }
}

#[test]
fn a_signalled_candidate_takes_over_from_the_one_learned() {
    let mut net = Net::new(ROLES);
    let a = net.host(0, "10.0.0.1:1000");
    let b = net.host(1, "10.0.0.2:2000");
    net.tell(0, &b);
    net.credentials();
    net.run_until(State::Completed);
    let learned = net.ends[1].agent.pairs[0].priority;
    net.tell(1, &a);
    assert_eq!(net.ends[1].agent.stats().pairs, 1);
    assert!(net.ends[1].agent.pairs[0].priority > learned);
    assert_eq!(net.ends[1].agent.pairs[0].priority, net.ends[0].agent.pairs[0].priority);
}

#[test]
fn checks_keep_the_pace() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    for i in 0..20 {
        let line = format!("candidate:{i} 1 udp {} 10.0.1.{} 9 typ host", 1000 + i, i + 1);
        net.tell(0, &line.parse().unwrap());
    }
    net.credentials_to(0);
    net.run(Duration::from_secs(2));
    let mut seen = Vec::new();
    for (at, path, _) in &net.ends[0].sent {
        if !seen.iter().any(|(_, p)| p == path) {
            seen.push((*at, *path));
        }
    }
    assert_eq!(seen.len(), 20);
    assert_eq!(seen[0].0, net.start, "the first at once");
    assert!(seen.windows(2).all(|w| w[1].0 - w[0].0 >= ms(50)), "one per Ta");
}

#[test]
fn pairs_of_one_foundation_wait_for_the_first_of_them() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    for (foundation, host, priority) in [("a", 1, 30), ("a", 2, 29), ("b", 3, 1)] {
        let line = format!("candidate:{foundation} 1 udp {priority} 10.0.1.{host} 9 typ host");
        net.tell(0, &line.parse().unwrap());
    }
    net.credentials_to(0);
    net.run(ms(300));
    let mut order: Vec<_> = net.ends[0].sent.iter().map(|(_, p, _)| p.remote.to_string()).collect();
    order.dedup();
    assert!(!order.contains(&"10.0.1.2:9".to_owned()), "{order:?}");
    assert!(order.contains(&"10.0.1.3:9".to_owned()), "{order:?}");
    net.run(Duration::from_secs(10));
    assert!(
        net.ends[0].sent.iter().any(|(_, p, _)| p.remote == addr("10.0.1.2:9")),
        "in the end it has its turn"
    );
}

#[test]
fn tenth_of_a_second_of_silence_at_the_start_does_no_harm() {
    let mut net = Net::ready();
    let mut dropped = 0;
    net.drop = Box::new(move |_, _, _| {
        dropped += 1;
        dropped <= 4
    });
    net.run_until(State::Completed);
    assert!(net.elapsed() < ms(400), "{:?}", net.elapsed());
}

#[test]
fn a_third_lost_and_all_reordered_still_connects() {
    for seed in 1..=60 {
        let mut net = Net::seeded([Config::default(), Config::default()], ROLES, seed);
        net.loss = 0.33;
        net.delay = ms(20);
        net.jitter = ms(60);
        for (end, bases) in [(0, ["10.0.0.1:1", "[fd09::1]:1"]), (1, ["10.0.0.2:1", "[fd09::2]:1"])] {
            for base in bases {
                let c = net.host(end, base);
                net.tell(1 - end, &c);
            }
        }
        net.credentials();
        net.run_until(State::Completed);
        // What one side sends on, the other takes.
        for (a, b) in [(0, 1), (1, 0)] {
            let path = net.ends[a].agent.can_send().unwrap();
            let back = Path::udp(path.remote, path.local);
            let agent = &net.ends[b].agent;
            assert!(agent.is_validated(back) || agent.has_heard(back), "seed {seed}");
        }
    }
}

#[test]
fn a_nomination_is_remembered_until_our_own_check_succeeds() {
    let mut net = Net::ready();
    // B's checks get nowhere, but its answers do.
    net.drop = Box::new(|end, _, bytes| end == 1 && bytes[0] == 0);
    net.run(Duration::from_secs(12));
    assert_eq!(net.states(), [State::Completed, State::Checking]);
    net.drop = Box::new(|_, _, _| false);
    net.run_until(State::Completed);
}

#[test]
fn an_unanswered_nomination_leaves_the_pair_good_for_what_comes_in() {
    let mut net = Net::ready();
    // A's nominations arrive, B's answers to them don't.
    let mut nominations = Vec::new();
    net.drop = Box::new(move |end, _, bytes| {
        if end == 0 && sinnet_stun::Message::parse(bytes).unwrap().use_candidate() {
            nominations.push(bytes[8..20].to_vec());
        }
        end == 1 && nominations.iter().any(|id| *id == bytes[8..20])
    });
    net.run(Duration::from_secs(9));
    assert_eq!(net.states(), [State::Connected, State::Completed]);
    let path = net.ends[1].agent.selected_path().unwrap();
    assert!(net.ends[0].agent.is_validated(Path::udp(path.remote, path.local)));
    net.drop = Box::new(|_, _, _| false);
    net.run_until(State::Completed);
}

#[test]
fn the_candidate_to_signal_says_where_the_socket_is() {
    let mut net = Net::new(ROLES);
    let c = net.host(0, "10.0.0.1:1000");
    assert_eq!(c.address, Address::Ip(addr("10.0.0.1:1000")));
    assert_eq!(c.to_string(), "candidate:1 1 udp 2130657279 10.0.0.1 1000 typ host");
    let now = net.now;
    let agent = &mut net.ends[0].agent;
    for base in
        ["10.0.0.1:1000", "0.0.0.0:5", "10.0.0.1:0", "224.0.0.1:5", "[::]:1", "[::ffff:10.0.0.1]:1000"]
    {
        assert_eq!(agent.add_local_host(now, addr(base)), None, "{base}");
    }
    assert!(agent.local_candidates().eq([&c]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    // Two ends send 14 checks before both give up; a dozen losses are never all of them.
    #[test]
    fn any_loss_pattern_at_the_start_ends_in_a_connection(pattern in proptest::collection::vec(any::<bool>(), 0..12)) {
        let mut net = Net::ready();
        let mut at = 0;
        net.drop = Box::new(move |_, _, _| {
            at += 1;
            pattern.get(at - 1).copied().unwrap_or(false)
        });
        net.run_until(State::Completed);
        let (a, b) = (net.ends[0].agent.selected_path().unwrap(), net.ends[1].agent.selected_path().unwrap());
        prop_assert_eq!((a.local, a.remote), (b.remote, b.local));
    }
}
