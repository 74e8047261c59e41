//! How far all transfers together are, shown on a terminal.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr, with the rate and the time that is left; nothing where stderr is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    files: u64,
    done: u64,
}

impl Progress {
    pub(crate) fn new(shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{prefix} [{bar:30}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, files: 0, done: 0 }
    }

    /// So many files more are to come.
    pub(crate) fn expect_files(&mut self, count: usize) {
        self.files += count as u64;
        self.show_files();
    }

    /// So many bytes more are to come.
    pub(crate) fn expect(&self, bytes: u64) {
        self.bar.inc_length(bytes);
    }

    /// So many of them will not come.
    pub(crate) fn take_back(&self, expected: u64, moved: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).saturating_sub(expected));
        self.bar.set_position(self.bar.position().saturating_sub(moved));
    }

    /// So many bytes have moved.
    pub(crate) fn moved(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// This is under way.
    pub(crate) fn name(&self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    /// One file is done with, one way or the other.
    pub(crate) fn file_done(&mut self) {
        self.done += 1;
        self.show_files();
    }

    /// Tells a line, above the bar if there is one.
    pub(crate) fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            let _ = writeln!(io::stderr(), "{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn show_files(&self) {
        self.bar.set_prefix(format!("{}/{}", self.done, self.files));
    }
}
