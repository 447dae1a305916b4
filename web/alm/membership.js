// Places: joins that go down the tree, asks and signals that are routed through it, children that come.

import { MAX_ATTACHES, MAX_HOPS, MAX_WAITING } from './config.js';
import { Detach, MAX_SIGNAL, Role, Routed, routeFrame } from './control.js';
import { hasData, startSending } from './forward.js';
import { joinFrame, readJoin } from './join.js';
import { bestStandby } from './repair.js';
import { MAX_SIZE, sendPath } from './tree.js';

/** Nodes whose root path is remembered, to answer their signals. */
const MAX_CORRESPONDENTS = 64;

/** A node whose children got too little takes so many no more for so long. */
const SLOW = 60_000;

/** A child that came less than so long ago is not sent away: it may be about to lose the standby that it came from. */
const MOVED = 3000;

/** Whether a child can give up its place to a larger one. */
const isMovable = (now, link) => link.parents > 1 && now - link.eagerSince >= MOVED;

/** What a node is looking for, and what it has promised. */
export class Search {
  /** Whether it wants to be in the tree at all. */
  active = false;
  /** `{role, until}` */
  ask = null;
  /** `{peer, role, until}` */
  connecting = null;
  asks = 0;
  joins = 0;
  /** Peer → `{role, until, displaces}`; with `displaces` the smallest child leaves when the new one has come. */
  places = new Map();
  /** Joins that wait for a child: `{until, join}`. */
  waiting = [];
  /** Peer → root path, the newest last. */
  correspondents = new Map();

  constructor(now) {
    this.nextAsk = now;
    this.nextJoin = now;
    this.nextImprovement = now;
  }

  stop() {
    this.active = false;
    this.ask = null;
    this.connecting = null;
    this.places.clear();
    this.waiting = [];
  }

  /** Forgets what took too long. An ask that was not answered counts as refused. */
  expire(now) {
    if (this.ask && now >= this.ask.until) this.ask = null;
    if (this.connecting && now >= this.connecting.until) this.connecting = null;
    for (const [peer, place] of this.places) if (now >= place.until) this.places.delete(peer);
    if (this.waiting.length > 0) this.waiting = this.waiting.filter(({ until }) => now < until);
  }
}

const isLinked = (node, peer) => node.linksWhere((link) => link.peer === peer && !link.closing).length > 0;

/** See `Node.sendSignal`. */
export function sendSignal(node, peer, data) {
  const to = node.search.correspondents.get(peer);
  if (!to || data.length > MAX_SIGNAL) return false;
  sendRouted(node, to, { kind: Routed.SIGNAL, signal: data });
  return true;
}

export function onJoinFrame(node, now, link, frame) {
  const join = readJoin(frame.body);
  if (link.isParent) onJoin(node, now, join);
  else node.stats.unexpected++;
}

/** Takes the joiner as a child if there is a place, and passes on the rest of what it wants. */
export function onJoin(node, now, join) {
  if (join.i === node.id || node.path.includes(join.i)) {
    node.stats.unplaced++;
    return;
  }
  let { n } = join;
  const known = isLinked(node, join.i) || node.search.places.has(join.i);
  if (!known && node.path.length > 0 && roomForEager(node)) {
    promise(node, now, join.i, Role.EAGER, false);
    node.tell({ type: 'acceptJoin', join });
    n--;
  }
  if (n > 0) relayJoin(node, now, { ...join, n });
}

/** To children chosen at random, so that the sum of what is wanted stays; the first of them is the one with the fewest
 *  nodes below it. */
function relayJoin(node, now, join) {
  const children = freshChildren(node, now).filter((link) => link.peer !== join.i);
  if (children.length === 0) {
    const { places, waiting } = node.search;
    if (places.size > 0 && waiting.length < MAX_WAITING) waiting.push({ until: now + node.config.askTimeout, join });
    else node.stats.unplaced++;
    return;
  }
  // The smallest first, the others in any order.
  shuffle(node, children);
  const smallest = children.reduce((best, link, at) => (link.size < children[best].size ? at : best), 0);
  [children[0], children[smallest]] = [children[smallest], children[0]];
  const parts = Math.min(join.n, children.length);
  const [each, more] = [Math.trunc(join.n / parts), join.n % parts];
  children.slice(0, parts).forEach((link, at) => {
    // Until its next heartbeat tells: the next join goes elsewhere.
    link.size++;
    node.push(link, joinFrame({ ...join, n: each + (at < more ? 1 : 0) }, link.ours));
  });
}

function shuffle(node, items) {
  for (let i = items.length - 1; i > 0; i--) {
    const other = node.choose(i + 1);
    [items[i], items[other]] = [items[other], items[i]];
  }
}

function promise(node, now, peer, role, displaces) {
  node.search.places.set(peer, { role, until: now + node.config.askTimeout, displaces });
  if (!displaces && taken(node) > node.config.maxDownStreams) dropWarmChild(node, now);
}

/** Children and promised places, those not counted that take the place of another. */
function taken(node) {
  const places = [...node.search.places.values()].filter((place) => !place.displaces);
  return node.linksWhere((link) => link.isChild).length + places.length;
}

/** Children that were heard lately, if any were: who may be dead is not asked to pass something on. */
function freshChildren(node, now) {
  const children = node.eagerChildren();
  const fresh = children.filter((link) => !link.ours || now - link.lastHeard < node.silence() * 2);
  return fresh.length > 0 ? fresh : children;
}

/** Children that may be: fewer for a while if those that were there got too little. */
const degree = (node) => node.slow?.degree ?? node.config.maxDownStreams;

/** A child has left because it got too little. If none of the others gets what it could take either, the way out of here
 *  is too narrow for so many. */
export function noteSlowness(node, now, gone) {
  const rest = node.eagerChildren().filter((link) => link !== gone);
  if (rest.length > 0 && rest.every((link) => hasData(node, link))) node.slow = { degree: rest.length, until: now + SLOW };
}

const warmChildren = (node) => node.linksWhere((link) => link.isWarmChild);

/** A standby gives way to who wants data, and so does the place that one was promised. */
function roomForEager(node) {
  const warmPlaces = [...node.search.places.values()].filter((place) => place.role === Role.WARM).length;
  return taken(node) - warmChildren(node).length - warmPlaces < degree(node);
}

/** Makes room for a child that wants data. A promise is broken first: who has a standby keeps it. */
function dropWarmChild(node, now) {
  for (const [peer, place] of node.search.places) {
    if (place.role === Role.WARM) {
      node.search.places.delete(peer);
      return;
    }
  }
  const link = warmChildren(node).at(-1);
  if (link) node.dropLink(now, link, Detach.PLACE_NEEDED);
}

/** A child's link is up. */
export function childUp(node, now, link) {
  const place = node.search.places.get(link.peer);
  node.search.places.delete(link.peer);
  link.displaces = place?.displaces ?? false;
  if (!link.ours) {
    link.role = Role.EAGER;
    link.cursor = node.next;
  }
  const { maxDownStreams } = node.config;
  if (taken(node) > maxDownStreams && !link.displaces) dropWarmChild(node, now);
  if (taken(node) > maxDownStreams + (link.displaces ? 1 : 0)) {
    node.dropLink(now, link, Detach.FULL);
    return;
  }
  node.relativesDirty = true;
  if (link.ours) sendPath(node, link);
  else flushWaiting(node, now);
}

/** A child says what it wants. */
export function onAttach(node, now, link, attach) {
  if (link.attaches >= MAX_ATTACHES) {
    // Each may ask for the whole store.
    node.stats.unexpected++;
    return;
  }
  link.attaches++;
  link.size = Math.max(attach.size, 1);
  if (attach.role === Role.EAGER && !link.isEagerChild) link.eagerSince = now;
  const { displaces } = link;
  link.displaces = false;
  startSending(node, link, attach);
  if (displaces && taken(node) > node.config.maxDownStreams) {
    const others = node.eagerChildren().filter((other) => other !== link && isMovable(now, other));
    others.sort((a, b) => a.size - b.size);
    if (warmChildren(node).length > 0) dropWarmChild(node, now);
    else if (others.length > 0 && attach.role === Role.EAGER) node.dropLink(now, others[0], Detach.PLACE_NEEDED);
    else node.dropLink(now, link, Detach.FULL);
  }
  node.relativesDirty = true;
  flushWaiting(node, now);
}

/** Joins that came before any child was there to take them. */
function flushWaiting(node, now) {
  const { waiting } = node.search;
  node.search.waiting = [];
  for (const { join } of waiting) onJoin(node, now, join);
}

/** Sends something along the tree to the end of a root path. */
export function sendRouted(node, to, body) {
  const from = node.path.length > 0 ? node.path : [node.id];
  forward(node, { ...body, hops: MAX_HOPS, to, from });
}

export function onRoute(node, now, route) {
  if (route.to.at(-1) === node.id) onRouted(node, now, route);
  else if (route.hops > 0) forward(node, { ...route, hops: route.hops - 1 });
  else node.stats.unplaced++;
}

/** To the neighbour that is furthest along the receiver's root path; upwards if there is none on it. */
function forward(node, route) {
  const neighbours = new Map();
  for (const link of node.linksWhere((link) => link.ours && !link.closing)) neighbours.set(link.peer, link);
  // Behind ourselves on the path, if we are on it: then it goes down, or nowhere.
  const own = route.to.indexOf(node.id);
  const next = route.to.slice(own + 1).findLast((id) => neighbours.has(id));
  let link = next === undefined ? null : neighbours.get(next);
  if (!link && own < 0) link = node.eager ?? bestStandby(node);
  if (link?.ours) node.push(link, routeFrame(route));
  else node.stats.unplaced++;
}

function onRouted(node, now, route) {
  const peer = route.from.at(-1);
  if (peer === node.id) return;
  const { search } = node;
  switch (route.kind) {
    case Routed.ASK:
      onAsk(node, now, peer, route);
      break;
    case Routed.ACCEPT:
      if (search.ask?.role === route.role) {
        search.ask = null;
        search.connecting = { peer, role: route.role, until: now + node.config.askTimeout / 2 };
        remember(node, peer, route.from);
        node.tell({ type: 'connect', peer, role: route.role });
      }
      break;
    case Routed.REFUSE:
      if (search.ask) {
        search.ask = null;
        backOff(node, now);
      }
      break;
    case Routed.SIGNAL:
      remember(node, peer, route.from);
      node.tell({ type: 'signal', from: peer, data: route.signal });
      break;
    default:
  }
}

function remember(node, peer, path) {
  const { correspondents } = node.search;
  correspondents.delete(peer);
  if (correspondents.size >= MAX_CORRESPONDENTS) correspondents.delete(correspondents.keys().next().value);
  correspondents.set(peer, path);
}

/** Somebody asks for a place: here, or with a child, or not at all. */
function onAsk(node, now, peer, { from, hops, ask }) {
  const avoided = ask.role === Role.WARM && ask.avoid !== peer && node.path.includes(ask.avoid);
  const possible = node.path.length > 0 && !node.path.includes(peer) && !avoided && node.path.length < ask.limit;
  if (!possible) {
    refuse(node, from);
    return;
  }
  const room = ask.role === Role.EAGER ? roomForEager(node) : taken(node) < degree(node);
  // A child with less than half of the asker's nodes below it moves down, into their place.
  const displaces = ask.role === Role.EAGER && !room
    && [...node.search.places.values()].every((place) => place.role === Role.WARM)
    && node.eagerChildren().some((link) => isMovable(now, link) && link.size * 2 < ask.size);
  if (!isLinked(node, peer) && (room || displaces)) {
    promise(node, now, peer, ask.role, displaces);
    remember(node, peer, from);
    node.tell({ type: 'expect', peer });
    sendRouted(node, from, { kind: Routed.ACCEPT, role: ask.role });
    return;
  }
  const children = freshChildren(node, now).filter((link) => link.ours && link.peer !== peer && link.peer !== ask.avoid);
  children.sort((a, b) => a.size - b.size || a.peer - b.peer);
  // Now and then the second one, if the first has no place that is high enough.
  const second = Math.min(node.random() < 0.2 ? 1 : 0, children.length - 1);
  const child = children[ask.role === Role.EAGER ? second : node.choose(children.length)];
  if (!child || hops === 0) {
    refuse(node, from);
    return;
  }
  // Until its next heartbeat tells: the next one goes elsewhere.
  if (ask.role === Role.EAGER) child.size = Math.min(child.size + Math.max(ask.size, 1), MAX_SIZE);
  forward(node, { hops: hops - 1, to: [...node.path, child.peer], from, kind: Routed.ASK, ask });
}

function refuse(node, to) {
  node.stats.unplaced++;
  sendRouted(node, to, { kind: Routed.REFUSE });
}

export function backOff(node, now) {
  const { search } = node;
  const pause = node.config.heartbeat * 2 ** Math.min(search.asks, 5);
  search.asks++;
  search.nextAsk = now + node.jitter(pause);
}

/** How long until the server may be asked again. */
export function nextJoinPause(node) {
  // Who had a place has a subtree that waits with it.
  const pause = node.config.joinRetry * 2 ** Math.min(node.search.joins, node.orphanSince === null ? 5 : 3);
  node.search.joins++;
  return node.jitter(pause);
}
