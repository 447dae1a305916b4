//! A server that nobody has told of its clients, as libp2p's WebRTC Direct has it: one UDP port, no signalling.
//!
//! ```sh
//! cargo run --example webrtc_direct
//! ```
//!
//! The client knows the server's address and the fingerprint of its certificate, and makes up a ufrag that is the password
//! as well. The server learns of the client by its first Binding request, and can't know its certificate: it takes any. So
//! **nobody has shown the server who they are when the connection is up.** libp2p has a Noise handshake over channel 0 for that,
//! with both fingerprints in its prologue; here the two sides only compare the prologues, to show what is bound.
//!
//! <https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md>

use std::error::Error;
use std::net::SocketAddr;

use sinnet::{
    Agreement, DataChannel, DataChannelOptions, DtlsRole, Endpoint, EndpointConfig, Fingerprint,
    HashAlgorithm, IceCredentials, Incoming, IncomingConfig, Message, PeerConfig, PeerConnection,
    PeerIdentity,
};

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a ufrag of the protocol's first version begins with.
const PREFIX: &str = "libp2p+webrtc+v1/";

/// Messages are framed to be no larger.
const MAX_MESSAGE: usize = 16_384;

/// How a certificate is named in a multiaddr: a multihash of SHA-256 (0x12) and 32 bytes (0x20).
fn multihash(fingerprint: &Fingerprint) -> Vec<u8> {
    [&[0x12, 0x20], fingerprint.digest.as_slice()].concat()
}

/// What the Noise handshake begins with: the client's certificate, then the server's.
fn prologue(client: &Fingerprint, server: &Fingerprint) -> Vec<u8> {
    [b"libp2p-webrtc-noise:".to_vec(), multihash(client), multihash(server)].concat()
}

fn config() -> PeerConfig {
    PeerConfig { max_message_size: MAX_MESSAGE, ..Default::default() }
}

/// The channel that both sides open by themselves.
fn noise_channel(connection: &PeerConnection) -> Done<DataChannel> {
    let options = DataChannelOptions { negotiated: Some(0), ..Default::default() };
    Ok(connection.create_data_channel("", options)?)
}

/// The fingerprint of a connection's remote certificate.
fn seen(connection: &PeerConnection) -> Done<Fingerprint> {
    let der = connection.peer_certificate().ok_or("the connection is not up")?;
    Ok(Fingerprint::of(HashAlgorithm::Sha256, &der))
}

/// Takes whoever comes, each in a task: who calls and then says nothing holds up nobody else.
async fn serve(endpoint: Endpoint) -> Done<()> {
    let ours = endpoint.certificate()?.fingerprint(HashAlgorithm::Sha256);
    while let Some(incoming) = endpoint.accept().await {
        let (caller, ours) = (incoming.remote_addr(), ours.clone());
        println!("server: {caller} calls as {}", incoming.local_ufrag());
        tokio::spawn(async move {
            if let Err(error) = greet(incoming, ours).await {
                println!("server: {caller}: {error}");
            }
        });
    }
    Ok(())
}

async fn greet(incoming: Incoming, ours: Fingerprint) -> Done<()> {
    // Both sides have one ufrag, which is the password, too.
    let password = incoming.remote_ufrag().to_owned();
    let mut agreement = incoming.agreement(password, PeerIdentity::DangerAnyCertificate);
    agreement.danger_public_password = true;
    agreement.max_message_size = MAX_MESSAGE as u64;
    let connection = incoming.accept(config(), agreement)?;
    let channel = noise_channel(&connection)?;
    connection.connected().await?;
    // Noise XX would begin here, from this side, and nothing else be believed before it is through.
    channel.send(prologue(&seen(&connection)?, &ours)).await?;
    channel.closed().await;
    connection.close().await;
    Ok(())
}

async fn dial(server: SocketAddr, certhash: Fingerprint) -> Done<()> {
    let endpoint = Endpoint::bind("127.0.0.1:0").await?;
    let ours = endpoint.certificate()?.fingerprint(HashAlgorithm::Sha256);
    // Random and never used again: here the digest of our certificate, which is of this endpoint alone.
    let random: String = ours.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let ufrag = format!("{PREFIX}{random}");
    let shared = IceCredentials { pwd: ufrag.clone(), ufrag };
    let identity = PeerIdentity::Fingerprints(vec![certhash.clone()]);
    let mut agreement = Agreement::new(shared.clone(), shared, DtlsRole::Client, identity);
    agreement.danger_public_password = true;
    agreement.remote_addrs = vec![server];
    agreement.max_message_size = MAX_MESSAGE as u64;
    let connection = endpoint.peer_connection_without_sdp(config(), agreement)?;
    let channel = noise_channel(&connection)?;
    connection.connected().await?;
    let Some(Message::Binary(theirs)) = channel.recv().await else { return Err("no first message".into()) };
    if theirs != prologue(&ours, &certhash) {
        return Err("somebody is between us".into());
    }
    println!("client: connected, and both sides mean the same two certificates");
    drop(channel);
    connection.close().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done<()> {
    let incoming = IncomingConfig::new(|first| {
        (first.local_ufrag.starts_with(PREFIX) && first.local_ufrag == first.remote_ufrag)
            .then(|| first.local_ufrag.into())
    });
    let config = EndpointConfig { incoming: Some(incoming), ..EndpointConfig::bind("127.0.0.1:0".parse()?) };
    let endpoint = Endpoint::new(config).await?;
    let addr = endpoint.local_addrs()[0];
    let certhash = endpoint.certificate()?.fingerprint(HashAlgorithm::Sha256);
    println!("server: /ip4/{}/udp/{}/webrtc-direct, {certhash}", addr.ip(), addr.port());
    let server = tokio::spawn(serve(endpoint.clone()));
    for _ in 0..3 {
        dial(addr, certhash.clone()).await?;
    }
    endpoint.close().await;
    server.await??;
    println!("server: {:?}", endpoint.incoming_stats());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prologue_is_the_one_of_the_specification() {
        let fingerprint = |digits: &str| {
            let bytes = (0..64).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap());
            Fingerprint { algorithm: HashAlgorithm::Sha256, digest: bytes.collect() }
        };
        let client = fingerprint("3e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870");
        let server = fingerprint("30fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99");
        let text: String = prologue(&client, &server).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            text,
            "6c69627032702d7765627274632d6e6f6973653a12203e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad\
             2969e2351bdca870122030fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99"
        );
    }

    #[test]
    fn clients_connect_without_signalling() {
        main().unwrap();
    }
}
