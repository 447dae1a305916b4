//! Our client on real sockets, driven by the test.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use sinnet::turn::{Client, ClientConfig, Event, MAX_REQUEST, StreamDecoder, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How long any one thing may take on a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "real sockets, in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Over what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    Udp,
    Tcp,
    Tls,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

enum Io {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>, StreamDecoder),
}

/// One client with its socket.
pub(crate) struct Wire {
    pub(crate) client: Client,
    io: Io,
    events: VecDeque<Event>,
    received: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Wire {
    /// `trusted` is the server's certificate, for TLS.
    pub(crate) async fn new(
        config: ClientConfig,
        server: SocketAddr,
        over: Over,
        trusted: Option<&CertificateDer<'static>>,
    ) -> Self {
        let any: SocketAddr =
            if server.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { "[::1]:0".parse().unwrap() };
        let io = match over {
            Over::Udp => Io::Udp(UdpSocket::bind(any).await.expect("a socket")),
            Over::Tcp | Over::Tls => {
                let tcp = TcpStream::connect(server).await.expect("a connection");
                tcp.set_nodelay(true).expect("an option");
                let stream: Box<dyn Stream> = match trusted {
                    None => Box::new(tcp),
                    Some(certificate) => Box::new(tls(tcp, certificate).await),
                };
                Io::Stream(stream, StreamDecoder::new())
            }
        };
        let transport = if over == Over::Udp { Transport::Datagram } else { Transport::Stream };
        let seed = std::array::from_fn(|_| fastrand::u8(..));
        let client = Client::new(Arc::new(config), transport, server, now(), seed);
        Self { client, io, events: VecDeque::new(), received: VecDeque::new() }
    }

    async fn transmit(&mut self, bytes: &[u8]) {
        let server = self.client.server();
        match &mut self.io {
            Io::Udp(socket) => drop(socket.send_to(bytes, server).await),
            Io::Stream(stream, _) => {
                if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
                    self.client.disconnected();
                }
            }
        }
    }

    /// Sends what is due, and waits for one thing to happen.
    async fn turn(&mut self) {
        let mut out = [0; MAX_REQUEST];
        while let Some(len) = self.client.poll_transmit(now(), &mut out) {
            self.transmit(&out[..len]).await;
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push_back(event);
        }
        if !self.events.is_empty() || !self.received.is_empty() {
            return;
        }
        let wake = self.client.poll_timeout().unwrap_or_else(|| now() + PATIENCE);
        let mut buffer = vec![0; 65_536];
        let server = self.client.server();
        let arrived = async {
            match &mut self.io {
                Io::Udp(socket) => socket.recv_from(&mut buffer).await.expect("a datagram"),
                Io::Stream(stream, _) => (stream.read(&mut buffer).await.unwrap_or(0), server),
            }
        };
        let Ok((len, from)) = tokio::time::timeout_at(wake.into(), arrived).await else {
            self.client.handle_timeout(now());
            return;
        };
        match &mut self.io {
            Io::Udp(_) => {
                let received = self.client.handle_input(now(), from, &buffer[..len]);
                self.received.extend(received.map(|r| (r.peer, r.data.to_vec())));
            }
            Io::Stream(_, decoder) => {
                if len == 0 {
                    return self.client.disconnected();
                }
                decoder.push(&buffer[..len]);
                while let Some(unit) = decoder.poll().expect("STUN or ChannelData") {
                    let received = self.client.handle_input(now(), server, unit);
                    self.received.extend(received.map(|r| (r.peer, r.data.to_vec())));
                }
            }
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        let next = async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return event;
                }
                self.turn().await;
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("an event in time")
    }

    /// The relayed address, once there is one.
    pub(crate) async fn allocated(&mut self) -> SocketAddr {
        loop {
            match self.event().await {
                Event::Allocated { relayed, .. } => return relayed[0],
                Event::Redirected { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Why it failed.
    pub(crate) async fn failed(&mut self) -> sinnet::turn::Error {
        match self.event().await {
            Event::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn permit(&mut self, peer: SocketAddr) {
        self.client.permit(now(), peer.ip()).expect("a permission may be asked for");
        assert_eq!(self.event().await, Event::Permitted { ip: peer.ip() });
    }

    pub(crate) async fn bind(&mut self, peer: SocketAddr) {
        self.client.bind_channel(now(), peer).expect("a channel may be asked for");
        assert_eq!(self.event().await, Event::ChannelBound { peer });
    }

    /// Sends to a peer. Returns the overhead.
    pub(crate) async fn send(&mut self, peer: SocketAddr, data: &[u8]) -> usize {
        let mut out = vec![0; 66_000];
        let len = self.client.send(now(), peer, data, &mut out).expect("it may be sent");
        self.transmit(&out[..len]).await;
        len - data.len()
    }

    /// What comes from a peer next.
    pub(crate) async fn recv(&mut self) -> (SocketAddr, Vec<u8>) {
        let next = async {
            loop {
                if let Some(received) = self.received.pop_front() {
                    return received;
                }
                assert!(self.events.is_empty(), "{:?}", self.events);
                self.turn().await;
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("data in time")
    }

    pub(crate) async fn close(&mut self) {
        self.client.close(now());
        assert_eq!(self.event().await, Event::Closed);
    }
}

async fn tls(
    tcp: TcpStream,
    certificate: &CertificateDer<'static>,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a TLS connection")
}

/// A peer without TURN.
pub(crate) struct Peer {
    socket: UdpSocket,
}

impl Peer {
    pub(crate) async fn new() -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").await.expect("a socket") }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// Sends back the next datagram, and says from where it came.
    pub(crate) async fn echo(&self) -> SocketAddr {
        let mut buffer = vec![0; 65_536];
        let next = tokio::time::timeout(PATIENCE, self.socket.recv_from(&mut buffer));
        let (len, from) = next.await.expect("a datagram in time").expect("a datagram");
        self.socket.send_to(&buffer[..len], from).await.expect("it is sent");
        from
    }
}

/// Data both ways, by indications and on a channel.
pub(crate) async fn exercise(wire: &mut Wire) {
    let peer = Peer::new().await;
    let relayed = wire.allocated().await;
    wire.permit(peer.addr()).await;
    for on_channel in [false, true] {
        if on_channel {
            wire.bind(peer.addr()).await;
        }
        for size in [0, 5, 1200] {
            let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let overhead = wire.send(peer.addr(), &data).await;
            assert_eq!(overhead < 8, on_channel, "{overhead} bytes");
            assert_eq!(peer.echo().await, relayed);
            assert_eq!(wire.recv().await, (peer.addr(), data));
        }
    }
}
