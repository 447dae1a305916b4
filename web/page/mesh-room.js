// A room in which everybody is connected with everybody, by web/sinnet-p2p.js.
//
// Rooms of both kinds look the same to the page: `kind`, `name`, `description`, `hash` (of the link to share), `canSpeak`,
// `state` ({ kind, text }), `send(message)` (resolves when there is room for more), `leave()`, `connections()`, `nodes()`;
// events `message` (from, fromName, data), `change` (anything of the above), `left` (who), `ended` (reason).

import { Service } from '../sinnet-p2p.js';
import { shortId } from './text.js';

export class MeshRoom extends EventTarget {
  kind = 'mesh';
  kindText = 'Mesh · everybody speaks';
  graphTitle = 'Mesh';
  description = '';
  canSpeak = true;

  #service;
  #group;
  #server = true;
  #roundTrips = new Map();

  /** Joins the mesh of this id, or makes one. */
  static async enter(url, id) {
    const service = new Service(url);
    try {
      await service.join();
      return new MeshRoom(service, await (id === null ? service.createGroup() : service.joinGroup(id)));
    } catch (error) {
      service.close();
      throw error;
    }
  }

  constructor(service, group) {
    super();
    this.#service = service;
    this.#group = group;
    this.me = service.info().id;
    this.name = `Mesh ${shortId(group.id())}`;
    this.hash = `#mesh=${group.id()}`;
    const changed = () => this.dispatchEvent(new Event('change'));
    group.onconnected = group.onunreachable = changed;
    group.ondisconnected = (user) => {
      this.#roundTrips.delete(user);
      this.dispatchEvent(Object.assign(new Event('left'), { who: user }));
      changed();
    };
    group.onmessage = (user, data) => {
      this.dispatchEvent(Object.assign(new Event('message'), { from: user, fromName: shortId(user), data }));
    };
    service.onclose = () => {
      this.#server = false;
      changed();
    };
  }

  get state() {
    const count = this.#group.connected().length;
    const text = count === 0 ? 'nobody else is here' : count === 1 ? 'one other is here' : `${count} others are here`;
    if (this.#server) return { kind: count > 0 ? 'good' : 'busy', text };
    return { kind: 'bad', text: `the server is gone, ${text}` };
  }

  async send(message) {
    const count = this.#group.connected().length;
    if (count === 0) throw new Error('nobody else is here');
    const failed = await this.#group.broadcast(message);
    // Who has gone in between has nothing to say.
    if (failed.length === count) throw failed[0].error;
  }

  async leave() {
    await this.#group.leave();
    this.#service.close();
  }

  /** The connections, to be read for their statistics. */
  connections() {
    return [...this.#group.connections()].map(([id, connection]) => ({ id, name: shortId(id), direction: '', connection }));
  }

  /** What was read from the statistics of one. */
  measured(id, { roundTrip }) {
    this.#roundTrips.set(id, roundTrip);
  }

  /** What can be drawn: us and those around us. */
  nodes() {
    const node = (id, isSelf) => ({
      id,
      label: isSelf ? 'you' : shortId(id).slice(0, 3),
      name: isSelf ? `you (${shortId(id)})` : shortId(id),
      parents: isSelf ? [] : [this.me],
      isSelf,
      lag: 0,
      rtt: this.#roundTrips.get(id) ?? null,
      rate: null,
      date: null,
    });
    return [node(this.me, true), ...this.#group.connected().map((id) => node(id, false))];
  }
}
