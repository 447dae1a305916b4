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

#[test]
fn every_row_of_dtls_bad_input_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    rust_files(&root.join("dtls/src"), &mut files);
    let sources: String = files.iter().map(|path| fs::read_to_string(path).expect("a source")).collect();
    let document = fs::read_to_string(root.join("docs/dtls.md")).expect("the document");
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
    assert!(rows > 50, "only {rows} rows");
}
