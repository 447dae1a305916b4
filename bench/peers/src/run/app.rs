//! What an application does with its channel: the same for every stack, which only carries the messages.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::link::{Report, Snapshot, Work, report};
use super::usage;

/// What all connections of a child have in common.
pub struct Meter {
    started: Instant,
    stop: AtomicBool,
    apps: Mutex<Vec<Arc<App>>>,
    round_trips: Mutex<Vec<u64>>,
}

impl Meter {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            stop: AtomicBool::new(false),
            apps: Mutex::default(),
            round_trips: Mutex::default(),
        })
    }

    /// Flood no more.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub fn snapshot(&self) -> Snapshot {
        let mut round_trips = std::mem::take(&mut *self.round_trips.lock().expect("no panics"));
        round_trips.sort_unstable();
        let at = |share: f64| match round_trips.len() {
            0 => 0,
            len => round_trips[((len - 1) as f64 * share) as usize],
        };
        let apps = self.apps.lock().expect("no panics");
        let sum = |counter: fn(&App) -> &AtomicU64| apps.iter().map(|app| counter(app).load(Relaxed)).sum();
        Snapshot {
            at_s: self.started.elapsed().as_secs_f64(),
            cpu_s: usage::cpu_s(),
            received: sum(|app| &app.received),
            messages: sum(|app| &app.messages),
            sent: sum(|app| &app.sent),
            rss_kib: usage::rss_kib(),
            round_trips: (round_trips.len() as u64, at(0.5), at(0.99)),
            by_connection: apps
                .iter()
                .filter(|app| app.work == Work::Count)
                .map(|app| app.received.load(Relaxed))
                .collect(),
        }
    }
}

/// One connection's application.
pub struct App {
    pub number: u32,
    work: Work,
    meter: Arc<Meter>,
    payload: Bytes,
    ordered_at: Instant,
    offered_at: OnceLock<Instant>,
    is_offerer: bool,
    sent_at: Mutex<Option<Instant>>,
    received: AtomicU64,
    messages: AtomicU64,
    sent: AtomicU64,
}

impl App {
    pub fn new(number: u32, work: Work, is_offerer: bool, meter: &Arc<Meter>) -> Arc<Self> {
        let size = match work {
            Work::Flood { size } | Work::Ping { size } => size,
            // Echoes are of the size of pings.
            Work::Echo | Work::Greet => 64,
            Work::Count | Work::Await => 0,
        };
        let app = Arc::new(Self {
            number,
            work,
            meter: meter.clone(),
            payload: Bytes::from(vec![0x5a; size]),
            ordered_at: Instant::now(),
            offered_at: OnceLock::new(),
            is_offerer,
            sent_at: Mutex::default(),
            received: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        meter.apps.lock().expect("no panics").push(app.clone());
        app
    }

    /// Our description is complete, candidate and all.
    pub fn described(&self, sdp: String) {
        let _ = self.offered_at.set(Instant::now());
        report(&Report::Sdp { number: self.number, is_offer: self.is_offerer, sdp });
    }

    /// The channel is open. What is to be sent now.
    #[must_use]
    pub fn opened(&self) -> Option<Bytes> {
        if self.is_offerer {
            report(&Report::Opened { number: self.number });
        }
        match self.work {
            Work::Ping { .. } => Some(self.ping()),
            Work::Greet => Some(self.payload.clone()),
            _ => None,
        }
    }

    /// A message of so many bytes has come. What is to be sent now.
    #[must_use]
    pub fn received(&self, len: usize) -> Option<Bytes> {
        self.received.fetch_add(len as u64, Relaxed);
        let before = self.messages.fetch_add(1, Relaxed);
        match self.work {
            Work::Ping { .. } => {
                let sent_at = self.sent_at.lock().expect("no panics").take();
                if let Some(sent_at) = sent_at {
                    let nanos = sent_at.elapsed().as_nanos() as u64;
                    self.meter.round_trips.lock().expect("no panics").push(nanos);
                }
                Some(self.ping())
            }
            Work::Echo => Some(self.payload.slice(..len.min(self.payload.len()))),
            Work::Await if before == 0 => {
                let since = |at: Instant| at.elapsed().as_nanos() as u64;
                let offered_at = self.offered_at.get().copied().unwrap_or(self.ordered_at);
                let (since_offer, since_order) = (since(offered_at), since(self.ordered_at));
                report(&Report::First { number: self.number, since_offer, since_order });
                None
            }
            _ => None,
        }
    }

    /// What to send as long as there is room; `None` from who doesn't flood, or not any more.
    pub fn flood(&self) -> Option<&Bytes> {
        match self.work {
            Work::Flood { .. } if !self.meter.stop.load(Relaxed) => Some(&self.payload),
            _ => None,
        }
    }

    /// The stack has accepted a message of the flood.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// The connection is gone, and nobody has asked for that.
    pub fn lost(&self, why: impl ToString) {
        report(&Report::Lost { number: self.number, why: why.to_string() });
    }

    fn ping(&self) -> Bytes {
        *self.sent_at.lock().expect("no panics") = Some(Instant::now());
        self.payload.clone()
    }
}
