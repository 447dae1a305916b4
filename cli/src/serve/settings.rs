//! The settings of `sinnet serve`: by flag, by environment, by file, in this order. All three have the same names: `--max-groups`,
//! `SINNET_MAX_GROUPS`, `max-groups = …`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use sinnet_signaling::server::tls::{self, SelfSigned};
use sinnet_signaling::server::tokens::{Required, TokenKey, Tokens};
use sinnet_signaling::server::{Metrics, ServerConfig};

use crate::args::{Congestion, MAX_SIZE};
use crate::failure::{Context, Failure};

/// Where the web server listens when nobody says.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What may stand in a file, in the environment and on the command line alike.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// Address and port of the web server; port 0 takes a free one. 0.0.0.0 makes it reachable from other machines, by anybody on
    /// the network. Default: 127.0.0.1:8080.
    #[arg(long, env = "SINNET_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// The port alone.
    #[arg(short, long, env = "SINNET_PORT")]
    pub(crate) port: Option<u16>,

    /// The address alone.
    #[arg(long, env = "SINNET_HOST", value_name = "IP")]
    pub(crate) host: Option<IpAddr>,

    /// Offer the files in this directory to the browser. Those below it and links are not offered.
    #[arg(long, env = "SINNET_FILES", value_name = "DIR")]
    pub(crate) files: Option<PathBuf>,

    /// Keep the files that the browser sends in this directory. Without it they are hashed and dropped.
    #[arg(long, env = "SINNET_SAVE", value_name = "DIR")]
    pub(crate) save: Option<PathBuf>,

    /// Largest file taken, in bytes. Default: 16 GiB.
    #[arg(long, env = "SINNET_MAX_SIZE", value_name = "BYTES")]
    pub(crate) max_size: Option<u64>,

    /// Congestion control of what is sent to the browser. Default: cubic.
    #[arg(long, env = "SINNET_CONGESTION", value_enum)]
    pub(crate) congestion: Option<Congestion>,

    /// Serve https and wss with a certificate made now, for trying things out. Its fingerprint is printed.
    #[arg(long, env = "SINNET_TLS", value_enum, help_heading = "Who may connect", value_name = "KIND")]
    pub(crate) tls: Option<TlsKind>,

    /// Serve https and wss with this certificate chain (PEM).
    #[arg(long, env = "SINNET_TLS_CERT", value_name = "FILE", help_heading = "Who may connect")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of --tls-cert (PEM).
    #[arg(long, env = "SINNET_TLS_KEY", value_name = "FILE", help_heading = "Who may connect")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Also answer to this host name. Without it: IP addresses and localhost. Repeatable, or several with commas.
    #[arg(long, env = "SINNET_ALLOW_HOST", value_name = "NAME", value_delimiter = ',')]
    #[arg(help_heading = "Who may connect")]
    pub(crate) allow_host: Option<Vec<String>>,

    /// Also let pages of this origin connect, such as https://example.org, or * for all. Repeatable.
    #[arg(long, env = "SINNET_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    #[arg(help_heading = "Who may connect")]
    pub(crate) allow_origin: Option<Vec<String>>,

    /// What needs a token. Default: all, if any token or key is given.
    #[arg(
        long,
        env = "SINNET_REQUIRE_TOKEN",
        value_enum,
        value_name = "WHAT",
        help_heading = "Who may connect"
    )]
    pub(crate) require_token: Option<Require>,

    /// A token that is good for everything. Repeatable. Others on this machine see it here: better in the file or the environment.
    #[arg(long, env = "SINNET_TOKEN", value_delimiter = ',', hide_env_values = true)]
    #[arg(help_heading = "Who may connect")]
    pub(crate) token: Option<Vec<String>>,

    /// The key of signed tokens, which `sinnet token` makes: 32 hexadecimal digits or more. Better in the file or the environment.
    #[arg(long, env = "SINNET_TOKEN_KEY", value_name = "HEX", hide_env_values = true)]
    #[arg(help_heading = "Who may connect")]
    pub(crate) token_key: Option<String>,

    /// Who gets /metrics. Default: loopback.
    #[arg(long, env = "SINNET_METRICS", value_enum, value_name = "WHO", help_heading = "Who may connect")]
    pub(crate) metrics: Option<Who>,

    /// Also be a TURN and STUN server here, over UDP and TCP, for those who can't reach each other otherwise. An address of this
    /// machine that they reach; it relays from there.
    #[arg(long, env = "SINNET_TURN", value_name = "ADDR:PORT", help_heading = "TURN")]
    pub(crate) turn: Option<SocketAddr>,

    /// The secret shared with whoever gives out credentials that expire. Better in the file or the environment.
    #[arg(
        long,
        env = "SINNET_TURN_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        help_heading = "TURN"
    )]
    pub(crate) turn_secret: Option<String>,

    /// A user and a password. Repeatable. Better in the file or the environment.
    #[arg(long, env = "SINNET_TURN_USER", hide_env_values = true, value_name = "NAME:PASSWORD")]
    #[arg(value_delimiter = ',', help_heading = "TURN")]
    pub(crate) turn_user: Option<Vec<String>>,

    /// What to announce instead of the address of --turn, where a translator in front maps one to the other.
    #[arg(long, env = "SINNET_TURN_EXTERNAL", value_name = "IP", help_heading = "TURN")]
    pub(crate) turn_external: Option<IpAddr>,

    /// TCP connections at once. Default: 8192.
    #[arg(long, env = "SINNET_MAX_CONNECTIONS", value_name = "N", help_heading = "Limits")]
    pub(crate) max_connections: Option<usize>,

    /// TCP connections of one address at once; 0 for no limit, as behind a reverse proxy. Default: 256.
    #[arg(long, env = "SINNET_MAX_PER_ADDRESS", value_name = "N", help_heading = "Limits")]
    pub(crate) max_per_address: Option<usize>,

    /// Messages and requests of one address per second in the long run, and four times as many at once; 0 for no limit. Default: 500.
    #[arg(long, env = "SINNET_ADDRESS_RATE", value_name = "N", help_heading = "Limits")]
    pub(crate) address_rate: Option<u32>,

    /// Messages of one WebSocket per second in the long run, and five times as many at once. Default: 50.
    #[arg(long, env = "SINNET_SOCKET_RATE", value_name = "N", help_heading = "Limits")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) socket_rate: Option<u32>,

    /// Largest message of groups in bytes, at most 32768. Default: 32768.
    #[arg(long, env = "SINNET_MAX_MESSAGE", value_name = "BYTES", help_heading = "Limits")]
    pub(crate) max_message: Option<usize>,

    /// Groups at once, for each of the two protocols. Default: 1024.
    #[arg(long, env = "SINNET_MAX_GROUPS", value_name = "N", help_heading = "Limits")]
    pub(crate) max_groups: Option<usize>,

    /// Members of a group in which everybody is connected with everybody. Default: 64.
    #[arg(long, env = "SINNET_MAX_MEMBERS", value_name = "N", help_heading = "Limits")]
    pub(crate) max_members: Option<usize>,

    /// Joins of one tree per second. Default: 200.
    #[arg(long, env = "SINNET_JOIN_RATE", value_name = "N", help_heading = "Limits")]
    pub(crate) join_rate: Option<u32>,

    /// Joins of one tree that are under way at once. Default: 2048.
    #[arg(long, env = "SINNET_MAX_JOINS", value_name = "N", help_heading = "Limits")]
    pub(crate) max_joins: Option<usize>,

    /// Browsers connected with this process at once. Default: 64.
    #[arg(long, env = "SINNET_MAX_VISITORS", value_name = "N", help_heading = "Limits")]
    pub(crate) max_visitors: Option<usize>,

    /// Seconds without a sign of life after which a WebSocket is closed; it is asked for one twice. Default: 60.
    #[arg(long, env = "SINNET_IDLE_TIMEOUT", value_name = "SECONDS", help_heading = "Limits")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) idle_timeout: Option<u32>,

    /// Seconds that a client may take to read a message before its WebSocket is closed. Default: 10.
    #[arg(long, env = "SINNET_SLOW_TIMEOUT", value_name = "SECONDS", help_heading = "Limits")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) slow_timeout: Option<u32>,

    /// Seconds that connections have to end when the server goes down. Default: 5.
    #[arg(long, env = "SINNET_SHUTDOWN_TIMEOUT", value_name = "SECONDS", help_heading = "Limits")]
    pub(crate) shutdown_timeout: Option<u32>,
}

/// A certificate that needs no files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsKind {
    /// Made when the server starts; nobody vouches for it.
    SelfSigned,
}

/// What needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Require {
    Nothing,
    Create,
    All,
}

/// Who gets `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    Loopback,
    All,
    Nobody,
}

macro_rules! or {
    ($first:ident, $second:ident, $($field:ident)*) => {
        Settings { $($field: $first.$field.or($second.$field)),* }
    };
}

impl Settings {
    /// What is not set here, as `other` has it.
    pub(crate) fn or(self, other: Self) -> Self {
        or!(
            self, other,
            listen port host files save max_size congestion tls tls_cert tls_key allow_host allow_origin require_token token
            token_key metrics turn turn_secret turn_user turn_external max_connections max_per_address address_rate socket_rate max_message max_groups max_members join_rate max_joins
            max_visitors idle_timeout slow_timeout shutdown_timeout
        )
    }

    /// From a TOML file. A mistake is named with its line.
    pub(crate) fn from_file(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).context(format_args!("can't read {}", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Failure::new(format!("{}, line {line}: {}", path.display(), error.message()))
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        let listen = self.listen.unwrap_or(LISTEN);
        SocketAddr::new(self.host.unwrap_or(listen.ip()), self.port.unwrap_or(listen.port()))
    }

    pub(crate) fn max_size(&self) -> u64 {
        self.max_size.unwrap_or(MAX_SIZE)
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        seconds(self.shutdown_timeout.unwrap_or(5))
    }

    /// The server's part, and the certificate, if one was made.
    pub(crate) fn server(&self) -> Result<(ServerConfig, Option<SelfSigned>), Failure> {
        let mut config = ServerConfig::new(self.addr());
        let mut made = None;
        config.tls = match (self.tls, &self.tls_cert, &self.tls_key) {
            (None, None, None) => None,
            (None, Some(cert), Some(key)) => Some(tls::from_files(cert, key).context("no TLS")?),
            (Some(TlsKind::SelfSigned), None, None) => {
                let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter();
                let own = [self.addr().ip().to_string()]
                    .into_iter()
                    .chain(self.allow_host.clone().unwrap_or_default());
                let certificate = tls::self_signed(names.chain(own).collect()).context("no TLS")?;
                Some(made.insert(certificate).config.clone())
            }
            (Some(_), ..) => return Err(Failure::new("give --tls or --tls-cert with --tls-key, not both")),
            _ => return Err(Failure::new("--tls-cert and --tls-key need each other")),
        };
        config.tokens = self.tokens()?;
        config.allowed_hosts = self.allow_host.clone().unwrap_or_default();
        config.allowed_origins = self.allow_origin.clone().unwrap_or_default();
        config.metrics = match self.metrics {
            None | Some(Who::Loopback) => Metrics::Loopback,
            Some(Who::All) => Metrics::All,
            Some(Who::Nobody) => Metrics::Off,
        };
        set(&mut config.max_connections, self.max_connections);
        set(&mut config.per_address.connections, self.max_per_address);
        set(&mut config.per_address.per_second, self.address_rate);
        set(&mut config.per_address.burst, self.address_rate.map(|rate| rate.saturating_mul(4)));
        set(&mut config.limits.per_second, self.socket_rate);
        set(&mut config.limits.burst, self.socket_rate.map(|rate| rate.saturating_mul(5)));
        set(&mut config.max_message, self.max_message);
        set(&mut config.alm.max_groups, self.max_groups);
        set(&mut config.p2p.max_groups, self.max_groups);
        set(&mut config.p2p.max_members, self.max_members);
        set(&mut config.alm.joins_per_second, self.join_rate);
        set(&mut config.alm.max_joins, self.max_joins);
        set(&mut config.limits.ping_interval, self.idle_timeout.map(|timeout| seconds(timeout) / 3));
        set(&mut config.limits.send_timeout, self.slow_timeout.map(seconds));
        Ok((config, made))
    }

    fn tokens(&self) -> Result<Tokens, Failure> {
        let list = self.token.clone().unwrap_or_default();
        let key = self.token_key.as_deref().map(TokenKey::from_hex).transpose().context("--token-key")?;
        let any = !list.is_empty() || key.is_some();
        let required = match self.require_token {
            Some(Require::Nothing) => Required::Nothing,
            None if !any => Required::Nothing,
            Some(_) if !any => {
                return Err(Failure::new(
                    "--require-token wants a --token or a --token-key, or nobody can have one",
                ));
            }
            Some(Require::Create) => Required::Create,
            Some(Require::All) | None => Required::All,
        };
        Tokens::new(required, list, key).context("--token")
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        settings: Settings,
    }

    fn flags(flags: &[&str]) -> Settings {
        Only::parse_from([&["serve"], flags].concat()).settings
    }

    fn file(text: &str) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let name = file.path().display().to_string();
        Settings::from_file(file.path()).map_err(|failure| failure.to_string().replace(&name, "FILE"))
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let file =
            file("listen = \"[::1]:9\"\nmax-groups = 5\nallow-host = [\"a\", \"b\"]\ncongestion = \"bbr\"\n")
                .unwrap();
        let both = flags(&["--max-groups", "7", "--port", "80"]).or(file);
        assert_eq!((both.max_groups, both.congestion), (Some(7), Some(Congestion::Bbr)));
        assert_eq!(both.addr(), "[::1]:80".parse().unwrap());
        assert_eq!(both.server().unwrap().0.allowed_hosts, ["a", "b"]);
    }

    #[test]
    fn every_setting_has_its_variable_and_its_name_in_the_file() {
        let command = Only::command();
        for argument in command
            .get_arguments()
            .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        {
            let name = argument.get_long().unwrap();
            let variable = format!("SINNET_{}", name.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(variable.as_str()));
            // Known, if not of that type.
            let wrong = file(&format!("{name} = {{ no = 1 }}")).unwrap_err();
            assert!(!wrong.contains("unknown field") && wrong.starts_with("FILE, line 1:"), "{wrong}");
        }
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_line() {
        for (text, wrong) in [
            ("port = 1\n\nmax-grops = 7\n", "FILE, line 3: unknown field `max-grops`"),
            ("port = 99999\n", "FILE, line 1: "),
            ("# nothing\nlisten = \"here\"\n", "FILE, line 2: "),
            ("metrics = \"everybody\"\n", "FILE, line 1: unknown variant `everybody`"),
            ("port = 1\nport = 2\n", "FILE, line 2: "),
            ("port 1\n", "FILE, line 1: "),
        ] {
            let failure = file(text).unwrap_err();
            assert!(failure.starts_with(wrong), "{failure}");
        }
        assert!(
            Settings::from_file(Path::new("/nowhere/at-all"))
                .unwrap_err()
                .to_string()
                .contains("/nowhere/at-all")
        );
    }

    #[test]
    fn limits_reach_the_server() {
        let all = flags(&[
            "--max-connections=1",
            "--max-per-address=2",
            "--address-rate=3",
            "--socket-rate=4",
            "--max-message=5",
            "--max-groups=6",
            "--max-members=7",
            "--join-rate=8",
            "--idle-timeout=9",
            "--slow-timeout=10",
            "--metrics=nobody",
        ]);
        let (config, _) = all.server().unwrap();
        assert_eq!((config.max_connections, config.per_address.connections, config.max_message), (1, 2, 5));
        assert_eq!((config.per_address.per_second, config.per_address.burst), (3, 12));
        assert_eq!((config.limits.per_second, config.limits.burst), (4, 20));
        assert_eq!((config.alm.max_groups, config.p2p.max_groups, config.p2p.max_members), (6, 6, 7));
        assert_eq!((config.alm.joins_per_second, config.metrics), (8, Metrics::Off));
        assert_eq!((config.limits.ping_interval, config.limits.send_timeout), (seconds(3), seconds(10)));
    }

    #[test]
    fn tls_and_tokens_are_checked_before_the_start() {
        for (given, wrong) in [
            (&["--tls-cert", "a"][..], "need each other"),
            (&["--tls", "self-signed", "--tls-cert", "a", "--tls-key", "b"], "not both"),
            (&["--tls-cert", "/nowhere/a", "--tls-key", "/nowhere/b"], "/nowhere/a"),
            (&["--token", "short"], "16 to 256"),
            (&["--token-key", "xyz"], "hexadecimal"),
            (&["--require-token", "create"], "nobody can have one"),
        ] {
            let failure = flags(given).server().map(drop).unwrap_err().to_string();
            assert!(failure.contains(wrong), "{failure}");
        }
        let (config, made) =
            flags(&["--tls", "self-signed", "--token", "0123456789abcdef"]).server().unwrap();
        assert!(config.tls.is_some() && made.is_some());
        assert!(format!("{:?}", config.tokens).contains("All"));
        let open = flags(&["--token", "0123456789abcdef", "--require-token", "nothing"]).server().unwrap().0;
        assert!(format!("{:?}", open.tokens).contains("Nothing"));
    }
}
