//! That the statistics are true: what one side says it has sent, the other says it has received, and so do the test's own
//! counts.

use std::time::Duration;

use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{
    CandidatePairStats, ChannelKey, ChannelOptions, ChannelState, Config, Congestion, DataChannelStats,
    DtlsState, Event, PairState, Reliability, Role, Stats,
};
use sinnet_stack_tests::{End, World};

const MINUTE: Duration = Duration::from_secs(60);

fn lossy() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(10), loss: Loss::Bernoulli(0.05), ..LinkConfig::default() }
}

/// Messages and their bytes.
type Amount = (u64, u64);

fn sent(stats: &DataChannelStats) -> Amount {
    (stats.messages_sent, stats.bytes_sent)
}

fn received(stats: &DataChannelStats) -> Amount {
    (stats.messages_received, stats.bytes_received)
}

/// Sends messages of many sizes over several channels at once; returns both ends of each, and what came out.
fn transfer(world: &mut World, channels: &[ChannelOptions]) -> Vec<(ChannelKey, ChannelKey, Amount)> {
    let mut ends: Vec<_> = channels
        .iter()
        .map(|options| {
            let (ours, theirs) = world.channel(options.clone());
            (ours, theirs, (0, 0))
        })
        .collect();
    for i in 0..300_usize {
        let (key, ..) = ends[i % ends.len()];
        let payload = vec![i as u8; (i * 7919) % 5000];
        while world.a.peer.try_send(world.now, key, payload.clone().into()).is_err() {
            assert!(world.step());
        }
    }
    let quiet = world.run_until(MINUTE, |world| {
        for (_, theirs, count) in &mut ends {
            while let Some(message) = world.b.peer.recv(*theirs) {
                (count.0, count.1) = (count.0 + 1, count.1 + message.len() as u64);
            }
        }
        let stats = world.a.peer.stats().sctp;
        stats.unacked_chunks == 0 && ends.iter().all(|(ours, ..)| world.a.peer.buffered_amount(*ours) == 0)
    });
    assert!(quiet);
    ends
}

#[test]
fn channels_count_what_was_sent_and_what_was_read() {
    let mut world = World::new(seed(1), lossy());
    world.connect();
    let unreliable = ChannelOptions { reliability: Reliability::MaxRetransmits(0), ..Default::default() };
    let unordered = ChannelOptions { ordered: false, ..Default::default() };
    let ends = transfer(&mut world, &[ChannelOptions::default(), unordered, unreliable]);
    for (index, (ours, theirs, count)) in ends.iter().enumerate() {
        let (ours, theirs) =
            (world.a.peer.channel_stats(*ours).unwrap(), world.b.peer.channel_stats(*theirs).unwrap());
        assert_eq!(received(&theirs), *count);
        assert_eq!((received(&ours), sent(&theirs)), ((0, 0), (0, 0)));
        assert_eq!((ours.state, ours.buffered_amount), (ChannelState::Open, 0));
        assert_eq!(ours.data_channel_identifier, theirs.data_channel_identifier);
        assert_eq!(ours.messages_sent, 100);
        if index < 2 {
            assert_eq!(sent(&ours), *count, "reliable: all of it");
        } else {
            assert!(count.0 < 100 && count.0 > 50, "{} of 100 with 5 % loss", count.0);
        }
    }
    let sum = |end: &End, of: fn(&DataChannelStats) -> Amount| {
        let amounts = end.peer.all_channel_stats().map(|(_, stats)| of(&stats));
        amounts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    assert_eq!(sum(&world.b, received).0, ends.iter().map(|(.., count)| count.0).sum::<u64>());
    // SCTP counts the messages of DCEP as well: three times OPEN and ACK.
    assert_eq!(sum(&world.a, sent).0 + 3, world.a.peer.stats().sctp.messages_sent);
    assert_eq!(sum(&world.b, received).0 + 3, world.b.peer.stats().sctp.messages_received);
}

#[test]
fn a_refused_message_counts_nowhere_and_a_closed_channel_keeps_its_counts() {
    let mut world = World::new(seed(2), LinkConfig::default());
    world.connect();
    let (ours, theirs) = world.channel(ChannelOptions::default());
    world.a.peer.try_send(world.now, ours, vec![0; 300_000].into()).unwrap_err();
    world.a.peer.try_send(world.now, ours, "".into()).unwrap();
    world.a.peer.try_send(world.now, ours, "four".into()).unwrap();
    world.a.peer.close_channel(world.now, ours);
    world.a.peer.try_send(world.now, ours, "late".into()).unwrap_err();
    let closed = world.run_until(MINUTE, |world| world.b.peer.channel_state(theirs) == ChannelState::Closed);
    assert!(closed);
    while world.b.peer.recv(theirs).is_some() {}
    let (a, b) = (world.a.peer.channel_stats(ours).unwrap(), world.b.peer.channel_stats(theirs).unwrap());
    assert_eq!((sent(&a), received(&b)), ((2, 4), (2, 4)), "an empty message has no bytes");
    assert_eq!((b.state, b.data_channel_identifier), (ChannelState::Closed, None));
    for end in [&world.a, &world.b] {
        let connection = end.peer.stats().connection;
        assert_eq!((connection.data_channels_opened, connection.data_channels_closed), (1, 1));
    }
    world.b.peer.release_channel(world.now, theirs);
    assert_eq!(world.b.peer.channel_stats(theirs), None);
    assert_eq!(world.b.peer.all_channel_stats().count(), 0);
}

#[test]
fn a_channel_that_never_opened_is_not_counted_as_closed() {
    let mut world = World::new(seed(3), LinkConfig::default());
    let key = world.a.peer.open_channel(world.now, ChannelOptions::default()).unwrap();
    world.a.peer.close_channel(world.now, key);
    assert_eq!(world.a.peer.channel_state(key), ChannelState::Closed);
    assert_eq!(world.a.peer.stats().connection, Default::default());
}

#[test]
fn the_transport_counts_dtls_and_its_pairs_together_count_the_same() {
    for link in [LinkConfig { loss: Loss::None, ..lossy() }, lossy()] {
        let lossless = matches!(link.loss, Loss::None);
        let mut world = World::new(seed(4), link);
        world.connect();
        transfer(&mut world, &[ChannelOptions::default()]);
        world.run_for(Duration::from_secs(1));
        for (end, other) in [(&world.a, &world.b), (&world.b, &world.a)] {
            let (stats, theirs) = (end.peer.stats(), other.peer.stats());
            let traffic = stats.transport.traffic;
            let checks = stats.ice.requests_sent + stats.ice.responses_sent;
            assert_eq!(traffic.packets_sent + checks, stats.datagrams_sent);
            assert!(traffic.bytes_sent > stats.sctp.bytes_sent + 13 * stats.dtls.records_sealed);
            assert!(theirs.transport.traffic.packets_received <= traffic.packets_sent);
            if lossless {
                assert_eq!(theirs.transport.traffic.packets_received, traffic.packets_sent);
                assert_eq!(theirs.transport.traffic.bytes_received, traffic.bytes_sent);
            }
            let pairs: Vec<_> = end.peer.candidate_pairs().collect();
            let sum = |of: fn(&CandidatePairStats) -> u64| pairs.iter().map(of).sum::<u64>();
            assert_eq!(sum(|pair| pair.traffic.bytes_sent), traffic.bytes_sent);
            assert_eq!(sum(|pair| pair.traffic.packets_received), traffic.packets_received);
            let selected = pairs.iter().find(|pair| pair.ice.selected).expect("one is selected");
            assert_eq!(Some(selected.ice.path), stats.transport.selected_candidate_pair);
            assert_eq!((selected.ice.state, selected.ice.nominated), (PairState::Succeeded, true));
            assert!(traffic.last_packet_received.is_some_and(|at| at <= world.now && at > world.start));
            assert_eq!(stats.transport.selected_candidate_pair_changes, 1);
        }
    }
}

#[test]
fn states_and_what_was_agreed_on_are_told_from_beginning_to_end() {
    let mut world = World::new(seed(5), lossy());
    let before = world.a.peer.stats();
    assert_eq!((before.transport.dtls_state, before.transport.tls_version), (DtlsState::New, None));
    assert_eq!(before.transport.selected_candidate_pair, None);
    world.exchange();
    assert_eq!(world.a.peer.stats().transport.dtls_state, DtlsState::Connecting);
    assert_eq!(world.a.peer.remote_certificate_stats(), None);
    let offer = world.a.peer.local_description().unwrap().1;
    world.connect_again();
    let (a, b) = (world.a.peer.stats().transport, world.b.peer.stats().transport);
    assert_eq!((a.dtls_state, b.dtls_state), (DtlsState::Connected, DtlsState::Connected));
    assert_eq!((a.ice_role, b.ice_role), (Role::Controlling, Role::Controlled));
    assert_eq!((a.dtls_client, b.dtls_client), (Some(false), Some(true)));
    assert_eq!(a.tls_version.map(|version| format!("{:04X}", version.0)), Some("FEFD".to_owned()));
    assert_eq!(a.dtls_cipher, b.dtls_cipher);
    assert!(a.dtls_cipher.is_some_and(|suite| suite.to_string().starts_with("TLS_ECDHE_ECDSA_WITH_")));
    assert_eq!(a.tls_group.map(|group| group.to_string()), Some("X25519".to_owned()));
    let certificate = world.a.peer.local_certificate_stats().unwrap();
    assert!(offer.contains(&format!("a=fingerprint:sha-256 {certificate}\r\n")), "{certificate}");
    assert_eq!(world.b.peer.remote_certificate_stats(), Some(certificate));
    let candidates = |end: &End| {
        let local: Vec<_> = end.peer.local_candidates().map(|candidate| candidate.address).collect();
        (local, end.peer.remote_candidates().map(|candidate| candidate.address).collect::<Vec<_>>())
    };
    assert_eq!(candidates(&world.a), (vec![world.a.addr], vec![world.b.addr]));
    transfer(&mut world, &[ChannelOptions::default()]);
    let stats = world.a.peer.stats();
    assert_eq!(stats.sctp_transport.smoothed_round_trip_time, stats.sctp.srtt);
    assert!(stats.sctp.srtt.is_some_and(|srtt| srtt >= Duration::from_millis(20)));
    assert!(stats.sctp_transport.mtu >= 1160 && stats.sctp_transport.congestion_window >= 4380);
    assert!(stats.sctp.retransmissions > 0, "there was loss");
    world.a.peer.close(world.now);
    assert!(world.run_until(MINUTE, |world| world.a.peer.is_finished() && world.b.peer.is_finished()));
    let after = world.a.peer.stats();
    assert_eq!(after.transport.dtls_state, DtlsState::Closed);
    assert_eq!(after.transport.selected_candidate_pair, a.selected_candidate_pair, "what it was");
    assert!(after.transport.traffic.packets_sent > a.traffic.packets_sent, "counters outlive the end");
    assert!(world.a.take(|event| matches!(event, Event::Closed(_))).is_some());
}

#[test]
fn the_controller_that_was_asked_for_is_the_one_that_works() {
    for congestion in [Congestion::Cubic, Congestion::NewReno, Congestion::Bbr] {
        let tune = |config: &mut Config| config.congestion = congestion;
        let mut world = World::with_config(seed(6), LinkConfig::default(), tune);
        world.connect();
        assert_eq!(world.a.peer.stats().sctp.congestion, congestion);
    }
}

#[tokio::test]
async fn handles_tell_the_same_as_the_core_does() {
    let (here, there) = (
        sinnet::Endpoint::bind("127.0.0.1:0").await.unwrap(),
        sinnet::Endpoint::bind("127.0.0.1:0").await.unwrap(),
    );
    let config = sinnet::PeerConfig { congestion: Congestion::Bbr, ..Default::default() };
    let a = here.peer_connection(config).unwrap();
    let b = there.peer_connection(Default::default()).unwrap();
    let chat = a.create_data_channel("chat", Default::default()).unwrap();
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(a.local_description().unwrap()).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    a.set_remote_description(b.local_description().unwrap()).unwrap();
    chat.send("hello").await.unwrap();
    let theirs = loop {
        if let sinnet::PeerEvent::DataChannel(channel) = b.next_event().await.unwrap() {
            break channel;
        }
    };
    assert_eq!(theirs.recv().await, Some("hello".into()));
    assert_eq!(sent(&chat.stats()), (1, 5));
    assert_eq!(received(&theirs.stats()), (1, 5));
    assert_eq!(a.stats().sctp.congestion, Congestion::Bbr, "the endpoint hands it on");
    assert_eq!(b.stats().sctp.congestion, Congestion::Cubic);
    let pairs = a.candidate_pairs();
    assert_eq!(pairs.iter().filter(|pair| pair.ice.selected).count(), 1);
    assert_eq!(a.local_candidates()[0].address, here.local_addrs()[0]);
    assert_eq!(a.remote_candidates()[0].address, there.local_addrs()[0]);
    assert_eq!(a.local_certificate_stats(), b.remote_certificate_stats());
    a.close().await;
}

/// Cheap to hand around, as is said.
const _: () = {
    const fn copy<T: Copy>() {}
    copy::<Stats>();
    copy::<DataChannelStats>();
    copy::<CandidatePairStats>();
};
