//! `file-client`: puts files to a server and gets them from one, over HTTP and the struct upload protocol.

#![forbid(unsafe_code)]

mod download;
mod exchange;
mod failure;
mod listing;
mod location;
mod options;
mod plan;
mod progress;
mod report;
mod response;
mod server;
mod session;
mod struct_put;
mod task;

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context;
use program::cli;
use program::console::{self, Console};
use program::logging;
use reactor::{EventLoop, LoopContext};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use tracing::level_filters::LevelFilter;

use crate::options::Options;
use crate::session::Session;
use crate::task::Task;

fn main() -> ExitCode {
    let options = match cli::parse::<Options>() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let printed = match options.completions {
        Some(shell) => Some(cli::write_completions::<Options>(shell)),
        None => options.man.then(cli::write_man_page::<Options>),
    };
    if let Some(printed) = printed {
        return end(printed.map(|()| ExitCode::SUCCESS).context("cannot write to stdout"));
    }
    let tasks = match plan::tasks(&options) {
        Ok(tasks) => tasks,
        Err(flaw) => {
            console::say_last(format_args!("file-client: {}", report::plain(&flaw)));
            return ExitCode::from(cli::USAGE);
        }
    };
    end(run(options, tasks))
}

/// Does what was planned, as far as the user waits for it.
fn run(options: Options, tasks: Vec<Task>) -> anyhow::Result<ExitCode> {
    let signalled = Rc::new(Cell::new(None));
    let mut event_loop = EventLoop::new(Session::new(options)).context("cannot start")?;
    // Before there are other threads, which must not catch them.
    let on_signal = {
        let signalled = Rc::clone(&signalled);
        move |cx: &mut LoopContext<'_, Session>, signal| {
            if signal == SIGWINCH {
                return Session::resize(cx);
            }
            signalled.set(Some(signal));
            Session::interrupt(cx);
        }
    };
    event_loop.on_signals(&[SIGINT, SIGTERM, SIGWINCH], on_signal).context("cannot start")?;
    let console = Console::start().context("cannot start")?;
    logging::start(&console, event_loop.state_mut().options.log_level.clone(), LevelFilter::WARN);
    Session::begin(&mut event_loop.context(), tasks);
    event_loop.run().context("cannot go on")?;
    let all_done = event_loop.state_mut().finish();
    // What is under way is let go of in good order.
    drop(event_loop);
    console.flush();
    Ok(match signalled.get() {
        Some(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(cli::FAILURE)),
        None if all_done => ExitCode::SUCCESS,
        None => ExitCode::from(cli::FAILURE),
    })
}

fn end(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        console::say_last(format_args!("file-client: {error:#}"));
        ExitCode::from(cli::FAILURE)
    })
}
