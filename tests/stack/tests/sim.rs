//! The whole stack over a virtual network: loss, reordering, duplication, corruption, silence, attackers.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{
    ChannelKey, ChannelOptions, ChannelState, CloseReason, ConnectionState, IceConfig, IceState, Message,
    Path, TrySendError,
};
use sinnet_stack_tests::{End, World};

const MINUTE: Duration = Duration::from_secs(60);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn lan() -> LinkConfig {
    LinkConfig { delay: ms(10), ..LinkConfig::default() }
}

fn numbered(i: u32, len: usize) -> Message {
    let mut bytes: Vec<u8> = (0..len.max(4)).map(|j| (j as u32 ^ i) as u8).collect();
    bytes[..4].copy_from_slice(&i.to_be_bytes());
    Message::Binary(Bytes::from(bytes))
}

/// Sends as many of `queue` as are taken.
fn send_what_fits(end: &mut End, world_now: std::time::Instant, key: ChannelKey, queue: &mut Vec<Message>) {
    while let Some(message) = queue.pop() {
        match end.peer.try_send(world_now, key, message) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => {
                queue.push(message);
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_connection_is_up_in_few_round_trips() {
    let mut world = World::new(seed(1), lan());
    let channel = world.a.peer.open_channel(world.now, ChannelOptions::default()).unwrap();
    world.connect();
    let connected = world.elapsed();
    let open = world.run_until(MINUTE, |world| world.a.peer.channel_state(channel) == ChannelState::Open);
    assert!(open);
    let usable = world.elapsed();
    println!("connected after {connected:?}, channel open after {usable:?}, at 20 ms a round trip");
    // ICE 1, DTLS 2, SCTP 2 round trips.
    assert!(connected <= ms(80), "{connected:?}");
    assert!(usable <= ms(120), "{usable:?}");
}

#[test]
fn an_orderly_close_takes_two_round_trips_and_no_time_out() {
    let mut world = World::new(seed(2), lan());
    world.connect();
    let _ = world.channel(ChannelOptions::default());
    world.run_for(Duration::from_secs(1));
    let began = world.elapsed();
    world.a.peer.close(world.now);
    let ended = world.run_until(MINUTE, |world| world.a.peer.is_finished() && world.b.peer.is_finished());
    assert!(ended);
    let took = world.elapsed() - began;
    // SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE at 10 ms each.
    assert!(took <= ms(40), "{took:?}");
    assert!(world.b.closed().is_some_and(CloseReason::is_orderly));
}

/// Two channels each way over a bad network: every message exactly once and intact, in order where that is promised;
/// then an orderly end on both sides.
fn survive(seed: u64, loss: f64) {
    println!("seed {seed:#x}, loss {loss}");
    let mut rng = StdRng::seed_from_u64(seed);
    let link = LinkConfig {
        delay: ms(rng.random_range(1..40)),
        jitter: ms(rng.random_range(0..10)),
        rate: Some(20_000_000),
        queue: 200_000,
        loss: Loss::Bernoulli(loss),
        reorder: rng.random_range(0.0..0.1),
        reorder_delay: ms(15),
        duplicate: rng.random_range(0.0..0.1),
        ..LinkConfig::default()
    };
    let mut world = World::new(seed, link);
    world.connect();
    // Not before: nothing protects the first flights, and a handshake record that makes no sense is fatal.
    let ends = (world.a.addr.ip(), world.b.addr.ip());
    world.net.set_link(ends.0, ends.1, LinkConfig { corrupt: rng.random_range(0.0..0.02), ..link });
    let (ordered, ordered_b) =
        world.channel(ChannelOptions { label: "ordered".into(), ..Default::default() });
    let (loose, loose_b) =
        world.channel(ChannelOptions { label: "loose".into(), ordered: false, ..Default::default() });

    let count = 60;
    let mut outgoing: HashMap<(bool, ChannelKey), Vec<Message>> = HashMap::new();
    for (from_a, key) in [(true, ordered), (true, loose), (false, ordered_b), (false, loose_b)] {
        let messages = (0..count).map(|i| {
            let len = match rng.random_range(0..4) {
                0 => rng.random_range(4..100),
                1 => rng.random_range(1000..1300),
                2 => rng.random_range(4..20_000),
                _ => rng.random_range(4..100_000),
            };
            numbered(i, len)
        });
        let mut messages: Vec<_> = messages.collect();
        messages.reverse();
        outgoing.insert((from_a, key), messages);
    }
    let sent: HashMap<_, Vec<Message>> =
        outgoing.iter().map(|(key, queue)| (*key, queue.iter().rev().cloned().collect())).collect();

    let mut received: HashMap<(bool, ChannelKey), Vec<Message>> = HashMap::new();
    let routes = [
        (true, ordered, ordered_b),
        (true, loose, loose_b),
        (false, ordered_b, ordered),
        (false, loose_b, loose),
    ];
    let complete = world.run_until(Duration::from_secs(600), |world| {
        let now = world.now;
        for (from_a, from, to) in routes {
            let (sender, receiver) =
                if from_a { (&mut world.a, &mut world.b) } else { (&mut world.b, &mut world.a) };
            if let Some(queue) = outgoing.get_mut(&(from_a, from)) {
                send_what_fits(sender, now, from, queue);
            }
            while let Some(message) = receiver.peer.recv(to) {
                received.entry((from_a, from)).or_default().push(message);
            }
        }
        routes
            .iter()
            .all(|(from_a, from, _)| received.get(&(*from_a, *from)).map_or(0, Vec::len) >= count as usize)
    });
    assert!(
        complete,
        "stalled after {:?}: {:?}",
        world.elapsed(),
        received.values().map(Vec::len).collect::<Vec<_>>()
    );
    for (route, mut got) in received {
        let mut expected = sent[&route].clone();
        if route.1 == loose && route.0 || route.1 == loose_b && !route.0 {
            let number = |message: &Message| message.as_bytes()[..4].to_vec();
            got.sort_by_key(number);
            expected.sort_by_key(number);
        }
        assert!(got == expected, "messages differ");
    }

    world.a.peer.close(world.now);
    let ended = world.run_until(Duration::from_secs(120), |world| {
        world.a.peer.is_finished() && world.b.peer.is_finished()
    });
    let b = world.b.closed().expect("b has ended");
    assert!(ended, "not ended: {b:?}");
    assert!(matches!(world.a.closed(), Some(CloseReason::Local)), "{:?}", world.a.closed());
    // Under loss the last packets may be lost; then b learns of the end by silence, not by word.
    assert!(b.is_orderly(), "{b:?}");
    assert_eq!(world.a.peer.poll_timeout(), None, "no timer after the end");
    assert!(world.net.stats(ends.0, ends.1).corrupted > 0);
}

#[test]
fn every_message_arrives_once_and_intact_over_clean_links() {
    for i in 0..6 {
        survive(seed(0x51) + i, 0.0);
    }
}

#[test]
fn every_message_arrives_once_and_intact_over_lossy_links() {
    for i in 0..12 {
        survive(seed(0x52) + i, [0.01, 0.05, 0.1][i as usize % 3]);
    }
}

#[test]
fn a_connection_comes_up_whatever_single_datagram_is_lost() {
    for lost in 0..40 {
        let mut world = World::new(seed(0x53), lan());
        let mut n = 0;
        world.net.set_filter(move |_, _| {
            n += 1;
            n != lost + 1
        });
        world.exchange();
        let channel = world.a.peer.open_channel(world.now, ChannelOptions::default()).unwrap();
        let up = world.run_until(MINUTE, |world| {
            world.a.peer.channel_state(channel) == ChannelState::Open && world.b.incoming().is_some()
        });
        assert!(up, "datagram {lost} lost: {:?} {:?}", world.a.closed(), world.b.closed());
        assert!(world.elapsed() < Duration::from_secs(4), "datagram {lost} cost {:?}", world.elapsed());
    }
}

#[test]
fn silence_is_noticed_and_a_path_that_comes_back_is_used_again() {
    let mut world = World::new(seed(0x54), lan());
    world.connect();
    let (ours, theirs) = world.channel(ChannelOptions::default());
    world.net.set_filter(|_, _| false);
    let disconnected = world.run_until(MINUTE, |world| world.a.peer.ice_state() == IceState::Disconnected);
    assert!(disconnected);
    assert_eq!(world.a.peer.connection_state(), ConnectionState::Disconnected);
    world.a.peer.try_send(world.now, ours, "through the gap".into()).unwrap();
    world.net.clear_filter();
    let mut got = None;
    let delivered = world.run_until(MINUTE, |world| {
        got = got.take().or_else(|| world.b.peer.recv(theirs));
        got.is_some() && world.a.peer.connection_state() == ConnectionState::Connected
    });
    assert!(delivered, "{:?}", world.a.peer.connection_state());
    assert_eq!(got, Some("through the gap".into()));
}

#[test]
fn an_outage_that_ice_survives_is_survived_with_data_in_flight() {
    let mut world = World::with_config(seed(0x5c), lan(), |config| {
        // Longer than SCTP would go on by itself.
        let ice = IceConfig { consent_timeout: MINUTE, ..IceConfig::default() };
        config.ice = std::sync::Arc::new(ice);
    });
    world.connect();
    let (ours, theirs) = world.channel(ChannelOptions::default());
    world.net.set_filter(|_, _| false);
    world.a.peer.try_send(world.now, ours, "in flight".into()).unwrap();
    world.run_for(Duration::from_secs(45));
    assert!(world.a.closed().is_none(), "{:?}", world.a.closed());
    world.net.clear_filter();
    let mut got = None;
    assert!(world.run_until(MINUTE, |world| {
        got = got.take().or_else(|| world.b.peer.recv(theirs));
        got.is_some()
    }));
    assert_eq!(got, Some("in flight".into()));
}

#[test]
fn silence_that_lasts_ends_the_connection_with_a_reason() {
    let mut world = World::new(seed(0x55), lan());
    world.connect();
    let (ours, _) = world.channel(ChannelOptions::default());
    world.net.set_filter(|_, _| false);
    let began = world.elapsed();
    let ended = world.run_until(MINUTE * 2, |world| world.a.closed().is_some() && world.b.closed().is_some());
    assert!(ended);
    assert!(world.elapsed() - began < Duration::from_secs(40), "{:?}", world.elapsed() - began);
    assert!(matches!(world.a.closed(), Some(CloseReason::Ice(_))), "{:?}", world.a.closed());
    assert_eq!(world.a.peer.connection_state(), ConnectionState::Failed);
    assert_eq!(world.a.peer.channel_state(ours), ChannelState::Closed);
    assert_eq!(world.a.peer.poll_timeout(), None);
}

#[test]
fn nobody_there_ends_in_failed_with_a_reason() {
    let mut world = World::new(seed(0x56), lan());
    world.net.set_filter(|_, _| false);
    world.exchange();
    let ended = world.run_until(MINUTE * 2, |world| world.a.closed().is_some() && world.b.closed().is_some());
    assert!(ended);
    let reason = world.a.closed().unwrap().to_string();
    println!("{reason}");
    assert!(reason.starts_with("ICE failed: "), "{reason}");
}

#[test]
fn a_client_hello_from_elsewhere_has_no_effect_before_during_or_after_the_handshake() {
    let hello = capture_client_hello();
    let mut world = World::new(seed(0x57), lan());
    let flood = |world: &mut World| {
        for port in 1..4 {
            let path = Path::udp(world.b.addr, format!("10.9.9.9:{port}").parse().unwrap());
            for _ in 0..10 {
                let taken = world.b.peer.handle_datagram(world.now, path, &mut hello.clone());
                assert!(!taken);
            }
        }
    };
    world.exchange();
    for _ in 0..200 {
        flood(&mut world);
        world.step();
        assert_eq!(world.net.stats(world.b.addr.ip(), "10.9.9.9".parse().unwrap()).sent, 0, "no answer");
    }
    assert_eq!(world.b.peer.connection_state(), ConnectionState::Connected);
    let (ours, theirs) = world.channel(ChannelOptions::default());
    flood(&mut world);
    world.a.peer.try_send(world.now, ours, "fine".into()).unwrap();
    let mut got = None;
    assert!(world.run_until(MINUTE, |world| {
        got = got.take().or_else(|| world.b.peer.recv(theirs));
        got.is_some()
    }));
    assert_eq!(got, Some("fine".into()));
}

/// A real first flight, taken from a connection that is thrown away.
fn capture_client_hello() -> Vec<u8> {
    let mut world = World::new(1, lan());
    world.exchange();
    let (tx, rx) = std::sync::mpsc::channel();
    world.net.set_filter(move |_, datagram| {
        if datagram.payload.first() == Some(&22) {
            let _ = tx.send(datagram.payload.clone());
        }
        true
    });
    world.run_until(MINUTE, |world| world.a.peer.connection_state() == ConnectionState::Connected);
    rx.try_recv().expect("a handshake datagram")
}

#[test]
fn datagrams_of_every_first_byte_and_length_are_harmless() {
    let mut world = World::new(seed(0x58), lan());
    world.connect();
    let mut rng = StdRng::seed_from_u64(1);
    for first in 0..=255u8 {
        for len in 0..60 {
            let mut datagram: Vec<u8> = (0..len).map(|_| rng.random()).collect();
            if let Some(byte) = datagram.first_mut() {
                *byte = first;
            }
            let path = Path::udp(world.a.addr, world.b.addr);
            world.a.peer.handle_datagram(world.now, path, &mut datagram);
        }
    }
    let (ours, theirs) = world.channel(ChannelOptions::default());
    world.b.peer.try_send(world.now, theirs, "alive".into()).unwrap();
    let mut got = None;
    assert!(world.run_until(MINUTE, |world| {
        got = got.take().or_else(|| world.a.peer.recv(ours));
        got.is_some()
    }));
}

#[test]
fn a_clock_that_jumps_a_day_ends_or_keeps_the_connection_and_nothing_spins() {
    let mut world = World::new(seed(0x59), lan());
    world.connect();
    let (ours, _) = world.channel(ChannelOptions::default());
    world.now += Duration::from_secs(86_400);
    let _ = world.a.peer.try_send(world.now, ours, "after a day".into());
    world.run_for(Duration::from_secs(120));
    // Consent is a day old: both sides may not send any more (RFC 7675 §5.1).
    assert!(world.a.closed().is_some() || world.a.peer.connection_state() == ConnectionState::Connected);
}

#[test]
fn a_flood_of_channels_beyond_the_limit_is_closed_and_the_rest_lives() {
    let mut world = World::with_config(seed(0x5a), lan(), |config| config.max_channels = 40);
    world.connect();
    // `a` may open 40; `b` has opened 30 itself and takes 10 more.
    for _ in 0..30 {
        world.b.peer.open_channel(world.now, ChannelOptions::default()).unwrap();
    }
    world.run_for(Duration::from_secs(1));
    let at_a = std::iter::from_fn(|| world.a.incoming()).count();
    assert_eq!(at_a, 30);
    let mut ours = Vec::new();
    for _ in 0..10 {
        ours.push(world.a.peer.open_channel(world.now, ChannelOptions::default()).unwrap());
    }
    assert!(
        world.a.peer.open_channel(world.now, ChannelOptions::default()).is_err(),
        "the limit holds for us"
    );
    world.run_for(Duration::from_secs(1));
    assert_eq!(std::iter::from_fn(|| world.b.incoming()).count(), 10);
    assert!(ours.iter().all(|key| world.a.peer.channel_state(*key) == ChannelState::Open));
}

#[test]
fn undrained_and_overdrained_peers_lose_nothing() {
    let mut world = World::new(seed(0x5b), lan());
    world.connect();
    let (ours, theirs) = world.channel(ChannelOptions::default());
    for i in 0..50 {
        world.a.peer.try_send(world.now, ours, numbered(i, 3000)).unwrap();
    }
    // No poll_event, no poll_transmit for a while: time passes, nothing breaks.
    for _ in 0..20 {
        world.now += ms(50);
        world.a.peer.handle_timeout(world.now);
        world.b.peer.handle_timeout(world.now);
        assert!(world.b.peer.recv(theirs).is_none());
    }
    let mut got = 0;
    assert!(world.run_until(MINUTE, |world| {
        while let Some(message) = world.b.peer.recv(theirs) {
            assert_eq!(message, numbered(got, 3000));
            got += 1;
        }
        got == 50
    }));
}

#[test]
fn batches_are_made_at_every_mtu() {
    for (asked, mtu) in [(0, 548), (600, 600), (1200, 1200), (1280, 1280), (1452, 1452), (9000, 9000)] {
        let mut world = World::with_config(seed(0x5c), lan(), |config| {
            (config.mtu, config.max_mtu) = (asked, 0);
        });
        world.connect();
        let (ours, theirs) = world.channel(ChannelOptions::default());
        world.a.peer.try_send(world.now, ours, numbered(1, 100_000)).unwrap();
        let mut buf = vec![0; 40 * mtu];
        let first = world.a.peer.poll_transmit(world.now, 40, &mut buf).expect("data to send");
        let segment = first.segment_size.expect("more than one");
        assert!(segment <= mtu && segment > mtu - 8, "segments of {segment} at an mtu of {mtu}");
        assert!(first.size > 5 * segment, "{} bytes", first.size);
        let mut got = None;
        assert!(world.run_until(MINUTE, |world| {
            got = got.take().or_else(|| world.b.peer.recv(theirs));
            got.is_some()
        }));
        assert!(got == Some(numbered(1, 100_000)));
    }
}
