//! Losses found by time, tails, and what was no loss.

use super::*;
use crate::Stats;

/// A connected pair with a round trip of 100 ms that has been measured, both ends forgotten.
fn measured() -> Pair {
    let mut pair = Pair::new(Config::default());
    pair.weather.latency = ms(50);
    pair.ends[A].connect(pair.now);
    pair.run_for(ms(500));
    for _ in 0..10 {
        pair.send(A, 1, &pattern(4000));
        pair.run_for(ms(400));
    }
    assert_eq!(pair.recv_all(Z, 1).len(), 10);
    pair.forget();
    pair
}

/// Drops the packets of A with DATA that have these numbers, counted from 1.
fn drop_data(numbers: &'static [usize]) -> Script {
    let mut seen = 0;
    Box::new(move |from, packet| {
        if from == A && has(packet, ChunkType::DATA) {
            seen += 1;
            if numbers.contains(&seen) {
                return Fate::Drop;
            }
        }
        Fate::Deliver
    })
}

/// Sends one message of 10 packets, and says how long it took to arrive.
fn ten_packets(pair: &mut Pair) -> (Duration, Stats) {
    pair.send(A, 1, &pattern(11_000));
    let start = pair.now;
    pair.run_until(Duration::from_secs(10), |pair| pair.recv(Z, 1).is_some());
    let took = pair.now - start;
    pair.run_for(ms(1000));
    (took, pair.ends[A].stats())
}

#[test]
fn a_lost_tail_costs_two_round_trips_and_no_timeout() {
    let mut pair = measured();
    pair.script = drop_data(&[9, 10]);
    let (took, stats) = ten_packets(&mut pair);
    assert!(took < ms(500), "{took:?}");
    assert_eq!(stats.t3_expirations, 0, "{stats:?}");
    assert!(stats.tail_loss_probes >= 1);
}

#[test]
fn a_probe_that_repairs_a_loss_reduces_the_window_and_one_in_vain_does_not() {
    let mut pair = measured();
    let before = pair.ends[A].stats().cwnd;
    pair.script = drop_data(&[10]);
    let (_, stats) = ten_packets(&mut pair);
    assert_eq!((stats.tail_loss_probes, stats.t3_expirations), (1, 0));
    assert!(stats.cwnd < before, "{stats:?}");

    let mut pair = measured();
    let before = pair.ends[A].stats().cwnd;
    // Every acknowledgement comes late, but before T3.
    pair.weather.latency = ms(120);
    let (_, stats) = ten_packets(&mut pair);
    assert_eq!((stats.tail_loss_probes, stats.t3_expirations), (1, 0));
    assert!(stats.cwnd >= before, "{stats:?}");
}

#[test]
fn one_packet_after_the_loss_is_enough_to_find_it() {
    let mut pair = measured();
    pair.script = drop_data(&[9]);
    let (took, stats) = ten_packets(&mut pair);
    // Half a round trip there, half back, a quarter for reordering, half there again.
    assert!(took < ms(220), "{took:?}");
    assert_eq!((stats.retransmissions, stats.t3_expirations), (1, 0), "{stats:?}");
}

#[test]
fn a_retransmission_lost_twice_is_found_without_a_timeout() {
    let mut pair = measured();
    for _ in 0..20 {
        pair.send(A, 1, &pattern(40_000));
    }
    // The fifth packet is lost, and its chunk again each time it is sent again, twice.
    let mut seen = 0;
    let mut victim = None;
    let mut drops = 0;
    pair.script = Box::new(move |from, packet| {
        if from != A || !has(packet, ChunkType::DATA) {
            return Fate::Deliver;
        }
        seen += 1;
        let tsn =
            raw_chunks(packet).iter().find(|c| c.kind == ChunkType::DATA).map(|c| c.value[..4].to_vec());
        if seen == 5 {
            victim.clone_from(&tsn);
        }
        if victim.is_some() && tsn == victim && drops < 3 {
            drops += 1;
            return Fate::Drop;
        }
        Fate::Deliver
    });
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.recv_all(Z, 1).len(), 20);
    let stats = pair.ends[A].stats();
    assert_eq!(stats.t3_expirations, 0, "{stats:?}");
}

#[test]
fn a_timeout_for_nothing_is_undone() {
    let mut pair = measured();
    let before = pair.ends[A].stats();
    // Everything takes longer than T3 from one moment to the next: nothing is lost but time.
    pair.weather.latency = ms(800);
    let (_, stats) = ten_packets(&mut pair);
    pair.run_for(Duration::from_secs(3));
    assert!(stats.t3_expirations > before.t3_expirations);
    let stats = pair.ends[A].stats();
    assert_eq!(stats.spurious_recoveries, 1, "{stats:?}");
    assert!(stats.cwnd >= before.cwnd, "{before:?} {stats:?}");
}

#[test]
fn a_path_that_reorders_is_learnt() {
    let mut pair = measured();
    pair.weather.jitter = ms(20);
    for _ in 0..20 {
        for _ in 0..10 {
            pair.send(A, 1, &pattern(20_000));
        }
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.recv_all(Z, 1).len(), 10);
    }
    let stats = pair.ends[A].stats();
    // Of nearly 4,000 packets, most overtaken by others.
    assert!(stats.retransmissions < 100, "{stats:?}");
    assert_eq!(stats.t3_expirations, 0, "{stats:?}");
}

#[test]
fn what_was_sent_again_for_nothing_gives_the_window_back() {
    let mut pair = measured();
    let before = pair.ends[A].stats();
    for _ in 0..4 {
        pair.send(A, 1, &pattern(11_000));
    }
    // The first packet takes another way, 60 ms longer.
    let mut held = None;
    let mut first = true;
    let (sender, receiver) = std::sync::mpsc::channel();
    pair.script = Box::new(move |from, packet| {
        if from == A && has(packet, ChunkType::DATA) && std::mem::take(&mut first) {
            sender.send(packet.to_vec()).expect("held");
            return Fate::Drop;
        }
        Fate::Deliver
    });
    let until = pair.now + ms(160);
    while pair.step(until) {
        held = held.or_else(|| receiver.try_recv().ok());
    }
    pair.ends[Z].handle_input(pair.now, &held.expect("it was sent"));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.recv_all(Z, 1).len(), 4);
    let stats = pair.ends[A].stats();
    assert!(stats.fast_recoveries > before.fast_recoveries, "{stats:?}");
    assert_eq!(stats.spurious_recoveries, 1, "{stats:?}");
    assert!(stats.cwnd >= before.cwnd, "{before:?} {stats:?}");
}

#[test]
fn retransmissions_are_counted_by_what_found_the_loss() {
    let mut pair = measured();
    pair.script = drop_data(&[3]);
    let (_, stats) = ten_packets(&mut pair);
    assert_eq!((stats.retransmissions, stats.retransmissions_by_timeout), (1, 0), "{stats:?}");
    assert!(stats.rttvar < stats.rto && stats.srtt.is_some_and(|srtt| srtt + stats.rttvar * 4 <= stats.rto));

    let mut pair = measured();
    // All ten, and the probe: nothing comes back.
    pair.script = drop_data(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    let (_, stats) = ten_packets(&mut pair);
    let fast = stats.retransmissions - stats.retransmissions_by_timeout - stats.tail_loss_probes;
    assert_eq!((stats.tail_loss_probes, stats.t3_expirations, fast), (1, 1, 0), "{stats:?}");
    assert!(stats.retransmissions_by_timeout >= 9, "{stats:?}");
}
