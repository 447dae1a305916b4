// One room on the page: what happens in it is shown, and what the controls do.

import { Chat } from './chat.js';
import { FileRows } from './file-rows.js';
import { Incoming, isFileText, sendFile } from './files.js';
import { Links } from './links.js';
import { oneLine } from './text.js';
import { TreeView } from './tree-view.js';

/** How often figures are read again, ms. */
const REFRESH = 2000;

const $ = (id) => document.getElementById(id);

export class RoomView {
  #room;
  #over = new AbortController();
  #chat = new Chat($('chat-log'));
  #rows = new FileRows($('files'), $('file-row'));
  #links = new Links($('links'), $('links-note'));
  #incoming;
  #graph;
  #refresh;
  #sending = 0;

  /** Shows a room; `left()` is called when the user wants to leave it. */
  constructor(room, left) {
    this.#room = room;
    this.#incoming = new Incoming(() => this.#rows.add('↓'), (text) => { $('files-note').textContent = text; });
    $('room-name').textContent = room.name;
    $('room-kind').textContent = room.kindText;
    $('room-description').textContent = room.description;
    $('room-description').hidden = room.description === '';
    $('share').value = `${location.origin}/${room.hash}`;
    $('graph-title').textContent = room.graphTitle;
    $('files-note').textContent = '';
    $('legend').hidden = room.kind !== 'tree';
    for (const id of ['chat', 'file-controls']) $(id).hidden = !room.canSpeak;
    $('chat-note').hidden = room.canSpeak;
    this.#graph = new TreeView($('graph'), $('node'), (node) => this.#links.facts(node.id));

    const { signal } = this.#over;
    const on = (target, type, act) => target.addEventListener(type, act, { signal });
    on(room, 'message', (event) => this.#message(event));
    on(room, 'change', () => this.#show());
    on(room, 'left', ({ who }) => {
      this.#incoming.left(who);
      this.#measure();
    });
    on(room, 'note', ({ text }) => this.#chat.add('', text));
    on($('chat'), 'submit', (event) => this.#say(event));
    on($('file-send'), 'click', () => this.#sendFiles());
    on($('leave'), 'click', left);
    on($('copy'), 'click', () => this.#copy());
    on($('share'), 'focus', () => $('share').select());
    on(document, 'visibilitychange', () => this.#measure());
    this.#refresh = setInterval(() => this.#measure(), REFRESH);
    this.#show();
    this.#measure();
  }

  /** Takes the room off the page. */
  end() {
    this.#over.abort();
    clearInterval(this.#refresh);
    this.#graph.end();
    this.#rows.end();
  }

  /** Whether files would be lost if the page went away. */
  get isBusy() {
    return this.#sending > 0;
  }

  #show() {
    const { kind, text } = this.#room.state;
    $('room-state').dataset.state = kind;
    if ($('room-state').textContent !== text) $('room-state').textContent = text;
    this.#graph.show(this.#room.nodes());
  }

  async #measure() {
    if (document.hidden) return;
    await this.#links.show(this.#room);
    if (!this.#over.signal.aborted) this.#show();
  }

  #message({ from, fromName, data }) {
    if (typeof data !== 'string') this.#incoming.bytes(from, data);
    else if (!this.#incoming.text(from, data)) this.#chat.add(fromName, data);
  }

  async #say(event) {
    event.preventDefault();
    const input = $('chat-input');
    const text = input.value.trim();
    if (text === '') return;
    if (isFileText(text)) return this.#chat.add('', 'Not sent: this would be read as part of a file.');
    input.value = '';
    input.focus();
    try {
      this.#chat.add('You', text, true);
      await this.#room.send(text);
    } catch (error) {
      this.#chat.add('', `Not sent: ${oneLine(error.message, 200)}.`);
    }
  }

  async #sendFiles() {
    const files = [...$('file-input').files];
    if (files.length === 0) return $('file-input').click();
    $('file-input').value = '';
    const work = files.map((file) => {
      const cancel = new AbortController();
      const row = this.#rows.add('↑', () => cancel.abort());
      row.name(oneLine(file.name));
      row.size(file.size);
      row.state('busy', 'waits');
      return { file, row, cancelled: AbortSignal.any([cancel.signal, this.#over.signal]) };
    });
    this.#sending += work.length;
    // One after the other: each gets the whole rate.
    for (const { file, row, cancelled } of work) {
      await sendFile(this.#room, file, row, cancelled);
      this.#sending--;
    }
  }

  async #copy() {
    $('share').select();
    try {
      await navigator.clipboard.writeText($('share').value);
      $('copy').textContent = 'Copied';
    } catch {
      // Without https a page may not write there; what is selected can be copied by hand.
      $('copy').textContent = 'Press Ctrl-C';
    }
    setTimeout(() => { $('copy').textContent = 'Copy'; }, 2000);
  }
}
