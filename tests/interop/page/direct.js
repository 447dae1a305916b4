// A connection without signalling: the page knows the server's address and certificate, and makes up the rest.
sn.direct = (() => {
  /** Connects as libp2p's WebRTC Direct has it, and gives what comes back on channel 0.
   *
   * Version 1 changes the ufrag and the password of the offer to the ones that both sides share ("SDP munging"). Version 2
   * leaves the offer alone, and tells the server its password within the ufrag that it is called by. */
  return async function direct({ ip, port, fingerprint, version, text }) {
    const pc = new RTCPeerConnection({});
    const channel = pc.createDataChannel('', { negotiated: true, id: 0 });
    channel.binaryType = 'arraybuffer';
    const offer = await pc.createOffer();
    const random = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
    let server = `libp2p+webrtc+v1/${random}`;
    if (version === 1) {
      offer.sdp = offer.sdp
        .replace(/a=ice-ufrag:.*/, `a=ice-ufrag:${server}`)
        .replace(/a=ice-pwd:.*/, `a=ice-pwd:${server}`);
    } else {
      server = `libp2p+webrtc+v2/${offer.sdp.match(/a=ice-pwd:(\S+)/)[1]}`;
    }
    await pc.setLocalDescription(offer);
    const family = ip.includes(':') ? 'IP6' : 'IP4';
    const answer = ['v=0', `o=- 0 0 IN ${family} ${ip}`, 's=-', `c=IN ${family} ${ip}`, 't=0 0', 'a=ice-lite',
      `m=application ${port} UDP/DTLS/SCTP webrtc-datachannel`, 'a=mid:0', 'a=ice-options:ice2',
      `a=ice-ufrag:${server}`, `a=ice-pwd:${server}`, `a=fingerprint:${fingerprint}`, 'a=setup:passive',
      'a=sctp-port:5000', 'a=max-message-size:16384',
      `a=candidate:1467250027 1 UDP 1467250027 ${ip} ${port} typ host`, 'a=end-of-candidates', ''].join('\r\n');
    await pc.setRemoteDescription({ type: 'answer', sdp: answer });
    const echo = await new Promise((resolve, reject) => {
      pc.onconnectionstatechange = () => {
        if (pc.connectionState === 'failed') reject(new Error('the connection failed'));
      };
      channel.onmessage = ({ data }) => resolve(data);
      channel.onopen = () => channel.send(text);
      setTimeout(() => reject(new Error(`still ${pc.connectionState}, ice ${pc.iceConnectionState}`)), 30_000);
    });
    const [own] = pc.localDescription.sdp.match(/a=fingerprint:(.*)/).slice(1);
    pc.close();
    return { echo, fingerprint: own.trim() };
  };
})();
