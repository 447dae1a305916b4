//! Who reaches whom, and how: `table.txt`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sinnet_interop::coturn::Coturn;
use sinnet_interop::nat_lab::{Nat, NatLab, SERVER};

use crate::end::{Way, begin, now, transfer, within};
use crate::run;

/// Messages each way over every path that was found: 1 MB.
const MESSAGES: usize = 62;

/// Two sites of each kind: the offerers are at the first six.
fn two_of_each() -> NatLab {
    let sites: Vec<(Nat, usize)> = Nat::ALL.iter().chain(&Nat::ALL).map(|nat| (*nat, 1)).collect();
    NatLab::new(&sites).expect("a lab")
}

/// What became of a pair of ends.
struct Cell {
    outcome: &'static str,
    took: Option<Duration>,
    story: String,
}

/// Connects and passes data both ways.
async fn cell(lab: &NatLab, [a, b]: [usize; 2], way: &Way) -> Cell {
    let began = now();
    let hosts = [lab.sites[a].host(), lab.sites[b].host()];
    let mut ends = begin(hosts, [way.clone(), way.clone()]).await;
    let [a, b] = &mut ends;
    let (outcome, took) = match tokio::join!(a.connected(), b.connected()) {
        (Some(one), Some(other)) => {
            within("a path", async { tokio::join!(a.selected(), b.selected()) }).await;
            transfer(a, b, MESSAGES).await;
            transfer(b, a, MESSAGES).await;
            (if a.is_relayed() { "relay" } else { "direct" }, Some(one.max(other) - began))
        }
        (None, None) => ("-", None),
        _ => ("one side", None),
    };
    Cell { outcome, took, story: format!("offerer {}\nanswerer {}", a.describe(), b.describe()) }
}

/// The outcomes of all against all, a line for each kind of the offerer; with the times to connect, and what to say of the
/// cells that are not as expected.
async fn all_against_all(lab: &Arc<NatLab>, title: &str, way: Way) -> (String, Vec<Cell>) {
    let count = Nat::ALL.len();
    let pairs: Vec<[usize; 2]> = (0..count * count).map(|i| [i / count, count + i % count]).collect();
    let tasks = pairs.iter().map(|pair| {
        let (lab, way, pair) = (lab.clone(), way.clone(), *pair);
        tokio::spawn(async move { cell(&lab, pair, &way).await })
    });
    let cells: Vec<Cell> = join_all(tasks).await.into_iter().map(|done| done.expect("a cell")).collect();
    let mut text = format!("{title}\n{:<11}", "");
    for nat in Nat::ALL {
        let _ = write!(text, " {:<10}", name(nat));
    }
    for (i, cell) in cells.iter().enumerate() {
        if i % count == 0 {
            let _ = write!(text, "\n{:<11}", name(Nat::ALL[i / count]));
        }
        let _ = write!(text, " {:<10}", cell.outcome);
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    (lines.join("\n") + "\n", cells)
}

fn name(nat: Nat) -> &'static str {
    match nat {
        Nat::Public => "public",
        Nat::Open => "open",
        Nat::Preserving => "preserving",
        Nat::Random => "random",
        Nat::Double => "double",
        Nat::NoUdp => "no udp",
    }
}

/// The times to connect, for the eye.
fn print_times(title: &str, cells: &[Cell]) {
    println!("{title}: ms to connect, by the offerer's kind of translator");
    for (nat, row) in Nat::ALL.iter().zip(cells.chunks(Nat::ALL.len())) {
        let times =
            row.iter().map(|cell| cell.took.map_or("-".to_owned(), |took| took.as_millis().to_string()));
        println!("{:<11} {}", name(*nat), times.map(|time| format!("{time:>6}")).collect::<String>());
    }
}

#[test]
fn who_reaches_whom_is_as_in_the_table() {
    run(async {
        let lab = Arc::new(two_of_each());
        let _coturn = Coturn::start_in(&lab.public.place, SERVER.into(), &[]).await;
        let mut way = Way::asking(&["stun:198.51.100.1"]);
        // Long enough for whoever gets through, on a machine under load.
        way.peer.ice_patience = Some(Duration::from_secs(15));
        let mut sections = Vec::new();
        let (text, cells) = all_against_all(&lab, "with a STUN server", way).await;
        print_times("with a STUN server", &cells);
        sections.push((text, cells));
        compare(&sections);
    });
}

/// Holds what was found against the table.
fn compare(sections: &[(String, Vec<Cell>)]) {
    let table = sections.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("\n");
    if std::env::var("SINNET_NAT_TABLE").as_deref() == Ok("write") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nat/table.txt"), &table).expect("a file");
        return;
    }
    let expected = include_str!("table.txt");
    if table == expected {
        return;
    }
    let rows = expected.lines().collect::<Vec<_>>();
    for (text, cells) in sections {
        for (row, line) in text.lines().skip(2).enumerate().filter(|(_, line)| !rows.contains(line)) {
            println!("{}", text.lines().next().unwrap_or_default());
            for (nat, cell) in Nat::ALL.iter().zip(cells.chunks(Nat::ALL.len()).nth(row).unwrap_or_default())
            {
                println!("{line}, to {}: {}", name(*nat), cell.story);
            }
        }
    }
    assert_eq!(expected, table, "SINNET_NAT_TABLE=write writes it anew");
}
