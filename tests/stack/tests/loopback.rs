//! The whole stack over real sockets on 127.0.0.1, with batches on and off.

use std::time::Duration;

use bytes::Bytes;
use sinnet::{
    CloseReason, ConnectionState, DataChannel, DataChannelOptions, DataChannelState, Endpoint,
    EndpointConfig, Error, Message, PeerConfig, PeerConnection, PeerEvent, Reliability, SendError,
    TrySendError,
};
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

struct Pair {
    a: PeerConnection,
    b: PeerConnection,
    endpoints: [Endpoint; 2],
}

async fn endpoint(batches: bool) -> Endpoint {
    let mut config = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
    if !batches {
        // Nor is there anything for the receiver's UDP_GRO to keep together.
        config.max_segments = 1;
    }
    Endpoint::new(config).await.unwrap()
}

fn exchange(a: &PeerConnection, b: &PeerConnection) {
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(a.local_description().unwrap()).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    a.set_remote_description(b.local_description().unwrap()).unwrap();
}

impl Pair {
    async fn new(config: PeerConfig, batches: bool) -> Self {
        let endpoints = [endpoint(batches).await, endpoint(batches).await];
        let a = endpoints[0].peer_connection(config.clone()).unwrap();
        let b = endpoints[1].peer_connection(config).unwrap();
        Self { a, b, endpoints }
    }

    /// A channel opened by `a`, and what `b` has of it.
    async fn channel(&self, options: DataChannelOptions) -> (DataChannel, DataChannel) {
        let ours = self.a.create_data_channel("test", options).unwrap();
        if self.a.local_description().is_none() {
            exchange(&self.a, &self.b);
        }
        let theirs = timeout(PATIENCE, next_channel(&self.b)).await.expect("the channel arrives");
        timeout(PATIENCE, ours.opened()).await.expect("the channel opens").unwrap();
        (ours, theirs)
    }
}

async fn next_channel(connection: &PeerConnection) -> DataChannel {
    loop {
        match connection.next_event().await.expect("the connection lives") {
            PeerEvent::DataChannel(channel) => return channel,
            PeerEvent::Closed(reason) => panic!("{reason}"),
            _ => {}
        }
    }
}

async fn closed(connection: &PeerConnection) -> CloseReason {
    let wait = async {
        loop {
            if let PeerEvent::Closed(reason) = connection.next_event().await.expect("Closed comes once") {
                return reason;
            }
        }
    };
    timeout(PATIENCE, wait).await.expect("the connection ends")
}

async fn recv(channel: &DataChannel) -> Option<Message> {
    timeout(PATIENCE, channel.recv()).await.expect("a message or the end")
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn messages_of_every_size_and_type_are_echoed_intact_with_batches_on_and_off() {
    for batches in [true, false] {
        let pair = Pair::new(PeerConfig::default(), batches).await;
        let (ours, theirs) = pair.channel(DataChannelOptions::default()).await;
        let echo = tokio::spawn(async move {
            while let Some(message) = theirs.recv().await {
                theirs.send(message).await.unwrap();
            }
        });
        for len in [0, 1, 2, 3, 100, 1131, 1132, 1133, 1160, 2264, 16_384, 65_535, 65_536, 262_144] {
            let binary = Message::Binary(pattern(len));
            ours.send(binary.clone()).await.unwrap();
            assert!(recv(&ours).await == Some(binary), "{len} bytes, batches {batches}");
            let text = Message::Text("ä".repeat(len / 2));
            ours.send(text.clone()).await.unwrap();
            assert!(recv(&ours).await == Some(text), "text of {len}, batches {batches}");
        }
        drop(ours);
        timeout(PATIENCE, echo).await.expect("the echo ends with the channel").unwrap();
    }
}

#[tokio::test]
async fn a_transfer_larger_than_all_buffers_arrives_in_order() {
    let config = PeerConfig { receive_buffer: 512 * 1024, send_buffer: 256 * 1024, ..small_messages() };
    let pair = Pair::new(config, true).await;
    let (ours, theirs) = pair.channel(DataChannelOptions::default()).await;
    let count = 400u32;
    let sender = tokio::spawn(async move {
        for i in 0..count {
            let mut message = pattern(50_000).to_vec();
            message[..4].copy_from_slice(&i.to_be_bytes());
            ours.send(message).await.unwrap();
        }
        ours
    });
    for i in 0..count {
        let Some(Message::Binary(message)) = recv(&theirs).await else { panic!("message {i} is missing") };
        assert_eq!(message.len(), 50_000);
        assert_eq!(message[..4], i.to_be_bytes());
        assert_eq!(message[4..], pattern(50_000)[4..]);
    }
    sender.await.unwrap();
}

fn small_messages() -> PeerConfig {
    PeerConfig { max_message_size: 64 * 1024, ..PeerConfig::default() }
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_sender_and_not_the_memory() {
    let config = PeerConfig { receive_buffer: 256 * 1024, send_buffer: 256 * 1024, ..small_messages() };
    let pair = Pair::new(config, true).await;
    let (ours, theirs) = pair.channel(DataChannelOptions::default()).await;
    let mut accepted = 0usize;
    let stuck = async {
        loop {
            ours.send(pattern(16_384)).await.unwrap();
            accepted += 1;
        }
    };
    assert!(timeout(Duration::from_millis(500), stuck).await.is_err(), "sending must come to a halt");
    // A waiting sender is woken when a quarter of the buffer is free, so there may be room left.
    let limit = (256 + 256 + 64) * 1024 / 16_384;
    let refused = loop {
        match ours.try_send(pattern(16_384)) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted <= limit, "{accepted} messages taken, buffers hold {limit}");
    };
    assert!(matches!(refused, TrySendError::Full(_)), "{refused}");
    for _ in 0..accepted {
        assert_eq!(recv(&theirs).await, Some(Message::Binary(pattern(16_384))));
    }
    timeout(PATIENCE, ours.send("again")).await.expect("there is room again").unwrap();
    assert_eq!(recv(&theirs).await, Some("again".into()));
}

#[tokio::test]
async fn twenty_channels_from_both_sides_keep_apart() {
    let pair = Pair::new(PeerConfig::default(), true).await;
    let ours: Vec<_> = (0..10)
        .map(|i| pair.a.create_data_channel(&format!("a{i}"), DataChannelOptions::default()).unwrap())
        .collect();
    let theirs: Vec<_> = (0..10)
        .map(|i| pair.b.create_data_channel(&format!("b{i}"), DataChannelOptions::default()).unwrap())
        .collect();
    exchange(&pair.a, &pair.b);
    for channel in ours.iter().chain(&theirs) {
        timeout(PATIENCE, channel.send(channel.label())).await.unwrap().unwrap();
    }
    for (connection, expected) in [(&pair.a, "b"), (&pair.b, "a")] {
        let mut labels = Vec::new();
        for _ in 0..10 {
            let channel = timeout(PATIENCE, next_channel(connection)).await.unwrap();
            assert_eq!(recv(&channel).await, Some(channel.label().into()), "its own message and no other");
            labels.push(channel.label().to_owned());
        }
        labels.sort();
        assert_eq!(labels, (0..10).map(|i| format!("{expected}{i}")).collect::<Vec<_>>());
    }
    let mut ids: Vec<_> = ours.iter().chain(&theirs).map(|channel| channel.id().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20, "every channel has an id of its own");
    assert!(ours.iter().map(|c| c.id().unwrap() % 2).all(|parity| parity == ours[0].id().unwrap() % 2));
}

#[tokio::test]
async fn options_are_seen_on_the_other_side() {
    let pair = Pair::new(PeerConfig::default(), true).await;
    for (ordered, reliability) in [
        (true, Reliability::Reliable),
        (false, Reliability::Reliable),
        (true, Reliability::MaxRetransmits(0)),
        (false, Reliability::MaxRetransmits(3)),
        (true, Reliability::MaxPacketLifeTime(500)),
        (false, Reliability::MaxPacketLifeTime(1)),
    ] {
        let options =
            DataChannelOptions { ordered, reliability, protocol: "proto".to_owned(), ..Default::default() };
        let (ours, theirs) = pair.channel(options).await;
        assert_eq!((theirs.label(), theirs.protocol()), ("test", "proto"));
        assert_eq!((theirs.ordered(), theirs.reliability()), (ordered, reliability));
        assert_eq!(ours.id(), theirs.id());
        // On a busy machine, a message may well wait longer than it lives.
        let mut sent = 0;
        while sent == 0 || timeout(Duration::from_millis(500), theirs.recv()).await != Ok(Some("x".into())) {
            assert!(sent < 20, "{reliability:?}: none of {sent} messages arrives");
            ours.send("x").await.unwrap();
            sent += 1;
        }
    }
}

#[tokio::test]
async fn negotiated_channels_need_no_open_and_lose_no_early_message() {
    let pair = Pair::new(PeerConfig::default(), true).await;
    let options = || DataChannelOptions { negotiated: Some(7), ..Default::default() };
    let ours = pair.a.create_data_channel("ours", options()).unwrap();
    exchange(&pair.a, &pair.b);
    ours.send("early").await.unwrap();
    timeout(PATIENCE, pair.b.connected()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let theirs = pair.b.create_data_channel("theirs", options()).unwrap();
    assert_eq!(recv(&theirs).await, Some("early".into()));
    theirs.send("back").await.unwrap();
    assert_eq!(recv(&ours).await, Some("back".into()));
    assert_eq!((ours.id(), theirs.id()), (Some(7), Some(7)));
    assert!(matches!(pair.a.create_data_channel("again", options()), Err(Error::Open(_))));
}

#[tokio::test]
async fn closing_a_channel_delivers_what_was_accepted_and_frees_the_id() {
    let pair = Pair::new(PeerConfig::default(), true).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let (ours, theirs) = pair.channel(DataChannelOptions::default()).await;
        ids.push(ours.id().unwrap());
        for _ in 0..20 {
            ours.send(pattern(30_000)).await.unwrap();
        }
        ours.close();
        assert_eq!(ours.send("late").await, Err(SendError::Closed));
        for _ in 0..20 {
            assert_eq!(recv(&theirs).await, Some(Message::Binary(pattern(30_000))));
        }
        assert_eq!(recv(&theirs).await, None, "closed after the last message");
        timeout(PATIENCE, ours.closed()).await.expect("both directions are reset");
        assert_eq!(ours.ready_state(), DataChannelState::Closed);
        assert_eq!(theirs.ready_state(), DataChannelState::Closed);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "the id is used again: {ids:?}");
}

#[tokio::test]
async fn closing_the_connection_delivers_what_was_accepted_and_is_orderly_on_both_sides() {
    let pair = Pair::new(PeerConfig::default(), true).await;
    let (ours, theirs) = pair.channel(DataChannelOptions::default()).await;
    for _ in 0..30 {
        ours.send(pattern(30_000)).await.unwrap();
    }
    let closing = tokio::spawn({
        let a = pair.a.clone();
        async move { a.close().await }
    });
    for _ in 0..30 {
        assert_eq!(recv(&theirs).await, Some(Message::Binary(pattern(30_000))));
    }
    assert_eq!(recv(&theirs).await, None);
    timeout(PATIENCE, closing).await.expect("close returns").unwrap();
    assert!(matches!(closed(&pair.a).await, CloseReason::Local));
    assert!(matches!(closed(&pair.b).await, CloseReason::Peer));
    assert_eq!(pair.a.connection_state(), ConnectionState::Closed);
    assert_eq!(pair.b.connection_state(), ConnectionState::Closed);
    assert!(matches!(ours.send("late").await, Err(SendError::Closed)));
    assert!(pair.b.next_event().await.is_none(), "nothing comes behind Closed");
}

#[tokio::test]
async fn abort_ends_both_sides_at_once_and_gives_the_reason() {
    let pair = Pair::new(PeerConfig::default(), true).await;
    let (_ours, theirs) = pair.channel(DataChannelOptions::default()).await;
    timeout(PATIENCE, pair.a.abort("enough")).await.unwrap();
    let CloseReason::Aborted(Some(text)) = closed(&pair.b).await else {
        panic!("an orderly end with a reason")
    };
    assert_eq!(text, "enough");
    assert_eq!(recv(&theirs).await, None);
}

#[tokio::test]
async fn dropping_all_handles_of_a_connection_closes_it() {
    let Pair { a, b, endpoints } = Pair::new(PeerConfig::default(), true).await;
    let ours = a.create_data_channel("test", DataChannelOptions::default()).unwrap();
    exchange(&a, &b);
    ours.send("last words").await.unwrap();
    let theirs = timeout(PATIENCE, next_channel(&b)).await.unwrap();
    drop((ours, a));
    assert_eq!(recv(&theirs).await, Some("last words".into()));
    assert!(closed(&b).await.is_orderly());
    for endpoint in endpoints {
        timeout(PATIENCE, endpoint.close()).await.expect("nothing is left open");
    }
}

#[tokio::test]
async fn a_wrong_fingerprint_fails_on_both_sides_and_delivers_nothing() {
    let pair = Pair::new(PeerConfig::default(), true).await;
    let ours = pair.a.create_data_channel("test", DataChannelOptions::default()).unwrap();
    pair.a.set_local_description(pair.a.create_offer().unwrap()).unwrap();
    let mut offer = pair.a.local_description().unwrap();
    let at = offer.sdp.find("sha-256 ").unwrap() + 8;
    let flipped = if &offer.sdp[at..at + 1] == "0" { "1" } else { "0" };
    offer.sdp.replace_range(at..at + 1, flipped);
    pair.b.set_remote_description(offer).unwrap();
    pair.b.set_local_description(pair.b.create_answer().unwrap()).unwrap();
    pair.a.set_remote_description(pair.b.local_description().unwrap()).unwrap();
    let reason = closed(&pair.b).await;
    assert!(matches!(reason, CloseReason::Dtls(_)), "{reason}");
    assert!(reason.to_string().contains("fingerprint"), "{reason}");
    assert!(matches!(closed(&pair.a).await, CloseReason::Dtls(_)));
    assert!(ours.opened().await.is_err());
    assert_eq!(pair.b.connection_state(), ConnectionState::Failed);
    assert_eq!(pair.b.stats().sctp.messages_received, 0);
}

#[tokio::test]
async fn a_message_above_the_peers_maximum_is_refused_whole() {
    let endpoints = [endpoint(true).await, endpoint(true).await];
    let a = endpoints[0].peer_connection(PeerConfig::default()).unwrap();
    let b = endpoints[1].peer_connection(small_messages()).unwrap();
    let pair = Pair { a, b, endpoints };
    let (ours, theirs) = pair.channel(DataChannelOptions::default()).await;
    let refused = ours.send(pattern(64 * 1024 + 1)).await;
    assert_eq!(refused, Err(SendError::TooLarge { size: 64 * 1024 + 1, limit: 64 * 1024 }));
    ours.send(pattern(64 * 1024)).await.unwrap();
    assert_eq!(recv(&theirs).await, Some(Message::Binary(pattern(64 * 1024))));
    theirs.send(pattern(256 * 1024)).await.unwrap();
    assert_eq!(recv(&ours).await, Some(Message::Binary(pattern(256 * 1024))));
}

#[tokio::test]
async fn one_endpoint_serves_many_peers_on_one_port() {
    let server = endpoint(true).await;
    let mut clients = Vec::new();
    for i in 0..20 {
        let endpoint = endpoint(true).await;
        let here = endpoint.peer_connection(PeerConfig::default()).unwrap();
        let there = server.peer_connection(PeerConfig::default()).unwrap();
        let channel = here.create_data_channel(&format!("peer {i}"), DataChannelOptions::default()).unwrap();
        exchange(&here, &there);
        clients.push((here, there, channel, endpoint));
    }
    for (here, there, channel, _) in &clients {
        timeout(PATIENCE, channel.send("hi")).await.unwrap().unwrap();
        let theirs = timeout(PATIENCE, next_channel(there)).await.unwrap();
        assert_eq!(theirs.label(), channel.label());
        assert_eq!(recv(&theirs).await, Some("hi".into()));
        assert_eq!(there.selected_path().unwrap().local, server.local_addrs()[0]);
        assert_eq!(here.selected_path().unwrap().remote, server.local_addrs()[0]);
    }
    timeout(PATIENCE, server.close()).await.expect("closes all");
    for (here, ..) in &clients {
        assert!(closed(here).await.is_orderly());
    }
}

#[tokio::test]
async fn garbage_from_elsewhere_changes_nothing() {
    let pair = Pair::new(PeerConfig::default(), true).await;
    let (ours, theirs) = pair.channel(DataChannelOptions::default()).await;
    let attacker = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = pair.endpoints[1].local_addrs()[0];
    for first in 0..=255u8 {
        for len in [0usize, 1, 19, 20, 21, 100] {
            let mut datagram = pattern(len).to_vec();
            if let Some(byte) = datagram.first_mut() {
                *byte = first;
            }
            attacker.send_to(&datagram, target).await.unwrap();
        }
    }
    ours.send("still here").await.unwrap();
    assert_eq!(recv(&theirs).await, Some("still here".into()));
    let mut answer = [0; 2048];
    let answered = timeout(Duration::from_millis(100), attacker.recv_from(&mut answer)).await;
    assert!(answered.is_err(), "garbage is not answered");
    assert_eq!(pair.b.connection_state(), ConnectionState::Connected);
}
