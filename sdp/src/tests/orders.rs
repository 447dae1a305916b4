//! Every order of signalling events ends in a documented state (row G3 of the list of attacks).

use super::transport;
use crate::{DtlsRole, Error, Negotiator, SdpType, SignalingState};

/// One thing that the application or the peer may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    LocalOffer,
    LocalAnswer,
    Rollback,
    RemoteOffer,
    RemoteAnswer,
    Reading,
    Close,
}

use Step::*;

/// The table of the module `negotiate`, written a second time.
fn next(state: SignalingState, step: Step) -> Option<SignalingState> {
    use SignalingState::{Closed, HaveLocalOffer, HaveRemoteOffer, Stable};
    Some(match (state, step) {
        (_, Close) => Closed,
        (Stable | HaveLocalOffer, LocalOffer) => HaveLocalOffer,
        (Stable | HaveRemoteOffer, RemoteOffer) => HaveRemoteOffer,
        (_, Reading) => state,
        (HaveLocalOffer, RemoteAnswer) | (HaveRemoteOffer, LocalAnswer) => Stable,
        (HaveLocalOffer | HaveRemoteOffer, Rollback) => Stable,
        _ => return None,
    })
}

fn apply(n: &mut Negotiator, step: Step, peer: &(String, String)) -> Result<(), Error> {
    match step {
        LocalOffer => {
            let offer = n.create_offer(&transport('a'))?;
            n.set_local(SdpType::Offer, &offer)
        }
        LocalAnswer => {
            let answer = n.create_answer(&transport('a'))?;
            n.set_local(SdpType::Answer, &answer)
        }
        Rollback => n.rollback(),
        RemoteOffer => n.set_remote(SdpType::Offer, &peer.0).map(|_| ()),
        RemoteAnswer => n.set_remote(SdpType::Answer, &peer.1).map(|_| ()),
        Reading => {
            let _ = (n.local_description_with(&[], false), n.mline_index(), n.remote());
            Ok(())
        }
        Close => {
            n.close();
            Ok(())
        }
    }
}

fn peer() -> (String, String) {
    let offer = Negotiator::new(9).create_offer(&transport('z')).unwrap();
    let answer = offer.replace("setup:actpass", "setup:active");
    (offer, answer)
}

fn permutations(steps: &mut Vec<Step>, from: usize, out: &mut Vec<Vec<Step>>) {
    if from == steps.len() {
        out.push(steps.clone());
    }
    for i in from..steps.len() {
        steps.swap(from, i);
        permutations(steps, from + 1, out);
        steps.swap(from, i);
    }
}

fn check(order: &[Step], peer: &(String, String)) {
    let mut n = Negotiator::new(1);
    let mut state = SignalingState::Stable;
    let mut role = None;
    for &step in order {
        let before = (n.remote().cloned(), n.dtls_role(), n.mid().map(str::to_owned));
        let result = apply(&mut n, step, peer);
        match next(state, step) {
            // We would be server by the peer's answer and client by ours: the second can't be had.
            Some(_) if step == RemoteAnswer && role == Some(DtlsRole::Client) => {
                assert_eq!(result, Err(Error::RoleChanged), "{order:?} at {step:?}");
            }
            Some(expected) => {
                assert_eq!(result, Ok(()), "{order:?} at {step:?}");
                state = expected;
                match step {
                    LocalAnswer => role = role.or(Some(DtlsRole::Client)),
                    RemoteAnswer => role = Some(DtlsRole::Server),
                    _ => {}
                }
            }
            None => {
                let Err(Error::WrongState { state: named, .. }) = result else {
                    panic!("{order:?} at {step:?}: {result:?}")
                };
                assert_eq!(named, state);
                assert_eq!(before, (n.remote().cloned(), n.dtls_role(), n.mid().map(str::to_owned)));
            }
        }
        assert_eq!(n.signaling_state(), state, "{order:?} at {step:?}");
        assert_eq!(n.dtls_role(), role, "{order:?} at {step:?}");
    }
}

#[test]
fn g3_all_720_orders_of_six_signalling_events_end_in_a_documented_state() {
    let peer = peer();
    let mut orders = Vec::new();
    let mut steps = vec![LocalOffer, LocalAnswer, Rollback, RemoteOffer, RemoteAnswer, Close];
    permutations(&mut steps, 0, &mut orders);
    assert_eq!(orders.len(), 720);
    orders.iter().for_each(|order| check(order, &peer));
}

#[test]
fn g3_so_do_all_sequences_of_five_with_repetition() {
    let peer = peer();
    let steps = [LocalOffer, LocalAnswer, Rollback, RemoteOffer, RemoteAnswer, Reading];
    let count = steps.len().pow(5);
    for n in 0..count {
        let order: Vec<_> = (0..5).map(|digit| steps[n / steps.len().pow(digit) % steps.len()]).collect();
        check(&order, &peer);
    }
}

#[test]
fn glare_is_solved_by_the_side_that_rolls_back() {
    let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
    let offer_a = a.create_offer(&transport('a')).unwrap();
    let offer_z = z.create_offer(&transport('z')).unwrap();
    a.set_local(SdpType::Offer, &offer_a).unwrap();
    z.set_local(SdpType::Offer, &offer_z).unwrap();
    assert!(matches!(z.set_remote(SdpType::Offer, &offer_a), Err(Error::WrongState { .. })));
    z.rollback().unwrap();
    z.set_remote(SdpType::Offer, &offer_a).unwrap();
    let answer = z.create_answer(&transport('z')).unwrap();
    z.set_local(SdpType::Answer, &answer).unwrap();
    a.set_remote(SdpType::Answer, &answer).unwrap();
    assert_eq!((a.dtls_role(), z.dtls_role()), (Some(DtlsRole::Server), Some(DtlsRole::Client)));
}

#[test]
fn a_rollback_brings_the_description_in_force_back() {
    let peer = peer();
    let mut n = Negotiator::new(1);
    apply(&mut n, RemoteOffer, &peer).unwrap();
    apply(&mut n, LocalAnswer, &peer).unwrap();
    let in_force = n.remote().cloned();
    let restart = peer.0.replace("zzzzzzzz", "yyyyyyyy");
    assert!(n.set_remote(SdpType::Offer, &restart).unwrap().ice_restart);
    assert_eq!(n.rollback(), Ok(()));
    assert_eq!(n.remote().cloned(), in_force);
    assert!(n.rollback().is_err(), "nothing is left to take back");
}

#[test]
fn only_what_was_made_here_last_can_be_set() {
    let mut n = Negotiator::new(1);
    assert_eq!(n.set_local(SdpType::Offer, ""), Err(Error::NotCreatedHere));
    let first = n.create_offer(&transport('a')).unwrap();
    let second = n.create_offer(&transport('b')).unwrap();
    assert_eq!(n.set_local(SdpType::Offer, &first), Err(Error::NotCreatedHere));
    let munged = second.replace("5000", "5001");
    assert_eq!(n.set_local(SdpType::Offer, &munged), Err(Error::NotCreatedHere));
    assert_eq!(n.set_local(SdpType::Offer, &second), Ok(()));
    // An offer that was made before the peer's came is of no use after it.
    let mut n = Negotiator::new(1);
    let stale = n.create_offer(&transport('a')).unwrap();
    n.set_remote(SdpType::Offer, &peer().0).unwrap();
    n.create_answer(&transport('a')).unwrap();
    n.set_local(SdpType::Answer, "").unwrap();
    assert_eq!(n.set_local(SdpType::Offer, &stale), Err(Error::NotCreatedHere));
}
