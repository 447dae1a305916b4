//! Members of multicast groups: `sinnet create`, `join`, `cast` and `demo`.
//!
//! | file | what |
//! |---|---|
//! | `create.rs`, `join.rs`, `cast.rs` | one member, as the user's hands |
//! | `demo.rs` | a server and a whole tree in this process |
//! | `wire.rs` | how files go through a group: `docs/alm.md` |
//! | `take.rs`, `give.rs` | its receiver and its sender |
//! | `draw.rs` | the tree as text |

mod cast;
mod create;
mod demo;
mod draw;
mod give;
mod join;
mod take;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sinnet::EndpointConfig;
use sinnet_alm::group::{GroupKind, Options, WebRtcAlm};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use cast::run as cast;
pub(crate) use create::run as create;
pub(crate) use demo::run as demo;
pub(crate) use join::run as join;

use crate::args::MemberArgs;
use crate::failure::{Context, Failure};

/// A member to be, as the arguments say.
fn member(args: &MemberArgs, kind: GroupKind) -> Result<WebRtcAlm, Failure> {
    let (url, options) = options(args)?;
    Ok(WebRtcAlm::new(kind, &url, options))
}

/// The server, and what a member is made with.
fn options(args: &MemberArgs) -> Result<(String, Options), Failure> {
    let mut options = Options::default();
    if let Some(path) = &args.ca {
        options.client.tls = Some(trusting(path)?);
    }
    let (url, local) = address(&args.server, args.token.as_deref())?;
    // Members on the server's machine may have no other way to each other.
    args.bind.configure(&mut options.bind, local);
    options.peer.ice_transport_policy = args.bind.ice_transport_policy();
    Ok((url, options))
}

/// A member on 127.0.0.1.
fn local_member(url: &str) -> WebRtcAlm {
    let bind = vec![([127, 0, 0, 1], 0).into()];
    let bind = EndpointConfig { bind, include_loopback: true, ..EndpointConfig::default() };
    let options = Options { bind, ..Options::default() };
    WebRtcAlm::new(GroupKind::Reliable, url, options)
}

/// The WebSocket that is meant by a server's address, and whether that is this machine.
fn address(server: &str, token: Option<&str>) -> Result<(String, bool), Failure> {
    let wrong = || Failure::new(format!("{server} is no server: give http://HOST:PORT, https, ws or wss"));
    let (scheme, rest) = server.split_once("://").ok_or_else(wrong)?;
    let scheme = match scheme {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return Err(wrong()),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let name =
        host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    if name.is_empty() {
        return Err(wrong());
    }
    let local = name == "localhost" || name.starts_with("127.") || name == "[::1]";
    let path = if path.is_empty() { "alm" } else { path };
    let token = match token {
        Some(token) => format!("{}token={token}", if path.contains('?') { '&' } else { '?' }),
        None => String::new(),
    };
    Ok((format!("{scheme}://{host}/{path}{token}"), local))
}

/// TLS that trusts the certificates of this file and no others.
fn trusting(path: &std::path::Path) -> Result<Arc<rustls::ClientConfig>, Failure> {
    let read = |error| Failure::new(format!("can't read a certificate from {}: {error}", path.display()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        let certificate = certificate.map_err(read)?;
        roots.add(certificate).context(format_args!("{} can't be trusted", path.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What somebody else says, without what would move the cursor or colour the terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// How long the children may take to get what is on its way to them, and to say so.
const LINGER: Duration = Duration::from_secs(30);

/// Ctrl-C and SIGTERM.
struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| -> io::Result<Signal> { signal(kind) };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt()).context("can't wait for Ctrl-C")?,
            terminate: listen(SignalKind::terminate()).context("can't wait for SIGTERM")?,
        })
    }

    /// What comes of `beginning`; nothing if the user has enough before.
    async fn or<T>(&mut self, beginning: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = beginning => Some(done),
            () = self.came() => None,
        }
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
