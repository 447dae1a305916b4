//! `sinnet cast`: a group, and a file or standard input for all who are in it.

use std::path::Path;
use std::time::{Duration, Instant};

use sinnet_alm::group::{GroupKind, WebRtcAlm};
use tokio::time::{sleep, timeout};

use super::create::TreeWatcher;
use super::give::{Feed, give};
use super::{Interrupt, member};
use crate::args::CastArgs;
use crate::failure::{Context, Failure};
use crate::terminal::{Screen, now};
use crate::transfer::Source;

/// How long the last nodes may take to say that they have everything.
const LINGER: Duration = Duration::from_secs(30);

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
    group.create(name, &args.description).await.context("no group")?;
    screen.say(format!("the group {name:?} waits for {}: sinnet join {name}", members(args.wait)));
    let mut watcher = TreeWatcher::new(args.member.tree);
    tokio::select! {
        result = cast(&group, &mut feed, args.wait, &mut watcher, screen) => result?,
        () = interrupt.came() => screen.say("stopped"),
    }
    group.leave().await;
    Ok(())
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
    while nodes(group).await < wait as usize {
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
    group.flush().await.context("not cast")?;
    // Some leave as soon as they have it.
    let count = nodes(group).await;
    let sent = now();
    let summary = bar.summary();
    drop(bar);
    let all = timeout(LINGER, all_have_it(group, sent)).await.is_ok();
    screen.say(format!("{}: {summary}, to {}\nSHA-256 {}", given.name, members(count as u32), given.sha256));
    if !all {
        screen.say("some have not said yet that they have all of it");
    }
    Ok(())
}

/// Members, besides the owner, that have said where they are.
async fn nodes(group: &WebRtcAlm) -> usize {
    group.tree().await.keys().filter(|id| id.0 != 0).count()
}

/// Waits until every node has said since then that it lacks nothing that its parent has.
async fn all_have_it(group: &WebRtcAlm, sent: Instant) {
    loop {
        let tree = group.tree().await;
        let mut members = tree.iter().filter(|(id, _)| id.0 != 0);
        if members.all(|(_, entry)| entry.at > sent && entry.report.lag == 0) {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}
