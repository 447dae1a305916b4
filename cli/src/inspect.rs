//! What the command lets its user see of connections from within: the key log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sinnet::{KeyLog, PeerConfig};

use crate::args::InspectArgs;
use crate::failure::{Context, Failure};
use crate::terminal::Screen;

/// What [`InspectArgs`] ask for, with its files open.
#[derive(Clone, Default)]
pub(crate) struct Inspection {
    key_log: Option<KeyLog>,
}

impl Inspection {
    /// Opens what is to be written, so that a wrong path is told at once.
    pub(crate) fn start(args: &InspectArgs, screen: &Screen) -> Result<Self, Failure> {
        let key_log = args.keylog.as_deref().map(|path| key_log(path, screen)).transpose()?;
        Ok(Self { key_log })
    }

    /// Has connections made with `config` tell what is asked for.
    pub(crate) fn configure(&self, config: &mut PeerConfig) {
        config.key_log.clone_from(&self.key_log);
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspection").field("key_log", &self.key_log.is_some()).finish()
    }
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
}
