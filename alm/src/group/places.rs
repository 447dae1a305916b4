//! What a node says to the server: its group's control socket, its own joins, and its answers to the joins of others.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::socket::{Socket, SocketId};
use crate::frame::{Join, NodeId, VERSION};

/// The first pause before the server is tried again; it doubles up to [`MAX_PAUSE`], each ± half.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A join whose connections are all up or lost may have its socket open for so long, for more acceptors to come.
pub(crate) const JOIN_LINGERS: Duration = Duration::from_secs(10);

/// A join that nobody has answered yet is left alone for so long, before it is made anew.
pub(crate) const JOIN_SETTLES: Duration = Duration::from_millis(700);

/// The owner's socket, for as long as the group is to be found.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Brings the group back after a restart of the server.
    pub(crate) secret: String,
    /// The first number that the server has not given away, as far as its joins say.
    pub(crate) next_node: u32,
    pub(crate) socket: Option<Socket>,
    pub(crate) is_up: bool,
    attempts: u32,
    pub(crate) retry_at: Option<Instant>,
}

impl Control {
    pub(crate) fn new(name: &str, description: &str, secret: String) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            secret,
            next_node: 1,
            socket: None,
            is_up: false,
            attempts: 0,
            retry_at: None,
        }
    }

    /// The message that makes the group, or brings it back.
    pub(crate) fn create(&self) -> Value {
        json!({
            "m": "create",
            "g": self.name,
            "d": self.description,
            "x": {"v": VERSION, "s": self.secret, "i": self.next_node},
        })
    }

    /// The server has it.
    pub(crate) fn up(&mut self) {
        self.is_up = true;
        self.attempts = 0;
        self.retry_at = None;
    }

    /// The socket is lost, or the server refused. `spread` is between a half and one and a half.
    pub(crate) fn down(&mut self, now: Instant, spread: f64) {
        self.socket = None;
        self.is_up = false;
        let pause = (PAUSE * (1 << self.attempts.min(5))).min(MAX_PAUSE);
        self.attempts = self.attempts.saturating_add(1);
        self.retry_at = Some(now + pause.mul_f64(spread));
    }

    /// A join came: its number is given away.
    pub(crate) fn note(&mut self, node: NodeId) {
        self.next_node = self.next_node.max(node.0.saturating_add(1));
    }
}

/// Our own join by the server.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) socket: Socket,
    pub(crate) since: Instant,
    /// When the last acceptor came.
    pub(crate) last: Instant,
    pub(crate) wanted: u32,
    /// Connections of it that came up.
    pub(crate) got: u32,
}

/// The message that asks for upstreams. A member that has a number says it, and the proof that it is its own.
pub(crate) fn join(group: &str, wanted: u32, member: Option<(NodeId, &Value)>, path: &[NodeId]) -> Value {
    let mut message = Map::new();
    message.insert("m".to_owned(), "join".into());
    message.insert("g".to_owned(), group.into());
    message.insert("n".to_owned(), wanted.into());
    if let Some((id, proof)) = member {
        message.insert("i".to_owned(), id.0.into());
        if !proof.is_null() {
            message.insert("t".to_owned(), proof.clone());
        }
    }
    message.insert("x".to_owned(), json!({"v": VERSION, "p": path}));
    Value::Object(message)
}

/// A join of somebody else's, which we answer.
#[derive(Debug)]
pub(crate) struct Accepting {
    pub(crate) socket: Socket,
    pub(crate) join: Join,
    pub(crate) deadline: Instant,
}

impl Accepting {
    pub(crate) fn new(socket: Socket, join: Join, own: NodeId, deadline: Instant) -> Self {
        socket.say(&json!({"m": "join_res", "i": own, "e": join.e}));
        Self { socket, join, deadline }
    }

    pub(crate) fn id(&self) -> SocketId {
        self.socket.id
    }
}

/// Whether an answer says `ok`; otherwise what is wrong.
pub(crate) fn outcome(answer: &Map<String, Value>) -> Result<(), String> {
    match answer.get("r").and_then(Value::as_str) {
        Some("ok") => Ok(()),
        Some(wrong) => Err(wrong.chars().take(256).collect()),
        None => Err("it gave no reason".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::driver::now;

    #[test]
    fn pauses_double_up_to_half_a_minute_and_begin_anew_after_success() {
        let (now, mut control) = (now(), Control::new("room", "", "00".repeat(16)));
        let pause = |control: &mut Control, spread| {
            control.down(now, spread);
            control.retry_at.unwrap() - now
        };
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(pause(&mut control, 1.0), Duration::from_secs(seconds));
        }
        assert_eq!(pause(&mut control, 0.5), Duration::from_secs(15));
        control.up();
        assert!(control.is_up && control.retry_at.is_none());
        assert_eq!(pause(&mut control, 1.5), Duration::from_millis(1500));
        assert!(!control.is_up);
    }

    #[test]
    fn a_group_comes_back_with_its_secret_and_the_first_number_that_is_free() {
        let mut control = Control::new("room", "about", "ab".repeat(16));
        for node in [3, 1, 7, 7] {
            control.note(NodeId(node));
        }
        let x = json!({"v": 1, "s": "ab".repeat(16), "i": 8});
        assert_eq!(control.create(), json!({"m": "create", "g": "room", "d": "about", "x": x}));
        control.note(NodeId(u32::MAX));
        assert_eq!(control.create()["x"]["i"], u32::MAX);
    }

    #[test]
    fn a_join_says_number_and_proof_once_there_are_any() {
        let path = [NodeId(0), NodeId(4)];
        assert_eq!(
            join("room", 2, None, &[]),
            json!({"m": "join", "g": "room", "n": 2, "x": {"v": 1, "p": []}})
        );
        let again = join("room", 1, Some((NodeId(4), &json!("proof"))), &path);
        let x = json!({"v": 1, "p": [0, 4]});
        assert_eq!(again, json!({"m": "join", "g": "room", "n": 1, "i": 4, "t": "proof", "x": x}));
        assert!(join("room", 1, Some((NodeId(4), &Value::Null)), &path).get("t").is_none());
    }

    #[test]
    fn an_answer_is_ok_or_says_why_not() {
        let said = |answer: Value| outcome(answer.as_object().unwrap());
        assert_eq!(said(json!({"r": "ok"})), Ok(()));
        assert_eq!(said(json!({"r": "x".repeat(1000)})).unwrap_err().len(), 256);
        assert!(said(json!({"r": 7})).is_err() && said(json!({})).is_err());
    }
}
