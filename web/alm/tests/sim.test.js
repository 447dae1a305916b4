// A group of 40 under churn, in virtual time: everybody who stays gets everything, once and in order.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Sim } from './sim.js';

const seed = Number(process.env.SINNET_SEED ?? 7);

/** 40 nodes that join within a second, and settle. */
function grown(config, nodes = 40) {
  const sim = new Sim(seed, config);
  for (let i = 1; i < nodes; i++) {
    sim.add();
    sim.run(1000 / nodes);
  }
  sim.run(15_000);
  return sim;
}

/** Twenty messages a second for so long, with something else now and then. */
function stream(sim, seconds, each = () => {}) {
  let published = 0;
  for (let tick = 0; tick < seconds * 20; tick++) {
    if (sim.publish(new Uint8Array(200))) published++;
    each(tick);
    sim.run(50);
  }
  return published;
}

/** Everybody has all from its first message on. */
function check(sim, published) {
  for (const { id, got, wrong, missed } of sim.living().slice(1)) {
    assert.deepEqual([wrong, missed], [0, 0], `node ${id}, seed ${seed}`);
    assert.equal(got.at(-1), published, `node ${id} has not the end, seed ${seed}`);
    assert.equal(got.length, published - got[0] + 1);
  }
}

const sum = (sim, name) => sim.living().reduce((total, { node }) => total + node.stats[name], 0);

test('a calm group: everything, no duplicates, a flat tree, a standby for everybody', () => {
  const sim = grown({});
  const { now } = sim;
  const [control, joins] = [sum(sim, 'controlSent'), sim.serverJoins];
  const published = stream(sim, 10);
  sim.run(1000);
  check(sim, published);
  assert.equal(sum(sim, 'duplicates'), 0);
  assert.equal(sim.serverJoins, joins, 'nobody asks the server again');
  const depths = sim.living().map(({ id }) => sim.depth(id));
  assert.ok(Math.max(...depths) <= 5, `${depths}`);
  const alone = sim.living().filter(({ node }) => !node.isOwner && node.standbys.length === 0);
  assert.ok(alone.length <= 1, `${alone.map(({ id }) => id)} have no standby`);
  const rate = (sum(sim, 'controlSent') - control) / sim.living().length / ((sim.now - now) / 1000);
  assert.ok(rate < 1000, `${rate} bytes of control a second`);
});

test('deaths, silent and loud, newcomers and leaves: who stays loses nothing', () => {
  const sim = grown({});
  const published = stream(sim, 30, (tick) => {
    if (tick % 20 === 0 && tick < 500) {
      const how = (tick / 20) % 3;
      if (how === 2) sim.leave(sim.anyLiving());
      else sim.kill(sim.anyLiving(), how === 0);
    }
    if (tick % 20 === 10) sim.add();
  });
  sim.run(5000);
  check(sim, published);
  for (const { id } of sim.living()) assert.ok(sim.depth(id) < 10, `node ${id} hangs at ${sim.depth(id)}, seed ${seed}`);
  const got = sum(sim, 'received');
  assert.ok(sum(sim, 'duplicates') <= got / 100, `${sum(sim, 'duplicates')} duplicates of ${got}`);
});

test('a file while parents die: the owner is held back, and nothing is lost', () => {
  const sim = grown({ window: 64 * 1024, storeBytes: 1 << 20 }, 20);
  let [published, refused] = [0, 0];
  for (let tick = 0; published < 300; tick++) {
    while (published < 300 && sim.publish(new Uint8Array(8192))) published++;
    refused++;
    sim.run(20);
    if (tick % 40 === 20 && sim.living().length > 14) sim.kill(sim.anyLiving(), tick % 80 === 20);
    assert.ok(tick < 3000, 'the group stands still');
  }
  assert.ok(refused > 5, 'it was never full');
  sim.run(10_000);
  check(sim, published);
});

test('a live group skips rather than waits, and is never out of order', () => {
  const sim = grown({ reliable: false }, 20);
  stream(sim, 10, (tick) => tick % 100 === 50 && sim.kill(sim.anyLiving(), true));
  sim.run(2000);
  for (const { id, got } of sim.living().slice(1)) {
    assert.ok(got.every((n, i) => i === 0 || n > got[i - 1]), `node ${id}`);
    assert.equal(got.at(-1), 200);
  }
});
