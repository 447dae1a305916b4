//! Datagrams out: one batch of equal segments a call, written and sealed in the caller's buffer.

use std::time::{Duration, Instant};

use sinnet_ice::Path;

use crate::peer::Peer;
use crate::tap::Direction;

/// The longest first timeout of a DTLS flight.
const MAX_INITIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// What [`Peer::poll_transmit`] wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where it goes.
    pub path: Path,
    /// Bytes written at the start of the buffer.
    pub size: usize,
    /// When it is more than one datagram: the size of each but the last, which may be shorter. What UDP_SEGMENT
    /// wants.
    pub segment_size: Option<usize>,
}

impl Peer {
    /// Writes the next datagrams into `buf`: up to `max_segments` of one size for one path. Call until `None`.
    ///
    /// `buf` should hold `max_segments` times [`Config::mtu`](crate::Config::mtu) bytes; fewer segments are made when
    /// it is smaller. For probes of larger sizes it should hold [`Config::max_mtu`](crate::Config::max_mtu). ICE checks,
    /// DTLS flights and probes go alone; other SCTP packets go in batches.
    pub fn poll_transmit(&mut self, now: Instant, max_segments: usize, buf: &mut [u8]) -> Option<Transmit> {
        self.now = now;
        let transmit = self.next_batch(now, max_segments, buf)?;
        if self.tap.is_some() {
            self.show_batch(transmit.path, &buf[..transmit.size], transmit.segment_size);
        }
        Some(transmit)
    }

    fn next_batch(&mut self, now: Instant, max_segments: usize, buf: &mut [u8]) -> Option<Transmit> {
        if self.has_ended() {
            return self.transmit_farewell(now, buf);
        }
        self.drive();
        if self.has_ended() {
            // What came last was the end: SHUTDOWN ACK, close_notify, or silence.
            return self.transmit_farewell(now, buf);
        }
        if let Some(check) = self.ice.poll_transmit(now, buf) {
            self.counters.datagrams_sent += 1;
            return Some(Transmit { path: check.path, size: check.len, segment_size: None });
        }
        let path = self.ice.can_send()?;
        let mtu = self.config.datagram_size().min(buf.len());
        let dtls = &mut self.transport.as_mut()?.dtls;
        if !dtls.is_connected()
            && let Some(rtt) = self.ice.rtt()
        {
            // Sooner, every flight would be sent twice on a long path. The upper bound is libwebrtc's.
            let initial = (rtt * 2).min(MAX_INITIAL_TIMEOUT).max(self.config.dtls_initial_timeout);
            dtls.set_initial_timeout(now, initial);
        }
        if let Some(len) = dtls.poll_transmit(now, buf.get_mut(..mtu)?) {
            return self.single(now, path, len);
        }
        let batch = self.transmit_sctp(now, path, max_segments, buf);
        // The end may have come by what was just sent (an ABORT, the last SHUTDOWN chunk).
        if batch.is_none() && self.has_ended() {
            return self.transmit_farewell(now, buf);
        }
        batch
    }

    /// SCTP packets, each sealed into a DTLS record of its own, as many as are alike.
    fn transmit_sctp(
        &mut self,
        now: Instant,
        path: Path,
        max_segments: usize,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        let transport = self.transport.as_mut()?;
        if !transport.dtls.is_connected() {
            return None;
        }
        if self.data_path != Some(path) && self.data_path.replace(path).is_some() {
            transport.sctp.path_changed(now);
        }
        let header = transport.dtls.header_len();
        let overhead = header + transport.dtls.tag_len();
        // A probe may come first, and it may be larger than the packets that batches are made of.
        let room = self.config.max_datagram_size().min(buf.len()).checked_sub(overhead)?;
        // A multiple of 4, as SCTP chunks are padded to it: full packets then all have one size.
        let packet = transport.sctp.packet_size().min(room & !3);
        let full = packet + overhead;
        let mut budget = room;
        let mut size = 0;
        let mut segments = 0;
        while segments < max_segments {
            let Some(slot) = buf.get_mut(size..size + overhead + budget) else { break };
            let Some(len) = transport.sctp.poll_transmit(now, &mut slot[header..header + budget]) else {
                break;
            };
            if let Some(tap) = &mut self.tap {
                tap.sctp_packet(now, Direction::Sent, path, &slot[header..header + len]);
            }
            let Ok(record) = transport.dtls.seal(slot, len) else {
                // The record numbers of this epoch are used up; the connection fails by itself.
                break;
            };
            size += record;
            segments += 1;
            if len != packet {
                break;
            }
            budget = packet;
        }
        if segments == 0 {
            return None;
        }
        self.counters.datagrams_sent += segments as u64;
        self.traffic.sent(now, path, segments, size);
        Some(Transmit { path, size, segment_size: (segments > 1).then_some(full) })
    }

    /// So many bytes of this connection may wait in the socket's receive buffer before they are given to
    /// [`Peer::handle_datagram`], and SCTP lets the peer send no more; 128 KiB at the least. `usize::MAX`, and nothing, is no limit.
    /// It may be said at any time, and as often.
    #[inline]
    pub fn set_receive_queue(&mut self, bytes: usize) {
        if let Some(transport) = &mut self.transport {
            transport.sctp.set_receive_queue(bytes);
        }
    }

    /// The system has refused to send datagrams of this size (EMSGSIZE): they are larger than the first link takes. They
    /// count as lost, and their size as one that does not pass.
    pub fn datagrams_refused(&mut self, now: Instant, size: usize) {
        self.now = now;
        let Some(transport) = &mut self.transport else { return };
        let overhead = transport.dtls.header_len() + transport.dtls.tag_len();
        if let Some(packet) = size.checked_sub(overhead) {
            transport.sctp.packet_refused(now, packet);
        }
    }

    /// After the end: SCTP's last words, then close_notify, then nothing.
    fn transmit_farewell(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let path = self.farewell?;
        if let Some(last) = self.transmit_sctp(now, path, 1, buf) {
            return Some(last);
        }
        let mtu = self.config.datagram_size().min(buf.len());
        let alert = self.transport.as_mut().and_then(|transport| {
            transport.dtls.close(now);
            transport.dtls.poll_transmit(now, buf.get_mut(..mtu)?)
        });
        match alert {
            Some(len) => self.single(now, path, len),
            None => {
                self.farewell = None;
                None
            }
        }
    }

    /// A datagram of DTLS's own.
    fn single(&mut self, now: Instant, path: Path, size: usize) -> Option<Transmit> {
        self.counters.datagrams_sent += 1;
        self.traffic.sent(now, path, 1, size);
        Some(Transmit { path, size, segment_size: None })
    }
}
