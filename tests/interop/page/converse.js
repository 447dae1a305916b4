// The conversation matrix, in the page: what `tests/stack/src/conversation.rs` says of scripts and ears holds here too.
Object.assign(globalThis.sn, (() => {
  const NUMBER = 8;
  const ALPHABET = new TextEncoder().encode('abcdefghijklmnopqrstuvwxyz0123456789 ,.;:-_#+*~<>|(){}[]=!?$%&/@');
  const decoder = new TextDecoder();

  function mix({ seed }, number) {
    let x = (seed ^ Math.imul(number + 1, 0x9e3779b1)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b) >>> 0;
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35) >>> 0;
    return (x ^ (x >>> 16)) >>> 0;
  }

  function size(script, number) {
    const hash = mix(script, number);
    const [kind, pick] = [hash % 1000, hash >>> 10];
    let size;
    if (number % 2500 === 1249) size = script.largest;
    else if (number % 2500 === 200) size = 65535 + pick % 3;
    else if (kind < 60) size = 0;
    else if (kind < 120) size = 1;
    else if (kind < 200) size = 2 + pick % 7;
    else if (kind < 850) size = 8 + pick % 200;
    else if (kind < 940) size = 200 + pick % 900;
    else if (kind < 980) size = 1130 + pick % 50;
    else if (kind < 994) size = 2290 + pick % 40;
    else if (kind < 997) size = 16380 + pick % 8;
    else size = pick % 20000;
    return Math.min(size, script.largest);
  }

  const isText = (script, number) => mix(script, number) >= 0x80000000;

  /** That message as bytes, which are those of the text if it is one. */
  function content(script, number) {
    const length = size(script, number);
    const words = new Uint32Array((length + 3) >> 2);
    let x = length < NUMBER ? 1 : (mix(script, number) | 1) >>> 0;
    for (let i = 0; i < words.length; i++) {
      x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
      words[i] = x;
    }
    const bytes = new Uint8Array(words.buffer, 0, length);
    if (isText(script, number)) for (let i = 0; i < length; i++) bytes[i] = ALPHABET[bytes[i] & 63];
    if (length >= NUMBER) {
      const digits = number.toString(16).padStart(NUMBER, '0');
      for (let i = 0; i < NUMBER; i++) bytes[i] = digits.charCodeAt(i);
    }
    return bytes;
  }

  function message(script, number) {
    const bytes = content(script, number);
    return isText(script, number) ? decoder.decode(bytes) : bytes;
  }

  function isThe(script, number, data) {
    if (isText(script, number)) return typeof data === 'string' && data === decoder.decode(content(script, number));
    if (typeof data === 'string') return false;
    const [expected, got] = [content(script, number), new Uint8Array(data)];
    return got.length === expected.length && got.every((byte, i) => byte === expected[i]);
  }

  /** Throws at the first message that is torn, comes twice or in the wrong order. */
  function ear(script, ordered, reliable) {
    const seen = new Uint8Array(script.count);
    const unnumbered = new Map();
    for (let number = 0; number < script.count; number++) {
      if (size(script, number) >= NUMBER) continue;
      const kind = `${isText(script, number)} ${size(script, number)}`;
      const entry = unnumbered.get(kind) ?? { left: 0, example: number };
      entry.left++;
      unnumbered.set(kind, entry);
    }
    let last = -1;
    const self = { received: 0, bytes: 0 };
    self.take = (data) => {
      const text = typeof data === 'string';
      const length = text ? data.length : data.byteLength; // the alphabet has one byte a letter
      if (ordered && reliable) {
        if (self.received >= script.count) throw new Error(`a message too many, of ${length} bytes`);
        if (!isThe(script, self.received, data)) throw new Error(`message ${self.received} is another, of ${length} bytes`);
      } else if (length < NUMBER) {
        const entry = unnumbered.get(`${text} ${length}`);
        if (!entry || entry.left-- === 0) throw new Error(`a message of ${length} bytes too many, text: ${text}`);
        if (!isThe(script, entry.example, data)) throw new Error(`${length} bytes are torn`);
      } else {
        const digits = text ? data.slice(0, NUMBER) : decoder.decode(new Uint8Array(data, 0, NUMBER));
        const number = /^[0-9a-f]{8}$/.test(digits) ? parseInt(digits, 16) : script.count;
        if (number >= script.count) throw new Error(`${length} bytes without a number`);
        if (!isThe(script, number, data)) throw new Error(`message ${number}, of ${length} bytes, is torn`);
        if (seen[number]) throw new Error(`${number} came twice`);
        if (ordered && number <= last) throw new Error(`${number} behind ${last}`);
        seen[number] = 1;
        last = number;
      }
      self.received++;
    };
    self.complete = () => self.received === script.count;
    return self;
  }

  const talks = new Map();

  async function speak(channel, script) {
    for (let number = 0; number < script.count; number++) {
      // By the event, or else by the clock: what is sent within some milliseconds of `ondatachannel`, Chromium 156 sends,
      // but does not count down in bufferedAmount until more is sent (measured; a second later it does).
      if (channel.bufferedAmount > 16 * 1024) {
        await new Promise((resolve) => { channel.onbufferedamountlow = resolve; setTimeout(resolve, 100); });
      }
      channel.send(message(script, number));
    }
  }

  /** Begins to speak and to hear on all these channels: `{label, speak, hear, ordered, reliable}` each. */
  async function converse(list) {
    for (const { label, speak: ours, hear: theirs, ordered, reliable } of list) {
      const record = await sn.record(label);
      const talk = { ear: ear(theirs, ordered, reliable), reliable, spoken: false, problem: null };
      talks.set(label, talk);
      const fail = (error) => { talk.problem ??= String(error); };
      record.onmessage = (data) => { try { talk.ear.take(data); } catch (error) { fail(error); } };
      for (const data of record.inbox.splice(0)) record.onmessage(data);
      speak(record.channel, ours).then(() => { talk.spoken = true; }, fail);
    }
  }

  /** Waits until all is said, and heard where that is promised; what was heard on each channel. */
  async function conversed(milliseconds) {
    const over = performance.now() + milliseconds;
    const going = () => [...talks.values()].some((t) => !t.problem && !(t.spoken && (!t.reliable || t.ear.complete())));
    while (going() && performance.now() < over) await new Promise((resolve) => setTimeout(resolve, 50));
    return Object.fromEntries([...talks].map(([label, { ear, spoken, problem }]) => [label, { received: ear.received, spoken, problem }]));
  }

  /** For the harness's own test: the message as Rust would have it. */
  const scripted = (script, number) => ({ text: isText(script, number), bytes: [...content(script, number)] });

  return { converse, conversed, scripted };
})());
