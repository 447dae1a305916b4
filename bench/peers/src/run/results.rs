//! What came out of all rounds, and the files it goes to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::works::Metrics;
use crate::peers::PeerName;

/// All rounds of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub rounds: u32,
    pub seconds: f64,
    /// The processor, and the kernel.
    pub machine: String,
    /// The machine's seconds since 1970.
    pub at_unix: u64,
    pub samples: Vec<Sample>,
    pub failures: Vec<Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Sample {
    pub task: String,
    pub peer: PeerName,
    pub round: u32,
    pub metrics: Metrics,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub task: String,
    pub peer: PeerName,
    pub round: u32,
    pub why: String,
}

impl Results {
    pub fn new(rounds: u32, seconds: f64) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let models: Vec<&str> = cpus
            .lines()
            .filter_map(|line| line.strip_prefix("model name"))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']))
            .collect();
        let model = models.first().copied().unwrap_or("processors of unknown kind");
        let machine =
            format!("{} × {model}, Linux {}", models.len(), read("/proc/sys/kernel/osrelease").trim());
        let at_unix =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { rounds, seconds, machine, at_unix, samples: Vec::new(), failures: Vec::new() }
    }

    pub fn add(&mut self, task: String, peer: PeerName, round: u32, metrics: Metrics) {
        self.samples.push(Sample { task, peer, round, metrics });
    }

    pub fn fail(&mut self, task: String, peer: PeerName, round: u32, why: String) {
        self.failures.push(Failure { task, peer, round, why });
    }

    /// A metric of all rounds, the least first.
    pub fn values(&self, task: &str, peer: PeerName, metric: &str) -> Vec<f64> {
        let samples = self.samples.iter().filter(|sample| sample.task == task && sample.peer == peer);
        let mut values: Vec<f64> = samples.filter_map(|sample| sample.metrics.get(metric).copied()).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The median of a metric.
    pub fn median(&self, task: &str, peer: PeerName, metric: &str) -> Option<f64> {
        let values = self.values(task, peer, metric);
        values.get(values.len() / 2).copied()
    }

    /// Writes `results.json` and `results.csv`.
    pub fn save(&self, out: &Path) -> Result<(), String> {
        write(&out.join("results.json"), &serde_json::to_string_pretty(self).expect("plain data"))?;
        let mut csv = "work,peer,metric,median,least,most,rounds\n".to_owned();
        let mut rows: BTreeMap<(&str, PeerName, &str), ()> = BTreeMap::new();
        for sample in &self.samples {
            rows.extend(sample.metrics.keys().map(|metric| ((&*sample.task, sample.peer, &**metric), ())));
        }
        for (task, peer, metric) in rows.into_keys() {
            let values = self.values(task, peer, metric);
            let (least, most) = (values[0], values[values.len() - 1]);
            let (median, rounds) = (values[values.len() / 2], values.len());
            csv.push_str(&format!("{task},{},{metric},{median},{least},{most},{rounds}\n", peer.name()));
        }
        write(&out.join("results.csv"), &csv)
    }

    /// Reads `results.json`.
    pub fn load(out: &Path) -> Result<Self, String> {
        let path = out.join("results.json");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Writes a file, and its folder.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}
