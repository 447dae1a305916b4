//! A double of the runner's side: it listens, starts the shim, and plays the other end of the session with the same
//! DTLS, over the framing. What the shim has to say to what came so far is known once it acknowledges a step of the
//! clock, be it of zero length.

use sinnet_dtls::{Certificate, ClientCertificate, Config, Connection, Error, Role};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const SHIM_ID: u64 = 0x0102_0304_0506_0708;

/// A file of an identity that the DTLS tests use.
pub(crate) fn identity_file(name: &str) -> String {
    format!("{}/../../../dtls/src/tests/identities/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Starts the shim with these arguments and nothing else, and waits for its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bogo_shim")).args(arguments).output().unwrap()
}

/// One end's settings, with a certificate and any certificate of the other end welcome.
pub(crate) fn config() -> Config {
    let mut config = Config::new(Arc::new(Certificate::generate(1_795_000_000).unwrap()));
    config.certificate_check = Some(Arc::new(|_| Ok(())));
    config.client_certificate = ClientCertificate::NotRequested;
    config
}

/// The same with changes.
pub(crate) fn config_with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config();
    change(&mut config);
    config
}

/// The flags that give the shim an identity.
pub(crate) fn identified<'a>(certificate: &'a str, key: &'a str) -> [&'a str; 4] {
    ["-cert-file", certificate, "-key-file", key]
}

pub(crate) struct Double {
    shim: Child,
    stream: TcpStream,
    now: Instant,
    pub(crate) peer: Connection,
    /// Application data from the shim.
    pub(crate) received: Vec<Vec<u8>>,
    /// Every datagram from the shim.
    pub(crate) datagrams: Vec<Vec<u8>>,
    /// How many of them the peer was given.
    delivered: usize,
    /// How our end of the session failed.
    pub(crate) error: Option<Error>,
    pub(crate) ended: bool,
}

impl Double {
    /// The shim as a server, ourselves as the client.
    pub(crate) fn with_server(config: Config, flags: &[&str]) -> Self {
        let (certificate, key) = (identity_file("rsa-2048.crt"), identity_file("rsa-2048.key"));
        let identity = identified(&certificate, &key);
        Self::start(config, Role::Client, &[&["-server"], &identity[..], flags].concat())
    }

    /// The shim as a client, ourselves as the server.
    pub(crate) fn with_client(config: Config, flags: &[&str]) -> Self {
        Self::start(config, Role::Server, flags)
    }

    #[expect(clippy::disallowed_methods, reason = "one base instant; a real process is waited for")]
    fn start(config: Config, role: Role, flags: &[&str]) -> Self {
        let localhost = if flags.contains(&"-ipv6") { "[::1]:0" } else { "127.0.0.1:0" };
        let listener = TcpListener::bind(localhost).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut shim = Command::new(env!("CARGO_BIN_EXE_bogo_shim"))
            .args(["-port", &port, "-shim-id", &SHIM_ID.to_string(), "-dtls"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        listener.set_nonblocking(true).unwrap();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            let ended = shim.try_wait().unwrap();
            assert_eq!(ended, None, "the shim ended before it connected");
            std::thread::sleep(Duration::from_millis(1));
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut id = [0; 8];
        (&stream).read_exact(&mut id).unwrap();
        assert_eq!(id, SHIM_ID.to_le_bytes());
        let now = Instant::now();
        let peer = Connection::new(Arc::new(config), role, vec![], now, [3; 32]);
        Self {
            shim,
            stream,
            now,
            peer,
            received: vec![],
            datagrams: vec![],
            delivered: 0,
            error: None,
            ended: false,
        }
    }

    /// Bytes as they are; a shim that has gone doesn't take them.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send(&mut self, datagram: &[u8]) {
        let length = u32::try_from(datagram.len()).unwrap().to_be_bytes();
        self.write(&[b"P", &length[..], datagram].concat());
    }

    pub(crate) fn mtu(&mut self, mtu: u32) {
        self.write(&[b"M", &mtu.to_be_bytes()[..]].concat());
    }

    pub(crate) fn expect_timeout(&mut self, timeout: Option<Duration>) {
        let nanos = timeout.map_or(u64::MAX, |timeout| timeout.as_nanos() as u64);
        self.write(&[b"E", &nanos.to_be_bytes()[..]].concat());
    }

    pub(crate) fn initial_timeout(&mut self, millis: u32) {
        self.write(&[b"U", &millis.to_be_bytes()[..]].concat());
    }

    /// Moves the shim's clock and gives the datagrams that it sent before it said so.
    pub(crate) fn advance(&mut self, by: Duration) -> Vec<Vec<u8>> {
        self.write(&[b"T", &(by.as_nanos() as u64).to_be_bytes()[..]].concat());
        let mut before = Vec::new();
        let mut opcode = [0];
        loop {
            if self.stream.read(&mut opcode).unwrap_or(0) == 0 {
                self.ended = true;
                return before;
            }
            match opcode {
                [b't'] => return before,
                [b'P'] => {
                    let mut length = [0; 4];
                    self.stream.read_exact(&mut length).unwrap();
                    let mut datagram = vec![0; u32::from_be_bytes(length) as usize];
                    self.stream.read_exact(&mut datagram).unwrap();
                    self.datagrams.push(datagram.clone());
                    before.push(datagram);
                }
                [other] => panic!("the opcode {other:#x} from the shim"),
            }
        }
    }

    /// What the shim has sent in answer to everything up to now.
    pub(crate) fn sync(&mut self) -> Vec<Vec<u8>> {
        self.advance(Duration::ZERO)
    }

    /// To and fro until both ends are silent.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut busy = false;
            let mut out = [0; 2048];
            while let Some(len) = self.peer.poll_transmit(self.now, &mut out) {
                self.send(&out[..len]);
                busy = true;
            }
            self.sync();
            while let Some(mut datagram) = self.datagrams.get(self.delivered).cloned() {
                self.delivered += 1;
                busy = true;
                let received = &mut self.received;
                let result =
                    self.peer.handle_input(self.now, &mut datagram, |data| received.push(data.to_vec()));
                if let Err(error) = result {
                    self.error.get_or_insert(error);
                }
            }
            if !busy || self.ended {
                return;
            }
        }
    }

    #[track_caller]
    pub(crate) fn connect(&mut self) {
        self.pump();
        assert!(self.peer.is_connected(), "{:?}", self.peer);
    }

    pub(crate) fn seal(&mut self, data: &[u8]) -> Vec<u8> {
        let start = self.peer.header_len();
        let mut slot = vec![0; start + data.len() + self.peer.tag_len()];
        slot[start..start + data.len()].copy_from_slice(data);
        self.peer.seal(&mut slot, data.len()).unwrap();
        slot
    }

    /// Sends data and checks that it comes back with every bit turned round.
    #[track_caller]
    pub(crate) fn assert_echo(&mut self, data: &[u8]) {
        let record = self.seal(data);
        self.send(&record);
        self.received.clear();
        self.pump();
        let expected: Vec<u8> = data.iter().map(|byte| byte ^ 0xff).collect();
        assert_eq!(self.received, [expected]);
    }

    /// Waits for the shim's end with the stream open.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.shim.wait().unwrap().code()
    }

    /// Ends the stream and waits for the shim's end: its exit code and what it said to stderr.
    pub(crate) fn hang_up(mut self) -> (i32, String) {
        let _ = self.stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        let output = self.shim.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// The same for a run that must have gone well.
    #[track_caller]
    pub(crate) fn assert_success(self) {
        assert_eq!(self.hang_up(), (0, String::new()));
    }

    /// The same for a run that must have failed for this reason.
    #[track_caller]
    pub(crate) fn assert_failure(self, token: &str) {
        let (code, stderr) = self.hang_up();
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(token), "{stderr:?} without {token}");
    }
}
