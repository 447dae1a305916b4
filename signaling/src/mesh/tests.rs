//! The README's flow call by call, what its programs do beyond it, and what may not work.

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

    /// A call whose answer comes at once: the result, or the error's message.
    fn call(&mut self, socket: SocketId, method: &str, params: Value) -> Result<Value, String> {
        self.say(socket, json!({"jsonrpc": "2.0", "id": "9", "method": method, "params": params}));
        let mut out = self.out();
        let (to, answer) = out.pop().expect("an answer");
        assert_eq!((to, &answer["jsonrpc"], &answer["id"]), (socket, &json!("2.0"), &json!("9")));
        match answer["error"]["message"].as_str() {
            Some(message) => Err(message.to_owned()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// A user that has said `init`.
    fn user(&mut self) -> (SocketId, Value) {
        let socket = self.open();
        let user = self.call(socket, "init", json!([])).unwrap();
        (socket, user)
    }
}

#[test]
fn the_flow_of_the_readme_passes_call_by_call() {
    let mut room = Room::new();
    let (first, first_id) = room.user();
    assert_eq!(first_id.as_str().map(str::len), Some(32));
    let group = room.call(first, "create", json!([])).unwrap();
    let (second, second_id) = room.user();
    room.say(second, json!({"id": "1", "method": "join", "params": [group]}));
    let told = json!({"jsonrpc": "2.0", "method": "member_joined", "params": [group, second_id]});
    let answer = json!({"jsonrpc": "2.0", "result": null, "id": "1"});
    assert_eq!(room.out(), [(first, told), (second, answer)]);
    assert_eq!(room.call(second, "get_members", json!([group])), Ok(json!([first_id, second_id])));

    let offer = json!({"offer": {"type": "offer", "sdp": "v=0"}});
    room.say(second, json!({"id": "2", "method": "relay", "params": [group, first_id, offer]}));
    let passed = json!({"jsonrpc": "2.0", "id": "0", "method": "relay", "params": [group, second_id, offer]});
    assert_eq!(room.out(), [(first, passed)]);
    room.say(first, json!({"jsonrpc": "2.0", "id": "0", "result": {"answer": {"sdp": "v=0"}}}));
    let answer = json!({"jsonrpc": "2.0", "id": "2", "result": {"answer": {"sdp": "v=0"}}});
    assert_eq!(room.out(), [(second, answer)]);
    // Candidates go the other way, too.
    room.say(first, json!({"id": 7, "method": "relay", "params": [group, second_id, {"ice": "x"}]}));
    assert_eq!(room.out()[0].1["params"], json!([group, first_id, {"ice": "x"}]));
    room.say(second, json!({"id": "1", "result": null}));
    assert_eq!(room.out(), [(first, json!({"jsonrpc": "2.0", "id": 7, "result": null}))]);

    room.say(second, json!({"id": "3", "method": "leave", "params": [group]}));
    let told = json!({"jsonrpc": "2.0", "method": "member_left", "params": [group, second_id]});
    assert_eq!(room.out()[0], (first, told));
    assert_eq!(room.call(second, "join", json!([group])), Ok(Value::Null), "and may come back");
    room.close(second);
    assert_eq!(room.out().last().unwrap().1["method"], "member_left");
    room.close(first);
    let stats = room.hub.stats();
    assert_eq!((stats.groups, stats.sockets, stats.relayed, room.hub.poll_timeout()), (0, 0, 2, None));
}

#[test]
fn everybody_may_do_only_what_is_theirs() {
    let mut room = Room::new();
    let (owner, owner_id) = room.user();
    let group = room.call(owner, "create", json!([])).unwrap();
    let (member, member_id) = room.user();
    room.call(member, "join", json!([group])).unwrap();
    let (stranger, stranger_id) = room.user();
    let nobody = room.open();
    for (who, method, params, wrong) in [
        (nobody, "create", json!([]), "init RPC required"),
        (nobody, "join", json!([group]), "init RPC required"),
        (nobody, "relay", json!([group, owner_id, 1]), "init RPC required"),
        (stranger, "join", json!(["0"]), "not found group id"),
        (stranger, "join", json!([7]), "an id is a string"),
        (stranger, "join", json!([]), "an id is a string"),
        (stranger, "get_members", json!([group]), "not joined group"),
        (stranger, "relay", json!([group, owner_id, 1]), "not joined group"),
        (member, "relay", json!([group, stranger_id, 1]), "unknown user id"),
        (member, "relay", json!([group, "toString", 1]), "unknown user id"),
        (member, "join", json!([group]), "already joined"),
        (owner, "join", json!([group]), "already joined"),
        (member, "toString", json!([]), "there is no such method"),
        (member, "_relay", json!([]), "there is no such method"),
    ] {
        assert_eq!(room.call(who, method, params), Err(wrong.to_owned()), "{method}");
    }
    assert_eq!(room.call(stranger, "leave", json!([group])), Ok(Value::Null));
    assert_eq!(room.call(owner, "get_members", json!([group])), Ok(json!([owner_id, member_id])));
    assert_eq!(room.call(owner, "init", json!([])), Ok(owner_id.clone()), "one socket is one user");
    // The group outlives who made it.
    room.call(owner, "leave", json!([group])).unwrap();
    assert_eq!(room.call(member, "get_members", json!([group])), Ok(json!([member_id])));
    assert_eq!(room.call(owner, "relay", json!([group, member_id, 1])), Err("not joined group".to_owned()));
}

#[test]
fn an_answer_is_taken_from_who_was_asked_and_once() {
    let mut room = Room::new();
    let (a, _) = room.user();
    let group = room.call(a, "create", json!([])).unwrap();
    let (b, b_id) = room.user();
    let (c, _) = room.user();
    room.call(b, "join", json!([group])).unwrap();
    room.call(c, "join", json!([group])).unwrap();
    room.say(a, json!({"id": "x", "method": "relay", "params": [group, b_id, 1]}));
    assert_eq!(room.out().len(), 1);
    room.say(c, json!({"id": "0", "result": "forged"}));
    room.say(a, json!({"id": "0", "result": "forged"}));
    room.say(b, json!({"id": "1", "result": "of nothing"}));
    assert!(room.out().is_empty());
    room.say(b, json!({"id": 0, "error": {"code": -32603}}));
    let error = json!({"code": -32603, "message": "the other user failed"});
    assert_eq!(room.out(), [(a, json!({"jsonrpc": "2.0", "id": "x", "error": error}))]);
    room.say(b, json!({"id": "0", "result": "again"}));
    assert!(room.out().is_empty());
}

#[test]
fn a_relay_ends_in_time_whatever_becomes_of_the_other_user() {
    let mut room = Room::new();
    let (a, _) = room.user();
    let group = room.call(a, "create", json!([])).unwrap();
    let (b, b_id) = room.user();
    room.call(b, "join", json!([group])).unwrap();
    room.say(a, json!({"id": "1", "method": "relay", "params": [group, b_id, 1]}));
    room.out();
    room.now += Duration::from_secs(15);
    assert_eq!(room.hub.poll_timeout(), Some(room.now));
    room.hub.handle_timeout(room.now);
    assert_eq!(room.out()[0].1["error"]["message"], "the other user does not answer");
    room.say(b, json!({"id": "0", "result": "late"}));
    assert!(room.out().is_empty());

    room.say(a, json!({"id": "2", "method": "relay", "params": [group, b_id, 1]}));
    room.out();
    room.close(b);
    let out = room.out();
    assert_eq!(out[0].1["method"], "member_left");
    assert_eq!(out[1].1["error"]["message"], "the other user has gone");
    assert_eq!(room.hub.poll_timeout(), None);
}

#[test]
fn who_may_not_create_or_join_is_told_why() {
    let mut room = Room::new();
    let (owner, _) = room.user();
    let group = room.call(owner, "create", json!([])).unwrap();
    let stranger = room.open_as(Access { create: Err("no token"), join: Err("expired") });
    room.call(stranger, "init", json!([])).unwrap();
    assert_eq!(room.call(stranger, "create", json!([])), Err("no token".to_owned()));
    assert_eq!(room.call(stranger, "join", json!([group])), Err("expired".to_owned()));
    let guest = room.open_as(Access { create: Err("no token"), join: Ok(()) });
    room.call(guest, "init", json!([])).unwrap();
    assert_eq!(room.call(guest, "join", json!([group])), Ok(Value::Null));
    let host = room.open_as(Access { create: Ok(()), join: Err("no token") });
    room.call(host, "init", json!([])).unwrap();
    assert!(room.call(host, "create", json!([])).is_ok(), "whoever creates a group is in it");
}

#[test]
fn relays_groups_and_members_are_limited() {
    let mut room = Room::new();
    let (a, _) = room.user();
    let group = room.call(a, "create", json!([])).unwrap();
    let (b, b_id) = room.user();
    room.call(b, "join", json!([group])).unwrap();
    for i in 0..256 {
        room.say(a, json!({"id": i, "method": "relay", "params": [group, b_id, 1]}));
    }
    assert_eq!(room.out().len(), 256);
    let more = room.call(a, "relay", json!([group, b_id, 1]));
    assert_eq!(more, Err("too many relays wait for an answer".to_owned()));
    for _ in 1..16 {
        room.call(a, "create", json!([])).unwrap();
    }
    let groups = room.hub.stats().groups;
    assert!(room.call(a, "create", json!([])).is_err_and(|error| error.contains("as many groups")));
    assert_eq!(room.hub.stats().groups, groups);
    for _ in 2..64 {
        let (member, _) = room.user();
        room.call(member, "join", json!([group])).unwrap();
    }
    let (late, _) = room.user();
    assert_eq!(room.call(late, "join", json!([group])), Err("the group is full".to_owned()));
}

#[test]
fn what_grows_too_large_or_comes_too_fast_is_its_senders_trouble() {
    let mut room = Room::new();
    let (a, _) = room.user();
    let group = room.call(a, "create", json!([])).unwrap();
    let (b, b_id) = room.user();
    room.call(b, "join", json!([group])).unwrap();
    room.out();
    // Each number becomes four times as long when it is written again.
    let swelling = format!("[{}1]", "1e15,".repeat(6000));
    for id in ["", r#""id":"9","#] {
        room.say_text(a, &format!(r#"{{{id}"method":"relay","params":[{group},{b_id},{swelling}]}}"#));
        if !id.is_empty() {
            let (to, answer) = room.only();
            assert_eq!((to, &answer["error"]["message"]), (a, &json!("this is too large to be passed on")));
        }
    }
    room.crowded.insert(b);
    let refused = room.call(a, "relay", json!([group, b_id, 1]));
    assert_eq!(refused, Err("the other user does not read as fast".to_owned()));
    assert_eq!(room.hub.poll_timeout(), None, "nothing waits for an answer");
    let (late, _) = room.user();
    let refused = room.call(late, "join", json!([group]));
    assert!(
        refused.is_err_and(|error| error.contains("does not read as fast")),
        "coming and going is told, too"
    );
    room.crowded.clear();
    room.say(a, json!({"id": "9", "method": "relay", "params": [group, b_id, 1]}));
    let number = room.only().1["id"].clone();
    room.say_text(b, &format!(r#"{{"id":{number},"result":{swelling}}}"#));
    let (to, answer) = room.only();
    assert_eq!((to, &answer["id"]), (a, &json!("9")));
    assert_eq!(answer["error"]["message"], "the other user's answer is too large");
}

#[test]
fn who_never_says_init_is_closed_and_one_address_does_not_take_all_groups() {
    let limits = Limits { max_groups: 100, ..Limits::default() };
    let mut room = Room::with(Server::new(limits, [7; 32]));
    let silent = room.open();
    let greedy = [1, 1, 1, 2].map(|address| {
        let socket = room.open_from(Access::FULL, Some(Address::V4(address)));
        room.call(socket, "init", json!([])).unwrap();
        socket
    });
    room.now += Duration::from_secs(30);
    room.hub.handle_timeout(room.now);
    assert_eq!(room.only(), (silent, json!({"closed": "init took too long"})));
    assert_eq!(room.hub.poll_timeout(), None);
    room.say(silent, json!({"id": 1, "method": "init"}));
    assert!(room.out().is_empty());

    let mut made = Vec::new();
    for socket in greedy {
        let groups: Vec<_> = (0..10).map_while(|_| room.call(socket, "create", json!([])).ok()).collect();
        made.push(groups);
    }
    assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), [10, 6, 0, 10]);
    room.call(greedy[1], "leave", json!([made[1][0]])).unwrap();
    assert!(room.call(greedy[2], "create", json!([])).is_ok(), "a place comes back with the group");
    assert!(room.call(greedy[2], "create", json!([])).is_err_and(|error| error.contains("your address")));
}

#[test]
fn an_id_is_a_short_text_or_a_number() {
    let mut room = Room::new();
    let socket = room.open();
    for id in [json!([1]), json!({}), json!(true), json!("x".repeat(65))] {
        room.say(socket, json!({"id": id, "method": "init"}));
        let (_, answer) = room.only();
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &Value::Null), "{id}");
    }
    for id in [json!(null), json!(7), json!(-1.5), json!("x".repeat(64))] {
        room.say(socket, json!({"id": id, "method": "init"}));
        let (_, answer) = room.only();
        assert!(answer["id"] == id && answer["result"].is_string(), "{answer}");
    }
}

#[test]
fn what_is_no_call_is_answered_and_many_end_the_socket() {
    let mut room = Room::new();
    for (text, code) in [
        ("{", -32700),
        ("[]", -32700),
        ("{}", -32600),
        (r#"{"method":7}"#, -32600),
        (r#"{"method":"init","params":{}}"#, -32602),
        (r#"{"method":"__proto__"}"#, -32601),
    ] {
        let socket = room.open();
        room.say_text(socket, text);
        assert_eq!(room.out()[0].1["error"]["code"], code, "{text}");
    }
    let clumsy = room.open();
    for _ in 0..100 {
        room.say_text(clumsy, "hello");
    }
    let out = room.out();
    assert_eq!(out.len(), 17);
    assert_eq!(out[16].1, json!({"closed": "too many mistakes"}));
    // A notification is not answered.
    let quiet = room.open();
    room.say(quiet, json!({"method": "init"}));
    assert!(room.out().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is said by whomever: no panic, nothing for sockets that are gone, and nothing left when all have gone.
    #[test]
    fn no_call_in_any_order_breaks_the_server(
        steps in prop::collection::vec((0..5usize, 0..9usize, 0..4usize, 0..4usize), 0..80)
    ) {
        let mut room = Room::new();
        let mut sockets: Vec<_> = (0..5).map(|_| room.open()).collect();
        let (mut ids, mut relays) = (vec![Value::Null, json!("x")], 0);
        for (who, what, first, second) in steps {
            let socket = sockets[who];
            let param = |at: usize| ids[at % ids.len()].clone();
            match what {
                8 => {
                    room.close(socket);
                    sockets[who] = room.open();
                }
                7 => room.say(socket, json!({"id": (relays as usize).saturating_sub(first).to_string(), "result": 1})),
                6 => {
                    room.now += Duration::from_secs(4);
                    room.hub.handle_timeout(room.now);
                }
                _ => {
                    let method = ["init", "create", "join", "leave", "get_members", "relay"][what];
                    relays += u64::from(what == 5);
                    room.say(socket, json!({"id": "1", "method": method, "params": [param(first), param(second), 1]}));
                }
            }
            for (to, message) in room.out() {
                prop_assert!(sockets.contains(&to));
                if message["result"].is_string() && ids.len() < 8 {
                    ids.push(message["result"].clone());
                }
            }
        }
        for socket in sockets {
            room.close(socket);
        }
        let stats = room.hub.stats();
        prop_assert_eq!((stats.sockets, stats.groups, room.hub.poll_timeout()), (0, 0, None));
    }
}
