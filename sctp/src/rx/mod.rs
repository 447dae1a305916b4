//! The receiving side: DATA chunks to messages, and when and what to acknowledge.
//!
//! ```text
//! DATA ───► TsnTracker ─► Reassembly ──► InStreams ─► recv()
//! I-DATA ─►     │     └─► Interleaved ─────┘
//!               └─► SackPolicy ─► SACK
//! ```
//!
//! Memory: [`ReceiveWindow`] says how large the buffer is; everything kept is charged for what it takes in memory
//! ([`Receiver::held`]), and the advertised window is what the charge leaves. Beyond the buffer only the next
//! expected TSN is taken, up to a reserve, and only when it can make room: when it closes a gap, or when the
//! application has nothing to read until more comes. A probe into a full buffer is dropped.
//!
//! A sender that interleaves can begin more messages than any buffer holds, and then none of them ever becomes
//! whole: what it sends next is its choice, and what it has sent can't be given back. So when parts of messages
//! fill the buffer at its largest and the reserve, and the application has nothing to read, the association ends
//! ([`Violation::Locked`]); waiting would be for ever.

pub(crate) mod interleaved;
pub(crate) mod partial;
mod parts;
pub(crate) mod reassembly;
pub(crate) mod sack_policy;
pub(crate) mod streams;
pub(crate) mod tsn_tracker;
pub(crate) mod window;

use std::time::Instant;

use self::interleaved::{Interleaved, message_of};
use self::partial::Partial;
use self::reassembly::{Outcome, Reassembly, Usage, Violation};
use self::sack_policy::SackPolicy;
use self::streams::InStreams;
use self::tsn_tracker::{Arrival, TsnTracker};
use self::window::ReceiveWindow;
use crate::config::Config;
use crate::event::Message;
use crate::stats::Stats;
use crate::types::{StreamId, Tsn};
use crate::wire::chunk::ChunkType;
use crate::wire::data::{DataChunk, FLAG_BEGIN, FLAG_END, FLAG_IMMEDIATE};
use crate::wire::forward_tsn::ForwardTsn;
use crate::wire::i_data::IDataChunk;
use crate::wire::i_forward_tsn::IForwardTsn;
use crate::wire::sack::SACK_LEN;
use crate::wire::writer::PacketWriter;

/// About what a message takes besides its payload. What is charged is exact; this is for whether there is room.
const ITEM_OVERHEAD: usize = 128;

/// What the DATA chunks of one packet asked for.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct PacketNotes {
    /// There was DATA.
    pub(crate) data: bool,
    /// The SACK can't wait: gap, duplicate, refused data, or the I bit.
    pub(crate) immediately: bool,
    /// There was DATA on a stream that does not exist.
    pub(crate) invalid_stream: Option<StreamId>,
}

/// The receiving side of an association.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) tracker: TsnTracker,
    reassembly: Reassembly,
    interleaved: Interleaved,
    pub(crate) streams: InStreams,
    partial: Partial,
    /// The largest message that [`recv`](Self::recv) hands out.
    max_whole: usize,
    pub(crate) sack: SackPolicy,
    pub(crate) window: ReceiveWindow,
    reserve: usize,
    /// Streams that the peer may use: ids below this.
    inbound_streams: u16,
}

impl Receiver {
    pub(crate) fn new(
        config: &Config,
        peer_initial_tsn: Tsn,
        inbound_streams: u16,
        interleaving: bool,
    ) -> Self {
        let (initial, cap) = receive_buffer(config);
        let largest = config.max_message_size_recv;
        let whole = config.max_whole_message.min(largest);
        let max_whole = if whole < largest { whole } else { usize::MAX };
        Self {
            tracker: TsnTracker::new(peer_initial_tsn),
            reassembly: Reassembly::new(largest, max_whole),
            interleaved: Interleaved::new(largest, max_whole),
            streams: InStreams::new(interleaving),
            partial: Partial::new(interleaving),
            max_whole,
            sack: SackPolicy::new(config.sack_delay),
            window: ReceiveWindow::new(initial, cap, config.mtu),
            reserve: (cap / 8).max(whole).saturating_add(1 << 16),
            inbound_streams,
        }
    }

    /// The memory that all of it takes.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.reassembly.held() + self.interleaved.held() + self.streams.held() + self.partial.held()
    }

    /// The window to advertise.
    pub(crate) fn a_rwnd(&self) -> usize {
        self.window.open(self.held())
    }

    /// Takes one DATA chunk.
    #[inline]
    pub(crate) fn on_data(
        &mut self,
        chunk: &DataChunk<'_>,
        notes: &mut PacketNotes,
        stats: &mut Stats,
    ) -> Result<(), Violation> {
        let whole = chunk.flags & (FLAG_BEGIN | FLAG_END) == FLAG_BEGIN | FLAG_END;
        let refused = !whole && self.reassembly.is_full();
        let Some(tsn) =
            self.admit((chunk.tsn, chunk.stream), chunk.flags, chunk.payload.len(), refused, notes, stats)?
        else {
            return Ok(());
        };
        let cumulative = self.tracker.cumulative();
        let outcome = self.reassembly.push(tsn, chunk, cumulative)?;
        self.take(chunk.stream, outcome, stats);
        stats.dropped_data_invalid += self.drop_orphans(cumulative) as u64;
        Ok(())
    }

    #[inline]
    fn take(&mut self, id: StreamId, outcome: Outcome, stats: &mut Stats) {
        let taken = match outcome {
            Outcome::Complete(assembled) if assembled.usage == Usage::Whole => self.streams.push(assembled),
            Outcome::Complete(assembled) => {
                self.end_partial(assembled);
                true
            }
            Outcome::Stored => {
                if !self.partial.is_idle() {
                    self.announce_piece(id);
                }
                true
            }
            Outcome::Large => {
                self.announce_large(id);
                true
            }
            Outcome::Orphan => false,
        };
        stats.dropped_data_invalid += u64::from(!taken);
    }

    /// Drops messages that can't be completed any more, and lets their streams go on without them.
    #[inline]
    fn drop_orphans(&mut self, cumulative: u64) -> usize {
        let streams = &mut self.streams;
        let dropped = self.reassembly.drop_orphans(cumulative, |stream, mid| streams.skip(stream, mid));
        if dropped > 0 {
            self.note_aborted();
        }
        dropped
    }

    /// Takes one I-DATA chunk (RFC 8260 §2.2.3).
    #[inline]
    pub(crate) fn on_i_data(
        &mut self,
        chunk: &IDataChunk<'_>,
        notes: &mut PacketNotes,
        stats: &mut Stats,
    ) -> Result<(), Violation> {
        let whole = chunk.flags & (FLAG_BEGIN | FLAG_END) == FLAG_BEGIN | FLAG_END;
        let refused = !whole && self.interleaved.is_full(chunk.stream) && self.interleaved.begins_row(chunk);
        let arrived = (chunk.tsn, chunk.stream);
        let Some(tsn) = self.admit(arrived, chunk.flags, chunk.payload.len(), refused, notes, stats)? else {
            return Ok(());
        };
        let mut ends_before = None;
        if let (stream, Some(mid)) = message_of(chunk) {
            if self.streams.is_past(stream, mid) {
                // Nobody will ask for it, and nothing would free it.
                stats.dropped_data_invalid += 1;
                return Ok(());
            }
            if !whole && self.streams.waits_beyond(stream, mid) {
                ends_before = Some(self.tracker.highest());
            }
        }
        let outcome = self.interleaved.push(tsn, chunk, ends_before)?;
        self.take(chunk.stream, outcome, stats);
        stats.dropped_data_invalid += self.drop_dead() as u64;
        Ok(())
    }

    /// Drops messages of which nothing can come any more, and lets their streams go on without them.
    #[inline]
    fn drop_dead(&mut self) -> usize {
        let cumulative = self.tracker.cumulative();
        if !self.interleaved.has_dead(cumulative) {
            return 0;
        }
        let streams = &mut self.streams;
        let dropped = self.interleaved.drop_dead(cumulative, |stream, mid| streams.skip(stream, mid));
        self.note_aborted();
        dropped
    }

    /// Decides whether a chunk is taken, and records its TSN if it is: it is new, there is room, and its
    /// stream exists. `refused`: reassembly has no place for it.
    #[inline]
    fn admit(
        &mut self,
        (tsn32, stream): (Tsn, StreamId),
        flags: u8,
        len: usize,
        refused: bool,
        notes: &mut PacketNotes,
        stats: &mut Stats,
    ) -> Result<Option<u64>, Violation> {
        notes.data = true;
        notes.immediately |= flags & FLAG_IMMEDIATE != 0;
        let tsn = tsn32.unwrap_near(self.tracker.cumulative());
        let arrival = self.tracker.classify(tsn);
        match arrival {
            Arrival::Duplicate => {
                stats.duplicate_tsns += 1;
                self.tracker.note_duplicate(tsn32);
                notes.immediately = true;
                return Ok(None);
            }
            Arrival::Refused => {
                stats.dropped_data_no_room += 1;
                notes.immediately = true;
                return Ok(None);
            }
            Arrival::Next | Arrival::Ahead => {}
        }
        let next = arrival == Arrival::Next;
        // What closes a gap joins rows, or makes room for what does.
        let refused = refused && !(next && self.tracker.has_gaps());
        let needed = self.held() + len + ITEM_OVERHEAD;
        if needed > self.window.size() || refused {
            let nothing_ready = next && !self.streams.has_ready() && !self.has_ready_pieces();
            let limit = if nothing_ready {
                self.window.cap() + self.reserve
            } else if next && self.tracker.has_gaps() {
                self.window.size() + self.reserve
            } else {
                self.window.size()
            };
            if needed > limit || refused {
                stats.dropped_data_no_room += 1;
                notes.immediately = true;
                return if nothing_ready && !refused { Err(Violation::Locked) } else { Ok(None) };
            }
        }
        self.window.received(len, len + ITEM_OVERHEAD);
        self.tracker.record(tsn);
        stats.data_chunks_received += 1;
        notes.immediately |= self.tracker.has_gaps();
        if stream.0 >= self.inbound_streams {
            // Acknowledged, dropped and reported (RFC 9260 §6.5).
            notes.invalid_stream = Some(stream);
            stats.dropped_data_invalid += 1;
            return Ok(None);
        }
        Ok(Some(tsn))
    }

    /// The packet has been taken in whole.
    #[inline]
    pub(crate) fn end_of_packet(&mut self, now: Instant, notes: PacketNotes) {
        if notes.data {
            self.sack.on_data_packet(now, notes.immediately);
            self.window.adjust(now, self.held() - self.streams.held_ready() - self.held_readable());
        }
        if self.owes_window_update() {
            self.sack.request();
        }
    }

    /// Hands a message to the application and makes room; asks for a SACK when the peer should hear of it.
    pub(crate) fn recv(&mut self, id: StreamId) -> Option<Message> {
        if !self.partial.is_idle() || self.max_whole != usize::MAX {
            self.may_recv(id)?;
        }
        let message = self.streams.pop(id)?;
        self.window.read(message.payload.len() + ITEM_OVERHEAD);
        if self.owes_window_update() {
            self.sack.request();
        }
        Some(message)
    }

    /// Whether the window has opened so far since the peer last heard of it that it should hear again.
    pub(crate) fn owes_window_update(&self) -> bool {
        self.window.owes_update(self.held())
    }

    /// Writes a SACK, with as many gap ack blocks and duplicates as fit; `false` if it does not fit at all.
    pub(crate) fn write_sack(&mut self, packet: &mut PacketWriter<'_>) -> bool {
        let Some(room) = packet.room().checked_sub(SACK_LEN) else { return false };
        let gaps = self.tracker.gap_count().min(room / 4);
        let duplicates = self.tracker.duplicates().len().min(room / 4 - gaps);
        let a_rwnd = self.window.advertise(self.held());
        let mut fixed = [0; 12];
        fixed[..4].copy_from_slice(&Tsn::wrap(self.tracker.cumulative()).0.to_be_bytes());
        fixed[4..8].copy_from_slice(&u32::try_from(a_rwnd).unwrap_or(u32::MAX).to_be_bytes());
        // Both are limited by the room in a packet and by the tracker, far below 2^16.
        fixed[8..10].copy_from_slice(&(gaps as u16).to_be_bytes());
        fixed[10..].copy_from_slice(&(duplicates as u16).to_be_bytes());
        let blocks = self.tracker.gap_ack_blocks(gaps).map(|(start, end)| {
            let ([s0, s1], [e0, e1]) = (start.to_be_bytes(), end.to_be_bytes());
            [s0, s1, e0, e1]
        });
        let tsns = self.tracker.duplicates().iter().take(duplicates).map(|tsn| tsn.0.to_be_bytes());
        let written = packet.list_chunk(ChunkType::SACK, &fixed, gaps + duplicates, blocks.chain(tsns));
        if written {
            self.tracker.clear_duplicates();
            self.sack.sent();
        }
        written
    }

    /// The peer has added streams (RFC 6525 §5.2.5).
    pub(crate) fn set_inbound_streams(&mut self, inbound_streams: u16) {
        self.inbound_streams = inbound_streams;
    }

    /// The peer has performed the reset of a stream's sending side.
    pub(crate) fn reset_stream(&mut self, id: StreamId) {
        self.streams.reset(id);
        self.interleaved.reset(id);
        self.note_aborted();
    }

    /// The peer gives up what it sent up to a TSN (RFC 3758 §3.6).
    pub(crate) fn on_forward_tsn(&mut self, forward: &ForwardTsn<'_>, stats: &mut Stats) {
        if !self.skip_tsns(forward.new_cumulative_tsn, stats) {
            return;
        }
        let cumulative = self.tracker.cumulative();
        let skipped_to = forward.new_cumulative_tsn.unwrap_near(cumulative);
        self.reassembly.skip_to(skipped_to);
        for (stream, ssn) in forward.skipped() {
            if stream.0 < self.inbound_streams {
                self.streams.skip(stream, ssn.into());
            }
        }
        self.drop_orphans(cumulative);
        self.note_aborted();
    }

    /// The same with I-DATA (RFC 8260 §2.3.1): the messages are named, ordered or not.
    pub(crate) fn on_i_forward_tsn(&mut self, forward: &IForwardTsn<'_>, stats: &mut Stats) {
        if !self.skip_tsns(forward.new_cumulative_tsn, stats) {
            return;
        }
        for skip in forward.skipped() {
            if skip.stream.0 < self.inbound_streams {
                self.interleaved.skip(skip);
                if !skip.unordered {
                    self.streams.skip(skip.stream, skip.mid);
                }
            }
        }
        self.drop_dead();
        self.note_aborted();
    }

    /// Moves the cumulative point; `false` if it is not to be moved.
    fn skip_tsns(&mut self, new_cumulative_tsn: Tsn, stats: &mut Stats) -> bool {
        self.sack.request();
        let cumulative = self.tracker.cumulative();
        let tsn = new_cumulative_tsn.unwrap_near(cumulative);
        if tsn <= cumulative {
            return false;
        }
        // What was never announced by DATA may be skipped too, as far as a SACK could describe it.
        if tsn - cumulative > 65_535 {
            stats.dropped_chunks += 1;
            return false;
        }
        self.tracker.skip_to(tsn);
        true
    }
}

/// The receive buffer in effect: at first, and at the most.
pub(crate) fn receive_buffer(config: &Config) -> (usize, usize) {
    // A message that is not complete takes a quarter more than its bytes at the most, and is not to close the window.
    let whole = config.max_whole_message.min(config.max_message_size_recv);
    let largest = whole.saturating_add(whole / 2);
    let cap = config.receive_buffer.max(largest).min(u32::MAX as usize);
    (config.initial_receive_buffer.max(largest).min(cap), cap)
}
