//! Messages that are read in pieces.

use proptest::prelude::*;

use super::pieces::{STREAM, connected};
use super::*;
use crate::{CloseReason, Piece};

/// Messages of up to 1 GiB, of which 256 KiB are put together, in buffers of 1 MiB.
fn narrow() -> Config {
    Config {
        max_message_size_recv: 1 << 30,
        max_whole_message: 256 << 10,
        receive_buffer: 1 << 20,
        send_buffer: 1 << 20,
        ..Config::default()
    }
}

/// What was read of a message, and how it stands.
#[derive(Default)]
struct Read {
    begun: bool,
    bytes: Vec<u8>,
    end: Option<Piece>,
}

impl Pair {
    /// Reads what there is.
    fn read(&mut self, read: &mut Read) {
        if !read.begun {
            read.begun = self.ends[Z].begin_recv(STREAM).is_some();
        }
        while read.begun && read.end.is_none() {
            match self.ends[Z].recv_piece(STREAM) {
                Piece::Bytes(piece) => {
                    assert!(!piece.is_empty());
                    read.bytes.extend_from_slice(&piece);
                }
                Piece::Pending => return,
                end => read.end = Some(end),
            }
        }
    }

    fn read_to_the_end(&mut self) -> Read {
        let mut read = Read::default();
        self.run_until(Duration::from_secs(600), |pair| {
            pair.read(&mut read);
            read.end.is_some()
        });
        read
    }
}

#[test]
fn a_message_far_larger_than_all_buffers_goes_through_them() {
    let mib: usize = std::env::var("SINNET_PIECES_MIB").map_or(8, |mib| mib.parse().expect("a number"));
    for (interleaving, unordered) in [(false, false), (true, false), (true, true)] {
        let mut pair = connected(&narrow(), interleaving, 1);
        pair.weather.latency = ms(1);
        pair.begin(SendOptions { unordered, ..SendOptions::default() });
        let piece = Bytes::from(pattern(64 << 10));
        let (mut given, total) = (0, mib << 20);
        let mut read = Read::default();
        let (mut got, mut held, mut buffered) = (0, 0, 0);
        pair.run_until(Duration::from_secs(6000), |pair| {
            while given < total && pair.ends[A].append_to_message(STREAM, piece.clone()).is_ok() {
                given += piece.len();
                if given == total {
                    pair.finish();
                }
            }
            held = held.max(pair.ends[Z].arrived_for_tests());
            buffered = buffered.max(pair.ends[A].total_buffered());
            pair.read(&mut read);
            for byte in read.bytes.drain(..) {
                let at = got % piece.len();
                assert_eq!(byte, piece[at], "at {got}");
                got += 1;
            }
            read.end.is_some()
        });
        assert_eq!((read.end, got), (Some(Piece::End), total));
        println!("{held} held, {buffered} buffered");
        assert!(held <= (1 << 20) + (384 << 10), "{held}");
        assert!(buffered <= (1 << 20) + (256 << 10), "{buffered}");
        pair.run_for(ms(500));
        assert_eq!(pair.ends[Z].arrived_for_tests(), 0);
        assert_eq!(pair.ends[Z].stats().messages_received, 1);
    }
}

#[test]
fn pieces_come_before_the_message_is_whole_and_the_reader_is_told() {
    for (interleaving, unordered) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut pair = connected(&Config::default(), interleaving, 1);
        let mut read = Read::default();
        pair.read(&mut read);
        assert!(!read.begun);
        pair.begin(SendOptions { unordered, ..SendOptions::default() });
        for n in 1..=5 {
            pair.forget();
            pair.append(&pattern(2000)).unwrap();
            pair.run_for(ms(300));
            assert!(pair.events[Z].contains(&Event::Readable(STREAM)), "{n} {interleaving} {unordered}");
            pair.read(&mut read);
            assert!(read.begun && read.bytes.len() >= 2000 * n - 1024);
            assert_eq!(pair.recv(Z, 1), None, "it waits");
        }
        pair.finish();
        pair.send(A, 1, b"next");
        pair.run_for(ms(300));
        pair.read(&mut read);
        assert_eq!((read.end, read.bytes), (Some(Piece::End), pattern(2000).repeat(5)));
        assert_eq!(pair.ends[Z].recv_piece(STREAM), Piece::NotBegun);
        assert_eq!(pair.recv_all(Z, 1), [b"next"]);
        // A message that is there whole.
        pair.send(A, 1, &pattern(5000));
        pair.run_for(ms(300));
        let read = pair.read_to_the_end();
        assert_eq!((read.end, read.bytes), (Some(Piece::End), pattern(5000)));
        assert_eq!(pair.ends[Z].arrived_for_tests(), 0);
    }
}

#[test]
fn what_the_sender_gives_up_never_looks_complete() {
    for (interleaving, unordered, lossy) in [false, true]
        .into_iter()
        .flat_map(|i| [(i, false, false), (i, false, true), (i, true, false), (i, true, true)])
    {
        let mut pair = connected(&Config::default(), interleaving, 1);
        let mut read = Read::default();
        pair.read(&mut read);
        pair.begin(SendOptions { unordered, ..SendOptions::default() });
        pair.append(&pattern(20_000)).unwrap();
        if lossy {
            let kind = if interleaving { ChunkType::I_DATA } else { ChunkType::DATA };
            pair.script = drop_nth(A, kind, 9);
        }
        pair.run_for(ms(15));
        pair.read(&mut read);
        assert!(read.begun && !read.bytes.is_empty());
        pair.ends[A].abandon_message(STREAM);
        pair.send(A, 1, b"next");
        pair.forget();
        pair.run_for(Duration::from_secs(3));
        assert!(pair.events[Z].contains(&Event::Readable(STREAM)));
        pair.read(&mut read);
        assert_eq!(read.end, Some(Piece::Aborted), "{interleaving} {unordered} {lossy}");
        assert!(pattern(20_000).starts_with(&read.bytes));
        assert_eq!(pair.recv_all(Z, 1), [b"next"]);
        assert_eq!(pair.ends[Z].arrived_for_tests(), 0);
    }
}

#[test]
fn the_end_of_the_association_is_the_end_of_what_is_under_way() {
    let mut pair = connected(&Config::default(), true, 1);
    let mut read = Read::default();
    pair.read(&mut read);
    pair.begin(SendOptions::default());
    pair.append(&pattern(20_000)).unwrap();
    pair.run_for(ms(300));
    pair.ends[A].abort(pair.now, "enough");
    pair.run_for(ms(300));
    pair.read(&mut read);
    assert_eq!(read.end, Some(Piece::Aborted));
    assert!(read.bytes.len() >= 20_000 - 1024, "what had come is read first");
}

#[test]
fn who_does_not_read_closes_the_window_and_can_go_on_later() {
    for interleaving in [false, true] {
        let mut pair = connected(&narrow(), interleaving, 1);
        pair.begin(SendOptions::default());
        let piece = pattern(64 << 10);
        let mut given = 0;
        let mut give = |pair: &mut Pair| {
            while given < 4 << 20 && pair.append(&piece).is_ok() {
                given += piece.len();
            }
            given
        };
        for _ in 0..200 {
            give(&mut pair);
            pair.run_for(ms(100));
        }
        let given = give(&mut pair);
        assert!(given < 3 << 20, "{given}");
        assert!(pair.ends[Z].arrived_for_tests() <= (1 << 20) + (384 << 10));
        assert!(pair.events[Z].contains(&Event::Readable(STREAM)), "too large to be received whole");
        assert!(pair.ends[A].is_established() && pair.ends[Z].is_established());
        let mut read = Read::default();
        pair.run_until(Duration::from_secs(100), |pair| {
            let all = give(pair) == 4 << 20;
            pair.read(&mut read);
            all
        });
        pair.finish();
        pair.run_until(Duration::from_secs(100), |pair| {
            pair.read(&mut read);
            read.end.is_some()
        });
        assert_eq!((read.end, read.bytes.len()), (Some(Piece::End), 4 << 20));
    }
}

#[test]
fn a_message_too_large_to_be_received_whole_is_refused_at_its_head() {
    for (interleaving, unordered) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut pair = connected(&narrow(), interleaving, 1);
        pair.begin(SendOptions { unordered, ..SendOptions::default() });
        pair.append(&pattern(300 << 10)).unwrap();
        pair.run_for(Duration::from_secs(2));
        assert!(pair.events[Z].contains(&Event::Readable(STREAM)));
        assert_eq!(pair.recv(Z, 1), None);
        let head = pair.ends[Z].head(STREAM).expect("there");
        assert!(head.is_too_large && !head.is_whole && head.ppid == Ppid(53));
        pair.ends[Z].refuse_message(STREAM);
        assert_eq!(pair.ends[Z].head(STREAM), None);
        for _ in 0..40 {
            pair.append_all(&[&pattern(64 << 10)]);
        }
        pair.finish();
        // One that is there whole before anybody looks.
        pair.begin(SendOptions::default());
        pair.append_all(&[&pattern(300 << 10)]);
        pair.finish();
        pair.send(A, 1, b"next");
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.recv(Z, 1), None);
        assert!(pair.ends[Z].head(STREAM).is_some_and(|head| head.is_whole && head.is_too_large));
        pair.ends[Z].refuse_message(STREAM);
        assert_eq!(pair.recv_all(Z, 1), [b"next"], "{interleaving} {unordered}");
        assert_eq!(pair.ends[Z].arrived_for_tests(), 0);
    }
}

#[test]
fn a_reader_may_stop_and_the_rest_takes_no_room() {
    for interleaving in [false, true] {
        let mut pair = connected(&narrow(), interleaving, 1);
        pair.begin(SendOptions::default());
        pair.append(&pattern(100_000)).unwrap();
        pair.run_for(ms(500));
        let mut read = Read::default();
        pair.read(&mut read);
        assert!(read.begun && read.bytes.len() > 90_000);
        pair.ends[Z].refuse_message(STREAM);
        assert_eq!(pair.ends[Z].recv_piece(STREAM), Piece::NotBegun);
        for _ in 0..40 {
            pair.append_all(&[&pattern(64 << 10)]);
        }
        assert!(pair.ends[Z].arrived_for_tests() < 100_000);
        pair.finish();
        pair.send(A, 1, b"next");
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.recv_all(Z, 1), [b"next"]);
        assert_eq!(pair.ends[Z].arrived_for_tests(), 0);
    }
}

#[test]
fn the_largest_message_is_a_limit_for_pieces_too() {
    let mut pair = connected(&Config { max_message_size_recv: 300_000, ..narrow() }, true, 1);
    let mut read = Read::default();
    pair.begin(SendOptions::default());
    pair.run_until(Duration::from_secs(60), |pair| {
        let _ = pair.append(&pattern(20_000));
        pair.read(&mut read);
        pair.ends[Z].is_closed()
    });
    pair.drain();
    let reason = CloseReason::ProtocolViolation("message larger than we take");
    assert!(pair.events[Z].contains(&Event::Closed(reason)));
    assert!(read.bytes.len() <= 300_000 + 1200, "and one chunk");
}

#[test]
fn a_stream_that_is_reset_begins_anew_and_what_was_not_read_stays() {
    let mut pair = connected(&Config::default(), true, 1);
    pair.send(A, 1, &pattern(50_000));
    pair.run_for(ms(11));
    let mut read = Read::default();
    pair.read(&mut read);
    assert!(read.begun && read.end.is_none());
    pair.ends[A].reset_stream(pair.now, STREAM).unwrap();
    pair.run_for(Duration::from_secs(2));
    assert!(pair.events[A].contains(&Event::StreamsResetDone(vec![STREAM])));
    pair.send(A, 1, b"anew");
    pair.run_for(ms(300));
    pair.read(&mut read);
    assert_eq!((read.end, read.bytes), (Some(Piece::End), pattern(50_000)));
    assert_eq!(pair.recv_all(Z, 1), [b"anew"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_was_given_through_loss_and_reordering(
        sizes in proptest::collection::vec(1usize..40_000, 1..6),
        interleaving: bool,
        unordered: bool,
        loss in 0u32..12,
        seed: u64,
    ) {
        let config = Config { receive_buffer: 128 << 10, initial_receive_buffer: 64 << 10, max_whole_message: 64 << 10, ..narrow() };
        let mut pair = connected(&config, interleaving, seed);
        pair.weather = Weather { loss, duplicate: 2, latency: ms(10), jitter: ms(8) };
        for (n, &size) in sizes.iter().enumerate() {
            let message: Vec<u8> = pattern(size * 3).iter().map(|byte| byte ^ n as u8).collect();
            pair.begin(SendOptions { unordered, ..SendOptions::default() });
            let mut pieces = message.chunks(size);
            let mut read = Read::default();
            pair.run_until(Duration::from_secs(600), |pair| {
                while let Some(piece) = pieces.clone().next() && pair.append(piece).is_ok() {
                    pieces.next();
                    if pieces.len() == 0 {
                        pair.finish();
                    }
                }
                pair.read(&mut read);
                read.end.is_some()
            });
            prop_assert_eq!(read.end, Some(Piece::End));
            prop_assert!(read.bytes == message, "{} of {}", read.bytes.len(), message.len());
        }
        prop_assert_eq!(pair.ends[Z].arrived_for_tests(), 0);
    }
}
