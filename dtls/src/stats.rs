//! Counters of one connection.

/// What happened so far; see [`Connection::stats`](crate::Connection::stats). Counts are of records unless said
/// otherwise and never wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Application records sealed.
    pub records_sealed: u64,
    /// Application records opened and delivered.
    pub records_opened: u64,
    /// Dropped: header cut short, unknown type, wrong version, length beyond the datagram, empty fragments.
    pub malformed: u64,
    /// Dropped: failed authentication.
    pub bad_tags: u64,
    /// Dropped: seen before or older than the window.
    pub replayed: u64,
    /// Dropped: right in form, but not in this state (plaintext data or alerts, a hello inside the session, …).
    pub unexpected: u64,
    /// Records of the next epoch that came early and were kept.
    pub early_kept: u64,
    /// Records of the next epoch that came early and found no room.
    pub early_dropped: u64,
    /// Handshake fragments dropped: repeated, too far ahead, or beyond the reassembly limits.
    pub fragments_dropped: u64,
    /// Flights sent again because the timer ran out.
    pub timeouts: u64,
    /// Flights sent again because the peer repeated its own.
    pub resends: u64,
    /// Warning alerts from the peer.
    pub warnings: u64,
}
