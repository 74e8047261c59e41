//! A server that writes an access log, and the log as a test reads it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::PathBuf;

use program_testing::process::eventually;
use serde_json::Value;
use tempfile::TempDir;

/// A server that logs.
pub(crate) struct Logged<S> {
    pub(crate) server: S,
    place: TempDir,
}

impl<S> Logged<S> {
    /// Has `start` start a server, given these arguments and those that make it log.
    pub(crate) fn with(format: &str, arguments: &[&str], start: impl FnOnce(&[&str]) -> S) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let options = ["--access-log", path.to_str().unwrap(), "--access-log-format", format];
        Self { server: start(&[&options, arguments].concat()), place }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.place.path().join("log")
    }

    /// The lines of the log, as soon as there are so many.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let mut text = String::new();
        eventually("there are so many lines", || {
            text = fs::read_to_string(self.path()).unwrap_or_default();
            text.lines().count() >= count
        });
        assert_eq!(text.lines().count(), count, "{text}");
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn objects(&self, count: usize) -> Vec<Value> {
        self.lines(count).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// `(status, bytes, complete)` of an object.
pub(crate) fn outcome(line: &Value) -> (u64, u64, bool) {
    (line["status"].as_u64().unwrap(), line["bytes"].as_u64().unwrap(), line["complete"].as_bool().unwrap())
}
