// A service that is closed while it joins, and joined again.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Service } from '../../sinnet-p2p.js';

const sockets = [];

class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  sent = [];

  constructor() {
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  open() {
    this.readyState = FakeSocket.OPEN;
    this.onopen();
  }

  /** The server answers the last call. */
  answer(result) {
    this.onmessage({ data: JSON.stringify({ jsonrpc: '2.0', id: this.sent.at(-1).id, result }) });
  }
}

globalThis.WebSocket = FakeSocket;
beforeEach(() => sockets.splice(0));

const turns = () => new Promise((resolve) => setImmediate(resolve));

/** A service that has come so far in joining: the socket is being opened, is open, or the server has been asked. */
async function joining(far) {
  const service = new Service('ws://example.org/p2p');
  const joined = service.join();
  const [socket] = sockets;
  if (far !== 'opening') socket.open();
  if (far === 'asked') {
    await turns();
    assert.equal(socket.sent[0].method, 'init');
  }
  return { service, joined, socket };
}

for (const far of ['opening', 'open', 'asked']) {
  test(`close() ends a join() that is ${far}, and the next one stands for itself`, async () => {
    const { service, joined, socket } = await joining(far);
    const closed = [];
    service.onclose = (reason) => closed.push(reason);
    service.close();
    const again = service.join();
    await assert.rejects(joined, /closed by us/);
    assert.equal(socket.readyState, 3);
    // What the first one still brings is nobody's business.
    socket.onclose?.({ code: 1000, reason: '' });
    assert.equal(service.join(), again);
    assert.equal(sockets.length, 2);
    sockets[1].open();
    await turns();
    sockets[1].answer('me');
    assert.deepEqual(await again, { id: 'me' });
    assert.deepEqual(closed, []);
    sockets[1].onclose({ code: 1006, reason: '' });
    assert.deepEqual(closed, ['the server is gone (1006)']);
  });
}

test('close() right behind the answer rejects the join', async () => {
  const { service, joined, socket } = await joining('asked');
  socket.answer('me');
  service.close();
  await assert.rejects(joined, /closed by us/);
  assert.equal(socket.readyState, 3);
  await assert.rejects(service.createGroup(), /join the service first/);
});

test('a server that goes while it is asked rejects the join', async () => {
  const { joined, socket } = await joining('asked');
  socket.onclose({ code: 1006, reason: '' });
  await assert.rejects(joined, /has ended/);
});

test('no group is joined by a service that was closed', async () => {
  const { service, joined, socket } = await joining('asked');
  socket.answer('me');
  await joined;
  service.close();
  await assert.rejects(service.joinGroup('group'), /join the service first/);
});
