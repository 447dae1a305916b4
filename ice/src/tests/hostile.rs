//! Attackers: off the path without a password, and the authenticated peer itself.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use sinnet_stun::{Builder, Class, IntegrityKey, Message, Method, TransactionId};

use super::harness::{Net, addr, ms};
use super::wire::chromium_check;
use crate::{AddCandidateError, Candidate, Config, Path, Role, State};

const ROLES: [Role; 2] = [Role::Controlling, Role::Controlled];

fn from(port: u16) -> Path {
    Path::udp(addr("10.0.0.1:1000"), SocketAddr::new(addr("10.6.6.6:1").ip(), port))
}

#[test]
fn i2_requests_with_a_wrong_password_change_nothing_in_any_state() {
    for connected in [false, true] {
        let mut net = if connected { Net::connected() } else { Net::ready() };
        let mut request = chromium_check(&net.ends[0].agent, "evil", 1, false, true);
        let at = request.len() - 20;
        request[at] ^= 1;
        // The fingerprint made right again, so that the password is what fails.
        let mut no_fingerprint = request[..request.len() - 8].to_vec();
        no_fingerprint[3] -= 8;
        let now = net.now;
        let agent = &mut net.ends[0].agent;
        let (state, before, wake) = (agent.state(), agent.stats(), agent.poll_timeout());
        for i in 0..10_000u16 {
            assert!(!agent.handle_input(now, from(i.max(1)), &request));
            assert!(!agent.handle_input(now, from(i.max(1)), &no_fingerprint));
        }
        let after = agent.stats();
        assert_eq!(after.dropped_integrity, before.dropped_integrity + 20_000);
        assert_eq!((agent.state(), after.pairs, agent.poll_timeout()), (state, before.pairs, wake));
        assert_eq!((after.responses_sent, agent.early.len()), (before.responses_sent, 0));
        net.run_until(State::Completed);
    }
}

#[test]
fn a_strangers_user_name_gets_silence() {
    let mut net = Net::ready();
    let other = Net::new([Role::Controlled; 2]);
    let request = chromium_check(&other.ends[1].agent, "evil", 1, true, true);
    let now = net.now;
    let sent = net.ends[0].agent.stats().responses_sent;
    assert!(!net.ends[0].agent.handle_input(now, from(9), &request));
    assert_eq!(net.ends[0].agent.stats().dropped_username, 1);
    assert_eq!(net.ends[0].agent.stats().responses_sent, sent);
}

#[test]
fn i4_ten_thousand_candidates_are_a_bounded_burden() {
    let mut net = Net::new(ROLES);
    for i in 0..8 {
        net.host(0, &format!("10.0.{i}.1:1000"));
    }
    net.credentials_to(0);
    let now = net.now;
    let mut refused = 0;
    for i in 0..10_000u32 {
        let line = format!("candidate:{i} 1 udp {} 203.0.113.9 {} typ host", i + 1, i % 60_000 + 1);
        match net.ends[0].agent.add_remote_candidate(now, &line.parse().unwrap()) {
            Ok(()) => {}
            Err(AddCandidateError::TooMany) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(refused, 10_000 - 64);
    assert_eq!(net.ends[0].agent.stats().pairs, 100);
    net.run(Duration::from_secs(120));
    assert_eq!(net.states()[0], State::Failed);
    let sent = &net.ends[0].sent;
    assert!(sent.len() <= 700, "{}", sent.len());
    for window in sent.windows(100) {
        let time = window[99].0 - window[0].0;
        assert!(time >= ms(500), "100 datagrams in {time:?}");
    }
}

#[test]
fn i6_a_flood_from_every_fifth_port_learns_no_more_than_the_limit() {
    let mut net = Net::connected();
    let peer = net.ends[1].agent.local_credentials().ufrag.clone();
    let request = chromium_check(&net.ends[0].agent, &peer, 1, false, false);
    let selected = net.ends[0].agent.selected_path();
    let mut out = [0; 400];
    let mut sent = 0;
    for port in (1..=u16::MAX).step_by(5) {
        let now = net.now;
        let agent = &mut net.ends[0].agent;
        assert!(agent.handle_input(now, from(port), &request));
        if port % 3 == 0 {
            while agent.poll_transmit(now, &mut out).is_some() {
                sent += 1;
            }
        }
        assert!(agent.remotes.len() <= 33 && agent.pairs.len() <= 33, "one signalled, 32 learned");
        assert!(agent.checks.len() <= 210 && agent.out.len() <= 1024 && agent.triggered.len() <= 100);
    }
    let stats = net.ends[0].agent.stats();
    assert!(sent <= 2 * usize::from(u16::MAX), "answers, and few checks: {sent}");
    assert!(stats.prflx_evicted > 13_000, "{stats:?}");
    assert_eq!(net.ends[0].agent.selected_path(), selected);
    net.run(Duration::from_secs(60));
    assert_eq!(net.states(), [State::Completed; 2], "the connection lives on");
}

#[test]
fn the_same_check_over_and_over_undrained_stays_bounded() {
    let mut net = Net::ready();
    let peer = net.ends[1].agent.local_credentials().ufrag.clone();
    let request = chromium_check(&net.ends[0].agent, &peer, 1, false, false);
    for i in 0..20_000u64 {
        let now = net.now + ms(i * 7);
        let agent = &mut net.ends[0].agent;
        agent.handle_input(now, from(1 + (i % 3) as u16), &request);
        agent.handle_timeout(now);
        assert!(
            agent.checks.len() <= 16 && agent.out.len() <= 600,
            "{} {}",
            agent.checks.len(),
            agent.out.len()
        );
    }
    assert!(net.ends[0].agent.stats().responses_overflowed > 0);
}

#[test]
fn early_checks_are_remembered_up_to_a_limit() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    let request = chromium_check(&net.ends[0].agent, "ZNLI", 1, false, false);
    let now = net.now;
    for port in 1..=1000 {
        net.ends[0].agent.handle_input(now, from(port), &request);
    }
    assert_eq!(net.ends[0].agent.early.len(), 16);
    assert_eq!(net.ends[0].agent.stats().early_checks_dropped, 984);
}

#[test]
fn i7_a_peer_that_always_refuses_the_role_is_given_up() {
    let mut net = Net::ready();
    let now = net.now;
    let peer = net.ends[1].agent.local_key.clone();
    let mut out = [0; 400];
    let mut time = now;
    for _ in 0..2000 {
        time += ms(20);
        while let Some(t) = net.ends[0].agent.poll_transmit(time, &mut out) {
            let id = Message::parse(&out[..t.len]).unwrap().transaction_id();
            let mut reply = [0; 100];
            let mut b = Builder::new(&mut reply, Class::ErrorResponse, Method::BINDING, id);
            b.error_code(487).integrity(&peer).fingerprint();
            let len = b.finish().unwrap();
            net.ends[0].agent.handle_input(time, t.path, &reply[..len]);
        }
        net.ends[0].agent.handle_timeout(time);
    }
    assert!(net.ends[0].agent.stats().role_switches <= 8);
    assert!(net.ends[0].agent.stats().requests_sent <= 20);
    assert_eq!(net.ends[0].agent.state(), State::Failed);
}

#[test]
fn i8_a_response_from_elsewhere_or_for_nothing_is_dropped() {
    let mut net = Net::ready();
    let mut out = [0; 400];
    let now = net.now;
    let peer = net.ends[1].agent.local_key.clone();
    let agent = &mut net.ends[0].agent;
    let t = agent.poll_transmit(now, &mut out).unwrap();
    let id = Message::parse(&out[..t.len]).unwrap().transaction_id();
    let reply = |id, key: &IntegrityKey| {
        let mut out = [0; 100];
        let mut b = Builder::new(&mut out, Class::SuccessResponse, Method::BINDING, id);
        b.xor_mapped_address(t.path.local).integrity(key).fingerprint();
        let len = b.finish().unwrap();
        out[..len].to_vec()
    };
    let good = reply(id, &peer);
    assert!(!agent.handle_input(now, from(7), &good), "another address");
    let other_local = Path { local: addr("10.0.0.9:1000"), ..t.path };
    assert!(!agent.handle_input(now, other_local, &good), "another of ours");
    assert!(!agent.handle_input(now, t.path, &reply(TransactionId([0; 12]), &peer)), "another transaction");
    assert!(!agent.handle_input(now, t.path, &reply(id, &IntegrityKey::short_term("x"))), "another password");
    assert_eq!(agent.stats().dropped_unmatched, 3);
    assert_eq!(agent.stats().dropped_integrity, 1);
    assert_eq!((agent.state(), agent.stats().pairs, agent.stats().prflx_learned), (State::Checking, 1, 0));
    assert!(agent.handle_input(now, t.path, &good), "the true one still counts");
    assert_eq!(agent.state(), State::Connected);
}

#[test]
fn i10_nothing_is_ever_sent_where_no_peer_can_be() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    net.host(0, "[fd09::1]:1000");
    net.credentials_to(0);
    let now = net.now;
    for (host, port) in [
        ("0.0.0.0", 9),
        ("::", 9),
        ("10.0.0.2", 0),
        ("224.0.0.251", 5353),
        ("255.255.255.255", 9),
        ("ff02::1", 9),
        ("::ffff:0.0.0.0", 9),
        ("::ffff:224.0.0.1", 9),
        ("::ffff:255.255.255.255", 9),
        ("240.0.0.1", 9),
    ] {
        let c: Candidate = format!("candidate:1 1 udp 1 {host} {port} typ host").parse().unwrap();
        let added = net.ends[0].agent.add_remote_candidate(now, &c);
        assert_eq!(added, Err(AddCandidateError::UnusableAddress), "{host}");
    }
    // The peer's own request doesn't get around it either.
    let peer = net.ends[1].agent.local_credentials().ufrag.clone();
    let request = chromium_check(&net.ends[0].agent, &peer, 1, false, false);
    for remote in ["10.0.0.2:0", "224.0.0.1:9", "255.255.255.255:9"] {
        let path = Path::udp(addr("10.0.0.1:1000"), addr(remote));
        net.ends[0].agent.handle_input(now, path, &request);
    }
    net.run(Duration::from_secs(40));
    assert!(net.ends[0].sent.is_empty());
}

#[test]
fn i13_a_thousand_names_cost_a_counter_each() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    for i in 0..1000 {
        net.tell(0, &format!("candidate:1 1 udp 1 {i:08x}.local 9 typ host").parse().unwrap());
    }
    let stats = net.ends[0].agent.stats();
    assert_eq!((stats.candidates_ignored, stats.pairs), (1000, 0));
}

#[test]
fn a_config_of_extremes_neither_panics_nor_spins() {
    for extreme in [Duration::ZERO, Duration::MAX] {
        for small in [0, 1] {
            let config = Config {
                reserve: small as usize,
                reserve_interval: extreme,
                lite: false,
                relay_only: false,
                hide_addresses: false,
                resolve_names: true,
                ta: extreme,
                triggered_burst: small,
                rto: extreme,
                max_sends: small as u8,
                consent_interval: extreme,
                consent_timeout: extreme,
                disconnect_after: extreme,
                patience: extreme,
                nomination_settle: extreme,
                max_local_candidates: 1,
                max_remote_candidates: 1,
                max_prflx_candidates: small as usize,
                max_pairs: small as usize,
                max_early_checks: small as usize,
            };
            let mut net = Net::with([config.clone(), config], ROLES);
            let a = net.host(0, "10.0.0.1:1000");
            let b = net.host(1, "10.0.0.2:2000");
            net.tell(0, &b);
            net.tell(1, &a);
            net.credentials();
            net.run(Duration::from_secs(1));
        }
    }
}

/// One call on an agent, for the model test.
#[derive(Clone, Debug)]
enum Step {
    Input { port: u16, kind: u8, flip: Option<(usize, u8)> },
    Noise(Vec<u8>),
    Candidate(u8),
    Local(u8),
    Credentials,
    Ends,
    Wait(u64),
    Transmit(u16),
    Role(bool),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let flip = proptest::option::weighted(0.3, any::<(usize, u8)>());
    prop_oneof![
        6 => (1u16..6, 0u8..6, flip).prop_map(|(port, kind, flip)| Step::Input { port, kind, flip }),
        1 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Step::Noise),
        2 => any::<u8>().prop_map(Step::Candidate),
        2 => (0u8..6).prop_map(Step::Local),
        1 => Just(Step::Credentials),
        1 => Just(Step::Ends),
        4 => (0u64..9000).prop_map(Step::Wait),
        6 => (0u16..600).prop_map(Step::Transmit),
        1 => any::<bool>().prop_map(Step::Role),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_sequence_of_calls_keeps_the_limits_and_the_clock(steps in proptest::collection::vec(step(), 0..120)) {
        let mut net = Net::new(ROLES);
        let (mut now, mut last, mut close_at) = (net.now, Vec::new(), 0);
        let peer = net.ends[1].agent.local_credentials().clone();
        let peer_key = IntegrityKey::short_term(&peer.pwd);
        let agent = &mut net.ends[0].agent;
        for step in steps {
            match step {
                Step::Input { port, kind, flip } => {
                    let mut bytes = match (kind, Message::parse(&last)) {
                        (0..4, _) => chromium_check(agent, &peer.ufrag, port as u8, kind & 1 == 1, kind & 2 == 2),
                        (kind, Ok(request)) => {
                            let mut out = [0; 200];
                            let class = if kind == 4 { Class::SuccessResponse } else { Class::ErrorResponse };
                            let mut b = Builder::new(&mut out, class, Method::BINDING, request.transaction_id());
                            if kind == 4 { b.xor_mapped_address(addr("10.0.0.1:1000")) } else { b.error_code(487) };
                            b.integrity(&peer_key).fingerprint();
                            let len = b.finish().unwrap();
                            out[..len].to_vec()
                        }
                        _ => Vec::new(),
                    };
                    if let (Some((at, mask)), false) = (flip, bytes.is_empty()) {
                        let at = at % bytes.len();
                        bytes[at] ^= mask;
                    }
                    agent.handle_input(now, from(port), &bytes);
                }
                Step::Noise(bytes) => { agent.handle_input(now, from(1), &bytes); }
                Step::Candidate(n) => {
                    let line = format!("candidate:{} 1 udp {} 10.6.6.6 {} typ host", n % 3, n, n % 9);
                    let _ = agent.add_remote_candidate(now, &line.parse().unwrap());
                }
                Step::Local(n) => { agent.add_local_host(now, addr(&format!("10.0.0.{}:1000", n + 1))); }
                Step::Credentials => { let _ = agent.set_remote_credentials(now, peer.clone()); }
                Step::Ends => { agent.end_of_local_candidates(now); agent.end_of_remote_candidates(now); }
                Step::Wait(time) => { now += ms(time); agent.handle_timeout(now); }
                Step::Transmit(size) => {
                    let mut out = vec![0; size.into()];
                    if let Some(t) = agent.poll_transmit(now, &mut out) {
                        if out[0] == 0 { last = out[..t.len].to_vec(); }
                        prop_assert!(t.path.remote.port() != 0);
                    }
                }
                Step::Role(controlling) => {
                    agent.set_role(if controlling { Role::Controlling } else { Role::Controlled });
                }
                // Mostly not, or little would happen after it.
                Step::Close => { close_at += 1; if close_at == 4 { agent.close(); } }
            }
            agent.handle_timeout(now);
            prop_assert!(agent.poll_timeout().is_none_or(|at| at > now));
            prop_assert!(agent.valid.len() <= agent.pairs.len() && agent.pairs.len() <= 100);
            for pair in &agent.pairs {
                prop_assert_eq!(agent.valid.contains(&pair.path), pair.is_valid());
            }
            if let Some(path) = agent.can_send() {
                prop_assert!(agent.is_validated(path));
                prop_assert!(matches!(agent.state(), State::Connected | State::Completed | State::Disconnected));
            } else {
                prop_assert!(!matches!(agent.state(), State::Connected | State::Completed | State::Disconnected));
            }
        }
    }
}
