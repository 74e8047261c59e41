//! More of what some tests share: a handler made of closures, and a server in a process of its own.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use reactor::{CloseReason, Context, Handler, Input, LoopContext, LoopHandle, Result, SocketAddress, TimerId};
use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for an answer before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

type OnEvent = Box<dyn FnMut(&mut Context<'_>) -> Result>;
type OnData = Box<dyn FnMut(&mut Context<'_>, &mut Input<'_>) -> Result>;
type OnTimer = Box<dyn FnMut(&mut Context<'_>, TimerId) -> Result>;
type OnShutdown = Box<dyn FnMut(&mut Context<'_>, Instant) -> Result>;
type OnClose = Box<dyn FnMut(&mut Context<'_>, &CloseReason)>;

/// A handler made of closures. What is not set is as the trait has it, and input is taken and forgotten.
#[derive(Default)]
pub(crate) struct Script {
    open: Option<OnEvent>,
    data: Option<OnData>,
    eof: Option<OnEvent>,
    timer: Option<OnTimer>,
    shutdown: Option<OnShutdown>,
    close: Option<OnClose>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(mut self, run: impl FnMut(&mut Context<'_>) -> Result + 'static) -> Self {
        self.open = Some(Box::new(run));
        self
    }

    pub(crate) fn data(mut self, run: impl FnMut(&mut Context<'_>, &mut Input<'_>) -> Result + 'static) -> Self {
        self.data = Some(Box::new(run));
        self
    }

    pub(crate) fn eof(mut self, run: impl FnMut(&mut Context<'_>) -> Result + 'static) -> Self {
        self.eof = Some(Box::new(run));
        self
    }

    pub(crate) fn timer(mut self, run: impl FnMut(&mut Context<'_>, TimerId) -> Result + 'static) -> Self {
        self.timer = Some(Box::new(run));
        self
    }

    pub(crate) fn shutdown(mut self, run: impl FnMut(&mut Context<'_>, Instant) -> Result + 'static) -> Self {
        self.shutdown = Some(Box::new(run));
        self
    }

    pub(crate) fn close(mut self, run: impl FnMut(&mut Context<'_>, &CloseReason) + 'static) -> Self {
        self.close = Some(Box::new(run));
        self
    }

    /// Sends back what comes.
    pub(crate) fn echo(self) -> Self {
        self.data(|cx, input| cx.send(input.take()))
    }

    /// Stays open in a drain.
    pub(crate) fn stays(self) -> Self {
        self.shutdown(|_, _| Ok(()))
    }
}

impl Handler for Script {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        self.open.as_mut().map_or(Ok(()), |run| run(cx))
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        match &mut self.data {
            Some(run) => run(cx, input),
            None => {
                input.take();
                Ok(())
            }
        }
    }

    fn on_eof(&mut self, cx: &mut Context<'_>) -> Result {
        match &mut self.eof {
            Some(run) => run(cx),
            None => cx.close_after_flush(),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result {
        self.timer.as_mut().map_or(Ok(()), |run| run(cx, timer))
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Result {
        match &mut self.shutdown {
            Some(run) => run(cx, deadline),
            None => cx.finish(),
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        if let Some(run) = &mut self.close {
            run(cx, reason);
        }
    }
}

/// A loop that stands still until this is dropped.
pub(crate) struct Held(#[allow(dead_code, reason = "its drop is what counts")] mpsc::Sender<()>);

/// Holds a loop up in the middle of a turn.
#[track_caller]
pub(crate) fn hold<S>(handle: &LoopHandle<S>) -> Held {
    let (held, is_held) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    let task = move |_: &mut LoopContext<'_, S>| {
        held.send(()).expect("the test waits");
        // It ends when the other end is dropped, at the latest when the test has failed.
        let _ = is_released.recv();
    };
    handle.execute(task).expect("the loop runs");
    is_held.recv_timeout(PATIENCE).expect("the loop comes to it");
    Held(release)
}

/// Keeps the calling thread busy for so long.
pub(crate) fn dawdle(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// How long a process may take to end by itself. One that is stopped does not.
const WORDS_OF_PARTING: Duration = Duration::from_millis(500);

/// The variable that tells a process which test started it.
const ROLE: &str = "REACTOR_TEST_ROLE";

/// Whether this process was started to play the part of `role`.
pub(crate) fn plays(role: &str) -> bool {
    env::var_os(ROLE).is_some_and(|is| is == role)
}

/// Answers the questions that come on standard input, one a line, until there are no more.
pub(crate) fn answer_questions(mut answer: impl FnMut(&str) -> String) {
    for question in io::stdin().lines() {
        let question = question.expect("the pipe holds");
        // The test harness has begun a line of its own.
        let line = format!("\n{MARK}{}\n", answer(&question));
        io::stdout().write_all(line.as_bytes()).expect("the pipe holds");
    }
}

/// What an answer's line begins with; the test harness writes lines as well.
const MARK: &str = "answer: ";

/// A process that plays a part: one test of this test program. Dropping it ends it, by force if need be.
pub(crate) struct Actor {
    process: Child,
    /// Until the drop.
    questions: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Actor {
    /// Starts this program again with the one test named `role`.
    pub(crate) fn start(role: &str) -> Self {
        Self::start_by(Command::new(env::current_exe().expect("the program has a path")), role)
    }

    /// Starts it with signals blocked in all its threads, which the test harness does not do.
    pub(crate) fn start_with_blocked_signals(signals: &str, role: &str) -> Self {
        let mut command = Command::new("env");
        command.arg(format!("--block-signal={signals}")).arg(env::current_exe().expect("the program has a path"));
        Self::start_by(command, role)
    }

    fn start_by(mut command: Command, role: &str) -> Self {
        let mut process = command
            .args(["--exact", role, "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process can be started");
        let (sender, answers) = mpsc::channel();
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        thread::spawn(move || {
            let lines = lines.map_while(std::result::Result::ok);
            lines
                .filter_map(|line| line.strip_prefix(MARK).map(str::to_owned))
                .all(|answer| sender.send(answer).is_ok())
        });
        let questions = process.stdin.take();
        Self { process, questions, answers }
    }

    /// Asks and waits for the answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, question: &str) -> String {
        self.tell(question);
        self.answers.recv_timeout(PATIENCE).expect("the process lives and answers")
    }

    /// Asks for a number.
    #[track_caller]
    pub(crate) fn count(&mut self, question: &str) -> u64 {
        let answer = self.ask(question);
        answer.parse().unwrap_or_else(|_| panic!("{question} was answered with {answer}"))
    }

    /// Asks where its server listens.
    #[track_caller]
    pub(crate) fn address(&mut self) -> SocketAddress {
        self.ask("address").parse::<std::net::SocketAddr>().expect("an address is answered").into()
    }

    /// Asks, and does not wait.
    pub(crate) fn tell(&mut self, question: &str) {
        let questions = self.questions.as_mut().expect("it is piped");
        writeln!(questions, "{question}").expect("the process lives");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("the process lives");
    }

    /// Stops the process and waits until all its threads stand still.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let deadline = Instant::now() + PATIENCE;
        while !self.stands_still() {
            assert!(Instant::now() < deadline, "the process does not stop");
            thread::yield_now();
        }
    }

    fn stands_still(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("proc is mounted");
        let states = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        // The state follows the name, which is in parentheses; see proc(5).
        states.into_iter().all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    }

    /// Whether it has not ended.
    pub(crate) fn lives(&mut self) -> bool {
        self.process.try_wait().expect("it is a child").is_none()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It ends when there are no more questions. Only then does it write down which lines it ran, if that is asked for.
        self.questions = None;
        let deadline = Instant::now() + WORDS_OF_PARTING;
        while self.lives() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
