//! The document's flows message by message, what the original's programs say beyond it, and what may not work.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Limits, Server};
use crate::hub::{Access, Address, Hub, SocketId};
use crate::room::Room;

impl Room<Server> {
    fn new() -> Self {
        Self::with(Server::new(Limits::default(), [7; 32]))
    }

    /// A group with its owner's socket.
    fn group(&mut self, name: &str) -> SocketId {
        let owner = self.open();
        self.say(owner, json!({"m": "create", "g": name, "d": "about"}));
        assert_eq!(self.only().1["r"], "ok");
        owner
    }

    /// A join; what the owner gets and what the joiner gets.
    fn join(&mut self, message: Value) -> (SocketId, Value, Value) {
        let joiner = self.open();
        self.say(joiner, message);
        let mut out = self.out();
        assert_eq!(out.len(), 2, "{out:?}");
        let (to, answer) = out.remove(1);
        assert_eq!(to, joiner);
        (joiner, out.remove(0).1, answer)
    }
}

#[test]
fn the_flows_of_the_document_pass_message_by_message() {
    let mut room = Room::new();
    let owner = room.open();
    room.say(owner, json!({"m": "create", "g": "room", "d": "a room"}));
    let created = json!({"m": "create", "r": "ok", "g": 0, "n": "room", "d": "a room"});
    assert_eq!(room.only(), (owner, created));

    let joiner = room.open();
    room.say(joiner, json!({"m": "join", "g": "room", "n": 2}));
    let out = room.out();
    let (request, answer) = (&out[0].1, &out[1].1);
    let key = request["e"].as_str().unwrap().to_owned();
    assert!(key.len() * 4 >= 128, "{key}");
    assert_eq!(out[0].0, owner);
    assert_eq!(*request, json!({"m": "join", "g": "room", "n": 2, "i": 1, "e": key}));
    assert_eq!(out[1].0, joiner);
    let proof = answer["t"].clone();
    assert_eq!(
        *answer,
        json!({"m": "join", "r": "ok", "g": 0, "n": "room", "d": "a room", "i": 1, "t": proof})
    );

    // The owner and a node below it answer, each on a socket of its own.
    let acceptors = [room.open(), room.open()];
    for (relay, (acceptor, node)) in acceptors.into_iter().zip([0, 5]).enumerate() {
        room.say(acceptor, json!({"m": "join_res", "i": node, "e": key}));
        assert_eq!(room.only(), (joiner, json!({"m": "join_res", "i": node, "k": relay})));
    }
    for (relay, acceptor) in acceptors.into_iter().enumerate() {
        room.say(joiner, json!({"m": "offer", "i": 1, "k": relay, "s": "{\"sdp\":\"v=0\"}"}));
        assert_eq!(room.only(), (acceptor, json!({"m": "offer", "i": 1, "s": "{\"sdp\":\"v=0\"}"})));
        room.say(acceptor, json!({"m": "answer", "i": 0, "s": {"sdp": "v=0"}}));
        assert_eq!(room.only(), (joiner, json!({"m": "answer", "i": 0, "k": relay, "s": {"sdp": "v=0"}})));
        room.say(joiner, json!({"m": "ice", "k": relay, "d": "candidate"}));
        assert_eq!(room.only(), (acceptor, json!({"m": "ice", "d": "candidate"})));
        room.say(acceptor, json!({"m": "ice", "d": "candidate"}));
        assert_eq!(room.only(), (joiner, json!({"m": "ice", "k": relay, "d": "candidate"})));
    }
    room.hub.close(room.now, acceptors[0]);
    room.hub.close(room.now, joiner);
    assert_eq!(room.only(), (acceptors[1], json!({"closed": "the joining node has gone"})));
    room.hub.close(room.now, acceptors[1]);
    assert_eq!((room.hub.stats().sockets, room.hub.stats().groups), (1, 1));
    room.hub.close(room.now, owner);
    assert_eq!((room.hub.stats().sockets, room.hub.groups().len()), (0, 0));
    assert_eq!(room.hub.poll_timeout(), None);
}

#[test]
fn what_the_originals_programs_say_beyond_the_document_is_taken() {
    let mut room = Room::new();
    room.group("other");
    let owner = room.group("room");
    // The group by its number, a fraction of a connection, and members that nobody knows.
    let (_, request, answer) = room.join(json!({"m": "join", "g": 1, "n": 0.5, "x": [1]}));
    assert_eq!((&request["n"], &request["x"], &answer["n"]), (&json!(0.5), &json!([1]), &json!("room")));
    // Without a description, and by a number that is a text.
    let quiet = room.open();
    room.say(quiet, json!({"m": "create", "g": "7"}));
    assert_eq!(room.only().1["d"], "");
    assert_eq!(room.join(json!({"m": "join", "g": "1"})).2["n"], "room");
    assert_eq!(room.join(json!({"m": "join", "g": "7"})).2["n"], "7", "a name goes before a number");
    // The tree goes on without its owner's socket, the group doesn't.
    room.hub.close(room.now, owner);
    let late = room.open();
    room.say(late, json!({"m": "join", "g": 1}));
    assert_eq!(room.only().1, json!({"m": "join", "r": "unknown group id \"1\""}));
}

#[test]
fn a_node_keeps_its_number_by_the_proof_of_it_alone() {
    let mut room = Room::new();
    room.group("room");
    room.group("other");
    let (first, _, answer) = room.join(json!({"m": "join", "g": 0, "n": 1}));
    assert_eq!(answer["i"], 1);
    room.hub.close(room.now, first);
    let again = json!({"m": "join", "g": 0, "n": 1, "i": 1, "t": answer["t"]});
    let (_, request, again) = room.join(again);
    assert_eq!((&request["i"], &again["i"]), (&json!(1), &json!(1)));
    assert!(request.get("t").is_none(), "a proof is nobody else's business");
    // Whoever only says a number gets another.
    for forged in [Value::Null, json!(""), json!("00".repeat(32)), json!(7)] {
        let (_, request, _) = room.join(json!({"m": "join", "g": 0, "n": 1, "i": 1, "t": forged}));
        assert!(request["i"].as_u64() > Some(1));
    }
    for elsewhere in [
        json!({"m": "join", "g": 1, "i": 1, "t": answer["t"]}),
        json!({"m": "join", "g": 0, "i": 2, "t": answer["t"]}),
    ] {
        let fresh = room.join(elsewhere.clone()).1["i"].as_u64().unwrap();
        assert!(elsewhere["g"] == 1 && fresh == 1 || fresh > 2);
    }
}

#[test]
fn every_mistake_is_answered_and_many_end_the_socket() {
    let mut room = Room::new();
    let owner = room.group("room");
    let (joiner, request, _) = room.join(json!({"m": "join", "g": 0, "n": 1}));
    let acceptor = room.open();
    room.say(acceptor, json!({"m": "join_res", "i": 0, "e": request["e"]}));
    room.out();
    let long = "x".repeat(2000);
    for (who, message, wrong) in [
        (None, json!({"m": "dance"}), "unknown method"),
        (None, json!({"x": 1}), "unknown method"),
        (None, json!({"m": 7}), "unknown method"),
        (None, json!([1]), "not a JSON object"),
        (None, json!({"m": "create"}), "invalid argument:\"g\""),
        (None, json!({"m": "create", "g": ""}), "invalid argument:\"g\""),
        (None, json!({"m": "create", "g": 7}), "invalid argument:\"g\""),
        (None, json!({"m": "create", "g": long}), "invalid argument:\"g\""),
        (None, json!({"m": "create", "g": "a", "d": long}), "invalid argument:\"d\""),
        (None, json!({"m": "create", "g": "room"}), "there is a group"),
        (None, json!({"m": "join"}), "invalid argument:\"g\""),
        (None, json!({"m": "join", "g": {}}), "invalid argument:\"g\""),
        (None, json!({"m": "join", "g": "hall"}), "unknown group id \"hall\""),
        (None, json!({"m": "join", "g": -1}), "unknown group id \"-1\""),
        (None, json!({"m": "join", "g": 0, "n": "2"}), "invalid argument:\"n\""),
        (None, json!({"m": "join", "g": 0, "n": 0}), "invalid argument:\"n\""),
        (None, json!({"m": "join", "g": 0, "n": 1e9}), "invalid argument:\"n\""),
        (None, json!({"m": "join_res", "i": 0, "e": "ff"}), "unknown ephemeral-key"),
        (None, json!({"m": "join_res", "i": 0, "e": 1}), "unknown ephemeral-key"),
        (None, json!({"m": "join_res", "e": request["e"]}), "invalid argument:\"i\""),
        (None, json!({"m": "offer", "k": 0, "s": ""}), "join first"),
        (Some(owner), json!({"m": "create", "g": "second"}), "this socket is in use"),
        (Some(owner), json!({"m": "join", "g": 0}), "this socket is in use"),
        (Some(owner), json!({"m": "ice", "k": 0, "d": ""}), "join first"),
        (Some(joiner), json!({"m": "join_res", "i": 1, "e": request["e"]}), "this socket is in use"),
        (Some(joiner), json!({"m": "offer", "k": 1, "s": ""}), "unknown relay-key"),
        (Some(joiner), json!({"m": "ice", "d": ""}), "unknown relay-key"),
        (Some(joiner), json!({"m": "ice", "k": -1, "d": ""}), "unknown relay-key"),
    ] {
        let socket = who.unwrap_or_else(|| room.open());
        room.say(socket, message.clone());
        let (to, answer) = room.only();
        assert_eq!(to, socket);
        assert!(answer["r"].as_str().is_some_and(|r| r.starts_with(wrong)), "{message}: {answer}");
        assert_eq!(answer["m"].as_str(), message["m"].as_str());
    }
    assert_eq!(room.hub.stats().groups, 1);

    let clumsy = room.open();
    for _ in 0..100 {
        room.say_text(clumsy, "{");
    }
    let out = room.out();
    assert_eq!(out.len(), 17, "16 answers, and the end");
    assert_eq!(out[16], (clumsy, json!({"closed": "too many mistakes"})));
}

#[test]
fn numbers_and_keys_are_stamped_and_not_believed() {
    let mut room = Room::new();
    room.group("room");
    let (joiner, request, _) = room.join(json!({"m": "join", "g": 0, "n": 1, "i": 77, "e": "mine"}));
    assert!(request["i"] == 1 && request["e"] != "mine");
    let acceptor = room.open();
    room.say(acceptor, json!({"m": "join_res", "i": 0, "e": request["e"]}));
    room.out();
    room.say(joiner, json!({"m": "offer", "i": 77, "k": 0, "s": ""}));
    assert_eq!(room.only(), (acceptor, json!({"m": "offer", "i": 1, "s": ""})));
    room.say(acceptor, json!({"m": "ice", "k": 5, "d": ""}));
    assert_eq!(room.only(), (joiner, json!({"m": "ice", "k": 0, "d": ""})));
    // As many acceptors as are wanted and as many again; then it is enough.
    let another = room.open();
    room.say(another, json!({"m": "join_res", "i": 3, "e": request["e"]}));
    assert_eq!(room.only().1["k"], 1);
    let third = room.open();
    room.say(third, json!({"m": "join_res", "i": 4, "e": request["e"]}));
    assert_eq!(room.only(), (third, json!({"m": "join_res", "r": "the joining node has enough offers"})));
    // A candidate for who has gone is dropped in silence, as the original's joiner would give up on an answer.
    room.hub.close(room.now, acceptor);
    room.say(joiner, json!({"m": "ice", "k": 0, "d": ""}));
    assert!(room.out().is_empty());
    assert_eq!(room.hub.stats().late, 1);
}

#[test]
fn sockets_that_take_too_long_are_closed_and_owners_are_not() {
    let mut room = Room::new();
    let owner = room.group("room");
    let silent = room.open();
    let (joiner, ..) = room.join(json!({"m": "join", "g": 0, "n": 1}));
    room.now += Duration::from_secs(30);
    room.hub.handle_timeout(room.now);
    assert_eq!(room.only(), (silent, json!({"closed": "this took too long"})));
    room.now += Duration::from_secs(121);
    room.hub.handle_timeout(room.now);
    assert_eq!(room.only(), (joiner, json!({"closed": "this took too long"})));
    room.say(joiner, json!({"m": "ice", "k": 0, "d": ""}));
    assert!(room.out().is_empty(), "nothing is heard from a socket that is being closed");
    assert_eq!(room.hub.poll_timeout(), None);
    room.say(owner, json!({"m": "ice"}));
    assert_eq!(room.only().0, owner);
}

#[test]
fn a_flood_of_joins_is_not_the_owners_trouble() {
    let mut room = Room::new();
    room.group("room");
    room.group("quiet");
    let mut told = 0;
    for _ in 0..1000 {
        let joiner = room.open();
        room.say(joiner, json!({"m": "join", "g": 0}));
        told += room.out().iter().filter(|(_, message)| message.get("e").is_some()).count();
        room.hub.close(room.now, joiner);
    }
    assert_eq!(told, 128);
    assert_eq!(room.join(json!({"m": "join", "g": "quiet"})).2["r"], "ok", "other groups don't notice");
    room.now += Duration::from_secs(1);
    assert_eq!(room.join(json!({"m": "join", "g": 0})).2["r"], "ok");
}

#[test]
fn what_grows_too_large_or_comes_too_fast_is_its_senders_trouble() {
    let mut room = Room::new();
    let owner = room.group("room");
    // Each number becomes four times as long when it is written again.
    let swelling =
        |m: &str, most: usize| format!(r#"{{"m":"{m}","g":0,"k":0,"z":[{}1]}}"#, "1e15,".repeat(most / 5));
    for length in [2000, 32_000] {
        let joiner = room.open();
        room.say_text(joiner, &swelling("join", length));
        assert_eq!(room.only(), (joiner, json!({"m": "join", "r": "a join has at most 4096 bytes"})));
    }
    let (joiner, request, _) = room.join(json!({"m": "join", "g": 0, "z": "x".repeat(3900)}));
    assert_eq!(request["i"], 1, "no number was spent");
    let acceptor = room.open();
    room.say(acceptor, json!({"m": "join_res", "i": 0, "e": request["e"]}));
    room.out();
    for (from, m) in [(joiner, "offer"), (acceptor, "answer"), (acceptor, "ice")] {
        room.say_text(from, &swelling(m, 32_000));
        assert_eq!(room.only(), (from, json!({"m": m, "r": "this is too large to be passed on"})));
    }
    room.crowded = [owner, acceptor].into();
    room.say(joiner, json!({"m": "offer", "k": 0, "s": ""}));
    let (to, answer) = room.only();
    assert!(to == joiner && answer["r"].as_str().is_some_and(|r| r.contains("does not read")), "{answer}");
    let late = room.open();
    room.say(late, json!({"m": "join", "g": 0}));
    let (to, answer) = room.only();
    assert!(
        to == late && answer["r"].as_str().is_some_and(|r| r.starts_with("too many are joining")),
        "{answer}"
    );
    room.crowded.clear();
    room.say(late, json!({"m": "join", "g": 0}));
    assert_eq!(room.out()[1].1["r"], "ok");
}

#[test]
fn who_may_not_create_or_join_is_told_why() {
    let mut room = Room::new();
    room.group("room");
    let nothing = Access { create: Err("no token"), join: Err("expired") };
    let stranger = room.open_as(nothing);
    room.say(stranger, json!({"m": "create", "g": "mine"}));
    assert_eq!(room.only(), (stranger, json!({"m": "create", "r": "no token"})));
    room.say(stranger, json!({"m": "join", "g": "room"}));
    assert_eq!(room.only(), (stranger, json!({"m": "join", "r": "expired"})));
    // An acceptor shows the join's secret, which is as good as a token.
    let guest = room.open_as(Access { create: Err("no token"), join: Ok(()) });
    room.say(guest, json!({"m": "join", "g": "room"}));
    let key = room.out()[0].1["e"].clone();
    room.say(stranger, json!({"m": "join_res", "i": 0, "e": key}));
    assert_eq!(room.only(), (guest, json!({"m": "join_res", "i": 0, "k": 0})));
    assert_eq!(room.hub.stats().groups, 1);
}

#[test]
fn one_groups_joins_do_not_take_all_sockets() {
    let limits = Limits { max_joins: 3, ..Limits::default() };
    let mut room = Room::with(Server::new(limits, [7; 32]));
    room.group("room");
    room.group("other");
    let first = room.join(json!({"m": "join", "g": "room"})).0;
    for _ in 1..3 {
        room.join(json!({"m": "join", "g": "room"}));
    }
    let late = room.open();
    room.say(late, json!({"m": "join", "g": "room"}));
    assert!(room.only().1["r"].as_str().is_some_and(|r| r.starts_with("too many are joining")));
    assert_eq!(room.join(json!({"m": "join", "g": "other"})).2["r"], "ok");
    room.close(first);
    room.say(late, json!({"m": "join", "g": "room"}));
    assert_eq!(room.out()[1].1["r"], "ok", "a place comes back with the socket");
}

#[test]
fn groups_are_limited_and_their_names_come_free() {
    let mut room = Room::new();
    let owners: Vec<_> = (0..1024).map(|i| room.group(&format!("group {i}"))).collect();
    let late = room.open();
    room.say(late, json!({"m": "create", "g": "one more"}));
    assert!(room.only().1["r"].as_str().is_some_and(|r| r.contains("as many groups")));
    room.hub.close(room.now, owners[5]);
    room.say(late, json!({"m": "create", "g": "group 5"}));
    assert_eq!(room.only().1["g"], 1024, "numbers are not used twice");
    assert_eq!(room.hub.groups().last().map(|group| group.name.as_str()), Some("group 5"));
}

#[test]
fn one_address_takes_neither_all_groups_nor_all_joins() {
    let limits = Limits { max_groups: 100, joins_per_second: 40, max_joins: 400, ..Limits::default() };
    let mut room = Room::with(Server::new(limits, [7; 32]));
    let greedy = Some(Address::V4(1));
    let mut owners = Vec::new();
    for i in 0..40 {
        let socket = room.open_from(Access::FULL, greedy);
        room.say(socket, json!({"m": "create", "g": format!("g{i}")}));
        if room.only().1["r"] == "ok" {
            owners.push(socket);
        }
    }
    assert_eq!(owners.len(), 16);
    let other = room.open_from(Access::FULL, Some(Address::V4(2)));
    room.say(other, json!({"m": "create", "g": "other"}));
    assert_eq!(room.only().1["r"], "ok");
    room.close(owners[3]);
    let again = room.open_from(Access::FULL, greedy);
    room.say(again, json!({"m": "create", "g": "again"}));
    assert_eq!(room.only().1["r"], "ok", "a place comes back with the group");

    let mut joins = |from, group: &str| {
        let mut joined = 0;
        for _ in 0..50 {
            let socket = room.open_from(Access::FULL, from);
            room.say(socket, json!({"m": "join", "g": group}));
            joined += usize::from(room.out().last().is_some_and(|(_, answer)| answer["r"] == "ok"));
        }
        joined
    };
    assert_eq!((joins(greedy, "other"), joins(greedy, "again")), (20, 0));
    assert_eq!(joins(Some(Address::V4(2)), "other"), 20, "others still join");
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        (0..5u64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
        Just(json!({})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is said by whomever: no panic, nothing for sockets that are gone, and nothing left when all have gone.
    #[test]
    fn no_message_in_any_order_breaks_the_hub(
        steps in prop::collection::vec(
            (0..6usize, 0..8usize, prop::collection::vec((0..7usize, any_value()), 0..5)), 0..60)
    ) {
        let mut room = Room::new();
        let mut sockets: Vec<_> = (0..6).map(|_| room.open()).collect();
        let mut key = Value::Null;
        for (who, what, members) in steps {
            let socket = sockets[who];
            if what == 7 {
                room.hub.close(room.now, socket);
                sockets[who] = room.open();
            } else {
                let method = ["create", "join", "join_res", "offer", "answer", "ice", "dance"][what];
                let mut message = json!({"m": method, "e": key, "g": "a"});
                for (name, value) in members {
                    message[["g", "d", "n", "i", "e", "k", "t"][name]] = value;
                }
                room.say(socket, message);
            }
            for (to, message) in room.out() {
                prop_assert!(sockets.contains(&to));
                if message["e"].is_string() {
                    key = message["e"].clone();
                }
            }
        }
        for socket in sockets {
            room.hub.close(room.now, socket);
        }
        room.out();
        let stats = room.hub.stats();
        prop_assert_eq!((stats.sockets, stats.groups, room.hub.poll_timeout()), (0, 0, None));
    }
}

#[test]
fn a_group_that_comes_back_after_a_restart_keeps_the_numbers_of_its_nodes() {
    let create = |first: u32| json!({"m": "create", "g": "room", "x": {"v": 1, "s": "0123456789abcdef0123456789abcdef", "i": first}});
    let mut room = Room::new();
    let owner = room.open();
    room.say(owner, create(1));
    assert_eq!(room.only().1["r"], "ok");
    let (.., first) = room.join(json!({"m": "join", "g": "room", "n": 1}));
    let (.., second) = room.join(json!({"m": "join", "g": "room", "n": 1}));
    assert_eq!((&first["i"], &second["i"]), (&json!(1), &json!(2)));

    // Another server with another seed, and another group before it.
    let now = room.now;
    let mut room = Room::with(Server::new(Limits::default(), [8; 32]));
    room.now = now;
    room.group("other");
    let owner = room.open();
    room.say(owner, create(3));
    assert_eq!(room.only().1["r"], "ok");
    let again = json!({"m": "join", "g": "room", "n": 1, "i": 2, "t": second["t"]});
    let (_, to_owner, answer) = room.join(again);
    assert_eq!((&to_owner["i"], &answer["i"]), (&json!(2), &json!(2)));
    let newcomer = room.join(json!({"m": "join", "g": "room", "n": 1, "i": 1, "t": second["t"]})).2;
    assert_eq!(newcomer["i"], 3, "the proof of another number is none");
}

#[test]
fn only_who_knows_its_secret_takes_a_group_over() {
    let create = |secret: &str| json!({"m": "create", "g": "room", "x": {"v": 1, "s": secret, "i": 9}});
    let mut room = Room::new();
    let owner = room.open();
    room.say(owner, create(&"a".repeat(32)));
    let id = room.only().1["g"].clone();
    for secret in [&"b".repeat(32), &"a".repeat(31), &"a".repeat(65), &"x".repeat(32), ""] {
        let stranger = room.open();
        room.say(stranger, create(secret));
        let (to, answer) = room.only();
        assert_eq!((to, answer["r"].as_str().unwrap().contains("already")), (stranger, true), "{secret}");
    }
    let again = room.open();
    room.say(again, create(&"a".repeat(32)));
    let out = room.out();
    assert!(
        matches!(&out[0], (socket, closed) if *socket == owner && closed.get("closed").is_some()),
        "{out:?}"
    );
    assert_eq!((out[1].0, &out[1].1["r"], &out[1].1["g"]), (again, &json!("ok"), &id));
    // The end of the old socket does not take the group with it, and joins go to the new one.
    room.hub.close(room.now, owner);
    let joiner = room.open();
    room.say(joiner, json!({"m": "join", "g": "room", "n": 1}));
    let out = room.out();
    assert_eq!((out[0].0, &out[0].1["i"]), (again, &json!(9)));
    room.hub.close(room.now, again);
    assert_eq!(room.hub.groups().len(), 0);
}
