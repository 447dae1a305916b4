// The list of connections, with what each uses.

import { connectionFacts } from '../facts.js';
import { element, factList, isolated, milliseconds, size } from './text.js';

/** More are not listed, but counted. */
const MAX_LISTED = 16;

export class Links {
  #list;
  #note;
  #items = new Map();
  #known = new Map();

  constructor(list, note) {
    this.#list = list;
    this.#note = note;
    list.replaceChildren();
  }

  /** What is known of the connection with a node, as `[term, value]` pairs. */
  facts(id) {
    return this.#known.get(id) ?? [];
  }

  /** Reads the statistics of a room's connections anew. */
  async show(room) {
    const all = room.connections();
    const listed = all.slice(0, MAX_LISTED);
    const read = await Promise.all(listed.map(async ({ id, connection }) => {
      try {
        const facts = await connectionFacts(connection);
        room.measured(id, facts);
        return facts;
      } catch {
        return null;   // It was closed meanwhile.
      }
    }));
    const before = this.#items;
    this.#items = new Map();
    this.#known = new Map();
    listed.forEach(({ id, name, direction }, index) => {
      const known = read[index];
      if (known === null) return;
      const pairs = [
        ['This side', known.local ?? '–'],
        ['Other side', known.remote ?? '–'],
        ['Round trip', known.roundTrip === null ? '–' : milliseconds(known.roundTrip)],
        ['Encryption', [known.dtls, known.suite].filter(Boolean).join(', ') || 'DTLS'],
        ['Moved', `${size(known.sent)} sent, ${size(known.received)} received`],
      ];
      this.#known.set(id, pairs);
      const key = `${id} ${direction}`;
      const item = before.get(key) ?? this.#item(name, direction, pairs);
      item.querySelectorAll('dd').forEach((value, at) => {
        if (value.textContent !== pairs[at][1]) value.textContent = pairs[at][1];
      });
      this.#items.set(key, item);
    });
    const items = [...this.#items.values()];
    if (items.length !== this.#list.childElementCount || items.some((item, at) => this.#list.children[at] !== item)) {
      this.#list.replaceChildren(...items);
    }
    this.#note.textContent = all.length === 0 ? 'None yet.' : all.length > listed.length ? `The first ${listed.length} of ${all.length}.` : '';
  }

  #item(name, direction, pairs) {
    const item = element('li');
    const head = element('div', 'row');
    head.append(isolated(name, 'name'), element('span', 'size', direction));
    item.append(head, factList(pairs));
    return item;
  }
}
