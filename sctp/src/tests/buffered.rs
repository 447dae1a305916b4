//! What is said of the buffered amount, against what is seen on the wire.

use std::cell::RefCell;
use std::rc::Rc;

use rand::RngExt;

use super::*;

const STREAMS: u16 = 4;

/// What a stream's `buffered_amount` must be, by what was accepted and what has gone out.
#[derive(Default)]
struct Model {
    buffered: [usize; STREAMS as usize],
    threshold: [usize; STREAMS as usize],
    last_tsn: Option<u32>,
}

impl Model {
    /// Takes off what goes out for the first time, if it counts: those messages begin with a 1.
    fn sent(&mut self, packet: &[u8], counts: &mut [bool]) {
        for chunk in raw_chunks(packet) {
            let (header, at) = match chunk.kind {
                ChunkType::DATA => (12, 4),
                ChunkType::I_DATA => (16, 4),
                _ => continue,
            };
            let word = |at: usize| u32::from_be_bytes(chunk.value[at..at + 4].try_into().unwrap());
            let tsn = word(0);
            if self.last_tsn.is_some_and(|last| tsn.wrapping_sub(last) as i32 <= 0) {
                continue;
            }
            self.last_tsn = Some(tsn);
            let stream = usize::from((word(at) >> 16) as u16);
            if chunk.flags & 2 != 0 {
                counts[stream] = chunk.value[header] == 1;
            }
            if counts[stream] {
                self.buffered[stream] -= chunk.value.len() - header;
            }
        }
    }
}

#[test]
fn the_buffered_amount_is_what_was_accepted_less_what_went_out_and_falls_to_the_threshold_once() {
    let mut crossings = 0;
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pair = match seed % 2 {
            0 => Pair::with(Config::default(), Config::default(), seed),
            _ => Pair::exactly(Config::default(), Config::default(), seed),
        };
        pair.connect();
        let model = Rc::new(RefCell::new(Model::default()));
        let (seen, mut counts) = (model.clone(), [false; STREAMS as usize]);
        let loss = rng.random_range(0..20);
        let mut chance = StdRng::seed_from_u64(seed);
        pair.script = Box::new(move |side, packet| {
            if side == A {
                seen.borrow_mut().sent(packet, &mut counts);
            }
            if chance.random_range(0..100) < loss { Fate::Drop } else { Fate::Deliver }
        });
        for _ in 0..400 {
            let stream = rng.random_range(0..STREAMS);
            let slot = usize::from(stream);
            if rng.random_ratio(1, 10) {
                let threshold = rng.random_range(0..20_000);
                pair.ends[A].set_buffered_amount_low_threshold(StreamId(stream), threshold);
                model.borrow_mut().threshold[slot] = threshold;
            }
            if rng.random_ratio(2, 3) {
                let len = [1, 30, 1132, 1133, 5_000, 60_000][rng.random_range(0..6)];
                let uncounted = rng.random_ratio(1, 4);
                let options = SendOptions { uncounted, ..SendOptions::default() };
                let payload = vec![u8::from(!uncounted); len];
                if pair.try_send(A, stream, &payload, options).is_ok() && !uncounted {
                    model.borrow_mut().buffered[slot] += len;
                }
            }
            let before = model.borrow().buffered;
            if rng.random_ratio(1, 2) {
                pair.drain();
            } else {
                pair.step(pair.now + ms(rng.random_range(0..30)));
                pair.drain();
            }
            let model = model.borrow();
            let lows = std::mem::take(&mut pair.events[A]);
            for stream in 0..STREAMS {
                let slot = usize::from(stream);
                let after = pair.ends[A].buffered_amount(StreamId(stream));
                assert_eq!(after, model.buffered[slot], "seed {seed}");
                let low = Event::BufferedAmountLow(StreamId(stream));
                let told = lows.iter().filter(|event| **event == low).count();
                let crossed = before[slot] > model.threshold[slot] && after <= model.threshold[slot];
                assert_eq!(told, usize::from(crossed), "seed {seed}: {} to {after}", before[slot]);
                crossings += told;
            }
            for stream in 0..STREAMS {
                pair.recv_all(Z, stream);
            }
        }
    }
    assert!(crossings > 40, "{crossings}");
}

#[test]
fn a_threshold_that_is_raised_above_the_amount_says_nothing() {
    let mut pair = Pair::connected(Config::default());
    pair.send(A, 1, &pattern(200_000));
    pair.drain();
    pair.ends[A].set_buffered_amount_low_threshold(StreamId(1), 500_000);
    pair.run_for(ms(500));
    assert_eq!(pair.ends[A].buffered_amount(StreamId(1)), 0);
    assert!(pair.events[A].is_empty(), "the amount has never been above it since");
}

#[test]
fn a_flush_is_over_when_everything_has_been_sent_once_or_given_up() {
    let mut pair = Pair::connected(Config::default());
    assert!(pair.ends[A].is_flushed(StreamId(1)));
    pair.send(A, 1, &pattern(100_000));
    pair.drain();
    assert!(!pair.ends[A].is_flushed(StreamId(1)) && pair.events[A].is_empty());
    pair.run_until(ms(500), |pair| !pair.events[A].is_empty());
    assert_eq!(pair.ends[A].buffered_amount(StreamId(1)), 0);
    assert!(pair.ends[A].unacked_bytes(StreamId(1)) > 0 && pair.ends[A].is_flushed(StreamId(1)));
    pair.run_for(ms(500));
    let flushes = |pair: &Pair| pair.events[A].iter().filter(|e| **e == Event::Flushed(StreamId(1))).count();
    assert_eq!(flushes(&pair), 1);
    // Who has not asked is not told.
    pair.send(A, 1, &pattern(50_000));
    pair.run_for(ms(500));
    assert_eq!(flushes(&pair), 1);
    // What outlives itself is not waited for.
    let options = SendOptions { lifetime: Some(ms(100)), uncounted: true, ..SendOptions::default() };
    pair.script = Box::new(|_, _| Fate::Drop);
    for _ in 0..50 {
        pair.try_send(A, 1, &pattern(10_000), options).unwrap();
    }
    pair.drain();
    assert_eq!(pair.ends[A].buffered_amount(StreamId(1)), 0, "not the application's");
    assert!(!pair.ends[A].is_flushed(StreamId(1)));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(flushes(&pair), 2);
}
