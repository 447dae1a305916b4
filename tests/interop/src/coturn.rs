//! coturn, the TURN server that is deployed most, as a child process: `turnserver` of Debian's package `coturn`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::process::Process;

/// A user that it knows.
pub const USER: &str = "alice";
/// Her password.
pub const PASSWORD: &str = "wonderland";
/// Its realm.
pub const REALM: &str = "example.org";
/// A secret for ephemeral credentials, for whom it is told to use one.
pub const SECRET: &str = "north";

/// How long it may take to start on a machine under load.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Coturn {
    process: Process,
    _files: TempDir,
    /// Where it listens for UDP and TCP.
    pub plain: SocketAddr,
    /// Where it listens for TLS.
    pub tls: SocketAddr,
    /// What it shows there: for localhost and the address that it listens at, signed by itself.
    pub certificate: CertificateDer<'static>,
}

/// A port that nobody has at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().expect("a plain path").to_owned()
}

impl Coturn {
    /// On loopback, with these options and long-term credentials, unless they say otherwise.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(options: &[&str]) -> Self {
        Self::start_on(free_port(), options).await
    }

    /// On this port of loopback.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_on(plain: u16, options: &[&str]) -> Self {
        let all = [&["--allow-loopback-peers"], options].concat();
        Self::start_at(None, Ipv4Addr::LOCALHOST.into(), [plain, free_port()], &all).await
    }

    /// In a namespace, at this address of it, on the ports that the protocol has for it.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_in(place: &Namespace, ip: IpAddr, options: &[&str]) -> Self {
        Self::start_at(Some(place), ip, [3478, 5349], options).await
    }

    async fn start_at(place: Option<&Namespace>, ip: IpAddr, ports: [u16; 2], options: &[&str]) -> Self {
        let files = TempDir::new().expect("a directory");
        let names = ["localhost".to_owned(), ip.to_string()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let (cert, key) = (path(files.path(), "cert.pem"), path(files.path(), "key.pem"));
        std::fs::write(&cert, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let mut command: Vec<String> =
            place.map(Namespace::exec).unwrap_or_default().map(str::to_owned).to_vec();
        command.retain(|word| !word.is_empty());
        command.extend(
            [
                "turnserver",
                "-n",
                "--log-file",
                "stdout",
                "--simple-log",
                "--no-cli",
                "--no-dtls",
                "--no-rfc5780",
                "--verbose",
                "--fingerprint",
            ]
            .map(str::to_owned),
        );
        let (pid, db) = (path(files.path(), "pid"), path(files.path(), "db"));
        let ip_text = ip.to_string();
        let [plain_port, tls_port] = ports.map(|port| port.to_string());
        for pair in [
            ["--realm", REALM],
            ["--listening-ip", &ip_text],
            ["--relay-ip", &ip_text],
            ["--listening-port", &plain_port],
            ["--tls-listening-port", &tls_port],
            ["--cert", &cert],
            ["--pkey", &key],
            ["--pidfile", &pid],
            ["--userdb", &db],
        ] {
            command.extend(pair.map(str::to_owned));
        }
        command.extend(options.iter().map(|option| (*option).to_owned()));
        if !options.contains(&"--use-auth-secret") {
            command.extend(["--lt-cred-mech".to_owned(), "--user".to_owned(), format!("{USER}:{PASSWORD}")]);
        }
        let process = Process::spawn("coturn", &command, &[]).expect("turnserver (Debian's package coturn)");
        let [plain, tls] = ports.map(|port| SocketAddr::new(ip, port));
        let mut coturn = Self { process, _files: files, plain, tls, certificate: made.cert.der().clone() };
        let ready = tokio::time::timeout(PATIENCE, coturn.listens(place)).await;
        assert!(ready.is_ok(), "coturn does not listen: {:?}", coturn.process.ended());
        coturn
    }

    async fn listens(&self, place: Option<&Namespace>) {
        for addr in [self.plain, self.tls] {
            let answers = async || match place {
                Some(place) => place.connect(addr).is_ok(),
                None => tokio::net::TcpStream::connect(addr).await.is_ok(),
            };
            while !answers().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Ends it at once, without a word to its clients, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When it stays.
    pub async fn kill(mut self) {
        self.process.kill();
        self.process.wait(PATIENCE).await.expect("it ends");
    }
}
