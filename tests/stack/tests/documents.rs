//! Documents that name tests name real ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names of all functions below these directories of the repository.
fn functions(directories: &[&str]) -> BTreeSet<String> {
    let mut waiting: Vec<PathBuf> = directories.iter().map(|directory| root().join(directory)).collect();
    let mut names = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            waiting.extend(entries.filter(|entry| !entry.ends_with("target")));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let after_fn = text.split("fn ").skip(1);
            let name =
                |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
            names.extend(after_fn.filter_map(name));
        }
    }
    names
}

#[test]
fn every_test_that_a_document_names_exists() {
    let functions = functions(&["sdp", "dcep", "ice", "sctp", "dtls", "peer", "src", "tests"]);
    let text = fs::read_to_string(root().join("docs/data-channels.md")).unwrap();
    // A test's name is a sentence: in code marks, and with many underscores.
    let named = text.split('`').skip(1).step_by(2).filter(|code| code.matches('_').count() > 4);
    let named: Vec<&str> = named.collect();
    assert!(named.len() > 40, "{} names", named.len());
    for name in named {
        assert!(functions.contains(name), "docs/data-channels.md names {name}, which is no test");
    }
}
