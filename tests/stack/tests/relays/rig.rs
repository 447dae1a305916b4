//! A TURN server with everything around it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sinnet::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sinnet::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring::default_provider};
use sinnet::turn::ServerConfig as TurnConfig;
use sinnet::{
    DataChannelOptions, Endpoint, EndpointConfig, IceCandidateError, IceServer, IceTransportPolicy,
    PeerConfig, PeerConnection, PeerEvent, ServerUri, TurnServer, TurnServerConfig,
};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    Udp,
    Tcp,
    Tls,
}

/// What a way to a server does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    Open,
    /// Nothing is read any more.
    Stalled,
    Shut,
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A server, and its certificate.
pub(crate) struct Rig {
    pub(crate) server: Arc<TurnServer>,
    root: CertificateDer<'static>,
    tls: SocketAddr,
}

pub(crate) fn ice_server(url: ServerUri) -> IceServer {
    IceServer { urls: vec![url], username: "alice".to_owned(), credential: "wonderland".to_owned() }
}

impl Rig {
    pub(crate) async fn new(change: impl FnOnce(&mut TurnServerConfig)) -> Self {
        let mut core = TurnConfig::new("example.org");
        core.users.insert("alice".to_owned(), "wonderland".to_owned());
        core.peers.loopback = true;
        core.peers.own = true;
        let mut config = TurnServerConfig::new(core, (LOCAL, 0).into(), LOCAL);
        change(&mut config);
        let server = Arc::new(TurnServer::bind(config).await.unwrap());

        let issued = rcgen::generate_simple_self_signed(vec![LOCAL.to_string()]).unwrap();
        let root = issued.cert.der().clone();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![root.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let tls = listener.local_addr().unwrap();
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((tcp, client)) = listener.accept().await {
                let (acceptor, serving) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        serving.serve_stream(stream, client, tls).await;
                    }
                });
            }
        });
        Self { server, root, tls }
    }

    pub(crate) fn url(&self, over: Over) -> ServerUri {
        match over {
            Over::Udp => format!("turn:{}", self.server.udp_addrs()[0]),
            Over::Tcp => format!("turn:{}?transport=tcp", self.server.tcp_addrs()[0]),
            Over::Tls => format!("turns:{}", self.tls),
        }
        .parse()
        .unwrap()
    }

    pub(crate) fn ice_server(&self, over: Over) -> IceServer {
        ice_server(self.url(over))
    }

    /// What trusts its certificate.
    pub(crate) fn trust(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    pub(crate) fn allocations(&self) -> usize {
        self.server.stats().allocations
    }

    /// A way to the server that can be closed, and stopped.
    pub(crate) async fn tcp_proxy(&self) -> (SocketAddr, watch::Sender<Gate>) {
        let (gate, state) = watch::channel(Gate::Open);
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let server = self.server.tcp_addrs()[0];
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut state = state.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    loop {
                        let now = *state.borrow_and_update();
                        match now {
                            Gate::Shut => return,
                            Gate::Stalled => state.changed().await.unwrap(),
                            // What is in its buffers when it is stopped is lost, so between messages only.
                            Gate::Open => tokio::select! {
                                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                                _ = state.changed() => {}
                            },
                        }
                    }
                });
            }
        });
        (proxy, gate)
    }

    /// A way to the server for one client, which loses everything after `false` is sent.
    pub(crate) async fn udp_proxy(&self) -> (SocketAddr, watch::Sender<bool>) {
        let (gate, open) = watch::channel(true);
        let front = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        let back = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        back.connect(self.server.udp_addrs()[0]).await.unwrap();
        let proxy = front.local_addr().unwrap();
        tokio::spawn(async move {
            let mut client = None;
            let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
            loop {
                tokio::select! {
                    Ok((len, from)) = front.recv_from(&mut up) => {
                        client = Some(from);
                        if *open.borrow() {
                            let _ = back.send(&up[..len]).await;
                        }
                    }
                    Ok(len) = back.recv(&mut down) => {
                        if let Some(client) = client.filter(|_| *open.borrow()) {
                            let _ = front.send_to(&down[..len], client).await;
                        }
                    }
                }
            }
        });
        (proxy, gate)
    }
}

pub(crate) async fn endpoint(servers: Vec<IceServer>, change: impl FnOnce(&mut EndpointConfig)) -> Endpoint {
    let mut config = EndpointConfig {
        ice_servers: servers,
        gather_timeout: Duration::from_secs(20),
        ..EndpointConfig::bind((LOCAL, 0).into())
    };
    change(&mut config);
    Endpoint::new(config).await.unwrap()
}

/// All candidates and errors of a connection that begins to gather.
pub(crate) async fn gather(connection: &PeerConnection) -> (Vec<String>, Vec<IceCandidateError>) {
    connection.create_data_channel("any", DataChannelOptions::default()).unwrap();
    connection.set_local_description(connection.create_offer().unwrap()).unwrap();
    let (mut candidates, mut errors) = (Vec::new(), Vec::new());
    loop {
        match timeout(PATIENCE, connection.next_event()).await.expect("gathering ends").unwrap() {
            PeerEvent::IceCandidate(Some(candidate)) => candidates.push(candidate.candidate),
            PeerEvent::IceCandidate(None) => return (candidates, errors),
            PeerEvent::IceCandidateError(error) => errors.push(error),
            _ => {}
        }
    }
}

/// How many of a kind.
pub(crate) fn candidates(lines: &[String], kind: &str) -> usize {
    lines.iter().filter(|line| line.contains(&format!(" typ {kind}"))).count()
}

/// Two connections that signal to each other.
pub(crate) struct Pair {
    pub(crate) a: PeerConnection,
    pub(crate) b: PeerConnection,
    pub(crate) endpoints: [Endpoint; 2],
}

impl Pair {
    pub(crate) async fn new(rig: &Rig, a: Over, b: Over, policy: IceTransportPolicy) -> Self {
        let trust = |config: &mut EndpointConfig| config.tls = Some(rig.trust());
        let a = endpoint(vec![rig.ice_server(a)], trust).await;
        let b = endpoint(vec![rig.ice_server(b)], trust).await;
        Self::of(a, b, policy, policy)
    }

    pub(crate) fn of(a: Endpoint, b: Endpoint, of_a: IceTransportPolicy, of_b: IceTransportPolicy) -> Self {
        let config = |policy| PeerConfig { ice_transport_policy: policy, ..PeerConfig::default() };
        let connections =
            (a.peer_connection(config(of_a)).unwrap(), b.peer_connection(config(of_b)).unwrap());
        Self { a: connections.0, b: connections.1, endpoints: [a, b] }
    }

    /// Exchanges descriptions when all candidates are in them.
    pub(crate) async fn connect(&self) {
        gather(&self.a).await;
        self.b.set_remote_description(self.a.local_description().unwrap()).unwrap();
        self.b.set_local_description(self.b.create_answer().unwrap()).unwrap();
        loop {
            let event = timeout(PATIENCE, self.b.next_event()).await.expect("gathering ends").unwrap();
            if matches!(event, PeerEvent::IceCandidate(None)) {
                break;
            }
        }
        self.a.set_remote_description(self.b.local_description().unwrap()).unwrap();
        timeout(PATIENCE, self.a.connected()).await.expect("it connects").unwrap();
        timeout(PATIENCE, self.b.connected()).await.expect("it connects").unwrap();
    }

    /// So many bytes go from `a` to `b`, and arrive whole.
    pub(crate) async fn bulk(&self, bytes: usize) {
        let channel = self.a.create_data_channel("bulk", DataChannelOptions::default()).unwrap();
        let message = |i: usize| vec![(i % 251) as u8; 16_000];
        let count = bytes.div_ceil(16_000);
        let send = async {
            for i in 0..count {
                channel.send(message(i)).await.unwrap();
            }
        };
        let take = async {
            let theirs = loop {
                match self.b.next_event().await.unwrap() {
                    PeerEvent::DataChannel(channel) if channel.label() == "bulk" => break channel,
                    _ => {}
                }
            };
            for i in 0..count {
                let got = theirs.recv().await.expect("the channel lives");
                assert_eq!(got.as_bytes(), message(i), "{i}");
            }
        };
        timeout(PATIENCE, async { tokio::join!(send, take) }).await.expect("all of it arrives");
    }

    pub(crate) async fn close(self) {
        self.a.close().await;
        self.b.close().await;
        for endpoint in &self.endpoints {
            timeout(PATIENCE, endpoint.close()).await.expect("it ends");
        }
    }
}
