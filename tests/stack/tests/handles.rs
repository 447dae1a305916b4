//! Handles over real sockets: dropped at any moment, waiting for what another handle does, and gone without a trace.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sinnet::{
    Certificate, DataChannel, DataChannelOptions, DataChannelState, Endpoint, Error, PeerConfig,
    PeerConnection, PeerEvent, SessionDescription, TrySendError,
};
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

async fn patient<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it does not hang")
}

async fn endpoint() -> Endpoint {
    Endpoint::bind("127.0.0.1:0").await.unwrap()
}

fn exchange(a: &PeerConnection, b: &PeerConnection) {
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(a.local_description().unwrap()).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    a.set_remote_description(b.local_description().unwrap()).unwrap();
}

struct Pair {
    a: PeerConnection,
    b: PeerConnection,
    endpoints: [Endpoint; 2],
}

impl Pair {
    async fn new(config: PeerConfig) -> Self {
        let endpoints = [endpoint().await, endpoint().await];
        let a = endpoints[0].peer_connection(config.clone()).unwrap();
        let b = endpoints[1].peer_connection(config).unwrap();
        Self { a, b, endpoints }
    }

    /// A channel opened by `a`, and what `b` has of it.
    async fn channel(&self) -> (DataChannel, DataChannel) {
        let ours = self.a.create_data_channel("test", DataChannelOptions::default()).unwrap();
        if self.a.local_description().is_none() {
            exchange(&self.a, &self.b);
        }
        let theirs = patient(next_channel(&self.b)).await;
        patient(ours.opened()).await.unwrap();
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

fn certificate() -> Arc<Certificate> {
    Arc::new(Certificate::generate(1_800_000_000).unwrap())
}

/// A connection holds its certificate until the last of it is gone.
async fn gone(certificate: &Arc<Certificate>) {
    let wait = async {
        while Arc::strong_count(certificate) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("nothing keeps the connection in memory");
}

#[tokio::test]
async fn a_connection_whose_handles_outlive_the_driver_is_freed_with_them() {
    let certificate = certificate();
    let config = PeerConfig { certificate: Some(certificate.clone()), ..PeerConfig::default() };
    let Pair { a, b, endpoints } = Pair::new(config.clone()).await;
    exchange(&a, &b);
    let channel = a.create_data_channel("test", DataChannelOptions::default()).unwrap();
    drop(config);
    for endpoint in &endpoints {
        patient(endpoint.close()).await;
    }
    assert!(channel.send("late").await.is_err());
    drop((channel, a, b, endpoints));
    gone(&certificate).await;
}

#[test]
fn a_runtime_that_goes_away_wakes_all_waiters_and_leaves_nothing() {
    let certificate = certificate();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = PeerConfig { certificate: Some(certificate.clone()), ..PeerConfig::default() };
    let (pair, ours, theirs) = runtime.block_on(async move {
        let pair = Pair::new(config).await;
        let (ours, theirs) = pair.channel().await;
        (pair, ours, theirs)
    });
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        patient(theirs.recv()).await;
        patient(ours.closed()).await;
        patient(pair.a.close()).await;
        patient(pair.b.abort("gone")).await;
        for endpoint in &pair.endpoints {
            patient(endpoint.close()).await;
            assert!(matches!(endpoint.peer_connection(PeerConfig::default()), Err(Error::EndpointClosed)));
        }
        drop((ours, theirs, pair));
        gone(&certificate).await;
    });
}

#[tokio::test]
async fn raising_the_low_threshold_wakes_who_waits_for_it() {
    let config =
        PeerConfig { receive_buffer: 64 * 1024, max_message_size: 16 * 1024, ..PeerConfig::default() };
    let pair = Pair::new(config).await;
    let (ours, theirs) = pair.channel().await;
    while !matches!(ours.try_send(vec![0; 16 * 1024]), Err(TrySendError::Full(_))) {}
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ours.buffered_amount() > 0, "the reader does not read");
    let waiting = tokio::spawn({
        let ours = ours.clone();
        async move { ours.buffered_amount_low().await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    ours.set_buffered_amount_low_threshold(usize::MAX);
    patient(waiting).await.unwrap();
    drop(theirs);
}

#[tokio::test]
async fn a_close_that_waits_for_the_reader_ends_when_all_is_read() {
    let config =
        PeerConfig { receive_buffer: 64 * 1024, max_message_size: 16 * 1024, ..PeerConfig::default() };
    let pair = Pair::new(config).await;
    let (first, first_b) = pair.channel().await;
    let (second, second_b) = pair.channel().await;
    for channel in [&first, &second] {
        for _ in 0..6 {
            channel.send(vec![0; 10_000]).await.unwrap();
        }
        channel.close();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(second.ready_state(), DataChannelState::Closing);
    for _ in 0..6 {
        assert!(patient(second_b.recv()).await.is_some());
    }
    // The driver has served the last of the reads when the one comes that finds nothing.
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Before any timer has a reason to look at the connection: consent is checked after four seconds.
    let ended = timeout(Duration::from_secs(3), async { (second_b.recv().await, second.closed().await) });
    assert!(matches!(ended.await, Ok((None, ()))), "the close goes on");
    drop((first_b, pair));
}

#[tokio::test]
async fn a_refused_answer_leaves_room_for_the_right_one() {
    let pair = Pair::new(PeerConfig::default()).await;
    let channel = pair.a.create_data_channel("test", DataChannelOptions::default()).unwrap();
    pair.a.set_local_description(pair.a.create_offer().unwrap()).unwrap();
    let offer = pair.a.local_description().unwrap();
    pair.b.set_remote_description(offer.clone()).unwrap();
    pair.b.set_local_description(pair.b.create_answer().unwrap()).unwrap();
    let answer = pair.b.local_description().unwrap();
    // A relay that sends our own credentials back to us.
    let credential = |sdp: &str, name: &str| {
        let line = sdp.lines().find(|line| line.starts_with(name)).unwrap();
        line.to_owned()
    };
    let mut looped = answer.sdp.clone();
    for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
        looped = looped.replace(&credential(&answer.sdp, name), &credential(&offer.sdp, name));
    }
    assert!(pair.a.set_remote_description(SessionDescription::answer(looped)).is_err());
    pair.a.set_remote_description(answer).expect("the state is as before");
    patient(channel.opened()).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_made_to_an_address_that_many_dead_attempts_lead_to() {
    let [client, server] = [endpoint().await, endpoint().await];
    let there = server.local_addrs()[0];
    let mut dead = Vec::new();
    for _ in 0..12 {
        // Its answer names the server's address, but nobody there knows of it.
        let (attempt, ghost) = (
            client.peer_connection(PeerConfig::default()).unwrap(),
            endpoint().await.peer_connection(PeerConfig::default()).unwrap(),
        );
        attempt.set_local_description(attempt.create_offer().unwrap()).unwrap();
        ghost.set_remote_description(attempt.local_description().unwrap()).unwrap();
        ghost.set_local_description(ghost.create_answer().unwrap()).unwrap();
        let mut answer = ghost.local_description().unwrap();
        let lines = answer.sdp.lines().map(|line| match line.starts_with("a=candidate:") {
            true => format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host\r\n", there.port()),
            false => format!("{line}\r\n"),
        });
        answer.sdp = lines.collect();
        attempt.set_remote_description(answer).unwrap();
        dead.push(attempt);
    }
    // Their checks are on the way.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let a = client.peer_connection(PeerConfig::default()).unwrap();
    let b = server.peer_connection(PeerConfig::default()).unwrap();
    exchange(&a, &b);
    timeout(PATIENCE, a.connected()).await.expect("it is not kept out").unwrap();
}

#[tokio::test]
async fn sends_and_receives_given_up_at_any_moment_lose_and_repeat_nothing() {
    let config = PeerConfig {
        receive_buffer: 64 * 1024,
        send_buffer: 64 * 1024,
        max_message_size: 16 * 1024,
        ..PeerConfig::default()
    };
    let pair = Pair::new(config).await;
    let (ours, theirs) = pair.channel().await;
    let count = 600u32;
    let sender = tokio::spawn(async move {
        for i in 0..count {
            let mut message = vec![0; 5000];
            message[..4].copy_from_slice(&i.to_be_bytes());
            let mut patience = 0;
            // A send that is given up has sent nothing.
            while timeout(Duration::from_micros(patience), ours.send(message.clone())).await.is_err() {
                patience = (patience + 37) % 400;
            }
        }
        ours
    });
    let receive_all = async {
        for i in 0..count {
            let mut patience = 0;
            let message = loop {
                match timeout(Duration::from_micros(patience), theirs.recv()).await {
                    Ok(message) => break message.expect("the channel is open"),
                    Err(_) => patience = (patience + 53) % 400,
                }
            };
            assert_eq!(message.as_bytes()[..4], i.to_be_bytes(), "message {i}");
        }
    };
    patient(receive_all).await;
    patient(sender).await.unwrap();
}

#[tokio::test]
async fn waits_given_up_at_any_moment_leave_everything_as_it_was() {
    let pair = Pair::new(PeerConfig::default()).await;
    let ours = pair.a.create_data_channel("test", DataChannelOptions::default()).unwrap();
    exchange(&pair.a, &pair.b);
    let until_it_arrives = async {
        loop {
            let glance = Duration::from_micros(50);
            let _ = timeout(glance, pair.a.connected()).await;
            let _ = timeout(glance, ours.opened()).await;
            let _ = timeout(glance, ours.closed()).await;
            let _ = timeout(glance, ours.recv()).await;
            let _ = timeout(glance, pair.a.next_event()).await;
            if let Ok(Some(PeerEvent::DataChannel(channel))) = timeout(glance, pair.b.next_event()).await {
                break channel;
            }
        }
    };
    let theirs = patient(until_it_arrives).await;
    patient(ours.send("x")).await.unwrap();
    assert_eq!(patient(theirs.recv()).await, Some("x".into()));
    // A close that nobody waits for goes on all the same.
    let _ = timeout(Duration::ZERO, pair.a.close()).await;
    patient(ours.closed()).await;
    assert_eq!(patient(theirs.recv()).await, None);
    let _ = timeout(Duration::ZERO, pair.endpoints[0].close()).await;
    assert!(pair.endpoints[0].peer_connection(PeerConfig::default()).is_err());
    patient(pair.endpoints[0].close()).await;
    patient(pair.endpoints[1].close()).await;
}

#[tokio::test]
async fn handles_dropped_in_any_order_and_in_tasks_end_everything() {
    let certificate = certificate();
    for order in 0..6 {
        let config = PeerConfig { certificate: Some(certificate.clone()), ..PeerConfig::default() };
        let pair = Pair::new(config).await;
        let (ours, theirs) = pair.channel().await;
        let Pair { a, b, endpoints: [here, there] } = pair;
        // The last handle goes inside a task that reads from it.
        let reader = tokio::spawn(async move { while theirs.recv().await.is_some() {} });
        let mut handles: [Option<Box<dyn Send>>; 3] =
            [Some(Box::new(here)), Some(Box::new(a)), Some(Box::new(ours))];
        for at in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][order] {
            drop(handles[at].take());
            tokio::task::yield_now().await;
        }
        patient(reader).await.unwrap();
        drop((b, there));
        gone(&certificate).await;
    }
}

#[tokio::test]
async fn channels_that_nobody_can_take_any_more_are_closed() {
    let pair = Pair::new(PeerConfig {
        receive_buffer: 64 * 1024,
        max_message_size: 16 * 1024,
        ..PeerConfig::default()
    })
    .await;
    let (ours, theirs) = pair.channel().await;
    let early = pair.a.create_data_channel("early", DataChannelOptions::default()).unwrap();
    patient(early.opened()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The channel lives on without the connection's handle, but what the peer opens has nobody to go to.
    let Pair { a, b, endpoints } = pair;
    drop(b);
    let late = a.create_data_channel("late", DataChannelOptions::default()).unwrap();
    patient(early.closed()).await;
    patient(late.closed()).await;
    patient(ours.send("x")).await.unwrap();
    assert_eq!(patient(theirs.recv()).await, Some("x".into()));
    drop(endpoints);
}
