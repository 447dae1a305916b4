// What one sees before being in a group: the list of groups, and forms to make and to join one.

import { element, isolated, oneLine } from './text.js';

/** How often the server is asked, ms. */
const POLL = 4000;

/** Groups that are listed; more are counted. */
const MAX_LISTED = 100;

const $ = (id) => document.getElementById(id);

export class Lobby {
  #enter;
  #shown = '';

  /** `enter(wish)` is called with `{ kind, name, description }` to make a group, `{ kind, join }` to join one. */
  constructor(enter) {
    this.#enter = enter;
    $('join').addEventListener('submit', (event) => this.#join(event));
    $('create').addEventListener('submit', (event) => this.#create(event));
    $('create').addEventListener('change', () => this.#kind());
    this.#kind();
    setInterval(() => this.#poll(), POLL);
    document.addEventListener('visibilitychange', () => this.#poll());
    this.#poll();
  }

  /** Says why nothing came of a wish; with nothing to say it is hidden. */
  say(text, kind = 'bad') {
    $('lobby-state').hidden = text === '';
    $('lobby-state').dataset.state = kind;
    $('lobby-state').textContent = text;
  }

  #kind() {
    const isTree = new FormData($('create')).get('kind') === 'tree';
    $('names').hidden = !isTree;
    $('group-name').required = isTree;
  }

  #create(event) {
    event.preventDefault();
    const kind = new FormData($('create')).get('kind');
    const name = $('group-name').value.trim();
    if (kind === 'tree' && name === '') return $('group-name').focus();
    this.#enter({ kind, name, description: $('group-description').value.trim() });
  }

  #join(event) {
    event.preventDefault();
    const wish = readLink($('join-input').value.trim());
    if (wish === null) return $('join-input').focus();
    if (wish.token) $('token').value = wish.token;
    this.#enter(wish);
  }

  async #poll() {
    if ($('lobby').hidden || document.hidden) return;
    try {
      const answer = await fetch('/api/groups');
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      this.#list(await answer.json());
    } catch (error) {
      $('groups-note').textContent = `No list of groups: ${oneLine(error.message, 200)}.`;
    }
  }

  #list(groups) {
    const text = JSON.stringify(groups);
    if (text === this.#shown) return;
    this.#shown = text;
    $('groups').replaceChildren(...groups.slice(0, MAX_LISTED).map(({ name, description }) => {
      const shown = oneLine(name) || 'a group without a name';
      const item = element('li', 'row');
      const about = element('div', 'about');
      about.append(isolated(shown, 'name'));
      if (description) about.append(isolated(oneLine(description, 200), 'note'));
      const button = element('button', 'quiet last', 'Join');
      button.type = 'button';
      button.setAttribute('aria-label', `Join ${shown}`);
      button.onclick = () => this.#enter({ kind: 'tree', join: name });
      item.append(about, button);
      return item;
    }));
    const more = groups.length - MAX_LISTED;
    $('groups-note').textContent = groups.length === 0 ? 'There are none yet. Meshes are not listed: they are joined by their links.'
      : more > 0 ? `and ${more} more` : '';
  }
}

/** What a link, its end, a name or a number means: `{ kind, join, token }`, or null. */
export function readLink(text) {
  if (text.startsWith('#') || /^https?:/i.test(text)) {
    const at = text.indexOf('#');
    // A plus is a plus, which forms have as a space.
    const fields = new URLSearchParams(at < 0 ? '' : text.slice(at + 1).replaceAll('+', '%2B'));
    const token = fields.get('token');
    if (fields.get('mesh')) return { kind: 'mesh', join: fields.get('mesh'), token };
    return fields.get('group') ? { kind: 'tree', join: fields.get('group'), token } : null;
  }
  if (text === '') return null;
  // A mesh's id is 128 random bits.
  return /^[0-9a-f]{32}$/.test(text) ? { kind: 'mesh', join: text } : { kind: 'tree', join: text };
}
