//! An association of `sinnet-sctp`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sinnet_sctp::{Association, CloseReason, Config, Event, Ppid, SendError, SendOptions, StreamId};

use crate::{Endpoint, Incoming, Note, Outgoing};

/// Our side.
#[derive(Debug)]
pub struct Ours {
    association: Association,
    heartbeats: bool,
    readable: VecDeque<StreamId>,
    notes: VecDeque<Note>,
}

impl Ours {
    /// A side that has not begun.
    pub fn new(config: Config, now: Instant, seed: [u8; 32]) -> Self {
        Self {
            heartbeats: !config.heartbeat_interval.is_zero(),
            association: Association::new(Arc::new(config), now, seed),
            readable: VecDeque::new(),
            notes: VecDeque::new(),
        }
    }

    fn take_events(&mut self) {
        let ids = |streams: Vec<StreamId>| streams.into_iter().map(|stream| stream.0).collect();
        while let Some(event) = self.association.poll_event() {
            self.notes.push_back(match event {
                Event::Readable(stream) => {
                    self.readable.push_back(stream);
                    continue;
                }
                Event::Connected { .. } => Note::Connected,
                Event::Restarted => Note::Restarted,
                Event::StreamsResetByPeer(streams) => Note::ResetByPeer(ids(streams)),
                Event::StreamsResetDone(streams) => Note::ResetDone(ids(streams)),
                Event::StreamsResetFailed(streams) => Note::ResetFailed(ids(streams)),
                Event::Closed(CloseReason::Shutdown) => Note::Closed,
                Event::Closed(reason) => Note::Aborted(format!("{reason:?}")),
                _ => continue,
            });
        }
    }
}

impl Endpoint for Ours {
    fn connect(&mut self, now: Instant) {
        self.association.connect(now);
    }

    fn handle_input(&mut self, now: Instant, packet: &[u8]) {
        self.association.handle_input(now, packet);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.association.handle_timeout(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut packet = [0; 9000];
        let len = self.association.poll_transmit(now, &mut packet)?;
        Some(packet[..len].to_vec())
    }

    fn recv(&mut self) -> Option<Incoming> {
        self.take_events();
        loop {
            let stream = *self.readable.front()?;
            if let Some(message) = self.association.recv(stream) {
                assert_eq!(message.stream_id, stream);
                return Some(Incoming { stream: stream.0, id: message.ppid.0, payload: message.payload });
            }
            self.readable.pop_front();
        }
    }

    fn note(&mut self) -> Option<Note> {
        self.take_events();
        self.notes.pop_front()
    }

    fn send(&mut self, now: Instant, message: &Outgoing) -> bool {
        let options = SendOptions {
            unordered: message.unordered,
            max_retransmits: message.max_retransmits.map(u32::from),
            lifetime: message.lifetime,
            ..SendOptions::default()
        };
        let payload = message.payload.clone();
        match self.association.send(now, StreamId(message.stream), Ppid(message.id), payload, options) {
            Ok(()) => true,
            Err(SendError::BufferFull | SendError::Closed) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn reset(&mut self, now: Instant, stream: u16) -> bool {
        self.association.is_established() && self.association.reset_stream(now, StreamId(stream)).is_ok()
    }

    fn shutdown(&mut self, now: Instant) {
        self.association.shutdown(now);
    }

    fn abort(&mut self, now: Instant) {
        self.association.abort(now, "enough");
    }

    fn broken_rule(&self, now: Instant) -> Option<String> {
        let rule = self.association.broken_rule(now)?;
        Some(format!("{rule}: {:?}", self.association))
    }

    fn residue(&self, now: Instant) -> Option<String> {
        let association = &self.association;
        let stats = association.stats();
        let soon = now + Duration::from_secs(5);
        let deadline = association.poll_timeout().filter(|&at| !self.heartbeats || at < soon);
        let residue = if association.total_buffered() > 0 || stats.flight > 0 {
            "unacknowledged data"
        } else if stats.a_rwnd != stats.receive_buffer && !association.is_closed() {
            "received data"
        } else if deadline.is_some() {
            "a deadline"
        } else {
            return None;
        };
        Some(format!("{residue}: {association:?} {:?}", deadline.map(|at| at - now)))
    }

    fn report(&self) -> String {
        format!("{:?}", self.association.stats())
    }
}
