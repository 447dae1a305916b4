//! `rtc`, webrtc-rs without I/O, on the [plain driver](super::plain_driver).
//!
//! - Its loop as documented: `poll_write`, `poll_event`, `poll_read` until there is no more, after each burst of datagrams;
//!   `handle_timeout` when `poll_timeout` is due.
//! - Back-pressure by `outstanding_bytes`, as `webrtc` has it on top of this library: 1 MiB, its receive window, which is also
//!   the threshold of its example `data-channels-flow-control`. On paths with a delay limit and window are 16 MiB: of 1, 16,
//!   32 and 64 MiB that is the best for `webrtc`, which stands nearly still with 32 and loses the connection with 64.
//! - Messages of 256 KiB are allowed by `with_sctp_max_message_size` (its default is 64 KiB).
//! - Certificates are made once per process.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::BytesMut;
use rtc::crypto::{self, SignatureScheme};
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelInit};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::setting_engine::{
    SctpMaxMessageSize, SettingEngine, SettingEngineBuilder,
};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::Setup;
use super::plain_driver::{Core, Wire};
use crate::run::app::App;
use crate::run::link::Channel;

pub struct Rtc {
    pc: RTCPeerConnection,
    channel: Option<RTCDataChannelId>,
    app: Arc<App>,
    is_over: bool,
    buffer: u32,
}

/// One for all of this process's connections.
pub fn certificate() -> RTCCertificate {
    static CERTIFICATE: OnceLock<RTCCertificate> = OnceLock::new();
    let make = || {
        let provider = crypto::default_provider().expect("cryptography");
        let names = CertificateParams::new(vec!["bench".to_owned()]).expect("a name");
        RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, names)
            .expect("a certificate")
    };
    CERTIFICATE.get_or_init(make).clone()
}

/// The send buffer's limit and the receive window.
pub fn buffer(setup: Setup) -> u32 {
    if setup.is_delayed { 16 * 1024 * 1024 } else { 1024 * 1024 }
}

/// Settings that are said to be for throughput.
pub fn settings(setup: Setup) -> SettingEngine {
    SettingEngineBuilder::new()
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(256 * 1024))
        .with_sctp_max_receive_buffer_size(buffer(setup))
        .build()
}

impl Rtc {
    fn new(setup: Setup, now: Instant, app: Arc<App>) -> Self {
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![certificate()]).build();
        let builder = RTCPeerConnectionBuilder::new().with_configuration(configuration);
        let pc = builder.with_setting_engine(settings(setup)).build(now).expect("a connection");
        Self { pc, channel: None, app, is_over: false, buffer: buffer(setup) }
    }

    fn add_candidate(&mut self, local: SocketAddr) {
        let base_config = CandidateConfig {
            network: "udp".to_owned(),
            address: local.ip().to_string(),
            port: local.port(),
            component: 1,
            ..Default::default()
        };
        let candidate = CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host();
        let candidate =
            RTCIceCandidate::from(&candidate.expect("a candidate")).to_json().expect("a candidate");
        self.pc.add_local_candidate(candidate).expect("a good candidate");
    }

    fn local_sdp(&self) -> String {
        self.pc.local_description().expect("our own").sdp
    }

    fn has_room(&mut self) -> bool {
        let channel = self.channel.and_then(|id| self.pc.data_channel(id));
        !self.is_over
            && channel
                .map(|channel| channel.outstanding_bytes())
                .is_some_and(|bytes| bytes < self.buffer as usize)
    }

    fn send(&mut self, now: Instant, message: &[u8]) -> bool {
        let channel = self.channel.and_then(|id| self.pc.data_channel(id));
        channel.is_some_and(|mut channel| channel.send(now, BytesMut::from(message)).is_ok())
    }

    fn event(&mut self, now: Instant, event: RTCPeerConnectionEvent) {
        match event {
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                self.channel = Some(id);
                if let Some(message) = self.app.opened() {
                    self.send(now, &message);
                }
            }
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(
                state @ (RTCPeerConnectionState::Failed | RTCPeerConnectionState::Disconnected),
            ) => self.over(&state.to_string()),
            _ => {}
        }
    }

    fn over(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.app.lost(why);
        }
    }
}

impl Core for Rtc {
    fn offer(
        setup: Setup,
        now: Instant,
        local: SocketAddr,
        channel: Channel,
        app: Arc<App>,
    ) -> (Self, String) {
        let mut this = Self::new(setup, now, app);
        let max_retransmits = if channel.reliable { None } else { Some(0) };
        let init = RTCDataChannelInit { ordered: channel.ordered, max_retransmits, ..Default::default() };
        this.pc.create_data_channel("bench", Some(init)).expect("a channel");
        this.add_candidate(local);
        let offer = this.pc.create_offer(None).expect("an offer");
        this.pc.set_local_description(now, offer).expect("our own");
        let sdp = this.local_sdp();
        (this, sdp)
    }

    fn accept(setup: Setup, now: Instant, local: SocketAddr, sdp: String, app: Arc<App>) -> (Self, String) {
        let mut this = Self::new(setup, now, app);
        this.add_candidate(local);
        let offer = RTCSessionDescription::offer(sdp).expect("a good offer");
        this.pc.set_remote_description(now, offer).expect("a good offer");
        let answer = this.pc.create_answer(None).expect("an answer");
        this.pc.set_local_description(now, answer).expect("our own");
        let sdp = this.local_sdp();
        (this, sdp)
    }

    fn answered(&mut self, now: Instant, sdp: String, _: &Wire) {
        let answer = RTCSessionDescription::answer(sdp).expect("a good answer");
        self.pc.set_remote_description(now, answer).expect("a good answer");
    }

    fn receive(&mut self, now: Instant, peer_addr: SocketAddr, datagram: &[u8], wire: &Wire) {
        let transport = TransportContext {
            local_addr: wire.local,
            peer_addr,
            ecn: None,
            transport_protocol: TransportProtocol::UDP,
        };
        // Its errors are about single datagrams.
        let _ = self.pc.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(datagram) });
    }

    fn timeout(&mut self, now: Instant, _: &Wire) {
        if let Err(error) = self.pc.handle_timeout(now) {
            self.over(&error.to_string());
        }
    }

    fn turn(&mut self, now: Instant, wire: &Wire) -> Option<Instant> {
        loop {
            while let Some(out) = self.pc.poll_write() {
                wire.send(&out.message, out.transport.peer_addr);
            }
            let mut has_sent = false;
            while let Some(event) = self.pc.poll_event() {
                self.event(now, event);
                has_sent = true;
            }
            while let Some(TaggedRTCMessage { message, .. }) = self.pc.poll_read() {
                if let RTCMessage::DataChannelMessage(_, message) = message
                    && let Some(answer) = self.app.received(message.data.len())
                {
                    self.send(now, &answer);
                    has_sent = true;
                }
            }
            let app = self.app.clone();
            while let Some(message) = app.flood()
                && self.has_room()
                && self.send(now, message)
            {
                app.sent();
                has_sent = true;
            }
            if !has_sent {
                break;
            }
        }
        self.pc.poll_timeout().filter(|_| !self.is_over)
    }

    fn close(&mut self, now: Instant, wire: &Wire) {
        self.is_over = true;
        let _ = self.pc.close();
        self.turn(now, wire);
    }
}
