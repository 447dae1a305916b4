//! `sinnet join`: a member that shows what is said and takes what is cast.

use std::collections::HashMap;
use std::path::PathBuf;

use sinnet_alm::group::{Ended, GroupEvent, GroupKind, Message, NodeId, WebRtcAlm};
use tokio::time::timeout;

use super::take::{Happening, Out, Taken, Taker};
use super::{Interrupt, LINGER, member, plain};
use crate::args::JoinArgs;
use crate::failure::{Context, Failure};
use crate::terminal::{Bar, Screen};
use crate::transfer::Watch;

pub(crate) async fn run(args: JoinArgs, screen: &Screen) -> Result<(), Failure> {
    // One file, and then the end, unless all are to be kept.
    let (out, once) = match &args.out {
        None => (Out::Nowhere, args.once),
        Some(path) if path.as_os_str() == "-" => (Out::Stdout, true),
        Some(path) if path.is_dir() => (Out::Directory(path.clone()), args.once),
        // What is there is replaced, not written into: a device would be lost.
        Some(path) if path.exists() && !path.is_file() => {
            let what = path.display();
            return Err(Failure::new(format!(
                "{what} is neither a file nor a directory; --out - is standard output"
            )));
        }
        Some(path) => (Out::File(path.clone()), true),
    };
    let group = member(&args.member, GroupKind::Reliable)?;
    let mut interrupt = Interrupt::new()?;
    let name = &args.member.name;
    let Some(joined) = interrupt.or(group.join(name)).await else { return Ok(()) };
    joined.context("not joined")?;
    let (id, about) = (group.id().unwrap_or_default(), group.group_description().unwrap_or_default());
    let about = plain(&about);
    screen.say(format!(
        "joined {name:?} as node {}{}{about}",
        id.0,
        if about.is_empty() { "" } else { ": " }
    ));
    let mut visit = Visit {
        taker: Taker::new(out, args.max_size),
        chat_to_stdout: args.out.as_deref() != Some(&PathBuf::from("-")),
        bars: HashMap::new(),
        screen,
    };
    let stay = async {
        let result = visit.stay(&group, once, args.member.tree).await;
        // Others may get it from here.
        let _ = timeout(LINGER, group.flush()).await;
        result
    };
    let result = interrupt.or(stay).await.unwrap_or(Ok(()));
    group.leave().await;
    result
}

struct Visit<'a> {
    taker: Taker,
    chat_to_stdout: bool,
    bars: HashMap<u32, Bar>,
    screen: &'a Screen,
}

impl Visit<'_> {
    async fn stay(&mut self, group: &WebRtcAlm, once: bool, tree: bool) -> Result<(), Failure> {
        while let Some(event) = group.next_event().await {
            match event {
                GroupEvent::Message { message, .. } => match self.take(message).await {
                    Some(Ok(_)) if once => return Ok(()),
                    Some(Err(failure)) if once => return Err(failure),
                    Some(Err(failure)) => self.screen.say(failure.to_string()),
                    Some(Ok(_)) | None => {}
                },
                GroupEvent::Missed { from, to } => {
                    let count = to.0.saturating_sub(from.0);
                    self.screen.say(format!(
                        "{count} messages are lost: this node was too slow, or alone for too long"
                    ));
                }
                GroupEvent::ParentChange(parent) if tree => self.show_way(group, parent).await,
                GroupEvent::Closed(Ended::GroupGone(reason)) => {
                    let left = self.taker.give_up("the group has gone");
                    let failed = left
                        .into_iter()
                        .filter_map(|happening| self.happened(happening))
                        .find_map(Result::err);
                    self.screen.say(format!("the group is gone: {}", plain(&reason)));
                    return match failed {
                        Some(failure) => Err(failure),
                        None if once => Err(Failure::new("no file came")),
                        None => Ok(()),
                    };
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Who delivers, and the nodes from the owner to this one, if it is known yet.
    async fn show_way(&self, group: &WebRtcAlm, parent: Option<NodeId>) {
        let Some(parent) = parent else { return self.screen.say("nobody delivers") };
        let path = group.status().await.map(|status| status.path).unwrap_or_default();
        let path: Vec<String> = path.iter().map(|id| id.0.to_string()).collect();
        let way =
            if path.is_empty() { String::new() } else { format!("; from the owner: {}", path.join(" → ")) };
        self.screen.say(format!("node {} delivers{way}", parent.0));
    }

    /// A file's end, if this message is one.
    async fn take(&mut self, message: Message) -> Option<Result<Taken, Failure>> {
        let before = self.taker.ignored();
        let happening = self.taker.take(message).await;
        if before == 0 && self.taker.ignored() > 0 {
            self.screen.say("a file is under way already; what is left of it is of no use here");
        }
        self.happened(happening)
    }

    fn happened(&mut self, happening: Happening) -> Option<Result<Taken, Failure>> {
        match happening {
            Happening::Chat(text) => {
                let clean: String =
                    text.chars().filter(|c| !c.is_control() || *c == '\n' || *c == '\t').collect();
                if self.chat_to_stdout {
                    self.screen.print(&clean);
                } else {
                    self.screen.say(clean);
                }
                None
            }
            Happening::Begun { id, name, size } => {
                let mut bar = self.screen.bar("receiving");
                bar.begin(&name, size.unwrap_or(0));
                self.bars.insert(id, bar);
                None
            }
            Happening::At { id, bytes } => {
                if let Some(bar) = self.bars.get_mut(&id) {
                    bar.at(bytes);
                }
                None
            }
            Happening::Done { id, taken } => {
                let summary = self.bars.remove(&id).map(|bar| bar.summary()).unwrap_or_default();
                let to =
                    taken.path.as_ref().map(|path| format!(" to {}", path.display())).unwrap_or_default();
                self.screen.say(format!("{}{to}: {summary}\nSHA-256 {}", taken.name, taken.sha256));
                Some(Ok(taken))
            }
            Happening::Failed { id, name, error } => {
                self.bars.remove(&id);
                Some(Err(Failure::new(format!("{name}: {error}"))))
            }
            Happening::Ignored => None,
        }
    }
}
