//! What a tap sees of a connection.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{ChannelOptions, Direction, Path, Tap};
use sinnet_stack_tests::World;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Datagram(Direction, Path, Vec<u8>),
    Packet(Direction, Path, Vec<u8>),
    Secret(String),
}

#[derive(Clone, Default)]
struct Notebook {
    seen: Arc<Mutex<Vec<Seen>>>,
    secrets: bool,
}

impl Tap for Notebook {
    fn datagram(&mut self, _: Instant, direction: Direction, path: Path, payload: &[u8]) {
        self.seen.lock().unwrap().push(Seen::Datagram(direction, path, payload.to_vec()));
    }

    fn sctp_packet(&mut self, _: Instant, direction: Direction, path: Path, packet: &[u8]) {
        self.seen.lock().unwrap().push(Seen::Packet(direction, path, packet.to_vec()));
    }

    fn wants_secrets(&self) -> bool {
        self.secrets
    }

    fn secret(&mut self, line: &str) {
        self.seen.lock().unwrap().push(Seen::Secret(line.to_owned()));
    }
}

impl Notebook {
    fn of(secrets: bool) -> Self {
        Self { secrets, ..Self::default() }
    }

    fn pages(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn datagrams(&self, wanted: Direction) -> Vec<Vec<u8>> {
        let pages = self.pages().into_iter();
        pages
            .filter_map(|page| match page {
                Seen::Datagram(direction, _, payload) if direction == wanted => Some(payload),
                _ => None,
            })
            .collect()
    }

    fn packets(&self, wanted: Direction) -> Vec<Vec<u8>> {
        let pages = self.pages().into_iter();
        pages
            .filter_map(|page| match page {
                Seen::Packet(direction, _, packet) if direction == wanted => Some(packet),
                _ => None,
            })
            .collect()
    }
}

/// A connection with a transfer and an orderly end, with both sides watched.
fn watched(link: LinkConfig, secrets: bool) -> (World, Notebook, Notebook) {
    let mut world = World::new(seed(1), link);
    let (a, b) = (Notebook::of(secrets), Notebook::of(secrets));
    world.a.peer.set_tap(Some(Box::new(a.clone())));
    world.b.peer.set_tap(Some(Box::new(b.clone())));
    world.connect();
    let (ours, theirs) = world.channel(ChannelOptions::default());
    for i in 0..20 {
        world.a.peer.try_send(world.now, ours, vec![i; 5000].into()).unwrap();
    }
    let mut received = 0;
    let all = world.run_until(MINUTE, |world| {
        received += std::iter::from_fn(|| world.b.peer.recv(theirs)).count();
        received == 20
    });
    assert!(all);
    world.a.peer.close(world.now);
    assert!(world.run_until(MINUTE, |world| world.a.peer.is_finished() && world.b.peer.is_finished()));
    (world, a, b)
}

#[test]
fn a_tap_sees_every_datagram_and_packet_that_the_counters_count() {
    let lossy = LinkConfig { loss: Loss::Bernoulli(0.05), ..LinkConfig::default() };
    for link in [LinkConfig::default(), lossy] {
        let (world, a, b) = watched(link, false);
        for (end, notebook) in [(&world.a, &a), (&world.b, &b)] {
            let stats = end.peer.stats();
            assert_eq!(notebook.datagrams(Direction::Sent).len() as u64, stats.datagrams_sent);
            assert_eq!(notebook.datagrams(Direction::Received).len() as u64, stats.datagrams_received);
            assert_eq!(notebook.packets(Direction::Sent).len() as u64, stats.sctp.packets_sent);
            assert_eq!(notebook.packets(Direction::Received).len() as u64, stats.sctp.packets_received);
            assert!(!notebook.pages().iter().any(|page| matches!(page, Seen::Secret(_))));
        }
    }
}

#[test]
fn what_one_side_sees_leave_the_other_sees_arrive_sealed_and_in_clear() {
    let (world, a, b) = watched(LinkConfig::default(), false);
    for (from, to) in [(&a, &b), (&b, &a)] {
        // A last goodbye may still be on its way.
        let (sent, arrived) = (from.datagrams(Direction::Sent), to.datagrams(Direction::Received));
        assert!(sent.starts_with(&arrived) && arrived.len() + 1 >= sent.len());
        assert!(from.packets(Direction::Sent) == to.packets(Direction::Received));
    }
    let message = [7; 1000];
    let shows = |contents: &[u8]| contents.windows(message.len()).any(|part| part == message);
    assert!(a.packets(Direction::Sent).iter().any(|packet| shows(packet)));
    assert!(!a.datagrams(Direction::Sent).iter().any(|datagram| shows(datagram)));
    for page in a.pages() {
        if let Seen::Datagram(_, path, _) | Seen::Packet(_, path, _) = page {
            assert_eq!(path, Path::udp(world.a.addr, world.b.addr));
        }
    }
}

#[test]
fn secrets_come_once_and_before_what_they_decrypt() {
    // The offerer is the DTLS server here, and learns them from the datagram that has the client's Finished in it.
    let (_, a, b) = watched(LinkConfig::default(), true);
    let secrets = |notebook: &Notebook| {
        let pages = notebook.pages();
        let at = pages.iter().position(|page| matches!(page, Seen::Secret(_))).expect("a secret");
        let encrypted = pages.iter().position(|page| match page {
            // A handshake or data record of epoch 1, on its own or behind others.
            Seen::Datagram(_, _, payload) => {
                payload.windows(5).any(|w| matches!(w, [22 | 23, 0xfe, 0xfd, 0, 1]))
            }
            _ => false,
        });
        assert!(Some(at) < encrypted, "the secret is at {at}, what it decrypts at {encrypted:?}");
        assert_eq!(pages.iter().filter(|page| matches!(page, Seen::Secret(_))).count(), 1);
        pages[at].clone()
    };
    let Seen::Secret(line) = secrets(&a) else { panic!("a secret") };
    assert!(line.starts_with("CLIENT_RANDOM "), "{line}");
    assert_eq!(Seen::Secret(line), secrets(&b), "both sides have the same");
}

#[test]
fn a_tap_can_be_taken_off_at_any_time() {
    let mut world = World::new(seed(2), LinkConfig::default());
    let notebook = Notebook::of(true);
    world.a.peer.set_tap(Some(Box::new(notebook.clone())));
    world.exchange();
    world.a.peer.set_tap(None);
    let before = notebook.pages().len();
    world.run_for(Duration::from_secs(5));
    assert_eq!(notebook.pages().len(), before);
    assert!(world.a.peer.stats().datagrams_sent > 10);
}

/// A file that can be read while it is written.
#[derive(Clone, Default)]
struct SharedFile(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl SharedFile {
    /// How many blocks of each type.
    fn blocks(&self) -> std::collections::BTreeMap<u32, usize> {
        let bytes = self.0.lock().unwrap();
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (mut blocks, mut at) = (std::collections::BTreeMap::new(), 0);
        while at < bytes.len() {
            *blocks.entry(u32_at(at)).or_insert(0) += 1;
            at += u32_at(at + 4) as usize;
        }
        assert_eq!(at, bytes.len());
        blocks
    }
}

#[tokio::test]
async fn a_capture_of_a_real_connection_is_whole_whether_it_is_ended_or_the_connection_is() {
    use sinnet::{Endpoint, PcapOptions, PeerEvent};
    let (here, there) =
        (Endpoint::bind("127.0.0.1:0").await.unwrap(), Endpoint::bind("127.0.0.1:0").await.unwrap());
    let (a, b) = (
        here.peer_connection(Default::default()).unwrap(),
        there.peer_connection(Default::default()).unwrap(),
    );
    let (file_a, file_b) = (SharedFile::default(), SharedFile::default());
    let mut options = PcapOptions::default();
    options.secrets = true;
    let capture_a = a.start_capture(file_a.clone(), options.clone()).unwrap();
    let capture_b = b.start_capture(file_b.clone(), options).unwrap();
    let chat = a.create_data_channel("chat", Default::default()).unwrap();
    a.set_local_description(a.create_offer().unwrap()).unwrap();
    b.set_remote_description(a.local_description().unwrap()).unwrap();
    b.set_local_description(b.create_answer().unwrap()).unwrap();
    a.set_remote_description(b.local_description().unwrap()).unwrap();
    chat.send("hello").await.unwrap();
    loop {
        if let PeerEvent::DataChannel(channel) = b.next_event().await.unwrap() {
            assert_eq!(channel.recv().await, Some("hello".into()));
            break;
        }
    }
    let summary = capture_a.finish().await.unwrap();
    assert_eq!((summary.bytes, summary.dropped), (file_a.0.lock().unwrap().len() as u64, 0));
    a.close().await;
    // The other one ends with its connection.
    while let Some(event) = b.next_event().await {
        drop(event);
    }
    b.close().await;
    let summary = capture_b.finish().await.unwrap();
    assert_eq!(summary.dropped, 0);
    let stats = b.stats();
    let packets = stats.datagrams_sent + stats.datagrams_received;
    let clear = stats.sctp.packets_sent + stats.sctp.packets_received;
    let blocks = file_b.blocks();
    assert_eq!(blocks[&6] as u64, packets + clear);
    for (file, name) in [(&file_a, "ended"), (&file_b, "closed")] {
        let blocks = file.blocks();
        assert_eq!((blocks[&0x0a0d_0d0a], blocks[&1], blocks[&10], blocks[&5]), (1, 2, 1, 2), "{name}");
    }
}
