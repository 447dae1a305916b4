//! `sinnet serve`: a web page, and a peer for every browser that opens it.

mod control;
mod visit;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use sinnet_signaling::{CloseCode, Server, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::args::ServeArgs;
use crate::connect::check_directory;
use crate::failure::{Context, Failure};
use crate::inspect::Inspection;
use crate::terminal::Screen;
use crate::transfer::Store;
use control::Shelf;
use visit::Host;

/// Browsers connected at once; more are turned away.
const MAX_VISITORS: usize = 64;

pub(crate) async fn run(args: ServeArgs, screen: &Screen) -> Result<(), Failure> {
    for directory in args.files.iter().chain(&args.save) {
        check_directory(directory)?;
    }
    let inspection = Inspection::start(&args.inspect, screen)?;
    let addr = SocketAddr::new(args.host, args.port);
    let mut config = ServerConfig::new(addr);
    config.allowed_hosts = args.allow_host;
    config.allowed_origins = args.allow_origin;
    let mut server = Server::bind(config)
        .await
        .context(format_args!("can't listen on {addr}; another --port may be free"))?;
    // A browser on this machine may have no other way here.
    let endpoint = crate::endpoint(&args.bind, args.host.is_loopback()).await?;

    let saves = args.save.is_some();
    let host = Arc::new(Host {
        endpoint,
        shelf: Shelf { directory: args.files, saves },
        store: Store { directory: args.save, max_size: args.max_size },
        screen: screen.clone(),
        congestion: args.congestion.into(),
        inspection,
    });
    let url = url(server.local_addr());
    screen.say(format!("Open {url} in a browser. Ctrl-C ends."));

    let places = Arc::new(Semaphore::new(MAX_VISITORS));
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
    // Browsers see an orderly end.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), host.endpoint.close()).await;
    host.inspection.end().await;
    Ok(())
}

/// What to open: an address that a browser elsewhere can use, when the server listens on all.
fn url(addr: SocketAddr) -> String {
    let ip = if addr.ip().is_unspecified() { outward(addr).unwrap_or(addr.ip()) } else { addr.ip() };
    format!("http://{}", SocketAddr::new(ip, addr.port()))
}

/// The address that this machine uses towards others. Connecting a UDP socket sends nothing.
fn outward(addr: SocketAddr) -> Option<std::net::IpAddr> {
    let documentation = if addr.is_ipv4() { "192.0.2.1:9" } else { "[2001:db8::1]:9" };
    let socket = UdpSocket::bind(SocketAddr::new(addr.ip(), 0)).ok()?;
    socket.connect(documentation).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
