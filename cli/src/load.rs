//! `sinnet load`: a server in a process of its own, idle WebSockets, and joins at a rate.

use std::fs;
use std::io::{self, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sinnet_signaling::{Client, Session};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::args::LoadArgs;
use crate::failure::{Context, Failure};
use crate::open_files;
use crate::terminal::{Screen, now};

/// WebSockets that are being opened at once.
const OPENING: usize = 64;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// USER_HZ, of which /proc counts CPU time in: 100 wherever Linux runs.
const TICKS: f64 = 100.0;

type Texts = Session<String>;

pub(crate) async fn run(load: &LoadArgs, screen: &Screen) -> Result<(), Failure> {
    open_files::allow(u64::from(load.sockets) + 2 * u64::from(load.joins) + 256)?;
    let spinner = screen.spinner("measuring".to_owned());
    let server = Server::start(load).await?;
    let empty = server.usage()?;

    // Users of /p2p may be idle for as long as they like.
    let started = now();
    let url: Arc<str> = format!("ws://{}/p2p", server.host).into();
    let places = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for _ in 0..load.sockets {
        let (url, places) = (url.clone(), places.clone());
        opening.spawn(async move {
            let _place = places.acquire().await;
            let mut session = open(&url).await?;
            ask(&mut session, r#"{"jsonrpc":"2.0","id":1,"method":"init"}"#, "result").await?;
            Ok::<_, Failure>(session)
        });
    }
    let mut idle = Vec::new();
    while let Some(opened) = opening.join_next().await {
        idle.push(opened.context("a task failed")??);
    }
    let opened_s = started.elapsed().as_secs_f64();
    sleep(Duration::from_secs(2)).await;
    let full = server.usage()?;

    let before = (now(), server.usage()?);
    sleep(Duration::from_secs_f64(load.seconds)).await;
    let idle_cpu = server.cpu_share(before)?;
    let before = (now(), server.usage()?);
    let (mut took, failed) = join(load, &server.host).await?;
    let joining_cpu = server.cpu_share(before)?;
    drop(spinner);

    took.sort_unstable();
    let quantile = |q: f64| {
        let at = ((took.len() as f64 * q) as usize).min(took.len().saturating_sub(1));
        took.get(at).map_or(0.0, |took| round(took.as_secs_f64() * 1e3, 2))
    };
    let lost = idle.iter().filter(|session| session.ended().is_some()).count();
    let kib = full.rss_kib.saturating_sub(empty.rss_kib) as f64;
    let result = json!({
        "bench": "load",
        "sockets": load.sockets,
        "opened_per_s": round(f64::from(load.sockets) / opened_s, 0),
        "rss_kib_per_socket": round(kib / f64::from(load.sockets.max(1)), 2),
        "rss_kib": full.rss_kib,
        "lost": lost,
        "idle_cpu": round(idle_cpu, 3),
        "joins_per_s": load.joins,
        "joins": took.len(),
        "joins_failed": failed,
        "join_p50_ms": quantile(0.5),
        "join_p99_ms": quantile(0.99),
        "joining_cpu": round(joining_cpu, 3),
    });
    writeln!(io::stdout(), "{result}").context("can't write the result")
}

/// Joins of one group at the rate; how long each took until the owner knew, and how many went wrong.
async fn join(load: &LoadArgs, host: &str) -> Result<(Vec<Duration>, usize), Failure> {
    let url: Arc<str> = format!("ws://{host}/alm").into();
    let mut client = Client::default();
    (client.limits.burst, client.limits.per_second) = (4096, 4096);
    let mut owner = client.connect_as::<String>(&url).await.context("no owner")?;
    ask(&mut owner, r#"{"m":"create","g":"load"}"#, "\"ok\"").await?;
    let told = tokio::spawn(async move { while owner.recv().await.is_some() {} });
    let mut ticks = interval(Duration::from_secs(1) / load.joins.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut joining = JoinSet::new();
    let count = (f64::from(load.joins) * load.seconds) as u64;
    for _ in 0..count {
        ticks.tick().await;
        let url = url.clone();
        joining.spawn(async move {
            let started = now();
            let mut session = open(&url).await?;
            ask(&mut session, r#"{"m":"join","g":"load","n":2}"#, "\"ok\"").await?;
            Ok::<_, Failure>(started.elapsed())
        });
    }
    let (mut took, mut failed) = (Vec::new(), 0);
    while let Some(joined) = joining.join_next().await {
        match joined.context("a task failed")? {
            Ok(time) => took.push(time),
            Err(_) => failed += 1,
        }
    }
    told.abort();
    Ok((took, failed))
}

async fn open(url: &str) -> Result<Texts, Failure> {
    Client::default().connect_as(url).await.context("no WebSocket")
}

/// Says this and waits for an answer that has that in it.
async fn ask(session: &mut Texts, text: &str, wanted: &str) -> Result<(), Failure> {
    session.send(&text.to_owned()).context("not said")?;
    match timeout(PATIENCE, session.recv()).await {
        Ok(Some(answer)) if answer.contains(wanted) => Ok(()),
        other => Err(Failure::new(format!("the server's answer is {other:?}"))),
    }
}

/// `sinnet serve`, with its limits out of the way.
struct Server {
    child: Child,
    host: String,
}

#[derive(Clone, Copy)]
struct Usage {
    cpu_s: f64,
    rss_kib: u64,
}

impl Server {
    async fn start(load: &LoadArgs) -> Result<Self, Failure> {
        let program = std::env::current_exe().context("can't find this program")?;
        let rate = (2 * load.joins).to_string();
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1", "--max-per-address", "0"]);
        command.args(["--address-rate", "0", "--join-rate", &rate, "--max-connections", "20000"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("can't start the server")?;
        let output = child.stdout.take().ok_or_else(|| Failure::new("the server has no output"))?;
        let mut lines = BufReader::new(output).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.context("the server does not start")?;
        let line = line.context("the server does not start")?.unwrap_or_default();
        let host = line.strip_prefix("listening on http://").map(str::to_owned);
        Ok(Self { child, host: host.ok_or_else(|| Failure::new("the server does not listen"))? })
    }

    /// From /proc, so on Linux only.
    fn usage(&self) -> Result<Usage, Failure> {
        let id = self.child.id().ok_or_else(|| Failure::new("the server has ended"))?;
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).context("can't look at the server");
        let (status, stat) = (read("status")?, read("stat")?);
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"));
        // Behind the name, which may have anything in it: the 12th and 13th are ticks in user and kernel mode.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Usage {
            cpu_s: ticks as f64 / TICKS,
            rss_kib: rss.and_then(|kib| kib.trim().parse().ok()).unwrap_or(0),
        })
    }

    /// CPU seconds per second since then.
    fn cpu_share(&self, (then, before): (Instant, Usage)) -> Result<f64, Failure> {
        Ok((self.usage()?.cpu_s - before.cpu_s) / then.elapsed().as_secs_f64().max(1e-9))
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
