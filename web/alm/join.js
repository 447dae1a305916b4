// The body of a join: the signalling's JSON as it goes down the tree,
// `{"m":"join","g":…,"e":…,"i":…,"n":…,"x":{"v":1,"p":[root path]}}`. Unknown keys are passed on as they came.

import { MAX_PATH } from './control.js';
import { Frame, Type, readText, writeText } from './frame.js';
import { Malformed } from './reader.js';

/** Most bytes of a join's body. */
const MAX_JOIN = 16 * 1024;

/** Most connections that one join can want; more is read as this. */
const MAX_WANTED = 16;

/** The version of our frames that a join offers in `x.v`. */
export const VERSION = 1;

const isId = (id) => Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff;

/** Reads a body: UTF-8 from ours, UTF-16LE from old nodes. Throws `Malformed`. */
export function readJoin(body) {
  if (body.length > MAX_JOIN) throw new Malformed('the join is over its limit');
  // JSON begins with an ASCII character, so that the second byte tells.
  const text = body[1] === 0 ? readText(body) : new TextDecoder().decode(body);
  let object;
  try {
    object = JSON.parse(text);
  } catch {
    object = null;
  }
  return joinFrom(object);
}

/** Takes a join that came from the server. Throws `Malformed`. */
export function joinFrom(object) {
  if (typeof object !== 'object' || object === null || Array.isArray(object) || object.m !== 'join') {
    throw new Malformed('not a join');
  }
  const { i, n } = object;
  if (!isId(i)) throw new Malformed('the join says not who');
  // Old nodes divide what is wanted, and send fractions.
  if (typeof n !== 'number' || !(n > 0)) throw new Malformed('the join says not how many');
  // Somebody else's `x` is somebody else's.
  const x = isExtension(object.x) ? { v: object.x.v, p: object.x.p ?? [] } : null;
  if (x && x.p.length > MAX_PATH) throw new Malformed('the path is over its limit');
  const { m, x: _, ...rest } = object;
  return { ...rest, i, n: Math.min(Math.max(Math.trunc(n), 1), MAX_WANTED), x };
}

function isExtension(x) {
  return typeof x === 'object' && x !== null && Number.isInteger(x.v) && x.v >= 0 && x.v <= 255
    && (x.p === undefined || (Array.isArray(x.p) && x.p.every(isId)));
}

/** The frame for a child, ours or an old one. */
export function joinFrame({ x, ...join }, toOurs) {
  const extension = x ? { x: x.p.length > 0 ? x : { v: x.v } } : {};
  const text = JSON.stringify({ m: 'join', ...join, ...extension });
  return Frame.control(Type.JOIN, toOurs ? new TextEncoder().encode(text) : writeText(text));
}
