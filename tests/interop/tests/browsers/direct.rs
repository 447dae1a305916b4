//! Browsers that connect to a server which nobody has told of them, as libp2p's WebRTC Direct has it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use sinnet::{
    DataChannelOptions, Endpoint, EndpointConfig, Fingerprint, HashAlgorithm, Incoming, IncomingConfig,
    PeerConfig, PeerIdentity,
};
use sinnet_interop::browser::{Kind, Privacy};
use sinnet_interop::lab::Lab;
use sinnet_interop::net::{PEER_ADDRESS, Side};
use sinnet_interop::tab::Tab;
use tokio::sync::oneshot;

const V1: &str = "libp2p+webrtc+v1/";
const V2: &str = "libp2p+webrtc+v2/";

/// The browser's password: the shared one, or what it says after the prefix of our ufrag.
fn password(incoming: &Incoming) -> String {
    incoming.local_ufrag().strip_prefix(V2).unwrap_or(incoming.local_ufrag()).to_owned()
}

/// Accepts one peer, sends back its first message, and gives its certificate's fingerprint.
async fn serve(bound: oneshot::Sender<(SocketAddr, String)>) -> String {
    let incoming = IncomingConfig::new(|first| {
        [V1, V2].iter().any(|prefix| first.local_ufrag.starts_with(prefix)).then(|| first.local_ufrag.into())
    });
    let bind = EndpointConfig::bind(format!("{PEER_ADDRESS}:0").parse().unwrap());
    let endpoint = Endpoint::new(EndpointConfig { incoming: Some(incoming), ..bind }).await.unwrap();
    let certificate = endpoint.certificate().unwrap().fingerprint(HashAlgorithm::Sha256);
    bound.send((endpoint.local_addrs()[0], certificate.to_string())).unwrap();
    let incoming = endpoint.accept().await.expect("the browser calls");
    let mut agreement = incoming.agreement(password(&incoming), PeerIdentity::DangerAnyCertificate);
    agreement.danger_public_password = true;
    agreement.max_message_size = 16_384;
    // As libp2p wants it, and as a full agent.
    let ice_lite = incoming.local_ufrag().starts_with(V1);
    let config = PeerConfig { ice_lite, ..Default::default() };
    let connection = incoming.accept(config, agreement).unwrap();
    let options = DataChannelOptions { negotiated: Some(0), ..Default::default() };
    let channel = connection.create_data_channel("", options).unwrap();
    let message = channel.recv().await.expect("a message");
    channel.send(message).await.unwrap();
    let der = connection.peer_certificate().expect("the connection is up");
    // The browser closes when it has the echo.
    channel.closed().await;
    Fingerprint::of(HashAlgorithm::Sha256, &der).to_string()
}

async fn connects(lab: &mut Lab, kind: Kind, version: u8) {
    let (bound, address) = oneshot::channel();
    let (done, seen) = oneshot::channel();
    lab.net.spawn(Side::Peer, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = done.send(runtime.block_on(serve(bound)));
    });
    let (addr, fingerprint) = address.await.expect("the server starts");
    let tab = Tab::open(lab.browser(kind, Privacy::Default).await).await;
    let ip = addr.ip().to_string();
    let question = json!([{ "ip": ip, "port": addr.port(), "fingerprint": fingerprint, "version": version, "text": "hello" }]);
    let said = tab.ask("direct", question).await;
    assert_eq!(said["echo"], "hello");
    let seen = tokio::time::timeout(Duration::from_secs(60), seen).await.expect("the server ends").unwrap();
    assert_eq!(said["fingerprint"], *seen, "the server saw the browser's own certificate");
    tab.close().await;
}

pub(crate) async fn it_connects_without_signalling_by_a_password_that_both_share(lab: &mut Lab, kind: Kind) {
    connects(lab, kind, 1).await;
}

pub(crate) async fn it_connects_without_signalling_by_a_password_within_the_ufrag(lab: &mut Lab, kind: Kind) {
    connects(lab, kind, 2).await;
}
