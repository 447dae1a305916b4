//! The DTLS layer against OpenSSL's `s_server` and `s_client`, over 127.0.0.1: both roles, every suite with every group and
//! kind of certificate on both sides, data both ways, close_notify both ways. Fails when `openssl` is missing.

mod options;

use sinnet_dtls::{
    Certificate, CipherSuite, Config, Connection, Event, Fingerprint, HashAlgorithm, KeyType, NamedGroup,
    Role,
};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// No step may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

const GCM: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const CHACHA: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;

#[expect(clippy::disallowed_methods, reason = "runs on real sockets")]
fn now() -> Instant {
    Instant::now()
}

/// OpenSSL's name of a suite.
fn cipher(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => panic!("{other}"),
    }
}

/// A directory with OpenSSL's certificate and key, removed at the end.
struct Identity {
    directory: PathBuf,
    fingerprint: Fingerprint,
}

impl Identity {
    fn make() -> Self {
        Self::of(KeyType::EcdsaP256)
    }

    fn of(key_type: KeyType) -> Self {
        let key: &[&str] = match key_type {
            KeyType::EcdsaP256 => &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            KeyType::EcdsaP384 => &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
            KeyType::Ed25519 => &["ed25519"],
            _ => &["rsa:2048"],
        };
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sinnet-openssl-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory for the certificate");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-newkey"])
            .args(key)
            .args(["-subj", "/CN=peer", "-days", "2", "-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(&directory)
            .output()
            .expect("openssl must be installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut identity = Self { fingerprint: Fingerprint::of(HashAlgorithm::Sha384, b""), directory };
        identity.fingerprint = identity.read().fingerprint(HashAlgorithm::Sha384);
        identity
    }

    /// The same for our own use.
    fn read(&self) -> Certificate {
        let read = |name: &str| std::fs::read_to_string(self.directory.join(name)).expect("a PEM file");
        Certificate::from_pem(&read("cert.pem"), &read("key.pem")).expect("OpenSSL's certificate")
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A running `openssl`, killed at the end, and what it has printed.
struct OpenSsl {
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
}

impl OpenSsl {
    fn start(identity: &Identity, arguments: &[&str], suite: CipherSuite) -> Self {
        let mut child = Command::new("openssl")
            .args(arguments)
            .args(["-dtls1_2", "-cert", "cert.pem", "-key", "key.pem"])
            // OpenSSL takes the list for certificates as well: P-256 must be in it.
            .args(["-cipher", cipher(suite), "-groups", "X25519:P-256:P-384"])
            .current_dir(&identity.directory)
            // If a test has put one there.
            .env("OPENSSL_CONF", "openssl.cnf")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl must be installed");
        let printed = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().expect("its stdout"), &printed);
        collect(child.stderr.take().expect("its stderr"), &printed);
        Self { child, printed }
    }

    fn say(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("its stdin");
        stdin.write_all(text.as_bytes()).expect("openssl reads");
        stdin.flush().expect("openssl reads");
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().expect("its output")).into_owned()
    }
}

fn collect(mut from: impl Read + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            into.lock().expect("its output").extend_from_slice(&buffer[..len]);
        }
    });
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our end on a socket.
struct Ours {
    socket: UdpSocket,
    remote: Option<SocketAddr>,
    connection: Connection,
    received: Vec<u8>,
    events: Vec<Event>,
    /// Types of the plaintext handshake messages that came, and that went.
    messages: [BTreeSet<u8>; 2],
    /// The largest datagram that came before we were connected.
    largest: usize,
}

/// Adds the types of the plaintext handshake records of a datagram.
fn note_messages(mut datagram: &[u8], types: &mut BTreeSet<u8>) {
    while let [kind, _, _, _, epoch, _, _, _, _, _, _, high, low, rest @ ..] = datagram {
        if let (22, 0, Some(message)) = (*kind, *epoch, rest.first()) {
            types.insert(*message);
        }
        let length = usize::from(*high) << 8 | usize::from(*low);
        datagram = rest.get(length..).unwrap_or_default();
    }
}

impl Ours {
    fn new(role: Role, config: Config, peer: &Identity, remote: Option<SocketAddr>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a read timeout");
        let fingerprints = vec![peer.fingerprint.clone()];
        let connection = Connection::new(Arc::new(config), role, fingerprints, now(), [7; 32]);
        Self {
            socket,
            remote,
            connection,
            received: Vec::new(),
            events: Vec::new(),
            messages: Default::default(),
            largest: 0,
        }
    }

    /// Turns the crank until `done`.
    #[track_caller]
    fn run_until(&mut self, openssl: &OpenSsl, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = now() + PATIENCE;
        let mut buffer = [0; 4096];
        while !done(self) {
            let late = now() > deadline;
            assert!(!late, "no {what}; {:?}; openssl said: {}", self.connection, openssl.text());
            if self.connection.poll_timeout().is_some_and(|at| at <= now()) {
                let _ = self.connection.handle_timeout(now());
            }
            self.send();
            // Errors are timeouts, or refusals from before OpenSSL listened.
            if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
                self.remote = Some(from);
                note_messages(&buffer[..len], &mut self.messages[0]);
                if !self.connection.is_connected() {
                    self.largest = self.largest.max(len);
                }
                let received = &mut self.received;
                let _ = self
                    .connection
                    .handle_input(now(), &mut buffer[..len], |data| received.extend_from_slice(data));
            }
            self.send();
            while let Some(event) = self.connection.poll_event() {
                self.events.push(event);
            }
        }
    }

    fn send(&mut self) {
        let Some(remote) = self.remote else { return };
        let mut out = [0; 2048];
        while let Some(len) = self.connection.poll_transmit(now(), &mut out) {
            note_messages(&out[..len], &mut self.messages[1]);
            let _ = self.socket.send_to(&out[..len], remote);
        }
    }

    fn say(&mut self, text: &str) {
        let start = self.connection.header_len();
        let mut slot = vec![0; start + text.len() + self.connection.tag_len()];
        slot[start..start + text.len()].copy_from_slice(text.as_bytes());
        let len = self.connection.seal(&mut slot, text.len()).expect("a connected end seals");
        let _ = self.socket.send_to(&slot[..len], self.remote.expect("a peer"));
    }
}

fn config(suite: CipherSuite, group: NamedGroup, mtu: usize) -> Config {
    #[expect(clippy::disallowed_methods, reason = "a certificate that OpenSSL checks against its own clock")]
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let mut config = Config::new(Arc::new(Certificate::generate(unix).expect("a certificate")));
    config.suites = vec![suite];
    // P-256 last in any case, for the certificates (RFC 8422 §5.1.1); the first one is chosen.
    config.groups = vec![group, NamedGroup::SECP256R1];
    config.mtu = mtu;
    config
}

/// Who says close_notify first. (`s_server` never does: it closes its socket.)
enum End {
    /// We; OpenSSL then prints this.
    Ours { shown: &'static str },
    /// `s_client`, told by a line with a Q.
    Theirs,
}

/// Handshake, data both ways, and an orderly end.
fn exchange(mut ours: Ours, mut openssl: OpenSsl, suite: CipherSuite, group: NamedGroup, end: End) -> Ours {
    ours.run_until(&openssl, "connection", |ours| ours.events.contains(&Event::Connected));
    let negotiated = ours.connection.negotiated().expect("a connected end knows");
    assert_eq!((negotiated.suite, negotiated.group), (suite, group));

    ours.say("from us to openssl\n");
    let printed = Arc::clone(&openssl.printed);
    let shows = |text: &'static [u8]| {
        let printed = Arc::clone(&printed);
        move |_: &Ours| {
            let printed = printed.lock().expect("its output");
            printed.windows(text.len()).any(|window| window == text)
        }
    };
    ours.run_until(&openssl, "text at openssl", shows(b"from us to openssl"));
    openssl.say("from openssl to us\n");
    ours.run_until(&openssl, "text from openssl", |ours| ours.received == b"from openssl to us\n");

    match end {
        End::Ours { shown } => {
            ours.connection.close(now());
            ours.run_until(&openssl, "end", |ours| ours.events.contains(&Event::Closed));
            ours.run_until(&openssl, "end at openssl", shows(shown.as_bytes()));
        }
        End::Theirs => {
            openssl.say("Q\n");
            ours.run_until(&openssl, "end", |ours| ours.events.contains(&Event::Closed));
        }
    }
    assert_eq!(ours.events, [Event::Connected, Event::Closed]);
    ours
}

/// A port that nobody listens on.
fn free_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("its address")
}

fn we_are_the_client(suite: CipherSuite, group: NamedGroup, mtu: usize) {
    let identity = Identity::make();
    let address = free_port();
    let accept = address.to_string();
    let openssl = OpenSsl::start(&identity, &["s_server", "-accept", &accept, "-Verify", "1"], suite);
    let ours = Ours::new(Role::Client, config(suite, group, mtu), &identity, Some(address));
    exchange(ours, openssl, suite, group, End::Ours { shown: "DONE" });
}

fn we_are_the_server(suite: CipherSuite, group: NamedGroup, mtu: usize, end: End) {
    let identity = Identity::make();
    let ours = Ours::new(Role::Server, config(suite, group, mtu), &identity, None);
    let connect = ours.socket.local_addr().expect("our address").to_string();
    let openssl = OpenSsl::start(&identity, &["s_client", "-connect", &connect], suite);
    exchange(ours, openssl, suite, group, end);
}

#[test]
fn a_client_with_aes_gcm_on_x25519() {
    we_are_the_client(GCM, NamedGroup::X25519, 1200);
}

#[test]
fn a_client_with_chacha20_on_p256_in_small_datagrams() {
    we_are_the_client(CHACHA, NamedGroup::SECP256R1, 150);
}

#[test]
fn a_server_with_aes_gcm_on_p256_in_small_datagrams() {
    we_are_the_server(GCM, NamedGroup::SECP256R1, 150, End::Theirs);
}

#[test]
fn a_server_with_chacha20_on_x25519() {
    we_are_the_server(CHACHA, NamedGroup::X25519, 1200, End::Ours { shown: "closed" });
}

#[test]
fn a_wrong_fingerprint_ends_it_before_anything_is_delivered() {
    let mut identity = Identity::make();
    identity.fingerprint.digest[0] ^= 1;
    let address = free_port();
    let accept = address.to_string();
    let openssl = OpenSsl::start(&identity, &["s_server", "-accept", &accept], GCM);
    let config = config(GCM, NamedGroup::X25519, 1200);
    let mut ours = Ours::new(Role::Client, config, &identity, Some(address));
    ours.run_until(&openssl, "failure", |ours| !ours.events.is_empty());
    assert!(matches!(ours.events[..], [Event::Failed(sinnet_dtls::Error::FingerprintMismatch { .. })]));
    ours.run_until(&openssl, "alert at openssl", |_| openssl.text().contains("bad certificate"));
}

/// Both roles; theirs and ours are certificates of one kind.
fn both_roles(suite: CipherSuite, group: NamedGroup, theirs: &Identity, ours: &Arc<Certificate>) {
    let ours = || {
        let mut config = config(suite, group, 1200);
        config.groups = vec![group, NamedGroup::SECP256R1, NamedGroup::SECP384R1];
        config.certificate = Some(Arc::clone(ours));
        config
    };
    let address = free_port();
    let accept = address.to_string();
    let openssl = OpenSsl::start(theirs, &["s_server", "-accept", &accept, "-Verify", "1"], suite);
    let client = Ours::new(Role::Client, ours(), theirs, Some(address));
    exchange(client, openssl, suite, group, End::Ours { shown: "DONE" });

    let server = Ours::new(Role::Server, ours(), theirs, None);
    let connect = server.socket.local_addr().expect("our address").to_string();
    let openssl = OpenSsl::start(theirs, &["s_client", "-connect", &connect], suite);
    exchange(server, openssl, suite, group, End::Theirs);
}

/// With certificates of that kind (OpenSSL 3.0 has no Ed25519 certificates in DTLS).
fn every_suite_and_group(key_type: KeyType) {
    let (theirs, ours) = (Identity::of(key_type), Arc::new(Identity::of(key_type).read()));
    let default = Config::default();
    for suite in default.suites {
        let rsa = cipher(suite).contains("RSA") && !cipher(suite).contains("ECDSA");
        if rsa == (key_type == KeyType::Rsa) {
            for group in &default.groups {
                println!("{suite} {group}");
                both_roles(suite, *group, &theirs, &ours);
            }
        }
    }
}

#[test]
fn every_suite_and_group_with_certificates_of_p256() {
    every_suite_and_group(KeyType::EcdsaP256);
}

#[test]
fn every_suite_and_group_with_certificates_of_p384() {
    every_suite_and_group(KeyType::EcdsaP384);
}

#[test]
fn every_suite_and_group_with_certificates_of_rsa() {
    every_suite_and_group(KeyType::Rsa);
}
