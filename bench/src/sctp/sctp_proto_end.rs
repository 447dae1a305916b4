//! An end of the `sctp-proto` crate.
//!
//! Driven in its favour: a packet goes over as the `Bytes` that it made, without the copy that decryption in a buffer
//! would need, and the fragments of a message are counted where they lie, without being put together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ServerConfig, Transmit, TransportConfig,
};

use super::End;

/// Common header and the header of a DATA chunk.
const OVERHEAD: usize = 12 + 16;

const STREAM: u16 = 1;

/// An endpoint with its one association.
#[derive(Debug)]
pub struct SctpProto {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    stream_is_open: bool,
}

impl SctpProto {
    /// Two ends, the first of which is about to begin. Packets have `packet_len` bytes.
    pub fn pair(packet_len: usize, receive_buffer: u32) -> (Self, Self) {
        let transport = || {
            let transport = TransportConfig::default()
                .with_max_receive_buffer_size(receive_buffer)
                .with_max_send_message_size(256 << 10)
                .with_max_receive_message_size(256 << 10)
                // What its documentation recommends for WebRTC.
                .with_max_init_retransmits(None)
                .with_max_data_retransmits(None);
            Arc::new(transport)
        };
        let end = || {
            let mut config = EndpointConfig::new();
            config.max_payload_size(u32::try_from(packet_len - OVERHEAD).expect("a packet's size"));
            let mut server = ServerConfig::new();
            server.transport = transport();
            let endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)));
            Self { endpoint, association: None, stream_is_open: false }
        };
        let (mut a, z) = (end(), end());
        let mut client = ClientConfig::new();
        client.transport = transport();
        a.association = Some(a.endpoint.connect(client, remote()).expect("an association"));
        (a, z)
    }

    fn take_in(&mut self, now: Instant, packet: Bytes) {
        match self.endpoint.handle(now, remote(), None, None, packet) {
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = &mut self.association {
                    association.handle_event(event);
                }
            }
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
            }
            None => {}
        }
    }

    fn next_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.endpoint.poll_transmit().or_else(|| self.association.as_mut()?.1.poll_transmit(now))
    }
}

/// One peer, so the address makes no difference.
fn remote() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000))
}

impl End for SctpProto {
    fn send(&mut self, _now: Instant, payload: &Bytes) -> bool {
        let Some((_, association)) = &mut self.association else { return false };
        let ppid = PayloadProtocolIdentifier::Binary;
        if !self.stream_is_open {
            association.open_stream(STREAM, ppid).expect("a stream");
            self.stream_is_open = true;
        }
        let Ok(mut stream) = association.stream(STREAM) else { return false };
        stream.write_sctp(payload, ppid).is_ok()
    }

    fn unacked(&mut self) -> usize {
        let Some((_, association)) = &mut self.association else { return 0 };
        association.stream(STREAM).and_then(|stream| stream.buffered_amount()).unwrap_or(0)
    }

    fn carry(&mut self, to: &mut Self, now: Instant) -> usize {
        let mut count = 0;
        while let Some(transmit) = self.next_transmit(now) {
            let Payload::RawEncode(packets) = transmit.payload else { continue };
            count += packets.len();
            for packet in packets {
                to.take_in(now, packet);
            }
        }
        count
    }

    fn read(&mut self) -> (usize, usize) {
        let Some((_, association)) = &mut self.association else { return (0, 0) };
        while let Some(event) = association.poll() {
            assert!(!matches!(event, Event::AssociationLost { .. }));
        }
        let (mut bytes, mut messages) = (0, 0);
        if let Ok(mut stream) = association.stream(STREAM) {
            while let Ok(Some(message)) = stream.read_sctp() {
                bytes += message.len();
                messages += 1;
            }
        }
        (bytes, messages)
    }

    fn deadline(&self) -> Option<Instant> {
        self.association.as_ref().and_then(|(_, association)| association.poll_timeout())
    }

    fn timeout(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
    }

    fn is_established(&self) -> bool {
        self.association
            .as_ref()
            .is_some_and(|(_, association)| !(association.is_handshaking() || association.is_closed()))
    }
}
