//! The implementations and algorithms that the tables compare.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_sctp::{Config, Congestion};

use crate::{Dcsctp, DcsctpOptions, Endpoint, Ours, SctpProto, SctpProtoOptions};

/// The largest packet of all of them.
const MTU: usize = 1160;

/// The receive window of all of them, in bytes.
const RECEIVE_BUFFER: usize = 64 << 20;

/// What is at both ends of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `sinnet-sctp` with this congestion control.
    Ours(Congestion),
    /// The `dcsctp` crate.
    Dcsctp,
    /// The `sctp-proto` crate.
    SctpProto,
}

impl Kind {
    /// All of them, in the order of the tables' columns: ours first, the default first of all.
    pub const ALL: &[Self] = &[
        Self::Ours(Congestion::Cubic),
        Self::Ours(Congestion::NewReno),
        Self::Ours(Congestion::Bbr),
        Self::Dcsctp,
        Self::SctpProto,
    ];

    /// Those with our SCTP.
    pub fn ours() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|kind| matches!(kind, Self::Ours(_)))
    }

    /// The name above the column.
    pub fn name(self) -> String {
        match self {
            Self::Ours(congestion) => format!("{congestion:?}").to_lowercase(),
            Self::Dcsctp => "dcsctp".to_owned(),
            Self::SctpProto => "sctp-proto".to_owned(),
        }
    }

    /// An end with the settings of the tables: all have the same packets, buffers that hold more than the path, the
    /// timers that Chromium sets, and no limit to retransmissions. `send_buffer` is in bytes.
    pub fn end(self, send_buffer: usize, now: Instant, seed: u64) -> Box<dyn Endpoint> {
        match self {
            Self::Ours(congestion) => {
                let mut config = Config::default();
                config.mtu = MTU;
                config.send_buffer = send_buffer;
                // The transfer would fill one that follows the path, and a short message beside it be refused.
                config.initial_send_buffer = send_buffer;
                config.receive_buffer = RECEIVE_BUFFER;
                config.max_message_size_recv = 1 << 20;
                config.max_retransmissions = None;
                config.max_init_retransmissions = None;
                config.congestion = congestion;
                Box::new(Ours::new(config, now, StdRng::seed_from_u64(seed).random()))
            }
            Self::Dcsctp => {
                let options = DcsctpOptions {
                    mtu: MTU,
                    receive_buffer: RECEIVE_BUFFER,
                    send_buffer,
                    zero_checksum: true,
                    ..DcsctpOptions::default()
                };
                Box::new(Dcsctp::new(options, now, seed))
            }
            Self::SctpProto => {
                let options =
                    SctpProtoOptions { mtu: MTU as u32, receive_buffer: RECEIVE_BUFFER as u32, send_buffer };
                Box::new(SctpProto::new(options))
            }
        }
    }
}
