//! str0m on the [plain driver](super::plain_driver).
//!
//! - Its run loop as documented: one mutation, then `poll_output` until it gives a timeout. So it is drained after each
//!   datagram, and after each message of a flood.
//! - Messages are written until `Channel::write` says no, and again at `ChannelBufferedAmountLow` with half of the buffer as
//!   threshold. The buffer is its default of 128 KiB, twice the message if that is more: on loopback a larger one makes it
//!   slower. Its documentation says to raise it where rate times round trip exceeds it, so on paths with a delay it is 1 MiB,
//!   which is the receive window.
//! - No codecs, no media. Cryptography by aws-lc-rs, its default. One certificate per process.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::crypto::dtls::DtlsCert;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, RtcConfig};

use super::Setup;
use super::plain_driver::{Core, Wire};
use crate::run::app::App;
use crate::run::link::Channel;

pub struct Str0m {
    rtc: str0m::Rtc,
    pending: Option<SdpPendingOffer>,
    channel: Option<ChannelId>,
    app: Arc<App>,
    /// The last write was refused, and there is no word of room since.
    is_full: bool,
    /// The end was told.
    is_over: bool,
    deadline: Option<Instant>,
    low_threshold: usize,
}

impl Str0m {
    fn new(setup: Setup, now: Instant, local: SocketAddr, app: Arc<App>) -> Self {
        static CERTIFICATE: OnceLock<DtlsCert> = OnceLock::new();
        let certificate = CERTIFICATE.get_or_init(|| {
            let crypto = str0m::crypto::from_feature_flags();
            let certificate = crypto.dtls_provider.generate_certificate().expect("a certificate");
            crypto.install_process_default();
            certificate
        });
        let message = app.flood().map_or(0, |message| message.len());
        let buffer = if setup.is_delayed { 1024 * 1024 } else { 128 * 1024 };
        let buffer = buffer.max(2 * message);
        let config = RtcConfig::new().clear_codecs().set_dtls_cert(certificate.clone());
        let mut rtc = config.set_sctp_max_buffered_amount(buffer).build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        let low_threshold = buffer / 2;
        Self {
            rtc,
            pending: None,
            channel: None,
            app,
            is_full: false,
            is_over: false,
            deadline: None,
            low_threshold,
        }
    }

    fn write(&mut self, message: &[u8]) -> bool {
        let channel = self.channel.and_then(|id| self.rtc.channel(id));
        matches!(channel.map(|mut channel| channel.write(true, message)), Some(Ok(true)))
    }

    /// Until there is no more output.
    fn drain(&mut self, wire: &Wire) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.deadline = Some(at);
                    return;
                }
                Ok(Output::Transmit(transmit)) => wire.send(&transmit.contents, transmit.destination),
                Ok(Output::Event(event)) => self.event(event),
                Err(error) => {
                    self.over(&error.to_string());
                    self.deadline = None;
                    return;
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                if let Some(mut channel) = self.rtc.channel(id) {
                    channel.set_buffered_amount_low_threshold(self.low_threshold);
                }
                if let Some(message) = self.app.opened() {
                    self.write(&message);
                }
            }
            Event::ChannelData(data) => {
                if let Some(message) = self.app.received(data.data.len()) {
                    self.write(&message);
                }
            }
            Event::ChannelBufferedAmountLow(_) => self.is_full = false,
            Event::IceConnectionStateChange(str0m::IceConnectionState::Disconnected) => {
                self.over("disconnected")
            }
            _ => {}
        }
    }

    fn over(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.app.lost(why);
        }
    }
}

impl Core for Str0m {
    fn offer(
        setup: Setup,
        now: Instant,
        local: SocketAddr,
        channel: Channel,
        app: Arc<App>,
    ) -> (Self, String) {
        let mut this = Self::new(setup, now, local, app);
        let reliability = match channel.reliable {
            true => Reliability::Reliable,
            false => Reliability::MaxRetransmits { retransmits: 0 },
        };
        let mut change = this.rtc.sdp_api();
        let config = ChannelConfig {
            label: "bench".to_owned(),
            ordered: channel.ordered,
            reliability,
            ..Default::default()
        };
        change.add_channel_with_config(config);
        let (offer, pending) = change.apply().expect("an offer");
        this.pending = Some(pending);
        (this, offer.to_sdp_string())
    }

    fn accept(setup: Setup, now: Instant, local: SocketAddr, sdp: String, app: Arc<App>) -> (Self, String) {
        let mut this = Self::new(setup, now, local, app);
        let offer = SdpOffer::from_sdp_string(&sdp).expect("a good offer");
        let answer = this.rtc.sdp_api().accept_offer(offer).expect("an answer");
        (this, answer.to_sdp_string())
    }

    fn answered(&mut self, _: Instant, sdp: String, wire: &Wire) {
        let answer = SdpAnswer::from_sdp_string(&sdp).expect("a good answer");
        let pending = self.pending.take().expect("an offer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("a good answer");
        self.drain(wire);
    }

    fn receive(&mut self, now: Instant, source: SocketAddr, datagram: &[u8], wire: &Wire) {
        let Ok(contents) = datagram.try_into() else { return };
        let received = Receive { proto: Protocol::Udp, source, destination: wire.local, contents };
        if let Err(error) = self.rtc.handle_input(Input::Receive(now, received)) {
            self.over(&error.to_string());
        }
        self.drain(wire);
    }

    fn timeout(&mut self, now: Instant, wire: &Wire) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.over(&error.to_string());
        }
        self.drain(wire);
    }

    fn turn(&mut self, _: Instant, wire: &Wire) -> Option<Instant> {
        self.drain(wire);
        while self.channel.is_some() && !self.is_full && !self.is_over {
            let app = self.app.clone();
            let Some(message) = app.flood() else { break };
            match self.write(message) {
                true => app.sent(),
                false => self.is_full = true,
            }
            self.drain(wire);
        }
        self.deadline.filter(|_| !self.is_over)
    }

    fn close(&mut self, _: Instant, wire: &Wire) {
        self.is_over = true;
        self.rtc.disconnect();
        self.drain(wire);
    }
}
