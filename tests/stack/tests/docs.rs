//! What documents promise about tests.

use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

/// Every row of a table whose last column is `test` names tests, and they are in these folders.
fn rows_name_tests_that_exist(document: &str, folders: &[&str], least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    folders.iter().for_each(|folder| rust_files(&root.join(folder), &mut files));
    let sources: String = files.iter().map(|path| fs::read_to_string(path).expect("a source")).collect();
    let document = fs::read_to_string(root.join(document)).expect("the document");
    let mut in_table = false;
    let mut rows = 0;
    for line in document.lines() {
        if !line.starts_with('|') {
            in_table = false;
            continue;
        }
        let last = line.trim_end_matches('|').rsplit('|').next().expect("a cell").trim();
        if last == "test" {
            in_table = true;
        } else if in_table && !line.starts_with("|---") {
            rows += 1;
            let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "no test: {line}");
            for name in names {
                assert!(sources.contains(&format!("fn {name}(")), "{name} does not exist: {line}");
            }
        }
    }
    assert!(rows >= least, "only {rows} rows");
}

#[test]
fn every_row_of_dtls_bad_input_names_tests_that_exist() {
    rows_name_tests_that_exist("docs/dtls.md", &["dtls/src"], 51);
}

#[test]
fn every_row_of_ice_bad_input_names_tests_that_exist() {
    rows_name_tests_that_exist("docs/ice.md", &["ice/src", "stun/src", "tests/stack/tests"], 20);
}
