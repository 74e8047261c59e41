//! A line for each request, written by a thread of its own: a disk that is slow or full never holds up the service.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Common Log Format: `host - user [time] "request" status bytes`.
    Common,
    /// The same, with Referer and User-Agent behind it.
    Combined,
    /// A JSON object a line.
    Json,
}

/// What a line tells.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Record<'a> {
    /// Seconds since 1970.
    pub time: i64,
    /// The client's address, without its port.
    pub client: &'a str,
    /// Who the client has shown to be.
    pub user: Option<&'a str>,
    /// The method as sent.
    pub method: &'a str,
    /// The target as sent.
    pub target: &'a str,
    /// The version of the protocol.
    pub version: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of content that were sent.
    pub bytes: u64,
    /// Where the client says that it comes from.
    pub referer: Option<&'a str>,
    /// What the client says that it is.
    pub user_agent: Option<&'a str>,
}

/// Where lines go. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: Format,
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
        Ok(Self { format, shared })
    }

    /// When this is set, the file is opened anew before the next line is written: whoever moves it away gets a new one.
    #[must_use]
    pub fn reopen_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.reopen)
    }

    /// Adds a line. It never waits for the disk; lines that have no room are lost, and counted in the log.
    pub fn add(&self, record: &Record<'_>) {
        let mut queue = self.shared.lock();
        if queue.lines.len() > MOST_WAITING {
            queue.lost += 1;
            return;
        }
        write_line(&mut queue.lines, self.format, record);
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

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn write_line(out: &mut Vec<u8>, format: Format, record: &Record<'_>) {
    match format {
        Format::Common => write_common(out, record),
        Format::Combined => {
            write_common(out, record);
            for text in [record.referer, record.user_agent] {
                out.extend_from_slice(b" \"");
                write_quoted(out, text.unwrap_or("-"));
                out.push(b'"');
            }
        }
        // Memory takes all that is written to it.
        Format::Json => drop(serde_json::to_writer(&mut *out, record)),
    }
    out.push(b'\n');
}

fn write_common(out: &mut Vec<u8>, record: &Record<'_>) {
    let Record { client, user, method, target, version, status, bytes, .. } = record;
    out.extend_from_slice(client.as_bytes());
    out.extend_from_slice(b" - ");
    write_quoted(out, user.unwrap_or("-"));
    out.extend_from_slice(b" [");
    out.extend_from_slice(time_text(record.time).as_bytes());
    out.extend_from_slice(b"] \"");
    for (index, word) in [method, target, version].into_iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        write_quoted(out, word);
    }
    // Memory takes all that is written to it.
    let _ = write!(out, "\" {status} {bytes}");
}

/// What clients put into a line neither ends it nor is obeyed by a terminal.
fn write_quoted(out: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e | 0x80.. => out.push(byte),
            // Memory takes all that is written to it.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
}

/// A time as `10/Oct/2000:13:55:36 +0000`.
fn time_text(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date_of(days);
    let month = MONTHS[month];
    let mut text = String::new();
    // A string takes all that is written to it.
    let _ =
        write!(text, "{day:02}/{month}/{year}:{:02}:{:02}:{:02} +0000", second / 3600, second / 60 % 60, second % 60);
    text
}

/// The year, the month from 0 and the day of a day since 1970, by eras of 400 years that begin with March.
fn date_of(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    (year, usize::try_from(month).unwrap_or(0), day)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Bytes of lines that may wait while the disk is slow.
const MOST_WAITING: usize = 4 << 20;

/// How often the thread looks whether the file is to be opened anew, when nothing is to be written.
const LOOK: Duration = Duration::from_millis(500);

/// How long the end of the program waits for a disk that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'_> = Record {
        time: 971_186_136,
        client: "127.0.0.1",
        user: None,
        method: "GET",
        target: "/a\"b\x1b",
        version: "HTTP/1.1",
        status: 200,
        bytes: 5,
        referer: None,
        user_agent: Some("curl/8"),
    };

    fn line(format: Format) -> String {
        let mut out = Vec::new();
        write_line(&mut out, format, &RECORD);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_of_the_known_forms_and_hold_no_quotes_of_strangers() {
        let common = r#"127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a\"b\x1b HTTP/1.1" 200 5"#;
        assert_eq!(line(Format::Common), format!("{common}\n"));
        assert_eq!(line(Format::Combined), format!("{common} \"-\" \"curl/8\"\n"));
        let json: serde_json::Value = serde_json::from_str(&line(Format::Json)).unwrap();
        assert_eq!((json["status"].as_u64(), json["target"].as_str()), (Some(200), Some("/a\"b\x1b")));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(time_text(0), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(time_text(951_782_400), "29/Feb/2000:00:00:00 +0000");
        assert_eq!(time_text(1_735_689_599), "31/Dec/2024:23:59:59 +0000");
    }

    #[test]
    fn a_log_that_was_moved_away_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = AccessLog::start(&path, Format::Common).unwrap();
        log.add(&RECORD);
        log.flush();
        let moved = directory.path().join("log.1");
        std::fs::rename(&path, &moved).unwrap();
        log.reopen_flag().store(true, Ordering::Relaxed);
        log.add(&RECORD);
        log.flush();
        let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&moved), lines(&path)), (1, 1));
    }
}
