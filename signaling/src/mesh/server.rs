//! The server's part, without sockets and clocks.
//!
//! Users and groups are known by 128 random bits. Every call is checked for its caller's right to it, and what one user says
//! reaches another only through a group that both are in, stamped with who said it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use crate::hub::{Access, Address, Figure, Hub, ListedGroup, Output, SocketId};
use crate::message::MAX_FRAME;
use crate::shares::{Parts, Shares};

/// Mistakes of one socket before it is closed. Refused calls are none: programs ask for groups that have gone.
const MAX_MISTAKES: u32 = 16;

/// Longest `id` of a call that is a text, bytes.
const MAX_ID: usize = 64;

/// What a server holds at most.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Groups at once; 1024 by default. One address may have a sixteenth of them, or 16.
    pub max_groups: usize,
    /// Members of a group; 64 by default: each is connected with all others.
    pub max_members: usize,
    /// Groups that one user may be in; 16 by default.
    pub max_groups_per_user: usize,
    /// Relays of one user that wait for an answer; 256 by default.
    pub max_relays: usize,
    /// How long an answer to a relay may take. 15 s by default.
    pub relay_timeout: Duration,
    /// How long a socket may take to say `init`. 30 s by default.
    pub introduction: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_groups: 1024,
            max_members: 64,
            max_groups_per_user: 16,
            max_relays: 256,
            relay_timeout: Duration::from_secs(15),
            introduction: Duration::from_secs(30),
        }
    }
}

/// What a server has counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Groups that there are.
    pub groups: usize,
    /// Sockets that there are.
    pub sockets: usize,
    /// Relays that were answered.
    pub relayed: u64,
    /// Relays that were not, in time.
    pub timed_out: u64,
    /// Messages that were no JSON-RPC, or called what there is not.
    pub mistakes: u64,
}

#[derive(Debug)]
struct Socket {
    access: Access,
    from: Option<Address>,
    /// When it is closed unless it has said who it is.
    deadline: Option<Instant>,
    user: Option<String>,
    groups: Vec<String>,
    mistakes: u32,
    /// Relays of this user that are not answered.
    waiting: usize,
    /// These, and those that this user has to answer.
    relays: BTreeSet<u64>,
    closing: bool,
}

/// A call to be passed on.
struct Call<'a> {
    id: Option<Value>,
    group: &'a str,
    to: &'a str,
    data: &'a Value,
}

/// A call that was passed on and is not answered.
#[derive(Debug)]
struct Relay {
    from: SocketId,
    to: SocketId,
    /// The caller's `id`.
    id: Value,
    deadline: Instant,
}

/// The users and groups of one server.
#[derive(Debug)]
pub struct Server {
    limits: Limits,
    rng: StdRng,
    sockets: HashMap<SocketId, Socket>,
    users: HashMap<String, SocketId>,
    /// Members, the oldest first.
    groups: HashMap<String, Vec<String>>,
    relays: HashMap<u64, Relay>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Of sockets that have not said who they are.
    introductions: BTreeSet<(Instant, SocketId)>,
    /// The addresses that made these groups, if they count.
    creators: HashMap<String, Address>,
    shares: Shares,
    next_relay: u64,
    output: VecDeque<Output>,
    stats: Stats,
}

/// A call was refused: code and message of the error object.
struct Refused(i64, &'static str);

/// JSON-RPC 2.0 §5.1.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
/// What the original has for all that its methods refuse.
const INTERNAL_ERROR: i64 = -32603;

const fn refused(message: &'static str) -> Refused {
    Refused(INTERNAL_ERROR, message)
}

const NOT_JOINED: Refused = refused("not joined group");

impl Server {
    /// A server without groups. `seed` must come from the system's randomness in production: ids are made from it.
    #[must_use]
    pub fn new(limits: Limits, seed: [u8; 32]) -> Self {
        Self {
            limits,
            rng: StdRng::from_seed(seed),
            sockets: HashMap::new(),
            users: HashMap::new(),
            groups: HashMap::new(),
            relays: HashMap::new(),
            deadlines: BTreeSet::new(),
            introductions: BTreeSet::new(),
            creators: HashMap::new(),
            // Joins are not limited here: each is a member's, and those are.
            shares: Shares::new(Parts::of(limits.max_groups, 0, 0, 0)),
            next_relay: 0,
            output: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { groups: self.groups.len(), sockets: self.sockets.len(), ..self.stats }
    }

    /// A call, or a notification if it has no `id`.
    fn call(
        &mut self,
        now: Instant,
        socket: SocketId,
        message: &Map<String, Value>,
        crowded: &dyn Fn(SocketId) -> bool,
    ) {
        // It is kept until the answer comes, so it must be what JSON-RPC 2.0 §4 allows, and short.
        let id = match message.get("id") {
            Some(Value::String(id)) if id.len() > MAX_ID => Err("an id has at most 64 bytes"),
            Some(Value::Array(_) | Value::Object(_) | Value::Bool(_)) => Err("an id is a text or a number"),
            id => Ok(id.cloned()),
        };
        let id = match id {
            Ok(id) => id,
            Err(wrong) => return self.mistake(socket, None, Refused(INVALID_REQUEST, wrong)),
        };
        let Some(method) = message.get("method").and_then(Value::as_str) else {
            return self.mistake(socket, id, Refused(INVALID_REQUEST, "a method is a string"));
        };
        let none = Vec::new();
        let params = match message.get("params") {
            None | Some(Value::Null) => &none,
            Some(Value::Array(params)) => params,
            Some(_) => {
                return self.mistake(socket, id, Refused(INVALID_PARAMS, "params are positional: an array"));
            }
        };
        let string = |at: usize| match params.get(at) {
            Some(Value::String(text)) => Ok(text.as_str()),
            _ => Err(Refused(INVALID_PARAMS, "an id is a string")),
        };
        let result = match method {
            "init" => Ok(self.init(socket)),
            "create" => self.create(now, socket),
            "join" => string(0).and_then(|group| self.join(socket, group, crowded)),
            "leave" => string(0).map(|group| {
                self.leave(socket, group);
                Value::Null
            }),
            "get_members" => string(0).and_then(|group| self.members(socket, group)),
            "relay" => {
                let call = string(0).and_then(|group| {
                    let data = params.get(2).unwrap_or(&Value::Null);
                    Ok(Call { id: id.clone(), group, to: string(1)?, data })
                });
                match call.and_then(|call| self.relay(now, socket, call, crowded)) {
                    // Answered when the other user does.
                    Ok(()) => return,
                    Err(refused) => Err(refused),
                }
            }
            _ => return self.mistake(socket, id, Refused(METHOD_NOT_FOUND, "there is no such method")),
        };
        let Some(id) = id else { return };
        match result {
            Ok(result) => self.send(socket, &json!({"jsonrpc": "2.0", "result": result, "id": id})),
            Err(refused) => self.refuse(socket, id, &refused),
        }
    }

    fn init(&mut self, socket: SocketId) -> Value {
        let fresh = self.random_id();
        let Some(entry) = self.sockets.get_mut(&socket) else { return Value::Null };
        let user = entry.user.get_or_insert(fresh).clone();
        if let Some(deadline) = entry.deadline.take() {
            self.introductions.remove(&(deadline, socket));
        }
        self.users.insert(user.clone(), socket);
        user.into()
    }

    fn user(&self, socket: SocketId) -> Result<&str, Refused> {
        let user = self.sockets.get(&socket).and_then(|socket| socket.user.as_deref());
        user.ok_or(refused("init RPC required"))
    }

    fn access(&self, socket: SocketId) -> Access {
        self.sockets.get(&socket).map_or(Access::FULL, |socket| socket.access)
    }

    fn create(&mut self, now: Instant, socket: SocketId) -> Result<Value, Refused> {
        self.user(socket)?;
        self.access(socket).create.map_err(refused)?;
        if self.groups.len() >= self.limits.max_groups {
            return Err(refused("this server has as many groups as it can take"));
        }
        let from = self.sockets.get(&socket).and_then(|entry| entry.from);
        if !self.shares.may_create(from) {
            return Err(refused("your address has as many groups as one can have"));
        }
        let group = self.random_id();
        self.groups.insert(group.clone(), Vec::new());
        if let Err(refused) = self.enter(socket, &group) {
            self.groups.remove(&group);
            return Err(refused);
        }
        self.shares.created(now, from);
        if let Some(from) = from {
            self.creators.insert(group.clone(), from);
        }
        Ok(group.into())
    }

    fn join(
        &mut self,
        socket: SocketId,
        group: &str,
        crowded: &dyn Fn(SocketId) -> bool,
    ) -> Result<Value, Refused> {
        self.user(socket)?;
        self.access(socket).join.map_err(refused)?;
        // Each is told of it. Who does not read at all is closed soon.
        let members = self.groups.get(group).into_iter().flatten();
        if members.filter_map(|member| self.users.get(member)).any(|member| crowded(*member)) {
            return Err(refused("a member does not read as fast; try again in a while"));
        }
        self.enter(socket, group)
    }

    fn enter(&mut self, socket: SocketId, group: &str) -> Result<Value, Refused> {
        let user = self.user(socket)?.to_owned();
        let members = self.groups.get_mut(group).ok_or(refused("not found group id"))?;
        if members.contains(&user) {
            return Err(refused("already joined"));
        }
        if members.len() >= self.limits.max_members {
            return Err(refused("the group is full"));
        }
        let Some(entry) = self.sockets.get_mut(&socket) else { return Err(NOT_JOINED) };
        if entry.groups.len() >= self.limits.max_groups_per_user {
            return Err(refused("you are in as many groups as one user can be"));
        }
        entry.groups.push(group.to_owned());
        let others = members.clone();
        members.push(user.clone());
        self.tell(&others, "member_joined", group, &user);
        Ok(Value::Null)
    }

    fn leave(&mut self, socket: SocketId, group: &str) {
        let Some(entry) = self.sockets.get_mut(&socket) else { return };
        let Some(at) = entry.groups.iter().position(|joined| joined == group) else { return };
        entry.groups.swap_remove(at);
        let user = entry.user.clone().unwrap_or_default();
        let Some(members) = self.groups.get_mut(group) else { return };
        members.retain(|member| *member != user);
        if members.is_empty() {
            self.groups.remove(group);
            self.shares.removed(self.creators.remove(group));
            return;
        }
        let others = members.clone();
        self.tell(&others, "member_left", group, &user);
    }

    fn members(&self, socket: SocketId, group: &str) -> Result<Value, Refused> {
        let user = self.user(socket)?;
        let members = self.groups.get(group).filter(|members| members.iter().any(|member| member == user));
        members.map(|members| json!(members)).ok_or(NOT_JOINED)
    }

    fn relay(
        &mut self,
        now: Instant,
        socket: SocketId,
        Call { id, group, to, data }: Call<'_>,
        crowded: &dyn Fn(SocketId) -> bool,
    ) -> Result<(), Refused> {
        let user = self.user(socket)?.to_owned();
        let members = self.groups.get(group).filter(|members| members.contains(&user)).ok_or(NOT_JOINED)?;
        let is_member = members.iter().any(|member| member == to);
        let target = self.users.get(to).copied().filter(|_| is_member).ok_or(refused("unknown user id"))?;
        let Some(entry) = self.sockets.get_mut(&socket) else { return Err(NOT_JOINED) };
        if entry.waiting >= self.limits.max_relays {
            return Err(refused("too many relays wait for an answer"));
        }
        if crowded(target) {
            return Err(refused("the other user does not read as fast"));
        }
        let mut call = json!({"jsonrpc": "2.0", "method": "relay", "params": [group, user, data]});
        // Without an id the caller wants no answer, and so do we. As a text, which is what the original has.
        if id.is_some() {
            call["id"] = self.next_relay.to_string().into();
        }
        // As it is written: numbers may have become longer.
        let text = call.to_string();
        if text.len() > MAX_FRAME {
            return Err(refused("this is too large to be passed on"));
        }
        if let Some(id) = id {
            let number = self.next_relay;
            self.next_relay += 1;
            entry.waiting += 1;
            for party in [socket, target] {
                if let Some(party) = self.sockets.get_mut(&party) {
                    party.relays.insert(number);
                }
            }
            let deadline = now + self.limits.relay_timeout;
            self.relays.insert(number, Relay { from: socket, to: target, id, deadline });
            self.deadlines.insert((deadline, number));
        }
        self.send_text(target, text);
        Ok(())
    }

    /// An answer to a relay, if it is from the right user; else nobody has asked for it.
    fn answer(&mut self, socket: SocketId, message: &Map<String, Value>) {
        let number = match message.get("id") {
            Some(Value::String(id)) => id.parse().ok(),
            Some(id) => id.as_u64(),
            None => None,
        };
        let Some(number) = number.filter(|number| self.relays.get(number).is_some_and(|r| r.to == socket))
        else {
            self.stats.mistakes += 1;
            return;
        };
        let Some((from, id)) = self.end_relay(number) else { return };
        let mut answer = json!({"jsonrpc": "2.0", "id": &id});
        match message.get("error").filter(|error| !error.is_null()) {
            Some(error) => answer["error"] = well_formed(error),
            None => answer["result"] = message.get("result").cloned().unwrap_or(Value::Null),
        }
        let text = answer.to_string();
        if text.len() > MAX_FRAME {
            // Who waits for it has done nothing wrong.
            self.stats.mistakes += 1;
            return self.refuse(from, id, &refused("the other user's answer is too large"));
        }
        self.stats.relayed += 1;
        self.send_text(from, text);
    }

    fn end_relay(&mut self, number: u64) -> Option<(SocketId, Value)> {
        let relay = self.relays.remove(&number)?;
        self.deadlines.remove(&(relay.deadline, number));
        if let Some(caller) = self.sockets.get_mut(&relay.from) {
            caller.waiting -= 1;
        }
        for party in [relay.from, relay.to] {
            if let Some(party) = self.sockets.get_mut(&party) {
                party.relays.remove(&number);
            }
        }
        Some((relay.from, relay.id))
    }

    fn tell(&mut self, users: &[String], method: &str, group: &str, user: &str) {
        let notification = json!({"jsonrpc": "2.0", "method": method, "params": [group, user]});
        for socket in users.iter().filter_map(|user| self.users.get(user).copied()).collect::<Vec<_>>() {
            self.send(socket, &notification);
        }
    }

    /// What no program does by accident.
    fn mistake(&mut self, socket: SocketId, id: Option<Value>, wrong: Refused) {
        self.stats.mistakes += 1;
        self.refuse(socket, id.unwrap_or(Value::Null), &wrong);
        let Some(entry) = self.sockets.get_mut(&socket) else { return };
        entry.mistakes += 1;
        if entry.mistakes >= MAX_MISTAKES && !entry.closing {
            entry.closing = true;
            self.output.push_back(Output::Close(socket, "too many mistakes"));
        }
    }

    fn refuse(&mut self, socket: SocketId, id: Value, Refused(code, message): &Refused) {
        tracing::debug!(socket = socket.0, message, "a call was refused");
        let error = json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id});
        self.send(socket, &error);
    }

    fn send(&mut self, socket: SocketId, message: &Value) {
        self.send_text(socket, message.to_string());
    }

    fn send_text(&mut self, socket: SocketId, text: String) {
        if self.sockets.get(&socket).is_some_and(|entry| !entry.closing) {
            self.output.push_back(Output::Send(socket, text));
        }
    }

    fn random_id(&mut self) -> String {
        format!("{:032x}", self.rng.random::<u128>())
    }
}

impl Hub for Server {
    fn open(&mut self, now: Instant, socket: SocketId, access: Access, from: Option<Address>) {
        let deadline = now + self.limits.introduction;
        self.introductions.insert((deadline, socket));
        let new = Socket {
            access,
            from,
            deadline: Some(deadline),
            user: None,
            groups: Vec::new(),
            mistakes: 0,
            waiting: 0,
            relays: BTreeSet::new(),
            closing: false,
        };
        self.sockets.insert(socket, new);
    }

    fn handle_text(
        &mut self,
        now: Instant,
        socket: SocketId,
        text: &str,
        crowded: &dyn Fn(SocketId) -> bool,
    ) {
        if self.sockets.get(&socket).is_none_or(|entry| entry.closing) {
            return;
        }
        match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(message) if message.contains_key("result") || message.contains_key("error") => {
                self.answer(socket, &message);
            }
            Ok(message) => self.call(now, socket, &message, crowded),
            Err(_) => self.mistake(socket, None, Refused(PARSE_ERROR, "not a JSON object")),
        }
    }

    fn close(&mut self, _now: Instant, socket: SocketId) {
        for group in self.sockets.get(&socket).map_or_else(Vec::new, |entry| entry.groups.clone()) {
            self.leave(socket, &group);
        }
        let concerned = self.sockets.get(&socket).map_or_else(BTreeSet::new, |entry| entry.relays.clone());
        for number in concerned {
            if let Some((from, id)) = self.end_relay(number) {
                self.refuse(from, id, &refused("the other user has gone"));
            }
        }
        let Some(gone) = self.sockets.remove(&socket) else { return };
        if let Some(deadline) = gone.deadline {
            self.introductions.remove(&(deadline, socket));
        }
        if let Some(user) = gone.user {
            self.users.remove(&user);
        }
        // It may have been told of its own end.
        self.output.retain(|output| !matches!(output, Output::Send(to, _) if *to == socket));
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(deadline, number)) = self.deadlines.first()
            && deadline <= now
        {
            if let Some((from, id)) = self.end_relay(number) {
                self.stats.timed_out += 1;
                self.refuse(from, id, &refused("the other user does not answer"));
            }
        }
        while let Some(&(deadline, socket)) = self.introductions.first()
            && deadline <= now
        {
            self.introductions.pop_first();
            let Some(entry) = self.sockets.get_mut(&socket) else { continue };
            entry.deadline = None;
            if !entry.closing {
                entry.closing = true;
                self.output.push_back(Output::Close(socket, "init took too long"));
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let relay = self.deadlines.first().map(|(deadline, _)| *deadline);
        let introduction = self.introductions.first().map(|(deadline, _)| *deadline);
        relay.into_iter().chain(introduction).min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// None: who knows a group's id may join it, so it is told by its members only.
    fn groups(&self) -> Vec<ListedGroup> {
        Vec::new()
    }

    fn figures(&self) -> Vec<Figure> {
        let stats = self.stats();
        vec![
            Figure::now("groups", "Groups that there are.", stats.groups as u64),
            Figure::now("sockets", "WebSockets that there are.", stats.sockets as u64),
            Figure::total("relayed", "Relays that were answered.", stats.relayed),
            Figure::total("timed_out", "Relays that were not answered in time.", stats.timed_out),
            Figure::total(
                "mistakes",
                "Messages that were no JSON-RPC, or called what there is not.",
                stats.mistakes,
            ),
        ]
    }
}

/// Another user's error object as one of JSON-RPC: the original's may have no message.
fn well_formed(error: &Value) -> Value {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or(INTERNAL_ERROR);
    let message = match error {
        Value::String(message) => message.as_str(),
        other => other.get("message").and_then(Value::as_str).unwrap_or("the other user failed"),
    };
    json!({"code": code, "message": message})
}
