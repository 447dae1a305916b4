//! How often the whole of it asks for memory in steady state, from one application to another: handles, driver, connection, sockets.
//! SCTP alone is counted in `allocations.rs`. Both endpoints are in one thread, so that one counting allocator sees everything.
//!
//! `-- --nocapture` prints the counts.

use allocation_counter::measure;
use bytes::Bytes;
use sinnet::{DataChannel, DataChannelOptions, Endpoint, PeerConnection, PeerEvent, Reliability};
use tokio::runtime::{Builder, Runtime};

/// What connects the two, kept while they are used.
struct Ends {
    runtime: Runtime,
    _endpoints: [Endpoint; 2],
    _connections: [PeerConnection; 2],
    from: DataChannel,
    to: DataChannel,
}

fn connect(options: DataChannelOptions) -> Ends {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (endpoints, connections, from, to) = runtime.block_on(async {
        let endpoint = || async { Endpoint::bind("127.0.0.1:0").await.expect("an endpoint") };
        let endpoints = [endpoint().await, endpoint().await];
        let connections =
            [0, 1].map(|at: usize| endpoints[at].peer_connection(Default::default()).expect("a connection"));
        let [a, z] = &connections;
        let from = a.create_data_channel("", options).expect("a channel");
        a.set_local_description(a.create_offer().expect("an offer")).expect("our own");
        z.set_remote_description(a.local_description().expect("our own")).expect("a good offer");
        z.set_local_description(z.create_answer().expect("an answer")).expect("our own");
        a.set_remote_description(z.local_description().expect("our own")).expect("a good answer");
        let to = loop {
            if let PeerEvent::DataChannel(channel) = z.next_event().await.expect("a connection") {
                break channel;
            }
        };
        from.opened().await.expect("an open channel");
        (endpoints, connections, from, to)
    });
    Ends { runtime, _endpoints: endpoints, _connections: connections, from, to }
}

/// Sends so many messages and waits until as many have come.
fn run(ends: &Ends, payload: &Bytes, messages: u64) -> u64 {
    let Ends { runtime, from, to, .. } = ends;
    runtime.block_on(async {
        let send = async {
            for _ in 0..messages {
                from.send(payload.clone()).await.expect("an open channel");
            }
        };
        let receive = async {
            for _ in 0..messages {
                assert_eq!(to.recv().await.expect("a message").len(), payload.len());
            }
            messages
        };
        tokio::join!(send, receive).1
    })
}

/// Allocations for each message, once everything has the size that it needs.
fn steady(size: usize, ordered: bool) -> f64 {
    let options = DataChannelOptions { ordered, reliability: Reliability::Reliable, ..Default::default() };
    let ends = connect(options);
    let payload = Bytes::from(vec![7; size]);
    // The first clone makes the count of references: that is the application's.
    let _shared = payload.clone();
    let messages = (32 << 20) / (size as u64 + 1000);
    run(&ends, &payload, messages);
    let mut received = 0;
    let info = measure(|| received = run(&ends, &payload, messages));
    let each = info.count_total as f64 / received as f64;
    println!(
        "{size} bytes, ordered {ordered}: {} allocations for {received} messages: {each:.3} each",
        info.count_total
    );
    each
}

#[test]
fn a_message_takes_one_allocation_from_application_to_application() {
    for (size, ordered) in [(100, false), (100, true), (1024, true), (16_384, true)] {
        let each = steady(size, ordered);
        // The received message's own. Queues grow now and then, and a message whose parts have overtaken each other takes a few.
        assert!((1.0..1.2).contains(&each), "{size} bytes: {each}");
    }
}
