// Files over data channels of protocol "sinnet-file", one file a channel:
//
//   sender                                   receiver
//   {"name":"…","size":N}           ──────▶
//   N bytes in binary messages      ──────▶
//   {"sha256":"hex"}                ──────▶  compares
//                                   ◀──────  {"ok":true,"sha256":"hex","size":N} or {"ok":false,"error":"…"}
//   close
//
// `row` is where progress is shown: { name(text), size(n), progress(bytes), state(kind, text), hash(hex), save(blob, name) }.

import { Sha256 } from '../sha256.js';

export const PROTOCOL = 'sinnet-file';

const MESSAGE = 64 * 1024;
const READ = 1024 * 1024;
const BUFFER_HIGH = 4 * 1024 * 1024;
const BUFFER_LOW = 1024 * 1024;

/** Sends a File or Blob over a channel that was just opened. */
export async function sendFile(channel, file, maxMessageSize, row) {
  row.name(file.name);
  row.size(file.size);
  row.state('busy', 'sending');
  try {
    await opened(channel);
    const verdict = nextMessage(channel);
    verdict.catch(() => {});   // It is asked for below; until then a closed channel shows at the sends.
    const step = Math.max(1, Math.min(MESSAGE, maxMessageSize || MESSAGE));
    const hash = new Sha256();
    channel.bufferedAmountLowThreshold = BUFFER_LOW;
    channel.send(JSON.stringify({ name: file.name, size: file.size }));
    for (let at = 0; at < file.size; at += READ) {
      const bytes = new Uint8Array(await file.slice(at, at + READ).arrayBuffer());
      hash.update(bytes);
      for (let from = 0; from < bytes.length; from += step) {
        if (channel.bufferedAmount > BUFFER_HIGH) await drained(channel);
        channel.send(bytes.subarray(from, from + step));
      }
      row.progress(Math.max(0, at + bytes.length - channel.bufferedAmount));
    }
    const sha256 = hash.hex();
    channel.send(JSON.stringify({ sha256 }));
    row.hash(sha256);
    const answer = JSON.parse(await verdict);
    if (answer.ok !== true) throw new Error(answer.error || 'the other side refused the file');
    if (answer.sha256 !== sha256) throw new Error('the other side has another hash');
    row.progress(file.size);
    row.state('done', 'sent, and verified by the other side');
  } catch (error) {
    row.state('failed', `not sent: ${error.message}`);
  } finally {
    channel.close();
  }
}

/** Takes the file that the peer sends over a channel that it opened. */
export function receiveFile(channel, row) {
  const hash = new Sha256();
  const parts = [];
  let pending = [];
  let pendingSize = 0;
  let head = null;
  let received = 0;
  let over = false;

  const end = (answer, kind, text) => {
    over = true;
    channel.send(JSON.stringify(answer));
    row.state(kind, text);
  };
  const refuse = (error) => end({ ok: false, error }, 'failed', `not received: ${error}`);
  // A Blob can be kept on disk by the browser, an array can't.
  const flush = () => {
    parts.push(new Blob(pending));
    pending = [];
    pendingSize = 0;
  };

  row.state('busy', 'receiving');
  channel.onmessage = ({ data }) => {
    if (over) return;
    if (typeof data !== 'string') {
      if (head === null) return refuse('bytes came before the name');
      received += data.byteLength;
      if (received > head.size) return refuse('more bytes than announced');
      hash.update(new Uint8Array(data));
      pending.push(data);
      pendingSize += data.byteLength;
      if (pendingSize >= READ) flush();
      row.progress(received);
      return;
    }
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return refuse('a message that is not JSON');
    }
    if (head === null) {
      if (typeof message?.name !== 'string' || !Number.isSafeInteger(message.size) || message.size < 0) {
        return refuse('no name and size');
      }
      head = message;
      row.name(head.name);
      row.size(head.size);
      return;
    }
    flush();
    const sha256 = hash.hex();
    row.hash(sha256);
    if (received !== head.size) return refuse(`${received} bytes came, ${head.size} were announced`);
    if (message?.sha256 !== sha256) return refuse('the hashes differ');
    row.progress(received);
    row.save(new Blob(parts), head.name);
    end({ ok: true, sha256, size: received }, 'done', 'received and verified');
  };
  channel.onclose = () => {
    if (!over) row.state('failed', 'not received: the channel was closed');
    over = true;
  };
}

function opened(channel) {
  return new Promise((resolve, reject) => {
    if (channel.readyState === 'open') resolve();
    channel.addEventListener('open', resolve, { once: true });
    channel.addEventListener('close', () => reject(new Error('the channel was closed')), { once: true });
  });
}

function nextMessage(channel) {
  return new Promise((resolve, reject) => {
    channel.addEventListener('message', ({ data }) => resolve(data), { once: true });
    channel.addEventListener('close', () => reject(new Error('the channel was closed')), { once: true });
  });
}

function drained(channel) {
  return new Promise((resolve, reject) => {
    const over = new AbortController();
    const settle = (how, what) => () => {
      over.abort();
      how(what);
    };
    const { signal } = over;
    channel.addEventListener('bufferedamountlow', settle(resolve), { signal });
    channel.addEventListener('close', settle(reject, new Error('the channel was closed')), { signal });
    if (channel.bufferedAmount <= channel.bufferedAmountLowThreshold) settle(resolve)();
  });
}
