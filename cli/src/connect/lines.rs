//! The lines on standard input and output.

use std::io::{self, Write};

use sinnet_signaling::Signal;
use sinnet_signaling::message::{MAX_MESSAGE, ParseError};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tracing::warn;

use crate::failure::{Context, Failure};

/// Reads lines in a task of its own until their end. A line of another type is skipped.
pub(super) fn read<R: AsyncRead + Unpin + Send + 'static>(
    input: R,
) -> mpsc::Receiver<Result<Signal, Failure>> {
    let (found, signals) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let limit = MAX_MESSAGE as u64 + 2;
            let read = (&mut input).take(limit).read_until(b'\n', &mut line).await;
            let signal = match read {
                Ok(0) => return,
                Ok(_) => parse(&line),
                Err(error) => Err(Failure::new(error.to_string())),
            };
            // The rest of a line that is too long is no line.
            let over = signal.is_err() && !line.ends_with(b"\n");
            if let Some(signal) = signal.transpose() {
                let signal = signal.context(format_args!("line {number} of standard input"));
                if found.send(signal).await.is_err() || over {
                    return;
                }
            }
        }
    });
    signals
}

fn parse(line: &[u8]) -> Result<Option<Signal>, Failure> {
    let text = std::str::from_utf8(line).map_err(|_| Failure::new("it is not UTF-8"))?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match Signal::parse(text) {
        Ok(signal) => Ok(Some(signal)),
        Err(error @ ParseError::UnknownType(_)) => {
            warn!(%error, "skipped a line");
            Ok(None)
        }
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// Writes one line, at once.
pub(super) fn write(signal: &Signal) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", signal.to_json())
        .and_then(|()| output.flush())
        .context("can't write to standard output, where the signalling goes")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &[u8]) -> Vec<Result<Signal, String>> {
        let mut signals = read(std::io::Cursor::new(input.to_vec()));
        let mut all = Vec::new();
        while let Some(signal) = signals.recv().await {
            all.push(signal.map_err(|failure| failure.to_string()));
        }
        all
    }

    const END: &[u8] = b"{\"type\":\"end-of-candidates\"}";

    #[tokio::test]
    async fn lines_end_in_any_manner_and_empty_ones_are_skipped() {
        let input = [b"\n\r\n", END, b"\r\n", END, b"\n  ", END].concat();
        assert_eq!(all(&input).await, vec![Ok(Signal::EndOfCandidates); 3]);
    }

    #[tokio::test]
    async fn an_unknown_type_is_skipped_and_a_mistake_is_named_by_its_line() {
        let input = [b"{\"type\":\"later\"}\nhello\n\xff\n", END].concat();
        let all = all(&input).await;
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[0].as_ref().is_err_and(|e| e.starts_with("line 2 of standard input:")), "{all:?}");
        assert!(all[1].as_ref().is_err_and(|e| e.contains("UTF-8")), "{all:?}");
        assert_eq!(all[2], Ok(Signal::EndOfCandidates));
    }

    #[tokio::test]
    async fn an_endless_line_is_refused_without_being_kept() {
        let all = all(&vec![b'x'; 3 * MAX_MESSAGE]).await;
        assert_eq!(all.len(), 1);
        assert!(all[0].is_err());
    }
}
