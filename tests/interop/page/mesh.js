// A member of a mesh, loaded into a page that the server served: web/sinnet-p2p.js with a list of what happened.
globalThis.mesh = (() => {
  let service = null;
  let group = null;
  const events = [];

  /** Bytes as an array, which JSON can carry. */
  const plain = (data) => typeof data === 'string' ? data : [...new Uint8Array(data)];

  async function join(id) {
    const { Service } = await import('/sinnet-p2p.js');
    if (service === null) {
      service = new Service(`ws://${location.host}/p2p`);
      service.onclose = () => events.push(['closed']);
      await service.join();
    }
    group = id === undefined ? await service.createGroup() : await service.joinGroup(id);
    group.onmessage = (user, data) => events.push(['message', user, plain(data)]);
    for (const type of ['connected', 'disconnected', 'unreachable']) {
      group.addEventListener(type, ({ user, reason }) => events.push([type, user, ...(reason ? [reason] : [])]));
    }
    return { group: group.id(), me: service.info().id, capability: group.capability() };
  }

  return {
    join,
    connected: () => group.connected(),
    /** What happened since the last call. */
    events: () => events.splice(0),
    broadcast: (data) => group.broadcast(typeof data === 'string' ? data : new Uint8Array(data)),
    unicast: (user, data) => group.unicast(user, typeof data === 'string' ? data : new Uint8Array(data).buffer),
    /** Sends so many bytes in messages of 64 KiB. */
    async flood(size) {
      for (let sent = 0; sent < size; sent += 65536) {
        const failed = await group.broadcast(new Uint8Array(65536).fill(sent / 65536));
        if (failed.length > 0) throw failed[0].error;
      }
    },
    leave: () => group.leave(),
    /** The message of what a call throws. */
    refusal: (id) => service.joinGroup(id).then(() => null, (error) => error.message),
  };
})();
