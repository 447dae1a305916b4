//! Data in batches and in place, and channels that are given up.

use super::net::{Net, addr, client_config, secs, server_config};
use crate::{ClientConfig, Event, PeerError, SendError, StreamDecoder, Transport};

const PEER: &str = "192.0.2.1:9";

#[test]
fn a_batch_is_what_single_messages_are_and_stops_where_the_room_ends() {
    for transport in [Transport::Datagram, Transport::Stream] {
        let mut net = Net::new(server_config());
        net.client(client_config(), transport);
        net.run(secs(1));
        let now = net.now;
        let mut out = vec![0; 10_000];
        let data: Vec<u8> = (0..2501u32).map(|i| i as u8).collect();
        let refused = net.ends[0].client.send_batch(now, addr(PEER), &data, 1001, &mut out);
        assert_eq!(refused, Err(SendError::NotPermitted));
        for on_channel in [false, true] {
            if on_channel {
                net.bind(0, PEER);
            } else {
                net.permit(0, "192.0.2.1");
            }
            net.run(secs(1));
            let client = &mut net.ends[0].client;
            let before = client.stats();
            let batch = client.send_batch(now, addr(PEER), &data, 1001, &mut out).unwrap();
            let after = client.stats();
            assert_eq!((batch.taken, batch.on_channel), (2501, on_channel));
            assert_eq!(after.messages_sent - before.messages_sent, 3);
            assert_eq!(after.bytes_sent - before.bytes_sent, 2501);
            let mut lens = Vec::new();
            let mut single = vec![0; 2000];
            for datagram in data.chunks(1001) {
                let len = client.send(now, addr(PEER), datagram, &mut single).unwrap();
                let at = lens.iter().sum::<usize>();
                // But for the transaction ids of indications.
                assert_eq!(out[at..at + 4], single[..4]);
                assert_eq!(out[at + 20..at + len], single[20..len]);
                lens.push(len);
            }
            assert_eq!((batch.written, batch.segment_size), (lens.iter().sum(), lens[0]));
            assert_eq!(lens[0], lens[1]);
            let batch = client.send_batch(now, addr(PEER), &data, 1001, &mut out[..2200]).unwrap();
            assert_eq!((batch.taken, batch.written), (2002, lens[0] * 2));
            let none = client.send_batch(now, addr(PEER), &data, 1001, &mut out[..1000]);
            assert_eq!(none, Err(SendError::TooLarge));
        }
    }
}

#[test]
fn data_is_found_in_place_in_datagrams_and_on_streams() {
    let mut net = Net::ready(server_config());
    net.permit(0, "192.0.2.1");
    net.bind(0, "192.0.2.2:9");
    net.run(secs(1));
    let (now, server) = (net.now, net.ends[0].client.server());
    let number = 0x4000u16.to_be_bytes();
    let on_channel = [&number[..], &[0, 5], b"hello", &[0, 0, 0]].concat();
    let client = &mut net.ends[0].client;
    assert_eq!(client.handle_input_in_place(now, server, &on_channel), Some((addr("192.0.2.2:9"), 4..9)));
    assert_eq!(client.handle_input_in_place(now, server, b"other"), None);
    let mut decoder = StreamDecoder::new();
    decoder.push(&on_channel);
    decoder.push(&on_channel);
    let units = [decoder.poll_range().unwrap().unwrap(), decoder.poll_range().unwrap().unwrap()];
    assert_eq!(decoder.poll(), Ok(None));
    for unit in units {
        let unit = &mut decoder.bytes_mut()[unit];
        unit[4] = b'j';
        assert_eq!(&unit[4..9], b"jello");
    }
}

#[test]
fn a_channel_that_is_given_up_ends_and_its_number_is_used_again_five_minutes_later() {
    let mut net = Net::new(server_config());
    net.client(ClientConfig { max_channels: 2, ..client_config() }, Transport::Datagram);
    net.run(secs(1));
    net.bind(0, "192.0.2.1:1");
    net.bind(0, "192.0.2.1:2");
    net.run(secs(1));
    let now = net.now;
    net.ends[0].client.release_channel(now, addr("192.0.2.1:1"));
    net.ends[0].client.release_channel(now, addr("192.0.2.1:1"));
    let datagrams = net.datagrams;
    net.run(secs(595));
    let relayed = net.ends[0].client.relayed()[0];
    assert!(!net.ends[0].client.can_send(net.now, addr("192.0.2.3:1")));
    net.peer_sends(addr("192.0.2.1:2"), relayed, b"the other one goes on");
    net.peer_sends(addr("192.0.2.1:1"), relayed, b"still known");
    net.run(secs(1));
    assert_eq!(net.ends[0].received.len(), 2, "{:?}", net.ends[0].received);
    // Only the other one is asked for again, twice; and one Refresh.
    assert_eq!(net.datagrams - datagrams, 3);
    let now = net.now;
    assert_eq!(net.ends[0].client.bind_channel(now, addr("192.0.2.1:3")), Err(PeerError::TooMany));
    net.run(secs(310));
    net.bind(0, "192.0.2.1:3");
    net.run(secs(1));
    let bound = Event::ChannelBound { peer: addr("192.0.2.1:3") };
    assert!(net.ends[0].events.contains(&bound), "{:?}", net.ends[0].events);
}

#[test]
fn an_owner_in_doubt_has_the_allocation_refreshed_at_once_and_hears_of_its_end_in_a_minute() {
    let mut net = Net::ready(server_config());
    let before = net.datagrams;
    let now = net.now;
    net.ends[0].client.check(now);
    net.ends[0].client.check(now);
    net.run(secs(1));
    assert_eq!(net.datagrams - before, 1, "one Refresh");
    net.machines.clear();
    let now = net.now;
    net.ends[0].client.check(now);
    net.run(secs(60));
    assert!(matches!(net.ends[0].events.last(), Some(Event::Failed(_))), "{:?}", net.ends[0].events);
    let now = net.now;
    net.ends[0].client.check(now);
    assert_eq!(net.ends[0].client.poll_timeout(), None, "it is over");
}
