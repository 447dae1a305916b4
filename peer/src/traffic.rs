//! What has gone over each path: DTLS datagrams, which is all that is not ICE's.

use std::time::Instant;

use sinnet_ice::Path;

/// Paths that are remembered. At the limit the one that has been silent longest makes room.
const MAX_PATHS: usize = 32;

/// The data part of W3C's `RTCIceCandidatePairStats`. Counts are of UDP payloads without ICE's checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PairTraffic {
    /// DTLS datagrams sent.
    pub packets_sent: u64,
    /// Bytes of them.
    pub bytes_sent: u64,
    /// DTLS datagrams received while the pair was validated.
    pub packets_received: u64,
    /// Bytes of them.
    pub bytes_received: u64,
    /// When the last one was sent. W3C: `lastPacketSentTimestamp`.
    pub last_packet_sent: Option<Instant>,
    /// When the last one came in. W3C: `lastPacketReceivedTimestamp`.
    pub last_packet_received: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Traffic {
    paths: Vec<(Path, PairTraffic)>,
    /// Where the last one was found: nearly all are of one path.
    latest: usize,
    /// Over all paths, forgotten ones included.
    pub(crate) total: PairTraffic,
}

impl Traffic {
    pub(crate) fn sent(&mut self, now: Instant, path: Path, packets: usize, bytes: usize) {
        let (packets, bytes) = (packets as u64, bytes as u64);
        let Self { total, .. } = self;
        (total.packets_sent, total.bytes_sent) = (total.packets_sent + packets, total.bytes_sent + bytes);
        total.last_packet_sent = Some(now);
        let pair = self.of_mut(path);
        (pair.packets_sent, pair.bytes_sent) = (pair.packets_sent + packets, pair.bytes_sent + bytes);
        pair.last_packet_sent = Some(now);
    }

    pub(crate) fn received(&mut self, now: Instant, path: Path, bytes: usize) {
        let total = &mut self.total;
        (total.packets_received, total.bytes_received) =
            (total.packets_received + 1, total.bytes_received + bytes as u64);
        total.last_packet_received = Some(now);
        let pair = self.of_mut(path);
        (pair.packets_received, pair.bytes_received) =
            (pair.packets_received + 1, pair.bytes_received + bytes as u64);
        pair.last_packet_received = Some(now);
    }

    pub(crate) fn of(&self, path: Path) -> PairTraffic {
        self.paths.iter().find(|(known, _)| *known == path).map(|(_, pair)| *pair).unwrap_or_default()
    }

    fn of_mut(&mut self, path: Path) -> &mut PairTraffic {
        if self.paths.get(self.latest).is_none_or(|(known, _)| *known != path) {
            self.latest = match self.paths.iter().position(|(known, _)| *known == path) {
                Some(at) => at,
                None => self.add(path),
            };
        }
        &mut self.paths[self.latest].1
    }

    fn add(&mut self, path: Path) -> usize {
        let new = (path, PairTraffic::default());
        if self.paths.is_empty() {
            // Most connections have one.
            self.paths.reserve_exact(1);
        }
        if self.paths.len() < MAX_PATHS {
            self.paths.push(new);
            return self.paths.len() - 1;
        }
        let last = |pair: &PairTraffic| pair.last_packet_sent.max(pair.last_packet_received);
        let silent = (0..self.paths.len()).min_by_key(|at| last(&self.paths[*at].1)).unwrap_or(0);
        self.paths[silent] = new;
        silent
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
    fn base() -> Instant {
        Instant::now()
    }

    #[test]
    fn paths_are_told_apart_and_a_limited_number_is_kept() {
        let now = base();
        let path = |port| Path::udp(([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], port).into());
        let mut traffic = Traffic::default();
        for i in 0..100 {
            let later = now + Duration::from_millis(i.into());
            traffic.sent(later, path(7), 10, 1000);
            traffic.received(later, path(1000 + i), 100);
        }
        assert_eq!(traffic.paths.len(), MAX_PATHS);
        let busy = traffic.of(path(7));
        assert_eq!((busy.packets_sent, busy.bytes_sent, busy.packets_received), (1000, 100_000, 0));
        assert_eq!(traffic.of(path(1000)), PairTraffic::default(), "the oldest is forgotten");
        assert_eq!(traffic.of(path(1099)).bytes_received, 100);
        assert_eq!((traffic.total.packets_received, traffic.total.bytes_received), (100, 10_000));
        assert_eq!(traffic.total.bytes_sent, 100_000);
    }
}
