// Parents: which one delivers, when one is dead, who takes over, and where new ones are looked for.

import { Detach, MAX_PATH, Role, Routed } from './control.js';
import { adoptEpoch, attach, learnKind } from './forward.js';
import { backOff, nextJoinPause, sendRouted } from './membership.js';
import { countDistance } from './sequence.js';
import { allowedSilence, followParent, height, setPath, size, tellParents } from './tree.js';

/** An orphan that knows an upstream, which hangs in no tree itself, keeps its root path for so long: if that one finds a
 *  place soon, who is below need not move. */
const GRACE = 2000;

/** A parent that has messages, says so, and does not send them for so long while a standby has them, too. */
const OWING = 1000;

/** A parent has so long to bring what was missed before it, until its speed is compared with a standby's. */
const SETTLED = 10_000;

/** How often a node that hangs too deep looks for a better place. */
const IMPROVE = 1000;

/** Levels below the best possible depth that are not worth a move. */
const SLACK = 1;

/** A parent's link is up. */
export function parentUp(node, now, link) {
  if (node.isOwner) {
    // The root has no parent; who thinks so is mistaken.
    node.dropLink(now, link, Detach.CYCLE);
    return;
  }
  // An original node sends all it has at once, and says nothing about itself. If it is one of ours after all, its path
  // frame comes first.
  if (!link.ours && !node.eager) takeParent(node, now, link);
  const { connecting } = node.search;
  if (connecting?.role !== Role.EAGER && connecting?.peer === link.peer) node.search.connecting = null;
}

/** The first word of a parent of ours: now it is known whether it is of use. */
export function settle(node, now, link) {
  const depth = link.peerPath.length;
  const { connecting } = node.search;
  const moved = connecting?.peer === link.peer;
  if (moved) node.search.connecting = null;
  const wanted = moved && connecting.role === Role.EAGER;
  const better = !node.eager || (wanted && depth < node.eager.peerPath.length);
  if (depth > 0 && (better || node.eager === link)) {
    promote(node, now, link);
    return;
  }
  if (node.eager === link) {
    // It was taken for an original node, and hangs in no tree.
    node.eager = null;
    node.orphanSince = now;
  }
  attach(node, link, Role.WARM);
}

/** This parent delivers from now on, beginning with what is missing; the one before it stands by. */
export function promote(node, now, link) {
  const { epoch } = link;
  if (link.info) learnKind(node, link.info.reliable, link.info.epoch);
  const wasWarm = link.role === Role.WARM;
  if (node.eager && node.eager !== link) attach(node, node.eager, Role.WARM);
  if (node.orphanSince !== null && wasWarm) node.stats.promotions++;
  takeParent(node, now, link);
  adoptEpoch(node, epoch);
  attach(node, link, Role.EAGER);
  followParent(node);
}

/** The parent says that it hangs in no tree and knows nobody. Who has a standby elsewhere turns to it. */
export function leaveOrphan(node, now, link) {
  if (link.peerPath.length > 0) return false;
  node.lost = link.peer;
  const standby = bestStandby(node);
  node.lost = null;
  if (standby) promote(node, now, standby);
  return standby !== null;
}

function takeParent(node, now, link) {
  link.ahead = null;
  // A standby's ticks count from now on; give it the time to show the next one.
  link.tickAt = now;
  if (countDistance(link.tick, node.tick) > 0) node.tick = link.tick;
  node.tickAt = now;
  node.eager = link;
  node.parentSince = now;
  node.orphanSince = null;
  node.lost = null;
  node.search.joins = 0;
  node.search.asks = 0;
  node.resync = false;
  node.tell({ type: 'parentChanged', parent: link.peer });
}

/** A standby that can deliver at once: in the tree, neither below this node nor below a parent that died, as high up and
 *  near as possible. */
export function bestStandby(node) {
  const usable = node.linksWhere((link) => link.isParent && link !== node.eager && link.ours
    && link.peerPath.length > 0 && !link.peerPath.includes(node.id) && !link.peerPath.includes(node.lost));
  // One that no round trip is known of comes first, as in Rust.
  usable.sort((a, b) => a.peerPath.length - b.peerPath.length || (a.rtt ?? -1) - (b.rtt ?? -1) || a.id - b.id);
  return usable[0] ?? null;
}

/** Who is silent is dead. Who is heard but brings nothing is as good as dead, if somebody else does. */
export function checkSilence(node, now) {
  // The sum that `pollTimeout` makes: a difference is rounded otherwise.
  const isDead = (link) => !link.closing && now >= link.lastHeard + allowedSilence(node, link);
  for (const link of node.linksWhere(isDead)) node.dropLink(now, link, Detach.LEAVING);
  const [eager, warm] = [node.eager, bestStandby(node)];
  if (!eager || !warm) return;
  const { stall } = node.config;
  const stalled = eager.ours && now - eager.tickAt >= stall && now - warm.tickAt < stall;
  // What the standby had so long ago should be here, if not we are who holds the parent back.
  const limited = eager.granted <= eager.received;
  const behind = warm.ahead ? now - warm.ahead.at : 0;
  const nothing = behind >= OWING && now - node.lastData >= OWING && now - node.parentSince >= OWING;
  const slow = behind >= OWING * 3 && now - node.parentSince >= SETTLED;
  const owing = eager.ours && !limited && (nothing || slow);
  if (stalled || owing) {
    node.stats.parentsLost++;
    promote(node, now, warm);
    node.dropLink(now, eager, owing ? Detach.SLOW : Detach.LEAVING);
  }
}

/** What the parent should have sent and has not. */
export function resyncParent(node) {
  if (node.resync && node.eager) attach(node, node.eager, Role.EAGER);
  node.resync = false;
}

/** Keeps the number and kind of parents right. Does nothing if all is well. */
export function maintain(node, now) {
  const { search, config } = node;
  const asked = search.ask !== null;
  search.expire(now);
  if (asked && search.ask === null) backOff(node, now);
  if (node.isOwner || !search.active) return;
  dropUselessParents(node, now);
  if (!node.eager) {
    const standby = bestStandby(node);
    if (standby) promote(node, now, standby);
    else if (!hasParents(node) || (node.orphanSince !== null && now - node.orphanSince >= GRACE)) setPath(node, []);
  }
  tellParents(node, now);
  const parents = node.linksWhere((link) => link.isParent).length;
  lookForServer(node, now, parents);
  if (!node.eager || search.ask || search.connecting) return;
  if (now >= search.nextImprovement) {
    search.nextImprovement = now + node.jitter(IMPROVE);
    if (tooDeep(node)) {
      askForBetter(node, now);
      return;
    }
  }
  if (parentsApart(node) < config.maxUpStreams && now >= search.nextAsk) askForStandby(node, now);
}

const hasParents = (node) => node.linksWhere((link) => link.isParent).length > 0;

/** Whether the parent, unless it is the owner, is on a standby's path: one death takes both. */
const shares = (node, { peerPath }) => node.parent !== null && node.parent !== node.path[0] && peerPath.includes(node.parent);

/** A standby is of no use below this node; below the parent that it is to replace it is little use, but better than none
 *  until there is another; and two are enough. */
function dropUselessParents(node, now) {
  const standbys = () => node.linksWhere((link) => link.isParent && link !== node.eager);
  for (const link of standbys().filter(({ peerPath }) => peerPath.includes(node.id))) node.dropLink(now, link, Detach.CYCLE);
  const parents = node.linksWhere((link) => link.isParent).length;
  if (parents <= node.config.maxUpStreams) return;
  // One that has not said where it is may be the one that is waited for.
  const known = standbys().filter((link) => link.info || !link.ours);
  const badness = (link) => [link.peerPath.length === 0, shares(node, link), link.peerPath.length, link.id];
  known.sort((a, b) => byNumbers(badness(b), badness(a)));
  if (known.length > 0) node.dropLink(now, known[0], Detach.LEAVING);
}

/** Lists of numbers, the first that differ decide. */
const byNumbers = (a, b) => a.reduce((order, n, i) => order || n - b[i], 0);

/** Upstreams that one death does not take together: the eager one, and those that do not hang below it. One that has not
 *  said where it is counts. */
function parentsApart(node) {
  const apart = (link) => link.info === null || (link.peerPath.length > 0 && !shares(node, link));
  return node.linksWhere((link) => link.isParent && (link === node.eager || apart(link))).length;
}

/** Upstreams that hang in the tree: with more than one, a node can be sent away from its place. */
export const rootedParents = (node) =>
  Math.min(node.linksWhere((link) => link.isParent && link.peerPath.length > 0).length, 255);

/** The server is the last resort: for newcomers, orphans without a standby, and who is cut off with all its parents. */
function lookForServer(node, now, parents) {
  const { search, config } = node;
  const orphan = !node.eager && (node.orphanSince === null || now - node.orphanSince >= 1000);
  const stale = !(node.eager && !node.eager.ours) && now - node.tickAt >= config.stale;
  if (!(parents === 0 || orphan || stale) || now < search.nextJoin) return;
  search.nextJoin = now + nextJoinPause(node);
  const wanted = Math.max(config.maxUpStreams - parents, 1);
  node.tell({ type: 'joinByServer', wanted, path: node.path.length > 0 ? node.path : [node.id] });
}

/** Deeper than a full tree of this many nodes needs, by more than it is worth a move. */
function tooDeep(node) {
  const degree = Math.max(node.config.maxDownStreams, 2);
  let [depth, level, nodes] = [0, 1, 1];
  while (nodes < node.groupSize) {
    level *= degree;
    nodes += level;
    depth++;
  }
  // The path has one node more than the depth.
  return node.path.length + height(node) > depth + 1 + SLACK;
}

function askForBetter(node, now) {
  if (node.path.length <= 2) return;
  // Strictly above the parent of today.
  const limit = Math.min(node.path.length - 1, MAX_PATH);
  ask(node, now, [node.path[0]], { role: Role.EAGER, limit, size: size(node), avoid: node.id });
}

/** Among the relatives: the grandparent, and who hangs below it beside the parent. What they can't give they pass down.
 *  The parent itself is kept off the standby's root path, so that one death doesn't take both. */
function askForStandby(node, now) {
  const parent = node.path.length - 2;
  if (parent < 0) {
    backOff(node, now);
    return;
  }
  const rootIsParent = parent === 0;
  const above = node.path.slice(0, rootIsParent ? 1 : parent);
  const avoid = rootIsParent ? node.id : node.path[parent];
  const { siblings = [], uncles = [] } = node.eager?.info ?? {};
  const relatives = (rootIsParent ? siblings : uncles).filter((id) => id !== node.id && id !== avoid);
  let to = above;
  // After a few refusals, anywhere.
  if (node.search.asks % 4 === 3) to = above.slice(0, 1);
  else if (relatives.length > 0) to = [...above, relatives[node.choose(relatives.length)]];
  ask(node, now, to, { role: Role.WARM, limit: MAX_PATH, size: size(node), avoid });
}

function ask(node, now, to, question) {
  node.search.ask = { role: question.role, until: now + node.config.askTimeout / 4 };
  sendRouted(node, to, { kind: Routed.ASK, ask: question });
}
