//! One of the two processes: obeys orders, and answers whoever calls.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sinnet::{DataChannel, Endpoint, EndpointConfig, PeerConfig};
use sinnet_signaling::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::connection::Connection;
use super::link::{Order, Report, report};
use super::offerer;
use super::usage::Snapshot;
use crate::args::{BenchArgs, BenchKind, WorkerArgs};
use crate::connect::reflect;
use crate::failure::{Context, Failure};
use crate::inspect::Inspection;
use crate::terminal::{Screen, now};

/// What all parts of a worker share.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) bench: BenchArgs,
    /// At the offerer; both would write down the same.
    pub(super) inspection: Inspection,
    started: Instant,
    received: AtomicU64,
    reported_ready: AtomicBool,
    /// [`Order::Go`] came.
    pub(super) go: Notify,
    signals: Mutex<HashMap<u32, mpsc::UnboundedSender<Signal>>>,
}

pub(crate) async fn run(args: WorkerArgs) -> Result<(), Failure> {
    let inspection = match args.offerer {
        true => Inspection::start(&args.bench.inspect, &Screen::new()),
        false => Ok(Inspection::none(&Screen::new())),
    };
    let inspection = inspection.inspect_err(|failure| report(&Report::Failed(failure.to_string())))?;
    let worker = Arc::new(Worker {
        bench: args.bench,
        inspection,
        started: now(),
        received: AtomicU64::new(0),
        reported_ready: AtomicBool::new(false),
        go: Notify::new(),
        signals: Mutex::new(HashMap::new()),
    });
    let result = obey(&worker, args.offerer).await;
    if let Err(failure) = &result {
        report(&Report::Failed(failure.to_string()));
    }
    result
}

async fn obey(worker: &Arc<Worker>, offerer: bool) -> Result<(), Failure> {
    let endpoint = worker.endpoint().await?;
    if offerer {
        let worker = worker.clone();
        tokio::spawn(async move {
            if let Err(failure) = offerer::run(&worker).await {
                report(&Report::Failed(failure.to_string()));
            }
        });
    }
    let mut connections = Vec::new();
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await.context("can't read orders")? {
        match serde_json::from_str(&line).context("can't understand an order")? {
            Order::Mark => {
                report(&Report::Snapshot(Snapshot::take(worker.started, &worker.received)?));
            }
            Order::Go => worker.go.notify_one(),
            Order::Stop => break,
            Order::Signal(number, signal) => {
                if !offerer && matches!(signal, Signal::Offer { .. }) {
                    let answering = worker.clone();
                    let on_channel = move |channel| {
                        tokio::spawn(answering.clone().answer(channel));
                    };
                    let config =
                        PeerConfig { congestion: worker.bench.congestion.into(), ..Default::default() };
                    let connection = Connection::start(&endpoint, config, number, on_channel)?;
                    worker.register(number, &connection);
                    if matches!(worker.bench.what, BenchKind::Setup { .. }) {
                        // Those before are closed by the other side; the handles need not stay.
                        connections.clear();
                    }
                    connections.push(connection.peer);
                }
                worker.signal(number, signal);
            }
        }
    }
    drop(connections);
    // The measuring is done; the other process goes as well, so there may be nobody to say goodbye to.
    let _ = timeout(Duration::from_millis(300), endpoint.close()).await;
    worker.inspection.end().await;
    Ok(())
}

impl Worker {
    /// An endpoint on a port of its own.
    pub(super) async fn endpoint(&self) -> Result<Endpoint, Failure> {
        let mut config = EndpointConfig::bind((Ipv4Addr::LOCALHOST, 0).into());
        config.include_loopback = true;
        if let Some(max) = self.bench.max_segments {
            config.max_segments = max;
        }
        Ok(Endpoint::new(config).await?)
    }

    /// Lets signals for a connection find it.
    pub(super) fn register(&self, number: u32, connection: &Connection) {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        signals.retain(|_, to| !to.is_closed());
        signals.insert(number, connection.signals.clone());
    }

    fn signal(&self, number: u32, signal: Signal) {
        let signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = signals.get(&number) {
            // A connection that has ended needs none.
            let _ = to.send(signal);
        }
    }

    /// What the answerer does with a channel.
    async fn answer(self: Arc<Self>, channel: DataChannel) {
        match self.bench.what {
            BenchKind::Bulk { .. } => {
                while let Some(message) = channel.recv().await {
                    self.received.fetch_add(message.len() as u64, Ordering::Relaxed);
                    if !self.reported_ready.swap(true, Ordering::Relaxed) {
                        report(&Report::Ready);
                    }
                }
            }
            BenchKind::Ping { .. } => reflect(&channel).await,
            BenchKind::Setup { .. } | BenchKind::Idle { .. } => {
                if channel.send("hello").await.is_ok() {
                    while channel.recv().await.is_some() {}
                }
            }
        }
    }
}
