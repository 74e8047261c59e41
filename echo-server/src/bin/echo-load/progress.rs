//! How far a run is, shown on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::{Extent, Window};

/// A bar on stderr while the run goes on; nothing where stderr is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    extent: Extent,
    last: (Instant, u64),
}

impl Progress {
    /// A bar for a run of such an extent.
    pub(crate) fn new(extent: Extent, shown: bool) -> Self {
        // The caller decides how often; the bar need not.
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:40}] {percent}%  {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix("connecting");
        Self { bar, extent, last: (Instant::now(), 0) }
    }

    /// Whether nobody would see it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Shows that so many messages have come back; the window is known once the sending has begun.
    pub(crate) fn show(&mut self, window: Option<Window>, messages: u64) {
        let Some(window) = window else { return self.bar.tick() };
        let now = Instant::now();
        self.bar.set_prefix(if now < window.measured_from { "warming up" } else { "measuring" });
        let (position, length) = match self.extent {
            Extent::Messages(all) => (messages, all),
            Extent::Time(duration) => {
                let whole = window.measured_from - window.begin + duration;
                (millis(now.saturating_duration_since(window.begin)), millis(whole))
            }
        };
        self.bar.set_length(length);
        self.bar.set_position(position.min(length));
        let (before, already) = self.last;
        let seconds = now.saturating_duration_since(before).as_secs_f64();
        if seconds > 0.0 {
            let rate = messages.saturating_sub(already) as f64 / seconds;
            self.bar.set_message(format!("{rate:.0} messages/s"));
        }
        self.last = (now, messages);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
