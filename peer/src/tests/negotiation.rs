//! Every order of what signalling may do, and what an offer that is taken back leaves behind.

use std::time::Instant;

use sinnet_sdp::DtlsRole;

use super::{base, peer};
use crate::{
    CandidateError, ChannelOptions, ChannelState, Event, NegotiationError, OpenError, Peer, Politeness,
    Received, SdpType, SignalingState,
};

const CANDIDATE: &str = "candidate:1 1 udp 2130706431 10.0.0.3 9 typ host";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    LocalOffer,
    LocalAnswer,
    RemoteOffer,
    RemoteAnswer,
    Rollback,
    Candidate,
    Close,
}
use Step::*;

const STEPS: [Step; 7] = [LocalOffer, LocalAnswer, RemoteOffer, RemoteAnswer, Rollback, Candidate, Close];

/// What the table in `docs/data-channels.md` says.
fn next(state: SignalingState, step: Step) -> Option<SignalingState> {
    use SignalingState::{Closed, HaveLocalOffer, HaveRemoteOffer, Stable};
    Some(match (state, step) {
        (_, Close) => Closed,
        (Stable | HaveLocalOffer, LocalOffer) => HaveLocalOffer,
        (Stable | HaveRemoteOffer, RemoteOffer) => HaveRemoteOffer,
        (HaveLocalOffer, RemoteAnswer) | (HaveRemoteOffer, LocalAnswer) => Stable,
        (HaveLocalOffer | HaveRemoteOffer, Rollback) => Stable,
        (Stable | HaveLocalOffer | HaveRemoteOffer, Candidate) => state,
        _ => return None,
    })
}

fn apply(peer: &mut Peer, now: Instant, step: Step, their: &[String; 2]) -> Result<(), String> {
    let text = |error: NegotiationError| error.to_string();
    match step {
        LocalOffer => peer
            .create_offer()
            .and_then(|sdp| peer.set_local_description(now, SdpType::Offer, &sdp))
            .map_err(text),
        LocalAnswer => peer
            .create_answer()
            .and_then(|sdp| peer.set_local_description(now, SdpType::Answer, &sdp))
            .map_err(text),
        RemoteOffer => peer.set_remote_description(now, SdpType::Offer, &their[0]).map_err(text),
        RemoteAnswer => peer.set_remote_description(now, SdpType::Answer, &their[1]).map_err(text),
        Rollback => peer.rollback(now).map_err(text),
        Candidate => peer.add_remote_candidate(now, CANDIDATE, None, None).map_err(|error| error.to_string()),
        Close => {
            peer.abort(now, "");
            Ok(())
        }
    }
}

/// Offers, answers, candidates, rollbacks and the end, four in a row in every order and with repetition: what the table
/// allows is done, what it does not is a typed error and changes nothing.
#[test]
fn every_order_of_signalling_ends_in_a_state_of_the_table() {
    let now = base();
    let mut z = peer(now, 9, |_| {});
    let offer = z.create_offer().unwrap();
    let their = [offer.clone(), offer.replace("actpass", "active")];
    for number in 0..STEPS.len().pow(4) {
        let order: Vec<Step> =
            (0..4).map(|digit| STEPS[number / STEPS.len().pow(digit) % STEPS.len()]).collect();
        let mut a = peer(now, 1, |_| {});
        let (mut state, mut role, mut described) = (SignalingState::Stable, None, false);
        for &step in &order {
            let context = format!("{order:?} at {step:?}");
            let before = (a.mline().map(|(mid, index)| (mid.to_owned(), index)), a.transport.is_some());
            let result = apply(&mut a, now, step, &their);
            let allowed = match (step, next(state, step)) {
                // The peer says that it is the client, and we were.
                (RemoteAnswer, Some(_)) if role == Some(DtlsRole::Client) => None,
                (Candidate, Some(_)) if !described && state != SignalingState::HaveRemoteOffer => None,
                (_, allowed) => allowed,
            };
            assert_eq!(result.is_ok(), allowed.is_some(), "{context}: {result:?}");
            match allowed {
                Some(next) => state = next,
                None => {
                    let after =
                        (a.mline().map(|(mid, index)| (mid.to_owned(), index)), a.transport.is_some());
                    assert_eq!(before, after, "{context}");
                }
            }
            if allowed.is_some() && matches!(step, LocalAnswer | RemoteAnswer) {
                let ours = if step == LocalAnswer { DtlsRole::Client } else { DtlsRole::Server };
                role = role.or(Some(ours));
                described = true;
            }
            assert_eq!(a.signaling_state(), state, "{context}");
            assert_eq!(a.transport.is_some(), role.is_some(), "{context}");
            while a.poll_event().is_some() {}
        }
    }
}

#[test]
fn an_offer_that_is_taken_back_leaves_no_credentials_and_no_candidates() {
    let now = base();
    let (mut a, mut one, mut other) = (peer(now, 1, |_| {}), peer(now, 2, |_| {}), peer(now, 3, |_| {}));
    a.set_remote_description(now, SdpType::Offer, &one.create_offer().unwrap()).unwrap();
    a.add_remote_candidate(now, CANDIDATE, None, None).unwrap();
    a.add_remote_candidate(now, "", None, None).unwrap();
    a.rollback(now).unwrap();
    assert!(matches!(
        a.add_remote_candidate(now, CANDIDATE, None, None),
        Err(CandidateError::NoRemoteDescription)
    ));
    // And one from somebody else is taken, with a newer one of the same in between.
    for _ in 0..2 {
        a.set_remote_description(now, SdpType::Offer, &other.create_offer().unwrap()).unwrap();
    }
    let answer = a.create_answer().unwrap();
    a.set_local_description(now, SdpType::Answer, &answer).unwrap();
    assert_eq!(a.ice.stats().pairs, 0);
    assert!(a.transport.is_some());
}

#[test]
fn candidates_that_come_before_the_answer_are_kept_up_to_a_limit() {
    let now = base();
    let (mut a, mut z) = (peer(now, 1, |_| {}), peer(now, 2, |_| {}));
    a.add_local_host(now, "10.0.0.1:1".parse().unwrap());
    a.set_remote_description(now, SdpType::Offer, &z.create_offer().unwrap()).unwrap();
    for port in 0..sinnet_sdp::MAX_CANDIDATES {
        let line = format!("candidate:1 1 udp 1 10.0.0.3 {} typ host", port + 1);
        a.add_remote_candidate(now, &line, None, None).unwrap();
    }
    assert!(matches!(a.add_remote_candidate(now, CANDIDATE, None, None), Err(CandidateError::Refused(_))));
    let answer = a.create_answer().unwrap();
    a.set_local_description(now, SdpType::Answer, &answer).unwrap();
    assert!(a.ice.stats().pairs > 10);
}

#[test]
fn glare_before_the_first_connection_is_solved_and_the_candidates_are_not_lost() {
    let now = base();
    let (mut a, mut b) = (peer(now, 1, |_| {}), peer(now, 2, |_| {}));
    let offers = [&mut a, &mut b].map(|peer| {
        let offer = peer.create_offer().unwrap();
        peer.set_local_description(now, SdpType::Offer, &offer).unwrap();
        offer
    });
    a.add_local_host(now, "10.0.0.1:1".parse().unwrap());
    let received = a.receive_description(now, Politeness::Impolite, SdpType::Offer, &offers[1]).unwrap();
    assert_eq!(received, Received::Ignored);
    a.add_remote_candidate(now, CANDIDATE, None, None).unwrap();
    a.add_remote_candidate(now, "no candidate", None, None).unwrap();
    assert_eq!(a.signaling_state(), SignalingState::HaveLocalOffer);
    // What is wrong changes nothing, our own offer is still out.
    assert!(b.receive_description(now, Politeness::Polite, SdpType::Offer, "v=0").is_err());
    assert_eq!(b.signaling_state(), SignalingState::HaveLocalOffer);
    let received = b.receive_description(now, Politeness::Polite, SdpType::Offer, &offers[0]).unwrap();
    assert_eq!(received, Received::AnswerDue);
    let answer = b.create_answer().unwrap();
    b.set_local_description(now, SdpType::Answer, &answer).unwrap();
    let received = a.receive_description(now, Politeness::Impolite, SdpType::Answer, &answer).unwrap();
    assert_eq!(received, Received::Applied);
    assert_eq!(a.ice.stats().pairs, 1);
    assert_eq!(
        (a.ice.negotiated().role(), b.ice.negotiated().role()),
        (sinnet_ice::Role::Controlling, sinnet_ice::Role::Controlled)
    );
}

#[test]
fn an_offer_that_restarts_ice_is_answered_by_new_credentials_and_can_be_taken_back() {
    let now = base();
    let (mut a, mut z) = super::negotiated(now, |_| {});
    let before = (a.local_ufrag().to_owned(), z.local_ufrag().to_owned());
    z.restart_ice(now);
    assert_eq!((needed(&mut z), z.negotiation_needed()), (1, true));
    let offer = z.create_offer().unwrap();
    assert!(!offer.contains(&before.1), "{offer}");
    assert_eq!(offer, z.create_offer().unwrap(), "the same until it is answered");
    z.set_local_description(now, SdpType::Offer, "").unwrap();
    a.set_remote_description(now, SdpType::Offer, &offer).unwrap();
    assert!(!a.create_answer().unwrap().contains(&before.0));
    for peer in [&mut a, &mut z] {
        assert_eq!(peer.local_ufrags().count(), 2);
        peer.rollback(now).unwrap();
        assert_eq!(peer.local_ufrags().count(), 1);
    }
    assert_eq!((a.local_ufrag(), z.local_ufrag()), (before.0.as_str(), before.1.as_str()));
    // It is still wanted, with other credentials: the peer may have seen those.
    assert_eq!(needed(&mut z), 1);
    assert_ne!(z.create_offer().unwrap(), offer);
}

#[test]
fn candidates_for_a_restart_wait_for_its_answer() {
    let now = base();
    let (mut a, mut z) = super::negotiated(now, |_| {});
    z.restart_ice(now);
    let offer = z.create_offer().unwrap();
    a.add_local_host(now, "10.0.0.1:1".parse().unwrap());
    a.set_remote_description(now, SdpType::Offer, &offer).unwrap();
    a.add_remote_candidate(now, "candidate:1 1 udp 1 10.0.0.2 2 typ host", None, None).unwrap();
    assert_eq!((a.held.len(), a.ice.negotiated().stats().pairs), (1, 0));
    a.create_answer().unwrap();
    a.set_local_description(now, SdpType::Answer, "").unwrap();
    assert_eq!((a.held.len(), a.ice.negotiated().stats().pairs, a.ice.stats().pairs), (0, 1, 0));
}

#[test]
fn a_restart_before_the_first_exchange_means_nothing() {
    let now = base();
    let mut a = super::peer(now, 1, |_| {});
    a.restart_ice(now);
    assert!(!a.negotiation_needed());
    assert_eq!(a.local_ufrags().count(), 1);
}

fn needed(peer: &mut Peer) -> usize {
    std::iter::from_fn(|| peer.poll_event()).filter(|event| matches!(event, Event::NegotiationNeeded)).count()
}

#[test]
fn an_offer_is_asked_for_once_and_again_when_an_exchange_has_not_done_it() {
    let now = base();
    let mut a = peer(now, 1, |_| {});
    assert!(!a.negotiation_needed());
    a.open_channel(now, ChannelOptions::default()).unwrap();
    a.open_channel(now, ChannelOptions::default()).unwrap();
    assert_eq!(needed(&mut a), 1);
    let (mut a, mut z) = super::negotiated(now, |_| {});
    a.open_channel(now, ChannelOptions::default()).unwrap();
    assert_eq!(needed(&mut a), 0, "DCEP needs no offer");
    a.offer_channel(now, ChannelOptions::default(), &[]).unwrap();
    a.offer_channel(now, ChannelOptions::default(), &[]).unwrap();
    assert_eq!(needed(&mut a), 1);
    // An exchange of the peer's in between.
    let offer = z.create_offer().unwrap();
    z.set_local_description(now, SdpType::Offer, &offer).unwrap();
    a.set_remote_description(now, SdpType::Offer, &offer).unwrap();
    let answer = a.create_answer().unwrap();
    a.set_local_description(now, SdpType::Answer, &answer).unwrap();
    assert_eq!(needed(&mut a), 1);
    let offer = a.create_offer().unwrap();
    a.set_local_description(now, SdpType::Offer, &offer).unwrap();
    a.rollback(now).unwrap();
    assert_eq!(needed(&mut a), 1);
}

#[test]
fn mistakes_with_offered_channels_have_their_own_errors() {
    let now = base();
    let (mut a, _) = super::negotiated(now, |config| config.max_channels = 2);
    let with_id = |id| ChannelOptions { negotiated: Some(id), ..Default::default() };
    // `a` offered, so it is the server.
    assert_eq!(a.offer_channel(now, with_id(2), &[]), Err(OpenError::WrongParity(2)));
    assert_eq!(a.offer_channel(now, with_id(65_535), &[]), Err(OpenError::IdReserved));
    let evil = ["x:y\r\na=setup:active".to_owned()];
    assert!(matches!(a.offer_channel(now, with_id(1), &evil), Err(OpenError::Attribute(_))));
    assert!(matches!(a.offer_channel(now, ChannelOptions::default(), &evil), Err(OpenError::Attribute(_))));
    let long = ChannelOptions { label: "x".repeat(65_536), ..Default::default() };
    assert_eq!(a.offer_channel(now, long, &[]), Err(OpenError::TextTooLong));
    let regretted = ChannelOptions { label: "regretted".to_owned(), ..with_id(1) };
    let key = a.offer_channel(now, regretted, &[]).unwrap();
    assert_eq!(a.offer_channel(now, with_id(1), &[]), Err(OpenError::IdInUse(1)));
    assert_eq!(a.open_channel(now, with_id(1)), Err(OpenError::IdInUse(1)));
    a.offer_channel(now, ChannelOptions::default(), &[]).unwrap();
    assert_eq!(a.offer_channel(now, with_id(3), &[]), Err(OpenError::TooMany(2)));
    assert!(a.reject_offered_channel(1).is_err());
    a.release_channel(now, key);
    let offer = a.create_offer().unwrap();
    assert!(!offer.contains("regretted") && offer.contains("a=dcmap:1\r\n"), "its id is free for the other");
    a.abort(now, "");
    assert_eq!(a.offer_channel(now, with_id(1), &[]), Err(OpenError::Closed));
}

#[test]
fn ids_that_the_roles_make_wrong_are_chosen_anew_and_those_that_were_asked_for_close() {
    let now = base();
    let (mut a, mut z) = (peer(now, 1, |_| {}), peer(now, 2, |_| {}));
    let any = a.offer_channel(now, ChannelOptions::default(), &[]).unwrap();
    let fixed =
        a.offer_channel(now, ChannelOptions { negotiated: Some(5), ..Default::default() }, &[]).unwrap();
    assert!(a.create_offer().unwrap().contains("a=dcmap:1\r\n"));
    // But the peer offers first, and `a` becomes the client.
    let offer = z.create_offer().unwrap();
    z.set_local_description(now, SdpType::Offer, &offer).unwrap();
    a.set_remote_description(now, SdpType::Offer, &offer).unwrap();
    let answer = a.create_answer().unwrap();
    a.set_local_description(now, SdpType::Answer, &answer).unwrap();
    assert_eq!(a.channel_state(fixed), ChannelState::Closed);
    assert_eq!((a.channel_state(any), a.channel_id(any)), (ChannelState::Connecting, None));
    assert!(a.create_offer().unwrap().contains("a=dcmap:0\r\n"));
    assert_eq!(a.channel_id(any), Some(0));
}
