// Messages: published, received once and in order, kept, and sent on to children at the pace of each.

import { Detach, attachFrame, gapFrame, creditFrame } from './control.js';
import { Frame, HEADER, MAX_MESSAGE, Type, readText, writeText } from './frame.js';
import { bestStandby, maintain, promote } from './repair.js';
import { before, distance, plus } from './sequence.js';
import { broadcastPath, size } from './tree.js';

/** An old parent that goes back further than this has begun anew. */
const OLD_RESTART = 1024;

/** See `Node.publish`. */
export function publish(node, data) {
  if (!node.isOwner) return 'not owner';
  const isText = typeof data === 'string';
  if ((isText ? data.length * 2 : data.length) > MAX_MESSAGE) return 'too long';
  if (node.reliable && held(node) >= node.config.window) {
    node.full = true;
    return 'full';
  }
  const sequence = node.next;
  node.next = plus(sequence, 1);
  keep(node, Frame.make(isText ? Type.TEXT : Type.DATA, sequence, isText ? writeText(data) : data));
  return sequence;
}

function keep(node, frame) {
  node.store.push(frame);
  node.store.trim(node.config.storeBytes, node.config.storeMessages);
}

/** A message from a link. */
export function onData(node, now, link, frame) {
  if (!link.isParent) {
    node.stats.unexpected++;
    return;
  }
  link.received += frame.length;
  const reliable = link.ours && node.reliable;
  if (frame.length > MAX_MESSAGE + HEADER || (reliable && link.received > link.granted + 2 * MAX_MESSAGE)) {
    // It does not keep to what it was granted; nobody may fill our memory.
    node.stats.unexpected++;
    node.dropLink(now, link, Detach.LEAVING);
    maintain(node, now);
    return;
  }
  if (link.ours && link.epoch !== node.epoch) {
    node.stats.unexpected++;
    return;
  }
  const { sequence } = frame;
  const ahead = node.next === null ? 0 : distance(sequence, node.next);
  if (ahead < 0 && (link.ours || ahead > -OLD_RESTART)) {
    node.stats.duplicates++;
    return;
  }
  if (ahead > 0 && reliable) {
    node.stats.unexpected++;
    node.resync ||= node.eager === link;
    return;
  }
  if (ahead < 0) {
    node.store.clear();
    for (const child of node.links.values()) if (child.cursor !== null) child.cursor = sequence;
  }
  if (node.next === null) for (const child of node.links.values()) child.cursor = sequence;
  node.stats.skipped += Math.max(ahead, 0);
  node.stats.received++;
  node.rate.bytes += frame.length;
  node.next = plus(sequence, 1);
  node.lastData = now;
  for (const other of node.links.values()) {
    if (other.ahead && !before(sequence, plus(other.ahead.mark, -1))) other.ahead = null;
  }
  keep(node, frame);
  deliver(node, frame, reliable);
  grant(node);
}

/** Gives a message to the application. One that takes nothing holds back a reliable group, and skips in a live one. */
function deliver(node, frame, reliable) {
  node.untaken += frame.length;
  node.messages.push(frame);
  while (!reliable && node.untaken > node.config.window && node.messages.length > 1) {
    node.untaken -= node.messages.shift().length ?? 0;
    node.stats.skipped++;
  }
}

export function takeMessage(node) {
  const frame = node.messages.shift();
  if (!frame) return null;
  if (!(frame instanceof Frame)) return frame;
  node.untaken -= frame.length;
  grant(node);
  return { sequence: frame.sequence, data: frame.type === Type.TEXT ? readText(frame.body) : frame.body };
}

/** The parent has not got what is missing. Another one is asked, once; then the promise is broken and said so. */
export function onGap(node, now, link, { epoch, from, to }) {
  const missing = distance(to, from);
  if (node.eager !== link || epoch !== node.epoch || node.next !== from || missing <= 0) {
    node.stats.unexpected++;
    return;
  }
  if (node.gap !== from) {
    node.gap = from;
    const other = bestStandby(node);
    if (other) {
      promote(node, now, other);
      return;
    }
  }
  node.stats.missed += missing;
  node.next = to;
  // Gaps without a message between them are one: there are never more of them than messages.
  const last = node.messages.at(-1)?.missed;
  if (last?.to === from) last.to = to;
  else node.messages.push({ missed: { from, to } });
}

/** What the child wants now. It may say so again, but that gives it no more time to keep up, nor does it get on by being sent
 *  the same once more. */
export function startSending(node, link, attach) {
  const { window } = node.config;
  const lagged = link.cursor === null ? Infinity : lag(node, link);
  const newcomer = attach.epoch === 0 || attach.epoch !== node.epoch;
  link.role = attach.role;
  link.cursor = newcomer ? node.store.history(node.config.history) ?? node.next : attach.next;
  link.credit = attach.credit;
  link.sent = 0;
  const lags = lag(node, link);
  // Who comes for the past does not hold back the present.
  link.straggler = lags > window || (lags >= window / 2 && (link.straggler || lagged < lags));
}

const lag = (node, link) => (link.cursor === null ? 0 : node.store.bytesFrom(link.cursor));

const needsCredit = (node, link) => link.ours && node.reliable;

/** Whether `nextData` has something for the link. */
export function hasData(node, link) {
  if (!link.isEagerChild || link.cursor === null) return false;
  if (needsCredit(node, link) && link.sent >= link.credit) return false;
  return node.store.atOrAfter(link.cursor) !== null;
}

/** The next message for a child, or word of a gap. */
export function nextData(node, link) {
  if (!hasData(node, link)) return null;
  let { cursor } = link;
  if (!node.reliable && node.store.bytesFrom(cursor) > node.config.window) {
    const newest = node.store.newestWithin(node.config.window / 2);
    if (newest === null) return null;
    node.stats.skipped += Math.abs(distance(newest, cursor));
    cursor = newest;
  }
  const frame = node.store.atOrAfter(cursor);
  if (needsCredit(node, link) && frame.sequence !== cursor) {
    link.cursor = frame.sequence;
    return gapFrame({ epoch: node.epoch, from: cursor, to: frame.sequence });
  }
  link.cursor = plus(frame.sequence, 1);
  link.sent += frame.length;
  return frame;
}

/** Bytes that wait here for the slowest child that keeps up, or for the application. */
export function held(node) {
  let most = node.untaken;
  for (const link of node.links.values()) {
    if (link.isEagerChild && !link.straggler) most = Math.max(most, lag(node, link));
  }
  return most;
}

/** What the group promises, as a parent says. Who has not found its tree (epoch 0) does not know. Gives whether that is new:
 *  then the parent that delivers is to be told what it may send. */
export function learnKind(node, reliable, epoch) {
  if (reliable === node.reliable || (epoch === 0 && node.epoch !== 0)) return false;
  node.reliable = reliable;
  for (const link of node.links.values()) {
    // In a live group they might send all they like.
    if (reliable && link.isParent) link.granted = Math.min(link.granted, link.received + node.config.window);
  }
  return true;
}

/** Lets the parent, or the application, send more if there is room for a quarter of a window. */
export function grant(node) {
  if (!node.reliable) return;
  const { window } = node.config;
  if (node.isOwner) {
    if (node.full && held(node) <= window / 2) {
      node.full = false;
      node.tell({ type: 'writable' });
    }
    return;
  }
  const link = node.eager;
  if (!link?.ours || link.granted - link.received > (window / 4) * 3) return;
  const room = Math.max(window - held(node), 0);
  const target = link.received + room;
  if (room >= window / 4 && target >= link.granted + window / 4) {
    link.granted = target;
    node.push(link, creditFrame(target));
  }
}

/** Children that lag and take nothing for too long, or next to nothing while others could take more, stop holding back the
 *  others, until they have caught up. Half a window is where `publish` and credit may stop for them; one that lags and takes
 *  its share is what back-pressure is for. Of one that is silent, too, nothing is to be expected. */
export function judgeChildren(node, now) {
  const { window, patience } = node.config;
  const children = node.eagerChildren();
  const lags = (link) => lag(node, link) >= window / 2;
  const hungry = children.some((link) => !lags(link));
  for (const link of children) {
    if (!lags(link)) {
      link.behind = null;
      link.straggler = false;
      continue;
    }
    link.straggler ||= link.ours && now - link.lastHeard >= node.silence() * 2;
    const here = node.store.position(link.cursor);
    link.behind ??= { since: now, was: here };
    if (now - link.behind.since >= patience) {
      const taken = here - link.behind.was;
      link.straggler ||= taken <= 0 || (hungry && taken < window / 8);
      link.behind = { since: now, was: here };
    }
  }
  grant(node);
}

/** Another life of the source: numbers begin anew. */
export function adoptEpoch(node, epoch) {
  if (epoch === 0 || epoch === node.epoch || node.isOwner) return;
  if (node.epoch !== 0) {
    node.store.clear();
    node.next = null;
    node.gap = null;
    for (const link of node.links.values()) link.cursor = null;
  }
  node.epoch = epoch;
  // The children learn it before the first message, because it goes first on each link.
  broadcastPath(node);
}

/** Says what this node wants from a parent. */
export function attach(node, link, role) {
  const credit = node.reliable ? Math.max(node.config.window - held(node), 0) : Infinity;
  const [epoch, next] = node.next === null ? [0, 0n] : [node.epoch, node.next];
  link.role = role;
  link.received = 0;
  link.granted = credit;
  node.push(link, attachFrame({ role, epoch, next, credit, size: size(node) }));
}

