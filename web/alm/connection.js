// One peer connection with the one data channel of a link.

/** What the original's channels are called. */
const LABEL = 'label';

/** How long a connection may take to come up. */
const SETUP = 20_000;

/** Candidates that may come before their description. */
const MAX_EARLY = 64;

/** What may wait in the channel: as much as it sends in a tenth of a second, within these bounds. Heartbeats wait behind it. */
const MIN_BUFFER = 16 * 1024;
const MAX_BUFFER = 256 * 1024;
const BUFFER_MS = 100;

/** How long the last frame may take on its way out of a connection that is closed. */
const FLUSH = 1000;

/**
 * What the owner of a connection is told: `signal(message)` is to be carried to the peer; `opened()`, `message(data)`,
 * `drained()` when the channel has room again, and `ended()` once, whatever the reason.
 */
export class Connection {
  /** connecting, connected, failed or closed */
  state = 'connecting';
  channel = null;
  rtc;

  #handler;
  #early = [];
  #described = false;
  #closing = false;
  #setup;
  /** What may wait in the channel, and since when it has been filling. */
  #buffer = 4 * MIN_BUFFER;
  #filled = { bytes: 0, since: null };

  /** Throws what the browser says if it makes no connection: it has too many, or `config` can't be used. */
  constructor(config, handler) {
    this.#handler = handler;
    this.rtc = new RTCPeerConnection(config);
    this.rtc.onicecandidate = ({ candidate }) => {
      if (candidate) this.#handler.signal({ m: 'ice', d: JSON.stringify(candidate.toJSON()) });
    };
    this.rtc.onconnectionstatechange = () => {
      if (this.rtc.connectionState === 'failed' || this.rtc.connectionState === 'closed') this.#end();
    };
    this.#setup = setTimeout(() => this.#end(), SETUP);
  }

  /** Makes the offer. */
  offer() {
    this.#do(async () => {
      this.#use(this.rtc.createDataChannel(LABEL));
      await this.rtc.setLocalDescription();
      this.#describe('offer');
    });
  }

  /** Answers an offer. */
  answer(description) {
    this.rtc.ondatachannel = ({ channel }) => {
      // The first is the link; a peer has no use for another.
      if (this.channel) channel.close();
      else this.#use(channel);
    };
    this.#do(async () => {
      await this.rtc.setRemoteDescription(described('offer', description));
      await this.rtc.setLocalDescription();
      this.#describe('answer');
      await this.#flushEarly();
    });
  }

  /** Takes the answer to our offer. */
  answered(description) {
    if (this.rtc.signalingState !== 'have-local-offer') return;
    this.#do(async () => {
      await this.rtc.setRemoteDescription(described('answer', description));
      await this.#flushEarly();
    });
  }

  /** Takes a candidate of the peer's, at any time. */
  candidate(said) {
    if (this.#described) this.#add(said);
    else if (this.#early.length < MAX_EARLY) this.#early.push(said);
  }

  /** Whether the channel can take one more message now; `drained` is told when it can again. */
  hasRoom() {
    return this.channel?.readyState === 'open' && this.channel.bufferedAmount < this.#buffer;
  }

  send(bytes) {
    try {
      this.channel.send(bytes);
    } catch {
      // Closed meanwhile, or full beyond the browser's bounds.
      this.#end();
      return;
    }
    this.#filled.since ??= performance.now();
    this.#filled.bytes += bytes.length;
  }

  /** Ends the connection; what was sent still goes out. */
  close() {
    if (this.#closing) return;
    this.#closing = true;
    if (this.channel?.readyState === 'open') {
      this.channel.close();
      setTimeout(() => this.#end(), FLUSH);
    } else {
      this.#end();
    }
  }

  #use(channel) {
    this.channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = MIN_BUFFER / 2;
    channel.onopen = () => this.#opened();
    channel.onclose = () => this.#end();
    channel.onmessage = ({ data }) => {
      // Both ends are open as soon as anything comes.
      this.#opened();
      if (this.state === 'connected') this.#handler.message(data);
    };
    channel.onbufferedamountlow = () => {
      this.#measure();
      this.#handler.drained();
    };
    if (channel.readyState === 'open') this.#opened();
  }

  #opened() {
    if (this.state !== 'connecting' || this.#closing) return;
    this.state = 'connected';
    clearTimeout(this.#setup);
    this.#handler.opened();
  }

  /** How fast the channel empties says how much may wait in it. */
  #measure() {
    const { bytes, since } = this.#filled;
    this.#filled = { bytes: 0, since: null };
    if (since === null || bytes < MIN_BUFFER) return;
    const rate = bytes / Math.max(performance.now() - since, 1);
    this.#buffer = Math.min(Math.max(rate * BUFFER_MS, MIN_BUFFER), MAX_BUFFER);
    this.channel.bufferedAmountLowThreshold = this.#buffer / 2;
  }

  #describe(kind) {
    this.#handler.signal({ m: kind, s: JSON.stringify(this.rtc.localDescription) });
  }

  async #flushEarly() {
    this.#described = true;
    for (const said of this.#early.splice(0)) this.#add(said);
  }

  async #add(said) {
    try {
      const candidate = typeof said === 'string' ? JSON.parse(said) : said;
      await this.rtc.addIceCandidate(candidate?.candidate ? candidate : undefined);
    } catch {
      // One that can't be used is as good as none.
    }
  }

  async #do(work) {
    try {
      await work();
    } catch {
      // A description that can't be used, or the end meanwhile.
      this.#end();
    }
  }

  #end() {
    if (this.state === 'failed' || this.state === 'closed') return;
    this.state = this.state === 'connecting' ? 'failed' : 'closed';
    clearTimeout(this.#setup);
    this.rtc.close();
    this.#handler.ended();
  }
}

/** A description as the original's nodes write it (JSON inside of JSON), or as an object, or the text alone. */
function described(type, said) {
  const description = typeof said === 'string' && said.trimStart().startsWith('{') ? JSON.parse(said) : said;
  const sdp = typeof description === 'string' ? description : description?.sdp;
  if (typeof sdp !== 'string') throw new TypeError('no description');
  return { type, sdp };
}
