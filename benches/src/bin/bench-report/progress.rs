//! Tells how far the measuring is: a bar on stderr where that is a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar. It vanishes when this is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        // On a terminal the time goes on while nothing else moves.
        bar.enable_steady_tick(Duration::from_secs(1));
        Self(bar)
    }

    /// So many more steps lie ahead.
    pub(crate) fn expect(&self, steps: usize) {
        self.0.inc_length(steps as u64);
    }

    /// A step begins.
    pub(crate) fn step(&self, what: String) {
        self.0.set_message(what);
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
