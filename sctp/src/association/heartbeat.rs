//! HEARTBEAT (RFC 9260 §8.3): one when nothing has come from the peer for a while, with a nonce that only an
//! honest echo can know. While much is received one a second measures the round trip for the receive window; that
//! it may be lost counts for nothing.

use std::time::{Duration, Instant};

use rand::Rng;

use super::Association;
use super::probe::PROBE_INFO_LEN;
use crate::wire::be64;
use crate::wire::chunk::{ChunkType, RawChunk};
use crate::wire::param::{ParamType, Params};
use crate::wire::writer::PacketWriter;

/// State of the heartbeats.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    deadline: Option<Instant>,
    /// Nonce and time of the one that is not answered.
    outstanding: Option<(u64, Instant)>,
    /// The same of the one that measures the round trip.
    rtt_probe: Option<(u64, Instant)>,
    /// When the peer was last heard.
    heard: Option<Instant>,
}

impl Heartbeat {
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }
}

impl Association {
    /// Starts the idle timer. The interval is jittered by half an RTO either way (RFC 9260 §8.3).
    pub(super) fn start_heartbeat(&mut self, now: Instant) {
        let interval = self.config.heartbeat_interval;
        if interval.is_zero() {
            return;
        }
        let rto = self.tx.rto.rto();
        let jitter = rto.mul_f64(f64::from(self.seed.rng().next_u32()) / f64::from(u32::MAX));
        self.heartbeat.deadline = Some(now + interval + rto / 2 + jitter);
    }

    pub(super) fn on_heartbeat_timer(&mut self, now: Instant) {
        if self.heartbeat.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        if self.heartbeat.outstanding.take().is_some() {
            self.count_error();
            if self.is_closed() {
                return;
            }
        }
        self.start_heartbeat(now);
        let idle_since = self.heartbeat.heard.unwrap_or(now);
        let due = idle_since + self.config.heartbeat_interval;
        if due <= now {
            self.control.heartbeat = true;
        } else {
            // Something came in the meantime: the idle time begins there.
            self.heartbeat.deadline = Some(due);
        }
    }

    pub(super) fn write_heartbeat(&mut self, now: Instant, packet: &mut PacketWriter<'_>) {
        let nonce = self.seed.rng().next_u64();
        let mut info = [0; 12];
        info[..2].copy_from_slice(&ParamType::HEARTBEAT_INFO.0.to_be_bytes());
        info[2..4].copy_from_slice(&12u16.to_be_bytes());
        info[4..].copy_from_slice(&nonce.to_be_bytes());
        if packet.chunk(ChunkType::HEARTBEAT, 0, &[&info]) {
            if std::mem::take(&mut self.control.heartbeat) {
                self.heartbeat.outstanding = Some((nonce, now));
            }
            if std::mem::take(&mut self.control.rtt_probe) {
                self.heartbeat.rtt_probe = Some((nonce, now));
            }
        }
    }

    pub(super) fn on_heartbeat(&mut self, chunk: &RawChunk<'_>) {
        if !self.control.heartbeat_ack(chunk.value) {
            self.stats.dropped_chunks += 1;
        }
    }

    pub(super) fn on_heartbeat_ack(&mut self, now: Instant, chunk: &RawChunk<'_>) {
        let info = Params::new(chunk.value)
            .next()
            .and_then(Result::ok)
            .filter(|param| param.kind == ParamType::HEARTBEAT_INFO);
        if let Some(info) = info.filter(|info| info.value.len() == PROBE_INFO_LEN) {
            self.on_size_probe_ack(now, &info);
            return;
        }
        let nonce = info.filter(|info| info.value.len() == 8).and_then(|info| be64(info.value, 0));
        let answers = |slot: &mut Option<(u64, Instant)>| {
            slot.take_if(|(expected, _)| nonce == Some(*expected)).map(|(_, sent)| sent)
        };
        let idle = answers(&mut self.heartbeat.outstanding);
        let probe = answers(&mut self.heartbeat.rtt_probe);
        let Some(sent) = idle.or(probe) else {
            self.stats.dropped_chunks += 1;
            return;
        };
        self.error_count = 0;
        let rtt: Duration = now.saturating_duration_since(sent);
        self.tx.measured(rtt);
        if probe.is_some() {
            self.rx.window.measured(rtt);
        }
    }
}
