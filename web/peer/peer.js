// A peer connection to the process that served the page, signalled over its WebSocket.
//
//   page                                         sinnet serve
//   {"type":"offer","sdp":…}           ──────▶
//                                      ◀──────   {"type":"answer","sdp":…}
//   {"type":"candidate",…}             ◀─────▶   as they are found
//   {"type":"end-of-candidates"}       ◀─────▶
//
// Events: "state" (detail: text and reason), "channel" (detail: an RTCDataChannel that the peer opened).

export class Peer extends EventTarget {
  /** "new", then what RTCPeerConnection.connectionState says, or "failed" when signalling fails first. */
  state = 'new';
  /** Why, when it failed. */
  reason = '';
  /** Milliseconds from the start to "connected". */
  setupTime = null;

  #started = performance.now();
  #socket;
  #early = [];

  constructor(url) {
    super();
    this.connection = new RTCPeerConnection();
    this.connection.onconnectionstatechange = () => this.#become(this.connection.connectionState);
    this.connection.ondatachannel = ({ channel }) => {
      channel.binaryType = 'arraybuffer';
      this.dispatchEvent(new CustomEvent('channel', { detail: channel }));
    };
    this.connection.onicecandidate = ({ candidate }) => {
      // Some browsers announce the end by an empty candidate, then by null as well.
      if (candidate === null) this.#say({ type: 'end-of-candidates' });
      else if (candidate.candidate !== '') this.#say({ type: 'candidate', ...candidate.toJSON() });
    };
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#offer().catch((error) => this.#fail(String(error)));
    this.#socket.onmessage = ({ data }) => {
      this.#hear(JSON.parse(data)).catch((error) => this.#fail(String(error)));
    };
    this.#socket.onclose = ({ code, reason }) => {
      if (this.state === 'new' || this.state === 'connecting') {
        this.#fail(reason || (code === 1006 ? 'the server is gone, or refused this page' : `signalling closed (${code})`));
      }
    };
  }

  /** Opens a channel. */
  open(label, options) {
    const channel = this.connection.createDataChannel(label, options);
    channel.binaryType = 'arraybuffer';
    return channel;
  }

  /** Ends the connection. */
  close() {
    this.connection.close();
    this.#socket.close(1000);
    this.#become('closed');   // close() itself fires no event.
  }

  async #offer() {
    await this.connection.setLocalDescription();
    this.#say({ type: 'offer', sdp: this.connection.localDescription.sdp });
  }

  async #hear(message) {
    const { connection } = this;
    switch (message.type) {
      case 'answer':
        await connection.setRemoteDescription({ type: 'answer', sdp: message.sdp });
        for (const candidate of this.#early.splice(0)) await connection.addIceCandidate(candidate);
        break;
      case 'candidate':
      case 'end-of-candidates': {
        const { candidate = '', sdpMid = '0', sdpMLineIndex = 0 } = message;
        const init = { candidate, sdpMid, sdpMLineIndex };
        if (connection.remoteDescription) await connection.addIceCandidate(init);
        else this.#early.push(init);
        break;
      }
      default: // A newer server may say more.
    }
  }

  #say(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #fail(reason) {
    if (this.state === 'failed' || this.state === 'closed') return;
    this.connection.close();
    this.#socket.close();
    this.#become('failed', reason);
  }

  #become(state, reason = '') {
    if (state === this.state) return;
    this.state = state;
    this.reason = reason || (state === 'failed' ? 'no network path to the server was found, or it was lost' : '');
    if (state === 'connected') this.setupTime ??= performance.now() - this.#started;
    this.dispatchEvent(new Event('state'));
  }
}
