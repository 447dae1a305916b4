// Time: what a node is told of it, and waking it up.
//
// Browsers let the timers of a page that is not seen wait for a second and more. A worker's they leave alone, so one is
// started when the page is hidden. Where that is not allowed (a content policy, another origin), timers are late and the
// node lives off the messages that come: they are not held back, and each one tells the time.

/** Milliseconds that never go back. */
export const now = () => performance.now();

export class Clock {
  #wake;
  #timer = null;
  #at = Infinity;
  #worker = null;
  #onVisibility = () => this.#arm();

  /** `wake` is called when it is time, sometimes more often. */
  constructor(wake) {
    this.#wake = () => {
      this.#at = Infinity;
      wake();
    };
    globalThis.document?.addEventListener('visibilitychange', this.#onVisibility);
  }

  /** Wakes at this time, and no longer at the one that was set before. */
  set(at) {
    if (at === this.#at) return;
    this.#at = at;
    this.#arm();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    globalThis.document?.removeEventListener('visibilitychange', this.#onVisibility);
  }

  #arm() {
    clearTimeout(this.#timer);
    if (this.#at === Infinity) return;
    const wait = Math.max(Math.ceil(this.#at - now()), 0);
    this.#timer = setTimeout(this.#wake, wait);
    if (globalThis.document?.hidden) this.#hidden()?.postMessage(wait);
  }

  #hidden() {
    if (this.#worker) return this.#worker;
    try {
      this.#worker = new Worker(new URL('./ticker.js', import.meta.url));
      this.#worker.onmessage = this.#wake;
    } catch {
      // Late timers it is.
    }
    return this.#worker;
  }
}
