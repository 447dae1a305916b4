//! RFC 7675: consent is asked for, given, lost.

use std::time::Duration;

use sinnet_stun::{Builder, Class, IntegrityKey, Message, Method};

use super::harness::{Net, ms};
use crate::{Event, FailReason, State};

fn is_response(bytes: &[u8]) -> bool {
    !matches!(Message::parse(bytes).unwrap().class(), Class::Request)
}

#[test]
fn checks_go_out_every_four_to_six_seconds_and_never_twice_the_same() {
    let mut net = Net::connected();
    net.ends.iter_mut().for_each(|e| e.sent.clear());
    net.run(Duration::from_secs(600));
    assert_eq!(net.states(), [State::Completed; 2]);
    let requests: Vec<_> = net.ends[0].sent.iter().filter(|(_, _, b)| !is_response(b)).collect();
    let gaps: Vec<_> = requests.windows(2).map(|w| w[1].0 - w[0].0).collect();
    assert!(gaps.len() > 95 && gaps.iter().all(|g| (ms(4000)..=ms(6000)).contains(g)), "{gaps:?}");
    assert!(gaps.windows(2).any(|w| w[0] != w[1]), "randomised");
    let mut ids: Vec<_> = requests.iter().map(|(_, _, b)| b[8..20].to_vec()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), requests.len());
    assert!(requests.iter().all(|(_, _, b)| !Message::parse(b).unwrap().use_candidate()));
}

#[test]
fn one_lost_consent_check_is_not_a_disconnection() {
    let mut net = Net::connected();
    let mut lost = false;
    net.drop = Box::new(move |end, _, _| end == 0 && !std::mem::replace(&mut lost, true));
    net.run(Duration::from_secs(120));
    assert!(!net.ends[0].events.contains(&Event::StateChange(State::Disconnected)));
}

#[test]
fn silence_disconnects_and_an_answer_heals() {
    let mut net = Net::connected();
    net.drop = Box::new(|_, _, _| true);
    net.run(Duration::from_secs(20));
    assert_eq!(net.states(), [State::Disconnected; 2]);
    assert!(net.ends[0].agent.can_send().is_some(), "consent hasn't run out yet");
    net.drop = Box::new(|_, _, _| false);
    net.run(Duration::from_secs(7));
    assert_eq!(net.states(), [State::Completed; 2]);
}

#[test]
fn sending_ends_thirty_seconds_after_the_last_answer() {
    let mut net = Net::connected();
    net.drop = Box::new(|end, _, bytes| end == 1 && is_response(bytes));
    let silent_from = net.now;
    let path = net.ends[0].agent.selected_path().unwrap();
    while net.ends[0].agent.state() != State::Failed {
        net.run(ms(100));
        assert!(net.now - silent_from <= Duration::from_secs(31), "requests from the peer are no consent");
    }
    assert!(net.now - silent_from >= Duration::from_secs(24), "{:?}", net.now - silent_from);
    let agent = &net.ends[0].agent;
    assert_eq!((agent.can_send(), agent.is_validated(path), agent.poll_timeout()), (None, false, None));
    let events = &net.ends[0].events;
    assert_eq!(
        events[events.len() - 2..],
        [Event::Failed(FailReason::ConsentExpired { path }), Event::StateChange(State::Failed)]
    );
}

#[test]
fn answers_with_a_wrong_password_are_no_consent() {
    let mut net = Net::connected();
    net.drop = Box::new(|end, _, bytes| end == 1 && is_response(bytes));
    let wrong = IntegrityKey::short_term("wrongwrongwrongwrongwrong");
    for _ in 0..36 {
        net.ends[0].sent.clear();
        net.run(ms(1000));
        for (_, path, bytes) in std::mem::take(&mut net.ends[0].sent) {
            let id = Message::parse(&bytes).unwrap().transaction_id();
            let mut out = [0; 100];
            let mut b = Builder::new(&mut out, Class::SuccessResponse, Method::BINDING, id);
            b.xor_mapped_address(path.local).integrity(&wrong).fingerprint();
            let len = b.finish().unwrap();
            assert!(!net.ends[0].agent.handle_input(net.now, path, &out[..len]));
        }
    }
    assert_eq!(net.ends[0].agent.state(), State::Failed);
    assert!(net.ends[0].agent.stats().dropped_integrity >= 4);
}

#[test]
fn a_day_of_suspension_ends_in_one_failure_and_no_burst() {
    let mut net = Net::connected();
    net.ends[0].sent.clear();
    let now = net.now + Duration::from_secs(86_400);
    net.ends[0].agent.handle_timeout(now);
    assert_eq!(net.ends[0].agent.state(), State::Failed);
    assert!(net.ends[0].agent.poll_transmit(now, &mut [0; 400]).is_none());
}

#[test]
fn before_nomination_the_pair_in_use_is_kept_fresh_too() {
    let mut net = Net::ready();
    // A's nomination never arrives: only its first check does.
    net.drop = Box::new(|end, _, bytes| end == 0 && Message::parse(bytes).unwrap().use_candidate());
    net.run(ms(1000));
    assert_eq!(net.ends[1].agent.state(), State::Connected);
    let before = net.ends[1].agent.stats().consents;
    net.run(Duration::from_secs(25));
    assert!(net.ends[1].agent.stats().consents >= before + 4);
}
