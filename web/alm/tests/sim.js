// Many nodes in virtual time, over links as a data channel shows them: in order, with a delay, and a buffer that fills.

import { Node } from '../node.js';
import { joinFrom, VERSION } from '../join.js';
import { randomFrom } from './wire.js';

/** What a channel buffers before it says that it is full. */
const BUFFER = 16 * 1024;

/** From a node to the server, one way. */
const TO_SERVER = 30;

export class Sim {
  now = 0;
  members = [];
  /** Joins that the server was asked for. */
  serverJoins = 0;
  #config;
  #random;
  /** Times and what happens then, as a heap. */
  #heap = [];
  #order = 0;
  #links = 0;
  /** `at link` → `{to, inFlight, last}` */
  #halves = new Map();

  constructor(seed, config) {
    this.#random = randomFrom(seed);
    this.#config = config;
    this.add();
  }

  /** A new node joins. Gives its number. */
  add() {
    const id = this.members.length;
    const node = new Node(this.#config, id, id === 0, this.now, this.#random);
    const member = { id, node, alive: true, place: [this.#random(), this.#random()], got: [], wrong: 0, missed: 0, timer: Infinity };
    this.members.push(member);
    node.join(this.now);
    this.#touch(member);
    return id;
  }

  /** One way, 5 to 60 ms. */
  #delay(a, b) {
    const [[ax, ay], [bx, by]] = [this.members[a].place, this.members[b].place];
    return 5 + 39 * Math.hypot(ax - bx, ay - by);
  }

  run(ms) {
    const end = this.now + ms;
    while (this.#heap.length > 0 && this.#heap[0].at <= end) {
      const { at, happen } = this.#pop();
      this.now = at;
      happen();
    }
    this.now = end;
  }

  publish(data) {
    const refused = this.members[0].node.publish(data);
    this.#touch(this.members[0]);
    return typeof refused !== 'string';
  }

  /** A node is gone. Its neighbours hear of it, or they do not. */
  kill(id, silently) {
    this.members[id].alive = false;
    for (const key of [...this.#halves.keys()].filter((key) => key.startsWith(`${id} `))) {
      if (silently) this.#halves.delete(key);
      else this.#closeOther(id, Number(key.split(' ')[1]));
    }
  }

  leave(id) {
    this.members[id].node.leave(this.now);
    this.#touch(this.members[id]);
    this.kill(id, false);
  }

  living() {
    return this.members.filter(({ alive }) => alive);
  }

  anyLiving() {
    const others = this.living().slice(1);
    return others[Math.floor(this.#random() * others.length)].id;
  }

  /** Levels from the root; Infinity on a cycle or without a root. */
  depth(id) {
    for (let [above, depth] = [id, 0]; depth <= this.members.length; depth++) {
      if (above === 0) return depth;
      above = this.members[above]?.node.parent;
      if (above === null || !this.members[above]?.alive) return Infinity;
    }
    return Infinity;
  }

  #at(at, happen) {
    const heap = this.#heap;
    const entry = { at, order: this.#order++, happen };
    let i = heap.push(entry) - 1;
    for (let up = (i - 1) >> 1; i > 0 && earlier(entry, heap[up]); up = (i - 1) >> 1) {
      heap[i] = heap[up];
      i = up;
    }
    heap[i] = entry;
  }

  #pop() {
    const heap = this.#heap;
    const [first, last] = [heap[0], heap.pop()];
    if (heap.length > 0) {
      let i = 0;
      for (;;) {
        let down = 2 * i + 1;
        if (down + 1 < heap.length && earlier(heap[down + 1], heap[down])) down++;
        if (down >= heap.length || !earlier(heap[down], last)) break;
        heap[i] = heap[down];
        i = down;
      }
      heap[i] = last;
    }
    return first;
  }

  /** Drains a node that something was done to. */
  #touch(member) {
    const { node, id } = member;
    for (let event = node.pollEvent(); event; event = node.pollEvent()) this.#onEvent(member, event);
    for (let message = node.pollMessage(); message; message = node.pollMessage()) this.#onMessage(member, message);
    for (const link of node.pollLinks()) this.#transmit(id, link, BUFFER);
    const at = Math.max(node.pollTimeout(), this.now);
    if (at < member.timer) {
      member.timer = at;
      this.#at(at, () => {
        if (!member.alive || member.timer !== at) return;
        member.timer = Infinity;
        node.handleTimeout(this.now);
        if (node.pollTimeout() <= this.now) throw new Error('a deadline stayed');
        this.#touch(member);
      });
    }
    const max = node.config.maxDownStreams;
    if (node.eagerChildren().length > max || node.children.length > max + 1) throw new Error(`node ${id} has too many children`);
  }

  #onMessage(member, { missed, sequence }) {
    if (missed) {
      member.missed += Number(missed.to - missed.from);
      return;
    }
    const last = member.got.at(-1);
    if (last !== undefined && Number(sequence) !== last + 1) member.wrong++;
    member.got.push(Number(sequence));
  }

  #transmit(id, link, buffer) {
    for (;;) {
      const half = this.#halves.get(`${id} ${link}`);
      if (!half || half.inFlight >= buffer) return;
      const bytes = this.members[id].node.pollTransmit(link);
      if (!bytes) return;
      half.last = Math.max(half.last, this.now + this.#delay(id, half.to));
      half.inFlight += bytes.length;
      this.#at(half.last, () => {
        half.inFlight -= bytes.length;
        const to = this.members[half.to];
        if (to.alive) {
          to.node.handleInput(this.now, link, bytes);
          this.#touch(to);
        }
        if (this.members[id].alive) this.#touch(this.members[id]);
      });
    }
  }

  #onEvent(member, event) {
    const { id, node } = member;
    switch (event.type) {
      case 'joinByServer': {
        this.serverJoins++;
        const join = joinFrom({ m: 'join', g: 'group', e: id, i: id, n: event.wanted, x: { v: VERSION, p: event.path } });
        this.#at(this.now + 2 * TO_SERVER, () => {
          this.members[0].node.handleJoin(this.now, join);
          this.#touch(this.members[0]);
        });
        break;
      }
      case 'acceptJoin':
        this.#linkUp(event.join.i, id, 6 * TO_SERVER, false);
        break;
      case 'connect':
        node.sendSignal(event.peer, new TextEncoder().encode('offer'));
        break;
      case 'signal':
        if (new TextDecoder().decode(event.data) === 'offer') node.sendSignal(event.from, new TextEncoder().encode('answer'));
        else this.#linkUp(id, event.from, 0, true);
        break;
      case 'closeLink':
        this.#transmit(id, event.link, Infinity);
        node.linkDown(this.now, event.link);
        this.#closeOther(id, event.link);
        break;
      default:
    }
  }

  #linkUp(child, parent, more, known) {
    this.#at(this.now + more + 8 * this.#delay(child, parent), () => {
      const [down, up] = [this.members[child], this.members[parent]];
      if (!down.alive || !up.alive) return;
      const link = ++this.#links;
      this.#halves.set(`${child} ${link}`, { to: parent, inFlight: 0, last: this.now });
      this.#halves.set(`${parent} ${link}`, { to: child, inFlight: 0, last: this.now });
      up.node.linkUp(this.now, link, child, false, true);
      down.node.linkUp(this.now, link, parent, true, known);
      this.#touch(up);
      this.#touch(down);
    });
  }

  #closeOther(id, link) {
    const half = this.#halves.get(`${id} ${link}`);
    if (!half) return;
    this.#halves.delete(`${id} ${link}`);
    this.#at(Math.max(half.last, this.now + this.#delay(id, half.to)), () => {
      const other = this.members[half.to];
      if (!other.alive) return;
      other.node.linkDown(this.now, link);
      this.#touch(other);
    });
  }
}

const earlier = (a, b) => a.at < b.at || (a.at === b.at && a.order < b.order);
