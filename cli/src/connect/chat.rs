//! `--chat`: lines from a file descriptor become messages, messages become lines on standard error.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use sinnet::{DataChannel, Message, SendError};
use tokio::sync::mpsc;

use super::Outcome;
use crate::failure::{Context, Failure};
use crate::terminal::Screen;

/// Longest line that is sent as one message, bytes. A longer one is cut into several.
const MAX_LINE: u64 = 16 * 1024;

/// Reads lines from a descriptor that this process was started with, in a thread of its own.
pub(super) fn lines(fd: u32) -> Result<mpsc::Receiver<String>, Failure> {
    let file = File::open(format!("/dev/fd/{fd}"))
        .context(format_args!("can't read from file descriptor {fd}; open it as in `3< FILE`"))?;
    let (to_chat, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut input = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut input).take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            while line.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
                line.pop();
            }
            if to_chat.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    Ok(lines)
}

/// Sends lines until there are no more, which ends the connection.
pub(super) async fn say(channel: DataChannel, mut lines: mpsc::Receiver<String>) -> Outcome {
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = channel.closed() => return Outcome::Nothing,
        };
        let Some(line) = line else { return Outcome::Done(Ok(())) };
        match channel.send(line).await {
            Ok(()) => {}
            Err(SendError::Closed) => return Outcome::Nothing,
            Err(error) => return Outcome::Done(Err(Failure::new(format!("the line was not sent: {error}")))),
        }
    }
}

/// Shows what comes, with whatever could confuse a terminal taken out.
pub(super) async fn show(channel: DataChannel, screen: Screen) -> Outcome {
    while let Some(message) = channel.recv().await {
        let label = printable(channel.label());
        match message {
            Message::Text(text) => screen.say(format!("{label}: {}", printable(&text))),
            Message::Binary(bytes) => screen.say(format!("{label}: ({} bytes)", bytes.len())),
        }
    }
    Outcome::Nothing
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
