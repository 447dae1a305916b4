// What a connection uses, from its statistics: the pair of addresses, the round trip, DTLS, the traffic.

const VERSIONS = { FEFD: 'DTLS 1.2', FEFC: 'DTLS 1.3' };

/** Reads the statistics of an RTCPeerConnection. What a browser does not tell is null. */
export async function connectionFacts(connection) {
  const all = [...(await connection.getStats()).values()];
  const byId = (id) => all.find((entry) => entry.id === id);
  const transport = all.find((entry) => entry.type === 'transport');
  const pair = byId(transport?.selectedCandidatePairId)
    ?? all.find((entry) => entry.type === 'candidate-pair' && (entry.selected || (entry.nominated && entry.state === 'succeeded')));
  const version = transport?.tlsVersion?.toUpperCase();
  return {
    local: address(byId(pair?.localCandidateId)),
    remote: address(byId(pair?.remoteCandidateId)),
    /** Milliseconds. */
    roundTrip: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
    sent: pair?.bytesSent ?? 0,
    received: pair?.bytesReceived ?? 0,
    dtls: version === undefined ? null : VERSIONS[version] ?? version,
    suite: transport?.dtlsCipher?.replace(/^TLS_/, '').replace('_WITH_', ' ').replaceAll('_', '-') ?? null,
    maxMessageSize: connection.sctp?.maxMessageSize ?? null,
  };
}

function address(candidate) {
  if (!candidate) return null;
  const host = candidate.address || candidate.ip || 'hidden address';
  return `${host.includes(':') ? `[${host}]` : host}:${candidate.port} (${candidate.candidateType}, ${candidate.protocol})`;
}
