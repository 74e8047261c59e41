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
mod session;
mod struct_put;
mod task;

use std::process::ExitCode;

use anyhow::Context;
use program::cli;
use program::console::{self, Console};
use program::logging;
use reactor::EventLoop;
use tracing::level_filters::LevelFilter;

use crate::options::Options;
use crate::session::Session;
use crate::task::Task;

fn main() -> ExitCode {
    let options = match cli::parse::<Options>() {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Some(shell) = options.completions {
        let written = cli::write_completions::<Options>(shell).context("cannot write to stdout");
        return end(written.map(|()| true));
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

/// Does what was planned; answers whether all of it was done.
fn run(options: Options, tasks: Vec<Task>) -> anyhow::Result<bool> {
    let console = Console::start().context("cannot start")?;
    logging::start(&console, options.log_level.clone(), LevelFilter::WARN);
    let mut event_loop = EventLoop::new(Session::new(options)).context("cannot start")?;
    Session::begin(&mut event_loop.context(), tasks);
    event_loop.run().context("cannot go on")?;
    let all_done = event_loop.state_mut().finish();
    console.flush();
    Ok(all_done)
}

fn end(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(cli::FAILURE),
        Err(error) => {
            console::say_last(format_args!("file-client: {error:#}"));
            ExitCode::from(cli::FAILURE)
        }
    }
}
