//! Messages that are given in pieces.

use proptest::prelude::*;

use super::*;
use crate::PieceError;

pub(super) const STREAM: StreamId = StreamId(1);

pub(super) fn connected(config: &Config, interleaving: bool, seed: u64) -> Pair {
    let config = Config { interleaving, ..config.clone() };
    let mut pair = Pair::exactly(config.clone(), config, seed);
    pair.connect();
    pair
}

impl Pair {
    pub(super) fn begin(&mut self, options: SendOptions) {
        self.ends[A].begin_message(self.now, STREAM, Ppid(53), options).expect("begun");
    }

    pub(super) fn append(&mut self, piece: &[u8]) -> Result<(), PieceError> {
        self.ends[A].append_to_message(STREAM, Bytes::copy_from_slice(piece))
    }

    /// Gives it all, as there is room.
    pub(super) fn append_all(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.run_until(Duration::from_secs(600), |pair| match pair.append(piece) {
                Ok(()) => true,
                Err(PieceError::BufferFull) => false,
                Err(error) => panic!("{error}"),
            });
        }
    }

    pub(super) fn finish(&mut self) {
        self.ends[A].finish_message(STREAM).expect("finished");
    }
}

#[test]
fn a_message_in_pieces_of_any_size_arrives_whole() {
    let borders = [1, 2, 1023, 1024, 1025, 1132, 1136, 2047, 2048, 2049, 2264, 3000, 65_537];
    for (interleaving, size) in [false, true].into_iter().flat_map(|i| borders.map(|size| (i, size))) {
        for piece in [1, 7, 100, 1023, 1024, 1025, 4000, 65_537] {
            let mut pair = connected(&Config::default(), interleaving, 1);
            let message = pattern(size);
            pair.begin(SendOptions::default());
            let pieces: Vec<&[u8]> = message.chunks(piece.max(size / 200)).collect();
            pair.append_all(&pieces);
            assert_eq!(pair.append(b""), Ok(()), "an empty piece is no piece");
            pair.finish();
            pair.send(A, 1, b"next");
            pair.run_for(ms(500));
            assert_eq!(pair.recv_all(Z, 1), [message, b"next".to_vec()], "{size} in {piece}, {interleaving}");
            assert_eq!(pair.ends[A].total_buffered(), 0);
            assert_eq!(
                pair.ends[A].send_capacity(STREAM),
                connected(&Config::default(), interleaving, 1).ends[A].send_capacity(STREAM)
            );
        }
    }
}

#[test]
fn what_is_given_is_sent_but_for_the_last_bytes() {
    for interleaving in [false, true] {
        let mut pair = connected(&Config::default(), interleaving, 1);
        pair.begin(SendOptions::default());
        assert_eq!(pair.ends[A].finish_message(STREAM), Err(PieceError::Empty));
        pair.append(&pattern(20_000)).unwrap();
        pair.run_for(ms(500));
        assert_eq!(pair.ends[A].buffered_amount(STREAM), 1024);
        assert_eq!(pair.ends[A].unacked_bytes(STREAM), 1024);
        assert_eq!(pair.recv(Z, 1), None);
        pair.append(b"ab").unwrap();
        pair.run_for(ms(500));
        assert_eq!(pair.ends[A].buffered_amount(STREAM), 2, "the rest made a chunk");
        pair.finish();
        pair.run_for(ms(500));
        assert_eq!(pair.recv(Z, 1).expect("whole").payload.len(), 20_002);
        assert_eq!(pair.append(b"c"), Err(PieceError::NotBegun));
    }
}

#[test]
fn small_pieces_become_full_chunks() {
    let mut pair = connected(&Config::default(), true, 1);
    pair.begin(SendOptions::default());
    for piece in pattern(40_000).chunks(50) {
        pair.append(piece).unwrap();
        pair.run_for(ms(1));
    }
    pair.finish();
    pair.run_for(ms(500));
    assert_eq!(pair.recv_all(Z, 1), [pattern(40_000)]);
    assert_eq!(pair.ends[A].stats().data_chunks_sent, 40);
}

#[test]
fn a_message_is_given_up_half_way_and_the_peer_never_sees_any_of_it() {
    // How much is given, and what is lost of it.
    for (interleaving, given, lost) in [false, true].into_iter().flat_map(|i| {
        [(500, 0), (5000, 0), (5000, 1), (5000, 3), (250_000, 0), (250_000, 7)]
            .map(|(given, lost)| (i, given, lost))
    }) {
        for (acknowledged, unordered) in [(false, false), (true, false), (true, true)] {
            let mut pair = connected(&Config::default(), interleaving, 1);
            let idle = pair.ends[A].send_capacity(STREAM);
            let kind = if interleaving { ChunkType::I_DATA } else { ChunkType::DATA };
            if lost > 0 {
                pair.script = drop_nth(A, kind, lost);
            }
            pair.begin(SendOptions { unordered, ..SendOptions::default() });
            pair.append(&pattern(given)).unwrap();
            if acknowledged {
                pair.run_for(Duration::from_secs(5));
            } else {
                pair.drain();
            }
            pair.ends[A].abandon_message(STREAM);
            assert_eq!(pair.append(b"more"), Err(PieceError::NotBegun));
            pair.send(A, 1, b"next");
            pair.send(A, 2, b"other");
            pair.run_for(Duration::from_secs(10));
            let name = format!("{interleaving} {given} {lost} {acknowledged} {unordered}");
            assert_eq!(pair.recv_all(Z, 1), [b"next"], "{name}");
            assert_eq!(pair.recv_all(Z, 2), [b"other"], "{name}");
            assert_eq!(pair.ends[A].total_buffered(), 0, "{name}");
            assert!(pair.ends[A].send_capacity(STREAM) >= idle, "{name}");
            assert_eq!(pair.ends[A].stats().messages_abandoned, 1, "{name}");
            let stats = pair.ends[Z].stats();
            assert_eq!(stats.a_rwnd, stats.receive_buffer, "{name}: nothing of it is kept");
        }
    }
}

#[test]
fn its_limits_give_it_up_while_it_is_given() {
    for interleaving in [false, true] {
        let mut pair = connected(&Config::default(), interleaving, 1);
        let idle = pair.ends[A].send_capacity(STREAM);
        let kind = if interleaving { ChunkType::I_DATA } else { ChunkType::DATA };
        pair.script = drop_nth(A, kind, 2);
        pair.begin(SendOptions { max_retransmits: Some(0), ..SendOptions::default() });
        pair.append(&pattern(30_000)).unwrap();
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.append(b"more"), Err(PieceError::Abandoned));
        assert_eq!(pair.ends[A].finish_message(STREAM), Err(PieceError::Abandoned));
        // A lifetime that ends before the first chunk could go.
        pair.script = Box::new(|_, _| Fate::Drop);
        pair.send(A, 2, &pattern(30_000));
        pair.drain();
        pair.begin(SendOptions { lifetime: Some(ms(50)), ..SendOptions::default() });
        pair.append(&pattern(10_000)).unwrap();
        pair.append(&pattern(10_000)).unwrap();
        pair.run_for(ms(100));
        pair.script = Box::new(|_, _| Fate::Deliver);
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.append(b"more"), Err(PieceError::Abandoned));
        pair.ends[A].abandon_message(STREAM);
        assert_eq!(pair.append(b"more"), Err(PieceError::NotBegun));
        pair.send(A, 1, b"next");
        pair.run_for(ms(500));
        assert_eq!(pair.recv_all(Z, 1), [b"next"]);
        assert_eq!(pair.ends[A].stats().messages_abandoned, 2);
        assert_eq!(pair.ends[A].total_buffered(), 0);
        assert!(pair.ends[A].send_capacity(STREAM) >= idle);
    }
}

#[test]
fn a_message_that_was_given_whole_is_given_up_whole() {
    for (interleaving, nth) in [false, true].into_iter().flat_map(|i| [2, 5, 9, 25].map(|nth| (i, nth))) {
        let mut pair = connected(&Config::default(), interleaving, 1);
        let kind = if interleaving { ChunkType::I_DATA } else { ChunkType::DATA };
        pair.script = drop_nth(A, kind, nth);
        pair.begin(SendOptions { max_retransmits: Some(0), ..SendOptions::default() });
        for piece in pattern(30_000).chunks(5000) {
            pair.append(piece).unwrap();
        }
        pair.finish();
        pair.begin(SendOptions::default());
        pair.append(b"the next in pieces").unwrap();
        pair.finish();
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.recv_all(Z, 1), [b"the next in pieces"], "{interleaving} {nth}");
        assert_eq!(pair.ends[A].total_buffered(), 0);
        assert_eq!(pair.ends[A].stats().messages_abandoned, 1);
    }
}

#[test]
fn with_i_data_others_go_on_meanwhile_and_without_they_wait() {
    for interleaving in [false, true] {
        let mut pair =
            connected(&Config { max_message_size_recv: 4 << 20, ..Config::default() }, interleaving, 1);
        pair.begin(SendOptions::default());
        pair.append(&pattern(20_000)).unwrap();
        pair.run_for(ms(200));
        while pair.try_send(A, 2, &pattern(200_000), SendOptions::default()).is_ok() {}
        pair.run_for(Duration::from_secs(2));
        let others: Vec<_> = pair.recv_all(Z, 2);
        assert_eq!(!others.is_empty(), interleaving);
        if interleaving {
            pair.ends[A].abandon_message(STREAM);
            continue;
        }
        // However full the buffer is, what they all wait for is taken; but not without end.
        let mut given = 20_000;
        while pair.append(&pattern(20_000)).is_ok() {
            given += 20_000;
        }
        let limit = pair.ends[A].stats().send_buffer;
        assert!(given >= 400_000 && pair.ends[A].total_buffered() <= limit + limit / 2, "{given}");
        pair.run_for(ms(1000));
        pair.append(&pattern(20_000)).unwrap();
        pair.finish();
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.recv(Z, 1).expect("whole").payload.len(), given + 20_000);
        assert!(pair.recv(Z, 2).is_some());
    }
}

#[test]
fn a_slow_message_leaves_room_for_large_ones_of_others() {
    let narrow = Config { max_message_size_recv: 64 << 10, receive_buffer: 128 << 10, ..Config::default() };
    let mut pair = connected(&narrow, true, 1);
    pair.begin(SendOptions::default());
    pair.append(&pattern(20_000)).unwrap();
    for _ in 0..5 {
        pair.send(A, 2, &pattern(64 << 10));
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.recv_all(Z, 2).len(), 1);
    }
    pair.finish();
    pair.run_for(ms(500));
    assert_eq!(pair.recv_all(Z, 1), [pattern(20_000)]);
}

#[test]
fn nothing_else_is_taken_on_its_stream_until_it_ends() {
    let mut pair = connected(&Config::default(), true, 1);
    pair.begin(SendOptions::default());
    pair.append(b"abc").unwrap();
    let now = pair.now;
    assert_eq!(pair.try_send(A, 1, b"x", SendOptions::default()), Err(SendError::Busy));
    let again = pair.ends[A].begin_message(now, STREAM, Ppid(53), SendOptions::default());
    assert_eq!(again, Err(PieceError::Busy));
    pair.finish();
    pair.drain();
    assert!(pair.events[A].contains(&Event::SendCapacity(STREAM)));
    pair.send(A, 1, b"x");
    pair.run_for(ms(300));
    assert_eq!(pair.recv_all(Z, 1), [b"abc".to_vec(), b"x".to_vec()]);
}

#[test]
fn a_reset_and_a_shutdown_give_up_what_is_half_given() {
    for (interleaving, given) in
        [false, true].into_iter().flat_map(|i| [0, 100, 50_000].map(|given| (i, given)))
    {
        let mut pair = connected(&Config::default(), interleaving, 1);
        pair.begin(SendOptions::default());
        pair.append(&pattern(given)).unwrap();
        pair.run_for(ms(15));
        pair.ends[A].reset_stream(pair.now, STREAM).unwrap();
        pair.run_for(Duration::from_secs(3));
        assert!(pair.events[A].contains(&Event::StreamsResetDone(vec![STREAM])), "{interleaving} {given}");
        assert_eq!(pair.append(b"more"), Err(PieceError::NotBegun));

        pair.begin(SendOptions::default());
        pair.append(&pattern(given)).unwrap();
        pair.run_for(ms(15));
        // Either side.
        let side = if given == 100 { Z } else { A };
        pair.ends[side].shutdown(pair.now);
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.append(b"more"), Err(PieceError::Closed));
        for side in [A, Z] {
            let closed = Event::Closed(crate::CloseReason::Shutdown);
            assert!(pair.events[side].contains(&closed), "{interleaving} {given}: {:?}", pair.events[side]);
        }
        assert_eq!(pair.recv(Z, 1), None);
    }
}

#[test]
fn a_peer_without_forward_tsn_gets_no_message_that_could_not_be_given_up() {
    let mut pair =
        Pair::with(Config::default(), Config { partial_reliability: false, ..Config::default() }, 1);
    let now = pair.now;
    let begin = |pair: &mut Pair| pair.ends[A].begin_message(now, STREAM, Ppid(53), SendOptions::default());
    assert_eq!(begin(&mut pair), Err(PieceError::NotEstablished));
    pair.connect();
    assert_eq!(begin(&mut pair), Err(PieceError::NotSupported));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_cut_anywhere_are_the_same_bytes_through_loss_and_reordering(
        cuts in proptest::collection::vec(0usize..60_000, 0..40),
        interleaving: bool,
        unordered: bool,
        loss in 0u32..12,
        seed: u64,
    ) {
        let mut pair = connected(&Config::default(), interleaving, seed);
        pair.weather = Weather { loss, duplicate: 2, latency: ms(10), jitter: ms(8) };
        let message = pattern(60_000);
        let mut cuts = cuts;
        cuts.extend([0, message.len()]);
        cuts.sort_unstable();
        pair.begin(SendOptions { unordered, ..SendOptions::default() });
        for cut in cuts.windows(2) {
            pair.append_all(&[&message[cut[0]..cut[1]]]);
            pair.run_for(ms(cut[1] as u64 % 13));
            pair.send(A, 2, &[1; 700]);
        }
        pair.finish();
        pair.run_for(Duration::from_secs(60));
        prop_assert_eq!(pair.recv_all(Z, 1), vec![message]);
        prop_assert_eq!(pair.recv_all(Z, 2).len(), cuts.len() - 1);
        prop_assert_eq!(pair.ends[A].total_buffered(), 0);
    }
}
