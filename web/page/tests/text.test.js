// Names from strangers, and figures.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isFileText } from '../files.js';
import { readLink } from '../lobby.js';
import { clip, fileName, milliseconds, oneLine, shortId, size } from '../text.js';

test('a name to save under is the last part of a path, seen, not hidden and short', () => {
  for (const [name, safe] of [
    ['photo.jpg', 'photo.jpg'],
    ['../../etc/passwd', 'passwd'],
    ['C:\\Users\\me\\a.txt', 'a.txt'],
    ['.bashrc', 'bashrc'],
    ['a\u202egnp.exe', 'agnp.exe'],
    ['a\0b\u200bc\n.txt', 'abc.txt'],
    ['a<b>:"c|d?*', 'a_b___c_d__'],
    ['', 'file'],
    ['/', 'file'],
    ['. . .', 'file'],
    ['name. . ', 'name'],
  ]) assert.equal(fileName(name), safe, JSON.stringify(name));
  const long = fileName('雪'.repeat(500));
  assert.deepEqual([new TextEncoder().encode(long).length, [...long].length], [198, 66]);
});

test('a line is one line, without what is not seen, and cut between characters', () => {
  assert.equal(oneLine(' a\n b\u202e\u2066c\u0007 '), 'a bc');
  assert.equal(oneLine('☃'.repeat(200)), `${'☃'.repeat(128)}…`);
  assert.equal(clip('😀😀😀', 2), '😀😀…');
  assert.equal(clip('😀😀', 2), '😀😀');
  assert.equal(shortId('0123456789abcdef'), '012345');
});

test('figures are short', () => {
  assert.deepEqual([0, 999, 1000, 999_600, 1_234_567, 5e15].map(size), ['0 B', '999 B', '1.00 kB', '1.00 MB', '1.23 MB', '5000 TB']);
  assert.deepEqual([0.4, 12.6, 2500].map(milliseconds), ['0.4 ms', '13 ms', '2.5 s']);
});

test('links, their ends, names and ids are told apart', () => {
  const id = '0123456789abcdef0123456789abcdef';
  for (const [text, kind, join, token] of [
    ['http://h:1/#group=a%20b%2Bc+d', 'tree', 'a b+c+d', null],
    ['#group=x&token=t', 'tree', 'x', 't'],
    [`https://h/#mesh=${id}`, 'mesh', id, null],
    [id, 'mesh', id],
    ['C# for all', 'tree', 'C# for all'],
    ['7', 'tree', '7'],
  ]) {
    const link = readLink(text);
    assert.deepEqual([link.kind, link.join, link.token], [kind, join, token], text);
  }
  for (const text of ['', '#', '#x', 'http://h/', '#group=']) assert.equal(readLink(text), null, text);
});

test('only what is a message about a file is taken for one', () => {
  const sha256 = '0'.repeat(64);
  for (const [message, is] of [
    [{ sinnet: 'file', id: 0, name: '', size: 0 }, true],
    [{ sinnet: 'file', id: 2 ** 32 - 1, name: 'stream', more: 1 }, true],
    [{ sinnet: 'end', id: 1, size: 3, sha256 }, true],
    [{ sinnet: 'stop', id: 1 }, true],
    [{ sinnet: 'file', id: 2 ** 32, name: '' }, false],
    [{ sinnet: 'file', id: 1.5, name: '' }, false],
    [{ sinnet: 'file', id: '1', name: '' }, false],
    [{ sinnet: 'file', id: 1, name: 7 }, false],
    [{ sinnet: 'file', id: 1, name: '', size: -1 }, false],
    [{ sinnet: 'file', id: 1, name: '', size: 2 ** 53 }, false],
    [{ sinnet: 'end', id: 1, size: 3, sha256: 'x' }, false],
    [{ sinnet: 'end', id: 1, size: 3, sha256: [sha256] }, false],
    [{ sinnet: 'toString', id: 1 }, false],
    [{ id: 1 }, false],
  ]) assert.equal(isFileText(JSON.stringify(message)), is, JSON.stringify(message));
  for (const text of ['', '{', 'hello', '[]', 'null', '{"sinnet":"stop"']) assert.equal(isFileText(text), false);
  assert.equal(isFileText(' \n{"sinnet":"stop","id":1}'), true);
});
