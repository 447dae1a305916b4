//! What tshark makes of our capture files: every layer is found, the counts are right, and with the secrets it decrypts.
//!
//! The connections run in virtual time; only the files are real.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ring::{aead, hmac};
use sinnet_netsim::LinkConfig;
use sinnet_peer::{ChannelOptions, CipherSuite, Direction, PcapOptions, PcapTap, Stats, Tap};
use sinnet_stack_tests::World;

const MINUTE: Duration = Duration::from_secs(60);

/// Captures one side of a connection; gives its statistics, and the key log.
fn capture(path: &Path, suite: CipherSuite, options: PcapOptions) -> (Stats, String) {
    let file = File::create(path).expect("a file");
    let unix = Duration::from_secs(1_800_000_000);
    talk(suite, |now| Box::new(PcapTap::new(file, options, now, unix).expect("written")))
}

/// A connection with a channel `chat`, ten messages and an orderly end, whose offerer, the DTLS server, is watched.
fn talk(suite: CipherSuite, tap: impl FnOnce(Instant) -> Box<dyn Tap>) -> (Stats, String) {
    let keys = Arc::<Mutex<String>>::default();
    let mut world = World::with_config(1, LinkConfig::default(), |config| {
        let keys = keys.clone();
        config.cipher_suites = Some(vec![suite]);
        config.key_log = Some(Arc::new(move |line| *keys.lock().expect("unbroken") = format!("{line}\n")));
    });
    world.a.peer.set_tap(Some(tap(world.now)));
    world.connect();
    let options = ChannelOptions { label: "chat".into(), protocol: "hello".into(), ..Default::default() };
    let (ours, theirs) = world.channel(options);
    for i in 0..10 {
        world.a.peer.try_send(world.now, ours, format!("message {i}").into()).expect("room");
    }
    let mut received = 0;
    let all = world.run_until(MINUTE, |world| {
        received += std::iter::from_fn(|| world.b.peer.recv(theirs)).count();
        received == 10
    });
    assert!(all);
    world.a.peer.close(world.now);
    assert!(world.run_until(MINUTE, |world| world.a.peer.is_finished()));
    // The end of the tap writes the end of the file.
    world.a.peer.set_tap(None);
    let keys = keys.lock().expect("unbroken").clone();
    (world.a.peer.stats(), keys)
}

/// The lines of `tshark -r path …`.
fn tshark(path: &Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new("tshark").arg("-r").arg(path).args(arguments).output();
    let output = output.expect("no tshark: scripts/test.sh installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tshark: {said}");
    // It says there, too, when it doesn't like a file.
    assert!(!said.contains("cut short") && !said.contains("damaged"), "{said}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// How many packets a display filter finds.
fn count(path: &Path, filter: &str) -> u64 {
    tshark(path, &["-Y", filter]).len() as u64
}

const GCM: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const CHACHA20: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;

#[test]
fn every_layer_is_dissected_and_the_counts_are_those_of_the_statistics() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.pcapng");
    let (stats, _) = capture(&path, GCM, PcapOptions::default());
    let udp = stats.datagrams_sent + stats.datagrams_received;
    let sctp = stats.sctp.packets_sent + stats.sctp.packets_received;
    assert_eq!(count(&path, "udp"), udp);
    assert_eq!(count(&path, "sctp"), sctp);
    assert_eq!(count(&path, "stun or dtls"), udp, "a datagram is one or the other");
    assert_eq!(count(&path, "udp and frame.packet_flags_direction == 2"), stats.datagrams_sent);
    assert_eq!(count(&path, "sctp and frame.packet_flags_direction == 1"), stats.sctp.packets_received);
    assert_eq!(count(&path, "_ws.malformed or _ws.expert.severity == error"), 0);
    for filter in [
        "stun.type == 0x0001",
        "stun.type == 0x0101",
        "dtls.handshake.type == 1",
        "dtls.handshake.type == 2",
        "dtls.record.content_type == 23",
        "sctp.chunk_type == 1",
        "sctp.chunk_type == 7",
        "rtcdc.message_type == 3 and rtcdc.label == \"chat\"",
        "rtcdc.message_type == 2",
    ] {
        assert!(count(&path, filter) > 0, "{filter}");
    }
    let interfaces = tshark(&path, &["-T", "fields", "-e", "frame.interface_name", "-e", "frame.time_epoch"]);
    let mut names = BTreeMap::new();
    for line in interfaces {
        let (name, time) = line.split_once('\t').expect("two fields");
        *names.entry(name.to_owned()).or_insert(0) += 1;
        assert!(time.starts_with("18000000"), "dated by the clock that was given: {time}");
    }
    assert_eq!(names, BTreeMap::from([("sctp".to_owned(), sctp), ("udp".to_owned(), udp)]));
}

#[test]
fn with_the_secrets_in_the_file_tshark_decrypts_the_datagrams() {
    let directory = tempfile::tempdir().expect("a directory");
    for suite in [GCM, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, CHACHA20] {
        let path = directory.path().join("a.pcapng");
        let mut options = PcapOptions::default();
        (options.secrets, options.sctp) = (true, false);
        let (stats, _) = capture(&path, suite, options);
        assert_eq!(count(&path, "sctp"), 0, "nothing is in clear");
        // What is in DTLS has no port by which it could be known to be SCTP.
        let decode = ["-d", "dtls.port==5001,data", "-Y", "data", "-T", "fields", "-e", "data.data"];
        let decrypted = tshark(&path, &decode);
        if suite == CHACHA20 && decrypted.is_empty() {
            // Up to 4.0 at least, tshark leaves the epoch out of its nonce (RFC 7905 §2, RFC 6347 §4.1). The next test
            // is not that short.
            println!("this tshark can't decrypt {suite}");
            continue;
        }
        assert_eq!(decrypted.len() as u64, stats.sctp.packets_sent + stats.sctp.packets_received, "{suite}");
        // The OPEN, which says label and protocol.
        let open = "chathello".bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(decrypted.iter().filter(|packet| packet.contains(&open)).count(), 1, "{suite}");
        assert!(decrypted.iter().all(|packet| packet.starts_with("13881388")), "ports 5000 and 5000");

        options = PcapOptions::default();
        options.sctp = false;
        let (_, keys) = capture(&path, suite, options);
        assert!(tshark(&path, &decode).is_empty(), "without the secrets nothing is decrypted");
        let file = directory.path().join("keys");
        std::fs::write(&file, keys).expect("written");
        let preference = format!("tls.keylog_file:{}", file.display());
        let with_keys = [&["-o", &preference], &decode[..]].concat();
        assert_eq!(tshark(&path, &with_keys), decrypted, "by a key log, too");
    }
}

/// What goes by: datagrams, and packets in clear.
#[derive(Clone, Default)]
struct Notebook(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    datagrams: Vec<(Direction, Vec<u8>)>,
    packets: Vec<(Direction, Vec<u8>)>,
}

impl Tap for Notebook {
    fn datagram(&mut self, _: Instant, direction: Direction, _: sinnet_peer::Path, payload: &[u8]) {
        self.0.lock().expect("unbroken").datagrams.push((direction, payload.to_vec()));
    }

    fn sctp_packet(&mut self, _: Instant, direction: Direction, _: sinnet_peer::Path, packet: &[u8]) {
        self.0.lock().expect("unbroken").packets.push((direction, packet.to_vec()));
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The PRF of TLS 1.2 (RFC 5246 §5), once more.
fn prf(secret: &[u8], seed: &[u8], len: usize) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let (mut a, mut out) = (hmac::sign(&key, seed).as_ref().to_vec(), Vec::new());
    while out.len() < len {
        out.extend_from_slice(hmac::sign(&key, &[&a, seed].concat()).as_ref());
        a = hmac::sign(&key, &a).as_ref().to_vec();
    }
    out
}

/// ChaCha20-Poly1305, by nothing but RFC 7905, RFC 6347, the key log and the datagrams.
#[test]
fn the_key_log_opens_every_record_of_chacha20_too() {
    let notebook = Notebook::default();
    let (stats, keys) = talk(CHACHA20, |_| Box::new(notebook.clone()));
    let pages = notebook.0.lock().expect("unbroken");
    let words: Vec<_> = keys.split_whitespace().collect();
    let ["CLIENT_RANDOM", client_random, master] = words[..] else { panic!("{keys}") };
    // A record header of 13 bytes, a handshake header of 12, the version.
    let hello =
        |payload: &&(Direction, Vec<u8>)| payload.1.starts_with(&[22, 0xfe, 0xfd]) && payload.1[13] == 2;
    let server_random = &pages.datagrams.iter().find(hello).expect("a ServerHello").1[27..59];
    let seed = [b"key expansion", server_random, &from_hex(client_random)].concat();
    let block = prf(&from_hex(master), &seed, 2 * 32 + 2 * 12);
    let mut opened = Vec::new();
    for (direction, datagram) in &pages.datagrams {
        // The watched side is the server.
        let side = match direction {
            Direction::Received => 0,
            Direction::Sent => 1,
        };
        let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &block[side * 32..][..32]).expect("a key");
        let key = aead::LessSafeKey::new(key);
        let mut rest = &datagram[..];
        while let [23, 0xfe, 0xfd, tail @ ..] = rest {
            let (number, len) = (&tail[..8], usize::from(u16::from_be_bytes([tail[8], tail[9]])));
            let mut nonce: [u8; 12] = block[64 + side * 12..][..12].try_into().expect("12 bytes");
            nonce[4..].iter_mut().zip(number).for_each(|(nonce, number)| *nonce ^= number);
            let plain = (len - 16) as u16;
            let head = [number, &[23, 0xfe, 0xfd], &plain.to_be_bytes()].concat();
            let mut body = tail[10..10 + len].to_vec();
            let nonce = aead::Nonce::assume_unique_for_key(nonce);
            let packet = key.open_in_place(nonce, aead::Aad::from(head), &mut body).expect("it opens");
            opened.push((*direction, packet.to_vec()));
            rest = &tail[10 + len..];
        }
    }
    assert_eq!(opened.len() as u64, stats.sctp.packets_sent + stats.sctp.packets_received);
    for wanted in [Direction::Sent, Direction::Received] {
        let of = |all: &[(Direction, Vec<u8>)]| -> Vec<Vec<u8>> {
            all.iter()
                .filter(|(direction, _)| *direction == wanted)
                .map(|(_, packet)| packet.clone())
                .collect()
        };
        assert!(of(&opened) == of(&pages.packets), "the packets that the tap saw in clear");
    }
}
