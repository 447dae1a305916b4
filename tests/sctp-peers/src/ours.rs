//! An association of `sinnet-sctp`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sinnet_sctp::{
    Association, CloseReason, Config, Event, Piece, PieceError, Ppid, SendError, SendOptions, StreamId,
};

use crate::{Endpoint, Incoming, Note, Outgoing};

/// Our side.
#[derive(Debug)]
pub struct Ours {
    association: Association,
    heartbeats: bool,
    readable: VecDeque<StreamId>,
    notes: VecDeque<Note>,
    pieces: Option<Pieces>,
}

/// Messages are given and read in pieces, and those of some ids are given up when half of them is sent.
#[derive(Debug)]
struct Pieces {
    size: usize,
    gives_up: fn(u32) -> bool,
    /// What is left to give: stream, bytes, and how many are left when it is given up.
    giving: Vec<(StreamId, Bytes, Option<usize>)>,
    /// What is being read: stream, id, bytes.
    reading: Option<(StreamId, u32, BytesMut)>,
}

impl Ours {
    /// From now on messages are given in pieces of so many bytes, and those with an id that `gives_up` are abandoned half
    /// way; and messages are read in pieces.
    #[must_use]
    pub fn in_pieces(mut self, size: usize, gives_up: fn(u32) -> bool) -> Self {
        self.pieces = Some(Pieces { size, gives_up, giving: Vec::new(), reading: None });
        self
    }

    fn give(&mut self) {
        let Some(Pieces { size, giving, .. }) = &mut self.pieces else { return };
        giving.retain_mut(|(stream, rest, given_up_at)| {
            loop {
                let piece = rest.slice(..rest.len().min(*size));
                match self.association.append_to_message(*stream, piece.clone()) {
                    Ok(()) => drop(rest.split_to(piece.len())),
                    Err(PieceError::BufferFull) => return true,
                    Err(error) => panic!("{error}"),
                }
                if given_up_at.is_some_and(|at| rest.len() <= at) {
                    self.association.abandon_message(*stream);
                    return false;
                }
                if rest.is_empty() {
                    assert_eq!(self.association.finish_message(*stream), Ok(()));
                    return false;
                }
            }
        });
    }

    fn recv_in_pieces(&mut self) -> Option<Incoming> {
        let Pieces { reading, .. } = self.pieces.as_mut()?;
        loop {
            if let Some((stream, id, bytes)) = reading {
                match self.association.recv_piece(*stream) {
                    Piece::Bytes(piece) => bytes.extend_from_slice(&piece),
                    Piece::Pending => return None,
                    Piece::End => {
                        let (stream, id, payload) = (stream.0, *id, bytes.split().freeze());
                        *reading = None;
                        return Some(Incoming { stream, id, payload });
                    }
                    Piece::Aborted => *reading = None,
                    Piece::NotBegun => unreachable!("it has begun"),
                }
                continue;
            }
            let stream = *self.readable.front()?;
            match self.association.begin_recv(stream) {
                Some(head) => *reading = Some((stream, head.ppid.0, BytesMut::new())),
                None => drop(self.readable.pop_front()),
            }
        }
    }

    /// A side that has not begun.
    pub fn new(config: Config, now: Instant, seed: [u8; 32]) -> Self {
        Self {
            heartbeats: !config.heartbeat_interval.is_zero(),
            association: Association::new(Arc::new(config), now, seed),
            readable: VecDeque::new(),
            notes: VecDeque::new(),
            pieces: None,
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
        self.give();
        let mut packet = [0; 9000];
        let len = self.association.poll_transmit(now, &mut packet)?;
        Some(packet[..len].to_vec())
    }

    fn recv(&mut self) -> Option<Incoming> {
        self.take_events();
        if self.pieces.is_some() {
            return self.recv_in_pieces();
        }
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
        if let Some(Pieces { giving, gives_up, .. }) = &mut self.pieces {
            let (stream, ppid) = (StreamId(message.stream), Ppid(message.id));
            match self.association.begin_message(now, stream, ppid, options) {
                Ok(()) => {}
                Err(PieceError::Busy) => return false,
                Err(error) => panic!("{error}"),
            }
            let half = payload.len() / 2;
            giving.push((stream, payload, gives_up(message.id).then_some(half)));
            return true;
        }
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
