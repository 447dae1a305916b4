// The browser's side of the interoperability tests, loaded into an empty page.
//
// Signalling leaves through `sn.take()`, which the harness calls in a loop: it answers with everything queued, as
// `{signal: line}` or `{log: text}`. Lines from the peer enter through `sn.accept(line)`. Everything else is a
// question that a test asks with one call; a promise that rejects fails the test with the reason.
globalThis.sn = (() => {
  const outbox = [];
  let wake = () => {};
  const post = (entry) => { outbox.push(entry); wake(); };
  const began = performance.now();
  const log = (text) => post({ log: `${(performance.now() - began).toFixed(0)} ms ${text}` });
  const signal = (line) => post({ signal: line });

  /** @type {RTCPeerConnection} */
  let pc;
  const channels = [];      // every channel, in the order it appeared; see watch()
  const waiters = [];       // run whenever anything happened; see until()
  const changed = () => { for (const w of waiters.slice()) w(); };

  /** Resolves with the first true value of `condition()`, looked at whenever anything happens. */
  function until(condition, milliseconds, what) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const value = condition();
        if (!value) return;
        end();
        resolve(value);
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`waited ${milliseconds} ms for ${what}; ${describe()}`));
      }, milliseconds);
      const end = () => { clearTimeout(timer); waiters.splice(waiters.indexOf(look), 1); };
      waiters.push(look);
      look();
    });
  }

  function describe() {
    if (!pc) return 'not started';
    return `connection ${pc.connectionState}, ice ${pc.iceConnectionState}, sctp ${pc.sctp?.state}, channels ` +
      (channels.map((c) => `${c.label}#${c.channel.id}:${c.channel.readyState}(${c.inbox.length} waiting)`).join(' ') || 'none');
  }

  // ---- signalling -------------------------------------------------------------------------------------------

  /** Makes the connection and `open`s channels; the offerer then offers, the answerer waits for a line. */
  async function start({ offer, open: list, config = {} }) {
    pc = new RTCPeerConnection(config);
    pc.onconnectionstatechange = () => { log(`connection ${pc.connectionState}`); changed(); };
    pc.oniceconnectionstatechange = () => { log(`ice ${pc.iceConnectionState}`); changed(); };
    pc.onsignalingstatechange = changed;
    pc.onicecandidateerror = (e) => log(`candidate error ${e.errorText}`);
    pc.ondatachannel = ({ channel }) => { watch(channel, true); };
    pc.onicecandidate = ({ candidate }) => {
      // Firefox says the end with an empty candidate and then null, Chromium with null alone.
      if (candidate === null) signal({ type: 'end-of-candidates' });
      else if (candidate.candidate !== '') {
        signal({ type: 'candidate', candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex });
      }
    };
    for (const { label, options } of list) open(label, options);
    if (offer) {
      await pc.setLocalDescription();
      signal({ type: 'offer', sdp: pc.localDescription.sdp });
    }
  }

  async function accept(line) {
    switch (line.type) {
      case 'offer':
        await pc.setRemoteDescription(line);
        await pc.setLocalDescription();
        signal({ type: 'answer', sdp: pc.localDescription.sdp });
        break;
      case 'answer':
        await pc.setRemoteDescription(line);
        break;
      case 'candidate':
        await pc.addIceCandidate({ candidate: line.candidate, sdpMid: line.sdpMid, sdpMLineIndex: line.sdpMLineIndex });
        break;
      case 'end-of-candidates':
        await pc.addIceCandidate();
        break;
      default:
        throw new Error(`unknown line ${JSON.stringify(line)}`);
    }
  }

  async function take(milliseconds) {
    if (outbox.length === 0) {
      await new Promise((resolve) => { wake = resolve; setTimeout(resolve, milliseconds); });
      wake = () => {};
    }
    return outbox.splice(0);
  }

  // ---- channels ---------------------------------------------------------------------------------------------

  function watch(channel, remote) {
    channel.binaryType = 'arraybuffer';
    const record = { channel, label: channel.label, remote, inbox: [], received: 0, events: [], onmessage: null };
    const note = (event) => { record.events.push(event); log(`channel ${channel.label}#${channel.id} ${event}`); changed(); };
    channel.onopen = () => note('open');
    channel.onclosing = () => note('closing');
    channel.onclose = () => note('close');
    channel.onerror = ({ error }) => note(`error ${error?.errorDetail} ${error?.sctpCauseCode} ${error?.message}`);
    channel.onmessage = ({ data }) => {
      record.received++;
      if (record.onmessage) record.onmessage(data);
      else { record.inbox.push(data); changed(); }
    };
    channels.push(record);
    log(`channel ${channel.label} ${remote ? 'from the peer' : 'made here'}`);
    changed();
    return record;
  }

  function open(label, options) {
    watch(pc.createDataChannel(label, options), false);
  }

  /** The newest channel of that label, once it is open. */
  async function opened(label, milliseconds = 15000) {
    const find = () => channels.findLast((c) => c.label === label && c.channel.readyState === 'open');
    return until(find, milliseconds, `channel ${label} to open`);
  }

  async function facts(label) {
    const { channel, remote } = await opened(label);
    return {
      label: channel.label, protocol: channel.protocol, ordered: channel.ordered, negotiated: channel.negotiated,
      maxRetransmits: channel.maxRetransmits, maxPacketLifeTime: channel.maxPacketLifeTime, id: channel.id, remote,
    };
  }

  async function close(label) {
    (await opened(label)).channel.close();
  }

  async function closed(label, milliseconds = 15000) {
    const record = channels.findLast((c) => c.label === label);
    await until(() => record.channel.readyState === 'closed' && record.events.includes('close'), milliseconds, `channel ${label} to close`);
    return record.events;
  }

  async function next(record, milliseconds = 15000) {
    await until(() => record.inbox.length > 0, milliseconds, `a message on ${record.label}`).catch(async (e) => {
      throw new Error(`${e.message}; pairs:\n${await pairs()}`);
    });
    return record.inbox.shift();
  }

  // ---- messages ---------------------------------------------------------------------------------------------

  /** Bytes that the harness makes too (`pattern.rs`): xorshift32, each word little-endian. */
  function pattern(seed, length) {
    const words = new Uint32Array((length + 3) >> 2);
    let x = seed >>> 0;
    for (let i = 0; i < words.length; i++) {
      x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
      words[i] = x;
    }
    return { bytes: new Uint8Array(words.buffer, 0, length), state: x >>> 0 };
  }

  const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789 ,.;:-_#+*~<>|(){}[]=!?$%&/';

  function text(seed, length) {
    const { bytes } = pattern(seed, length);
    let s = '';
    for (let at = 0; at < length; at += 8192) {
      s += String.fromCharCode(...bytes.subarray(at, at + 8192).map((b) => alphabet.charCodeAt(b & 63)));
    }
    return s;
  }

  function same(sent, got) {
    if (typeof sent === 'string') {
      if (typeof got !== 'string') throw new Error(`sent a string of ${sent.length}, got ${Object.prototype.toString.call(got)} of ${got.byteLength}`);
      if (got !== sent) throw new Error(`string of ${sent.length} came back different (length ${got.length})`);
      return ['string', new TextEncoder().encode(got).length];
    }
    if (!(got instanceof ArrayBuffer)) throw new Error(`sent ${sent.length} bytes, got a ${typeof got} of ${got.length}`);
    if (got.byteLength !== sent.length) throw new Error(`sent ${sent.length} bytes, got ${got.byteLength}`);
    const back = new Uint8Array(got);
    for (let i = 0; i < sent.length; i++) if (back[i] !== sent[i]) throw new Error(`byte ${i} of ${sent.length} differs`);
    return ['binary', got.byteLength];
  }

  function message({ string, binary, literal }, seed) {
    if (literal !== undefined) return literal;
    return string !== undefined ? text(seed, string) : pattern(seed, binary).bytes;
  }

  /** Sends each message and compares what comes back, one at a time: `[type, bytes]` of each. */
  async function echo(label, list) {
    const record = await opened(label);
    const result = [];
    for (const [i, what] of list.entries()) {
      const sent = message(what, 1000 + i);
      record.channel.send(sent);
      result.push(same(sent, await next(record)));
    }
    if (record.inbox.length > 0) throw new Error(`${record.inbox.length} messages too many on ${label}`);
    return result;
  }

  /** Sends all, then compares what comes back, in order. */
  async function burst(label, list) {
    const record = await opened(label);
    const sent = list.map((what, i) => message(what, 2000 + i));
    for (const m of sent) record.channel.send(m);
    const result = [];
    for (const m of sent) result.push(same(m, await next(record)));
    if (record.inbox.length > 0) throw new Error(`${record.inbox.length} messages too many on ${label}`);
    return result;
  }

  /** Sends without waiting for anything. */
  async function say(label, list) {
    const record = await opened(label);
    list.forEach((what, i) => record.channel.send(message(what, 3000 + i)));
  }

  /** Answers every message with itself from now on: what `sinnet connect --echo` does. */
  async function reflect(label) {
    const record = await opened(label);
    record.onmessage = (data) => record.channel.send(data);
    for (const data of record.inbox.splice(0)) record.onmessage(data);
  }

  // ---- files (protocol "sinnet-file": name and size; the bytes; their hash; the receiver's verdict) --------------

  async function sendFile(label, name, seed, size) {
    const record = await opened(label);
    const { channel } = record;
    const chunk = Math.min(65536, pc.sctp.maxMessageSize) & ~3;   // whole words of the pattern
    const hash = new Sha256();
    channel.bufferedAmountLowThreshold = 256 * 1024;
    channel.onbufferedamountlow = changed;
    channel.send(JSON.stringify({ name, size }));
    for (let at = 0, state = seed; at < size;) {
      const part = pattern(state, Math.min(chunk, size - at));
      state = part.state;
      at += part.bytes.length;
      hash.update(part.bytes);
      channel.send(part.bytes);
      if (channel.bufferedAmount > 1024 * 1024) {
        await until(() => channel.bufferedAmount <= 256 * 1024 || channel.readyState !== 'open', 60000, 'the buffer to drain');
        if (channel.readyState !== 'open') throw new Error(`channel closed after ${at} of ${size} bytes`);
      }
    }
    const sha256 = hash.hex();
    channel.send(JSON.stringify({ sha256 }));
    const verdict = JSON.parse(await next(record, 60000));
    return { sha256, verdict };
  }

  /** Takes the file that the peer offers on its channel of protocol "sinnet-file". */
  async function receiveFile(milliseconds) {
    const record = await until(() => channels.find((c) => c.remote && c.channel.protocol === 'sinnet-file'), 15000, 'a file channel');
    const hash = new Sha256();
    const got = { name: null, announced: null, size: 0, messages: 0, largest: 0 };
    let end = null;
    let problem = null;
    const onmessage = (data) => {
      if (typeof data !== 'string') {
        if (got.announced === null || end) problem ??= 'bytes outside of the file';
        got.size += data.byteLength;
        got.messages++;
        got.largest = Math.max(got.largest, data.byteLength);
        hash.update(new Uint8Array(data));
      } else if (got.announced === null) {
        const head = JSON.parse(data);
        got.name = head.name;
        got.announced = head.size;
      } else {
        end = JSON.parse(data);
        changed();
      }
    };
    for (const data of record.inbox.splice(0)) onmessage(data);
    record.onmessage = onmessage;
    await until(() => end, milliseconds, `the end of the file`).catch((e) => {
      throw new Error(`${e.message}; file so far ${JSON.stringify(got)}`);
    });
    if (problem) throw new Error(problem);
    got.sha256 = hash.hex();
    got.claimed = end.sha256;
    const ok = got.sha256 === end.sha256 && got.size === got.announced;
    record.channel.send(JSON.stringify(ok ? { ok, sha256: got.sha256, size: got.size } : { ok, error: 'hash or size differs' }));
    got.label = record.label;
    return got;
  }

  // ---- the connection -------------------------------------------------------------------------------------------

  async function connected(milliseconds = 15000) {
    await until(() => pc.connectionState === 'connected', milliseconds, 'the connection');
    return { maxMessageSize: pc.sctp.maxMessageSize, dtls: pc.sctp.transport.state };
  }

  /** Waits until the connection is in one of these states, or the time is over; says where it ended. */
  async function settled(states, milliseconds) {
    await until(() => states.includes(pc.connectionState), milliseconds, '').catch(() => {});
    return {
      connection: pc.connectionState, ice: pc.iceConnectionState, sctp: pc.sctp?.state ?? null,
      received: channels.reduce((n, c) => n + c.received, 0),
      opened: channels.filter((c) => c.events.includes('open')).length,
    };
  }

  /** What getStats says about the pair in use and the transport. */
  // All of getStats, for tests that compare it.
  const report = async () => [...(await pc.getStats()).values()];

  /** The candidate pairs, a line for each. */
  async function pairs() {
    const all = new Map((await pc.getStats()).entries());
    const transport = [...all.values()].find((s) => s.type === 'transport');
    return [...all.values()].filter((s) => s.type === 'candidate-pair').map((s) => {
      const [local, remote] = [all.get(s.localCandidateId), all.get(s.remoteCandidateId)];
      return `${s.id === transport?.selectedCandidatePairId || s.selected ? '*' : ' '} ${local?.port} (${local?.usernameFragment}) to ` +
        `${remote?.port} (${remote?.usernameFragment}, ${remote?.candidateType}): ${s.state}${s.nominated ? ', nominated' : ''}, ` +
        `checks sent ${s.requestsSent} answered ${s.responsesReceived}, received ${s.requestsReceived} answered ${s.responsesSent}, ` +
        `bytes sent ${s.bytesSent} received ${s.bytesReceived}`;
    }).join('\n');
  }

  async function stats() {
    const all = [...(await pc.getStats()).values()];
    const transport = all.find((s) => s.type === 'transport');
    const pair = all.find((s) => s.type === 'candidate-pair' && (s.id === transport?.selectedCandidatePairId || s.selected)) ?? {};
    const local = all.find((s) => s.id === pair.localCandidateId) ?? {};
    const remote = all.find((s) => s.id === pair.remoteCandidateId) ?? {};
    return {
      tlsVersion: transport?.tlsVersion ?? null, dtlsCipher: transport?.dtlsCipher ?? null,
      local: local.candidateType ?? null, remote: remote.candidateType ?? null, protocol: local.protocol ?? null,
    };
  }

  /** The username fragments in force: the page's and the peer's. */
  function ufrags() {
    return [pc.currentLocalDescription, pc.currentRemoteDescription].map((d) => /a=ice-ufrag:(\S+)/.exec(d.sdp)[1]);
  }

  async function restart() {
    pc.restartIce();
    await pc.setLocalDescription();
    signal({ type: 'offer', sdp: pc.localDescription.sdp });
  }

  /** Waits until ICE has been restarted since `before`, and is up. */
  async function restarted(before, milliseconds = 15000) {
    await until(() => pc.signalingState === 'stable' && ufrags().every((u, i) => u !== before[i])
      && ['connected', 'completed'].includes(pc.iceConnectionState), milliseconds, 'the ICE restart');
    return ufrags();
  }

  const hangUp = () => { pc.close(); log('pc.close()'); };

  return {
    start, accept, take, open, opened: async (label) => { await opened(label); }, facts, close, closed, echo, burst, say, reflect,
    sendFile, receiveFile, connected, settled, stats, report, ufrags, restart, restarted, hangUp, describe, record: opened,
    bytes: (seed, length) => pattern(seed, length).bytes,
    sha256: (seed, length) => new Sha256().update(pattern(seed, length).bytes).hex(),
  };
})();
