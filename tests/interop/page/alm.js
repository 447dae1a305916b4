// A member of a tree, loaded into a page that the server served: web/sinnet-alm.js with a record of what happened.
// Files are told by `start` and `end` texts around their bytes.
globalThis.alm = (() => {
  let member = null;
  let hash = null;
  const log = { states: [], texts: [], files: [], missed: [], errors: [], tree: null, bytes: 0, server: [], pause: 0 };

  addEventListener('error', ({ message }) => log.errors.push(message));
  addEventListener('unhandledrejection', ({ reason }) => log.errors.push(String(reason)));

  let last = null;

  function onMessage(data) {
    // The longest time within a file in which nothing came, in milliseconds.
    const now = performance.now();
    if (hash && last !== null) log.pause = Math.max(log.pause, Math.round(now - last));
    last = now;
    if (data instanceof ArrayBuffer) {
      log.bytes += data.byteLength;
      hash?.update(new Uint8Array(data));
    } else if (data === 'start') {
      hash = new Sha256();
    } else if (data === 'end') {
      log.files.push(hash?.hex() ?? 'no beginning');
      hash = null;
    } else {
      log.texts.push(data);
    }
  }

  async function enter(type, path, options, enter) {
    const { WebRTCALM } = await import('/sinnet-alm.js');
    const { treeUpdateInterval = 1000, maxDownStreams = 4, ...rest } = options ?? {};
    member = WebRTCALM.create(type, `ws://${location.host}${path}`, rest);
    Object.assign(member, { treeUpdateInterval, maxDownStreams });
    member.addEventListener('message', ({ data }) => onMessage(data));
    member.addEventListener('treeupdate', ({ detail }) => { log.tree = detail; });
    member.addEventListener('missed', ({ detail }) => log.missed.push([String(detail.from), String(detail.to)]));
    member.addEventListener('serverchange', ({ detail }) => log.server.push(detail.state));
    member.onstatechange = ({ id, direction, state }) => log.states.push([direction, id, state]);
    return enter(member);
  }

  /** What a failed test shows. */
  setInterval(() => {
    if (!member) return;
    const { id, path, stats } = member;
    const links = member.getConnectionInfo().map((link) => [link.direction, link.id, link.delivers]);
    document.body.textContent = JSON.stringify({ id, path, links, stats, ...log, tree: null });
  }, 500);

  return {
    create: (name, options, type = 'reliable', path = '/alm') =>
      enter(type, path, options, (member) => member.create(name, 'a test')),
    join: (name, options, path = '/alm') => enter('', path, options, (member) => member.join(name)),
    log,
    say: (text) => member.multicast(text),
    /** Casts a file that the harness knows (`pattern.rs`), in pieces. */
    async cast(seed, size, piece) {
      const bytes = sn.bytes(seed, size);
      const began = performance.now();
      await member.multicast('start');
      for (let at = 0; at < size; at += piece) await member.multicast(bytes.subarray(at, at + piece));
      await member.multicast('end');
      return Math.round(performance.now() - began);
    },
    leave: () => member.leave(),
    id: () => member.id,
    path: () => member.path,
    stats: () => member.stats,
    tree: () => Object.values(member.tree).map(({ id, upstreams, downstreams }) => ({ downstreams, id, upstreams })),
    links: () => member.getConnectionInfo().map(({ id, direction, delivers, rtt }) => ({ id, direction, delivers, rtt })),
  };
})();
