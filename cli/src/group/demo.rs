//! `sinnet demo`: a server, an owner and some members in this process, over real sockets on 127.0.0.1, and a file for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sinnet_alm::group::{GroupEvent, NodeId, WebRtcAlm};
use sinnet_signaling::{CloseCode, Server, ServerConfig};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::give::{Feed, Given, give};
use super::take::{Happening, Out, Taker};
use super::{Interrupt, draw, local_member};
use crate::args::DemoArgs;
use crate::failure::{Context, Failure};
use crate::open_files;
use crate::terminal::{Screen, amount, now};
use crate::transfer::{Source, Watch};

const GROUP: &str = "demo";

/// How often the terminal is drawn anew.
const FRAME: Duration = Duration::from_millis(200);

/// How long nothing may move before that is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two casts.
const PAUSE: Duration = Duration::from_secs(5);

/// Open files that a node needs: its socket, a WebSocket for each end of each join, and what the runtime has.
const FILES_PER_NODE: u64 = 32;

pub(crate) async fn run(args: DemoArgs, screen: &Screen) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new()?;
    open_files::allow(u64::from(args.nodes) * FILES_PER_NODE + 256)?;
    let mut config = ServerConfig::new(args.listen);
    // All nodes have one address.
    (config.per_address.connections, config.per_address.per_second) = (0, 0);
    let mut server = Server::bind(config).await.context(format_args!("can't listen on {}", args.listen))?;
    let url = format!("http://{}", server.local_addr());
    let result = tokio::select! {
        result = play(&args, &url, screen) => result,
        () = turn_away(&mut server) => Ok(()),
        () = interrupt.came() => match args.once {
            true => Err(Failure::new("stopped before all had the file")),
            false => Ok(()),
        },
    };
    server.shutdown(Duration::from_secs(2)).await;
    result
}

/// The page's own connection is with `sinnet serve`.
async fn turn_away(server: &mut Server) {
    while let Some(visitor) = server.accept().await {
        visitor.session.close(CloseCode::TRY_AGAIN_LATER, "this is sinnet demo: join the group");
    }
}

async fn play(args: &DemoArgs, url: &str, screen: &Screen) -> Result<(), Failure> {
    let alm = format!("{}/alm", url.replacen("http", "ws", 1));
    let owner = local_member(&alm);
    owner.create(GROUP, "a tree in one process").await.context("no group")?;
    let (to_us, reports) = mpsc::channel(64);
    let mut stage = Stage { owner, nodes: Vec::new(), reports, tasks: JoinSet::new() };
    let started = now();
    for _ in 0..args.nodes {
        stage.join(&alm, &to_us).await?;
    }
    stage.all_are_in().await?;
    let took = started.elapsed().as_secs_f64();
    screen.say(format!("{} nodes joined within {took:.1} s", args.nodes));
    screen.say(format!("Open {url}/#group={GROUP} in a browser to join them. Ctrl-C ends."));
    let mut id = 0;
    loop {
        let feed = match &args.file {
            Some(path) => Feed::Source(Source::file(path).await.context("nothing to cast")?),
            None => Feed::Source(Source::sample(args.size)),
        };
        stage.cast(id, feed, screen).await?;
        if args.once {
            stage.leave().await;
            return Ok(());
        }
        id += 1;
        sleep(PAUSE).await;
    }
}

/// A member in this process.
struct Node {
    group: WebRtcAlm,
    /// Bytes of the newest file.
    came: Arc<AtomicU64>,
    before: u64,
    rate: f64,
    outcome: Option<Result<String, String>>,
}

/// How a file ended at a node: its place in the list, the file's id, its hash or what went wrong.
type Report = (usize, u32, Result<String, String>);

struct Stage {
    owner: WebRtcAlm,
    nodes: Vec<Node>,
    reports: mpsc::Receiver<Report>,
    tasks: JoinSet<()>,
}

impl Stage {
    async fn join(&mut self, url: &str, reports: &mpsc::Sender<Report>) -> Result<(), Failure> {
        let group = local_member(url);
        group.join(GROUP).await.context("a node can't join")?;
        let (came, index) = (Arc::<AtomicU64>::default(), self.nodes.len());
        self.tasks.spawn(attend(group.clone(), index, came.clone(), reports.clone()));
        self.nodes.push(Node { group, came, before: 0, rate: 0.0, outcome: None });
        Ok(())
    }

    /// Waits until every node has a parent, and the owner knows of all.
    async fn all_are_in(&mut self) -> Result<(), Failure> {
        let started = now();
        loop {
            let mut missing = 0;
            for node in &self.nodes {
                let parent = node.group.status().await.and_then(|status| status.parent);
                missing += usize::from(parent.is_none());
            }
            if missing == 0 {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(Failure::new(format!("{missing} nodes found no place in the tree")));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// One file for all, drawn as it goes.
    async fn cast(&mut self, id: u32, mut feed: Feed, screen: &Screen) -> Result<(), Failure> {
        for node in &mut self.nodes {
            node.came.store(0, Ordering::Relaxed);
            (node.before, node.rate, node.outcome) = (0, 0.0, None);
        }
        let started = now();
        let owner = self.owner.clone();
        let mut giving = Box::pin(async { give(&owner, id, &mut feed, &mut Nobody).await });
        let mut given: Option<Given> = None;
        let mut board = screen.board();
        let mut drawn = started;
        let mut moved = started;
        while given.is_none() || self.nodes.iter().any(|node| node.outcome.is_none()) {
            tokio::select! {
                done = &mut giving, if given.is_none() => given = Some(done.context("not cast")?),
                Some((index, of, outcome)) = self.reports.recv() => {
                    if let Some(node) = self.nodes.get_mut(index).filter(|_| of == id) {
                        node.outcome = Some(outcome);
                    }
                }
                () = sleep(FRAME) => {}
            }
            let since = drawn.elapsed();
            if since < FRAME {
                continue;
            }
            drawn = now();
            if self.measure(since) {
                moved = drawn;
            }
            if moved.elapsed() > PATIENCE {
                break;
            }
            board.show(&self.lines().await);
        }
        drop(board);
        drop(giving);
        self.measure(drawn.elapsed());
        let took = started.elapsed().as_secs_f64();
        self.judge(given.as_ref(), took, screen).await
    }

    /// Rates since the last time; whether anything came.
    fn measure(&mut self, since: Duration) -> bool {
        let mut moved = false;
        for node in &mut self.nodes {
            let came = node.came.load(Ordering::Relaxed);
            node.rate = came.saturating_sub(node.before) as f64 / since.as_secs_f64();
            moved |= came != node.before;
            node.before = came;
        }
        moved
    }

    async fn judge(&self, given: Option<&Given>, took: f64, screen: &Screen) -> Result<(), Failure> {
        let lines = self.lines().await;
        screen.print(&lines.join("\n"));
        let Some(given) = given else {
            return Err(Failure::new(format!("nothing has moved for {} s", PATIENCE.as_secs())));
        };
        let right = |node: &&Node| node.outcome.as_ref() == Some(&Ok(given.sha256.clone()));
        let (count, of) = (self.nodes.iter().filter(right).count(), self.nodes.len());
        let rate = amount(given.size as f64 / took);
        let all = amount(given.size as f64 * count as f64 / took);
        screen.print(&format!(
            "{count} of {of} nodes have {} ({}) after {took:.2} s: {rate}/s each, {all}/s together\nSHA-256 {}",
            given.name,
            amount(given.size as f64),
            given.sha256
        ));
        if count < of { Err(Failure::new(format!("{} nodes do not have it", of - count))) } else { Ok(()) }
    }

    /// The tree, and where each node is with the file.
    async fn lines(&self) -> Vec<String> {
        let mut parents: BTreeMap<NodeId, Option<NodeId>> = BTreeMap::new();
        let mut labels = BTreeMap::new();
        // Those elsewhere, such as browsers, are known by what they say to the owner.
        for (id, entry) in self.owner.tree().await {
            parents.insert(id, entry.report.links.upstreams.first().copied());
            let rate = amount(f64::from(entry.report.rate));
            labels.insert(
                id,
                format!("node {} (elsewhere) {rate}/s, {} messages behind", id.0, entry.report.lag),
            );
        }
        for node in &self.nodes {
            let Some(status) = node.group.status().await else { continue };
            parents.insert(status.id, status.parent);
            let came = amount(node.before as f64);
            let state = match &node.outcome {
                Some(Ok(_)) => "✓ whole".to_owned(),
                Some(Err(error)) => format!("✗ {error}"),
                None => format!("{:>8}/s", amount(node.rate)),
            };
            labels.insert(status.id, format!("node {:<3} {came:>8}  {state}", status.id.0));
        }
        labels.insert(NodeId(0), "node 0 (the owner)".to_owned());
        draw::lines(&parents, |id| labels.get(&id).cloned().unwrap_or_default())
    }

    async fn leave(mut self) {
        for node in &self.nodes {
            node.group.leave().await;
        }
        self.owner.leave().await;
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Takes what comes at a node, until it leaves.
async fn attend(group: WebRtcAlm, index: usize, came: Arc<AtomicU64>, reports: mpsc::Sender<Report>) {
    let mut taker = Taker::new(Out::Nowhere, u64::MAX);
    while let Some(event) = group.next_event().await {
        let GroupEvent::Message { message, .. } = event else { continue };
        let report = match taker.take(message).await {
            Happening::At { bytes, .. } => {
                came.store(bytes, Ordering::Relaxed);
                continue;
            }
            Happening::Done { id, taken } => {
                came.store(taken.size, Ordering::Relaxed);
                (index, id, Ok(taken.sha256))
            }
            Happening::Failed { id, error, .. } => (index, id, Err(error.to_string())),
            Happening::Chat(_) | Happening::Begun { .. } | Happening::Ignored => continue,
        };
        if reports.send(report).await.is_err() {
            return;
        }
    }
}

/// What the owner has sent shows at its members.
struct Nobody;

impl Watch for Nobody {
    fn begin(&mut self, _name: &str, _size: u64) {}

    fn at(&mut self, _bytes: u64) {}
}
