// Our own control frames, types 5 to 12. Old nodes ignore them; bytes behind a body's end are ignored, too.

import { Frame, Type, takeTreeInfo, writeTreeInfo } from './frame.js';
import { Malformed, read } from './reader.js';

/** Most nodes on a root path. */
export const MAX_PATH = 64;

/** Most siblings, and most uncles, that a path frame names. */
export const MAX_RELATIVES = 8;

/** Most bytes of a signal that is routed through the tree. */
export const MAX_SIGNAL = 16 * 1024;

/** What a child wants of an upstream. */
export const Role = Object.freeze({ WARM: 0, EAGER: 1 });

/** Why a link is of no use any more. */
export const Detach = Object.freeze({ LEAVING: 0, PLACE_NEEDED: 1, CYCLE: 2, FULL: 3, SLOW: 4 });

/** What a routed frame carries. */
export const Routed = Object.freeze({ ASK: 0, ACCEPT: 1, REFUSE: 2, SIGNAL: 3 });

/** A heartbeat that can't echo anything yet. */
export const NOT_HELD = 0xffff_ffff;

class Writer {
  #bytes = [];

  u8(n) {
    this.#bytes.push(n & 0xff);
    return this;
  }

  u32(n) {
    this.#bytes.push(n & 0xff, (n >>> 8) & 0xff, (n >>> 16) & 0xff, n >>> 24);
    return this;
  }

  sequence(n) {
    return this.u32(Number(n & 0xffff_ffffn)).u32(Number(n >> 32n));
  }

  amount(n) {
    return this.sequence(Number.isFinite(n) ? BigInt(n) : 0xffff_ffff_ffff_ffffn);
  }

  list(ids, max) {
    const some = ids.slice(0, max);
    this.u8(some.length);
    some.forEach((id) => this.u32(id));
    return this;
  }

  bytes(bytes) {
    // Not by spreading: a signal has more bytes than a call may have arguments in some engines.
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  frame(type) {
    return Frame.control(type, this.#bytes);
  }
}

const READERS = {
  [Type.ATTACH]: (r) => ({
    role: r.flag() ? Role.EAGER : Role.WARM,
    epoch: r.u32(),
    next: r.sequence(),
    credit: r.amount(),
    size: r.u32(),
  }),
  [Type.PATH]: (r) => ({
    reliable: r.flag(),
    epoch: r.u32(),
    next: r.sequence(),
    path: r.list(MAX_PATH),
    siblings: r.list(MAX_RELATIVES),
    uncles: r.list(MAX_RELATIVES),
  }),
  [Type.HEARTBEAT]: (r) => ({
    stamp: r.u32(),
    echo: r.u32(),
    held: r.u32(),
    tick: r.u32(),
    epoch: r.u32(),
    next: r.sequence(),
    size: r.u32(),
    height: r.u8(),
    parents: r.u8(),
  }),
  [Type.ROUTE]: readRoute,
  [Type.REPORT]: (r) => ({ ...takeTreeInfo(r), rtt: r.u32(), rate: r.u32(), lag: r.amount() }),
  [Type.DETACH]: (r) => ({ reason: r.u8() }),
  [Type.GAP]: (r) => ({ epoch: r.u32(), from: r.sequence(), to: r.sequence() }),
  [Type.CREDIT]: (r) => ({ credit: r.amount() }),
};

function readRoute(r) {
  const route = { hops: r.u8(), to: r.list(MAX_PATH), from: r.list(MAX_PATH), kind: r.u8() };
  if (route.to.length === 0 || route.from.length === 0) throw new Malformed('a route without an end');
  switch (route.kind) {
    case Routed.ASK:
      route.ask = { role: r.flag() ? Role.EAGER : Role.WARM, limit: r.u8(), size: r.u32(), avoid: r.u32() };
      break;
    case Routed.ACCEPT:
      route.role = r.flag() ? Role.EAGER : Role.WARM;
      break;
    case Routed.REFUSE:
      break;
    case Routed.SIGNAL:
      if (r.left > MAX_SIGNAL) throw new Malformed('the signal is over its limit');
      route.signal = r.rest();
      break;
    default:
      throw new Malformed(`code ${route.kind} has no meaning there`);
  }
  return route;
}

/** What a control frame says; `null` if its type is none of ours. Throws `Malformed`. */
export function readControl(frame) {
  const take = READERS[frame.type];
  return take ? read(frame.body, take) : null;
}

export const attachFrame = ({ role, epoch, next, credit, size }) =>
  new Writer().u8(role).u32(epoch).sequence(next).amount(credit).u32(size).frame(Type.ATTACH);

export const pathFrame = ({ reliable, epoch, next, path, siblings, uncles }) =>
  new Writer().u8(reliable ? 1 : 0).u32(epoch).sequence(next)
    .list(path, MAX_PATH).list(siblings, MAX_RELATIVES).list(uncles, MAX_RELATIVES).frame(Type.PATH);

export const heartbeatFrame = ({ stamp, echo, held, tick, epoch, next, size, height, parents }) =>
  new Writer().u32(stamp).u32(echo).u32(held).u32(tick).u32(epoch).sequence(next).u32(size)
    .u8(height).u8(parents).frame(Type.HEARTBEAT);

export function routeFrame({ hops, to, from, kind, ask, role, signal }) {
  const writer = new Writer().u8(hops).list(to, MAX_PATH).list(from, MAX_PATH).u8(kind);
  if (kind === Routed.ASK) writer.u8(ask.role).u8(ask.limit).u32(ask.size).u32(ask.avoid);
  if (kind === Routed.ACCEPT) writer.u8(role);
  if (kind === Routed.SIGNAL) writer.bytes(signal.subarray(0, MAX_SIGNAL));
  return writer.frame(Type.ROUTE);
}

/** `rtt` in microseconds, `rate` in bytes per second, `lag` in messages. */
export const reportFrame = (report) =>
  new Writer().bytes(writeTreeInfo(report)).u32(report.rtt).u32(report.rate).amount(report.lag).frame(Type.REPORT);

export const detachFrame = (reason) => new Writer().u8(reason).frame(Type.DETACH);

export const gapFrame = ({ epoch, from, to }) =>
  new Writer().u32(epoch).sequence(from).sequence(to).frame(Type.GAP);

export const creditFrame = (credit) => new Writer().amount(credit).frame(Type.CREDIT);
