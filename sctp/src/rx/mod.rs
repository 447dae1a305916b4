//! The receiving side: DATA chunks to messages, and when and what to acknowledge.
//!
//! ```text
//! DATA ───► TsnTracker ─► Reassembly ──► InStreams ─► recv()
//! I-DATA ─►     │     └─► Interleaved ─────┘
//!               └─► SackPolicy ─► SACK
//! ```
//!
//! Memory: everything kept is charged with its payload and [`ITEM_OVERHEAD`] for its bookkeeping, and the
//! advertised window is what the charge leaves of the receive buffer. Beyond the buffer only the next
//! expected TSN is taken, up to a reserve, and only when it can make room: when it closes a gap, or when the
//! application has nothing to read until more comes. A probe into a full buffer is dropped.

pub(crate) mod interleaved;
pub(crate) mod reassembly;
pub(crate) mod sack_policy;
pub(crate) mod streams;
pub(crate) mod tsn_tracker;

use std::time::Instant;

use self::interleaved::{Interleaved, message_of};
use self::reassembly::{Outcome, Reassembly, Violation};
use self::sack_policy::SackPolicy;
use self::streams::InStreams;
use self::tsn_tracker::{Arrival, TsnTracker};
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

/// What a message or a row of fragments counts for besides its payload.
pub(crate) const ITEM_OVERHEAD: usize = 128;

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
    pub(crate) sack: SackPolicy,
    /// Bytes kept, overheads included.
    charged: usize,
    buffer: usize,
    reserve: usize,
    /// The window in the last SACK.
    advertised: usize,
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
        let buffer = receive_buffer(config);
        Self {
            tracker: TsnTracker::new(peer_initial_tsn),
            reassembly: Reassembly::new(config.max_message_size_recv),
            interleaved: Interleaved::new(config.max_message_size_recv),
            streams: InStreams::new(interleaving),
            sack: SackPolicy::new(config.sack_delay),
            charged: 0,
            buffer,
            reserve: (buffer / 8).max(config.max_message_size_recv).saturating_add(1 << 16),
            advertised: buffer,
            inbound_streams,
        }
    }

    /// The window to advertise.
    pub(crate) fn a_rwnd(&self) -> usize {
        self.buffer.saturating_sub(self.charged)
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
            self.admit((chunk.tsn, chunk.stream), chunk.flags, chunk.payload.len(), refused, notes, stats)
        else {
            return Ok(());
        };
        let cumulative = self.tracker.cumulative();
        let rows_before = self.reassembly.rows();
        match self.reassembly.push(tsn, chunk, cumulative)? {
            Outcome::Complete(assembled) => {
                let len = assembled.message.payload.len();
                // The message takes over the overhead of one row, or brings its own.
                self.recharge(chunk.payload.len(), rows_before, self.reassembly.rows() + 1);
                if !self.streams.push(assembled) {
                    self.release(len, 1);
                    stats.dropped_data_invalid += 1;
                }
            }
            Outcome::Stored => self.recharge(chunk.payload.len(), rows_before, self.reassembly.rows()),
            Outcome::Orphan => stats.dropped_data_invalid += 1,
        }
        let (bytes, rows) = self.drop_orphans(cumulative);
        if rows > 0 {
            self.release(bytes, rows);
            stats.dropped_data_invalid += rows as u64;
        }
        Ok(())
    }

    /// Drops messages that can't be completed any more, and lets their streams go on without them.
    #[inline]
    fn drop_orphans(&mut self, cumulative: u64) -> (usize, usize) {
        let streams = &mut self.streams;
        self.reassembly.drop_orphans(cumulative, |stream, mid| streams.skip(stream, mid))
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
        if self.admit(arrived, chunk.flags, chunk.payload.len(), refused, notes, stats).is_none() {
            return Ok(());
        }
        if let (stream, Some(mid)) = message_of(chunk)
            && self.streams.is_past(stream, mid)
        {
            // Nobody will ask for it, and nothing would free it.
            stats.dropped_data_invalid += 1;
            return Ok(());
        }
        let rows_before = self.interleaved.rows();
        match self.interleaved.push(chunk)? {
            Outcome::Complete(assembled) => {
                let len = assembled.message.payload.len();
                self.recharge(chunk.payload.len(), rows_before, self.interleaved.rows() + 1);
                if !self.streams.push(assembled) {
                    self.release(len, 1);
                    stats.dropped_data_invalid += 1;
                }
            }
            Outcome::Stored => self.recharge(chunk.payload.len(), rows_before, self.interleaved.rows()),
            Outcome::Orphan => stats.dropped_data_invalid += 1,
        }
        Ok(())
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
    ) -> Option<u64> {
        notes.data = true;
        notes.immediately |= flags & FLAG_IMMEDIATE != 0;
        let tsn = tsn32.unwrap_near(self.tracker.cumulative());
        let arrival = self.tracker.classify(tsn);
        match arrival {
            Arrival::Duplicate => {
                stats.duplicate_tsns += 1;
                self.tracker.note_duplicate(tsn32);
                notes.immediately = true;
                return None;
            }
            Arrival::Refused => {
                stats.dropped_data_no_room += 1;
                notes.immediately = true;
                return None;
            }
            Arrival::Next | Arrival::Ahead => {}
        }
        let charge = len + ITEM_OVERHEAD;
        let makes_room = arrival == Arrival::Next && (self.tracker.has_gaps() || !self.streams.has_ready());
        let limit = if makes_room { self.buffer + self.reserve } else { self.buffer };
        if self.charged + charge > limit || refused {
            stats.dropped_data_no_room += 1;
            notes.immediately = true;
            return None;
        }
        self.tracker.record(tsn);
        stats.data_chunks_received += 1;
        notes.immediately |= self.tracker.has_gaps();
        if stream.0 >= self.inbound_streams {
            // Acknowledged, dropped and reported (RFC 9260 §6.5).
            notes.invalid_stream = Some(stream);
            stats.dropped_data_invalid += 1;
            return None;
        }
        Some(tsn)
    }

    /// So many bytes more, and items from so many to so many.
    fn recharge(&mut self, bytes: usize, before: usize, after: usize) {
        self.charged = (self.charged + bytes + after * ITEM_OVERHEAD).saturating_sub(before * ITEM_OVERHEAD);
    }

    fn release(&mut self, bytes: usize, items: usize) {
        self.charged = self.charged.saturating_sub(bytes + items * ITEM_OVERHEAD);
    }

    /// The packet has been taken in whole.
    #[inline]
    pub(crate) fn end_of_packet(&mut self, now: Instant, notes: PacketNotes) {
        if notes.data {
            self.sack.on_data_packet(now, notes.immediately);
        }
    }

    /// Hands a message to the application and makes room; asks for a SACK when the window has opened by a
    /// quarter of the buffer since the peer last heard of it (RFC 9260 §6.2, receiver-side silly window).
    pub(crate) fn recv(&mut self, id: StreamId) -> Option<Message> {
        let message = self.streams.pop(id)?;
        self.release(message.payload.len(), 1);
        if self.owes_window_update() {
            self.sack.request();
        }
        Some(message)
    }

    /// Whether the window has opened so far since the peer last heard of it that it should hear again.
    pub(crate) fn owes_window_update(&self) -> bool {
        self.a_rwnd().saturating_sub(self.advertised) >= self.buffer / 4
    }

    /// Writes a SACK, with as many gap ack blocks and duplicates as fit; `false` if it does not fit at all.
    pub(crate) fn write_sack(&mut self, packet: &mut PacketWriter<'_>) -> bool {
        let Some(room) = packet.room().checked_sub(SACK_LEN) else { return false };
        let gaps = self.tracker.gap_count().min(room / 4);
        let duplicates = self.tracker.duplicates().len().min(room / 4 - gaps);
        let a_rwnd = self.a_rwnd();
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
            self.advertised = a_rwnd;
        }
        written
    }

    /// The peer has added streams (RFC 6525 §5.2.5).
    pub(crate) fn set_inbound_streams(&mut self, inbound_streams: u16) {
        self.inbound_streams = inbound_streams;
    }

    /// The peer has performed the reset of a stream's sending side.
    pub(crate) fn reset_stream(&mut self, id: StreamId) {
        let (bytes, items) = self.streams.reset(id);
        self.release(bytes, items);
        let (bytes, rows) = self.interleaved.reset(id);
        self.release(bytes, rows);
    }

    /// The peer gives up what it sent up to a TSN (RFC 3758 §3.6).
    pub(crate) fn on_forward_tsn(&mut self, forward: &ForwardTsn<'_>, stats: &mut Stats) {
        if !self.skip_tsns(forward.new_cumulative_tsn, stats) {
            return;
        }
        let cumulative = self.tracker.cumulative();
        let skipped_to = forward.new_cumulative_tsn.unwrap_near(cumulative);
        let (bytes, rows) = self.reassembly.skip_to(skipped_to);
        self.release(bytes, rows);
        for (stream, ssn) in forward.skipped() {
            if stream.0 < self.inbound_streams {
                self.streams.skip(stream, ssn.into());
            }
        }
        let (bytes, rows) = self.drop_orphans(cumulative);
        self.release(bytes, rows);
    }

    /// The same with I-DATA (RFC 8260 §2.3.1): the messages are named, ordered or not.
    pub(crate) fn on_i_forward_tsn(&mut self, forward: &IForwardTsn<'_>, stats: &mut Stats) {
        if !self.skip_tsns(forward.new_cumulative_tsn, stats) {
            return;
        }
        for skip in forward.skipped() {
            if skip.stream.0 < self.inbound_streams {
                let (bytes, rows) = self.interleaved.skip(skip);
                self.release(bytes, rows);
                if !skip.unordered {
                    self.streams.skip(skip.stream, skip.mid);
                }
            }
        }
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

/// The receive buffer in effect.
pub(crate) fn receive_buffer(config: &Config) -> usize {
    config.receive_buffer.max(config.max_message_size_recv).min(u32::MAX as usize)
}
