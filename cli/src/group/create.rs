//! `sinnet create`: a group whose owner says what comes on standard input.

use sinnet_alm::group::{GroupEvent, GroupKind, WebRtcAlm};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use super::draw;
use super::{Interrupt, member, plain};
use crate::args::CreateArgs;
use crate::failure::{Context, Failure};
use crate::terminal::Screen;

/// Lines read ahead.
const LINES: usize = 16;

pub(crate) async fn run(args: CreateArgs, screen: &Screen) -> Result<(), Failure> {
    let kind = if args.live { GroupKind::Live } else { GroupKind::Reliable };
    let group = member(&args.member, kind)?;
    let mut interrupt = Interrupt::new()?;
    let name = &args.member.name;
    let Some(created) = interrupt.or(group.create(name, &args.description)).await else { return Ok(()) };
    created.context("no group")?;
    screen.say(format!(
        "the group {name:?} is made; each line that is typed goes to all in it, and Ctrl-C ends it"
    ));
    let (to_us, mut lines) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let mut input = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = input.next_line().await {
            if to_us.send(line).await.is_err() {
                break;
            }
        }
    });
    let mut watcher = TreeWatcher::new(args.member.tree);
    loop {
        tokio::select! {
            Some(line) = lines.recv() => {
                if let Err(error) = group.multicast(line).await {
                    screen.say(error.to_string());
                }
            }
            event = group.next_event() => match event {
                None => break,
                Some(event) => watcher.see(&group, &event, screen).await,
            },
            () = interrupt.came() => break,
        }
    }
    group.leave().await;
    Ok(())
}

/// Tells the owner's user who comes and goes.
pub(super) struct TreeWatcher {
    draws: bool,
    drawn: Vec<String>,
}

impl TreeWatcher {
    pub(super) fn new(draws: bool) -> Self {
        Self { draws, drawn: Vec::new() }
    }

    pub(super) async fn see(&mut self, group: &WebRtcAlm, event: &GroupEvent, screen: &Screen) {
        match event {
            GroupEvent::TreeUpdate if self.draws => {
                let tree = group.tree().await;
                let lines = draw::lines(&draw::parents(&tree), |id| match id.0 {
                    0 => "0 (here)".to_owned(),
                    id => id.to_string(),
                });
                // What is measured changes all the time; who hangs where is what counts here.
                if lines != self.drawn {
                    screen.say(format!("{} nodes\n{}", lines.len(), lines.join("\n")));
                    self.drawn = lines;
                }
            }
            GroupEvent::ServerLost { reason } => {
                let reason = plain(reason);
                screen.say(format!("the server is gone ({reason}); the group goes on, but nobody can join"));
            }
            GroupEvent::ServerRegained => screen.say("the server is back"),
            _ => {}
        }
    }
}
