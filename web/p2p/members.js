// The members of one group and the connections with them: who offers, whose offer counts, who is gone.
//
//   newcomer                         server                        member
//   relay(group, member, {offer})  ────────▶  relay(group, newcomer, {offer})  ────▶
//   ◀───────────────────────────────────────────────────────  result {answer}
//   relay(group, member, {ice})    ◀───────▶  as candidates are found, either way; the result is null

import { Link } from './link.js';

/** Connections of one group, whatever the server says of its members. */
const MAX_LINKS = 256;

/** Users whose candidates are kept until their offer comes, and candidates kept for each. */
const MAX_EARLY_USERS = 64;
const MAX_EARLY = 64;

/** What the one says whose offer goes before, when two have offered to each other. */
const CROSSED = 'our offers crossed, and mine goes before';

export class Members {
  #me;
  #group;
  #rpc;
  #configuration;
  #tell;
  #over = false;
  #links = new Map();
  #early = new Map();
  /** Offers that are neither connected nor given up. */
  #pending = [];

  /** `tell(event, user, detail)` hears "connected", "message", "disconnected" and "unreachable". */
  constructor({ me, group, rpc, configuration, tell }) {
    this.#me = me;
    this.#group = group;
    this.#rpc = rpc;
    this.#configuration = configuration;
    this.#tell = tell;
  }

  /** The links that are up, by user. */
  connected() {
    return [...this.#links].filter(([, link]) => link.isUp);
  }

  link(user) {
    const link = this.#links.get(user);
    return link?.isUp ? link : null;
  }

  /** Resolves when everybody who was offered to is connected, or is known not to be. */
  async settled() {
    await Promise.all(this.#pending);
  }

  /** Offers a connection to a member. */
  offerTo(user) {
    // Their offer was quicker, or the server's list is no list of members.
    if (this.#over || this.#links.has(user) || this.#links.size >= MAX_LINKS) return;
    const link = this.#add(user);
    this.#offer(user, link).catch((error) => {
      // Theirs is on its way, and takes this link's place.
      if (error.reason !== CROSSED) link.fail(error.reason ?? error.message);
    });
  }

  /** What a member says by way of the server; the result is the answer. Throws what it is to be told instead. */
  relayed(user, data) {
    if (this.#over) throw new Error('not joined group');
    if (data !== null && typeof data === 'object') {
      if (typeof data.offer?.sdp === 'string') return this.#answer(user, data.offer);
      if (Object.hasOwn(data, 'ice')) return this.#candidate(user, data.ice);
    }
    throw new Error('invalid relay message');
  }

  /** The server says that a member has gone. */
  left(user) {
    this.#early.delete(user);
    this.#links.get(user)?.memberLeft();
  }

  /** Closes all connections; what was accepted is delivered first. */
  async close() {
    this.#over = true;
    this.#early.clear();
    const links = [...this.#links.values()];
    this.#links.clear();
    await Promise.all(links.map((link) => link.close()));
  }

  #add(user) {
    const before = this.#links.get(user);
    let settle;
    const link = new Link(this.#configuration, {
      candidate: (candidate) => {
        this.#rpc.call('relay', this.#group, user, { ice: candidate }).catch(() => {});
      },
      up: () => {
        settle();
        if (this.#links.get(user) === link) this.#tell('connected', user);
      },
      message: (data) => {
        if (this.#links.get(user) === link) this.#tell('message', user, data);
      },
      end: (reason) => {
        settle();
        // One that another has replaced is nobody's business.
        if (this.#links.get(user) !== link) return;
        this.#links.delete(user);
        if (reason === null) this.#tell('disconnected', user);
        else this.#tell('unreachable', user, reason);
      },
    });
    const settled = new Promise((resolve) => { settle = resolve; });
    this.#pending.push(settled);
    settled.then(() => { this.#pending = this.#pending.filter((other) => other !== settled); });
    this.#links.set(user, link);
    if (before !== undefined) {
      if (before.isUp) this.#tell('disconnected', user);
      before.close();
    }
    return link;
  }

  async #offer(user, link) {
    const offer = await link.offer();
    const answered = this.#rpc.call('relay', this.#group, user, { offer });
    link.release();
    const result = await answered;
    if (typeof result?.answer?.sdp !== 'string') throw new Error('the answer has no description');
    await link.take(result.answer);
  }

  async #answer(user, offer) {
    const before = this.#links.get(user);
    if (before?.offering && this.#me < user) throw new Error(CROSSED);
    if (before === undefined && this.#links.size >= MAX_LINKS) throw new Error('this group has too many members');
    const link = this.#add(user);
    for (const candidate of this.#early.get(user) ?? []) link.add(candidate);
    this.#early.delete(user);
    try {
      const answer = await link.answer(offer);
      // Behind the answer, which is sent when this returns.
      setTimeout(() => link.release());
      return { answer };
    } catch {
      if (this.#links.get(user) === link) this.#links.delete(user);
      link.close();
      throw new Error("the offer can't be used");
    }
  }

  #candidate(user, candidate) {
    const link = this.#links.get(user);
    if (link !== undefined) {
      link.add(candidate);
    } else if (this.#early.has(user) || this.#early.size < MAX_EARLY_USERS) {
      const early = this.#early.get(user) ?? [];
      if (early.length < MAX_EARLY) early.push(candidate);
      this.#early.set(user, early);
    }
    return null;
  }
}
