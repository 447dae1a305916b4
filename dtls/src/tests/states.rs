//! Every handshake message at every state, in plaintext and under the keys, in both roles: what must happen, by hand.

use super::alerts::{plain, sealed};
use super::pair::*;
use crate::handshake::{FragmentHeader, HEADER_LEN};
use crate::types::ContentType;
use crate::*;
use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

/// Columns: the awaited message. A cell: in plaintext, then under the keys.
///
/// * `L` goes on; if it is what the peer really sent, the rest of the handshake completes
/// * `X` fatal, unexpected_message, and never connected
/// * `I` ignored and counted
/// * `K` kept, as there are no keys yet, and the rest of the handshake completes
/// * `R` answered with our last flight again
const SERVER: &str = "
                     ClientHello  Certificate  ClientKeyExchange  CertificateVerify  Finished  (connected)
HELLO_REQUEST        XK           XK           XK                 XX                 XX        IX
CLIENT_HELLO         LK           XK           XK                 XX                 XX        IX
SERVER_HELLO         XK           XK           XK                 XX                 XX        IX
HELLO_VERIFY_REQUEST XK           XK           XK                 XX                 XX        IX
CERTIFICATE          XK           LK           XK                 XX                 XX        IX
SERVER_KEY_EXCHANGE  XK           XK           XK                 XX                 XX        IX
CERTIFICATE_REQUEST  XK           XK           XK                 XX                 XX        IX
SERVER_HELLO_DONE    XK           XK           XK                 XX                 XX        IX
CERTIFICATE_VERIFY   XK           XK           XK                 LX                 XX        IX
CLIENT_KEY_EXCHANGE  XK           XK           LK                 XX                 XX        IX
FINISHED             XK           XK           XK                 XX                 XL        IR
";

/// `HelloVerify`: ServerHello or HelloVerifyRequest is awaited; `ServerHello`: the cookie was returned.
const CLIENT: &str = "
                     HelloVerify  ServerHello  Certificate  ServerKeyExchange  RequestOrDone  Done  Finished  (connected)
HELLO_REQUEST        IK           IK           IK           IK                 IK             IK    IX        IX
CLIENT_HELLO         XK           XK           XK           XK                 XK             XK    XX        IX
SERVER_HELLO         LK           LK           XK           XK                 XK             XK    XX        IX
HELLO_VERIFY_REQUEST LK           XK           XK           XK                 XK             XK    XX        IX
CERTIFICATE          XK           XK           LK           XK                 XK             XK    XX        IX
SERVER_KEY_EXCHANGE  XK           XK           XK           LK                 XK             XK    XX        IX
CERTIFICATE_REQUEST  XK           XK           XK           XK                 LK             XK    XX        IX
SERVER_HELLO_DONE    XK           XK           XK           XK                 LK             LK    XX        IX
CERTIFICATE_VERIFY   XK           XK           XK           XK                 XK             XK    XX        IX
CLIENT_KEY_EXCHANGE  XK           XK           XK           XK                 XK             XK    XX        IX
FINISHED             XK           XK           XK           XK                 XK             XK    XL        II
";

/// The records of some datagrams, one by one.
pub(super) fn records(datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for datagram in datagrams {
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let (record, tail) = rest.split_at(13 + usize::from(u16::from_be_bytes([rest[11], rest[12]])));
            all.push(record.to_vec());
            rest = tail;
        }
    }
    all
}

/// A good body of each message, of another session.
fn bodies() -> &'static HashMap<HandshakeType, Vec<u8>> {
    static BODIES: OnceLock<HashMap<HandshakeType, Vec<u8>>> = OnceLock::new();
    BODIES.get_or_init(|| {
        let mut server = config(1);
        server.require_cookie = true;
        let mut pair = Pair::new(config(0), server);
        pair.run(Duration::from_secs(1), fine);
        let datagrams: Vec<_> = pair.log.into_iter().map(|(_, datagram)| datagram).collect();
        let mut bodies: HashMap<_, _> = records(&datagrams)
            .into_iter()
            .filter(|record| record[0] == 22 && record[4] == 0)
            .map(|record| (HandshakeType(record[13]), record[13 + HEADER_LEN..].to_vec()))
            .collect();
        bodies.insert(HandshakeType::HELLO_REQUEST, vec![]);
        bodies.insert(HandshakeType::FINISHED, vec![7; 12]);
        bodies
    })
}

/// An end in some state, what its peer has already sent it, and the number of the awaited message.
struct Scene {
    pair: Pair,
    target_is_client: bool,
    pending: VecDeque<Vec<u8>>,
    awaited: u16,
}

impl Scene {
    /// The end with everything in front of column `state` taken.
    fn new(target_is_client: bool, state: usize) -> Self {
        let mut server = config(1);
        // The second column of the client is after a HelloVerifyRequest.
        server.require_cookie = target_is_client && state == 1;
        let mut scene = Self {
            pair: Pair::new(config(0), server),
            target_is_client,
            pending: VecDeque::new(),
            awaited: 0,
        };
        scene.fetch();
        let taken = match (target_is_client, state) {
            (true, 2..) => state - 1,
            _ => state,
        };
        for _ in 0..taken {
            scene.take();
        }
        scene
    }

    /// Whatever the peer has to say, after it has heard all.
    fn fetch(&mut self) {
        let now = self.pair.now;
        for _ in 0..2 {
            let (target, peer) = self.pair.ends(self.target_is_client);
            for datagram in target.output(now) {
                peer.input(now, &datagram);
            }
            let said = peer.output(now);
            self.pending.extend(records(&said));
        }
    }

    /// The next of the peer's messages, with the ChangeCipherSpec in front of it, if there is one.
    fn take(&mut self) {
        let now = self.pair.now;
        loop {
            let record = self.pending.pop_front().expect("a message");
            let target = self.pair.ends(self.target_is_client).0;
            target.input(now, &record);
            if record[0] == 22 {
                break;
            }
        }
        self.awaited += 1;
        self.fetch();
    }

    /// Whether the rest of the handshake completes.
    fn completes(mut self) -> bool {
        let now = self.pair.now;
        while !self.pending.is_empty() {
            for record in std::mem::take(&mut self.pending) {
                self.pair.ends(self.target_is_client).0.input(now, &record);
            }
            self.fetch();
        }
        self.pair.client.connection.is_connected() && self.pair.server.connection.is_connected()
    }

    fn target(&mut self) -> &mut End {
        self.pair.ends(self.target_is_client).0
    }

    /// What the end makes of a message.
    fn outcome(mut self, msg_type: HandshakeType, under_keys: bool) -> char {
        let now = self.pair.now;
        let connected = self.target().connection.is_connected();
        if !connected && self.is_next(msg_type, under_keys) {
            self.take();
            assert_eq!(self.target().error, None);
            return if self.completes() { 'L' } else { '?' };
        }
        let body = &bodies()[&msg_type];
        let repeated = connected && msg_type == HandshakeType::FINISHED;
        let header = FragmentHeader {
            msg_type,
            length: body.len(),
            message_seq: self.awaited - u16::from(repeated),
            fragment_offset: 0,
            fragment_length: body.len(),
        };
        let fragment = [&header.to_bytes()[..], body].concat();
        let before = self.target().connection.stats();
        if under_keys {
            self.target().input(now, &plain(20, &[1]));
            let (target, peer) = self.pair.ends(self.target_is_client);
            let record = if target.connection.session.read.is_some() {
                sealed(peer, ContentType::HANDSHAKE, &fragment)
            } else {
                let mut record = plain(22, &fragment);
                record[4] = 1;
                record
            };
            target.input(now, &record);
        } else {
            self.target().input(now, &plain(22, &fragment));
        }
        let target = self.target();
        let after = target.connection.stats();
        let answer = target.output(now);
        match &target.error {
            Some(Error::UnexpectedMessage { got }) if *got == msg_type => {
                assert!(!target.connection.is_connected());
                assert_eq!(answer.len(), 1, "an alert");
                'X'
            }
            Some(error) => panic!("{msg_type} under keys {under_keys}: {error}"),
            None if after.early_kept > before.early_kept => {
                assert!(answer.is_empty());
                if self.completes() { 'K' } else { '?' }
            }
            None if after.resends > before.resends => 'R',
            // Legal, though this peer did not send it: a cookie of another server's, no wish for a certificate.
            None if !connected && answer.first().is_some_and(|datagram| datagram[0] == 22) => 'L',
            None if after.unexpected + after.fragments_dropped
                > before.unexpected + before.fragments_dropped =>
            {
                assert_eq!(target.connection.is_connected(), connected);
                'I'
            }
            None => '?',
        }
    }

    /// Whether that is the message that the peer has really sent next.
    fn is_next(&self, msg_type: HandshakeType, under_keys: bool) -> bool {
        let next = self.pending.iter().find(|record| record[0] == 22);
        next.is_some_and(|record| {
            let sealed = record[4] == 1;
            let kind = if sealed { HandshakeType::FINISHED } else { HandshakeType(record[13]) };
            (kind, sealed) == (msg_type, under_keys)
        })
    }
}

fn check(table: &str, target_is_client: bool) {
    let mut made = String::from("\n");
    let mut lines = table.trim_start_matches('\n').lines();
    let header = lines.next().unwrap();
    made += header;
    made.push('\n');
    let columns: Vec<usize> = header
        .char_indices()
        .filter(|&(at, character)| character != ' ' && header[..at].ends_with(' '))
        .map(|(at, _)| at)
        .collect();
    for line in lines {
        let name = line.split(' ').next().unwrap();
        let kind = (0..=255).map(HandshakeType).find(|kind| kind.name() == Some(name)).unwrap();
        let mut row = name.to_owned();
        for (state, at) in columns.iter().enumerate() {
            row += &" ".repeat(at - row.len());
            for under_keys in [false, true] {
                row.push(Scene::new(target_is_client, state).outcome(kind, under_keys));
            }
        }
        made += &row;
        made.push('\n');
    }
    assert_eq!(made, table, "made:{made}");
}

#[test]
fn a_server_takes_each_message_in_its_turn_only() {
    check(SERVER, false);
}

#[test]
fn a_client_takes_each_message_in_its_turn_only() {
    check(CLIENT, true);
}
