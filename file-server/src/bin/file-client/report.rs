//! What is told of what was done: lines for people on stderr, or lines of JSON on stdout.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;
use crate::options::Options;
use crate::progress::Progress;
use crate::task::Task;

/// Tells what is done, and counts.
pub(crate) struct Report {
    json: bool,
    quiet: bool,
    done: u64,
    failed: u64,
    bytes: u64,
}

/// One result as programs read it.
#[derive(Serialize)]
struct Result<'a> {
    action: &'static str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<&'a str>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The status of the answer that is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

/// The last line.
#[derive(Serialize)]
struct Summary {
    action: &'static str,
    done: u64,
    failed: u64,
    bytes: u64,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        Self { json: options.json, quiet: options.quiet, done: 0, failed: 0, bytes: 0 }
    }

    /// A file was sent or fetched.
    pub(crate) fn transferred(&mut self, task: &Task, bytes: u64, took: Duration, progress: &Progress) {
        self.done += 1;
        self.bytes += bytes;
        let (source, destination) = (task.source(), task.destination());
        if self.json {
            let (bytes, seconds) = (Some(bytes), Some(took.as_secs_f64()));
            let (action, destination) = (task.action(), destination.as_deref());
            print(&Result {
                action,
                source: &source,
                destination,
                ok: true,
                bytes,
                seconds,
                error: None,
                status: None,
            });
        } else if !self.quiet {
            let destination = destination.unwrap_or_default();
            progress.say(&plain(&format!("{source} -> {destination}: {bytes} bytes in {took:.1?}")));
        }
    }

    /// A directory was listed; that was all that there is to tell.
    pub(crate) fn listed(&mut self) {
        self.done += 1;
    }

    /// Something was not done.
    pub(crate) fn failed(&mut self, task: &Task, failure: &Failure, progress: &Progress) {
        self.failed += 1;
        let (source, destination) = (task.source(), task.destination());
        if self.json {
            let (action, destination) = (task.action(), destination.as_deref());
            let error = Some(failure.to_string());
            let status = failure.status;
            print(&Result {
                action,
                source: &source,
                destination,
                ok: false,
                bytes: None,
                seconds: None,
                error,
                status,
            });
        }
        let to = destination.map(|to| format!(" to {to}")).unwrap_or_default();
        progress.say(&plain(&format!("file-client: cannot {} {source}{to}: {failure}", task.action())));
    }

    /// Something is tried again.
    pub(crate) fn retried(&self, task: &Task, failure: &Failure, delay: Duration, progress: &Progress) {
        if !self.quiet {
            let line = format!("{}: {failure}; trying again in {delay:.1?}", task.source());
            progress.say(&plain(&line));
        }
    }

    /// The user does not wait for the end.
    pub(crate) fn interrupted(&self, left: usize, progress: &Progress) {
        let files = if left == 1 { "file is" } else { "files are" };
        progress.say(&format!("file-client: interrupted: {left} {files} not done"));
    }

    /// Tells the sums; answers whether all was done.
    pub(crate) fn finish(&self) -> bool {
        if self.json {
            let Self { done, failed, bytes, .. } = *self;
            print(&Summary { action: "summary", done, failed, bytes });
        }
        self.failed == 0
    }
}

/// Writes a line of JSON to stdout. A reader that has gone away has seen what it wanted.
pub(crate) fn print(line: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(line) {
        print_line(&line);
    }
}

/// Writes a line to stdout.
pub(crate) fn print_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// What names and servers put into a line stays on it, and out of the terminal's control.
pub(crate) fn plain(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control() {
            true => line.extend(char.escape_default()),
            false => line.push(char),
        }
    }
    line
}
