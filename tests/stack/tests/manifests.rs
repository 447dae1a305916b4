//! What the manifests must keep apart.

use std::fs;
use std::path::Path;

#[test]
fn nothing_but_fuzz_targets_and_benchmarks_asks_for_the_null_crypto() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace's manifest");
    let (_, rest) = workspace.split_once("members = [").expect("its members");
    let (members, _) = rest.split_once(']').expect("an end of the list");
    let folders: Vec<&str> = members.split('"').skip(1).step_by(2).chain(["fuzz", "fuzz/bodies"]).collect();
    assert!(folders.contains(&"dtls") && folders.contains(&"cli"), "{folders:?}");
    let asking: Vec<&str> = folders
        .into_iter()
        .filter(|folder| {
            let manifest = root.join(folder).join("Cargo.toml");
            fs::read_to_string(manifest).expect("a manifest").contains("null-crypto")
        })
        .collect();
    // The crate that has it, and those that need it.
    assert_eq!(asking, ["dtls", "bench", "fuzz/bodies"]);
}
