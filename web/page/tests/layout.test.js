// What nodes say of themselves need not be a tree: each is placed once all the same.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { layOut } from '../layout.js';

const node = (id, ...parents) => ({ id, parents });

test('a tree is placed as it is read, parents in the middle of their children', () => {
  const { places, order, across, depth } = layOut([node(3, 1, 2), node(0), node(2, 0, 1), node(4, 1), node(1, 0), node(5, 1)]);
  assert.deepEqual(order, [0, 1, 3, 4, 5, 2]);
  assert.deepEqual([across, depth], [4, 2]);
  assert.deepEqual(order.map((id) => places.get(id).across), [2, 1, 0, 1, 2, 3]);
  assert.deepEqual(order.map((id) => places.get(id).depth), [0, 1, 2, 2, 2, 1]);
  assert.deepEqual(places.get(1).children, [3, 4, 5]);
  assert.deepEqual([places.get(4).parent, places.get(4).index], [1, 1]);
});

test('who has no parent that is known stands beside the root', () => {
  const { places, order } = layOut([node(0), node(7, 99), node(8, 99, 7)]);
  assert.deepEqual(order, [0, 7, 8]);
  assert.deepEqual([places.get(7).depth, places.get(8).depth, places.get(8).parent], [0, 1, 7]);
});

test('circles, of one and of many, are cut', () => {
  const { places, order } = layOut([node(0), node(1, 1), node(2, 4), node(3, 2), node(4, 3), node(5, 4)]);
  assert.deepEqual([...order].sort(), [0, 1, 2, 3, 4, 5]);
  assert.equal(places.get(1).parent, null);
  assert.deepEqual([2, 3, 4, 5].map((id) => places.get(id).parent), [null, 2, 3, 4]);
});

test('a chain as long as anybody may claim is no deep recursion', () => {
  const { depth, across } = layOut(Array.from({ length: 8192 }, (_, id) => node(id, id - 1)));
  assert.deepEqual([depth, across], [8191, 1]);
});

test('any graph: every node once, below one of its parents, and leaves do not share a place', () => {
  let seed = Number(process.env.SINNET_SEED ?? 20_131_117);
  const random = (below) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
  for (let round = 0; round < 300; round++) {
    const count = 1 + random(20);
    const nodes = Array.from({ length: count }, (_, id) => node(id, ...Array.from({ length: random(3) }, () => random(count + 2))));
    const { places, order } = layOut(nodes);
    assert.equal(new Set(order).size, count, `seed ${seed}`);
    const leaves = [...places.values()].filter(({ children }) => children.length === 0).map(({ across }) => across);
    assert.equal(new Set(leaves).size, leaves.length);
    for (const [id, { parent, depth, children }] of places) {
      if (parent !== null) {
        assert.ok(nodes[id].parents.includes(parent) && places.get(parent).children.includes(id));
        assert.equal(depth, places.get(parent).depth + 1);
      }
      for (const child of children) assert.equal(places.get(child).parent, id);
    }
  }
});
