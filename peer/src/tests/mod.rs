//! What can't be brought about by a well-behaved peer over a network; the rest is in `tests/stack`.

mod agreement;
mod dcep;
mod negotiation;
mod streams;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sinnet_sctp::StreamId;

use crate::{
    CandidateError, Certificate, ChannelOptions, ChannelState, Config, ConnectionState, EARLY_DATAGRAMS,
    Event, NegotiationError, OpenError, Path, Peer, SdpType, SignalingState,
};

#[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
fn base() -> Instant {
    Instant::now()
}

fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate(1_800_000_000).unwrap())).clone()
}

fn peer(now: Instant, seed: u8, tune: impl FnOnce(&mut Config)) -> Peer {
    let mut config = Config::new(certificate());
    tune(&mut config);
    Peer::new(Arc::new(config), now, [seed; 32])
}

/// An offerer and an answerer that have exchanged descriptions.
fn negotiated(now: Instant, tune: impl Fn(&mut Config)) -> (Peer, Peer) {
    let (mut a, mut b) = (peer(now, 1, &tune), peer(now, 2, &tune));
    let offer = a.create_offer().unwrap();
    a.set_local_description(now, SdpType::Offer, &offer).unwrap();
    b.set_remote_description(now, SdpType::Offer, &offer).unwrap();
    let answer = b.create_answer().unwrap();
    b.set_local_description(now, SdpType::Answer, &answer).unwrap();
    a.set_remote_description(now, SdpType::Answer, &answer).unwrap();
    (a, b)
}

fn closed_events(peer: &mut Peer) -> usize {
    std::iter::from_fn(|| peer.poll_event())
        .filter(|event| matches!(event, Event::ChannelState(_, ChannelState::Closed)))
        .count()
}

fn seen_from_there(path: Path) -> Path {
    Path::udp(path.remote, path.local)
}

#[test]
fn the_answerer_is_the_dtls_role_that_it_was_told_to_be() {
    for active in [true, false] {
        let (a, b) = negotiated(base(), |config| config.answer_active = active);
        assert_eq!(b.transport.as_ref().unwrap().dtls_client, active);
        assert_eq!(a.transport.as_ref().unwrap().dtls_client, !active);
    }
}

#[test]
fn a_channel_on_a_stream_that_the_peer_does_not_accept_closes_and_never_opens() {
    let now = base();
    let (mut a, _) = negotiated(now, |_| {});
    let open = |a: &mut Peer, id| {
        a.open_channel(now, ChannelOptions { negotiated: Some(id), ..Default::default() }).unwrap()
    };
    let (fits, too_high) = (open(&mut a, 15), open(&mut a, 16));
    a.start_channels(16);
    assert_eq!(a.channel_state(fits), ChannelState::Open);
    assert_eq!(a.channel_state(too_high), ChannelState::Closed);
    assert_eq!(closed_events(&mut a), 1);
}

#[test]
fn a_channel_whose_reset_the_peer_denies_closes_once_and_its_id_is_not_used_again() {
    let now = base();
    let (mut a, _) = negotiated(now, |_| {});
    let options = ChannelOptions { negotiated: Some(4), ..Default::default() };
    let key = a.open_channel(now, options.clone()).unwrap();
    a.start_channels(16);
    a.close_channel(now, key);
    assert_eq!(a.channel_state(key), ChannelState::Closing);
    for _ in 0..2 {
        a.streams_reset_failed(&[StreamId(4)]);
        a.streams_reset_by_peer(&[StreamId(4)]);
        a.streams_reset_done(&[StreamId(4)]);
    }
    assert_eq!(a.channel_state(key), ChannelState::Closed);
    assert_eq!(closed_events(&mut a), 1);
    assert_eq!(a.open_channel(now, options), Err(OpenError::IdInUse(4)));
}

#[test]
fn datagrams_kept_for_a_path_that_never_works_are_let_go_when_another_does() {
    let now = base();
    let (mut a, mut b) = negotiated(now, |_| {});
    let addrs = ["10.0.0.1:1", "10.0.0.2:2"].map(|addr| addr.parse().unwrap());
    for (peer, addr) in [(&mut a, addrs[0]), (&mut b, addrs[1])] {
        peer.add_local_host(now, addr);
        peer.end_of_local_candidates(now);
    }
    let candidate = b.ice.local_candidates().next().unwrap().to_string();
    a.add_remote_candidate(now, &candidate, None, None).unwrap();
    let elsewhere = Path::udp(addrs[0], "10.9.9.9:9".parse().unwrap());
    for _ in 0..100 {
        a.handle_datagram(now, elsewhere, &mut [22; 100]);
    }
    assert_eq!(a.early.len(), EARLY_DATAGRAMS);
    let mut buf = [0; 1500];
    for _ in 0..100 {
        while let Some(out) = a.poll_transmit(now, 1, &mut buf) {
            b.handle_datagram(now, seen_from_there(out.path), &mut buf[..out.size]);
        }
        while let Some(out) = b.poll_transmit(now, 1, &mut buf) {
            a.handle_datagram(now, seen_from_there(out.path), &mut buf[..out.size]);
        }
        for peer in [&mut a, &mut b] {
            peer.handle_timeout(now);
            while peer.poll_event().is_some() {}
        }
    }
    assert_eq!(a.connection_state(), ConnectionState::Connected);
    assert_eq!(a.early.len(), 0);
}

#[test]
fn messages_kept_from_before_a_restart_of_the_association_are_no_channels() {
    let now = base();
    let (mut a, _) = negotiated(now, |_| {});
    a.start_channels(16);
    assert!(a.channels.keep_orphan(StreamId(4), "of the old association".into()));
    a.restart_channels();
    let options = ChannelOptions { negotiated: Some(4), ..Default::default() };
    let key = a.open_channel(now, options).unwrap();
    a.start_channels(16);
    assert_eq!(a.channel_state(key), ChannelState::Open);
    assert_eq!(a.recv(key), None);
}

/// The six things that two sides do, done in every order; and then once more in the right one.
#[test]
fn negotiation_in_every_order_breaks_nothing_and_can_be_put_right() {
    fn orders(rest: &mut Vec<usize>, so_far: &mut Vec<usize>, visit: &mut impl FnMut(&[usize])) {
        if rest.is_empty() {
            return visit(so_far);
        }
        for i in 0..rest.len() {
            let next = rest.remove(i);
            so_far.push(next);
            orders(rest, so_far, visit);
            so_far.pop();
            rest.insert(i, next);
        }
    }

    let now = base();
    let candidate = "candidate:1 1 udp 2130706431 10.0.0.3 9 typ host";
    let mut count = 0;
    orders(&mut (0..6).collect(), &mut Vec::new(), &mut |order| {
        count += 1;
        let (mut a, mut b) = (peer(now, 1, |_| {}), peer(now, 2, |_| {}));
        let act = |a: &mut Peer, b: &mut Peer, step: usize| -> bool {
            match step {
                0 => a
                    .create_offer()
                    .is_ok_and(|sdp| a.set_local_description(now, SdpType::Offer, &sdp).is_ok()),
                1 => a
                    .local_description()
                    .is_some_and(|(kind, sdp)| b.set_remote_description(now, kind, &sdp).is_ok()),
                2 => b
                    .create_answer()
                    .is_ok_and(|sdp| b.set_local_description(now, SdpType::Answer, &sdp).is_ok()),
                3 => b
                    .local_description()
                    .is_some_and(|(kind, sdp)| a.set_remote_description(now, kind, &sdp).is_ok()),
                4 => a.add_remote_candidate(now, candidate, None, None).is_ok(),
                _ => b.add_remote_candidate(now, candidate, None, Some(0)).is_ok(),
            }
        };
        for &step in order {
            let _ = act(&mut a, &mut b, step);
        }
        for step in 0..6 {
            let _ = act(&mut a, &mut b, step);
        }
        for peer in [&mut a, &mut b] {
            assert_eq!(peer.signaling_state(), SignalingState::Stable, "{order:?}");
            assert!(peer.transport.is_some(), "{order:?}");
            peer.close(now);
            assert_eq!(peer.signaling_state(), SignalingState::Closed);
            assert!(matches!(peer.create_offer(), Err(NegotiationError::Closed)));
            assert!(matches!(
                peer.add_remote_candidate(now, candidate, None, None),
                Err(CandidateError::Closed)
            ));
        }
    });
    assert_eq!(count, 720);
}
