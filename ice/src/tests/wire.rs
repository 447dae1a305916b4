//! What is on the wire, to and from: attributes, browsers' checks, errors.

use sinnet_stun::{AttributeType, Builder, Class, IntegrityKey, Message, Method, TransactionId};

use super::harness::{Net, addr, ms};
use crate::{Agent, Path, Role, State, binding_request_local_ufrag};

/// A request as Chromium 156 sends it: USERNAME, GOOG-NETWORK-INFO, role, USE-CANDIDATE, PRIORITY, MI, FP.
pub(super) fn chromium_check(
    to: &Agent,
    from_ufrag: &str,
    id: u8,
    controlling: bool,
    nominate: bool,
) -> Vec<u8> {
    let mut out = [0; 400];
    let key = IntegrityKey::short_term(&to.local_credentials().pwd);
    let mut b = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId([id; 12]));
    b.username_pair(&to.local_credentials().ufrag, from_ufrag);
    b.attribute(AttributeType::GOOG_NETWORK_INFO, &[0, 0, 3, 0xE7]);
    if controlling {
        b.ice_controlling(0x2b9f_04a0_6639_8dbd)
    } else {
        b.ice_controlled(0x3ad5_8b16_234f_15e8)
    };
    if nominate {
        b.use_candidate();
    }
    b.priority(0x6e00_1eff).integrity(&key).fingerprint();
    let len = b.finish().unwrap();
    out[..len].to_vec()
}

fn path() -> Path {
    Path::udp(addr("10.0.0.1:1000"), addr("10.9.0.7:52100"))
}

fn answer(agent: &mut Agent, net: &Net) -> Vec<u8> {
    let mut out = [0; 400];
    let t = agent.poll_transmit(net.now, &mut out).unwrap();
    assert_eq!(t.path, path());
    out[..t.len].to_vec()
}

#[test]
fn a_check_has_what_the_rfc_asks_for() {
    let mut net = Net::ready();
    net.run(ms(4));
    let remote = net.ends[1].agent.local_credentials().clone();
    let local = net.ends[0].agent.local_credentials().clone();
    let bytes = &net.ends[0].sent[0].2;
    let m = Message::parse(bytes).unwrap();
    assert_eq!((m.class(), m.method()), (Class::Request, Method::BINDING));
    assert_eq!(m.username(), Some(format!("{}:{}", remote.ufrag, local.ufrag).as_str()));
    assert_eq!(m.priority(), Some(110 << 24 | 65_343 << 8 | 255));
    assert!(m.ice_controlling().is_some() && m.ice_controlled().is_none() && !m.use_candidate());
    assert!(m.verify_integrity(&IntegrityKey::short_term(&remote.pwd)).is_valid());
    assert!(m.verify_fingerprint().is_valid());
    assert_eq!(binding_request_local_ufrag(bytes), Some(remote.ufrag.as_str()));
    let nominating = net.ends[0].sent.iter().filter(|(_, _, b)| Message::parse(b).unwrap().use_candidate());
    assert_eq!(nominating.count(), 1, "regular nomination");
}

#[test]
fn a_retransmission_is_the_same_to_the_byte() {
    let mut net = Net::ready();
    net.drop = Box::new(|_, _, _| true);
    net.run(ms(1000));
    let sent = &net.ends[0].sent;
    assert_eq!(sent.len(), 4, "at 0, 100, 300 and 700 ms");
    assert!(sent.iter().all(|(_, _, b)| *b == sent[0].2));
    let times: Vec<_> = sent.iter().map(|(at, ..)| (*at - net.start).as_millis()).collect();
    assert_eq!(times, [0, 100, 300, 700]);
}

#[test]
fn a_browsers_nominating_first_check_is_answered_and_followed() {
    let mut net = Net::new([Role::Controlled; 2]);
    net.host(0, "10.0.0.1:1000");
    let browser = IntegrityKey::short_term("bEgYxwdsPZk4Ewq+ZTo/9Qg7");
    let credentials = crate::Credentials { ufrag: "ZNLI".into(), pwd: "bEgYxwdsPZk4Ewq+ZTo/9Qg7".into() };
    let now = net.now;
    let mut agent = net.ends.swap_remove_first();
    agent.set_remote_credentials(now, credentials).unwrap();
    let request = chromium_check(&agent, "ZNLI", 1, true, true);
    assert!(agent.handle_input(now, path(), &request));
    let success = answer(&mut agent, &net);
    assert_eq!(success.len(), 64, "as browsers answer");
    let m = Message::parse(&success).unwrap();
    assert_eq!((m.class(), m.xor_mapped_address()), (Class::SuccessResponse, Some(path().remote)));
    assert!(m.verify_integrity(&agent.local_key).is_valid());
    // The triggered check goes out at once; its answer selects the pair.
    let check = answer(&mut agent, &net);
    let m = Message::parse(&check).unwrap();
    assert!(m.ice_controlled().is_some() && m.verify_integrity(&browser).is_valid());
    assert_eq!(agent.state(), State::Checking);
    let mut out = [0; 100];
    let mut b = Builder::new(&mut out, Class::SuccessResponse, Method::BINDING, m.transaction_id());
    b.xor_mapped_address(path().local).integrity(&browser).fingerprint();
    let len = b.finish().unwrap();
    assert!(agent.handle_input(now, path(), &out[..len]));
    assert_eq!((agent.state(), agent.selected_path()), (State::Completed, Some(path())));
    // Every later check carries USE-CANDIDATE too; nothing changes.
    let again = chromium_check(&agent, "ZNLI", 2, true, true);
    assert!(agent.handle_input(now, path(), &again));
    assert_eq!(agent.selected_path(), Some(path()));
    assert!(!agent.handle_input(now, path(), &out[..len]), "a response counts once");
}

#[test]
fn an_unknown_required_attribute_is_named_in_a_420() {
    let mut net = Net::new([Role::Controlled; 2]);
    net.host(0, "10.0.0.1:1000");
    let mut agent = net.ends.swap_remove_first();
    let key = IntegrityKey::short_term(&agent.local_credentials().pwd);
    let mut out = [0; 400];
    let mut b = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId([3; 12]));
    b.username_pair(&agent.local_credentials().ufrag, "ZNLI").priority(1);
    b.attribute(AttributeType(0x7ABC), b"?").integrity(&key).fingerprint();
    let len = b.finish().unwrap();
    assert!(agent.handle_input(net.now, path(), &out[..len]));
    let refusal = answer(&mut agent, &net);
    assert!(refusal.len() <= len);
    let m = Message::parse(&refusal).unwrap();
    assert_eq!((m.class(), m.error_code()), (Class::ErrorResponse, Some(420)));
    assert_eq!(m.unknown_attributes().collect::<Vec<_>>(), [AttributeType(0x7ABC)]);
    assert!(m.verify_integrity(&key).is_valid());
    assert!(agent.early.is_empty(), "a refused check changes nothing");
}

#[test]
fn a_request_without_priority_is_a_400() {
    let mut net = Net::new([Role::Controlled; 2]);
    net.host(0, "10.0.0.1:1000");
    let mut agent = net.ends.swap_remove_first();
    let key = IntegrityKey::short_term(&agent.local_credentials().pwd);
    let mut out = [0; 400];
    let mut b = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId([3; 12]));
    b.username_pair(&agent.local_credentials().ufrag, "ZNLI").integrity(&key).fingerprint();
    let len = b.finish().unwrap();
    assert!(agent.handle_input(net.now, path(), &out[..len]));
    assert_eq!(Message::parse(&answer(&mut agent, &net)).unwrap().error_code(), Some(400));
}

#[test]
fn only_binding_requests_name_a_ufrag() {
    let net = Net::new([Role::Controlled; 2]);
    let request = chromium_check(&net.ends[0].agent, "ZNLI", 1, true, false);
    let ufrag = net.ends[0].agent.local_credentials().ufrag.as_str();
    assert_eq!(binding_request_local_ufrag(&request), Some(ufrag));
    let mut response = request.clone();
    response[0] = 1;
    assert_eq!(binding_request_local_ufrag(&response), None);
    for cut in 0..request.len() {
        assert_eq!(binding_request_local_ufrag(&request[..cut]), None);
    }
    assert_eq!(binding_request_local_ufrag(&[22; 100]), None);
}

#[test]
fn a_buffer_too_small_loses_the_datagram_and_nothing_else() {
    let mut net = Net::ready();
    let now = net.now;
    let agent = &mut net.ends[0].agent;
    assert_eq!(agent.poll_transmit(now, &mut [0; 10]), None);
    assert_eq!(agent.stats().transmit_too_small, 1);
    net.run_until(State::Completed);
}

/// The first end, out of an array that can't be taken apart otherwise.
trait SwapRemoveFirst {
    fn swap_remove_first(&mut self) -> Agent;
}

impl SwapRemoveFirst for [super::harness::End; 2] {
    fn swap_remove_first(&mut self) -> Agent {
        let now = super::harness::base();
        std::mem::replace(&mut self[0], super::harness::End::new(Role::Controlled, now, 99)).agent
    }
}
