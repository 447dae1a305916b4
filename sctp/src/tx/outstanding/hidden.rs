//! Chunks of which a SACK had no room to speak.
//!
//! A SACK in a packet of 1160 bytes has room for 283 gap ack blocks. When more is missing than that, because slow
//! start has overrun a long path's queue, nothing is said of what lies above the last block: received or lost, it
//! would count as in flight until T3 runs out, and the congestion window would be full of it. But what was sent
//! before something that has been acknowledged has left the path, one way or the other (RFC 8985 §4). So it stays
//! unacknowledged, and no longer counts against the congestion window.
//!
//! ```text
//!   cumulative ack        last block            newest acknowledged, by time
//!   ──────┴── blocks and holes ──┴──── hidden ────────────┴──── in flight ────
//! ```

use super::{ChunkState, Outstanding, SentChunk, is_not_after};

/// From so many blocks on, a SACK may have left out some: half of what fits a packet of the smallest size in use.
const MANY_BLOCKS: usize = 128;

/// In [`SentChunk::flags`]: it counts as hidden.
pub(super) const HIDDEN: u8 = 0x40;

/// What is hidden.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hidden {
    /// In wire bytes; a part of what is in flight.
    bytes: usize,
    /// The TSNs that were looked at: from the one after the last block to before this one.
    from: u64,
    to: u64,
}

impl Outstanding {
    /// Bytes that may be between the two ends: what is in flight without what is hidden.
    pub(crate) fn flight_on_path(&self) -> usize {
        self.flight - self.hidden.bytes
    }

    /// Finds what the last SACK could not tell about: sent not after `sent_at`, and above its last block.
    pub(crate) fn find_hidden(&mut self, sent_at: u32) {
        let from = match self.sacked.last() {
            Some(&(_, end)) if self.sacked.len() >= MANY_BLOCKS => end + 1,
            _ => self.next_tsn(),
        };
        // What the blocks have reached is no longer hidden; with few blocks that is all.
        for tsn in self.hidden.from.max(self.first)..from.min(self.hidden.to) {
            self.reveal(tsn);
        }
        if from == self.next_tsn() {
            self.hidden = Hidden::default();
            return;
        }
        self.hidden.from = from;
        self.hidden.to = self.hidden.to.max(from);
        while let Some(chunk) = self.get_mut(self.hidden.to) {
            if chunk.state == ChunkState::InFlight {
                if !is_not_after(chunk.sent_at, sent_at) {
                    break;
                }
                chunk.flags |= HIDDEN;
                self.hidden.bytes += chunk.wire_len();
            }
            self.hidden.to += 1;
        }
    }

    fn reveal(&mut self, tsn: u64) {
        let Some(chunk) = self.get_mut(tsn) else { return };
        let bytes = chunk.take_hidden();
        self.hidden.bytes -= bytes;
    }

    /// A chunk is in flight no longer, with so many bytes of it hidden.
    #[inline]
    pub(super) fn unhide(&mut self, bytes: usize) {
        self.hidden.bytes -= bytes;
    }
}

impl SentChunk {
    /// The bytes of it that count as hidden; from now on none do.
    #[inline]
    pub(super) fn take_hidden(&mut self) -> usize {
        if self.flags & HIDDEN == 0 {
            return 0;
        }
        self.flags &= !HIDDEN;
        self.wire_len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CUT, sack, with_chunks};

    #[test]
    fn what_a_full_sack_has_no_room_for_leaves_the_path_and_comes_back_when_it_has() {
        let mut outstanding = with_chunks(1000);
        let each = outstanding.flight() / 1000;
        outstanding.now = 50;
        for _ in 0..100 {
            outstanding.push(CUT);
        }
        // Every second chunk up to the 400th arrived, and who knows what else.
        let blocks: Vec<(u16, u16)> = (1..=200).map(|n| (2 * n, 2 * n)).collect();
        sack(&mut outstanding, 99, &blocks);
        assert_eq!(outstanding.flight_on_path(), outstanding.flight());
        outstanding.find_hidden(49);
        assert_eq!(outstanding.flight() - outstanding.flight_on_path(), 600 * each);
        outstanding.find_hidden(49);
        assert_eq!(outstanding.flight() - outstanding.flight_on_path(), 600 * each);
        // The blocks move on, and the cumulative ack over some that were hidden.
        let blocks: Vec<(u16, u16)> = (1..=200).map(|n| (2 * n, 2 * n)).collect();
        sack(&mut outstanding, 299, &blocks);
        outstanding.find_hidden(49);
        assert_eq!(outstanding.flight() - outstanding.flight_on_path(), 400 * each);
        sack(&mut outstanding, 899, &blocks[..50]);
        outstanding.find_hidden(49);
        assert_eq!(outstanding.flight(), outstanding.flight_on_path());
    }

    #[test]
    fn nothing_is_hidden_any_more_when_it_is_lost_or_given_up() {
        let blocks: Vec<(u16, u16)> = (1..=200).map(|n| (2 * n, 2 * n)).collect();
        let mut outstanding = with_chunks(1000);
        let each = outstanding.flight() / 1000;
        sack(&mut outstanding, 99, &blocks);
        outstanding.find_hidden(0);
        outstanding.mark_lost(900);
        outstanding.abandon(1000, 1049, |_| true);
        assert_eq!(outstanding.flight() - outstanding.flight_on_path(), (600 - 51) * each);
        outstanding.mark_all_lost();
        assert_eq!((outstanding.flight(), outstanding.flight_on_path()), (0, 0));
        while let Some((tsn, _)) = outstanding.peek_lost() {
            outstanding.retransmitted(tsn, false);
        }
        assert_eq!(outstanding.flight(), outstanding.flight_on_path());
    }
}
