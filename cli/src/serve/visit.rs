//! One browser: its signalling, its connection, its channels.
//!
//! The page makes the offer. What a channel is for shows in its protocol: `sinnet-control`, `sinnet-file`, or anything
//! else for an echo.

use std::sync::Arc;
use std::time::Duration;

use sinnet::{
    CloseReason, Congestion, ConnectionState, DataChannel, Endpoint, PeerConfig, PeerConnection, PeerEvent,
};
use sinnet_signaling::server::Visitor;
use sinnet_signaling::{CloseCode, Session};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::control::{self, Shelf};
use crate::connect::reflect;
use crate::failure::Failure;
use crate::inspect::Inspection;
use crate::negotiation::{Incoming, candidate_signal};
use crate::terminal::Screen;
use crate::transfer::{self, Store};

/// How long a browser may take from opening the WebSocket to being connected.
const CONNECTING: Duration = Duration::from_secs(60);

/// Channels of one browser at once.
const MAX_CHANNELS: usize = 64;

/// How long the other side may take to close a channel on which a file went.
const CLOSING: Duration = Duration::from_secs(10);

/// What all visits share.
pub(super) struct Host {
    pub(super) endpoint: Endpoint,
    pub(super) shelf: Shelf,
    pub(super) store: Store,
    pub(super) screen: Screen,
    pub(super) congestion: Congestion,
    pub(super) inspection: Inspection,
}

/// The part of a visit that its channels' tasks share.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) host: Arc<Host>,
    pub(super) peer: PeerConnection,
    name: String,
}

impl Visit {
    /// Tells the terminal.
    pub(super) fn say(&self, line: &str) {
        self.host.screen.say(format!("{}: {line}", self.name));
    }
}

/// From the first message to the end of the connection.
pub(super) async fn run(host: &Arc<Host>, number: u64, visitor: Visitor) {
    let Visitor { session, remote } = visitor;
    let mut config =
        PeerConfig { max_channels: MAX_CHANNELS, congestion: host.congestion, ..Default::default() };
    host.inspection.configure(&mut config);
    let peer = match host.endpoint.peer_connection(config) {
        Ok(peer) => peer,
        Err(error) => {
            host.screen.say(format!("visitor {number}: {error}"));
            return session.close(CloseCode::TRY_AGAIN_LATER, "the server can't make a connection");
        }
    };
    host.inspection.watch(&peer);
    let visit = Visit { host: host.clone(), peer, name: format!("visitor {number} ({remote})") };
    match stay(&visit, session).await {
        Ok(reason) => visit.say(&format!("gone: {reason}")),
        Err(failure) => visit.say(&format!("turned away: {failure}")),
    }
}

async fn stay(visit: &Visit, mut session: Session) -> Result<CloseReason, Failure> {
    let peer = &visit.peer;
    let mut incoming = Incoming::default();
    let mut tasks = JoinSet::new();
    let mut signalling = true;
    let mut connected = false;
    let patience = sleep(CONNECTING);
    tokio::pin!(patience);
    loop {
        tokio::select! {
            event = peer.next_event() => match event {
                None => return Err(Failure::new("the connection has ended")),
                Some(PeerEvent::Closed(reason)) => {
                    if !connected {
                        session.close(CloseCode::NORMAL, &reason.to_string());
                    }
                    // Files that are through are still being written.
                    let _ = timeout(CLOSING, async { while tasks.join_next().await.is_some() {} }).await;
                    return Ok(reason);
                }
                Some(PeerEvent::IceCandidate(candidate)) => {
                    if let Err(error) = session.send(&candidate_signal(candidate)) {
                        debug!(%error, "a candidate was not signalled");
                    }
                }
                Some(PeerEvent::DataChannel(channel)) => {
                    tasks.spawn(serve_channel(visit.clone(), channel));
                }
                Some(PeerEvent::ConnectionStateChange(ConnectionState::Connected)) if !connected => {
                    connected = true;
                    let path = peer.selected_path();
                    let path = path.map_or_else(String::new, |path| format!(" ({} to {})", path.local, path.remote));
                    visit.say(&format!("connected{path}"));
                }
                Some(event) => info!(visit = visit.name, ?event),
            },
            signal = session.recv(), if signalling => match signal {
                Some(signal) => match incoming.apply(peer, signal) {
                    Ok(None) => {}
                    Ok(Some(answer)) => {
                        if let Err(error) = session.send(&answer) {
                            return Err(Failure::new(error.to_string()));
                        }
                    }
                    Err(error) => {
                        session.close(CloseCode::POLICY, &error.to_string());
                        return Err(error.into());
                    }
                },
                // The connection needs no signalling any more, once it is up.
                None => {
                    signalling = false;
                    if !incoming.described() {
                        return Err(Failure::new("it made no offer"));
                    }
                }
            },
            Some(_) = tasks.join_next() => {}
            () = &mut patience, if !connected => {
                session.close(CloseCode::POLICY, "no connection came about in time");
                return Err(Failure::new("no connection came about in time"));
            }
        }
    }
}

async fn serve_channel(visit: Visit, channel: DataChannel) {
    match channel.protocol() {
        control::PROTOCOL => control::serve(&visit, &channel).await,
        transfer::PROTOCOL => receive(&visit, &channel).await,
        _ => reflect(&channel).await,
    }
}

async fn receive(visit: &Visit, channel: &DataChannel) {
    let mut bar = visit.host.screen.bar("receiving");
    match transfer::receive(channel, &visit.host.store, &mut bar).await {
        Ok(got) => {
            let place = match &got.path {
                Some(path) => format!("received {}", path.display()),
                None => format!("received {:?}, not kept", got.name),
            };
            visit.say(&format!("{place}: {}, sha256 {}", bar.summary(), got.sha256));
        }
        Err(error) => visit.say(&format!("not received: {error}")),
    }
    drop(bar);
    let _ = timeout(CLOSING, async { while channel.recv().await.is_some() {} }).await;
}

/// Sends one file over a channel of its own.
pub(super) async fn send(visit: &Visit, source: transfer::Source) {
    let options =
        sinnet::DataChannelOptions { protocol: transfer::PROTOCOL.to_owned(), ..Default::default() };
    let channel = match visit.peer.create_data_channel("file", options) {
        Ok(channel) => channel,
        Err(error) => return visit.say(&format!("not sent: {error}")),
    };
    let mut bar = visit.host.screen.bar("sending");
    match transfer::send(&channel, source, &mut bar).await {
        Ok(sent) => {
            visit.say(&format!("sent {:?}: {}, sha256 {}", sent.name, bar.summary(), sent.sha256));
        }
        Err(error) => visit.say(&format!("not sent: {error}")),
    }
    channel.close();
}
