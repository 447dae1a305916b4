//! `webrtc`, webrtc-rs on tokio: `rtc` behind a driver task, with GSO and GRO by quinn-udp.
//!
//! - tokio's multi-thread runtime, as in its examples, with two workers.
//! - Back-pressure by `with_data_channel_send_buffer_limit`, which makes `DataChannel::send` wait: 1 MiB, the receive window;
//!   on paths with a delay limit and window are 16 MiB, with which it is at its best.
//! - It leaves its sockets with the system's buffers, 208 KiB, and then loses datagrams to its own window all the time. Its
//!   runtime is an interface, so ours is tokio's with larger buffers. This is tuning that its users may not know of.
//! - Messages of 256 KiB are allowed by `with_sctp_max_message_size`. Certificates are made once per process.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::sync::Notify;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription,
};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

use super::{SOCKET_BUFFER, Setup, Stack, rtc};
use crate::run::app::App;
use crate::run::link::Channel;

type Connections = Arc<Mutex<HashMap<(bool, u32), Arc<dyn PeerConnection>>>>;

pub struct Webrtc {
    runtime: tokio::runtime::Runtime,
    setup: Setup,
    connections: Connections,
}

impl Webrtc {
    pub fn new(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { runtime: runtime.expect("a runtime"), setup, connections: Connections::default() }
    }
}

impl Stack for Webrtc {
    fn offer(&mut self, channel: Channel, app: Arc<App>) {
        let (setup, connections) = (self.setup, self.connections.clone());
        self.runtime.spawn(async move {
            let (connection, gathered) = connect(setup, app.clone(), false).await;
            connections.lock().expect("no panics").insert((true, app.number), connection.clone());
            let max_retransmits = if channel.reliable { None } else { Some(0) };
            let init = RTCDataChannelInit { ordered: channel.ordered, max_retransmits, ..Default::default() };
            let channel = connection.create_data_channel("bench", Some(init)).await.expect("a channel");
            tokio::spawn(carry(channel, app.clone()));
            let offer = connection.create_offer(None).await.expect("an offer");
            connection.set_local_description(offer).await.expect("our own");
            gathered.notified().await;
            app.described(connection.local_description().await.expect("our own").sdp);
        });
    }

    fn accept(&mut self, sdp: String, app: Arc<App>) {
        let (setup, connections) = (self.setup, self.connections.clone());
        self.runtime.spawn(async move {
            let (connection, gathered) = connect(setup, app.clone(), true).await;
            connections.lock().expect("no panics").insert((false, app.number), connection.clone());
            let offer = RTCSessionDescription::offer(sdp).expect("a good offer");
            connection.set_remote_description(offer).await.expect("a good offer");
            let answer = connection.create_answer(None).await.expect("an answer");
            connection.set_local_description(answer).await.expect("our own");
            gathered.notified().await;
            app.described(connection.local_description().await.expect("our own").sdp);
        });
    }

    fn answered(&mut self, number: u32, sdp: String) {
        let connection = self.connections.lock().expect("no panics")[&(true, number)].clone();
        self.runtime.spawn(async move {
            let answer = RTCSessionDescription::answer(sdp).expect("a good answer");
            connection.set_remote_description(answer).await.expect("a good answer");
        });
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

async fn connect(
    setup: Setup,
    app: Arc<App>,
    takes_channels: bool,
) -> (Arc<dyn PeerConnection>, Arc<Notify>) {
    let gathered = Arc::new(Notify::new());
    let handler = Handler { app, gathered: gathered.clone(), takes_channels };
    let configuration = RTCConfigurationBuilder::new().with_certificates(vec![rtc::certificate()]).build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_setting_engine(rtc::settings(setup))
        .with_handler(Arc::new(handler))
        .with_runtime(Arc::new(Tuned(TokioRuntime)))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .with_data_channel_send_buffer_limit(rtc::buffer(setup) as usize)
        .build()
        .await
        .expect("a connection");
    (Arc::new(connection), gathered)
}

struct Handler {
    app: Arc<App>,
    gathered: Arc<Notify>,
    takes_channels: bool,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if matches!(state, RTCPeerConnectionState::Failed | RTCPeerConnectionState::Disconnected) {
            self.app.lost(state);
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        if self.takes_channels {
            tokio::spawn(carry(channel, self.app.clone()));
        }
    }
}

/// The application's side of a channel.
async fn carry(channel: Arc<dyn DataChannel>, app: Arc<App>) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen => {
                if let Some(message) = app.opened() {
                    let _ = channel.send(BytesMut::from(&message[..])).await;
                }
                if app.flood().is_some() {
                    // A task of its own, so that events are still taken.
                    let (channel, app) = (channel.clone(), app.clone());
                    tokio::spawn(async move {
                        while let Some(message) = app.flood() {
                            if channel.send(BytesMut::from(&message[..])).await.is_err() {
                                break;
                            }
                            app.sent();
                        }
                    });
                }
            }
            DataChannelEvent::OnMessage(message) => {
                if let Some(answer) = app.received(message.data.len()) {
                    let _ = channel.send(BytesMut::from(&answer[..])).await;
                }
            }
            _ => {}
        }
    }
}

/// tokio, with larger socket buffers.
#[derive(Debug)]
struct Tuned(TokioRuntime);

impl Runtime for Tuned {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.0.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let options = SockRef::from(&socket);
        options.set_recv_buffer_size(SOCKET_BUFFER)?;
        options.set_send_buffer_size(SOCKET_BUFFER)?;
        self.0.wrap_udp_socket(socket)
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.0.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.0.connect_tcp(addr)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.0.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.0.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.0.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.0.yield_now()
    }
}
