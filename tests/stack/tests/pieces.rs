//! Messages larger than memory: given in pieces and read in pieces, over real sockets and over the simulator.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use sinnet::{
    DataChannel, DataChannelOptions, DataChannelState, Endpoint, Message, MessageKind, PeerConfig,
    PeerConnection, PeerEvent, ReadError, Reliability, TrySendError, WriteError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it does not hang")
}

struct Pair {
    a: PeerConnection,
    _b: PeerConnection,
    ours: DataChannel,
    theirs: DataChannel,
    _endpoints: [Endpoint; 2],
}

/// Messages of up to 1 GiB, of which 256 KiB are handed out whole, through buffers of 1 MiB.
fn config() -> PeerConfig {
    PeerConfig {
        max_message_size_in_pieces: 1 << 30,
        receive_buffer: 1 << 20,
        send_buffer: 1 << 20,
        ..PeerConfig::default()
    }
}

async fn pair(config: PeerConfig, options: DataChannelOptions) -> Pair {
    let endpoints =
        [Endpoint::bind("127.0.0.1:0").await.unwrap(), Endpoint::bind("127.0.0.1:0").await.unwrap()];
    let a = endpoints[0].peer_connection(config.clone()).unwrap();
    let b = endpoints[1].peer_connection(config).unwrap();
    let ours = a.create_data_channel("test", options).unwrap();
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(a.local_description().unwrap()).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    a.set_remote_description(b.local_description().unwrap()).unwrap();
    let theirs = patient(async {
        loop {
            match b.next_event().await.expect("the connection lives") {
                PeerEvent::DataChannel(channel) => return channel,
                _ => continue,
            }
        }
    });
    let theirs = theirs.await;
    patient(ours.opened()).await.unwrap();
    Pair { a, _b: b, ours, theirs, _endpoints: endpoints }
}

/// The bytes of a message from here on.
fn noise(at: usize, len: usize) -> Vec<u8> {
    (at as u32..(at + len) as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// The most memory that the process has had, in bytes.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_64_mib_goes_through_buffers_of_one() {
    const SIZE: usize = 64 << 20;
    let pair = pair(config(), DataChannelOptions::default()).await;
    let before = peak_memory();
    let ours = pair.ours.clone();
    let sending = tokio::spawn(async move {
        let mut message = ours.send_stream(MessageKind::Binary).await.unwrap();
        for at in (0..SIZE).step_by(64 << 10) {
            message.write(noise(at, 64 << 10)).await.unwrap();
        }
        message.finish().unwrap();
    });
    let mut message = patient(pair.theirs.recv_stream()).await.expect("a message");
    let mut got = 0;
    while let Some(piece) = patient(message.next()).await.unwrap() {
        assert!(piece == noise(got, piece.len()), "at {got}");
        got += piece.len();
    }
    assert_eq!(got, SIZE);
    patient(sending).await.unwrap();
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        println!("{} MiB more at the peak", (after - before) >> 20);
        assert!(after - before < 24 << 20, "{} bytes", after - before);
    }
}

#[tokio::test]
async fn messages_in_pieces_stand_in_line_with_the_others() {
    let pair = pair(config(), DataChannelOptions::default()).await;
    pair.ours.send("before").await.unwrap();
    let mut message = pair.ours.send_stream(MessageKind::Text).await.unwrap();
    assert_eq!(pair.ours.try_send("no").unwrap_err(), TrySendError::Full("no".into()));
    // Others wait for its end, one by one.
    let tasks: Vec<_> = (0..3)
        .map(|n| {
            let ours = pair.ours.clone();
            tokio::spawn(async move {
                match n {
                    0 => ours.send("behind").await.unwrap(),
                    _ => {
                        let mut message = ours.send_stream(MessageKind::Binary).await.unwrap();
                        message.write(vec![n; 3]).await.unwrap();
                        message.finish().unwrap();
                    }
                }
            })
        })
        .collect();
    // A character may be cut.
    for byte in "pièces".as_bytes() {
        message.write(vec![*byte]).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    message.finish().unwrap();
    for task in tasks {
        patient(task).await.unwrap();
    }
    pair.ours.send_stream(MessageKind::Text).await.unwrap().finish().unwrap();

    assert_eq!(patient(pair.theirs.recv()).await, Some("before".into()));
    let mut text = patient(pair.theirs.recv_stream()).await.unwrap();
    assert_eq!(text.kind(), MessageKind::Text);
    let waits = timeout(Duration::from_millis(50), pair.theirs.recv()).await;
    assert!(waits.is_err(), "while one is read in pieces the others wait");
    let mut got = Vec::new();
    while let Some(piece) = patient(text.next()).await.unwrap() {
        got.extend_from_slice(std::str::from_utf8(&piece).expect("whole characters").as_bytes());
    }
    assert_eq!(got, "pièces".as_bytes());
    let mut rest: Vec<Message> = Vec::new();
    for _ in 0..3 {
        rest.push(patient(pair.theirs.recv()).await.unwrap());
    }
    for expected in [Message::from("behind"), vec![1; 3].into(), vec![2; 3].into()] {
        assert!(rest.contains(&expected), "{rest:?}");
    }
    let mut empty = patient(pair.theirs.recv_stream()).await.unwrap();
    assert_eq!(empty.kind(), MessageKind::Text);
    assert_eq!(patient(empty.next()).await, Ok(None));
    assert_eq!(patient(empty.next()).await, Ok(None), "and it stays at its end");
}

#[tokio::test]
async fn what_is_not_finished_is_never_seen() {
    let pair = pair(config(), DataChannelOptions::default()).await;
    for bytes in [0, 10, 100_000] {
        let mut message = pair.ours.send_stream(MessageKind::Binary).await.unwrap();
        message.write(noise(0, bytes)).await.unwrap();
        message.abort();
        pair.ours.send("next").await.unwrap();
        assert_eq!(patient(pair.theirs.recv()).await, Some("next".into()), "{bytes}");
    }
    // Half read when it is given up.
    let mut message = pair.ours.send_stream(MessageKind::Binary).await.unwrap();
    message.write(noise(0, 100_000)).await.unwrap();
    let mut reader = patient(pair.theirs.recv_stream()).await.unwrap();
    assert!(patient(reader.next()).await.unwrap().is_some());
    drop(message);
    let error = loop {
        match patient(reader.next()).await {
            Ok(piece) => assert!(piece.is_some(), "it is not complete"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, ReadError::Aborted);
    assert_eq!(patient(reader.next()).await, Err(ReadError::Aborted));
    drop(reader);
    // What is no text.
    let mut message = pair.ours.send_stream(MessageKind::Text).await.unwrap();
    message.write("€").await.unwrap();
    assert_eq!(message.write(&b"\xff"[..]).await, Err(WriteError::NotUtf8));
    assert_eq!(message.finish(), Err(WriteError::Closed));
    let mut message = pair.ours.send_stream(MessageKind::Text).await.unwrap();
    message.write(&"€".as_bytes()[..2]).await.unwrap();
    assert_eq!(message.finish(), Err(WriteError::NotUtf8));
    pair.ours.send("next").await.unwrap();
    assert_eq!(patient(pair.theirs.recv()).await, Some("next".into()));
}

#[tokio::test]
async fn more_than_the_peer_accepts_is_refused_at_the_piece_that_is_too_much() {
    let pair = pair(PeerConfig::default(), DataChannelOptions::default()).await;
    let mut message = pair.ours.send_stream(MessageKind::Binary).await.unwrap();
    message.write(noise(0, 200 << 10)).await.unwrap();
    message.write(noise(0, 56 << 10)).await.unwrap();
    let error = message.write(vec![1]).await.unwrap_err();
    assert_eq!(error, WriteError::TooLarge { size: (256 << 10) + 1, limit: 256 << 10 });
    assert_eq!(message.finish(), Err(WriteError::Closed));
    pair.ours.send("next").await.unwrap();
    assert_eq!(patient(pair.theirs.recv()).await, Some("next".into()));
}

#[tokio::test]
async fn a_message_too_large_for_recv_closes_the_channel_and_nothing_hangs() {
    let pair = pair(config(), DataChannelOptions::default()).await;
    let ours = pair.ours.clone();
    let sending = tokio::spawn(async move {
        let mut message = ours.send_stream(MessageKind::Binary).await?;
        for at in 0..64 {
            message.write(noise(at << 16, 64 << 10)).await?;
        }
        message.finish()
    });
    assert_eq!(patient(pair.theirs.recv()).await, None);
    assert_eq!(patient(sending).await.unwrap(), Err(WriteError::Closed));
    patient(pair.ours.closed()).await;
    assert_eq!(pair.theirs.ready_state(), DataChannelState::Closed);
    // The connection and its window are as before.
    let again = pair.a.create_data_channel("again", DataChannelOptions::default()).unwrap();
    patient(again.send("well")).await.unwrap();
    patient(again.flush()).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_is_dropped_lets_the_rest_go_and_the_channel_goes_on() {
    let pair = pair(config(), DataChannelOptions::default()).await;
    let ours = pair.ours.clone();
    let sending = tokio::spawn(async move {
        let mut message = ours.send_stream(MessageKind::Binary).await.unwrap();
        for at in 0..64 {
            message.write(noise(at << 16, 64 << 10)).await.unwrap();
        }
        message.finish().unwrap();
        ours.send("next").await.unwrap();
    });
    let mut reader = patient(pair.theirs.recv_stream()).await.unwrap();
    assert!(patient(reader.next()).await.unwrap().is_some());
    drop(reader);
    assert_eq!(patient(pair.theirs.recv()).await, Some("next".into()));
    patient(sending).await.unwrap();
}

#[tokio::test]
async fn a_close_gives_up_what_is_half_given_and_keeps_what_is_finished() {
    let pair = pair(config(), DataChannelOptions::default()).await;
    let mut message = pair.ours.send_stream(MessageKind::Binary).await.unwrap();
    message.write(noise(0, 150_000)).await.unwrap();
    message.finish().unwrap();
    let mut message = pair.ours.send_stream(MessageKind::Binary).await.unwrap();
    message.write(noise(0, 150_000)).await.unwrap();
    pair.ours.close();
    assert_eq!(message.write(vec![1]).await, Err(WriteError::Closed));
    assert_eq!(message.finish(), Err(WriteError::Closed));
    let mut reader = patient(pair.theirs.recv_stream()).await.unwrap();
    patient(pair.theirs.closed()).await;
    let mut got = 0;
    while let Some(piece) = patient(reader.next()).await.unwrap() {
        got += piece.len();
    }
    assert_eq!(got, 150_000);
    assert!(patient(pair.theirs.recv_stream()).await.is_none());
    assert_eq!(patient(pair.theirs.recv()).await, None);
}

#[tokio::test]
async fn the_end_of_the_connection_is_no_end_of_a_message() {
    let pair = pair(config(), DataChannelOptions::default()).await;
    let mut message = pair.ours.send_stream(MessageKind::Binary).await.unwrap();
    message.write(noise(0, 50_000)).await.unwrap();
    let mut reader = patient(pair.theirs.recv_stream()).await.unwrap();
    let mut got = patient(reader.next()).await.unwrap().expect("bytes").len();
    patient(pair.a.abort("enough")).await;
    let error = loop {
        match patient(reader.next()).await {
            Ok(Some(piece)) => got += piece.len(),
            Ok(None) => panic!("it is not complete"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, ReadError::Closed);
    assert!(got < 50_000);
    assert_eq!(message.write(vec![1]).await, Err(WriteError::Closed));
}

#[tokio::test]
async fn unordered_and_lossy_channels_have_messages_in_pieces_too() {
    for reliability in [Reliability::Reliable, Reliability::MaxRetransmits(3)] {
        let options = DataChannelOptions { ordered: false, reliability, ..DataChannelOptions::default() };
        let pair = pair(config(), options).await;
        for _ in 0..2 {
            let mut message = pair.ours.send_stream(MessageKind::Binary).await.unwrap();
            message.write(noise(0, 300_000)).await.unwrap();
            message.finish().unwrap();
            let mut reader = patient(pair.theirs.recv_stream()).await.unwrap();
            let mut got = Vec::new();
            patient(reader.read_to_end(&mut got)).await.unwrap();
            assert!(got == noise(0, 300_000));
        }
    }
}

#[tokio::test]
async fn a_message_can_be_written_to_and_read_from_as_a_file() {
    let pair = pair(config(), DataChannelOptions::default()).await;
    let bytes = noise(0, 3_000_000);
    let ours = pair.ours.clone();
    let file = bytes.clone();
    let sending = tokio::spawn(async move {
        let mut message = ours.send_stream(MessageKind::Binary).await.unwrap();
        tokio::io::copy(&mut &file[..], &mut message).await.unwrap();
        message.shutdown().await.unwrap();
    });
    let mut reader = patient(pair.theirs.recv_stream()).await.unwrap();
    let mut got = Vec::new();
    patient(tokio::io::copy(&mut reader, &mut got)).await.unwrap();
    assert!(got == bytes);
    patient(sending).await.unwrap();
}

#[tokio::test]
async fn a_write_that_is_cancelled_has_given_nothing() {
    let pair = pair(config(), DataChannelOptions::default()).await;
    let mut message = pair.ours.send_stream(MessageKind::Binary).await.unwrap();
    let mut given = 0;
    // Nobody reads: it is full some time.
    while let Ok(result) = timeout(Duration::from_millis(200), message.write(noise(given, 50_000))).await {
        result.unwrap();
        given += 50_000;
    }
    let mut reader = patient(pair.theirs.recv_stream()).await.unwrap();
    let waits = timeout(Duration::from_millis(1), pair.theirs.recv_stream()).await;
    assert!(waits.is_err(), "one at a time");
    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            got.extend_from_slice(&piece);
        }
        got
    });
    patient(message.write(Bytes::from(noise(given, 10)))).await.unwrap();
    message.finish().unwrap();
    assert!(patient(reading).await.unwrap() == noise(0, given + 10));
}
