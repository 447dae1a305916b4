//! BBR over a bottleneck: what it finds, and what it makes of change.

use super::*;
use crate::{Congestion, Stats};

/// 10 Mbit/s.
const RATE: u32 = 1_250_000;
const RTT: Duration = Duration::from_millis(50);
/// Payload in a full packet's bytes.
const SHARE: f64 = 1132.0 / 1160.0;

/// The product of a rate and the round trip.
fn bdp(rate: u32) -> usize {
    (f64::from(rate) * RTT.as_secs_f64()) as usize
}

/// A connected pair over a bottleneck with a queue of one round trip.
fn pair() -> Pair {
    let config = Config { congestion: Congestion::Bbr, ..roomy() };
    let mut pair = Pair::new(config);
    pair.weather.latency = RTT / 2;
    pair.connect();
    set_rate(&mut pair, RATE);
    pair
}

fn set_rate(pair: &mut Pair, bytes_per_second: u32) {
    pair.bottleneck = Some(Bottleneck { bytes_per_second, queue: RTT, busy_until: [None; 2] });
}

/// Sends without a pause for so long; the share of `rate` that came through. `watch` sees the sender every step.
fn bulk_watched(pair: &mut Pair, rate: u32, time: Duration, mut watch: impl FnMut(Stats)) -> f64 {
    let message = Bytes::from(pattern(50_000));
    let (until, mut delivered) = (pair.now + time, 0);
    loop {
        while pair.ends[A].total_buffered() < 4 << 20 {
            let message = message.clone();
            pair.ends[A]
                .send(pair.now, StreamId(1), Ppid(53), message, SendOptions::default())
                .expect("room");
        }
        let more = pair.step(until);
        while let Some(message) = pair.recv(Z, 1) {
            delivered += message.payload.len();
        }
        watch(pair.ends[A].stats());
        if !more {
            break;
        }
    }
    delivered as f64 / (f64::from(rate) * SHARE * time.as_secs_f64())
}

fn bulk(pair: &mut Pair, rate: u32, time: Duration) -> f64 {
    bulk_watched(pair, rate, time, |_| {})
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn startup_finds_the_rate_in_a_second_and_leaves_no_queue() {
    let mut pair = pair();
    let mut most = 0;
    bulk_watched(&mut pair, RATE, secs(1), |stats| most = most.max(stats.flight));
    assert!(most <= 3 * bdp(RATE), "{most}");
    let mut srtt = Duration::ZERO;
    let share = bulk_watched(&mut pair, RATE, secs(3), |stats| srtt = srtt.max(stats.srtt.unwrap()));
    assert!(share > 0.93, "{share}");
    assert!(srtt < RTT.mul_f64(1.4), "{srtt:?}");
    assert_eq!(pair.ends[A].stats().t3_expirations, 0);
}

/// How often so little was in flight that the queue must be empty, in so much time.
fn times_of_little_in_flight(pair: &mut Pair, time: Duration) -> u32 {
    let (mut low, mut lows) = (false, 0);
    bulk_watched(pair, RATE, time, |stats| {
        let now_low = stats.flight < bdp(RATE) * 6 / 10;
        lows += u32::from(now_low && !low);
        low = now_low || (low && stats.flight < bdp(RATE) * 8 / 10);
    });
    lows
}

#[test]
fn without_a_smallest_round_trip_it_makes_room_for_one_every_five_seconds() {
    let mut pair = pair();
    bulk(&mut pair, RATE, secs(3));
    pair.weather.latency += ms(10);
    assert_eq!(times_of_little_in_flight(&mut pair, ms(6500)), 1);
    bulk(&mut pair, RATE, secs(10));
    let share = bulk(&mut pair, RATE, secs(3));
    assert!(share > 0.9, "{share}");
}

#[test]
fn close_to_the_smallest_round_trip_it_makes_room_twice_a_minute() {
    let mut pair = pair();
    bulk(&mut pair, RATE, secs(3));
    assert_eq!(times_of_little_in_flight(&mut pair, secs(20)), 0);
    assert_eq!(times_of_little_in_flight(&mut pair, secs(20)), 1);
}

#[test]
fn random_loss_costs_little_and_half_of_everything_is_obeyed() {
    let mut pair = pair();
    pair.weather.loss = 1;
    // Acknowledgements get lost, too.
    let share = bulk(&mut pair, RATE, secs(20));
    assert!(share > 0.7, "{share}");
    let clear = pair.ends[A].stats().cwnd;
    pair.weather.loss = 50;
    bulk(&mut pair, RATE, secs(5));
    assert!(pair.ends[A].stats().cwnd < clear / 2, "{} {clear}", pair.ends[A].stats().cwnd);
    pair.weather.loss = 0;
    bulk(&mut pair, RATE, secs(10));
    let share = bulk(&mut pair, RATE, secs(5));
    assert!(share > 0.9, "{share}");
}

#[test]
fn a_faster_path_is_found_and_a_slower_one_is_obeyed() {
    let mut pair = pair();
    bulk(&mut pair, RATE, secs(5));
    set_rate(&mut pair, 10 * RATE);
    bulk(&mut pair, 10 * RATE, secs(15));
    let share = bulk(&mut pair, 10 * RATE, secs(5));
    assert!(share > 0.9, "{share}");
    set_rate(&mut pair, RATE);
    bulk(&mut pair, RATE, secs(15));
    let mut srtt = Duration::ZERO;
    let share = bulk_watched(&mut pair, RATE, secs(5), |stats| srtt = srtt.max(stats.srtt.unwrap()));
    assert!(share > 0.9, "{share}");
    assert!(srtt < 2 * RTT, "{srtt:?}");
}

#[test]
fn acknowledgements_in_lumps_cost_nothing() {
    for lumps in [10, 40] {
        let mut pair = pair();
        pair.lumps = ms(lumps);
        bulk(&mut pair, RATE, secs(3));
        let mut most = 0;
        let share = bulk_watched(&mut pair, RATE, secs(5), |stats| most = most.max(stats.flight));
        assert!(share > 0.9, "{lumps}: {share}");
        assert!(most < 4 * bdp(RATE), "{lumps}: {most}");
    }
}

#[test]
fn an_application_with_little_to_send_does_not_make_the_path_slow() {
    let mut pair = pair();
    bulk(&mut pair, RATE, secs(3));
    pair.run_for(secs(6));
    for _ in 0..100 {
        pair.send(A, 1, &pattern(2000));
        pair.run_for(ms(97));
    }
    pair.recv_all(Z, 1);
    let share = bulk(&mut pair, RATE, secs(1));
    assert!(share > 0.85, "{share}");
}

#[test]
fn an_idle_path_is_not_flooded_afterwards() {
    let mut pair = pair();
    bulk(&mut pair, RATE, secs(3));
    pair.run_for(secs(8));
    pair.recv_all(Z, 1);
    let before = pair.ends[A].stats();
    let mut first = Duration::ZERO;
    let start = pair.now;
    pair.send(A, 1, &pattern(120_000));
    pair.run_until(secs(2), |pair| {
        if first.is_zero() && pair.packet_sizes[A].len() > 50 {
            first = pair.now - start;
        }
        pair.recv(Z, 1).is_some()
    });
    let took = pair.now - start;
    assert!(took > ms(100) && took < ms(220), "paced at the rate: {took:?}");
    assert_eq!(pair.ends[A].stats().retransmissions, before.retransmissions);
}

#[test]
fn after_an_outage_it_goes_on_where_it_was() {
    let mut pair = pair();
    bulk(&mut pair, RATE, secs(5));
    pair.script = Box::new(|_, _| Fate::Drop);
    bulk(&mut pair, RATE, secs(2));
    pair.script = Box::new(|_, _| Fate::Deliver);
    bulk(&mut pair, RATE, secs(3));
    let share = bulk(&mut pair, RATE, secs(3));
    assert!(share > 0.85, "{share}");
}

#[test]
fn what_was_no_loss_gives_back_what_it_took() {
    let mut pair = pair();
    bulk(&mut pair, RATE, secs(4));
    let before = pair.ends[A].stats();
    // From one moment to the next everything takes 0.6 s longer, and then no longer does.
    pair.weather.latency = RTT / 2 + ms(600);
    bulk(&mut pair, RATE, ms(200));
    pair.weather.latency = RTT / 2;
    bulk(&mut pair, RATE, secs(4));
    let share = bulk(&mut pair, RATE, secs(3));
    let stats = pair.ends[A].stats();
    assert!(stats.spurious_recoveries > before.spurious_recoveries, "{stats:?}");
    assert!(share > 0.9, "{share} {stats:?}");
}
