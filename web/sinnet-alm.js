// Application-layer multicast over data channels: one member of a group, in a browser. The names are those of WebRTC_ALM
// (2013); docs/alm.md says what is on the wire, sinnet-alm.d.ts what is here.
//
//   import { WebRTCALM } from './sinnet-alm.js';
//
//   const alm = WebRTCALM.create('reliable', 'wss://example.org/alm');
//   alm.addEventListener('message', ({ data }) => console.log(data));
//   await alm.join('a group');           // or: await alm.create('a group', 'what it is for'); await alm.multicast('hello');

import { Member } from './alm/member.js';
import { socketUrl } from './alm/signaling.js';

/** With callbacks as the original had them, or as a promise. */
function settle(promise, success, failure) {
  if (typeof success !== 'function' && typeof failure !== 'function') return promise;
  promise.then(
    (value) => success?.(value),
    (error) => (failure ?? reportError)(error),
  );
  return undefined;
}

export class WebRTCALM extends EventTarget {
  /** Children that this node takes at most. */
  maxDownStreams = 4;
  /** Upstreams that it looks for: one delivers, the others stand by. */
  maxUpStreams = 2;
  /** How often the owner asks all members for their links, in milliseconds. */
  treeUpdateInterval = 2000;
  /** Called as the original did: with the message, the tree, the change. */
  onmessage = null;
  ontreeupdate = null;
  onstatechange = null;

  #reliable;
  #url;
  #rtc;
  #node;
  #member = null;
  #leave = () => this.leave();

  /** `type` is 'live' for a group that skips rather than waits; anything else is reliable. Only the owner's counts. */
  static create(type, ws_server_url, options) {
    return new WebRTCALM(type, ws_server_url, options);
  }

  constructor(type, ws_server_url, { iceServers = [], ...node } = {}) {
    super();
    this.#reliable = type !== 'live';
    this.#url = socketUrl(ws_server_url);
    this.#rtc = { iceServers };
    this.#node = node;
  }

  /** Makes a group, and becomes its owner: the one who multicasts. */
  create(group_name, group_description, success_callback, failure_callback) {
    return settle(this.#enter((member) => member.create(group_name, group_description ?? '')), success_callback, failure_callback);
  }

  /** Joins a group by its name (or number). Done when the server has answered; `statechange` tells of the connections. */
  join(group_name, success_callback, failure_callback) {
    return settle(this.#enter((member) => member.join(group_name)), success_callback, failure_callback);
  }

  /** Leaves the group. Another can be joined or made then. */
  leave() {
    this.#member?.leave();
    this.#member = null;
  }

  /** Owner: sends a string, an ArrayBuffer or a view of one to all members. The promise is kept when the group has taken it. */
  multicast(msg) {
    if (!this.#member) return Promise.reject(new Error('not in a group'));
    if (typeof msg === 'string') return this.#member.multicast(msg);
    if (msg instanceof ArrayBuffer) return this.#member.multicast(new Uint8Array(msg));
    if (ArrayBuffer.isView(msg)) return this.#member.multicast(new Uint8Array(msg.buffer, msg.byteOffset, msg.byteLength));
    return Promise.reject(new TypeError('a message is a string, an ArrayBuffer or a view of one'));
  }

  /** The original had to be called once a second; here timers run by themselves, and this does nothing. */
  timer() {}

  /** The own number in the group, 0 for the owner; null outside. */
  get id() {
    return this.#member?.id ?? null;
  }

  get groupId() {
    return this.#member?.group ?? null;
  }

  get groupName() {
    return this.#member?.name ?? null;
  }

  get groupDescription() {
    return this.#member?.description ?? null;
  }

  get isGroupOwner() {
    return this.#member?.isOwner ?? false;
  }

  /** The nodes from the owner down to this one; empty while it hangs in no tree. */
  get path() {
    return this.#member?.path ?? [];
  }

  /** Owner: what `treeupdate` told last, as of now. */
  get tree() {
    return this.#member?.tree() ?? {};
  }

  /** Counters. */
  get stats() {
    return this.#member?.stats ?? {};
  }

  /** The connections that are up, with their `RTCPeerConnection`s. */
  getConnectionInfo() {
    return this.#member?.connections() ?? [];
  }

  async #enter(enter) {
    if (this.#member) throw new Error('in a group already; leave it first');
    // Said now rather than at each connection: ICE servers that can't be used.
    new RTCPeerConnection(this.#rtc).close();
    const { maxDownStreams, maxUpStreams, treeUpdateInterval: treeInterval } = this;
    const config = { ...this.#node, reliable: this.#reliable, maxDownStreams, maxUpStreams, treeInterval };
    const member = new Member(this.#url, config, this.#rtc, {
      message: (data, sequence, wait) => this.#onMessage(data, sequence, wait),
      missed: (detail) => this.#fire(new CustomEvent('missed', { detail })),
      tree: (tree) => this.#fire(new CustomEvent('treeupdate', { detail: tree }), tree),
      state: (change) => this.#fire(Object.assign(new CustomEvent('statechange', { detail: change }), change), change),
      closed: (reason) => {
        globalThis.removeEventListener?.('pagehide', this.#leave);
        if (this.#member === member) this.#member = null;
        this.#fire(new CustomEvent('closed', { detail: { reason } }));
      },
      server: (state, reason) => this.#fire(new CustomEvent('serverchange', { detail: { state, reason } })),
    });
    this.#member = member;
    try {
      await enter(member);
    } catch (error) {
      member.leave();
      if (this.#member === member) this.#member = null;
      throw error;
    }
    // The children heal at once if they are told.
    globalThis.addEventListener?.('pagehide', this.#leave);
    return { id: member.id, groupId: member.group, groupName: member.name, groupDescription: member.description };
  }

  #onMessage(data, sequence, wait) {
    const event = new MessageEvent('message', { data, lastEventId: String(sequence) });
    event.waitUntil = wait;
    this.#fire(event, data);
  }

  /** To listeners, and to the property's function, which gets the plain value first. What they throw is reported. */
  #fire(event, value) {
    this.dispatchEvent(event);
    try {
      this[`on${event.type}`]?.(value, event);
    } catch (error) {
      reportError(error);
    }
  }
}
