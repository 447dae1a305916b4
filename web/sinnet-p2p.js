// Groups in which everybody is connected with everybody: webrtc_p2p's service in the browser.
//
//   import { Service } from './sinnet-p2p.js';
//
//   const service = new Service('wss://example.org/p2p');
//   await service.join();
//   const group = await service.createGroup();      // or: await service.joinGroup(id)
//   group.onmessage = (user, data) => console.log(user, data);
//   group.onconnected = (user) => group.unicast(user, 'welcome');
//   await group.broadcast(new Uint8Array([1, 2, 3]));
//
// Messages are strings, or bytes that arrive as an ArrayBuffer. Types are in sinnet-p2p.d.ts. Needs no build step and no
// other package; the files in p2p/ belong to it.

import { Members } from './p2p/members.js';
import { CallError, Rpc } from './p2p/rpc.js';

export { CallError };

/** What members of a group may do. */
export const GroupCapability = Object.freeze({
  BroadcastOwner: 1,
  BroadcastEveryone: 2,
  UnicastOwner: 4,
  UnicastEveryone: 8,
});

/** Fires an event, and calls the handler of that name with its arguments, as the original's programs expect. */
function fire(target, type, fields, ...handed) {
  const handler = target[`on${type}`];
  try {
    if (typeof handler === 'function') handler.apply(target, handed);
  } catch (error) {
    // The handler's own matter, as with any event.
    reportError(error);
  }
  target.dispatchEvent(Object.assign(new Event(type), fields));
}

/** One user at one server. Event: `close` (`reason`), when the server is gone; groups and their connections go on. */
export class Service extends EventTarget {
  onclose = null;

  #url;
  #configuration;
  #joining = null;
  /** Ends the connection with the server, or the attempt at one. */
  #life = null;
  #rpc = null;
  #me = null;
  #groups = new Map();

  /** `options.rtc` is the RTCConfiguration of the connections: ICE servers, mostly. */
  constructor(url, { rtc = {} } = {}) {
    super();
    this.#url = String(url);
    this.#configuration = rtc;
  }

  /** Joins the service. Resolves with what `info()` says. */
  join() {
    if (this.#joining === null) {
      const joining = this.#start().catch((error) => {
        // After a close, another may be under way.
        if (this.#joining === joining) this.#joining = null;
        throw error;
      });
      this.#joining = joining;
    }
    return this.#joining;
  }

  /** Leaves the server. Groups and their connections go on, but nobody finds them any more. A `join()` under way is rejected. */
  close() {
    this.#life?.abort();
    this.#forget();
  }

  /** Our user id, known to the members of our groups. */
  info() {
    if (this.#me === null) throw new Error('join the service first');
    return { id: this.#me };
  }

  /** Makes a group, and is its first member. The capability is a wish: `group.capability()` says what members may do. */
  async createGroup(_capability) {
    const id = await this.#call('create');
    if (typeof id !== 'string') throw new CallError('create', "the server's answer can't be understood");
    return this.#enter(id).group;
  }

  /**
   * Joins a group and offers a connection to each member. Resolves as soon as it is joined; `group.settled()` waits for the
   * connections.
   */
  async joinGroup(id) {
    if (this.#groups.has(id)) throw new CallError('join', 'already joined');
    if (this.#rpc === null) throw new CallError('join', 'join the service first');
    // Offers may come as soon as we are a member.
    const { group, members } = this.#enter(String(id));
    try {
      await this.#call('join', id);
      const list = await this.#call('get_members', id);
      if (!Array.isArray(list)) throw new CallError('get_members', "the server's answer can't be understood");
      for (const user of list) {
        if (typeof user === 'string' && user !== this.#me) members.offerTo(user);
      }
    } catch (error) {
      group.leave();
      throw error;
    }
    return group;
  }

  async #start() {
    const life = this.#life = new AbortController();
    try {
      const rpc = await Rpc.connect(
        this.#url,
        (method, params) => this.#serve(method, params),
        (reason) => {
          this.#forget();
          fire(this, 'close', { reason }, reason);
        },
        life.signal,
      );
      const me = await rpc.call('init');
      // Closed, by whomever, right behind the answer.
      if (!rpc.isOpen) throw new CallError('init', 'the signalling connection has ended');
      if (typeof me !== 'string') throw new CallError('init', "the server's answer can't be understood");
      this.#me = me;
      this.#rpc = rpc;
    } catch (error) {
      if (life.signal.aborted) throw new CallError('init', 'closed by us');
      life.abort();
      throw error;
    }
    return this.info();
  }

  #forget() {
    this.#rpc = null;
    this.#joining = null;
    this.#groups.clear();
  }

  #call(method, ...params) {
    return this.#rpc?.call(method, ...params) ?? Promise.reject(new CallError(method, 'join the service first'));
  }

  #enter(id) {
    const rpc = this.#rpc;
    const members = new Members({
      me: this.#me,
      group: id,
      rpc,
      configuration: this.#configuration,
      tell: (type, user, detail) => {
        const fields = { message: { data: detail }, unreachable: { reason: detail } }[type];
        fire(group, type, { user, ...fields }, user, detail);
      },
    });
    const group = new Group(id, members, () => {
      if (this.#groups.get(id) === members) this.#groups.delete(id);
      rpc.call('leave', id).catch(() => {});
    });
    this.#groups.set(id, members);
    return { group, members };
  }

  /** What the server calls us for. */
  #serve(method, [group, user, data]) {
    const members = this.#groups.get(group);
    if (members === undefined || typeof user !== 'string') throw new Error('not joined group');
    switch (method) {
      case 'relay': return members.relayed(user, data);
      case 'member_left': return members.left(user);
      case 'member_joined': return null;   // They will offer.
      default: throw new Error('there is no such method');
    }
  }
}

/**
 * A group that we are a member of. Events, each with `user`: `message` (`data`), `connected`, `disconnected`, `unreachable`
 * (`reason`); the handlers `onmessage(user, data)`, `onconnected(user)` … get the same.
 */
export class Group extends EventTarget {
  onmessage = null;
  onconnected = null;
  ondisconnected = null;
  onunreachable = null;

  #id;
  #members;
  #left;

  /** Made by `Service.createGroup` and `Service.joinGroup`. */
  constructor(id, members, left) {
    super();
    this.#id = id;
    this.#members = members;
    this.#left = left;
  }

  /** The id, by which others join. */
  id() {
    return this.#id;
  }

  /** What members may do: all may send to all, and to each. */
  capability() {
    return GroupCapability.BroadcastEveryone | GroupCapability.UnicastEveryone;
  }

  /** The members that are connected with us. */
  connected() {
    return this.#members.connected().map(([user]) => user);
  }

  /** The connections, by user: for `getStats()`. */
  connections() {
    return new Map(this.#members.connected().map(([user, link]) => [user, link.connection]));
  }

  /** Resolves when everybody who was there when we joined is connected, or is known to be unreachable. */
  settled() {
    return this.#members.settled();
  }

  /**
   * Sends to all members that are connected, and resolves when their channels have taken it: with what did not go out, as
   * `[{ user, error }]`. Bytes must not be changed until then.
   */
  async broadcast(data) {
    const message = sendable(data);
    const sends = this.#members.connected().map(async ([user, link]) => {
      try {
        await link.send(message);
        return null;
      } catch (error) {
        return { user, error };
      }
    });
    return (await Promise.all(sends)).filter((failure) => failure !== null);
  }

  /** Sends to one member, and resolves when its channel has taken it. */
  async unicast(user, data) {
    const message = sendable(data);
    const link = this.#members.link(user);
    if (link === null) throw new Error(`there is no connection with ${user}`);
    await link.send(message);
  }

  /** Leaves the group. Resolves when its connections have ended, which is when what was sent is delivered. */
  async leave() {
    const left = this.#left;
    this.#left = () => {};
    left();
    await this.#members.close();
  }
}

function sendable(data) {
  if (typeof data === 'string' || data instanceof ArrayBuffer || ArrayBuffer.isView(data)) return data;
  throw new TypeError('a message is a string, an ArrayBuffer or a view of one');
}
