// WebSockets to the server: the JSON of WebRTC_ALM's signalling, `m` the method and `r` the result.

/** How long a socket may take to open, and the server to answer. */
const PATIENCE = 15_000;

/** What is said of a server that has not answered. */
export const SILENT = 'the server does not answer';

/** Longest message that is read; the server's are shorter. */
const MAX_MESSAGE = 64 * 1024;

/** One WebSocket. `message(object)` for each message, `closed(reason)` once. */
export class Socket {
  #socket = null;
  #ended = false;
  #handler;
  #opening;

  constructor(url, handler) {
    this.#handler = handler;
    this.#opening = setTimeout(() => this.#end(SILENT), PATIENCE);
    const unreachable = () => this.#end(`${new URL(url).host} can’t be reached from this page, or refused it`);
    try {
      this.#socket = new WebSocket(url);
    } catch {
      // The page's content policy, in some browsers.
      queueMicrotask(unreachable);
      return;
    }
    this.#socket.onopen = () => {
      clearTimeout(this.#opening);
      this.#handler.opened?.();
    };
    this.#socket.onmessage = ({ data }) => this.#hear(data);
    // An error says nothing; a close may follow it, or not.
    this.#socket.onerror = () => this.#socket.readyState !== WebSocket.OPEN && unreachable();
    this.#socket.onclose = ({ code, reason }) => {
      if (code === 1006) unreachable();
      else this.#end(reason || `closed (${code})`);
    };
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Ends it without a word to the handler. */
  close() {
    this.#ended = true;
    clearTimeout(this.#opening);
    this.#socket?.close(1000);
  }

  #hear(data) {
    if (this.#ended || typeof data !== 'string' || data.length > MAX_MESSAGE) return;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (typeof message === 'object' && message !== null && !Array.isArray(message)) this.#handler.message(message);
  }

  #end(reason) {
    if (this.#ended) return;
    this.close();
    this.#handler.closed(reason);
  }
}

/**
 * Opens a socket, asks, and waits for the answer to it. Gives `{socket, answer}`; from then on the handlers are told of
 * what comes. Rejects with the server's words, with what went wrong on the way, or with the reason of `signal`: who has
 * the answer ends the socket by itself.
 */
export function ask(url, question, handler, signal) {
  return new Promise((resolve, reject) => {
    let answered = false;
    const settled = () => {
      clearTimeout(late);
      signal.removeEventListener('abort', abort);
    };
    const fail = (reason) => {
      settled();
      socket.close();
      reject(new Error(reason));
    };
    const abort = () => fail(signal.reason);
    const socket = new Socket(url, {
      opened: () => socket.send(question),
      message: (message) => {
        if (answered) {
          handler.message(message);
        } else if (message.r !== undefined && message.r !== 'ok') {
          fail(String(message.r));
        } else if (message.m === question.m) {
          answered = true;
          settled();
          resolve({ socket, answer: message });
        }
      },
      closed: (reason) => (answered ? handler.closed(reason) : fail(reason)),
    });
    const late = setTimeout(() => fail(SILENT), PATIENCE);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort);
  });
}

/** A pause before another attempt: from a second to half a minute, each half more or less. */
export const pause = (attempt) => Math.min(1000 * 2 ** attempt, 30_000) * (0.5 + Math.random());

/** `ws:` for what may be written as `http:` or as a path. */
export function socketUrl(url) {
  const { href } = new URL(url, globalThis.location?.href);
  return href.replace(/^http/, 'ws').replace(/#.*$/, '');
}
