//! The TURN server's connections: TCP, and what comes out of TLS. Whoever connects has shown nothing yet, so all that
//! a connection can take up is bounded, the more so before it has an allocation.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sinnet_turn::{FiveTuple, StreamDecoder, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use super::{Shared, TurnServerConfig};
use crate::shared::now;

/// Messages that wait for a connection that takes none.
const MAX_QUEUED: usize = 256;
/// Bytes in them.
const MAX_QUEUED_BYTES: usize = 256 * 1024;
/// Bytes of a unit that is not whole yet from a client without an allocation: no request is as long.
const MAX_UNIT_WITHOUT_ALLOCATION: usize = 4096;

/// Where messages for one connection are put.
#[derive(Debug)]
struct Outbox {
    sender: mpsc::Sender<Vec<u8>>,
    /// Bytes that have not been written.
    queued: Arc<AtomicUsize>,
}

impl Outbox {
    fn new() -> (Self, Queue) {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        let queued = Arc::new(AtomicUsize::new(0));
        (Self { sender, queued: queued.clone() }, Queue { receiver, queued })
    }

    /// Drops what there is no room for.
    fn send(&self, bytes: &[u8]) {
        // Only this side adds, under the server's lock.
        if self.queued.load(Ordering::Relaxed) + bytes.len() > MAX_QUEUED_BYTES {
            return;
        }
        self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        if self.sender.try_send(bytes.to_vec()).is_err() {
            self.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
    }
}

/// Where they are taken from.
#[derive(Debug)]
struct Queue {
    receiver: mpsc::Receiver<Vec<u8>>,
    queued: Arc<AtomicUsize>,
}

/// All connections there are.
#[derive(Debug, Default)]
pub(super) struct Connections {
    outboxes: HashMap<FiveTuple, Outbox>,
    /// How many of each source have no allocation; no source with none.
    bare: HashMap<IpAddr, usize>,
}

impl Connections {
    /// A new one, without an allocation; `None` if there are too many.
    fn add(&mut self, config: &TurnServerConfig, tuple: FiveTuple) -> Option<Queue> {
        let bare = self.bare.get(&source(tuple)).copied().unwrap_or_default();
        if self.outboxes.len() >= config.max_connections
            || bare >= config.max_connections_without_allocation
            || self.outboxes.contains_key(&tuple)
        {
            return None;
        }
        let (outbox, queue) = Outbox::new();
        self.outboxes.insert(tuple, outbox);
        self.count(tuple, true);
        Some(queue)
    }

    /// Counts a connection among those without an allocation, or no longer.
    fn count(&mut self, tuple: FiveTuple, bare: bool) {
        let source = source(tuple);
        if bare {
            *self.bare.entry(source).or_default() += 1;
        } else if let Some(count) = self.bare.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.bare.remove(&source);
            }
        }
    }

    /// Sends, or drops it where there is no such connection or no room.
    pub(super) fn send(&self, tuple: FiveTuple, bytes: &[u8]) {
        if let Some(outbox) = self.outboxes.get(&tuple) {
            outbox.send(bytes);
        }
    }
}

/// Who is behind a connection: of IPv6 the first 64 bits, which one host has all to itself.
fn source(tuple: FiveTuple) -> IpAddr {
    match tuple.client.ip().to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let Ok(server) = stream.local_addr() else { continue };
                let _ = stream.set_nodelay(true);
                let tuple = FiveTuple { client, server, transport: Transport::Stream };
                let serving = shared.clone();
                shared.spawn(async move { serve(&serving, stream, tuple).await });
            }
            Err(error) => {
                // Out of file descriptors, mostly; an answer at once would be the same.
                debug!(%error, "no connection accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Takes its connection off the lists, however the future that serves it ends.
struct Connected<'s> {
    shared: &'s Arc<Shared>,
    tuple: FiveTuple,
    /// Whether it is counted among those without an allocation.
    bare: bool,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.connections.outboxes.remove(&self.tuple);
        if self.bare {
            inner.connections.count(self.tuple, false);
        }
        inner.server.disconnected(self.tuple);
        self.shared.flush(&mut inner, now());
    }
}

/// Serves a stream until it ends.
pub(super) async fn serve<S>(shared: &Arc<Shared>, stream: S, tuple: FiveTuple)
where
    S: AsyncRead + AsyncWrite,
{
    let Some(queue) = shared.lock().connections.add(&shared.config, tuple) else {
        debug!(client = %tuple.client, "one connection too many");
        return;
    };
    let mut connected = Connected { shared, tuple, bare: true };
    let (reading, writing) = tokio::io::split(stream);
    tokio::select! {
        () = read(&mut connected, reading) => {}
        result = write(queue, writing, shared.config.idle) => {
            debug!(client = %tuple.client, ?result, "connection closed");
        }
    }
}

async fn read(connected: &mut Connected<'_>, mut stream: impl AsyncRead + Unpin) {
    let (shared, tuple) = (connected.shared, connected.tuple);
    let mut decoder = StreamDecoder::new();
    let mut buffer = vec![0; 16 * 1024];
    let idle = shared.config.idle;
    let mut last_allocation = now();
    loop {
        let len = match timeout(idle, stream.read(&mut buffer)).await {
            Err(_) => 0,
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(len)) => len,
        };
        decoder.push(buffer.get(..len).unwrap_or_default());
        let mut inner = shared.lock();
        let now = now();
        loop {
            match decoder.poll() {
                Ok(Some(unit)) => inner.feed(now, tuple, unit),
                Ok(None) => break,
                Err(error) => {
                    debug!(client = %tuple.client, %error, "connection closed");
                    return;
                }
            }
        }
        shared.flush(&mut inner, now);
        let bare = !inner.server.has_allocation(tuple);
        if bare != connected.bare {
            connected.bare = bare;
            inner.connections.count(tuple, bare);
        }
        if !bare {
            last_allocation = now;
        } else if now.saturating_duration_since(last_allocation) >= idle {
            debug!(client = %tuple.client, "connection without an allocation closed");
            return;
        } else if decoder.buffered() > MAX_UNIT_WITHOUT_ALLOCATION {
            debug!(client = %tuple.client, "connection closed: too long a message without an allocation");
            return;
        }
    }
}

/// Writes what comes; ends with an error, also when the client has taken nothing for `idle`.
async fn write(mut queue: Queue, mut stream: impl AsyncWrite + Unpin, idle: Duration) -> io::Result<()> {
    while let Some(bytes) = queue.receiver.recv().await {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let written = timeout(idle, stream.write(rest)).await??;
            rest = rest.get(written..).filter(|_| written > 0).ok_or(ErrorKind::WriteZero)?;
        }
        timeout(idle, stream.flush()).await??;
        queue.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use sinnet_turn::{Client, ClientConfig, Credentials, ServerConfig};
    use tokio::net::TcpStream;

    use super::*;
    use crate::TurnServer;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(PATIENCE, test).await.expect("it ends") });
    }

    fn config() -> TurnServerConfig {
        let mut core = ServerConfig::new("example.org");
        core.users.insert("alice".to_owned(), "wonderland".to_owned());
        TurnServerConfig::new(core, ([127, 0, 0, 1], 0).into(), [127, 0, 0, 1].into())
    }

    fn from(client: &str) -> FiveTuple {
        FiveTuple {
            client: client.parse().unwrap(),
            server: ([127, 0, 0, 1], 3478).into(),
            transport: Transport::Stream,
        }
    }

    /// A connection that is served: a Binding request was answered. `None` if it is closed instead.
    async fn served(server: SocketAddr) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let mut request = [0; 20];
        request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42]);
        stream.write_all(&request).await.ok()?;
        let mut answer = [0; 32];
        stream.read_exact(&mut answer).await.ok()?;
        Some(stream)
    }

    async fn allocate(stream: &mut TcpStream) {
        let user = Credentials { username: "alice".to_owned(), password: "wonderland".to_owned() };
        let server = stream.peer_addr().unwrap();
        let config = Arc::new(ClientConfig::new(user));
        let mut client = Client::new(config, Transport::Stream, server, now(), [5; 32]);
        let mut decoder = StreamDecoder::new();
        let mut buffer = [0; 4096];
        while client.relayed().is_empty() {
            assert!(!client.is_over());
            while let Some(len) = client.poll_transmit(now(), &mut buffer) {
                stream.write_all(&buffer[..len]).await.unwrap();
            }
            let len = stream.read(&mut buffer).await.unwrap();
            assert!(len > 0, "closed");
            decoder.push(&buffer[..len]);
            while let Some(unit) = decoder.poll().unwrap() {
                client.handle_input(now(), server, unit);
            }
        }
    }

    #[test]
    fn what_waits_for_a_client_that_never_reads_is_bounded_in_bytes_and_in_messages() {
        let (outbox, mut queue) = Outbox::new();
        let waiting = |queue: &mut Queue| {
            let (mut messages, mut bytes) = (0, 0);
            while let Ok(message) = queue.receiver.try_recv() {
                queue.queued.fetch_sub(message.len(), Ordering::Relaxed);
                (messages, bytes) = (messages + 1, bytes + message.len());
            }
            (messages, bytes)
        };
        for (size, expected) in [(65_000, (4, 260_000)), (100, (256, 25_600)), (65_536, (4, 262_144))] {
            (0..1000).for_each(|_| outbox.send(&vec![0; size]));
            assert_eq!(waiting(&mut queue), expected, "of {size} bytes");
            assert_eq!(queue.queued.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        run(async {
            let (outbox, queue) = Outbox::new();
            let (ours, theirs) = tokio::io::duplex(16);
            outbox.send(&[0; 100]);
            let error = write(queue, ours, Duration::from_millis(50)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            drop(theirs);

            let (outbox, queue) = Outbox::new();
            let (ours, mut theirs) = tokio::io::duplex(16);
            let queued = outbox.queued.clone();
            outbox.send(&[0; 256]);
            drop(outbox);
            let slow = async {
                for _ in 0..16 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    theirs.read_exact(&mut [0; 16]).await.unwrap();
                }
            };
            let (written, ()) = tokio::join!(write(queue, ours, PATIENCE), slow);
            assert_eq!((written.map_err(|e| e.kind()), queued.load(Ordering::Relaxed)), (Ok(()), 0));
        });
    }

    #[test]
    fn one_address_does_not_take_the_connections_of_others() {
        let config = TurnServerConfig { max_connections_without_allocation: 2, ..config() };
        let mut connections = Connections::default();
        for (client, taken) in [
            ("192.0.2.1:1", true),
            ("[::ffff:192.0.2.1]:1", true),
            ("192.0.2.1:3", false),
            ("192.0.2.2:1", true),
            ("[2001:db8::1]:1", true),
            ("[2001:db8::2]:1", true),
            ("[2001:db8::3]:1", false),
            ("[2001:db8:0:1::1]:1", true),
            ("[2001:db8:0:1::1]:1", false),
        ] {
            assert_eq!(connections.add(&config, from(client)).is_some(), taken, "{client}");
        }
        connections.count(from("192.0.2.1:1"), false);
        assert!(connections.add(&config, from("192.0.2.1:3")).is_some());
        let full = TurnServerConfig { max_connections: connections.outboxes.len(), ..config };
        assert!(connections.add(&full, from("192.0.2.77:1")).is_none());
    }

    #[test]
    fn connections_with_an_allocation_or_at_their_end_make_room_for_others() {
        run(async {
            let config = TurnServerConfig { max_connections_without_allocation: 2, ..config() };
            let server = TurnServer::bind(config).await.unwrap();
            let addr = server.tcp_addrs()[0];
            let mut first = served(addr).await.unwrap();
            let second = served(addr).await.unwrap();
            assert!(served(addr).await.is_none(), "a third");
            allocate(&mut first).await;
            let third = served(addr).await.unwrap();
            assert!(served(addr).await.is_none(), "a fourth");
            drop(second);
            while served(addr).await.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(first);
            while server.stats().allocations > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(third);
            while !server.shared.lock().connections.bare.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(server.shared.lock().connections.outboxes.is_empty());
        });
    }

    #[test]
    fn long_messages_are_only_taken_from_clients_that_have_an_allocation() {
        run(async {
            let server = TurnServer::bind(config()).await.unwrap();
            // ChannelData of 60,000 bytes, of which a part comes.
            let mut long = vec![0; 10_000];
            long[..4].copy_from_slice(&[0x40, 0, 0xEA, 0x60]);
            let mut stranger = served(server.tcp_addrs()[0]).await.unwrap();
            stranger.write_all(&long).await.unwrap();
            assert!(!matches!(stranger.read(&mut [0; 100]).await, Ok(1..)), "closed");
            let mut client = served(server.tcp_addrs()[0]).await.unwrap();
            allocate(&mut client).await;
            client.write_all(&long).await.unwrap();
            client.write_all(&vec![0; 50_004]).await.unwrap();
            while server.stats().dropped_unallocated == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(server.stats().allocations, 1);
        });
    }

    #[test]
    fn a_configuration_with_which_nobody_could_log_in_is_refused() {
        run(async {
            type Spoil = fn(&mut TurnServerConfig);
            let cases: [(Spoil, bool); 5] = [
                (|_| {}, true),
                (|c| c.core.realm = "x".repeat(127), true),
                (|c| c.core.realm = "x".repeat(128), false),
                (|c| c.core.users.clear(), false),
                (|c| c.relay = vec![[0, 0, 0, 0].into()], false),
            ];
            for (at, (spoil, good)) in cases.into_iter().enumerate() {
                let mut config = config();
                config.core.dont_fragment = true;
                spoil(&mut config);
                let result = TurnServer::bind(config).await;
                let refused = |e: &io::Error| e.kind() == ErrorKind::InvalidInput;
                assert_eq!(result.as_ref().is_err_and(refused), !good, "{at}");
                // These sockets can't do it.
                assert!(result.is_ok_and(|server| !server.shared.config.core.dont_fragment) == good);
            }
        });
    }
}
