//! Our own end.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sinnet_sctp::{Association, Config, Event, Ppid, SendOptions, Stats, StreamId};

use super::End;

/// Packets in a batch.
const BATCH: usize = 40;

const STREAM: StreamId = StreamId(1);

/// An association, and the buffer that a driver has for a batch.
#[derive(Debug)]
pub struct Ours {
    association: Association,
    packet_len: usize,
    batch: Vec<u8>,
}

impl Ours {
    /// Two ends, the first of which is about to begin.
    #[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
    pub fn pair(config: Config) -> (Self, Self) {
        let now = Instant::now();
        let config = Arc::new(config);
        let end = |seed| Self {
            association: Association::new(config.clone(), now, [seed; 32]),
            packet_len: config.mtu,
            batch: vec![0; BATCH * config.mtu],
        };
        let (mut a, z) = (end(1), end(2));
        a.association.connect(now);
        (a, z)
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.association.stats()
    }
}

impl End for Ours {
    fn send(&mut self, now: Instant, payload: &Bytes) -> bool {
        self.association.send(now, STREAM, Ppid(53), payload.clone(), SendOptions::default()).is_ok()
    }

    fn unacked(&mut self) -> usize {
        self.association.total_buffered()
    }

    fn carry(&mut self, to: &mut Self, now: Instant) -> usize {
        let mut lengths = [0; BATCH];
        let mut count = 0;
        for (slot, length) in self.batch.chunks_exact_mut(self.packet_len).zip(&mut lengths) {
            let Some(len) = self.association.poll_transmit(now, slot) else { break };
            *length = len;
            count += 1;
        }
        for (slot, &len) in self.batch.chunks_exact(self.packet_len).zip(&lengths).take(count) {
            to.association.handle_input(now, &slot[..len]);
        }
        count
    }

    fn read(&mut self) -> (usize, usize) {
        while let Some(event) = self.association.poll_event() {
            assert!(!matches!(event, Event::Closed(_)));
        }
        let (mut bytes, mut messages) = (0, 0);
        while let Some(message) = self.association.recv(STREAM) {
            bytes += message.payload.len();
            messages += 1;
        }
        (bytes, messages)
    }

    fn deadline(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    fn timeout(&mut self, now: Instant) {
        self.association.handle_timeout(now);
    }

    fn is_established(&self) -> bool {
        self.association.is_established()
    }
}
