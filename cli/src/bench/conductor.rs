//! The process that the user started: two workers, their signalling, the measured window, the result.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::link::{Order, Report, Samples};
use super::offerer::WARM_UP;
use super::usage::Snapshot;
use crate::args::{BenchArgs, BenchKind};
use crate::failure::{Context, Failure};
use crate::terminal::Screen;

/// Before the throughput is measured: long enough for the congestion window and the CPU's clock to settle.
const BULK_WARM_UP: Duration = Duration::from_secs(1);

/// How long a worker may be silent beyond what it was asked to measure.
const PATIENCE: Duration = Duration::from_secs(60);

const OFFERER: usize = 0;
const ANSWERER: usize = 1;

pub(crate) async fn run(args: BenchArgs, screen: &Screen) -> Result<(), Failure> {
    let mut workers = Workers::start(&args)?;
    let spinner = screen.spinner("measuring".to_owned());
    let result = match args.what {
        BenchKind::Bulk { size, seconds } => bulk(&mut workers, size, seconds).await,
        BenchKind::Ping { size, seconds } => ping(&mut workers, size, seconds).await,
        BenchKind::Setup { .. } => setup(&mut workers).await,
        BenchKind::Idle { count, seconds } => idle(&mut workers, count, seconds).await,
    };
    drop(spinner);
    let result = result?;
    workers.stop().await;
    writeln!(io::stdout(), "{result}").context("can't write the result")
}

async fn bulk(workers: &mut Workers, size: u32, seconds: f64) -> Result<Value, Failure> {
    workers.ready().await?;
    sleep(BULK_WARM_UP).await;
    let before = workers.mark().await?;
    sleep(Duration::from_secs_f64(seconds)).await;
    let after = workers.mark().await?;
    Ok(bulk_result(size, before, after))
}

fn bulk_result(size: u32, before: [Snapshot; 2], after: [Snapshot; 2]) -> Value {
    // Each worker's window is by its own clock; they differ by the time that an order takes, some microseconds.
    let window = |side: usize| (after[side].at_s - before[side].at_s).max(1e-9);
    let bytes_s = (after[ANSWERER].received - before[ANSWERER].received) as f64 / window(ANSWERER);
    let cpu = |side: usize| (after[side].cpu_s - before[side].cpu_s) / window(side);
    let per_gb = |cpu: f64| if bytes_s > 0.0 { json!(round(cpu * 1e9 / bytes_s, 4)) } else { Value::Null };
    json!({
        "bench": "bulk",
        "size": size,
        "seconds": round(window(ANSWERER), 3),
        "mbit_s": round(bytes_s * 8e-6, 1),
        "cpu_s_per_gb": per_gb(cpu(OFFERER) + cpu(ANSWERER)),
        "cpu_s_per_gb_sender": per_gb(cpu(OFFERER)),
        "cpu_s_per_gb_receiver": per_gb(cpu(ANSWERER)),
    })
}

async fn ping(workers: &mut Workers, size: u32, seconds: f64) -> Result<Value, Failure> {
    let samples = workers.samples(PATIENCE + Duration::from_secs_f64(seconds)).await?;
    Ok(json!({
        "bench": "ping",
        "size": size,
        "seconds": round(samples.elapsed_s, 3),
        "count": samples.count,
        "rt_s": round(samples.count as f64 / samples.elapsed_s, 1),
        "p50_us": round(samples.p50_s * 1e6, 1),
        "p99_us": round(samples.p99_s * 1e6, 1),
    }))
}

async fn setup(workers: &mut Workers) -> Result<Value, Failure> {
    // Every connection has its own limit, in the worker.
    let samples = workers.samples(Duration::from_secs(24 * 3600)).await?;
    Ok(json!({
        "bench": "setup",
        "count": samples.count,
        "median_ms": round(samples.p50_s * 1e3, 3),
        "p95_ms": round(samples.p95_s * 1e3, 3),
    }))
}

async fn idle(workers: &mut Workers, count: u32, seconds: f64) -> Result<Value, Failure> {
    workers.ready().await?;
    let before = workers.mark().await?[ANSWERER];
    workers.order(OFFERER, &Order::Go).await?;
    workers.ready_within(PATIENCE + Duration::from_secs(u64::from(count) / 10)).await?;
    sleep(Duration::from_secs_f64(seconds)).await;
    let after = workers.mark().await?[ANSWERER];
    let kib = after.rss_kib.saturating_sub(before.rss_kib);
    Ok(json!({
        "bench": "idle",
        "count": count,
        "seconds": seconds,
        "rss_kib_per_conn": round(kib as f64 / f64::from(count), 2),
        "rss_kib": after.rss_kib,
        "warm_up": WARM_UP,
    }))
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

struct Workers {
    children: Vec<Child>,
    orders: Vec<mpsc::Sender<Order>>,
    /// Which worker, and what it reports; signals are carried over before they get here.
    reports: mpsc::Receiver<(usize, Report)>,
}

impl Workers {
    fn start(args: &BenchArgs) -> Result<Self, Failure> {
        let program = std::env::current_exe().context("can't find this program to start it twice")?;
        let (to_conductor, reports) = mpsc::channel(64);
        let (mut children, mut orders, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for side in [OFFERER, ANSWERER] {
            let mut command = Command::new(&program);
            command.arg("bench-worker");
            if side == OFFERER {
                command.arg("--offerer");
            }
            command.args(arguments(args)).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn().context(format_args!("can't start {}", program.display()))?;
            let pipes = child.stdin.take().zip(child.stdout.take());
            let (input, output) = pipes.ok_or_else(|| Failure::new("a worker has no pipes"))?;
            // Orders are few, signals come by the handful for each connection on its way.
            let (to_worker, from_conductor) = mpsc::channel(1024);
            tokio::spawn(write_orders(input, from_conductor));
            children.push(child);
            orders.push(to_worker);
            outputs.push(output);
        }
        for (side, output) in outputs.into_iter().enumerate() {
            tokio::spawn(read_reports(output, side, orders[1 - side].clone(), to_conductor.clone()));
        }
        Ok(Self { children, orders, reports })
    }

    async fn order(&self, side: usize, order: &Order) -> Result<(), Failure> {
        self.orders[side].send(order.clone()).await.map_err(|_| Failure::new("a worker has ended early"))
    }

    async fn report(&mut self, patience: Duration) -> Result<(usize, Report), Failure> {
        match timeout(patience, self.reports.recv()).await {
            Ok(Some((side, Report::Failed(reason)))) => {
                let side = if side == OFFERER { "offering" } else { "answering" };
                Err(Failure::new(format!("the {side} process failed: {reason}")))
            }
            Ok(Some(report)) => Ok(report),
            Ok(None) => Err(Failure::new("both processes have ended early")),
            Err(_) => Err(Failure::new(format!("nothing was heard for {} s", patience.as_secs()))),
        }
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        self.ready_within(PATIENCE).await
    }

    async fn ready_within(&mut self, patience: Duration) -> Result<(), Failure> {
        loop {
            if let (_, Report::Ready) = self.report(patience).await? {
                return Ok(());
            }
        }
    }

    async fn samples(&mut self, patience: Duration) -> Result<Samples, Failure> {
        loop {
            if let (_, Report::Samples(samples)) = self.report(patience).await? {
                return Ok(samples);
            }
        }
    }

    /// A snapshot of both, taken at the same time.
    async fn mark(&mut self) -> Result<[Snapshot; 2], Failure> {
        for side in [OFFERER, ANSWERER] {
            self.order(side, &Order::Mark).await?;
        }
        let mut snapshots = [None; 2];
        loop {
            if let (side, Report::Snapshot(snapshot)) = self.report(PATIENCE).await? {
                snapshots[side] = Some(snapshot);
            }
            if let [Some(offerer), Some(answerer)] = snapshots {
                return Ok([offerer, answerer]);
            }
        }
    }

    /// Lets them end by themselves, for a while.
    async fn stop(mut self) {
        for side in [OFFERER, ANSWERER] {
            let _ = self.order(side, &Order::Stop).await;
        }
        for child in &mut self.children {
            let _ = timeout(Duration::from_secs(5), child.wait()).await;
        }
    }
}

async fn write_orders(mut input: ChildStdin, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let Ok(mut line) = serde_json::to_vec(&order) else { continue };
        line.push(b'\n');
        if input.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn read_reports(
    output: ChildStdout,
    side: usize,
    other: mpsc::Sender<Order>,
    to_conductor: mpsc::Sender<(usize, Report)>,
) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let report = match serde_json::from_str(&line) {
            Ok(Report::Signal(number, signal)) => {
                if other.send(Order::Signal(number, signal)).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(report) => report,
            Err(error) => Report::Failed(format!("it says {line:?}, which is no report: {error}")),
        };
        if to_conductor.send((side, report)).await.is_err() {
            return;
        }
    }
}

/// The arguments that make a worker do the same.
fn arguments(args: &BenchArgs) -> Vec<OsString> {
    let (kind, options) = match args.what {
        BenchKind::Bulk { size, seconds } => {
            ("bulk", vec![format!("--size={size}"), format!("--seconds={seconds}")])
        }
        BenchKind::Ping { size, seconds } => {
            ("ping", vec![format!("--size={size}"), format!("--seconds={seconds}")])
        }
        BenchKind::Setup { count } => ("setup", vec![format!("--count={count}")]),
        BenchKind::Idle { count, seconds } => {
            ("idle", vec![format!("--count={count}"), format!("--seconds={seconds}")])
        }
    };
    let mut arguments = vec![kind.to_owned()];
    arguments.extend(options);
    arguments.push(format!("--threads={}", args.threads));
    if let Some(congestion) = args.congestion.to_possible_value() {
        arguments.push(format!("--congestion={}", congestion.get_name()));
    }
    arguments.extend(args.max_segments.map(|max| format!("--max-segments={max}")));
    arguments.extend(args.max_mtu.map(|max| format!("--max-mtu={max}")));
    let mut arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
    if let Some(path) = &args.inspect.keylog {
        arguments.extend(["--keylog".into(), path.into()]);
    }
    if let Some(path) = &args.inspect.pcap {
        arguments.extend(["--pcap".into(), path.into()]);
    }
    if args.inspect.pcap_keys {
        arguments.push("--pcap-keys".into());
    }
    arguments.push(format!("--snaplen={}", args.inspect.snaplen).into());
    arguments
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command as CliCommand};

    #[test]
    fn a_worker_is_told_the_same_as_the_conductor() {
        for line in [
            "bulk --size 1000 --seconds 0.5",
            "ping --size 1 --seconds 2",
            "setup --count 3 --threads 2",
            "idle --count 7 --seconds 1 --max-segments 1 --max-mtu 1452 --congestion bbr",
            "bulk --keylog keys --pcap a.pcapng --pcap-keys --snaplen 100",
        ] {
            let parse = |arguments: Vec<OsString>| Cli::try_parse_from(arguments).unwrap().command;
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            let CliCommand::Bench(bench) = parse([words("sinnet bench"), words(line)].concat()) else {
                panic!("bench")
            };
            let worker = parse([words("sinnet bench-worker --offerer"), arguments(&bench)].concat());
            let CliCommand::BenchWorker(worker) = worker else { panic!("worker") };
            assert!(worker.offerer);
            assert_eq!(format!("{:?}", worker.bench), format!("{bench:?}"));
        }
    }

    #[test]
    fn throughput_and_cpu_time_are_those_of_the_window() {
        let snapshot = |at_s, cpu_s, received| Snapshot { at_s, cpu_s, received, rss_kib: 0 };
        let before = [snapshot(1.0, 0.5, 0), snapshot(1.5, 0.25, 1_000_000)];
        let after = [snapshot(3.0, 2.5, 0), snapshot(3.5, 1.25, 501_000_000)];
        let result = bulk_result(100, before, after);
        assert_eq!(result["mbit_s"], 2000.0);
        assert_eq!(result["cpu_s_per_gb"], 6.0);
        assert_eq!(result["cpu_s_per_gb_sender"], 4.0);
        assert_eq!(result["seconds"], 2.0);
        assert_eq!(bulk_result(100, before, before)["cpu_s_per_gb"], Value::Null);
    }
}
