//! What a channel's task does, by mode.

use std::path::PathBuf;
use std::time::Duration;

use sinnet::DataChannel;
use tokio::time::timeout;
use tracing::{debug, info};

use super::Outcome;
use crate::failure::{Context, Failure};
use crate::terminal::Screen;
use crate::transfer;

/// How long the other side may take to close a channel on which a file went, before this side does.
const CLOSING: Duration = Duration::from_secs(10);

/// Every message back, with the same type, until the channel closes.
pub(crate) async fn reflect(channel: &DataChannel) {
    while let Some(message) = channel.recv().await {
        if let Err(error) = channel.send(message).await {
            debug!(label = channel.label(), %error, "could not echo");
            return;
        }
    }
}

pub(super) async fn echo(channel: DataChannel) -> Outcome {
    reflect(&channel).await;
    Outcome::Nothing
}

/// Messages are taken and dropped, so that the peer is not held up.
pub(super) async fn count(channel: DataChannel) -> Outcome {
    let (mut messages, mut bytes) = (0_u64, 0_u64);
    while let Some(message) = channel.recv().await {
        debug!(label = channel.label(), bytes = message.len(), "message");
        messages += 1;
        bytes += message.len() as u64;
    }
    info!(label = channel.label(), messages, bytes, "channel closed");
    Outcome::Nothing
}

/// One after the other; the first that fails ends it.
pub(super) async fn send_files(files: Vec<(DataChannel, PathBuf)>, as_one: bool, screen: Screen) -> Outcome {
    for (channel, path) in files {
        if let Err(failure) = send_file(&channel, path, as_one, &screen).await {
            return Outcome::Done(Err(failure));
        }
    }
    Outcome::Done(Ok(()))
}

async fn send_file(
    channel: &DataChannel,
    path: PathBuf,
    as_one: bool,
    screen: &Screen,
) -> Result<(), Failure> {
    let what = format!("{} was not sent", path.display());
    let source = transfer::Source::file(&path).await.context(&what)?;
    channel.opened().await.context(&what)?;
    let mut bar = screen.bar("sending");
    let sent = if as_one {
        transfer::send(&transfer::AsOne::new(channel), source, &mut bar).await
    } else {
        transfer::send(channel, source, &mut bar).await
    };
    let sent = sent.context(&what)?;
    screen.say(format!("sent {:?}: {}, sha256 {}", sent.name, bar.summary(), sent.sha256));
    channel.close();
    let _ = timeout(CLOSING, channel.closed()).await;
    Ok(())
}

pub(super) async fn receive_file(channel: DataChannel, store: transfer::Store, screen: Screen) -> Outcome {
    let mut bar = screen.bar("receiving");
    let received = transfer::receive(&channel, &store, &mut bar).await;
    let result = match received {
        Ok(received) => {
            let place = received.path.unwrap_or_default();
            screen.say(format!(
                "received {}: {}, sha256 {}",
                place.display(),
                bar.summary(),
                received.sha256
            ));
            Ok(())
        }
        Err(error) => Err(Failure::new(error.to_string())),
    };
    drop(bar);
    // The verdict has to get through: the sender closes.
    let _ = timeout(CLOSING, async { while channel.recv().await.is_some() {} }).await;
    Outcome::Received(result)
}
