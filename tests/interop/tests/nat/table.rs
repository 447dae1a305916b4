//! Who reaches whom, and how: `table.txt`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sinnet_interop::nat_lab::{Nat, NatLab};

use crate::end::{Way, begin, now, transfer, within};
use crate::run;
use crate::servers::{By, Over, Servers};

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
async fn cell(lab: &NatLab, [a, b]: [usize; 2], ways: [Way; 2]) -> Cell {
    let began = now();
    let hosts = [lab.sites[a].host(), lab.sites[b].host()];
    let mut ends = begin(hosts, ways).await;
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

/// A part of the table.
struct Section {
    text: String,
    /// The kinds of its rows and columns.
    kinds: &'static [Nat],
    /// Row by row.
    cells: Vec<Cell>,
}

/// The outcomes of all against all, a line for each kind of the offerer.
async fn all_against_all(lab: &Arc<NatLab>, title: &str, kinds: &'static [Nat], ways: [Way; 2]) -> Section {
    let count = kinds.len();
    let at = |kind: Nat| Nat::ALL.iter().position(|nat| *nat == kind).expect("a kind");
    let pairs = kinds.iter().flat_map(|a| kinds.iter().map(move |b| [at(*a), Nat::ALL.len() + at(*b)]));
    let tasks = pairs.map(|pair| {
        let (lab, ways) = (lab.clone(), ways.clone());
        tokio::spawn(async move { cell(&lab, pair, ways).await })
    });
    let cells: Vec<Cell> = join_all(tasks).await.into_iter().map(|done| done.expect("a cell")).collect();
    let mut text = format!("{title}\n{:<11}", "");
    for nat in kinds {
        let _ = write!(text, " {:<10}", name(*nat));
    }
    for (i, cell) in cells.iter().enumerate() {
        if i % count == 0 {
            let _ = write!(text, "\n{:<11}", name(kinds[i / count]));
        }
        let _ = write!(text, " {:<10}", cell.outcome);
    }
    println!("{title}: ms to connect");
    for (nat, row) in kinds.iter().zip(cells.chunks(count)) {
        let times =
            row.iter().map(|cell| cell.took.map_or("-".to_owned(), |took| took.as_millis().to_string()));
        println!("{:<11} {}", name(*nat), times.map(|time| format!("{time:>6}")).collect::<String>());
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Section { text: lines.join("\n") + "\n", kinds, cells }
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

#[test]
fn who_reaches_whom_is_as_in_the_table() {
    run(async {
        let lab = Arc::new(two_of_each());
        let servers = Servers::start(&lab).await;
        let mut way = Way::asking(&["stun:198.51.100.1"]);
        // Long enough for whoever gets through, on a machine under load.
        way.peer.ice_patience = Some(Duration::from_secs(30));
        let mut wanted = vec![("with a STUN server".to_owned(), &Nat::ALL[..], [way.clone(), way.clone()])];
        for over in Over::ALL {
            let title = format!("with TURN over {over:?}, the offerer's server coturn, the answerer's ours");
            let ways = [By::Coturn, By::Ours].map(|by| way.clone().and_turn(&servers, by, &[over]));
            wanted.push((title, &Nat::ALL, ways));
        }
        for (over, by) in Over::ALL.into_iter().flat_map(|over| [(over, By::Coturn), (over, By::Ours)]) {
            let title = format!("relays only, over {over:?}, both by {by:?}");
            let way = way.clone().and_turn(&servers, by, &[over]).relayed();
            wanted.push((title, &SOME, [way.clone(), way]));
        }
        // At once: who can't connect takes half a minute to say so.
        let all = wanted.iter().map(|(title, kinds, ways)| all_against_all(&lab, title, kinds, ways.clone()));
        let sections = join_all(all).await;
        compare(&sections);
    });
}

/// Where all goes by relays, these tell as much as all.
const SOME: [Nat; 3] = [Nat::Public, Nat::Random, Nat::NoUdp];

/// Holds what was found against the table.
fn compare(sections: &[Section]) {
    let table = sections.iter().map(|section| section.text.as_str()).collect::<Vec<_>>().join("\n");
    if std::env::var("SINNET_NAT_TABLE").as_deref() == Ok("write") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nat/table.txt"), &table).expect("a file");
        return;
    }
    let expected = include_str!("table.txt");
    let mut parts = expected.split("\n\n");
    for Section { text, kinds, cells } in sections {
        let rows: Vec<&str> = parts.next().unwrap_or_default().lines().collect();
        for (i, line) in text.lines().enumerate().skip(2).filter(|(i, line)| rows.get(*i) != Some(line)) {
            println!("{}: {line}", text.lines().next().unwrap_or_default());
            for (nat, cell) in kinds.iter().zip(cells.chunks(kinds.len()).nth(i - 2).unwrap_or_default()) {
                println!("to {}: {}", name(*nat), cell.story);
            }
        }
    }
    assert_eq!(expected, table, "SINNET_NAT_TABLE=write writes it anew");
}
