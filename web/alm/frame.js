// Frames of the data channel: `type:1 sequence:8 body`, little-endian. docs/alm.md has them byte by byte.

import { read, Malformed } from './reader.js';

/** Bytes of type and sequence. */
export const HEADER = 9;

/** Most bytes of a message of the group: with the header it is the largest message that Chromium's channels take. */
export const MAX_MESSAGE = 256 * 1024 - HEADER;

/** Most upstreams, and most downstreams, that tree info names. */
export const MAX_LINKS = 64;

export const Type = Object.freeze({
  PING: 1,
  JOIN: 2,
  GET_TREE_INFO: 3,
  NOTIFY_TREE_INFO: 4,
  ATTACH: 5,
  PATH: 6,
  HEARTBEAT: 7,
  ROUTE: 8,
  REPORT: 9,
  DETACH: 10,
  GAP: 11,
  CREDIT: 12,
  DATA: 254,
  TEXT: 255,
});

/** Whether a type is data of the group, which is passed on, and not control. */
export const isMulticast = (type) => type === Type.DATA || type === Type.TEXT;

/** A frame as it is on the wire: one buffer, which goes on to all children without a copy. */
export class Frame {
  constructor(raw) {
    this.raw = raw;
    this.type = raw[0];
    this.sequence = new DataView(raw.buffer, raw.byteOffset).getBigUint64(1, true);
  }

  /** A frame of these parts. */
  static make(type, sequence, body) {
    const raw = new Uint8Array(HEADER + body.length);
    raw[0] = type;
    new DataView(raw.buffer).setBigUint64(1, sequence, true);
    raw.set(body, HEADER);
    return new Frame(raw);
  }

  /** A frame of control; its number says nothing. */
  static control(type, body = []) {
    return Frame.make(type, 0n, body);
  }

  /** Takes a message of the channel: an ArrayBuffer, or a string of the old programs. Throws `Malformed`. */
  static parse(message) {
    const raw = typeof message === 'string' ? fromOldString(message) : new Uint8Array(message);
    if (raw.length < HEADER) throw new Malformed('the frame ends too early');
    return new Frame(raw);
  }

  get body() {
    return this.raw.subarray(HEADER);
  }

  get length() {
    return this.raw.length;
  }
}

/** The programs of 2013 sent a string: '3', then one character a byte. */
function fromOldString(text) {
  if (text[0] !== '3') throw new Malformed('not a frame in the old string form');
  const raw = new Uint8Array(text.length - 1);
  for (let i = 0; i < raw.length; i++) {
    const unit = text.charCodeAt(i + 1);
    if (unit > 255) throw new Malformed('not a frame in the old string form');
    raw[i] = unit;
  }
  return raw;
}

/** The body of a text frame: UTF-16LE. */
export function writeText(text) {
  const body = new Uint8Array(text.length * 2);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    body[2 * i] = unit & 0xff;
    body[2 * i + 1] = unit >> 8;
  }
  return body;
}

const utf16 = new TextDecoder('utf-16le', { ignoreBOM: true });

/** Reads it. Half pairs become U+FFFD; a last odd byte is left out. */
export const readText = (body) => utf16.decode(body.subarray(0, body.length & ~1));

/** The body of notify-tree-info. Links above the limit are left out. */
export function writeTreeInfo({ id, upstreams, downstreams }) {
  const ups = upstreams.slice(0, MAX_LINKS);
  const downs = downstreams.slice(0, MAX_LINKS);
  const view = new DataView(new ArrayBuffer(12 + 4 * (ups.length + downs.length)));
  [id, ups.length, downs.length, ...ups, ...downs].forEach((n, i) => view.setUint32(4 * i, n, true));
  return new Uint8Array(view.buffer);
}

/** Reads tree info off a reader, which may have more behind it. */
export function takeTreeInfo(reader) {
  const id = reader.u32();
  const [ups, downs] = [reader.u32(), reader.u32()];
  if (ups > MAX_LINKS || downs > MAX_LINKS) throw new Malformed('too many links');
  return { id, upstreams: reader.ids(ups), downstreams: reader.ids(downs) };
}

/** Reads the body of notify-tree-info. Throws `Malformed`. */
export function readTreeInfo(body) {
  return read(body, (reader) => {
    const info = takeTreeInfo(reader);
    if (reader.left > 0) throw new Malformed('bytes behind the tree info');
    return info;
  });
}
