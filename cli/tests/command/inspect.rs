//! What can be written down of connections: the key log.

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
