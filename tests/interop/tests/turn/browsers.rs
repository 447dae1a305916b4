//! Chromium and Firefox with `iceTransportPolicy: "relay"` through our server: two connections of one page that know no
//! address of each other but those on the server.

use std::time::Duration;

use serde_json::json;
use sinnet::turn::{ServerConfig, ServerStats, ephemeral_credentials};
use sinnet::{TurnServer, TurnServerConfig};
use sinnet_interop::browser::{Kind, Privacy};
use sinnet_interop::coturn::{REALM, SECRET};
use sinnet_interop::lab;
use sinnet_interop::net::{Net, PEER_ADDRESS, Side};
use sinnet_interop::session::{Cell, Offers, Session};
use sinnet_interop::tab::plain_channels;
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

/// A user name and a password that are good for ten minutes.
fn credentials(user: &str) -> (String, String) {
    #[expect(clippy::disallowed_methods, reason = "ephemeral credentials end at a time of day")]
    let unix =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    ephemeral_credentials(SECRET.as_bytes(), unix + 600, user)
}

fn relayed_through(kind: Kind, transport: &'static str) {
    lab::run(async |lab| {
        let (stop, thread) = serve(&lab.net);
        let (username, credential) = credentials("page");
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

/// `sinnet connect --relay-only` beside our server: the browser gets no address of its but the relayed one.
fn we_are_relayed_to(kind: Kind) {
    lab::run(async |lab| {
        for (offers, transport) in [(Offers::TheBrowser, "udp"), (Offers::ThePeer, "tcp")] {
            let (stop, thread) = serve(&lab.net);
            let (username, credential) = credentials("native");
            let server = format!("turn:{PEER_ADDRESS}:3478?transport={transport},{username},{credential}");
            let cell = Cell { kind, privacy: Privacy::Plain, offers };
            let relay_only = ["--ice-server", &server, "--relay-only", "--echo"];
            let session = match offers {
                Offers::TheBrowser => Session::start(lab, cell, plain_channels(&["echo"]), &relay_only).await,
                Offers::ThePeer => {
                    let arguments = [&["--channel", "echo"], &relay_only[..]].concat();
                    Session::start(lab, cell, json!([]), &arguments).await
                }
            };
            session.ask("connected", json!([])).await;
            let messages = vec![json!({ "binary": 16_000 }); 20];
            let back = session.ask("echo", json!(["echo", messages])).await;
            assert_eq!(back, json!(vec![json!(["binary", 16_000]); 20]), "{cell:?}");
            session.hang_up().await;
            let _ = stop.send(());
            let stats = thread.join().expect("the server's thread");
            assert!(stats.bytes_to_peers > 320_000 && stats.bytes_to_clients > 320_000, "{cell:?} {stats:?}");
            assert_eq!((stats.wrong_credentials, stats.dropped_malformed), (0, 0), "{stats:?}");
        }
    });
}

#[test]
fn chromium_reaches_a_peer_of_ours_that_may_only_be_relayed() {
    we_are_relayed_to(Kind::Chromium);
}

#[test]
fn firefox_reaches_a_peer_of_ours_that_may_only_be_relayed() {
    we_are_relayed_to(Kind::Firefox);
}
