/** Application-layer multicast over data channels: a group's owner sends, all members get it through a tree of members.
 *  Protocol, promises and limits: docs/alm.md. */

/** What went well, for callbacks and promises alike. */
export interface Membership {
  /** The own number in the group; the owner is 0. */
  id: number;
  groupId: number | string | null;
  groupName: string;
  groupDescription: string;
}

/** A connection to another member, on its way: connecting → connected | failed, connected → closed. */
export interface StateChange {
  id: number;
  /** `up` to a parent, `down` to a child. */
  direction: 'up' | 'down';
  state: 'connecting' | 'connected' | 'failed' | 'closed';
}

/** What a member says of itself. Nothing is signed: it may lie. */
export interface TreeEntry {
  id: number;
  /** When this was heard. */
  date: Date;
  /** Its parents, the one that delivers first. */
  upstreams: number[];
  /** Its children, standbys among them. */
  downstreams: number[];
  /** Round-trip time to the parent that delivers, in milliseconds; 0 if it is not known. */
  rtt: number;
  /** Bytes of the group's messages that it gets per second. */
  rate: number;
  /** Messages that its parent has and it has not. */
  lag: number;
}

/** By id. Members that were not heard of for three rounds of asking are left out. */
export type Tree = Record<string, TreeEntry>;

export interface AlmMessageEvent extends MessageEvent<string | ArrayBuffer> {
  /** Keeps the message in the node's window until this promise is settled. At most 16 are given at once: who writes slowly
   *  holds back a reliable group instead of its own memory. */
  waitUntil(promise: Promise<unknown>): void;
}

export interface AlmEventMap {
  /** A message of the group, in order, once. `lastEventId` is its number. */
  message: AlmMessageEvent;
  /** Owner only, at most four times a second. */
  treeupdate: CustomEvent<Tree>;
  statechange: CustomEvent<StateChange> & StateChange;
  /** Messages of a reliable group that this node could not get: from the first up to the second, which is not among them. */
  missed: CustomEvent<{ from: bigint; to: bigint }>;
  /** The server was needed and could not be reached, or is back. The tree goes on without it, but nobody can join. */
  serverchange: CustomEvent<{ state: 'lost' | 'regained'; reason: string }>;
  /**
   * The end of the membership: by `leave`, or because the group is gone (no parent, and unknown to the server, for a minute).
   * Nothing is told after it.
   */
  closed: CustomEvent<{ reason: string }>;
}

export interface ConnectionInfo {
  id: number;
  direction: 'up' | 'down';
  /** Data flows, not heartbeats only. */
  delivers: boolean;
  /** Milliseconds; null as long as it is not known. */
  rtt: number | null;
  connection: RTCPeerConnection;
}

export interface Stats {
  /** Messages that came for the first time, and that had come before. */
  received: number;
  duplicates: number;
  /** Messages of a live group that were skipped; of a reliable one that are lost for this node. */
  skipped: number;
  missed: number;
  /** Frames that make no sense, and data that should not have come. */
  malformed: number;
  unexpected: number;
  /** What found a full queue. */
  overflow: number;
  /** Joins and asks that could not be placed. */
  unplaced: number;
  cycles: number;
  /** Parents that were lost, and standbys that took over at once. */
  parentsLost: number;
  promotions: number;
  /** Bytes sent. */
  controlSent: number;
  dataSent: number;
}

export interface Options {
  /** For RTCPeerConnection. None by default: addresses of the machine only. */
  iceServers?: RTCIceServer[];
  /** Messages of the past that a newcomer gets, if they are still there (16 MiB, 16 384 messages). All by default. */
  history?: number;
  /** Bytes and number of recent messages that are kept for others. */
  storeBytes?: number;
  storeMessages?: number;
  /** Bytes that may be on their way to a node or wait in it. 1 MiB by default. */
  window?: number;
}

type Success = (membership: Membership) => void;
type Failure = (error: Error) => void;

export declare class WebRTCALM extends EventTarget {
  /** `type` is `live` for a group that skips rather than waits; anything else is reliable. Only the owner's counts. */
  static create(type: string, ws_server_url: string | URL, options?: Options): WebRTCALM;
  constructor(type: string, ws_server_url: string | URL, options?: Options);

  /** Children at most, standbys among them: 4. Set it before joining, like the next two. */
  maxDownStreams: number;
  /** Upstreams, the standby among them: 2. */
  maxUpStreams: number;
  /** How often the owner asks everybody for their links, in milliseconds: 2000. */
  treeUpdateInterval: number;

  readonly id: number | null;
  readonly groupId: number | string | null;
  readonly groupName: string | null;
  readonly groupDescription: string | null;
  readonly isGroupOwner: boolean;
  /** The nodes from the owner down to this one; empty while it hangs in no tree. */
  readonly path: number[];
  /** Owner: the tree as of now. */
  readonly tree: Tree;
  readonly stats: Stats;

  /** Makes a group. With a callback nothing is returned. */
  create(group_name: string, group_description?: string): Promise<Membership>;
  create(group_name: string, group_description: string, success_callback: Success, failure_callback?: Failure): void;
  /** Joins a group. Done when the server has given a number; `statechange` tells when a parent is connected. */
  join(group_name: string | number): Promise<Membership>;
  join(group_name: string | number, success_callback: Success, failure_callback?: Failure): void;
  /** Leaves the group; neighbours are told. Then another can be joined. */
  leave(): void;
  /** Owner: sends to all members, at most 262 135 bytes (a character of text has two or four). The promise is kept as soon as the
   *  group has room: waiting for it before the next message is how not to outrun the members. */
  multicast(msg: string | ArrayBuffer | ArrayBufferView): Promise<void>;
  /** Does nothing: timers run by themselves. */
  timer(): void;
  getConnectionInfo(): ConnectionInfo[];

  /** Called with the plain value first, as by the original; the event comes second. */
  onmessage: ((data: string | ArrayBuffer, event: AlmMessageEvent) => void) | null;
  ontreeupdate: ((tree: Tree, event: CustomEvent<Tree>) => void) | null;
  onstatechange: ((change: StateChange, event: CustomEvent<StateChange>) => void) | null;

  addEventListener<K extends keyof AlmEventMap>(
    type: K,
    listener: (this: WebRTCALM, event: AlmEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}
