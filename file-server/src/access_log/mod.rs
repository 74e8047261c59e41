//! A line for each request, written by a thread of its own: a disk that is slow or full never holds up the service.

pub(crate) mod ledger;
mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use reactor::SocketAddress;

pub(crate) use line::UNANSWERED;
pub use line::{End, Format, Line, Record};

/// Where lines go. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: Format,
    /// That of the start: to look whether it is another one now would be to wait for the disk.
    zone: TimeZone,
    shared: Arc<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    queue: Mutex<Queue>,
    filled: Condvar,
    written: Condvar,
    reopen: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    /// Lines that found no room since one last did.
    lost: u64,
    /// The writing thread has taken lines that are not written yet.
    busy: bool,
    /// The writing thread sleeps.
    asleep: bool,
}

impl AccessLog {
    /// Opens the log, `-` being stdout, and starts the thread that writes.
    ///
    /// # Errors
    /// The file cannot be opened, or the system has no thread left.
    pub fn start(path: &Path, format: Format) -> io::Result<Self> {
        let mut pen = Pen::open(path)?;
        let desk = Arc::new(Desk::default());
        let shared = Arc::clone(&desk);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || pen.write_lines(&desk))?;
        Ok(Self { format, zone: TimeZone::system(), shared })
    }

    /// When this is set, the file is opened anew before the next line is written: whoever moves it away gets a new one.
    #[must_use]
    pub fn reopen_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.reopen)
    }

    /// A line that has yet to tell how it ended.
    #[must_use]
    pub fn line(&self, record: &Record<'_>) -> Line {
        Line::new(self.format, &self.zone, record)
    }

    /// Adds a line. It never waits for the disk; lines that have no room are lost, and counted in the log.
    pub fn add(&self, line: &Line, end: End) {
        let mut queue = self.shared.lock();
        if queue.lines.len() > MOST_WAITING {
            queue.lost += 1;
            return;
        }
        line.write(&mut queue.lines, end);
        if std::mem::take(&mut queue.asleep) {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until all lines are written, but not for a disk that takes nothing.
    pub fn flush(&self) {
        let unwritten = |queue: &mut Queue| queue.busy || !queue.lines.is_empty();
        let queue = self.shared.lock();
        // Whether it timed out is of no matter: it is the end either way.
        let _ = self.shared.written.wait_timeout_while(queue, PATIENCE, unwritten);
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what waits, as soon as something does. What it took before is written.
    fn take(&self) -> Vec<u8> {
        let mut queue = self.lock();
        queue.busy = false;
        self.written.notify_all();
        while queue.lines.is_empty() && !self.reopen.load(Ordering::Relaxed) {
            queue.asleep = true;
            let waited = self.filled.wait_timeout(queue, LOOK);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.asleep = false;
        queue.busy = true;
        if queue.lost > 0 {
            tracing::warn!("{} lines of the access log are lost: they came faster than they were written", queue.lost);
            queue.lost = 0;
        }
        std::mem::take(&mut queue.lines)
    }
}

/// What the writing thread writes with.
#[derive(Debug)]
struct Pen {
    path: PathBuf,
    /// None is stdout.
    file: Option<File>,
    failing: bool,
}

impl Pen {
    fn open(path: &Path) -> io::Result<Self> {
        let file = if path == Path::new("-") { None } else { Some(open(path)?) };
        Ok(Self { path: path.to_owned(), file, failing: false })
    }

    /// The life of the writing thread, which ends with the process.
    fn write_lines(&mut self, desk: &Desk) {
        loop {
            let lines = desk.take();
            if desk.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            self.write(&lines);
        }
    }

    fn reopen(&mut self) {
        if self.file.is_none() {
            return;
        }
        match open(&self.path) {
            Ok(file) => self.file = Some(file),
            Err(error) => tracing::error!("cannot open {} anew, and write on: {error}", self.path.display()),
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let result = match &mut self.file {
            Some(file) => file.write_all(lines),
            None => io::stdout().write_all(lines).and_then(|()| io::stdout().flush()),
        };
        let failed = result.is_err();
        if let Err(error) = result
            && !self.failing
        {
            tracing::error!("cannot write to the access log: {error}");
        }
        self.failing = failed;
    }
}

/// How a line names a client: without its port.
pub(crate) fn client_name(peer: &SocketAddress) -> String {
    peer.as_inet().map_or_else(|| "unix".to_owned(), |address| address.ip().to_string())
}

/// The time of day so long ago.
pub(crate) fn time_before(took: Duration) -> SystemTime {
    SystemTime::now().checked_sub(took).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Bytes of lines that may wait while the disk is slow.
const MOST_WAITING: usize = 4 << 20;

/// How often the thread looks whether the file is to be opened anew, when nothing is to be written.
const LOOK: Duration = Duration::from_millis(500);

/// How long the end of the program waits for a disk that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const END: End = End { bytes: 0, took: Duration::ZERO, complete: true };

    #[test]
    fn a_log_that_was_moved_away_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = AccessLog::start(&path, Format::Common).unwrap();
        log.add(&log.line(&Record::default()), END);
        log.flush();
        let moved = directory.path().join("log.1");
        std::fs::rename(&path, &moved).unwrap();
        log.reopen_flag().store(true, Ordering::Relaxed);
        log.add(&log.line(&Record::default()), END);
        log.flush();
        let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&moved), lines(&path)), (1, 1));
    }
}
