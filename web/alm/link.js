// What a node knows of one link.

import { MAX_CONTROL, MAX_CONTROL_BYTES } from './config.js';
import { NOT_HELD, Role, heartbeatFrame } from './control.js';
import { Type } from './frame.js';

/** Frames that are given up first when a peer takes nothing. */
const CAN_WAIT = new Set([Type.JOIN, Type.NOTIFY_TREE_INFO, Type.ROUTE, Type.REPORT]);

/** What the peer says about itself may be anything; a minute is no round trip. */
const MAX_RTT = 60_000_000;

/** Milliseconds as a 32-bit count of microseconds, which wraps around each 71 minutes. */
const micros = (ms) => Math.floor(ms * 1000) % 0x1_0000_0000 >>> 0;

export class Link {
  /** Its owner was asked to close it: what waits is still sent, nothing is received. */
  closing = false;
  /** Down: what the child wants. Up: what we asked for. `null` before the first attach. */
  role = null;
  /** The newest stamp of the peer, and when it came. */
  #stamp = null;
  #control = [];
  /** Bytes of those in it that can wait. */
  #waiting = 0;
  /** Milliseconds. */
  rtt = null;
  tick = 0;
  epoch = 0;
  /** The message that follows the newest one that the peer has. */
  peerNext = 0n;

  /** Down: the child's subtree. */
  size = 1;
  height = 0;
  parents = 1;
  /** Down: the next message to send; `null` as long as this node has no message. */
  cursor = null;
  sent = 0;
  credit = 0;
  /** Down: since when it lags, and its position in the store then: `{since, was}`. */
  behind = null;
  /** Down: it lags for so long that it no longer holds back the others. */
  straggler = false;
  /** Down: it was promised a place that another child has to leave. */
  displaces = false;
  /** Down: reports taken from it since the owner asked last. */
  reports = 0;
  /** Down: attaches taken from it; one is forgotten each heartbeat. */
  attaches = 0;

  /** Up: where the parent is; what its last path frame said. */
  info = null;
  /** Up: bytes of multicast frames since the last attach, and how many were allowed. */
  received = 0;
  granted = 0;
  /** Up: what the parent had and we had not, and when it said so; until we have it. */
  ahead = null;

  constructor(id, now, peer, isUp, ours) {
    this.id = id;
    this.peer = peer;
    this.isUp = isUp;
    /** It speaks our frames. */
    this.ours = ours;
    this.lastHeard = now;
    this.tickAt = now;
    /** Down: since when it wants data. */
    this.eagerSince = now;
  }

  get isChild() {
    return !this.isUp && !this.closing;
  }

  get isParent() {
    return this.isUp && !this.closing;
  }

  /** A child that gets data. */
  get isEagerChild() {
    return this.isChild && this.role === Role.EAGER;
  }

  /** A child that gives way to who wants data. */
  get isWarmChild() {
    return this.isChild && this.role === Role.WARM;
  }

  /** The parent's root path; empty if it hangs in no tree. */
  get peerPath() {
    return this.info?.path ?? [];
  }

  get hasControl() {
    return this.#control.length > 0;
  }

  /** Queues a control frame. Returns whether there was room. */
  push(frame) {
    const last = this.#control.length - 1;
    if (frame.type === Type.HEARTBEAT && this.#control[last]?.type === Type.HEARTBEAT) {
      this.#control[last] = frame;
      return true;
    }
    const canWait = CAN_WAIT.has(frame.type);
    if (this.#control.length >= (canWait ? MAX_CONTROL / 2 : MAX_CONTROL)) return false;
    if (canWait) {
      // Heartbeats wait behind it.
      if (this.#waiting > 0 && this.#waiting + frame.length > MAX_CONTROL_BYTES) return false;
      this.#waiting += frame.length;
    }
    this.#control.push(frame);
    return true;
  }

  pop() {
    const frame = this.#control.shift() ?? null;
    if (frame && CAN_WAIT.has(frame.type)) this.#waiting -= frame.length;
    return frame;
  }

  /** A heartbeat with this link's stamps. */
  beat(now, start, rest) {
    const { echo, held } = this.#stamp
      ? { echo: this.#stamp.value, held: Math.min(micros(now - this.#stamp.at), NOT_HELD - 1) }
      : { echo: 0, held: NOT_HELD };
    return this.push(heartbeatFrame({ ...rest, stamp: micros(now - start), echo, held }));
  }

  /** Takes the stamps of the peer's heartbeat. */
  onBeat(now, start, beat) {
    this.#stamp = { value: beat.stamp, at: now };
    if (beat.held !== NOT_HELD) {
      const sample = (micros(now - start) - beat.echo - beat.held) >>> 0;
      if (sample < MAX_RTT) this.rtt = this.rtt === null ? sample / 1000 : (this.rtt * 7 + sample / 1000) / 8;
    }
    this.epoch = beat.epoch;
    this.peerNext = beat.next;
  }
}
