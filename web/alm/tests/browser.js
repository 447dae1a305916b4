// Just enough of a browser's sockets and connections for a member to be driven by hand.

/** Sockets and connections that were made, in order, and whether the browser makes connections at all. */
export const made = { sockets: [], connections: [], refusing: false };

class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  sent = [];

  constructor() {
    made.sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  /** The server takes the connection. */
  open() {
    this.readyState = FakeSocket.OPEN;
    this.onopen();
  }

  /** The server says something. */
  say(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
}

class FakeChannel {
  readyState = 'connecting';
  bufferedAmount = 0;
  sent = [];

  open() {
    this.readyState = 'open';
    this.onopen();
  }

  send(bytes) {
    this.sent.push(bytes);
  }

  close() {
    this.readyState = 'closed';
    queueMicrotask(() => this.onclose());
  }
}

class FakeConnection {
  connectionState = 'new';
  signalingState = 'stable';
  localDescription = null;
  channel = null;

  constructor() {
    if (made.refusing) throw new Error('Cannot create so many PeerConnections');
    made.connections.push(this);
  }

  createDataChannel() {
    if (this.connectionState === 'closed') throw new Error('closed');
    this.channel = new FakeChannel();
    return this.channel;
  }

  async setLocalDescription() {
    this.signalingState = 'have-local-offer';
    this.localDescription = { type: 'offer', sdp: 'v=0' };
  }

  async setRemoteDescription() {}

  close() {
    this.connectionState = 'closed';
  }
}

/** A browser in which nothing has been done. */
export function anew() {
  Object.assign(made, { sockets: [], connections: [], refusing: false });
  Object.assign(globalThis, { WebSocket: FakeSocket, RTCPeerConnection: FakeConnection });
}

/** Lets everything happen that waits for nothing but its turn. */
export const turns = () => new Promise((resolve) => setImmediate(resolve));

/** Timers that are set in this process. */
export const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
