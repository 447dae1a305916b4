// A member of a group: a `Node`, its connections, and the server.
//
//   node      the machine: what to send, whom to connect with
//   links     connections that are up, by the number that the node knows them by
//   setups    connections that are not, by direction and peer
//   control   owner: the socket that holds the group; joins come by it
//   joins     the others: sockets that ask for upstreams
//
// Everything that happens (a message, a timer, a call) ends in `#run`, which lets the node do what it wants to.

import { Clock, now } from './clock.js';
import { Connection } from './connection.js';
import { MAX_MESSAGE } from './frame.js';
import { joinFrom, VERSION } from './join.js';
import { Node } from './node.js';
import { SILENT, Socket, ask, pause } from './signaling.js';

/** Connections that are coming up at once. Each is for a place that was promised or asked for, so these are plenty. */
const MAX_SETUPS = 32;

/** Sockets that ask for upstreams at once, and how long each is kept. */
const MAX_JOINS = 3;
const JOIN_TIME = 30_000;

/** A parent that has answered gets so long until the server is asked for another. */
const ANSWERED = 5000;

/** How long a promised place waits for an offer through the tree. */
const EXPECT = 10_000;

/** Messages that the application is still busy with; no more are given to it meanwhile. */
const MAX_BUSY = 16;

/** Published messages that wait for the group, in bytes. */
const MAX_PENDING = 64 * 1024 * 1024;

/** How long to look for a way into the tree when the server says that there is no such group. */
const GIVE_UP = 60_000;

/** How often the owner's view is told at most. */
const TREE_PAUSE = 250;

/** What those who still wait are told when the group is left. */
const LEFT = 'left the group';

const isId = (id) => Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff;

export class Member {
  id = null;
  group = null;
  name = null;
  description = null;

  #url;
  #config;
  #rtc;
  #on;
  #node = null;
  #clock = new Clock(() => this.#run());
  #links = new Map();
  #nextLink = 1;
  #setups = new Map();
  #expected = new Map();
  #control = null;
  #retry = null;
  #retries = 0;
  /** Owner: the key of the members' numbers, and the first that is free, to bring the group back to a server that forgot. */
  #secret = null;
  #firstFree = 1;
  /** The others: proof of the own number. */
  #proof = null;
  /** Since when the server knows no such group. */
  #goneSince = null;
  #serverLost = false;
  #joins = new Set();
  /** What ends each place that was promised and is waited for. */
  #acceptors = new Set();
  /** Ends what asks the server for the group. */
  #asking = new AbortController();
  #pending = [];
  #pendingBytes = 0;
  #busy = 0;
  #running = false;
  #again = false;
  #treeTimer = null;
  #treeTold = -Infinity;
  #ended = false;

  /** `config` for the node, `rtc` for connections; `on` is told `message`, `missed`, `tree`, `state`, `server` and `closed`. */
  constructor(url, config, rtc, on) {
    this.#url = url;
    this.#config = config;
    this.#rtc = rtc;
    this.#on = on;
  }

  get isOwner() {
    return this.#node?.isOwner ?? false;
  }

  get stats() {
    return { ...this.#node?.stats };
  }

  get path() {
    return [...(this.#node?.path ?? [])];
  }

  /** Makes the group; this is its owner. */
  async create(name, description) {
    this.name = name;
    this.description = description;
    this.#secret = Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, '0')).join('');
    const { answer } = await this.#open();
    this.id = 0;
    this.#start(true);
    return answer;
  }

  /** Asks the server for a place in the group. */
  async join(name) {
    this.name = name;
    this.#control = null;
    const answer = await this.#ask(this.#config.maxUpStreams, []);
    if (!isId(answer.i)) throw new Error('the server gave no number');
    this.id = answer.i;
    this.name = answer.n ?? name;
    this.description = answer.d ?? '';
    this.#start(false);
    return answer;
  }

  /** Sends a message to all: a string, or bytes, which are copied. Resolves when the group has taken it. */
  multicast(data) {
    const length = typeof data === 'string' ? data.length * 2 : data.length;
    if (this.#ended || !this.#node) return Promise.reject(new Error('not in a group'));
    if (!this.isOwner) return Promise.reject(new Error('only the owner of the group can multicast'));
    if (length > MAX_MESSAGE) return Promise.reject(new RangeError(`a message has at most ${MAX_MESSAGE} bytes`));
    if (this.#pendingBytes + length > MAX_PENDING) return Promise.reject(new Error('the group has not taken the messages before'));
    return new Promise((resolve, reject) => {
      const copy = typeof data === 'string' ? data : data.slice();
      this.#pending.push({ data: copy, length, resolve, reject });
      this.#pendingBytes += length;
      this.#run();
    });
  }

  /** Leaves: neighbours are told. */
  leave(reason = 'left') {
    if (this.#ended) return;
    this.#ended = true;
    this.#node?.leave(now());
    for (let event = this.#node?.pollEvent(); event; event = this.#node.pollEvent()) {
      if (event.type === 'closeLink') this.#close(event.link);
    }
    this.#clock.stop();
    clearTimeout(this.#retry);
    clearTimeout(this.#treeTimer);
    this.#asking.abort(LEFT);
    this.#control?.close();
    for (const join of [...this.#joins]) this.#endJoin(join);
    for (const end of [...this.#acceptors]) end();
    for (const setup of [...this.#setups.values()]) setup.connection.close();
    for (const { reject } of this.#pending.splice(0)) reject(new Error(LEFT));
    if (this.#node) this.#on.closed(reason);
  }

  /** What is connected, and how. */
  connections() {
    const known = (id) => this.#node?.links.get(id);
    const isEager = (id) => (this.#node.eager ? this.#node.eager.id === id : false);
    return [...this.#links].map(([id, { peer, isUp, connection }]) => ({
      id: peer,
      direction: isUp ? 'up' : 'down',
      delivers: isUp ? isEager(id) : known(id)?.isEagerChild ?? false,
      rtt: known(id)?.rtt ?? null,
      connection: connection.rtc,
    }));
  }

  /** Owner: every member that is known of. `rtt` in milliseconds, `rate` in bytes a second, `lag` in messages. */
  tree() {
    const [clock, date] = [now(), Date.now()];
    return Object.fromEntries([...(this.#node?.tree ?? [])].map(([id, { report, at }]) => [id, {
      id,
      date: new Date(date - (clock - at)),
      upstreams: report.upstreams,
      downstreams: report.downstreams,
      rtt: report.rtt / 1000,
      rate: report.rate,
      lag: report.lag,
    }]));
  }

  // ---- the node ----

  #start(isOwner) {
    if (this.#ended) throw new Error(LEFT);
    this.#node = new Node(this.#config, this.id, isOwner, now(), Math.random);
    this.#node.join(now());
    // The first join is under way: the node's own first one would be another.
    while (this.#node.pollEvent());
    this.#run();
  }

  #run() {
    if (this.#running || !this.#node || this.#ended) return;
    this.#running = true;
    try {
      do {
        this.#again = false;
        if (now() >= this.#node.pollTimeout()) this.#node.handleTimeout(now());
        this.#publish();
        for (let event = this.#node.pollEvent(); event; event = this.#node.pollEvent()) this.#onEvent(event);
        for (const id of this.#node.pollLinks()) this.#transmit(id);
        this.#deliver();
      } while (this.#again && !this.#ended);
    } finally {
      // Whatever the browser throws at one event, the next is handled.
      this.#running = false;
      if (!this.#ended) this.#clock.set(this.#node.pollTimeout());
    }
  }

  /** What was said to the node outside of `#run`, and what follows from it. */
  #tell(what) {
    if (this.#ended || !this.#node) return;
    what(this.#node, now());
    // This may come from within.
    this.#again = true;
    this.#run();
  }

  #onEvent(event) {
    // What the application was told before may have made it leave.
    if (this.#ended) return;
    switch (event.type) {
      case 'joinByServer':
        if (this.#hasAnswer()) break;
        this.#ask(event.wanted, event.path).then(() => this.#server(true), ({ message }) => this.#server(false, message));
        break;
      case 'acceptJoin':
        this.#accept(event.join);
        break;
      case 'connect':
        this.#connect(event.peer);
        break;
      case 'expect':
        this.#expected.set(event.peer, now() + EXPECT);
        break;
      case 'signal':
        this.#onSignal(event.from, event.data);
        break;
      case 'closeLink':
        this.#close(event.link);
        break;
      case 'treeUpdate':
        this.#showTree();
        break;
      case 'writable':
        this.#publish();
        break;
      default:
    }
  }

  #transmit(id) {
    const link = this.#links.get(id);
    while (link?.connection.hasRoom()) {
      const bytes = this.#node.pollTransmit(id);
      if (!bytes) return;
      link.connection.send(bytes);
    }
  }

  #publish() {
    while (this.#pending.length > 0) {
      const { data, length, resolve } = this.#pending[0];
      if (typeof this.#node.publish(data) === 'string') return;
      this.#pending.shift();
      this.#pendingBytes -= length;
      resolve();
    }
  }

  #deliver() {
    while (this.#busy < MAX_BUSY && !this.#ended) {
      const message = this.#node.pollMessage();
      if (!message) return;
      if (message.missed) {
        this.#on.missed(message.missed);
        continue;
      }
      const wait = (promise) => {
        this.#busy++;
        const done = () => {
          this.#busy--;
          this.#run();
        };
        Promise.resolve(promise).then(done, done);
      };
      // The store keeps the frame: the application gets a copy that is its own.
      const data = typeof message.data === 'string' ? message.data : message.data.slice().buffer;
      this.#on.message(data, message.sequence, wait);
    }
  }

  #showTree() {
    const wait = this.#treeTold + TREE_PAUSE - now();
    if (wait > 0) {
      if (!this.#treeTimer) {
        this.#treeTimer = setTimeout(() => {
          this.#treeTimer = null;
          if (!this.#ended) this.#showTree();
        }, wait);
      }
      return;
    }
    this.#treeTold = now();
    this.#on.tree(this.tree());
  }

  // ---- connections ----

  /**
   * A connection that comes up, or null if there is to be none. `carry` takes its signals to the peer; `done` is told when it
   * is up, or not to be.
   */
  #setup({ peer, isUp, ours, carry, done = () => {}, attempt = null }) {
    const key = `${isUp ? 'up' : 'down'} ${peer}`;
    const other = this.#setups.get(`${isUp ? 'down' : 'up'} ${peer}`);
    if (other) {
      // Both want to be the other's child. The lower number is the parent if the sum of both is odd, otherwise the higher.
      const isParent = (this.id < peer) === (((this.id ^ peer) & 1) === 1);
      if (isUp === isParent) return null;
      other.connection.close();
    }
    this.#setups.get(key)?.connection.close();
    if (this.#setups.size >= MAX_SETUPS) return null;
    let id = null;
    const say = (state) => this.#ended || this.#on.state({ id: peer, direction: isUp ? 'up' : 'down', state });
    const settled = () => {
      if (this.#setups.get(key) === setup) this.#setups.delete(key);
      done();
    };
    let connection;
    try {
      connection = new Connection(this.#rtc, {
        signal: carry,
        opened: () => {
          settled();
          if (this.#ended) {
            connection.close();
            return;
          }
          id = this.#nextLink++;
          this.#links.set(id, { peer, isUp, connection });
          say('connected');
          this.#tell((node, at) => node.linkUp(at, id, peer, isUp, ours));
        },
        message: (data) => this.#tell((node, at) => node.handleInput(at, id, data)),
        drained: () => this.#tell(() => {}),
        ended: () => {
          if (id === null) settled();
          this.#links.delete(id);
          say(connection.state);
          if (id !== null) this.#tell((node, at) => node.linkDown(at, id));
        },
      });
    } catch {
      // The browser has too many already. There may be room at the next attempt.
      say('failed');
      done();
      return null;
    }
    const setup = { connection, attempt, isUp, since: now() };
    this.#setups.set(key, setup);
    say('connecting');
    return connection;
  }

  #hasAnswer() {
    return [...this.#setups.values()].some(({ isUp, since }) => isUp && now() - since < ANSWERED);
  }

  /** The node has forgotten a link; a last word may be left. */
  #close(id) {
    const link = this.#links.get(id);
    if (link) {
      for (let bytes = this.#node.pollTransmit(id); bytes; bytes = this.#node.pollTransmit(id)) link.connection.send(bytes);
      link.connection.close();
    }
    this.#node.linkDown(now(), id);
  }

  // ---- through the tree ----

  #connect(peer) {
    const attempt = Math.floor(Math.random() * 0x1_0000_0000);
    this.#setup({ peer, isUp: true, ours: true, attempt, carry: (message) => this.#signal(peer, attempt, message) })?.offer();
  }

  #signal(peer, k, message) {
    const data = new TextEncoder().encode(JSON.stringify({ ...message, k }));
    this.#tell((node) => node.sendSignal(peer, data));
  }

  #onSignal(peer, data) {
    let message;
    try {
      message = JSON.parse(new TextDecoder().decode(data));
    } catch {
      return;
    }
    const { m, k, s, d } = message ?? {};
    if (m === 'offer') {
      const until = this.#expected.get(peer);
      this.#expected.delete(peer);
      for (const [other, at] of this.#expected) if (now() >= at) this.#expected.delete(other);
      if (!(now() < until)) return;
      const carry = (answer) => this.#signal(peer, k, answer);
      this.#setup({ peer, isUp: false, ours: true, attempt: k ?? null, carry })?.answer(s);
      return;
    }
    const fits = (setup) => setup && (k === undefined || setup.attempt === k);
    const setup = ['up', 'down'].map((way) => this.#setups.get(`${way} ${peer}`)).find(fits);
    if (m === 'answer') setup?.connection.answered(s);
    if (m === 'ice') setup?.connection.candidate(d);
  }

  // ---- by the server ----

  /** Owner: the socket that holds the group. */
  async #open() {
    const question = {
      m: 'create',
      g: this.name,
      d: this.description,
      x: { v: VERSION, s: this.#secret, i: this.#firstFree },
    };
    const { socket, answer } = await ask(this.#url, question, {
      message: (message) => {
        if (message.m === 'join') this.#onJoin(message);
      },
      closed: (reason) => {
        this.#server(false, reason);
        this.#reopen();
      },
    }, this.#asking.signal);
    if (this.#ended) {
      socket.close();
      throw new Error(LEFT);
    }
    this.#control = socket;
    this.group = answer.g ?? null;
    return { answer };
  }

  #reopen() {
    if (this.#ended) return;
    this.#retry = setTimeout(async () => {
      try {
        await this.#open();
        this.#retries = 0;
        this.#server(true);
      } catch {
        this.#reopen();
      }
    }, pause(this.#retries++));
  }

  /** What the server did when it was needed last. Without a parent and a group there is nothing to wait for. */
  #server(isThere, reason = '') {
    if (this.#ended) return;
    if (isThere === this.#serverLost) {
      this.#serverLost = !isThere;
      this.#on.server(isThere ? 'regained' : 'lost', reason);
    }
    if (this.isOwner) return;
    if (this.#node.parent !== null || !reason.startsWith('unknown group')) this.#goneSince = null;
    else this.#goneSince ??= now();
    if (this.#goneSince !== null && now() - this.#goneSince >= GIVE_UP) this.leave(`the group is gone: ${reason}`);
  }

  #onJoin(message) {
    let join;
    try {
      join = joinFrom(message);
    } catch {
      return;
    }
    this.#firstFree = Math.max(this.#firstFree, Math.min(join.i + 1, 0xffff_ffff));
    this.#tell((node, at) => node.handleJoin(at, join));
  }

  /** Asks for upstreams. Those that answer get an offer each. */
  async #ask(wanted, path) {
    const [oldest] = this.#joins;
    if (this.#joins.size >= MAX_JOINS) this.#endJoin(oldest, SILENT);
    const join = { asking: new AbortController(), socket: null, timer: null, setups: new Map(), left: wanted };
    this.#joins.add(join);
    const question = { m: 'join', g: this.name, n: wanted, x: { v: VERSION, ...(path.length > 0 && { p: path }) } };
    // The original's server takes the number as it is, ours with its proof.
    if (this.#node) question.i = this.id;
    if (this.#proof) question.t = this.#proof;
    try {
      const { socket, answer } = await ask(this.#url, question, {
        message: (message) => this.#onAnswer(join, message),
        closed: () => this.#endJoin(join),
      }, join.asking.signal);
      join.socket = socket;
      if (this.#ended || !this.#joins.has(join)) throw new Error(LEFT);
      join.timer = setTimeout(() => this.#endJoin(join), JOIN_TIME);
      this.group = answer.g ?? this.group;
      this.#proof = answer.t ?? this.#proof;
      if (this.#node && isId(answer.i) && answer.i !== this.id) this.#renumber(answer.i);
      return answer;
    } catch (error) {
      this.#endJoin(join);
      throw error;
    }
  }

  /** The server knows us no more, and others by our number: our neighbours would get a wrong idea of who we are. */
  #renumber(id) {
    const before = this.#node;
    before.leave(now());
    for (let event = before.pollEvent(); event; event = before.pollEvent()) {
      if (event.type === 'closeLink') this.#close(event.link);
    }
    this.id = id;
    this.#node = before.renumbered(now(), id);
    this.#run();
  }

  #endJoin(join, reason = LEFT) {
    this.#joins.delete(join);
    join.asking.abort(reason);
    clearTimeout(join.timer);
    join.socket?.close();
  }

  /** What comes on a joiner's socket. */
  #onAnswer(join, { m, i, k, s, d }) {
    if (m === 'answer') join.setups.get(k)?.answered(s);
    if (m === 'ice') join.setups.get(k)?.candidate(d);
    if (m !== 'join_res' || !isId(i) || join.setups.has(k) || join.setups.size >= MAX_SETUPS) return;
    let connection = null;
    connection = this.#setup({
      peer: i,
      isUp: true,
      // Its first frame tells.
      ours: false,
      carry: ({ m: method, ...rest }) => {
        join.socket?.send({ m: method, ...(method === 'offer' && { i: this.id }), k, ...rest });
      },
      done: () => {
        if (connection?.state === 'connected' && --join.left <= 0) this.#endJoin(join);
      },
    });
    if (!connection) return;
    join.setups.set(k, connection);
    connection.offer();
  }

  /** A place was promised to a joiner: says so on a socket of its own, and waits for the offer. */
  #accept(join) {
    let connection = null;
    const end = () => {
      clearTimeout(timer);
      socket.close();
      this.#acceptors.delete(end);
    };
    const timer = setTimeout(end, JOIN_TIME);
    const socket = new Socket(this.#url, {
      opened: () => socket.send({ m: 'join_res', i: this.id, e: join.e }),
      message: ({ m, r, s, d }) => {
        if (m === 'offer' && !connection && !this.#ended) {
          const carry = ({ m: method, ...rest }) => socket.send({ m: method, ...(method === 'answer' && { i: join.i }), ...rest });
          connection = this.#setup({ peer: join.i, isUp: false, ours: join.x !== null, carry, done: end });
          if (connection) connection.answer(s);
          else end();
        } else if (m === 'ice') {
          connection?.candidate(d);
        } else if (r !== undefined && r !== 'ok') {
          end();
        }
      },
      closed: end,
    });
    this.#acceptors.add(end);
  }
}
