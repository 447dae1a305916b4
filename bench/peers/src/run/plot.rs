//! Results as SVG.

use std::path::Path;

use clap::ValueEnum;
use sinnet_bench::svg::{Group, bars};

use super::results::{Results, write};
use crate::peers::PeerName;

/// A picture: file, title, unit, and the metric of each group of bars.
const PICTURES: [(&str, &str, &str, &[(&str, &str, &str)]); 6] = [
    (
        "bulk",
        "Bulk, one ordered reliable channel",
        "Mbit/s received, by size of message",
        &[
            ("1 KiB", "bulk-1k", "mbit_s"),
            ("16 KiB", "bulk-16k", "mbit_s"),
            ("64 KiB", "bulk-64k", "mbit_s"),
            ("256 KiB", "bulk-256k", "mbit_s"),
            ("100 pairs", "pairs", "mbit_s"),
        ],
    ),
    (
        "cpu",
        "Bulk: processor time of both processes",
        "CPU s per GB",
        &[("1 KiB", "bulk-1k", "cpu_s_per_gb"), ("64 KiB", "bulk-64k", "cpu_s_per_gb")],
    ),
    (
        "ping",
        "Ping-pong, 64 bytes",
        "µs",
        &[("median", "ping", "p50_us"), ("99th percentile", "ping", "p99_us")],
    ),
    (
        "small",
        "100-byte messages, unordered, sent once",
        "messages per second",
        &[("", "small", "messages_s")],
    ),
    (
        "connections",
        "What a connection takes",
        "ms, ms, KiB",
        &[
            ("set-up time", "setup", "median_ms"),
            ("set-up CPU", "setup", "cpu_ms_per_connection"),
            ("idle RSS", "memory", "rss_kib_per_connection"),
        ],
    ),
    (
        "paths",
        "Bulk of 64 KiB messages over a path",
        "Mbit/s received, by round-trip time and loss",
        &[
            ("20 ms, 0 %", "path-20ms-0", "mbit_s"),
            ("20 ms, 1 %", "path-20ms-1", "mbit_s"),
            ("100 ms, 0 %", "path-100ms-0", "mbit_s"),
            ("100 ms, 1 %", "path-100ms-1", "mbit_s"),
        ],
    ),
];

/// Writes the pictures for which there are figures.
pub fn all(results: &Results, folder: &Path) -> Result<(), String> {
    for (file, title, unit, metrics) in PICTURES {
        let of = |peer: PeerName, &(_, task, metric): &(&str, &str, &str)| results.median(task, peer, metric);
        let mut peers = PeerName::value_variants().to_vec();
        peers.retain(|&peer| metrics.iter().any(|column| of(peer, column).is_some()));
        let legend: Vec<String> = peers.iter().map(|peer| peer.name().to_owned()).collect();
        let group = |column: &(&str, &str, &str)| -> Group {
            (column.0.to_owned(), peers.iter().map(|&peer| of(peer, column)).collect())
        };
        let groups: Vec<Group> =
            metrics.iter().map(group).filter(|group| group.1.iter().any(Option::is_some)).collect();
        if !groups.is_empty() {
            write(&folder.join(format!("{file}.svg")), &bars(title, unit, &legend, &groups))?;
        }
    }
    Ok(())
}
