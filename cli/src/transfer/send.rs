//! The sender of a file.

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use sinnet::{Message, SendError};

use super::{Header, MESSAGE, Pipe, Source, Trailer, TransferError, Verdict, Watch, hex, json};

/// A file that the other side has, and has verified.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

/// Sends all of `source` and waits for the verdict. The channel is the caller's to close.
pub(crate) async fn send(
    pipe: &impl Pipe,
    mut source: Source,
    watch: &mut impl Watch,
) -> Result<Sent, TransferError> {
    watch.begin(&source.name, source.size);
    let sending = async {
        let result = send_all(pipe, &mut source, watch).await;
        if matches!(result, Err(TransferError::Closed)) {
            // The reason may be lying in wait: a verdict that came before the end.
            if let Some(early) = pipe.recv().await {
                judge(Some(early), "")?;
            }
        }
        result
    };
    // A receiver may say no at any time.
    let sha256 = tokio::select! {
        biased;
        sha256 = sending => sha256?,
        early = pipe.recv() => {
            judge(early, "")?;
            return Err(TransferError::Protocol("it was content before it had everything".into()));
        }
    };
    judge(pipe.recv().await, &sha256)?;
    Ok(Sent { name: source.name, sha256 })
}

async fn send_all(
    pipe: &impl Pipe,
    source: &mut Source,
    watch: &mut impl Watch,
) -> Result<String, TransferError> {
    let mut hash = Context::new(&SHA256);
    let mut step = MESSAGE;
    let mut sent = 0;
    pipe.send(json(&Header { name: source.name.clone(), size: source.size })).await?;
    loop {
        let mut block = source.next_block().await?;
        if block.is_empty() {
            break;
        }
        hash.update(&block);
        while !block.is_empty() {
            let part = block.slice(..step.min(block.len()));
            match pipe.send(Message::Binary(part)).await {
                Ok(()) => {
                    let part = block.split_to(step.min(block.len()));
                    sent += Bytes::len(&part) as u64;
                    watch.at(sent);
                }
                Err(SendError::TooLarge { limit, .. }) if limit > 0 && limit < step as u64 => {
                    step = limit as usize;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let sha256 = hex(hash.finish());
    pipe.send(json(&Trailer { sha256: sha256.clone() })).await?;
    Ok(sha256)
}

fn judge(message: Option<Message>, sha256: &str) -> Result<(), TransferError> {
    let text = match message {
        None => return Err(TransferError::Closed),
        Some(Message::Binary(_)) => {
            return Err(TransferError::Protocol("it answered with bytes".into()));
        }
        Some(Message::Text(text)) => text,
    };
    let verdict: Verdict = serde_json::from_str(&text)
        .map_err(|error| TransferError::Protocol(format!("its verdict does not parse: {error}")))?;
    if !verdict.ok {
        let error: String = verdict.error.unwrap_or_default().chars().take(500).collect();
        return Err(TransferError::Refused(error.escape_debug().to_string()));
    }
    match verdict.sha256 {
        Some(theirs) if !sha256.is_empty() && !theirs.eq_ignore_ascii_case(sha256) => {
            let actual = theirs.chars().take(64).collect::<String>().escape_debug().to_string();
            Err(TransferError::Damaged { announced: sha256.to_owned(), actual })
        }
        _ => Ok(()),
    }
}
