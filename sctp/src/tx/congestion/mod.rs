//! Congestion control: the interface, and what there is to choose from.
//!
//! All sizes are bytes of DATA chunks on the wire, headers included, so that a million one-byte messages
//! count as what they cost the path. Every acknowledged byte counts once, however many SACKs it took to say so
//! (appropriate byte counting, RFC 3465).

mod bbr;
mod cubic;
mod hystart;
mod new_reno;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use self::bbr::Bbr;
use self::cubic::Cubic;
use self::new_reno::NewReno;
use super::delivery::{LossSample, RateSample};
use crate::config::{Config, Congestion};

/// The limit `L` of one slow-start step, in packets (RFC 9260 §7.2.1: SHOULD be 1, MAY be larger; RFC 3465).
/// One SACK covers a receive batch here, which can be 64 datagrams; bytes are counted once each, so splitting
/// acknowledgements gains a peer nothing.
const SLOW_START_LIMIT: usize = 128;

/// What an acknowledgement told the sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    /// When it arrived.
    pub(crate) now: Instant,
    /// Newly acknowledged.
    pub(crate) bytes: usize,
    /// What it acknowledges was sent when the congestion window was full. A window that is not used must not
    /// grow.
    pub(crate) window_was_full: bool,
    /// Whether the cumulative TSN ack point moved.
    pub(crate) cumulative_advanced: bool,
    /// Whether losses are being repaired.
    pub(crate) in_fast_recovery: bool,
    /// Whether everything sent is acknowledged now.
    pub(crate) all_acked: bool,
    /// The cumulative TSN ack, unwrapped.
    pub(crate) cumulative: u64,
    /// The TSN that new data gets next, unwrapped.
    pub(crate) next_tsn: u64,
    /// The round trip of the newest chunk it acknowledges, unless that was sent more than once.
    pub(crate) rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub(crate) srtt: Option<Duration>,
    /// In flight now.
    pub(crate) in_flight: usize,
    /// How fast it was delivered; only for controllers that [want it](CongestionControl::wants_rate).
    pub(crate) rate: Option<RateSample>,
}

/// A chunk found lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    /// When that was found.
    pub(crate) now: Instant,
    /// Its TSN, unwrapped. Chunks lost together are reported in the order of their TSNs.
    pub(crate) tsn: u64,
    /// Nothing was being repaired before.
    pub(crate) is_first: bool,
    /// What is known about it.
    pub(crate) sample: LossSample,
}

/// Decides how much may be in flight.
pub(crate) trait CongestionControl: Debug + Send {
    /// The congestion window.
    fn cwnd(&self) -> usize;
    /// The slow-start threshold; `usize::MAX` before the first loss.
    fn ssthresh(&self) -> usize;
    /// Data was acknowledged.
    fn on_ack(&mut self, acked: Acked);
    /// Losses started a fast recovery.
    fn on_fast_recovery(&mut self);
    /// T3-rtx ran out.
    fn on_timeout(&mut self);
    /// Nothing was sent for this many RTOs.
    fn on_idle(&mut self, rtos: u32);
    /// Full packets have another size from now on; bytes stay what they are (RFC 8899 §3, item 7).
    fn set_packet_len(&mut self, mtu: usize);
    /// What the last `on_fast_recovery` or `on_timeout` was about turned out to be no loss.
    fn undo(&mut self);

    /// Whether to sample the delivery rate for it, and to report losses chunk by chunk. What follows is for
    /// controllers that say yes; the others go by windows alone.
    fn wants_rate(&self) -> bool {
        false
    }
    /// How fast to send, in bytes a second, headers of chunks included.
    fn pacing_rate(&self) -> Option<f64> {
        None
    }
    /// It holds back on its own account: what is delivered now says nothing about the path.
    fn is_holding_back(&self) -> bool {
        false
    }
    /// A chunk was found lost: before the `on_ack` of the SACK that showed it, or after `on_timeout`.
    fn on_lost(&mut self, _lost: Lost) {}
    /// Something is sent with nothing in flight, because there was nothing to send.
    fn on_restart(&mut self, _now: Instant) {}
}

/// The algorithm that the settings name. `mtu` is the path's maximum for DATA chunks, the PMDCS of RFC 9260
/// §6.9: without the common header. `seed` spreads what many connections would do at the same time.
pub(crate) fn controller(config: &Config, mtu: usize, seed: u32) -> Box<dyn CongestionControl> {
    match config.congestion {
        Congestion::Bbr => Box::new(Bbr::new(mtu, config.initial_cwnd_packets, seed)),
        Congestion::Cubic => Box::new(Cubic::new(mtu, config.initial_cwnd_packets)),
        Congestion::NewReno => Box::new(NewReno::new(mtu, config.initial_cwnd_packets)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An acknowledgement of a window in full use, outside of recovery.
    pub(super) fn acked(now: Instant, bytes: usize) -> Acked {
        Acked {
            now,
            bytes,
            window_was_full: true,
            cumulative_advanced: true,
            in_fast_recovery: false,
            all_acked: false,
            cumulative: 0,
            next_tsn: 0,
            rtt: None,
            srtt: Some(Duration::from_millis(100)),
            in_flight: 0,
            rate: None,
        }
    }
}
