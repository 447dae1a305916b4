//! `sinnet cast`: a group, and a file or standard input for all who are in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use sinnet_alm::group::{GroupKind, NodeId, WebRtcAlm};
use tokio::time::{sleep, timeout};

use super::create::TreeWatcher;
use super::give::{Feed, give};
use super::{Interrupt, LINGER, member};
use crate::args::CastArgs;
use crate::failure::{Context, Failure};
use crate::terminal::{Screen, now};
use crate::transfer::Source;

pub(crate) async fn run(args: CastArgs, screen: &Screen) -> Result<(), Failure> {
    let mut feed = if args.file.as_os_str() == "-" {
        Feed::Stream { name: args.member.name.clone(), from: Box::new(tokio::io::stdin()) }
    } else {
        Feed::Source(Source::file(Path::new(&args.file)).await.context("nothing to cast")?)
    };
    let kind = if args.live { GroupKind::Live } else { GroupKind::Reliable };
    let group = member(&args.member, kind)?;
    let mut interrupt = Interrupt::new()?;
    let name = &args.member.name;
    let Some(created) = interrupt.or(group.create(name, &args.description)).await else { return Ok(()) };
    created.context("no group")?;
    screen.say(format!("the group {name:?} waits for {}: sinnet join {name}", members(args.wait)));
    let mut watcher = TreeWatcher::new(args.member.tree);
    let result = match interrupt.or(cast(&group, &mut feed, args.wait, &mut watcher, screen)).await {
        Some(result) => result,
        None => {
            screen.say("stopped");
            Ok(())
        }
    };
    group.leave().await;
    result
}

fn members(count: u32) -> String {
    if count == 1 { "a member".to_owned() } else { format!("{count} members") }
}

async fn cast(
    group: &WebRtcAlm,
    feed: &mut Feed,
    wait: u32,
    watcher: &mut TreeWatcher,
    screen: &Screen,
) -> Result<(), Failure> {
    while nodes(group).await.len() < wait as usize {
        // Only the tree's changes matter here, and these come at least every two seconds.
        if let Ok(Some(event)) = timeout(Duration::from_millis(500), group.next_event()).await {
            watcher.see(group, &event, screen).await;
        }
    }
    let mut bar = screen.bar("casting");
    let given = {
        let giving = give(group, 0, feed, &mut bar);
        tokio::pin!(giving);
        loop {
            tokio::select! {
                given = &mut giving => break given.context("not cast")?,
                Some(event) = group.next_event() => watcher.see(group, &event, screen).await,
            }
        }
    };
    let flushed = timeout(LINGER, group.flush()).await;
    flushed.map_or(Ok(()), |flushed| flushed.context("not cast"))?;
    let sent = now();
    let summary = bar.summary();
    drop(bar);
    let mut lacking = nodes(group).await;
    let count = lacking.len() as u32;
    // Those that leave as soon as they have it count as well: the tree no longer has them.
    let all = timeout(LINGER, all_have_it(group, sent, &mut lacking)).await.is_ok();
    screen.say(format!("{}: {summary}, to {}\nSHA-256 {}", given.name, members(count), given.sha256));
    if all {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} of {} have not said that they have all of it",
        lacking.len(),
        members(count)
    )))
}

/// Members, besides the owner, that have said where they are.
async fn nodes(group: &WebRtcAlm) -> BTreeSet<NodeId> {
    group.tree().await.into_keys().filter(|id| id.0 != 0).collect()
}

/// What a node lacks it knows from its parent's heartbeats, which may be as old as this when it reports.
const HEARSAY: Duration = Duration::from_secs(1);

/// Waits until each of these has said since then that it lacks nothing, or is no longer there.
async fn all_have_it(group: &WebRtcAlm, sent: Instant, lacking: &mut BTreeSet<NodeId>) {
    loop {
        let tree = group.tree().await;
        lacking
            .retain(|id| tree.get(id).is_some_and(|entry| entry.report.lag > 0 || entry.at < sent + HEARSAY));
        if lacking.is_empty() {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}
