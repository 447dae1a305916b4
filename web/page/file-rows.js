// The list of files, one row each.

import { rate, size } from './text.js';

const MAX_ROWS = 50;

export class FileRows {
  #list;
  #template;

  constructor(list, template) {
    this.#list = list;
    this.#template = template;
    list.replaceChildren();
  }

  /** A row for a file; `cancel` is called if the user wants no more of it. See files.js for what the row can. */
  add(direction, cancel = null) {
    const item = this.#template.content.cloneNode(true).firstElementChild;
    const part = (name) => item.querySelector(`.${name}`);
    part('direction').textContent = direction;
    this.#list.prepend(item);
    this.#trim();
    let total = null;
    let done = 0;
    let started = performance.now();
    let drawing = false;
    if (cancel) {
      part('cancel').hidden = false;
      part('cancel').onclick = cancel;
    }
    const draw = () => {
      drawing = false;
      if (total !== null) part('progress').value = total > 0 ? done / total : 1;
      part('size').textContent = total === null ? size(done) : size(total);
      const seconds = (performance.now() - started) / 1000;
      if (seconds > 0.05) part('rate').textContent = rate(done / seconds);
    };
    return {
      name: (text) => { part('name').textContent = text; },
      size: (bytes) => {
        total = bytes;
        started = performance.now();
        if (bytes === null) part('progress').removeAttribute('value');
        draw();
      },
      progress: (bytes) => {
        done = bytes;
        // Pieces come thousands a second, pictures do not.
        if (!drawing) requestAnimationFrame(draw);
        drawing = true;
      },
      state: (kind, text) => {
        item.dataset.state = kind;
        part('state').textContent = text;
        if (kind === 'busy') return;
        draw();
        part('cancel').hidden = true;
        if (kind === 'failed') part('progress').hidden = true;
        else part('progress').value = 1;
      },
      hash: (hex) => { part('sha256').textContent = hex; },
      save: (blob, name) => {
        const link = part('download');
        link.href = URL.createObjectURL(blob);
        link.download = name;
        link.hidden = false;
        link.setAttribute('aria-label', `Save ${name}`);
      },
    };
  }

  /** Forgets all rows and what they hold. */
  end() {
    for (const item of [...this.#list.children]) this.#remove(item);
  }

  #trim() {
    const old = [...this.#list.children].slice(MAX_ROWS).filter((item) => item.dataset.state !== 'busy');
    for (const item of old) this.#remove(item);
  }

  #remove(item) {
    const { href } = item.querySelector('.download');
    if (href) URL.revokeObjectURL(href);
    item.remove();
  }
}
