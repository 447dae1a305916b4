// A few nodes, step by step, over links without delay.

import { Node } from '../node.js';

/** Random numbers from a seed: mulberry32. */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export class Wire {
  now = 1000;
  /** `at link` → the node at the other end. */
  #ends = new Map();
  #links = 0;
  /** Ends that take nothing: their sender's channel is full. */
  blocked = new Set();
  /** Nodes whose application reads nothing. */
  deaf = new Set();

  constructor(config, count) {
    this.nodes = Array.from({ length: count }, (_, at) => new Node(config, at, at === 0, this.now, randomFrom(at + 1)));
    this.events = this.nodes.map(() => []);
    this.messages = this.nodes.map(() => []);
    for (const node of this.nodes) node.join(this.now);
  }

  /** A root with children in a row, each the child of the one before. */
  static chain(config, count) {
    const wire = new Wire(config, count);
    for (let child = 1; child < count; child++) wire.link(child - 1, child);
    return wire;
  }

  link(parent, child) {
    const link = ++this.#links;
    this.#ends.set(`${parent} ${link}`, child).set(`${child} ${link}`, parent);
    this.nodes[parent].linkUp(this.now, link, child, false, true);
    this.nodes[child].linkUp(this.now, link, parent, true, false);
    this.settle();
    return link;
  }

  /** Moves frames until there are none. */
  settle() {
    for (let moved = true; moved;) {
      moved = false;
      this.nodes.forEach((node, at) => {
        for (let event = node.pollEvent(); event; event = node.pollEvent()) {
          if (event.type === 'closeLink') this.#close(at, event.link);
          this.events[at].push(event);
        }
        if (!this.deaf.has(at)) {
          for (let message = node.pollMessage(); message; message = node.pollMessage()) this.messages[at].push(message);
        }
        for (const link of node.pollLinks()) {
          const to = this.#ends.get(`${at} ${link}`);
          if (to === undefined || this.blocked.has(`${at} ${link}`)) continue;
          for (let bytes = node.pollTransmit(link); bytes; bytes = node.pollTransmit(link)) {
            moved = true;
            this.#carry(to, link, bytes);
          }
        }
      });
    }
  }

  /** As a channel gives it: a buffer of its own. */
  #carry(to, link, bytes) {
    this.nodes[to].handleInput(this.now, link, bytes.slice().buffer);
  }

  #close(at, link) {
    const to = this.#ends.get(`${at} ${link}`);
    if (to === undefined) return;
    const node = this.nodes[at];
    for (let bytes = node.pollTransmit(link); bytes; bytes = node.pollTransmit(link)) this.#carry(to, link, bytes);
    this.#ends.delete(`${at} ${link}`);
    this.#ends.delete(`${to} ${link}`);
    node.linkDown(this.now, link);
    this.nodes[to].linkDown(this.now, link);
  }

  advance(ms) {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 25;
      for (const node of this.nodes) node.handleTimeout(this.now);
      this.settle();
    }
  }

  /** Publishes so many messages of a size; gives why not, if one is refused. */
  publish(count, size) {
    for (let i = 0; i < count; i++) {
      const refused = this.nodes[0].publish(new Uint8Array(size));
      if (typeof refused === 'string') return refused;
      this.settle();
    }
    return null;
  }

  got(at) {
    return this.messages[at].filter(({ missed }) => !missed).map(({ sequence }) => Number(sequence));
  }
}

export const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
