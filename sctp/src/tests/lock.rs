//! A sender that begins more messages at once than the receive buffer holds: nothing may stand still for ever.

use super::*;
use crate::CloseReason;
use crate::types::Tsn;

/// A sender that cuts a fragment of each stream's message in turn, minds the window by the letter of RFC 9260 §6.1,
/// and nothing else. (Firefox goes from channel to channel like this, and dcSCTP, when many have something to send.)
struct Foreign {
    first: u32,
    /// Stream, FSN, flags, payload length.
    chunks: Vec<(u16, u32, u8, usize)>,
    acked: usize,
    sent: usize,
    a_rwnd: usize,
    probes: usize,
}

impl Foreign {
    fn new(first: u32, streams: u16, size: usize, a_rwnd: usize) -> Self {
        const PART: usize = 1000;
        let parts = size.div_ceil(PART);
        let chunks = (0..parts).flat_map(|part| {
            let begin = if part == 0 { 2 } else { 0 };
            let end = if part + 1 == parts { 1 } else { 0 };
            (0..streams).map(move |id| (id, part as u32, begin | end, PART.min(size - part * PART)))
        });
        Self { first, chunks: chunks.collect(), acked: 0, sent: 0, a_rwnd, probes: 0 }
    }

    fn send_one(&mut self, pair: &mut Pair) {
        let (stream, fsn, flags, len) = self.chunks[self.sent];
        let mut value = self.first.wrapping_add(self.sent as u32).to_be_bytes().to_vec();
        value.extend_from_slice(&stream.to_be_bytes());
        value.extend_from_slice(&[0; 6]);
        value.extend_from_slice(&if fsn == 0 { 53 } else { fsn }.to_be_bytes());
        value.resize(value.len() + len, stream as u8);
        pair.inject(Z, &[(ChunkType::I_DATA, flags, &value)]);
        self.sent += 1;
    }

    fn send(&mut self, pair: &mut Pair) {
        let mut in_flight: usize = self.chunks[self.acked..self.sent].iter().map(|chunk| chunk.3).sum();
        while let Some(&(.., len)) = self.chunks.get(self.sent)
            && in_flight + len <= self.a_rwnd
        {
            self.send_one(pair);
            in_flight += len;
        }
        if self.sent == self.acked && self.sent < self.chunks.len() {
            pair.now += Duration::from_secs(1);
            self.probes += 1;
            self.send_one(pair);
        }
    }

    /// Takes the receiver's SACKs.
    fn listen(&mut self, pair: &mut Pair) {
        let mut out = [0; 2000];
        while let Some(len) = pair.ends[Z].poll_transmit(pair.now, &mut out) {
            for chunk in raw_chunks(&out[..len]).iter().filter(|chunk| chunk.kind == ChunkType::SACK) {
                let field = |at: usize| u32::from_be_bytes(chunk.value[at..at + 4].try_into().unwrap());
                let edge = Tsn(self.first.wrapping_sub(1));
                self.acked = (Tsn(field(0)).unwrap_near(edge.unwrap_first()) - edge.unwrap_first()) as usize;
                self.a_rwnd = field(4) as usize;
                self.sent = self.acked;
            }
        }
    }
}

/// Runs until every stream's message has been read, or the association has ended.
fn run(streams: u16, size: usize, config: Config) -> (usize, Foreign, Pair) {
    let mut pair = Pair::exactly(config.clone(), config, 1);
    pair.connect();
    let first = pair.ends[A].next_tsn_for_tests();
    let mut foreign = Foreign::new(first, streams, size, pair.ends[Z].stats().a_rwnd);
    let (mut got, end) = (0, pair.now + Duration::from_secs(3600));
    while got < usize::from(streams) {
        foreign.send(&mut pair);
        pair.now += ms(250);
        pair.ends[Z].handle_timeout(pair.now);
        foreign.listen(&mut pair);
        for stream in 0..streams {
            for message in pair.recv_all(Z, stream) {
                assert_eq!(message, vec![stream as u8; size]);
                got += 1;
            }
        }
        if pair.ends[Z].is_closed() {
            break;
        }
        assert!(pair.now < end, "it stands still: {:?}", pair.ends[Z]);
    }
    while let Some(event) = pair.ends[Z].poll_event() {
        pair.events[Z].push(event);
    }
    (got, foreign, pair)
}

fn config(receive_buffer: usize) -> Config {
    Config {
        receive_buffer,
        initial_receive_buffer: 256 << 10,
        max_message_size_recv: 128 << 10,
        ..Config::default()
    }
}

#[test]
fn more_messages_at_once_than_the_initial_buffer_holds_make_it_grow() {
    let (got, foreign, pair) = run(100, 128 << 10, config(32 << 20));
    assert_eq!((got, foreign.probes), (100, 0), "the window is never closed");
    let stats = pair.ends[Z].stats();
    assert!((12 << 20..=32 << 20).contains(&stats.receive_buffer), "{stats:?}");
    assert_eq!(stats.a_rwnd, stats.receive_buffer);
}

#[test]
fn a_little_more_than_the_largest_buffer_holds_is_completed_from_the_reserve() {
    let (got, foreign, _) = run(8, 127 << 10, config(1 << 20));
    assert_eq!(got, 8);
    assert!(foreign.probes > 10, "{}", foreign.probes);
}

#[test]
fn more_than_can_ever_be_completed_ends_with_a_reason_and_not_in_silence() {
    let (got, _, pair) = run(100, 128 << 10, config(1 << 20));
    assert_eq!(got, 0);
    assert_eq!(pair.events[Z].last(), Some(&Event::Closed(CloseReason::OutOfReceiveBuffer)));
}

#[test]
fn a_message_that_the_sender_gives_up_in_silence_does_not_stall_its_stream() {
    let mut pair = Pair::exactly(Config::default(), Config::default(), 1);
    pair.connect();
    let first = pair.ends[A].next_tsn_for_tests();
    let i_data = |tsn: u32, stream: u16, mid: u32, payload: &[u8]| {
        let mut value = first.wrapping_add(tsn).to_be_bytes().to_vec();
        value.extend_from_slice(&stream.to_be_bytes());
        value.extend_from_slice(&[0, 0]);
        value.extend_from_slice(&mid.to_be_bytes());
        value.extend_from_slice(&53u32.to_be_bytes());
        value.extend_from_slice(payload);
        value
    };
    // Message 0 of stream 1 is begun and never ended; message 1 follows, with another stream's between.
    pair.inject(Z, &[(ChunkType::I_DATA, 2, &i_data(0, 1, 0, b"begun"))]);
    pair.inject(Z, &[(ChunkType::I_DATA, 3, &i_data(2, 1, 1, b"next"))]);
    assert_eq!(pair.recv_all(Z, 1), Vec::<Vec<u8>>::new(), "TSN 1 may be of message 0");
    pair.inject(Z, &[(ChunkType::I_DATA, 3, &i_data(1, 2, 0, b"other"))]);
    assert_eq!(pair.recv_all(Z, 1), [b"next"]);
    assert_eq!(pair.recv_all(Z, 2), [b"other"]);
    // The same when the beginning comes last.
    pair.inject(Z, &[(ChunkType::I_DATA, 3, &i_data(4, 1, 3, b"fourth"))]);
    pair.inject(Z, &[(ChunkType::I_DATA, 2, &i_data(3, 1, 2, b"third"))]);
    assert_eq!(pair.recv_all(Z, 1), [b"fourth"]);
    let stats = pair.ends[Z].stats();
    assert_eq!((stats.a_rwnd, stats.dropped_data_invalid), (stats.receive_buffer, 2));
}
