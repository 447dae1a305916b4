//! The TURN servers of the public network: coturn at the one address, ours at the other.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sinnet::turn::ServerConfig;
use sinnet::{IceServer, TurnServer, TurnServerConfig};
use sinnet_interop::coturn::{Coturn, PASSWORD, REALM, USER};
use sinnet_interop::nat_lab::{Host, NatLab, SECOND_SERVER, SERVER};
use tokio::net::TcpListener;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Coturn,
    Ours,
}

/// How it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
    Tls,
}

impl Over {
    pub(crate) const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];
}

/// Both, running.
pub(crate) struct Servers {
    pub(crate) coturn: Coturn,
    pub(crate) ours: Ours,
    /// Trusts both.
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl Servers {
    pub(crate) async fn start(lab: &NatLab) -> Self {
        let coturn = Coturn::start_in(&lab.public.place, SERVER.into(), &[]).await;
        let ours = Ours::start(&lab.second).await;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in [&coturn.certificate, &ours.certificate] {
            roots.add(certificate.clone()).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { coturn, ours, tls: Arc::new(tls) }
    }
}

/// The URL of a server.
pub(crate) fn url(by: By, over: Over) -> String {
    let ip = if by == By::Coturn { SERVER } else { SECOND_SERVER };
    match over {
        Over::Udp => format!("turn:{ip}"),
        Over::Tcp => format!("turn:{ip}?transport=tcp"),
        Over::Tls => format!("turns:{ip}"),
    }
}

/// A server as an endpoint is told of it.
pub(crate) fn ice_server(by: By, over: &[Over]) -> IceServer {
    IceServer {
        urls: over.iter().map(|over| url(by, *over).parse().expect("a URL")).collect(),
        username: USER.to_owned(),
        credential: PASSWORD.to_owned(),
    }
}

/// Our server, for datagrams, connections and TLS.
pub(crate) struct Ours {
    pub(crate) server: Arc<TurnServer>,
    certificate: CertificateDer<'static>,
}

impl Ours {
    async fn start(host: &Host) -> Self {
        let mut core = ServerConfig::new(REALM);
        core.users.insert(USER.to_owned(), PASSWORD.to_owned());
        core.max_allocations_per_user = 500;
        let config = TurnServerConfig::new(core, (SECOND_SERVER, 3478).into(), SECOND_SERVER.into());
        let made = rcgen::generate_simple_self_signed([SECOND_SERVER.to_string()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a certificate and its key");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let server = host.run(async move {
            let server = Arc::new(TurnServer::bind(config).await.expect("a server"));
            let listener = TcpListener::bind((SECOND_SERVER, 5349)).await.expect("a socket");
            let addr = listener.local_addr().expect("an address");
            let accepted = Arc::downgrade(&server);
            tokio::spawn(async move {
                while let (Ok((tcp, client)), Some(server)) = (listener.accept().await, accepted.upgrade()) {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        let _ = tcp.set_nodelay(true);
                        if let Ok(stream) = acceptor.accept(tcp).await {
                            server.serve_stream(stream, client, addr).await;
                        }
                    });
                }
            });
            server
        });
        Self { server: server.await, certificate }
    }
}
