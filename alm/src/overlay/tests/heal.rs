//! Who turns to whom when a place is lost, step by step.

use std::time::Duration;

use super::super::*;
use super::pair::{MS, Wire, join};
use crate::frame::{Ask, Control, Detach, MAX_PATH, NodeId, Role, Route, Routed};

fn accepts(wire: &Wire, at: usize, joiner: u32) -> bool {
    let accepted = |event: &Event| matches!(event, Event::AcceptJoin(join) if join.i == NodeId(joiner));
    wire.events[at].iter().any(accepted)
}

#[test]
fn who_loses_its_standby_tells_its_parent_at_once() {
    let mut wire = Wire::new(&Config::default(), 3);
    let eager = wire.link(0, 1);
    wire.link(0, 2);
    let warm = wire.link(2, 1);
    let parents = |wire: &Wire| wire.nodes[0].links[&eager].parents;
    assert_eq!(parents(&wire), 2);
    wire.close(2, warm);
    wire.settle();
    assert_eq!(parents(&wire), 1);
}

#[test]
fn an_orphan_says_so_at_once_and_its_child_turns_to_its_standby() {
    let mut wire = Wire::new(&Config::default(), 4);
    let up = wire.link(0, 1);
    wire.link(0, 2);
    wire.link(1, 3);
    wire.link(2, 3);
    wire.publish(1, 100).unwrap();
    assert_eq!(wire.nodes[3].parent(), Some(NodeId(1)));
    wire.close(0, up);
    wire.settle();
    assert_eq!(wire.nodes[1].path(), []);
    assert_eq!(wire.nodes[3].path(), [0, 2, 3].map(NodeId));
    wire.publish(1, 100).unwrap();
    assert_eq!(wire.got(3), [1, 2]);
    // One without a standby stays, and comes along when the orphan has a place.
    let mut wire = Wire::chain(&Config::default(), 3);
    let up = wire.nodes[1].links.iter().find(|(_, link)| link.peer == NodeId(0)).map(|(id, _)| *id).unwrap();
    wire.close(0, up);
    wire.settle();
    assert_eq!((wire.nodes[2].parent(), wire.nodes[2].path()), (Some(NodeId(1)), &[][..]));
    wire.link(0, 1);
    assert_eq!(wire.nodes[2].path(), [0, 1, 2].map(NodeId));
}

#[test]
fn a_standby_below_the_parent_that_died_is_taken_when_it_has_a_place_again() {
    let mut wire = Wire::new(&Config::default(), 4);
    wire.link(0, 1);
    wire.link(1, 2);
    wire.link(1, 3);
    wire.link(2, 3);
    // It shares the parent, and is better than none.
    assert_eq!(wire.nodes[3].standbys().collect::<Vec<_>>(), [NodeId(2)]);
    let now = wire.now;
    wire.nodes[1].leave(now);
    wire.settle();
    assert_eq!((wire.nodes[2].parent(), wire.nodes[3].parent()), (None, None));
    wire.link(0, 2);
    assert_eq!(wire.nodes[3].path(), [0, 2, 3].map(NodeId));
    assert_eq!(wire.nodes[3].stats().cycles, 0);
}

#[test]
fn a_standby_below_the_parent_that_sends_the_node_away_is_taken_at_once() {
    let mut wire = Wire::new(&Config::default(), 4);
    wire.link(0, 1);
    wire.link(1, 2);
    let away = wire.link(1, 3);
    wire.link(2, 3);
    let detach = Control::Detach(Detach::PLACE_NEEDED).to_frame().into_bytes();
    wire.nodes[3].handle_input(wire.now, away, detach);
    wire.settle();
    assert_eq!(wire.nodes[3].path(), [0, 1, 2, 3].map(NodeId));
}

#[test]
fn who_loses_its_link_to_the_owner_turns_to_its_standby_at_once() {
    let mut wire = Wire::new(&Config::default(), 3);
    let up = wire.link(0, 1);
    wire.link(0, 2);
    wire.link(2, 1);
    wire.close(0, up);
    wire.settle();
    assert_eq!(wire.nodes[1].path(), [0, 2, 1].map(NodeId));
}

#[test]
fn a_child_that_has_just_come_is_not_sent_away_for_a_larger_one() {
    let ask = Ask { role: Role::Eager, limit: 9, size: 50, avoid: NodeId(9) };
    let route = |to: u32| {
        let [to, from] = [vec![to], vec![0, 1, 9]].map(|path| path.into_iter().map(NodeId).collect());
        Control::Route(Route { hops: 9, to, from, body: Routed::Ask(ask) }).to_frame().into_bytes()
    };
    let mut wire = Wire::new(&Config { max_down_streams: 2, ..Config::default() }, 3);
    let link = wire.link(0, 1);
    wire.link(0, 2);
    wire.link(2, 1);
    for (seconds, sent_away) in [(0, false), (4, true)] {
        wire.advance(Duration::from_secs(seconds));
        wire.nodes[0].handle_input(wire.now, link, route(0));
        wire.settle();
        assert_eq!(wire.events[0].contains(&Event::Expect { peer: NodeId(9) }), sent_away);
    }
}

#[test]
fn a_place_promised_to_a_standby_is_given_to_who_wants_data() {
    let mut wire = Wire::new(&Config { max_down_streams: 2, ..Config::default() }, 2);
    let link = wire.link(0, 1);
    let ask = Ask { role: Role::Warm, limit: MAX_PATH as u8, size: 1, avoid: NodeId(1) };
    let [to, from] = [&[0][..], &[0, 1, 5]].map(|path| path.iter().copied().map(NodeId).collect());
    let route = Control::Route(Route { hops: 9, to, from, body: Routed::Ask(ask) });
    wire.nodes[0].handle_input(wire.now, link, route.to_frame().into_bytes());
    wire.settle();
    assert!(wire.events[0].contains(&Event::Expect { peer: NodeId(5) }));
    wire.nodes[0].handle_join(wire.now, join(9, 1, &[]));
    wire.settle();
    assert!(accepts(&wire, 0, 9));
}

#[test]
fn a_node_that_was_left_for_its_slowness_takes_fewer_children_for_a_minute() {
    for others_starve in [true, false] {
        let mut wire = Wire::new(&Config { max_down_streams: 3, ..Config::default() }, 4);
        let links: Vec<_> = (1..4).map(|child| wire.link(0, child)).collect();
        for link in &links[..if others_starve { 3 } else { 1 }] {
            wire.blocked.insert((0, *link));
        }
        wire.publish(1, 100).unwrap();
        let detach = Control::Detach(Detach::SLOW).to_frame().into_bytes();
        wire.nodes[0].handle_input(wire.now, links[0], detach);
        wire.blocked.clear();
        wire.nodes[0].handle_join(wire.now, join(9, 1, &[]));
        wire.settle();
        assert_eq!(accepts(&wire, 0, 9), !others_starve);
        if others_starve {
            wire.advance(Duration::from_secs(61));
            wire.nodes[0].handle_join(wire.now, join(10, 1, &[]));
            wire.settle();
            assert!(accepts(&wire, 0, 10));
        }
        assert!(wire.nodes[0].poll_timeout().is_some_and(|at| at <= wire.now + 250 * MS));
    }
}
