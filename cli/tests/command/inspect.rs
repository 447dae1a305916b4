//! What can be written down of connections: key logs, packet captures, statistics.

use std::path::Path;

use crate::process::{Sinnet, command};

/// Two `sinnet connect`, one sending a file to the other with these arguments besides; what the sender said.
async fn send_file(directory: &Path, arguments: &[&str]) -> String {
    let path = directory.join("file");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let path = path.display().to_string();
    let mut send = Sinnet::connect(&[&["--offer", "--send", &path], arguments].concat());
    let into = tempfile::tempdir().unwrap();
    let mut recv = Sinnet::connect(&["--recv", &into.path().display().to_string()]);
    crate::connect::join(&mut send, &mut recv);
    let sent = send.ended().await;
    sent.expect_success();
    recv.ended().await.expect_success();
    sent.stderr
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_key_log_gets_a_line_for_each_connection_and_the_user_is_warned() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    for connections in 1..=2 {
        let said = send_file(directory.path(), &["--keylog", &keys.display().to_string()]).await;
        assert!(said.contains("warning") && said.contains(&keys.display().to_string()), "{said}");
        let lines = lines(&keys);
        assert_eq!(lines.len(), connections);
        for line in lines {
            assert!(line.starts_with("CLIENT_RANDOM ") && line.len() == 14 + 64 + 1 + 96, "{line}");
        }
    }
}

#[tokio::test]
async fn without_the_flag_nothing_is_logged_whatever_the_environment_says() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let mut bench = command(&["bench", "setup", "--count", "1"]);
    bench.env("SSLKEYLOGFILE", &keys);
    assert!(bench.output().await.unwrap().status.success());
    assert!(!keys.exists());
    let mut bench = command(&["bench", "--keylog", &keys.display().to_string(), "setup", "--count", "1"]);
    assert!(bench.output().await.unwrap().status.success());
    // One that is measured, after those that warm up.
    assert!(lines(&keys).len() > 1);
}

#[tokio::test]
async fn a_key_log_that_cannot_be_written_ends_the_command_before_anything_is_said() {
    for arguments in [&["connect", "--offer"][..], &["serve", "--port", "0"], &["bench", "setup"]] {
        let all = [arguments, &["--keylog", "/nowhere/keys"]].concat();
        let ended = Sinnet::start(&all).ended().await;
        ended.expect_failure("/nowhere/keys");
    }
}

/// How many blocks of each type a pcapng file has, which must be whole.
fn blocks(path: &Path) -> std::collections::BTreeMap<u32, usize> {
    let bytes = std::fs::read(path).unwrap();
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut blocks, mut at) = (std::collections::BTreeMap::new(), 0);
    while at < bytes.len() {
        *blocks.entry(u32_at(at)).or_insert(0) += 1;
        at += u32_at(at + 4) as usize;
    }
    assert_eq!(at, bytes.len());
    blocks
}

const SECRETS: u32 = 10;
const PACKET: u32 = 6;
const STATISTICS: u32 = 5;

#[tokio::test]
async fn a_capture_is_whole_when_the_command_ends_and_has_the_keys_only_if_asked() {
    let directory = tempfile::tempdir().unwrap();
    for keys in [false, true] {
        let path = directory.path().join("a.pcapng");
        let mut arguments = vec!["--pcap".to_owned(), path.display().to_string()];
        arguments.extend(keys.then(|| "--pcap-keys".to_owned()));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let said = send_file(directory.path(), &arguments).await;
        assert!(said.contains("in clear"), "{said}");
        let blocks = blocks(&path);
        // 100,000 bytes in 1,452 of a datagram at the most, each twice.
        assert!(blocks[&PACKET] > 2 * 100_000 / 1_452, "{blocks:?}");
        assert_eq!(blocks.get(&SECRETS).copied(), keys.then_some(1));
        assert_eq!(blocks[&STATISTICS], 2);
    }
}

#[tokio::test]
async fn every_connection_has_a_capture_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pcapng");
    let mut bench = command(&[
        "bench",
        "setup",
        "--count",
        "3",
        "--pcap",
        &path.display().to_string(),
        "--snaplen",
        "64",
    ]);
    assert!(bench.output().await.unwrap().status.success());
    let mut count = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let blocks = blocks(&entry.unwrap().path());
        assert!(blocks[&PACKET] > 10 && blocks[&STATISTICS] == 2, "{blocks:?}");
        count += 1;
    }
    // Those that warm up, and three that are measured.
    assert!(count > 3 && path.exists() && directory.path().join("a-2.pcapng").exists(), "{count}");
}

#[tokio::test]
async fn statistics_come_as_lines_of_json_on_standard_error() {
    let directory = tempfile::tempdir().unwrap();
    let said = send_file(directory.path(), &["--stats", "0.01"]).await;
    let lines: Vec<serde_json::Value> = said
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.last().expect("one at the end at least");
    assert_eq!((&last["connectionState"], &last["tlsVersion"]), (&"closed".into(), &"FEFD".into()), "{last}");
    assert!(last["bytesSent"].as_u64() > Some(100_000) && last["dataChannelsOpened"] == 1, "{last}");
}
