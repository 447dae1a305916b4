// JSON-RPC 2.0 both ways over one WebSocket: our calls and their answers, and the server's calls.

/** How long an answer may take, ms. The server gives relays up after 15 s. */
const PATIENCE = 20_000;

/** How long the WebSocket may take to open, ms. */
const OPENING = 15_000;

/** Calls that wait for an answer at once; the others wait for their turn. The server holds 256 relays of a user. */
const MAX_WAITING = 64;

/** Calls that wait for their turn; more are refused. */
const MAX_QUEUE = 4096;

/** A call was refused, or not answered. */
export class CallError extends Error {
  name = 'CallError';

  constructor(method, reason) {
    super(`${method}: ${reason}`);
    /** What was called, and why it did not work. */
    this.method = method;
    this.reason = reason;
  }
}

export class Rpc {
  #socket;
  #serve;
  #ended;
  #over = false;
  #next = 0;
  #queue = [];
  /** Calls that were sent, by their ids. */
  #waiting = new Map();

  /**
   * Opens the way to a server. `serve(method, params)` answers the server's calls with a value, a promise or an error;
   * `ended(reason)` is called once if the way ends by itself. `signal` ends it, at any time, and without a word.
   */
  static async connect(url, serve, ended, signal) {
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      const abort = () => fail('closed by us');
      const settled = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
      };
      const fail = (why) => {
        settled();
        socket.onopen = socket.onclose = null;
        socket.close();
        reject(new Error(`${url} can't be reached: ${why}`));
      };
      const timer = setTimeout(() => fail('it does not answer'), OPENING);
      signal.addEventListener('abort', abort);
      socket.onopen = () => {
        settled();
        resolve();
      };
      // 1006 is all that a page is told of a server that is not there, or refused.
      socket.onclose = ({ code, reason }) => fail(reason || (code === 1006 ? 'no connection, or refused' : `closed (${code})`));
    });
    const rpc = new Rpc(socket, serve, ended);
    if (signal.aborted) rpc.close();
    else signal.addEventListener('abort', () => rpc.close());
    return rpc;
  }

  constructor(socket, serve, ended) {
    this.#socket = socket;
    this.#serve = serve;
    this.#ended = ended;
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code, reason }) => this.#end(reason || `the server is gone (${code})`, true);
  }

  /** Whether calls can be made. */
  get isOpen() {
    return !this.#over;
  }

  /** Calls the server, in the order of the calls. Rejects with a `CallError`. */
  call(method, ...params) {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(new CallError(method, 'the signalling connection has ended'));
      if (this.#queue.length >= MAX_QUEUE) return reject(new CallError(method, 'too many calls wait'));
      this.#queue.push({ method, params, resolve, reject });
      this.#pump();
    });
  }

  close() {
    this.#end('closed by us', false);
    this.#socket.close(1000);
  }

  #pump() {
    while (!this.#over && this.#waiting.size < MAX_WAITING && this.#queue.length > 0) {
      const { method, params, resolve, reject } = this.#queue.shift();
      const id = String(this.#next++);
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new CallError(method, 'not answered in time'));
        this.#pump();
      }, PATIENCE);
      this.#waiting.set(id, { method, resolve, reject, timer });
      this.#say({ jsonrpc: '2.0', id, method, params });
    }
  }

  #say(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #hear(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message === null || typeof message !== 'object' || Array.isArray(message)) return;
    if ('result' in message || 'error' in message) this.#answered(message);
    else if (typeof message.method === 'string') this.#called(message);
  }

  #answered({ id, result, error }) {
    const call = this.#waiting.get(id);
    if (call === undefined) return;
    this.#waiting.delete(id);
    clearTimeout(call.timer);
    if (error === undefined || error === null) call.resolve(result ?? null);
    else call.reject(new CallError(call.method, typeof error.message === 'string' ? error.message : 'refused without a reason'));
    this.#pump();
  }

  async #called({ id, method, params }) {
    let answer;
    try {
      const result = await this.#serve(method, Array.isArray(params) ? params : []);
      answer = { result: result ?? null };
    } catch (error) {
      answer = { error: { code: -32603, message: error instanceof Error ? error.message : String(error) } };
    }
    if (id !== undefined && id !== null) this.#say({ jsonrpc: '2.0', id, ...answer });
  }

  #end(reason, tell) {
    if (this.#over) return;
    this.#over = true;
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
    const calls = [...this.#waiting.values(), ...this.#queue];
    this.#waiting.clear();
    this.#queue = [];
    for (const { method, reject } of calls) reject(new CallError(method, 'the signalling connection has ended'));
    if (tell) this.#ended(reason);
  }
}
