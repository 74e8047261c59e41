//! How far all transfers together are, shown on a terminal.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;

/// A bar on stderr, with the rate and the time that is left; nothing where stderr is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    files: u64,
    done: u64,
    look: Look,
    /// It is shown once there is something to show.
    waits: bool,
}

/// What the bar has room for, and what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Wide,
    Narrow,
    Tiny,
    /// Nobody has told how much there is to come.
    Endless,
}

impl Look {
    fn of(columns: u16, knows_end: bool) -> Self {
        match columns {
            _ if !knows_end => Self::Endless,
            ..NARROW => Self::Tiny,
            NARROW..WIDE => Self::Narrow,
            WIDE.. => Self::Wide,
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Wide => "{prefix} [{bar:20}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left  {wide_msg}",
            Self::Narrow => "{prefix}  {percent}%  {bytes_per_sec}  {eta} left  {wide_msg}",
            Self::Tiny => "{percent}%",
            Self::Endless => "{prefix}  {bytes}  {wide_msg}",
        }
    }
}

impl Progress {
    pub(crate) fn new(shown: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        Self { bar, files: 0, done: 0, look: Look::Endless, waits: shown }
    }

    /// So many files more are to come.
    pub(crate) fn expect_files(&mut self, count: usize) {
        self.files += count as u64;
        self.show_files();
    }

    /// So many bytes more are to come.
    pub(crate) fn expect(&mut self, bytes: u64) {
        self.bar.inc_length(bytes);
        self.refresh();
    }

    /// So many of them will not come.
    pub(crate) fn take_back(&mut self, expected: u64, moved: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).saturating_sub(expected));
        self.bar.set_position(self.bar.position().saturating_sub(moved));
    }

    /// So many bytes have moved.
    pub(crate) fn moved(&mut self, bytes: u64) {
        self.bar.inc(bytes);
        self.refresh();
    }

    /// This is under way.
    pub(crate) fn name(&self, name: String) {
        self.bar.set_message(name);
    }

    /// One file is done with, one way or the other.
    pub(crate) fn file_done(&mut self) {
        self.done += 1;
        self.show_files();
    }

    /// The terminal may have another width now.
    pub(crate) fn resize(&mut self) {
        if !self.waits && !self.bar.is_hidden() {
            self.set_look();
            self.bar.tick();
        }
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

    /// Shows the bar, if it is not shown yet and there is something to show.
    fn refresh(&mut self) {
        let (length, position) = (self.bar.length().unwrap_or(0), self.bar.position());
        if std::mem::take(&mut self.waits) {
            self.set_look();
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        } else if (self.look == Look::Endless) != (position > length) {
            self.set_look();
        }
    }

    fn set_look(&mut self) {
        let knows_end = self.bar.position() <= self.bar.length().unwrap_or(0);
        let columns = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        // A terminal that does not tell is taken for one of the usual width.
        self.look = Look::of(if columns == 0 { USUAL } else { columns }, knows_end);
        if let Ok(style) = ProgressStyle::with_template(self.look.template()) {
            self.bar.set_style(style.progress_chars("=> "));
        }
    }

    fn show_files(&self) {
        self.bar.set_prefix(format!("{}/{}", self.done, self.files));
    }
}

/// Columns from which on there is room for all, and for the most.
const WIDE: u16 = 90;
const NARROW: u16 = 48;

const USUAL: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_is_a_template() {
        for look in [Look::Wide, Look::Narrow, Look::Tiny, Look::Endless] {
            assert!(ProgressStyle::with_template(look.template()).is_ok(), "{look:?}");
        }
        assert_eq!([20, 60, 200].map(|columns| Look::of(columns, true)), [Look::Tiny, Look::Narrow, Look::Wide]);
    }
}
