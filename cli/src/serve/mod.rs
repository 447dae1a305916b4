//! `sinnet serve`: a web page, and a peer for every browser that opens it.

mod control;
mod settings;
mod turn;
mod visit;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use sinnet_signaling::server::tls::SelfSigned;
use sinnet_signaling::{CloseCode, Server};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use crate::args::ServeArgs;
use crate::connect::check_directory;
use crate::failure::{Context, Failure};
use crate::inspect::Inspection;
use crate::open_files;
use crate::terminal::Screen;
use crate::transfer::Store;
use control::Shelf;
pub(crate) use settings::Settings;
use visit::Host;

/// Browsers connected at once; more are turned away.
const MAX_VISITORS: usize = 64;

/// Open files beside those of connections: sockets of the endpoint, files on their way.
const OTHER_FILES: u64 = 512;

pub(crate) async fn run(args: ServeArgs, screen: &Screen) -> Result<(), Failure> {
    let ServeArgs { config, settings, bind, inspect } = args;
    let settings = match config {
        Some(path) => settings.or(Settings::from_file(&path)?),
        None => settings,
    };
    for directory in settings.files.iter().chain(&settings.save) {
        check_directory(directory)?;
    }
    let inspection = Inspection::start(&inspect, screen)?;
    let addr = settings.addr();
    let (config, certificate) = settings.server()?;
    let turn = turn::config(&settings)?;
    let needed = config.max_connections as u64 + OTHER_FILES;
    let allowed = open_files::allow(needed)?;
    if allowed < needed {
        let connections = config.max_connections;
        screen.say(format!(
            "{allowed} open files are allowed, too few for {connections} connections: `ulimit -Hn`"
        ));
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let mut server = Server::bind(config)
        .await
        .context(format_args!("can't listen on {addr}; another --port may be free"))?;
    // It ends with this function.
    let turn = match turn {
        Some(config) => Some(turn::start(config).await?),
        None => None,
    };
    // A browser on this machine may have no other way here.
    let endpoint = crate::endpoint(&bind, addr.ip().is_loopback()).await?;

    let saves = settings.save.is_some();
    let host = Arc::new(Host {
        endpoint,
        shelf: Shelf { directory: settings.files.clone(), saves },
        store: Store { directory: settings.save.clone(), max_size: settings.max_size() },
        screen: screen.clone(),
        congestion: settings.congestion.unwrap_or_default().into(),
        inspection,
    });
    let url = url(scheme, server.local_addr());
    println!("listening on {url}");
    screen.say(format!("Open {url} in a browser. Ctrl-C ends."));
    turn.iter().for_each(|turn| turn::announce(turn, screen));
    if let Some(SelfSigned { fingerprint, .. }) = certificate {
        screen.say(format!("The certificate's SHA-256 is {fingerprint}"));
    }

    let places = Arc::new(Semaphore::new(settings.max_visitors.unwrap_or(MAX_VISITORS)));
    let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
    let mut number = 0_u64;
    loop {
        let visitor = tokio::select! {
            visitor = server.accept() => visitor,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        let Some(visitor) = visitor else { break };
        let Ok(place) = places.clone().try_acquire_owned() else {
            debug!(remote = %visitor.remote, "too many visitors, turned one away");
            visitor
                .session
                .close(CloseCode::TRY_AGAIN_LATER, "this server has too many visitors; try again later");
            continue;
        };
        number += 1;
        let host = host.clone();
        tokio::spawn(async move {
            visit::run(&host, number, visitor).await;
            drop(place);
        });
    }
    screen.say("going down");
    // Browsers see an orderly end, of their connections as of their WebSockets. Who can't wait says so again.
    let orderly = async {
        let connections = timeout(settings.shutdown_timeout(), host.endpoint.close());
        let _ = tokio::join!(server.shutdown(settings.shutdown_timeout()), connections);
    };
    tokio::select! {
        () = orderly => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    host.inspection.end().await;
    Ok(())
}

/// What to open: an address that a browser elsewhere can use, when the server listens on all.
fn url(scheme: &str, addr: SocketAddr) -> String {
    let ip = if addr.ip().is_unspecified() { outward(addr).unwrap_or(addr.ip()) } else { addr.ip() };
    format!("{scheme}://{}", SocketAddr::new(ip, addr.port()))
}

/// The address that this machine uses towards others. Connecting a UDP socket sends nothing.
fn outward(addr: SocketAddr) -> Option<std::net::IpAddr> {
    let documentation = if addr.is_ipv4() { "192.0.2.1:9" } else { "[2001:db8::1]:9" };
    let socket = UdpSocket::bind(SocketAddr::new(addr.ip(), 0)).ok()?;
    socket.connect(documentation).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
