//! What a peer may ask for beyond what data channels need: resets of our streams, and more of them (RFC 6525).

use std::time::Duration;

use sinnet_dcep::ppid;
use sinnet_sctp::StreamId;

use super::dcep::Hostile;
use super::peer;
use crate::{ChannelOptions, ChannelState, ConnectionState, Event};

#[test]
fn a_reset_of_our_stream_that_the_peer_asks_for_closes_the_channel_behind_its_messages() {
    let mut pair = Hostile::new();
    let key = pair.witness();
    for text in ["one", "two"] {
        pair.a.try_send(pair.now, key, text.into()).unwrap();
    }
    pair.events.clear();
    pair.z.reset_incoming_stream(pair.now, StreamId(1000)).unwrap();
    pair.settle();
    let states: Vec<_> = pair
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ChannelState(changed, state) if *changed == key => Some(*state),
            _ => None,
        })
        .collect();
    assert_eq!(states, [ChannelState::Closing, ChannelState::Closed]);
    let heard: Vec<_> =
        pair.heard(1000).into_iter().map(|(kind, payload)| (kind, payload.to_vec())).collect();
    assert_eq!(heard, [(ppid::STRING, b"one".to_vec()), (ppid::STRING, b"two".to_vec())]);
    assert!(pair.a.try_send(pair.now, key, "late".into()).is_err());
    // The id is free: the next channel on it is a new one.
    let next = pair.witness();
    assert_ne!(next, key);
    pair.is_well(next);
}

#[test]
fn a_reset_asked_for_on_a_stream_without_a_channel_changes_nothing() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    for stream in [0, 1, 77] {
        pair.z.reset_incoming_stream(pair.now, StreamId(stream)).unwrap();
    }
    pair.events.clear();
    pair.settle();
    assert!(!pair.events.iter().any(|event| matches!(event, Event::ChannelState(..))), "{:?}", pair.events);
    pair.is_well(witness);
}

#[test]
fn streams_that_have_been_added_can_be_used() {
    let mut pair = Hostile::with_streams(50);
    let before = pair.z.inbound_streams();
    assert_eq!(before, 50);
    let options = ChannelOptions { negotiated: Some(before + 10), ..Default::default() };
    let refused = pair.a.open_channel(pair.now, options.clone()).unwrap();
    assert_eq!(pair.a.channel_state(refused), ChannelState::Closed, "there is no such stream");
    pair.a.transport.as_mut().unwrap().sctp.add_outgoing_streams(pair.now, 100).unwrap();
    pair.settle();
    assert_eq!(pair.z.inbound_streams(), before + 100);
    let taken = pair.a.open_channel(pair.now, options).unwrap();
    assert_eq!(pair.a.channel_state(taken), ChannelState::Open);
    pair.a.try_send(pair.now, taken, "up here".into()).unwrap();
    pair.settle();
    assert_eq!(pair.heard(before + 10).len(), 1);
}

#[test]
fn an_owner_that_takes_no_events_keeps_a_limited_number_of_them() {
    let now = super::base();
    let mut a = peer(now, 1, |_| {});
    for i in 0..10_000 {
        // What a path that comes and goes for days would do.
        a.tell_state(Event::ConnectionState(match i % 2 {
            0 => ConnectionState::Disconnected,
            _ => ConnectionState::Connected,
        }));
    }
    a.close(now + Duration::from_secs(1));
    let events: Vec<_> = std::iter::from_fn(|| a.poll_event()).collect();
    assert!(events.len() < 200, "{}", events.len());
    assert!(matches!(events.last(), Some(Event::Closed(_))), "the end is not forgotten");
    let last = events.iter().rev().find_map(|event| match event {
        Event::ConnectionState(state) => Some(*state),
        _ => None,
    });
    assert_eq!(last, Some(ConnectionState::Closed), "and the latest state is right");
}
