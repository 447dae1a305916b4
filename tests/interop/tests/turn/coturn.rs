//! coturn, the server that is deployed most: `turnserver` on 127.0.0.1.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use sinnet::turn::{ClientConfig, Credentials};
use sinnet_interop::process::Process;
use tempfile::TempDir;

use crate::wire::PATIENCE;

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "wonderland";
pub(crate) const REALM: &str = "example.org";
pub(crate) const SECRET: &str = "north";

pub(crate) fn config() -> ClientConfig {
    ClientConfig::new(Credentials { username: USER.to_owned(), password: PASSWORD.to_owned() })
}

/// A running server. Dropped, it is killed.
pub(crate) struct Coturn {
    _process: Process,
    _files: TempDir,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
}

/// A port that nobody has at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().expect("a plain path").to_owned()
}

impl Coturn {
    /// With these options and long-term credentials, unless they say otherwise.
    pub(crate) async fn start(options: &[&str]) -> Self {
        Self::start_on(free_port(), options).await
    }

    /// On this port.
    pub(crate) async fn start_on(plain: u16, options: &[&str]) -> Self {
        let files = TempDir::new().expect("a directory");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (cert, key) = (path(files.path(), "cert.pem"), path(files.path(), "key.pem"));
        std::fs::write(&cert, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let tls = free_port();
        let mut command: Vec<String> = [
            "turnserver",
            "-n",
            "--log-file",
            "stdout",
            "--simple-log",
            "--no-cli",
            "--no-dtls",
            "--no-rfc5780",
            "--listening-ip",
            "127.0.0.1",
            "--relay-ip",
            "127.0.0.1",
            "--allow-loopback-peers",
            "--verbose",
            "--realm",
            REALM,
            "--fingerprint",
        ]
        .map(str::to_owned)
        .to_vec();
        let (pid, db) = (path(files.path(), "pid"), path(files.path(), "db"));
        let ports = [plain.to_string(), tls.to_string()];
        let [plain_port, tls_port] = &ports;
        for pair in [
            ["--listening-port", plain_port],
            ["--tls-listening-port", tls_port],
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
        let coturn = Self {
            _process: process,
            _files: files,
            plain: ([127, 0, 0, 1], plain).into(),
            tls: ([127, 0, 0, 1], tls).into(),
            certificate: made.cert.der().clone(),
        };
        let ready = async {
            for addr in [coturn.plain, coturn.tls] {
                while tokio::net::TcpStream::connect(addr).await.is_err() {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("coturn listens in time");
        coturn
    }
}
