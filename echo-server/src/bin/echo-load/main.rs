//! `echo-load`: loads an echo server, checks every byte that comes back, and tells how fast it was.

#![forbid(unsafe_code)]

mod coordinator;
mod descriptors;
mod options;
mod pattern;
mod plan;
mod progress;
mod report;
mod schedule;
mod session;
mod tally;
mod target;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use program::cli;
use program::console::{self, Console};
use program::logging;
use rustix::process::Signal;
use tracing::level_filters::LevelFilter;

use crate::options::Options;
use crate::progress::Progress;
use crate::report::Report;

fn main() -> ExitCode {
    let options = match cli::parse::<Options>() {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Some(contradiction) = options.contradiction() {
        say(&contradiction);
        return ExitCode::from(cli::USAGE);
    }
    let outcome = match options.completions {
        Some(shell) => cli::write_completions::<Options>(shell).context("cannot write to stdout").map(|()| true),
        None => load(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(cli::FAILURE),
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(cli::FAILURE)
        }
    }
}

/// Runs the load and tells the results; answers whether all came back right.
fn load(options: &Options) -> anyhow::Result<bool> {
    let plan = Arc::new(options.plan()?);
    descriptors::provide(plan.connections, plan.threads)?;
    let progress = Progress::new(options.extent(), !options.no_progress);
    let signals = [Signal::INT, Signal::TERM].map(Signal::as_raw);
    let event_loop = coordinator::event_loop(Arc::clone(&plan), progress, &signals)?;
    // The signals are blocked now, for the threads that start from here on too.
    let console = Console::start().context("cannot start")?;
    logging::start(&console, options.log_level.clone(), LevelFilter::WARN);
    let outcome = coordinator::run(event_loop)?;
    let report = Report::new(&plan, &outcome);
    let results = match options.json {
        true => report.json()?,
        // Without a connection there is nothing to tell but why.
        false if outcome.tally.opened == 0 && !outcome.tally.failures.is_empty() => String::new(),
        false => report.text(),
    };
    let printed = report::print(&results).context("cannot write the results to stdout");
    for line in outcome.tally.failures.lines() {
        console.say(format_args!("echo-load: {line}"));
    }
    console.flush();
    printed.map(|()| outcome.tally.failures.is_empty())
}

/// Says one line about what ended the program.
fn say(line: &str) {
    console::say_last(format_args!("echo-load: {line}"));
}
