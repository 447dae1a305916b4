// Files as messages of a group (docs/alm.md, "Files in a group"):
//
//   text   {"sinnet":"file","id":7,"name":"photo.jpg","size":52428800}      no size for a stream
//   bytes  id:4 LE, offset:8 LE, data                                      64 KiB at most in all
//   text   {"sinnet":"end","id":7,"size":52428800,"sha256":"…"}  or  {"sinnet":"stop","id":7,"error":"why"}
//
// Any other text is chat. `row` is where a file is shown: { name(text), size(n | null), progress(n), state(kind, text),
// hash(hex), save(blob, name) }.

import { Sha256 } from '../sha256.js';
import { clip, fileName, oneLine } from './text.js';

const HEAD = 12;
const MESSAGE = 64 * 1024;
const READ = 1024 * 1024;

/** Files under way at once; more are left out. */
const MAX_UNDER_WAY = 16;

/** Bytes of one file, and of all, that a page keeps. What is beyond is checked, and not kept. */
const MAX_KEPT = 2 * 1024 ** 3;
const MAX_KEPT_IN_ALL = 4 * 1024 ** 3;

/** Files that were told of as unknown, so that it is told once. */
const MAX_UNKNOWN = 64;

let nextId = crypto.getRandomValues(new Uint32Array(1))[0];

/** Whether text would be read as a file's, and so can't be chat as it is. */
export const isFileText = (text) => parse(text) !== null;

/** Sends a File to all in a room. `cancelled` is an AbortSignal. Errors are shown in the row. */
export async function sendFile(room, file, row, cancelled) {
  const id = nextId++ >>> 0;
  row.name(oneLine(file.name));
  row.size(file.size);
  row.state('busy', 'sending');
  let announced = false;
  try {
    const hash = new Sha256();
    cancelled.throwIfAborted();
    await room.send(JSON.stringify({ sinnet: 'file', id, name: fileName(file.name), size: file.size }));
    announced = true;
    for (let at = 0; at < file.size; at += READ) {
      const bytes = new Uint8Array(await file.slice(at, at + READ).arrayBuffer());
      if (bytes.length !== Math.min(READ, file.size - at)) throw new Error('the file has changed');
      hash.update(bytes);
      for (let from = 0; from < bytes.length; from += MESSAGE - HEAD) {
        cancelled.throwIfAborted();
        await room.send(piece(id, at + from, bytes.subarray(from, from + MESSAGE - HEAD)));
        row.progress(Math.min(at + from + MESSAGE - HEAD, file.size));
      }
    }
    const sha256 = hash.hex();
    await room.send(JSON.stringify({ sinnet: 'end', id, size: file.size, sha256 }));
    row.progress(file.size);
    row.hash(sha256);
    row.state('done', 'sent');
  } catch (error) {
    const reason = cancelled.aborted ? 'cancelled by the sender' : error.message;
    row.state('failed', cancelled.aborted ? 'cancelled' : `not sent: ${reason}`);
    if (announced) room.send(JSON.stringify({ sinnet: 'stop', id, error: reason })).catch(() => {});
  }
}

function piece(id, offset, data) {
  const message = new Uint8Array(HEAD + data.length);
  const view = new DataView(message.buffer);
  view.setUint32(0, id, true);
  view.setBigUint64(4, BigInt(offset), true);
  message.set(data, HEAD);
  return message;
}

/** What a text says of a file; null if it is chat. */
function parse(text) {
  if (text.length > MESSAGE || !/^\s*{/.test(text)) return null;
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  const { sinnet, id, name, size, sha256, error } = message;
  const isCount = (n) => Number.isSafeInteger(n) && n >= 0;
  if (!isCount(id) || id >= 2 ** 32) return null;
  switch (sinnet) {
    case 'file': return typeof name === 'string' && (size === undefined || isCount(size)) ? { sinnet, id, name, size } : null;
    case 'end': return isCount(size) && typeof sha256 === 'string' && /^[0-9a-f]{64}$/i.test(sha256) ? { sinnet, id, size, sha256 } : null;
    case 'stop': return { sinnet, id, error: typeof error === 'string' ? error : 'no reason given' };
    default: return null;
  }
}

/** The files that come to a room. */
export class Incoming {
  #addRow;
  #note;
  #files = new Map();
  #unknown = new Set();
  #kept = 0;

  /** `addRow()` makes a row, `note(text)` says what has no row. */
  constructor(addRow, note) {
    this.#addRow = addRow;
    this.#note = note;
  }

  /** Takes a text if it is about a file; others are chat. Returns whether it was. */
  text(from, text) {
    const message = parse(text);
    if (message === null) return false;
    const key = `${from}/${message.id}`;
    const file = this.#files.get(key);
    if (message.sinnet === 'file') {
      if (file === undefined) this.#begin(key, message);
    } else if (file === undefined) {
      this.#missed(key);
    } else {
      this.#files.delete(key);
      this.#kept -= file.end(message);
    }
    return true;
  }

  bytes(from, data) {
    if (data.byteLength < HEAD) return this.#note('Bytes came that are no file.');
    const view = new DataView(data);
    const key = `${from}/${view.getUint32(0, true)}`;
    const file = this.#files.get(key);
    if (file === undefined) return this.#missed(key);
    const bytes = new Uint8Array(data, HEAD);
    const keep = file.received + bytes.length <= MAX_KEPT && this.#kept + bytes.length <= MAX_KEPT_IN_ALL;
    this.#kept += file.take(view.getBigUint64(4, true), bytes, keep);
  }

  /** Nothing more will come from there. */
  left(from) {
    for (const [key, file] of this.#files) {
      if (!key.startsWith(`${from}/`)) continue;
      this.#files.delete(key);
      this.#kept -= file.fail('the sender has gone');
    }
  }

  #begin(key, { name, size }) {
    if (this.#files.size >= MAX_UNDER_WAY) {
      this.#unknown.add(key);
      return this.#note('A file was left out: too many are under way.');
    }
    this.#files.set(key, new IncomingFile(this.#addRow(), name, size));
  }

  #missed(key) {
    if (this.#unknown.has(key) || this.#unknown.size >= MAX_UNKNOWN) return;
    this.#unknown.add(key);
    this.#note('A file is under way that had begun before you came. You joined too late for it.');
  }
}

class IncomingFile {
  received = 0;

  #row;
  #name;
  #size;
  #hash = new Sha256();
  #parts = [];
  #pending = [];
  #pendingSize = 0;
  #kept = 0;
  /** Whether all of it is kept so far. */
  #whole = true;
  #failed = false;

  constructor(row, name, size) {
    this.#row = row;
    this.#name = fileName(name);
    this.#size = size ?? null;
    row.name(this.#name);
    row.size(this.#size);
    row.state('busy', 'receiving');
  }

  /** A piece. Returns by how much more is kept. */
  take(offset, bytes, keep) {
    if (this.#failed) return 0;
    if (offset !== BigInt(this.received)) return -this.fail('pieces are missing');
    this.received += bytes.length;
    if (this.#size !== null && this.received > this.#size) return -this.fail('more came than was announced');
    this.#hash.update(bytes);
    this.#row.progress(this.received);
    if (!keep || !this.#whole) {
      this.#whole = false;
      return -this.#drop();
    }
    this.#pending.push(bytes);
    this.#pendingSize += bytes.length;
    this.#kept += bytes.length;
    if (this.#pendingSize >= READ) this.#flush();
    return bytes.length;
  }

  /** `end` or `stop`. Returns by how much less is kept: what can be saved is the row's from now on. */
  end({ sinnet, size, sha256, error }) {
    if (this.#failed) return 0;
    if (sinnet === 'stop') return this.fail(`given up: ${clip(oneLine(error), 100)}`);
    const hash = this.#hash.hex();
    this.#row.hash(hash);
    if (size !== this.received || (this.#size !== null && this.#size !== size)) {
      return this.fail(`${this.received} bytes came, and should have been ${this.#size ?? size}`);
    }
    if (hash !== sha256.toLowerCase()) return this.fail('the hashes differ');
    this.#row.progress(this.received);
    if (this.#whole) {
      this.#flush();
      this.#row.save(new Blob(this.#parts, { type: 'application/octet-stream' }), this.#name);
      this.#row.state('done', 'received, SHA-256 verified');
    } else {
      this.#row.state('done', 'SHA-256 verified; too large for a page to keep');
    }
    return 0;
  }

  /** It does not come. Returns by how much less is kept. */
  fail(why) {
    if (this.#failed) return 0;
    this.#failed = true;
    this.#row.state('failed', `not received: ${why}`);
    return this.#drop();
  }

  #drop() {
    const kept = this.#kept;
    this.#kept = 0;
    this.#parts = [];
    this.#pending = [];
    this.#pendingSize = 0;
    return kept;
  }

  // A Blob can be kept on disk by the browser, an array can't.
  #flush() {
    this.#parts.push(new Blob(this.#pending));
    this.#pending = [];
    this.#pendingSize = 0;
  }
}
