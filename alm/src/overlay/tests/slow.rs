//! Children that take slowly, nothing, too late, or again and again.

use std::time::Duration;

use super::super::*;
use super::pair::{MS, Wire, small};
use crate::frame::{Attach, Control, Heartbeat, Role, Sequence};

#[test]
fn a_child_that_takes_nothing_stops_the_tree_for_its_patience_only_and_lives_off_the_store() {
    for (more, missed) in [(20, false), (100, true)] {
        let mut wire = Wire::new(&small(), 3);
        let slow = wire.link(0, 1);
        wire.link(0, 2);
        wire.publish(1, 991).unwrap();
        wire.blocked.insert((0, slow));
        let mut refused = 0;
        let mut published = 1;
        while published < more {
            match wire.publish(1, 991) {
                Ok(()) => published += 1,
                Err(_) => {
                    refused += 1;
                    wire.now += 50 * MS;
                    let now = wire.now;
                    wire.nodes[0].handle_timeout(now);
                    // The child itself is heard.
                    let beat = Control::Heartbeat(Heartbeat { held: u32::MAX, ..Heartbeat::default() });
                    wire.nodes[0].handle_input(now, slow, beat.to_frame().into_bytes());
                    wire.nodes[2].handle_timeout(now);
                    wire.settle();
                }
            }
        }
        assert!((30..60).contains(&refused), "{refused}");
        assert_eq!(wire.got(2), (1..=published).collect::<Vec<_>>());
        wire.blocked.clear();
        wire.settle();
        let got = wire.got(1);
        assert_eq!(got.last(), Some(&published));
        assert_eq!(wire.nodes[1].stats().missed, published - got.len() as u64);
        assert_eq!(wire.nodes[1].stats().missed > 0, missed);
    }
}

#[test]
fn a_child_that_stops_between_half_a_window_and_a_whole_one_does_not_stop_the_tree() {
    let mut wire = Wire::new(&small(), 3);
    let slow = wire.link(0, 1);
    wire.link(0, 2);
    wire.publish(1, 991).unwrap();
    wire.blocked.insert((0, slow));
    while wire.publish(1, 991).is_ok() {}
    // It takes a little, so that it lags by less than a window, and then no more.
    assert!(wire.nodes[0].poll_transmit(slow).is_some() && wire.nodes[0].poll_transmit(slow).is_some());
    let lag = wire.nodes[0].held();
    let window = small().window as u64;
    assert!((window / 2..window).contains(&lag), "{lag}");
    let begun = wire.now;
    while wire.publish(1, 991).is_err() {
        wire.now += 50 * MS;
        let now = wire.now;
        wire.nodes[0].handle_timeout(now);
        let beat = Control::Heartbeat(Heartbeat { held: u32::MAX, ..Heartbeat::default() });
        wire.nodes[0].handle_input(now, slow, beat.to_frame().into_bytes());
        wire.nodes[2].handle_timeout(now);
        wire.settle();
        assert!(wire.now - begun < 2 * small().patience, "it holds up the tree for ever");
    }
}

#[test]
fn what_waits_for_a_child_that_came_late_is_not_sent_yet() {
    let mut wire = Wire::new(&small(), 2);
    wire.publish(30, 991).unwrap();
    assert_eq!(wire.nodes[0].unsent(), 0);
    let late = wire.links + 1;
    wire.blocked.insert((0, LinkId(late)));
    wire.link(0, 1);
    let attach = Attach { role: Role::Eager, epoch: 0, next: Sequence(0), credit: u64::MAX, size: 1 };
    let frame = Control::Attach(attach).to_frame().into_bytes();
    wire.nodes[0].handle_input(wire.now, LinkId(late), frame);
    // It holds back nobody, and has it all before it.
    assert_eq!((wire.nodes[0].held(), wire.nodes[0].unsent()), (0, 30_000));
    wire.blocked.clear();
    wire.settle();
    assert_eq!((wire.nodes[0].unsent(), wire.got(1).len()), (0, 30));
}

#[test]
fn a_child_that_attaches_again_and_again_does_not_stop_the_tree() {
    // One takes nothing, one takes the same again and again, one turns into a standby in between.
    for trick in 0..3 {
        let mut wire = Wire::new(&small(), 3);
        let slow = wire.link(0, 1);
        wire.link(0, 2);
        wire.publish(1, 991).unwrap();
        wire.blocked.insert((0, slow));
        while wire.publish(1, 991).is_ok() {}
        let epoch = wire.nodes[0].epoch;
        let attach = |wire: &mut Wire, role: Role, credit: u64, next: Sequence| {
            let attach = Attach { role, epoch, next, credit, size: 1 };
            let frame = Control::Attach(attach).to_frame().into_bytes();
            wire.nodes[0].handle_input(wire.now, slow, frame);
        };
        let (next, window) = (wire.nodes[0].next.unwrap(), small().window as u64);
        let back = next.plus(8_u64.wrapping_neg());
        attach(&mut wire, Role::Eager, 0, back);
        let lag = wire.nodes[0].held();
        assert!((window / 2..window).contains(&lag), "{lag}");
        let (begun, mut published) = (wire.now, 0);
        while wire.now - begun < 3 * small().patience {
            for _ in 0..if trick == 1 { 4 } else { 0 } {
                wire.nodes[0].poll_transmit(slow);
            }
            wire.now += 50 * MS;
            let now = wire.now;
            if (now - begun).as_millis().is_multiple_of(1900) {
                if trick == 2 {
                    attach(&mut wire, Role::Warm, 0, next);
                }
                attach(&mut wire, Role::Eager, if trick == 1 { 5000 } else { 0 }, back);
            }
            wire.nodes[0].handle_timeout(now);
            let beat = Control::Heartbeat(Heartbeat { held: u32::MAX, ..Heartbeat::default() });
            wire.nodes[0].handle_input(now, slow, beat.to_frame().into_bytes());
            wire.nodes[2].handle_timeout(now);
            wire.settle();
            published += u32::from(wire.publish(1, 991).is_ok());
        }
        assert!(published > 40, "trick {trick}: {published} messages in three times its patience");
    }
}

#[test]
fn attaches_are_taken_as_often_as_a_child_has_reason_for_them() {
    let mut wire = Wire::new(&Config::default(), 2);
    let link = wire.link(0, 1);
    wire.publish(5, 100).unwrap();
    let attach = Attach {
        role: Role::Eager,
        epoch: wire.nodes[0].epoch,
        next: Sequence(1),
        credit: u64::MAX,
        size: 1,
    };
    let attach = Control::Attach(attach).to_frame().into_bytes();
    let asked = |wire: &mut Wire| {
        let begun = wire.nodes[0].stats().data_sent;
        for _ in 0..200 {
            wire.nodes[0].handle_input(wire.now, link, attach.clone());
            while wire.nodes[0].poll_transmit(link).is_some() {}
        }
        (wire.nodes[0].stats().data_sent - begun) / (5 * 109)
    };
    let first = asked(&mut wire);
    assert!((10..=16).contains(&first), "{first} times");
    wire.now += Duration::from_millis(250);
    let now = wire.now;
    wire.nodes[0].handle_timeout(now);
    assert_eq!(asked(&mut wire), 1);
}

#[test]
fn a_child_that_has_died_holds_up_the_tree_for_less_than_it_takes_to_be_given_up() {
    let config = Config { window: 10_000, ..Config::default() };
    let mut wire = Wire::new(&config, 3);
    let dead = wire.link(0, 1);
    wire.link(0, 2);
    wire.publish(1, 991).unwrap();
    wire.blocked.insert((0, dead));
    while wire.publish(1, 991).is_ok() {}
    let begun = wire.now;
    while wire.publish(1, 991).is_err() {
        wire.now += 50 * MS;
        let now = wire.now;
        wire.nodes[0].handle_timeout(now);
        wire.nodes[2].handle_timeout(now);
        wire.settle();
    }
    assert!(wire.now - begun <= 1800 * MS, "{:?}", wire.now - begun);
    assert_eq!(wire.nodes[0].children().count(), 2, "it may still come back");
}

#[test]
fn a_child_that_is_slow_but_steady_sets_the_pace_and_misses_nothing() {
    let mut wire = Wire::new(&small(), 3);
    let slow = wire.link(0, 1);
    wire.link(0, 2);
    wire.publish(1, 991).unwrap();
    wire.blocked.insert((0, slow));
    let mut published = 1;
    while published < 300 {
        if wire.publish(1, 991).is_ok() {
            published += 1;
            continue;
        }
        wire.now += 50 * MS;
        let now = wire.now;
        wire.nodes.iter_mut().for_each(|node| node.handle_timeout(now));
        if let Some(frame) = wire.nodes[0].poll_transmit(slow) {
            wire.nodes[1].handle_input(now, slow, frame);
        }
        let beat = Control::Heartbeat(Heartbeat { held: u32::MAX, ..Heartbeat::default() });
        wire.nodes[0].handle_input(now, slow, beat.to_frame().into_bytes());
        wire.settle();
    }
    wire.blocked.clear();
    wire.settle();
    assert_eq!(wire.got(1), (1..=published).collect::<Vec<_>>());
    assert_eq!(wire.got(2), (1..=published).collect::<Vec<_>>());
}

#[test]
fn a_live_child_that_is_slow_skips_the_oldest_and_holds_back_nobody() {
    let mut wire = Wire::new(&Config { kind: GroupKind::Live, ..small() }, 2);
    let link = wire.link(0, 1);
    wire.publish(1, 991).unwrap();
    wire.blocked.insert((0, link));
    wire.publish(99, 991).unwrap();
    wire.blocked.clear();
    wire.settle();
    let got = wire.got(1);
    assert_eq!((got[0], got[1], *got.last().unwrap()), (1, 96, 100), "{got:?}");
    // An application that sleeps skips, too.
    wire.deaf.insert(1);
    wire.publish(50, 991).unwrap();
    wire.deaf.clear();
    wire.settle();
    assert_eq!(wire.got(1).last(), Some(&150));
    assert_eq!(wire.nodes[1].stats().skipped, 94 + 40);
}
