// Where the node is: root paths, heartbeats, and the owner's view of the whole.

import { MAX_TREE } from './config.js';
import { Detach, MAX_PATH, MAX_RELATIVES, Role, pathFrame, reportFrame } from './control.js';
import { Frame, Type, readTreeInfo, writeTreeInfo } from './frame.js';
import { Malformed } from './reader.js';
import { countDistance, distance } from './sequence.js';
import { adoptEpoch, attach, judgeChildren, learnKind } from './forward.js';
import { leaveOrphan, resyncParent, rootedParents, settle } from './repair.js';

/** Largest subtree that a child is believed to have. */
export const MAX_SIZE = 1 << 20;

/** An old neighbour is pinged after so long, and given up after one and a half times that (as the originals do). */
const OLD_PING = 10_000;

const samePath = (a, b) => a.length === b.length && a.every((id, i) => id === b[i]);

const believed = (size) => Math.min(Math.max(size, 1), MAX_SIZE);

/** Nodes in the subtree, this one included, as far as children say. */
export const size = (node) =>
  Math.min(node.eagerChildren().reduce((sum, link) => sum + link.size, 1), MAX_SIZE);

/** Levels below this node. */
export const height = (node) =>
  Math.min(node.eagerChildren().reduce((most, link) => Math.max(most, link.height + 1), 0), MAX_PATH);

/** A parent says where it is. */
export function onPath(node, now, link, info) {
  if (!link.isParent) return;
  const cycle = info.path.includes(node.id) || info.path.length >= MAX_PATH;
  // A path that does not end with the peer is a lie about the peer itself.
  const honest = info.path.length === 0 || info.path.at(-1) === link.peer;
  if (cycle || !honest) {
    if (cycle) node.stats.cycles++;
    node.dropLink(now, link, Detach.CYCLE);
    return;
  }
  const { epoch, reliable } = info;
  if (epoch !== 0 && link.info?.epoch === epoch && link.info.reliable !== reliable) {
    // A source's promise lasts as long as its life. Others may know better which one it is.
    node.stats.unexpected++;
    node.dropLink(now, link, Detach.LEAVING);
    return;
  }
  link.epoch = epoch;
  link.peerNext = info.next;
  const first = link.info === null;
  link.info = info;
  const isNews = (node.eager === null || node.eager === link) && learnKind(node, reliable, epoch);
  if (first) {
    settle(node, now, link);
  } else if (node.eager === link && !leaveOrphan(node, now, link)) {
    adoptEpoch(node, epoch);
    if (isNews) attach(node, link, Role.EAGER);
    followParent(node);
  }
}

/** The own path is the parent's, and one more. */
export function followParent(node) {
  if (!node.eager) return;
  const above = node.eager.peerPath;
  const path = above.length > 0 ? [...above, node.id] : [];
  if (samePath(node.path, path)) node.relativesDirty = true;
  setPath(node, path);
}

export function setPath(node, path) {
  if (samePath(node.path, path)) return;
  node.path = path;
  broadcastPath(node);
}

export function broadcastPath(node) {
  node.relativesDirty = false;
  for (const link of node.linksWhere((link) => link.isChild && link.ours)) sendPath(node, link);
}

export function sendPath(node, link) {
  const siblings = node.eagerChildren().map((child) => child.peer).filter((id) => id !== link.peer);
  node.push(link, pathFrame({
    reliable: node.reliable,
    epoch: node.epoch,
    next: node.next ?? 0n,
    path: node.path,
    siblings: siblings.slice(0, MAX_RELATIVES),
    uncles: node.eager?.info?.siblings ?? [],
  }));
}

export function onHeartbeat(node, now, link, beat) {
  link.onBeat(now, node.start, beat);
  if (link.isChild) {
    link.parents = beat.parents;
    link.size = believed(beat.size);
    link.height = Math.min(beat.height, MAX_PATH);
    return;
  }
  if (link.tick === 0 || countDistance(beat.tick, link.tick) > 0) [link.tick, link.tickAt] = [beat.tick, now];
  if (beat.epoch === node.epoch && distance(beat.next, node.next ?? 0n) > 0) link.ahead ??= { mark: beat.next, at: now };
  else link.ahead = null;
  if (node.eager === link) {
    if (node.tick === 0 || countDistance(link.tick, node.tick) > 0) [node.tick, node.tickAt] = [link.tick, now];
    node.groupSize = believed(beat.size);
    adoptEpoch(node, beat.epoch);
  }
}

/** The regular work, each heartbeat. */
export function onBeatDue(node, now) {
  if (node.isOwner) {
    node.tick = (node.tick + 1) >>> 0 || 1;
    node.tickAt = now;
    node.groupSize = size(node);
    askForTree(node, now);
  }
  if (node.relativesDirty) broadcastPath(node);
  const [down, up] = [beatDown(node), beatUp(node)];
  const upwards = node.beats % 4 === 0;
  for (const link of node.linksWhere((link) => link.ours && !link.closing)) {
    link.attaches = Math.max(link.attaches - 1, 0);
    if (link.isUp && !upwards) continue;
    if (!link.beat(now, node.start, link.isUp ? up : down)) node.stats.overflow++;
  }
  pingOld(node, now);
  judgeChildren(node, now);
  measureRate(node, now);
  resyncParent(node);
}

const beatDown = (node) =>
  ({ tick: node.tick, epoch: node.epoch, next: node.next ?? 0n, size: node.groupSize, height: 0, parents: 0 });

const beatUp = (node) =>
  ({ ...beatDown(node), size: size(node), height: height(node), parents: rootedParents(node) });

/** Parents hear at once whether there is another one: who has none is not sent away. */
export function tellParents(node, now) {
  const parents = rootedParents(node);
  if (parents === node.parentsTold) return;
  node.parentsTold = parents;
  for (const link of node.linksWhere((link) => link.ours && link.isParent)) link.beat(now, node.start, beatUp(node));
}

function pingOld(node, now) {
  // Beats come four times a second: one ping in about a second is enough.
  if (node.beats % 4 !== 0) return;
  for (const link of node.linksWhere((link) => !link.ours && !link.closing)) {
    if (now - link.lastHeard > OLD_PING) link.push(Frame.control(Type.PING, [0]));
  }
}

/** How long this neighbour may be silent. */
export function allowedSilence(node, link) {
  if (!link.ours) return OLD_PING * 1.5;
  // Heartbeats go up four times less often.
  return link.isChild ? node.silence() * 4 : node.silence();
}

function measureRate(node, now) {
  const elapsed = now - node.rate.since;
  if (elapsed >= 1000) node.rate = { bytes: 0, since: now, lately: (node.rate.bytes * 1000) / elapsed };
}

function askForTree(node, now) {
  if (now < node.nextTree) return;
  node.nextTree = now + node.config.treeInterval;
  for (const [id, entry] of node.tree) {
    if (now - entry.at >= node.config.treeInterval * 3) node.tree.delete(id);
  }
  note(node, now, ownReport(node));
  passOnGetTreeInfo(node, Frame.control(Type.GET_TREE_INFO));
}

function passOnGetTreeInfo(node, frame) {
  for (const link of node.eagerChildren()) {
    link.reports = 0;
    node.push(link, frame);
  }
}

/** The owner asks: the children are asked, and the answer goes up. At most once a second, whoever asks. */
export function onGetTreeInfo(node, now, link, frame) {
  const lately = node.askedTree !== null && now - node.askedTree < Math.min(1000, node.config.treeInterval);
  if (node.eager !== link || lately) {
    node.stats.unexpected++;
    return;
  }
  node.askedTree = now;
  passOnGetTreeInfo(node, frame);
  sendUp(node, ownReport(node), null);
}

function ownReport(node) {
  const lag = node.eager ? distance(node.eager.peerNext, node.next ?? 0n) : 0;
  return {
    id: node.id,
    upstreams: [...(node.eager ? [node.eager.peer] : []), ...node.standbys],
    downstreams: node.children.map((child) => child.id),
    rtt: Math.min(Math.round((node.eager?.rtt ?? 0) * 1000), 0xffff_ffff),
    rate: Math.min(Math.round(node.rate.lately), 0xffff_ffff),
    lag: Math.max(lag, 0),
  };
}

function sendUp(node, report, frame) {
  const link = node.eager;
  if (!link) return;
  const old = () => Frame.control(Type.NOTIFY_TREE_INFO, writeTreeInfo(report));
  node.push(link, link.ours ? frame ?? reportFrame(report) : old());
}

/** A child's report, or one from below it. */
export function onReport(node, now, link, report, frame) {
  link.reports++;
  if (link.reports > MAX_TREE) node.stats.overflow++;
  else if (node.isOwner) note(node, now, report);
  else sendUp(node, report, frame);
}

/** The same from an old node. */
export function onTreeInfo(node, now, link, frame) {
  if (!link.isChild) throw new Malformed('tree info from above');
  const report = { ...readTreeInfo(frame.body), rtt: 0, rate: 0, lag: 0 };
  onReport(node, now, link, report, reportFrame(report));
}

function note(node, now, report) {
  if (node.tree.size >= MAX_TREE && !node.tree.has(report.id)) {
    node.stats.overflow++;
    return;
  }
  node.tree.set(report.id, { report, at: now });
  if (!node.treeTold) {
    node.treeTold = true;
    node.tell({ type: 'treeUpdate' });
  }
}
