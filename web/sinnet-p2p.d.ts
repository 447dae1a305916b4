/** Groups in which everybody is connected with everybody: webrtc_p2p's service in the browser. */

/** A user's id, as the server gave it. */
export type UserId = string;

/** What can be sent. Bytes arrive as an ArrayBuffer. */
export type Sendable = string | ArrayBuffer | ArrayBufferView;

/** What members of a group may do. */
export declare const GroupCapability: {
  /** The owner may send to all. */
  readonly BroadcastOwner: 1;
  /** Everybody may send to all. */
  readonly BroadcastEveryone: 2;
  /** The owner may send to one. */
  readonly UnicastOwner: 4;
  /** Everybody may send to one. */
  readonly UnicastEveryone: 8;
};

/** A call was refused by the server, or not answered. */
export declare class CallError extends Error {
  /** What was called. */
  readonly method: string;
  /** Why it did not work. */
  readonly reason: string;
}

export interface ServiceOptions {
  /** The configuration of the connections: ICE servers, mostly. */
  rtc?: RTCConfiguration;
}

export interface ServiceInfo {
  /** Our user id. */
  readonly id: UserId;
}

/** One user at one server. */
export declare class Service extends EventTarget {
  /** @param url such as `wss://example.org/p2p` */
  constructor(url: string | URL, options?: ServiceOptions);
  /** Joins the service. Rejects when the server can't be reached, with a `CallError` when it refuses. */
  join(): Promise<ServiceInfo>;
  /** Leaves the server. Groups and their connections go on, but nobody finds them any more. A `join()` under way is rejected. */
  close(): void;
  /** Our user id. Throws before `join()`. */
  info(): ServiceInfo;
  /** Makes a group, and is its first member. The capability is a wish, see `Group.capability`. */
  createGroup(capability?: number): Promise<Group>;
  /** Joins a group and offers a connection to each member. Resolves once joined; see `Group.settled`. */
  joinGroup(id: string): Promise<Group>;
  /** The server is gone. Event `close` has the same `reason`. `join()` may be called again, and gives another user id. */
  onclose: ((this: Service, reason: string) => unknown) | null;
  addEventListener(
    type: 'close',
    listener: (this: Service, event: Event & { readonly reason: string }) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** A message was not sent to one member. */
export interface SendFailure {
  readonly user: UserId;
  readonly error: Error;
}

export interface GroupEventMap {
  /** A member's message: a string or an ArrayBuffer. */
  message: Event & { readonly user: UserId; readonly data: string | ArrayBuffer };
  /** Messages can go to this member now, and come from it. */
  connected: Event & { readonly user: UserId };
  /** The connection with this member has ended: it has left, or can't be reached any more. */
  disconnected: Event & { readonly user: UserId };
  /** No connection with this member came about. */
  unreachable: Event & { readonly user: UserId; readonly reason: string };
}

/** A group that we are a member of. Its handlers and events tell the same. */
export declare class Group extends EventTarget {
  private constructor();
  onmessage: ((this: Group, user: UserId, data: string | ArrayBuffer) => unknown) | null;
  onconnected: ((this: Group, user: UserId) => unknown) | null;
  ondisconnected: ((this: Group, user: UserId) => unknown) | null;
  onunreachable: ((this: Group, user: UserId, reason: string) => unknown) | null;
  /** The id, by which others join. */
  id(): string;
  /** What members may do, as a sum of `GroupCapability`: all may send to all, and to each. */
  capability(): number;
  /** The members that are connected with us. */
  connected(): UserId[];
  /** Their connections, to read statistics from. */
  connections(): Map<UserId, RTCPeerConnection>;
  /** Resolves when everybody who was there when we joined is connected, or is known to be unreachable. */
  settled(): Promise<void>;
  /** Sends to all members that are connected; resolves, when their channels have taken it, with what did not go out. */
  broadcast(data: Sendable): Promise<SendFailure[]>;
  /** Sends to one member; resolves when its channel has taken it. */
  unicast(user: UserId, data: Sendable): Promise<void>;
  /** Leaves the group. Resolves when what was sent is delivered and the connections have ended, in 5 s at most. */
  leave(): Promise<void>;
  addEventListener<K extends keyof GroupEventMap>(
    type: K,
    listener: (this: Group, event: GroupEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
