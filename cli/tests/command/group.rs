//! `sinnet create`, `join`, `cast` and `demo`.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::process::{SOON, Sinnet, command};

/// A server, and its address for `--server`.
async fn serve() -> (Child, String) {
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    (child, line.strip_prefix("listening on ").unwrap().to_owned())
}

fn member(what: &str, server: &str, arguments: &[&str]) -> Sinnet {
    Sinnet::start(&[&[what, "--server", server, "--bind", "127.0.0.1"], arguments].concat())
}

/// Joins as soon as there is such a group.
async fn exists(server: &str, name: &str) {
    let host = server.strip_prefix("http://").unwrap();
    let listed = async {
        loop {
            let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
            let request = format!("GET /api/groups HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
            if answer.contains(&format!("\"{name}\"")) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, listed).await.expect("the group is made soon");
}

#[tokio::test]
async fn a_file_is_cast_to_all_members() {
    let (_server, url) = serve().await;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let content: Vec<u8> = (0..1_500_000_u32).map(|i| (i * 7 / 3) as u8).collect();
    std::fs::write(path("file"), &content).unwrap();
    let cast = member("cast", &url, &["--wait", "2", "--tree", "room", &path("file")]);
    exists(&url, "room").await;
    let mut members = Vec::new();
    for name in ["one", "two"] {
        members.push((name, member("join", &url, &["room", "--out", &path(name)])));
    }
    let mut hashes = Vec::new();
    for (name, joined) in members {
        let ended = joined.ended().await;
        ended.expect_success();
        hashes.push(ended.last_line().to_owned());
        assert_eq!(std::fs::read(path(name)).unwrap(), content, "{}", ended.stderr);
    }
    let ended = cast.ended().await;
    ended.expect_success();
    assert!(ended.stderr.contains("0 (here)"), "the tree is shown: {}", ended.stderr);
    hashes.push(ended.last_line().to_owned());
    assert!(hashes[0].starts_with("SHA-256 ") && hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[tokio::test]
async fn standard_input_is_cast_as_it_comes() {
    let (_server, url) = serve().await;
    let mut cast = member("cast", &url, &["stream", "-"]);
    exists(&url, "stream").await;
    let mut joined = member("join", &url, &["stream", "--out", "-"]);
    cast.say("first").await;
    assert_eq!(joined.line().await, "first", "it comes before the stream ends");
    cast.say("second").await;
    assert_eq!(joined.line().await, "second");
    cast.end_input();
    joined.ended().await.expect_success();
    cast.ended().await.expect_success();
}

#[tokio::test]
async fn what_the_owner_says_is_shown_and_a_group_that_is_not_there_is_said() {
    let (_server, url) = serve().await;
    let mut owner = member("create", &url, &["talk", "--description", "small talk"]);
    exists(&url, "talk").await;
    let mut joined = member("join", &url, &["talk"]);
    owner.say("hello, all").await;
    assert_eq!(joined.line().await, "hello, all", "who comes later gets what is recent");
    member("create", &url, &["talk"]).ended().await.expect_failure("there is a group");
    member("join", &url, &["walk"]).ended().await.expect_failure("unknown group");
    member("join", "http://127.0.0.1:1", &["talk"]).ended().await.expect_failure("127.0.0.1:1");
}

#[tokio::test]
async fn the_demo_ends_well_when_every_node_has_the_file() {
    let demo = command(&["demo", "--once", "--nodes", "5", "--size", "1000000"]).output().await.unwrap();
    let (said, shown) = (String::from_utf8_lossy(&demo.stderr), String::from_utf8_lossy(&demo.stdout));
    assert!(demo.status.success(), "{said}");
    assert!(shown.contains("5 of 5 nodes have sample-1000000.bin"), "{shown}");
    assert_eq!(shown.matches("✓ whole").count(), 5, "{shown}");
    assert!(said.contains("http://127.0.0.1:"), "{said}");
    let ended = Sinnet::start(&["demo", "--once", "--nodes", "1", "/nowhere/file"]).ended().await;
    ended.expect_failure("/nowhere/file");
}
