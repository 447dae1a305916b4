//! Frames that the JavaScript of `web/alm` has to read and write as we do: `web/alm/tests/frames.json`, which its tests check
//! from the other side. `SINNET_FRAMES=write cargo test -p sinnet-alm frames_for` writes it anew.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/alm/tests/frames.json");

fn ids(ids: &[u32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A frame, what it says, and at which lengths its body can be cut off and still be read.
fn vector(name: &str, frame: &Frame, says: Value) -> Value {
    let reads = |body: &[u8]| match frame.frame_type() {
        FrameType::NOTIFY_TREE_INFO => TreeInfo::parse(body).is_ok(),
        FrameType::JOIN => Join::parse(body).is_ok(),
        kind => matches!(Control::parse(kind, &Bytes::copy_from_slice(body)), Ok(Some(_))),
    };
    let body = frame.body();
    let lengths: Vec<_> = (0..=body.len()).filter(|length| reads(&body[..*length])).collect();
    json!({
        "name": name,
        "hex": hex(frame.as_bytes()),
        "type": frame.frame_type().0,
        "sequence": frame.sequence().0.to_string(),
        "says": says,
        "lengths": lengths,
    })
}

fn control(name: &str, control: &Control, says: Value) -> Value {
    vector(name, &control.to_frame(), says)
}

fn controls() -> Vec<Value> {
    let next = Sequence(0xfedc_ba98_7654_3210);
    let number = next.0.to_string();
    let (to, from) = (ids(&[0, 7, 0xffff_fffe]), ids(&[0, 9]));
    let route = |body| Control::Route(Route { hops: 48, to: to.clone(), from: from.clone(), body });
    let routed = |kind: u8, more: Value| {
        let mut says = json!({"hops": 48, "to": [0, 7, 0xffff_fffe_u32], "from": [0, 9], "kind": kind});
        says.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        says
    };
    let ask = Ask { role: Role::Warm, limit: 64, size: 70_000, avoid: NodeId(0x8000_0001) };
    let path = PathInfo {
        reliable: true,
        epoch: 0xdead_beef,
        next,
        path: (0..64).map(NodeId).collect(),
        siblings: ids(&[1, 2, 3]),
        uncles: Vec::new(),
    };
    let beat = Heartbeat {
        stamp: 0xffff_fff0,
        echo: 1,
        held: u32::MAX,
        tick: 0x8000_0000,
        epoch: 3,
        next,
        size: 1 << 20,
        height: 200,
        parents: 2,
    };
    let links = TreeInfo { id: NodeId(6), upstreams: ids(&[2, 3]), downstreams: ids(&[0xffff_ffff]) };
    let report = Report { links, rtt: Duration::from_micros(1_234_567), rate: u32::MAX, lag: 1 << 40 };
    vec![
        control(
            "attach",
            &Control::Attach(Attach { role: Role::Eager, epoch: 7, next, credit: u64::MAX, size: 9 }),
            json!({"role": 1, "epoch": 7, "next": number, "credit": "endless", "size": 9}),
        ),
        control(
            "attach of a newcomer",
            &Control::Attach(Attach {
                role: Role::Warm,
                epoch: 0,
                next: Sequence(0),
                credit: 1 << 20,
                size: 1,
            }),
            json!({"role": 0, "epoch": 0, "next": "0", "credit": 1 << 20, "size": 1}),
        ),
        control(
            "path",
            &Control::Path(path.clone()),
            json!({
                "reliable": true, "epoch": path.epoch, "next": number, "path": path.path,
                "siblings": [1, 2, 3], "uncles": [],
            }),
        ),
        control(
            "heartbeat",
            &Control::Heartbeat(beat),
            json!({
                "stamp": beat.stamp, "echo": 1, "held": u32::MAX, "tick": beat.tick, "epoch": 3, "next": number,
                "size": beat.size, "height": 200, "parents": 2,
            }),
        ),
        control(
            "ask",
            &route(Routed::Ask(ask)),
            routed(0, json!({"ask": {"role": 0, "limit": 64, "size": 70_000, "avoid": 0x8000_0001_u32}})),
        ),
        control("accept", &route(Routed::Accept(Role::Eager)), routed(1, json!({"role": 1}))),
        control("refuse", &route(Routed::Refuse), routed(2, json!({}))),
        control(
            "signal",
            &route(Routed::Signal(Bytes::from_static(b"\0offer\xff"))),
            routed(3, json!({"signal": hex(b"\0offer\xff")})),
        ),
        control(
            "report",
            &Control::Report(report),
            json!({
                "id": 6, "upstreams": [2, 3], "downstreams": [u32::MAX], "rtt": 1_234_567, "rate": u32::MAX,
                "lag": 1_u64 << 40,
            }),
        ),
        control("detach", &Control::Detach(Detach::CYCLE), json!({"reason": 2})),
        control(
            "gap",
            &Control::Gap { epoch: 5, from: Sequence(u64::MAX), to: Sequence(2) },
            json!({"epoch": 5, "from": u64::MAX.to_string(), "to": "2"}),
        ),
        control("credit", &Control::Credit(123_456_789_012), json!({"credit": 123_456_789_012_u64})),
    ]
}

fn others() -> Vec<Value> {
    let join = Join::new(json!("部屋"), json!("key"), NodeId(5), 2, &ids(&[0, 3, 5]));
    let says = json!({"g": "部屋", "e": "key", "i": 5, "n": 2, "x": {"v": 1, "p": [0, 3, 5]}});
    let old = r#"{"m":"join","g":0,"n":0.5,"i":3,"e":12,"extra":[1]}"#;
    let tree = TreeInfo { id: NodeId(1), upstreams: ids(&[0]), downstreams: ids(&[2, 3]) };
    let tree_info = Frame::new(FrameType::NOTIFY_TREE_INFO, Sequence(0), &tree.write());
    let text = Frame::new(FrameType::TEXT, Sequence(0x0102_0304_0506_0708), &write_text("aあ😀"));
    let data = Frame::new(FrameType::DATA, Sequence(u64::MAX), &[0, 128, 255]);
    let as_string = |frame: &Frame| frame.to_old_string();
    vec![
        vector("join", &Frame::new(FrameType::JOIN, Sequence(0), &join.write()), says),
        vector(
            "join of an old node",
            &Frame::new(FrameType::JOIN, Sequence(77), &write_text(old)),
            json!({"g": 0, "n": 1, "i": 3, "e": 12, "extra": [1], "x": null}),
        ),
        vector("notify-tree-info", &tree_info, json!({"id": 1, "upstreams": [0], "downstreams": [2, 3]})),
        vector("text", &text, json!({"text": "aあ😀", "string": as_string(&text)})),
        vector("data", &data, json!({"data": "0080ff", "string": as_string(&data)})),
    ]
}

#[test]
fn frames_for_the_other_language_are_as_they_were() {
    let all: Vec<_> = controls().into_iter().chain(others()).collect();
    let written = serde_json::to_string_pretty(&all).unwrap() + "\n";
    if std::env::var("SINNET_FRAMES").is_ok_and(|what| what == "write") {
        std::fs::write(FILE, &written).unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap();
    assert!(file == written, "{FILE} is not what the frames of today look like");
}
