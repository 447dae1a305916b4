//! The stacks that are compared, each in a file of its own with what was tuned in it and why.

mod floor;
#[cfg(feature = "libdatachannel")]
mod libdatachannel;
mod plain_driver;
mod rtc;
mod sinnet;
mod str0m;
mod webrtc;

use std::sync::Arc;

use ::sinnet::Congestion;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::run::app::App;
use crate::run::link::Channel;

/// Kernel buffer of each UDP socket and direction, bytes. Whoever leaves it at the system's 208 KiB loses datagrams as soon as
/// the receive window is larger, and with them seconds to retransmission timers.
pub const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// One process's share of a stack. Calls return at once; what comes of them is told to the connection's [`App`].
pub trait Stack {
    /// Makes a connection with one channel, and its offer with a candidate on 127.0.0.1: [`App::described`].
    fn offer(&mut self, channel: Channel, app: Arc<App>);
    /// Answers an offer: [`App::described`].
    fn accept(&mut self, sdp: String, app: Arc<App>);
    /// Our offer was answered.
    fn answered(&mut self, number: u32, sdp: String);
    /// Ends a connection.
    fn close(&mut self, number: u32);
}

/// Who is where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Offerers in one process, answerers in another; each process has a core.
    Apart,
    /// Both in this process, which has two cores, and at most 256 pairs.
    Together,
}

/// What a child is told before it begins.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub layout: Layout,
    /// The path has a round-trip time worth a larger buffer.
    pub is_delayed: bool,
}

/// The stacks by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerName {
    /// Ours
    Sinnet,
    /// Ours with `PeerConfig::congestion` set to BBR, over paths
    SinnetBbr,
    /// webrtc-rs without I/O, on a plain driver
    Rtc,
    /// webrtc-rs on tokio
    Webrtc,
    /// str0m, on a plain driver
    Str0m,
    /// libdatachannel (C++)
    #[cfg(feature = "libdatachannel")]
    Libdatachannel,
    /// No stack: a system call a datagram
    Udp,
    /// No stack: batches by UDP_SEGMENT and UDP_GRO, AES-128-GCM a datagram
    UdpGsoAes,
}

impl PeerName {
    /// As it is written on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sinnet => "sinnet",
            Self::SinnetBbr => "sinnet-bbr",
            Self::Rtc => "rtc",
            Self::Webrtc => "webrtc",
            Self::Str0m => "str0m",
            #[cfg(feature = "libdatachannel")]
            Self::Libdatachannel => "libdatachannel",
            Self::Udp => "udp",
            Self::UdpGsoAes => "udp-gso-aes",
        }
    }

    /// Starts it in this process.
    pub fn start(self, setup: Setup) -> Box<dyn Stack> {
        match self {
            Self::Sinnet => Box::new(sinnet::Sinnet::new(setup, Congestion::default())),
            Self::SinnetBbr => Box::new(sinnet::Sinnet::new(setup, Congestion::Bbr)),
            Self::Rtc => Box::new(plain_driver::PlainDriver::<rtc::Rtc>::new(setup)),
            Self::Webrtc => Box::new(webrtc::Webrtc::new(setup)),
            Self::Str0m => Box::new(plain_driver::PlainDriver::<str0m::Str0m>::new(setup)),
            #[cfg(feature = "libdatachannel")]
            Self::Libdatachannel => Box::new(libdatachannel::Libdatachannel::new()),
            Self::Udp => Box::new(floor::Floor::new(false)),
            Self::UdpGsoAes => Box::new(floor::Floor::new(true)),
        }
    }
}
