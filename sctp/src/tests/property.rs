//! Random weather, random traffic: every message exactly once, in order where that was asked for.
//!
//! `SCTP_SEED=n` runs one seed; a failure names its seed.

use super::*;
use crate::Scheduler;

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut below = |n: u32| rng.next_u32() % n;
    let schedulers = [Scheduler::WeightedFair, Scheduler::RoundRobinMessages, Scheduler::RoundRobinPackets];
    let config = Config {
        scheduler: schedulers[below(3) as usize],
        receive_buffer: 40_000 + below(400_000) as usize,
        max_message_size_recv: 40_000,
        ..Config::default()
    };
    // Both sides take I-DATA, or one, or none.
    let with = |interleaving| Config { interleaving, ..config.clone() };
    let mut pair = Pair::exactly(with(seed % 3 != 2), with(seed.is_multiple_of(3)), seed);
    pair.weather = Weather {
        loss: below(15),
        duplicate: below(10),
        latency: ms(u64::from(below(60))),
        jitter: ms(u64::from(below(40))),
    };
    pair.ends[A].connect(pair.now);
    if below(2) == 0 {
        pair.ends[Z].connect(pair.now);
    }
    let count = 60;
    let mut sent = [0u32; 2];
    let mut got = [vec![false; count as usize], vec![false; count as usize]];
    let mut last = [[None; 4]; 2];
    let limit = pair.now + Duration::from_secs(600);
    while got.iter().flatten().any(|&arrived| !arrived) {
        assert!(pair.now < limit, "seed {seed}: not done in time: {:?}", pair.ends);
        for side in [A, Z] {
            while sent[side] < count && below(3) > 0 {
                let i = sent[side];
                let stream = i % 4;
                let mut message = pattern(4 + below(3) as usize * below(12_000) as usize);
                message[..4].copy_from_slice(&i.to_be_bytes());
                let options = SendOptions { unordered: stream == 3, ..SendOptions::default() };
                pair.try_send(side, stream as u16, &message, options).unwrap();
                sent[side] += 1;
            }
        }
        let until = pair.now + ms(u64::from(below(300)));
        while pair.step(until) {}
        pair.drain();
        for side in [A, Z] {
            for stream in 0..4u16 {
                if below(4) == 0 {
                    continue;
                }
                for message in pair.recv_all(side, stream) {
                    let i = u32::from_be_bytes([message[0], message[1], message[2], message[3]]);
                    assert_eq!(message[4..], pattern(message.len())[4..], "seed {seed}");
                    assert_eq!(i % 4, u32::from(stream), "seed {seed}");
                    assert!(!std::mem::replace(&mut got[side][i as usize], true), "seed {seed}: {i} twice");
                    if stream != 3 {
                        assert!(last[side][usize::from(stream)] < Some(i), "seed {seed}: order");
                        last[side][usize::from(stream)] = Some(i);
                    }
                }
            }
        }
    }
    pair.weather = Weather::FAIR;
    pair.run_for(Duration::from_secs(10));
    for side in [A, Z] {
        assert_eq!(pair.ends[side].total_buffered(), 0, "seed {seed}");
        let stats = pair.ends[side].stats();
        assert_eq!(stats.a_rwnd, stats.receive_buffer, "seed {seed}");
        assert_eq!(pair.ends[side].stats().dropped_data_invalid, 0, "seed {seed}");
    }
}

#[test]
fn every_message_arrives_exactly_once_and_in_order_in_any_weather() {
    if let Ok(seed) = std::env::var("SCTP_SEED") {
        run(seed.parse().expect("a number"));
        return;
    }
    for seed in 0..24 {
        run(seed);
    }
}

#[test]
fn calls_in_any_order_do_no_harm() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pair = Pair::exactly(Config::default(), Config::default(), seed);
        let mut out = [0; 1200];
        for _ in 0..400 {
            let side = (rng.next_u32() % 2) as usize;
            let now = pair.now;
            let end = &mut pair.ends[side];
            match rng.next_u32() % 24 {
                0 => end.connect(now),
                1 if rng.next_u32() % 20 == 0 => end.shutdown(now),
                2 if rng.next_u32() % 40 == 0 => end.abort(now, "any time"),
                3 => {
                    let _ = end.reset_stream(now, StreamId((rng.next_u32() % 4) as u16));
                }
                4 => {
                    let _ = end.poll_event();
                }
                5 => {
                    let _ = end.recv(StreamId((rng.next_u32() % 4) as u16));
                }
                6 => end.handle_timeout(now),
                7..12 => {
                    let size = 1 + rng.next_u32() as usize % 5000;
                    let stream = (rng.next_u32() % 4) as u16;
                    let _ = pair.try_send(side, stream, &vec![1; size], SendOptions::default());
                }
                12..20 => {
                    if let Some(len) = end.poll_transmit(now, &mut out) {
                        pair.ends[1 - side].handle_input(now, &out[..len]);
                    }
                }
                _ => pair.now += ms(u64::from(rng.next_u32() % 500)),
            }
        }
        for end in &mut pair.ends {
            end.handle_timeout(pair.now);
            assert!(end.poll_timeout().is_none_or(|deadline| deadline > pair.now), "seed {seed}");
        }
        pair.drain();
    }
}
