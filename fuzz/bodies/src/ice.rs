//! An ICE agent that is handed datagrams from its peer's address and from others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use sinnet_ice::{Agent, Config, Credentials, Path, Role, State};
use sinnet_stun::{AttributeType, Builder, Class, IntegrityKey, Message, TransactionId};

use crate::stun::rebuild;
use crate::{MANY, check_deadline, datagrams, start};

/// The first byte chooses: bit 0 the role (0 controlled, 1 controlling), bit 1 whether time goes on between datagrams, bit
/// 2 whether every second datagram comes from somewhere else, bit 3 whether messages are signed as our peer would, and
/// responses are to our last request. The rest are datagrams, each behind its length. Without bit 3 nobody knows a password, so no pair becomes valid.
pub fn ice_agent(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let role = if mode & 1 == 0 { Role::Controlled } else { Role::Controlling };
    let mut now = start();
    let mut agent = Agent::new(Arc::new(Config::default()), role, now, [7; 32]);
    let local: SocketAddr = ([10, 0, 0, 1], 4000).into();
    agent.add_local_host(now, local);
    agent.end_of_local_candidates(now);
    let credentials = Credentials { ufrag: PEER_UFRAG.to_owned(), pwd: peer_pwd() };
    agent.set_remote_credentials(now, credentials).expect("these credentials are well formed");
    let candidate = "candidate:1 1 UDP 2122252543 10.0.0.2 4000 typ host".parse().expect("a plain candidate");
    agent.add_remote_candidate(now, &candidate).expect("there is room for one");
    let mut last_request = drain(&mut agent, now);
    for (n, datagram) in datagrams(rest).enumerate() {
        let host = if mode & 4 != 0 && n % 2 == 1 { 3 } else { 2 };
        let path = Path::udp(local, ([10, 0, 0, host], 4000).into());
        let signed = (mode & 8 != 0).then(|| sign(&agent, datagram, last_request)).flatten();
        agent.handle_input(now, path, signed.as_deref().unwrap_or(datagram));
        let _ = sinnet_ice::binding_request_local_ufrag(datagram);
        last_request = drain(&mut agent, now).or(last_request);
        if mode & 2 != 0
            && let Some(deadline) = agent.poll_timeout()
        {
            now = now.max(deadline);
            agent.handle_timeout(now);
            last_request = drain(&mut agent, now).or(last_request);
            check_deadline("ice", now, agent.poll_timeout());
        }
        if mode & 8 != 0 {
            continue;
        }
        assert!(
            !matches!(agent.state(), State::Connected | State::Completed),
            "connected to an unknown peer"
        );
        assert!(
            !agent.is_validated(path) && agent.can_send().is_none(),
            "an unknown peer's path was validated"
        );
    }
}

/// The datagram as the peer would have sent it: its user name and its integrity made right.
fn sign(agent: &Agent, datagram: &[u8], last_request: Option<TransactionId>) -> Option<Vec<u8>> {
    let message = Message::parse(datagram).ok()?;
    let ours = agent.local_credentials();
    let mut named = vec![0; datagram.len() + 64];
    let request = message.class() == Class::Request;
    let id = last_request.filter(|_| !request).unwrap_or(message.transaction_id());
    let mut builder = Builder::new(&mut named, message.class(), message.method(), id);
    if request {
        builder.username_pair(&ours.ufrag, PEER_UFRAG);
    }
    for attribute in message.attributes().filter(|a| !request || a.typ != AttributeType::USERNAME) {
        builder.attribute(attribute.typ, attribute.value);
    }
    let len = builder.finish().ok()?;
    let pwd = if request { ours.pwd.clone() } else { peer_pwd() };
    let mut out = vec![0; len + 64];
    let len = rebuild(&Message::parse(named.get(..len)?).ok()?, &IntegrityKey::short_term(&pwd), &mut out);
    out.truncate(len);
    Some(out)
}

const PEER_UFRAG: &str = "zzzz";

fn peer_pwd() -> String {
    "z".repeat(24)
}

/// Takes what there is to take, and gives the id of the last request among it.
fn drain(agent: &mut Agent, now: Instant) -> Option<TransactionId> {
    let mut out = [0; 1200];
    let mut last = None;
    let mut sent = 0;
    while let Some(transmit) = agent.poll_transmit(now, &mut out) {
        let message = Message::parse(&out[..transmit.len]).expect("an agent sends STUN");
        if message.class() == Class::Request {
            last = Some(message.transaction_id());
        }
        sent += 1;
        assert!(sent < MANY, "datagrams without end");
    }
    let told = (0..MANY).take_while(|_| agent.poll_event().is_some()).count();
    assert!(told < MANY, "events without end");
    last
}
