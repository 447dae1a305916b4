//! Ours, by the public API of the crate `sinnet`, with its defaults but for long paths: there buffers are 64 MiB, as our README advises,
//! in place of 16.
//!
//! - An endpoint for all that is answered, as a server has it; an endpoint for each connection that is offered, as clients
//!   have them: two connections from one port to one port can't be told apart in DTLS 1.2.
//! - Both sides in one process ([`Layout::Together`]): a square of endpoints, sixteen of each side for 256 pairs, each pair of
//!   endpoints with one connection, and all endpoints with equally many; two worker threads. Otherwise one thread: an endpoint
//!   is one task.
//! - CUBIC, which is the default; as `sinnet-bbr` BBR, as our documentation advises for paths that lose packets without being full.
//! - Back-pressure is `DataChannel::send`'s own. Kernel buffers are asked for as for everybody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sinnet::{
    Congestion, DataChannel, DataChannelOptions, Endpoint, EndpointConfig, PeerConfig, PeerConnection,
    PeerEvent, Reliability, SdpType, SessionDescription,
};
use tokio::runtime::{Builder, Runtime};

use super::{Layout, SOCKET_BUFFER, Setup, Stack};
use crate::run::app::App;
use crate::run::link::Channel;

/// Buffers of a connection over a path with a delay, bytes.
const LONG_PATH: usize = 64 * 1024 * 1024;

/// Endpoints of one side, when both are in one process.
const SIDE: u32 = 16;

type Connections = Arc<Mutex<HashMap<(bool, u32), PeerConnection>>>;

pub struct Sinnet {
    runtime: Runtime,
    layout: Layout,
    config: PeerConfig,
    offering: Vec<Endpoint>,
    answering: Vec<Endpoint>,
    connections: Connections,
}

impl Sinnet {
    pub fn new(Setup { layout, is_delayed }: Setup, congestion: Congestion) -> Self {
        let runtime = match layout {
            // A runtime of one thread runs on who blocks on it, which the reader of orders can't.
            Layout::Apart => Builder::new_multi_thread().worker_threads(1).enable_all().build(),
            Layout::Together => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        };
        let runtime = runtime.expect("a runtime");
        let mut config = PeerConfig { congestion, ..PeerConfig::default() };
        if is_delayed {
            (config.receive_buffer, config.send_buffer) = (LONG_PATH, LONG_PATH);
        }
        Self {
            runtime,
            layout,
            config,
            offering: Vec::new(),
            answering: Vec::new(),
            connections: Connections::default(),
        }
    }

    fn endpoint(&self) -> Endpoint {
        let addr = "127.0.0.1:0".parse().expect("an address");
        let config = EndpointConfig { socket_buffer: SOCKET_BUFFER, ..EndpointConfig::bind(addr) };
        self.runtime.block_on(Endpoint::new(config)).expect("an endpoint")
    }

    /// The endpoint that a connection has on this side.
    fn endpoint_of(&mut self, number: u32, is_offerer: bool) -> Endpoint {
        let index = match (self.layout, is_offerer) {
            (Layout::Apart, true) => return self.endpoint(),
            (Layout::Apart, false) => 0,
            (Layout::Together, true) => number % SIDE,
            (Layout::Together, false) => (number / SIDE + number) % SIDE,
        } as usize;
        let of_side = |this: &Self| if is_offerer { this.offering.len() } else { this.answering.len() };
        while of_side(self) <= index {
            let endpoint = self.endpoint();
            if is_offerer {
                self.offering.push(endpoint)
            } else {
                self.answering.push(endpoint)
            };
        }
        if is_offerer { self.offering[index].clone() } else { self.answering[index].clone() }
    }

    fn connection(&mut self, is_offerer: bool, app: &App) -> PeerConnection {
        let endpoint = self.endpoint_of(app.number, is_offerer);
        let _runtime = self.runtime.enter();
        let connection = endpoint.peer_connection(self.config.clone()).expect("a connection");
        self.connections.lock().expect("no panics").insert((is_offerer, app.number), connection.clone());
        connection
    }
}

impl Stack for Sinnet {
    fn offer(&mut self, channel: Channel, app: Arc<App>) {
        let connection = self.connection(true, &app);
        let reliability = match channel.reliable {
            true => Reliability::Reliable,
            false => Reliability::MaxRetransmits(0),
        };
        let options = DataChannelOptions { ordered: channel.ordered, reliability, ..Default::default() };
        let channel = connection.create_data_channel("bench", options).expect("a channel");
        let offer = connection.create_offer().expect("an offer");
        connection.set_local_description(offer).expect("our own");
        app.described(connection.local_description().expect("our own").sdp);
        self.runtime.spawn(watch(connection, app.clone()));
        self.runtime.spawn(carry(channel, app));
    }

    fn accept(&mut self, sdp: String, app: Arc<App>) {
        let connection = self.connection(false, &app);
        let offer = SessionDescription { kind: SdpType::Offer, sdp };
        connection.set_remote_description(offer).expect("a good offer");
        let answer = connection.create_answer().expect("an answer");
        connection.set_local_description(answer).expect("our own");
        app.described(connection.local_description().expect("our own").sdp);
        self.runtime.spawn(watch(connection, app));
    }

    fn answered(&mut self, number: u32, sdp: String) {
        let connections = self.connections.lock().expect("no panics");
        let answer = SessionDescription { kind: SdpType::Answer, sdp };
        connections[&(true, number)].set_remote_description(answer).expect("a good answer");
    }

    fn close(&mut self, number: u32) {
        for is_offerer in [true, false] {
            let connection = self.connections.lock().expect("no panics").remove(&(is_offerer, number));
            if let Some(connection) = connection {
                self.runtime.spawn(async move { connection.close().await });
            }
        }
    }
}

/// Takes the connection's events, and the channels that the peer opens.
async fn watch(connection: PeerConnection, app: Arc<App>) {
    while let Some(event) = connection.next_event().await {
        match event {
            PeerEvent::DataChannel(channel) => drop(tokio::spawn(carry(channel, app.clone()))),
            PeerEvent::Closed(reason) if !reason.is_orderly() => app.lost(reason),
            _ => {}
        }
    }
}

/// The application's side of a channel.
async fn carry(channel: DataChannel, app: Arc<App>) {
    if channel.opened().await.is_err() {
        return;
    }
    if let Some(message) = app.opened()
        && channel.send(message).await.is_err()
    {
        return;
    }
    while let Some(message) = app.flood() {
        if channel.send(message.clone()).await.is_err() {
            return;
        }
        app.sent();
    }
    while let Some(message) = channel.recv().await {
        if let Some(answer) = app.received(message.len())
            && channel.send(answer).await.is_err()
        {
            return;
        }
    }
}
