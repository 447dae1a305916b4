//! SCTP over DTLS (RFC 9260, RFC 8261) for data channels, without I/O.
//!
//! One [`Association`] is one peer. Time, packets and randomness are arguments; the owner drives it with five
//! verbs, in any order:
//!
//! | verb | |
//! |---|---|
//! | [`handle_input`](Association::handle_input) | one packet from DTLS |
//! | [`handle_timeout`](Association::handle_timeout) | the deadline of [`poll_timeout`](Association::poll_timeout) has passed |
//! | [`poll_transmit`](Association::poll_transmit) | writes one packet into the owner's buffer |
//! | [`poll_timeout`](Association::poll_timeout) | when to call `handle_timeout` |
//! | [`poll_event`](Association::poll_event) | what has happened |
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use sinnet_sctp::{Association, Config, Ppid, SendOptions, StreamId};
//!
//! # #[expect(clippy::disallowed_methods, reason = "the example's one clock")]
//! let now = Instant::now();
//! let config = Arc::new(Config::default());
//! let mut a = Association::new(config.clone(), now, [1; 32]);
//! let mut z = Association::new(config, now, [2; 32]);
//! a.connect(now);
//! a.send(now, StreamId(0), Ppid(51), "hello".into(), SendOptions::default())?;
//! let mut packet = [0; 1200];
//! for _ in 0..4 {
//!     while let Some(len) = a.poll_transmit(now, &mut packet) {
//!         z.handle_input(now, &packet[..len]);
//!     }
//!     while let Some(len) = z.poll_transmit(now, &mut packet) {
//!         a.handle_input(now, &packet[..len]);
//!     }
//! }
//! assert_eq!(z.recv(StreamId(0)).unwrap().payload, "hello");
//! # Ok::<(), sinnet_sctp::SendError>(())
//! ```
//!
//! # What there is
//!
//! The handshake from either side or both at once, restart; DATA with fragmentation, ordered and unordered;
//! SACK; CUBIC with HyStart++, or the RFC's own congestion control; pacing; T3, fast retransmit, loss detection
//! by time and tail-loss probes, with undo of what was no loss; windows and probes;
//! heartbeats; SHUTDOWN and ABORT; stream reset and more streams (RFC 6525); partial reliability (RFC 3758,
//! RFC 7496) when the peer announces it; I-DATA (RFC 8260) when the peer announces it, and stream schedulers;
//! zero in place of the checksum (RFC 9653) towards a peer that takes it; the search for the packet size that the
//! path takes (RFC 8899) if [`Config::max_mtu`] asks for it; an association from INIT chunks that signalling carried
//! (draft-hancke-tsvwg-snap), with [`Association::establish_from`].
//!
//! # What there is not, and why
//!
//! - More than one address per side, ADD-IP, host names: the path is ICE's business (RFC 8261 §6.1).
//! - AUTH, ECN: DTLS authenticates, and there is no IP header to mark (RFC 8261 §6).
//! - SSN/TSN reset (RFC 6525 §4.3): it throws away what is in flight; a peer's request is answered "denied".
//! - NR-SACK, and the priority policy of RFC 7496 §4.3: nothing in WebRTC asks for them.
//!
//! `docs/sctp.md` in the repository has the tables: by section of the RFCs, limits, bad input, attacks and their tests.
//!
//! # Large messages beside small ones
//!
//! Between two of ours, and with Firefox, messages of different streams are interleaved: a short message
//! waits for the packet that is being filled, however much is queued on other streams. A peer that does not
//! announce I-DATA, as Chromium by default, can't take a message in pieces: a short message then waits until
//! the large one that has been begun is sent, and the next turn is by weight. Keep messages small there.
//! Messages of one stream are never interleaved (RFC 8260 §2.2.2). Priorities are
//! [`set_stream_priority`](Association::set_stream_priority).
//!
//! # Messages larger than memory
//!
//! [`begin_message`](Association::begin_message) begins one that is given in pieces, of a length that nobody knows before
//! its end; [`begin_recv`](Association::begin_recv) reads one as it comes. Both end as a whole message, or as none. With
//! [`Config::max_whole_message`] below [`Config::max_message_size_recv`], a peer may send more than any buffer holds.
//!
//! # The size of packets
//!
//! Packets have [`Config::mtu`] bytes until probes have shown that larger ones arrive. Chunks are never cut longer
//! than what the small packets have room for, since they can't be cut again: when a path takes less than it did,
//! everything goes on in smaller packets, after three round trips if much is in flight, and after a
//! retransmission time-out at the latest. What can't be helped is a path that takes [`Config::mtu`] first and
//! less later: what was cut then is tried again until the association is given up, as anything else that
//! does not arrive.
//!
//! # What a peer can cost
//!
//! | what | limit |
//! |---|---|
//! | what has arrived and is not read, parts of messages included | the receive buffer: [`Config::initial_receive_buffer`] at first, [`Config::receive_buffer`] at the most; and a reserve of an eighth, or of one message, and 64 KiB for what fills a gap or completes a message when nothing else can be read. It is charged for the memory that it takes (buffers by their size, tables, allocations), not for its payload |
//! | incomplete messages | DATA: 2048 rows of fragments. I-DATA: as many rows on each stream, all charged to the receive buffer |
//! | a sender that begins more messages than that holds | the association ends: [`CloseReason::OutOfReceiveBuffer`] |
//! | what is sent and not acknowledged | the send buffer: [`Config::initial_send_buffer`], or twice the congestion window, at most [`Config::send_buffer`], for a stream that sends alone, and a quarter more for all together; a fixed overhead per message is counted. Besides, a stream of which nothing is unacknowledged may always queue one message of any size. What else the allocation behind a `Bytes` holds is not known and not counted |
//! | chunks outstanding | 65,000 of 32 bytes (2 MiB) |
//! | gaps in the TSNs | 8192 |
//! | streams | 64 bytes for each that the peer has used, 32 more with I-DATA, and 128 KiB of tables: 8 MiB if it uses all 65,535; tables of the last streams that were active, below 400 KiB |
//!
//! Events and answers are merged, so not draining them costs nothing more. Time: a packet costs what it says, and
//! never more than the window.
//!
//! Bad input is counted in [`Stats`] and logged at debug level, never an error. The only end is
//! [`Event::Closed`].
#![forbid(unsafe_code)]

mod association;
mod config;
mod error;
mod event;
mod rx;
mod seed;
mod stats;
mod stream_map;
#[cfg(test)]
mod tests;
mod timer;
mod tx;
mod types;
mod wire;

pub use association::Association;
pub use config::{Config, Congestion, Scheduler, SendOptions};
pub use error::{AddStreamsError, PieceError, ResetError, SendError, SnapError};
pub use event::{CloseReason, Event, Head, Message, Piece};
pub use stats::Stats;
pub use types::{Ppid, StreamId};
pub use wire::cause::CauseCode;
