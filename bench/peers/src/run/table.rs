//! Results as Markdown: a table for each kind of work with everybody's ratio to ours, and the goals with what was measured.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use sinnet_bench::svg::number;

use super::results::{Results, write};
use super::works::Metrics;
use crate::peers::PeerName;

const OURS: PeerName = PeerName::Sinnet;
/// What is nobody else's stack.
const NO_PEERS: [PeerName; 4] = [OURS, PeerName::SinnetBbr, PeerName::Udp, PeerName::UdpGsoAes];

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// A column: heading, work, metric.
type Column = (&'static str, &'static str, &'static str);

/// The tables: heading, what it says, columns.
const TABLES: [(&str, &str, &[Column]); 8] = [
    (
        "Bulk, one ordered reliable channel",
        "Mbit/s received, by size of message. The floor programs send datagrams of 1200 bytes.",
        &[
            ("1 KiB", "bulk-1k", "mbit_s"),
            ("16 KiB", "bulk-16k", "mbit_s"),
            ("64 KiB", "bulk-64k", "mbit_s"),
            ("256 KiB", "bulk-256k", "mbit_s"),
        ],
    ),
    (
        "Bulk, processor time",
        "CPU seconds per GB received, both processes.",
        &[
            ("1 KiB", "bulk-1k", "cpu_s_per_gb"),
            ("16 KiB", "bulk-16k", "cpu_s_per_gb"),
            ("64 KiB", "bulk-64k", "cpu_s_per_gb"),
            ("256 KiB", "bulk-256k", "cpu_s_per_gb"),
        ],
    ),
    (
        "Ping-pong of 64 bytes",
        "",
        &[
            ("p50 µs", "ping", "p50_us"),
            ("p99 µs", "ping", "p99_us"),
            ("CPU µs per round trip, both", "ping", "cpu_us_per_round_trip"),
        ],
    ),
    (
        "Messages of 100 bytes, unordered, maxRetransmits = 0",
        "",
        &[
            ("messages/s", "small", "messages_s"),
            ("loss %", "small", "loss_percent"),
            ("CPU µs per message, both", "small", "cpu_us_per_message"),
        ],
    ),
    (
        "Set-up: offer complete to first message at the offerer",
        "50 connections one after the other, without the certificate.",
        &[
            ("median ms", "setup", "median_ms"),
            ("p95 ms", "setup", "p95_ms"),
            ("median ms with making the offer", "setup", "median_with_offer_ms"),
            ("CPU ms per connection, both", "setup", "cpu_ms_per_connection"),
        ],
    ),
    (
        "200 idle pairs in one process",
        "",
        &[
            ("RSS KiB per connection", "memory", "rss_kib_per_connection"),
            ("CPU %", "memory", "idle_cpu_percent"),
        ],
    ),
    (
        "100 busy pairs in one process, 16 KiB",
        "",
        &[
            ("Mbit/s", "pairs", "mbit_s"),
            ("CPU s per GB", "pairs", "cpu_s_per_gb"),
            ("Jain's index", "pairs", "jain"),
            ("slowest Mbit/s", "pairs", "slowest_mbit_s"),
            ("fastest Mbit/s", "pairs", "fastest_mbit_s"),
        ],
    ),
    (
        "Bulk of 64 KiB over a path",
        "Mbit/s received, by round-trip time and loss both ways.",
        &[
            ("20 ms, 0 %", "path-20ms-0", "mbit_s"),
            ("20 ms, 1 %", "path-20ms-1", "mbit_s"),
            ("100 ms, 0 %", "path-100ms-0", "mbit_s"),
            ("100 ms, 1 %", "path-100ms-1", "mbit_s"),
        ],
    ),
];

/// One line for the eyes while it runs.
pub fn brief(metrics: &Metrics) -> String {
    let pairs: Vec<String> =
        metrics.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
    pairs.join(", ")
}

/// Everything.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "Measured on {}; medians of {} rounds with windows of {} s. In brackets the ratio to ours.\n",
        results.machine, results.rounds, results.seconds
    );
    goals(results, &mut out);
    for (heading, text, columns) in TABLES {
        table(results, heading, text, columns, &mut out);
    }
    crowd(results, &mut out);
    for failure in &results.failures {
        let (round, task, peer) = (failure.round + 1, &failure.task, failure.peer.name());
        let _ = writeln!(out, "- Failed in round {round}: {task} with {peer}: {}", failure.why);
    }
    disturbed(results, &mut out);
    out
}

fn table(results: &Results, heading: &str, text: &str, columns: &[Column], out: &mut String) {
    let cell = |peer: PeerName, (_, task, metric): Column| {
        let value = results.median(task, peer, metric)?;
        let ratio = results.median(task, OURS, metric).filter(|ours| peer != OURS && *ours > 0.0);
        Some(match ratio {
            Some(ours) => format!("{} ({})", number(value), number(value / ours)),
            None => number(value),
        })
    };
    let rows: Vec<(PeerName, Vec<Option<String>>)> = PeerName::value_variants()
        .iter()
        .map(|&peer| (peer, columns.iter().map(|&column| cell(peer, column)).collect::<Vec<_>>()))
        .filter(|(_, cells)| cells.iter().any(Option::is_some))
        .collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "### {heading}\n");
    if !text.is_empty() {
        let _ = writeln!(out, "{text}\n");
    }
    let headings: Vec<&str> = columns.iter().map(|column| column.0).collect();
    let _ = writeln!(out, "| | {} |\n|---{}|", headings.join(" | "), "|---".repeat(columns.len()));
    for (peer, cells) in rows {
        let cells: Vec<String> = cells.into_iter().map(|cell| cell.unwrap_or("–".to_owned())).collect();
        let _ = writeln!(out, "| {} | {} |", peer.name(), cells.join(" | "));
    }
    out.push('\n');
}

fn crowd(results: &Results, out: &mut String) {
    let value = |metric: &str| results.median("crowd", OURS, metric);
    let (Some(connections), Some(held), Some(set_up)) =
        (value("connections"), value("held_s"), value("set_up_s"))
    else {
        return;
    };
    let of = |metric: &str| number(value(metric).unwrap_or(f64::NAN));
    let _ = writeln!(out, "### {} idle connections to one endpoint\n", number(connections));
    let _ = writeln!(
        out,
        "Set up in {} s, held for {} s; {} lost. The server's process, one endpoint with one port: {} % of a core, {} KiB of \
         RSS per connection. The clients' process, an endpoint for each: {} %.\n",
        number(set_up),
        number(held),
        of("lost"),
        of("server_cpu_percent"),
        of("server_rss_kib_per_connection"),
        of("clients_cpu_percent"),
    );
}

/// The best of the others, and its value.
fn best(results: &Results, task: &str, metric: &str, more_is_better: bool) -> Option<(PeerName, f64)> {
    let others = PeerName::value_variants().iter().filter(|peer| !NO_PEERS.contains(peer));
    let values = others.filter_map(|&peer| Some((peer, results.median(task, peer, metric)?)));
    match more_is_better {
        true => values.max_by(|a, b| a.1.total_cmp(&b.1)),
        false => values.min_by(|a, b| a.1.total_cmp(&b.1)),
    }
}

fn goals(results: &Results, out: &mut String) {
    let mut rows: Vec<(String, String, String, bool)> = Vec::new();
    let mut goal = |work: &str, goal: String, measured: Option<(String, bool)>| {
        if let Some((measured, is_met)) = measured {
            rows.push((work.to_owned(), goal, measured, is_met));
        }
    };
    let ours = |task: &str, metric: &str| results.median(task, OURS, metric);
    // More is better: so many times the best peer, or the floor.
    let times = |task: &str, metric: &str, at_least: f64| {
        let (ours, (peer, theirs)) = (ours(task, metric)?, best(results, task, metric, true)?);
        let ratio = ours / theirs;
        Some((format!("{} × {} ({})", number(ratio), peer.name(), number(theirs)), ratio >= at_least))
    };
    // Less is better: at most such a part of the best peer.
    let part = |task: &str, metric: &str, at_most: f64| {
        let (ours, (peer, theirs)) = (ours(task, metric)?, best(results, task, metric, false)?);
        let ratio = ours / theirs;
        Some((format!("{} of {} ({})", number(ratio), peer.name(), number(theirs)), ratio <= at_most))
    };
    let limit = |task: &str, metric: &str, at_most: f64| {
        let ours = ours(task, metric)?;
        Some((number(ours), ours <= at_most))
    };
    let floor = results.median("bulk-64k", PeerName::UdpGsoAes, "mbit_s");
    let share = ours("bulk-64k", "mbit_s").zip(floor).map(|(ours, floor)| {
        let percent = ours / floor * 100.0;
        (format!("{} % ({} of {} Mbit/s)", number(percent), number(ours), number(floor)), percent >= 60.0)
    });
    goal("bulk, 64 KiB", "≥ 60 % of udp-gso-aes".into(), share);
    goal("", "≥ 10 × the fastest peer".into(), times("bulk-64k", "mbit_s", 10.0));
    goal("its CPU per GB", "≤ 1/5 of the best peer".into(), part("bulk-64k", "cpu_s_per_gb", 0.2));
    goal("bulk, 1 KiB", "≥ 5 × the fastest peer".into(), times("bulk-1k", "mbit_s", 5.0));
    let echo = results.median("ping", PeerName::Udp, "p50_us");
    let ratio = ours("ping", "p50_us").zip(echo).map(|(ours, echo)| {
        let ratio = ours / echo;
        (format!("{} ({} and {} µs)", number(ratio), number(ours), number(echo)), ratio <= 1.25)
    });
    goal("ping-pong, p50", "≤ 1.25 × a raw UDP echo".into(), ratio);
    goal("", "below every peer".into(), part("ping", "p50_us", 1.0));
    goal("100-byte messages", "≥ 3 × the fastest peer".into(), times("small", "messages_s", 3.0));
    goal("", "loss ≤ 0.1 %".into(), limit("small", "loss_percent", 0.1));
    goal("set-up, median", "≤ 1/2 of the fastest peer".into(), part("setup", "median_ms", 0.5));
    goal("set-up, CPU", "≤ 1/2 of the best peer".into(), part("setup", "cpu_ms_per_connection", 0.5));
    goal("idle connection", "≤ 24 KiB of RSS".into(), limit("memory", "rss_kib_per_connection", 24.0));
    let crowd = ours("crowd", "connections").zip(ours("crowd", "held_s")).and_then(|(connections, held)| {
        let (lost, cpu) = (ours("crowd", "lost")?, ours("crowd", "server_cpu_percent")?);
        let text = format!(
            "{} for {} s: {} lost, {} % of a core (clients {} %)",
            number(connections),
            number(held),
            number(lost),
            number(cpu),
            number(ours("crowd", "clients_cpu_percent")?)
        );
        Some((text, lost == 0.0 && cpu < 25.0 && connections >= 10_000.0 && held >= 60.0))
    });
    goal("idle crowd", "10,000 for 60 s, none lost, < 25 % of a core".into(), crowd);
    let pairs = ours("pairs", "mbit_s").zip(ours("bulk-16k", "mbit_s")).map(|(pairs, single)| {
        let percent = pairs / single * 100.0;
        (format!("{} % ({} of {} Mbit/s)", number(percent), number(pairs), number(single)), percent >= 80.0)
    });
    goal("100 busy pairs", "≥ 80 % of one pair's total at 16 KiB".into(), pairs);
    let jain = ours("pairs", "jain").map(|jain| (format!("{jain:.3}"), jain >= 0.95));
    goal("", "Jain's index ≥ 0.95".into(), jain);
    for path in ["path-100ms-0", "path-100ms-1"] {
        let (rtt, loss) = (&path[5..10], &path[11..]);
        goal(&format!("{rtt}, {loss} % loss"), "ahead of every peer".into(), times(path, "mbit_s", 1.0));
    }
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "### Goals\n\n| work | goal | measured | verdict |\n|---|---|---|---|");
    for (work, goal, measured, is_met) in rows {
        let _ =
            writeln!(out, "| {work} | {goal} | {measured} | {} |", if is_met { "met" } else { "**missed**" });
    }
    out.push('\n');
}

/// What says that the machine was not ours alone.
fn disturbed(results: &Results, out: &mut String) {
    // A relay works for the measurement, so paths don't tell.
    let samples = || results.samples.iter().filter(|sample| !sample.task.starts_with("path"));
    let others = |limit: f64| {
        samples()
            .filter(|sample| sample.metrics.get("other_cpu_percent").is_some_and(|other| *other > limit))
            .count()
    };
    let (disturbed, all) = (others(15.0), samples().count());
    if disturbed > 0 {
        let _ = writeln!(
            out,
            "**Provisional**: during {disturbed} of {all} measurements other processes had more than 15 % of a core.\n"
        );
    }
}

/// The project's `docs`.
pub fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Puts the tables between the markers of docs/perf.md.
pub fn write_into_docs(markdown: &str) -> Result<(), String> {
    let path = docs().join("perf.md");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.ok_or_else(|| format!("{} has no markers", path.display()))?;
    write(&path, &format!("{head}{BEGIN}\n\n{}\n{END}{tail}", markdown.trim_end()))
}
