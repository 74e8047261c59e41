//! Stderr as a thread of its own writes it: whoever says something goes on at once, even when nobody reads.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// Says lines on stderr and never waits for it: a closed one, a pipe that nobody reads and a full disk lose lines, and
/// nothing else. Clones say them in the same place.
///
/// Its thread inherits the signal mask of the one that starts it, so a program that blocks signals does that before.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Line>,
    /// Lines that found no room since one last did.
    lost: usize,
    /// The writing thread has written all and sleeps.
    asleep: bool,
}

enum Line {
    /// Ends with a newline and stays.
    Text(Vec<u8>),
    /// Has no newline; what comes next takes its place.
    Status(Vec<u8>),
}

impl Console {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start() -> io::Result<Self> {
        Self::start_on(io::stderr())
    }

    fn start_on(stderr: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let queue = Arc::clone(&shared);
        let mut screen = Screen { stderr, status_shown: false };
        thread::Builder::new().name("console".to_owned()).spawn(move || screen.write_lines(&queue))?;
        Ok(Self { shared })
    }

    /// Says a line. One that is of several lines stays together.
    pub fn say(&self, line: impl Display) {
        self.shared.push(Line::Text(format!("{line}\n").into_bytes()));
    }

    /// Shows a line without a newline, in the place of the last such line: for terminals only.
    pub fn show_status(&self, line: impl Display) {
        self.shared.push(Line::Status(line.to_string().into_bytes()));
    }

    /// Whether a person looks at stderr.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Waits until all that was said is written, but not for a stderr that takes nothing: it may be stuck for good.
    pub fn flush(&self) {
        let unwritten = |queue: &mut Queue| !queue.asleep || !queue.lines.is_empty();
        let mut queue = self.shared.lock();
        for _ in 0..MOST_WAITS {
            let before = queue.lines.len();
            let waited = self.shared.emptied.wait_timeout_while(queue, PATIENCE, unwritten);
            let timeout;
            (queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if !timeout.timed_out() || queue.lines.len() >= before {
                return;
            }
        }
    }
}

/// Says the one line with which a program ends. It takes no thread, which the system may not have, and waits for a moment
/// only: stderr may be stuck for good.
pub fn say_last(line: impl Display) {
    let stderr = io::stderr();
    let mut room = [PollFd::new(&stderr, PollFlags::OUT)];
    let patience = Timespec::try_from(PATIENCE).ok();
    if retry_on_intr(|| poll(&mut room, patience.as_ref())) == Ok(1) {
        // A pipe that has room takes a line at once.
        let _ = stderr.lock().write_all(format!("{line}\n").as_bytes());
    }
}

impl Shared {
    /// Adds a line if there is room. The writing thread holds the lock only to take one, never while it writes.
    fn push(&self, line: Line) {
        let mut queue = self.lock();
        if queue.lines.len() >= LINES_WAITING {
            queue.lost += 1;
            return;
        }
        if queue.lost > 0 {
            let told = format!("{} lines are lost: stderr was not read in time\n", std::mem::take(&mut queue.lost));
            queue.lines.push_back(Line::Text(told.into_bytes()));
        }
        queue.lines.push_back(line);
        if std::mem::take(&mut queue.asleep) {
            self.filled.notify_one();
        }
    }

    /// Takes the next line, when the one before is written.
    fn next(&self) -> Line {
        let mut queue = self.lock();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                return line;
            }
            queue.asleep = true;
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is on stderr now.
struct Screen<W> {
    stderr: W,
    status_shown: bool,
}

impl<W: Write> Screen<W> {
    /// The life of the writing thread, which ends with the process. What stderr does not take is lost.
    fn write_lines(&mut self, queue: &Shared) {
        loop {
            match queue.next() {
                Line::Text(text) => self.write_text(&text),
                Line::Status(status) => self.write_status(&status),
            }
        }
    }

    fn write_text(&mut self, text: &[u8]) {
        if std::mem::take(&mut self.status_shown) {
            let _ = self.stderr.write_all(CLEAR_LINE);
        }
        let _ = self.stderr.write_all(text);
    }

    /// Without line wrap: a wrapped line could not be cleared.
    fn write_status(&mut self, status: &[u8]) {
        self.status_shown = true;
        let _ = self.stderr.write_all(&[CLEAR_LINE, WRAP_OFF, status, WRAP_ON].concat());
    }
}

/// Lines that may wait while stderr is slow: a burst of log lines, and a bound on memory.
const LINES_WAITING: usize = 1024;

/// How long the end of the program waits for a stderr that takes nothing. It takes a line in much less, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it waits so long for one that takes something each time.
const MOST_WAITS: usize = 10;

const CLEAR_LINE: &[u8] = b"\r\x1b[K";
const WRAP_OFF: &[u8] = b"\x1b[?7l";
const WRAP_ON: &[u8] = b"\x1b[?7h";

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver};

    /// A stderr that keeps what it gets.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A pipe that nobody reads until the gate opens.
    struct Stuck(Receiver<()>, Paper);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn text_of(paper: &Paper) -> String {
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_status_gives_way_to_text() {
        let paper = Paper::default();
        let console = Console::start_on(paper.clone()).unwrap();
        console.show_status("1");
        console.show_status("2");
        console.say("text");
        console.say("more");
        console.flush();
        let status = |text| format!("\r\x1b[K\x1b[?7l{text}\x1b[?7h");
        assert_eq!(text_of(&paper), format!("{}{}\r\x1b[Ktext\nmore\n", status("1"), status("2")));
    }

    #[test]
    fn what_a_stuck_stderr_loses_is_told() {
        let (open, gate) = mpsc::channel();
        let paper = Paper::default();
        let console = Console::start_on(Stuck(gate, paper.clone())).unwrap();
        for _ in 0..LINES_WAITING + 10 {
            console.say("line");
        }
        drop::<mpsc::Sender<()>>(open);
        console.flush();
        console.say("after");
        console.flush();
        let text = text_of(&paper);
        let told = text.lines().find(|line| line.ends_with("lines are lost: stderr was not read in time")).unwrap();
        let lost: usize = told.split(' ').next().unwrap().parse().unwrap();
        assert!((9..=10).contains(&lost), "{told}");
        assert!(text.ends_with("after\n"));
    }
}
