// The recent messages: what children are sent from, and what a failure is repaired from.

import { before, distance } from './sequence.js';

export class Store {
  /** Frames in the order of their numbers, from `#head` on. */
  #frames = [];
  #head = 0;
  /** Of each frame, the bytes of all that were ever pushed before it: a sum is a difference. */
  #sums = [];
  #pushed = 0;

  /** Appends a frame, whose number comes after all others'. */
  push(frame) {
    this.#frames.push(frame);
    this.#sums.push(this.#pushed);
    this.#pushed += frame.length;
  }

  /** Forgets the oldest until so much is left. */
  trim(maxBytes, maxMessages) {
    while (this.#bytes() > maxBytes || this.length > maxMessages) {
      this.#frames[this.#head] = undefined;
      this.#head++;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head);
      this.#sums = this.#sums.slice(this.#head);
      this.#head = 0;
    }
  }

  clear() {
    [this.#frames, this.#sums, this.#head] = [[], [], 0];
  }

  get length() {
    return this.#frames.length - this.#head;
  }

  #bytes() {
    return this.length > 0 ? this.#pushed - this.#sums[this.#head] : 0;
  }

  /** The first frame with this number or a later one. */
  atOrAfter(sequence) {
    return this.#frames[this.#index(sequence)] ?? null;
  }

  /** Where a newcomer begins that gets at most so many messages; `null` if there are none for it. */
  history(messages) {
    return this.#frames[Math.max(this.#frames.length - messages, this.#head)]?.sequence ?? null;
  }

  /** Bytes of the frames from this number on. */
  bytesFrom(sequence) {
    const index = this.#index(sequence);
    return index < this.#frames.length ? this.#pushed - this.#sums[index] : 0;
  }

  /** Bytes of all frames ever pushed before this number: it grows as a reader gets on, and only then. */
  position(sequence) {
    return this.#pushed - this.bytesFrom(sequence);
  }

  /** The number from which on the newest frames have at most `limit` bytes. */
  newestWithin(limit) {
    const index = this.#partition((at) => this.#pushed - this.#sums[at] > limit);
    return this.#frames[index]?.sequence ?? null;
  }

  #index(sequence) {
    // Without gaps, as in a reliable group, the place is known.
    const first = this.#frames[this.#head];
    if (!first) return this.#frames.length;
    const guess = this.#head + distance(sequence, first.sequence);
    if (guess >= this.#head && this.#frames[guess]?.sequence === sequence) return guess;
    return this.#partition((at) => before(this.#frames[at].sequence, sequence));
  }

  /** The first place at which `isBefore` is false; it is true up to there. */
  #partition(isBefore) {
    let [low, high] = [this.#head, this.#frames.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBefore(middle)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
