// The machine, by a few nodes without delay. The same cases as the crate's `overlay/tests/pair.rs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  Detach, MAX_PATH, NOT_HELD, Role, Routed, attachFrame, detachFrame, heartbeatFrame, pathFrame, readControl, routeFrame,
} from '../control.js';
import { Frame, MAX_MESSAGE, Type, readText, readTreeInfo } from '../frame.js';
import { readJoin } from '../join.js';
import { Node } from '../node.js';
import { sendRouted } from '../membership.js';
import { plus } from '../sequence.js';
import { Wire, randomFrom, range } from './wire.js';

const small = (more = {}) => ({ window: 10_000, storeBytes: 40_000, ...more });

const beat = (more) => heartbeatFrame({
  stamp: 0, echo: 0, held: NOT_HELD, tick: 0, epoch: 0, next: 0n, size: 0, height: 0, parents: 0, ...more,
});

const drain = (poll) => {
  const all = [];
  for (let one = poll(); one; one = poll()) all.push(one);
  return all;
};

/** Frames that wait for a link. */
const sent = (node, link) => drain(() => node.pollTransmit(link)).map((raw) => new Frame(raw));

test('messages come once and in order, and a newcomer gets the past', () => {
  const wire = Wire.chain({}, 4);
  wire.publish(5, 100);
  wire.nodes[0].publish('後');
  wire.settle();
  assert.deepEqual(wire.got(3), range(1, 6));
  assert.equal(wire.messages[3].at(-1).data, '後');
  assert.deepEqual(wire.nodes[3].path, [0, 1, 2, 3]);

  const late = new Wire({ history: 2 }, 2);
  late.publish(5, 100);
  late.link(0, 1);
  assert.deepEqual(late.got(1), [4, 5]);
  assert.equal(wire.nodes[1].publish('no'), 'not owner');
  assert.equal(wire.nodes[0].publish(new Uint8Array(MAX_MESSAGE + 1)), 'too long');
});

test('a standby takes over with the first missing message', () => {
  const wire = new Wire({}, 4);
  wire.link(0, 1);
  wire.link(0, 2);
  const down = wire.link(1, 3);
  wire.link(2, 3);
  assert.equal(wire.nodes[3].parent, 1);
  assert.deepEqual(wire.nodes[3].standbys, [2]);
  wire.publish(3, 100);
  // Node 1 is alive for node 0, but nothing gets through to node 3.
  wire.blocked.add(`1 ${down}`);
  wire.publish(3, 100);
  assert.deepEqual(wire.got(3), range(1, 3));
  wire.advance(800);
  assert.equal(wire.nodes[3].parent, 2);
  assert.deepEqual(wire.got(3), range(1, 6));
  assert.deepEqual([wire.nodes[3].stats.promotions, wire.nodes[3].stats.duplicates], [1, 0]);
});

test('a parent that is heard but brings nothing is left', () => {
  const wire = new Wire({}, 3);
  const down = wire.link(0, 2);
  wire.link(0, 1);
  wire.link(1, 2);
  wire.publish(1, 100);
  // A black hole: it takes messages, and sends heartbeats that say so.
  const { epoch } = wire.nodes[0];
  wire.blocked.add(`0 ${down}`);
  for (let tick = 0; tick < 8; tick++) {
    wire.publish(1, 100);
    wire.nodes[2].handleInput(wire.now, down, beat({ tick: 1000 + tick, epoch, next: 2n }).raw);
    wire.advance(250);
  }
  assert.equal(wire.nodes[2].parent, 1);
  assert.deepEqual(wire.got(2), range(1, 9));
});

test('an application that reads nothing holds back a reliable owner until it reads', () => {
  const wire = Wire.chain(small(), 3);
  wire.deaf.add(2);
  let published = 0;
  while (wire.publish(1, 991) === null) published++;
  // The node's own window, and that of the one above it, and the owner's.
  assert.ok(published >= 20 && published < 40, `${published}`);
  wire.deaf.clear();
  wire.settle();
  assert.deepEqual(wire.got(2), range(1, published));
  assert.ok(wire.events[0].some(({ type }) => type === 'writable'));
  assert.equal(wire.publish(1, 991), null);
});

for (const [more, missed] of [[20, false], [100, true]]) {
  test(`a child that takes nothing stops the tree for its patience only, and lives off the store (${more})`, () => {
    const wire = new Wire(small(), 3);
    const slow = wire.link(0, 1);
    wire.link(0, 2);
    wire.publish(1, 991);
    wire.blocked.add(`0 ${slow}`);
    let [refused, published] = [0, 1];
    while (published < more) {
      if (wire.publish(1, 991) === null) {
        published++;
        continue;
      }
      refused++;
      wire.now += 50;
      wire.nodes[0].handleTimeout(wire.now);
      // The child itself is heard.
      wire.nodes[0].handleInput(wire.now, slow, beat({}).raw);
      wire.nodes[2].handleTimeout(wire.now);
      wire.settle();
    }
    assert.ok(refused >= 30 && refused < 60, `${refused}`);
    assert.deepEqual(wire.got(2), range(1, published));
    wire.blocked.clear();
    wire.settle();
    const got = wire.got(1);
    assert.equal(got.at(-1), published);
    assert.equal(wire.nodes[1].stats.missed, published - got.length);
    assert.equal(wire.nodes[1].stats.missed > 0, missed);
  });
}

test('a live child that is slow skips the oldest and holds back nobody', () => {
  const wire = new Wire(small({ reliable: false }), 2);
  const link = wire.link(0, 1);
  wire.blocked.add(`0 ${link}`);
  assert.equal(wire.publish(100, 991), null);
  wire.blocked.clear();
  wire.settle();
  const got = wire.got(1);
  assert.equal(got.at(-1), 100);
  assert.ok(got.length >= 4 && got.length <= 10, `${got}`);
  assert.deepEqual(got, range(got[0], 100));
});

/** A node whose parent, node 0, is played by the test. */
class Played {
  now = 1000;
  link = 1;

  constructor(next) {
    this.node = new Node({}, 1, false, this.now, randomFrom(7));
    this.node.join(this.now);
    this.node.linkUp(this.now, this.link, 0, true, false);
    this.say(pathOf([0], next));
    drain(() => this.node.pollEvent());
    this.sent();
  }

  say(frame) {
    this.node.handleInput(this.now, this.link, frame.raw);
  }

  data(sequence) {
    this.say(Frame.make(Type.DATA, sequence, new Uint8Array(8)));
  }

  got() {
    return drain(() => this.node.pollMessage()).map(({ sequence }) => sequence);
  }

  sent() {
    return sent(this.node, this.link);
  }
}

const pathOf = (path, next, epoch = 9) => pathFrame({ reliable: true, epoch, next, path, siblings: [], uncles: [] });

test('replayed messages, jumps and numbers around the wrap deliver nothing twice and nothing out of order', () => {
  const first = 0xffff_ffff_ffff_fffen;
  const played = new Played(first);
  range(0, 3).forEach((n) => played.data(plus(first, n)));
  assert.deepEqual(played.got(), range(0, 3).map((n) => plus(first, n)));
  [0, 2, 3].forEach((n) => played.data(plus(first, n)));
  assert.equal(played.node.stats.duplicates, 3);
  played.data(plus(first, 2 ** 40));
  played.data(plus(first, 6));
  played.data(plus(first, 4) ^ (1n << 63n));
  assert.deepEqual(played.got(), []);
  assert.equal(played.node.stats.unexpected + played.node.stats.duplicates, 6);
  // What is missing is asked for again, once a heartbeat.
  played.sent();
  played.now += 500;
  played.node.handleTimeout(played.now);
  const asked = played.sent().filter(({ type }) => type === Type.ATTACH).map(readControl);
  assert.equal(asked.length, 1);
  assert.deepEqual([asked[0].next, asked[0].role], [plus(first, 4), Role.EAGER]);
});

test('another epoch begins anew', () => {
  const played = new Played(1n);
  range(1, 5).forEach((n) => played.data(BigInt(n)));
  played.say(pathOf([0], 1n, 10));
  range(1, 2).forEach((n) => played.data(BigInt(n)));
  assert.deepEqual(played.got().map(Number), [1, 2, 3, 4, 5, 1, 2]);
});

test('a parent below the node, or with a false or endless path, is left', () => {
  const endless = [...range(100, 100 + MAX_PATH - 2), 0];
  for (const ids of [[0, 1, 0], [1, 0], [0, 7], endless]) {
    const played = new Played(1n);
    assert.equal(played.node.parent, 0);
    played.say(pathOf(ids, 1n));
    assert.equal(played.node.parent, null, `${ids}`);
    const events = drain(() => played.node.pollEvent());
    assert.ok(events.some(({ type, link }) => type === 'closeLink' && link === played.link));
  }
});

test('a parent that sends more than it may is left', () => {
  const played = new Played(1n);
  const body = new Uint8Array(MAX_MESSAGE);
  let taken = 0;
  for (let n = 1n; n < 100n; n++) {
    played.say(Frame.make(Type.DATA, n, body));
    taken += played.node.parent === null ? 0 : 1;
  }
  assert.ok(taken >= 4 && taken < 8, `${taken} messages in a window of 1 MiB`);
});

test('a parent that changes what the group promises gets no more room by it', () => {
  const kind = (reliable, epoch) => pathFrame({ reliable, epoch, next: 1n, path: [0], siblings: [], uncles: [] });
  const flips = new Played(1n);
  flips.say(kind(false, 9));
  assert.equal(flips.node.parent, null, 'in one epoch');

  // Another life may promise something else; what was granted in the first is not meant for it.
  const played = new Played(1n);
  played.say(kind(false, 10));
  played.data(1n);
  played.sent();
  played.say(kind(true, 11));
  const asked = played.sent().filter(({ type }) => type === Type.ATTACH).map(readControl);
  assert.deepEqual(asked.map(({ role, credit }) => [role, credit <= 1 << 20]), [[Role.EAGER, true]]);
  const body = new Uint8Array(MAX_MESSAGE);
  let taken = 0;
  for (let n = 1n; n < 100n; n++) {
    played.say(Frame.make(Type.DATA, n, body));
    taken += played.node.parent === null ? 0 : 1;
  }
  assert.ok(taken >= 4 && taken < 8, `${taken} messages in a window of 1 MiB`);
});

const join = (i, n, p = []) => ({ g: 0, e: 5, i, n, x: { v: 1, p } });

test('a full node relays a join and keeps the sum', () => {
  const wire = new Wire({}, 5);
  const links = range(1, 4).map((child) => wire.link(0, child));
  for (let n = 1; n <= 11; n++) {
    wire.nodes[0].handleJoin(wire.now, join(100 + n, n));
    const relayed = links.flatMap((link) => sent(wire.nodes[0], link))
      .filter(({ type }) => type === Type.JOIN).map((frame) => readJoin(frame.body).n);
    assert.equal(relayed.reduce((sum, n) => sum + n, 0), n);
    assert.equal(relayed.length, Math.min(n, 4));
  }
});

test('a joiner gets one place of a node, and none below itself', () => {
  const wire = Wire.chain({}, 2);
  const accepted = () => [0, 1].map((at) => wire.events[at].filter(({ type }) => type === 'acceptJoin').length);
  wire.nodes[0].handleJoin(wire.now, join(9, 2));
  wire.settle();
  assert.deepEqual(accepted(), [1, 1]);
  // Again, while the places are kept: they are not given twice.
  wire.nodes[0].handleJoin(wire.now, join(9, 1));
  wire.settle();
  assert.deepEqual(accepted(), [1, 1]);
  // The node's own ancestor, and itself.
  const { unplaced } = wire.nodes[1].stats;
  for (const above of [0, 1]) wire.nodes[1].handleJoin(wire.now, join(above, 1));
  assert.equal(wire.nodes[1].stats.unplaced, unplaced + 2);
});

test('a join before the first child is there waits for it', () => {
  const wire = new Wire({ maxDownStreams: 1 }, 3);
  wire.nodes[0].handleJoin(wire.now, join(1, 1));
  wire.nodes[0].handleJoin(wire.now, join(2, 1));
  wire.link(0, 1);
  assert.ok(wire.events[1].some((event) => event.type === 'acceptJoin' && event.join.i === 2));
});

test('a standby gives way to a child that wants data', () => {
  const wire = new Wire({ maxDownStreams: 1 }, 3);
  const link = wire.link(0, 1);
  const warm = attachFrame({ role: Role.WARM, epoch: 0, next: 0n, credit: 0, size: 1 });
  wire.nodes[0].handleInput(wire.now, link, warm.raw);
  wire.nodes[0].handleJoin(wire.now, join(2, 1));
  assert.deepEqual(wire.nodes[0].children, []);
  wire.link(0, 2);
  assert.deepEqual(wire.nodes[0].children, [{ id: 2, role: Role.EAGER }]);
});

test('a signal finds its way up and down and back', () => {
  const wire = new Wire({}, 5);
  for (const [parent, child] of [[0, 1], [1, 2], [0, 3], [3, 4]]) wire.link(parent, child);
  const bytes = (text) => new TextEncoder().encode(text);
  assert.equal(wire.nodes[2].sendSignal(4, bytes('x')), false);
  sendRouted(wire.nodes[2], [0, 3, 4], { kind: Routed.SIGNAL, signal: bytes('offer') });
  wire.settle();
  const signals = (at) => wire.events[at].filter(({ type }) => type === 'signal')
    .map(({ from, data }) => [from, new TextDecoder().decode(data)]);
  assert.deepEqual(signals(4), [[2, 'offer']]);
  assert.equal(wire.nodes[4].sendSignal(2, bytes('answer')), true);
  wire.settle();
  assert.deepEqual(signals(2), [[4, 'answer']]);
  // To nobody: dropped where the way ends.
  sendRouted(wire.nodes[2], [0, 3, 77], { kind: Routed.SIGNAL, signal: bytes('') });
  wire.settle();
  assert.equal(wire.nodes[3].stats.unplaced, 1);
});

test('a node finds its standby beside its parent', () => {
  const wire = new Wire({}, 4);
  for (const [parent, child] of [[0, 1], [0, 2], [1, 3]]) wire.link(parent, child);
  wire.advance(3000);
  const connect = wire.events[3].filter(({ type }) => type === 'connect');
  assert.ok(connect.length > 0 && connect.every(({ peer, role }) => (peer === 2 || peer === 0) && role === Role.WARM));
});

test('the owner sees the tree', () => {
  const wire = Wire.chain({}, 3);
  wire.advance(11_000);
  assert.ok(wire.events[0].some(({ type }) => type === 'treeUpdate'));
  const links = [0, 1, 2].map((id) => {
    const { upstreams, downstreams } = wire.nodes[0].tree.get(id).report;
    return [upstreams, downstreams];
  });
  assert.deepEqual(links, [[[], [1]], [[0], [2]], [[1], []]]);
});

test('an original child gets only what it knows', () => {
  const wire = new Wire({}, 1);
  const [node] = wire.nodes;
  node.linkUp(wire.now, 7, 5, false, false);
  for (let n = 0; n < 41; n++) node.handleTimeout(wire.now + 250 * n);
  node.publish('a');
  node.handleJoin(wire.now, join(6, 1));
  node.handleInput(wire.now, 7, Frame.control(Type.PING, [0]).raw);
  const frames = sent(node, 7);
  assert.deepEqual(new Set(frames.map(({ type }) => type)), new Set([Type.PING, Type.GET_TREE_INFO, Type.TEXT]));
  assert.equal(readText(frames.at(-1).body), 'a');
});

test('an original parent delivers though its numbers have gaps and begin anew, in its string form, too', () => {
  const wire = new Wire({}, 2);
  const node = wire.nodes[1];
  node.linkUp(wire.now, 7, 0, true, false);
  for (const n of [0, 1, 1, 5, 4, 9000, 3, 4]) {
    const { raw } = Frame.make(Type.DATA, BigInt(n), new Uint8Array(1));
    node.handleInput(wire.now, 7, n % 2 === 0 ? `3${String.fromCharCode(...raw)}` : raw);
  }
  assert.deepEqual(drain(() => node.pollMessage()).map(({ sequence }) => Number(sequence)), [0, 1, 5, 9000, 3, 4]);
  node.handleInput(wire.now, 7, Frame.control(Type.GET_TREE_INFO).raw);
  const [answer] = sent(node, 7);
  assert.equal(answer.type, Type.NOTIFY_TREE_INFO);
  assert.deepEqual(readTreeInfo(answer.body), { id: 1, upstreams: [0], downstreams: [] });
});

test('leaving tells the children, who heal at once', () => {
  const wire = new Wire({}, 3);
  for (const [parent, child] of [[0, 1], [1, 2], [0, 2]]) wire.link(parent, child);
  assert.equal(wire.nodes[2].parent, 1);
  wire.nodes[1].leave(wire.now);
  wire.settle();
  assert.equal(wire.nodes[2].parent, 0);
  assert.equal(wire.nodes[0].children.length, 1);
});

test('a machine that slept does not take its neighbours for dead, but notices a death after it', () => {
  const wire = new Wire({}, 3);
  for (const [parent, child] of [[0, 1], [0, 2], [1, 2]]) wire.link(parent, child);
  const before = wire.nodes[2].parent;
  wire.now += 60_000;
  wire.nodes[2].handleTimeout(wire.now);
  assert.equal(wire.nodes[2].parent, before);
  wire.now += 800;
  wire.nodes[2].handleTimeout(wire.now);
  assert.notEqual(wire.nodes[2].parent, before);
});

test('a node under another number goes on where it was', () => {
  const played = new Played(1n);
  range(1, 3).forEach((n) => played.data(BigInt(n)));
  const node = played.node.renumbered(played.now, 8);
  node.linkUp(played.now, 2, 0, true, false);
  node.handleInput(played.now, 2, pathOf([0], 4n).raw);
  const [attach] = sent(node, 2).map(readControl);
  assert.deepEqual([attach.epoch, attach.next, attach.role], [9, 4n, Role.EAGER]);
  assert.deepEqual(drain(() => node.pollMessage()).map(({ sequence }) => Number(sequence)), [1, 2, 3]);
  assert.deepEqual(node.path, [0, 8]);
});

/** Publishes until the group is full, then lets time pass until it takes one more. Gives how long that was. */
function untilWritable(wire, each) {
  while (wire.publish(1, 991) === null);
  const begun = wire.now;
  while (wire.publish(1, 991) !== null) {
    wire.now += 50;
    wire.nodes[0].handleTimeout(wire.now);
    each();
    wire.nodes[2].handleTimeout(wire.now);
    wire.settle();
    assert.ok(wire.now - begun < 4000, 'it holds up the tree for ever');
  }
  return wire.now - begun;
}

function withSlowChild() {
  const wire = new Wire(small(), 3);
  const slow = wire.link(0, 1);
  wire.link(0, 2);
  wire.publish(1, 991);
  wire.blocked.add(`0 ${slow}`);
  return [wire, slow];
}

test('a child that stops between half a window and a whole one does not stop the tree', () => {
  const [wire, slow] = withSlowChild();
  while (wire.publish(1, 991) === null);
  // It takes a little, so that it lags by less than a window, and then no more.
  assert.ok(wire.nodes[0].pollTransmit(slow) && wire.nodes[0].pollTransmit(slow));
  untilWritable(wire, () => wire.nodes[0].handleInput(wire.now, slow, beat({}).raw));
});

test('a child that is slow but steady sets the pace and misses nothing', () => {
  const [wire, slow] = withSlowChild();
  let published = 1;
  while (published < 300) {
    if (wire.publish(1, 991) === null) {
      published++;
      continue;
    }
    wire.now += 50;
    for (const node of wire.nodes) node.handleTimeout(wire.now);
    const frame = wire.nodes[0].pollTransmit(slow);
    if (frame) wire.nodes[1].handleInput(wire.now, slow, frame);
    wire.nodes[0].handleInput(wire.now, slow, beat({}).raw);
    wire.settle();
  }
  wire.blocked.clear();
  wire.settle();
  assert.deepEqual(wire.got(1), range(1, published));
  assert.deepEqual(wire.got(2), range(1, published));
});

for (const trick of ['takes nothing', 'takes the same again and again', 'stands by in between']) {
  test(`a child that attaches again and again does not stop the tree (${trick})`, () => {
    const [wire, slow] = withSlowChild();
    while (wire.publish(1, 991) === null);
    const [root] = wire.nodes;
    const attach = (role, credit, next) =>
      root.handleInput(wire.now, slow, attachFrame({ role, epoch: root.epoch, next, credit, size: 1 }).raw);
    const takes = trick.startsWith('takes the same');
    const { next } = root;
    const back = plus(next, -8);
    attach(Role.EAGER, 0, back);
    const begun = wire.now;
    let published = 0;
    while (wire.now - begun < 6000) {
      for (let n = 0; takes && n < 4; n++) root.pollTransmit(slow);
      wire.now += 50;
      if ((wire.now - begun) % 1900 === 0) {
        if (trick.startsWith('stands by')) attach(Role.WARM, 0, next);
        attach(Role.EAGER, takes ? 5000 : 0, back);
      }
      root.handleTimeout(wire.now);
      root.handleInput(wire.now, slow, beat({}).raw);
      wire.nodes[2].handleTimeout(wire.now);
      wire.settle();
      published += wire.publish(1, 991) === null ? 1 : 0;
    }
    assert.ok(published > 40, `${published} messages in three times its patience`);
  });
}

test('attaches are taken as often as a child has reason for them', () => {
  const wire = new Wire({}, 2);
  const link = wire.link(0, 1);
  wire.publish(5, 100);
  const [root] = wire.nodes;
  const attach = attachFrame({ role: Role.EAGER, epoch: root.epoch, next: 1n, credit: Infinity, size: 1 });
  const asked = () => {
    let frames = 0;
    for (let n = 0; n < 200; n++) {
      root.handleInput(wire.now, link, attach.raw);
      frames += sent(root, link).filter(({ type }) => type === Type.DATA).length;
    }
    return frames / 5;
  };
  const first = asked();
  assert.ok(first >= 10 && first <= 16, `${first} times`);
  wire.now += 250;
  root.handleTimeout(wire.now);
  assert.equal(asked(), 1);
});

test('a child that has died holds up the tree for less than it takes to be given up', () => {
  const [wire] = withSlowChild();
  const took = untilWritable(wire, () => {});
  assert.ok(took <= 1800, `${took} ms`);
  assert.equal(wire.nodes[0].children.length, 2, 'it may still come back');
});

test('a parent hears at once of a standby that comes and goes', () => {
  const wire = new Wire({}, 3);
  wire.link(0, 1);
  wire.link(0, 2);
  const below = () => [...wire.nodes[0].links.values()].find((link) => link.peer === 2);
  assert.equal(below().parents, 1);
  const standby = wire.link(1, 2);
  assert.equal(below().parents, 2);
  wire.nodes[2].linkDown(wire.now, standby);
  wire.settle();
  assert.equal(below().parents, 1);
});

test('a standby below the parent that died is not taken, one below a parent that sent the node away is', () => {
  for (const [reason, parent] of [[null, null], [Detach.LEAVING, null], [Detach.PLACE_NEEDED, 2]]) {
    const node = new Node({}, 9, false, 1000, randomFrom(5));
    node.join(1000);
    node.linkUp(1000, 1, 1, true, true);
    node.handleInput(1000, 1, pathOf([0, 1], 1n).raw);
    node.linkUp(1000, 2, 2, true, true);
    node.handleInput(1000, 2, pathOf([0, 1, 2], 1n).raw);
    assert.deepEqual([node.parent, node.standbys], [1, [2]]);
    if (reason === null) node.linkDown(1010, 1);
    else node.handleInput(1010, 1, detachFrame(reason).raw);
    assert.equal(node.parent, parent, `reason ${reason}`);
  }
});

test('a child that leaves for slowness lowers the degree, if the others could take more, too', () => {
  const wire = new Wire({}, 4);
  const links = range(1, 3).map((child) => wire.link(0, child));
  for (const [at, link] of links.entries()) {
    wire.blocked.add(`0 ${link}`);
    assert.equal(wire.nodes[0].children.length, 3, `child ${at}`);
  }
  wire.publish(3, 100);
  wire.nodes[0].handleInput(wire.now, links[0], detachFrame(Detach.SLOW).raw);
  wire.nodes[0].handleJoin(wire.now, join(9, 1));
  wire.settle();
  assert.equal(wire.events[0].filter(({ type }) => type === 'acceptJoin').length, 0);
  wire.advance(100);
  for (let second = 0; second < 61; second++) {
    wire.now += 1000;
    for (const link of links) wire.nodes[0].handleInput(wire.now, link, beat({}).raw);
    wire.nodes[0].handleTimeout(wire.now);
  }
  wire.nodes[0].handleJoin(wire.now, join(9, 1));
  wire.settle();
  assert.equal(wire.events[0].filter(({ type }) => type === 'acceptJoin').length, 1);
});

test('no order of words and calls breaks a node', () => {
  const seed = Number(process.env.SINNET_SEED ?? 1);
  for (let run = 0; run < 300; run++) {
    const random = randomFrom(seed * 1000 + run);
    const pick = (n) => Math.floor(random() * n);
    const ids = () => Array.from({ length: 1 + pick(4) }, () => pick(9));
    const number = () => BigInt.asUintN(64, BigInt(pick(2 ** 32)) << BigInt(pick(60)));
    const says = [
      () => attachFrame({ role: pick(2), epoch: pick(3), next: number(), credit: pick(2 ** 32), size: pick(2 ** 32) }),
      () => pathFrame({ reliable: pick(2) === 1, epoch: pick(3), next: number(), path: ids(), siblings: ids(), uncles: ids() }),
      () => beat({ stamp: pick(2 ** 32), held: 0, tick: pick(2 ** 32), epoch: pick(3), next: number(), size: pick(2 ** 32), height: pick(256) }),
      () => routeFrame({
        hops: pick(256), to: ids(), from: ids(), kind: Routed.ASK,
        ask: { role: pick(2), limit: pick(256), size: pick(2 ** 32), avoid: pick(9) },
      }),
      () => routeFrame({ hops: 9, to: ids(), from: ids(), kind: Routed.REFUSE }),
      () => detachFrame(Detach.FULL),
      () => Frame.make([0, 2, 3, 4, 8, 9, 11, 12, 254, 255][pick(10)], number(), Uint8Array.from({ length: pick(40) }, () => pick(256))),
    ];
    const isOwner = pick(2) === 0;
    let now = 1000;
    const node = new Node(small(), isOwner ? 0 : 3, isOwner, now, random);
    node.join(now);
    for (let step = 0; step < 80; step++) {
      const link = pick(6);
      switch (pick(9)) {
        case 0:
          node.linkUp(now, link, pick(9), pick(2) === 0, pick(2) === 0);
          break;
        case 1:
          if (pick(2) === 0) node.linkDown(now, link);
          break;
        case 2:
          node.publish(new Uint8Array(pick(65536)));
          break;
        case 3:
          now += pick(65536);
          node.handleTimeout(now);
          assert.ok(node.pollTimeout() > now, 'a deadline stayed');
          break;
        case 4:
          drain(() => node.pollEvent());
          drain(() => node.pollMessage());
          for (let id = 0; id < 6; id++) assert.ok(sent(node, id).length < 50_000);
          break;
        default:
          node.handleInput(now, link, says[pick(says.length)]().raw);
      }
      assert.ok(node.eagerChildren().length <= 5, `seed ${seed}, run ${run}`);
      assert.ok(node.path.length <= MAX_PATH);
    }
  }
});
