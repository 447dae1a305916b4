//! A page with `page/page.js` in it: questions go in, signalling lines and log lines come out.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::browser::{Browser, Page};
use crate::process::Log;

/// A page that takes part in a test. Dropped while a test fails, it prints its log.
#[derive(Debug)]
pub struct Tab {
    page: Page,
    /// What happened in the page.
    pub log: Log,
    lines: Option<mpsc::UnboundedReceiver<Value>>,
    pump: JoinHandle<()>,
}

impl Tab {
    /// Opens an empty page and loads the script.
    ///
    /// # Panics
    ///
    /// When the browser cannot.
    pub async fn open(browser: &Browser) -> Self {
        Self::open_at(browser, "about:blank").await
    }

    /// As [`Tab::open`], with a page that has an origin.
    ///
    /// # Panics
    ///
    /// As [`Tab::open`].
    pub async fn open_at(browser: &Browser, url: &str) -> Self {
        let page = browser.page(url).await.unwrap_or_else(|e| panic!("a page: {e}"));
        // Chromium gives the page before it is there, and scripts that came before would be gone with the empty one.
        let is_there = format!("location.href.startsWith({url:?}) && document.readyState === 'complete'");
        let mut looks = 0;
        while page.evaluate(&is_there, Duration::from_secs(30)).await != Ok(Value::Bool(true)) {
            looks += 1;
            assert!(looks < 300, "{url} was not loaded");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        load(&page).await;
        let log = Log::new(&format!("{:?} page", browser.kind).to_lowercase());
        let (out, lines) = mpsc::unbounded_channel();
        let pump = tokio::spawn(pump(page.clone(), log.clone(), out));
        Self { page, log, lines: Some(lines), pump }
    }

    /// Calls `sn.<function>(arguments…)` and gives its value.
    ///
    /// # Panics
    ///
    /// When it throws or rejects, or does not answer in 90 seconds.
    pub async fn ask(&self, function: &str, arguments: Value) -> Value {
        let result = self.try_ask(function, arguments).await;
        result.unwrap_or_else(|e| panic!("in the page, {function}: {e}"))
    }

    /// As [`Tab::ask`], but a failure is for the caller.
    ///
    /// # Errors
    ///
    /// What the page threw.
    pub async fn try_ask(&self, function: &str, arguments: Value) -> Result<Value, String> {
        self.page.evaluate(&format!("sn.{function}(...{arguments})"), Duration::from_secs(90)).await
    }

    /// The signalling lines that leave the page, once.
    pub fn take_lines(&mut self) -> Option<mpsc::UnboundedReceiver<Value>> {
        self.lines.take()
    }

    /// Where lines for the page are put; they are given to it in order.
    #[must_use]
    pub fn input(&self) -> mpsc::UnboundedSender<Value> {
        let (sender, mut lines) = mpsc::unbounded_channel::<Value>();
        let (page, log) = (self.page.clone(), self.log.clone());
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                let call = format!("sn.accept({line})");
                if let Err(e) = page.evaluate(&call, Duration::from_secs(30)).await {
                    log.push(format!("refused {line}: {e}"));
                }
            }
        });
        sender
    }

    /// Closes the page.
    pub async fn close(self) {
        self.page.close().await;
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.pump.abort();
        if std::thread::panicking() {
            eprintln!("the page said:\n{}", self.log.tail(60));
        }
        // A page that a failed test left open closes too: its connection would go on.
        let page = self.page.clone();
        tokio::spawn(async move { page.close().await });
    }
}

/// Loads the script into a page.
///
/// # Panics
///
/// When it does not run there.
pub async fn load(page: &Page) {
    let scripts = [
        include_str!("../page/sha256.js"),
        include_str!("../page/page.js"),
        include_str!("../page/converse.js"),
        include_str!("../page/direct.js"),
    ];
    for script in scripts {
        page.run(script).await.unwrap_or_else(|e| panic!("the page's script: {e}"));
    }
}

/// Asks the page for what it queued, for as long as it answers.
async fn pump(page: Page, log: Log, out: mpsc::UnboundedSender<Value>) {
    while let Ok(entries) = page.evaluate("sn.take(5000)", Duration::from_secs(60)).await {
        for entry in entries.as_array().into_iter().flatten() {
            if let Some(line) = entry["log"].as_str() {
                log.push(line.to_owned());
            } else {
                log.push(format!("signals {}", entry["signal"]));
                let _ = out.send(entry["signal"].clone());
            }
        }
    }
}

/// Arguments of [`Tab::ask`] that open channels of these labels, reliable and ordered.
#[must_use]
pub fn plain_channels(labels: &[&str]) -> Value {
    labels.iter().map(|label| json!({ "label": label, "options": {} })).collect()
}
