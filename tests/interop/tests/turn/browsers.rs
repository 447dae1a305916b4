//! Chromium and Firefox with `iceTransportPolicy: "relay"` through our server: two connections of one page that know no
//! address of each other but those on the server.

use std::time::Duration;

use sinnet::turn::{ServerConfig, ServerStats, ephemeral_credentials};
use sinnet::{TurnServer, TurnServerConfig};
use sinnet_interop::browser::{Kind, Privacy};
use sinnet_interop::coturn::{REALM, SECRET};
use sinnet_interop::lab;
use sinnet_interop::net::{Net, PEER_ADDRESS, Side};
use tokio::sync::oneshot;

/// What the page does: the candidates of both sides, and the length of what came back.
const PAGE: &str = r#"
(async (servers, size) => {
    const config = { iceServers: servers, iceTransportPolicy: "relay" };
    const [a, b] = [new RTCPeerConnection(config), new RTCPeerConnection(config)];
    const kinds = [];
    for (const [one, other] of [[a, b], [b, a]]) {
        one.onicecandidate = e => {
            if (e.candidate && e.candidate.candidate) {
                kinds.push(/typ (\w+)/.exec(e.candidate.candidate)[1]);
                other.addIceCandidate(e.candidate);
            }
        };
    }
    b.ondatachannel = ({ channel }) => { channel.onmessage = e => channel.send(e.data); };
    const channel = a.createDataChannel("relayed");
    channel.binaryType = "arraybuffer";
    const answered = new Promise((resolve, reject) => {
        let length = 0;
        channel.onopen = () => { for (let i = 0; i < 20; i++) channel.send(new Uint8Array(size)); };
        channel.onmessage = e => { length += e.data.byteLength; if (length === 20 * size) resolve(length); };
        a.onconnectionstatechange = () => a.connectionState === "failed" && reject(new Error("failed"));
    });
    await a.setLocalDescription();
    await b.setRemoteDescription(a.localDescription);
    await b.setLocalDescription();
    await a.setRemoteDescription(b.localDescription);
    const length = await answered;
    a.close();
    b.close();
    return { kinds, length };
})"#;

/// The server in the peer's namespace; what it counted, when it has ended.
fn serve(net: &Net) -> (oneshot::Sender<()>, std::thread::JoinHandle<ServerStats>) {
    let (stop, stopped) = oneshot::channel();
    let thread = net.spawn(Side::Peer, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut core = ServerConfig::new(REALM);
            core.secrets.push(SECRET.as_bytes().to_vec());
            let listen = format!("{PEER_ADDRESS}:3478").parse().expect("an address");
            let relay = PEER_ADDRESS.parse().expect("an address");
            let server =
                TurnServer::bind(TurnServerConfig::new(core, listen, relay)).await.expect("a server");
            let _ = stopped.await;
            server.stats()
        })
    });
    (stop, thread)
}

fn relayed_through(kind: Kind, transport: &'static str) {
    lab::run(async |lab| {
        let (stop, thread) = serve(&lab.net);
        #[expect(clippy::disallowed_methods, reason = "ephemeral credentials end at a time of day")]
        let unix =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let (username, credential) = ephemeral_credentials(SECRET.as_bytes(), unix + 600, "page");
        let url = format!("turn:{PEER_ADDRESS}:3478?transport={transport}");
        let servers = serde_json::json!([{ "urls": url, "username": username, "credential": credential }]);
        let browser = lab.browser(kind, Privacy::Default).await;
        let page = browser.page("about:blank").await.expect("a page");
        let value = page.evaluate(&format!("{PAGE}({servers}, 16000)"), Duration::from_secs(90)).await;
        page.close().await;
        let _ = stop.send(());
        let stats = thread.join().expect("the server's thread");
        let value = value.unwrap_or_else(|why| panic!("{kind:?} over {transport}: {why}; {stats:?}"));
        assert_eq!(value["length"], 320_000, "{value}");
        let kinds = value["kinds"].as_array().expect("a list");
        assert!(kinds.len() >= 2 && kinds.iter().all(|kind| *kind == "relay"), "{value}");
        // Each message crosses the server twice, once for each allocation.
        assert!(stats.bytes_to_peers > 640_000 && stats.bytes_to_clients > 640_000, "{stats:?}");
        assert_eq!((stats.wrong_credentials, stats.dropped_malformed), (0, 0), "{stats:?}");
    });
}

#[test]
fn chromium_is_relayed_over_udp_and_tcp() {
    relayed_through(Kind::Chromium, "udp");
    relayed_through(Kind::Chromium, "tcp");
}

#[test]
fn firefox_is_relayed_over_udp_and_tcp() {
    relayed_through(Kind::Firefox, "udp");
    relayed_through(Kind::Firefox, "tcp");
}
