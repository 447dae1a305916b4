//! What the offering worker does, kind by kind.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use sinnet::{Certificate, DataChannel, Endpoint, PeerConfig};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Connection;
use super::link::{Report, Samples, report};
use super::usage::allow_files;
use super::worker::Worker;
use crate::args::BenchKind;
use crate::failure::{Context, Failure};
use crate::terminal::now;

/// Before round trips are measured.
const PING_WARM_UP: Duration = Duration::from_millis(500);

/// Connections before those that are measured.
pub(super) const WARM_UP: u32 = 5;

/// Idle connections that are set up at the same time.
const AT_ONCE: usize = 8;

/// How long one connection may take.
const CONNECTING: Duration = Duration::from_secs(20);

pub(super) async fn run(worker: &Arc<Worker>) -> Result<(), Failure> {
    match worker.bench.what {
        BenchKind::Bulk { size, .. } => bulk(worker, size as usize).await,
        BenchKind::Ping { size, seconds } => ping(worker, size as usize, seconds).await,
        BenchKind::Setup { count } => setup(worker, count).await,
        BenchKind::Idle { count, .. } => idle(worker, count).await,
    }
}

/// A connection, its channel, and the port that is theirs alone: two connections from one port to another can't be told
/// apart.
struct Line {
    connection: Connection,
    channel: DataChannel,
    _endpoint: Endpoint,
}

/// Connects. The time is that just before the offer was made.
async fn connect(
    worker: &Worker,
    number: u32,
    certificate: Option<Arc<Certificate>>,
) -> Result<(Line, Instant), Failure> {
    let endpoint = worker.endpoint().await?;
    let congestion = worker.bench.congestion.into();
    let mut config = PeerConfig { certificate, congestion, ..Default::default() };
    worker.inspection.configure(&mut config);
    config.max_mtu = worker.bench.max_mtu.unwrap_or(config.max_mtu);
    let connection = Connection::start(&endpoint, config, number, drop)?;
    worker.inspection.watch(&connection.peer);
    worker.register(number, &connection);
    let started = now();
    let channel = connection.peer.create_data_channel("bench", Default::default())?;
    connection.offer(number)?;
    Ok((Line { connection, channel, _endpoint: endpoint }, started))
}

async fn bulk(worker: &Worker, size: usize) -> Result<(), Failure> {
    let (line, _) = connect(worker, 0, None).await?;
    let message = Bytes::from(vec![0x5a; size]);
    // Ends with the connection, which the conductor's order ends.
    while line.channel.send(message.clone()).await.is_ok() {}
    Ok(())
}

async fn ping(worker: &Worker, size: usize, seconds: f64) -> Result<(), Failure> {
    let (line, _) = connect(worker, 0, None).await?;
    let message = Bytes::from(vec![0x5a; size]);
    let mut nanos = Vec::new();
    let mut first = None;
    let mut warm = None;
    loop {
        let sent = now();
        line.channel.send(message.clone()).await.context("the connection ended")?;
        line.channel.recv().await.ok_or_else(|| Failure::new("the connection ended"))?;
        let back = now();
        if back - *first.get_or_insert(sent) < PING_WARM_UP {
            continue;
        }
        let since = *warm.get_or_insert(sent);
        nanos.push(u32::try_from((back - sent).as_nanos()).unwrap_or(u32::MAX));
        let elapsed = (back - since).as_secs_f64();
        if elapsed >= seconds {
            return samples(nanos, elapsed);
        }
    }
}

async fn setup(worker: &Worker, count: u32) -> Result<(), Failure> {
    // Made once, as an application would.
    let certificate = certificate()?;
    let mut nanos = Vec::new();
    let mut measured = now();
    for number in 0..WARM_UP + count {
        if number == WARM_UP {
            measured = now();
        }
        let (line, started) = connect(worker, number, Some(certificate.clone())).await?;
        first_message(&line.channel).await?;
        if number >= WARM_UP {
            nanos.push(u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        // An orderly close takes round trips and timers of its own, which are not the set-up's.
        tokio::spawn(async move { line.connection.peer.close().await });
    }
    samples(nanos, measured.elapsed().as_secs_f64())
}

async fn idle(worker: &Arc<Worker>, count: u32) -> Result<(), Failure> {
    allow_files(u64::from(count) + 128)?;
    let certificate = certificate()?;
    let mut lines = Vec::new();
    // Code that is run for the first time takes memory too; it is not the connections'.
    for part in [0..WARM_UP, WARM_UP..WARM_UP + count] {
        let mut connecting = JoinSet::new();
        for number in part {
            if connecting.len() >= AT_ONCE
                && let Some(line) = connecting.join_next().await
            {
                lines.push(line.context("a connection was given up")??);
            }
            let (worker, certificate) = (worker.clone(), certificate.clone());
            connecting.spawn(async move {
                let (line, _) = connect(&worker, number, Some(certificate)).await?;
                first_message(&line.channel).await?;
                Ok::<_, Failure>(line)
            });
        }
        while let Some(line) = connecting.join_next().await {
            lines.push(line.context("a connection was given up")??);
        }
        report(&Report::Ready);
        worker.go.notified().await;
    }
    drop(lines);
    Ok(())
}

async fn first_message(channel: &DataChannel) -> Result<(), Failure> {
    match timeout(CONNECTING, channel.recv()).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Failure::new("the connection ended before its first message")),
        Err(_) => Err(Failure::new(format!("no message came in {} s", CONNECTING.as_secs()))),
    }
}

fn samples(nanos: Vec<u32>, elapsed_s: f64) -> Result<(), Failure> {
    let samples = Samples::new(nanos, elapsed_s).ok_or_else(|| Failure::new("nothing was measured"))?;
    report(&Report::Samples(samples));
    Ok(())
}

fn certificate() -> Result<Arc<Certificate>, Failure> {
    #[expect(clippy::disallowed_methods, reason = "a certificate's dates are real ones")]
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Arc::new(Certificate::generate(unix).context("can't make a certificate")?))
}
