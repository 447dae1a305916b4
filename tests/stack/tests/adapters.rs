//! What handles are made into, over real sockets: halves, sinks and streams, streams of bytes; and what waits for room.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Sink, SinkExt, StreamExt, stream};
use sinnet::{
    DataChannel, DataChannelOptions, DataChannelState, Endpoint, Message, MessageKind, PeerConfig,
    PeerConnection, PeerEvent, Reliability, SendError, SessionDescription, TrySendError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

async fn patient<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it does not hang")
}

struct Pair {
    a: PeerConnection,
    b: PeerConnection,
    _endpoints: [Endpoint; 2],
}

impl Pair {
    async fn new(config: PeerConfig) -> Self {
        let endpoints =
            [Endpoint::bind("127.0.0.1:0").await.unwrap(), Endpoint::bind("127.0.0.1:0").await.unwrap()];
        let a = endpoints[0].peer_connection(config.clone()).unwrap();
        let b = endpoints[1].peer_connection(config).unwrap();
        Self { a, b, _endpoints: endpoints }
    }

    fn exchange(&self, change_answer: impl Fn(String) -> String) {
        self.a.set_local_description(self.a.create_offer().unwrap()).unwrap();
        self.b.set_remote_description(self.a.local_description().unwrap()).unwrap();
        self.b.set_local_description(self.b.create_answer().unwrap()).unwrap();
        let SessionDescription { kind, sdp } = self.b.local_description().unwrap();
        let answer = SessionDescription { kind, sdp: change_answer(sdp) };
        self.a.set_remote_description(answer).unwrap();
    }

    /// A channel opened by `a`, and what `b` has of it.
    async fn channel(&self) -> (DataChannel, DataChannel) {
        let ours = self.a.create_data_channel("test", DataChannelOptions::default()).unwrap();
        if self.a.local_description().is_none() {
            self.exchange(|answer| answer);
        }
        let theirs = patient(async {
            loop {
                match self.b.next_event().await.expect("the connection lives") {
                    PeerEvent::DataChannel(channel) => return channel,
                    _ => continue,
                }
            }
        });
        let theirs = theirs.await;
        patient(ours.opened()).await.unwrap();
        (ours, theirs)
    }
}

/// Buffers that are soon full.
fn tight() -> PeerConfig {
    PeerConfig {
        receive_buffer: 64 * 1024,
        send_buffer: 64 * 1024,
        max_message_size: 32 * 1024,
        ..PeerConfig::default()
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Sends messages of 8,000 bytes to one who does not read, until nothing moves any more; how many were taken.
async fn fill(channel: &DataChannel) -> usize {
    let (mut taken, mut refused) = (0, 0);
    while refused < 5 {
        match channel.try_send(noise(8_000)) {
            Ok(()) => (taken, refused) = (taken + 1, 0),
            Err(TrySendError::Full(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    taken
}

#[tokio::test]
async fn bytes_are_copied_both_ways_whatever_the_sizes_of_reads_and_writes() {
    let pair = Pair::new(tight()).await;
    let (ours, theirs) = pair.channel().await;
    let echo = tokio::spawn(async move {
        let mut stream = theirs.into_byte_stream().unwrap();
        let mut total = 0;
        let mut buf = vec![0; 5_000];
        while let Ok(len @ 1..) = stream.read(&mut buf).await {
            stream.write_all(&buf[..len]).await.unwrap();
            total += len;
        }
        total
    });
    let sent = noise(1_500_000);
    let (mut reader, mut writer) = tokio::io::split(ours.into_byte_stream().unwrap());
    let writing = {
        let sent = sent.clone();
        tokio::spawn(async move {
            for (i, part) in sent.chunks(33_333).enumerate() {
                let small = 1 + i * 97 % 4_000;
                for piece in part.chunks(small) {
                    writer.write_all(piece).await.unwrap();
                }
            }
            writer
        })
    };
    let mut got = vec![0; sent.len()];
    patient(reader.read_exact(&mut got)).await.unwrap();
    assert!(got == sent, "the same bytes in the same order");
    let mut writer = patient(writing).await.unwrap();
    patient(writer.shutdown()).await.unwrap();
    assert_eq!(patient(reader.read(&mut got)).await.unwrap(), 0, "the end");
    assert_eq!(patient(echo).await.unwrap(), sent.len());
    assert_eq!(writer.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_byte_stream_takes_text_as_its_bytes_and_passes_over_empty_messages() {
    let pair = Pair::new(PeerConfig::default()).await;
    let (ours, theirs) = pair.channel().await;
    for message in [Message::from("ä"), "".into(), vec![].into(), vec![1, 2].into(), "".into(), "z".into()] {
        ours.send(message).await.unwrap();
    }
    ours.close();
    let mut got = Vec::new();
    patient(theirs.into_byte_stream().unwrap().read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, [0xc3, 0xa4, 1, 2, b'z']);
}

#[tokio::test]
async fn writes_are_cut_to_the_size_that_was_set_and_to_what_the_peer_accepts() {
    let pair = Pair::new(tight()).await;
    let (ours, theirs) = pair.channel().await;
    assert_eq!(ours.max_message_size(), Some(32 * 1024));
    let mut stream = ours.into_byte_stream().unwrap();
    assert_eq!(stream.write(&noise(100_000)).await.unwrap(), 32 * 1024);
    stream.set_write_size(1_000);
    assert_eq!(stream.write(&noise(100_000)).await.unwrap(), 1_000);
    stream.set_write_size(1 << 30);
    assert_eq!(patient(stream.write(&noise(100_000))).await.unwrap(), 32 * 1024);
    assert_eq!(stream.write(&[]).await.unwrap(), 0);
    for len in [32 * 1024, 1_000, 32 * 1024] {
        assert_eq!(patient(theirs.recv()).await.unwrap().len(), len);
    }
}

#[tokio::test]
async fn a_channel_that_may_lose_or_reorder_is_no_byte_stream() {
    let pair = Pair::new(PeerConfig::default()).await;
    let lossy = DataChannelOptions { reliability: Reliability::MaxRetransmits(0), ..Default::default() };
    let loose = DataChannelOptions { ordered: false, ..Default::default() };
    for options in [lossy, loose] {
        let channel = pair.a.create_data_channel("x", options).unwrap();
        assert_eq!(channel.into_byte_stream().unwrap_err().label(), "x");
    }
}

#[tokio::test]
async fn a_connection_that_fails_is_an_error_and_not_the_end_of_the_bytes() {
    let pair = Pair::new(PeerConfig::default()).await;
    let channel = pair.a.create_data_channel("x", DataChannelOptions::default()).unwrap();
    // Another fingerprint than that of the certificate.
    pair.exchange(|answer| {
        let at = answer.find("a=fingerprint:sha-256 ").unwrap() + 22;
        let other = if &answer[at..=at] == "0" { "1" } else { "0" };
        format!("{}{other}{}", &answer[..at], &answer[at + 1..])
    });
    let sink = channel.clone().split().0;
    let mut stream = channel.into_byte_stream().unwrap();
    let error = patient(stream.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(error.to_string().contains("DTLS"), "{error}");
    let error = stream.write(b"x").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(stream.shutdown().await.is_err() && stream.flush().await.is_err());
    let mut sink: Box<dyn Sink<Message, Error = SendError> + Unpin> = Box::new(sink);
    assert_eq!(sink.send("x".into()).await, Err(SendError::Closed));
    assert_eq!(sink.close().await, Err(SendError::Closed));
}

#[tokio::test]
async fn a_sink_is_ready_when_there_is_room_flushed_when_all_is_sent_and_closed_when_all_is_delivered() {
    let pair = Pair::new(tight()).await;
    let (ours, theirs) = pair.channel().await;
    let (mut sink, _receiver) = ours.split();
    let mut sent = 0;
    // Nobody reads, so that it comes to a halt.
    loop {
        let ready = timeout(
            Duration::from_millis(300),
            std::future::poll_fn(|cx| Sink::<Message>::poll_ready(std::pin::Pin::new(&mut sink), cx)),
        );
        if ready.await.is_err() {
            break;
        }
        sink.start_send_unpin(noise(10_000)).unwrap();
        sent += 1;
    }
    assert!((4..40).contains(&sent), "{sent}");
    assert!(SinkExt::<Message>::flush(&mut sink).now_or_never().is_none());
    let reading = tokio::spawn(async move {
        let (_sender, receiver) = theirs.split();
        receiver.map(|message| message.len()).collect::<Vec<_>>().await
    });
    patient(SinkExt::<Message>::flush(&mut sink)).await.unwrap();
    assert_eq!(sink.channel().buffered_amount(), 0);
    sink.feed("the last").await.unwrap();
    patient(SinkExt::<Message>::close(&mut sink)).await.unwrap();
    assert_eq!(sink.channel().ready_state(), DataChannelState::Closed);
    let got = patient(reading).await.unwrap();
    assert_eq!((got.len(), got.last()), (sent + 1, Some(&8)));
    assert_eq!(sink.send("more").await, Err(SendError::Closed));
    let size = 1 << 20;
    let (mut sink, _receiver) = pair.channel().await.0.split();
    let refused = SinkExt::<Message>::send(&mut sink, vec![0; size].into()).await;
    assert_eq!(refused, Err(SendError::TooLarge { size, limit: 32 * 1024 }));
    // Who does not ask gets one message in before the channel is open.
    let fresh = Pair::new(tight()).await;
    let channel = fresh.a.create_data_channel("early", DataChannelOptions::default()).unwrap();
    let (mut early, _receiver) = channel.split();
    assert_eq!(early.start_send_unpin("x"), Ok(()));
    assert_eq!(early.start_send_unpin("y"), Err(SendError::NotReady));
    assert!(SinkExt::<Message>::flush(&mut early).now_or_never().is_none());
    fresh.exchange(|answer| answer);
    patient(SinkExt::<Message>::flush(&mut early)).await.unwrap();
    assert_eq!(early.start_send_unpin("y"), Ok(()));
}

#[tokio::test]
async fn what_a_sink_and_a_byte_stream_take_waits_for_the_end_of_a_message_in_pieces() {
    let pair = Pair::new(tight()).await;
    let (ours, theirs) = pair.channel().await;
    let (mut sink, _receiver) = ours.clone().split();
    let mut bytes = ours.clone().into_byte_stream().unwrap();
    let ready = std::future::poll_fn(|cx| Sink::<Message>::poll_ready(std::pin::Pin::new(&mut sink), cx));
    patient(ready).await.unwrap();
    let mut writer = patient(ours.send_stream(MessageKind::Binary)).await.unwrap();
    assert_eq!(sink.start_send_unpin("behind it"), Ok(()));
    assert!(SinkExt::<Message>::flush(&mut sink).now_or_never().is_none());
    assert!(bytes.write(b"bytes").now_or_never().is_none());
    patient(writer.write(vec![1; 10_000])).await.unwrap();
    assert!(SinkExt::<Message>::flush(&mut sink).now_or_never().is_none());
    writer.finish().unwrap();
    patient(SinkExt::<Message>::flush(&mut sink)).await.unwrap();
    assert_eq!(patient(bytes.write(b"bytes")).await.unwrap(), 5);
    assert_eq!(patient(theirs.recv()).await, Some(vec![1; 10_000].into()));
    assert_eq!(patient(theirs.recv()).await, Some("behind it".into()));
    assert_eq!(patient(theirs.recv()).await, Some(b"bytes".to_vec().into()));
}

#[tokio::test]
async fn a_stream_of_messages_is_forwarded_from_channel_to_channel() {
    let pair = Pair::new(tight()).await;
    let ((first, first_b), (second, second_b)) = (pair.channel().await, pair.channel().await);
    // a ─ first ─▶ b ─ second ─▶ a
    let relay = tokio::spawn({
        let (sink, source) = (second_b.split().0, first_b.split().1);
        source.map(Ok).forward(sink)
    });
    let sending = tokio::spawn(async move {
        let messages = stream::iter(0..300u32).map(|i| Ok(Message::from(i.to_be_bytes().repeat(500))));
        messages.forward(first.split().0).await
    });
    let (_sender, mut received) = second.split();
    for i in 0..300u32 {
        let message = patient(received.next()).await.expect("a message");
        assert_eq!(message.as_bytes(), i.to_be_bytes().repeat(500));
    }
    assert_eq!(patient(received.next()).await, None, "the close is forwarded, too");
    patient(sending).await.unwrap().unwrap();
    patient(relay).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_half_keeps_a_channel_open_and_the_end_of_both_closes_it() {
    let pair = Pair::new(PeerConfig::default()).await;
    for sender_first in [true, false] {
        let (ours, theirs) = pair.channel().await;
        let (sender, receiver) = ours.split();
        let another = sender.clone();
        if sender_first {
            drop(sender);
            another.send("x").await.unwrap();
            drop(another);
            theirs.send("y").await.unwrap();
            let mut receiver = receiver;
            assert_eq!(patient(receiver.recv()).await, Some("y".into()));
        } else {
            drop((receiver, sender));
            another.send("x").await.unwrap();
            drop(another);
        }
        assert_eq!(patient(theirs.recv()).await, Some("x".into()));
        patient(theirs.closed()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_many_full_channels_all_get_through() {
    const CHANNELS: usize = 8;
    const TASKS: usize = 30;
    const MESSAGES: usize = 20;
    let pair = Pair::new(tight()).await;
    let mut tasks = Vec::new();
    for c in 0..CHANNELS {
        let (ours, theirs) = pair.channel().await;
        if c % 2 == 0 {
            ours.set_send_buffer(20_000);
        }
        for task in 0..TASKS {
            let ours = ours.clone();
            tasks.push(tokio::spawn(async move {
                let (mut sink, _receiver) = ours.clone().split();
                for i in 0..MESSAGES {
                    let message = vec![task as u8; 100 + (task * 331 + i * 97) % 5_000];
                    match (task + i) % 3 {
                        0 => ours.send(message).await.unwrap(),
                        1 => sink.feed(message).await.unwrap(),
                        // Given up again and again, in line and while being woken.
                        _ => {
                            let mut patience = 0;
                            let wait = |patience| Duration::from_micros(patience);
                            while timeout(wait(patience), ours.send(message.clone())).await.is_err() {
                                patience = (patience * 2 + 13) % 3_000;
                            }
                        }
                    }
                }
                0
            }));
        }
        tasks.push(tokio::spawn(async move {
            let mut got = 0;
            while got < TASKS * MESSAGES {
                let message = theirs.recv().await.expect("a message");
                assert!(message.as_bytes().iter().all(|byte| *byte == message.as_bytes()[0]));
                got += 1;
                if got % 50 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            got
        }));
    }
    let mut got = 0;
    for task in tasks {
        got += patient(task).await.unwrap();
    }
    assert_eq!(got, CHANNELS * TASKS * MESSAGES);
}

#[tokio::test]
async fn who_waits_longest_sends_first_and_no_more_are_woken_than_there_is_room_for() {
    let pair = Pair::new(tight()).await;
    let (ours, theirs) = pair.channel().await;
    fill(&ours).await;
    let polled = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for i in 0..100u8 {
        let (ours, polled) = (ours.clone(), polled.clone());
        tasks.push(tokio::spawn(async move {
            let message = [&[i], &noise(5_000)[..]].concat();
            let mut send = std::pin::pin!(ours.send(message));
            std::future::poll_fn(|cx| {
                polled.fetch_add(1, Ordering::Relaxed);
                send.as_mut().poll(cx)
            })
            .await
            .unwrap();
        }));
        tokio::task::yield_now().await;
    }
    let mut order = Vec::new();
    while order.len() < 100 {
        let message = patient(theirs.recv()).await.expect("a message");
        if message.len() == 5_001 {
            order.push(message.as_bytes()[0]);
        }
    }
    assert_eq!(order, (0..100).collect::<Vec<u8>>());
    let polled = polled.load(Ordering::Relaxed);
    assert!(polled < 300, "{polled} polls for 100 messages");
    for task in tasks {
        patient(task).await.unwrap();
    }
}

#[tokio::test]
async fn one_who_was_woken_and_never_comes_holds_up_nobody() {
    let pair = Pair::new(tight()).await;
    let (ours, theirs) = pair.channel().await;
    fill(&ours).await;
    // It stands in line, and is not polled any more.
    let mut lazy = Box::pin(ours.send(noise(8_000)));
    assert!((&mut lazy).now_or_never().is_none());
    let (mut lazy_sink, _receiver) = ours.clone().split();
    assert!(SinkExt::<Message>::feed(&mut lazy_sink, noise(8_000).into()).now_or_never().is_none());
    let eager = tokio::spawn({
        let ours = ours.clone();
        async move {
            for _ in 0..50 {
                ours.send(noise(8_000)).await.unwrap();
            }
        }
    });
    let reading = tokio::spawn(async move { while theirs.recv().await.is_some() {} });
    patient(eager).await.unwrap();
    patient(lazy).await.unwrap();
    ours.close();
    patient(reading).await.unwrap();
}

#[tokio::test]
async fn the_buffered_amount_falls_to_the_threshold_as_the_peer_reads_and_not_before() {
    let pair = Pair::new(tight()).await;
    let (ours, theirs) = pair.channel().await;
    ours.set_buffered_amount_low_threshold(20_000);
    let sent = fill(&ours).await * 8_000;
    let waiting = ours.buffered_amount();
    assert!(waiting > 20_000 && waiting < sent, "{waiting} of {sent}");
    assert!(ours.buffered_amount_low().now_or_never().is_none());
    let low = tokio::spawn({
        let ours = ours.clone();
        async move {
            ours.buffered_amount_low().await;
            ours.buffered_amount()
        }
    });
    let mut got = 0;
    while got < sent {
        got += patient(theirs.recv()).await.expect("a message").len();
        let buffered = ours.buffered_amount();
        assert!(buffered <= sent - got, "{buffered} wait, and {got} of {sent} have arrived");
    }
    let amount = patient(low).await.unwrap();
    assert!(amount <= 20_000, "{amount}");
    assert_eq!(ours.buffered_amount(), 0);
}

#[tokio::test]
async fn a_limit_that_a_channel_was_opened_with_holds() {
    let pair = Pair::new(PeerConfig { receive_buffer: 64 * 1024, ..tight() }).await;
    let (_first, _first_b) = pair.channel().await;
    let options = DataChannelOptions { send_buffer: Some(20_000), ..Default::default() };
    let small = pair.a.create_data_channel("small", options).unwrap();
    patient(small.opened()).await.unwrap();
    assert!(small.try_send(noise(15_000)).is_ok());
    assert!(matches!(small.try_send(noise(15_000)), Err(TrySendError::Full(_))));
    small.set_send_buffer(60_000);
    assert!(small.try_send(noise(15_000)).is_ok());
}

#[tokio::test]
async fn waits_that_are_dropped_while_they_wait_leave_no_trace() {
    let pair = Pair::new(tight()).await;
    let (ours, theirs) = pair.channel().await;
    let taken = fill(&ours).await;
    for _ in 0..50 {
        assert!(ours.send(noise(8_000)).now_or_never().is_none());
        assert!(ours.writable(8_000).now_or_never().is_none());
        assert!(ours.flush().now_or_never().is_none());
        assert!(ours.buffered_amount_low().now_or_never().is_none());
        assert!(ours.closed().now_or_never().is_none());
        assert!(ours.recv().now_or_never().is_none());
    }
    for _ in 0..taken {
        assert_eq!(patient(theirs.recv()).await.map(|message| message.len()), Some(8_000));
    }
    patient(ours.writable(1)).await.unwrap();
    patient(ours.flush()).await.unwrap();
    patient(ours.buffered_amount_low()).await;
    ours.close();
    patient(ours.closed()).await;
    assert_eq!(patient(theirs.recv()).await, None, "what was given up was not sent");
    assert_eq!(ours.writable(1).now_or_never(), Some(Err(SendError::Closed)));
}

#[tokio::test]
async fn neither_a_wait_nor_an_answer_that_is_there_costs_an_allocation_each() {
    // No more than tokio lets a task do at a time.
    const TIMES: usize = 50;
    let pair = Pair::new(PeerConfig::default()).await;
    let (ours, theirs) = pair.channel().await;
    let (mut sink, mut receiver) = ours.clone().split();
    // The driver does not run in between, as nothing here is awaited.
    let waits = || {
        for _ in 0..TIMES {
            assert!(ours.recv().now_or_never().is_none());
            assert!(receiver.next().now_or_never().is_none());
            assert!(ours.closed().now_or_never().is_none());
        }
    };
    let waiting = allocation_counter::measure(waits).count_total;
    assert!(waiting < 10, "{waiting} allocations for {TIMES} waits");
    let message = Bytes::from(noise(1_000));
    let sends = || {
        for _ in 0..TIMES {
            assert_eq!(ours.send(message.clone()).now_or_never(), Some(Ok(())));
            assert_eq!(sink.feed(message.clone()).now_or_never(), Some(Ok(())));
        }
    };
    let sending = allocation_counter::measure(sends).count_total;
    assert!(sending < 20, "{sending} allocations to send {} messages", 2 * TIMES);
    patient(ours.flush()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut theirs = theirs.split().1;
    let mut got = 0;
    let receives = || {
        while let Some(Some(received)) = theirs.next().now_or_never() {
            assert_eq!(received.as_bytes(), message);
            got += 1;
        }
    };
    let receiving = allocation_counter::measure(receives).count_total;
    assert!(got > TIMES && receiving < 10, "{receiving} allocations to take {got} messages");
}
