//! An ICE agent that is handed datagrams from its peer's address and from others.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use sinnet_ice::{Address, Agent, Config, Credentials, Path, Protocol, RelayProtocol, Role, State, TcpType};
use sinnet_stun::{AttributeType, Builder, Class, IntegrityKey, Message, TransactionId};

use crate::stun::rebuild;
use crate::{MANY, check_deadline, datagrams, start};

/// The first byte chooses: bit 0 the role (0 controlled, 1 controlling), bit 1 whether time goes on between datagrams, bit
/// 2 whether every second datagram comes from somewhere else, bit 3 whether messages are signed as our peer would, and
/// responses are to our last request. Bit 4 makes the agent lite, bit 5 has it number its nominations. The rest are datagrams, each behind its
/// length; bit 6 has the first byte of each call something of the owner's. Without bit 3 nobody knows a password, so no pair becomes valid.
pub fn ice_agent(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let role = if mode & 1 == 0 { Role::Controlled } else { Role::Controlling };
    let mut now = start();
    let config = Config { lite: mode & 16 != 0, resolve_names: true, ..Config::default() };
    let mut agent = Agent::new(Arc::new(config), role, now, [7; 32]);
    agent.set_remote_renomination(mode & 32 != 0);
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
        if mode & 64 != 0
            && let Some(&call) = datagram.first()
        {
            owner_calls(&mut agent, now, call, path);
        }
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
        if mode & 8 != 0 || agent.state() == State::Failed {
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

/// One of the calls that the owner of the sockets makes; the high bits choose of what.
fn owner_calls(agent: &mut Agent, now: Instant, call: u8, path: Path) {
    let host = call >> 4;
    let base = SocketAddr::from(([10, 0, 1, host], 4000 + u16::from(host)));
    let server = IpAddr::from([198, 51, 100, 7]);
    match call & 15 {
        0 => drop(agent.add_local_host(now, base)),
        1 => {
            let host = format!("name-{host}.local");
            drop(agent.add_local_host_as(now, base, Address::Name { host, port: 0 }));
        }
        2 => {
            let outer = SocketAddr::from(([203, 0, 113, host], 4000));
            drop(agent.add_local_host_as(now, base, Address::Ip(outer)));
        }
        3 => drop(agent.add_server_reflexive(now, base, ([203, 0, 113, host], 5000).into(), server)),
        4 => drop(agent.add_relayed(now, ([198, 51, 100, 7], 5000).into(), base, server, RelayProtocol::Tcp)),
        5 => drop(agent.add_local_tcp(now, base, TcpType::Active)),
        6 => drop(agent.add_local_tcp(now, base, TcpType::Passive)),
        7 => agent.remove_local(now, Protocol::Udp, base),
        8 => agent.remove_local(now, Protocol::Udp, path.local),
        9 => agent.remove_local(now, Protocol::Tcp, base),
        10 => agent.connection_closed(now, Path::tcp(base, path.remote)),
        11 => agent.note_data(now, path),
        12 => agent.doubt_path(now),
        13 => {
            let line = format!("candidate:1 1 udp 1 name-{host}.local 4000 typ host");
            let _ = agent.add_remote_candidate(now, &line.parse().expect("a plain candidate"));
        }
        14 => {
            while let Some(name) = agent.poll_name() {
                agent.name_resolved(now, &name, (host & 1 == 0).then_some([10, 0, 2, host].into()));
            }
        }
        _ => {
            let line = format!("candidate:2 1 tcp 1 10.0.2.{host} 4000 typ host tcptype passive");
            let _ = agent.add_remote_candidate(now, &line.parse().expect("a plain candidate"));
        }
    }
    assert!(agent.pairs().count() <= 100, "pairs without end");
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
