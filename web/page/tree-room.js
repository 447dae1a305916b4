// A room whose owner speaks and all others listen, through a tree of them, by web/sinnet-alm.js. What a room is to the page
// stands in mesh-room.js.

import { WebRTCALM } from '../sinnet-alm.js';
import { oneLine } from './text.js';

/** How often the owner asks all nodes where they are, ms. */
const UPDATES = 2000;

export class TreeRoom extends EventTarget {
  kind = 'tree';
  graphTitle = 'Tree';
  name = '';
  description = '';

  #alm;
  #tree = {};
  #server = null;
  #lost = false;
  #changing = false;

  /** Makes a group, and speaks in it. */
  static async create(url, name, description) {
    const room = new TreeRoom(url);
    return room.#entered(await room.#alm.create(name, description));
  }

  /** Joins the group of this name. */
  static async join(url, name) {
    const room = new TreeRoom(url);
    return room.#entered(await room.#alm.join(name));
  }

  constructor(url) {
    super();
    const alm = this.#alm = WebRTCALM.create('reliable', url);
    alm.treeUpdateInterval = UPDATES;
    alm.addEventListener('message', ({ data }) => {
      this.dispatchEvent(Object.assign(new Event('message'), { from: 0, fromName: 'Owner', data }));
    });
    alm.addEventListener('treeupdate', ({ detail }) => {
      this.#tree = detail;
      this.#changed();
    });
    alm.addEventListener('statechange', ({ detail }) => {
      if (detail.direction === 'up' && detail.state === 'connected') this.#lost = false;
      if (detail.direction === 'up' && detail.state === 'closed') this.#lost = true;
      this.#changed();
    });
    alm.addEventListener('serverchange', ({ detail }) => {
      this.#server = detail.state;
      this.#changed();
    });
    alm.addEventListener('missed', ({ detail }) => {
      const count = Number(detail.to - detail.from);
      this.dispatchEvent(Object.assign(new Event('note'), { text: `${count} messages were missed.` }));
    });
  }

  get canSpeak() {
    return this.#alm.isGroupOwner;
  }

  get kindText() {
    return this.canSpeak ? 'Tree · you speak' : `Tree · you listen, as node ${this.#alm.id}`;
  }

  get hash() {
    return `#group=${encodeURIComponent(this.#alm.groupName)}`;
  }

  get state() {
    const links = this.#alm.getConnectionInfo();
    const up = links.filter(({ direction }) => direction === 'up');
    if (this.canSpeak) {
      const others = Math.max(Object.keys(this.#tree).length - 1, links.length);
      const text = others === 0 ? 'nobody listens yet' : others === 1 ? 'one listens' : `${others} listen`;
      return this.#server === 'lost' ? { kind: 'bad', text: `${text}; the server is gone` } : { kind: others > 0 ? 'good' : 'busy', text };
    }
    if (up.length === 0) return { kind: 'busy', text: this.#lost ? 'looking for another parent' : 'looking for a place' };
    const standby = up.some(({ delivers }) => !delivers) ? ', another stands by' : '';
    const below = links.length - up.length;
    return { kind: 'good', text: `in the tree${standby}${below > 0 ? `, ${below} below` : ''}` };
  }

  send(message) {
    return this.#alm.multicast(message);
  }

  async leave() {
    this.#alm.leave();
  }

  connections() {
    return this.#alm.getConnectionInfo().map(({ id, direction, delivers, connection }) => ({
      id,
      name: nameOf(id),
      direction: direction === 'up' ? (delivers ? 'parent' : 'standby parent') : delivers ? 'child' : 'standby child',
      connection,
    }));
  }

  measured() {}

  /** What can be drawn: the owner knows the tree, others the way up and their neighbours. */
  nodes() {
    const me = this.#alm.id;
    const links = this.#alm.getConnectionInfo();
    const nodes = new Map();
    const add = (id, parents, rest = {}) => {
      const node = { id, label: id === me ? 'you' : String(id), name: nameOf(id, me), parents, isSelf: id === me, lag: null, rtt: null, rate: null, date: null };
      nodes.set(id, Object.assign(node, rest));
    };
    if (this.canSpeak) {
      for (const { id, date, upstreams, rtt, rate, lag } of Object.values(this.#tree)) {
        add(id, upstreams, { date: new Date(date), rtt: rtt > 0 ? rtt : null, rate, lag: id === me ? 0 : lag });
      }
      if (!nodes.has(me)) add(me, [], { lag: 0 });
      for (const { id, rtt } of links) {
        if (!nodes.has(id)) add(id, [me], { rtt });
      }
    } else {
      const { path } = this.#alm;
      const up = links.filter(({ direction }) => direction === 'up').sort((a, b) => b.delivers - a.delivers);
      path.forEach((id, index) => add(id, index > 0 ? [path[index - 1]] : []));
      for (const { id, rtt } of up) {
        if (!nodes.has(id)) add(id, []);
        nodes.get(id).rtt = rtt;
      }
      add(me, up.map(({ id }) => id), { lag: up.length > 0 ? 0 : null });
      for (const { id, direction, delivers, rtt } of links) {
        if (direction === 'down' && !nodes.has(id)) add(id, delivers ? [me] : [NOWHERE, me], { rtt });
      }
    }
    return [...nodes.values()];
  }

  #entered({ groupName, groupDescription }) {
    this.name = oneLine(groupName) || 'a group without a name';
    this.description = oneLine(groupDescription ?? '', 300);
    return this;
  }

  /** Many things change at once; they are told once. */
  #changed() {
    if (this.#changing) return;
    this.#changing = true;
    setTimeout(() => {
      this.#changing = false;
      this.dispatchEvent(new Event('change'));
    }, 50);
  }
}

/** In the place of a parent that is not known. */
const NOWHERE = -1;

const nameOf = (id, me = null) => {
  const name = id === 0 ? 'owner' : `node ${id}`;
  return id === me ? `you (${name})` : name;
};
