// What a node is told once. Times in milliseconds, sizes in bytes.

export const DEFAULTS = Object.freeze({
  /** Every message, in order, the owner held back by the slowest child that keeps up at all; or live: the newest. Only
   *  the owner's counts. */
  reliable: true,
  /** Most children, standbys included. */
  maxDownStreams: 4,
  /** Upstreams to have: one that delivers, the others warm. */
  maxUpStreams: 2,
  /** How often heartbeats go down; four times less often up. */
  heartbeat: 250,
  /** Heartbeats in a row that a parent may miss before it is taken for dead. */
  missedHeartbeats: 3,
  /** A parent whose root ticks stand still for so long, while a standby's go on, is left. */
  stall: 2000,
  /** Ticks that stand still everywhere for so long: ask the server. */
  stale: 5000,
  /** How long an ask, and a connection that was agreed on, may take. */
  askTimeout: 5000,
  /** The first pause before another join by the server; it doubles up to 32 times this, 8 times for who had a place. */
  joinRetry: 1000,
  /** Bytes of recent messages kept. */
  storeBytes: 16 << 20,
  /** Recent messages kept. */
  storeMessages: 16_384,
  /** Messages of the past that a newcomer gets, if the store has them. */
  history: Infinity,
  /** Bytes that may be on their way to a node, or wait in it. */
  window: 1 << 20,
  /** How long a child that lags by half a window holds back the others without taking anything, or less than an eighth of
   *  a window while others could take more. */
  patience: 2000,
  /** How often the owner asks everybody for their links. */
  treeInterval: 2000,
});

/** Control frames that wait for a link; joins, reports and routed ones only up to half of it. */
export const MAX_CONTROL = 128;

/** Bytes of joins, reports and routed frames that wait for a link; one larger than that waits alone. */
export const MAX_CONTROL_BYTES = 32 * 1024;

/** Attaches of a child that are taken in a row; then one each heartbeat, as often as one has reason to ask again. */
export const MAX_ATTACHES = 16;

/** Joins that wait for a child to be connected. */
export const MAX_WAITING = 256;

/** Events that wait for the owner of the machine, those about links apart. */
export const MAX_EVENTS = 1024;

/** Nodes that the owner's view of the tree has. */
export const MAX_TREE = 8192;

/** Links that a routed frame passes. */
export const MAX_HOPS = 48;
