//! The conductor's side of its children, and of the connections between them.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::link::{Channel, Order, Report, Snapshot, Work};
use super::relay::Relay;
use crate::peers::{Layout, PeerName, Setup};

/// How long a connection, or a snapshot, may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub type Result<T> = std::result::Result<T, String>;

struct Child {
    process: Process,
    orders: ChildStdin,
}

impl Child {
    fn start(index: usize, peer: PeerName, setup: Setup, reports: Sender<(usize, Report)>) -> Result<Self> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
            value().expect("none is hidden").get_name().to_owned()
        };
        let mut command = Command::new(program);
        command.args(["child", "--peer", &name(&|| peer.to_possible_value())]);
        command.args(["--layout", &name(&|| setup.layout.to_possible_value())]);
        if setup.is_delayed {
            command.arg("--delayed");
        }
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.map_err(|error| format!("can't start a child: {error}"))?;
        let orders = process.stdin.take().expect("piped");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        thread::spawn(move || {
            for line in lines.map_while(std::result::Result::ok) {
                // Some libraries print.
                let Ok(report) = serde_json::from_str(&line) else { continue };
                if reports.send((index, report)).is_err() {
                    return;
                }
            }
            let _ = reports.send((index, Report::Failed("the child has ended".to_owned())));
        });
        Ok(Self { process, orders })
    }

    fn order(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_vec(order).expect("plain data");
        line.push(b'\n');
        self.orders.write_all(&line).map_err(|error| format!("a child does not listen: {error}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One process or two with the same stack, and what has been heard of their connections.
pub struct Pair {
    children: Vec<Child>,
    reports: Receiver<(usize, Report)>,
    relay: Option<Relay>,
    answerers_work: HashMap<u32, Work>,
    pub opened: BTreeSet<u32>,
    /// By connection, nanoseconds since the offer was complete, and since it was ordered.
    pub first: HashMap<u32, (u64, u64)>,
    pub lost: Vec<(u32, String)>,
    snapshots: HashMap<usize, Snapshot>,
}

impl Pair {
    pub fn start(peer: PeerName, layout: Layout, relay: Option<Relay>) -> Result<Self> {
        let (sender, reports) = channel();
        let setup = Setup { layout, is_delayed: relay.is_some() };
        let processes = if layout == Layout::Apart { 2 } else { 1 };
        let children = (0..processes)
            .map(|index| Child::start(index, peer, setup, sender.clone()))
            .collect::<Result<_>>()?;
        Ok(Self {
            children,
            reports,
            relay,
            answerers_work: HashMap::new(),
            opened: BTreeSet::new(),
            first: HashMap::new(),
            lost: Vec::new(),
            snapshots: HashMap::new(),
        })
    }

    fn answerer(&self) -> usize {
        self.children.len() - 1
    }

    /// Begins a connection.
    pub fn offer(&mut self, number: u32, channel: Channel, offerer: Work, answerer: Work) -> Result<()> {
        self.answerers_work.insert(number, answerer);
        self.children[0].order(&Order::Offer { number, channel, work: offerer })
    }

    /// Takes what the children say until `is_done`.
    pub fn until(&mut self, mut is_done: impl FnMut(&Self) -> bool) -> Result<()> {
        let mut deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            match self.reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((child, report)) => {
                    // As long as something happens it goes on.
                    deadline = Instant::now() + PATIENCE;
                    self.take(child, report)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let up = self.opened.len();
                    let lost =
                        self.lost.first().map_or(String::new(), |(_, why)| format!(", lost one: {why}"));
                    return Err(format!("nothing happens any more; {up} channels have opened{lost}"));
                }
                Err(RecvTimeoutError::Disconnected) => return Err("the children have ended".to_owned()),
            }
        }
        Ok(())
    }

    fn take(&mut self, child: usize, report: Report) -> Result<()> {
        match report {
            Report::Sdp { number, is_offer, sdp } => {
                let sdp = match &mut self.relay {
                    Some(relay) => relay.rewrite(&sdp, is_offer)?,
                    None => sdp,
                };
                if is_offer {
                    let work =
                        self.answerers_work.remove(&number).ok_or("an offer that nobody has ordered")?;
                    let answerer = self.answerer();
                    return self.children[answerer].order(&Order::Accept { number, sdp, work });
                }
                return self.children[0].order(&Order::Answer { number, sdp });
            }
            Report::Opened { number } => drop(self.opened.insert(number)),
            Report::First { number, since_offer, since_order } => {
                self.first.insert(number, (since_offer, since_order));
            }
            Report::Lost { number, why } => self.lost.push((number, why)),
            Report::Snapshot(snapshot) => drop(self.snapshots.insert(child, snapshot)),
            Report::Failed(why) => return Err(why),
        }
        Ok(())
    }

    /// Counters of all children: of the offerer and, last, the answerer.
    pub fn snapshots(&mut self) -> Result<Vec<Snapshot>> {
        self.snapshots.clear();
        for child in &mut self.children {
            child.order(&Order::Snapshot)?;
        }
        let count = self.children.len();
        self.until(|pair| pair.snapshots.len() == count)?;
        Ok((0..count).filter_map(|child| self.snapshots.remove(&child)).collect())
    }

    pub fn stop(&mut self) -> Result<()> {
        self.children.iter_mut().try_for_each(|child| child.order(&Order::Stop))
    }

    pub fn close(&mut self, number: u32) -> Result<()> {
        self.children.iter_mut().try_for_each(|child| child.order(&Order::Close { number }))
    }
}
