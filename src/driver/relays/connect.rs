//! Connections to TURN servers are made beside the driver, as they take round trips.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use sinnet_turn::Host;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;

use super::stream::Stream;
use crate::shared::EndpointShared;

/// The kernel's buffer for what is sent: a deeper one makes a queue in which every check and heartbeat waits.
const SEND_BUFFER: usize = 512 * 1024;

/// A connection that was made, or why not.
pub(crate) struct Connected {
    /// The relay's number.
    pub(super) relay: u32,
    pub(super) result: Result<Stream, String>,
}

/// Where to, and how.
pub(super) struct Target {
    pub(super) server: SocketAddr,
    /// The name that the certificate must have, if there is to be TLS.
    pub(super) tls: Option<Host>,
}

/// Connects within `timeout`, and leaves the result for the driver.
pub(super) fn connect(
    shared: Arc<EndpointShared>,
    relay: u32,
    target: Target,
    timeout: Duration,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let result = match tokio::time::timeout(timeout, open(&shared, target)).await {
            Ok(result) => result,
            Err(_) => Err("the server did not take the connection in time".to_owned()),
        };
        shared.commands().connected.push(Connected { relay, result });
        shared.wake_driver();
    });
    task.abort_handle()
}

async fn open(shared: &EndpointShared, target: Target) -> Result<Stream, String> {
    let tls = match &target.tls {
        Some(host) => Some(session(shared, host).await?),
        None => None,
    };
    let tcp = connect_from(&shared.bound, target.server).await;
    let tcp = tcp.map_err(|error| format!("can't connect: {error}"))?;
    let _ = tcp.set_nodelay(true);
    let _ = SockRef::from(&tcp).set_send_buffer_size(SEND_BUFFER);
    Ok(Stream::new(tcp, tls))
}

/// From the address that the endpoint is bound to, where that is one.
async fn connect_from(bound: &[SocketAddr], server: SocketAddr) -> io::Result<TcpStream> {
    let family = bound.iter().filter(|bound| bound.is_ipv4() == server.is_ipv4());
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    match family.map(SocketAddr::ip).find(IpAddr::is_unspecified) {
        Some(_) => {}
        None => {
            let mut own = bound.iter().filter(|bound| bound.is_ipv4() == server.is_ipv4());
            let own = own.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
            socket.bind(SocketAddr::new(own.ip(), 0))?;
        }
    }
    socket.connect(server).await
}

async fn session(shared: &EndpointShared, host: &Host) -> Result<ClientConnection, String> {
    let name = match host {
        Host::Ip(ip) => ServerName::from(*ip),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| format!("{name} is no name for a certificate"))?
        }
    };
    let config = match &shared.config.tls {
        Some(config) => config.clone(),
        None => system_tls().await?,
    };
    ClientConnection::new(config, name).map_err(|error| error.to_string())
}

/// With the system's certificate authorities, which are read once: they are hundreds of kilobytes.
async fn system_tls() -> Result<Arc<rustls::ClientConfig>, String> {
    static SYSTEM: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(config.clone());
    }
    let read = tokio::task::spawn_blocking(read_system_tls);
    let config = read.await.map_err(|error| error.to_string())??;
    Ok(SYSTEM.get_or_init(|| config).clone())
}

fn read_system_tls() -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(found.errors.first().map_or_else(
            || "this system has no certificate authorities; install ca-certificates".to_owned(),
            ToString::to_string,
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
