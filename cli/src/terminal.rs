//! Standard error: progress bars where it is a terminal, plain lines where it is not, logs in either.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::transfer::Watch;

/// Standard error, shared by bars, lines and logs so that they don't tear each other.
#[derive(Clone, Debug)]
pub(crate) struct Screen(MultiProgress);

impl Screen {
    pub(crate) fn new() -> Self {
        // Draws nothing where standard error is no terminal.
        Self(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
    }

    /// Prints a line.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        self.0.suspend(|| {
            // Nobody may be listening; that is no reason to stop.
            let _ = writeln!(io::stderr(), "{}", line.as_ref());
        });
    }

    /// Prints to standard output.
    pub(crate) fn print(&self, text: &str) {
        self.0.suspend(|| {
            let _ = writeln!(io::stdout(), "{text}");
        });
    }

    /// Lines that change where they stand. They vanish when dropped.
    pub(crate) fn board(&self) -> Board {
        Board { screen: self.clone(), lines: Vec::new() }
    }

    /// A bar for one transfer. `verb` is what is done: "sending", "receiving".
    pub(crate) fn bar(&self, verb: &'static str) -> Bar {
        Bar { screen: self.clone(), verb, bar: None, started: now(), size: 0 }
    }

    /// Something that turns while there is nothing to count. It vanishes when dropped.
    pub(crate) fn spinner(&self, what: String) -> Spinner {
        let bar = self.0.add(ProgressBar::new_spinner().with_message(what));
        bar.enable_steady_tick(Duration::from_millis(200));
        Spinner(bar)
    }

    /// Sends logs here: those that `RUST_LOG` names, or else as many as `-v` was given times.
    pub(crate) fn start_logging(&self, verbosity: u8) {
        let default = match verbosity {
            0 => "warn",
            1 => "info",
            2 => "debug",
            _ => "trace",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(self.clone()).init();
    }
}

/// A log record's way to the screen.
#[derive(Debug)]
pub(crate) struct LogWriter(MultiProgress);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter(self.0.clone())
    }
}

/// See [`Screen::spinner`].
#[derive(Debug)]
pub(crate) struct Spinner(ProgressBar);

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// See [`Screen::board`].
#[derive(Debug)]
pub(crate) struct Board {
    screen: Screen,
    lines: Vec<ProgressBar>,
}

impl Board {
    pub(crate) fn show(&mut self, lines: &[String]) {
        let Screen(all) = &self.screen;
        while self.lines.len() > lines.len() {
            if let Some(line) = self.lines.pop() {
                all.remove(&line);
            }
        }
        while self.lines.len() < lines.len() {
            let style =
                ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            self.lines.push(all.add(ProgressBar::new_spinner().with_style(style)));
        }
        for (line, text) in self.lines.iter().zip(lines) {
            line.set_message(text.clone());
            line.tick();
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.show(&[]);
    }
}

/// The progress of one transfer. It vanishes when dropped.
#[derive(Debug)]
pub(crate) struct Bar {
    screen: Screen,
    verb: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    size: u64,
}

impl Bar {
    /// What moved and how fast: `50.0 MB in 0.61 s, 82.0 MB/s`.
    pub(crate) fn summary(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-6);
        format!("{} in {seconds:.2} s, {}/s", amount(self.size as f64), amount(self.size as f64 / seconds))
    }
}

impl Watch for Bar {
    fn begin(&mut self, name: &str, size: u64) {
        self.started = now();
        self.size = size;
        let bar = ProgressBar::new(size).with_prefix(self.verb);
        // Nobody knows the end of a stream.
        let template = match size {
            0 => "{prefix} {msg} {decimal_bytes} {decimal_bytes_per_sec}",
            _ => "{prefix} {msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let short: String = name.chars().filter(|c| !c.is_control()).take(30).collect();
        let bar = self.screen.0.add(bar.with_message(short));
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }

    fn at(&mut self, bytes: u64) {
        self.size = self.size.max(bytes);
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.screen.0.remove(bar);
        }
    }
}

/// `bytes` with a decimal unit and three digits.
pub(crate) fn amount(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            let digits = if unit == "B" || value >= 99.95 { 0 } else { 1 + usize::from(value < 9.995) };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.2} TB")
}

/// The clock.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the command runs in real time")]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1000.0, "1.00 kB"),
            (12_345.0, "12.3 kB"),
            (50_000_000.0, "50.0 MB"),
            (999_900.0, "1.00 MB"),
            (123.4e9, "123 GB"),
            (5e12, "5.00 TB"),
        ] {
            assert_eq!(amount(bytes), text);
        }
    }
}
