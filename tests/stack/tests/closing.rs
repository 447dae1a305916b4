//! What is accepted is delivered, and what is closed stays apart from what comes after it: ids used again, full
//! buffers, both sides closing.

use std::time::Duration;

use bytes::Bytes;
use sinnet_netsim::{LinkConfig, seed};
use sinnet_peer::{
    ChannelKey, ChannelOptions, ChannelState, CloseReason, LABEL_BYTES, Message, TrySendError,
};
use sinnet_stack_tests::{End, World};

const MINUTE: Duration = Duration::from_secs(60);

fn lan() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(10), ..LinkConfig::default() }
}

fn labelled(label: &str) -> ChannelOptions {
    ChannelOptions { label: label.to_owned(), ..ChannelOptions::default() }
}

fn block(len: usize) -> Message {
    Message::Binary(Bytes::from(vec![7; len]))
}

/// Sends until the buffer is full; tells how many were taken.
fn fill(end: &mut End, now: std::time::Instant, key: ChannelKey, len: usize) -> usize {
    let mut taken = 0;
    loop {
        match end.peer.try_send(now, key, block(len)) {
            Ok(()) => taken += 1,
            Err(TrySendError::Full(_)) => return taken,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_channel_opened_at_once_on_the_id_of_a_closed_one_is_a_new_channel() {
    let mut world = World::new(seed(0x61), lan());
    world.connect();
    for round in 0..20 {
        let (ours, theirs) = world.channel(labelled(&format!("old {round}")));
        let id = world.a.peer.channel_id(ours);
        world.a.peer.close_channel(world.now, ours);
        let closed = world.run_until(MINUTE, |world| {
            // Not a moment after the id is free: the answer that frees it at `b` travels with the next OPEN.
            while let Some(event) = world.a.peer.poll_event() {
                world.a.events.push(event);
            }
            world.a.peer.channel_state(ours) == ChannelState::Closed
        });
        assert!(closed);
        let again = world.a.peer.open_channel(world.now, labelled("new")).unwrap();
        assert_eq!(world.a.peer.channel_id(again), id, "the id is free");
        world.a.peer.try_send(world.now, again, "for the new one".into()).unwrap();
        let mut fresh = None;
        let arrived = world.run_until(MINUTE, |world| {
            fresh = fresh.or_else(|| world.b.incoming());
            fresh.is_some()
        });
        assert!(arrived, "round {round}: the new channel is not seen");
        let fresh = fresh.unwrap();
        assert_eq!(world.b.peer.channel_options(fresh).unwrap().label, "new");
        assert_eq!(world.b.peer.recv(theirs), None, "nothing of it turns up in the old one");
        assert_eq!(world.b.peer.recv(fresh), Some("for the new one".into()));
        assert_eq!(world.b.peer.stats().dcep_errors, 0);
        world.a.peer.release_channel(world.now, ours);
        world.b.peer.release_channel(world.now, theirs);
        world.a.peer.release_channel(world.now, again);
        world.b.peer.release_channel(world.now, fresh);
        world.run_for(Duration::from_secs(1));
    }
}

#[test]
fn an_id_is_used_again_whatever_datagram_of_the_close_is_lost() {
    for lost in 0..12 {
        let mut world = World::new(seed(0x62), lan());
        world.connect();
        let (ours, theirs) = world.channel(labelled("old"));
        let id = world.a.peer.channel_id(ours);
        let mut n = 0;
        world.net.set_filter(move |_, _| {
            n += 1;
            n != lost + 1
        });
        world.a.peer.try_send(world.now, ours, "last".into()).unwrap();
        world.a.peer.close_channel(world.now, ours);
        let closed =
            world.run_until(MINUTE, |world| world.a.peer.channel_state(ours) == ChannelState::Closed);
        assert!(closed, "datagram {lost} lost");
        let again = world.a.peer.open_channel(world.now, labelled("new")).unwrap();
        assert_eq!(world.a.peer.channel_id(again), id);
        world.a.peer.try_send(world.now, again, "first".into()).unwrap();
        let mut fresh = None;
        let arrived = world.run_until(MINUTE, |world| {
            fresh = fresh.or_else(|| world.b.incoming());
            fresh.is_some_and(|key| world.b.peer.channel_state(key) == ChannelState::Open)
                && world.b.peer.channel_state(theirs) == ChannelState::Closed
        });
        assert!(arrived, "datagram {lost} lost: {:?}", world.b.peer.channel_state(theirs));
        assert_eq!(world.b.peer.recv(theirs), Some("last".into()));
        assert_eq!(world.b.peer.recv(theirs), None);
        let mut got = None;
        assert!(world.run_until(MINUTE, |world| {
            got = got.take().or_else(|| world.b.peer.recv(fresh.unwrap()));
            got.is_some()
        }));
        assert_eq!(got, Some("first".into()), "datagram {lost} lost");
    }
}

#[test]
fn a_channel_opened_while_others_fill_the_send_buffer_opens_at_once_and_its_first_message_goes_through() {
    let mut world = World::with_config(seed(0x63), lan(), |config| config.send_buffer = 64 * 1024);
    world.connect();
    let (busy, busy_b) = world.channel(labelled("busy"));
    fill(&mut world.a, world.now, busy, 1000);
    fill(&mut world.a, world.now, busy, 1);
    fill(&mut world.b, world.now, busy_b, 1000);
    fill(&mut world.b, world.now, busy_b, 1);
    let late = world.a.peer.open_channel(world.now, labelled("late")).unwrap();
    assert_eq!(world.a.peer.channel_state(late), ChannelState::Open);
    world.a.peer.try_send(world.now, late, "through".into()).unwrap();
    let sent = world.now;
    let mut got = None;
    assert!(world.run_until(MINUTE, |world| {
        let theirs = world.b.incoming();
        got = theirs.and_then(|key| world.b.peer.recv(key));
        got.is_some()
    }));
    assert_eq!(got, Some("through".into()));
    assert!(world.now - sent < Duration::from_millis(100), "{:?}", world.now - sent);
}

#[test]
fn an_open_that_arrives_while_the_send_buffer_is_full_is_acknowledged() {
    let mut world = World::with_config(seed(0x64), lan(), |config| config.send_buffer = 64 * 1024);
    world.connect();
    let (busy, busy_b) = world.channel(labelled("busy"));
    let unordered = ChannelOptions { ordered: false, ..labelled("loose") };
    let loose = world.a.peer.open_channel(world.now, unordered).unwrap();
    world.flush();
    // Full at the moment at which the OPEN arrives, and for a while after.
    world.run_until(MINUTE, |world| {
        fill(&mut world.b, world.now, busy_b, 1000);
        fill(&mut world.b, world.now, busy_b, 1);
        world.b.incoming().is_some()
    });
    let mut read = 0;
    let acknowledged = world.run_until(MINUTE, |world| {
        read += std::iter::from_fn(|| world.a.peer.recv(busy)).count() as u64;
        // The ACKs of both channels, besides.
        world.a.peer.stats().sctp.messages_received == read + 2
    });
    assert!(acknowledged, "the channel stays ordered for ever");
    assert_eq!(world.a.peer.channel_state(loose), ChannelState::Open);
}

#[test]
fn both_sides_closing_at_any_distance_deliver_what_both_have_accepted() {
    for gap_ms in [0, 1, 9, 10, 11, 15, 20, 25, 30, 50, 100] {
        let link = LinkConfig { rate: Some(20_000_000), ..lan() };
        let mut world = World::new(seed(0x65), link);
        world.connect();
        let (ours, theirs) = world.channel(labelled("both"));
        for i in 0..100u32 {
            world.a.peer.try_send(world.now, ours, Message::from(i.to_string())).unwrap();
            world.b.peer.try_send(world.now, theirs, block(10_000)).unwrap();
        }
        world.a.peer.close(world.now);
        world.run_for(Duration::from_millis(gap_ms));
        world.b.peer.close(world.now);
        let ended = world.run_until(MINUTE, |world| world.a.peer.is_finished() && world.b.peer.is_finished());
        assert!(ended, "gap {gap_ms} ms");
        let at_a = std::iter::from_fn(|| world.a.peer.recv(ours)).count();
        let at_b = std::iter::from_fn(|| world.b.peer.recv(theirs)).count();
        assert_eq!((at_a, at_b), (100, 100), "gap {gap_ms} ms");
        assert!(matches!(world.a.closed(), Some(CloseReason::Local)), "{:?}", world.a.closed());
        assert!(world.b.closed().is_some_and(CloseReason::is_orderly), "{:?}", world.b.closed());
    }
}

#[test]
fn what_has_arrived_can_be_read_after_the_end_even_if_much_was_kept_for_closed_channels() {
    let mut world = World::with_config(seed(0x66), lan(), |config| {
        config.receive_buffer = 64 * 1024;
        config.max_message_size = 16 * 1024;
    });
    world.connect();
    let (first, first_b) = world.channel(labelled("first"));
    let (second, second_b) = world.channel(labelled("second"));
    for _ in 0..6 {
        world.a.peer.try_send(world.now, first, block(10_000)).unwrap();
    }
    world.a.peer.close_channel(world.now, first);
    world.run_for(Duration::from_secs(2));
    for _ in 0..6 {
        world.a.peer.try_send(world.now, second, block(10_000)).unwrap();
    }
    world.run_for(Duration::from_secs(2));
    world.a.peer.close(world.now);
    let ended = world.run_until(MINUTE, |world| world.a.peer.is_finished() && world.b.peer.is_finished());
    assert!(ended);
    assert_eq!(std::iter::from_fn(|| world.b.peer.recv(first_b)).count(), 6);
    assert_eq!(std::iter::from_fn(|| world.b.peer.recv(second_b)).count(), 6);
}

#[test]
fn a_close_that_waits_for_the_reader_goes_on_when_all_is_read() {
    let mut world = World::with_config(seed(0x67), lan(), |config| {
        config.receive_buffer = 64 * 1024;
        config.max_message_size = 16 * 1024;
    });
    world.connect();
    let (first, first_b) = world.channel(labelled("first"));
    let (second, second_b) = world.channel(labelled("second"));
    for channel in [first, second] {
        for _ in 0..6 {
            world.a.peer.try_send(world.now, channel, block(10_000)).unwrap();
        }
        world.a.peer.close_channel(world.now, channel);
        world.run_for(Duration::from_secs(2));
    }
    assert_eq!(world.a.peer.channel_state(first), ChannelState::Closed, "kept beside the window");
    assert_eq!(world.a.peer.channel_state(second), ChannelState::Closing, "no room for this one");
    assert_eq!(std::iter::from_fn(|| world.b.peer.recv(second_b)).count(), 6);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.a.peer.channel_state(second), ChannelState::Closed);
    assert_eq!(std::iter::from_fn(|| world.b.peer.recv(first_b)).count(), 6);
}

#[test]
fn a_channel_that_comes_and_goes_on_a_used_id_is_seen_and_closes_whatever_is_lost() {
    for lost in 0..12 {
        let mut world = World::new(seed(0x69), lan());
        world.connect();
        let (ours, theirs) = world.channel(labelled("old"));
        world.run_for(Duration::from_secs(1));
        // From here on the second in a row is lost, too: a retransmission takes longer than the next channel's life.
        let mut n = 0;
        world.net.set_filter(move |_, datagram| {
            n += u32::from(datagram.payload.first() == Some(&23));
            n != lost + 1 && n != lost + 2
        });
        world.a.peer.close_channel(world.now, ours);
        let closed =
            world.run_until(MINUTE, |world| world.a.peer.channel_state(ours) == ChannelState::Closed);
        assert!(closed, "datagram {lost} lost");
        let brief = world.a.peer.open_channel(world.now, labelled("brief")).unwrap();
        world.a.peer.try_send(world.now, brief, "hello".into()).unwrap();
        world.a.peer.close_channel(world.now, brief);
        let mut seen = None;
        let closed = world.run_until(MINUTE, |world| {
            seen = seen.or_else(|| world.b.incoming());
            world.a.peer.channel_state(brief) == ChannelState::Closed
                && world.b.peer.channel_state(theirs) == ChannelState::Closed
                && seen.is_some_and(|seen| world.b.peer.channel_state(seen) == ChannelState::Closed)
        });
        assert!(closed, "datagram {lost} lost: {:?}", seen.map(|seen| world.b.peer.channel_state(seen)));
        assert_eq!(world.b.peer.recv(seen.unwrap()), Some("hello".into()));
        assert_eq!(world.b.peer.recv(theirs), None);
    }
}

#[test]
fn what_comes_on_an_agreed_id_used_again_is_not_the_old_channels_whatever_is_lost() {
    let agreed = || ChannelOptions { negotiated: Some(100), ..ChannelOptions::default() };
    for lost in 0..12 {
        let mut world = World::new(seed(0x6d), lan());
        world.connect();
        let old_a = world.a.peer.open_channel(world.now, agreed()).unwrap();
        let old_b = world.b.peer.open_channel(world.now, agreed()).unwrap();
        world.run_for(Duration::from_secs(1));
        // Two in a row: what tells `b` that the close is done comes later than the next channel's first message.
        let mut n = 0;
        world.net.set_filter(move |_, datagram| {
            n += u32::from(datagram.payload.first() == Some(&23));
            n != lost + 1 && n != lost + 2
        });
        world.a.peer.try_send(world.now, old_a, "the old one's last".into()).unwrap();
        world.a.peer.close_channel(world.now, old_a);
        let closed =
            world.run_until(MINUTE, |world| world.a.peer.channel_state(old_a) == ChannelState::Closed);
        assert!(closed, "datagram {lost} lost");
        let new_a = world.a.peer.open_channel(world.now, agreed()).unwrap();
        world.a.peer.try_send(world.now, new_a, "the new one's first".into()).unwrap();
        let closed =
            world.run_until(MINUTE, |world| world.b.peer.channel_state(old_b) == ChannelState::Closed);
        assert!(closed, "datagram {lost} lost");
        let new_b = world.b.peer.open_channel(world.now, agreed()).unwrap();
        let mut got = None;
        let arrived = world.run_until(MINUTE, |world| {
            got = got.take().or_else(|| world.b.peer.recv(new_b));
            got.is_some()
        });
        assert!(arrived && got == Some("the new one's first".into()), "datagram {lost} lost: {got:?}");
        assert_eq!(world.b.peer.recv(old_b), Some("the old one's last".into()));
        assert_eq!(world.b.peer.recv(old_b), None, "datagram {lost} lost");
    }
}

#[test]
fn what_came_on_an_agreed_id_before_we_closed_it_can_be_read_though_much_is_kept_already() {
    let mut world = World::with_config(seed(0x6e), lan(), |config| {
        config.receive_buffer = 64 * 1024;
        config.max_message_size = 16 * 1024;
    });
    world.connect();
    let (first, first_b) = world.channel(labelled("first"));
    let agreed = || ChannelOptions { negotiated: Some(100), ..ChannelOptions::default() };
    let ours = world.a.peer.open_channel(world.now, agreed()).unwrap();
    let theirs = world.b.peer.open_channel(world.now, agreed()).unwrap();
    for (from, to) in [(first, None), (ours, Some(theirs))] {
        for _ in 0..6 {
            world.a.peer.try_send(world.now, from, block(10_000)).unwrap();
        }
        world.run_for(Duration::from_secs(2));
        match to {
            None => world.a.peer.close_channel(world.now, from),
            Some(reader) => world.b.peer.close_channel(world.now, reader),
        }
        world.run_for(Duration::from_secs(2));
    }
    assert_eq!(world.b.peer.channel_state(theirs), ChannelState::Closed);
    let again = world.a.peer.open_channel(world.now, agreed()).unwrap();
    world.a.peer.try_send(world.now, again, "new".into()).unwrap();
    world.run_for(Duration::from_secs(2));
    assert_eq!(std::iter::from_fn(|| world.b.peer.recv(theirs)).count(), 6);
    assert_eq!(std::iter::from_fn(|| world.b.peer.recv(first_b)).count(), 6);
    let again_b = world.b.peer.open_channel(world.now, agreed()).unwrap();
    assert_eq!(world.b.peer.recv(again_b), Some("new".into()));
}

#[test]
fn a_close_whose_last_word_is_lost_is_orderly_all_the_same() {
    // At 10 ms a way: SHUTDOWN until 10, SHUTDOWN ACK until 20, SHUTDOWN COMPLETE and close_notify from then on.
    for (cut_ms, from_a) in [(15, true), (5, false)] {
        let mut world = World::new(seed(0x6a), lan());
        world.connect();
        let _ = world.channel(labelled("any"));
        world.run_for(Duration::from_secs(1));
        let cut = world.now + Duration::from_millis(cut_ms);
        let mute = if from_a { world.a.addr } else { world.b.addr };
        world.net.set_filter(move |now, datagram| now < cut || datagram.src != mute);
        world.a.peer.close(world.now);
        let ended = world.run_until(MINUTE * 2, |world| {
            world.a.peer.is_finished() && (!from_a || world.b.peer.is_finished())
        });
        assert!(ended, "cut at {cut_ms} ms");
        assert!(matches!(world.a.closed(), Some(CloseReason::Local)), "{:?}", world.a.closed());
        if from_a {
            assert!(matches!(world.b.closed(), Some(CloseReason::Peer)), "{:?}", world.b.closed());
        }
    }
}

#[test]
fn a_close_that_could_not_deliver_what_was_accepted_says_so() {
    let mut world = World::new(seed(0x6b), lan());
    world.connect();
    let (ours, _) = world.channel(labelled("any"));
    world.net.set_filter(|_, _| false);
    world.a.peer.try_send(world.now, ours, "lost".into()).unwrap();
    world.a.peer.close(world.now);
    assert!(world.run_until(MINUTE * 2, |world| world.a.peer.is_finished()));
    assert!(world.a.closed().is_some_and(|reason| !reason.is_orderly()), "{:?}", world.a.closed());
}

#[test]
fn labels_of_the_peers_channels_take_limited_memory() {
    let mut world = World::new(seed(0x6c), lan());
    world.connect();
    let long = "x".repeat(65_535);
    let ours: Vec<_> =
        (0..40).map(|_| world.a.peer.open_channel(world.now, labelled(&long)).unwrap()).collect();
    world.run_for(Duration::from_secs(5));
    let theirs: Vec<_> = std::iter::from_fn(|| world.b.incoming()).collect();
    assert_eq!(theirs.len(), LABEL_BYTES / long.len());
    let open = |world: &World| {
        ours.iter().filter(|key| world.a.peer.channel_state(**key) == ChannelState::Open).count()
    };
    assert_eq!(open(&world), theirs.len(), "the others are closed");
    // Their place is free again when they are gone.
    for key in theirs {
        world.b.peer.release_channel(world.now, key);
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(open(&world), 0);
    world.channel(labelled(&long));
}
