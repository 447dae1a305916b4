//! A socket of the `dcsctp` crate.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use dcsctp::api::{
    DcSctpSocket, Message, Options, PpId, ResetStreamsError, SendError, SendOptions, SocketEvent,
    SocketState, SocketTime, StreamId, ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS,
};

use crate::{Endpoint, Incoming, Note, Outgoing};

/// What differs from Chromium's settings.
#[derive(Clone, Copy, Debug)]
pub struct DcsctpOptions {
    /// The largest packet.
    pub mtu: usize,
    /// The receive window; larger than any message.
    pub receive_buffer: usize,
    /// How much it accepts for sending.
    pub send_buffer: usize,
    /// RFC 9653.
    pub zero_checksum: bool,
    /// RFC 8260.
    pub interleaving: bool,
    /// RFC 3758.
    pub partial_reliability: bool,
    /// `None` is without heartbeats.
    pub heartbeat_interval: Option<Duration>,
}

impl Default for DcsctpOptions {
    fn default() -> Self {
        Self {
            mtu: 1191,
            receive_buffer: 5 << 20,
            send_buffer: 8 << 20,
            zero_checksum: false,
            interleaving: false,
            partial_reliability: true,
            heartbeat_interval: Some(Duration::from_secs(30)),
        }
    }
}

/// The other side.
pub struct Dcsctp {
    socket: Box<dyn DcSctpSocket>,
    start: Instant,
    heartbeats: bool,
    packets: VecDeque<Vec<u8>>,
    notes: VecDeque<Note>,
}

impl Dcsctp {
    /// A side that has not begun. It draws its random numbers from the generator of this thread, which `seed` sets.
    pub fn new(options: DcsctpOptions, now: Instant, seed: u64) -> Self {
        fastrand::seed(seed);
        let mut to = Options {
            mtu: options.mtu,
            max_message_size: 1 << 30,
            max_receiver_window_buffer_size: options.receive_buffer,
            max_send_buffer_size: options.send_buffer,
            per_stream_send_queue_limit: options.send_buffer,
            // As Chromium sets them.
            max_timer_backoff_duration: Some(Duration::from_secs(3)),
            // An unlucky seed is no failure.
            max_retransmissions: None,
            max_init_retransmits: None,
            enable_partial_reliability: options.partial_reliability,
            enable_message_interleaving: options.interleaving,
            heartbeat_interval: options.heartbeat_interval.unwrap_or_default(),
            ..Options::default()
        };
        if options.zero_checksum {
            to.zero_checksum_alternate_error_detection_method =
                ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS;
        }
        Self {
            socket: dcsctp::new_socket("peer", &to),
            start: now,
            heartbeats: options.heartbeat_interval.is_some(),
            packets: VecDeque::new(),
            notes: VecDeque::new(),
        }
    }

    /// Whether checksums of zero have been agreed on; `None` while not connected.
    pub fn uses_zero_checksum(&self) -> Option<bool> {
        self.socket.get_metrics().map(|metrics| metrics.uses_zero_checksum)
    }

    fn advance(&mut self, now: Instant) {
        self.socket.advance_time(SocketTime::zero() + now.saturating_duration_since(self.start));
    }

    fn take_events(&mut self) {
        let ids = |streams: Vec<StreamId>| streams.into_iter().map(|stream| stream.0).collect();
        while let Some(event) = self.socket.poll_event() {
            self.notes.push_back(match event {
                SocketEvent::SendPacket(packet) => {
                    self.packets.push_back(packet);
                    continue;
                }
                SocketEvent::OnConnected() => Note::Connected,
                SocketEvent::OnConnectionRestarted() => Note::Restarted,
                SocketEvent::OnIncomingStreamReset(streams) => Note::ResetByPeer(ids(streams)),
                SocketEvent::OnStreamsResetPerformed(streams) => Note::ResetDone(ids(streams)),
                SocketEvent::OnStreamsResetFailed(streams) => Note::ResetFailed(ids(streams)),
                SocketEvent::OnClosed() => Note::Closed,
                SocketEvent::OnAborted(kind, text) => Note::Aborted(format!("{kind:?} {text}")),
                _ => continue,
            });
        }
    }
}

impl Endpoint for Dcsctp {
    fn connect(&mut self, now: Instant) {
        self.advance(now);
        if self.socket.state() == SocketState::Closed {
            self.socket.connect();
        }
    }

    fn handle_input(&mut self, now: Instant, packet: &[u8]) {
        self.advance(now);
        self.socket.handle_input(packet);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    fn deadline(&self) -> Option<Instant> {
        let timeout = self.socket.poll_timeout();
        (timeout != SocketTime::infinite_future()).then(|| self.start + (timeout - SocketTime::zero()))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Vec<u8>> {
        self.take_events();
        self.packets.pop_front()
    }

    fn recv(&mut self) -> Option<Incoming> {
        let message = self.socket.get_next_message()?;
        Some(Incoming { stream: message.stream_id.0, id: message.ppid.0, payload: message.payload.into() })
    }

    fn note(&mut self) -> Option<Note> {
        self.take_events();
        self.notes.pop_front()
    }

    fn send(&mut self, now: Instant, message: &Outgoing) -> bool {
        self.advance(now);
        let options = SendOptions {
            unordered: message.unordered,
            max_retransmissions: message.max_retransmits,
            lifetime: message.lifetime,
            ..SendOptions::default()
        };
        let message = Message::new(StreamId(message.stream), PpId(message.id), message.payload.to_vec());
        match self.socket.send(message, &options) {
            Ok(()) => true,
            Err(SendError::ResourceExhaustion | SendError::ShuttingDown) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn reset(&mut self, now: Instant, stream: u16) -> bool {
        self.advance(now);
        // It throws away what is queued and not begun.
        if self.socket.buffered_amount(StreamId(stream)) > 0 {
            return false;
        }
        match self.socket.reset_streams(&[StreamId(stream)]) {
            Ok(()) => true,
            Err(ResetStreamsError::NotConnected) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn shutdown(&mut self, now: Instant) {
        self.advance(now);
        self.socket.shutdown();
    }

    fn abort(&mut self, now: Instant) {
        self.advance(now);
        self.socket.close();
    }

    fn broken_rule(&self, _now: Instant) -> Option<String> {
        let metrics = self.socket.get_metrics()?;
        (metrics.unack_data_count > 0 && self.deadline().is_none())
            .then(|| format!("dcsctp has {} chunks in flight and no timer", metrics.unack_data_count))
    }

    fn residue(&self, now: Instant) -> Option<String> {
        let soon = now + Duration::from_secs(5);
        let deadline = self.deadline().filter(|&at| !self.heartbeats || at < soon);
        let unacked = self.socket.get_metrics().map_or(0, |metrics| metrics.unack_data_count);
        (unacked > 0 || deadline.is_some()).then(|| {
            format!("dcsctp: {unacked} unacknowledged, deadline in {:?}", deadline.map(|at| at - now))
        })
    }

    fn report(&self) -> String {
        let Some(metrics) = self.socket.get_metrics() else { return String::new() };
        format!(
            "{} packets, {} of them again, cwnd {}, srtt {:?}, {} chunks in flight",
            metrics.tx_packets_count,
            metrics.rtx_packets_count,
            metrics.cwnd_bytes,
            metrics.srtt,
            metrics.unack_data_count
        )
    }
}
