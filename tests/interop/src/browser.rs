//! Starting a browser and evaluating JavaScript in its pages.
//!
//! Chromium is driven by its DevTools protocol, Firefox by WebDriver BiDi; each prints the address of its WebSocket
//! to stderr. What is asked of either: open a page, evaluate an expression there, and take a picture of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::process::{Log, Process};
use crate::rpc::Rpc;

/// Which browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `chromium`, or what `SINNET_CHROMIUM` names.
    Chromium,
    /// `firefox-esr`, or what `SINNET_FIREFOX` names.
    Firefox,
}

/// Whether the browser hides its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// As installed: host candidates are `.local` names (mDNS).
    Default,
    /// Host candidates are plain addresses.
    Plain,
}

const CHROMIUM_ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--password-store=basic",
    "--use-mock-keychain",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--remote-debugging-port=0",
];

const FIREFOX_PREFERENCES: &str = r#"user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.startup.page", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("dom.timeout.enable_budget_timer_throttling", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("toolkit.telemetry.enabled", false);
"#;

/// A running browser. Dropped, it is killed, and its profile removed.
#[derive(Debug)]
pub struct Browser {
    /// Which one it is.
    pub kind: Kind,
    /// How it was started.
    pub privacy: Privacy,
    process: Process,
    rpc: Rpc,
    profile: PathBuf,
}

impl Browser {
    /// Starts a browser with an empty profile in that namespace.
    ///
    /// # Errors
    ///
    /// What did not work, with the end of the browser's log.
    pub async fn start(place: &Namespace, kind: Kind, privacy: Privacy) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let profile = place.scratch().join(format!("profile-{count}"));
        std::fs::create_dir_all(&profile).map_err(|e| format!("{}: {e}", profile.display()))?;
        let directory = profile.display().to_string();

        let mut command: Vec<String> = place.exec().map(String::from).to_vec();
        let program =
            |variable, default: &str| std::env::var(variable).unwrap_or_else(|_| default.to_owned());
        let (name, announcement) = match kind {
            Kind::Chromium => {
                command.push(program("SINNET_CHROMIUM", "chromium"));
                command.extend(CHROMIUM_ARGUMENTS.iter().map(|&a| a.to_owned()));
                if privacy == Privacy::Plain {
                    command.push("--disable-features=WebRtcHideLocalIpsWithMdns".into());
                }
                command.extend([format!("--user-data-dir={directory}"), "about:blank".into()]);
                ("chromium", "DevTools listening on ")
            }
            Kind::Firefox => {
                let hide = privacy == Privacy::Default;
                let preferences = format!(
                    "{FIREFOX_PREFERENCES}user_pref(\"media.peerconnection.ice.obfuscate_host_addresses\", {hide});\n"
                );
                std::fs::write(profile.join("user.js"), preferences).map_err(|e| e.to_string())?;
                command.push(program("SINNET_FIREFOX", "firefox-esr"));
                command.extend(
                    ["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"].map(String::from),
                );
                command.push(directory.clone());
                ("firefox", "WebDriver BiDi listening on ")
            }
        };
        let process =
            Process::spawn(name, &command, &[("HOME", &directory), ("XDG_RUNTIME_DIR", &directory)])?;
        let url = announced(&process.stderr, announcement).await?;
        let url = if kind == Kind::Firefox { format!("{url}/session") } else { url };
        let rpc = Rpc::connect(place, &url).await?;
        if kind == Kind::Firefox {
            rpc.call(None, "session.new", json!({ "capabilities": {} }), START).await?;
        }
        Ok(Self { kind, privacy, process, rpc, profile })
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// The browser's own log.
    #[must_use]
    pub fn log(&self) -> Log {
        self.process.stderr.clone()
    }

    /// Lets pages of this origin use a microphone: Chromium then gathers candidates of all addresses, and of TCP. Firefox always
    /// does the latter, and isn't asked.
    ///
    /// # Errors
    ///
    /// The browser's refusal, as text.
    pub async fn allow_microphone(&self, origin: &str) -> Result<(), String> {
        if self.kind == Kind::Chromium {
            let granted = json!({ "origin": origin, "permissions": ["audioCapture"] });
            self.rpc.call(None, "Browser.grantPermissions", granted, SHORT).await?;
        }
        Ok(())
    }

    /// Opens a page of its own at `url`.
    ///
    /// # Errors
    ///
    /// The browser's refusal, as text.
    pub async fn page(&self, url: &str) -> Result<Page, String> {
        let target = match self.kind {
            Kind::Chromium => {
                let made = self.rpc.call(None, "Target.createTarget", json!({ "url": url }), SHORT).await?;
                let target = text(&made, "targetId")?;
                let attach = json!({ "targetId": target, "flatten": true });
                let attached = self.rpc.call(None, "Target.attachToTarget", attach, SHORT).await?;
                Target::Chromium { session: text(&attached, "sessionId")?, target }
            }
            Kind::Firefox => Target::Firefox { context: self.firefox_tab(url).await? },
        };
        Ok(Page { rpc: self.rpc.clone(), target: Arc::new(target) })
    }

    /// A new tab at `url`. On a busy machine Firefox now and then replaces a tab that it has just made, and then does not
    /// know it any more: another one is made.
    async fn firefox_tab(&self, url: &str) -> Result<String, String> {
        let mut attempts = 0;
        loop {
            let made = self.rpc.call(None, "browsingContext.create", json!({ "type": "tab" }), SHORT).await?;
            let context = text(&made, "context")?;
            let to = json!({ "context": context, "url": url, "wait": "complete" });
            attempts += 1;
            match self.rpc.call(None, "browsingContext.navigate", to, SHORT).await {
                Ok(_) => return Ok(context),
                Err(error) if error.contains("no such frame") && attempts < 3 => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // `ip netns exec` becomes the browser, so this is the browser itself; its helpers end with it.
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

const SHORT: Duration = Duration::from_secs(60);

/// Firefox listens long before it can answer.
const START: Duration = Duration::from_secs(180);

/// Waits for the line with the WebSocket's address.
async fn announced(log: &Log, prefix: &str) -> Result<String, String> {
    for _ in 0..1800 {
        let text = log.text();
        if let Some(url) =
            text.lines().find_map(|line| line.split_once(prefix)).map(|(_, url)| url.trim().to_owned())
        {
            return Ok(url);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("the browser did not start within 180 s:\n{}", log.tail(30)))
}

#[derive(Debug)]
enum Target {
    Chromium { session: String, target: String },
    Firefox { context: String },
}

/// A page. Clones share it.
#[derive(Debug, Clone)]
pub struct Page {
    rpc: Rpc,
    target: Arc<Target>,
}

impl Page {
    /// The value of a JavaScript expression; a promise is waited for. Only what JSON can carry comes back.
    ///
    /// # Errors
    ///
    /// The exception, or no answer within `limit`.
    pub async fn evaluate(&self, expression: &str, limit: Duration) -> Result<Value, String> {
        let asynchronous = format!("(async () => JSON.stringify(await ({expression})) ?? 'null')()");
        let value = self.evaluate_raw(&asynchronous, limit).await?;
        let text = value.as_str().ok_or_else(|| format!("{expression}: {value} is no string"))?;
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    /// Runs a script in the global scope, for its effects.
    ///
    /// # Errors
    ///
    /// As [`Page::evaluate`].
    pub async fn run(&self, script: &str) -> Result<(), String> {
        // Not by the page's own `eval`, which its content security policy may forbid.
        self.evaluate_raw(&format!("{script}\n'done'"), SHORT).await.map(drop)
    }

    async fn evaluate_raw(&self, expression: &str, limit: Duration) -> Result<Value, String> {
        let (session, method, params) = match &*self.target {
            Target::Chromium { session, .. } => {
                let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
                (Some(session.as_str()), "Runtime.evaluate", params)
            }
            Target::Firefox { context } => {
                let params = json!({ "expression": expression, "awaitPromise": true, "target": { "context": context } });
                (None, "script.evaluate", params)
            }
        };
        let mut answer = self.rpc.call(session, method, params, limit).await?;
        match answer.get("exceptionDetails") {
            None => Ok(answer["result"]["value"].take()),
            Some(exception) => {
                // The DevTools protocol has the text in the one place, BiDi in the other.
                let said = exception["exception"]["description"].as_str().or(exception["text"].as_str());
                Err(said.map_or_else(|| exception.to_string(), str::to_owned))
            }
        }
    }

    /// Has a script run in this page before those of any document that it goes to.
    ///
    /// # Errors
    ///
    /// The browser's refusal, as text.
    pub async fn prepare(&self, script: &str) -> Result<(), String> {
        match &*self.target {
            Target::Chromium { session, .. } => {
                self.rpc.call(Some(session), "Page.enable", json!({}), SHORT).await?;
                // A tab that nobody looks at would not be painted.
                let focus = json!({ "enabled": true });
                self.rpc.call(Some(session), "Emulation.setFocusEmulationEnabled", focus, SHORT).await?;
                let params = json!({ "source": script });
                self.rpc
                    .call(Some(session), "Page.addScriptToEvaluateOnNewDocument", params, SHORT)
                    .await
                    .map(drop)
            }
            Target::Firefox { context } => {
                let params =
                    json!({ "functionDeclaration": format!("() => {{ {script} }}"), "contexts": [context] });
                self.rpc.call(None, "script.addPreloadScript", params, SHORT).await.map(drop)
            }
        }
    }

    /// Goes to another document.
    ///
    /// # Errors
    ///
    /// The browser's refusal, as text.
    pub async fn go(&self, url: &str) -> Result<(), String> {
        let (session, method, params) = match &*self.target {
            Target::Chromium { session, .. } => {
                (Some(session.as_str()), "Page.navigate", json!({ "url": url }))
            }
            Target::Firefox { context } => {
                let params = json!({ "context": context, "url": url, "wait": "complete" });
                (None, "browsingContext.navigate", params)
            }
        };
        self.rpc.call(session, method, params, SHORT).await.map(drop)
    }

    /// Gives the page a size in CSS pixels, and colours; Firefox keeps its light ones.
    ///
    /// # Errors
    ///
    /// The browser's refusal, as text.
    pub async fn look(&self, width: u32, height: u32, is_dark: bool) -> Result<(), String> {
        match &*self.target {
            Target::Chromium { session, .. } => {
                self.rpc.call(Some(session), "Page.bringToFront", json!({}), SHORT).await?;
                let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
                self.rpc.call(Some(session), "Emulation.setDeviceMetricsOverride", size, SHORT).await?;
                let features = json!({ "features": [
                    { "name": "prefers-color-scheme", "value": if is_dark { "dark" } else { "light" } },
                    { "name": "prefers-reduced-motion", "value": "reduce" },
                ]});
                self.rpc.call(Some(session), "Emulation.setEmulatedMedia", features, SHORT).await.map(drop)
            }
            Target::Firefox { context } => {
                let front = json!({ "context": context });
                self.rpc.call(None, "browsingContext.activate", front, SHORT).await?;
                let params = json!({ "context": context, "viewport": { "width": width, "height": height } });
                self.rpc.call(None, "browsingContext.setViewport", params, SHORT).await.map(drop)
            }
        }
    }

    /// The whole document as a picture: PNG, in base64.
    ///
    /// # Errors
    ///
    /// The browser's refusal, as text.
    pub async fn picture(&self) -> Result<String, String> {
        let (session, method, params) = match &*self.target {
            Target::Chromium { session, .. } => {
                let params = json!({ "format": "png", "captureBeyondViewport": true });
                (Some(session.as_str()), "Page.captureScreenshot", params)
            }
            Target::Firefox { context } => {
                let params = json!({ "context": context, "origin": "document" });
                (None, "browsingContext.captureScreenshot", params)
            }
        };
        let answer = self.rpc.call(session, method, params, SHORT).await?;
        text(&answer, "data")
    }

    /// Closes the page; its connections end with it.
    pub async fn close(&self) {
        let (method, params) = match &*self.target {
            Target::Chromium { target, .. } => ("Target.closeTarget", json!({ "targetId": target })),
            Target::Firefox { context } => ("browsingContext.close", json!({ "context": context })),
        };
        let _ = self.rpc.call(None, method, params, Duration::from_secs(5)).await;
    }
}

fn text(answer: &Value, field: &str) -> Result<String, String> {
    answer[field].as_str().map(str::to_owned).ok_or_else(|| format!("no {field} in {answer}"))
}
