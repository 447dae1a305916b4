//! The page of `sinnet serve`, used as somebody would use it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sinnet_interop::AT_ONCE;
use sinnet_interop::browser::{Kind, Page, Privacy};
use sinnet_interop::lab::Lab;
use sinnet_interop::net::PEER_ADDRESS;
use sinnet_interop::pattern::{pattern, sha256};
use sinnet_interop::peer;
use sinnet_interop::process::Process;
use sinnet_interop::tab;

/// A server and a page that it served.
struct Visit {
    server: Process,
    page: Page,
    /// `--files` of the server.
    shelf: PathBuf,
    /// `--save` of the server.
    saved: PathBuf,
}

const SHORT: Duration = Duration::from_secs(60);

impl Visit {
    /// Starts the server, opens the page that connects with it, and waits until it is connected.
    async fn start(lab: &mut Lab, kind: Kind, privacy: Privacy) -> Self {
        let directory = |name: &str| {
            let path = lab.net.scratch().join(name);
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir(&path).expect("a directory");
            path
        };
        let (shelf, saved) = (directory("shelf"), directory("saved"));
        std::fs::write(shelf.join("listed.bin"), pattern(3, 300_000)).expect("a file to offer");
        let (files, save) = (shelf.display().to_string(), saved.display().to_string());
        let arguments = ["serve", "--host", PEER_ADDRESS, "--port", "0", "--files", &files, "--save", &save];
        let server = peer::spawn(&lab.net, &arguments);
        let mut url = None;
        for _ in 0..200 {
            let said = server.stderr.text();
            url = said.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
            if url.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let url = url.unwrap_or_else(|| panic!("the server says no address:\n{}", server.stderr.tail(30)));
        let url = format!("{url}/peer.html");
        let page = lab.browser(kind, privacy).await.page(&url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
        let visit = Self { server, page, shelf, saved };
        visit.until("location.protocol === 'http:' && document.readyState === 'complete'", SHORT).await;
        tab::load(&visit.page).await;
        visit.status("connected").await;
        visit
    }

    async fn ask(&self, expression: &str) -> Value {
        let value = self.page.evaluate(expression, SHORT).await;
        value.unwrap_or_else(|e| panic!("in the page, {expression}: {e}"))
    }

    /// Waits until an expression is true.
    async fn until(&self, expression: &str, limit: Duration) {
        let waiting = async {
            while self.ask(&format!("!!({expression})")).await != json!(true) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(limit, waiting).await.is_err() {
            let text = self.ask("document.body.innerText").await;
            panic!("not within {} s: {expression}; the page shows {text}", limit.as_secs());
        }
    }

    /// Waits until the server shows a hash; it does when it has read the page's verdict.
    async fn server_shows(&self, hash: &str) {
        for _ in 0..100 {
            if self.server.stderr.text().contains(hash) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not show the hash {hash}");
    }

    async fn status(&self, text: &str) {
        self.until(&format!("document.getElementById('status').textContent === '{text}'"), SHORT).await;
    }

    async fn click(&self, selector: &str) {
        self.until(&format!("document.querySelector('{selector}')?.disabled === false"), SHORT).await;
        self.ask(&format!("void document.querySelector('{selector}').click()")).await;
    }

    /// The newest row of the list of files, once it says that its file is done.
    async fn done(&self, name: &str) -> Value {
        let row = "document.querySelector('#files > li')";
        let finished = format!(
            "{row}?.querySelector('.name').textContent.includes('{name}') && {row}.dataset.state !== 'busy'"
        );
        self.until(&finished, Duration::from_secs(80)).await;
        self.ask(&format!(
            "(async (row) => ({{
                state: row.dataset.state,
                sha256: row.querySelector('.sha256').textContent,
                progress: row.querySelector('.progress').value,
                rate: /^[0-9.]+ [kMG]?B\\/s$/.test(row.querySelector('.rate').textContent),
                download: row.querySelector('a.download').download,
            }}))({row})"
        ))
        .await
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("sinnet serve said:\n{}", self.server.stderr.tail(60));
        }
        let page = self.page.clone();
        tokio::spawn(async move { page.close().await });
    }
}

pub(crate) async fn it_connects_and_echoes(lab: &mut Lab, kind: Kind, privacy: Privacy) {
    let visit = Visit::start(lab, kind, privacy).await;
    for (count, text) in ["hello", "☃ <b>&amp;</b>", ""].iter().enumerate() {
        visit.ask(&format!("document.getElementById('echo-input').value = {}", json!(text))).await;
        visit.click("#echo-send").await;
        let log = "[...document.querySelectorAll('#log > .received .text')].map((line) => line.textContent)";
        visit.until(&format!("{log}.length === {}", count + 1), SHORT).await;
        let lines = visit.ask(log).await;
        assert_eq!(lines[count], json!(format!("← {text}")), "{lines}");
    }
}

pub(crate) async fn it_moves_files_both_ways(lab: &mut Lab, kind: Kind, privacy: Privacy) {
    const SEED: u32 = 0x5eed_0003;
    const SIZE: usize = 10_000_000;
    let visit = Visit::start(lab, kind, privacy).await;

    // From the page: chosen in the file field, as by hand.
    visit
        .ask(&format!(
            "void ((input, files) => {{
                files.items.add(new File([sn.bytes({SEED}, {SIZE})], 'from the page.bin'));
                input.files = files.files;
            }})(document.getElementById('file-input'), new DataTransfer())"
        ))
        .await;
    visit.click("#file-send").await;
    let expected = sha256(&pattern(SEED, SIZE));
    let done = |sha256: &str, download: &str| json!({ "state": "done", "sha256": sha256, "progress": 1, "rate": true, "download": download });
    assert_eq!(visit.done("from the page.bin").await, done(&expected, ""));
    let file = std::fs::read(visit.saved.join("from the page.bin")).expect("the saved file");
    assert_eq!((file.len(), sha256(&file)), (SIZE, expected.clone()), "what the server saved");
    visit.server_shows(&expected).await;

    // A file of the server.
    visit.click("#remote-files button").await;
    let file = std::fs::read(visit.shelf.join("listed.bin")).expect("the offered file");
    assert_eq!(visit.done("listed.bin").await, done(&sha256(&file), "listed.bin"));
    visit.server_shows(&sha256(&file)).await;

    // 50 MB that the server makes up.
    visit.ask("document.getElementById('fetch-size').value = '50'").await;
    visit.click("#fetch-sample").await;
    let sample = visit.done("50").await;
    assert_eq!((&sample["state"], &sample["progress"]), (&json!("done"), &json!(1)), "{sample}");
    let hash = sample["sha256"].as_str().expect("a hash");
    assert_eq!(hash.len(), 64);
    visit.server_shows(hash).await;
}

pub(crate) async fn it_hangs_up_and_connects_again(lab: &mut Lab, kind: Kind, privacy: Privacy) {
    let visit = Visit::start(lab, kind, privacy).await;
    for _ in 0..3 {
        visit.click("#hang-up").await;
        visit.status("closed").await;
        visit.click("#reconnect").await;
        visit.status("connected").await;
        visit.until("document.getElementById('echo-send').disabled === false", SHORT).await;
    }
}

pub(crate) async fn it_sees_the_server_end(lab: &mut Lab, kind: Kind, privacy: Privacy) {
    let mut visit = Visit::start(lab, kind, privacy).await;
    visit.until("document.getElementById('echo-send').disabled === false", SHORT).await;
    visit.server.terminate();
    let status = visit.server.wait(AT_ONCE).await.expect("an end");
    assert_eq!(status.code(), Some(0), "the server's status");
    // The channels close at once; how soon the connection's state follows is the browser's business.
    visit.until("document.getElementById('echo-send').disabled", SHORT).await;
}
