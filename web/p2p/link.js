// One member's connection, from offer or answer to its end.

/** What the original's channels are called. */
const LABEL = 'simple';

/** How long a connection may take to come about, ms. */
const CONNECTING = 30_000;

/** How long a connection may be interrupted before its member counts as gone, ms. Browsers say "failed" by themselves, late. */
const INTERRUPTED = 15_000;

/** How long what was accepted may take to be delivered when the connection is closed, ms. */
const LINGERING = 5_000;

/** Candidates kept until they can be used, in either direction. */
const MAX_EARLY = 64;

/** Bytes that the channel buffers before a sender waits, and at which it goes on. */
const BUFFER_HIGH = 1024 * 1024;
const BUFFER_LOW = 256 * 1024;

/** Bytes of messages that wait for the channel; more are refused. */
const MAX_WAITING = 64 * 1024 * 1024;

export class Link {
  /** Whether our offer waits for its answer. */
  offering = false;
  /** For `getStats()`. */
  connection;

  #told;
  #channel = null;
  #isUp = false;
  #over = false;
  #described = false;
  #gone = false;
  /** Candidates of the peer's before its description; ours before ours was sent (then `null`). */
  #early = [];
  #found = [];
  #timer;
  /** The last message that waits for its turn, and how many bytes do. */
  #tail = Promise.resolve();
  #waiting = 0;
  #wakers = new Set();

  /**
   * `told` hears of what happens: `candidate(candidate)` is to be relayed, `up()` messages can go, `message(data)`, and
   * `end(reason)` once, with null if the connection was up.
   */
  constructor(configuration, told) {
    this.#told = told;
    const pc = this.connection = new RTCPeerConnection(configuration);
    pc.onicecandidate = ({ candidate }) => {
      // The end of candidates is not told: the original's programs throw at it.
      if (candidate !== null && candidate.candidate !== '') this.#candidate(candidate.toJSON());
    };
    pc.onconnectionstatechange = () => this.#watch();
    pc.ondatachannel = ({ channel }) => {
      if (channel.label === LABEL && this.#channel === null) this.#use(channel);
      else channel.close();
    };
    this.#timer = setTimeout(() => this.#finish('no connection came about in time'), CONNECTING);
  }

  /** Whether messages can go. */
  get isUp() {
    return this.#isUp && !this.#over;
  }

  /** Makes the offer. */
  async offer() {
    this.offering = true;
    this.#use(this.connection.createDataChannel(LABEL));
    await this.connection.setLocalDescription();
    return this.#description();
  }

  /** Takes an offer, and makes the answer. */
  async answer({ sdp }) {
    await this.connection.setRemoteDescription({ type: 'offer', sdp });
    this.#useEarly();
    await this.connection.setLocalDescription();
    return this.#description();
  }

  /** Takes the answer to our offer. */
  async take({ sdp }) {
    await this.connection.setRemoteDescription({ type: 'answer', sdp });
    this.offering = false;
    this.#useEarly();
  }

  /** Our description has been sent: candidates may follow it. */
  release() {
    const found = this.#found ?? [];
    this.#found = null;
    for (const candidate of found) this.#told.candidate(candidate);
  }

  /** A candidate of the peer's, at any time. */
  add(candidate) {
    if (this.#described) this.#addNow(candidate);
    else if (this.#early.length < MAX_EARLY) this.#early.push(candidate);
  }

  /** The server says that the member has left it. What is up ends by itself: the member may have lost only the server. */
  memberLeft() {
    this.#gone = true;
    if (!this.#isUp) this.#finish('the member has left');
    else this.#watch();
  }

  /** Sends a message behind those before it; resolves when the channel has taken it. The data must not change until then. */
  send(data) {
    if (!this.isUp) return Promise.reject(new Error('there is no connection'));
    const size = typeof data === 'string' ? data.length : data.byteLength;
    if (this.#waiting + size > MAX_WAITING) return Promise.reject(new Error('too much waits to be sent'));
    this.#waiting += size;
    const sent = this.#tail.then(() => this.#push(data)).finally(() => { this.#waiting -= size; });
    this.#tail = sent.catch(() => {});
    return sent;
  }

  /** It will not come about. */
  fail(reason) {
    this.#finish(reason);
  }

  /** Ends the connection; what was accepted is delivered first. */
  async close() {
    if (!this.isUp) return this.#finish('closed by us');
    const late = setTimeout(() => this.#finish(null), LINGERING);
    await this.#tail;
    // Its onclose, once all is delivered, ends the rest.
    if (!this.#over) this.#channel.close();
    while (!this.#over) await this.#woken();
    clearTimeout(late);
  }

  #description() {
    const { type, sdp } = this.connection.localDescription;
    return { type, sdp };
  }

  #candidate(candidate) {
    if (this.#over) return;
    if (this.#found === null) this.#told.candidate(candidate);
    else if (this.#found.length < MAX_EARLY) this.#found.push(candidate);
  }

  #useEarly() {
    this.#described = true;
    for (const candidate of this.#early.splice(0)) this.#addNow(candidate);
  }

  #addNow(candidate) {
    // One that can't be used is one path less.
    if (candidate === null || typeof candidate !== 'object') return;
    this.connection.addIceCandidate(candidate).catch(() => {});
  }

  #use(channel) {
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = BUFFER_LOW;
    channel.onopen = () => this.#up();
    channel.onmessage = ({ data }) => {
      this.#up();
      if (!this.#over) this.#told.message(data);
    };
    channel.onbufferedamountlow = () => this.#wake();
    channel.onclose = () => this.#finish('the channel was closed');
    if (channel.readyState === 'open') queueMicrotask(() => this.#up());
  }

  #up() {
    if (this.#isUp || this.#over) return;
    this.#isUp = true;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#told.up();
  }

  #watch() {
    if (this.#over) return;
    const state = this.connection.connectionState;
    if (state === 'failed' || state === 'closed') return this.#finish('no network path was found');
    if (!this.#isUp) return;
    if (state !== 'disconnected') {
      clearTimeout(this.#timer);
      this.#timer = null;
    } else if (this.#gone) {
      this.#finish(null);
    } else {
      this.#timer ??= setTimeout(() => this.#finish(null), INTERRUPTED);
    }
  }

  async #push(data) {
    while (!this.#over && this.#channel.bufferedAmount > BUFFER_HIGH) {
      await this.#woken();
    }
    if (this.#over) throw new Error('the connection has ended');
    this.#channel.send(data);
  }

  #woken() {
    return new Promise((resolve) => this.#wakers.add(resolve));
  }

  #wake() {
    const wakers = [...this.#wakers];
    this.#wakers.clear();
    for (const wake of wakers) wake();
  }

  #finish(reason) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#channel?.close();
    this.connection.close();
    this.#wake();
    this.#told.end(this.#isUp ? null : reason);
  }
}
