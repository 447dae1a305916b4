//! A few nodes, step by step, over links without delay.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use crate::frame::{
    Ask, Attach, Control, Frame, FrameType, Heartbeat, Join, MAX_PATH, NodeId, PathInfo, Role, Route, Routed,
    Sequence, TreeInfo, write_text,
};

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) struct Wire {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    ends: BTreeMap<(usize, LinkId), usize>,
    pub(super) events: Vec<Vec<Event>>,
    /// Ends that take nothing: their sender's channel is full.
    pub(super) blocked: BTreeSet<(usize, LinkId)>,
    /// Nodes whose application reads nothing.
    pub(super) deaf: BTreeSet<usize>,
    pub(super) links: u64,
}

impl Wire {
    #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
    pub(super) fn new(config: &Config, nodes: usize) -> Self {
        let now = Instant::now();
        let node = |at: usize| Node::new(config.clone(), NodeId(at as u32), at == 0, now, [at as u8 + 1; 32]);
        let mut wire = Self {
            now,
            nodes: (0..nodes).map(node).collect(),
            ends: BTreeMap::new(),
            events: vec![Vec::new(); nodes],
            blocked: BTreeSet::new(),
            deaf: BTreeSet::new(),
            links: 0,
        };
        for node in &mut wire.nodes {
            node.join(now);
        }
        wire
    }

    /// A root with children in a row, each the child of the one before.
    pub(super) fn chain(config: &Config, nodes: usize) -> Self {
        let mut wire = Self::new(config, nodes);
        for child in 1..nodes {
            wire.link(child - 1, child);
        }
        wire
    }

    pub(super) fn link(&mut self, parent: usize, child: usize) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        self.ends.insert((parent, link), child);
        self.ends.insert((child, link), parent);
        let id = |at: usize| NodeId(at as u32);
        self.nodes[parent].link_up(self.now, link, id(child), Direction::Down, Capabilities::Ours);
        self.nodes[child].link_up(self.now, link, id(parent), Direction::Up, Capabilities::Original);
        self.settle();
        link
    }

    /// Moves frames until there are none.
    pub(super) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for at in 0..self.nodes.len() {
                while !self.deaf.contains(&at)
                    && let Some(event) = self.nodes[at].poll_event()
                {
                    if let Event::CloseLink(link) = event {
                        self.close(at, link);
                    }
                    self.events[at].push(event);
                }
                let links: Vec<_> = self.nodes[at].poll_links().collect();
                for link in links {
                    let Some(&to) = self.ends.get(&(at, link)) else { continue };
                    while !self.blocked.contains(&(at, link))
                        && let Some(bytes) = self.nodes[at].poll_transmit(link)
                    {
                        moved = true;
                        self.nodes[to].handle_input(self.now, link, bytes);
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(super) fn close(&mut self, at: usize, link: LinkId) {
        let Some(to) = self.ends.remove(&(at, link)) else { return };
        while let Some(bytes) = self.nodes[at].poll_transmit(link) {
            self.nodes[to].handle_input(self.now, link, bytes);
        }
        self.ends.remove(&(to, link));
        self.nodes[at].link_down(self.now, link);
        self.nodes[to].link_down(self.now, link);
    }

    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += 25 * MS;
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
            self.settle();
        }
    }

    pub(super) fn publish(&mut self, count: usize, size: usize) -> Result<(), PublishError> {
        for _ in 0..count {
            self.nodes[0].publish(Message::Bytes(vec![1; size].into()))?;
            self.settle();
        }
        Ok(())
    }

    pub(super) fn got(&self, at: usize) -> Vec<u64> {
        let number = |event: &Event| match event {
            Event::Message(sequence, _) => Some(sequence.0),
            _ => None,
        };
        self.events[at].iter().filter_map(number).collect()
    }
}

pub(super) fn small() -> Config {
    Config { window: 10_000, store_bytes: 40_000, ..Config::default() }
}

#[test]
fn messages_come_once_and_in_order_and_a_newcomer_gets_the_past() {
    let mut wire = Wire::chain(&Config::default(), 4);
    wire.publish(5, 100).unwrap();
    wire.nodes[0].publish(Message::Text("後".into())).unwrap();
    wire.settle();
    assert_eq!(wire.got(3), [1, 2, 3, 4, 5, 6]);
    assert_eq!(wire.events[3].last(), Some(&Event::Message(Sequence(6), Message::Text("後".into()))));
    assert_eq!(wire.nodes[3].path(), [0, 1, 2, 3].map(NodeId));

    let mut late = Wire::new(&Config { history: 2, ..Config::default() }, 2);
    late.publish(5, 100).unwrap();
    late.link(0, 1);
    assert_eq!(late.got(1), [4, 5]);
    assert_eq!(wire.nodes[1].publish(Message::Text("no".into())), Err(PublishError::NotOwner));
    let large = Message::Bytes(vec![0; MAX_MESSAGE + 1].into());
    assert_eq!(wire.nodes[0].publish(large), Err(PublishError::TooLong));
}

#[test]
fn a_standby_takes_over_with_the_first_missing_message() {
    let mut wire = Wire::new(&Config::default(), 4);
    wire.link(0, 1);
    wire.link(0, 2);
    let down = wire.link(1, 3);
    wire.link(2, 3);
    assert_eq!(wire.nodes[3].parent(), Some(NodeId(1)));
    assert_eq!(wire.nodes[3].standbys().collect::<Vec<_>>(), [NodeId(2)]);
    wire.publish(3, 100).unwrap();
    // Node 1 is alive for node 0, but nothing gets through to node 3.
    wire.blocked.insert((1, down));
    wire.publish(3, 100).unwrap();
    assert_eq!(wire.got(3), [1, 2, 3]);
    wire.advance(800 * MS);
    assert_eq!(wire.nodes[3].parent(), Some(NodeId(2)));
    assert_eq!(wire.got(3), [1, 2, 3, 4, 5, 6]);
    assert_eq!((wire.nodes[3].stats().promotions, wire.nodes[3].stats().duplicates), (1, 0));
}

#[test]
fn a_parent_that_is_heard_but_brings_nothing_is_left() {
    let mut wire = Wire::new(&Config::default(), 3);
    let down = wire.link(0, 2);
    wire.link(0, 1);
    wire.link(1, 2);
    wire.publish(1, 100).unwrap();
    // A black hole: it takes messages, and sends heartbeats that say so.
    let epoch = wire.nodes[0].epoch;
    wire.blocked.insert((0, down));
    for tick in 0..8 {
        wire.publish(1, 100).unwrap();
        let beat =
            Heartbeat { tick: 1000 + tick, epoch, next: Sequence(2), held: u32::MAX, ..Heartbeat::default() };
        wire.nodes[2].handle_input(wire.now, down, Control::Heartbeat(beat).to_frame().into_bytes());
        wire.advance(250 * MS);
    }
    assert_eq!(wire.nodes[2].parent(), Some(NodeId(1)));
    assert_eq!(wire.got(2), (1..=9).collect::<Vec<_>>());
}

#[test]
fn an_application_that_reads_nothing_holds_back_a_reliable_owner_until_it_reads() {
    let mut wire = Wire::chain(&small(), 3);
    wire.deaf.insert(2);
    let mut published = 0;
    while wire.publish(1, 991).is_ok() {
        published += 1;
    }
    // The node's own window, and that of the one above it, and the owner's.
    assert!((20..40).contains(&published), "{published}");
    wire.deaf.clear();
    wire.settle();
    assert_eq!(wire.got(2), (1..=published).collect::<Vec<_>>());
    assert!(wire.events[0].contains(&Event::Writable));
    assert_eq!(wire.publish(1, 991), Ok(()));
}

/// A node under a parent that the test plays.
struct Played {
    node: Node,
    now: Instant,
    link: LinkId,
}

impl Played {
    fn new(next: Sequence) -> Self {
        let mut wire = Wire::new(&Config::default(), 2);
        let (mut node, now, link) = (wire.nodes.remove(1), wire.now, LinkId(1));
        node.link_up(now, link, NodeId(0), Direction::Up, Capabilities::Ours);
        let mut played = Self { node, now, link };
        played.say(&Control::Path(path(&[0], next)));
        played
    }

    fn say(&mut self, control: &Control) {
        self.node.handle_input(self.now, self.link, control.to_frame().into_bytes());
    }

    fn data(&mut self, sequence: Sequence) {
        let frame = Frame::new(FrameType::DATA, sequence, b"x");
        self.node.handle_input(self.now, self.link, frame.into_bytes());
    }

    fn got(&mut self) -> Vec<Sequence> {
        std::iter::from_fn(|| self.node.poll_event())
            .filter_map(|event| if let Event::Message(sequence, _) = event { Some(sequence) } else { None })
            .collect()
    }

    fn sent(&mut self) -> Vec<Control> {
        std::iter::from_fn(|| self.node.poll_transmit(self.link))
            .filter_map(|bytes| {
                let frame = Frame::parse(bytes).unwrap();
                Control::parse(frame.frame_type(), &frame.body()).unwrap()
            })
            .collect()
    }
}

fn path(ids: &[u32], next: Sequence) -> PathInfo {
    let path = ids.iter().copied().map(NodeId).collect();
    PathInfo { reliable: true, epoch: 9, next, path, siblings: vec![], uncles: vec![] }
}

#[test]
fn numbers_wrap_around_and_replays_and_jumps_are_dropped() {
    let first = Sequence(u64::MAX - 1);
    let mut played = Played::new(first);
    for n in [0, 1, 2, 1, 0, 2, 3] {
        played.data(first.plus(n));
    }
    assert_eq!(played.got(), [0, 1, 2, 3].map(|n| first.plus(n)));
    assert_eq!(played.node.stats().duplicates, 3);
    played.data(first.plus(1 << 40));
    played.data(first.plus(6));
    played.data(Sequence(first.plus(4).0 ^ 1 << 63));
    assert_eq!(played.got(), []);
    assert_eq!(played.node.stats().unexpected + played.node.stats().duplicates, 6);
    // What is missing is asked for again, once a heartbeat.
    played.sent();
    played.now += Duration::from_millis(500);
    played.node.handle_timeout(played.now);
    let next = first.plus(4);
    let asked = |c: &Control| matches!(c, Control::Attach(a) if a.next == next && a.role == Role::Eager);
    assert_eq!(played.sent().iter().filter(|c| asked(c)).count(), 1);
}

#[test]
fn another_epoch_begins_anew() {
    let mut played = Played::new(Sequence(1));
    (1..=5).for_each(|n| played.data(Sequence(n)));
    played.say(&Control::Path(PathInfo { epoch: 10, ..path(&[0], Sequence(1)) }));
    (1..=2).for_each(|n| played.data(Sequence(n)));
    assert_eq!(played.got(), [1, 2, 3, 4, 5, 1, 2].map(Sequence));
}

#[test]
fn a_parent_below_the_node_or_with_a_false_or_endless_path_is_left() {
    let endless: Vec<u32> = (100..).take(MAX_PATH - 1).chain([0]).collect();
    for ids in [&[0, 1, 0][..], &[1, 0], &[0, 7], &endless] {
        let mut played = Played::new(Sequence(1));
        assert_eq!(played.node.parent(), Some(NodeId(0)));
        played.say(&Control::Path(path(ids, Sequence(1))));
        assert_eq!(played.node.parent(), None, "{ids:?}");
        let events: Vec<_> = std::iter::from_fn(|| played.node.poll_event()).collect();
        assert!(events.contains(&Event::CloseLink(played.link)), "{events:?}");
    }
}

#[test]
fn a_parent_that_sends_more_than_it_may_is_left() {
    let mut played = Played::new(Sequence(1));
    let body = vec![0; MAX_MESSAGE];
    let mut taken = 0;
    for n in 1..100 {
        let frame = Frame::new(FrameType::DATA, Sequence(n), &body);
        played.node.handle_input(played.now, played.link, frame.into_bytes());
        taken += usize::from(played.node.parent().is_some());
    }
    assert!((4..8).contains(&taken), "{taken} messages of {MAX_MESSAGE} bytes in a window of 1 MiB");
}

#[test]
fn a_parent_that_changes_what_the_group_promises_gets_no_more_room_by_it() {
    let live = |epoch: u32| PathInfo { reliable: false, epoch, ..path(&[0], Sequence(1)) };
    let mut played = Played::new(Sequence(1));
    played.say(&Control::Path(live(9)));
    assert_eq!(played.node.parent(), None, "in one epoch");

    // Another life may promise something else; what was granted in the first is not meant for it.
    let mut played = Played::new(Sequence(1));
    played.say(&Control::Path(live(10)));
    played.data(Sequence(1));
    played.sent();
    played.say(&Control::Path(PathInfo { epoch: 11, ..path(&[0], Sequence(1)) }));
    let window = Config::default().window as u64;
    let asked = |c: &Control| matches!(c, Control::Attach(a) if a.credit <= window && a.role == Role::Eager);
    assert_eq!(played.sent().iter().filter(|c| asked(c)).count(), 1);
    let body = vec![0; MAX_MESSAGE];
    let mut taken = 0;
    for n in 1..100 {
        let frame = Frame::new(FrameType::DATA, Sequence(n), &body);
        played.node.handle_input(played.now, played.link, frame.into_bytes());
        taken += usize::from(played.node.parent().is_some());
    }
    assert!((4..8).contains(&taken), "{taken} messages of {MAX_MESSAGE} bytes in a window of 1 MiB");
}

#[test]
fn a_standby_without_a_tree_does_not_say_what_the_group_promises() {
    let mut played = Played::new(Sequence(1));
    played.data(Sequence(1));
    played.node.link_down(played.now, played.link);
    let other = LinkId(2);
    played.node.link_up(played.now, other, NodeId(5), Direction::Up, Capabilities::Ours);
    let lost = PathInfo { reliable: false, epoch: 0, path: vec![], ..path(&[], Sequence(0)) };
    played.node.handle_input(played.now, other, Control::Path(lost).to_frame().into_bytes());
    assert_eq!(played.node.kind, GroupKind::Reliable);
}

pub(super) fn join(id: u32, n: u32, path: &[u32]) -> Join {
    let path: Vec<_> = path.iter().copied().map(NodeId).collect();
    Join::new(json!(0), json!(5), NodeId(id), n, &path)
}

#[test]
fn a_full_node_relays_a_join_and_keeps_the_sum() {
    let mut wire = Wire::new(&Config::default(), 5);
    let links: Vec<_> = (1..5).map(|child| wire.link(0, child)).collect();
    for n in 1..=11 {
        wire.nodes[0].handle_join(wire.now, join(100 + n, n, &[]));
        let mut relayed = Vec::new();
        for link in &links {
            while let Some(bytes) = wire.nodes[0].poll_transmit(*link) {
                let frame = Frame::parse(bytes).unwrap();
                if frame.frame_type() == FrameType::JOIN {
                    relayed.push(Join::parse(&frame.body()).unwrap().n);
                }
            }
        }
        assert_eq!(relayed.iter().sum::<u32>(), n);
        assert_eq!(relayed.len(), n.min(4) as usize, "{relayed:?}");
    }
}

#[test]
fn a_joiner_gets_one_place_of_a_node_and_none_below_itself() {
    let mut wire = Wire::chain(&Config::default(), 2);
    wire.nodes[0].handle_join(wire.now, join(9, 2, &[]));
    wire.settle();
    let accepted = |wire: &Wire, at: usize| {
        wire.events[at]
            .iter()
            .filter(|event| matches!(event, Event::AcceptJoin(join) if join.i == NodeId(9)))
            .count()
    };
    assert_eq!((accepted(&wire, 0), accepted(&wire, 1)), (1, 1));
    // Again, while the places are kept: they are not given twice.
    wire.nodes[0].handle_join(wire.now, join(9, 1, &[]));
    wire.settle();
    assert_eq!((accepted(&wire, 0), accepted(&wire, 1)), (1, 1));
    // The node's own ancestor, and itself.
    let unplaced = wire.nodes[1].stats().unplaced;
    for above in [0, 1] {
        wire.nodes[1].handle_join(wire.now, join(above, 1, &[]));
    }
    assert_eq!(wire.nodes[1].stats().unplaced, unplaced + 2);
}

#[test]
fn a_join_before_the_first_child_is_there_waits_for_it() {
    let mut wire = Wire::new(&Config { max_down_streams: 1, ..Config::default() }, 3);
    wire.nodes[0].handle_join(wire.now, join(1, 1, &[]));
    wire.nodes[0].handle_join(wire.now, join(2, 1, &[]));
    wire.link(0, 1);
    assert!(
        wire.events[1].iter().any(|event| matches!(event, Event::AcceptJoin(join) if join.i == NodeId(2)))
    );
}

#[test]
fn a_standby_gives_way_to_a_child_that_wants_data() {
    let mut wire = Wire::new(&Config { max_down_streams: 1, ..Config::default() }, 3);
    let link = wire.link(0, 1);
    let warm = Attach { role: Role::Warm, epoch: 0, next: Sequence(0), credit: 0, size: 1 };
    wire.nodes[0].handle_input(wire.now, link, Control::Attach(warm).to_frame().into_bytes());
    wire.nodes[0].handle_join(wire.now, join(2, 1, &[]));
    assert_eq!(wire.nodes[0].children().count(), 0);
    wire.link(0, 2);
    assert_eq!(wire.nodes[0].children().collect::<Vec<_>>(), [(NodeId(2), Some(Role::Eager))]);
}

#[test]
fn a_signal_finds_its_way_up_and_down_and_back() {
    let mut wire = Wire::new(&Config::default(), 5);
    wire.link(0, 1);
    wire.link(1, 2);
    wire.link(0, 3);
    wire.link(3, 4);
    let unknown = wire.nodes[2].send_signal(NodeId(4), Bytes::from_static(b"x"));
    assert_eq!(unknown, Err(SignalError::UnknownPeer(NodeId(4))));
    let to = [0, 3, 4].map(NodeId).to_vec();
    wire.nodes[2].send_routed(to, Routed::Signal(Bytes::from_static(b"offer")));
    wire.settle();
    let signal =
        |from: u32, data: &'static [u8]| Event::Signal { from: NodeId(from), data: Bytes::from_static(data) };
    assert!(wire.events[4].contains(&signal(2, b"offer")));
    wire.nodes[4].send_signal(NodeId(2), Bytes::from_static(b"answer")).unwrap();
    wire.settle();
    assert!(wire.events[2].contains(&signal(4, b"answer")));
    // To nobody: dropped where the way ends.
    let nobody = [0, 3, 77].map(NodeId).to_vec();
    wire.nodes[2].send_routed(nobody, Routed::Signal(Bytes::new()));
    wire.settle();
    assert_eq!(wire.nodes[3].stats().unplaced, 1);
}

#[test]
fn signals_that_flood_a_sibling_leave_room_for_its_heartbeats() {
    let mut wire = Wire::new(&Config::default(), 3);
    let rude = wire.link(0, 1);
    let victim = wire.link(0, 2);
    wire.blocked.insert((0, victim));
    let body = Routed::Signal(vec![7; 16 * 1024].into());
    let route = Route { hops: 5, to: vec![NodeId(0), NodeId(2)], from: vec![NodeId(0), NodeId(1)], body };
    let flood = |wire: &mut Wire| {
        let before = wire.nodes[0].stats().overflow;
        for _ in 0..100 {
            let frame = Control::Route(route.clone()).to_frame().into_bytes();
            wire.nodes[0].handle_input(wire.now, rude, frame);
        }
        100 - (wire.nodes[0].stats().overflow - before)
    };
    assert!((1..=2).contains(&flood(&mut wire)));
    wire.advance(250 * MS);
    let mut ahead = 0;
    while let Some(bytes) = wire.nodes[0].poll_transmit(victim) {
        if bytes[0] == 7 {
            break;
        }
        ahead += bytes.len();
    }
    assert!((16 * 1024..40 * 1024).contains(&ahead), "{ahead} bytes before a heartbeat");
    // What was sent has made room.
    while wire.nodes[0].poll_transmit(victim).is_some() {}
    assert!((1..=2).contains(&flood(&mut wire)));
}

#[test]
fn a_node_finds_its_standby_beside_its_parent() {
    let mut wire = Wire::new(&Config::default(), 4);
    wire.link(0, 1);
    wire.link(0, 2);
    wire.link(1, 3);
    wire.advance(3000 * MS);
    let connect = Event::Connect { peer: NodeId(2), role: Role::Warm };
    let connect_root = Event::Connect { peer: NodeId(0), role: Role::Warm };
    assert!(
        wire.events[3].contains(&connect) || wire.events[3].contains(&connect_root),
        "{:?}",
        wire.events[3]
    );
}

#[test]
fn the_owner_sees_the_tree() {
    let mut wire = Wire::chain(&Config::default(), 3);
    wire.advance(11_000 * MS);
    assert!(wire.events[0].contains(&Event::TreeUpdate));
    let links = |id: u32| wire.nodes[0].tree()[&NodeId(id)].report.links.clone();
    let info = |id: u32, upstreams: &[u32], downstreams: &[u32]| TreeInfo {
        id: NodeId(id),
        upstreams: upstreams.iter().copied().map(NodeId).collect(),
        downstreams: downstreams.iter().copied().map(NodeId).collect(),
    };
    assert_eq!(links(0), info(0, &[], &[1]));
    assert_eq!(links(1), info(1, &[0], &[2]));
    assert_eq!(links(2), info(2, &[1], &[]));
}

#[test]
fn an_original_child_gets_only_what_it_knows() {
    let mut wire = Wire::new(&Config::default(), 1);
    let (link, now) = (LinkId(7), wire.now);
    wire.nodes[0].link_up(now, link, NodeId(5), Direction::Down, Capabilities::Original);
    for n in 0..41 {
        wire.nodes[0].handle_timeout(now + 250 * MS * n);
    }
    wire.nodes[0].publish(Message::Text("a".into())).unwrap();
    wire.nodes[0].handle_join(now, join(6, 1, &[]));
    let ping = Frame::new(FrameType::PING, Sequence(0), &[0]);
    wire.nodes[0].handle_input(now, link, ping.into_bytes());
    let frames: Vec<_> = std::iter::from_fn(|| wire.nodes[0].poll_transmit(link))
        .map(|bytes| Frame::parse(bytes).unwrap())
        .collect();
    let types: BTreeSet<_> = frames.iter().map(|frame| frame.frame_type().0).collect();
    assert!(types.iter().all(|known| [1, 2, 3, 255].contains(known)), "{types:?}");
    assert!(types.contains(&1) && types.contains(&3) && types.contains(&255));
    assert_eq!(frames.last().unwrap().body(), write_text("a"));
}

#[test]
fn an_original_parent_delivers_though_its_numbers_have_gaps_and_begin_anew() {
    let mut wire = Wire::new(&Config::default(), 2);
    let (link, now) = (LinkId(7), wire.now);
    let node = &mut wire.nodes[1];
    node.link_up(now, link, NodeId(0), Direction::Up, Capabilities::Original);
    for n in [0, 1, 1, 5, 4, 9000, 3, 4] {
        node.handle_input(now, link, Frame::new(FrameType::DATA, Sequence(n), b"x").into_bytes());
    }
    let got: Vec<_> = std::iter::from_fn(|| node.poll_event())
        .filter_map(|event| if let Event::Message(sequence, _) = event { Some(sequence.0) } else { None })
        .collect();
    assert_eq!(got, [0, 1, 5, 9000, 3, 4]);
    let ask = Frame::new(FrameType::GET_TREE_INFO, Sequence(0), &[]);
    node.handle_input(now, link, ask.into_bytes());
    let answer = Frame::parse(node.poll_transmit(link).unwrap()).unwrap();
    assert_eq!(answer.frame_type(), FrameType::NOTIFY_TREE_INFO);
    assert_eq!(TreeInfo::parse(&answer.body()).unwrap().upstreams, [NodeId(0)]);
}

#[test]
fn leaving_tells_the_children_who_heal_at_once() {
    let mut wire = Wire::new(&Config::default(), 3);
    wire.link(0, 1);
    wire.link(1, 2);
    wire.link(0, 2);
    assert_eq!(wire.nodes[2].parent(), Some(NodeId(1)));
    let now = wire.now;
    wire.nodes[1].leave(now);
    wire.settle();
    assert_eq!(wire.nodes[2].parent(), Some(NodeId(0)));
    assert_eq!(wire.nodes[0].children().count(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Up(u8, u8, bool, bool),
    Down(u8),
    Frame(u8, u8, Vec<u8>),
    Say(u8, Control),
    Publish(u16),
    Wait(u16),
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = || prop::collection::vec((0..9u32).prop_map(NodeId), 1..5);
    let control = prop_oneof![
        (any::<bool>(), 0..3u32, any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
            |(eager, epoch, next, credit, size)| {
                let role = if eager { Role::Eager } else { Role::Warm };
                Control::Attach(Attach { role, epoch, next: Sequence(next), credit, size })
            }
        ),
        (ids(), 0..3u32, any::<u64>()).prop_map(|(path, epoch, next)| Control::Path(PathInfo {
            reliable: next % 2 == 0,
            epoch,
            next: Sequence(next),
            siblings: path.clone(),
            uncles: path.clone(),
            path,
        })),
        (any::<[u32; 4]>(), 0..3u32, any::<u64>(), any::<u8>()).prop_map(
            |([stamp, echo, tick, size], epoch, n, height)| {
                let next = Sequence(n);
                Control::Heartbeat(Heartbeat {
                    stamp,
                    echo,
                    held: 0,
                    tick,
                    epoch,
                    next,
                    size,
                    height,
                    parents: height,
                })
            }
        ),
        (any::<u8>(), ids(), ids(), any::<bool>(), any::<[u32; 2]>()).prop_map(
            |(hops, to, from, eager, [size, avoid])| {
                let role = if eager { Role::Eager } else { Role::Warm };
                let body = Routed::Ask(Ask { role, limit: hops, size, avoid: NodeId(avoid) });
                Control::Route(Route { hops, to, from, body })
            }
        ),
        (ids(), ids()).prop_map(|(to, from)| Control::Route(Route {
            hops: 9,
            to,
            from,
            body: Routed::Refuse
        })),
        (0..3u32, any::<u64>(), any::<u64>()).prop_map(|(epoch, from, to)| Control::Gap {
            epoch,
            from: Sequence(from),
            to: Sequence(to)
        }),
        any::<u64>().prop_map(Control::Credit),
    ];
    let step = prop_oneof![
        2 => (0..6u8, 0..9u8, any::<bool>(), any::<bool>()).prop_map(|(l, p, d, c)| Step::Up(l, p, d, c)),
        1 => (0..6u8).prop_map(Step::Down),
        3 => (0..6u8, prop_oneof![0..14u8, 254..=255u8], prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(link, kind, rest)| Step::Frame(link, kind, rest)),
        6 => (0..6u8, control).prop_map(|(link, control)| Step::Say(link, control)),
        1 => any::<u16>().prop_map(Step::Publish),
        2 => any::<u16>().prop_map(Step::Wait),
        1 => Just(Step::Drain),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Neighbours may say anything, in any order; the owner may forget to drain.
    #[test]
    fn no_order_of_words_and_calls_breaks_a_node(is_owner: bool, steps in steps()) {
        let mut wire = Wire::new(&small(), 1);
        let mut now = wire.now;
        let mut node = if is_owner { wire.nodes.remove(0) } else { Node::new(small(), NodeId(3), false, now, [1; 32]) };
        node.join(now);
        for step in steps {
            match step {
                Step::Up(link, peer, down, ours) => {
                    let direction = if down { Direction::Down } else { Direction::Up };
                    let capabilities = if ours { Capabilities::Ours } else { Capabilities::Original };
                    node.link_up(now, LinkId(link.into()), NodeId(peer.into()), direction, capabilities);
                }
                Step::Down(link) => node.link_down(now, LinkId(link.into())),
                Step::Frame(link, kind, rest) => {
                    node.handle_input(now, LinkId(link.into()), [&[kind], &rest[..]].concat().into());
                }
                Step::Say(link, control) => node.handle_input(now, LinkId(link.into()), control.to_frame().into_bytes()),
                Step::Publish(size) => {
                    let _ = node.publish(Message::Bytes(vec![0; size.into()].into()));
                }
                Step::Wait(ms) => {
                    now += MS * ms.into();
                    node.handle_timeout(now);
                    prop_assert!(node.poll_timeout().is_none_or(|at| at > now));
                }
                Step::Drain => {
                    while node.poll_event().is_some() {}
                    for link in 0..6 {
                        // Bounded: a store of messages and a queue of control frames.
                        let sent = std::iter::from_fn(|| node.poll_transmit(LinkId(link))).take(100_000).count();
                        prop_assert!(sent < 50_000);
                    }
                }
            }
            prop_assert!(node.children().filter(|(_, role)| *role == Some(Role::Eager)).count() <= 5);
            prop_assert!(node.path().len() <= MAX_PATH);
        }
    }
}
