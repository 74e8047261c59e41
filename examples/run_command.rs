//! Runs a command: its input, its output, its errors and its end, as events of one loop.
//!
//! The trap: to read stdout to its end and then stderr waits for ever for a command that has filled its stderr, and so does writing all of
//! its input before reading, for one that answers as it reads. A pipe that is open does not mean that the command lives: its own
//! children may hold it. And a command that nobody waits for is a zombie when it has ended. Here each of the three pipes is a source,
//! and so is the end, of which a pidfd tells: no SIGCHLD, no waiting thread.
//!
//! Try:
//!
//!     cargo run -p examples --example run_command -- sh -c 'echo hello; echo oops >&2; exit 3'
//!     echo 'some text' | cargo run -p examples --example run_command -- --timeout 1s sh -c 'tr a-z A-Z; sleep 10'
//!
//! The first says `out: hello`, `err: oops` and `exit status: 3`, which is its own exit code too; the second `out: SOME TEXT`, and after
//! a second `signal: 9 (SIGKILL)`.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use clap::Parser;
use examples::{printable, say};
use reactor::codec::{Codec, Lines};
use reactor::sources::{ByteReader, ByteStream, ByteWriter, ChildOptions, ReaderContext, WriterContext};
use reactor::{CloseReason, EventLoop, Input, LoopContext, Result, SourceId};

/// Runs a command and says what it says.
#[derive(Parser)]
struct Options {
    /// Kill it after so long, such as 10s.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// The command, and its arguments.
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

#[derive(Default)]
struct Run {
    stdin: Option<SourceId>,
    input: Option<SourceId>,
    open_outputs: u32,
    status: Option<ExitStatus>,
}

/// What comes out of the command.
struct Output {
    label: &'static str,
    lines: Lines,
}

impl ByteReader<Run> for Output {
    fn on_bytes(&mut self, _cx: &mut ReaderContext<'_, Run>, input: &mut Input<'_>) -> Result {
        while let Some(line) = self.lines.decode(input)? {
            say!("{}: {}", self.label, printable(line));
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut ReaderContext<'_, Run>) -> Result {
        let rest = cx.take_unread();
        if let Some(line) = self.lines.decode_end(&mut Input::new(&rest))? {
            say!("{}: {}", self.label, printable(line));
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut ReaderContext<'_, Run>, reason: &CloseReason) {
        if let CloseReason::Error(error) = reason {
            say!("{}: {error}", self.label);
        }
        cx.state().open_outputs -= 1;
        end_if_over(cx);
    }
}

/// What this program reads goes into the command, at the pace at which that takes it.
struct Forward;

impl ByteReader<Run> for Forward {
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_, Run>, input: &mut Input<'_>) -> Result {
        let bytes = input.take();
        let Some(mut stdin) = cx.state().stdin.and_then(|id| cx.writer(id)) else { return Ok(()) };
        stdin.send(bytes)?;
        if stdin.is_congested() {
            cx.pause();
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut ReaderContext<'_, Run>) -> Result {
        if let Some(mut stdin) = cx.state().stdin.and_then(|id| cx.writer(id)) {
            stdin.finish();
        }
        Ok(())
    }
}

impl ByteWriter<Run> for Forward {
    fn on_drained(&mut self, cx: &mut WriterContext<'_, Run>) -> Result {
        if let Some(mut input) = cx.state().input.and_then(|id| cx.reader(id)) {
            input.resume();
        }
        Ok(())
    }
}

/// The command has ended. What it wrote may still be in its pipes, and its own children may hold them.
fn on_exit(cx: &mut LoopContext<'_, Run>, status: io::Result<ExitStatus>) {
    cx.state().status = status.ok();
    let patience = cx.run_after(Duration::from_secs(1), |cx| {
        cx.stop();
    });
    patience.expect("the loop has room for a timer");
    end_if_over(cx);
}

fn end_if_over(cx: &mut LoopContext<'_, Run>) {
    if cx.state().open_outputs == 0 && cx.state().status.is_some() {
        cx.stop();
    }
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut event_loop = EventLoop::new(Run::default())?;
    let mut cx = event_loop.context();
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = cx.spawn(&mut command, &ChildOptions::default(), on_exit)?;
    let output = |label| Output { label, lines: Lines::new(64 << 10) };
    let piped = "it was asked to be piped";
    cx.add_reader(child.stdout.expect(piped), output("out"))?;
    cx.add_reader(child.stderr.expect(piped), output("err"))?;
    let stdin = cx.add_writer(child.stdin.expect(piped), Forward)?;
    let input = cx.add_reader(ByteStream::stdin()?, Forward)?;
    *cx.state() = Run { stdin: Some(stdin), input: Some(input), open_outputs: 2, status: None };
    if let Some(timeout) = options.timeout {
        cx.run_after(timeout, move |cx| {
            // One that has ended, or whose user is another by now, is left alone.
            let _ = cx.child(child.id).map(|mut child| child.kill());
        })?;
    }
    event_loop.run()?;
    let Some(status) = event_loop.state().status else { return Err(io::Error::other("the status is lost")) };
    say!("{status}");
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
