//! Many channels and many connections, opened and closed from both sides under loss: nothing stays behind. Memory is
//! counted by the allocator, on the one thread that does all the work.
//!
//! `SINNET_SOAK=long` runs the long form: 100,000 channels, 20,000 by their handles, and 2,000 connections:
//! a minute. Otherwise 2,000, 1,000 and 50.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use allocation_counter::measure;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet::{
    DataChannelOptions, Endpoint, PeerConfig, PeerConnection, PeerEvent, SdpType, SessionDescription,
};
use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{ChannelKey, ChannelOptions, ChannelState, Message};
use sinnet_stack_tests::World;
use tokio::net::UdpSocket;

/// What may be left: more than buffers that have grown a little, and far less than a leak.
const SLACK: i64 = 1024 * 1024;

fn is_long() -> bool {
    std::env::var("SINNET_SOAK").is_ok_and(|form| form == "long")
}

/// Channels that are there at once.
const BATCH: usize = 100;

/// Opens channels from both sides, each of which says its name in both directions, and closes them from either side or
/// both.
fn open_and_close(world: &mut World, rng: &mut StdRng, round: usize) {
    let mut ours: HashMap<String, (ChannelKey, bool)> = HashMap::new();
    for i in 0..BATCH {
        let by_a = rng.random_bool(0.5);
        let label = format!("{round}.{i}");
        let options =
            ChannelOptions { label: label.clone(), ordered: i % 3 > 0, ..ChannelOptions::default() };
        let end = if by_a { &mut world.a } else { &mut world.b };
        let key = end.peer.open_channel(world.now, options).expect("an id is free");
        end.peer.try_send(world.now, key, Message::from(label.clone())).expect("it is open, with room");
        ours.insert(label, (key, by_a));
    }
    let mut pairs = Vec::new();
    let met = world.run_until(Duration::from_secs(120), |world| {
        for at_a in [true, false] {
            let end = if at_a { &mut world.a } else { &mut world.b };
            while let Some(theirs) = end.incoming() {
                let label = end.peer.channel_options(theirs).expect("just opened").label.clone();
                let (key, by_a) = ours.remove(&label).expect("opened once");
                assert_ne!(at_a, by_a, "{label}");
                end.peer.try_send(world.now, theirs, Message::from(label.clone())).expect("there is room");
                pairs.push((label, if by_a { (key, theirs) } else { (theirs, key) }));
            }
            end.events.clear();
        }
        pairs.len() == BATCH
    });
    assert!(met, "round {round}: {} channels of {BATCH}", pairs.len());
    let mut heard = vec![[false; 2]; BATCH];
    let mut closing = [false; BATCH];
    let mut turn = 0;
    let closed = world.run_until(Duration::from_secs(120), |world| {
        turn += 1;
        for (i, (label, (at_a, at_b))) in pairs.iter().enumerate() {
            for (which, end, key) in [(0, &mut world.a, *at_a), (1, &mut world.b, *at_b)] {
                while let Some(message) = end.peer.recv(key) {
                    assert_eq!(message, Message::from(label.clone()), "of its own channel");
                    assert!(!std::mem::replace(&mut heard[i][which], true), "once");
                }
            }
            if !closing[i] && turn > i {
                closing[i] = true;
                if i % 3 != 1 {
                    world.a.peer.close_channel(world.now, *at_a);
                }
                if i % 3 != 0 {
                    world.b.peer.close_channel(world.now, *at_b);
                }
            }
        }
        pairs.iter().all(|(_, (at_a, at_b))| {
            world.a.peer.channel_state(*at_a) == ChannelState::Closed
                && world.b.peer.channel_state(*at_b) == ChannelState::Closed
        })
    });
    assert!(closed, "round {round}: not all close");
    for ((label, (at_a, at_b)), heard) in pairs.iter().zip(heard) {
        for (which, end, key) in [(0, &mut world.a, *at_a), (1, &mut world.b, *at_b)] {
            assert!(heard[which] || end.peer.recv(key).is_some(), "{label} was heard");
            end.peer.release_channel(world.now, key);
        }
    }
    world.a.events.clear();
    world.b.events.clear();
}

#[test]
fn channels_opened_and_closed_by_the_thousand_leave_nothing() {
    let channels = if is_long() { 100_000 } else { 2_000 };
    let seed = seed(0x50a);
    let mut rng = StdRng::seed_from_u64(seed);
    let link = LinkConfig {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(2),
        loss: Loss::Bernoulli(0.03),
        duplicate: 0.02,
        reorder: 0.02,
        reorder_delay: Duration::from_millis(4),
        ..LinkConfig::default()
    };
    let mut world = World::new(seed, link);
    world.connect();
    // For SCTP to be up, too.
    world.run_for(Duration::from_secs(5));
    for round in 0..3 {
        open_and_close(&mut world, &mut rng, round);
    }
    world.run_for(Duration::from_secs(10));
    let info = measure(|| {
        for round in 3..3 + channels / BATCH {
            open_and_close(&mut world, &mut rng, round);
        }
        world.run_for(Duration::from_secs(10));
    });
    println!("{channels} channels in {:?}: {} bytes more than before", world.elapsed(), info.bytes_current);
    assert!(info.bytes_current.abs() < SLACK, "{} bytes", info.bytes_current);
    // Every id is there again: the next channels have the lowest.
    for end in [&mut world.a, &mut world.b] {
        let keys: Vec<_> = (0..20)
            .map(|_| end.peer.open_channel(world.now, ChannelOptions::default()).expect("an id"))
            .collect();
        let ids: Vec<u16> = keys.iter().map(|key| end.peer.channel_id(*key).expect("chosen") / 2).collect();
        assert_eq!(ids, (0..20).collect::<Vec<u16>>());
        let stats = end.peer.stats();
        assert_eq!((stats.dcep_errors, stats.dropped_orphans), (0, 0));
    }
}

/// A relay between two addresses that loses some datagrams; both take it for the other. It ends with its handle.
struct Relay {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    async fn between(ends: [SocketAddr; 2], loss: f64, seed: u64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let port = socket.local_addr().expect("bound").port();
        let mut rng = StdRng::seed_from_u64(seed);
        let task = tokio::spawn(async move {
            let mut buf = vec![0; 4096];
            while let Ok((size, from)) = socket.recv_from(&mut buf).await {
                if let Some(at) = ends.iter().position(|end| *end == from)
                    && !rng.random_bool(loss)
                {
                    let _ = socket.send_to(&buf[..size], ends[1 - at]).await;
                }
            }
        });
        Self { port, task }
    }

    /// The description with the relay's address for its own.
    fn instead_of(&self, end: SocketAddr, mut description: SessionDescription) -> SessionDescription {
        let ours = format!(" 127.0.0.1 {} ", end.port());
        assert!(description.sdp.contains(&ours), "a candidate");
        description.sdp = description.sdp.replace(&ours, &format!(" 127.0.0.1 {} ", self.port));
        description
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn next_channel(connection: &PeerConnection) -> sinnet::DataChannel {
    loop {
        match connection.next_event().await.expect("the connection lives") {
            PeerEvent::DataChannel(channel) => return channel,
            PeerEvent::Closed(reason) => panic!("{reason}"),
            _ => {}
        }
    }
}

async fn ended(connection: &PeerConnection) {
    while !matches!(connection.next_event().await, Some(PeerEvent::Closed(_)) | None) {}
}

/// One connection: up, used from both sides, and ended in one of six ways.
async fn one(endpoints: [Endpoint; 2], number: u64, seed: u64) {
    let [first, second] = if number.is_multiple_of(2) { [0, 1] } else { [1, 0] };
    let addrs = endpoints.each_ref().map(|endpoint| endpoint.local_addrs()[0]);
    let relay = Relay::between(addrs, 0.03, seed.wrapping_add(number)).await;
    let a = endpoints[first].peer_connection(PeerConfig::default()).expect("a connection");
    let b = endpoints[second].peer_connection(PeerConfig::default()).expect("a connection");
    let ours = a.create_data_channel("first", DataChannelOptions::default()).expect("a channel");
    a.set_local_description(a.create_offer().expect("an offer")).expect("our own");
    let offer = a.local_description().expect("described");
    assert_eq!(offer.kind, SdpType::Offer);
    b.set_remote_description(relay.instead_of(addrs[first], offer)).expect("their offer");
    b.set_local_description(b.create_answer().expect("an answer")).expect("our own");
    let answer = b.local_description().expect("described");
    a.set_remote_description(relay.instead_of(addrs[second], answer)).expect("their answer");
    let back = b.create_data_channel("second", DataChannelOptions::default()).expect("a channel");
    let (ours_b, back_a) = tokio::join!(next_channel(&b), next_channel(&a));
    for (from, to) in [(&ours, &ours_b), (&back, &back_a), (&ours_b, &ours), (&back_a, &back)] {
        for i in 0..5u32 {
            let message = vec![i as u8; 3000];
            from.send(message.clone()).await.expect("it is open");
            assert_eq!(to.recv().await, Some(message.into()));
        }
    }
    match number % 6 {
        0 => a.close().await,
        1 => b.close().await,
        2 => a.abort("soak").await,
        3 => b.abort("soak").await,
        4 => drop(tokio::join!(a.close(), b.close())),
        _ => {
            drop((a, ours, back_a));
            ended(&b).await;
            return;
        }
    }
    // An ABORT may get lost; then it is the consent that ends.
    tokio::join!(ended(&a), ended(&b));
}

/// Connections that are there at once.
const AT_ONCE: usize = 24;

/// These connections, and then the wait until the drivers have forgotten them.
async fn run(endpoints: &[Endpoint; 2], numbers: std::ops::Range<u64>, seed: u64) {
    let mut running = tokio::task::JoinSet::new();
    for number in numbers {
        running.spawn(one(endpoints.clone(), number, seed));
        if running.len() == AT_ONCE {
            running.join_next().await.expect("some run").expect("all goes well");
        }
    }
    while let Some(done) = running.join_next().await {
        done.expect("all goes well");
    }
    let held = || endpoints.each_ref().map(Endpoint::held);
    let forgotten = async {
        while held() != [[0; 3]; 2] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), forgotten).await;
    assert!(waited.is_ok(), "connections, deadlines, routes: {:?}", held());
}

/// Channels by their handles, over one connection: each says something both ways, and is closed by either side, by both,
/// or by letting go of it.
async fn handles(a: &PeerConnection, b: &PeerConnection, count: usize) {
    for number in 0..count {
        let (from, to) = if number % 2 == 0 { (a, b) } else { (b, a) };
        let label = number.to_string();
        let ours = from.create_data_channel(&label, DataChannelOptions::default()).expect("a channel");
        let theirs = next_channel(to).await;
        assert_eq!(theirs.label(), label);
        ours.send(label.as_str()).await.expect("it is open");
        assert_eq!(theirs.recv().await, Some(label.as_str().into()));
        theirs.send(vec![7; 2000]).await.expect("it is open");
        assert_eq!(ours.recv().await, Some(vec![7; 2000].into()));
        match number % 4 {
            0 => ours.close(),
            1 => theirs.close(),
            2 => drop((ours.clone(), theirs.close(), ours.close())),
            _ => {
                drop(ours);
                theirs.closed().await;
                continue;
            }
        }
        tokio::join!(ours.closed(), theirs.closed());
    }
}

#[test]
fn channels_opened_and_closed_by_their_handles_leave_nothing() {
    let channels = if is_long() { 20_000 } else { 1_000 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (endpoints, a, b) = runtime.block_on(async {
        let [first, second] = [(); 2].map(|()| Endpoint::bind("127.0.0.1:0"));
        let endpoints = [first.await.expect("an endpoint"), second.await.expect("an endpoint")];
        let [a, b] = endpoints.each_ref().map(|endpoint| endpoint.peer_connection(PeerConfig::default()));
        let (a, b) = (a.expect("a connection"), b.expect("a connection"));
        a.set_local_description(a.create_offer().expect("an offer")).expect("our own");
        b.set_remote_description(a.local_description().expect("described")).expect("their offer");
        b.set_local_description(b.create_answer().expect("an answer")).expect("our own");
        a.set_remote_description(b.local_description().expect("described")).expect("their answer");
        a.connected().await.expect("it is up");
        handles(&a, &b, 200).await;
        (endpoints, a, b)
    });
    let info = measure(|| runtime.block_on(handles(&a, &b, channels)));
    println!("{channels} channels by handles: {} bytes more than before", info.bytes_current);
    assert!(info.bytes_current.abs() < SLACK, "{} bytes", info.bytes_current);
    assert_eq!(runtime.metrics().num_alive_tasks(), 2, "the drivers");
    drop((endpoints, a, b));
}

#[test]
fn connections_made_and_ended_by_the_hundred_leave_no_task_no_timer_and_no_memory() {
    let connections = if is_long() { 2_000 } else { 50 };
    let seed = seed(0x50b);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let endpoints = runtime.block_on(async {
        let [a, b] = [(); 2].map(|()| Endpoint::bind("127.0.0.1:0"));
        [a.await.expect("an endpoint"), b.await.expect("an endpoint")]
    });
    runtime.block_on(run(&endpoints, 0..24, seed));
    let tasks = runtime.metrics().num_alive_tasks();
    // The allocator counts what happens on this thread, and all of it does.
    let info = measure(|| runtime.block_on(run(&endpoints, 24..24 + connections, seed)));
    println!("{connections} connections: {} bytes more than before", info.bytes_current);
    assert!(info.bytes_current.abs() < SLACK, "{} bytes", info.bytes_current);
    assert_eq!(runtime.metrics().num_alive_tasks(), tasks);
    assert_eq!(tasks, 2, "the drivers");
}
