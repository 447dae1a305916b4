//! Replays the seeds of the fuzz targets, whole and cut, through what the targets do with them.

use std::fs;
use std::path::{Path, PathBuf};

use sinnet_fuzz_bodies::TARGETS;

/// How many beginnings of each seed are tried beside the whole: enough to cut most fields of most of them.
const CUTS: usize = 16;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn replay(name: &str) {
    let (_, body) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target of that name");
    let mut seeds = 0;
    for entry in fs::read_dir(corpus().join(name)).expect("a folder of seeds") {
        let path = entry.expect("an entry").path();
        let seed = fs::read(&path).expect("a seed");
        // The test runner shows this with a failure.
        println!("{}", path.display());
        body(&seed);
        for cut in 1..CUTS {
            let len = seed.len() * cut / CUTS;
            println!("  its first {len} bytes");
            body(&seed[..len]);
        }
        seeds += 1;
    }
    assert!(seeds > 0, "no seeds for {name}");
}

macro_rules! replays {
    ($($test:ident: $target:literal,)*) => {
        const REPLAYED: &[&str] = &[$($target),*];
        $(
            #[test]
            fn $test() {
                replay($target);
            }
        )*
    };
}

replays! {
    dcep_messages_of_the_corpus_are_harmless: "dcep_message",
    dtls_datagrams_of_the_corpus_are_harmless: "dtls_handshake",
    dtls_datagrams_behind_the_handshake_are_harmless: "dtls_near_valid",
    dtls_scripts_of_the_corpus_are_harmless: "dtls_session",
    ice_datagrams_of_the_corpus_are_harmless: "ice_agent",
    candidate_lines_of_the_corpus_are_harmless: "ice_candidate_text",
    sctp_packets_of_the_corpus_are_harmless: "sctp_packet",
    descriptions_of_the_corpus_are_harmless: "sdp_session",
    stun_messages_of_the_corpus_are_harmless: "stun_message",
    turn_servers_of_the_corpus_are_harmless: "turn_client",
    turn_clients_of_the_corpus_are_harmless: "turn_server",
    server_uris_of_the_corpus_are_harmless: "turn_uri",
}

#[test]
fn every_target_and_every_folder_of_seeds_is_replayed() {
    let sorted = |names: Vec<String>| {
        let mut names = names;
        names.sort();
        names
    };
    let targets = sorted(TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    assert_eq!(targets, sorted(REPLAYED.iter().map(|name| (*name).to_owned()).collect()));
    let folders =
        fs::read_dir(corpus()).expect("the corpus").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(targets, sorted(folders.map(|name| name.to_string_lossy().into_owned()).collect()));
}
