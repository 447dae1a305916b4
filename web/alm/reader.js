// A cursor over a body; what is read behind its end is a mistake of the peer's.

/** The bytes of a peer are not what they should be. It is counted, and changes nothing. */
export class Malformed extends Error {}

/** Reads a body with `take`. Throws `Malformed` and nothing else. */
export function read(body, take) {
  try {
    return take(new Reader(body));
  } catch (error) {
    if (error instanceof RangeError) throw new Malformed('the body ends too early');
    throw error;
  }
}

class Reader {
  #view;
  #at = 0;

  constructor(body) {
    this.#view = new DataView(body.buffer, body.byteOffset, body.length);
  }

  get left() {
    return this.#view.byteLength - this.#at;
  }

  #move(bytes) {
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  u8() {
    return this.#view.getUint8(this.#move(1));
  }

  u32() {
    return this.#view.getUint32(this.#move(4), true);
  }

  sequence() {
    return this.#view.getBigUint64(this.#move(8), true);
  }

  /** 64 bits as a number; what no number can hold exactly is without end. */
  amount() {
    const amount = this.sequence();
    return amount > BigInt(Number.MAX_SAFE_INTEGER) ? Infinity : Number(amount);
  }

  /** A byte that is 0 or 1. */
  flag() {
    const code = this.u8();
    if (code > 1) throw new Malformed(`code ${code} has no meaning there`);
    return code === 1;
  }

  ids(count) {
    return Array.from({ length: count }, () => this.u32());
  }

  /** A count byte, and so many ids. */
  list(max) {
    const count = this.u8();
    if (count > max) throw new Malformed('the list is over its limit');
    return this.ids(count);
  }

  rest() {
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.#at, this.left);
  }
}
