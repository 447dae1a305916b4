//! libdatachannel (C++: usrsctp, libjuice, OpenSSL) by its Rust wrapper `datachannel`, with its own threads.
//!
//! - Back-pressure by `buffered_amount`: up to 1 MiB, and again at `on_buffered_amount_low` with half of it as threshold. Floods
//!   have a thread of their own, as sending from within callbacks would hold up the library's.
//! - MTU and message size are its defaults (256 KiB). It makes a certificate for each connection; the wrapper has no way to
//!   give it one. Its socket buffers and SCTP windows are its own affair: the wrapper doesn't reach them.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use bytes::Bytes;
use datachannel::{
    ConnectionState, DataChannelHandler, DataChannelInfo, DataChannelInit, GatheringState,
    PeerConnectionHandler, Reliability, RtcConfig, RtcDataChannel, RtcPeerConnection, SdpType,
    SessionDescription,
};

use super::Stack;
use crate::run::app::App;
use crate::run::link::Channel as ChannelKind;

/// Payload that waits in the library at the most.
const BUFFER: usize = 1024 * 1024;

type Connection = Arc<Mutex<Option<Box<RtcPeerConnection<Handler>>>>>;

pub struct Libdatachannel {
    connections: HashMap<(bool, u32), (Connection, Arc<Line>)>,
}

/// One connection's channel, shared by callbacks and the flooding thread.
struct Line {
    app: Arc<App>,
    connection: Connection,
    channel: Mutex<Slot>,
    /// There is room again, or the channel has come.
    changed: Condvar,
    is_offerer: bool,
}

#[derive(Default)]
struct Slot {
    channel: Option<Box<RtcDataChannel<Handler>>>,
    /// Messages for a channel that isn't here yet: the first callbacks come before the handle.
    early: Vec<Bytes>,
    is_open: bool,
}

impl Line {
    fn send(&self, message: Bytes) {
        let mut slot = self.channel.lock().expect("no panics");
        match &mut slot.channel {
            Some(channel) => drop(channel.send(&message)),
            None => slot.early.push(message),
        }
    }

    fn take(&self, mut channel: Box<RtcDataChannel<Handler>>) {
        let _ = channel.set_buffered_amount_low_threshold(BUFFER / 2);
        let mut slot = self.channel.lock().expect("no panics");
        for message in std::mem::take(&mut slot.early) {
            let _ = channel.send(&message);
        }
        slot.channel = Some(channel);
        drop(slot);
        self.changed.notify_all();
    }

    /// Sends as long as there is room, then waits for it.
    fn flood(&self) {
        while let Some(message) = self.app.flood() {
            let mut slot = self.channel.lock().expect("no panics");
            let is_open = slot.is_open;
            match &mut slot.channel {
                Some(channel) if is_open && channel.buffered_amount() < BUFFER => {
                    if channel.send(message).is_ok() {
                        self.app.sent();
                    }
                }
                // The word of room may have come just before.
                _ => drop(self.changed.wait_timeout(slot, std::time::Duration::from_millis(20))),
            }
        }
    }
}

/// Gets the callbacks of a connection and of its channel.
#[derive(Clone)]
struct Handler(Arc<Line>);

impl DataChannelHandler for Handler {
    fn on_open(&mut self) {
        self.0.channel.lock().expect("no panics").is_open = true;
        if let Some(message) = self.0.app.opened() {
            self.0.send(message);
        }
        if self.0.app.flood().is_some() {
            let line = self.0.clone();
            thread::spawn(move || line.flood());
        }
    }

    fn on_message(&mut self, message: &[u8]) {
        if let Some(answer) = self.0.app.received(message.len()) {
            self.0.send(answer);
        }
    }

    fn on_buffered_amount_low(&mut self) {
        self.0.changed.notify_all();
    }
}

impl PeerConnectionHandler for Handler {
    type DCH = Self;

    fn data_channel_handler(&mut self, _: DataChannelInfo) -> Self {
        self.clone()
    }

    fn on_gathering_state_change(&mut self, state: GatheringState) {
        if state == GatheringState::Complete {
            // The connection's handle is still being made when the first candidate is there.
            let line = self.0.clone();
            thread::spawn(move || {
                let connection = line.connection.lock().expect("no panics");
                let description = connection.as_ref().and_then(|connection| connection.local_description());
                line.app.described(description.expect("our own").sdp.to_string());
            });
        }
    }

    fn on_connection_state_change(&mut self, state: ConnectionState) {
        if matches!(state, ConnectionState::Failed | ConnectionState::Disconnected) {
            self.0.app.lost(format!("{state:?}"));
        }
    }

    fn on_data_channel(&mut self, channel: Box<RtcDataChannel<Self>>) {
        if !self.0.is_offerer {
            self.0.take(channel);
        }
    }
}

impl Libdatachannel {
    pub fn new() -> Self {
        Self { connections: HashMap::new() }
    }

    fn connect(&mut self, app: Arc<App>, is_offerer: bool) -> (Connection, Arc<Line>) {
        let connection = Connection::default();
        let line = Arc::new(Line {
            app: app.clone(),
            connection: connection.clone(),
            channel: Mutex::default(),
            changed: Condvar::new(),
            is_offerer,
        });
        let mut config = RtcConfig::new::<&str>(&[]).bind_address(&"127.0.0.1");
        config.disable_auto_negotiation = true;
        let made = RtcPeerConnection::new(&config, Handler(line.clone())).expect("a connection");
        *connection.lock().expect("no panics") = Some(made);
        self.connections.insert((is_offerer, app.number), (connection.clone(), line.clone()));
        (connection, line)
    }
}

impl Stack for Libdatachannel {
    fn offer(&mut self, channel: ChannelKind, app: Arc<App>) {
        let (connection, line) = self.connect(app, true);
        let mut reliability = Reliability::default();
        reliability.unordered = !channel.ordered;
        // With no lifetime and no retransmissions: once.
        reliability.unreliable = !channel.reliable;
        let init = DataChannelInit::default().reliability(reliability);
        let mut connection = connection.lock().expect("no panics");
        let connection = connection.as_mut().expect("just made");
        let channel =
            connection.create_data_channel_ex("bench", Handler(line.clone()), &init).expect("a channel");
        line.take(channel);
        connection.set_local_description(SdpType::Offer).expect("an offer");
    }

    fn accept(&mut self, sdp: String, app: Arc<App>) {
        let (connection, _) = self.connect(app, false);
        let mut connection = connection.lock().expect("no panics");
        let connection = connection.as_mut().expect("just made");
        connection.set_remote_description(&description(sdp, SdpType::Offer)).expect("a good offer");
        connection.set_local_description(SdpType::Answer).expect("an answer");
    }

    fn answered(&mut self, number: u32, sdp: String) {
        let mut connection = self.connections[&(true, number)].0.lock().expect("no panics");
        let connection = connection.as_mut().expect("just made");
        connection.set_remote_description(&description(sdp, SdpType::Answer)).expect("a good answer");
    }

    fn close(&mut self, number: u32) {
        for is_offerer in [true, false] {
            if let Some((connection, line)) = self.connections.remove(&(is_offerer, number)) {
                // Their ends wait for callbacks, which orders must not.
                thread::spawn(move || {
                    let channel = line.channel.lock().expect("no panics").channel.take();
                    drop(channel);
                    let connection = connection.lock().expect("no panics").take();
                    drop(connection);
                });
            }
        }
    }
}

fn description(sdp: String, sdp_type: SdpType) -> SessionDescription {
    let value = serde_json::json!({ "sdp": sdp, "type": sdp_type });
    serde_json::from_value(value).expect("a description")
}
