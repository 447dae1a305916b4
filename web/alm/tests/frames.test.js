// Frames as the Rust side writes them: `frames.json` is made and checked by `alm/src/frame/vectors.rs`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import * as control from '../control.js';
import { Frame, Type, readText, readTreeInfo, writeText, writeTreeInfo } from '../frame.js';
import { joinFrame, readJoin } from '../join.js';
import { Malformed } from '../reader.js';

const vectors = JSON.parse(readFileSync(new URL('./frames.json', import.meta.url)));

const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
const hex = (raw) => Array.from(raw, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** JSON has neither 64-bit numbers nor bytes nor what is endless. */
function fromJson(says) {
  const fields = { ...says };
  for (const key of ['next', 'from', 'to']) if (typeof fields[key] === 'string') fields[key] = BigInt(fields[key]);
  if (fields.credit === 'endless') fields.credit = Infinity;
  if (fields.signal) fields.signal = bytes(fields.signal);
  return fields;
}

const WRITERS = {
  [Type.ATTACH]: control.attachFrame,
  [Type.PATH]: control.pathFrame,
  [Type.HEARTBEAT]: control.heartbeatFrame,
  [Type.ROUTE]: control.routeFrame,
  [Type.REPORT]: control.reportFrame,
  [Type.DETACH]: ({ reason }) => control.detachFrame(reason),
  [Type.GAP]: control.gapFrame,
  [Type.CREDIT]: ({ credit }) => control.creditFrame(credit),
  [Type.NOTIFY_TREE_INFO]: (info) => Frame.control(Type.NOTIFY_TREE_INFO, writeTreeInfo(info)),
};

const READERS = {
  [Type.JOIN]: ({ body }) => readJoin(body),
  [Type.NOTIFY_TREE_INFO]: ({ body }) => readTreeInfo(body),
};

for (const { name, hex: wire, type, sequence, says, lengths } of vectors) {
  test(`${name}: the same bytes and the same meaning in both languages`, () => {
    const frame = Frame.parse(bytes(wire).buffer);
    assert.deepEqual([frame.type, frame.sequence], [type, BigInt(sequence)]);
    if (says.string) assert.equal(hex(Frame.parse(says.string).raw), wire);
    if (type === Type.TEXT) {
      assert.equal(readText(frame.body), says.text);
      assert.equal(hex(Frame.make(type, BigInt(sequence), writeText(says.text)).raw), wire);
    } else if (type === Type.DATA) {
      assert.equal(hex(frame.body), says.data);
      assert.equal(hex(Frame.make(type, BigInt(sequence), bytes(says.data)).raw), wire);
    } else {
      const read = READERS[type] ?? control.readControl;
      const fields = fromJson(says);
      assert.deepEqual(read(frame), fields);
      if (type === Type.JOIN) assert.deepEqual(readJoin(joinFrame(fields, frame.body[1] !== 0).body), fields);
      else assert.equal(hex(WRITERS[type](fields).raw), wire);
    }
  });

  if (type === Type.TEXT || type === Type.DATA) continue;
  test(`${name}: what is cut off is refused at the same lengths`, () => {
    const read = READERS[type] ?? control.readControl;
    const { body } = Frame.parse(bytes(wire));
    const readable = [];
    for (let length = 0; length <= body.length; length++) {
      try {
        read(Frame.make(type, 0n, body.subarray(0, length)));
        readable.push(length);
      } catch (error) {
        assert.ok(error instanceof Malformed, `${error}`);
      }
    }
    assert.deepEqual(readable, lengths);
  });
}

test('what is no frame is refused', () => {
  for (const bad of [new ArrayBuffer(8), '', '2\0\0\0\0\0\0\0\0\0', '3abc', '3\u0100aaaaaaaaaa']) {
    assert.throws(() => Frame.parse(bad), Malformed);
  }
});

test('a join that makes no sense is refused', () => {
  const bad = [
    '', '[]', '{', '7', 'null', '{"i":1,"n":1}', '{"m":"leave","i":1,"n":1}', '{"m":"join","n":1}', '{"m":"join","i":-1,"n":1}',
    '{"m":"join","i":4294967296,"n":1}', '{"m":"join","i":"1","n":1}', '{"m":"join","i":1}', '{"m":"join","i":1,"n":0}',
    '{"m":"join","i":1,"n":-3}', `{"m":"join","i":1,"n":1,"x":{"v":1,"p":[${'0,'.repeat(64)}0]}}`, ' '.repeat(16385),
  ];
  for (const body of bad) assert.throws(() => readJoin(new TextEncoder().encode(body)), Malformed, body);
  const wanted = (n) => readJoin(new TextEncoder().encode(`{"m":"join","i":1,"n":${n}}`)).n;
  assert.deepEqual(['0.2', '1', '2.99', '16', '1e300'].map(wanted), [1, 1, 2, 16, 16]);
  assert.equal(readJoin(new TextEncoder().encode('{"m":"join","i":1,"n":1,"x":"what"}')).x, null);
});
