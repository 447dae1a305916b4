//! What the command lets its user see of connections from within: key log, packet captures, statistics.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sinnet::{Capture, KeyLog, PcapOptions, PeerConfig, PeerConnection};

use crate::args::InspectArgs;
use crate::failure::{Context, Failure};
use crate::terminal::Screen;

/// What [`InspectArgs`] ask for, with its files open. Clones share it.
#[derive(Clone)]
pub(crate) struct Inspection {
    screen: Screen,
    key_log: Option<KeyLog>,
    captures: Option<Arc<Captures>>,
}

/// A capture file for each connection.
struct Captures {
    /// Of the first; the others have a number in it.
    path: PathBuf,
    options: PcapOptions,
    state: Mutex<State>,
}

struct State {
    /// The first file, which was opened to see whether that can be done.
    first: Option<File>,
    begun: u64,
    running: Vec<(PathBuf, Capture)>,
}

impl Inspection {
    /// Nothing is to be seen.
    pub(crate) fn none(screen: &Screen) -> Self {
        Self { screen: screen.clone(), key_log: None, captures: None }
    }

    /// Opens what is to be written, so that a wrong path is told at once.
    pub(crate) fn start(args: &InspectArgs, screen: &Screen) -> Result<Self, Failure> {
        let mut inspection = Self::none(screen);
        if let Some(path) = &args.keylog {
            inspection.key_log = Some(key_log(path, screen)?);
        }
        if let Some(path) = &args.pcap {
            let first = create(path).context(format_args!("can't write the capture {}", path.display()))?;
            let mut options = PcapOptions::default();
            options.snap_len = args.snaplen;
            options.secrets = args.pcap_keys;
            screen.say(format!("warning: all messages go to {} in clear", path.display()));
            let state = Mutex::new(State { first: Some(first), begun: 0, running: Vec::new() });
            inspection.captures = Some(Arc::new(Captures { path: path.clone(), options, state }));
        }
        Ok(inspection)
    }

    /// Has connections made with `config` tell what is asked for.
    pub(crate) fn configure(&self, config: &mut PeerConfig) {
        config.key_log.clone_from(&self.key_log);
    }

    /// Looks on at a connection that was just made.
    pub(crate) fn watch(&self, peer: &PeerConnection) {
        let Some(captures) = &self.captures else { return };
        let mut state = captures.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.retain(|(_, capture)| !capture.is_finished());
        state.begun += 1;
        let path = numbered(&captures.path, state.begun);
        let file = match state.first.take() {
            Some(first) => Ok(first),
            None => create(&path),
        };
        match file.and_then(|file| peer.start_capture(file, captures.options.clone())) {
            Ok(capture) => state.running.push((path, capture)),
            Err(error) => self.screen.say(format!("warning: no capture {}: {error}", path.display())),
        }
    }

    /// Ends the captures and waits until they are written.
    pub(crate) async fn end(&self) {
        let Some(captures) = &self.captures else { return };
        let running =
            std::mem::take(&mut captures.state.lock().unwrap_or_else(PoisonError::into_inner).running);
        for (path, capture) in running {
            let path = path.display();
            match capture.finish().await {
                Ok(summary) if summary.dropped > 0 => {
                    self.screen.say(format!("warning: {path} lacks {} packets", summary.dropped));
                }
                Ok(_) => {}
                Err(error) => self.screen.say(format!("warning: {path} is incomplete: {error}")),
            }
        }
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspection")
            .field("key_log", &self.key_log.is_some())
            .field("captures", &self.captures.is_some())
            .finish()
    }
}

/// A new file that nobody else may read.
fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The first connection's file is named as was said, the second's `name-2.pcapng`.
fn numbered(path: &Path, number: u64) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Appends lines to `path`, which nobody else may read if it is made here.
fn key_log(path: &Path, screen: &Screen) -> Result<KeyLog, Failure> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let file = options.open(path).context(format_args!("can't write the key log {}", path.display()))?;
    screen.say(format!(
        "warning: the keys of all connections go to {}; whoever has it can read them",
        path.display()
    ));
    let (screen, failed) = (screen.clone(), AtomicBool::new(false));
    Ok(Arc::new(move |line| {
        if let Err(error) = append(&file, line)
            && !failed.swap(true, Ordering::Relaxed)
        {
            screen.say(format!("warning: the key log is incomplete: {error}"));
        }
    }))
}

/// One write a line, so that several processes can share a file.
fn append(mut file: &File, line: &str) -> std::io::Result<()> {
    file.write_all(format!("{line}\n").as_bytes())
}

/// A connection's statistics as one line of JSON, with W3C's names and units where it has them.
pub(crate) fn statistics(peer: &PeerConnection) -> Value {
    let stats = peer.stats();
    let (transport, sctp) = (stats.transport, stats.sctp);
    let path = transport.selected_candidate_pair;
    let pair = peer.candidate_pairs().into_iter().find(|pair| pair.ice.selected);
    json!({
        "connectionState": peer.connection_state().to_string(),
        "dtlsState": transport.dtls_state.to_string(),
        "tlsVersion": transport.tls_version.map(|version| format!("{:04X}", version.0)),
        "dtlsCipher": transport.dtls_cipher.map(|suite| suite.to_string()),
        "selectedCandidatePair": path.map(|path| [path.local.to_string(), path.remote.to_string()]),
        "currentRoundTripTime": pair.and_then(|pair| pair.ice.current_round_trip_time).map(|rtt| rtt.as_secs_f64()),
        "packetsSent": transport.traffic.packets_sent,
        "packetsReceived": transport.traffic.packets_received,
        "bytesSent": transport.traffic.bytes_sent,
        "bytesReceived": transport.traffic.bytes_received,
        "dataChannelsOpened": stats.connection.data_channels_opened,
        "dataChannelsClosed": stats.connection.data_channels_closed,
        "messagesSent": sctp.messages_sent,
        "messagesReceived": sctp.messages_received,
        "smoothedRoundTripTime": sctp.srtt.map(|srtt| srtt.as_secs_f64()),
        "congestionWindow": sctp.cwnd,
        "receiverWindow": sctp.peer_rwnd,
        "mtu": sctp.packet_size,
        "unackData": sctp.unacked_chunks,
        "ssthresh": sctp.ssthresh,
        "rttvar": sctp.rttvar.as_secs_f64(),
        "rto": sctp.rto.as_secs_f64(),
        "flight": sctp.flight,
        "ownWindow": sctp.a_rwnd,
        "retransmissions": sctp.retransmissions,
        "retransmissionsByTimeout": sctp.retransmissions_by_timeout,
        "tailLossProbes": sctp.tail_loss_probes,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_log_is_private_and_keeps_what_was_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        for line in ["CLIENT_RANDOM 00 11", "CLIENT_RANDOM 22 33"] {
            key_log(&path, &Screen::new()).unwrap()(line);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "CLIENT_RANDOM 00 11\nCLIENT_RANDOM 22 33\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let failure = key_log(Path::new("/nowhere/keys"), &Screen::new()).err().unwrap();
        assert!(failure.to_string().contains("/nowhere/keys"), "{failure}");
    }

    #[test]
    fn later_captures_have_a_number_before_the_extension() {
        for (path, number, name) in [
            ("/d.x/a.pcapng", 1, "/d.x/a.pcapng"),
            ("/d.x/a.pcapng", 2, "/d.x/a-2.pcapng"),
            ("/d.x/a", 13, "/d.x/a-13"),
            ("a.b.pcapng", 2, "a.b-2.pcapng"),
        ] {
            assert_eq!(numbered(Path::new(path), number), Path::new(name));
        }
    }
}
