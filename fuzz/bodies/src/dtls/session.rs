//! Two DTLS connections without security, and a script: what they do, and what becomes of their datagrams.
//!
//! As long as the script has only lost, repeated and reordered datagrams, the two must connect in the end and every
//! message must arrive at most once; what it changes or makes up must do no harm.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sinnet_dtls::{AlertDescription, Connection, Role};

use super::near_valid::config;
use super::{Watch, certificate};
use crate::{check_deadline, start};

/// Datagrams under way to one end; more are lost.
const MAX_INBOX: usize = 64;

/// The first two bytes are the settings of client and server, as in `dtls_near_valid` (the role and the clock aside). Each
/// step is one byte: the low four bits say what, bit 4 which end; some take more bytes.
pub fn dtls_session(data: &[u8]) {
    let Some((&[client, server], script)) = data.split_first_chunk::<2>() else { return };
    let mut pair = Pair::new(client, server);
    let mut script = Script(script);
    while let Some(step) = script.byte() {
        pair.step(step, &mut script);
    }
    pair.finish();
}

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The same, or 0 at the end.
    fn number(&mut self) -> u8 {
        self.byte().unwrap_or_default()
    }

    /// A byte of length, and so many bytes, if there are.
    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.number()).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
}

struct End {
    connection: Connection,
    watch: Watch,
    inbox: VecDeque<Vec<u8>>,
    /// Messages of the peer's that were delivered.
    received: HashSet<Vec<u8>>,
    /// One of them came twice.
    repeated: bool,
}

struct Pair {
    now: Instant,
    /// The client, the server.
    ends: [End; 2],
    /// The settings allow a connection.
    fits: bool,
    /// Something was changed or made up.
    disturbed: bool,
    /// Somebody closed or aborted.
    ended: bool,
    sent: u32,
}

impl Pair {
    fn new(client: u8, server: u8) -> Self {
        let now = start();
        let end = |role, mode| {
            let mut config = config(mode);
            config.retransmit.initial = Duration::from_millis(50);
            config.retransmit.max = Duration::from_secs(1);
            config.retransmit.limit = u32::MAX;
            config.handshake_timeout = None;
            let connection = Connection::new_without_security(Arc::new(config), role, vec![], now, [0; 32]);
            End {
                connection,
                watch: Watch::default(),
                inbox: VecDeque::new(),
                received: HashSet::new(),
                repeated: false,
            }
        };
        let fits = client & 8 == server & 8;
        let ends = [end(Role::Client, client), end(Role::Server, server)];
        Self { now, ends, fits, disturbed: false, ended: false, sent: 0 }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let side = usize::from(step >> 4 & 1);
        let now = self.now;
        let end = &mut self.ends[side];
        match step & 15 {
            0 => self.deliver(side),
            1 => {
                let at = usize::from(script.number()) | usize::from(script.number()) << 8;
                let change = script.number();
                if let Some(byte) = end.inbox.front_mut().and_then(|datagram| datagram.get_mut(at)) {
                    *byte ^= change;
                    self.disturbed = true;
                }
            }
            2 => drop(end.inbox.pop_front()),
            3 => {
                if let Some(copy) = end.inbox.front().cloned() {
                    self.post(side, copy);
                }
            }
            4 => {
                if let Some(first) = end.inbox.pop_front() {
                    end.inbox.push_back(first);
                }
            }
            5 => {
                if let Some(deadline) = end.connection.poll_timeout() {
                    self.now = now.max(deadline);
                    self.time_out(side);
                }
            }
            6 => self.now += Duration::from_millis(script.number().into()),
            7 => self.say(side, script.number().into()),
            8 => {
                let room = 20 + 8 * usize::from(script.number());
                if let Some(datagram) = end.watch.send(&mut end.connection, now, room) {
                    self.post(1 - side, datagram);
                }
            }
            9 => self.flush(side),
            10 => {
                match script.number() {
                    0 => end.connection.abort(AlertDescription::INTERNAL_ERROR),
                    _ => end.connection.close(now),
                }
                self.ended = true;
            }
            11 => {
                let (kind, protected, number) = (script.number(), script.number() & 1 == 1, script.number());
                let record = record(&end.connection, kind, protected, number, script.bytes());
                self.post(side, record);
                self.disturbed = true;
            }
            12 => {
                let (kind, protected, number) = (script.number(), script.number() & 1 == 1, script.number());
                let (offset, missing) = (script.number(), script.number());
                let body = script.bytes();
                let length = (body.len() + usize::from(offset) + usize::from(missing)) as u16;
                let mut fragment = vec![kind, 0, (length >> 8) as u8, length as u8, 0, number & 15];
                fragment.extend([0, 0, offset, 0, 0, body.len() as u8]);
                fragment.extend(body);
                let record = record(&end.connection, 22, protected, number, &fragment);
                self.post(side, record);
                self.disturbed = true;
            }
            // Less than 60 can't hold every message (`Config::mtu`).
            13 => end.connection.set_mtu(60 + 5 * usize::from(script.number())),
            14 => end.connection.set_initial_timeout(now, Duration::from_millis(script.number().into())),
            _ => {
                let mut out = [0; 40];
                let exported = end.connection.export_keying_material(&mut out, "EXPORTER-fuzz", None);
                assert!(exported.is_err() || end.connection.is_connected());
                let _ = (end.connection.stats(), end.connection.negotiated());
                let _ = end.connection.handle_timeout(now);
            }
        }
        for end in &mut self.ends {
            end.watch.events(&mut end.connection);
        }
    }

    /// Puts a datagram on its way.
    fn post(&mut self, to: usize, datagram: Vec<u8>) {
        let inbox = &mut self.ends[to].inbox;
        if inbox.len() < MAX_INBOX {
            inbox.push_back(datagram);
        }
    }

    fn flush(&mut self, side: usize) {
        let end = &mut self.ends[side];
        for datagram in end.watch.send_all(&mut end.connection, self.now) {
            self.post(1 - side, datagram);
        }
    }

    /// The first datagram on its way arrives.
    fn deliver(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let Some(mut datagram) = end.inbox.pop_front() else { return };
        let (received, repeated) = (&mut end.received, &mut end.repeated);
        let mut any = false;
        let _ = end.connection.handle_input(self.now, &mut datagram, |plaintext| {
            any = true;
            *repeated |= !received.insert(plaintext.to_vec());
        });
        end.watch.events(&mut end.connection);
        assert!(!any || end.watch.connected, "data before the handshake was over");
        assert!(self.disturbed || !end.repeated, "a message was delivered twice");
    }

    fn time_out(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let _ = end.connection.handle_timeout(self.now);
        check_deadline("dtls", self.now, end.connection.poll_timeout());
    }

    /// A message of the application's, unlike all others.
    fn say(&mut self, side: usize, more: usize) {
        let connection = &mut self.ends[side].connection;
        self.sent += 1;
        let mut message = self.sent.to_be_bytes().to_vec();
        message.resize(4 + more, 0x55);
        let start = connection.header_len();
        let mut slot = vec![0; start + message.len() + connection.tag_len()];
        slot[start..start + message.len()].copy_from_slice(&message);
        if let Ok(len) = connection.seal(&mut slot, message.len()) {
            assert_eq!(len, slot.len());
            self.ends[side].watch.check(&slot);
            self.post(1 - side, slot);
        }
    }

    /// The network is good from now on.
    fn finish(mut self) {
        let limit = self.now + Duration::from_secs(120);
        loop {
            for side in [0, 1] {
                self.flush(side);
                while !self.ends[side].inbox.is_empty() {
                    self.deliver(side);
                }
            }
            if self.ends.iter().any(|end| !end.inbox.is_empty()) {
                continue;
            }
            let next = self.ends.iter().filter_map(|end| end.connection.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next < limit) else { break };
            self.now = self.now.max(next);
            for side in [0, 1] {
                self.time_out(side);
            }
        }
        for end in &mut self.ends {
            end.watch.events(&mut end.connection);
        }
        if self.fits && !self.disturbed && !self.ended {
            self.must_talk();
        }
    }

    fn must_talk(&mut self) {
        for side in [0, 1] {
            let end = &self.ends[side];
            assert!(end.connection.is_connected(), "not connected over a good network: {:?}", end.connection);
            let shown = end.connection.peer_certificate().is_some_and(|der| der == certificate().der());
            assert!(shown, "the peer's certificate is not known");
            let before = self.ends[1 - side].received.len();
            self.say(side, 10);
            self.deliver(1 - side);
            assert_eq!(self.ends[1 - side].received.len(), before + 1, "a message did not arrive");
        }
    }
}

/// A record made up for that end; with `protected` as one under its peer's keys would be.
fn record(end: &Connection, content_type: u8, protected: bool, number: u8, payload: &[u8]) -> Vec<u8> {
    let around = if protected { end.header_len() - 13 + end.tag_len() } else { 0 };
    let length = (payload.len() + around) as u16;
    // Far enough from the real ones to be taken for new.
    let mut record = vec![content_type, 0xfe, 0xfd, 0, u8::from(protected), 0, 0, 0, 0, 1, number];
    record.extend(length.to_be_bytes());
    if protected {
        record.extend(vec![0; end.header_len() - 13]);
    }
    record.extend(payload);
    if protected {
        record.extend(vec![0; end.tag_len()]);
    }
    record
}
