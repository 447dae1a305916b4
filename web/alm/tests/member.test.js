// What a member does when the browser refuses, and what is left of it when it leaves.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { WebRTCALM } from '../../sinnet-alm.js';
import { anew, made, timers, turns } from './browser.js';

beforeEach(anew);

/** A member, and what it is told. */
function member() {
  const alm = WebRTCALM.create('reliable', 'ws://example.org/alm');
  const told = [];
  alm.addEventListener('statechange', ({ detail: { id, direction, state } }) => told.push(`${direction} ${id} ${state}`));
  alm.addEventListener('closed', ({ detail }) => told.push(detail.reason));
  return { alm, told };
}

/** One that has joined as number 5. */
async function joined() {
  const { alm, told } = member();
  const joining = alm.join('group');
  const [socket] = made.sockets;
  socket.open();
  socket.say({ m: 'join', r: 'ok', i: 5, g: 1 });
  await joining;
  return { alm, told, socket };
}

/** Whose offer to the owner goes through. */
async function connected() {
  const { alm, told, socket } = await joined();
  socket.say({ m: 'join_res', i: 0, k: 'a' });
  await turns();
  const { channel } = made.connections.at(-1);
  return { alm, told, channel };
}

test('a configuration that the browser refuses rejects create and join, and asks no server', async () => {
  const { alm } = member();
  made.refusing = true;
  await assert.rejects(alm.join('group'), /PeerConnections/);
  await assert.rejects(alm.create('group', ''), /PeerConnections/);
  assert.equal(made.sockets.length, 0);
  made.refusing = false;
  alm.join('group').catch(() => {});
  assert.equal(made.sockets.length, 1);
  assert.equal(made.connections[0].connectionState, 'closed');
  alm.leave();
});

test('a joiner whom the browser refuses a connection makes the next one', async () => {
  const { alm, told, socket } = await joined();
  made.refusing = true;
  socket.say({ m: 'join_res', i: 0, k: 'a' });
  assert.deepEqual(told, ['up 0 failed']);
  made.refusing = false;
  socket.say({ m: 'join_res', i: 3, k: 'b' });
  await turns();
  assert.deepEqual(told.slice(1), ['up 3 connecting']);
  assert.deepEqual(socket.sent.at(-1), { m: 'offer', i: 5, k: 'b', s: '{"type":"offer","sdp":"v=0"}' });
  alm.leave();
});

test('an acceptor whom the browser refuses a connection gives its place up', async () => {
  const { alm, told } = member();
  const creating = alm.create('group', '');
  const [control] = made.sockets;
  control.open();
  control.say({ m: 'create', r: 'ok', g: 1 });
  await creating;
  control.say({ m: 'join', g: 'group', e: 'x', i: 5, n: 2, x: { v: 1 } });
  const accepting = made.sockets[1];
  accepting.open();
  assert.equal(accepting.sent[0].m, 'join_res');
  made.refusing = true;
  accepting.say({ m: 'offer', s: '{"type":"offer","sdp":"v=0"}' });
  assert.deepEqual(told, ['down 5 failed']);
  assert.equal(accepting.readyState, 3);
  alm.leave();
});

test('who leaves while the server is asked ends the question, and nothing is left of it', async () => {
  for (const enter of ['join', 'create']) {
    for (const open of [false, true]) {
      anew();
      const before = timers();
      const { alm } = member();
      const entering = alm[enter]('group');
      const [socket] = made.sockets;
      if (open) socket.open();
      assert.ok(timers() > before);
      alm.leave();
      assert.equal(socket.readyState, 3, `${enter}, ${open}`);
      assert.equal(timers(), before);
      await assert.rejects(entering, /left the group/);
      assert.equal(made.sockets.length, 1);
    }
  }
});

test('who leaves while a joiner is waited for keeps no timer', async () => {
  const before = timers();
  const { alm } = member();
  const creating = alm.create('group', '');
  const [control] = made.sockets;
  control.open();
  control.say({ m: 'create', r: 'ok', g: 1 });
  await creating;
  control.say({ m: 'join', g: 'group', e: 'x', i: 5, n: 2, x: { v: 1 } });
  assert.equal(made.sockets.length, 2);
  alm.leave();
  assert.deepEqual(made.sockets.map(({ readyState }) => readyState), [3, 3]);
  assert.equal(timers(), before);
});

test('nothing is told after the end', async () => {
  const { alm, told, channel } = await connected();
  channel.open();
  assert.deepEqual(told, ['up 0 connecting', 'up 0 connected']);
  alm.leave();
  await turns();
  assert.equal(made.connections.at(-1).connectionState, 'closed');
  assert.deepEqual(told.slice(2), ['left']);
});

test('who leaves when told of a connection makes no offer', async () => {
  const { alm, told, socket } = await joined();
  alm.addEventListener('statechange', () => alm.leave());
  socket.say({ m: 'join_res', i: 0, k: 'a' });
  await turns();
  assert.deepEqual(told, ['up 0 connecting', 'left']);
  assert.equal(made.connections.at(-1).connectionState, 'closed');
  assert.equal(socket.sent.length, 1);
});
