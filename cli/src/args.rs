//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::channel_spec::{ChannelSpec, DcmapSpec};
use crate::network::NetworkArgs;
use crate::serve::Settings;

/// WebRTC data channels from the command line: with a browser, or between two machines.
///
/// Start with `sinnet serve` and open the address that it prints.
#[derive(Debug, Parser)]
#[command(name = "sinnet", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Log more to standard error: -v what happens, -vv what is odd, -vvv every step. RUST_LOG overrides it.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<ServeArgs>),
    Connect(ConnectArgs),
    Bench(BenchArgs),
    Create(CreateArgs),
    Join(JoinArgs),
    Cast(CastArgs),
    Demo(DemoArgs),
    Token(TokenArgs),
    Load(LoadArgs),
    /// One of the two processes of `bench`.
    #[command(hide = true)]
    BenchWorker(WorkerArgs),
}

/// Where UDP and TCP go, for all commands that connect to somebody.
#[derive(Clone, Debug, Args)]
pub(crate) struct BindArgs {
    /// Use this local address for UDP: IP or IP:PORT. Repeatable. Default: a port on all interfaces that are up.
    #[arg(long, value_name = "ADDR", value_parser = bind_addr)]
    pub(crate) bind: Vec<SocketAddr>,

    /// Offer the loopback interface too, for a peer on this machine.
    #[arg(long)]
    pub(crate) loopback: bool,

    /// Listen for ICE over TCP, too, on the same port numbers, for browsers in networks that let no UDP through.
    #[arg(long)]
    pub(crate) ice_tcp: bool,

    /// Ask this STUN server how it sees us, so that peers reach us through an address translator: stun:HOST or
    /// stun:HOST:PORT. Repeatable. Default: none.
    #[arg(long, value_name = "URI")]
    pub(crate) stun: Vec<sinnet::ServerUri>,

    /// Use this STUN or TURN server: stun:HOST, or turn:HOST,USER,CREDENTIAL and turns:HOST,USER,CREDENTIAL for relays over
    /// UDP, TCP (?transport=tcp) or TLS. Repeatable; the environment variable takes several with blanks between them, and
    /// shows them to no other user of this machine. Default: none.
    #[arg(
        long,
        value_name = "URI[,USER,CREDENTIAL]",
        env = "SINNET_ICE_SERVER",
        hide_env_values = true,
        value_delimiter = ' ',
        value_parser = crate::ice::ice_server
    )]
    pub(crate) ice_server: Vec<sinnet::IceServer>,

    /// Show and use no address of this machine: only through TURN servers (--ice-server).
    #[arg(long, requires = "ice_server")]
    pub(crate) relay_only: bool,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// What to write down of connections, for whoever looks for a fault.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Debugging")]
pub(crate) struct InspectArgs {
    /// Append the DTLS keys of all connections to this file, as Wireshark reads them (SSLKEYLOGFILE's format). Whoever
    /// has it can read the connections.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) keylog: Option<PathBuf>,

    /// Write a packet capture for Wireshark: the datagrams as they are on the wire, and the SCTP packets, in clear with all
    /// messages. The second connection's file is named NAME-2.EXT, and so on.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) pcap: Option<PathBuf>,

    /// With --pcap: write the DTLS keys into the capture, too, so that Wireshark decrypts the datagrams.
    #[arg(long, global = true)]
    pub(crate) pcap_keys: bool,

    /// With --pcap: bytes kept of each packet, made-up IP and UDP headers included.
    #[arg(long, value_name = "BYTES", global = true, default_value_t = 65_535)]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=65_535))]
    pub(crate) snaplen: u32,
}

/// How to find out how much a path can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Congestion {
    /// Until packets get lost
    #[default]
    Cubic,
    /// The same, as SCTP was first made
    Newreno,
    /// From the rate at which they arrive: for paths that lose packets without being full
    Bbr,
}

impl From<Congestion> for sinnet::Congestion {
    fn from(congestion: Congestion) -> Self {
        match congestion {
            Congestion::Cubic => Self::Cubic,
            Congestion::Newreno => Self::NewReno,
            Congestion::Bbr => Self::Bbr,
        }
    }
}

/// Serve the page, and the signalling of groups.
///
/// The page connects the browser to this process: it echoes messages and moves files both ways. And it connects browsers and
/// `sinnet` with each other in groups, of which the server only knows who joins. It ends with Ctrl-C. `docs/server.md` says more.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file: names are those of the flags, without `--`. Flags go before the environment, and that goes
    /// before the file.
    #[arg(long, env = "SINNET_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: Settings,

    #[command(flatten)]
    pub(crate) bind: BindArgs,

    #[command(flatten)]
    pub(crate) inspect: InspectArgs,
}

/// How to be a member of a group.
#[derive(Clone, Args)]
pub(crate) struct MemberArgs {
    /// The group's name.
    pub(crate) name: String,

    /// The server, as the page's address or as that of the WebSocket.
    #[arg(long, env = "SINNET_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: String,

    /// A token, for a server that wants one.
    #[arg(long, env = "SINNET_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,

    /// Trust the certificates in this file (PEM), and no others. Default: the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Show where who is in the tree, whenever that changes: the owner sees all, others their way from the owner.
    #[arg(long)]
    pub(crate) tree: bool,

    #[command(flatten)]
    pub(crate) bind: BindArgs,
}

impl std::fmt::Debug for MemberArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberArgs")
            .field("name", &self.name)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Make a group, and say lines from standard input to all who join it
///
/// It lasts until Ctrl-C; the end of standard input does not end it.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) member: MemberArgs,

    /// What the group is about, for whoever looks for one.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) description: String,

    /// Who is slow misses messages, instead of holding up the others.
    #[arg(long)]
    pub(crate) live: bool,
}

/// Join a group: show what is said, and take what is cast
///
/// What is said goes to standard output, a line each. The exit status is 1 if a file was waited for that did not come whole.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    #[command(flatten)]
    pub(crate) member: MemberArgs,

    /// Keep what is cast: the first file here, and then leave; or all files in this directory, if it is one; or `-` for
    /// standard output. Without it files are hashed and dropped.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Leave after one file.
    #[arg(long)]
    pub(crate) once: bool,

    /// Largest file taken, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = MAX_SIZE)]
    pub(crate) max_size: u64,
}

/// Make a group, and cast a file to all who are in it
///
/// It waits for members, sends, and leaves when all have said that they have it. Who joins later gets nothing of a file
/// that has begun.
#[derive(Debug, Args)]
pub(crate) struct CastArgs {
    #[command(flatten)]
    pub(crate) member: MemberArgs,

    /// The file; `-` for standard input, as it comes.
    pub(crate) file: PathBuf,

    /// Begin when so many members are in the tree.
    #[arg(long, value_name = "MEMBERS", default_value_t = 1)]
    pub(crate) wait: u32,

    /// What the group is about, for whoever looks for one.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) description: String,

    /// Who is slow misses messages, and so the file, instead of holding up the others.
    #[arg(long)]
    pub(crate) live: bool,
}

/// See it work: a server, a tree of nodes over real sockets on 127.0.0.1, and a file for all of them
///
/// The page at the printed address can join, too. With --once the exit status is 0 if every node has the file, by its SHA-256.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The file. Default: one is made.
    pub(crate) file: Option<PathBuf>,

    /// Nodes besides the owner.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) nodes: u32,

    /// Bytes of the file that is made.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    pub(crate) size: u64,

    /// Cast once and leave. Otherwise it is cast again and again, until Ctrl-C.
    #[arg(long)]
    pub(crate) once: bool,

    /// Where the server listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
}

/// Measure the signalling server: idle WebSockets, and joins at a rate
///
/// It starts `sinnet serve` in a process of its own, and writes one line of JSON: memory of an idle WebSocket (rss_kib_per_socket),
/// how long a join takes (join_p50_ms, join_p99_ms), CPU seconds per second (idle_cpu, joining_cpu).
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// WebSockets that say nothing.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub(crate) sockets: u32,

    /// Joins per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) joins: u32,

    /// How long to measure idle, and joining.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) seconds: f64,
}

/// Make a token for a server that wants one (`sinnet serve --token-key`)
#[derive(Args)]
pub(crate) struct TokenArgs {
    /// The server's key: 32 hexadecimal digits or more.
    #[arg(long, env = "SINNET_TOKEN_KEY", value_name = "HEX", hide_env_values = true)]
    pub(crate) token_key: String,

    /// What it is good for.
    #[arg(long, value_enum, default_value_t = TokenRight::All)]
    pub(crate) right: TokenRight,

    /// Hours until it expires.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=87_600))]
    pub(crate) hours: u32,
}

impl std::fmt::Debug for TokenArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenArgs")
            .field("right", &self.right)
            .field("hours", &self.hours)
            .finish_non_exhaustive()
    }
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenRight {
    /// Creating groups
    Create,
    /// Joining groups
    Join,
    /// Both
    All,
}

/// Make one peer connection, signalled by lines of JSON on standard input and output
///
/// Every line is one of
///
///   {"type":"offer","sdp":"…"}
///   {"type":"answer","sdp":"…"}
///   {"type":"candidate","candidate":"candidate:…","sdpMid":"0","sdpMLineIndex":0}
///   {"type":"end-of-candidates"}
///
/// Carry the lines that it writes to the other side, and the other side's lines to its standard input. Nothing else
/// goes to standard output. The end of standard input does not hang up.
///
/// When the connection is disconnected, or on SIGUSR1, ICE is restarted: a new offer goes out, and data goes on meanwhile.
///
/// The exit status is 0 after an orderly close by either side, and 1 after a failure, with the reason as the last line
/// on standard error.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Two of them on one machine, sending a file (bash):\n\n  \
    mkfifo back; mkdir -p in\n  \
    sinnet connect --loopback --recv in < back | sinnet connect --loopback --offer --send FILE > back\n")]
pub(crate) struct ConnectArgs {
    /// Make the offer. Without it, wait for an offer on standard input.
    #[arg(long)]
    pub(crate) offer: bool,

    /// Open this channel. Repeatable. LABEL may be followed by options, each after a comma: unordered,
    /// maxRetransmits=N, maxPacketLifeTime=MS, protocol=P, negotiated=ID. The offerer opens one named "sinnet" if there
    /// is nothing else to open.
    #[arg(long, value_name = "LABEL[,OPTION…]")]
    pub(crate) channel: Vec<ChannelSpec>,

    /// Open this channel by SDP alone, as RFC 8864 writes it in a=dcmap: ID, then a space and options with ';' between
    /// them: label="…", subprotocol="…", ordered=false, max-retr=N, max-time=MS, priority=N. Repeatable. The ids of the
    /// offerer must have one parity; the answerer, which offers its own afterwards, has even ones unless the offerer
    /// took those.
    #[arg(long, value_name = "DCMAP")]
    pub(crate) dcmap: Vec<DcmapSpec>,

    #[command(flatten)]
    pub(crate) mode: ModeArgs,

    /// With --chat: the file descriptor to read from, such as 3 after `3< FILE`. Its end closes the connection.
    #[arg(long, value_name = "FD", requires = "chat")]
    pub(crate) chat_fd: Option<u32>,

    /// With `--send`: each file as one message, whatever its size. The peer must accept it: browsers put a message together in
    /// memory, Chromium up to 256 KiB, Firefox up to 1 GiB.
    #[arg(long, requires = "send")]
    pub(crate) as_one: bool,

    /// With --recv: largest file taken, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = MAX_SIZE)]
    pub(crate) max_size: u64,

    /// Congestion control of what is sent.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) congestion: Congestion,

    #[command(flatten)]
    pub(crate) bind: BindArgs,

    /// Write the connection's statistics to standard error, a line of JSON every so many seconds, and one at its end.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
    #[arg(help_heading = "Debugging")]
    pub(crate) stats: Option<f64>,

    #[command(flatten)]
    pub(crate) inspect: InspectArgs,
}

/// What to do with the connection. Without any of these, messages are counted and dropped.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct ModeArgs {
    /// Send every message back on its channel, with the same type.
    #[arg(long)]
    pub(crate) echo: bool,

    /// Send this file, wait until the other side has verified it, and close the connection. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub(crate) send: Vec<PathBuf>,

    /// Take the files that the peer sends into this directory, until it closes the connection.
    #[arg(long, value_name = "DIR")]
    pub(crate) recv: Option<PathBuf>,

    /// Send lines from --chat-fd as text messages, and show those that come on standard error.
    #[arg(long, requires = "chat_fd")]
    pub(crate) chat: bool,
}

/// Measure this machine: two processes on 127.0.0.1, one line of JSON per result.
///
/// CPU time is that of both processes, over exactly the measured time; warming up is not counted.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: BenchKind,

    /// Threads of each process's runtime; 1 runs everything on the main thread.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,

    /// Most datagrams handed to the kernel at once; 1 switches batches off. Default: the library's.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) max_segments: Option<usize>,

    /// Congestion control of both processes.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) congestion: Congestion,

    /// Largest datagram that is tried, bytes; 1200 or less keeps them at 1200. Default: the library's.
    #[arg(long, global = true, value_name = "BYTES")]
    pub(crate) max_mtu: Option<usize>,

    #[command(flatten)]
    pub(crate) inspect: InspectArgs,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum BenchKind {
    /// How much payload gets through: mbit_s, cpu_s_per_gb.
    Bulk {
        /// Bytes of a message.
        #[arg(long, default_value_t = 65536, value_parser = clap::value_parser!(u32).range(1..=262_144))]
        size: u32,
        /// How long to measure, after one second of warming up.
        #[arg(long, default_value_t = 5.0, value_parser = seconds)]
        seconds: f64,
    },
    /// How long a message and its echo take, one after the other: rt_s, p50_us, p99_us.
    Ping {
        /// Bytes of a message.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=262_144))]
        size: u32,
        /// How long to measure, after half a second of warming up.
        #[arg(long, default_value_t = 5.0, value_parser = seconds)]
        seconds: f64,
    },
    /// How long a connection takes, from making the offer to the first message, one after the other: median_ms, p95_ms.
    Setup {
        /// Connections to make, after five for warming up.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
    },
    /// What an idle connection costs in memory: rss_kib_per_conn, in a process that has nothing but --count of them.
    Idle {
        /// Connections to keep.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
        count: u32,
        /// How long they stay idle before memory is measured.
        #[arg(long, default_value_t = 2.0, value_parser = seconds)]
        seconds: f64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Whether this process makes the offers.
    #[arg(long)]
    pub(crate) offerer: bool,

    #[command(flatten)]
    pub(crate) bench: BenchArgs,
}

/// 16 GiB.
pub(crate) const MAX_SIZE: u64 = 16 << 30;

fn bind_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)))
        .map_err(|_| "give an IP address, or IP:PORT, such as 192.0.2.1 or [2001:db8::1]:5000".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.01 to 600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn connect(arguments: &[&str]) -> ConnectArgs {
        let all = ["sinnet", "connect"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Connect(connect) => connect,
            other => panic!("{other:?}"),
        }
    }

    fn refused(arguments: &[&str]) -> String {
        Cli::try_parse_from([&["sinnet"], arguments].concat()).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_what_there_is() {
        let help = Cli::command().render_long_help().to_string();
        for word in ["serve", "connect", "bench", "--verbose"] {
            assert!(help.contains(word), "{word}");
        }
        assert!(!help.contains("bench-worker"));
    }

    #[test]
    fn channels_and_addresses_repeat() {
        let args = connect(&[
            "--channel",
            "a",
            "--channel",
            "b,unordered",
            "--bind",
            "127.0.0.1",
            "--bind",
            "[::1]:9",
        ]);
        assert_eq!(args.channel.len(), 2);
        let args_dcmap = connect(&["--dcmap", "1", "--dcmap", "3 label=\"b c\";ordered=false"]).dcmap;
        assert_eq!(args_dcmap.iter().map(|spec| spec.0.stream_id()).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(args.bind.bind, ["127.0.0.1:0".parse().unwrap(), "[::1]:9".parse().unwrap()]);
        assert!(!args.offer && !args.bind.loopback);
    }

    #[test]
    fn modes_exclude_each_other_and_chat_needs_its_descriptor() {
        assert!(connect(&["--echo"]).mode.echo);
        assert_eq!(connect(&["--chat", "--chat-fd", "3"]).chat_fd, Some(3));
        assert!(refused(&["connect", "--echo", "--recv", "."]).contains("--recv"));
        assert!(refused(&["connect", "--chat"]).contains("--chat-fd"));
        assert!(refused(&["connect", "--chat-fd", "3"]).contains("--chat"));
    }

    #[test]
    fn mistakes_are_answered_with_what_is_right() {
        assert!(refused(&["connect", "--bind", "eth0"]).contains("192.0.2.1"));
        assert!(refused(&["connect", "--channel", "a,reliable"]).contains("maxRetransmits=N"));
        assert!(refused(&["connect", "--dcmap", "1 label=a"]).contains("label"));
        assert!(refused(&["bench", "bulk", "--seconds", "0"]).contains("0.01"));
        assert!(refused(&["connect", "--congestion", "vegas"]).contains("cubic, newreno, bbr"));
        assert!(refused(&["bench", "bulk", "--size", "0"]).contains("1..=262144"));
    }

    #[test]
    fn bench_options_may_follow_the_kind() {
        let cli = Cli::try_parse_from("sinnet bench bulk --size 1000 --threads 2".split(' ')).unwrap();
        let Command::Bench(bench) = cli.command else { panic!("bench") };
        assert_eq!((bench.threads, bench.congestion), (2, Congestion::Cubic));
        assert!(matches!(bench.what, BenchKind::Bulk { size: 1000, .. }));
        let cli = Cli::try_parse_from("sinnet bench bulk --congestion bbr".split(' ')).unwrap();
        let Command::Bench(bench) = cli.command else { panic!("bench") };
        assert_eq!(bench.congestion, Congestion::Bbr);
    }
}
