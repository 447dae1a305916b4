// One member of a group as a machine without I/O: it knows node ids, links and bytes; time (milliseconds that never go
// back) and randomness come in as arguments. It is the twin of the crate's `sinnet_alm::overlay`, and has its limits.
//
// Its owner makes links (data channels) when an event asks for them, tells `linkUp` and `linkDown`, gives frames to
// `handleInput` and takes them from `pollTransmit`, link by link, as far as the channel has room.
//
//   events              what the owner is to do
//   joinByServer        {wanted, path}   send a join to the server
//   acceptJoin          {join}           answer this join with join_res: a place is kept
//   connect             {peer, role}     make an offer to this node, with `sendSignal`
//   expect              {peer}           an offer of this node is to be answered: a place is kept
//   signal              {from, data}     what another owner gave to `sendSignal`
//   closeLink           {link}           close it; take what `pollTransmit` still has for it first
//   parentChanged       {parent}         who delivers now, or null
//   writable            {}               `publish` takes messages again
//   treeUpdate          {}               the owner's view has changed: `tree`
//
// Messages wait apart from these, for `pollMessage`: {sequence, data}, and {missed: {from, to}} where a reliable group
// could not keep its promise.

import { DEFAULTS, MAX_EVENTS } from './config.js';
import { Detach, detachFrame, readControl } from './control.js';
import { Frame, Type } from './frame.js';
import { Link } from './link.js';
import { Malformed } from './reader.js';
import { Store } from './store.js';
import * as forward from './forward.js';
import * as membership from './membership.js';
import * as repair from './repair.js';
import * as tree from './tree.js';

/** After a pause of this machine (a tab that slept), who is silent gets another chance: its words may wait in a queue. */
const PAUSE = 3000;

/** What happened so far. */
const newStats = () => ({
  received: 0,
  duplicates: 0,
  skipped: 0,
  missed: 0,
  unexpected: 0,
  malformed: 0,
  overflow: 0,
  unplaced: 0,
  cycles: 0,
  parentsLost: 0,
  promotions: 0,
  controlSent: 0,
  dataSent: 0,
});

export class Node {
  /** `random` gives numbers from 0 up to 1: for jitter, choices and the owner's epoch. */
  constructor(config, id, isOwner, now, random) {
    this.config = { ...DEFAULTS, ...config };
    this.id = id;
    this.isOwner = isOwner;
    this.random = random;
    this.reliable = this.config.reliable;
    this.start = now;
    this.links = new Map();
    /** The link of the upstream that delivers. */
    this.eager = null;
    /** Root path, this node last; empty if it hangs in no tree. */
    this.path = isOwner ? [id] : [];
    this.tick = 0;
    this.tickAt = now;
    this.orphanSince = null;
    /** The parent that died, if it was not the owner; who is below it is an orphan, too, until it says otherwise. */
    this.lost = null;
    /** What the parents were told last of how many they are. */
    this.parentsTold = 0;
    this.groupSize = 1;
    this.search = new membership.Search(now);
    /** `{degree, until}`: children that may be, as those that were there got too little. */
    this.slow = null;

    this.epoch = isOwner ? 1 + Math.floor(random() * 0xffff_ffff) : 0;
    /** The next message; `null` before the first. From 1, as old nodes deliver 0 as often as it comes. */
    this.next = isOwner ? 1n : null;
    this.store = new Store();
    this.gap = null;
    this.resync = false;
    this.full = false;
    this.lastData = now;
    this.parentSince = now;
    this.untaken = 0;

    this.nextBeat = now + this.config.heartbeat * random();
    this.beats = Math.floor(random() * 4);
    this.lastTimeout = now;
    this.tree = new Map();
    this.nextTree = now + this.config.treeInterval;
    this.relativesDirty = false;
    this.treeTold = false;
    this.askedTree = null;
    this.rate = { bytes: 0, since: now, lately: 0 };
    this.events = [];
    this.messages = [];
    this.stats = newStats();
  }

  /** The upstream that delivers, or null. */
  get parent() {
    return this.eager?.peer ?? null;
  }

  /** The upstreams that stand by. */
  get standbys() {
    return this.linksWhere((link) => link.isParent && link !== this.eager).map((link) => link.peer);
  }

  /** The children: `{id, role}`, the role null for one that has not said it yet. */
  get children() {
    return this.linksWhere((link) => link.isChild).map((link) => ({ id: link.peer, role: link.role }));
  }

  /** Looks for upstreams from now on, first by the server. */
  join(now) {
    this.search.active = !this.isOwner;
    repair.maintain(this, now);
  }

  /** The server forwarded a join to this node, the owner of the group. */
  handleJoin(now, join) {
    membership.onJoin(this, now, join);
  }

  /** A data channel is up. `ours` if the peer is known to speak our frames. */
  linkUp(now, id, peer, isUp, ours) {
    if (peer === this.id || this.links.has(id)) {
      this.events.push({ type: 'closeLink', link: id });
      return;
    }
    // A second link to the same node: the newer one is alive for sure.
    const twin = this.linksWhere((link) => link.peer === peer && !link.closing)[0];
    if (twin) this.dropLink(now, twin, null);
    const link = new Link(id, now, peer, isUp, ours);
    this.links.set(id, link);
    if (isUp) repair.parentUp(this, now, link);
    else membership.childUp(this, now, link);
    repair.maintain(this, now);
  }

  /** A link is down, for whatever reason. */
  linkDown(now, id) {
    const link = this.links.get(id);
    if (!link) return;
    if (!link.closing) this.#forget(now, link);
    this.links.delete(id);
    repair.maintain(this, now);
  }

  /** A message of the channel came. What makes no sense is counted. */
  handleInput(now, id, message) {
    const link = this.links.get(id);
    if (!link || link.closing) return;
    link.lastHeard = now;
    try {
      this.#onFrame(now, link, Frame.parse(message));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.stats.malformed++;
    }
  }

  #onFrame(now, link, frame) {
    switch (frame.type) {
      case Type.DATA:
      case Type.TEXT:
        return forward.onData(this, now, link, frame);
      case Type.PING:
        if (frame.body[0] === 0) this.push(link, Frame.control(Type.PING, [1]));
        return;
      case Type.JOIN:
        return membership.onJoinFrame(this, now, link, frame);
      case Type.GET_TREE_INFO:
        return tree.onGetTreeInfo(this, now, link, frame);
      case Type.NOTIFY_TREE_INFO:
        return tree.onTreeInfo(this, now, link, frame);
      default: {
        const control = readControl(frame);
        if (!control) throw new Malformed('an unknown type');
        this.#onControl(now, link, control, frame);
      }
    }
  }

  #onControl(now, link, control, frame) {
    // Who sends one of these is one of ours.
    link.ours = true;
    const down = !link.isUp;
    if (frame.type === Type.ATTACH && down) membership.onAttach(this, now, link, control);
    else if (frame.type === Type.CREDIT && down) link.credit = Math.max(link.credit, control.credit);
    else if (frame.type === Type.PATH && !down) tree.onPath(this, now, link, control);
    else if (frame.type === Type.GAP && !down) forward.onGap(this, now, link, control);
    else if (frame.type === Type.HEARTBEAT) tree.onHeartbeat(this, now, link, control);
    else if (frame.type === Type.ROUTE) membership.onRoute(this, now, control);
    else if (frame.type === Type.REPORT && down) tree.onReport(this, now, link, control, frame);
    else if (frame.type === Type.DETACH) this.#onDetach(now, link, control.reason);
    else this.stats.malformed++;
    repair.maintain(this, now);
  }

  #onDetach(now, link, reason) {
    if (link.isChild && reason === Detach.SLOW) membership.noteSlowness(this, now, link);
    const sentAway = this.eager === link && reason !== Detach.LEAVING;
    this.dropLink(now, link, null);
    // It lives on, and so do those below it.
    if (sentAway) this.lost = null;
  }

  /** Time has passed: heartbeats, silence, retries. Harmless at any time. */
  handleTimeout(now) {
    if (now - this.lastTimeout > PAUSE) {
      for (const link of this.links.values()) link.lastHeard = now;
    }
    this.lastTimeout = now;
    if (now >= this.nextBeat) {
      // After a pause of the machine, one beat and not all that were missed.
      this.nextBeat = now + this.config.heartbeat;
      this.beats++;
      tree.onBeatDue(this, now);
    }
    if (this.slow && now >= this.slow.until) this.slow = null;
    repair.checkSilence(this, now);
    repair.maintain(this, now);
  }

  /** When `handleTimeout` wants to be called. */
  pollTimeout() {
    const silent = this.eager?.ours ? this.eager.lastHeard + this.silence() : Infinity;
    return Math.min(silent, this.nextBeat);
  }

  /** Links that have something to send. */
  pollLinks() {
    return this.linksWhere((link) => link.hasControl || forward.hasData(this, link)).map((link) => link.id);
  }

  /** The next frame's bytes for a link that can take one, or null: control first. */
  pollTransmit(id) {
    const link = this.links.get(id);
    if (!link) return null;
    const control = link.pop();
    const frame = control ?? forward.nextData(this, link);
    if (!frame) return null;
    if (frame.type === Type.DATA || frame.type === Type.TEXT) {
      this.stats.dataSent += frame.length;
      forward.grant(this);
    } else {
      this.stats.controlSent += frame.length;
    }
    return frame.raw;
  }

  /** What the owner of the machine is to know or to do, or null. */
  pollEvent() {
    const event = this.events.shift() ?? null;
    if (event?.type === 'treeUpdate') this.treeTold = false;
    return event;
  }

  /** The next message, or null. Messages that are not taken hold back a reliable group's sender. */
  pollMessage() {
    return forward.takeMessage(this);
  }

  /** Sends a message to all members: a string, or a Uint8Array. Returns its number, or why not: 'not owner', 'full'
   *  (until the event `writable`), 'too long'. */
  publish(data) {
    return forward.publish(this, data);
  }

  /** Sends bytes to a node that is to become a neighbour, through the tree. They may get lost. Returns whether the way
   *  to it is known. */
  sendSignal(peer, data) {
    return membership.sendSignal(this, peer, data);
  }

  /** Leaves: neighbours are told, so that they heal at once. */
  leave(now) {
    this.search.stop();
    for (const link of this.linksWhere((link) => !link.closing)) this.dropLink(now, link, Detach.LEAVING);
  }

  /** The same member under another number and without links: what it has of the group goes on. */
  renumbered(now, id) {
    const node = new Node(this.config, id, this.isOwner, now, this.random);
    const { reliable, epoch, next, store, messages, untaken, stats } = this;
    Object.assign(node, { reliable, epoch, next, store, messages, untaken, stats });
    node.search.active = !this.isOwner;
    // A join is under way.
    node.search.nextJoin = now + membership.nextJoinPause(node);
    return node;
  }

  linksWhere(test) {
    return [...this.links.values()].filter(test);
  }

  eagerChildren() {
    return this.linksWhere((link) => link.isEagerChild);
  }

  /** Gives up a link: says why, if the peer does not know, and asks for it to be closed. */
  dropLink(now, link, reason) {
    if (link.closing) return;
    if (reason !== null && link.ours) link.push(detachFrame(reason));
    link.closing = true;
    this.events.push({ type: 'closeLink', link: link.id });
    this.#forget(now, link);
  }

  /** What a link's end changes, once. */
  #forget(now, link) {
    link.closing = true;
    if (this.eager === link) {
      this.eager = null;
      this.orphanSince = now;
      this.lost = link.peer === this.path[0] ? null : link.peer;
      this.stats.parentsLost++;
      this.tell({ type: 'parentChanged', parent: null });
    }
    if (!link.isUp) {
      this.relativesDirty = true;
      forward.grant(this);
    }
  }

  push(link, frame) {
    if (!link.push(frame)) this.stats.overflow++;
  }

  /** Tells something that may be lost when nobody listens. */
  tell(event) {
    if (this.events.length < MAX_EVENTS) this.events.push(event);
    else this.stats.overflow++;
  }

  /** So long nothing is heard of a parent before it is dead. */
  silence() {
    return this.config.heartbeat * this.config.missedHeartbeats;
  }

  /** A time of up to half more or less. */
  jitter(ms) {
    return ms * (0.5 + this.random());
  }

  /** A whole number below `end`. */
  choose(end) {
    return Math.floor(this.random() * end);
  }
}
