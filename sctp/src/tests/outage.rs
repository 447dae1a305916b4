//! A path that goes dead under load: the last data arrives, its acknowledgements don't. What comes of it when something gets
//! through again, on this path or on another one.

use std::cell::Cell;
use std::rc::Rc;

use super::path_mtu::bulk;
use super::*;

/// Two ends with a full transfer under way over 20 ms, and the grip on it.
fn under_load() -> (Pair, Rc<Cell<bool>>) {
    let grip = Rc::new(Cell::new(false));
    let mut pair = Pair::new(Config { heartbeat_interval: Duration::ZERO, ..Config::default() });
    let dead = grip.clone();
    pair.script = Box::new(move |_, _| if dead.get() { Fate::Drop } else { Fate::Deliver });
    pair.weather.latency = ms(10);
    pair.connect();
    pair.bottleneck =
        Some(Bottleneck { bytes_per_second: 5_000_000, queue: ms(60), busy_until: [None, None] });
    bulk(&mut pair, Duration::from_secs(2));
    (pair, grip)
}

/// Goes dead for five seconds. What is under way arrives, and nobody hears of it.
fn outage(pair: &mut Pair, grip: &Rc<Cell<bool>>) {
    grip.set(true);
    bulk(pair, Duration::from_secs(5));
    grip.set(false);
}

#[test]
fn acknowledgements_that_an_outage_swallowed_do_not_make_its_losses_a_delay() {
    let (mut pair, grip) = under_load();
    outage(&mut pair, &grip);
    // T3 has backed off to 3.2 s, the first of which are over.
    let (got, gap) = bulk(&mut pair, Duration::from_secs(6));
    assert!(gap <= ms(1500) && got > 10_000_000, "{gap:?}, {got} bytes, {:?}", pair.ends[A].stats());
}

#[test]
fn what_an_old_path_swallowed_is_sent_again_on_the_new_one_at_once() {
    let (mut pair, grip) = under_load();
    outage(&mut pair, &grip);
    let now = pair.now;
    for end in &mut pair.ends {
        end.path_changed(now);
    }
    let (got, gap) = bulk(&mut pair, Duration::from_secs(3));
    assert!(gap <= ms(200) && got > 10_000_000, "{gap:?}, {got} bytes, {:?}", pair.ends[A].stats());
    let rto = pair.ends[A].stats().rto;
    assert!(rto < ms(1000), "the outage was no round trip: {rto:?}");
}
