//! Real links of different sizes: two of ours in network namespaces, and a cable that shrinks under a transfer.
//!
//! Root and iproute2 are needed, a browser is not.

use std::process::Command;
use std::time::{Duration, Instant};

use sinnet::{
    DataChannel, DataChannelOptions, Endpoint, EndpointConfig, IceCandidate, PeerConfig, PeerConnection,
    PeerEvent, SessionDescription,
};
use sinnet_interop::net::{Net, Side};
use tokio::sync::{mpsc, oneshot};

/// What one side tells the other.
enum Signal {
    Offer(SessionDescription),
    Answer(SessionDescription),
    Candidate(Option<IceCandidate>),
}

const MESSAGE: usize = 50_000;

#[expect(clippy::disallowed_methods, reason = "real links, in real time")]
fn now() -> Instant {
    Instant::now()
}

fn set_mtu(net: &Net, side: Side, mtu: usize) {
    let name = net.place(side).name();
    let mtu = mtu.to_string();
    let done =
        Command::new("ip").args(["-n", name, "link", "set", "cable", "mtu", &mtu]).status().expect("ip");
    assert!(done.success(), "ip link set mtu {mtu}");
}

/// One end in its namespace: sends all the time if it offers, and counts what arrives if it answers.
struct End {
    connection: PeerConnection,
    /// When a message has arrived.
    arrived: mpsc::UnboundedReceiver<Instant>,
    _thread: oneshot::Sender<()>,
}

async fn end(
    net: &Net,
    side: Side,
    max_segments: usize,
    to_other: mpsc::UnboundedSender<Signal>,
    mut from_other: mpsc::UnboundedReceiver<Signal>,
) -> End {
    let (made, connection) = oneshot::channel();
    let (thread, stop) = oneshot::channel::<()>();
    let (count, arrived) = mpsc::unbounded_channel();
    net.spawn(side, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let endpoint = Endpoint::new(EndpointConfig { max_segments, ..Default::default() })
                .await
                .expect("an endpoint");
            let connection = endpoint
                .peer_connection(PeerConfig { max_mtu: 8952, ..Default::default() })
                .expect("a connection");
            if side == Side::Browser {
                let channel =
                    connection.create_data_channel("bulk", DataChannelOptions::default()).expect("a channel");
                let offer = connection.create_offer().expect("an offer");
                let _ = to_other.send(Signal::Offer(offer.clone()));
                connection.set_local_description(offer).expect("our own offer");
                tokio::spawn(async move {
                    let message = vec![7_u8; MESSAGE];
                    while channel.send(message.clone()).await.is_ok() {}
                });
            }
            let signals = connection.clone();
            let answers = to_other.clone();
            tokio::spawn(async move {
                while let Some(signal) = from_other.recv().await {
                    match signal {
                        Signal::Offer(offer) => {
                            signals.set_remote_description(offer).expect("an offer");
                            let answer = signals.create_answer().expect("an answer");
                            let _ = answers.send(Signal::Answer(answer.clone()));
                            signals.set_local_description(answer).expect("our own answer");
                        }
                        Signal::Answer(answer) => signals.set_remote_description(answer).expect("an answer"),
                        Signal::Candidate(candidate) => {
                            signals.add_ice_candidate(candidate.unwrap_or_default()).expect("a candidate");
                        }
                    }
                }
            });
            let events = connection.clone();
            tokio::spawn(async move {
                while let Some(event) = events.next_event().await {
                    match event {
                        PeerEvent::IceCandidate(candidate) => {
                            drop(to_other.send(Signal::Candidate(candidate)))
                        }
                        PeerEvent::DataChannel(channel) => drop(tokio::spawn(take(channel, count.clone()))),
                        PeerEvent::Closed(reason) => panic!("{reason}"),
                        _ => {}
                    }
                }
            });
            let _ = made.send(connection);
            let _ = stop.await;
        });
    });
    End { connection: connection.await.expect("a connection"), arrived, _thread: thread }
}

async fn take(channel: DataChannel, count: mpsc::UnboundedSender<Instant>) {
    while let Some(message) = channel.recv().await {
        assert_eq!(message.len(), MESSAGE);
        let _ = count.send(now());
    }
}

impl End {
    /// Waits until so many messages have arrived from now on; returns the longest time in which none did.
    async fn more(&mut self, messages: usize) -> Duration {
        let (mut got, mut gap, mut last) = (0, Duration::ZERO, now());
        while got < messages {
            let next = tokio::time::timeout(Duration::from_secs(20), self.arrived.recv()).await;
            let at =
                next.unwrap_or_else(|_| panic!("{got} messages, and no more")).expect("the other end lives");
            if at > last {
                gap = gap.max(at - last);
                last = at;
                got += 1;
            }
        }
        gap
    }
}

async fn pair(net: &Net, max_segments: usize) -> (End, End) {
    let (to_b, from_a) = mpsc::unbounded_channel();
    let (to_a, from_b) = mpsc::unbounded_channel();
    let a = end(net, Side::Browser, max_segments, to_b, from_b).await;
    let b = end(net, Side::Peer, max_segments, to_a, from_a).await;
    (a, b)
}

/// Waits until SCTP packets are as large as the link takes: no larger size can be kept, so it needs no time to settle.
/// IPv4 or IPv6: a tunnel's size may fit the one and not the other.
async fn reaches(end: &End, packet: usize) {
    let since = now();
    loop {
        let sctp = end.connection.stats().sctp;
        if (packet..=packet + 20).contains(&sctp.packet_size) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(90), "{packet} is not reached: {sctp:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_follow_the_size_of_the_link() {
    let net = Net::new().expect("two namespaces");
    // First a link that our system knows, then one that drops in silence further on. (There the other end of the cable
    // would take a batch for one packet, and let it pass whatever its size.)
    let known = [(1280, 1160, 1280, 1160), (1400, 1312, 1300, 1160), (9000, 8912, 1500, 1412)];
    let in_silence = [(1400, 1312, 1300, 1160), (9000, 8912, 1500, 1412)];
    for (known, max_segments, links) in [(true, 54, &known[..]), (false, 1, &in_silence)] {
        let resize = |mtu| {
            set_mtu(&net, Side::Peer, mtu);
            set_mtu(&net, Side::Browser, if known { mtu } else { 9000 });
        };
        for &(mtu, packet, then, packet_then) in links {
            resize(mtu);
            let (a, mut b) = pair(&net, max_segments).await;
            b.more(200).await;
            reaches(&a, packet).await;
            b.more(200).await;
            let before = a.connection.stats().sctp;
            resize(then);
            let gap = b.more(2000).await;
            reaches(&a, packet_then).await;
            // With that size, which has stood the test of time.
            b.more(500).await;
            reaches(&a, packet_then).await;
            let sctp = a.connection.stats().sctp;
            println!(
                "{mtu} to {then}, {}: longest silence {gap:?}; probes {} of which lost {}, black holes {}",
                if known { "known" } else { "in silence" },
                sctp.size_probes_sent,
                sctp.size_probes_lost,
                sctp.black_holes
            );
            // A machine that stands still for a moment is taken for one, too, and a round trip shows that it was none.
            assert!(then == mtu || sctp.black_holes > before.black_holes, "{mtu} to {then}: {sctp:?}");
        }
    }
}
