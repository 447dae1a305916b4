//! The server's part, without sockets and clocks: who is who, and which text goes where.
//!
//! A mistake is answered on the socket that made it (`r`), and counted; too many close it. Nothing that one socket says is
//! another's trouble: numbers of nodes and relays are stamped here, not believed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ring::hmac;
use serde_json::{Map, Value, json};

use crate::hub::{Access, Address, Figure, Hub, ListedGroup, Output, SocketId};
use crate::message::MAX_FRAME;
use crate::rate::Bucket;
use crate::session::QUEUE;
use crate::shares::{Parts, Shares};

/// Mistakes of one socket before it is closed.
const MAX_MISTAKES: u32 = 16;

/// Longest name and description of a group, bytes.
const MAX_NAME: usize = 128;
const MAX_DESCRIPTION: usize = 1024;

/// Connections that one join may want.
const MAX_WANTED: u32 = 16;

/// Longest join that an owner is told of, bytes of JSON: it goes down the whole tree.
const MAX_JOIN: usize = 4096;

/// Joins at once, whatever the rate: they must fit into their owner's queue with room to spare.
const MAX_BURST: u32 = QUEUE as u32 / 2;

/// Bits of a secret.
const SECRET: usize = 128;

/// What a [`Server`] holds at most.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Groups at once; 1024 by default. One address may have a sixteenth of them, or 16.
    pub max_groups: usize,
    /// Joins that a group's owner is told of per second in the long run, and twice as many at once, but at most 128; 200 by
    /// default. One address may make a quarter of as many, whatever they join.
    pub joins_per_second: u32,
    /// Joins of a group that are under way at once, each with its socket; 2048 by default, and a quarter for one address. How many nodes a group has, the
    /// server does not know.
    pub max_joins: usize,
    /// How long a socket may take to say what it is for. 30 s by default.
    pub introduction: Duration,
    /// How long a join and its acceptors may keep their sockets. 150 s by default: the original's nodes give up after 120.
    pub join_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_groups: 1024,
            joins_per_second: 200,
            max_joins: 2048,
            introduction: Duration::from_secs(30),
            join_lifetime: Duration::from_secs(150),
        }
    }
}

/// What a [`Server`] has counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Groups that there are.
    pub groups: usize,
    /// Sockets that there are.
    pub sockets: usize,
    /// Joins that were handed to an owner.
    pub joins: u64,
    /// Descriptions and candidates that were passed on.
    pub relayed: u64,
    /// Candidates for an acceptor that had closed already.
    pub late: u64,
    /// Messages that were answered with what is wrong.
    pub mistakes: u64,
}

#[derive(Debug)]
struct Group {
    name: String,
    description: String,
    owner: SocketId,
    /// Whose group it is counted as.
    from: Option<Address>,
    next_node: u32,
    /// Makes the proofs of its nodes' numbers, so that none has to be kept: from the owner's secret if it has said one.
    proofs: hmac::Key,
    joins: Bucket,
    /// Sockets of joiners that are open.
    joining: usize,
}

/// What a socket is for.
#[derive(Debug)]
enum Role {
    Unknown,
    Owner(u64),
    Joiner(Joiner),
    Acceptor { joiner: SocketId, relay: usize },
}

#[derive(Debug)]
struct Joiner {
    group: u64,
    node: u32,
    secret: String,
    /// By relay key; `None` has closed.
    acceptors: Vec<Option<SocketId>>,
    most_acceptors: usize,
}

#[derive(Debug)]
struct Socket {
    role: Role,
    access: Access,
    from: Option<Address>,
    mistakes: u32,
    /// When it is closed unless it has found its place.
    deadline: Option<Instant>,
    closing: bool,
}

/// The groups and sockets of one server.
#[derive(Debug)]
pub struct Server {
    limits: Limits,
    rng: StdRng,
    /// For the groups whose owner has no secret.
    proofs: hmac::Key,
    sockets: HashMap<SocketId, Socket>,
    groups: BTreeMap<u64, Group>,
    names: HashMap<String, u64>,
    next_group: u64,
    /// The sockets of joins, by what acceptors name them with.
    joins: HashMap<String, SocketId>,
    deadlines: BTreeSet<(Instant, SocketId)>,
    shares: Shares,
    output: VecDeque<Output>,
    stats: Stats,
}

/// What two keys have to agree on for the one to take over the other's group.
const TAKE_OVER: &[u8] = b"take over";

/// What is wrong with a message, for its sender.
type Wrong = String;

impl Server {
    /// A server without groups. `seed` must come from the system's randomness in production: secrets are made from it.
    #[must_use]
    pub fn new(limits: Limits, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let Limits { max_groups, max_joins, joins_per_second: rate, .. } = limits;
        Self {
            limits,
            proofs: hmac::Key::new(hmac::HMAC_SHA256, &rng.random::<[u8; 32]>()),
            rng,
            sockets: HashMap::new(),
            groups: BTreeMap::new(),
            names: HashMap::new(),
            next_group: 0,
            joins: HashMap::new(),
            deadlines: BTreeSet::new(),
            shares: Shares::new(Parts::of(max_groups, max_joins, rate, burst(rate))),
            output: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { groups: self.groups.len(), sockets: self.sockets.len(), ..self.stats }
    }

    fn handle(
        &mut self,
        now: Instant,
        socket: SocketId,
        message: Map<String, Value>,
        crowded: &dyn Fn(SocketId) -> bool,
    ) -> Result<(), Wrong> {
        let access = self.sockets.get(&socket).map_or(Access::FULL, |socket| socket.access);
        match message.get("m").and_then(Value::as_str) {
            Some("create") => {
                access.create?;
                self.create(now, socket, &message)
            }
            Some("join") => {
                access.join?;
                self.join(now, socket, message, crowded)
            }
            Some("join_res") => self.accept(now, socket, &message),
            Some("offer" | "answer" | "ice") => self.relay(socket, message, crowded),
            _ => Err("unknown method".to_owned()),
        }
    }

    fn create(&mut self, now: Instant, socket: SocketId, message: &Map<String, Value>) -> Result<(), Wrong> {
        let name =
            text(message, "g", MAX_NAME).filter(|name| !name.is_empty()).ok_or_else(|| argument("g"))?;
        let description = match message.get("d") {
            None | Some(Value::Null) => "",
            Some(_) => text(message, "d", MAX_DESCRIPTION).ok_or_else(|| argument("d"))?,
        };
        self.must_be_new(socket)?;
        let from = self.sockets.get(&socket).and_then(|socket| socket.from);
        let (secret, first_node) = revival(message);
        if let Some(&id) = self.names.get(name) {
            let group = self.groups.get_mut(&id).filter(|group| {
                let same =
                    |secret| hmac::verify(&group.proofs, TAKE_OVER, hmac::sign(secret, TAKE_OVER).as_ref());
                secret.as_ref().is_some_and(|secret| same(secret).is_ok())
            });
            let Some(group) = group else { return Err(format!("there is a group {name:?} already")) };
            // The owner's own, from a socket that it has given up and we have not.
            let before = std::mem::replace(&mut group.owner, socket);
            self.shares.removed(std::mem::replace(&mut group.from, from));
            self.shares.created(now, from);
            group.next_node = group.next_node.max(first_node);
            let description = group.description.clone();
            self.shut(before, "the group's owner is back on another socket");
            self.settle(socket, Role::Owner(id), None);
            self.send(socket, &json!({"m": "create", "r": "ok", "g": id, "n": name, "d": description}));
            return Ok(());
        }
        if self.groups.len() >= self.limits.max_groups {
            return Err("this server has as many groups as it can take".to_owned());
        }
        if !self.shares.may_create(from) {
            return Err("your address has as many groups as one can have".to_owned());
        }
        self.shares.created(now, from);
        let id = self.next_group;
        self.next_group += 1;
        let proofs = secret.unwrap_or_else(|| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.proofs, &id.to_be_bytes()).as_ref())
        });
        self.names.insert(name.to_owned(), id);
        self.groups.insert(
            id,
            Group {
                name: name.to_owned(),
                description: description.to_owned(),
                owner: socket,
                from,
                next_node: first_node,
                proofs,
                joins: Bucket::full(now, burst(self.limits.joins_per_second)),
                joining: 0,
            },
        );
        self.settle(socket, Role::Owner(id), None);
        self.send(socket, &json!({"m": "create", "r": "ok", "g": id, "n": name, "d": description}));
        Ok(())
    }

    fn join(
        &mut self,
        now: Instant,
        socket: SocketId,
        mut message: Map<String, Value>,
        crowded: &dyn Fn(SocketId) -> bool,
    ) -> Result<(), Wrong> {
        let wanted = wanted(message.get("n"))?;
        let id = self.find_group(message.get("g"))?;
        self.must_be_new(socket)?;
        let secret = self.secret();
        let (rate, most) = (self.limits.joins_per_second, self.limits.max_joins);
        let from = self.sockets.get(&socket).and_then(|socket| socket.from);
        let Some(group) = self.groups.get_mut(&id) else { return Err(unknown_group(message.get("g"))) };
        // A number without its proof is as good as none: it could be anybody's.
        let said = message.get("i").and_then(|node| u32::try_from(node.as_u64()?).ok());
        let before = message.remove("t").and_then(|proof| {
            let proof = decode_hex(proof.as_str()?)?;
            said.filter(|node| hmac::verify(&group.proofs, &node.to_be_bytes(), &proof).is_ok())
        });
        let node = before.unwrap_or(group.next_node);
        message.insert("i".to_owned(), node.into());
        message.insert("e".to_owned(), secret.clone().into());
        // As it is written: numbers may have become longer.
        let request = Value::Object(message).to_string();
        if request.len() > MAX_JOIN {
            return Err(format!("a join has at most {MAX_JOIN} bytes"));
        }
        let next = node.checked_add(1).ok_or("this group has had too many members")?;
        if group.joining >= most || crowded(group.owner) {
            return Err("too many are joining this group; try again later".to_owned());
        }
        if !self.shares.join(now, from) {
            return Err("too many join from your address; try again in a second".to_owned());
        }
        if !group.joins.take(now, rate, burst(rate)) {
            self.shares.joined(from);
            return Err("too many join this group at once; try again in a second".to_owned());
        }
        if before.is_none() {
            group.next_node = next;
        }
        group.joining += 1;
        let proof = encode_hex(hmac::sign(&group.proofs, &node.to_be_bytes()).as_ref());
        let (owner, name, description) = (group.owner, group.name.clone(), group.description.clone());
        self.send_text(owner, request);
        self.send(
            socket,
            &json!({"m": "join", "r": "ok", "g": id, "n": name, "d": description, "i": node, "t": proof}),
        );
        self.joins.insert(secret.clone(), socket);
        let most_acceptors = wanted.saturating_mul(2) as usize;
        let joiner = Joiner { group: id, node, secret, acceptors: Vec::new(), most_acceptors };
        self.settle(socket, Role::Joiner(joiner), Some(now + self.limits.join_lifetime));
        self.stats.joins += 1;
        Ok(())
    }

    fn accept(&mut self, now: Instant, socket: SocketId, message: &Map<String, Value>) -> Result<(), Wrong> {
        let node = message.get("i").and_then(Value::as_u64).ok_or_else(|| argument("i"))?;
        let secret = text(message, "e", SECRET).ok_or("unknown ephemeral-key")?;
        let joiner = *self.joins.get(secret).ok_or("unknown ephemeral-key")?;
        self.must_be_new(socket)?;
        let Some(Role::Joiner(join)) = self.sockets.get_mut(&joiner).map(|socket| &mut socket.role) else {
            return Err("unknown ephemeral-key".to_owned());
        };
        if join.acceptors.len() >= join.most_acceptors {
            return Err("the joining node has enough offers".to_owned());
        }
        let relay = join.acceptors.len();
        join.acceptors.push(Some(socket));
        self.settle(socket, Role::Acceptor { joiner, relay }, Some(now + self.limits.join_lifetime));
        self.send(joiner, &json!({"m": "join_res", "i": node, "k": relay}));
        Ok(())
    }

    /// A description or a candidate between a joiner and one of its acceptors.
    fn relay(
        &mut self,
        socket: SocketId,
        mut message: Map<String, Value>,
        crowded: &dyn Fn(SocketId) -> bool,
    ) -> Result<(), Wrong> {
        let role = self.sockets.get(&socket).map(|socket| &socket.role);
        let is_ice = message.get("m").and_then(Value::as_str) == Some("ice");
        let to = match role {
            Some(Role::Joiner(joiner)) => {
                let relay = message.remove("k").and_then(|key| key.as_u64());
                let place = relay.and_then(|key| joiner.acceptors.get(usize::try_from(key).ok()?));
                let Some(place) = place else { return Err("unknown relay-key".to_owned()) };
                match place {
                    Some(acceptor) => {
                        if !is_ice {
                            message.insert("i".to_owned(), joiner.node.into());
                        }
                        *acceptor
                    }
                    // The original's joiner gives up on an answer to this, and the channel may well be up.
                    None if is_ice => {
                        self.stats.late += 1;
                        return Ok(());
                    }
                    None => return Err("the other node has gone".to_owned()),
                }
            }
            Some(Role::Acceptor { joiner, relay }) => {
                message.insert("k".to_owned(), (*relay).into());
                *joiner
            }
            _ => return Err("join first, or answer a join".to_owned()),
        };
        let text = Value::Object(message).to_string();
        if text.len() > MAX_FRAME {
            return Err("this is too large to be passed on".to_owned());
        }
        if crowded(to) {
            return Err("the other node does not read as fast; try again later".to_owned());
        }
        self.stats.relayed += 1;
        self.send_text(to, text);
        Ok(())
    }

    /// By number, as the original's nodes have it, or by name, as its document says.
    fn find_group(&self, said: Option<&Value>) -> Result<u64, Wrong> {
        let by_number = |id: u64| self.groups.contains_key(&id).then_some(id);
        let found = match said {
            Some(Value::String(name)) => {
                self.names.get(name).copied().or_else(|| by_number(name.parse().ok()?))
            }
            Some(Value::Number(id)) => id.as_u64().and_then(by_number),
            _ => return Err(argument("g")),
        };
        found.ok_or_else(|| unknown_group(said))
    }

    fn must_be_new(&self, socket: SocketId) -> Result<(), Wrong> {
        match self.sockets.get(&socket).map(|socket| &socket.role) {
            Some(Role::Unknown) => Ok(()),
            _ => Err("this socket is in use for something else; open another".to_owned()),
        }
    }

    fn settle(&mut self, id: SocketId, role: Role, deadline: Option<Instant>) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.role = role;
        if let Some(before) = std::mem::replace(&mut socket.deadline, deadline) {
            self.deadlines.remove(&(before, id));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id));
        }
    }

    fn mistake(&mut self, id: SocketId, method: Option<String>, wrong: Wrong) {
        tracing::debug!(socket = id.0, wrong, "a message was refused");
        self.stats.mistakes += 1;
        let mut answer = Map::new();
        if let Some(method) = method.filter(|method| method.len() <= MAX_NAME) {
            answer.insert("m".to_owned(), method.into());
        }
        answer.insert("r".to_owned(), wrong.into());
        self.send(id, &Value::Object(answer));
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.mistakes += 1;
        if socket.mistakes >= MAX_MISTAKES {
            self.shut(id, "too many mistakes");
        }
    }

    fn send(&mut self, socket: SocketId, message: &Value) {
        self.send_text(socket, message.to_string());
    }

    fn send_text(&mut self, socket: SocketId, text: String) {
        if self.sockets.get(&socket).is_some_and(|socket| !socket.closing) {
            self.output.push_back(Output::Send(socket, text));
        }
    }

    fn shut(&mut self, id: SocketId, reason: &'static str) {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| !socket.closing) else { return };
        socket.closing = true;
        if let Some(deadline) = socket.deadline.take() {
            self.deadlines.remove(&(deadline, id));
        }
        self.output.push_back(Output::Close(id, reason));
    }

    fn secret(&mut self) -> String {
        format!("{:032x}", self.rng.random::<u128>())
    }
}

impl Hub for Server {
    fn open(&mut self, now: Instant, socket: SocketId, access: Access, from: Option<Address>) {
        let new = Socket { role: Role::Unknown, access, from, mistakes: 0, deadline: None, closing: false };
        self.sockets.insert(socket, new);
        self.settle(socket, Role::Unknown, Some(now + self.limits.introduction));
    }

    fn handle_text(
        &mut self,
        now: Instant,
        socket: SocketId,
        text: &str,
        crowded: &dyn Fn(SocketId) -> bool,
    ) {
        if self.sockets.get(&socket).is_none_or(|socket| socket.closing) {
            return;
        }
        let (method, result) = match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(message) => {
                let method = message.get("m").and_then(Value::as_str).map(str::to_owned);
                (method, self.handle(now, socket, message, crowded))
            }
            Err(_) => (None, Err("not a JSON object".to_owned())),
        };
        if let Err(wrong) = result {
            self.mistake(socket, method, wrong);
        }
    }

    fn close(&mut self, _now: Instant, socket: SocketId) {
        let Some(gone) = self.sockets.remove(&socket) else { return };
        if let Some(deadline) = gone.deadline {
            self.deadlines.remove(&(deadline, socket));
        }
        match gone.role {
            Role::Unknown => {}
            Role::Owner(id) => {
                if self.groups.get(&id).is_some_and(|group| group.owner == socket)
                    && let Some(group) = self.groups.remove(&id)
                {
                    self.names.remove(&group.name);
                    self.shares.removed(group.from);
                }
            }
            Role::Joiner(joiner) => {
                self.joins.remove(&joiner.secret);
                self.shares.joined(gone.from);
                if let Some(group) = self.groups.get_mut(&joiner.group) {
                    group.joining = group.joining.saturating_sub(1);
                }
                for acceptor in joiner.acceptors.into_iter().flatten() {
                    self.shut(acceptor, "the joining node has gone");
                }
            }
            Role::Acceptor { joiner, relay } => {
                if let Some(Role::Joiner(joiner)) =
                    self.sockets.get_mut(&joiner).map(|socket| &mut socket.role)
                    && let Some(place) = joiner.acceptors.get_mut(relay)
                {
                    *place = None;
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(deadline, socket)) = self.deadlines.first()
            && deadline <= now
        {
            self.shut(socket, "this took too long");
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    fn groups(&self) -> Vec<ListedGroup> {
        let listed = |(&id, group): (&u64, &Group)| ListedGroup {
            id,
            name: group.name.clone(),
            description: group.description.clone(),
        };
        self.groups.iter().map(listed).collect()
    }

    fn figures(&self) -> Vec<Figure> {
        let stats = self.stats();
        vec![
            Figure::now("groups", "Groups that there are.", stats.groups as u64),
            Figure::now("sockets", "WebSockets that there are.", stats.sockets as u64),
            Figure::total("joins", "Joins that were handed to an owner.", stats.joins),
            Figure::total("relayed", "Descriptions and candidates that were passed on.", stats.relayed),
            Figure::total("late", "Candidates for an acceptor that had closed already.", stats.late),
            Figure::total("mistakes", "Messages that were answered with what is wrong.", stats.mistakes),
        ]
    }
}

/// What an owner says to bring its group back after a restart, or from a socket that hangs: the key of its nodes' proofs,
/// and the first number that is free. Without it, or if it makes no sense, the group is a new one like the original's.
fn revival(message: &Map<String, Value>) -> (Option<hmac::Key>, u32) {
    let said = || {
        let x = message.get("x")?.as_object()?;
        let secret = x.get("s")?.as_str()?;
        let plausible =
            (32..=64).contains(&secret.len()) && secret.bytes().all(|digit| digit.is_ascii_hexdigit());
        let first = x.get("i").and_then(|first| u32::try_from(first.as_u64()?).ok());
        plausible.then(|| (hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), first.unwrap_or(1).max(1)))
    };
    said().map_or((None, 1), |(key, first)| (Some(key), first))
}

/// How many joins may come at once.
fn burst(per_second: u32) -> u32 {
    per_second.saturating_mul(2).min(MAX_BURST)
}

fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A string member of at most so many bytes.
fn text<'a>(message: &'a Map<String, Value>, key: &str, most: usize) -> Option<&'a str> {
    message.get(key)?.as_str().filter(|text| text.len() <= most)
}

/// How many connections a join asks for. The original's relays divide it among nodes and send fractions.
fn wanted(said: Option<&Value>) -> Result<u32, Wrong> {
    let wanted = match said {
        None => 1.0,
        Some(Value::Number(n)) => n.as_f64().ok_or_else(|| argument("n"))?,
        Some(_) => return Err(argument("n")),
    };
    if wanted > 0.0 && wanted <= f64::from(MAX_WANTED) {
        Ok(wanted.ceil() as u32)
    } else {
        Err(argument("n"))
    }
}

fn argument(name: &str) -> Wrong {
    format!("invalid argument:\"{name}\"")
}

fn unknown_group(said: Option<&Value>) -> Wrong {
    let said: String = said.map_or_else(String::new, |said| match said {
        Value::String(name) => name.chars().take(MAX_NAME).collect(),
        other => other.to_string(),
    });
    format!("unknown group id \"{said}\"")
}
