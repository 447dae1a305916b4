// The chat's log. Texts come from strangers: they are shown as text, each in its own direction of writing, and clipped.

import { clip, element, isolated } from './text.js';

const MAX_LINES = 200;
const MAX_TEXT = 2000;

export class Chat {
  #log;

  constructor(log) {
    this.#log = log;
    log.replaceChildren();
  }

  /** Adds a line; `who` is empty for what the page itself says. */
  add(who, text, isOwn = false) {
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40;
    const line = element('li', who === '' ? 'said' : isOwn ? 'own' : 'theirs');
    if (who !== '') line.append(isolated(who, 'who'));
    line.append(isolated(clip(text, MAX_TEXT), 'text'));
    const time = element('time', '', new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
    line.append(time);
    this.#log.append(line);
    while (this.#log.childElementCount > MAX_LINES) this.#log.firstElementChild.remove();
    if (atEnd || isOwn) this.#log.scrollTop = this.#log.scrollHeight;
  }
}
