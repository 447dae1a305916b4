//! TURN: a client whose server says anything, a server whose clients do, and URIs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sinnet_stun::{
    AttributeType, Builder, Class, Message, Method, PasswordAlgorithm, TransactionId, long_term_key,
};
use sinnet_turn::{
    Client, ClientConfig, Credentials, FiveTuple, MAX_REQUEST, MAX_RESPONSE, MAX_UNIT, RelayId, Server,
    ServerConfig, ServerEvent, ServerUri, StreamDecoder, Transport,
};

use crate::stun::rebuild;
use crate::{MANY, check_deadline, datagrams, start};

const USER: &str = "alice";
const PASSWORD: &str = "wonderland";
const REALM: &str = "example.org";

fn server() -> SocketAddr {
    ([203, 0, 113, 1], 3478).into()
}

fn peer() -> SocketAddr {
    ([192, 0, 2, 7], 7000).into()
}

/// The first byte chooses: bit 0 a stream, bit 1 whether time goes on between datagrams, bit 2 whether responses are made
/// to fit the last request and signed with our key, bit 3 whether a peer is permitted and bound first. The rest are
/// datagrams, or pieces of the stream, each behind its length. Data is only ever given out of a permitted peer.
pub fn turn_client(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let transport = if mode & 1 == 0 { Transport::Datagram } else { Transport::Stream };
    let config = ClientConfig::new(Credentials { username: USER.to_owned(), password: PASSWORD.to_owned() });
    let mut now = start();
    let mut client = Client::new(Arc::new(config), transport, server(), now, [7; 32]);
    if mode & 8 != 0 {
        client.permit(now, peer().ip()).expect("there is room for one");
        client.bind_channel(now, peer()).expect("there is room for one");
    }
    let mut last = drain_client(&mut client, now);
    let mut decoder = StreamDecoder::new();
    for datagram in datagrams(rest) {
        if transport == Transport::Stream {
            decoder.push(datagram);
            loop {
                match decoder.poll() {
                    Ok(Some(unit)) => take(&mut client, now, unit, mode, last),
                    Ok(None) => break,
                    Err(_) => {
                        client.disconnected();
                        decoder = StreamDecoder::new();
                        break;
                    }
                }
            }
            assert!(decoder.buffered() < MAX_UNIT);
        } else {
            take(&mut client, now, datagram, mode, last);
        }
        client.connected(now);
        last = drain_client(&mut client, now).or(last);
        let _ = client.send(now, peer(), b"data", &mut [0; 100]);
        if mode & 2 != 0
            && let Some(deadline) = client.poll_timeout()
        {
            now = now.max(deadline);
            client.handle_timeout(now);
            last = drain_client(&mut client, now).or(last);
            check_deadline("turn client", now, client.poll_timeout());
        }
    }
    client.close(now);
    for _ in 0..MANY {
        let Some(deadline) = client.poll_timeout() else { break };
        client.handle_timeout(deadline);
        drain_client(&mut client, deadline);
    }
    assert!(client.is_over(), "a closed client ends");
}

fn take(client: &mut Client, now: Instant, datagram: &[u8], mode: u8, last: Option<(Method, TransactionId)>) {
    let signed = (mode & 4 != 0).then(|| answer(datagram, last?)).flatten();
    let from = client.server();
    if let Some(received) = client.handle_input(now, from, signed.as_deref().unwrap_or(datagram)) {
        assert!(mode & 8 != 0 && received.peer.ip() == peer().ip(), "data of a peer without a permission");
    }
}

/// A response as our server would have made it, to the last request.
fn answer(datagram: &[u8], (method, id): (Method, TransactionId)) -> Option<Vec<u8>> {
    let message = Message::parse(datagram).ok()?;
    if !matches!(message.class(), Class::SuccessResponse | Class::ErrorResponse) {
        return None;
    }
    let mut fitting = vec![0; datagram.len() + 64];
    let mut builder = Builder::new(&mut fitting, message.class(), method, id);
    for attribute in message.attributes() {
        builder.attribute(attribute.typ, attribute.value);
    }
    let len = builder.finish().ok()?;
    let key = long_term_key(USER, REALM, PASSWORD, PasswordAlgorithm::MD5)?;
    let mut out = vec![0; len + 64];
    let len = rebuild(&Message::parse(fitting.get(..len)?).ok()?, &key, &mut out);
    out.truncate(len);
    Some(out)
}

fn drain_client(client: &mut Client, now: Instant) -> Option<(Method, TransactionId)> {
    let mut out = [0; MAX_REQUEST];
    let mut last = None;
    for n in 0.. {
        assert!(n < MANY, "the client never stops sending");
        let Some(len) = client.poll_transmit(now, &mut out) else { break };
        let message = Message::parse(out.get(..len).unwrap_or_default()).expect("what is sent is STUN");
        last = Some((message.method(), message.transaction_id()));
    }
    while client.poll_event().is_some() {}
    last
}

/// The first byte chooses: bit 0 whether time goes on between datagrams, bit 1 whether requests are signed as a user
/// would, bit 2 whether sockets can be opened, bit 3 a stream. The rest are datagrams, each behind its length. Without bit
/// 1 nobody gets an allocation, and no more than a challenge.
pub fn turn_server(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let mut config = ServerConfig::new(REALM);
    config.users.insert(USER.to_owned(), PASSWORD.to_owned());
    config.own_addresses.push(server().ip());
    config.ipv6 = true;
    let mut now = start();
    let mut core = Server::new(Arc::new(config), now, Duration::from_secs(1_700_000_000), [7; 32]);
    let transport = if mode & 8 == 0 { Transport::Datagram } else { Transport::Stream };
    let tuple = FiveTuple { client: ([198, 51, 100, 1], 4000).into(), server: server(), transport };
    let nonce = challenge(&mut core, now, tuple);
    let mut relays = Vec::new();
    for datagram in datagrams(rest) {
        let signed = (mode & 2 != 0).then(|| sign(datagram, nonce.as_deref()?)).flatten();
        let bytes = signed.as_deref().unwrap_or(datagram);
        if let Some(forward) = core.handle_input(now, tuple, bytes) {
            assert!(mode & 2 != 0 && relays.contains(&forward.relay), "a stranger's data was relayed");
            assert!(
                forward.to.port() != 0 && !forward.to.ip().is_loopback() && forward.to.ip() != server().ip()
            );
        }
        drain_server(&mut core, now, mode & 4 == 0, &mut relays, bytes.len());
        for relay in relays.clone() {
            let mut out = [0; 200];
            core.handle_relayed(now, relay, peer(), b"data", &mut out);
        }
        if mode & 1 != 0 {
            now += Duration::from_secs(40);
            core.handle_timeout(now);
            drain_server(&mut core, now, mode & 4 == 0, &mut relays, usize::MAX);
            check_deadline("turn server", now, core.poll_timeout());
        }
        let made = core.stats().allocations;
        assert!(made <= usize::from(mode & 2 != 0), "{made} allocations");
    }
    core.disconnected(tuple);
    assert_eq!((core.stats().allocations, core.poll_timeout()), (0, None));
}

fn challenge(core: &mut Server, now: Instant, tuple: FiveTuple) -> Option<String> {
    let mut out = [0; MAX_RESPONSE];
    let id = TransactionId([9; 12]);
    let len = Builder::new(&mut out, Class::Request, Method::ALLOCATE, id).finish().ok()?;
    core.handle_input(now, tuple, out.get(..len)?);
    let (_, len) = core.poll_transmit(now, &mut out)?;
    Message::parse(out.get(..len)?).ok()?.nonce().map(str::to_owned)
}

/// The request as the user would have sent it.
fn sign(datagram: &[u8], nonce: &str) -> Option<Vec<u8>> {
    let message = Message::parse(datagram).ok()?;
    if message.class() != Class::Request {
        return None;
    }
    let mut named = vec![0; datagram.len() + 200];
    let mut builder = Builder::new(&mut named, message.class(), message.method(), message.transaction_id());
    let ours = [
        AttributeType::USERNAME,
        AttributeType::REALM,
        AttributeType::NONCE,
        AttributeType::PASSWORD_ALGORITHM,
        AttributeType::PASSWORD_ALGORITHMS,
    ];
    for attribute in message.attributes().filter(|a| !ours.contains(&a.typ)) {
        builder.attribute(attribute.typ, attribute.value);
    }
    builder.username(USER).realm(REALM).nonce(nonce);
    let len = builder.finish().ok()?;
    let key = long_term_key(USER, REALM, PASSWORD, PasswordAlgorithm::MD5)?;
    let mut out = vec![0; len + 64];
    let len = rebuild(&Message::parse(named.get(..len)?).ok()?, &key, &mut out);
    out.truncate(len);
    Some(out)
}

fn drain_server(core: &mut Server, now: Instant, opens: bool, relays: &mut Vec<RelayId>, input: usize) {
    let mut port = 50_000;
    while let Some(event) = core.poll_event() {
        match event {
            ServerEvent::OpenRelay { relay, family, .. } if opens => {
                let ip: std::net::IpAddr = match family.0 {
                    1 => server().ip(),
                    _ => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
                };
                relays.push(relay);
                core.relay_opened(now, relay, SocketAddr::new(ip, port));
                port += 1;
            }
            ServerEvent::OpenRelay { relay, .. } => core.relay_failed(now, relay),
            ServerEvent::CloseRelay { relay } => relays.retain(|open| *open != relay),
            _ => {}
        }
    }
    let mut out = [0; MAX_RESPONSE];
    let mut answers = 0;
    while let Some((_, len)) = core.poll_transmit(now, &mut out) {
        answers += 1;
        assert!(len <= input.saturating_add(140), "{len} bytes for {input}");
        Message::parse(out.get(..len).unwrap_or_default()).expect("what is sent is STUN");
    }
    assert!(answers <= 1, "{answers} answers to one datagram");
}

/// A server's URI. What parses is written, and parses to the same.
pub fn turn_uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(uri) = text.parse::<ServerUri>() {
        let written = uri.to_string();
        assert_eq!(written.parse(), Ok(uri), "{written:?}");
    }
}
