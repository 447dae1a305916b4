//! How it ends when nothing works, and why.

use std::sync::Arc;
use std::time::Duration;

use super::harness::{Net, addr, base, ms};
use crate::{
    AddCandidateError, Agent, Candidate, Config, Credentials, CredentialsError, Event, FailReason, Path,
    Role, State,
};

const ROLES: [Role; 2] = [Role::Controlling, Role::Controlled];

/// Runs end 0 to its failure and gives the reason and the seconds it took.
fn fails(net: &mut Net) -> (FailReason, f64) {
    for _ in 0..1000 {
        if net.ends[0].agent.state() == State::Failed {
            let reason = net.ends[0].events.iter().find_map(|e| match e {
                Event::Failed(reason) => Some(*reason),
                _ => None,
            });
            assert_eq!(net.ends[0].events.last(), Some(&Event::StateChange(State::Failed)));
            assert_eq!(net.ends[0].agent.poll_timeout(), None);
            return (reason.unwrap(), net.elapsed().as_secs_f64());
        }
        net.run(ms(100));
    }
    panic!("it never failed");
}

fn with_remote(lines: &[&str]) -> Net {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    lines.iter().for_each(|line| net.tell(0, &line.parse::<Candidate>().unwrap()));
    net.credentials_to(0);
    let now = net.now;
    net.ends[0].agent.end_of_remote_candidates(now);
    net
}

#[test]
fn no_answer_from_anyone() {
    let mut net = with_remote(&[
        "candidate:1 1 udp 5 10.0.1.1 9 typ host",
        "candidate:2 1 udp 4 10.0.1.2 9 typ host",
        "candidate:3 1 udp 3 10.0.1.3 9 typ host",
    ]);
    let (reason, seconds) = fails(&mut net);
    assert_eq!(reason, FailReason::AllChecksFailed { pairs: 3 });
    assert!((30.0..31.0).contains(&seconds), "patience: {seconds}");
    assert_eq!(net.ends[0].sent.len(), 21, "seven sends a pair");
}

#[test]
fn only_names_and_no_check_ever() {
    let mut net = with_remote(&[
        "candidate:1 1 udp 5 aaaa.local 9 typ host",
        "candidate:2 1 TCP 4 0.0.0.0 9 typ host tcptype active",
    ]);
    let (reason, seconds) = fails(&mut net);
    assert_eq!(reason, FailReason::NoUsableRemoteCandidates { ignored: 2 });
    assert!((30.0..31.0).contains(&seconds), "{seconds}");
}

#[test]
fn nothing_from_the_peer_at_all() {
    let (reason, _) = fails(&mut with_remote(&[]));
    assert_eq!(reason, FailReason::NoRemoteCandidates);
}

#[test]
fn families_that_never_meet() {
    let (reason, _) = fails(&mut with_remote(&["candidate:1 1 udp 5 fd09::1 9 typ host"]));
    assert_eq!(reason, FailReason::NoPairs);
}

#[test]
fn nothing_gathered() {
    let mut net = Net::new(ROLES);
    net.tell(0, &"candidate:1 1 udp 5 10.0.1.1 9 typ host".parse().unwrap());
    net.credentials_to(0);
    assert_eq!(fails(&mut net).0, FailReason::NoLocalCandidates);
}

#[test]
fn while_candidates_trickle_patience_starts_anew() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    net.credentials_to(0);
    net.run(Duration::from_secs(25));
    net.tell(0, &"candidate:1 1 udp 5 10.0.1.1 9 typ host".parse().unwrap());
    let (_, seconds) = fails(&mut net);
    assert!((55.0..56.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_failed_pair_gets_another_chance_from_the_peers_check() {
    let mut net = Net::ready();
    net.drop = Box::new(|_, _, _| true);
    net.run(Duration::from_secs(20));
    assert_eq!(net.states(), [State::Checking; 2]);
    net.drop = Box::new(|_, _, _| false);
    let c: Candidate = "candidate:9 1 udp 9 10.0.0.3 9 typ host".parse().unwrap();
    net.tell(0, &c);
    net.host(1, "10.0.0.3:9");
    net.run_until(State::Completed);
}

#[test]
fn without_remote_credentials_nothing_ever_fails_or_is_sent() {
    let mut net = Net::new(ROLES);
    net.host(0, "10.0.0.1:1000");
    net.tell(0, &"candidate:1 1 udp 5 10.0.1.1 9 typ host".parse().unwrap());
    net.run(Duration::from_secs(3600));
    assert_eq!(net.states()[0], State::New);
    assert!(net.ends[0].sent.is_empty());
    assert_eq!(net.ends[0].agent.poll_timeout(), None);
}

#[test]
fn a_closed_agent_is_silent() {
    let mut net = Net::connected();
    let path = net.ends[0].agent.selected_path().unwrap();
    net.ends[0].agent.close();
    net.ends[0].agent.close();
    net.ends[0].sent.clear();
    net.run(Duration::from_secs(60));
    assert!(net.ends[0].sent.is_empty());
    assert_eq!(net.ends[0].events.last(), Some(&Event::StateChange(State::Closed)));
    let agent = &mut net.ends[0].agent;
    assert_eq!((agent.can_send(), agent.is_validated(path), agent.poll_timeout()), (None, false, None));
    let c: Candidate = "candidate:1 1 udp 5 10.0.1.1 9 typ host".parse().unwrap();
    assert_eq!(agent.add_remote_candidate(net.now, &c), Err(AddCandidateError::Closed));
    assert_eq!(net.ends[1].agent.state(), State::Failed, "the peer finds out by consent");
}

#[test]
fn credentials_do_not_change_under_way_and_are_not_our_own() {
    let mut net = Net::connected();
    let now = net.now;
    let own = net.ends[0].agent.local_credentials().clone();
    let theirs = net.ends[1].agent.local_credentials().clone();
    let agent = &mut net.ends[0].agent;
    assert_eq!(agent.set_remote_credentials(now, own), Err(CredentialsError::Own));
    assert_eq!(agent.set_remote_credentials(now, theirs.clone()), Ok(()));
    let other = crate::Credentials { ufrag: "other".into(), ..theirs };
    assert_eq!(agent.set_remote_credentials(now, other), Err(CredentialsError::Changed));
    assert_eq!(agent.state(), State::Completed);
}

#[test]
fn given_credentials_may_be_the_peers_and_our_own_check_come_back_is_nobodys() {
    let now = base();
    let shared = Credentials { ufrag: "libp2p+webrtc+v1/x".into(), pwd: "libp2p+webrtc+v1/01234".into() };
    for role in [Role::Controlling, Role::Controlled] {
        let config = Arc::new(Config::default());
        let mut agent = Agent::with_credentials(config.clone(), role, now, [1; 32], shared.clone()).unwrap();
        agent.set_remote_credentials(now, shared.clone()).unwrap();
        agent.add_local_host(now, addr("10.0.0.1:1"));
        let remote = "candidate:1 1 udp 2130706431 10.0.0.2 2 typ host".parse().unwrap();
        agent.add_remote_candidate(now, &remote).unwrap();
        let mut buf = [0; 500];
        let check = agent.poll_transmit(now, &mut buf).unwrap();
        let back = Path::udp(check.path.local, check.path.remote);
        assert!(!agent.handle_input(now, back, &buf[..check.len]));
        assert_eq!((agent.role(), agent.stats().role_switches, agent.stats().responses_sent), (role, 0, 0));
        let bad = Credentials { pwd: "short".into(), ..shared.clone() };
        let refused = Agent::with_credentials(config, role, now, [1; 32], bad);
        assert_eq!(refused.err(), Some(CredentialsError::Pwd));
    }
}
