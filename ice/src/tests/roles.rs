//! Role conflicts, both ways: the table of RFC 8445 §7.3.1.1, and 487 as an answer (§7.2.5.1).

use sinnet_stun::{Builder, Class, IntegrityKey, Message, Method, TransactionId};

use super::harness::{Net, addr, ms};
use crate::{Path, Role, State};

const OURS: u64 = 1 << 40;

fn path() -> Path {
    Path::udp(addr("10.0.0.1:1000"), addr("10.0.0.2:2000"))
}

/// A check of B's to A that claims this role; `None` claims none.
fn check(net: &Net, claims: Option<Role>, tie_breaker: u64, nominates: bool) -> Vec<u8> {
    let (a, b) = (net.ends[0].agent.local_credentials(), net.ends[1].agent.local_credentials());
    let mut out = [0; 300];
    let mut request = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId([9; 12]));
    request.username_pair(&a.ufrag, &b.ufrag).priority(1);
    match claims {
        Some(Role::Controlling) => request.ice_controlling(tie_breaker),
        Some(Role::Controlled) => request.ice_controlled(tie_breaker),
        None => &mut request,
    };
    if nominates {
        request.use_candidate();
    }
    request.integrity(&IntegrityKey::short_term(&a.pwd)).fingerprint();
    let len = request.finish().unwrap();
    out[..len].to_vec()
}

/// The first answer among what A has to send.
fn answer(net: &mut Net) -> Option<u16> {
    let mut out = [0; 400];
    while let Some(sent) = net.ends[0].agent.poll_transmit(net.now, &mut out) {
        let message = Message::parse(&out[..sent.len]).unwrap();
        match message.class() {
            Class::SuccessResponse => return None,
            Class::ErrorResponse => return message.error_code(),
            _ => {}
        }
    }
    panic!("no answer");
}

#[test]
fn i7_requests_with_every_role_and_tie_breaker_are_answered_as_the_table_has_it() {
    use Role::{Controlled, Controlling};
    for role in [Controlling, Controlled] {
        for claims in [Some(Controlling), Some(Controlled), None] {
            for theirs in [0, OURS - 1, OURS, OURS + 1, u64::MAX] {
                for nominates in [false, true] {
                    let mut net = Net::ready();
                    let agent = &mut net.ends[0].agent;
                    (agent.role, agent.tie_breaker) = (role, OURS);
                    let request = check(&net, claims, theirs, nominates);
                    let now = net.now;
                    assert!(net.ends[0].agent.handle_input(now, path(), &request));
                    let (code, after) = match (role, claims) {
                        (Controlling, Some(Controlling)) if OURS >= theirs => (Some(487), Controlling),
                        (Controlling, Some(Controlling)) => (None, Controlled),
                        (Controlled, Some(Controlled)) if OURS >= theirs => (None, Controlling),
                        (Controlled, Some(Controlled)) => (Some(487), Controlled),
                        _ => (None, role),
                    };
                    let case = format!("{role:?}, {claims:?} with {theirs}, nominates {nominates}");
                    assert_eq!(answer(&mut net), code, "{case}");
                    let agent = &net.ends[0].agent;
                    assert_eq!(agent.role(), after, "{case}");
                    assert_eq!(agent.stats().role_switches, u64::from(after != role), "{case}");
                    assert_eq!(agent.stats().refused, u64::from(code.is_some()), "{case}");
                    let noted = agent.pair(path()).unwrap().nominate;
                    // Who controls isn't told what to use.
                    assert_eq!(noted, nominates && code.is_none() && after == Controlled, "{case}");
                    assert_eq!(agent.selected_path(), None, "{case}");
                }
            }
        }
    }
}

#[test]
fn i7_a_487_has_the_check_sent_again_in_the_other_role_with_another_tie_breaker() {
    for role in [Role::Controlling, Role::Controlled] {
        let mut net = Net::new([role, role.other()]);
        net.host(0, "10.0.0.1:1000");
        let b = net.host(1, "10.0.0.2:2000");
        net.tell(0, &b);
        net.credentials_to(0);
        let key = net.ends[1].agent.local_key.clone();
        let mut out = [0; 400];
        let first = net.ends[0].agent.poll_transmit(net.now, &mut out).unwrap();
        let request = Message::parse(&out[..first.len]).unwrap();
        let claimed = |m: &Message<'_>| (m.ice_controlling(), m.ice_controlled());
        let (before, id) = (claimed(&request), request.transaction_id());
        for replay in 0..3 {
            let mut reply = [0; 100];
            let mut b = Builder::new(&mut reply, Class::ErrorResponse, Method::BINDING, id);
            b.error_code(487).integrity(&key).fingerprint();
            let len = b.finish().unwrap();
            let now = net.now;
            let known = net.ends[0].agent.handle_input(now, first.path, &reply[..len]);
            assert_eq!(known, replay == 0, "an answer counts once");
        }
        assert_eq!((net.ends[0].agent.role(), net.ends[0].agent.stats().role_switches), (role.other(), 1));
        let second = net.ends[0].agent.poll_transmit(net.now, &mut out).unwrap();
        let request = Message::parse(&out[..second.len]).unwrap();
        assert_eq!(second.path, first.path);
        assert_ne!(request.transaction_id(), id);
        let (was, is) = match role {
            Role::Controlling => (before.0, claimed(&request).1),
            Role::Controlled => (before.1, claimed(&request).0),
        };
        assert!(was.is_some() && is.is_some() && was != is, "{was:?} {is:?}");
    }
}

#[test]
fn i7_equal_tie_breakers_come_apart_in_few_switches_whatever_is_lost() {
    for role in [Role::Controlling, Role::Controlled] {
        for lost in 0..64u32 {
            let mut net = Net::new([role; 2]);
            for (end, base) in [(0, "10.0.0.1:1000"), (1, "10.0.0.2:2000")] {
                net.ends[end].agent.tie_breaker = OURS;
                let candidate = net.host(end, base);
                net.tell(1 - end, &candidate);
            }
            let mut sent = 0;
            net.drop = Box::new(move |_, _, _| {
                sent += 1;
                sent <= 6 && lost >> (sent - 1) & 1 == 1
            });
            net.credentials();
            net.run_until(State::Completed);
            assert_ne!(net.ends[0].agent.role(), net.ends[1].agent.role(), "{lost:#b}");
            let switches: u64 = net.ends.iter().map(|end| end.agent.stats().role_switches).sum();
            assert!(switches <= 5, "{switches} switches with {lost:#b}");
        }
    }
}

#[test]
fn data_can_flow_within_two_round_trips_of_the_candidates() {
    // Both know all, or one is found by the other's checks: an mDNS name, say.
    for blind in [None, Some(0), Some(1)] {
        let mut net = Net::new([Role::Controlling, Role::Controlled]);
        net.delay = ms(10);
        for (end, base) in [(0, "10.0.0.1:1000"), (1, "10.0.0.2:2000")] {
            let candidate = net.host(end, base);
            if blind != Some(1 - end) {
                net.tell(1 - end, &candidate);
            }
        }
        net.credentials();
        net.run(ms(40));
        for end in &net.ends {
            let path = end.agent.can_send().expect("two round trips have passed");
            assert!(end.agent.is_validated(path));
        }
        if blind.is_none() {
            let mut net = Net::ready();
            net.run(ms(2));
            assert!(net.ends.iter().all(|end| end.agent.can_send().is_some()), "in one, in fact");
        }
    }
}
