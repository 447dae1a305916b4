//! An association of the `sctp-proto` crate.
//!
//! What it does that its owner has to know, as of 0.10.8:
//!
//! - An endpoint without a server configuration panics at an INIT, so every one gets a configuration.
//! - It gives its endpoint the event `Drained` as soon as it begins a shutdown; an endpoint that is told so forgets the
//!   association and drops the answers of the peer. It is not told before the association is closed.
//! - `close` ends the association without a word to the peer: it has no ABORT for its user.
//! - Payload protocol identifiers other than those of data channels are not handed out: [`Outgoing::id`] does not travel.
//! - Tags and TSNs are drawn from the thread's own generator, which has no seed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, EndpointConfig, Error, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, ServerConfig, StreamEvent, Transmit, TransportConfig,
};

use crate::{Endpoint, Incoming, Note, Outgoing};

/// Common header and the header of a DATA chunk.
const OVERHEAD: u32 = 12 + 16;

/// What differs from the crate's defaults.
#[derive(Clone, Copy, Debug)]
pub struct SctpProtoOptions {
    /// The largest packet.
    pub mtu: u32,
    /// The receive window; larger than any message.
    pub receive_buffer: u32,
    /// How much may wait for its acknowledgement on a stream. (The crate itself takes everything.)
    pub send_buffer: usize,
}

impl Default for SctpProtoOptions {
    fn default() -> Self {
        Self { mtu: 1191, receive_buffer: 5 << 20, send_buffer: 8 << 20 }
    }
}

/// The other side.
#[derive(Debug)]
pub struct SctpProto {
    endpoint: sctp_proto::Endpoint,
    association: Option<(AssociationHandle, Association)>,
    transport: Arc<TransportConfig>,
    send_buffer: usize,
    packets: VecDeque<Bytes>,
    readable: VecDeque<u16>,
    notes: VecDeque<Note>,
    /// We have asked for the end.
    leaving: bool,
    /// Bytes that wait for their acknowledgement, as of the last `transmit`.
    buffered: usize,
}

impl SctpProto {
    /// A side that has not begun.
    pub fn new(options: SctpProtoOptions) -> Self {
        let transport = || {
            TransportConfig::default()
                .with_max_receive_buffer_size(options.receive_buffer)
                .with_max_send_message_size(16 << 20)
                .with_max_receive_message_size(16 << 20)
                // As its documentation recommends for WebRTC.
                .with_max_init_retransmits(None)
                .with_max_data_retransmits(None)
                // As ours; its own 3 s, 1 s and 60 s are slower under loss.
                .with_rto_initial_ms(500)
                .with_rto_min_ms(400)
                .with_rto_max_ms(3_000)
        };
        let mut config = EndpointConfig::new();
        config.max_payload_size(options.mtu - OVERHEAD);
        let mut server = ServerConfig::new();
        server.transport = Arc::new(transport());
        Self {
            endpoint: sctp_proto::Endpoint::new(Arc::new(config), Some(Arc::new(server))),
            association: None,
            transport: Arc::new(transport()),
            send_buffer: options.send_buffer,
            packets: VecDeque::new(),
            readable: VecDeque::new(),
            notes: VecDeque::new(),
            leaving: false,
            buffered: 0,
        }
    }

    fn association(&mut self) -> Option<&mut Association> {
        self.association.as_mut().map(|(_, association)| association)
    }

    fn take_events(&mut self) {
        let Some((handle, association)) = &mut self.association else { return };
        while let Some(event) = association.poll() {
            self.notes.push_back(match event {
                Event::Connected => Note::Connected,
                Event::HandshakeFailed { reason } => Note::Aborted(reason.to_string()),
                // It gives one reason for a shutdown by either side and for an ABORT.
                Event::AssociationLost { .. } if self.leaving => Note::Closed,
                Event::AssociationLost { reason } => Note::Aborted(reason.to_string()),
                Event::Stream(StreamEvent::Opened { id } | StreamEvent::Readable { id }) => {
                    self.readable.push_back(id);
                    continue;
                }
                Event::Stream(StreamEvent::Finished { id }) => Note::ResetByPeer(vec![id]),
                Event::Stream(StreamEvent::ResetComplete { id }) => Note::ResetDone(vec![id]),
                Event::Stream(StreamEvent::ResetFailed { id, .. }) => Note::ResetFailed(vec![id]),
                _ => continue,
            });
        }
        if association.is_closed() {
            while let Some(event) = association.poll_endpoint_event() {
                self.endpoint.handle_event(*handle, event);
            }
        }
    }

    fn count_buffered(&mut self) {
        let Some((_, association)) = &mut self.association else { return };
        let streams = association.stream_ids();
        let held = |id| association.stream(id).ok().and_then(|stream| stream.buffered_amount().ok());
        self.buffered = streams.into_iter().filter_map(held).sum();
    }

    fn take_packets(&mut self, transmit: Transmit) {
        match transmit.payload {
            sctp_proto::Payload::RawEncode(packets) => self.packets.extend(packets),
            Payload::PartialDecode(_) => unreachable!("that is for packets that arrive"),
        }
    }
}

/// One peer, so the address makes no difference.
fn remote() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 9], 9))
}

impl Endpoint for SctpProto {
    fn connect(&mut self, _now: Instant) {
        if self.association.is_none() {
            let mut config = ClientConfig::new();
            config.transport = self.transport.clone();
            self.association = Some(self.endpoint.connect(config, remote()).expect("an association"));
        }
    }

    fn handle_input(&mut self, now: Instant, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        match self.endpoint.handle(now, remote(), None, None, packet) {
            Some((to, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = self.association.as_mut().filter(|(handle, _)| *handle == to)
                {
                    association.handle_event(event);
                }
            }
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
            }
            None => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(association) = self.association() {
            association.handle_timeout(now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.association.as_ref().and_then(|(_, association)| association.poll_timeout())
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.packets.is_empty() {
            while let Some(transmit) = self.endpoint.poll_transmit() {
                self.take_packets(transmit);
            }
            if let Some(transmit) = self.association().and_then(|association| association.poll_transmit(now))
            {
                self.take_packets(transmit);
            }
            self.count_buffered();
        }
        self.packets.pop_front().map(Vec::from)
    }

    fn recv(&mut self) -> Option<Incoming> {
        self.take_events();
        loop {
            let stream = *self.readable.front()?;
            let message = self.association().and_then(|association| {
                association.stream(stream).ok().and_then(|mut stream| stream.read_sctp().ok().flatten())
            });
            if let Some(mut message) = message {
                let payload = message.next(message.len()).map(|chunk| chunk.bytes).unwrap_or_default();
                return Some(Incoming { stream, id: message.ppi as u32, payload });
            }
            self.readable.pop_front();
        }
    }

    fn note(&mut self) -> Option<Note> {
        self.take_events();
        self.notes.pop_front()
    }

    fn send(&mut self, _now: Instant, message: &Outgoing) -> bool {
        let send_buffer = self.send_buffer;
        let Some(association) = self.association() else { return false };
        if association.is_handshaking() || association.is_closed() {
            return false;
        }
        let (limit, value) = match (message.max_retransmits, message.lifetime) {
            (Some(max), _) => (ReliabilityType::Rexmit, max.into()),
            (None, Some(lifetime)) => (ReliabilityType::Timed, lifetime.as_millis() as u32),
            (None, None) => (ReliabilityType::Reliable, 0),
        };
        let ppid = PayloadProtocolIdentifier::Binary;
        let mut stream = match association.open_stream(message.stream, ppid) {
            Ok(stream) => stream,
            Err(Error::ErrStreamAlreadyExist) => association.stream(message.stream).expect("it exists"),
            Err(Error::ErrStreamResetPending) => return false,
            Err(error) => panic!("{error}"),
        };
        if stream.buffered_amount().is_ok_and(|held| held + message.payload.len() > send_buffer) {
            return false;
        }
        stream.set_reliability_params(message.unordered, limit, value).expect("a stream");
        match stream.write_sctp(&message.payload, ppid) {
            Ok(len) => len == message.payload.len(),
            Err(Error::ErrStreamClosed) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn reset(&mut self, _now: Instant, stream: u16) -> bool {
        let Some(association) = self.association() else { return false };
        association.stream(stream).is_ok_and(|mut stream| stream.close().is_ok())
    }

    fn shutdown(&mut self, _now: Instant) {
        self.leaving = true;
        if let Some(association) = self.association() {
            // An error is that the peer was first.
            let _ = association.shutdown();
        }
    }

    fn abort(&mut self, _now: Instant) {
        if let Some(association) = self.association() {
            association.close().expect("it never fails");
        }
    }

    fn broken_rule(&self, _now: Instant) -> Option<String> {
        let stalls = self.buffered > 0 && self.deadline().is_none();
        stalls.then(|| format!("sctp-proto holds {} bytes without a timer", self.buffered))
    }

    fn residue(&self, now: Instant) -> Option<String> {
        let deadline = self.deadline().map(|at| at.saturating_duration_since(now));
        (self.buffered > 0 || deadline.is_some())
            .then(|| format!("sctp-proto: {} unacknowledged, deadline in {deadline:?}", self.buffered))
    }
}
